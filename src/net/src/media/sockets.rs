//! The sockets of one call.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::ops::RangeInclusive;
use std::task::{Context, Poll};

use model::LegId;
use rand::Rng;
use tokio::io::unix::AsyncFd;

use super::config::MediaConfig;
use super::port::Door;
use super::ports::{BUFFER_BYTES, MEDIA_DSCP, RtpReservation};
use super::rtc::MAX_CANDIDATES;
use super::streams::Streams;
use crate::udp;

/// Longer than any packet a transport takes, so that a longer one shows.
pub(super) const MAX_DATAGRAM: usize = 4096;
/// Datagrams taken from one socket before the others have their turn.
const BURST: usize = 16;
/// Datagrams thrown away at most when a socket begins to be read: more than the kernel holds of one.
const STALE: usize = 4096;
/// Ports tried in a range before the address is left out.
const MAX_TRIES: u16 = 64;

/// The sockets of one call; those of a leg close, and its ports return, when it is removed.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    open: Vec<Open>,
    streams: Streams,
    leases: Vec<(LegId, RtpReservation)>,
}

#[derive(Debug)]
struct Open {
    leg: LegId,
    door: Door,
    socket: AsyncFd<UdpSocket>,
}

impl Sockets {
    /// Opens the doors of a SIP leg. Belongs into the runtime of the call's thread. RTP that has come before is thrown away: the peer may have
    /// played music since its ports were told, and the kernel has kept the oldest of it.
    pub(super) fn add_rtp(&mut self, leg: LegId, mut lease: RtpReservation) -> io::Result<()> {
        self.remove(leg);
        let (rtp, rtcp) = lease.take_sockets().ok_or(io::ErrorKind::NotConnected)?;
        let mut octet = [0];
        let _ = (0..STALE)
            .take_while(|_| rtp.recv(&mut octet).is_ok())
            .count();
        for (door, socket) in [(Door::Rtp, rtp), (Door::Rtcp, rtcp)] {
            let socket = udp::watch(socket)?;
            self.open.push(Open { leg, door, socket });
        }
        self.leases.push((leg, lease));
        Ok(())
    }

    /// Opens a socket for each address that may be offered to a Telegram peer; returns how the peer is told of them.
    /// `towards` is a host of the outer world.
    pub(super) fn add_candidates(
        &mut self,
        leg: LegId,
        config: &MediaConfig,
        towards: Option<IpAddr>,
    ) -> Vec<SocketAddr> {
        self.remove(leg);
        let mut told = Vec::new();
        for ip in candidate_addresses(config, towards) {
            let opened = bind(ip, config.telegram_ports.as_ref()).and_then(|socket| {
                let local = socket.local_addr()?;
                Ok((local, udp::watch(socket)?))
            });
            match opened {
                Ok((local, socket)) => {
                    told.push(outside(local, config.telegram_public_address));
                    let door = Door::Candidate(local);
                    self.open.push(Open { leg, door, socket });
                }
                Err(error) => tracing::debug!(%ip, %error, "an address cannot be offered"),
            }
            if told.len() == MAX_CANDIDATES {
                break;
            }
        }
        told
    }

    /// Connects a Telegram leg to these servers by TCP, from the address of its socket.
    pub(super) fn add_streams(&mut self, leg: LegId, servers: Vec<SocketAddr>) {
        let local = self.open.iter().find_map(|open| match open.door {
            Door::Candidate(local) if open.leg == leg => Some(local.ip()),
            Door::Candidate(_) | Door::Rtp | Door::Rtcp | Door::Stream(_) => None,
        });
        if let Some(local) = local {
            for server in servers {
                self.streams.add(leg, local, server);
            }
        }
    }

    /// Closes the sockets of a leg.
    pub(super) fn remove(&mut self, leg: LegId) {
        self.streams.remove(leg);
        self.open.retain(|open| open.leg != leg);
        self.leases.retain(|(owner, _)| *owner != leg);
    }

    /// Sends a datagram now or not at all: late media is worth nothing.
    pub(super) fn send(&self, leg: LegId, door: Door, target: SocketAddr, bytes: &[u8]) {
        if self.streams.send(leg, target, bytes) {
            return;
        }
        let socket = self
            .open
            .iter()
            .find(|open| open.leg == leg && open.door.sends(door, target));
        if let Some(open) = socket
            && let Err(error) = open.socket.get_ref().send_to(bytes, target)
        {
            tracing::trace!(%leg, %target, %error, "a media datagram was not sent");
        }
    }

    /// Hands on what has arrived; returns whether there is more. The task is woken by what comes later.
    pub(super) fn poll_receive(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
        mut take: impl FnMut(LegId, Door, SocketAddr, &[u8]),
    ) -> bool {
        let mut more = false;
        for open in &self.open {
            more |= open.poll_receive(cx, buffer, &mut take);
        }
        more |= self.streams.poll(cx, |leg, server, news, packet| {
            take(leg, Door::Stream(news), server, packet);
        });
        more
    }
}

impl Open {
    fn poll_receive(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
        take: &mut impl FnMut(LegId, Door, SocketAddr, &[u8]),
    ) -> bool {
        let mut left = BURST;
        while let Poll::Ready(Ok(mut ready)) = self.socket.poll_read_ready(cx) {
            loop {
                if left == 0 {
                    return true;
                }
                match self.socket.get_ref().recv_from(buffer) {
                    Ok((length, source)) => {
                        left -= 1;
                        take(
                            self.leg,
                            self.door,
                            source,
                            buffer.get(..length).unwrap_or_default(),
                        );
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        ready.clear_ready();
                        break;
                    }
                    // An interrupted call, or the echo of a datagram that could not be delivered.
                    Err(_) => left -= 1,
                }
            }
        }
        false
    }
}

