//! What Telegram users write, as numbers.

use model::{DialRules, Reason};

use super::*;

/// Trunks with their dial rules and priorities, all of session `main`.
fn dialling(trunks: &[(&str, &str, u32)]) -> Table {
    let specs = trunks
        .iter()
        .zip(1..)
        .map(|((name, rules, priority), port)| {
            let spec = peer(name, &format!("192.0.2.1:{port}"));
            TrunkSpec {
                dial_rules: rules.parse::<DialRules>().unwrap(),
                priority: *priority,
                ..spec
            }
        });
    let routes = trunks.iter().map(|(name, _, _)| RouteSpec {
        trunk: name.parse().unwrap(),
        session: "main".parse().unwrap(),
        priority: 100,
        terms: model::RouteTerms::default(),
    });
    let session = SessionSpec::new("main".parse().unwrap());
    Table::new(specs.collect(), vec![session], routes.collect())
}

fn understood(table: &Table, reachable: &[&'static str], text: &str) -> Dialled {
    let session = "main".parse().unwrap();
    let world = Now {
        reachable: reachable.iter().copied().collect(),
        ..now()
    };
    let offer = TelegramOffer {
        session: &session,
        user_id: 7,
        dialled: None,
    };
    decide_text(table, &world, &offer, text).unwrap()
}

const NUMBER: &str = r"[^+*#\w]= ^\+?\d{2,15}$ ^8=+7";

#[test]
fn the_running_trunks_that_make_a_number_of_a_text_are_tried_by_priority() {
    let table = dialling(&[
        ("a", NUMBER, 100),
        ("b", ".*=", 1),
        ("c", r"^\d{3}$ ^=9", 50),
        ("d", "=", 200),
    ]);
    let all = ["a", "b", "c", "d"];
    let numbers = |reachable: &[&'static str], text: &str| {
        let dialled = understood(&table, reachable, text);
        let number = |name: &str| dialled.number(&name.parse().unwrap()).map(str::to_owned);
        let first = dialled.first().map(str::to_owned);
        (first, all.map(|name| number(name).unwrap_or_default()))
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(
        numbers(&all, "601"),
        (some("9601"), ["601", "", "9601", "601"].map(str::to_owned))
    );
    assert_eq!(
        numbers(&["a", "b"], "8 (926) 123-45-67"),
        (
            some("+79261234567"),
            ["+79261234567", "", "", ""].map(str::to_owned)
        )
    );
    for (reachable, text) in [
        (&["a", "b", "c"][..], "hello"),
        (&["b"], "601"),
        (&[], "601"),
        // The dot takes no end of line: what is left of two lines is one.
        (&["b"], "60\n1"),
        // A trunk that takes everything takes no more than a number can be.
        (&["d"], "call me"),
        (&["d"], " "),
        (&["d"], "6\u{7}1"),
    ] {
        assert!(understood(&table, reachable, text).is_empty(), "{text:?}");
    }
    assert!(
        understood(&table, &["d"], &"1".repeat(128))
            .first()
            .is_some()
    );
    assert!(understood(&table, &["d"], &"1".repeat(129)).is_empty());
}

#[test]
fn a_call_for_a_number_goes_to_the_trunks_that_made_it_and_no_others() {
    let table = dialling(&[("a", NUMBER, 100), ("b", ".*=", 1), ("c", NUMBER, 2)]);
    let dialled = understood(&table, &["a", "b", "c"], "601");
    let session = "main".parse().unwrap();
    let offer = TelegramOffer {
        session: &session,
        user_id: 7,
        dialled: Some(&dialled),
    };
    let world = |reachable: &[&'static str]| Now {
        reachable: reachable.iter().copied().collect(),
        ..now()
    };
    let hunt = decide_telegram(&table, &world(&["a", "b"]), &offer).unwrap();
    let trunks: Vec<&str> = hunt.trunks().map(TrunkName::as_str).collect();
    assert_eq!(trunks, ["c", "a"]);
    let gone = decide_telegram(&table, &world(&["b"]), &offer).unwrap_err();
    assert_eq!(gone.to_string(), "503 SIP account is unavailable");
}

#[test]
fn who_is_called_back_is_called_by_a_session_that_may_call() {
    let table = dialling(&[("a", NUMBER, 100)]);
    let session = "main".parse().unwrap();
    let offer = TelegramOffer {
        session: &session,
        user_id: 7,
        dialled: None,
    };
    for (state, expected) in [
        (SessionState::Running, None),
        (SessionState::FloodWait, None),
        (SessionState::Restricted, Some("503 PEER_FLOOD")),
        (SessionState::Offline, Some("503 Session is not running")),
        (
            SessionState::Unauthorized,
            Some("503 Session is not running"),
        ),
    ] {
        let world = Now {
            state,
            reachable: ["a"].into_iter().collect(),
            ..now()
        };
        let refused = decide_callback(&table, &world, &offer).err();
        assert_eq!(refused.map(|cause| cause.to_string()).as_deref(), expected);
    }
}

#[test]
fn what_an_account_of_this_switch_writes_is_not_read() {
    let table = dialling(&[("a", NUMBER, 100)]);
    let world = Now {
        reachable: ["a"].into_iter().collect(),
        ..now()
    };
    let session = "main".parse().unwrap();
    let offer = TelegramOffer {
        session: &session,
        user_id: 1,
        dialled: None,
    };
    let refused = decide_text(&table, &world, &offer, "601").unwrap_err();
    assert_eq!(refused.reason(), Reason::CallerIsGateway);
}

#[test]
fn texts_pass_only_where_the_session_says_so_and_go_to_the_first_running_trunk() {
    let build = |text_bridge: bool| {
        let trunks = [("a", 100), ("b", 1), ("c", 50)];
        let specs = trunks
            .iter()
            .zip(1..)
            .map(|((name, priority), port)| TrunkSpec {
                priority: *priority,
                ..peer(name, &format!("192.0.2.1:{port}"))
            });
        let routes = trunks.iter().map(|(name, _)| RouteSpec {
            trunk: name.parse().unwrap(),
            session: "main".parse().unwrap(),
            priority: 100,
            terms: model::RouteTerms::default(),
        });
        let session = SessionSpec {
            text_bridge,
            ..SessionSpec::new("main".parse().unwrap())
        };
        Table::new(specs.collect(), vec![session], routes.collect())
    };
    let session = "main".parse().unwrap();
    let to_pbx = |table: &Table, reachable: &[&'static str], user_id: i64| {
        let world = Now {
            reachable: reachable.iter().copied().collect(),
            ..now()
        };
        let offer = TelegramOffer {
            session: &session,
            user_id,
            dialled: None,
        };
        text_trunk(table, &world, &offer).map(|trunk| trunk.name.to_string())
    };
    let table = build(true);
    assert_eq!(to_pbx(&table, &["a", "b", "c"], 7).as_deref(), Some("b"));
    assert_eq!(to_pbx(&table, &["a", "c"], 7).as_deref(), Some("c"));
    assert_eq!(to_pbx(&table, &[], 7), None);
    assert_eq!(to_pbx(&table, &["a"], 1), None, "an account of this switch");
    assert_eq!(to_pbx(&build(false), &["a"], 7), None);

    let from_pbx = |table: &Table| {
        let trunk = table.trunk(&"a".parse().unwrap()).unwrap();
        // He talks, and can read all the same.
        let world = Now {
            talking: Some(Peer::Username("alice".into())),
            reachable: ["a"].into_iter().collect(),
            ..now()
        };
        let offer = SipOffer {
            trunk,
            source: "192.0.2.1:1".parse().unwrap(),
            request_user: "alice",
            to_user: "",
        };
        decide_sip_text(table, &world, &offer).map(|to| to.peer)
    };
    assert_eq!(from_pbx(&table), Ok(Peer::Username("alice".into())));
    assert!(table.passes_texts(&"a".parse().unwrap()));
    let refused = from_pbx(&build(false)).unwrap_err();
    assert_eq!(refused.to_string(), "403 Route is not permitted");
    assert!(!build(false).passes_texts(&"a".parse().unwrap()));
}
