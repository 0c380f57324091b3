//! What an owner does with trunks, quotas and backups of a switch that runs, beside changing records.

use serde_json::{Value, json};

use crate::crash::peer::Peer;
use crate::deadline::{s, until};
use crate::house::{House, PASSWORD, SESSION, TRUNK};
use crate::pbx::Sipp;

/// A token that may do everything.
pub(crate) fn owner_token(house: &House) -> String {
    let line = [
        "--output",
        "json",
        "token",
        "create",
        "page",
        "--scope",
        "read,write,admin",
    ];
    let made = house.expect_command(&line, "");
    let made: Value = serde_json::from_str(made.lines().next().unwrap()).unwrap();
    made["token"].as_str().unwrap().to_owned()
}

#[test]
fn a_registration_is_begun_anew_and_the_trunk_tried_while_the_switch_runs() {
    let port = crate::ports::one();
    let mut house = House::new().outbound_trunk(port, &["alaw"]).build();
    let registrar = |name: &str| {
        let registrar = Sipp::on(house.dir(), name, port).login("1001", PASSWORD);
        registrar.start("registrar")
    };
    let first = registrar("first");
    house.start();
    house.wait_metric("strowger_trunk_up", &[("trunk", TRUNK)], 1.0);
    first.wait(s(10)).expect_ok();
    let registrar = |name: &str| {
        let registrar = Sipp::on(house.dir(), name, port).login("1001", PASSWORD);
        registrar.start("registrar")
    };
    let second = registrar("second");
    let said = house.expect_command(&["trunk", "reconnect", TRUNK], "");
    assert_eq!(said.trim(), "trunk office begins anew");
    second.wait(s(10)).expect_ok();
    house.wait_metric("strowger_trunk_up", &[("trunk", TRUNK)], 1.0);
    let (code, said) = house.command(&["trunk", "reconnect", "nobody"], "");
    assert_eq!(code, 5, "{said}");

    let asked = Sipp::on(house.dir(), "asked", port).start("uas_options");
    let said = house.expect_command(&["trunk", "test", TRUNK], "");
    assert!(
        said.contains("200 OK") && said.contains("next      call"),
        "{said}"
    );
    asked.wait(s(10)).expect_ok();
    let (code, said) = house.command(&["trunk", "test", TRUNK], "");
    assert_eq!(code, 1, "nobody is there now: {said}");
    house.expect_command(&["trunk", "disable", TRUNK], "");
    let (code, said) = house.command(&["trunk", "reconnect", TRUNK], "");
    assert_eq!(code, 6, "{said}");

    let api = house.admin().with_token(&owner_token(&house));
    let path = format!("/api/v1/trunks/{TRUNK}/snippet");
    let (status, text) = api.send("GET", &format!("{path}?for=asterisk-pjsip"), None);
    assert_eq!(status, 200, "{text}");
    assert!(text.to_string().contains("1001"), "{text}");
    assert_eq!(api.send("GET", &format!("{path}?for=toaster"), None).0, 400);
    let routes = [
        ("code", "200"),
        ("method", "GET"),
        ("route", "/api/v1/trunks/{name}/snippet"),
    ];
    house.wait_metric("strowger_http_requests_total", &routes, 1.0);
    house.assert_clean(&["the registrar is gone"]);
}

#[test]
fn what_a_trunk_has_used_is_shown_and_forgotten_over_http() {
    let mut house = House::new()
        .quota("total_seconds = 600")
        .session_saying("quota = \"small\"")
        .registering_trunk(&["alaw"])
        .start();
    house.wait_session_up();
    let api = house.admin().with_token(&owner_token(&house));
    let page = api.get("/api/v1/quotas");
    assert_eq!(page["items"][0]["subject"], "session/gateway", "{page}");
    assert_eq!(page["items"][0]["talk_limit_ms"], 600_000, "{page}");
    for (path, status) in [
        ("session/gateway", 204),
        ("session/nobody", 404),
        ("planet/earth", 400),
    ] {
        let path = format!("/api/v1/quotas/{path}/reset");
        assert_eq!(api.send("POST", &path, None).0, status, "{path}");
    }
    let said = house.expect_command(&["quota", "reset", "session/gateway"], "");
    assert_eq!(said.trim(), "session/gateway begins anew");
    let said = house.expect_command(&["quota", "show", "session/gateway"], "");
    assert!(said.contains("small"), "{said}");
    house.assert_clean(&[]);
    house.stop();
    let (code, said) = house.command(&["quota", "show"], "");
    assert_eq!(code, 4, "{said}");
}

/// How many calls are up while the backup is made.
const CALLS: usize = 50;

#[test]
fn a_backup_during_fifty_calls_is_restored_elsewhere_with_the_same_records() {
    let mut house = House::new()
        .peer_trunk(&["alaw"])
        .leaves_by(&["alaw"])
        .rtp_ports(400)
        .start();
    house.wait_session_up();
    let office = Peer::start(house.peer_port(), house.sip(), 45, true);
    let _branch = Peer::start(house.branch_port(), house.sip(), 0, false);
    office.busy(true);
    let up = |house: &House| house.metrics().sum("strowger_calls_active");
    until("fifty calls", s(30), || {
        (up(&house) >= f64::from(u32::try_from(CALLS).unwrap())).then_some(())
    });
    let api = house.admin().with_token(&owner_token(&house));
    let exported = house.expect_command(&["export", "--secrets"], "");
    let (status, made) = api.send("POST", "/api/v1/backup", None);
    assert_eq!(status, 201, "{made}");
    assert!(up(&house) > 10.0, "calls went on");
    let file = made["file"].as_str().unwrap().to_owned();
    assert_eq!(api.get("/api/v1/backup")[0]["file"], json!(file));
    let said = house.expect_command(&["backup", "verify", &file], "");
    assert!(
        said.contains("whole, and the key fits") && said.contains("1 sessions, 2 trunks"),
        "{said}"
    );
    office.busy(false);
    house.wait_no_calls();
    house.stop();

    let elsewhere = house.dir().join("elsewhere");
    let elsewhere = elsewhere.to_str().unwrap();
    let there = |line: &[&str]| house.expect_command(&[&["--data", elsewhere], line].concat(), "");
    let said = there(&["backup", "restore", &file]);
    assert!(said.contains("session adopt gateway"), "{said}");
    // All that an owner edits is the same, but that the session is off.
    let restored = there(&["export", "--secrets"]);
    let lines = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| !line.starts_with("enabled"));
        lines.map(str::to_owned).collect()
    };
    assert_eq!(lines(&restored), lines(&exported));
    let shown = there(&["session", "show", SESSION]);
    assert!(shown.contains("switched"), "{shown}");
    let off = shown.lines().find(|line| line.starts_with("switched"));
    assert!(off.unwrap().ends_with("off"), "{shown}");
    // The calls that were up then are closed at the first start there, and those that were over are there.
    let line = ["--data", elsewhere, "session", "enable", SESSION];
    let (code, said) = house.command(&line, "");
    assert!(code == 6 && said.contains("--old-is-gone"), "{said}");
    let records = there(&["cdr", "export", "--format", "json"]);
    let here = house.records();
    let ids: Vec<&str> = here
        .iter()
        .filter_map(|record| record["id"].as_str())
        .collect();
    let records: Vec<Value> = records
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    for record in &records {
        assert!(ids.contains(&record["id"].as_str().unwrap()), "{record}");
    }
    assert!(here.len() >= CALLS, "{}", here.len());
    there(&["session", "adopt", SESSION, "--old-is-gone"]);
}
