//! Which configured names may stand in a label.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};

use crate::label::OTHER;

/// How many trunks, and how many sessions, have series of their own; further ones share `other`.
pub const NAMES_MAX: usize = 200;

/// The names in use for one label.
pub(crate) struct Names {
    label: &'static str,
    known: RwLock<HashSet<String>>,
    told: AtomicBool,
}

impl Names {
    pub(crate) fn new(label: &'static str) -> Self {
        Self {
            label,
            known: RwLock::new(HashSet::new()),
            told: AtomicBool::new(false),
        }
    }

    /// Admits a name; false when there are too many and it will be counted as `other`.
    pub(crate) fn add(&self, name: &str) -> bool {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.contains(name) {
            return true;
        }
        if known.len() < NAMES_MAX {
            known.insert(name.to_owned());
            return true;
        }
        if !self.told.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                label = self.label,
                limit = NAMES_MAX,
                "too many names for a metric label: further ones are counted together as `other`"
            );
        }
        false
    }

    /// Forgets a name; false when it had no series of its own.
    pub(crate) fn remove(&self, name: &str) -> bool {
        self.known
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(name)
    }

    /// Whether the name has series of its own.
    pub(crate) fn has(&self, name: &str) -> bool {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.contains(name)
    }

    /// The name itself while it has series, else `other`.
    pub(crate) fn label<'a>(&self, name: &'a str) -> &'a str {
        if self.has(name) { name } else { OTHER }
    }
}
