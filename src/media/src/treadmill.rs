//! What a usual call asks of the codecs, without a call: G.711 on one side, Opus on the other, in both directions. Whoever wants to know how fast
//! this machine is runs it and holds the watch, for there is no clock here.

use model::Codec;

use crate::codec::{CodecError, Decoder, Encoder};
use crate::pcm::Pcm;

/// Samples a second of a G.711 call.
const RATE: u32 = 8_000;
/// Samples of 20 ms.
const FRAME: usize = 160;
/// Frames of the audio that goes round: a second.
const FRAMES: usize = 50;
/// Samples of a pitch of 125 Hz, and how far the voiced part of a syllable reaches.
const PITCH: i32 = 64;
const VOICED: usize = 1_200;
const SYLLABLE: usize = 2_000;

/// One call's codecs and a second of something like speech.
#[derive(Debug)]
pub struct Treadmill {
    waveform: (Decoder, Encoder),
    opus: (Decoder, Encoder),
    /// Frames of 20 ms in G.711.
    speech: Vec<Vec<u8>>,
    next: usize,
    pcm: Pcm,
    payload: Vec<u8>,
}

impl Treadmill {
    /// How long the audio of a step is.
    pub const STEP: std::time::Duration = std::time::Duration::from_millis(20);

    /// Makes the codecs just as a call does.
    pub fn new() -> Result<Self, CodecError> {
        let mut waveform = (
            Decoder::new(Codec::Alaw, RATE)?,
            Encoder::new(Codec::Alaw, RATE)?,
        );
        let encode = |frame: &[i16]| {
            let mut payload = Vec::new();
            waveform.1.encode(frame, &mut payload);
            payload
        };
        let speech = speech().chunks_exact(FRAME).map(encode).collect();
        Ok(Self {
            waveform,
            opus: (
                Decoder::new(Codec::Opus, RATE)?,
                Encoder::new(Codec::Opus, RATE)?,
            ),
            speech,
            next: 0,
            pcm: Pcm::default(),
            payload: Vec::new(),
        })
    }

    /// Takes 20 ms of audio through the codecs, there and back; returns the octets of the Opus packet between.
    pub fn step(&mut self) -> usize {
        let Some(frame) = self.speech.get(self.next) else {
            return 0;
        };
        self.next = (self.next + 1) % self.speech.len();
        self.pcm.clear();
        self.waveform.0.decode(frame, &mut self.pcm);
        self.opus.1.encode(self.pcm.all(), &mut self.payload);
        let octets = self.payload.len();
        self.pcm.clear();
        self.opus.0.decode(&self.payload, &mut self.pcm);
        self.waveform.1.encode(self.pcm.all(), &mut self.payload);
        octets
    }
}

/// A second of syllables, half of each a buzz and half a hiss: silence would cost an encoder less than people do.
fn speech() -> Vec<i16> {
    let mut noise: u32 = 1;
    let mut hiss = || {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        i16::try_from((noise >> 20) as i32 - 2_048).unwrap_or_default()
    };
    let mut phase = 0;
    let sample = |n| {
        let hiss = hiss();
        phase = (phase + 1) % PITCH;
        if n % SYLLABLE < VOICED {
            let buzz = i16::try_from((PITCH - 2 * phase) * 128).unwrap_or_default();
            buzz.saturating_add(hiss / 8)
        } else {
            hiss / 2
        }
    };
    (0..FRAME * FRAMES).map(sample).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_makes_a_packet_as_a_call_does() {
        let mut treadmill = Treadmill::new().unwrap();
        let octets: usize = (0..FRAMES * 2).map(|_| treadmill.step()).sum();
        // 16 kbit/s, two seconds; silence would be a fraction of it.
        assert!((2_500..6_000).contains(&octets), "{octets}");
        assert_eq!(treadmill.payload.len(), FRAME, "20 ms come back");
    }
}
