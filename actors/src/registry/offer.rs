//! Calls to a PBX, of Telegram users and of other PBXs: where they go, and what the PBX is shown.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use actix::{AsyncContext, Context, Handler};
use model::{
    CallDetails, CallId, CallRecord, Cause, Direction, LegKind, Peer, Reason, SessionName,
    TelegramSide, TrunkKind, TrunkName, TrunkSpec, recorded,
};
use routing::{CallEnd, Dialled, Hunt, Table, TelegramOffer, ToTrunk, World};
use sip::call::Account;
use sip::{HeaderName, Hop, NameAddr, Request, Uri};

use super::{ROLL_CALL, Registry};
use crate::call::{Held, Origin, Plan, SipTarget, tell_over, trunks};
use crate::leg;
use crate::message::{
    CallOffered, Caller, Calling, CloseRecord, Contact, DeclineCall, GiveBack, Group,
    InviteArrived, RingGroup, SipCaller,
};
use crate::trunk::at_domain;

/// The user part of From for a caller whom no rule numbers.
const ANONYMOUS: &str = "anonymous";

/// Max-Forwards of a call that begins here, and of one that came without (RFC 3261 8.1.1.6).
pub(crate) const MAX_FORWARDS: u8 = 70;

/// An attempt at a call.
pub(super) struct Attempt<'a> {
    pub(super) direction: Direction,
    pub(super) trunk: &'a TrunkName,
    /// Empty where there is none.
    pub(super) session: String,
    pub(super) from: String,
    pub(super) to: String,
    /// Who the side is that has tried.
    pub(super) details: CallDetails,
}

/// What is known of an attempt of a PBX.
pub(super) fn of_invite(request: &Request, source: Hop) -> CallDetails {
    let headers = &request.headers;
    let (from, to) = (headers.from(), headers.to());
    let call_id = headers.call_id().unwrap_or_default();
    CallDetails {
        sip: leg::sip_side(call_id, from.as_ref(), to.as_ref(), source),
        ..CallDetails::default()
    }
}

/// What is known of an attempt of, or at, this person.
pub(super) fn of_person(person: &Caller) -> CallDetails {
    CallDetails {
        telegram: leg::telegram_side(person),
        ..CallDetails::default()
    }
}

impl Registry {
    /// An attempt that never became a call is counted and kept all the same.
    pub(super) fn refused_attempt(&self, attempt: Attempt<'_>, cause: &Cause) {
        let id = crate::house::call_id();
        let (kind, via) = match attempt.direction {
            Direction::TgToSip => (LegKind::Telegram, attempt.session.clone()),
            Direction::SipToTg | Direction::SipToSip => (LegKind::Sip, attempt.trunk.to_string()),
        };
        let record = CallRecord {
            id,
            direction: attempt.direction,
            trunk: attempt.trunk.to_string(),
            session: attempt.session,
            from: attempt.from,
            to: attempt.to,
            diverted_from: None,
            started_ms: id.unix_ms(),
            ringing_after_ms: None,
            answered_after_ms: None,
            ended_after_ms: Some(0),
            ended_by: Some(cause.side()),
            outcome: Some(cause.outcome()),
            legs: vec![leg::end(kind, via, cause)],
            to_trunk: String::new(),
            details: CallDetails {
                node: self.common.settings.node.clone(),
                telegram: TelegramSide {
                    error: cause.telegram_error().map(str::to_owned),
                    ..attempt.details.telegram
                },
                ..attempt.details
            },
        };
        self.common.metrics.call_over(&record, cause, cause.side());
        tell_over(&self.common.events, &record);
        let record = Box::new(record);
        let keeper = self.common.keeper.open();
        // Whoever is refused a thousand times a second must not fill the memory with records that wait for the disk.
        if keeper.is_none_or(|keeper| keeper.try_send(CloseRecord { record }).is_err()) {
            self.common.metrics.mailbox_full("keeper");
            tracing::warn!(call = %id, trunk = %attempt.trunk, %cause, "no room to keep the record of a refused call");
        }
    }

