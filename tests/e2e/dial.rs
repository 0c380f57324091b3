//! Calls that an owner orders, and what he does with calls: keys, hold, transfer.

use serde_json::{Value, json};

use crate::deadline::{s, until};
use crate::house::{House, SESSION, TRUNK};
use crate::pbx::{Baresip, SipMessage, Sipp};
use crate::talk::{ALAW, Caller, Ends, Talk};
use crate::telegram::{Behaviour, Talker};

/// bobby is called, then 601: the id of the ordered call, and of the one at Telegram.
fn dialled(house: &House) -> (String, String) {
    let known = house.telegram.calls();
    let order = [
        "--output",
        "json",
        "calls",
        "dial",
        "--session",
        SESSION,
        "--to",
        "@bobby",
        "--trunk",
        TRUNK,
        "--number",
        "601",
    ];
    let said = house.expect_command(&order, "");
    let said: Value = serde_json::from_str(said.trim()).unwrap_or_else(|_| panic!("{said}"));
    let id = said["id"].as_str().unwrap().to_owned();
    (id, house.telegram.next_call(known, s(10)))
}

/// The state of a call.
fn state(house: &House, id: &str) -> String {
    let said = house.expect_command(&["--output", "json", "calls", "show", id], "");
    let said: Value = serde_json::from_str(said.trim()).unwrap_or_else(|_| panic!("{said}"));
    said["state"].as_str().unwrap().to_owned()
}

/// A house with a PBX that is known by its address.
fn house() -> House {
    let house = House::new().peer_trunk(&["alaw"]).start();
    house.wait_session_up();
    house
}

#[test]
fn an_ordered_call_joins_a_telegram_user_and_a_phone_that_hear_each_other() {
    let house = House::new().registering_trunk(&["alaw"]).start();
    house.wait_session_up();
    let mut phone = Baresip::start(house.dir(), "phone", &house.phone_settings(ALAW[1]));
    let mut talker = house.bobby("13.0.0");
    let (id, call) = dialled(&house);
    house.telegram.wait_call(&call, "established", s(15));
    phone.wait_established();
    talker.wait_heard(s(20));
    assert_eq!(state(&house, &id), "established");
    house.expect_command(&["calls", "dtmf", &id, "1,#"], "");
    for key in ["1", "#"] {
        let event = phone.wait("CALL_DTMF_START", s(10));
        assert_eq!(event["param"], key, "{event}");
    }
    let talk = Talk {
        house,
        phone,
        talker,
        call,
    };
    let mut house = talk.end(Ends::Telegram);
    house.stop();
    let record = &house.records()[0];
    assert_eq!(record["direction"], "tg_to_sip", "{record:#}");
    assert_eq!(record["outcome"], "answered", "{record:#}");
    assert_eq!(record["from"], "bobby", "{record:#}");
    assert_eq!(id_of(record), id, "{record:#}");
}

fn id_of(record: &Value) -> &str {
    let id = record["id"].as_str().unwrap();
    id.strip_prefix("call-").unwrap_or(id)
}

