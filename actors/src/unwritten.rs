//! Calls that are over and hold no lines, and whose records are not written yet: who stops the house waits for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many there are.
#[derive(Debug, Default)]
pub(crate) struct UnwrittenCalls(Arc<AtomicUsize>);

impl UnwrittenCalls {
    /// One more, until what is returned is dropped.
    pub(crate) fn one_more(&self) -> Unwritten {
        self.0.fetch_add(1, Ordering::Relaxed);
        Unwritten(Arc::clone(&self.0))
    }

    pub(crate) fn is_some(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}

/// One of them.
#[derive(Debug)]
pub(crate) struct Unwritten(Arc<AtomicUsize>);

impl Drop for Unwritten {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
