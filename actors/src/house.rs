//! The assembled house: what all actors share, the supervisor of the first three, and the handle that `switch` holds.

mod accounts;
mod alerts;
mod report;
mod roles;
mod root;
mod start;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use actix::{Addr, ArbiterHandle, Handler};
use bytes::Bytes;
use model::{
    BanRecord, CallId, Cause, EventId, EventKind, IpPrefix, Reason, SessionName, Transport,
    TrunkName, VerboseRejects,
};
use net::Resolver;
use net::media::MediaPlane;
use net::stream::{Certificate, Streams};
use net::telegram::{Event, Telegram};
use net::udp::SipSender;
use routing::{LoadLimits, Paces, Subject, Table};
use sip::guard::GuardConfig;
use sip::transaction::{SentBy, Times};
use sip::{Hop, Host, Limits, Request, ServerKey, TransactionsConfig, Uri};
use store::Store;
use tokio::sync::{mpsc, watch};

pub(crate) use self::report::CALLING_ROLL;
pub use self::report::{
    CallOrder, CallPage, CallReport, DialOrder, LegSound, NoSuch, Ordered, RefusalReport, Report,
    RouteReport, SILENT, SessionReport, Sound, TrunkReport, TryCall, Via,
};
pub(crate) use self::roles::StoreHealth;
pub use self::roles::{MANAGER, RoleReport};
pub(crate) use self::root::Root;
pub use self::root::{EXIT_REGISTRY_LOST, EXIT_STORE_LOST};
pub use self::start::{Parts, StartError};

use crate::endpoint::Endpoint;
use crate::events::{About, Again, Events, Listener};
use crate::gate::Gate;
use crate::keeper::Keeper;
use crate::message::{
    Apply, Contact, DescribeCall, DialCall, Drain, EndAll, EndCall, FindCall, FoundCalls, Inspect,
    Linked, ListCalls, ListQuotas, ListSessions, ListTrunks, OrderCall, ResetQuota, Respond,
    Settle, TryRoute, Unblock,
};
use crate::overload::{LoadReport, Valve};
use crate::refusal;
use crate::registry::{QuotaReport, Registry};
use crate::session::Session;
use crate::supervise::{Door, DoorKeeper};
use crate::trunk::AllSeries;
use crate::unwritten::UnwrittenCalls;
use crate::watchdog::Watchdog;

/// Octets of a request that are too many for a datagram when the way is not known (RFC 3261 18.1.1).
const DATAGRAM: usize = 1300;

/// What the SIP side of the house needs to know.
#[derive(Debug, Clone)]
pub struct SipSettings {
    /// Where to listen, UDP; at most one of each address family is used for sending.
    pub addresses: Vec<SocketAddr>,
    /// Whom to ask for names; nothing: those that this host asks.
    pub name_servers: Vec<SocketAddr>,
    /// Where to listen, TCP.
    pub tcp: Vec<SocketAddr>,
    /// Where to listen, TLS; needs a certificate.
    pub tls: Vec<SocketAddr>,
    /// What we show to those who connect by TLS.
    pub certificate: Option<Certificate>,
    /// A file with the roots to trust instead of the system's.
    pub ca: Option<PathBuf>,
    /// The address to write into Via, Contact and SDP instead of the local one.
    pub public_address: Option<IpAddr>,
    /// The realm of our challenges.
    pub realm: String,
    /// Who is told in plain words why a request was refused.
    pub verbose_rejects: VerboseRejects,
    /// How much one message may have.
    pub limits: Limits,
    /// Budgets of senders, and bans.
    pub guard: GuardConfig,
    /// Whether OPTIONS of strangers is answered.
    pub answers_pings: bool,
    /// Where the banned are written, one address or network a line, for a firewall.
    pub ban_file: Option<PathBuf>,
    /// The value of User-Agent and Server.
    pub user_agent: Option<String>,
    /// T1 of RFC 3261.
    pub t1: Duration,
    /// What is wanted of session timers (RFC 4028).
    pub session: sip::call::SessionTimes,
}

