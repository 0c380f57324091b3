//! The media of one call without its waiting: transports and bridge, each polled to its timeout after every input.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use media::{
    Bridge, BridgeConfig, BridgeEvent, BridgeOutput, LegAudio, RtpIn, Tone, TransportEvent,
    TransportOutput,
};
use metrics::MediaCounters;
use model::{CallId, Codec, DtmfMethod, LegId, LegKind};
use sip::sdp::Agreed;

use super::message::{LegReport, MediaEvent};
use super::outlet::Outlet;
use super::port::{Door, Port};
use super::sockets::Sockets;

/// Time between two entries in the metrics.
const BOOKS_EVERY: Duration = Duration::from_secs(5);
/// Time between two reports of how the legs sound.
const QUALITY_EVERY: Duration = Duration::from_secs(10);
/// Legs and wishes a call may have in its life; a call has two legs.
const MAX_LEGS: usize = 16;

/// What every step needs of its surroundings.
pub(super) struct Way<'a> {
    /// When the task woke up.
    pub(super) now: Instant,
    pub(super) sockets: &'a Sockets,
    pub(super) events: &'a mut Outlet,
}

impl Way<'_> {
    fn fail(&mut self, leg: LegId, why: &'static str) {
        self.events.tell(MediaEvent::Failed { leg, why });
    }
}

/// Transports and bridge of one call.
pub(super) struct Exchange {
    call: CallId,
    counters: MediaCounters,
    bridge: Bridge,
    bridge_deadline: Option<Instant>,
    ports: Vec<Port>,
    /// Legs to be joined once both can be.
    wishes: Vec<(LegId, LegId)>,
    /// Packets on their way from a transport to the bridge; empty between two inputs.
    inbox: VecDeque<(LegId, RtpIn)>,
    reports: Vec<LegReport>,
    books_at: Instant,
    /// When the call hears next how its legs sound: from when two of them are joined.
    quality_at: Option<Instant>,
    /// A leg has just become ready for its peer.
    ready: bool,
}

impl Exchange {
    pub(super) fn new(now: Instant, call: CallId, counters: MediaCounters, seed: u64) -> Self {
        Self {
            call,
            counters,
            bridge: Bridge::new(now, BridgeConfig::default(), seed),
            bridge_deadline: None,
            ports: Vec::with_capacity(2),
            wishes: Vec::new(),
            inbox: VecDeque::with_capacity(4),
            reports: Vec::new(),
            books_at: now + BOOKS_EVERY,
            quality_at: None,
            ready: false,
        }
    }

    /// When to call [`Exchange::handle_timeout`].
    pub(super) fn deadline(&self) -> Instant {
        self.ports
            .iter()
            .filter_map(|port| port.deadline)
            .chain(self.bridge_deadline)
            .chain(self.quality_at)
            .fold(self.books_at, Instant::min)
    }

    /// Brings in a leg whose sockets are open.
    pub(super) fn add(&mut self, way: &mut Way<'_>, port: Port) {
        let leg = port.leg;
        self.take_out(way, leg);
        if self.ports.len() + self.reports.len() >= MAX_LEGS {
            return way.fail(leg, "too many legs");
        }
        if let Err(error) = self.bridge.add_leg(way.now, leg, port.audio) {
            tracing::error!(call = %self.call, %leg, %error, "a leg cannot be bridged");
            return way.fail(leg, "no codec");
        }
        self.bridge.hold(way.now, leg, port.is_held());
        self.ports.push(port);
        self.settle(way, leg);
        self.join(way);
    }

    /// Takes what a SIP leg has agreed anew.
    pub(super) fn update_sip(&mut self, way: &mut Way<'_>, leg: LegId, agreed: Agreed) {
        self.write_books();
        let Some(port) = self.port(leg) else { return };
        if !port.update(way.now, agreed) {
            return;
        }
        let (audio, held) = (port.audio, port.is_held());
        self.set_audio(way, leg, audio);
        self.bridge.hold(way.now, leg, held);
        self.watch(way);
        self.settle(way, leg);
    }

    /// Lets a leg speak otherwise.
    fn set_audio(&mut self, way: &mut Way<'_>, leg: LegId, audio: LegAudio) {
        if let Some(port) = self.port(leg) {
            port.audio = audio;
        }
        self.write_transcodings();
        if let Err(error) = self.bridge.set_audio(way.now, leg, audio) {
            tracing::error!(call = %self.call, %leg, %error, "a leg cannot be bridged any more");
            way.fail(leg, "no codec");
        }
    }