#[test]
fn a_repeated_order_is_placed_once_and_a_refused_one_says_why() {
    let mut house = house();
    house
        .telegram
        .user("bobby", "15550002", &Behaviour::rings());
    let pbx = Sipp::on(house.dir(), "pbx", house.peer_port()).start("uas_options");
    let made = [
        "--output", "json", "token", "create", "dialler", "--scope", "calls",
    ];
    let made = house.expect_command(&made, "");
    let made: Value = serde_json::from_str(made.trim()).unwrap();
    let api = house.admin().with_token(made["token"].as_str().unwrap());
    let order = |to: &str, trunk: &str| json!({"session": SESSION, "to": to, "trunk": trunk, "number": "601"});
    let post =
        |key: &str, body: &Value| api.try_post("/api/v1/calls", &[("Idempotency-Key", key)], body);
    let known = house.telegram.calls();
    let first = post("one", &order("@bobby", TRUNK));
    assert_eq!(first.0, 202, "{first:?}");
    let call = house.telegram.next_call(known, s(10));
    assert_eq!(post("one", &order("@bobby", TRUNK)), first);
    assert_eq!(house.telegram.calls(), known + 1);
    let other = post("one", &order("@carol", TRUNK));
    assert_eq!(
        (other.0, &other.1["cause"]),
        (422, &json!("idempotency_key_reused"))
    );
    let busy = post("two", &order("@bobby", TRUNK));
    assert_eq!(
        (busy.0, &busy.1["detail"]),
        (409, &json!("486 Busy Here")),
        "{busy:?}"
    );
    assert!(!busy.1["hint"].as_str().unwrap().is_empty());
    assert_eq!(post("three", &order("@carol", "nobody")).0, 404);
    assert_eq!(post("four", &order("carol?", TRUNK)).0, 400);
    let id = first.1["id"].as_str().unwrap();
    let hold = format!("/api/v1/calls/{id}/hold");
    let early = api.try_post(&hold, &[], &json!({"on": true}));
    assert_eq!((early.0, &early.1["cause"]), (409, &json!("not_now")));
    assert_eq!(api.delete(&format!("/api/v1/calls/{id}")), 204);
    let ended = house.telegram.wait_call(&call, "discarded", s(10));
    assert_eq!(ended["reason"], "missed", "{ended}");
    // Once more after its end: told as before, and nobody is called.
    house.wait_no_calls();
    assert_eq!(post("one", &order("@bobby", TRUNK)), first);
    assert_eq!(house.telegram.calls(), known + 1);
    let text = house.telegram.texts("bobby", 0, s(1));
    assert!(text.is_empty(), "{text:?}");
    pbx.kill();
    house.assert_clean(&[]);
    house.stop();
    let records = house.records();
    assert_eq!(records.len(), 2, "the refused one too: {records:#?}");
}

/// The messages of a PBX that begin so.
fn count(pbx: &Sipp, is_sent: bool, start: &str) -> usize {
    let messages = pbx.messages();
    let is_it =
        |message: &&SipMessage| message.sent == is_sent && message.start().starts_with(start);
    messages.iter().filter(is_it).count()
}

#[test]
fn a_held_pbx_hears_nothing_and_goes_on_afterwards() {
    let mut house = house();
    let pbx = Sipp::on(house.dir(), "pbx", house.peer_port());
    let pbx = pbx.echo().start("uas_held");
    let mut talker = house.talker_of_own_tone("bobby", "9.0.0");
    let (id, call) = dialled(&house);
    until("the call", s(20), || {
        (count(&pbx, false, "ACK") == 1).then_some(())
    });
    until("both to talk", s(20), || {
        (state(&house, &id) == "established").then_some(())
    });
    let out = [("leg", "sip"), ("direction", "out")];
    let packets = || house.metrics().sum_of("strowger_rtp_packets_total", &out);
    house.expect_command(&["calls", "hold", &id], "");
    until("the hold", s(10), || {
        (state(&house, &id) == "held").then_some(())
    });
    let counted = |state: &str| {
        let labels = [("state", state)];
        house.metrics().sum_of("strowger_calls_active", &labels) > 0.5
    };
    assert!(counted("held") && !counted("established"));
    // What is on its way, and what the books have not shown yet.
    std::thread::sleep(s(2));
    let held = packets();
    std::thread::sleep(s(2));
    assert!(packets() - held < 20.0, "the PBX is spoken to on hold");
    house.expect_command(&["calls", "hold", &id, "--off"], "");
    until("the end of the hold", s(10), || {
        (state(&house, &id) == "established").then_some(())
    });
    assert!(!counted("held") && counted("established"));
    talker.wait_heard(s(20));
    until("packets after the hold", s(10), || {
        (packets() > held + 100.0).then_some(())
    });
    talker.hang_up(&house.telegram, "bobby", &call);
    pbx.wait(s(10)).expect_ok();
    house.assert_clean(&[]);
}

