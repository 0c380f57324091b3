//! Audio played by our own clock: a jitter buffer in front of a decoder, behind it a queue of samples that is asked for
//! one frame a tick and always gives one.
//!
//! ```text
//!          first packet, waited `margin`
//!  Idle ---------------------------------> Playing
//!    ^---- nothing for 100 ms: silence ------|
//! ```
//!
//! The delay follows the network. A packet that comes after its time was guessed at is played all the same, so
//! the delay grows by what was guessed; when for a second every packet came earlier than needed, a period of the
//! waveform is taken out. Bounded to 50 packets and a configured time (SEC-M9).

use std::time::{Duration, Instant};

use model::Codec;

use crate::bridge::LegStats;
use crate::codec::{CodecError, Decoder, packet_ticks};
use crate::jitter::{Arrival, Front, MAX_PACKETS, PacketBuffer};
use crate::pcm::Pcm;
use crate::timeline::{rescaled, samples, time};
use crate::transport::RtpIn;

/// Guessing ends here; what follows is silence.
const MAX_GUESS: Duration = Duration::from_millis(100);
/// A gap longer than this is jumped over.
const MAX_GAP: Duration = Duration::from_millis(500);
/// What an underrun adds to the margin.
const MARGIN_STEP: Duration = Duration::from_millis(10);
/// The widest margin.
const MAX_MARGIN: Duration = Duration::from_millis(120);
/// Time without underrun after which the margin shrinks by one step.
const MARGIN_DECAY: Duration = Duration::from_secs(10);
/// Excess that is left alone.
const TOLERANCE: Duration = Duration::from_millis(5);
/// Excess that is cut as fast as possible.
const MUCH: Duration = Duration::from_millis(100);
/// The longest period taken out at once.
const MAX_SQUEEZE: Duration = Duration::from_millis(15);
/// Time between two such cuts, unless much is to be cut.
const SQUEEZE_EVERY: Duration = Duration::from_millis(100);

/// How a [`Playout`] is bounded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// The least time a packet should come before it is needed.
    pub(crate) margin: Duration,
    /// The most audio held.
    pub(crate) most: Duration,
}

/// Plays one leg's audio for another, a frame at a time.
#[derive(Debug)]
pub(crate) struct Playout {
    codec: Codec,
    rate: u32,
    bounds: Bounds,
    buffer: PacketBuffer,
    decoder: Decoder,
    pcm: Pcm,
    state: State,
    /// The last packet said that there is no audio: none is missing until the next one.
    quiet: bool,
    /// Samples of the last packet.
    packet: usize,
    margin: Duration,
    margin_since: Option<Instant>,
    excess: Excess,
    squeezed_at: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    /// Samples guessed since the last real ones.
    Playing {
        guessed: usize,
    },
}

impl Playout {
    pub(crate) fn new(codec: Codec, rate: u32, bounds: Bounds) -> Result<Self, CodecError> {
        Ok(Self {
            codec,
            rate,
            bounds,
            buffer: PacketBuffer::default(),
            decoder: Decoder::new(codec, rate)?,
            pcm: Pcm::default(),
            state: State::Idle,
            quiet: false,
            packet: samples(Duration::from_millis(20), rate),
            margin: bounds.margin,
            margin_since: None,
            excess: Excess::default(),
            squeezed_at: None,
        })
    }

    /// Returns the rate of what [`Self::frame`] gives.
    pub(crate) fn rate(&self) -> u32 {
        self.rate
    }

    /// Returns the audio that waits.
    pub(crate) fn depth(&self) -> Duration {
        time(
            (self.buffer.len() * self.packet + self.pcm.len()) as u64,
            self.rate,
        )
    }

    /// Returns how long a first packet is kept before it is played.
    pub(crate) fn margin(&self) -> Duration {
        self.margin
    }

    /// Forgets what waits: nobody listened, and nobody wants to hear it late.
    pub(crate) fn forget(&mut self) {
        while let Front::Packet | Front::Gap { .. } = self.buffer.front() {
            if let Front::Gap { missing, .. } = self.buffer.front() {
                self.buffer.skip(missing);
            }
            drop(self.buffer.pop());
        }
        self.pcm.clear();
        self.state = State::Idle;
    }

