//! The recorded packets of an independent implementation (`testdata/README.md`), and both framings over lossy paths.
//!
//! Framing A is encoded again octet by octet. Of framing B that is so for what is encrypted; the text inside was packed by another
//! gzip, and the SCTP packets around it hold tags, sequence numbers and a cookie that their makers drew.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;

use super::acked::{Body, Message};
use super::*;
use crate::crypt::{Plane, ReplayWindow};
use crate::messages;
use crate::testing::{hex, start};

struct Recording {
    name: &'static str,
    key: CallKey,
    packets: Vec<Value>,
}

fn recording(name: &'static str, text: &str) -> Recording {
    let value: Value = serde_json::from_str(text).unwrap();
    let key = hex(value["call_key"].as_str().unwrap());
    Recording {
        name,
        key: CallKey::new(&key.try_into().unwrap()),
        packets: value["packets"].as_array().unwrap().clone(),
    }
}

macro_rules! recordings {
    ($($name:literal),*) => {
        [$(recording($name, include_str!(concat!("../../testdata/", $name)))),*]
    };
}

fn acked() -> [Recording; 3] {
    recordings!["v9-direct.json", "v8-loss.json", "v9-reflector.json"]
}

fn sctp() -> [Recording; 2] {
    recordings!["v13-direct.json", "v13-turn-loss.json"]
}

fn sender(packet: &Value) -> Role {
    match packet["from"].as_str().unwrap() {
        "caller" => Role::Caller,
        _ => Role::Callee,
    }
}

fn bytes(value: &Value) -> Vec<u8> {
    hex(value.as_str().unwrap())
}

fn lost(packet: &Value) -> bool {
    packet["lost"] == true
}

fn key() -> CallKey {
    CallKey::new(&std::array::from_fn(|i| u8::try_from(i % 251).unwrap()))
}

#[test]
fn recorded_acked_packets_decode_and_encode_to_the_same_bytes() {
    for recording in acked() {
        for packet in &recording.packets {
            let (role, sealed) = (sender(packet), bytes(&packet["hex"]));
            let plain = recording
                .key
                .open(Plane::Signalling, role, &sealed)
                .expect("opens");
            assert_eq!(plain, bytes(&packet["plain"]));
            assert_eq!(recording.key.seal(Plane::Signalling, role, &plain), sealed);
            assert_eq!(
                recording.key.open(Plane::Signalling, role.other(), &sealed),
                None,
                "wrong direction"
            );

            let messages = Message::read_all(&plain).expect("well-formed");
            let mut again = Vec::new();
            for message in &messages {
                message.write(&mut again);
            }
            assert_eq!(again, plain);
            let expected = packet["messages"].as_array().unwrap();
            assert_eq!(messages.len(), expected.len());
            for (message, expected) in messages.iter().zip(expected) {
                let counter = u64::from(message.seq & 0x3fff_ffff);
                assert_eq!(counter, expected["counter"].as_u64().unwrap());
                let kind = match &message.body {
                    Body::Empty => "empty",
                    Body::Ack => "ack",
                    Body::Json(text) => {
                        assert_eq!(text, expected["text"].as_str().unwrap().as_bytes());
                        "message"
                    }
                };
                assert_eq!(kind, expected["type"]);
            }
        }
    }
}

