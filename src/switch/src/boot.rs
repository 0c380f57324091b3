//! Boot and shutdown: settings, log, store, metrics, accounts, house, admin, ready; and back.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::web::Data;
use actors::{
    Account, GuardConfig, House, Limits, LoadLimits, Pace, Paces, Parts, SessionTimes, SipSettings,
    StartError, TelegramSettings,
};
use model::{Secret, SessionName};
use net::media::MediaConfig;
use net::stream::Certificate;
use net::telegram::{Params, StorageError, TestDc};
use rustix::process::{Resource, Rlimit, setrlimit};
use store::{Healing, Store, StoreError};
use tokio::signal::unix::{SignalKind, signal};

use crate::admin::{self, Desk};
use crate::alerts::{Alerts, Lookout};
use crate::api::Process;
use crate::api::access::Keyring;
use crate::backups::{self, Backups};
use crate::control;
use crate::failure::Failure;
use crate::keeping::{self, Keeping};
use crate::keys::Keys;
use crate::logging::{self, Levels};
use crate::logins::Logins;
use crate::measured::Measured;
use crate::office::Office;
use crate::reload::Reload;
use crate::scraped::Scraped;
use crate::settings::{self, Loaded, Settings, SipGuard, SipLimits, Sources};
use crate::sinks::Sinks;
use crate::supervisor;
use crate::veil::Veil;
use crate::webhooks::{self, Webhooks};

