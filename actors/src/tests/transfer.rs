//! Transfers that cross something else: the death of the registry, keys, the answer.

use std::time::{Duration, Instant};

use actix::Addr;
use model::DtmfMethod::{Info, Rfc2833};
use model::{Cause, Codec, EventKind, Key, LegId, Reason};
use net::fake::{Phase, Phone, PhoneManner, PhoneSettings};
use sip::Method;

use super::keys::{end, gets, talk};
use super::pbx::{Habit, Pbx};
use super::scene::{LOGIN, PASSWORD, PATIENCE, Scene, play, reaches};
use crate::call::Call;
use crate::chaos::Crash;
use crate::house::{CallOrder, Ordered};
use crate::message::{LegFact, LegReport, OrderCall};
use crate::registry::crash::Supervised;

/// The oldest call.
async fn call(scene: &Scene) -> Addr<Call> {
    let registry = scene.house.common.registry.open().expect("a registry");
    registry.send(Supervised).await.unwrap().calls.remove(0)
}

/// An owner wants another number in the PBX.
fn to(number: &str) -> OrderCall {
    let number = number.to_owned();
    OrderCall(CallOrder::Transfer { number })
}

/// Waits until so many calls have come to the PBX.
async fn is_called(pbx: &Pbx, times: usize) {
    let begun = Instant::now();
    let invites = || pbx.methods().iter().filter(|it| *it == "INVITE").count();
    while invites() < times && begun.elapsed() < PATIENCE {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(invites(), times);
}

#[test]
fn a_transfer_that_a_registry_dies_over_is_asked_of_the_next() {
    play(async {
        let (scene, pbx, user) = talk(Habit::Answer(0), &[Info]).await;
        let call = call(&scene).await;
        scene.house.common.registry.open().unwrap().do_send(Crash);
        let ordered = call.send(to("602")).await.unwrap();
        assert_eq!(ordered, Ordered::Done);
        is_called(&pbx, 2).await;
        pbx.got(Method::Bye).await;
        assert_eq!(user.status().phase, Phase::Talking);
        end(&scene, &user).await;
    });
}

#[test]
fn keys_go_to_whom_one_talks_with_while_another_rings() {
    play(async {
        let (scene, pbx, user) = talk(Habit::RingSecond(700), &[Rfc2833, Info]).await;
        let call = call(&scene).await;
        assert_eq!(call.send(to("602")).await.unwrap(), Ordered::Done);
        is_called(&pbx, 2).await;
        let press = CallOrder::Press {
            leg: None,
            keys: vec![Key::Digit('5')],
        };
        assert_eq!(call.send(OrderCall(press)).await.unwrap(), Ordered::Done);
        gets(&pbx, "5").await;
        pbx.got(Method::Bye).await;
        // Whoever has taken the place hears the next ones.
        scene.telegram.write("bobby", "7");
        gets(&pbx, "57").await;
        reaches(&user, Phase::Talking).await;
        end(&scene, &user).await;
    });
}

#[test]
fn a_transfer_stays_with_the_pbx_that_answered() {
    play(async {
        let scene = Scene::new().await;
        let after = Duration::from_millis(100);
        let other = Phone::start(PhoneSettings {
            house: scene.house.common.settings.sip.addresses[0],
            login: LOGIN.to_owned(),
            password: PASSWORD.to_owned(),
            codecs: vec![Codec::Alaw],
            manner: PhoneManner::Ring,
            voice: 4,
        })
        .await
        .unwrap();
        assert_eq!(other.register(PASSWORD, 3600).await.status, 200);
        for (one, two) in [(&scene.phone, &other), (&other, &scene.phone)] {
            one.set_manner(PhoneManner::Answer { after });
            two.set_manner(PhoneManner::Ring);
            let user = scene.telegram.call_account("bobby").unwrap();
            let first = one.next_call(PATIENCE).await.expect("it should ring");
            two.next_call(PATIENCE).await.expect("it should ring");
            reaches(&user, Phase::Talking).await;
            let call = call(&scene).await;
            assert_eq!(call.send(to("602")).await.unwrap(), Ordered::Done);
            let second = one.next_call(Duration::from_secs(5)).await;
            let second = second.expect("it should ring where the call is");
            reaches(&first, Phase::Over).await;
            reaches(&second, Phase::Talking).await;
            user.hang_up();
            reaches(&second, Phase::Over).await;
            scene.settles_at(0).await;
        }
    });
}

#[test]
fn who_takes_the_place_of_a_pbx_that_is_held_is_not_held_and_that_is_told() {
    play(async {
        let (scene, pbx, user) = talk(Habit::Answer(0), &[Info]).await;
        let call = call(&scene).await;
        let mut listener = scene.house.listen();
        let mut told = async || {
            while let Some(Ok(event)) = listener.next().await {
                if event.kind == EventKind::CallHeld {
                    return event.data["on"].as_bool();
                }
            }
            None
        };
        let hold = OrderCall(CallOrder::Hold { on: true });
        assert_eq!(call.send(hold).await.unwrap(), Ordered::Done);
        let within = Duration::from_secs(5);
        let on = tokio::time::timeout(within, told()).await;
        assert_eq!(on, Ok(Some(true)));
        assert_eq!(call.send(to("602")).await.unwrap(), Ordered::Done);
        pbx.got(Method::Bye).await;
        let off = tokio::time::timeout(within, told()).await;
        assert_eq!(off, Ok(Some(false)));
        end(&scene, &user).await;
    });
}

#[test]
fn a_caller_who_is_not_answered_yet_is_not_transferred() {
    play(async {
        let scene = Scene::new().await;
        let phone = scene.phone.dial("carol");
        let carol = scene.telegram.next_call("carol", PATIENCE).await.unwrap();
        reaches(&phone, Phase::Ringing).await;
        let call = call(&scene).await;
        // She has answered; that the phone has heard so is known with its ACK.
        let fact = LegFact::Answered { audio: None };
        call.do_send(LegReport {
            leg: LegId(1),
            fact,
        });
        let ordered = call.send(to("602")).await.unwrap();
        let refused = Cause::new(Reason::TransferNotPossible);
        assert_eq!(ordered, Ordered::Refused(refused));
        reaches(&phone, Phase::Talking).await;
        let begun = Instant::now();
        while call.send(to("602")).await.unwrap() != Ordered::Done {
            assert!(begun.elapsed() < PATIENCE, "he talks");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        carol.hang_up();
        scene.settles_at(0).await;
    });
}
