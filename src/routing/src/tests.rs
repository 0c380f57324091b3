use std::collections::HashSet;
use std::net::SocketAddr;

use model::{
    CallId, Cause, Peer, RouteSpec, Secret, SessionName, SessionSpec, TransitSpec, TrunkKind,
    TrunkName, TrunkSpec,
};

use super::*;

mod caller;
mod dial;
mod hunt;
mod leases;
mod number;
mod order;
mod pool;
mod roles;
mod route;
mod text;
mod transit;

fn trunk(name: &str, kind: TrunkKind) -> TrunkSpec {
    TrunkSpec::new(name.parse().unwrap(), kind)
}

fn registering(name: &str, login: &str) -> TrunkSpec {
    trunk(
        name,
        TrunkKind::InboundRegister {
            login: login.into(),
            password: Secret::new("secret-secret".into()),
        },
    )
}

fn peer(name: &str, address: &str) -> TrunkSpec {
    trunk(
        name,
        TrunkKind::Peer {
            address: address.parse().unwrap(),
        },
    )
}

fn table() -> Table {
    let session = SessionSpec {
        phone: "+999 66 2 0001".into(),
        ..SessionSpec::new("main".parse().unwrap())
    };
    let route = |trunk: &str, priority| RouteSpec {
        trunk: trunk.parse().unwrap(),
        session: "main".parse().unwrap(),
        priority,
        terms: model::RouteTerms::default(),
    };
    let lonely = peer("lonely", "192.0.2.9:5060");
    Table::new(
        vec![
            registering("office", "login1"),
            peer("peer", "192.0.2.1:5060"),
            lonely,
        ],
        vec![session],
        vec![route("peer", 200), route("office", 100)],
    )
}

struct Now {
    reachable: HashSet<&'static str>,
    state: SessionState,
    starting: bool,
    talking: Option<Peer>,
}

impl World for Now {
    fn is_reachable(&self, trunk: &TrunkName) -> bool {
        self.reachable.contains(trunk.as_str())
    }
    fn is_blocked(&self, _: &TrunkName) -> bool {
        false
    }
    fn session_state(&self, _: &SessionName) -> SessionState {
        self.state
    }
    fn is_starting(&self, _: &SessionName) -> bool {
        self.starting
    }
    fn calls_of(&self, _: &SessionName) -> u32 {
        0
    }
    fn is_talking(&self, _: &SessionName, peer: &Peer) -> bool {
        self.talking.as_ref() == Some(peer)
    }
    fn last_used(&self, _: &SessionName) -> u64 {
        0
    }
    fn knows(&self, _: &SessionName, _: &Peer) -> bool {
        false
    }
    fn is_own_account(&self, user_id: i64) -> bool {
        user_id == 1
    }
}

fn now() -> Now {
    Now {
        reachable: HashSet::from(["office", "peer", "lonely"]),
        state: SessionState::Running,
        starting: false,
        talking: None,
    }
}

fn call(world: &Now, from: &str, request_user: &str, to_user: &str) -> Result<Peer, String> {
    let table = table();
    let trunk = table.trunk(&from.parse().unwrap()).unwrap();
    let offer = SipOffer {
        trunk,
        source: "192.0.2.1:5060".parse().unwrap(),
        request_user,
        to_user,
    };
    decide_sip(&table, world, &offer)
        .map(|to| to.peer)
        .map_err(|cause| cause.to_string())
}

