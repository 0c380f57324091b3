//! What happens inside a confirmed dialog: ACK, re-INVITE and UPDATE, INFO, and the goodbye
//! (RFC 3261 12.2, 13.3.1.4, 14, 15; RFC 3311).

use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::Rng as _;

use super::check;
use super::state::{Closing, Exchange, State, Unacked};
use super::timer::Timer;
use super::uac::{failure, is_to_invite};
use super::uas::put_sdp;
use super::{Call, CallEvent, CallOutput, EndCause, Party};
use crate::Hop;
use crate::digest::Rounds;
use crate::message::{Method, Request, Response, reason_phrase};
use crate::transaction::{Failure, ServerKey};

impl Call {
    /// A request of the peer inside the confirmed dialog.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "methods are many, and grow; what no rule names is answered in one way"
    )]
    pub(super) fn request_in_dialog(
        &mut self,
        now: Instant,
        s: Exchange,
        tx: ServerKey,
        source: Hop,
        request: Request,
    ) -> State {
        if !self.is_in_order(tx, source, &request) {
            return State::Established(s);
        }
        if matches!(request.method, Method::Invite | Method::Update)
            && let Err(fault) = self.session.check(&request.headers)
        {
            self.fault(tx, &request, fault);
            return State::Established(s);
        }
        match request.method {
            Method::Bye => self.bye_received(s, tx, &request),
            Method::Invite => self.reinvite_received(s, tx, request),
            Method::Update => self.update_received(now, s, tx, request),
            Method::Refer => self.refer_received(s, tx, request),
            _ => self.aside(tx, &request, State::Established(s)),
        }
    }

    /// RFC 3261 15.1.2.
    fn bye_received(&mut self, s: Exchange, tx: ServerKey, request: &Request) -> State {
        let response = self.response(request, 200, "");
        self.respond(tx, response);
        self.drop_refer();
        self.abandon(s);
        let reason = check::reason(&request.headers);
        self.ended(Party::Remote, EndCause::Bye, 200, "Normal Clearing", reason);
        self.over()
    }

    /// Brings to an end what is still open: a request that waits for the owner gets 487 (RFC 3261 15.1.2), a re-INVITE of
    /// ours is cancelled, as its final response may never come.
    fn abandon(&mut self, s: Exchange) {
        match s {
            Exchange::RemoteOffer { tx, request } => {
                let response = self.response(&request, 487, "");
                self.respond(tx, response);
            }
            Exchange::LocalOffer { .. } => self.push(CallOutput::CancelInvite { reason: None }),
            Exchange::Stable | Exchange::Unacknowledged(_) => {}
        }
    }

    fn reinvite_received(&mut self, s: Exchange, tx: ServerKey, request: Request) -> State {
        match s {
            // RFC 3261 14.2.
            Exchange::LocalOffer { .. } => self.turn_away(s, tx, &request, 491),
            Exchange::RemoteOffer { .. } => {
                let response = self.later(&request);
                self.respond(tx, response);
                State::Established(s)
            }
            Exchange::Unacknowledged(u) if u.asks => {
                self.turn_away(Exchange::Unacknowledged(u), tx, &request, 491)
            }
            // Only who has our 2xx can go on in its dialog: the ACK is lost or late.
            Exchange::Unacknowledged(u) => {
                self.confirmed(&u);
                self.take_offer(tx, request)
            }
            Exchange::Stable => self.take_offer(tx, request),
        }
    }

    /// RFC 3311 5.2.
    fn update_received(
        &mut self,
        now: Instant,
        s: Exchange,
        tx: ServerKey,
        request: Request,
    ) -> State {
        if request.body.is_empty() {
            let mut response = self.refresh_target(&request);
            self.grant_session(now, &request.headers, &mut response);
            self.respond(tx, response);
            return State::Established(s);
        }
        match s {
            Exchange::LocalOffer { .. } | Exchange::Unacknowledged(_) => {
                self.turn_away(s, tx, &request, 491)
            }
            Exchange::RemoteOffer { .. } => {
                let response = self.later(&request);
                self.respond(tx, response);
                State::Established(s)
            }
            Exchange::Stable => self.take_offer(tx, request),
        }
    }

    fn turn_away(&mut self, s: Exchange, tx: ServerKey, request: &Request, status: u16) -> State {
        let response = self.response(request, status, "");
        self.respond(tx, response);
        State::Established(s)
    }

    fn take_offer(&mut self, tx: ServerKey, request: Request) -> State {
        if let Err(fault) = check::content(&request) {
            self.fault(tx, &request, fault);
            return State::Established(Exchange::Stable);
        }
        self.emit(match check::sdp(&request.headers, &request.body) {
            Some(sdp) => CallEvent::Offer { sdp },
            None => CallEvent::OfferWanted,
        });
        State::Established(Exchange::RemoteOffer { tx, request })
    }

    /// The owner takes the peer's offer, or gives its own where the peer gave none.
    pub(super) fn answer_offer(&mut self, now: Instant, s: Exchange, sdp: Bytes) -> State {
        match s {
            Exchange::RemoteOffer { tx, request } => {
                self.dialog.refresh(request.headers.contacts());
                if request.method == Method::Invite {
                    return self.accept(now, tx, &request, Some(sdp), false);
                }
                let mut response = self.response(&request, 200, "");
                self.grant_session(now, &request.headers, &mut response);
                put_sdp(&mut response, sdp);
                self.respond(tx, response);
                State::Established(Exchange::Stable)
            }
            Exchange::Stable | Exchange::LocalOffer { .. } | Exchange::Unacknowledged(_) => {
                State::Established(s)
            }
        }
    }

    pub(super) fn refuse_offer(&mut self, s: Exchange, status: u16) -> State {
        let status = if (300..700).contains(&status) {
            status
        } else {
            488
        };
        match s {
            Exchange::RemoteOffer { tx, request } => {
                self.turn_away(Exchange::Stable, tx, &request, status)
            }
            Exchange::Stable | Exchange::LocalOffer { .. } | Exchange::Unacknowledged(_) => {
                State::Established(s)
            }
        }
    }

    /// The peer cancelled its re-INVITE.
    pub(super) fn offer_cancelled(&mut self, s: Exchange, cancelled: ServerKey) -> State {
        match s {
            Exchange::RemoteOffer { tx, request } if tx == cancelled => {
                self.turn_away(Exchange::Stable, tx, &request, 487)
            }
            Exchange::RemoteOffer { .. }
            | Exchange::Stable
            | Exchange::LocalOffer { .. }
            | Exchange::Unacknowledged(_) => State::Established(s),
        }
    }

    /// The owner wants to change the session.
    pub(super) fn make_offer(&mut self, now: Instant, s: Exchange, sdp: Bytes) -> State {
        match s {
            Exchange::Stable if self.retry.is_none() => State::Established(self.reinvite(now, sdp)),
            // RFC 3261 14.1: not while another INVITE runs, RFC 3264 4: not while another offer is open.
            Exchange::Stable
            | Exchange::LocalOffer { .. }
            | Exchange::RemoteOffer { .. }
            | Exchange::Unacknowledged(_) => {
                self.emit(CallEvent::OfferRefused { status: 491 });
                State::Established(s)
            }
        }
    }

    pub(super) fn reinvite(&mut self, now: Instant, sdp: Bytes) -> Exchange {
        self.reinvite_with(now, sdp, Rounds::default(), Vec::new())
    }

    fn reinvite_with(
        &mut self,
        now: Instant,
        sdp: Bytes,
        rounds: Rounds,
        headers: Vec<(String, String)>,
    ) -> Exchange {
        self.timers
            .set(Timer::Offer, now + self.local.times.t1 * 64);
        let cseq = self.send_invite(sdp.clone(), headers, None);
        Exchange::LocalOffer { cseq, sdp, rounds }
    }

    /// The ACK to a 2xx of ours.
    pub(super) fn acknowledged(&mut self, s: Exchange, ack: &Request) -> State {
        let Exchange::Unacknowledged(u) = s else {
            return State::Established(s);
        };
        if !self.is_ack_to(&u, ack) {
            return State::Established(Exchange::Unacknowledged(u));
        }
        let sdp = check::sdp(&ack.headers, &ack.body).filter(|_| u.asks);
        if u.asks && sdp.is_none() {
            self.ended(Party::Local, EndCause::NoSdp, 488, reason_phrase(488), None);
            return self.bye(None);
        }
        if let Some(sdp) = sdp {
            self.emit(CallEvent::OfferAnswered { sdp });
        }
        self.confirmed(&u);
        State::Established(Exchange::Stable)
    }

    fn is_ack_to(&self, u: &Unacked, ack: &Request) -> bool {
        let number = ack.headers.cseq().map(|cseq| cseq.number);
        number == Some(u.cseq) && self.dialog.is_from_peer(ack)
    }

    fn confirmed(&mut self, u: &Unacked) {
        self.timers.stop(Timer::Repeat);
        self.timers.stop(Timer::NoAck);
        if u.is_first {
            self.emit(CallEvent::Confirmed);
        }
    }

    /// A response to one of our requests inside the dialog.
    pub(super) fn response_in_dialog(
        &mut self,
        now: Instant,
        s: Exchange,
        response: &Response,
    ) -> State {
        let is_ours = self.is_from_callee(response);
        match s {
            Exchange::LocalOffer { cseq, sdp, rounds }
                if is_ours && is_to_invite(response, cseq) =>
            {
                self.offer_response(now, cseq, sdp, rounds, response)
            }
            s @ (Exchange::LocalOffer { .. }
            | Exchange::Stable
            | Exchange::RemoteOffer { .. }
            | Exchange::Unacknowledged(_)) => {
                let is_invite = self.success_again(now, response);
                // RFC 5057 5.1: a NOTIFY that is refused ends its subscription alone.
                let cseq = response.headers.cseq();
                if cseq
                    .as_ref()
                    .is_some_and(|cseq| cseq.method == Method::Notify)
                {
                    if response.status >= 300 {
                        self.referring = None;
                    }
                    return State::Established(s);
                }
                // RFC 3262 3: a PRACK that comes behind the answer may find nothing that waits for it.
                if cseq.is_some_and(|cseq| cseq.method == Method::Prack) {
                    return State::Established(s);
                }
                // RFC 3261 12.2.1.2: the peer has lost the dialog.
                if !is_invite && is_ours && matches!(response.status, 408 | 481) {
                    return self.dialog_lost(s, response.status, &response.reason);
                }
                if !response.is_provisional() && self.is_to_update(response) {
                    return self.update_answered(now, s, response);
                }
                if !response.is_provisional() && is_ours {
                    self.info_answered(response);
                }
                State::Established(s)
            }
        }
    }

    /// Whether the response belongs to this dialog and to no other branch of its INVITE.
    fn is_from_callee(&self, response: &Response) -> bool {
        let to = response.headers.to();
        to.as_ref().and_then(|to| to.tag()) == self.dialog.remote_tag()
    }

    fn offer_response(
        &mut self,
        now: Instant,
        cseq: u32,
        sdp: Bytes,
        mut rounds: Rounds,
        response: &Response,
    ) -> State {
        if !response.is_provisional() {
            self.timers.stop(Timer::Offer);
        }
        match response.status {
            ..200 => State::Established(Exchange::LocalOffer { cseq, sdp, rounds }),
            200..300 => {
                self.dialog.refresh(response.headers.contacts());
                self.acknowledge(now, cseq);
                self.session_granted(now, response);
                self.emit(match check::sdp(&response.headers, &response.body) {
                    Some(sdp) => CallEvent::OfferAnswered { sdp },
                    None => CallEvent::OfferRefused { status: 488 },
                });
                State::Established(Exchange::Stable)
            }
            491 => {
                // RFC 3261 14.1: the owner of the Call-ID waits longer; units of 10 ms.
                let steps = if self.is_uac { 210..=400 } else { 0..=200 };
                let wait = Duration::from_millis(self.rng.random_range(steps) * 10);
                self.timers.set(Timer::Glare, now + wait);
                self.retry = Some(sdp);
                State::Established(Exchange::Stable)
            }
            401 | 407 => {
                let (_, request) = self.dialog.clone().request(&self.local, Method::Invite);
                let uri = request.uri;
                match self.answer_challenge(&mut rounds, response, &Method::Invite, &uri) {
                    Some((name, value)) => {
                        let credentials = vec![(name.as_str().to_owned(), value)];
                        State::Established(self.reinvite_with(now, sdp, rounds, credentials))
                    }
                    None => self.offer_refused(now, response.status),
                }
            }
            422 if self.raise_session(response) => {
                State::Established(self.reinvite_with(now, sdp, rounds, Vec::new()))
            }
            status @ (408 | 481) => self.dialog_lost(Exchange::Stable, status, &response.reason),
            status => self.offer_refused(now, status),
        }
    }

    fn offer_refused(&mut self, now: Instant, status: u16) -> State {
        self.refresh_later(now);
        self.emit(CallEvent::OfferRefused { status });
        State::Established(Exchange::Stable)
    }

    fn dialog_lost(&mut self, s: Exchange, status: u16, phrase: &str) -> State {
        self.ended(Party::Local, EndCause::DialogLost, status, phrase, None);
        self.leave(s, None)
    }

    /// RFC 3261 12.2.1.2: no response is like 408.
    pub(super) fn request_failed(&mut self, s: Exchange, why: Failure) -> State {
        let (cause, status) = failure(why);
        self.ended(Party::Local, cause, status, reason_phrase(status), None);
        self.leave(s, None)
    }

    /// What had been asked of the peer gets no answer any more: an offer is made again, the goodbye as well (see the table), a refresh
    /// follows; an INFO is not repeated, for a key that is pressed twice makes another number.
    pub(super) fn requests_lost(&mut self, now: Instant, s: Exchange) -> State {
        self.update_lost(now);
        if self.info.take().is_some() {
            self.emit(CallEvent::InfoAnswered { status: 200 });
        }
        State::Established(match s {
            Exchange::LocalOffer { sdp, .. } => self.reinvite(now, sdp),
            s @ (Exchange::Stable | Exchange::RemoteOffer { .. } | Exchange::Unacknowledged(_)) => {
                s
            }
        })
    }

    pub(super) fn established_timeout(&mut self, now: Instant, mut s: Exchange) -> State {
        while let Some(timer) = self.timers.due(now) {
            s = match (s, timer) {
                (Exchange::Unacknowledged(mut u), Timer::Repeat) => {
                    self.repeat(now, &mut u);
                    Exchange::Unacknowledged(u)
                }
                // RFC 3261 13.3.1.4: a session without ACK is ended by BYE.
                (Exchange::Unacknowledged(_), Timer::NoAck) => {
                    self.ended(Party::Local, EndCause::NoAck, 408, "No ACK", None);
                    return self.bye(None);
                }
                (Exchange::Stable, Timer::Glare) => match self.retry.take() {
                    Some(sdp) if self.told.as_ref() == Some(&sdp) => self.reinvite(now, sdp),
                    // RFC 3264 8: the version only grows, and we have told a later one since, in answer to the peer's offer.
                    Some(_) => {
                        self.emit(CallEvent::OfferOvertaken);
                        Exchange::Stable
                    }
                    None => Exchange::Stable,
                },
                // The final response, 487 or not, comes as a response.
                (s @ Exchange::LocalOffer { .. }, Timer::Offer) => {
                    self.push(CallOutput::CancelInvite { reason: None });
                    s
                }
                (s, Timer::SessionRefresh) => self.refresh_session(now, s),
                (s, Timer::SessionExpires) => return self.session_expired(s),
                // The peer's own try came first: ours waits until it is through.
                (s, Timer::Glare) => {
                    self.timers.set(Timer::Glare, now + self.local.times.t1);
                    s
                }
                (s, _) => s,
            };
        }
        State::Established(s)
    }

    fn repeat(&mut self, now: Instant, u: &mut Unacked) {
        self.respond(u.tx, u.response.clone());
        u.interval = (u.interval * 2).min(self.local.times.t2);
        self.timers.set(Timer::Repeat, now + u.interval);
    }

    /// The owner hangs up.
    pub(super) fn hang_up(&mut self, s: Exchange, reason: Option<String>) -> State {
        let phrase = "Normal Clearing";
        self.ended(Party::Local, EndCause::Bye, 200, phrase, None);
        self.leave(s, reason)
    }

    /// Says goodbye as soon as it may be said.
    pub(super) fn leave(&mut self, s: Exchange, reason: Option<String>) -> State {
        match s {
            // RFC 3261 15: a callee does not send BYE before the ACK.
            Exchange::Unacknowledged(unacked) if unacked.is_first => {
                State::Closing(Closing::AwaitAck { unacked, reason })
            }
            Exchange::Stable
            | Exchange::LocalOffer { .. }
            | Exchange::RemoteOffer { .. }
            | Exchange::Unacknowledged(_) => {
                self.abandon(s);
                self.bye(reason.as_deref())
            }
        }
    }

    pub(super) fn request_while_closing(
        &mut self,
        s: Closing,
        tx: ServerKey,
        source: Hop,
        request: &Request,
    ) -> State {
        if !self.is_in_order(tx, source, request) {
            return State::Closing(s);
        }
        if request.method != Method::Bye {
            self.no_dialog(tx, request);
            return State::Closing(s);
        }
        let response = self.response(request, 200, "");
        self.respond(tx, response);
        match s {
            // The peer was faster; there is nothing left to end.
            Closing::AwaitAck { .. } => self.over(),
            Closing::ByeSent { .. } => State::Closing(s),
        }
    }

    pub(super) fn acknowledged_while_closing(&mut self, s: Closing, ack: &Request) -> State {
        match s {
            Closing::AwaitAck { unacked, reason } if self.is_ack_to(&unacked, ack) => {
                self.bye(reason.as_deref())
            }
            Closing::AwaitAck { .. } | Closing::ByeSent { .. } => State::Closing(s),
        }
    }

    pub(super) fn response_while_closing(
        &mut self,
        now: Instant,
        s: Closing,
        response: &Response,
    ) -> State {
        if self.success_again(now, response) {
            return State::Closing(s);
        }
        let cseq = response.headers.cseq();
        match s {
            Closing::ByeSent {
                cseq: bye,
                mut rounds,
            } => {
                let is_to_bye = cseq.is_some_and(|c| c.method == Method::Bye && c.number == bye);
                if !is_to_bye || response.is_provisional() {
                    return State::Closing(s);
                }
                self.bye_again(&mut rounds, response)
                    .unwrap_or_else(|| self.over())
            }
            Closing::AwaitAck { .. } => State::Closing(s),
        }
    }

    /// Answers the challenge to a BYE with a new one, if it is one that can be answered.
    fn bye_again(&mut self, rounds: &mut Rounds, response: &Response) -> Option<State> {
        if !matches!(response.status, 401 | 407) {
            return None;
        }
        let (target, mut request) = self.dialog.request(&self.local, Method::Bye);
        let uri = request.uri.clone();
        let (name, value) = self.answer_challenge(rounds, response, &Method::Bye, &uri)?;
        request.headers.push(name, value);
        let cseq = self.dialog.local_cseq();
        self.push(CallOutput::Send { target, request });
        Some(State::Closing(Closing::ByeSent {
            cseq,
            rounds: *rounds,
        }))
    }

    pub(super) fn closing_timeout(&mut self, now: Instant, mut s: Closing) -> State {
        while let Some(timer) = self.timers.due(now) {
            s = match (s, timer) {
                (
                    Closing::AwaitAck {
                        mut unacked,
                        reason,
                    },
                    Timer::Repeat,
                ) => {
                    self.repeat(now, &mut unacked);
                    Closing::AwaitAck { unacked, reason }
                }
                (Closing::AwaitAck { reason, .. }, Timer::NoAck) => {
                    return self.bye(reason.as_deref());
                }
                (Closing::ByeSent { .. }, Timer::Bye) => return self.over(),
                (s @ (Closing::AwaitAck { .. } | Closing::ByeSent { .. }), _) => s,
            };
        }
        State::Closing(s)
    }
}
