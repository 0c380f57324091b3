//! A store that is opened again when its disk has room again (REL-P3).
//!
//! After the first write that fails sled takes nothing more: what it has in memory and what is on the disk may differ, and only opening it
//! anew brings them together. So whoever flushes looks whether there is room, closes the database, opens it again, and writes what was asked
//! for meanwhile: records of calls, calls that go on, and the last value of each soft key. What was to be durable and failed has been told
//! so, and is not written later.

use std::collections::BTreeMap;
use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use model::{
    CallId, CallRecord, OpenCall, QuotaSpec, RoleSpec, RouteSpec, SessionName, SessionSpec,
    TransitSpec, TrunkSpec, UserSpec, WebhookSpec,
};

use crate::{
    BackupError, Calls, Change, Ends, Entry, KeyId, KeySource, MasterKey, SledStore, Space, Stats,
    Store, StoreError,
};

/// How much room there must be before it is tried: some segments of the database.
const ROOM: u64 = 2 << 20;
/// How many of each kind wait at most; what comes then is lost, as it was told.
const MOST: usize = 10_000;

/// A [`SledStore`] that recovers from a full disk.
pub struct Healing {
    folder: PathBuf,
    keys: Mutex<Box<dyn KeySource + Send>>,
    /// None while it could not be opened again.
    store: RwLock<Option<SledStore>>,
    is_sick: AtomicBool,
    waiting: Mutex<Waiting>,
}

/// What is written when there is room.
#[derive(Default)]
struct Waiting {
    closed: BTreeMap<CallId, CallRecord>,
    open: BTreeMap<CallId, OpenCall>,
    soft: BTreeMap<(Place, Vec<u8>), Option<Vec<u8>>>,
}

/// A [`Space`] that lasts.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Telegram(SessionName),
    Bindings,
    Bans,
    Counters,
    Farewells,
    Tokens,
    Deliveries,
}

impl From<Space<'_>> for Place {
    fn from(space: Space<'_>) -> Self {
        match space {
            Space::Telegram(session) => Place::Telegram(session.clone()),
            Space::Bindings => Place::Bindings,
            Space::Bans => Place::Bans,
            Space::Counters => Place::Counters,
            Space::Farewells => Place::Farewells,
            Space::Tokens => Place::Tokens,
            Space::Deliveries => Place::Deliveries,
        }
    }
}

impl Place {
    fn space(&self) -> Space<'_> {
        match self {
            Place::Telegram(session) => Space::Telegram(session),
            Place::Bindings => Space::Bindings,
            Place::Bans => Space::Bans,
            Place::Counters => Space::Counters,
            Place::Farewells => Space::Farewells,
            Place::Tokens => Space::Tokens,
            Place::Deliveries => Space::Deliveries,
        }
    }
}

/// Remembers, if there is room for it.
fn remember<K: Ord, V>(list: &mut BTreeMap<K, V>, key: K, value: V) {
    if list.len() < MOST || list.contains_key(&key) {
        list.insert(key, value);
    }
}

fn not_open() -> Error {
    Error::other("the store could not be opened again yet")
}

