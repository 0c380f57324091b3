//! Keys that a Telegram user types as a message during a call; Asterisk is in `interop`.

use crate::deadline::s;
use crate::house::{House, SESSION};
use crate::pbx::Sipp;
use crate::talk::{ALAW, Caller, Ends, OPUS, Talk};
use crate::telegram::Behaviour;

const DIGITS: &str = "strowger_dtmf_digits_total";

/// How many keys went to the PBX this way.
fn pressed(house: &House, method: &str) -> f64 {
    let labels = [("from", "telegram"), ("method", method)];
    house.metrics().sum_of(DIGITS, &labels)
}

/// A talk with a phone in which the Telegram user types.
fn typed(house: House, caller: Caller, codec: [&str; 3], method: &str) {
    let mut talk = Talk::start_in(house, caller, "13.0.0", codec);
    talk.house
        .telegram
        .user("carol", "15550004", &Behaviour::accepts());
    let texts = [
        // Nobody in this call.
        ("carol", "999"),
        // Not keys.
        ("bobby", "call me at 5"),
        ("bobby", "+15550001"),
        ("bobby", "12, 3#"),
        ("bobby", "*0D"),
    ];
    for (user, text) in texts {
        talk.house.telegram.write(user, SESSION, text);
    }
    for key in ["1", "2", "3", "#", "*", "0", "D"] {
        let event = talk.phone.wait("CALL_DTMF_START", s(10));
        assert_eq!(event["param"], key, "{event}");
    }
    // A key by INFO counts when the phone has answered, which it does after it has said so.
    let by = [("from", "telegram"), ("method", method)];
    talk.house.wait_metric(DIGITS, &by, 7.0);
    let count = pressed(&talk.house, method);
    assert!((count - 7.0).abs() < 0.1, "{count} keys");
    let all = [("from", "telegram")];
    assert!((talk.house.metrics().sum_of(DIGITS, &all) - 7.0).abs() < 0.1);
    let messages = [("kind", "message")];
    talk.house
        .wait_metric("strowger_telegram_updates_total", &messages, 5.0);
    talk.end(Ends::Pbx);
}

#[test]
fn typed_keys_reach_a_phone_that_called_as_rtp_events() {
    let house = House::new().registering_trunk(&["alaw"]).start();
    typed(house, Caller::Pbx, ALAW, "rfc4733");
}

#[test]
fn typed_keys_reach_a_phone_while_opus_passes_untouched() {
    let house = House::new().registering_trunk(&["opus"]).start();
    typed(house, Caller::Pbx, OPUS, "rfc4733");
}

#[test]
fn typed_keys_reach_a_phone_that_was_called_by_info() {
    let house = House::new().saying("dtmf = [\"info\", \"rfc2833\"]");
    let house = house.registering_trunk(&["alaw"]).start();
    typed(house, Caller::Telegram, ALAW, "info");
}

#[test]
fn a_pbx_that_refuses_info_hears_the_tones() {
    let house = House::new().saying("dtmf = [\"info\", \"inband\"]");
    let mut house = house.peer_trunk(&["alaw"]).start();
    house.wait_session_up();
    // It returns what it hears, so that the tones come back to where they are listened for.
    let pbx = Sipp::on(house.dir(), "pbx", house.peer_port())
        .pause(s(0))
        .echo()
        .start("uas_info_refused");
    let mut talker = house.talker_of_own_tone("bobby", "9.0.0");
    let call = house.telegram.call("bobby", SESSION, "9.0.0");
    talker.wait_heard(s(20));
    house.telegram.write("bobby", SESSION, "1 5 9");
    house.wait_metric(DIGITS, &[("from", "sip"), ("method", "inband")], 3.0);
    assert!((pressed(&house, "inband") - 3.0).abs() < 0.1);
    assert!(pressed(&house, "info") < 0.1);
    talker.hang_up(&house.telegram, "bobby", &call);
    pbx.wait(s(10)).expect_ok();
    house.assert_clean(&[]);
}

/// A Telegram user calls a PBX that presses so many keys by this method, and returns what it hears.
fn heard(scenario: &'static str, method: &str, keys: f64) {
    let mut house = House::new().peer_trunk(&["alaw"]).start();
    house.wait_session_up();
    let pbx = Sipp::on(house.dir(), "pbx", house.peer_port())
        .pause(s(0))
        .echo()
        .start(scenario);
    let mut talker = house.talker_of_own_tone("bobby", "13.0.0");
    let call = house.telegram.call("bobby", SESSION, "13.0.0");
    talker.wait_heard(s(20));
    house.wait_metric(DIGITS, &[("from", "sip"), ("method", method)], keys);
    talker.hang_up(&house.telegram, "bobby", &call);
    pbx.wait(s(10)).expect_ok();
    house.assert_clean(&[]);
}

#[test]
fn keys_of_a_pbx_that_was_called_are_understood() {
    heard("uas_dtmf_info", "info", 4.0);
    heard("uas_dtmf_rfc4733", "rfc4733", 5.0);
}
