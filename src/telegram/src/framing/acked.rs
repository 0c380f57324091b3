//! Framing A: acknowledged messages in encrypted packets (telegram-calls 6.2).

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use super::{Dropped, MESSAGES};
use crate::crypt::{CallKey, Plane, ReplayWindow, Role};

const SINGLE: u32 = 0x8000_0000;
const NEEDS_ACK: u32 = 0x4000_0000;
const COUNTER: u32 = 0x3fff_ffff;
/// The first repetition comes after this, sooner than the official 5 s: a lost offer is silence until then. Each
/// further one waits twice as long, up to those 5 s.
const FIRST_RESEND: Duration = Duration::from_secs(1);
const RESEND: Duration = Duration::from_secs(5);
/// Messages younger than this are not repeated by the timer.
const TOO_YOUNG: Duration = Duration::from_millis(800);
const MAX_PACKET: usize = 16_384;
const MAX_TEXT: usize = 1 << 20;
/// Messages in one packet; real ones carry the dozen of a call set-up and as many acknowledgements.
const MAX_MESSAGES: usize = 512;
/// Messages delivered in one call; a peer that sends more is not negotiating any more.
const MAX_DELIVERED: usize = 4096;

/// One message inside a packet.
#[derive(Debug, PartialEq, Eq, Clone)]
pub(super) struct Message {
    /// The complete field: counter and flag bits.
    pub(super) seq: u32,
    /// What it carries.
    pub(super) body: Body,
}

/// What a [`Message`] carries.
#[derive(Debug, PartialEq, Eq, Clone)]
pub(super) enum Body {
    /// Nothing; only as the first message.
    Empty,
    /// The acknowledgement of `seq`; never the first message.
    Ack,
    /// A JSON text.
    Json(Vec<u8>),
}

impl Message {
    /// Appends the message as it is on the wire.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.seq.to_be_bytes());
        match &self.body {
            Body::Empty => out.push(0xfe),
            Body::Ack => out.push(0xff),
            Body::Json(text) => {
                out.push(0x7f);
                let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
                out.extend_from_slice(&length.to_be_bytes());
                out.extend_from_slice(text);
            }
        }
    }

    /// Reads all messages of a decrypted packet; `None` when any part of it is malformed.
    pub(super) fn read_all(mut plain: &[u8]) -> Option<Vec<Message>> {
        let mut messages: Vec<Message> = Vec::new();
        while !plain.is_empty() {
            let (seq, rest) = plain.split_first_chunk::<4>()?;
            let (kind, rest) = rest.split_first()?;
            let seq = u32::from_be_bytes(*seq);
            let first = messages.is_empty();
            plain = rest;
            let body = match kind {
                0xfe if first => Body::Empty,
                0xff if !first => Body::Ack,
                0x7f => {
                    let (length, rest) = plain.split_first_chunk::<4>()?;
                    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
                    if length > MAX_TEXT {
                        return None;
                    }
                    let (text, rest) = rest.split_at_checked(length)?;
                    plain = rest;
                    Body::Json(text.to_vec())
                }
                _ => return None,
            };
            let single = messages.first().is_some_and(|m| m.seq & SINGLE != 0);
            if single || messages.len() == MAX_MESSAGES {
                return None;
            }
            messages.push(Message { seq, body });
        }
        (!messages.is_empty()).then_some(messages)
    }
}

/// One end of framing A.
pub struct Acked {
    key: CallKey,
    role: Role,
    counter: u32,
    /// Messages of ours that are not acknowledged, with the time they were last sent.
    unacked: Vec<(Message, Instant)>,
    /// Acknowledgements that wait for a packet.
    acks: Vec<u32>,
    delivered: HashSet<u32>,
    window: ReplayWindow,
    resend_at: Option<Instant>,
    resend_after: Duration,
    packets: VecDeque<Vec<u8>>,
    inbox: VecDeque<Vec<u8>>,
    dropped: Dropped,
}

impl Acked {
    /// Begins with nothing sent and nothing seen.
    pub fn new(key: CallKey, role: Role) -> Acked {
        Acked {
            key,
            role,
            counter: 0,
            unacked: Vec::new(),
            acks: Vec::new(),
            delivered: HashSet::new(),
            window: ReplayWindow::default(),
            resend_at: None,
            resend_after: FIRST_RESEND,
            packets: VecDeque::new(),
            inbox: VecDeque::new(),
            dropped: Dropped::default(),
        }
    }

