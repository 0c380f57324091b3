//! Whom a session has looked up: so that Telegram, which counts look-ups, is not asked twice.
//!
//! Times are milliseconds since 1970. An access hash is good for the account that was given it alone, so that each session has its own.

use std::collections::HashMap;
use std::time::Duration;

use model::{Peer, Reason};
use serde::{Deserialize, Serialize};

/// How long somebody who was found is believed to be found there (product 6).
pub const FOUND_FOR: Duration = Duration::from_secs(30 * 86_400);
/// How long nobody is looked for where nobody was.
pub const NOBODY_FOR: Duration = Duration::from_secs(600);
/// How many are remembered; beyond it the oldest are forgotten.
const MOST: usize = 10_000;

/// What a look-up gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Found {
    /// This user.
    User {
        /// The user id.
        id: i64,
        /// Without which this session cannot address him.
        access_hash: i64,
    },
    /// Nobody who could be called, and why.
    Nobody(Reason),
}

impl Found {
    /// What a refusal to look somebody up says about the person; nothing where it says only that there was no answer.
    pub fn nobody(reason: Reason) -> Option<Self> {
        let is_final = matches!(
            reason,
            Reason::NotFound
                | Reason::ChatNotFound
                | Reason::UsernameNotOccupied
                | Reason::NotAUser
        );
        is_final.then_some(Found::Nobody(reason))
    }

    fn kept_for(self) -> Duration {
        match self {
            Found::User { .. } => FOUND_FOR,
            Found::Nobody(_) => NOBODY_FOR,
        }
    }
}

/// One look-up, as it is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LookUp {
    /// When.
    pub at: u64,
    /// What it gave.
    pub found: Found,
}

impl LookUp {
    /// One that is in the future, because the clock was set back, is as old as can be.
    fn holds(self, now: u64) -> bool {
        let age = now.checked_sub(self.at).map(Duration::from_millis);
        age.is_some_and(|age| age < self.found.kept_for())
    }
}

/// The look-ups of one session.
#[derive(Clone, Debug, Default)]
pub struct Peers {
    known: HashMap<Peer, LookUp>,
}

impl Peers {
    /// What was found before and still holds.
    pub fn find(&self, now: u64, peer: &Peer) -> Option<Found> {
        let known = self.known.get(&key(peer))?;
        known.holds(now).then_some(known.found)
    }

    /// Takes back what was written down; false when it holds no more.
    pub fn restore(&mut self, now: u64, peer: &Peer, look_up: LookUp) -> bool {
        let holds = look_up.holds(now) && self.known.len() < MOST;
        if holds {
            self.known.insert(key(peer), look_up);
        }
        holds
    }

    /// Remembers a look-up; returns whom to forget in its place.
    pub fn learn(&mut self, now: u64, peer: &Peer, found: Found) -> Vec<Peer> {
        self.known.insert(key(peer), LookUp { at: now, found });
        if self.known.len() <= MOST {
            return Vec::new();
        }
        let gone = |known: &HashMap<Peer, LookUp>, is_gone: &dyn Fn(&LookUp) -> bool| {
            let gone = known.iter().filter(|(_, look_up)| is_gone(look_up));
            gone.map(|(peer, _)| peer.clone()).collect::<Vec<_>>()
        };
        let mut forgotten = gone(&self.known, &|look_up| !look_up.holds(now));
        if forgotten.is_empty() {
            // A tenth at once, so that a full memory is not sorted for each new one.
            let mut ages: Vec<u64> = self.known.values().map(|look_up| look_up.at).collect();
            ages.sort_unstable();
            let limit = ages.get(MOST / 10).copied().unwrap_or(now);
            forgotten = gone(&self.known, &|look_up| look_up.at < limit);
        }
        for peer in &forgotten {
            self.known.remove(peer);
        }
        forgotten
    }

