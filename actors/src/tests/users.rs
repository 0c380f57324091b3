//! Telegram users whom the owner knows: a line of theirs is held by each call with them, whoever called whom.

use std::time::Duration;

use model::{QuotaSpec, UserSpec};
use net::fake::{Line, Phase, Simulation};
use store::Change;

use super::crash::Crash;
use super::records::change;
use super::scene::{Scene, play, reaches};

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