/// What the Telegram side of the house needs to know.
#[derive(Debug, Clone)]
pub struct TelegramSettings {
    /// The library versions to offer, best first.
    pub library_versions: Vec<String>,
    /// Whether direct connections may be offered.
    pub p2p: bool,
    /// Whether a Telegram user whose call nobody took is told why, in the chat.
    pub notify_errors: bool,
    /// How often a session calls and looks people up.
    pub paces: Paces,
}

/// All settings of the house.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The name of this node, for call records.
    pub node: String,
    /// SIP.
    pub sip: SipSettings,
    /// Telegram.
    pub telegram: TelegramSettings,
}

/// A logged-in account to be used by the house.
pub struct Account {
    /// The name of its session.
    pub session: SessionName,
    /// What carries out its requests.
    pub client: Arc<dyn Telegram>,
    /// What it receives.
    pub events: mpsc::Receiver<Event>,
}

/// A session's connection, which outlives the actor.
pub(crate) struct SessionLink {
    pub(crate) client: Arc<dyn Telegram>,
    pub(crate) door: DoorKeeper<Session>,
    /// The session is off, and its connection is being closed.
    is_closing: AtomicBool,
}

/// The connections of all sessions that are on. They change when an owner switches a session; the lock is held for a look-up and
/// never across an await.
#[derive(Default)]
pub(crate) struct Links(RwLock<HashMap<SessionName, Arc<SessionLink>>>);

impl Links {
    /// The connection of a session, unless it is being closed.
    pub(crate) fn get(&self, session: &SessionName) -> Option<Arc<SessionLink>> {
        let links = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let link = links.get(session).map(Arc::clone);
        link.filter(|link| !link.is_closing.load(Ordering::Relaxed))
    }

    pub(crate) fn has(&self, session: &SessionName) -> bool {
        let links = self.0.read().unwrap_or_else(PoisonError::into_inner);
        links.contains_key(session)
    }

    fn all(&self) -> Vec<Arc<SessionLink>> {
        let links = self.0.read().unwrap_or_else(PoisonError::into_inner);
        links.values().map(Arc::clone).collect()
    }

    fn insert(&self, account: Account) {
        let door = DoorKeeper::default();
        tokio::spawn(start::pump(account.events, door.door()));
        let link = SessionLink {
            client: account.client,
            door,
            is_closing: AtomicBool::new(false),
        };
        let mut links = self.0.write().unwrap_or_else(PoisonError::into_inner);
        links.insert(account.session, Arc::new(link));
    }

    /// Closes a connection; until that is done there is no other one of this session, for two with the same keys would disturb
    /// each other.
    pub(crate) async fn close(&self, session: &SessionName) {
        let Some(link) = self.get(session) else {
            return;
        };
        link.is_closing.store(true, Ordering::Relaxed);
        if tokio::time::timeout(CLOSING, link.client.close())
            .await
            .is_err()
        {
            tracing::warn!(%session, "the connection does not close: it is left to itself");
        }
        let mut links = self.0.write().unwrap_or_else(PoisonError::into_inner);
        links.remove(session);
    }
}

/// How long an actor has to answer a question of an owner.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long the connection of a session that was switched off may take to close.
const CLOSING: Duration = Duration::from_secs(10);
/// Between two looks whether it is closed.
const CLOSED_YET: Duration = Duration::from_millis(50);

/// What all actors share.
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) metrics: metrics::Metrics,
    pub(crate) media: MediaPlane,
    pub(crate) gate: Arc<Gate>,
    pub(crate) valve: Arc<Valve>,
    pub(crate) registry: Door<Registry>,
    pub(crate) endpoint: Door<Endpoint>,
    pub(crate) keeper: Door<Keeper>,
    pub(crate) sessions: Links,
    pub(crate) series: AllSeries,
    pub(crate) store_health: Arc<StoreHealth>,
    pub(crate) streams: Streams,
    pub(crate) events: Events,
    pub(crate) resolver: Resolver,
    sip: Vec<SipSender>,
    open: AtomicBool,
    pub(crate) unwritten: UnwrittenCalls,
}

