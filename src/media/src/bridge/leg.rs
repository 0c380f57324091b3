//! One leg on a bridge: what comes from it, how that reaches its peer, and what it is sent by the clock.

use std::time::{Duration, Instant};

use model::{DtmfMethod, LegId};

use super::{BridgeEvent, BridgeOutput, LegStats};
use crate::audio::{LegAudio, PayloadKind};
use crate::codec::CodecError;
use crate::dtmf::DtmfReceiver;
use crate::inband::Ear;
use crate::jitter::Arrival;
use crate::outgoing::{Outbox, Outgoing};
use crate::playout::Playout;
use crate::relay::Relay;
use crate::rtp::MAX_PACKET;
use crate::sequence::Jitter;
use crate::timeline::samples;
use crate::transport::RtpIn;

/// Packets that pass untouched may be this late before silence of our own takes their place.
const KEEP_ALIVE_AFTER: Duration = Duration::from_millis(60);

#[derive(Debug)]
pub(super) struct Leg {
    pub(super) id: LegId,
    pub(super) audio: LegAudio,
    pub(super) peer: Option<LegId>,
    /// How its audio goes to the peer.
    pub(super) path: Path,
    pub(super) outgoing: Outgoing,
    /// The peer's clock was set to this leg's packets.
    pub(super) is_phased: bool,
    dtmf: DtmfReceiver,
    /// Digits in the voice are wanted; the ear is there until an event came.
    listens: bool,
    ear: Option<Ear>,
    jitter: Jitter,
    stats: LegStats,
}

/// How audio goes from a leg to its peer.
#[derive(Debug)]
pub(super) enum Path {
    /// Nowhere.
    None,
    /// As it comes.
    Relay(Box<Relay>),
    /// By our clock.
    Playout(Box<Playout>),
}

/// What a packet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Audio,
    /// A digit, comfort noise or padding: it has a number, but no audio.
    NoAudio,
}

impl Leg {
    pub(super) fn new(id: LegId, audio: LegAudio, outgoing: Outgoing) -> Self {
        Self {
            id,
            audio,
            peer: None,
            path: Path::None,
            outgoing,
            is_phased: false,
            dtmf: DtmfReceiver::default(),
            listens: false,
            ear: None,
            jitter: Jitter::default(),
            stats: LegStats::default(),
        }
    }

    /// Takes newly agreed audio.
    pub(super) fn set_audio(&mut self, audio: LegAudio) -> Result<(), CodecError> {
        let other = audio.codec != self.audio.codec;
        self.audio = audio;
        self.outgoing.set_audio(audio);
        if other && self.ear.is_some() {
            self.ear = Some(Ear::new(audio.codec)?);
        }
        Ok(())
    }

    /// Begins or ends to listen for digits in the voice.
    pub(super) fn listen(&mut self, on: bool) -> Result<(), CodecError> {
        if on != self.listens {
            self.ear = on.then(|| Ear::new(self.audio.codec)).transpose()?;
            self.listens = on;
        }
        Ok(())
    }

