//! A call alone with a scripted peer, two calls with each other, and the table of transitions.

mod callee;
mod caller;
mod inside;
mod pair;
mod refer;
mod reliable;
mod session;
mod table;

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::*;
use crate::Hop;
use crate::message::{CSeq, Uri};
use crate::transaction::{Input, Output, Transactions, TransactionsConfig};

pub(super) const T1: Duration = Duration::from_millis(500);
pub(super) const SDP: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\n";

pub(super) fn sdp() -> Bytes {
    Bytes::from_static(SDP.as_bytes())
}

pub(super) fn peer() -> Hop {
    Hop::udp(std::net::SocketAddr::from(([203, 0, 113, 5], 5060)))
}

pub(super) fn uri(text: &str) -> Uri {
    text.parse().unwrap()
}

/// Makes keys of server transactions the only way there is: by requests.
pub(super) struct Keys {
    transactions: Transactions,
    count: u32,
}

impl Keys {
    pub(super) fn new() -> Self {
        let config = TransactionsConfig::new("192.0.2.9".parse().unwrap(), None);
        Self {
            transactions: Transactions::new(config, 1),
            count: 0,
        }
    }

    pub(super) fn next(&mut self, now: Instant) -> ServerKey {
        self.count += 1;
        let count = self.count;
        let text = format!(
            "OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK{count}\r\nFrom: <sip:a@b>;tag=1\r\n\
             To: <sip:a@b>\r\nCall-ID: {count}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
        );
        let datagram = Input::Received {
            source: peer(),
            bytes: text.into(),
        };
        self.transactions.handle_input(now, datagram);
        loop {
            match self.transactions.poll_output() {
                Output::Request { tx, .. } => return tx,
                Output::Timeout(_) => panic!("no request"),
                _ => {}
            }
        }
    }
}

/// A call whose peer is the test.
pub(super) struct Lone {
    pub(super) call: Call,
    pub(super) now: Instant,
    pub(super) keys: Keys,
    /// The transaction of the last request given.
    pub(super) tx: ServerKey,
    /// The requests it sent, ACKs included.
    pub(super) sent: Vec<(Hop, Request)>,
    /// The responses it sent.
    pub(super) responses: Vec<Response>,
    /// The CSeq of the peer's next request.
    pub(super) cseq: u32,
}

#[allow(clippy::disallowed_methods)] // an arbitrary start of virtual time
pub(super) fn start() -> Instant {
    Instant::now()
}

pub(super) fn local() -> Local {
    Local::new(uri("sip:gw@192.0.2.9:5060"))
}

/// An INVITE of the peer; its tag is `a1`.
pub(super) fn invite(body: &str) -> Request {
    let mut request = Request::new(Method::Invite, uri("sip:600@192.0.2.9"));
    let headers = &mut request.headers;
    headers.push(
        HeaderName::Via,
        "SIP/2.0/UDP 10.0.0.5:5062;branch=z9hG4bKi;rport",
    );
    headers.push(HeaderName::From, "\"A\" <sip:a@192.0.2.1>;tag=a1");
    headers.push(HeaderName::To, "<sip:600@192.0.2.9>");
    headers.push(HeaderName::CallId, "c1");
    headers.push(HeaderName::CSeq, "10 INVITE");
    headers.push(HeaderName::Contact, "<sip:a@10.0.0.5:5062>");
    if !body.is_empty() {
        headers.push(HeaderName::ContentType, "application/sdp");
        request.body = body.to_owned().into();
    }
    request
}

impl Lone {
    pub(super) fn incoming(local: Local, request: Request) -> Result<Self, Box<Refusal>> {
        let now = start();
        let mut keys = Keys::new();
        let tx = keys.next(now);
        let call = Call::incoming(now, local, request, tx, peer(), 1)?;
        Ok(Self::around(call, now, keys, tx))
    }

    /// Called by the peer with an offer.
    pub(super) fn called() -> Self {
        Self::incoming(local(), invite(SDP)).unwrap()
    }

