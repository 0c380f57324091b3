//! People and the account: who may call the PBX, and what those are answered who write.

use crate::deadline::s;
use crate::house::{House, SESSION};
use crate::telegram::Behaviour;

#[test]
fn only_those_on_the_list_call_the_pbx_and_others_ring_on() {
    let mut house = House::new().peer_trunk(&["alaw"]).build();
    for (user, phone) in [("bobby", "15550002"), ("carol", "15550004")] {
        house.telegram.user(user, phone, &Behaviour::accepts());
    }
    let callers = ["session", "set", SESSION, "--allowed-callers", "@Carol"];
    house.expect_command(&callers, "");
    let said = house.expect_command(&["session", "show", SESSION], "");
    assert!(said.contains("@Carol"), "{said}");
    house.start();
    house.wait_session_up();

    let call = house.telegram.call("bobby", SESSION, "9.0.0");
    let pbx = house.busy_pbx();
    let carols = house.telegram.call("carol", SESSION, "9.0.0");
    house.telegram.wait_call(&carols, "discarded", s(10));
    pbx.wait(s(10)).expect_ok();
    // The other one was there first: neither acknowledged nor refused.
    let still = house.telegram.wait_call(&call, "requested", s(1));
    assert_eq!(still["state"], "requested", "{still}");
    assert_eq!(house.telegram.texts("bobby", 0, s(1)), [""; 0]);
    let session = [("session", SESSION)];
    let left_alone = "strowger_telegram_callers_left_alone_total";
    assert_eq!(house.metrics().value(left_alone, &session), Some(1.0));
    house.telegram.discard("bobby", &call, "missed");
    house.assert_clean(&["discard_reason"]);
}

#[test]
fn who_writes_is_answered_once_in_a_while() {
    let mut house = House::new().peer_trunk(&["alaw"]).build();
    house
        .telegram
        .user("bobby", "15550002", &Behaviour::accepts());
    let answer = "Press the call button to reach us.";
    house.expect_command(&["session", "set", SESSION, "--autoreply", answer], "");
    house.start();
    house.wait_session_up();
    house.telegram.write("bobby", SESSION, "hello");
    assert_eq!(house.telegram.texts("bobby", 1, s(10)), [answer]);
    house.telegram.write("bobby", SESSION, "anybody there?");
    // A call that nobody takes is told of after whatever is said to that.
    let messages = [("kind", "message")];
    house.wait_metric("strowger_telegram_updates_total", &messages, 2.0);
    let pbx = house.busy_pbx();
    let call = house.telegram.call("bobby", SESSION, "9.0.0");
    house.telegram.wait_call(&call, "discarded", s(10));
    pbx.wait(s(10)).expect_ok();
    assert_eq!(
        house.telegram.texts("bobby", 2, s(5)),
        [answer, "486 Busy Here"]
    );
    house.assert_clean(&["discard_reason"]);
}

#[test]
fn who_writes_is_not_answered_where_what_people_write_is_not_looked_at() {
    let mut house = House::new().peer_trunk(&["alaw"]).build();
    house
        .telegram
        .user("bobby", "15550002", &Behaviour::accepts());
    let set = ["session", "set", SESSION, "--autoreply", "Call us."];
    let off = ["--messages-processing", "false"];
    house.expect_command(&[&set[..], &off].concat(), "");
    house.start();
    house.wait_session_up();
    house.telegram.write("bobby", SESSION, "hello");
    let messages = [("kind", "message")];
    house.wait_metric("strowger_telegram_updates_total", &messages, 1.0);
    // A call that nobody takes is told of after whatever is said to that.
    let pbx = house.busy_pbx();
    let call = house.telegram.call("bobby", SESSION, "9.0.0");
    house.telegram.wait_call(&call, "discarded", s(10));
    pbx.wait(s(10)).expect_ok();
    assert_eq!(house.telegram.texts("bobby", 1, s(5)), ["486 Busy Here"]);
    // An answer without a word of that is one to be given.
    house.expect_command(&[&set[..4], &["Write to us."]].concat(), "");
    let exported = house.expect_command(&["export"], "");
    assert!(
        exported.contains("messages_processing = true"),
        "{exported}"
    );
    house.telegram.write("bobby", SESSION, "hello");
    let told = house.telegram.texts("bobby", 2, s(10));
    assert_eq!(told, ["486 Busy Here", "Write to us."]);
    house.assert_clean(&["discard_reason"]);
}
