//! `strowger session login`: the command, from its options to a session that is logged in.

use std::sync::Arc;

use clap::Args;
use model::{PhoneNumber, Secret, SessionName, SessionSpec};
use net::telegram::{LoginInput, Storage};
use store::{Change, Store};

use super::Operator;
use super::book::Book;
use super::conversation::{LoginFailure, ask, converse};
use super::login_live;
use super::session::must_be_ours;
use crate::boot;
use crate::failure::Failure;
use crate::keys::Keys;
use crate::login_view::{Method, WantedLogin};
use crate::logins::provision;
use crate::print;

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
        // Elsewhere it is another one's.
        if !operator.is_afar() && settings.telegram.application().is_none() {
            return Err(Failure::Usage(
                "telegram.api_id and telegram.api_hash are needed to log in: get them at https://my.telegram.org",
            ));
        }
        let book = operator.book()?;
        let known = book.current()?.session(&self.name).cloned();
        let beginning = match &book {
            Book::Store(store) => {
                must_be_ours(&**store, &self.name)?;
                self.beginning(known.as_ref())?
            }
            Book::Switch(_) => self.beginning(known.as_ref())?,
        };
        let is_bot = match book {
            Book::Switch(operator) => {
                let wanted = self.wanted(beginning);
                let Some(account) = login_live::run(operator, &self.name, &wanted)? else {
                    return Err(operator.reach()?.nobody());
                };
                account.is_bot
            }
            Book::Store(store) => {
                let params = boot::telegram_params(&settings);
                self.without_switch(Arc::new(*store), &params, known, beginning)?
            }
        };
        print::line(format_args!("session {} is logged in", self.name));
        if is_bot {
            print::note("it is a bot: Telegram lets bots write, not call");
        } else {
            print::note(format_args!(
                "next: `strowger session harden {}` makes calls ring here only, and lets everybody call",
                self.name
            ));
        }
        Ok(())
    }

    /// Logs in over a connection for this alone; whether it is a bot.
    fn without_switch(
        &self,
        store: Arc<dyn Store>,
        params: &net::telegram::Params,
        known: Option<SessionSpec>,
        beginning: LoginInput,
    ) -> Result<bool, Failure> {
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
                let keys = self.test_key.iter().map(String::as_str);
                provision(keys, params, &storage).await?;
                converse(params, storage, beginning).await
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
        Ok(user.is_bot)
    }

    /// The same for the switch that runs.
    fn wanted(&self, beginning: LoginInput) -> WantedLogin {
        let (method, phone, token) = match beginning {
            LoginInput::Phone(phone) => (Method::Phone, Some(phone.to_string()), None),
            LoginInput::Bot(token) => (Method::Bot, None, Some(token)),
            _ => (Method::Qr, None, None),
        };
        WantedLogin {
            method,
            phone,
            token,
            test_keys: self.test_key.iter().cloned().map(Secret::new).collect(),
        }
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
