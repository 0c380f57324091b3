//! The codecs: G.711 and Opus (libopus), made at the rate the other side needs, so that nothing is ever resampled;
//! and what to play when a packet is missing.

use model::Codec;
use opus::{Application, Bitrate, Channels};
use thiserror::Error;

use crate::g711::Law;
use crate::pcm::{Pcm, best_match, blend};

/// The longest Opus packet (RFC 6716 section 3.4).
const MAX_OPUS: usize = 1275;
/// 20 ms of nothing at 48 kHz, as every Opus decoder plays it.
pub(crate) const OPUS_SILENCE: [u8; 3] = [0xf8, 0xff, 0xfe];
/// Opus packet loss the encoder prepares for, percent.
const EXPECTED_LOSS: i32 = 10;

/// Why a codec could not be made.
#[derive(Debug, Error)]
pub enum CodecError {
    /// libopus refused.
    #[error("opus at {rate} Hz")]
    Opus {
        /// Samples a second asked for.
        rate: u32,
        /// Its reason.
        source: opus::Error,
    },
    /// G.711 exists at 8 kHz only.
    #[error("g.711 at {0} Hz")]
    Rate(u32),
}

/// Returns the samples a second at which audio passes between two codecs.
pub(crate) fn pcm_rate(a: Codec, b: Codec) -> u32 {
    a.sample_rate().min(b.sample_rate())
}

/// Returns the audio in a packet in ticks of the codec's clock; nothing when it is not one of the codec's.
pub(crate) fn packet_ticks(codec: Codec, payload: &[u8]) -> Option<u32> {
    let ticks = match codec {
        Codec::Alaw | Codec::Mulaw => payload.len(),
        Codec::Opus => opus::packet::get_nb_samples(payload, codec.clock_rate()).ok()?,
    };
    u32::try_from(ticks).ok().filter(|ticks| *ticks > 0)
}

/// Turns payloads into samples.
#[derive(Debug)]
pub(crate) enum Decoder {
    G711(Box<G711>),
    Opus {
        decoder: Box<opus::Decoder>,
        rate: u32,
    },
}

impl Decoder {
    pub(crate) fn new(codec: Codec, rate: u32) -> Result<Self, CodecError> {
        match codec {
            Codec::Alaw | Codec::Mulaw if rate != codec.sample_rate() => {
                Err(CodecError::Rate(rate))
            }
            Codec::Alaw | Codec::Mulaw => Ok(Self::G711(Box::new(G711::new(law(codec))))),
            Codec::Opus => {
                let made = opus::Decoder::new(rate, Channels::Mono);
                let decoder = Box::new(made.map_err(|source| CodecError::Opus { rate, source })?);
                Ok(Self::Opus { decoder, rate })
            }
        }
    }

    /// Appends the audio of a packet; returns its samples, 0 when it is broken.
    pub(crate) fn decode(&mut self, payload: &[u8], pcm: &mut Pcm) -> usize {
        match self {
            Self::G711(g711) => g711.decode(payload, pcm),
            Self::Opus { decoder, rate } => {
                // RFC 6716 s.3.2.5 bounds a packet to 120 ms; `get_nb_samples` refuses more.
                let Ok(samples) = opus::packet::get_nb_samples(payload, *rate) else {
                    return 0;
                };
                let out = pcm.grow(samples);
                let decoded = decoder.decode(payload, out, false).unwrap_or(0);
                pcm.shrink(samples - decoded.min(samples));
                decoded
            }
        }
    }

    /// Appends a guess at `samples` of audio that did not come; a whole number of 2.5 ms, at most 120 ms.
    pub(crate) fn conceal(&mut self, samples: usize, pcm: &mut Pcm) {
        match self {
            Self::G711(g711) => g711.conceal(pcm.grow(samples)),
            Self::Opus { decoder, .. } => {
                // On an error the zeros stay: silence is a guess, too.
                let _ = decoder.decode(&[], pcm.grow(samples), false);
            }
        }
    }

    /// Appends the `samples` lost before the packet `next`, from its in-band FEC where the codec has it.
    pub(crate) fn recover(&mut self, next: &[u8], samples: usize, pcm: &mut Pcm) {
        match self {
            Self::G711(_) => self.conceal(samples, pcm),
            Self::Opus { decoder, .. } => {
                let _ = decoder.decode(next, pcm.grow(samples), true);
            }
        }
    }
}

/// Turns samples into payloads.
#[derive(Debug)]
pub(crate) enum Encoder {
    G711(Law),
    Opus(Box<opus::Encoder>),
}

