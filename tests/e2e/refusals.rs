//! Every refusal has the exact code and phrase of the error catalogue.

use serde_json::json;

use crate::deadline::s;
use crate::house::{House, SESSION, SESSION_PHONE};
use crate::pbx::{Sipp, Verdict};
use crate::telegram::Behaviour;

/// A house with a PBX known by its address.
pub(crate) fn house() -> House {
    let house = House::new().peer_trunk(&["alaw"]).start();
    house.wait_session_up();
    house
}

/// The PBX calls; the call must be refused with this code and phrase, and the `Reason` header must repeat them.
pub(crate) fn refused(house: &House, number: &str, code: &str, phrase: &str) -> Verdict {
    let pbx = Sipp::on(
        house.dir(),
        &format!("pbx-{number}-{code}"),
        house.peer_port(),
    );
    let verdict = pbx
        .to(house.sip())
        .number(number)
        .key("code", code)
        .run("uac_refused");
    let last = verdict.expect_ok().last_final();
    assert_eq!(
        last.start(),
        format!("{code} {phrase}"),
        "calling {number}\n{}",
        verdict.ladder()
    );
    let reason = format!("SIP;cause={code};text=\"{phrase}\"");
    assert_eq!(
        last.header("Reason"),
        Some(reason.as_str()),
        "calling {number}"
    );
    verdict
}

/// The same with the name of a Telegram error in `X-TG-Error`.
pub(crate) fn refused_by_telegram(
    house: &House,
    number: &str,
    code: &str,
    phrase: &str,
    error: &str,
) -> Verdict {
    let verdict = refused(house, number, code, phrase);
    assert_eq!(
        verdict.last_final().header("X-TG-Error"),
        Some(error),
        "calling {number}"
    );
    verdict
}

#[test]
fn a_user_who_declines_or_is_busy() {
    let mut house = house();
    house
        .telegram
        .user("dora", "15550005", &Behaviour::declines());
    house
        .telegram
        .user("busybee", "15550006", &Behaviour::is_busy());
    refused(&house, "dora", "486", "User declined the call");
    refused(&house, "busybee", "486", "User declined the call");
    house.assert_clean(&[]);
}

#[test]
fn a_user_who_cannot_be_called() {
    let mut house = house();
    let telegram = &house.telegram;
    telegram.account(json!({"username": "private", "phone": "15550007", "scripted": true, "privacy": {"PhoneCall": "nobody"}}));
    telegram.user("blocker", "15550008", &Behaviour::rings());
    telegram.patch_account("blocker", &json!({"blocked": [SESSION]}));
    telegram.user("oldapp", "15550009", &Behaviour::rings());
    telegram.patch_account("oldapp", &json!({"calls_outdated": true}));
    refused_by_telegram(
        &house,
        "private",
        "403",
        "USER_PRIVACY_RESTRICTED",
        "USER_PRIVACY_RESTRICTED",
    );
    refused_by_telegram(
        &house,
        "blocker",
        "403",
        "USER_IS_BLOCKED",
        "USER_IS_BLOCKED",
    );
    refused_by_telegram(
        &house,
        "oldapp",
        "488",
        "PARTICIPANT_VERSION_OUTDATED",
        "PARTICIPANT_VERSION_OUTDATED",
    );
    assert_eq!(house.telegram.calls(), 0);
    house.assert_clean(&[]);
}

#[test]
fn a_number_that_nobody_has() {
    let mut house = house();
    refused_by_telegram(
        &house,
        "nosuchuser",
        "404",
        "USERNAME_NOT_OCCUPIED",
        "USERNAME_NOT_OCCUPIED",
    );
    refused(&house, "+19995550000", "404", "Not Found");
    refused(&house, "!", "404", "Not Found");
    refused(&house, "0424242", "470", "Anonymous user");
    house.assert_clean(&[]);
}

