//! Where the master key of a store comes from: its operator decides, not this room.

use std::error::Error;

use crate::seal::{KeyId, MasterKey};

/// Why there is no key, in words for the operator.
pub type KeyError = Box<dyn Error + Send + Sync>;

/// Where the master key comes from. It is asked while the store is locked, so that two processes never make a key at the same time.
pub trait KeySource {
    /// Returns the key. `wanted` are the ids of the keys that would open this store; none when it has no secrets yet, and then a key
    /// may be made.
    fn key(&self, wanted: &[KeyId]) -> Result<MasterKey, KeyError>;
}

impl KeySource for MasterKey {
    fn key(&self, _: &[KeyId]) -> Result<MasterKey, KeyError> {
        Ok(self.clone())
    }
}
