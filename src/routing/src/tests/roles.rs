//! Roles that are switched off, and what cannot be read: each has its own words.

use model::{Role, RoleSpec, WorkerChoice};

use super::*;

/// The usual table without one role.
fn without(role: Role) -> Table {
    let enabled = false;
    table().with_roles(vec![RoleSpec { role, enabled }])
}

fn from_sip(table: &Table, trunk: &str) -> String {
    let offer = SipOffer {
        trunk: table.trunk(&trunk.parse().unwrap()).unwrap(),
        source: "192.0.2.1:5060".parse().unwrap(),
        request_user: "ann_b",
        to_user: "x",
    };
    said(decide_sip(table, &now(), &offer).map(|_| ()))
}

fn from_telegram(table: &Table) -> String {
    let session = "main".parse().unwrap();
    let offer = TelegramOffer {
        session: &session,
        user_id: 7,
        dialled: None,
    };
    said(decide_telegram(table, &now(), &offer).map(|_| ()))
}

fn register(table: &Table) -> String {
    said(admit_register(
        table,
        &now(),
        table.by_login("login1").unwrap(),
    ))
}

fn said(decision: Result<(), Cause>) -> String {
    decision.map_or_else(|cause| cause.to_string(), |()| "taken".to_owned())
}

#[test]
fn a_role_that_is_off_is_named_to_whoever_needs_it() {
    let on = table();
    let all = |table: &Table| {
        [
            register(table),
            from_sip(table, "office"),
            from_telegram(table),
        ]
    };
    assert_eq!(all(&on), ["taken", "taken", "taken"]);
    let storage = "403 Session storage is inactive";
    assert_eq!(all(&without(Role::Storage)), [storage; 3]);
    let worker = "403 Worker is inactive";
    assert_eq!(
        all(&without(Role::Worker)),
        [worker, worker, "503 Worker is unavailable"]
    );
    let again = RoleSpec {
        role: Role::Worker,
        enabled: true,
    };
    assert_eq!(
        all(&without(Role::Worker).with_roles(vec![again])),
        ["taken", "taken", "taken"]
    );
}

#[test]
fn what_is_not_there_goes_before_the_role() {
    // Who has no route at all learns that, whatever is switched off.
    assert_eq!(
        from_sip(&without(Role::Storage), "lonely"),
        "403 Route is not permitted"
    );
}

#[test]
fn calls_between_trunks_need_no_storage() {
    let way = TransitSpec {
        trunk: "lonely".parse().unwrap(),
        to: "peer".parse().unwrap(),
        priority: 1,
        terms: model::RouteTerms::default(),
    };
    let call = |role| {
        let table = without(role).with_transits(vec![way.clone()]);
        let offer = SipOffer {
            trunk: table.trunk(&way.trunk).unwrap(),
            source: "192.0.2.9:5060".parse().unwrap(),
            request_user: "600",
            to_user: "x",
        };
        said(decide_transit(&table, &now(), &offer).map(|_| ()))
    };
    assert_eq!(call(Role::Storage), "taken");
    assert_eq!(call(Role::Worker), "403 Worker is inactive");
}

#[test]
fn a_trunk_of_another_worker_waits_for_it() {
    let far = TrunkSpec {
        worker: WorkerChoice::Named("far".parse().unwrap()),
        ..peer("peer", "192.0.2.1:5060")
    };
    let session = SessionSpec::new("main".parse().unwrap());
    let route = |trunk: &str| RouteSpec {
        trunk: trunk.parse().unwrap(),
        session: session.name.clone(),
        priority: 1,
        terms: model::RouteTerms::default(),
    };
    let table = Table::new(
        vec![far.clone()],
        vec![session.clone()],
        vec![route("peer")],
    );
    assert_eq!(from_sip(&table, "peer"), "403 Worker is inactive");
    assert_eq!(from_telegram(&table), "503 Worker is unavailable");
    // One that is here is enough, and rings alone.
    let near = peer("lonely", "192.0.2.9:5060");
    let routes = vec![route("peer"), route("lonely")];
    let table = Table::new(vec![far, near], vec![session.clone()], routes);
    assert_eq!(from_telegram(&table), "taken");
    let group = ["peer", "lonely"].map(|name| name.parse().unwrap());
    let rings = running(&table, &now(), &group);
    assert_eq!(rings.len(), 1);
    assert_eq!(rings[0].name.as_str(), "lonely");
}

#[test]
fn a_session_whose_limits_cannot_be_read_places_no_call() {
    struct Unreadable;

    impl World for Unreadable {
        fn is_reachable(&self, _: &TrunkName) -> bool {
            true
        }
        fn is_blocked(&self, _: &TrunkName) -> bool {
            false
        }
        fn session_state(&self, _: &SessionName) -> SessionState {
            SessionState::Offline
        }
        fn is_starting(&self, _: &SessionName) -> bool {
            true
        }
        fn calls_of(&self, _: &SessionName) -> u32 {
            0
        }
        fn is_talking(&self, _: &SessionName, _: &Peer) -> bool {
            false
        }
        fn last_used(&self, _: &SessionName) -> u64 {
            0
        }
        fn knows(&self, _: &SessionName, _: &Peer) -> bool {
            false
        }
        fn is_own_account(&self, _: i64) -> bool {
            false
        }
        fn is_unreadable(&self, _: &SessionName) -> bool {
            true
        }
    }

    let table = table();
    let offer = SipOffer {
        trunk: table.trunk(&"office".parse().unwrap()).unwrap(),
        source: "192.0.2.1:5060".parse().unwrap(),
        request_user: "ann_b",
        to_user: "x",
    };
    assert_eq!(
        said(decide_sip(&table, &Unreadable, &offer).map(|_| ())),
        "503 Telegram storage is unavailable"
    );
}
