//! The media of one call: signalling messages on one side, ICE and DTLS-SRTP by str0m on the other (telegram-calls 7,
//! 8 and 14.3). Implements [`media::Transport`].
//!
//! No header extensions are offered or answered, so the peer neither probes nor expects feedback. Relays share the socket: what comes
//! from a relay's address is opened here, and what leaves from a relayed address is wrapped. Where the server wants the call key
//! to protect the media instead of DTLS, only the engine is another. What this does not do: decode.

mod bare;
mod detour;
mod dialogue;
mod engine;
mod negotiation;
mod path;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use media::{RtpIn, RtpOut, Transport, TransportEvent, TransportOutput};
use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};
use str0m::Candidate;
use str0m::net::Protocol;

use crate::call::{CLOSED_BY_PEER, MediaStart, is_on};
use crate::crypt::Role;
use crate::framing::{Dropped, Framing};
use crate::messages::{self, Message, OPUS};
use crate::relay::{Arrival, Relays, Standalone};
use detour::{Detour, TransactionId};
use engine::{Engine, Happening, Heard, Step, Taken};
use negotiation::Negotiation;
use path::Path;

/// The dynamic payload types (RFC 3551): Opus is received under any of them, whichever the peer chose.
const DYNAMIC: std::ops::RangeInclusive<u8> = 96..=127;
/// A STUN message begins with 0 to 3 (RFC 7983), and has the magic cookie (RFC 8489 section 5): what the call key encrypts may
/// begin with anything.
const STUN: std::ops::RangeInclusive<u8> = 0..=3;
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
/// The type of a STUN message that says that a connectivity check has succeeded (RFC 8489 section 5).
const SUCCESS: [u8; 2] = [0x01, 0x01];
/// The type of one that checks (RFC 8489 section 5).
const CHECK: [u8; 2] = [0x00, 0x01];
/// ICE restarts a web client may ask for: more than a user on a train needs in hours. Each one makes the agent check anew, and leaves
/// some kB behind in it.
const RESTARTS: u32 = 256;
/// Numbers left free between two streams of the peer, so that neither can reach into the other.
const STREAM_GAP: u64 = 1000;

/// How often str0m says what it measured.
const STATS_EVERY: Duration = Duration::from_secs(5);

/// How patient a transport is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RtcLimits {
    /// From the start until media can flow.
    pub connect: Duration,
    /// Without any datagram of the peer.
    pub silence: Duration,
}

impl Default for RtcLimits {
    /// Both 20 s, as in the official engine.
    fn default() -> Self {
        RtcLimits {
            connect: Duration::from_secs(20),
            silence: Duration::from_secs(20),
        }
    }
}

/// How packets go to the peer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Way {
    /// From us straight to an address of the peer's own.
    #[default]
    Direct,
    /// Through a relay, ours or the peer's; ours is reached by UDP.
    Relay,
    /// Through a relay that we reach by TCP.
    TcpRelay,
}

/// What a transport counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RtcStats {
    /// Signalling packets and messages that were dropped.
    pub signalling: Dropped,
    /// Datagrams from where nobody has proven to be the peer.
    pub foreign: u64,
    /// Datagrams of the peer's address that were no STUN, DTLS or SRTP of this call.
    pub unauthentic: u64,
    /// RTP packets received.
    pub received: u64,
    /// RTP packets sent.
    pub sent: u64,
    /// RTP packets that came before we could send.
    pub unsent: u64,
    /// Round trip of the last connectivity check on the path in use, once known.
    pub round_trip: Option<Duration>,
    /// How often it was measured anew.
    pub round_trips: u64,
    /// How media went when it started.
    pub way: Way,
    /// A relay of ours that it went through is a reflector.
    pub is_reflector: bool,
    /// ICE restarts of the peer that were followed.
    pub restarts: u32,
}

