use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use super::*;
use crate::tests::{sine, testdata, tone_share};

const LAWS: [(Codec, &str); 2] = [(Codec::Alaw, "alaw"), (Codec::Mulaw, "ulaw")];

#[test]
fn g711_decodes_every_octet_as_the_tables_say() {
    let tables = testdata("g711-tables.json");
    for (codec, name) in LAWS {
        let mut pcm = Pcm::default();
        let octets: Vec<u8> = (0..=255).collect();
        Decoder::new(codec, 8000).unwrap().decode(&octets, &mut pcm);
        let expected: Vec<i64> = tables[format!("{name}_to_linear")]
            .as_array()
            .unwrap()
            .iter()
            .map(|v| v.as_i64().unwrap())
            .collect();
        assert!(
            pcm.all().iter().map(|v| i64::from(*v)).eq(expected),
            "{name}"
        );
    }
}

#[test]
fn g711_encodes_every_value_as_the_tables_say() {
    let tables = testdata("g711-tables.json");
    let all: Vec<i16> = (i16::MIN..=i16::MAX).collect();
    for (codec, name) in LAWS {
        let mut out = Vec::new();
        Encoder::new(codec, 8000).unwrap().encode(&all, &mut out);
        let mut digest = String::new();
        for byte in Sha256::digest(&out) {
            write!(digest, "{byte:02x}").unwrap();
        }
        assert_eq!(
            digest,
            tables[format!("lin_to_{name}_sha256")].as_str().unwrap(),
            "{name}"
        );
    }
}

fn dice() -> impl Iterator<Item = u32> {
    let step = |state: &u32| Some(state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
    std::iter::successors(Some(7), step).skip(1)
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").unwrap();
            text
        })
}

fn little_endian(samples: &[i16]) -> Vec<u8> {
    samples.iter().flat_map(|s| s.to_le_bytes()).collect()
}

/// Four seconds of noise from full scale down to 7 bits, and two seconds of code words nobody would send. The digests are
/// those of libg722, which like this code gives the test sequences of the ITU-T Software Tool Library (G.191).
#[test]
fn g722_is_the_recommendation_to_the_bit() {
    let noise: Vec<i16> = dice()
        .take(64_000)
        .zip(0..)
        .map(|(value, n)| (value >> 16).cast_signed().wrapping_shl(16) >> 16 >> (n / 1600 % 9))
        .map(|value| i16::try_from(value).unwrap())
        .collect();
    let mut coded = Vec::new();
    Encoder::new(Codec::G722, 16_000)
        .unwrap()
        .encode(&noise, &mut coded);
    assert_eq!(
        digest(&coded),
        "a88bbf650ed48639d6eb2de5d980ee59224bb2a5d1bfc2da45a21b4aa755be72"
    );
    let decoded = |octets: &[u8]| {
        let mut pcm = Pcm::default();
        Decoder::new(Codec::G722, 16_000)
            .unwrap()
            .decode(octets, &mut pcm);
        digest(&little_endian(pcm.all()))
    };
    assert_eq!(
        decoded(&coded),
        "04b2ea925921729ce6f4e254d5526d4ec10396cca1f74e21419f0e16891c1bde"
    );
    let octets: Vec<u8> = dice().take(32_000).map(|v| (v >> 24) as u8).collect();
    assert_eq!(
        decoded(&octets),
        "6cb987268469c22492937c3b770cd021475ba177af6548c6239e3603f56da9ec"
    );
}

/// The sequences themselves are not ours to keep: `G722_VECTORS` names a folder that has them unpacked.
#[test]
fn g722_gives_the_test_sequences_of_the_itu() {
    let Ok(folder) = std::env::var("G722_VECTORS") else {
        return;
    };
    let words = |name: &str| -> Vec<i16> {
        let bytes = std::fs::read(format!("{folder}/{name}")).unwrap();
        let (words, _) = bytes.as_chunks();
        words.iter().map(|word| i16::from_le_bytes(*word)).collect()
    };
    let code: Vec<u8> = words("codspw.cod")
        .iter()
        .map(|w| w.to_be_bytes()[1])
        .collect();
    let mut coded = Vec::new();
    Encoder::new(Codec::G722, 16_000)
        .unwrap()
        .encode(&words("inpsp.bin"), &mut coded);
    assert!(coded == code);
    let mut pcm = Pcm::default();
    Decoder::new(Codec::G722, 16_000)
        .unwrap()
        .decode(&code, &mut pcm);
    assert!(pcm.all() == words("outsp1.bin"));
}

