//! The connection of one account, built anew whenever it is dead.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use grammers_mtsender::{
    ConnectionParams, InvocationError, NoRetries, SenderPool, SenderPoolFatHandle,
    SenderPoolHandle, UpdatesConfiguration, UpdatesReceiver,
};
use grammers_session::Session;
use grammers_session::types::{PeerId, PeerInfo};
use grammers_session::updates::UpdatesLike;
use telegram::rpc::Patience;
use telegram::{Reply, Rpc, RpcError};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout_at;

use super::clock::{self, Clock};
use super::harden;
use super::people::People;
use super::session::Keys;
use super::tap::{self, EVENTS, Outlet};
use super::{
    Action, BoxFuture, Event, HardenError, Hardened, Params, Storage, StorageError, Telegram, User,
};

/// A sign of life is asked for this often, and awaited this long: a dead link is known within 20 s.
const PING_EVERY: Duration = Duration::from_secs(15);
const PING_WITHIN: Duration = Duration::from_secs(5);
/// What Telegram would say of a key that it does not know.
const KEY_UNKNOWN: &str = "AUTH_KEY_UNREGISTERED";
/// What a session says that was made and never logged in.
const NOT_LOGGED_IN: &str = "NOT_LOGGED_IN";
/// How often the clock is looked at again while it is wrong.
const CLOCK_PAUSE: Duration = Duration::from_secs(10);
/// How often an account that is logged out is looked at again.
const UNAUTHORIZED_PAUSE: Duration = Duration::from_secs(60);
const BACKOFF_FLOOR: Duration = Duration::from_millis(100);
const BACKOFF_CEILING: Duration = Duration::from_secs(30);
/// A connection that held this long was a success.
const SETTLED: Duration = Duration::from_secs(5);
/// Between two tries of an update stream that failed.
const STREAM_PAUSE: Duration = Duration::from_secs(1);
/// How long the end of a call is worth telling: a telephone rings for 90 s at most.
const END_WITHIN: Duration = Duration::from_secs(90);
/// Between two tries of a request that a broken connection swallowed.
const REPEAT_PAUSE: Duration = Duration::from_millis(200);
/// How long a connection may take to end by itself.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What a request needs of the present incarnation of the connection.
#[derive(Clone)]
pub(super) struct Wire {
    handle: SenderPoolHandle,
    keys: Arc<Keys>,
    rest: mpsc::Sender<UpdatesLike>,
}

impl Wire {
    /// Sends one request to the home data centre; no retry, no deadline.
    pub(super) async fn invoke(&self, rpc: &Rpc) -> Result<Reply, RpcError> {
        let dc = self.keys.home_dc_id().map_err(|_| RpcError::Connection)?;
        let bytes = self
            .handle
            .raw_invoke_in_dc(dc, rpc.encode())
            .await
            .map_err(|error| self.rpc_error(error))?;
        rpc.decode(&bytes).map_err(|error| {
            tracing::error!(%error, method = rpc.manner().method, "a result of Telegram does not read as its type");
            RpcError::Rpc { code: 500, name: "RESULT_UNREADABLE".into() }
        })
    }

    /// The library asks for another key by itself when Telegram no longer knows ours (-404): that key would be an anonymous
    /// device. So a key exchange, done or tried, in the place of one that we hold is how we learn of it.
    fn rpc_error(&self, error: InvocationError) -> RpcError {
        let is_exchange = match &error {
            InvocationError::Session(error) => matches!(
                error.downcast_ref::<StorageError>(),
                Some(StorageError::OtherKey)
            ),
            InvocationError::Authentication(_) => self.keys.guards_key(),
            _ => false,
        };
        if is_exchange {
            tracing::error!("Telegram no longer knows the key of this account");
            return without_key();
        }
        rpc_error(error)
    }

    pub(super) async fn migrate(&self, dc: i32) -> Result<(), StorageError> {
        let old = self.keys.home_dc_id()?;
        self.keys.set_home_dc_id(dc).await?;
        self.handle.disconnect_from_dc(old);
        Ok(())
    }

    pub(super) fn keys(&self) -> &Arc<Keys> {
        &self.keys
    }

    pub(super) fn quit(&self) {
        self.handle.quit();
    }
}

/// What a request means that could not be made with the key that we hold.
fn without_key() -> RpcError {
    let name = KEY_UNKNOWN.to_owned();
    RpcError::Rpc { code: 401, name }
}

