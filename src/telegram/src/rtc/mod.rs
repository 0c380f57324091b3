//! The media of one call: signalling messages on one side, ICE and DTLS-SRTP by str0m on the other (telegram-calls 7,
//! 8 and 14.3). Implements [`media::Transport`].
//!
//! str0m is used through its direct API, without SDP; it must be polled to the end after every single input. No header
//! extensions are offered or answered, so the peer neither probes nor expects feedback. Relays share the socket: what comes
//! from a relay's address is opened here, and what str0m sends from a relayed address is wrapped. What this does not do:
//! decode.

mod dialogue;
mod negotiation;
mod path;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use media::{RtpIn, RtpOut, Transport, TransportEvent, TransportOutput};
use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};
use str0m::channel::ChannelId;
use str0m::format::{Codec, FormatParams};
use str0m::media::{Frequency, MediaKind, Mid, Pt};
use str0m::net::{Protocol, Receive, Transmit};
use str0m::rtp::{RtpPacket, RtpWrite, SeqNo, Ssrc};
use str0m::stats::PeerStats;
use str0m::{Candidate, Input, Output, Rtc, RtcConfig};

use crate::call::{CLOSED_BY_PEER, MediaStart, is_on};
use crate::crypt::Role;
use crate::framing::{Dropped, Framing};
use crate::messages::{self, Message, OPUS};
use crate::relay::{Arrival, Relays, Standalone};
use negotiation::Negotiation;
use path::Path;

/// The dynamic payload types (RFC 3551): Opus is received under any of them, whichever the peer chose.
const DYNAMIC: std::ops::RangeInclusive<u8> = 96..=127;
/// A STUN message begins with 0 to 3 (RFC 7983).
const STUN: std::ops::RangeInclusive<u8> = 0..=3;
/// ICE restarts a web client may ask for; each one makes the agent forget and check anew.
const RESTARTS: u32 = 16;
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
    /// Datagrams from strangers, or that were no STUN, DTLS or SRTP.
    pub datagrams: u64,
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
}

