//! A login that the switch which runs carries out: its questions are answered here.

use std::time::Duration;

use model::SessionName;
use net::telegram::LoginInput;
use serde_json::json;

use super::Operator;
use super::conversation::{LoginFailure, Terminal};
use crate::api::BASE;
use crate::failure::Failure;
use crate::login_view::{AccountView, LoginStep, LoginView, WantedLogin};

/// How often the switch is told that somebody still sits here: a login that nobody asks after ends.
const ALIVE: Duration = Duration::from_secs(30);
/// How often it is looked whether the QR code was scanned, or is another one.
const LOOK: Duration = Duration::from_secs(1);

/// Logs in; none when no switch runs.
pub(super) fn run(
    operator: &Operator,
    session: &SessionName,
    wanted: &WantedLogin,
) -> Result<Option<AccountView>, Failure> {
    let path = format!("/sessions/{session}/login");
    let Some(first) = operator.api_of_session("POST", &path, Some(wanted), session)? else {
        return Ok(None);
    };
    let failed = |source| Failure::Login(session.clone(), LoginFailure::Runtime(source));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    let line = Line {
        operator,
        session,
        path: &path,
    };
    let done = runtime.block_on(async {
        tokio::select! {
            done = line.converse(first) => done,
            _ = tokio::signal::ctrl_c() => Err(line.failed(LoginFailure::Told("cancelled".to_owned()))),
        }
    });
    // A thread may still wait for the terminal.
    runtime.shutdown_background();
    if done.is_err() {
        // It may be over by itself.
        let _ = operator.ask("DELETE", &format!("{BASE}{path}"));
    }
    done.map(Some)
}

/// The way to the login.
struct Line<'a> {
    operator: &'a Operator,
    session: &'a SessionName,
    path: &'a str,
}

impl Line<'_> {
    fn failed(&self, failure: LoginFailure) -> Failure {
        Failure::Login(self.session.clone(), failure)
    }

    fn ask(
        &self,
        method: &str,
        path: &str,
        body: Option<&serde_json::Value>,
    ) -> Result<LoginView, Failure> {
        let answer = self
            .operator
            .api_of_session(method, path, body, self.session)?;
        let gone = || LoginFailure::Told("the switch has just stopped".to_owned());
        answer.ok_or_else(|| self.failed(gone()))
    }

    async fn converse(&self, first: LoginView) -> Result<AccountView, Failure> {
        let mut terminal = Terminal::default();
        let mut view = first;
        loop {
            view = match view.step {
                LoginStep::Done => {
                    let nobody = || LoginFailure::Told("the switch does not say who".to_owned());
                    return view.account.ok_or_else(|| self.failed(nobody()));
                }
                LoginStep::Scan => {
                    let link = view.qr_url.as_deref().unwrap_or_default();
                    let shown = terminal.show(link);
                    shown.map_err(|failure| self.failed(failure))?;
                    self.scanned(&view).await?
                }
                LoginStep::Code
                | LoginStep::Email
                | LoginStep::EmailCode
                | LoginStep::Password
                | LoginStep::RecoveryCode => self.answered(&mut terminal, &view).await?,
            };
        }
    }

    /// What comes after this QR code.
    async fn scanned(&self, shown: &LoginView) -> Result<LoginView, Failure> {
        loop {
            tokio::time::sleep(LOOK).await;
            let view = self.ask("GET", self.path, None)?;
            if view.qr_url != shown.qr_url {
                return Ok(view);
            }
        }
    }

    /// What comes after the answer to this question.
    async fn answered(
        &self,
        terminal: &mut Terminal,
        view: &LoginView,
    ) -> Result<LoginView, Failure> {
        let strange = || LoginFailure::Told("the switch asks something unknown".to_owned());
        let question = view.question().ok_or_else(|| self.failed(strange()))?;
        let typed = {
            let typed = terminal.answer(question);
            tokio::pin!(typed);
            loop {
                tokio::select! {
                    typed = &mut typed => break typed,
                    () = tokio::time::sleep(ALIVE) => drop(self.ask("GET", self.path, None)?),
                }
            }
        };
        let (what, body) = match typed.map_err(|failure| self.failed(failure))? {
            LoginInput::Code(code) => ("code", Some(json!({ "code": code.expose() }))),
            LoginInput::Password(it) => ("password", Some(json!({ "password": it.expose() }))),
            LoginInput::Email(email) => ("email", Some(json!({ "email": email.expose() }))),
            LoginInput::Resend => ("resend", None),
            LoginInput::Recover => ("recover", None),
            LoginInput::Cancel
            | LoginInput::Phone(_)
            | LoginInput::Bot(_)
            | LoginInput::Scan
            | LoginInput::Renew
            | LoginInput::Reply(..) => {
                return Err(self.failed(LoginFailure::Told("cancelled".to_owned())));
            }
        };
        self.ask("POST", &format!("{}/{what}", self.path), body.as_ref())
    }
}
