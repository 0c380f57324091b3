//! The main job: a PBX and a Telegram user call each other and talk.

use crate::deadline::s;
use crate::house::{HEARD, House, SESSION, TELEGRAM_TONE, TRUNK};
use crate::pbx::{Baresip, Phone, Sipp};
use crate::talk::{ALAW, Caller, Ends, G722, MULAW, OPUS, Talk};
use crate::telegram::Behaviour;

/// A whole call; what the switch counted must agree with what the peers saw.
fn both_hear_each_other(caller: Caller, ends: Ends, version: &str, codec: [&str; 3]) {
    let house = Talk::start(caller, version, codec).end(ends);
    let metrics = house.metrics();
    let direction = match caller {
        Caller::Pbx => "sip_to_tg",
        Caller::Telegram => "tg_to_sip",
    };
    let labels = [
        ("direction", direction),
        ("trunk", TRUNK),
        ("result", "answered"),
    ];
    assert_eq!(
        metrics.value("strowger_calls_completed_total", &labels),
        Some(1.0)
    );
    let rtp = |way| {
        let labels = [("leg", "sip"), ("direction", way), ("codec", codec[2])];
        metrics
            .value("strowger_rtp_packets_total", &labels)
            .unwrap_or_default()
    };
    // Opus passes untouched, so the PBX gets the 60 ms packets of Telegram.
    let least = if codec == OPUS { 25.0 } else { 75.0 };
    assert!(
        rtp("in") > 75.0 && rtp("out") > least,
        "{} in, {} out",
        rtp("in"),
        rtp("out")
    );
    for leg in ["sip", "telegram"] {
        // The media task writes its last figures a moment after the call is over.
        house.wait_metric("strowger_call_mos_count", &[("leg", leg)], 1.0);
        let sum = |name| house.metrics().sum_of(name, &[("leg", leg)]);
        let (mos, loss) = (
            sum("strowger_call_mos_sum"),
            sum("strowger_call_loss_ratio_sum"),
        );
        assert!(mos > 3.5 && loss < 0.05, "{leg}: MOS {mos}, loss {loss}");
    }
    let metrics = house.metrics();
    let p2p = [("path", "p2p")];
    assert_eq!(
        metrics.value("strowger_telegram_call_paths_total", &p2p),
        Some(1.0)
    );
    assert!(metrics.sum("strowger_calls_one_way_total") < 0.5);
    assert!(metrics.sum("strowger_transcodings_active").abs() < 0.5);
    let frames = metrics.sum("strowger_transcode_frames_total");
    assert_eq!(frames > 75.0, codec != OPUS, "{frames} frames transcoded");
}

#[test]
fn pbx_calls_a_telegram_user_by_9_0_0_and_both_hear_each_other_in_alaw() {
    both_hear_each_other(Caller::Pbx, Ends::Pbx, "9.0.0", ALAW);
}

#[test]
fn pbx_calls_a_telegram_user_by_13_0_0_and_both_hear_each_other_in_alaw() {
    both_hear_each_other(Caller::Pbx, Ends::Telegram, "13.0.0", ALAW);
}

#[test]
fn pbx_calls_a_telegram_user_by_9_0_0_and_both_hear_each_other_in_mulaw() {
    both_hear_each_other(Caller::Pbx, Ends::Telegram, "9.0.0", MULAW);
}

#[test]
fn pbx_calls_a_telegram_user_by_13_0_0_and_both_hear_each_other_in_mulaw() {
    both_hear_each_other(Caller::Pbx, Ends::Pbx, "13.0.0", MULAW);
}

#[test]
fn pbx_calls_a_telegram_user_and_both_hear_each_other_in_g722() {
    both_hear_each_other(Caller::Pbx, Ends::Pbx, "13.0.0", G722);
}

#[test]
fn pbx_calls_a_telegram_user_by_9_0_0_and_both_hear_each_other_in_opus() {
    both_hear_each_other(Caller::Pbx, Ends::Pbx, "9.0.0", OPUS);
}

#[test]
fn pbx_calls_a_telegram_user_by_13_0_0_and_both_hear_each_other_in_opus() {
    both_hear_each_other(Caller::Pbx, Ends::Telegram, "13.0.0", OPUS);
}

#[test]
fn telegram_user_by_9_0_0_calls_the_pbx_and_both_hear_each_other_in_alaw() {
    both_hear_each_other(Caller::Telegram, Ends::Telegram, "9.0.0", ALAW);
}

#[test]
fn telegram_user_by_13_0_0_calls_the_pbx_and_both_hear_each_other_in_alaw() {
    both_hear_each_other(Caller::Telegram, Ends::Pbx, "13.0.0", ALAW);
}

