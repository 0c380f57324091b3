//! A PBX registers here, or fails to.

use crate::deadline::s;
use crate::house::{House, LOGIN, PASSWORD, SESSION, TRUNK};
use crate::pbx::{Sipp, Verdict};

fn house() -> House {
    let house = House::new().registering_trunk(&["alaw"]).start();
    house.wait_session_up();
    house
}

/// A REGISTER that is refused with exactly this.
fn refused(house: &House, login: &str, password: &str, expires: &str, answer: &str) -> Verdict {
    let pbx = Sipp::new(house.dir(), &format!("pbx-{}", &answer[..3])).to(house.sip());
    let code = answer.split(' ').next().unwrap();
    let verdict = pbx
        .login(login, password)
        .key("expires", expires)
        .key("code", code)
        .run("register_refused");
    assert_eq!(
        verdict.expect_ok().last_final().start(),
        answer,
        "{}",
        verdict.ladder()
    );
    assert!(
        (house
            .metrics()
            .value("strowger_registrar_bindings", &[("trunk", TRUNK)])
            .unwrap_or(0.0))
        .abs()
            < 0.1
    );
    verdict
}

#[test]
fn the_right_password_registers() {
    let mut house = house();
    house.sipp("pbx").run("register").expect_ok();
    house.wait_metric("strowger_registrar_bindings", &[("trunk", TRUNK)], 1.0);
    house.wait_metric("strowger_trunk_up", &[("trunk", TRUNK)], 1.0);
    house.assert_clean(&[]);
}

#[test]
fn an_account_is_used_only_from_where_it_may_be() {
    let house = House::new().saying("trusted_ips = [\"127.0.0.2\", \"192.0.2.0/24\"]");
    let mut house = house.registering_trunk(&["alaw"]).start();
    house.wait_session_up();
    refused(&house, LOGIN, PASSWORD, "120", "403 Untrusted IP address");
    let trusted = house.sipp("trusted").ip("127.0.0.2");
    trusted.run("register").expect_ok();
    house.wait_metric("strowger_registrar_bindings", &[("trunk", TRUNK)], 1.0);
    house.assert_clean(&[]);
}

#[test]
fn every_phone_of_an_account_rings_and_the_first_to_answer_has_the_call() {
    let mut house = house();
    let mut phones = ["quiet", "quick"].map(|name| {
        let phone = house.sipp(&format!("{name}-registers"));
        let port = phone.port();
        phone.run("register").expect_ok();
        Some(Sipp::on(house.dir(), name, port))
    });
    house.wait_metric("strowger_registrar_bindings", &[("trunk", TRUNK)], 2.0);
    let quiet = phones[0].take().unwrap().start("uas_noanswer");
    let quick = phones[1].take().unwrap().pause(s(1)).echo().start("uas");
    let mut talker = house.talker_of_own_tone("bobby", "9.0.0");
    let call = house.telegram.call("bobby", SESSION, "9.0.0");
    talker.wait_heard(s(20));
    // It rang, and was told to stop.
    quiet.wait(s(10)).expect_ok();
    talker.hang_up(&house.telegram, "bobby", &call);
    quick.wait(s(10)).expect_ok();
    house.assert_clean(&[]);
}

#[test]
fn unregistering_takes_the_binding_away() {
    let mut house = house();
    let pbx = house.sipp("pbx");
    let port = pbx.port();
    pbx.run("register").expect_ok();
    house.wait_metric("strowger_registrar_bindings", &[("trunk", TRUNK)], 1.0);
    let pbx = Sipp::on(house.dir(), "pbx-again", port)
        .to(house.sip())
        .login(LOGIN, PASSWORD);
    pbx.run("unregister").expect_ok();
    house.wait_metric("strowger_registrar_bindings", &[("trunk", TRUNK)], 0.0);
    house.assert_clean(&[]);
}

#[test]
fn a_wrong_password_is_refused_with_403_wrong_password() {
    let mut house = house();
    refused(
        &house,
        LOGIN,
        "battery-staple-1",
        "120",
        "403 Wrong password",
    );
    house.assert_clean(&[]);
}