/// The media of one call.
pub struct RtcTransport {
    role: Role,
    local: SocketAddr,
    limits: RtcLimits,
    rng: StdRng,
    framing: Framing,
    engine: Engine,
    negotiation: Negotiation,
    path: Path,
    detour: Detour,
    relays: Relays,
    /// Whether packets may go to the peer, and come from it, without a relay.
    is_direct: bool,
    /// Our candidates that the callee's InitialSetup has to precede.
    untold: Vec<String>,
    /// The peer was told where a NAT lets us be reached.
    is_mapped: bool,
    /// The peer's ICE user name, once its InitialSetup is here.
    remote_ufrag: Option<String>,
    receiver: Receiver,
    sequence: u64,
    /// Texts can be sent to the peer.
    is_channel_open: bool,
    muted: bool,
    remote_muted: bool,
    state: State,
    /// When the engine wants to be called.
    engine_deadline: Instant,
    outputs: VecDeque<TransportOutput>,
    /// Why it is dead; told after all other outputs.
    failure: Option<&'static str>,
    stats: RtcStats,
    /// Answered connectivity checks at the last look.
    checks: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Connecting { until: Instant },
    Connected { last_datagram: Instant },
    Failed,
}

/// The stream the peer sends.
#[derive(Default)]
struct Receiver {
    stream: Option<(u32, u8)>,
    /// What is added to the stream's numbers, so that a new stream continues the old one.
    shift: Option<i128>,
    largest: u64,
}

impl RtcTransport {
    /// Begins; the caller speaks first. `local` is the address of the call's socket as the peer sees it, the only
    /// host candidate offered, and that only where direct connections are allowed. Relays are taken from the start's
    /// connections. `seed` is 32 bytes of the operating system.
    pub fn new(
        now: Instant,
        start: &MediaStart,
        local: SocketAddr,
        limits: RtcLimits,
        seed: [u8; 32],
    ) -> RtcTransport {
        let mut rng = StdRng::from_seed(seed);
        let parameters = start.custom_parameters.as_deref().unwrap_or_default();
        let framing = Framing::new(&start.version, parameters, start.key.clone(), start.role);
        let is_known = framing.is_some();
        let ssrc = rng.next_u32() | 1;
        let standalone = is_on(parameters, "network_standalone_reflectors");
        let standalone = standalone.then(|| Standalone::of(start.role));
        let relays = Relays::new(now, &start.connections, local, standalone, &mut rng);
        let engine = if is_on(parameters, "network_use_mtproto") {
            tracing::info!("the call key protects the media of this call, not DTLS");
            Engine::bare(now, start.role, start.key.clone(), ssrc, &mut rng)
        } else {
            Engine::dtls(now, start.role, ssrc)
        };
        let mut transport = RtcTransport {
            role: start.role,
            local,
            limits,
            framing: framing.unwrap_or_else(|| Framing::acked(start.key.clone(), start.role)),
            engine,
            negotiation: Negotiation::new(start.role, ssrc),
            path: Path::default(),
            detour: Detour::default(),
            relays,
            is_direct: start.p2p_allowed,
            untold: Vec::new(),
            is_mapped: false,
            remote_ufrag: None,
            receiver: Receiver::default(),
            // str0m wants the first one below 65 536.
            sequence: u64::from(rng.next_u32() & 0x7fff),
            rng,
            is_channel_open: false,
            muted: false,
            remote_muted: false,
            state: State::Connecting {
                until: now + limits.connect,
            },
            engine_deadline: now,
            outputs: VecDeque::new(),
            failure: None,
            stats: RtcStats::default(),
            checks: 0,
        };
        transport.begin(now, is_known);
        transport
    }

    /// Returns the servers to which TCP connections are wanted. What is to be transmitted to such an address goes by the
    /// connection, as a packet: its length, 32 bits in little-endian, before it, and four times ee before the first.
    pub fn streams(&self) -> Vec<SocketAddr> {
        self.relays.streams()
    }

