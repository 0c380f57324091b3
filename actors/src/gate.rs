//! The gate: whether a sender is listened to at all, and which trunk it is.
//!
//! Asked by the reading tasks of `net` for each datagram, before there is a mailbox, and by the endpoint for each request that
//! would begin something: strangers meet nobody else. It is the one thing here that is shared by a lock instead of a mailbox; the lock
//! is held for some microseconds and never across an await. Nothing here dies: what it knows lasts as long as the process.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use model::{
    BanRecord, Cause, HeaderField, IpPrefix, Reason, TrunkKind, TrunkName, TrunkSpec,
    VerboseRejects,
};
use routing::{Identity, Table};
use sip::digest::{Algorithm, Digest, Verdict};
use sip::guard::{Admission, Ban, Guard, GuardConfig};
use sip::{HeaderName, Hop, Method, Request, Response, respond};

use crate::refusal;

/// What the gate needs to know.
#[derive(Debug, Clone)]
pub(crate) struct GateSettings {
    /// The realm of our challenges.
    pub(crate) realm: String,
    /// Who is told in plain words why a request was refused.
    pub(crate) verbose_rejects: VerboseRejects,
    /// Budgets and bans.
    pub(crate) guard: GuardConfig,
}

/// The gate.
pub(crate) struct Gate {
    verbose_rejects: VerboseRejects,
    metrics: metrics::Metrics,
    state: Mutex<State>,
}

struct State {
    table: Arc<Table>,
    guard: Guard,
    digest: Digest,
    /// Where the trunks can be called just now: at their bindings, or at the registrar that has us.
    reached: HashMap<TrunkName, Vec<SocketAddr>>,
}

