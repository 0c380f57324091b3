//! What one leg is sent: its encoder, its timestamps, and what replaces audio (tones, digits).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use model::{Codec, LegId, LegKind};

use crate::audio::LegAudio;
use crate::bridge::BridgeOutput;
use crate::codec::{CodecError, Encoder, OPUS_SILENCE, tone_rate};
use crate::dtmf::{DtmfSender, Step};
use crate::forecast::Forecast;
use crate::inband::KeyTones;
use crate::pool::Pool;
use crate::timeline::{Timeline, rescaled, samples, ticks, whole_frames};
use crate::tone::{Tone, ToneSource};
use crate::transport::RtpOut;

/// Packets for the outside, in order.
pub(crate) type Outbox = VecDeque<BridgeOutput>;

/// The sending side of a leg.
#[derive(Debug)]
pub(crate) struct Outgoing {
    leg: LegId,
    audio: LegAudio,
    /// Timestamp of the next packet.
    next: u32,
    /// The next packet begins a talkspurt (RFC 3551 section 4.1).
    fresh: bool,
    pub(crate) timeline: Timeline,
    encoder: Option<(u32, Encoder)>,
    forecast: Forecast,
    /// What is played, its next samples, and their rate.
    tone: Option<(Tone, ToneSource, u32)>,
    dtmf: DtmfSender,
    keys: KeyTones,
    /// When our clock ticks next, if this leg runs by it.
    pub(crate) tick_at: Option<Instant>,
    pub(crate) held: bool,
    sent: u64,
    transcoded: u64,
    pool: Pool,
    payload: Vec<u8>,
    frame: Vec<i16>,
}

impl Outgoing {
    pub(crate) fn new(leg: LegId, audio: LegAudio, first: u32) -> Self {
        Self {
            leg,
            audio,
            next: first,
            fresh: true,
            timeline: Timeline::default(),
            encoder: None,
            forecast: Forecast::default(),
            tone: None,
            dtmf: DtmfSender::default(),
            keys: KeyTones::default(),
            tick_at: None,
            held: false,
            sent: 0,
            transcoded: 0,
            pool: Pool::default(),
            payload: Vec::new(),
            frame: Vec::new(),
        }
    }

    pub(crate) fn audio(&self) -> &LegAudio {
        &self.audio
    }

    /// Takes newly agreed audio; time goes on.
    pub(crate) fn set_audio(&mut self, audio: LegAudio) {
        if audio.codec != self.audio.codec {
            self.encoder = None;
            self.fresh = true;
        }
        self.audio = audio;
    }

