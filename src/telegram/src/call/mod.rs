//! The control plane of one call (telegram-calls 4): what is asked of Telegram, in which order, and when it is over.
//!
//! [`Outgoing`] and [`Incoming`] share one contract: [`Outgoing::handle_input`], then [`Outgoing::poll_output`] until
//! it returns [`Output::Timeout`], then the next input. Each ends with [`Event::Ended`], which frees the other leg at
//! once, and [`Event::Finished`], after which nothing is owed to Telegram and the machine can be dropped. Between the
//! two the discard is on its way; there is exactly one, unless Telegram said first that the call is over.

mod desk;
mod incoming;
mod outgoing;

use std::time::{Duration, Instant};

use bytes::Bytes;
use grammers_tl_types as tl;
use model::Cause;

use crate::crypt::{CallKey, Role};
use crate::rpc::{Reply, Rpc, RpcError};

pub use incoming::Incoming;
pub use outgoing::Outgoing;

/// Why [`Input::MediaFailed`] is a hang-up and no failure: the peer closed the media (telegram-calls 14.3, item 10).
pub const CLOSED_BY_PEER: &str = "closed by the peer";

/// Packets of signalling that are kept before the key exists, and handed on together when it does: the first messages of a peer are a
/// dozen packets of at most 16 kB.
pub const EARLY_PACKETS: usize = 64;

/// What a call needs to know beyond its peer.
#[derive(Debug, Clone, PartialEq)]
pub struct CallSettings {
    /// The library versions to offer, best first; only these are accepted.
    pub library_versions: Vec<String>,
    /// How long to wait for what.
    pub timers: Timers,
    /// Whether direct connections may be offered; the peer's privacy setting still decides.
    pub p2p: bool,
    /// The key agreement parameters known so far, from [`Event::DhConfig`] of an earlier call.
    pub dh: Option<crate::dh::DhConfig>,
    /// Random bytes of the server for this call alone, from an earlier answer to `messages.getDhConfig`. A call we make then asks
    /// for the call at once instead of for the parameters first.
    pub random: Option<Vec<u8>>,
}

/// The timers of a call (telegram-calls 4.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timers {
    /// From the request until some device of the callee has it; also how long a key exchange may take.
    pub receive: Duration,
    /// From then until somebody answers.
    pub ring: Duration,
    /// From the key until media flows. The transport itself gives up after 20 s; this is the belt beside its braces.
    pub connect: Duration,
}

impl Default for Timers {
    fn default() -> Self {
        Timers {
            receive: Duration::from_secs(20),
            ring: Duration::from_secs(90),
            connect: Duration::from_secs(30),
        }
    }
}

impl From<&tl::types::Config> for Timers {
    /// Takes what `help.getConfig` says; a missing or absurd field keeps its default.
    fn from(config: &tl::types::Config) -> Self {
        let usable = |ms: i32, default: Duration| match u64::try_from(ms) {
            Ok(ms @ 1000..=600_000) => Duration::from_millis(ms),
            _ => default,
        };
        let default = Timers::default();
        Timers {
            receive: usable(config.call_receive_timeout_ms, default.receive),
            ring: usable(config.call_ring_timeout_ms, default.ring),
            connect: usable(config.call_connect_timeout_ms, default.connect),
        }
    }
}

/// Names one request of one call, so that its reply finds back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestKey(pub u32);

/// What happens to a call.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// The result of a request given out by [`Output::Invoke`].
    Reply(RequestKey, Result<Reply, RpcError>),
    /// The call object of an `updatePhoneCall` with this call's id.
    Update(tl::enums::PhoneCall),
    /// Signalling bytes of the peer (`updatePhoneCallSignalingData`); kept until the media plane exists.
    SignalReceived(Vec<u8>),
    /// Signalling bytes of our media plane for the peer.
    SignalToSend(Bytes),
    /// Take the call (incoming only).
    Answer,
    /// Do not take the call (incoming only).
    Refuse(Refusal),
    /// End the call, in whatever state it is.
    HangUp,
    /// Media flows.
    MediaConnected,
    /// The media plane is dead; [`CLOSED_BY_PEER`] is a hang-up of the peer.
    MediaFailed(&'static str),
    /// The time of [`Output::Timeout`] has come.
    Timeout,
}

/// How an incoming call is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Declined or busy; Telegram knows no difference.
    Busy,
    /// Nobody answered in time, or nobody could be asked.
    Missed,
    /// Something broke here.
    Disconnect,
}

/// What a call wants done.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Ask Telegram this and bring the result back as [`Input::Reply`].
    Invoke(RequestKey, Rpc),
    /// Start the media plane; happens at most once.
    StartMedia(Box<MediaStart>),
    /// Hand these bytes of the peer to the media plane.
    Signal(Vec<u8>),
    /// Something the owner wants to know.
    Event(Event),
    /// Nothing more now; come back at this time.
    Timeout(Option<Instant>),
}

/// What happened to a call.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A device of the callee rings (outgoing), or the caller hears that we ring (incoming).
    Ringing,
    /// The peer has answered (outgoing) or our answer went through (incoming): key agreed, media starting.
    Accepted {
        /// Positions of the four emoji both users can compare.
        emoji: [u16; 4],
        /// The library version Telegram chose.
        version: String,
    },
    /// Media flows: the billing clock starts.
    Established,
    /// Checked key agreement parameters worth keeping for later calls.
    DhConfig(crate::dh::DhConfig),
    /// The call is over; told exactly once.
    Ended {
        /// Why.
        cause: Cause,
    },
    /// Nothing is owed to Telegram any more: drop the machine. Told exactly once, after `Ended`.
    Finished,
}

/// All a media plane needs to begin.
#[derive(Debug, Clone, PartialEq)]
pub struct MediaStart {
    /// Our role in the call.
    pub role: Role,
    /// The library version Telegram chose, one of those offered.
    pub version: String,
    /// The key of the signalling plane.
    pub key: CallKey,
    /// Whether both privacy settings and ours allow direct connections; if not, only relay candidates may leave.
    pub p2p_allowed: bool,
    /// The relays of this call.
    pub connections: Vec<tl::enums::PhoneConnection>,
    /// The JSON object `custom_parameters`, normally absent.
    pub custom_parameters: Option<String>,
}

/// Whether the JSON object `custom_parameters` of a call has this switch on.
pub(crate) fn is_on(parameters: &str, name: &str) -> bool {
    serde_json::from_str::<serde_json::Value>(parameters)
        .ok()
        .and_then(|value| value.get(name)?.as_bool())
        .unwrap_or(false)
}

#[cfg(test)]
mod tests;
