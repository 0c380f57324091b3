//! A reflector (telegram-calls 9.2 to 9.4): it joins two ends that know the same tag, and is told by each which
//! of them a packet is for.
//!
//! ```text
//! hello    = my_id || ff*12 || fe ff ff ff || 00 00 00 00 00 00 00 7b
//! data     = peer_id || my_tag || length:u32be || payload || zero padding to 4
//! received = my_id || sender_tag || length:u32be || payload || padding
//! my_id    = peer_tag[0..12] || my_tag,   peer_id = peer_tag[0..12] || remote_tag
//! ```
//!
//! Over TCP the packets are the same, but for the hello, which is my_id || 00*4; how they follow each other on the
//! connection is the driver's matter.
//!
//! To ICE an end behind a reflector is a relay candidate with a made-up name. str0m knows addresses only, so each
//! (reflector, tag) has a made-up IPv6 address here, which never leaves: our socket is of IPv4, and so nothing else is
//! ever paired with it.

use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};
use std::time::{Duration, Instant};

/// Octets that all ends of a call share.
const SHARED: usize = 12;
const HEADER: usize = 24;
/// Between two hellos until the reflector has said something, and afterwards.
const KNOCK: Duration = Duration::from_millis(500);
const REMIND: Duration = Duration::from_secs(10);
/// Hellos before a reflector that says nothing is asked less often.
const KNOCKS: u8 = 40;
/// fd00::/8 with a random 40-bit site (RFC 4193), of which nobody has a network.
const SITE: [u16; 3] = [0xfd9e, 0x4c1f, 0x70a3];
/// The priority libwebrtc gives a relay over UDP whose preference is the least: behind every TURN relay.
pub(super) const PRIORITY: u32 = 58_589_952;

/// One end at one reflector.
pub(super) struct Reflector {
    /// The place of the reflector among those of the call, from 1 (telegram-calls 9.3).
    rank: u8,
    port: u16,
    shared: [u8; SHARED],
    tag: u32,
    is_tcp: bool,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing came from the reflector so far.
    Knocking { next: Instant, left: u8 },
    /// There is no connection yet (TCP).
    Unconnected,
    /// It has answered, or is connected: the candidate is valid.
    Open { next: Instant },
    /// The connection is lost and will be made anew (TCP): the candidate stays, and nothing can be sent.
    Broken,
}

impl Reflector {
    /// Begins to knock. `tag` names this end and is random, not 0.
    pub(super) fn new(now: Instant, rank: u8, port: u16, peer_tag: &[u8; 16], tag: u32) -> Self {
        let mut shared = [0; SHARED];
        shared.copy_from_slice(peer_tag.split_at(SHARED).0);
        Self {
            rank,
            port,
            shared,
            tag,
            is_tcp: false,
            state: State::Knocking {
                next: now,
                left: KNOCKS,
            },
        }
    }

    /// The same over TCP: it waits for its connection.
    pub(super) fn over_tcp(self) -> Self {
        Self {
            is_tcp: true,
            state: State::Unconnected,
            ..self
        }
    }

    /// Whether it is reached by TCP.
    pub(super) fn is_tcp(&self) -> bool {
        self.is_tcp
    }

    /// Takes the news that the connection is there.
    pub(super) fn on_connected(&mut self, now: Instant) {
        if self.is_tcp {
            self.state = State::Open { next: now };
        }
    }

    /// Takes the news that the connection is lost; returns whether there was one before.
    pub(super) fn on_lost(&mut self) -> bool {
        match self.state {
            State::Knocking { .. } | State::Unconnected => false,
            State::Open { .. } | State::Broken => {
                self.state = State::Broken;
                true
            }
        }
    }

    /// Returns the made-up address of our end, once the reflector has answered.
    pub(super) fn relayed(&self) -> Option<SocketAddr> {
        match self.state {
            State::Knocking { .. } | State::Unconnected => None,
            State::Open { .. } | State::Broken => Some(self.address_of(self.tag)),
        }
    }

    /// Returns what the peer is told of our end.
    pub(super) fn line(&self) -> String {
        self.line_of(self.tag)
    }

    /// Returns what the end with this tag would say of itself.
    pub(super) fn line_of(&self, tag: u32) -> String {
        let (rank, port) = (self.rank, self.port);
        format!(
            "candidate:{} 1 udp {PRIORITY} reflector-{rank}-{tag}.reflector {port} typ relay",
            0x5245_0000 + u32::from(rank)
        )
    }

    /// Returns the made-up address of the end of the peer that this name and port belong to.
    pub(super) fn address_of_name(&self, name: &str, port: u16) -> Option<SocketAddr> {
        let inner = name
            .strip_prefix("reflector-")?
            .strip_suffix(".reflector")?;
        let (rank, tag) = inner.split_once('-')?;
        let (rank, tag): (u8, u32) = (rank.parse().ok()?, tag.parse().ok()?);
        let is_here = rank == self.rank && port == self.port && tag != self.tag && tag != 0;
        is_here.then(|| self.address_of(tag))
    }

