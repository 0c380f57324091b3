//! Calls from one PBX to another: only where a route says so, and whole then.

use crate::deadline::s;
use crate::house::{BRANCH, HEARD, House, PBX_TONE, TELEGRAM_TONE, TRUNK};
use crate::pbx::{Sipp, Verdict};
use crate::talk::{ALAW, G722, MULAW, OPUS};

/// Who hangs up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ends {
    Caller,
    Called,
}

/// Two phones call through the house and hear each other's tone; what was counted must agree.
fn both_hear_each_other(from: [&str; 3], to: [&str; 3], ends: Ends) {
    let mut house = House::new()
        .peer_trunk(&[from[0]])
        .leaves_by(&[to[0]])
        .start();
    let mut caller = house.phone(from[1]);
    let mut called = house.branch_phone(to[1]);
    caller.dial("6001");
    called.wait_established();
    caller.wait_established();
    for codec in [from, to] {
        let labels = [("leg", "sip"), ("direction", "out"), ("codec", codec[2])];
        let packets = if from == to { 300.0 } else { 150.0 };
        house.wait_metric_above("strowger_rtp_packets_total", &labels, packets);
    }
    match ends {
        Ends::Caller => caller.hang_up(),
        Ends::Called => called.hang_up(),
    }
    match ends {
        Ends::Caller => called.wait_closed(),
        Ends::Called => caller.wait_closed(),
    };
    called.assert_heard(PBX_TONE, HEARD);
    caller.assert_heard(TELEGRAM_TONE, HEARD);
    house.assert_clean(&[]);
    let metrics = house.metrics();
    let labels = [
        ("direction", "sip_to_sip"),
        ("trunk", TRUNK),
        ("result", "answered"),
    ];
    assert_eq!(
        metrics.value("strowger_calls_completed_total", &labels),
        Some(1.0)
    );
    let transcoded = metrics.sum("strowger_transcode_frames_total");
    assert_eq!(
        transcoded > 150.0,
        from != to,
        "{transcoded} frames transcoded"
    );
    assert!(metrics.sum("strowger_calls_one_way_total") < 0.5);
    for trunk in [TRUNK, BRANCH] {
        let labels = [("trunk", trunk)];
        assert_eq!(
            metrics.value("strowger_trunk_lines_in_use", &labels),
            Some(0.0)
        );
    }
    house.stop();
    let records = house.records();
    assert_eq!(records.len(), 1, "{records:#?}");
    let record = &records[0];
    assert_eq!(record["direction"], "sip_to_sip", "{record}");
    assert_eq!(
        (&record["trunk"], &record["to_trunk"]),
        (&TRUNK.into(), &BRANCH.into())
    );
    assert_eq!(
        (&record["session"], &record["to"]),
        (&"".into(), &"6001".into())
    );
    assert_eq!(record["outcome"], "answered", "{record}");
    for (leg, via) in [(0, TRUNK), (1, BRANCH)] {
        assert_eq!(record["legs"][leg]["via"], via, "{record}");
        assert_eq!(record["legs"][leg]["code"], 200, "{record}");
    }
}

#[test]
fn two_pbxs_with_a_codec_in_common_hear_each_other_untouched() {
    both_hear_each_other(ALAW, ALAW, Ends::Caller);
}

#[test]
fn opus_passes_untouched_from_pbx_to_pbx() {
    both_hear_each_other(OPUS, OPUS, Ends::Called);
}

#[test]
fn alaw_becomes_mulaw_on_the_way() {
    both_hear_each_other(ALAW, MULAW, Ends::Called);
}

#[test]
fn g722_becomes_opus_on_the_way() {
    both_hear_each_other(G722, OPUS, Ends::Caller);
}

#[test]
fn the_codec_both_speak_is_found_whatever_the_orders() {
    let mut house = House::new()
        .peer_trunk(&["alaw", "mulaw"])
        .leaves_by(&["opus", "mulaw"])
        .start();
    let mut caller = house.phone("pcma,pcmu");
    let mut called = house.branch_phone("opus,pcmu");
    caller.dial("6001");
    called.wait_established();
    caller.wait_established();
    let mulaw = [("leg", "sip"), ("direction", "out"), ("codec", "pcmu")];
    house.wait_metric_above("strowger_rtp_packets_total", &mulaw, 100.0);
    caller.hang_up();
    called.wait_closed();
    house.assert_clean(&[]);
    assert!(house.metrics().sum("strowger_transcode_frames_total") < 0.5);
}

#[test]
fn a_key_pressed_in_one_pbx_is_heard_in_the_other() {
    let mut house = House::new()
        .peer_trunk(&["alaw"])
        .leaves_by(&["mulaw"])
        .start();
    let mut caller = house.phone("pcma");
    let mut called = house.branch_phone("pcmu");
    caller.dial("6001");
    called.wait_established();
    caller.wait_established();
    let out = [("leg", "sip"), ("direction", "out")];
    house.wait_metric_above("strowger_rtp_packets_total", &out, 50.0);
    caller.press('7');
    let heard = called.wait("CALL_DTMF_START", s(10));
    assert_eq!(heard["param"], "7", "{heard}");
    caller.hang_up();
    called.wait_closed();
    house.assert_clean(&[]);
}

