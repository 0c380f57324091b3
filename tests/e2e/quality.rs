//! How calls sound: what is told while they go on, and what stays of it in their records.

use serde_json::{Value, json};

use crate::deadline::{s, until};
use crate::house::{House, SESSION, TRUNK};
use crate::pbx::Sipp;
use crate::refusals::refused_by_telegram;
use crate::relays::{house_with, office};
use crate::talk::{ALAW, Caller, Ends, Talk};
use crate::telegram::Relay;

/// A figure of a record, or of a leg.
fn figure(of: &Value, name: &str) -> f64 {
    let value = of[name].as_f64();
    value.unwrap_or_else(|| panic!("no {name} in {of:#}"))
}

/// The only record there is.
fn only_record(house: &House) -> Value {
    let mut records = house.records();
    assert_eq!(records.len(), 1, "{records:#?}");
    records.remove(0)
}

#[test]
fn how_a_call_sounds_is_told_every_10_s_and_stays_in_its_record() {
    let house = House::new().registering_trunk(&["alaw"]).start();
    house.wait_session_up();
    let made = ["--output", "json", "token", "create", "reader"];
    let made: Value = serde_json::from_str(house.expect_command(&made, "").trim()).unwrap();
    let api = house.admin().with_token(made["token"].as_str().unwrap());
    let told = api.listen("/api/v1/events?types=call.quality");
    let talk = Talk::start_in(house, Caller::Pbx, "13.0.0", ALAW);
    let calls = api.get("/api/v1/calls");
    let id = calls["items"][0]["id"].as_str().unwrap().to_owned();
    talk.house.telegram.write("bobby", SESSION, "12");
    let first = told.next_event(s(20));
    let second = told.next_event(s(20));
    for event in [&first, &second] {
        assert_eq!(
            (&event["call"], &event["trunk"], &event["session"]),
            (&json!(id), &json!(TRUNK), &json!(SESSION)),
        );
        let legs = event["data"]["legs"].as_array().unwrap();
        let what = legs.iter().map(|leg| {
            let of = |name: &str| leg[name].as_str().unwrap_or("-").to_owned();
            [of("kind"), of("codec"), of("path")].join(" ")
        });
        let what: Vec<String> = what.collect();
        assert_eq!(what, ["sip pcma -", "telegram opus direct"], "{event:#}");
        for leg in legs {
            assert!(figure(leg, "loss") < 0.1, "{leg}");
            assert!(figure(leg, "mos") > 3.0, "{leg}");
            assert!(figure(leg, "jitter_ms") < 200.0, "{leg}");
        }
        // Question and answer of a check may fall into one look at the clock.
        assert!(figure(&legs[1], "rtt_ms") < 200.0, "{event:#}");
        assert_eq!(event["data"]["one_way"], Value::Null);
    }
    let path = format!("/api/v1/calls/{id}/quality");
    // The next one may be there by now.
    let mut last = second;
    let newest = loop {
        let newest = api.get(&path);
        if newest["legs"] == last["data"]["legs"] {
            break newest;
        }
        last = told.next_event(s(20));
    };
    assert_eq!(newest["call"], id.as_str());
    let shown = talk.house.expect_command(&["calls", "show", &id], "");
    assert!(shown.contains("opus direct: loss "), "{shown}");
    assert_eq!(talk.house.admin().text(&path).unwrap().0, 401);
    let unknown = format!("/api/v1/calls/{}/quality", "0".repeat(26));
    assert_eq!(api.text(&unknown).unwrap().0, 404);

    let house = talk.end(Ends::Telegram);
    assert_eq!(api.text(&path).unwrap().0, 404, "it is over");
    let record = only_record(&house);
    for (column, value) in [
        ("mode", json!("gateway")),
        ("tg_username", json!("bobby")),
        ("dialed", json!("bobby")),
        ("codec_sip", json!("pcma")),
        ("codec_tg", json!("opus")),
        ("tg_protocol", json!("13.0.0")),
        ("tg_path", json!("direct")),
        ("dtmf_count", json!(2)),
        ("one_way", Value::Null),
        ("hung_up_by", json!("telegram")),
        ("code", json!(200)),
        ("error_tg", Value::Null),
        ("recording", Value::Null),
    ] {
        assert_eq!(record[column], value, "{column} of {record:#}");
    }
    for side in ["sip", "tg"] {
        assert!(
            figure(&record, &format!("loss_in_{side}")) < 0.1,
            "{record:#}"
        );
        assert!(figure(&record, &format!("mos_{side}")) > 3.0, "{record:#}");
    }
    assert!(figure(&record, "rtt_ms_tg") < 200.0, "{record:#}");
    assert!(record["tg_user_id"].is_i64(), "{record:#}");
    let peer = record["sip_peer"].as_str().unwrap();
    assert!(peer.starts_with("udp:127.0.0.1:"), "{record:#}");
    // The same in comma-separated values.
    let csv = house.expect_command(&["cdr", "export", "--format", "csv"], "");
    let mut lines = csv.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let (head, row) = (lines.next().unwrap(), lines.next().unwrap());
    let cell = |name: &str| row[head.iter().position(|it| *it == name).unwrap()];
    assert_eq!(cell("sip_call_id"), record["sip_call_id"]);
    assert_eq!(cell("mos_tg"), figure(&record, "mos_tg").to_string());
    // And by HTTP.
    let viewed = api.get(&format!("/api/v1/cdr/{id}"));
    for column in ["sip_call_id", "mos_sip", "loss_in_tg", "ended_at", "talk_s"] {
        assert_eq!(viewed[column], record[column], "{column}");
    }
}

