//! PBXs that do the unusual: what they may, and what they should not.

use serde_json::Value;

use crate::deadline::{s, until, within};
use crate::house::{House, PASSWORD, SESSION, TRUNK};
use crate::pbx::Sipp;
use crate::talk::hears_himself;
use crate::telegram::Behaviour;

/// A house with a PBX that is known by its address.
fn house() -> House {
    let house = House::new().peer_trunk(&["alaw"]).start();
    house.wait_session_up();
    house
}

/// The same, whose timers run five times as fast.
fn hasty_house() -> House {
    let house = House::new().setting("sip.t1_ms = 100");
    let house = house.peer_trunk(&["alaw"]).start();
    house.wait_session_up();
    house
}

/// A script in the place of its PBX.
fn pbx(house: &House) -> Sipp {
    Sipp::on(house.dir(), "pbx", house.peer_port())
}

/// The SIP leg of the only record.
fn sip_leg(house: &mut House) -> Value {
    house.wait_no_calls();
    house.stop();
    let records = house.records();
    assert_eq!(records.len(), 1, "{records:#?}");
    let mut legs = records[0]["legs"].as_array().unwrap().iter();
    legs.find(|leg| leg["kind"] == "sip").unwrap().clone()
}

/// bobby calls the PBX, which plays a script with an echo, and hears himself; he hangs up.
fn talks(house: &mut House, script: &str) {
    let pbx = pbx(house).pause(s(1)).echo().start(script);
    hears_himself(house, pbx);
}

#[test]
fn a_pbx_that_answers_without_a_word_before_is_talked_to() {
    talks(&mut house(), "uas_fast");
}

#[test]
fn of_two_phones_that_answer_one_is_talked_to_and_the_other_hung_up_on() {
    talks(&mut house(), "uas_fork");
}

#[test]
fn a_telegram_user_who_is_played_something_before_the_answer_hears_his_own_ringing_until_then() {
    let mut house = house();
    let pbx = pbx(&house).pause(s(3)).echo().start("uas_early");
    let mut talker = house.talker_of_own_tone("bobby", "9.0.0");
    let call = house.telegram.call("bobby", SESSION, "9.0.0");
    until("the early media", s(10), || {
        let mut messages = pbx.messages().into_iter();
        messages.find(|m| m.start().starts_with("183"))
    });
    within(s(1), || None::<()>);
    let now = house.telegram.http().get(&format!("/calls/{call}"));
    assert_eq!(now["state"], "received", "{now}");
    talker.wait_heard(s(20));
    talker.hang_up(&house.telegram, "bobby", &call);
    pbx.wait(s(10)).expect_ok();
    house.assert_clean(&[]);
}

#[test]
fn a_pbx_that_answers_while_the_caller_gives_up_is_hung_up_on() {
    let mut house = house();
    let behaviour = Behaviour::accepts();
    house.telegram.user("bobby", "15550002", &behaviour);
    let pbx = pbx(&house).start("uas_answers_cancel");
    let call = house.telegram.call("bobby", SESSION, "9.0.0");
    until("the ringing", s(10), || {
        let mut messages = pbx.messages().into_iter();
        messages.find(|m| m.start().starts_with("180"))
    });
    within(s(1), || None::<()>);
    house.telegram.discard("bobby", &call, "missed");
    let verdict = pbx.wait(s(10));
    verdict.expect_ok();
    assert!(verdict.received("BYE"), "{}", verdict.ladder());
    house.assert_clean(&[]);
}

#[test]
fn a_pbx_that_sends_elsewhere_or_comes_back_later_has_refused() {
    for (script, code) in [("uas_redirect", 302), ("uas_503_retry", 503)] {
        let mut house = house();
        let behaviour = Behaviour::accepts();
        house.telegram.user("bobby", "15550002", &behaviour);
        let pbx = pbx(&house).key("refer_to", "601@203.0.113.7");
        let pbx = pbx.start(script);
        let call = house.telegram.call("bobby", SESSION, "9.0.0");
        let ended = house.telegram.wait_call(&call, "discarded", s(10));
        assert_eq!(ended["reason"], "missed", "{script}: {ended}");
        pbx.wait(s(10)).expect_ok();
        house.assert_clean(&["discard_reason"]);
        let leg = sip_leg(&mut house);
        assert_eq!(leg["code"], code, "{leg}");
    }
}

#[test]
fn a_pbx_that_says_nothing_at_all_is_given_up() {
    let mut house = hasty_house();
    let behaviour = Behaviour::accepts();
    house.telegram.user("bobby", "15550002", &behaviour);
    let silent = pbx(&house).start("uas_silent");
    let call = house.telegram.call("bobby", SESSION, "9.0.0");
    // Timer B, 64 times T1 (RFC 3261 17.1.1.2).
    let ended = house.telegram.wait_call(&call, "discarded", s(12));
    assert_eq!(ended["reason"], "missed", "{ended}");
    drop(silent);
    house.assert_clean(&["discard_reason"]);
    let leg = sip_leg(&mut house);
    assert_eq!(leg["code"], 408, "{leg}");
}

