//! Reliable provisional responses (RFC 3262).
//!
//! ```text
//!  callee   1xx with RSeq, again after T1, 2*T1, ... --PRACK--> 200, then the next one       64*T1 without PRACK: 504
//!  caller   1xx with RSeq, the next one of its branch --------> PRACK; a repeat or a gap is passed over
//! ```

use std::time::{Duration, Instant};

use rand::Rng as _;
use rand::rngs::SmallRng;

use super::state::{Calling, Early, Incoming, State};
use super::timer::Timer;
use super::uas::put_sdp;
use super::{Call, CallEvent, CallOutput, EndCause, Party, check};
use crate::message::{CSeq, HeaderName, Headers, Method, Request, Response, decimal};
use crate::transaction::ServerKey;

/// The option tag (RFC 3262 8.1).
pub(super) const TAG: &str = "100rel";
/// How many branches of one INVITE may send reliable responses.
const MAX_BRANCHES: usize = 16;

/// Which provisional responses a caller gets reliably.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    /// None: it cannot take them.
    None,
    /// Those that hold a session description; the others are repeated every minute anyway.
    Descriptions,
    /// All of them: it requires so.
    All,
}

/// The callee's reliable responses to one INVITE.
#[derive(Debug)]
pub(super) struct Reliable {
    which: Which,
    next: u32,
    /// The number of the last one sent, and whether its PRACK came: one that comes after the 2xx is answered, too.
    last: Option<(u32, bool)>,
    /// What is repeated until its PRACK comes.
    open: Option<(Response, Duration)>,
    /// What follows it; a later one takes its place, unless only the earlier one has a description.
    waiting: Option<Response>,
}

impl Reliable {
    /// For calls that we make, and callers who cannot take reliable responses.
    pub(super) fn none() -> Self {
        Self {
            which: Which::None,
            next: 0,
            last: None,
            open: None,
            waiting: None,
        }
    }

    /// For this INVITE.
    pub(super) fn for_invite(invite: &Headers, rng: &mut SmallRng) -> Self {
        let which = if invite.require().iter().any(|tag| tag == TAG) {
            Which::All
        } else if invite.supports(TAG) {
            Which::Descriptions
        } else {
            Which::None
        };
        Self {
            which,
            // RFC 3262 3: from 1 to 2^31-1, so that it never wraps.
            next: rng.random_range(1..=0x3fff_ffff),
            ..Self::none()
        }
    }

    /// Whether every provisional response is reliable, and may therefore hold an offer of ours.
    pub(super) fn is_required(&self) -> bool {
        self.which == Which::All
    }

    fn takes(&self, response: &Response) -> bool {
        match self.which {
            Which::None => false,
            Which::Descriptions => !response.body.is_empty(),
            Which::All => true,
        }
    }

    /// Nothing is repeated any more; what was sent may still be acknowledged.
    pub(super) fn close(&mut self) {
        self.open = None;
        self.waiting = None;
    }

    /// Whether a PRACK acknowledges the last response, which each response is once.
    fn acknowledges(&mut self, prack: &Headers, invite: u32) -> bool {
        let Some((rseq, cseq)) = rack(prack) else {
            return false;
        };
        let Some((last, is_done)) = &mut self.last else {
            return false;
        };
        let matches = rseq == *last && cseq.number == invite && cseq.method == Method::Invite;
        matches && !std::mem::replace(is_done, true)
    }
}

/// Reads RAck: the RSeq, then the CSeq of the INVITE (RFC 3262 7.2).
fn rack(headers: &Headers) -> Option<(u32, CSeq)> {
    let (rseq, cseq) = headers
        .get(&HeaderName::RAck)?
        .trim()
        .split_once([' ', '\t'])?;
    Some((number(rseq)?, cseq.parse().ok()?))
}

fn number(text: &str) -> Option<u32> {
    decimal(text).and_then(|number| u32::try_from(number).ok())
}

