//! Records of calls as they are read: one that cannot be costs itself alone.

use std::fmt;

use model::{CallId, CallRecord};

/// Records of calls that were read, and those that could not be.
#[derive(Debug, Clone, PartialEq)]
pub struct Calls<T = CallRecord> {
    /// Those that can be read, in the order that was asked for.
    pub records: Vec<T>,
    /// The others, in the same order.
    pub unreadable: Vec<Unreadable>,
    /// The last one of both; nothing where there was none.
    pub last: Option<CallId>,
}

/// A record that does not read as one of a call: damaged, or of a newer program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// The id of the call.
    pub id: CallId,
    /// What is wrong with its record, in words that name it.
    pub fault: String,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.fault)
    }
}

impl<T> Default for Calls<T> {
    fn default() -> Self {
        Self {
            records: Vec::new(),
            unreadable: Vec::new(),
            last: None,
        }
    }
}

impl<T> Calls<T> {
    /// How many there were, of both.
    pub fn count(&self) -> usize {
        self.records.len() + self.unreadable.len()
    }
}
