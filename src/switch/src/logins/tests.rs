use super::*;

fn running(asked: Instant) -> Arc<Running> {
    let (shown, watched) = watch::channel(Shown {
        turn: 0,
        since: asked,
        now: None,
    });
    // As long as the test.
    std::mem::forget(shown);
    Arc::new(Running {
        answers: mpsc::channel(1).0,
        shown: watched,
        asked: Mutex::new(asked),
        cancelled: Notify::new(),
        alone: tokio::sync::Mutex::default(),
    })
}

#[tokio::test]
async fn a_login_that_nobody_goes_on_with_ends() {
    let cause = |problem: Problem| {
        let problem = serde_json::to_value(problem).unwrap();
        problem["cause"].as_str().unwrap().to_owned()
    };
    let long_ago = Instant::now().checked_sub(IDLE).unwrap();
    let login = running(long_ago);
    let weak = Arc::downgrade(&login);
    assert_eq!(
        cause(abandoned(Weak::clone(&weak)).await),
        "login_abandoned"
    );
    login.touch();
    assert!(!login.is_over());
    let waits = abandoned(Weak::clone(&weak));
    let waits = tokio::time::timeout(Duration::from_millis(50), waits).await;
    assert!(waits.is_err(), "somebody has just asked");
    login.cancelled.notify_one();
    assert_eq!(cause(abandoned(weak).await), "login_cancelled");
}

#[test]
fn an_answer_fits_its_question_alone() {
    let secret = || Secret::new("x".to_owned());
    let (code, password) = (Answer::Code(secret()), Answer::Password(secret()));
    let (email, resend) = (Answer::Email(secret()), Answer::Resend);
    for step in [
        LoginStep::Code,
        LoginStep::EmailCode,
        LoginStep::RecoveryCode,
    ] {
        assert!(code.fits(step) && resend.fits(step) && !password.fits(step));
    }
    assert!(password.fits(LoginStep::Password) && Answer::Recover.fits(LoginStep::Password));
    assert!(email.fits(LoginStep::Email) && !email.fits(LoginStep::EmailCode));
    for step in [LoginStep::Scan, LoginStep::Done] {
        assert!(!code.fits(step) && !resend.fits(step));
    }
}
