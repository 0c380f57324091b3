//! The registry: every call passes its one decision, every line is counted here, every unit below it is restarted by it.
//!
//! Owns the routing table, the lines in use, what is known of trunks and sessions, and who the living calls are. Its death ends no call:
//! trunks, sessions and calls announce themselves to the next incarnation, which starts only what is missing.

mod apply;
#[cfg(feature = "chaos")]
pub(crate) mod chaos;
mod counters;
#[cfg(test)]
pub(crate) mod crash;
mod dial;
mod offer;
mod rehearsal;
mod roles;
mod text;
mod transfer;
mod units;
mod users;

pub use counters::QuotaReport;
pub(crate) use offer::MAX_FORWARDS;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use actix::{
    Actor, ActorFutureExt, Addr, AsyncContext, Context, Handler, MessageResult, WrapFuture,
};
use metrics::LocalRefusal;
use model::{
    CallId, Cause, Direction, Peer, Reason, SessionName, SessionSpec, TrunkName, TrunkSpec,
};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use routing::{Full, Lines, SessionState, SipOffer, Table, Waits, World};
use sip::{HeaderName, NameAddr, Request, ServerKey};

use crate::call::{Call, CallSpec, Held, Plan};
use crate::house::{CALLING_ROLL, Common, Report, SessionReport};
use crate::message::{
    Contact, Drain, EndAll, EndCall, Inspect, InviteArrived, Leave, ListSessions, LoadBindings,
    LoadSession, RegisterArrived,
};
use crate::session::{Session, SessionParts};
use crate::supervise::{Backoff, Parent, Unit, Watch};
use crate::trunk::Trunk;

/// How long a new incarnation waits for those who live before it starts what is missing.
const ROLL_CALL: Duration = Duration::from_millis(300);
/// Between two questions to a keeper that dies.
const ASK_AGAIN: Duration = Duration::from_millis(50);
/// People of whom it is remembered who called them; the list begins anew when it is full.
const REMEMBERED: usize = 10_000;
/// What a PBX is told to wait while the switch starts or stops.
const COME_BACK: Duration = Duration::from_secs(30);
/// How long after its beginning the process may say that it is not ready yet.
const YOUTH: Duration = Duration::from_secs(60);

/// A trunk as the registry sees it.
struct TrunkUnit {
    address: Option<Addr<Trunk>>,
    contacts: Vec<Contact>,
    failures: counters::Failures,
    backoff: Backoff,
}

impl TrunkUnit {
    fn new() -> Self {
        Self {
            address: None,
            contacts: Vec::new(),
            failures: counters::Failures::default(),
            backoff: Backoff::outward(),
        }
    }

    fn is_living(&self) -> bool {
        self.address.as_ref().is_some_and(Addr::connected)
    }
}

/// A session as the registry sees it.
struct SessionUnit {
    address: Option<Addr<Session>>,
    state: SessionState,
    waits: Waits,
    user_id: Option<i64>,
    backoff: Backoff,
    /// It is off, and stays for its calls alone.
    is_leaving: bool,
    /// What it knew cannot be read, and it does not start before it can.
    is_unreadable: bool,
}

impl SessionUnit {
    fn new() -> Self {
        Self {
            address: None,
            state: SessionState::Offline,
            waits: Waits::default(),
            user_id: None,
            backoff: Backoff::outward(),
            is_leaving: false,
            is_unreadable: false,
        }
    }

    fn is_living(&self) -> bool {
        self.address.as_ref().is_some_and(Addr::connected)
    }
}

/// A living call.
struct CallUnit {
    address: Addr<Call>,
    held: Held,
}

/// What the registry looks at when it decides.
struct Known {
    trunks: HashMap<TrunkName, TrunkUnit>,
    sessions: HashMap<SessionName, SessionUnit>,
    calls: HashMap<CallId, CallUnit>,
    /// How many calls were given to sessions, and the number of the last one of each.
    given: u64,
    last_used: HashMap<SessionName, u64>,
    /// Which session a person was called by last.
    called_by: HashMap<Peer, SessionName>,
    /// The process has just begun, so that sessions may not be up yet.
    is_young: bool,
}

impl Known {
    /// Remembers which session is given a call to whom.
    fn give(&mut self, session: &SessionName, peer: &Peer) {
        self.given += 1;
        self.last_used.insert(session.clone(), self.given);
        if self.called_by.len() >= REMEMBERED {
            self.called_by.clear();
        }
        self.called_by.insert(peer.clone(), session.clone());
    }
}

