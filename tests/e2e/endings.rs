//! How a call ends, or does not come about, by what Telegram says of it: telegram-calls 4.1 to 4.5, row by row.

use std::time::Instant;

use serde_json::{Value, json};

use crate::deadline::{s, until};
use crate::house::{House, SESSION};
use crate::link::{connections, wait_state};
use crate::pbx::{Sipp, Verdict};
use crate::refusals::{house, refused, refused_by_telegram};
use crate::talk::{ALAW, Caller, Ends, Talk};
use crate::telegram::Behaviour;

/// What official clients do not do, and a scripted user here does on purpose.
const ON_PURPOSE: &str = "discard_reason";

/// The same as [`house`], with timers of `help.getConfig`.
fn house_with_timers(timers: &Value) -> House {
    let mut house = House::new().peer_trunk(&["alaw"]).build();
    house.telegram.set(timers.clone());
    house.start();
    house.wait_session_up();
    house
}

/// A PBX that is called and answers at once, until it is hung up on.
pub(crate) fn answering_pbx(house: &House, name: &str) -> Sipp {
    Sipp::on(house.dir(), name, house.peer_port())
        .pause(s(0))
        .start("uas")
}

/// The script of the PBX ended well, by a BYE of ours.
pub(crate) fn hung_up_on(pbx: Sipp) {
    let verdict = pbx.wait(s(15));
    verdict.expect_ok();
    assert!(verdict.received("BYE"), "{}", verdict.ladder());
}

/// The Telegram leg of the last record.
pub(crate) fn telegram_leg(house: &mut House) -> Value {
    house.stop();
    let records = house.records();
    let record = records.last().expect("a record");
    let legs = record["legs"].as_array().unwrap();
    let leg = legs.iter().find(|leg| leg["kind"] == "telegram");
    leg.unwrap_or_else(|| panic!("no Telegram leg: {record:#}"))
        .clone()
}

/// How often the account has sent a request so far.
pub(crate) fn asked(house: &House, method: &str) -> usize {
    let filter = format!("kind=rpc&method={method}");
    house.telegram.events(&filter, s(0)).len()
}

// -- 4.3: what the other side says of the end ------------------------------------------------------------------------

#[test]
fn each_reason_before_the_answer_has_its_status() {
    let mut house = house();
    house
        .telegram
        .user("bobby", "15550002", &Behaviour::rings());
    for (known, (reason, status)) in [
        ("busy", "486 User declined the call"),
        ("missed", "480 No answer"),
        ("disconnect", "480 Temporarily Unavailable"),
        ("hangup", "480 No answer"),
        ("migrate", "480 No answer"),
        ("none", "480 No answer"),
    ]
    .into_iter()
    .enumerate()
    {
        let pbx = Sipp::on(house.dir(), &format!("pbx-{reason}"), house.peer_port())
            .to(house.sip())
            .number("bobby")
            .key("code", &status[..3])
            .start("uac_refused");
        let call = house.telegram.next_call(known, s(10));
        house.telegram.wait_call(&call, "received", s(5));
        house.telegram.discard("bobby", &call, reason);
        let verdict = pbx.wait(s(10));
        let start = verdict.expect_ok().last_final().start();
        assert_eq!(start, status, "after {reason}");
    }
    assert_eq!(asked(&house, "phone.discardCall"), 0, "it was over already");
    house.assert_clean(&[ON_PURPOSE]);
}

/// The other side ends a conversation for this reason.
fn ended_in_conversation(reason: &str, told: &str) {
    let mut talk = Talk::start(Caller::Pbx, "13.0.0", ALAW);
    talk.house.telegram.discard("bobby", &talk.call, reason);
    talk.phone.wait_closed();
    talk.talker.finish();
    // Before the folder that it writes into.
    drop(talk.phone);
    let mut house = talk.house;
    house.assert_clean(&[]);
    let leg = telegram_leg(&mut house);
    assert_eq!(leg["reason"], told, "after {reason}: {leg:#}");
    let record = &house.records()[0];
    assert_eq!(record["ended_by"], "telegram", "{record:#}");
}

