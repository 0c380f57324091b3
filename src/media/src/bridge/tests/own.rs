//! What is sent besides the peer's audio: untouched packets, tones, digits, hold.

use super::*;
use crate::codec::OPUS_SILENCE;
use crate::dtmf::DtmfReceiver;

fn event(sequence: u64, timestamp: u32, digit: u8, duration: u16, end: bool) -> RtpIn {
    let [high, low] = duration.to_be_bytes();
    let payload = Bytes::copy_from_slice(&[digit, if end { 0x8a } else { 10 }, high, low]);
    RtpIn {
        payload_type: 101,
        sequence,
        timestamp,
        marker: false,
        payload,
    }
}

/// The digits a SIP leg understands from what it is sent.
fn digits(bench: &Bench) -> String {
    let mut receiver = DtmfReceiver::default();
    let events = bench
        .to(SIP)
        .into_iter()
        .filter(|packet| packet.payload_type == 101);
    events
        .filter_map(|packet| receiver.receive(&packet.payload, packet.timestamp, packet.marker))
        .collect()
}

#[test]
fn opus_passes_untouched_both_ways() {
    let (pbx, user) = (sip(Codec::Opus, 20), telegram(20));
    let mut bench = Bench::new(pbx, user);
    let (up, down) = (
        tone(pbx, 20, 425.0, Duration::from_secs(2)),
        tone(user, 60, 660.0, Duration::from_secs(2)),
    );
    bench.say(SIP, up.clone(), steady(20));
    bench.say(TELEGRAM, down.clone(), steady(60));
    bench.advance(Duration::from_millis(1_990));
    let payloads = |packets: Vec<&RtpOut>| {
        packets
            .iter()
            .map(|packet| packet.payload.clone())
            .collect::<Vec<_>>()
    };
    assert!(
        payloads(bench.to(TELEGRAM))
            .iter()
            .eq(up.iter().map(|packet| &packet.payload))
    );
    assert!(continuous(&bench.to(TELEGRAM), 960));
    let heard = bench.to(SIP);
    assert!(heard.iter().all(|packet| packet.payload_type == 107));
    assert!(
        payloads(heard.clone())
            .iter()
            .eq(down.iter().map(|packet| &packet.payload))
    );
    assert!(continuous(&heard, 2880));
}

#[test]
fn a_silent_telegram_side_does_not_stop_an_opus_stream() {
    let user = telegram(20);
    let mut bench = Bench::new(sip(Codec::Opus, 20), user);
    let mut stream = tone(user, 20, 425.0, Duration::from_secs(2));
    for packet in &mut stream[50..] {
        packet.timestamp += 3_000 * 48;
    }
    bench.say(TELEGRAM, stream, |n| {
        vec![MS * (20 * u32::try_from(n).unwrap() + if n < 50 { 500 } else { 3_500 })]
    });
    bench.advance(Duration::from_millis(5_400));
    let packets = bench.to(SIP);
    let silent = packets
        .iter()
        .filter(|packet| packet.payload[..] == OPUS_SILENCE)
        .count();
    assert!((165..=176).contains(&silent), "{silent}");
    let times: Vec<Instant> = bench.sent.iter().map(|(at, _, _)| *at).collect();
    assert!(times.windows(2).all(|two| two[1] - two[0] <= MS * 80));
    let span = packets
        .last()
        .unwrap()
        .timestamp
        .wrapping_sub(packets[0].timestamp)
        / 48;
    assert!((5_200..=5_420).contains(&span), "{span}");
    let steps = packets
        .windows(2)
        .map(|two| two[1].timestamp.wrapping_sub(two[0].timestamp));
    assert!(
        steps.clone().all(|step| (960..960 * 5).contains(&step)),
        "never back, never far"
    );
}

#[test]
fn lost_opus_packets_are_left_to_the_far_end() {
    let (pbx, user) = (sip(Codec::Opus, 20), telegram(20));
    let mut bench = Bench::new(pbx, user);
    bench.say(SIP, tone(pbx, 20, 425.0, Duration::from_secs(1)), |n| {
        if n == 20 {
            vec![]
        } else {
            vec![MS * (20 * u32::try_from(n).unwrap() + if n == 30 { 25 } else { 0 })]
        }
    });
    bench.advance(Duration::from_secs(2));
    let packets = bench.to(TELEGRAM);
    let steps: Vec<u32> = packets
        .windows(2)
        .map(|two| two[1].timestamp.wrapping_sub(two[0].timestamp))
        .collect();
    assert_eq!(packets.len(), 49);
    assert!(
        steps
            .iter()
            .enumerate()
            .all(|(n, step)| *step == if n == 19 { 1920 } else { 960 })
    );
    assert_eq!(
        (bench.stats(SIP).lost, bench.stats(SIP).concealed),
        (1, Duration::ZERO)
    );
}

