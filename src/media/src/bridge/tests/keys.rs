//! Keys as tones in the voice, and comfort noise.

use super::*;

fn told(bench: &Bench) -> Vec<(LegId, char, DtmfMethod)> {
    let digits = bench.events.iter().filter_map(|event| match event {
        BridgeEvent::Dtmf { leg, digit, method } => Some((*leg, *digit, *method)),
        BridgeEvent::FirstAudio { .. } => None,
    });
    digits.collect()
}

/// What a leg of the same audio would be sent for these keys.
fn keyed(audio: LegAudio, digits: &str) -> Vec<RtpIn> {
    let mut bench = Bench::apart(audio, telegram(20));
    let presses = u32::try_from(digits.len()).unwrap();
    assert_eq!(
        bench.bridge.send_tones(bench.now, SIP, digits),
        digits.len()
    );
    bench.drain();
    bench.advance(MS * 200 * presses + MS * 100);
    let packets = bench.to(SIP).into_iter().zip(0..);
    packets
        .map(|(packet, sequence)| RtpIn {
            payload_type: packet.payload_type,
            sequence,
            timestamp: packet.timestamp,
            marker: packet.marker,
            payload: packet.payload.clone(),
        })
        .collect()
}

#[test]
fn tones_of_keys_are_heard_from_every_codec_if_anybody_listens() {
    for codec in Codec::ALL {
        for listens in [true, false] {
            let ptime = if codec == Codec::L16 { 10 } else { 20 };
            let pbx = sip(codec, ptime);
            let mut bench = Bench::new(pbx, telegram(20));
            bench.bridge.listen_for_tones(SIP, listens).unwrap();
            bench.say(
                SIP,
                keyed(pbx, "159D"),
                steady(u32::try_from(ptime).unwrap()),
            );
            bench.advance(Duration::from_secs(2));
            let digits = "159D".chars().filter(|_| listens);
            let expected: Vec<_> = digits.map(|d| (SIP, d, DtmfMethod::Inband)).collect();
            assert_eq!(told(&bench), expected, "{codec}");
        }
    }
}

#[test]
fn a_phone_that_sends_events_is_not_listened_to_as_well() {
    let pbx = sip(Codec::Alaw, 20);
    let mut bench = Bench::new(pbx, telegram(20));
    bench.bridge.listen_for_tones(SIP, true).unwrap();
    let mut stream = keyed(pbx, "55");
    stream[0] = RtpIn {
        payload_type: 101,
        payload: Bytes::from_static(&[5, 10, 0, 160]),
        ..stream[0].clone()
    };
    bench.say(SIP, stream, steady(20));
    bench.advance(Duration::from_secs(1));
    assert_eq!(told(&bench), [(SIP, '5', DtmfMethod::Rfc2833)]);
}

/// A gateway that suppresses silence says in one packet that there is some between two keys.
#[test]
fn the_same_key_twice_is_heard_twice_though_the_silence_between_is_suppressed() {
    let pbx = sip(Codec::Alaw, 20);
    let mut bench = Bench::new(pbx, telegram(20));
    bench.bridge.listen_for_tones(SIP, true).unwrap();
    let (mut stream, mut times) = (Vec::new(), Vec::new());
    // 120 ms of tone and 80 of silence are ten packets.
    for (n, packet) in (0..).zip(keyed(pbx, "5557")) {
        let packet = match n % 10 {
            0..6 => packet,
            6 => RtpIn {
                payload_type: 13,
                payload: Bytes::from_static(&[60]),
                ..packet
            },
            _ => continue,
        };
        let sequence = stream.len() as u64;
        stream.push(RtpIn { sequence, ..packet });
        times.push(MS * 20 * n);
    }
    bench.say(SIP, stream, |n| vec![times[n]]);
    bench.advance(Duration::from_secs(2));
    let digits: String = told(&bench).iter().map(|(_, digit, _)| digit).collect();
    assert_eq!(digits, "5557");
}

