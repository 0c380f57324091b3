//! The caller's part until the answer (RFC 3261 13.2, 12.1.2, 9.1), and the ACKs.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::SeedableRng as _;
use rand::rngs::SmallRng;

use super::check;
use super::dialog::Dialog;
use super::reliable::Reliable;
use super::session::Session;
use super::state::{Calling, Exchange, Sent, State};
use super::timer::{Timer, Timers};
use super::{Call, CallEvent, CallOutput, EndCause, Local, Party, Target, random_tag};
use crate::Hop;
use crate::digest::{Answerer, Rounds};
use crate::identity;
use crate::message::{HeaderName, Method, Request, Response, reason_phrase};
use crate::oc;
use crate::transaction::Failure;

/// The CSeq of a first INVITE.
const FIRST: u32 = 1;
/// How long one of several places may be silent: Timer B is longer than a caller waits (RFC 3263 leaves it open).
const NEXT_PLACE: Duration = Duration::from_secs(4);
/// How many ACKs are remembered, and how many branches may answer.
const MAX_ACKS: usize = 16;

/// Why a place is left for the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    /// It is silent, cannot be reached, or has no time.
    Failed,
    /// Nothing was sent there, or it asked for fewer calls: it is not for others to avoid.
    Spared,
}

/// How a place is left that has no time.
fn left_by(response: &Response) -> Left {
    if oc::is_asked(response) {
        Left::Spared
    } else {
        Left::Failed
    }
}

/// An ACK of ours and the 2xx it belongs to.
#[derive(Debug)]
pub(super) struct Acked {
    cseq: u32,
    remote_tag: Option<String>,
    target: Hop,
    request: Request,
}

