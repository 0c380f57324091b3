//! What is in a store, and whether all of it can be read.

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::{Deserialize, Serialize};
use store::{Space, Store, StoreError, Unreadable};
use utoipa::ToSchema;

use crate::records::Current;

/// How many call records are read at once.
const AT_ONCE: usize = 500;
/// How many call records that cannot be read are named.
const MOST_NAMED: usize = 10;

/// How large a store is, without reading it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct StoreSize {
    /// Its size on disk, octets.
    pub(crate) size_bytes: u64,
    /// What is free on that disk, octets; null where the system does not say.
    pub(crate) free_bytes: Option<u64>,
    /// Its layout.
    pub(crate) schema: u8,
    /// The generation of the records.
    pub(crate) generation: u64,
    /// Sessions.
    pub(crate) sessions: u64,
    /// Trunks.
    pub(crate) trunks: u64,
    /// Routes, those between trunks among them.
    pub(crate) routes: u64,
    /// Call records.
    pub(crate) calls: u64,
}

impl StoreSize {
    pub(crate) fn of(store: &dyn Store) -> Result<Self, StoreError> {
        let stats = store.stats()?;
        Ok(Self {
            size_bytes: stats.size_bytes,
            free_bytes: stats.free_bytes,
            schema: stats.schema,
            generation: store.generation()?,
            sessions: stats.sessions,
            trunks: stats.trunks,
            routes: stats.routes,
            calls: stats.calls,
        })
    }
}

/// What was read of a store, to its end or to the first fault.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct StoreCheck {
    /// Trunks, sessions, routes, quotas, users, roles and webhooks that were read.
    pub(crate) records: u64,
    /// What belongs to Telegram accounts: keys, people they have met, limits.
    pub(crate) telegram: u64,
    /// Call records that were read, open ones among them.
    pub(crate) calls: u64,
    /// How many call records cannot be read, where all else can: they are left out wherever records are asked for.
    #[serde(default)]
    pub(crate) unreadable_calls: u64,
    /// Registrations, bans, what quotas have counted, what is still to be said, tokens, what waits for webhooks.
    pub(crate) soft: u64,
    /// What cannot be read; null where all can.
    pub(crate) fault: Option<String>,
}

impl StoreCheck {
    /// Reads all there is, and opens every secret. A million call records take some ten seconds.
    pub(crate) fn of(store: &dyn Store) -> Self {
        let mut check = Self::default();
        // sled panics on some kinds of damage; what was counted until then is right.
        let read = catch_unwind(AssertUnwindSafe(|| check.read(store)));
        check.fault = match read {
            Ok(Ok(unreadable)) => {
                check.unreadable_calls = unreadable.count;
                unreadable.in_words()
            }
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("the database is damaged".to_owned()),
        };
        check
    }

    fn read(&mut self, store: &dyn Store) -> Result<Faults, StoreError> {
        let current = Current::read(store)?;
        let lengths = [
            current.trunks.len(),
            current.sessions.len(),
            current.routes.len(),
            current.transits.len(),
            current.quotas.len(),
            current.users.len(),
            current.roles.len(),
            current.webhooks.len(),
        ];
        self.records = lengths.into_iter().map(count).sum();
        for session in &current.sessions {
            let space = Space::Telegram(&session.name);
            self.telegram += count(store.scan(space, b"")?.len());
        }
        let spaces = [
            Space::Bindings,
            Space::Bans,
            Space::Counters,
            Space::Farewells,
            Space::Tokens,
            Space::Deliveries,
        ];
        for space in spaces {
            self.soft += count(store.scan(space, b"")?.len());
        }
        let mut faults = Faults::default();
        let open = store.unfinished_calls()?;
        self.calls = count(open.records.len());
        faults.add(open.unreadable);
        let mut before = None;
        loop {
            let part = store.calls_before(before, AT_ONCE)?;
            let is_last = part.count() < AT_ONCE;
            self.calls += count(part.records.len());
            before = part.last;
            faults.add(part.unreadable);
            if is_last {
                return Ok(faults);
            }
        }
    }
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// Call records that cannot be read.
#[derive(Default)]
struct Faults {
    /// The first ones.
    named: Vec<Unreadable>,
    count: u64,
}

impl Faults {
    fn add(&mut self, unreadable: Vec<Unreadable>) {
        self.count += count(unreadable.len());
        let places = MOST_NAMED - self.named.len();
        self.named.extend(unreadable.into_iter().take(places));
    }

    /// What is wrong with the first one, and which others there are.
    fn in_words(&self) -> Option<String> {
        let (first, others) = self.named.split_first()?;
        let mut words = first.to_string();
        if !others.is_empty() {
            let ids: Vec<String> = others.iter().map(|other| other.id.to_string()).collect();
            words = format!("{words}; nor can {}", ids.join(", "));
        }
        match self.count - count(self.named.len()) {
            0 => {}
            more => words = format!("{words} and {more} more"),
        }
        Some(words)
    }
}