#[test]
fn keys_pressed_on_the_phone_are_told_once_and_not_heard() {
    let pbx = sip(Codec::Alaw, 20);
    let mut bench = Bench::new(pbx, telegram(20));
    let mut stream = tone(pbx, 20, 425.0, Duration::from_secs(2));
    for n in 0..8_u16 {
        // 160 ms of digit 5 in place of audio, the last three packets its end.
        let duration = 160 * (n + 1).min(5);
        stream[40 + usize::from(n)] =
            event(1040 + u64::from(n), 1000 + 40 * 160, 5, duration, n > 4);
    }
    bench.say(SIP, stream, steady(20));
    bench.advance(Duration::from_secs(3));
    assert_eq!(
        bench.events[1..],
        [BridgeEvent::Dtmf {
            leg: SIP,
            digit: '5',
            method: DtmfMethod::Rfc2833,
        }]
    );
    let packets = bench.to(TELEGRAM);
    assert_eq!(packets.len(), 92);
    assert_eq!(
        packets[40].timestamp.wrapping_sub(packets[39].timestamp),
        960 + 160 * 48,
        "a pause of 160 ms"
    );
    assert_eq!(bench.stats(SIP).lost, 0);
}

#[test]
fn digits_towards_a_phone_replace_the_audio_for_their_time() {
    for codec in [Codec::Alaw, Codec::Opus] {
        let user = telegram(20);
        let mut bench = Bench::new(sip(codec, 20), user);
        bench.say(
            TELEGRAM,
            tone(user, 20, 425.0, Duration::from_secs(4)),
            steady(20),
        );
        bench.advance(Duration::from_secs(1));
        assert_eq!(bench.bridge.send_dtmf(bench.now, SIP, "12#"), 3);
        bench.drain();
        bench.advance(Duration::from_secs(2));
        assert_eq!(digits(&bench), "12#");
        let packets: Vec<(Instant, u8, u32)> = bench
            .sent
            .iter()
            .filter(|(_, to, _)| *to == SIP)
            .map(|(at, _, packet)| (*at, packet.payload_type, packet.timestamp))
            .collect();
        let first = packets.iter().position(|packet| packet.1 == 101).unwrap();
        let last = packets.iter().rposition(|packet| packet.1 == 101).unwrap();
        assert_eq!(last - first + 1, 24, "nothing between the events");
        let audio = codec.clock_rate() / 1000;
        let gone = packets[last + 1].2.wrapping_sub(packets[first].2) / audio;
        assert!((475..=485).contains(&gone), "time went on: {gone}");
        let quiet = packets
            .windows(2)
            .map(|two| two[1].0 - two[0].0)
            .max()
            .unwrap();
        assert!(quiet <= MS * 60, "{codec:?} {quiet:?}");
        assert!(
            clean(&bench.hear(SIP)[8 * 1700..8 * 2800], 425.0) > 0.9,
            "{codec:?}"
        );
    }
}

#[test]
fn a_leg_without_events_takes_no_digits() {
    let mut bench = Bench::new(sip(Codec::Alaw, 20), telegram(20));
    assert_eq!(bench.bridge.send_dtmf(bench.now, TELEGRAM, "1"), 0);
    bench.advance(MS * 100);
    assert!(bench.to(TELEGRAM).is_empty());
}

#[test]
fn ringback_is_played_to_whoever_waits() {
    for (leg, codec) in [
        (SIP, Codec::Mulaw),
        (SIP, Codec::Opus),
        (TELEGRAM, Codec::Alaw),
    ] {
        let mut bench = Bench::apart(sip(codec, 20), telegram(60));
        bench
            .bridge
            .tone(bench.now, leg, Some(Tone::Ringback))
            .unwrap();
        bench.drain();
        bench.advance(Duration::from_secs(6));
        let heard = bench.hear(leg);
        assert!(clean(&heard[800..8 * 900], 425.0) > 0.99, "{leg} {codec:?}");
        assert!(
            heard[8 * 1200..8 * 4900]
                .iter()
                .all(|sample| sample.unsigned_abs() < 50),
            "{leg} {codec:?}"
        );
        assert!(
            clean(&heard[8 * 5100..8 * 5900], 425.0) > 0.99,
            "{leg} {codec:?}"
        );
        let count = bench.sent.len();
        bench.bridge.tone(bench.now, leg, None).unwrap();
        bench.drain();
        bench.advance(Duration::from_secs(1));
        assert_eq!(bench.sent.len(), count, "and then nothing");
    }
}

