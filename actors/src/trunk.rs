//! A trunk: who may call on it, and where it can be called.
//!
//! Owns the bindings of a PBX that registers here; our own registration at a PBX; for an IP⇿IP peer its address. Tells the registry
//! where the trunk can be reached. Bindings are kept (soft), so a new incarnation, or a new process, knows them. Its death ends no
//! call.

mod qualify;
mod series;

use std::time::{Duration, Instant};

use actix::{
    Actor, ActorContext, ActorFutureExt as _, AsyncContext, Context, Handler, SpawnHandle,
    WrapFuture as _,
};
use metrics::RegistrationState;
use model::{Cause, HostPort, Reason, Transport, TrunkKind, TrunkSpec};
use net::LocateError;
use net::stream::TlsPeer;
use serde::{Deserialize, Serialize};
use sip::call::CallInput;
use sip::qualify::{Qualify, QualifyInput};
use sip::registration::{
    Binding, Change, Inbound, Outbound, OutboundConfig, OutboundError, OutboundEvent,
    OutboundInput, OutboundOutput, Place, Places,
};
use sip::{Hop, Host, Request, Uri};

pub(crate) use self::qualify::pair;
pub(crate) use self::series::AllSeries;

use crate::house::{Common, tag};
use crate::message::{
    Bind, Contact, FromWire, Leave, Owner, RegisterArrived, Respond, Retire, Revise, SaveBindings,
    SendRequest, TrunkState, Unbind,
};
use crate::supervise::{Watch, at_each_return};

/// A binding as it is kept: times on the wall clock.
#[derive(Serialize, Deserialize)]
struct Kept {
    uri: String,
    send_to: String,
    expires_at: u64,
    q: u16,
    call_id: String,
    cseq: u32,
}

/// A binding as it was kept, for whoever looks while no switch runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptBinding {
    /// The contact that was registered.
    pub contact: String,
    /// Where requests to it go: the address it registered from, behind its transport.
    pub source: String,
    /// When it runs out, in seconds since 1970.
    pub expires_at: u64,
}

/// Reads the bindings of a trunk as the store has them; nothing if they cannot be read.
pub fn kept_bindings(bytes: &[u8]) -> Vec<KeptBinding> {
    let kept: Vec<Kept> = serde_json::from_slice(bytes).unwrap_or_default();
    let kept = kept.into_iter().map(|kept| KeptBinding {
        contact: kept.uri,
        source: kept.send_to,
        expires_at: kept.expires_at,
    });
    kept.collect()
}

/// How long after a name that could not be resolved it is tried again.
const LOOK_UP_AGAIN: Duration = Duration::from_secs(30);

/// How long a registrar has to answer the goodbye of a trunk that is removed.
const GOODBYE: Duration = Duration::from_secs(4);

/// How often a registrar hears from us (NAT forgets after 30 s at the earliest, RFC 4787 4.3 allows no less than 2 minutes).
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// How often it is seen whether the connection to a registrar is still there.
const LOOK_AT_CONNECTION: Duration = Duration::from_secs(5);

/// Our registration at the PBX.
struct Account {
    registration: Outbound,
    /// The registrar did not answer: before the next try its name is looked up again.
    is_lost: bool,
}

impl Account {
    /// Where it is registered, or tried last.
    fn registrar(&self) -> Hop {
        self.registration.places().current().send_to
    }
}

/// The trunk.
pub(crate) struct Trunk {
    common: Common,
    spec: TrunkSpec,
    bindings: Inbound,
    /// The bindings as they were written last.
    saved: Vec<Binding>,
    /// What the registry was told last.
    told: Option<Vec<Contact>>,
    account: Option<Account>,
    /// Whether the peer is there.
    qualify: Option<Qualify>,
    /// Who the responses to our registration are for.
    owner: Owner,
    timer: Option<SpawnHandle>,
    account_timer: Option<SpawnHandle>,
    qualify_timer: Option<SpawnHandle>,
    /// Its record is gone, or it is off: only its goodbye to the registrar is left to say.
    is_retired: bool,
    watch: Watch,
}

