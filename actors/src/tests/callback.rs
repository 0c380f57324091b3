//! Calls back: who wrote a number is called, then the phone.

use std::time::Duration;

use model::{Direction, Outcome, Secret, SessionSpec, TrunkKind, TrunkSpec};
use net::fake::{Manner, Phase, Simulation};
use store::Change;

use super::crash::kill;
use super::scene::{LOGIN, PASSWORD, PATIENCE, Scene, play, reaches, session, trunk};

/// The usual records, but for a trunk that dials digits and a session that calls back.
fn calling_back() -> [Change; 2] {
    let kind = TrunkKind::InboundRegister {
        login: LOGIN.to_owned(),
        password: Secret::new(PASSWORD.to_owned()),
    };
    let trunk = TrunkSpec {
        number: Some("600".to_owned()),
        dial_rules: r"^\d+$".parse().unwrap(),
        ..TrunkSpec::new(trunk(), kind)
    };
    let session = SessionSpec {
        messages_processing: true,
        callback: true,
        ..SessionSpec::new(session())
    };
    [
        Change::PutTrunk(Box::new(trunk)),
        Change::PutSession(session),
    ]
}

#[test]
fn who_is_called_back_is_put_through_whoever_died_while_it_rang() {
    play(async {
        let scene = Scene::with(Simulation::default(), &calling_back()).await;
        let after = Duration::from_secs(3);
        scene.telegram.set_manner("alice", Manner::Answer { after });
        let common = scene.house.common.clone();
        let placed = "telegram_rpc_total{method=\"requestCall\",result=\"ok\"}";
        for round in 0..3u8 {
            scene.telegram.write("alice", "601");
            let alice = scene.telegram.next_call("alice", PATIENCE).await;
            let alice = alice.expect("it should ring");
            // The call has its id; a request whose result is lost is another story.
            scene.counts(placed, f64::from(round) + 1.0).await;
            match round {
                0 => kill(&common.registry.open().expect("a registry")).await,
                1 => kill(&common.endpoint.open().expect("an endpoint")).await,
                _ => {
                    let link = common.sessions.get(&session()).unwrap();
                    kill(&link.door.door().open().expect("a session")).await;
                }
            }
            let phone = scene.phone.next_call(PATIENCE).await;
            let phone = phone.expect("it should ring");
            reaches(&alice, Phase::Talking).await;
            reaches(&phone, Phase::Talking).await;
            scene.settles_at(1).await;
            alice.hang_up();
            reaches(&phone, Phase::Over).await;
            scene.settles_at(0).await;
        }
        for record in scene.records(3).await {
            assert_eq!(record.direction, Direction::TgToSip);
            assert_eq!(record.outcome, Some(Outcome::Answered), "{record:?}");
        }
        assert_eq!(scene.telegram.open_calls(), 0);
        assert!(scene.telegram.texts().is_empty());
    });
}

#[test]
fn who_declines_is_left_alone_and_holds_no_line() {
    play(async {
        let scene = Scene::with(Simulation::default(), &calling_back()).await;
        scene.telegram.write("david", "601");
        let david = scene.telegram.next_call("david", PATIENCE).await;
        reaches(&david.expect("it should ring"), Phase::Over).await;
        scene.settles_at(0).await;
        let record = scene.records(1).await.remove(0);
        assert_eq!(record.outcome, Some(Outcome::Declined), "{record:?}");
        // Nobody to be told but those whom it concerns: he knows, and ellen lets nobody call.
        scene.telegram.write("ellen", "601");
        scene.records(2).await;
        // The text is written beside the record.
        let mut told = scene.telegram.texts();
        let begun = std::time::Instant::now();
        while told.is_empty() && begun.elapsed() < PATIENCE {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            told = scene.telegram.texts();
        }
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(told[0].1, "380 Callback is restricted");
    });
}