#[test]
fn tones_of_keys_replace_the_voice_for_their_time() {
    for (codec, ptime) in [
        (Codec::Alaw, 30),
        (Codec::Opus, 20),
        (Codec::G722, 20),
        (Codec::L16, 10),
    ] {
        let (pbx, user) = (sip(codec, ptime), telegram(20));
        let mut bench = Bench::new(pbx, user);
        bench.say(
            TELEGRAM,
            tone(user, 20, 425.0, Duration::from_secs(4)),
            steady(20),
        );
        bench.advance(Duration::from_secs(1));
        let now = bench.now;
        assert_eq!(bench.bridge.send_tones(now, SIP, "7*"), 2);
        bench.drain();
        bench.advance(Duration::from_secs(2));
        let rate = crate::codec::tone_rate(codec);
        let heard = bench.hear_at(SIP, rate);
        let ms = rate as usize / 1000;
        let window = ms * 40;
        let share = |hertz: f32| {
            let windows = heard.chunks_exact(window);
            windows.filter(|w| tone_share(w, rate, hertz) > 0.4).count()
        };
        for hertz in [852.0, 941.0, 1209.0] {
            let count = share(hertz);
            assert!((1..=8).contains(&count), "{codec} {hertz}: {count}");
        }
        let last = &heard[heard.len() - ms * 1000..heard.len() - ms * 200];
        assert!(
            last.chunks_exact(window)
                .all(|w| tone_share(w, rate, 425.0) > 0.85),
            "{codec}: the voice is back"
        );
        assert!(bench.timeout.is_some());
    }
}

/// Who says that nobody speaks, or that a key is pressed, has lost nothing: there is nothing to make up for.
#[test]
fn nothing_is_guessed_in_place_of_what_is_known_to_be_no_audio() {
    let pbx = sip(Codec::Alaw, 20);
    for (payload_type, payload) in [(13, &[60][..]), (101, &[5, 10, 0, 160])] {
        let mut bench = Bench::new(pbx, sip(Codec::Mulaw, 20));
        let mut stream = Vec::new();
        let mut times = Vec::new();
        for (n, packet) in (0..).zip(tone(pbx, 20, 425.0, Duration::from_secs(10))) {
            // Half a second of each is said in one packet.
            let packet = match n % 50 {
                0..25 => packet,
                25 => RtpIn {
                    payload_type,
                    payload: Bytes::copy_from_slice(payload),
                    ..packet
                },
                _ => continue,
            };
            let sequence = stream.len() as u64;
            stream.push(RtpIn { sequence, ..packet });
            times.push(MS * 20 * n);
        }
        bench.say(SIP, stream, |n| vec![times[n]]);
        bench.advance(Duration::from_secs(10));
        let stats = bench.stats(SIP);
        assert_eq!((stats.concealed, stats.lost), (Duration::ZERO, 0));
        let heard = bench.hear(TELEGRAM);
        let loud = heard.iter().filter(|s| s.unsigned_abs() > 1000).count();
        assert!((35_000..40_000).contains(&loud), "{loud} of 40000 samples");
    }
}

#[test]
fn comfort_noise_is_a_pause_and_no_fault() {
    let pbx = sip(Codec::Alaw, 20);
    for other in [telegram(20), sip(Codec::Mulaw, 20)] {
        let mut bench = Bench::new(pbx, other);
        let mut stream = tone(pbx, 20, 425.0, Duration::from_secs(1));
        for packet in &mut stream[20..30] {
            packet.payload_type = 13;
            packet.payload = Bytes::from_static(&[60, 1, 2]);
        }
        bench.say(SIP, stream, steady(20));
        bench.advance(Duration::from_secs(1));
        let stats = bench.stats(SIP);
        assert_eq!((stats.received, stats.ignored), (50, 0));
        assert_eq!((stats.lost, stats.broken), (0, 0));
        let heard = bench.hear(TELEGRAM);
        let loud = heard.iter().filter(|s| s.unsigned_abs() > 1000).count();
        // 800 ms of the tone, at most 100 ms of its fading.
        assert!((5000..7000).contains(&loud), "{loud}");
    }
}
