//! Calls through the whole house: both directions, both hang-ups, refusals.

use std::time::Duration;

use model::{Direction, Outcome, Side};
use net::fake::{Phase, PhoneManner, Simulation, Status};

use super::scene::{PASSWORD, PATIENCE, Scene, play, reaches, trunk};

/// Long enough for a comparison of three seconds.
const TALK: Duration = Duration::from_millis(4500);

fn assert_heard(scene: &Scene, speaker: &Status, listener: &Status) {
    let measured = scene.heard(speaker, listener);
    assert!(measured.similarity > 0.8, "{measured:?}");
    assert_eq!(measured.skips, 0, "{measured:?}");
    assert!(measured.delay < Duration::from_millis(250), "{measured:?}");
}

/// Devices that speak one library version only.
fn speaking(version: &str) -> Simulation {
    Simulation {
        versions: vec![version.to_owned()],
        ..Simulation::default()
    }
}

#[test]
fn a_phone_calls_a_user_and_both_hear_each_other() {
    play(async {
        let scene = Scene::new().await;
        let (phone, user) = scene.phone_calls("alice").await;
        scene.settles_at(1).await;
        scene.talk(TALK).await;
        phone.hang_up();
        let (phone, user) = (
            reaches(&phone, Phase::Over).await,
            reaches(&user, Phase::Over).await,
        );
        assert!(phone.ringing.unwrap() < phone.talking.unwrap());
        assert_heard(&scene, &user, &phone);
        assert_heard(&scene, &phone, &user);
        for leg in ["sip", "telegram"] {
            let judged = format!("call_mos_count{{leg=\"{leg}\"}}");
            scene.counts(&judged, 1.0).await;
        }
        let turned = "transcode_frames_total{from=\"opus\",to=\"pcma\"}";
        scene.counts(turned, 100.0).await;
        scene.settles_at(0).await;
        let record = scene.records(1).await.remove(0);
        assert_eq!(
            (record.direction, record.outcome),
            (Direction::SipToTg, Some(Outcome::Answered))
        );
        assert_eq!((record.ended_by, record.legs.len()), (Some(Side::Sip), 2));
        assert_eq!(scene.telegram.open_calls(), 0);
    });
}

#[test]
fn a_call_that_ends_while_they_are_listed_hides_none_behind_it() {
    play(async {
        let scene = Scene::new().await;
        let (first, user) = scene.phone_calls("alice").await;
        scene.settles_at(1).await;
        scene.user_calls("bobby").await;
        scene.settles_at(2).await;
        let found = scene.house.find_calls(None, 1).await.unwrap();
        first.hang_up();
        reaches(&user, Phase::Over).await;
        scene.settles_at(1).await;
        let page = crate::house::describe(found).await;
        assert!(page.calls.is_empty(), "it has ended");
        let rest = scene.house.calls(page.next, 1).await.unwrap();
        assert!(page.next.is_some() && rest.calls.len() == 1, "{rest:?}");
        assert_eq!(rest.next, None);
    });
}

#[test]
fn a_user_calls_the_phone_and_both_hear_each_other() {
    play(async {
        let scene = Scene::of(speaking("9.0.0")).await;
        let (user, phone) = scene.user_calls("bobby").await;
        scene.settles_at(1).await;
        scene.talk(TALK).await;
        user.hang_up();
        let (phone, user) = (
            reaches(&phone, Phase::Over).await,
            reaches(&user, Phase::Over).await,
        );
        assert_heard(&scene, &user, &phone);
        assert_heard(&scene, &phone, &user);
        scene.settles_at(0).await;
        let record = scene.records(1).await.remove(0);
        assert_eq!(
            (record.direction, record.outcome),
            (Direction::TgToSip, Some(Outcome::Answered))
        );
        assert_eq!(
            (record.ended_by, record.legs.len()),
            (Some(Side::Telegram), 2)
        );
        for method in ["INVITE", "BYE"] {
            let asked = format!("sip_request_duration_seconds_count{{method=\"{method}\"}}");
            scene.counts(&asked, 1.0).await;
        }
        for actor in [
            "registry", "endpoint", "trunk", "session", "call", "leg", "keeper",
        ] {
            let messages = format!("actor_messages_total{{actor=\"{actor}\"}}");
            scene.counts(&messages, 1.0).await;
        }
        scene.counts("disk_free_bytes{dir=\"data\"}", 1.0).await;
    });
}

