//! A Telegram session: carries out the requests of its legs and sorts what the account receives.
//!
//! Owns the account's state, who its peers are, and which leg a phone call belongs to. The connection itself lives in `net`
//! and survives this actor; legs bind again to the next incarnation. Its death ends no call.

mod bridge;
mod inline;
mod limits;
mod numbers;
mod people;
mod ready;
mod strays;
mod texts;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{
    Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, Recipient, SpawnHandle,
    WrapFuture,
};
use grammers_tl_types as tl;
use model::{Cause, Peer, Reason, Secret, SessionSpec};
use net::telegram::{Event, Telegram};
use routing::{Found, Group, Limiter, Paces, Peers, SessionState};
use telegram::{Reply, Rpc, RpcError};

use crate::endpoint::MANAGER_TIMEOUT;
use crate::house::Common;
use crate::message::{
    BindCall, CallOffered, CallUpdated, DeclineCall, Done, FromTelegram, Invoke, KeptSession,
    KnownDh, Retire, Revise, SessionChanged, UnbindCall,
};
use crate::supervise::{Watch, at_each_return};
pub use limits::{LIMITS, kept_limits};
use limits::{group, ordered_before};
pub(crate) use numbers::WISHES;
pub(crate) use people::LOOK_UPS;
use ready::Ready;
use strays::{Requested, Strays};

/// Updates of phone calls that no leg has claimed yet: a few calls, a few dozen packets each.
const UNCLAIMED_CALLS: usize = 64;
const UNCLAIMED_UPDATES: usize = 256;
/// Nobody claims a phone call this late.
const UNCLAIMED_FOR: Duration = Duration::from_secs(30);
/// Phone calls whose request was seen, so that a repetition does not ring twice.
const SEEN_CALLS: usize = 1024;
/// Texts that were written longer ago than this came with the difference after a reconnection, and mean nothing any more.
const TEXT_AGE: Duration = Duration::from_secs(60);
/// The same of keys.
const KEY_AGE: Duration = Duration::from_secs(30);

/// How old the state shown can be when the clock was set meanwhile.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// How often, and how far apart, a call that nobody owns is discarded while there is no answer; each attempt waits for as long as a
/// telephone rings.
const STRAY_TRIES: u32 = 2;
const STRAY_PAUSE: Duration = Duration::from_secs(2);
/// How long an account counts as full when it is not clear which call fills it: one of another device ends unseen.
const OCCUPIED_FOR: Duration = Duration::from_secs(30);
/// How old the account's contacts may be when it connects again.
const CONTACTS_FOR: Duration = Duration::from_secs(3600);
/// Between two questions who we are, while there is no answer.
const GREET_AGAIN: Duration = Duration::from_secs(2);

/// What a session is made from.
pub(crate) struct SessionParts {
    pub(crate) spec: SessionSpec,
    pub(crate) client: Arc<dyn Telegram>,
    /// What an earlier incarnation knew, or an earlier process.
    pub(crate) kept: KeptSession,
    pub(crate) watch: Watch,
}

/// Telegram takes no further call for this account (CALL_OCCUPY_FAILED).
struct Occupied {
    since: Instant,
    /// The call that it did not take; its end frees nothing.
    refused: Option<i64>,
}

/// The leg of a phone call.
struct Bound {
    leg: Recipient<CallUpdated>,
    user_id: Option<i64>,
    since: Instant,
}

