//! The connection of one Telegram account: carries out requests, reports what the account receives.
//!
//! [`Telegram`] is what the rest of the house sees; [`connect`] makes the real one over grammers, `net::fake` one without
//! a network. Events may repeat (an update can also come with the difference after a reconnection): whoever reads them
//! must tolerate hearing of things twice, and of its own actions.

mod clock;
mod errand;
mod harden;
mod link;
mod login;
mod logout;
mod people;
mod session;
mod tap;
#[cfg(test)]
mod testing;

use std::net::SocketAddrV4;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use grammers_tl_types as tl;
use model::Secret;
use telegram::{Reply, Rpc, RpcError};

pub use clock::{ClockOffset, clock_offset, first_server};
pub use harden::{HardenError, Hardened, Pending, Standing, harden, standing};
pub use link::connect;
pub use login::{LoginConnection, LoginFailed, Step, begin_login};
pub use logout::{LogOutError, LoggedOut, log_out};
pub use session::StorageError;
pub use telegram::User;
pub use telegram::harden::{Action, Outcome};
pub use telegram::login::{Again, Ask, CodeWay, LoginError, LoginInput, PasswordAgain};

/// A future on its way, free of borrowed things.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// One Telegram account, connected or trying to be.
pub trait Telegram: Send + Sync {
    /// Carries out one request; ends within its deadline, whatever the network does.
    fn invoke(&self, rpc: Rpc) -> BoxFuture<Result<Reply, RpcError>>;

    /// Returns somebody the account has met. [`Event::Users`] tells what is new about people; whoever was not there then asks here.
    fn person(&self, user_id: i64) -> Option<User>;

    /// Makes these settings of the account over its connection, as [`harden`] does without one. Who has no settings cannot be reached.
    fn harden(
        &self,
        _actions: Vec<Action>,
        _retry_after: Option<Duration>,
    ) -> BoxFuture<Result<Hardened, HardenError>> {
        Box::pin(std::future::ready(Err(HardenError::Unreachable)))
    }

    /// Writes down what is worth keeping and closes the connection; nothing is reported afterwards.
    fn close(&self) -> BoxFuture<()>;
}

/// What an account reports.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The connection is up and the account is logged in; told after each connection.
    Connected,
    /// The connection broke; requests wait for the next one, as long as their deadlines last.
    Disconnected,
    /// The connection is up, but Telegram does not accept the account.
    Unauthorized {
        /// The name of the error, such as `AUTH_KEY_UNREGISTERED` or `USER_DEACTIVATED`.
        error: String,
    },
    /// A phone call changed (`updatePhoneCall`).
    PhoneCall(Box<tl::enums::PhoneCall>),
    /// Signalling of a phone call (`updatePhoneCallSignalingData`).
    Signaling {
        /// The phone call.
        phone_call_id: i64,
        /// One packet.
        data: Vec<u8>,
    },
    /// Somebody wrote to the account, in a chat of two, a text and nothing else.
    Text {
        /// Who.
        user_id: i64,
        /// When, Unix time in seconds by Telegram's clock.
        date: i32,
        /// What; never printed.
        text: Secret<String>,
    },
    /// Somebody sent something else to the account, in a chat of two.
    Attachment {
        /// Who.
        user_id: i64,
        /// When, Unix time in seconds by Telegram's clock.
        date: i32,
        /// What, as a line of text (`telegram::attachment`); never printed.
        line: Secret<String>,
    },
    /// People who came along with updates; those known from before are told at the start.
    Users(Vec<User>),
}

/// Where the keys and the state of one account are kept: small values under short keys.
pub trait Storage: Send + Sync + 'static {
    /// Returns everything; called before connecting.
    fn load(&self) -> Result<Vec<Entry>, StorageError>;
    /// Keeps a value; a durable one is on disk when the future is done.
    fn save(
        &self,
        key: Vec<u8>,
        value: Vec<u8>,
        durable: bool,
    ) -> BoxFuture<Result<(), StorageError>>;
}

/// A key and its value.
pub type Entry = (Vec<u8>, Vec<u8>);

/// A private server in place of Telegram's, for tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TestDc {
    /// Its data centre number.
    pub id: i32,
    /// Its address; the built-in ones are forgotten.
    pub address: SocketAddrV4,
}

/// How to connect.
#[derive(Clone)]
pub struct Params {
    /// The application's id.
    pub api_id: i32,
    /// The application's secret, needed to log in only.
    pub api_hash: Secret<String>,
    /// A private server, for tests.
    pub test_dc: Option<TestDc>,
    /// The deadline of requests that a call waits for.
    pub call_deadline: Duration,
    /// The deadline of all others.
    pub deadline: Duration,
}

/// Keeps a pre-made key for a private server; it must be there before connecting.
pub async fn provision(
    storage: &Arc<dyn Storage>,
    dc: TestDc,
    key: [u8; 256],
) -> Result<(), StorageError> {
    session::provision(storage, dc, &key).await
}
