//! Lines: how many calls a trunk, a session and a user hold at a time.

use std::collections::HashMap;
use std::hash::Hash;

use model::{CallId, SessionName, TrunkName, UserName};

/// Whose lines are all taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// The trunk's.
    Trunk,
    /// The session's.
    Session,
    /// The user's.
    User,
}

/// What one call holds.
#[derive(Debug, Default, Clone)]
struct Held {
    trunks: Vec<TrunkName>,
    session: Option<SessionName>,
    user: Option<UserName>,
}

/// The lines in use: of each call one of its session and one of its user, if it has them, and one of each trunk it is on or rings at. Returned
/// by the call's id, any number of times.
#[derive(Debug, Default, Clone)]
pub struct Lines {
    calls: HashMap<CallId, Held>,
    users: HashMap<UserName, u32>,
    trunks: HashMap<TrunkName, u32>,
    sessions: HashMap<SessionName, u32>,
}

impl Lines {
    /// Takes a line of the session for a new call; a limit of 0 is none. A call between trunks has no session.
    pub fn open(
        &mut self,
        call: CallId,
        session: Option<&SessionName>,
        limit: u32,
    ) -> Result<(), Full> {
        self.release(call);
        if let Some(session) = session {
            if limit != 0 && self.session_in_use(session) >= limit {
                return Err(Full::Session);
            }
            *self.sessions.entry(session.clone()).or_default() += 1;
        }
        let held = Held {
            session: session.cloned(),
            ..Held::default()
        };
        self.calls.insert(call, held);
        Ok(())
    }

    /// Takes a line of a trunk for a call that is open; one that it has already is not taken twice.
    pub fn take(&mut self, call: CallId, trunk: &TrunkName, limit: u32) -> Result<(), Full> {
        let used = self.trunk_in_use(trunk);
        let Some(Held { trunks: held, .. }) = self.calls.get_mut(&call) else {
            return Err(Full::Session);
        };
        if held.contains(trunk) {
            return Ok(());
        }
        if limit != 0 && used >= limit {
            return Err(Full::Trunk);
        }
        held.push(trunk.clone());
        *self.trunks.entry(trunk.clone()).or_default() += 1;
        Ok(())
    }

    /// Takes a line of a user for a call that is open; one that it has already is not taken twice, and that of another is returned.
    pub fn take_user(&mut self, call: CallId, user: &UserName, limit: u32) -> Result<(), Full> {
        let used = self.user_in_use(user);
        let Some(held) = self.calls.get_mut(&call) else {
            return Err(Full::Session);
        };
        if held.user.as_ref() == Some(user) {
            return Ok(());
        }
        if limit != 0 && used >= limit {
            return Err(Full::User);
        }
        if let Some(before) = held.user.replace(user.clone()) {
            lower(&mut self.users, &before);
        }
        *self.users.entry(user.clone()).or_default() += 1;
        Ok(())
    }

    /// Returns the line of one trunk, on which the call is no more.
    pub fn give_back(&mut self, call: CallId, trunk: &TrunkName) {
        let Some(Held { trunks: held, .. }) = self.calls.get_mut(&call) else {
            return;
        };
        if let Some(at) = held.iter().position(|held| held == trunk) {
            held.remove(at);
            lower(&mut self.trunks, trunk);
        }
    }

    /// Takes the lines of a call that is already up, whatever the limits; what it held before is returned.
    pub fn adopt(
        &mut self,
        call: CallId,
        trunks: &[TrunkName],
        session: Option<&SessionName>,
        user: Option<&UserName>,
    ) {
        let _unlimited = self.open(call, session, 0);
        if let Some(user) = user {
            let _unlimited = self.take_user(call, user, 0);
        }
        for trunk in trunks {
            let _unlimited = self.take(call, trunk, 0);
        }
    }

    /// Returns the lines of a call, and says of which trunks; returning them again changes nothing.
    pub fn release(&mut self, call: CallId) -> Option<Vec<TrunkName>> {
        let Held {
            trunks,
            session,
            user,
        } = self.calls.remove(&call)?;
        for trunk in &trunks {
            lower(&mut self.trunks, trunk);
        }
        if let Some(session) = session {
            lower(&mut self.sessions, &session);
        }
        if let Some(user) = user {
            lower(&mut self.users, &user);
        }
        Some(trunks)
    }

    /// Returns how many lines of the trunk are taken.
    pub fn trunk_in_use(&self, trunk: &TrunkName) -> u32 {
        self.trunks.get(trunk).copied().unwrap_or(0)
    }

    /// Returns how many lines of the session are taken.
    pub fn session_in_use(&self, session: &SessionName) -> u32 {
        self.sessions.get(session).copied().unwrap_or(0)
    }

    /// Returns how many lines of the user are taken.
    pub fn user_in_use(&self, user: &UserName) -> u32 {
        self.users.get(user).copied().unwrap_or(0)
    }

    /// Returns how many lines of all sessions, and of all users, are taken.
    pub fn beside_trunks(&self) -> (u32, u32) {
        let sum = |counts: &mut dyn Iterator<Item = &u32>| counts.sum();
        let sessions = sum(&mut self.sessions.values());
        (sessions, sum(&mut self.users.values()))
    }

    /// Returns how many lines of all trunks are taken: one of each trunk that a call is on or rings at.
    pub fn of_trunks(&self) -> u32 {
        self.trunks.values().sum()
    }

    /// Returns how many calls hold lines.
    pub fn calls(&self) -> usize {
        self.calls.len()
    }
}

fn lower<K: Eq + Hash>(counts: &mut HashMap<K, u32>, key: &K) {
    if let Some(used) = counts.get_mut(key) {
        *used = used.saturating_sub(1);
        // Names come and go with the records.
        if *used == 0 {
            counts.remove(key);
        }
    }
}