#[test]
fn a_call_to_the_account_itself() {
    let mut house = house();
    refused(&house, SESSION, "482", "Loop Detected");
    // By its number it is refused before anybody is asked, and kept all the same.
    let number = format!("+{SESSION_PHONE}");
    refused(&house, &number, "482", "Loop Detected");
    house.assert_clean(&[]);
    house.stop();
    let records = house.records();
    for dialled in [SESSION, &number] {
        let record = records.iter().find(|record| record["to"] == dialled);
        let record = record.unwrap_or_else(|| panic!("no record of {dialled}: {records:?}"));
        assert_eq!(
            (&record["session"], &record["legs"][0]["code"]),
            (&json!(SESSION), &json!(482))
        );
    }
}

#[test]
fn telegram_orders_to_wait() {
    let mut house = house();
    house
        .telegram
        .user("bobby", "15550002", &Behaviour::accepts());
    house
        .telegram
        .fault(json!({"method": "phone.requestCall", "error": "FLOOD_WAIT_17"}));
    let verdict = refused_by_telegram(
        &house,
        "bobby",
        "503",
        "Too Many Requests: retry after 17",
        "FLOOD_WAIT_17",
    );
    assert_eq!(verdict.last_final().header("Retry-After"), Some("17"));
    house.assert_clean(&[]);
}

#[test]
fn telegram_limits_the_account() {
    let mut house = house();
    house
        .telegram
        .user("bobby", "15550002", &Behaviour::accepts());
    house
        .telegram
        .fault(json!({"method": "phone.requestCall", "error": "SOMETHING_NEW"}));
    refused_by_telegram(&house, "bobby", "500", "SOMETHING_NEW", "SOMETHING_NEW");
    let labels = [("reason", "telegram_error"), ("code", "500")];
    house.wait_metric_above("strowger_call_failures_total", &labels, 0.5);
    house
        .telegram
        .fault(json!({"method": "phone.requestCall", "error": "PEER_FLOOD"}));
    refused_by_telegram(&house, "bobby", "503", "PEER_FLOOD", "PEER_FLOOD");
    house.assert_clean(&[]);
}

#[test]
fn telegram_knows_no_such_chat_or_only_a_bot() {
    let mut house = house();
    house
        .telegram
        .user("bobby", "15550002", &Behaviour::accepts());
    for (error, phrase) in [
        ("CHAT_ID_INVALID", "Chat not found"),
        ("USER_BOT_INVALID", "Not a user"),
    ] {
        house
            .telegram
            .fault(json!({"method": "phone.requestCall", "error": error}));
        refused_by_telegram(&house, "bobby", "404", phrase, error);
    }
    house.assert_clean(&[]);
}

#[test]
fn telegram_never_answers_the_request() {
    let mut house = house();
    house
        .telegram
        .user("bobby", "15550002", &Behaviour::accepts());
    house
        .telegram
        .fault(json!({"method": "phone.requestCall", "action": "no_reply"}));
    refused(&house, "bobby", "408", "Timeout of waiting RPC result");
    house.assert_clean(&[]);
}

/// Somebody between the parties changes what the account receives: the call must end, and the log must say why.
fn tampered(action: &str, understood: &[&str], why: &str) {
    let mut house = house();
    house
        .telegram
        .user("bobby", "15550002", &Behaviour::accepts());
    house
        .telegram
        .fault(json!({"on": "call", "action": action, "account": SESSION}));
    let pbx = Sipp::on(house.dir(), "pbx", house.peer_port())
        .pause(s(0))
        .start("uas");
    let call = house.telegram.call("bobby", SESSION, "9.0.0");
    let ended = house.telegram.wait_call(&call, "discarded", s(10));
    assert_eq!(ended["reason"], "disconnect", "{ended}");
    assert_ne!(ended["discarded_by"], "server", "{ended}");
    house.wait_metric_above(
        "strowger_call_failures_total",
        &[("reason", "key_mismatch")],
        0.5,
    );
    house.assert_clean(understood);
    let log = house.log();
    for told in [why, "its keys do not match"] {
        let mut errors = log.lines().filter(|line| line.contains("ERROR"));
        assert!(
            errors.any(|line| line.contains(told)),
            "no error says {told:?}:\n{log}"
        );
    }
    drop(pbx);
}

#[test]
fn a_changed_g_a_hash_ends_the_call() {
    // The caller's half is another than the hash that the server made up.
    let why = "not the one it promised";
    tampered("tamper_g_a_hash", &["g_a_hash"], why);
}