#[test]
fn a_pbx_that_never_acknowledges_the_answer_is_hung_up_on() {
    let mut house = hasty_house();
    let talker = house.talker_of_own_tone("bobby", "9.0.0");
    let pbx = pbx(&house).to(house.sip()).number("bobby").echo();
    let verdict = pbx.run("uac_no_ack");
    verdict.expect_ok();
    let answers = verdict.messages.iter();
    let answers = answers.filter(|m| !m.sent && m.start().starts_with("200"));
    // At 0.1, 0.3, 0.7, 1.5 and 3.1 s again, and so on (RFC 3261 13.3.1.4).
    assert!(answers.count() >= 5, "{}", verdict.ladder());
    talker.finish();
    house.assert_clean(&[]);
    let leg = sip_leg(&mut house);
    assert_eq!(leg["reason"], "ack_timeout", "{leg}");
}

#[test]
fn a_call_that_its_pbx_should_refresh_and_does_not_ends() {
    let mut house = house();
    let talker = house.talker_of_own_tone("bobby", "9.0.0");
    let pbx = pbx(&house).to(house.sip()).number("bobby").echo();
    // 90 s were agreed on; a third of it before the end it is over (RFC 4028 10).
    let verdict = pbx.limit(s(120)).run("uac_timer_drop");
    verdict.expect_ok();
    talker.finish();
    house.assert_clean(&[]);
    let leg = sip_leg(&mut house);
    assert_eq!(leg["reason"], "session_expired", "{leg}");
}

#[test]
fn a_refresh_that_meets_one_of_the_pbx_comes_again() {
    let mut house = house();
    let pbx = pbx(&house).echo().limit(s(120)).start("uas_491");
    let mut talker = house.talker_of_own_tone("bobby", "9.0.0");
    let call = house.telegram.call("bobby", SESSION, "9.0.0");
    talker.wait_heard(s(20));
    // 45 s to the refresh, and 2.1 to 4 s to the next try (RFC 3261 14.1).
    until("the second try", s(70), || {
        let messages = pbx.messages();
        let mut again = messages.iter().filter(|m| m.sent);
        let is_it = |m: &&crate::pbx::SipMessage| {
            m.start().starts_with("200") && m.header("CSeq") == Some("3 INVITE")
        };
        again.any(|m| is_it(&m)).then_some(())
    });
    talker.hang_up(&house.telegram, "bobby", &call);
    pbx.wait(s(10)).expect_ok();
    house.assert_clean(&[]);
}

#[test]
fn a_pbx_that_we_register_at_may_challenge_the_call_itself() {
    let port = crate::ports::one();
    let mut house = House::new().outbound_trunk(port, &["alaw"]).build();
    let account = |name: &str| {
        let pbx = Sipp::on(house.dir(), name, port);
        pbx.login("1001", PASSWORD).echo()
    };
    let registrar = account("registrar").start("registrar");
    let pbx = account("pbx");
    house.start();
    house.wait_metric("strowger_trunk_up", &[("trunk", TRUNK)], 1.0);
    house.wait_session_up();
    registrar.wait(s(10)).expect_ok();
    let pbx = pbx.pause(s(1)).start("uas_auth");
    hears_himself(&mut house, pbx);
}

#[test]
fn keys_that_a_pbx_presses_are_counted_once_each_however_it_says_them() {
    for (script, method) in [
        ("uac_dtmf_rfc4733", "rfc4733"),
        ("uac_dtmf_info", "info"),
        ("uac_dtmf_info_plain", "info"),
        ("uas_dtmf_rfc4733", "rfc4733"),
        ("uas_dtmf_info", "info"),
    ] {
        let mut house = house();
        let talker = house.talker_of_own_tone("bobby", "9.0.0");
        let pbx = pbx(&house).key("digits", "1234").pause(s(2)).echo();
        let labels = [("from", "sip"), ("method", method)];
        let counted = || house.wait_metric("strowger_dtmf_digits_total", &labels, 4.0);
        if script.starts_with("uac") {
            pbx.to(house.sip()).number("bobby").run(script).expect_ok();
            counted();
        } else {
            let pbx = pbx.start(script);
            let call = house.telegram.call("bobby", SESSION, "9.0.0");
            counted();
            within(s(1), || None::<()>);
            house.telegram.discard("bobby", &call, "hangup");
            pbx.wait(s(15)).expect_ok();
        }
        drop(talker);
        house.assert_clean(&[]);
    }
}

#[test]
fn a_pbx_is_asked_whether_it_is_there() {
    let house = House::new().saying("qualify = true");
    let mut house = house.peer_trunk(&["alaw"]).build();
    let pbx = pbx(&house).start("uas_options");
    house.start();
    house.wait_metric("strowger_trunk_up", &[("trunk", TRUNK)], 1.0);
    pbx.wait(s(10)).expect_ok();
    house.assert_clean(&[]);
}
