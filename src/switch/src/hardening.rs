//! The four settings of an account (product 2.3), as owners name them and are told what became of them.

use std::time::{Duration, UNIX_EPOCH};

use clap::ValueEnum;
use net::telegram::{Action, Hardened, Outcome, Pending};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What can be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Setting {
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

    /// What these mean to Telegram; none: all four.
    pub(crate) fn actions(only: &[Self]) -> Vec<Action> {
        if only.is_empty() {
            Action::ALL.to_vec()
        } else {
            only.iter().map(|setting| setting.action()).collect()
        }
    }
}

/// The name of a setting.
fn name(action: Action) -> &'static str {
    match action {
        Action::CallsHereOnly => "calls-here-only",
        Action::CallsFromAll => "calls-from-all",
        Action::P2pFromAll => "p2p-from-all",
        Action::NoGroups => "no-groups",
    }
}

/// What became of one setting.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Row {
    /// Which one.
    pub(crate) setting: String,
    /// `done`, `later` or `failed`.
    pub(crate) result: String,
    /// Why it is not done, in words.
    pub(crate) detail: String,
}

impl Row {
    /// Whether Telegram refused it for good.
    pub(crate) fn is_failed(&self) -> bool {
        self.result == "failed"
    }
}

/// What became of all of them.
pub(crate) fn rows(done: &Hardened) -> Vec<Row> {
    let later = done.pending.as_ref().map(when).unwrap_or_default();
    let row = |(action, outcome): &(Action, Outcome)| {
        let (result, detail) = match outcome {
            Outcome::Done => ("done", String::new()),
            Outcome::TooFresh => (
                "later",
                format!(
                    "Telegram wants the login to be a day old; the running switch tries again {later}"
                ),
            ),
            Outcome::Failed(error) => ("failed", error.to_string()),
        };
        Row {
            setting: name(*action).to_owned(),
            result: result.to_owned(),
            detail,
        }
    };
    done.outcomes.iter().map(row).collect()
}

/// When it is tried again, UTC.
fn when(pending: &Pending) -> String {
    format!("after {}", moment(pending.due))
}

/// A Unix time in seconds, for people; years after 9999 have no such form.
pub(crate) fn moment(unix: i64) -> String {
    let seconds = unix.clamp(0, 253_402_300_799).unsigned_abs();
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(seconds)).to_string()
}

/// What is tried again, and when.
pub(crate) fn pending_in_words(pending: &Pending) -> String {
    let names: Vec<&str> = pending.actions.iter().copied().map(name).collect();
    format!("{} {}", names.join(", "), when(pending))
}