#[test]
fn g722_carries_a_tone_of_either_band() {
    for (rate, hertz) in [(16_000, 1000.0), (16_000, 6000.0), (8_000, 1000.0)] {
        let mut encoder = Encoder::new(Codec::G722, rate).unwrap();
        let mut decoder = Decoder::new(Codec::G722, rate).unwrap();
        let (mut pcm, mut packet) = (Pcm::default(), Vec::new());
        for frame in sine(rate, hertz, rate as usize).chunks(rate as usize / 50) {
            encoder.encode(frame, &mut packet);
            assert_eq!(packet_ticks(Codec::G722, &packet), Some(160));
            assert_eq!(decoder.decode(&packet, &mut pcm), rate as usize / 50);
        }
        let settled = pcm.all().get(rate as usize / 2..).unwrap();
        let share = tone_share(settled, rate, hertz);
        assert!(share > 0.95, "{hertz} at {rate}: {share}");
    }
}

#[test]
fn g722_of_one_band_is_understood_by_two_and_the_other_way_round() {
    for (from, to) in [(8_000, 16_000), (16_000, 8_000)] {
        let mut packet = Vec::new();
        Encoder::new(Codec::G722, from)
            .unwrap()
            .encode(&sine(from, 1000.0, from as usize), &mut packet);
        let mut pcm = Pcm::default();
        Decoder::new(Codec::G722, to)
            .unwrap()
            .decode(&packet, &mut pcm);
        assert_eq!(pcm.len(), to as usize);
        let settled = pcm.all().get(to as usize / 2..).unwrap();
        let share = tone_share(settled, to, 1000.0);
        assert!(share > 0.95, "{from} to {to}: {share}");
    }
}

#[test]
fn l16_is_big_endian_and_half_a_sample_is_none() {
    let mut out = Vec::new();
    Encoder::new(Codec::L16, 48_000)
        .unwrap()
        .encode(&[1, -2, 0x1234], &mut out);
    assert_eq!(out, [0, 1, 0xff, 0xfe, 0x12, 0x34]);
    let (mut decoder, mut pcm) = (Decoder::new(Codec::L16, 48_000).unwrap(), Pcm::default());
    assert_eq!(decoder.decode(&out, &mut pcm), 3);
    assert_eq!(pcm.all(), [1, -2, 0x1234]);
    assert_eq!(decoder.decode(&[0, 1, 2], &mut pcm), 0);
    assert_eq!(packet_ticks(Codec::L16, &[0, 1, 2]), None);
    assert_eq!(packet_ticks(Codec::L16, &[0; 960]), Some(480));
}

#[test]
fn no_codec_is_made_at_a_rate_it_does_not_have() {
    for (codec, rate) in [
        (Codec::Alaw, 16_000),
        (Codec::Mulaw, 48_000),
        (Codec::G722, 48_000),
        (Codec::L16, 8_000),
        (Codec::Opus, 44_100),
    ] {
        assert!(Decoder::new(codec, rate).is_err(), "{codec} {rate}");
        assert!(Encoder::new(codec, rate).is_err(), "{codec} {rate}");
    }
}

#[test]
fn opus_carries_a_tone_from_48_to_8_khz_and_back() {
    for (from, to) in [(48_000, 8_000), (8_000, 48_000)] {
        let mut encoder = Encoder::new(Codec::Opus, from).unwrap();
        let mut decoder = Decoder::new(Codec::Opus, to).unwrap();
        let (mut pcm, mut packet) = (Pcm::default(), Vec::new());
        for frame in sine(from, 1000.0, from as usize).chunks(from as usize / 50) {
            encoder.encode(frame, &mut packet);
            assert_eq!(packet_ticks(Codec::Opus, &packet), Some(960));
            assert_eq!(decoder.decode(&packet, &mut pcm), to as usize / 50);
        }
        let settled = pcm.all().get(to as usize / 2..).unwrap();
        assert!(tone_share(settled, to, 1000.0) > 0.9, "{from} to {to}");
    }
}