#[test]
fn a_changed_g_a_ends_the_call() {
    tampered("tamper_g_a", &[], "not the one it promised");
}

#[test]
fn a_changed_fingerprint_ends_the_call() {
    let why = "the fingerprint of the call key is not ours";
    tampered("tamper_fingerprint", &[], why);
}

#[test]
fn a_changed_g_b_never_gets_media() {
    let mut house = House::new().peer_trunk(&["alaw"]).build();
    house.telegram.set(json!({"call_connect_timeout_ms": 3000}));
    house.start();
    house.wait_session_up();
    house
        .telegram
        .fault(json!({"on": "call", "action": "tamper_g_b", "account": SESSION}));
    // The two sides now have different keys: nothing of what one sends can be read by the other.
    let _talker = house.bobby("9.0.0");
    refused(&house, "bobby", "503", "Media is not connected");
    // Ours is the fingerprint of another key than his.
    house.assert_clean(&["key_fingerprint"]);
}

#[test]
fn no_common_call_protocol() {
    let mut house = house();
    house
        .telegram
        .user("bobby", "15550002", &Behaviour::accepts().speaking("9.0.0"));
    let error = "CALL_PROTOCOL_COMPAT_LAYER_INVALID";
    house
        .telegram
        .fault(json!({"method": "phone.confirmCall", "error": error}));
    refused_by_telegram(&house, "bobby", "488", error, error);
    house.assert_clean(&[]);
}

#[test]
fn a_caller_without_a_common_codec() {
    let mut house = House::new().peer_trunk(&["opus"]).start();
    house.wait_session_up();
    house
        .telegram
        .user("bobby", "15550002", &Behaviour::accepts());
    refused(&house, "bobby", "488", "Not Acceptable Here");
    assert_eq!(house.telegram.calls(), 0);
    house.assert_clean(&[]);
}

#[test]
fn a_call_for_which_no_rtp_ports_are_left() {
    // One pair, and it rests for a minute after a call (SEC-M7).
    let house = House::new().rtp_ports(2);
    let mut house = house.peer_trunk(&["alaw"]).start();
    house.wait_session_up();
    let behaviour = Behaviour::rings();
    house.telegram.user("bobby", "15550002", &behaviour);
    house.telegram.user("frank", "15550008", &behaviour);
    let first = Sipp::new(house.dir(), "first").to(house.sip());
    let first = first.number("bobby").pause(s(4)).start("uac_cancel");
    house.telegram.next_call(0, s(10));
    refused(&house, "frank", "503", "No RTP ports");
    first.wait(s(10)).expect_ok();
    house.assert_clean(&[]);
}

#[test]
fn a_telegram_user_for_whom_no_rtp_ports_are_left() {
    let house = House::new().rtp_ports(2);
    let mut house = house.peer_trunk(&["alaw"]).start();
    house.wait_session_up();
    let behaviour = Behaviour::accepts();
    house.telegram.user("bobby", "15550002", &behaviour);
    house.telegram.user("dora", "15550005", &behaviour);
    let pbx = Sipp::on(house.dir(), "pbx", house.peer_port()).start("uas_noanswer");
    let first = house.telegram.call("bobby", SESSION, "9.0.0");
    house.telegram.wait_call(&first, "received", s(5));
    let second = house.telegram.call("dora", SESSION, "9.0.0");
    let ended = house.telegram.wait_call(&second, "discarded", s(10));
    assert_eq!(ended["reason"], "missed", "{ended}");
    house.telegram.discard("bobby", &first, "missed");
    pbx.wait(s(10)).expect_ok();
    house.assert_clean(&["discard_reason", "accept_without_received"]);
    house.stop();
    let records = house.records();
    let told = records.iter().any(|record| {
        let legs = record["legs"].as_array().into_iter().flatten();
        legs.into_iter().any(|leg| leg["phrase"] == "No RTP ports")
    });
    assert!(told, "{records:#?}");
}

