//! Manager, Worker and Storage: what is refused while one of them is off or does not work, in the words of the catalogue, and that
//! it heals without a restart.

use std::time::Duration;

use model::{QuotaSpec, Role, RoleSpec, RoleState};
use net::fake::{Phase, Simulation};
use store::Change;

use super::crash::Crash;
use super::records::change;
use super::scene::{PASSWORD, Scene, play, reaches, session, trunk};
use crate::{TryCall, Via};

/// The user id of alice.
const ALICE: i64 = 1001;

fn switched(role: Role, enabled: bool) -> [Change; 1] {
    [Change::PutRole(RoleSpec { role, enabled })]
}

/// What the phone is told when it calls.
async fn told(scene: &Scene) -> String {
    let line = scene.phone.dial("alice");
    let end = reaches(&line, Phase::Over).await.end.unwrap();
    format!("{} {}", end.code, end.phrase)
}

/// What the phone is told when it registers.
async fn registers(scene: &Scene) -> String {
    let told = scene.phone.register(PASSWORD, 3600).await;
    format!("{} {}", told.status, told.phrase)
}

/// What alice reads when she calls.
async fn alice_reads(scene: &Scene) -> String {
    let before = scene.telegram.texts().len();
    let open = scene.telegram.open_calls();
    let _line = scene.telegram.call_account("alice").unwrap();
    for _ in 0..200 {
        let texts = scene.telegram.texts();
        if let Some((to, text)) = texts.get(before) {
            assert_eq!(*to, ALICE);
            assert_eq!(scene.telegram.open_calls(), open, "and rings on");
            return text.clone();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("she reads nothing");
}

/// The steps of a trial that is refused with this.
async fn would_be_told(scene: &Scene, to: &str, via: Via, refusal: &str) -> String {
    let call = TryCall {
        from: ALICE.to_string(),
        to: to.to_owned(),
        via,
    };
    let report = scene.house.try_call(call).await.unwrap().unwrap();
    let steps: Vec<String> = report.steps.into_iter().map(|step| step.what).collect();
    let steps = steps.join("\n");
    let said = report
        .refusal
        .map(|it| format!("{} {}", it.code, it.phrase));
    assert_eq!(
        said.as_deref(),
        Some(refusal),
        "{}\n{steps}",
        report.decision
    );
    steps
}

async fn becomes(scene: &Scene, role: Role, wanted: RoleState) {
    for _ in 0..400 {
        let report = scene.house.report().await;
        let mut roles = report.roles.iter();
        let found = roles.find(|it| it.name == role.label());
        if found.is_some_and(|found| found.state == wanted) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{role:?}: {:?}", scene.house.report().await);
}

/// A call goes through.
async fn talks(scene: &Scene) {
    let (line, _) = scene.phone_calls("alice").await;
    line.hang_up();
    reaches(&line, Phase::Over).await;
}

#[test]
fn a_role_that_is_switched_off_takes_nothing_new_and_keeps_what_it_has() {
    play(async {
        let scene = Scene::new().await;
        let (line, bobby) = scene.phone_calls("bobby").await;
        let storage = "403 Session storage is inactive";
        let worker = "403 Worker is inactive";
        for (role, register, invite, read) in [
            (Role::Storage, storage, storage, storage),
            (Role::Worker, worker, worker, "503 Worker is unavailable"),
        ] {
            change(&scene, &switched(role, false)).await;
            assert_eq!(registers(&scene).await, register);
            assert_eq!(told(&scene).await, invite);
            let text = alice_reads(&scene).await;
            assert!(text.contains(read), "{text}");
            // A trial says the same, and why.
            let steps = would_be_told(&scene, "alice", Via::Trunk(trunk()), invite).await;
            let at_her_call = would_be_told(&scene, "", Via::Session(session()), read).await;
            let is_off = match role {
                Role::Worker => "worker local is switched off",
                Role::Storage => "the storage is switched off",
            };
            assert!(steps.contains(is_off), "{steps}");
            assert!(at_her_call.contains(is_off), "{at_her_call}");
            // It is off, and well; nothing is missing.
            becomes(&scene, role, RoleState::Running).await;
            let report = scene.house.report().await;
            assert!(report.missing.is_empty(), "{report:?}");
            let series = format!("role_enabled{{role=\"{}\"}}", role.label());
            assert!(scene.number(&series) < 0.5, "{series}");
            // The call that was up hears nothing of it.
            assert_eq!(report.calls, 1);
            assert_eq!(report.calls, report.lines);
            change(&scene, &switched(role, true)).await;
            assert_eq!(registers(&scene).await, "200 OK");
            talks(&scene).await;
            scene.settles_at(1).await;
        }
        for end in [&line, &bobby] {
            assert_eq!(end.status().phase, Phase::Talking);
        }
        line.hang_up();
        reaches(&bobby, Phase::Over).await;
        scene.settles_at(0).await;
    });
}

#[test]
fn who_must_be_counted_is_refused_while_the_store_takes_nothing() {
    play(async {
        let mut quota = QuotaSpec::new("default".parse().unwrap());
        quota.fail_calls = 1000;
        let scene = Scene::with(Simulation::default(), &[Change::PutQuota(quota.clone())]).await;
        talks(&scene).await;
        assert!(scene.house.report().await.stores);
        scene.fault.writes(true);
        becomes(&scene, Role::Storage, RoleState::Unavailable).await;
        assert!(!scene.house.report().await.stores);
        assert_eq!(told(&scene).await, "500 Database error");
        let text = alice_reads(&scene).await;
        assert!(text.contains("500 Database error"), "{text}");
        // Who is registered stays so, but who is not could not be remembered.
        assert_eq!(registers(&scene).await, "200 OK");
        assert_eq!(scene.phone.register(PASSWORD, 0).await.status, 200);
        assert_eq!(registers(&scene).await, "500 Database error");
        scene.fault.writes(false);
        becomes(&scene, Role::Storage, RoleState::Running).await;
        assert!(scene.house.report().await.stores);
        assert_eq!(registers(&scene).await, "200 OK");
        talks(&scene).await;
        scene.settles_at(0).await;
    });
}

#[test]
fn calls_without_a_quota_go_on_while_the_store_takes_nothing() {
    play(async {
        let scene = Scene::new().await;
        scene.fault.writes(true);
        becomes(&scene, Role::Storage, RoleState::Unavailable).await;
        talks(&scene).await;
        scene.fault.writes(false);
        becomes(&scene, Role::Storage, RoleState::Running).await;
        scene.settles_at(0).await;
    });
}

#[test]
fn who_must_be_counted_is_refused_until_it_is_known_what_was_counted() {
    play(async {
        let mut quota = QuotaSpec::new("default".parse().unwrap());
        quota.fail_calls = 1000;
        let scene = Scene::with(Simulation::default(), &[Change::PutQuota(quota)]).await;
        scene.fault.reads(true);
        let registry = scene.house.common.registry.open().unwrap();
        let _ = registry.send(Crash).await;
        becomes(&scene, Role::Storage, RoleState::Unavailable).await;
        scene.settles_at(0).await;
        assert_eq!(told(&scene).await, "500 Database error");
        scene.fault.reads(false);
        becomes(&scene, Role::Storage, RoleState::Running).await;
        talks(&scene).await;
        scene.settles_at(0).await;
    });
}

#[test]
fn a_session_whose_limits_cannot_be_read_calls_nobody_until_they_can() {
    play(async {
        let scene = Scene::new().await;
        scene.fault.reads(true);
        let link = scene.house.common.sessions.get(&session()).unwrap();
        let living = link.door.door().open().unwrap();
        let _ = living.send(Crash).await;
        becomes(&scene, Role::Storage, RoleState::Unavailable).await;
        assert_eq!(told(&scene).await, "503 Telegram storage is unavailable");
        scene.fault.reads(false);
        becomes(&scene, Role::Storage, RoleState::Running).await;
        scene.settles_at(0).await;
        talks(&scene).await;
        scene.settles_at(0).await;
    });
}

#[test]
fn a_telegram_user_is_told_when_nobody_can_call_the_pbx() {
    play(async {
        let scene = Scene::new().await;
        // It dies until it is given up for a while.
        for _ in 0..5 {
            let mut door = scene.house.common.endpoint.clone();
            let endpoint = match door.open() {
                Some(endpoint) => endpoint,
                None => door.next().await.unwrap(),
            };
            let _ = endpoint.send(Crash).await;
        }
        becomes(&scene, Role::Worker, RoleState::Unavailable).await;
        let text = alice_reads(&scene).await;
        assert!(text.contains("503 Worker is unavailable"), "{text}");
        assert_eq!(scene.house.report().await.calls, 0);
    });
}