    fn address_of(&self, tag: u32) -> SocketAddr {
        let ([a, b, c], [t1, t2, t3, t4]) = (SITE, tag.to_be_bytes());
        let high = u16::from_be_bytes([t1, t2]);
        let low = u16::from_be_bytes([t3, t4]);
        let ip = Ipv6Addr::new(a, b, c, u16::from(self.rank), 0, 0, high, low);
        SocketAddrV6::new(ip, self.port, 0, 0).into()
    }

    /// Returns the tag of an end at this reflector.
    fn tag_of(&self, address: SocketAddr) -> Option<u32> {
        let SocketAddr::V6(v6) = address else {
            return None;
        };
        let [.., high, low] = v6.ip().segments();
        let tag = u32::from(high) << 16 | u32::from(low);
        (self.address_of(tag) == address).then_some(tag)
    }

    /// When to call [`Reflector::handle_timeout`].
    pub(super) fn timeout(&self) -> Option<Instant> {
        match self.state {
            State::Knocking { next, .. } | State::Open { next } => Some(next),
            State::Unconnected | State::Broken => None,
        }
    }

    /// Returns the hello that is due.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Option<Vec<u8>> {
        match &mut self.state {
            State::Knocking { next, left } if *next <= now => {
                *left = left.saturating_sub(1);
                *next = now + if *left == 0 { REMIND } else { KNOCK };
            }
            State::Open { next } if *next <= now => *next = now + REMIND,
            State::Knocking { .. } | State::Open { .. } => return None,
            State::Unconnected | State::Broken => return None,
        }
        let mut hello = self.id(self.tag);
        if self.is_tcp {
            hello.extend([0; 4]);
            return Some(hello);
        }
        hello.extend([0xff; 12]);
        hello.extend([0xfe, 0xff, 0xff, 0xff]);
        hello.extend([0, 0, 0, 0, 0, 0, 0, 0x7b]);
        Some(hello)
    }

    fn id(&self, tag: u32) -> Vec<u8> {
        let mut id = Vec::with_capacity(40);
        id.extend(self.shared);
        id.extend(tag.to_le_bytes());
        id
    }

    /// Returns what to send to the reflector so that it reaches the end with this made-up address.
    pub(super) fn send(&self, peer: SocketAddr, data: &[u8]) -> Option<Vec<u8>> {
        if self.state == State::Broken {
            return None;
        }
        let tag = self.tag_of(peer)?;
        let length = u32::try_from(data.len()).ok()?;
        let mut bytes = Vec::with_capacity(HEADER + data.len() + 3);
        bytes.extend(self.shared);
        bytes.extend(tag.to_le_bytes());
        bytes.extend(self.tag.to_le_bytes());
        bytes.extend(length.to_be_bytes());
        bytes.extend(data);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        Some(bytes)
    }

    /// Whether a datagram from the reflector's address is for this end.
    pub(super) fn is_addressed(&self, bytes: &[u8]) -> bool {
        bytes.get(..SHARED) == Some(&self.shared[..])
    }

    /// Takes a datagram that came from the reflector; returns the peer and what it sent, or nothing.
    pub(super) fn receive<'a>(
        &mut self,
        now: Instant,
        bytes: &'a [u8],
    ) -> Option<(SocketAddr, &'a [u8])> {
        if !self.is_addressed(bytes) {
            return None;
        }
        if let State::Knocking { .. } = self.state {
            self.state = State::Open { next: now + REMIND };
        }
        let header = bytes.get(..HEADER)?;
        let number = |at: usize| -> Option<[u8; 4]> { header.get(at..at + 4)?.try_into().ok() };
        // Our own id, else it is for somebody else; a sender of all ones is the reflector itself.
        let is_ours = u32::from_le_bytes(number(SHARED)?) == self.tag;
        let sender = u32::from_le_bytes(number(16)?);
        if !is_ours || sender == u32::MAX || sender == self.tag {
            return None;
        }
        let length = usize::try_from(u32::from_be_bytes(number(20)?)).ok()?;
        let data = bytes.get(HEADER..)?.get(..length)?;
        Some((self.address_of(sender), data))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::start;

    const PEER_TAG: [u8; 16] = *b"0123456789abcdef";

    fn open(now: Instant, rank: u8, tag: u32) -> Reflector {
        let mut end = Reflector::new(now, rank, 599, &PEER_TAG, tag);
        let hello = end.handle_timeout(now).unwrap();
        assert_eq!(hello.len(), 40);
        let mut answer = hello[..16].to_vec();
        answer.extend([0xff; 12]);
        assert_eq!(end.relayed(), None);
        assert_eq!(end.receive(now, &answer), None);
        assert!(end.relayed().is_some());
        end
    }

    #[test]
    fn what_one_end_sends_the_other_gets_from_it() {
        let now = start();
        let (one, mut other) = (open(now, 2, 0x8765_4321), open(now, 2, 7));
        let name = "reflector-2-7.reflector";
        let target = one.address_of_name(name, 599).unwrap();
        assert_eq!(Some(target), other.relayed());
        assert!(other.line().contains(&format!(" {name} 599 typ relay")));
        for length in 0..9 {
            let data = vec![0x80; length];
            let bytes = one.send(target, &data).unwrap();
            assert_eq!(bytes.len() % 4, 0);
            let (source, got) = other.receive(now, &bytes).unwrap();
            assert_eq!((Some(source), got), (one.relayed(), &data[..]));
        }
    }

    #[test]
    fn names_of_other_reflectors_and_ports_are_no_use() {
        let one = open(start(), 2, 9);
        for (name, port) in [
            ("reflector-1-7.reflector", 599),
            ("reflector-2-7.reflector", 598),
            ("reflector-2-9.reflector", 599),
            ("reflector-2-0.reflector", 599),
            ("reflector-2.reflector", 599),
            ("reflector-2-7.local", 599),
            ("reflector-2-4294967296.reflector", 599),
            ("192.0.2.1", 599),
        ] {
            assert_eq!(one.address_of_name(name, port), None, "{name}");
        }
        assert!(one.send("192.0.2.1:599".parse().unwrap(), &[1]).is_none());
        let elsewhere = open(start(), 3, 7).relayed().unwrap();
        assert!(one.send(elsewhere, &[1]).is_none());
    }

    #[test]
    fn it_knocks_twice_a_second_and_then_every_ten() {
        let mut now = start();
        let mut end = Reflector::new(now, 1, 599, &PEER_TAG, 5);
        for _ in 0..KNOCKS - 1 {
            assert!(end.handle_timeout(now).is_some());
            assert!(end.handle_timeout(now).is_none());
            assert_eq!(end.timeout(), Some(now + KNOCK));
            now += KNOCK;
        }
        end.handle_timeout(now).unwrap();
        assert_eq!(end.timeout(), Some(now + REMIND));
        let mut open = open(now, 1, 5);
        assert_eq!(open.timeout(), Some(now + REMIND));
        assert!(open.handle_timeout(now + REMIND).is_some());
    }

    #[test]
    fn over_tcp_the_connection_is_the_answer() {
        let now = start();
        let mut end = Reflector::new(now, 1, 443, &PEER_TAG, 5).over_tcp();
        assert_eq!((end.timeout(), end.handle_timeout(now)), (None, None));
        end.on_connected(now);
        assert!(end.relayed().is_some());
        let hello = end.handle_timeout(now).unwrap();
        assert_eq!(hello, [&PEER_TAG[..12], &[5, 0, 0, 0], &[0; 4]].concat());
        assert_eq!(end.timeout(), Some(now + REMIND));
    }

    #[test]
    fn a_lost_connection_keeps_its_candidate_and_says_hello_when_it_is_back() {
        let now = start();
        let mut end = Reflector::new(now, 1, 443, &PEER_TAG, 5).over_tcp();
        assert!(!end.on_lost(), "it was never there");
        end.on_connected(now);
        let (ours, hello) = (end.relayed(), end.handle_timeout(now));
        let other = end.address_of(7);
        assert!(end.send(other, &[1]).is_some());
        assert!(end.on_lost() && end.on_lost());
        assert_eq!((end.relayed(), end.timeout()), (ours, None));
        assert_eq!(
            (end.send(other, &[1]), end.handle_timeout(now)),
            (None, None)
        );
        end.on_connected(now);
        assert_eq!((end.relayed(), end.handle_timeout(now)), (ours, hello));
        assert!(end.send(other, &[1]).is_some());
    }

    #[test]
    fn cut_foreign_and_lying_datagrams_are_nothing() {
        let now = start();
        let (one, mut other) = (open(now, 1, 5), open(now, 1, 7));
        let good = one.send(other.relayed().unwrap(), &[0x80; 8]).unwrap();
        for length in 0..good.len() {
            assert_eq!(other.receive(now, &good[..length]), None, "{length}");
        }
        for at in [0, 11, 12, 15] {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            assert_eq!(other.receive(now, &bytes), None, "{at}");
        }
        let mut long = good.clone();
        long[20] = 0xff;
        assert_eq!(other.receive(now, &long), None);
        let mut service = good;
        service[16..28].fill(0xff);
        assert_eq!(other.receive(now, &service), None);
    }
}
