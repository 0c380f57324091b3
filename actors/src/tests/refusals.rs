//! Refusals of the house itself, in the exact words of the catalogue.

use std::time::{Duration, Instant};

use model::Outcome;
use net::fake::{Phase, Simulation};
use store::Change;

use super::scene::{PASSWORD, Scene, play, reaches, trunk};
use crate::message::Drain;
use crate::registry::crash::Faint;

/// What the phone is answered when it calls alice.
async fn answer(scene: &Scene) -> (u16, String) {
    let line = scene.phone.dial("alice");
    let end = reaches(&line, Phase::Over).await.end.unwrap();
    (end.code, end.phrase)
}

fn told(code: u16, phrase: &str) -> (u16, String) {
    (code, phrase.to_owned())
}

#[test]
fn a_call_that_died_with_the_registry_is_refused_in_time() {
    play(async {
        let scene = Scene::new().await;
        let registry = scene.house.common.registry.open().unwrap();
        registry.send(Faint(Duration::from_secs(1))).await.unwrap();
        let start = Instant::now();
        assert_eq!(answer(&scene).await, told(503, "No response from Manager"));
        let took = start.elapsed();
        assert!(took > Duration::from_secs(4), "{took:?}");
        assert!(took < Duration::from_secs(10), "{took:?}");
        scene.settles_at(0).await;
        let (line, _) = scene.phone_calls("alice").await;
        line.hang_up();
        reaches(&line, Phase::Over).await;
        scene.settles_at(0).await;
    });
}

#[test]
fn a_house_that_stops_takes_no_calls() {
    play(async {
        let scene = Scene::new().await;
        let registry = scene.house.common.registry.open().unwrap();
        registry.send(Drain).await.unwrap();
        assert_eq!(answer(&scene).await, told(503, "Worker is not ready"));
        assert_eq!(scene.house.report().await.calls, 0);
    });
}

#[test]
fn a_telegram_user_whom_no_pbx_can_take_is_counted_and_recorded() {
    play(async {
        let scene = Scene::new().await;
        scene.phone.register(PASSWORD, 0).await;
        let _user = scene.telegram.call_account("bobby").unwrap();
        let record = scene.records(1).await.remove(0);
        assert_eq!(
            (record.trunk.as_str(), record.session.as_str()),
            ("office", "gateway")
        );
        assert_eq!(record.legs[0].reason, "sip_account_unavailable");
        assert_eq!(record.outcome, Some(Outcome::Failed));
        let direction = "direction=\"tg_to_sip\"";
        let attempts = format!("call_attempts_total{{{direction},trunk=\"office\"}}");
        assert!((scene.number(&attempts) - 1.0).abs() < 0.5);
        let failed =
            format!("calls_completed_total{{{direction},result=\"failed\",trunk=\"office\"}}");
        assert!((scene.number(&failed) - 1.0).abs() < 0.5);
        scene.settles_at(0).await;
    });
}

#[test]
fn a_house_that_has_just_begun_says_so_until_telegram_is_there() {
    play(async {
        let scene = Scene::cut_off().await;
        let line = scene.phone.dial("alice");
        let end = reaches(&line, Phase::Over).await.end.unwrap();
        assert_eq!((end.code, end.phrase), told(503, "Worker is not ready"));
        scene.telegram.reconnect();
        scene.settles_at(0).await;
        let (line, _) = scene.phone_calls("alice").await;
        line.hang_up();
        reaches(&line, Phase::Over).await;
        scene.settles_at(0).await;
        // A connection that is lost later is another matter.
        scene.telegram.disconnect();
        assert_eq!(answer(&scene).await, told(503, "Session is not running"));
    });
}

#[test]
fn one_call_more_than_there_are_lines_is_refused() {
    play(async {
        let mut spec = Scene::new().await.store.trunks().unwrap().remove(0);
        assert_eq!(spec.name, trunk());
        spec.lines = 1;
        let change = Change::PutTrunk(Box::new(spec));
        let scene = Scene::with(Simulation::default(), &[change]).await;
        let (line, _) = scene.phone_calls("bobby").await;
        assert_eq!(answer(&scene).await, told(402, "Lines limit is exceeded"));
        line.hang_up();
        reaches(&line, Phase::Over).await;
        scene.settles_at(0).await;
    });
}

#[test]
fn a_call_for_which_there_are_no_ports_is_refused() {
    play(async {
        let scene = Scene::new().await;
        let media = &scene.house.common.media;
        let peer = scene.phone.address();
        let taken: Vec<_> = std::iter::from_fn(|| media.reserve_rtp(peer).ok()).collect();
        assert!(!taken.is_empty());
        assert_eq!(answer(&scene).await, told(503, "No RTP ports"));
        scene.settles_at(0).await;
    });
}