#[test]
fn a_missing_packet_of_a_tone_is_repeated_in_phase() {
    for (codec, rate, hertz) in [
        (Codec::Alaw, 8_000, 425.0),
        (Codec::Mulaw, 8_000, 1100.0),
        (Codec::G722, 16_000, 425.0),
        (Codec::G722, 16_000, 2150.0),
        (Codec::G722, 8_000, 425.0),
        (Codec::L16, 48_000, 425.0),
        (Codec::L16, 48_000, 3300.0),
    ] {
        let frame = rate as usize / 50;
        let mut encoder = Encoder::new(codec, rate).unwrap();
        let mut decoder = Decoder::new(codec, rate).unwrap();
        let (mut pcm, mut packet) = (Pcm::default(), Vec::new());
        for (n, samples) in sine(rate, hertz, frame * 10).chunks(frame).enumerate() {
            encoder.encode(samples, &mut packet);
            if n == 5 {
                decoder.conceal(frame, &mut pcm);
            } else {
                decoder.decode(&packet, &mut pcm);
            }
        }
        assert_eq!(pcm.len(), frame * 10);
        let share = tone_share(pcm.all(), rate, hertz);
        assert!(share > 0.93, "{codec} {hertz}: {share}");
    }
}

#[test]
fn g722_is_itself_again_soon_after_a_missing_packet() {
    for rate in [8_000, 16_000] {
        let frame = rate as usize / 50;
        let mut encoder = Encoder::new(Codec::G722, rate).unwrap();
        let mut whole = Decoder::new(Codec::G722, rate).unwrap();
        let mut lossy = Decoder::new(Codec::G722, rate).unwrap();
        let (mut sent, mut heard, mut packet) = (Pcm::default(), Pcm::default(), Vec::new());
        let tones = sine(rate, 770.0, frame * 12);
        let tones = tones.iter().zip(sine(rate, 1336.0, frame * 12));
        let tones: Vec<i16> = tones.map(|(a, b)| a / 2 + b / 2).collect();
        for (n, samples) in tones.chunks(frame).enumerate() {
            encoder.encode(samples, &mut packet);
            whole.decode(&packet, &mut sent);
            if n == 1 {
                lossy.conceal(frame, &mut heard);
            } else {
                lossy.decode(&packet, &mut heard);
            }
        }
        // From 20 ms after the gap on.
        let after = |pcm: &Pcm| -> Vec<f32> {
            let samples = &pcm.all()[frame * 3..frame * 6];
            samples.iter().map(|sample| f32::from(*sample)).collect()
        };
        let (sent, heard) = (after(&sent), after(&heard));
        let power: f32 = sent.iter().map(|a| a * a).sum();
        let error: f32 = sent
            .iter()
            .zip(&heard)
            .map(|(a, b)| (a - b) * (a - b))
            .sum();
        assert!(error * 10.0 < power, "{rate}: {}", power / error);
    }
}

#[test]
fn guessing_fades_to_silence() {
    let mut decoder = Decoder::new(Codec::Mulaw, 8000).unwrap();
    let mut pcm = Pcm::default();
    decoder.decode(&[0x10; 160], &mut pcm);
    pcm.clear();
    for _ in 0..6 {
        decoder.conceal(160, &mut pcm);
    }
    assert!(pcm.all().iter().skip(800).all(|sample| *sample == 0));
}

#[test]
fn whatever_is_sent_as_audio_does_no_harm() {
    let mut bytes = dice().map(|value| (value >> 24) as u8);
    for (codec, rate) in [
        (Codec::G722, 16_000),
        (Codec::G722, 8_000),
        (Codec::L16, 48_000),
        (Codec::Alaw, 8_000),
    ] {
        let mut decoder = Decoder::new(codec, rate).unwrap();
        let mut pcm = Pcm::default();
        for length in [0, 1, 2, 3, 159, 160, 961, 2036] {
            let payload: Vec<u8> = bytes.by_ref().take(length).collect();
            let samples = decoder.decode(&payload, &mut pcm);
            assert_eq!(samples, pcm.len());
            assert!(samples <= length * 2);
            decoder.conceal(rate as usize / 400, &mut pcm);
            pcm.clear();
        }
    }
}

#[test]
fn broken_opus_gives_no_audio_and_does_no_harm() {
    let mut decoder = Decoder::new(Codec::Opus, 8000).unwrap();
    let mut pcm = Pcm::default();
    let mut state = 7_u32;
    for length in 0..2000_usize {
        let packet: Vec<u8> = (0..length % 90)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            })
            .collect();
        decoder.decode(&packet, &mut pcm);
        assert!(pcm.len() <= 960);
        pcm.clear();
    }
    assert_eq!(decoder.decode(&[], &mut pcm), 0);
}

