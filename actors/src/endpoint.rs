//! The SIP front door: owns the transactions and knows which leg a packet belongs to.
//!
//! Fed by `net` (datagrams), legs, trunks and the registry. Everything of a stranger enters by `try_send`; what does not fit
//! is answered 503 by the next retransmission finding room, or not at all. Its death ends no call: the transactions under way
//! are lost, the legs bind their dialogs again to the next incarnation.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{Actor, AsyncContext, Context, Handler, Recipient};
use model::{Cause, Reason};
use net::stream::Arrival;
use sip::call::{CallInput, DialogId};
use sip::transaction::{Input, Output, Repeats};
use sip::{
    ALLOW, ClientKey, HeaderName, Hop, Method, Request, Response, ServerKey, Transactions, respond,
};

use crate::alarm::Alarm;
use crate::farewell;
use crate::house::Common;
use crate::message::{
    Bind, CancelInvite, FromWire, InviteArrived, LegFact, LegPlace, LegReport, Owner, Received,
    RegisterArrived, Replaced, Respond, SayCancel, SendAck, SendRequest, TextArrived, Unbind,
};
use crate::supervise::Watch;

/// INVITEs that were cancelled before their leg was there.
const EARLY_CANCELS: usize = 1024;

/// How long the registry, and whoever it passes a request to, may take to answer it or to take the call.
pub(crate) const MANAGER_TIMEOUT: Duration = Duration::from_secs(5);
/// The same for a text, which waits for Telegram: less than the 32 s for which its sender repeats it (RFC 3261 17.1.2.2).
const TEXT_TIMEOUT: Duration = Duration::from_secs(25);
/// How often that is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// When a PBX should try again.
const COME_BACK: Duration = Duration::from_secs(5);

/// When whoever asks whether calls are possible should ask again while the switch stops: as long as its calls are told to wait then.
const STOPPED_FOR: Duration = Duration::from_secs(30);

/// A bound leg.
struct Bound {
    dialog: DialogId,
    invite: Option<ServerKey>,
    leg: Recipient<FromWire>,
    place: Option<LegPlace>,
    /// The INVITE or REGISTER it sent last, for CANCEL.
    sent_first: Option<ClientKey>,
}

/// The endpoint.
pub(crate) struct Endpoint {
    common: Common,
    transactions: Transactions,
    legs: HashMap<Owner, Bound>,
    dialogs: HashMap<DialogId, Owner>,
    invites: HashMap<ServerKey, Owner>,
    cancelled: HashSet<ServerKey>,
    /// What the registry was given and nobody has answered or taken: it may have died with it. Those in `asked`, oldest first.
    unanswered: HashMap<ServerKey, Arc<Request>>,
    asked: VecDeque<(Instant, ServerKey)>,
    /// The same of texts.
    texts: VecDeque<(Instant, ServerKey)>,
    /// When the requests under way were sent, and whether they are INVITE or REGISTER.
    sent: HashMap<ClientKey, (Instant, bool)>,
    /// What the metrics know of repeats, received and sent.
    told: (Repeats, Repeats),
    alarm: Alarm,
    watch: Watch,
}

impl Endpoint {
    pub(crate) fn new(common: Common, watch: Watch) -> Self {
        let transactions = Transactions::new(common.transactions_config(), rand::random());
        Self {
            common,
            transactions,
            legs: HashMap::new(),
            dialogs: HashMap::new(),
            invites: HashMap::new(),
            cancelled: HashSet::new(),
            unanswered: HashMap::new(),
            asked: VecDeque::new(),
            texts: VecDeque::new(),
            sent: HashMap::new(),
            told: (Repeats::default(), Repeats::default()),
            alarm: Alarm::default(),
            watch,
        }
    }
}

crate::supervise::watched!(Endpoint);

impl Actor for Endpoint {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(1024);
        self.common.valve.emptied();
        crate::supervise::probe(ctx);
        ctx.run_interval(LOOK_EVERY, Self::look);
    }
}

impl Endpoint {
    fn input(&mut self, input: Input, ctx: &mut Context<Self>) {
        let now = Instant::now();
        self.transactions.set_load(self.common.valve.load());
        self.transactions.handle_input(now, input);
        self.drain(now, ctx);
    }