    fn route_offer(&mut self, offered: CallOffered, ctx: &mut Context<Self>) -> Result<(), Cause> {
        let CallOffered {
            session,
            caller,
            requested,
            settings,
        } = offered;
        let offer = TelegramOffer {
            session: &session,
            user_id: caller.user_id,
            dialled: caller.dialled.as_ref(),
        };
        let decided = routing::decide_telegram(&self.table, &self.known, &offer);
        let decided = decided.and_then(|hunt| self.worker_answers().map(|()| hunt));
        let mut hunt = decided.inspect_err(|cause| self.nobody_rings(&session, &caller, cause))?;
        let user = self.table.user_at(caller.user_id).cloned();
        let known = user.as_ref().map(|user| &user.name);
        let subjects = self.subjects_with(None, Some(&session), known);
        let admitted = self.admit(&subjects);
        let first = hunt
            .trunks()
            .find(|trunk| self.known.is_reachable(trunk) && !self.known.is_blocked(trunk))
            .cloned()
            .ok_or(Cause::new(Reason::SipAccountUnavailable))?;
        let id = crate::house::call_id();
        let calling = Calling::Telegram(caller.clone());
        let begun = admitted.and_then(|()| self.begin_hunt(id, &session, &calling, &mut hunt));
        let rings = begun.as_ref().ok().and_then(|targets| targets.first());
        let trunk = rings.map_or(first, |target| target.trunk.name.clone());
        self.common.metrics.call_attempt(Direction::TgToSip, &trunk);
        let targets = begun.inspect_err(|cause| {
            self.lines.release(id);
            self.refused_caller(&trunk, &session, &caller, cause);
        })?;
        let Some(shown_first) = targets.first() else {
            return Err(Cause::new(Reason::SipAccountUnavailable));
        };
        let number = shown_first.target.uri.to_string();
        let from = shown(&self.table, &shown_first.trunk, &caller).0;
        self.counters.quotas.begin(id, subjects);
        let held = Held {
            direction: Direction::TgToSip,
            trunk,
            lines: trunks(&targets),
            session: Some(session),
            peer: Some(Peer::UserId(caller.user_id)),
            user: known.cloned(),
        };
        let plan = Plan::ToSip {
            origin: Origin::Telegram {
                requested,
                settings,
            },
            caller: Box::new(calling),
            hunt: Box::new(hunt),
            targets,
        };
        self.start_call(id, held, plan, from, number, ctx);
        Ok(())
    }

    /// A Telegram user has called in vain: that counts for the trunk that should have rung first, and is recorded. A session without a
    /// trunk has nowhere to be called to.
    fn nobody_rings(&self, session: &SessionName, caller: &Caller, cause: &Cause) {
        if let Some(trunk) = self.table.trunks_of(session).next() {
            self.common.metrics.call_attempt(Direction::TgToSip, trunk);
            self.refused_caller(trunk, session, caller, cause);
        }
    }

    fn refused_caller(
        &self,
        trunk: &TrunkName,
        session: &SessionName,
        caller: &Caller,
        cause: &Cause,
    ) {
        let attempt = Attempt {
            direction: Direction::TgToSip,
            trunk,
            session: session.to_string(),
            from: shown_from(&self.table, trunk, caller),
            to: String::new(),
            details: of_person(caller),
        };
        self.refused_attempt(attempt, cause);
    }