    /// Takes one packet.
    pub(crate) fn push(
        &mut self,
        now: Instant,
        packet: &RtpIn,
        audio: bool,
        stats: &mut LegStats,
    ) -> Arrival {
        let arrival = self.buffer.insert(now, packet, audio);
        if audio && let Some(ticks) = packet_ticks(self.codec, &packet.payload) {
            let clock = self.codec.clock_rate();
            let ticks = usize::try_from(ticks).unwrap_or(0);
            self.packet = rescaled(ticks, clock, self.rate).max(1);
        }
        while self.buffer.len() > MAX_PACKETS || self.depth() > self.bounds.most {
            match self.buffer.front() {
                Front::Packet => drop(self.buffer.pop()),
                Front::Gap { missing, .. } => {
                    self.buffer.skip(missing);
                    stats.lose(missing);
                    continue;
                }
                Front::Empty => break,
            }
            stats.discarded += 1;
        }
        arrival
    }

    /// Makes the next frame ready; [`Self::front`] then holds it. Returns whether there is audio in it.
    pub(crate) fn frame(
        &mut self,
        now: Instant,
        length: usize,
        jitter: Duration,
        stats: &mut LegStats,
    ) -> bool {
        self.adapt(now, jitter);
        if self.state == State::Idle && !self.may_start(now, stats) {
            return false;
        }
        while self.pcm.len() < length {
            match self.buffer.front() {
                Front::Packet => self.play(now, length, stats),
                Front::Gap { missing, .. } => self.step_over(missing, stats),
                Front::Empty => {
                    if !self.underrun(length - self.pcm.len(), stats) {
                        break;
                    }
                }
            }
        }
        self.squeeze(now, length, stats);
        if self.pcm.len() < length {
            // What is left of the last packet, then silence.
            self.pcm.grow(length - self.pcm.len());
        }
        true
    }

    /// Returns the frame made ready.
    pub(crate) fn front(&self, length: usize) -> &[i16] {
        self.pcm.front(length)
    }

    /// Forgets the oldest samples: they were sent, or their time is over.
    pub(crate) fn consume(&mut self, length: usize) {
        self.pcm.consume(length);
    }

    /// Whether what waits has waited long enough.
    fn may_start(&mut self, now: Instant, stats: &mut LegStats) -> bool {
        loop {
            match self.buffer.front() {
                Front::Empty => return false,
                Front::Gap { missing, .. } => {
                    self.buffer.skip(missing);
                    stats.lose(missing);
                }
                Front::Packet => {
                    let Some(first) = self.buffer.peek() else {
                        return false;
                    };
                    if first.payload.is_empty() {
                        drop(self.buffer.pop());
                        continue;
                    }
                    let waited = now.saturating_duration_since(first.arrived);
                    // Half a margin is enough when the alternative is a whole tick more.
                    if waited * 2 < self.margin
                        && self.depth() < self.margin + time(self.packet as u64, self.rate) * 2
                    {
                        return false;
                    }
                    self.state = State::Playing { guessed: 0 };
                    self.excess = Excess::default();
                    return true;
                }
            }
        }
    }

    fn play(&mut self, now: Instant, frame: usize, stats: &mut LegStats) {
        let Some(packet) = self.buffer.pop() else {
            return;
        };
        if packet.payload.is_empty() {
            self.quiet |= packet.quiet;
            return;
        }
        self.quiet = false;
        let before = self.pcm.len();
        if self.decoder.decode(&packet.payload, &mut self.pcm) == 0 {
            stats.broken += 1;
            self.decoder.conceal(self.packet, &mut self.pcm);
            return;
        }
        if let State::Playing { guessed } = self.state {
            if guessed > 0 {
                self.margin = (self.margin + MARGIN_STEP).min(MAX_MARGIN);
                self.margin_since = Some(now);
            }
            self.state = State::Playing { guessed: 0 };
        }
        // It is needed at the tick of the frame it begins in. That much audio before it in the frame can go, and
        // any whole frame it came earlier than the margin asks.
        let period = time(frame as u64, self.rate);
        let ticks = u32::try_from(before / frame.max(1)).unwrap_or(0);
        let early = now.saturating_duration_since(packet.arrived) + period * ticks;
        let frames = early.saturating_sub(self.margin).as_micros() / period.as_micros().max(1);
        let inside = time((before % frame.max(1)) as u64, self.rate);
        self.excess
            .observe(now, inside + period * u32::try_from(frames).unwrap_or(0));
    }

