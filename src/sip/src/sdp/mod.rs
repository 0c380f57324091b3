//! Session descriptions and the offer/answer exchange: RFC 8866, RFC 3264, RFC 4568, RFC 4733, RFC 7587, RFC 8643.
//!
//! [`parse`] reads what a peer wrote, tolerant of old devices and bounded in every dimension. [`offer`], [`answer`],
//! [`common`], [`accept_answer`], [`reanswer`] and [`reoffer`] settle one audio stream. Deliberately absent: DTLS, ICE, BUNDLE, RTCP
//! multiplexing, video, name resolution. Lines with those are refused with port 0, as RFC 3264 section 6 wants.

mod crypto;
mod error;
mod negotiate;
mod parse;
#[cfg(test)]
mod tests;
mod write;

use std::net::{IpAddr, SocketAddr};

use model::{Codec, PayloadTypes};

pub use crypto::{Crypto, Security};
pub use error::{OfferError, SdpError};
pub use negotiate::{accept_answer, answer, common, reanswer};
pub use parse::{Attribute, Connection, Media, Sdp, parse};
pub use write::{offer, reoffer};

/// What we tell a peer about our end of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalMedia {
    /// Where we receive RTP.
    pub address: SocketAddr,
    /// The session id of `o=`, the same for the whole dialog.
    pub session_id: u64,
    /// The session version of `o=`; grows by one whenever the description changes (RFC 3264 section 8).
    pub version: u64,
    /// Whether it is encrypted, and with which keys.
    pub security: Security,
}

/// Which way audio flows, seen from our end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Direction {
    /// Both ways.
    #[default]
    SendRecv,
    /// We send, the peer does not.
    SendOnly,
    /// The peer sends, we do not: we are on hold.
    RecvOnly,
    /// Nobody sends.
    Inactive,
}

impl Direction {
    /// Whether we send.
    pub fn sends(self) -> bool {
        matches!(self, Direction::SendRecv | Direction::SendOnly)
    }

    /// Whether the peer sends.
    pub fn receives(self) -> bool {
        matches!(self, Direction::SendRecv | Direction::RecvOnly)
    }

    /// The same stream seen from the other end.
    #[must_use]
    pub fn reversed(self) -> Self {
        Self::of(self.receives(), self.sends())
    }

    /// What remains when the peer does not want to receive.
    #[must_use]
    pub(crate) fn without_sending(self) -> Self {
        Self::of(false, self.receives())
    }

    fn of(sends: bool, receives: bool) -> Self {
        match (sends, receives) {
            (true, true) => Direction::SendRecv,
            (true, false) => Direction::SendOnly,
            (false, true) => Direction::RecvOnly,
            (false, false) => Direction::Inactive,
        }
    }

    /// The name of its attribute.
    pub fn attribute(self) -> &'static str {
        match self {
            Direction::SendRecv => "sendrecv",
            Direction::SendOnly => "sendonly",
            Direction::RecvOnly => "recvonly",
            Direction::Inactive => "inactive",
        }
    }
}

/// The audio format both ends settled on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Audio {
    /// The codec.
    pub codec: Codec,
    /// Its RTP payload type, 0 to 127.
    pub payload_type: u8,
    /// The packet time the peer asked for, in ms, when it did.
    pub fmtp_ptime: Option<u8>,
    /// The payload type of telephone-event, when both ends know it (RFC 4733).
    pub dtmf_payload_type: Option<u8>,
    /// The clock rate of telephone-event in Hz: the codec's, or 8000 when the peer has no other.
    pub dtmf_clock: u32,
    /// What the peer sends with, where its answer has numbers of its own: those of our offer (RFC 3264 section 5.1). The fields
    /// above are what it receives.
    pub received: Option<PayloadTypes>,
}

/// The result of an offer and its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// The format.
    pub audio: Audio,
    /// What else the peer has answered our offer with: it may turn to any of these without a word (RFC 3264 section 7).
    pub others: Vec<Audio>,
    /// Where the peer receives RTP, as it wrote it; ask [`Agreed::may_send`] before using it.
    pub remote: SocketAddr,
    /// Where the peer receives RTCP, when it is not the port after `remote` (RFC 3605).
    pub remote_rtcp: Option<SocketAddr>,
    /// Which way audio flows, seen from our end.
    pub direction: Direction,
    /// The duration of the packets we send, in ms: 10 to 60.
    pub ptime: u8,
    /// The keys of SRTP; none is plain RTP.
    pub crypto: Option<Crypto>,
}

impl Agreed {
    /// Whether media may go to `remote` for a peer whose signalling comes from `peer`.
    ///
    /// Never to addresses that are no single host of the network, never to well-known ports, and to loopback only
    /// for a peer that is itself on loopback.
    pub fn may_send(&self, peer: IpAddr) -> bool {
        may_send(self.remote, peer)
    }
}

fn may_send(target: SocketAddr, peer: IpAddr) -> bool {
    let address = target.ip().to_canonical();
    let special = match address {
        IpAddr::V4(ip) => {
            ip.is_unspecified() || ip.is_broadcast() || ip.is_multicast() || ip.is_link_local()
        }
        IpAddr::V6(ip) => ip.is_unspecified() || ip.is_multicast() || ip.is_unicast_link_local(),
    };
    let stray_loopback = address.is_loopback() && !peer.to_canonical().is_loopback();
    target.port() >= 1024 && !special && !stray_loopback
}