    /// Calling the peer; the INVITE is in `sent`.
    pub(super) fn calling() -> Self {
        Self::calling_with(None, Vec::new())
    }

    /// The same with an account there, and other places to go.
    pub(super) fn calling_with(account: Option<Account>, others: Vec<Hop>) -> Self {
        let now = start();
        let mut keys = Keys::new();
        let tx = keys.next(now);
        let target = Target {
            uri: uri("sip:600@198.51.100.7"),
            send_to: peer(),
            others,
            from: "\"B\" <sip:gw@192.0.2.9>".parse().unwrap(),
            to: "<sip:600@198.51.100.7>".parse().unwrap(),
            headers: vec![("X-TG-Id".into(), "42".into())],
            max_forwards: 70,
            ring_timeout: Duration::from_secs(60),
            account,
        };
        let call = Call::outgoing(now, local(), target, sdp(), 1);
        let mut lone = Self::around(call, now, keys, tx);
        lone.cseq = 0;
        assert_eq!(lone.drain(), ["INVITE"]);
        lone
    }

    /// Answered by the peer, whose tag is `b1`.
    pub(super) fn talking() -> Self {
        let mut lone = Self::calling();
        assert_eq!(lone.reply(200, "b1", SDP), ["ACK", "Answered", "Confirmed"]);
        lone
    }

    /// Having answered the peer, with its ACK.
    pub(super) fn answered() -> Self {
        let mut lone = Self::called();
        lone.give(CallInput::Answer { sdp: sdp() });
        assert_eq!(lone.ack(10, ""), ["Confirmed"]);
        lone
    }

    fn around(call: Call, now: Instant, keys: Keys, tx: ServerKey) -> Self {
        Self {
            call,
            now,
            keys,
            tx,
            sent: Vec::new(),
            responses: Vec::new(),
            cseq: 10,
        }
    }

    pub(super) fn give(&mut self, input: CallInput) -> Vec<String> {
        self.call.handle_input(self.now, input);
        self.drain()
    }

    pub(super) fn hang_up(&mut self) -> Vec<String> {
        self.give(CallInput::HangUp {
            reason_header: None,
        })
    }