impl Trunk {
    /// `kept` are the bindings of an earlier incarnation, as [`SaveBindings`] carried them.
    pub(crate) fn new(common: Common, spec: TrunkSpec, kept: Option<&[u8]>, watch: Watch) -> Self {
        let kept: Vec<Kept> = kept
            .and_then(|bytes| serde_json::from_slice(bytes).ok())
            .unwrap_or_default();
        let (now, unix) = (Instant::now(), crate::house::unix_seconds());
        let bindings = kept.into_iter().filter_map(|kept| {
            let left = kept.expires_at.checked_sub(unix).filter(|left| *left > 0)?;
            Some(Binding {
                uri: kept.uri.parse::<Uri>().ok()?,
                send_to: kept.send_to.parse().ok()?,
                expires_at: now + Duration::from_secs(left),
                q: kept.q,
                call_id: kept.call_id,
                cseq: kept.cseq,
            })
        });
        let bindings = Inbound::restore(rand::random(), bindings.collect());
        Self {
            common,
            spec,
            bindings,
            saved: Vec::new(),
            told: None,
            account: None,
            qualify: None,
            owner: Owner(rand::random_range(1..u64::MAX)),
            timer: None,
            account_timer: None,
            qualify_timer: None,
            is_retired: false,
            watch,
        }
    }

    /// Where the trunk can be called just now.
    fn contacts(&self, now: Instant) -> Vec<Contact> {
        match &self.spec.kind {
            // Nobody waits for a peer that is not there.
            TrunkKind::Peer { .. } if self.qualify.as_ref().is_some_and(|q| !q.is_up()) => {
                Vec::new()
            }
            TrunkKind::Peer { address } => {
                let peer = Hop::new(self.spec.transport, *address);
                vec![Contact {
                    uri: Uri::reached(None, peer),
                    send_to: peer,
                    others: Vec::new(),
                }]
            }
            TrunkKind::OutboundRegister { domain, .. } => self
                .account
                .iter()
                .filter(|account| account.registration.registered_until() > Some(now))
                .map(|account| Contact {
                    uri: at_domain(None, domain),
                    send_to: account.registrar(),
                    others: {
                        let spare = account.registration.places().spare();
                        spare.map(|place| place.send_to).collect()
                    },
                })
                .collect(),
            TrunkKind::InboundRegister { .. } => {
                let bindings = self.bindings.contacts(now).into_iter();
                bindings
                    .map(|binding| Contact {
                        uri: binding.uri,
                        send_to: binding.send_to,
                        others: Vec::new(),
                    })
                    .collect()
            }
        }
    }

    fn tell(&mut self, now: Instant, ctx: &mut Context<Self>) {
        // The name may belong to another incarnation by now.
        if self.is_retired {
            return;
        }
        let contacts = self.contacts(now);
        self.common.metrics.trunk_state(
            &self.spec.name,
            !contacts.is_empty(),
            self.bindings.contacts(now).len(),
        );
        self.common.to_registry(TrunkState {
            trunk: self.spec.name.clone(),
            address: ctx.address(),
            contacts: contacts.clone(),
        });
        self.told = Some(contacts);
        if let Some(timer) = self.timer.take() {
            ctx.cancel_future(timer);
        }
        let ours = self
            .account
            .as_ref()
            .and_then(|account| account.registration.registered_until())
            .filter(|at| *at > now);
        if let Some(at) = [self.bindings.next_expiry(), ours]
            .into_iter()
            .flatten()
            .min()
        {
            self.timer = Some(ctx.run_later(at.saturating_duration_since(now), Self::expire));
        }
    }

    fn expire(&mut self, ctx: &mut Context<Self>) {
        let now = Instant::now();
        for binding in self.bindings.expire(now) {
            tracing::warn!(trunk = %self.spec.name, contact = %binding.uri, "a registration ran out");
        }
        let ours = self.account.as_ref();
        let ours = ours.and_then(|account| account.registration.registered_until());
        if ours.is_some() && ends_at(ours, now).is_none() {
            // The registrar has not answered in time: what it refuses ends at once.
            let metrics = &self.common.metrics;
            metrics.registration(&self.spec.name, RegistrationState::Timeout, None);
        }
        self.tell(now, ctx);
    }

    /// Whether what is written still serves after a restart: the same places, with at least three quarters of their time. A phone
    /// that refreshes more often than that comes again before it runs out, and costs no write each time.
    fn is_saved(&self, now: Instant) -> bool {
        let bindings = self.bindings.contacts(now);
        let serves = |(saved, binding): (&Binding, &Binding)| {
            let gained = binding
                .expires_at
                .saturating_duration_since(saved.expires_at);
            let same_place = saved.uri == binding.uri && saved.send_to == binding.send_to;
            let same = same_place && saved.q == binding.q && saved.call_id == binding.call_id;
            // A shorter time than is written would outlive the phone.
            let no_shorter = binding.expires_at >= saved.expires_at;
            same && no_shorter && gained * 4 <= binding.expires_at.saturating_duration_since(now)
        };
        bindings.len() == self.saved.len() && self.saved.iter().zip(&bindings).all(serves)
    }

