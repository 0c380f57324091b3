//! The HTTP interface and the commands that ask the switch that runs, while people talk.

use serde_json::{Value, json};

use crate::deadline::{s, until};
use crate::house::{House, SESSION, TRUNK};
use crate::talk::{ALAW, Caller, Talk};

/// What a command prints as JSON.
fn asked(house: &House, args: &[&str]) -> Value {
    let said = house.expect_command(&[&["--output", "json"], args].concat(), "");
    serde_json::from_str(said.trim()).unwrap_or_else(|_| panic!("{said}"))
}

#[test]
fn a_call_is_listed_shown_and_ended_by_its_owner() {
    let house = House::new().registering_trunk(&["alaw"]).start();
    let talk = Talk::start_in(house, Caller::Pbx, "13.0.0", ALAW);
    let house = &talk.house;
    let status = asked(house, &["status"]);
    assert_eq!(
        (&status["ready"], &status["calls"]),
        (&json!(true), &json!(1)),
        "{status}"
    );
    assert_eq!(status["trunks"][0]["name"], TRUNK);
    assert_eq!(status["trunks"][0]["lines_in_use"], 1);
    assert_eq!(status["sessions"][0]["state"], "running");
    let calls = asked(house, &["calls", "list"]);
    let call = &calls[0];
    assert_eq!(
        (&call["state"], &call["trunk"]),
        (&json!("established"), &json!(TRUNK))
    );
    let id = call["id"].as_str().unwrap().to_owned();
    let shown = house.expect_command(&["calls", "show", &id], "");
    assert!(shown.contains("established"), "{shown}");

    let made = asked(
        house,
        &["token", "create", "dashboard", "--scope", "read,calls"],
    );
    let token = made["token"].as_str().unwrap();
    let api = house.admin().with_token(token);
    assert_eq!(api.get("/api/v1/calls")["items"][0]["id"], id.as_str());
    assert_eq!(api.text("/api/v1/tokens").unwrap().0, 403);
    assert_eq!(house.admin().text("/api/v1/calls").unwrap().0, 401);
    assert_eq!(api.delete(&format!("/api/v1/calls/{id}")), 204);
    until("the call to end", s(20), || {
        asked(house, &["calls", "list"])
            .as_array()
            .unwrap()
            .is_empty()
            .then_some(())
    });
    house.wait_no_calls();
    let by_owner = [("side", "here"), ("cause", "operator")];
    house.wait_metric("strowger_call_teardown_total", &by_owner, 1.0);
    let records = house.records();
    assert_eq!(records.len(), 1, "{records:?}");
    assert_eq!(records[0]["ended_by"], "here");
    assert_eq!(api.get("/api/v1/cdr")["items"][0]["id"], id.as_str());
    let revoked = made["id"].as_str().unwrap();
    house.expect_command(&["token", "revoke", revoked], "");
    assert_eq!(api.text("/api/v1/calls").unwrap().0, 401);
    let Talk {
        mut house, talker, ..
    } = talk;
    talker.finish();
    house.assert_clean(&[]);
}

#[test]
fn what_would_become_of_a_call_is_told_step_by_step() {
    let mut house = House::new()
        .saying("inbound_rules = \"^8=+7 ^.{3,}$\"")
        .saying("lines = 2")
        .peer_trunk(&["alaw"])
        .start();
    house.wait_session_up();
    let said = house.expect_command(&["route", "test", "--to", "89261234567"], "");
    for part in [
        "dialled -> 89261234567",
        "`^8` -> +79261234567",
        "understood as -> +79261234567",
        "session gateway is on, running",
        "lines of trunk office: 0 in use, of 2",
        "=>  session gateway calls +79261234567",
    ] {
        assert!(said.contains(part), "{part} is not in\n{said}");
    }
    let said = house.expect_command(&["route", "test", "--to", "8"], "");
    assert!(said.contains("not taken"), "{said}");
    assert!(said.contains("refused with 404 Not Found"), "{said}");
    let said = house.expect_command(
        &["route", "test", "--from", "+15550002", "--via", SESSION],
        "",
    );
    assert!(said.contains("=>  rings office"), "{said}");
    house.expect_command(&["trunk", "disable", TRUNK], "");
    let said = house.expect_command(&["route", "test", "--to", "+15550002"], "");
    assert!(
        said.contains("refused with 503 Account is not running"),
        "{said}"
    );
    house.stop();
    let (code, said) = house.command(&["status"], "");
    assert_eq!(code, 4, "{said}");
}

