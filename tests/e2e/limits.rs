//! What Telegram orders is obeyed, shown, and remembered by the next process.

use std::time::Instant;

use serde_json::{Value, json};

use crate::deadline::s;
use crate::house::{House, SESSION};
use crate::pbx::{Sipp, Verdict};
use crate::telegram::Behaviour;

/// A house with a PBX known by its address, and somebody to be called.
fn house() -> House {
    let house = House::new().peer_trunk(&["alaw"]).start();
    house.wait_session_up();
    let telegram = &house.telegram;
    telegram.user("bobby", "15550002", &Behaviour::accepts());
    telegram.user("carol", "15550003", &Behaviour::rings());
    house
}

/// The PBX calls and is refused with 503.
fn refused(house: &House, name: &str, number: &str) -> Verdict {
    let pbx = Sipp::on(house.dir(), name, house.peer_port());
    let pbx = pbx.to(house.sip()).number(number).key("code", "503");
    pbx.run("uac_refused")
}

/// The seconds that a refused caller is told to wait, in its phrase and in Retry-After.
fn told(verdict: &Verdict) -> u64 {
    let last = verdict.expect_ok().last_final();
    let told = last
        .start()
        .strip_prefix("503 Too Many Requests: retry after ");
    assert_eq!(last.header("Retry-After"), told, "{}", verdict.ladder());
    told.unwrap().parse().unwrap()
}

/// How often Telegram was asked for something.
fn asked(house: &House, method: &str) -> usize {
    let events = house.telegram.events("kind=rpc", s(1));
    events
        .iter()
        .filter(|event| event["method"] == method)
        .count()
}

/// What `session show` says, as a program reads it.
fn shown(house: &House) -> Value {
    let said = house.expect_command(&["--output", "json", "session", "show", SESSION], "");
    serde_json::from_str(said.trim()).expect(&said)
}

#[test]
fn a_wait_that_telegram_ordered_outlives_kill_9() {
    let mut house = house();
    let telegram = &house.telegram;
    telegram.fault(json!({"method": "phone.requestCall", "error": "FLOOD_WAIT_600"}));
    let begun = Instant::now();
    assert_eq!(told(&refused(&house, "first", "bobby")), 600);
    // As near to the refusal as can be.
    house.kill();
    house.start();
    house.wait_metric(
        "strowger_telegram_session_state",
        &[("session", SESSION), ("state", "flood_wait")],
        1.0,
    );
    let before = asked(&house, "phone.requestCall");
    let left = told(&refused(&house, "second", "carol"));
    let gone = begun.elapsed().as_secs();
    assert!(
        left <= 600 && left + gone + 2 >= 600,
        "{left} s left after {gone} s"
    );
    assert_eq!(
        asked(&house, "phone.requestCall"),
        before,
        "Telegram was asked"
    );
    let shown = shown(&house);
    assert_eq!(shown["state"], "flood_wait", "{shown}");
    assert_eq!(shown["until"], shown["calls_until"], "{shown}");
    // The wait is 600 s, of which some have gone, or not quite one.
    let says =
        |list: &str, what: &str| ["9m", "10m"].map(|left| list.contains(&format!("{what} {left}")));
    let list = house.expect_command(&["session", "list"], "");
    assert!(says(&list, "flood_wait for").contains(&true), "{list}");
    // Whoever calls us is heard.
    let pbx = Sipp::on(house.dir(), "pbx", house.peer_port()).start("uas_busy");
    let call = house.telegram.call("bobby", SESSION, "9.0.0");
    house.telegram.wait_call(&call, "discarded", s(10));
    pbx.wait(s(10)).expect_ok();
    house.assert_clean(&[]);
    // Without a switch its store says the same.
    house.stop();
    let list = house.expect_command(&["session", "list"], "");
    assert!(says(&list, "offline, waits for").contains(&true), "{list}");
}

#[test]
fn what_a_call_asks_for_first_is_fetched_before_anybody_calls() {
    let mut house = house();
    let telegram = &house.telegram;
    let fetched = "kind=rpc_result&method=messages.getDhConfig";
    assert_eq!(telegram.events(fetched, s(5)).len(), 1);
    // Nothing is left to be asked for the first call, and with its request the next answer is fetched, which fails.
    telegram
        .fault(json!({"method": "messages.getDhConfig", "error": "DH_UNAVAILABLE", "times": -1}));
    let pbx = Sipp::on(house.dir(), "pbx-first", house.peer_port()).to(house.sip());
    pbx.number("carol")
        .pause(s(1))
        .run("uac_cancel")
        .expect_ok();
    assert_eq!(asked(&house, "phone.requestCall"), 1);
    let failed = "kind=rpc_error&method=messages.getDhConfig";
    assert!(!house.telegram.events(failed, s(5)).is_empty());
    house.wait_no_calls();
    // The next call has to ask itself.
    let pbx = Sipp::on(house.dir(), "pbx-second", house.peer_port()).to(house.sip());
    let verdict = pbx.number("carol").key("code", "500").run("uac_refused");
    let start = verdict.expect_ok().last_final().start();
    assert_eq!(start, "500 DH_UNAVAILABLE", "{}", verdict.ladder());
    assert_eq!(asked(&house, "phone.requestCall"), 1);
    house.assert_clean(&[]);
}

