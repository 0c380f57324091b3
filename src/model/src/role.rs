//! The parts that a switch has besides its trunks and sessions, and that an owner can switch off: Worker and Storage.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{NameError, WorkerName};

/// The name of the worker that is this process.
pub const LOCAL_WORKER: &str = "local";

/// What carries calls, or what Telegram accounts live in (product 1.3). The Manager, which decides, is no role here: a switch
/// without it would be none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// SIP signalling and audio of this process, named [`LOCAL_WORKER`].
    Worker,
    /// Telegram's keys, and all that is done with them.
    Storage,
}

impl Role {
    /// Every role.
    pub const ALL: [Role; 2] = [Role::Worker, Role::Storage];

    /// The value of the metric label `role`, and its key in the store.
    pub fn label(self) -> &'static str {
        match self {
            Role::Worker => "worker",
            Role::Storage => "storage",
        }
    }
}

/// Whether a role is switched on; one without a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleSpec {
    /// The role.
    pub role: Role,
    /// One that is off takes no new call and no registration; calls that are up go on.
    pub enabled: bool,
}

/// How a part of the switch is, whatever its owner wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RoleState {
    /// It begins, or comes to its end.
    NotReady,
    /// It does its work.
    Running,
    /// It does not.
    #[default]
    Unavailable,
}

impl RoleState {
    /// Every state.
    pub const ALL: [RoleState; 3] = [
        RoleState::NotReady,
        RoleState::Running,
        RoleState::Unavailable,
    ];

    /// The state as it is shown.
    pub fn label(self) -> &'static str {
        match self {
            RoleState::NotReady => "not_ready",
            RoleState::Running => "running",
            RoleState::Unavailable => "unavailable",
        }
    }
}

/// Which worker carries the calls of a trunk: `auto`, or one by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum WorkerChoice {
    /// Whichever there is.
    #[default]
    Auto,
    /// This one alone.
    Named(WorkerName),
}

/// How [`WorkerChoice::Auto`] is written; no worker has this name.
const AUTO: &str = "auto";

impl WorkerChoice {
    /// The worker it names, unless it is there.
    pub fn missing(&self) -> Option<&WorkerName> {
        match self {
            WorkerChoice::Auto => None,
            WorkerChoice::Named(name) => Some(name).filter(|name| name.as_str() != LOCAL_WORKER),
        }
    }
}

impl FromStr for WorkerChoice {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        match text {
            AUTO => Ok(WorkerChoice::Auto),
            name => name.parse().map(WorkerChoice::Named),
        }
    }
}

impl TryFrom<String> for WorkerChoice {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<WorkerChoice> for String {
    fn from(choice: WorkerChoice) -> String {
        choice.to_string()
    }
}

impl fmt::Display for WorkerChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WorkerChoice::Auto => f.write_str(AUTO),
            WorkerChoice::Named(name) => f.write_str(name.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_is_chosen_by_name_or_not_at_all() {
        for (text, missing) in [("auto", false), ("local", false), ("far", true)] {
            let choice: WorkerChoice = text.parse().unwrap();
            assert_eq!(choice.to_string(), text);
            assert_eq!(choice.missing().is_some(), missing, "{text}");
            let json = serde_json::to_string(&choice).unwrap();
            assert_eq!(json, format!("\"{text}\""));
            assert_eq!(serde_json::from_str::<WorkerChoice>(&json).unwrap(), choice);
        }
        assert!("a b".parse::<WorkerChoice>().is_err());
    }
}