    fn drain(&mut self, now: Instant, ctx: &mut Context<Self>) {
        loop {
            match self.transactions.poll_output() {
                Output::Transmit { target, bytes } => self.common.send_sip(target, bytes),
                Output::Arrived { source, request } => self.arrived(now, source, request, ctx),
                Output::Request { .. } => unreachable!("the table asks before it begins"),
                Output::Ack { request, .. } => {
                    let leg = self.leg_of(&request);
                    self.deliver(leg, CallInput::Ack { request });
                }
                Output::Cancelled { tx, reason } => self.cancelled(tx, reason),
                Output::Response { user, tx, response } => {
                    self.response(now, Owner(user), tx, response);
                }
                Output::Failed { user, tx, why } => {
                    let sent = self.sent.remove(&tx);
                    if !self.is_given_up(
                        Owner(user),
                        tx,
                        sent.is_some_and(|(_, is_first)| is_first),
                    ) {
                        self.deliver(Some(Owner(user)), CallInput::Failed { why })
                    }
                }
                Output::Malformed { why, source } => {
                    tracing::debug!(%source, why, "malformed message");
                    self.common.metrics.sip_parse_error(source.transport);
                    if let Some(limit) = sip::Limits::named_by(why) {
                        self.common.metrics.sip_over_limit(limit);
                    }
                    self.common.metrics.sip_malformed();
                }
                Output::Timeout(at) => {
                    let (clients, servers) = (
                        self.transactions.client_count(),
                        self.transactions.server_count(),
                    );
                    self.common.metrics.sip_transactions(clients, servers);
                    self.common.valve.holds(clients, servers);
                    self.tell_repeats();
                    self.arm(now, at, ctx);
                    return;
                }
            }
        }
    }

    fn tell_repeats(&mut self) {
        let now = (
            self.transactions.repeats_in(),
            self.transactions.repeats_out(),
        );
        if now == self.told {
            return;
        }
        let metrics = &self.common.metrics;
        for (flow, now, told) in [
            (metrics::Flow::In, now.0, self.told.0),
            (metrics::Flow::Out, now.1, self.told.1),
        ] {
            metrics.sip_retransmitted(flow, "INVITE", now.invite - told.invite);
            metrics.sip_retransmitted(flow, "REGISTER", now.register - told.register);
            metrics.sip_retransmitted(flow, "BYE", now.bye - told.bye);
            metrics.sip_retransmitted(flow, "other", now.other - told.other);
        }
        self.told = now;
    }

    fn arm(&mut self, now: Instant, at: Option<Instant>, ctx: &mut Context<Self>) {
        self.alarm.set(now, at, ctx, |endpoint, ctx| {
            endpoint.alarm = Alarm::default();
            endpoint.input(Input::Timeout, ctx);
        });
    }

    /// Whether this is a request of a stranger that waited for so long that he has asked again by now (SEC-D6).
    fn is_stale(&self, at: Instant, arrival: &Arrival) -> bool {
        let most = self.common.valve.strangers_wait();
        if most.is_zero() || at.elapsed() <= most {
            return false;
        }
        match arrival {
            Arrival::Message { source, bytes } => {
                !bytes.starts_with(b"SIP/") && !self.common.gate.is_known(source.ip())
            }
            Arrival::Refused { source, .. } => !self.common.gate.is_known(source.ip()),
            Arrival::Ended { .. } => false,
        }
    }

    /// The leg an in-dialog request belongs to: its To tag is our local tag.
    fn leg_of(&self, request: &Request) -> Option<Owner> {
        self.dialogs.get(&DialogId::of(request)?).copied()
    }

    /// Whether this was an INVITE or REGISTER that another one followed, to another place (RFC 3263 4.3).
    fn is_given_up(&self, owner: Owner, tx: ClientKey, is_first: bool) -> bool {
        let last = self.legs.get(&owner).and_then(|bound| bound.sent_first);
        is_first && last.is_some_and(|last| last != tx)
    }

    /// The leg that an INVITE names in Replaces.
    fn replaced_by(&self, invite: &Request) -> Option<Replaced> {
        let named = sip::call::replaced(&invite.headers)?;
        let owner = self.dialogs.get(&named.dialog)?;
        let place = self.legs.get(owner)?.place.clone();
        place.map(|leg| Replaced {
            leg,
            early_only: named.early_only,
        })
    }

    /// Where a request goes; and its Via is to say where from.
    fn way_of(&mut self, target: Hop, request: &Request) -> Hop {
        let target = self.common.way_of(target, request);
        self.transactions
            .set_here(self.common.sip_address(target).ip());
        target
    }

    fn deliver(&self, leg: Option<Owner>, input: CallInput) {
        if let Some(bound) = leg.and_then(|owner| self.legs.get(&owner)) {
            bound.leg.do_send(FromWire(input));
        }
    }

