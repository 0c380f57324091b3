//! Decides: which trunk, which session, which number, or which refusal; and counts lines.
//!
//! Pure functions over a [`Table`] (what the owner configured) and a [`World`] (what is true just now). No IO, no clock. The
//! Caller ID rules of a trunk serve both ways: [`caller_id`] forms the number of a caller by them, [`called_peer`] reads a
//! dialled one, after a [`DialPlan`] has rewritten it.

// A new state must be thought of everywhere: no wildcard hides it.
#![cfg_attr(not(test), deny(clippy::wildcard_enum_match_arm))]

mod caller;
mod check;
mod decide;
mod dial;
mod health;
mod hunt;
mod identity;
mod limiter;
mod lines;
mod number;
mod order;
mod overload;
mod peers;
mod quota;
mod rehearsal;
mod route;
mod sheet;
mod table;
#[cfg(test)]
mod tests;
mod text;
mod transfer;

pub use caller::{CallerIdentity, caller_headers, caller_id, caller_name};
pub use check::{Conflict, check};
pub use decide::{
    SipOffer, TelegramOffer, ToTelegram, ToTrunk, World, admit_register, decide_callback,
    decide_sip, decide_sip_text, decide_telegram, decide_transit, running,
};
pub use dial::{DialPlan, DialPlanError};
pub use health::{FailureCounter, Health, Patience, held_back, verdict};
pub use hunt::Hunt;
pub use identity::{Identity, identify, identify_registrar};
pub use limiter::{Errand, Group, Limiter, Pace, Paces, RESTRICTED_FOR, Refused, Waits};
pub use lines::{Full, Lines};
pub use number::called_peer;
pub use order::{Order, decide_order};
pub use overload::{
    Admitted, Announced, BURST, LoadLimits, Meant, Overload, STEP, Seen, Sign, Turn, is_closed,
};
pub use peers::{FOUND_FOR, Found, LookUp, NOBODY_FOR, Peers};
pub use quota::{CallEnd, Counter, Quotas, Subject, SubjectError, Usage};
pub use rehearsal::{Step, steps_of_sip, steps_of_telegram};
pub use route::NotTaken;
pub use table::{Difference, Table};
pub use text::{Dialled, decide_text, text_trunk};
pub use transfer::{decide_owner_transfer, decide_transfer, is_transfer_number};

/// What a Telegram session can do just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SessionState {
    /// Not connected.
    Offline,
    /// Connecting for the first time.
    Connecting,
    /// Places and takes calls.
    Running,
    /// Telegram ordered a wait: takes calls, places none until it is over, or looks nobody up.
    FloodWait,
    /// Limited for spam: takes calls, places none.
    Restricted,
    /// Logged out.
    Unauthorized,
}

impl SessionState {
    /// Every state.
    pub const ALL: [SessionState; 6] = [
        SessionState::Offline,
        SessionState::Connecting,
        SessionState::Running,
        SessionState::FloodWait,
        SessionState::Restricted,
        SessionState::Unauthorized,
    ];

    /// What it is with these waits: a session that runs can do less while there are some.
    pub fn with(self, waits: &Waits) -> Self {
        match self {
            SessionState::Running | SessionState::FloodWait | SessionState::Restricted => {
                if waits.restricted_until.is_some() {
                    SessionState::Restricted
                } else if waits.flood_until().is_some() {
                    SessionState::FloodWait
                } else {
                    SessionState::Running
                }
            }
            SessionState::Offline | SessionState::Connecting | SessionState::Unauthorized => self,
        }
    }

    /// When the state ends by itself, in seconds since 1970.
    pub fn until(self, waits: &Waits) -> Option<u64> {
        match self {
            SessionState::FloodWait => waits.flood_until(),
            SessionState::Restricted => waits.restricted_until,
            SessionState::Offline
            | SessionState::Connecting
            | SessionState::Running
            | SessionState::Unauthorized => None,
        }
    }

    /// The value of the metric label `state`.
    pub fn label(self) -> &'static str {
        match self {
            SessionState::Offline => "offline",
            SessionState::Connecting => "connecting",
            SessionState::Running => "running",
            SessionState::FloodWait => "flood_wait",
            SessionState::Restricted => "restricted",
            SessionState::Unauthorized => "unauthorized",
        }
    }
}
