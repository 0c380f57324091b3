//! What the client library must find again: its `Session`, served from memory, written through a [`Storage`].

use std::collections::HashMap;
use std::net::{Ipv6Addr, SocketAddrV6};
use std::sync::Arc;

use grammers_session::types::{
    ChannelState, DcOption, PeerId, PeerInfo, UpdateState, UpdatesState,
};
use grammers_session::{BoxFuture, Session, SessionData};
use parking_lot::RwLock;

use super::harden::{Pending, Standing};
use super::{Storage, TestDc};

/// Peers kept in memory; the library asks for them again when one is missing.
const PEERS: usize = 50_000;

/// Under which keys the facts of the login itself are kept.
const LOGGED_IN: &str = "login";
const HARDENING: &str = "harden";

/// Why keys or state cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The store failed.
    #[error("the keys of the account cannot be kept: {0}")]
    Store(Box<dyn std::error::Error + Send + Sync>),
    /// Telegram gave another key in the place of the one that is logged in.
    #[error("Telegram no longer knows the key of the account")]
    OtherKey,
    /// A value does not read as what it should be.
    #[error("the value {key} of the account cannot be read: {source}")]
    Value {
        /// Its key.
        key: String,
        /// What the decoder said.
        source: serde_json::Error,
    },
}

#[derive(Default)]
struct State {
    home: i32,
    dcs: HashMap<i32, DcOption>,
    peers: HashMap<PeerId, PeerInfo>,
    updates: UpdatesState,
    standing: Standing,
}

/// The session of one account.
pub(super) struct Keys {
    state: RwLock<State>,
    storage: Arc<dyn Storage>,
    /// Whether a key that is held may not be replaced.
    is_guarded: bool,
}

pub(super) fn read<T: serde::de::DeserializeOwned>(
    key: &[u8],
    value: &[u8],
) -> Result<T, StorageError> {
    serde_json::from_slice(value).map_err(|source| StorageError::Value {
        key: String::from_utf8_lossy(key).into_owned(),
        source,
    })
}

pub(super) fn write<T: serde::Serialize>(key: &str, value: &T) -> Result<Vec<u8>, StorageError> {
    serde_json::to_vec(value).map_err(|source| StorageError::Value {
        key: key.to_owned(),
        source,
    })
}

fn dc_key(id: i32) -> String {
    format!("dc/{id}")
}

fn peer_key(id: PeerId) -> String {
    // The account itself has no bare id of its own.
    format!("peer/{}/{}", id.kind() as u8, id.bare_id().unwrap_or(0))
}

fn test_option(dc: TestDc, auth_key: Option<&[u8; 256]>) -> DcOption {
    let ipv6 = SocketAddrV6::new(Ipv6Addr::LOCALHOST, dc.address.port(), 0, 0);
    DcOption {
        id: dc.id,
        ipv4: dc.address,
        ipv6,
        auth_key: auth_key.copied(),
    }
}

pub(super) async fn provision(
    storage: &Arc<dyn Storage>,
    dc: TestDc,
    key: &[u8; 256],
) -> Result<(), StorageError> {
    let option = test_option(dc, Some(key));
    let name = dc_key(dc.id);
    storage
        .save(name.clone().into_bytes(), write(&name, &option)?, true)
        .await?;
    storage
        .save(b"home".to_vec(), write("home", &dc.id)?, true)
        .await
}

impl Keys {
    /// Returns the server that is tried first, if we hold a key for it.
    pub(super) fn keyed_server(&self) -> Option<std::net::SocketAddrV4> {
        let state = self.state.read();
        let home = state.dcs.get(&state.home)?;
        home.auth_key.map(|_| home.ipv4)
    }