    /// Moves the clock, stopping at every timer.
    pub(super) fn advance(&mut self, time: Duration) -> Vec<String> {
        let end = self.now + time;
        let mut seen = Vec::new();
        while let Some(at) = self.call.timers.next().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            seen.extend(self.give(CallInput::Timeout));
        }
        self.now = end;
        seen
    }

    /// A request of the peer inside the dialog, not given yet.
    pub(super) fn request(&mut self, method: Method, body: &str) -> Request {
        self.cseq += 1;
        let mut request = Request::new(method.clone(), uri("sip:gw@192.0.2.9:5060"));
        let headers = &mut request.headers;
        headers.push(
            HeaderName::Via,
            format!("SIP/2.0/UDP 10.0.0.5:5062;branch=z9hG4bK{}", self.cseq),
        );
        let tag = self.call.dialog.remote_tag().unwrap_or("none");
        let from = format!("<sip:peer@192.0.2.1>;tag={tag}");
        headers.push(HeaderName::From, from);
        let tag = self.call.dialog_id().local_tag;
        headers.push(HeaderName::To, format!("<sip:gw@192.0.2.9>;tag={tag}"));
        headers.push(HeaderName::CallId, self.call.call_id());
        let number = self.cseq;
        headers.push(HeaderName::CSeq, CSeq { number, method });
        headers.push(HeaderName::Contact, "<sip:moved@10.0.0.6:5064>");
        if !body.is_empty() {
            headers.push(HeaderName::ContentType, "application/sdp");
            request.body = body.to_owned().into();
        }
        request
    }

    pub(super) fn hand_in(&mut self, request: Request) -> Vec<String> {
        self.tx = self.keys.next(self.now);
        self.give(CallInput::Request {
            tx: self.tx,
            source: Hop::udp(std::net::SocketAddr::from(([203, 0, 113, 5], 6060))),
            request,
        })
    }

    /// A request of the peer inside the dialog.
    pub(super) fn ask(&mut self, method: Method, body: &str) -> Vec<String> {
        let request = self.request(method, body);
        self.hand_in(request)
    }

    /// An ACK of the peer.
    pub(super) fn ack(&mut self, number: u32, body: &str) -> Vec<String> {
        let mut request = self.request(Method::Ack, body);
        self.cseq -= 1;
        let method = Method::Ack;
        request
            .headers
            .set(HeaderName::CSeq, CSeq { number, method });
        self.give(CallInput::Ack { request })
    }

    /// The last request sent that is no ACK.
    pub(super) fn last(&self) -> &Request {
        let mut sent = self.sent.iter().rev();
        let (_, request) = sent.find(|(_, r)| r.method != Method::Ack).unwrap();
        request
    }

    /// A response of the peer to the last request, not given yet.
    pub(super) fn reply_of(&self, status: u16, tag: &str, body: &str) -> Response {
        let mut response = respond(self.last(), status, "", (!tag.is_empty()).then_some(tag));
        let headers = &mut response.headers;
        headers.push(HeaderName::Contact, "<sip:b@10.0.0.7:5066>");
        if !body.is_empty() {
            headers.push(HeaderName::ContentType, "application/sdp");
            response.body = body.to_owned().into();
        }
        response
    }

    /// A response of the peer to the last request.
    pub(super) fn reply(&mut self, status: u16, tag: &str, body: &str) -> Vec<String> {
        let response = self.reply_of(status, tag, body);
        self.give(CallInput::Response { response })
    }

    fn drain(&mut self) -> Vec<String> {
        let mut seen = Vec::new();
        loop {
            let output = self.call.poll_output();
            if let CallOutput::Timeout(_) = output {
                return seen;
            }
            seen.push(show(&output));
            match output {
                CallOutput::Send { target, request }
                | CallOutput::Dismiss { target, request }
                | CallOutput::SendAck { target, request } => self.sent.push((target, request)),
                CallOutput::Respond { response, .. } => self.responses.push(response),
                CallOutput::CancelInvite { .. } | CallOutput::Event(_) | CallOutput::Timeout(_) => {
                }
            }
        }
    }
}

/// An output in a word or two.
pub(super) fn show(output: &CallOutput) -> String {
    match output {
        CallOutput::Send { request, .. } => request.method.to_string(),
        CallOutput::Dismiss { request, .. } => format!("dismiss {}", request.method),
        CallOutput::SendAck { .. } => "ACK".into(),
        CallOutput::CancelInvite { .. } => "CANCEL".into(),
        CallOutput::Respond { response, .. } => {
            let method = response.headers.cseq().unwrap().method;
            format!("{} {method}", response.status)
        }
        CallOutput::Event(event) => match event {
            CallEvent::NobodyThere { .. } => "NobodyThere".into(),
            CallEvent::Ringing { sdp: None } => "Ringing".into(),
            CallEvent::Ringing { sdp: Some(_) } => "Ringing+sdp".into(),
            CallEvent::Answered { sdp: Some(_) } => "Answered".into(),
            CallEvent::Answered { sdp: None } => "Answered as agreed".into(),
            CallEvent::Confirmed => "Confirmed".into(),
            CallEvent::Offer { .. } => "Offer".into(),
            CallEvent::OfferWanted => "OfferWanted".into(),
            CallEvent::OfferAnswered { .. } => "OfferAnswered".into(),
            CallEvent::InfoAnswered { status } => format!("InfoAnswered {status}"),
            CallEvent::OfferRefused { status } => format!("OfferRefused {status}"),
            CallEvent::OfferOvertaken => "OfferOvertaken".into(),
            CallEvent::Info { .. } => "Info".into(),
            CallEvent::Referred { .. } => "Referred".into(),
            CallEvent::Ended {
                by, status, cause, ..
            } => format!("Ended {by:?} {cause:?} {status}"),
        },
        CallOutput::Timeout(_) => "Timeout".into(),
    }
}