fn rpc_error(error: InvocationError) -> RpcError {
    match error {
        InvocationError::Rpc(error) => {
            let name = match error.value {
                Some(value) => format!("{}_{value}", error.name),
                None => error.name,
            };
            RpcError::Rpc {
                code: error.code,
                name,
            }
        }
        other => {
            tracing::debug!(error = %other, "a request to Telegram was lost");
            RpcError::Connection
        }
    }
}

/// Builds the connection's parts; nothing is sent before the first request.
pub(super) fn build(
    keys: &Arc<Keys>,
    params: &Params,
) -> (SenderPool, Wire, mpsc::Receiver<UpdatesLike>) {
    let connection = ConnectionParams {
        app_version: env!("CARGO_PKG_VERSION").into(),
        device_model: "Strowger".into(),
        // A call must not sleep inside a request: waits are the caller's decision.
        retry_policy: Box::new(NoRetries),
        updates_channel_capacity: NonZeroUsize::new(EVENTS).unwrap_or(NonZeroUsize::MIN),
        ..ConnectionParams::default()
    };
    let pool = SenderPool::with_configuration(Arc::clone(keys), params.api_id, connection);
    let (rest, stream) = mpsc::channel(EVENTS);
    let wire = Wire {
        handle: pool.handle.thin.clone(),
        keys: Arc::clone(keys),
        rest,
    };
    (pool, wire, stream)
}

/// Connects an account and keeps it connected as long as the returned handle lives.
///
/// Must be called inside a tokio runtime. The first [`Event::Connected`] says that the account answers.
pub fn connect(
    params: Params,
    storage: Arc<dyn Storage>,
    metrics: metrics::Metrics,
) -> Result<(Arc<dyn Telegram>, mpsc::Receiver<Event>), StorageError> {
    let keys = Arc::new(Keys::load(Arc::clone(&storage), params.test_dc)?.guarded());
    let people = Arc::new(People::load(storage)?);
    let (events, receiver) = mpsc::channel(EVENTS);
    let outlet = Outlet::new(events, Arc::clone(&people), metrics.clone());
    outlet.introduce();
    let (wire, current) = watch::channel(None);
    let doubt = Arc::new(Notify::new());
    let hardened = Arc::new(Notify::new());
    let (closing, mut closed) = watch::channel(false);
    let link = Link {
        params: params.clone(),
        keys,
        outlet,
        wire,
        doubt: Arc::clone(&doubt),
        hardened: Arc::clone(&hardened),
        metrics,
    };
    // With the link go its connection, the events and the hope of whoever waits for another connection.
    let task = tokio::spawn(async move {
        tokio::select! {
            () = link.run() => {}
            _ = closed.wait_for(|closed| *closed) => {}
        }
    });
    Ok((
        Arc::new(Account {
            params,
            people,
            current,
            doubt,
            hardened,
            closing,
            _task: Aborted(task),
        }),
        receiver,
    ))
}

/// A task that ends with its owner.
struct Aborted(JoinHandle<()>);

impl Drop for Aborted {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The real account.
struct Account {
    params: Params,
    people: Arc<People>,
    current: watch::Receiver<Option<Wire>>,
    /// Rung when a refusal says that the account may be logged out.
    doubt: Arc<Notify>,
    /// Rung when there may be something to harden later.
    hardened: Arc<Notify>,
    closing: watch::Sender<bool>,
    _task: Aborted,
}

impl Telegram for Account {
    fn invoke(&self, rpc: Rpc) -> BoxFuture<Result<Reply, RpcError>> {
        let current = self.current.clone();
        let deadline = match rpc.manner().patience {
            Patience::Call => self.params.call_deadline,
            Patience::Usual => self.params.deadline,
            Patience::End => END_WITHIN,
        };
        let (people, doubt) = (Arc::clone(&self.people), Arc::clone(&self.doubt));
        Box::pin(async move {
            let result = ask(current, rpc, tokio::time::Instant::now() + deadline).await;
            match &result {
                Ok(Reply::User(user)) => drop(people.learn(user.clone())),
                Err(error) if telegram::error::is_unauthorized(error) => doubt.notify_one(),
                _ => {}
            }
            result
        })
    }

    fn person(&self, user_id: i64) -> Option<User> {
        self.people.find(user_id)
    }

