//! Calls from trunk to trunk.

use model::{Cause, Reason, RouteSpec, SessionSpec, TransitSpec, TrunkName, TrunkSpec};

use super::{peer, registering};
use crate::*;

/// Everything is up but the trunks named here.
struct Up(&'static [&'static str]);

impl World for Up {
    fn is_reachable(&self, trunk: &TrunkName) -> bool {
        !self.0.contains(&trunk.as_str())
    }

    fn is_blocked(&self, _: &TrunkName) -> bool {
        false
    }
    fn session_state(&self, _: &model::SessionName) -> SessionState {
        SessionState::Running
    }

    fn is_starting(&self, _: &model::SessionName) -> bool {
        false
    }

    fn calls_of(&self, _: &model::SessionName) -> u32 {
        0
    }
    fn is_talking(&self, _: &model::SessionName, _: &model::Peer) -> bool {
        false
    }

    fn last_used(&self, _: &model::SessionName) -> u64 {
        0
    }
    fn knows(&self, _: &model::SessionName, _: &model::Peer) -> bool {
        false
    }
    fn is_own_account(&self, _: i64) -> bool {
        false
    }
}

fn way(trunk: &str, to: &str, priority: u32) -> TransitSpec {
    TransitSpec {
        trunk: trunk.parse().unwrap(),
        to: to.parse().unwrap(),
        priority,
        terms: model::RouteTerms::default(),
    }
}

/// The trunks a, b, c and d, of which d is off; a session that a and b are paired with at priority 100.
fn table(ways: Vec<TransitSpec>) -> Table {
    let trunks: Vec<TrunkSpec> = [("a", 1), ("b", 2), ("c", 3), ("d", 4)]
        .map(|(name, n)| TrunkSpec {
            enabled: name != "d",
            ..peer(name, &format!("192.0.2.{n}:5060"))
        })
        .into();
    let session = SessionSpec::new("main".parse().unwrap());
    let route = |trunk: &str| RouteSpec {
        trunk: trunk.parse().unwrap(),
        session: "main".parse().unwrap(),
        priority: 100,
        terms: model::RouteTerms::default(),
    };
    Table::new(trunks, vec![session], vec![route("a"), route("b")]).with_transits(ways)
}

fn decide(table: &Table, world: &Up, from: &str, number: &str) -> Result<ToTrunk, Cause> {
    let offer = SipOffer {
        trunk: table.trunk(&from.parse().unwrap()).unwrap(),
        source: "192.0.2.1:5060".parse().unwrap(),
        request_user: number,
        to_user: "600",
    };
    decide_transit(table, world, &offer)
}

/// The trunk's own login is called.
fn login_called(trunk: &TrunkSpec) -> SipOffer<'_> {
    SipOffer {
        trunk,
        source: "192.0.2.1:5060".parse().unwrap(),
        request_user: "login1",
        to_user: "600",
    }
}

fn groups(mut hunt: Hunt) -> Vec<String> {
    std::iter::from_fn(|| hunt.next_group())
        .map(|group| group.iter().map(TrunkName::as_str).collect())
        .collect()
}

#[test]
fn no_call_leaves_by_another_trunk_unless_a_way_says_so() {
    let table = table(vec![way("c", "a", 100)]);
    assert!(table.is_transit(&"c".parse().unwrap(), "601"));
    for (from, why) in [
        ("a", Reason::RouteNotPermitted),
        ("b", Reason::RouteNotPermitted),
        ("d", Reason::AccountNotRunning),
    ] {
        assert!(!table.is_transit(&from.parse().unwrap(), "601"));
        let refused = decide(&table, &Up(&[]), from, "601").unwrap_err();
        assert_eq!(refused.reason(), why, "{from}");
    }
    let to = decide(&table, &Up(&[]), "c", "+601").unwrap();
    assert_eq!(
        (groups(to.hunt), to.number.as_str()),
        (vec!["a".into()], "+601")
    );
}

#[test]
fn ways_are_hunted_through_like_the_trunks_of_a_session() {
    let ways = vec![
        way("c", "b", 2),
        way("c", "a", 1),
        way("c", "d", 1),
        way("c", "c", 1),
        way("b", "a", 1),
    ];
    let table = table(ways);
    let to = decide(&table, &Up(&["a"]), "c", "601").unwrap();
    assert_eq!(
        groups(to.hunt),
        ["a", "b"],
        "without itself and what is off"
    );
    let refused = decide(&table, &Up(&["a", "b"]), "c", "601").unwrap_err();
    assert_eq!(refused.reason(), Reason::SipAccountUnavailable);
}

#[test]
fn the_lower_priority_decides_between_telegram_and_another_trunk() {
    for (priority, transit) in [(99, true), (100, false), (101, false)] {
        let table = table(vec![way("a", "c", priority)]);
        assert_eq!(
            table.is_transit(&"a".parse().unwrap(), "601"),
            transit,
            "{priority}"
        );
    }
}

#[test]
fn a_number_is_passed_on_as_dialled_if_it_can_be() {
    let table = table(vec![way("c", "a", 1)]);
    let long = "1".repeat(129);
    for number in ["", " ", "6\r\n1", "6\u{0}1", &long] {
        let refused = decide(&table, &Up(&[]), "c", number).unwrap_err();
        assert_eq!(refused.reason(), Reason::NotFound, "{number:?}");
    }
    let to = decide(&table, &Up(&[]), "c", " 0049 30 1;x=y ").unwrap();
    assert_eq!(to.number, "0049 30 1;x=y");
}

#[test]
fn whoever_is_only_on_a_way_may_register_and_must_before_it_calls() {
    let mut office = registering("office", "login1");
    let make = |office: &TrunkSpec| {
        let trunks = vec![office.clone(), peer("branch", "192.0.2.9:5060")];
        let ways = vec![way("office", "branch", 1), way("branch", "office", 1)];
        Table::new(trunks, Vec::new(), Vec::new()).with_transits(ways)
    };
    let table = make(&office);
    assert_eq!(admit_register(&table, &Up(&[]), &office), Ok(()));
    let to = decide_transit(&table, &Up(&[]), &login_called(&office)).unwrap();
    assert_eq!(to.number, "600", "the login is nobody's number");
    let refused = decide_transit(&table, &Up(&["office"]), &login_called(&office));
    assert_eq!(refused.unwrap_err().reason(), Reason::RegisterRequired);
    office.enabled = false;
    let table = make(&office);
    assert!(admit_register(&table, &Up(&[]), &office).is_err());
    let refused = decide_transit(&table, &Up(&[]), &login_called(&office));
    assert_eq!(refused.unwrap_err().reason(), Reason::AccountNotRunning);
}
