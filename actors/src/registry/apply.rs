//! A change of records: starts, changes and stops exactly the trunks and sessions that it concerns.
//!
//! Calls hold what they began with: a trunk's record travels with them, and a session that is switched off stays for its calls. What
//! is new is decided by the new table from the moment it is here.

use std::sync::Arc;
use std::time::Duration;

use actix::{ActorFutureExt, AsyncContext, Context, Handler, ResponseFuture, WrapFuture};
use model::{Cause, Reason, SessionName, TrunkName, TrunkSpec};
use routing::{SessionState, Table};

use super::{Registry, SessionUnit, TrunkUnit};
use crate::message::{
    Apply, EndCall, EndCallsOf, Linked, Reconnect, Retire, Revise, SaveBindings, Unplug,
};
use crate::trunk::{is_alike, succeeds};

/// How long a session that is off stays after its last call, for what is still to be said about it.
const LAST_WORDS: Duration = Duration::from_secs(5);

impl Registry {
    /// Brings what is there to what the table says.
    fn apply(&mut self, table: Arc<Table>, ctx: &mut Context<Self>) {
        let before = std::mem::replace(&mut self.table, Arc::clone(&table));
        for changed in before.changed_trunks(&table) {
            match (changed.before, changed.after) {
                (Some(gone), None) => {
                    let trunk = &gone.name;
                    tracing::info!(%trunk, "removed");
                    self.trunk_is_mended(trunk);
                    self.stop_trunk(trunk.clone(), Next::Remove, false, ctx);
                }
                (old, Some(spec)) => self.change_trunk(old, spec, ctx),
                (None, None) => {}
            }
        }
        let off = self.known.sessions.iter().filter(|(name, unit)| {
            !unit.is_leaving && table.session(name).is_none_or(|spec| !spec.enabled)
        });
        let off: Vec<SessionName> = off.map(|(name, _)| name.clone()).collect();
        for session in off {
            tracing::info!(%session, "switched off");
            if let Some(unit) = self.known.sessions.get_mut(&session) {
                unit.is_leaving = true;
            }
            self.leave(&session, ctx);
        }
        for spec in table.sessions() {
            let metrics = &self.common.metrics;
            metrics.add_session(&spec.name);
            metrics.session_enabled(&spec.name, spec.enabled);
            if !spec.enabled {
                continue;
            }
            if let Some(unit) = self.known.sessions.get_mut(&spec.name) {
                unit.is_leaving = false;
                if let Some(address) = unit.address.as_ref()
                    && before.session(&spec.name) != Some(spec)
                {
                    address.do_send(Revise(spec.clone()));
                }
                continue;
            }
            tracing::info!(session = %spec.name, "switched on");
            let unit = SessionUnit::new();
            self.known.sessions.insert(spec.name.clone(), unit);
            // Without a connection it waits for [`Linked`].
            if !self.calling_roll {
                self.start_session(spec.name.clone(), ctx);
            }
        }
        for changed in before.changed_sessions(&table) {
            if let (Some(gone), None) = (changed.before, changed.after) {
                self.common.metrics.remove_session(&gone.name);
            }
        }
    }

    fn change_trunk(&mut self, old: Option<&TrunkSpec>, spec: &TrunkSpec, ctx: &mut Context<Self>) {
        let name = &spec.name;
        let metrics = &self.common.metrics;
        metrics.add_trunk(name, spec.lines);
        metrics.trunk_enabled(name, spec.enabled);
        metrics.trunk_failure_limit(name, spec.failure_limit);
        let unit = self.known.trunks.entry(name.clone());
        unit.or_insert_with(TrunkUnit::new);
        let Some(old) = old else {
            tracing::info!(trunk = %name, "added");
            return self.start_trunk(name.clone(), ctx);
        };
        tracing::info!(trunk = %name, enabled = spec.enabled, "changed");
        self.trunk_is_mended(name);
        if is_alike(old, spec) {
            let unit = self.known.trunks.get(name);
            if let Some(address) = unit.and_then(|unit| unit.address.as_ref()) {
                address.do_send(Revise(spec.clone()));
            }
            return;
        }
        // Whoever registered with another password, or at another time as another trunk, is not this one.
        let next = if old.kind == spec.kind {
            Next::Start
        } else {
            Next::StartAnew
        };
        self.stop_trunk(name.clone(), next, succeeds(old, spec), ctx);
    }

