//! A signal like speech that can be computed at any moment: harmonics of a gliding pitch under syllables.

use std::f64::consts::TAU;
use std::time::Instant;

/// Loudness of the harmonics of the pitch.
const HARMONICS: [f64; 5] = [1.0, 0.7, 0.5, 0.3, 0.2];
/// The glides of the pitch: how far, relative to it, and how often a second.
const GLIDES: [(f64, f64); 2] = [(0.17, 0.37), (0.09, 1.13)];
/// The syllables: two rates that meet only after minutes.
const SYLLABLES: [f64; 2] = [2.7, 1.31];
/// The loudest sample.
const LOUDEST: f64 = 12_000.0;

/// One voice.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Speech {
    pitch: f64,
    offsets: [f64; 4],
}

impl Speech {
    /// Makes a voice; voices of different seeds do not resemble each other.
    pub fn new(seed: u64) -> Self {
        // The golden ratio spreads neighbouring seeds evenly.
        let part =
            |n: u64| (seed.wrapping_mul(7).wrapping_add(n) as f64 * 0.618_033_988_75).fract();
        Self {
            pitch: 130.0 + 90.0 * part(1),
            offsets: [part(2), part(3), part(4), part(5)].map(|part| part * TAU),
        }
    }

    /// The signal, from -1 to 1.
    pub fn at(&self, seconds: f64) -> f64 {
        let [glide_a, glide_b, syllable_a, syllable_b] = self.offsets;
        let glides = [glide_a, glide_b]
            .into_iter()
            .zip(GLIDES)
            .map(|(offset, (depth, rate))| {
                -depth * (TAU * rate * seconds + offset).cos() / (TAU * rate)
            });
        let phase = TAU * self.pitch * (seconds + glides.sum::<f64>());
        let wave: f64 = HARMONICS
            .iter()
            .zip(1_u8..)
            .map(|(loudness, n)| loudness * (phase * f64::from(n)).sin())
            .sum();
        let syllables: f64 = [syllable_a, syllable_b]
            .iter()
            .zip(SYLLABLES)
            .map(|(offset, rate)| 0.5 + 0.5 * (TAU * rate * seconds + offset).sin())
            .product();
        wave / HARMONICS.iter().sum::<f64>() * (0.15 + 0.85 * syllables)
    }

    /// Writes samples beginning with number `from`.
    pub(super) fn samples(&self, rate: u32, from: u64, out: &mut [i16]) {
        for (sample, n) in out.iter_mut().zip(from..) {
            *sample = to_pcm(self.at(n as f64 / f64::from(rate)));
        }
    }
}

#[allow(clippy::cast_possible_truncation)] // the signal stays within -1 and 1, and a cast saturates
fn to_pcm(value: f64) -> i16 {
    (value * LOUDEST) as i16
}

/// What a player said, and since when.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Said {
    /// The voice.
    pub speech: Speech,
    /// When the packet with its first sample left; absent when nothing was ever said.
    pub since: Option<Instant>,
}