#[test]
fn a_call_that_loses_packets_has_them_and_a_lower_mos_in_its_record() {
    let clean = Talk::start(Caller::Pbx, "13.0.0", ALAW).end(Ends::Pbx);
    let clean = only_record(&clean);
    let house = office();
    let options = ["--loss", "0.08", "--jitter", "20"];
    let reflector = Relay::reflector_with(house.dir(), &options);
    let house = house_with(house, &reflector, false);
    house.expect_command(&["log", "level", "net=debug"], "");
    let talk = Talk::start_in(house, Caller::Pbx, "13.0.0", ALAW);
    let lost = [("leg", "telegram")];
    talk.house
        .wait_metric_above("strowger_rtp_packets_lost_total", &lost, 9.5);
    // The user's client reports what it loses itself, and is sent everything twice for it.
    until("the user's report", s(20), || {
        let log = talk.house.log();
        log.contains("what a leg reports of loss").then_some(())
    });
    let house = talk.end(Ends::Pbx);
    let record = only_record(&house);
    assert_eq!(record["tg_path"], "reflector", "{record:#}");
    assert_eq!(record["hung_up_by"], "sip", "{record:#}");
    let loss = figure(&record, "loss_in_tg");
    assert!((0.01..0.3).contains(&loss), "{record:#}");
    assert!(figure(&clean, "loss_in_tg") < loss, "{clean:#}");
    let (bad, good) = (figure(&record, "mos_tg"), figure(&clean, "mos_tg"));
    assert!(bad < good - 0.15, "MOS {bad} with loss, {good} without");
}

#[test]
fn the_record_of_a_call_to_a_pbx_names_its_dialog_and_counts_keys() {
    let mut house = House::new().peer_trunk(&["alaw"]).start();
    house.wait_session_up();
    let pbx = Sipp::on(house.dir(), "pbx", house.peer_port());
    let pbx = pbx.pause(s(0)).echo().start("uas_dtmf_rfc4733");
    let mut talker = house.talker_of_own_tone("bobby", "9.0.0");
    let call = house.telegram.call("bobby", SESSION, "9.0.0");
    talker.wait_heard(s(20));
    let keys = [("from", "sip"), ("method", "rfc4733")];
    house.wait_metric("strowger_dtmf_digits_total", &keys, 5.0);
    talker.hang_up(&house.telegram, "bobby", &call);
    let verdict = pbx.wait(s(10));
    verdict.expect_ok();
    house.assert_clean(&[]);
    let messages = &verdict.messages;
    let invite = messages.iter().find(|it| it.start().starts_with("INVITE"));
    let invite = invite.expect("an INVITE");
    let record = only_record(&house);
    assert_eq!(record["sip_call_id"], invite.header("Call-ID").unwrap());
    for (column, header) in [("sip_from", "From"), ("sip_to", "To")] {
        let value = invite.header(header).unwrap();
        let address = record[column].as_str().unwrap();
        assert!(
            value.contains(&format!("<{address}>")),
            "{value}: {record:#}"
        );
    }
    let peer = format!("udp:127.0.0.1:{}", house.peer_port());
    assert_eq!(record["sip_peer"], peer.as_str(), "{record:#}");
    assert_eq!(record["dtmf_count"], 5, "{record:#}");
    assert_eq!(record["tg_protocol"], "9.0.0", "{record:#}");
    assert_eq!(record["tg_username"], "bobby", "{record:#}");
}

#[test]
fn a_pbx_that_sends_no_audio_is_not_heard_says_the_record() {
    let house = House::new().peer_trunk(&["alaw"]).start();
    house.wait_session_up();
    // Without an echo it sends nothing.
    let pbx = Sipp::on(house.dir(), "pbx", house.peer_port());
    let pbx = pbx.pause(s(0)).start("uas");
    let talker = house.bobby("13.0.0");
    let call = house.telegram.call("bobby", SESSION, "13.0.0");
    house.telegram.wait_call(&call, "established", s(15));
    let ended = house.telegram.wait_call(&call, "discarded", s(40));
    assert_eq!(ended["reason"], "disconnect", "{ended}");
    talker.vanish();
    house.wait_no_calls();
    pbx.kill();
    let record = only_record(&house);
    for (column, value) in [
        ("one_way", json!("sip")),
        ("reason", json!("rtp_timeout")),
        ("hung_up_by", json!("sip")),
        ("loss_in_sip", Value::Null),
        ("mos_sip", Value::Null),
        ("codec_sip", json!("pcma")),
    ] {
        assert_eq!(record[column], value, "{column} of {record:#}");
    }
    assert!(figure(&record, "mos_tg") > 3.0, "{record:#}");
}

#[test]
fn the_record_of_a_call_that_telegram_refuses_names_its_error() {
    let mut house = House::new().peer_trunk(&["alaw"]).start();
    house.wait_session_up();
    let private = json!({"username": "private", "phone": "15550007", "scripted": true, "privacy": {"PhoneCall": "nobody"}});
    house.telegram.account(private);
    let error = "USER_PRIVACY_RESTRICTED";
    let verdict = refused_by_telegram(&house, "private", "403", error, error);
    house.assert_clean(&[]);
    until("the record", s(10), || {
        (house.records().len() == 1).then_some(())
    });
    let record = only_record(&house);
    let call_id = verdict.last_final().header("Call-ID").unwrap();
    for (column, value) in [
        ("error_tg", json!(error)),
        ("sip_call_id", json!(call_id)),
        ("tg_username", json!("private")),
        ("code", json!(403)),
        ("reason", json!("user_privacy_restricted")),
        ("side", json!("telegram")),
        ("hung_up_by", Value::Null),
        ("codec_tg", Value::Null),
        ("tg_path", Value::Null),
    ] {
        assert_eq!(record[column], value, "{column} of {record:#}");
    }
}