    /// Takes the news that a connection of [`RtcTransport::streams`] is there, or is lost: then it may come again, unless it
    /// was never there. Its packets are datagrams of that address.
    pub fn handle_stream(&mut self, now: Instant, server: SocketAddr, is_open: bool) {
        if self.state != State::Failed {
            self.relays.on_stream(now, server, is_open);
            self.poll(now);
        }
    }

    /// Takes signalling bytes of the peer.
    pub fn signal(&mut self, now: Instant, data: &[u8]) {
        if self.state == State::Failed {
            return;
        }
        self.framing.receive(now, data);
        self.read_messages(now);
        self.poll(now);
    }

    /// Says whether our side is muted. Meanwhile the bridge should not send; a native peer shows the state.
    pub fn set_muted(&mut self, now: Instant, muted: bool) {
        if self.muted != muted && self.state != State::Failed {
            self.muted = muted;
            self.write_media_state(now);
            self.poll(now);
        }
    }

    /// Tells the peer that the media ends. Only the discard ends its call.
    pub fn close(&mut self, now: Instant) {
        if self.state != State::Failed {
            self.engine.close();
            self.poll(now);
            self.release();
            self.state = State::Failed;
        }
    }

    /// Returns what was counted so far.
    pub fn stats(&self) -> RtcStats {
        let framing = self.framing.dropped();
        RtcStats {
            signalling: Dropped {
                received: framing.received + self.stats.signalling.received,
                ..framing
            },
            ..self.stats
        }
    }

    // -- str0m ---------------------------------------------------------------------------------------------------

    /// Polls the engine, the relays and the framing to the end; to be called after every input.
    fn poll(&mut self, now: Instant) {
        self.poll_engine(now);
        while let Some(relayed) = self.relays.poll_candidate() {
            self.engine.add_local_candidate(relayed.candidate);
            if let Some(line) = relayed.line {
                self.tell_candidate(now, line);
            }
            self.poll_engine(now);
        }
        self.tell_mapped(now);
        let is_connecting = matches!(self.state, State::Connecting { .. });
        if is_connecting && !self.is_direct && self.relays.is_hopeless() {
            self.fail("no relay can be used, and direct connections are not allowed");
        }
        self.send_to_relays();
        while let Some(packet) = self.framing.poll_packet() {
            self.event(TransportEvent::Signal(packet.into()));
        }
    }

    fn poll_engine(&mut self, now: Instant) {
        loop {
            match self.engine.poll(now) {
                Some(Step::Timeout(at)) => {
                    self.engine_deadline = at;
                    return;
                }
                Some(Step::Transmit { local, peer, bytes }) => {
                    self.transmit(now, local, peer, bytes);
                }
                Some(Step::Event(event)) => self.on_event(now, event),
                None => return self.fail("the media cannot go on"),
            }
        }
    }

    /// Offers the address of the NAT before us, as the first TURN server saw it: one candidate more, for nothing.
    fn tell_mapped(&mut self, now: Instant) {
        if self.is_mapped || !self.is_direct || self.state == State::Failed {
            return;
        }
        let Some(mapped) = self.relays.mapped() else {
            return;
        };
        self.is_mapped = true;
        match Candidate::server_reflexive(mapped, self.local, Protocol::Udp) {
            Ok(candidate) => {
                let line = candidate.to_sdp_string();
                self.engine.add_local_candidate(candidate);
                self.tell_candidate(now, line);
                self.poll_engine(now);
            }
            Err(error) => tracing::debug!(%error, %mapped, "a mapped address is no candidate"),
        }
    }

