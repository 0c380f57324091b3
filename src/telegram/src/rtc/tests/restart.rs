//! A web client in another network: it restarts ICE (telegram-calls 7.2) while relays are in use.

use super::relays::{reflector, reflector_pair, turn, turn_pair};
use super::*;

/// One end plays a web client whose network changes: another socket, other relays, new credentials, an offer; the same DTLS.
pub(super) fn roam(pair: &mut Pair, index: usize, connections: &[tl::enums::PhoneConnection]) {
    let now = pair.now;
    let port = 41_000 + u16::try_from(pair.gone.len()).unwrap();
    let end = &mut pair.ends[index];
    pair.gone.push(end.address);
    end.address.set_port(port);
    let web = &mut end.transport;
    let old = web.local;
    let mut own = vec![Candidate::host(old, Protocol::Udp).unwrap()];
    for relayed in web.relays.owned() {
        own.push(Candidate::relayed(relayed, old, Protocol::Udp).unwrap());
    }
    for candidate in own {
        web.engine.invalidate_candidate(&candidate);
    }
    web.engine.set_credentials(str0m::IceCreds::new());
    web.local = end.address;
    web.relays = Relays::new(now, connections, web.local, None, &mut web.rng);
    web.send_setup(now);
    if web.is_direct {
        let host = Candidate::host(web.local, Protocol::Udp).unwrap();
        let ufrag = web.engine.introduction().0.ufrag;
        let line = format!("{} generation 0 ufrag {ufrag}", host.to_sdp_string());
        web.engine.add_local_candidate(host);
        web.tell_candidate(now, line);
    }
    web.send_offer(now);
    web.poll(now);
    pair.drain(index);
}

/// Both hear each other from now on.
pub(super) fn assert_goes_on(pair: &mut Pair, what: &str) {
    pair.run(Duration::from_secs(3));
    let before = [CALLER, CALLEE].map(|index| pair.ends[index].received.len());
    pair.run(Duration::from_secs(3));
    for index in [CALLER, CALLEE] {
        assert_eq!(pair.failure(index), None, "{what}");
        let heard = pair.ends[index].received.len() - before[index];
        assert!(heard >= 145, "{what}: {index} heard {heard} of 150");
    }
}

#[test]
fn a_web_client_that_restarts_ice_is_followed_through_relays() {
    for version in ["9.0.0", "13.0.0"] {
        for web in [CALLER, CALLEE] {
            for (make, connection) in [
                (turn_pair as fn(_, _, _, _) -> Pair, turn()),
                (reflector_pair, reflector()),
            ] {
                let mut pair = make(version, false, CALM, 1);
                pair.run(Duration::from_secs(3));
                for round in 0..3 {
                    roam(&mut pair, web, std::slice::from_ref(&connection));
                    let what = format!("{version}, web {web}, round {round}");
                    assert_goes_on(&mut pair, &what);
                }
                let other = &pair.ends[1 - web].transport;
                assert_eq!(other.stats().restarts, 3);
                assert_eq!(other.stats().way, Way::Relay);
            }
        }
    }
}

#[test]
fn a_restart_is_followed_although_relays_are_not_needed() {
    for web in [CALLER, CALLEE] {
        let mut pair = turn_pair("13.0.0", true, CALM, 1);
        pair.run(Duration::from_secs(3));
        roam(&mut pair, web, &[turn()]);
        assert_goes_on(&mut pair, &format!("web {web}"));
    }
}

/// A user who moves between networks all day: each restart brings sources that are new.
#[test]
fn every_restart_that_is_followed_goes_on() {
    for web in [CALLER, CALLEE] {
        let mut pair = turn_pair("9.0.0", true, CALM, 1);
        pair.run(Duration::from_secs(3));
        for round in 0..40 {
            roam(&mut pair, web, &[turn()]);
            assert_goes_on(&mut pair, &format!("web {web}, round {round}"));
        }
    }
}

/// Framing A hands messages on in the order of arrival: candidates may come before the InitialSetup they belong to.
#[test]
fn candidates_may_overtake_a_restart() {
    for web in [CALLER, CALLEE] {
        let mut pair = Pair::new("9.0.0", CALM, CALM, 1);
        pair.run(Duration::from_secs(3));
        roam(&mut pair, web, &[]);
        let is_signal = |parcel: &Parcel| matches!(parcel, Parcel::Signal(_));
        let signals = (0..pair.air.len()).filter(|at| is_signal(&pair.air[*at].2));
        let signals: Vec<usize> = signals.collect();
        assert!(signals.len() >= 3, "setup, candidate, offer");
        let base = pair.now + Duration::from_millis(10);
        for (place, at) in signals.iter().rev().enumerate() {
            pair.air[*at].0 = base + Duration::from_millis(u64::try_from(place).unwrap());
        }
        assert_goes_on(&mut pair, &format!("web {web}"));
        let new = pair.ends[web].address;
        let other = &mut pair.ends[1 - web].transport;
        assert_eq!(other.stats().restarts, 1);
        let (known, _) = other.path.forget("");
        assert!(known.iter().any(|c| c.addr() == new), "{known:?}");
    }
}

/// A web client that controls takes up to two seconds and a half to nominate a pair anew. Until then the talk goes on by one that works.
#[test]
fn media_does_not_wait_for_the_peer_to_nominate_a_pair() {
    let dtls = Pair::new("13.0.0", CALM, CALM, 1);
    for mut pair in [dtls, super::keyed::keyed("13.0.0", CALM, 1)] {
        pair.run(Duration::from_secs(3));
        pair.undecided = Some(CALLER);
        roam(&mut pair, CALLER, &[]);
        let before = pair.ends[CALLER].received.len();
        pair.run(Duration::from_secs(3));
        let heard = pair.ends[CALLER].received.len() - before;
        assert!(heard >= 140, "heard {heard} of 150");
        // And on, where the peer decides at last.
        pair.undecided = None;
        assert_goes_on(&mut pair, "decided");
    }
}
