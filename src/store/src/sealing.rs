//! Seals a store that was written before secrets were sealed (schema 1).
//!
//! The records cannot be overwritten in place: sled keeps what was written before for as long as it likes. So a new store grows beside
//! the old one and takes its place when it is complete, read back, and on the disk. The sealed backup that every migration begins with is the
//! way back to the older program. A crash at any moment leaves the old store or the new one, and the next start goes on from there.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Instant;

use fs2::FileExt;
use sled::Db;

use crate::OpenError;
use crate::backup::beside;
use crate::migration::Failed;
use crate::seal::MasterKey;
use crate::sled_store::{
    self, LOCK_PATIENCE, LOCK_RETRY, SCHEMA_KEY, SEALED_SINCE, SledStore, is_sealed, make_folder,
};

/// The store that grows.
fn growing(folder: &Path) -> PathBuf {
    beside(folder, ".sealing")
}

/// The store that was replaced, for as long as it takes to remove it.
fn replaced(folder: &Path) -> PathBuf {
    beside(folder, ".unsealed")
}

/// Goes on where a crash ended an earlier run, if one did.
pub(crate) fn settle(folder: &Path) -> Result<(), OpenError> {
    let old = replaced(folder);
    if !old.exists() {
        return Ok(());
    }
    let failed = |source: std::io::Error| OpenError::Folder {
        path: old.clone(),
        source,
    };
    // Somebody may be between two steps at this moment.
    let lock = File::open(old.join("db")).map_err(failed)?;
    if lock.try_lock_exclusive().is_err() {
        return Err(OpenError::Locked {
            path: folder.to_owned(),
        });
    }
    if folder.exists() {
        fs::remove_dir_all(&old).map_err(failed)
    } else {
        fs::rename(&old, folder).map_err(failed)
    }
}

/// Seals the store `db` in `folder`; returns it as it is then. Nothing was changed when that fails.
pub(crate) fn seal_store(folder: &Path, db: Db, master: &MasterKey) -> Result<Db, Failed> {
    let sealed = replace(folder, db, master);
    if sealed.is_err() {
        let _ = fs::remove_dir_all(growing(folder));
    }
    sealed?;
    Ok(sled_store::config(folder).open()?)
}

fn replace(folder: &Path, db: Db, master: &MasterKey) -> Result<(), Failed> {
    let (new, old) = (growing(folder), replaced(folder));
    if new.exists() {
        fs::remove_dir_all(&new)?;
    }
    make_folder(&new)?;
    copy(&db, &new, master)?;
    drop(db);
    // The threads of both let go of their files a moment later; until the end nobody else may open the old one.
    released(&new)?;
    let _lock = released(folder)?;
    fs::rename(folder, &old)?;
    if let Err(error) = fs::rename(&new, folder) {
        fs::rename(&old, folder)?;
        return Err(error.into());
    }
    if let Some(parent) = folder.parent().filter(|parent| parent.is_dir()) {
        File::open(parent)?.sync_all()?;
    }
    // What cannot be removed now is removed at the next start.
    let _ = fs::remove_dir_all(&old);
    Ok(())
}

/// Copies every record, and reads it back.
fn copy(db: &Db, folder: &Path, master: &MasterKey) -> Result<(), Failed> {
    let new = sled_store::config(folder).open()?;
    let seal = sled_store::found(&new.open_tree("meta")?, master, SEALED_SINCE)?;
    for name in db.tree_names() {
        let (from, to) = (db.open_tree(&name)?, new.open_tree(&name)?);
        let tree = std::str::from_utf8(&name)?;
        for entry in &from {
            let (key, value) = entry?;
            if tree == "meta" && key == SCHEMA_KEY.as_bytes() {
                continue;
            }
            if is_sealed(tree) {
                to.insert(&key, seal.seal(tree, &key, value.to_vec())?)?;
            } else {
                to.insert(&key, value)?;
            }
        }
    }
    SledStore::sync_files(&new, folder)?;
    for name in db.tree_names() {
        let (from, to) = (db.open_tree(&name)?, new.open_tree(&name)?);
        let tree = std::str::from_utf8(&name)?;
        for entry in &from {
            let (key, value) = entry?;
            if tree == "meta" && key == SCHEMA_KEY.as_bytes() {
                continue;
            }
            let copied = to.get(&key)?.unwrap_or_default();
            let same = if is_sealed(tree) {
                seal.open(tree, &key, &copied).as_deref() == Some(&value[..])
            } else {
                copied == value
            };
            if !same {
                return Err(format!("a record of `{tree}` was not copied well").into());
            }
        }
    }
    Ok(())
}

/// Waits until nobody holds the store in `folder`, and holds it.
pub(crate) fn released(folder: &Path) -> Result<File, Failed> {
    let file = File::open(folder.join("db"))?;
    let began = Instant::now();
    while let Err(error) = file.try_lock_exclusive() {
        if began.elapsed() > LOCK_PATIENCE {
            return Err(error.into());
        }
        thread::sleep(LOCK_RETRY);
    }
    Ok(file)
}
