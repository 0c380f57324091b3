//! Codecs with more than the telephone's band: G.722 at 16 kHz, L16 at 48 kHz.

use super::*;

const LENGTH: Duration = Duration::from_secs(4);
/// Codec, packet time, a tone, and what its packets hold.
const WIDE: [(Codec, u64, f32, usize); 3] = [
    (Codec::G722, 20, 6000.0, 160),
    (Codec::G722, 60, 400.0, 480),
    (Codec::L16, 10, 7000.0, 960),
];

/// Share of 100 ms windows at the codec's rate that are the tone and nothing else.
fn clean_at(heard: &[i16], rate: u32, hertz: f32) -> f32 {
    let windows = heard.chunks_exact(rate as usize / 10);
    let good = |window: &&[i16]| tone_share(window, rate, hertz) > 0.9;
    windows.clone().filter(good).count() as f32 / windows.len().max(1) as f32
}

fn middle(heard: &[i16], rate: u32) -> &[i16] {
    let ms = rate as usize / 1000;
    &heard[ms * 600..ms * 3800]
}

#[test]
fn the_whole_band_comes_through_both_ways() {
    for (codec, ptime, hertz, octets) in WIDE {
        let (pbx, user) = (sip(codec, ptime), telegram(20));
        let mut bench = Bench::new(pbx, user);
        let step = usize::try_from(ptime).unwrap();
        let wire = u32::try_from(ptime).unwrap();
        bench.say(SIP, tone(pbx, step, hertz, LENGTH), steady(wire));
        bench.say(TELEGRAM, tone(user, 20, hertz, LENGTH), steady(20));
        bench.advance(LENGTH + MS * 500);
        let rate = codec.sample_rate();
        let packets = bench.to(SIP);
        assert!(packets.iter().all(|packet| packet.payload.len() == octets));
        assert!(continuous(&packets, codec.clock_rate() / 1000 * wire));
        assert!(continuous(&bench.to(TELEGRAM), 960));
        for leg in [SIP, TELEGRAM] {
            let heard = bench.hear_at(leg, rate);
            let clean = clean_at(middle(&heard, rate), rate, hertz);
            assert!(clean > 0.95, "{codec} to {leg}: {clean}");
            let stats = bench.stats(leg);
            assert_eq!((stats.lost, stats.broken), (0, 0), "{codec} {stats:?}");
        }
    }
}

#[test]
fn loss_is_repaired_towards_either_side() {
    for (codec, ptime, ..) in WIDE {
        let (pbx, user) = (sip(codec, ptime), telegram(20));
        let mut bench = Bench::new(pbx, user);
        let step = usize::try_from(ptime).unwrap();
        let wire = u32::try_from(ptime).unwrap();
        let lossy = |ptime: u32| {
            move |n: usize| {
                if n % 40 == 7 {
                    vec![]
                } else {
                    steady(ptime)(n)
                }
            }
        };
        bench.say(SIP, tone(pbx, step, 425.0, LENGTH), lossy(wire));
        bench.say(TELEGRAM, tone(user, 20, 425.0, LENGTH), lossy(20));
        bench.advance(LENGTH + MS * 500);
        let rate = codec.sample_rate();
        for leg in [SIP, TELEGRAM] {
            let stats = bench.stats(leg);
            assert!(stats.lost > 0 && stats.concealed > MS * 50, "{stats:?}");
            let heard = bench.hear_at(leg, rate);
            let ms = rate as usize / 1000;
            let loud = |window: &[i16]| window.iter().any(|sample| sample.unsigned_abs() > 1000);
            let middle = middle(&heard, rate);
            assert!(middle.chunks_exact(ms * 40).all(loud), "{codec} to {leg}");
            let clean = clean_at(middle, rate, 425.0);
            assert!(clean > 0.7, "{codec} to {leg}: {clean}");
        }
    }
}

#[test]
fn a_tone_and_silence_before_the_call_and_the_voice_after_it() {
    for (codec, ptime, ..) in WIDE {
        let (pbx, user) = (sip(codec, ptime), telegram(20));
        let mut bench = Bench::apart(pbx, user);
        let now = bench.now;
        bench.bridge.tone(now, SIP, Some(Tone::Ringback)).unwrap();
        bench.drain();
        bench.advance(MS * 500);
        let now = bench.now;
        bench.bridge.connect(now, SIP, TELEGRAM).unwrap();
        bench.drain();
        bench.advance(MS * 500);
        bench.say(TELEGRAM, tone(user, 20, 900.0, LENGTH), steady(20));
        bench.advance(MS * 1000);
        // A tone in the middle of the call changes nothing for what follows.
        let now = bench.now;
        bench.bridge.tone(now, SIP, Some(Tone::Busy)).unwrap();
        bench.advance(MS * 400);
        let now = bench.now;
        bench.bridge.tone(now, SIP, None).unwrap();
        bench.advance(MS * 1500);
        let rate = codec.sample_rate();
        let heard = bench.hear_at(SIP, rate);
        let ms = rate as usize / 1000;
        let part = |from: usize, to: usize| &heard[ms * from..ms * to];
        assert!(clean_at(part(100, 500), rate, 425.0) > 0.95, "{codec}");
        let quiet = |sample: &i16| sample.unsigned_abs() < 100;
        assert!(part(600, 900).iter().all(quiet), "{codec}");
        assert!(clean_at(part(1200, 1900), rate, 900.0) > 0.95, "{codec}");
        assert!(clean_at(part(2100, 2300), rate, 425.0) > 0.95, "{codec}");
        assert!(clean_at(part(2500, 3500), rate, 900.0) > 0.95, "{codec}");
    }
}

#[test]
fn two_legs_of_g722_pass_their_packets_and_g711_hears_the_lower_band() {
    for (other, hertz) in [(Codec::G722, 6000.0), (Codec::Alaw, 900.0)] {
        let (a, b) = (sip(Codec::G722, 20), sip(other, 20));
        let mut bench = Bench::new(a, b);
        bench.say(SIP, tone(a, 20, hertz, LENGTH), steady(20));
        bench.say(TELEGRAM, tone(b, 20, hertz, LENGTH), steady(20));
        bench.advance(LENGTH + MS * 500);
        let rate = other.sample_rate();
        for leg in [SIP, TELEGRAM] {
            let heard = bench.hear_at(leg, rate);
            let clean = clean_at(middle(&heard, rate), rate, hertz);
            assert!(clean > 0.95, "{other} to {leg}: {clean}");
        }
    }
}
