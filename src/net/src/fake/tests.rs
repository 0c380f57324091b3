//! What the players are made of: voices, codecs, measurements.

use std::time::{Duration, Instant};

use bytes::Bytes;
use media::RtpIn;
use model::Codec;

use super::coder::Coder;
use super::{Measured, Recording, Said, Speech, g711, measure, measure_where};

const FRAME: Duration = Duration::from_millis(20);

/// Says three seconds through a codec over a line that takes `delay` and loses every `lose`th packet.
fn heard(speech: Speech, codec: Codec, delay: Duration, lose: Option<u64>) -> (Said, Recording) {
    let start = Instant::now();
    let mut recording = Recording::default();
    let mut far = Coder::new(codec, FRAME).unwrap();
    let mut near = Coder::new(codec, FRAME).unwrap();
    for n in 0..150_u32 {
        if lose.is_some_and(|lose| u64::from(n) % lose == lose - 1) {
            continue;
        }
        let mut pcm = vec![0; far.rate() as usize / 50];
        speech.samples(
            far.rate(),
            u64::from(n) * u64::from(far.rate()) / 50,
            &mut pcm,
        );
        let packet = RtpIn {
            payload_type: 8,
            sequence: u64::from(n),
            timestamp: n * far.clock() / 50,
            marker: false,
            payload: far.encode(&pcm),
        };
        let pcm = near.decode(&packet.payload);
        recording.push(start + delay + FRAME * n, &packet, far.clock(), &pcm);
    }
    (
        Said {
            speech,
            since: Some(start),
        },
        recording,
    )
}

fn through(codec: Codec, delay_ms: u64, lose: Option<u64>) -> Measured {
    let (said, recording) = heard(Speech::new(5), codec, Duration::from_millis(delay_ms), lose);
    measure(&said, &recording).unwrap()
}

#[test]
fn what_comes_through_untouched_is_recognised_with_its_delay() {
    for (codec, least, lookahead) in [
        (Codec::Alaw, 0.999, 0),
        (Codec::Mulaw, 0.999, 0),
        (Codec::Opus, 0.9, 7),
    ] {
        let measured = through(codec, 80, None);
        assert!(measured.similarity > least, "{codec:?} {measured:?}");
        assert!(measured.worst > least - 0.05, "{codec:?} {measured:?}");
        let off = measured
            .delay
            .abs_diff(Duration::from_millis(80 + lookahead));
        assert!(off <= Duration::from_millis(2), "{codec:?} {measured:?}");
        assert_eq!(
            (measured.lost, measured.packets, measured.skips),
            (0, 150, 0),
            "{codec:?}"
        );
        assert_eq!(measured.compared, Duration::from_millis(2500), "{codec:?}");
    }
}

#[test]
fn loss_is_counted_and_heard() {
    let measured = through(Codec::Alaw, 10, Some(10));
    assert_eq!((measured.lost, measured.packets), (14, 135));
    assert!((0.9..0.97).contains(&measured.similarity), "{measured:?}");
}

/// A recording in which a second and a half is followed by what is said a quarter of a second later.
fn skipping() -> (Said, Recording) {
    let (start, speech) = (Instant::now(), Speech::new(5));
    let mut recording = Recording::default();
    for n in 0..150_u32 {
        let mut pcm = vec![0; 160];
        let skipped = if n < 75 { 0 } else { 2000 };
        speech.samples(8000, u64::from(n) * 160 + skipped, &mut pcm);
        let packet = RtpIn {
            payload_type: 8,
            sequence: u64::from(n),
            timestamp: n * 160,
            marker: false,
            payload: Bytes::new(),
        };
        let delay = Duration::from_millis(if n < 75 { 300 } else { 50 });
        let at = Duration::from_micros(skipped * 125) + FRAME * n;
        recording.push(start + delay + at, &packet, 8000, &pcm);
    }
    let since = Some(start);
    (Said { speech, since }, recording)
}

#[test]
fn a_voice_that_skips_is_found_again() {
    let (said, recording) = skipping();
    let measured = measure(&said, &recording).unwrap();
    assert!(measured.worst > 0.99, "{measured:?}");
    assert_eq!(measured.skips, 1);
    assert!(
        measured.delay_p99 > Duration::from_millis(290),
        "{measured:?}"
    );
    assert!(measured.delay < Duration::from_millis(60), "{measured:?}");
}

#[test]
fn what_does_not_count_is_not_compared() {
    let (said, recording) = skipping();
    let skip = said.since.unwrap() + Duration::from_millis(1500);
    let measured = measure_where(&said, &recording, |began, _| began > skip).unwrap();
    assert_eq!(measured.compared, Duration::from_millis(1500));
    assert!(
        measured.delay_p99 < Duration::from_millis(60),
        "{measured:?}"
    );
    assert_eq!((measured.packets, measured.skips), (150, 0));
    let end = skip + Duration::from_secs(2);
    assert_eq!(
        measure_where(&said, &recording, |began, _| began > end),
        None
    );
}

#[test]
fn another_voice_is_not_mistaken_for_this_one() {
    let (said, _) = heard(Speech::new(5), Codec::Alaw, FRAME, None);
    for other in [0, 1, 4, 6, 1001, 1002] {
        let (_, recording) = heard(Speech::new(other), Codec::Alaw, FRAME, None);
        let measured = measure(&said, &recording).unwrap();
        assert!(measured.similarity < 0.6, "{other} {measured:?}");
    }
}

#[test]
fn silence_and_short_recordings_measure_nothing() {
    let said = Said {
        speech: Speech::new(1),
        since: Some(Instant::now()),
    };
    assert_eq!(measure(&said, &Recording::default()), None);
    let (_, recording) = heard(Speech::new(1), Codec::Alaw, FRAME, None);
    let silent = Said {
        since: None,
        ..said
    };
    assert_eq!(measure(&silent, &recording), None);
}

#[test]
fn both_laws_are_those_of_the_recommendation() {
    for octet in 0..=255 {
        assert_eq!(g711::encode_alaw(g711::decode_alaw(octet)), octet);
        // Mu-law has two zeros; the negative one comes back as the positive one.
        let again = g711::encode_mulaw(g711::decode_mulaw(octet));
        assert!(again == octet || octet == 0x7f, "{octet:x} {again:x}");
    }
    assert_eq!((g711::decode_alaw(0xd5), g711::decode_alaw(0x55)), (8, -8));
    assert_eq!(
        (g711::decode_alaw(0xaa), g711::decode_alaw(0x2a)),
        (32_256, -32_256)
    );
    assert_eq!(
        (g711::decode_mulaw(0xff), g711::decode_mulaw(0x80)),
        (0, 32_124)
    );
}

#[test]
fn a_new_stream_does_not_grow_the_recording() {
    let mut recording = Recording::default();
    let packet = |sequence, timestamp| RtpIn {
        payload_type: 8,
        sequence,
        timestamp,
        marker: false,
        payload: Bytes::from_static(&[0xd5; 160]),
    };
    let now = Instant::now();
    recording.push(now, &packet(1, 1000), 8000, &[1; 160]);
    recording.push(now, &packet(2, 3_000_000_000), 8000, &[1; 160]);
    recording.push(now, &packet(3, 900), 8000, &[1; 160]);
    assert_eq!(
        (
            recording.samples().len(),
            recording.packets(),
            recording.lost()
        ),
        (160, 3, 0)
    );
}