/// The session.
pub(crate) struct Session {
    common: Common,
    spec: SessionSpec,
    client: Arc<dyn Telegram>,
    /// How the connection is: [`SessionState::Running`] whatever it waits for.
    link: SessionState,
    /// What was told last: the same with the waits.
    state: SessionState,
    limiter: Limiter,
    paces: Paces,
    /// Looks again when a wait is over.
    wake: Option<SpawnHandle>,
    user_id: Option<i64>,
    timers: telegram::Timers,
    dh: Option<telegram::dh::DhConfig>,
    /// What the next call to be placed needs of Telegram, fetched before it is wanted.
    ready: Ready,
    legs: HashMap<i64, Bound>,
    unclaimed: HashMap<i64, (Instant, Vec<CallUpdated>)>,
    /// Telegram has said that the account holds as many calls as it can.
    occupied: Option<Occupied>,
    /// Calls that nobody here owns, though a phone may ring.
    strays: Strays,
    seen: VecDeque<i64>,
    users: HashMap<i64, telegram::User>,
    looked_up: Peers,
    /// Who is in the account's contacts, by number and by username: they need not be looked up.
    contacts: HashMap<Peer, Found>,
    /// When they were asked for.
    contacts_at: Option<Instant>,
    /// What is written of earlier look-ups, until the session starts.
    kept: Vec<Vec<u8>>,
    /// The same of numbers that were written.
    kept_wishes: Vec<Vec<u8>>,
    written: texts::Written,
    /// How often people write what is to be read.
    readings: numbers::Readings,
    /// Numbers that are dialled when those call who wrote them.
    wishes: numbers::Wishes,
    /// The bot that is asked about what people write.
    bot: inline::Bot,
    watch: Watch,
}

impl Session {
    pub(crate) fn new(common: Common, parts: SessionParts) -> Self {
        let paces = common.settings.telegram.paces;
        Self {
            common,
            spec: parts.spec,
            client: parts.client,
            link: SessionState::Connecting,
            state: SessionState::Connecting,
            limiter: parts
                .kept
                .limits
                .as_deref()
                .map(kept_limits)
                .unwrap_or_default(),
            paces,
            wake: None,
            user_id: None,
            timers: telegram::Timers::default(),
            dh: None,
            ready: Ready::default(),
            legs: HashMap::new(),
            unclaimed: HashMap::new(),
            strays: Strays::default(),
            occupied: None,
            seen: VecDeque::new(),
            users: HashMap::new(),
            looked_up: Peers::default(),
            contacts: HashMap::new(),
            contacts_at: None,
            kept: parts.kept.look_ups,
            kept_wishes: parts.kept.wishes,
            written: texts::Written::default(),
            readings: numbers::Readings::default(),
            wishes: numbers::Wishes::default(),
            bot: inline::Bot::default(),
            watch: parts.watch,
        }
    }

    /// Carries out a request, notes how it went, and hands the result on.
    fn ask(
        &self,
        rpc: Rpc,
        ctx: &mut Context<Self>,
        then: impl FnOnce(&mut Self, Result<Reply, RpcError>, &mut Context<Self>) + 'static,
    ) {
        let (client, manner, begun) = (Arc::clone(&self.client), rpc.manner(), Instant::now());
        let group = manner.concern.map(group);
        let work = async move { client.invoke(rpc).await };
        let noted = work
            .into_actor(self)
            .then(move |result, session: &mut Self, ctx| {
                session.account(manner.method, &result, begun.elapsed());
                // What Telegram ordered is on disk before anybody hears of it.
                let is_ordered = session.obey(group, &result, ctx);
                let kept = is_ordered.then(|| session.keep());
                let kept = async move {
                    if let Some(kept) = kept {
                        kept.await;
                    }
                    result
                };
                kept.into_actor(session)
            });
        ctx.spawn(noted.map(move |result, session, ctx| then(session, result, ctx)));
    }

    fn account(&mut self, method: &'static str, result: &Result<Reply, RpcError>, took: Duration) {
        let (outcome, error) = match result {
            Ok(_) => (metrics::RpcResult::Ok, None),
            Err(RpcError::TimedOut) => (metrics::RpcResult::Timeout, None),
            Err(RpcError::Connection) => (metrics::RpcResult::Error, None),
            Err(error @ RpcError::Rpc { .. }) => {
                let (name, _) = error.name_and_number().unwrap_or(("", None));
                if let Some(wait) = telegram::error::flood_wait(error) {
                    self.common
                        .metrics
                        .flood_wait(&self.spec.name, method, wait);
                    (metrics::RpcResult::Flood, Some(name.to_owned()))
                } else {
                    (metrics::RpcResult::Error, Some(name.to_owned()))
                }
            }
        };
        self.common
            .metrics
            .rpc(&self.spec.name, method, outcome, error.as_deref(), took);
    }

