//! The same two ends where the call key protects the media (`network_use_mtproto`, telegram-calls 10).

use super::relays::{reflector, turn};
use super::restart::{assert_goes_on, roam};
use super::*;
use crate::crypt::Plane;

const KEYED: &str = r#"{"network_use_mtproto":true}"#;

pub(super) fn keyed(version: &str, weather: Weather, seed: u64) -> Pair {
    Pair::of(start(), weather, weather, seed, None, |index| {
        transport_with(start(), index, version, seed, &[], true, Some(KEYED))
    })
}

fn relayed(connection: &tl::enums::PhoneConnection, weather: Weather) -> Pair {
    let (address, middle) = match connection {
        tl::enums::PhoneConnection::Webrtc(c) => ((&c.ip, c.port), None),
        tl::enums::PhoneConnection::Connection(c) => ((&c.ip, c.port), Some(())),
    };
    let port = u16::try_from(address.1).unwrap();
    let address = SocketAddr::new(address.0.parse().unwrap(), port);
    let middle = match middle {
        None => Middle::Turn(TurnServer::new(start(), address)),
        Some(()) => Middle::Reflector(ReflectorServer::new(address)),
    };
    Pair::of(start(), weather, weather, 1, Some(middle), |index| {
        let connections = std::slice::from_ref(connection);
        transport_with(start(), index, "13.0.0", 1, connections, false, Some(KEYED))
    })
}

#[test]
fn every_version_carries_audio_under_the_call_key() {
    for version in ["8.0.0", "9.0.0", "12.0.0", "13.0.0"] {
        let mut pair = keyed(version, CALM, 1);
        pair.run(Duration::from_secs(3));
        assert_carries(&pair, version);
        assert_shows_microphones(&mut pair);
    }
}

#[test]
fn nothing_but_connectivity_checks_is_plain() {
    let mut pair = keyed("13.0.0", CALM, 1);
    let key = media_start(Role::Caller, "13.0.0").key;
    let (mut checks, mut sealed) = (0, 0);
    for _ in 0..3000 {
        pair.run(Duration::from_millis(1));
        for (_, to, parcel) in &pair.air {
            let Parcel::Datagram(_, bytes) = parcel else {
                continue;
            };
            let sender = if *to == CALLER {
                Role::Callee
            } else {
                Role::Caller
            };
            if is_stun(bytes) {
                checks += 1;
            } else {
                assert!(key.open(Plane::Media, sender, bytes).is_some());
                sealed += 1;
            }
        }
    }
    assert!(checks > 10 && sealed > 100, "{checks} {sealed}");
}

#[test]
fn a_bad_network_is_borne_without_dtls() {
    for version in ["9.0.0", "13.0.0"] {
        assert_bears_weather(version, |loss, seed| keyed(version, storm(loss), seed));
    }
}

#[test]
fn relays_and_restarts_work_without_dtls() {
    for connection in [turn(), reflector()] {
        let mut pair = relayed(&connection, CALM);
        pair.run(Duration::from_secs(3));
        for index in [CALLER, CALLEE] {
            roam(&mut pair, index, std::slice::from_ref(&connection));
            assert_goes_on(&mut pair, "roamed");
        }
    }
}

#[test]
fn a_path_that_breaks_is_noticed_without_dtls_and_forgeries_do_not_hide_it() {
    let mut pair = keyed("13.0.0", CALM, 1);
    pair.run(Duration::from_secs(5));
    pair.blocked = true;
    for round in 0..30_u8 {
        pair.run(Duration::from_secs(1));
        let now = pair.now;
        for index in [CALLER, CALLEE] {
            // As if from the peer: it does not know the key.
            let peer = pair.ends[1 - index].address;
            let transport = &mut pair.ends[index].transport;
            transport.handle_datagram(now, peer, &[0x80 ^ round; 60]);
            pair.drain(index);
        }
    }
    for index in [CALLER, CALLEE] {
        let (at, why) = pair.failure(index).expect("failed");
        assert_eq!(why, "nothing came from the peer for too long");
        let silent = at.checked_sub(Duration::from_secs(5)).unwrap();
        assert!((19..=21).contains(&silent.as_secs()), "{silent:?}");
    }
}

#[test]
fn repeated_datagrams_are_heard_once() {
    let mut pair = keyed("13.0.0", CALM, 1);
    pair.run(Duration::from_secs(1));
    for _ in 0..100 {
        let copies = pair.air.iter().filter_map(|(at, to, parcel)| match parcel {
            Parcel::Datagram(from, bytes) => {
                Some((*at, *to, Parcel::Datagram(*from, bytes.clone())))
            }
            Parcel::ToRelay(..) | Parcel::Signal(_) => None,
        });
        let copies = copies.collect::<Vec<_>>();
        pair.air.extend(copies);
        pair.run(Duration::from_millis(10));
    }
    for end in pair.ends.iter() {
        let mut numbers: Vec<u64> = end.received.iter().map(|p| p.sequence).collect();
        assert!(numbers.len() > 80);
        let all = numbers.len();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), all);
    }
}
