//! RTP ports (SEC-M7): pairs chosen at random, bound only while a call owns them, left alone for a minute afterwards.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use metrics::MediaCounters;
use parking_lot::Mutex;
use rand::Rng;

use crate::udp;

/// What the kernel holds of one leg while its thread is busy: a second of packets and more.
pub(super) const BUFFER_BYTES: usize = 256 << 10;
/// EF, the class of telephony media (RFC 4594 s.4.1).
pub(super) const MEDIA_DSCP: u32 = 46;
/// How long a port rests at least, when no other is left: packets of the call before are no longer on their way.
const LEAST_REST: Duration = Duration::from_secs(5);
/// Ports of other programs met in one search before it gives up.
const MAX_TAKEN: usize = 64;

/// No pair of RTP ports is free.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no RTP ports are free")]
pub struct NoRtpPorts;

/// The RTP ports of this host.
pub struct RtpPorts {
    bind: IpAddr,
    public: Option<IpAddr>,
    rest: Duration,
    pairs: usize,
    used: AtomicUsize,
    counters: Option<MediaCounters>,
    pool: Mutex<Pool>,
}

#[derive(Debug)]
struct Pool {
    /// Even ports that may be used, in no order.
    free: Vec<u16>,
    /// Even ports that rest, the longest first.
    resting: VecDeque<(Instant, u16)>,
}

impl RtpPorts {
    /// Manages the pairs within `range`. `public` is told to peers instead of the local address; `rest` is how long
    /// a port stays unused after a call.
    pub fn new(
        bind: IpAddr,
        range: RangeInclusive<u16>,
        public: Option<IpAddr>,
        rest: Duration,
    ) -> Self {
        let last = *range.end();
        let free: Vec<u16> = range
            .filter(|port| port % 2 == 0 && *port != 0 && *port < last)
            .collect();
        let pool = Pool {
            free,
            resting: VecDeque::new(),
        };
        Self {
            bind,
            public,
            rest,
            pairs: pool.free.len(),
            used: AtomicUsize::new(0),
            counters: None,
            pool: Mutex::new(pool),
        }
    }

    /// Keeps the metrics up to date about the ports; those that rest count as free.
    #[must_use]
    pub fn shown_in(mut self, counters: MediaCounters) -> Self {
        self.counters = Some(counters);
        self.show();
        self
    }

    /// Takes a pair of ports at random, bound, and tells the address to name to `peer`.
    pub fn reserve(self: &Arc<Self>, peer: SocketAddr) -> Result<RtpReservation, NoRtpPorts> {
        let ip = self.address_towards(peer);
        for _ in 0..MAX_TAKEN {
            let port = self
                .pool
                .lock()
                .take(Instant::now(), self.rest)
                .ok_or(NoRtpPorts)?;
            match self.bind_pair(peer, port) {
                Ok((rtp, rtcp)) => {
                    self.used.fetch_add(1, Ordering::Relaxed);
                    self.show();
                    return Ok(RtpReservation {
                        sockets: Some((rtp, rtcp)),
                        address: SocketAddr::new(ip, port),
                        _lease: Lease {
                            port,
                            ports: Arc::clone(self),
                        },
                    });
                }
                Err(error) => {
                    tracing::debug!(port, %error, "a pair of RTP ports is taken by another program");
                    self.pool.lock().put_back(Instant::now(), port);
                    if error.kind() != io::ErrorKind::AddrInUse {
                        tracing::error!(port, %error, "RTP ports cannot be bound");
                        return Err(NoRtpPorts);
                    }
                }
            }
        }
        Err(NoRtpPorts)
    }

    /// Returns how many pairs could be had now.
    pub fn free(&self) -> usize {
        let mut pool = self.pool.lock();
        pool.wake(Instant::now(), self.rest);
        pool.free.len()
    }

    fn show(&self) {
        if let Some(counters) = &self.counters {
            let used = self.used.load(Ordering::Relaxed);
            let gauge = |count| i64::try_from(count).unwrap_or(i64::MAX);
            counters.ports_used.set(gauge(used));
            counters
                .ports_free
                .set(gauge(self.pairs.saturating_sub(used)));
        }
    }

    fn address_towards(&self, peer: SocketAddr) -> IpAddr {
        match (self.public, self.bind_towards(peer)) {
            // A peer beside us cannot come back through the address the world sees, nor through one of the other family.
            (Some(public), _) if !peer.ip().is_loopback() && public.is_ipv4() == peer.is_ipv4() => {
                public
            }
            (_, bind) if !bind.is_unspecified() => bind,
            _ => udp::source_address_for(peer),
        }
    }

    /// What is bound for a peer: the address that is set, or where its family leads to none, any of the peer's.
    fn bind_towards(&self, peer: SocketAddr) -> IpAddr {
        if self.bind.is_unspecified() || self.bind.is_ipv4() != peer.is_ipv4() {
            udp::unspecified(peer.ip())
        } else {
            self.bind
        }
    }

    fn bind_pair(&self, peer: SocketAddr, port: u16) -> io::Result<(UdpSocket, UdpSocket)> {
        let ip = self.bind_towards(peer);
        let open = |port, receive| {
            // Fifty packets a second leave at once.
            let buffers = udp::Buffers {
                receive,
                send: None,
            };
            udp::open(SocketAddr::new(ip, port), buffers, MEDIA_DSCP)
        };
        // RTCP is a packet every few seconds.
        Ok((open(port, Some(BUFFER_BYTES))?, open(port + 1, None)?))
    }
}

impl Pool {
    fn wake(&mut self, now: Instant, rest: Duration) {
        while let Some((since, port)) = self.resting.front()
            && now.duration_since(*since) >= rest
        {
            self.free.push(*port);
            self.resting.pop_front();
        }
    }

