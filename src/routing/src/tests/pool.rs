//! Several sessions of equal priority share the calls of a trunk.

use std::collections::{HashMap, HashSet};

use super::*;

/// A world in which each session is something else.
#[derive(Default)]
struct Pool {
    states: HashMap<&'static str, SessionState>,
    used: HashMap<&'static str, u64>,
    known: HashSet<(&'static str, &'static str)>,
    talking: HashSet<(&'static str, &'static str)>,
}

impl World for Pool {
    fn is_reachable(&self, _: &TrunkName) -> bool {
        true
    }
    fn is_blocked(&self, _: &TrunkName) -> bool {
        false
    }
    fn session_state(&self, session: &SessionName) -> SessionState {
        let state = self.states.get(session.as_str());
        state.copied().unwrap_or(SessionState::Running)
    }
    fn is_starting(&self, _: &SessionName) -> bool {
        false
    }
    fn calls_of(&self, session: &SessionName) -> u32 {
        let calls = self.talking.iter();
        let own = calls.filter(|(name, _)| *name == session.as_str());
        u32::try_from(own.count()).unwrap()
    }
    fn is_talking(&self, session: &SessionName, peer: &Peer) -> bool {
        let mut talking = self.talking.iter();
        talking.any(|(name, to)| *name == session.as_str() && *to == peer.to_string())
    }
    fn last_used(&self, session: &SessionName) -> u64 {
        self.used.get(session.as_str()).copied().unwrap_or_default()
    }
    fn knows(&self, session: &SessionName, peer: &Peer) -> bool {
        let mut known = self.known.iter();
        known.any(|(name, to)| *name == session.as_str() && *to == peer.to_string())
    }
    fn is_own_account(&self, _: i64) -> bool {
        false
    }
}

/// One PBX with sessions `a`, `b` and `off` of two lines each at priority 100, and `spare` after them.
fn table() -> Table {
    let session = |name: &str| SessionSpec {
        enabled: name != "off",
        lines: 2,
        ..SessionSpec::new(name.parse().unwrap())
    };
    let route = |session: &str, priority| RouteSpec {
        trunk: "pbx".parse().unwrap(),
        session: session.parse().unwrap(),
        priority,
        terms: model::RouteTerms::default(),
    };
    Table::new(
        vec![peer("pbx", "192.0.2.1:5060")],
        ["a", "b", "off", "spare"].map(session).to_vec(),
        vec![
            route("spare", 200),
            route("off", 100),
            route("a", 100),
            route("b", 100),
        ],
    )
}

fn chosen(world: &Pool) -> Result<String, String> {
    let table = table();
    let trunk = table.trunk(&"pbx".parse().unwrap()).unwrap();
    let offer = SipOffer {
        trunk,
        source: "192.0.2.1:5060".parse().unwrap(),
        request_user: "bobby",
        to_user: "bobby",
    };
    let decided = decide_sip(&table, world, &offer);
    decided
        .map(|to| to.session.name.to_string())
        .map_err(|cause| cause.to_string())
}

#[test]
fn the_session_that_was_used_least_recently_calls() {
    let mut world = Pool {
        used: HashMap::from([("a", 2), ("b", 1), ("off", 0), ("spare", 0)]),
        ..Pool::default()
    };
    assert_eq!(chosen(&world).as_deref(), Ok("b"));
    world.used = HashMap::from([("a", 2), ("b", 3)]);
    assert_eq!(chosen(&world).as_deref(), Ok("a"));
}

#[test]
fn one_that_knows_the_person_goes_before_one_that_rested_longer() {
    let mut world = Pool {
        used: HashMap::from([("a", 1), ("b", 2)]),
        ..Pool::default()
    };
    world.known.insert(("b", "bobby"));
    assert_eq!(chosen(&world).as_deref(), Ok("b"));
    // But not when it has a call with him already.
    world.talking.insert(("b", "bobby"));
    assert_eq!(chosen(&world).as_deref(), Ok("a"));
}

#[test]
fn one_without_a_line_is_passed_over_also_when_it_knows_the_person() {
    let mut world = Pool::default();
    world.known.insert(("a", "bobby"));
    world.talking.insert(("a", "carol"));
    assert_eq!(chosen(&world).as_deref(), Ok("a"));
    world.talking.insert(("a", "dora"));
    assert_eq!(chosen(&world).as_deref(), Ok("b"));
    // One that may not call has a line for nothing.
    world.states.insert("b", SessionState::Restricted);
    assert_eq!(chosen(&world).as_deref(), Ok("a"));
}

#[test]
fn one_that_may_not_call_is_passed_over_while_another_can() {
    for state in SessionState::ALL {
        let mut world = Pool::default();
        world.known.insert(("a", "bobby"));
        world.states.insert("a", state);
        let expected = if state == SessionState::Running {
            "a"
        } else {
            "b"
        };
        assert_eq!(chosen(&world).as_deref(), Ok(expected), "{state:?}");
    }
    // A wait of one is better than the limit of the other.
    let mut world = Pool::default();
    world.states.insert("a", SessionState::Restricted);
    world.states.insert("b", SessionState::FloodWait);
    assert_eq!(chosen(&world).as_deref(), Ok("b"));
    world.states.insert("b", SessionState::Unauthorized);
    assert_eq!(chosen(&world), Err("503 PEER_FLOOD".to_owned()));
}

#[test]
fn a_pbx_may_register_while_one_of_its_sessions_is_logged_in() {
    let table = table();
    let trunk = table.trunk(&"pbx".parse().unwrap()).unwrap();
    let mut world = Pool::default();
    world.states.insert("a", SessionState::Unauthorized);
    assert_eq!(admit_register(&table, &world, trunk), Ok(()));
    world.states.insert("b", SessionState::Unauthorized);
    let refused = admit_register(&table, &world, trunk).map_err(|cause| cause.to_string());
    assert_eq!(refused, Err("403 Telegram session is inactive".to_owned()));
}