    fn set_link(&mut self, link: SessionState, ctx: &mut Context<Self>) {
        self.link = link;
        self.refresh(ctx);
    }

    /// Tells the state, and looks again when it ends by itself.
    fn refresh(&mut self, ctx: &mut Context<Self>) {
        let now = crate::house::steady_millis();
        let waits = self.limiter.waits(now);
        let state = self.link.with(&waits);
        if self.state != state {
            tracing::info!(session = %self.spec.name, from = ?self.state, to = ?state, "session state");
        }
        self.state = state;
        let (metrics, name) = (&self.common.metrics, &self.spec.name);
        metrics.session_state(name, metrics::SessionState(state.label()));
        metrics.waits(name, waits.flood_until(), waits.restricted_until);
        self.tell(ctx);
        if let Some(wake) = self.wake.take() {
            ctx.cancel_future(wake);
        }
        if let Some(left) = self.limiter.next_end(now) {
            self.wake = Some(ctx.run_later(left.min(LOOK_AGAIN), Self::refresh));
        }
    }

    fn tell(&self, ctx: &mut Context<Self>) {
        self.common.to_registry(SessionChanged {
            session: self.spec.name.clone(),
            address: ctx.address(),
            state: self.state,
            waits: self.limiter.waits(crate::house::steady_millis()),
            user_id: self.user_id,
        });
    }

    /// Learns what every new connection must know: who we are, and how long to wait for what.
    fn greet(&mut self, ctx: &mut Context<Self>) {
        self.ask(Rpc::GetSelf, ctx, |session, result, ctx| match result {
            Ok(Reply::User(user)) => {
                session.user_id = Some(user.id);
                session.set_link(SessionState::Running, ctx);
                session.make_ready(ctx);
            }
            Ok(_) => {}
            Err(error) if telegram::error::is_unauthorized(&error) => {
                session.set_link(SessionState::Unauthorized, ctx);
            }
            // Somebody has to log it in; asking on and on does not help.
            Err(_) if session.link == SessionState::Unauthorized => {}
            Err(error) => {
                tracing::warn!(session = %session.spec.name, %error, "the account does not answer");
                let wait = telegram::error::flood_wait(&error).unwrap_or_default();
                ctx.run_later(wait.clamp(GREET_AGAIN, UNCLAIMED_FOR), Self::greet);
            }
        });
        self.ask(Rpc::GetConfig, ctx, |session, result, _| {
            if let Ok(Reply::Config(config)) = result {
                session.timers = telegram::Timers::from(&*config);
            }
        });
        let is_old = |at: Instant| at.elapsed() > CONTACTS_FOR;
        if self.contacts_at.is_none_or(is_old) {
            self.contacts_at = Some(Instant::now());
            self.ask(Rpc::GetContacts, ctx, |session, result, _| match result {
                Ok(Reply::Contacts(users)) => session.know(users),
                Ok(_) | Err(_) => session.contacts_at = None,
            });
        }
    }

    fn call_settings(&self) -> telegram::CallSettings {
        let settings = &self.common.settings.telegram;
        telegram::CallSettings {
            library_versions: settings.library_versions.clone(),
            timers: self.timers,
            p2p: settings.p2p,
            dh: self.dh.clone(),
            random: None,
        }
    }
}

crate::supervise::watched!(Session);

impl Actor for Session {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(1024);
        crate::supervise::probe(ctx);
        self.remember();
        let wishes = std::mem::take(&mut self.kept_wishes);
        self.remember_wishes(wishes);
        self.set_link(SessionState::Connecting, ctx);
        self.greet(ctx);
        // A registry that was restarted knows nothing of this session until it is told.
        at_each_return(ctx, &self.common.registry, |session, ctx| session.tell(ctx));
        ctx.run_interval(UNCLAIMED_FOR, |session, ctx| {
            session.make_ready(ctx);
            let now = Instant::now();
            session
                .unclaimed
                .retain(|_, (since, _)| now.duration_since(*since) < UNCLAIMED_FOR);
        });
    }
}

