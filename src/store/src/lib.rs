//! Remembers across restarts: the only room that knows sled.
//!
//! A blocking API behind the trait [`Store`]; no async, no actors, no policy. Records are JSON behind one version byte: the
//! format describes itself, so a new field needs no migration, and the byte is there for the change that does. Durable writes
//! are flushed before they return; credentials and Telegram keys are also synced to the disk, because sled's flush alone is
//! not power-safe on Linux. Trunks and what belongs to Telegram accounts are sealed (`seal`), under a key that does not lie in the
//! folder. Soft writes are at most as old as sled's background flush (250 ms).

mod backup;
mod bans;
mod calls;
mod error;
mod healing;
mod keys;
mod migration;
mod seal;
mod sealing;
mod sled_store;
#[cfg(test)]
mod tests;
mod tokens;

use std::path::Path;

use model::{
    CallId, CallRecord, OpenCall, QuotaName, QuotaSpec, RoleSpec, RouteSpec, SessionName,
    SessionSpec, TransitSpec, TrunkName, TrunkSpec, UserName, UserSpec, WebhookName, WebhookSpec,
};
use serde::{Deserialize, Serialize};

pub use backup::{BackupError, Contents, Restored, restore, set_aside, set_aside_before, verify};
pub use bans::{read_bans, write_bans};
pub use calls::{Calls, Unreadable};
pub use error::{OpenError, StoreError};
pub use healing::Healing;
pub use keys::{KeyError, KeySource};
pub use migration::Migration;
pub use seal::{KeyId, MasterKey, NoKey, NoRandom};
pub use sled_store::{SledStore, free_bytes};
pub use tokens::{TokenRecord, read_tokens, token_hash, write_tokens};

/// One change of what an owner edits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Adds or replaces a trunk.
    PutTrunk(Box<TrunkSpec>),
    /// Removes a trunk and its bindings.
    RemoveTrunk(TrunkName),
    /// Adds or replaces a session; its keys stay.
    PutSession(SessionSpec),
    /// Removes a session and its keys.
    RemoveSession(SessionName),
    /// A session of a backup may be switched on again: its login runs nowhere else, or has no keys here.
    AdoptSession(SessionName),
    /// Adds or replaces the pairing of a trunk and a session.
    PutRoute(RouteSpec),
    /// Removes the pairing of a trunk and a session.
    RemoveRoute(TrunkName, SessionName),
    /// Adds or replaces the way from one trunk to another.
    PutTransit(TransitSpec),
    /// Removes the way from the first trunk to the second.
    RemoveTransit(TrunkName, TrunkName),
    /// Adds or replaces a quota profile.
    PutQuota(QuotaSpec),
    /// Removes a quota profile.
    RemoveQuota(QuotaName),
    /// Adds or replaces a user.
    PutUser(UserSpec),
    /// Removes a user.
    RemoveUser(UserName),
    /// Switches a role on or off.
    PutRole(RoleSpec),
    /// Adds or replaces a webhook.
    PutWebhook(Box<WebhookSpec>),
    /// Removes a webhook.
    RemoveWebhook(WebhookName),
}

/// A key space beside the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Space<'a> {
    /// The Telegram keys, update state and peers of one session.
    Telegram(&'a SessionName),
    /// Registration bindings, by trunk.
    Bindings,
    /// Who is banned.
    Bans,
    /// What quotas and failure counters have counted, by whose it is.
    Counters,
    /// What is still to be said to those with whom a process had calls that is gone.
    Farewells,
    /// Who may ask over HTTP.
    Tokens,
    /// What is still to be posted to webhooks; in no backup, and not kept for a disk that is full.
    Deliveries,
}

/// A key and its value.
pub type Entry = (Vec<u8>, Vec<u8>);

/// Numbers for the operator.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Size on disk in bytes.
    pub size_bytes: u64,
    /// Sessions.
    pub sessions: u64,
    /// Trunks.
    pub trunks: u64,
    /// Routes, those between trunks among them.
    pub routes: u64,
    /// Call records.
    pub calls: u64,
    /// Free space of the file system it lies on, where the system says so.
    pub free_bytes: Option<u64>,
    /// The layout it has.
    pub schema: u8,
    /// How it came to that; nothing where it was made with it.
    pub migration: Option<Migration>,
}

/// The end of a call, for whoever writes records elsewhere.
#[derive(Debug, Clone, PartialEq)]
pub struct Ended {
    /// Its number: of two ends the later one's is greater.
    pub number: u64,
    /// The record; nothing where it has been removed since, or cannot be read.
    pub record: Option<CallRecord>,
    /// Why it cannot be read.
    pub fault: Option<Unreadable>,
}

/// Ends of calls, oldest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ends {
    /// The first ones.
    pub ended: Vec<Ended>,
    /// How many more there are.
    pub more: u64,
}

