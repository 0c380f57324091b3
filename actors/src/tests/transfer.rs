//! Transfers that cross something else: the death of the registry, keys, the answer.

use std::time::{Duration, Instant};

use actix::Addr;
use model::DtmfMethod::Info;
use net::fake::Phase;
use sip::Method;

use super::keys::{end, talk};
use super::pbx::{Habit, Pbx};
use super::scene::{PATIENCE, Scene};
use crate::call::Call;
use crate::chaos::Crash;
use crate::house::{CallOrder, Ordered};
use crate::message::OrderCall;
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
    super::scene::play(async {
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