#[test]
fn a_sender_is_known_by_address_then_by_login() {
    let table = table();
    let who =
        |source: &str, login| match identify(&table, source.parse().unwrap(), login, &|_| false) {
            Identity::Peer(trunk) => format!("peer {}", trunk.name),
            Identity::Login(trunk) => format!("login {}", trunk.name),
            Identity::UnknownLogin => "unknown".into(),
            Identity::Stranger => "stranger".into(),
        };
    assert_eq!(who("192.0.2.1:5060", None), "peer peer");
    assert_eq!(who("192.0.2.1:5060", Some("login1")), "peer peer");
    assert_eq!(who("192.0.2.1:40000", None), "peer peer");
    assert_eq!(who("192.0.2.1:40000", Some("login1")), "login office");
    assert_eq!(who("203.0.113.5:5060", Some("login1")), "login office");
    assert_eq!(who("203.0.113.5:5060", Some("other")), "unknown");
    assert_eq!(who("203.0.113.5:5060", None), "stranger");
    assert_eq!(
        who("[::ffff:192.0.2.1]:5060", None),
        "peer peer",
        "as a dual-stack socket shows it"
    );
}

#[test]
fn peers_at_one_address_are_told_apart_by_their_headers() {
    let marked = |name: &str, header: &str| TrunkSpec {
        header: Some(header.parse().unwrap()),
        ..peer(name, "192.0.2.1:5060")
    };
    let (seven, eight) = (marked("seven", "X-Line:7"), marked("eight", "X-Line:8"));
    let who = |trunks: &[&TrunkSpec], source: &str, sent: &str| {
        let trunks = trunks.iter().map(|trunk| (*trunk).clone()).collect();
        let table = Table::new(trunks, Vec::new(), Vec::new());
        let carries = |field: &model::HeaderField| field.to_string().eq_ignore_ascii_case(sent);
        let source = source.parse().unwrap();
        match identify(&table, source, None, &carries) {
            Identity::Peer(trunk) => trunk.name.to_string(),
            other => format!("{other:?}"),
        }
    };
    let plain = peer("plain", "192.0.2.1:5060");
    let (here, elsewhere) = ("192.0.2.1:5060", "192.0.2.1:40000");
    // Alone it is known without its header.
    assert_eq!(who(&[&seven], here, ""), "seven");
    assert_eq!(who(&[&seven], elsewhere, "X-Line:8"), "seven");
    for source in [here, elsewhere] {
        assert_eq!(who(&[&seven, &eight], source, "x-line:8"), "eight");
        assert_eq!(who(&[&seven, &eight], source, "X-Line:9"), "Stranger");
        assert_eq!(who(&[&seven, &eight], source, ""), "Stranger");
        assert_eq!(who(&[&plain, &seven, &eight], source, "X-Line:7"), "seven");
        assert_eq!(who(&[&seven, &plain, &eight], source, ""), "plain");
    }
    // The port decides before the header does.
    let other = peer("other", "192.0.2.1:5062");
    assert_eq!(
        who(&[&seven, &other], "192.0.2.1:5062", "X-Line:7"),
        "other"
    );
}

#[test]
fn two_peers_at_one_address_are_told_apart_by_their_ports() {
    let two = vec![peer("a", "192.0.2.1:5060"), peer("b", "192.0.2.1:5062")];
    let table = Table::new(two, Vec::new(), Vec::new());
    let who = |source: &str| {
        let trunk = table.peer_at(source.parse().unwrap(), true, &|_| false);
        trunk.map(|trunk| trunk.name.to_string())
    };
    assert_eq!(who("192.0.2.1:5062").as_deref(), Some("b"));
    assert_eq!(who("192.0.2.1:40000"), None);
    assert!(!table.takes_logins(), "a stranger cannot prove itself");
}

