//! One Telegram account without Telegram.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use telegram::{Incoming, Outgoing, Reply, Rpc, RpcError, Timers, User};
use tokio::sync::{mpsc, watch};

use super::line::Line;
use super::server::{ACCESS_HASH, ACCOUNT, Asker, Server};
use super::user::{Device, Manner, Person};
use crate::telegram::{BoxFuture, Event};

/// What the account may leave unread.
const EVENTS: usize = 1024;
/// How long a request waits for a connection.
const DEADLINE: Duration = Duration::from_secs(10);
/// The way to Telegram and back.
const ROUND_TRIP: Duration = Duration::from_millis(30);

/// An account, the server behind it, and the people it can call. Their devices live in the tokio runtime it was made in.
#[derive(Clone)]
pub struct Telegram {
    world: Arc<World>,
}

/// What is played.
#[derive(Debug, Clone)]
pub struct Simulation {
    /// The people the account can call.
    pub people: Vec<Person>,
    /// The library versions their devices speak, best first.
    pub versions: Vec<String>,
    /// The audio in one of their packets: 20, 40 or 60 ms.
    pub frame: Duration,
    /// How long the server tells everybody to wait for what.
    pub timers: Timers,
    /// Their microphones are dead, and nobody is told of it.
    pub mute: bool,
}

impl Default for Simulation {
    fn default() -> Self {
        Self {
            people: Vec::new(),
            versions: ["13.0.0", "12.0.0", "9.0.0", "8.0.0"]
                .map(str::to_owned)
                .to_vec(),
            // What the apps send.
            frame: Duration::from_millis(60),
            timers: Timers::default(),
            mute: false,
        }
    }
}

/// What all parts of the stand-in share.
pub(super) struct World {
    pub(super) server: Mutex<Server>,
    connected: watch::Sender<bool>,
    versions: Vec<String>,
    frame: Duration,
    timers: Timers,
    mute: bool,
    /// Where the devices live: not on the threads of whoever asks.
    runtime: tokio::runtime::Handle,
    lines: Mutex<HashMap<String, mpsc::UnboundedSender<Line>>>,
    rings: Mutex<HashMap<String, Arc<tokio::sync::Mutex<mpsc::UnboundedReceiver<Line>>>>>,
}

impl Telegram {
    /// Makes an account, and the stream of what it receives.
    pub fn new(simulation: Simulation) -> (Self, mpsc::Receiver<Event>) {
        let Simulation {
            people,
            versions,
            frame,
            timers,
            mute,
        } = simulation;
        let (events, events_rx) = mpsc::channel(EVENTS);
        let (mut lines, mut rings) = (HashMap::new(), HashMap::new());
        for person in &people {
            let (line, ring) = mpsc::unbounded_channel();
            lines.insert(person.username.clone(), line);
            rings.insert(
                person.username.clone(),
                Arc::new(tokio::sync::Mutex::new(ring)),
            );
        }
        let mut server = Server::new(people, timers, events);
        server.tell(Event::Connected);
        let world = Arc::new(World {
            server: Mutex::new(server),
            connected: watch::Sender::new(true),
            versions,
            timers,
            frame,
            mute,
            runtime: tokio::runtime::Handle::current(),
            lines: Mutex::new(lines),
            rings: Mutex::new(rings),
        });
        (Self { world }, events_rx)
    }

    /// A user calls the account; nothing when nobody has this name.
    pub fn call_account(&self, username: &str) -> Option<Line> {
        let person = self.world.server.lock().person(username)?.clone();
        let (mailbox, updates) = mpsc::unbounded_channel();
        let account = grammers_tl_types::types::InputUser {
            user_id: ACCOUNT,
            access_hash: ACCESS_HASH,
        };
        let settings = self.world.call_settings();
        let machine = Outgoing::new(std::time::Instant::now(), account, settings, rand::random());
        let device = Device::new(Arc::clone(&self.world), person, mailbox);
        Some(device.start(machine, updates))
    }