impl Handler<FromTelegram> for Session {
    type Result = ();

    fn handle(&mut self, FromTelegram(event): FromTelegram, ctx: &mut Self::Context) {
        self.watch.handled();
        match event {
            Event::PhoneCall(call) => {
                self.common.metrics.update("phone_call");
                self.phone_call(*call, ctx);
            }
            Event::Signaling {
                phone_call_id,
                data,
            } => {
                self.common.metrics.update("signaling");
                self.update(phone_call_id, CallUpdated::Signaling(data));
            }
            Event::Text {
                user_id,
                date,
                text,
            } => {
                self.common.metrics.update("message");
                self.wrote(user_id, date, text.expose(), ctx);
            }
            Event::Attachment {
                user_id,
                date,
                line,
            } => {
                self.common.metrics.update("message");
                self.attached(user_id, date, line);
            }
            Event::Users(users) => self.meet(users),
            Event::Connected => self.greet(ctx),
            Event::Disconnected => {
                self.common.metrics.reconnected(&self.spec.name);
                if self.link != SessionState::Unauthorized {
                    self.set_link(SessionState::Offline, ctx);
                }
            }
            Event::Unauthorized { error } => {
                tracing::error!(session = %self.spec.name, error, "the account is logged out: log it in again with `strowger session login`");
                self.set_link(SessionState::Unauthorized, ctx);
            }
        }
    }
}

impl Session {
    /// What somebody writes during a call with us belongs to that call; of several, to the last. Who is in no call may be answered,
    /// or have written a number.
    fn wrote(&mut self, user_id: i64, date: i32, text: &str, ctx: &mut Context<Self>) {
        let Some(age) = self.age(date) else { return };
        let calls = self.legs.values();
        let his = calls.filter(|bound| bound.user_id == Some(user_id));
        let Some(bound) = his.max_by_key(|bound| bound.since) else {
            return self.read(user_id, text, ctx);
        };
        if age <= KEY_AGE.as_secs() {
            let text = Secret::new(text.to_owned());
            bound.leg.do_send(CallUpdated::Text(text));
        }
        // What is for the PBX gets there during a call too.
        if self.spec.text_bridge && model::Key::read(text).is_none() {
            self.read(user_id, text, ctx);
        }
    }

    /// How many seconds ago somebody wrote; nothing when that was too long ago.
    fn age(&self, date: i32) -> Option<u64> {
        let age = crate::house::unix_seconds().saturating_sub(u64::try_from(date).unwrap_or(0));
        if age > TEXT_AGE.as_secs() {
            tracing::debug!(session = %self.spec.name, age, "a text came too late to mean anything");
            return None;
        }
        Some(age)
    }

    fn phone_call(&mut self, call: tl::enums::PhoneCall, ctx: &mut Context<Self>) {
        let id = phone_call_id(&call);
        if !self.legs.contains_key(&id)
            && let Some((user_id, peer)) = self.placed(&call)
            && self.strays.is_stray(Instant::now(), user_id, id)
        {
            self.strays.own(id);
            self.discard_stray(peer, STRAY_TRIES, ctx);
            return;
        }
        match call {
            tl::enums::PhoneCall::Requested(requested) if !self.legs.contains_key(&id) => {
                self.offered(requested, ctx)
            }
            call => self.update(id, CallUpdated::State(Box::new(call))),
        }
    }

    /// Hands an update to the leg of its call, or keeps it for a leg that is about to come.
    fn update(&mut self, id: i64, update: CallUpdated) {
        if let Some(leg) = self.legs.get(&id) {
            leg.leg.do_send(update);
            return;
        }
        if self.unclaimed.len() >= UNCLAIMED_CALLS && !self.unclaimed.contains_key(&id) {
            return;
        }
        let (_, updates) = self
            .unclaimed
            .entry(id)
            .or_insert_with(|| (Instant::now(), Vec::new()));
        if updates.len() < UNCLAIMED_UPDATES {
            updates.push(update);
        }
    }

