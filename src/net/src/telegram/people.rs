//! Whom an account has met: their access hashes, without which nobody can be called by user id.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use grammers_tl_types as tl;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use telegram::User;
use tokio::sync::mpsc;

use super::session::{read, write};
use super::{Storage, StorageError};

/// People remembered; strangers beyond it are told, but not kept.
const MAX_PEOPLE: usize = 20_000;
/// People waiting to be written down; beyond it they are met again some day.
const UNWRITTEN: usize = 1024;
const PREFIX: &str = "user/";

/// The people of one account.
pub(super) struct People {
    known: Mutex<HashMap<i64, User>>,
    unwritten: mpsc::Sender<User>,
}

/// One person as written.
#[derive(Serialize, Deserialize)]
struct Record {
    id: i64,
    access_hash: Option<i64>,
    is_bot: bool,
    is_deleted: bool,
    first_name: String,
    last_name: String,
    username: Option<String>,
    phone: Option<String>,
}

impl People {
    /// Loads the people met before; must be called inside a runtime, on which what is learnt is written down.
    pub(super) fn load(storage: Arc<dyn Storage>) -> Result<Self, StorageError> {
        let mut known = HashMap::new();
        for (key, value) in storage.load()? {
            if key.starts_with(PREFIX.as_bytes()) {
                let record: Record = read(&key, &value)?;
                known.insert(record.id, User::from(record));
            }
        }
        let (unwritten, to_write) = mpsc::channel(UNWRITTEN);
        tokio::spawn(write_down(storage, to_write));
        Ok(Self {
            known: Mutex::new(known),
            unwritten,
        })
    }

    /// Returns everybody.
    pub(super) fn all(&self) -> Vec<User> {
        self.known.lock().values().cloned().collect()
    }

    /// Returns one of them.
    pub(super) fn find(&self, user_id: i64) -> Option<User> {
        self.known.lock().get(&user_id).cloned()
    }

    /// Learns from what came along with updates; returns those about whom something is new.
    pub(super) fn learn_all(&self, users: &[tl::enums::User]) -> Vec<User> {
        let users = users.iter().filter_map(|user| match user {
            tl::enums::User::User(user) => Some(User::from(user)),
            tl::enums::User::Empty(_) => None,
        });
        users.filter_map(|user| self.learn(user)).collect()
    }

    /// Learns about one person; returns what is known now, if something is new.
    pub(super) fn learn(&self, user: User) -> Option<User> {
        if user.is_self {
            return None;
        }
        let mut known = self.known.lock();
        let full = known.len() >= MAX_PEOPLE;
        let learnt = match known.entry(user.id) {
            Entry::Vacant(_) if full => return Some(user),
            Entry::Vacant(vacant) => vacant.insert(user).clone(),
            Entry::Occupied(mut occupied) => {
                let merged = merge(occupied.get(), user);
                if merged == *occupied.get() {
                    return None;
                }
                occupied.insert(merged.clone());
                merged
            }
        };
        drop(known);
        let _ = self.unwritten.try_send(learnt.clone());
        Some(learnt)
    }
}

/// People seen in passing come without a hash, and with half of their names.
fn merge(known: &User, seen: User) -> User {
    if seen.access_hash.is_none() && known.access_hash.is_some() {
        return known.clone();
    }
    User {
        phone: seen.phone.or_else(|| known.phone.clone()),
        ..seen
    }
}

/// Writes beside the connection, which must not wait for a disk.
async fn write_down(storage: Arc<dyn Storage>, mut users: mpsc::Receiver<User>) {
    while let Some(user) = users.recv().await {
        let key = format!("{PREFIX}{}", user.id);
        let written = match write(&key, &Record::from(user)) {
            Ok(value) => storage.save(key.into_bytes(), value, false).await,
            Err(error) => Err(error),
        };
        if let Err(error) = written {
            tracing::error!(%error, "somebody met is not remembered");
        }
    }
}

impl From<User> for Record {
    fn from(user: User) -> Self {
        Self {
            id: user.id,
            access_hash: user.access_hash,
            is_bot: user.is_bot,
            is_deleted: user.is_deleted,
            first_name: user.first_name,
            last_name: user.last_name,
            username: user.username,
            phone: user.phone,
        }
    }
}

impl From<Record> for User {
    fn from(record: Record) -> Self {
        Self {
            id: record.id,
            access_hash: record.access_hash,
            is_self: false,
            is_bot: record.is_bot,
            is_deleted: record.is_deleted,
            first_name: record.first_name,
            last_name: record.last_name,
            username: record.username,
            phone: record.phone,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::MemoryStorage;
    use super::*;

    fn user(id: i64, access_hash: Option<i64>) -> User {
        User {
            id,
            access_hash,
            is_self: false,
            is_bot: false,
            is_deleted: false,
            first_name: "Ann".into(),
            last_name: String::new(),
            username: Some("ann".into()),
            phone: None,
        }
    }

    #[tokio::test]
    async fn somebody_met_is_known_after_a_restart() {
        let storage = MemoryStorage::new();
        let people = People::load(Arc::<MemoryStorage>::clone(&storage)).unwrap();
        assert!(people.learn(user(7, Some(1))).is_some());
        storage.written(1).await;
        let again = People::load(storage).unwrap();
        assert_eq!(again.all(), [user(7, Some(1))]);
        assert_eq!(again.find(7), Some(user(7, Some(1))));
        assert_eq!(again.find(8), None);
    }

    #[tokio::test]
    async fn a_glimpse_does_not_wipe_out_a_hash_and_the_known_is_told_once() {
        let people = People::load(MemoryStorage::new()).unwrap();
        assert!(people.learn(user(7, Some(1))).is_some());
        assert!(people.learn(user(7, Some(1))).is_none());
        assert!(people.learn(user(7, None)).is_none());
        assert_eq!(people.learn(user(7, Some(2))).unwrap().access_hash, Some(2));
    }
}
