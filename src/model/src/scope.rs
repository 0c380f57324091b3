//! What a token of the HTTP interface may be used for.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What a token may be used for; none of them contains another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// To look at everything but secrets.
    Read,
    /// To end calls.
    Calls,
    /// To change trunks, sessions, routes and bans.
    Write,
    /// To make tokens, and to see secrets.
    Admin,
}

/// No scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no scope: read, calls, write, admin")]
pub struct ScopeError(String);

impl Scope {
    /// Every scope.
    pub const ALL: [Scope; 4] = [Scope::Read, Scope::Calls, Scope::Write, Scope::Admin];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Scope::Read => "read",
            Scope::Calls => "calls",
            Scope::Write => "write",
            Scope::Admin => "admin",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Scope {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, ScopeError> {
        let named = Self::ALL.into_iter().find(|scope| scope.as_str() == text);
        named.ok_or_else(|| ScopeError(text.to_owned()))
    }
}