    /// Forgets how a user was found, because Telegram does not know him as he was found; returns what was forgotten.
    pub fn forget(&mut self, user_id: i64) -> Vec<Peer> {
        let is_him = |look_up: &LookUp| match look_up.found {
            Found::User { id, .. } => id == user_id,
            Found::Nobody(_) => false,
        };
        let gone = self.known.extract_if(|_, look_up| is_him(look_up));
        gone.map(|(peer, _)| peer).collect()
    }
}

/// Usernames are the same in capitals.
fn key(peer: &Peer) -> Peer {
    match peer {
        Peer::Username(name) => Peer::Username(name.to_ascii_lowercase()),
        Peer::Phone(_) | Peer::UserId(_) => peer.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000_000;
    const DAY: u64 = 86_400_000;

    fn user(id: i64) -> Found {
        let access_hash = -id;
        Found::User { id, access_hash }
    }

    fn ann() -> Peer {
        Peer::Username("ann".into())
    }

    #[test]
    fn somebody_is_known_for_thirty_days_and_nobody_for_ten_minutes() {
        let mut peers = Peers::default();
        assert_eq!(peers.find(NOW, &ann()), None);
        assert!(peers.learn(NOW, &ann(), user(7)).is_empty());
        assert_eq!(peers.find(NOW + 30 * DAY - 1, &ann()), Some(user(7)));
        assert_eq!(peers.find(NOW + 30 * DAY, &ann()), None);
        let shouted = Peer::Username("ANN".into());
        assert_eq!(peers.find(NOW, &shouted), Some(user(7)));
        let nobody = Found::nobody(Reason::UsernameNotOccupied).unwrap();
        peers.learn(NOW, &ann(), nobody);
        assert_eq!(peers.find(NOW + 599_999, &ann()), Some(nobody));
        assert_eq!(peers.find(NOW + 600_000, &ann()), None);
        // A clock that was set back believes nothing.
        assert_eq!(peers.find(NOW - 1, &ann()), None);
    }

    #[test]
    fn no_answer_is_no_nobody() {
        for reason in [
            Reason::TooManyRequests,
            Reason::RpcTimeout,
            Reason::SessionNotRunning,
            Reason::TelegramError,
        ] {
            assert_eq!(Found::nobody(reason), None);
        }
    }

    #[test]
    fn what_is_written_is_taken_back_while_it_holds() {
        let mut peers = Peers::default();
        let found = user(7);
        let text = serde_json::to_string(&LookUp { at: NOW, found }).unwrap();
        let read: LookUp = serde_json::from_str(&text).unwrap();
        assert!(!peers.restore(NOW + 31 * DAY, &ann(), read));
        assert_eq!(peers.find(NOW, &ann()), None);
        assert!(peers.restore(NOW + DAY, &ann(), read));
        assert_eq!(peers.find(NOW + DAY, &ann()), Some(found));
    }

    #[test]
    fn a_user_who_is_not_what_he_was_is_forgotten_under_all_his_names() {
        let mut peers = Peers::default();
        let number = Peer::UserId(7);
        peers.learn(NOW, &ann(), user(7));
        peers.learn(NOW, &number, user(7));
        peers.learn(NOW, &Peer::UserId(8), user(8));
        let mut gone = peers.forget(7);
        gone.sort_by_key(ToString::to_string);
        assert_eq!(gone.len(), 2);
        assert_eq!(peers.find(NOW, &ann()), None);
        assert_eq!(peers.find(NOW, &Peer::UserId(8)), Some(user(8)));
    }

    #[test]
    fn the_memory_is_bounded_and_forgets_the_oldest_first() {
        let mut peers = Peers::default();
        let mut forgotten = Vec::new();
        for id in 0..=i64::try_from(MOST).unwrap() {
            let now = NOW + u64::try_from(id).unwrap();
            forgotten.extend(peers.learn(now, &Peer::UserId(id), user(id)));
        }
        assert_eq!(forgotten.len(), MOST / 10);
        assert!(forgotten.contains(&Peer::UserId(0)));
        assert_eq!(peers.known.len(), MOST + 1 - MOST / 10);
    }
}
