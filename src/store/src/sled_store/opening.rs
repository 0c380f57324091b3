//! How a database is opened: by its owner alone, of the schema that is known here, and no older than it must be.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::thread;
use std::time::Instant;

use sled::Db;

use super::SledStore;
use super::count::CallCount;
use super::ended::EndList;
use super::layout::{
    CACHE_BYTES, CALLS, CLEAR_BINDINGS, CLEAR_TELEGRAM, DELIVERIES, ENDED, FLUSH_EVERY_MS,
    LOCK_PATIENCE, LOCK_RETRY, MARK, OPEN_CALLS, READERS, SCHEMA_KEY, SESSIONS, TRUNKS, UNSEALED,
    WEBHOOKS, telegram_tree,
};
use super::unlock::{FoundError, found, unlock};
use crate::migration::{self, STEPS, Step};
use crate::{KeySource, OpenError, Store, sealing};

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
            webhooks: tree(WEBHOOKS)?,
            deliveries: tree(DELIVERIES)?,
            committing: Mutex::default(),
            call_count: CallCount::new(calls.clone()).map_err(failed)?,
            ended: EndList::open(tree(ENDED)?, tree(READERS)?, &calls).map_err(failed)?,
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
    pub(super) fn clear_leftovers(&self) -> Result<(), sled::Error> {
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
}

/// The generation that the database must at least have, beside it: absent before the first start of a version that writes it.
pub(super) fn read_mark(folder: &Path) -> Option<u64> {
    let text = fs::read_to_string(folder.join(MARK)).ok()?;
    text.trim().parse().ok()
}

/// Written after the database itself is on the disk.
pub(super) fn write_mark(folder: &Path, generation: u64) -> std::io::Result<()> {
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

pub(super) fn is_empty(db: &Db) -> Result<bool, sled::Error> {
    for name in db.tree_names() {
        if !db.open_tree(name)?.is_empty() {
            return Ok(false);
        }
    }
    Ok(true)
}

pub(super) fn open_error(path: &Path, source: sled::Error) -> OpenError {
    let path = path.to_owned();
    match source {
        sled::Error::Io(io) if io.to_string().contains("lock") => OpenError::Locked { path },
        source => OpenError::Unreadable { path, source },
    }
}
