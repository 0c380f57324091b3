//! Tones: written into files that peers play, looked for in files that peers recorded.

use std::fs;
use std::path::Path;

/// A recording in 16-bit samples, first channel only.
#[derive(Debug)]
pub(crate) struct Recording {
    rate: u32,
    samples: Vec<i16>,
}

/// Writes `seconds` of a sine at 8 kHz.
pub(crate) fn write(path: &Path, hertz: f64, seconds: u32) {
    const RATE: u32 = 8_000;
    let step = std::f64::consts::TAU * hertz / f64::from(RATE);
    let samples: Vec<u8> = (0..RATE * seconds)
        .flat_map(|n| sample(9_000.0 * (step * f64::from(n)).sin()).to_le_bytes())
        .collect();
    let size = u32::try_from(samples.len()).unwrap();
    let mut file = Vec::with_capacity(samples.len() + 44);
    file.extend_from_slice(b"RIFF");
    file.extend_from_slice(&(size + 36).to_le_bytes());
    file.extend_from_slice(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    file.extend_from_slice(&RATE.to_le_bytes());
    file.extend_from_slice(&(RATE * 2).to_le_bytes());
    file.extend_from_slice(b"\x02\0\x10\0data");
    file.extend_from_slice(&size.to_le_bytes());
    file.extend_from_slice(&samples);
    fs::write(path, file).unwrap();
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "the amplitude is far below the limit"
)]
fn sample(value: f64) -> i16 {
    value as i16
}

impl Recording {
    /// Reads a 16-bit WAV file. The length in its header is not trusted: a program that was stopped leaves it at zero.
    pub(crate) fn read(path: &Path) -> Option<Self> {
        let bytes = fs::read(path).ok()?;
        let (mut rate, mut channels) = (0, 0);
        let mut at = 12;
        loop {
            let id = bytes.get(at..at + 4)?;
            let size = u32::from_le_bytes(bytes.get(at + 4..at + 8)?.try_into().ok()?) as usize;
            let body = bytes.get(at + 8..)?;
            match id {
                b"fmt " => {
                    channels = usize::from(u16::from_le_bytes(body.get(2..4)?.try_into().ok()?));
                    rate = u32::from_le_bytes(body.get(4..8)?.try_into().ok()?);
                    assert_eq!(body.get(14..16)?, [16, 0], "{}: not 16-bit", path.display());
                }
                b"data" => {
                    let samples = body
                        .chunks_exact(2 * channels.max(1))
                        .map(|frame| i16::from_le_bytes([frame[0], frame[1]]))
                        .collect();
                    return Some(Self { rate, samples });
                }
                _ => {}
            }
            at += 8 + size + size % 2;
        }
    }

    /// Seconds in which more than half of the energy is in this tone, counted in windows of 100 ms; silence counts as nothing.
    pub(crate) fn tone_seconds(&self, hertz: f64) -> f64 {
        let window = (self.rate / 10) as usize;
        let heard = self
            .samples
            .chunks_exact(window.max(1))
            .filter(|w| self.is_tone(w, hertz))
            .count();
        heard as f64 / 10.0
    }

    /// Seconds recorded in all.
    pub(crate) fn seconds(&self) -> f64 {
        self.samples.len() as f64 / f64::from(self.rate)
    }

    /// Goertzel's algorithm for the power at one frequency.
    fn is_tone(&self, window: &[i16], hertz: f64) -> bool {
        const AUDIBLE: f64 = 20_000.0;
        let length = window.len() as f64;
        let power = window.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / length;
        let coefficient = 2.0 * (std::f64::consts::TAU * hertz / f64::from(self.rate)).cos();
        let (mut s1, mut s2) = (0.0, 0.0);
        for &value in window {
            (s1, s2) = (f64::from(value) + coefficient * s1 - s2, s1);
        }
        let tone = 2.0 * (s1 * s1 + s2 * s2 - coefficient * s1 * s2) / (length * length);
        power > AUDIBLE && tone > 0.5 * power
    }
}

#[test]
fn a_tone_is_told_from_another_and_from_silence() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tone.wav");
    write(&path, 440.0, 3);
    let recording = Recording::read(&path).unwrap();
    assert!((recording.seconds() - 3.0).abs() < 0.01);
    assert!((recording.tone_seconds(440.0) - 3.0).abs() < 0.01);
    assert!(recording.tone_seconds(660.0) < 0.01);
    write(&path, 0.0, 3);
    assert!(Recording::read(&path).unwrap().tone_seconds(440.0) < 0.01);
}