    /// Whom a call object of ours calls, and how it is discarded; nothing for calls that we do not place, or that are over.
    fn placed(&self, call: &tl::enums::PhoneCall) -> Option<(i64, tl::types::InputPhoneCall)> {
        let (id, access_hash, admin_id, user_id) = match call {
            tl::enums::PhoneCall::Waiting(call) => (
                call.id,
                call.access_hash,
                call.admin_id,
                call.participant_id,
            ),
            tl::enums::PhoneCall::Accepted(call) => (
                call.id,
                call.access_hash,
                call.admin_id,
                call.participant_id,
            ),
            tl::enums::PhoneCall::Empty(_)
            | tl::enums::PhoneCall::Requested(_)
            | tl::enums::PhoneCall::Call(_)
            | tl::enums::PhoneCall::Discarded(_) => return None,
        };
        let peer = tl::types::InputPhoneCall { id, access_hash };
        (self.user_id == Some(admin_id)).then_some((user_id, peer))
    }

    /// A request for a call has ended: what was heard meanwhile of calls that belong to nobody is ended.
    fn requested(
        &mut self,
        user_id: i64,
        result: &Result<Reply, RpcError>,
        ctx: &mut Context<Self>,
    ) {
        let requested = match result {
            Ok(Reply::PhoneCall(call)) => Requested::Made(phone_call_id(call)),
            Err(RpcError::TimedOut | RpcError::Connection) => Requested::Lost,
            // An earlier request, whose result went to nobody, was carried out.
            Err(error) if error.is("RANDOM_ID_DUPLICATE") => Requested::Lost,
            Ok(_) | Err(RpcError::Rpc { .. }) => Requested::Refused,
        };
        let now = Instant::now();
        self.strays.end(now, user_id, requested);
        let unclaimed = self.unclaimed.values().flat_map(|(_, updates)| updates);
        let placed = unclaimed.filter_map(|update| match update {
            CallUpdated::State(call) => self.placed(call),
            CallUpdated::Signaling(_) | CallUpdated::Text(_) => None,
        });
        let strays = placed
            .filter(|(user_id, peer)| self.strays.is_stray(now, *user_id, peer.id))
            .map(|(_, peer)| (peer.id, peer));
        let strays: HashMap<i64, tl::types::InputPhoneCall> = strays.collect();
        for (id, peer) in strays {
            self.unclaimed.remove(&id);
            self.strays.own(id);
            self.discard_stray(peer, STRAY_TRIES, ctx);
        }
    }

    /// Stops a phone from ringing for a call that nobody here knows.
    fn discard_stray(
        &mut self,
        peer: tl::types::InputPhoneCall,
        tries: u32,
        ctx: &mut Context<Self>,
    ) {
        tracing::warn!(session = %self.spec.name, call = peer.id, "a call that nobody here owns is ended");
        let rpc = Rpc::DiscardCall {
            peer: peer.clone(),
            duration: 0,
            reason: tl::enums::PhoneCallDiscardReason::Missed,
        };
        self.ask(rpc, ctx, move |_, result, ctx| {
            let is_lost = matches!(result, Err(RpcError::TimedOut | RpcError::Connection));
            if is_lost && tries > 1 {
                ctx.run_later(STRAY_PAUSE, move |session, ctx| {
                    session.discard_stray(peer, tries - 1, ctx);
                });
            }
        });
    }

