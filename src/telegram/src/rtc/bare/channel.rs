//! The data channel without DTLS (telegram-calls 8.5 and 10): an SCTP association whose stream 0 the caller opens by DCEP
//! (RFC 8832), and JSON as text on it. A call does not end because of this channel.

use std::collections::VecDeque;
use std::time::Instant;

use sctp_proto::PayloadProtocolIdentifier as Ppid;

use crate::association::Association;
use crate::crypt::Role;

/// `DATA_CHANNEL_OPEN` of a reliable, ordered channel named `data`.
const OPEN: [u8; 16] = *b"\x03\x00\x00\x00\x00\x00\x00\x00\x00\x04\x00\x00data";
const OPEN_TYPE: u8 = 3;
/// `DATA_CHANNEL_ACK`.
const ACK: [u8; 1] = [2];
/// Texts of ours that wait for the association; a call says a handful.
const WAITING: usize = 16;
/// Texts of the peer that are read from one packet.
const READ: usize = 64;

/// One end of the channel.
pub(super) struct Channel {
    role: Role,
    association: Association,
    waiting: Vec<(Ppid, Vec<u8>)>,
    texts: VecDeque<Vec<u8>>,
}

impl Channel {
    pub(super) fn new(role: Role) -> Self {
        Self {
            role,
            association: Association::new(role),
            waiting: Vec::new(),
            texts: VecDeque::new(),
        }
    }

    /// Begins, once, now that packets reach the peer; the callee waits for the caller.
    pub(super) fn start(&mut self, now: Instant) {
        if self.role == Role::Callee {
            return;
        }
        self.association.connect();
        self.waiting.insert(0, (Ppid::Dcep, OPEN.to_vec()));
        self.turn(now);
    }

    /// Sends a text once the association is there.
    pub(super) fn write(&mut self, now: Instant, text: &str) {
        if self.waiting.len() < WAITING {
            self.waiting.push((Ppid::String, text.as_bytes().to_vec()));
        }
        self.turn(now);
    }

    /// Takes a packet of the peer; what is none is no matter.
    pub(super) fn receive(&mut self, now: Instant, packet: Vec<u8>) {
        self.association.receive(now, packet);
        self.turn(now);
    }

    pub(super) fn timeout(&self) -> Option<Instant> {
        self.association.timeout()
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.association.handle_timeout(now) {
            self.turn(now);
        }
    }

    /// Returns the next packet for the peer.
    pub(super) fn poll_packet(&mut self) -> Option<Vec<u8>> {
        self.association.poll_packet()
    }

    /// Returns the next text of the peer.
    pub(super) fn poll_text(&mut self) -> Option<Vec<u8>> {
        self.texts.pop_front()
    }

    fn turn(&mut self, now: Instant) {
        if self.association.turn(now) {
            tracing::debug!("the data channel is lost; the call goes on");
        }
        self.read();
        self.flush_texts();
        self.association.flush(now);
    }

    fn read(&mut self) {
        while let Some(message) = self.association.poll_message() {
            if message.stream != 0 {
                continue;
            }
            match message.ppid {
                Ppid::Dcep if message.data.first() == Some(&OPEN_TYPE) => {
                    if self.waiting.len() < WAITING {
                        self.waiting.push((Ppid::Dcep, ACK.to_vec()));
                    }
                }
                // A binary message is no text, as for official clients.
                Ppid::String if self.texts.len() < READ => self.texts.push_back(message.data),
                Ppid::String
                | Ppid::Dcep
                | Ppid::Binary
                | Ppid::StringEmpty
                | Ppid::BinaryEmpty
                | Ppid::Unknown => {}
            }
        }
    }

    fn flush_texts(&mut self) {
        let association = &mut self.association;
        self.waiting
            .retain(|(ppid, text)| !association.write(*ppid, text));
    }
}
