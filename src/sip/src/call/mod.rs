//! One call's SIP side: a dialog and the INVITE usage in it (RFC 3261 12 to 15, RFC 3262, RFC 3264, RFC 3311, RFC 3326,
//! RFC 3515, RFC 3891, RFC 4028, RFC 6026).
//!
//! ```text
//!  UAS   Incoming ------Answer------> Established(Unacknowledged) --ACK--> Established(Stable) --+
//!            |  Refuse, CANCEL                | HangUp: the BYE waits for the ACK   re-INVITE,   | UPDATE
//!            v                                v                                           ^------+
//!          Ended <---------------------- Closing <------- HangUp: BYE ------------- Established
//!            ^                                ^                                           ^
//!            |  3xx-6xx, time                 | 2xx that crossed our CANCEL               | 2xx: ACK
//!  UAC   Calling ------HangUp: CANCEL----> Cancelling                                  Calling
//! ```
//!
//! The contract: hand in one [`CallInput`], then take [`Call::poll_output`] until it gives [`CallOutput::Timeout`]; only then the
//! next input. A new [`Call`] has outputs already. [`CallEvent::Ended`] comes once, as soon as the outcome is known; the call still
//! answers its peer after that, until [`Call::is_over`].
//!
//! A challenge of the called side is answered when the target has an account; later requests of the dialog carry credentials by the
//! same challenge.

mod check;
mod dialog;
mod exchange;
mod info;
mod interface;
mod refer;
mod reliable;
mod session;
mod state;
#[cfg(test)]
mod tests;
mod timer;
mod uac;
mod uas;

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;
use rand::rngs::SmallRng;
use rand::{Rng as _, RngCore as _};

use self::dialog::Dialog;
pub use self::dialog::DialogId;
use self::info::Info;
pub use self::interface::{
    Account, CallEvent, CallInput, CallOutput, EndCause, Local, Party, Refusal, Target,
};
use self::refer::Referring;
pub use self::refer::{Replaced, replaced};
use self::reliable::Reliable;
use self::session::Session;
pub use self::session::SessionTimes;
use self::state::{Closing, State};
use self::timer::{Timer, Timers};
use crate::Hop;
use crate::digest::{Answerer, Rounds};
use crate::message::{HeaderName, Message, Method, Request, Response, Uri, respond};
use crate::transaction::ServerKey;

/// The dialog of one call and the INVITE usage in it. See the head of [`crate::call`] for how to drive it.
#[derive(Debug)]
pub struct Call {
    local: Local,
    dialog: Dialog,
    state: State,
    /// Whether the first INVITE was ours: decides about glare (RFC 3261 14.1).
    is_uac: bool,
    /// The number of the INVITE that made the call: the first one, unless it was challenged.
    first_cseq: u32,
    /// Where INVITEs went that were given up for another place, and their numbers.
    left: Vec<(u32, Hop)>,
    /// Who answers challenges, when we call with an account.
    answerer: Option<Answerer>,
    /// The credentials of the INVITE, which its ACK repeats (RFC 3261 22.1).
    credentials: Option<(HeaderName, String)>,
    /// Our provisional responses that want a PRACK.
    reliable: Reliable,
    session: Session,
    /// A REFER of the peer.
    referring: Option<Referring>,
    /// Our INFO that waits for its final response.
    info: Option<Info>,
    /// The last description we told, for a refresh that repeats it.
    told: Option<Bytes>,
    /// The ACKs we sent, for 2xx that come again.
    acks: VecDeque<uac::Acked>,
    /// An offer of ours that met one of the peer's and waits for [`Timer::Glare`].
    retry: Option<Bytes>,
    timers: Timers,
    outputs: VecDeque<CallOutput>,
    rng: SmallRng,
}

impl Call {
    /// The Call-ID.
    pub fn call_id(&self) -> &str {
        self.dialog.call_id()
    }

    /// What requests inside the dialog carry: see [`DialogId::of`].
    pub fn dialog_id(&self) -> DialogId {
        self.dialog.id()
    }

    /// The offer in the INVITE of an incoming call; without one, the answer to it is our offer (RFC 3261 13.2.1).
    pub fn offer(&self) -> Option<Bytes> {
        match &self.state {
            State::Incoming(incoming) => {
                check::sdp(&incoming.invite.headers, &incoming.invite.body)
            }
            State::Calling(_)
            | State::Cancelling
            | State::Established(_)
            | State::Closing(_)
            | State::Ended => None,
        }
    }

    /// Whether our offer can go into a provisional response: the caller made none and takes every response reliably, so that it
    /// must get one with the first (RFC 3262 5).
    pub fn offers_early(&self) -> bool {
        self.offer().is_none() && self.reliable.is_required()
    }