#[test]
fn a_connection_lost_by_the_other_side_ends_a_conversation() {
    ended_in_conversation("disconnect", "media_lost");
}

#[test]
fn a_conversation_that_becomes_a_conference_has_ended() {
    ended_in_conversation("migrate", "normal_clearing");
}

#[test]
fn a_conversation_may_end_without_a_reason() {
    ended_in_conversation("none", "normal_clearing");
}

// -- 4.5: timers of help.getConfig -----------------------------------------------------------------------------------

#[test]
fn nobody_answers_for_as_long_as_telegram_lets_it_ring() {
    let mut house = house_with_timers(&json!({"call_ring_timeout_ms": 2000}));
    house
        .telegram
        .user("bobby", "15550002", &Behaviour::rings());
    let begun = Instant::now();
    let verdict = refused(&house, "bobby", "480", "No answer");
    assert!(verdict.received("180"), "{}", verdict.ladder());
    assert!(begun.elapsed() >= s(2), "{:?}", begun.elapsed());
    let call = house.telegram.next_call(0, s(1));
    let ended = house.telegram.wait_call(&call, "discarded", s(5));
    assert_eq!(ended["reason"], "missed", "{ended}");
    assert_ne!(ended["discarded_by"], "server", "{ended}");
    house.assert_clean(&[]);
}

#[test]
fn the_pbx_is_rung_for_as_long_as_telegram_lets_it_ring() {
    let mut house = house_with_timers(&json!({"call_ring_timeout_ms": 3000}));
    house
        .telegram
        .user("bobby", "15550002", &Behaviour::accepts());
    let pbx = Sipp::on(house.dir(), "pbx", house.peer_port()).start("uas_noanswer");
    let call = house.telegram.call("bobby", SESSION, "9.0.0");
    let ended = house.telegram.wait_call(&call, "discarded", s(10));
    assert_eq!(ended["reason"], "missed", "{ended}");
    assert_ne!(ended["discarded_by"], "server", "{ended}");
    pbx.wait(s(10)).expect_ok();
    // A callee who did not answer says missed where a person who declines would say busy.
    house.assert_clean(&[ON_PURPOSE]);
}

#[test]
fn somebody_who_is_not_signed_in_anywhere_is_given_up() {
    let mut house = house_with_timers(&json!({"call_receive_timeout_ms": 2000}));
    house
        .telegram
        .account(json!({"username": "away", "phone": "15550009"}));
    let verdict = refused(&house, "away", "480", "Temporarily Unavailable");
    assert!(!verdict.received("18"), "{}", verdict.ladder());
    let call = house.telegram.next_call(0, s(1));
    let ended = house.telegram.wait_call(&call, "discarded", s(5));
    assert_eq!(ended["reason"], "missed", "{ended}");
    house.assert_clean(&[]);
}

#[test]
fn a_caller_who_never_confirms_is_given_up() {
    let mut house = house_with_timers(&json!({"call_receive_timeout_ms": 2000}));
    house
        .telegram
        .user("bobby", "15550002", &Behaviour::accepts());
    let pbx = answering_pbx(&house, "pbx");
    let spec = json!({"auto_confirm": false, "protocol": {"library_versions": ["9.0.0"]}});
    let call = house.telegram.call_as("bobby", SESSION, spec);
    let ended = house.telegram.wait_call(&call, "discarded", s(15));
    assert_eq!(ended["reason"], "disconnect", "{ended}");
    assert_ne!(ended["discarded_by"], "server", "{ended}");
    hung_up_on(pbx);
    house.assert_clean(&[]);
    assert_eq!(telegram_leg(&mut house)["reason"], "rpc_timeout");
}

