//! Neighbours that hold back when they are asked to (RFC 7339): a PBX asks us, and we ask a PBX.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::deadline::{s, until};
use crate::house::{BRANCH, House, SESSION};
use crate::pbx::Sipp;
use crate::telegram::Behaviour;

/// The `oc` parameters of a Via, by name.
fn oc(via: &str) -> [Option<&str>; 4] {
    ["oc", "oc-algo", "oc-validity", "oc-seq"].map(|name| {
        let mut params = via
            .split(';')
            .map(|it| it.split_once('=').unwrap_or((it, "")));
        params
            .find(|(have, _)| *have == name)
            .map(|(_, value)| value)
    })
}

/// Calls of bobby's to the house, each until its end; what became of it for him.
fn call(house: &House) -> String {
    let call = house.telegram.call("bobby", SESSION, "9.0.0");
    let ended = house.telegram.wait_call(&call, "discarded", s(10));
    ended["reason"].as_str().unwrap().to_owned()
}

#[test]
fn a_pbx_that_asks_for_fewer_calls_gets_none_and_the_next_one_is_called() {
    let house = House::new().peer_trunk(&["alaw"]).second_pbx(200);
    let mut house = house.start();
    house.wait_session_up();
    house
        .telegram
        .user("bobby", "15550002", &Behaviour::accepts());
    let asks = |name: &str, oc: &str, validity: &str, seq: &str| {
        let pbx = Sipp::on(house.dir(), name, house.peer_port());
        let pbx = pbx.key("oc", oc).key("validity", validity);
        pbx.key("seq", seq).start("uas_oc")
    };
    let next = |name: &str| Sipp::on(house.dir(), name, house.branch_port()).start("uas_busy");
    // It is called, and asks for nothing more for fifteen seconds.
    let (first, second) = (asks("asks", "100", "15000", "10.5"), next("next"));
    let began = std::time::Instant::now();
    assert_eq!(call(&house), "busy");
    first.wait(s(10)).expect_ok();
    let asked = std::time::Instant::now();
    second.wait(s(10)).expect_ok();
    // Meanwhile only the other one is.
    let (silent, second) = (
        Sipp::on(house.dir(), "silent", house.peer_port()).start("uas_busy"),
        next("next-again"),
    );
    assert_eq!(call(&house), "busy");
    second.wait(s(10)).expect_ok();
    assert!(began.elapsed() < s(14), "the test is too slow to tell");
    let heard = silent.messages();
    assert!(heard.is_empty(), "{heard:?}");
    // When it is over that one is called again, without anybody having said so.
    until("it to be over", s(20), || {
        (asked.elapsed() >= s(15)).then_some(())
    });
    let second = next("next-at-last");
    assert_eq!(call(&house), "busy");
    silent.wait(s(10)).expect_ok();
    second.wait(s(10)).expect_ok();
    let sent = [
        ("direction", "out"),
        ("kind", "request"),
        ("method", "INVITE"),
    ];
    let sent = house.metrics().sum_of("strowger_sip_messages_total", &sent);
    assert!((sent - 5.0).abs() < 0.5, "{sent} INVITEs are counted");
    house.assert_clean(&[]);
    house.stop();
    let records = house.records();
    let reasons: Vec<Vec<&Value>> = records
        .iter()
        .map(|record| {
            let legs = record["legs"].as_array().unwrap().iter();
            let legs = legs.filter(|leg| leg["kind"] == "sip");
            legs.map(|leg| &leg["reason"]).collect()
        })
        .collect();
    let held: Vec<bool> = reasons
        .iter()
        .map(|legs| legs.iter().any(|reason| **reason == "sip_held_back"))
        .collect();
    let held = held.iter().filter(|held| **held).count();
    assert_eq!(held, 1, "{reasons:?}");
}