impl World for Known {
    fn is_reachable(&self, trunk: &TrunkName) -> bool {
        self.trunks
            .get(trunk)
            .is_some_and(|unit| !unit.contacts.is_empty())
    }

    fn is_blocked(&self, trunk: &TrunkName) -> bool {
        let unit = self.trunks.get(trunk);
        unit.is_some_and(|unit| unit.failures.is_blocked())
    }

    fn session_state(&self, session: &SessionName) -> SessionState {
        self.sessions
            .get(session)
            .map_or(SessionState::Offline, |unit| unit.state)
    }

    fn is_starting(&self, session: &SessionName) -> bool {
        // Its user id is known from the first time that it is up.
        let unit = self.sessions.get(session);
        self.is_young && unit.is_some_and(|unit| unit.user_id.is_none())
    }

    fn calls_of(&self, session: &SessionName) -> u32 {
        let calls = self.calls.values();
        let own = calls.filter(|call| call.held.session.as_ref() == Some(session));
        u32::try_from(own.count()).unwrap_or(u32::MAX)
    }

    fn is_talking(&self, session: &SessionName, peer: &Peer) -> bool {
        self.calls.values().any(|call| {
            call.held.session.as_ref() == Some(session) && call.held.peer.as_ref() == Some(peer)
        })
    }

    fn last_used(&self, session: &SessionName) -> u64 {
        self.last_used.get(session).copied().unwrap_or_default()
    }

    fn knows(&self, session: &SessionName, peer: &Peer) -> bool {
        self.called_by.get(peer) == Some(session)
    }

    fn is_unreadable(&self, session: &SessionName) -> bool {
        let unit = self.sessions.get(session);
        unit.is_some_and(|unit| unit.is_unreadable)
    }

    fn is_own_account(&self, user_id: i64) -> bool {
        self.sessions
            .values()
            .any(|unit| unit.user_id == Some(user_id))
    }
}

/// The registry.
pub(crate) struct Registry {
    common: Common,
    table: Arc<Table>,
    known: Known,
    lines: Lines,
    counters: counters::Counters,
    /// Texts on their way to PBXs.
    texts: usize,
    draining: bool,
    /// Not the first incarnation of this process, and not told yet by all who live.
    calling_roll: bool,
    rng: SmallRng,
    watch: Watch,
}

impl Registry {
    pub(crate) fn new(common: Common, table: Arc<Table>, reborn: bool, watch: Watch) -> Self {
        let trunks = table.trunks();
        let trunks = trunks.map(|trunk| (trunk.name.clone(), TrunkUnit::new()));
        let sessions = table
            .sessions()
            .filter(|session| session.enabled)
            .map(|session| (session.name.clone(), SessionUnit::new()));
        let known = Known {
            trunks: trunks.collect(),
            sessions: sessions.collect(),
            calls: HashMap::new(),
            given: 0,
            last_used: HashMap::new(),
            called_by: HashMap::new(),
            is_young: !reborn,
        };
        Self {
            table,
            known,
            lines: Lines::default(),
            counters: counters::Counters::default(),
            texts: 0,
            // The one before may have died while calls ended.
            draining: !common.is_open(),
            calling_roll: reborn,
            rng: SmallRng::seed_from_u64(rand::random()),
            common,
            watch,
        }
    }

    fn start_missing(&mut self, ctx: &mut Context<Self>) {
        // Who lived through a change of its record while there was no registry has not heard of it.
        if std::mem::take(&mut self.calling_roll) {
            self.revise_all();
        }
        let trunks: Vec<_> = self
            .known
            .trunks
            .iter()
            .filter(|(_, unit)| unit.address.is_none())
            .map(|(name, _)| name.clone())
            .collect();
        for trunk in trunks {
            self.start_trunk(trunk, ctx);
        }
        let sessions: Vec<_> = self
            .known
            .sessions
            .iter()
            .filter(|(_, unit)| unit.address.is_none())
            .map(|(name, _)| name.clone())
            .collect();
        for session in sessions {
            self.start_session(session, ctx);
        }
    }