#[test]
fn joining_ends_the_tone_and_time_goes_on() {
    let (pbx, user) = (sip(Codec::Alaw, 20), telegram(20));
    let mut bench = Bench::apart(pbx, user);
    for leg in [SIP, TELEGRAM] {
        bench
            .bridge
            .tone(bench.now, leg, Some(Tone::Sine(1000)))
            .unwrap();
    }
    bench.drain();
    bench.advance(MS * 1010);
    bench.bridge.connect(bench.now, SIP, TELEGRAM).unwrap();
    bench.drain();
    bench.say(
        SIP,
        tone(pbx, 20, 425.0, Duration::from_secs(1)),
        steady(20),
    );
    bench.say(
        TELEGRAM,
        tone(user, 20, 425.0, Duration::from_secs(1)),
        steady(20),
    );
    bench.advance(MS * 980);
    for leg in [SIP, TELEGRAM] {
        let heard = bench.hear(leg);
        assert!(clean(&heard[800..8000], 1000.0) > 0.95, "{leg}");
        assert!(clean(&heard[8 * 1200..8 * 1900], 425.0) > 0.95, "{leg}");
        let step = if leg == SIP { 160 } else { 960 };
        assert!(continuous(&bench.to(leg), step), "{leg}");
    }
}

#[test]
fn a_leg_on_hold_is_sent_nothing_but_is_heard() {
    let (pbx, user) = (sip(Codec::Alaw, 20), telegram(20));
    let mut bench = Bench::new(pbx, user);
    bench.say(
        SIP,
        tone(pbx, 20, 425.0, Duration::from_secs(6)),
        steady(20),
    );
    bench.say(
        TELEGRAM,
        tone(user, 20, 660.0, Duration::from_secs(6)),
        steady(20),
    );
    bench.advance(Duration::from_secs(2));
    bench.bridge.hold(bench.now, SIP, true);
    bench.drain();
    let (to_sip, to_telegram) = (bench.to(SIP).len(), bench.to(TELEGRAM).len());
    bench.advance(Duration::from_secs(2));
    assert_eq!(bench.to(SIP).len(), to_sip);
    assert_eq!(bench.to(TELEGRAM).len(), to_telegram + 100, "music on hold");
    bench.bridge.hold(bench.now, SIP, false);
    bench.drain();
    bench.advance(Duration::from_millis(1_900));
    let packets = bench.to(SIP);
    let away = packets[to_sip]
        .timestamp
        .wrapping_sub(packets[to_sip - 1].timestamp)
        / 8;
    assert!((1_980..=2_040).contains(&away), "{away}");
    assert!(packets[to_sip].marker);
    assert!(clean(&bench.hear(SIP)[8 * 4_200..8 * 5_700], 660.0) > 0.9);
    let stats = bench.stats(TELEGRAM);
    assert!(
        stats.depth <= MS * 40 && stats.squeezed.is_zero(),
        "what was said meanwhile is gone: {stats:?}"
    );
}

#[test]
fn a_telegram_leg_on_hold_hears_nothing_and_then_goes_on() {
    let (pbx, user) = (sip(Codec::Alaw, 20), telegram(20));
    let mut bench = Bench::new(pbx, user);
    bench.say(
        SIP,
        tone(pbx, 20, 425.0, Duration::from_secs(6)),
        steady(20),
    );
    bench.advance(Duration::from_secs(2));
    bench.bridge.hold(bench.now, TELEGRAM, true);
    bench.advance(Duration::from_secs(2));
    let before = bench.to(TELEGRAM).len();
    bench.bridge.hold(bench.now, TELEGRAM, false);
    bench.drain();
    bench.advance(Duration::from_secs(1));
    let packets = bench.to(TELEGRAM);
    assert!((100..=101).contains(&before));
    let away = packets[before]
        .timestamp
        .wrapping_sub(packets[before - 1].timestamp)
        / 48;
    assert!((1_980..=2_040).contains(&away), "{away}");
}

#[test]
fn a_changed_codec_goes_on_in_the_new_one() {
    let (pbx, user) = (sip(Codec::Alaw, 20), telegram(20));
    let mut bench = Bench::new(pbx, user);
    bench.say(
        TELEGRAM,
        tone(user, 20, 425.0, Duration::from_secs(4)),
        steady(20),
    );
    bench.advance(Duration::from_secs(1));
    let changed = sip(Codec::Mulaw, 30);
    bench.bridge.set_audio(bench.now, SIP, changed).unwrap();
    bench.drain();
    bench.sent.clear();
    bench.advance(Duration::from_secs(2));
    let packets = bench.to(SIP);
    assert!(
        packets
            .iter()
            .all(|packet| packet.payload_type == 0 && packet.payload.len() == 240)
    );
    assert!(continuous(&packets, 240));
    assert!(clean(&bench.hear(SIP)[800..8 * 1900], 425.0) > 0.9);
}

#[test]
fn parted_legs_fall_silent() {
    let (pbx, user) = (sip(Codec::Alaw, 20), telegram(20));
    let mut bench = Bench::new(pbx, user);
    bench.advance(MS * 500);
    bench.bridge.remove_leg(bench.now, TELEGRAM);
    bench.drain();
    let count = bench.sent.len();
    bench.say(
        SIP,
        tone(pbx, 20, 425.0, Duration::from_secs(1)),
        steady(20),
    );
    bench.advance(Duration::from_secs(2));
    assert_eq!((bench.sent.len(), bench.timeout), (count, None));
}