    /// Joins two legs, as soon as both are there and can be heard.
    pub(super) fn connect(&mut self, way: &mut Way<'_>, a: LegId, b: LegId) {
        if self.wishes.len() >= MAX_LEGS {
            self.wishes.remove(0);
        }
        self.wishes.push((a, b));
        self.join(way);
    }

    pub(super) fn signal(&mut self, way: &mut Way<'_>, leg: LegId, bytes: &[u8]) {
        let Some(port) = self.port(leg) else { return };
        let before = port.restarts();
        port.signal(way.now, bytes);
        let followed = port.restarts().saturating_sub(before);
        if followed > 0 {
            tracing::info!(call = %self.call, %leg, "the Telegram user's client restarts ICE: its new addresses are tried");
            self.counters.ice_restarts.inc_by(u64::from(followed));
        }
        self.settle(way, leg);
    }

    pub(super) fn listen_for_tones(&mut self, leg: LegId, on: bool) {
        if let Err(error) = self.bridge.listen_for_tones(leg, on) {
            tracing::warn!(call = %self.call, %leg, %error, "nobody listens for tones");
        }
    }

    pub(super) fn tone(&mut self, way: &mut Way<'_>, leg: LegId, tone: Option<Tone>) {
        if let Err(error) = self.bridge.tone(way.now, leg, tone) {
            tracing::warn!(call = %self.call, %leg, %error, "nobody hears a tone");
        }
        self.drain_bridge(way);
        self.carry(way);
    }

    pub(super) fn send_dtmf(
        &mut self,
        way: &mut Way<'_>,
        leg: LegId,
        digits: &str,
        method: DtmfMethod,
    ) {
        let pressed = match method {
            DtmfMethod::Inband => self.bridge.send_tones(way.now, leg, digits),
            DtmfMethod::Rfc2833 | DtmfMethod::Info => self.bridge.send_dtmf(way.now, leg, digits),
        };
        tracing::debug!(call = %self.call, %leg, pressed, "keys pressed towards a leg");
        self.drain_bridge(way);
        self.carry(way);
    }

    /// Ends a leg; its sockets are closed by the caller, afterwards.
    pub(super) fn remove(&mut self, way: &mut Way<'_>, leg: LegId) {
        self.wishes.retain(|(a, b)| *a != leg && *b != leg);
        self.take_out(way, leg);
    }

    fn take_out(&mut self, way: &mut Way<'_>, leg: LegId) {
        let Some(index) = self.ports.iter().position(|port| port.leg == leg) else {
            return;
        };
        if let Some(port) = self.ports.get_mut(index) {
            port.close(way.now);
        }
        self.settle(way, leg);
        self.write_books();
        let port = self.ports.remove(index);
        let stats = self.bridge.stats(leg).unwrap_or_default();
        let report = port.report(&stats);
        self.write_report(&report);
        self.reports.push(report);
        self.bridge.remove_leg(way.now, leg);
        for port in &mut self.ports {
            port.peer = port.peer.filter(|peer| *peer != leg);
        }
        self.drain_bridge(way);
        self.watch(way);
        self.carry(way);
    }

    /// Ends every leg and returns the figures of all there have been.
    pub(super) fn close(&mut self, way: &mut Way<'_>) -> Vec<LegReport> {
        while let Some(leg) = self.ports.last().map(|port| port.leg) {
            self.remove(way, leg);
        }
        std::mem::take(&mut self.reports)
    }

    /// Takes one datagram.
    pub(super) fn handle_datagram(
        &mut self,
        way: &mut Way<'_>,
        leg: LegId,
        door: Door,
        source: SocketAddr,
        data: &[u8],
    ) {
        if let Some(port) = self.port(leg) {
            port.handle_datagram(way.now, door, source, data);
            self.settle(way, leg);
        }
    }

    /// Does what is due.
    pub(super) fn handle_timeout(&mut self, way: &mut Way<'_>) {
        if let Some(at) = self.bridge_deadline.filter(|at| *at <= way.now) {
            let late = way.now.saturating_duration_since(at);
            self.counters.tick_lateness.observe(late.as_secs_f64());
            let began = Instant::now();
            self.bridge.handle_timeout(way.now);
            self.worked_by_clock(began);
            self.drain_bridge(way);
            self.carry(way);
        }
        for index in 0..self.ports.len() {
            if let Some(port) = self.ports.get_mut(index)
                && port.deadline.is_some_and(|at| at <= way.now)
            {
                port.handle_timeout(way.now);
                self.drain(way, index);
                self.carry(way);
            }
        }
        if self.books_at <= way.now {
            self.books_at = way.now + BOOKS_EVERY;
            self.write_books();
        }
        if self.quality_at.is_some_and(|at| at <= way.now) {
            self.quality_at = Some(way.now + QUALITY_EVERY);
            self.tell_quality(way);
        }
        self.join_if_ready(way);
    }

