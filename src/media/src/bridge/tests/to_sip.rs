//! From Telegram to SIP: by our own clock.

use super::*;

const LENGTH: Duration = Duration::from_secs(4);

fn call(frame: usize, ptime: u64, network: impl Fn(usize) -> Vec<Duration>) -> Bench {
    let user = telegram(20);
    let mut bench = Bench::new(sip(Codec::Alaw, ptime), user);
    bench.advance(MS * 207);
    bench.say(TELEGRAM, tone(user, frame, 425.0, LENGTH), network);
    bench.advance(LENGTH + MS * 500);
    bench
}

/// What is heard after the start, before the end.
fn middle(bench: &Bench) -> Vec<i16> {
    let heard = bench.hear(SIP);
    heard[8 * 400..8 * 4000].to_vec()
}

/// The longest and shortest time between two packets to SIP, in ms.
fn spacing(bench: &Bench) -> (u128, u128) {
    let times: Vec<Instant> = bench
        .sent
        .iter()
        .filter(|(_, to, _)| *to == SIP)
        .map(|(at, _, _)| *at)
        .collect();
    let gaps = times.windows(2).map(|two| (two[1] - two[0]).as_millis());
    (gaps.clone().min().unwrap(), gaps.max().unwrap())
}

/// The delay from arrival to sending of the first sound, in ms.
fn delay(bench: &Bench) -> u128 {
    let silence = [0xd5; 160];
    let first = bench
        .sent
        .iter()
        .find(|(_, to, packet)| *to == SIP && packet.payload[..] != silence)
        .unwrap();
    (first.0 - bench.began).as_millis() - 207
}

#[test]
fn packets_leave_every_20_ms_from_the_join_on() {
    let bench = call(20, 20, steady(20));
    let packets = bench.to(SIP);
    assert!(
        packets[0].payload.iter().all(|octet| *octet == 0xd5),
        "silence first"
    );
    assert!(
        packets
            .iter()
            .all(|packet| packet.payload_type == 8 && packet.payload.len() == 160)
    );
    assert!(continuous(&packets, 160));
    let (least, most) = spacing(&bench);
    assert!(least >= 9 && most <= 30, "{least} {most}");
    assert_eq!(delay(&bench), 10);
}

#[test]
fn a_tone_stays_a_tone_whatever_the_frames() {
    for frame in [10, 20, 40, 60] {
        for ptime in [10, 20, 30, 40, 60] {
            let bench = call(frame, ptime, steady(u32::try_from(frame).unwrap()));
            assert!(
                continuous(&bench.to(SIP), u32::try_from(ptime).unwrap() * 8),
                "{frame} to {ptime}"
            );
            let stats = bench.stats(TELEGRAM);
            assert_eq!(
                (stats.lost, stats.late, stats.discarded),
                (0, 0, 0),
                "{frame} to {ptime}"
            );
            assert!(
                stats.concealed <= MS * 200,
                "only the end: {frame} to {ptime}: {stats:?}"
            );
            let clean = clean(&middle(&bench), 425.0);
            assert!(clean > 0.95, "{frame} to {ptime}: {clean}");
        }
    }
}

#[test]
fn loss_is_repaired_and_counted() {
    let bench = call(60, 20, |n| if n % 10 == 5 { vec![] } else { steady(60)(n) });
    let stats = bench.stats(TELEGRAM);
    assert_eq!(stats.lost, 6, "the last one nobody can miss");
    assert_eq!(stats.gaps, 6);
    assert!(bench.stats(SIP).transcoded > 150);
    assert_eq!(stats.transcoded, 0, "the phone said nothing");
    assert!(continuous(&bench.to(SIP), 160));
    let middle = middle(&bench);
    assert!(clean(&middle, 425.0) > 0.7, "{}", clean(&middle, 425.0));
    let loud = |window: &[i16]| window.iter().any(|sample| sample.unsigned_abs() > 1000);
    assert!(middle.chunks_exact(400).all(loud), "no holes");
}

#[test]
fn jitter_and_reordering_are_smoothed() {
    // 0 to 50 ms; neighbours overtake each other.
    let bench = call(20, 20, |n| {
        vec![MS * (20 * u32::try_from(n).unwrap() + random(n, 50))]
    });
    let stats = bench.stats(TELEGRAM);
    assert!(stats.lost <= 5, "{stats:?}");
    assert!(stats.jitter > MS * 8, "{stats:?}");
    let heard = bench.hear(SIP);
    let late = clean(&heard[8 * 2000..8 * 4000], 425.0);
    assert!(late > 0.8, "{late} {stats:?}");
}

#[test]
fn duplicates_and_padding_change_nothing() {
    let user = telegram(20);
    let mut bench = Bench::new(sip(Codec::Alaw, 20), user);
    let mut stream = tone(user, 20, 425.0, LENGTH);
    let mut number = 0;
    let mut padded = Vec::new();
    for mut packet in stream.drain(..) {
        number += 1;
        packet.sequence = number;
        let probe = RtpIn {
            sequence: number + 1,
            payload: Bytes::new(),
            ..packet.clone()
        };
        padded.push(packet);
        if number < 60 {
            number += 1;
            padded.push(probe);
        }
    }
    let audio: Vec<usize> = padded
        .iter()
        .scan(0, |count, packet| {
            *count += usize::from(!packet.payload.is_empty());
            Some(*count)
        })
        .collect();
    bench.say(TELEGRAM, padded, |n| {
        vec![MS * (20 * u32::try_from(audio[n]).unwrap()); 2]
    });
    bench.advance(LENGTH);
    let stats = bench.stats(TELEGRAM);
    assert_eq!((stats.lost, stats.late), (0, 0));
    assert_eq!(stats.duplicate, stats.received / 2);
    assert_eq!(stats.concealed, Duration::ZERO);
    assert!(clean(&bench.hear(SIP)[8 * 400..8 * 3800], 425.0) > 0.95);
}

