//! What a PBX may do within a call: reliable ringing, session timers, hold, another media port, transfer.

use crate::deadline::{s, until};
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

#[test]
fn an_interval_that_is_too_small_is_refused_with_the_smallest() {
    let mut house = house();
    let verdict = caller(&house).run("uac_timer_small");
    let refusal = verdict.expect_ok().last_final();
    assert!(refusal.start().starts_with("422"), "{}", verdict.ladder());
    assert_eq!(refusal.header("Min-SE"), Some("90"));
    house.assert_clean(&[]);
}

#[test]
fn a_pbx_refreshes_its_call() {
    let mut house = house();
    let talker = house.talker_of_own_tone("bobby", "9.0.0");
    let verdict = caller(&house).pause(s(4)).echo().run("uac_timer");
    let refreshed = verdict.expect_ok().messages.iter().rev().find(|m| {
        !m.sent
            && m.header("CSeq")
                .is_some_and(|cseq| cseq.ends_with("UPDATE"))
    });
    let refreshed = refreshed.and_then(|m| m.header("Session-Expires"));
    assert_eq!(refreshed, Some("90;refresher=uac"), "{}", verdict.ladder());
    talker.finish();
    house.assert_clean(&[]);
}

#[test]
fn a_pbx_that_wants_a_longer_interval_gets_it() {
    let mut house = house();
    let pbx = Sipp::on(house.dir(), "pbx", house.peer_port())
        .echo()
        .start("uas_422");
    let mut talker = house.talker_of_own_tone("bobby", "9.0.0");
    let call = house.telegram.call("bobby", SESSION, "9.0.0");
    talker.wait_heard(s(20));
    talker.hang_up(&house.telegram, "bobby", &call);
    pbx.wait(s(10)).expect_ok();
    house.assert_clean(&[]);
}

#[test]
fn a_call_is_refreshed_before_it_expires() {
    let mut house = house();
    let pbx = Sipp::on(house.dir(), "pbx", house.peer_port())
        .echo()
        .start("uas_timer");
    let mut talker = house.talker_of_own_tone("bobby", "9.0.0");
    let call = house.telegram.call("bobby", SESSION, "9.0.0");
    talker.wait_heard(s(20));
    // 90 s are granted, so that after 45 s it is time.
    until("the refresh", s(60), || {
        let mut messages = pbx.messages().into_iter();
        messages.find(|m| {
            let in_dialog = m.header("To").is_some_and(|to| to.contains("tag="));
            !m.sent && in_dialog && m.start().starts_with("INVITE")
        })
    });
    talker.hang_up(&house.telegram, "bobby", &call);
    pbx.wait(s(10)).expect_ok();
    house.assert_clean(&[]);
}