    /// Tells how every leg has sounded since the last time.
    fn tell_quality(&mut self, way: &mut Way<'_>) {
        let bridge = &self.bridge;
        let ports = self.ports.iter_mut();
        let legs = ports.map(|port| {
            let stats = bridge.stats(port.leg).unwrap_or_default();
            port.report_again(&stats)
        });
        let legs = legs.collect();
        way.events.tell(MediaEvent::Quality { legs });
    }

    /// Polls a leg's transport after an input, and all that follows from it.
    fn settle(&mut self, way: &mut Way<'_>, leg: LegId) {
        if let Some(index) = self.ports.iter().position(|port| port.leg == leg) {
            self.drain(way, index);
        }
        self.drain_bridge(way);
        self.carry(way);
        self.join_if_ready(way);
    }

    /// Gives the bridge what the transports have received.
    fn carry(&mut self, way: &mut Way<'_>) {
        while let Some((leg, packet)) = self.inbox.pop_front() {
            let began = Instant::now();
            self.bridge.handle_rtp(way.now, leg, &packet);
            self.worked_on_arrival(leg, began);
            self.drain_bridge(way);
        }
    }

    /// Counts what the bridge needed since then, which is its codecs: what a Telegram leg hears is turned when the packet comes.
    /// The clock is read twice for each packet, a thousandth of the codec.
    fn worked_on_arrival(&self, from: LegId, began: Instant) {
        let mut hearers = self.ports.iter().filter(|port| port.peer == Some(from));
        if let Some(port) = hearers.find(|port| is_telegram(port) && port.transcodes()) {
            port.spent(began.elapsed());
        }
    }

    /// The same for what SIP legs hear, which is turned when their clocks tick; two whose clocks tick together share the time.
    fn worked_by_clock(&self, began: Instant) {
        let hearers = || {
            let ports = self.ports.iter();
            ports.filter(|port| !is_telegram(port) && port.transcodes())
        };
        let count = u32::try_from(hearers().count()).unwrap_or(1).max(1);
        let each = began.elapsed() / count;
        for port in hearers() {
            port.spent(each);
        }
    }

    fn drain_bridge(&mut self, way: &mut Way<'_>) {
        loop {
            match self.bridge.poll_output() {
                BridgeOutput::Rtp { leg, packet } => {
                    if let Some(index) = self.ports.iter().position(|port| port.leg == leg)
                        && let Some(port) = self.ports.get_mut(index)
                    {
                        port.send(way.now, &packet);
                        self.drain(way, index);
                    }
                }
                BridgeOutput::Event(BridgeEvent::FirstAudio { leg }) => {
                    way.events.tell(MediaEvent::FirstPacket { leg });
                }
                BridgeOutput::Event(BridgeEvent::Dtmf { leg, digit, method }) => {
                    way.events.tell(MediaEvent::Dtmf { leg, digit, method });
                }
                BridgeOutput::Timeout(at) => {
                    self.bridge_deadline = at;
                    return;
                }
            }
        }
    }

    fn drain(&mut self, way: &mut Way<'_>, index: usize) {
        while let Some(port) = self.ports.get_mut(index) {
            let leg = port.leg;
            match port.poll_output() {
                TransportOutput::Transmit { target, bytes } => {
                    way.sockets.send(leg, Door::Rtp, target, &bytes);
                }
                TransportOutput::TransmitRtcp { target, bytes } => {
                    way.sockets.send(leg, Door::Rtcp, target, &bytes);
                }
                TransportOutput::Rtp(packet) => {
                    port.books.received(packet.payload.len());
                    self.inbox.push_back((leg, packet));
                }
                TransportOutput::Event(event) => self.happened(way, leg, event),
                TransportOutput::Timeout(at) => {
                    port.deadline = at;
                    return;
                }
            }
        }
    }