#[test]
fn a_pbx_that_offers_to_hold_back_is_told_how_much_and_when_it_is_over() {
    let mut house = House::new()
        .peer_trunk(&["alaw"])
        .setting("overload.delay_ms = 0")
        .setting("overload.cpu_percent = 0")
        .start();
    house.wait_session_up();
    let pbx = |name: &str, scenario: &str, number: &str, code: &str| -> String {
        let pbx = Sipp::on(house.dir(), name, house.peer_port()).to(house.sip());
        let verdict = pbx.number(number).key("code", code).run(scenario);
        let refusal = verdict.expect_ok().last_final();
        let via = refusal.header("Via").unwrap().to_owned();
        // Who holds back is not told to stay away.
        let is_asked = oc(&via)[0].is_some_and(|percent| percent != "0");
        let stays_away = refusal.header("Retry-After").is_some();
        assert_eq!(stays_away, code == "503" && !is_asked, "{}", refusal.text);
        via
    };
    let seq = |via: &str| oc(via)[3].unwrap().parse::<f64>().unwrap();
    // Nothing is asked for, but it is said that it would be.
    let before = pbx("calm", "uac_oc", "nobody", "404");
    let [value, algo, validity, _] = oc(&before);
    assert_eq!(
        (value, algo, validity),
        (Some("0"), Some("\"loss\""), Some("0")),
        "{before}"
    );
    // Who does not offer it hears nothing of it.
    let silent = pbx("plain", "uac_refused", "nobody", "404");
    assert_eq!(oc(&silent), [None; 4], "{silent}");

    let file = house.dir().join("strowger.toml");
    let calm = fs::read_to_string(&file).unwrap();
    let settings = |text: &str| {
        fs::write(&file, text).unwrap();
        let killed = Command::new("kill")
            .args(["-HUP", &house.id().to_string()])
            .status();
        assert!(killed.unwrap().success());
    };
    // More memory than there is.
    settings(&format!("{calm}overload.memory_mib = 16777216\n"));
    house.wait_metric("strowger_overloaded", &[], 1.0);
    let busy = pbx("busy", "uac_oc", "nobody", "503");
    let [value, algo, validity, _] = oc(&busy);
    assert_eq!(
        (value, algo, validity),
        (Some("100"), Some("\"loss\""), Some("500")),
        "{busy}"
    );
    let silent = pbx("plain-busy", "uac_refused", "nobody", "503");
    assert_eq!(oc(&silent), [None; 4], "{silent}");
    settings(&calm);
    house.wait_metric("strowger_overloaded", &[], 0.0);
    let after = pbx("after", "uac_oc", "nobody", "404");
    assert_eq!(oc(&after)[0], Some("0"), "{after}");
    assert!(seq(&before) < seq(&busy) && seq(&busy) < seq(&after));
    house.assert_clean(&[]);
}

#[test]
fn who_calls_a_pbx_that_asked_for_fewer_calls_is_told_so() {
    let mut house = House::new()
        .peer_trunk(&["alaw"])
        .branch_saying("failure_limit = 1")
        .leaves_by(&["alaw"])
        .start();
    let refused = |name: &str, code: &str| {
        let pbx = Sipp::on(house.dir(), name, house.peer_port());
        let pbx = pbx.to(house.sip()).number("6001").key("code", code);
        let verdict = pbx.run("uac_refused");
        verdict.expect_ok().last_final().start().to_owned()
    };
    let branch = Sipp::on(house.dir(), "branch", house.branch_port());
    let branch = branch.key("oc", "100").key("validity", "60000");
    let branch = branch.key("seq", "1764358800.12345").start("uas_oc");
    assert_eq!(refused("first", "480"), "480 Temporarily Unavailable");
    branch.wait(s(10)).expect_ok();
    for name in ["second", "third"] {
        assert_eq!(refused(name, "503"), "503 PBX is overloaded");
    }
    // Calls that were never sent say nothing of the trunk.
    let blocked = house
        .metrics()
        .value("strowger_trunk_blocked", &[("trunk", BRANCH)]);
    assert_eq!(blocked, Some(0.0));
    house.assert_clean(&[]);
}
