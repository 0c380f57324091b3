//! Calls in virtual time: talkers of both kinds, a network between, and an ear at the far end.

mod keys;
mod own;
mod pauses;
mod to_sip;
mod to_telegram;
mod wide;

use std::collections::BTreeMap;

use bytes::Bytes;
use model::{Codec, LegKind};

use super::*;
use crate::codec::{Decoder, Encoder};
use crate::pcm::Pcm;
use crate::tests::{sine, start, tone_share};
use crate::timeline::rescaled;

const SIP: LegId = LegId(1);
const TELEGRAM: LegId = LegId(2);
const MS: Duration = Duration::from_millis(1);

fn sip(codec: Codec, ptime: u64) -> LegAudio {
    let payload_type = codec.static_payload_type().unwrap_or(107);
    LegAudio {
        codec,
        payload_type,
        dtmf_payload_type: Some(101),
        received: None,
        dtmf_clock: codec.clock_rate(),
        send_ptime: MS * u32::try_from(ptime).unwrap(),
        kind: LegKind::Sip,
    }
}

fn telegram(frame: u64) -> LegAudio {
    LegAudio {
        codec: Codec::Opus,
        payload_type: 111,
        dtmf_payload_type: None,
        received: None,
        dtmf_clock: 48_000,
        send_ptime: MS * u32::try_from(frame).unwrap(),
        kind: LegKind::Telegram,
    }
}

/// A bridge with a SIP leg and a Telegram leg.
struct Bench {
    bridge: Bridge,
    began: Instant,
    now: Instant,
    timeout: Option<Instant>,
    sent: Vec<(Instant, LegId, RtpOut)>,
    events: Vec<BridgeEvent>,
    /// Packets on their way to the bridge.
    coming: BTreeMap<(Instant, usize), (LegId, RtpIn)>,
}

impl Bench {
    fn new(sip: LegAudio, telegram: LegAudio) -> Self {
        let mut bench = Self::apart(sip, telegram);
        bench.bridge.connect(bench.now, SIP, TELEGRAM).unwrap();
        bench.drain();
        bench
    }

    /// The legs are there, but not joined.
    fn apart(sip: LegAudio, telegram: LegAudio) -> Self {
        let now = start();
        let mut bridge = Bridge::new(now, BridgeConfig::default(), 5);
        bridge.add_leg(now, SIP, sip).unwrap();
        bridge.add_leg(now, TELEGRAM, telegram).unwrap();
        let (sent, events, coming) = Default::default();
        let mut bench = Self {
            bridge,
            began: now,
            now,
            timeout: None,
            sent,
            events,
            coming,
        };
        bench.drain();
        bench
    }

    fn drain(&mut self) {
        loop {
            match self.bridge.poll_output() {
                BridgeOutput::Rtp { leg, packet } => self.sent.push((self.now, leg, packet)),
                BridgeOutput::Event(event) => self.events.push(event),
                BridgeOutput::Timeout(at) => {
                    self.timeout = at;
                    return;
                }
            }
        }
    }

    fn advance(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let packet = self.coming.keys().next().map(|(at, _)| *at);
            let Some(at) = [packet, self.timeout]
                .into_iter()
                .flatten()
                .min()
                .filter(|at| *at <= end)
            else {
                break;
            };
            self.now = at.max(self.now);
            if packet == Some(at) {
                let (_, (leg, packet)) = self.coming.pop_first().unwrap();
                self.bridge.handle_rtp(self.now, leg, &packet);
            } else {
                self.bridge.handle_timeout(self.now);
            }
            self.drain();
            assert!(self.sent.len() < 1_000_000, "no end of packets");
        }
        self.now = end;
    }

    /// Puts a stream on the wire; `network` says when each packet arrives, if at all, measured from now.
    fn say(&mut self, leg: LegId, stream: Vec<RtpIn>, network: impl Fn(usize) -> Vec<Duration>) {
        for (n, packet) in stream.into_iter().enumerate() {
            for delay in network(n) {
                let key = (self.now + delay, self.coming.len() + 1_000_000);
                self.coming.insert(key, (leg, packet.clone()));
            }
        }
    }

    fn to(&self, leg: LegId) -> Vec<&RtpOut> {
        self.sent
            .iter()
            .filter(|(_, to, _)| *to == leg)
            .map(|(_, _, packet)| packet)
            .collect()
    }

    /// What the leg hears at 8 kHz, its packets placed by their timestamps.
    fn hear(&self, leg: LegId) -> Vec<i16> {
        self.hear_at(leg, 8000)
    }

    fn hear_at(&self, leg: LegId, rate: u32) -> Vec<i16> {
        let audio = *self
            .bridge
            .legs
            .iter()
            .find(|known| known.id == leg)
            .unwrap()
            .outgoing
            .audio();
        let mut decoder = Decoder::new(audio.codec, rate).unwrap();
        let (mut pcm, mut heard) = (Pcm::default(), Vec::new());
        let packets = self.to(leg);
        let first = packets.first().map_or(0, |packet| packet.timestamp);
        for packet in packets
            .iter()
            .filter(|packet| packet.payload_type == audio.payload_type)
        {
            let at = packet.timestamp.wrapping_sub(first) as usize;
            heard.resize(rescaled(at, audio.codec.clock_rate(), rate), 0);
            decoder.decode(&packet.payload, &mut pcm);
            heard.extend_from_slice(pcm.all());
            pcm.clear();
        }
        heard
    }

    fn stats(&self, leg: LegId) -> LegStats {
        self.bridge.stats(leg).unwrap()
    }
}

