//! Rough roads: signalling and audio that come late, twice, in disorder, broken or not at all, and a connection to Telegram that is
//! away for a while. The call goes on.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::deadline::{s, until, within};
use crate::house::{HEARD, House, PBX_TONE, SESSION, TELEGRAM_TONE};
use crate::link::{connections, wait_state};
use crate::pbx::{Baresip, Phone};
use crate::relays::{assert_path, house_with, office};
use crate::talk::{ALAW, Caller, Ends, Talk};
use crate::telegram::{Behaviour, Relay};

const PACKETS: &str = "strowger_rtp_packets_total";
const FROM_TELEGRAM: [(&str, &str); 2] = [("leg", "telegram"), ("direction", "in")];
const TO_PBX: [(&str, &str); 2] = [("leg", "sip"), ("direction", "out")];
/// Media writes its books this often.
const BOOKS: Duration = Duration::from_secs(5);

/// Both talk although signalling breaks like this: fault, receiver.
fn talked_over(version: &str, caller: Caller, faults: &[(&str, &str)]) -> House {
    let house = House::new().registering_trunk(&["alaw"]).start();
    house
        .telegram
        .user("bobby", "15550002", &Behaviour::accepts().speaking(version));
    for (action, receiver) in faults {
        let fault = json!({"on": "call", "action": action, "account": receiver, "seconds": 1.5});
        house.telegram.fault(fault);
    }
    let house = Talk::start_in(house, caller, version, ALAW).end(Ends::Pbx);
    for (action, receiver) in faults {
        let hits = house
            .telegram
            .events(&format!("kind=fault&action={action}"), s(0));
        assert!(!hits.is_empty(), "{action} for {receiver} did not happen");
    }
    house
}

#[test]
fn signalling_that_is_damaged_on_the_way_is_made_good() {
    let damaged = ["bobby", SESSION].map(|receiver| ("corrupt_signaling", receiver));
    for (version, caller) in [("9.0.0", Caller::Pbx), ("13.0.0", Caller::Telegram)] {
        let house = talked_over(version, caller, &damaged);
        let ours = [("direction", "in")];
        house.wait_metric_above("strowger_telegram_signaling_dropped_total", &ours, 0.5);
    }
}

#[test]
fn signalling_that_is_late_and_overtaken_is_understood() {
    let late = ["bobby", SESSION].map(|receiver| ("delay_signaling", receiver));
    talked_over("9.0.0", Caller::Telegram, &late);
    talked_over("13.0.0", Caller::Pbx, &late);
}

#[test]
fn signalling_that_is_lost_and_doubled_is_made_good_when_a_telegram_user_calls() {
    let faults = [
        ("drop_signaling", "bobby"),
        ("duplicate_signaling", "bobby"),
        ("drop_signaling", SESSION),
        ("duplicate_signaling", SESSION),
    ];
    talked_over("9.0.0", Caller::Telegram, &faults);
    talked_over("13.0.0", Caller::Telegram, &faults);
}

#[test]
fn a_telegram_user_whose_app_takes_a_while_is_waited_for() {
    for version in ["9.0.0", "13.0.0"] {
        let house = House::new().registering_trunk(&["alaw"]).start();
        let phone = house.phone_settings("pcma");
        Talk::start_late(house, &phone, Caller::Pbx, version, 1.5).end(Ends::Telegram);
    }
}

#[test]
fn a_telegram_user_who_mutes_is_silent_and_then_heard_again() {
    let mut talk = Talk::start(Caller::Telegram, "13.0.0", ALAW);
    for _ in 0..2 {
        talk.talker.obey("mute");
        let count = |talk: &Talk| talk.house.metrics().sum_of(PACKETS, &FROM_TELEGRAM);
        let (mut known, mut since) = (count(&talk), Instant::now());
        until("nothing to come from him", s(40), || {
            let now = count(&talk);
            if (now - known).abs() > 0.5 {
                (known, since) = (now, Instant::now());
            }
            (since.elapsed() > BOOKS.mul_f64(1.5)).then_some(())
        });
        // The PBX hears silence, for which our own clock beats: 50 packets a second.
        let played = talk.house.metrics().sum_of(PACKETS, &TO_PBX);
        talk.house
            .wait_metric_above(PACKETS, &TO_PBX, played + 200.0);
        assert!((count(&talk) - known).abs() < 0.5, "he was muted");
        talk.talker.obey("unmute");
        talk.house
            .wait_metric_above(PACKETS, &FROM_TELEGRAM, known + 50.0);
    }
    assert!(!talk.phone.has("CALL_CLOSED"), "the call has ended");
    talk.end(Ends::Telegram);
}

