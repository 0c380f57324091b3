//! The house of the demo and its cast.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use actors::{
    Account, House, Parts, Settings, SipSettings, StartError, TelegramSettings, TryCall, Via,
};
use model::{
    Codec, DialRuleError, DialRules, NameError, RouteSpec, Secret, SessionName, SessionSpec,
    TrunkKind, TrunkName, TrunkSpec, VerboseRejects,
};
use net::fake::{Manner, Person, Phone, PhoneManner, PhoneSettings, Simulation, Telegram};
use net::media::MediaConfig;
use store::{Change, MasterKey, NoRandom, OpenError, SledStore, Store, StoreError};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// The login of the phone, made up like the ones the switch makes.
pub(super) const LOGIN: &str = "k7m2p9x4qa";
/// Its password.
pub(super) const PASSWORD: &str = "demo-Zt5-rW8-kQ2";
/// How long people take before they answer or decline.
pub(super) const DELIBERATION: Duration = Duration::from_millis(400);
/// The wait Telegram orders in the last scene.
pub(super) const FLOOD_SECONDS: u32 = 17;
/// What people may write to be called back and put through.
const NUMBERS: &str = r"^\d+$";
/// RTP ports: below what the system hands out, a window of this size.
const RTP_PORTS: u16 = 200;
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How long the house may take to be ready.
const READY: Duration = Duration::from_secs(5);

