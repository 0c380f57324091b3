//! Every kind of actor dies once while two calls are up: only what depends on it may end, and nothing stays behind.

use std::time::Duration;

use actix::{Actor, Addr, Context, Handler};
use model::{CallRecord, LegKind, Outcome};
use net::fake::{Line, Phase};

use super::scene::{PATIENCE, Scene, play, reaches, session};
use crate::call::crash::CrashLeg;
pub(crate) use crate::chaos::Crash;
use crate::registry::crash::{Children, Supervised};

/// The user id of bobby, as it is dialled.
const BOBBY: &str = "01002";

/// Two calls, one each way: the phone and alice, bobby and the phone.
struct Calls {
    scene: Scene,
    phone_a: Line,
    alice: Line,
    bobby: Line,
    phone_b: Line,
}

impl Calls {
    async fn up() -> Self {
        let scene = Scene::new().await;
        let (phone_a, alice) = scene.phone_calls("alice").await;
        let (bobby, phone_b) = scene.user_calls("bobby").await;
        scene.settles_at(2).await;
        Self {
            scene,
            phone_a,
            alice,
            bobby,
            phone_b,
        }
    }

    async fn children(&self) -> Children {
        let registry = self.scene.house.common.registry.open().expect("it lives");
        registry.send(Supervised).await.unwrap()
    }

    /// Both calls are up, and stay so.
    async fn assert_both_live(&self) {
        self.scene.talk(Duration::from_secs(2)).await;
        for line in [&self.phone_a, &self.alice, &self.bobby, &self.phone_b] {
            assert_eq!(
                line.status().phase,
                Phase::Talking,
                "{:?}",
                line.status().end
            );
        }
        self.scene.settles_at(2).await;
    }

    /// Hangs up on both, from either side, and returns the records.
    async fn hang_up_both(&self) -> Vec<CallRecord> {
        self.phone_a.hang_up();
        self.bobby.hang_up();
        for (speaker, listener) in [
            (&self.phone_a, &self.alice),
            (&self.alice, &self.phone_a),
            (&self.bobby, &self.phone_b),
            (&self.phone_b, &self.bobby),
        ] {
            let speaker = reaches(speaker, Phase::Over).await;
            let listener = reaches(listener, Phase::Over).await;
            let measured = self.scene.heard(&speaker, &listener);
            assert!(measured.similarity > 0.75, "{measured:?}");
            assert_eq!(measured.skips, 0, "{measured:?}");
        }
        self.scene.settles_at(0).await;
        assert_eq!(self.scene.telegram.open_calls(), 0);
        self.scene.records(2).await
    }

    /// After a permanent actor's death everything works as before, for the calls that were up and for new ones.
    async fn assert_nothing_happened(self) {
        self.assert_both_live().await;
        let records = self.hang_up_both().await;
        for record in records {
            assert_eq!(record.outcome, Some(Outcome::Answered), "{record:?}");
            assert!(record.legs.iter().all(|leg| leg.code == 200), "{record:?}");
        }
        let (phone, alice) = self.scene.phone_calls("alice").await;
        alice.hang_up();
        reaches(&phone, Phase::Over).await;
        let (bobby, phone) = self.scene.user_calls("bobby").await;
        phone.hang_up();
        reaches(&bobby, Phase::Over).await;
        self.scene.settles_at(0).await;
        self.scene.records(4).await;
    }

    /// The first call has ended for both, the second goes on and ends as it should.
    async fn assert_only_the_first_ended(self) {
        for line in [&self.phone_a, &self.alice] {
            reaches(line, Phase::Over).await;
        }
        self.scene.settles_at(1).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        for line in [&self.bobby, &self.phone_b] {
            assert_eq!(
                line.status().phase,
                Phase::Talking,
                "{:?}",
                line.status().end
            );
        }
        self.bobby.hang_up();
        reaches(&self.phone_b, Phase::Over).await;
        self.scene.settles_at(0).await;
        assert_eq!(self.scene.telegram.open_calls(), 0);
        let records = self.scene.records(2).await;
        assert!(
            records[0].outcome.is_some() && records[0].ended_after_ms.is_some(),
            "{records:?}"
        );
        assert!(records[0].talk_seconds() > 0.0, "{records:?}");
        assert_eq!(records[1].outcome, Some(Outcome::Answered));
        // Both are counted, and whoever listens has heard of both ends.
        for direction in ["sip_to_tg", "tg_to_sip"] {
            let labels =
                format!("{{direction=\"{direction}\",result=\"answered\",trunk=\"office\"}}");
            let completed = self.scene.number(&format!("calls_completed_total{labels}"));
            assert!((completed - 1.0).abs() < 0.5, "{direction}: {completed}");
        }
        let told = self.scene.number("events_total{type=\"call.ended\"}");
        assert!((told - 2.0).abs() < 0.5, "{told}");
        // Its line and its peer are free again.
        let (phone, alice) = self.scene.phone_calls("alice").await;
        phone.hang_up();
        reaches(&alice, Phase::Over).await;
        self.scene.settles_at(0).await;
    }
}

