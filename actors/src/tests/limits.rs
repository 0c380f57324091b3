//! What Telegram ordered is obeyed: not asked again, not forgotten by whoever dies, and incoming calls go on.

use std::time::Duration;

use net::fake::Phase;
use routing::{Errand, Limiter, Pace, Paces, SessionState};

use super::crash::kill;
use super::scene::{Scene, play, reaches, session};
use crate::SessionReport;

/// The state as an operator sees it.
async fn state(scene: &Scene) -> SessionReport {
    let mut sessions = scene.house.sessions().await.expect("a registry");
    sessions.pop().expect("a session")
}

/// How the phone's call to somebody is refused.
async fn refused(scene: &Scene, name: &str) -> (u16, String) {
    let end = reaches(&scene.phone.dial(name), Phase::Over).await.end;
    let end = end.expect("an end");
    (end.code, end.phrase)
}

/// The seconds that a refused caller is told to wait.
fn told((code, phrase): &(u16, String)) -> u64 {
    let seconds = phrase.strip_prefix("Too Many Requests: retry after ");
    assert_eq!(*code, 503, "{phrase}");
    seconds.expect(phrase).parse().unwrap()
}

#[test]
fn a_wait_is_kept_by_the_store_and_by_the_next_incarnation() {
    play(async {
        let scene = Scene::new().await;
        assert_eq!(state(&scene).await.state, "running");
        assert_eq!(told(&refused(&scene, "frank").await), 17);
        // On disk before the caller hears of it.
        let (name, now) = (session(), crate::house::unix_millis());
        let kept = scene
            .store
            .get(store::Space::Telegram(&name), crate::LIMITS);
        let kept = crate::kept_limits(&kept.unwrap().expect("a record"));
        let until = kept.waits(now).calls_until.expect("a wait");
        let is_met = "telegram_rpc_total{method=\"requestCall\",result=\"flood\"}";
        assert!((scene.number(is_met) - 1.0).abs() < 0.1);
        for _ in 0..2 {
            let left = told(&refused(&scene, "alice").await);
            assert!((10..=17).contains(&left), "{left}");
            let report = state(&scene).await;
            assert_eq!(
                (report.state.as_str(), report.until),
                ("flood_wait", Some(until))
            );
            // Whoever is not called is not looked up either.
            assert_eq!(scene.telegram.open_calls(), 0);
            let link = scene.house.common.sessions.get(&session()).unwrap();
            let door = link.door.door().open().expect("a session");
            kill(&door).await;
            scene.settles_at(0).await;
        }
        let series =
            "telegram_local_refusals_total{group=\"call\",session=\"gateway\",why=\"flood_wait\"}";
        assert!((scene.number(series) - 2.0).abs() < 0.1);
        let (bobby, phone) = scene.user_calls("bobby").await;
        bobby.hang_up();
        reaches(&phone, Phase::Over).await;
        scene.settles_at(0).await;
    });
}

#[test]
fn a_wait_ends_by_itself() {
    play(async {
        let mut limits = Limiter::default();
        let wait = Duration::from_secs(5);
        limits.flood_wait(crate::house::unix_millis(), routing::Group::Call, wait);
        let scene = Scene::limited(&limits, Paces::FREE).await;
        assert_eq!(state(&scene).await.state, "flood_wait");
        let until = "telegram_flood_wait_until_timestamp_seconds{session=\"gateway\"}";
        assert!(scene.number(until) > 1.0e9);
        assert!(told(&refused(&scene, "alice").await) <= wait.as_secs());
        tokio::time::sleep(wait).await;
        assert_eq!(state(&scene).await.state, "running");
        assert!(scene.number(until).abs() < 0.1);
        let (phone, alice) = scene.phone_calls("alice").await;
        alice.hang_up();
        reaches(&phone, Phase::Over).await;
        scene.settles_at(0).await;
    });
}