/// A handle to [`Shared`]; cheap to clone.
#[derive(Clone)]
pub(crate) struct Common(Arc<Shared>);

impl Deref for Common {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

/// A tag for a response outside any dialog.
pub(crate) fn tag() -> String {
    format!("{:016x}", rand::random::<u64>())
}

impl Shared {
    /// Posts to the endpoint; what is posted while there is none is repeated by SIP itself.
    pub(crate) fn to_endpoint<M>(&self, message: M)
    where
        M: actix::Message + Send + 'static,
        M::Result: Send,
        Endpoint: Handler<M>,
    {
        if let Some(endpoint) = self.endpoint.open() {
            endpoint.do_send(message);
        }
    }

    /// Posts to the registry; whoever matters announces itself to the next one.
    pub(crate) fn to_registry<M>(&self, message: M)
    where
        M: actix::Message + Send + 'static,
        M::Result: Send,
        Registry: Handler<M>,
    {
        if let Some(registry) = self.registry.open() {
            registry.do_send(message);
        }
    }

    /// Posts to the keeper.
    pub(crate) fn to_keeper<M>(&self, message: M)
    where
        M: actix::Message + Send + 'static,
        M::Result: Send,
        Keeper: Handler<M>,
    {
        if let Some(keeper) = self.keeper.open() {
            keeper.do_send(message);
        }
    }

    /// Refuses a request with the words its sender may hear.
    pub(crate) fn refuse(&self, tx: ServerKey, request: &Request, cause: &Cause, trusted: bool) {
        let response = if refusal::is_told(self.settings.sip.verbose_rejects, trusted) {
            refusal::response(request, cause, &tag())
        } else {
            sip::respond(request, cause.code(), "", Some(&tag()))
        };
        self.to_endpoint(Respond { tx, response });
    }

    /// Whether there is a socket from which to send there.
    pub(crate) fn sends_to(&self, hop: Hop) -> bool {
        let listens = |ours: Hop| {
            ours.transport == hop.transport && ours.address.is_ipv4() == hop.address.is_ipv4()
        };
        self.sender(hop).is_some() || self.streams.local().any(listens)
    }

    fn sender(&self, peer: Hop) -> Option<&SipSender> {
        self.sip
            .iter()
            .find(|sender| sender.local_address().is_ipv4() == peer.address.is_ipv4())
    }

    /// Sends a SIP message: a datagram from the socket of its address family, or by the connection to its hop.
    pub(crate) fn send_sip(&self, target: Hop, bytes: Bytes) {
        if target.is_reliable() {
            self.streams.send(target, bytes);
        } else if let Some(sender) = self.sender(target) {
            sender.send(target.address, &bytes);
        }
    }

    /// Where to send what is for a contact: by the connection it was registered on, and when that is gone to where it says
    /// it is, if that is the same host (RFC 5626 knows no other way back, RFC 3261 18.1.1 opens a new one).
    pub(crate) fn way_to(&self, contact: &Contact) -> Hop {
        let kept = contact.send_to;
        let said = || contact.uri.hop().filter(|said| said.ip() == kept.ip());
        if kept.is_reliable() && !self.streams.has(kept) {
            said().unwrap_or(kept)
        } else {
            kept
        }
    }

    /// Where to send a request of a dialog: as the dialog says, which is where the peer last spoke from. When that was a connection
    /// that is gone, to where the peer says it is, on a new one (RFC 3261 12.2.1.1, 18.1.1), if that is the same host, and as secure.
    pub(crate) fn way_of(&self, kept: Hop, request: &Request) -> Hop {
        if !kept.is_reliable() || !request.is_inside() || self.streams.has(kept) {
            return kept;
        }
        let said = request.next_hop(kept.transport);
        let serves = |said: &Hop| {
            said.ip() == kept.ip()
                && (said.transport == Transport::Tls || kept.transport != Transport::Tls)
        };
        said.filter(serves).unwrap_or(kept)
    }

