//! Accounts that are logged in, logged out, hardened and adopted while the switch runs.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use crate::deadline::{s, until};
use crate::house::{House, SESSION};
use crate::http::Http;
use crate::login::{devices, files, privacy, rings_elsewhere, with_another_device};
use crate::talk::{ALAW, Caller, Ends, Talk};
use crate::trunks::owner_token;

const UP: &str = "strowger_telegram_session_up";

/// The admin listener with a token that may do everything.
fn api(house: &House) -> Http {
    house.admin().with_token(&owner_token(house))
}

/// A house whose session was never logged in, and which runs.
fn house() -> House {
    let mut house = House::new()
        .registering_trunk(&["alaw"])
        .not_logged_in()
        .build();
    house.start_unready();
    house
}

fn wait_state(api: &Http, session: &str, state: &str) {
    let path = format!("/api/v1/sessions/{session}");
    until(format_args!("{session} to be {state}"), s(20), || {
        let (status, body) = api.send("GET", &path, None);
        (status == 200 && body["state"]["state"] == state).then_some(())
    });
}

#[test]
fn an_account_with_a_password_is_logged_in_while_another_one_talks() {
    let talk = Talk::start(Caller::Pbx, "13.0.0", ALAW);
    let house = &talk.house;
    let account = json!({"username": "second", "first_name": "Second", "phone": "15550007", "password": "c4n4ry words",
        "login_code": "c4n4ry-code"});
    house.telegram.account(account);
    let key = house.telegram.new_key();
    let line = [
        "session",
        "login",
        "second",
        "--phone",
        "+15550007",
        "--test-key",
        &key,
    ];
    let said = house.expect_command(&line, "c4n4ry-code\nc4n4ry wrong\nc4n4ry words\n");
    assert!(said.contains("wrong password"), "{said}");
    assert!(said.contains("session second is logged in"), "{said}");
    assert!(!said.contains("c4n4ry"), "{said}");
    house.wait_metric(UP, &[("session", "second")], 1.0);
    house.wait_metric(UP, &[("session", SESSION)], 1.0);
    let (code, said) = house.command(&line, "12345\n");
    assert_eq!(code, 6, "it is logged in: {said}");
    let mut house = talk.end(Ends::Telegram);
    house.stop();
    for file in files(house.dir()) {
        let text = fs::read(&file).unwrap();
        let found = text.windows(6).any(|window| window == b"c4n4ry");
        assert!(!found, "{}", file.display());
    }
    // The next start finds it.
    house.start();
    house.wait_metric(UP, &[("session", "second")], 1.0);
}

#[test]
fn a_qr_code_over_http_is_renewed_and_scanned() {
    let mut house = house();
    let api = api(&house);
    // Shown for 5 s each, which is the least there is.
    house.telegram.set(json!({"login_token_ttl": 8}));
    house
        .telegram
        .patch_account(SESSION, &json!({"password": "s3cret words"}));
    let path = "/api/v1/sessions/gateway/login";
    let wanted = json!({"method": "qr", "test_keys": [house.telegram.new_key()]});
    let (status, first) = api.send("POST", path, Some(&wanted));
    assert_eq!((status, &first["step"]), (200, &json!("scan")), "{first}");
    assert!(
        first["qr_svg"].as_str().unwrap().contains("<svg"),
        "{first}"
    );
    assert!(
        first["expires"].is_i64() && first["ends"].is_u64(),
        "{first}"
    );
    let (status, other) = api.send("POST", path, Some(&wanted));
    assert_eq!((status, &other["cause"]), (409, &json!("login_running")));
    let second = until("another code", s(20), || {
        let (_, view) = api.send("GET", path, None);
        (view["qr_url"] != first["qr_url"]).then_some(view)
    });
    assert_eq!(second["step"], "scan", "{second}");
    let tokens = house.telegram.events("kind=login_token&count=2", s(5));
    let token = tokens[1]["token"].as_str().unwrap();
    let accepted = json!({"account": SESSION});
    let telegram = house.telegram.http();
    telegram.post(&format!("/login_tokens/{token}/accept"), &accepted);
    until("the password to be asked for", s(20), || {
        let (_, view) = api.send("GET", path, None);
        (view["step"] == "password").then_some(())
    });
    let (status, refused) = api.send("POST", &format!("{path}/code"), Some(&json!({"code": "1"})));
    assert_eq!((status, &refused["cause"]), (409, &json!("not_asked")));
    let password = json!({"password": "s3cret words"});
    let (status, done) = api.send("POST", &format!("{path}/password"), Some(&password));
    assert_eq!((status, &done["step"]), (200, &json!("done")), "{done}");
    assert_eq!(done["account"]["username"], SESSION, "{done}");
    house.wait_session_up();
    assert_eq!(api.send("DELETE", path, None).0, 404);
    house.assert_clean(&[]);
}

