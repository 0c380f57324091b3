//! A PBX that speaks IPv6 alone, beside those of IPv4.

use crate::deadline::s;
use crate::house::{House, LOGIN, PASSWORD, SESSION, TRUNK};
use crate::pbx::{SipMessage, Sipp};

/// A call by IPv6, signalling and voice, whose PBX has an echo; what the PBX received.
fn by_ipv6(tcp: bool) {
    let transport = if tcp { "tcp" } else { "udp" };
    let house = House::new().by_ipv6().by(transport);
    let mut house = house.peer_trunk(&["alaw"]).start();
    house.wait_session_up();
    let pbx = |name: &str| {
        let pbx = Sipp::on(house.dir(), name, house.peer_port())
            .ip("::1")
            .echo();
        if tcp { pbx.by_tcp() } else { pbx }
    };
    let local = format!("[::1]:{}", house.sip().port());

    let talker = house.talker_of_own_tone("bobby", "9.0.0");
    let verdict = pbx("calls")
        .to(house.sip_by_ipv6())
        .number("bobby")
        .pause(s(4))
        .run("uac");
    verdict.expect_ok();
    talker.finish();
    let answers = |m: &SipMessage| !m.sent && m.text.contains("c=IN IP6 ::1");
    let contact = format!("<sip:{local}");
    let named = |m: &SipMessage| m.header("Contact").is_some_and(|it| it.contains(&contact));
    let answer = verdict.messages.iter().find(|m| answers(m));
    assert!(answer.is_some_and(named), "{answer:?}");

    let called = pbx("called").start("uas");
    let mut talker = house.talker_of_own_tone("bobby", "9.0.0");
    let call = house.telegram.call("bobby", SESSION, "9.0.0");
    talker.wait_heard(s(20));
    talker.hang_up(&house.telegram, "bobby", &call);
    let verdict = called.wait(s(10));
    verdict.expect_ok();
    let via = format!("{} [::1]:", transport.to_uppercase());
    let invite = verdict
        .messages
        .iter()
        .find(|m| m.start().starts_with("INVITE"));
    let invite = invite.unwrap();
    for part in [via.as_str(), "c=IN IP6 ::1\n", &contact] {
        assert!(invite.text.contains(part), "{part} in {}", invite.text);
    }

    // IPv4 is served beside it.
    let sipp = Sipp::new(house.dir(), "beside").to(house.sip());
    sipp.limit(s(5)).run("options").expect_ok();
    house.assert_clean(&[]);
}

#[test]
fn a_pbx_and_a_telegram_user_talk_both_ways_by_ipv6() {
    by_ipv6(false);
}

#[test]
fn a_pbx_and_a_telegram_user_talk_both_ways_by_ipv6_over_tcp() {
    by_ipv6(true);
}

/// bobby calls, hears his own voice from the PBX, and hangs up.
fn is_called(house: &mut House, pbx: Sipp, script: &str) {
    let pbx = pbx.ip("::1").pause(s(1)).echo().start(script);
    let mut talker = house.talker_of_own_tone("bobby", "13.0.0");
    let call = house.telegram.call("bobby", SESSION, "13.0.0");
    talker.wait_heard(s(20));
    talker.hang_up(&house.telegram, "bobby", &call);
    pbx.wait(s(10)).expect_ok();
    house.assert_clean(&[]);
}

#[test]
fn a_pbx_registers_by_ipv6_and_is_called() {
    let house = House::new().by_ipv6().saying("trusted_ips = \"::1/128\"");
    let mut house = house.registering_trunk(&["alaw"]).start();
    house.wait_session_up();
    let pbx = Sipp::new(house.dir(), "registers").ip("::1");
    let port = pbx.port();
    let pbx = pbx.to(house.sip_by_ipv6()).login(LOGIN, PASSWORD);
    pbx.run("register").expect_ok();
    house.wait_metric("strowger_registrar_bindings", &[("trunk", TRUNK)], 1.0);
    let pbx = Sipp::on(house.dir(), "called", port);
    is_called(&mut house, pbx, "uas");
}

#[test]
fn we_register_at_a_pbx_by_ipv6_and_call_it() {
    let port = crate::ports::one();
    let house = House::new().by_ipv6();
    let mut house = house.outbound_trunk(port, &["alaw"]).build();
    let registrar = Sipp::on(house.dir(), "registrar", port);
    let registrar = registrar.ip("::1").login("1001", PASSWORD);
    let registrar = registrar.start("registrar");
    house.start();
    house.wait_metric("strowger_trunk_up", &[("trunk", TRUNK)], 1.0);
    house.wait_session_up();
    registrar.wait(s(10)).expect_ok();
    let pbx = Sipp::on(house.dir(), "called", port);
    is_called(&mut house, pbx.login("1001", PASSWORD), "uas_auth");
}
