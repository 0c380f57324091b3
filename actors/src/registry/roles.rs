//! What the registry knows of Manager, Worker and Storage, and what becomes of calls when one of them does not work.

use std::time::Duration;

use actix::{AsyncContext, Context};
use model::{Cause, QuotaSpec, Reason, Role, RoleState, SessionName, TrunkName};
use routing::{Subject, World};

use super::Registry;
use crate::house::{MANAGER, RoleReport, steady_millis};
use crate::message::KeptSession;

/// How long until the store is asked again for what it could not say.
pub(super) const READ_AGAIN: Duration = Duration::from_secs(5);

impl Registry {
    /// How they are, as far as is known here.
    pub(super) fn roles(&self) -> Vec<RoleReport> {
        let is_ready = |name: &TrunkName| {
            let unit = self.known.trunks.get(name);
            unit.is_some_and(|unit| unit.address.is_some())
        };
        let mut on = self.table.trunks().filter(|trunk| trunk.enabled);
        let worker = if self.draining || on.any(|trunk| !is_ready(&trunk.name)) {
            RoleState::NotReady
        } else {
            RoleState::Running
        };
        let mut sessions = self.known.sessions.values();
        let storage = if sessions.any(|unit| unit.is_unreadable) || self.counters.is_unread {
            RoleState::Unavailable
        } else {
            RoleState::Running
        };
        let has = |role| self.table.has_role(role);
        vec![
            RoleReport::new(MANAGER, true, RoleState::Running),
            RoleReport::new(Role::Worker.label(), has(Role::Worker), worker),
            RoleReport::new(Role::Storage.label(), has(Role::Storage), storage),
        ]
    }

    /// Whether a session must wait because it is not known what Telegram has ordered it; then it is tried again later.
    pub(super) fn must_wait(
        &mut self,
        session: &SessionName,
        kept: Option<&KeptSession>,
        ctx: &mut Context<Self>,
    ) -> bool {
        let must_wait = kept.is_some_and(|kept| kept.is_unreadable);
        if let Some(unit) = self.known.sessions.get_mut(session) {
            unit.is_unreadable = must_wait;
        }
        if must_wait {
            let session = session.clone();
            ctx.run_later(READ_AGAIN, move |registry, ctx| {
                // It may have been switched off meanwhile.
                if registry.known.sessions.contains_key(&session) {
                    registry.start_session(session, ctx);
                }
            });
        }
        must_wait
    }

    /// Says whether a call of these may begin. Where something would have to be counted, it must be possible to keep it: who has
    /// a quota is not let through because the disk is full.
    pub(super) fn admit(&mut self, subjects: &[(Subject, QuotaSpec)]) -> Result<(), Cause> {
        self.can_count(subjects)?;
        self.counters.quotas.admit(steady_millis(), subjects)
    }

    /// Says whether what they use can be counted and kept.
    pub(super) fn can_count(&self, subjects: &[(Subject, QuotaSpec)]) -> Result<(), Cause> {
        let counts = |quota: &QuotaSpec| quota.total_seconds != 0 || quota.fail_calls != 0;
        if subjects.iter().any(|(_, quota)| counts(quota))
            && (self.counters.is_unread || self.common.store_health.fails())
        {
            return Err(Cause::new(Reason::DatabaseError));
        }
        Ok(())
    }

    /// Says whether a PBX may register: one that is registered goes on as it is, but nobody is told that he is who would be
    /// forgotten with the process.
    pub(super) fn can_keep(&self, trunk: &TrunkName) -> Result<(), Cause> {
        if self.common.store_health.fails() && !self.known.is_reachable(trunk) {
            return Err(Cause::new(Reason::DatabaseError));
        }
        Ok(())
    }

    /// Says whether there is anybody who could call a PBX.
    pub(super) fn worker_answers(&self) -> Result<(), Cause> {
        if self.common.endpoint.open().is_none() {
            return Err(Cause::new(Reason::WorkerUnavailable));
        }
        Ok(())
    }
}