    /// Our SIP address as `peer` can reach it.
    pub(crate) fn sip_address(&self, peer: Hop) -> Hop {
        let local = self
            .sender(peer)
            .map_or(peer.address, |sender| sender.address_towards(peer.address));
        let listens = |hop: &Hop| {
            hop.transport == peer.transport && hop.address.is_ipv4() == peer.address.is_ipv4()
        };
        let local = match self.streams.local().find(listens) {
            Some(ours) if ours.ip().is_unspecified() => {
                SocketAddr::new(local.ip(), ours.address.port())
            }
            Some(ours) => ours.address,
            None => local,
        };
        let address = match self.settings.sip.public_address {
            // An address of the other family leads nowhere from there.
            Some(public) if !peer.ip().is_loopback() && public.is_ipv4() == local.is_ipv4() => {
                SocketAddr::new(public, local.port())
            }
            _ => local,
        };
        Hop::new(peer.transport, address)
    }

    /// Our end of a dialog with `peer`.
    pub(crate) fn sip_local(&self, peer: Hop) -> sip::call::Local {
        let mut local = sip::call::Local::new(Uri::reached(None, self.sip_address(peer)));
        local.agent.clone_from(&self.settings.sip.user_agent);
        local.times = self.times();
        local.session = self.settings.sip.session;
        local
    }

    fn times(&self) -> Times {
        Times {
            t1: self.settings.sip.t1,
            ..Times::default()
        }
    }

    /// The transaction layer's settings; the address in Via is corrected by `received` and `rport` at the peer.
    pub(crate) fn transactions_config(&self) -> TransactionsConfig {
        let ours = self
            .sip
            .iter()
            .map(|sender| Hop::udp(sender.local_address()))
            .chain(self.streams.local());
        let sent_by: Vec<SentBy> = ours
            .map(|hop| SentBy {
                transport: hop.transport,
                host: Host::from(match self.settings.sip.public_address {
                    Some(public) if public.is_ipv4() == hop.address.is_ipv4() => public,
                    // The unspecified one stands for whichever leads to the peer.
                    _ => hop.ip(),
                }),
                port: Some(hop.address.port()),
            })
            .collect();
        let mut config = TransactionsConfig::new(Host::from(IpAddr::from([127, 0, 0, 1])), None);
        if !sent_by.is_empty() {
            config.sent_by = sent_by;
        }
        if !self.settings.sip.tcp.is_empty() {
            config.datagram = Some(DATAGRAM);
        }
        config.times = self.times();
        config.screened = true;
        config.limits.clone_from(&self.settings.sip.limits);
        config
    }

    /// Whether calls are possible.
    pub(crate) fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed)
    }
}

/// Seconds since 1970.
pub(crate) fn unix_seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

/// Milliseconds since 1970, by a clock that nobody sets (REL-O4): what the system's clock said when this was asked first, and what has passed
/// since then. For all that waits, holds or is counted for a time, and is known by it after a restart as well.
pub(crate) fn steady_millis() -> u64 {
    static BEGAN: OnceLock<(u64, Instant)> = OnceLock::new();
    let (unix, began) = BEGAN.get_or_init(|| (unix_millis(), Instant::now()));
    unix.saturating_add(u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX))
}

/// Milliseconds since 1970 by the system's clock, which may be set at any time: for what people read.
pub(crate) fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}

/// A fresh identifier.
pub(crate) fn call_id() -> CallId {
    CallId::new(unix_millis(), rand::random())
}

/// A running house.
pub struct House {
    pub(crate) common: Common,
    store: Arc<dyn Store>,
    fatal: watch::Receiver<Option<u8>>,
    root: Addr<Root>,
    begun_with: Arc<Table>,
    /// The thread of the actors, which connections belong to as well.
    arbiter: ArbiterHandle,
    hangs_end: Arc<AtomicBool>,
    _watchdog: Arc<Watchdog>,
}