#[test]
fn a_call_in_which_only_one_side_is_heard_is_counted() {
    play(async {
        let scene = Scene::of(Simulation {
            mute: true,
            ..Simulation::default()
        })
        .await;
        let (phone, user) = scene.phone_calls("alice").await;
        let missing = |side: &str| {
            format!("calls_one_way_total{{direction=\"sip_to_tg\",missing=\"{side}\"}}")
        };
        scene.counts(&missing("telegram"), 1.0).await;
        assert!((scene.number(&missing("both")) + scene.number(&missing("sip"))).abs() < 0.1);
        user.hang_up();
        reaches(&phone, Phase::Over).await;
        scene.settles_at(0).await;
        let looked_up =
            |source: &str| format!("telegram_resolves_total{{result=\"ok\",source=\"{source}\"}}");
        scene.counts(&looked_up("network"), 1.0).await;
        assert!(scene.number(&looked_up("cache")).abs() < 0.1);
        let (phone, user) = scene.phone_calls("alice").await;
        scene.counts(&looked_up("cache"), 1.0).await;
        user.hang_up();
        reaches(&phone, Phase::Over).await;
        // It ended before anybody could be missed.
        scene.settles_at(0).await;
        assert!((scene.number(&missing("telegram")) - 1.0).abs() < 0.1);
    });
}

#[test]
fn every_refusal_of_telegram_has_its_code_and_phrase() {
    play(async {
        let scene = Scene::new().await;
        let cases = [
            ("david", 486, "User declined the call", Outcome::Declined),
            ("ellen", 403, "USER_PRIVACY_RESTRICTED", Outcome::Rejected),
            ("nobody1", 404, "USERNAME_NOT_OCCUPIED", Outcome::Rejected),
            (
                "frank",
                503,
                "Too Many Requests: retry after 17",
                Outcome::Failed,
            ),
        ];
        for (name, code, phrase, _) in cases {
            let call = scene.phone.dial(name);
            let end = reaches(&call, Phase::Over).await.end.unwrap();
            assert_eq!((end.code, end.phrase.as_str()), (code, phrase), "{name}");
        }
        scene.settles_at(0).await;
        for (record, (name, _, _, outcome)) in scene.records(4).await.iter().zip(cases) {
            assert_eq!(record.outcome, Some(outcome), "{name}");
        }
        let nobody = "telegram_resolves_total{result=\"not_found\",source=\"network\"}";
        scene.counts(nobody, 1.0).await;
    });
}

#[test]
fn a_caller_who_gives_up_stops_the_ringing() {
    play(async {
        let scene = Scene::new().await;
        let call = scene.phone.dial("carol");
        let rings = scene
            .telegram
            .next_call("carol", Duration::from_secs(5))
            .await
            .unwrap();
        reaches(&call, Phase::Ringing).await;
        call.hang_up();
        assert_eq!(reaches(&call, Phase::Over).await.end.unwrap().code, 487);
        reaches(&rings, Phase::Over).await;
        scene.settles_at(0).await;
        assert_eq!(
            scene.records(1).await.remove(0).outcome,
            Some(Outcome::Cancelled)
        );
        assert_eq!(scene.telegram.open_calls(), 0);
    });
}

#[test]
fn a_call_that_an_owner_ends_while_it_rings_was_not_answered() {
    play(async {
        let scene = Scene::new().await;
        let end_it = async || {
            let calls = scene.house.calls(None, 10).await.unwrap().calls;
            assert_eq!(calls.len(), 1);
            assert!(scene.house.hang_up(calls[0].record.id).await);
        };
        let phone = scene.phone.dial("carol");
        let carol = scene.telegram.next_call("carol", PATIENCE).await.unwrap();
        reaches(&phone, Phase::Ringing).await;
        end_it().await;
        let end = reaches(&phone, Phase::Over).await.end.unwrap();
        assert_eq!((end.code, &*end.phrase), (487, "Request Terminated"));
        reaches(&carol, Phase::Over).await;
        scene.settles_at(0).await;
        scene.phone.set_manner(PhoneManner::Ring);
        let bobby = scene.telegram.call_account("bobby").unwrap();
        let phone = scene.phone.next_call(PATIENCE).await.unwrap();
        reaches(&phone, Phase::Ringing).await;
        end_it().await;
        for line in [&phone, &bobby] {
            reaches(line, Phase::Over).await;
        }
        scene.settles_at(0).await;
        for record in scene.records(2).await {
            assert_eq!(record.outcome, Some(Outcome::Cancelled), "{record:?}");
            assert_eq!(record.ended_by, Some(Side::Here), "{record:?}");
        }
        assert!(scene.telegram.texts().is_empty());
        assert_eq!(scene.telegram.open_calls(), 0);
    });
}

