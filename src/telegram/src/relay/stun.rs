//! STUN messages as far as a TURN client needs them: RFC 8489 (format, long-term credentials) and RFC 8656 (attributes).
//!
//! Passwords are hashed by MD5 as servers of RFC 5389 expect: Telegram's and coturn do, and a server of RFC 8489 takes a
//! client that names no algorithm for one of these.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;

/// The magic cookie (RFC 8489 5).
const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const HEADER: usize = 20;
const INTEGRITY: u16 = 0x0008;
/// Of an HMAC-SHA1.
const TAG: usize = 20;

/// Names a transaction.
pub(super) type TransactionId = [u8; 12];

/// Methods (RFC 8656 17); the class is added.
pub(super) mod method {
    pub(in super::super) const ALLOCATE: u16 = 0x003;
    pub(in super::super) const REFRESH: u16 = 0x004;
    pub(in super::super) const SEND: u16 = 0x006;
    pub(in super::super) const DATA: u16 = 0x007;
    pub(in super::super) const CREATE_PERMISSION: u16 = 0x008;
    pub(in super::super) const CHANNEL_BIND: u16 = 0x009;
}

/// Classes (RFC 8489 5), as bits of the message type.
pub(super) mod class {
    pub(in super::super) const REQUEST: u16 = 0x000;
    pub(in super::super) const INDICATION: u16 = 0x010;
    pub(in super::super) const SUCCESS: u16 = 0x100;
    pub(in super::super) const ERROR: u16 = 0x110;
}

/// Attributes (RFC 8489 14, RFC 8656 18).
pub(super) mod attribute {
    pub(in super::super) const USERNAME: u16 = 0x0006;
    pub(in super::super) const ERROR_CODE: u16 = 0x0009;
    pub(in super::super) const CHANNEL_NUMBER: u16 = 0x000c;
    pub(in super::super) const LIFETIME: u16 = 0x000d;
    pub(in super::super) const XOR_PEER_ADDRESS: u16 = 0x0012;
    pub(in super::super) const DATA: u16 = 0x0013;
    pub(in super::super) const REALM: u16 = 0x0014;
    pub(in super::super) const NONCE: u16 = 0x0015;
    pub(in super::super) const XOR_RELAYED_ADDRESS: u16 = 0x0016;
    pub(in super::super) const REQUESTED_ADDRESS_FAMILY: u16 = 0x0017;
    pub(in super::super) const REQUESTED_TRANSPORT: u16 = 0x0019;
    pub(in super::super) const XOR_MAPPED_ADDRESS: u16 = 0x0020;
}

/// The key of long-term credentials (RFC 8489 9.2.2).
#[derive(Clone, Copy)]
pub(super) struct Key([u8; 16]);

impl Key {
    pub(super) fn new(username: &str, realm: &[u8], password: &str) -> Self {
        let parts = [username.as_bytes(), realm, password.as_bytes()];
        Self(md5::compute(parts.join(&b':')).0)
    }

    fn mac(&self, length: u16, before: &[u8]) -> Option<Hmac<Sha1>> {
        let mut mac = Hmac::<Sha1>::new_from_slice(&self.0).ok()?;
        // The length in the header is that up to and with MESSAGE-INTEGRITY (RFC 8489 14.5).
        mac.update(before.get(..2)?);
        mac.update(&length.to_be_bytes());
        mac.update(before.get(4..)?);
        Some(mac)
    }
}

