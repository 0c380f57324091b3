//! Tones: ringback for whoever waits (ITU-T E.180, 425 Hz), a sine for tests, and a detector (Goertzel).

use std::f32::consts::TAU;

/// Amplitude of what we play, about -13 dBm0.
const AMPLITUDE: f32 = 5000.0;

/// What a leg can be given to hear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// 425 Hz, 1 s on, 4 s off.
    Ringback,
    /// 425 Hz, 500 ms on, 500 ms off.
    Busy,
    /// A steady sine of this many Hz.
    Sine(u16),
}

impl Tone {
    /// Frequency in Hz, milliseconds on, milliseconds off.
    fn cadence(self) -> (f32, u32, u32) {
        match self {
            Self::Ringback => (425.0, 1000, 4000),
            Self::Busy => (425.0, 500, 500),
            Self::Sine(hertz) => (f32::from(hertz), 1, 0),
        }
    }
}

/// Plays a [`Tone`] sample by sample.
#[derive(Debug, Clone)]
pub struct ToneSource {
    step: f32,
    phase: f32,
    on: u32,
    period: u32,
    at: u32,
}

impl ToneSource {
    /// Starts a tone at `rate` samples a second.
    pub fn new(tone: Tone, rate: u32) -> Self {
        let (hertz, on, off) = tone.cadence();
        let samples = |millis: u32| millis * (rate / 1000);
        Self {
            step: TAU * hertz / rate.max(1) as f32,
            phase: 0.0,
            on: samples(on),
            period: samples(on + off),
            at: 0,
        }
    }

    /// Writes the next samples.
    pub fn fill(&mut self, out: &mut [i16]) {
        for sample in out {
            *sample = if self.at < self.on {
                quantize(AMPLITUDE * self.phase.sin())
            } else {
                0
            };
            self.phase = (self.phase + self.step) % TAU;
            self.at = if self.at + 1 >= self.period {
                0
            } else {
                self.at + 1
            };
        }
    }
}

/// Returns the share of the power of `samples` that lies at `hertz`, 0 to 1; silence has none.
pub fn tone_share(samples: &[i16], rate: u32, hertz: f32) -> f32 {
    let coefficient = 2.0 * (TAU * hertz / rate.max(1) as f32).cos();
    let (mut before, mut last, mut total) = (0.0_f32, 0.0_f32, 0.0_f32);
    for sample in samples {
        let value = f32::from(*sample) / 32_768.0;
        total += value * value;
        (before, last) = (last, value + coefficient * last - before);
    }
    let power = before * before + last * last - coefficient * before * last;
    // A pure sine of N samples gives N/2 times its energy.
    let whole = total * samples.len() as f32 / 2.0;
    if whole < f32::EPSILON {
        0.0
    } else {
        power / whole
    }
}

#[allow(clippy::cast_possible_truncation, reason = "the value is within ±5000")]
fn quantize(value: f32) -> i16 {
    value as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_detector_knows_a_tone_from_its_neighbours_and_from_silence() {
        let mut samples = [0; 800];
        ToneSource::new(Tone::Sine(425), 8000).fill(&mut samples);
        assert!(tone_share(&samples, 8000, 425.0) > 0.95);
        assert!(tone_share(&samples, 8000, 525.0) < 0.05);
        assert!(tone_share(&[0; 800], 8000, 425.0) < 0.01);
    }

    #[test]
    fn ringback_is_one_second_in_five() {
        let mut source = ToneSource::new(Tone::Ringback, 8000);
        let heard: Vec<bool> = (0..100)
            .map(|_| {
                let mut block = [0; 800];
                source.fill(&mut block);
                block.iter().any(|sample| sample.unsigned_abs() > 1000)
            })
            .collect();
        let expected: Vec<bool> = (0..100).map(|block| block % 50 < 10).collect();
        assert_eq!(heard, expected);
    }
}