#[test]
fn records_that_contradict_each_other_are_named() {
    let session = SessionSpec::new("main".parse().unwrap());
    let route = RouteSpec {
        trunk: "a".parse().unwrap(),
        session: "main".parse().unwrap(),
        priority: 1,
        terms: model::RouteTerms::default(),
    };
    let (sessions, routes) = ([session], [route]);
    let said = |trunks: &[TrunkSpec], sessions: &[SessionSpec]| {
        let table = Table::new(trunks.to_vec(), sessions.to_vec(), routes.to_vec());
        let conflict = check(&Table::default(), &table).err();
        conflict.map(|conflict| conflict.to_string())
    };
    let fine = [registering("a", "login1"), registering("b", "login2")];
    assert_eq!(said(&fine, &sessions), None);
    let login = [registering("a", "login1"), registering("b", "login1")];
    assert_eq!(
        said(&login, &sessions).as_deref(),
        Some("trunks a and b have the same login: give one of them another")
    );
    let address = [peer("a", "192.0.2.1:5060"), peer("b", "192.0.2.1:5060")];
    let conflict = said(&address, &sessions).unwrap();
    assert!(conflict.contains("192.0.2.1:5060"), "{conflict}");
    let lost = "the route a - main names a session that does not exist";
    assert_eq!(said(&fine, &[]).as_deref(), Some(lost));
    let lost = "the route a - main names a trunk that does not exist";
    assert_eq!(said(&[], &sessions).as_deref(), Some(lost));
}

#[test]
fn what_differs_is_checked_and_an_old_conflict_can_be_mended() {
    let session = SessionSpec::new("main".parse().unwrap());
    let route = RouteSpec {
        trunk: "c".parse().unwrap(),
        session: "main".parse().unwrap(),
        priority: 1,
        terms: model::RouteTerms::default(),
    };
    let trunks = vec![
        peer("a", "192.0.2.1:5060"),
        peer("b", "192.0.2.1:5060"),
        peer("c", "192.0.2.3:5060"),
    ];
    let before = Table::new(trunks, vec![session], vec![route]);
    let after = |change: &dyn Fn(&mut Table)| {
        let mut after = before.clone();
        change(&mut after);
        check(&before, &after).err().map(|it| it.to_string())
    };
    // What an older program let in is not held against whoever changes something else, or something else about it.
    let more_lines = |table: &mut Table| {
        let mut trunk = peer("b", "192.0.2.1:5060");
        trunk.lines = 7;
        table.put_trunk(trunk);
    };
    assert_eq!(after(&more_lines), None);
    assert_eq!(
        after(&|table| table.put_trunk(peer("b", "192.0.2.2:5060"))),
        None
    );
    let worse = after(&|table| table.put_trunk(peer("c", "192.0.2.1:5060"))).unwrap();
    assert!(
        worse.contains("trunks a and c have the same address"),
        "{worse}"
    );
    let gone = after(&|table| assert!(table.remove_trunk(&"c".parse().unwrap()))).unwrap();
    assert!(gone.contains("names a trunk that does not exist"), "{gone}");
    let gone = after(&|table| assert!(table.remove_session(&"main".parse().unwrap()))).unwrap();
    assert!(
        gone.contains("names a session that does not exist"),
        "{gone}"
    );
    // Whoever is found by its login or address is found by the new one, and by the old one no more.
    let mut moved = before.clone();
    moved.put_trunk(registering("a", "desk"));
    let at = |table: &Table| {
        let source = "192.0.2.1:5060".parse().unwrap();
        let trunk = table.peer_at(source, true, &|_| false);
        trunk.map(|trunk| trunk.name.to_string())
    };
    assert_eq!((at(&before), at(&moved).as_deref()), (None, Some("b")));
    assert_eq!(moved.by_login("desk").unwrap().name.as_str(), "a");
    assert!(before.by_login("desk").is_none());
    let changed = before.changed_trunks(&moved);
    assert_eq!(changed.len(), 1);
    moved.put_trunk(peer("a", "192.0.2.1:5060"));
    assert!(!moved.takes_logins() && before.changed_trunks(&moved).is_empty());
}

#[test]
fn a_trunk_whose_first_session_is_off_uses_the_next() {
    let session = |name: &str, enabled| SessionSpec {
        enabled,
        ..SessionSpec::new(name.parse().unwrap())
    };
    let route = |session: &str, priority| RouteSpec {
        trunk: "peer".parse().unwrap(),
        session: session.parse().unwrap(),
        priority,
        terms: model::RouteTerms::default(),
    };
    let of = |first, second| {
        let table = Table::new(
            vec![peer("peer", "192.0.2.1:5060")],
            vec![session("first", first), session("second", second)],
            vec![route("gone", 1), route("second", 20), route("first", 10)],
        );
        let session = table.session_of(&"peer".parse().unwrap());
        session.unwrap().name.to_string()
    };
    assert_eq!(of(true, true), "first");
    assert_eq!(of(false, true), "second");
    assert_eq!(of(false, false), "first");
}

