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
fn a_missing_g711_packet_of_a_tone_is_repeated_in_phase() {
    let mut octets = Vec::new();
    Encoder::new(Codec::Alaw, 8000)
        .unwrap()
        .encode(&sine(8000, 425.0, 1600), &mut octets);
    let mut decoder = Decoder::new(Codec::Alaw, 8000).unwrap();
    let mut pcm = Pcm::default();
    for (n, packet) in octets.chunks(160).enumerate() {
        if n == 5 {
            decoder.conceal(160, &mut pcm);
        } else {
            decoder.decode(packet, &mut pcm);
        }
    }
    assert_eq!(pcm.len(), 1600);
    assert!(
        tone_share(pcm.all(), 8000, 425.0) > 0.93,
        "{}",
        tone_share(pcm.all(), 8000, 425.0)
    );
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
