//! `strowger session login`: code, password, and what can go wrong.

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
