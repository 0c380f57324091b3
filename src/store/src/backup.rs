//! A copy of a whole store in one file, sealed like the secrets in it.
//!
//! The file: the line [`MAGIC`], the id of the master key (8 octets), a data key of its own wrapped by it, then frames: a length
//! (4 octets, big-endian) and so many octets of a sealed value, whose place is `backup` and the number of the frame (8 octets). A frame
//! holds whole entries: the lengths of tree, key and value (4 octets each), then the three. A frame without entries is the last, so that a
//! file that was cut off is noticed.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use sled::Db;

use crate::keys::{KeyError, KeySource};
use crate::seal::{KeyId, MasterKey, Seal, WRAPPED};
use crate::sled_store::{
    ADOPT, CALLS, DELIVERIES, OPEN_CALLS, SCHEMA, SCHEMA_KEY, SEALED_SINCE, SESSIONS, SledStore,
    TELEGRAM_TREE, TRUNKS, UNSEALED, VERSION, WEBHOOKS, is_sealed, make_folder, wrapped_key,
};

/// The first line.
const MAGIC: &[u8] = b"strowger backup 1\n";
/// Where the frames belong.
const PLACE: &str = "backup";
/// A frame with so many octets is closed.
const FULL: usize = 1 << 20;
/// No frame is longer: records are small.
const LONGEST: usize = 64 << 20;

/// Why a backup cannot be read back.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The file, or the folder it goes to.
    #[error("{0}")]
    File(#[from] io::Error),
    /// No backup, or not the whole of it.
    #[error("this is no whole backup of a store: take another copy")]
    Damaged,
    /// Another key than the one at hand.
    #[error(
        "this backup was sealed with the key {wanted}, and this is the key {found}: give the right one"
    )]
    WrongKey {
        /// The id of the key at hand.
        found: KeyId,
        /// The id of the key it takes.
        wanted: KeyId,
    },
    /// There is no usable key.
    #[error("{0}")]
    Key(KeyError),
    /// There is a store already.
    #[error("there is a store already, and it is not overwritten: move it aside first")]
    Present,
    /// There is a file of this name already.
    #[error("there is such a file already, and it is not overwritten: give another name")]
    Taken,
    /// It would fill the disk, and calls need some of it.
    #[error(
        "there is no room for a backup: {free} octets are free, and {needed} are wanted: make room, or put backups elsewhere with backup.dir"
    )]
    NoRoom {
        /// What there is, octets.
        free: u64,
        /// What it takes at most, with a reserve, octets.
        needed: u64,
    },
    /// The program that wrote it knew more.
    #[error(
        "this backup is of a store with schema {found}, this program knows {known}: use the newer program"
    )]
    Newer {
        /// The schema found.
        found: u8,
        /// The newest schema known.
        known: u8,
    },
    /// The database failed.
    #[error("the database failed: {0}")]
    Database(#[from] sled::Error),
}

/// Writes a backup.
pub(crate) struct Writer {
    file: BufWriter<File>,
    seal: Seal,
    frame: Vec<u8>,
    count: u64,
}

impl Writer {
    /// Begins a file that must not be there yet, readable by its owner alone.
    pub(crate) fn create(path: &Path, master: &MasterKey) -> io::Result<Self> {
        let seal = Seal::generate().map_err(io::Error::other)?;
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        let mut file = BufWriter::new(file);
        file.write_all(MAGIC)?;
        file.write_all(master.id().octets())?;
        file.write_all(&seal.wrap(master).map_err(io::Error::other)?)?;
        Ok(Self {
            file,
            seal,
            frame: Vec::new(),
            count: 0,
        })
    }

    /// Adds an entry.
    pub(crate) fn entry(&mut self, tree: &[u8], key: &[u8], value: &[u8]) -> io::Result<()> {
        for part in [tree, key, value] {
            let length = u32::try_from(part.len()).map_err(io::Error::other)?;
            self.frame.extend(length.to_be_bytes());
        }
        for part in [tree, key, value] {
            self.frame.extend(part);
        }
        if self.frame.len() >= FULL {
            self.close_frame()?;
        }
        Ok(())
    }

    /// Writes the end, and waits until the disk has it.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        if !self.frame.is_empty() {
            self.close_frame()?;
        }
        self.close_frame()?;
        self.file.into_inner()?.sync_all()
    }

    fn close_frame(&mut self) -> io::Result<()> {
        let plain = std::mem::take(&mut self.frame);
        let sealed = self
            .seal
            .seal(PLACE, &self.count.to_be_bytes(), plain)
            .map_err(io::Error::other)?;
        self.count += 1;
        let length = u32::try_from(sealed.len()).map_err(io::Error::other)?;
        self.file.write_all(&length.to_be_bytes())?;
        self.file.write_all(&sealed)
    }
}

