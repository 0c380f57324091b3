//! What a player's device speaks: one codec, one length of packets.

use std::time::Duration;

use bytes::Bytes;
use model::Codec;
use opus::{Application, Bitrate, Channels};

use super::g711;
use super::recording::RATE;

/// What Telegram's apps send at, bit/s.
const BITRATE: i32 = 32_000;
/// The largest Opus packet.
const LARGEST: usize = 1275;
/// The longest Opus packet at the rate of a recording.
const LONGEST: usize = RATE as usize * 120 / 1000;

/// Both directions of one codec.
pub(super) struct Coder {
    codec: Codec,
    frame: Duration,
    opus: Option<(opus::Encoder, opus::Decoder)>,
}

impl Coder {
    /// Makes it; nothing for a codec no player speaks, or when libopus has no memory.
    pub(super) fn new(codec: Codec, frame: Duration) -> Option<Self> {
        let opus = match codec {
            Codec::Opus => Some(opus_both().ok()?),
            Codec::Alaw | Codec::Mulaw => None,
            Codec::G722 | Codec::L16 => return None,
        };
        Some(Self { codec, frame, opus })
    }

    /// The length of a packet.
    pub(super) fn frame(&self) -> Duration {
        self.frame
    }

    /// The clock of the timestamps.
    pub(super) fn clock(&self) -> u32 {
        self.codec.clock_rate()
    }

    /// The rate of the samples to encode.
    pub(super) fn rate(&self) -> u32 {
        if self.opus.is_some() { 48_000 } else { RATE }
    }

    pub(super) fn encode(&mut self, pcm: &[i16]) -> Bytes {
        match (&mut self.opus, self.codec) {
            (Some((encoder, _)), _) => encoder.encode_vec(pcm, LARGEST).unwrap_or_default().into(),
            (None, Codec::Mulaw) => pcm
                .iter()
                .map(|sample| g711::encode_mulaw(*sample))
                .collect(),
            (None, _) => pcm
                .iter()
                .map(|sample| g711::encode_alaw(*sample))
                .collect(),
        }
    }

    /// Decodes to the rate of a recording.
    pub(super) fn decode(&mut self, payload: &[u8]) -> Vec<i16> {
        match (&mut self.opus, self.codec) {
            (Some((_, decoder)), _) => {
                let mut pcm = vec![0; LONGEST];
                let length = decoder.decode(payload, &mut pcm, false).unwrap_or(0);
                pcm.truncate(length);
                pcm
            }
            (None, Codec::Mulaw) => payload
                .iter()
                .map(|octet| g711::decode_mulaw(*octet))
                .collect(),
            (None, _) => payload
                .iter()
                .map(|octet| g711::decode_alaw(*octet))
                .collect(),
        }
    }
}

fn opus_both() -> Result<(opus::Encoder, opus::Decoder), opus::Error> {
    let mut encoder = opus::Encoder::new(48_000, Channels::Mono, Application::Voip)?;
    encoder.set_bitrate(Bitrate::Bits(BITRATE))?;
    Ok((encoder, opus::Decoder::new(RATE, Channels::Mono)?))
}