    fn save(&mut self, now: Instant) {
        let unix = crate::house::unix_seconds();
        self.saved = self.bindings.contacts(now);
        let kept: Vec<Kept> = self
            .saved
            .iter()
            .cloned()
            .map(|binding| Kept {
                uri: binding.uri.to_string(),
                send_to: binding.send_to.to_string(),
                expires_at: unix + binding.expires_at.saturating_duration_since(now).as_secs(),
                q: binding.q,
                call_id: binding.call_id,
                cseq: binding.cseq,
            })
            .collect();
        if let Ok(bindings) = serde_json::to_vec(&kept) {
            self.common.to_keeper(SaveBindings {
                trunk: self.spec.name.clone(),
                bindings,
            });
        }
    }
}

// ---------------------------------------------------------------- our registration at the PBX

/// An address at the domain of an account.
pub(crate) fn at_domain(user: Option<&str>, domain: &HostPort) -> Uri {
    let host = match domain.ip() {
        Some(ip) => Host::from(ip),
        None => Host::Name(domain.host().to_owned()),
    };
    Uri::sip(user, host, domain.port())
}

impl Trunk {
    /// Looks up where the registrar is, and registers there.
    fn locate(&mut self, ctx: &mut Context<Self>) {
        if self.is_retired {
            return;
        }
        let TrunkKind::OutboundRegister { domain, proxy, .. } = &self.spec.kind else {
            return;
        };
        let host = proxy.as_ref().unwrap_or(domain).clone();
        if self.account.is_none() {
            self.common
                .metrics
                .registration(&self.spec.name, RegistrationState::Registering, None);
        }
        let (resolver, transport) = (self.common.resolver.clone(), self.spec.transport);
        let found = async move { resolver.locate(&host, transport).await };
        ctx.spawn(
            found
                .into_actor(self)
                .map(|found, trunk, ctx| trunk.located(found, ctx)),
        );
    }

    fn located(&mut self, found: Result<Vec<Hop>, LocateError>, ctx: &mut Context<Self>) {
        if self.is_retired {
            return;
        }
        let places = found
            .map_err(|error| error.to_string())
            .and_then(|hops| self.places(&hops));
        match places {
            Ok(places) => {
                if let Some(account) = &mut self.account {
                    account.is_lost = false;
                    account.registration.move_to(places);
                } else {
                    self.open_account(places, ctx);
                }
                self.account_input(OutboundInput::Start, ctx);
            }
            Err(error) => {
                tracing::warn!(trunk = %self.spec.name, error, "the registrar is not found");
                let metrics = &self.common.metrics;
                metrics.registration_attempt(&self.spec.name, "network");
                let account = self.account.as_ref();
                let until = account.and_then(|account| account.registration.registered_until());
                let ends_at = ends_at(until, Instant::now());
                metrics.registration(&self.spec.name, RegistrationState::Timeout, ends_at);
                ctx.run_later(LOOK_UP_AGAIN, Self::locate);
            }
        }
    }

    /// Whether the PBX can be called as it wants to be: who says that he is called by TLS alone must not be called in the clear
    /// (RFC 3261 26.2.2), which is all that a worker can do that has no address for TLS.
    fn can_be_reached(&self, register: &Request) -> bool {
        let mut contacts = register.headers.contacts().into_iter();
        let wants_tls = contacts.any(|contact| contact.uri.transport() == Some(Transport::Tls));
        let mut ours = self.common.streams.local();
        !wants_tls || ours.any(|ours| ours.transport == Transport::Tls)
    }

    /// Those of the hops to which we can send.
    fn places(&self, hops: &[Hop]) -> Result<Places, String> {
        let TrunkKind::OutboundRegister { login, .. } = &self.spec.kind else {
            return Err("it is no registrar".to_owned());
        };
        let place = |hop: Hop| {
            self.expect(hop);
            Place {
                send_to: hop,
                contact: Uri::reached(Some(login), self.common.sip_address(hop)),
            }
        };
        let usable = hops
            .iter()
            .copied()
            .filter(|hop| self.common.sends_to(*hop));
        let mut usable = usable.map(place);
        let first = usable.next();
        let first = first.ok_or_else(|| {
            let hops: Vec<_> = hops.iter().map(ToString::to_string).collect();
            format!(
                "sip.udp and sip.tcp name no address from which to reach {}",
                hops.join(", ")
            )
        })?;
        Ok(Places::new(first, usable.collect()))
    }