/// Kills an actor, and makes sure that it is dead.
pub(super) async fn kill<A>(actor: &Addr<A>)
where
    A: Actor<Context = Context<A>> + Handler<Crash>,
{
    assert!(actor.send(Crash).await.is_err(), "nobody answers who dies");
    // The keeper dies on a thread of its own.
    for _ in 0..100 {
        if !actor.connected() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it lives");
}

#[test]
fn the_death_of_the_registry_ends_no_call() {
    play(async {
        let calls = Calls::up().await;
        kill(&calls.scene.house.common.registry.open().unwrap()).await;
        calls.assert_nothing_happened().await;
    });
}

#[test]
fn the_death_of_the_registry_ends_no_call_while_the_house_drains_and_lets_none_in() {
    play(async {
        let calls = Calls::up().await;
        let house = &calls.scene.house;
        let mut drain = std::pin::pin!(house.drain());
        let dies = async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            kill(&house.common.registry.open().unwrap()).await;
            calls.scene.talk(Duration::from_secs(2)).await;
        };
        tokio::select! {
            () = &mut drain => panic!("two calls are up"),
            () = dies => {}
        }
        let refused = reaches(&calls.scene.phone.dial("bobby"), Phase::Over).await;
        let end = refused.end.unwrap();
        assert_eq!((end.code, &*end.phrase), (503, "Worker is not ready"));
        for line in [&calls.phone_a, &calls.alice, &calls.bobby, &calls.phone_b] {
            assert_eq!(line.status().phase, Phase::Talking);
        }
        calls.phone_a.hang_up();
        calls.bobby.hang_up();
        let patience = Duration::from_secs(5);
        tokio::time::timeout(patience, drain).await.unwrap();
    });
}

#[test]
fn a_telegram_call_that_comes_while_there_is_no_session_rings_when_there_is_one() {
    play(async {
        let scene = Scene::new().await;
        let link = scene.house.common.sessions.get(&session()).unwrap();
        let (bobby, phone) = scene.user_calls("bobby").await;
        bobby.hang_up();
        reaches(&phone, Phase::Over).await;
        for round in 0..2 {
            // The first time nobody misses it.
            for _ in 0..2 {
                scene.settles_at(0).await;
                kill(&link.door.door().open().unwrap()).await;
            }
            let bobby = scene.telegram.call_account("bobby").unwrap();
            let phone = scene.phone.next_call(PATIENCE / 4).await;
            let phone = phone.unwrap_or_else(|| panic!("it should ring, round {round}"));
            reaches(&bobby, Phase::Talking).await;
            bobby.hang_up();
            reaches(&phone, Phase::Over).await;
        }
        scene.settles_at(0).await;
        assert_eq!(scene.telegram.open_calls(), 0);
    });
}

#[test]
fn a_telegram_call_that_comes_while_there_is_no_registry_rings_when_there_is_one() {
    play(async {
        let scene = Scene::new().await;
        kill(&scene.house.common.registry.open().unwrap()).await;
        assert!(scene.house.common.registry.open().is_none());
        let bobby = scene.telegram.call_account("bobby").unwrap();
        let phone = scene.phone.next_call(PATIENCE / 4).await;
        let phone = phone.expect("it should ring");
        reaches(&bobby, Phase::Talking).await;
        bobby.hang_up();
        reaches(&phone, Phase::Over).await;
        scene.settles_at(0).await;
        assert_eq!(scene.telegram.open_calls(), 0);
        let record = scene.records(1).await.remove(0);
        assert_eq!(record.outcome, Some(Outcome::Answered), "{record:?}");
    });
}

