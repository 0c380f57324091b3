//! The same two ends with a relay between them.

use std::net::{IpAddr, Ipv4Addr};

use super::*;

/// The outside of a NAT; what is sent there gets lost.
pub(super) const OUTSIDE: SocketAddr =
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(198, 51, 100, 9)), 61_000);

fn server() -> SocketAddr {
    "203.0.113.1:3478".parse().unwrap()
}

pub(super) fn turn() -> tl::enums::PhoneConnection {
    tl::enums::PhoneConnection::Webrtc(tl::types::PhoneConnectionWebrtc {
        turn: true,
        stun: true,
        id: 1,
        ip: server().ip().to_string(),
        ipv6: String::new(),
        port: server().port().into(),
        username: USERNAME.to_owned(),
        password: PASSWORD.to_owned(),
    })
}

pub(super) fn reflector() -> tl::enums::PhoneConnection {
    tl::enums::PhoneConnection::Connection(tl::types::PhoneConnection {
        tcp: false,
        id: -5,
        ip: server().ip().to_string(),
        ipv6: String::new(),
        port: server().port().into(),
        peer_tag: b"0123456789abcdef".to_vec(),
    })
}

/// Two ends that are both told of the same relay.
fn pair(version: &str, middle: Middle, is_direct: bool, weather: Weather, seed: u64) -> Pair {
    let now = start();
    let connection = match middle {
        Middle::Turn(_) => turn(),
        Middle::Reflector(_) => reflector(),
    };
    Pair::of(now, weather, weather, seed, Some(middle), |index| {
        let connections = std::slice::from_ref(&connection);
        transport_with(now, index, version, seed, connections, is_direct, None)
    })
}

pub(super) fn turn_pair(version: &str, is_direct: bool, weather: Weather, seed: u64) -> Pair {
    let middle = Middle::Turn(TurnServer::new(start(), server()));
    pair(version, middle, is_direct, weather, seed)
}

pub(super) fn reflector_pair(version: &str, is_direct: bool, weather: Weather, seed: u64) -> Pair {
    let middle = Middle::Reflector(ReflectorServer::new(server()));
    pair(version, middle, is_direct, weather, seed)
}

fn turn_server(pair: &Pair) -> &TurnServer {
    match &pair.relay {
        Some(Middle::Turn(server)) => server,
        _ => panic!("no TURN server"),
    }
}

/// Every packet of a calm network arrives, and says which way it came.
fn assert_talked(pair: &Pair, is_relayed: bool, within: Duration) {
    for (index, end) in pair.ends.iter().enumerate() {
        assert_eq!(pair.failure(index), None);
        let after = pair.connected_after(index).unwrap();
        assert!(after < within, "{after:?}");
        let lost = pair.ends[1 - index].frames as usize - end.received.len();
        assert!(
            end.received.len() > 100 && lost < 40,
            "{} heard, {lost} lost",
            end.received.len()
        );
        assert_eq!(end.transport.stats().way != Way::Direct, is_relayed);
    }
}

#[test]
fn two_ends_that_may_not_meet_talk_through_turn() {
    for version in ["8.0.0", "9.0.0", "12.0.0", "13.0.0"] {
        let mut pair = turn_pair(version, false, CALM, 1);
        pair.blocked = true;
        pair.run(Duration::from_secs(4));
        assert_talked(&pair, true, Duration::from_secs(1));
        for end in pair.ends.iter_mut() {
            let told = end.transport.path.forget("").0;
            assert!(!told.is_empty());
            let hidden = |c: &str| !c.contains("192.0.2.") && c.contains("typ relay");
            assert!(told.iter().all(|c| hidden(&c.to_sdp_string())), "{told:?}");
        }
    }
}

#[test]
fn two_ends_that_may_not_meet_talk_through_a_reflector() {
    for version in ["8.0.0", "9.0.0", "12.0.0", "13.0.0"] {
        let mut pair = reflector_pair(version, false, CALM, 1);
        pair.blocked = true;
        pair.run(Duration::from_secs(4));
        assert_talked(&pair, true, Duration::from_secs(1));
    }
}

