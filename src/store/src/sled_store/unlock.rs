//! The seal of a store: made anew, or opened by a master key.

use std::path::Path;

use sled::{Batch, Tree};

use super::layout::{SCHEMA_KEY, WRAPPED_KEY};
use super::opening::open_error;
use crate::seal::{KeyId, MasterKey, NoRandom, Seal};
use crate::{KeySource, OpenError};

/// Why a store cannot be begun.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FoundError {
    #[error("{0}")]
    Database(#[from] sled::Error),
    #[error("{0}")]
    Random(#[from] NoRandom),
}

/// Begins a store: writes its layout and a new data key, wrapped for `master`, at once.
pub(crate) fn found(meta: &Tree, master: &MasterKey, schema: u8) -> Result<Seal, FoundError> {
    let seal = Seal::generate()?;
    let mut batch = Batch::default();
    batch.insert(SCHEMA_KEY, &[schema]);
    batch.insert(wrapped_key(master.id()), seal.wrap(master)?);
    meta.apply_batch(batch)?;
    Ok(seal)
}

pub(crate) fn wrapped_key(id: KeyId) -> Vec<u8> {
    [WRAPPED_KEY, id.octets()].concat()
}

/// Unwraps the data key with the master key that `keys` has; returns both.
pub(crate) fn unlock(
    meta: &Tree,
    path: &Path,
    keys: &dyn KeySource,
) -> Result<(MasterKey, Seal), OpenError> {
    let wanted = master_keys(meta).map_err(|source| open_error(path, source))?;
    let damaged = || OpenError::Damaged {
        path: path.to_owned(),
    };
    if wanted.is_empty() {
        return Err(damaged());
    }
    let master = keys.key(&wanted).map_err(OpenError::Key)?;
    let wrapped = meta
        .get(wrapped_key(master.id()))
        .map_err(|source| open_error(path, source))?;
    match wrapped {
        Some(wrapped) => match Seal::unwrap(&master, &wrapped) {
            Some(seal) => Ok((master, seal)),
            None => Err(damaged()),
        },
        None => Err(OpenError::WrongKey {
            path: path.to_owned(),
            found: master.id(),
            wanted: names(&wanted),
        }),
    }
}

/// The ids of the master keys that open the store.
pub(super) fn master_keys(meta: &Tree) -> Result<Vec<KeyId>, sled::Error> {
    let mut ids = Vec::new();
    for entry in meta.scan_prefix(WRAPPED_KEY) {
        let (key, _) = entry?;
        ids.extend(key.strip_prefix(WRAPPED_KEY).and_then(KeyId::from_octets));
    }
    Ok(ids)
}

/// Ids as an operator reads them.
pub(crate) fn names(ids: &[KeyId]) -> String {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    ids.join(" or ")
}
