//! The callee's part until the answer (RFC 3261 13.3, 12.1.1), and what both ends answer in an early dialog.

use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::SeedableRng as _;
use rand::rngs::SmallRng;

use super::check::{self, Fault};
use super::dialog::Dialog;
use super::refer::supported;
use super::reliable::Reliable;
use super::session::Session;
use super::state::{Calling, Early, Exchange, Incoming, State, Unacked};
use super::timer::{Timer, Timers};
use super::{Call, CallEvent, EndCause, Local, Party, Refusal, random_tag};
use crate::Hop;
use crate::message::{HeaderName, Method, Request, Response, Uri, reason_phrase, respond};
use crate::transaction::ServerKey;

/// RFC 3261 13.3.1.1: a proxy in between forgets a silent INVITE after three minutes.
const REFRESH: Duration = Duration::from_secs(60);

/// How long a caller is kept waiting, whatever happens: its CANCEL may be lost for ever (SEC-D5).
const PATIENCE: Duration = Duration::from_secs(180);

impl Call {
    /// Takes an INVITE outside all dialogs.
    pub fn incoming(
        now: Instant,
        local: Local,
        request: Request,
        tx: ServerKey,
        source: Hop,
        seed: u64,
    ) -> Result<Self, Box<Refusal>> {
        let mut rng = SmallRng::seed_from_u64(seed);
        let tag = random_tag(&mut rng);
        let refusal = |fault: Fault| {
            let mut response = respond(&request, fault.status, "", Some(&tag));
            for (name, value) in fault.headers {
                response.headers.push(name, value);
            }
            Box::new(Refusal { response })
        };
        check_invite(&request, supported(local.refer)).map_err(refusal)?;
        let session = Session::new(local.session);
        session.check(&request.headers).map_err(refusal)?;
        let dialog = Dialog::uas(&request, source, &tag).ok_or_else(|| refusal(Fault::new(400)))?;
        let mut timers = Timers::default();
        timers.set(Timer::Patience, now + PATIENCE);
        if let Some(seconds) = request.headers.expires().filter(|seconds| *seconds > 0) {
            timers.set(Timer::Expires, now + Duration::from_secs(seconds.into()));
        }
        let reliable = Reliable::for_invite(&request.headers, &mut rng);
        let first_cseq = request.headers.cseq().map_or(0, |cseq| cseq.number);
        Ok(Self {
            local,
            dialog,
            state: State::Incoming(Incoming {
                tx,
                invite: request,
                provisional: None,
                early: Early::Open,
                answer: None,
            }),
            is_uac: false,
            first_cseq,
            left: Vec::new(),
            answerer: None,
            credentials: None,
            reliable,
            session,
            told: None,
            referring: None,
            info: None,
            acks: std::collections::VecDeque::new(),
            retry: None,
            timers,
            outputs: std::collections::VecDeque::new(),
            rng,
        })
    }

    pub(super) fn ring(&mut self, now: Instant, mut s: Incoming, sdp: Option<Bytes>) -> State {
        // RFC 3261 13.2.1: an offer of ours does not go into a response that may get lost; and nothing is told twice.
        let is_late = s.is_late_offer();
        let is_open = matches!(s.early, Early::Open);
        let sdp = sdp.filter(|_| is_open && (!is_late || self.reliable.is_required()));
        let status = if sdp.is_some() && !is_late { 183 } else { 180 };
        let mut response = self.response(&s.invite, status, "");
        if let Some(sdp) = sdp {
            put_sdp(&mut response, sdp);
        }
        self.provide(now, &mut s, response);
        self.timers.set(Timer::Refresh, now + REFRESH);
        State::Incoming(s)
    }

    pub(super) fn answer(&mut self, now: Instant, mut s: Incoming, sdp: Bytes) -> State {
        let sdp = match std::mem::replace(&mut s.early, Early::Open) {
            Early::Open => Some(sdp),
            // RFC 3262 3: no 2xx before what describes the session has arrived.
            Early::Told => {
                s.early = Early::Told;
                s.answer = Some(sdp);
                return State::Incoming(s);
            }
            // RFC 3262 5: what is settled is not told again.
            Early::Settled => None,
            Early::Asked { tx, request } => {
                let response = self.later(&request);
                self.respond(tx, response);
                None
            }
        };
        self.timers.stop_all_but_linger();
        self.reliable.close();
        self.accept(now, s.tx, &s.invite, sdp, true)
    }

    pub(super) fn answer_in_incoming(&mut self, mut s: Incoming, sdp: Bytes) -> State {
        s.early = match s.early {
            Early::Asked { tx, request } => {
                self.answer_early(tx, &request, sdp);
                Early::Settled
            }
            early @ (Early::Open | Early::Told | Early::Settled) => early,
        };
        State::Incoming(s)
    }

    pub(super) fn refuse_in_incoming(&mut self, mut s: Incoming, status: u16) -> State {
        s.early = match s.early {
            Early::Asked { tx, request } => {
                self.refuse_early(tx, &request, status);
                Early::Settled
            }
            early @ (Early::Open | Early::Told | Early::Settled) => early,
        };
        State::Incoming(s)
    }

