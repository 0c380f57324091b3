//! A Telegram user's call hunts for a PBX that takes it.

use crate::deadline::s;
use crate::house::{BRANCH, House, SESSION};
use crate::pbx::Sipp;
use crate::telegram::Behaviour;

/// A house with two PBXs, known by their addresses; the priority is that of the second one.
fn house(priority: u16) -> House {
    let house = House::new().peer_trunk(&["alaw"]).second_pbx(priority);
    let house = house.start();
    house.wait_session_up();
    house
}

/// The scripts of both.
fn pbxs(house: &House) -> [Sipp; 2] {
    [
        Sipp::on(house.dir(), "pbx", house.peer_port()),
        Sipp::on(house.dir(), BRANCH, house.branch_port()),
    ]
}

#[test]
fn two_pbxs_of_equal_priority_ring_together_and_the_first_to_answer_has_the_call() {
    let mut house = house(100);
    let [quiet, quick] = pbxs(&house);
    let quiet = quiet.start("uas_noanswer");
    let quick = quick.pause(s(1)).echo().start("uas");
    let mut talker = house.talker_of_own_tone("bobby", "9.0.0");
    let call = house.telegram.call("bobby", SESSION, "9.0.0");
    talker.wait_heard(s(20));
    // It rang, and was told to stop.
    quiet.wait(s(10)).expect_ok();
    talker.hang_up(&house.telegram, "bobby", &call);
    quick.wait(s(10)).expect_ok();
    house.assert_clean(&[]);
}

#[test]
fn the_next_pbx_is_tried_after_a_refusal() {
    let mut house = house(200);
    let [first, next] = pbxs(&house);
    let first = first.key("code", "503").key("reason", "Out of Order");
    let first = first.start("uas_reject");
    let next = next.pause(s(1)).echo().start("uas");
    let mut talker = house.talker_of_own_tone("bobby", "9.0.0");
    let call = house.telegram.call("bobby", SESSION, "9.0.0");
    talker.wait_heard(s(20));
    first.wait(s(10)).expect_ok();
    talker.hang_up(&house.telegram, "bobby", &call);
    next.wait(s(10)).expect_ok();
    house.assert_clean(&[]);
}

#[test]
fn the_best_of_all_refusals_is_told_and_not_the_last() {
    let mut house = house(50);
    let behaviour = Behaviour::accepts();
    house.telegram.user("bobby", "15550002", &behaviour);
    // The second PBX is asked first.
    let [last, first] = pbxs(&house);
    let last = last.key("code", "404").key("reason", "Not Found");
    let last = last.start("uas_reject");
    let first = first.start("uas_busy");
    let call = house.telegram.call("bobby", SESSION, "9.0.0");
    let ended = house.telegram.wait_call(&call, "discarded", s(10));
    assert_eq!(ended["reason"], "busy", "{ended}");
    first.wait(s(10)).expect_ok();
    last.wait(s(10)).expect_ok();
    house.assert_clean(&[]);
    house.stop();
    let record = &house.records()[0];
    let legs = record["legs"].as_array().unwrap();
    let telegram = legs.iter().find(|leg| leg["kind"] == "telegram").unwrap();
    assert_eq!(telegram["code"], 486, "{record:#}");
}
