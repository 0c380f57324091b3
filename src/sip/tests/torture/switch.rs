//! The switch as a peer sees it, put together from this room alone as the endpoint does: what it answers to one message.
//!
//! A peer known by its address may call; attackers are strangers, whose calls are challenged. Registrations always are.

use std::time::Instant;

use bytes::Bytes;
use model::Codec;
use sip::call::{Call, CallInput, CallOutput, Local};
use sip::digest::{Digest, Verdict};
use sip::sdp::{self, LocalMedia, Security};
use sip::transaction::{Input, Output};
use sip::{
    HeaderName, Host, Message, Method, Parsed, Request, Response, ServerKey, Transactions,
    TransactionsConfig, parse, refuse_required, registration, respond,
};

use crate::set::Outcome;

const UNIX_TIME: u64 = 1_700_000_000;

pub(crate) struct Switch {
    now: Instant,
    source: sip::Hop,
    is_peer: bool,
    transactions: Transactions,
    digest: Digest,
    answer: Option<u16>,
    sends: bool,
}

impl Switch {
    pub(crate) fn new(is_peer: bool) -> Self {
        let host: Host = "192.0.2.200".parse().unwrap();
        Self {
            now: start(),
            source: "192.0.2.100:5060".parse().unwrap(),
            is_peer,
            transactions: Transactions::new(TransactionsConfig::new(host, Some(5060)), 1),
            digest: Digest::new("strowger", [7; 32]),
            answer: None,
            sends: false,
        }
    }

    /// Hands in one datagram and returns what became of it.
    pub(crate) fn take(mut self, bytes: &[u8]) -> Outcome {
        let read = matches!(parse(bytes), Parsed::Message(_));
        let datagram = Input::Received {
            source: self.source,
            bytes: Bytes::copy_from_slice(bytes),
        };
        self.input(datagram);
        Outcome {
            read,
            answer: self.answer,
            sends: self.sends,
        }
    }

    fn input(&mut self, input: Input) {
        self.transactions.handle_input(self.now, input);
        loop {
            match self.transactions.poll_output() {
                Output::Transmit { target, bytes } => self.sent(target, &bytes),
                Output::Request {
                    tx,
                    source,
                    request,
                } => self.request(tx, source, &request),
                Output::Timeout(_) => return,
                _ => {}
            }
        }
    }

    /// Notes a final answer. Nothing ever goes anywhere but back (RFC 4475 3.3.10).
    fn sent(&mut self, target: sip::Hop, bytes: &[u8]) {
        assert_eq!(target, self.source);
        assert!(bytes.starts_with(b"SIP/2.0 "), "only answers are sent");
        let status = std::str::from_utf8(&bytes[8..11]).unwrap();
        let status: u16 = status.parse().unwrap();
        if status >= 200 {
            assert_eq!(self.answer.replace(status), None, "one final answer");
        }
    }

    fn request(&mut self, tx: ServerKey, source: sip::Hop, request: &Request) {
        let is_inside = request.headers.to().is_some_and(|to| to.tag().is_some());
        let requires = refuse_required(request, "t")
            .filter(|_| matches!(request.method, Method::Options | Method::Register));
        let status = match &request.method {
            _ if is_inside => 481,
            _ if requires.is_some() => 420,
            Method::Invite if self.is_peer => return self.invite(tx, source, request),
            Method::Invite => 401,
            Method::Register => match registration::inspect(request) {
                Ok(()) => self.challenge(source, request),
                Err(error) => error.status(),
            },
            Method::Options => 200,
            _ => 405,
        };
        self.answer(tx, respond(request, status, "", Some("t")));
    }

    fn challenge(&mut self, source: sip::Hop, request: &Request) -> u16 {
        let verdict = self
            .digest
            .check(UNIX_TIME, source.ip(), request, "nobody knows");
        assert_ne!(verdict, Verdict::Ok);
        401
    }

    /// Answers a call at once, if it can be one.
    fn invite(&mut self, tx: ServerKey, source: sip::Hop, invite: &Request) {
        let local = Local::new("sip:192.0.2.200".parse().unwrap());
        let mut call = match Call::incoming(self.now, local, invite.clone(), tx, source, 1) {
            Ok(call) => call,
            Err(refusal) => return self.answer(tx, refusal.response),
        };
        let media = LocalMedia {
            address: "192.0.2.200:16384".parse().unwrap(),
            session_id: 1,
            version: 1,
            security: Security::Plain,
        };
        let input = match call.offer() {
            None => CallInput::Answer {
                sdp: sdp::offer(&media, &Codec::ALL),
            },
            Some(offer) => match sdp::answer(&offer, &media, &Codec::ALL) {
                Ok((sdp, agreed)) => {
                    assert!(sdp::parse(&sdp).is_ok());
                    self.sends = agreed.direction.sends() && agreed.may_send(source.ip());
                    CallInput::Answer { sdp }
                }
                Err(error) => CallInput::Refuse {
                    status: error.status(),
                    reason: String::new(),
                    headers: Vec::new(),
                },
            },
        };
        call.handle_input(self.now, input);
        loop {
            match call.poll_output() {
                CallOutput::Respond { tx, response } => self.answer(tx, response),
                CallOutput::Timeout(_) => return,
                _ => {}
            }
        }
    }

    fn answer(&mut self, tx: ServerKey, response: Response) {
        self.transactions
            .handle_input(self.now, Input::Respond { tx, response });
    }
}

/// An INVITE that offers a session description.
pub(crate) fn offering(description: &[u8]) -> Vec<u8> {
    let mut invite = Request::new(Method::Invite, "sip:600@192.0.2.200".parse().unwrap());
    for (name, value) in [
        (HeaderName::Via, "SIP/2.0/UDP 192.0.2.100;branch=z9hG4bK1"),
        (HeaderName::From, "<sip:100@192.0.2.100>;tag=1"),
        (HeaderName::To, "<sip:600@192.0.2.200>"),
        (HeaderName::CallId, "1@192.0.2.100"),
        (HeaderName::CSeq, "1 INVITE"),
        (HeaderName::Contact, "<sip:100@192.0.2.100>"),
        (HeaderName::ContentType, "application/sdp"),
    ] {
        invite.headers.push(name, value);
    }
    invite.body = Bytes::copy_from_slice(description);
    Message::Request(invite).encode().to_vec()
}

/// The one instant from which virtual time runs.
#[allow(clippy::disallowed_methods)]
pub(crate) fn start() -> Instant {
    Instant::now()
}
