//! What the switch finds amiss with itself, as events, over HTTP and on the command line.

use std::fs;

use serde_json::{Value, json};

use crate::crash::peer::Peer;
use crate::deadline::{s, until};
use crate::disk::small_disk_between_pbxs;
use crate::house::{House, SESSION};
use crate::http::{Http, Listener};

/// What is amiss: names, and whom it is about.
fn firing(api: &Http) -> Vec<(String, String)> {
    let status = api.get("/api/v1/status");
    let alerts = status["alerts"].as_array().unwrap();
    let text = |alert: &Value, key: &str| alert[key].as_str().unwrap_or_default().to_owned();
    let named = alerts
        .iter()
        .map(|alert| (text(alert, "name"), text(alert, "session")));
    named.collect()
}

/// The next alert of this name.
fn told(events: &Listener, name: &str) -> Value {
    loop {
        let event = events.next_event(s(20));
        assert_eq!(event["type"], "alert", "{event}");
        if event["data"]["name"] == name {
            return event;
        }
    }
}

#[test]
fn a_session_without_login_and_records_that_cannot_be_written_are_told_and_so_is_their_end() {
    let mut house = House::new()
        .peer_trunk(&["alaw"])
        .leaves_by(&["alaw"])
        .setting("cdr.csv = \"files\"")
        .not_logged_in()
        .build();
    house.start_unready();
    let token = ["--output", "json", "token", "create", "reader"];
    let token: Value = serde_json::from_str(house.expect_command(&token, "").trim()).unwrap();
    let api = house.admin().with_token(token["token"].as_str().unwrap());
    let login = ("session_login".to_owned(), SESSION.to_owned());
    until("the missing login to be seen", s(20), || {
        firing(&api).contains(&login).then_some(())
    });
    let events = api.listen("/api/v1/events?types=alert");
    assert_eq!(events.next_line(s(10)), ": listening");
    let office = Peer::start(house.peer_port(), house.sip(), 10, true);
    let branch = Peer::start(house.branch_port(), house.sip(), 0, false);
    office.busy(true);
    let begun = told(&events, "records_not_written");
    assert_eq!(begun["data"]["state"], "firing", "{begun}");
    let detail = begun["data"]["detail"].as_str().unwrap();
    assert!(detail.contains("csv"), "{begun}");
    let status = house.expect_command(&["status"], "");
    for name in ["session_login gateway since", "records_not_written since"] {
        assert!(status.contains(name), "{name}: {status}");
    }
    assert!(house.log().contains("alert=records_not_written"));
    fs::create_dir(house.dir().join("files")).unwrap();
    let over = told(&events, "records_not_written");
    assert_eq!(over["data"]["state"], "resolved", "{over}");
    assert_eq!(over["data"]["since"], begun["data"]["since"]);
    assert_eq!(firing(&api), [login]);
    office.busy(false);
    // Whoever disables the session is told no more of it.
    house.expect_command(&["session", "disable", SESSION], "");
    let over = told(&events, "session_login");
    assert_eq!(
        (&over["data"]["state"], &over["session"]),
        (&json!("resolved"), &json!(SESSION))
    );
    assert_eq!(firing(&api), []);
    drop((office, branch));
    house.stop();
}

#[test]
fn a_full_disk_is_an_alert_for_as_long_as_it_is_full() {
    let (mut house, disk, office, branch) = small_disk_between_pbxs();
    office.busy(true);
    let amiss = |house: &House| {
        let said = house.expect_command(&["--output", "json", "status"], "");
        let status: Value = serde_json::from_str(said.trim()).unwrap();
        let alerts = status["alerts"].as_array().unwrap().clone();
        alerts.iter().any(|alert| alert["name"] == "store_fails")
    };
    assert!(!amiss(&house));
    disk.fill();
    until("the full disk to be seen", s(90), || {
        amiss(&house).then_some(())
    });
    disk.free();
    until("it to be over", s(30), || (!amiss(&house)).then_some(()));
    office.busy(false);
    drop((office, branch));
    house.stop();
    disk.take_away();
}