    /// Lets a call that came from a trunk leave by others. Lines of both sides are taken here, and returned with the call.
    pub(super) fn route_transit(
        &mut self,
        trunk: &TrunkSpec,
        invite: InviteArrived,
        to: ToTrunk,
        ctx: &mut Context<Self>,
    ) -> Result<(), Cause> {
        let mut hunt = to.hunt;
        let caller = SipCaller {
            trunk: Some(trunk.name.clone()),
            rewritten: to.rewritten,
            ..SipCaller::of(&invite.request, to.number)?
        };
        let subjects = self.subjects(Some(&trunk.name), None);
        self.admit(&subjects)?;
        let id = crate::house::call_id();
        let opened = self.lines.open(id, None, 0);
        let taken = opened.and_then(|()| self.lines.take(id, &trunk.name, trunk.lines));
        let calling = Calling::Sip(caller.clone());
        let begun = match taken {
            Ok(()) => self.first_group(id, &calling, &mut hunt),
            Err(full) => Err(self.no_line(&trunk.name, full)),
        };
        let targets = begun.inspect_err(|_| {
            self.forget_call(id, CallEnd::Other, ctx);
        })?;
        self.counters.quotas.begin(id, subjects);
        let own = [trunk.name.clone()];
        let held = Held {
            direction: Direction::SipToSip,
            trunk: trunk.name.clone(),
            lines: own.into_iter().chain(trunks(&targets)).collect(),
            session: None,
            peer: None,
            user: None,
        };
        let plan = Plan::ToSip {
            origin: Origin::Trunk {
                trunk: Box::new(trunk.clone()),
                invite: Box::new(invite),
            },
            caller: Box::new(calling),
            hunt: Box::new(hunt),
            targets,
        };
        let from = caller.user.unwrap_or_default();
        self.start_call(id, held, plan, from, caller.number, ctx);
        Ok(())
    }

    /// Takes the lines of the first group in which anybody can be called.
    fn begin_hunt(
        &mut self,
        call: CallId,
        session: &SessionName,
        caller: &Calling,
        hunt: &mut Hunt,
    ) -> Result<Vec<SipTarget>, Cause> {
        let limit = self.table.session(session).map_or(0, |spec| spec.lines);
        let opened = self.lines.open(call, Some(session), limit);
        opened.map_err(|_| Cause::new(Reason::LinesLimit))?;
        let user = match caller {
            Calling::Telegram(caller) => self.table.user_at(caller.user_id).cloned(),
            Calling::Sip(_) => None,
        };
        self.take_user(call, user.as_ref())?;
        self.first_group(call, caller, hunt)
    }

    /// The same for a call that has its own line.
    fn first_group(
        &mut self,
        call: CallId,
        caller: &Calling,
        hunt: &mut Hunt,
    ) -> Result<Vec<SipTarget>, Cause> {
        while let Some(trunks) = hunt.next_group() {
            let group = self.group(call, &trunks, caller);
            for cause in group.failures {
                hunt.failed(cause);
            }
            if !group.targets.is_empty() {
                return Ok(group.targets);
            }
        }
        Err(hunt.cause())
    }

    /// Takes a line of each trunk that can be called now.
    fn group(&mut self, call: CallId, trunks: &[TrunkName], caller: &Calling) -> Group {
        let mut group = Group {
            asked: trunks.to_vec(),
            ..Group::default()
        };
        let table = std::sync::Arc::clone(&self.table);
        for trunk in routing::running(&table, &self.known, trunks) {
            let mut subjects = self.subjects(Some(&trunk.name), None);
            subjects.extend(match caller {
                Calling::Telegram(caller) => table.quota_of_route(&trunk.name, &caller.session),
                Calling::Sip(caller) => {
                    let from = caller.trunk.as_ref();
                    from.and_then(|from| table.quota_of_way(from, &trunk.name))
                }
            });
            if let Err(cause) = self.admit(&subjects) {
                group.failures.push(cause);
                continue;
            }
            match self.lines.take(call, &trunk.name, trunk.lines) {
                Ok(()) => {
                    self.count_lines(&trunk.name);
                    if let Some(unit) = self.known.trunks.get_mut(&trunk.name) {
                        unit.failures.placed(call);
                    }
                    group.targets.extend(self.targets(trunk, caller, call));
                }
                Err(full) => group.failures.push(self.no_line(&trunk.name, full)),
            }
        }
        group
    }