    fn offered(&mut self, requested: tl::types::PhoneCallRequested, ctx: &mut Context<Self>) {
        // The difference after a reconnection repeats old requests.
        let stale =
            telegram::Incoming::is_stale(&requested, crate::house::unix_seconds(), &self.timers);
        if stale || self.seen.contains(&requested.id) {
            tracing::debug!(
                call = requested.id,
                "a repeated request for a call is ignored"
            );
            return;
        }
        if self.seen.len() >= SEEN_CALLS {
            self.seen.pop_front();
        }
        self.seen.push_back(requested.id);
        let mut caller = self.caller(requested.admin_id);
        let (username, phone) = (caller.username.as_deref(), caller.phone.as_deref());
        let callers = &self.spec.allowed_callers;
        if !callers.allow(caller.user_id, username, phone) {
            // Never rejected: it rings on the account's other devices.
            self.common.metrics.caller_left_alone(&self.spec.name);
            tracing::info!(session = %self.spec.name, caller = caller.user_id, "a call of somebody who may not call is left alone");
            return;
        }
        if self.is_occupied() {
            // Accepting it would fail: the caller hears at once that the account is busy.
            let peer = tl::types::InputPhoneCall {
                id: requested.id,
                access_hash: requested.access_hash,
            };
            let cause = Cause::new(Reason::LinesLimit);
            ctx.notify(DeclineCall {
                peer,
                user_id: requested.admin_id,
                cause,
            });
            return;
        }
        caller.dialled = self.take_wish(caller.user_id);
        let offered = CallOffered {
            session: self.spec.name.clone(),
            caller,
            requested: Box::new(requested),
            settings: Box::new(self.call_settings()),
        };
        self.offer(offered, ctx);
    }

    /// Offers a call to the registry, or to the next one when there is none. One that nobody takes is declined, instead of leaving the
    /// caller to wait for somebody who has never heard of him.
    fn offer(&self, offered: CallOffered, ctx: &mut Context<Self>) {
        let declined = DeclineCall {
            peer: tl::types::InputPhoneCall {
                id: offered.requested.id,
                access_hash: offered.requested.access_hash,
            },
            user_id: offered.caller.user_id,
            cause: Cause::new(Reason::NoResponseFromManager),
        };
        let mut door = self.common.registry.clone();
        let taken = async move {
            let registry = match door.open() {
                Some(registry) => Some(registry),
                None => door.next().await,
            };
            // It is not tried on the next one when it was in the hands of one that died.
            registry?.send(offered).await.ok()
        };
        let taken = async move { tokio::time::timeout(MANAGER_TIMEOUT, taken).await };
        ctx.spawn(taken.into_actor(self).map(|taken, _, ctx| {
            if !matches!(taken, Ok(Some(()))) {
                ctx.notify(declined);
            }
        }));
    }

    /// Whether Telegram would take no further call: until one of ours has ended, or for a while when none of ours can be what fills it.
    fn is_occupied(&self) -> bool {
        self.occupied.as_ref().is_some_and(|occupied| {
            let mut legs = self.legs.keys();
            let ours = legs.any(|id| occupied.refused != Some(*id));
            ours || occupied.since.elapsed() < OCCUPIED_FOR
        })
    }
}

impl Handler<Invoke> for Session {
    type Result = ();

    fn handle(&mut self, Invoke { key, rpc, answer }: Invoke, ctx: &mut Self::Context) {
        self.watch.handled();
        // Another call may have been told to wait since this one was let through.
        if let Some(leg) = answer
            .as_ref()
            .filter(|_| matches!(rpc, Rpc::RequestCall { .. }))
            && let Err(refused) = self
                .limiter
                .open(crate::house::steady_millis(), Group::Call)
        {
            let result = Err(ordered_before(refused));
            self.refused(Group::Call, refused);
            leg.do_send(Done { key, result });
            return;
        }
        let (takes, refused) = match &rpc {
            Rpc::RequestCall { .. } => (true, None),
            Rpc::AcceptCall { peer, .. } => (true, Some(peer.id)),
            _ => (false, None),
        };
        let called = match &rpc {
            Rpc::RequestCall { user, .. } => Some(user.user_id),
            _ => None,
        };
        if let Some(user_id) = called {
            self.strays.begin(user_id);
        }
        self.ask(rpc, ctx, move |session, result, ctx| {
            if takes
                && result
                    .as_ref()
                    .is_err_and(|error| error.is("CALL_OCCUPY_FAILED"))
            {
                tracing::warn!(session = %session.spec.name, "Telegram takes no further call for this account until one has ended");
                let since = Instant::now();
                session.occupied = Some(Occupied { since, refused });
            }
            if let Some(user_id) = called {
                session.called(user_id, &result);
                session.make_ready(ctx);
                session.requested(user_id, &result, ctx);
            }
            let Some(leg) = answer else { return };
            // A leg that has died meanwhile could not say what to discard.
            if called.is_some()
                && !leg.connected()
                && let Ok(Reply::PhoneCall(call)) = &result
                && let Some((_, peer)) = session.placed(call)
            {
                session.discard_stray(peer, STRAY_TRIES, ctx);
            }
            leg.do_send(Done { key, result });
        });
    }
}