impl Encoder {
    pub(crate) fn new(codec: Codec, rate: u32) -> Result<Self, CodecError> {
        match codec {
            Codec::Alaw | Codec::Mulaw if rate != codec.sample_rate() => {
                Err(CodecError::Rate(rate))
            }
            Codec::Alaw | Codec::Mulaw => Ok(Self::G711(law(codec))),
            Codec::Opus => {
                let encoder =
                    opus_encoder(rate).map_err(|source| CodecError::Opus { rate, source })?;
                Ok(Self::Opus(Box::new(encoder)))
            }
        }
    }

    /// Writes the payload of one frame over `out`; empty when the frame has a length the codec does not know.
    pub(crate) fn encode(&mut self, pcm: &[i16], out: &mut Vec<u8>) {
        let room = match self {
            Self::G711(_) => pcm.len(),
            Self::Opus(_) => MAX_OPUS,
        };
        out.resize(room, 0);
        let written = match self {
            Self::G711(law) => {
                law.encode(pcm, out);
                pcm.len()
            }
            Self::Opus(encoder) => encoder.encode(pcm, out).unwrap_or(0),
        };
        out.truncate(written);
    }
}

/// The law of a G.711 codec.
pub(crate) fn law(codec: Codec) -> Law {
    match codec {
        Codec::Alaw => Law::A,
        Codec::Mulaw | Codec::Opus => Law::Mu,
    }
}

fn opus_encoder(rate: u32) -> Result<opus::Encoder, opus::Error> {
    let mut encoder = opus::Encoder::new(rate, Channels::Mono, Application::Voip)?;
    let bitrate = match rate {
        0..=8_000 => 16_000,
        8_001..=16_000 => 24_000,
        _ => 32_000,
    };
    encoder.set_bitrate(Bitrate::Bits(bitrate))?;
    encoder.set_complexity(5)?;
    encoder.set_inband_fec(true)?;
    encoder.set_packet_loss_perc(EXPECTED_LOSS)?;
    encoder.set_dtx(false)?;
    Ok(encoder)
}

/// Samples of the past a guess is made from: 30 ms.
const HISTORY: usize = 240;
/// What the guess must fit to: 10 ms.
const TEMPLATE: usize = 80;
/// The shortest period looked for: 2.5 ms.
const SHORTEST: usize = 20;
/// A guess fades to silence within 100 ms.
const FADE: usize = 800;
/// Blend from the guess back to the real thing: 2.5 ms.
const BLEND: usize = 20;

/// A G.711 decoder that repeats the last period when a packet is missing (in the manner of G.711 appendix I).
#[derive(Debug)]
pub(crate) struct G711 {
    law: Law,
    history: [i16; HISTORY],
    /// Samples guessed in a row, and the period they repeat.
    guessed: usize,
    period: usize,
}

impl G711 {
    fn new(law: Law) -> Self {
        Self {
            law,
            history: [0; HISTORY],
            guessed: 0,
            period: SHORTEST,
        }
    }

    fn decode(&mut self, payload: &[u8], pcm: &mut Pcm) -> usize {
        let out = pcm.grow(payload.len());
        self.law.decode(payload, out);
        if self.guessed > 0 {
            let mut tail = [0; BLEND];
            self.guess(&mut tail);
            blend(&tail, out, BLEND);
            self.guessed = 0;
        }
        self.remember(out);
        payload.len()
    }

    fn remember(&mut self, samples: &[i16]) {
        let new = samples.len().min(HISTORY);
        self.history.copy_within(new.., 0);
        let recent = samples.get(samples.len() - new..).unwrap_or_default();
        if let Some(end) = self.history.get_mut(HISTORY - new..) {
            end.copy_from_slice(recent);
        }
    }

    fn conceal(&mut self, out: &mut [i16]) {
        if self.guessed == 0 {
            self.period = self.find_period();
        }
        self.guess(out);
        self.guessed += out.len();
    }

    /// Goes on repeating the last period, fading.
    fn guess(&self, out: &mut [i16]) {
        let cycle = self
            .history
            .get(HISTORY - self.period..)
            .unwrap_or_default();
        let repeated = cycle.iter().cycle().skip(self.guessed % self.period);
        for ((sample, past), at) in out.iter_mut().zip(repeated).zip(self.guessed..) {
            let left = i32::try_from(FADE.saturating_sub(at)).unwrap_or(0);
            *sample = i16::try_from(i32::from(*past) * left / 800).unwrap_or(0);
        }
    }

    fn find_period(&self) -> usize {
        let (past, template) = self.history.split_at(HISTORY - TEMPLATE);
        // Windows that end `SHORTEST` or more before the end.
        let range = self.history.get(..HISTORY - SHORTEST).unwrap_or(past);
        HISTORY - TEMPLATE - best_match(template, range)
    }
}

#[cfg(test)]
mod tests;