/// What the house needs of a database.
pub trait Store: Send + Sync {
    /// Returns all trunks, by name.
    fn trunks(&self) -> Result<Vec<TrunkSpec>, StoreError>;
    /// Returns all sessions, by name.
    fn sessions(&self) -> Result<Vec<SessionSpec>, StoreError>;
    /// Returns all routes, by trunk and session.
    fn routes(&self) -> Result<Vec<RouteSpec>, StoreError>;
    /// Returns all ways between trunks, by the first and the second.
    fn transits(&self) -> Result<Vec<TransitSpec>, StoreError>;
    /// Returns all quota profiles, by name.
    fn quotas(&self) -> Result<Vec<QuotaSpec>, StoreError>;
    /// Returns all users, by name.
    fn users(&self) -> Result<Vec<UserSpec>, StoreError>;
    /// Returns all webhooks, by name.
    fn webhooks(&self) -> Result<Vec<WebhookSpec>, StoreError>;
    /// Returns the roles that were ever switched.
    fn roles(&self) -> Result<Vec<RoleSpec>, StoreError>;
    /// Returns the generation of the configuration: how many commits there were.
    fn generation(&self) -> Result<u64, StoreError>;
    /// Makes all changes or none, durably, and returns the new generation; refuses when `expected` is not the present one.
    fn commit(&self, expected: Option<u64>, changes: &[Change]) -> Result<u64, StoreError>;

    /// Notes that a call began; soft.
    fn open_call(&self, call: &OpenCall) -> Result<(), StoreError>;
    /// Writes the records of calls that ended; durable, with one flush for all of them.
    fn close_calls(&self, records: &[&CallRecord]) -> Result<(), StoreError>;
    /// Returns one call record.
    fn call(&self, id: CallId) -> Result<Option<CallRecord>, StoreError>;
    /// Returns the calls that were begun and never closed, oldest first.
    fn unfinished_calls(&self) -> Result<Calls<OpenCall>, StoreError>;
    /// Returns those of the newest call records, at most `count`, that can be read, newest first.
    fn recent_calls(&self, count: usize) -> Result<Vec<CallRecord>, StoreError> {
        Ok(self.calls_before(None, count)?.records)
    }
    /// Returns the newest call records that began before this one, newest first, at most `count` with those that cannot be read; without
    /// one, the newest of all.
    fn calls_before(&self, before: Option<CallId>, count: usize) -> Result<Calls, StoreError>;
    /// Removes the records of the oldest calls that began before this time, in milliseconds since 1970, at most `count`; returns how many
    /// that were. Soft.
    fn remove_calls(&self, before_ms: u64, count: usize) -> Result<usize, StoreError>;

    /// Notes the end of each call from now on, in their order, for these readers and for no others: what is noted stays until all of them
    /// have passed it. Who was a reader before goes on where he was. Durable.
    fn note_ends_for(&self, readers: &[&str]) -> Result<(), StoreError>;
    /// Returns the number of the last end that a reader has passed.
    fn ends_passed(&self, reader: &str) -> Result<u64, StoreError>;
    /// Returns the ends behind a number, at most `count`; only such as a crash cannot undo.
    fn ends_after(&self, after: u64, count: usize) -> Result<Ends, StoreError>;
    /// A reader has passed everything up to this number; soft.
    fn pass_ends(&self, reader: &str, number: u64) -> Result<(), StoreError>;

    /// Returns one value of a key space.
    fn get(&self, space: Space<'_>, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;
    /// Returns every key and value of a space whose key begins so.
    fn scan(&self, space: Space<'_>, prefix: &[u8]) -> Result<Vec<Entry>, StoreError>;
    /// Writes a value that may be lost by a crash within a second.
    fn put_soft(&self, space: Space<'_>, key: &[u8], value: &[u8]) -> Result<(), StoreError>;
    /// Writes a value that must survive a power cut.
    fn put_durable(&self, space: Space<'_>, key: &[u8], value: &[u8]) -> Result<(), StoreError>;
    /// Removes a value.
    fn remove(&self, space: Space<'_>, key: &[u8]) -> Result<(), StoreError>;

    /// Whether a session came from a backup and was not adopted yet: its login may be in use elsewhere, so that it must not connect.
    fn is_restored(&self, session: &SessionName) -> Result<bool, StoreError>;
    /// Writes all there is to a file, which must not be there, sealed with the key that `keys` has; everything goes on meanwhile.
    fn back_up(&self, file: &Path, keys: &dyn KeySource) -> Result<(), BackupError>;

    /// Returns the ids of the master keys that open the store.
    fn master_keys(&self) -> Result<Vec<KeyId>, StoreError>;
    /// Lets this master key open the store too, from now on and durably. No record is touched.
    fn add_master_key(&self, key: &MasterKey) -> Result<(), StoreError>;
    /// Lets this master key open the store no more, durably; refuses to remove the last one.
    fn remove_master_key(&self, id: KeyId) -> Result<(), StoreError>;

    /// Writes everything out.
    fn flush(&self) -> Result<(), StoreError>;
    /// Returns the numbers for the operator; reads no records.
    fn stats(&self) -> Result<Stats, StoreError>;
}
