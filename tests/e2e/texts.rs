//! Numbers that people write to the account: dialled when they call, or by a call back.

use serde_json::json;

use crate::deadline::{s, until};
use crate::house::{HEARD, House, HouseBuilder, SESSION, TELEGRAM_TONE};
use crate::pbx::{SipMessage, Sipp};
use crate::telegram::{Behaviour, Talker, Voice};

/// What is left of punctuation and blanks, if it is a number.
const NUMBER: &str = r"dial_rules = '[^+*#\w]= ^\+?\d{2,15}$'";

/// A house whose trunk dials what people write.
fn dialling() -> HouseBuilder {
    House::new().saying(NUMBER)
}

/// Lets texts be read, and starts it.
fn reading(builder: HouseBuilder, more: &[&str]) -> House {
    let mut house = builder.build();
    let set = ["session", "set", SESSION, "--messages-processing"];
    house.expect_command(&[&set[..], more].concat(), "");
    house.start();
    house.wait_session_up();
    house
}

/// What the PBX was asked to call, and To.
fn called(pbx: &Sipp) -> Vec<(String, String)> {
    let messages = pbx.messages();
    let invites = messages.iter().filter(|message| {
        let start = message.start();
        !message.sent && start.starts_with("INVITE ")
    });
    let both = |invite: &SipMessage| {
        let uri = invite.start().trim_start_matches("INVITE ");
        let to = invite.header("To").unwrap_or_default();
        (uri.to_owned(), to.to_owned())
    };
    invites.map(both).collect()
}

#[test]
fn a_number_is_dialled_when_who_wrote_it_calls_and_once() {
    let autoreply = "Write a number, then call.";
    let house = dialling().peer_trunk(&["alaw"]);
    let mut house = reading(house, &["--autoreply", autoreply]);
    for (user, phone) in [("bobby", "15550002"), ("carol", "15550004")] {
        house.telegram.user(user, phone, &Behaviour::accepts());
    }
    house.telegram.write("bobby", SESSION, "hello");
    assert_eq!(house.telegram.texts("bobby", 1, s(10)), [autoreply]);
    house.telegram.write("bobby", SESSION, "60 2");
    house.telegram.texts("bobby", 2, s(10));
    // The last one counts.
    house.telegram.write("bobby", SESSION, "(6) 01");
    let asked = house.telegram.texts("bobby", 3, s(10));
    assert_eq!(asked[2], "Press the call button to dial 601");

    // What he was told is on disk.
    house.kill();
    house.start();
    house.wait_session_up();
    for (user, number) in [("carol", "600"), ("bobby", "601"), ("bobby", "600")] {
        let name = format!("pbx-{user}-{number}");
        let pbx = house.pbx_that_refuses(&name, "486", "Busy Here");
        let call = house.telegram.call(user, SESSION, "9.0.0");
        house.telegram.wait_call(&call, "discarded", s(10));
        let invites = called(&pbx);
        assert_eq!(invites.len(), 1, "{invites:?}");
        let (uri, to) = &invites[0];
        let expected = format!("sip:{number}@");
        assert!(uri.starts_with(&expected), "{uri}");
        assert!(to.contains(&expected), "{to}");
        pbx.wait(s(10)).expect_ok();
    }
    house.assert_clean(&["discard_reason"]);
}

#[test]
fn texts_are_read_from_those_who_may_call_and_ten_a_minute() {
    let house = dialling().peer_trunk(&["alaw"]);
    let mut house = reading(house, &["--allowed-callers", "@bobby"]);
    for (user, phone) in [("bobby", "15550002"), ("carol", "15550004")] {
        house.telegram.user(user, phone, &Behaviour::accepts());
    }
    house.telegram.write("carol", SESSION, "600");
    for number in 601..=612 {
        house.telegram.write("bobby", SESSION, &number.to_string());
    }
    let refused = [
        ("session", SESSION),
        ("group", "messages"),
        ("why", "bucket"),
    ];
    house.wait_metric("strowger_telegram_local_refusals_total", &refused, 2.0);
    let texts = house.telegram.texts("bobby", 10, s(10));
    assert_eq!(texts.len(), 10, "{texts:?}");
    assert_eq!(texts[9], "Press the call button to dial 610");
    assert_eq!(house.telegram.texts("carol", 0, s(1)), [""; 0]);
    house.assert_clean(&[]);
}