/// Why there is no demo.
#[derive(Debug, thiserror::Error)]
pub(super) enum StageError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Random(#[from] NoRandom),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Name(#[from] NameError),
    #[error(transparent)]
    Rules(#[from] DialRuleError),
    #[error("a player did not come")]
    Cast,
    #[error("the house does not get ready: {0}")]
    NotReady(String),
}

/// A house, a phone, and Telegram.
pub(super) struct Stage {
    pub(super) house: House,
    pub(super) store: Arc<dyn Store>,
    pub(super) phone: Phone,
    pub(super) telegram: Telegram,
    pub(super) sip: SocketAddr,
    trunk: TrunkName,
    cast: Cast,
    _folder: tempfile::TempDir,
}

impl Stage {
    /// Builds everything. Must run inside an actix system.
    pub(super) async fn set() -> Result<Self, StageError> {
        let folder = tempfile::tempdir()?;
        let store: Arc<dyn Store> =
            Arc::new(SledStore::open(folder.path(), &MasterKey::generate()?)?);
        let (trunk, session) = (
            "office".parse::<TrunkName>()?,
            "gateway".parse::<SessionName>()?,
        );
        store.commit(None, &records(&trunk, &session, NUMBERS.parse()?))?;
        let cast = Cast::hire()?;
        let simulation = Simulation {
            people: people(),
            ..Simulation::default()
        };
        let versions = simulation.versions.clone();
        let new = cast.runtime.spawn(async move { Telegram::new(simulation) });
        let (telegram, events) = new.await.map_err(|_| StageError::Cast)?;
        let sip = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let house = House::start(Parts {
            settings: settings(sip, versions),
            media: media()?,
            store: Arc::clone(&store),
            metrics: metrics::Metrics::new(env!("CARGO_PKG_VERSION")),
            accounts: vec![Account {
                session,
                client: Arc::new(telegram.clone()),
                events,
            }],
        })?;
        let phone = PhoneSettings {
            house: sip,
            login: LOGIN.to_owned(),
            password: PASSWORD.to_owned(),
            codecs: vec![Codec::Alaw],
            manner: PhoneManner::Answer {
                after: DELIBERATION,
            },
            voice: 3,
        };
        let phone = cast
            .runtime
            .spawn(Phone::start(phone))
            .await
            .map_err(|_| StageError::Cast)??;
        let stage = Self {
            house,
            store,
            phone,
            telegram,
            sip,
            trunk,
            cast,
            _folder: folder,
        };
        stage.ready().await?;
        Ok(stage)
    }

    /// Waits for everything but the phone, which has not registered yet.
    async fn ready(&self) -> Result<(), StageError> {
        let wait = async {
            while !self
                .house
                .report()
                .await
                .missing
                .iter()
                .all(|part| part.contains("office"))
            {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        match tokio::time::timeout(READY, wait).await {
            Ok(()) => Ok(()),
            Err(_) => Err(StageError::NotReady(
                self.house.report().await.missing.join(", "),
            )),
        }
    }

    /// What `strowger route test` says of a call of the phone: the refusal, or the decision in words.
    pub(super) async fn rehearse(&self, to: &str) -> String {
        let call = TryCall {
            from: LOGIN.to_owned(),
            to: to.to_owned(),
            via: Via::Trunk(self.trunk.clone()),
        };
        match self.house.try_call(call).await {
            Some(Ok(report)) => match report.refusal {
                Some(refusal) => format!("{} {}", refusal.code, refusal.phrase),
                None => report.decision,
            },
            Some(Err(_)) => "no such trunk".to_owned(),
            None => "nothing".to_owned(),
        }
    }

    /// Ends everything.
    pub(super) async fn strike(self) {
        self.house.stop(LAST_WORDS).await;
        drop(self.phone);
        self.cast.dismiss();
    }
}

/// The thread on which the players live.
struct Cast {
    runtime: Handle,
    end: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Cast {
    fn hire() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let handle = runtime.handle().clone();
        let (end, ended) = oneshot::channel::<()>();
        let work = move || {
            // Either the end is told, or nobody is left to tell it.
            let _ = runtime.block_on(ended);
        };
        let thread = std::thread::Builder::new()
            .name("cast".to_owned())
            .spawn(work)?;
        Ok(Self {
            runtime: handle,
            end,
            thread,
        })
    }

    fn dismiss(self) {
        let _ = self.end.send(());
        let _ = self.thread.join();
    }
}

fn records(trunk: &TrunkName, session: &SessionName, dial_rules: DialRules) -> [Change; 3] {
    [
        Change::PutTrunk(Box::new(TrunkSpec {
            lines: 1,
            number: Some("600".to_owned()),
            dial_rules,
            ring_seconds: 30,
            ..TrunkSpec::new(
                trunk.clone(),
                TrunkKind::InboundRegister {
                    login: LOGIN.to_owned(),
                    password: Secret::new(PASSWORD.to_owned()),
                },
            )
        })),
        Change::PutSession(SessionSpec {
            phone: "15550000".to_owned(),
            messages_processing: true,
            callback: true,
            ..SessionSpec::new(session.clone())
        }),
        Change::PutRoute(RouteSpec {
            trunk: trunk.clone(),
            session: session.clone(),
            priority: 100,
            terms: model::RouteTerms::default(),
        }),
    ]
}

fn people() -> Vec<Person> {
    [
        (
            "alice",
            Manner::Answer {
                after: DELIBERATION,
            },
        ),
        (
            "robert",
            Manner::Answer {
                after: DELIBERATION,
            },
        ),
        (
            "david",
            Manner::Decline {
                after: DELIBERATION,
            },
        ),
        ("ellen", Manner::Privacy),
        (
            "frank",
            Manner::Flood {
                seconds: FLOOD_SECONDS,
            },
        ),
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

fn settings(sip: SocketAddr, library_versions: Vec<String>) -> Settings {
    Settings {
        node: "demo".to_owned(),
        sip: SipSettings {
            addresses: vec![sip],
            name_servers: Vec::new(),
            tcp: vec![sip],
            tls: Vec::new(),
            certificate: None,
            ca: None,
            public_address: None,
            realm: "strowger".to_owned(),
            verbose_rejects: VerboseRejects::All,
            limits: actors::Limits::default(),
            guard: actors::GuardConfig::default(),
            answers_pings: true,
            ban_file: None,
            user_agent: Some(format!("strowger/{}", env!("CARGO_PKG_VERSION"))),
            t1: Duration::from_millis(500),
            session: actors::SessionTimes::default(),
        },
        telegram: TelegramSettings {
            library_versions,
            p2p: true,
            notify_errors: true,
            // Nobody is disturbed by a demonstration.
            paces: actors::Paces::FREE,
        },
    }
}

/// Everything on loopback, RTP in a window around a port that is free now.
fn media() -> io::Result<MediaConfig> {
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let free = UdpSocket::bind((loopback, 0))?.local_addr()?.port();
    let first = free.min(u16::MAX - RTP_PORTS) & !1;
    Ok(MediaConfig {
        rtp_range: first..=first + RTP_PORTS - 1,
        rtp_address: loopback,
        telegram_addresses: vec![loopback],
        ..MediaConfig::default()
    })
}
