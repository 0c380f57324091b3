//! What trunks, sessions and calls report to the registry, and what it does when one of them dies.

use std::time::{Duration, Instant};

use actix::{AsyncContext, Context, Handler};
use model::{CallId, Cause, EventKind, Reason, SessionSpec};
use routing::{CallEnd, SessionState};
use serde_json::json;

use super::{CallUnit, Registry, SessionUnit};
use crate::events::About;
use crate::house::steady_millis;
use crate::message::{Adopt, CallOver, CloseLost, Contact, Retire, SessionChanged, TrunkState};
use crate::supervise::{Down, Unit, Verdict as Fate};

impl Handler<TrunkState> for Registry {
    type Result = ();

    fn handle(&mut self, state: TrunkState, _: &mut Self::Context) {
        self.watch.handled();
        let is_on = self.is_on(&state.trunk).is_some();
        let hops = |contact: &Contact| {
            let hops = [contact.send_to].into_iter();
            let hops: Vec<_> = hops.chain(contact.others.iter().copied()).collect();
            hops
        };
        let reached = state.contacts.iter().flat_map(hops);
        let reached: Vec<_> = reached.map(|hop| hop.address).collect();
        if is_on {
            self.common
                .gate
                .reached(Instant::now(), &state.trunk, reached);
        }
        match self.known.trunks.get_mut(&state.trunk) {
            Some(unit) if is_on => {
                let (was_up, is_up) = (!unit.contacts.is_empty(), !state.contacts.is_empty());
                // A registry that was restarted hears what is nothing new.
                if was_up != is_up && !self.calling_roll {
                    let about = About::trunk(&state.trunk);
                    let data = || json!({ "up": is_up });
                    let events = &self.common.events;
                    events.tell(EventKind::RegistrationChanged, about, data);
                }
                unit.contacts = state.contacts;
                unit.address = Some(state.address);
            }
            // One that was removed, or switched off, while there was no registry.
            Some(_) | None => state.address.do_send(Retire {
                is_succeeded: false,
            }),
        }
    }
}

impl Handler<SessionChanged> for Registry {
    type Result = ();

    fn handle(&mut self, changed: SessionChanged, ctx: &mut Self::Context) {
        self.watch.handled();
        let is_off = |spec: &SessionSpec| !spec.enabled;
        if !self.known.sessions.contains_key(&changed.session)
            && self.table.session(&changed.session).is_none_or(is_off)
        {
            // Switched off while there was no registry.
            let mut unit = SessionUnit::new();
            unit.is_leaving = true;
            self.known.sessions.insert(changed.session.clone(), unit);
            Self::leave_later(changed.session.clone(), ctx);
        }
        if let Some(unit) = self.known.sessions.get_mut(&changed.session) {
            let is_news = !self.calling_roll;
            let (before, after) = (
                unit.state.with(&unit.waits),
                changed.state.with(&changed.waits),
            );
            if before != after && is_news {
                let until = after.until(&changed.waits);
                let data =
                    || json!({ "state": after.label(), "before": before.label(), "until": until });
                let about = About::session(&changed.session);
                let events = &self.common.events;
                events.tell(EventKind::SessionChanged, about, data);
                if after == SessionState::FloodWait {
                    let data = || json!({ "until": until });
                    events.tell(EventKind::SessionFloodWait, about, data);
                }
            }
            unit.state = changed.state;
            unit.waits = changed.waits;
            unit.user_id = changed.user_id.or(unit.user_id);
            unit.address = Some(changed.address);
        }
    }
}

impl Handler<Adopt> for Registry {
    type Result = ();

