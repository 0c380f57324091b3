//! Dialogues of a login.

use super::*;
use crate::testing::{hex, user};

fn login() -> Login {
    let application = Application {
        api_id: 1,
        api_hash: Secret::new("hash".to_owned()),
    };
    Login::new(application, [1; 32])
}

fn outputs(login: &mut Login) -> Vec<LoginOutput> {
    std::iter::from_fn(|| login.poll_output()).collect()
}

/// The one request the login makes now.
fn request(login: &mut Login) -> (RequestKey, Rpc) {
    match outputs(login).as_slice() {
        [LoginOutput::Invoke(key, rpc)] => (*key, rpc.clone()),
        other => panic!("{other:?}"),
    }
}

fn reply(login: &mut Login, result: Result<Reply, RpcError>) -> Rpc {
    let (key, rpc) = request(login);
    login.handle_input(LoginInput::Reply(key, result));
    rpc
}

fn error(code: i32, name: &str) -> Result<Reply, RpcError> {
    Err(RpcError::Rpc {
        code,
        name: name.to_owned(),
    })
}

fn sent_code(next: Option<CodeType>) -> Reply {
    let code = tl::types::auth::SentCode {
        r#type: tl::types::auth::SentCodeTypeApp { length: 5 }.into(),
        phone_code_hash: "sent".to_owned(),
        next_type: next,
        timeout: Some(60),
    };
    Reply::SentCode(Box::new(code.into()))
}

fn sign_up() -> Reply {
    let required = tl::types::auth::AuthorizationSignUpRequired {
        terms_of_service: None,
    };
    Reply::Authorization(Box::new(required.into()))
}

fn password(g: i32, srp_b: Vec<u8>) -> Reply {
    let file: serde_json::Value =
        serde_json::from_str(include_str!("../../testdata/dh.json")).unwrap();
    let algo = tl::types::PasswordKdfAlgoSha256Sha256Pbkdf2Hmacsha512iter100000Sha256ModPow {
        salt1: vec![1; 8],
        salt2: vec![2; 16],
        g,
        p: hex(file["cases"][0]["p"].as_str().unwrap()),
    };
    Reply::Password(Box::new(tl::types::account::Password {
        has_recovery: false,
        has_secure_values: false,
        has_password: true,
        current_algo: Some(algo.into()),
        srp_b: Some(srp_b),
        srp_id: Some(42),
        hint: Some("cat".to_owned()),
        email_unconfirmed_pattern: None,
        new_algo: tl::enums::PasswordKdfAlgo::Unknown,
        new_secure_algo: tl::enums::SecurePasswordKdfAlgo::Unknown,
        secure_random: vec![],
        pending_reset_date: None,
        login_email_pattern: None,
    }))
}

fn code(text: &str) -> LoginInput {
    LoginInput::Code(Secret::new(text.to_owned()))
}

fn phone() -> LoginInput {
    LoginInput::Phone("+99966 2 1234".replace(' ', "").parse().unwrap())
}

fn need_code(again: Option<Again>) -> LoginOutput {
    LoginOutput::NeedCode {
        way: CodeWay::App,
        length: Some(5),
        next: Some(CodeWay::Sms),
        resend_after: Some(Duration::from_secs(60)),
        again,
    }
}

/// A login that waits for its code.
fn with_code() -> Login {
    let mut login = login();
    login.handle_input(phone());
    let rpc = reply(&mut login, Ok(sent_code(Some(CodeType::Sms))));
    assert!(matches!(rpc, Rpc::SendCode { phone, api_id: 1, .. } if phone == "9996621234"));
    assert_eq!(outputs(&mut login), [need_code(None)]);
    login
}