impl Gate {
    /// A gate that knows the peers of the table.
    pub(crate) fn new(
        table: Arc<Table>,
        settings: &GateSettings,
        metrics: metrics::Metrics,
        now: Instant,
    ) -> Self {
        // SHA-256 beside MD5 makes the phones and test tools of today's Debian give up (see `sip::digest`).
        let digest =
            Digest::new(&settings.realm, rand::random()).with_algorithms(&[Algorithm::Md5]);
        let mut guard = Guard::new(settings.guard.clone(), now, rand::random());
        for address in table.trunks().filter_map(peer_of) {
            guard.know(now, address);
        }
        Self {
            verbose_rejects: settings.verbose_rejects,
            metrics,
            state: Mutex::new(State {
                table,
                guard,
                digest,
                reached: HashMap::new(),
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic while it was held would have left a counter too low, not a structure broken.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a datagram is read; one that is not, is counted.
    pub(crate) fn admits(&self, now: Instant, source: IpAddr, bytes: &[u8]) -> bool {
        // Responses and signs of life of those who are known are no load that they could be blamed for.
        let is_request =
            bytes.first().is_some_and(u8::is_ascii_alphabetic) && !bytes.starts_with(b"SIP/");
        match self.state().guard.admit(now, source, is_request) {
            Admission::Pass => true,
            Admission::OverBudget => {
                self.metrics.sip_over_budget();
                false
            }
            Admission::Banned => {
                self.metrics.sip_banned();
                false
            }
        }
    }

    /// Whether somebody who is known sends from there: a peer, a PBX that is registered, a registrar that has us.
    pub(crate) fn is_known(&self, source: IpAddr) -> bool {
        self.state().guard.is_known(source)
    }

    /// Whether the texts of a trunk's PBX may go to Telegram.
    pub(crate) fn passes_texts(&self, trunk: &TrunkName) -> bool {
        self.state().table.passes_texts(trunk)
    }

    /// Takes note of where a trunk can be reached now.
    pub(crate) fn reached(&self, now: Instant, trunk: &TrunkName, at: Vec<SocketAddr>) {
        let state = &mut *self.state();
        // The last words of a trunk that has been switched off are of no consequence.
        let is_on = state.table.trunk(trunk).is_some_and(|trunk| trunk.enabled);
        let at = if is_on { at } else { Vec::new() };
        for address in &at {
            state.guard.know(now, address.ip());
        }
        let before = if at.is_empty() {
            state.reached.remove(trunk)
        } else {
            state.reached.insert(trunk.clone(), at)
        };
        for address in before.into_iter().flatten() {
            state.guard.forget(address.ip());
        }
    }

    /// From now on these are the trunks that there are. Who has been let in stays in: only what begins is asked for here.
    pub(crate) fn revise(&self, now: Instant, table: Arc<Table>) {
        let state = &mut *self.state();
        let before = std::mem::replace(&mut state.table, table);
        for changed in before.changed_trunks(&state.table) {
            // The new one first: who stays known keeps what it has used of its budget.
            if let Some(address) = changed.after.and_then(peer_of) {
                state.guard.know(now, address);
            }
            let Some(old) = changed.before else { continue };
            if let Some(address) = peer_of(old) {
                state.guard.forget(address);
            }
            if changed.after.is_none_or(|trunk| !trunk.enabled) {
                for address in state.reached.remove(&old.name).into_iter().flatten() {
                    state.guard.forget(address.ip());
                }
            }
        }
    }

    /// Puts the bans in force that an earlier process had.
    pub(crate) fn restore(&self, now: Instant, unix: u64, bans: &[BanRecord]) {
        let guard = &mut self.state().guard;
        for ban in bans {
            let left = ban.until.saturating_sub(unix);
            if left > 0 {
                guard.restore(Ban {
                    prefix: ban.prefix,
                    until: now + Duration::from_secs(left),
                    times: ban.times,
                });
            }
        }
    }

    /// Who is banned now, and a number that changes with them.
    pub(crate) fn bans(&self, now: Instant, unix: u64) -> (u64, Vec<BanRecord>) {
        let guard = &mut self.state().guard;
        let kept = |ban: Ban| BanRecord {
            prefix: ban.prefix,
            until: unix + ban.until.saturating_duration_since(now).as_secs(),
            times: ban.times,
        };
        let bans = guard.bans(now).into_iter().map(kept).collect();
        (guard.generation(now), bans)
    }

    /// Changes whenever the bans do.
    pub(crate) fn ban_generation(&self, now: Instant) -> u64 {
        self.state().guard.generation(now)
    }

    /// Bans by order of an owner.
    pub(crate) fn ban(&self, now: Instant, prefix: IpPrefix, length: Duration) {
        self.state().guard.ban(prefix, now + length);
    }

    /// Lifts a ban; false when there is none.
    pub(crate) fn lift(&self, prefix: IpPrefix) -> bool {
        self.state().guard.lift(prefix)
    }

    /// Finds the trunk behind a request outside any dialog, or the answer that its sender gets instead: a challenge, or
    /// a refusal with `tag`. Address first, then credentials, never a header that anybody can write.
    pub(crate) fn identify(
        &self,
        now: Instant,
        unix: u64,
        source: Hop,
        request: &Request,
        tag: &str,
    ) -> Result<TrunkName, Response> {
        let state = &mut *self.state();
        let table = Arc::clone(&state.table);
        // A registration is of an account: no address stands for its password.
        let by_address = request.method != Method::Register;
        let login = state.digest.username(request);
        let carries = |field: &HeaderField| {
            let name = HeaderName::from(field.name());
            request
                .headers
                .all(&name)
                .any(|value| value.trim() == field.value())
        };
        let sender = routing::identify(&table, source.address, login.as_deref(), &carries);
        let refused = match sender {
            Identity::Peer(trunk) if by_address => return Ok(trunk.name.clone()),
            Identity::Login(trunk) => match state.prove(now, unix, source.ip(), request, trunk) {
                // An owner learns that the address is the trouble, whatever the password: it is the first thing to mend.
                Verdict::Ok | Verdict::WrongPassword if !trunk.trusted_ips.allow(source.ip()) => {
                    Some(Reason::UntrustedIp)
                }
                Verdict::Ok => {
                    state
                        .guard
                        .succeeded(source.ip(), login.as_deref().unwrap_or_default());
                    return Ok(trunk.name.clone());
                }
                Verdict::WrongPassword => Some(Reason::WrongPassword),
                verdict @ (Verdict::Stale | Verdict::Missing | Verdict::Malformed) => {
                    return Err(self.challenge(state, unix, source, request, tag, verdict));
                }
            },
            Identity::UnknownLogin => {
                // The time of the answer must not tell which logins exist.
                match state.digest.check_unknown(unix, source.ip(), request) {
                    Verdict::Ok | Verdict::WrongPassword => Some(Reason::RouteNotFound),
                    verdict @ (Verdict::Stale | Verdict::Missing | Verdict::Malformed) => {
                        return Err(self.challenge(state, unix, source, request, tag, verdict));
                    }
                }
            }
            Identity::Stranger | Identity::Peer(_) => {
                let registrar = by_address.then(|| state.registrar(&table, source, request));
                if let Some(trunk) = registrar.flatten() {
                    return Ok(trunk);
                }
                None
            }
        };
        let Some(reason) = refused else {
            return Err(self.challenge(state, unix, source, request, tag, Verdict::Missing));
        };
        self.failed(state, now, source, login.as_deref(), reason);
        Err(self.refusal(state, unix, source, request, tag, reason))
    }

    fn challenge(
        &self,
        state: &mut State,
        unix: u64,
        source: Hop,
        request: &Request,
        tag: &str,
        verdict: Verdict,
    ) -> Response {
        let is_stale = verdict == Verdict::Stale;
        if is_stale {
            self.metrics.sip_auth_failure("stale_nonce");
        }
        let mut response = respond(request, 401, "", Some(tag));
        for challenge in state.digest.challenge(unix, source.ip(), is_stale) {
            response
                .headers
                .push(HeaderName::WwwAuthenticate, challenge);
        }
        response
    }

    /// Counts a failure, and says in the log what an owner has to know about it.
    fn failed(
        &self,
        state: &mut State,
        now: Instant,
        source: Hop,
        login: Option<&str>,
        reason: Reason,
    ) {
        let trunk = login.and_then(|login| state.table.by_login(login));
        let name = trunk.map_or_else(|| "-".to_owned(), |trunk| trunk.name.to_string());
        let cause = Cause::new(reason);
        tracing::warn!(%source, trunk = %name, %cause, "not let in");
        self.metrics.sip_auth_failure(match reason {
            Reason::WrongPassword => "wrong_password",
            Reason::UntrustedIp => "untrusted_ip",
            _ => "unknown_user",
        });
        // Only guesses at the password of an account that exists are counted with it.
        let account = login.filter(|_| reason == Reason::WrongPassword);
        if let Some(ban) = state.guard.failed(now, source.ip(), account) {
            let wait = ban.until.saturating_duration_since(now);
            tracing::warn!(source = %ban.prefix, times = ban.times, ?wait, "banned: too many failures");
        }
    }

    /// Those who may hear it are told why; all others are asked for their password again, whatever was wrong (SEC-A3).
    fn refusal(
        &self,
        state: &mut State,
        unix: u64,
        source: Hop,
        request: &Request,
        tag: &str,
        reason: Reason,
    ) -> Response {
        let is_known = state.guard.is_known(source.ip());
        if refusal::is_told(self.verbose_rejects, is_known) {
            let cause = Cause::new(reason);
            respond(request, cause.code(), &cause.phrase(), Some(tag))
        } else {
            self.challenge(state, unix, source, request, tag, Verdict::Missing)
        }
    }
}

impl State {
    /// Whether a request comes from the PBX of this trunk, as far as its credentials tell.
    fn prove(
        &mut self,
        now: Instant,
        unix: u64,
        source: IpAddr,
        request: &Request,
        trunk: &TrunkSpec,
    ) -> Verdict {
        let TrunkKind::InboundRegister { login, password } = &trunk.kind else {
            return Verdict::Missing;
        };
        if !self.guard.is_open(now, source, login) {
            return self.digest.check_unknown(unix, source, request);
        }
        self.digest.check(unix, source, request, password.expose())
    }

    /// The trunk by which we are registered at the sender of a request.
    fn registrar(&self, table: &Table, source: Hop, request: &Request) -> Option<TrunkName> {
        // A PBX that registers here may stand at the same address. What anybody can write grants nothing, but it can be asked to
        // prove it.
        let from = request.headers.from();
        let from = from.as_ref().and_then(|from| from.uri.user());
        if from.is_some_and(|login| table.by_login(&login).is_some()) {
            return None;
        }
        let registrars = self.reached.iter().flat_map(|(name, reached)| {
            let addresses = reached.iter();
            addresses.map(move |address| (name, *address))
        });
        let user = request.uri.user().unwrap_or_default();
        let trunk = routing::identify_registrar(table, registrars, source.address, &user)?;
        Some(trunk.name.clone())
    }
}

/// The address that a peer is known by.
fn peer_of(trunk: &TrunkSpec) -> Option<IpAddr> {
    match &trunk.kind {
        TrunkKind::Peer { address } => Some(address.ip()),
        TrunkKind::InboundRegister { .. } | TrunkKind::OutboundRegister { .. } => None,
    }
}