    fn handle(&mut self, adopt: Adopt, ctx: &mut Self::Context) {
        self.watch.handled();
        let held = *adopt.held;
        self.lines.adopt(
            adopt.call,
            &held.lines,
            held.session.as_ref(),
            held.user.as_ref(),
        );
        for trunk in &held.lines {
            self.count_lines(trunk);
        }
        let session = held.session.as_ref();
        let subjects = self.subjects_with(held.own_trunk(), session, held.user.as_ref());
        self.counters.quotas.begin(adopt.call, subjects);
        if let Some(answered) = adopt.answered {
            let by = answered.by.as_ref();
            let by = by.map(|trunk| self.subjects_of_answer(&held, trunk));
            let by = by.into_iter().flatten();
            let now = steady_millis();
            let since = now.saturating_sub(u64::try_from(answered.ago.as_millis()).unwrap_or(0));
            self.counters.quotas.answered(now, since, adopt.call, by);
        }
        self.known.calls.insert(
            adopt.call,
            CallUnit {
                address: adopt.address,
                held,
            },
        );
        self.watch_quotas(ctx);
    }
}

impl Registry {
    pub(super) fn forget_call(
        &mut self,
        call: CallId,
        end: CallEnd,
        ctx: &mut Context<Self>,
    ) -> bool {
        for trunk in self.lines.release(call).unwrap_or_default() {
            self.count_lines(&trunk);
            if let Some(unit) = self.known.trunks.get_mut(&trunk) {
                unit.failures.gone(call);
            }
        }
        self.counters.quotas.over(steady_millis(), call, end);
        let Some(unit) = self.known.calls.remove(&call) else {
            return false;
        };
        let session = unit.held.session.filter(|session| {
            let session = self.known.sessions.get(session);
            session.is_some_and(|unit| unit.is_leaving)
        });
        if let Some(session) = session {
            Self::leave_later(session, ctx);
        }
        true
    }
}

impl Handler<CallOver> for Registry {
    type Result = ();

    fn handle(&mut self, CallOver { call, end }: CallOver, ctx: &mut Self::Context) {
        self.watch.handled();
        self.forget_call(call, end, ctx);
        self.watch_quotas(ctx);
    }
}

impl Handler<Down> for Registry {
    type Result = ();

    fn handle(&mut self, down: Down, ctx: &mut Self::Context) {
        self.watch.handled();
        let now = Instant::now();
        match down.who {
            Unit::Call(call) => {
                // A call that said goodbye has been forgotten before.
                if self.forget_call(call, CallEnd::Other, ctx) {
                    self.common.metrics.actor_died("call", down.panicked);
                    self.common.to_keeper(CloseLost {
                        call,
                        cause: Cause::new(Reason::InternalError),
                    });
                }
            }
            Unit::Trunk(name) => {
                let Some(unit) = self.known.trunks.get_mut(&name) else {
                    return;
                };
                self.common.metrics.actor_died("trunk", down.panicked);
                if unit.is_living() {
                    return;
                }
                unit.address = None;
                let wait = wait_for(
                    unit.backoff.death(now, &mut self.rng),
                    "trunk",
                    name.as_str(),
                );
                ctx.run_later(wait, move |registry, ctx| registry.start_trunk(name, ctx));
            }
            Unit::Session(name) => {
                let Some(unit) = self.known.sessions.get_mut(&name) else {
                    return;
                };
                self.common.metrics.actor_died("session", down.panicked);
                if unit.is_living() {
                    return;
                }
                unit.address = None;
                unit.state = SessionState::Offline;
                let wait = wait_for(
                    unit.backoff.death(now, &mut self.rng),
                    "session",
                    name.as_str(),
                );
                ctx.run_later(wait, move |registry, ctx| registry.start_session(name, ctx));
            }
            Unit::Text => {
                self.texts = self.texts.saturating_sub(1);
                if down.panicked {
                    self.common.metrics.actor_died("text", true);
                }
            }
            Unit::Keeper | Unit::Registry | Unit::Endpoint | Unit::Leg(..) => {}
        }
    }
}

fn wait_for(fate: Fate, kind: &'static str, name: &str) -> Duration {
    match fate {
        Fate::Restart(wait) => {
            tracing::warn!(kind, name, ?wait, "died, will be started again");
            wait
        }
        Fate::Failed(wait) => {
            tracing::error!(
                kind,
                name,
                ?wait,
                "died too often, will be tried again later"
            );
            wait
        }
    }
}