impl Door {
    /// Whether a datagram of this kind leaves by this door.
    fn sends(self, kind: Door, target: SocketAddr) -> bool {
        match (self, kind) {
            (Door::Candidate(local), Door::Candidate(from)) => local == from,
            (Door::Candidate(local), _) => local.is_ipv4() == target.is_ipv4(),
            (own, kind) => own == kind,
        }
    }
}

/// The configured addresses, or those of every interface a peer could reach, the best first.
fn candidate_addresses(config: &MediaConfig, towards: Option<IpAddr>) -> Vec<IpAddr> {
    if !config.telegram_addresses.is_empty() {
        return config.telegram_addresses.clone();
    }
    let interfaces = if_addrs::get_if_addrs().unwrap_or_else(|error| {
        tracing::warn!(%error, "the addresses of this host cannot be listed");
        Vec::new()
    });
    let mut addresses: Vec<IpAddr> = interfaces
        .into_iter()
        .filter(|interface| !interface.is_loopback() && !interface.is_link_local())
        .map(|interface| interface.ip())
        .collect();
    // The bridges of containers have addresses too; the one that leads outside is worth more than all of them.
    let best = towards.map(|host| udp::source_address_for(SocketAddr::new(host, 9)));
    addresses.sort_by_key(|ip| (Some(*ip) != best, ip.is_ipv6()));
    addresses
}

/// What a peer is told of a socket: the address the world sees, where a router translates it.
fn outside(local: SocketAddr, public: Option<IpAddr>) -> SocketAddr {
    match public {
        Some(ip) if !local.ip().is_loopback() && ip.is_ipv4() == local.is_ipv4() => {
            SocketAddr::new(ip, local.port())
        }
        _ => local,
    }
}

/// Binds a port of the range, beginning anywhere; without a range the system chooses.
fn bind(ip: IpAddr, ports: Option<&RangeInclusive<u16>>) -> io::Result<UdpSocket> {
    let open = |port| {
        let buffers = udp::Buffers {
            receive: Some(BUFFER_BYTES),
            send: None,
        };
        udp::open(SocketAddr::new(ip, port), buffers, MEDIA_DSCP)
    };
    let Some(range) = ports.filter(|range| !range.is_empty()) else {
        return open(0);
    };
    let (first, count) = (*range.start(), range.end() - range.start());
    let begin = rand::rng().random_range(0..=count);
    let mut failed = io::Error::from(io::ErrorKind::AddrInUse);
    for step in 0..=count.min(MAX_TRIES) {
        let offset = (u32::from(begin) + u32::from(step)) % (u32::from(count) + 1);
        match open(first + u16::try_from(offset).unwrap_or(0)) {
            Ok(socket) => return Ok(socket),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::Arc;
    use std::time::Duration;

    use super::super::ports::RtpPorts;
    use super::*;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[test]
    fn every_port_of_a_range_is_found_before_it_is_full() {
        let range = 56_000..=56_004;
        let sockets: Vec<UdpSocket> = (0..5).map(|_| bind(HERE, Some(&range)).unwrap()).collect();
        let ports = sockets.iter().map(|s| s.local_addr().unwrap().port());
        assert!(ports.clone().all(|port| range.contains(&port)));
        assert!(bind(HERE, Some(&range)).is_err());
        assert!(bind(HERE, None).is_ok());
    }

    #[tokio::test]
    async fn what_came_before_the_answer_is_not_heard_after_it() {
        let ports = Arc::new(RtpPorts::new(HERE, 56_100..=56_140, None, Duration::ZERO));
        let lease = ports.reserve(SocketAddr::new(HERE, 9)).unwrap();
        let (address, peer) = (lease.address(), UdpSocket::bind((HERE, 0)).unwrap());
        for _ in 0..50 {
            peer.send_to(b"early", address).unwrap();
        }
        let mut sockets = Sockets::default();
        sockets.add_rtp(LegId(0), lease).unwrap();
        peer.send_to(b"talk", address).unwrap();
        let (mut buffer, mut heard) = ([0; 64], Vec::new());
        std::future::poll_fn(|cx| {
            let take = |_, _, _, data: &[u8]| heard.push(data.to_vec());
            sockets.poll_receive(cx, &mut buffer, take);
            if heard.is_empty() {
                return Poll::Pending;
            }
            Poll::Ready(())
        })
        .await;
        assert_eq!(heard, [b"talk"]);
    }

    #[test]
    fn the_world_is_told_the_public_address_but_this_host_is_not() {
        let public: IpAddr = "192.0.2.1".parse().unwrap();
        let inside: SocketAddr = "10.0.0.2:5000".parse().unwrap();
        let told = outside(inside, Some(public));
        assert_eq!(told, SocketAddr::new(public, 5000));
        for (local, public) in [(inside, None), (SocketAddr::new(HERE, 5000), Some(public))] {
            assert_eq!(outside(local, public), local);
        }
    }

    #[test]
    fn the_way_out_is_offered_first_and_loopback_never() {
        let found = candidate_addresses(&MediaConfig::default(), "192.0.2.1".parse().ok());
        assert!(found.iter().all(|ip| !ip.is_loopback()), "{found:?}");
        let configured = MediaConfig {
            telegram_addresses: vec![HERE],
            ..MediaConfig::default()
        };
        assert_eq!(candidate_addresses(&configured, None), [HERE]);
    }
}
