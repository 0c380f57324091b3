//! What the tests of several modules share.

use std::time::Instant;

/// Returns when a test begins; from there on time is virtual.
#[allow(
    clippy::disallowed_methods,
    reason = "an `Instant` cannot be made otherwise"
)]
pub(crate) fn start() -> Instant {
    Instant::now()
}
