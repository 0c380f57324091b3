//! The codecs: G.711, G.722, L16 and Opus (libopus), made at the rate the other side needs, so that nothing is ever
//! resampled; and what to play when a packet is missing.

use model::Codec;
use opus::{Application, Bitrate, Channels};
use thiserror::Error;

use crate::conceal::Concealer;
use crate::g711::Law;
use crate::g722::{self, Width};
use crate::pcm::Pcm;

/// The longest Opus packet (RFC 6716 section 3.4).
const MAX_OPUS: usize = 1275;
/// 20 ms of nothing at 48 kHz, as every Opus decoder plays it.
pub(crate) const OPUS_SILENCE: [u8; 3] = [0xf8, 0xff, 0xfe];
/// Loss that an encoder reckons with at the least, percent.
const CAREFUL: u8 = 10;

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
    /// The codec does not exist at this rate.
    #[error("{codec} at {rate} Hz")]
    Rate {
        /// The codec.
        codec: Codec,
        /// Samples a second asked for.
        rate: u32,
    },
}

/// Returns the samples a second at which audio passes between two codecs.
pub(crate) fn pcm_rate(a: Codec, b: Codec) -> u32 {
    a.sample_rate().min(b.sample_rate())
}

/// Returns whether audio can pass between two codecs: each must know the rate of the other, for nothing is resampled.
pub fn can_join(a: Codec, b: Codec) -> bool {
    let rate = pcm_rate(a, b);
    let knows = |codec: Codec| match codec {
        Codec::Alaw | Codec::Mulaw | Codec::L16 => rate == codec.sample_rate(),
        Codec::G722 => Width::of(rate).is_some(),
        Codec::Opus => [8_000, 12_000, 16_000, 24_000, 48_000].contains(&rate),
    };
    knows(a) && knows(b)
}

/// Returns the rate of tones for a codec: every codec can be fed at it, and 8 kHz costs least.
pub(crate) fn tone_rate(codec: Codec) -> u32 {
    match codec {
        Codec::Alaw | Codec::Mulaw | Codec::Opus | Codec::G722 => 8_000,
        Codec::L16 => codec.sample_rate(),
    }
}

/// Returns the audio in a packet in ticks of the codec's clock; nothing when it is not one of the codec's.
pub(crate) fn packet_ticks(codec: Codec, payload: &[u8]) -> Option<u32> {
    let ticks = match codec {
        // RFC 3551 s.4.5.2: one tick an octet, although G.722 has two samples in each.
        Codec::Alaw | Codec::Mulaw | Codec::G722 => payload.len(),
        Codec::L16 if !payload.len().is_multiple_of(2) => return None,
        Codec::L16 => payload.len() / 2,
        Codec::Opus => opus::packet::get_nb_samples(payload, codec.clock_rate()).ok()?,
    };
    u32::try_from(ticks).ok().filter(|ticks| *ticks > 0)
}

/// Turns payloads into samples.
#[derive(Debug)]
pub(crate) enum Decoder {
    Waveform {
        format: Format,
        concealer: Concealer,
    },
    Opus {
        decoder: Box<opus::Decoder>,
        rate: u32,
    },
}

/// A codec whose packets stand for so many samples an octet.
#[derive(Debug)]
pub(crate) enum Format {
    G711(Law),
    G722(Width, Box<g722::Decoder>),
    L16,
}

impl Decoder {
    pub(crate) fn new(codec: Codec, rate: u32) -> Result<Self, CodecError> {
        let format = match codec {
            Codec::Alaw if rate == codec.sample_rate() => Format::G711(Law::A),
            Codec::Mulaw if rate == codec.sample_rate() => Format::G711(Law::Mu),
            Codec::L16 if rate == codec.sample_rate() => Format::L16,
            Codec::Alaw | Codec::Mulaw | Codec::L16 => {
                return Err(CodecError::Rate { codec, rate });
            }
            Codec::G722 => {
                let width = Width::of(rate).ok_or(CodecError::Rate { codec, rate })?;
                Format::G722(width, Box::new(g722::Decoder::new(width)))
            }
            Codec::Opus => {
                let made = opus::Decoder::new(rate, Channels::Mono);
                let decoder = Box::new(made.map_err(|source| CodecError::Opus { rate, source })?);
                return Ok(Self::Opus { decoder, rate });
            }
        };
        Ok(Self::Waveform {
            format,
            concealer: Concealer::new(rate),
        })
    }

    /// Appends the audio of a packet; returns its samples, 0 when it is broken.
    pub(crate) fn decode(&mut self, payload: &[u8], pcm: &mut Pcm) -> usize {
        match self {
            Self::Waveform { format, concealer } => {
                let Some(samples) = format.samples(payload) else {
                    return 0;
                };
                let out = pcm.grow(samples);
                format.decode(payload, out);
                concealer.heard(out);
                samples
            }
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
            Self::Waveform { format, concealer } => {
                let out = pcm.grow(samples);
                concealer.conceal(out);
                if let Format::G722(_, decoder) = format {
                    decoder.follow(out);
                }
            }
            Self::Opus { decoder, .. } => {
                // On an error the zeros stay: silence is a guess, too.
                let _ = decoder.decode(&[], pcm.grow(samples), false);
            }
        }
    }

