//! `strowger session logout`: ends the account's login at Telegram, then deletes its keys.

use std::sync::Arc;

use clap::Args;
use model::SessionName;
use net::telegram::{LoggedOut, Storage};
use store::{Change, Store};

use super::Operator;
use super::book::Book;
use super::conversation::{LoginFailure, ask};
use super::session::{find, has_keys, must_be_ours};
use crate::api::LoggedOutView;
use crate::boot;
use crate::failure::Failure;
use crate::keys::Keys;
use crate::print;
use crate::records::Current;

#[derive(Debug, Args)]
pub(super) struct Logout {
    /// Its name
    name: SessionName,
    /// Do not ask whether it is meant
    #[arg(long)]
    yes: bool,
}

impl Logout {
    pub(super) fn run(self, operator: &Operator) -> Result<(), Failure> {
        let name = &self.name;
        let book = operator.book()?;
        let current = book.current()?;
        find(&current, name)?;
        if let Book::Store(store) = &book {
            must_be_ours(&**store, name)?;
            if !has_keys(&**store, name)? {
                return Err(Failure::Refused(format!("session {name} is not logged in")));
            }
        }
        if !self.yes {
            let question = format!(
                "Log session {name} out of Telegram, end its calls and delete its keys? Type yes: "
            );
            let answer = ask(&question, false)?;
            if !answer.expose().trim().eq_ignore_ascii_case("yes") {
                return Err(Failure::Refused("nothing was changed".to_owned()));
            }
        }
        let how = match book {
            Book::Store(store) => self.without_switch(operator, Arc::new(*store), &current)?,
            Book::Switch(operator) => {
                let path = format!("/sessions/{name}/logout");
                let done = operator.api_of_session("POST", &path, None::<&()>, name)?;
                let Some(LoggedOutView { done }) = done else {
                    return Err(operator.reach()?.nobody());
                };
                match done.as_str() {
                    "now" => "is logged out",
                    "already" => "was logged out at Telegram already",
                    _ => "was never logged in",
                }
            }
        };
        print::line(format_args!(
            "session {name} {how}; its keys are deleted, its routes stay"
        ));
        Ok(())
    }

    /// Logs out over a connection for this alone; what became of it, in words.
    fn without_switch(
        &self,
        operator: &Operator,
        store: Arc<dyn Store>,
        current: &Current,
    ) -> Result<&'static str, Failure> {
        let name = &self.name;
        let spec = find(current, name)?;
        let params = boot::telegram_params(&operator.settings()?);
        let storage: Arc<dyn Storage> = Arc::new(Keys::new(Arc::clone(&store), name.clone()));
        let failed = |failure| Failure::Login(name.clone(), failure);
        let done = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|source| failed(LoginFailure::Runtime(source)))?
            .block_on(net::telegram::log_out(&params, storage))
            .map_err(|error| failed(error.into()))?;
        // In one commit: the keys go, the record stays.
        let changes = [
            Change::RemoveSession(name.clone()),
            Change::PutSession(spec),
        ];
        store.commit(Some(current.generation), &changes)?;
        Ok(match done {
            LoggedOut::Now => "is logged out",
            LoggedOut::Already => "was logged out at Telegram already",
            LoggedOut::Never => "was never logged in",
        })
    }
}