#[test]
fn a_pbx_that_refuses_to_be_held_talks_on() {
    let mut house = house();
    let pbx = Sipp::on(house.dir(), "pbx", house.peer_port());
    let pbx = pbx.echo().start("uas_held_refused");
    let mut talker = house.talker_of_own_tone("bobby", "9.0.0");
    let (id, call) = dialled(&house);
    until("the call", s(20), || {
        (state(&house, &id) == "established" && count(&pbx, false, "ACK") == 1).then_some(())
    });
    house.expect_command(&["calls", "hold", &id], "");
    until("the refusal", s(10), || {
        (count(&pbx, false, "ACK") == 2).then_some(())
    });
    assert_eq!(state(&house, &id), "established");
    talker.wait_heard(s(20));
    talker.hang_up(&house.telegram, "bobby", &call);
    pbx.wait(s(10)).expect_ok();
    house.assert_clean(&[]);
}

#[test]
fn an_owner_gives_the_place_of_a_pbx_to_another_number() {
    let mut house = house();
    let pbx = Sipp::on(house.dir(), "pbx", house.peer_port());
    let pbx = pbx.calls(2).pause(s(0)).echo().start("uas");
    let mut talker: Talker = house.talker_of_own_tone("bobby", "9.0.0");
    let call = house.telegram.call("bobby", SESSION, "9.0.0");
    house.telegram.wait_call(&call, "established", s(15));
    let calls = house.expect_command(&["--output", "json", "calls", "list"], "");
    let calls: Value = serde_json::from_str(calls.trim()).unwrap();
    let id = calls[0]["id"].as_str().unwrap().to_owned();
    until("both to talk", s(20), || {
        (state(&house, &id) == "established").then_some(())
    });
    let (code, said) = house.command(&["calls", "transfer", &id, "6 02"], "");
    assert_eq!(code, 6, "{said}");
    house.expect_command(&["calls", "transfer", &id, "602"], "");
    until("the old leg to be hung up on", s(20), || {
        (count(&pbx, false, "BYE") == 1).then_some(())
    });
    let invite = pbx
        .messages()
        .into_iter()
        .rfind(|message| !message.sent && message.start().starts_with("INVITE"));
    let invite = invite.unwrap();
    assert!(
        invite.start().starts_with("INVITE sip:602@"),
        "{}",
        invite.start()
    );
    talker.wait_heard(s(20));
    talker.hang_up(&house.telegram, "bobby", &call);
    pbx.wait(s(10)).expect_ok();
    for (result, count) in [("ok", 1.0), ("failed", 1.0)] {
        let labels = [("kind", "blind"), ("result", result)];
        house.wait_metric("strowger_call_transfers_total", &labels, count);
    }
    house.assert_clean(&[]);
    house.stop();
    let record = &house.records()[0];
    let reasons: Vec<&str> = (0..3)
        .filter_map(|n| record["legs"][n]["reason"].as_str())
        .collect();
    assert!(reasons.contains(&"transferred"), "{record:#}");
}

#[test]
fn keys_are_pressed_in_the_pbx_of_any_call() {
    let house = House::new().registering_trunk(&["alaw"]).start();
    let mut talk = Talk::start_in(house, Caller::Pbx, "13.0.0", ALAW);
    let calls = talk
        .house
        .expect_command(&["--output", "json", "calls", "list"], "");
    let calls: Value = serde_json::from_str(calls.trim()).unwrap();
    let id = calls[0]["id"].as_str().unwrap().to_owned();
    for wrong in ["call me", ""] {
        let (code, said) = talk.house.command(&["calls", "dtmf", &id, wrong], "");
        assert_eq!(code, 2, "{said}");
    }
    let (code, said) = talk
        .house
        .command(&["calls", "dtmf", &id, "1", "--leg", "1"], "");
    assert_eq!(code, 6, "{said}");
    talk.house.expect_command(&["calls", "dtmf", &id, "42"], "");
    for key in ["4", "2"] {
        let event = talk.phone.wait("CALL_DTMF_START", s(10));
        assert_eq!(event["param"], key, "{event}");
    }
    talk.end(Ends::Pbx);
}