/// A message being written.
pub(super) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// Begins a message of this method and class.
    pub(super) fn new(method: u16, class: u16, id: &TransactionId) -> Self {
        let mut bytes = Vec::with_capacity(128);
        bytes.extend((method | class).to_be_bytes());
        bytes.extend([0, 0]);
        bytes.extend(COOKIE);
        bytes.extend(id);
        Self { bytes }
    }

    /// Adds an attribute; a value is at most as long as a datagram.
    pub(super) fn add(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
        self.bytes.extend(kind.to_be_bytes());
        self.bytes.extend(length.to_be_bytes());
        self.bytes.extend(value);
        let padded = self.bytes.len().next_multiple_of(4);
        self.bytes.resize(padded, 0);
        self
    }

    /// Adds an address, masked by the cookie and the transaction (RFC 8489 14.2).
    pub(super) fn add_address(self, kind: u16, address: SocketAddr) -> Self {
        let mut value = Vec::with_capacity(20);
        let mask = self.mask();
        let (family, ip): (u8, Vec<u8>) = match address.ip() {
            IpAddr::V4(v4) => (1, v4.octets().to_vec()),
            IpAddr::V6(v6) => (2, v6.octets().to_vec()),
        };
        value.extend([0, family]);
        let port = address.port().to_be_bytes();
        value.extend(port.iter().zip(mask).map(|(a, b)| a ^ b));
        value.extend(ip.iter().zip(mask).map(|(a, b)| a ^ b));
        self.add(kind, &value)
    }

    fn mask(&self) -> [u8; 16] {
        let mut mask = [0; 16];
        if let Some(from) = self.bytes.get(4..HEADER) {
            mask.copy_from_slice(from);
        }
        mask
    }

    /// Adds MESSAGE-INTEGRITY.
    pub(super) fn sign(self, key: &Key) -> Self {
        let length = self.length() + 4 + u16::try_from(TAG).unwrap_or(0);
        match key.mac(length, &self.bytes) {
            Some(mac) => self.add(INTEGRITY, &mac.finalize().into_bytes()),
            None => self,
        }
    }

    fn length(&self) -> u16 {
        u16::try_from(self.bytes.len() - HEADER).unwrap_or(u16::MAX)
    }

    /// Returns the message.
    pub(super) fn finish(mut self) -> Vec<u8> {
        let length = self.length().to_be_bytes();
        if let Some(place) = self.bytes.get_mut(2..4) {
            place.copy_from_slice(&length);
        }
        self.bytes
    }
}

/// A message received.
#[derive(Debug, Clone, Copy)]
pub(super) struct Message<'a> {
    bytes: &'a [u8],
    kind: u16,
    pub(super) id: TransactionId,
}

impl<'a> Message<'a> {
    /// Reads the header of a datagram that is exactly one message; its attributes are read when asked for.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let header = bytes.get(..HEADER)?;
        let kind = be16(header)?;
        let length = usize::from(be16(header.get(2..)?)?);
        let fits = kind < 0x4000 && length % 4 == 0 && bytes.len() == HEADER + length;
        (fits && header.get(4..8)? == COOKIE).then_some(())?;
        let id = header.get(8..)?.try_into().ok()?;
        Some(Self { bytes, kind, id })
    }

    /// Returns the class.
    pub(super) fn class(&self) -> u16 {
        self.kind & 0x110
    }

    /// Returns the method.
    pub(super) fn method(&self) -> u16 {
        self.kind & !0x110
    }

    /// Returns the first attribute of this kind that the signature covers, if there is one.
    pub(super) fn attribute(&self, kind: u16) -> Option<&'a [u8]> {
        self.find(kind).map(|(_, value)| value)
    }

    fn find(&self, kind: u16) -> Option<(usize, &'a [u8])> {
        let mut at = HEADER;
        loop {
            let head = self.bytes.get(at..at + 4)?;
            let (found, length) = (be16(head)?, usize::from(be16(head.get(2..)?)?));
            if found == kind {
                return Some((at, self.bytes.get(at + 4..at + 4 + length)?));
            }
            if found == INTEGRITY {
                return None; // what follows is not covered (RFC 8489 14.5)
            }
            at += 4 + length.next_multiple_of(4);
        }
    }

    /// Returns an address attribute.
    pub(super) fn address(&self, kind: u16) -> Option<SocketAddr> {
        let value = self.attribute(kind)?;
        let mask = self.bytes.get(4..HEADER)?;
        let plain = |from: &[u8]| -> Vec<u8> {
            let pairs = from.iter().zip(mask);
            pairs.map(|(a, b)| a ^ b).collect()
        };
        let port = be16(&plain(value.get(2..4)?))?;
        let ip = plain(value.get(4..)?);
        let ip = match value.get(1)? {
            1 => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(ip).ok()?)),
            2 => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(ip).ok()?)),
            _ => return None,
        };
        Some(SocketAddr::new(ip, port))
    }

    /// Returns a number of 32 bits.
    pub(super) fn number(&self, kind: u16) -> Option<u32> {
        Some(u32::from_be_bytes(self.attribute(kind)?.try_into().ok()?))
    }

    /// Returns the code of an error response, 300 to 699 (RFC 8489 14.8).
    pub(super) fn error_code(&self) -> Option<u16> {
        let value = self.attribute(attribute::ERROR_CODE)?;
        let (class, number) = (value.get(2)? & 7, *value.get(3)?);
        (number < 100).then_some(u16::from(class) * 100 + u16::from(number))
    }

    /// Whether MESSAGE-INTEGRITY is there and right.
    pub(super) fn is_signed(&self, key: &Key) -> bool {
        let check = || {
            let (at, tag) = self.find(INTEGRITY)?;
            let length = u16::try_from(at + 4 + TAG - HEADER).ok()?;
            let mac = key.mac(length, self.bytes.get(..at)?)?;
            mac.verify_slice(tag).ok()
        };
        check().is_some()
    }
}