#[test]
fn a_bot_is_asked_about_what_is_no_number_and_answers_in_the_chat() {
    let bot = ["--inline-bot", "@helper_bot"];
    let query = ["--inline-query", "{session} {username}: {text}"];
    let house = dialling().peer_trunk(&["alaw"]);
    let mut house = reading(house, &[bot, query].concat());
    let answers = json!({"inline": "You asked: {query}"});
    house.telegram.account(
        json!({"username": "helper_bot", "first_name": "Helper", "bot_token": "77:AA",
        "scripted": true, "behaviour": answers}),
    );
    house
        .telegram
        .user("bobby", "15550002", &Behaviour::accepts());
    house.telegram.write("bobby", SESSION, "opening hours?");
    let told = house.telegram.texts("bobby", 1, s(10));
    assert_eq!(told, ["You asked: gateway bobby: opening hours?"]);
    house.telegram.write("bobby", SESSION, "601");
    let told = house.telegram.texts("bobby", 2, s(10));
    assert_eq!(told[1], "Press the call button to dial 601");
    // A bot that has nothing to say leaves the chat alone.
    house
        .telegram
        .patch_account("helper_bot", &json!({"behaviour": {"inline": ""}}));
    house.telegram.write("bobby", SESSION, "closing hours?");
    let asked = |count: usize| {
        let filter = format!("kind=rpc&method=messages.getInlineBotResults&count={count}");
        let asked = house.telegram.events(&filter, s(10));
        assert_eq!(asked.len(), count, "{asked:?}");
    };
    asked(2);
    // Nor does one that does not answer at all.
    house
        .telegram
        .patch_account("helper_bot", &json!({"behaviour": {}}));
    house.telegram.write("bobby", SESSION, "hello?");
    asked(3);
    house.telegram.write("bobby", SESSION, "602");
    let told = house.telegram.texts("bobby", 3, s(10));
    assert_eq!(told[2..], ["Press the call button to dial 602"]);
    house.assert_clean(&[]);
}

/// What the switch plays while a PBX rings, and when nobody takes the call.
const TONE: u32 = 425;

/// A house that calls back who writes a number.
fn calling_back() -> House {
    reading(dialling().peer_trunk(&["alaw"]), &["--callback"])
}

/// A Telegram user who wants to hear this tone.
fn listener(house: &House, behaviour: &Behaviour, hears: u32) -> Talker {
    house.telegram.user("bobby", "15550002", behaviour);
    let voice = Voice {
        says: TELEGRAM_TONE,
        hears,
        seconds: HEARD,
    };
    Talker::start(house.dir(), &house.telegram, "bobby", voice)
}

/// bobby writes a number and is called back; the id of the call.
fn writes(house: &House, number: &str) -> String {
    let known = house.telegram.calls();
    house.telegram.write("bobby", SESSION, number);
    house.telegram.next_call(known, s(10))
}

#[test]
fn who_writes_a_number_is_called_back_and_put_through_to_the_last_one() {
    let mut house = calling_back();
    let pbx = Sipp::on(house.dir(), "pbx", house.peer_port());
    let pbx = pbx.pause(s(0)).echo().start("uas");
    let rings = Behaviour::rings().speaking("9.0.0");
    let mut talker = listener(&house, &rings, TELEGRAM_TONE);
    let call = writes(&house, "602");
    house.telegram.wait_call(&call, "received", s(10));
    // Not yet dialled: another number takes its place, what is none changes nothing.
    house.telegram.write("bobby", SESSION, "6 0-1");
    house.telegram.write("bobby", SESSION, "hurry up");
    let messages = [("kind", "message")];
    house.wait_metric("strowger_telegram_updates_total", &messages, 3.0);
    assert!(
        called(&pbx).is_empty(),
        "nobody is called before he answers"
    );
    house.telegram.accept("bobby", &call);
    house.telegram.wait_call(&call, "established", s(15));
    talker.wait_heard(s(20));
    let invites = called(&pbx);
    assert_eq!(invites.len(), 1, "{invites:?}");
    assert!(invites[0].0.starts_with("sip:601@"), "{invites:?}");
    // Digits are keys now.
    house.telegram.write("bobby", SESSION, "42");
    let keys = [("from", "telegram"), ("method", "rfc4733")];
    house.wait_metric("strowger_dtmf_digits_total", &keys, 2.0);
    talker.hang_up(&house.telegram, "bobby", &call);
    pbx.wait(s(10)).expect_ok();
    assert_eq!(house.telegram.texts("bobby", 0, s(1)), [""; 0]);
    house.assert_clean(&[]);
    house.stop();
    let record = &house.records()[0];
    assert_eq!(record["direction"], "tg_to_sip", "{record:#}");
    assert_eq!(record["outcome"], "answered", "{record:#}");
    assert!(
        record["to"].as_str().unwrap().starts_with("sip:601@"),
        "{record:#}"
    );
}