#[test]
fn recorded_acked_messages_are_delivered_once() {
    for recording in acked() {
        for role in [Role::Caller, Role::Callee] {
            let mut receiver = Acked::new(recording.key.clone(), role.other());
            let mut texts: BTreeMap<u64, String> = BTreeMap::new();
            let mut delivered = Vec::new();
            let arrived = |p: &&Value| sender(p) == role && !lost(p);
            for packet in recording.packets.iter().filter(arrived) {
                receiver.receive(&bytes(&packet["hex"]));
                for message in packet["messages"].as_array().unwrap() {
                    if message["type"] == "message" {
                        let text = message["text"].as_str().unwrap().to_owned();
                        texts.insert(message["counter"].as_u64().unwrap(), text);
                    }
                }
                while let Some(text) = receiver.poll_message() {
                    delivered.push(String::from_utf8(text).unwrap());
                }
            }
            assert_eq!(receiver.dropped(), Dropped::default(), "{}", recording.name);
            let mut expected: Vec<String> = texts.into_values().collect();
            if recording.name.contains("loss") {
                // A message can overtake a lost one; the content matters here.
                expected.sort();
                delivered.sort();
            }
            assert_eq!(delivered, expected, "{} {role:?}", recording.name);
        }
    }
}

/// The chunks of an SCTP packet whose checksum is right: (type, flags, value).
fn chunks(packet: &[u8]) -> Vec<(u8, u8, &[u8])> {
    let mut zeroed = packet.to_vec();
    zeroed[8..12].fill(0);
    let sum = u32::from_le_bytes(packet[8..12].try_into().unwrap());
    assert_eq!(crc32c(&zeroed), sum, "CRC32c");
    let (mut rest, mut list) = (&packet[12..], Vec::new());
    while rest.len() >= 4 {
        let length = usize::from(u16::from_be_bytes([rest[2], rest[3]]));
        list.push((rest[0], rest[1], &rest[4..length]));
        rest = &rest[length.next_multiple_of(4).min(rest.len())..];
    }
    list
}

fn crc32c(data: &[u8]) -> u32 {
    !data.iter().fold(!0u32, |mut crc, byte| {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
        }
        crc
    })
}

#[test]
fn recorded_sctp_messages_decode_and_encode_to_the_same_bytes() {
    for recording in sctp() {
        for role in [Role::Caller, Role::Callee] {
            let mut partial: BTreeMap<u32, (u8, Vec<u8>)> = BTreeMap::new(); // by TSN
            // What the last fragment completes, noted at the first sending, lost or not.
            let mut complete: BTreeMap<u32, Value> = BTreeMap::new();
            let mut window = ReplayWindow::default();
            let (mut count, mut largest) = (0, 0);
            for packet in recording.packets.iter().filter(|p| sender(p) == role) {
                let raw = bytes(&packet["hex"]);
                assert_eq!(raw[..4], [0x13, 0x88, 0x13, 0x88], "ports 5000/5000");
                let expected = packet["chunks"].as_array().unwrap();
                let found = chunks(&raw);
                assert_eq!(found.len(), expected.len());
                for ((kind, flags, value), expected) in found.into_iter().zip(expected) {
                    if kind != 0 {
                        continue;
                    }
                    let tsn = u32::from_be_bytes(value[..4].try_into().unwrap());
                    if expected["text"].is_string() {
                        complete.insert(tsn, expected.clone());
                    }
                    let body = (flags, value[12..].to_vec());
                    if lost(packet) || partial.insert(tsn, body).is_some() {
                        continue; // not received, or received before
                    }
                    let Some(expected) = complete.get(&tsn) else {
                        continue; // not the last fragment
                    };
                    let mut first = tsn;
                    while partial[&first].0 & 2 == 0 {
                        first = first.wrapping_sub(1); // up to the fragment with the B bit
                    }
                    let message: Vec<u8> =
                        (first..=tsn).flat_map(|t| partial[&t].1.clone()).collect();
                    let counter = check_message(&recording, role, &message, expected);
                    assert!(window.accept(counter), "each message once");
                    largest = largest.max(counter);
                    count += 1;
                }
            }
            assert!(
                count >= 3 && count == largest,
                "{}: none is missing",
                recording.name
            );
        }
    }
}

