//! Keys that a Telegram user types: who gets them, by which method, in which order, and when nobody does.

use std::time::{Duration, Instant};

use model::DtmfMethod::{Inband, Info, Rfc2833};
use model::{DtmfMethod, MAX_KEYS};
use net::fake::{Line, Phase, Simulation};
use sip::Method;

use super::pbx::{Habit, Pbx, added};
use super::scene::{PATIENCE, Scene, play, reaches};

const BY_INFO: &str = "dtmf_digits_total{from=\"telegram\",method=\"info\"}";
const AS_TONES: &str = "dtmf_digits_total{from=\"telegram\",method=\"inband\"}";

/// A call of bobby with a PBX of a trunk with these methods, talking; he leaves it before the phone is rung.
pub(super) async fn talk(habit: Habit, dtmf: &[DtmfMethod]) -> (Scene, Pbx, Line) {
    let pbx = Pbx::start(habit).await;
    let mut trunk = pbx.trunk("keys");
    trunk.dtmf = dtmf.to_vec();
    let scene = Scene::with(Simulation::default(), &added(trunk, 1)).await;
    let user = scene.telegram.call_account("bobby").unwrap();
    reaches(&user, Phase::Talking).await;
    scene.settles_at(1).await;
    (scene, pbx, user)
}

pub(super) async fn end(scene: &Scene, user: &Line) {
    user.hang_up();
    reaches(user, Phase::Over).await;
    scene.settles_at(0).await;
}

/// Waits until these keys, and no others, have come to the PBX by INFO.
pub(super) async fn gets(pbx: &Pbx, keys: &str) {
    let start = Instant::now();
    while pbx.keys() != keys && start.elapsed() < PATIENCE {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(pbx.keys(), keys);
}

#[test]
fn typed_keys_go_one_after_the_other_and_a_comma_waits_a_second() {
    play(async {
        // This PBX agreed on no events, so the keys go by the next method.
        let (scene, pbx, user) = talk(Habit::Answer(0), &[Rfc2833, Info]).await;
        for text in ["call me at 5", "+1555", "12a", ""] {
            scene.telegram.write("bobby", text);
        }
        // Nobody in this call.
        scene.telegram.write("alice", "9");
        let start = Instant::now();
        scene.telegram.write("bobby", "1 2,#");
        scene.telegram.write("bobby", "*D");
        gets(&pbx, "12#*D").await;
        let least = Duration::from_millis(1_000 + 3 * 240);
        assert!(start.elapsed() >= least, "{:?}", start.elapsed());
        scene.counts(BY_INFO, 5.0).await;
        end(&scene, &user).await;
        scene.telegram.write("bobby", "7");
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(pbx.keys(), "12#*D");
    });
}

#[test]
fn a_pbx_that_refuses_info_gets_that_key_and_the_rest_by_the_next_method() {
    for status in [405, 415, 501] {
        play(async {
            let (scene, pbx, user) = talk(Habit::NoInfo(status), &[Info, Rfc2833, Inband]).await;
            scene.telegram.write("bobby", "159");
            scene.counts(AS_TONES, 3.0).await;
            assert_eq!(pbx.keys(), "1", "it is not asked again");
            assert!(scene.number(BY_INFO) < 0.5);
            end(&scene, &user).await;
        });
    }
}

#[test]
fn keys_without_a_method_are_not_pressed_and_disturb_nothing() {
    play(async {
        let (scene, pbx, user) = talk(Habit::NoInfo(415), &[Info, Rfc2833]).await;
        scene.telegram.write("bobby", "12");
        pbx.got(Method::Info).await;
        scene.telegram.write("bobby", "3");
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(pbx.keys(), "1");
        end(&scene, &user).await;
    });
}

#[test]
fn more_keys_than_may_wait_are_left_out_together() {
    play(async {
        let (scene, pbx, user) = talk(Habit::Answer(0), &[Info]).await;
        // The first is pressed at once, and the last text has no room.
        let many = "1".repeat(MAX_KEYS - 2);
        for text in ["0", &many, "23", "456", "7"] {
            scene.telegram.write("bobby", text);
        }
        gets(&pbx, &format!("0{many}23")).await;
        // What came too late stays out when there is room again.
        scene.telegram.write("bobby", "8");
        gets(&pbx, &format!("0{many}238")).await;
        end(&scene, &user).await;
    });
}