    /// What the PBX's certificate has to show before we speak to it by TLS.
    fn expect(&self, hop: Hop) {
        let name = match &self.spec.kind {
            TrunkKind::OutboundRegister { domain, .. } if domain.ip().is_none() => {
                Some(domain.host().to_owned())
            }
            TrunkKind::OutboundRegister { .. }
            | TrunkKind::InboundRegister { .. }
            | TrunkKind::Peer { .. } => None,
        };
        if hop.transport == Transport::Tls {
            let pin = self.spec.tls_digest();
            self.common.streams.expect(hop, TlsPeer { name, pin });
        }
    }

    fn open_account(&mut self, places: Places, ctx: &mut Context<Self>) {
        let TrunkKind::OutboundRegister {
            login,
            password,
            domain,
            auth_user,
            ..
        } = &self.spec.kind
        else {
            return;
        };
        let registrar = places.current().send_to;
        let config = OutboundConfig {
            registrar: at_domain(None, domain),
            places,
            aor: at_domain(Some(login), domain),
            username: auth_user.clone().unwrap_or_else(|| login.clone()),
            password: password.clone(),
            agent: self.common.sip_local(registrar).agent,
        };
        let earlier = self.common.series.of(&self.spec.name, &config.aor);
        let registration = Outbound::new(config, rand::random());
        self.account = Some(Account {
            registration: match earlier {
                Some(series) => registration.in_series(series),
                None => registration,
            },
            is_lost: false,
        });
        self.bind(ctx);
    }

    /// Also after the endpoint was restarted; what it had sent for us is given up in time.
    fn bind(&self, ctx: &mut Context<Self>) {
        let account = self.account.as_ref();
        let id = account.map(|account| account.registration.id());
        if let Some(dialog) = id.or_else(|| self.qualify.as_ref().map(Qualify::id)) {
            self.common.to_endpoint(Bind {
                owner: self.owner,
                dialog,
                invite: None,
                leg: ctx.address().recipient(),
                place: None,
            });
        }
    }

    fn account_input(&mut self, input: OutboundInput, ctx: &mut Context<Self>) {
        let now = Instant::now();
        let mut events = Vec::new();
        if let Some(account) = &mut self.account {
            account.registration.handle_input(now, input);
            loop {
                match account.registration.poll_output() {
                    OutboundOutput::Send { target, request } => {
                        if !self.is_retired {
                            self.common
                                .series
                                .keep(&self.spec.name, &account.registration);
                        }
                        self.common.to_endpoint(SendRequest {
                            owner: Some(self.owner),
                            target,
                            request,
                        });
                    }
                    OutboundOutput::Event(event) => events.push(event),
                    OutboundOutput::Timeout(at) => {
                        if let Some(timer) = self.account_timer.take() {
                            ctx.cancel_future(timer);
                        }
                        self.account_timer = at.map(|at| {
                            let wait = at.saturating_duration_since(now);
                            ctx.run_later(wait, Self::account_due)
                        });
                        break;
                    }
                }
            }
        }
        for event in events {
            if self.is_retired {
                // Whatever came of it, the goodbye is said.
                tracing::info!(trunk = %self.spec.name, ?event, "the trunk has left its registrar");
                ctx.stop();
                return;
            }
            self.account_changed(now, &event);
            self.tell(now, ctx);
        }
    }

    /// By TCP and TLS the registrar calls us on the connection that we registered on, and behind a NAT on no other.
    fn look_at_connection(&mut self, ctx: &mut Context<Self>) {
        let is_gone = self.account.as_ref().is_some_and(|account| {
            let registrar = account.registrar();
            registrar.is_reliable() && !self.common.streams.has(registrar)
        });
        if is_gone && !self.is_retired {
            self.account_input(OutboundInput::Disconnected, ctx);
        }
    }

    fn account_due(&mut self, ctx: &mut Context<Self>) {
        self.account_timer = None;
        if self.account.as_ref().is_some_and(|account| account.is_lost) {
            self.locate(ctx);
        } else {
            self.account_input(OutboundInput::Timeout, ctx);
        }
    }