#[test]
fn an_account_that_is_limited_for_spam_stays_so_for_a_day_and_takes_calls() {
    let mut house = house();
    let telegram = &house.telegram;
    telegram.fault(json!({"method": "phone.requestCall", "error": "PEER_FLOOD"}));
    for name in ["first", "second", "third"] {
        if name == "third" {
            house.kill();
            house.start();
        }
        let verdict = refused(&house, name, "bobby");
        let last = verdict.expect_ok().last_final();
        assert_eq!(last.start(), "503 PEER_FLOOD", "{}", verdict.ladder());
        assert_eq!(asked(&house, "phone.requestCall"), 1, "{name}");
    }
    let shown = shown(&house);
    assert_eq!(shown["state"], "restricted", "{shown}");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.unwrap().as_secs();
    let left = shown["until"].as_u64().unwrap() - now;
    assert!((86_000..=86_400).contains(&left), "{left}");
    house.wait_metric(
        "strowger_telegram_local_refusals_total",
        &[
            ("session", SESSION),
            ("group", "call"),
            ("why", "restricted"),
        ],
        1.0,
    );
    let pbx = Sipp::on(house.dir(), "pbx", house.peer_port()).start("uas_busy");
    let call = house.telegram.call("bobby", SESSION, "9.0.0");
    house.telegram.wait_call(&call, "discarded", s(10));
    pbx.wait(s(10)).expect_ok();
    house.assert_clean(&[]);
}

#[test]
fn a_session_keeps_its_own_pace_also_after_kill_9() {
    let mut house = House::new()
        .paced("calls_per_minute = 2, calls_burst = 2")
        .peer_trunk(&["alaw"])
        .start();
    house.wait_session_up();
    let telegram = &house.telegram;
    telegram.user("dora", "15550005", &Behaviour::declines());
    let call = |house: &House, name: &str, code: &str| {
        let pbx = Sipp::on(house.dir(), &format!("pbx-{name}"), house.peer_port());
        let pbx = pbx.to(house.sip()).number("dora").key("code", code);
        pbx.run("uac_refused")
    };
    let begun = Instant::now();
    for name in ["first", "second"] {
        call(&house, name, "486").expect_ok();
    }
    // The next token is there 30 s after the first was taken.
    let is_right = |left: u64| left <= 30 && left + begun.elapsed().as_secs() + 2 >= 30;
    let left = told(&call(&house, "third", "503"));
    assert!(is_right(left), "{left}");
    house.kill();
    house.start();
    house.wait_session_up();
    let later = told(&call(&house, "fourth", "503"));
    assert!(is_right(later) && later <= left, "{later} s after {left} s");
    assert_eq!(asked(&house, "phone.requestCall"), 2);
    house.wait_metric(
        "strowger_telegram_local_refusals_total",
        &[("session", SESSION), ("group", "call"), ("why", "bucket")],
        1.0,
    );
    house.assert_clean(&[]);
}

#[test]
fn somebody_who_was_looked_up_is_known_after_kill_9_and_an_invalid_one_is_looked_up_anew() {
    let mut house = house();
    let telegram = &house.telegram;
    telegram.user("dora", "15550005", &Behaviour::declines());
    let call = |house: &House, name: &str, number: &str, code: &str| {
        let pbx = Sipp::on(house.dir(), &format!("pbx-{name}"), house.peer_port());
        let pbx = pbx.to(house.sip()).number(number).key("code", code);
        pbx.run("uac_refused").expect_ok();
    };
    let asked = |house: &House| {
        let phones = asked(house, "contacts.resolvePhone");
        (phones, asked(house, "contacts.resolveUsername"))
    };
    for name in ["first", "second"] {
        call(&house, &format!("{name}-dora"), "dora", "486");
        call(&house, &format!("{name}-phone"), "+15550005", "486");
        call(&house, &format!("{name}-nobody"), "nosuchuser", "404");
        assert_eq!(asked(&house), (1, 2), "{name}");
        if name == "first" {
            // Look-ups are soft writes; the record of a call takes everything before it to the disk.
            let written = [("sink", "store"), ("result", "ok")];
            house.wait_metric("strowger_cdr_records_total", &written, 3.0);
            house.kill();
            house.start();
            house.wait_session_up();
        }
    }
    // The account under this name is another one now.
    let error = json!({"method": "phone.requestCall", "error": "USER_ID_INVALID"});
    house.telegram.fault(error);
    call(&house, "invalid", "dora", "470");
    call(&house, "anew", "DORA", "486");
    call(&house, "anew-phone", "+15550005", "486");
    assert_eq!(asked(&house), (2, 3));
    house.assert_clean(&[]);
}

