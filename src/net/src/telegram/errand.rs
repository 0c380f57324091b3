//! A connection for one errand of the operator: logging in, out, or changing the account. It is not kept up.

use std::sync::Arc;
use std::time::Duration;

use grammers_session::updates::UpdatesLike;
use telegram::{Reply, Rpc, RpcError};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::link::{self, Wire};
use super::session::Keys;
use super::{Params, Storage, StorageError};

/// The connection; it ends with this value.
pub(super) struct Errand {
    wire: Wire,
    runner: JoinHandle<()>,
    deadline: Duration,
}

impl Errand {
    /// Prepares the connection with the keys in `storage`; nothing is sent before the first request. Gives what the
    /// account receives meanwhile.
    pub(super) fn begin(
        params: &Params,
        storage: Arc<dyn Storage>,
    ) -> Result<(Self, mpsc::Receiver<UpdatesLike>), StorageError> {
        let keys = Arc::new(Keys::load(storage, params.test_dc)?);
        let (pool, wire, _) = link::build(&keys, params);
        let errand = Self {
            wire,
            runner: tokio::spawn(pool.runner.run()),
            deadline: params.deadline,
        };
        Ok((errand, pool.updates))
    }

    /// Carries out one request within the deadline; no second try.
    pub(super) async fn invoke(&self, rpc: &Rpc) -> Result<Reply, RpcError> {
        tokio::time::timeout(self.deadline, self.wire.invoke(rpc))
            .await
            .map_err(|_| RpcError::TimedOut)?
    }

    /// Whether there is a key to speak with; without one the first request makes a new device of nobody.
    pub(super) fn has_key(&self) -> bool {
        self.wire.keys().keyed_server().is_some()
    }

    pub(super) fn wire(&self) -> &Wire {
        &self.wire
    }
}

impl Drop for Errand {
    fn drop(&mut self) {
        self.wire.quit();
        self.runner.abort();
    }
}
