//! The start of the house: sockets, media plane, store and actors, in this order.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use actix::{Actor, Arbiter, ArbiterHandle};
use model::Transport;
use net::Resolver;
use net::media::{MediaConfig, MediaPlane};
use net::stream::{Arrival, Listener, Patience, Streams, Tls};
use net::telegram::Event;
use net::udp::SipSocket;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use routing::Table;
use sip::Hop;
use store::Store;
use tokio::sync::{mpsc, watch};

use super::{Account, Common, House, Links, Root, Settings, Shared, unix_seconds};
use crate::endpoint::Endpoint;
use crate::events::Events;
use crate::farewell;
use crate::gate::{Gate, GateSettings};
use crate::keeper;
use crate::message::{FromTelegram, Received};
use crate::overload::{Overseer, Passage, Valve};
use crate::session::Session;
use crate::supervise::{Door, DoorKeeper};
use crate::trunk::AllSeries;
use crate::unwritten::UnwrittenCalls;
use crate::watchdog::{self, Watchdog};

/// Why a house does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A SIP address cannot be used.
    #[error(transparent)]
    Sip(#[from] net::udp::BindError),
    /// A SIP address cannot be listened on.
    #[error(transparent)]
    Listen(#[from] net::stream::BindError),
    /// TLS cannot be had.
    #[error(transparent)]
    Tls(#[from] net::stream::TlsError),
    /// A socket cannot be read.
    #[error("the SIP socket cannot be read: {0}")]
    Read(std::io::Error),
    /// The thread of the store cannot be started.
    #[error("the store has no thread: {0}")]
    Thread(std::io::Error),
    /// The media plane does not start.
    #[error(transparent)]
    Media(#[from] net::media::StartError),
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] store::StoreError),
}

/// What a house is made from.
pub struct Parts {
    /// The settings.
    pub settings: Settings,
    /// The media plane's settings.
    pub media: MediaConfig,
    /// The open store.
    pub store: Arc<dyn Store>,
    /// Where numbers are counted.
    pub metrics: metrics::Metrics,
    /// One account for each enabled session.
    pub accounts: Vec<Account>,
}

impl House {
    /// Binds, closes the records of calls that a crash left open, and starts all actors. Must run inside an actix system.
    pub fn start(parts: Parts) -> Result<Self, StartError> {
        let Parts {
            settings,
            media,
            store,
            metrics,
            accounts,
        } = parts;
        let farewells = farewell::close_crashed(&*store)?;
        let (trunks, sessions) = (store.trunks()?, store.sessions()?);
        for trunk in &trunks {
            metrics.add_trunk(&trunk.name, trunk.lines);
            metrics.trunk_enabled(&trunk.name, trunk.enabled);
            metrics.trunk_failure_limit(&trunk.name, trunk.failure_limit);
        }
        for session in &sessions {
            metrics.add_session(&session.name);
            metrics.session_enabled(&session.name, session.enabled);
        }
        metrics.config_applied(unix_seconds() as f64);
        let table = Table::new(trunks, sessions, store.routes()?)
            .with_transits(store.transits()?)
            .with_quotas(store.quotas()?)
            .with_roles(store.roles()?)
            .with_users(store.users()?)
            .with_webhooks(store.webhooks()?);
        let table = Arc::new(table);
        let begun_with = Arc::clone(&table);
        let sockets = settings
            .sip
            .addresses
            .iter()
            .map(|address| SipSocket::bind(*address))
            .collect::<Result<Vec<_>, _>>()?;
        let listen = |transport, addresses: &[SocketAddr]| {
            let bind = |address: &SocketAddr| Listener::bind(transport, *address);
            addresses.iter().map(bind).collect::<Result<Vec<_>, _>>()
        };
        let mut listeners = listen(Transport::Tcp, &settings.sip.tcp)?;
        listeners.extend(listen(Transport::Tls, &settings.sip.tls)?);
        let tls = Tls::new(settings.sip.certificate.clone(), settings.sip.ca.as_deref())?;
        let media = MediaPlane::start(media, metrics.media())?;
        let gate = GateSettings {
            realm: settings.sip.realm.clone(),
            verbose_rejects: settings.sip.verbose_rejects,
            guard: settings.sip.guard.clone(),
        };
        let now = Instant::now();
        let gate = Arc::new(Gate::new(Arc::clone(&table), &gate, metrics.clone(), now));
        gate.restore(
            Instant::now(),
            unix_seconds(),
            &store::read_bans(&*store).unwrap_or_else(|error| {
                tracing::error!(%error, "the bans cannot be read: there are none now");
                Vec::new()
            }),
        );
        let valve = Arc::new(Valve::new(
            settings.sip.limits.clone(),
            settings.sip.verbose_rejects,
            metrics.clone(),
            now,
        ));
        let (registry, endpoint, keeper) = (
            DoorKeeper::default(),
            DoorKeeper::default(),
            DoorKeeper::default(),
        );
        let links = Links::default();
        for account in accounts {
            links.insert(account);
        }
        let receive = {
            let (door, gate, metrics) = (endpoint.door(), Arc::clone(&gate), metrics.clone());
            let valve = Arc::clone(&valve);
            move |arrival| deliver(&door, &gate, &valve, &metrics, arrival)
        };
        let streams = Streams::start(
            listeners,
            tls,
            settings.sip.limits.clone(),
            Patience::default(),
            metrics.clone(),
            receive.clone(),
        )
        .map_err(StartError::Read)?;
        let common = Common(Arc::new(Shared {
            streams,
            resolver: Resolver::new(&settings.sip.name_servers),
            settings,
            events: Events::new(metrics.clone()),
            metrics,
            media,
            gate,
            valve,
            registry: registry.door(),
            endpoint: endpoint.door(),
            keeper: keeper.door(),
            sessions: links,
            series: AllSeries::default(),
            store_health: Arc::default(),
            sip: sockets.iter().map(SipSocket::sender).collect(),
            open: AtomicBool::new(true),
            unwritten: UnwrittenCalls::default(),
        }));
        common.valve.open(Arc::downgrade(&common.0));
        oversee(&common).map_err(StartError::Thread)?;
        let keeper_work = Arc::new(net::Work::default());
        let runtime = net::Pace::new(keeper::BEAT, Arc::clone(&keeper_work))
            .runtime()
            .map_err(StartError::Thread)?;
        let arbiter = Arbiter::with_tokio_rt(move || runtime);
        let keeper_thread = arbiter.handle();
        let (fatal, fatal_rx) = watch::channel(None);
        let root = Root {
            common: common.clone(),
            store: Arc::clone(&store),
            table,
            arbiter,
            keeper_work,
            registry,
            endpoint,
            keeper,
            backoffs: HashMap::new(),
            registries: 0,
            bans_kept: None,
            fatal,
            rng: SmallRng::seed_from_u64(rand::random()),
        };
        let root = root.start();
        for socket in sockets {
            let receive = receive.clone();
            let read = socket.receive(move |datagram| {
                receive(Arrival::Message {
                    source: Hop::udp(datagram.source),
                    bytes: datagram.bytes,
                })
            });
            read.map_err(StartError::Read)?;
        }
        farewell::say(&common, &store, farewells);
        let hangs_end = Arc::new(AtomicBool::new(false));
        let wanted = Arc::clone(&hangs_end);
        let watchdog = watch_threads(&common, &keeper_thread)
            .start(common.metrics.clone(), move |kind| {
                watchdog::abort(kind, &wanted);
            })
            .map_err(StartError::Thread)?;
        Ok(Self {
            common,
            store,
            fatal: fatal_rx,
            root,
            begun_with,
            arbiter: Arbiter::current(),
            hangs_end,
            _watchdog: watchdog,
        })
    }
}

/// Lets every thread say that it is there.
fn watch_threads(common: &Common, keeper: &ArbiterHandle) -> Watchdog {
    let mut watchdog = Watchdog::new();
    tokio::spawn(watchdog.watch("actors").run());
    keeper.spawn(watchdog.watch("keeper").run());
    for runtime in common.media.runtimes() {
        runtime.spawn(watchdog.watch("media").run());
    }
    watchdog
}

/// Looks how much there is to do.
fn oversee(common: &Common) -> std::io::Result<()> {
    // RFC 3261 timers B, F, H and J.
    let kept = common.transactions_config().times.t1 * 64;
    let mut overseer = Overseer::new(&common.valve, common.metrics.clone(), kept);
    tokio::spawn(overseer.watch());
    for runtime in common.media.runtimes() {
        runtime.spawn(overseer.watch());
    }
    overseer.start()
}

/// Hands what arrived to the endpoint; false when it has no room.
fn deliver(
    door: &Door<Endpoint>,
    gate: &Gate,
    valve: &Valve,
    metrics: &metrics::Metrics,
    arrival: Arrival,
) -> bool {
    // What is not listened to costs no more than this.
    let now = Instant::now();
    if let Arrival::Message { source, bytes } = &arrival {
        if !gate.admits(now, source.ip(), bytes) {
            return true;
        }
        let is_known = || gate.is_known(source.ip());
        if valve.pass(now, *source, is_known, bytes) == Passage::Ends {
            return true;
        }
    }
    let received = Received { arrival, at: now };
    let endpoint = door.open();
    let is_delivered = endpoint.is_some_and(|endpoint| endpoint.try_send(received).is_ok());
    if is_delivered {
        valve.put();
    } else {
        metrics.sip_dropped(1);
    }
    is_delivered
}

/// Brings the events of an account to whatever incarnation of its session there is.
pub(super) async fn pump(mut events: mpsc::Receiver<Event>, mut door: Door<Session>) {
    while let Some(event) = events.recv().await {
        let session = match door.open() {
            Some(session) => Some(session),
            None => door.next().await,
        };
        let Some(session) = session else { return };
        // Waiting for the handler is the flow control; an event that kills a session is not tried on the next one.
        let _ = session.send(FromTelegram(event)).await;
    }
}