    /// Appends the `samples` lost before the packet `next`, from its in-band FEC where the codec has it.
    pub(crate) fn recover(&mut self, next: &[u8], samples: usize, pcm: &mut Pcm) {
        match self {
            Self::Waveform { .. } => self.conceal(samples, pcm),
            Self::Opus { decoder, .. } => {
                let _ = decoder.decode(next, pcm.grow(samples), true);
            }
        }
    }
}

impl Format {
    /// The samples of a payload; nothing when it is none of this format.
    fn samples(&self, payload: &[u8]) -> Option<usize> {
        match self {
            Self::G711(_) => Some(payload.len()),
            Self::G722(width, _) => Some(payload.len() * width.samples()),
            Self::L16 => payload.len().is_multiple_of(2).then_some(payload.len() / 2),
        }
    }

    fn decode(&mut self, payload: &[u8], out: &mut [i16]) {
        match self {
            Self::G711(law) => law.decode(payload, out),
            Self::G722(_, decoder) => decoder.decode(payload, out),
            Self::L16 => {
                let (words, _) = payload.as_chunks();
                for (sample, word) in out.iter_mut().zip(words) {
                    *sample = i16::from_be_bytes(*word);
                }
            }
        }
    }
}

/// Turns samples into payloads.
#[derive(Debug)]
pub(crate) enum Encoder {
    G711(Law),
    G722(Width, Box<g722::Encoder>),
    L16,
    Opus {
        encoder: Box<opus::Encoder>,
        rate: u32,
    },
}

impl Encoder {
    pub(crate) fn new(codec: Codec, rate: u32) -> Result<Self, CodecError> {
        match codec {
            Codec::Alaw if rate == codec.sample_rate() => Ok(Self::G711(Law::A)),
            Codec::Mulaw if rate == codec.sample_rate() => Ok(Self::G711(Law::Mu)),
            Codec::L16 if rate == codec.sample_rate() => Ok(Self::L16),
            Codec::Alaw | Codec::Mulaw | Codec::L16 => Err(CodecError::Rate { codec, rate }),
            Codec::G722 => {
                let width = Width::of(rate).ok_or(CodecError::Rate { codec, rate })?;
                Ok(Self::G722(width, Box::new(g722::Encoder::new(width))))
            }
            Codec::Opus => {
                let made = opus_encoder(rate);
                let encoder = Box::new(made.map_err(|source| CodecError::Opus { rate, source })?);
                Ok(Self::Opus { encoder, rate })
            }
        }
    }

    /// From now on so many packets of a hundred are expected to get lost. Above 0 each Opus packet also holds the one before it, coarser; at 0
    /// that is so where the bit rate bears it. Returns false where that is not possible.
    pub(crate) fn expect_loss(&mut self, percent: u8) -> bool {
        match self {
            Self::G711(_) | Self::G722(..) | Self::L16 => false,
            Self::Opus { encoder, rate } => prepare(encoder, *rate, percent).is_ok(),
        }
    }

    /// Writes the payload of one frame over `out`; empty when the frame has a length the codec does not know.
    pub(crate) fn encode(&mut self, pcm: &[i16], out: &mut Vec<u8>) {
        let room = match self {
            Self::G711(_) => pcm.len(),
            Self::G722(width, _) => pcm.len() / width.samples(),
            Self::L16 => pcm.len() * 2,
            Self::Opus { .. } => MAX_OPUS,
        };
        out.resize(room, 0);
        let written = match self {
            Self::G711(law) => {
                law.encode(pcm, out);
                room
            }
            Self::G722(_, encoder) => {
                encoder.encode(pcm, out);
                room
            }
            Self::L16 => {
                let (words, _) = out.as_chunks_mut();
                for (word, sample) in words.iter_mut().zip(pcm) {
                    *word = sample.to_be_bytes();
                }
                room
            }
            Self::Opus { encoder, .. } => encoder.encode(pcm, out).unwrap_or(0),
        };
        out.truncate(written);
    }
}

fn opus_encoder(rate: u32) -> Result<opus::Encoder, opus::Error> {
    let mut encoder = opus::Encoder::new(rate, Channels::Mono, Application::Voip)?;
    encoder.set_complexity(5)?;
    encoder.set_dtx(false)?;
    prepare(&mut encoder, rate, 0)?;
    Ok(encoder)
}

/// Sets bit rate and in-band FEC for so much loss. libopus begins with FEC only where the bit rate bears it (`decide_fec`): at 8 kHz from 18.4 kbit/s
/// on, so that with 16 there is none, but would go on with what it has begun. With 24 kbit/s at 16 kHz it just bears FEC without giving up
/// the upper part of the voice. The encoder is careful without FEC, too, so that a loss is soon over.
fn prepare(encoder: &mut opus::Encoder, rate: u32, percent: u8) -> Result<(), opus::Error> {
    let voice = match rate {
        0..=8_000 => 16_000,
        8_001..=16_000 => 24_000,
        _ => 32_000,
    };
    let redundancy = if percent > 0 { 8_000 } else { 0 };
    encoder.set_inband_fec(percent > 0 || rate > 8_000)?;
    encoder.set_bitrate(Bitrate::Bits(voice + redundancy))?;
    encoder.set_packet_loss_perc(percent.max(CAREFUL).into())
}

#[cfg(test)]
mod tests;