    /// Loads everything; with a private server, no other address is known.
    pub(super) fn load(
        storage: Arc<dyn Storage>,
        test_dc: Option<TestDc>,
    ) -> Result<Self, StorageError> {
        let defaults = SessionData::default();
        let mut state = State {
            home: defaults.home_dc,
            dcs: defaults.dc_options,
            ..State::default()
        };
        if let Some(dc) = test_dc {
            state.dcs.clear();
            state.home = dc.id;
        }
        for (key, value) in storage.load()? {
            if key == b"home" {
                state.home = read(&key, &value)?;
            } else if key == b"upd" {
                state.updates = read(&key, &value)?;
            } else if key == LOGGED_IN.as_bytes() {
                state.standing.since = Some(read(&key, &value)?);
            } else if key == HARDENING.as_bytes() {
                let pending: Pending = read(&key, &value)?;
                state.standing.pending = (!pending.actions.is_empty()).then_some(pending);
            } else if key.starts_with(b"dc/") {
                let dc: DcOption = read(&key, &value)?;
                state.dcs.insert(dc.id, dc);
            } else if key.starts_with(b"peer/") {
                let peer: PeerInfo = read(&key, &value)?;
                state.peers.insert(peer.id(), peer);
            }
        }
        if let Some(dc) = test_dc {
            // Its port changes from run to run; the key stays.
            let key = state.dcs.get(&dc.id).and_then(|known| known.auth_key);
            state.dcs.insert(dc.id, test_option(dc, key.as_ref()));
        }
        Ok(Self {
            state: RwLock::new(state),
            storage,
            is_guarded: false,
        })
    }

    /// What is known of the login itself.
    pub(super) fn standing(&self) -> Standing {
        self.state.read().standing.clone()
    }

    /// Notes when the account was logged in, Unix time in seconds.
    pub(super) async fn note_login(&self, now: i64) -> Result<(), StorageError> {
        self.state.write().standing.since = Some(now);
        self.save(LOGGED_IN.to_owned(), write(LOGGED_IN, &now)?, true)
            .await
    }

    /// Notes what is to be hardened later; no actions: nothing.
    pub(super) async fn note_hardening(&self, pending: Pending) -> Result<(), StorageError> {
        let value = write(HARDENING, &pending)?;
        self.state.write().standing.pending = (!pending.actions.is_empty()).then_some(pending);
        self.save(HARDENING.to_owned(), value, true).await
    }

    /// The same for an account that is logged in: its key is not to be replaced by one of nobody. Whoever logs in may get another.
    pub(super) fn guarded(self) -> Self {
        let is_guarded = true;
        Self { is_guarded, ..self }
    }

    /// Whether there is a key that only a login may replace.
    pub(super) fn guards_key(&self) -> bool {
        self.is_guarded && self.keyed_server().is_some()
    }

    fn save(
        &self,
        key: String,
        value: Vec<u8>,
        durable: bool,
    ) -> super::BoxFuture<Result<(), StorageError>> {
        self.storage.save(key.into_bytes(), value, durable)
    }
}

impl Session for Keys {
    type Error = StorageError;

    fn home_dc_id(&self) -> Result<i32, StorageError> {
        Ok(self.state.read().home)
    }

