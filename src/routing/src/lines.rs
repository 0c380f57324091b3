//! Lines: how many calls a trunk and a session hold at a time.

use std::collections::HashMap;

use model::{CallId, SessionName, TrunkName};

/// Whose lines are all taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// The trunk's.
    Trunk,
    /// The session's.
    Session,
}

/// The lines in use: one of a trunk and one of a session for each call, returned by the call's id, any number of times.
#[derive(Debug, Default)]
pub struct Lines {
    calls: HashMap<CallId, (TrunkName, SessionName)>,
    trunks: HashMap<TrunkName, u32>,
    sessions: HashMap<SessionName, u32>,
}

impl Lines {
    /// Takes a line of both for a call; a limit of 0 is none. A call that holds lines already, because it tries one trunk
    /// after the other, gives them up for the new ones, and keeps them when it is refused.
    pub fn take(
        &mut self,
        call: CallId,
        (trunk, trunk_limit): (&TrunkName, u32),
        (session, session_limit): (&SessionName, u32),
    ) -> Result<(), Full> {
        let held = self.calls.get(&call);
        let own_trunk = held.is_some_and(|(held, _)| held == trunk);
        let own_session = held.is_some_and(|(_, held)| held == session);
        let full = |limit: u32, used: u32, own: bool| {
            limit != 0 && used.saturating_sub(u32::from(own)) >= limit
        };
        if full(trunk_limit, self.trunk_in_use(trunk), own_trunk) {
            return Err(Full::Trunk);
        }
        if full(session_limit, self.session_in_use(session), own_session) {
            return Err(Full::Session);
        }
        self.adopt(call, trunk, session);
        Ok(())
    }

    /// Takes a line of both for a call that is already up, whatever the limits; what it held before is returned.
    pub fn adopt(&mut self, call: CallId, trunk: &TrunkName, session: &SessionName) {
        self.release(call);
        self.calls.insert(call, (trunk.clone(), session.clone()));
        *self.trunks.entry(trunk.clone()).or_default() += 1;
        *self.sessions.entry(session.clone()).or_default() += 1;
    }

    /// Returns the lines of a call; returning them again changes nothing.
    pub fn release(&mut self, call: CallId) -> Option<(TrunkName, SessionName)> {
        let (trunk, session) = self.calls.remove(&call)?;
        if let Some(used) = self.trunks.get_mut(&trunk) {
            *used = used.saturating_sub(1);
        }
        if let Some(used) = self.sessions.get_mut(&session) {
            *used = used.saturating_sub(1);
        }
        Some((trunk, session))
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