impl Call {
    /// Starts a call: the first output is the INVITE.
    pub fn outgoing(now: Instant, local: Local, target: Target, offer: Bytes, seed: u64) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let tag = random_tag(&mut rng);
        let call_id = format!("{}{}", random_tag(&mut rng), random_tag(&mut rng));
        let dialog = Dialog::uac(&target, call_id, tag);
        let mut timers = Timers::default();
        timers.set(Timer::Ring, now + target.ring_timeout);
        let mut call = Self {
            session: Session::new(local.session),
            told: None,
            referring: None,
            info: None,
            local,
            dialog,
            state: State::Ended,
            is_uac: true,
            first_cseq: FIRST,
            left: Vec::new(),
            answerer: target
                .account
                .map(|account| Answerer::new(&account.username, account.password, None)),
            credentials: None,
            reliable: Reliable::none(),
            acks: VecDeque::new(),
            retry: None,
            timers,
            outputs: VecDeque::new(),
            rng,
        };
        if !target.others.is_empty() {
            call.timers.set(Timer::NextPlace, now + NEXT_PLACE);
        }
        let cseq = call.send_invite(offer.clone(), target.headers.clone(), Some(target.send_to));
        call.state = State::Calling(Calling {
            cseq,
            is_heard: false,
            is_ringing: false,
            early: None,
            branches: Vec::new(),
            asked: None,
            renewed: None,
            rounds: Rounds::default(),
            sent: Sent {
                offer,
                headers: target.headers,
                target: target.send_to,
                others: target.others.into(),
                uri: target.uri,
            },
        });
        call
    }

    /// Sends an INVITE with an offer and returns its number; one that changes a session goes where the dialog leads.
    pub(super) fn send_invite(
        &mut self,
        offer: Bytes,
        extra: Vec<(String, String)>,
        send_to: Option<Hop>,
    ) -> u32 {
        let (target, mut request) = self.dialog.request(&self.local, Method::Invite);
        let headers = &mut request.headers;
        headers.push(HeaderName::Contact, format!("<{}>", self.local.contact));
        headers.push(HeaderName::Allow, self.allow());
        let is_first = send_to.is_some();
        let supported = if is_first {
            self.supported()
        } else {
            self.supported_within()
        };
        headers.push(HeaderName::Supported, supported);
        self.ask_session(headers);
        for (name, value) in extra {
            headers.push(HeaderName::from(name.as_str()), value);
        }
        headers.push(HeaderName::ContentType, "application/sdp");
        request.body = offer;
        let target = send_to.unwrap_or(target);
        self.push(CallOutput::Send { target, request });
        self.dialog.local_cseq()
    }

    pub(super) fn calling_response(
        &mut self,
        now: Instant,
        mut s: Calling,
        response: &Response,
    ) -> State {
        if !is_to_invite(response, s.cseq) {
            self.success_again(now, response);
            return State::Calling(s);
        }
        self.timers.stop(Timer::NextPlace);
        match response.status {
            100 => {
                s.is_heard = true;
                State::Calling(s)
            }
            101..200 => {
                s.is_heard = true;
                self.provisional(&mut s, response);
                State::Calling(s)
            }
            200..300 => self.answered(now, s, response),
            401 | 407 if self.invite_again(&mut s, response) => State::Calling(s),
            422 if self.raise_session(response) => {
                let headers = s.sent.headers.clone();
                self.send_again(&mut s, headers);
                State::Calling(s)
            }
            503 if !s.is_ringing && self.next_place(now, &mut s, left_by(response)) => {
                State::Calling(s)
            }
            status => {
                let reason = check::reason(&response.headers);
                self.emit(CallEvent::Ended {
                    by: Party::Remote,
                    status,
                    phrase: response.reason.clone(),
                    reason,
                    retry_after: identity::retry_after(&response.headers)
                        .filter(|_| !oc::is_asked(response)),
                    cause: EndCause::Refused,
                });
                self.over()
            }
        }
    }

    /// Answers the challenge to the INVITE with a new one; false when it cannot or must not be answered.
    fn invite_again(&mut self, s: &mut Calling, response: &Response) -> bool {
        let uri = s.sent.uri.clone();
        let credentials = self.answer_challenge(&mut s.rounds, response, &Method::Invite, &uri);
        let Some((name, value)) = credentials else {
            return false;
        };
        let mut headers = s.sent.headers.clone();
        headers.push((name.as_str().to_owned(), value));
        self.send_again(s, headers);
        true
    }

    fn send_again(&mut self, s: &mut Calling, headers: Vec<(String, String)>) {
        self.dialog.begin_again(s.sent.uri.clone(), s.sent.target);
        s.early = None;
        s.renewed = None;
        s.cseq = self.send_invite(s.sent.offer.clone(), headers, Some(s.sent.target));
        self.first_cseq = s.cseq;
        s.branches.clear();
    }

    /// Goes to the next place where the called side may be; false when there is none.
    fn next_place(&mut self, now: Instant, s: &mut Calling, left: Left) -> bool {
        let Some(next) = s.sent.others.pop_front() else {
            return false;
        };
        let place = std::mem::replace(&mut s.sent.target, next);
        self.left.push((s.cseq, place));
        match left {
            Left::Failed => self.emit(CallEvent::NobodyThere { place }),
            Left::Spared => {}
        }
        s.is_heard = false;
        s.rounds = Rounds::default();
        if !s.sent.others.is_empty() {
            self.timers.set(Timer::NextPlace, now + NEXT_PLACE);
        }
        let headers = s.sent.headers.clone();
        self.send_again(s, headers);
        true
    }

    /// An early dialog; of several, the last one to be heard counts until a 2xx decides.
    fn provisional(&mut self, s: &mut Calling, response: &Response) {
        if !self.take_provisional(s, response) {
            return;
        }
        let to = response.headers.to();
        let tag = to.and_then(|to| to.tag().map(str::to_owned));
        if tag.is_some() {
            self.dialog.adopt(response);
        }
        // RFC 3261 13.2.1: after its answer a description says nothing new, least of all when a further exchange followed.
        let is_renewed = tag.is_some() && s.renewed == tag;
        let sdp = check::sdp(&response.headers, &response.body).filter(|_| !is_renewed);
        let is_news = match (&sdp, &s.early) {
            (Some(sdp), Some((_, early))) => sdp != early,
            (Some(_), None) => true,
            (None, _) => !s.is_ringing,
        };
        if let Some(sdp) = &sdp {
            s.early = Some((tag, sdp.clone()));
        }
        if is_news {
            s.is_ringing = true;
            self.emit(CallEvent::Ringing { sdp });
        }
    }

    fn answered(&mut self, now: Instant, s: Calling, response: &Response) -> State {
        self.timers.stop(Timer::Ring);
        self.dialog.adopt(response);
        self.acknowledge(now, s.cseq);
        self.session_granted(now, response);
        if let Some((tx, request)) = s.asked {
            let response = self.later(&request);
            self.respond(tx, response);
        }
        // RFC 3262 5: the answer may have come before the 2xx, which then holds none; some peers do so without PRACK, too.
        let tag = self.dialog.remote_tag();
        let is_renewed = tag.is_some() && s.renewed.as_deref() == tag;
        let early = s
            .early
            .filter(|(of, _)| of.as_deref() == tag && !is_renewed);
        let early = early.map(|(_, sdp)| sdp);
        let sdp = check::sdp(&response.headers, &response.body).or(early);
        if sdp.is_none() && !is_renewed {
            self.ended(Party::Local, EndCause::NoSdp, 488, reason_phrase(488), None);
            return self.bye(None);
        }
        self.emit(CallEvent::Answered { sdp });
        self.emit(CallEvent::Confirmed);
        State::Established(Exchange::Stable)
    }

    /// Sends the ACK to the peer's 2xx and remembers it for repeats.
    pub(super) fn acknowledge(&mut self, now: Instant, cseq: u32) {
        let (target, request) = self.dialog.ack(&self.local, cseq);
        self.remember(now, &self.dialog.clone(), cseq, target, request);
    }

    fn remember(
        &mut self,
        now: Instant,
        dialog: &Dialog,
        cseq: u32,
        target: Hop,
        request: Request,
    ) {
        self.acks.push_back(Acked {
            cseq,
            remote_tag: dialog.remote_tag().map(str::to_owned),
            target,
            request: request.clone(),
        });
        if self.acks.len() > MAX_ACKS {
            self.acks.pop_front();
        }
        self.push(CallOutput::SendAck { target, request });
        self.timers
            .extend(Timer::Linger, now + self.local.times.t1 * 64);
    }

    /// A 2xx to an INVITE that no state waits for: a repeat gets its ACK again, another branch an ACK and a BYE
    /// (RFC 3261 13.2.2.4). Returns whether it was one.
    pub(super) fn success_again(&mut self, now: Instant, response: &Response) -> bool {
        let Some(cseq) = response
            .headers
            .cseq()
            .filter(|cseq| cseq.method == Method::Invite)
        else {
            return false;
        };
        if !response.is_success() {
            return false;
        }
        let tag = response
            .headers
            .to()
            .and_then(|to| to.tag().map(str::to_owned));
        let known = |acked: &&Acked| acked.cseq == cseq.number && acked.remote_tag == tag;
        if let Some(acked) = self.acks.iter().find(known) {
            let (target, request) = (acked.target, acked.request.clone());
            self.push(CallOutput::SendAck { target, request });
            return true;
        }
        // One that was given up for another place may be answered yet.
        let is_forkable = self.is_uac && cseq.number <= self.first_cseq;
        if !is_forkable && tag.as_deref() == self.dialog.remote_tag() {
            // A re-INVITE of ours that was answered after the goodbye.
            self.acknowledge(now, cseq.number);
        } else if is_forkable && self.acks.len() < MAX_ACKS {
            // A peer that invents more branches than this gets no more packets.
            let mut fork = self.dialog.clone();
            let left = self.left.iter().find(|(number, _)| *number == cseq.number);
            if let Some((_, place)) = left {
                fork.go_to(*place);
            }
            fork.adopt(response);
            let (target, ack) = fork.ack(&self.local, cseq.number);
            self.remember(now, &fork, cseq.number, target, ack);
            let (target, request) = fork.request(&self.local, Method::Bye);
            self.push(CallOutput::Dismiss { target, request });
        }
        true
    }

    pub(super) fn calling_failed(&mut self, now: Instant, mut s: Calling, why: Failure) -> State {
        self.timers.stop(Timer::NextPlace);
        let left = match why {
            Failure::HeldBack | Failure::Overload => Left::Spared,
            Failure::TimedOut | Failure::Transport => Left::Failed,
        };
        if !s.is_heard && self.next_place(now, &mut s, left) {
            return State::Calling(s);
        }
        let (cause, status) = failure(why);
        if s.is_heard {
            // The INVITE was heard: it is a PRACK that finds nobody.
            self.push(CallOutput::CancelInvite { reason: None });
            self.ended(Party::Local, cause, status, reason_phrase(status), None);
            return self.cancelling(now);
        }
        self.ended(Party::Local, cause, status, reason_phrase(status), None);
        self.over()
    }

    pub(super) fn answer_in_calling(&mut self, mut s: Calling, sdp: Bytes) -> State {
        if let Some((tx, request)) = s.asked.take() {
            let from = request.headers.from();
            s.renewed = from.and_then(|from| from.tag().map(str::to_owned));
            self.answer_early(tx, &request, sdp);
        }
        State::Calling(s)
    }

    pub(super) fn refuse_in_calling(&mut self, mut s: Calling, status: u16) -> State {
        if let Some((tx, request)) = s.asked.take() {
            self.refuse_early(tx, &request, status);
        }
        State::Calling(s)
    }

    pub(super) fn calling_timeout(&mut self, now: Instant, mut s: Calling) -> State {
        while let Some(timer) = self.timers.due(now) {
            match timer {
                Timer::Ring => {
                    self.push(CallOutput::CancelInvite { reason: None });
                    if s.is_heard {
                        self.ended(Party::Local, EndCause::NoAnswer, 480, "No answer", None);
                    } else {
                        let phrase = reason_phrase(408);
                        self.ended(Party::Local, EndCause::TimedOut, 408, phrase, None);
                    }
                    return self.cancelling(now);
                }
                Timer::NextPlace => {
                    // Should it wake up, it is not to ring. Its answer may cross the CANCEL, whatever has become of the call by then.
                    self.push(CallOutput::CancelInvite { reason: None });
                    self.timers
                        .extend(Timer::Linger, now + self.local.times.t1 * 128);
                    self.next_place(now, &mut s, Left::Failed);
                }
                Timer::Refresh
                | Timer::Provisional
                | Timer::NoPrack
                | Timer::Expires
                | Timer::Patience
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
        State::Calling(s)
    }

    pub(super) fn cancel(&mut self, now: Instant, reason: Option<String>) -> State {
        self.push(CallOutput::CancelInvite { reason });
        let phrase = reason_phrase(487);
        self.ended(Party::Local, EndCause::Cancelled, 487, phrase, None);
        self.cancelling(now)
    }

    fn cancelling(&mut self, now: Instant) -> State {
        self.timers.stop_all_but_linger();
        // RFC 3261 9.1: 64*T1 from the CANCEL, which itself waits up to 64*T1 for a first response.
        self.timers
            .set(Timer::Cancel, now + self.local.times.t1 * 128);
        State::Cancelling
    }

    pub(super) fn cancelling_response(&mut self, now: Instant, response: &Response) -> State {
        let Some(cseq) = response
            .headers
            .cseq()
            .filter(|cseq| cseq.method == Method::Invite)
        else {
            return State::Cancelling;
        };
        // Places that were left say something about themselves alone.
        if cseq.number != self.first_cseq {
            self.success_again(now, response);
            return State::Cancelling;
        }
        match response.status {
            ..200 => State::Cancelling,
            // The answer crossed the CANCEL.
            200..300 => {
                self.dialog.adopt(response);
                self.acknowledge(now, cseq.number);
                self.bye(None)
            }
            300.. => self.over(),
        }
    }

    pub(super) fn cancelling_timeout(&mut self, now: Instant) -> State {
        while let Some(timer) = self.timers.due(now) {
            if timer == Timer::Cancel {
                return self.over();
            }
        }
        State::Cancelling
    }
}

/// Whether the response is to our INVITE of this number.
pub(super) fn is_to_invite(response: &Response, number: u32) -> bool {
    response
        .headers
        .cseq()
        .is_some_and(|cseq| cseq.method == Method::Invite && cseq.number == number)
}

/// How a failed transaction ends a call (RFC 3261 8.1.3.1).
pub(super) fn failure(why: Failure) -> (EndCause, u16) {
    match why {
        Failure::TimedOut => (EndCause::TimedOut, 408),
        Failure::Transport | Failure::Overload => (EndCause::Unreachable, 503),
        Failure::HeldBack => (EndCause::HeldBack, 503),
    }
}
