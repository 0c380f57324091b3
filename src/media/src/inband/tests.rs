#![allow(
    clippy::cast_possible_truncation,
    reason = "the values are within the range of samples"
)]

use bytes::Bytes;
use model::Codec;

use super::*;
use crate::codec::Encoder;

const ALL: &str = "0123456789*#ABCD";
/// A sine of 0 dBm0.
const FULL: f32 = 22_826.0;

/// Numbers between -1 and 1 that look random, the same ones every time.
struct Dice(u32);

impl Dice {
    fn roll(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 8) as f32 / 8_388_608.0 - 1.0
    }

    fn between(&mut self, least: f32, most: f32) -> f32 {
        least + (self.roll() * 0.5 + 0.5) * (most - least)
    }
}

fn heard(samples: &[i16]) -> String {
    let mut digits = String::new();
    KeyDetector::default().feed(samples.iter().copied(), &mut |digit| digits.push(digit));
    digits
}

fn decibels(db: f32) -> f32 {
    10.0_f32.powf(db / 20.0)
}

/// A press as it may come from a line.
#[derive(Clone, Copy)]
struct Press {
    ms: usize,
    /// dBm0 of each tone.
    low: f32,
    high: f32,
    /// Parts the frequencies are off.
    off: f32,
    /// dB of the noise below the two tones.
    noise: Option<f32>,
}

const USUAL: Press = Press {
    ms: 40,
    low: -10.0,
    high: -10.0,
    off: 0.0,
    noise: None,
};

/// Every digit once, 60 ms apart, each beginning somewhere in a block.
fn pressed(press: Press) -> Vec<i16> {
    let mut dice = Dice(99);
    let mut line = Vec::new();
    let (low, high) = (FULL * decibels(press.low), FULL * decibels(press.high));
    let power = f32::midpoint(low * low, high * high);
    // Uniform noise between -a and a has the power a²/3.
    let noise = press
        .noise
        .map_or(0.0, |db| (3.0 * power).sqrt() / decibels(db));
    let mut put = |dice: &mut Dice, value: f32| {
        let value = value + noise * dice.roll();
        line.push(i16::try_from(value.clamp(-32_768.0, 32_767.0) as i32).unwrap());
    };
    for digit in ALL.chars() {
        let (a, b) = frequencies(digit).unwrap();
        let step = TAU * (1.0 + press.off) / 8000.0;
        for n in 0..press.ms * 8 {
            let n = n as f32;
            put(
                &mut dice,
                low * (step * a * n).sin() + high * (step * b * n).sin(),
            );
        }
        for _ in 0..480 + 7 {
            put(&mut dice, 0.0);
        }
    }
    line
}

#[test]
fn what_is_pressed_is_heard_through_every_codec() {
    for codec in Codec::ALL {
        let rate = tone_rate(codec);
        let mut keys = KeyTones::default();
        assert_eq!(keys.push("0123 456x789*#abcd"), 16);
        let mut encoder = Encoder::new(codec, rate).unwrap();
        let mut ear = Ear::new(codec).unwrap();
        let (mut digits, mut payload) = (String::new(), Vec::new());
        let mut frame = vec![0; rate as usize / 50];
        let mut frames = 0;
        while keys.is_busy() {
            keys.fill(&mut frame, rate);
            encoder.encode(&frame, &mut payload);
            let packet = RtpIn {
                payload_type: 0,
                sequence: frames,
                timestamp: 0,
                marker: false,
                payload: Bytes::copy_from_slice(&payload),
            };
            // One packet in 16 comes late, which is lost, and one twice.
            match frames % 16 {
                3 => {}
                _ => ear.hear(&packet, &mut |digit| digits.push(digit)),
            }
            if frames % 16 == 5 {
                let late = RtpIn {
                    sequence: frames - 2,
                    ..packet.clone()
                };
                ear.hear(&late, &mut |digit| digits.push(digit));
                ear.hear(&packet, &mut |digit| digits.push(digit));
            }
            frames += 1;
        }
        assert_eq!(frames, 16 * 10, "200 ms each");
        assert_eq!(digits, ALL, "{codec}");
    }
}

#[test]
fn a_press_is_120_ms_at_minus_7_dbm0_and_80_ms_of_silence() {
    for rate in [8_000, 16_000, 48_000] {
        let mut keys = KeyTones::default();
        keys.push("55");
        let ms = rate as usize / 1000;
        let mut samples = vec![0; ms * 420];
        keys.fill(&mut samples, rate);
        assert!(!keys.is_busy());
        let loud = |part: &[i16]| {
            let power: f32 = part.iter().map(|s| f32::from(*s) * f32::from(*s)).sum();
            10.0 * (power / part.len() as f32 / (FULL * FULL / 2.0)).log10()
        };
        for press in [&samples[..ms * 200], &samples[ms * 200..]] {
            let level = loud(&press[..ms * 120]);
            assert!((level + 7.0).abs() < 0.1, "{level}");
            assert!(press[ms * 120..ms * 200].iter().all(|s| *s == 0));
        }
    }
}

#[test]
fn only_so_many_digits_wait() {
    let mut keys = KeyTones::default();
    assert_eq!(keys.push(&"1".repeat(1000)), MAX_WAITING);
    assert_eq!(keys.push("2"), 0);
}

