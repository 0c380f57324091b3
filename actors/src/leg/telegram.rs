//! The Telegram leg of a call: drives one `telegram::call::Outgoing` or `Incoming`.
//!
//! Owns the phone call's state and its key until media takes it. Talks to the Session (requests, updates) and to its Call.
//! Requests that were under way when a session died are repeated to the next one, so a hang-up is never lost. Its death
//! discards the phone call from `Drop`.

use std::collections::HashMap;
use std::time::Instant;

use actix::{
    Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Context, Handler, WrapFuture,
};
use grammers_tl_types as tl;
use model::{CallId, Cause, Farewell, LegId, LegKind, Peer, Reason};
use telegram::call::{Incoming, Outgoing};
use telegram::{CallSettings, Event, Input, Output, Refusal, RequestKey, Rpc, RpcError};

use crate::alarm::Alarm;
use crate::call::Call;
use crate::leg;
use crate::message::{
    BindCall, CallUpdated, Callee, Done, Invoke, KnownDh, LegFact, LegOrder, LegReport, MeetUser,
    Resolve, Resolved, UnbindCall,
};
use crate::registry::Registry;
use crate::session::Session;
use crate::supervise::{Door, Member, Watch, at_each_return};

/// How long the registry may think about a user before the call goes on without its answer.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(1);

/// How long another incarnation of the session has to find out who it is before it is asked to look somebody up.
const GREETED: std::time::Duration = std::time::Duration::from_secs(1);

/// What a Telegram leg is made from.
pub(crate) struct TelegramLegSpec {
    pub(crate) id: CallId,
    pub(crate) leg: LegId,
    pub(crate) call: Addr<Call>,
    pub(crate) watch: Watch,
    pub(crate) group: Member,
    /// The session's name, for the record.
    pub(crate) via: String,
    pub(crate) session: Door<Session>,
    pub(crate) registry: Door<Registry>,
    pub(crate) way: Way,
}

/// Who calls whom.
pub(crate) enum Way {
    /// The Telegram user called us.
    Incoming {
        requested: Box<tl::types::PhoneCallRequested>,
        settings: Box<CallSettings>,
    },
    /// We call the Telegram user.
    Outgoing { peer: Peer },
}

/// The leg.
pub(crate) struct TelegramLeg {
    id: CallId,
    leg: LegId,
    call: Addr<Call>,
    via: String,
    session: Door<Session>,
    registry: Door<Registry>,
    way: Way,
    group: Option<Member>,
    core: Option<Core>,
    bound: Option<i64>,
    /// The Telegram user, once known.
    user_id: Option<i64>,
    /// Whom we call has been looked up, found or not.
    resolved: bool,
    /// Requests without an answer, to be repeated to a new session.
    pending: HashMap<RequestKey, Rpc>,
    alarm: Alarm,
    /// An incoming call was accepted by us.
    answered: bool,
    over: bool,
    finished: bool,
    watch: Watch,
}

impl TelegramLeg {
    pub(crate) fn new(spec: TelegramLegSpec) -> Self {
        let user_id = match &spec.way {
            Way::Incoming { requested, .. } => Some(requested.admin_id),
            Way::Outgoing { .. } => None,
        };
        Self {
            user_id,
            id: spec.id,
            registry: spec.registry,
            leg: spec.leg,
            call: spec.call,
            via: spec.via,
            session: spec.session,
            way: spec.way,
            group: Some(spec.group),
            core: None,
            bound: None,
            resolved: false,
            pending: HashMap::new(),
            alarm: Alarm::default(),
            answered: false,
            over: false,
            finished: false,
            watch: spec.watch,
        }
    }

    fn report(&self, fact: LegFact) {
        self.call.do_send(LegReport {
            leg: self.leg,
            fact,
        });
    }

    fn input(&mut self, now: Instant, input: Input, ctx: &mut Context<Self>) {
        if let Some(core) = &mut self.core {
            core.handle_input(now, input);
            self.drain(now, ctx);
        }
    }