fn check_message(recording: &Recording, role: Role, message: &[u8], expected: &Value) -> u32 {
    let key = &recording.key;
    assert_eq!(message, bytes(&expected["encrypted"]));
    let plain = key.open(Plane::Signalling, role, message).expect("opens");
    assert_eq!(key.seal(Plane::Signalling, role, &plain), message);
    assert_eq!(key.open(Plane::Signalling, role.other(), message), None);
    let (counter, json) = sctp::unpack(key, role, message).expect("unpacks");
    assert_eq!(u64::from(counter), expected["counter"].as_u64().unwrap());
    assert_eq!(json, expected["text"].as_str().unwrap().as_bytes());
    // Another gzip may compress differently, so compare after a round trip.
    let ours = sctp::pack(key, role, counter, &json);
    assert_eq!(sctp::unpack(key, role, &ours), Some((counter, json)));
    counter
}

#[test]
fn recorded_texts_yield_their_fields() {
    let (mut setups, mut offers, mut usable, mut reflectors) = (0, 0, 0, 0);
    for recording in acked().into_iter().chain(sctp()) {
        let inner = |p: &Value| p["messages"].as_array().or(p["chunks"].as_array()).cloned();
        let all = recording.packets.iter().filter_map(inner).flatten();
        for text in all.filter_map(|m| m["text"].as_str().map(str::to_owned)) {
            match messages::parse(text.as_bytes()).expect(&text) {
                messages::Message::InitialSetup(setup) => {
                    assert_eq!(
                        (setup.fingerprint.len(), setup.hash.as_str()),
                        (32, "sha-256")
                    );
                    setups += 1;
                }
                messages::Message::Negotiate { audio, .. } => {
                    if let Some(audio) = audio {
                        assert_eq!(audio.opus, Some(111));
                        offers += 1;
                    }
                }
                messages::Message::Candidates(lines) => {
                    for line in lines {
                        let readable = str0m::Candidate::from_sdp_string(&line).is_ok();
                        assert_eq!(readable, !line.contains(".reflector"), "{line}");
                        usable += usize::from(readable);
                        reflectors += usize::from(!readable);
                    }
                }
                messages::Message::MediaState { .. } => {}
                messages::Message::Unknown => panic!("{text}"),
            }
        }
    }
    assert!(setups >= 10 && offers >= 10 && usable >= 10 && reflectors > 0);
}

#[test]
fn a_decompression_bomb_is_dropped() {
    let bomb = vec![b' '; 64 << 20];
    let packed = sctp::pack(&key(), Role::Caller, 1, &bomb);
    assert!(
        packed.len() < 131_072,
        "small on the wire: {}",
        packed.len()
    );
    assert_eq!(sctp::unpack(&key(), Role::Caller, &packed), None);
    let plain = [&1u32.to_be_bytes()[..], b"{\"@type\":\"x\"}"].concat();
    let uncompressed = key().seal(Plane::Signalling, Role::Caller, &plain);
    let read = sctp::unpack(&key(), Role::Caller, &uncompressed);
    assert_eq!(read, Some((1, b"{\"@type\":\"x\"}".to_vec())));
}

#[test]
fn malformed_acked_packets_are_dropped_whole() {
    let cases: [&[u8]; 9] = [
        &[],
        &[0, 0, 0, 1],
        &[0, 0, 0, 1, 0xff],                                     // an ack first
        &[0, 0, 0, 1, 0x01],                                     // another type
        &[0, 0, 0, 1, 0xfe, 0, 0, 0, 2, 0xfe],                   // empty, not first
        &[0, 0, 0, 1, 0x7f, 0, 0, 0, 2, b'{'],                   // truncated
        &[0, 0, 0, 1, 0x7f, 0, 0x10, 0, 1],                      // above 1 MiB
        &[0x80, 0, 0, 1, 0xfe, 0x40, 0, 0, 2, 0x7f, 0, 0, 0, 0], // single, and a second
        &[0, 0, 0, 1, 0xfe, 0, 0],
    ];
    for case in cases {
        assert_eq!(Message::read_all(case), None, "{case:?}");
        let mut acked = Acked::new(key(), Role::Callee);
        let padded = [case, &[0; 5][..5 - case.len().min(5)]].concat();
        acked.receive(&key().seal(Plane::Signalling, Role::Caller, &padded));
        assert_eq!(acked.poll_message(), None);
    }
    let empty = [0, 0, 0, 1, 0xfe];
    let mut acked = Acked::new(key(), Role::Callee);
    acked.receive(&key().seal(Plane::Signalling, Role::Caller, &empty));
    assert_eq!(acked.dropped(), Dropped::default());
    assert_eq!(acked.poll_packet(), None, "nothing to acknowledge");
    acked.receive(&key().seal(Plane::Signalling, Role::Caller, &empty));
    assert_eq!(acked.dropped().received, 1, "a repeated packet");
}

