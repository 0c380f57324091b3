//! What a PBX may do within a call: reliable ringing, session timers, hold, another media port, transfer.

use crate::deadline::{s, until};
use crate::house::{House, HouseBuilder, LOGIN, PASSWORD, SESSION};
use crate::pbx::{Sipp, Verdict};
use crate::talk::hears_himself;
use crate::telegram::Behaviour;

/// A house with a PBX that is known by its address.
fn house() -> House {
    started(transferring(false))
}

/// A script of that PBX, which calls bobby.
fn caller(house: &House) -> Sipp {
    Sipp::on(house.dir(), "pbx", house.peer_port())
        .to(house.sip())
        .number("bobby")
}

#[test]
fn a_pbx_that_requires_reliable_ringing_gets_it() {
    let mut house = house();
    let talker = house.talker_of_own_tone("bobby", "9.0.0");
    let verdict = caller(&house).pause(s(4)).echo().run("uac_prack");
    verdict.expect_ok();
    let ringing = verdict
        .messages
        .iter()
        .find(|m| !m.sent && m.start().starts_with("180"))
        .unwrap_or_else(|| panic!("no 180\n{}", verdict.ladder()));
    assert_eq!(ringing.header("Require"), Some("100rel"));
    talker.finish();
    house.assert_clean(&[]);
}

#[test]
fn a_pbx_may_describe_its_media_reliably_before_it_answers() {
    let mut house = house();
    // Its 200 holds no description: that stood in the 183, which wants a PRACK.
    let pbx = Sipp::on(house.dir(), "pbx", house.peer_port())
        .pause(s(1))
        .echo()
        .start("uas_prack");
    hears_himself(&mut house, pbx);
}

#[test]
fn an_interval_that_is_too_small_is_refused_with_the_smallest() {
    let mut house = house();
    let verdict = caller(&house).run("uac_timer_small");
    let refusal = verdict.expect_ok().last_final();
    assert!(refusal.start().starts_with("422"), "{}", verdict.ladder());
    assert_eq!(refusal.header("Min-SE"), Some("90"));
    house.assert_clean(&[]);
}

#[test]
fn a_pbx_refreshes_its_call() {
    let mut house = house();
    let talker = house.talker_of_own_tone("bobby", "9.0.0");
    let verdict = caller(&house).pause(s(4)).echo().run("uac_timer");
    let refreshed = verdict.expect_ok().messages.iter().rev().find(|m| {
        !m.sent
            && m.header("CSeq")
                .is_some_and(|cseq| cseq.ends_with("UPDATE"))
    });
    let refreshed = refreshed.and_then(|m| m.header("Session-Expires"));
    assert_eq!(refreshed, Some("90;refresher=uac"), "{}", verdict.ladder());
    talker.finish();
    house.assert_clean(&[]);
}

#[test]
fn a_pbx_that_wants_a_longer_interval_gets_it() {
    let mut house = house();
    let pbx = Sipp::on(house.dir(), "pbx", house.peer_port())
        .echo()
        .start("uas_422");
    hears_himself(&mut house, pbx);
}

#[test]
fn a_call_is_refreshed_before_it_expires() {
    let mut house = house();
    let pbx = Sipp::on(house.dir(), "pbx", house.peer_port())
        .echo()
        .start("uas_timer");
    let mut talker = house.talker_of_own_tone("bobby", "9.0.0");
    let call = house.telegram.call("bobby", SESSION, "9.0.0");
    talker.wait_heard(s(20));
    // 90 s are granted, so that after 45 s it is time.
    until("the refresh", s(60), || {
        let mut messages = pbx.messages().into_iter();
        messages.find(|m| {
            let in_dialog = m.header("To").is_some_and(|to| to.contains("tag="));
            !m.sent && in_dialog && m.start().starts_with("INVITE")
        })
    });
    talker.hang_up(&house.telegram, "bobby", &call);
    pbx.wait(s(10)).expect_ok();
    house.assert_clean(&[]);
}