/// What is in a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Contents {
    /// Octets of the file.
    pub octets: u64,
    /// Values of all kinds.
    pub entries: u64,
    /// Sessions.
    pub sessions: u64,
    /// Trunks.
    pub trunks: u64,
    /// Records of calls that had ended.
    pub calls: u64,
}

/// What becomes of the sessions of a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restored {
    /// This is the switch they ran on, and it has stopped: they go on.
    Here,
    /// Perhaps another one runs them: those with keys are switched off until an owner adopts them. A login that runs in two places is
    /// void for good (`AUTH_KEY_DUPLICATED`).
    Elsewhere,
}

/// What the name of a store that was set aside has more; the time in seconds since 1970 follows.
const ASIDE: &str = ".bad-";
/// Free space that a backup leaves, octets: call records go on being written.
const RESERVE: u64 = 64 << 20;

pub(crate) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    PathBuf::from(name)
}

/// Writes a file from `entries`, which is given the writer. Whoever looks meanwhile sees no file, or the whole of it.
pub(crate) fn write<E: From<io::Error>>(
    file: &Path,
    master: &MasterKey,
    entries: impl FnOnce(&mut Writer) -> Result<(), E>,
) -> Result<(), E> {
    let partial = beside(file, ".partial");
    let _ = fs::remove_file(&partial);
    let written = Writer::create(&partial, master)
        .map_err(E::from)
        .and_then(|mut writer| {
            entries(&mut writer)?;
            writer.finish()?;
            fs::rename(&partial, file)?;
            match file.parent().filter(|folder| folder.is_dir()) {
                Some(folder) => Ok(File::open(folder)?.sync_all()?),
                None => Ok(()),
            }
        });
    if written.is_err() {
        let _ = fs::remove_file(&partial);
    }
    written
}

impl SledStore {
    /// Writes a backup while everything goes on.
    pub(crate) fn write_backup(
        &self,
        file: &Path,
        keys: &dyn KeySource,
    ) -> Result<(), BackupError> {
        if file.exists() {
            return Err(BackupError::Taken);
        }
        let known = self.known_keys()?;
        let master = keys.key(&known).map_err(BackupError::Key)?;
        if let Some(wanted) = known.first().filter(|_| !known.contains(&master.id())) {
            return Err(BackupError::WrongKey {
                found: master.id(),
                wanted: *wanted,
            });
        }
        let db = self.db();
        if let Some(folder) = file.parent().filter(|folder| folder.is_dir()) {
            let needed = db.size_on_disk()? + RESERVE;
            let free = fs2::available_space(folder)?;
            if free < needed {
                return Err(BackupError::NoRoom { free, needed });
            }
        }
        let mut names = db.tree_names();
        // Where it is restored nobody shall hear again what he was told here.
        names.retain(|name| name != DELIVERIES.as_bytes());
        // What a commit changes together is copied together; a call that ends meanwhile is then found in both places, or in the
        // second, and never in neither.
        names.sort_by_key(|name| match std::str::from_utf8(name) {
            Ok(name) if name == OPEN_CALLS => 0,
            Ok(name) if name == CALLS => 1,
            Ok(_) | Err(_) => 2,
        });
        let together = |name: &[u8]| {
            let name = std::str::from_utf8(name).unwrap_or_default();
            [
                "meta", TRUNKS, SESSIONS, "routes", "transits", "quotas", "roles", "users",
                WEBHOOKS,
            ]
            .contains(&name)
        };
        write(file, &master, |writer| {
            let mut copy = |name: &[u8]| -> Result<(), BackupError> {
                for entry in &db.open_tree(name)? {
                    let (key, value) = entry?;
                    writer.entry(name, &key, &value)?;
                }
                Ok(())
            };
            {
                let _alone = self.alone();
                for name in names.iter().filter(|name| together(name)) {
                    copy(name)?;
                }
            }
            for name in names.iter().filter(|name| !together(name)) {
                copy(name)?;
            }
            Ok(())
        })
    }
}

/// Reads a backup to its end, and opens every secret in it: nothing is missing, nothing was changed, and the key at hand fits.
pub fn verify(file: &Path, keys: &dyn KeySource) -> Result<Contents, BackupError> {
    Ok(examine(file, keys)?.contents)
}