#[test]
fn a_confirmation_that_is_never_answered_ends_the_call() {
    let mut house = house_with_timers(&json!({"call_receive_timeout_ms": 2000}));
    house
        .telegram
        .user("bobby", "15550002", &Behaviour::accepts().speaking("9.0.0"));
    house
        .telegram
        .fault(json!({"method": "phone.confirmCall", "action": "no_reply"}));
    refused(&house, "bobby", "408", "Timeout of waiting RPC result");
    let call = house.telegram.next_call(0, s(1));
    let ended = house.telegram.wait_call(&call, "discarded", s(5));
    assert_eq!(ended["reason"], "disconnect", "{ended}");
    house.assert_clean(&[]);
}

// -- 4.1 and 4.2: objects that lie, and versions that do not match -----------------------------------------------------

/// The person whom the PBX calls is answered for by somebody who changes what we are told.
fn lied_to_as_caller(action: &str, code: &str, phrase: &str) {
    let mut house = house();
    house
        .telegram
        .user("bobby", "15550002", &Behaviour::accepts().speaking("9.0.0"));
    house
        .telegram
        .fault(json!({"on": "call", "action": action, "account": SESSION}));
    refused(&house, "bobby", code, phrase);
    let call = house.telegram.next_call(0, s(1));
    let ended = house.telegram.wait_call(&call, "discarded", s(5));
    assert_eq!(ended["reason"], "disconnect", "{ended}");
    house.assert_clean(&[]);
}

#[test]
fn an_answer_of_somebody_else_ends_the_call() {
    lied_to_as_caller("tamper_parties", "500", "Encryption key mismatch");
}

#[test]
fn a_half_of_the_key_that_is_no_secret_ends_the_call() {
    lied_to_as_caller("small_g_b", "500", "Encryption key mismatch");
}

#[test]
fn a_version_that_we_did_not_offer_ends_the_call() {
    let name = "CALL_PROTOCOL_COMPAT_LAYER_INVALID";
    lied_to_as_caller("tamper_version", "488", name);
}

/// A Telegram user calls, and what we are told once the PBX has answered is not so.
fn lied_to_as_callee(action: &str, reason: &str) {
    let mut house = house();
    house
        .telegram
        .user("bobby", "15550002", &Behaviour::accepts());
    house
        .telegram
        .fault(json!({"on": "call", "action": action, "account": SESSION}));
    let pbx = answering_pbx(&house, "pbx");
    let call = house.telegram.call("bobby", SESSION, "9.0.0");
    let ended = house.telegram.wait_call(&call, "discarded", s(10));
    assert_eq!(ended["reason"], "disconnect", "{ended}");
    hung_up_on(pbx);
    house.assert_clean(&[]);
    assert_eq!(telegram_leg(&mut house)["reason"], reason);
}

#[test]
fn a_caller_who_becomes_somebody_else_ends_the_call() {
    lied_to_as_callee("tamper_parties", "key_mismatch");
}

#[test]
fn a_caller_whose_version_we_did_not_offer_ends_the_call() {
    lied_to_as_callee("tamper_version", "call_protocol");
}

#[test]
fn a_caller_without_a_common_version_is_not_talked_to() {
    let mut house = house();
    house
        .telegram
        .user("bobby", "15550002", &Behaviour::accepts());
    let pbx = answering_pbx(&house, "pbx");
    let call = house.telegram.call("bobby", SESSION, "11.0.0");
    let ended = house.telegram.wait_call(&call, "discarded", s(10));
    assert_eq!(ended["reason"], "disconnect", "{ended}");
    hung_up_on(pbx);
    house.assert_clean(&[ON_PURPOSE]);
    let leg = telegram_leg(&mut house);
    assert_eq!(
        (&leg["code"], &leg["reason"]),
        (&json!(488), &json!("call_protocol")),
        "{leg:#}"
    );
}

// -- 4.2: several devices ----------------------------------------------------------------------------------------------

