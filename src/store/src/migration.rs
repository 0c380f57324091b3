//! From the layout of an older version to the present one, step by step.
//!
//! Before the first step a sealed backup of the store as it was is written beside it. Each step leads from one schema to the next; its
//! schema is written when all that it did is on the disk. A crash at any moment leaves the store before or in the middle of a step, whose
//! schema is still the old one: the next start does that step again, with the backup that is there. So a step must do the same when half of
//! it was done before.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use sled::{Batch, Db, Tree};

use crate::backup::{self, beside};
use crate::sealing::{released, seal_store};
use crate::sled_store::{SCHEMA_KEY, SledStore, UNSEALED, unlock};
use crate::{KeySource, MasterKey, OpenError};

/// What goes wrong on the way.
pub(crate) type Failed = Box<dyn Error + Send + Sync>;

/// Key of `meta`: a [`Begun`], while the steps are done.
const BEGUN: &str = "migrating";
/// Key of `meta`: the last [`Migration`].
const DONE: &str = "migrated";

/// That a store came from an older layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Migration {
    /// The schema it had.
    pub from: u8,
    /// The schema it got.
    pub to: u8,
    /// When that was done, seconds since 1970.
    pub at: u64,
}

/// What a start that is killed leaves to the next.
#[derive(Serialize, Deserialize)]
struct Begun {
    from: u8,
    /// The file name of the backup, which lies beside the store.
    backup: String,
}

/// One step, from the schema before to this one.
pub(crate) struct Step {
    /// The schema afterwards.
    pub(crate) to: u8,
    /// Does it to the store in this folder, and returns the store to go on with. What it does must be so that it may be done again after a
    /// crash.
    pub(crate) run: fn(&Path, Db, &MasterKey) -> Result<Db, Failed>,
}

/// All steps there are, in their order. Who adds one raises [`crate::sled_store::SCHEMA`] as well.
pub(crate) const STEPS: &[Step] = &[Step {
    to: 2,
    run: seal_store,
}];

/// The schema that these steps lead to.
pub(crate) fn newest(steps: &[Step]) -> u8 {
    steps.last().map_or(UNSEALED, |step| step.to)
}

/// How the store came to its schema; nothing where it was made with it.
pub(crate) fn last(meta: &Tree) -> Result<Option<Migration>, sled::Error> {
    let found = meta.get(DONE)?;
    Ok(found.and_then(|json| serde_json::from_slice(&json).ok()))
}

/// Does what lies between the schema of `db`, which is `found`, and the newest; closes it, and returns where the backup is.
pub(crate) fn run(
    folder: &Path,
    db: Db,
    found: u8,
    steps: &[Step],
    keys: &dyn KeySource,
) -> Result<PathBuf, OpenError> {
    let master = master(folder, &db, found, keys)?;
    let to = newest(steps);
    all(folder, db, found, steps, &master).map_err(|source| {
        let path = folder.to_owned();
        match found {
            UNSEALED => OpenError::Sealing { path, source },
            from => OpenError::Migrating {
                path,
                from,
                to,
                source,
            },
        }
    })
}

/// The key that opens the store, or will.
fn master(folder: &Path, db: &Db, found: u8, keys: &dyn KeySource) -> Result<MasterKey, OpenError> {
    if found == UNSEALED {
        return keys.key(&[]).map_err(OpenError::Key);
    }
    let meta = db
        .open_tree("meta")
        .map_err(|source| OpenError::Unreadable {
            path: folder.to_owned(),
            source,
        })?;
    // Another key is refused before anything is written.
    unlock(&meta, folder, keys).map(|(master, _)| master)
}

fn all(
    folder: &Path,
    mut db: Db,
    found: u8,
    steps: &[Step],
    master: &MasterKey,
) -> Result<PathBuf, Failed> {
    let (begun, backup) = begin(folder, &db, found, master)?;
    for step in steps.iter().filter(|step| step.to > found) {
        db = (step.run)(folder, db, master)?;
        SledStore::sync_files(&db, folder)?;
        let meta = db.open_tree("meta")?;
        let mut batch = Batch::default();
        batch.insert(SCHEMA_KEY, &[step.to]);
        if step.to == newest(steps) {
            let done = Migration {
                from: begun.from,
                to: step.to,
                at: unix(),
            };
            batch.insert(DONE, serde_json::to_vec(&done)?);
            batch.remove(BEGUN);
        }
        meta.apply_batch(batch)?;
        SledStore::sync_files(&db, folder)?;
    }
    drop(db);
    // Its threads let go of the files a moment later.
    released(folder)?;
    Ok(backup)
}

/// Writes the backup, unless a start that was killed has done it.
fn begin(
    folder: &Path,
    db: &Db,
    found: u8,
    master: &MasterKey,
) -> Result<(Begun, PathBuf), Failed> {
    let meta = db.open_tree("meta")?;
    if let Some(json) = meta.get(BEGUN)? {
        let begun: Begun = serde_json::from_slice(&json)?;
        let backup = folder.with_file_name(&begun.backup);
        if backup.exists() {
            return Ok((begun, backup));
        }
    }
    let what = match found {
        UNSEALED => "sealing".to_owned(),
        found => format!("leaving-schema-{found}"),
    };
    let backup = beside(folder, &format!("-before-{what}-{}.backup", unix()));
    write_backup(db, &backup, master)?;
    let name = backup.file_name().unwrap_or_default().to_string_lossy();
    let begun = Begun {
        from: found,
        backup: name.into_owned(),
    };
    meta.insert(BEGUN, serde_json::to_vec(&begun)?)?;
    SledStore::sync_files(db, folder)?;
    Ok((begun, backup))
}

fn write_backup(db: &Db, file: &Path, master: &MasterKey) -> Result<(), Failed> {
    // One of this very second is of a start that was killed before it could say so.
    if file.exists() {
        fs::remove_file(file)?;
    }
    backup::write(file, master, |backup| {
        for name in db.tree_names() {
            for entry in &db.open_tree(&name)? {
                let (key, value) = entry?;
                backup.entry(&name, &key, &value)?;
            }
        }
        Ok(())
    })
}

fn unix() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}