#[test]
fn an_unknown_login_is_refused_with_404_route_not_found() {
    let mut house = house();
    refused(
        &house,
        "nosuchlogin",
        PASSWORD,
        "120",
        "404 Route not found",
    );
    house.assert_clean(&[]);
}

#[test]
fn a_short_registration_is_refused_with_423_interval_too_brief() {
    let mut house = house();
    let verdict = refused(&house, LOGIN, PASSWORD, "30", "423 Interval Too Brief");
    assert_eq!(verdict.last_final().header("Min-Expires"), Some("60"));
    house.assert_clean(&[]);
}

#[test]
fn a_trunk_whose_session_is_not_logged_in_is_refused_with_403_telegram_session_is_inactive() {
    let mut house = House::new()
        .registering_trunk(&["alaw"])
        .not_logged_in()
        .start();
    refused(
        &house,
        LOGIN,
        PASSWORD,
        "120",
        "403 Telegram session is inactive",
    );
    house.assert_clean(&[]);
}

#[test]
fn a_call_before_registration_is_refused_with_405_register_is_required_first() {
    let mut house = house();
    let verdict = house
        .sipp("pbx")
        .number("bobby")
        .key("code", "405")
        .run("uac_refused");
    assert_eq!(
        verdict.expect_ok().last_final().start(),
        "405 REGISTER is required first"
    );
    assert_eq!(house.telegram.calls(), 0);
    house.assert_clean(&[]);
}

#[test]
fn a_call_with_a_wrong_password_is_refused() {
    let mut house = house();
    let pbx = house.sipp("pbx");
    let port = pbx.port();
    pbx.run("register").expect_ok();
    let pbx = Sipp::on(house.dir(), "pbx-call", port)
        .to(house.sip())
        .login(LOGIN, "battery-staple-1");
    let verdict = pbx.number("bobby").key("code", "403").run("uac_refused");
    assert_eq!(
        verdict.expect_ok().last_final().start(),
        "403 Wrong password"
    );
    house.assert_clean(&[]);
}

/// The switch registers at a scripted registrar.
fn registers_at(scenario: &str) -> (House, Sipp) {
    let port = crate::ports::one();
    let mut house = House::new().outbound_trunk(port, &["alaw"]).build();
    let registrar = Sipp::on(house.dir(), "registrar", port)
        .login("1001", PASSWORD)
        .start(scenario);
    house.start();
    (house, registrar)
}

fn state(house: &House, state: &str) {
    let labels = [("trunk", TRUNK), ("state", state)];
    house.wait_metric("strowger_registration_state", &labels, 1.0);
}

fn attempts(house: &House, result: &str) {
    let labels = [("trunk", TRUNK), ("result", result)];
    house.wait_metric("strowger_registration_attempts_total", &labels, 1.0);
}

#[test]
fn the_switch_registers_at_a_pbx_and_answers_its_challenge() {
    let (mut house, registrar) = registers_at("registrar");
    state(&house, "registered");
    attempts(&house, "ok");
    house.wait_metric("strowger_trunk_up", &[("trunk", TRUNK)], 1.0);
    registrar.wait(s(10)).expect_ok();
    house.assert_clean(&[]);
}

#[test]
fn the_switch_registers_for_longer_when_the_pbx_wants_it() {
    let (mut house, registrar) = registers_at("registrar_423");
    state(&house, "registered");
    registrar.wait(s(10)).expect_ok();
    house.assert_clean(&[]);
}

#[test]
fn a_pbx_that_refuses_or_is_overloaded_leaves_the_trunk_down() {
    for scenario in ["registrar_403", "registrar_503"] {
        let (mut house, registrar) = registers_at(scenario);
        state(&house, "rejected");
        attempts(&house, "rejected");
        house.wait_metric("strowger_trunk_up", &[("trunk", TRUNK)], 0.0);
        let (_, said) = house.command(&["doctor"], "");
        let code = scenario.strip_prefix("registrar_").unwrap();
        let line = format!("is not up; the last error on it was {code}");
        assert!(said.contains(&line), "{said}");
        registrar.wait(s(10)).expect_ok();
        house.assert_clean(&["not registered at the PBX"]);
    }
}
