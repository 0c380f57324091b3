//! `strowger session login`: the conversation with Telegram and with whoever sits at the terminal.
//!
//! Code and cloud password pass through; they are neither stored nor logged.

use std::io::BufRead;
use std::sync::Arc;

use clap::Args;
use model::{PhoneNumber, Secret, SessionName, SessionSpec};
use net::telegram::{LogOutError, LoginError, SignedIn, Storage};
use store::{Change, Store};

use super::Operator;
use crate::boot;
use crate::failure::Failure;
use crate::keys::Keys;
use crate::print;
use crate::records::Current;

/// How often a code or a password may be mistyped.
const TRIES: usize = 3;

#[derive(Debug, Args)]
pub(super) struct Login {
    /// Its name; made when there is none
    name: SessionName,
    /// The account's number with its country code, as in +15551234567; without, the one of the session
    #[arg(long)]
    phone: Option<PhoneNumber>,
    /// A key of a private server, 512 hex digits; only with telegram.test_dc
    #[arg(long, value_name = "HEX", hide = true)]
    test_key: Option<String>,
}

impl Login {
    pub(super) fn run(self, operator: &Operator) -> Result<(), Failure> {
        let settings = operator.settings()?;
        let params = boot::telegram_params(&settings);
        if settings.telegram.application().is_none() {
            return Err(Failure::Usage(
                "telegram.api_id and telegram.api_hash are needed to log in: get them at https://my.telegram.org",
            ));
        }
        let store: Arc<dyn Store> = Arc::new(operator.store()?);
        let known = Current::read(&*store)?.session(&self.name).cloned();
        let phone = match (&self.phone, &known) {
            (Some(phone), _) => phone.to_string(),
            (None, Some(known)) if !known.phone.is_empty() => known.phone.clone(),
            (None, _) => {
                return Err(Failure::Usage(
                    "give the account's number with --phone, as in +15551234567",
                ));
            }
        };
        let storage: Arc<dyn Storage> = Arc::new(Keys::new(Arc::clone(&store), self.name.clone()));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|source| Failure::Login(self.name.clone(), LoginFailure::Runtime(source)))?;
        let failed = |failure| Failure::Login(self.name.clone(), failure);
        runtime
            .block_on(async {
                if let Some(hex) = &self.test_key {
                    let dc = params.test_dc.ok_or(LoginFailure::TestKey)?;
                    let key = key(hex).ok_or(LoginFailure::TestKey)?;
                    net::telegram::provision(&storage, dc, key)
                        .await
                        .map_err(LoginError::from)?;
                }
                log_in(params, storage, &phone).await
            })
            .map_err(failed)?;
        let new = SessionSpec::new(self.name.clone());
        let spec = SessionSpec {
            phone,
            ..known.unwrap_or(new)
        };
        store.commit(None, &[Change::PutSession(spec)])?;
        print::line(format_args!("session {} is logged in", self.name));
        Ok(())
    }
}

/// Why a login did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoginFailure {
    /// Telegram, or the keys.
    #[error(transparent)]
    Login(#[from] LoginError),
    /// Telegram, when logging out.
    #[error(transparent)]
    LogOut(#[from] LogOutError),
    /// Nothing more to read.
    #[error("nothing was typed")]
    NoInput,
    /// The terminal does not work.
    #[error("the terminal cannot be read: {0}")]
    Terminal(std::io::Error),
    /// The runtime does not start.
    #[error("{0}")]
    Runtime(std::io::Error),
    /// A test key that is none, or without a test server.
    #[error("--test-key takes 512 hex digits, and only with telegram.test_dc")]
    TestKey,
}

/// The conversation: code, perhaps password.
async fn log_in(
    params: net::telegram::Params,
    storage: Arc<dyn Storage>,
    phone: &str,
) -> Result<(), LoginFailure> {
    let mut connection =
        net::telegram::begin_login(params, storage, phone).map_err(LoginError::from)?;
    if connection.who().await.is_some() {
        print::note("the account is logged in already");
        return Ok(());
    }
    let how = connection.send_code().await?;
    let mut signed_in = None;
    for attempt in 1..=TRIES {
        let code = ask(&format!("Code ({how}): "), false)?;
        match connection.sign_in(&code).await {
            Ok(done) => {
                signed_in = Some(done);
                break;
            }
            Err(error @ LoginError::WrongCode) if attempt < TRIES => print::note(error),
            Err(error) => return Err(error.into()),
        }
    }
    let Some(SignedIn::PasswordNeeded { hint }) = signed_in else {
        return Ok(());
    };
    let prompt = if hint.is_empty() {
        "Cloud password: ".to_owned()
    } else {
        format!("Cloud password (hint: {hint}): ")
    };
    for attempt in 1..=TRIES {
        let password = ask(&prompt, true)?;
        match connection.check_password(&password).await {
            Ok(_) => return Ok(()),
            Err(error @ LoginError::WrongPassword) if attempt < TRIES => print::note(error),
            Err(error) => return Err(error.into()),
        }
    }
    Err(LoginError::WrongPassword.into())
}

/// Reads a line; a secret one without echo when somebody sits at a terminal.
pub(super) fn ask(prompt: &str, hidden: bool) -> Result<Secret<String>, LoginFailure> {
    use std::io::IsTerminal;
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
    Ok(Secret::new(line.trim_end_matches(['\r', '\n']).to_owned()))
}

/// 256 bytes in hex.
fn key(hex: &str) -> Option<[u8; 256]> {
    let digits = hex.as_bytes();
    let mut key = [0; 256];
    if digits.len() != 2 * key.len() {
        return None;
    }
    for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(key)
}
