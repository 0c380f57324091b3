//! A Telegram session: carries out the requests of its legs and sorts what the account receives.
//!
//! Owns the account's state, who its peers are, and which leg a phone call belongs to. The connection itself lives in `net`
//! and survives this actor; legs bind again to the next incarnation. Its death ends no call.

mod texts;

mod strays;

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{
    Actor, ActorFutureExt, AsyncContext, Context, Handler, Recipient, SpawnHandle, WrapFuture,
};
use grammers_tl_types as tl;
use metrics::{LocalRefusal, ResolveResult, ResolveSource};
use model::{Cause, Key, Peer, Reason, SessionSpec};
use net::telegram::{Event, Telegram};
use routing::{Errand, Found, Group, Limiter, LookUp, Paces, Peers, Refused, SessionState};
use telegram::{Reply, Rpc, RpcError};

use crate::house::Common;
use crate::message::{
    BindCall, CallOffered, CallUpdated, Callee, Caller, DeclineCall, Done, FromTelegram, Invoke,
    KeptSession, KnownDh, Resolve, Resolved, SaveLimits, SaveLookUp, SessionChanged, UnbindCall,
};
use crate::supervise::Watch;
use strays::{Requested, Strays};

/// Updates of phone calls that no leg has claimed yet: a few calls, a few dozen packets each.
const UNCLAIMED_CALLS: usize = 64;
const UNCLAIMED_UPDATES: usize = 256;
/// Nobody claims a phone call this late.
const UNCLAIMED_FOR: Duration = Duration::from_secs(30);
/// Phone calls whose request was seen, so that a repetition does not ring twice.
const SEEN_CALLS: usize = 1024;
/// Keys that were written longer ago than this came with the difference after a reconnection, and mean nothing any more.
const TEXT_AGE: Duration = Duration::from_secs(30);
/// People met; the list begins anew when it is full, they are met again soon enough.
const KNOWN_USERS: usize = 10_000;

/// The key of the limits among what is kept of an account.
pub const LIMITS: &[u8] = b"limits";
/// The keys of the look-ups begin so.
pub(crate) const LOOK_UPS: &[u8] = b"look-up/";
/// How long a refusal waits for the disk to know of it.
const KEPT_WITHIN: Duration = Duration::from_secs(1);
/// How old a soft write of the keeper may be after a crash.
const SOFT: Duration = Duration::from_secs(1);
/// Between two tries to keep it.
const KEEP_AGAIN: Duration = Duration::from_millis(50);
/// How old the state shown can be when the clock was set meanwhile.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// How often, and how far apart, a call that nobody owns is discarded while there is no answer: as long as it can ring.
const STRAY_TRIES: u32 = 10;
const STRAY_PAUSE: Duration = Duration::from_secs(2);
/// How long an account counts as full when it is not clear which call fills it: one of another device ends unseen.
const OCCUPIED_FOR: Duration = Duration::from_secs(30);
/// How old the account's contacts may be when it connects again.
const CONTACTS_FOR: Duration = Duration::from_secs(3600);
/// Between two questions who we are, while there is no answer.
const GREET_AGAIN: Duration = Duration::from_secs(2);