#[test]
fn a_device_that_was_a_moment_faster_keeps_the_call() {
    for error in ["CALL_ALREADY_ACCEPTED", "CALL_ALREADY_DECLINED"] {
        let mut house = house();
        house
            .telegram
            .user("bobby", "15550002", &Behaviour::accepts());
        house
            .telegram
            .fault(json!({"method": "phone.acceptCall", "error": error}));
        let pbx = answering_pbx(&house, "pbx");
        let call = house.telegram.call("bobby", SESSION, "9.0.0");
        hung_up_on(pbx);
        house.wait_no_calls();
        // Whoever has the call goes on with it.
        let still = house.telegram.wait_call(&call, "received", s(1));
        assert_eq!(still["state"], "received", "{still}");
        assert_eq!(asked(&house, "phone.discardCall"), 0);
        house.telegram.discard("bobby", &call, "missed");
        house.assert_clean(&[]);
        assert_eq!(telegram_leg(&mut house)["reason"], "answered_elsewhere");
    }
}

#[test]
fn a_call_that_another_device_of_the_account_declines_stops_ringing_at_the_pbx() {
    let mut house = house();
    let telegram = &house.telegram;
    telegram.user("bobby", "15550002", &Behaviour::accepts());
    telegram.patch_account(
        SESSION,
        &json!({"scripted": true, "behaviour": {"on_call": "manual"}}),
    );
    let pbx = Sipp::on(house.dir(), "pbx", house.peer_port()).start("uas_noanswer");
    let call = telegram.call("bobby", SESSION, "9.0.0");
    telegram.wait_call(&call, "received", s(10));
    telegram.discard(SESSION, &call, "busy");
    pbx.wait(s(10)).expect_ok();
    house.assert_clean(&[]);
    assert_eq!(telegram_leg(&mut house)["reason"], "answered_elsewhere");
}

// -- orders of arrival -------------------------------------------------------------------------------------------------

#[test]
fn a_call_cancelled_before_telegram_knows_it_is_discarded_when_it_does() {
    let mut house = house();
    house
        .telegram
        .user("bobby", "15550002", &Behaviour::rings());
    house
        .telegram
        .fault(json!({"method": "phone.requestCall", "action": "delay_reply", "seconds": 3}));
    house.telegram.fault(
        json!({"on": "update", "update": "updatePhoneCall", "action": "drop", "account": SESSION}),
    );
    let pbx = Sipp::on(house.dir(), "pbx", house.peer_port())
        .to(house.sip())
        .number("bobby")
        .pause(s(1));
    pbx.run("uac_cancel_early").expect_ok();
    let call = house.telegram.next_call(0, s(5));
    let ended = house.telegram.wait_call(&call, "discarded", s(10));
    assert_eq!(ended["reason"], "missed", "{ended}");
    assert_ne!(ended["discarded_by"], "server", "{ended}");
    house.assert_clean(&[]);
}

#[test]
fn an_answer_may_come_before_anything_rang() {
    let mut house = house();
    let mut talker = house.talker_of_own_tone("bobby", "9.0.0");
    house.telegram.fault(
        json!({"on": "update", "update": "updatePhoneCall", "action": "drop", "account": SESSION}),
    );
    let pbx = Sipp::on(house.dir(), "pbx", house.peer_port());
    let pbx = pbx.to(house.sip()).number("bobby").pause(s(6)).echo();
    let pbx = pbx.start("uac");
    talker.wait_heard(s(20));
    let verdict = pbx.wait(s(20));
    verdict.expect_ok();
    assert!(!verdict.received("18"), "{}", verdict.ladder());
    talker.finish();
    house.assert_clean(&[]);
}

#[test]
fn the_call_may_be_up_before_our_answer_is_acknowledged() {
    let house = House::new().registering_trunk(&["alaw"]).start();
    house
        .telegram
        .fault(json!({"method": "phone.acceptCall", "action": "delay_reply", "seconds": 2}));
    Talk::start_in(house, Caller::Telegram, "13.0.0", ALAW).end(Ends::Pbx);
}

