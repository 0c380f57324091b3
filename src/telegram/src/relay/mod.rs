//! The relays of one call: what Telegram offers in `connections`, asked through the call's own socket, and given to ICE
//! as candidates (telegram-calls 9).
//!
//! A core like the others: datagrams and the time go in; datagrams and candidates are polled out. TURN servers are reached by
//! UDP, reflectors by UDP or TCP; the driver connects to the latter, and what is for their addresses goes by the connection.

mod reflector;
mod stun;
#[cfg(test)]
pub(crate) mod testing;
mod turn;

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use grammers_tl_types as tl;
use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};
use str0m::Candidate;
use str0m::net::Protocol;

use crate::crypt::Role;
use reflector::Reflector;
use turn::{Received, TurnClient};

/// Relays of each kind used in one call; Telegram offers three.
const TURN_SERVERS: usize = 4;
const REFLECTORS: usize = 4;
/// The port of a reflector that names none.
const REFLECTOR_PORT: u16 = 599;

/// The relays of one call.
pub(crate) struct Relays {
    /// Our socket, as the host sees it; only its family matters.
    local: SocketAddr,
    all: Vec<Relay>,
    standalone: Option<Standalone>,
    transmits: VecDeque<(SocketAddr, Vec<u8>)>,
}

struct Relay {
    server: SocketAddr,
    kind: Kind,
    /// Its candidate was handed out.
    told: bool,
}

enum Kind {
    Turn(Box<TurnClient>),
    Reflector(Reflector),
}

/// The tags of both ends at every reflector, where the server has fixed them (`network_standalone_reflectors`,
/// telegram-calls 10): then reflectors are no candidates that are told, each end knows the other's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Standalone {
    ours: u32,
    theirs: u32,
}

impl Standalone {
    /// Returns the tags of an end in this role: 1 for the caller, 2 for the callee.
    pub(crate) fn of(role: Role) -> Self {
        let (ours, theirs) = match role {
            Role::Caller => (1, 2),
            Role::Callee => (2, 1),
        };
        Self { ours, theirs }
    }
}

/// A relay that can be used now.
pub(crate) struct Relayed {
    /// For the ICE agent.
    pub(crate) candidate: Candidate,
    /// For the peer, unless it knows already.
    pub(crate) line: Option<String>,
}

/// Where a datagram belongs.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Arrival<'a> {
    /// No relay has this address.
    Direct,
    /// A relay kept it for itself.
    Kept,
    /// It came from a relay and is nothing.
    Garbage,
    /// A peer sent this to one of our relayed addresses.
    Relayed {
        /// Ours.
        local: SocketAddr,
        /// The peer's.
        peer: SocketAddr,
        /// What it sent.
        data: &'a [u8],
    },
}

impl Relays {
    /// Begins to ask every relay that a socket of the family of `local` reaches.
    pub(crate) fn new(
        now: Instant,
        connections: &[tl::enums::PhoneConnection],
        local: SocketAddr,
        standalone: Option<Standalone>,
        rng: &mut StdRng,
    ) -> Self {
        let mut relays = Self {
            local,
            all: Vec::new(),
            standalone,
            transmits: VecDeque::new(),
        };
        let mut ids: Vec<i64> = connections.iter().filter_map(reflector_id).collect();
        ids.sort_unstable();
        ids.dedup();
        for connection in connections {
            match connection {
                tl::enums::PhoneConnection::Webrtc(server) => relays.add_turn(now, server, rng),
                tl::enums::PhoneConnection::Connection(server) => {
                    let rank = ids.iter().position(|id| *id == server.id);
                    let rank = rank.and_then(|at| u8::try_from(at + 1).ok());
                    relays.add_reflector(now, server, rank, rng);
                }
            }
        }
        relays.handle_timeout(now);
        relays
    }