    /// The ways to reach a trunk for this caller.
    fn targets(&self, trunk: &TrunkSpec, caller: &Calling, call: CallId) -> Vec<SipTarget> {
        let Some(unit) = self.known.trunks.get(&trunk.name) else {
            return Vec::new();
        };
        let target = |contact| self.target(trunk, caller, call, contact);
        unit.contacts.iter().map(target).collect()
    }

    /// What a number must be to go to this trunk from this caller: the conditions of their route, for the record.
    fn rule(&self, trunk: &TrunkSpec, caller: &Calling) -> String {
        let terms = match caller {
            Calling::Telegram(caller) => {
                let route = self.table.route(&trunk.name, &caller.session);
                route.map(|route| &route.terms)
            }
            Calling::Sip(caller) => {
                let from = caller.trunk.as_ref();
                let way = from.and_then(|from| self.table.transit(from, &trunk.name));
                way.map(|way| &way.terms)
            }
        };
        terms.map_or_else(String::new, |terms| recorded(&terms.matches.to_string()))
    }

    /// The same of the route that a call takes first.
    pub(super) fn rule_of(&self, held: &Held, plan: &Plan) -> String {
        match plan {
            Plan::ToTelegram { .. } => {
                let session = held.session.as_ref();
                let route = session.and_then(|session| self.table.route(&held.trunk, session));
                route.map_or_else(String::new, |route| {
                    recorded(&route.terms.matches.to_string())
                })
            }
            Plan::ToSip { targets, .. } => targets
                .first()
                .map_or_else(String::new, |target| target.rule.clone()),
        }
    }

    /// Where to send what is for a contact, those places last where nobody was found of late.
    fn places(&self, contact: &Contact) -> (Hop, Vec<Hop>) {
        let first = self.common.way_to(contact);
        let is_like = |hop: &Hop| hop.address.is_ipv4() == first.address.is_ipv4();
        let others = contact.others.iter().copied().filter(is_like);
        let mut places: Vec<Hop> = [first].into_iter().chain(others).collect();
        self.common.resolver.sort(&mut places);
        let others = places.split_off(1);
        (places.first().copied().unwrap_or(first), others)
    }

    /// The call to one contact of a trunk.
    pub(super) fn target(
        &self,
        trunk: &TrunkSpec,
        caller: &Calling,
        call: CallId,
        contact: &Contact,
    ) -> SipTarget {
        let (send_to, others) = self.places(contact);
        let here = self.common.sip_address(send_to).address;
        let (user, name) = match caller {
            Calling::Telegram(caller) => shown(&self.table, trunk, caller),
            Calling::Sip(caller) => caller.shown(&self.table, &trunk.name),
        };
        let number = match caller {
            Calling::Telegram(caller) => {
                let dialled = caller.dialled.as_ref();
                let wrote = dialled.and_then(|dialled| dialled.number(&trunk.name));
                // Whoever decided has passed over routes that do not take it; a text goes to the trunk all the same.
                let number = self.table.number_in(&trunk.name, &caller.session, wrote);
                number.unwrap_or_else(|_| trunk.number.clone())
            }
            Calling::Sip(caller) => {
                let rewritten = caller.rewritten.number(&trunk.name);
                Some(rewritten.unwrap_or(&caller.number).to_owned())
            }
        };
        let (uri, to) = self.request_uri(trunk, contact, number.as_deref());
        let at = |user: &str| match &trunk.kind {
            TrunkKind::OutboundRegister { domain, .. } => at_domain(Some(user), domain),
            TrunkKind::InboundRegister { .. } | TrunkKind::Peer { .. } => Uri::at(Some(user), here),
        };
        let identity = NameAddr::new(at(&user)).with_display(&name);
        let from = match &trunk.kind {
            // A registrar knows us by our account and by nothing else.
            TrunkKind::OutboundRegister { login, .. } => {
                NameAddr::new(at(login)).with_display(&name)
            }
            TrunkKind::InboundRegister { .. } | TrunkKind::Peer { .. } => identity.clone(),
        };
        SipTarget {
            rule: self.rule(trunk, caller),
            trunk: Box::new(trunk.clone()),
            target: Box::new(sip::call::Target {
                uri,
                send_to,
                others,
                headers: headers(trunk, caller, call, &identity),
                from,
                to: NameAddr::new(to),
                max_forwards: match caller {
                    Calling::Telegram(_) => MAX_FORWARDS,
                    Calling::Sip(caller) => caller.max_forwards,
                },
                ring_timeout: Duration::from_secs(u64::from(trunk.ring_seconds)),
                account: account(trunk),
            }),
        }
    }

