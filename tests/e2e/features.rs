//! What a PBX may do within a call: reliable ringing, session timers, hold, another media port, transfer.

use crate::deadline::s;
use crate::house::{House, SESSION};
use crate::pbx::Sipp;

/// A house with a PBX that is known by its address.
fn house() -> House {
    let house = House::new().peer_trunk(&["alaw"]).start();
    house.wait_session_up();
    house
}

/// A script of that PBX, which calls bobby.
fn caller(house: &House) -> Sipp {
    Sipp::on(house.dir(), "pbx", house.peer_port())
        .to(house.sip())
        .number("bobby")
}

#[test]
fn a_pbx_that_requires_reliable_ringing_gets_it() {
    let mut house = house();
    let talker = house.talker_of_own_tone("bobby", "9.0.0");
    let verdict = caller(&house).pause(s(4)).echo().run("uac_prack");
    verdict.expect_ok();
    let ringing = verdict
        .messages
        .iter()
        .find(|m| !m.sent && m.start().starts_with("180"))
        .unwrap_or_else(|| panic!("no 180\n{}", verdict.ladder()));
    assert_eq!(ringing.header("Require"), Some("100rel"));
    talker.finish();
    house.assert_clean(&[]);
}

#[test]
fn a_pbx_may_describe_its_media_reliably_before_it_answers() {
    let mut house = house();
    // Its 200 holds no description: that stood in the 183, which wants a PRACK.
    let pbx = Sipp::on(house.dir(), "pbx", house.peer_port())
        .pause(s(1))
        .echo()
        .start("uas_prack");
    let mut talker = house.talker_of_own_tone("bobby", "9.0.0");
    let call = house.telegram.call("bobby", SESSION, "9.0.0");
    talker.wait_heard(s(20));
    talker.hang_up(&house.telegram, "bobby", &call);
    pbx.wait(s(10)).expect_ok();
    house.assert_clean(&[]);
}
