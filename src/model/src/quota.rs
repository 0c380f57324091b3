//! Quota profiles: what is allowed over time.

use serde::{Deserialize, Serialize};

use crate::QuotaName;

/// The profile of all who have none of their own, where there is a record of this name; without one, nothing is limited.
pub const DEFAULT_QUOTA: &str = "default";

/// A month of 30 days, in seconds: the usual window of talk time.
const MONTH_S: u32 = 2_592_000;
/// An hour, in seconds: the usual window of failed calls.
const HOUR_S: u32 = 3_600;

/// What each trunk and each session with this profile may do (product 6). Every limit of 0 is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaSpec {
    /// Its name.
    pub name: QuotaName,
    /// Longest call, from its answer, in seconds; 0 = unlimited.
    #[serde(default)]
    pub call_seconds: u32,
    /// Talk time in a window, in seconds; 0 = unlimited.
    #[serde(default)]
    pub total_seconds: u32,
    /// The window of the talk time, in seconds. It begins with the first call that it counts.
    #[serde(default = "month")]
    pub total_window_seconds: u32,
    /// Failed calls in a window; 0 = unlimited.
    #[serde(default)]
    pub fail_calls: u32,
    /// The window of the failed calls, in seconds. It begins with the first one that it counts.
    #[serde(default = "hour")]
    pub fail_window_seconds: u32,
}

impl QuotaSpec {
    /// A profile that limits nothing.
    pub fn new(name: QuotaName) -> Self {
        Self {
            name,
            call_seconds: 0,
            total_seconds: 0,
            total_window_seconds: MONTH_S,
            fail_calls: 0,
            fail_window_seconds: HOUR_S,
        }
    }

    /// Checks what the types cannot say.
    pub fn check(&self) -> Result<(), QuotaError> {
        if self.total_window_seconds == 0 || self.fail_window_seconds == 0 {
            return Err(QuotaError::Window(self.name.clone()));
        }
        Ok(())
    }
}

/// Why a profile is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuotaError {
    /// A window without length counts nothing.
    #[error(
        "quota {0}: a window of 0 s counts nothing; write the seconds, for example 3600 for an hour"
    )]
    Window(QuotaName),
}

fn month() -> u32 {
    MONTH_S
}

fn hour() -> u32 {
    HOUR_S
}
