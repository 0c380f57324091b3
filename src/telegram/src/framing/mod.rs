//! How the JSON messages of a call become signalling packets and back (telegram-calls 6).
//!
//! [`Acked`] serves the versions 8.0.0 and 9.0.0, [`Sctp`] 12.0.0 and 13.0.0. Both repeat what is lost. [`Single`] serves calls for
//! which Telegram wants no association. All deliver each message once, and drop what they cannot open without a word but with a
//! count.

mod acked;
mod sctp;
mod single;
#[cfg(test)]
mod tests;

use std::time::Instant;

pub use acked::Acked;
pub use sctp::Sctp;
pub use single::Single;

use crate::call::is_on;
use crate::crypt::{CallKey, Role};

/// Messages of ours that wait for the peer; a call needs about ten, the rest are spare candidates.
const MESSAGES: usize = 64;

/// One of the framings.
pub enum Framing {
    /// Framing A.
    Acked(Box<Acked>),
    /// Framing B.
    Sctp(Box<Sctp>),
    /// Framing B without its association.
    Single(Box<Single>),
}

/// What went wrong on the way, without consequences.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Packets or messages of the peer that did not open, were malformed, or were seen before.
    pub received: u64,
    /// Messages of ours for which there was no room.
    pub sent: u64,
}

impl Framing {
    /// Returns the framing of a library version, as the JSON object `custom_parameters` of the call changes it (telegram-calls 10):
    /// `network_kcp_experiment` takes framing B for every version, `network_signaling_nosctp` takes the association out of it. `None`
    /// for a version that is not implemented.
    pub fn new(version: &str, parameters: &str, key: CallKey, role: Role) -> Option<Framing> {
        let is_b = match version {
            "8.0.0" | "9.0.0" => is_on(parameters, "network_kcp_experiment"),
            "12.0.0" | "13.0.0" => true,
            _ => return None,
        };
        let is_single = is_b && is_on(parameters, "network_signaling_nosctp");
        Some(if is_single {
            Framing::Single(Box::new(Single::new(key, role)))
        } else if is_b {
            Framing::Sctp(Box::new(Sctp::new(key, role)))
        } else {
            Framing::acked(key, role)
        })
    }

    /// Returns framing A, whatever the version.
    pub(crate) fn acked(key: CallKey, role: Role) -> Framing {
        Framing::Acked(Box::new(Acked::new(key, role)))
    }

    /// Sends one JSON message.
    pub fn send(&mut self, now: Instant, json: &str) {
        match self {
            Framing::Acked(acked) => acked.send(now, json),
            Framing::Sctp(sctp) => sctp.send(now, json),
            Framing::Single(single) => single.send(json),
        }
    }

    /// Takes one signalling packet of the peer.
    pub fn receive(&mut self, now: Instant, packet: &[u8]) {
        match self {
            Framing::Acked(acked) => acked.receive(packet),
            Framing::Sctp(sctp) => sctp.receive(now, packet),
            Framing::Single(single) => single.receive(packet),
        }
    }

    /// Returns when [`Framing::handle_timeout`] wants to be called.
    pub fn timeout(&self) -> Option<Instant> {
        match self {
            Framing::Acked(acked) => acked.timeout(),
            Framing::Sctp(sctp) => sctp.timeout(),
            Framing::Single(_) => None,
        }
    }

    /// Repeats what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        match self {
            Framing::Acked(acked) => acked.handle_timeout(now),
            Framing::Sctp(sctp) => sctp.handle_timeout(now),
            Framing::Single(_) => {}
        }
    }

    /// Returns the next packet for the peer.
    pub fn poll_packet(&mut self) -> Option<Vec<u8>> {
        match self {
            Framing::Acked(acked) => acked.poll_packet(),
            Framing::Sctp(sctp) => sctp.poll_packet(),
            Framing::Single(single) => single.poll_packet(),
        }
    }

    /// Returns the next message of the peer.
    pub fn poll_message(&mut self) -> Option<Vec<u8>> {
        match self {
            Framing::Acked(acked) => acked.poll_message(),
            Framing::Sctp(sctp) => sctp.poll_message(),
            Framing::Single(single) => single.poll_message(),
        }
    }

    /// Returns what was dropped so far.
    pub fn dropped(&self) -> Dropped {
        match self {
            Framing::Acked(acked) => acked.dropped(),
            Framing::Sctp(sctp) => sctp.dropped(),
            Framing::Single(single) => single.dropped(),
        }
    }
}