/// How long calls have for their last words.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Why the switch does not run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BootError {
    /// A socket, the store or a thread of the house.
    #[error("the switch does not start: {0}")]
    Start(#[from] StartError),
    /// The admin listener.
    #[error("the switch does not start: {0}")]
    Admin(#[from] admin::BindError),
    /// The keys of an account.
    #[error("the switch does not start: session {session}: {source}")]
    Account {
        /// The session.
        session: model::SessionName,
        /// What is wrong with its keys.
        source: StorageError,
    },
    /// Without signals it could only be killed.
    #[error("signals cannot be heard: {0}")]
    Signal(std::io::Error),
    /// The thread of the webhooks.
    #[error("the switch does not start: no thread for webhooks: {0}")]
    Webhooks(std::io::Error),
}

impl BootError {
    /// The exit code (`docs/cli.md`).
    pub(crate) fn code(&self) -> u8 {
        match self {
            BootError::Start(StartError::Store(_)) | BootError::Account { .. } => {
                actors::EXIT_STORE_LOST
            }
            BootError::Start(_)
            | BootError::Admin(_)
            | BootError::Signal(_)
            | BootError::Webhooks(_) => 1,
        }
    }
}

/// Runs the switch until a signal ends it; returns the exit code. SIGHUP reads `sources` again.
pub(crate) fn run(loaded: &Loaded, sources: Sources) -> Result<u8, Failure> {
    let settings = &loaded.settings;
    let metrics = metrics::Metrics::new(env!("CARGO_PKG_VERSION"));
    let levels = logging::start(&settings.log, &metrics);
    leave_no_core();
    let store = loaded.open_or_recover(|what| tracing::warn!("{what}"))?;
    metrics.stores_set_aside(store::set_aside_before(&settings.data.store()).len());
    let store = Healing::new(store, &settings.data.store(), Box::new(loaded.key.clone()));
    let veil = Veil::new(settings.cdr.privacy);
    let store: Arc<dyn Store> = Arc::new(Measured::new(store, metrics.clone(), veil.clone()));
    if settings.telegram.application().is_none() {
        tracing::warn!("telegram.api_id and telegram.api_hash are not set: no session can run");
    }
    let backups = Backups::new(
        settings,
        Arc::clone(&store),
        Box::new(loaded.key.clone()),
        metrics.clone(),
    );
    let code = actix::System::new().block_on(serve(
        settings,
        sources,
        store,
        metrics,
        Arc::new(backups),
        (levels, veil),
    ));
    code.map_err(Failure::Boot)
}

/// Memory in pages of 4 KiB instead of 2 MiB, for this process and from now on; a kernel that knows no others has nothing to change.
///
/// The allocator asks for the big ones, and the connection of an account has two buffers of 1 MiB for the largest packet there could
/// be, of which a few pages are ever used: they would cost 3.5 MiB an account.
pub(crate) fn use_small_pages() {
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}

/// A core dump would hold every key and password (SEC-S3). A limit that cannot be set is left as it is.
fn leave_no_core() {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    if let Err(error) = setrlimit(Resource::Core, none) {
        tracing::warn!(%error, "a crash may leave a core dump, which holds secrets");
    }
}

async fn serve(
    settings: &Settings,
    sources: Sources,
    store: Arc<dyn Store>,
    metrics: metrics::Metrics,
    backups: Arc<Backups>,
    (levels, veil): (Levels, Veil),
) -> Result<u8, BootError> {
    let started = Instant::now();
    let sessions = store.sessions().map_err(StartError::from)?;
    let mut accounts = Vec::new();
    for session in sessions.into_iter().filter(|session| session.enabled) {
        let params = telegram_params(settings);
        accounts.push(account(&params, &store, session.name, &metrics)?);
    }
    let parts = Parts {
        settings: house_settings(settings),
        media: media_config(settings),
        store: Arc::clone(&store),
        metrics: metrics.clone(),
        accounts,
    };
    // Before the calls that a crash has left are closed.
    let sinks = Sinks::start(&settings.cdr, &store, &metrics).map_err(StartError::from)?;
    let house = Arc::new(House::start(parts)?);
    limit_load(&house, &settings.overload);
    let office = office(settings, &store, &house, &metrics).map_err(StartError::from)?;
    let webhooks = start_webhooks(settings, &store, &house, &office, veil.clone()).await?;
    let logins = Logins::new(
        telegram_params(settings),
        settings.telegram.application().is_some(),
        Arc::clone(&store),
        Arc::clone(&office),
        Arc::clone(&house),
    );
    let keeping = Arc::new(Keeping::new(Arc::clone(&store), &settings.cdr.keep));
    let stats = store.stats().map_err(StartError::from)?;
    let alerts = Arc::new(Alerts::default());
    let desk = Desk {
        settings: Data::new(settings.clone()),
        logins: Data::new(logins),
        webhooks: Data::from(Arc::clone(&webhooks)),
        process: Data::new(Process {
            node: settings.node.name.to_string(),
            started,
            schema: stats.schema,
            migration: stats.migration,
            scraped: Scraped::default(),
        }),
        house: Data::from(Arc::clone(&house)),
        keyring: Data::new(Keyring::open(Arc::clone(&store)).map_err(StartError::from)?),
        levels: Data::new(levels),
        veil: Data::new(veil.clone()),
        alerts: Data::from(Arc::clone(&alerts)),
        orders: Data::default(),
        listeners: Data::default(),
        office: Data::from(office),
        backups: Data::from(Arc::clone(&backups)),
        store: Data::from(store),
    };
    let mut reload = Reload::new(
        sources,
        settings.clone(),
        desk.levels.clone(),
        metrics.clone(),
    );
    let (server, admin) = admin::start(
        &settings.admin,
        metrics,
        desk.clone(),
        settings.data.store(),
    )?;
    tokio::spawn(server);
    let socket = settings.data.dir.join(control::SOCKET);
    let lookout = Lookout {
        house: Arc::clone(&house),
        backups: Arc::clone(&backups),
        sinks: sinks.failing(),
        store: settings.data.store(),
        alerts,
    };
    let lookout = tokio::spawn(lookout.watch());
    let nightly = tokio::spawn(backups::nightly(backups));
    let tidy = tokio::spawn(keeping::tidy(Arc::clone(&keeping)));
    let control = match control::start(&settings.data.dir, desk) {
        Ok((server, handle)) => {
            tokio::spawn(server);
            Some(handle)
        }
        Err(error) => {
            // The switch does without: calls matter more.
            tracing::warn!(path = %socket.display(), %error, "commands cannot reach this switch while it runs");
            None
        }
    };
    let mut terminate = signal(SignalKind::terminate()).map_err(BootError::Signal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(BootError::Signal)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(BootError::Signal)?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), node = %settings.node.name, "the switch runs");
    house.end_when_a_thread_hangs();
    supervisor::ready();
    let alive = tokio::spawn(supervisor::alive(Arc::clone(&house)));
    let code = loop {
        tokio::select! {
            _ = terminate.recv() => break 0,
            _ = interrupt.recv() => break 0,
            code = house.failed() => break code,
            _ = hangup.recv() => {
                reload.again().await;
                limit_load(&house, &reload.settings().overload);
                keeping.set(&reload.settings().cdr.keep);
                veil.set(reload.settings().cdr.privacy);
            }
        }
    };
    supervisor::stopping();
    if code == 0 {
        let patience = Duration::from_secs(u64::from(reload.settings().shutdown.drain_s));
        tracing::info!(
            ?patience,
            "stopping: new calls are refused, calls may go on"
        );
        tokio::select! {
            () = house.drain() => {}
            _ = house.failed() => tracing::error!("nobody sees to calls any more: they are ended"),
            () = tokio::time::sleep(patience) => tracing::warn!("calls that go on are ended"),
            _ = terminate.recv() => tracing::warn!("told twice: calls are ended"),
            _ = interrupt.recv() => tracing::warn!("told twice: calls are ended"),
        }
    }
    nightly.abort();
    tidy.abort();
    lookout.abort();
    alive.abort();
    house.stop(LAST_WORDS).await;
    let _ = tokio::task::spawn_blocking(move || sinks.stop()).await;
    webhooks.stop().await;
    admin.stop(true).await;
    if let Some(control) = control {
        control.stop(true).await;
        let _ = std::fs::remove_file(&socket);
    }
    tracing::info!(code, "stopped");
    Ok(code)
}

