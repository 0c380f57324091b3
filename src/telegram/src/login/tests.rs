//! Dialogues of a login.

use std::time::Duration;

use tl::enums::auth::CodeType;

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

fn authorization() -> Authorization {
    tl::types::auth::Authorization {
        setup_password_required: false,
        otherwise_relogin_days: None,
        tmp_sessions: None,
        future_auth_token: None,
        user: user(7),
    }
    .into()
}

fn authorized() -> Reply {
    Reply::Authorization(Box::new(authorization()))
}

fn is_done(login: &mut Login) {
    let done = outputs(login);
    assert!(
        matches!(done.as_slice(), [LoginOutput::Done { user }] if user.id == 7 && user.is_self),
        "{done:?}"
    );
}

fn sign_up() -> Reply {
    let required = tl::types::auth::AuthorizationSignUpRequired {
        terms_of_service: None,
    };
    Reply::Authorization(Box::new(required.into()))
}

fn need_password(again: Option<PasswordAgain>) -> LoginOutput {
    LoginOutput::Ask(Ask::Password {
        hint: "cat".to_owned(),
        recovery: false,
        again,
    })
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

fn secret(text: &str) -> Secret<String> {
    Secret::new(text.to_owned())
}

fn code(text: &str) -> LoginInput {
    LoginInput::Code(secret(text))
}

fn phone() -> LoginInput {
    LoginInput::Phone("+99966 2 1234".replace(' ', "").parse().unwrap())
}

fn need_code(again: Option<Again>) -> LoginOutput {
    LoginOutput::Ask(Ask::Code {
        way: CodeWay::App,
        email: None,
        length: Some(5),
        next: Some(CodeWay::Sms),
        resend_after: Some(Duration::from_secs(60)),
        again,
    })
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
    assert_eq!(outputs(&mut login), [need_password(None)]);
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
    reply(&mut login, Ok(authorized()));
    is_done(&mut login);
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
        [LoginOutput::Ask(Ask::Code {
            again: Some(Again::Resent),
            next: None,
            ..
        })]
    ));
    login.handle_input(LoginInput::Resend);
    assert!(matches!(
        outputs(&mut login).as_slice(),
        [LoginOutput::Ask(Ask::Code {
            again: Some(Again::NoOtherWay),
            ..
        })]
    ));
}