#[test]
fn signalling_that_comes_before_the_key_is_kept() {
    for version in ["9.0.0", "13.0.0"] {
        let house = House::new().registering_trunk(&["alaw"]).start();
        // The first is the request; the second brings the key, and comes after the caller's first words.
        house.telegram.fault(
            json!({"on": "update", "update": "updatePhoneCall", "action": "delay", "seconds": 1,
                "skip": 1, "account": SESSION}),
        );
        Talk::start_in(house, Caller::Telegram, version, ALAW).end(Ends::Telegram);
    }
}

#[test]
fn everything_may_be_said_twice() {
    for caller in [Caller::Pbx, Caller::Telegram] {
        let house = House::new().registering_trunk(&["alaw"]).start();
        house.telegram.fault(
            json!({"on": "update", "update": "*", "action": "duplicate", "times": -1, "account": SESSION}),
        );
        let mut house = Talk::start_in(house, caller, "13.0.0", ALAW).end(Ends::Telegram);
        house.stop();
        assert_eq!(house.records().len(), 1, "{:#?}", house.records());
    }
}

fn go_away(house: &House) {
    connections(house, "refuse");
    connections(house, "drop");
    wait_state(house, "offline");
}

#[test]
fn a_call_made_while_the_connection_was_away_rings_if_it_is_still_wanted() {
    let mut house = house();
    house
        .telegram
        .user("bobby", "15550002", &Behaviour::accepts());
    let pbx = house.busy_pbx();
    go_away(&house);
    let call = house.telegram.call("bobby", SESSION, "9.0.0");
    connections(&house, "accept");
    let ended = house.telegram.wait_call(&call, "discarded", s(30));
    assert_eq!(ended["reason"], "busy", "{ended}");
    pbx.wait(s(10)).expect_ok();
    house.assert_clean(&[]);
}

#[test]
fn a_call_older_than_it_may_ring_is_only_a_memory() {
    let mut house = house_with_timers(&json!({"call_ring_timeout_ms": 2000}));
    for (user, phone) in [("bobby", "15550002"), ("carol", "15550004")] {
        house.telegram.user(user, phone, &Behaviour::accepts());
    }
    let fetched = |house: &House| {
        let filter = "kind=rpc_result&method=updates.getDifference";
        house.telegram.events(filter, s(0)).len()
    };
    go_away(&house);
    let before = fetched(&house);
    let old = house.telegram.call("bobby", SESSION, "9.0.0");
    let begun = Instant::now();
    until("the call to be too old", s(10), || {
        (begun.elapsed() > s(4)).then_some(())
    });
    connections(&house, "accept");
    house.wait_session_up();
    until("the call to be heard of", s(20), || {
        (fetched(&house) > before).then_some(())
    });
    // It is refused by its PBX; had the old one rung, there would be one more.
    let pbx = house.busy_pbx();
    let new = house.telegram.call("carol", SESSION, "9.0.0");
    house.telegram.wait_call(&new, "discarded", s(10));
    pbx.wait(s(10)).expect_ok();
    let still = house.telegram.wait_call(&old, "requested", s(1));
    assert_eq!(still["state"], "requested", "{still}");
    house.telegram.discard("bobby", &old, "missed");
    house.assert_clean(&[]);
    house.stop();
    assert_eq!(house.records().len(), 1, "{:#?}", house.records());
}

// -- 4.4 and product 10.7: errors of requests --------------------------------------------------------------------------