/// Webhooks follow the records from now on.
async fn start_webhooks(
    settings: &Settings,
    store: &Arc<dyn Store>,
    house: &Arc<House>,
    office: &Arc<Office>,
    veil: Veil,
) -> Result<Arc<Webhooks>, BootError> {
    let (store, house) = (Arc::clone(store), Arc::clone(house));
    let node = settings.node.name.to_string();
    let table = office.current().await.table;
    let started = Webhooks::start(store, house, node, veil, &table);
    let (webhooks, gone) = started.map_err(BootError::Webhooks)?;
    let webhooks = Arc::new(webhooks);
    let follower = Arc::clone(&webhooks);
    office.watched_by(move |table| follower.follow(table));
    actix_web::rt::spawn(webhooks::disable_the_gone(gone, Arc::clone(office)));
    Ok(webhooks)
}

/// How to reach Telegram.
pub(crate) fn telegram_params(settings: &Settings) -> Params {
    let telegram = &settings.telegram;
    let deadline = Duration::from_secs(u64::from(telegram.rpc_timeout_s));
    Params {
        api_id: telegram.api_id,
        api_hash: Secret::new(telegram.api_hash.expose().clone()),
        test_dc: telegram
            .test_dc
            .server()
            .map(|(id, address)| TestDc { id, address }),
        call_deadline: deadline,
        deadline: Duration::from_secs(30),
    }
}

/// Where the records of this switch are changed while it runs.
fn office(
    settings: &Settings,
    store: &Arc<dyn Store>,
    house: &Arc<House>,
    metrics: &metrics::Metrics,
) -> Result<Arc<Office>, StoreError> {
    let connect = {
        let (params, store, metrics) = (
            telegram_params(settings),
            Arc::clone(store),
            metrics.clone(),
        );
        move |session: &SessionName| match account(&params, &store, session.clone(), &metrics) {
            Ok(account) => Some(account),
            Err(error) => {
                tracing::error!(%session, %error, "it cannot be connected");
                None
            }
        }
    };
    let office = Office::new(Arc::clone(store), Arc::clone(house), Arc::new(connect))?;
    Ok(Arc::new(office))
}

fn account(
    params: &Params,
    store: &Arc<dyn Store>,
    session: SessionName,
    metrics: &metrics::Metrics,
) -> Result<Account, BootError> {
    let keys = Arc::new(Keys::new(Arc::clone(store), session.clone()));
    match net::telegram::connect(params.clone(), keys, metrics.clone()) {
        Ok((client, events)) => Ok(Account {
            session,
            client,
            events,
        }),
        Err(source) => Err(BootError::Account { session, source }),
    }
}

/// Says when there is too much to do.
fn limit_load(house: &House, overload: &settings::Overload) {
    let ms = |number: u32| Duration::from_millis(u64::from(number));
    let limits = LoadLimits {
        delay: ms(overload.delay_ms),
        cpu: f64::from(overload.cpu_percent) / 100.0,
        memory: u64::from(overload.memory_mib) << 20,
        mailbox: ms(overload.mailbox_ms),
    };
    house.limit_load(limits, ms(overload.stranger_wait_ms));
}

