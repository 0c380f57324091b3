//! Audio passed on as it comes: in order, without a clock of ours and without added delay.
//!
//! Used towards Telegram, whose clients have a jitter buffer of their own, and between legs of the same codec.
//! A packet in order leaves at once; a gap is waited for a little, then guessed at (or left, when packets pass as
//! they are).

use std::time::{Duration, Instant};

use model::Codec;

use crate::bridge::LegStats;
use crate::codec::{CodecError, Decoder, packet_ticks};
use crate::jitter::{Arrival, Front, MAX_PACKETS, PacketBuffer, Waiting};
use crate::outgoing::{Outbox, Outgoing};
use crate::pcm::Pcm;
use crate::timeline::{samples, time};
use crate::transport::RtpIn;

/// The shortest wait for a packet out of order.
const MIN_WAIT: Duration = Duration::from_millis(10);
/// The longest.
const MAX_WAIT: Duration = Duration::from_millis(60);
/// The most that is guessed at a time; beyond, the pause is left a pause.
const MAX_GUESS: Duration = Duration::from_millis(100);

/// Passes one leg's audio to another.
#[derive(Debug)]
pub(crate) struct Relay {
    codec: Codec,
    buffer: PacketBuffer,
    transcoder: Option<Transcoder>,
    /// What the last packet held.
    packet: Duration,
    jitter: Duration,
}

/// Between two codecs: decode, cut into the frames of the other side.
#[derive(Debug)]
struct Transcoder {
    decoder: Decoder,
    rate: u32,
    pcm: Pcm,
}

impl Relay {
    /// Passes packets as they are.
    pub(crate) fn untouched(codec: Codec) -> Self {
        Self {
            codec,
            buffer: PacketBuffer::default(),
            transcoder: None,
            packet: Duration::from_millis(20),
            jitter: Duration::ZERO,
        }
    }

    /// Decodes at `rate`, for the encoder of the other side.
    pub(crate) fn transcoding(codec: Codec, rate: u32) -> Result<Self, CodecError> {
        let transcoder = Transcoder {
            decoder: Decoder::new(codec, rate)?,
            rate,
            pcm: Pcm::default(),
        };
        Ok(Self {
            transcoder: Some(transcoder),
            ..Self::untouched(codec)
        })
    }

    /// Takes one packet.
    pub(crate) fn push(
        &mut self,
        now: Instant,
        packet: &RtpIn,
        audio: bool,
        jitter: Duration,
    ) -> Arrival {
        self.jitter = jitter;
        self.buffer.insert(now, packet, audio)
    }

