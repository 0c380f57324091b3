//! Calls that an owner orders.

use std::time::Duration;

use model::{CallId, Direction, LegId, Outcome, Peer, Reason};
use net::fake::{Manner, Phase};

use super::scene::{PATIENCE, Scene, play, reaches, session, trunk};
use crate::{CallOrder, DialOrder, Ordered};

fn order(username: &str) -> DialOrder {
    DialOrder {
        session: session(),
        peer: Peer::from_username(username).unwrap(),
        trunk: trunk(),
        number: "601".to_owned(),
    }
}

async fn dial(scene: &Scene, id: CallId, username: &str) -> Result<(), Reason> {
    let answer = scene.house.dial(id, order(username)).await.unwrap();
    answer.map_err(|cause| cause.reason())
}

#[test]
fn both_are_called_one_after_the_other_and_hear_each_other() {
    play(async {
        let scene = Scene::new().await;
        let after = Duration::from_secs(1);
        scene.telegram.set_manner("alice", Manner::Answer { after });
        let id = scene.house.new_call();
        assert_eq!(dial(&scene, id, "alice").await, Ok(()));
        // Whoever has not heard the answer asks again, and nobody is called twice.
        assert_eq!(dial(&scene, id, "alice").await, Ok(()));
        assert_eq!(
            dial(&scene, scene.house.new_call(), "alice").await,
            Err(Reason::BusyHere)
        );
        let early = CallOrder::Hold { on: true };
        let early = scene.house.order_call(id, early).await.unwrap();
        assert!(matches!(early, Ordered::NotNow(_)), "{early:?}");
        let alice = scene.telegram.next_call("alice", PATIENCE).await.unwrap();
        let phone = scene.phone.next_call(PATIENCE).await.unwrap();
        reaches(&alice, Phase::Talking).await;
        reaches(&phone, Phase::Talking).await;
        scene.settles_at(1).await;
        scene.talk(Duration::from_secs(2)).await;
        let pressed = CallOrder::Press {
            leg: Some(LegId(0)),
            keys: model::Key::read("1").unwrap(),
        };
        let pressed = scene.house.order_call(id, pressed).await.unwrap();
        assert!(matches!(pressed, Ordered::NotNow(_)), "{pressed:?}");
        alice.hang_up();
        reaches(&phone, Phase::Over).await;
        assert!(
            scene.heard(&alice.status(), &phone.status()).compared > Duration::from_millis(500)
        );
        assert!(
            scene.heard(&phone.status(), &alice.status()).compared > Duration::from_millis(500)
        );
        scene.settles_at(0).await;
        let records = scene.records(2).await;
        let record = records.iter().find(|record| record.id == id).unwrap();
        assert_eq!(record.direction, Direction::TgToSip);
        assert_eq!(record.outcome, Some(Outcome::Answered), "{record:?}");
        assert_eq!(scene.telegram.open_calls(), 0);
    });
}

#[test]
fn who_declines_an_ordered_call_is_left_alone_and_the_phone_never_rings() {
    play(async {
        let scene = Scene::new().await;
        let id = scene.house.new_call();
        assert_eq!(dial(&scene, id, "david").await, Ok(()));
        let david = scene.telegram.next_call("david", PATIENCE).await.unwrap();
        reaches(&david, Phase::Over).await;
        scene.settles_at(0).await;
        let record = scene.records(1).await.remove(0);
        assert_eq!(record.outcome, Some(Outcome::Declined), "{record:?}");
        assert!(scene.telegram.texts().is_empty());
        // Ellen lets nobody call; she has asked for nothing and is told nothing.
        assert_eq!(dial(&scene, scene.house.new_call(), "ellen").await, Ok(()));
        let record = scene.records(2).await;
        let refused = record.iter().find(|record| record.id != id).unwrap();
        assert_eq!(refused.outcome, Some(Outcome::Rejected), "{refused:?}");
        assert!(scene.telegram.texts().is_empty());
    });
}