#[test]
fn call_records_are_found_by_what_is_known_of_a_call() {
    let mut house = House::new().peer_trunk(&["alaw"]).start();
    house.wait_session_up();
    for user in ["nobody1", "nobody2"] {
        let caller = crate::pbx::Sipp::on(house.dir(), user, house.peer_port());
        let caller = caller.to(house.sip()).number(user).key("code", "404");
        caller.run("uac_refused").expect_ok();
    }
    house.wait_no_calls();
    let made = asked(&house, &["token", "create", "books"]);
    let api = house.admin().with_token(made["token"].as_str().unwrap());
    let found = |query: &str| {
        let page = api.get(&format!("/api/v1/cdr?{query}"));
        let items = page["items"].as_array().unwrap().clone();
        let to: Vec<String> = items
            .iter()
            .map(|it| it["to"].as_str().unwrap().to_owned())
            .collect();
        (to, page["next"].as_str().map(str::to_owned))
    };
    until("both records", s(10), || {
        (found("").0.len() == 2).then_some(())
    });
    assert_eq!(found("number=nobody1").0, ["nobody1"]);
    assert_eq!(
        found("code=404&trunk=office&since=1h&result=rejected")
            .0
            .len(),
        2
    );
    for none in ["code=486", "trunk=other", "until=1h", "direction=tg_to_sip"] {
        assert!(found(none).0.is_empty(), "{none}");
    }
    let (first, next) = found("limit=1&trunk=office");
    assert_eq!(first, ["nobody2"]);
    let (second, next) = found(&format!("limit=1&cursor={}", next.unwrap()));
    assert_eq!((second, next), (vec!["nobody1".to_owned()], None));
    for wrong in ["since=yesterday", "result=bussy", "colour=red"] {
        assert_eq!(
            api.text(&format!("/api/v1/cdr?{wrong}")).unwrap().0,
            400,
            "{wrong}"
        );
    }
    let csv = api
        .accepting("text/csv")
        .text("/api/v1/cdr?limit=1")
        .unwrap()
        .1;
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines.len(), 2, "{csv}");
    assert!(
        lines[0].starts_with("id,start,direction,") && lines[1].contains(",nobody2,"),
        "{csv}"
    );
    let json = api
        .accepting("application/jsonl")
        .text("/api/v1/cdr")
        .unwrap()
        .1;
    let lines: Vec<Value> = json
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!((lines.len(), &lines[1]["to"]), (2, &json!("nobody1")));
    house.assert_clean(&[]);
    // The same with and without a switch that runs.
    let search = [
        "cdr", "search", "--since", "1h", "--code", "404", "--number", "nobody2",
    ];
    for is_running in [true, false] {
        let found = asked(&house, &search);
        assert_eq!(found.as_array().unwrap().len(), 1, "{found}");
        if is_running {
            house.stop();
        }
    }
    let export = ["cdr", "export", "--format", "csv", "--trunk", "office"];
    let csv = house.expect_command(&export, "");
    assert_eq!(csv.lines().count(), 3, "{csv}");
    let (code, said) = house.command(&["cdr", "search", "--since", "yesterday"], "");
    assert_eq!(code, 2, "{said}");
}

#[test]
fn the_level_of_one_room_is_changed_while_the_switch_runs() {
    let mut house = House::new().peer_trunk(&["alaw"]).start();
    house.wait_session_up();
    let now = asked(&house, &["log", "level", "sip=debug"]);
    assert!(
        now["level"].as_str().unwrap().ends_with("sip=debug"),
        "{now}"
    );
    assert_eq!(asked(&house, &["log", "level"]), now);
    let (code, said) = house.command(&["log", "level", "loud"], "");
    assert_eq!(code, 2, "{said}");
    house.assert_clean(&[]);
}
