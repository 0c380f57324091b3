//! Routes that take some numbers, and rewrite them.

use model::{QuotaSpec, Reason, RouteTerms, TermsError, TransitSpec};

use super::*;

fn terms(matches: &str, rules: &str) -> RouteTerms {
    RouteTerms {
        matches: matches.parse().unwrap(),
        rules: rules.parse().unwrap(),
        ..RouteTerms::default()
    }
}

fn to_session(session: &str, priority: u32, terms: RouteTerms) -> RouteSpec {
    RouteSpec {
        priority,
        terms,
        ..RouteSpec::new("office".parse().unwrap(), session.parse().unwrap())
    }
}

fn to_trunk(to: &str, priority: u32, terms: RouteTerms) -> TransitSpec {
    TransitSpec {
        priority,
        terms,
        ..TransitSpec::new("office".parse().unwrap(), to.parse().unwrap())
    }
}

/// The trunks office, provider and branch, and the sessions sales and support, all of them up.
fn table(routes: Vec<RouteSpec>, ways: Vec<TransitSpec>) -> Table {
    let trunks = [("office", 1), ("provider", 2), ("branch", 3)];
    let trunks = trunks.map(|(name, n)| peer(name, &format!("192.0.2.{n}:5060")));
    let sessions = ["sales", "support"].map(|name| SessionSpec::new(name.parse().unwrap()));
    Table::new(trunks.into(), sessions.into(), routes).with_transits(ways)
}

fn world() -> Now {
    Now {
        reachable: ["office", "provider", "branch"].into(),
        ..now()
    }
}

fn offer<'a>(table: &'a Table, number: &'a str) -> SipOffer<'a> {
    SipOffer {
        trunk: table.trunk(&"office".parse().unwrap()).unwrap(),
        source: "192.0.2.1:5060".parse().unwrap(),
        request_user: number,
        to_user: number,
    }
}

/// Where a number leads, and what becomes of it.
fn goes(table: &Table, number: &str) -> String {
    let offer = offer(table, number);
    if offer.is_transit(table) {
        return match decide_transit(table, &world(), &offer) {
            Ok(mut to) => {
                let first = to.hunt.next_group().unwrap().remove(0);
                let number = to.rewritten.number(&first).unwrap_or(&to.number);
                format!("{first} {number}")
            }
            Err(cause) => cause.to_string(),
        };
    }
    match decide_sip(table, &world(), &offer) {
        Ok(to) => format!("{} {}", to.session.name, to.peer),
        Err(cause) => cause.to_string(),
    }
}

#[test]
fn a_call_goes_by_the_first_route_that_takes_its_number() {
    let table = table(
        vec![
            to_session("support", 50, terms("^9", "^9=")),
            to_session("sales", 100, RouteTerms::default()),
        ],
        vec![
            to_trunk("provider", 10, terms("^00", "^00=+")),
            to_trunk("branch", 60, terms(r"^\d{3}$", "")),
        ],
    );
    for (number, leads) in [
        ("0049301234567", "provider +49301234567"),
        ("9alice_b", "support tg:alice_b"),
        ("601", "branch 601"),
        // Before the way to branch there is the route to support.
        ("9bob", "support tg:bob"),
        ("alice_b", "sales tg:alice_b"),
        ("+4915550001", "sales tel:+4915550001"),
    ] {
        let got = goes(&table, number);
        let (to, called) = leads.split_once(' ').unwrap();
        let called = called.split_once(':').map_or(called, |(_, name)| name);
        assert!(
            got.starts_with(to) && got.ends_with(called),
            "{number}: {got}, not {leads}"
        );
    }
}