    fn add_turn(
        &mut self,
        now: Instant,
        server: &tl::types::PhoneConnectionWebrtc,
        rng: &mut StdRng,
    ) {
        let is_turn = server.turn && !server.username.is_empty() && !server.password.is_empty();
        let address = self.reachable(&server.ip, &server.ipv6, server.port);
        let known = |kind: &Kind| matches!(kind, Kind::Turn(_));
        let (true, Some(address)) = (is_turn && self.count(known) < TURN_SERVERS, address) else {
            return;
        };
        // Transaction ids are as hard to guess as the seed of the call.
        let ids = StdRng::from_rng(rng);
        let (username, password) = (&server.username, &server.password);
        let client = TurnClient::new(now, address.is_ipv6(), username, password, ids);
        self.push(address, Kind::Turn(Box::new(client)));
    }

    fn add_reflector(
        &mut self,
        now: Instant,
        server: &tl::types::PhoneConnection,
        rank: Option<u8>,
        rng: &mut StdRng,
    ) {
        let port = match server.port {
            0 => i32::from(REFLECTOR_PORT),
            port => port,
        };
        let address = self.reachable(&server.ip, &server.ipv6, port);
        let known = |kind: &Kind| matches!(kind, Kind::Reflector(_));
        let is_wanted = self.local.is_ipv4() && self.count(known) < REFLECTORS;
        let tag: Result<&[u8; 16], _> = server.peer_tag.as_slice().try_into();
        let (true, Some(address), Some(rank), Ok(peer_tag)) = (is_wanted, address, rank, tag)
        else {
            return;
        };
        let own = match self.standalone {
            Some(Standalone { ours, .. }) => ours,
            None => rng.next_u32().max(1),
        };
        let end = Reflector::new(now, rank, address.port(), peer_tag, own);
        let end = if server.tcp { end.over_tcp() } else { end };
        self.push(address, Kind::Reflector(end));
    }

    fn count(&self, is_of_kind: impl Fn(&Kind) -> bool) -> usize {
        let relays = self.all.iter();
        relays.filter(|relay| is_of_kind(&relay.kind)).count()
    }

    fn push(&mut self, server: SocketAddr, kind: Kind) {
        let told = false;
        if self.all.iter().all(|relay| relay.server != server) {
            self.all.push(Relay { server, kind, told });
        }
    }

    /// The address of a server that our socket reaches.
    fn reachable(&self, ip: &str, ipv6: &str, port: i32) -> Option<SocketAddr> {
        let port = u16::try_from(port).ok().filter(|port| *port != 0)?;
        let mut ips = [ip, ipv6].into_iter().filter_map(|ip| ip.parse().ok());
        let ip = ips.find(|ip: &IpAddr| ip.is_ipv4() == self.local.is_ipv4())?;
        let fine = !ip.is_unspecified() && !ip.is_multicast();
        fine.then_some(SocketAddr::new(ip, port))
    }

    /// Returns the servers to which a TCP connection is wanted.
    pub(crate) fn streams(&self) -> Vec<SocketAddr> {
        let relays = self.all.iter();
        let streams = relays.filter(|relay| relay.is_tcp());
        streams.map(|relay| relay.server).collect()
    }

    /// Takes the news that the connection to a server is there, or that it is lost: one that was there is made anew by the
    /// driver, one that never was is no relay.
    pub(crate) fn on_stream(&mut self, now: Instant, server: SocketAddr, is_open: bool) {
        if !is_open {
            return self.all.retain_mut(|relay| match &mut relay.kind {
                Kind::Reflector(end) if relay.server == server && end.is_tcp() => end.on_lost(),
                Kind::Reflector(_) | Kind::Turn(_) => true,
            });
        }
        for relay in &mut self.all {
            match &mut relay.kind {
                Kind::Reflector(end) if relay.server == server => end.on_connected(now),
                Kind::Reflector(_) | Kind::Turn(_) => {}
            }
        }
        self.handle_timeout(now);
    }