    fn drain(&mut self, now: Instant, ctx: &mut Context<Self>) {
        while let Some(core) = &mut self.core {
            match core.poll_output() {
                Output::Invoke(key, rpc) => self.invoke(key, rpc, ctx),
                Output::StartMedia(start) => self.report(LegFact::Agreed { start }),
                Output::Signal(bytes) => self.report(LegFact::Signaling {
                    bytes: bytes.into(),
                }),
                Output::Event(event) => self.event(event),
                Output::Timeout(at) => {
                    self.arm(now, at, ctx);
                    break;
                }
            }
        }
        self.bind(ctx);
        self.leave_when_done(ctx);
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Ringing => self.report(LegFact::Ringing),
            Event::Accepted { version, .. } => {
                tracing::debug!(leg = %self.leg, version, "key agreed")
            }
            Event::Established => self.report(LegFact::Answered { audio: None }),
            Event::DhConfig(dh) => {
                if let Some(session) = self.session.open() {
                    session.do_send(KnownDh(dh));
                }
            }
            Event::Ended { cause } => self.end(&cause),
            Event::Finished => self.finished = true,
        }
    }

    /// As soon as the phone call has an id, its updates come here.
    fn bind(&mut self, ctx: &mut Context<Self>) {
        let id = self.core.as_ref().and_then(Core::phone_call_id);
        if let Some(phone_call) = id.filter(|_| self.bound.is_none()) {
            self.bound = Some(phone_call);
            if let Some(session) = self.session.open() {
                session.do_send(BindCall {
                    phone_call,
                    user_id: self.user_id,
                    leg: ctx.address().recipient(),
                });
            }
        }
    }

    fn invoke(&mut self, key: RequestKey, rpc: Rpc, ctx: &mut Context<Self>) {
        if let Some(session) = self.session.open() {
            session.do_send(Invoke {
                key,
                rpc: rpc.clone(),
                answer: Some(ctx.address().recipient()),
            });
        }
        // Without a session it waits for the next one.
        self.pending.insert(key, rpc);
    }

    fn resolve(&self, ctx: &mut Context<Self>) {
        if let Way::Outgoing { peer } = &self.way {
            match self.session.open() {
                Some(session) => session.do_send(Resolve {
                    peer: peer.clone(),
                    answer: ctx.address().recipient(),
                }),
                None => ctx.notify(Resolved(Err(Cause::new(Reason::SessionNotRunning)))),
            }
        }
    }

    /// Tells the call once; the leg stays until nothing is owed to Telegram any more.
    fn end(&mut self, cause: &Cause) {
        if !std::mem::replace(&mut self.over, true) {
            if cause.reason() == Reason::KeyMismatch {
                tracing::error!(
                    call = %self.id,
                    leg = %self.leg,
                    session = self.via,
                    "a call is ended, for its keys do not match: somebody may be between the two who talk"
                );
            }
            let end = leg::end(LegKind::Telegram, self.via.clone(), cause);
            self.report(LegFact::Ended {
                cause: cause.clone(),
                end,
            });
        }
    }

    fn leave_when_done(&self, ctx: &mut Context<Self>) {
        if self.over && (self.finished || self.core.is_none()) {
            ctx.stop();
        }
    }

    fn arm(&mut self, now: Instant, at: Option<Instant>, ctx: &mut Context<Self>) {
        self.alarm.set(now, at, ctx, |leg, ctx| {
            leg.alarm = Alarm::default();
            leg.input(Instant::now(), Input::Timeout, ctx);
        });
    }

    /// Ends the leg from our side.
    fn hang_up(&mut self, cause: &Cause, ctx: &mut Context<Self>) {
        let input = match &self.core {
            None => {
                self.end(cause);
                self.leave_when_done(ctx);
                return;
            }
            Some(Core::Incoming(_)) if !self.answered => Input::Refuse(refusal(cause)),
            // The person's app says that the connection was lost, as it was.
            Some(_) if cause.reason() == Reason::RtpTimeout => {
                Input::MediaFailed("no audio from the PBX")
            }
            Some(_) => Input::HangUp,
        };
        // The cause of the whole call is the other leg's; this one only adds how it ended itself.
        self.end(cause);
        self.input(Instant::now(), input, ctx);
        self.leave_when_done(ctx);
    }
}

/// What the Telegram caller is told when the PBX does not take the call.
fn refusal(cause: &Cause) -> Refusal {
    match (cause.reason(), cause.code()) {
        (_, 486 | 600 | 603) => Refusal::Busy,
        (Reason::InternalError, _) => Refusal::Disconnect,
        _ => Refusal::Missed,
    }
}