#[test]
fn wrong_codes_are_told_and_a_cancelled_login_leaves_nothing() {
    let mut house = house();
    let api = api(&house);
    let path = "/api/v1/sessions/gateway/login";
    let begin = || {
        let wanted = json!({"method": "phone", "test_keys": [house.telegram.new_key()]});
        let (status, view) = api.send("POST", path, Some(&wanted));
        assert_eq!((status, &view["step"]), (200, &json!("code")), "{view}");
        assert_eq!(view["way"], "sms", "{view}");
    };
    let code = |code: Value| {
        api.send(
            "POST",
            &format!("{path}/code"),
            Some(&json!({ "code": code })),
        )
    };
    begin();
    let (status, refused) = code(json!(98_765));
    assert_eq!(status, 400, "text is asked for");
    assert!(!refused.to_string().contains("98765"), "{refused}");
    let (status, view) = code(json!("98765"));
    assert_eq!((status, &view["again"]), (200, &json!("wrong")), "{view}");
    assert_eq!(api.send("DELETE", path, None).0, 204);
    assert_eq!(code(json!("12345")).0, 404);
    assert_eq!(api.send("GET", path, None).0, 404);
    until("the login to be over", s(10), || {
        house
            .log()
            .contains("the login was cancelled")
            .then_some(())
    });
    begin();
    assert_eq!(code(json!("98765")).0, 200);
    assert_eq!(code(json!("98765")).0, 200);
    let (status, over) = code(json!("98765"));
    assert_eq!(
        (status, &over["cause"]),
        (422, &json!("login_failed")),
        "{over}"
    );
    assert_eq!(api.send("GET", path, None).0, 422, "that is where it is");
    wait_state(&api, SESSION, "unauthorized");
    assert!(!house.log().contains("98765"));
    // The command gives up what is cancelled there.
    let key = house.telegram.new_key();
    let line = House::login_line(&key);
    let line = line.each_ref().map(String::as_str);
    let (status, said) = house.command(&line, "cancel\n");
    assert_eq!(status, 1, "{said}");
    assert!(said.contains("cancelled"), "{said}");
    house.expect_command(&line, "12345\n");
    house.wait_session_up();
    house.assert_clean(&[]);
}

#[test]
fn a_logout_ends_the_call_that_goes_on_and_another_login_needs_no_restart() {
    let talk = Talk::start(Caller::Telegram, "13.0.0", ALAW);
    let Talk {
        mut house,
        mut phone,
        talker,
        call,
    } = talk;
    let said = house.expect_command(&["session", "logout", SESSION, "--yes"], "");
    assert!(said.contains("is logged out"), "{said}");
    let ended = house.telegram.wait_call(&call, "discarded", s(5));
    assert_eq!(ended["reason"], "hangup", "{ended}");
    phone.wait_closed();
    talker.finish();
    let logouts = house.telegram.events("kind=logout", s(5));
    assert_eq!(logouts.len(), 1, "{logouts:?}");
    house.wait_metric(UP, &[("session", SESSION)], 0.0);
    house.wait_no_calls();
    let records = house.records();
    assert_eq!(
        (records.len(), &records[0]["ended_by"]),
        (1, &json!("here"))
    );
    let shown = house.expect_command(&["session", "show", SESSION], "");
    assert!(shown.contains("unauthorized: log it in"), "{shown}");
    let (code, said) = house.command(&["session", "logout", SESSION, "--yes"], "");
    assert_eq!(code, 6, "{said}");
    house.log_in();
    house.wait_session_up();
    drop(phone);
    house.assert_clean(&[]);
}

#[test]
fn a_logout_without_telegram_keeps_the_keys_and_the_session() {
    let mut house = House::new().registering_trunk(&["alaw"]).start();
    house.wait_session_up();
    let telegram = house.telegram.http();
    telegram.post("/connections/refuse", &json!({}));
    let (code, said) = house.command(&["session", "logout", SESSION, "--yes"], "");
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("could not be reached"), "{said}");
    telegram.post("/connections/accept", &json!({}));
    house.wait_session_up();
    house.assert_clean(&[]);
}