/// Reads the limits of a session as the store has them; none if they cannot be read.
pub fn kept_limits(bytes: &[u8]) -> Limiter {
    serde_json::from_slice(bytes).unwrap_or_else(|error| {
        tracing::error!(%error, "the limits of a session cannot be read");
        Limiter::default()
    })
}

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
    written: texts::Written,
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
            written: texts::Written::default(),
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
        let (client, method, begun) = (
            Arc::clone(&self.client),
            net::telegram::method(&rpc),
            Instant::now(),
        );
        let group = group(&rpc);
        let work = async move { client.invoke(rpc).await };
        let noted = work
            .into_actor(self)
            .then(move |result, session: &mut Self, ctx| {
                session.account(method, &result, begun.elapsed());
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

    /// Notes what a result orders us to wait for; true if it does.
    fn obey(
        &mut self,
        group: Option<Group>,
        result: &Result<Reply, RpcError>,
        ctx: &mut Context<Self>,
    ) -> bool {
        let Err(error) = result else {
            return false;
        };
        let now = crate::house::unix_millis();
        if error.is("PEER_FLOOD") {
            tracing::error!(session = %self.spec.name, "Telegram limits the account for spam: it places no calls for a day");
            self.limiter.restrict(now);
        } else if let (Some(group), Some(wait)) = (group, telegram::error::flood_wait(error)) {
            tracing::warn!(session = %self.spec.name, ?group, ?wait, "Telegram orders a wait");
            self.limiter.flood_wait(now, group, wait);
        } else {
            return false;
        }
        self.refresh(ctx);
        true
    }

    /// Writes the limits down; ends when they are on disk, or when that takes too long.
    fn keep(&self) -> impl Future<Output = ()> + use<> {
        let (mut door, save) = (self.common.keeper.clone(), self.limits(true));
        let session = self.spec.name.clone();
        async move {
            let Some(SaveLimits { limits, .. }) = save else {
                return;
            };
            let name = session.clone();
            let written = async move {
                loop {
                    let keeper = match door.open() {
                        Some(keeper) => Some(keeper),
                        None => door.next().await,
                    };
                    let save = SaveLimits {
                        session: name.clone(),
                        limits: limits.clone(),
                        durable: true,
                    };
                    if let Some(keeper) = keeper
                        && keeper.send(save).await == Ok(true)
                    {
                        return;
                    }
                    tokio::time::sleep(KEEP_AGAIN).await;
                }
            };
            if tokio::time::timeout(KEPT_WITHIN, written).await.is_err() {
                tracing::error!(%session, "a wait that Telegram ordered is not on disk: a restart would forget it");
            }
        }
    }

    fn limits(&self, durable: bool) -> Option<SaveLimits> {
        let session = self.spec.name.clone();
        match serde_json::to_vec(&self.limiter) {
            Ok(limits) => Some(SaveLimits {
                session,
                limits,
                durable,
            }),
            Err(error) => {
                tracing::error!(%session, %error, "the limits of a session cannot be written");
                None
            }
        }
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
        let now = crate::house::unix_millis();
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
            waits: self.limiter.waits(crate::house::unix_millis()),
            user_id: self.user_id,
        });
    }

    /// Learns what every new connection must know: who we are, and how long to wait for what.
    fn greet(&mut self, ctx: &mut Context<Self>) {
        self.ask(Rpc::GetSelf, ctx, |session, result, ctx| match result {
            Ok(Reply::User(user)) => {
                session.user_id = Some(user.id);
                session.set_link(SessionState::Running, ctx);
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

    /// Takes over the account's contacts.
    fn know(&mut self, users: Vec<telegram::User>) {
        self.contacts.clear();
        for user in users.iter().take(KNOWN_USERS) {
            let Some(access_hash) = user
                .access_hash
                .filter(|_| !(user.is_self || user.is_bot || user.is_deleted))
            else {
                continue;
            };
            let found = Found::User {
                id: user.id,
                access_hash,
            };
            let phone = user.phone.as_ref().map(|phone| format!("+{phone}").parse());
            if let Some(Ok(number)) = phone {
                self.contacts.insert(Peer::Phone(number), found);
            }
            if let Some(name) = &user.username {
                let name = name.to_ascii_lowercase();
                self.contacts.insert(Peer::Username(name), found);
            }
        }
        self.meet(users);
    }

    /// Somebody who need not be looked up: a contact, or one who was found before.
    fn find(&self, peer: &Peer) -> Option<Found> {
        let contact = match peer {
            Peer::Username(name) => self
                .contacts
                .get(&Peer::Username(name.to_ascii_lowercase())),
            Peer::Phone(_) => self.contacts.get(peer),
            Peer::UserId(_) => None,
        };
        let found = || self.looked_up.find(crate::house::unix_millis(), peer);
        contact.copied().or_else(found)
    }

    fn call_settings(&self) -> telegram::CallSettings {
        let settings = &self.common.settings.telegram;
        telegram::CallSettings {
            library_versions: settings.library_versions.clone(),
            timers: self.timers,
            p2p: settings.p2p,
            dh: self.dh.clone(),
        }
    }

    /// Takes a token for an errand, or says why there is none.
    fn admit(&mut self, errand: Errand) -> Result<(), Cause> {
        let now = crate::house::unix_millis();
        self.limiter
            .take(now, &self.paces, errand)
            .map_err(|refused| self.refused(errand.group(), refused))?;
        self.note(errand);
        Ok(())
    }

    /// Gives a token back that was taken for what did not happen.
    fn give_back(&mut self, errand: Errand) {
        self.limiter.give_back(&self.paces, errand);
        self.note(errand);
    }

    /// Writes down what is left of a bucket; nobody waits for that. A pace at which tokens come faster than a write may be late
    /// is not worth the disk.
    fn note(&self, errand: Errand) {
        let pace = self.paces.of(errand);
        if !pace.interval.is_zero()
            && let Some(save) = self.limits(pace.interval > SOFT)
        {
            self.common.to_keeper(save);
        }
    }

    /// Counts what our own limiter refused; what the caller is told.
    fn refused(&self, group: Group, refused: Refused) -> Cause {
        let (why, cause) = match refused {
            Refused::Bucket(left) => (LocalRefusal::Bucket, Cause::flood_wait(seconds(left))),
            Refused::FloodWait(left) => (LocalRefusal::FloodWait, Cause::flood_wait(seconds(left))),
            Refused::Restricted(_) => (LocalRefusal::Restricted, Cause::new(Reason::PeerFlood)),
        };
        let group = match group {
            Group::Call => "call",
            Group::LookUp => "resolve",
        };
        let metrics = &self.common.metrics;
        metrics.local_refusal(&self.spec.name, group, why);
        cause
    }
}

crate::supervise::watched!(Session);

impl Actor for Session {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(1024);
        crate::supervise::probe(ctx);
        self.remember();
        self.set_link(SessionState::Connecting, ctx);
        self.greet(ctx);
        // A registry that was restarted knows nothing of this session until it is told.
        let mut registry = self.common.registry.clone();
        let me = ctx.address();
        let _present = registry.open();
        ctx.spawn(actix::fut::wrap_future(async move {
            while registry.next().await.is_some() {
                me.do_send(TellAgain);
            }
        }));
        ctx.run_interval(UNCLAIMED_FOR, |session, _| {
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
                self.wrote(user_id, date, text.expose());
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
    fn meet(&mut self, users: Vec<telegram::User>) {
        for user in users {
            if self.users.len() >= KNOWN_USERS && !self.users.contains_key(&user.id) {
                self.users.clear();
            }
            self.users.insert(user.id, user);
        }
    }

    /// Keys that somebody writes during a call with us are pressed in that call; of several, in the last.
    fn wrote(&self, user_id: i64, date: i32, text: &str) {
        let calls = self.legs.values();
        let his = calls.filter(|bound| bound.user_id == Some(user_id));
        let Some(bound) = his.max_by_key(|bound| bound.since) else {
            return;
        };
        let age = crate::house::unix_seconds().saturating_sub(u64::try_from(date).unwrap_or(0));
        if age > TEXT_AGE.as_secs() {
            tracing::debug!(session = %self.spec.name, age, "a text came too late to be keys");
            return;
        }
        if let Some(keys) = Key::read(text) {
            bound.leg.do_send(CallUpdated::Keys(keys));
        }
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
            CallUpdated::Signaling(_) | CallUpdated::Keys(_) => None,
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
        tracing::warn!(session = %self.spec.name, call = peer.id, "a call whose request had no result is ended");
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
        let caller = self.caller(requested.admin_id);
        self.common.to_registry(CallOffered {
            session: self.spec.name.clone(),
            caller,
            requested: Box::new(requested),
            settings: Box::new(self.call_settings()),
        });
    }

    fn caller(&self, user_id: i64) -> Caller {
        let user = self.users.get(&user_id);
        Caller {
            user_id,
            phone: user.and_then(|user| user.phone.clone()),
            username: user.and_then(|user| user.username.clone()),
            first_name: user.map_or_else(String::new, |user| user.first_name.clone()),
            last_name: user.map_or_else(String::new, |user| user.last_name.clone()),
        }
    }

    /// Looks a person up: memory first, then Telegram.
    fn look_up(&mut self, peer: Peer, answer: Recipient<Resolved>, ctx: &mut Context<Self>) {
        if let Some(found) = self.find(&peer) {
            let (result, callee) = match found {
                Found::User { id, access_hash } => {
                    let user_id = id;
                    let user = tl::types::InputUser {
                        user_id,
                        access_hash,
                    };
                    (ResolveResult::Ok, Ok(Box::new(self.callee(user))))
                }
                Found::Nobody(reason) => {
                    self.give_back(Errand::Call);
                    let result = match reason {
                        Reason::NotAUser => ResolveResult::Ok,
                        _ => ResolveResult::NotFound,
                    };
                    (result, Err(Cause::new(reason)))
                }
            };
            self.common.metrics.resolved(ResolveSource::Cache, result);
            answer.do_send(Resolved(callee));
            return;
        }
        let (rpc, errand) = match &peer {
            Peer::Username(username) => {
                let username = username.clone();
                (Rpc::ResolveUsername { username }, Errand::Username)
            }
            Peer::Phone(number) => {
                let phone = number.digits().to_owned();
                (Rpc::ResolvePhone { phone }, Errand::Phone)
            }
            Peer::UserId(id) => {
                let known = self.users.get(id).and_then(telegram::User::input);
                // An id alone cannot be looked up anywhere else.
                let result = match known {
                    Some(_) => ResolveResult::Ok,
                    None => ResolveResult::NotFound,
                };
                self.common.metrics.resolved(ResolveSource::Cache, result);
                let found = known
                    .map(|user| Box::new(self.callee(user)))
                    .ok_or(Cause::new(Reason::AnonymousUser));
                if found.is_err() {
                    self.give_back(Errand::Call);
                }
                answer.do_send(Resolved(found));
                return;
            }
        };
        if let Err(cause) = self.admit(errand) {
            self.give_back(Errand::Call);
            answer.do_send(Resolved(Err(cause)));
            return;
        }
        let import = match &peer {
            Peer::Phone(number) => Some(Rpc::ImportContact {
                phone: number.digits().to_owned(),
            }),
            _ => None,
        };
        self.ask(rpc, ctx, move |session, result, ctx| {
            // A number that is in nobody's list may still be found by adding it to the contacts.
            let unknown = matches!(&result, Ok(Reply::Nobody))
                || matches!(&result, Err(error) if error.is("PHONE_NOT_OCCUPIED"));
            match import {
                Some(import) if unknown => session.ask(import, ctx, move |session, result, _| {
                    session.found(peer, result, &answer)
                }),
                _ => session.found(peer, result, &answer),
            }
        });
    }

    fn found(&mut self, peer: Peer, result: Result<Reply, RpcError>, answer: &Recipient<Resolved>) {
        self.common
            .metrics
            .resolved(ResolveSource::Network, resolve_result(&result));
        let user = match result {
            Ok(Reply::User(user)) if user.is_self => Err(Cause::new(Reason::LoopDetected)),
            Ok(Reply::User(user)) if user.is_bot => Err(Cause::new(Reason::NotAUser)),
            Ok(Reply::User(user)) => {
                let input = user.input().ok_or(Cause::new(Reason::AnonymousUser));
                self.meet(vec![user]);
                input
            }
            Ok(Reply::NotAUser) => Err(Cause::new(Reason::NotAUser)),
            Ok(_) => Err(Cause::new(Reason::NotFound)),
            Err(error) => Err(telegram::error::cause(&error)),
        };
        if user.is_err() {
            self.give_back(Errand::Call);
        }
        let found = match &user {
            Ok(user) => Some(Found::User {
                id: user.user_id,
                access_hash: user.access_hash,
            }),
            Err(cause) => Found::nobody(cause.reason()),
        };
        if let Some(found) = found {
            self.learn(&peer, found);
        }
        answer.do_send(Resolved(user.map(|user| Box::new(self.callee(user)))));
    }

    /// Takes back who was looked up before; what holds no more is forgotten on disk as well.
    fn remember(&mut self) {
        let now = crate::house::unix_millis();
        for bytes in std::mem::take(&mut self.kept) {
            let read: Result<(Peer, LookUp), _> = serde_json::from_slice(&bytes);
            match read {
                Ok((peer, look_up)) if self.looked_up.restore(now, &peer, look_up) => {}
                Ok((peer, _)) => self.forget(vec![peer]),
                Err(error) => {
                    tracing::error!(session = %self.spec.name, %error, "a look-up cannot be read");
                }
            }
        }
    }

    fn learn(&mut self, peer: &Peer, found: Found) {
        let at = crate::house::unix_millis();
        let forgotten = self.looked_up.learn(at, peer, found);
        self.forget(forgotten);
        match serde_json::to_vec(&(peer, LookUp { at, found })) {
            Ok(value) => self.save_look_up(peer, Some(value)),
            Err(error) => {
                tracing::error!(session = %self.spec.name, %error, "a look-up cannot be written");
            }
        }
    }

    fn forget(&self, peers: Vec<Peer>) {
        for peer in peers {
            self.save_look_up(&peer, None);
        }
    }

    fn save_look_up(&self, peer: &Peer, value: Option<Vec<u8>>) {
        let prefix = String::from_utf8_lossy(LOOK_UPS);
        self.common.to_keeper(SaveLookUp {
            session: self.spec.name.clone(),
            key: format!("{prefix}{peer}").to_ascii_lowercase(),
            value,
        });
    }

    /// Somebody whom Telegram does not know as he was found is looked up anew next time.
    fn called(&mut self, user_id: i64, result: &Result<Reply, RpcError>) {
        let Err(error) = result else {
            return;
        };
        if matches!(
            telegram::error::cause(error).reason(),
            Reason::AnonymousUser | Reason::NotFound
        ) {
            self.contacts
                .retain(|_, found| !matches!(found, Found::User { id, .. } if *id == user_id));
            let forgotten = self.looked_up.forget(user_id);
            self.forget(forgotten);
        }
    }

    /// Whether Telegram would take no further call: until one of ours has ended, or for a while when none of ours can be what fills it.
    fn is_occupied(&self) -> bool {
        self.occupied.as_ref().is_some_and(|occupied| {
            let mut legs = self.legs.keys();
            let ours = legs.any(|id| occupied.refused != Some(*id));
            ours || occupied.since.elapsed() < OCCUPIED_FOR
        })
    }

    fn callee(&self, user: tl::types::InputUser) -> Callee {
        Callee {
            user,
            settings: self.call_settings(),
        }
    }
}

impl Handler<Resolve> for Session {
    type Result = ();

    fn handle(&mut self, Resolve { peer, answer }: Resolve, ctx: &mut Self::Context) {
        self.watch.handled();
        if self.link != SessionState::Running {
            answer.do_send(Resolved(Err(Cause::new(Reason::SessionNotRunning))));
            return;
        }
        if self.is_occupied() {
            answer.do_send(Resolved(Err(Cause::new(Reason::LinesLimit))));
            return;
        }
        match self.admit(Errand::Call) {
            Ok(()) => self.look_up(peer, answer, ctx),
            Err(cause) => answer.do_send(Resolved(Err(cause))),
        }
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
            && let Err(refused) = self.limiter.open(crate::house::unix_millis(), Group::Call)
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
                session.requested(user_id, &result, ctx);
            }
            if let Some(leg) = answer {
                leg.do_send(Done { key, result });
            }
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

/// Session -> itself: there is a new registry.
#[derive(actix::Message)]
#[rtype(result = "()")]
struct TellAgain;

impl Handler<TellAgain> for Session {
    type Result = ();

    fn handle(&mut self, _: TellAgain, ctx: &mut Self::Context) {
        self.watch.handled();
        self.tell(ctx);
    }
}

/// What a request counts for at Telegram, when that is something to be limited.
fn group(rpc: &Rpc) -> Option<Group> {
    match rpc {
        Rpc::GetDhConfig { .. }
        | Rpc::RequestCall { .. }
        | Rpc::ReceivedCall { .. }
        | Rpc::AcceptCall { .. }
        | Rpc::ConfirmCall { .. }
        | Rpc::DiscardCall { .. }
        | Rpc::SendSignalingData { .. } => Some(Group::Call),
        Rpc::ResolveUsername { .. }
        | Rpc::ResolvePhone { .. }
        | Rpc::ImportContact { .. }
        | Rpc::GetUser { .. } => Some(Group::LookUp),
        Rpc::GetSelf
        | Rpc::GetContacts
        | Rpc::GetConfig
        | Rpc::GetState
        | Rpc::SendMessage { .. }
        | Rpc::SendCode { .. }
        | Rpc::ResendCode { .. }
        | Rpc::SignIn { .. }
        | Rpc::ImportBotAuthorization { .. }
        | Rpc::ExportLoginToken { .. }
        | Rpc::ImportLoginToken { .. }
        | Rpc::SendVerifyEmailCode { .. }
        | Rpc::VerifyEmail { .. }
        | Rpc::RequestPasswordRecovery
        | Rpc::RecoverPassword { .. }
        | Rpc::GetAuthorizations
        | Rpc::DisableCalls { .. }
        | Rpc::AllowCalls
        | Rpc::AllowP2p
        | Rpc::RefuseInvitations
        | Rpc::GetPassword
        | Rpc::CheckPassword { .. }
        | Rpc::LogOut => None,
    }
}

/// Whole seconds, rounded up: a caller that comes back after what it was told must find us open.
fn seconds(left: Duration) -> Duration {
    Duration::from_secs(u64::try_from(left.as_millis().div_ceil(1000)).unwrap_or(u64::MAX))
}

/// The refusal that Telegram would repeat.
fn ordered_before(refused: Refused) -> RpcError {
    let (code, name) = match refused {
        Refused::Bucket(left) | Refused::FloodWait(left) => {
            (420, format!("FLOOD_WAIT_{}", seconds(left).as_secs()))
        }
        Refused::Restricted(_) => (400, "PEER_FLOOD".to_owned()),
    };
    RpcError::Rpc { code, name }
}

fn resolve_result(result: &Result<Reply, RpcError>) -> ResolveResult {
    match result {
        Ok(Reply::User(_) | Reply::NotAUser) => ResolveResult::Ok,
        Ok(_) => ResolveResult::NotFound,
        Err(error) => match telegram::error::cause(error).reason() {
            Reason::NotFound | Reason::ChatNotFound | Reason::UsernameNotOccupied => {
                ResolveResult::NotFound
            }
            _ => ResolveResult::Error,
        },
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
        tracing::info!(session = %self.spec.name, %cause, "a Telegram call is declined");
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
