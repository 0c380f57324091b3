//! What the table and its driver say to each other.

use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;

use super::action::Failure;
use super::timer::Times;
use crate::message::{Host, Request, Response};
use crate::parse::Limits;

/// Names a server transaction. Never used twice in the life of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerKey(pub(super) u64);

/// Names a client transaction. Never used twice in the life of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientKey(pub(super) u64);

/// The settings of the transaction layer.
#[derive(Debug, Clone)]
pub struct TransactionsConfig {
    /// T1, T2 and T4.
    pub times: Times,
    /// The host in our Via.
    pub via_host: Host,
    /// The port in our Via.
    pub via_port: Option<u16>,
    /// Answer to the source port even where no `rport` asks for it; nearly all of NAT needs it.
    pub force_rport: bool,
    /// The most server transactions at a time.
    pub servers: usize,
    /// The most client transactions at a time.
    pub clients: usize,
    /// The limits of one message.
    pub limits: Limits,
}

impl TransactionsConfig {
    /// Returns the usual settings for a switch that is reached at this address.
    pub fn new(via_host: Host, via_port: Option<u16>) -> Self {
        Self {
            times: Times::default(),
            via_host,
            via_port,
            force_rport: true,
            servers: 20_000,
            clients: 20_000,
            limits: Limits::default(),
        }
    }
}

/// What the driver tells the table.
#[derive(Debug, Clone)]
pub enum Input {
    /// A datagram arrived.
    Datagram {
        /// Where it came from.
        source: SocketAddr,
        /// Its content.
        bytes: Bytes,
    },
    /// The time of the last [`Output::Timeout`] has come.
    Timeout,
    /// Send a request in a new client transaction; see [`super::Transactions::request`] for the key.
    Request {
        /// Where to send it.
        target: SocketAddr,
        /// The request without our Via.
        request: Request,
        /// Comes back with every response.
        user: u64,
    },
    /// Cancel an INVITE of ours; waits for a provisional response if need be (RFC 3261 9.1).
    Cancel {
        /// The INVITE.
        tx: ClientKey,
        /// The value of a Reason header.
        reason: Option<String>,
    },
    /// Answer a request.
    Respond {
        /// The request.
        tx: ServerKey,
        /// The answer.
        response: Response,
    },
    /// Answer a request and forget it: no repeats, no memory (RFC 3261 8.2.7).
    Stateless {
        /// The request.
        tx: ServerKey,
        /// The answer.
        response: Response,
    },
    /// Send the ACK to a success, outside all transactions (RFC 3261 13.2.2.4).
    Ack {
        /// Where to send it.
        target: SocketAddr,
        /// The ACK without our Via.
        request: Request,
    },
    /// The network reported that nothing reaches this address.
    Unreachable {
        /// The address.
        target: SocketAddr,
    },
}

/// What the table wants from the driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send a datagram.
    Transmit {
        /// To whom.
        target: SocketAddr,
        /// Its content.
        bytes: Bytes,
    },
    /// A new request to be answered with [`Input::Respond`] or [`Input::Stateless`].
    Request {
        /// Its transaction.
        tx: ServerKey,
        /// Where it came from.
        source: SocketAddr,
        /// The request, top Via stamped with its source.
        request: Request,
    },
    /// An ACK that belongs to a success, or to nothing: never to be answered.
    Ack {
        /// Where it came from.
        source: SocketAddr,
        /// The ACK.
        request: Request,
    },
    /// A CANCEL came for this open INVITE and has got its 200; the INVITE's owner answers 487.
    Cancelled {
        /// The INVITE.
        tx: ServerKey,
        /// The Reason header of the CANCEL.
        reason: Option<String>,
    },
    /// A response to a request of ours; each provisional one, the final one, every repeat and fork of a 2xx to INVITE.
    Response {
        /// The number given with the request.
        user: u64,
        /// Its transaction.
        tx: ClientKey,
        /// The response.
        response: Response,
    },
    /// A request of ours will get no final response.
    Failed {
        /// The number given with the request.
        user: u64,
        /// Its transaction.
        tx: ClientKey,
        /// Why.
        why: Failure,
    },
    /// Something that arrived was refused or dropped here; for counting.
    Malformed {
        /// Where it came from.
        source: SocketAddr,
        /// Why, one of a closed list.
        why: &'static str,
    },
    /// Nothing more to do before this time, or before the next input.
    Timeout(Option<Instant>),
}