    fn harden(
        &self,
        actions: Vec<Action>,
        retry_after: Option<Duration>,
    ) -> BoxFuture<Result<Hardened, HardenError>> {
        let (mut current, deadline) = (self.current.clone(), self.params.deadline);
        let (doubt, hardened) = (Arc::clone(&self.doubt), Arc::clone(&self.hardened));
        Box::pin(async move {
            let wire = tokio::time::timeout(deadline, usable(&mut current)).await;
            let Ok(Ok(wire)) = wire else {
                return Err(HardenError::Unreachable);
            };
            let result = harden::harden_over(wire.keys(), &actions, retry_after, async |rpc| {
                let until = tokio::time::Instant::now() + deadline;
                let result = ask(current.clone(), rpc, until).await;
                if result.as_ref().is_err_and(telegram::error::is_unauthorized) {
                    doubt.notify_one();
                }
                result
            })
            .await;
            hardened.notify_one();
            result
        })
    }

    fn close(&self) -> BoxFuture<()> {
        self.closing.send_replace(true);
        let mut current = self.current.clone();
        Box::pin(async move {
            // The sender goes with the task of the connection.
            let gone = async { while current.changed().await.is_ok() {} };
            if tokio::time::timeout(LAST_WORDS, gone).await.is_err() {
                tracing::warn!("the connection to Telegram did not end in time");
            }
        })
    }
}

/// Carries out one request: waits for a connection, and repeats what a broken one swallowed, if that does no harm.
async fn ask(
    mut current: watch::Receiver<Option<Wire>>,
    rpc: Rpc,
    deadline: tokio::time::Instant,
) -> Result<Reply, RpcError> {
    loop {
        let wire = timeout_at(deadline, usable(&mut current))
            .await
            .map_err(|_| RpcError::Connection)??;
        let result = timeout_at(deadline, wire.invoke(&rpc))
            .await
            .map_err(|_| RpcError::TimedOut)?;
        match result {
            Err(RpcError::Connection) if rpc.manner().may_repeat => {
                // A hang-up that is lost leaves the other side talking to nobody.
                timeout_at(deadline, tokio::time::sleep(REPEAT_PAUSE))
                    .await
                    .map_err(|_| RpcError::Connection)?;
            }
            result => return result,
        }
    }
}

/// Waits for a connection; fails when there will be none any more.
async fn usable(current: &mut watch::Receiver<Option<Wire>>) -> Result<Wire, RpcError> {
    let wire = current.wait_for(Option::is_some).await;
    wire.ok()
        .and_then(|wire| wire.clone())
        .ok_or(RpcError::Connection)
}

/// What ended one incarnation.
enum Broken {
    /// The link is dead.
    Dead,
    /// The account is logged out.
    Unauthorized,
}

struct Link {
    params: Params,
    keys: Arc<Keys>,
    outlet: Outlet,
    wire: watch::Sender<Option<Wire>>,
    doubt: Arc<Notify>,
    hardened: Arc<Notify>,
    metrics: metrics::Metrics,
}

impl Link {
    async fn run(&self) {
        if self.keys.keyed_server().is_none() {
            // Without a key there is nobody to connect as, and asking for one would only make an anonymous device.
            let error = NOT_LOGGED_IN.to_owned();
            self.outlet.tell(Event::Unauthorized { error });
            return std::future::pending().await;
        }
        let (mut wait, mut told) = (BACKOFF_FLOOR, false);
        self.right_clock(&mut told).await;
        loop {
            let begun = Instant::now();
            let broken = self.incarnation().await;
            let was_up = self.wire.send_replace(None).is_some();
            match broken {
                Broken::Unauthorized => tokio::time::sleep(UNAUTHORIZED_PAUSE).await,
                Broken::Dead => {
                    // Once for each time that there is none, however many attempts it takes.
                    if was_up || !told {
                        self.outlet.tell(Event::Disconnected);
                        told = true;
                    }
                    if was_up && begun.elapsed() > SETTLED {
                        wait = BACKOFF_FLOOR;
                    }
                    self.right_clock(&mut told).await;
                    tokio::time::sleep(wait.mul_f64(rand::random_range(0.8..1.2))).await;
                    wait = (wait * 2).min(BACKOFF_CEILING);
                }
            }
        }
    }

