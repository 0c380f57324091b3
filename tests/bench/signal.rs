//! What both ends say: a speech-like signal with a chirp every 600 ms, and how that chirp is found again.
//!
//! The chirp begins exactly with a packet, on either side and for every frame length, and some silence goes before it. It is
//! found by normalised correlation, so neither level nor codec matters, to within a sample of 8 kHz.

use std::f64::consts::TAU;

/// The rate of the SIP side, and at which everything received is looked at.
pub(crate) const NARROW: u32 = 8_000;
/// The rate of the Telegram side.
pub(crate) const WIDE: u32 = 48_000;
/// From chirp to chirp: a whole number of 20, 40 and 60 ms frames.
pub(crate) const PERIOD_MS: u32 = 600;
/// The signal repeats after this.
pub(crate) const LOOP_MS: u32 = 6_000;

const CHIRP_MS: u32 = 40;
const HUSH_MS: u32 = 80;
/// Correlation of a chirp that went through a codec is above 0.8, of speech with a chirp below 0.4.
const FOUND: f64 = 0.6;

/// Returns [`LOOP_MS`] of the signal.
pub(crate) fn make(rate: u32) -> Vec<i16> {
    let chirp = chirp(rate);
    let period = samples(rate, PERIOD_MS);
    let hush = period - samples(rate, HUSH_MS);
    let mut voice = Voice::new(rate);
    (0..samples(rate, LOOP_MS))
        .map(|n| {
            let spoken = voice.next();
            match n % period {
                at if at < chirp.len() => chirp[at] * 14_000.0,
                at if at < hush => spoken * 7_000.0,
                _ => 0.0,
            }
        })
        .map(|sample| sample.clamp(-32_000.0, 32_000.0) as i16)
        .collect()
}

/// Returns the samples at which a chirp begins, in audio of 8 kHz.
pub(crate) fn find(pcm: &[i16]) -> Vec<usize> {
    let chirp = chirp(NARROW);
    let energy = chirp.iter().map(|sample| sample * sample).sum::<f64>();
    let apart = samples(NARROW, PERIOD_MS) / 2;
    let mut found: Vec<(usize, f64)> = Vec::new();
    for (at, window) in pcm.windows(chirp.len()).enumerate() {
        let (mut product, mut level) = (0.0, 1.0);
        for (sample, wanted) in window.iter().zip(&chirp) {
            let sample = f64::from(*sample);
            product += sample * wanted;
            level += sample * sample;
        }
        let score = product / (energy * level).sqrt();
        if score < FOUND || level < 1e8 {
            continue;
        }
        match found.last_mut() {
            Some(last) if at - last.0 < apart => {
                if score > last.1 {
                    *last = (at, score);
                }
            }
            _ => found.push((at, score)),
        }
    }
    found.into_iter().map(|(at, _)| at).collect()
}

/// Samples in so many milliseconds.
pub(crate) fn samples(rate: u32, ms: u32) -> usize {
    (rate / 1000 * ms) as usize
}

/// 500 to 1200 Hz, with soft ends: what every mode of Opus carries well.
fn chirp(rate: u32) -> Vec<f64> {
    let count = samples(rate, CHIRP_MS);
    let length = f64::from(CHIRP_MS) / 1000.0;
    (0..count)
        .map(|n| {
            let t = n as f64 / f64::from(rate);
            let sweep = 500.0 * t + (1200.0 - 500.0) * t * t / (2.0 * length);
            let edge = (t / 0.002).min((length - t) / 0.002).min(1.0);
            (TAU * sweep).sin() * edge
        })
        .collect()
}

/// A voice: syllables of a vowel and a hiss, 3.7 a second. A vowel is harmonics of a gliding, trembling pitch under three
/// formants that move from one vowel to the next; a hiss is noise of high frequency.
struct Voice {
    rate: f64,
    time: f64,
    phase: f64,
    noise: u32,
    last_noise: f64,
}

impl Voice {
    fn new(rate: u32) -> Self {
        Self {
            rate: f64::from(rate),
            time: 0.0,
            phase: 0.0,
            noise: 1,
            last_noise: 0.0,
        }
    }

    fn next(&mut self) -> f64 {
        let wave = |hz: f64| (TAU * hz * self.time).sin();
        let (glide, vowel, tremble) = (wave(0.7), wave(2.3), wave(31.0));
        let pitch = 130.0 + 30.0 * glide + 3.0 * tremble;
        let place = (self.time * 3.7).fract();
        let (voiced, hissed) = match place {
            at if at < 0.68 => ((at / 0.68 * TAU / 2.0).sin().sqrt(), 0.02),
            at if at < 0.9 => (0.0, 0.35),
            _ => (0.0, 0.0),
        };
        self.time += 1.0 / self.rate;
        self.phase = (self.phase + pitch / self.rate).fract();
        let breath = self.breath();
        let formant = |hz: f64, at: f64, width: f64| (-((hz - at) / width).powi(2)).exp();
        let harmonics = (1..=24)
            .map(f64::from)
            .map(|harmonic| {
                let hz = harmonic * pitch;
                let level = formant(hz, 500.0 + 220.0 * vowel, 130.0)
                    + 0.5 * formant(hz, 1500.0 - 500.0 * vowel, 180.0)
                    + 0.25 * formant(hz, 2600.0, 250.0);
                level * (TAU * self.phase * harmonic).sin()
            })
            .sum::<f64>();
        voiced * harmonics * 0.6 + hissed * breath
    }

    /// Noise that rises with frequency, as wide as a telephone at either rate.
    fn breath(&mut self) -> f64 {
        self.noise = self
            .noise
            .wrapping_mul(1_664_525)
            .wrapping_add(1_013_904_223);
        let noise = f64::from(self.noise >> 16) / 32_768.0 - 1.0;
        let risen = noise - self.last_noise;
        self.last_noise = noise;
        risen
    }
}

/// One sample in A-law (G.711).
pub(crate) fn to_alaw(sample: i16) -> u8 {
    let sign = if sample >= 0 { 0x80 } else { 0 };
    let level = if sample >= 0 { sample } else { !sample } >> 4;
    let code = if level < 16 {
        level
    } else {
        let exponent = 15 - level.leading_zeros() as i16 - 4;
        ((exponent + 1) << 4) | ((level >> exponent) & 0x0f)
    };
    (code as u8 | sign) ^ 0x55
}

/// One sample out of A-law.
pub(crate) fn from_alaw(code: u8) -> i16 {
    let code = code ^ 0x55;
    let mantissa = i16::from(code & 0x0f) << 4;
    let level = match i16::from(code >> 4 & 7) {
        0 => mantissa + 8,
        exponent => (mantissa + 0x108) << (exponent - 1),
    };
    if code & 0x80 == 0 { -level } else { level }
}