/// The state machine of either direction.
enum Core {
    Outgoing(Box<Outgoing>),
    Incoming(Box<Incoming>),
}

impl Core {
    fn handle_input(&mut self, now: Instant, input: Input) {
        match self {
            Core::Outgoing(core) => core.handle_input(now, input),
            Core::Incoming(core) => core.handle_input(now, input),
        }
    }

    fn poll_output(&mut self) -> Output {
        match self {
            Core::Outgoing(core) => core.poll_output(),
            Core::Incoming(core) => core.poll_output(),
        }
    }

    fn input_peer(&self) -> Option<tl::types::InputPhoneCall> {
        match self {
            Core::Outgoing(core) => core.input_peer(),
            Core::Incoming(core) => core.input_peer(),
        }
    }

    fn phone_call_id(&self) -> Option<i64> {
        match self {
            Core::Outgoing(core) => core.phone_call_id(),
            Core::Incoming(core) => core.phone_call_id(),
        }
    }
}

crate::supervise::watched!(TelegramLeg);

impl Actor for TelegramLeg {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(256);
        crate::supervise::probe(ctx);
        at_each_return(ctx, &self.session, TelegramLeg::ask_again);
        if let Some(group) = self.group.take() {
            ctx.spawn(group.abandoned().into_actor(self).map(|(), leg, ctx| {
                leg.hang_up(&Cause::new(Reason::InternalError), ctx);
            }));
        }
        match &self.way {
            Way::Incoming {
                requested,
                settings,
            } => {
                let core = Incoming::new(
                    Instant::now(),
                    requested,
                    (**settings).clone(),
                    rand::random(),
                );
                self.core = Some(Core::Incoming(Box::new(core)));
                self.drain(Instant::now(), ctx);
            }
            Way::Outgoing { .. } => self.resolve(ctx),
        }
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        if let (Some(phone_call), Some(session)) = (self.bound, self.session.open()) {
            session.do_send(UnbindCall { phone_call });
        }
    }
}

impl Drop for TelegramLeg {
    /// The last duty of a leg that dies: never leave a phone ringing.
    fn drop(&mut self) {
        if self.over {
            return;
        }
        let (Some(core), Some(session)) = (&mut self.core, self.session.open()) else {
            return;
        };
        core.handle_input(Instant::now(), Input::HangUp);
        loop {
            match core.poll_output() {
                Output::Invoke(key, rpc) => session.do_send(Invoke {
                    key,
                    rpc,
                    answer: None,
                }),
                Output::Timeout(_) => break,
                Output::StartMedia(_) | Output::Signal(_) | Output::Event(_) => {}
            }
        }
    }
}

impl TelegramLeg {
    /// There is a new incarnation of the session, which knows neither our call nor what we asked for.
    fn ask_again(&mut self, ctx: &mut Context<Self>) {
        let Some(session) = self.session.open() else {
            return;
        };
        if let Some(phone_call) = self.bound {
            session.do_send(BindCall {
                phone_call,
                user_id: self.user_id,
                leg: ctx.address().recipient(),
            });
        }
        if !self.resolved && !self.over {
            ctx.run_later(GREETED, |leg, ctx| {
                if !leg.resolved && !leg.over {
                    leg.resolve(ctx);
                }
            });
        }
        for (key, rpc) in &self.pending {
            session.do_send(Invoke {
                key: *key,
                rpc: rpc.clone(),
                answer: Some(ctx.address().recipient()),
            });
        }
    }

    /// Calls whom the registry has let through.
    fn met(&mut self, callee: Callee, met: Result<(), Cause>, ctx: &mut Context<Self>) {
        if self.over || self.core.is_some() {
            return;
        }
        if let Err(cause) = met {
            self.end(&cause);
            self.leave_when_done(ctx);
            return;
        }
        let core = Outgoing::new(Instant::now(), callee.user, callee.settings, rand::random());
        self.core = Some(Core::Outgoing(Box::new(core)));
        self.drain(Instant::now(), ctx);
    }
}

impl Handler<Resolved> for TelegramLeg {
    type Result = ();

