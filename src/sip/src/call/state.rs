//! The states of a call and the table of what happens in them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::reliable::Branch;
use super::{Call, CallEvent, CallInput, check};
use crate::Hop;
use crate::digest::Rounds;
use crate::message::{Request, Response, Uri};
use crate::transaction::ServerKey;

/// Where a call stands.
#[derive(Debug)]
pub(super) enum State {
    /// Callee: no final response yet.
    Incoming(Incoming),
    /// Caller: no final response yet.
    Calling(Calling),
    /// Caller: cancelled, and a final response may still come.
    Cancelling,
    /// A 2xx was sent or received.
    Established(Exchange),
    /// Over for the owner; the BYE is not done yet.
    Closing(Closing),
    /// Over; only repeats of what was are still answered.
    Ended,
}

/// An INVITE that waits for our final response.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) tx: ServerKey,
    pub(super) invite: Request,
    /// The last provisional response, repeated every minute.
    pub(super) provisional: Option<Response>,
    /// How far offer and answer have come.
    pub(super) early: Early,
    /// What the owner has answered with, while the 2xx waits for a PRACK (RFC 3262 3).
    pub(super) answer: Option<Bytes>,
}

impl Incoming {
    /// The number of the INVITE.
    pub(super) fn cseq(&self) -> u32 {
        self.invite.headers.cseq().map_or(0, |cseq| cseq.number)
    }

    /// Whether the caller leaves the offer to us.
    pub(super) fn is_late_offer(&self) -> bool {
        check::sdp(&self.invite.headers, &self.invite.body).is_none()
    }
}

/// Offer and answer before our final response (RFC 3262 5, RFC 3311 5.1).
#[derive(Debug)]
pub(super) enum Early {
    /// The 2xx settles it.
    Open,
    /// Our description stands in a reliable response that waits for its PRACK.
    Told,
    /// They are exchanged.
    Settled,
    /// They were, and the owner has to answer a further offer, made by PRACK or UPDATE.
    Asked {
        tx: ServerKey,
        request: Box<Request>,
    },
}

/// An INVITE of ours that waits for its final response.
#[derive(Debug)]
pub(super) struct Calling {
    pub(super) cseq: u32,
    /// Whether any response came.
    pub(super) is_heard: bool,
    /// Whether the owner knows that it rings.
    pub(super) is_ringing: bool,
    /// The last SDP of a provisional response, and the tag of the branch that sent it.
    pub(super) early: Option<(Option<String>, Bytes)>,
    /// The branches that send reliable responses.
    pub(super) branches: Vec<Branch>,
    /// A further offer of the callee that the owner has to answer.
    pub(super) asked: Option<(ServerKey, Box<Request>)>,
    /// The tag of the branch whose further offer was answered: what it said before holds no longer.
    pub(super) renewed: Option<String>,
    /// Challenges answered.
    pub(super) rounds: Rounds,
    /// What it was sent with, to be sent again with credentials.
    pub(super) sent: Sent,
}

/// The first INVITE as it was sent.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) offer: Bytes,
    pub(super) headers: Vec<(String, String)>,
    pub(super) target: Hop,
    /// Where it has not gone yet.
    pub(super) others: VecDeque<Hop>,
    pub(super) uri: Uri,
}

/// Offer and answer inside the dialog (RFC 3264, RFC 3261 14, RFC 3311).
#[derive(Debug)]
pub(super) enum Exchange {
    /// No offer is open and no INVITE runs.
    Stable,
    /// Our re-INVITE waits for its final response.
    LocalOffer {
        cseq: u32,
        sdp: Bytes,
        rounds: Rounds,
    },
    /// The owner has to answer a re-INVITE or UPDATE.
    RemoteOffer { tx: ServerKey, request: Request },
    /// Our 2xx to an INVITE waits for its ACK.
    Unacknowledged(Unacked),
}

/// A 2xx that is repeated until the ACK comes (RFC 3261 13.3.1.4).
#[derive(Debug)]
pub(super) struct Unacked {
    pub(super) tx: ServerKey,
    pub(super) response: Response,
    /// The number of the INVITE.
    pub(super) cseq: u32,
    /// The time to the next repeat.
    pub(super) interval: Duration,
    /// Whether the 2xx holds our offer, and the ACK the answer.
    pub(super) asks: bool,
    /// Whether it is the one that makes the call.
    pub(super) is_first: bool,
}

