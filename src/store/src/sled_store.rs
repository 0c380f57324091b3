//! The store on sled 0.34.

mod unlock;

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use model::{
    CallId, CallRecord, OpenCall, QuotaSpec, RoleSpec, RouteSpec, Secret, SessionName, SessionSpec,
    TransitSpec, TrunkName, TrunkSpec, UserSpec,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sled::{Batch, Db, IVec, Tree};

use self::unlock::master_keys;
pub(crate) use self::unlock::{FoundError, found, unlock, wrapped_key};

use crate::migration::{self, STEPS, Step};
use crate::seal::{KeyId, MasterKey, SEALED, Seal};
use crate::{
    BackupError, Change, Entry, KeySource, Migration, OpenError, Space, Stats, Store, StoreError,
    sealing,
};

/// The version byte of a record.
pub(crate) const VERSION: u8 = 1;
/// The layout of the trees. 1: nothing is sealed; 2: trunks and Telegram's spaces are.
pub(crate) const SCHEMA: u8 = 2;
pub(crate) const UNSEALED: u8 = 1;
pub(crate) const SEALED_SINCE: u8 = 2;
/// Keys of `meta`: the layout, and each wrapped data key with the id of its master key.
pub(crate) const SCHEMA_KEY: &str = "schema";
const WRAPPED_KEY: &[u8] = b"key/";
/// The tree of the trunks; passwords are in it.
pub(crate) const TRUNKS: &str = "trunks";
pub(crate) const SESSIONS: &str = "sessions";
/// Calls that have ended, and calls that go on.
pub(crate) const CALLS: &str = "cdr";
pub(crate) const OPEN_CALLS: &str = "open";
/// How the key of `meta` begins that says of a session that it came from a backup; the name follows.
pub(crate) const ADOPT: &str = "adopt/";
/// sled's default cache is 1 GiB. Configuration is read once and call records are written and seldom read: little is enough.
const CACHE_BYTES: u64 = 4 << 20;
/// How old a soft write can be when the process is killed.
const FLUSH_EVERY_MS: u64 = 250;
/// How many call records are counted while somebody waits.
const COUNTED_AT_ONCE: usize = 5_000;
/// The file that says how new the database must be.
const MARK: &str = "generation";
/// How long a lock is waited for, and how often it is tried.
pub(crate) const LOCK_PATIENCE: Duration = Duration::from_secs(1);
pub(crate) const LOCK_RETRY: Duration = Duration::from_millis(10);
/// What a commit left to be cleared away, so that a crash in between cannot forget it: a key of `meta`, then the name.
const CLEAR_BINDINGS: &str = "clear/bindings/";
const CLEAR_TELEGRAM: &str = "clear/telegram/";

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
    meta: Tree,
    /// One commit at a time: the generation is read, compared and written.
    committing: Mutex<()>,
    /// How many call records there are: sled counts by reading everything, and they are too many for that.
    call_count: Arc<AtomicU64>,
    counting: Once,
    /// The last of those that were there at the start, which are counted when somebody asks.
    last_call: Option<IVec>,
    /// The generation that the mark beside the database does not say yet; 0 when it says the last one.
    mark_due: AtomicU64,
}

impl SledStore {
    /// Opens or creates the store in `folder`, readable by its owner alone, with the master key that `keys` gives. Waits up to a
    /// second for a lock that somebody is letting go of. A store of an older schema is brought to the present one first ([`SledStore::backup`]).
    pub fn open(folder: &Path, keys: &dyn KeySource) -> Result<Self, OpenError> {
        Self::open_by(folder, keys, STEPS)
    }

    /// The same with these steps between schemas.
    pub(crate) fn open_by(
        folder: &Path,
        keys: &dyn KeySource,
        steps: &[Step],
    ) -> Result<Self, OpenError> {
        // sled's own threads finish their writes, and with them hold the lock, for a moment after the store was dropped.
        let began = Instant::now();
        loop {
            match Self::open_now(folder, keys, steps) {
                Err(OpenError::Locked { .. }) if began.elapsed() < LOCK_PATIENCE => {
                    thread::sleep(LOCK_RETRY);
                }
                done => return done,
            }
        }
    }

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