/// A tone in packets of `ptime` ms, sequence and timestamp from 1000 on.
fn tone(audio: LegAudio, ptime: usize, hertz: f32, length: Duration) -> Vec<RtpIn> {
    let rate = audio.codec.sample_rate();
    let frame = rate as usize / 1000 * ptime;
    let ticks = audio.codec.clock_rate() / 1000 * u32::try_from(ptime).unwrap();
    let mut encoder = Encoder::new(audio.codec, rate).unwrap();
    let mut payload = Vec::new();
    sine(rate, hertz, frame * (length.as_millis() as usize / ptime))
        .chunks(frame)
        .zip(1000_u32..)
        .map(|(samples, n)| {
            encoder.encode(samples, &mut payload);
            RtpIn {
                payload_type: audio.payload_type,
                sequence: u64::from(n),
                timestamp: 1000 + (n - 1000) * ticks,
                marker: n == 1000,
                payload: Bytes::copy_from_slice(&payload),
            }
        })
        .collect()
}

/// Every packet `ptime` ms after the other.
fn steady(ptime: u32) -> impl Fn(usize) -> Vec<Duration> {
    move |n| vec![MS * (ptime * u32::try_from(n).unwrap())]
}

/// Share of 100 ms windows that are the tone and nothing else.
fn clean(heard: &[i16], hertz: f32) -> f32 {
    let windows = heard.chunks_exact(800);
    let good = windows
        .clone()
        .filter(|window| tone_share(window, 8000, hertz) > 0.9)
        .count();
    good as f32 / windows.len().max(1) as f32
}

/// Whether timestamps follow each other without gap or overlap.
fn continuous(packets: &[&RtpOut], step: u32) -> bool {
    packets
        .windows(2)
        .all(|two| two[1].timestamp.wrapping_sub(two[0].timestamp) == step)
}

/// Numbers that look random, the same ones every time.
fn random(n: usize, below: u32) -> u32 {
    let mut value = u32::try_from(n).unwrap().wrapping_mul(2_654_435_761) ^ 0x9e37_79b9;
    value ^= value >> 15;
    value = value.wrapping_mul(0x85eb_ca6b);
    (value ^ value >> 13) % below
}

#[test]
fn legs_that_are_not_there_are_refused_or_ignored() {
    let mut bench = Bench::apart(sip(Codec::Alaw, 20), telegram(20));
    let (now, nobody) = (bench.now, LegId(9));
    assert!(matches!(
        bench.bridge.connect(now, SIP, nobody),
        Err(BridgeError::UnknownLeg(_))
    ));
    assert!(matches!(
        bench.bridge.connect(now, SIP, SIP),
        Err(BridgeError::SameLeg(_))
    ));
    assert!(
        bench
            .bridge
            .tone(now, nobody, Some(Tone::Ringback))
            .is_err()
    );
    assert_eq!(bench.bridge.send_dtmf(now, nobody, "1"), 0);
    bench.bridge.hold(now, nobody, true);
    bench.bridge.remove_leg(now, nobody);
    assert!(bench.bridge.stats(nobody).is_none());
    for n in 0..30 {
        let added = bench.bridge.add_leg(now, LegId(n), telegram(20));
        assert_eq!(added.is_ok(), n < 16, "{n}");
    }
}

#[test]
fn first_audio_is_told_once_a_leg() {
    let (pbx, user) = (sip(Codec::Alaw, 20), telegram(20));
    let mut bench = Bench::new(pbx, user);
    bench.say(SIP, tone(pbx, 20, 400.0, MS * 200), steady(20));
    bench.say(TELEGRAM, tone(user, 20, 400.0, MS * 200), steady(20));
    bench.advance(Duration::from_secs(1));
    let first = |leg| BridgeEvent::FirstAudio { leg };
    assert_eq!(bench.events, [first(SIP), first(TELEGRAM)]);
    assert!(bench.stats(SIP).first_audio.is_some());
}

#[test]
fn random_packets_stay_bounded() {
    for codec in Codec::ALL {
        let pbx = sip(codec, 20);
        let mut bench = Bench::new(pbx, telegram(60));
        for n in 0..40_000 {
            let number = u64::from(random(n, 4_000));
            let length = random(n + 7, 400) as usize;
            let packet = RtpIn {
                payload_type: [pbx.payload_type, 13, 111, 101][random(n + 1, 4) as usize],
                sequence: if n % 100 == 0 {
                    number * 1_000_000_007
                } else {
                    n as u64 / 2 + number % 90
                },
                timestamp: if n % 3 == 0 {
                    random(n + 2, u32::MAX)
                } else {
                    u32::try_from(n * 160).unwrap()
                },
                marker: n % 2 == 0,
                payload: (0..length)
                    .map(|at| u8::try_from(random(n + at, 256)).unwrap())
                    .collect(),
            };
            bench
                .bridge
                .handle_rtp(bench.now, [SIP, TELEGRAM][n % 2], &packet);
            bench.drain();
            bench.advance(MS * random(n + 3, 4));
            let (up, down) = (bench.stats(SIP).depth, bench.stats(TELEGRAM).depth);
            let most = if pbx.codec == Codec::Opus {
                MS * 6000
            } else {
                MS * 600
            };
            assert!(up <= MS * 12_500 && down <= most, "{up:?} {down:?}");
            bench.sent.clear();
        }
    }
}
