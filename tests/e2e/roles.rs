//! Worker and Storage: switched off and on while people talk; and a store that takes nothing any more.

use std::fs;

use serde_json::{Value, json};

use crate::deadline::{s, until};
use crate::disk::Disk;
use crate::house::{House, SESSION, TRUNK};
use crate::talk::{ALAW, Caller, Talk};
use crate::telegram::Behaviour;

/// What a PBX is answered that registers.
fn registers(house: &House, name: &str, code: &str) -> String {
    let pbx = house.sipp(name).key("expires", "3600").key("code", code);
    let verdict = pbx.run("register_refused");
    verdict.expect_ok().last_final().start().to_owned()
}

/// What a PBX is answered that calls.
fn calls(house: &House, name: &str, code: &str) -> String {
    let pbx = house.sipp(name).number("carol").key("code", code);
    let verdict = pbx.run("uac_refused");
    verdict.expect_ok().last_final().start().to_owned()
}

/// What a Telegram user reads who calls.
fn reads(house: &House, known: usize) -> String {
    let call = house.telegram.call("carol", SESSION, "9.0.0");
    house.telegram.wait_call(&call, "discarded", s(10));
    let mut texts = house.telegram.texts("carol", known + 1, s(10));
    texts.pop().unwrap_or_default()
}

/// A part of the switch as the interface shows it.
fn shown(house: &House, path: &str) -> (Value, Value) {
    let made = house.expect_command(
        &[
            "--output", "json", "token", "create", "t", "--scope", "read",
        ],
        "",
    );
    let made: Value = serde_json::from_str(made.trim()).unwrap();
    let api = house.admin().with_token(made["token"].as_str().unwrap());
    let view = api.get(path);
    (view["enabled"].clone(), view["state"].clone())
}

#[test]
fn a_role_is_switched_off_and_on_while_people_talk() {
    let house = House::new().registering_trunk(&["alaw"]).start();
    let Talk {
        mut house,
        mut phone,
        talker,
        call,
    } = Talk::start_in(house, Caller::Pbx, "13.0.0", ALAW);
    house
        .telegram
        .user("carol", "15550003", &Behaviour::accepts());
    let storage = "403 Session storage is inactive";
    let worker = "403 Worker is inactive";
    let roles: [(&[&str], &str, &str, &str); 2] = [
        (&["storage"], "/api/v1/storage", storage, storage),
        (
            &["worker", "local"],
            "/api/v1/workers/local",
            worker,
            "503 Worker is unavailable",
        ),
    ];
    for (n, (words, path, told, read)) in roles.into_iter().enumerate() {
        let command = |what: &'static str| {
            let mut line = vec![words[0], what];
            line.extend(&words[1..]);
            house.expect_command(&line, "")
        };
        let said = command("disable");
        assert!(said.contains("switched off"), "{said}");
        assert_eq!(shown(&house, path), (json!(false), json!("running")));
        let status = house.expect_command(&["status"], "");
        assert!(status.contains("running, switched off"), "{status}");
        assert_eq!(registers(&house, &format!("registers-{n}"), "403"), told);
        assert_eq!(calls(&house, &format!("calls-{n}"), "403"), told);
        assert_eq!(reads(&house, n), read);
        house.wait_metric("strowger_role_enabled", &[("role", words[0])], 0.0);
        // The two who talk notice nothing.
        let labels = [("leg", "sip"), ("direction", "out")];
        let before = house
            .metrics()
            .sum_of("strowger_rtp_packets_total", &labels);
        house.wait_metric_above("strowger_rtp_packets_total", &labels, before + 50.0);
        assert!(!phone.has("CALL_CLOSED"));
        command("enable");
        assert_eq!(shown(&house, path), (json!(true), json!("running")));
        assert_eq!(
            registers(&house, &format!("again-{n}"), "200"),
            "200 OK",
            "without a restart"
        );
    }
    house.telegram.discard("bobby", &call, "hangup");
    phone.wait_closed();
    talker.finish();
    house.assert_clean(&["discard_reason", "accept_without_received"]);
}

#[test]
fn a_role_that_was_switched_off_stays_so_when_the_switch_starts_again() {
    let mut house = House::new().registering_trunk(&["alaw"]).start();
    house.wait_session_up();
    house.expect_command(&["storage", "disable"], "");
    house.stop();
    // Also where no switch runs.
    let list = house.expect_command(&["storage", "show"], "");
    assert!(list.contains("no switch runs"), "{list}");
    house.start();
    house.wait_session_up();
    assert_eq!(
        registers(&house, "pbx", "403"),
        "403 Session storage is inactive"
    );
    house.expect_command(&["storage", "enable"], "");
    assert_eq!(registers(&house, "pbx-again", "200"), "200 OK");
    assert_eq!(house.command(&["worker", "disable", "far"], "").0, 5);
    let refused = house.command(&["trunk", "set", TRUNK, "--worker", "far"], "");
    assert!(refused.1.contains("there is no worker far"), "{refused:?}");
    house.expect_command(&["trunk", "set", TRUNK, "--worker", "local"], "");
    house.assert_clean(&[]);
}

