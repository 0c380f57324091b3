//! Names every number the operator sees. No logic: facts come in by methods named after them, `render` gives the text.
//!
//! Rules (see `docs/metrics.md`): one prefix, closed label lists, every series touched at the start so that a rate sees the first
//! event, no number of a person in any label, at most 200 trunks and 200 sessions by name.

mod calls;
mod family;
mod house;
mod media;
mod sip;
mod telegram;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::Mutex;

use prometheus::{Registry, TextEncoder};

pub use calls::{CallState, DtmfMethod};
pub use media::{Discard, LegCounters, MediaCounters};
pub use sip::Flow;
pub use telegram::{RpcResult, SessionState};

/// The prefix of every family; changing it breaks every user's dashboards.
pub const PREFIX: &str = "strowger";

/// Names of trunks or sessions that have series of their own.
const NAMES: usize = 200;
/// The label value of those beyond.
const OTHER: &str = "other";

/// All the numbers of one process; cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    all: Arc<All>,
}

struct All {
    registry: Registry,
    trunks: Mutex<HashSet<String>>,
    sessions: Mutex<HashSet<String>>,
    house: house::House,
    calls: calls::Calls,
    sip: sip::Sip,
    telegram: telegram::Telegram,
    media: MediaCounters,
}

impl Metrics {
    /// Makes and touches every family; `version` is that of the program.
    pub fn new(version: &str) -> Self {
        let mut make = family::Maker::new();
        let all = All {
            house: house::House::new(&mut make, version),
            calls: calls::Calls::new(&mut make),
            sip: sip::Sip::new(&mut make),
            telegram: telegram::Telegram::new(&mut make),
            media: MediaCounters::new(&mut make),
            trunks: Mutex::default(),
            sessions: Mutex::default(),
            registry: make.finish(),
        };
        Self { all: Arc::new(all) }
    }

    /// Returns all families in the text format 0.0.4.
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Encoding into a String cannot fail for families that were registered.
        let _ = TextEncoder::new().encode_utf8(&self.all.registry.gather(), &mut text);
        text
    }

    /// Returns the counters of the media plane, resolved once.
    pub fn media(&self) -> MediaCounters {
        self.all.media.clone()
    }

    /// Makes the series of a trunk.
    pub fn add_trunk(&self, trunk: &model::TrunkName, lines: u32) {
        let name = admit(&self.all.trunks, trunk.as_str());
        self.all.calls.touch(name);
        self.all.sip.touch(name, lines);
    }

    /// Removes the series of a trunk.
    pub fn remove_trunk(&self, trunk: &model::TrunkName) {
        if forget(&self.all.trunks, trunk.as_str()) {
            self.all.calls.remove(trunk.as_str());
            self.all.sip.remove(trunk.as_str());
        }
    }

    /// Makes the series of a session.
    pub fn add_session(&self, session: &model::SessionName) {
        let name = admit(&self.all.sessions, session.as_str());
        self.all.telegram.touch(name);
    }

    /// Removes the series of a session.
    pub fn remove_session(&self, session: &model::SessionName) {
        if forget(&self.all.sessions, session.as_str()) {
            self.all.telegram.remove(session.as_str());
        }
    }

    fn trunk<'a>(&self, trunk: &'a model::TrunkName) -> &'a str {
        known(&self.all.trunks, trunk.as_str())
    }

    fn session<'a>(&self, session: &'a model::SessionName) -> &'a str {
        known(&self.all.sessions, session.as_str())
    }
}

/// A lock that a panic cannot poison for us: the set is only ever whole.
fn names(set: &Mutex<HashSet<String>>) -> std::sync::MutexGuard<'_, HashSet<String>> {
    set.lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn admit<'a>(set: &Mutex<HashSet<String>>, name: &'a str) -> &'a str {
    let mut set = names(set);
    if set.contains(name) || set.len() < NAMES {
        set.insert(name.to_owned());
        name
    } else {
        OTHER
    }
}

fn forget(set: &Mutex<HashSet<String>>, name: &str) -> bool {
    names(set).remove(name)
}

fn known<'a>(set: &Mutex<HashSet<String>>, name: &'a str) -> &'a str {
    if names(set).contains(name) {
        name
    } else {
        OTHER
    }
}
