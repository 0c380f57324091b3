//! What a call is told, and what it says.

use std::time::{Duration, Instant};

use bytes::Bytes;
use model::Secret;

use super::session::SessionTimes;
use crate::Hop;
use crate::message::{NameAddr, Request, Response, Uri};
use crate::transaction::{Failure, ServerKey, Times};

/// Our own end.
#[derive(Debug, Clone)]
pub struct Local {
    /// The address in our Contact.
    pub contact: Uri,
    /// The value of User-Agent and Server.
    pub agent: Option<String>,
    /// A header that every request has, but for CANCEL and the ACK to a refusal, which belong to the transaction of one that has it.
    pub header: Option<(String, String)>,
    /// Send requests to where the peer's last request came from, not to the address it wrote: nearly all of NAT needs it.
    pub send_to_source: bool,
    /// T1 and T2, for the repeats of a 2xx.
    pub times: Times,
    /// What is wanted of session timers (RFC 4028).
    pub session: SessionTimes,
    /// Whether the peer may transfer the call by REFER or replace its dialog.
    pub refer: bool,
}

impl Local {
    /// The usual end of a switch that is reached at this address.
    pub fn new(contact: Uri) -> Self {
        Self {
            contact,
            agent: None,
            header: None,
            send_to_source: true,
            times: Times::default(),
            session: SessionTimes::default(),
            refer: false,
        }
    }
}

/// Whom to call.
#[derive(Debug, Clone)]
pub struct Target {
    /// The Request-URI.
    pub uri: Uri,
    /// Where to send the INVITE.
    pub send_to: Hop,
    /// Where else, in this order, when nobody there says anything, it cannot be reached or says 503 (RFC 3263 4.3).
    pub others: Vec<Hop>,
    /// The calling party; its tag is made here.
    pub from: NameAddr,
    /// The called party.
    pub to: NameAddr,
    /// Further headers of the INVITE.
    pub headers: Vec<(String, String)>,
    /// Max-Forwards of the INVITE: 70, or what is left of it to a call that came from elsewhere (RFC 7332).
    pub max_forwards: u8,
    /// How long it may ring.
    pub ring_timeout: Duration,
    /// The account at whoever is called, for a 401 or 407.
    pub account: Option<Account>,
}

/// What a challenge of the called side is answered with.
#[derive(Debug, Clone)]
pub struct Account {
    /// The user name.
    pub username: String,
    /// The password.
    pub password: Secret<String>,
}

/// An INVITE that makes no call, with its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The final response: 400, 405, 406, 415, 416, 420, 422 or 481.
    pub response: Response,
}

/// What a call is told.
#[derive(Debug, Clone)]
pub enum CallInput {
    /// Ring back at the caller: 180, or 183 when there is early media.
    Ring {
        /// The answer to its offer. For a caller that made none our offer, which only a reliable response takes along: see
        /// [`Call::offers_early`](super::Call::offers_early).
        sdp: Option<Bytes>,
    },
    /// Answer the caller: 200.
    Answer {
        /// The answer to its offer, or our offer if it made none.
        sdp: Bytes,
    },
    /// Refuse the caller.
    Refuse {
        /// 300 to 699.
        status: u16,
        /// The phrase; empty for the usual one.
        reason: String,
        /// Further headers, such as Retry-After.
        headers: Vec<(String, String)>,
    },
    /// End the call, whatever its state: CANCEL, BYE or 487.
    HangUp {
        /// The value of a Reason header (RFC 3326).
        reason_header: Option<String>,
    },
    /// Change the session by a re-INVITE. Answered by `OfferAnswered` or `OfferRefused`.
    Offer {
        /// Our offer.
        sdp: Bytes,
    },
    /// Reply to [`CallEvent::Offer`] or [`CallEvent::OfferWanted`].
    AnswerOffer {
        /// The answer, or our offer.
        sdp: Bytes,
    },
    /// Refuse what [`CallEvent::Offer`] or [`CallEvent::OfferWanted`] asked; the session stays as it was.
    RefuseOffer {
        /// 300 to 699.
        status: u16,
    },
    /// Send an INFO, one at a time; answered by [`CallEvent::InfoAnswered`].
    Info {
        /// Its Content-Type.
        content_type: String,
        /// Its body.
        body: Bytes,
    },
    /// Place the call that [`CallEvent::Referred`] asked for: 202, and the peer hears how it goes.
    AcceptRefer,
    /// Refuse what [`CallEvent::Referred`] asked.
    RefuseRefer {
        /// 300 to 699.
        status: u16,
        /// The phrase; empty for the usual one.
        reason: String,
    },
    /// Tell the peer how the call goes that it wanted; a status of 200 or more ends the tale.
    ReferProgress {
        /// The status of that call.
        status: u16,
        /// Its phrase; empty for the usual one.
        reason: String,
    },
    /// A request inside the dialog.
    Request {
        /// Its transaction.
        tx: ServerKey,
        /// Where it came from.
        source: Hop,
        /// The request.
        request: Request,
    },
    /// An ACK inside the dialog that belongs to a 2xx.
    Ack {
        /// The ACK.
        request: Request,
    },
    /// An INVITE was cancelled.
    Cancelled {
        /// The INVITE.
        tx: ServerKey,
        /// The Reason header of the CANCEL.
        reason: Option<String>,
    },
    /// A response to one of our requests.
    Response {
        /// The response.
        response: Response,
    },
    /// One of our requests ended without a final response. That of an INVITE that another one followed is not told.
    Failed {
        /// Why.
        why: Failure,
    },
    /// Our requests under way are lost with whoever was to send them: no response will come.
    Lost,
    /// The time of [`CallOutput::Timeout`] has come.
    Timeout,
}