#[test]
fn every_refusal_of_a_pbx_call_has_its_exact_phrase() {
    assert_eq!(
        call(&now(), "peer", "ann_b", "x"),
        Ok(Peer::Username("ann_b".into()))
    );
    let away = Now {
        reachable: HashSet::new(),
        ..now()
    };
    assert_eq!(
        call(&away, "office", "ann_b", "x"),
        Err("405 REGISTER is required first".into())
    );
    assert_eq!(
        call(&away, "peer", "ann_b", "x"),
        Ok(Peer::Username("ann_b".into())),
        "a peer does not register"
    );
    assert_eq!(
        call(&now(), "lonely", "ann_b", "x"),
        Err("403 Route is not permitted".into())
    );
    for (state, expected) in [
        (SessionState::Offline, "503 Session is not running"),
        (SessionState::Unauthorized, "503 Session is not running"),
        (SessionState::Restricted, "503 PEER_FLOOD"),
    ] {
        assert_eq!(
            call(&Now { state, ..now() }, "peer", "ann_b", "x"),
            Err(expected.into())
        );
    }
    let starting = |state| Now {
        state,
        starting: true,
        ..now()
    };
    for (state, expected) in [
        (SessionState::Offline, "503 Worker is not ready"),
        (SessionState::Connecting, "503 Worker is not ready"),
        (SessionState::Unauthorized, "503 Session is not running"),
    ] {
        let refused = call(&starting(state), "peer", "ann_b", "x");
        assert_eq!(refused, Err(expected.into()), "{state:?}");
    }
    assert_eq!(call(&now(), "peer", "?", "x"), Err("404 Not Found".into()));
    assert_eq!(
        call(&now(), "peer", "+9996620001", "x"),
        Err("482 Loop Detected".into()),
        "the account's own number"
    );
    let talking = Now {
        talking: Some(Peer::Username("ann_b".into())),
        ..now()
    };
    assert_eq!(
        call(&talking, "peer", "ann_b", "x"),
        Err("486 Busy Here".into())
    );
}

#[test]
fn what_is_off_is_not_what_is_missing() {
    let session = |enabled| SessionSpec {
        enabled,
        ..SessionSpec::new("main".parse().unwrap())
    };
    let route = RouteSpec {
        trunk: "peer".parse().unwrap(),
        session: "main".parse().unwrap(),
        priority: 1,
        terms: model::RouteTerms::default(),
    };
    let of = |trunk_on, session_on, routes: &[RouteSpec]| {
        let mut trunk = peer("peer", "192.0.2.1:5060");
        trunk.enabled = trunk_on;
        let table = Table::new(
            vec![trunk.clone()],
            vec![session(session_on)],
            routes.to_vec(),
        );
        let offer = SipOffer {
            trunk: &trunk,
            source: "192.0.2.1:5060".parse().unwrap(),
            request_user: "ann_b",
            to_user: "x",
        };
        let told = |cause: Cause| cause.to_string();
        let call = decide_sip(&table, &now(), &offer).unwrap_err();
        let register = admit_register(&table, &now(), &trunk).unwrap_err();
        (told(call), told(register))
    };
    let routes = [route];
    for (refused, call, register) in [
        (
            of(false, true, &routes),
            "503 Account is not running",
            "403 Route is not permitted",
        ),
        (
            of(true, false, &routes),
            "503 Session is not running",
            "403 Telegram session is inactive",
        ),
        (
            of(true, true, &[]),
            "403 Route is not permitted",
            "403 Route is not permitted",
        ),
    ] {
        assert_eq!(refused, (call.to_owned(), register.to_owned()));
    }
}