impl House {
    /// How the house is; everything is missing when the registry does not answer within a second.
    pub async fn report(&self) -> Report {
        let silent = || Report {
            missing: vec![SILENT.to_owned()],
            roles: RoleReport::silent(),
            ..Report::default()
        };
        let asked = match self.common.registry.open() {
            Some(registry) => {
                let answer = registry.send(Inspect);
                let answer = tokio::time::timeout(Duration::from_secs(1), answer).await;
                answer.ok().and_then(Result::ok)
            }
            None => None,
        };
        let mut report = asked.unwrap_or_else(silent);
        report.stores = !self.common.store_health.fails();
        self.complete(&mut report.roles);
        if self.common.endpoint.open().is_none() {
            report
                .missing
                .push("the endpoint is being restarted".to_owned());
        }
        if self.common.keeper.open().is_none() {
            report
                .missing
                .push("the keeper is being restarted".to_owned());
        }
        self.common.metrics.ready(report.missing.is_empty());
        report
    }

    /// Who has a quota and what of it is used; nothing when the registry does not answer within a second.
    pub async fn quotas(&self) -> Option<Vec<QuotaReport>> {
        let asked = self.common.registry.open()?.send(ListQuotas);
        let answer = tokio::time::timeout(Duration::from_secs(1), asked).await;
        answer.ok()?.ok()
    }

    /// Forgets what somebody has used; nothing when the registry does not answer within a second.
    pub async fn reset_quota(&self, subject: Subject) -> Option<()> {
        let asked = self.common.registry.open()?.send(ResetQuota { subject });
        let answer = tokio::time::timeout(Duration::from_secs(1), asked).await;
        answer.ok()?.ok()
    }

    /// Lets calls be placed on a trunk again at once that was blocked by its failures; false when there is no such trunk, nothing when
    /// the registry does not answer within a second.
    pub async fn unblock(&self, trunk: TrunkName) -> Option<bool> {
        let asked = self.common.registry.open()?.send(Unblock { trunk });
        let answer = tokio::time::timeout(Duration::from_secs(1), asked).await;
        answer.ok()?.ok()
    }

    /// How the sessions are; nothing when the registry does not answer within a second.
    pub async fn sessions(&self) -> Option<Vec<SessionReport>> {
        let registry = self.common.registry.open()?;
        let asked = registry.send(ListSessions);
        let answer = tokio::time::timeout(Duration::from_secs(1), asked).await;
        answer.ok()?.ok()
    }

    /// Brings trunks, sessions and routes to what the table says: starts, changes and stops what has changed and nothing else. Calls
    /// go on with what they began with; a session that is switched off closes its connection when its last call has ended.
    ///
    /// `connect` makes the connection of a session that was switched on; it is asked when an earlier connection has closed.
    pub async fn apply<F>(&self, table: Arc<Table>, connect: F)
    where
        F: Fn(&SessionName) -> Option<Account> + Clone + Send + 'static,
    {
        let _ = self
            .root
            .send(Apply {
                table: Arc::clone(&table),
            })
            .await;
        let missing = table
            .sessions()
            .filter(|session| session.enabled && self.common.sessions.get(&session.name).is_none());
        for session in missing.map(|session| session.name.clone()) {
            let (common, connect) = (self.common.clone(), connect.clone());
            self.arbiter.spawn(async move {
                while common.sessions.has(&session) {
                    if common.sessions.get(&session).is_some() {
                        // An earlier change has connected it.
                        return;
                    }
                    tokio::time::sleep(CLOSED_YET).await;
                }
                if let Some(account) = connect(&session) {
                    common.sessions.insert(account);
                    common.to_registry(Linked { session });
                }
            });
        }
    }

    /// The records that the house began with.
    pub fn table(&self) -> Arc<Table> {
        Arc::clone(&self.begun_with)
    }

