//! Lines: how many calls a trunk and a session hold at a time.

use std::collections::HashMap;
use std::hash::Hash;

use model::{CallId, SessionName, TrunkName};

/// Whose lines are all taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// The trunk's.
    Trunk,
    /// The session's.
    Session,
}

/// The lines in use: of each call one of its session, if it has one, and one of each trunk it is on or rings at. Returned by the call's id, any
/// number of times.
#[derive(Debug, Default, Clone)]
pub struct Lines {
    calls: HashMap<CallId, (Vec<TrunkName>, Option<SessionName>)>,
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
        self.calls.insert(call, (Vec::new(), session.cloned()));
        Ok(())
    }

    /// Takes a line of a trunk for a call that is open; one that it has already is not taken twice.
    pub fn take(&mut self, call: CallId, trunk: &TrunkName, limit: u32) -> Result<(), Full> {
        let used = self.trunk_in_use(trunk);
        let Some((held, _)) = self.calls.get_mut(&call) else {
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

    /// Returns the line of one trunk, on which the call is no more.
    pub fn give_back(&mut self, call: CallId, trunk: &TrunkName) {
        let Some((held, _)) = self.calls.get_mut(&call) else {
            return;
        };
        if let Some(at) = held.iter().position(|held| held == trunk) {
            held.remove(at);
            lower(&mut self.trunks, trunk);
        }
    }

    /// Takes the lines of a call that is already up, whatever the limits; what it held before is returned.
    pub fn adopt(&mut self, call: CallId, trunks: &[TrunkName], session: Option<&SessionName>) {
        let _unlimited = self.open(call, session, 0);
        for trunk in trunks {
            let _unlimited = self.take(call, trunk, 0);
        }
    }

    /// Returns the lines of a call, and says of which trunks; returning them again changes nothing.
    pub fn release(&mut self, call: CallId) -> Option<Vec<TrunkName>> {
        let (trunks, session) = self.calls.remove(&call)?;
        for trunk in &trunks {
            lower(&mut self.trunks, trunk);
        }
        if let Some(session) = session {
            lower(&mut self.sessions, &session);
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

    /// Returns how many calls hold lines.
    pub fn calls(&self) -> usize {
        self.calls.len()
    }
}

fn lower<K: Eq + Hash>(counts: &mut HashMap<K, u32>, key: &K) {
    if let Some(used) = counts.get_mut(key) {
        *used = used.saturating_sub(1);
    }
}
