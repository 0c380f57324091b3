//! What the registry counts over time: what trunks and sessions use up of their quotas, and how often a trunk fails in a row.
//!
//! The counting is `routing`'s. Here are its clock, its timer, and its place on disk: written behind, at most a second old
//! after a crash.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use actix::{
    ActorFutureExt, AsyncContext, Context, Handler, MessageResult, SpawnHandle, WrapFuture,
};
use model::{CallId, EventKind, QuotaName, QuotaSpec, SessionName, TrunkName};
use routing::{FailureCounter, Health, Patience, Quotas, Subject};
use serde::{Deserialize, Serialize};

use super::{ASK_AGAIN, Registry};
use crate::call::Held;
use crate::events::About;
use crate::house::steady_millis;
use crate::message::{
    CallAnswered, EndCall, ListQuotas, LoadCounters, ResetQuota, SaveCounters, Settle, TrunkSaid,
    Unblock,
};

/// How often what has been counted is written down.
const WRITE_EVERY: Duration = Duration::from_millis(500);
/// The keys on disk begin so.
const QUOTA: &str = "quota/";
const FAILURES: &str = "failures/";

/// What is counted.
#[derive(Default)]
pub(super) struct Counters {
    pub(super) quotas: Quotas,
    /// Trunks whose failure counter is to be written.
    changed: BTreeSet<TrunkName>,
    /// When quotas are to be looked at again.
    next: Option<SpawnHandle>,
    /// What was counted before cannot be read.
    pub(super) is_unread: bool,
}

/// What somebody with a quota profile has used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaReport {
    /// Whose it is: `trunk/NAME`, `session/NAME` or `user/NAME`.
    pub subject: String,
    /// The profile.
    pub quota: QuotaName,
    /// Milliseconds that were talked in the window.
    pub talked_ms: u64,
    /// How many may be talked, 0 = unlimited.
    pub talk_limit_ms: u64,
    /// When the window of the talk time ends, in milliseconds since 1970; nothing before it has begun.
    pub talk_until: Option<u64>,
    /// Calls that failed in the window.
    pub failed: u64,
    /// How many may fail, 0 = unlimited.
    pub fail_limit: u32,
    /// When the window of the failed calls ends.
    pub fail_until: Option<u64>,
}

impl QuotaReport {
    fn new(now: u64, subject: &Subject, quota: QuotaSpec, usage: &routing::Usage) -> Self {
        let ms = |seconds: u32| u64::from(seconds) * 1000;
        Self {
            subject: subject.to_string(),
            talked_ms: usage.talked.value,
            talk_limit_ms: ms(quota.total_seconds),
            talk_until: usage.talked.end(now, ms(quota.total_window_seconds)),
            failed: usage.failed.value,
            fail_limit: quota.fail_calls,
            fail_until: usage.failed.end(now, ms(quota.fail_window_seconds)),
            quota: quota.name,
        }
    }
}

/// The failure counter of a trunk.
#[derive(Default)]
pub(super) struct Failures {
    counter: FailureCounter,
    /// The call by which it is tried.
    trial: Option<CallId>,
    /// Until when its PBX wants to be left alone. Not written down: it is a minute at most.
    held_back: Option<Instant>,
}

impl Failures {
    /// Whether no call is placed there now.
    pub(super) fn is_blocked(&self) -> bool {
        // A copy: to ask changes nothing but what a clock that was set back has made wrong.
        let mut counter = self.counter;
        let is_held_back = self.held_back.is_some_and(|until| Instant::now() < until);
        is_held_back
            || match counter.health(steady_millis()) {
                Health::Working => false,
                Health::Blocked { .. } => true,
                Health::OnTrial => self.trial.is_some(),
            }
    }

    /// Leaves the PBX alone for so long from now on, or until later if it has said so before; true when it was not left alone already.
    fn hold_back(&mut self, wait: Duration) -> bool {
        let now = Instant::now();
        let is_new = self.held_back.is_none_or(|until| until <= now);
        self.held_back = self.held_back.max(Some(now + wait));
        is_new
    }

    /// Whether the wait has ended since this was asked last.
    fn is_let_go(&mut self) -> bool {
        let is_over = self.held_back.is_some_and(|until| until <= Instant::now());
        if is_over {
            self.held_back = None;
        }
        is_over
    }

