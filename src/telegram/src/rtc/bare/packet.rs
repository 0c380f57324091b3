//! One datagram of media that the call key protects (telegram-calls 10):
//!
//! ```text
//! packet(6.1, x = 0 or 8)( seq:u32be || 7f || length:u32be || body ),   seq = bit 31 set, bit 30 clear, counter from 1
//! body   = an RTP or RTCP packet | dc dc dc dc || an SCTP packet of the data channel
//! ```

use crate::crypt::{CallKey, Plane, ReplayWindow, Role};

/// The message is the only one of its packet, and wants no acknowledgement.
const SINGLE: u32 = 1 << 31;
const COUNTER: u32 = (1 << 30) - 1;
/// A message with a body.
const CUSTOM: u8 = 0x7f;
/// What precedes a packet of the data channel; no RTP begins so.
const CHANNEL: [u8; 4] = [0xdc; 4];

/// What a datagram carried.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// RTP or RTCP.
    Rtp(Vec<u8>),
    /// A packet of the data channel's association.
    Channel(Vec<u8>),
}

/// Seals what we send, opens what the peer sends.
pub(super) struct Packets {
    key: CallKey,
    role: Role,
    counter: u32,
    window: ReplayWindow,
}

impl Packets {
    pub(super) fn new(key: CallKey, role: Role) -> Self {
        Self {
            key,
            role,
            counter: 0,
            window: ReplayWindow::default(),
        }
    }

    /// Returns the datagram; none when all counters are used, after half a year of talk.
    pub(super) fn seal(&mut self, body: &Body) -> Option<Vec<u8>> {
        let (head, body): (&[u8], &[u8]) = match body {
            Body::Rtp(bytes) => (&[], bytes),
            Body::Channel(bytes) => (&CHANNEL, bytes),
        };
        let length = u32::try_from(head.len() + body.len()).ok()?;
        let counter = self.counter.checked_add(1).filter(|c| *c <= COUNTER)?;
        self.counter = counter;
        let mut plain = Vec::with_capacity(9 + head.len() + body.len());
        plain.extend((SINGLE | counter).to_be_bytes());
        plain.push(CUSTOM);
        plain.extend(length.to_be_bytes());
        plain.extend(head);
        plain.extend(body);
        Some(self.key.seal(Plane::Media, self.role, &plain))
    }

    /// Returns what a datagram of the peer carries; none for forged, repeated and malformed ones.
    pub(super) fn open(&mut self, datagram: &[u8]) -> Option<Body> {
        let plain = self.key.open(Plane::Media, self.role.other(), datagram)?;
        let (sequence, rest) = plain.split_first_chunk::<4>()?;
        let (kind, rest) = rest.split_first()?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let body = rest.get(..length).filter(|_| *kind == CUSTOM)?;
        let counter = u32::from_be_bytes(*sequence) & COUNTER;
        if !self.window.accept(counter) {
            return None;
        }
        Some(match body.strip_prefix(&CHANNEL) {
            Some(packet) => Body::Channel(packet.to_vec()),
            None => Body::Rtp(body.to_vec()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::hex;

    fn key() -> CallKey {
        CallKey::new(&std::array::from_fn(|i| u8::try_from(i * 7 % 256).unwrap()))
    }

    fn rtp() -> Body {
        Body::Rtp(hex("806f0001000003c0000000076f707573"))
    }

    fn sctp() -> Body {
        Body::Channel(b"sctp".to_vec())
    }

    /// Made by another program (Python, with the encryption of tests/peers/ntgcalls_peer.py) from the words of the specification.
    #[test]
    fn packets_are_those_of_another_program() {
        for (role, packets) in [
            (
                Role::Caller,
                [
                    "09f337349064c4711801fd0ccd9fd77ea00f9c716a7ac0a682ccdef7e6e4edcac480aa7062361910e0",
                    "2c43a8e8b77c99ed26c751e1f0ffd15c3fc34da771fad4d011f3e2ff9abf4680fd",
                ],
            ),
            (
                Role::Callee,
                [
                    "6a2c2f75f457481bf665db84fbfee4d1a3e9143f3b4cbcda867043360557f17262b71f2860939165ed",
                    "90a20781b83e594cf40887daf2bd4a81e281d2fe3edfbd3fd4b0a7ddf487137879",
                ],
            ),
        ] {
            let mut ours = Packets::new(key(), role);
            let mut theirs = Packets::new(key(), role.other());
            for (body, packet) in [rtp(), sctp()].into_iter().zip(packets) {
                assert_eq!(ours.seal(&body).unwrap(), hex(packet), "{role:?}");
                assert_eq!(theirs.open(&hex(packet)), Some(body), "{role:?}");
                assert_eq!(theirs.open(&hex(packet)), None, "once");
                assert_eq!(ours.open(&hex(packet)), None, "it is our own");
            }
        }
    }

    #[test]
    fn what_is_damaged_or_lies_about_its_length_is_nothing() {
        let mut ours = Packets::new(key(), Role::Caller);
        let good = ours.seal(&rtp()).unwrap();
        let mut theirs = Packets::new(key(), Role::Callee);
        for at in 0..good.len() {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            assert_eq!(theirs.open(&bytes), None, "{at}");
            assert_eq!(theirs.open(&good[..at]), None, "{at}");
        }
        for plain in [
            "80000001ff00000000",
            "800000017f00000001",
            "800000017fffffffff",
            "800000017f0000",
        ] {
            let bytes = key().seal(Plane::Media, Role::Caller, &hex(plain));
            assert_eq!(theirs.open(&bytes), None, "{plain}");
        }
        assert_eq!(theirs.open(&good), Some(rtp()), "the window is untouched");
    }

    #[test]
    fn counters_are_never_used_twice() {
        let mut ours = Packets::new(key(), Role::Caller);
        ours.counter = COUNTER - 1;
        assert!(ours.seal(&rtp()).is_some());
        assert_eq!(ours.seal(&rtp()), None);
    }
}
