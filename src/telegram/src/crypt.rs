//! Encryption of one packet with the 256-byte call key (telegram-calls 6.1: MTProto 2.0's scheme with AES-256-CTR
//! and no padding), for signalling and, where the server wants it, for media (telegram-calls 10); and the window that drops repeated packets.
//!
//! There is no randomness in it: sealing a text twice gives the same bytes, and the recorded vectors rely on that.

use std::fmt;

use aes::cipher::{KeyIvInit, StreamCipher};
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, Zeroizing};

type Ctr = ctr::Ctr128BE<aes::Aes256>;

/// The smallest and the largest packet that is looked at.
const PACKET_BYTES: std::ops::RangeInclusive<usize> = 21..=131_072;
/// How far behind the largest counter a packet may be.
const WINDOW: u32 = 64;

/// The role in the call, not on the wire: the caller dialled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// The side that dialled; `admin_id` in Telegram's objects.
    Caller,
    /// The side that was called; `participant_id` in Telegram's objects.
    Callee,
}

impl Role {
    /// Returns the role of the peer.
    pub fn other(self) -> Role {
        match self {
            Role::Caller => Role::Callee,
            Role::Callee => Role::Caller,
        }
    }

    /// The offset into the key depends on who sends a packet, and on which plane.
    fn offset(self, plane: Plane) -> usize {
        match (plane, self) {
            (Plane::Media, Role::Caller) => 0,
            (Plane::Media, Role::Callee) => 8,
            (Plane::Signalling, Role::Caller) => 128,
            (Plane::Signalling, Role::Callee) => 136,
        }
    }
}

/// What a packet belongs to; each has a part of the key of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Plane {
    /// Signalling through Telegram's servers.
    Signalling,
    /// Audio and data channel between the ends, where DTLS does not protect them.
    Media,
}

/// The key both ends of one call agreed on. Never printed; wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct CallKey(Box<Zeroizing<[u8; 256]>>);

impl CallKey {
    /// Copies the 256 bytes of the key agreement.
    pub fn new(bytes: &[u8; 256]) -> CallKey {
        CallKey(Box::new(Zeroizing::new(*bytes)))
    }

    /// Returns bytes 12 to 19 of SHA1(key) as a little-endian number.
    pub fn fingerprint(&self) -> i64 {
        let hash: [u8; 20] = sha1::Sha1::digest(self.bytes()).into();
        let mut low = [0; 8];
        low.copy_from_slice(&hash[12..20]);
        i64::from_le_bytes(low)
    }

    /// Returns the four positions in the clients' list of 333 emoji; `g_a` as it was on the wire.
    pub fn emoji(&self, g_a: &[u8]) -> [u16; 4] {
        let hash: [u8; 32] = Sha256::new()
            .chain_update(self.bytes())
            .chain_update(g_a)
            .finalize()
            .into();
        let mut positions = [0; 4];
        for (position, word) in positions.iter_mut().zip(hash.as_chunks::<8>().0) {
            let index = (u64::from_be_bytes(*word) & 0x7fff_ffff_ffff_ffff) % 333;
            *position = u16::try_from(index).unwrap_or_default();
        }
        positions
    }

    /// Encrypts one packet of `sender`.
    pub fn seal(&self, plane: Plane, sender: Role, plain: &[u8]) -> Vec<u8> {
        let x = sender.offset(plane);
        let msg_key = self.message_key(x, plain);
        let mut sealed = plain.to_vec();
        self.apply_keystream(x, &msg_key, &mut sealed);
        let mut packet = Vec::with_capacity(16 + sealed.len());
        packet.extend_from_slice(&msg_key);
        packet.append(&mut sealed);
        packet
    }

    /// Decrypts one packet of `sender`. `None`: wrong size, wrong direction or plane, wrong key or damaged; all are dropped
    /// in silence.
    pub fn open(&self, plane: Plane, sender: Role, packet: &[u8]) -> Option<Vec<u8>> {
        if !PACKET_BYTES.contains(&packet.len()) {
            return None;
        }
        let x = sender.offset(plane);
        let (msg_key, sealed) = packet.split_first_chunk::<16>()?;
        let mut plain = sealed.to_vec();
        self.apply_keystream(x, msg_key, &mut plain);
        let expected = self.message_key(x, &plain);
        // Constant time: all bytes are looked at.
        let difference = expected
            .iter()
            .zip(msg_key)
            .fold(0u8, |acc, (a, b)| acc | (a ^ b));
        (difference == 0).then_some(plain)
    }