#[test]
fn each_error_of_a_request_has_its_status() {
    let mut house = house();
    house
        .telegram
        .user("bobby", "15550002", &Behaviour::accepts());
    for (error, code, phrase) in [
        ("USER_BLOCKED", "403", "USER_IS_BLOCKED"),
        ("PHONE_NOT_OCCUPIED", "404", "Not Found"),
        ("INPUT_USER_DEACTIVATED", "404", "Not Found"),
        ("USERNAME_INVALID", "404", "USERNAME_NOT_OCCUPIED"),
        ("USER_ID_INVALID", "470", "Anonymous user"),
        ("PEER_ID_INVALID", "470", "Anonymous user"),
        (
            "CALL_PROTOCOL_FLAGS_INVALID",
            "488",
            "CALL_PROTOCOL_FLAGS_INVALID",
        ),
        (
            "CALL_PROTOCOL_LAYER_INVALID",
            "488",
            "CALL_PROTOCOL_LAYER_INVALID",
        ),
        ("CALL_PEER_INVALID", "500", "CALL_PEER_INVALID"),
        ("CALL_ALREADY_ACCEPTED", "500", "CALL_ALREADY_ACCEPTED"),
        ("CALL_ALREADY_DECLINED", "500", "CALL_ALREADY_DECLINED"),
    ] {
        house
            .telegram
            .fault(json!({"method": "phone.requestCall", "error": error}));
        refused_by_telegram(&house, "bobby", code, phrase, error);
    }
    assert_eq!(house.telegram.calls(), 0);
    house.assert_clean(&[]);
}

#[test]
fn an_order_to_wait_in_other_words_is_one_too() {
    let mut house = house();
    house
        .telegram
        .user("bobby", "15550002", &Behaviour::accepts());
    let error = "Too Many Requests: retry after 9";
    house
        .telegram
        .fault(json!({"method": "phone.requestCall", "error": error, "code": 429}));
    let verdict = refused(&house, "bobby", "503", error);
    assert_eq!(verdict.last_final().header("Retry-After"), Some("9"));
    house.assert_clean(&[]);
}

#[test]
fn errors_that_mean_the_end_of_a_login_stop_the_session() {
    for error in [
        "AUTH_KEY_UNREGISTERED",
        "SESSION_REVOKED",
        "USER_DEACTIVATED",
    ] {
        let mut house = house();
        house
            .telegram
            .user("bobby", "15550002", &Behaviour::accepts());
        // Whatever is asked from now on is answered so, as it is by a server that has ended the login.
        house.telegram.fault(
            json!({"method": "*", "error": error, "code": 401, "times": -1, "account": SESSION}),
        );
        refused_by_telegram(&house, "bobby", "503", "Session is not running", error);
        let labels = [("session", SESSION), ("state", "unauthorized")];
        house.wait_metric("strowger_telegram_session_state", &labels, 1.0);
        house.assert_clean(&[]);
    }
}

#[test]
fn a_random_number_that_is_taken_is_replaced() {
    let mut house = house();
    house
        .telegram
        .user("bobby", "15550002", &Behaviour::declines());
    let taken = json!({"method": "phone.requestCall", "error": "RANDOM_ID_DUPLICATE", "code": 500});
    house.telegram.fault(taken);
    refused(&house, "bobby", "486", "User declined the call");
    assert_eq!(asked(&house, "phone.requestCall"), 2);
    house.assert_clean(&[]);
}

#[test]
fn signalling_that_telegram_refuses_once_is_sent_again() {
    let house = House::new().registering_trunk(&["alaw"]).start();
    let error = json!({"method": "phone.sendSignalingData", "error": "INTERNAL", "code": 500});
    house.telegram.fault(error);
    Talk::start_in(house, Caller::Pbx, "13.0.0", ALAW).end(Ends::Pbx);
}

#[test]
fn signalling_that_telegram_refuses_ends_a_call_that_is_not_up() {
    let mut house = house();
    house.telegram.user(
        "bobby",
        "15550002",
        &Behaviour::accepts().speaking("13.0.0"),
    );
    let error = "CALL_PEER_INVALID";
    house
        .telegram
        .fault(json!({"method": "phone.sendSignalingData", "error": error, "times": -1}));
    refused_by_telegram(&house, "bobby", "500", error, error);
    let call = house.telegram.next_call(0, s(1));
    let ended = house.telegram.wait_call(&call, "discarded", s(5));
    assert_eq!(ended["reason"], "disconnect", "{ended}");
    house.assert_clean(&[]);
}

// -- product 10.3 and 10.4: who cannot be called -----------------------------------------------------------------------

