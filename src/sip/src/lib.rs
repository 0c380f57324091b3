//! Turns datagrams into requests, responses, dialogs, registrations and offers, and back.
//!
//! * [`call`] - a dialog and the INVITE usage in it, caller and callee (RFC 3261 12 to 15).
//! * [`digest`] - challenges and credentials, both sides (RFC 7616, RFC 8760).
//! * [`guard`] - how much of whom is listened to: budgets, guesses, bans.
//! * [`identity`] - who calls, and who was called first (RFC 3325, RFC 5806).
//! * [`info`] - keypad digits in INFO.
//! * [`locate`] - which of the servers of a domain is asked first (RFC 3263).
//! * [`message`] - requests, responses, URIs, addresses, headers (RFC 3261 7, 19, 20).
//! * [`parse()`] - one datagram to one message, with limits and refusals (RFC 3261 7, 8.2, 18.3); [`StreamFramer`] - the
//!   octets of a connection to such datagrams.
//! * [`qualify`] - whether a peer that never registers is there.
//! * [`registration`] - the bindings of a trunk that registers with us (RFC 3261 10.3).
//! * [`sdp`] - session descriptions, offer and answer (RFC 8866, RFC 3264).
//! * [`shed`] - new calls refused before anything is made for them.
//! * [`text`] - texts by MESSAGE, read and sent (RFC 3428).
//! * [`transaction`] - requests and responses matched and repeated over UDP (RFC 3261 17, 18).

// A new state must be thought of everywhere: no wildcard hides it.
#![cfg_attr(not(test), deny(clippy::wildcard_enum_match_arm))]

pub mod call;
pub mod digest;
pub mod error;
pub mod guard;
mod hop;
pub mod identity;
pub mod info;
pub mod locate;
pub mod message;
pub mod oc;
mod parse;
pub mod qualify;
pub mod registration;
pub mod sdp;
pub mod shed;
pub mod text;
pub mod transaction;

pub use error::ParseError;
pub use hop::Hop;
pub use message::{
    CSeq, HeaderName, Headers, Host, MAGIC_COOKIE, Message, Method, NameAddr, Params, Request,
    Response, SipUri, Uri, Via, reason_phrase, refuse_required, respond,
};
pub use parse::{
    ALLOW, Limits, Parsed, StreamFramer, StreamInput, StreamOutput, parse, parse_with,
};
pub use transaction::{ClientKey, Failure, ServerKey, Transactions, TransactionsConfig};

#[cfg(test)]
mod tests;
