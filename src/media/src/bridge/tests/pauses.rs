//! What stalls, pauses that are counted oddly, and hold do to time and figures.

use super::*;

/// A device that counts samples where RFC 3551 4.5.2 counts 8000 ticks a second.
#[test]
fn timestamps_of_g722_may_count_samples() {
    let pbx = sip(Codec::G722, 20);
    let mut bench = Bench::new(pbx, telegram(20));
    let mut stream = tone(pbx, 20, 425.0, Duration::from_secs(3));
    for (n, packet) in stream.iter_mut().enumerate() {
        packet.timestamp = 1000 + u32::try_from(n).unwrap() * 320;
    }
    bench.say(SIP, stream, steady(20));
    bench.advance(MS * 3500);
    let packets = bench.to(TELEGRAM);
    let last = packets.last().unwrap().timestamp;
    let span = last.wrapping_sub(packets[0].timestamp) / 48;
    assert!(span < 3600, "{span} ms");
}

/// Nobody misses what nobody is to hear.
#[test]
fn hold_is_no_loss_for_the_other_side() {
    let user = telegram(20);
    let mut bench = Bench::new(sip(Codec::Alaw, 20), user);
    let minute = Duration::from_secs(60);
    bench.say(TELEGRAM, tone(user, 20, 425.0, minute), steady(20));
    bench.advance(minute / 6);
    for (held, lasts) in [(true, minute * 4 / 6), (false, minute / 6)] {
        bench.bridge.hold(bench.now, SIP, held);
        bench.drain();
        bench.advance(lasts);
    }
    let stats = bench.stats(TELEGRAM);
    assert!(stats.discarded < 50, "{stats:?}");
    let mos = stats.mos(Codec::Opus, None, MS * 20).unwrap();
    assert!(mos > 4.0, "{mos}");
}

/// The network of a PBX stands still again and again; what it held back comes at once.
#[test]
fn stalls_do_not_move_the_time_of_what_passes_untouched() {
    let (a, b) = (sip(Codec::Alaw, 20), sip(Codec::Alaw, 20));
    let mut bench = Bench::new(a, b);
    let minute = Duration::from_secs(60);
    bench.say(SIP, tone(a, 20, 425.0, minute), |n| {
        let due = 20 * u32::try_from(n).unwrap();
        let part = due % 2000;
        let stall = (1000..1400).contains(&part);
        vec![MS * if stall { due - part + 1400 } else { due }]
    });
    bench.advance(minute);
    let sent = bench.sent.iter().filter(|(_, to, _)| *to == TELEGRAM);
    let sent: Vec<_> = sent.collect();
    let (first, last) = (sent[0], sent[sent.len() - 1]);
    let wall = (last.0 - first.0).as_millis();
    let span = u128::from(last.2.timestamp.wrapping_sub(first.2.timestamp) / 8);
    assert!(span < wall + 500, "{span} ms in {wall}");
}

/// A sender that does not count its pauses loses nothing of what follows them.
#[test]
fn a_pause_that_is_not_counted_is_no_stall() {
    let (a, b) = (sip(Codec::Alaw, 20), sip(Codec::Alaw, 20));
    let mut bench = Bench::new(a, b);
    bench.say(SIP, tone(a, 20, 425.0, Duration::from_secs(30)), |n| {
        let due = 20 * u32::try_from(n).unwrap();
        let late = u32::try_from(n % 9).unwrap();
        vec![MS * (due + due / 2000 * 500 + late)]
    });
    bench.advance(Duration::from_secs(60));
    assert_eq!(bench.stats(SIP).discarded, 0);
}

/// A PBX that suppresses silence and counts its pauses, as it should: silence of ours stands in for it, and time goes on.
#[test]
fn pauses_that_are_counted_do_not_delay_what_passes_untouched() {
    let (a, b) = (sip(Codec::Alaw, 20), sip(Codec::Alaw, 20));
    let mut bench = Bench::new(a, b);
    let (mut stream, mut times) = (Vec::new(), Vec::new());
    for (n, packet) in (0..).zip(tone(a, 20, 425.0, Duration::from_secs(60))) {
        if n % 60 < 30 {
            let sequence = stream.len() as u64;
            stream.push(RtpIn { sequence, ..packet });
            times.push(MS * (20 * n + random(n as usize, 10)));
        }
    }
    bench.say(SIP, stream, |n| vec![times[n]]);
    bench.advance(Duration::from_secs(60));
    let sent = bench.sent.iter().filter(|(_, to, _)| *to == TELEGRAM);
    let sent: Vec<_> = sent.collect();
    let (first, last) = (sent[0], sent[sent.len() - 1]);
    let wall = (last.0 - first.0).as_millis();
    let span = u128::from(last.2.timestamp.wrapping_sub(first.2.timestamp) / 8);
    assert!(span.abs_diff(wall) < 150, "{span} ms in {wall}");
}