/// What a call wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallOutput {
    /// Send a request in a client transaction whose responses and failure come back here.
    Send {
        /// Where to.
        target: Hop,
        /// The request, without Via.
        request: Request,
    },
    /// Send a BYE in a client transaction whose outcome nobody wants: it ends a branch that answered too late.
    Dismiss {
        /// Where to.
        target: Hop,
        /// The request, without Via.
        request: Request,
    },
    /// Send an ACK outside all transactions.
    SendAck {
        /// Where to.
        target: Hop,
        /// The ACK, without Via.
        request: Request,
    },
    /// Cancel the last INVITE that was sent.
    CancelInvite {
        /// The value of a Reason header.
        reason: Option<String>,
    },
    /// Answer a request; a 2xx to an INVITE comes several times.
    Respond {
        /// The request.
        tx: ServerKey,
        /// The response.
        response: Response,
    },
    /// Something the owner should know.
    Event(CallEvent),
    /// Nothing more to do before this time, or before the next input.
    Timeout(Option<Instant>),
}

/// What the owner of a call should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallEvent {
    /// Nobody was found at a place; the INVITE goes to the next one.
    NobodyThere {
        /// Where that was.
        place: Hop,
    },
    /// The called party rings; with early media when there is an SDP. Comes again when the SDP changes.
    Ringing {
        /// The answer to our offer, so far.
        sdp: Option<Bytes>,
    },
    /// The called party answered.
    Answered {
        /// The answer to our offer. None where the called party has made an offer of its own since, and the answer to that one holds
        /// (RFC 3311).
        sdp: Option<Bytes>,
    },
    /// The ACK was sent or has arrived.
    Confirmed,
    /// The peer wants to change the session, perhaps before the answer: reply with `AnswerOffer` or `RefuseOffer`.
    Offer {
        /// Its offer.
        sdp: Bytes,
    },
    /// The peer wants an offer from us: reply with `AnswerOffer` or `RefuseOffer`.
    OfferWanted,
    /// The peer answered an INFO of ours.
    InfoAnswered {
        /// The final status; not a challenge that could be answered, and not 408 or 481, which end the call. 200 also where the answer is lost.
        status: u16,
    },
    /// The peer answered an offer of ours, made in a re-INVITE, in a 2xx or in a reliable provisional response.
    OfferAnswered {
        /// Its answer.
        sdp: Bytes,
    },
    /// The peer refused our re-INVITE, or it could not be sent now (491); the session stays as it was.
    OfferRefused {
        /// The status code.
        status: u16,
    },
    /// Our re-INVITE met one of the peer's, which has changed the session since: what we offered then is no longer true. Nothing is open
    /// now, so that it can be offered anew.
    OfferOvertaken,
    /// An INFO arrived, and has got its 200.
    Info {
        /// Its Content-Type in lower case, without parameters; may be empty.
        content_type: String,
        /// Its body.
        body: Bytes,
    },
    /// The peer wants us to call somebody in its place: reply with `AcceptRefer` or `RefuseRefer` (RFC 3515).
    Referred {
        /// Whom; a SIP address.
        target: Box<NameAddr>,
        /// Who says so (RFC 3892).
        referred_by: Option<String>,
    },
    /// The call has ended, or will whatever happens now.
    Ended {
        /// Who ended it.
        by: Party,
        /// The status code that fits.
        status: u16,
        /// Its phrase.
        phrase: String,
        /// The peer's Reason header.
        reason: Option<String>,
        /// How long the peer wants to be left alone (RFC 3261 20.33).
        retry_after: Option<Duration>,
        /// How it ended.
        cause: EndCause,
    },
}

/// One end of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Party {
    /// We.
    Local,
    /// The peer.
    Remote,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndCause {
    /// The caller gave up before the answer.
    Cancelled,
    /// A final response of 300 or more.
    Refused,
    /// A BYE.
    Bye,
    /// The peer did not respond to a request.
    TimedOut,
    /// The network could not deliver a request.
    Unreachable,
    /// The peer asked for fewer calls, so this one was not sent (RFC 7339).
    HeldBack,
    /// The peer never acknowledged our 2xx.
    NoAck,
    /// The caller never acknowledged a reliable provisional response (RFC 3262 3).
    NoPrack,
    /// The session timer ran out (RFC 4028 10).
    Expired,
    /// It rang as long as it may.
    NoAnswer,
    /// A 2xx or an ACK without the session description it must have.
    NoSdp,
    /// The peer does not know the dialog any more (408 or 481 to a request in it).
    DialogLost,
}