    fn handle(&mut self, Resolved(result): Resolved, ctx: &mut Self::Context) {
        self.watch.handled();
        if self.over || std::mem::replace(&mut self.resolved, true) {
            return;
        }
        match result {
            Ok(callee) => {
                let (call, user_id) = (self.id, callee.user.user_id);
                self.user_id = Some(user_id);
                let person = Box::new(callee.person.clone());
                self.report(LegFact::Met { person });
                let registry = self.registry.open();
                let asked = registry.map(|registry| registry.send(MeetUser { call, user_id }));
                let met = async move {
                    // A registry that dies or hangs ends no call: the next one is told what it holds.
                    match asked {
                        Some(asked) => tokio::time::timeout(PATIENCE, asked)
                            .await
                            .ok()
                            .and_then(Result::ok)
                            .unwrap_or(Ok(())),
                        None => Ok(()),
                    }
                };
                let met = met
                    .into_actor(self)
                    .map(move |met, leg, ctx| leg.met(*callee, met, ctx));
                ctx.spawn(met);
            }
            Err(cause) => {
                self.end(&cause);
                self.leave_when_done(ctx);
            }
        }
    }
}

impl Handler<Done> for TelegramLeg {
    type Result = ();

    fn handle(&mut self, done: Done, ctx: &mut Self::Context) {
        self.watch.handled();
        // A connection that broke is the session's to mend: what was asked is asked again, except a request for a call,
        // whose caller waits and which may have been carried out.
        let lost = matches!(done.result, Err(RpcError::Connection));
        if lost
            && matches!(
                self.pending.get(&done.key),
                Some(Rpc::DiscardCall { .. } | Rpc::SendSignalingData { .. })
            )
        {
            let (key, retry) = (done.key, std::time::Duration::from_secs(1));
            ctx.run_later(retry, move |leg, ctx| {
                if let Some(rpc) = leg.pending.remove(&key) {
                    leg.invoke(key, rpc, ctx);
                }
            });
            return;
        }
        if self.pending.remove(&done.key).is_some() {
            self.input(Instant::now(), Input::Reply(done.key, done.result), ctx);
        }
        self.leave_when_done(ctx);
    }
}

impl Handler<CallUpdated> for TelegramLeg {
    type Result = ();

    fn handle(&mut self, update: CallUpdated, ctx: &mut Self::Context) {
        self.watch.handled();
        match update {
            CallUpdated::State(state) => self.input(Instant::now(), Input::Update(*state), ctx),
            CallUpdated::Signaling(bytes) => {
                self.input(Instant::now(), Input::SignalReceived(bytes), ctx)
            }
            CallUpdated::Text(text) => self.report(LegFact::Wrote { text }),
        }
    }
}

impl Handler<LegOrder> for TelegramLeg {
    type Result = ();

    fn handle(&mut self, order: LegOrder, ctx: &mut Self::Context) {
        self.watch.handled();
        match order {
            // Ringing was reported to Telegram when the leg began.
            LegOrder::Ring | LegOrder::Digit { .. } | LegOrder::Hold { .. } => {}
            // It is the PBX that transfers, and it hears of it.
            LegOrder::AcceptTransfer
            | LegOrder::RefuseTransfer { .. }
            | LegOrder::TransferProgress { .. } => {}
            LegOrder::Answer { .. } => {
                self.answered = true;
                self.input(Instant::now(), Input::Answer, ctx);
            }
            LegOrder::SayFarewell => {
                let peer = self.core.as_ref().and_then(Core::input_peer);
                let farewell = peer.map(|peer| Farewell::Telegram {
                    session: self.via.clone(),
                    id: peer.id,
                    access_hash: peer.access_hash,
                    theirs: matches!(self.way, Way::Incoming { .. }),
                });
                self.report(LegFact::Farewell { farewell });
            }
            LegOrder::MediaConnected => self.input(Instant::now(), Input::MediaConnected, ctx),
            LegOrder::MediaFailed { why } => {
                self.input(Instant::now(), Input::MediaFailed(why), ctx)
            }
            LegOrder::HangUp { cause } => self.hang_up(&cause, ctx),
            LegOrder::Signal { bytes } => {
                self.input(Instant::now(), Input::SignalToSend(bytes), ctx)
            }
        }
    }
}