    /// Stops the incarnation that there is. What comes then begins when that one says nothing more.
    fn stop_trunk(
        &mut self,
        trunk: TrunkName,
        next: Next,
        is_succeeded: bool,
        ctx: &mut Context<Self>,
    ) {
        let address = match next {
            Next::Remove => self.known.trunks.remove(&trunk).and_then(|it| it.address),
            Next::Start | Next::StartAnew => self.known.trunks.get_mut(&trunk).and_then(|unit| {
                unit.contacts.clear();
                unit.address.take()
            }),
        };
        let retired = async move {
            if let Some(address) = address {
                // One that has died meanwhile says nothing more either.
                let _ = address.send(Retire { is_succeeded }).await;
            }
        };
        ctx.spawn(retired.into_actor(self).map(move |(), registry, ctx| {
            let metrics = &registry.common.metrics;
            match next {
                // What the last incarnation wrote late must not be found by another trunk of this name.
                Next::Remove | Next::StartAnew => registry.common.to_keeper(SaveBindings {
                    trunk: trunk.clone(),
                    bindings: b"[]".to_vec(),
                }),
                Next::Start => {}
            }
            if registry.table.trunk(&trunk).is_none() {
                metrics.remove_trunk(&trunk);
                return;
            }
            let is_living = registry.known.trunks.get(&trunk);
            if is_living.is_some_and(|unit| !unit.is_living()) {
                metrics.trunk_state(&trunk, false, 0);
            }
            registry.start_trunk(trunk, ctx);
        }));
    }

    /// Tells the living what their records are; see [`Registry::start_missing`].
    pub(super) fn revise_all(&self) {
        for (name, unit) in &self.known.trunks {
            if let (Some(address), Some(spec)) = (&unit.address, self.table.trunk(name)) {
                address.do_send(Revise(spec.clone()));
            }
        }
        for (name, unit) in &self.known.sessions {
            if let (Some(address), Some(spec)) = (&unit.address, self.table.session(name)) {
                address.do_send(Revise(spec.clone()));
            }
        }
    }

    /// Lets a session that is off go, if it carries no call.
    fn leave(&mut self, session: &SessionName, ctx: &mut Context<Self>) {
        let carries = |held: &crate::call::Held| held.session.as_ref() == Some(session);
        let is_leaving = self.known.sessions.get(session);
        if !is_leaving.is_some_and(|unit| unit.is_leaving)
            || self.known.calls.values().any(|call| carries(&call.held))
        {
            return;
        }
        let unit = self.known.sessions.remove(session);
        let address = unit.and_then(|unit| unit.address);
        let (common, session) = (self.common.clone(), session.clone());
        let gone = async move {
            if let Some(address) = address {
                let _ = address
                    .send(Retire {
                        is_succeeded: false,
                    })
                    .await;
            }
            common.sessions.close(&session).await;
            tracing::info!(%session, "its connection is closed");
        };
        ctx.spawn(gone.into_actor(self));
    }

    /// The same when its last words about a call are said.
    pub(super) fn leave_later(session: SessionName, ctx: &mut Context<Self>) {
        ctx.run_later(LAST_WORDS, move |registry, ctx| {
            registry.leave(&session, ctx);
        });
    }
}

/// What comes after the incarnation of a trunk that is stopped.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Nothing.
    Remove,
    /// Another one, if the trunk is on, with the bindings that there were.
    Start,
    /// The same, and whoever was registered must register anew.
    StartAnew,
}

impl Handler<Apply> for Registry {
    type Result = ();

    fn handle(&mut self, Apply { table }: Apply, ctx: &mut Self::Context) {
        self.watch.handled();
        self.apply(table, ctx);
    }
}

impl Handler<Linked> for Registry {
    type Result = ();

    fn handle(&mut self, Linked { session }: Linked, ctx: &mut Self::Context) {
        self.watch.handled();
        if self.known.sessions.contains_key(&session) {
            self.start_session(session, ctx);
        } else {
            // Switched off again before its connection was made.
            let common = self.common.clone();
            let closed = async move { common.sessions.close(&session).await };
            ctx.spawn(closed.into_actor(self));
        }
    }
}

impl Handler<Reconnect> for Registry {
    type Result = bool;

    fn handle(&mut self, Reconnect { trunk }: Reconnect, ctx: &mut Self::Context) -> bool {
        self.watch.handled();
        if self.is_on(&trunk).is_none() {
            return false;
        }
        tracing::info!(%trunk, "begun anew by an owner");
        self.trunk_is_mended(&trunk);
        // The next incarnation registers by the same contact, so that no goodbye is said.
        self.stop_trunk(trunk, Next::Start, true, ctx);
        true
    }
}

impl Handler<EndCallsOf> for Registry {
    type Result = ();

    fn handle(&mut self, EndCallsOf { session }: EndCallsOf, _: &mut Self::Context) {
        self.watch.handled();
        let calls = self.known.calls.values();
        for call in calls.filter(|call| call.held.session.as_ref() == Some(&session)) {
            let cause = Cause::new(Reason::NormalClearing);
            call.address.do_send(EndCall { cause });
        }
    }
}

impl Handler<Unplug> for Registry {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, Unplug { session }: Unplug, _: &mut Self::Context) -> Self::Result {
        self.watch.handled();
        let unit = self.known.sessions.get_mut(&session);
        let address = unit.and_then(|unit| {
            unit.state = SessionState::Offline;
            unit.address.take()
        });
        let common = self.common.clone();
        Box::pin(async move {
            if let Some(address) = address {
                let is_succeeded = false;
                let _ = address.send(Retire { is_succeeded }).await;
            }
            common.sessions.close(&session).await;
        })
    }
}
