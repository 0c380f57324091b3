//! `strowger session login`: code, password, and what can go wrong.

use std::time::Duration;

use serde_json::json;

use crate::house::House;

fn house() -> House {
    House::new()
        .registering_trunk(&["alaw"])
        .not_logged_in()
        .build()
}

/// Logs in with this input; exit code and what was said.
fn log_in(house: &House, input: &str) -> (i32, String) {
    let line = House::login_line(&house.telegram.new_key());
    house.command(&line.each_ref().map(String::as_str), input)
}

#[test]
fn the_code_logs_in_and_the_session_comes_up() {
    let mut house = house();
    let (code, said) = log_in(&house, "12345\n");
    assert_eq!(code, 0, "{said}");
    house.start();
    house.wait_session_up();
    house.assert_clean(&[]);
}

#[test]
fn an_account_with_a_password_asks_for_it() {
    let mut house = house();
    house.telegram.patch_account(
        "gateway",
        &json!({"password": "s3cret words", "hint": "dog"}),
    );
    let (code, said) = log_in(&house, "12345\ns3cret words\n");
    assert_eq!(code, 0, "{said}");
    assert!(
        !said.contains("s3cret"),
        "the password is on the screen: {said}"
    );
    house.start();
    house.wait_session_up();
    house.assert_clean(&[]);
}

#[test]
fn a_wrong_password_is_told() {
    let house = house();
    house
        .telegram
        .patch_account("gateway", &json!({"password": "s3cret words"}));
    let (code, said) = log_in(&house, "12345\nwrong\nwrong\nwrong\n");
    assert_eq!(code, 1, "{said}");
    assert!(said.to_lowercase().contains("password"), "{said}");
}

#[test]
fn a_wrong_code_is_told() {
    let house = house();
    let (code, said) = log_in(&house, "99999\n99999\n99999\n");
    assert_eq!(code, 1, "{said}");
    assert!(said.to_lowercase().contains("code"), "{said}");
}

#[test]
fn an_input_that_ends_early_is_no_login() {
    let mut house = house();
    let (code, said) = log_in(&house, "");
    assert_eq!(code, 1, "{said}");
    house.start();
    let up = house
        .metrics()
        .value("strowger_telegram_session_up", &[("session", "gateway")]);
    assert!(up.unwrap_or(0.0).abs() < 0.1);
}

#[test]
fn a_logout_ends_the_login_at_telegram_and_deletes_the_keys() {
    let mut house = house();
    house.log_in();
    let (code, said) = house.command(&["session", "logout", "gateway"], "no\n");
    assert_eq!(code, 6, "{said}");
    let none = house.telegram.events("kind=logout", Duration::ZERO);
    assert!(none.is_empty(), "{none:?}");
    let said = house.expect_command(&["session", "logout", "gateway"], "yes\n");
    assert!(said.contains("logged out"), "{said}");
    let logouts = house.telegram.events("kind=logout", Duration::from_secs(5));
    assert_eq!(logouts.len(), 1, "{logouts:?}");
    let said = house.expect_command(&["session", "show", "gateway"], "");
    assert!(said.contains("none: log it in"), "{said}");
    let (code, said) = house.command(&["session", "logout", "gateway", "--yes"], "");
    assert_eq!(code, 6, "{said}");
    house.log_in();
    house.start();
    house.wait_session_up();
    house.assert_clean(&[]);
}

#[test]
fn a_logout_without_telegram_keeps_the_keys() {
    let house = house();
    house.log_in();
    house
        .telegram
        .http()
        .post("/connections/refuse", &json!({}));
    let (code, said) = house.command(&["session", "logout", "gateway", "--yes"], "");
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("could not be reached"), "{said}");
    house
        .telegram
        .http()
        .post("/connections/accept", &json!({}));
    house.expect_command(&["session", "logout", "gateway", "--yes"], "");
}

#[test]
fn a_logout_of_a_revoked_session_deletes_the_keys() {
    let house = house();
    house.log_in();
    house.telegram.http().post(
        "/accounts/gateway/revoke",
        &json!({"error": "SESSION_REVOKED"}),
    );
    let said = house.expect_command(&["session", "logout", "gateway", "--yes"], "");
    assert!(said.contains("already"), "{said}");
}