#[test]
fn who_is_hidden_deleted_or_no_person_cannot_be_called() {
    let mut house = house();
    let telegram = &house.telegram;
    telegram.account(
        json!({"username": "shy", "phone": "15550011", "scripted": true,
        "privacy": {"AddedByPhone": "nobody"}}),
    );
    telegram
        .account(json!({"username": "helper_bot", "first_name": "Helper", "bot_token": "77:abc"}));
    telegram.user("bobby", "15550002", &Behaviour::accepts());
    let news = json!({"kind": "channel", "title": "News", "creator": "bobby", "username": "news"});
    telegram.http().post("/chats", &news);
    telegram.user("gone", "15550012", &Behaviour::declines());
    refused(&house, "+15550011", "404", "Not Found");
    refused(&house, "helper_bot", "404", "Not a user");
    refused(&house, "news", "404", "Not a user");
    assert_eq!(house.telegram.calls(), 0);
    refused(&house, "gone", "486", "User declined the call");
    house
        .telegram
        .patch_account("gone", &json!({"deleted": true}));
    let error = "INPUT_USER_DEACTIVATED";
    refused_by_telegram(&house, "gone", "404", "Not Found", error);
    assert_eq!(house.telegram.calls(), 1);
    house.assert_clean(&[]);
}

#[test]
fn a_look_up_that_telegram_never_answers_is_given_up() {
    let mut house = House::new()
        .setting("telegram.rpc_timeout_s = 2")
        .peer_trunk(&["alaw"])
        .start();
    house.wait_session_up();
    house
        .telegram
        .user("bobby", "15550002", &Behaviour::accepts());
    house
        .telegram
        .fault(json!({"method": "contacts.resolveUsername", "action": "no_reply"}));
    refused(&house, "bobby", "408", "Timeout of waiting RPC result");
    house.assert_clean(&[]);
}

#[test]
fn numbers_looked_up_too_often_wait_as_long_as_telegram_says() {
    let mut house = house();
    house
        .telegram
        .set(json!({"limits": {"contacts.resolvePhone": {"count": 2, "per": 60}}}));
    for number in ["+19995550001", "+19995550002"] {
        refused(&house, number, "404", "Not Found");
    }
    let pbx = Sipp::on(house.dir(), "pbx-third", house.peer_port());
    let pbx = pbx.to(house.sip()).number("+19995550003");
    let verdict: Verdict = pbx.key("code", "503").run("uac_refused");
    let last = verdict.expect_ok().last_final();
    let wait = last
        .start()
        .strip_prefix("503 Too Many Requests: retry after ");
    assert_eq!(last.header("Retry-After"), wait, "{}", verdict.ladder());
    assert!(
        (1..=60).contains(&wait.unwrap().parse().unwrap()),
        "{wait:?}"
    );
    house.assert_clean(&[]);
}

#[test]
fn somebody_who_is_in_a_call_with_the_account_is_busy() {
    let mut house = house();
    house
        .telegram
        .user("bobby", "15550002", &Behaviour::rings());
    let first = Sipp::new(house.dir(), "first").to(house.sip());
    let first = first.number("bobby").pause(s(4)).start("uac_cancel");
    let call = house.telegram.next_call(0, s(10));
    house.telegram.wait_call(&call, "received", s(5));
    refused(&house, "bobby", "486", "Busy Here");
    assert_eq!(house.telegram.calls(), 1);
    first.wait(s(10)).expect_ok();
    house.assert_clean(&[]);
}

#[test]
fn a_caller_for_whom_no_line_is_left_hears_that_it_is_busy() {
    let house = House::new().saying("lines = 1").peer_trunk(&["alaw"]);
    let mut house = house.start();
    house.wait_session_up();
    for (user, phone) in [("bobby", "15550002"), ("dora", "15550005")] {
        house.telegram.user(user, phone, &Behaviour::accepts());
    }
    let pbx = Sipp::on(house.dir(), "pbx", house.peer_port()).start("uas_noanswer");
    let first = house.telegram.call("bobby", SESSION, "9.0.0");
    house.telegram.wait_call(&first, "received", s(5));
    let second = house.telegram.call("dora", SESSION, "9.0.0");
    let ended = house.telegram.wait_call(&second, "discarded", s(5));
    assert_eq!(ended["reason"], "busy", "{ended}");
    let told = house.telegram.texts("dora", 1, s(5));
    assert_eq!(told, ["402 Lines limit is exceeded"]);
    house.telegram.discard("bobby", &first, "missed");
    pbx.wait(s(10)).expect_ok();
    house.assert_clean(&[]);
}