impl Healing {
    /// Watches over a store in `folder`; `keys` opened it, and will again.
    pub fn new(store: SledStore, folder: &Path, keys: Box<dyn KeySource + Send>) -> Self {
        Self {
            folder: folder.to_owned(),
            keys: Mutex::new(keys),
            store: RwLock::new(Some(store)),
            is_sick: AtomicBool::new(false),
            waiting: Mutex::default(),
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask<T>(
        &self,
        what: impl FnOnce(&SledStore) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let store = self.store.read().unwrap_or_else(PoisonError::into_inner);
        let Some(store) = &*store else {
            return Err(StoreError::Disk(not_open()));
        };
        what(store)
    }

    /// The same of what writes: notices when that is not possible any more.
    fn write<T>(
        &self,
        what: impl FnOnce(&SledStore) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let done = self.ask(what);
        if let Err(StoreError::Database(_) | StoreError::Disk(_)) = &done {
            self.is_sick.store(true, Ordering::Relaxed);
        }
        done
    }

    /// The same of a soft value, or that there is none: while the store takes nothing it waits as well.
    fn soft(
        &self,
        space: Space<'_>,
        key: &[u8],
        value: Option<&[u8]>,
        what: impl FnOnce(&SledStore) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        // There may be many deliveries, which whoever posts them has in memory as well; they must not take the places of counters.
        if space == Space::Deliveries {
            return self.write(what);
        }
        let at = || (Place::from(space), key.to_vec());
        {
            // Before it is written. What was left to wait when the store has healed meanwhile would come back the next time, over what was
            // written since.
            let mut waiting = self.waiting();
            if self.is_sick() {
                remember(&mut waiting.soft, at(), value.map(<[u8]>::to_vec));
            }
        }
        let done = self.write(what);
        if let Err(StoreError::Database(_) | StoreError::Disk(_)) = &done {
            let mut waiting = self.waiting();
            // Whoever heals the store just now has not seen this one.
            self.is_sick.store(true, Ordering::Relaxed);
            if !waiting.soft.contains_key(&at()) {
                remember(&mut waiting.soft, at(), value.map(<[u8]>::to_vec));
            }
        }
        done
    }

    fn is_sick(&self) -> bool {
        self.is_sick.load(Ordering::Relaxed)
    }

    /// Opens the database again, if there is room, and writes what waits.
    fn heal(&self) -> Result<(), StoreError> {
        if fs2::available_space(&self.folder).unwrap_or_default() < ROOM {
            let what = "the disk of the store is full: nothing is written until there is room";
            return Err(StoreError::Disk(Error::new(ErrorKind::StorageFull, what)));
        }
        {
            let mut store = self.store.write().unwrap_or_else(PoisonError::into_inner);
            // The lock of the database goes with it.
            drop(store.take());
            let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
            let opened = SledStore::open(&self.folder, &**keys);
            *store = Some(opened.map_err(|error| StoreError::Disk(Error::other(error)))?);
        }
        let mut waiting = self.waiting();
        let closed: Vec<&CallRecord> = waiting.closed.values().collect();
        self.ask(|store| {
            for ((place, key), value) in &waiting.soft {
                match value {
                    Some(value) => store.put_soft(place.space(), key, value)?,
                    None => store.remove(place.space(), key)?,
                }
            }
            for call in waiting.open.values() {
                store.open_call(call)?;
            }
            store.close_calls(&closed)
        })?;
        *waiting = Waiting::default();
        self.is_sick.store(false, Ordering::Relaxed);
        Ok(())
    }
}

impl Store for Healing {
    fn trunks(&self) -> Result<Vec<TrunkSpec>, StoreError> {
        self.ask(Store::trunks)
    }

    fn sessions(&self) -> Result<Vec<SessionSpec>, StoreError> {
        self.ask(Store::sessions)
    }

    fn routes(&self) -> Result<Vec<RouteSpec>, StoreError> {
        self.ask(Store::routes)
    }

    fn transits(&self) -> Result<Vec<TransitSpec>, StoreError> {
        self.ask(Store::transits)
    }

    fn quotas(&self) -> Result<Vec<QuotaSpec>, StoreError> {
        self.ask(Store::quotas)
    }

    fn roles(&self) -> Result<Vec<RoleSpec>, StoreError> {
        self.ask(Store::roles)
    }

    fn webhooks(&self) -> Result<Vec<WebhookSpec>, StoreError> {
        self.ask(Store::webhooks)
    }

    fn users(&self) -> Result<Vec<UserSpec>, StoreError> {
        self.ask(Store::users)
    }

    fn generation(&self) -> Result<u64, StoreError> {
        self.ask(Store::generation)
    }

    fn commit(&self, expected: Option<u64>, changes: &[Change]) -> Result<u64, StoreError> {
        self.write(|store| store.commit(expected, changes))
    }

    fn open_call(&self, call: &OpenCall) -> Result<(), StoreError> {
        let done = self.write(|store| store.open_call(call));
        if self.is_sick() {
            remember(&mut self.waiting().open, call.record.id, call.clone());
        }
        done
    }

    fn close_calls(&self, records: &[&CallRecord]) -> Result<(), StoreError> {
        let done = self.write(|store| store.close_calls(records));
        if self.is_sick() {
            let waiting = &mut *self.waiting();
            for record in records {
                waiting.open.remove(&record.id);
                remember(&mut waiting.closed, record.id, (*record).clone());
            }
        }
        done
    }

    fn call(&self, id: CallId) -> Result<Option<CallRecord>, StoreError> {
        self.ask(|store| store.call(id))
    }

    fn unfinished_calls(&self) -> Result<Calls<OpenCall>, StoreError> {
        self.ask(Store::unfinished_calls)
    }

    fn calls_before(&self, before: Option<CallId>, count: usize) -> Result<Calls, StoreError> {
        self.ask(|store| store.calls_before(before, count))
    }

    fn remove_calls(&self, before_ms: u64, count: usize) -> Result<usize, StoreError> {
        self.write(|store| store.remove_calls(before_ms, count))
    }

    fn note_ends_for(&self, readers: &[&str]) -> Result<(), StoreError> {
        self.write(|store| store.note_ends_for(readers))
    }

    fn ends_passed(&self, reader: &str) -> Result<u64, StoreError> {
        self.ask(|store| store.ends_passed(reader))
    }

    fn ends_after(&self, after: u64, count: usize) -> Result<Ends, StoreError> {
        self.ask(|store| store.ends_after(after, count))
    }

    // Not among what waits for room: whoever has passed something says so again.
    fn pass_ends(&self, reader: &str, number: u64) -> Result<(), StoreError> {
        self.write(|store| store.pass_ends(reader, number))
    }

    fn get(&self, space: Space<'_>, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.ask(|store| store.get(space, key))
    }

    fn scan(&self, space: Space<'_>, prefix: &[u8]) -> Result<Vec<Entry>, StoreError> {
        self.ask(|store| store.scan(space, prefix))
    }

    fn put_soft(&self, space: Space<'_>, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.soft(space, key, Some(value), |store| {
            store.put_soft(space, key, value)
        })
    }

