//! What carries the RTP of one leg, seen from the bridge: packets in, packets out, and what happened on the way.
//!
//! Implemented by [`crate::PlainRtp`] (RTP/AVP, RFC 3550) and by the room `telegram` (ICE, DTLS-SRTP). The contract
//! is that of every core: one input, then `poll_output` until it returns [`TransportOutput::Timeout`], then the
//! next input.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::audio::LegAudio;

/// One received RTP packet, already checked, opened and numbered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RtpIn {
    /// The payload type, 0-127.
    pub payload_type: u8,
    /// The sequence number, extended over wraps (RFC 3550 A.1); one stream never goes back by more than reordering,
    /// and a sender that starts over continues with the next number, or 1000 and more after it.
    pub sequence: u64,
    /// The timestamp in ticks of the payload's clock.
    pub timestamp: u32,
    /// The marker bit.
    pub marker: bool,
    /// The payload without padding; empty for a padding probe, which arrived but carries no audio.
    pub payload: Bytes,
}

/// One RTP packet to send; the transport adds the sequence number and the SSRC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RtpOut {
    /// The payload type, 0-127.
    pub payload_type: u8,
    /// The timestamp in ticks of the payload's clock.
    pub timestamp: u32,
    /// The marker bit.
    pub marker: bool,
    /// The payload.
    pub payload: Bytes,
}

/// Carries the RTP of one leg.
pub trait Transport {
    /// Takes one datagram of the leg's socket.
    fn handle_datagram(&mut self, now: Instant, source: SocketAddr, data: &[u8]);

    /// Does what is due at `now`.
    fn handle_timeout(&mut self, now: Instant);

    /// Sends one packet; dropped and counted when the transport is not ready.
    fn send(&mut self, now: Instant, packet: &RtpOut);

    /// Returns the next output; [`TransportOutput::Timeout`] when there is none left.
    fn poll_output(&mut self) -> TransportOutput;
}

/// What a [`Transport`] wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransportOutput {
    /// Send this datagram from the leg's socket.
    Transmit {
        /// Where to.
        target: SocketAddr,
        /// The datagram.
        bytes: Bytes,
    },
    /// Send this datagram from the leg's RTCP socket (only [`crate::PlainRtp`]).
    TransmitRtcp {
        /// Where to.
        target: SocketAddr,
        /// The datagram.
        bytes: Bytes,
    },
    /// A packet for the bridge.
    Rtp(RtpIn),
    /// Something the call wants to know.
    Event(TransportEvent),
    /// Nothing more now; call `handle_timeout` at this time.
    Timeout(Option<Instant>),
}

/// What happened on a transport.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransportEvent {
    /// Media can flow: the source is locked (plain RTP), ICE and DTLS are done (Telegram).
    Connected,
    /// Nothing has arrived for this long; told once per silence.
    Silent {
        /// How long.
        for_: Duration,
    },
    /// Signalling for the peer, to be sent through Telegram.
    Signal(Bytes),
    /// The peer reports how much of what it was sent since its last report it has not received (RFC 3550 section 6.4.1), in
    /// percent, rounded up.
    Reported {
        /// 0 to 100.
        lost_percent: u8,
    },
    /// The peer has turned to another codec of its answer (RFC 3264 section 7), and is spoken to in it as well from now on.
    Turned(LegAudio),
    /// The peer muted or unmuted its microphone.
    RemoteMuted(bool),
    /// The transport is dead; nothing follows.
    Failed(&'static str),
}