#[test]
fn a_number_chooses_its_route_which_rewrites_it_and_its_caller() {
    let mut house = House::new()
        .peer_trunk(&["alaw"])
        .leaves_by(&["alaw"])
        .records("match = '^00'\nrules = '^00=+'\ncaller_rules = '.*=4930100'\nquota = 'short'\n")
        .records("[[quota]]\nname = 'short'\ncall_seconds = 2\n")
        .start();
    house.wait_session_up();
    let called = called_hangs_up(&house, "0049301234567");
    let messages = called.messages.iter();
    let mut invites = messages.filter(|message| message.start().starts_with("INVITE"));
    let invite = invites.next().unwrap();
    assert!(
        invite.start().starts_with("INVITE sip:+49301234567@"),
        "{}",
        invite.start()
    );
    let from = invite.header("From").unwrap_or_default();
    assert!(from.contains("sip:4930100@"), "{from}");
    // What the way does not take goes to Telegram, where nobody has that number.
    let refused = Sipp::on(house.dir(), "pbx", house.peer_port())
        .to(house.sip())
        .number("6001")
        .key("code", "404")
        .run("uac_refused");
    assert_eq!(refused.expect_ok().last_final().start(), "404 Not Found");
    let used = house.expect_command(&["quota", "show"], "");
    assert!(
        used.contains(&format!("transit/{TRUNK}/{BRANCH}")),
        "{used}"
    );
    house.assert_clean(&[]);
    house.stop();
    let records = house.records();
    let passed = records.iter().find(|it| it["direction"] == "sip_to_sip");
    let passed = passed.expect("the call that was passed on");
    for (column, value) in [
        ("rule", "^00"),
        ("dialed", "0049301234567"),
        ("codec_sip", "pcma"),
    ] {
        assert_eq!(passed[column], value, "{passed:#}");
    }
    let directions: Vec<_> = records
        .iter()
        .map(|record| record["direction"].clone())
        .collect();
    assert_eq!(directions.len(), 2, "{directions:?}");
    assert!(directions.contains(&"sip_to_sip".into()) && directions.contains(&"sip_to_tg".into()));
}

/// A house between two PBXs known by their addresses.
fn between_peers() -> House {
    House::new()
        .peer_trunk(&["alaw"])
        .leaves_by(&["alaw"])
        .start()
}

/// The first PBX calls this number of the second one, which answers and hangs up; what the second one saw.
fn called_hangs_up(house: &House, number: &str) -> Verdict {
    let called = Sipp::on(house.dir(), BRANCH, house.branch_port())
        .pause(s(1))
        .start("uas_hangup");
    Sipp::on(house.dir(), "pbx", house.peer_port())
        .to(house.sip())
        .number(number)
        .run("uac_peer_hangs_up")
        .expect_ok();
    let called = called.wait(s(10));
    called.expect_ok();
    called
}

fn refused_by(scenario: &str, code: &str, phrase: &str) {
    let mut house = between_peers();
    let called = Sipp::on(house.dir(), BRANCH, house.branch_port())
        .key("code", code)
        .key("reason", phrase)
        .start(scenario);
    let caller = Sipp::on(house.dir(), "pbx", house.peer_port())
        .to(house.sip())
        .number("6001")
        .key("code", code)
        .run("uac_refused");
    let last = caller.expect_ok().last_final();
    assert_eq!(
        last.start(),
        format!("{code} {phrase}"),
        "{}",
        caller.ladder()
    );
    called.wait(s(10)).expect_ok();
    let passed_on = [("reason", "sip_refused"), ("code", code)];
    house.wait_metric_above("strowger_call_failures_total", &passed_on, 0.5);
    house.assert_clean(&[]);
}

#[test]
fn a_call_that_has_gone_far_enough_goes_no_further() {
    let mut house = between_peers();
    let caller = Sipp::on(house.dir(), "pbx", house.peer_port())
        .to(house.sip())
        .number("6001")
        .key("hops", "0")
        .key("code", "483")
        .run("uac_hops");
    let last = caller.expect_ok().last_final();
    assert_eq!(last.start(), "483 Too Many Hops", "{}", caller.ladder());
    house.assert_clean(&[]);
}

#[test]
fn what_the_other_pbx_refuses_with_is_passed_on() {
    refused_by("uas_busy", "486", "Busy Here");
    refused_by("uas_reject", "603", "Not today");
    refused_by("uas_reject", "404", "No such extension");
}

#[test]
fn a_caller_who_cancels_stops_the_ringing_in_the_other_pbx() {
    let mut house = between_peers();
    let called = Sipp::on(house.dir(), BRANCH, house.branch_port()).start("uas_noanswer");
    Sipp::on(house.dir(), "pbx", house.peer_port())
        .to(house.sip())
        .number("6001")
        .pause(s(1))
        .run("uac_cancel")
        .expect_ok();
    called.wait(s(10)).expect_ok();
    house.assert_clean(&[]);
    house.stop();
    assert_eq!(house.records()[0]["outcome"], "cancelled");
}

#[test]
fn the_called_pbx_hangs_up_and_the_caller_hears_of_it() {
    let mut house = between_peers();
    called_hangs_up(&house, "6001");
    house.assert_clean(&[]);
}

#[test]
fn without_a_route_no_call_leaves_by_another_trunk() {
    let mut house = between_peers();
    // The way is one way: the second PBX is paired with nothing.
    let refused = Sipp::on(house.dir(), BRANCH, house.branch_port())
        .to(house.sip())
        .number("6001")
        .key("code", "403")
        .run("uac_refused");
    let last = refused.expect_ok().last_final();
    assert_eq!(last.start(), "403 Route is not permitted");
    house.stop();
    let said = house.expect_command(&["route", "remove", TRUNK, "--to", BRANCH], "");
    assert!(said.contains("no longer leave by"), "{said}");
    house.start();
    // Now the first one's calls go to its session, where nobody has that number.
    house.wait_session_up();
    let refused = Sipp::on(house.dir(), "pbx", house.peer_port())
        .to(house.sip())
        .number("6001")
        .key("code", "404")
        .run("uac_refused");
    assert_eq!(refused.expect_ok().last_final().start(), "404 Not Found");
    house.assert_clean(&[]);
}
