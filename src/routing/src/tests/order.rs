//! Calls that an owner orders.

use model::Reason;

use super::*;

fn decided(
    table: &Table,
    world: &Now,
    peer: Peer,
    trunk: &str,
    number: &str,
) -> Result<String, Reason> {
    let (session, trunk) = ("main".parse().unwrap(), trunk.parse().unwrap());
    let order = Order {
        session: &session,
        peer: &peer,
        trunk: &trunk,
        number,
    };
    let (dialled, mut hunt) = decide_order(table, world, &order).map_err(|cause| cause.reason())?;
    assert_eq!(hunt.next_group(), Some(vec![trunk.clone()]));
    assert_eq!(hunt.next_group(), None, "no other trunk is tried");
    Ok(dialled.number(&trunk).unwrap().to_owned())
}

fn alice() -> Peer {
    Peer::Username("alice".to_owned())
}

#[test]
fn an_ordered_call_goes_by_its_trunk_alone() {
    let table = table();
    assert_eq!(
        decided(&table, &now(), alice(), "peer", "600").as_deref(),
        Ok("600")
    );
    let to = |trunk: &str, number: &str| decided(&table, &now(), alice(), trunk, number);
    assert_eq!(to("lonely", "600"), Err(Reason::RouteNotPermitted));
    assert_eq!(to("nobody", "600"), Err(Reason::AccountNotRunning));
    assert_eq!(to("peer", ""), Err(Reason::NotFound));
    assert_eq!(to("peer", "6 0"), Err(Reason::NotFound));
    assert_eq!(to("peer", "600\r\nX: y"), Err(Reason::NotFound));
    assert_eq!(to("peer", &"6".repeat(129)), Err(Reason::NotFound));
}

#[test]
fn an_ordered_call_is_refused_as_any_other() {
    let table = table();
    let with = |world: Now, peer: Peer| decided(&table, &world, peer, "peer", "600");
    let state = |state| Now { state, ..now() };
    for (world, peer, reason) in [
        (state(SessionState::Restricted), alice(), Reason::PeerFlood),
        (
            state(SessionState::Offline),
            alice(),
            Reason::SessionNotRunning,
        ),
        (
            state(SessionState::Unauthorized),
            alice(),
            Reason::SessionNotRunning,
        ),
        (
            Now {
                talking: Some(alice()),
                ..now()
            },
            alice(),
            Reason::BusyHere,
        ),
        (
            Now {
                reachable: HashSet::from(["office"]),
                ..now()
            },
            alice(),
            Reason::SipAccountUnavailable,
        ),
        (now(), Peer::UserId(1), Reason::LoopDetected),
        (
            now(),
            Peer::Phone("+999662 0001".replace(' ', "").parse().unwrap()),
            Reason::LoopDetected,
        ),
    ] {
        assert_eq!(with(world, peer), Err(reason));
    }
}

#[test]
fn the_rules_of_a_trunk_rewrite_what_is_ordered() {
    let spec = TrunkSpec {
        dial_rules: r"^\d{3}$ ^=9".parse().unwrap(),
        ..peer("peer", "192.0.2.1:5060")
    };
    let route = RouteSpec {
        trunk: "peer".parse().unwrap(),
        session: "main".parse().unwrap(),
        priority: 100,
        terms: model::RouteTerms::default(),
    };
    let session = SessionSpec::new("main".parse().unwrap());
    let table = Table::new(vec![spec], vec![session], vec![route]);
    assert_eq!(
        decided(&table, &now(), alice(), "peer", "600").as_deref(),
        Ok("9600")
    );
    assert_eq!(
        decided(&table, &now(), alice(), "peer", "60"),
        Err(Reason::NotFound)
    );
}