    /// Starts a trunk with the bindings it had.
    fn start_trunk(&self, name: TrunkName, ctx: &mut Context<Self>) {
        let Some(kind) = self.is_on(&name).map(|spec| spec.kind.clone()) else {
            return;
        };
        let keeper = self.common.keeper.open();
        let trunk = name.clone();
        let kept = async move {
            let keeper = keeper?;
            keeper.send(LoadBindings { trunk }).await.ok().flatten()
        };
        ctx.spawn(kept.into_actor(self).map(move |kept, registry, _| {
            // Its record may have changed meanwhile, and another start may have been faster.
            let Some(spec) = registry.is_on(&name).cloned() else {
                return;
            };
            let unit = registry.known.trunks.get(&name);
            if unit.is_none_or(TrunkUnit::is_living) {
                return;
            }
            let watch = registry.watch(Unit::Trunk(name.clone()));
            let kept = kept.filter(|_| spec.kind == kind);
            let trunk = Trunk::new(registry.common.clone(), spec, kept.as_deref(), watch).start();
            if let Some(unit) = registry.known.trunks.get_mut(&name) {
                unit.address = Some(trunk);
            }
        }));
    }

    /// The record of a trunk that is on.
    fn is_on(&self, name: &TrunkName) -> Option<&TrunkSpec> {
        self.table.trunk(name).filter(|trunk| trunk.enabled)
    }

    /// Starts a session with what it knew, the limits above all: without them a restart would forget what Telegram ordered, so that it waits for the
    /// keeper.
    fn start_session(&mut self, name: SessionName, ctx: &mut Context<Self>) {
        let (mut door, session) = (self.common.keeper.clone(), name.clone());
        let kept = async move {
            loop {
                let keeper = match door.open() {
                    Some(keeper) => keeper,
                    None => door.next().await?,
                };
                let session = session.clone();
                // A keeper that dies is replaced, and asked again.
                if let Ok(kept) = keeper.send(LoadSession { session }).await {
                    return Some(kept);
                }
                tokio::time::sleep(ASK_AGAIN).await;
            }
        };
        ctx.spawn(kept.into_actor(self).map(move |kept, registry, ctx| {
            if registry.must_wait(&name, kept.as_ref(), ctx) {
                return;
            }
            let Some(spec) = registry.table.session(&name).cloned() else {
                return;
            };
            let Some(link) = registry.common.sessions.get(&name) else {
                return;
            };
            let unit = registry.known.sessions.get(&name);
            if unit.is_none_or(SessionUnit::is_living) {
                return;
            }
            let parts = SessionParts {
                spec,
                client: Arc::clone(&link.client),
                kept: kept.unwrap_or_default(),
                watch: registry.watch(Unit::Session(name.clone())),
            };
            let session = Session::new(registry.common.clone(), parts).start();
            link.door.publish(session.clone());
            if let Some(unit) = registry.known.sessions.get_mut(&name) {
                unit.address = Some(session);
            }
        }));
    }

    fn watch(&self, who: Unit) -> Watch {
        Watch::new(
            who,
            Parent::Registry(self.common.registry.clone()),
            self.common.metrics.clone(),
        )
    }

    fn count_lines(&self, trunk: &TrunkName) {
        self.common
            .metrics
            .trunk_lines_in_use(trunk, self.lines.trunk_in_use(trunk));
    }
}

crate::supervise::watched!(Registry);

impl Actor for Registry {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(1024);
        crate::supervise::probe(ctx);
        self.load_counters(ctx);
        if self.calling_roll {
            ctx.run_later(ROLL_CALL, Self::start_missing);
        } else {
            self.start_missing(ctx);
            ctx.run_later(YOUTH, |registry, _| registry.known.is_young = false);
        }
    }
}

// ---------------------------------------------------------------- requests of the PBX

impl Registry {
    fn refuse(&self, tx: ServerKey, request: &Request, cause: &Cause, trusted: bool) {
        self.common.refuse(tx, request, cause, trusted);
    }

