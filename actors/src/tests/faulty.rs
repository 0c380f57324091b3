//! A store whose disk fails when a test says so.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use model::{
    CallId, CallRecord, OpenCall, QuotaSpec, RoleSpec, RouteSpec, SessionName, SessionSpec,
    TransitSpec, TrunkSpec, UserSpec, WebhookSpec,
};
use store::{
    BackupError, Calls, Change, Ends, Entry, KeyId, KeySource, MasterKey, SledStore, Space, Stats,
    Store, StoreError,
};

/// What does not work.
#[derive(Clone, Default)]
pub(crate) struct Fault {
    reads: Arc<AtomicBool>,
    writes: Arc<AtomicBool>,
}

impl Fault {
    /// Nothing that is not read at the start can be read, or all can again.
    pub(crate) fn reads(&self, fail: bool) {
        self.reads.store(fail, Ordering::Relaxed);
    }

    /// Nothing can be written, or all can again.
    pub(crate) fn writes(&self, fail: bool) {
        self.writes.store(fail, Ordering::Relaxed);
    }
}

/// The usual store behind a [`Fault`].
pub(crate) struct Faulty {
    pub(crate) store: SledStore,
    pub(crate) fault: Fault,
}

impl Faulty {
    fn read(&self) -> Result<&SledStore, StoreError> {
        Self::unless(&self.fault.reads, &self.store)
    }

    fn write(&self) -> Result<&SledStore, StoreError> {
        Self::unless(&self.fault.writes, &self.store)
    }

    fn unless<'a>(fails: &AtomicBool, store: &'a SledStore) -> Result<&'a SledStore, StoreError> {
        if fails.load(Ordering::Relaxed) {
            return Err(std::io::Error::other("the disk fails, as the test wants").into());
        }
        Ok(store)
    }
}

impl Store for Faulty {
    fn trunks(&self) -> Result<Vec<TrunkSpec>, StoreError> {
        self.store.trunks()
    }

    fn sessions(&self) -> Result<Vec<SessionSpec>, StoreError> {
        self.store.sessions()
    }

    fn routes(&self) -> Result<Vec<RouteSpec>, StoreError> {
        self.store.routes()
    }

    fn transits(&self) -> Result<Vec<TransitSpec>, StoreError> {
        self.store.transits()
    }

    fn quotas(&self) -> Result<Vec<QuotaSpec>, StoreError> {
        self.store.quotas()
    }

    fn webhooks(&self) -> Result<Vec<WebhookSpec>, StoreError> {
        self.store.webhooks()
    }

    fn users(&self) -> Result<Vec<UserSpec>, StoreError> {
        self.store.users()
    }

    fn roles(&self) -> Result<Vec<RoleSpec>, StoreError> {
        self.store.roles()
    }

    fn generation(&self) -> Result<u64, StoreError> {
        self.store.generation()
    }

    fn commit(&self, expected: Option<u64>, changes: &[Change]) -> Result<u64, StoreError> {
        self.write()?.commit(expected, changes)
    }

    fn open_call(&self, call: &OpenCall) -> Result<(), StoreError> {
        self.write()?.open_call(call)
    }

    fn close_calls(&self, records: &[&CallRecord]) -> Result<(), StoreError> {
        self.write()?.close_calls(records)
    }

    fn call(&self, id: CallId) -> Result<Option<CallRecord>, StoreError> {
        self.read()?.call(id)
    }

    fn unfinished_calls(&self) -> Result<Calls<OpenCall>, StoreError> {
        self.store.unfinished_calls()
    }

    fn calls_before(&self, before: Option<CallId>, count: usize) -> Result<Calls, StoreError> {
        self.read()?.calls_before(before, count)
    }

    fn remove_calls(&self, before_ms: u64, count: usize) -> Result<usize, StoreError> {
        self.write()?.remove_calls(before_ms, count)
    }

    fn note_ends_for(&self, readers: &[&str]) -> Result<(), StoreError> {
        self.write()?.note_ends_for(readers)
    }

    fn ends_passed(&self, reader: &str) -> Result<u64, StoreError> {
        self.read()?.ends_passed(reader)
    }

    fn ends_after(&self, after: u64, count: usize) -> Result<Ends, StoreError> {
        self.read()?.ends_after(after, count)
    }

    fn pass_ends(&self, reader: &str, number: u64) -> Result<(), StoreError> {
        self.write()?.pass_ends(reader, number)
    }

    fn get(&self, space: Space<'_>, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.read()?.get(space, key)
    }

    fn scan(&self, space: Space<'_>, prefix: &[u8]) -> Result<Vec<Entry>, StoreError> {
        // What was counted is read by the house; bans and farewells are read before there is one.
        match space {
            Space::Counters | Space::Telegram(_) => self.read()?.scan(space, prefix),
            Space::Bindings
            | Space::Bans
            | Space::Farewells
            | Space::Deliveries
            | Space::Tokens => self.store.scan(space, prefix),
        }
    }

    fn put_soft(&self, space: Space<'_>, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.write()?.put_soft(space, key, value)
    }

    fn put_durable(&self, space: Space<'_>, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.write()?.put_durable(space, key, value)
    }

    fn remove(&self, space: Space<'_>, key: &[u8]) -> Result<(), StoreError> {
        self.write()?.remove(space, key)
    }

    fn is_restored(&self, session: &SessionName) -> Result<bool, StoreError> {
        self.read()?.is_restored(session)
    }

    fn back_up(&self, file: &Path, keys: &dyn KeySource) -> Result<(), BackupError> {
        self.store.back_up(file, keys)
    }

    fn master_keys(&self) -> Result<Vec<KeyId>, StoreError> {
        self.store.master_keys()
    }

    fn add_master_key(&self, key: &MasterKey) -> Result<(), StoreError> {
        self.store.add_master_key(key)
    }

    fn remove_master_key(&self, id: KeyId) -> Result<(), StoreError> {
        self.store.remove_master_key(id)
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.write()?.flush()
    }

    fn stats(&self) -> Result<Stats, StoreError> {
        self.store.stats()
    }
}