/// The media of one call.
pub struct RtcTransport {
    role: Role,
    local: SocketAddr,
    limits: RtcLimits,
    rng: StdRng,
    framing: Framing,
    /// Boxed, because it is large and transports are moved.
    rtc: Box<Rtc>,
    mid: Mid,
    ssrc: u32,
    negotiation: Negotiation,
    path: Path,
    relays: Relays,
    /// Whether packets may go to the peer, and come from it, without a relay.
    is_direct: bool,
    /// Our candidates that the callee's InitialSetup has to precede.
    untold: Vec<String>,
    /// The peer was told where a NAT lets us be reached.
    is_mapped: bool,
    /// The peer's ICE user name, once its InitialSetup is here.
    remote_ufrag: Option<String>,
    restarts: u32,
    receiver: Receiver,
    sequence: u64,
    channel: Option<ChannelId>,
    muted: bool,
    remote_muted: bool,
    state: State,
    /// When str0m wants to be called.
    rtc_deadline: Instant,
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
        let framing = Framing::new(&start.version, start.key.clone(), start.role);
        let is_known = framing.is_some();
        let ssrc = rng.next_u32() | 1;
        let parameters = start.custom_parameters.as_deref().unwrap_or_default();
        let standalone = is_on(parameters, "network_standalone_reflectors");
        let standalone = standalone.then(|| Standalone::of(start.role));
        let relays = Relays::new(now, &start.connections, local, standalone, &mut rng);
        let mid = Mid::from("0"); // never on the wire: there is no mid extension
        let mut transport = RtcTransport {
            role: start.role,
            local,
            limits,
            framing: framing.unwrap_or_else(|| Framing::acked(start.key.clone(), start.role)),
            rtc: Box::new(build_rtc(now, start.role, mid, ssrc)),
            mid,
            ssrc,
            negotiation: Negotiation::new(start.role, ssrc),
            path: Path::default(),
            relays,
            is_direct: start.p2p_allowed,
            untold: Vec::new(),
            is_mapped: false,
            remote_ufrag: None,
            restarts: 0,
            receiver: Receiver::default(),
            // str0m wants the first one below 65 536.
            sequence: u64::from(rng.next_u32() & 0x7fff),
            rng,
            channel: None,
            muted: false,
            remote_muted: false,
            state: State::Connecting {
                until: now + limits.connect,
            },
            rtc_deadline: now,
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
            self.write_media_state();
            self.poll(now);
        }
    }

    /// Tells the peer that the media ends. Only the discard ends its call.
    pub fn close(&mut self, now: Instant) {
        if self.state != State::Failed {
            if let Err(error) = self.rtc.close() {
                tracing::debug!(%error, "closing the media");
            }
            self.poll(now);
            self.release();
            self.state = State::Failed;
        }
    }

    /// Returns what was counted so far.
    pub fn stats(&self) -> RtcStats {
        RtcStats {
            signalling: self.framing.dropped(),
            ..self.stats
        }
    }

    // -- str0m ---------------------------------------------------------------------------------------------------

    /// Polls str0m, the relays and the framing to the end; to be called after every input.
    fn poll(&mut self, now: Instant) {
        self.poll_rtc(now);
        while let Some(relayed) = self.relays.poll_candidate() {
            self.rtc.add_local_candidate(relayed.candidate);
            if let Some(line) = relayed.line {
                self.tell_candidate(now, line);
            }
            self.poll_rtc(now);
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

    fn poll_rtc(&mut self, now: Instant) {
        loop {
            match self.rtc.poll_output() {
                Ok(Output::Timeout(at)) => {
                    self.rtc_deadline = at;
                    return;
                }
                Ok(Output::Transmit(transmit)) => self.transmit(now, transmit),
                Ok(Output::Event(event)) => self.on_event(now, event),
                Err(error) => {
                    tracing::warn!(%error, "the media cannot go on");
                    return self.fail("the media cannot go on");
                }
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
                self.rtc.add_local_candidate(candidate);
                self.tell_candidate(now, line);
                self.poll_rtc(now);
            }
            Err(error) => tracing::debug!(%error, %mapped, "a mapped address is no candidate"),
        }
    }

    /// Sends from the address ICE chose; never around a relay.
    fn transmit(&mut self, now: Instant, transmit: Transmit) {
        let (local, peer) = (transmit.source, transmit.destination);
        let contents: Vec<u8> = transmit.contents.into();
        let is_check = contents.first().is_some_and(|first| STUN.contains(first));
        let is_ours = self.relays.owns(local);
        if !is_check && matches!(self.state, State::Connecting { .. }) {
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

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the events of another library, which may grow"
    )]
    fn on_event(&mut self, now: Instant, event: str0m::Event) {
        use str0m::Event;
        match event {
            Event::Connected => {
                if matches!(self.state, State::Connecting { .. }) {
                    self.state = State::Connected { last_datagram: now };
                    self.event(TransportEvent::Connected);
                }
            }
            Event::RtpPacket(packet) => self.on_rtp(&packet),
            Event::PeerStats(stats) => self.on_stats(&stats),
            Event::ChannelOpen(id, _) => {
                self.channel = Some(id);
                // A web client takes us for muted until it hears otherwise.
                self.write_media_state();
            }
            Event::ChannelData(data) => {
                if let Some(Message::MediaState { muted }) = messages::parse(&data.data) {
                    self.on_media_state(muted);
                }
            }
            Event::ChannelClose(id) if self.channel == Some(id) => self.channel = None,
            // close_notify, or the data channel's association is lost; either way the `Rtc` is dead.
            Event::Closed => self.fail(CLOSED_BY_PEER),
            // ICE states say too little: `Disconnected` may never come (14.3, item 9).
            _ => {}
        }
    }

    /// Every peer answers the checks that keep the path open, whatever it thinks of RTCP.
    fn on_stats(&mut self, stats: &PeerStats) {
        let Some(pair) = &stats.selected_candidate_pair else {
            return;
        };
        if self.checks != pair.responses_received && pair.current_round_trip_time.is_some() {
            self.checks = pair.responses_received;
            self.stats.round_trip = pair.current_round_trip_time;
            self.stats.round_trips += 1;
        }
    }

    fn on_rtp(&mut self, packet: &RtpPacket) {
        let Some((_, opus)) = self.receiver.stream else {
            return;
        };
        if *packet.header.payload_type != opus {
            return; // comfort noise or another codec we did not ask for
        }
        let Some(sequence) = self.receiver.number(*packet.seq_no) else {
            return;
        };
        self.stats.received += 1;
        self.outputs.push_back(TransportOutput::Rtp(RtpIn {
            payload_type: OPUS,
            sequence,
            timestamp: packet.header.timestamp,
            marker: packet.header.marker,
            payload: Bytes::copy_from_slice(&packet.payload),
        }));
    }

    fn write_media_state(&mut self) {
        let text = messages::media_state(self.muted);
        if let Some(mut channel) = self.channel.and_then(|id| self.rtc.channel(id)) {
            // As text: official receivers ignore binary messages.
            if let Err(error) = channel.write(false, text.as_bytes()) {
                tracing::debug!(%error, "the state of our microphone is not told");
            }
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
                self.stats.datagrams += 1;
                return;
            }
        };
        let is_stun = data.first().is_some_and(|first| STUN.contains(first));
        // DTLS and SRTP are taken only from where a connectivity check has passed.
        let is_proven = self.path.is_proven(source);
        let may_come = is_proven || is_stun && self.path.has_room();
        let receive = Receive::new(Protocol::Udp, source, local, data);
        let (true, Ok(receive)) = (may_come, receive) else {
            self.stats.datagrams += 1;
            return;
        };
        let input = Input::Receive(now, receive);
        if is_stun {
            if !self.rtc.accepts(&input) {
                self.stats.datagrams += 1;
                return;
            }
            self.path.prove(source);
        }
        if let State::Connected { last_datagram } = &mut self.state {
            *last_datagram = now;
        }
        if let Err(error) = self.rtc.handle_input(input) {
            tracing::debug!(%error, "a datagram is refused");
            self.stats.datagrams += 1;
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
        if self.rtc_deadline <= now
            && let Err(error) = self.rtc.handle_input(Input::Timeout(now))
        {
            tracing::debug!(%error, "a timer of the media failed");
        }
        self.poll(now);
    }

    fn send(&mut self, now: Instant, packet: &RtpOut) {
        // As soon as DTLS is up, without waiting for the answer: a lost answer then costs nothing, and what the peer
        // does not expect yet it drops without harm (14.3, item 6).
        let is_connected = matches!(self.state, State::Connected { .. });
        let mut api = self.rtc.direct_api();
        let stream = api.stream_tx(&Ssrc::from(self.ssrc));
        let (true, Some(stream)) = (is_connected, stream) else {
            self.stats.unsent += 1;
            return;
        };
        let write = RtpWrite::new(
            Pt::new_with_value(OPUS),
            SeqNo::from(self.sequence),
            packet.timestamp,
            now,
            &*packet.payload,
        );
        stream.write_rtp(write.marker(packet.marker || self.stats.sent == 0));
        self.sequence += 1;
        self.stats.sent += 1;
        // One packet a round: str0m queues only one between two inputs.
        if let Err(error) = self.rtc.handle_input(Input::Timeout(now)) {
            tracing::debug!(%error, "a packet is not sent");
        }
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
            give_up.min(self.rtc_deadline).min(others)
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

fn build_rtc(now: Instant, role: Role, mid: Mid, ssrc: u32) -> Rtc {
    let mut config = RtcConfig::new()
        .clear_codecs()
        .clear_extension_map()
        .set_rtp_mode(true)
        .set_stats_interval(Some(STATS_EVERY));
    let format = FormatParams {
        min_p_time: Some(10),
        use_inband_fec: Some(true),
        ..Default::default()
    };
    for number in DYNAMIC {
        config.codec_config().add_config(
            Pt::new_with_value(number),
            None,
            Codec::Opus,
            Frequency::FORTY_EIGHT_KHZ,
            Some(2),
            format,
        );
    }
    let mut rtc = config.build(now);
    let mut api = rtc.direct_api();
    api.set_ice_controlling(role == Role::Caller);
    api.declare_media(mid, MediaKind::Audio);
    api.declare_stream_tx(Ssrc::from(ssrc), None, mid, None);
    rtc
}