#[test]
fn a_pbx_that_wants_to_be_called_by_tls_needs_a_worker_that_can() {
    let mut house = House::new().registering_trunk(&["alaw"]).start();
    house.wait_session_up();
    let pbx = house.sipp("pbx").key("expires", "120").key("code", "403");
    let verdict = pbx.run("register_refused_tls");
    let said = verdict.expect_ok().last_final().start().to_owned();
    assert_eq!(said, "403 Worker address is not set");
    house.assert_clean(&[]);
}

#[test]
fn who_cannot_be_remembered_or_counted_is_refused_while_the_disk_is_full() {
    let mut house = House::new()
        .quota("fail_calls = 1000")
        .saying("quota = \"small\"")
        .registering_trunk(&["alaw"])
        .build();
    let disk = Disk::of(house.dir().join("data"), 16);
    house.start();
    house.wait_session_up();
    assert_eq!(registers(&house, "first", "200"), "200 OK");
    disk.fill();
    // What has room is written yet; this has none.
    let many = (0..1500).fold(String::new(), |text, n| {
        let (high, low) = (n / 250, n % 250 + 1);
        text + &format!(
            "[[trunk]]\nname = \"t{n}\"\nkind = \"peer\"\naddress = \"192.0.{high}.{low}:5060\"\n\n"
        )
    });
    fs::write(house.dir().join("many.toml"), many).unwrap();
    let (code, said) = house.command(&["apply", "many.toml"], "");
    assert_ne!(code, 0, "{said}");
    house.wait_metric("strowger_role_running", &[("role", "storage")], 0.0);
    // It is registered already, and must be counted when it calls.
    assert_eq!(calls(&house, "caller", "500"), "500 Database error");
    assert_eq!(registers(&house, "again", "200"), "200 OK");
    house.assert_running();
    house.stop();
    disk.free();
    house.start();
    house.wait_session_up();
    until("the storage to be well", s(20), || {
        let labels = [("role", "storage")];
        let running = house.metrics().value("strowger_role_running", &labels);
        running.filter(|running| *running > 0.5)
    });
    house.stop();
    disk.take_away();
}

#[test]
fn a_pbx_without_credentials_is_asked_for_them() {
    let mut house = House::new().registering_trunk(&["alaw"]).start();
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(s(10))).unwrap();
    let (ours, theirs) = (socket.local_addr().unwrap(), house.sip());
    let request = format!(
        "REGISTER sip:{theirs} SIP/2.0\r\nVia: SIP/2.0/UDP {ours};branch=z9hG4bKasked;rport\r\n\
         From: <sip:nobody@{theirs}>;tag=1\r\nTo: <sip:nobody@{theirs}>\r\nCall-ID: asked@{ours}\r\nCSeq: 1 REGISTER\r\n\
         Contact: <sip:nobody@{ours}>\r\nMax-Forwards: 70\r\nExpires: 120\r\nUser-Agent: a PBX without credentials\r\n\
         Content-Length: 0\r\n\r\n"
    );
    socket.send_to(request.as_bytes(), theirs).unwrap();
    let mut room = [0; 2048];
    let length = socket.recv(&mut room).unwrap();
    let said = String::from_utf8_lossy(&room[..length]).into_owned();
    assert!(said.starts_with("SIP/2.0 401 Unauthorized\r\n"), "{said}");
    assert!(said.contains("WWW-Authenticate: Digest"), "{said}");
    house.assert_clean(&[]);
}

#[test]
fn a_pbx_whose_route_was_taken_away_is_refused() {
    let mut house = House::new().registering_trunk(&["alaw"]).start();
    house.wait_session_up();
    assert_eq!(registers(&house, "before", "200"), "200 OK");
    house.expect_command(&["route", "remove", TRUNK, SESSION], "");
    let told = "403 Route is not permitted";
    assert_eq!(registers(&house, "pbx", "403"), told);
    assert_eq!(calls(&house, "caller", "403"), told);
    house.expect_command(&["route", "add", TRUNK, SESSION], "");
    assert_eq!(registers(&house, "after", "200"), "200 OK");
    house.assert_clean(&[]);
}