/// One branch of our INVITE whose callee sends reliable responses.
#[derive(Debug)]
pub(super) struct Branch {
    tag: String,
    rseq: u32,
    /// Whether it answered our offer in one of them (RFC 3262 5).
    pub(super) is_settled: bool,
}

impl Call {
    /// Sends a provisional response, in the way this caller takes it.
    pub(super) fn provide(&mut self, now: Instant, s: &mut Incoming, mut response: Response) {
        if !self.reliable.takes(&response) {
            s.provisional = Some(response.clone());
            return self.respond(s.tx, response);
        }
        if self.reliable.open.is_some() {
            // RFC 3262 3: not before the last one is acknowledged.
            let waiting = self.reliable.waiting.as_ref();
            if waiting.is_none_or(|have| have.body.is_empty() || !response.body.is_empty()) {
                self.reliable.waiting = Some(response);
            }
            return;
        }
        let number = self.reliable.next;
        self.reliable.next += 1;
        self.reliable.last = Some((number, false));
        response.headers.push(HeaderName::Require, TAG);
        response.headers.push(HeaderName::RSeq, number);
        if !response.body.is_empty() {
            s.early = Early::Told;
        }
        let t1 = self.local.times.t1;
        self.reliable.open = Some((response.clone(), t1));
        self.timers.set(Timer::Provisional, now + t1);
        self.timers.set(Timer::NoPrack, now + t1 * 64);
        s.provisional = Some(response.clone());
        self.respond(s.tx, response);
    }

    /// RFC 3262 3: repeated with a doubled interval, without the bound of T2.
    pub(super) fn provide_again(&mut self, now: Instant, s: &Incoming) {
        if let Some((response, interval)) = &mut self.reliable.open {
            *interval *= 2;
            let (response, at) = (response.clone(), now + *interval);
            self.timers.set(Timer::Provisional, at);
            self.respond(s.tx, response);
        }
    }

    /// RFC 3261 13.3.1.1, RFC 3262 3: what has been said is said again each minute, reliably as something new.
    pub(super) fn remind(&mut self, now: Instant, s: &mut Incoming) {
        let Some(mut response) = s.provisional.clone() else {
            return;
        };
        let is_reliable = response.headers.has(&HeaderName::RSeq);
        if !is_reliable {
            return self.respond(s.tx, response);
        }
        response.headers.remove(&HeaderName::RSeq);
        response.headers.remove(&HeaderName::Require);
        response.headers.remove(&HeaderName::ContentType);
        response.body.clear();
        self.provide(now, s, response);
    }

    /// A PRACK before our final response.
    pub(super) fn prack_received(
        &mut self,
        now: Instant,
        mut s: Incoming,
        tx: ServerKey,
        request: Request,
    ) -> State {
        if !self.reliable.acknowledges(&request.headers, s.cseq()) {
            let response = self.response(&request, 481, "");
            self.respond(tx, response);
            return State::Incoming(s);
        }
        self.timers.stop(Timer::Provisional);
        self.timers.stop(Timer::NoPrack);
        self.reliable.open = None;
        let sdp = check::sdp(&request.headers, &request.body);
        let is_late = s.is_late_offer();
        match (std::mem::replace(&mut s.early, Early::Open), sdp) {
            // RFC 3262 5: our offer stood in the response, the answer stands here.
            (Early::Told, Some(sdp)) if is_late => {
                s.early = Early::Settled;
                self.emit(CallEvent::OfferAnswered { sdp });
            }
            (Early::Told, None) if is_late => {
                let response = self.response(&request, 400, "Bad Request (no answer)");
                self.respond(tx, response);
                return self.refuse(&s, 488, "", Vec::new());
            }
            // A further offer, now that the first one is answered.
            (Early::Told | Early::Settled, Some(sdp)) => {
                s.early = Early::Asked {
                    tx,
                    request: Box::new(request),
                };
                self.emit(CallEvent::Offer { sdp });
                return self.after_prack(now, s);
            }
            (Early::Told, None) => s.early = Early::Settled,
            (early, None) => s.early = early,
            // An offer while another one is open (RFC 3264 4).
            (early @ (Early::Open | Early::Asked { .. }), Some(_)) => {
                s.early = early;
                let response = self.response(&request, 488, "");
                self.respond(tx, response);
                return self.after_prack(now, s);
            }
        }
        let response = self.response(&request, 200, "");
        self.respond(tx, response);
        self.after_prack(now, s)
    }

