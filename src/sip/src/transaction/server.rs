//! The non-INVITE server transaction: RFC 3261 figure 8, over UDP.
//!
//! ```text
//!  request -> Trying --1xx from user--> Proceeding        repeats of the request: silence in Trying,
//!                |                          |             the last response in Proceeding and Completed
//!        200-699 from user          200-699 from user
//!                v                          v             J: end of Completed
//!            Completed <--------------------'             Late: 64*T1 without a final response (RFC 4320 4.2)
//!                `--J--> Terminated
//! ```

use std::mem;

use bytes::Bytes;

use super::action::Action;
use super::timer::{Timer, Times};

/// A request other than INVITE being answered.
#[derive(Debug)]
pub(super) struct Server {
    state: State,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// The user has said nothing.
    Trying,
    /// The user has sent a provisional response.
    Proceeding { last: Bytes },
    /// The user has sent the final response.
    Completed { last: Bytes },
    /// Done.
    Terminated,
}

/// What happens to the transaction.
#[derive(Debug, Clone)]
pub(super) enum Event {
    /// The request again.
    Request,
    /// 1xx from the user.
    Provisional(Bytes),
    /// 200-699 from the user.
    Final(Bytes),
    Timer(Timer),
}

impl Server {
    /// Takes a new request.
    pub(super) fn new(times: &Times, out: &mut Vec<Action>) -> Self {
        out.push(Action::Set(Timer::Late, Timer::Late.first(times)));
        Self {
            state: State::Trying,
        }
    }

    /// Returns whether the transaction is over.
    pub(super) fn is_terminated(&self) -> bool {
        self.state == State::Terminated
    }

    /// Returns whether the user has not sent a final response.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.state, State::Trying | State::Proceeding { .. })
    }

    /// The transition of the figure.
    pub(super) fn on(&mut self, times: &Times, event: Event, out: &mut Vec<Action>) {
        let state = mem::replace(&mut self.state, State::Terminated);
        self.state = match (state, event) {
            (State::Trying | State::Proceeding { .. }, Event::Provisional(response)) => {
                out.push(Action::Send(response.clone()));
                State::Proceeding { last: response }
            }
            (State::Trying | State::Proceeding { .. }, Event::Final(response)) => {
                out.push(Action::Stop(Timer::Late));
                out.push(Action::Send(response.clone()));
                out.push(Action::Set(Timer::J, Timer::J.first(times)));
                State::Completed { last: response }
            }
            (State::Trying, Event::Request) => State::Trying,
            (State::Proceeding { last }, Event::Request) => {
                out.push(Action::Send(last.clone()));
                State::Proceeding { last }
            }
            (State::Completed { last }, Event::Request) => {
                out.push(Action::Send(last.clone()));
                State::Completed { last }
            }
            (State::Trying | State::Proceeding { .. }, Event::Timer(Timer::Late)) => {
                State::Terminated
            }
            (State::Completed { .. }, Event::Timer(Timer::J)) => State::Terminated,
            // The rest is not in the figure: timers of other states, and a user answering twice (RFC 3261 17.2.2).
            (state @ (State::Trying | State::Proceeding { .. }), Event::Timer(_)) => state,
            (
                state @ State::Completed { .. },
                Event::Provisional(_) | Event::Final(_) | Event::Timer(_),
            ) => state,
            (State::Terminated, _) => State::Terminated,
        };
    }
}

#[cfg(test)]
mod tests;