    fn account_changed(&mut self, now: Instant, event: &OutboundEvent) {
        let (Some(account), name) = (&mut self.account, &self.spec.name) else {
            return;
        };
        let ends_at = ends_at(account.registration.registered_until(), now);
        let metrics = &self.common.metrics;
        match event {
            OutboundEvent::Registered { expires } => {
                tracing::info!(trunk = %name, registrar = %account.registrar(), ?expires, "registered at the PBX");
                metrics.registration_attempt(name, "ok");
                metrics.trunk_last_error(name, 0);
                metrics.registration(name, RegistrationState::Registered, ends_at);
            }
            OutboundEvent::Failed { why, retry_in } => {
                tracing::warn!(trunk = %name, registrar = %account.registrar(), %why, ?retry_in, "not registered at the PBX");
                let (result, state) = match why {
                    OutboundError::TimedOut => ("timeout", RegistrationState::Timeout),
                    OutboundError::Unreachable => ("network", RegistrationState::Timeout),
                    OutboundError::Refused { code, .. } => {
                        metrics.trunk_last_error(name, *code);
                        ("rejected", RegistrationState::Rejected)
                    }
                    OutboundError::NoAnswer(_) => {
                        metrics.trunk_last_error(name, 401);
                        ("rejected", RegistrationState::Rejected)
                    }
                };
                account.is_lost = state == RegistrationState::Timeout;
                metrics.registration_attempt(name, result);
                metrics.registration(name, state, ends_at);
            }
            OutboundEvent::Unregistered => {
                tracing::info!(trunk = %name, "unregistered at the PBX");
                metrics.registration(name, RegistrationState::Off, None);
            }
        }
    }
}

impl Handler<FromWire> for Trunk {
    type Result = ();

    fn handle(&mut self, FromWire(input): FromWire, ctx: &mut Self::Context) {
        self.watch.handled();
        match input {
            CallInput::Response { response } if self.qualify.is_some() => {
                self.qualify_input(QualifyInput::Response(response), ctx);
            }
            CallInput::Failed { .. } if self.qualify.is_some() => {
                self.qualify_input(QualifyInput::Failed, ctx);
            }
            CallInput::Response { response } => {
                self.account_input(OutboundInput::Response(response), ctx);
            }
            CallInput::Failed { why } => self.account_input(OutboundInput::Failed(why), ctx),
            // A registration makes no dialog: nothing else can be for it.
            _ => {}
        }
    }
}

impl Handler<Leave> for Trunk {
    type Result = ();

    fn handle(&mut self, _: Leave, ctx: &mut Self::Context) {
        self.watch.handled();
        self.account_input(OutboundInput::Stop, ctx);
    }
}

/// When a registration that lasts until then ends, in seconds since 1970; none that has run out.
fn ends_at(until: Option<Instant>, now: Instant) -> Option<u64> {
    let left = until?.checked_duration_since(now)?;
    (!left.is_zero()).then(|| crate::house::unix_seconds() + left.as_secs())
}

/// Whether a trunk need not be started anew when its record changes from one to the other: what it talks to its PBX by is the same.
pub(crate) fn is_alike(one: &TrunkSpec, other: &TrunkSpec) -> bool {
    let talks_by = |spec: &TrunkSpec| {
        (
            spec.kind.clone(),
            spec.transport,
            spec.tls_pin.clone(),
            spec.header.clone(),
            spec.qualify,
            spec.enabled,
        )
    };
    talks_by(one) == talks_by(other)
}

/// Whether two records register by the same contact at the same place, so that the second takes over what the first has registered.
pub(crate) fn succeeds(old: &TrunkSpec, new: &TrunkSpec) -> bool {
    match (&old.kind, &new.kind) {
        (
            TrunkKind::OutboundRegister {
                login,
                domain,
                proxy,
                ..
            },
            TrunkKind::OutboundRegister {
                login: new_login,
                domain: new_domain,
                proxy: new_proxy,
                ..
            },
        ) => {
            let same_place = domain == new_domain && proxy == new_proxy;
            let same_contact = login == new_login && old.transport == new.transport;
            new.enabled && same_place && same_contact
        }
        _ => false,
    }
}

impl Handler<Revise<TrunkSpec>> for Trunk {
    type Result = ();

    fn handle(&mut self, Revise(spec): Revise<TrunkSpec>, ctx: &mut Self::Context) {
        self.watch.handled();
        if is_alike(&self.spec, &spec) {
            self.spec = spec;
        } else {
            // A registry that was restarted finds an incarnation of an older record: it will start the right one.
            ctx.stop();
        }
    }
}