fn be16(bytes: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(..2)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::hex;

    /// RFC 5769 2.4: a request with long-term credentials.
    fn sample() -> Vec<u8> {
        let mut bytes = hex("000100602112a44278ad3433c6ad72c029da412e");
        bytes.extend(hex("00060012e3839ee38388e383aae38383e382afe382b90000"));
        bytes.extend(hex("0015001c"));
        bytes.extend(b"f//499k954d6OL34oL9FSTvy64sA");
        bytes.extend(hex("0014000b"));
        bytes.extend(b"example.org\0");
        bytes.extend(hex("00080014f67024656dd64a3e02b8e0712e85c9a28ca89666"));
        bytes
    }

    fn key() -> Key {
        Key::new("マトリックス", b"example.org", "TheMatrIX")
    }

    #[test]
    fn the_sample_of_rfc_5769_is_written_and_read() {
        let bytes = sample();
        let message = Message::parse(&bytes).unwrap();
        assert!(message.is_signed(&key()));
        assert!(!message.is_signed(&Key::new("a", b"example.org", "TheMatrIX")));
        assert_eq!(
            message.attribute(attribute::REALM),
            Some(&b"example.org"[..])
        );
        let written = Writer::new(0x001, class::REQUEST, &message.id)
            .add(attribute::USERNAME, "マトリックス".as_bytes())
            .add(attribute::NONCE, b"f//499k954d6OL34oL9FSTvy64sA")
            .add(attribute::REALM, b"example.org")
            .sign(&key())
            .finish();
        assert_eq!(written, bytes);
    }

    #[test]
    fn a_changed_byte_is_noticed() {
        let good = sample();
        for at in 8..good.len() - 20 {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            let message = Message::parse(&bytes).unwrap();
            // A byte of padding is covered too (RFC 8489 14).
            assert!(!message.is_signed(&key()), "byte {at}");
        }
    }

    #[test]
    fn addresses_come_back() {
        for text in [
            "192.0.2.1:32853",
            "[2001:db8:1234:5678:11:2233:4455:6677]:1",
        ] {
            let address: SocketAddr = text.parse().unwrap();
            let bytes = Writer::new(method::SEND, class::INDICATION, &[7; 12])
                .add_address(attribute::XOR_PEER_ADDRESS, address)
                .finish();
            let message = Message::parse(&bytes).unwrap();
            assert_eq!((message.method(), message.class()), (method::SEND, 0x10));
            assert_eq!(message.address(attribute::XOR_PEER_ADDRESS), Some(address));
        }
    }

    #[test]
    fn what_follows_the_signature_is_not_read() {
        let bytes = Writer::new(method::ALLOCATE, class::SUCCESS, &[7; 12])
            .sign(&key())
            .add(attribute::LIFETIME, &[0, 0, 0, 9])
            .finish();
        let message = Message::parse(&bytes).unwrap();
        assert!(message.is_signed(&key()));
        assert_eq!(message.number(attribute::LIFETIME), None);
    }

    #[test]
    fn nothing_cut_or_random_breaks_the_reader() {
        use rand::{RngCore, SeedableRng};
        let mut rng = rand::rngs::SmallRng::seed_from_u64(1);
        let good = sample();
        for round in 0..20_000 {
            let mut bytes = good.clone();
            for _ in 0..round % 7 {
                let at = rng.next_u32() as usize % bytes.len();
                bytes[at] = rng.next_u32().to_le_bytes()[0];
            }
            bytes.truncate(rng.next_u32() as usize % (bytes.len() + 1));
            if let Some(room) = bytes.len().checked_sub(HEADER).filter(|_| round % 2 == 0) {
                bytes[2..4].copy_from_slice(&u16::try_from(room & !3).unwrap().to_be_bytes());
            }
            if let Some(message) = Message::parse(&bytes) {
                message.is_signed(&key());
                message.error_code();
                message.address(attribute::XOR_PEER_ADDRESS);
                message.number(attribute::LIFETIME);
            }
        }
    }
}