    fn happened(&mut self, way: &mut Way<'_>, leg: LegId, event: TransportEvent) {
        let event = match event {
            TransportEvent::Connected => {
                tracing::debug!(call = %self.call, %leg, "media can flow");
                let way = self.port(leg).and_then(|port| {
                    port.connected = true;
                    port.way()
                });
                match way {
                    Some(telegram::Way::Direct) => self.counters.path_p2p.inc(),
                    Some(telegram::Way::Relay) => self.counters.path_relay_udp.inc(),
                    Some(telegram::Way::TcpRelay) => self.counters.path_relay_tcp.inc(),
                    None => {}
                }
                self.ready = true;
                MediaEvent::Connected { leg }
            }
            TransportEvent::Reported { lost_percent } => {
                if let Some(percent) = self.bridge.reported(way.now, leg, lost_percent) {
                    tracing::debug!(call = %self.call, %leg, lost_percent, percent, "what a leg reports of loss changes what it is sent");
                }
                return;
            }
            TransportEvent::Turned(audio) => {
                tracing::debug!(call = %self.call, %leg, codec = %audio.codec, "the PBX turns to another codec of its answer");
                self.write_books();
                return self.set_audio(way, leg, audio);
            }
            TransportEvent::Silent { for_ } => MediaEvent::Silent { leg, for_ },
            TransportEvent::Signal(bytes) => MediaEvent::Signal { leg, bytes },
            TransportEvent::RemoteMuted(on) => MediaEvent::Muted { leg, on },
            TransportEvent::Failed(why) => {
                tracing::debug!(call = %self.call, %leg, why, "the media of a leg is dead");
                MediaEvent::Failed { leg, why }
            }
        };
        way.events.tell(event);
    }

    fn join_if_ready(&mut self, way: &mut Way<'_>) {
        if std::mem::take(&mut self.ready) {
            self.join(way);
        }
    }

    /// Fulfils the wishes that can be.
    fn join(&mut self, way: &mut Way<'_>) {
        let ready =
            |ports: &[Port], leg| ports.iter().any(|port| port.leg == leg && port.connected);
        while let Some(index) = self
            .wishes
            .iter()
            .position(|(a, b)| ready(&self.ports, *a) && ready(&self.ports, *b))
        {
            let (a, b) = self.wishes.remove(index);
            self.quality_at.get_or_insert(way.now + QUALITY_EVERY);
            for port in &mut self.ports {
                port.peer = match port.leg {
                    leg if leg == a => Some(b),
                    leg if leg == b => Some(a),
                    _ => port.peer.filter(|peer| *peer != a && *peer != b),
                };
            }
            if let Err(error) = self.bridge.connect(way.now, a, b) {
                tracing::error!(call = %self.call, %a, %b, %error, "two legs cannot be joined");
                way.fail(a, "no codec");
            }
            self.drain_bridge(way);
        }
        self.watch(way);
        self.carry(way);
    }

    /// Starts or stops the watch for silence of every leg, and notes who is transcoded for whom.
    fn watch(&mut self, way: &mut Way<'_>) {
        self.write_transcodings();
        for index in 0..self.ports.len() {
            let Some(port) = self.ports.get_mut(index) else {
                return;
            };
            let conversation = port.peer.is_some();
            port.watch(way.now, conversation);
            self.drain(way, index);
        }
    }

    fn write_transcodings(&mut self) {
        for index in 0..self.ports.len() {
            let peer = self.ports.get(index).and_then(|port| port.peer);
            let from = peer.and_then(|peer| self.codec(peer));
            if let Some(port) = self.ports.get_mut(index) {
                port.hear_codec(&self.counters, from);
            }
        }
    }

    fn codec(&self, leg: LegId) -> Option<Codec> {
        let port = self.ports.iter().find(|port| port.leg == leg)?;
        Some(port.audio.codec)
    }

    /// A leg that was heard is judged once, at its end.
    fn write_report(&self, report: &LegReport) {
        let counters = self.counters.leg(report.kind);
        if let Some(loss) = report.loss_ratio {
            counters.loss_ratio.observe(loss);
        }
        if let Some(mos) = report.mos {
            counters.mos.observe(mos);
        }
    }

    fn write_books(&mut self) {
        for port in &mut self.ports {
            let stats = self.bridge.stats(port.leg).unwrap_or_default();
            port.write_books(self.counters.leg(port.audio.kind), &stats);
            port.write_signalling(&self.counters);
        }
    }

    fn port(&mut self, leg: LegId) -> Option<&mut Port> {
        self.ports.iter_mut().find(|port| port.leg == leg)
    }
}

fn is_telegram(port: &Port) -> bool {
    port.audio.kind == LegKind::Telegram
}