    /// Whether this relayed address of ours is reached by TCP.
    pub(crate) fn is_tcp(&self, local: SocketAddr) -> bool {
        let mut relays = self.all.iter();
        relays.any(|relay| relay.is_tcp() && relay.relayed() == Some(local))
    }

    /// Whether this relayed address of ours is one of a reflector.
    pub(crate) fn is_reflector(&self, local: SocketAddr) -> bool {
        let mut relays = self.all.iter();
        relays.any(|relay| match &relay.kind {
            Kind::Turn(_) => false,
            Kind::Reflector(end) => end.relayed() == Some(local),
        })
    }

    /// Whether no relay is there that could still be used.
    pub(crate) fn is_hopeless(&self) -> bool {
        self.all.iter().all(|relay| match &relay.kind {
            Kind::Turn(client) => client.is_over(),
            Kind::Reflector(_) => false,
        })
    }

    /// Whether this is a relayed address of ours.
    pub(crate) fn owns(&self, local: SocketAddr) -> bool {
        self.all.iter().any(|relay| relay.relayed() == Some(local))
    }

    /// Our relayed addresses.
    #[cfg(test)]
    pub(crate) fn owned(&self) -> Vec<SocketAddr> {
        self.all.iter().filter_map(Relay::relayed).collect()
    }

    /// Lets the peer at this address, which it named as a candidate, send through our TURN relays.
    pub(crate) fn permit(&mut self, now: Instant, peer: IpAddr) {
        for relay in &mut self.all {
            match &mut relay.kind {
                Kind::Turn(client) => client.permit(now, peer),
                Kind::Reflector(_) => {}
            }
        }
        self.collect();
    }

    /// Returns the candidate lines that the peer does not tell, because the server has fixed them.
    pub(crate) fn fixed(&self) -> Vec<String> {
        let Some(Standalone { theirs, .. }) = self.standalone else {
            return Vec::new();
        };
        let relays = self.all.iter();
        let lines = relays.filter_map(|relay| match &relay.kind {
            Kind::Turn(_) => None,
            Kind::Reflector(end) => Some(end.line_of(theirs)),
        });
        lines.collect()
    }

    /// Reads a candidate line whose name is that of one of our reflectors.
    pub(crate) fn candidate(&self, line: &str) -> Option<Candidate> {
        let mut words = line.split_ascii_whitespace();
        let (name, port) = (words.nth(4)?, words.next()?.parse().ok()?);
        let address = self.all.iter().find_map(|relay| match &relay.kind {
            Kind::Turn(_) => None,
            Kind::Reflector(end) => end.address_of_name(name, port),
        })?;
        let line = line.replacen(name, &address.ip().to_string(), 1);
        Candidate::from_sdp_string(&line).ok()
    }

    /// Returns what to send where so that `data` goes from our relayed address `local` to `peer`.
    pub(crate) fn send(
        &mut self,
        now: Instant,
        local: SocketAddr,
        peer: SocketAddr,
        data: &[u8],
    ) -> Option<(SocketAddr, Vec<u8>)> {
        let mut relays = self.all.iter_mut();
        let relay = relays.find(|relay| relay.relayed() == Some(local))?;
        let bytes = match &mut relay.kind {
            Kind::Turn(client) => client.send(now, peer, data),
            Kind::Reflector(end) => end.send(peer, data),
        }?;
        Some((relay.server, bytes))
    }