    /// Whether nothing more will come from this call, nor should be handed to it.
    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Ended)
            && self.outputs.is_empty()
            && !self.timers.is_set(Timer::Linger)
    }

    /// What ends the call for the peer when nobody can drive it any more: the answer to an INVITE that waits for one, or a BYE, without
    /// Via. Nothing when nobody waits there, nor for an INVITE of ours that has no final response: its CANCEL is of its transaction
    /// (RFC 3261 9.1), see [`crate::Transactions::cancel_of`].
    pub fn farewell(&self, status: u16, phrase: &str, reason: &str) -> Option<(Hop, Message)> {
        match &self.state {
            State::Incoming(incoming) => {
                let mut response = self.response(&incoming.invite, status, phrase);
                response.headers.push(HeaderName::Reason, reason);
                Some((self.dialog.peer(), Message::Response(response)))
            }
            State::Established(_) => {
                let (hop, mut bye) = self.dialog.late_bye(&self.local);
                bye.headers.push(HeaderName::Reason, reason);
                Some((hop, Message::Request(bye)))
            }
            State::Calling(_) | State::Cancelling | State::Closing(_) | State::Ended => None,
        }
    }

    /// Takes one input.
    pub fn handle_input(&mut self, now: Instant, input: CallInput) {
        self.on(now, input);
        let says_goodbye = matches!(self.state, State::Closing(Closing::ByeSent { .. }));
        if says_goodbye && !self.timers.is_set(Timer::Bye) {
            // The outcome of a BYE, and of one more with credentials, comes sooner, unless whoever carried it has died with it.
            self.timers.set(Timer::Bye, now + self.local.times.t1 * 128);
        }
    }

    /// Gives the next output; [`CallOutput::Timeout`] is the last one.
    pub fn poll_output(&mut self) -> CallOutput {
        self.outputs
            .pop_front()
            .unwrap_or_else(|| CallOutput::Timeout(self.timers.next()))
    }

    fn push(&mut self, mut output: CallOutput) {
        match &mut output {
            CallOutput::Send { request, .. } => {
                self.authorize(request);
                if request.method == Method::Invite {
                    self.credentials = credentials_of(request);
                    self.told = Some(request.body.clone());
                }
            }
            CallOutput::Dismiss { request, .. } => self.authorize(request),
            CallOutput::SendAck { request, .. } => {
                if let Some((name, value)) = self.credentials.clone() {
                    request.headers.set(name, value);
                }
            }
            CallOutput::Respond { response, .. } => {
                if response.status < 300 && !response.body.is_empty() {
                    self.told = Some(response.body.clone());
                }
            }
            CallOutput::CancelInvite { .. } | CallOutput::Event(_) | CallOutput::Timeout(_) => {}
        }
        self.outputs.push_back(output);
    }

    /// Adds credentials by the last challenge, unless the request has some or nobody ever challenged.
    fn authorize(&mut self, request: &mut Request) {
        let has_some = [HeaderName::Authorization, HeaderName::ProxyAuthorization]
            .iter()
            .any(|name| request.headers.has(name));
        if has_some {
            return;
        }
        let cnonce = random_tag(&mut self.rng);
        if let Some((name, value)) = self
            .answerer
            .as_mut()
            .and_then(|answerer| answerer.credentials(&request.method, &request.uri, &cnonce))
        {
            request.headers.push(name, value);
        }
    }

    /// Answers the challenge to a request of ours; the credentials go into the repeated request.
    fn answer_challenge(
        &mut self,
        rounds: &mut Rounds,
        response: &Response,
        method: &Method,
        uri: &Uri,
    ) -> Option<(HeaderName, String)> {
        let cnonce = random_tag(&mut self.rng);
        self.answerer
            .as_mut()?
            .answer(rounds, response, method, uri, &cnonce)
            .ok()
    }

    fn emit(&mut self, event: CallEvent) {
        self.push(CallOutput::Event(event));
    }

    fn respond(&mut self, tx: ServerKey, response: Response) {
        self.push(CallOutput::Respond { tx, response });
    }

    /// A response of ours, as every method wants it.
    fn response(&self, request: &Request, status: u16, reason: &str) -> Response {
        let tag = self.dialog.local_tag();
        let mut response = respond(request, status, reason, Some(tag));
        let headers = &mut response.headers;
        // RFC 3261 12.1.1, RFC 3311 5.2: whatever makes a dialog or moves its target has a Contact.
        let moves = matches!(request.method, Method::Invite | Method::Update);
        if moves && (101..300).contains(&status) {
            headers.push(HeaderName::Contact, format!("<{}>", self.local.contact));
        }
        if (200..300).contains(&status) && moves || matches!(status, 405 | 501) {
            headers.push(HeaderName::Allow, self.allow());
        }
        if (200..300).contains(&status) && moves {
            headers.push(HeaderName::Supported, self.supported());
        }
        if let Some(agent) = &self.local.agent {
            headers.push(HeaderName::Server, agent);
        }
        response
    }

    /// A response that says when to try again (RFC 3261 14.2, RFC 3311 5.2).
    fn later(&mut self, request: &Request) -> Response {
        let mut response = self.response(request, 500, "");
        let seconds = self.rng.random_range(0..=10_u8);
        response.headers.push(HeaderName::RetryAfter, seconds);
        response
    }

    /// Sends a BYE and waits for its response.
    fn bye(&mut self, reason: Option<&str>) -> State {
        self.drop_refer();
        self.timers.stop_all_but_linger();
        let (target, mut request) = self.dialog.request(&self.local, Method::Bye);
        if let Some(reason) = reason {
            request.headers.push(HeaderName::Reason, reason);
        }
        let cseq = self.dialog.local_cseq();
        self.push(CallOutput::Send { target, request });
        State::Closing(Closing::ByeSent {
            cseq,
            rounds: Rounds::default(),
        })
    }

    /// Says how it ended.
    fn ended(
        &mut self,
        by: Party,
        cause: EndCause,
        status: u16,
        phrase: &str,
        reason: Option<String>,
    ) {
        self.emit(CallEvent::Ended {
            by,
            status,
            phrase: phrase.to_owned(),
            reason,
            retry_after: None,
            cause,
        });
    }
}

/// The credentials in a request of ours.
fn credentials_of(request: &Request) -> Option<(HeaderName, String)> {
    [HeaderName::Authorization, HeaderName::ProxyAuthorization]
        .into_iter()
        .find_map(|name| {
            let value = request.headers.get(&name)?.to_owned();
            Some((name, value))
        })
}

fn random_tag(rng: &mut SmallRng) -> String {
    format!("{:016x}", rng.next_u64())
}