    fn open_now(folder: &Path, keys: &dyn KeySource, steps: &[Step]) -> Result<Self, OpenError> {
        // sled panics on some kinds of damage. Nothing of it is kept when it does, so nothing half-made can be seen.
        catch_unwind(AssertUnwindSafe(|| Self::open_sound(folder, keys, steps))).unwrap_or_else(
            |_| {
                Err(OpenError::Damaged {
                    path: folder.to_owned(),
                })
            },
        )
    }

    fn open_sound(folder: &Path, keys: &dyn KeySource, steps: &[Step]) -> Result<Self, OpenError> {
        let newest = migration::newest(steps);
        let path = folder.to_owned();
        sealing::settle(folder)?;
        // sled reports a folder it may not write like a broken one: try first, for the clearer message.
        let probe = folder.join(".writable");
        make_folder(folder)
            .and_then(|()| File::create(&probe))
            .and_then(|_| fs::remove_file(&probe))
            .map_err(|source| OpenError::Folder {
                path: path.clone(),
                source,
            })?;
        let failed = |source| open_error(&path, source);
        let damaged = || OpenError::Damaged { path: path.clone() };
        let db = config(folder).open().map_err(failed)?;
        let tree = |name: &str| db.open_tree(name).map_err(failed);
        let meta = tree("meta")?;
        let schema = meta.get(SCHEMA_KEY).map_err(failed)?;
        let seal = match schema.as_deref().and_then(|bytes| bytes.first().copied()) {
            Some(found) if found > newest => {
                return Err(OpenError::Newer {
                    path,
                    found,
                    known: newest,
                });
            }
            Some(found) if found == newest => unlock(&meta, &path, keys)?.1,
            Some(found) if found >= UNSEALED => {
                drop((meta, schema));
                let backup = migration::run(folder, db, found, steps, keys)?;
                let mut store = Self::open_sound(folder, keys, steps)?;
                store.backup = Some(backup);
                return Ok(store);
            }
            Some(_) => return Err(damaged()),
            None if !is_empty(&db).map_err(failed)? => return Err(damaged()),
            // sled takes what it cannot read for the torn end of its log: of a broken file nothing may be left, without an error.
            None if read_mark(folder).is_some() => return Err(damaged()),
            None => {
                let master = keys.key(&[]).map_err(OpenError::Key)?;
                let seal = found(&meta, &master, newest).map_err(|error| match error {
                    FoundError::Database(source) => open_error(&path, source),
                    FoundError::Random(error) => OpenError::Key(error.into()),
                })?;
                Self::sync_files(&db, folder).map_err(|source| OpenError::Folder {
                    path: path.clone(),
                    source,
                })?;
                seal
            }
        };
        // A folder that was there before may be open to others; its secrets are in this file. Where the owner is somebody
        // else, the system refuses, and its rights are theirs to choose.
        let _ = fs::set_permissions(folder.join("db"), Permissions::from_mode(0o600));
        let calls = tree(CALLS)?;
        let store = Self {
            seal,
            schema: newest,
            migration: migration::last(&meta).map_err(failed)?,
            backup: None,
            trunks: tree(TRUNKS)?,
            sessions: tree(SESSIONS)?,
            routes: tree("routes")?,
            transits: tree("transits")?,
            open_calls: tree(OPEN_CALLS)?,
            bindings: tree("bindings")?,
            bans: tree("bans")?,
            counters: tree("counters")?,
            quotas: tree("quotas")?,
            roles: tree("roles")?,
            users: tree("users")?,
            farewells: tree("farewells")?,
            tokens: tree("tokens")?,
            committing: Mutex::default(),
            call_count: Arc::default(),
            last_call: calls.last().map_err(failed)?.map(|(key, _)| key),
            counting: Once::new(),
            mark_due: AtomicU64::new(0),
            calls,
            meta,
            path: path.clone(),
            db,
        };
        store
            .clear_leftovers()
            .map_err(|source| open_error(&path, source))?;
        let generation = store.generation().map_err(|_| damaged())?;
        match read_mark(folder) {
            // Or only what was written last.
            Some(mark) if mark > generation => return Err(damaged()),
            Some(mark) if mark == generation => {}
            Some(_) | None => {
                write_mark(folder, generation).map_err(|source| OpenError::Folder {
                    path: path.clone(),
                    source,
                })?
            }
        }
        Ok(store)
    }