    /// A request that has no transaction yet. What belongs to a call, and what a trunk sends, gets one; strangers are answered
    /// once and forgotten (SEC-D2).
    fn arrived(&mut self, now: Instant, source: Hop, request: Request, ctx: &mut Context<Self>) {
        let metrics = &self.common.metrics;
        metrics.sip_request(metrics::Flow::In, request.method.as_str());
        if request.headers.to().is_some_and(|to| to.tag().is_some()) {
            let Some(leg) = self.leg_of(&request) else {
                return self.reply(now, source, respond(&request, 481, "", None));
            };
            if let Some(tx) = self.transactions.admit(now, source, &request) {
                let input = CallInput::Request {
                    tx,
                    source,
                    request,
                };
                self.deliver(Some(leg), input);
            }
            return;
        }
        let tag = self.transactions.tag_of(&request);
        // A call looks for itself, when it is known who calls.
        if matches!(request.method, Method::Options | Method::Register)
            && let Some(response) = sip::refuse_required(&request, &tag)
        {
            return self.reply(now, source, response);
        }
        match &request.method {
            Method::Invite => {
                let is_known = || self.common.gate.is_known(source.ip());
                let valve = &self.common.valve;
                valve.came(now, source, is_known, &request);
                self.of_trunk(now, source, request, &tag, ctx)
            }
            Method::Register => match sip::registration::inspect(&request) {
                Ok(()) => self.of_trunk(now, source, request, &tag, ctx),
                Err(error) => self.reply(now, source, error.respond(&request, &tag)),
            },
            Method::Options => self.options(now, source, &request, &tag),
            Method::Message => self.of_trunk(now, source, request, &tag, ctx),
            Method::Subscribe | Method::Notify | Method::Publish | Method::Refer => {
                self.unserved(now, source, &request, &tag)
            }
            _ => {
                let status = if request.method.is_known() { 405 } else { 501 };
                let mut response = respond(&request, status, "", Some(&tag));
                response.headers.push(HeaderName::Allow, ALLOW);
                self.reply(now, source, response);
            }
        }
    }

    /// An INVITE, REGISTER or MESSAGE goes to the registry once it is certain whose it is.
    fn of_trunk(
        &mut self,
        now: Instant,
        source: Hop,
        request: Request,
        tag: &str,
        ctx: &mut Context<Self>,
    ) {
        let unix = crate::house::unix_seconds();
        let gate = &self.common.gate;
        let from = match gate.identify(now, unix, source, &request, tag) {
            Ok(trunk) => trunk,
            Err(response) => return self.reply(now, source, response),
        };
        self.common.streams.vouch(source);
        if request.method == Method::Message && !gate.passes_texts(&from) {
            return self.reply(now, source, not_allowed(&request, tag));
        }
        let Some(tx) = self.transactions.admit(now, source, &request) else {
            return;
        };
        let request = Arc::new(request);
        let again = Arc::clone(&request);
        let is_text = request.method == Method::Message;
        let taken = self.common.registry.open().is_some_and(|registry| {
            if is_text {
                let text = TextArrived {
                    from,
                    tx,
                    source,
                    request,
                };
                registry.try_send(text).is_ok()
            } else if request.method == Method::Invite {
                let invite = InviteArrived {
                    from,
                    tx,
                    source,
                    replaces: self.replaced_by(&request),
                    request,
                };
                registry.try_send(invite).is_ok()
            } else {
                let register = RegisterArrived {
                    from,
                    tx,
                    source,
                    request,
                };
                registry.try_send(register).is_ok()
            }
        });
        if taken {
            self.unanswered.insert(tx, again);
            if is_text {
                self.texts.push_back((now + TEXT_TIMEOUT, tx));
            } else {
                self.asked.push_back((now + MANAGER_TIMEOUT, tx));
            }
        } else {
            self.common.metrics.mailbox_full("registry");
            self.no_response(tx, &again, ctx);
        }
    }

    /// Answers what went to a registry that did not answer in time. Should it wake up, its call is over before it begins.
    fn look(&mut self, ctx: &mut Context<Self>) {
        let now = Instant::now();
        let is_due =
            |front: Option<&(Instant, ServerKey)>| front.is_some_and(|(due, _)| *due <= now);
        loop {
            let late = if is_due(self.asked.front()) {
                self.asked.pop_front()
            } else if is_due(self.texts.front()) {
                self.texts.pop_front()
            } else {
                break;
            };
            let Some((_, tx)) = late else { break };
            let Some(request) = self.unanswered.remove(&tx) else {
                continue;
            };
            tracing::warn!(method = %request.method, "nobody answered a request");
            if request.method == Method::Invite {
                self.cancelled(tx, None);
            }
            self.no_response(tx, &request, ctx);
        }
        self.drain(now, ctx);
    }

