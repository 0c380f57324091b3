//! The list: every codec and every cause, and a provider that is a proxy.

use serde_json::{Value, json};

use super::{Kind, asterisk, asterisk_calls, telegram_calls};
use crate::deadline::{s, until};
use crate::house::{House, PASSWORD, SESSION};
use crate::pbx::{Kamailio, Phone};
use crate::telegram::Behaviour;

#[test]
fn asterisk_and_a_telegram_user_talk_g722() {
    asterisk_calls(Kind::ByAddress, "13.0.0", "g722");
    telegram_calls(Kind::ByAddress, "9.0.0", "g722");
}

#[test]
fn asterisk_and_a_telegram_user_talk_l16() {
    asterisk_calls(Kind::ByAddress, "9.0.0", "l16");
    telegram_calls(Kind::ByAddress, "13.0.0", "l16");
}

#[test]
fn asterisk_and_a_telegram_user_talk_opus_and_mulaw_both_ways() {
    telegram_calls(Kind::ByAddress, "13.0.0", "opus");
    asterisk_calls(Kind::Registers, "9.0.0", "mulaw");
}

/// Asterisk calls people who cannot be reached, and gets the exact status line.
#[test]
fn asterisk_is_told_the_exact_cause() {
    let (mut house, asterisk, endpoint) = asterisk(Kind::ByAddress, "alaw", "600");
    house.wait_session_up();
    let telegram = &house.telegram;
    telegram.user("dora", "15550005", &Behaviour::declines());
    telegram.account(json!({"username": "private", "phone": "15550007", "scripted": true, "privacy": {"PhoneCall": "nobody"}}));
    telegram.user("frank", "15550008", &Behaviour::rings());
    asterisk.trace();
    let told = |number: &str, line: &str| {
        asterisk.cli(&format!(
            "channel originate PJSIP/{number}@{endpoint} application Echo"
        ));
        until(format_args!("{line} for {number}"), s(15), || {
            let log = asterisk.log();
            let mut lines = log.lines().map(str::trim);
            lines.any(|found| found == line).then_some(())
        });
    };
    told("dora", "SIP/2.0 486 User declined the call");
    told("private", "SIP/2.0 403 USER_PRIVACY_RESTRICTED");
    told("nosuchuser", "SIP/2.0 404 USERNAME_NOT_OCCUPIED");
    told("+19995550000", "SIP/2.0 404 Not Found");
    house
        .telegram
        .fault(json!({"method": "phone.requestCall", "error": "FLOOD_WAIT_7"}));
    told("frank", "SIP/2.0 503 Too Many Requests: retry after 7");
    house.assert_clean(&[]);
}

/// Telegram users call numbers at which Asterisk refuses: the records have its own code and phrase.
#[test]
fn the_causes_of_asterisk_are_passed_on_as_they_are() {
    let (mut house, _asterisk, _) = asterisk(Kind::ByAddress, "alaw", "620");
    house.wait_session_up();
    let table = [
        ("to606", 486, "Busy Here", "busy"),
        ("to607", 503, "Service Unavailable", "missed"),
        ("to611", 404, "Not Found", "missed"),
        ("to612", 403, "Forbidden", "missed"),
    ];
    for ((user, _, _, reason), phone) in table.iter().zip(15_550_010..) {
        let behaviour = Behaviour::accepts();
        house.telegram.user(user, &phone.to_string(), &behaviour);
        let call = house.telegram.call(user, SESSION, "9.0.0");
        let ended = house.telegram.wait_call(&call, "discarded", s(10));
        assert_eq!(ended["reason"], *reason, "{user}: {ended}");
    }
    // "Missed" for a caller who was refused is meant: only busy people are busy.
    house.assert_clean(&["discard_reason"]);
    house.stop();
    let records = house.records();
    for (user, code, phrase, _) in table {
        let is_its = |leg: &&Value| leg["code"] == code && leg["phrase"] == phrase;
        let mut legs = records
            .iter()
            .flat_map(|record| record["legs"].as_array().into_iter().flatten());
        let both = legs.by_ref().filter(is_its).count();
        assert_eq!(both, 2, "{user}, {code} {phrase}: {records:#?}");
    }
}

/// A provider that is a proxy: it challenges the INVITE with 407 and stays in the way of everything that follows.
#[test]
fn a_provider_that_is_kamailio_challenges_the_call_and_stays_in_its_way() {
    let port = crate::ports::one();
    let mut house = House::new()
        .number("2002")
        .outbound_trunk(port, &["alaw"])
        .build();
    let (ours, theirs) = (format!("1001:{PASSWORD}"), format!("2002:{PASSWORD}"));
    let next = house.sip().to_string();
    let args = ["--user", &ours, "--user", &theirs, "--next", &next];
    let kamailio = Kamailio::on(house.dir(), port, &args);
    house.start();
    let labels = [("trunk", "office"), ("state", "registered")];
    house.wait_metric("strowger_registration_state", &labels, 1.0);
    house.wait_session_up();
    let mut phone = house.phone_at(&Phone {
        server: kamailio.address(),
        login: "2002".into(),
        registers: true,
        port: 0,
        ..house.phone_settings("pcma")
    });

    // A Telegram user calls out, and hangs up.
    let mut bobby = house.bobby("13.0.0");
    let call = house.telegram.call("bobby", SESSION, "13.0.0");
    bobby.wait_heard(s(25));
    let invites = kamailio.seen("INVITE");
    let challenged = |user: &str| {
        invites
            .iter()
            .any(|line| line.contains(&format!("auth {user}")))
    };
    assert!(challenged("<null>") && challenged("1001"), "{invites:?}");
    bobby.hang_up(&house.telegram, "bobby", &call);
    phone.wait_closed();
    let byes = kamailio.seen("BYE");
    assert!(
        byes.len() == 1 && byes[0].contains(&format!("route <sip:127.0.0.1:{port}")),
        "the BYE goes by the recorded route: {byes:?}"
    );

    // The provider sends a call for a number of ours, and the phone hangs up.
    let mut bobby = house.talker("bobby");
    phone.dial("bobby");
    phone.wait_established();
    bobby.wait_heard(s(25));
    phone.hang_up();
    bobby.finish();
    let byes = kamailio.seen("BYE");
    assert_eq!(byes.len(), 2, "{byes:?}");
    house.assert_clean(&[]);
}
