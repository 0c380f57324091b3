//! The INVITE server transaction: RFC 3261 figure 7 as changed by RFC 6026 7.1 and figure 3, over UDP.
//!
//! ```text
//!  INVITE -> Proceeding --2xx from user--> Accepted --L--> Terminated      repeats of the INVITE get the last
//!               |                           (ACK goes to the dialogs)      response in Proceeding and Completed,
//!            300-699 from user                                             silence in Accepted and Confirmed
//!               v
//!           Completed --ACK--> Confirmed --I--> Terminated                 G: repeat the failure, doubling to T2
//!               `--H--> Terminated
//! ```

use std::mem;
use std::time::Duration;

use bytes::Bytes;

use super::action::Action;
use super::timer::{Timer, Times};

/// An INVITE being answered.
#[derive(Debug)]
pub(super) struct InviteServer {
    state: State,
    /// The 100 that is sent when the user says nothing for 200 ms.
    trying: Bytes,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// The user is deciding; the last provisional response, if any.
    Proceeding { last: Option<Bytes> },
    /// A success was sent; its repeats are the dialog's duty (RFC 3261 13.3.1.4).
    Accepted,
    /// A failure was sent and is repeated.
    Completed { response: Bytes, interval: Duration },
    /// Its ACK came.
    Confirmed,
    /// Done.
    Terminated,
}

/// What happens to the transaction.
#[derive(Debug, Clone)]
pub(super) enum Event {
    /// The INVITE again.
    Invite,
    /// An ACK that matches the INVITE.
    Ack,
    /// 1xx from the user.
    Provisional(Bytes),
    /// 2xx from the user.
    Success(Bytes),
    /// 300-699 from the user.
    Failure(Bytes),
    Timer(Timer),
}

impl InviteServer {
    /// Takes a new INVITE.
    pub(super) fn new(trying: Bytes, times: &Times, out: &mut Vec<Action>) -> Self {
        out.push(Action::Set(Timer::Trying, Timer::Trying.first(times)));
        Self {
            state: State::Proceeding { last: None },
            trying,
        }
    }

    /// Returns whether the transaction is over.
    pub(super) fn is_terminated(&self) -> bool {
        self.state == State::Terminated
    }

    /// Returns whether the user has not sent a final response.
    pub(super) fn is_proceeding(&self) -> bool {
        matches!(self.state, State::Proceeding { .. })
    }

    /// Returns whether the user has sent a success.
    pub(super) fn is_accepted(&self) -> bool {
        self.state == State::Accepted
    }

    /// The transition of the figure.
    pub(super) fn on(&mut self, times: &Times, event: Event, out: &mut Vec<Action>) {
        let state = mem::replace(&mut self.state, State::Terminated);
        self.state = match (state, event) {
            (State::Proceeding { last: None }, Event::Timer(Timer::Trying)) => {
                out.push(Action::Send(self.trying.clone()));
                State::Proceeding {
                    last: Some(self.trying.clone()),
                }
            }
            (State::Proceeding { last }, Event::Invite) => {
                if let Some(last) = &last {
                    out.push(Action::Send(last.clone()));
                }
                State::Proceeding { last }
            }
            (State::Proceeding { .. }, Event::Provisional(response)) => {
                out.push(Action::Stop(Timer::Trying));
                out.push(Action::Send(response.clone()));
                State::Proceeding {
                    last: Some(response),
                }
            }
            (State::Proceeding { .. }, Event::Success(response)) => {
                out.push(Action::Stop(Timer::Trying));
                out.push(Action::Send(response));
                out.push(Action::Set(Timer::L, Timer::L.first(times)));
                State::Accepted
            }
            (State::Proceeding { .. }, Event::Failure(response)) => {
                let interval = Timer::G.first(times);
                out.push(Action::Stop(Timer::Trying));
                out.push(Action::Send(response.clone()));
                out.push(Action::Set(Timer::G, interval));
                out.push(Action::Set(Timer::H, Timer::H.first(times)));
                State::Completed { response, interval }
            }
            // RFC 6026 7.1: repeats of the INVITE are absorbed, those of the success pass, ACK goes up.
            (State::Accepted, Event::Success(response)) => {
                out.push(Action::Send(response));
                State::Accepted
            }
            (State::Accepted, Event::Ack) => {
                out.push(Action::DeliverAck);
                State::Accepted
            }
            (State::Accepted, Event::Timer(Timer::L)) => State::Terminated,
            (State::Completed { response, interval }, Event::Invite) => {
                out.push(Action::Send(response.clone()));
                State::Completed { response, interval }
            }
            (State::Completed { response, interval }, Event::Timer(Timer::G)) => {
                let interval = (interval * 2).min(times.t2);
                out.push(Action::Send(response.clone()));
                out.push(Action::Set(Timer::G, interval));
                State::Completed { response, interval }
            }
            (State::Completed { .. }, Event::Ack) => {
                out.push(Action::Stop(Timer::G));
                out.push(Action::Stop(Timer::H));
                out.push(Action::Set(Timer::I, Timer::I.first(times)));
                State::Confirmed
            }
            // RFC 3261 17.2.1: no ACK; the call was refused anyway, so nobody needs to hear of it.
            (State::Completed { .. }, Event::Timer(Timer::H)) => State::Terminated,
            (State::Confirmed, Event::Timer(Timer::I)) => State::Terminated,
            // The rest is not in the figure: a user answering twice, an ACK before its time, late timers.
            (state @ State::Proceeding { .. }, Event::Ack | Event::Timer(_)) => state,
            (
                State::Accepted,
                Event::Invite | Event::Provisional(_) | Event::Failure(_) | Event::Timer(_),
            ) => State::Accepted,
            (
                state @ State::Completed { .. },
                Event::Provisional(_) | Event::Success(_) | Event::Failure(_) | Event::Timer(_),
            ) => state,
            (
                State::Confirmed,
                Event::Invite
                | Event::Ack
                | Event::Provisional(_)
                | Event::Success(_)
                | Event::Failure(_)
                | Event::Timer(_),
            ) => State::Confirmed,
            (State::Terminated, _) => State::Terminated,
        };
    }
}

#[cfg(test)]
mod tests;