    fn put_durable(&self, space: Space<'_>, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.write(|store| store.put_durable(space, key, value))
    }

    fn remove(&self, space: Space<'_>, key: &[u8]) -> Result<(), StoreError> {
        self.soft(space, key, None, |store| store.remove(space, key))
    }

    fn is_restored(&self, session: &SessionName) -> Result<bool, StoreError> {
        self.ask(|store| store.is_restored(session))
    }

    fn back_up(&self, file: &Path, keys: &dyn KeySource) -> Result<(), BackupError> {
        let store = self.store.read().unwrap_or_else(PoisonError::into_inner);
        match &*store {
            Some(store) => store.back_up(file, keys),
            None => Err(BackupError::from(not_open())),
        }
    }

    fn master_keys(&self) -> Result<Vec<KeyId>, StoreError> {
        self.ask(Store::master_keys)
    }

    fn add_master_key(&self, key: &MasterKey) -> Result<(), StoreError> {
        self.write(|store| store.add_master_key(key))
    }

    fn remove_master_key(&self, id: KeyId) -> Result<(), StoreError> {
        self.write(|store| store.remove_master_key(id))
    }

    fn flush(&self) -> Result<(), StoreError> {
        if self.is_sick() {
            self.heal()?;
        }
        self.write(Store::flush)
    }

    fn stats(&self) -> Result<Stats, StoreError> {
        self.ask(Store::stats)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};
    use std::thread;
    use std::time::Duration;

    use super::*;
    use crate::keys::KeyError;

    /// The key of a store, which is asked for while the store is closed; says so, and gives others some time.
    struct Slow(MasterKey, mpsc::Sender<()>);

    impl KeySource for Slow {
        fn key(&self, _: &[KeyId]) -> Result<MasterKey, KeyError> {
            let _ = self.1.send(());
            thread::sleep(Duration::from_millis(200));
            Ok(self.0.clone())
        }
    }

    #[test]
    fn what_is_written_while_the_store_heals_does_not_come_back_later() {
        let folder = tempfile::tempdir().unwrap();
        let key = MasterKey::from_octets([7; 32]);
        let store = SledStore::open(folder.path(), &key).unwrap();
        let (closed, is_closed) = mpsc::channel();
        let store = Healing::new(store, folder.path(), Box::new(Slow(key, closed)));
        let store = Arc::new(store);
        let falls_ill = || store.is_sick.store(true, Ordering::Relaxed);
        falls_ill();
        // What waits takes a while to be written.
        for n in 0..5_000_u32 {
            store
                .put_soft(Space::Counters, &n.to_be_bytes(), &[0; 64])
                .unwrap();
        }
        let other = Arc::clone(&store);
        let writer = thread::spawn(move || {
            is_closed.recv().unwrap();
            while other.is_sick() {
                other.put_soft(Space::Bindings, b"office", b"old").unwrap();
                other.remove(Space::Bindings, b"branch").unwrap();
            }
        });
        store.flush().unwrap();
        writer.join().unwrap();
        assert!(!store.is_sick());
        for trunk in [b"office", b"branch"] {
            store.put_soft(Space::Bindings, trunk, b"new").unwrap();
        }
        falls_ill();
        store.flush().unwrap();
        for trunk in [b"office", b"branch"] {
            let found = store.get(Space::Bindings, trunk).unwrap();
            assert_eq!(found.as_deref(), Some(&b"new"[..]));
        }
    }
}