    /// Decides, takes the lines and starts the call, or says why not.
    fn route_invite(
        &mut self,
        trunk: &TrunkSpec,
        invite: InviteArrived,
        ctx: &mut Context<Self>,
    ) -> Result<(), Cause> {
        let request_user = invite.request.uri.user().unwrap_or_default().into_owned();
        let to_user = user_of(invite.request.headers.to());
        let offer = SipOffer {
            trunk,
            source: invite.source.address,
            request_user: &request_user,
            to_user: &to_user,
        };
        if offer.is_transit(&self.table) {
            let to = routing::decide_transit(&self.table, &self.known, &offer)?;
            return self.route_transit(trunk, invite, to, ctx);
        }
        let to = routing::decide_sip(&self.table, &self.known, &offer)?;
        let user = self.user_of(&to.peer);
        let user = user.as_ref();
        let known = user.map(|user| &user.name);
        let subjects = self.subjects_with(Some(&trunk.name), Some(&to.session.name), known);
        self.admit(&subjects)?;
        let id = crate::house::call_id();
        let opened = self
            .lines
            .open(id, Some(&to.session.name), to.session.lines);
        let taken = opened.and_then(|()| self.lines.take(id, &trunk.name, trunk.lines));
        taken.map_err(|full| {
            self.lines.release(id);
            self.no_line(&trunk.name, full)
        })?;
        self.take_user(id, user)
            .inspect_err(|_| self.never_began(id, ctx))?;
        self.known.give(&to.session.name, &to.peer);
        let from = user_of(sip::identity::caller(&invite.request.headers));
        let held = Held {
            direction: Direction::SipToTg,
            trunk: trunk.name.clone(),
            lines: vec![trunk.name.clone()],
            session: Some(to.session.name.clone()),
            peer: Some(to.peer.clone()),
            user: known.cloned(),
        };
        let dialled = to.peer.to_string();
        self.counters.quotas.begin(id, subjects);
        let plan = Plan::ToTelegram {
            trunk: Box::new(trunk.clone()),
            invite: Box::new(invite),
            peer: to.peer,
        };
        self.start_call(id, held, plan, from, dialled, ctx);
        Ok(())
    }

    fn no_line(&self, trunk: &TrunkName, full: Full) -> Cause {
        if full == Full::Trunk {
            self.common.metrics.trunk_lines_rejected(trunk);
        }
        Cause::new(Reason::LinesLimit)
    }

    fn start_call(
        &mut self,
        id: CallId,
        held: Held,
        plan: Plan,
        from: String,
        to: String,
        ctx: &mut Context<Self>,
    ) {
        let session = match &held.session {
            Some(session) => match self.common.sessions.get(session) {
                Some(link) => Some(link.door.door()),
                None => return self.never_began(id, ctx),
            },
            None => None,
        };
        let spec = CallSpec {
            rule: self.rule_of(&held, &plan),
            id,
            watch: self.watch(Unit::Call(id)),
            held: held.clone(),
            plan,
            session,
            from,
            to,
        };
        tracing::info!(call = %id, trunk = %held.trunk, session = held.session_name(), direction = held.direction.label(), "call begins");
        let address = Call::new(self.common.clone(), spec).start();
        for trunk in &held.lines {
            self.count_lines(trunk);
        }
        self.known.calls.insert(id, CallUnit { address, held });
    }
}

/// The user part of an address, percent-decoded; empty without one.
fn user_of(address: Option<NameAddr>) -> String {
    let user = address.and_then(|address| address.uri.user().map(Cow::into_owned));
    user.unwrap_or_default()
}

impl Handler<InviteArrived> for Registry {
    type Result = ();

    fn handle(&mut self, invite: InviteArrived, ctx: &mut Self::Context) {
        self.watch.handled();
        let (tx, source, request) = (invite.tx, invite.source, Arc::clone(&invite.request));
        if self.draining {
            let cause = Cause::new(Reason::WorkerNotReady).with_retry_after(COME_BACK);
            self.refuse(tx, &request, &cause, false);
            return;
        }
        let Some(trunk) = self.table.trunk(&invite.from).cloned() else {
            return;
        };
        if trunk.refer && request.headers.has(&HeaderName::Replaces) {
            self.replace(trunk, invite);
            return;
        }
        let offer = SipOffer {
            trunk: &trunk,
            source: source.address,
            request_user: &request.uri.user().unwrap_or_default(),
            to_user: &user_of(request.headers.to()),
        };
        let direction = if offer.is_transit(&self.table) {
            Direction::SipToSip
        } else {
            Direction::SipToTg
        };
        self.common.metrics.call_attempt(direction, &trunk.name);
        if let Err(cause) = self.route_invite(&trunk, invite, ctx) {
            tracing::info!(trunk = %trunk.name, %source, %cause, "a call is refused");
            let session = self
                .table
                .session_of(&trunk.name)
                .filter(|_| direction == Direction::SipToTg);
            if let Some(session) = session.filter(|_| cause.reason() == Reason::PeerFlood) {
                let metrics = &self.common.metrics;
                metrics.local_refusal(&session.name, "call", LocalRefusal::Restricted);
            }
            let attempt = offer::Attempt {
                direction,
                trunk: &trunk.name,
                session: session.map_or_else(String::new, |session| session.name.to_string()),
                from: user_of(sip::identity::caller(&request.headers)),
                to: request.uri.user().unwrap_or_default().into_owned(),
                details: offer::of_invite(&request, source),
            };
            self.refused_attempt(attempt, &cause);
            self.refuse(tx, &request, &cause, true);
        }
    }
}