#[test]
fn an_account_is_hardened_over_the_connection_that_it_has() {
    let mut house = House::new()
        .registering_trunk(&["alaw"])
        .not_logged_in()
        .build();
    let ours = with_another_device(&house);
    house.start();
    house.wait_session_up();
    house.telegram.set(json!({"fresh_for": 3600}));
    let connections = || {
        house
            .telegram
            .events("kind=connected", Duration::ZERO)
            .len()
    };
    let before = connections();
    let said = house.expect_command(&["session", "harden", SESSION, "--test-retry", "3"], "");
    assert_eq!(said.matches("done").count(), 3, "{said}");
    assert_eq!(said.matches("later").count(), 1, "{said}");
    assert_eq!(connections(), before, "no other connection");
    assert_eq!(privacy(&house, "PhoneCall"), "PrivacyValueAllowAll");
    assert_eq!(privacy(&house, "ChatInvite"), "PrivacyValueDisallowAll");
    assert_eq!(rings_elsewhere(&house, &ours), [true]);
    // The connection that is up tries again by itself.
    house.telegram.set(json!({"fresh_for": 0}));
    until("the second try", s(15), || {
        (rings_elsewhere(&house, &ours) == [false]).then_some(())
    });
    assert!(!devices(&house).is_empty());
    house.assert_clean(&[]);
}

#[test]
fn a_session_of_a_backup_is_adopted_by_the_switch_that_runs() {
    let mut house = House::new().registering_trunk(&["alaw"]).start();
    house.wait_session_up();
    house.expect_command(&["backup", "create", "safe.backup"], "");
    house.stop();
    let (store, aside) = (
        house.dir().join("data/store"),
        house.dir().join("data/aside"),
    );
    fs::rename(store, aside).unwrap();
    house.expect_command(&["backup", "restore", "safe.backup"], "");
    house.start();
    let api = api(&house);
    for (method, path, body) in [
        ("POST", "enable", json!({})),
        ("POST", "logout", json!({})),
        ("POST", "login", json!({"method": "qr"})),
    ] {
        let path = format!("/api/v1/sessions/{SESSION}/{path}");
        let (status, refused) = api.send(method, &path, Some(&body));
        assert_eq!(
            (status, &refused["cause"]),
            (409, &json!("not_adopted")),
            "{path}: {refused}"
        );
    }
    house.expect_command(&["session", "adopt", SESSION, "--old-is-gone"], "");
    house.wait_session_up();
    let (code, said) = house.command(&["session", "adopt", SESSION, "--old-is-gone"], "");
    assert_eq!(code, 6, "once: {said}");
    house.assert_clean(&[]);
}

#[test]
fn neither_codes_nor_passwords_of_a_login_are_left_behind_by_the_switch() {
    let mut house = House::new()
        .registering_trunk(&["alaw"])
        .logging("trace")
        .not_logged_in()
        .build();
    house.start_unready();
    let change = json!({"password": "c4n4ry words", "login_code": "c4n4ry-code", "recovery_email": "ann@example.org"});
    house.telegram.patch_account(SESSION, &change);
    house.telegram.set(json!({"mail_code": "c4n4ry-mail"}));
    let line = House::login_line(&house.telegram.new_key());
    let line = line.each_ref().map(String::as_str);
    let input = "c4n4ry-code\nc4n4ry wrong\n/recover\n1\nc4n4ry-mail\n";
    let said = house.expect_command(&line, input);
    assert!(said.contains("a***@example.org"), "{said}");
    assert!(said.contains("not the code"), "{said}");
    assert!(!said.contains("c4n4ry"), "{said}");
    house.wait_session_up();
    house.stop();
    for file in files(house.dir()) {
        let text = fs::read(&file).unwrap();
        let found = text.windows(6).any(|window| window == b"c4n4ry");
        assert!(!found, "{}", file.display());
    }
}

#[test]
fn the_switch_sets_up_an_address_where_telegram_demands_one() {
    let mut house = house();
    let needed = json!({"email_required": true});
    house.telegram.patch_account(SESSION, &needed);
    let line = House::login_line(&house.telegram.new_key());
    let line = line.each_ref().map(String::as_str);
    let input = "nonsense\nann@example.org\n654321\n654321\n";
    let said = house.expect_command(&line, input);
    assert!(said.contains("does not take this address"), "{said}");
    house.wait_session_up();
    house.assert_clean(&[]);
}
