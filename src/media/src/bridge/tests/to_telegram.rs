//! From SIP to Telegram: as it comes, without delay.

use super::*;

const LENGTH: Duration = Duration::from_secs(3);

fn call(ptime: usize, frame: u64, network: impl Fn(usize) -> Vec<Duration>) -> Bench {
    let pbx = sip(Codec::Alaw, 20);
    let mut bench = Bench::new(pbx, telegram(frame));
    bench.say(SIP, tone(pbx, ptime, 425.0, LENGTH), network);
    bench.advance(LENGTH + MS * 500);
    bench
}

#[test]
fn a_packet_in_order_leaves_at_once() {
    let bench = call(20, 20, steady(20));
    let left: Vec<Instant> = bench
        .sent
        .iter()
        .filter(|(_, to, _)| *to == TELEGRAM)
        .map(|(at, _, _)| *at)
        .collect();
    let came: Vec<Instant> = (0..150).map(|n| bench.began + MS * 20 * n).collect();
    assert_eq!(left, came);
}

#[test]
fn a_tone_stays_a_tone_whatever_the_packet_times() {
    for ptime in [10, 20, 30, 40, 60] {
        for frame in [20, 40, 60] {
            let bench = call(ptime, frame, steady(u32::try_from(ptime).unwrap()));
            let packets = bench.to(TELEGRAM);
            assert!(packets.iter().all(|packet| packet.payload_type == 111));
            assert!(
                continuous(&packets, u32::try_from(frame).unwrap() * 48),
                "{ptime} to {frame}"
            );
            assert!(
                packets.len() as u64 >= 3000 / frame - 1,
                "{ptime} to {frame}"
            );
            assert_eq!(packets.iter().filter(|packet| packet.marker).count(), 1);
            assert!(
                clean(&bench.hear(TELEGRAM)[800..], 425.0) > 0.99,
                "{ptime} to {frame}"
            );
        }
    }
}

#[test]
fn packets_out_of_order_are_put_in_order() {
    // Every fifth packet takes 8 ms longer than the one behind it.
    let bench = call(20, 20, |n| {
        vec![MS * (20 * u32::try_from(n).unwrap() + if n % 5 == 2 { 28 } else { 0 })]
    });
    let stats = bench.stats(SIP);
    assert_eq!(
        (stats.lost, stats.late, stats.concealed),
        (0, 0, Duration::ZERO)
    );
    assert!(continuous(&bench.to(TELEGRAM), 960));
    assert!(clean(&bench.hear(TELEGRAM)[800..], 425.0) > 0.99);
}

#[test]
fn a_lost_packet_is_guessed_and_counted() {
    let bench = call(20, 20, |n| if n % 20 == 7 { vec![] } else { steady(20)(n) });
    let stats = bench.stats(SIP);
    assert_eq!((stats.lost, stats.late, stats.gaps), (8, 0, 8));
    assert!(stats.mos(Codec::Alaw, None, stats.depth).unwrap() < 4.0);
    assert_eq!(stats.concealed, MS * 160);
    assert!(continuous(&bench.to(TELEGRAM), 960));
    assert!(clean(&bench.hear(TELEGRAM)[800..], 425.0) > 0.9);
}

/// However long it is: what is not waited for any more is missing all the same.
#[test]
fn an_outage_is_a_loss_of_all_its_packets() {
    let user = telegram(20);
    for (from, to) in [
        (sip(Codec::Alaw, 20), user),
        (sip(Codec::Opus, 20), user),
        (sip(Codec::Alaw, 20), sip(Codec::Mulaw, 20)),
    ] {
        for outage in [40, 100, 400] {
            let mut bench = Bench::new(from, to);
            let stream = tone(from, 20, 425.0, Duration::from_secs(20));
            bench.say(SIP, stream, |n| {
                let lost = (100..100 + outage).contains(&n);
                if lost { vec![] } else { steady(20)(n) }
            });
            bench.advance(Duration::from_secs(21));
            let stats = bench.stats(SIP);
            let lost = u64::try_from(outage).unwrap();
            assert_eq!(
                (stats.lost, stats.gaps, stats.late),
                (lost, 1, 0),
                "{from:?}"
            );
            let mos = stats.mos(from.codec, None, MS * 20).unwrap();
            assert!(mos < 4.0, "{mos} after {outage} lost packets");
        }
    }
}

#[test]
fn a_packet_that_comes_after_its_time_is_late() {
    let bench = call(20, 20, |n| {
        vec![MS * (20 * u32::try_from(n).unwrap() + if n == 50 { 200 } else { 0 })]
    });
    let stats = bench.stats(SIP);
    assert_eq!((stats.lost, stats.late, stats.concealed), (1, 1, MS * 20));
    assert_eq!(bench.to(TELEGRAM).len(), 150);
}

#[test]
fn duplicates_are_heard_once() {
    let bench = call(20, 20, |n| vec![MS * (20 * u32::try_from(n).unwrap()); 2]);
    assert_eq!(
        (bench.stats(SIP).duplicate, bench.stats(SIP).received),
        (150, 300)
    );
    assert_eq!(bench.to(TELEGRAM).len(), 150);
}

#[test]
fn bad_networks_keep_the_stream_whole() {
    // 3 % loss, 0 to 40 ms of jitter.
    let bench = call(20, 20, |n| {
        let delay = MS * (20 * u32::try_from(n).unwrap() + random(n, 40));
        if random(n + 999, 100) < 3 {
            vec![]
        } else {
            vec![delay]
        }
    });
    let stats = bench.stats(SIP);
    assert!(stats.lost <= 8, "{stats:?}");
    assert!(continuous(&bench.to(TELEGRAM), 960));
    assert!(clean(&bench.hear(TELEGRAM)[800..], 425.0) > 0.8);
}

