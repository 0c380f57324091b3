//! In which order trunks ring, and what is told when none answers.

use model::Reason;

use super::*;

/// A table of trunks, each with the priority of its route and its own.
fn hunting(trunks: &[(&str, u32, u32)]) -> Table {
    let specs = trunks.iter().zip(1..).map(|((name, _, own), port)| {
        let spec = peer(name, &format!("192.0.2.1:{port}"));
        TrunkSpec {
            priority: *own,
            ..spec
        }
    });
    let routes = trunks.iter().map(|(name, priority, _)| RouteSpec {
        trunk: name.parse().unwrap(),
        session: "main".parse().unwrap(),
        priority: *priority,
        terms: model::RouteTerms::default(),
    });
    let session = SessionSpec::new("main".parse().unwrap());
    Table::new(specs.collect(), vec![session], routes.collect())
}

fn groups(table: &Table, reachable: &[&'static str]) -> Result<Vec<String>, String> {
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
    let mut hunt = decide_telegram(table, &world, &offer).map_err(|cause| cause.to_string())?;
    let mut groups = Vec::new();
    while let Some(group) = hunt.next_group() {
        let running = running(table, &world, &group);
        let names: Vec<&str> = running.iter().map(|trunk| trunk.name.as_str()).collect();
        groups.push(names.join("+"));
    }
    Ok(groups)
}

#[test]
fn equal_priorities_ring_together_and_lower_numbers_first() {
    let table = hunting(&[
        ("a", 100, 100),
        ("b", 100, 100),
        ("c", 100, 50),
        ("d", 200, 1),
        ("e", 10, 999),
        ("f", 100, 100),
    ]);
    let all = ["a", "b", "c", "d", "e", "f"];
    assert_eq!(groups(&table, &all).unwrap(), ["e", "c", "a+b+f", "d"]);
}

#[test]
fn trunks_that_do_not_run_are_skipped_when_their_turn_comes() {
    let table = hunting(&[("a", 1, 100), ("b", 1, 100), ("c", 2, 100)]);
    assert_eq!(groups(&table, &["b"]).unwrap(), ["b", ""]);
    assert_eq!(groups(&table, &["c"]).unwrap(), ["", "c"]);
    let nothing = groups(&table, &[]).unwrap_err();
    assert_eq!(nothing, "503 SIP account is unavailable");
}

#[test]
fn a_trunk_that_is_off_has_no_turn() {
    let mut off = peer("off", "192.0.2.7:5060");
    off.enabled = false;
    let session = SessionSpec::new("main".parse().unwrap());
    let route = RouteSpec {
        trunk: "off".parse().unwrap(),
        session: "main".parse().unwrap(),
        priority: 1,
        terms: model::RouteTerms::default(),
    };
    let table = Table::new(vec![off], vec![session], vec![route]);
    let refused = groups(&table, &["off"]).unwrap_err();
    assert_eq!(refused, "503 SIP account is unavailable");
}

#[test]
fn the_caller_is_told_the_best_of_all_failures() {
    let told = |codes: &[u16]| {
        let mut hunt = Hunt::new([]);
        for code in codes {
            hunt.failed(Cause::sip_refused(*code, &format!("said {code}")));
        }
        hunt.cause().to_string()
    };
    assert_eq!(told(&[]), "503 SIP account is unavailable");
    assert_eq!(
        told(&[404, 503, 486, 480, 603, 500]),
        "486 said 486",
        "busy tells most"
    );
    assert_eq!(told(&[503, 603, 480, 404]), "480 said 480");
    assert_eq!(told(&[603, 404, 503]), "603 said 603");
    assert_eq!(told(&[503, 404, 500]), "404 said 404");
    assert_eq!(told(&[500, 503, 488]), "503 said 503");
    assert_eq!(told(&[488, 500, 402]), "402 said 402", "the last one");
    let mut hunt = Hunt::new([]);
    hunt.failed(Cause::new(Reason::SipNoAnswer));
    hunt.failed(Cause::new(Reason::LinesLimit));
    assert_eq!(hunt.cause().to_string(), "480 No answer");
}

#[test]
fn a_hunt_ends_with_the_first_6xx_if_its_session_says_so() {
    let told = |stops, codes: &[u16]| {
        let group: Vec<TrunkName> = vec!["later".parse().unwrap()];
        let mut hunt = Hunt::new([group]).stopping_on_6xx(stops);
        for code in codes {
            hunt.failed(Cause::sip_refused(*code, ""));
        }
        (
            hunt.is_stopped(),
            hunt.next_group().is_some(),
            hunt.cause().code(),
        )
    };
    assert_eq!(told(false, &[603]), (false, true, 603), "the default");
    assert_eq!(told(true, &[603]), (true, false, 603));
    assert_eq!(
        told(true, &[486, 600, 603]),
        (true, false, 600),
        "before the best"
    );
    assert_eq!(told(true, &[486, 599]), (false, true, 486));
    let mut table = hunting(&[("a", 1, 100), ("b", 2, 100)]);
    for (stops, left) in [(false, true), (true, false)] {
        let session = SessionSpec {
            stop_on_6xx: stops,
            ..SessionSpec::new("main".parse().unwrap())
        };
        let route = |trunk: &str, priority| RouteSpec {
            trunk: trunk.parse().unwrap(),
            session: session.name.clone(),
            priority,
            terms: model::RouteTerms::default(),
        };
        let trunks = table.trunks().cloned().collect();
        table = Table::new(
            trunks,
            vec![session.clone()],
            vec![route("a", 1), route("b", 2)],
        );
        let world = Now {
            reachable: HashSet::from(["a", "b"]),
            ..now()
        };
        let offer = TelegramOffer {
            session: &session.name,
            user_id: 7,
            dialled: None,
        };
        let mut hunt = decide_telegram(&table, &world, &offer).unwrap();
        hunt.next_group();
        hunt.failed(Cause::sip_refused(603, "Decline"));
        assert_eq!(hunt.next_group().is_some(), left);
    }
}
