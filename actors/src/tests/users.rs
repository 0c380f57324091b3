//! Telegram users whom the owner knows: a line of theirs is held by each call with them, whoever called whom.

use std::time::Duration;

use model::{QuotaSpec, TrunkSpec, UserSpec};
use net::fake::{Line, Phase, Simulation};
use store::Change;

use super::crash::Crash;
use super::records::change;
use super::scene::{Scene, play, reaches, session, trunk};
use crate::{TryCall, Via};

const ALICE: i64 = 1001;
/// Her number, by which she is somebody else until Telegram says who that is.
const HER_PHONE: &str = "+15551001000";

fn alice(lines: u32) -> UserSpec {
    UserSpec {
        lines,
        ..UserSpec::new("alice".parse().unwrap(), ALICE)
    }
}

async fn scene(lines: u32) -> Scene {
    Scene::with(Simulation::default(), &[Change::PutUser(alice(lines))]).await
}

/// What the phone is told when it calls her number.
async fn told(scene: &Scene) -> String {
    let line = scene.phone.dial(HER_PHONE);
    let end = reaches(&line, Phase::Over).await.end.unwrap();
    format!("{} {}", end.code, end.phrase)
}

/// What she reads when she calls.
async fn she_reads(scene: &Scene) -> String {
    let before = scene.telegram.texts().len();
    let _line = scene.telegram.call_account("alice").unwrap();
    for _ in 0..200 {
        if let Some((_, text)) = scene.telegram.texts().get(before) {
            return text.clone();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("she reads nothing");
}

async fn hang_up(scene: &Scene, line: &Line) {
    line.hang_up();
    reaches(line, Phase::Over).await;
    scene.settles_at(0).await;
}

#[test]
fn one_call_more_than_a_user_has_lines_is_refused_both_ways() {
    play(async {
        let scene = scene(1).await;
        let full = "402 Lines limit is exceeded";
        // Called by a name, which says who she is only when it is looked up.
        let (line, _) = scene.phone_calls("alice").await;
        assert_eq!(told(&scene).await, full);
        let text = she_reads(&scene).await;
        assert!(text.contains(full), "{text}");
        hang_up(&scene, &line).await;
        // Calling, which she is known by at once.
        let (line, _) = scene.user_calls("alice").await;
        assert_eq!(told(&scene).await, full);
        hang_up(&scene, &line).await;
        let (line, _) = scene.phone_calls("alice").await;
        hang_up(&scene, &line).await;
    });
}

#[test]
fn who_is_no_user_is_not_limited_as_one() {
    play(async {
        let scene = scene(1).await;
        let (alice, _) = scene.phone_calls("alice").await;
        let (bobby, _) = scene.phone_calls("bobby").await;
        scene.settles_at(2).await;
        alice.hang_up();
        bobby.hang_up();
        scene.settles_at(0).await;
    });
}

#[test]
fn the_line_of_a_user_outlives_the_registry_and_his_record() {
    play(async {
        let scene = scene(1).await;
        let (line, _) = scene.phone_calls("alice").await;
        let registry = scene.house.common.registry.open().unwrap();
        let _ = registry.send(Crash).await;
        scene.settles_at(1).await;
        let full = "402 Lines limit is exceeded";
        assert_eq!(told(&scene).await, full);
        // Somebody else's mistake, mended at once: the line is hers all the while.
        change(&scene, &[Change::RemoveUser(alice(1).name)]).await;
        change(&scene, &[Change::PutUser(alice(1))]).await;
        assert_eq!(told(&scene).await, full);
        change(&scene, &[Change::RemoveUser(alice(1).name)]).await;
        hang_up(&scene, &line).await;
        change(&scene, &[Change::PutUser(alice(1))]).await;
        let (line, _) = scene.phone_calls("alice").await;
        hang_up(&scene, &line).await;
    });
}

#[test]
fn what_a_user_may_use_over_time_counts_whoever_calls() {
    play(async {
        let quota = QuotaSpec {
            total_seconds: 1,
            ..QuotaSpec::new("small".parse().unwrap())
        };
        let spec = UserSpec {
            quota: Some(quota.name.clone()),
            ..alice(0)
        };
        let changes = [Change::PutQuota(quota), Change::PutUser(spec)];
        let scene = Scene::with(Simulation::default(), &changes).await;
        let (line, _) = scene.phone_calls("alice").await;
        let end = reaches(&line, Phase::Over).await.end;
        assert!(end.is_some(), "it is cut");
        scene.settles_at(0).await;
        let spent = "402 Total calls duration is exceeded";
        assert_eq!(told(&scene).await, spent);
        let text = she_reads(&scene).await;
        assert!(text.contains(spent), "{text}");
        let quotas = scene.house.quotas().await.unwrap();
        let subjects: Vec<&str> = quotas.iter().map(|it| it.subject.as_str()).collect();
        assert_eq!(subjects, ["user/alice"]);
        scene.settles_at(0).await;
        // Nobody else pays for it.
        let (line, _) = scene.phone_calls("bobby").await;
        hang_up(&scene, &line).await;
    });
}

/// What a trial of a call says: the decision, and every step in a line.
async fn tried(scene: &Scene, from: &str, to: &str, via: Via) -> (String, String) {
    let call = TryCall {
        from: from.to_owned(),
        to: to.to_owned(),
        via,
    };
    let report = scene.house.try_call(call).await.unwrap().unwrap();
    let steps: Vec<String> = report.steps.into_iter().map(|step| step.what).collect();
    (report.decision, steps.join("\n"))
}

#[test]
fn a_trial_is_refused_as_the_call_would_be_for_a_user_who_has_no_line_or_no_quota_left() {
    play(async {
        let scene = scene(1).await;
        let table = scene.house.table();
        let by_id = TrunkSpec {
            caller_id: vec!["id{userid}".to_owned()].try_into().unwrap(),
            ..table.trunk(&trunk()).unwrap().clone()
        };
        change(&scene, &[Change::PutTrunk(Box::new(by_id))]).await;
        let her_id = format!("{ALICE}");
        let dialled = format!("id{ALICE}");
        let from_phone = || Via::Trunk(trunk());
        let from_her = || Via::Session(session());
        let full = "refused with 402 Lines limit is exceeded";
        for (calls, expected) in [(0, "0 in use, of 1"), (1, "1 in use, of 1")] {
            let line = if calls == 0 {
                None
            } else {
                Some(scene.phone_calls("alice").await.0)
            };
            for (from, to, via) in [("600", &*dialled, from_phone()), (&*her_id, "", from_her())] {
                let (decision, steps) = tried(&scene, from, to, via).await;
                assert_eq!(decision == full, calls == 1, "{decision}\n{steps}");
                assert!(steps.contains("user alice: "), "{steps}");
                let lines = format!("lines of user alice: {expected}");
                assert!(steps.contains(&lines), "{steps}");
            }
            if let Some(line) = line {
                assert_eq!(told(&scene).await, "402 Lines limit is exceeded");
                hang_up(&scene, &line).await;
            }
        }
        // By another name she is known only when it has been looked up.
        let (decision, steps) = tried(&scene, "600", HER_PHONE, from_phone()).await;
        assert!(decision.contains("calls"), "{decision}");
        assert!(
            steps.contains("is told when Telegram has said his id"),
            "{steps}"
        );
        // What she has used up.
        let quota = QuotaSpec {
            fail_calls: 1,
            ..QuotaSpec::new("small".parse().unwrap())
        };
        let spec = UserSpec {
            quota: Some(quota.name.clone()),
            ..alice(0)
        };
        change(&scene, &[Change::PutQuota(quota), Change::PutUser(spec)]).await;
        let (decision, steps) = tried(&scene, "600", &dialled, from_phone()).await;
        assert!(!decision.contains("refused"), "{decision}");
        assert!(
            steps.contains("quota small of user/alice: 0 s talked, 0 calls failed"),
            "{steps}"
        );
    });
}