    /// A call is placed there; while it is not certain that it works, by this one it is tried.
    pub(super) fn placed(&mut self, call: CallId) {
        if self.counter.health(steady_millis()) == Health::OnTrial {
            self.trial = Some(call);
        }
    }

    /// The call is there no more.
    pub(super) fn gone(&mut self, call: CallId) {
        self.trial = self.trial.filter(|trial| *trial != call);
    }
}

impl Registry {
    /// Takes back what was counted before; nothing is decided until it is there.
    pub(super) fn load_counters(&mut self, ctx: &mut Context<Self>) {
        let mut door = self.common.keeper.clone();
        let kept = async move {
            loop {
                let keeper = match door.open() {
                    Some(keeper) => keeper,
                    None => door.next().await?,
                };
                // A keeper that dies is replaced, and asked again.
                if let Ok(kept) = keeper.send(LoadCounters).await {
                    return Some(kept);
                }
                tokio::time::sleep(ASK_AGAIN).await;
            }
        };
        ctx.wait(kept.into_actor(self).map(|kept, registry, ctx| {
            registry.counted_before(kept.flatten(), ctx);
            ctx.run_interval(WRITE_EVERY, |registry, _| registry.write_counters());
        }));
    }

    /// Takes back what there is; where it cannot be read it is asked for again.
    fn counted_before(&mut self, kept: Option<Vec<store::Entry>>, ctx: &mut Context<Self>) {
        self.counters.is_unread = kept.is_none();
        for (key, value) in kept.into_iter().flatten() {
            self.take_back(&key, &value);
        }
        if self.counters.is_unread {
            ctx.run_later(super::roles::READ_AGAIN, |registry, ctx| {
                let keeper = registry.common.keeper.open();
                let asked = async move { keeper?.send(LoadCounters).await.ok().flatten() };
                let taken = asked
                    .into_actor(registry)
                    .map(|kept, registry, ctx| registry.counted_before(kept, ctx));
                ctx.spawn(taken);
            });
        }
    }

    fn take_back(&mut self, key: &[u8], value: &[u8]) {
        let key = String::from_utf8_lossy(key);
        let failed = |error: &dyn std::fmt::Display| {
            tracing::error!(%key, %error, "a counter cannot be read: it begins anew");
        };
        if let Some(subject) = key.strip_prefix(QUOTA) {
            match (subject.parse(), serde_json::from_slice(value)) {
                (Ok(subject), Ok(usage)) => self.counters.quotas.restore(subject, usage),
                (Err(error), _) => failed(&error),
                (_, Err(error)) => failed(&error),
            }
        } else if let Some(trunk) = key.strip_prefix(FAILURES) {
            match (trunk.parse::<TrunkName>(), serde_json::from_slice(value)) {
                (Ok(trunk), Ok(counter)) => {
                    if let Some(unit) = self.known.trunks.get_mut(&trunk) {
                        unit.failures.counter = counter;
                    }
                    self.show_failures(&trunk);
                }
                (Err(error), _) => failed(&error),
                (_, Err(error)) => failed(&error),
            }
        }
    }

    /// Writes down what has changed.
    fn write_counters(&mut self) {
        self.counters.quotas.count(steady_millis());
        let mut changed: Vec<(String, Option<Vec<u8>>)> = Vec::new();
        for (subject, usage) in self.counters.quotas.changed() {
            let usage = usage.and_then(|usage| serde_json::to_vec(&usage).ok());
            changed.push((format!("{QUOTA}{subject}"), usage));
        }
        for trunk in std::mem::take(&mut self.counters.changed) {
            let unit = self.known.trunks.get(&trunk);
            let counter = unit.map(|unit| unit.failures.counter);
            let kept = counter.filter(|counter| *counter != FailureCounter::default());
            let kept = kept.and_then(|counter| serde_json::to_vec(&counter).ok());
            changed.push((format!("{FAILURES}{trunk}"), kept));
        }
        if !changed.is_empty() {
            self.common.to_keeper(SaveCounters { changed });
        }
        self.show_blocked();
    }

