//! What is in a store, and whether all of it can be read.

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::{Deserialize, Serialize};
use store::{Space, Store, StoreError};
use utoipa::ToSchema;

use crate::records::Current;

/// How many call records are read at once.
const AT_ONCE: usize = 500;

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
    /// Call records, open ones among them.
    pub(crate) calls: u64,
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
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("the database is damaged".to_owned()),
        };
        check
    }

    fn read(&mut self, store: &dyn Store) -> Result<(), StoreError> {
        let count = |length: usize| u64::try_from(length).unwrap_or(u64::MAX);
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
        self.calls = count(store.unfinished_calls()?.len());
        let mut before = None;
        loop {
            let records = store.calls_before(before, AT_ONCE)?;
            self.calls += count(records.len());
            before = records.last().map(|record| record.id);
            if records.len() < AT_ONCE {
                return Ok(());
            }
        }
    }
}