#[test]
fn a_code_that_cannot_be_sent_again_still_holds() {
    let mut login = with_code();
    login.handle_input(LoginInput::Resend);
    reply(&mut login, error(406, "SEND_CODE_UNAVAILABLE"));
    let again = Some(Again::NoOtherWay);
    assert_eq!(outputs(&mut login), [need_code(again)]);
    login.handle_input(LoginInput::Resend);
    reply(&mut login, error(400, "PHONE_CODE_EXPIRED"));
    assert!(matches!(request(&mut login).1, Rpc::SendCode { .. }));
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
fn a_wrong_password_is_asked_for_again_three_times() {
    let good_b = vec![0x50; 256];
    let mut login = with_password(password(3, good_b.clone()));
    for _ in 0..2 {
        login.handle_input(LoginInput::Password(secret("dog")));
        let rpc = reply(&mut login, error(400, "PASSWORD_HASH_INVALID"));
        assert!(
            matches!(rpc, Rpc::CheckPassword { srp_id: 42, a, m1 } if a.len() == 256 && m1.len() == 32)
        );
        assert_eq!(
            reply(&mut login, Ok(password(3, good_b.clone()))),
            Rpc::GetPassword
        );
        assert_eq!(
            outputs(&mut login),
            [need_password(Some(PasswordAgain::Wrong))]
        );
    }
    login.handle_input(LoginInput::Password(secret("dog")));
    reply(&mut login, error(400, "PASSWORD_HASH_INVALID"));
    assert_eq!(failure(&mut login), LoginError::WrongPasswords);
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
        login.handle_input(LoginInput::Password(secret("dog")));
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
        (
            401,
            "SESSION_REVOKED",
            LoginError::OldKey(RpcError::Rpc {
                code: 401,
                name: "SESSION_REVOKED".to_owned(),
            }),
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

fn sent_by(r#type: tl::enums::auth::SentCodeType) -> Reply {
    let code = tl::types::auth::SentCode {
        r#type,
        phone_code_hash: "sent".to_owned(),
        next_type: None,
        timeout: None,
    };
    Reply::SentCode(Box::new(code.into()))
}

fn sent_by_email() -> Reply {
    let kind = tl::types::auth::SentCodeTypeEmailCode {
        apple_signin_allowed: false,
        google_signin_allowed: false,
        email_pattern: "a***@example.org".to_owned(),
        length: 6,
        reset_available_period: None,
        reset_pending_date: None,
    };
    sent_by(kind.into())
}

fn mailed() -> Reply {
    Reply::MailedCode {
        email: "a***@example.org".to_owned(),
        length: Some(6),
    }
}

#[test]
fn a_code_by_email_is_handed_in_as_one() {
    let mut login = login();
    login.handle_input(phone());
    reply(&mut login, Ok(sent_by_email()));
    assert!(matches!(
        outputs(&mut login).as_slice(),
        [LoginOutput::Ask(Ask::Code { way: CodeWay::Email, email: Some(email), length: Some(6), .. })]
            if email == "a***@example.org"
    ));
    login.handle_input(code("123456"));
    let rpc = reply(&mut login, Ok(authorized()));
    assert!(matches!(rpc, Rpc::SignIn { by_email: true, .. }));
    is_done(&mut login);
}

#[test]
fn an_address_is_set_up_where_telegram_wants_one() {
    let mut login = login();
    login.handle_input(phone());
    let kind = tl::types::auth::SentCodeTypeSetUpEmailRequired {
        apple_signin_allowed: false,
        google_signin_allowed: false,
    };
    reply(&mut login, Ok(sent_by(kind.into())));
    let need_email = |refused| [LoginOutput::Ask(Ask::Email { refused })];
    assert_eq!(outputs(&mut login), need_email(false));
    login.handle_input(LoginInput::Email(secret("nonsense")));
    reply(&mut login, error(400, "EMAIL_INVALID"));
    assert_eq!(outputs(&mut login), need_email(true));
    login.handle_input(LoginInput::Email(secret(" ann@example.org ")));
    let rpc = reply(&mut login, Ok(mailed()));
    assert!(
        matches!(rpc, Rpc::SendVerifyEmailCode { email, phone_code_hash, .. } if email.expose() == "ann@example.org" && phone_code_hash == "sent")
    );
    let need_code = |again| {
        [LoginOutput::Ask(Ask::EmailCode {
            email: "a***@example.org".to_owned(),
            length: Some(6),
            again,
        })]
    };
    assert_eq!(outputs(&mut login), need_code(None));
    login.handle_input(code("1"));
    reply(&mut login, error(400, "CODE_INVALID"));
    assert_eq!(outputs(&mut login), need_code(Some(Again::Wrong)));
    login.handle_input(LoginInput::Resend);
    assert_eq!(outputs(&mut login), need_email(false));
    login.handle_input(LoginInput::Email(secret("ann@example.org")));
    reply(&mut login, Ok(mailed()));
    assert_eq!(outputs(&mut login), need_code(None));
    login.handle_input(code("654321"));
    let rpc = reply(&mut login, Ok(sent_by_email()));
    assert!(matches!(rpc, Rpc::VerifyEmail { code, .. } if code.expose() == "654321"));
    assert!(matches!(
        outputs(&mut login).as_slice(),
        [LoginOutput::Ask(Ask::Code {
            way: CodeWay::Email,
            ..
        })]
    ));
}

#[test]
fn a_bot_logs_in_by_its_token_wherever_it_lives() {
    let mut login = login();
    login.handle_input(LoginInput::Bot(secret(" 1:abc\n")));
    let (key, rpc) = request(&mut login);
    assert!(
        matches!(&rpc, Rpc::ImportBotAuthorization { token, api_id: 1, .. } if token.expose() == "1:abc")
    );
    login.handle_input(LoginInput::Reply(key, error(303, "USER_MIGRATE_4")));
    assert_eq!(login.poll_output(), Some(LoginOutput::UseDc(4)));
    assert_eq!(reply(&mut login, Ok(authorized())), rpc);
    is_done(&mut login);
    login.handle_input(LoginInput::Bot(secret("1:xyz")));
    reply(&mut login, error(400, "ACCESS_TOKEN_INVALID"));
    assert_eq!(failure(&mut login), LoginError::BadToken);
}

fn token(expires: i32) -> Reply {
    let token = tl::types::auth::LoginToken {
        expires,
        token: vec![7; 32],
    };
    Reply::LoginToken(Box::new(token.into()))
}

fn moved(dc_id: i32) -> Reply {
    let moved = tl::types::auth::LoginTokenMigrateTo {
        dc_id,
        token: vec![8; 32],
    };
    Reply::LoginToken(Box::new(moved.into()))
}

fn scanned() -> Reply {
    let success = tl::types::auth::LoginTokenSuccess {
        authorization: authorization(),
    };
    Reply::LoginToken(Box::new(success.into()))
}

/// A login that shows a token.
fn with_token() -> Login {
    let mut login = login();
    login.handle_input(LoginInput::Scan);
    let rpc = reply(&mut login, Ok(token(1000)));
    assert!(matches!(rpc, Rpc::ExportLoginToken { api_id: 1, .. }));
    let shown = LoginOutput::Ask(Ask::Scan {
        token: Secret::new(vec![7; 32]),
        expires: 1000,
    });
    assert_eq!(outputs(&mut login), [shown]);
    login
}

#[test]
fn a_token_is_renewed_until_it_is_scanned() {
    let mut login = with_token();
    login.handle_input(LoginInput::Renew);
    reply(&mut login, Ok(token(1030)));
    assert!(matches!(
        outputs(&mut login).as_slice(),
        [LoginOutput::Ask(Ask::Scan { expires: 1030, .. })]
    ));
    login.handle_input(LoginInput::Renew);
    reply(&mut login, Ok(scanned()));
    is_done(&mut login);
}

#[test]
fn tokens_that_nobody_scans_come_to_an_end() {
    let mut login = with_token();
    for _ in 1..TOKENS {
        login.handle_input(LoginInput::Renew);
        reply(&mut login, Ok(token(1030)));
        assert_eq!(outputs(&mut login).len(), 1);
    }
    login.handle_input(LoginInput::Renew);
    assert_eq!(failure(&mut login), LoginError::NotScanned);
}

#[test]
fn a_token_scanned_by_an_account_elsewhere_is_imported_there() {
    let mut login = with_token();
    login.handle_input(LoginInput::Renew);
    reply(&mut login, Ok(moved(4)));
    assert_eq!(login.poll_output(), Some(LoginOutput::UseDc(4)));
    let rpc = reply(&mut login, Ok(scanned()));
    let token = Secret::new(vec![8; 32]);
    assert_eq!(rpc, Rpc::ImportLoginToken { token });
    is_done(&mut login);
    // One that was too old when it arrived is replaced.
    login.handle_input(LoginInput::Scan);
    reply(&mut login, Ok(moved(4)));
    assert_eq!(login.poll_output(), Some(LoginOutput::UseDc(4)));
    reply(&mut login, error(400, "AUTH_TOKEN_EXPIRED"));
    assert!(matches!(
        request(&mut login).1,
        Rpc::ExportLoginToken { .. }
    ));
}

#[test]
fn a_token_is_not_sent_around_for_ever() {
    let mut login = with_token();
    login.handle_input(LoginInput::Renew);
    for _ in 0..MOVES {
        reply(&mut login, Ok(moved(4)));
        assert_eq!(login.poll_output(), Some(LoginOutput::UseDc(4)));
    }
    reply(&mut login, Ok(moved(4)));
    assert_eq!(failure(&mut login), LoginError::Unexpected);
}

#[test]
fn a_scanned_account_with_a_password_asks_for_it() {
    let mut login = with_token();
    login.handle_input(LoginInput::Renew);
    reply(&mut login, error(401, "SESSION_PASSWORD_NEEDED"));
    let rpc = reply(&mut login, Ok(password(3, vec![0x50; 256])));
    assert_eq!(rpc, Rpc::GetPassword);
    assert_eq!(outputs(&mut login), [need_password(None)]);
}

#[test]
fn a_token_is_shown_as_long_as_it_lives_whatever_our_clock_says() {
    for (expires, now, seconds) in [
        (1030, 1000, 27),
        (1030, 1010, 17),
        (1030, 1029, 5),
        (1030, 5000, 5),
        (1030, -5000, 27),
        (i32::MIN, i64::MAX, 5),
    ] {
        assert_eq!(renew_after(expires, now), Duration::from_secs(seconds));
    }
}

fn recoverable() -> Reply {
    let Reply::Password(mut parameters) = password(3, vec![0x50; 256]) else {
        panic!()
    };
    parameters.has_recovery = true;
    Reply::Password(parameters)
}

#[test]
fn a_password_is_recovered_by_mail() {
    let mut login = with_code();
    login.handle_input(code("12345"));
    reply(&mut login, error(401, "SESSION_PASSWORD_NEEDED"));
    reply(&mut login, Ok(recoverable()));
    assert!(matches!(
        outputs(&mut login).as_slice(),
        [LoginOutput::Ask(Ask::Password { recovery: true, .. })]
    ));
    login.handle_input(LoginInput::Recover);
    let rpc = reply(&mut login, Ok(mailed()));
    assert_eq!(rpc, Rpc::RequestPasswordRecovery);
    let need = |again| {
        [LoginOutput::Ask(Ask::RecoveryCode {
            email: "a***@example.org".to_owned(),
            again,
        })]
    };
    assert_eq!(outputs(&mut login), need(None));
    login.handle_input(code("1"));
    reply(&mut login, error(400, "CODE_INVALID"));
    assert_eq!(outputs(&mut login), need(Some(Again::Wrong)));
    login.handle_input(code("2"));
    reply(&mut login, error(400, "PASSWORD_RECOVERY_EXPIRED"));
    reply(&mut login, Ok(mailed()));
    assert_eq!(outputs(&mut login), need(Some(Again::Expired)));
    login.handle_input(LoginInput::Resend);
    reply(&mut login, Ok(mailed()));
    assert_eq!(outputs(&mut login), need(Some(Again::Resent)));
    login.handle_input(code(" 654321 "));
    let rpc = reply(&mut login, Ok(authorized()));
    assert!(matches!(rpc, Rpc::RecoverPassword { code } if code.expose() == "654321"));
    is_done(&mut login);
}

#[test]
fn a_password_without_an_address_cannot_be_recovered() {
    let mut login = with_password(password(3, vec![0x50; 256]));
    login.handle_input(LoginInput::Recover);
    let need = [need_password(Some(PasswordAgain::NoRecovery))];
    assert_eq!(outputs(&mut login), need);
}

#[test]
fn a_login_can_be_cancelled_at_every_step() {
    let waiting_for_email = || {
        let mut login = login();
        login.handle_input(phone());
        let kind = tl::types::auth::SentCodeTypeSetUpEmailRequired {
            apple_signin_allowed: false,
            google_signin_allowed: false,
        };
        reply(&mut login, Ok(sent_by(kind.into())));
        outputs(&mut login);
        login
    };
    let with_email_code = || {
        let mut login = waiting_for_email();
        login.handle_input(LoginInput::Email(secret("ann@example.org")));
        reply(&mut login, Ok(mailed()));
        outputs(&mut login);
        login
    };
    let with_recovery = || {
        let mut login = with_code();
        login.handle_input(code("12345"));
        reply(&mut login, error(401, "SESSION_PASSWORD_NEEDED"));
        reply(&mut login, Ok(recoverable()));
        outputs(&mut login);
        login.handle_input(LoginInput::Recover);
        reply(&mut login, Ok(mailed()));
        outputs(&mut login);
        login
    };
    let steps: [(&str, Login); 6] = [
        ("code", with_code()),
        ("token", with_token()),
        ("password", with_password(password(3, vec![0x50; 256]))),
        ("e-mail", waiting_for_email()),
        ("code by e-mail", with_email_code()),
        ("recovery", with_recovery()),
    ];
    for (step, mut login) in steps {
        login.handle_input(LoginInput::Cancel);
        assert_eq!(failure(&mut login), LoginError::Cancelled, "{step}");
        for input in [code("1"), LoginInput::Resend, LoginInput::Renew] {
            login.handle_input(input);
            assert!(outputs(&mut login).is_empty(), "{step}");
        }
        login.handle_input(phone());
        let (key, _) = request(&mut login);
        login.handle_input(LoginInput::Cancel);
        assert_eq!(failure(&mut login), LoginError::Cancelled, "{step}");
        login.handle_input(LoginInput::Reply(key, Ok(sent_code(None))));
        assert!(outputs(&mut login).is_empty(), "{step}");
    }
}

#[test]
fn a_network_that_is_gone_is_no_refusal() {
    for error in [RpcError::Connection, RpcError::TimedOut] {
        let mut login = login();
        login.handle_input(phone());
        reply(&mut login, Err(error.clone()));
        assert_eq!(failure(&mut login), LoginError::Unreachable(error));
    }
}

#[test]
fn codes_and_passwords_are_not_printed() {
    let typed = format!("{:?}", code("12345"));
    assert!(!typed.contains("12345"), "{typed}");
    let mut login = with_code();
    login.handle_input(code("12345"));
    let printed = format!("{:?}", request(&mut login));
    assert!(!printed.contains("12345"), "{printed}");
    for input in [
        LoginInput::Bot(secret("1:s3cret")),
        LoginInput::Email(secret("s3cret@example.org")),
        LoginInput::Password(secret("s3cret")),
    ] {
        assert!(!format!("{input:?}").contains("s3cret"), "{input:?}");
    }
    let mut login = with_token();
    login.handle_input(LoginInput::Renew);
    reply(&mut login, Ok(token(1000)));
    let printed = format!("{:?}", outputs(&mut login));
    assert!(!printed.contains("7, 7"), "{printed}");
}