    fn bytes(&self) -> &[u8] {
        self.0.as_slice()
    }

    /// `length` bytes of the key from `start`; the ranges of the scheme all lie inside it.
    fn part(&self, start: usize, length: usize) -> &[u8] {
        self.bytes().get(start..start + length).unwrap_or_default()
    }

    fn message_key(&self, x: usize, plain: &[u8]) -> [u8; 16] {
        let large: [u8; 32] = Sha256::new()
            .chain_update(self.part(88 + x, 32))
            .chain_update(plain)
            .finalize()
            .into();
        let mut middle = [0; 16];
        middle.copy_from_slice(&large[8..24]);
        middle
    }

    fn apply_keystream(&self, x: usize, msg_key: &[u8; 16], data: &mut [u8]) {
        let a: [u8; 32] = Sha256::new()
            .chain_update(msg_key)
            .chain_update(self.part(x, 36))
            .finalize()
            .into();
        let b: [u8; 32] = Sha256::new()
            .chain_update(self.part(40 + x, 36))
            .chain_update(msg_key)
            .finalize()
            .into();
        let mut key = [0u8; 32];
        key[..8].copy_from_slice(&a[..8]);
        key[8..24].copy_from_slice(&b[8..24]);
        key[24..].copy_from_slice(&a[24..]);
        let mut iv = [0u8; 16];
        iv[..4].copy_from_slice(&b[..4]);
        iv[4..12].copy_from_slice(&a[8..16]);
        iv[12..].copy_from_slice(&b[24..28]);
        Ctr::new(&key.into(), &iv.into()).apply_keystream(data);
        key.zeroize();
    }
}

impl fmt::Debug for CallKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CallKey(***)")
    }
}

/// The counters seen lately: a packet that repeats one, or is more than 63 behind, is refused.
#[derive(Debug, Default)]
pub struct ReplayWindow {
    largest: u32,
    /// Bit n: the counter `largest - n` was seen.
    seen: u64,
}

impl ReplayWindow {
    /// Returns whether the counter is new, and remembers it.
    pub fn accept(&mut self, counter: u32) -> bool {
        if counter > self.largest {
            let ahead = counter - self.largest;
            self.seen = self.seen.checked_shl(ahead).unwrap_or(0) | 1;
            self.largest = counter;
            return true;
        }
        let behind = self.largest - counter;
        if behind >= WINDOW || self.seen & (1 << behind) != 0 {
            return false;
        }
        self.seen |= 1 << behind;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> CallKey {
        CallKey::new(&std::array::from_fn(|i| u8::try_from(i * 7 % 256).unwrap()))
    }

    #[test]
    fn what_one_side_seals_only_the_other_opens() {
        let (here, there) = (Plane::Signalling, Plane::Media);
        let packet = key().seal(here, Role::Caller, b"hello");
        assert_eq!(key().open(here, Role::Caller, &packet).unwrap(), b"hello");
        assert_eq!(key().open(here, Role::Callee, &packet), None);
        assert_eq!(key().open(there, Role::Caller, &packet), None);
        for index in 0..packet.len() {
            let mut damaged = packet.clone();
            damaged[index] ^= 1;
            assert_eq!(
                key().open(here, Role::Caller, &damaged),
                None,
                "byte {index}"
            );
        }
    }

    #[test]
    fn packets_of_odd_sizes_are_dropped() {
        for size in [0, 16, 20, 131_073] {
            let packet = vec![0; size];
            let opened = key().open(Plane::Media, Role::Caller, &packet);
            assert_eq!(opened, None, "{size}");
        }
    }

    #[test]
    fn the_key_is_never_printed() {
        assert_eq!(format!("{:?}", key()), "CallKey(***)");
    }

    #[test]
    fn a_counter_is_accepted_once_and_only_within_64_of_the_largest() {
        let mut window = ReplayWindow::default();
        let cases = [
            (1, true),
            (1, false),
            (100, true),
            (36, false),
            (37, true),
            (37, false),
            (99, true),
            (100, false),
            (1000, true),
            (100, false),
            (999, true),
            (u32::MAX, true),
            (u32::MAX, false),
        ];
        for (counter, fresh) in cases {
            assert_eq!(window.accept(counter), fresh, "{counter}");
        }
    }

    #[test]
    fn the_first_counter_of_a_side_may_be_late() {
        let mut window = ReplayWindow::default();
        assert!(window.accept(2));
        assert!(window.accept(1));
        assert!(!window.accept(2));
    }
}
