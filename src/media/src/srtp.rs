//! SRTP and SRTCP (RFC 3711; RFC 7714 for GCM): one layer between the socket and everything that looks at packets.
//!
//! Written on the ciphers of aws-lc: what crates there are keep a state for every SSRC that a stranger names, before they
//! have verified anything. Here a stream is only known once a packet of it was authentic, and nothing is allocated for a packet.
//!
//! What is absent: master keys that change by packet count or by MKI (one key a direction, changed by offer and answer),
//! key derivation rates, packets without encryption or without a tag.

mod receiver;
mod sender;
mod session;
#[cfg(test)]
pub(crate) mod tests;

use model::SrtpKeys;

pub(crate) use receiver::{Receiver, Refused};
pub(crate) use sender::Sender;

/// Both directions of a leg.
#[derive(Debug)]
pub(crate) struct Srtp {
    pub(crate) sender: Sender,
    pub(crate) receiver: Receiver,
}

impl Srtp {
    /// Makes both; none if the library does not take the keys, which have the right length by their type.
    pub(crate) fn new(keys: &SrtpKeys) -> Option<Self> {
        Some(Self {
            sender: Sender::new(&keys.send)?,
            receiver: Receiver::new(&keys.receive, keys.mki_len)?,
        })
    }

    /// Takes the keys of a new offer and answer: a direction whose key stays goes on, with its ROC and its window.
    /// Returns whether we send with another key from now on; none if the library does not take the keys.
    pub(crate) fn change(&mut self, keys: &SrtpKeys) -> Option<bool> {
        self.receiver.change(&keys.receive, keys.mki_len)?;
        if self.sender.has(&keys.send) {
            return Some(false);
        }
        self.sender = Sender::new(&keys.send)?;
        Some(true)
    }
}
