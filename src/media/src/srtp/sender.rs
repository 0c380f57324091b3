//! What we send, encrypted.

use std::fmt;

use model::SrtpKey;

use super::session::{ENCRYPTED, Session, Stream};

/// The outgoing direction: one SSRC, whose sequence grows by one with each packet.
pub(crate) struct Sender {
    key: SrtpKey,
    rtp: Session,
    rtcp: Session,
    /// The rollover counter, and the sequence number before.
    roc: u32,
    last: Option<u16>,
    /// The index of the next SRTCP packet.
    index: u32,
}

impl Sender {
    pub(super) fn new(key: &SrtpKey) -> Option<Self> {
        Some(Self {
            key: key.clone(),
            rtp: Session::new(key, Stream::Rtp)?,
            rtcp: Session::new(key, Stream::Rtcp)?,
            roc: 0,
            last: None,
            index: 0,
        })
    }

    pub(super) fn has(&self, key: &SrtpKey) -> bool {
        self.key == *key
    }

    /// Encrypts an RTP packet; none, and then it must not be sent, when the key is worn out (RFC 3711 section 9.2).
    pub(crate) fn seal(
        &mut self,
        packet: &mut Vec<u8>,
        header: usize,
        ssrc: u32,
        sequence: u16,
    ) -> Option<()> {
        if self.last == Some(u16::MAX) && sequence == 0 {
            self.roc = self.roc.checked_add(1)?;
        }
        self.last = Some(sequence);
        let index = u64::from(self.roc) << 16 | u64::from(sequence);
        self.rtp.seal_rtp(packet, header, ssrc, index)
    }

    /// Encrypts a compound RTCP packet.
    pub(crate) fn seal_rtcp(&mut self, packet: &mut Vec<u8>, ssrc: u32) -> Option<()> {
        if self.index >= ENCRYPTED {
            return None;
        }
        let index = self.index;
        self.index += 1;
        self.rtcp.seal_rtcp(packet, ssrc, index)
    }

    /// Begins at another index.
    #[cfg(test)]
    pub(super) fn at(mut self, roc: u32, index: u32) -> Self {
        (self.roc, self.index) = (roc, index);
        self
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sender({}, ROC {})", self.key.suite().name(), self.roc)
    }
}