    /// Those whose use a call counts for.
    pub(super) fn subjects(
        &self,
        trunk: Option<&TrunkName>,
        session: Option<&SessionName>,
    ) -> Vec<(Subject, QuotaSpec)> {
        let both = trunk.zip(session);
        let route = both.and_then(|(trunk, session)| self.table.quota_of_route(trunk, session));
        let trunk = trunk.and_then(|trunk| self.table.quota_of_trunk(trunk));
        let session = session.and_then(|session| self.table.quota_of_session(session));
        trunk.into_iter().chain(session).chain(route).collect()
    }

    /// Those whose use a call counts for as well, once a trunk has answered it.
    pub(super) fn subjects_of_answer(
        &self,
        held: &Held,
        by: &TrunkName,
    ) -> Vec<(Subject, QuotaSpec)> {
        let way = match (held.own_trunk(), &held.session) {
            (Some(from), _) => self.table.quota_of_way(from, by),
            (None, Some(session)) => self.table.quota_of_route(by, session),
            (None, None) => None,
        };
        let trunk = self.table.quota_of_trunk(by);
        trunk.into_iter().chain(way).collect()
    }

    /// Waits for the next time that a call is too long or somebody has talked enough.
    pub(super) fn watch_quotas(&mut self, ctx: &mut Context<Self>) {
        if let Some(next) = self.counters.next.take() {
            ctx.cancel_future(next);
        }
        let now = steady_millis();
        if let Some(at) = self.counters.quotas.next(now) {
            let wait = Duration::from_millis(at.saturating_sub(now).max(1));
            self.counters.next = Some(ctx.run_later(wait, Self::cut));
        }
    }

    /// Ends the calls that have gone on for long enough.
    fn cut(&mut self, ctx: &mut Context<Self>) {
        self.counters.next = None;
        for (call, cause) in self.counters.quotas.due(steady_millis()) {
            if let Some(unit) = self.known.calls.get(&call) {
                tracing::info!(%call, %cause, "a call is cut by a quota");
                self.common.metrics.quota_refused(cause.reason());
                unit.address.do_send(EndCall { cause });
            }
        }
        self.watch_quotas(ctx);
    }

    /// Notes that the PBX of a trunk has too much to do (SEC-D6).
    fn hold_back(&mut self, trunk: &TrunkName, wait: Duration) {
        if let Some(unit) = self.known.trunks.get_mut(trunk)
            && unit.failures.hold_back(wait)
        {
            let seconds = wait.as_secs();
            tracing::warn!(%trunk, seconds, "the PBX has too much to do: no call is placed there for a while");
        }
        self.show_failures(trunk);
    }

    /// Notes whether a trunk works.
    fn trunk_said(&mut self, trunk: &TrunkName, call: CallId, works: bool) {
        let Some(spec) = self.table.trunk(trunk) else {
            return;
        };
        let patience = Patience {
            limit: spec.failure_limit,
            wait: Duration::from_secs(u64::from(spec.failure_wait_seconds)),
        };
        let Some(unit) = self.known.trunks.get_mut(trunk) else {
            return;
        };
        let failures = &mut unit.failures;
        failures.gone(call);
        if works {
            self.common.metrics.trunk_last_error(trunk, 0);
        }
        if works && failures.counter == FailureCounter::default() {
            return;
        }
        if works {
            if failures.counter.health(steady_millis()) != Health::Working {
                tracing::info!(%trunk, "the trunk works again");
            }
            failures.counter.works();
        } else if failures.counter.failed(steady_millis(), patience) {
            let in_a_row = failures.counter.in_a_row();
            let data = || serde_json::json!({ "failures": in_a_row, "seconds": spec.failure_wait_seconds });
            let about = About::trunk(trunk);
            self.common
                .events
                .tell(EventKind::TrunkBlocked, about, data);
            tracing::error!(%trunk, in_a_row, "too many calls to the trunk failed: none is placed there for a while");
        }
        self.counters.changed.insert(trunk.clone());
        self.show_failures(trunk);
    }

    /// Somebody has changed the trunk, or says that it works again: calls are placed there at once.
    pub(super) fn trunk_is_mended(&mut self, trunk: &TrunkName) {
        if let Some(unit) = self.known.trunks.get_mut(trunk) {
            unit.failures = Failures::default();
            self.counters.changed.insert(trunk.clone());
        }
        self.show_failures(trunk);
    }