#[test]
fn telegram_user_by_13_0_0_calls_the_pbx_and_both_hear_each_other_in_opus() {
    both_hear_each_other(Caller::Telegram, Ends::Telegram, "13.0.0", OPUS);
}

#[test]
fn telegram_user_by_8_0_0_calls_the_pbx_and_both_hear_each_other_in_mulaw() {
    both_hear_each_other(Caller::Telegram, Ends::Pbx, "8.0.0", MULAW);
}

#[test]
fn pbx_calls_a_telegram_user_by_12_0_0_and_both_hear_each_other_in_alaw() {
    both_hear_each_other(Caller::Pbx, Ends::Pbx, "12.0.0", ALAW);
}

/// A phone that calls and asks for packets of so many milliseconds gets them, and both hear each other by such packets.
fn packets_of(ptime: u32, [name, codec, label]: [&str; 3]) {
    let house = House::new().registering_trunk(&[name]).start();
    let phone = Phone {
        ptime,
        ..house.phone_settings(codec)
    };
    let house = Talk::start_with(house, &phone, Caller::Pbx, "13.0.0").end(Ends::Pbx);
    // The media task writes its last figures a moment after the call is over.
    house.wait_metric("strowger_call_mos_count", &[("leg", "sip")], 1.0);
    let metrics = house.metrics();
    for way in ["in", "out"] {
        let labels = [("leg", "sip"), ("direction", way), ("codec", label)];
        let packets = metrics
            .value("strowger_rtp_packets_total", &labels)
            .unwrap();
        let bytes = metrics
            .value("strowger_rtp_bytes_total", &labels[..2])
            .unwrap();
        // G.711 and G.722 alike: eight octets a millisecond.
        let milliseconds = bytes / packets / 8.0;
        assert!(
            packets > 20.0 && (milliseconds - f64::from(ptime)).abs() < 0.1,
            "{way}: {packets} packets of {milliseconds} ms, wanted {ptime}"
        );
    }
}

#[test]
fn a_phone_that_wants_packets_of_30_ms_gets_and_sends_them() {
    packets_of(30, ALAW);
}

#[test]
fn a_phone_that_wants_packets_of_60_ms_gets_and_sends_them() {
    packets_of(60, MULAW);
}

#[test]
fn a_phone_that_wants_packets_of_10_ms_in_g722_gets_and_sends_them() {
    packets_of(10, G722);
}

#[test]
fn whoever_hangs_up_is_named_in_the_record() {
    let cases = [
        (Caller::Pbx, Ends::Pbx, "sip"),
        (Caller::Pbx, Ends::Telegram, "telegram"),
        (Caller::Telegram, Ends::Pbx, "sip"),
        (Caller::Telegram, Ends::Telegram, "telegram"),
    ];
    let mut house = House::new().registering_trunk(&["alaw"]).start();
    for (caller, ends, _) in cases {
        house = Talk::start_in(house, caller, "9.0.0", ALAW).end(ends);
    }
    house.stop();
    let records = house.records();
    assert_eq!(records.len(), cases.len(), "{records:#?}");
    for (record, (caller, _, side)) in records.iter().zip(cases) {
        assert_eq!(record["ended_by"], side, "{record}");
        assert_eq!(record["outcome"], "answered", "{record}");
        assert_eq!(
            record["direction"],
            if caller == Caller::Pbx {
                "sip_to_tg"
            } else {
                "tg_to_sip"
            },
            "{record}"
        );
        assert_eq!(record["legs"].as_array().map(Vec::len), Some(2), "{record}");
        for leg in record["legs"].as_array().unwrap() {
            assert_eq!(leg["reason"], "normal_clearing", "{record}");
        }
    }
}

#[test]
fn a_pbx_known_by_its_address_calls_without_registering() {
    let mut house = House::new().peer_trunk(&["alaw"]).start();
    house.wait_session_up();
    let mut talker = house.talker_of_own_tone("bobby", "9.0.0");
    let pbx = Sipp::on(house.dir(), "pbx", house.peer_port())
        .to(house.sip())
        .number("bobby")
        .pause(s(4))
        .echo();
    pbx.run("uac").expect_ok();
    talker.wait_heard(s(1));
    talker.finish();
    house.assert_clean(&[]);
}

