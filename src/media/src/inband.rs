//! Keypad digits as the two tones they are (ITU-T Q.23): played in place of the voice, and found in it (Goertzel, with the
//! tolerances of Q.24). For peers that know neither RFC 4733 nor INFO.

use std::collections::VecDeque;
use std::f32::consts::TAU;

use crate::codec::{CodecError, Decoder, tone_rate};
use crate::pcm::Pcm;
use crate::transport::RtpIn;

/// Low and high frequencies in Hz.
const LOW: [f32; 4] = [697.0, 770.0, 852.0, 941.0];
const HIGH: [f32; 4] = [1209.0, 1336.0, 1477.0, 1633.0];
/// The digit of each pair, a row for each low frequency.
const KEYS: [[char; 4]; 4] = [
    ['1', '2', '3', 'A'],
    ['4', '5', '6', 'B'],
    ['7', '8', '9', 'C'],
    ['*', '0', '#', 'D'],
];

/// Returns the frequencies of a digit; lower case letters count.
fn frequencies(digit: char) -> Option<(f32, f32)> {
    let digit = digit.to_ascii_uppercase();
    let rows = KEYS.iter().zip(LOW);
    let mut all = rows.flat_map(|(row, low)| row.iter().zip(HIGH).map(move |key| (low, key)));
    all.find(|(_, (key, _))| **key == digit)
        .map(|(low, (_, high))| (low, high))
}

/// Milliseconds a digit sounds, and milliseconds of silence after it.
const ON: u32 = 120;
const OFF: u32 = 80;
/// Digits that may wait.
const MAX_WAITING: usize = 64;
/// Each of the two tones at -10 dBm0, -7 dBm0 together (0 dBm0 is a sine 3.14 dB below full scale).
const AMPLITUDE: f32 = 7218.0;

/// Plays digits, one after the other.
#[derive(Debug, Default)]
pub(crate) struct KeyTones {
    waiting: VecDeque<(f32, f32)>,
    sounding: Option<Sounding>,
}

#[derive(Debug, Clone, Copy)]
struct Sounding {
    hertz: (f32, f32),
    phases: (f32, f32),
    /// Milliseconds, in parts of the rate: samples played times 1000.
    played: u64,
}

impl KeyTones {
    /// Queues digits; anything else among them is left out. Returns how many were taken.
    pub(crate) fn push(&mut self, digits: &str) -> usize {
        let before = self.waiting.len();
        let room = MAX_WAITING.saturating_sub(before);
        self.waiting
            .extend(digits.chars().filter_map(frequencies).take(room));
        self.waiting.len() - before
    }

    /// Returns whether a digit, or the silence after it, is under way or waiting.
    pub(crate) fn is_busy(&self) -> bool {
        self.sounding.is_some() || !self.waiting.is_empty()
    }

    /// Writes the next samples, at `rate` a second.
    pub(crate) fn fill(&mut self, out: &mut [i16], rate: u32) {
        for sample in out {
            *sample = self.sample(rate);
        }
    }

    fn sample(&mut self, rate: u32) -> i16 {
        if self.sounding.is_none() {
            self.sounding = self.waiting.pop_front().map(|hertz| Sounding {
                hertz,
                phases: (0.0, 0.0),
                played: 0,
            });
        }
        let Some(key) = &mut self.sounding else {
            return 0;
        };
        let reached = |ms: u32| u64::from(ms) * u64::from(rate);
        let value = if key.played < reached(ON) {
            AMPLITUDE * (key.phases.0.sin() + key.phases.1.sin())
        } else {
            0.0
        };
        let step = TAU / rate.max(1) as f32;
        key.phases.0 = (key.phases.0 + step * key.hertz.0) % TAU;
        key.phases.1 = (key.phases.1 + step * key.hertz.1) % TAU;
        key.played += 1000;
        if key.played >= reached(ON + OFF) {
            self.sounding = None;
        }
        quantize(value)
    }
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "the value is within ±14436"
)]
fn quantize(value: f32) -> i16 {
    value as i16
}

