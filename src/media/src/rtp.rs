//! RTP packets (RFC 3550 section 5.1): parsed with every length checked before use, written into a given buffer.
//!
//! Header extensions are stepped over; RTP/AVP peers send none that matters here.

use thiserror::Error;

/// The fixed header, octets.
pub(crate) const HEADER: usize = 12;
/// The longest datagram looked at; a decoder is never given more.
pub(crate) const MAX_PACKET: usize = 2048;

/// A received packet that borrows its datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RtpPacket<'a> {
    /// The payload type, 0-127.
    pub payload_type: u8,
    /// The sequence number as sent.
    pub sequence: u16,
    /// The timestamp in ticks.
    pub timestamp: u32,
    /// The synchronisation source.
    pub ssrc: u32,
    /// The marker bit.
    pub marker: bool,
    /// The payload without extension and padding; may be empty.
    pub payload: &'a [u8],
}

/// Why a datagram is not RTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RtpError {
    /// Shorter than its header says.
    #[error("packet is shorter than its header says")]
    Short,
    /// Longer than 2048 octets.
    #[error("packet is longer than {MAX_PACKET} octets")]
    Long,
    /// Not version 2: STUN, DTLS or noise.
    #[error("version is not 2")]
    Version,
    /// The padding count is 0 or larger than what is there.
    #[error("padding count does not fit")]
    Padding,
}

impl<'a> RtpPacket<'a> {
    /// Parses one datagram.
    pub fn parse(data: &'a [u8]) -> Result<Self, RtpError> {
        if data.len() > MAX_PACKET {
            return Err(RtpError::Long);
        }
        let (header, rest) = data.split_first_chunk::<HEADER>().ok_or(RtpError::Short)?;
        let [b0, b1, s0, s1, t0, t1, t2, t3, c0, c1, c2, c3] = *header;
        if b0 >> 6 != 2 {
            return Err(RtpError::Version);
        }
        let mut payload = rest
            .get(usize::from(b0 & 0x0f) * 4..)
            .ok_or(RtpError::Short)?;
        if b0 & 0x10 != 0 {
            let (extension, after) = payload.split_first_chunk::<4>().ok_or(RtpError::Short)?;
            let words = usize::from(u16::from_be_bytes([extension[2], extension[3]]));
            payload = after.get(words * 4..).ok_or(RtpError::Short)?;
        }
        if b0 & 0x20 != 0 {
            let count = usize::from(*payload.last().ok_or(RtpError::Padding)?);
            let kept = payload.len().checked_sub(count).filter(|_| count > 0);
            payload = kept
                .and_then(|kept| payload.get(..kept))
                .ok_or(RtpError::Padding)?;
        }
        Ok(Self {
            payload_type: b1 & 0x7f,
            sequence: u16::from_be_bytes([s0, s1]),
            timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
            ssrc: u32::from_be_bytes([c0, c1, c2, c3]),
            marker: b1 & 0x80 != 0,
            payload,
        })
    }

    /// The twelve octets in front of the payload.
    pub(crate) fn header(&self) -> [u8; HEADER] {
        let [s0, s1] = self.sequence.to_be_bytes();
        let [t0, t1, t2, t3] = self.timestamp.to_be_bytes();
        let [c0, c1, c2, c3] = self.ssrc.to_be_bytes();
        let b1 = self.payload_type & 0x7f | if self.marker { 0x80 } else { 0 };
        [0x80, b1, s0, s1, t0, t1, t2, t3, c0, c1, c2, c3]
    }
}

/// The octets in front of the payload: the fixed header, contributing sources, the extension (RFC 3550 section 5.3.1). None for what
/// is not RTP, or is shorter than it says.
pub(crate) fn header_len(data: &[u8]) -> Option<usize> {
    let &b0 = data.first().filter(|b0| **b0 >> 6 == 2)?;
    let mut length = HEADER + usize::from(b0 & 0x0f) * 4;
    if b0 & 0x10 != 0 {
        let &[_, _, high, low] = data.get(length..)?.first_chunk::<4>()?;
        length += 4 + usize::from(u16::from_be_bytes([high, low])) * 4;
    }
    (length <= data.len()).then_some(length)
}

/// Whether a datagram on a shared port is RTCP (RFC 5761 section 4).
pub(crate) fn looks_like_rtcp(data: &[u8]) -> bool {
    matches!(data, [b0, 192..=223, ..] if b0 >> 6 == 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::hex;

    #[test]
    fn a_packet_survives_writing_and_parsing() {
        let packet = RtpPacket {
            payload_type: 101,
            sequence: 65_535,
            timestamp: 0xdead_beef,
            ssrc: 7,
            marker: true,
            payload: &[1, 2, 3],
        };
        let mut bytes = packet.header().to_vec();
        bytes.extend_from_slice(packet.payload);
        assert_eq!(RtpPacket::parse(&bytes), Ok(packet));
    }

    #[test]
    fn contributing_sources_extension_and_padding_are_stepped_over() {
        // CC 1, X with one word, P with three octets.
        let bytes = hex("b100000100000002000000030000000abede0001111111112a2b000003");
        let packet = RtpPacket::parse(&bytes).unwrap();
        assert_eq!(packet.payload, [0x2a, 0x2b]);
    }

    #[test]
    fn a_padding_probe_is_an_empty_payload() {
        let packet =
            RtpPacket::parse(&hex("a06f0001000000020000000300000004")).map(|p| p.payload.len());
        assert_eq!(packet, Ok(0));
    }

    #[test]
    fn lengths_that_lie_are_refused() {
        for (bytes, error) in [
            ("8000000100000000a00000", RtpError::Short),
            ("8f000001000000a0000012340000000000000000", RtpError::Short),
            ("90000001000000a000001234bede00ff00000000", RtpError::Short),
            (
                "a0000001000000a0000012340000000000000000000000",
                RtpError::Padding,
            ),
            (
                "a0000001000000a00000123400000000000000000000ff",
                RtpError::Padding,
            ),
            (
                "000100002112a442616161616161616161616161",
                RtpError::Version,
            ),
            (
                "16fefd0000000000000000001000000000000000000000000000000000",
                RtpError::Version,
            ),
        ] {
            assert_eq!(RtpPacket::parse(&hex(bytes)), Err(error), "{bytes}");
        }
        assert_eq!(
            RtpPacket::parse(&[0x80; MAX_PACKET + 1]),
            Err(RtpError::Long)
        );
    }

    #[test]
    fn the_collection_of_bad_packets_is_dropped() {
        for name in [
            "dtls-in-rtp",
            "rtp-11-octets",
            "rtp-cc15",
            "rtp-pad-0",
            "rtp-pad-255",
            "stun-in-rtp",
        ] {
            let file = crate::tests::testdata(&format!("rtp-bad/{name}.json"));
            for packet in file["packets_hex"].as_array().unwrap() {
                assert!(
                    RtpPacket::parse(&hex(packet.as_str().unwrap())).is_err(),
                    "{name}"
                );
            }
        }
    }
}