/// A conversation through a reflector that loses 3 %, and lets packets be late by up to so many milliseconds.
fn talked_through_a_bad_network(version: &str, jitter: &str) {
    let house = office();
    let options = ["--loss", "0.03", "--jitter", jitter];
    let reflector = Relay::reflector_with(house.dir(), &options);
    let house = house_with(house, &reflector, false);
    let mut talk = Talk::start_in(house, Caller::Pbx, version, ALAW);
    // 16 packets a second: three lost in 6 s.
    let leg = [("leg", "telegram")];
    let measured = |talk: &Talk, name: &str| talk.house.metrics().sum_of(name, &leg);
    until("loss to be noticed and concealed", s(90), || {
        let lost = measured(&talk, "strowger_rtp_packets_lost_total");
        let concealed = measured(&talk, "strowger_concealed_frames_total");
        (lost > 4.5 && concealed > 4.5).then_some(())
    });
    let heard = talk.house.metrics().sum_of(PACKETS, &FROM_TELEGRAM);
    let lost = measured(&talk, "strowger_rtp_packets_lost_total");
    assert!(lost < heard * 0.15, "{lost} of {heard} lost");
    assert!(!talk.phone.has("CALL_CLOSED"), "the call has ended");
    let house = talk.end(Ends::Pbx);
    assert_path(&house, "relay_udp", 1.0);
}

#[test]
fn three_percent_loss_and_30_ms_of_jitter_are_concealed() {
    talked_through_a_bad_network("13.0.0", "30");
}

#[test]
fn packets_that_overtake_each_other_are_put_in_order() {
    // More than the 60 ms between two packets of his.
    talked_through_a_bad_network("9.0.0", "90");
}

/// The connection of the account is away for 10 s; what happens meanwhile.
fn away_for_10_s(talk: &mut Talk, meanwhile: impl FnOnce(&mut Talk)) {
    let cut = Instant::now();
    connections(&talk.house, "refuse");
    connections(&talk.house, "drop");
    wait_state(&talk.house, "offline");
    meanwhile(talk);
    within(s(10).saturating_sub(cut.elapsed()), || None::<()>);
    connections(&talk.house, "accept");
    talk.house.wait_session_up();
}

#[test]
fn a_conversation_outlives_10_s_without_telegram() {
    for (caller, ends) in [(Caller::Pbx, Ends::Telegram), (Caller::Telegram, Ends::Pbx)] {
        let mut talk = Talk::start(caller, "13.0.0", ALAW);
        away_for_10_s(&mut talk, |talk| {
            let heard = talk.house.metrics().sum_of(PACKETS, &FROM_TELEGRAM);
            talk.house
                .wait_metric_above(PACKETS, &FROM_TELEGRAM, heard + 80.0);
        });
        assert!(!talk.phone.has("CALL_CLOSED"), "the call has ended");
        talk.end(ends);
    }
}

#[test]
fn a_pbx_that_hangs_up_while_telegram_is_away_is_told_of_when_it_is_back() {
    let mut talk = Talk::start(Caller::Pbx, "9.0.0", ALAW);
    away_for_10_s(&mut talk, |talk| talk.phone.hang_up());
    let ended = talk
        .house
        .telegram
        .wait_call(&talk.call, "discarded", s(20));
    assert_eq!(ended["reason"], "hangup", "{ended}");
    talk.talker.finish();
    drop(talk.phone);
    // It says how long they talked, which is less than Telegram counts.
    talk.house.assert_clean(&["call_duration"]);
}