#[test]
fn a_lost_message_goes_along_with_the_next_one() {
    let now = start();
    let mut caller = Acked::new(key(), Role::Caller);
    let mut callee = Acked::new(key(), Role::Callee);
    caller.send(now, "one");
    assert!(caller.poll_packet().is_some(), "and this packet is lost");
    caller.send(now, "two");
    callee.receive(&caller.poll_packet().unwrap());
    assert_eq!(callee.poll_message().unwrap(), b"one");
    assert_eq!(callee.poll_message().unwrap(), b"two");
    assert!(
        callee.poll_packet().is_some(),
        "the acknowledgement is lost too"
    );
    let later = now + Duration::from_secs(1);
    assert_eq!(caller.timeout(), Some(later));
    caller.handle_timeout(later);
    callee.receive(&caller.poll_packet().unwrap());
    assert_eq!(callee.poll_message(), None, "delivered before");
    caller.receive(&callee.poll_packet().unwrap());
    assert_eq!(caller.timeout(), None, "all acknowledged");
}

#[test]
fn queues_towards_a_silent_peer_are_bounded() {
    for version in ["9.0.0", "13.0.0"] {
        let mut framing = Framing::new(version, "", key(), Role::Caller).unwrap();
        for _ in 0..1000 {
            framing.send(start(), "x");
            while framing.poll_packet().is_some() {}
        }
        assert_eq!(framing.dropped().sent, 1000 - 64, "{version}");
    }
    assert!(Framing::new("11.0.0", "", key(), Role::Caller).is_none());
}

/// Two ends over a path that loses, delays and reorders.
struct Pair {
    now: Instant,
    ends: [Framing; 2],
    /// (arrival, receiver, packet)
    air: Vec<(Instant, usize, Vec<u8>)>,
    loss: f64,
    rng: SmallRng,
    delivered: [Vec<String>; 2],
}

impl Pair {
    fn new(version: &str, loss: f64, seed: u64) -> Pair {
        let end = |role| Framing::new(version, "", key(), role).unwrap();
        Pair {
            now: start(),
            ends: [end(Role::Caller), end(Role::Callee)],
            air: Vec::new(),
            loss,
            rng: SmallRng::seed_from_u64(seed),
            delivered: Default::default(),
        }
    }

    fn send(&mut self, from: usize, text: &str) {
        self.ends[from].send(self.now, text);
        self.drain();
    }

    fn drain(&mut self) {
        for (index, end) in self.ends.iter_mut().enumerate() {
            while let Some(packet) = end.poll_packet() {
                let delay = Duration::from_millis(self.rng.random_range(20..120));
                if !self.rng.random_bool(self.loss) {
                    self.air.push((self.now + delay, 1 - index, packet));
                }
            }
            while let Some(text) = end.poll_message() {
                self.delivered[index].push(String::from_utf8(text).unwrap());
            }
        }
    }