    /// The Request-URI and To for a number. A registered contact is called as it is: phones know no other name than their own; the number on
    /// the PBX stands in To then.
    fn request_uri(
        &self,
        trunk: &TrunkSpec,
        contact: &Contact,
        number: Option<&str>,
    ) -> (Uri, Uri) {
        match &trunk.kind {
            TrunkKind::Peer { .. } => {
                let uri = Uri::reached(Some(number.unwrap_or("s")), contact.send_to);
                (uri.clone(), uri)
            }
            TrunkKind::OutboundRegister { domain, .. } => {
                let uri = at_domain(Some(number.unwrap_or("s")), domain);
                (uri.clone(), uri)
            }
            TrunkKind::InboundRegister { login, .. } => {
                let here = self.common.sip_address(contact.send_to).address;
                let called = number.unwrap_or(login);
                (contact.uri.clone(), Uri::at(Some(called), here))
            }
        }
    }
}

/// What the PBX's challenge to an INVITE is answered with.
fn account(trunk: &TrunkSpec) -> Option<Account> {
    match &trunk.kind {
        TrunkKind::OutboundRegister {
            login,
            password,
            auth_user,
            ..
        } => Some(Account {
            username: auth_user.as_ref().unwrap_or(login).clone(),
            password: password.clone(),
        }),
        TrunkKind::InboundRegister { .. } | TrunkKind::Peer { .. } => None,
    }
}

fn identity(caller: &Caller) -> routing::CallerIdentity<'_> {
    routing::CallerIdentity {
        phone: caller.phone.as_deref(),
        username: caller.username.as_deref(),
        user_id: caller.user_id,
        first_name: &caller.first_name,
        last_name: &caller.last_name,
    }
}

impl SipCaller {
    /// Reads who calls, and how far the call may still go.
    fn of(invite: &Request, number: String) -> Result<Self, Cause> {
        let headers = &invite.headers;
        // RFC 7332 section 4: without this, two PBXs whose routes lead to each other would call forever.
        let left = headers.max_forwards().unwrap_or(MAX_FORWARDS);
        let max_forwards = left.checked_sub(1).ok_or(Cause::new(Reason::TooManyHops))?;
        // RFC 3323 section 4.2: whatever else is asked for, a name is not told.
        let is_private = headers
            .tokens(&HeaderName::from("Privacy"))
            .flat_map(|value| value.split(';'))
            .any(|value| !value.trim().eq_ignore_ascii_case("none"));
        let from = headers.from().filter(|_| !is_private);
        let user = from.as_ref().and_then(|from| from.uri.user());
        let user = user.filter(|user| !user.is_empty() && *user != ANONYMOUS);
        Ok(Self {
            user: user.map(Cow::into_owned),
            display: from.as_ref().and_then(|from| from.display.clone()),
            trunk: None,
            number,
            rewritten: Dialled::default(),
            max_forwards,
        })
    }

    /// The number and the name under which the PBX of a trunk sees the caller.
    fn shown(&self, table: &Table, to: &TrunkName) -> (String, String) {
        let user = match (&self.user, &self.trunk) {
            (Some(user), Some(from)) => table.caller_on_way(from, to, user),
            (user, _) => user.clone(),
        };
        (
            user.unwrap_or_else(|| ANONYMOUS.to_owned()),
            self.display.clone().unwrap_or_default(),
        )
    }
}