    /// Asks the registry, which has a second to answer.
    async fn ask<M>(&self, question: M) -> Option<M::Result>
    where
        M: actix::Message + Send + 'static,
        M::Result: Send,
        Registry: Handler<M>,
    {
        let registry = self.common.registry.open()?;
        let answer = tokio::time::timeout(PATIENCE, registry.send(question)).await;
        answer.ok()?.ok()
    }

    /// The calls that go on, from the one that began after `after`, oldest first; nothing when the registry does not answer.
    pub async fn calls(&self, after: Option<CallId>, limit: usize) -> Option<CallPage> {
        Some(describe(self.find_calls(after, limit).await?).await)
    }

    pub(crate) async fn find_calls(
        &self,
        after: Option<CallId>,
        limit: usize,
    ) -> Option<FoundCalls> {
        self.ask(ListCalls { after, limit }).await
    }

    /// A call that goes on.
    pub async fn call(&self, call: CallId) -> Option<CallReport> {
        let call = self.ask(FindCall { call }).await??;
        let asked = tokio::time::timeout(PATIENCE, call.send(DescribeCall)).await;
        asked.ok()?.ok().map(|report| *report)
    }

    /// Ends a call; false when there is none.
    pub async fn hang_up(&self, call: CallId) -> bool {
        let Some(Some(address)) = self.ask(FindCall { call }).await else {
            return false;
        };
        tracing::info!(%call, "ended by an owner");
        let cause = Cause::new(Reason::NormalClearing);
        address.send(EndCall { cause }).await.is_ok()
    }

    /// Does something to a call that goes on; nothing when there is none.
    pub async fn order_call(&self, call: CallId, order: CallOrder) -> Option<Ordered> {
        let address = self.ask(FindCall { call }).await??;
        let asked = tokio::time::timeout(PATIENCE, address.send(OrderCall(order))).await;
        asked.ok()?.ok()
    }

    /// Listens to events from now on.
    pub fn listen(&self) -> Listener {
        self.common.events.listen()
    }

    /// The same of somebody who had this event last: what has come behind it, as far as it is kept, and then what comes.
    pub fn listen_behind(&self, id: EventId) -> (Again, Listener) {
        self.common.events.listen_behind(id)
    }

    /// Where numbers are counted.
    pub fn metrics(&self) -> &metrics::Metrics {
        &self.common.metrics
    }

    /// Tells who listens that the records are others now.
    pub fn records_changed(&self, generation: u64) {
        let data = || serde_json::json!({ "generation": generation });
        let events = &self.common.events;
        events.tell(EventKind::ConfigChanged, About::default(), data);
    }

    /// A fresh id for a call that is to be ordered.
    pub fn new_call(&self) -> CallId {
        call_id()
    }

    /// Orders a call under this id: the Telegram user is called, and when he has answered the number. Returns at once, with the refusal if there is
    /// one; nothing when the registry does not answer, and then the same order may be repeated with the same id.
    pub async fn dial(&self, id: CallId, order: DialOrder) -> Option<Result<(), Cause>> {
        self.ask(DialCall { id, order }).await
    }

