//! Waiting for something to become true, never longer than said.

use std::fmt::Display;
use std::thread;
use std::time::{Duration, Instant};

/// How often a thing that gives no signal of its own is looked at.
const LOOK: Duration = Duration::from_millis(25);

/// Returns what `look` finds; fails the test when that takes longer than `limit`.
pub(crate) fn until<T>(what: impl Display, limit: Duration, look: impl FnMut() -> Option<T>) -> T {
    within(limit, look).unwrap_or_else(|| panic!("{what}: not within {limit:?}"))
}

/// Returns what `look` finds within the limit.
pub(crate) fn within<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Instant::now() >= end {
            return None;
        }
        thread::park_timeout(LOOK);
    }
}

/// Seconds, for arguments.
pub(crate) const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