#[test]
fn a_call_outlives_the_connection_to_telegram() {
    play(async {
        let scene = Scene::new().await;
        let (phone_a, alice) = scene.phone_calls("alice").await;
        let (bobby, phone_b) = scene.user_calls("bobby").await;
        scene.telegram.disconnect();
        let lone = scene.phone.dial("carol");
        let end = reaches(&lone, Phase::Over).await.end.unwrap();
        assert_eq!(
            (end.code, end.phrase.as_str()),
            (503, "Session is not running")
        );
        // One end of each call hangs up; only the phone's can be told of it now.
        phone_a.hang_up();
        bobby.hang_up();
        reaches(&phone_a, Phase::Over).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(alice.status().phase, Phase::Talking);
        scene.telegram.reconnect();
        reaches(&alice, Phase::Over).await;
        reaches(&phone_b, Phase::Over).await;
        scene.settles_at(0).await;
        assert_eq!(scene.telegram.open_calls(), 0);
        // Two conversations, and the call that was refused meanwhile.
        let records = scene.records(3).await;
        let ended = |outcome| {
            let records = records.iter();
            records
                .filter(|record| record.outcome == Some(outcome))
                .count()
        };
        assert_eq!(
            (ended(Outcome::Answered), ended(Outcome::Failed)),
            (2, 1),
            "{records:#?}"
        );
    });
}

#[test]
fn both_framings_of_signalling_carry_a_call() {
    for version in ["8.0.0", "9.0.0", "12.0.0", "13.0.0"] {
        play(async {
            let scene = Scene::of(speaking(version)).await;
            let (phone, alice) = scene.phone_calls("alice").await;
            alice.hang_up();
            reaches(&phone, Phase::Over).await;
            let (bobby, phone) = scene.user_calls("bobby").await;
            phone.hang_up();
            reaches(&bobby, Phase::Over).await;
            scene.settles_at(0).await;
        });
    }
}

#[test]
fn nobody_is_rung_for_longer_than_telegram_says() {
    let second = Duration::from_secs(1);
    let timers = telegram::Timers {
        receive: second,
        ring: 2 * second,
        connect: 10 * second,
    };
    let cases = [
        ("grace", "Temporarily Unavailable", second, false),
        ("carol", "No answer", 2 * second, true),
    ];
    play(async {
        let scene = Scene::of(Simulation {
            timers,
            ..Simulation::default()
        })
        .await;
        for (name, phrase, after, rings) in cases {
            let call = scene.phone.dial(name);
            let status = reaches(&call, Phase::Over).await;
            let end = status.end.unwrap();
            assert_eq!((end.code, end.phrase.as_str()), (480, phrase), "{name}");
            assert_eq!(status.ringing.is_some(), rings, "{name}");
            assert!(status.started.elapsed() >= after, "{name}");
        }
        scene.settles_at(0).await;
        // The last word to Telegram may still be on its way.
        for _ in 0..40 {
            if scene.telegram.open_calls() == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(scene.telegram.open_calls(), 0);
        for record in scene.records(2).await {
            assert_eq!(record.outcome, Some(Outcome::NoAnswer), "{record:?}");
        }
    });
}

#[test]
fn a_refresh_that_changes_nothing_is_not_written() {
    play(async {
        let scene = Scene::new().await;
        let kept = || {
            let trunk = trunk();
            let space = store::Space::Bindings;
            scene.store.get(space, trunk.as_str().as_bytes()).unwrap()
        };
        let second = Duration::from_secs(1);
        tokio::time::sleep(second).await;
        let first = kept().expect("the phone has registered");
        // The sequence number and the time are new ones, which a restart can do without.
        for _ in 0..3 {
            assert_eq!(scene.phone.register(PASSWORD, 3600).await.status, 200);
        }
        tokio::time::sleep(second).await;
        assert_eq!(kept().as_ref(), Some(&first));
        // Half of the time is something else.
        assert_eq!(scene.phone.register(PASSWORD, 1800).await.status, 200);
        tokio::time::sleep(second).await;
        let second_write = kept().unwrap();
        assert_ne!(second_write, first);
        assert_eq!(scene.phone.register(PASSWORD, 3600).await.status, 200);
        tokio::time::sleep(second).await;
        assert_ne!(
            kept().unwrap(),
            second_write,
            "a longer time is worth a write"
        );
        let (line, alice) = scene.phone_calls("alice").await;
        alice.hang_up();
        reaches(&line, Phase::Over).await;
        scene.settles_at(0).await;
    });
}