impl Handler<BindCall> for Session {
    type Result = ();

    fn handle(&mut self, bind: BindCall, _: &mut Self::Context) {
        self.watch.handled();
        let BindCall {
            phone_call,
            user_id,
            leg,
        } = bind;
        for update in self
            .unclaimed
            .remove(&phone_call)
            .map(|(_, updates)| updates)
            .unwrap_or_default()
        {
            leg.do_send(update);
        }
        let since = Instant::now();
        let bound = Bound {
            leg,
            user_id,
            since,
        };
        self.legs.insert(phone_call, bound);
    }
}

impl Handler<UnbindCall> for Session {
    type Result = ();

    fn handle(&mut self, UnbindCall { phone_call }: UnbindCall, _: &mut Self::Context) {
        self.watch.handled();
        self.legs.remove(&phone_call);
        // One call less: there is room again.
        self.occupied
            .take_if(|occupied| occupied.refused != Some(phone_call));
    }
}

impl Handler<KnownDh> for Session {
    type Result = ();

    fn handle(&mut self, KnownDh(dh): KnownDh, _: &mut Self::Context) {
        self.watch.handled();
        self.dh = Some(dh);
    }
}

impl Handler<Revise<SessionSpec>> for Session {
    type Result = ();

    fn handle(&mut self, Revise(spec): Revise<SessionSpec>, _: &mut Self::Context) {
        self.watch.handled();
        self.spec = spec;
    }
}

impl Handler<Retire> for Session {
    type Result = ();

    fn handle(&mut self, _: Retire, ctx: &mut Self::Context) {
        self.watch.handled();
        self.watch.dismiss();
        let state = metrics::SessionState(SessionState::Offline.label());
        self.common.metrics.session_state(&self.spec.name, state);
        ctx.stop();
    }
}

/// The id of a call object of any kind.
fn phone_call_id(call: &tl::enums::PhoneCall) -> i64 {
    match call {
        tl::enums::PhoneCall::Empty(call) => call.id,
        tl::enums::PhoneCall::Waiting(call) => call.id,
        tl::enums::PhoneCall::Requested(call) => call.id,
        tl::enums::PhoneCall::Accepted(call) => call.id,
        tl::enums::PhoneCall::Call(call) => call.id,
        tl::enums::PhoneCall::Discarded(call) => call.id,
    }
}

impl Handler<DeclineCall> for Session {
    type Result = ();

    /// Nobody takes the call: the caller's app is told at once instead of ringing on.
    fn handle(&mut self, declined: DeclineCall, ctx: &mut Self::Context) {
        self.watch.handled();
        let DeclineCall {
            peer,
            user_id,
            cause,
        } = declined;
        self.notify(user_id, &cause, ctx);
        tracing::info!(session = %self.spec.name, cause = cause.brief(), "a Telegram call is declined");
        let reason = tl::enums::PhoneCallDiscardReason::Busy;
        self.ask(
            Rpc::DiscardCall {
                peer,
                duration: 0,
                reason,
            },
            ctx,
            |_, _, _| {},
        );
    }
}
