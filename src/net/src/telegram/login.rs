//! A connection for logging in: plain requests under a deadline, and the move to the account's data centre.

use std::sync::Arc;

use grammers_session::Session;
use grammers_session::types::PeerInfo;
use telegram::{Reply, Rpc, RpcError, User};
use tokio::task::JoinHandle;

use super::link::{self, Wire};
use super::session::Keys;
use super::{Params, Storage, StorageError};

/// A connection without updates.
pub struct LoginConnection {
    params: Params,
    wire: Wire,
    runner: JoinHandle<()>,
}

/// Opens a connection to log in with; the keys it makes are kept in `storage`.
pub fn begin_login(
    params: Params,
    storage: Arc<dyn Storage>,
) -> Result<LoginConnection, StorageError> {
    let keys = Arc::new(Keys::load(storage, params.test_dc)?);
    let (pool, wire, _) = link::build(&keys, &params);
    let runner = tokio::spawn(pool.runner.run());
    Ok(LoginConnection {
        params,
        wire,
        runner,
    })
}

impl LoginConnection {
    /// Carries out one request.
    pub async fn invoke(&self, rpc: &Rpc) -> Result<Reply, RpcError> {
        tokio::time::timeout(self.params.deadline, self.wire.invoke(rpc))
            .await
            .map_err(|_| RpcError::TimedOut)?
    }

    /// Goes on at another data centre (`PHONE_MIGRATE_n`, `USER_MIGRATE_n`).
    pub async fn migrate(&self, dc: i32) -> Result<(), StorageError> {
        self.wire.migrate(dc).await
    }

    /// Keeps who logged in, and ends the connection.
    pub async fn finish(self, user: &User) -> Result<(), StorageError> {
        let me = PeerInfo::User {
            id: user.id,
            auth: None,
            bot: Some(user.is_bot),
            is_self: Some(true),
        };
        self.wire.keys().cache_peer(me).await
    }
}

impl Drop for LoginConnection {
    fn drop(&mut self) {
        self.wire.quit();
        self.runner.abort();
    }
}