    /// Sends from the address ICE chose; never around a relay.
    fn transmit(&mut self, now: Instant, local: SocketAddr, peer: SocketAddr, contents: Vec<u8>) {
        let is_check = is_stun(&contents);
        let (local, peer) = if is_check {
            if contents.starts_with(&CHECK)
                && let Some(id) = transaction_id(&contents)
            {
                self.detour.checks(id, (local, peer));
            }
            (local, peer)
        } else {
            self.detour.way((local, peer))
        };
        let is_ours = self.relays.owns(local);
        if !is_check && matches!(self.state, State::Connecting { .. }) {
            self.stats.is_reflector = self.relays.is_reflector(local);
            let is_relay = is_ours || self.path.is_relay(peer);
            self.stats.way = match (is_relay, self.relays.is_tcp(local)) {
                (false, _) => Way::Direct,
                (true, false) => Way::Relay,
                (true, true) => Way::TcpRelay,
            };
        }
        let parcel = if is_ours {
            self.relays.send(now, local, peer, &contents)
        } else {
            self.is_direct.then_some((peer, contents))
        };
        if let Some((target, bytes)) = parcel {
            let bytes = bytes.into();
            self.outputs
                .push_back(TransportOutput::Transmit { target, bytes });
        }
    }

    fn send_to_relays(&mut self) {
        while let Some((target, bytes)) = self.relays.poll_transmit() {
            let bytes = bytes.into();
            self.outputs
                .push_back(TransportOutput::Transmit { target, bytes });
        }
    }

    /// Gives back what the relays hold for us.
    fn release(&mut self) {
        self.relays.release();
        self.send_to_relays();
    }

    fn on_event(&mut self, now: Instant, event: Happening) {
        match event {
            Happening::Connected => {
                if matches!(self.state, State::Connecting { .. }) {
                    self.state = State::Connected { last_datagram: now };
                    self.event(TransportEvent::Connected);
                }
            }
            Happening::Rtp(packet) => self.on_rtp(packet),
            Happening::RoundTrip { checks, round_trip } => {
                if self.checks != checks && round_trip.is_some() {
                    self.checks = checks;
                    self.stats.round_trip = round_trip;
                    self.stats.round_trips += 1;
                }
            }
            Happening::Reported(lost_percent) => {
                self.event(TransportEvent::Reported { lost_percent });
            }
            Happening::ChannelOpen => {
                self.is_channel_open = true;
                // A web client takes us for muted until it hears otherwise.
                self.write_media_state(now);
            }
            Happening::Text(text) => {
                if let Some(Message::MediaState { muted }) = messages::parse(&text) {
                    self.on_media_state(muted);
                }
            }
            Happening::Closed => self.fail(CLOSED_BY_PEER),
        }
    }

    fn on_rtp(&mut self, packet: Heard) {
        let Some((_, opus)) = self.receiver.stream else {
            return;
        };
        if packet.payload_type != opus {
            return; // comfort noise or another codec we did not ask for
        }
        let Some(sequence) = self.receiver.number(packet.sequence) else {
            return;
        };
        self.stats.received += 1;
        self.outputs.push_back(TransportOutput::Rtp(RtpIn {
            payload_type: OPUS,
            sequence,
            timestamp: packet.timestamp,
            marker: packet.marker,
            payload: packet.payload,
        }));
    }

    fn write_media_state(&mut self, now: Instant) {
        if self.is_channel_open {
            let text = messages::media_state(self.muted);
            self.engine.write(now, &text);
        }
    }

    // -- the end -------------------------------------------------------------------------------------------------

    fn event(&mut self, event: TransportEvent) {
        self.outputs.push_back(TransportOutput::Event(event));
    }

    fn fail(&mut self, why: &'static str) {
        if self.state != State::Failed {
            self.release();
            self.state = State::Failed;
            self.failure = Some(why);
        }
    }

    /// When the patience ends.
    fn give_up_at(&self) -> Option<Instant> {
        match self.state {
            State::Connecting { until } => Some(until),
            State::Connected { last_datagram } => Some(last_datagram + self.limits.silence),
            State::Failed => None,
        }
    }
}