    /// Sends what waited for the PRACK.
    fn after_prack(&mut self, now: Instant, mut s: Incoming) -> State {
        if let Some(sdp) = s.answer.take() {
            return self.answer(now, s, sdp);
        }
        if let Some(response) = self.reliable.waiting.take() {
            self.provide(now, &mut s, response);
        }
        State::Incoming(s)
    }

    /// A PRACK after our final response, or in a call of ours.
    pub(super) fn late_prack(&mut self, request: &Request) -> Response {
        let invite = self.first_cseq;
        if self.reliable.acknowledges(&request.headers, invite) {
            self.response(request, 200, "")
        } else {
            self.response(request, 481, "")
        }
    }

    /// RFC 3262 3: the caller does not hear us.
    pub(super) fn no_prack(&mut self, s: &Incoming) -> State {
        let response = self.response(&s.invite, 504, "No PRACK");
        self.respond(s.tx, response);
        self.ended(Party::Local, EndCause::NoPrack, 504, "No PRACK", None);
        self.over()
    }

    /// Acknowledges a reliable response to our INVITE (RFC 3262 4); false when it is to be passed over.
    pub(super) fn take_provisional(&mut self, s: &mut Calling, response: &Response) -> bool {
        let headers = &response.headers;
        let is_reliable = headers.require().iter().any(|tag| tag == TAG);
        let rseq = headers.get(&HeaderName::RSeq).and_then(number);
        let to = headers.to();
        let (true, Some(rseq), Some(tag)) =
            (is_reliable, rseq, to.as_ref().and_then(|to| to.tag()))
        else {
            return true;
        };
        let describes = check::sdp(headers, &response.body).is_some();
        let is_full = s.branches.len() >= MAX_BRANCHES;
        match s.branches.iter_mut().find(|branch| branch.tag == tag) {
            // RFC 3262 4: a repeat, or one whose forerunner is still missing and comes again.
            Some(branch) if branch.rseq.checked_add(1) != Some(rseq) => return false,
            Some(branch) => {
                branch.rseq = rseq;
                branch.is_settled |= describes;
            }
            None if is_full => return false,
            None => s.branches.push(Branch {
                tag: tag.to_owned(),
                rseq,
                is_settled: describes,
            }),
        }
        self.dialog.adopt(response);
        let (target, mut request) = self.dialog.request(&self.local, Method::Prack);
        let cseq = CSeq {
            number: s.cseq,
            method: Method::Invite,
        };
        request
            .headers
            .push(HeaderName::RAck, format!("{rseq} {cseq}"));
        self.push(CallOutput::Send { target, request });
        true
    }

    /// Whether the callee whom we talk to now has answered our offer reliably, so that it may make one itself (RFC 3311 5.1).
    pub(super) fn is_settled(&self, s: &Calling) -> bool {
        let branch = s
            .branches
            .iter()
            .find(|branch| Some(branch.tag.as_str()) == self.dialog.remote_tag());
        branch.is_some_and(|branch| branch.is_settled)
    }

    /// The owner takes an offer that was made before the final response.
    pub(super) fn answer_early(&mut self, tx: ServerKey, request: &Request, sdp: bytes::Bytes) {
        self.dialog.refresh(request.headers.contacts());
        let mut response = self.response(request, 200, "");
        put_sdp(&mut response, sdp);
        self.respond(tx, response);
    }

    /// The owner refuses an offer that was made before the final response.
    pub(super) fn refuse_early(&mut self, tx: ServerKey, request: &Request, status: u16) {
        let status = if (300..700).contains(&status) {
            status
        } else {
            488
        };
        let response = self.response(request, status, "");
        self.respond(tx, response);
    }
}