#[test]
fn a_pbx_that_dials_its_own_login_means_the_number_in_to() {
    assert_eq!(
        call(&now(), "office", "login1", "ann_b"),
        Ok(Peer::Username("ann_b".into()))
    );
}

#[test]
fn an_account_of_this_switch_cannot_call_another() {
    let session = "main".parse().unwrap();
    let offer = TelegramOffer {
        session: &session,
        user_id: 1,
        dialled: None,
    };
    let looped = decide_telegram(&table(), &now(), &offer).unwrap_err();
    assert_eq!(looped.to_string(), "482 Caller has active gateway accounts");
}

#[test]
fn registration_is_refused_only_when_the_account_is_logged_out() {
    let table = table();
    let office = table.by_login("login1").unwrap();
    let admit = |state| {
        admit_register(&table, &Now { state, ..now() }, office)
            .map_err(|cause: Cause| cause.to_string())
    };
    assert_eq!(admit(SessionState::Offline), Ok(()));
    assert_eq!(
        admit(SessionState::Unauthorized),
        Err("403 Telegram session is inactive".into())
    );
}

#[test]
fn a_call_that_rings_at_several_trunks_holds_a_line_of_each() {
    let name = |name: &str| name.parse::<TrunkName>().unwrap();
    let (first, second, session) = (name("a"), name("b"), "s".parse::<SessionName>().unwrap());
    let (call, other) = (CallId::new(1, 1), CallId::new(1, 2));
    let mut lines = Lines::default();
    assert_eq!(lines.take(call, &first, 1), Err(Full::Session), "not open");
    lines.open(call, Some(&session), 1).unwrap();
    assert_eq!(lines.open(other, Some(&session), 1), Err(Full::Session));
    lines.open(other, Some(&session), 0).unwrap();
    assert_eq!(lines.take(call, &first, 1), Ok(()));
    assert_eq!(lines.take(call, &first, 1), Ok(()), "its own line");
    assert_eq!(lines.take(call, &second, 1), Ok(()));
    assert_eq!(lines.take(other, &first, 1), Err(Full::Trunk));
    let used = |lines: &Lines| (lines.trunk_in_use(&first), lines.trunk_in_use(&second));
    assert_eq!(used(&lines), (1, 1));
    // The second answered.
    lines.give_back(call, &first);
    lines.give_back(call, &first);
    assert_eq!((used(&lines), lines.session_in_use(&session)), ((0, 1), 2));
    assert_eq!(lines.take(other, &first, 1), Ok(()));
    assert_eq!(lines.release(call), Some(vec![second.clone()]));
    assert_eq!(lines.release(other), Some(vec![first.clone()]));
    assert_eq!((used(&lines), lines.calls()), ((0, 0), 0));
}