    /// Returns when this machine's clock is such that Telegram accepts us, or when that cannot be told and nothing is known against it. The
    /// library floods a server that refuses its clock, so that it must not be let loose before.
    async fn right_clock(&self, told: &mut bool) {
        let mut is_known = false;
        loop {
            let Some(server) = self.keys.keyed_server() else {
                return;
            };
            let seconds = match clock::look(server.into()).await {
                Clock::Accepted => {
                    self.metrics.clock_ahead(0);
                    if is_known {
                        tracing::info!("the clock of this machine is right again");
                    }
                    return;
                }
                Clock::Ahead(seconds) => seconds,
                // Silence corrects no clock: what was told last holds.
                Clock::Unknown if is_known => {
                    tokio::time::sleep(CLOCK_PAUSE).await;
                    continue;
                }
                Clock::Unknown => return,
            };
            self.metrics.clock_ahead(seconds);
            if !std::mem::replace(&mut is_known, true) {
                tracing::error!(
                    seconds,
                    "the clock of this machine is ahead of Telegram's: correct it (NTP), no session comes up before"
                );
            }
            if !std::mem::replace(told, true) {
                self.outlet.tell(Event::Disconnected);
            }
            tokio::time::sleep(CLOCK_PAUSE).await;
        }
    }

    /// One connection from its first request until it is dead.
    async fn incarnation(&self) -> Broken {
        let (pool, wire, stream) = build(&self.keys, &self.params);
        let handle = pool.handle.clone();
        let mut runner = Aborted(tokio::spawn(pool.runner.run()));
        let (broken_tx, mut broken) = mpsc::channel(1);
        let tap = tap::run(
            pool.updates,
            self.outlet.clone(),
            wire.rest.clone(),
            broken_tx,
        );
        let _tap = Aborted(tokio::spawn(tap));
        if let Err(verdict) = self.ping(&wire).await {
            return verdict;
        }
        self.know_ourselves(&wire).await;
        self.wire.send_replace(Some(wire.clone()));
        let _open = self
            .metrics
            .telegram_connection(self.keys.home_dc_id().unwrap_or(0));
        self.outlet.tell(Event::Connected);
        let _stream = Aborted(tokio::spawn(follow(handle, stream, self.outlet.clone())));
        let catch_up = || {
            Aborted(tokio::spawn(harden::catch_up(
                wire.clone(),
                self.params.deadline,
            )))
        };
        let mut _hardening = catch_up();
        loop {
            let closed = tokio::select! {
                _ = &mut runner.0 => {
                    tracing::error!("the connection to Telegram ended by itself");
                    return Broken::Dead;
                }
                // A connection that closed is replaced by the next request: ask at once, and believe the answer.
                _ = broken.recv() => true,
                () = self.doubt.notified() => false,
                () = self.hardened.notified() => {
                    _hardening = catch_up();
                    continue;
                }
                () = tokio::time::sleep(PING_EVERY) => false,
            };
            if let Err(verdict) = self.ping(&wire).await {
                return verdict;
            }
            if closed {
                self.outlet.tell(Event::Disconnected);
                self.outlet.tell(Event::Connected);
            }
        }
    }

    /// The update stream of an account begins only where somebody is logged in; a key that came ready-made says not who.
    async fn know_ourselves(&self, wire: &Wire) {
        if let Ok(Some(_)) = self.keys.peer(PeerId::self_user()).await {
            return;
        }
        let asked = tokio::time::timeout(PING_WITHIN, wire.invoke(&Rpc::GetSelf)).await;
        if let Ok(Ok(Reply::User(user))) = asked {
            let own = PeerInfo::User {
                id: user.id,
                auth: None,
                bot: Some(user.is_bot),
                is_self: Some(true),
            };
            if let Err(error) = self.keys.cache_peer(own).await {
                tracing::error!(%error, "the account does not remember who it is");
            }
        }
    }

    async fn ping(&self, wire: &Wire) -> Result<(), Broken> {
        match tokio::time::timeout(PING_WITHIN, wire.invoke(&Rpc::GetState)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) if telegram::error::is_unauthorized(&error) => {
                let RpcError::Rpc { name, .. } = error else {
                    return Err(Broken::Dead);
                };
                self.outlet.tell(Event::Unauthorized { error: name });
                Err(Broken::Unauthorized)
            }
            // Whatever else it says, it is alive.
            Ok(Err(RpcError::Rpc { .. })) => Ok(()),
            Ok(Err(RpcError::TimedOut | RpcError::Connection)) | Err(_) => Err(Broken::Dead),
        }
    }
}

