//! Turns packets into frames and frames into packets, on time.
//!
//! A core: no socket, no clock, no thread. `net` brings datagrams and the time, and carries out what comes back.
//!
//! * `transport`: what carries the RTP of a leg; `plain` for SIP (with `srtp`, `source`, `sequence`, `rtp`, `rtcp`, `address`),
//!   the room `telegram` has the other.
//! * `bridge`: joins two legs. `relay` passes audio on as it comes, `playout` plays it by our clock, `outgoing` is
//!   what a leg is sent, `timeline` where it belongs in time.
//! * `quality`: how a leg must have sounded.
//! * `codec`, `forecast`, `conceal`, `g711`, `g722`, `jitter`, `pcm`, `dtmf`, `inband`, `tone`, `pool`: the tools.

// A new state must be thought of everywhere: no wildcard hides it.
#![cfg_attr(not(test), deny(clippy::wildcard_enum_match_arm))]

mod address;
mod audio;
mod bridge;
mod codec;
mod conceal;
mod dtmf;
mod forecast;
mod g711;
mod g722;
mod inband;
mod jitter;
mod outgoing;
mod pcm;
mod plain;
mod playout;
mod pool;
mod quality;
mod relay;
mod rtcp;
mod rtp;
mod sequence;
mod source;
mod srtp;
mod timeline;
mod tone;
mod transport;
mod treadmill;

#[cfg(test)]
mod tests;

pub use address::may_send_to;
pub use audio::LegAudio;
pub use bridge::{Bridge, BridgeConfig, BridgeError, BridgeEvent, BridgeOutput, LegStats};
pub use codec::{CodecError, can_join};
pub use plain::{PlainConfig, PlainRtp, PlainStats, Remote};
pub use rtcp::lost_percent;
pub use rtp::{RtpError, RtpPacket};
pub use source::Latch;
pub use tone::{Tone, ToneSource, tone_share};
pub use transport::{RtpIn, RtpOut, Transport, TransportEvent, TransportOutput};
pub use treadmill::Treadmill;
