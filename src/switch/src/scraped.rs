//! When somebody last read `/metrics`: an operator who believes that Prometheus watches should hear when it does not.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Knows it; copies know the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scraped(Arc<Mutex<Option<Instant>>>);

impl Scraped {
    /// It is read now.
    pub(crate) fn now(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// How long ago; nothing: never since the start.
    pub(crate) fn ago(&self) -> Option<Duration> {
        let last = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.map(|at| at.elapsed())
    }
}