#[test]
fn a_request_whose_answer_is_lost_leaves_no_phone_ringing() {
    let mut house = House::new()
        .setting("telegram.rpc_timeout_s = 2")
        .peer_trunk(&["alaw"])
        .start();
    house.wait_session_up();
    let telegram = &house.telegram;
    telegram.user("bobby", "15550002", &Behaviour::accepts());
    telegram.user("carol", "15550003", &Behaviour::rings());
    // One who lets it ring, one who has answered before we know of the call.
    for (known, name) in ["carol", "bobby"].into_iter().enumerate() {
        let lost = json!({"method": "phone.requestCall", "action": "no_reply_processed"});
        house.telegram.fault(lost);
        let pbx = Sipp::on(house.dir(), &format!("pbx-{name}"), house.peer_port());
        let pbx = pbx.to(house.sip()).number(name).key("code", "408");
        pbx.run("uac_refused").expect_ok();
        let call = house.telegram.next_call(known, s(5));
        let ended = house.telegram.wait_call(&call, "discarded", s(5));
        assert_eq!(ended["reason"], "missed", "{ended}");
        assert_ne!(ended["discarded_by"], "server", "{ended}");
    }
    // The next call to the same person is not taken for the lost one.
    let pbx = Sipp::on(house.dir(), "pbx-again", house.peer_port());
    let pbx = pbx.to(house.sip()).number("carol").pause(s(3));
    pbx.run("uac_cancel").expect_ok();
    let call = house.telegram.next_call(2, s(5));
    let ended = house.telegram.wait_call(&call, "discarded", s(5));
    let history = ended["history"].to_string();
    assert!(history.contains("received"), "{ended}");
    house.assert_clean(&[]);
}

#[test]
fn an_account_that_holds_one_call_at_most_is_full_until_it_has_ended() {
    let mut house = house();
    house.telegram.set(json!({"one_call_per_device": true}));
    let port = house.peer_port();
    let first = Sipp::on(house.dir(), "pbx-first", port).to(house.sip());
    let first = first.number("carol").pause(s(16)).start("uac_cancel");
    let call = house.telegram.next_call(0, s(10));
    house.telegram.wait_call(&call, "received", s(5));
    let refused = |house: &House, name: &str, code: &str| {
        let pbx = Sipp::on(house.dir(), name, crate::ports::one()).to(house.sip());
        pbx.number("bobby").key("code", code).run("uac_refused")
    };
    let verdict = refused(&house, "pbx-second", "500");
    let start = verdict.expect_ok().last_final().start();
    assert_eq!(start, "500 CALL_OCCUPY_FAILED", "{}", verdict.ladder());
    // From now on nobody asks, nor rings.
    let verdict = refused(&house, "pbx-third", "402");
    let start = verdict.expect_ok().last_final().start();
    assert_eq!(start, "402 Lines limit is exceeded");
    assert_eq!(asked(&house, "phone.requestCall"), 2);
    house.telegram.user("dora", "15550005", &Behaviour::rings());
    let called = house.telegram.call("dora", SESSION, "9.0.0");
    let ended = house.telegram.wait_call(&called, "discarded", s(5));
    assert_eq!(ended["reason"], "busy", "{ended}");
    first.wait(s(25)).expect_ok();
    house.wait_no_calls();
    // It has ended: there is room again.
    let known = house.telegram.calls();
    let pbx = Sipp::on(house.dir(), "pbx-last", port).to(house.sip());
    pbx.number("carol")
        .pause(s(2))
        .run("uac_cancel")
        .expect_ok();
    house.telegram.next_call(known, s(5));
    house.assert_clean(&[]);
}

#[test]
fn who_is_in_the_contacts_of_the_account_is_not_looked_up() {
    let mut house = House::new().peer_trunk(&["alaw"]).build();
    let telegram = &house.telegram;
    telegram.user("dora", "15550005", &Behaviour::declines());
    telegram.user("busybee", "15550006", &Behaviour::is_busy());
    telegram.patch_account(SESSION, &json!({"contacts": ["dora"]}));
    house.start();
    house.wait_session_up();
    let contacts = "kind=rpc_result&method=contacts.getContacts";
    assert_eq!(house.telegram.events(contacts, s(5)).len(), 1);
    for (number, looked_up) in [("Dora", 0), ("+15550005", 0), ("busybee", 1)] {
        let pbx = Sipp::on(house.dir(), &format!("pbx-{number}"), house.peer_port());
        let pbx = pbx.to(house.sip()).number(number).key("code", "486");
        pbx.run("uac_refused").expect_ok();
        let asked = ["contacts.resolvePhone", "contacts.resolveUsername"]
            .map(|method| asked(&house, method));
        assert_eq!(asked.iter().sum::<usize>(), looked_up, "{number}");
    }
    house.assert_clean(&[]);
}
