//! Speaks a Telegram call from request to discard.
//!
//! [`rpc`] names what is asked of Telegram; [`call`] decides when (control plane); [`crypt`] and [`dh`] hold the key
//! both ends agree on. Everything here is sans-IO: inputs and the time go in, outputs are polled out.

// A new state must be thought of everywhere: no wildcard hides it.
#![cfg_attr(not(test), deny(clippy::wildcard_enum_match_arm))]

mod association;
pub mod attachment;
pub mod call;
pub mod crypt;
pub mod dh;
pub mod error;
pub mod framing;
pub mod harden;
pub mod login;
pub mod messages;
mod modular;
mod relay;
pub mod rpc;
pub mod rtc;
#[cfg(test)]
mod testing;

pub use call::{
    CallSettings, Event, Incoming, Input, MediaStart, Outgoing, Output, Refusal, RequestKey, Timers,
};
pub use crypt::{CallKey, Role};
pub use rpc::{InlineResult, Reply, Rpc, RpcError, User};
pub use rtc::{RtcLimits, RtcStats, RtcTransport, Way};
