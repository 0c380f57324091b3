//! What stands where in the database, and how: names of trees, keys, the version byte of each record.

use std::time::Duration;

use model::{CallId, CallRecord, OpenCall, SessionName, TrunkName};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use sled::{IVec, Tree};

use crate::{Calls, StoreError, Unreadable};

/// The version byte of a record.
pub(crate) const VERSION: u8 = 1;
/// The layout of the trees. 1: nothing is sealed; 2: trunks and Telegram's spaces are.
pub(crate) const SCHEMA: u8 = 2;
pub(crate) const UNSEALED: u8 = 1;
pub(crate) const SEALED_SINCE: u8 = 2;
/// Keys of `meta`: the layout, and each wrapped data key with the id of its master key.
pub(crate) const SCHEMA_KEY: &str = "schema";
pub(super) const WRAPPED_KEY: &[u8] = b"key/";
/// The tree of the trunks; passwords are in it.
pub(crate) const TRUNKS: &str = "trunks";
pub(crate) const SESSIONS: &str = "sessions";
/// The tree of the webhooks; their secrets are in it.
pub(crate) const WEBHOOKS: &str = "webhooks";
/// The tree of what is still to be posted to them.
pub(crate) const DELIVERIES: &str = "deliveries";
/// Calls that have ended, and calls that go on.
pub(crate) const CALLS: &str = "cdr";
pub(crate) const OPEN_CALLS: &str = "open";
/// The order in which calls have ended, and how far each of those has come who read it.
pub(super) const ENDED: &str = "ended";
pub(super) const READERS: &str = "readers";
/// How the key of `meta` begins that says of a session that it came from a backup; the name follows.
pub(crate) const ADOPT: &str = "adopt/";
/// sled's default cache is 1 GiB. Configuration is read once and call records are written and seldom read: little is enough.
pub(super) const CACHE_BYTES: u64 = 4 << 20;
/// How old a soft write can be when the process is killed.
pub(super) const FLUSH_EVERY_MS: u64 = 250;
/// How many call records are counted while somebody waits.
pub(super) const COUNTED_AT_ONCE: usize = 5_000;
/// How many at once then, while nobody can write one.
pub(super) const COUNTED_STEP: usize = 256;
/// The file that says how new the database must be.
pub(super) const MARK: &str = "generation";
/// How long a lock is waited for, and how often it is tried.
pub(crate) const LOCK_PATIENCE: Duration = Duration::from_secs(1);
pub(crate) const LOCK_RETRY: Duration = Duration::from_millis(10);
/// What a commit left to be cleared away, so that a crash in between cannot forget it: a key of `meta`, then the name.
pub(super) const CLEAR_BINDINGS: &str = "clear/bindings/";
pub(super) const CLEAR_TELEGRAM: &str = "clear/telegram/";

/// Whether the values of this tree are sealed.
pub(crate) fn is_sealed(tree: &str) -> bool {
    tree == TRUNKS || tree == WEBHOOKS || tree.starts_with(TELEGRAM_TREE)
}

/// How the names of the trees of sessions begin.
pub(crate) const TELEGRAM_TREE: &str = "tg/";

pub(super) fn telegram_tree(session: &str) -> String {
    format!("{TELEGRAM_TREE}{session}")
}

/// Names hold no `/`, so the key is unambiguous.
pub(super) fn route_key(trunk: &TrunkName, session: &SessionName) -> String {
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
    let is_of_calls = matches!(tree, CALLS | OPEN_CALLS);
    let key = || {
        if is_of_calls {
            id_of(key).to_string()
        } else {
            String::from_utf8_lossy(key).into_owned()
        }
    };
    match bytes.split_first() {
        Some((&VERSION, json)) => {
            serde_json::from_slice(json).map_err(|source| StoreError::Record {
                tree,
                key: key(),
                source: if is_of_calls {
                    without_values(&source)
                } else {
                    source
                },
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

pub(super) fn all<T: DeserializeOwned>(
    name: &'static str,
    tree: &Tree,
) -> Result<Vec<T>, StoreError> {
    let mut records = Vec::new();
    for entry in tree {
        let (key, value) = entry?;
        records.push(decode(name, &key, &value)?);
    }
    Ok(records)
}

/// What the decoder said of the record of a call, but for what it quotes: that may be the number of somebody, and is logged.
fn without_values(error: &serde_json::Error) -> serde_json::Error {
    let what = match error.classify() {
        Category::Eof => "it ends too early",
        Category::Syntax => "it is no JSON",
        Category::Data | Category::Io => "a member of it is missing, or not what it should be",
    };
    serde::de::Error::custom(format_args!("{what}, column {}", error.column()))
}

/// What stands under the id of a call.
pub(super) trait OfCall: DeserializeOwned {
    /// The tree it stands in.
    const TREE: &'static str;
    /// The id in it.
    fn id(&self) -> CallId;
}

impl OfCall for CallRecord {
    const TREE: &'static str = CALLS;

    fn id(&self) -> CallId {
        self.id
    }
}

impl OfCall for OpenCall {
    const TREE: &'static str = OPEN_CALLS;

    fn id(&self) -> CallId {
        self.record.id
    }
}

/// The id that a key of [`CALLS`] or [`OPEN_CALLS`] is; of one that is none, the next one to it.
fn id_of(key: &[u8]) -> CallId {
    let mut octets = [0; 16];
    for (octet, of_key) in octets.iter_mut().zip(key) {
        *octet = *of_key;
    }
    CallId::from_bytes(octets)
}

/// Reads what stands under the id of a call. What says that it is of another call is not believed: whoever reads page by page goes on from
/// the id that he was given last.
pub(super) fn of_call<T: OfCall>(key: &[u8], value: &[u8]) -> Result<T, Unreadable> {
    let id = id_of(key);
    let fault = |error: StoreError| Unreadable {
        id,
        fault: error.to_string(),
    };
    let record: T = decode(T::TREE, key, value).map_err(fault)?;
    if record.id() == id {
        return Ok(record);
    }
    Err(fault(StoreError::Record {
        tree: T::TREE,
        key: id.to_string(),
        source: serde::de::Error::custom("it is of another call"),
    }))
}

/// Reads these, each for itself.
pub(super) fn of_calls<T: OfCall>(
    entries: impl Iterator<Item = sled::Result<(IVec, IVec)>>,
) -> Result<Calls<T>, StoreError> {
    let mut calls = Calls::default();
    for entry in entries {
        let (key, value) = entry?;
        match of_call(&key, &value) {
            Ok(record) => calls.records.push(record),
            Err(unreadable) => calls.unreadable.push(unreadable),
        }
        calls.last = Some(id_of(&key));
    }
    Ok(calls)
}