    /// Which of the actors that everything stands on live just now.
    pub fn core(&self) -> [(&'static str, bool); 3] {
        [
            ("registry", self.common.registry.open().is_some()),
            ("endpoint", self.common.endpoint.open().is_some()),
            ("keeper", self.common.keeper.open().is_some()),
        ]
    }

    /// How the trunks are, by name; nothing when the registry does not answer.
    pub async fn trunks(&self) -> Option<Vec<TrunkReport>> {
        self.ask(ListTrunks).await
    }

    /// What would become of a call; nothing when the registry does not answer.
    pub async fn try_call(&self, call: TryCall) -> Option<Result<RouteReport, NoSuch>> {
        self.ask(TryRoute(call)).await
    }

    /// Whether a session has a connection, or one that is just being closed.
    pub fn is_connected(&self, session: &SessionName) -> bool {
        self.common.sessions.has(session)
    }

    /// From now on a thread that hangs ends the process (REL-A6). For a process that is nothing but a switch, and is started again: where
    /// somebody else shares its threads, being late is only counted.
    pub fn end_when_a_thread_hangs(&self) {
        self.hangs_end.store(true, Ordering::Relaxed);
    }

    /// From now on there is too much to do when one of these is exceeded: new calls are refused then, in part or all (SEC-D6). Before this
    /// is called, there never is. Requests of strangers are dropped that waited longer than `strangers_wait`; zero: they are not.
    pub fn limit_load(&self, limits: LoadLimits, strangers_wait: Duration) {
        self.common.valve.limit(limits, strangers_wait);
    }

    /// How the load is.
    pub fn load(&self) -> LoadReport {
        self.common.valve.report()
    }

    /// Who is banned now.
    pub fn bans(&self) -> Vec<BanRecord> {
        self.common.gate.bans(Instant::now(), unix_seconds()).1
    }

    /// Bans an address or a network; peers and registered PBXs are heard all the same.
    pub fn ban(&self, prefix: IpPrefix, length: Duration) {
        tracing::info!(%prefix, ?length, "banned by an owner");
        self.common.gate.ban(Instant::now(), prefix, length);
    }

    /// Lifts a ban, and forgets what led to it; false when there is none.
    pub fn lift_ban(&self, prefix: IpPrefix) -> bool {
        let is_lifted = self.common.gate.lift(prefix);
        if is_lifted {
            tracing::info!(%prefix, "a ban was lifted by an owner");
        }
        is_lifted
    }

    /// Waits for the exit code of a house that cannot go on.
    pub async fn failed(&self) -> u8 {
        let mut fatal = self.fatal.clone();
        loop {
            let code = *fatal.borrow_and_update();
            if let Some(code) = code {
                return code;
            }
            if fatal.changed().await.is_err() {
                return EXIT_REGISTRY_LOST;
            }
        }
    }

    /// Refuses new calls, and returns when the last one has ended.
    pub async fn drain(&self) {
        self.common.open.store(false, Ordering::Relaxed);
        self.common.to_registry(Drain);
        // A registry that does not answer, or has not heard yet of all who live, says nothing of calls.
        while !self.report().await.is_empty() || self.common.unwritten.is_some() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Ends all calls, gives them `within` to say their last words, and writes everything out.
    pub async fn stop(&self, within: Duration) {
        self.common.open.store(false, Ordering::Relaxed);
        self.common.to_registry(Drain);
        self.common.to_registry(EndAll);
        let _ = tokio::time::timeout(within, self.drain()).await;
        if let Some(what) = self.report().await.imbalance() {
            tracing::error!(what, "lines were not returned: tell the developers");
        }
        for link in self.common.sessions.all() {
            let _ = tokio::time::timeout(within, link.client.close()).await;
        }
        if let Err(error) = store::write_bans(&*self.store, &self.bans()) {
            tracing::error!(%error, "the bans could not be kept");
        }
        // What was counted of the last calls must not wait for the next look.
        if let Some(registry) = self.common.registry.open() {
            let _ = tokio::time::timeout(within, registry.send(Settle)).await;
        }
        if let Some(keeper) = self.common.keeper.open() {
            let _ = tokio::time::timeout(within, keeper.send(Settle)).await;
        }
        if let Err(error) = self.store.flush() {
            tracing::error!(%error, "the store cannot be flushed");
        }
    }
}

/// Asks calls how they are. One that has ended meanwhile is left out, and those behind it are on the next page all the same.
pub(crate) async fn describe(FoundCalls { calls, next }: FoundCalls) -> CallPage {
    let mut reports = Vec::new();
    for call in calls {
        let asked = tokio::time::timeout(PATIENCE, call.send(DescribeCall)).await;
        reports.extend(asked.ok().and_then(Result::ok).map(|report| *report));
    }
    CallPage {
        calls: reports,
        next,
    }
}