    fn no_response(&mut self, tx: ServerKey, request: &Request, ctx: &mut Context<Self>) {
        let cause = Cause::new(Reason::NoResponseFromManager).with_retry_after(COME_BACK);
        let tag = self.transactions.tag_of(request);
        let response = crate::refusal::response(request, &cause, &tag);
        self.answer(tx, response, ctx);
    }

    /// RFC 6665 and others: not served as yet, but who may know so has to show who it is (SEC-A1).
    fn unserved(&mut self, now: Instant, source: Hop, request: &Request, tag: &str) {
        let unix = crate::house::unix_seconds();
        let from = self.common.gate.identify(now, unix, source, request, tag);
        let response = match from {
            Ok(_) => not_allowed(request, tag),
            Err(response) => response,
        };
        self.reply(now, source, response);
    }

    /// A ping is answered to everybody, with 200 only while calls are possible; what we can do is told to those who are known.
    fn options(&mut self, now: Instant, source: Hop, request: &Request, tag: &str) {
        let is_known = self.common.gate.is_known(source.ip());
        if !is_known && !self.common.settings.sip.answers_pings {
            return self.common.metrics.sip_ping_ignored();
        }
        let status = if self.common.is_open() { 200 } else { 503 };
        let mut response = respond(request, status, "", Some(tag));
        if status == 503 {
            let wait = STOPPED_FOR.as_secs();
            response.headers.push(HeaderName::from("Retry-After"), wait);
        }
        if is_known {
            response.headers.push(HeaderName::Allow, ALLOW);
            response.headers.push(HeaderName::Accept, "application/sdp");
        }
        self.reply(now, source, response);
    }

    /// Answers a request that has no transaction, and forgets it.
    fn reply(&mut self, now: Instant, source: Hop, response: Response) {
        self.count_answer(&response);
        self.transactions
            .handle_input(now, Input::Reply { source, response });
    }

    fn count_answer(&self, response: &Response) {
        let method = response
            .headers
            .cseq()
            .map_or_else(String::new, |cseq| cseq.method.as_str().to_owned());
        self.common
            .metrics
            .sip_response(metrics::Flow::Out, &method, response.status);
    }

    fn answer(&mut self, tx: ServerKey, response: Response, _: &mut Context<Self>) {
        self.count_answer(&response);
        self.transactions
            .handle_input(Instant::now(), Input::Respond { tx, response });
    }

    fn cancelled(&mut self, tx: ServerKey, reason: Option<String>) {
        match self.invites.get(&tx) {
            Some(owner) => self.deliver(Some(*owner), CallInput::Cancelled { tx, reason }),
            // The registry is still deciding: the leg hears of it as soon as it is bound.
            None if self.cancelled.len() < EARLY_CANCELS => {
                self.cancelled.insert(tx);
            }
            None => {}
        }
    }

    fn response(&mut self, now: Instant, owner: Owner, tx: ClientKey, response: Response) {
        let method = response
            .headers
            .cseq()
            .map_or_else(String::new, |cseq| cseq.method.as_str().to_owned());
        self.common
            .metrics
            .sip_response(metrics::Flow::In, &method, response.status);
        if !response.is_provisional()
            && let Some((sent, _)) = self.sent.remove(&tx)
        {
            let took = now.saturating_duration_since(sent);
            self.common.metrics.sip_request_answered(&method, took);
        }
        self.deliver(Some(owner), CallInput::Response { response });
    }
}

fn not_allowed(request: &Request, tag: &str) -> Response {
    let mut response = respond(request, 405, "", Some(tag));
    response.headers.push(HeaderName::Allow, ALLOW);
    response
}

impl Handler<Received> for Endpoint {
    type Result = ();

    fn handle(&mut self, Received { arrival, at }: Received, ctx: &mut Self::Context) {
        self.watch.handled();
        self.common.valve.taken();
        if self.is_stale(at, &arrival) {
            return self.common.metrics.sip_stale();
        }
        let input = match arrival.clone() {
            Arrival::Message { source, bytes } => Input::Received { source, bytes },
            Arrival::Refused { source, parsed } => Input::Refused { source, parsed },
            Arrival::Ended { hop } => Input::Unreachable { target: hop },
        };
        // The one place where a stranger's bytes are parsed: a panic there, a bug, must not close the front door.
        let now = Instant::now();
        let transactions = &mut self.transactions;
        transactions.set_load(self.common.valve.load());
        let parsed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            transactions.handle_input(now, input)
        }));
        if parsed.is_err() {
            tracing::error!(?arrival, "a message made the parser panic");
        }
        self.drain(now, ctx);
    }
}