impl Handler<RegisterArrived> for Registry {
    type Result = ();

    fn handle(&mut self, register: RegisterArrived, _: &mut Self::Context) {
        self.watch.handled();
        let tx = register.tx;
        let Some(trunk) = self.table.trunk(&register.from).cloned() else {
            return;
        };
        let admitted = routing::admit_register(&self.table, &self.known, &trunk);
        if let Err(cause) = admitted.and_then(|()| self.can_keep(&trunk.name)) {
            self.refuse(tx, &register.request, &cause, true);
            return;
        }
        let unit = self
            .known
            .trunks
            .get(&trunk.name)
            .and_then(|unit| unit.address.as_ref());
        let request = Arc::clone(&register.request);
        if unit.is_none_or(|trunk| trunk.try_send(register).is_err()) {
            self.common.metrics.mailbox_full("trunk");
            let cause = Cause::new(Reason::WorkerNotReady).with_retry_after(COME_BACK);
            self.refuse(tx, &request, &cause, true);
        }
    }
}

// ---------------------------------------------------------------- the house

impl Handler<Inspect> for Registry {
    type Result = MessageResult<Inspect>;

    fn handle(&mut self, _: Inspect, _: &mut Self::Context) -> Self::Result {
        self.watch.handled();
        let mut missing = Vec::new();
        for (name, unit) in &self.known.trunks {
            if unit.address.is_none() && self.table.trunk(name).is_some_and(|trunk| trunk.enabled) {
                missing.push(format!("trunk {name} has not started"));
            }
        }
        let staying = self.known.sessions.iter();
        for (name, unit) in staying.filter(|(_, unit)| !unit.is_leaving) {
            match unit.state {
                // A session that waits for Telegram or for its owner has started all the same; it has a state of its own in the metrics.
                SessionState::Running
                | SessionState::FloodWait
                | SessionState::Restricted
                | SessionState::Unauthorized => {}
                SessionState::Offline | SessionState::Connecting => {
                    missing.push(format!("session {name} is {}", unit.state.label()));
                }
            }
        }
        if self.draining {
            missing.push("the switch is stopping".to_owned());
        }
        if self.calling_roll {
            missing.push(CALLING_ROLL.to_owned());
        }
        missing.sort();
        let (session_lines, user_lines) = self.lines.beside_trunks();
        MessageResult(Report {
            session_lines,
            user_lines,
            missing,
            stores: true,
            calls: self.known.calls.len(),
            lines: self.lines.calls(),
            trunk_lines: self.lines.of_trunks(),
            roles: self.roles(),
        })
    }
}

impl Handler<ListSessions> for Registry {
    type Result = MessageResult<ListSessions>;

    fn handle(&mut self, _: ListSessions, _: &mut Self::Context) -> Self::Result {
        self.watch.handled();
        let report = |spec: &SessionSpec| {
            let unit = self.known.sessions.get(&spec.name);
            let (state, waits) = unit.map_or((SessionState::Offline, Waits::default()), |unit| {
                (unit.state, unit.waits)
            });
            let trunks = self.table.trunks_of(&spec.name).cloned().collect();
            SessionReport::new(spec.clone(), trunks, state, waits)
        };
        let mut sessions: Vec<_> = self.table.sessions().map(report).collect();
        sessions.sort_by(|a, b| a.spec.name.cmp(&b.spec.name));
        MessageResult(sessions)
    }
}

impl Registry {
    /// Ends our registrations at PBXs; once more does no harm.
    fn leave_pbxs(&self) {
        let trunks = self.known.trunks.values();
        for trunk in trunks.filter_map(|unit| unit.address.as_ref()) {
            trunk.do_send(Leave);
        }
    }
}

impl Handler<Drain> for Registry {
    type Result = ();

    fn handle(&mut self, _: Drain, _: &mut Self::Context) {
        self.watch.handled();
        // PBXs that we are registered at call elsewhere from now on; calls that are up go on.
        if !std::mem::replace(&mut self.draining, true) {
            self.leave_pbxs();
        }
    }
}

impl Handler<EndAll> for Registry {
    type Result = ();

    fn handle(&mut self, _: EndAll, _: &mut Self::Context) {
        self.watch.handled();
        self.leave_pbxs();
        for call in self.known.calls.values() {
            call.address.do_send(EndCall {
                cause: Cause::new(Reason::WorkerNotReady),
            });
        }
    }
}
