//! Framing B: JSON, gzip, encryption, then a plain SCTP association (telegram-calls 6.3).

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::time::Instant;

use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use sctp_proto::PayloadProtocolIdentifier as Ppid;

use super::{Dropped, MESSAGES};
use crate::association::Association;
use crate::crypt::{CallKey, Plane, ReplayWindow, Role};

/// A text larger than this after decompression is no negotiation.
const MAX_JSON: usize = 2 << 20;

/// Returns one SCTP user message: the counter and the compressed text, encrypted.
pub(super) fn pack(key: &CallKey, sender: Role, counter: u32, json: &[u8]) -> Vec<u8> {
    let plain = counter.to_be_bytes().to_vec();
    let mut gzip = GzEncoder::new(plain, Compression::default());
    let packed = match gzip.write_all(json).and_then(|()| gzip.finish()) {
        Ok(packed) => packed,
        // Writing to memory does not fail; uncompressed text is legal too.
        Err(_) => [&counter.to_be_bytes(), json].concat(),
    };
    key.seal(Plane::Signalling, sender, &packed)
}

/// Returns the counter and the JSON text of one SCTP user message.
pub(super) fn unpack(key: &CallKey, sender: Role, message: &[u8]) -> Option<(u32, Vec<u8>)> {
    let plain = key.open(Plane::Signalling, sender, message)?;
    let (counter, body) = plain.split_first_chunk::<4>()?;
    let json = if body.starts_with(&[0x1f, 0x8b]) {
        let mut json = Vec::new();
        let limit = u64::try_from(MAX_JSON + 1).ok()?;
        GzDecoder::new(body)
            .take(limit)
            .read_to_end(&mut json)
            .ok()?;
        json
    } else {
        body.to_vec()
    };
    (json.len() <= MAX_JSON).then_some((u32::from_be_bytes(*counter), json))
}

/// One end of framing B.
pub struct Sctp {
    key: CallKey,
    role: Role,
    counter: u32,
    window: ReplayWindow,
    association: Association,
    /// Every message of ours, sealed: a new association begins by repeating them.
    messages: Vec<Vec<u8>>,
    /// How many of them the present association has.
    written: usize,
    inbox: VecDeque<Vec<u8>>,
    dropped: Dropped,
}

impl Sctp {
    /// Begins; the caller's INIT goes out with the first input.
    pub fn new(key: CallKey, role: Role) -> Sctp {
        let mut association = Association::new(role);
        association.connect();
        Sctp {
            key,
            role,
            counter: 0,
            window: ReplayWindow::default(),
            association,
            messages: Vec::new(),
            written: 0,
            inbox: VecDeque::new(),
            dropped: Dropped::default(),
        }
    }

    pub(super) fn send(&mut self, now: Instant, json: &str) {
        if self.messages.len() == MESSAGES {
            if self.written == 0 {
                self.dropped.sent += 1;
                return;
            }
            // The association has it, and the peer's window would drop it if it came again.
            self.messages.remove(0);
            self.written -= 1;
        }
        self.counter += 1;
        let message = pack(&self.key, self.role, self.counter, json.as_bytes());
        self.messages.push(message);
        self.turn(now);
    }

    pub(super) fn receive(&mut self, now: Instant, packet: &[u8]) {
        if self.association.is_replaced_by(packet) {
            self.restart();
        }
        if !self.association.receive(now, packet.to_vec()) {
            self.dropped.received += 1;
        }
        self.turn(now);
    }

    pub(super) fn timeout(&self) -> Option<Instant> {
        self.association.timeout()
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.association.handle_timeout(now);
        self.turn(now);
    }

    pub(super) fn poll_packet(&mut self) -> Option<Vec<u8>> {
        self.association.poll_packet()
    }

    pub(super) fn poll_message(&mut self) -> Option<Vec<u8>> {
        self.inbox.pop_front()
    }

    pub(super) fn dropped(&self) -> Dropped {
        self.dropped
    }

    /// Forgets the association and begins another, if that is our part. It repeats all messages, and the peer's window drops what it
    /// has.
    pub(super) fn restart(&mut self) {
        self.association.restart();
        self.begin_again();
    }

    fn begin_again(&mut self) {
        self.written = 0;
        self.association.connect();
    }

    /// Moves everything that can move: events, messages both ways, packets.
    fn turn(&mut self, now: Instant) {
        if self.association.turn(now) {
            self.begin_again();
        }
        self.read();
        self.write();
        self.association.flush(now);
    }

    fn read(&mut self) {
        while let Some(message) = self.association.poll_message() {
            let is_ours = message.stream == 0 && message.ppid == Ppid::Binary;
            let unpacked = is_ours
                .then(|| unpack(&self.key, self.role.other(), &message.data))
                .flatten();
            match unpacked {
                Some((counter, json)) if self.window.accept(counter) => self.inbox.push_back(json),
                Some(_) | None => self.dropped.received += 1,
            }
        }
    }

    fn write(&mut self) {
        for message in self.messages.iter().skip(self.written) {
            if !self.association.write(Ppid::Binary, message) {
                return;
            }
            self.written += 1;
        }
    }
}