/// How far the goodbye has come.
#[derive(Debug)]
pub(super) enum Closing {
    /// RFC 3261 15: a callee does not send BYE before the ACK.
    AwaitAck {
        unacked: Unacked,
        reason: Option<String>,
    },
    /// The BYE waits for its response.
    ByeSent { cseq: u32, rounds: Rounds },
}

impl Call {
    /// The table, long because it is whole: what is not legal in a state stands last for it and changes nothing.
    pub(super) fn on(&mut self, now: Instant, input: CallInput) {
        use CallInput as In;
        // Every arm says where the call goes from here.
        let state = std::mem::replace(&mut self.state, State::Ended);
        self.state = match (state, input) {
            (State::Incoming(s), In::Ring { sdp }) => self.ring(now, s, sdp),
            (State::Incoming(s), In::Answer { sdp }) => self.answer(now, s, sdp),
            (
                State::Incoming(s),
                In::Refuse {
                    status,
                    reason,
                    headers,
                },
            ) => self.refuse(&s, status, &reason, headers),
            (State::Incoming(s), In::HangUp { reason_header }) => {
                let headers = reason_header.map(|reason| ("Reason".to_owned(), reason));
                self.refuse(&s, 487, "", headers.into_iter().collect())
            }
            (State::Incoming(s), In::Cancelled { tx, reason }) if tx == s.tx => {
                self.cancelled(&s, reason)
            }
            (
                State::Incoming(s),
                In::Request {
                    tx,
                    source,
                    request,
                },
            ) => self.request_before_answer(now, s, tx, source, request),
            (State::Incoming(s), In::AnswerOffer { sdp }) => self.answer_in_incoming(s, sdp),
            (State::Incoming(s), In::RefuseOffer { status }) => self.refuse_in_incoming(s, status),
            (State::Incoming(s), In::Timeout) => self.incoming_timeout(now, s),
            (
                State::Incoming(s),
                In::Info { .. }
                | In::AcceptRefer
                | In::RefuseRefer { .. }
                | In::ReferProgress { .. }
                | In::Ack { .. }
                | In::Cancelled { .. }
                | In::Response { .. }
                | In::Failed { .. }
                | In::Lost,
            ) => State::Incoming(s),

            (State::Calling(s), In::Response { response }) => {
                self.calling_response(now, s, &response)
            }
            (State::Calling(s), In::Failed { why }) => self.calling_failed(now, s, why),
            (State::Calling(_), In::HangUp { reason_header }) => self.cancel(now, reason_header),
            (
                State::Calling(s),
                In::Request {
                    tx,
                    source,
                    request,
                },
            ) => self.request_before_final(s, tx, source, request),
            (State::Calling(s), In::AnswerOffer { sdp }) => self.answer_in_calling(s, sdp),
            (State::Calling(s), In::RefuseOffer { status }) => self.refuse_in_calling(s, status),
            (State::Calling(s), In::Timeout) => self.calling_timeout(now, s),
            (
                State::Calling(s),
                In::Ring { .. }
                | In::Answer { .. }
                | In::Refuse { .. }
                | In::Info { .. }
                | In::AcceptRefer
                | In::RefuseRefer { .. }
                | In::ReferProgress { .. }
                | In::Ack { .. }
                | In::Cancelled { .. }
                | In::Lost,
            ) => State::Calling(s),

            (State::Cancelling, In::Response { response }) => {
                self.cancelling_response(now, &response)
            }
            (State::Cancelling, In::Failed { .. }) => self.over(),
            (State::Cancelling, In::Request { tx, request, .. }) => {
                self.no_dialog(tx, &request);
                State::Cancelling
            }
            (State::Cancelling, In::Timeout) => self.cancelling_timeout(now),
            (
                State::Cancelling,
                In::Ring { .. }
                | In::Answer { .. }
                | In::Refuse { .. }
                | In::HangUp { .. }
                | In::AnswerOffer { .. }
                | In::RefuseOffer { .. }
                | In::Info { .. }
                | In::AcceptRefer
                | In::RefuseRefer { .. }
                | In::ReferProgress { .. }
                | In::Ack { .. }
                | In::Cancelled { .. }
                | In::Lost,
            ) => State::Cancelling,

            (State::Established(s), In::HangUp { reason_header }) => self.hang_up(s, reason_header),
            (State::Established(s), In::Offer { sdp }) => self.make_offer(now, s, sdp),
            (State::Established(s), In::AnswerOffer { sdp }) => self.answer_offer(now, s, sdp),
            (State::Established(s), In::RefuseOffer { status }) => self.refuse_offer(s, status),
            (State::Established(s), In::Info { content_type, body }) => {
                self.send_info(content_type, body);
                State::Established(s)
            }
            (
                State::Established(s),
                In::Request {
                    tx,
                    source,
                    request,
                },
            ) => self.request_in_dialog(now, s, tx, source, request),
            (State::Established(s), In::Ack { request }) => self.acknowledged(s, &request),
            (State::Established(s), In::Cancelled { tx, .. }) => self.offer_cancelled(s, tx),
            (State::Established(s), In::Response { response }) => {
                self.response_in_dialog(now, s, &response)
            }
            (State::Established(s), In::Failed { why }) => self.request_failed(s, why),
            (State::Established(s), In::Lost) => self.requests_lost(now, s),
            (State::Established(s), In::Timeout) => self.established_timeout(now, s),
            (State::Established(s), In::AcceptRefer) => {
                self.accept_refer();
                State::Established(s)
            }
            (State::Established(s), In::RefuseRefer { status, reason }) => {
                self.refuse_refer(status, &reason);
                State::Established(s)
            }
            (State::Established(s), In::ReferProgress { status, reason }) => {
                self.refer_progress(status, &reason);
                State::Established(s)
            }
            (State::Established(s), In::Ring { .. } | In::Answer { .. } | In::Refuse { .. }) => {
                State::Established(s)
            }

            (
                State::Closing(s),
                In::Request {
                    tx,
                    source,
                    request,
                },
            ) => self.request_while_closing(s, tx, source, &request),
            (State::Closing(s), In::Ack { request }) => {
                self.acknowledged_while_closing(s, &request)
            }
            (State::Closing(s), In::Response { response }) => {
                self.response_while_closing(now, s, &response)
            }
            (State::Closing(Closing::ByeSent { .. }), In::Failed { .. }) => self.over(),
            // It may never have left, and a peer that has had it answers 481.
            (State::Closing(Closing::ByeSent { .. }), In::Lost) => self.bye(None),
            (State::Closing(s), In::Timeout) => self.closing_timeout(now, s),
            (
                State::Closing(s),
                In::Ring { .. }
                | In::Answer { .. }
                | In::Refuse { .. }
                | In::HangUp { .. }
                | In::AnswerOffer { .. }
                | In::RefuseOffer { .. }
                | In::Info { .. }
                | In::AcceptRefer
                | In::RefuseRefer { .. }
                | In::ReferProgress { .. }
                | In::Cancelled { .. }
                | In::Failed { .. }
                | In::Lost,
            ) => State::Closing(s),

            (State::Ended, In::Request { tx, request, .. }) => {
                self.no_dialog(tx, &request);
                State::Ended
            }
            (State::Ended, In::Response { response }) => {
                self.success_again(now, &response);
                State::Ended
            }
            (State::Ended, In::Timeout) => {
                while self.timers.due(now).is_some() {}
                State::Ended
            }
            (
                State::Ended,
                In::Ring { .. }
                | In::Answer { .. }
                | In::Refuse { .. }
                | In::HangUp { .. }
                | In::AnswerOffer { .. }
                | In::RefuseOffer { .. }
                | In::Info { .. }
                | In::AcceptRefer
                | In::RefuseRefer { .. }
                | In::ReferProgress { .. }
                | In::Ack { .. }
                | In::Cancelled { .. }
                | In::Failed { .. }
                | In::Lost,
            ) => State::Ended,

            // An offer that cannot be made now gets its answer too.
            (
                state @ (State::Incoming(_)
                | State::Calling(_)
                | State::Cancelling
                | State::Closing(_)
                | State::Ended),
                In::Offer { .. },
            ) => {
                self.emit(CallEvent::OfferRefused { status: 491 });
                state
            }
        };
    }

    /// Nothing more is expected from the peer.
    pub(super) fn over(&mut self) -> State {
        self.timers.stop_all_but_linger();
        State::Ended
    }
}