    pub(super) fn send(&mut self, now: Instant, json: &str) {
        if self.unacked.len() == MESSAGES {
            self.dropped.sent += 1;
            return;
        }
        let message = Message {
            seq: self.next_counter() | NEEDS_ACK,
            body: Body::Json(json.as_bytes().to_vec()),
        };
        let alone = self.unacked.is_empty();
        self.unacked.push((message.clone(), now));
        if alone {
            self.emit(&[message]);
        } else {
            // Everything not yet acknowledged goes along: one lost packet costs nothing.
            self.emit_unacked(now, Duration::ZERO);
        }
        self.resend_after = FIRST_RESEND;
        self.resend_at = Some(now + FIRST_RESEND);
    }

    pub(super) fn receive(&mut self, packet: &[u8]) {
        let messages = self
            .key
            .open(Plane::Signalling, self.role.other(), packet)
            .and_then(|plain| Message::read_all(&plain));
        let fresh = messages.filter(|messages| {
            let first = messages.first();
            first.is_some_and(|first| self.window.accept(first.seq & COUNTER))
        });
        let Some(messages) = fresh else {
            self.dropped.received += 1;
            return;
        };
        for (index, message) in messages.into_iter().enumerate() {
            match message.body {
                Body::Empty => {}
                Body::Ack => self.unacked.retain(|(m, _)| m.seq != message.seq),
                Body::Json(text) => self.deliver(index, message.seq, text),
            }
        }
        if self.unacked.is_empty() {
            self.resend_at = None;
        }
        // At once, also for repetitions: the peer repeats because it missed an acknowledgement.
        if !self.acks.is_empty() {
            let seq = self.next_counter();
            self.emit(&[Message {
                seq,
                body: Body::Empty,
            }]);
        }
    }

    fn deliver(&mut self, index: usize, seq: u32, text: Vec<u8>) {
        let counter = seq & COUNTER;
        let fresh = if seq & NEEDS_ACK == 0 {
            // The first of a packet went through the window with the packet.
            index == 0 || self.window.accept(counter)
        } else if self.delivered.contains(&counter) {
            self.acks.push(seq);
            false
        } else if self.delivered.len() < MAX_DELIVERED {
            self.acks.push(seq);
            self.delivered.insert(counter)
        } else {
            self.dropped.received += 1;
            false
        };
        if fresh {
            self.inbox.push_back(text);
        }
    }

    pub(super) fn timeout(&self) -> Option<Instant> {
        self.resend_at
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.resend_at.is_none_or(|at| at > now) {
            return;
        }
        self.resend_after = RESEND.min(self.resend_after * 2);
        self.resend_at = (!self.unacked.is_empty()).then_some(now + self.resend_after);
        let old = |sent: &Instant| now.saturating_duration_since(*sent) >= TOO_YOUNG;
        if self.unacked.iter().any(|(_, sent)| old(sent)) {
            self.emit_unacked(now, TOO_YOUNG);
        }
    }

    pub(super) fn poll_packet(&mut self) -> Option<Vec<u8>> {
        self.packets.pop_front()
    }

    pub(super) fn poll_message(&mut self) -> Option<Vec<u8>> {
        self.inbox.pop_front()
    }

    pub(super) fn dropped(&self) -> Dropped {
        self.dropped
    }

    fn next_counter(&mut self) -> u32 {
        self.counter = (self.counter + 1) & COUNTER;
        self.counter
    }

    /// One packet of an empty message and every unacknowledged message that was sent at least `min_age` ago.
    fn emit_unacked(&mut self, now: Instant, min_age: Duration) {
        let seq = self.next_counter();
        let mut messages = vec![Message {
            seq,
            body: Body::Empty,
        }];
        let mut size = 16 + 5 + 5 * self.acks.len();
        for (message, sent) in &mut self.unacked {
            let Body::Json(text) = &message.body else {
                continue;
            };
            let young = now.saturating_duration_since(*sent) < min_age;
            if young || size + 9 + text.len() > MAX_PACKET {
                continue;
            }
            size += 9 + text.len();
            *sent = now;
            messages.push(message.clone());
        }
        self.emit(&messages);
    }

    /// Writes `messages` as one packet, the waiting acknowledgements right after the first of them.
    fn emit(&mut self, messages: &[Message]) {
        let mut plain = Vec::new();
        for (index, message) in messages.iter().enumerate() {
            message.write(&mut plain);
            if index == 0 {
                for seq in self.acks.drain(..) {
                    let body = Body::Ack;
                    Message { seq, body }.write(&mut plain);
                }
            }
        }
        self.packets
            .push_back(self.key.seal(Plane::Signalling, self.role, &plain));
    }
}
