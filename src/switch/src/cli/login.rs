//! `strowger session login`: the command, from its options to a session that is logged in.

use std::sync::Arc;

use clap::Args;
use model::{PhoneNumber, SessionName, SessionSpec};
use net::telegram::{LoginInput, Storage};
use store::{Change, Store};

use super::Operator;
use super::conversation::{LoginFailure, ask, converse};
use super::session::must_be_ours;
use crate::boot;
use crate::failure::Failure;
use crate::keys::Keys;
use crate::print;
use crate::records::Current;

#[derive(Debug, Args)]
pub(super) struct Login {
    /// Its name; made when there is none
    name: SessionName,
    /// The account's number with its country code, as in +15551234567; without, the one of the session
    #[arg(long, conflicts_with_all = ["qr", "bot"])]
    phone: Option<PhoneNumber>,
    /// Show a QR code that the Telegram app of the account scans, instead of asking for a code
    #[arg(long, conflicts_with = "bot")]
    qr: bool,
    /// Log in as a bot: asks for the token that @BotFather gives
    #[arg(long)]
    bot: bool,
    /// A key of a private server, 512 hex digits, for another data centre than the first as in 4:HEX; only with
    /// telegram.test_dc
    #[arg(long, value_name = "HEX", hide = true)]
    test_key: Vec<String>,
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
        must_be_ours(&*store, &self.name)?;
        let beginning = self.beginning(known.as_ref())?;
        let phone = match &beginning {
            LoginInput::Phone(phone) => Some(phone.to_string()),
            _ => None,
        };
        let storage: Arc<dyn Storage> = Arc::new(Keys::new(Arc::clone(&store), self.name.clone()));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|source| Failure::Login(self.name.clone(), LoginFailure::Runtime(source)))?;
        let failed = |failure| Failure::Login(self.name.clone(), failure);
        let user = runtime
            .block_on(async {
                provision(&self.test_key, &params, &storage).await?;
                converse(&params, storage, beginning).await
            })
            .map_err(failed)?;
        // Whoever scans a code has not typed his number.
        let phone = phone.or_else(|| user.phone.map(|digits| format!("+{digits}")));
        let spec = known.unwrap_or_else(|| SessionSpec::new(self.name.clone()));
        let spec = SessionSpec {
            phone: phone.unwrap_or_else(|| spec.phone.clone()),
            ..spec
        };
        store.commit(None, &[Change::PutSession(spec)])?;
        print::line(format_args!("session {} is logged in", self.name));
        if user.is_bot {
            print::note("it is a bot: Telegram lets bots write, not call");
        } else {
            print::note(format_args!(
                "next: `strowger session harden {}` makes calls ring here only, and lets everybody call",
                self.name
            ));
        }
        Ok(())
    }

    fn beginning(&self, known: Option<&SessionSpec>) -> Result<LoginInput, Failure> {
        if self.qr {
            return Ok(LoginInput::Scan);
        }
        if self.bot {
            return Ok(LoginInput::Bot(ask("Bot token: ", true)?));
        }
        let kept = known.and_then(|known| known.phone.parse().ok());
        let phone = self.phone.clone().or(kept);
        phone.map(LoginInput::Phone).ok_or(Failure::Usage(
            "give the account's number with --phone, as in +15551234567, or log in with --qr",
        ))
    }
}

/// Keeps the keys of a private server.
async fn provision(
    keys: &[String],
    params: &net::telegram::Params,
    storage: &Arc<dyn Storage>,
) -> Result<(), LoginFailure> {
    // The first data centre comes last: it is the home then.
    for text in keys.iter().rev() {
        let mut dc = params.test_dc.ok_or(LoginFailure::TestKey)?;
        let hex = match text.split_once(':') {
            Some((id, hex)) => {
                dc.id = id.parse().map_err(|_| LoginFailure::TestKey)?;
                hex
            }
            None => text,
        };
        let key = key(hex).ok_or(LoginFailure::TestKey)?;
        net::telegram::provision(storage, dc, key)
            .await
            .map_err(net::telegram::LoginFailed::from)?;
    }
    Ok(())
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
