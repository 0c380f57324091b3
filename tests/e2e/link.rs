//! The connection of an account to Telegram, and what becomes of the account itself.

use std::time::Instant;

use serde_json::{Value, json};

use crate::deadline::{s, until};
use crate::house::{House, LOGIN, PASSWORD, SESSION};
use crate::pbx::Sipp;
use crate::refusals::{house, refused};
use crate::talk::{ALAW, Caller, Ends, Talk};
use crate::telegram::Behaviour;

pub(crate) fn wait_state(house: &House, state: &str) {
    let labels = [("session", SESSION), ("state", state)];
    house.wait_metric("strowger_telegram_session_state", &labels, 1.0);
}

/// What the simulator is told about connections.
pub(crate) fn connections(house: &House, what: &str) {
    let path = format!("/connections/{what}");
    let spec = json!({"account": SESSION});
    house.telegram.http().post(&path, &spec);
}

#[test]
fn a_link_that_is_silent_is_known_to_be_dead_within_20_s() {
    let mut house = house();
    let begun = Instant::now();
    connections(&house, "freeze");
    until("the session to be offline", s(25), || {
        let labels = [("session", SESSION), ("state", "offline")];
        let value = house
            .metrics()
            .value("strowger_telegram_session_state", &labels)?;
        (value > 0.5).then_some(())
    });
    let took = begun.elapsed();
    assert!(took <= s(21), "{took:?}");
    // A new connection is answered.
    house.wait_session_up();
    let took = begun.elapsed();
    assert!(took <= s(26), "{took:?}");
    house.assert_clean(&[]);
}

/// What is no MTProto costs the connection and nothing else: who talks goes on talking, and the account comes back.
#[test]
fn garbage_of_telegram_costs_a_connection_and_no_call() {
    let house = House::new().registering_trunk(&["alaw"]).start();
    house
        .telegram
        .user("carol", "15550003", &Behaviour::declines());
    let talk = Talk::start_in(house, Caller::Pbx, "13.0.0", ALAW);
    for (method, action) in [
        ("contacts.resolveUsername", "garbage"),
        ("phone.requestCall", "bad_salt"),
    ] {
        let fault = json!({"method": method, "action": action});
        talk.house.telegram.fault(fault);
        let hits = format!("kind=fault&action={action}");
        let (house, name) = (&talk.house, format!("pbx-{action}"));
        let caller = Sipp::new(house.dir(), &name)
            .login(LOGIN, PASSWORD)
            .to(house.sip())
            .number("carol")
            .key("code", "486")
            .run("uac_refused");
        caller.expect_ok();
        assert!(!house.telegram.events(&hits, s(0)).is_empty(), "{action}");
        house.wait_session_up();
    }
    talk.end(Ends::Pbx);
}

#[test]
fn an_account_that_is_logged_out_says_so_and_is_not_asked() {
    let mut house = house();
    house
        .telegram
        .user("bobby", "15550002", &Behaviour::accepts());
    let path = format!("/accounts/{SESSION}/revoke");
    let spec = json!({"error": "SESSION_REVOKED", "drop": true});
    house.telegram.http().post(&path, &spec);
    wait_state(&house, "unauthorized");
    refused(&house, "bobby", "503", "Session is not running");
    let said = house.expect_command(&["session", "show", SESSION], "");
    assert!(said.contains("unauthorized"), "{said}");
    let list = house.expect_command(&["--output", "json", "session", "list"], "");
    let list: Value = serde_json::from_str(list.trim()).unwrap();
    assert_eq!(list[0]["state"], "unauthorized", "{list}");
    house.assert_clean(&[]);
}

#[test]
fn a_call_outlives_the_ban_of_its_account_and_ends_well() {
    let talk = Talk::start(Caller::Pbx, "9.0.0", ALAW);
    talk.house
        .telegram
        .patch_account(SESSION, &json!({"banned": true}));
    wait_state(&talk.house, "unauthorized");
    let mut house = talk.house;
    // What Telegram is told now it refuses; the PBX's side ends all the same, and the switch goes on.
    talk.phone.vanish();
    talk.talker.vanish();
    until("the call to end", s(40), || {
        (house.metrics().sum("strowger_calls_active") < 0.5).then_some(())
    });
    house.telegram.discard("bobby", &talk.call, "disconnect");
    house.assert_clean(&[]);
}

#[test]
fn a_call_that_another_device_of_the_account_answers_stops_ringing_at_the_pbx() {
    let mut house = house();
    let telegram = &house.telegram;
    telegram.user("bobby", "15550002", &Behaviour::accepts());
    telegram.patch_account(
        SESSION,
        &json!({"scripted": true, "behaviour": {"on_call": "manual"}}),
    );
    let pbx = Sipp::on(house.dir(), "pbx", house.peer_port()).start("uas_noanswer");
    let call = telegram.call("bobby", SESSION, "9.0.0");
    telegram.wait_call(&call, "received", s(10));
    let path = format!("/scripted/{SESSION}/calls/{call}/accept");
    telegram.http().post(&path, &json!({}));
    pbx.wait(s(10)).expect_ok();
    house.telegram.discard("bobby", &call, "hangup");
    house.assert_clean(&[]);
    house.stop();
    let record = &house.records()[0];
    let legs = record["legs"].as_array().unwrap();
    let telegram = legs.iter().find(|leg| leg["kind"] == "telegram").unwrap();
    assert_eq!(telegram["reason"], "answered_elsewhere", "{record:#}");
}

#[test]
fn a_machine_whose_clock_is_ahead_says_so_and_does_not_hammer() {
    let mut house = House::new().peer_trunk(&["alaw"]).build();
    house.telegram.set(json!({"time_offset": -300}));
    house.start_unready();
    until("the log to tell", s(30), || {
        house
            .log()
            .contains("the clock of this machine is ahead")
            .then_some(())
    });
    let events = || house.telegram.events("kind=bad_msg", s(1)).len();
    let before = events();
    std::thread::sleep(s(5));
    let after = events();
    assert!(
        after - before < 200,
        "{before} and then {after} refused messages"
    );
    house.telegram.set(json!({"time_offset": 0}));
    until("the session to come up", s(60), || {
        let value = house
            .metrics()
            .value("strowger_telegram_session_up", &[("session", SESSION)])?;
        (value > 0.5).then_some(())
    });
    house.assert_clean(&[]);
}

#[test]
fn a_key_that_telegram_no_longer_knows_is_noticed() {
    let mut house = house();
    house
        .telegram
        .user("bobby", "15550002", &Behaviour::accepts());
    let path = format!("/accounts/{SESSION}/revoke");
    let spec = json!({"error": "AUTH_KEY_DESTROYED", "drop": true});
    house.telegram.http().post(&path, &spec);
    wait_state(&house, "unauthorized");
    assert!(house.log().contains("no longer knows the key"));
    refused(&house, "bobby", "503", "Session is not running");
    house.assert_clean(&[]);
}

#[test]
fn a_key_message_written_while_the_connection_was_away_is_fetched() {
    let talk = Talk::start(Caller::Telegram, "9.0.0", ALAW);
    connections(&talk.house, "refuse");
    connections(&talk.house, "drop");
    wait_state(&talk.house, "offline");
    talk.house.telegram.write("bobby", SESSION, "5");
    connections(&talk.house, "accept");
    let labels = [("kind", "message")];
    talk.house
        .wait_metric_above("strowger_telegram_updates_total", &labels, 0.5);
    talk.end(Ends::Pbx);
}