#[test]
fn a_number_that_no_route_takes_is_not_found_and_one_without_routes_not_permitted() {
    let some = table(vec![to_session("sales", 100, terms("^9", ""))], Vec::new());
    assert_eq!(
        goes(&some, "+4915550001"),
        Cause::new(Reason::NotFound).to_string()
    );
    let none = table(Vec::new(), Vec::new());
    assert_eq!(
        goes(&none, "+4915550001"),
        Cause::new(Reason::RouteNotPermitted).to_string()
    );
    // A way that ends at a trunk is none for its own calls.
    let way = TransitSpec::new("branch".parse().unwrap(), "office".parse().unwrap());
    let ended = table(Vec::new(), vec![way]);
    assert_eq!(
        goes(&ended, "601"),
        Cause::new(Reason::RouteNotPermitted).to_string()
    );
    // Rules that leave nothing of a number take none.
    let empty = table(
        vec![to_session("sales", 100, terms("", ".*="))],
        vec![to_trunk("branch", 50, terms("^6", ".*="))],
    );
    for number in ["alice_b", "601"] {
        assert_eq!(
            goes(&empty, number),
            Cause::new(Reason::NotFound).to_string()
        );
    }
}

#[test]
fn sessions_of_one_priority_share_only_the_numbers_that_each_takes() {
    let table = table(
        vec![
            to_session("sales", 100, terms(r"^\+49", "")),
            to_session("support", 100, RouteTerms::default()),
        ],
        Vec::new(),
    );
    // The one that was used least recently: both were never, and sales comes first.
    assert!(goes(&table, "+4915550001").starts_with("sales"));
    assert!(goes(&table, "+1555000100").starts_with("support"));
}