/// A login that waits for the cloud password.
fn with_password(parameters: Reply) -> Login {
    let mut login = with_code();
    login.handle_input(code(" 12345\n"));
    let rpc = reply(&mut login, error(401, "SESSION_PASSWORD_NEEDED"));
    assert!(
        matches!(rpc, Rpc::SignIn { code, phone_code_hash, .. } if code.expose() == "12345" && phone_code_hash == "sent")
    );
    assert_eq!(reply(&mut login, Ok(parameters)), Rpc::GetPassword);
    let hint = "cat".to_owned();
    let need = LoginOutput::NeedPassword { hint, wrong: false };
    assert_eq!(outputs(&mut login), [need]);
    login
}

fn failure(login: &mut Login) -> LoginError {
    match outputs(login).as_slice() {
        [LoginOutput::Failed(error)] => error.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_code_logs_in() {
    let mut login = with_code();
    login.handle_input(code("12345"));
    let authorization = tl::types::auth::Authorization {
        setup_password_required: false,
        otherwise_relogin_days: None,
        tmp_sessions: None,
        future_auth_token: None,
        user: user(7),
    };
    reply(
        &mut login,
        Ok(Reply::Authorization(Box::new(authorization.into()))),
    );
    let done = outputs(&mut login);
    assert!(
        matches!(done.as_slice(), [LoginOutput::Done { user }] if user.id == 7 && user.is_self),
        "{done:?}"
    );
    login.handle_input(LoginInput::Cancel);
    assert!(outputs(&mut login).is_empty());
}

#[test]
fn a_wrong_code_is_asked_for_again_three_times() {
    let mut login = with_code();
    for _ in 0..2 {
        login.handle_input(code("1"));
        reply(&mut login, error(400, "PHONE_CODE_INVALID"));
        assert_eq!(outputs(&mut login), [need_code(Some(Again::Wrong))]);
    }
    login.handle_input(code("1"));
    reply(&mut login, error(400, "PHONE_CODE_INVALID"));
    assert_eq!(failure(&mut login), LoginError::WrongCodes);
    login.handle_input(code("1"));
    assert!(
        outputs(&mut login).is_empty(),
        "over, until a number begins another one"
    );
    login.handle_input(phone());
    assert!(matches!(request(&mut login).1, Rpc::SendCode { .. }));
}

#[test]
fn an_expired_code_is_replaced() {
    let mut login = with_code();
    login.handle_input(code("12345"));
    reply(&mut login, error(400, "PHONE_CODE_EXPIRED"));
    let rpc = reply(&mut login, Ok(sent_code(Some(CodeType::Sms))));
    assert!(matches!(rpc, Rpc::SendCode { .. }));
    assert_eq!(outputs(&mut login), [need_code(Some(Again::Expired))]);
}

#[test]
fn a_code_is_sent_again_by_the_next_way() {
    let mut login = with_code();
    login.handle_input(LoginInput::Resend);
    let rpc = reply(&mut login, Ok(sent_code(None)));
    assert!(matches!(rpc, Rpc::ResendCode { phone_code_hash, .. } if phone_code_hash == "sent"));
    assert!(matches!(
        outputs(&mut login).as_slice(),
        [LoginOutput::NeedCode {
            again: Some(Again::Resent),
            next: None,
            ..
        }]
    ));
    login.handle_input(LoginInput::Resend);
    assert!(matches!(
        outputs(&mut login).as_slice(),
        [LoginOutput::NeedCode {
            again: Some(Again::NoOtherWay),
            ..
        }]
    ));
}

#[test]
fn the_login_moves_to_the_accounts_data_centre() {
    let mut login = login();
    login.handle_input(phone());
    let (key, rpc) = request(&mut login);
    login.handle_input(LoginInput::Reply(key, error(303, "PHONE_MIGRATE_4")));
    let again = outputs(&mut login);
    assert!(matches!(
        again.as_slice(),
        [LoginOutput::UseDc(4), LoginOutput::Invoke(next, same)] if *same == rpc && *next != key
    ));
}

#[test]
fn a_login_is_not_sent_around_for_ever() {
    let mut login = login();
    login.handle_input(phone());
    for round in 0..=MOVES {
        let last = outputs(&mut login).pop();
        let Some(LoginOutput::Invoke(key, _)) = last else {
            panic!("{round}: {last:?}")
        };
        login.handle_input(LoginInput::Reply(key, error(303, "PHONE_MIGRATE_4")));
    }
    assert!(matches!(failure(&mut login), LoginError::Refused(_)));
}

#[test]
fn nobody_is_signed_up() {
    let mut login = with_code();
    login.handle_input(code("12345"));
    reply(&mut login, Ok(sign_up()));
    assert_eq!(failure(&mut login), LoginError::NoAccount);
}

#[test]
fn a_wrong_password_is_asked_for_again() {
    let good_b = vec![0x50; 256];
    let mut login = with_password(password(3, good_b.clone()));
    login.handle_input(LoginInput::Password(Secret::new("dog".to_owned())));
    let rpc = reply(&mut login, error(400, "PASSWORD_HASH_INVALID"));
    assert!(
        matches!(rpc, Rpc::CheckPassword { srp_id: 42, a, m1 } if a.len() == 256 && m1.len() == 32)
    );
    assert_eq!(reply(&mut login, Ok(password(3, good_b))), Rpc::GetPassword);
    let hint = "cat".to_owned();
    assert_eq!(
        outputs(&mut login),
        [LoginOutput::NeedPassword { hint, wrong: true }]
    );
}

#[test]
fn a_password_is_not_proven_over_unsafe_parameters() {
    for (g, srp_b) in [
        (2, vec![0x50; 256]),
        (3, vec![1]),
        (3, vec![0xff; 256]),
        (3, vec![0; 300]),
    ] {
        let mut login = with_password(password(g, srp_b));
        login.handle_input(LoginInput::Password(Secret::new("dog".to_owned())));
        assert_eq!(failure(&mut login), LoginError::PasswordAlgorithm);
    }
}

#[test]
fn errors_are_told_in_the_users_words() {
    for (code, name, expected) in [
        (400, "PHONE_NUMBER_INVALID", LoginError::BadNumber),
        (400, "PHONE_NUMBER_BANNED", LoginError::Banned),
        (400, "PHONE_NUMBER_UNOCCUPIED", LoginError::NoAccount),
        (
            420,
            "FLOOD_WAIT_30",
            LoginError::Wait(Duration::from_secs(30)),
        ),
    ] {
        let mut login = login();
        login.handle_input(phone());
        reply(&mut login, error(code, name));
        assert_eq!(failure(&mut login), expected);
    }
}

#[test]
fn a_late_reply_of_a_cancelled_login_is_ignored() {
    let mut login = login();
    login.handle_input(phone());
    let (key, _) = request(&mut login);
    login.handle_input(LoginInput::Cancel);
    assert_eq!(failure(&mut login), LoginError::Cancelled);
    login.handle_input(LoginInput::Reply(key, Ok(sent_code(None))));
    login.handle_input(LoginInput::Cancel);
    assert!(outputs(&mut login).is_empty());
}

#[test]
fn an_email_login_is_refused_with_advice() {
    let mut login = login();
    login.handle_input(phone());
    let code = tl::types::auth::SentCode {
        r#type: tl::types::auth::SentCodeTypeSetUpEmailRequired {
            apple_signin_allowed: false,
            google_signin_allowed: false,
        }
        .into(),
        phone_code_hash: String::new(),
        next_type: None,
        timeout: None,
    };
    reply(&mut login, Ok(Reply::SentCode(Box::new(code.into()))));
    assert_eq!(failure(&mut login), LoginError::EmailNeeded);
}

#[test]
fn codes_and_passwords_are_not_printed() {
    let typed = format!("{:?}", code("12345"));
    assert!(!typed.contains("12345"), "{typed}");
    let mut login = with_code();
    login.handle_input(code("12345"));
    let printed = format!("{:?}", request(&mut login));
    assert!(!printed.contains("12345"), "{printed}");
}
