//! The store on sled 0.34.

mod check;
mod count;
mod ended;
mod layout;
mod opening;
mod unlock;

use std::collections::BTreeSet;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use model::{
    CallId, CallRecord, OpenCall, QuotaSpec, RoleSpec, RouteSpec, Secret, SessionName, SessionSpec,
    TransitSpec, TrunkSpec, UserSpec, WebhookSpec,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sled::{Batch, Db, Tree};

use self::count::{CallCount, entries};
use self::ended::EndList;
pub(crate) use self::layout::{
    ADOPT, CALLS, DELIVERIES, LOCK_PATIENCE, LOCK_RETRY, OPEN_CALLS, SCHEMA, SCHEMA_KEY,
    SEALED_SINCE, SESSIONS, TELEGRAM_TREE, TRUNKS, UNSEALED, VERSION, WEBHOOKS, decode, encode,
    is_sealed, transit_key,
};
use self::layout::{CLEAR_BINDINGS, CLEAR_TELEGRAM, all, of_calls, route_key, telegram_tree};
pub use self::opening::free_bytes;
use self::opening::write_mark;
pub(crate) use self::opening::{config, make_folder};
use self::unlock::master_keys;
pub(crate) use self::unlock::{found, unlock, wrapped_key};

use crate::seal::{KeyId, MasterKey, SEALED, Seal};
use crate::{
    BackupError, Calls, Change, Ends, Entry, KeySource, Migration, OpenError, Space, Stats, Store,
    StoreError,
};

/// A [`Store`] in a folder of its own.
pub struct SledStore {
    path: PathBuf,
    db: Db,
    seal: Seal,
    schema: u8,
    /// How it came to that, if it was made with an older one.
    migration: Option<Migration>,
    /// The backup of the store as it was before its migration, when that has just been done.
    backup: Option<PathBuf>,
    trunks: Tree,
    sessions: Tree,
    routes: Tree,
    transits: Tree,
    calls: Tree,
    open_calls: Tree,
    bindings: Tree,
    bans: Tree,
    counters: Tree,
    quotas: Tree,
    roles: Tree,
    users: Tree,
    farewells: Tree,
    tokens: Tree,
    webhooks: Tree,
    deliveries: Tree,
    meta: Tree,
    /// One commit at a time: the generation is read, compared and written.
    committing: Mutex<()>,
    call_count: CallCount,
    ended: EndList,
    /// The generation that the mark beside the database does not say yet; 0 when it says the last one.
    mark_due: AtomicU64,
}

impl SledStore {
    /// Reads what the house reads at its start: damage that opening does not see is seen here.
    pub fn check_sound(&self) -> Result<(), OpenError> {
        let read = || -> Result<(), StoreError> {
            self.trunks()?;
            self.sessions()?;
            self.routes()?;
            self.transits()?;
            self.unfinished_calls()?;
            self.generation()?;
            Ok(())
        };
        // sled panics on some kinds of damage; nothing of what it was about to give is kept.
        match catch_unwind(AssertUnwindSafe(read)) {
            Ok(Ok(())) => Ok(()),
            // Other failures are the reader's to tell of.
            Ok(Err(error)) if !error.is_damage() => Ok(()),
            Ok(Err(_)) | Err(_) => Err(OpenError::Damaged {
                path: self.path.clone(),
            }),
        }
    }

    /// How the store came to its schema; nothing where it was made with it.
    pub fn migration(&self) -> Option<Migration> {
        self.migration
    }

    /// Where the store is as it was before this call of [`SledStore::open`] changed its schema: a file for [`crate::restore`].
    pub fn backup(&self) -> Option<&Path> {
        self.backup.as_deref()
    }

    /// Writes the mark, if it is due.
    fn mark(&self) {
        let due = self.mark_due.swap(0, Ordering::Relaxed);
        if due > 0 {
            let _ = write_mark(&self.path, due);
        }
    }

    fn space(&self, space: Space<'_>) -> Result<Tree, StoreError> {
        Ok(match space {
            Space::Bindings => self.bindings.clone(),
            Space::Bans => self.bans.clone(),
            Space::Counters => self.counters.clone(),
            Space::Farewells => self.farewells.clone(),
            Space::Tokens => self.tokens.clone(),
            Space::Deliveries => self.deliveries.clone(),
            Space::Telegram(session) => self.db.open_tree(telegram_tree(session.as_str()))?,
        })
    }

    /// Flushes, and asks the disk to keep it: sled issues `sync_file_range` only.
    fn sync(&self) -> Result<(), StoreError> {
        Ok(Self::sync_files(&self.db, &self.path)?)
    }

    pub(crate) fn sync_files(db: &Db, folder: &Path) -> std::io::Result<()> {
        db.flush().map_err(std::io::Error::from)?;
        File::open(folder.join("db"))?.sync_all()
    }

    /// What stands in the tree of a space for a value.
    fn sealed(&self, space: Space<'_>, key: &[u8], value: &[u8]) -> Result<Vec<u8>, StoreError> {
        match space {
            Space::Telegram(session) => {
                let tree = telegram_tree(session.as_str());
                Ok(self.seal.seal(&tree, key, value.to_vec())?)
            }
            Space::Bindings
            | Space::Bans
            | Space::Counters
            | Space::Farewells
            | Space::Deliveries
            | Space::Tokens => Ok(value.to_vec()),
        }
    }

    /// The value of what stands there.
    fn unsealed(&self, space: Space<'_>, key: &[u8], value: &[u8]) -> Result<Vec<u8>, StoreError> {
        match space {
            Space::Telegram(session) => {
                self.open_value(&telegram_tree(session.as_str()), key, value)
            }
            Space::Bindings
            | Space::Bans
            | Space::Counters
            | Space::Farewells
            | Space::Deliveries
            | Space::Tokens => Ok(value.to_vec()),
        }
    }

    fn open_value(&self, tree: &str, key: &[u8], value: &[u8]) -> Result<Vec<u8>, StoreError> {
        let name = || String::from_utf8_lossy(key).into_owned();
        match value.first() {
            Some(&SEALED) => self
                .seal
                .open(tree, key, value)
                .ok_or_else(|| StoreError::Sealed {
                    tree: tree.to_owned(),
                    key: name(),
                }),
            other => Err(StoreError::Version {
                tree: tree.to_owned(),
                key: name(),
                version: other.copied().unwrap_or(0),
            }),
        }
    }

    /// All records of a tree whose values are sealed; what was opened is wiped.
    fn all_sealed<T: DeserializeOwned>(
        &self,
        name: &'static str,
        tree: &Tree,
    ) -> Result<Vec<T>, StoreError> {
        let mut records = Vec::new();
        for entry in tree {
            let (key, value) = entry?;
            let plain = Secret::new(self.open_value(name, &key, &value)?);
            records.push(decode(name, &key, plain.expose())?);
        }
        Ok(records)
    }

    /// What stands for a record in such a tree.
    fn encode_sealed(
        &self,
        tree: &'static str,
        key: &str,
        record: &impl Serialize,
    ) -> Result<Vec<u8>, StoreError> {
        let plain = encode(tree, key, record)?;
        Ok(self.seal.seal(tree, key.as_bytes(), plain)?)
    }

    pub(crate) fn db(&self) -> &Db {
        &self.db
    }

    /// Nobody commits while this is held.
    pub(crate) fn alone(&self) -> MutexGuard<'_, ()> {
        self.committing
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The ids of the master keys that open it.
    pub(crate) fn known_keys(&self) -> Result<Vec<KeyId>, sled::Error> {
        master_keys(&self.meta)
    }
}

impl Drop for SledStore {
    fn drop(&mut self) {
        self.mark();
    }
}

impl Store for SledStore {
    fn trunks(&self) -> Result<Vec<TrunkSpec>, StoreError> {
        self.all_sealed(TRUNKS, &self.trunks)
    }

    fn sessions(&self) -> Result<Vec<SessionSpec>, StoreError> {
        all("sessions", &self.sessions)
    }

    fn routes(&self) -> Result<Vec<RouteSpec>, StoreError> {
        all("routes", &self.routes)
    }

    fn transits(&self) -> Result<Vec<TransitSpec>, StoreError> {
        all("transits", &self.transits)
    }

    fn quotas(&self) -> Result<Vec<QuotaSpec>, StoreError> {
        all("quotas", &self.quotas)
    }

    fn users(&self) -> Result<Vec<UserSpec>, StoreError> {
        all("users", &self.users)
    }

    fn webhooks(&self) -> Result<Vec<WebhookSpec>, StoreError> {
        self.all_sealed(WEBHOOKS, &self.webhooks)
    }

    fn roles(&self) -> Result<Vec<RoleSpec>, StoreError> {
        all("roles", &self.roles)
    }

    fn generation(&self) -> Result<u64, StoreError> {
        let bytes = self.meta.get("generation")?;
        Ok(bytes
            .and_then(|bytes| bytes.as_ref().try_into().ok())
            .map_or(0, u64::from_be_bytes))
    }

    fn commit(&self, expected: Option<u64>, changes: &[Change]) -> Result<u64, StoreError> {
        let _alone = self.alone();
        let found = self.generation()?;
        if let Some(expected) = expected.filter(|expected| *expected != found) {
            return Err(StoreError::Conflict { expected, found });
        }
        self.check(changes)?;
        let (mut trunks, mut sessions, mut routes) =
            (Batch::default(), Batch::default(), Batch::default());
        let (mut transits, mut quotas, mut meta) =
            (Batch::default(), Batch::default(), Batch::default());
        let (mut roles, mut users, mut webhooks) =
            (Batch::default(), Batch::default(), Batch::default());
        for change in changes {
            match change {
                Change::PutTrunk(spec) => {
                    let name = spec.name.as_str();
                    trunks.insert(name, self.encode_sealed(TRUNKS, name, spec)?);
                }
                Change::RemoveTrunk(name) => {
                    trunks.remove(name.as_str());
                    meta.insert(format!("{CLEAR_BINDINGS}{name}").as_str(), &[]);
                }
                Change::PutSession(spec) => {
                    sessions.insert(
                        spec.name.as_str(),
                        encode("sessions", spec.name.as_str(), spec)?,
                    );
                }
                Change::RemoveSession(name) => {
                    sessions.remove(name.as_str());
                    meta.insert(format!("{CLEAR_TELEGRAM}{name}").as_str(), &[]);
                    meta.remove(format!("{ADOPT}{name}").as_str());
                }
                Change::AdoptSession(name) => meta.remove(format!("{ADOPT}{name}").as_str()),
                Change::PutRoute(spec) => {
                    let key = route_key(&spec.trunk, &spec.session);
                    routes.insert(key.as_str(), encode("routes", &key, spec)?);
                }
                Change::RemoveRoute(trunk, session) => {
                    routes.remove(route_key(trunk, session).as_str());
                }
                Change::PutTransit(spec) => {
                    let key = transit_key(&spec.trunk, &spec.to);
                    transits.insert(key.as_str(), encode("transits", &key, spec)?);
                }
                Change::RemoveTransit(from, to) => {
                    transits.remove(transit_key(from, to).as_str());
                }
                Change::PutQuota(spec) => {
                    let name = spec.name.as_str();
                    quotas.insert(name, encode("quotas", name, spec)?);
                }
                Change::RemoveQuota(name) => quotas.remove(name.as_str()),
                Change::PutUser(spec) => {
                    let name = spec.name.as_str();
                    users.insert(name, encode("users", name, spec)?);
                }
                Change::RemoveUser(name) => users.remove(name.as_str()),
                Change::PutWebhook(spec) => {
                    let name = spec.name.as_str();
                    webhooks.insert(name, self.encode_sealed(WEBHOOKS, name, spec)?);
                }
                Change::RemoveWebhook(name) => webhooks.remove(name.as_str()),
                Change::PutRole(spec) => {
                    let name = spec.role.label();
                    roles.insert(name, encode("roles", name, spec)?);
                }
            }
        }
        let next = found + 1;
        meta.insert("generation", &next.to_be_bytes());
        // One transaction over all trees: either the whole commit is there after a crash or nothing of it.
        let outcome: sled::transaction::TransactionResult<(), ()> =
            sled::Transactional::transaction(
                &(
                    &self.trunks,
                    &self.sessions,
                    &self.routes,
                    &self.transits,
                    &self.quotas,
                    &self.meta,
                    &self.roles,
                    &self.users,
                    &self.webhooks,
                ),
                |(a, b, c, d, e, f, g, h, i)| {
                    a.apply_batch(&trunks)?;
                    b.apply_batch(&sessions)?;
                    c.apply_batch(&routes)?;
                    d.apply_batch(&transits)?;
                    e.apply_batch(&quotas)?;
                    f.apply_batch(&meta)?;
                    g.apply_batch(&roles)?;
                    h.apply_batch(&users)?;
                    i.apply_batch(&webhooks)?;
                    Ok(())
                },
            );
        match outcome {
            Ok(()) | Err(sled::transaction::TransactionError::Abort(())) => {}
            Err(sled::transaction::TransactionError::Storage(error)) => return Err(error.into()),
        }
        self.sync()?;
        // Not waited for: the commit stands, and a mark that is too low only notices less.
        self.mark_due.store(next, Ordering::Relaxed);
        // The commit stands; what cannot be cleared away now is cleared at the next start.
        let _ = self.clear_leftovers();
        Ok(next)
    }

    fn open_call(&self, call: &OpenCall) -> Result<(), StoreError> {
        let id = call.record.id;
        let value = encode("open", &id.to_string(), call)?;
        self.open_calls.insert(id.to_bytes(), value)?;
        Ok(())
    }

    fn close_calls(&self, records: &[&CallRecord]) -> Result<(), StoreError> {
        let mut noting = self.ended.note();
        for record in records {
            let value = encode("cdr", &record.id.to_string(), record)?;
            let key = record.id.to_bytes();
            if let Some(noting) = &mut noting
                && !self.calls.contains_key(key)?
            {
                noting.add(&key)?;
            }
            self.call_count.insert(&key, value)?;
            // Looking costs less than taking away what was never there.
            if self.open_calls.contains_key(key)? {
                self.open_calls.remove(key)?;
            }
        }
        self.db.flush()?;
        if let Some(noting) = noting {
            noting.show();
        }
        Ok(())
    }

    fn remove_calls(&self, before_ms: u64, count: usize) -> Result<usize, StoreError> {
        let before = CallId::new(before_ms, 0).to_bytes();
        Ok(self.call_count.remove_first(&before, count)?)
    }

    fn note_ends_for(&self, readers: &[&str]) -> Result<(), StoreError> {
        self.ended.set_readers(readers)?;
        self.sync()
    }

    fn ends_passed(&self, reader: &str) -> Result<u64, StoreError> {
        Ok(self.ended.passed(reader)?)
    }

    fn ends_after(&self, after: u64, count: usize) -> Result<Ends, StoreError> {
        self.ended.after(after, count, &self.calls)
    }

    fn pass_ends(&self, reader: &str, number: u64) -> Result<(), StoreError> {
        Ok(self.ended.pass(reader, number)?)
    }

    fn call(&self, id: CallId) -> Result<Option<CallRecord>, StoreError> {
        let key = id.to_bytes();
        let found = match self.calls.get(key)? {
            Some(value) => Some(value),
            None => self.open_calls.get(key)?,
        };
        found.map(|value| decode("cdr", &key, &value)).transpose()
    }

    fn unfinished_calls(&self) -> Result<Calls<OpenCall>, StoreError> {
        let mut open: Calls<OpenCall> = of_calls(self.open_calls.iter())?;
        let records = open.records.iter().map(|call| call.record.id);
        let unreadable = open.unreadable.iter().map(|call| call.id);
        let mut closed = BTreeSet::new();
        for id in records.chain(unreadable) {
            // A crash between the two writes of `close_calls` leaves both.
            if self.calls.contains_key(id.to_bytes())? {
                closed.insert(id);
            }
        }
        open.records
            .retain(|call| !closed.contains(&call.record.id));
        open.unreadable.retain(|call| !closed.contains(&call.id));
        for id in closed {
            self.open_calls.remove(id.to_bytes())?;
        }
        Ok(open)
    }

    fn calls_before(&self, before: Option<CallId>, count: usize) -> Result<Calls, StoreError> {
        match before {
            Some(before) => {
                let earlier = self.calls.range(..before.to_bytes());
                of_calls(earlier.rev().take(count))
            }
            None => of_calls(self.calls.iter().rev().take(count)),
        }
    }

    fn get(&self, space: Space<'_>, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.space(space)?
            .get(key)?
            .map(|value| self.unsealed(space, key, &value))
            .transpose()
    }

    fn scan(&self, space: Space<'_>, prefix: &[u8]) -> Result<Vec<Entry>, StoreError> {
        let mut found = Vec::new();
        for entry in self.space(space)?.scan_prefix(prefix) {
            let (key, value) = entry?;
            let value = self.unsealed(space, &key, &value)?;
            found.push((key.to_vec(), value));
        }
        Ok(found)
    }

    fn put_soft(&self, space: Space<'_>, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let value = self.sealed(space, key, value)?;
        self.space(space)?.insert(key, value)?;
        Ok(())
    }

    fn put_durable(&self, space: Space<'_>, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let value = self.sealed(space, key, value)?;
        self.space(space)?.insert(key, value)?;
        self.sync()
    }

    fn remove(&self, space: Space<'_>, key: &[u8]) -> Result<(), StoreError> {
        self.space(space)?.remove(key)?;
        Ok(())
    }

    fn is_restored(&self, session: &SessionName) -> Result<bool, StoreError> {
        Ok(self.meta.contains_key(format!("{ADOPT}{session}"))?)
    }

    fn back_up(&self, file: &Path, keys: &dyn KeySource) -> Result<(), BackupError> {
        self.write_backup(file, keys)
    }

    fn master_keys(&self) -> Result<Vec<KeyId>, StoreError> {
        Ok(self.known_keys()?)
    }

    fn add_master_key(&self, key: &MasterKey) -> Result<(), StoreError> {
        let wrapped = self.seal.wrap(key)?;
        self.meta.insert(wrapped_key(key.id()), wrapped)?;
        self.sync()
    }

    fn remove_master_key(&self, id: KeyId) -> Result<(), StoreError> {
        // Two that remove at the same time must not remove the last two.
        let _alone = self.alone();
        let known = master_keys(&self.meta)?;
        if !known.contains(&id) {
            return Err(StoreError::Missing {
                kind: "key",
                name: id.to_string(),
            });
        }
        if known.len() == 1 {
            return Err(StoreError::LastKey { id });
        }
        self.meta.remove(wrapped_key(id))?;
        self.sync()
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.db.flush()?;
        self.mark();
        Ok(())
    }

    fn stats(&self) -> Result<Stats, StoreError> {
        Ok(Stats {
            size_bytes: self.db.size_on_disk()?,
            sessions: entries(&self.sessions)?,
            trunks: entries(&self.trunks)?,
            routes: entries(&self.routes)? + entries(&self.transits)?,
            calls: self.call_count.total(),
            free_bytes: fs2::available_space(&self.path).ok(),
            schema: self.schema,
            migration: self.migration,
        })
    }
}