impl Handler<Respond> for Endpoint {
    type Result = ();

    fn handle(&mut self, Respond { tx, response }: Respond, ctx: &mut Self::Context) {
        self.watch.handled();
        self.unanswered.remove(&tx);
        if !response.is_provisional() {
            self.cancelled.remove(&tx);
        }
        self.transactions.set_load(self.common.valve.load());
        self.answer(tx, response, ctx);
        self.drain(Instant::now(), ctx);
    }
}

impl Handler<SendRequest> for Endpoint {
    type Result = ();

    fn handle(
        &mut self,
        SendRequest {
            owner,
            target,
            request,
        }: SendRequest,
        ctx: &mut Self::Context,
    ) {
        self.watch.handled();
        let method = request.method.clone();
        let is_invite = method == Method::Invite;
        let is_first = is_invite || method == Method::Register;
        let now = Instant::now();
        let user = owner.map_or(0, |owner| owner.0);
        let target = self.way_of(target, &request);
        let tx = self.transactions.request(now, target, request, user);
        if self.transactions.is_under_way(tx) {
            let metrics = &self.common.metrics;
            metrics.sip_request(metrics::Flow::Out, method.as_str());
        }
        self.sent.insert(tx, (now, is_first));
        // Only the first INVITE can be cancelled; later ones change a session.
        if let Some(bound) = owner.and_then(|owner| self.legs.get_mut(&owner))
            && is_first
        {
            let last = bound.sent_first.replace(tx);
            if let Some(tx) = last.filter(|_| !is_invite)
                && self.sent.remove(&tx).is_some()
            {
                self.transactions.handle_input(now, Input::GiveUp { tx });
            }
        }
        self.drain(now, ctx);
    }
}

impl Handler<SayCancel> for Endpoint {
    type Result = ();

    fn handle(&mut self, SayCancel { owner, reason }: SayCancel, _: &mut Self::Context) {
        self.watch.handled();
        let Some(bound) = self.legs.get(&owner) else {
            return;
        };
        if let (Some(tx), Some(place)) = (bound.sent_first, &bound.place)
            && let Some((to, cancel)) = self.transactions.cancel_of(tx, &reason)
        {
            let farewell = Some(farewell::of_sip(to, sip::Message::Request(cancel)));
            place.call.do_send(LegReport {
                leg: place.leg,
                fact: LegFact::Farewell { farewell },
            });
        }
    }
}

impl Handler<SendAck> for Endpoint {
    type Result = ();

    fn handle(&mut self, SendAck { target, request }: SendAck, ctx: &mut Self::Context) {
        self.watch.handled();
        self.common
            .metrics
            .sip_request(metrics::Flow::Out, request.method.as_str());
        let target = self.way_of(target, &request);
        self.input(Input::Ack { target, request }, ctx);
    }
}

impl Handler<CancelInvite> for Endpoint {
    type Result = ();

    fn handle(&mut self, CancelInvite { owner, reason }: CancelInvite, ctx: &mut Self::Context) {
        self.watch.handled();
        if let Some(tx) = self.legs.get(&owner).and_then(|bound| bound.sent_first) {
            self.input(Input::Cancel { tx, reason }, ctx);
        }
    }
}

impl Handler<Bind> for Endpoint {
    type Result = ();

    fn handle(&mut self, bind: Bind, _: &mut Self::Context) {
        self.watch.handled();
        let sent_first = self
            .legs
            .get(&bind.owner)
            .and_then(|bound| bound.sent_first);
        self.dialogs.insert(bind.dialog.clone(), bind.owner);
        if let Some(tx) = bind.invite {
            self.invites.insert(tx, bind.owner);
            self.unanswered.remove(&tx);
            if self.cancelled.remove(&tx) {
                bind.leg
                    .do_send(FromWire(CallInput::Cancelled { tx, reason: None }));
            }
        }
        let bound = Bound {
            dialog: bind.dialog,
            invite: bind.invite,
            leg: bind.leg,
            place: bind.place,
            sent_first,
        };
        self.legs.insert(bind.owner, bound);
    }
}

impl Handler<Unbind> for Endpoint {
    type Result = ();

    fn handle(&mut self, Unbind { owner }: Unbind, _: &mut Self::Context) {
        self.watch.handled();
        if let Some(bound) = self.legs.remove(&owner) {
            // A successor may have bound the same dialog meanwhile.
            if self.dialogs.get(&bound.dialog) == Some(&owner) {
                self.dialogs.remove(&bound.dialog);
            }
            if let Some(tx) = bound.invite {
                self.invites.remove(&tx);
            }
        }
    }
}