    fn set_home_dc_id(&self, dc_id: i32) -> BoxFuture<'_, Result<(), StorageError>> {
        Box::pin(async move {
            self.state.write().home = dc_id;
            self.save("home".into(), write("home", &dc_id)?, true).await
        })
    }

    fn dc_option(&self, dc_id: i32) -> Result<Option<DcOption>, StorageError> {
        Ok(self.state.read().dcs.get(&dc_id).cloned())
    }

    fn set_dc_option(&self, dc_option: &DcOption) -> BoxFuture<'_, Result<(), StorageError>> {
        let dc = dc_option.clone();
        Box::pin(async move {
            // Called on every connection: only a change is written, and a key is on disk before it is used.
            {
                let state = self.state.read();
                let known = state.dcs.get(&dc.id);
                if known == Some(&dc) {
                    return Ok(());
                }
                // The key that somebody logged in with is not replaced by one of nobody: Telegram may know it again tomorrow.
                let held = known.and_then(|known| known.auth_key);
                if self.is_guarded && held.is_some() && dc.auth_key != held {
                    return Err(StorageError::OtherKey);
                }
            }
            let key = dc_key(dc.id);
            let value = write(&key, &dc)?;
            self.save(key, value, true).await?;
            self.state.write().dcs.insert(dc.id, dc);
            Ok(())
        })
    }

    fn peer(&self, peer: PeerId) -> BoxFuture<'_, Result<Option<PeerInfo>, StorageError>> {
        let found = self.state.read().peers.get(&peer).cloned();
        Box::pin(async move { Ok(found) })
    }

    fn cache_peer(&self, peer: PeerInfo) -> BoxFuture<'_, Result<(), StorageError>> {
        Box::pin(async move {
            let mut ids = vec![peer.id()];
            if matches!(
                peer,
                PeerInfo::User {
                    is_self: Some(true),
                    ..
                }
            ) {
                ids.push(PeerId::self_user());
            }
            for id in ids {
                let merged = {
                    let mut state = self.state.write();
                    let mut merged = peer.clone();
                    if let Some(known) = state.peers.get(&id) {
                        merged = known.clone();
                        merged.extend_info(&peer);
                        // Every update brings the same users again.
                        if merged == *known {
                            continue;
                        }
                    } else if state.peers.len() >= PEERS {
                        state.peers.clear();
                    }
                    state.peers.insert(id, merged.clone());
                    merged
                };
                let key = peer_key(id);
                let value = write(&key, &merged)?;
                self.save(key, value, false).await?;
            }
            Ok(())
        })
    }

    fn updates_state(&self) -> BoxFuture<'_, Result<UpdatesState, StorageError>> {
        let state = self.state.read().updates.clone();
        Box::pin(async move { Ok(state) })
    }

    fn set_update_state(&self, update: UpdateState) -> BoxFuture<'_, Result<(), StorageError>> {
        Box::pin(async move {
            let value = {
                let state = &mut self.state.write().updates;
                match update {
                    UpdateState::All(all) => *state = all,
                    UpdateState::Primary { pts, date, seq } => {
                        (state.pts, state.date, state.seq) = (pts, date, seq);
                    }
                    UpdateState::Secondary { qts } => state.qts = qts,
                    UpdateState::Channel { id, pts } => {
                        state.channels.retain(|channel| channel.id != id);
                        state.channels.push(ChannelState { id, pts });
                    }
                }
                write("upd", state)?
            };
            self.save("upd".into(), value, false).await
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddrV4};

    use super::super::testing::MemoryStorage;
    use super::*;

    #[tokio::test]
    async fn the_key_of_an_account_that_is_logged_in_is_replaced_by_a_login_alone() {
        let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1);
        let dc = TestDc { id: 2, address };
        let storage: Arc<dyn Storage> = MemoryStorage::new();
        provision(&storage, dc, &[7; 256]).await.unwrap();
        let load = || Keys::load(Arc::clone(&storage), Some(dc)).unwrap();
        let keys = load().guarded();
        let held = test_option(dc, Some(&[7; 256]));
        keys.set_dc_option(&held).await.unwrap();
        for key in [Some(&[8; 256]), None] {
            let refused = keys.set_dc_option(&test_option(dc, key)).await;
            assert!(matches!(refused, Err(StorageError::OtherKey)));
        }
        assert_eq!(keys.dc_option(2).unwrap(), Some(held));
        // Another data centre, or another address, is nothing of the kind.
        let other = TestDc { id: 4, address };
        let other = test_option(other, Some(&[9; 256]));
        keys.set_dc_option(&other).await.unwrap();
        let moved = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 3);
        let moved = TestDc {
            id: 2,
            address: moved,
        };
        let moved = test_option(moved, Some(&[7; 256]));
        keys.set_dc_option(&moved).await.unwrap();
        let login = load();
        let new = test_option(dc, Some(&[8; 256]));
        login.set_dc_option(&new).await.unwrap();
        assert_eq!(login.dc_option(2).unwrap(), Some(new));
    }
}