    /// Sends the 2xx to an INVITE and starts to repeat it.
    pub(super) fn accept(
        &mut self,
        now: Instant,
        tx: ServerKey,
        invite: &Request,
        sdp: Option<Bytes>,
        is_first: bool,
    ) -> State {
        let asks = sdp.is_some() && check::sdp(&invite.headers, &invite.body).is_none();
        let mut response = self.response(invite, 200, "");
        self.grant_session(now, &invite.headers, &mut response);
        if let Some(sdp) = sdp {
            put_sdp(&mut response, sdp);
        }
        self.respond(tx, response.clone());
        let times = self.local.times;
        self.timers.set(Timer::Repeat, now + times.t1);
        self.timers.set(Timer::NoAck, now + times.t1 * 64);
        State::Established(Exchange::Unacknowledged(Unacked {
            tx,
            response,
            cseq: invite.headers.cseq().map_or(0, |cseq| cseq.number),
            interval: times.t1,
            asks,
            is_first,
        }))
    }

    pub(super) fn refuse(
        &mut self,
        s: &Incoming,
        status: u16,
        reason: &str,
        headers: Vec<(String, String)>,
    ) -> State {
        let status = if (300..700).contains(&status) {
            status
        } else {
            500
        };
        let mut response = self.response(&s.invite, status, reason);
        for (name, value) in headers {
            response
                .headers
                .push(HeaderName::from(name.as_str()), value);
        }
        let phrase = response.reason.clone();
        self.respond(s.tx, response);
        self.ended(Party::Local, EndCause::Refused, status, &phrase, None);
        self.over()
    }

    pub(super) fn cancelled(&mut self, s: &Incoming, reason: Option<String>) -> State {
        let response = self.response(&s.invite, 487, "");
        self.respond(s.tx, response);
        let phrase = reason_phrase(487);
        self.ended(Party::Remote, EndCause::Cancelled, 487, phrase, reason);
        self.over()
    }

    pub(super) fn incoming_timeout(&mut self, now: Instant, mut s: Incoming) -> State {
        while let Some(timer) = self.timers.due(now) {
            match timer {
                Timer::Expires => return self.cancelled(&s, None),
                Timer::Patience => return self.refuse(&s, 480, "No answer", Vec::new()),
                Timer::NoPrack => return self.no_prack(&s),
                Timer::Provisional => self.provide_again(now, &s),
                Timer::Refresh => {
                    self.remind(now, &mut s);
                    self.timers.set(Timer::Refresh, now + REFRESH);
                }
                Timer::Ring
                | Timer::NextPlace
                | Timer::Cancel
                | Timer::Repeat
                | Timer::NoAck
                | Timer::Offer
                | Timer::Glare
                | Timer::Bye
                | Timer::SessionRefresh
                | Timer::SessionExpires
                | Timer::Linger => {}
            }
        }
        State::Incoming(s)
    }

