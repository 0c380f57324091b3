//! The bans that hold, as one record: they change together, and a switch that starts needs all of them.

use model::BanRecord;

use crate::sled_store::{decode, encode};
use crate::{Space, Store, StoreError};

const TREE: &str = "bans";
const KEY: &str = "all";

/// Returns the bans as they were written last, also those that have run out since.
pub fn read_bans(store: &dyn Store) -> Result<Vec<BanRecord>, StoreError> {
    match store.get(Space::Bans, KEY.as_bytes())? {
        Some(bytes) => decode(TREE, KEY.as_bytes(), &bytes),
        None => Ok(Vec::new()),
    }
}

/// Writes the bans durably over those that were there.
pub fn write_bans(store: &dyn Store, bans: &[BanRecord]) -> Result<(), StoreError> {
    store.put_durable(Space::Bans, KEY.as_bytes(), &encode(TREE, KEY, &bans)?)
}
