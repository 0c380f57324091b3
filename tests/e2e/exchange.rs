//! What the agreement on a call's key must refuse: halves that are no secret, and groups in which no half is one (telegram-calls 3).

use serde_json::json;

use crate::deadline::s;
use crate::endings::{answering_pbx, asked, hung_up_on, telegram_leg};
use crate::house::{House, SESSION};
use crate::refusals::refused;
use crate::telegram::Behaviour;

/// How a group can be unsafe, and what the log says of it.
const UNSAFE: [(&str, &str); 2] = [
    ("unsafe_prime", "is no safe prime"),
    ("unsafe_generator", "5 does not generate the group"),
];

/// A house whose account is told of such a group from its first moment on.
fn house_in_an_unsafe_group(action: &str) -> House {
    let mut house = House::new().peer_trunk(&["alaw"]).build();
    house
        .telegram
        .fault(json!({"on": "call", "action": action, "account": SESSION, "times": -1}));
    house.start();
    house.wait_session_up();
    house
        .telegram
        .user("bobby", "15550002", &Behaviour::accepts());
    house
}

/// The failure is counted, and told as an error.
fn is_told(house: &House, why: &str) {
    let labels = [("reason", "key_mismatch")];
    house.wait_metric_above("strowger_call_failures_total", &labels, 0.5);
    let log = house.log();
    let told = |line: &str| line.contains("ERROR") && line.contains(why);
    assert!(log.lines().any(told), "no error says {why:?}:\n{log}");
}

#[test]
fn an_unsafe_group_ends_the_pbx_s_call_before_anybody_is_asked() {
    for (action, why) in UNSAFE {
        let mut house = house_in_an_unsafe_group(action);
        refused(&house, "bobby", "500", "Encryption key mismatch");
        assert_eq!(asked(&house, "phone.requestCall"), 0, "after {action}");
        is_told(&house, why);
        house.assert_clean(&[]);
        let leg = telegram_leg(&mut house);
        assert_eq!(leg["reason"], "key_mismatch", "after {action}: {leg:#}");
    }
}

#[test]
fn an_unsafe_group_ends_a_telegram_user_s_call() {
    for (action, why) in UNSAFE {
        let mut house = house_in_an_unsafe_group(action);
        let pbx = answering_pbx(&house, "pbx");
        let call = house.telegram.call("bobby", SESSION, "9.0.0");
        let ended = house.telegram.wait_call(&call, "discarded", s(10));
        assert_eq!(ended["reason"], "disconnect", "after {action}: {ended}");
        assert_ne!(ended["discarded_by"], "server", "after {action}: {ended}");
        hung_up_on(pbx);
        assert_eq!(asked(&house, "phone.acceptCall"), 0, "after {action}");
        is_told(&house, why);
        house.assert_clean(&["discard_reason"]);
        let leg = telegram_leg(&mut house);
        let end = (&leg["code"], &leg["reason"]);
        assert_eq!(end, (&json!(500), &json!("key_mismatch")), "{leg:#}");
    }
}

#[test]
fn a_caller_whose_half_of_the_key_is_no_secret_is_hung_up_on() {
    let mut house = House::new().peer_trunk(&["alaw"]).start();
    house.wait_session_up();
    house
        .telegram
        .user("bobby", "15550002", &Behaviour::accepts());
    house
        .telegram
        .fault(json!({"on": "call", "action": "small_g_a", "account": SESSION}));
    let pbx = answering_pbx(&house, "pbx");
    let call = house.telegram.call("bobby", SESSION, "9.0.0");
    let ended = house.telegram.wait_call(&call, "discarded", s(10));
    assert_eq!(ended["reason"], "disconnect", "{ended}");
    assert_ne!(ended["discarded_by"], "server", "{ended}");
    hung_up_on(pbx);
    is_told(
        &house,
        "a public value of the key agreement is out of range",
    );
    house.assert_clean(&[]);
    let leg = telegram_leg(&mut house);
    let end = (&leg["code"], &leg["reason"]);
    assert_eq!(end, (&json!(500), &json!("key_mismatch")), "{leg:#}");
}