    /// Guesses at packets that are missing although later ones are there.
    fn step_over(&mut self, missing: u64, stats: &mut LegStats) {
        self.buffer.skip(missing);
        stats.lose(missing);
        let lost = usize::try_from(missing)
            .unwrap_or(usize::MAX)
            .saturating_mul(self.packet);
        let State::Playing { guessed } = self.state else {
            return;
        };
        self.state = State::Playing { guessed: 0 };
        if lost > samples(MAX_GAP, self.rate) {
            return;
        }
        // What an underrun has guessed already was this.
        let left = lost
            .saturating_sub(guessed)
            .min(samples(MAX_GUESS, self.rate))
            / self.grain()
            * self.grain();
        let next = self.buffer.peek().filter(|next| !next.payload.is_empty());
        let recovered = if next.is_some() && left >= self.packet && guessed == 0 {
            self.packet
        } else {
            0
        };
        if left > recovered {
            self.decoder.conceal(left - recovered, &mut self.pcm);
        }
        if let Some(next) = next.filter(|_| recovered > 0) {
            self.decoder
                .recover(&next.payload, recovered, &mut self.pcm);
        }
        stats.concealed += time(left as u64, self.rate);
    }

    /// Guesses because nothing is there; returns false when it is time for silence.
    fn underrun(&mut self, wanted: usize, stats: &mut LegStats) -> bool {
        let State::Playing { guessed } = self.state else {
            return false;
        };
        if self.quiet || guessed >= samples(MAX_GUESS, self.rate) {
            self.state = State::Idle;
            return false;
        }
        let count = wanted.div_ceil(self.grain()) * self.grain();
        self.decoder.conceal(count, &mut self.pcm);
        stats.concealed += time(count as u64, self.rate);
        self.state = State::Playing {
            guessed: guessed + count,
        };
        true
    }

    /// Takes a period out when every packet came much earlier than needed.
    fn squeeze(&mut self, now: Instant, length: usize, stats: &mut LegStats) {
        let Some(excess) = self.excess.least() else {
            return;
        };
        let much = excess > MUCH;
        let recently = self
            .squeezed_at
            .is_some_and(|at| now.saturating_duration_since(at) < SQUEEZE_EVERY);
        if excess < TOLERANCE
            || (recently && !much)
            || !matches!(self.state, State::Playing { guessed: 0 })
        {
            return;
        }
        let longest = samples(excess.min(MAX_SQUEEZE), self.rate);
        if self.pcm.len() < length + longest && self.buffer.front() == Front::Packet {
            self.play(now, length, stats);
        }
        if self.pcm.len() < length + longest {
            return;
        }
        let removed = self.pcm.squeeze(
            self.grain(),
            longest,
            samples(Duration::from_millis(10), self.rate),
        );
        let removed = time(removed as u64, self.rate);
        stats.squeezed += removed;
        self.excess.shift(removed);
        self.squeezed_at = Some(now);
    }

    fn adapt(&mut self, now: Instant, jitter: Duration) {
        let since = *self.margin_since.get_or_insert(now);
        if now.saturating_duration_since(since) >= MARGIN_DECAY {
            let least = (jitter * 2).clamp(self.bounds.margin, MAX_MARGIN);
            self.margin = self.margin.saturating_sub(MARGIN_STEP).max(least);
            self.margin_since = Some(now);
        }
    }

    /// 2.5 ms, the granularity of Opus.
    fn grain(&self) -> usize {
        usize::try_from(self.rate / 400).unwrap_or(1).max(1)
    }
}

/// The most audio that could have been left out without missing any packet, over the last one to two seconds.
#[derive(Debug, Clone, Copy, Default)]
struct Excess {
    since: Option<Instant>,
    now: Option<Duration>,
    before: Option<Duration>,
}

impl Excess {
    const WINDOW: Duration = Duration::from_secs(1);

    fn observe(&mut self, now: Instant, excess: Duration) {
        let since = *self.since.get_or_insert(now);
        if now.saturating_duration_since(since) >= Self::WINDOW {
            self.before = self.now.take();
            self.since = Some(now);
        }
        self.now = Some(self.now.map_or(excess, |least| least.min(excess)));
    }

    /// Nothing before a whole window is over.
    fn least(&self) -> Option<Duration> {
        let before = self.before?;
        Some(self.now.map_or(before, |now| now.min(before)))
    }

    fn shift(&mut self, by: Duration) {
        for least in [&mut self.now, &mut self.before].into_iter().flatten() {
            *least = least.saturating_sub(by);
        }
    }
}