impl Handler<Retire> for Trunk {
    type Result = ();

    fn handle(&mut self, retire: Retire, ctx: &mut Self::Context) {
        self.watch.handled();
        self.watch.dismiss();
        self.is_retired = true;
        for timer in [&mut self.timer, &mut self.qualify_timer] {
            if let Some(timer) = timer.take() {
                ctx.cancel_future(timer);
            }
        }
        let metrics = &self.common.metrics;
        metrics.trunk_state(&self.spec.name, false, 0);
        if matches!(self.spec.kind, TrunkKind::OutboundRegister { .. }) {
            metrics.registration(&self.spec.name, RegistrationState::Off, None);
        }
        let is_registered = |account: &Account| {
            let until = account.registration.registered_until();
            until > Some(Instant::now())
        };
        if !retire.is_succeeded {
            self.common.series.forget(&self.spec.name);
        }
        if !retire.is_succeeded && self.account.as_ref().is_some_and(is_registered) {
            self.account_input(OutboundInput::Stop, ctx);
            ctx.run_later(GOODBYE, |_, ctx| ctx.stop());
        } else {
            ctx.stop();
        }
    }
}

crate::supervise::watched!(Trunk);

impl Actor for Trunk {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(256);
        crate::supervise::probe(ctx);
        if let TrunkKind::Peer { address } = &self.spec.kind {
            self.expect(Hop::new(self.spec.transport, *address));
        }
        self.tell(Instant::now(), ctx);
        // A registry that was restarted knows no contacts until it is told.
        at_each_return(ctx, &self.common.registry, |trunk, ctx| {
            trunk.tell(Instant::now(), ctx);
        });
        let registers = matches!(self.spec.kind, TrunkKind::OutboundRegister { .. });
        if registers || self.spec.qualify {
            at_each_return(ctx, &self.common.endpoint, |trunk, ctx| trunk.bind(ctx));
        }
        if registers {
            ctx.run_interval(KEEP_ALIVE, |trunk, _| trunk.keep_alive());
            ctx.run_interval(LOOK_AT_CONNECTION, Self::look_at_connection);
            self.locate(ctx);
        }
        if self.spec.qualify {
            self.ask_peer(ctx);
        }
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.common.to_endpoint(Unbind { owner: self.owner });
    }
}

impl Handler<RegisterArrived> for Trunk {
    type Result = ();

    fn handle(&mut self, register: RegisterArrived, ctx: &mut Self::Context) {
        self.watch.handled();
        let now = Instant::now();
        if !self.can_be_reached(&register.request) {
            let cause = Cause::new(Reason::WorkerAddressNotSet);
            tracing::info!(trunk = %self.spec.name, %cause, "a registration is refused");
            self.common
                .refuse(register.tx, &register.request, &cause, true);
            return;
        }
        let response = match self
            .bindings
            .update(now, &register.request, register.source)
        {
            Ok(done) => {
                for uri in &done.replaced {
                    tracing::warn!(trunk = %self.spec.name, contact = %uri, "too many contacts: the oldest was dropped");
                }
                match done.change {
                    Change::Registered => {
                        tracing::info!(trunk = %self.spec.name, source = %register.source, "the PBX registered");
                    }
                    Change::Removed => {
                        tracing::info!(trunk = %self.spec.name, "the PBX unregistered")
                    }
                    Change::Refreshed | Change::None => {}
                }
                if done.change != Change::None {
                    if !self.is_saved(now) {
                        self.save(now);
                    }
                    // Where nothing moved, only the timer is behind, which looks again when it fires.
                    if self.told.as_ref() != Some(&self.contacts(now)) {
                        self.tell(now, ctx);
                    }
                }
                done.response
            }
            Err(error) => {
                tracing::info!(trunk = %self.spec.name, %error, "a registration is refused");
                error.respond(&register.request, &tag())
            }
        };
        self.common.to_endpoint(Respond {
            tx: register.tx,
            response,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registration_that_has_run_out_has_no_end() {
        let now = Instant::now();
        let minute = Duration::from_secs(60);
        let left = ends_at(Some(now + minute), now).unwrap() - crate::house::unix_seconds();
        assert!((59..=60).contains(&left), "{left}");
        assert_eq!(ends_at(Some(now), now), None);
        assert_eq!(ends_at(Some(now), now + minute), None);
        assert_eq!(ends_at(None, now), None);
    }
}