#[test]
fn a_pause_is_a_pause_and_time_goes_on() {
    let pbx = sip(Codec::Alaw, 20);
    // Once the sender counts time, once its timestamps stand still, once it starts over.
    for jump in [2_000 * 8, 0, 0x5000_0000_u32, 0xc000_0000] {
        let mut bench = Bench::new(pbx, telegram(20));
        let mut stream = tone(pbx, 20, 425.0, Duration::from_secs(2));
        for packet in &mut stream[50..] {
            packet.timestamp = packet.timestamp.wrapping_add(jump);
        }
        bench.say(SIP, stream, |n| {
            vec![MS * (20 * u32::try_from(n).unwrap() + if n < 50 { 0 } else { 2000 })]
        });
        bench.advance(Duration::from_secs(5));
        let packets = bench.to(TELEGRAM);
        assert_eq!(packets.len(), 100);
        let gap = packets[50].timestamp.wrapping_sub(packets[49].timestamp);
        assert_eq!(gap, 960 + 2_000 * 48, "{jump}");
        assert!(packets[50].marker);
        assert!(continuous(&packets[50..], 960));
    }
}

#[test]
fn a_sender_that_starts_over_does_not_tear_the_stream() {
    let pbx = sip(Codec::Alaw, 20);
    let mut bench = Bench::new(pbx, telegram(20));
    let mut stream = tone(pbx, 20, 425.0, Duration::from_secs(2));
    for packet in &mut stream[50..] {
        packet.timestamp = packet.timestamp.wrapping_add(0x9123_4567);
    }
    bench.say(SIP, stream, steady(20));
    bench.advance(Duration::from_secs(3));
    assert!(continuous(&bench.to(TELEGRAM), 960));
    assert!(clean(&bench.hear(TELEGRAM)[800..], 425.0) > 0.99);
}

#[test]
fn a_pause_in_the_middle_of_a_frame_completes_it() {
    let pbx = sip(Codec::Alaw, 20);
    let mut bench = Bench::new(pbx, telegram(60));
    bench.say(SIP, tone(pbx, 20, 425.0, MS * 80), steady(20));
    let mut more = tone(pbx, 20, 425.0, MS * 120);
    for packet in &mut more {
        packet.sequence += 4;
        packet.timestamp += 1080 * 8;
    }
    bench.say(SIP, more, |n| {
        vec![MS * (1080 + 20 * u32::try_from(n).unwrap())]
    });
    bench.advance(Duration::from_secs(2));
    let stamps: Vec<u32> = bench
        .to(TELEGRAM)
        .iter()
        .map(|packet| packet.timestamp)
        .collect();
    let steps: Vec<u32> = stamps
        .windows(2)
        .map(|two| two[1].wrapping_sub(two[0]) / 48)
        .collect();
    assert_eq!(steps, [60, 1020, 60]);
}

#[test]
fn huge_packets_and_foreign_types_are_not_decoded() {
    let pbx = sip(Codec::Alaw, 20);
    let mut bench = Bench::new(pbx, telegram(20));
    for (payload_type, length) in [(8, 2049), (0, 160), (96, 160)] {
        let payload = Bytes::from(vec![0; length]);
        let packet = RtpIn {
            payload_type,
            sequence: 1,
            timestamp: 1,
            marker: false,
            payload,
        };
        bench.bridge.handle_rtp(bench.now, SIP, &packet);
        bench.drain();
    }
    assert_eq!(bench.stats(SIP).ignored, 3);
    assert!(bench.to(TELEGRAM).is_empty());
}

#[test]
fn what_a_user_loses_is_sent_twice_while_it_may_be_lost_again() {
    let second = Duration::from_secs(1);
    let mut bench = Bench::new(sip(Codec::Alaw, 20), telegram(20));
    let mut minute = tone(sip(Codec::Alaw, 20), 20, 425.0, second * 60);
    let mut octets = |bench: &mut Bench| {
        bench.sent.clear();
        let next: Vec<RtpIn> = minute.drain(..150).collect();
        bench.say(SIP, next, steady(20));
        bench.advance(second * 3);
        let packets = bench.to(TELEGRAM);
        packets
            .iter()
            .map(|packet| packet.payload.len())
            .sum::<usize>()
            / packets.len()
    };
    let calm = octets(&mut bench);
    assert_eq!(bench.bridge.reported(bench.now, TELEGRAM, 0), None);
    assert_eq!(bench.bridge.reported(bench.now, TELEGRAM, 12), Some(12));
    let lossy = octets(&mut bench);
    assert!(lossy * 4 > calm * 5, "{lossy} octets a packet after {calm}");
    assert_eq!(bench.bridge.reported(bench.now, TELEGRAM, 0), None);
    // The PBX agrees on another codec: the encoder is another one, what it is told is not.
    let wide = sip(Codec::G722, 20);
    bench.bridge.set_audio(bench.now, SIP, wide).unwrap();
    bench
        .bridge
        .set_audio(bench.now, SIP, sip(Codec::Alaw, 20))
        .unwrap();
    assert!(octets(&mut bench) * 4 > calm * 5);
    assert_eq!(
        bench.bridge.reported(bench.now + second * 30, TELEGRAM, 0),
        Some(0)
    );
    let again = octets(&mut bench);
    assert!(
        again.abs_diff(calm) <= calm / 20,
        "{again} octets a packet, as {calm}"
    );
    assert_eq!(bench.bridge.reported(bench.now, LegId(9), 12), None);
}