#[test]
fn the_silence_packet_is_20_ms_of_zeros() {
    let mut pcm = Pcm::default();
    let mut decoder = Decoder::new(Codec::Opus, 48_000).unwrap();
    assert_eq!(decoder.decode(&OPUS_SILENCE, &mut pcm), 960);
    assert!(pcm.all().iter().all(|sample| *sample == 0));
}

/// Two seconds of syllables: a voice whose pitch and loudness go up and down, so that what is lost cannot be guessed.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a float beyond the largest sample becomes the largest"
)]
fn syllables(rate: u32) -> Vec<i16> {
    let mut phase = 0.0_f64;
    (0..rate * 2)
        .map(|n| {
            let time = f64::from(n) / f64::from(rate);
            let pitch = 140.0 + 60.0 * (time * 9.0).sin();
            phase += std::f64::consts::TAU * pitch / f64::from(rate);
            let loud = (time * 16.0).sin().max(0.0);
            let voice: f64 = (1..12)
                .map(|k| (phase * f64::from(k)).sin() / f64::from(k))
                .sum();
            (voice * loud * 9_000.0) as i16
        })
        .collect()
}

/// The energy of what differs, as a share of what was wanted, in the frames of which `lost` is true.
fn error(wanted: &[i16], heard: &[i16], frame: usize, lost: impl Fn(usize) -> bool) -> f64 {
    let (mut noise, mut signal) = (0.0, 1.0);
    for (n, (wanted, heard)) in wanted.iter().zip(heard).enumerate() {
        if lost(n / frame) {
            let (wanted, heard) = (f64::from(*wanted), f64::from(*heard));
            noise += (wanted - heard).powi(2);
            signal += wanted.powi(2);
        }
    }
    noise / signal
}

/// What differs where every fourth packet is lost: when it is guessed, and when it is taken from the next one.
fn lossy(encoder: &mut Encoder, rate: u32, ms: usize) -> (f64, f64) {
    let speech = syllables(rate);
    let frame = rate as usize / 1000 * ms;
    let packets: Vec<Vec<u8>> = speech
        .chunks_exact(frame)
        .map(|pcm| {
            let mut packet = Vec::new();
            encoder.encode(pcm, &mut packet);
            packet
        })
        .collect();
    let is_lost = |n: usize| n % 4 == 3 && n + 1 < packets.len();
    let decoder = || Decoder::new(Codec::Opus, rate).unwrap();
    let (mut whole, mut guessed, mut recovered) = (decoder(), decoder(), decoder());
    let [mut all, mut with_guesses, mut with_copies] =
        [Pcm::default(), Pcm::default(), Pcm::default()];
    for (n, packet) in packets.iter().enumerate() {
        let band = opus::packet::get_bandwidth(packet).unwrap();
        assert!(
            rate < 16_000 || band != opus::Bandwidth::Mediumband,
            "{rate} Hz"
        );
        whole.decode(packet, &mut all);
        if is_lost(n) {
            guessed.conceal(frame, &mut with_guesses);
            recovered.recover(&packets[n + 1], frame, &mut with_copies);
        } else {
            guessed.decode(packet, &mut with_guesses);
            recovered.decode(packet, &mut with_copies);
        }
    }
    let guess = error(all.all(), with_guesses.all(), frame, is_lost);
    let copy = error(all.all(), with_copies.all(), frame, is_lost);
    assert!(
        guess > 0.25,
        "{rate} Hz, {ms} ms: there is nothing to recover"
    );
    (guess, copy)
}

#[test]
fn what_was_lost_is_in_the_next_packet_while_loss_is_expected() {
    // Longer packets at 48 kHz are several frames, of which only the last is there twice.
    for (rate, ms) in [
        (8_000, 20),
        (8_000, 40),
        (8_000, 60),
        (16_000, 20),
        (16_000, 40),
        (16_000, 60),
        (48_000, 20),
    ] {
        let mut encoder = Encoder::new(Codec::Opus, rate).unwrap();
        for percent in [0, 1, 10, 25, 0] {
            assert!(encoder.expect_loss(percent));
            let (guess, copy) = lossy(&mut encoder, rate, ms);
            let what =
                format!("{rate} Hz, {ms} ms, {percent} %: guessed {guess:.3}, copied {copy:.3}");
            // Where the bit rate bears it without loss, too, it stays.
            assert_eq!(copy < guess / 8.0, percent > 0 || rate > 8_000, "{what}");
        }
    }
}