#[test]
fn who_was_called_back_hears_that_the_pbx_rings() {
    let mut house = calling_back();
    let pbx = Sipp::on(house.dir(), "pbx", house.peer_port());
    let pbx = pbx.start("uas_noanswer");
    let accepts = Behaviour::accepts().speaking("13.0.0");
    let mut talker = listener(&house, &accepts, TONE);
    let call = writes(&house, "601");
    talker.wait_heard(s(30));
    talker.hang_up(&house.telegram, "bobby", &call);
    // It was cancelled.
    pbx.wait(s(10)).expect_ok();
    assert_eq!(house.telegram.texts("bobby", 0, s(1)), [""; 0]);
    house.assert_clean(&[]);
    house.stop();
    let record = &house.records()[0];
    assert_eq!(record["outcome"], "cancelled", "{record:#}");
}

#[test]
fn who_was_called_back_hears_what_the_pbx_plays_before_it_answers() {
    let mut house = calling_back();
    let pbx = Sipp::on(house.dir(), "pbx", house.peer_port());
    let pbx = pbx.pause(s(60)).echo().start("uas_early");
    let accepts = Behaviour::accepts().speaking("9.0.0");
    let mut talker = listener(&house, &accepts, TELEGRAM_TONE);
    let call = writes(&house, "601");
    talker.wait_heard(s(30));
    let answered = |message: &SipMessage| message.sent && message.start().starts_with("200");
    assert!(!pbx.messages().iter().any(answered));
    talker.hang_up(&house.telegram, "bobby", &call);
    until("the PBX to be told", s(10), || {
        let cancel = |message: &SipMessage| message.start().starts_with("CANCEL");
        pbx.messages().iter().any(cancel).then_some(())
    });
    pbx.kill();
    house.assert_clean(&[]);
}

#[test]
fn who_was_called_back_hears_and_reads_that_nobody_takes_the_call() {
    let mut house = calling_back();
    let pbx = Sipp::on(house.dir(), "pbx", house.peer_port());
    let pbx = pbx.start("uas_busy");
    let accepts = Behaviour::accepts().speaking("9.0.0");
    let mut talker = listener(&house, &accepts, TONE);
    let call = writes(&house, "601");
    // Three seconds of it, half of them silent.
    house.telegram.wait_call(&call, "discarded", s(30));
    assert_eq!(house.telegram.texts("bobby", 1, s(10)), ["486 Busy Here"]);
    pbx.wait(s(10)).expect_ok();
    let result = talker.wait("result", s(20));
    let heard = result["tone_seconds"].as_f64().unwrap_or_default();
    assert!(heard > 0.5, "{result}");
    house.assert_clean(&[]);
    house.stop();
    let record = &house.records()[0];
    assert_eq!(record["outcome"], "busy", "{record:#}");
}

#[test]
fn who_lets_nobody_call_reads_that_he_cannot_be_called_back() {
    let mut house = calling_back();
    let private = json!({"username": "bobby", "first_name": "bobby", "phone": "15550002", "scripted": true,
        "privacy": {"PhoneCall": "nobody"}});
    house.telegram.account(private);
    house.telegram.write("bobby", SESSION, "601");
    let told = house.telegram.texts("bobby", 1, s(10));
    assert_eq!(told, ["380 Callback is restricted"]);
    house.assert_clean(&[]);
    house.stop();
    let record = &house.records()[0];
    assert_eq!(record["outcome"], "rejected", "{record:#}");
    assert_eq!(record["legs"][0]["code"], 403, "{record:#}");
}

#[test]
fn who_does_not_answer_for_a_minute_is_not_put_through() {
    let mut house = calling_back();
    house
        .telegram
        .user("bobby", "15550002", &Behaviour::rings());
    let call = writes(&house, "601");
    let ended = house.telegram.wait_call(&call, "discarded", s(75));
    assert_eq!(ended["reason"], "missed", "{ended}");
    assert_eq!(house.telegram.texts("bobby", 0, s(1)), [""; 0]);
    house.assert_clean(&[]);
    house.stop();
    let record = &house.records()[0];
    assert_eq!(record["outcome"], "no_answer", "{record:#}");
    let rang = record["ended_after_ms"].as_u64().unwrap();
    assert!((59_000..75_000).contains(&rang), "{record:#}");
}