    /// Clears away what belonged to trunks and sessions that a commit removed.
    fn clear_leftovers(&self) -> Result<(), sled::Error> {
        for entry in self.meta.scan_prefix("clear/") {
            let (key, _) = entry?;
            let text = String::from_utf8_lossy(&key);
            if let Some(trunk) = text.strip_prefix(CLEAR_BINDINGS) {
                self.bindings.remove(trunk)?;
            } else if let Some(session) = text.strip_prefix(CLEAR_TELEGRAM) {
                self.db.drop_tree(telegram_tree(session))?;
            }
            self.meta.remove(&key)?;
        }
        Ok(())
    }

    /// Counts the call records that there were at the start, in a thread of its own when they are many; new ones are counted as they are
    /// written, for their ids are greater.
    fn count_calls(&self) {
        let Some(last) = self.last_call.clone() else {
            return;
        };
        let count = |tree: &Tree, from: std::ops::Bound<&[u8]>, most: usize| {
            let range = (from, std::ops::Bound::Included(last.as_ref()));
            let keys = tree.range::<&[u8], _>(range).keys().flatten().take(most);
            keys.fold((0, None), |(count, _), key| (count + 1, Some(key)))
        };
        let (counted, up_to) = count(&self.calls, std::ops::Bound::Unbounded, COUNTED_AT_ONCE);
        self.call_count.fetch_add(counted, Ordering::Relaxed);
        let Some(up_to) = up_to.filter(|up_to| *up_to < last) else {
            return;
        };
        let (tree, total) = (self.calls.clone(), Arc::clone(&self.call_count));
        let work = move || {
            let from = std::ops::Bound::Excluded(up_to.as_ref());
            let range = (from, std::ops::Bound::Included(last.as_ref()));
            for _ in tree.range::<&[u8], _>(range).keys().flatten() {
                total.fetch_add(1, Ordering::Relaxed);
            }
        };
        // Without a thread the number is too low, and nothing else is wrong.
        let _ = thread::Builder::new().name("count".to_owned()).spawn(work);
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
            Space::Bindings | Space::Bans | Space::Counters | Space::Farewells | Space::Tokens => {
                Ok(value.to_vec())
            }
        }
    }

    /// The value of what stands there.
    fn unsealed(&self, space: Space<'_>, key: &[u8], value: &[u8]) -> Result<Vec<u8>, StoreError> {
        match space {
            Space::Telegram(session) => {
                self.open_value(&telegram_tree(session.as_str()), key, value)
            }
            Space::Bindings | Space::Bans | Space::Counters | Space::Farewells | Space::Tokens => {
                Ok(value.to_vec())
            }
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

    fn present(tree: &Tree, kind: &'static str, name: &str) -> Result<(), StoreError> {
        if tree.contains_key(name)? {
            Ok(())
        } else {
            Err(StoreError::Missing {
                kind,
                name: name.to_owned(),
            })
        }
    }

    fn check(&self, changes: &[Change]) -> Result<(), StoreError> {
        for change in changes {
            match change {
                Change::RemoveTrunk(name) => Self::present(&self.trunks, "trunk", name.as_str())?,
                Change::RemoveSession(name) => {
                    Self::present(&self.sessions, "session", name.as_str())?;
                }
                Change::RemoveRoute(trunk, session) => {
                    Self::present(&self.routes, "route", &route_key(trunk, session))?;
                }
                Change::RemoveTransit(from, to) => {
                    Self::present(&self.transits, "route", &transit_key(from, to))?;
                }
                Change::RemoveQuota(name) => Self::present(&self.quotas, "quota", name.as_str())?,
                Change::RemoveUser(name) => Self::present(&self.users, "user", name.as_str())?,
                Change::PutSession(spec) if spec.enabled => {
                    let adopts = |change: &Change| matches!(change, Change::AdoptSession(name) if *name == spec.name);
                    if self.is_restored(&spec.name)? && !changes.iter().any(adopts) {
                        return Err(StoreError::NotAdopted {
                            session: spec.name.clone(),
                        });
                    }
                }
                Change::PutTrunk(_)
                | Change::PutSession(_)
                | Change::AdoptSession(_)
                | Change::PutRoute(_)
                | Change::PutTransit(_)
                | Change::PutQuota(_)
                | Change::PutRole(_)
                | Change::PutUser(_) => {}
            }
        }
        Ok(())
    }
}

impl Drop for SledStore {
    fn drop(&mut self) {
        self.mark();
    }
}

/// The generation that the database must at least have, beside it: absent before the first start of a version that writes it.
fn read_mark(folder: &Path) -> Option<u64> {
    let text = fs::read_to_string(folder.join(MARK)).ok()?;
    text.trim().parse().ok()
}

/// Written after the database itself is on the disk.
fn write_mark(folder: &Path, generation: u64) -> std::io::Result<()> {
    let new = folder.join(format!("{MARK}.new"));
    let mut file = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    writeln!(file, "{generation}")?;
    file.sync_all()?;
    fs::rename(&new, folder.join(MARK))?;
    File::open(folder)?.sync_all()
}

/// Returns the free space of the file system that a folder lies on, or will; nothing where the system does not say.
pub fn free_bytes(folder: &Path) -> Option<u64> {
    let there = folder.ancestors().find(|folder| folder.exists());
    fs2::available_space(there.unwrap_or(Path::new("."))).ok()
}

/// How sled is used here.
pub(crate) fn config(folder: &Path) -> sled::Config {
    sled::Config::new()
        .path(folder)
        .cache_capacity(CACHE_BYTES)
        .flush_every_ms(Some(FLUSH_EVERY_MS))
}

/// Makes a folder readable by its owner alone, unless it is there.
pub(crate) fn make_folder(folder: &Path) -> std::io::Result<()> {
    if folder.exists() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Whether the values of this tree are sealed.
pub(crate) fn is_sealed(tree: &str) -> bool {
    tree == TRUNKS || tree.starts_with(TELEGRAM_TREE)
}

fn is_empty(db: &Db) -> Result<bool, sled::Error> {
    for name in db.tree_names() {
        if !db.open_tree(name)?.is_empty() {
            return Ok(false);
        }
    }
    Ok(true)
}

fn open_error(path: &Path, source: sled::Error) -> OpenError {
    let path = path.to_owned();
    match source {
        sled::Error::Io(io) if io.to_string().contains("lock") => OpenError::Locked { path },
        source => OpenError::Unreadable { path, source },
    }
}

/// How the names of the trees of sessions begin.
pub(crate) const TELEGRAM_TREE: &str = "tg/";

fn telegram_tree(session: &str) -> String {
    format!("{TELEGRAM_TREE}{session}")
}

/// Names hold no `/`, so the key is unambiguous.
fn route_key(trunk: &TrunkName, session: &SessionName) -> String {
    format!("{trunk}/{session}")
}

pub(crate) fn transit_key(from: &TrunkName, to: &TrunkName) -> String {
    format!("{from}/{to}")
}

pub(crate) fn encode(
    tree: &'static str,
    key: &str,
    record: &impl Serialize,
) -> Result<Vec<u8>, StoreError> {
    let mut bytes = vec![VERSION];
    serde_json::to_writer(&mut bytes, record).map_err(|source| StoreError::Record {
        tree,
        key: key.to_owned(),
        source,
    })?;
    Ok(bytes)
}

pub(crate) fn decode<T: DeserializeOwned>(
    tree: &'static str,
    key: &[u8],
    bytes: &[u8],
) -> Result<T, StoreError> {
    let key = || String::from_utf8_lossy(key).into_owned();
    match bytes.split_first() {
        Some((&VERSION, json)) => {
            serde_json::from_slice(json).map_err(|source| StoreError::Record {
                tree,
                key: key(),
                source,
            })
        }
        other => {
            let version = other.map_or(0, |(version, _)| *version);
            Err(StoreError::Version {
                tree: tree.to_owned(),
                key: key(),
                version,
            })
        }
    }
}

fn all<T: DeserializeOwned>(name: &'static str, tree: &Tree) -> Result<Vec<T>, StoreError> {
    let mut records = Vec::new();
    for entry in tree {
        let (key, value) = entry?;
        records.push(decode(name, &key, &value)?);
    }
    Ok(records)
}

impl Store for SledStore {
    fn trunks(&self) -> Result<Vec<TrunkSpec>, StoreError> {
        let mut trunks = Vec::new();
        for entry in &self.trunks {
            let (key, value) = entry?;
            let plain = Secret::new(self.open_value(TRUNKS, &key, &value)?);
            trunks.push(decode(TRUNKS, &key, plain.expose())?);
        }
        Ok(trunks)
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
        let (mut roles, mut users) = (Batch::default(), Batch::default());
        for change in changes {
            match change {
                Change::PutTrunk(spec) => {
                    let name = spec.name.as_str();
                    let plain = encode(TRUNKS, name, spec)?;
                    let sealed = self.seal.seal(TRUNKS, name.as_bytes(), plain)?;
                    trunks.insert(name, sealed);
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
                ),
                |(a, b, c, d, e, f, g, h)| {
                    a.apply_batch(&trunks)?;
                    b.apply_batch(&sessions)?;
                    c.apply_batch(&routes)?;
                    d.apply_batch(&transits)?;
                    e.apply_batch(&quotas)?;
                    f.apply_batch(&meta)?;
                    g.apply_batch(&roles)?;
                    h.apply_batch(&users)?;
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
        for record in records {
            let value = encode("cdr", &record.id.to_string(), record)?;
            let key = record.id.to_bytes();
            let is_new = self.calls.insert(key, value)?.is_none();
            // A call of an earlier process is among those that will be counted.
            let last = self.last_call.as_deref();
            let is_counted =
                self.counting.is_completed() || last.is_none_or(|last| &key[..] > last);
            if is_new && is_counted {
                self.call_count.fetch_add(1, Ordering::Relaxed);
            }
            // Looking costs less than taking away what was never there.
            if self.open_calls.contains_key(record.id.to_bytes())? {
                self.open_calls.remove(record.id.to_bytes())?;
            }
        }
        self.db.flush()?;
        Ok(())
    }

    fn call(&self, id: CallId) -> Result<Option<CallRecord>, StoreError> {
        let key = id.to_bytes();
        let found = match self.calls.get(key)? {
            Some(value) => Some(value),
            None => self.open_calls.get(key)?,
        };
        found.map(|value| decode("cdr", &key, &value)).transpose()
    }

    fn unfinished_calls(&self) -> Result<Vec<OpenCall>, StoreError> {
        let mut open: Vec<OpenCall> = all("open", &self.open_calls)?;
        let mut closed = Vec::new();
        for call in &open {
            // A crash between the two writes of `close_calls` leaves both.
            if self.calls.contains_key(call.record.id.to_bytes())? {
                closed.push(call.record.id);
            }
        }
        open.retain(|call| !closed.contains(&call.record.id));
        for id in closed {
            self.open_calls.remove(id.to_bytes())?;
        }
        Ok(open)
    }

    fn recent_calls(&self, count: usize) -> Result<Vec<CallRecord>, StoreError> {
        let mut records = Vec::new();
        for entry in self.calls.iter().rev().take(count) {
            let (key, value) = entry?;
            records.push(decode("cdr", &key, &value)?);
        }
        Ok(records)
    }

    fn calls_before(
        &self,
        before: Option<CallId>,
        count: usize,
    ) -> Result<Vec<CallRecord>, StoreError> {
        let Some(before) = before else {
            return self.recent_calls(count);
        };
        let mut records = Vec::new();
        let earlier = self.calls.range(..before.to_bytes().to_vec());
        for entry in earlier.rev().take(count) {
            let (key, value) = entry?;
            records.push(decode("cdr", &key, &value)?);
        }
        Ok(records)
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
        self.counting.call_once(|| self.count_calls());
        Ok(Stats {
            size_bytes: self.db.size_on_disk()?,
            sessions: self.sessions.len() as u64,
            trunks: self.trunks.len() as u64,
            routes: (self.routes.len() + self.transits.len()) as u64,
            calls: self.call_count.load(Ordering::Relaxed),
            free_bytes: fs2::available_space(&self.path).ok(),
            schema: self.schema,
            migration: self.migration,
        })
    }
}
