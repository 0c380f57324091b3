//! `strowger session harden`: the account's settings at Telegram that suit a switch.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use clap::{Args, ValueEnum};
use model::SessionName;
use net::telegram::{Action, Hardened, Outcome, Pending, Storage};
use serde::Serialize;
use store::Store;

use super::Operator;
use super::conversation::LoginFailure;
use super::session::{find, must_be_ours};
use crate::boot;
use crate::failure::Failure;
use crate::keys::Keys;
use crate::print::{self, Output, Table};
use crate::records::Current;

#[derive(Debug, Args)]
pub(super) struct Harden {
    /// Its name
    name: SessionName,
    /// Only these; without, all four
    #[arg(value_enum)]
    only: Vec<Setting>,
    /// The second try comes so many seconds later instead of a day; only with telegram.test_dc
    #[arg(long, value_name = "SECONDS", hide = true)]
    test_retry: Option<u64>,
}

/// What can be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Setting {
    /// Calls ring here only, not on the account's other devices
    CallsHereOnly,
    /// Everybody may call the account, also who is no contact of it
    CallsFromAll,
    /// Everybody's audio may come directly; shows the address of the switch to whoever calls
    P2pFromAll,
    /// Nobody can add the account to groups
    NoGroups,
}

impl Setting {
    fn action(self) -> Action {
        match self {
            Setting::CallsHereOnly => Action::CallsHereOnly,
            Setting::CallsFromAll => Action::CallsFromAll,
            Setting::P2pFromAll => Action::P2pFromAll,
            Setting::NoGroups => Action::NoGroups,
        }
    }
}

/// The name of a setting on the command line.
fn name(action: Action) -> &'static str {
    match action {
        Action::CallsHereOnly => "calls-here-only",
        Action::CallsFromAll => "calls-from-all",
        Action::P2pFromAll => "p2p-from-all",
        Action::NoGroups => "no-groups",
    }
}

/// One line of the result.
#[derive(Debug, Serialize)]
struct Row {
    setting: &'static str,
    /// `done`, `later` or `failed`.
    result: &'static str,
    detail: String,
}

impl Harden {
    pub(super) fn run(self, operator: &Operator) -> Result<(), Failure> {
        let params = boot::telegram_params(&operator.settings()?);
        if self.test_retry.is_some() && params.test_dc.is_none() {
            return Err(Failure::Usage("--test-retry is for telegram.test_dc alone"));
        }
        let store: Arc<dyn Store> = Arc::new(operator.store()?);
        find(&Current::read(&*store)?, &self.name)?;
        must_be_ours(&*store, &self.name)?;
        let storage: Arc<dyn Storage> = Arc::new(Keys::new(Arc::clone(&store), self.name.clone()));
        let actions = if self.only.is_empty() {
            Action::ALL.to_vec()
        } else {
            self.only.iter().map(|setting| setting.action()).collect()
        };
        let failed = |failure| Failure::Login(self.name.clone(), failure);
        let retry = self.test_retry.map(Duration::from_secs);
        let done = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|source| failed(LoginFailure::Runtime(source)))?
            .block_on(net::telegram::harden(&params, storage, &actions, retry))
            .map_err(|error| failed(error.into()))?;
        show(operator.output, &done);
        let refused = |(_, outcome): &(Action, Outcome)| matches!(outcome, Outcome::Failed(_));
        if done.outcomes.iter().any(refused) {
            return Err(failed(LoginFailure::NotAllSet));
        }
        Ok(())
    }
}

fn show(output: Output, done: &Hardened) {
    let later = done.pending.as_ref().map(when).unwrap_or_default();
    let rows: Vec<Row> = done
        .outcomes
        .iter()
        .map(|(action, outcome)| {
            let (result, detail) = match outcome {
                Outcome::Done => ("done", String::new()),
                Outcome::TooFresh => (
                    "later",
                    format!("Telegram wants the login to be a day old; the running switch tries again {later}"),
                ),
                Outcome::Failed(error) => ("failed", error.to_string()),
            };
            Row {
                setting: name(*action),
                result,
                detail,
            }
        })
        .collect();
    if output == Output::Json {
        return print::json(&rows);
    }
    let mut table = Table::new(["setting", "result", ""]);
    for row in rows {
        table.row([row.setting.to_owned(), row.result.to_owned(), row.detail]);
    }
    table.print("nothing was to be set");
}

/// When it is tried again, UTC.
fn when(pending: &Pending) -> String {
    format!("after {}", moment(pending.due))
}

/// A Unix time in seconds, for people; years after 9999 have no such form.
pub(super) fn moment(unix: i64) -> String {
    let seconds = unix.clamp(0, 253_402_300_799).unsigned_abs();
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(seconds)).to_string()
}

/// What is tried again, and when.
pub(super) fn pending_in_words(pending: &Pending) -> String {
    let names: Vec<&str> = pending.actions.iter().copied().map(name).collect();
    format!("{} {}", names.join(", "), when(pending))
}