    /// Returns the packets sent.
    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }

    /// Returns how many of them hold the peer's audio, encoded here.
    pub(crate) fn transcoded(&self) -> u64 {
        self.transcoded
    }

    /// Makes sure that PCM of this rate can be sent.
    pub(crate) fn prepare(&mut self, rate: u32) -> Result<(), CodecError> {
        if self
            .encoder
            .as_ref()
            .is_none_or(|(known, _)| *known != rate)
        {
            let mut encoder = Encoder::new(self.audio.codec, rate)?;
            encoder.expect_loss(self.forecast.percent());
            self.encoder = Some((rate, encoder));
        }
        Ok(())
    }

    /// The leg reports that it lost so many of a hundred packets. Returns for how many its encoder
    /// prepares from now on, when these are others.
    pub(crate) fn reported(&mut self, now: Instant, lost_percent: u8) -> Option<u8> {
        let before = self.forecast.percent();
        self.forecast.reported(now, lost_percent);
        let percent = self.forecast.percent();
        let (_, encoder) = self.encoder.as_mut().filter(|_| percent != before)?;
        encoder.expect_loss(percent).then_some(percent)
    }

    pub(crate) fn set_tone(&mut self, tone: Option<Tone>) -> Result<(), CodecError> {
        let Some(tone) = tone else {
            self.tone = None;
            return Ok(());
        };
        let rate = self.own_rate()?;
        self.tone = Some((tone, ToneSource::new(tone, rate), rate));
        Ok(())
    }

    /// Returns the rate of what we say ourselves: that of the encoder at work, so that it need not change.
    fn own_rate(&mut self) -> Result<u32, CodecError> {
        if self.encoder.is_none() {
            self.prepare(tone_rate(self.audio.codec))?;
        }
        Ok(self
            .encoder
            .as_ref()
            .map_or(tone_rate(self.audio.codec), |(rate, _)| *rate))
    }

    /// Queues digits; returns how many will be sent.
    pub(crate) fn press(&mut self, digits: &str) -> usize {
        if self.audio.dtmf_payload_type.is_some() {
            self.dtmf.push(digits)
        } else {
            0
        }
    }

    /// Queues digits that are heard; returns how many.
    pub(crate) fn press_tones(&mut self, digits: &str) -> usize {
        self.keys.push(digits)
    }

    /// Returns whether something of our own replaces the peer's audio.
    pub(crate) fn is_overridden(&self) -> bool {
        self.tone.is_some() || self.dtmf.is_busy() || self.keys.is_busy()
    }

    /// Returns the time between two ticks.
    pub(crate) fn period(&self) -> Duration {
        self.audio.frame()
    }

    /// Lets time pass without a packet.
    pub(crate) fn pause(&mut self, time: Duration) {
        if !time.is_zero() {
            self.next = self
                .next
                .wrapping_add(ticks(time, self.audio.codec.clock_rate()));
            self.fresh = true;
        }
    }

    /// Catches up with the wall after a time without packets (hold, no peer).
    pub(crate) fn resume(&mut self, now: Instant) {
        let away = self
            .timeline
            .due()
            .map_or(Duration::ZERO, |due| now.saturating_duration_since(due));
        self.pause(whole_frames(away));
        self.timeline.filled(now, Duration::ZERO);
    }

    /// Sends one frame of the peer's audio at `rate`.
    pub(crate) fn transcode(&mut self, pcm: &[i16], rate: u32, out: &mut Outbox) {
        self.transcoded += 1;
        self.send_pcm(pcm, rate, out);
    }

    /// Sends one frame of PCM at `rate`.
    pub(crate) fn send_pcm(&mut self, pcm: &[i16], rate: u32, out: &mut Outbox) {
        let Some((_, encoder)) = self.encoder.as_mut().filter(|(made, _)| *made == rate) else {
            return;
        };
        encoder.encode(pcm, &mut self.payload);
        let payload = self.pool.copy(&self.payload);
        let length = rescaled(pcm.len(), rate, self.audio.codec.clock_rate());
        let length = u32::try_from(length).unwrap_or(0);
        self.send(payload, length, out);
    }

    /// Sends a payload of `length` ticks as it is.
    pub(crate) fn send(&mut self, payload: Bytes, length: u32, out: &mut Outbox) {
        let (timestamp, marker) = (self.next, self.fresh);
        self.next = timestamp.wrapping_add(length);
        self.fresh = false;
        if !payload.is_empty() {
            self.push(self.audio.payload_type, timestamp, marker, payload, out);
        }
    }

    /// Sends one frame of silence.
    pub(crate) fn send_silence(&mut self, out: &mut Outbox) {
        if self.audio.codec == Codec::Opus {
            // 20 ms whatever the frame; the tick that follows is as long as the packet (see `silence_period`).
            let length = ticks(self.silence_period(), self.audio.codec.clock_rate());
            return self.send(Bytes::from_static(&OPUS_SILENCE), length, out);
        }
        let Ok(rate) = self.own_rate() else {
            return self.pause(self.period());
        };
        let mut frame = std::mem::take(&mut self.frame);
        frame.clear();
        frame.resize(samples(self.period(), rate), 0);
        self.send_pcm(&frame, rate, out);
        self.frame = frame;
    }

    /// Returns what one packet of [`Self::send_silence`] holds.
    pub(crate) fn silence_period(&self) -> Duration {
        if self.audio.codec == Codec::Opus {
            Duration::from_millis(20)
        } else {
            self.period()
        }
    }

    /// Sends what replaces audio for one frame, if anything does; returns whether it did.
    pub(crate) fn send_own(&mut self, out: &mut Outbox) -> bool {
        let clock = self.audio.codec.clock_rate();
        let length = ticks(self.period(), clock);
        match self
            .dtmf
            .step(self.period(), self.audio.dtmf_clock, self.next)
        {
            Step::Event {
                payload,
                timestamp,
                marker,
            } => {
                if let Some(payload_type) = self.audio.dtmf_payload_type {
                    let payload = self.pool.copy(&payload);
                    self.push(payload_type, timestamp, marker, payload, out);
                }
                self.next = self.next.wrapping_add(length);
                self.fresh = true;
                return true;
            }
            Step::Quiet => {
                self.next = self.next.wrapping_add(length);
                return true;
            }
            Step::Audio => {}
        }
        if self.tone.is_none() && !self.keys.is_busy() {
            return false;
        }
        let Ok(rate) = self.own_rate() else {
            return false;
        };
        let mut frame = std::mem::take(&mut self.frame);
        frame.resize(samples(self.audio.frame(), rate), 0);
        if self.keys.is_busy() {
            self.keys.fill(&mut frame, rate);
        } else if let Some((tone, source, made)) = &mut self.tone {
            if *made != rate {
                // The leg was joined or agreed on another codec meanwhile.
                (*source, *made) = (ToneSource::new(*tone, rate), rate);
            }
            source.fill(&mut frame);
        }
        self.send_pcm(&frame, rate, out);
        self.frame = frame;
        true
    }

    /// Returns whether a steady stream is owed to this leg even if its peer says nothing.
    pub(crate) fn wants_steady_stream(&self) -> bool {
        self.audio.kind == LegKind::Sip
    }

    fn push(
        &mut self,
        payload_type: u8,
        timestamp: u32,
        marker: bool,
        payload: Bytes,
        out: &mut Outbox,
    ) {
        self.sent += 1;
        let packet = RtpOut {
            payload_type,
            timestamp,
            marker,
            payload,
        };
        out.push_back(BridgeOutput::Rtp {
            leg: self.leg,
            packet,
        });
    }
}
