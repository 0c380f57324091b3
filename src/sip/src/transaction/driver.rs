//! What the table and its driver say to each other.

use std::time::Instant;

use bytes::Bytes;
use model::Transport;

use super::action::Failure;
use super::timer::Times;
use crate::Hop;
use crate::message::{Host, Request, Response};
use crate::parse::{Limits, Parsed};

/// Names a server transaction. Never used twice in the life of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerKey(pub(super) u64);

/// Names a client transaction. Never used twice in the life of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientKey(pub(super) u64);

/// An address of ours: `sent-by` of a Via (RFC 3261 18.1.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentBy {
    /// What it serves.
    pub transport: Transport,
    /// The host; the unspecified address stands for whichever of ours leads to the peer, see
    /// [`super::Transactions::set_here`].
    pub host: Host,
    /// The port, unless it is the usual one.
    pub port: Option<u16>,
}

/// The most transactions of either kind at a time, unless something else is wanted.
pub const TRANSACTIONS: usize = 20_000;

/// The settings of the transaction layer.
#[derive(Debug, Clone)]
pub struct TransactionsConfig {
    /// T1, T2 and T4.
    pub times: Times,
    /// Where we can be reached: what stands in our Via. Never empty; the first one of a transport and an address family
    /// serves its requests.
    pub sent_by: Vec<SentBy>,
    /// A request of more octets than this goes by TCP, if that can be had (RFC 3261 18.1.1).
    pub datagram: Option<usize>,
    /// Answer to the source port even where no `rport` asks for it; nearly all of NAT needs it.
    pub force_rport: bool,
    /// The most server transactions at a time.
    pub servers: usize,
    /// The most client transactions at a time.
    pub clients: usize,
    /// The limits of one message.
    pub limits: Limits,
    /// Ask before a server transaction is made: a new request comes as [`Output::Arrived`] instead of [`Output::Request`].
    pub screened: bool,
}

impl TransactionsConfig {
    /// Returns the usual settings for a switch that is reached at this address by UDP.
    pub fn new(host: Host, port: Option<u16>) -> Self {
        let transport = Transport::Udp;
        Self {
            times: Times::default(),
            sent_by: vec![SentBy {
                transport,
                host,
                port,
            }],
            datagram: None,
            force_rport: true,
            servers: TRANSACTIONS,
            clients: TRANSACTIONS,
            limits: Limits::default(),
            screened: false,
        }
    }
}

/// What the driver tells the table.
#[derive(Debug, Clone)]
pub enum Input {
    /// A datagram arrived, or a message was cut from a stream.
    Received {
        /// Where it came from.
        source: Hop,
        /// Its content.
        bytes: Bytes,
    },
    /// A message in a stream was refused before its end.
    Refused {
        /// Where it came from.
        source: Hop,
        /// What the framer said.
        parsed: Parsed,
    },
    /// The time of the last [`Output::Timeout`] has come.
    Timeout,
    /// Send a request in a new client transaction; see [`super::Transactions::request`] for the key.
    Request {
        /// Where to send it.
        target: Hop,
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
    /// Say no more of a request of ours that is no INVITE, and hear no more of it: another one took its place (RFC 3263 4.3).
    GiveUp {
        /// The request.
        tx: ClientKey,
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
    /// Answer what [`Output::Arrived`] brought, once and without a transaction (RFC 3261 8.2.7, 26.3.2.4). It is left unsaid if it
    /// would be more than one and a half of the octets of the request (SEC-D3): whoever forges a source gains nothing here.
    Reply {
        /// Where the request came from.
        source: Hop,
        /// The answer.
        response: Response,
    },
    /// Send the ACK to a success, outside all transactions (RFC 3261 13.2.2.4).
    Ack {
        /// Where to send it.
        target: Hop,
        /// The ACK without our Via.
        request: Request,
    },
    /// The network reported that nothing reaches this hop, or that its stream has ended.
    Unreachable {
        /// The hop.
        target: Hop,
    },
}

/// What the table wants from the driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send a datagram.
    Transmit {
        /// To whom.
        target: Hop,
        /// Its content.
        bytes: Bytes,
    },
    /// A new request to be answered with [`Input::Respond`] or [`Input::Stateless`].
    Request {
        /// Its transaction.
        tx: ServerKey,
        /// Where it came from.
        source: Hop,
        /// The request, top Via stamped with its source.
        request: Request,
    },
    /// A new request that has no transaction yet (see [`TransactionsConfig::screened`]): give it one with
    /// [`super::Transactions::admit`], answer it by [`Input::Reply`], or forget it; before the next input.
    Arrived {
        /// Where it came from.
        source: Hop,
        /// The request, top Via stamped with its source.
        request: Request,
    },
    /// An ACK that belongs to a success, or to nothing: never to be answered.
    Ack {
        /// Where it came from.
        source: Hop,
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
        source: Hop,
        /// Why, one of a closed list.
        why: &'static str,
    },
    /// Nothing more to do before this time, or before the next input.
    Timeout(Option<Instant>),
}