    /// Runs until nothing is due before `end`.
    fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            let next = self.air.iter().map(|(at, ..)| *at);
            let timers = self.ends.iter().filter_map(Framing::timeout);
            let Some(next) = next.chain(timers).min().filter(|at| *at <= end) else {
                self.now = end;
                return;
            };
            self.now = self.now.max(next);
            let due = self.air.iter().position(|(at, ..)| *at <= self.now);
            if let Some(due) = due {
                let (_, to, packet) = self.air.remove(due);
                self.ends[to].receive(self.now, &packet);
            } else {
                for end in &mut self.ends {
                    end.handle_timeout(self.now);
                }
            }
            self.drain();
        }
    }
}

#[test]
fn every_message_arrives_once_over_a_bad_path() {
    for version in ["8.0.0", "13.0.0"] {
        for (loss, seed) in [(0.0, 0), (0.1, 1), (0.1, 2), (0.3, 3), (0.3, 4), (0.5, 5)] {
            let mut pair = Pair::new(version, loss, seed);
            for round in 0..10 {
                pair.send(0, &format!("caller {round}"));
                pair.run(Duration::from_millis(50));
                pair.send(1, &format!("callee {round}"));
            }
            pair.run(Duration::from_secs(120));
            for (end, name) in [(0, "callee"), (1, "caller")] {
                let mut expected: Vec<String> = (0..10).map(|i| format!("{name} {i}")).collect();
                let mut delivered = pair.delivered[end].clone();
                if version == "8.0.0" {
                    expected.sort();
                    delivered.sort();
                }
                assert_eq!(delivered, expected, "{version}, loss {loss}, seed {seed}");
            }
        }
    }
}

#[test]
fn a_long_message_is_fragmented() {
    let mut pair = Pair::new("13.0.0", 0.2, 7);
    let long: String = (0..20_000)
        .map(|i| char::from(b'a' + u8::try_from(i * i % 26).unwrap()))
        .collect();
    pair.send(0, &long);
    pair.run(Duration::from_secs(30));
    assert_eq!(pair.delivered[1], [long]);
}

#[test]
fn an_init_that_crosses_ours_is_dropped() {
    let now = start();
    let mut caller = Sctp::new(key(), Role::Caller);
    let mut other_caller = Sctp::new(key(), Role::Caller);
    caller.send(now, "x");
    other_caller.send(now, "y");
    let crossing = other_caller.poll_packet().unwrap();
    while caller.poll_packet().is_some() {}
    caller.receive(now, &crossing);
    assert_eq!(caller.poll_packet(), None);
    assert_eq!(
        caller.dropped(),
        Dropped::default(),
        "expected, so not counted"
    );
}

#[test]
fn an_abort_starts_the_association_over() {
    let mut pair = Pair::new("13.0.0", 0.0, 1);
    pair.send(0, "one");
    pair.run(Duration::from_secs(5));
    assert_eq!(pair.delivered[1], ["one"]);
    // The callee's end is gone and a new one knows nothing.
    pair.ends[1] = Framing::new("13.0.0", "", key(), Role::Callee).unwrap();
    let Framing::Sctp(caller) = &mut pair.ends[0] else {
        panic!()
    };
    caller.restart();
    pair.send(0, "two");
    pair.run(Duration::from_secs(5));
    assert_eq!(
        pair.delivered[1],
        ["one", "one", "two"],
        "all of it again, for the new end"
    );
    // And an end that has it all drops the repetitions.
    let Framing::Sctp(caller) = &mut pair.ends[0] else {
        panic!()
    };
    caller.restart();
    pair.send(0, "three");
    pair.run(Duration::from_secs(5));
    assert_eq!(pair.delivered[1], ["one", "one", "two", "three"]);
}

#[test]
fn garbage_is_counted_and_harmless() {
    for version in ["9.0.0", "13.0.0"] {
        for role in [Role::Caller, Role::Callee] {
            let mut framing = Framing::new(version, "", key(), role).unwrap();
            let mut rng = SmallRng::seed_from_u64(9);
            for size in 0..2000 {
                let mut packet = vec![0u8; size % 200];
                rng.fill(packet.as_mut_slice());
                framing.receive(start(), &packet);
            }
            assert!(framing.dropped().received > 1900);
            assert_eq!(framing.poll_message(), None);
        }
    }
}