#[test]
fn the_death_of_the_endpoint_ends_no_call() {
    play(async {
        let calls = Calls::up().await;
        kill(&calls.scene.house.common.endpoint.open().unwrap()).await;
        calls.assert_nothing_happened().await;
    });
}

#[test]
fn the_death_of_the_keeper_ends_no_call() {
    play(async {
        let calls = Calls::up().await;
        kill(&calls.scene.house.common.keeper.open().unwrap()).await;
        calls.assert_nothing_happened().await;
    });
}

#[test]
fn the_death_of_a_trunk_ends_no_call() {
    play(async {
        let calls = Calls::up().await;
        kill(&calls.children().await.trunks[0]).await;
        calls.assert_nothing_happened().await;
    });
}

#[test]
fn the_death_of_a_session_ends_no_call() {
    play(async {
        let calls = Calls::up().await;
        let links = &calls.scene.house.common.sessions;
        let link = links.get(&session()).unwrap();
        kill(&link.door.door().open().unwrap()).await;
        calls.assert_nothing_happened().await;
    });
}

/// The connection tells of each person only what is new, and it outlives the session.
#[test]
fn a_session_that_died_knows_whom_the_account_has_met() {
    play(async {
        let scene = Scene::new().await;
        let stranger = reaches(&scene.phone.dial(BOBBY), Phase::Over).await.end;
        let stranger = stranger.unwrap();
        assert_eq!((stranger.code, &*stranger.phrase), (470, "Anonymous user"));
        let (bobby, phone) = scene.user_calls("bobby").await;
        bobby.hang_up();
        reaches(&phone, Phase::Over).await;
        scene.settles_at(0).await;
        let link = scene.house.common.sessions.get(&session()).unwrap();
        kill(&link.door.door().open().unwrap()).await;
        scene.settles_at(0).await;
        let phone = scene.phone.dial(BOBBY);
        let status = phone.reaches(Phase::Talking, PATIENCE).await.unwrap();
        assert_eq!(status.phase, Phase::Talking, "{:?}", status.end);
        phone.hang_up();
        reaches(&phone, Phase::Over).await;
        scene.settles_at(0).await;
        let (bobby, phone) = scene.user_calls("bobby").await;
        phone.hang_up();
        reaches(&bobby, Phase::Over).await;
        let records = scene.records(4).await;
        let told = records[3].details.telegram.username.as_deref();
        assert_eq!(told, Some("bobby"));
    });
}

#[test]
fn the_death_of_a_call_ends_both_its_legs_and_no_other_call() {
    play(async {
        let calls = Calls::up().await;
        kill(&calls.children().await.calls[0]).await;
        calls.assert_only_the_first_ended().await;
    });
}

#[test]
fn the_death_of_a_sip_leg_ends_its_call_only() {
    play(async {
        let calls = Calls::up().await;
        calls.children().await.calls[0].do_send(CrashLeg(LegKind::Sip));
        calls.assert_only_the_first_ended().await;
    });
}

#[test]
fn the_death_of_a_telegram_leg_ends_its_call_only() {
    play(async {
        let calls = Calls::up().await;
        calls.children().await.calls[0].do_send(CrashLeg(LegKind::Telegram));
        calls.assert_only_the_first_ended().await;
    });
}

#[test]
fn whoever_dies_while_it_rings_the_ringing_stops() {
    for victim in [None, Some(LegKind::Sip), Some(LegKind::Telegram)] {
        play(async {
            let scene = Scene::new().await;
            let phone = scene.phone.dial("carol");
            let carol = scene.telegram.next_call("carol", PATIENCE).await.unwrap();
            reaches(&phone, Phase::Ringing).await;
            let registry = scene.house.common.registry.open().unwrap();
            let call = registry.send(Supervised).await.unwrap().calls.remove(0);
            match victim {
                None => kill(&call).await,
                Some(leg) => call.do_send(CrashLeg(leg)),
            }
            let end = reaches(&phone, Phase::Over).await.end.unwrap();
            assert_eq!(
                (end.code, end.phrase.as_str()),
                (500, "Internal Server Error"),
                "{victim:?}"
            );
            reaches(&carol, Phase::Over).await;
            scene.settles_at(0).await;
            assert_eq!(scene.telegram.open_calls(), 0, "{victim:?}");
            let record = scene.records(1).await.remove(0);
            assert_eq!(
                record.outcome,
                Some(Outcome::Failed),
                "{victim:?} {record:?}"
            );
        });
    }
}