/// Packets in a row that may be missing and are guessed at.
const MAX_MISSING: u64 = 4;
/// The rate the detector listens at.
const RATE: u32 = 8000;
/// Samples of a block: 12.75 ms, of which a digit of 40 ms has at least two.
const BLOCK: usize = 102;
/// Blocks without a digit that end it: 40 ms of silence have three.
const ENDS: u8 = 3;
/// Blocks that are not believed after a gap: 50 ms.
const DOUBTED: u8 = 4;
/// Two tones weaker than this together, about -36 dBm0, are none: the mean square of a block.
const LEAST: f32 = 70_000.0;
/// The high tone may be 4 dB stronger than the low one and 8 dB weaker (Q.24).
const HIGH_OVER_LOW: f32 = 2.51;
const LOW_OVER_HIGH: f32 = 6.31;
/// How much stronger than the others of its group a tone must be: 8 dB.
const OVER_OTHERS: f32 = 6.31;
/// How much of all power must be found at the two frequencies.
const SHARE: f32 = 0.7;

/// Finds digits in audio at 8 kHz.
#[derive(Debug, Default)]
pub(crate) struct KeyDetector {
    low: [Goertzel; 4],
    high: [Goertzel; 4],
    energy: f32,
    count: usize,
    /// What the last block was, the digit that is pressed, and the blocks in a row it was not found in.
    last: Option<char>,
    pressed: Option<char>,
    missed: u8,
    /// So many blocks to come say nothing about the end of a press.
    doubted: u8,
}

#[derive(Debug, Default, Clone, Copy)]
struct Goertzel {
    before: f32,
    last: f32,
}

impl Goertzel {
    fn take(&mut self, value: f32, coefficient: f32) {
        (self.before, self.last) = (self.last, value + coefficient * self.last - self.before);
    }

    fn power(self, coefficient: f32) -> f32 {
        let Self { before, last } = self;
        before * before + last * last - coefficient * before * last
    }
}

impl KeyDetector {
    /// Takes audio, and tells each digit once, when it has been pressed for two blocks.
    pub(crate) fn feed(&mut self, samples: impl Iterator<Item = i16>, tell: &mut impl FnMut(char)) {
        for sample in samples {
            let value = f32::from(sample);
            self.energy += value * value;
            for (filter, coefficient) in self.low.iter_mut().zip(COEFFICIENTS_LOW) {
                filter.take(value, coefficient);
            }
            for (filter, coefficient) in self.high.iter_mut().zip(COEFFICIENTS_HIGH) {
                filter.take(value, coefficient);
            }
            self.count += 1;
            if self.count == BLOCK {
                let key = self.key();
                (self.low, self.high) = Default::default();
                (self.energy, self.count) = (0.0, 0);
                if let Some(digit) = self.step(key) {
                    tell(digit);
                }
            }
        }
    }

    /// Something is missing here and was guessed at; what follows may be blurred.
    fn doubt(&mut self) {
        self.doubted = DOUBTED;
    }

    /// Silence begins, of which there will be no samples.
    fn rest(&mut self) {
        *self = Self::default();
    }

    /// A digit begins with two equal blocks, and ends with three others: what loss does to a press is no new one.
    fn step(&mut self, key: Option<char>) -> Option<char> {
        let before = std::mem::replace(&mut self.last, key);
        self.doubted = self.doubted.saturating_sub(1);
        if key == self.pressed || (self.doubted > 0 && self.pressed.is_some()) {
            self.missed = 0;
            return None;
        }
        if key.is_some() && key == before {
            (self.pressed, self.missed) = (key, 0);
            return key;
        }
        self.missed += 1;
        if self.missed >= ENDS {
            (self.pressed, self.missed) = (None, 0);
        }
        None
    }