/// What the actors need to know.
pub(crate) fn house_settings(settings: &Settings) -> actors::Settings {
    let (sip, telegram) = (&settings.sip, &settings.telegram);
    actors::Settings {
        node: settings.node.name.to_string(),
        sip: SipSettings {
            addresses: sip.udp.clone(),
            name_servers: sip.name_servers.clone(),
            tcp: sip.tcp(),
            tls: sip.tls(),
            certificate: (!sip.tls_certificate.as_os_str().is_empty()).then(|| Certificate {
                chain: sip.tls_certificate.clone(),
                key: sip.tls_key.clone(),
            }),
            ca: Some(sip.tls_ca.clone()).filter(|file| !file.as_os_str().is_empty()),
            public_address: sip.public_address,
            realm: sip.realm.to_string(),
            verbose_rejects: sip.verbose_rejects,
            limits: limits(&sip.limits),
            guard: guard(&sip.guard),
            answers_pings: sip.guard.pings,
            ban_file: Some(sip.guard.ban_file.clone()).filter(|path| !path.as_os_str().is_empty()),
            user_agent: Some(sip.user_agent.to_string()).filter(|agent| !agent.is_empty()),
            t1: Duration::from_millis(u64::from(sip.t1_ms)),
            session: SessionTimes {
                expires: sip.session_expires_s,
                min: sip.min_se_s,
            },
        },
        telegram: TelegramSettings {
            library_versions: telegram
                .library_versions
                .iter()
                .map(ToString::to_string)
                .collect(),
            p2p: telegram.p2p,
            notify_errors: telegram.notify_errors,
            paces: paces(&telegram.pace),
        },
    }
}

fn paces(of: &settings::Pace) -> Paces {
    let (minute, hour) = (Duration::from_secs(60), Duration::from_secs(3600));
    // An hour's look-ups may be made at once: a list of people to call comes in one piece.
    let hourly = |count| Pace::new(count, hour, count);
    Paces {
        calls: Pace::new(of.calls_per_minute, minute, of.calls_burst),
        phones: hourly(of.phones_per_hour),
        usernames: hourly(of.usernames_per_hour),
        texts: Pace::new(of.texts_per_minute, minute, of.texts_per_minute),
    }
}

fn limits(of: &SipLimits) -> Limits {
    let size = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    let (head, body) = (size(of.head), size(of.body));
    Limits {
        // On a connection one message may fill both.
        message: head + body + 32 * 1024,
        head,
        line: size(of.line),
        headers: size(of.headers),
        vias: size(of.vias),
        routes: size(of.routes),
        contacts: size(of.contacts),
        body,
    }
}

fn guard(of: &SipGuard) -> GuardConfig {
    let seconds = |number: u32| Duration::from_secs(u64::from(number));
    GuardConfig {
        stranger_rate: of.stranger_rate,
        stranger_burst: of.stranger_burst,
        strangers_rate: of.strangers_rate,
        peer_rate: of.peer_rate,
        failures: of.ban_failures,
        failure_window: seconds(of.ban_window_s),
        ban: seconds(of.ban_s),
        longest_ban: seconds(of.ban_longest_s),
        account_failures: of.account_failures,
        account_window: seconds(of.account_window_s),
        ..GuardConfig::default()
    }
}

fn media_config(settings: &Settings) -> MediaConfig {
    let (rtp, telegram) = (&settings.rtp, &settings.telegram);
    let ipv6 = settings.sip.udp.iter().all(SocketAddr::is_ipv6);
    let any = if ipv6 {
        IpAddr::from(Ipv6Addr::UNSPECIFIED)
    } else {
        IpAddr::from(Ipv4Addr::UNSPECIFIED)
    };
    let loopback = telegram
        .allow_loopback
        .then_some(IpAddr::from(Ipv4Addr::LOCALHOST));
    MediaConfig {
        threads: usize::from(settings.media.threads),
        rtp_range: rtp.range.first..=rtp.range.last,
        rtp_address: rtp.address.unwrap_or(any),
        public_address: settings.sip.public_address,
        rtp_timeout: Duration::from_secs(u64::from(rtp.timeout_s)),
        telegram_addresses: telegram.media_address.or(loopback).into_iter().collect(),
        telegram_public_address: telegram.public_address.or(settings.sip.public_address),
        telegram_ports: telegram
            .media_range
            .as_ref()
            .map(|range| range.first..=range.last),
        frame_ms: telegram.frame_ms,
    }
}