    /// Waits for the next call that reaches a user's device; nothing after that time.
    pub async fn next_call(&self, username: &str, within: Duration) -> Option<Line> {
        let rings = self.world.rings.lock().get(username).map(Arc::clone)?;
        let mut rings = rings.lock().await;
        tokio::time::timeout(within, rings.recv()).await.ok()?
    }

    /// Changes what a user does with calls from now on.
    pub fn set_manner(&self, username: &str, manner: Manner) {
        self.world.server.lock().set_manner(username, manner);
    }

    /// A user writes to the account; nothing happens when nobody has this name.
    pub fn write(&self, username: &str, text: &str) {
        let mut server = self.world.server.lock();
        let Some((user_id, user)) = server
            .person(username)
            .map(|person| (person.id, person.user()))
        else {
            return;
        };
        // Whoever writes comes along with what he wrote.
        server.meet(user);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let seconds = now.map_or(0, |now| now.as_secs());
        server.tell(Event::Text {
            user_id,
            date: i32::try_from(seconds).unwrap_or(i32::MAX),
            text: model::Secret::new(text.to_owned()),
        });
    }

    /// The calls that nobody has discarded.
    pub fn open_calls(&self) -> usize {
        self.world.server.lock().open_calls()
    }

    /// Breaks the account's connection: requests wait, and nothing is received.
    pub fn disconnect(&self) {
        self.world.connected.send_replace(false);
        self.world.server.lock().disconnect();
    }

    /// Mends the account's connection; what it has missed follows.
    pub fn reconnect(&self) {
        self.world.server.lock().reconnect();
        self.world.connected.send_replace(true);
    }

    /// The texts the account has sent, with the user each went to.
    pub fn texts(&self) -> Vec<(i64, String)> {
        self.world.server.lock().texts.clone()
    }

    /// What the account has asked of bots: their usernames, and the queries. There are `first_bot` and `other_bot`.
    pub fn questions(&self) -> Vec<(String, String)> {
        self.world.server.lock().questions.clone()
    }
}

impl crate::telegram::Telegram for Telegram {
    fn invoke(&self, rpc: Rpc) -> BoxFuture<Result<Reply, RpcError>> {
        let world = Arc::clone(&self.world);
        Box::pin(async move {
            let mut connected = world.connected.subscribe();
            let up = tokio::time::timeout(DEADLINE, connected.wait_for(|up| *up));
            if !matches!(up.await, Ok(Ok(_))) {
                return Err(RpcError::TimedOut);
            }
            world.ask(&Asker::Account, rpc).await
        })
    }

    fn person(&self, user_id: i64) -> Option<User> {
        self.world.server.lock().met(user_id)
    }

    fn close(&self) -> BoxFuture<()> {
        Box::pin(std::future::ready(()))
    }
}

impl World {
    /// Carries a request to the server, and its result back; updates do not wait for the result.
    pub(super) async fn ask(self: &Arc<Self>, asker: &Asker, rpc: Rpc) -> Result<Reply, RpcError> {
        tokio::time::sleep(ROUND_TRIP / 2).await;
        let (result, offered) = {
            let mut server = self.server.lock();
            let result = server.ask(asker, rpc);
            (result, std::mem::take(&mut server.offered))
        };
        for call in offered {
            let machine = Incoming::new(
                std::time::Instant::now(),
                &call.requested,
                self.call_settings(),
                rand::random(),
            );
            let username = call.person.username.clone();
            let device = Device::new(Arc::clone(self), call.person, call.mailbox);
            let line = device.start(machine, call.updates);
            if let Some(lines) = self.lines.lock().get(&username) {
                let _ = lines.send(line);
            }
        }
        tokio::time::sleep(ROUND_TRIP / 2).await;
        result
    }

    pub(super) fn frame(&self) -> Duration {
        self.frame
    }

    pub(super) fn is_mute(&self) -> bool {
        self.mute
    }

    pub(super) fn runtime(&self) -> &tokio::runtime::Handle {
        &self.runtime
    }

    fn call_settings(&self) -> telegram::CallSettings {
        telegram::CallSettings {
            library_versions: self.versions.clone(),
            timers: self.timers,
            p2p: true,
            random: None,
            dh: None,
        }
    }
}