/// What a restoration needs to know before it writes.
struct Examined {
    contents: Contents,
    /// The sessions that are logged in.
    logged_in: BTreeSet<Vec<u8>>,
}

fn examine(file: &Path, keys: &dyn KeySource) -> Result<Examined, BackupError> {
    let mut contents = Contents {
        octets: fs::metadata(file)?.len(),
        ..Contents::default()
    };
    let mut logged_in = BTreeSet::new();
    let mut wrapped: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    let mut schema = 0;
    read(file, keys, &mut |tree, key, value| {
        contents.entries += 1;
        match std::str::from_utf8(tree).unwrap_or_default() {
            SESSIONS => contents.sessions += 1,
            TRUNKS => contents.trunks += 1,
            CALLS => contents.calls += 1,
            "meta" if key == SCHEMA_KEY.as_bytes() => {
                schema = value.first().copied().unwrap_or_default();
            }
            "meta" => wrapped.push((key.to_vec(), value.to_vec())),
            name => {
                if let Some(session) = name.strip_prefix(TELEGRAM_TREE)
                    && key.starts_with(b"dc/")
                {
                    logged_in.insert(session.as_bytes().to_vec());
                }
            }
        }
        Ok(())
    })?;
    match schema {
        UNSEALED => {}
        SEALED_SINCE..=SCHEMA => {
            let master = keys.key(&[]).map_err(BackupError::Key)?;
            let name = wrapped_key(master.id());
            let found = wrapped.iter().find(|(key, _)| *key == name);
            let seal = found.and_then(|(_, value)| Seal::unwrap(&master, value));
            let seal = seal.ok_or(BackupError::Damaged)?;
            let mut is_sound = true;
            read(file, keys, &mut |tree, key, value| {
                let name = std::str::from_utf8(tree).unwrap_or_default();
                is_sound &= !is_sealed(name) || seal.open(name, key, value).is_some();
                Ok(())
            })?;
            if !is_sound {
                return Err(BackupError::Damaged);
            }
        }
        newer if newer > SCHEMA => {
            return Err(BackupError::Newer {
                found: newer,
                known: SCHEMA,
            });
        }
        _ => return Err(BackupError::Damaged),
    }
    Ok(Examined {
        contents,
        logged_in,
    })
}

/// Moves a damaged store out of the way, and returns where it is now. Nobody may have it open.
pub fn set_aside(folder: &Path) -> io::Result<PathBuf> {
    // Threads of the database that was just closed may hold it for a moment; one that is damaged may have nothing to hold.
    let _lock = crate::sealing::released(folder);
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    let aside = beside(folder, &format!("{ASIDE}{}", now.as_secs()));
    fs::rename(folder, &aside)?;
    Ok(aside)
}