/// The direction that a description in a 2xx to this CSeq gives.
fn answered_direction(verdict: &Verdict, cseq: &str) -> String {
    let answer = verdict
        .messages
        .iter()
        .find(|m| !m.sent && m.start().starts_with("200") && m.header("CSeq") == Some(cseq));
    let answer = answer.unwrap_or_else(|| panic!("no answer\n{}", verdict.ladder()));
    let directions = ["sendrecv", "sendonly", "recvonly", "inactive"];
    let mut lines = answer.text.lines();
    let direction =
        lines.find_map(|line| line.strip_prefix("a=").filter(|a| directions.contains(a)));
    direction.unwrap_or("none").to_owned()
}

/// A PBX that holds longer than RTP may be missing, and resumes by a re-INVITE without SDP.
fn hold(address: &str, direction: &str, expected: &str) {
    let mut house = house();
    let mut talker = house.talker_of_own_tone("bobby", "9.0.0");
    let pbx = caller(&house)
        .key("address", address)
        .key("direction", direction)
        .pause(s(3))
        .echo()
        .start("uac_hold_for");
    let packets = || {
        let labels = [("leg", "sip"), ("direction", "out")];
        house
            .metrics()
            .sum_of("strowger_rtp_packets_total", &labels)
    };
    until("the hold", s(20), || {
        let messages = pbx.messages();
        let mut messages = messages.iter().filter(|m| m.sent);
        messages
            .any(|m| m.header("CSeq") == Some("3 ACK"))
            .then_some(())
    });
    let state = [("state", "held")];
    let counted = || house.metrics().sum_of("strowger_calls_active", &state);
    assert!((counted() - 1.0).abs() < 0.1, "the call is not held");
    // Those that were on their way still count.
    crate::deadline::within(s(2), || None::<()>);
    let held = packets();
    crate::deadline::within(s(5), || None::<()>);
    assert!(
        (packets() - held).abs() < 0.5,
        "the PBX is spoken to on hold"
    );
    let verdict = pbx.wait(s(30));
    verdict.expect_ok();
    assert!(counted() < 0.1, "the call is held for ever");
    assert!(packets() > held + 50.0, "nothing came after the hold");
    assert_eq!(answered_direction(&verdict, "1 INVITE"), "sendrecv");
    assert_eq!(answered_direction(&verdict, "3 INVITE"), expected);
    assert_eq!(answered_direction(&verdict, "4 INVITE"), "sendrecv");
    talker.wait_heard(s(1));
    // Three seconds before the hold are not enough: the tone has to come back.
    let heard = talker.finish()["tone_seconds"].as_f64().unwrap();
    assert!(heard > 3.5, "{heard} s of the tone");
    house.assert_clean(&[]);
}

#[test]
fn a_held_call_stays_up_without_audio() {
    hold("127.0.0.1", "sendonly", "recvonly");
}

#[test]
fn a_call_held_as_in_rfc_2543_stays_up_without_audio() {
    hold("0.0.0.0", "sendrecv", "recvonly");
}

#[test]
fn a_call_held_both_ways_stays_up_without_audio() {
    hold("0.0.0.0", "inactive", "inactive");
}

#[test]
fn a_called_pbx_may_hold_and_offer_nothing() {
    for script in ["uas_hold", "uas_late_reinvite"] {
        let mut house = house();
        let pbx = Sipp::on(house.dir(), "pbx", house.peer_port())
            .echo()
            .start(script);
        let mut talker = house.talker_of_own_tone("bobby", "9.0.0");
        let call = house.telegram.call("bobby", SESSION, "9.0.0");
        let reinvites = if script == "uas_hold" { 2 } else { 1 };
        until("the re-INVITEs", s(20), || {
            let messages = pbx.messages();
            let acks = messages
                .iter()
                .filter(|m| m.sent && m.start().starts_with("ACK"));
            (acks.count() >= reinvites).then_some(())
        });
        talker.wait_heard(s(20));
        talker.hang_up(&house.telegram, "bobby", &call);
        pbx.wait(s(10)).expect_ok();
        house.assert_clean(&[]);
    }
}

#[test]
fn a_pbx_may_change_its_port_and_leave_the_offer_to_us() {
    for script in ["uac_update", "uac_reinvite_port", "uac_late_offer"] {
        let mut house = house();
        let mut talker = house.talker_of_own_tone("bobby", "9.0.0");
        let verdict = caller(&house).pause(s(4)).echo().run(script);
        verdict.expect_ok();
        talker.wait_heard(s(1));
        talker.finish();
        house.assert_clean(&[]);
    }
}

