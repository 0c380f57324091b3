//! A store that does not open is set aside, and the newest backup takes its place: calls need what is configured, and somebody who is asleep
//! cannot be asked. It is told loudly, for as long as the damaged store lies there.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use store::{KeySource, OpenError, Restored, SledStore};

use crate::backups;

/// No more damaged stores than these are set aside: a disk that fails must not be filled with them.
const MOST: usize = 3;

/// Opens the store in `folder`, or the newest of the backups in `kept` in its place. Without a backup that can be read everything is left
/// as it is, and so it is where something else than damage is in the way.
pub(crate) fn open(
    folder: &Path,
    kept: &Path,
    keys: &dyn KeySource,
) -> Result<SledStore, OpenError> {
    let last_write = last_write(folder);
    let damage = match open_sound(folder, keys) {
        Err(error) if error.is_damage() => error,
        done => return done,
    };
    tracing::error!(error = %damage, "the store is damaged");
    if store::set_aside_before(folder).len() >= MOST {
        tracing::error!(
            "it has been so again and again: look at the disk, then move away what was set aside"
        );
        return Err(damage);
    }
    let Some(backup) = newest(kept, last_write, keys) else {
        tracing::error!(folder = %kept.display(), "there is no backup to take in its place");
        return Err(damage);
    };
    let aside = match store::set_aside(folder) {
        Ok(aside) => aside,
        Err(error) => {
            tracing::error!(%error, "it cannot be set aside");
            return Err(damage);
        }
    };
    // The sessions ran here, and nowhere else.
    if let Err(error) = store::restore(&backup, folder, keys, Restored::Here) {
        tracing::error!(backup = %backup.display(), %error, "the backup cannot be restored");
        if let Err(error) = std::fs::rename(&aside, folder) {
            tracing::error!(%error, aside = %aside.display(), "the damaged store could not be put back");
        }
        return Err(damage);
    }
    tracing::error!(
        backup = %backup.display(),
        aside = %aside.display(),
        "the newest backup takes the place of the damaged store: what was changed and who called since is lost"
    );
    open_sound(folder, keys).inspect_err(|error| {
        // What is in the backup is no better: everything as it was.
        tracing::error!(%error, "the backup does not open either");
        let put_back = std::fs::remove_dir_all(folder).and_then(|()| std::fs::rename(&aside, folder));
        if let Err(error) = put_back {
            tracing::error!(%error, aside = %aside.display(), "the damaged store could not be put back");
        }
    })
}

fn open_sound(folder: &Path, keys: &dyn KeySource) -> Result<SledStore, OpenError> {
    let store = SledStore::open(folder, keys)?;
    store.check_sound()?;
    Ok(store)
}

/// When the switch wrote last, by the clock it had then: after a start the clock may not be set yet.
fn last_write(folder: &Path) -> SystemTime {
    let written = std::fs::metadata(folder.join("db")).and_then(|db| db.modified());
    written.unwrap_or_else(|_| SystemTime::now())
}

/// The newest backup that is whole, and whose key is at hand.
fn newest(kept: &Path, last_write: SystemTime, keys: &dyn KeySource) -> Option<PathBuf> {
    let is_whole = |file: &PathBuf| match store::verify(file, keys) {
        Ok(_) => true,
        Err(error) => {
            tracing::warn!(backup = %file.display(), %error, "a backup cannot be used");
            false
        }
    };
    backups::newest_first(kept, last_write)
        .into_iter()
        .find(is_whole)
}

/// What an operator has to know of stores that were set aside, in words.
pub(crate) fn notes(folder: &Path) -> Vec<String> {
    let aside = store::set_aside_before(folder).into_iter();
    aside
        .map(|path| {
            format!(
                "the store was damaged and is set aside as {}, a backup is in use: look what is missing, then move it away",
                path.display()
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use model::{SessionName, SessionSpec};
    use store::{Change, MasterKey, Space, Store};

    use super::*;

    fn key() -> MasterKey {
        MasterKey::from_octets([7; 32])
    }

    /// Damages a file of the database in its own way.
    type Damage = fn(&Path);

    const DAMAGES: [(&str, Damage); 4] = [
        ("cut off", |db| {
            let octets = fs::read(db).unwrap();
            fs::write(db, &octets[..octets.len() / 3]).unwrap();
        }),
        ("overwritten", |db| {
            let length = fs::read(db).unwrap().len();
            fs::write(db, vec![0xa5; length]).unwrap();
        }),
        ("empty", |db| fs::write(db, b"").unwrap()),
        ("gone", |db| fs::remove_file(db).unwrap()),
    ];

    /// A store with a session and its key, and a backup of it.
    fn store_with_backup(folder: &Path) -> (PathBuf, PathBuf) {
        let (path, kept) = (folder.join("store"), folder.join("backups"));
        fs::create_dir(&kept).unwrap();
        let store = SledStore::open(&path, &key()).unwrap();
        let name: SessionName = "main".parse().unwrap();
        let change = Change::PutSession(SessionSpec::new(name.clone()));
        store.commit(None, &[change]).unwrap();
        let space = Space::Telegram(&name);
        store.put_durable(space, b"dc/2", b"auth key").unwrap();
        let file = kept.join("nightly-20261128T030000Z.backup");
        store.back_up(&file, &key()).unwrap();
        (path, kept)
    }

    #[test]
    fn a_damaged_store_is_set_aside_and_the_newest_whole_backup_used() {
        for (how, damage) in DAMAGES {
            let folder = tempfile::tempdir().unwrap();
            let (path, kept) = store_with_backup(folder.path());
            // A newer one is of no use.
            fs::write(kept.join("nightly-20261129T030000Z.backup"), "half").unwrap();
            damage(&path.join("db"));
            let opened = open(&path, &kept, &key());
            let store = opened.unwrap_or_else(|error| panic!("{how}: {error}"));
            let (sessions, notes) = (store.sessions().unwrap(), notes(&path));
            assert_eq!(notes.len(), 1, "{how}: {notes:?}");
            assert!(notes[0].contains(".bad-"), "{how}: {notes:?}");
            assert!(sessions[0].enabled, "{how}: it ran here");
        }
    }

    #[test]
    fn without_a_backup_a_damaged_store_stays_where_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let (path, kept) = store_with_backup(folder.path());
        fs::remove_dir_all(&kept).unwrap();
        fs::write(path.join("db"), vec![0xa5; 1 << 20]).unwrap();
        assert!(open(&path, &kept, &key()).is_err_and(|error| error.is_damage()));
        assert!(path.join("db").exists() && notes(&path).is_empty());
    }

    #[test]
    fn a_disk_that_fails_again_and_again_is_not_filled() {
        let folder = tempfile::tempdir().unwrap();
        let (path, kept) = store_with_backup(folder.path());
        for time in 0..MOST {
            fs::create_dir(folder.path().join(format!("store.bad-{time}"))).unwrap();
        }
        fs::write(path.join("db"), b"").unwrap();
        assert!(open(&path, &kept, &key()).is_err());
        assert_eq!(notes(&path).len(), MOST);
    }

    #[test]
    fn another_key_is_no_damage() {
        let folder = tempfile::tempdir().unwrap();
        let (path, kept) = store_with_backup(folder.path());
        let other = MasterKey::from_octets([8; 32]);
        assert!(open(&path, &kept, &other).is_err_and(|error| !error.is_damage()));
        assert!(notes(&path).is_empty());
        open(&path, &kept, &key()).unwrap();
    }
}