    /// A request of the caller before our final response.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "methods are many, and grow; what no rule names is answered in one way"
    )]
    pub(super) fn request_before_answer(
        &mut self,
        now: Instant,
        mut s: Incoming,
        tx: ServerKey,
        source: Hop,
        request: Request,
    ) -> State {
        if !self.is_in_order(tx, source, &request) {
            return State::Incoming(s);
        }
        let response = match request.method {
            // RFC 3261 15.1.1: a caller may end an early dialog so, too.
            Method::Bye => {
                let response = self.response(&request, 200, "");
                self.respond(tx, response);
                return self.cancelled(&s, check::reason(&request.headers));
            }
            Method::Prack => return self.prack_received(now, s, tx, request),
            // RFC 3261 14.2: the first INVITE is still open.
            Method::Invite => self.later(&request),
            Method::Update if !request.body.is_empty() => match (&s.early, early_offer(&request)) {
                (Early::Settled, Ok(sdp)) => {
                    s.early = Early::Asked {
                        tx,
                        request: Box::new(request),
                    };
                    self.emit(CallEvent::Offer { sdp });
                    return State::Incoming(s);
                }
                (Early::Settled, Err(fault)) => {
                    self.fault(tx, &request, fault);
                    return State::Incoming(s);
                }
                // RFC 3311 5.2: our own offer is not answered yet.
                (Early::Told, _) if s.is_late_offer() => self.response(&request, 491, ""),
                // RFC 3311 5.2: theirs is not.
                (Early::Open | Early::Told | Early::Asked { .. }, _) => self.later(&request),
            },
            Method::Update => self.refresh_target(&request),
            _ => return self.aside(tx, &request, State::Incoming(s)),
        };
        self.respond(tx, response);
        State::Incoming(s)
    }

    /// A request of the callee before its final response.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "methods are many, and grow; what no rule names is answered in one way"
    )]
    pub(super) fn request_before_final(
        &mut self,
        mut s: Calling,
        tx: ServerKey,
        source: Hop,
        request: Request,
    ) -> State {
        if !self.is_in_order(tx, source, &request) {
            return State::Calling(s);
        }
        let response = match request.method {
            // RFC 3261 15: a callee ends an early dialog by its final response.
            Method::Bye => self.response(&request, 481, ""),
            // Our INVITE is still open.
            Method::Invite => self.response(&request, 491, ""),
            Method::Update if !request.body.is_empty() => {
                match (self.is_settled(&s), s.asked.is_some()) {
                    (true, false) => match early_offer(&request) {
                        Ok(sdp) => {
                            s.asked = Some((tx, Box::new(request)));
                            self.emit(CallEvent::Offer { sdp });
                            return State::Calling(s);
                        }
                        Err(fault) => {
                            self.fault(tx, &request, fault);
                            return State::Calling(s);
                        }
                    },
                    (true, true) => self.later(&request),
                    // RFC 3311 5.2: our offer is still open.
                    (false, _) => self.response(&request, 491, ""),
                }
            }
            Method::Update => self.refresh_target(&request),
            _ => return self.aside(tx, &request, State::Calling(s)),
        };
        self.respond(tx, response);
        State::Calling(s)
    }

    /// Whether the request is from our peer, newer than the last one, and requires nothing; it is answered if not.
    pub(super) fn is_in_order(&mut self, tx: ServerKey, source: Hop, request: &Request) -> bool {
        // An ACK or CANCEL never comes this way, and is never answered.
        if matches!(request.method, Method::Ack | Method::Cancel) {
            return false;
        }
        if !self.dialog.is_from_peer(request) {
            self.no_dialog(tx, request);
            return false;
        }
        let number = request.headers.cseq().map_or(0, |cseq| cseq.number);
        if !self.dialog.advance(number, source) {
            // RFC 3261 12.2.2.
            let response = self.response(request, 500, "CSeq Out Of Order");
            self.respond(tx, response);
            return false;
        }
        match check::require(&request.headers, self.supported()) {
            Ok(()) => true,
            Err(fault) => {
                self.fault(tx, request, fault);
                false
            }
        }
    }

    pub(super) fn fault(&mut self, tx: ServerKey, request: &Request, fault: Fault) {
        let mut response = self.response(request, fault.status, "");
        for (name, value) in fault.headers {
            response.headers.push(name, value);
        }
        self.respond(tx, response);
    }

    pub(super) fn no_dialog(&mut self, tx: ServerKey, request: &Request) {
        if !matches!(request.method, Method::Ack | Method::Cancel) {
            let response = self.response(request, 481, "");
            self.respond(tx, response);
        }
    }

    /// UPDATE without an offer before the answer (RFC 3311 5.2).
    pub(super) fn refresh_target(&mut self, request: &Request) -> Response {
        self.dialog.refresh(request.headers.contacts());
        self.response(request, 200, "")
    }

    /// Answers the requests that change nothing, in every state.
    pub(super) fn aside(&mut self, tx: ServerKey, request: &Request, state: State) -> State {
        let response = match request.method {
            Method::Info => {
                self.emit(CallEvent::Info {
                    content_type: request.headers.content_type().unwrap_or_default(),
                    body: request.body.clone(),
                });
                self.response(request, 200, "")
            }
            Method::Options => {
                let mut response = self.response(request, 200, "");
                let headers = &mut response.headers;
                headers.push(HeaderName::Allow, self.allow());
                headers.push(HeaderName::Supported, self.supported());
                headers.push(HeaderName::Accept, "application/sdp");
                response
            }
            Method::Prack => self.late_prack(request),
            // No subscription of ours is there to be meant.
            Method::Notify => self.response(request, 481, ""),
            Method::Other(_) => self.response(request, 501, ""),
            // Only a confirmed dialog is transferred, and only where that is allowed.
            Method::Refer
            | Method::Message
            | Method::Subscribe
            | Method::Publish
            | Method::Register
            | Method::Invite
            | Method::Update
            | Method::Bye => self.response(request, 405, ""),
            Method::Ack | Method::Cancel => return state,
        };
        self.respond(tx, response);
        state
    }
}

/// The offer of an UPDATE.
fn early_offer(update: &Request) -> Result<Bytes, Fault> {
    check::content(update)?;
    check::sdp(&update.headers, &update.body).ok_or(Fault::new(415))
}

/// RFC 3261 8.2, as far as an INVITE outside a dialog is concerned.
fn check_invite(invite: &Request, supported: &str) -> Result<(), Fault> {
    let headers = &invite.headers;
    if invite.method != Method::Invite {
        return Err(Fault::new(405));
    }
    if matches!(invite.uri, Uri::Other { .. }) {
        return Err(Fault::new(416));
    }
    // RFC 3261 12.2.2: a dialog that we do not know (any more).
    if headers.to().is_none_or(|to| to.tag().is_some()) {
        return Err(Fault::new(481));
    }
    check::require(headers, supported)?;
    // RFC 3261 8.1.1.8: exactly one Contact, a SIP address.
    match headers.contacts().as_slice() {
        [contact] if matches!(contact.uri, Uri::Sip(_)) => {}
        _ => return Err(Fault::new(400)),
    }
    check::accept(headers)?;
    check::content(invite)
}

pub(super) fn put_sdp(response: &mut Response, sdp: Bytes) {
    response
        .headers
        .push(HeaderName::ContentType, "application/sdp");
    response.body = sdp;
}