#[test]
fn whatever_a_line_does_to_a_press_within_reason_it_is_heard_once() {
    let table = [
        ("40 ms", USUAL),
        ("a long press", Press { ms: 2000, ..USUAL }),
        (
            "weak",
            Press {
                low: -32.0,
                high: -32.0,
                ..USUAL
            },
        ),
        (
            "loud",
            Press {
                low: -3.0,
                high: -3.0,
                ..USUAL
            },
        ),
        (
            "high 3 dB stronger",
            Press {
                high: -7.0,
                ..USUAL
            },
        ),
        (
            "high 7 dB weaker",
            Press {
                high: -17.0,
                ..USUAL
            },
        ),
        (
            "1.5 % up",
            Press {
                off: 0.015,
                ..USUAL
            },
        ),
        (
            "1.5 % down",
            Press {
                off: -0.015,
                ..USUAL
            },
        ),
        (
            "15 dB of noise",
            Press {
                noise: Some(15.0),
                ..USUAL
            },
        ),
        (
            "all of it",
            Press {
                ms: 60,
                high: -14.0,
                off: 0.01,
                noise: Some(20.0),
                ..USUAL
            },
        ),
    ];
    for (name, press) in table {
        assert_eq!(heard(&pressed(press)), ALL, "{name}");
    }
}

#[test]
fn forty_milliseconds_part_two_presses_of_a_key_and_fewer_do_not() {
    for begin in 0..102 {
        for (gap, expected) in [(80, "5"), (320, "55")] {
            let (a, b) = frequencies('5').unwrap();
            let tone = |n: i32| {
                let n = TAU * n as f32 / 8000.0;
                quantize(7000.0 * ((a * n).sin() + (b * n).sin()))
            };
            let mut line = vec![0; begin];
            line.extend((0..320).map(tone));
            line.extend(vec![0; gap]);
            line.extend((0..320).map(tone));
            line.extend([0; 400]);
            assert_eq!(heard(&line), expected, "{begin} {gap}");
        }
    }
}

#[test]
fn what_is_no_press_is_not_heard() {
    let table = [
        ("12 ms", Press { ms: 12, ..USUAL }),
        (
            "too weak",
            Press {
                low: -45.0,
                high: -45.0,
                ..USUAL
            },
        ),
        (
            "high 8 dB stronger",
            Press {
                high: -2.0,
                ..USUAL
            },
        ),
        (
            "high 12 dB weaker",
            Press {
                high: -22.0,
                ..USUAL
            },
        ),
        (
            "one tone",
            Press {
                high: -90.0,
                ..USUAL
            },
        ),
        (
            "under noise",
            Press {
                ms: 100,
                noise: Some(0.0),
                ..USUAL
            },
        ),
        ("4 % up", Press { off: 0.04, ..USUAL }),
        (
            "4 % down",
            Press {
                off: -0.04,
                ..USUAL
            },
        ),
    ];
    for (name, press) in table {
        assert_eq!(heard(&pressed(press)), "", "{name}");
    }
    let mut noise = Dice(1);
    let noise: Vec<i16> = (0..800_000)
        .map(|_| i16::try_from((noise.roll() * 20_000.0) as i32).unwrap())
        .collect();
    assert_eq!(heard(&noise), "");
}

/// Ten minutes of what sounds like a voice: pulses of a gliding pitch through three resonances, breath between.
#[test]
fn a_voice_is_not_mistaken_for_keys() {
    let mut dice = Dice(7);
    let mut digits = String::new();
    let mut detector = KeyDetector::default();
    let (mut phase, mut memory) = (0.0_f32, [[0.0_f32; 2]; 3]);
    for _ in 0..3000 {
        let (pitch, glide) = (dice.between(80.0, 320.0), dice.between(-0.3, 0.3));
        let formants = [
            (dice.between(280.0, 1000.0), 60.0),
            (dice.between(850.0, 2300.0), 80.0),
            (dice.between(2200.0, 3200.0), 120.0),
        ];
        let (breath, loud) = (dice.between(0.0, 0.05), dice.between(300.0, 3000.0));
        let syllable: Vec<i16> = (0..1600)
            .map(|n| {
                let hertz = pitch * (1.0 + glide * n as f32 / 1600.0);
                phase += hertz / 8000.0;
                let mut value = breath * dice.roll();
                if phase >= 1.0 {
                    phase -= 1.0;
                    value += 1.0;
                }
                for ((center, width), [last, before]) in formants.iter().zip(&mut memory) {
                    let radius = (-std::f32::consts::PI * width / 8000.0_f32).exp();
                    let turn = 2.0 * radius * (TAU * center / 8000.0).cos();
                    let out = value + turn * *last - radius * radius * *before;
                    (*before, *last) = (*last, out);
                    value = out * (1.0 - radius);
                }
                (value * loud * 40.0).clamp(-32_000.0, 32_000.0) as i32
            })
            .map(|value| i16::try_from(value).unwrap())
            .collect();
        detector.feed(syllable.into_iter(), &mut |digit| digits.push(digit));
    }
    assert_eq!(digits, "");
}

#[test]
fn a_damaged_stream_does_no_harm_to_the_ear() {
    let mut dice = Dice(3);
    for codec in Codec::ALL {
        let mut ear = Ear::new(codec).unwrap();
        for sequence in 0..500 {
            let length = (dice.between(0.0, 400.0)) as usize;
            let payload = (0..length)
                .map(|_| (dice.between(0.0, 255.9)) as u8)
                .collect();
            let packet = RtpIn {
                payload_type: 0,
                sequence,
                timestamp: 0,
                marker: false,
                payload,
            };
            ear.hear(&packet, &mut |_| {});
            assert_eq!(ear.pcm.len(), 0);
        }
    }
}