    pub(super) fn stats(&self) -> LegStats {
        let depth = match &self.path {
            Path::None => Duration::ZERO,
            Path::Relay(relay) => relay.depth(),
            Path::Playout(playout) => playout.depth(),
        };
        LegStats {
            sent: self.outgoing.sent(),
            transcoded: self.outgoing.transcoded(),
            jitter: self.jitter.value(),
            depth,
            ..self.stats
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let gap = match &self.path {
            Path::Relay(relay) => relay.deadline(),
            Path::None | Path::Playout(_) => None,
        };
        [gap, self.outgoing.tick_at].into_iter().flatten().min()
    }

    /// Counts a packet and tells what it means; nothing when it means nothing.
    pub(super) fn receive(
        &mut self,
        now: Instant,
        packet: &RtpIn,
        out: &mut Outbox,
    ) -> Option<Kind> {
        self.stats.received += 1;
        let kind = self.audio.kind_of(packet.payload_type);
        let Some(kind) = kind.filter(|_| packet.payload.len() <= MAX_PACKET) else {
            self.stats.ignored += 1;
            return None;
        };
        if let Some(ear) = &mut self.ear
            && kind == PayloadKind::ComfortNoise
        {
            ear.rest(packet);
        }
        if packet.payload.is_empty() || kind == PayloadKind::ComfortNoise {
            return Some(Kind::NoAudio);
        }
        let leg = self.id;
        let mut tell = |digit, method| {
            out.push_back(BridgeOutput::Event(BridgeEvent::Dtmf {
                leg,
                digit,
                method,
            }));
        };
        if kind == PayloadKind::Event {
            // Who sends events needs no ear, and what of the tone is in the voice before one would count twice.
            self.ear = None;
            if let Some(digit) = self
                .dtmf
                .receive(&packet.payload, packet.timestamp, packet.marker)
            {
                tell(digit, DtmfMethod::Rfc2833);
            }
            return Some(Kind::NoAudio);
        }
        if let Some(ear) = &mut self.ear {
            ear.hear(packet, &mut |digit| tell(digit, DtmfMethod::Inband));
        }
        self.jitter
            .arrived(now, packet.timestamp, self.audio.codec.clock_rate());
        if self.stats.first_audio.is_none() {
            self.stats.first_audio = Some(now);
            out.push_back(BridgeOutput::Event(BridgeEvent::FirstAudio {
                leg: self.id,
            }));
        }
        Some(Kind::Audio)
    }

    /// Brings a packet on its way to the peer.
    pub(super) fn pass(
        &mut self,
        now: Instant,
        kind: Kind,
        packet: &RtpIn,
        to: &mut Leg,
        out: &mut Outbox,
    ) {
        let is_audio = kind == Kind::Audio;
        let jitter = self.jitter.value();
        let arrival = match &mut self.path {
            Path::None => return,
            Path::Relay(relay) => relay.push(now, packet, is_audio, jitter),
            Path::Playout(playout) => {
                if is_audio
                    && !self.is_phased
                    && to.outgoing.tick_at.is_some()
                    && !to.outgoing.is_overridden()
                {
                    // The clock was free so far: let it tick when this packet has waited its margin, not up to a
                    // whole frame later.
                    to.outgoing.tick_at = Some(now + playout.margin());
                    self.is_phased = true;
                }
                // Nobody misses what nobody is to hear.
                let mut unheard = self.stats;
                let stats = if to.outgoing.held {
                    &mut unheard
                } else {
                    &mut self.stats
                };
                playout.push(now, packet, is_audio, stats)
            }
        };
        match arrival {
            Arrival::Stored => {}
            Arrival::Restarted { .. } if to.outgoing.held => {}
            Arrival::Restarted { missing, dropped } => {
                self.stats.discarded += dropped;
                if missing > 0 {
                    self.stats.lose(missing);
                }
            }
            Arrival::Late => self.stats.late += 1,
            Arrival::Duplicate => self.stats.duplicate += 1,
        }
        self.run_relay(now, to, out);
    }

    /// Passes on what a relay has in order by now.
    pub(super) fn run_relay(&mut self, now: Instant, to: &mut Leg, out: &mut Outbox) {
        let Path::Relay(relay) = &mut self.path else {
            return;
        };
        let before = to.outgoing.sent();
        relay.run(now, &mut to.outgoing, &mut self.stats, out);
        if to.outgoing.sent() != before
            && to.outgoing.tick_at.is_some()
            && !to.outgoing.is_overridden()
        {
            to.outgoing.tick_at = to
                .outgoing
                .timeline
                .due()
                .map(|due| due.max(now) + KEEP_ALIVE_AFTER);
        }
    }

    /// Starts or stops the clock of what this leg is sent; `waiting` is what of its peer's audio waits for it.
    pub(super) fn set_clock(&mut self, now: Instant, waiting: Option<&mut Playout>) {
        let by_clock = waiting.is_some();
        let overridden = self.outgoing.is_overridden();
        let steady = self.peer.is_some() && (by_clock || self.outgoing.wants_steady_stream());
        if self.outgoing.held || !(overridden || steady) {
            self.outgoing.tick_at = None;
            return;
        }
        match self.outgoing.tick_at {
            None => {
                if let Some(playout) = waiting {
                    playout.forget();
                }
                self.outgoing.resume(now);
                self.outgoing.tick_at = Some(now);
            }
            // A relay's clock waits for silence; a tone or digit begins where the last packet ends.
            Some(at) if overridden && !by_clock => {
                let due = self.outgoing.timeline.due().unwrap_or(now).max(now);
                self.outgoing.tick_at = Some(due.min(at));
            }
            Some(_) => {}
        }
    }

    /// Sends what is due to a leg without peer: tones and digits.
    pub(super) fn tick_alone(&mut self, now: Instant, out: &mut Outbox) {
        self.catch_up(now);
        while let Some(at) = self.outgoing.tick_at.filter(|at| *at <= now) {
            let sent = self.outgoing.send_own(out);
            self.next_tick(at, sent.then(|| self.outgoing.period()));
        }
    }

    /// Sends what is due to a leg with a peer.
    pub(super) fn tick(&mut self, now: Instant, peer: &mut Leg, out: &mut Outbox) {
        let skipped = self.catch_up(now);
        if let Path::Playout(playout) = &mut peer.path {
            playout.consume(samples(skipped, playout.rate()));
        }
        while let Some(at) = self.outgoing.tick_at.filter(|at| *at <= now) {
            match &mut peer.path {
                Path::Playout(playout) => {
                    let jitter = peer.jitter.value();
                    let length = self.tick_playout(now, playout, jitter, &mut peer.stats, out);
                    self.next_tick(at, Some(length));
                }
                Path::None | Path::Relay(_) => self.tick_relay(at, out),
            }
        }
    }

    /// Sends one frame of what the peer said; returns how much time it stands for.
    fn tick_playout(
        &mut self,
        now: Instant,
        playout: &mut Playout,
        jitter: Duration,
        stats: &mut LegStats,
        out: &mut Outbox,
    ) -> Duration {
        let (rate, period) = (playout.rate(), self.outgoing.period());
        let length = samples(period, rate);
        let has_audio = playout.frame(now, length, jitter, stats);
        // Audio that is replaced is taken out all the same, so that what follows it is not late.
        let replaced = self.outgoing.send_own(out);
        if !replaced && has_audio {
            self.outgoing.transcode(playout.front(length), rate, out);
        }
        if has_audio {
            playout.consume(length);
        }
        if replaced || has_audio {
            return period;
        }
        self.outgoing.send_silence(out);
        self.outgoing.silence_period()
    }

    /// Sends what replaces the peer's packets, or silence when there are none.
    fn tick_relay(&mut self, at: Instant, out: &mut Outbox) {
        if self.outgoing.send_own(out) {
            self.next_tick(at, Some(self.outgoing.period()));
            return;
        }
        if !self.outgoing.wants_steady_stream() {
            self.next_tick(at, None);
            return;
        }
        if let Some(due) = self.outgoing.timeline.due().filter(|due| *due > at) {
            // A tone or digit has just ended and the peer is talking.
            self.outgoing.tick_at = Some(due + KEEP_ALIVE_AFTER);
            return;
        }
        self.outgoing.send_silence(out);
        let length = self.outgoing.silence_period();
        self.outgoing.timeline.silenced(at, length);
        self.outgoing.tick_at = Some(at + length);
    }

    fn next_tick(&mut self, at: Instant, length: Option<Duration>) {
        self.outgoing.tick_at = length.map(|length| at + length);
        if let Some(length) = length {
            self.outgoing.timeline.filled(at, length);
        }
    }

    /// Leaves out ticks when two or more are overdue: a burst would only fill the far jitter buffer.
    fn catch_up(&mut self, now: Instant) -> Duration {
        let period = self.outgoing.period();
        let Some(at) = self.outgoing.tick_at else {
            return Duration::ZERO;
        };
        let late = now.saturating_duration_since(at);
        if late < period * 2 {
            return Duration::ZERO;
        }
        let ticks = u32::try_from(late.as_nanos() / period.as_nanos().max(1)).unwrap_or(u32::MAX);
        let skipped = period * ticks;
        self.outgoing.pause(skipped);
        self.outgoing.tick_at = Some(at + skipped);
        self.stats.skipped += skipped;
        skipped
    }
}