impl Transport for RtcTransport {
    fn handle_datagram(&mut self, now: Instant, source: SocketAddr, data: &[u8]) {
        if self.state == State::Failed {
            return;
        }
        let (local, source, data) = match self.relays.receive(now, source, data) {
            Arrival::Relayed { local, peer, data } => (local, peer, data),
            Arrival::Direct if self.is_direct => (self.local, source, data),
            Arrival::Kept => return self.poll(now),
            Arrival::Direct | Arrival::Garbage => {
                self.stats.foreign += 1;
                return;
            }
        };
        let is_stun = is_stun(data);
        // Media is taken only from where a connectivity check has passed.
        let is_proven = self.path.is_proven(source);
        let may_come = is_proven || is_stun;
        if !may_come || is_stun && !self.engine.accepts(now, source, local, data) {
            self.stats.foreign += 1;
            return;
        }
        if is_stun {
            self.path.prove(source);
            if data.starts_with(&SUCCESS)
                && let Some(id) = transaction_id(data)
            {
                self.detour.succeeded(id, (local, source));
            }
        }
        let taken = self.engine.receive(now, source, local, data, is_stun);
        if taken != Taken::Fine {
            self.stats.unauthentic += 1;
        }
        if let State::Connected { last_datagram } = &mut self.state
            && taken != Taken::Garbage
        {
            *last_datagram = now;
        }
        self.poll(now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        if self.state == State::Failed {
            return;
        }
        if self.give_up_at().is_some_and(|at| at <= now) {
            return match self.state {
                State::Connecting { .. } => self.fail("not connected in time"),
                State::Connected { .. } | State::Failed => {
                    self.fail("nothing came from the peer for too long");
                }
            };
        }
        if self.framing.timeout().is_some_and(|at| at <= now) {
            self.framing.handle_timeout(now);
            self.read_messages(now);
        }
        if self.relays.timeout().is_some_and(|at| at <= now) {
            self.relays.handle_timeout(now);
        }
        if self.engine_deadline <= now {
            self.engine.handle_timeout(now);
        }
        self.poll(now);
    }

    fn send(&mut self, now: Instant, packet: &RtpOut) {
        // As soon as DTLS is up, without waiting for the answer: a lost answer then costs nothing, and what the peer
        // does not expect yet it drops without harm (14.3, item 6).
        let is_connected = matches!(self.state, State::Connected { .. });
        let marker = packet.marker || self.stats.sent == 0;
        if !is_connected || !self.engine.send(now, self.sequence, marker, packet) {
            self.stats.unsent += 1;
            return;
        }
        self.sequence += 1;
        self.stats.sent += 1;
        self.poll(now);
    }

    fn poll_output(&mut self) -> TransportOutput {
        if let Some(output) = self.outputs.pop_front() {
            return output;
        }
        if let Some(why) = self.failure.take() {
            return TransportOutput::Event(TransportEvent::Failed(why));
        }
        TransportOutput::Timeout(self.give_up_at().map(|give_up| {
            let others = [self.framing.timeout(), self.relays.timeout()];
            let others = others.into_iter().flatten().min().unwrap_or(give_up);
            give_up.min(self.engine_deadline).min(others)
        }))
    }
}

impl Receiver {
    /// Numbers a packet so that streams continue each other; `None` for one that is older than its stream's first.
    fn number(&mut self, sequence: u64) -> Option<u64> {
        let sequence = i128::from(sequence);
        let next = self.largest + STREAM_GAP;
        let shift = *self.shift.get_or_insert(i128::from(next) - sequence);
        let number = u64::try_from(sequence + shift).ok()?;
        self.largest = self.largest.max(number);
        Some(number)
    }
}

/// The number of a STUN message (RFC 8489 section 5).
fn transaction_id(data: &[u8]) -> Option<TransactionId> {
    data.get(8..20)?.try_into().ok()
}

/// Whether a datagram is a STUN message.
fn is_stun(data: &[u8]) -> bool {
    let begins = data.first().is_some_and(|first| STUN.contains(first));
    begins && data.get(4..8) == Some(&MAGIC_COOKIE)
}