#[test]
fn parameters_of_the_call_change_the_framing() {
    let framing = |version: &str, parameters: &str| match Framing::new(
        version,
        parameters,
        key(),
        Role::Caller,
    )
    .unwrap()
    {
        Framing::Acked(_) => 'a',
        Framing::Sctp(_) => 'b',
        Framing::Single(_) => 's',
    };
    let (kcp, single) = (
        r#"{"network_kcp_experiment":true}"#,
        r#"{"network_signaling_nosctp":true}"#,
    );
    let both = r#"{"network_kcp_experiment":true,"network_signaling_nosctp":true}"#;
    for (version, found) in [
        ("8.0.0", "abas"),
        ("9.0.0", "abas"),
        ("12.0.0", "bbss"),
        ("13.0.0", "bbss"),
    ] {
        let all = ["", kcp, single, both].map(|parameters| framing(version, parameters));
        assert_eq!(all.iter().collect::<String>(), found, "{version}");
    }
    assert!(Framing::new("11.0.0", kcp, key(), Role::Caller).is_none());
    assert_eq!(framing("9.0.0", "no JSON"), 'a');
}

#[test]
fn a_message_that_is_a_packet_is_delivered_once() {
    let single = r#"{"network_signaling_nosctp":true}"#;
    let end = |role| Framing::new("13.0.0", single, key(), role).unwrap();
    let (mut caller, mut callee) = (end(Role::Caller), end(Role::Callee));
    let now = start();
    for n in 0..100 {
        caller.send(now, &format!("message {n}"));
        let packet = caller.poll_packet().unwrap();
        // As a user message of SCTP: the counter, then gzip, under the call key.
        let plain = key()
            .open(Plane::Signalling, Role::Caller, &packet)
            .unwrap();
        assert_eq!(plain[..4], u32::to_be_bytes(n + 1));
        assert_eq!(plain[4..6], [0x1f, 0x8b]);
        callee.receive(now, &packet);
        callee.receive(now, &packet);
        assert_eq!(
            callee.poll_message().unwrap(),
            format!("message {n}").into_bytes()
        );
        assert_eq!(callee.poll_message(), None);
        caller.receive(now, &packet);
        assert_eq!(caller.poll_message(), None, "its own");
    }
    assert_eq!(
        (callee.dropped().received, caller.dropped().received),
        (100, 100)
    );
    assert_eq!((callee.timeout(), caller.timeout()), (None, None));
    for size in 0..200 {
        callee.receive(now, &vec![7; size]);
    }
    assert_eq!(
        (callee.dropped().received, callee.poll_message()),
        (300, None)
    );
    for _ in 0..100 {
        caller.send(now, "x");
    }
    assert_eq!(caller.dropped().sent, 100 - 64);
}

/// A user turns the camera on and off, and each time there is an offer to be answered.
#[test]
fn a_long_call_says_more_than_can_wait() {
    for version in ["9.0.0", "13.0.0"] {
        let mut now = start();
        let mut ends = [Role::Caller, Role::Callee]
            .map(|role| Framing::new(version, "", key(), role).unwrap());
        let mut heard = 0;
        for n in 0..MESSAGES + 16 {
            ends[1].send(now, &format!("{{\"n\":{n}}}"));
            for _ in 0..20 {
                now += Duration::from_millis(50);
                for at in 0..2 {
                    if ends[at].timeout().is_some_and(|due| due <= now) {
                        ends[at].handle_timeout(now);
                    }
                    while let Some(packet) = ends[at].poll_packet() {
                        ends[1 - at].receive(now, &packet);
                    }
                }
                while ends[0].poll_message().is_some() {
                    heard += 1;
                }
            }
        }
        assert_eq!(heard, MESSAGES + 16, "{version}: {:?}", ends[1].dropped());
    }
}
