//! What every test begins with: a house on loopback with one trunk and one session, a registered phone, and people.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use model::{
    CallRecord, Codec, RouteSpec, Secret, SessionName, SessionSpec, TrunkKind, TrunkName,
    TrunkSpec, VerboseRejects,
};
use net::fake::{
    Line, Manner, Measured, Pace, Person, Phase, Phone, PhoneManner, PhoneSettings, Simulation,
    Status, Telegram, measure, measure_where,
};
use net::media::MediaConfig;
use routing::Paces;
use store::{Change, MasterKey, SledStore, Store};

use super::faulty::{Fault, Faulty};
use crate::{Account, House, Parts, Settings, SipSettings, TelegramSettings};

pub(crate) const LOGIN: &str = "office1234";
pub(crate) const PASSWORD: &str = "a long password";
/// More than any step needs on a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

const HALF_SECOND: Duration = Duration::from_millis(500);

/// Where each test takes its RTP ports from, and how many: enough for a call of any kind in the place of another fifty times.
static RTP: AtomicU16 = AtomicU16::new(20_000);
const RTP_PORTS: u16 = 240;

pub(crate) struct Scene {
    pub(crate) house: House,
    pub(crate) phone: Phone,
    pub(crate) telegram: Telegram,
    pub(crate) store: Arc<dyn Store>,
    /// What of the store does not work.
    pub(crate) fault: Fault,
    pace: Pace,
    _folder: tempfile::TempDir,
}

/// One scene at a time: each carries calls in real time, and is measured by what is heard.
static STAGE: Mutex<()> = Mutex::new(());

/// Runs a test inside the actix system it needs.
pub(crate) fn play(test: impl Future<Output = ()>) {
    let _stage = STAGE.lock().unwrap_or_else(PoisonError::into_inner);
    actix::System::new().block_on(test);
}

impl Scene {
    pub(crate) async fn new() -> Self {
        Self::of(Simulation::default()).await
    }

    pub(crate) async fn of(simulation: Simulation) -> Self {
        Self::with(simulation, &[]).await
    }

    /// Whatever is played, it is played by the same people; further records go over the usual ones.
    pub(crate) async fn with(simulation: Simulation, more: &[Change]) -> Self {
        let scene = Self::build(simulation, more, true, None, Paces::FREE).await;
        scene.ready().await;
        scene
    }

    /// A house whose session has these limits from before.
    pub(crate) async fn limited(limits: &routing::Limiter, paces: Paces) -> Self {
        let scene = Self::build(Simulation::default(), &[], true, Some(limits), paces).await;
        scene.ready().await;
        scene
    }