#[test]
fn a_pbx_that_is_switched_off_calls_nobody() {
    let house = House::new().saying("enabled = false");
    let mut house = house.peer_trunk(&["alaw"]).start();
    house.wait_session_up();
    house
        .telegram
        .user("bobby", "15550002", &Behaviour::accepts());
    refused(&house, "bobby", "503", "Account is not running");
    assert_eq!(house.telegram.calls(), 0);
    house.assert_clean(&[]);
}

#[test]
fn a_switch_that_has_just_started_asks_for_a_moment() {
    let mut house = House::new().peer_trunk(&["alaw"]).build();
    house
        .telegram
        .user("bobby", "15550002", &Behaviour::declines());
    connections(&house, "refuse");
    house.start_unready();
    let verdict = refused(&house, "bobby", "503", "Worker is not ready");
    assert!(verdict.last_final().header("Retry-After").is_some());
    connections(&house, "accept");
    house.wait_session_up();
    refused(&house, "bobby", "486", "User declined the call");
    house.assert_clean(&[]);
}

#[test]
fn another_account_of_the_switch_cannot_call_the_pbx() {
    let mut house = House::new().peer_trunk(&["alaw"]).build();
    let second = json!({"username": "second", "first_name": "Second", "phone": "15550020"});
    house.telegram.account(second);
    house.expect_command(&["session", "add", "second", "--phone", "+15550020"], "");
    let key = house.telegram.new_key();
    let login = [
        "session",
        "login",
        "second",
        "--phone",
        "+15550020",
        "--test-key",
        &key,
    ];
    house.expect_command(&login, "12345\n");
    house.start();
    house.wait_session_up();
    house.wait_metric(
        "strowger_telegram_session_up",
        &[("session", "second")],
        1.0,
    );
    // On another device of it somebody dials.
    house.telegram.patch_account(
        "second",
        &json!({"scripted": true, "behaviour": {"on_call": "manual"}}),
    );
    let call = house.telegram.call("second", SESSION, "9.0.0");
    let ended = house.telegram.wait_call(&call, "discarded", s(10));
    assert_ne!(ended["discarded_by"], "server", "{ended}");
    let told = house.telegram.texts("second", 1, s(10));
    assert_eq!(told, ["482 Caller has active gateway accounts"]);
    house.assert_clean(&[ON_PURPOSE, "accept_without_received"]);
}

// -- 4.7: what is ignored ----------------------------------------------------------------------------------------------

#[test]
fn a_video_call_is_answered_with_the_voice_and_neither_rated_nor_debugged() {
    let mut house = house();
    house
        .telegram
        .set(json!({"need_rating": true, "need_debug": true}));
    let pbx = Sipp::on(house.dir(), "pbx", house.peer_port());
    let pbx = pbx.pause(s(0)).echo().start("uas");
    let mut talker = house.talker_of_own_tone("bobby", "13.0.0");
    let spec = json!({"video": true, "protocol": {"library_versions": ["13.0.0"]}});
    let call = house.telegram.call_as("bobby", SESSION, spec);
    talker.wait_heard(s(20));
    talker.hang_up(&house.telegram, "bobby", &call);
    pbx.wait(s(10)).expect_ok();
    house.assert_clean(&[]);
    let methods = [
        "phone.setCallRating",
        "phone.saveCallDebug",
        "phone.saveCallLog",
    ];
    for method in methods {
        assert_eq!(asked(&house, method), 0, "{method}");
    }
}
