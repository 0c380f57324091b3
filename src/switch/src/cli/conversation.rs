//! The conversation of a login with whoever sits at the terminal.
//!
//! Codes and passwords pass through; they are neither stored nor logged.

use std::io::{BufRead, IsTerminal};
use std::sync::Arc;
use std::time::{Duration, Instant};

use model::Secret;
use net::telegram::{
    Again, Ask, CodeWay, HardenError, LogOutError, LoginError, LoginFailed, LoginInput,
    PasswordAgain, Step, Storage, User,
};

use super::qr::Picture;
use crate::login_view;
use crate::logins::TestKeyError;
use crate::print;

/// Why a login did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoginFailure {
    /// Telegram, or the keys.
    #[error(transparent)]
    Login(#[from] LoginFailed),
    /// Telegram, when logging out.
    #[error(transparent)]
    LogOut(#[from] LogOutError),
    /// Telegram, when hardening.
    #[error(transparent)]
    Harden(#[from] HardenError),
    /// Telegram did not take each setting.
    #[error("not everything was set, see above: repeat it later")]
    NotAllSet,
    /// Nothing more to read.
    #[error("nothing was typed")]
    NoInput,
    /// The terminal does not work.
    #[error("the terminal cannot be read: {0}")]
    Terminal(std::io::Error),
    /// The runtime does not start, or what reads the terminal.
    #[error("{0}")]
    Runtime(std::io::Error),
    /// A link that is too long to be drawn.
    #[error("the QR code cannot be drawn: {0}")]
    Qr(qrcode::types::QrError),
    /// The key of a private server.
    #[error(transparent)]
    TestKey(#[from] TestKeyError),
    /// What the switch that runs says.
    #[error("{0}")]
    Told(String),
}

/// Logs in with this beginning, asking for whatever Telegram wants.
pub(super) async fn converse(
    params: &net::telegram::Params,
    storage: Arc<dyn Storage>,
    beginning: LoginInput,
) -> Result<User, LoginFailure> {
    let mut connection = net::telegram::begin_login(params, storage).map_err(LoginFailed::from)?;
    if let Some(user) = connection.who().await {
        print::note("the account is logged in already");
        return Ok(user);
    }
    let mut terminal = Terminal::default();
    let mut input = beginning;
    loop {
        input = match connection.step(input).await? {
            Step::Done(user) => return Ok(*user),
            Step::Ask(Ask::Scan { token, expires }) => {
                terminal.show(&login_view::link(token.expose()))?;
                connection.scanned(expires).await;
                LoginInput::Renew
            }
            Step::Ask(ask) => terminal.answer(ask).await?,
        };
    }
}

/// Whoever sits there, and what he sees.
#[derive(Default)]
pub(super) struct Terminal {
    picture: Picture,
}

impl Terminal {
    /// Draws the QR code of a link, over the one before.
    pub(super) fn show(&mut self, link: &str) -> Result<(), LoginFailure> {
        self.picture.show(link)
    }

    /// Asks, until there is an answer that Telegram can be given.
    pub(super) async fn answer(&mut self, question: Ask) -> Result<LoginInput, LoginFailure> {
        match question {
            Ask::Code {
                way,
                email,
                length,
                next,
                resend_after,
                again,
            } => {
                explain(again);
                let how = match email {
                    Some(email) => format!("by e-mail to {email}"),
                    None => way_in_words(way).to_owned(),
                };
                let next = next.map(way_in_words);
                code(&how, length, next, resend_after.unwrap_or_default()).await
            }
            // Nothing is typed then.
            Ask::Scan { token, .. } => {
                self.show(&login_view::link(token.expose()))?;
                Ok(LoginInput::Renew)
            }
            Ask::Email { refused } => {
                if refused {
                    print::note("Telegram does not take this address");
                }
                let typed = read(
                    "Telegram wants an e-mail address for login codes. Address (or cancel): ",
                    false,
                )
                .await?;
                Ok(match typed.expose().trim() {
                    "cancel" => LoginInput::Cancel,
                    _ => LoginInput::Email(typed),
                })
            }
            Ask::EmailCode {
                email,
                length,
                again,
            } => {
                explain(again);
                let how = format!("by e-mail to {email}");
                let next = Some("to another address");
                code(&how, length, next, Duration::ZERO).await
            }
            Ask::Password {
                hint,
                recovery,
                again,
            } => password(&hint, recovery, again).await,
            Ask::RecoveryCode { email, again } => {
                explain(again);
                let how = format!("for recovery, by e-mail to {email}");
                code(&how, None, Some("by e-mail again"), Duration::ZERO).await
            }
        }
    }
}

/// Asks for a code, for `resend` not before Telegram allows it.
async fn code(
    how: &str,
    length: Option<u32>,
    next: Option<&str>,
    resend_after: Duration,
) -> Result<LoginInput, LoginFailure> {
    let asked = Instant::now();
    let length = length.map_or(String::new(), |length| format!("{length} characters, "));
    let resend = next.map_or(String::new(), |next| format!("resend = {next}, "));
    let prompt = format!("Code ({length}sent {how}; {resend}cancel): ");
    loop {
        let typed = read(&prompt, false).await?;
        match typed.expose().trim() {
            "" => {}
            "cancel" => return Ok(LoginInput::Cancel),
            "resend" => {
                let left = resend_after.saturating_sub(asked.elapsed());
                if left.is_zero() {
                    return Ok(LoginInput::Resend);
                }
                let seconds = left.as_secs() + 1;
                print::note(format_args!("it can be sent again in {seconds} s"));
            }
            _ => return Ok(LoginInput::Code(typed)),
        }
    }
}

/// Asks for the cloud password. It may be any text, so that commands have a slash.
async fn password(
    hint: &str,
    recovery: bool,
    again: Option<PasswordAgain>,
) -> Result<LoginInput, LoginFailure> {
    match again {
        None => {}
        Some(PasswordAgain::Wrong) => print::note("wrong password"),
        Some(PasswordAgain::Changed) => print::note("the password has just been changed"),
        Some(PasswordAgain::NoRecovery) => {
            print::note("this account has no e-mail address to recover its password by");
        }
    }
    let hint = if hint.is_empty() {
        String::new()
    } else {
        format!("hint: {hint}; ")
    };
    let recover = if recovery {
        "/recover = mail a code that removes it, "
    } else {
        ""
    };
    let prompt = format!("Cloud password ({hint}{recover}/cancel): ");
    loop {
        let typed = read(&prompt, true).await?;
        return Ok(match typed.expose().as_str() {
            "" => continue,
            "/cancel" => LoginInput::Cancel,
            "/recover" => LoginInput::Recover,
            _ => LoginInput::Password(typed),
        });
    }
}

fn explain(again: Option<Again>) {
    match again {
        None => {}
        Some(Again::Wrong) => print::note("that is not the code: type the newest one you got"),
        Some(Again::Expired) => print::note("the code has expired: another one was sent"),
        Some(Again::Resent) => print::note("it was sent again"),
        Some(Again::NoOtherWay) => print::note("there is no other way to send it"),
    }
}

fn way_in_words(way: CodeWay) -> &'static str {
    match way {
        CodeWay::App => "in the Telegram app",
        CodeWay::Sms => "by SMS",
        CodeWay::Call => "by a call",
        CodeWay::MissedCall => "as the end of the number of a call that rings shortly",
        CodeWay::Email => "by e-mail",
        CodeWay::Fragment => "on fragment.com",
    }
}

/// Reads a line while the connection is kept alive: Telegram closes one that is silent for 75 s.
async fn read(prompt: &str, hidden: bool) -> Result<Secret<String>, LoginFailure> {
    let prompt = prompt.to_owned();
    tokio::task::spawn_blocking(move || ask(&prompt, hidden))
        .await
        .map_err(|error| LoginFailure::Runtime(std::io::Error::other(error)))?
}

/// Reads a line; a secret one without echo when somebody sits at a terminal.
pub(super) fn ask(prompt: &str, hidden: bool) -> Result<Secret<String>, LoginFailure> {
    print::prompt(prompt);
    if hidden && std::io::stdin().is_terminal() {
        return rpassword::read_password()
            .map(Secret::new)
            .map_err(LoginFailure::Terminal);
    }
    let mut line = String::new();
    let read = std::io::stdin()
        .lock()
        .read_line(&mut line)
        .map_err(LoginFailure::Terminal)?;
    if read == 0 {
        return Err(LoginFailure::NoInput);
    }
    let typed = Secret::new(line.trim_end_matches(['\r', '\n']).to_owned());
    drop(Secret::new(line)); // wiped
    Ok(typed)
}

impl From<LoginError> for LoginFailure {
    fn from(error: LoginError) -> Self {
        LoginFailure::Login(error.into())
    }
}