#[test]
fn what_a_telegram_user_dials_is_chosen_and_rewritten_by_the_route_too() {
    let mut office = peer("office", "192.0.2.1:5060");
    office.number = Some("600".to_owned());
    let branch = peer("branch", "192.0.2.3:5060");
    let route = |trunk: &str, terms| RouteSpec {
        terms,
        ..RouteSpec::new(trunk.parse().unwrap(), "sales".parse().unwrap())
    };
    let routes = vec![
        route("office", terms("^6", "^6=96")),
        route("branch", terms("^7", "")),
    ];
    let sessions = vec![SessionSpec::new("sales".parse().unwrap())];
    let table = Table::new(vec![office, branch], sessions, routes);
    let session = "sales".parse().unwrap();
    let number = |trunk: &str, wrote| table.number_in(&trunk.parse().unwrap(), &session, wrote);
    assert_eq!(number("office", None), Ok(Some("9600".to_owned())));
    assert_eq!(number("office", Some("61")), Ok(Some("961".to_owned())));
    assert_eq!(number("office", Some("71")), Err(NotTaken));
    assert_eq!(number("branch", Some("71")), Ok(Some("71".to_owned())));
    // Branch has no number of its own, which its route could take.
    assert_eq!(number("branch", None), Err(NotTaken));
    let hunted = |dialled: Option<&Dialled>| {
        let offer = TelegramOffer {
            session: &session,
            user_id: 7,
            dialled,
        };
        let hunt = decide_telegram(&table, &world(), &offer).unwrap();
        hunt.trunks().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(hunted(None), ["office"]);
    let both = ["office", "branch"].map(|name| (name.parse().unwrap(), "71".to_owned()));
    assert_eq!(hunted(Some(&both.into_iter().collect())), ["branch"]);
}

#[test]
fn a_route_shows_callers_in_its_own_way() {
    let shown = RouteTerms {
        caller_id: Some(vec!["7{userid}".to_owned()].try_into().unwrap()),
        ..RouteTerms::default()
    };
    let masked = RouteTerms {
        caller_rules: r"^10(\d)$=+4930\1 ^\+".parse().unwrap(),
        ..RouteTerms::default()
    };
    let table = table(
        vec![
            to_session("sales", 100, shown),
            to_session("support", 100, RouteTerms::default()),
        ],
        vec![
            to_trunk("provider", 10, masked),
            to_trunk("branch", 10, RouteTerms::default()),
        ],
    );
    let name = |name: &str| name.parse::<TrunkName>().unwrap();
    let caller = CallerIdentity {
        user_id: 42,
        ..CallerIdentity::default()
    };
    let id = |session: &str| {
        let rules = table.caller_rules(&name("office"), &session.parse().unwrap());
        caller_id(rules.unwrap().0, &caller).unwrap()
    };
    assert_eq!(
        (id("sales"), id("support")),
        ("742".to_owned(), "042".to_owned())
    );
    let on_way = |to: &str, user| table.caller_on_way(&name("office"), &name(to), user);
    assert_eq!(on_way("provider", "101").as_deref(), Some("+49301"));
    assert_eq!(
        on_way("provider", "secret"),
        None,
        "the rules do not take it"
    );
    assert_eq!(on_way("branch", "101").as_deref(), Some("101"));
}

#[test]
fn a_route_counts_only_with_a_quota_of_its_own() {
    let counted = RouteTerms {
        quota: Some("short".parse().unwrap()),
        ..RouteTerms::default()
    };
    let quota = QuotaSpec::new("short".parse().unwrap());
    let table = table(
        vec![
            to_session("sales", 100, counted.clone()),
            to_session("support", 100, RouteTerms::default()),
        ],
        vec![to_trunk("provider", 10, counted)],
    )
    .with_quotas(vec![quota, QuotaSpec::new("default".parse().unwrap())]);
    let office = "office".parse().unwrap();
    let of_route = |session: &str| table.quota_of_route(&office, &session.parse().unwrap());
    let subject = of_route("sales").unwrap().0;
    assert_eq!(subject.to_string(), "route/office/sales");
    assert_eq!(subject.to_string().parse(), Ok(subject));
    assert!(of_route("support").is_none());
    let subject = table
        .quota_of_way(&office, &"provider".parse().unwrap())
        .unwrap()
        .0;
    assert_eq!(subject.to_string(), "transit/office/provider");
    assert_eq!(subject.to_string().parse(), Ok(subject));
}

#[test]
fn terms_that_a_route_cannot_have_are_refused() {
    assert_eq!(
        terms("^9 ^9=", "").check_to_session(),
        Err(TermsError::Rewrites(4))
    );
    assert_eq!(terms("^9 !9$", "^9=").check_to_trunk(), Ok(()));
    let shown = RouteTerms {
        caller_id: Some(vec!["{phone}".to_owned()].try_into().unwrap()),
        ..RouteTerms::default()
    };
    assert_eq!(shown.check_to_session(), Ok(()));
    assert_eq!(shown.check_to_trunk(), Err(TermsError::CallerId));
    let masked = RouteTerms {
        caller_rules: "^1=2".parse().unwrap(),
        ..RouteTerms::default()
    };
    assert_eq!(masked.check_to_session(), Err(TermsError::CallerRules));
    assert_eq!(masked.check_to_trunk(), Ok(()));
}

#[test]
fn the_steps_tell_which_route_took_the_number_and_what_it_made_of_it() {
    let table = table(
        vec![to_session("sales", 100, terms("", "^7=+4"))],
        vec![to_trunk("provider", 10, terms("^00", "^00=+"))],
    );
    let said = |number| {
        let steps = steps_of_sip(&table, &world(), &offer(&table, number)).into_iter();
        let lines = steps.map(|step| match step.number {
            Some(number) => format!("{} -> {number}\n", step.what),
            None => format!("{}\n", step.what),
        });
        lines.collect::<String>()
    };
    let to_sales = said("715550001");
    for line in [
        "the route to provider does not take it: match `^00`",
        "rule of the route to sales, 1 rewrites `^7` -> +415550001",
    ] {
        assert!(to_sales.contains(line), "{to_sales}");
    }
    let to_provider = said("0049301");
    let line = "rule of the route to provider, 1 rewrites `^00` -> +49301";
    assert!(to_provider.contains(line), "{to_provider}");
}
