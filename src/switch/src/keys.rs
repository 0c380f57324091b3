//! The keys of one Telegram account, kept in the store.

use std::sync::Arc;

use model::SessionName;
use net::telegram::{BoxFuture, Entry, Storage, StorageError};
use store::{Space, Store};

/// A [`Storage`] in the key space of one session.
pub(crate) struct Keys {
    store: Arc<dyn Store>,
    session: SessionName,
}

impl Keys {
    pub(crate) fn new(store: Arc<dyn Store>, session: SessionName) -> Self {
        Self { store, session }
    }
}

fn failed(error: store::StoreError) -> StorageError {
    StorageError::Store(Box::new(error))
}

impl Storage for Keys {
    fn load(&self) -> Result<Vec<Entry>, StorageError> {
        self.store
            .scan(Space::Telegram(&self.session), b"")
            .map_err(failed)
    }

    fn save(
        &self,
        key: Vec<u8>,
        value: Vec<u8>,
        durable: bool,
    ) -> BoxFuture<Result<(), StorageError>> {
        let (store, session) = (Arc::clone(&self.store), self.session.clone());
        Box::pin(async move {
            if !durable {
                return store
                    .put_soft(Space::Telegram(&session), &key, &value)
                    .map_err(failed);
            }
            // A durable write waits for the disk, and the connection's task must not.
            let write = move || store.put_durable(Space::Telegram(&session), &key, &value);
            match tokio::task::spawn_blocking(write).await {
                Ok(written) => written.map_err(failed),
                Err(error) => Err(StorageError::Store(Box::new(error))),
            }
        })
    }
}
