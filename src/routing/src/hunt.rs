//! Hunting: the trunks of a session in groups of equal priority. A group rings all at once, the next one after all of it failed.

use std::collections::VecDeque;

use model::{Cause, Reason, TrunkName};

/// What is left of a hunt: the groups to come, and the best of the failures so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Hunt {
    groups: VecDeque<Vec<TrunkName>>,
    failure: Option<Cause>,
    stops_on_6xx: bool,
    /// A 6xx ended it, and is the failure.
    is_stopped: bool,
}

impl Hunt {
    /// A hunt through these groups, in order.
    pub fn new(groups: impl IntoIterator<Item = Vec<TrunkName>>) -> Self {
        Self {
            groups: groups.into_iter().collect(),
            ..Self::default()
        }
    }

    /// The same, which may end with the first 6xx.
    pub fn stopping_on_6xx(self, stops_on_6xx: bool) -> Self {
        Self {
            stops_on_6xx,
            ..self
        }
    }

    /// Returns the trunks that have not been tried, in order.
    pub fn trunks(&self) -> impl Iterator<Item = &TrunkName> {
        self.groups.iter().flatten()
    }

    /// Returns the trunks to ring next, all at the same time.
    pub fn next_group(&mut self) -> Option<Vec<TrunkName>> {
        self.groups.pop_front()
    }

    /// Remembers why a trunk did not take the call.
    pub fn failed(&mut self, cause: Cause) {
        if self.is_stopped {
            return;
        }
        self.is_stopped = self.stops_on_6xx && (600..700).contains(&cause.code());
        if self.is_stopped {
            self.groups.clear();
        }
        let better = |before: &Cause| rank(cause.code()) <= rank(before.code());
        if self.is_stopped || self.failure.as_ref().is_none_or(better) {
            self.failure = Some(cause);
        }
    }

    /// Whether a trunk has said that nobody anywhere will take the call: those that still ring are to stop.
    pub fn is_stopped(&self) -> bool {
        self.is_stopped
    }

    /// Returns what the caller is told when no group is left: the 6xx that ended the hunt, else the best failure, else that nothing
    /// was running.
    pub fn cause(&self) -> Cause {
        let nothing = || Cause::new(Reason::SipAccountUnavailable);
        self.failure.clone().unwrap_or_else(nothing)
    }
}

/// The lower, the more it tells the caller; among the rest the last one counts.
fn rank(code: u16) -> u8 {
    match code {
        486 => 0,
        480 => 1,
        603 => 2,
        404 => 3,
        503 => 4,
        _ => 5,
    }
}