    /// A house that begins without a connection to Telegram, and a phone that is registered there.
    pub(crate) async fn cut_off() -> Self {
        let scene = Self::build(Simulation::default(), &[], false, None, Paces::FREE).await;
        for _ in 0..100 {
            // Its trunk may not have started yet.
            if scene.phone.register(PASSWORD, 3600).await.status == 200 {
                return scene;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("not registered: {:?}", scene.house.report().await);
    }

    async fn build(
        simulation: Simulation,
        more: &[Change],
        connected: bool,
        limits: Option<&routing::Limiter>,
        paces: Paces,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (store, fault) = (folder.path(), Fault::default());
        let store = SledStore::open(store, &MasterKey::from_octets([7; 32])).unwrap();
        let store: Arc<dyn Store> = Arc::new(Faulty {
            store,
            fault: fault.clone(),
        });
        store.commit(None, &records()).unwrap();
        store.commit(None, more).unwrap();
        if let Some(limits) = limits {
            let limits = serde_json::to_vec(limits).unwrap();
            let session = session();
            let space = store::Space::Telegram(&session);
            store.put_durable(space, crate::LIMITS, &limits).unwrap();
        }
        let people = people();
        let (telegram, events) = Telegram::new(Simulation {
            people,
            ..simulation
        });
        if !connected {
            telegram.disconnect();
        }
        let address = free_address();
        let rtp = RTP.fetch_add(RTP_PORTS, Ordering::Relaxed);
        let house = House::start(Parts {
            settings: settings(address, paces),
            media: MediaConfig {
                rtp_range: rtp..=rtp + RTP_PORTS - 1,
                rtp_address: IpAddr::V4(Ipv4Addr::LOCALHOST),
                telegram_addresses: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
                ..MediaConfig::default()
            },
            store: Arc::clone(&store),
            metrics: metrics::Metrics::new("0.0.0"),
            accounts: vec![Account {
                session: session(),
                client: Arc::new(telegram.clone()),
                events,
            }],
        })
        .unwrap();
        let phone = Phone::start(PhoneSettings {
            house: address,
            login: LOGIN.to_owned(),
            password: PASSWORD.to_owned(),
            codecs: vec![Codec::Alaw],
            manner: PhoneManner::Answer {
                after: Duration::from_millis(100),
            },
            voice: 3,
        })
        .await
        .unwrap();
        Self {
            house,
            phone,
            telegram,
            store,
            fault,
            pace: Pace::watch(),
            _folder: folder,
        }
    }

    /// Waits until the house can carry calls, registers the phone, and waits until the registration is known.
    async fn ready(&self) {
        for _ in 0..100 {
            let status = self.phone.register(PASSWORD, 3600).await.status;
            if status == 200 && self.house.report().await.missing.is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("not ready: {:?}", self.house.report().await);
    }

    /// The phone calls a user who answers; returns both ends, talking.
    pub(crate) async fn phone_calls(&self, username: &str) -> (Line, Line) {
        let from = self.phone.dial(username);
        let to = self
            .telegram
            .next_call(username, PATIENCE)
            .await
            .expect("it should ring");
        reaches(&from, Phase::Talking).await;
        reaches(&to, Phase::Talking).await;
        (from, to)
    }

    /// A user calls the phone, which answers; returns both ends, talking.
    pub(crate) async fn user_calls(&self, username: &str) -> (Line, Line) {
        let from = self.telegram.call_account(username).unwrap();
        let to = self
            .phone
            .next_call(PATIENCE)
            .await
            .expect("it should ring");
        reaches(&from, Phase::Talking).await;
        reaches(&to, Phase::Talking).await;
        (from, to)
    }

    /// Lets people talk for so long, and longer while the machine is busy with something else: four times as long at most.
    pub(crate) async fn talk(&self, long: Duration) {
        let (began, mut kept) = (Instant::now(), Duration::ZERO);
        while kept < long && began.elapsed() < 4 * long {
            let from = Instant::now();
            tokio::time::sleep(HALF_SECOND.min(long.saturating_sub(kept))).await;
            if self.pace.kept(from, Instant::now()) {
                kept += from.elapsed();
            }
        }
    }

    /// How well one heard the other while the machine kept time; if it hardly ever did, how well at all.
    pub(crate) fn heard(&self, speaker: &Status, listener: &Status) -> Measured {
        let said = &speaker.audio.as_ref().unwrap().said;
        let heard = &listener.audio.as_ref().unwrap().heard;
        measure_where(said, heard, |began, ended| self.pace.kept(began, ended))
            .filter(|measured| measured.compared > HALF_SECOND)
            .or_else(|| measure(said, heard))
            .expect("something should be heard")
    }

    /// Waits until so many calls are in progress, with as many lines in use.
    pub(crate) async fn settles_at(&self, calls: usize) {
        let mut report = self.house.report().await;
        for _ in 0..200 {
            let beside = report.session_lines + report.user_lines;
            let is_balanced = report.lines == calls && (calls > 0 || beside == 0);
            if report.calls == calls && is_balanced && report.missing.is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
            report = self.house.report().await;
        }
        panic!("expected {calls} calls: {report:?}");
    }

    /// Returns the value of a series of `/metrics`, written as it stands there but for the prefix.
    pub(crate) fn number(&self, series: &str) -> f64 {
        let text = self.house.common.metrics.render();
        let value = text.lines().find_map(|line| {
            let rest = line.strip_prefix("strowger_")?.strip_prefix(series)?;
            rest.strip_prefix(' ')?.parse().ok()
        });
        value.unwrap_or_else(|| panic!("{series} is not in\n{text}"))
    }

    /// Whether `/metrics` has this text anywhere.
    pub(crate) fn shows(&self, text: &str) -> bool {
        self.house.common.metrics.render().contains(text)
    }

    /// Waits until a series of `/metrics` has reached a value.
    pub(crate) async fn counts(&self, series: &str, least: f64) {
        for _ in 0..200 {
            if self.number(series) >= least {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{series} is {}", self.number(series));
    }

    /// Waits until every record is closed; returns them, oldest first.
    pub(crate) async fn records(&self, count: usize) -> Vec<CallRecord> {
        for _ in 0..200 {
            let mut records = self.store.recent_calls(100).unwrap();
            let closed = records
                .iter()
                .filter(|record| record.outcome.is_some())
                .count();
            if closed == count && self.store.unfinished_calls().unwrap().records.is_empty() {
                records.sort_by_key(|record| record.started_ms);
                return records;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let (all, open) = (self.store.recent_calls(100), self.store.unfinished_calls());
        panic!("expected {count} closed records: {all:#?}, open: {open:#?}");
    }
}

pub(crate) async fn reaches(line: &Line, phase: Phase) -> Status {
    match line.reaches(phase, PATIENCE).await {
        Ok(status) => {
            let end = status.end.as_ref();
            assert!(
                status.phase == phase,
                "wanted {phase:?}, ended with {end:?}"
            );
            status
        }
        Err(status) => panic!("stayed at {:?}", status.phase),
    }
}

pub(crate) fn trunk() -> TrunkName {
    "office".parse().unwrap()
}

pub(crate) fn session() -> SessionName {
    "gateway".parse().unwrap()
}

fn records() -> [Change; 3] {
    [
        Change::PutTrunk(Box::new(TrunkSpec {
            lines: 0,
            number: Some("600".to_owned()),
            ring_seconds: 30,
            ..TrunkSpec::new(
                trunk(),
                TrunkKind::InboundRegister {
                    login: LOGIN.to_owned(),
                    password: Secret::new(PASSWORD.to_owned()),
                },
            )
        })),
        Change::PutSession(SessionSpec {
            phone: "15550000".to_owned(),
            ..SessionSpec::new(session())
        }),
        Change::PutRoute(RouteSpec {
            trunk: trunk(),
            session: session(),
            priority: 100,
            terms: model::RouteTerms::default(),
        }),
    ]
}

fn people() -> Vec<Person> {
    let after = Duration::from_millis(100);
    [
        ("alice", Manner::Answer { after }),
        ("bobby", Manner::Answer { after }),
        ("carol", Manner::Ring),
        ("david", Manner::Decline { after }),
        ("ellen", Manner::Privacy),
        ("frank", Manner::Flood { seconds: 17 }),
        ("grace", Manner::Ignore),
    ]
    .into_iter()
    .zip(1001..)
    .map(|((username, manner), id)| Person {
        id,
        username: username.to_owned(),
        phone: format!("1555{id}000"),
        manner,
    })
    .collect()
}

fn settings(address: SocketAddr, paces: Paces) -> Settings {
    Settings {
        node: "here".to_owned(),
        sip: SipSettings {
            addresses: vec![address],
            name_servers: Vec::new(),
            tcp: vec![address],
            tls: Vec::new(),
            certificate: None,
            ca: None,
            public_address: None,
            realm: "strowger".to_owned(),
            verbose_rejects: VerboseRejects::All,
            limits: sip::Limits::default(),
            guard: sip::guard::GuardConfig::default(),
            answers_pings: true,
            ban_file: None,
            user_agent: None,
            t1: Duration::from_millis(500),
            session: sip::call::SessionTimes::default(),
        },
        telegram: TelegramSettings {
            library_versions: ["13.0.0", "12.0.0", "9.0.0", "8.0.0"]
                .map(str::to_owned)
                .to_vec(),
            p2p: true,
            notify_errors: true,
            paces,
        },
    }
}

fn free_address() -> SocketAddr {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.local_addr().unwrap()
}