#[test]
fn a_pbx_known_by_its_address_is_called_at_its_number() {
    let mut house = House::new().peer_trunk(&["alaw"]).start();
    house.wait_session_up();
    let pbx = Sipp::on(house.dir(), "pbx", house.peer_port())
        .pause(s(0))
        .echo()
        .start("uas");
    let mut talker = house.talker_of_own_tone("bobby", "9.0.0");
    let call = house.telegram.call("bobby", SESSION, "9.0.0");
    talker.wait_heard(s(20));
    talker.hang_up(&house.telegram, "bobby", &call);
    let verdict = pbx.wait(s(10));
    verdict.expect_ok();
    assert!(
        verdict.received(&format!("INVITE sip:600@127.0.0.1:{}", house.peer_port())),
        "{}",
        verdict.ladder()
    );
    house.assert_clean(&[]);
}

#[test]
fn two_calls_at_once_do_not_disturb_each_other() {
    let mut house = House::new().registering_trunk(&["alaw"]).start();
    house.wait_session_up();
    house
        .telegram
        .user("carol", "15550004", &Behaviour::accepts().speaking("9.0.0"));
    let mut one = house.phone("pcma");
    let mut other = Baresip::start(house.dir(), "phone-2", &house.phone_settings("pcma"));
    let mut bobby = house.bobby("13.0.0");
    let mut carol = house.talker("carol");
    one.dial("bobby");
    other.dial("carol");
    one.wait_established();
    other.wait_established();
    bobby.wait_heard(s(20));
    carol.wait_heard(s(20));
    assert!((house.metrics().sum("strowger_calls_active") - 2.0).abs() < 0.1);
    one.hang_up();
    bobby.finish();
    assert!(!other.has("CALL_CLOSED"));
    other.hang_up();
    carol.finish();
    one.assert_heard(TELEGRAM_TONE, HEARD);
    other.assert_heard(TELEGRAM_TONE, HEARD);
    house.assert_clean(&[]);
}

#[test]
fn ringing_is_reported_when_a_device_rings() {
    let mut house = House::new().peer_trunk(&["alaw"]).start();
    house.wait_session_up();
    house
        .telegram
        .set(serde_json::json!({"server_ring_timeout": 2}));
    house
        .telegram
        .user("bobby", "15550002", &Behaviour::rings());
    let pbx = Sipp::on(house.dir(), "pbx", house.peer_port())
        .to(house.sip())
        .number("bobby");
    let verdict = pbx.key("code", "480").run("uac_refused");
    assert_eq!(verdict.expect_ok().last_final().start(), "480 No answer");
    assert!(verdict.received("180"), "{}", verdict.ladder());
    house.assert_clean(&[]);
}

#[test]
fn ringing_is_not_reported_when_no_device_rings() {
    let mut house = House::new().peer_trunk(&["alaw"]).build();
    house
        .telegram
        .set(serde_json::json!({"call_receive_timeout_ms": 2000}));
    house.start();
    house.wait_session_up();
    house
        .telegram
        .user("bobby", "15550002", &Behaviour::is_away());
    let pbx = Sipp::on(house.dir(), "pbx", house.peer_port())
        .to(house.sip())
        .number("bobby");
    let verdict = pbx.key("code", "480").run("uac_refused");
    assert_eq!(
        verdict.expect_ok().last_final().start(),
        "480 Temporarily Unavailable"
    );
    assert!(!verdict.received("18"), "{}", verdict.ladder());
    house.assert_clean(&[]);
}

#[test]
fn the_pbx_is_not_answered_before_media_is_up() {
    let mut house = House::new().peer_trunk(&["alaw"]).build();
    house
        .telegram
        .set(serde_json::json!({"call_connect_timeout_ms": 3000}));
    house.start();
    house.wait_session_up();
    // He accepts, but no media comes from him.
    house
        .telegram
        .user("bobby", "15550002", &Behaviour::accepts().speaking("9.0.0"));
    let pbx = Sipp::on(house.dir(), "pbx", house.peer_port())
        .to(house.sip())
        .number("bobby");
    let verdict = pbx.key("code", "503").run("uac_refused");
    assert_eq!(
        verdict.expect_ok().last_final().start(),
        "503 Media is not connected"
    );
    let call = house.telegram.next_call(0, s(1));
    assert_eq!(
        house.telegram.wait_call(&call, "discarded", s(2))["reason"],
        "disconnect"
    );
    house.assert_clean(&[]);
}

#[test]
fn digits_of_the_pbx_are_counted_once_each() {
    let mut talk = Talk::start(Caller::Pbx, "9.0.0", ALAW);
    for key in ['1', '5', '#'] {
        talk.phone.press(key);
    }
    let labels = [("from", "sip"), ("method", "rfc4733")];
    talk.house
        .wait_metric("strowger_dtmf_digits_total", &labels, 3.0);
    talk.end(Ends::Pbx);
}