#[test]
fn reflectors_with_fixed_tags_are_not_told_and_work() {
    let middle = Middle::Reflector(ReflectorServer::new(server()));
    let connections = [reflector()];
    let fixed = Some(r#"{"network_standalone_reflectors":true}"#);
    let mut pair = Pair::of(start(), CALM, CALM, 1, Some(middle), |index| {
        transport_with(start(), index, "13.0.0", 1, &connections, false, fixed)
    });
    pair.run(Duration::from_secs(4));
    assert_talked(&pair, true, Duration::from_secs(1));
    for (end, tag) in pair.ends.iter_mut().zip([2, 1]) {
        let known = end.transport.path.forget("").0;
        let known: Vec<String> = known.iter().map(|c| c.addr().to_string()).collect();
        assert_eq!(known, [format!("[fd9e:4c1f:70a3:1::{tag}]:3478")]);
    }
}

#[test]
fn relays_work_over_a_bad_network() {
    for seed in 0..4 {
        for make in [turn_pair, reflector_pair] {
            let mut pair = make("13.0.0", false, storm(0.05), seed);
            pair.run(Duration::from_secs(20));
            for index in [CALLER, CALLEE] {
                assert!(pair.connected_after(index).is_some(), "seed {seed}");
                assert!(pair.ends[index].received.len() > 300, "seed {seed}");
            }
        }
    }
}

#[test]
fn ends_that_may_meet_do_although_there_is_a_relay() {
    for make in [turn_pair, reflector_pair] {
        let mut pair = make("13.0.0", true, CALM, 1);
        pair.run(Duration::from_secs(4));
        assert_talked(&pair, false, Duration::from_millis(500));
    }
}

#[test]
fn ends_that_may_meet_and_cannot_talk_through_the_relay() {
    for make in [turn_pair, reflector_pair] {
        let mut pair = make("9.0.0", true, CALM, 1);
        pair.blocked = true;
        pair.run(Duration::from_secs(10));
        for index in [CALLER, CALLEE] {
            assert_eq!(pair.failure(index), None);
            assert_eq!(pair.ends[index].transport.stats().way, Way::Relay);
            assert!(pair.ends[index].received.len() > 100);
        }
    }
}

#[test]
fn a_call_through_turn_outlives_its_refreshes_and_gives_its_allocation_back() {
    let mut pair = turn_pair("13.0.0", false, CALM, 1);
    pair.run(Duration::from_secs(25 * 60));
    let before = pair.ends[CALLEE].received.len();
    pair.run(Duration::from_secs(10));
    assert!(pair.ends[CALLEE].received.len() > before + 490);
    assert_eq!(turn_server(&pair).allocations(pair.now), 2);
    let now = pair.now;
    pair.ends[CALLER].transport.close(now);
    pair.drain(CALLER);
    pair.run(Duration::from_secs(1));
    assert_eq!(turn_server(&pair).allocations(pair.now), 0);
}

#[test]
fn a_direct_datagram_is_not_answered_when_only_relays_may_be_used() {
    let mut pair = turn_pair("13.0.0", false, CALM, 1);
    pair.run(Duration::from_secs(2));
    let now = pair.now;
    let end = &mut pair.ends[CALLER].transport;
    let dropped = end.stats().foreign;
    for first in [0, 20, 0x80] {
        end.handle_datagram(now, address(CALLEE), &[first; 40]);
        assert!(matches!(end.poll_output(), TransportOutput::Timeout(_)));
    }
    assert_eq!(end.stats().foreign, dropped + 3);
}

#[test]
fn relays_that_all_refuse_end_a_call_that_may_use_nothing_else() {
    let mut middle = TurnServer::new(start(), server());
    middle.password = "changed";
    let mut pair = pair("13.0.0", Middle::Turn(middle), false, CALM, 1);
    pair.run(Duration::from_secs(1));
    let (after, why) = pair.failure(CALLER).unwrap();
    assert!(why.starts_with("no relay") && after < Duration::from_millis(200));
}

#[test]
fn a_short_loss_on_a_relay_is_survived_and_a_long_one_ends_the_call() {
    for make in [turn_pair, reflector_pair] {
        let mut pair = make("13.0.0", false, CALM, 1);
        pair.run(Duration::from_secs(3));
        let dead = Weather { loss: 1.0, ..CALM };
        pair.media = dead;
        pair.run(Duration::from_secs(15));
        pair.media = CALM;
        let before = pair.ends[CALLER].received.len();
        pair.run(Duration::from_secs(3));
        assert_eq!((pair.failure(CALLER), pair.failure(CALLEE)), (None, None));
        assert!(pair.ends[CALLER].received.len() > before + 100);
        pair.media = dead;
        let cut = pair.now - pair.begin;
        pair.run(Duration::from_secs(30));
        for index in [CALLER, CALLEE] {
            let (at, _) = pair.failure(index).unwrap();
            let silent = at.saturating_sub(cut).as_secs();
            assert!((19..=21).contains(&silent), "{silent} s");
        }
    }
}

#[test]
fn the_address_a_nat_has_given_us_is_told_unless_only_relays_may_be_used() {
    for is_direct in [true, false] {
        let mut middle = TurnServer::new(start(), server());
        middle.mapped = Some(OUTSIDE);
        let mut pair = pair("9.0.0", Middle::Turn(middle), is_direct, CALM, 1);
        pair.run(Duration::from_secs(3));
        for end in pair.ends.iter_mut() {
            let told = end.transport.path.forget("").0;
            let mut told = told.iter().map(Candidate::addr);
            assert_eq!(told.any(|address| address == OUTSIDE), is_direct);
            assert!(end.received.len() > 100);
        }
    }
}

#[test]
fn a_relay_that_says_anything_costs_no_call() {
    for make in [turn_pair, reflector_pair] {
        let mut pair = make("13.0.0", true, CALM, 1);
        let mut rng = SmallRng::seed_from_u64(7);
        for round in 0..2000_usize {
            let now = pair.now;
            let mut bytes = vec![0; rng.random_range(0..120)];
            rng.fill_bytes(&mut bytes);
            // What looks like STUN, channel data, a packet of a reflector.
            let heads: [&[u8]; 4] = [
                b"\x01\x03\x00\x58\x21\x12\xa4\x42",
                b"\x00\x17\x00\x58\x21\x12\xa4\x42",
                b"\x40\x00\x00\x10",
                b"0123456789ab",
            ];
            for (byte, head) in bytes.iter_mut().zip(heads[round % 4]) {
                *byte = *head;
            }
            let end = &mut pair.ends[round % 2].transport;
            end.handle_datagram(now, server(), &bytes);
            pair.drain(round % 2);
            pair.run(Duration::from_millis(1));
        }
        pair.run(Duration::from_secs(3));
        for index in [CALLER, CALLEE] {
            assert_eq!(pair.failure(index), None);
            assert!(pair.ends[index].received.len() > 150);
        }
    }
}
