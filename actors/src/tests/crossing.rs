//! Messages that cross: what comes when the call is over, or when whom it is for is gone.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use actix::Addr;
use model::{Cause, DtmfMethod, Key, LegId, LegKind, Outcome, Reason};
use net::fake::Phase;
use sip::Method;

use super::crash::kill;
use super::hunt;
use super::keys;
use super::pbx::{Habit, Pbx};
use super::scene::{PATIENCE, Scene, play, reaches, session};
use crate::call::Call;
use crate::call::crash::CrashLeg;
use crate::house::{CallOrder, Ordered};
use crate::message::{EndCall, LegFact, LegReport, OrderCall, TrunkSaid};
use crate::registry::crash::{Faint, Supervised};

/// The oldest call, when there is one.
pub(super) async fn call(scene: &Scene) -> Addr<Call> {
    let registry = scene.house.common.registry.open().expect("a registry");
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        let calls = registry.send(Supervised).await.unwrap().calls;
        if let Some(call) = calls.into_iter().next() {
            return call;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("no call");
}

#[test]
fn an_answer_that_crosses_the_end_of_the_call_changes_nothing() {
    play(async {
        let pbx = Pbx::start(Habit::Ring).await;
        let scene = hunt::scene(vec![(pbx.trunk("rings"), 50)]).await;
        let user = scene.telegram.call_account("bobby").unwrap();
        pbx.got(Method::Invite).await;
        let call = call(&scene).await;
        call.do_send(EndCall {
            cause: Cause::new(Reason::WorkerNotReady),
        });
        for leg in [LegId(1), LegId(0)] {
            let fact = LegFact::Answered { audio: None };
            call.do_send(LegReport { leg, fact });
        }
        reaches(&user, Phase::Over).await;
        scene.settles_at(0).await;
        let record = scene.records(1).await.remove(0);
        assert_eq!(record.outcome, Some(Outcome::Failed), "{record:?}");
        assert_eq!(record.answered_after_ms, None, "{record:?}");
    });
}

#[test]
fn a_call_for_which_there_is_no_rtp_port_does_not_count_as_one_that_died() {
    play(async {
        let scene = Scene::new().await;
        let peer = SocketAddr::from(([127, 0, 0, 1], 9));
        let mut ports = Vec::new();
        while let Ok(taken) = scene.house.common.media.reserve_rtp(peer) {
            ports.push(taken);
        }
        reaches(&scene.phone.dial("alice"), Phase::Over).await;
        scene.records(1).await;
        scene.settles_at(0).await;
        let died = "actor_restarts_total{actor=\"call\",cause=\"error\"}";
        assert!(scene.number(died) < 0.5);
    });
}

#[test]
fn a_telegram_call_that_a_registry_dies_over_is_declined() {
    play(async {
        let scene = Scene::new().await;
        let registry = scene.house.common.registry.open().unwrap();
        registry.do_send(Faint(Duration::from_millis(300)));
        let user = scene.telegram.call_account("bobby").unwrap();
        let end = user.reaches(Phase::Over, Duration::from_secs(10)).await;
        assert!(end.is_ok(), "it rings on: {end:?}");
        assert_eq!(scene.telegram.open_calls(), 0);
        scene.settles_at(0).await;
        let (user, phone) = scene.user_calls("bobby").await;
        user.hang_up();
        reaches(&phone, Phase::Over).await;
    });
}

#[test]
fn a_leg_that_dies_while_its_call_is_requested_leaves_nobody_ringing() {
    play(async {
        let scene = Scene::new().await;
        let phone = scene.phone.dial("carol");
        // Telegram has made the call, and its answer is on its way.
        while scene.telegram.open_calls() == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        call(&scene).await.do_send(CrashLeg(LegKind::Telegram));
        reaches(&phone, Phase::Over).await;
        let carol = scene.telegram.next_call("carol", PATIENCE).await.unwrap();
        let end = carol.reaches(Phase::Over, Duration::from_secs(5)).await;
        assert!(end.is_ok(), "it rings on");
        assert_eq!(scene.telegram.open_calls(), 0);
        scene.settles_at(0).await;
    });
}

#[test]
fn who_was_being_looked_up_by_a_session_that_dies_is_looked_up_by_the_next() {
    play(async {
        let scene = Scene::new().await;
        // Telegram takes 30 ms to look somebody up; on a machine that is slower than that the session dies too late for this.
        for name in ["alice", "bobby", "carol"] {
            let begun = Instant::now();
            let phone = scene.phone.dial(name);
            call(&scene).await;
            let link = scene.house.common.sessions.get(&session()).unwrap();
            kill(&link.door.door().open().expect("a session")).await;
            let is_early = begun.elapsed() < Duration::from_millis(25);
            if is_early {
                let rings = scene.telegram.next_call(name, Duration::from_secs(5)).await;
                assert!(rings.is_some(), "it should ring");
            }
            phone.hang_up();
            reaches(&phone, Phase::Over).await;
            scene.settles_at(0).await;
            if is_early {
                break;
            }
        }
    });
}

#[test]
fn a_trunk_that_answers_works_also_when_the_caller_is_gone_by_then() {
    play(async {
        let pbx = Pbx::start(Habit::Ring).await;
        let trunk = pbx.trunk("rings");
        let scene = hunt::scene(vec![(trunk.clone(), 50)]).await;
        let user = scene.telegram.call_account("bobby").unwrap();
        pbx.got(Method::Invite).await;
        let said = TrunkSaid {
            call: crate::house::call_id(),
            trunk: trunk.name,
            works: false,
            code: 500,
            held_back: None,
        };
        scene.house.common.registry.open().unwrap().do_send(said);
        let failures = "trunk_consecutive_failures{trunk=\"rings\"}";
        scene.counts(failures, 1.0).await;
        // The PBX answers, and before there is audio from Telegram the caller hangs up.
        let (leg, fact) = (LegId(1), LegFact::Answered { audio: None });
        call(&scene).await.do_send(LegReport { leg, fact });
        user.hang_up();
        reaches(&user, Phase::Over).await;
        scene.settles_at(0).await;
        assert_eq!(scene.records(1).await[0].answered_after_ms, None);
        assert!(scene.number(failures) < 0.5);
    });
}

#[test]
fn what_an_endpoint_that_dies_was_to_send_is_sent_by_the_next() {
    play(async {
        let (scene, pbx, user) = keys::talk(Habit::Answer(0), &[DtmfMethod::Info]).await;
        let call = call(&scene).await;
        let endpoint = scene.house.common.endpoint.open().unwrap();
        kill(&endpoint).await;
        // Nobody sends this key; the next one is pressed all the same.
        for key in ['5', '7'] {
            let (leg, keys) = (None, vec![Key::Digit(key)]);
            let press = OrderCall(CallOrder::Press { leg, keys });
            assert_eq!(call.send(press).await.unwrap(), Ordered::Done);
        }
        keys::gets(&pbx, "7").await;
        kill(&scene.house.common.endpoint.open().unwrap()).await;
        user.hang_up();
        reaches(&user, Phase::Over).await;
        pbx.got(Method::Bye).await;
        scene.settles_at(0).await;
    });
}