#[test]
fn a_stranger_gets_nowhere() {
    let mut house = house();
    house
        .telegram
        .user("bobby", "15550002", &Behaviour::accepts());
    let stranger = Sipp::new(house.dir(), "stranger")
        .ip("127.0.0.2")
        .to(house.sip())
        .number("bobby")
        .limit(s(5));
    let verdict = stranger.key("code", "403").run("uac");
    assert!(
        !verdict.received("200") && !verdict.received("18"),
        "{}",
        verdict.ladder()
    );
    assert_eq!(house.telegram.calls(), 0);
    house.assert_clean(&[]);
}

#[test]
fn the_pbx_gives_up_while_the_telegram_user_is_called() {
    let mut house = house();
    house
        .telegram
        .user("bobby", "15550002", &Behaviour::rings());
    let pbx = Sipp::on(house.dir(), "pbx", house.peer_port())
        .to(house.sip())
        .number("bobby")
        .pause(s(1));
    pbx.run("uac_cancel").expect_ok();
    let call = house.telegram.next_call(0, s(1));
    let ended = house.telegram.wait_call(&call, "discarded", s(5));
    assert_eq!(ended["reason"], "missed", "{ended}");
    house.assert_clean(&[]);
}

#[test]
fn the_telegram_user_gives_up_while_the_pbx_rings() {
    let mut house = house();
    house
        .telegram
        .user("bobby", "15550002", &Behaviour::accepts());
    let pbx = Sipp::on(house.dir(), "pbx", house.peer_port()).start("uas_noanswer");
    let call = house.telegram.call("bobby", SESSION, "9.0.0");
    house.telegram.wait_call(&call, "received", s(5));
    house.telegram.discard("bobby", &call, "missed");
    let verdict = pbx.wait(s(10));
    verdict.expect_ok();
    assert!(verdict.received("CANCEL"), "{}", verdict.ladder());
    house.assert_clean(&[]);
}

#[test]
fn the_pbx_refuses_a_telegram_user() {
    let mut house = house();
    house
        .telegram
        .user("bobby", "15550002", &Behaviour::accepts());
    let cases = [
        ("486", "Busy Here", "busy"),
        ("603", "Decline", "busy"),
        ("404", "Not Found", "missed"),
        ("503", "Out of Order", "missed"),
    ];
    for (code, phrase, reason) in cases {
        let pbx = house.pbx_that_refuses(&format!("pbx-{code}"), code, phrase);
        let call = house.telegram.call("bobby", SESSION, "9.0.0");
        let ended = house.telegram.wait_call(&call, "discarded", s(10));
        assert_eq!(ended["reason"], reason, "after {code}: {ended}");
        pbx.wait(s(10)).expect_ok();
    }
    let told = house.telegram.texts("bobby", cases.len(), s(5));
    let expected: Vec<String> = cases
        .iter()
        .map(|(code, phrase, _)| format!("{code} {phrase}"))
        .collect();
    assert_eq!(told, expected);
    // A callee who was refused says missed where a person who declines would say busy.
    house.assert_clean(&["discard_reason"]);
}

#[test]
fn a_refused_telegram_user_is_told_nothing_where_the_owner_says_so() {
    let house = House::new().setting("telegram.notify_errors = false");
    let mut house = house.peer_trunk(&["alaw"]).start();
    house.wait_session_up();
    house
        .telegram
        .user("bobby", "15550002", &Behaviour::accepts());
    let pbx = house.busy_pbx();
    let call = house.telegram.call("bobby", SESSION, "9.0.0");
    house.telegram.wait_call(&call, "discarded", s(10));
    pbx.wait(s(10)).expect_ok();
    house.wait_no_calls();
    assert_eq!(house.telegram.texts("bobby", 0, s(1)), [""; 0]);
    house.assert_clean(&["discard_reason"]);
}

#[test]
fn a_telegram_user_calls_a_pbx_that_is_not_registered() {
    let mut house = House::new().registering_trunk(&["alaw"]).start();
    house.wait_session_up();
    house
        .telegram
        .user("bobby", "15550002", &Behaviour::accepts());
    let call = house.telegram.call("bobby", SESSION, "9.0.0");
    house.telegram.wait_call(&call, "discarded", s(10));
    let told = house.telegram.texts("bobby", 1, s(5));
    assert_eq!(told, ["503 SIP account is unavailable"]);
    house.assert_clean(&["discard_reason", "accept_without_received"]);
}
