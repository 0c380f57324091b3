use std::collections::HashSet;

use model::{
    CallId, Cause, Codec, Peer, RouteSpec, Secret, SessionName, SessionSpec, TrunkKind, TrunkName,
    TrunkSpec,
};

use super::*;

fn trunk(name: &str, kind: TrunkKind) -> TrunkSpec {
    TrunkSpec {
        name: name.parse().unwrap(),
        kind,
        codecs: vec![Codec::Alaw],
        lines: 0,
        number: None,
        ring_seconds: 60,
        enabled: true,
    }
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
        name: "main".parse().unwrap(),
        phone: String::new(),
        lines: 0,
        enabled: true,
    };
    let route = |trunk: &str, priority| RouteSpec {
        trunk: trunk.parse().unwrap(),
        session: "main".parse().unwrap(),
        priority,
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
    talking: Option<Peer>,
}

impl World for Now {
    fn is_reachable(&self, trunk: &TrunkName) -> bool {
        self.reachable.contains(trunk.as_str())
    }
    fn session_state(&self, _: &SessionName) -> SessionState {
        self.state
    }
    fn is_talking(&self, _: &SessionName, peer: &Peer) -> bool {
        self.talking.as_ref() == Some(peer)
    }
    fn is_own_account(&self, user_id: i64) -> bool {
        user_id == 1
    }
}

fn now() -> Now {
    Now {
        reachable: HashSet::from(["office", "peer", "lonely"]),
        state: SessionState::Running,
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
    let who = |source: &str, login| match identify(&table, source.parse().unwrap(), login) {
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
    assert_eq!(call(&now(), "peer", "?", "x"), Err("404 Not Found".into()));
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
fn a_pbx_that_dials_its_own_login_means_the_number_in_to() {
    assert_eq!(
        call(&now(), "office", "login1", "ann_b"),
        Ok(Peer::Username("ann_b".into()))
    );
}

#[test]
fn a_telegram_call_goes_to_the_trunks_in_order_of_priority() {
    let table = table();
    let session = "main".parse().unwrap();
    let offer = |user_id| TelegramOffer {
        session: &session,
        user_id,
    };
    let names = |world: &Now| {
        let to = decide_telegram(&table, world, &offer(7));
        to.map(|to| {
            to.trunks
                .iter()
                .map(|trunk| trunk.name.to_string())
                .collect::<Vec<_>>()
        })
    };
    assert_eq!(names(&now()).unwrap(), ["office", "peer"]);
    assert_eq!(
        names(&Now {
            reachable: HashSet::from(["peer"]),
            ..now()
        })
        .unwrap(),
        ["peer"]
    );
    let away = Now {
        reachable: HashSet::new(),
        ..now()
    };
    assert_eq!(
        names(&away).unwrap_err().to_string(),
        "503 SIP account is unavailable"
    );
    let looped = decide_telegram(&table, &now(), &offer(1)).unwrap_err();
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
fn callers_are_shown_as_the_worked_table_says() {
    let ann = CallerIdentity {
        phone: Some("79261234567"),
        username: Some("ann"),
        user_id: 4242,
        name: "Анна Б.",
    };
    let shown =
        |caller: CallerIdentity<'_>| (caller_id(&caller), caller_name(&caller).unwrap_or_default());
    assert_eq!(
        shown(ann),
        ("+79261234567".into(), "+79261234567 (Anna B.)".into())
    );
    assert_eq!(
        shown(CallerIdentity { phone: None, ..ann }),
        ("ann".into(), "@ann (Anna B.)".into())
    );
    let bare = CallerIdentity {
        phone: None,
        username: None,
        ..ann
    };
    assert_eq!(shown(bare), ("04242".into(), "Anna B.".into()));
    assert_eq!(
        caller_name(&CallerIdentity {
            name: "\u{202e}\"\\\r\n",
            ..bare
        }),
        None
    );
}

#[test]
fn what_a_caller_is_shown_as_dials_back_to_the_same_person() {
    let cases = [
        (
            CallerIdentity {
                phone: Some("79261234567"),
                ..Default::default()
            },
            Peer::from_dialled("+79261234567"),
        ),
        (
            CallerIdentity {
                username: Some("ann_b"),
                ..Default::default()
            },
            Ok(Peer::Username("ann_b".into())),
        ),
        (
            CallerIdentity {
                user_id: 4242,
                ..Default::default()
            },
            Ok(Peer::UserId(4242)),
        ),
    ];
    for (caller, peer) in cases {
        assert_eq!(called_peer(&caller_id(&caller), "", None).ok(), peer.ok());
    }
}

/// Random takes, releases and repeated releases: never above a limit, never a leak.
#[test]
fn lines_are_never_above_the_limit_and_never_leak() {
    let (trunk, session): (TrunkName, SessionName) = ("t".parse().unwrap(), "s".parse().unwrap());
    let mut lines = Lines::default();
    let mut held: Vec<CallId> = Vec::new();
    let mut state = 42u64;
    for n in 0..20_000u128 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let dice = usize::try_from(state >> 33).unwrap();
        if dice % 2 == 0 {
            let id = CallId::new(1, n);
            match lines.take(id, (&trunk, 5), (&session, 3)) {
                Ok(()) => held.push(id),
                Err(full) => {
                    assert_eq!(full, Full::Session);
                    assert_eq!(held.len(), 3);
                }
            }
        } else if !held.is_empty() {
            let id = held.swap_remove(dice % held.len());
            assert!(lines.release(id).is_some());
            assert!(
                lines.release(id).is_none(),
                "a second release returns nothing"
            );
        }
        assert_eq!(lines.calls(), held.len());
        assert_eq!(lines.session_in_use(&session) as usize, held.len());
        assert_eq!(lines.trunk_in_use(&trunk) as usize, held.len());
    }
}
