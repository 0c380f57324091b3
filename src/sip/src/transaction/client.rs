//! The non-INVITE client transaction: RFC 3261 figure 6, over UDP.
//!
//! ```text
//!  request -> Trying --1xx--> Proceeding       E: repeat, doubling to T2, every T2 in Proceeding
//!                |                |            F: failed
//!            200-699          200-699
//!                v                v
//!            Completed <----------'            K: end of Completed, where repeated responses are absorbed
//!                `--K--> Terminated
//! ```

use std::mem;
use std::time::Duration;

use bytes::Bytes;

use super::action::{Action, Failure};
use super::timer::{Timer, Times};
use crate::message::{Request, Response};

/// A request other than INVITE on its way.
#[derive(Debug)]
pub(super) struct Client {
    state: State,
    bytes: Bytes,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// Nothing heard.
    Trying { interval: Duration },
    /// A provisional response came.
    Proceeding,
    /// The final response came.
    Completed,
    /// Done.
    Terminated,
}

/// What happens to the transaction.
#[derive(Debug, Clone)]
pub(super) enum Event {
    Provisional(Response),
    Final(Response),
    Timer(Timer),
    TransportError,
}

impl From<Response> for Event {
    fn from(response: Response) -> Self {
        if response.is_provisional() {
            Self::Provisional(response)
        } else {
            Self::Final(response)
        }
    }
}

impl Client {
    /// Sends the request (which has its Via) and starts Timers E and F.
    pub(super) fn new(request: &Request, times: &Times, out: &mut Vec<Action>) -> Self {
        let bytes = request.encode();
        let interval = Timer::E.first(times);
        out.push(Action::Send(bytes.clone()));
        out.push(Action::Set(Timer::E, interval));
        out.push(Action::Set(Timer::F, Timer::F.first(times)));
        Self {
            state: State::Trying { interval },
            bytes,
        }
    }

    /// Returns whether the transaction is over.
    pub(super) fn is_terminated(&self) -> bool {
        self.state == State::Terminated
    }

    /// Returns whether the final response has come.
    pub(super) fn is_answered(&self) -> bool {
        self.state == State::Completed
    }

    /// The transition of the figure.
    pub(super) fn on(&mut self, times: &Times, event: Event, out: &mut Vec<Action>) {
        let state = mem::replace(&mut self.state, State::Terminated);
        self.state = match (state, event) {
            (State::Trying { interval }, Event::Timer(Timer::E)) => {
                let interval = (interval * 2).min(times.t2);
                out.push(Action::Send(self.bytes.clone()));
                out.push(Action::Set(Timer::E, interval));
                State::Trying { interval }
            }
            (State::Proceeding, Event::Timer(Timer::E)) => {
                out.push(Action::Send(self.bytes.clone()));
                out.push(Action::Set(Timer::E, times.t2));
                State::Proceeding
            }
            (State::Trying { .. } | State::Proceeding, Event::Provisional(response)) => {
                out.push(Action::Deliver(response));
                State::Proceeding
            }
            (State::Trying { .. } | State::Proceeding, Event::Final(response)) => {
                out.push(Action::Stop(Timer::E));
                out.push(Action::Stop(Timer::F));
                out.push(Action::Deliver(response));
                out.push(Action::Set(Timer::K, Timer::K.first(times)));
                State::Completed
            }
            (State::Trying { .. } | State::Proceeding, Event::Timer(Timer::F)) => {
                out.push(Action::Fail(Failure::TimedOut));
                State::Terminated
            }
            (State::Trying { .. } | State::Proceeding, Event::TransportError) => {
                out.push(Action::Fail(Failure::Transport));
                State::Terminated
            }
            (State::Completed, Event::Timer(Timer::K)) => State::Terminated,
            // The rest is not in the figure: repeated responses are absorbed, timers stopped a moment too late ignored.
            (state @ (State::Trying { .. } | State::Proceeding), Event::Timer(_)) => state,
            (
                State::Completed,
                Event::Provisional(_) | Event::Final(_) | Event::Timer(_) | Event::TransportError,
            ) => State::Completed,
            (State::Terminated, _) => State::Terminated,
        };
    }
}

#[cfg(test)]
mod tests;