#[test]
fn a_text_message_is_refused_only_when_it_is_known_who_asks() {
    let mut house = House::new().registering_trunk(&["alaw"]).start();
    let message = |sipp: Sipp, code: &str| {
        let verdict = sipp
            .to(house.sip())
            .number("bobby")
            .key("code", code)
            .run("message_refused");
        verdict.expect_ok();
        verdict
    };
    let known = Sipp::new(house.dir(), "known").login(LOGIN, PASSWORD);
    let known = message(known, "405");
    assert!(known.received("401"), "{}", known.ladder());
    let allow = known.last_final().header("Allow").unwrap();
    assert!(
        allow.contains("INVITE") && !allow.contains("MESSAGE"),
        "{allow}"
    );
    let wrong = Sipp::new(house.dir(), "wrong").login(LOGIN, "a-wrong-password");
    message(wrong, "403");
    house.assert_clean(&[]);
}

#[test]
fn the_record_names_the_caller_that_the_pbx_asserts_and_who_passed_the_call_on() {
    let mut house = house();
    house
        .telegram
        .user("bobby", "15550002", &Behaviour::declines());
    let verdict = caller(&house).key("code", "486").run("uac_identified");
    verdict.expect_ok();
    house.wait_no_calls();
    house.stop();
    let records = house.records();
    assert_eq!(records[0]["from"], "1007", "{records:#?}");
    assert_eq!(records[0]["diverted_from"], "1008", "{records:#?}");
}

/// A house whose PBX is known by its address and may transfer, or not.
fn transferring(may: bool) -> HouseBuilder {
    let house = House::new().saying(&format!("refer = {may}"));
    house.peer_trunk(&["alaw"])
}

fn started(house: HouseBuilder) -> House {
    let house = house.start();
    house.wait_session_up();
    house
}

#[test]
fn a_transfer_that_cannot_be_is_refused_and_so_is_the_next_one() {
    // The two ports of the call itself are all there are.
    let crowded = transferring(true).rtp_ports(2);
    for (house, code, phrase, to) in [
        (transferring(false), "405", None, "601@127.0.0.1"),
        (
            transferring(true),
            "403",
            Some("Transfer is not permitted"),
            "601@203.0.113.7",
        ),
        (crowded, "503", Some("No RTP ports"), "601@127.0.0.1"),
    ] {
        let mut house = started(house);
        let talker = house.talker_of_own_tone("bobby", "9.0.0");
        let verdict = caller(&house)
            .echo()
            .key("code", code)
            .key("refer_to", to)
            .run("uac_refer_refused");
        verdict.expect_ok();
        let is_told = phrase.is_none_or(|phrase| verdict.received(&format!("{code} {phrase}")));
        assert!(is_told, "{}", verdict.ladder());
        talker.finish();
        let failed = [("kind", "blind"), ("result", "failed")];
        let count = if phrase.is_some() { 2.0 } else { 0.0 };
        house.wait_metric("strowger_call_transfers_total", &failed, count);
        house.assert_clean(&[]);
    }
}

#[test]
fn a_call_of_the_pbx_takes_the_place_of_another() {
    let mut house = started(transferring(true));
    let talker = house.talker_of_own_tone("bobby", "9.0.0");
    let verdict = caller(&house).pause(s(4)).echo().run("uac_replaces");
    verdict.expect_ok();
    for refused in [
        "481 Call Does Not Exist",
        "486 Transfer is not possible now",
    ] {
        assert!(verdict.received(refused), "{}", verdict.ladder());
    }
    talker.finish();
    house.wait_no_calls();
    for (result, count) in [("ok", 1.0), ("failed", 2.0)] {
        let labels = [("kind", "attended"), ("result", result)];
        house.wait_metric("strowger_call_transfers_total", &labels, count);
    }
    house.stop();
    let records = house.records();
    let legs = records.last().unwrap()["legs"].clone();
    let reasons: Vec<&str> = (0..3).filter_map(|n| legs[n]["reason"].as_str()).collect();
    assert_eq!(
        reasons,
        ["transferred", "normal_clearing", "normal_clearing"]
    );
}