#[test]
fn a_telegram_user_who_hangs_up_while_telegram_is_away_is_noticed_by_his_media() {
    let mut talk = Talk::start(Caller::Telegram, "13.0.0", ALAW);
    away_for_10_s(&mut talk, |talk| {
        talk.house.telegram.discard("bobby", &talk.call, "hangup");
        talk.phone.wait_closed();
    });
    talk.talker.finish();
    drop(talk.phone);
    // Nobody has told us that it is over: ours is the second.
    talk.house
        .assert_clean(&["double_discard", "call_duration"]);
}

#[test]
fn hundreds_of_updates_at_once_are_all_heard() {
    let house = House::new().registering_trunk(&["alaw"]).start();
    let mut talk = Talk::start_in(house, Caller::Telegram, "9.0.0", ALAW);
    let name = "strowger_telegram_updates_total";
    let labels = [("kind", "signaling")];
    let before = talk.house.metrics().sum_of(name, &labels);
    // While it stands still they gather in its socket.
    talk.house.stand_still();
    let path = format!("/scripted/bobby/calls/{}/signaling", talk.call);
    let nonsense = json!({"data": "bm9uc2Vuc2UgdGhhdCBubyBrZXkgb3BlbnM="});
    for _ in 0..300 {
        talk.house.telegram.http().post(&path, &nonsense);
    }
    talk.house.go_on();
    talk.house.wait_metric_above(name, &labels, before + 299.5);
    assert!(!talk.phone.has("CALL_CLOSED"), "the call has ended");
    talk.end(Ends::Pbx);
}

#[test]
fn a_message_whose_update_is_lost_is_fetched_when_the_next_one_shows_the_gap() {
    let talk = Talk::start(Caller::Telegram, "9.0.0", ALAW);
    let before = talk.house.telegram.events("kind=update", s(0)).len();
    let lost: Value =
        json!({"on": "update", "update": "*Message*", "action": "drop", "account": SESSION});
    talk.house.telegram.fault(lost);
    talk.house.telegram.write("bobby", SESSION, "5");
    talk.house.telegram.write("bobby", SESSION, "6");
    let labels = [("kind", "message")];
    talk.house
        .wait_metric_above("strowger_telegram_updates_total", &labels, 1.5);
    let updates = talk.house.telegram.events("kind=update", s(0));
    let dropped = updates
        .iter()
        .skip(before)
        .filter(|update| update["fault"] == "drop");
    assert_eq!(dropped.count(), 1, "{updates:#?}");
    talk.end(Ends::Pbx);
}

/// ntgcalls does DTLS whatever Telegram says, so another switch is the other end.
#[test]
fn two_switches_talk_under_the_call_key_where_telegram_wants_that() {
    let mut one = House::new().registering_trunk(&["alaw"]).start();
    let keyed = r#"{"network_use_mtproto":true}"#;
    one.telegram.set(json!({"custom_parameters": keyed}));
    let other = House::new().beside(&one, "second");
    let mut other = other.registering_trunk(&["alaw"]).start();
    one.wait_session_up();
    other.wait_session_up();
    let mut caller = one.phone("pcma");
    let settings = Phone {
        says: TELEGRAM_TONE,
        ..other.phone_settings("pcma")
    };
    let mut callee = Baresip::start(other.dir(), "phone", &settings);
    caller.dial("second");
    caller.wait_established();
    callee.wait_established();
    for house in [&one, &other] {
        // Ours to the PBX beats by itself; this is what came from Telegram, 50 packets a second.
        house.wait_metric_above(PACKETS, &FROM_TELEGRAM, 130.0);
        assert!(house.log().contains("the call key protects the media"));
    }
    caller.hang_up();
    callee.wait_closed();
    caller.assert_heard(TELEGRAM_TONE, HEARD);
    callee.assert_heard(PBX_TONE, HEARD);
    one.assert_clean(&[]);
    other.assert_clean(&[]);
}
