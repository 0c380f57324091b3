//! Several accounts of equal priority share the calls of a trunk.

use std::time::Duration;

use serde_json::json;

use crate::deadline::s;
use crate::house::{House, SESSION};
use crate::pbx::{Sipp, Verdict};
use crate::telegram::Behaviour;

/// The second account.
const OTHER: &str = "helper";

/// A PBX known by its address with two accounts, each with so many lines (0: any number).
fn house(lines: u32) -> House {
    let mut house = House::new()
        .peer_trunk(&["alaw"])
        .pooled_session(OTHER, "15550011", &format!("lines = {lines}"))
        .build();
    let set = ["session", "set", SESSION, "--lines", &lines.to_string()];
    house.expect_command(&set, "");
    house.start();
    house.wait_session_up();
    house.wait_metric("strowger_telegram_session_up", &[("session", OTHER)], 1.0);
    for (name, phone) in [
        ("bobby", "15550002"),
        ("carol", "15550003"),
        ("dora", "15550005"),
    ] {
        house.telegram.user(name, phone, &Behaviour::declines());
    }
    house
}

/// The PBX calls somebody and hears this code.
fn call(house: &House, name: &str, number: &str, code: &str) -> Verdict {
    let pbx = Sipp::on(house.dir(), name, house.peer_port()).to(house.sip());
    let verdict = pbx.number(number).key("code", code).run("uac_refused");
    verdict.expect_ok();
    house.wait_no_calls();
    verdict
}

/// Which accounts have placed calls so far, oldest first.
fn callers(house: &House) -> Vec<String> {
    let accounts = house.telegram.http().get("/accounts");
    let name = |id: &serde_json::Value| {
        let mut accounts = accounts.as_array().unwrap().iter();
        let account = accounts.find(|account| account["id"] == *id);
        account.unwrap()["username"].as_str().unwrap().to_owned()
    };
    let asked = house
        .telegram
        .events("kind=rpc&method=phone.requestCall", Duration::ZERO);
    asked.iter().map(|event| name(&event["account"])).collect()
}

#[test]
fn two_accounts_take_turns_and_who_was_called_before_is_called_by_the_same_again() {
    let mut house = house(0);
    for (n, number) in ["bobby", "carol", "dora"].iter().enumerate() {
        call(&house, &format!("pbx-{n}"), number, "486");
    }
    let turns = callers(&house);
    assert_ne!(
        turns[0], turns[1],
        "the one that rested longer calls: {turns:?}"
    );
    assert_eq!(turns[0], turns[2], "{turns:?}");
    // Carol was called by the second, whose turn it is; then again, though it is the turn of the first.
    call(&house, "pbx-known", "carol", "486");
    call(&house, "pbx-again", "carol", "486");
    let turns = callers(&house);
    assert_eq!(
        turns[3..],
        [turns[1].clone(), turns[1].clone()],
        "{turns:?}"
    );
    // It need not look her up again, and the other one never did.
    let looked_up = "kind=rpc&method=contacts.resolveUsername";
    assert_eq!(house.telegram.events(looked_up, s(1)).len(), 3);
    house.assert_clean(&[]);
}

#[test]
fn an_account_that_telegram_restricts_is_passed_over_until_both_are() {
    let mut house = house(0);
    let flood = || json!({"method": "phone.requestCall", "error": "PEER_FLOOD"});
    house.telegram.fault(flood());
    let verdict = call(&house, "pbx-first", "bobby", "503");
    assert_eq!(verdict.last_final().start(), "503 PEER_FLOOD");
    let restricted = callers(&house).remove(0);
    let well = if restricted == SESSION {
        OTHER
    } else {
        SESSION
    };
    // Also whom the restricted one knows.
    for (n, number) in ["bobby", "carol", "bobby"].iter().enumerate() {
        call(&house, &format!("pbx-well-{n}"), number, "486");
    }
    assert_eq!(callers(&house)[1..], [well, well, well]);
    house.telegram.fault(flood());
    call(&house, "pbx-last", "dora", "503");
    // Both are: nobody is asked any more.
    let asked = callers(&house).len();
    let verdict = call(&house, "pbx-none", "dora", "503");
    assert_eq!(verdict.last_final().start(), "503 PEER_FLOOD");
    assert_eq!(callers(&house).len(), asked);
    house.assert_clean(&[]);
}

#[test]
fn an_account_whose_lines_are_taken_is_passed_over_until_all_are() {
    let mut house = house(1);
    for name in ["eve", "frank"] {
        let phone = format!("1555002{}", name.len());
        house.telegram.user(name, &phone, &Behaviour::rings());
    }
    let ringing = |house: &House, name: &str, known: usize| {
        let pbx = Sipp::on(house.dir(), &format!("pbx-{name}"), crate::ports::one());
        let pbx = pbx.to(house.sip()).number(name).pause(s(20));
        let pbx = pbx.limit(s(60)).start("uac_cancel");
        let call = house.telegram.next_call(known, s(10));
        house.telegram.wait_call(&call, "received", s(10));
        pbx
    };
    let first = ringing(&house, "eve", 0);
    let second = ringing(&house, "frank", 1);
    let turns = callers(&house);
    assert_ne!(turns[0], turns[1], "{turns:?}");
    let pbx = Sipp::on(house.dir(), "pbx-third", crate::ports::one()).to(house.sip());
    let verdict = pbx.number("dora").key("code", "402").run("uac_refused");
    let start = verdict.expect_ok().last_final().start();
    assert_eq!(start, "402 Lines limit is exceeded", "{}", verdict.ladder());
    assert_eq!(callers(&house).len(), 2, "Telegram was asked");
    for pbx in [first, second] {
        pbx.wait(s(60)).expect_ok();
    }
    house.wait_no_calls();
    call(&house, "pbx-fourth", "dora", "486");
    house.assert_clean(&[]);
}
