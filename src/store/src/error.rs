//! Why the store refuses.

use std::io::ErrorKind;
use std::path::PathBuf;

use model::SessionName;

use crate::KeyError;
use crate::seal::{KeyId, NoRandom};

/// Why a store does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("the store {path} is in use by another process: stop the running switch first")]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// The folder cannot be made or written.
    #[error(
        "the folder {path} cannot be used ({source}): create it, or give another one with --data"
    )]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The files are there but cannot be read.
    #[error("the store {path} cannot be read ({source}): move it aside and restore a copy")]
    Unreadable {
        /// The folder.
        path: PathBuf,
        /// What sled said.
        source: sled::Error,
    },
    /// The files are damaged in a way that stops the database itself.
    #[error("the store {path} is damaged: move it aside and restore a copy")]
    Damaged {
        /// The folder.
        path: PathBuf,
    },
    /// There is no usable key.
    #[error("{0}")]
    Key(KeyError),
    /// There is a key, and it is another one.
    #[error(
        "the secrets of the store {path} are sealed with the key {wanted}, and this is the key {found}: give the right one with \
         data.key_file, nothing was changed. If that key is lost, so are the secrets: move the store aside, `strowger apply` an export, and \
         log the sessions in anew"
    )]
    WrongKey {
        /// The folder.
        path: PathBuf,
        /// The id of the key at hand.
        found: KeyId,
        /// The ids of the keys that open it, in words.
        wanted: String,
    },
    /// Its secrets are not sealed yet, and could not be.
    #[error("the secrets of the store {path} cannot be sealed ({source}); it is as it was")]
    Sealing {
        /// The folder.
        path: PathBuf,
        /// What went wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It could not be brought to the present schema.
    #[error(
        "the store {path} cannot be brought from schema {from} to {to} ({source}); nothing is lost, and the next start goes on where this \
         one ended"
    )]
    Migrating {
        /// The folder.
        path: PathBuf,
        /// The schema found.
        from: u8,
        /// The schema wanted.
        to: u8,
        /// What went wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It was written by a newer program.
    #[error(
        "the store {path} has schema {found}, this program knows {known}: use the newer program"
    )]
    Newer {
        /// The folder.
        path: PathBuf,
        /// The schema found.
        found: u8,
        /// The newest schema known.
        known: u8,
    },
}

impl OpenError {
    /// Whether the files are there and are not what was written: only a copy helps. A disk that is full or fails is something else.
    pub fn is_damage(&self) -> bool {
        match self {
            OpenError::Damaged { .. } => true,
            OpenError::Unreadable { source, .. } => is_damage(source),
            OpenError::Locked { .. }
            | OpenError::Folder { .. }
            | OpenError::Key(_)
            | OpenError::WrongKey { .. }
            | OpenError::Sealing { .. }
            | OpenError::Migrating { .. }
            | OpenError::Newer { .. } => false,
        }
    }
}

fn is_damage(error: &sled::Error) -> bool {
    match error {
        sled::Error::Corruption { .. } | sled::Error::ReportableBug(_) => true,
        // What was cut off ends too early.
        sled::Error::Io(io) => matches!(
            io.kind(),
            ErrorKind::UnexpectedEof | ErrorKind::InvalidData | ErrorKind::NotFound
        ),
        sled::Error::CollectionNotFound(_) | sled::Error::Unsupported(_) => false,
    }
}

impl StoreError {
    /// Whether the files are not what was written: only a copy helps. A record that does not read may be that of a newer program, which a
    /// copy would have as well.
    pub fn is_damage(&self) -> bool {
        match self {
            StoreError::Database(source) => is_damage(source),
            StoreError::Record { .. }
            | StoreError::Sealed { .. }
            | StoreError::Conflict { .. }
            | StoreError::Missing { .. }
            | StoreError::Version { .. }
            | StoreError::NotAdopted { .. }
            | StoreError::LastKey { .. }
            | StoreError::Random(_)
            | StoreError::Disk(_) => false,
        }
    }
}

/// Why an operation on an open store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The configuration was changed by somebody else meanwhile.
    #[error(
        "changed meanwhile: expected generation {expected}, found {found}; look again and repeat"
    )]
    Conflict {
        /// What the caller had seen.
        expected: u64,
        /// What there is.
        found: u64,
    },
    /// The thing to be removed, or paired, is not there.
    #[error("there is no {kind} `{name}`")]
    Missing {
        /// Trunk, session or route.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// A record does not read as what it should be.
    #[error("record `{key}` of tree `{tree}` cannot be read: {source}")]
    Record {
        /// The tree.
        tree: &'static str,
        /// The key, as far as it is text.
        key: String,
        /// What the decoder said.
        source: serde_json::Error,
    },
    /// A record was written by a newer program.
    #[error(
        "record `{key}` of tree `{tree}` has version {version}, which this program does not know"
    )]
    Version {
        /// The tree.
        tree: String,
        /// The key, as far as it is text.
        key: String,
        /// The version found.
        version: u8,
    },
    /// A sealed record was changed, or stood elsewhere.
    #[error(
        "record `{key}` of tree `{tree}` cannot be unsealed: it is damaged, or belongs to another record; enter it anew, or restore a copy"
    )]
    Sealed {
        /// The tree.
        tree: String,
        /// The key, as far as it is text.
        key: String,
    },
    /// It would run in two places.
    #[error(
        "session {session} came from a backup, and if its login is in use elsewhere, Telegram voids it for good: when the other switch is \
         gone, `strowger session adopt {session} --old-is-gone`; when it stays, `strowger session adopt {session} --new-login`, then log it in"
    )]
    NotAdopted {
        /// Its name.
        session: SessionName,
    },
    /// Without it nothing would open the store.
    #[error("the key {id} is the only one that opens the store: add another one first")]
    LastKey {
        /// Its id.
        id: KeyId,
    },
    /// Nothing can be sealed.
    #[error("{0}")]
    Random(#[from] NoRandom),
    /// The database failed.
    #[error("the database failed: {0}")]
    Database(#[from] sled::Error),
    /// The disk failed.
    #[error("the disk failed: {0}")]
    Disk(#[from] std::io::Error),
}