    fn take(&mut self, now: Instant, rest: Duration) -> Option<u16> {
        self.wake(now, rest);
        if self.free.is_empty() {
            // Many short calls wear out the range in less than the rest: better less rest than no call.
            let rested = |(since, _): &&(Instant, u16)| now.duration_since(*since) >= LEAST_REST;
            self.resting.front().filter(rested)?;
            return self.resting.pop_front().map(|(_, port)| port);
        }
        let index = rand::rng().random_range(0..self.free.len());
        Some(self.free.swap_remove(index))
    }

    fn put_back(&mut self, now: Instant, port: u16) {
        self.resting.push_back((now, port));
    }
}

/// A bound pair of ports; both close, and rest, when it is dropped.
#[derive(Debug)]
pub struct RtpReservation {
    // Before the lease: the sockets close first.
    sockets: Option<(UdpSocket, UdpSocket)>,
    address: SocketAddr,
    _lease: Lease,
}

impl RtpReservation {
    /// Returns the RTP address for the SDP; RTCP is the port after it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes the sockets out; the ports stay reserved.
    pub(super) fn take_sockets(&mut self) -> Option<(UdpSocket, UdpSocket)> {
        self.sockets.take()
    }
}

#[derive(Debug)]
struct Lease {
    port: u16,
    ports: Arc<RtpPorts>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.ports.pool.lock().put_back(Instant::now(), self.port);
        self.ports.used.fetch_sub(1, Ordering::Relaxed);
        self.ports.show();
    }
}

impl fmt::Debug for RtpPorts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let used = self.used.load(Ordering::Relaxed);
        write!(f, "RtpPorts({used} of {} pairs used)", self.pairs)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::net::Ipv4Addr;

    use super::*;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const PEER: SocketAddr = SocketAddr::new(HERE, 5060);
    const MINUTE: Duration = Duration::from_secs(60);

    fn ports(range: RangeInclusive<u16>, rest: Duration) -> Arc<RtpPorts> {
        Arc::new(RtpPorts::new(HERE, range, None, rest))
    }

    #[test]
    fn a_pair_is_even_and_odd_and_both_are_bound() {
        let ports = ports(41_000..=41_999, MINUTE);
        let pair = ports.reserve(PEER).unwrap();
        assert_eq!(pair.address().port() % 2, 0);
        for port in [pair.address().port(), pair.address().port() + 1] {
            assert!(UdpSocket::bind((HERE, port)).is_err());
        }
    }

    #[test]
    fn ports_run_out_and_a_returned_pair_rests_before_it_is_used_again() {
        let ports = ports(42_001..=42_006, MINUTE);
        let first = ports.reserve(PEER).unwrap();
        let _second = ports.reserve(PEER).unwrap();
        assert_eq!(ports.reserve(PEER).unwrap_err(), NoRtpPorts);
        let port = first.address().port();
        drop(first);
        assert!(
            UdpSocket::bind((HERE, port)).is_ok(),
            "the socket is closed at once"
        );
        assert_eq!(ports.reserve(PEER).unwrap_err(), NoRtpPorts);
        let mut pool = ports.pool.lock();
        let later = Instant::now() + MINUTE;
        assert_eq!(pool.take(later, MINUTE), Some(port));
    }

    #[test]
    fn a_port_of_another_program_is_passed_over() {
        let _other = UdpSocket::bind((HERE, 43_003)).unwrap();
        let ports = ports(43_000..=43_003, MINUTE);
        for _ in 0..1 {
            assert_eq!(ports.reserve(PEER).unwrap().address().port(), 43_000);
        }
    }

    #[test]
    fn the_order_of_ports_cannot_be_guessed() {
        let ports = ports(44_000..=45_999, Duration::ZERO);
        let seen: HashSet<u16> = (0..20)
            .filter_map(|_| ports.reserve(PEER).ok())
            .map(|pair| pair.address().port())
            .collect();
        assert!(seen.len() > 15, "{seen:?}");
    }

    #[test]
    fn the_public_address_is_told_to_everybody_but_neighbours_on_this_host() {
        let public: IpAddr = "192.0.2.7".parse().unwrap();
        let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let ports = Arc::new(RtpPorts::new(any, 46_000..=46_999, Some(public), MINUTE));
        let far: SocketAddr = "198.51.100.1:5060".parse().unwrap();
        assert_eq!(ports.reserve(far).unwrap().address().ip(), public);
        assert_eq!(ports.reserve(PEER).unwrap().address().ip(), HERE);
    }

    #[test]
    fn a_peer_by_ipv6_is_told_an_address_of_its_own_family() {
        let public: IpAddr = "192.0.2.7".parse().unwrap();
        let six: SocketAddr = "[::1]:5060".parse().unwrap();
        for bind in [IpAddr::V4(Ipv4Addr::UNSPECIFIED), HERE] {
            let ports = Arc::new(RtpPorts::new(bind, 48_000..=48_099, Some(public), MINUTE));
            let pair = ports.reserve(six).unwrap();
            assert_eq!(pair.address().ip(), six.ip(), "bound to {bind}");
        }
        let far: SocketAddr = "[2001:db8::1]:5060".parse().unwrap();
        let ports = Arc::new(RtpPorts::new(HERE, 48_100..=48_199, Some(public), MINUTE));
        assert!(ports.reserve(far).unwrap().address().is_ipv6());
    }

    #[test]
    fn nothing_leaks_over_many_calls() {
        let ports = ports(47_000..=47_099, Duration::ZERO);
        let before = ports.free();
        for _ in 0..1000 {
            let _pair = ports.reserve(PEER).unwrap();
        }
        assert_eq!(ports.free(), before);
    }
}
