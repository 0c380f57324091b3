//! What the tests of this folder share.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::{BoxFuture, Entry, Storage, StorageError};

/// Keeps everything for as long as it lives.
#[derive(Default)]
pub(super) struct MemoryStorage(Mutex<BTreeMap<Vec<u8>, Vec<u8>>>);

impl MemoryStorage {
    pub(super) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Waits until so many values are there.
    pub(super) async fn written(&self, count: usize) {
        let wait = async {
            while self.0.lock().len() < count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(5), wait)
            .await
            .expect("written in time");
    }
}

impl Storage for MemoryStorage {
    fn load(&self) -> Result<Vec<Entry>, StorageError> {
        let values = self.0.lock();
        Ok(values
            .iter()
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect())
    }

    fn save(&self, key: Vec<u8>, value: Vec<u8>, _: bool) -> BoxFuture<Result<(), StorageError>> {
        self.0.lock().insert(key, value);
        Box::pin(std::future::ready(Ok(())))
    }
}