#[test]
fn an_account_that_is_limited_for_spam_takes_calls_and_places_none() {
    play(async {
        let mut limits = Limiter::default();
        let hour_ago = crate::house::unix_millis() - 3_600_000;
        limits.restrict(hour_ago);
        let scene = Scene::limited(&limits, Paces::FREE).await;
        let report = state(&scene).await;
        assert_eq!(report.state, SessionState::Restricted.label());
        assert_eq!(report.until, limits.waits(hour_ago).restricted_until);
        for _ in 0..2 {
            let end = refused(&scene, "alice").await;
            assert_eq!(end, (503, "PEER_FLOOD".to_owned()));
        }
        let series =
            "telegram_local_refusals_total{group=\"call\",session=\"gateway\",why=\"restricted\"}";
        assert!((scene.number(series) - 2.0).abs() < 0.1);
        let (bobby, phone) = scene.user_calls("bobby").await;
        phone.hang_up();
        reaches(&bobby, Phase::Over).await;
        scene.settles_at(0).await;
    });
}

#[test]
fn a_session_that_calls_too_often_is_slowed_down_before_telegram_does_it() {
    play(async {
        let minute = Duration::from_secs(60);
        let paces = Paces {
            calls: Pace::new(6, minute, 2),
            phones: Pace::FREE,
            usernames: Pace::new(1, minute, 1),
            texts: Pace::FREE,
        };
        let scene = Scene::limited(&Limiter::default(), paces).await;
        // Nobody was called, so that the token for a call comes back.
        let end = refused(&scene, "nobody1").await;
        assert_eq!(end, (404, "USERNAME_NOT_OCCUPIED".to_owned()));
        let left = told(&refused(&scene, "alice").await);
        assert!((50..=60).contains(&left), "{left}");
        let series = |group| {
            format!(
                "telegram_local_refusals_total{{group=\"{group}\",session=\"gateway\",why=\"bucket\"}}"
            )
        };
        assert!((scene.number(&series("resolve")) - 1.0).abs() < 0.1);
        assert!((scene.number(&series("call"))).abs() < 0.1);
        // An empty bucket is no state: the session runs.
        assert_eq!(state(&scene).await.state, "running");
        // Nobody waits for a bucket to be written; what the keeper was told before, it has done now.
        let keeper = scene.house.common.keeper.open().expect("a keeper");
        keeper.send(crate::message::Settle).await.unwrap();
        let (name, now) = (session(), crate::house::unix_millis());
        let kept = scene
            .store
            .get(store::Space::Telegram(&name), crate::LIMITS);
        let mut kept = crate::kept_limits(&kept.unwrap().expect("a record"));
        assert!(kept.take(now, &paces, Errand::Username).is_err());
        assert!(kept.take(now, &paces, Errand::Call).is_ok());
        assert!(kept.take(now, &paces, Errand::Call).is_ok());
    });
}

#[test]
fn a_burst_of_calls_goes_out_and_the_next_one_waits() {
    play(async {
        let paces = Paces {
            calls: Pace::new(6, Duration::from_secs(60), 2),
            ..Paces::FREE
        };
        let scene = Scene::limited(&Limiter::default(), paces).await;
        for _ in 0..2 {
            let (phone, alice) = scene.phone_calls("alice").await;
            alice.hang_up();
            reaches(&phone, Phase::Over).await;
        }
        let left = told(&refused(&scene, "alice").await);
        assert!((1..=10).contains(&left), "{left}");
        let link = scene.house.common.sessions.get(&session()).unwrap();
        kill(&link.door.door().open().expect("a session")).await;
        scene.settles_at(0).await;
        told(&refused(&scene, "alice").await);
    });
}

#[test]
fn who_was_looked_up_is_known_to_the_next_incarnation_and_nobody_is_not_looked_for_twice() {
    play(async {
        let scene = Scene::new().await;
        let asked = |source: &str, result: &str| {
            format!("telegram_resolves_total{{result=\"{result}\",source=\"{source}\"}}")
        };
        for from_memory in [0.0, 1.0] {
            let (phone, alice) = scene.phone_calls("alice").await;
            alice.hang_up();
            reaches(&phone, Phase::Over).await;
            let end = refused(&scene, "nobody1").await;
            assert_eq!(end, (404, "USERNAME_NOT_OCCUPIED".to_owned()));
            scene.settles_at(0).await;
            for result in ["ok", "not_found"] {
                assert!((scene.number(&asked("network", result)) - 1.0).abs() < 0.1);
                assert!((scene.number(&asked("cache", result)) - from_memory).abs() < 0.1);
            }
            let link = scene.house.common.sessions.get(&session()).unwrap();
            kill(&link.door.door().open().expect("a session")).await;
            scene.settles_at(0).await;
        }
    });
}