    fn show_failures(&self, trunk: &TrunkName) {
        if let Some(unit) = self.known.trunks.get(trunk) {
            let in_a_row = unit.failures.counter.in_a_row();
            let metrics = &self.common.metrics;
            metrics.trunk_failures(trunk, in_a_row, unit.failures.is_blocked());
        }
    }

    /// A wait may have ended without anybody asking.
    fn show_blocked(&mut self) {
        let now = steady_millis();
        let blocked = self.known.trunks.iter_mut().filter_map(|(trunk, unit)| {
            let health = unit.failures.counter.health(now);
            let is_let_go = unit.failures.is_let_go();
            (is_let_go || health != Health::Working).then(|| trunk.clone())
        });
        for trunk in blocked.collect::<Vec<_>>() {
            self.show_failures(&trunk);
        }
    }
}

impl Handler<CallAnswered> for Registry {
    type Result = ();

    fn handle(&mut self, answered: CallAnswered, ctx: &mut Self::Context) {
        self.watch.handled();
        let CallAnswered { call, by } = answered;
        if let Some(trunk) = &by {
            self.trunk_said(trunk, call, true);
        }
        // What is over meanwhile would be counted forever.
        if let Some(unit) = self.known.calls.get(&call) {
            let now = steady_millis();
            let by = by.map(|trunk| self.subjects_of_answer(&unit.held, &trunk));
            let by = by.into_iter().flatten();
            self.counters.quotas.answered(now, now, call, by);
            self.watch_quotas(ctx);
        }
    }
}

impl Handler<Settle> for Registry {
    type Result = ();

    fn handle(&mut self, _: Settle, _: &mut Self::Context) {
        self.watch.handled();
        self.write_counters();
    }
}

impl Handler<ListQuotas> for Registry {
    type Result = MessageResult<ListQuotas>;

    fn handle(&mut self, _: ListQuotas, _: &mut Self::Context) -> Self::Result {
        self.watch.handled();
        let now = steady_millis();
        self.counters.quotas.count(now);
        let trunks = self.table.trunks();
        let trunks = trunks.filter_map(|trunk| self.table.quota_of_trunk(&trunk.name));
        let sessions = self.table.sessions();
        let sessions = sessions.filter_map(|session| self.table.quota_of_session(&session.name));
        let report = |(subject, quota): (Subject, QuotaSpec)| {
            let usage = self.counters.quotas.usage(now, &subject, &quota);
            QuotaReport::new(now, &subject, quota, &usage)
        };
        let routes = self.table.routes();
        let routes = routes.filter_map(|it| self.table.quota_of_route(&it.trunk, &it.session));
        let ways = self.table.transits();
        let ways = ways.filter_map(|it| self.table.quota_of_way(&it.trunk, &it.to));
        let users = self.table.users();
        let users = users.filter_map(|user| self.table.quota_of_user(&user.name));
        let all = trunks
            .chain(sessions)
            .chain(routes)
            .chain(ways)
            .chain(users);
        let mut reports: Vec<_> = all.map(report).collect();
        reports.sort_by(|a, b| a.subject.cmp(&b.subject));
        MessageResult(reports)
    }
}

impl Handler<ResetQuota> for Registry {
    type Result = ();

    fn handle(&mut self, ResetQuota { subject }: ResetQuota, ctx: &mut Self::Context) {
        self.watch.handled();
        tracing::info!(%subject, "what was counted for its quota is forgotten");
        self.counters.quotas.reset(steady_millis(), &subject);
        self.watch_quotas(ctx);
    }
}

impl Handler<Unblock> for Registry {
    type Result = bool;

    fn handle(&mut self, Unblock { trunk }: Unblock, _: &mut Self::Context) -> bool {
        self.watch.handled();
        if !self.known.trunks.contains_key(&trunk) {
            return false;
        }
        tracing::info!(%trunk, "unblocked");
        self.trunk_is_mended(&trunk);
        true
    }
}

impl Handler<TrunkSaid> for Registry {
    type Result = ();

    fn handle(&mut self, said: TrunkSaid, _: &mut Self::Context) {
        self.watch.handled();
        self.trunk_said(&said.trunk, said.call, said.works);
        if !said.works {
            let metrics = &self.common.metrics;
            metrics.trunk_last_error(&said.trunk, said.code);
        }
        if let Some(wait) = said.held_back {
            self.hold_back(&said.trunk, wait);
        }
    }
}
