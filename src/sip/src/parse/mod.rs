//! Reads one datagram: framer, normaliser, semantic check (RFC 3261 7, 8.2, 16.3, 18.3; limits against strangers).
//!
//! The way of a datagram: octets -> `frame` (line ends, unfolding, short names, lists, limits, Content-Length) -> `check`
//! (start line, mandatory headers, typed values) -> [`Parsed`]. Whatever is wrong with a request becomes a response that
//! can be sent statelessly; whatever is wrong with a response or an ACK is dropped. Time and memory are linear in the
//! input. `stream` cuts the octets of a connection into such datagrams. Not here: what needs the transaction (481), the user (401, 404) or the method (405, 415, 420).

mod check;
mod fault;
mod frame;
mod limits;
mod reject;
mod stream;

use crate::message::{Message, Response};

pub use fault::ALLOW;
pub use limits::Limits;
pub use stream::{StreamFramer, StreamInput, StreamOutput};

use fault::Fault;
use frame::Frame;

/// What a datagram turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parsed {
    /// A message that passed every check.
    Message(Message),
    /// A request that is answered without looking further (RFC 3261 8.2.7); the top Via is not stamped yet.
    Reject {
        /// The answer.
        response: Response,
        /// The fault, for counting.
        why: &'static str,
    },
    /// Nothing to answer; the fault, for counting.
    Drop(&'static str),
    /// Blank lines or another sign of life without content (RFC 5626 3.5.1).
    KeepAlive,
}

/// Reads a datagram with the usual [`Limits`].
pub fn parse(datagram: &[u8]) -> Parsed {
    parse_with(datagram, &Limits::default())
}

/// Reads a datagram.
pub fn parse_with(datagram: &[u8], limits: &Limits) -> Parsed {
    if datagram.iter().all(|c| matches!(c, b'\r' | b'\n' | 0)) || datagram == b"jaK" {
        return Parsed::KeepAlive;
    }
    if datagram.len() > limits.message {
        return Parsed::Drop(limits::MESSAGE);
    }
    let Some(frame) = Frame::read(datagram, limits) else {
        return Parsed::Drop("not SIP");
    };
    match check::check(&frame, limits) {
        Ok(start) => Parsed::Message(frame.into_message(start)),
        Err(fault) => reject::reject(&frame, fault),
    }
}

#[cfg(test)]
mod tests;
