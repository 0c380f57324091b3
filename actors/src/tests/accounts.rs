//! What an owner does with a session's account, or a trunk, beside changing its record.

use std::sync::Arc;
use std::time::Duration;

use model::{RouteSpec, Secret, Side, TrunkKind, TrunkName, TrunkSpec};
use net::fake::{Manner, Person, Phase, Simulation, Telegram};
use store::Change;

use super::crash::Crash;
use super::pbx::{Habit, Pbx, added};
use super::records::change;
use super::scene::{Scene, play, reaches, session, trunk};
use crate::Account;

const TALK: Duration = Duration::from_secs(1);

fn provider() -> TrunkName {
    "provider".parse().unwrap()
}

/// Waits until something has become true.
async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..400 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("{what}: not yet");
}

#[test]
fn a_trunk_that_is_reconnected_registers_at_once_without_a_goodbye_and_its_call_goes_on() {
    play(async {
        let scene = Scene::new().await;
        let pbx = Pbx::start(Habit::Ring).await;
        let kind = TrunkKind::OutboundRegister {
            login: "1001".to_owned(),
            password: Secret::new("one".to_owned()),
            domain: pbx.address.to_string().parse().unwrap(),
            proxy: None,
            auth_user: None,
        };
        let account = TrunkSpec::new(provider(), kind);
        let route = Change::PutRoute(RouteSpec {
            trunk: provider(),
            session: session(),
            priority: 200,
            terms: model::RouteTerms::default(),
        });
        change(
            &scene,
            &[Change::PutTrunk(Box::new(account.clone())), route],
        )
        .await;
        until("the registration", || pbx.registered().len() == 1).await;
        scene.counts("trunk_up{trunk=\"provider\"}", 1.0).await;

        let (phone, user) = scene.phone_calls("alice").await;
        assert_eq!(scene.house.reconnect(provider()).await, Some(true));
        assert_eq!(scene.house.reconnect(trunk()).await, Some(true));
        until("the next registration", || pbx.registered().len() == 2).await;
        let said = pbx.registered();
        assert!(!said.contains(&"0".to_owned()), "{said:?}");
        let series = pbx.series();
        let ((id, first), (other, second)) = (&series[0], &series[1]);
        assert!(id == other && first < second, "{series:?}");
        // Who has registered here stays so, and nobody has died.
        let bindings = "registrar_bindings{trunk=\"office\"}";
        scene.counts(bindings, 1.0).await;
        scene.talk(TALK).await;
        for line in [&phone, &user] {
            assert_eq!(line.status().phase, Phase::Talking);
        }
        for cause in ["panic", "error"] {
            let died = format!("actor_restarts_total{{actor=\"trunk\",cause=\"{cause}\"}}");
            assert!(scene.number(&died) < 0.5, "{cause}");
        }
        phone.hang_up();
        reaches(&user, Phase::Over).await;

        // One that is off, or that there is not, cannot be.
        let off = TrunkSpec {
            enabled: false,
            ..account
        };
        change(&scene, &[Change::PutTrunk(Box::new(off))]).await;
        assert_eq!(scene.house.reconnect(provider()).await, Some(false));
        let nobody = "nobody".parse().unwrap();
        assert_eq!(scene.house.reconnect(nobody).await, Some(false));
        scene.settles_at(0).await;
    });
}

#[test]
fn the_last_error_of_a_trunk_is_told_until_it_works_again() {
    play(async {
        let scene = Scene::new().await;
        let pbx = Pbx::start(Habit::RefuseFirst(500)).await;
        let kind = TrunkKind::OutboundRegister {
            login: "1001".to_owned(),
            password: Secret::new("one".to_owned()),
            domain: pbx.address.to_string().parse().unwrap(),
            proxy: None,
            auth_user: None,
        };
        let [account, route] = added(TrunkSpec::new(provider(), kind), 1);
        change(&scene, &[account, route]).await;
        let last = "trunk_last_error_code{trunk=\"provider\"}";
        scene.counts(last, 500.0).await;
        assert_eq!(scene.house.reconnect(provider()).await, Some(true));
        scene.counts("trunk_up{trunk=\"provider\"}", 1.0).await;
        until("the registration to count", || scene.number(last) < 0.5).await;

        // Its first call fails, and the phone takes it; the second one works.
        for error in [500.0, 0.0] {
            let user = scene.telegram.call_account("bobby").unwrap();
            reaches(&user, Phase::Talking).await;
            until("the call to count", || {
                (scene.number(last) - error).abs() < 0.5
            })
            .await;
            user.hang_up();
            reaches(&user, Phase::Over).await;
            scene.settles_at(0).await;
        }

        // Whoever dials a number that there is not does not show that his trunk is broken.
        reaches(&scene.phone.dial("nowhere_to_be_found"), Phase::Over).await;
        reaches(&scene.phone.dial("12"), Phase::Over).await;
        let office = scene.number("trunk_last_error_code{trunk=\"office\"}");
        assert!(office < 0.5, "{office}");
        scene.settles_at(0).await;
    });
}

