//! Events as whoever listens has them, by HTTP and on the command line.

use serde_json::{Value, json};

use crate::deadline::s;
use crate::house::{House, SESSION, TRUNK};
use crate::http::Listener;
use crate::talk::{ALAW, Caller, Ends, Talk};

/// A token that may read.
fn reader(house: &House) -> String {
    let made = ["--output", "json", "token", "create", "reader"];
    let made: Value = serde_json::from_str(house.expect_command(&made, "").trim()).unwrap();
    made["token"].as_str().unwrap().to_owned()
}

#[test]
fn who_listens_hears_of_a_call_from_its_beginning_to_its_end_and_of_changes() {
    let house = House::new().registering_trunk(&["alaw"]).start();
    house.wait_session_up();
    let token = reader(&house);
    let all = house.admin().with_token(&token).listen("/api/v1/events");
    let ends = "/api/v1/events?types=call.ended";
    let ends = house.admin().with_token(&token).listen(ends);
    assert_eq!(all.next_line(s(10)), ": listening");
    let talk = Talk::start_in(house, Caller::Pbx, "13.0.0", ALAW);
    let calls = talk
        .house
        .expect_command(&["--output", "json", "calls", "list"], "");
    let calls: Value = serde_json::from_str(calls.trim()).unwrap();
    let id = calls[0]["id"].clone();
    let set = ["trunk", "set", TRUNK, "--priority", "7"];
    talk.house.expect_command(&set, "");
    let house = talk.end(Ends::Telegram);
    let mut heard: Vec<Value> = Vec::new();
    while heard
        .last()
        .is_none_or(|event| event["type"] != "call.ended")
    {
        heard.push(all.next_event(s(20)));
    }
    // On a busy machine they talk for longer than 10 s.
    heard.retain(|event| event["type"] != "call.quality");
    let kinds: Vec<&str> = heard
        .iter()
        .filter_map(|event| event["type"].as_str())
        .collect();
    assert_eq!(
        kinds,
        [
            "registration.changed",
            "call.started",
            "call.ringing",
            "call.answered",
            "config.changed",
            "call.ended"
        ]
    );
    assert_eq!(heard[0]["data"], json!({"up": true}));
    for event in heard
        .iter()
        .filter(|event| event["type"].as_str().unwrap().starts_with("call."))
    {
        assert_eq!(
            (&event["call"], &event["trunk"], &event["session"]),
            (&id, &json!(TRUNK), &json!(SESSION))
        );
        assert_eq!(event["data"]["direction"], "sip_to_tg", "{event}");
    }
    let ids: Vec<&str> = heard
        .iter()
        .filter_map(|event| event["id"].as_str())
        .collect();
    assert!(ids.iter().all(|id| id.len() == 26), "{ids:?}");
    let end = heard.last().unwrap();
    assert_eq!(
        (&end["data"]["result"], &end["data"]["ended_by"]),
        (&json!("answered"), &json!("telegram"))
    );
    assert_eq!(end["data"]["legs"].as_array().unwrap().len(), 2, "{end}");
    assert_eq!(ends.next_event(s(10)), *end);
    // Who comes back is told what has come behind the event that he had last, and nothing twice.
    let api = house.admin().with_token(&token);
    let back = api.listen_with("/api/v1/events", &[("Last-Event-ID", ids[1])]);
    for event in &heard[2..] {
        let told = loop {
            let told = back.next_event(s(10));
            if told["type"] != "call.quality" {
                break told;
            }
        };
        assert_eq!(told, *event);
    }
    house.expect_command(&["trunk", "set", TRUNK, "--priority", "8"], "");
    // The phone has gone meanwhile.
    let change = |listener: &Listener| loop {
        let event = listener.next_event(s(10));
        if event["type"] == "config.changed" {
            break event;
        }
    };
    assert_eq!(change(&back), change(&all));
    let stranger = "01JDT4Q4F0M6Y4X6M6M2Y9V0QK";
    let path = "/api/v1/events?types=call.started";
    let back = api.listen_with(path, &[("Last-Event-ID", stranger)]);
    assert_eq!(back.next_line(s(10)), ": listening");
    let said = back.next_line(s(10));
    assert!(said.contains("may be missing"), "{said}");
    assert_eq!(back.next_event(s(10)), heard[1]);
    let wrong = house
        .admin()
        .with_token(&token)
        .text("/api/v1/events?types=call.over");
    assert_eq!(wrong.unwrap().0, 400);
    let (code, said) = house.command(&["events", "--types", "call.over"], "");
    assert_eq!(code, 2, "{said}");
}

#[test]
fn listeners_are_counted_and_bounded_and_leave_with_the_switch() {
    let mut house = House::new().registering_trunk(&["alaw"]).start();
    house.wait_session_up();
    let token = reader(&house);
    let listeners: Vec<_> = (0..32)
        .map(|_| house.admin().with_token(&token).listen("/api/v1/events"))
        .collect();
    for listener in &listeners {
        assert_eq!(listener.next_line(s(20)), ": listening");
    }
    house.wait_metric("strowger_event_listeners", &[], 32.0);
    let more = house
        .admin()
        .with_token(&token)
        .text("/api/v1/events")
        .unwrap();
    assert_eq!(more.0, 503, "{more:?}");
    assert!(more.1.contains("too_many_listeners"), "{more:?}");
    house.stop();
}