    /// Takes a datagram of our socket.
    pub(crate) fn receive<'a>(
        &mut self,
        now: Instant,
        source: SocketAddr,
        bytes: &'a [u8],
    ) -> Arrival<'a> {
        let Some(relay) = self.all.iter_mut().find(|r| r.server == source) else {
            return Arrival::Direct;
        };
        let arrival = match &mut relay.kind {
            Kind::Turn(client) => match client.receive(now, bytes) {
                Received::Control => Arrival::Kept,
                Received::Garbage => Arrival::Garbage,
                Received::Peer(peer, data) => match client.relayed() {
                    Some(local) => Arrival::Relayed { local, peer, data },
                    None => Arrival::Garbage,
                },
            },
            Kind::Reflector(end) => match (end.receive(now, bytes), end.relayed()) {
                (Some((peer, data)), Some(local)) => Arrival::Relayed { local, peer, data },
                (None, _) if end.is_addressed(bytes) => Arrival::Kept,
                (_, _) => Arrival::Garbage,
            },
        };
        self.collect();
        arrival
    }

    /// Returns a relay that has just become usable.
    pub(crate) fn poll_candidate(&mut self) -> Option<Relayed> {
        let relays = self.all.iter_mut();
        let mut new = relays.filter(|relay| !relay.told && relay.relayed().is_some());
        let relay = new.next()?;
        relay.told = true;
        let address = relay.relayed()?;
        let candidate = Candidate::relayed(address, self.local, Protocol::Udp);
        let candidate = candidate.inspect_err(|error| {
            tracing::debug!(%error, %address, "a relayed address is no candidate");
        });
        let candidate = candidate.ok()?;
        let line = match &relay.kind {
            // str0m writes 0.0.0.0 for the related address: ours stays unknown.
            Kind::Turn(_) => Some(candidate.to_sdp_string()),
            Kind::Reflector(end) => self.standalone.is_none().then(|| end.line()),
        };
        Some(Relayed { candidate, line })
    }

    /// Returns the address at which a NAT lets us be reached, once a server has said that it is another than `local`.
    pub(crate) fn mapped(&self) -> Option<SocketAddr> {
        let said = self.all.iter().find_map(|relay| match &relay.kind {
            Kind::Turn(client) => client.mapped(),
            Kind::Reflector(_) => None,
        })?;
        let is_news = said != self.local && said.is_ipv4() == self.local.is_ipv4();
        is_news.then_some(said)
    }

    /// Returns the next datagram and where to send it.
    pub(crate) fn poll_transmit(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        self.transmits.pop_front()
    }

    /// When to call [`Relays::handle_timeout`].
    pub(crate) fn timeout(&self) -> Option<Instant> {
        let relays = self.all.iter();
        let times = relays.filter_map(|relay| match &relay.kind {
            Kind::Turn(client) => client.timeout(),
            Kind::Reflector(end) => end.timeout(),
        });
        times.min()
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        for relay in &mut self.all {
            match &mut relay.kind {
                Kind::Turn(client) => client.handle_timeout(now),
                Kind::Reflector(end) => {
                    let hello = end.handle_timeout(now);
                    self.transmits
                        .extend(hello.map(|bytes| (relay.server, bytes)));
                }
            }
        }
        self.collect();
    }

    /// Gives everything back.
    pub(crate) fn release(&mut self) {
        for relay in &mut self.all {
            match &mut relay.kind {
                Kind::Turn(client) => client.release(),
                Kind::Reflector(_) => {}
            }
        }
        self.collect();
        self.all.clear();
    }

    fn collect(&mut self) {
        for relay in &mut self.all {
            let Kind::Turn(client) = &mut relay.kind else {
                continue;
            };
            while let Some(bytes) = client.poll_transmit() {
                self.transmits.push_back((relay.server, bytes));
            }
        }
    }
}

impl Relay {
    fn is_tcp(&self) -> bool {
        match &self.kind {
            Kind::Turn(_) => false,
            Kind::Reflector(end) => end.is_tcp(),
        }
    }

    fn relayed(&self) -> Option<SocketAddr> {
        match &self.kind {
            Kind::Turn(client) => client.relayed(),
            Kind::Reflector(end) => end.relayed(),
        }
    }
}

fn reflector_id(connection: &tl::enums::PhoneConnection) -> Option<i64> {
    match connection {
        tl::enums::PhoneConnection::Connection(server) => Some(server.id),
        tl::enums::PhoneConnection::Webrtc(_) => None,
    }
}