/// The stores that were set aside and are still there.
pub fn set_aside_before(folder: &Path) -> Vec<PathBuf> {
    let (Some(parent), Some(name)) = (folder.parent(), folder.file_name()) else {
        return Vec::new();
    };
    let beginning = format!("{}{ASIDE}", name.to_string_lossy());
    let Ok(entries) = fs::read_dir(parent) else {
        return Vec::new();
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let aside = names.filter(|name| name.starts_with(&beginning));
    let mut aside: Vec<PathBuf> = aside.map(|name| parent.join(name)).collect();
    aside.sort();
    aside
}

/// Makes a store of a backup, in `folder`, which must not be there or be empty, and returns the names of the sessions that were
/// switched off. It is the store as it was: one that was not sealed comes back so, for the program that wrote it. A crash leaves
/// no store, or the whole of it.
pub fn restore(
    file: &Path,
    folder: &Path,
    keys: &dyn KeySource,
    place: Restored,
) -> Result<Vec<String>, BackupError> {
    match fs::read_dir(folder).map(|mut entries| entries.next().is_some()) {
        Ok(true) => return Err(BackupError::Present),
        Ok(false) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    // All of it is looked at before anything is written.
    let Examined { logged_in, .. } = examine(file, keys)?;
    let off = match place {
        Restored::Here => BTreeSet::new(),
        Restored::Elsewhere => logged_in,
    };
    let new = beside(folder, ".restoring");
    if new.exists() {
        fs::remove_dir_all(&new)?;
    }
    let restored = grow(file, &new, keys, &off).and_then(|()| {
        let _lock = crate::sealing::released(&new).map_err(io::Error::other)?;
        fs::rename(&new, folder)?;
        match folder.parent().filter(|parent| parent.is_dir()) {
            Some(parent) => Ok(File::open(parent)?.sync_all()?),
            None => Ok(()),
        }
    });
    if restored.is_err() {
        let _ = fs::remove_dir_all(&new);
    }
    restored?;
    let name = |name: &Vec<u8>| String::from_utf8_lossy(name).into_owned();
    Ok(off.iter().map(name).collect())
}

fn grow(
    file: &Path,
    folder: &Path,
    keys: &dyn KeySource,
    off: &BTreeSet<Vec<u8>>,
) -> Result<(), BackupError> {
    make_folder(folder)?;
    let db: Db = crate::sled_store::config(folder).open()?;
    read(file, keys, &mut |tree, key, value| {
        if tree == SESSIONS.as_bytes() && off.contains(key) {
            db.open_tree(tree)?.insert(key, switched_off(value))?;
        } else {
            db.open_tree(tree)?.insert(key, value)?;
        }
        Ok(())
    })?;
    let meta = db.open_tree("meta")?;
    for session in off {
        meta.insert([ADOPT.as_bytes(), session].concat(), &[])?;
    }
    Ok(SledStore::sync_files(&db, folder)?)
}

/// The record of a session that does not connect; whatever else a record of another program has stays in it.
fn switched_off(record: &[u8]) -> Vec<u8> {
    let off = |json: &[u8]| {
        let mut record: serde_json::Value = serde_json::from_slice(json).ok()?;
        let fields = record.as_object_mut()?;
        fields.insert("enabled".to_owned(), false.into());
        serde_json::to_vec(&record).ok()
    };
    match record.split_first() {
        Some((&VERSION, json)) => off(json).map(|json| [&[VERSION], &json[..]].concat()),
        Some(_) | None => None,
    }
    .unwrap_or_else(|| record.to_vec())
}

/// What is done with each entry: its tree, key and value.
type Each<'a> = &'a mut dyn FnMut(&[u8], &[u8], &[u8]) -> Result<(), sled::Error>;

fn read(file: &Path, keys: &dyn KeySource, each: Each<'_>) -> Result<(), BackupError> {
    let mut file = BufReader::new(File::open(file)?);
    let head = take(&mut file, MAGIC.len() + 8 + WRAPPED)?;
    let rest = head.strip_prefix(MAGIC).ok_or(BackupError::Damaged)?;
    let (id, wrapped) = rest.split_at_checked(8).ok_or(BackupError::Damaged)?;
    let wanted = KeyId::from_octets(id).ok_or(BackupError::Damaged)?;
    let master = keys.key(&[wanted]).map_err(BackupError::Key)?;
    if master.id() != wanted {
        return Err(BackupError::WrongKey {
            found: master.id(),
            wanted,
        });
    }
    let seal = Seal::unwrap(&master, wrapped).ok_or(BackupError::Damaged)?;
    for count in 0u64.. {
        let length = take(&mut file, 4)?;
        let length = length.first_chunk().map_or(0, |at| u32::from_be_bytes(*at));
        let sealed = take(&mut file, length as usize)?;
        let frame = seal
            .open(PLACE, &count.to_be_bytes(), &sealed)
            .ok_or(BackupError::Damaged)?;
        if frame.is_empty() {
            break;
        }
        let mut rest = frame.as_slice();
        while !rest.is_empty() {
            let mut lengths = [0; 3];
            for length in &mut lengths {
                let octets = part(&mut rest, 4)?.first_chunk();
                *length = octets.map_or(0, |at| u32::from_be_bytes(*at)) as usize;
            }
            let [tree, key, value] = lengths;
            let tree = part(&mut rest, tree)?;
            let key = part(&mut rest, key)?;
            each(tree, key, part(&mut rest, value)?)?;
        }
    }
    Ok(())
}

fn take(file: &mut impl Read, length: usize) -> Result<Vec<u8>, BackupError> {
    if length > LONGEST {
        return Err(BackupError::Damaged);
    }
    let mut octets = vec![0; length];
    match file.read_exact(&mut octets) {
        Ok(()) => Ok(octets),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(BackupError::Damaged),
        Err(error) => Err(error.into()),
    }
}

fn part<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8], BackupError> {
    let (part, after) = rest.split_at_checked(length).ok_or(BackupError::Damaged)?;
    *rest = after;
    Ok(part)
}