/// The number and the name under which the trunk's PBX sees the caller.
fn shown(table: &Table, trunk: &TrunkSpec, caller: &Caller) -> (String, String) {
    let rules = table.caller_rules(&trunk.name, &caller.session);
    let (id, name) = rules.unwrap_or((&trunk.caller_id, &trunk.caller_name));
    let caller = identity(caller);
    let user = routing::caller_id(id, &caller);
    let name = routing::caller_name(name, &caller);
    (
        user.unwrap_or_else(|| ANONYMOUS.to_owned()),
        name.unwrap_or_default(),
    )
}

/// The number of the caller as a trunk would have been shown it.
pub(super) fn shown_from(table: &Table, trunk: &TrunkName, caller: &Caller) -> String {
    let trunk = table.trunk(trunk);
    trunk.map_or_else(String::new, |trunk| shown(table, trunk, caller).0)
}

/// What a dialplan may want to know of the caller. Nothing is asserted (RFC 3325) of one who is anonymous.
fn headers(
    trunk: &TrunkSpec,
    caller: &Calling,
    call: CallId,
    from: &NameAddr,
) -> Vec<(String, String)> {
    let asserted = (from.uri.user().as_deref() != Some(ANONYMOUS))
        .then(|| ("P-Asserted-Identity", from.to_string()));
    let known = match caller {
        Calling::Telegram(caller) if trunk.tg_headers => {
            Some(routing::caller_headers(&identity(caller), call))
        }
        Calling::Telegram(_) | Calling::Sip(_) => None,
    };
    asserted
        .into_iter()
        .chain(known.into_iter().flatten())
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

impl Handler<CallOffered> for Registry {
    type Result = ();

    fn handle(&mut self, offered: CallOffered, ctx: &mut Self::Context) {
        self.watch.handled();
        // Which trunks can be called is known when they have said so.
        if self.calling_roll {
            ctx.notify_later(offered, ROLL_CALL);
            return;
        }
        let (session, user_id) = (offered.session.clone(), offered.caller.user_id);
        let peer = grammers_tl_types::types::InputPhoneCall {
            id: offered.requested.id,
            access_hash: offered.requested.access_hash,
        };
        let refused = if self.draining {
            Err(Cause::new(Reason::WorkerNotReady))
        } else if !self.common.valve.admits_telegram(Instant::now()) {
            Err(Cause::new(Reason::Overloaded))
        } else {
            self.route_offer(offered, ctx)
        };
        if let Err(cause) = refused
            && let Some(session) = self
                .known
                .sessions
                .get(&session)
                .and_then(|unit| unit.address.as_ref())
        {
            session.do_send(DeclineCall {
                peer,
                user_id,
                cause,
            });
        }
    }
}

impl Handler<RingGroup> for Registry {
    type Result = ();

    fn handle(&mut self, ring: RingGroup, ctx: &mut Self::Context) {
        self.watch.handled();
        // Which trunks can be called is known when they have said so.
        if self.calling_roll {
            ctx.notify_later(ring, ROLL_CALL);
            return;
        }
        // A call that is over meanwhile would never return the lines.
        let group = if self.known.calls.contains_key(&ring.call) {
            self.group(ring.call, &ring.trunks, &ring.caller)
        } else {
            Group::default()
        };
        ring.answer.do_send(group);
    }
}

impl Handler<GiveBack> for Registry {
    type Result = ();

    fn handle(&mut self, GiveBack { call, trunk }: GiveBack, _: &mut Self::Context) {
        self.watch.handled();
        self.lines.give_back(call, &trunk);
        if let Some(unit) = self.known.trunks.get_mut(&trunk) {
            unit.failures.gone(call);
        }
        self.count_lines(&trunk);
    }
}