#[test]
fn the_calls_of_a_session_end_when_its_owner_takes_it_away_and_no_others() {
    play(async {
        let scene = Scene::new().await;
        let (phone, user) = scene.phone_calls("alice").await;
        let (other, other_phone) = scene.user_calls("bobby").await;
        assert!(scene.house.end_calls_of(&"other".parse().unwrap()).await);
        scene.talk(TALK).await;
        for line in [&phone, &user, &other, &other_phone] {
            assert_eq!(line.status().phase, Phase::Talking);
        }
        assert!(scene.house.end_calls_of(&session()).await);
        for line in [&phone, &user, &other, &other_phone] {
            reaches(line, Phase::Over).await;
        }
        scene.settles_at(0).await;
        assert_eq!(scene.telegram.open_calls(), 0);
        for record in scene.records(2).await {
            assert_eq!(record.ended_by, Some(Side::Here), "{record:?}");
            assert!(record.legs.iter().all(|leg| leg.code == 200), "{record:?}");
        }
        // The session itself goes on.
        let (phone, user) = scene.phone_calls("alice").await;
        user.hang_up();
        reaches(&phone, Phase::Over).await;
        // Without a registry nobody can say that they have ended.
        let registry = scene.house.common.registry.open().unwrap();
        let _ = registry.send(Crash).await;
        assert!(!scene.house.end_calls_of(&session()).await);
    });
}

/// Another connection, over which a person can be called whom nobody else knows.
fn fresh_account() -> (Telegram, Account) {
    let after = Duration::from_millis(100);
    let (telegram, events) = Telegram::new(Simulation {
        people: vec![Person {
            id: 2001,
            username: "heidi".to_owned(),
            phone: "15552001000".to_owned(),
            manner: Manner::Answer { after },
        }],
        ..Simulation::default()
    });
    let account = Account {
        session: session(),
        client: Arc::new(telegram.clone()),
        events,
    };
    (telegram, account)
}

#[test]
fn a_session_that_is_unplugged_has_no_connection_until_it_is_given_another() {
    for is_registry_dead in [false, true] {
        play(async {
            let scene = Scene::new().await;
            if is_registry_dead {
                let registry = scene.house.common.registry.open().unwrap();
                let _ = registry.send(Crash).await;
            }
            scene.house.unplug(&session()).await;
            assert!(!scene.house.is_connected(&session()));
            until("the session to be down", || {
                scene.number("telegram_session_up{session=\"gateway\"}") < 0.5
            })
            .await;
            // Once more does no harm, nor does one that there is not.
            scene.house.unplug(&session()).await;
            scene.house.unplug(&"other".parse().unwrap()).await;
            let died = "actor_restarts_total{actor=\"session\",cause=\"panic\"}";
            assert!(scene.number(died) < 0.5);

            // The next change of records connects it, with the keys that there are then.
            let (telegram, account) = fresh_account();
            let account = Arc::new(std::sync::Mutex::new(Some(account)));
            let connect = move |_: &model::SessionName| account.lock().unwrap().take();
            let table = scene.house.table();
            scene.house.apply(table, connect).await;
            until("the session to be up", || {
                scene.number("telegram_session_up{session=\"gateway\"}") > 0.5
            })
            .await;
            assert!(scene.house.is_connected(&session()));
            let phone = scene.phone.dial("heidi");
            let heidi = telegram.next_call("heidi", super::scene::PATIENCE).await;
            let heidi = heidi.expect("it should ring");
            reaches(&phone, Phase::Talking).await;
            heidi.hang_up();
            reaches(&phone, Phase::Over).await;
            scene.settles_at(0).await;
        });
    }
}
