//! `strowger session login`: code, password, and what can go wrong.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::house::House;
use crate::http::Http;

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
fn a_code_is_sent_again_by_another_way() {
    let house = house();
    house.telegram.set(json!({"resend_after": 1}));
    // Too early, then refused as wrong, then in time.
    let (code, said) = log_in(&house, "resend\ncancel\n");
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("sent again in 1 s"), "{said}");
    assert!(said.contains("cancelled"), "{said}");
    house.telegram.set(json!({"resend_after": 0}));
    let (code, said) = log_in(&house, "resend\n12345\n");
    assert_eq!(code, 0, "{said}");
    let codes = house.telegram.events("kind=login_code", Duration::ZERO);
    let ways: Vec<&str> = codes
        .iter()
        .filter_map(|code| code["way"].as_str())
        .collect();
    assert_eq!(ways, ["sms", "sms", "call"]);
    assert!(
        said.contains("by SMS") && said.contains("by a call"),
        "{said}"
    );
}

#[test]
fn an_expired_code_is_replaced_by_another() {
    let house = house();
    house.telegram.set(json!({"code_ttl": 0}));
    let (code, said) = log_in(&house, "12345\ncancel\n");
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("expired: another one was sent"), "{said}");
}

#[test]
fn a_lost_password_is_recovered_by_mail() {
    let mut house = house();
    let password = json!({"password": "s3cret words"});
    house.telegram.patch_account("gateway", &password);
    // Without an address there is nothing to recover it by.
    let (code, said) = log_in(&house, "12345\n/recover\n/cancel\n");
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("no e-mail address"), "{said}");
    let address = json!({"recovery_email": "ann@example.org"});
    house.telegram.patch_account("gateway", &address);
    let (code, said) = log_in(&house, "12345\n/recover\n1\n654321\n");
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("a***@example.org"), "{said}");
    assert!(said.contains("not the code"), "{said}");
    house.start();
    house.wait_session_up();
    house.assert_clean(&[]);
}

#[test]
fn a_login_that_needs_an_address_sets_one_up() {
    let mut house = house();
    let needed = json!({"email_required": true});
    house.telegram.patch_account("gateway", &needed);
    let (code, said) = log_in(&house, "nonsense\nann@example.org\n654321\n654321\n");
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("does not take this address"), "{said}");
    let mails = house.telegram.events("kind=mail", Duration::ZERO);
    assert_eq!(mails.len(), 1, "{mails:?}");
    house.start();
    house.wait_session_up();
    house.assert_clean(&[]);
}

#[test]
fn a_bot_logs_in_by_its_token() {
    let house = house();
    house
        .telegram
        .account(json!({"username": "helper", "first_name": "Bot", "bot_token": "7:abc"}));
    let key = house.telegram.new_key();
    let line = ["session", "login", "bot", "--bot", "--test-key", &key];
    let (code, said) = house.command(&line, "7:wrong\n");
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("no bot has this token"), "{said}");
    let said = house.expect_command(&line, "7:abc\n");
    assert!(said.contains("it is a bot"), "{said}");
    assert!(!said.contains("7:abc"), "{said}");
}

/// Scans the token that is shown as the `count`-th, as `username`.
fn scan(control: &str, count: usize, username: &str) -> Value {
    let http = Http::new(control);
    let found = http.get(&format!("/log?kind=login_token&count={count}&wait=30"));
    let token = found["events"][count - 1]["token"].as_str().unwrap();
    http.post(
        &format!("/login_tokens/{token}/accept"),
        &json!({"account": username}),
    )
}

/// Logs in by a QR code of which the `count`-th is scanned.
fn scan_in(house: &House, count: usize, input: &str) -> String {
    let key = house.telegram.new_key();
    let other = format!("4:{}", house.telegram.new_key_of(4));
    let line = [
        "session",
        "login",
        "gateway",
        "--qr",
        "--test-key",
        &key,
        "--test-key",
        &other,
    ];
    let control = house.telegram.control().to_owned();
    let phone = std::thread::spawn(move || scan(&control, count, "gateway"));
    let said = house.expect_command(&line, input);
    phone.join().unwrap();
    said
}

#[test]
fn a_qr_code_is_renewed_until_it_is_scanned() {
    let mut house = house();
    // Shown for 5 s each, which is the least there is.
    house.telegram.set(json!({"login_token_ttl": 8}));
    let said = scan_in(&house, 2, "");
    assert_eq!(said.matches("tg://login?token=").count(), 2, "{said}");
    assert!(said.contains('\u{2588}'), "{said}");
    house.start();
    house.wait_session_up();
    house.assert_clean(&[]);
}

#[test]
fn a_qr_code_may_be_scanned_by_an_account_of_another_data_centre() {
    let mut house = house();
    let change = json!({"home_dc": 4, "password": "s3cret words"});
    house.telegram.patch_account("gateway", &change);
    let said = scan_in(&house, 1, "s3cret words\n");
    assert!(!said.contains("s3cret"), "{said}");
    house.start();
    house.wait_session_up();
    house.assert_clean(&[]);
}

#[test]
fn a_number_of_another_data_centre_moves_there() {
    let mut house = house();
    house
        .telegram
        .patch_account("gateway", &json!({"home_dc": 4}));
    let mut line = House::login_line(&house.telegram.new_key()).to_vec();
    line.extend([
        "--test-key".to_owned(),
        format!("4:{}", house.telegram.new_key_of(4)),
    ]);
    let line: Vec<&str> = line.iter().map(String::as_str).collect();
    house.expect_command(&line, "12345\n");
    house.start();
    house.wait_session_up();
    house.assert_clean(&[]);
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
    assert!(said.contains("unauthorized: log it in"), "{said}");
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
fn a_revoked_session_is_logged_out_before_it_is_logged_in_again() {
    let house = house();
    house.log_in();
    house.telegram.http().post(
        "/accounts/gateway/revoke",
        &json!({"error": "SESSION_REVOKED"}),
    );
    let (code, said) = house.command(&["session", "login", "gateway"], "12345\n");
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("session logout"), "{said}");
    let said = house.expect_command(&["session", "logout", "gateway", "--yes"], "");
    assert!(said.contains("already"), "{said}");
    house.log_in();
}