    /// Returns when a gap is given up.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self.buffer.front() {
            Front::Gap { arrived, .. } => Some(arrived + self.wait()),
            Front::Packet | Front::Empty => None,
        }
    }

    /// Returns the audio held back.
    pub(crate) fn depth(&self) -> Duration {
        self.packet * u32::try_from(self.buffer.len()).unwrap_or(0)
    }

    /// Passes on what is in order by now.
    pub(crate) fn run(
        &mut self,
        now: Instant,
        to: &mut Outgoing,
        stats: &mut LegStats,
        out: &mut Outbox,
    ) {
        loop {
            match self.buffer.front() {
                Front::Empty => return,
                Front::Gap { arrived, .. }
                    if now < arrived + self.wait() && self.buffer.len() < MAX_PACKETS =>
                {
                    return;
                }
                Front::Gap { missing, .. } => {
                    self.buffer.skip(missing);
                    stats.lose(missing);
                    self.guess(missing, to, stats, out);
                }
                Front::Packet => {
                    if let Some(packet) = self
                        .buffer
                        .pop()
                        .filter(|packet| !packet.payload.is_empty())
                    {
                        self.pass(packet, to, stats, out);
                    }
                }
            }
        }
    }

    fn wait(&self) -> Duration {
        (self.jitter * 2).clamp(MIN_WAIT, MAX_WAIT)
    }

    fn pass(&mut self, packet: Waiting, to: &mut Outgoing, stats: &mut LegStats, out: &mut Outbox) {
        let Some(length) = packet_ticks(self.codec, &packet.payload) else {
            stats.broken += 1;
            return;
        };
        let clock = self.codec.clock_rate();
        self.packet = time(u64::from(length), clock);
        if to.held {
            // Nothing is sent and nothing counted: afterwards it is a pause like any other.
            return;
        }
        let silent = to.is_overridden();
        if !silent
            && to
                .timeline
                .leaves_out(packet.arrived, packet.timestamp, length)
        {
            stats.discarded += 1;
            return;
        }
        if !silent {
            let pause = to.timeline.pause(packet.arrived, packet.timestamp);
            self.leave_pause(pause, to, out);
        }
        to.timeline
            .placed(packet.arrived, packet.timestamp, length, clock);
        let Some(transcoder) = &mut self.transcoder else {
            if !silent {
                to.send(packet.payload, length, out);
            }
            return;
        };
        if silent {
            transcoder.pcm.clear();
            return;
        }
        transcoder
            .decoder
            .decode(&packet.payload, &mut transcoder.pcm);
        transcoder.cut(to, out);
    }

    /// Ends the frame that has begun, and lets the rest of the pause pass.
    fn leave_pause(&mut self, pause: Duration, to: &mut Outgoing, out: &mut Outbox) {
        if pause.is_zero() {
            return;
        }
        let filled = self
            .transcoder
            .as_mut()
            .map_or(Duration::ZERO, |transcoder| transcoder.flush(to, out));
        to.pause(pause.saturating_sub(filled));
    }

    /// Makes up for packets that will not come.
    fn guess(&mut self, missing: u64, to: &mut Outgoing, stats: &mut LegStats, out: &mut Outbox) {
        let (Some(transcoder), Some(next)) = (&mut self.transcoder, self.buffer.peek()) else {
            return;
        };
        let by_count = self.packet * u32::try_from(missing).unwrap_or(u32::MAX).min(1000);
        let by_stamp = to.timeline.missing(next.timestamp).unwrap_or(by_count);
        let guessed = by_count.min(by_stamp).min(MAX_GUESS);
        // Whole 2.5 ms, the granularity of Opus.
        let step = usize::try_from(transcoder.rate / 400).unwrap_or(1);
        let count = samples(guessed, transcoder.rate) / step * step;
        if count == 0 || to.held || to.is_overridden() {
            return;
        }
        let one = samples(self.packet, transcoder.rate);
        let recovered = if count >= one && !next.payload.is_empty() {
            one
        } else {
            0
        };
        if count > recovered {
            transcoder
                .decoder
                .conceal(count - recovered, &mut transcoder.pcm);
        }
        if recovered > 0 {
            transcoder
                .decoder
                .recover(&next.payload, recovered, &mut transcoder.pcm);
        }
        stats.concealed += guessed;
        to.timeline.concealed(guessed);
        transcoder.cut(to, out);
    }
}

impl Transcoder {
    /// Sends every whole frame.
    fn cut(&mut self, to: &mut Outgoing, out: &mut Outbox) {
        let frame = samples(to.period(), self.rate);
        while frame > 0 && self.pcm.len() >= frame {
            to.transcode(self.pcm.front(frame), self.rate, out);
            self.pcm.consume(frame);
        }
    }

    /// Fills the frame that has begun with silence; returns how much that took.
    fn flush(&mut self, to: &mut Outgoing, out: &mut Outbox) -> Duration {
        let frame = samples(to.period(), self.rate);
        let rest = (frame - self.pcm.len().min(frame)) % frame.max(1);
        if rest == 0 {
            return Duration::ZERO;
        }
        self.pcm.grow(rest);
        self.cut(to, out);
        time(rest as u64, self.rate)
    }
}