#[test]
fn mute_is_silence_and_the_stream_never_stops() {
    let user = telegram(20);
    let mut bench = Bench::new(sip(Codec::Alaw, 20), user);
    let mut stream = tone(user, 60, 425.0, Duration::from_secs(4));
    for packet in &mut stream[33..] {
        packet.timestamp += 3_000 * 48;
    }
    bench.say(TELEGRAM, stream, |n| {
        vec![MS * (60 * u32::try_from(n).unwrap() + if n < 33 { 0 } else { 3000 })]
    });
    bench.advance(Duration::from_secs(7));
    assert!(continuous(&bench.to(SIP), 160));
    assert!(bench.to(SIP).len() >= 349);
    let heard = bench.hear(SIP);
    assert!(
        heard[8 * 2200..8 * 4900]
            .iter()
            .all(|sample| sample.unsigned_abs() <= 8),
        "silence while muted"
    );
    assert!(
        clean(&heard[8 * 5100..8 * 6800], 425.0) > 0.95,
        "and sound again"
    );
    assert!(bench.stats(TELEGRAM).concealed <= MS * 200);
}

#[test]
fn a_drifting_sender_neither_drains_nor_fills_the_buffer() {
    // 0.5 % fast and slow, ten times what sound cards do.
    for step in [19_900, 20_100] {
        let user = telegram(20);
        let mut bench = Bench::new(sip(Codec::Alaw, 20), user);
        bench.say(
            TELEGRAM,
            tone(user, 20, 425.0, Duration::from_secs(60)),
            |n| vec![Duration::from_micros(u64::from(step as u32) * n as u64)],
        );
        let mut deepest = Duration::ZERO;
        for _ in 0..580 {
            bench.advance(MS * 100);
            deepest = deepest.max(bench.stats(TELEGRAM).depth);
        }
        let stats = bench.stats(TELEGRAM);
        assert!(deepest <= MS * 80, "{step}: {deepest:?}");
        assert_eq!(
            (stats.lost, stats.late, stats.discarded),
            (0, 0, 0),
            "{step}"
        );
        assert!(continuous(&bench.to(SIP), 160));
        assert!(
            clean(&bench.hear(SIP)[8 * 400..8 * 57_000], 425.0) > 0.85,
            "{step} {stats:?}"
        );
    }
}

#[test]
fn a_burst_after_an_outage_is_bounded_and_caught_up() {
    // The network holds everything back from 1.0 s to 1.4 s.
    let user = telegram(20);
    let mut bench = Bench::new(sip(Codec::Alaw, 20), user);
    bench.say(
        TELEGRAM,
        tone(user, 20, 425.0, Duration::from_secs(20)),
        |n| {
            let due = 20 * u32::try_from(n).unwrap();
            vec![
                MS * if (1000..1400).contains(&due) {
                    1400
                } else {
                    due
                },
            ]
        },
    );
    bench.advance(MS * 1450);
    assert!(bench.stats(TELEGRAM).depth > MS * 200);
    bench.advance(MS * 10_000);
    let stats = bench.stats(TELEGRAM);
    assert!(stats.depth <= MS * 80, "{stats:?}");
    assert!(stats.squeezed > MS * 100, "{stats:?}");
    assert!(clean(&bench.hear(SIP)[8 * 2000..8 * 11_000], 425.0) > 0.8);
}

#[test]
fn a_flood_is_cut_at_the_bound() {
    let user = telegram(20);
    let mut bench = Bench::new(sip(Codec::Alaw, 20), user);
    bench.say(
        TELEGRAM,
        tone(user, 60, 425.0, Duration::from_secs(6)),
        |_| vec![MS],
    );
    bench.advance(MS * 5);
    let stats = bench.stats(TELEGRAM);
    assert!(stats.depth <= MS * 500, "{stats:?}");
    assert!(stats.discarded > 50);
}

#[test]
fn a_process_that_stood_still_skips_instead_of_bursting() {
    let user = telegram(20);
    let mut bench = Bench::new(sip(Codec::Alaw, 20), user);
    bench.say(
        TELEGRAM,
        tone(user, 20, 425.0, Duration::from_secs(4)),
        steady(20),
    );
    bench.advance(Duration::from_secs(1));
    let before = bench.to(SIP).len();
    // Nobody calls for 330 ms, then the timer comes first.
    bench.now += MS * 330;
    bench.bridge.handle_timeout(bench.now);
    bench.drain();
    assert_eq!(bench.to(SIP).len() - before, 1);
    let packets = bench.to(SIP);
    let jump = packets[before]
        .timestamp
        .wrapping_sub(packets[before - 1].timestamp);
    assert!((300 * 8..=340 * 8).contains(&jump), "{jump}");
    bench.advance(Duration::from_secs(2));
    assert!(bench.stats(SIP).skipped >= MS * 300);
    assert!(continuous(&bench.to(SIP)[before..], 160));
}

#[test]
fn two_laws_are_joined_as_well() {
    let (a, b) = (sip(Codec::Alaw, 20), sip(Codec::Mulaw, 20));
    let mut bench = Bench::new(a, b);
    bench.say(SIP, tone(a, 20, 425.0, LENGTH), steady(20));
    bench.advance(LENGTH);
    assert!(
        bench
            .to(TELEGRAM)
            .iter()
            .all(|packet| packet.payload_type == 0 && packet.payload.len() == 160)
    );
    assert!(clean(&bench.hear(TELEGRAM)[800..8 * 3900], 425.0) > 0.99);
}