/// The account's devices at Telegram; `other` for those of the owner.
pub(crate) fn devices(house: &House) -> Vec<Value> {
    let account = house.telegram.http().get("/accounts/gateway");
    account["devices"].as_array().unwrap().clone()
}

/// Whether calls ring on each device of the owner.
pub(crate) fn rings_elsewhere(house: &House, ours: &str) -> Vec<bool> {
    let others = devices(house)
        .into_iter()
        .filter(|device| device["key_id"] != ours);
    others
        .map(|device| device["call_requests_disabled"] != true)
        .collect()
}

/// Gives the owner a device of his own; the id of ours is returned.
pub(crate) fn with_another_device(house: &House) -> String {
    house.log_in();
    let ours = devices(house)[0]["key_id"].as_str().unwrap().to_owned();
    house
        .telegram
        .http()
        .post("/auth_keys", &json!({"account": "gateway"}));
    let closed = json!({"PhoneCall": "contacts", "PhoneP2P": "nobody", "ChatInvite": "all"});
    house
        .telegram
        .patch_account("gateway", &json!({"privacy": closed}));
    ours
}

pub(crate) fn privacy(house: &House, key: &str) -> String {
    let account = house.telegram.http().get("/accounts/gateway");
    account["privacy"][key][0]["_"].as_str().unwrap().to_owned()
}

#[test]
fn an_account_is_hardened() {
    let mut house = house();
    let ours = with_another_device(&house);
    assert_eq!(rings_elsewhere(&house, &ours), [true]);
    let said = house.expect_command(&["session", "harden", "gateway"], "");
    assert_eq!(said.matches("done").count(), 4, "{said}");
    assert_eq!(rings_elsewhere(&house, &ours), [false]);
    assert_eq!(privacy(&house, "PhoneCall"), "PrivacyValueAllowAll");
    assert_eq!(privacy(&house, "PhoneP2P"), "PrivacyValueAllowAll");
    assert_eq!(privacy(&house, "ChatInvite"), "PrivacyValueDisallowAll");
    let own = devices(&house)
        .into_iter()
        .find(|device| device["key_id"] == ours.as_str());
    assert_eq!(own.unwrap()["call_requests_disabled"], false);
    house.start();
    house.wait_session_up();
    house.assert_clean(&[]);
}

#[test]
fn what_is_refused_to_a_fresh_login_is_done_later_by_the_switch() {
    let mut house = house();
    let ours = with_another_device(&house);
    house.telegram.set(json!({"fresh_for": 3600}));
    let line = ["session", "harden", "gateway", "calls-here-only"];
    let said = house.expect_command(&line, "");
    assert!(said.contains("later"), "{said}");
    let shown = house.expect_command(&["session", "show", "gateway"], "");
    assert!(shown.contains("calls-here-only after 20"), "{shown}");
    assert_eq!(privacy(&house, "PhoneCall"), "PrivacyValueAllowContacts");
    let line = [&line[..], &["--test-retry", "3"]].concat();
    house.expect_command(&line, "");
    house.start();
    house.wait_session_up();
    assert_eq!(rings_elsewhere(&house, &ours), [true]);
    house.telegram.set(json!({"fresh_for": 0}));
    crate::deadline::until("the second try", Duration::from_secs(15), || {
        (rings_elsewhere(&house, &ours) == [false]).then_some(())
    });
    house.assert_clean(&[]);
    house.stop();
    let shown = house.expect_command(&["session", "show", "gateway"], "");
    assert!(!shown.contains("calls-here-only"), "{shown}");
}

/// Every file below, that the program may have written.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if !path.ends_with("telegram_sim.log") {
            found.push(path);
        }
    }
    found
}

#[test]
fn neither_codes_nor_passwords_are_left_behind() {
    let mut house = house();
    let change = json!({"password": "c4n4ry words", "login_code": "c4n4ry-code", "recovery_email": "ann@example.org"});
    house.telegram.patch_account("gateway", &change);
    house.telegram.set(json!({"mail_code": "c4n4ry-mail"}));
    let input = "c4n4ry-code\nc4n4ry wrong\n/recover\nc4n4ry-mail\n";
    let (code, said) = log_in(&house, input);
    assert_eq!(code, 0, "{said}");
    assert!(!said.contains("c4n4ry"), "{said}");
    house.start();
    house.wait_session_up();
    house.stop();
    let files = files(house.dir());
    assert!(
        files.iter().any(|file| file.ends_with("store/db")),
        "the store is among them: {files:?}"
    );
    for file in files {
        let text = std::fs::read(&file).unwrap();
        let found = text.windows(6).any(|window| window == b"c4n4ry");
        assert!(!found, "{}", file.display());
    }
}

#[test]
fn an_account_that_is_gone_is_not_hardened() {
    let house = house();
    let (code, said) = house.command(&["session", "harden", "gateway"], "");
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("not logged in"), "{said}");
    house.log_in();
    house
        .telegram
        .http()
        .post("/connections/refuse", &json!({}));
    let (code, said) = house.command(&["session", "harden", "gateway"], "");
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("could not be reached"), "{said}");
}
