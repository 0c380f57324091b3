//! A copy of a whole store in one file, sealed like the secrets in it.
//!
//! The file: the line [`MAGIC`], the id of the master key (8 octets), a data key of its own wrapped by it, then frames: a length
//! (4 octets, big-endian) and so many octets of a sealed value, whose place is `backup` and the number of the frame (8 octets). A frame
//! holds whole entries: the lengths of tree, key and value (4 octets each), then the three. A frame without entries is the last, so that a
//! file that was cut off is noticed.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::keys::{KeyError, KeySource};
use crate::seal::{KeyId, MasterKey, Seal, WRAPPED};

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

/// Makes a store of a backup, in `folder`, which must not be there or be empty. It is the store as it was: one that was not sealed
/// comes back so, for the program that wrote it.
pub fn restore(file: &Path, folder: &Path, keys: &dyn KeySource) -> Result<(), BackupError> {
    match std::fs::read_dir(folder).map(|mut entries| entries.next().is_some()) {
        Ok(true) => return Err(BackupError::Present),
        Ok(false) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    // All of it is looked at before anything is written.
    read(file, keys, &mut |_, _, _| Ok(()))?;
    crate::sled_store::make_folder(folder)?;
    let db = sled::Config::new().path(folder).open()?;
    read(file, keys, &mut |tree, key, value| {
        db.open_tree(tree)?.insert(key, value)?;
        Ok(())
    })?;
    db.flush()?;
    File::open(folder.join("db"))?.sync_all()?;
    Ok(())
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