/// Random openings, takings, returns, adoptions, releases and repeated releases: never above a limit, never a leak.
#[test]
fn lines_are_never_above_the_limit_and_never_leak() {
    const LIMITS: [u32; 3] = [2, 3, 0];
    const SESSION_LIMIT: u32 = 6;
    let trunks: Vec<TrunkName> = ["a", "b", "c"].map(|name| name.parse().unwrap()).into();
    let session: SessionName = "s".parse().unwrap();
    let mut lines = Lines::default();
    // What must be true, kept the plain way: which trunks each open call is on.
    let mut model: Vec<Option<HashSet<usize>>> = vec![None; 12];
    let mut state = 42u64;
    let mut dice = |sides: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % sides
    };
    for _ in 0..50_000 {
        let (n, trunk) = (dice(model.len()), dice(trunks.len()));
        let call = CallId::new(1, n as u128);
        match dice(9) {
            0 => {
                lines.adopt(call, &trunks[..trunk], Some(&session), None);
                model[n] = Some((0..trunk).collect());
            }
            1 | 2 => {
                model[n] = None;
                let full = model.iter().flatten().count() >= SESSION_LIMIT as usize;
                let opened = lines.open(call, Some(&session), SESSION_LIMIT);
                assert_eq!(opened.is_err(), full);
                if opened.is_ok() {
                    model[n] = Some(HashSet::new());
                }
            }
            3..=5 => {
                let on = |call: &&HashSet<usize>| call.contains(&trunk);
                let used = model.iter().flatten().filter(on).count();
                let full = LIMITS[trunk] != 0 && used >= LIMITS[trunk] as usize;
                let expected = match &model[n] {
                    None => Err(Full::Session),
                    Some(held) if full && !held.contains(&trunk) => Err(Full::Trunk),
                    Some(_) => Ok(()),
                };
                assert_eq!(lines.take(call, &trunks[trunk], LIMITS[trunk]), expected);
                if let (Ok(()), Some(held)) = (expected, &mut model[n]) {
                    held.insert(trunk);
                }
            }
            6 => {
                lines.give_back(call, &trunks[trunk]);
                if let Some(held) = &mut model[n] {
                    held.remove(&trunk);
                }
            }
            _ => {
                let held = model[n].take().map(|held| held.len());
                assert_eq!(lines.release(call).map(|trunks| trunks.len()), held);
                assert_eq!(
                    lines.release(call),
                    None,
                    "a second release returns nothing"
                );
            }
        }
        for (trunk, name) in trunks.iter().enumerate() {
            let on = model.iter().flatten().filter(|held| held.contains(&trunk));
            assert_eq!(lines.trunk_in_use(name) as usize, on.count());
        }
        let up = model.iter().flatten().count();
        assert_eq!(
            (lines.calls(), lines.session_in_use(&session) as usize),
            (up, up)
        );
    }
    for n in 0..model.len() {
        lines.release(CallId::new(1, n as u128));
    }
    assert_eq!((lines.calls(), lines.session_in_use(&session)), (0, 0));
}

#[test]
fn a_registrar_is_known_by_its_address_and_of_two_accounts_there_by_the_login_it_calls() {
    let account = |name: &str, login: &str| {
        let kind = TrunkKind::OutboundRegister {
            login: login.to_owned(),
            password: Secret::new("given".to_owned()),
            domain: "pbx.example".parse().unwrap(),
            proxy: None,
            auth_user: None,
        };
        trunk(name, kind)
    };
    let (one, two, third) = (
        account("one", "1001"),
        account("two", "1002"),
        account("third", "1003"),
    );
    let other = peer("other", "192.0.2.9:5060");
    let names = [
        one.name.clone(),
        two.name.clone(),
        third.name.clone(),
        other.name.clone(),
    ];
    let table = Table::new(vec![one, two, third, other], vec![], vec![]);
    let at: Vec<SocketAddr> = [
        "192.0.2.7:5060",
        "192.0.2.7:5060",
        "192.0.2.8:5060",
        "192.0.2.9:5060",
    ]
    .map(|address| address.parse().unwrap())
    .to_vec();
    let known = || names.iter().zip(at.iter().copied());
    let found = |source: &str, user: &str| {
        let trunk = identify_registrar(&table, known(), source.parse().unwrap(), user);
        trunk.map(|trunk| trunk.name.as_str())
    };
    assert_eq!(found("192.0.2.7:5060", "1002"), Some("two"));
    assert_eq!(found("192.0.2.7:49152", "1001"), Some("one"));
    assert_eq!(found("192.0.2.7:5060", "bobby"), None);
    assert_eq!(found("192.0.2.8:5060", "bobby"), Some("third"));
    assert_eq!(found("[::ffff:192.0.2.8]:5060", "bobby"), Some("third"));
    // A peer registers us nowhere, and a stranger is nobody.
    assert_eq!(found("192.0.2.9:5060", "1001"), None);
    assert_eq!(found("192.0.2.1:5060", "1001"), None);
}