/// Follows the update stream: it fetches what was missed, and keeps the update state.
async fn follow(handle: SenderPoolFatHandle, stream: mpsc::Receiver<UpdatesLike>, outlet: Outlet) {
    let configuration = UpdatesConfiguration { catch_up: true };
    let session = Arc::clone(&handle.session);
    let stream = UpdatesReceiver::create(handle.thin, session, stream, configuration).await;
    let mut stream = match stream {
        Ok(stream) => stream,
        Err(error) => {
            tracing::error!(%error, "there is no update stream; missed calls are not fetched");
            return;
        }
    };
    loop {
        match stream.next().await {
            // The tap has taken the calls out of what came by itself; these are of the difference.
            Ok((updates, users, _)) => {
                outlet.meet(&users);
                for (update, _) in &updates {
                    outlet.update(update);
                    outlet.message(update);
                }
            }
            // An error is no end: the next call asks for the difference again.
            Err(error) => {
                tracing::debug!(%error, "the update stream stumbled");
                tokio::time::sleep(STREAM_PAUSE).await;
            }
        }
        if let Err(error) = stream.sync_update_state().await {
            tracing::warn!(%error, "the update state could not be kept");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};

    use model::Secret;

    use super::super::TestDc;
    use super::super::testing::MemoryStorage;
    use super::*;

    /// An account whose server does not listen; with a key, as after a login, or without.
    async fn nowhere(logged_in: bool) -> (Arc<dyn Telegram>, mpsc::Receiver<Event>) {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        drop(taken);
        let params = Params {
            api_id: 1,
            api_hash: Secret::default(),
            test_dc: Some(TestDc {
                id: 2,
                address: SocketAddrV4::new(Ipv4Addr::LOCALHOST, port),
            }),
            call_deadline: Duration::from_millis(300),
            deadline: Duration::from_secs(60),
        };
        let storage: Arc<dyn Storage> = MemoryStorage::new();
        if let Some(dc) = params.test_dc.filter(|_| logged_in) {
            super::super::provision(&storage, dc, [7; 256])
                .await
                .unwrap();
        }
        connect(params, storage, metrics::Metrics::new("test")).unwrap()
    }

    #[tokio::test]
    async fn an_account_that_was_never_logged_in_does_not_connect_and_says_so() {
        let (_account, mut events) = nowhere(false).await;
        let error = NOT_LOGGED_IN.to_owned();
        assert_eq!(events.recv().await, Some(Event::Unauthorized { error }));
    }

    #[tokio::test]
    async fn a_request_waits_for_a_connection_as_long_as_a_caller_would() {
        let (account, mut events) = nowhere(true).await;
        let begun = Instant::now();
        let rpc = Rpc::ResolveUsername {
            username: "ann".into(),
        };
        assert_eq!(account.invoke(rpc).await, Err(RpcError::Connection));
        let took = begun.elapsed();
        let discard = account.invoke(Rpc::DiscardCall {
            peer: grammers_tl_types::types::InputPhoneCall {
                id: 1,
                access_hash: 2,
            },
            duration: 0,
            reason: grammers_tl_types::enums::PhoneCallDiscardReason::Hangup,
        });
        let told = tokio::time::timeout(Duration::from_secs(1), discard).await;
        assert!(told.is_err(), "the end of a call waits longer: {told:?}");
        assert!(took >= Duration::from_millis(300), "{took:?}");
        assert!(took < Duration::from_secs(10), "{took:?}");
        assert_eq!(events.recv().await, Some(Event::Disconnected));
        let again = tokio::time::timeout(Duration::from_millis(500), events.recv()).await;
        assert!(
            again.is_err(),
            "what is known is not told with every attempt"
        );
    }

    #[tokio::test]
    async fn a_closed_account_reports_nothing_more_and_refuses_at_once() {
        let (account, mut events) = nowhere(true).await;
        account.close().await;
        while events.recv().await.is_some() {}
        let refused = account.invoke(Rpc::GetState);
        let answer = tokio::time::timeout(Duration::from_secs(5), refused).await;
        assert_eq!(answer, Ok(Err(RpcError::Connection)));
    }
}