    /// What the block was.
    fn key(&self) -> Option<char> {
        let block = BLOCK as f32;
        if self.energy < LEAST * block {
            return None;
        }
        let (row, low) = strongest(&self.low, COEFFICIENTS_LOW)?;
        let (column, high) = strongest(&self.high, COEFFICIENTS_HIGH)?;
        let balanced = high < low * HIGH_OVER_LOW && low < high * LOW_OVER_HIGH;
        // A pure tone of N samples gives N/2 times its energy.
        let alone = low + high > SHARE * self.energy * block / 2.0;
        let row = KEYS.get(row).filter(|_| balanced && alone)?;
        row.get(column).copied()
    }
}

/// The strongest of a group: its place and power; nothing when another is nearly as strong.
fn strongest(group: &[Goertzel; 4], coefficients: [f32; 4]) -> Option<(usize, f32)> {
    let mut powers = [0.0; 4];
    for ((power, filter), coefficient) in powers.iter_mut().zip(group).zip(coefficients) {
        *power = filter.power(coefficient);
    }
    let (place, most) = (0..).zip(powers).max_by(|(_, a), (_, b)| a.total_cmp(b))?;
    let others = (0..).zip(powers).filter(|(other, _)| *other != place);
    others
        .map(|(_, power)| power)
        .all(|power| power * OVER_OTHERS < most)
        .then_some((place, most))
}

/// `2 cos(2 pi f / 8000)` of each frequency.
const COEFFICIENTS_LOW: [f32; 4] = [1.707_737_7, 1.645_281, 1.568_687, 1.478_204_6];
const COEFFICIENTS_HIGH: [f32; 4] = [1.164_104, 0.996_370_2, 0.798_618_4, 0.568_532_7];

/// Listens to the packets of a leg for digits.
#[derive(Debug)]
pub(crate) struct Ear {
    decoder: Decoder,
    pcm: Pcm,
    /// Samples of the decoder for one of the detector, in 2.5 ms, and in the last packet.
    step: usize,
    grain: usize,
    packet: usize,
    detector: KeyDetector,
    heard: Option<u64>,
}

impl Ear {
    pub(crate) fn new(codec: model::Codec) -> Result<Self, CodecError> {
        let rate = tone_rate(codec);
        Ok(Self {
            decoder: Decoder::new(codec, rate)?,
            pcm: Pcm::default(),
            step: usize::try_from(rate / RATE).unwrap_or(1).max(1),
            grain: usize::try_from(rate / 400).unwrap_or(1).max(1),
            packet: 0,
            detector: KeyDetector::default(),
            heard: None,
        })
    }

    /// Takes a packet that says that there is silence, for as long as nothing else comes: a press is over.
    pub(crate) fn rest(&mut self, packet: &RtpIn) {
        if self.heard.is_none_or(|heard| packet.sequence > heard) {
            self.heard = Some(packet.sequence);
            self.detector.rest();
        }
    }

    /// Takes a packet of audio; one that comes after its turn was guessed at.
    pub(crate) fn hear(&mut self, packet: &RtpIn, tell: &mut impl FnMut(char)) {
        if self.heard.is_some_and(|heard| packet.sequence <= heard) {
            return;
        }
        let next = self.heard.map_or(packet.sequence, |heard| heard + 1);
        let missing = packet.sequence - next;
        if (1..=MAX_MISSING).contains(&missing) && self.packet > 0 {
            self.detector.doubt();
            for _ in 1..missing {
                self.decoder.conceal(self.packet, &mut self.pcm);
            }
            self.decoder
                .recover(&packet.payload, self.packet, &mut self.pcm);
        }
        self.heard = Some(packet.sequence);
        let samples = self.decoder.decode(&packet.payload, &mut self.pcm);
        self.packet = samples / self.grain * self.grain;
        let step = i32::try_from(self.step).unwrap_or(1);
        let means = self.pcm.all().chunks_exact(self.step).map(|samples| {
            let sum: i32 = samples.iter().map(|sample| i32::from(*sample)).sum();
            i16::try_from(sum / step).unwrap_or(0)
        });
        self.detector.feed(means, tell);
        self.pcm.clear();
    }
}

#[cfg(test)]
mod tests;
