//! The INVITE client transaction: RFC 3261 figure 5 as changed by RFC 6026 7.2 and figure 1, over UDP.
//!
//! ```text
//!  INVITE -> Calling --1xx--> Proceeding      A: repeat, doubling      B: failed
//!               |   \            |   |        M: end of Accepted       D: end of Completed
//!            300-699  2xx      2xx  300-699   300-699 sends the ACK, again for each repeat
//!               v       \        v   v        2xx is handed up, again for each repeat and fork
//!           Completed    `--> Accepted   (and Proceeding --300-699--> Completed)
//!               `--D--> Terminated <--M--'
//! ```

use std::mem;
use std::time::Duration;

use bytes::Bytes;

use super::action::{Action, Failure};
use super::timer::{Timer, Times};
use crate::message::{CSeq, HeaderName, Headers, Method, Request, Response};

/// An INVITE on its way.
#[derive(Debug)]
pub(super) struct InviteClient {
    state: State,
    request: Request,
    bytes: Bytes,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// Nothing heard; `cancel` waits for the first provisional response (RFC 3261 9.1).
    Calling { interval: Duration, cancel: bool },
    /// A provisional response came; `cancelled` when a CANCEL is out.
    Proceeding { cancelled: bool },
    /// A success came; its ACK is the dialog's duty.
    Accepted,
    /// A failure came and got this ACK.
    Completed { ack: Bytes },
    /// Done.
    Terminated,
}

/// What happens to the transaction.
#[derive(Debug, Clone)]
pub(super) enum Event {
    Provisional(Response),
    Success(Response),
    Failure(Response),
    Cancel,
    Timer(Timer),
    TransportError,
}

impl From<Response> for Event {
    fn from(response: Response) -> Self {
        match response.status {
            ..200 => Self::Provisional(response),
            200..300 => Self::Success(response),
            300.. => Self::Failure(response),
        }
    }
}

impl InviteClient {
    /// Sends the INVITE (which has its Via) and starts Timers A and B.
    pub(super) fn new(request: Request, times: &Times, out: &mut Vec<Action>) -> Self {
        let bytes = request.encode();
        let interval = Timer::A.first(times);
        out.push(Action::Send(bytes.clone()));
        out.push(Action::Set(Timer::A, interval));
        out.push(Action::Set(Timer::B, Timer::B.first(times)));
        Self {
            state: State::Calling {
                interval,
                cancel: false,
            },
            request,
            bytes,
        }
    }

    /// Returns whether the transaction is over.
    pub(super) fn is_terminated(&self) -> bool {
        self.state == State::Terminated
    }

    /// Returns whether a CANCEL waits for the first response.
    pub(super) fn is_to_be_cancelled(&self) -> bool {
        matches!(self.state, State::Calling { cancel: true, .. })
    }

    /// Returns whether a final response has come.
    pub(super) fn is_answered(&self) -> bool {
        matches!(self.state, State::Accepted | State::Completed { .. })
    }

    /// Returns the CANCEL for this INVITE (RFC 3261 9.1): same Request-URI, Via, Route, From, To, Call-ID, CSeq number.
    pub(super) fn cancel(&self, reason: Option<&str>) -> Request {
        let mut cancel = self.derived(Method::Cancel);
        if let Some(to) = self.request.headers.get(&HeaderName::To) {
            cancel.headers.push(HeaderName::To, to);
        }
        if let Some(reason) = reason {
            cancel.headers.push(HeaderName::Reason, reason);
        }
        cancel
    }

    /// The transition of the figure.
    pub(super) fn on(&mut self, times: &Times, event: Event, out: &mut Vec<Action>) {
        let state = mem::replace(&mut self.state, State::Terminated);
        self.state = match (state, event) {
            (State::Calling { interval, cancel }, Event::Timer(Timer::A)) => {
                let interval = interval * 2;
                out.push(Action::Send(self.bytes.clone()));
                out.push(Action::Set(Timer::A, interval));
                State::Calling { interval, cancel }
            }
            (State::Calling { cancel, .. }, Event::Provisional(response)) => {
                out.push(Action::Stop(Timer::A));
                out.push(Action::Stop(Timer::B));
                out.push(Action::Deliver(response));
                if cancel {
                    start_cancel(times, out);
                }
                State::Proceeding { cancelled: cancel }
            }
            (State::Calling { interval, .. }, Event::Cancel) => State::Calling {
                interval,
                cancel: true,
            },
            (State::Proceeding { cancelled }, Event::Provisional(response)) => {
                out.push(Action::Deliver(response));
                State::Proceeding { cancelled }
            }
            (State::Proceeding { cancelled: false }, Event::Cancel) => {
                start_cancel(times, out);
                State::Proceeding { cancelled: true }
            }
            (State::Calling { .. } | State::Proceeding { .. }, Event::Success(response)) => {
                stop_waiting(out);
                out.push(Action::Deliver(response));
                out.push(Action::Set(Timer::M, Timer::M.first(times)));
                State::Accepted
            }
            (State::Calling { .. } | State::Proceeding { .. }, Event::Failure(response)) => {
                stop_waiting(out);
                let ack = self.ack(&response).encode();
                out.push(Action::Send(ack.clone()));
                out.push(Action::Deliver(response));
                out.push(Action::Set(Timer::D, Timer::D.first(times)));
                State::Completed { ack }
            }
            (State::Calling { .. } | State::Proceeding { .. }, Event::Timer(Timer::B)) => {
                out.push(Action::Fail(Failure::TimedOut));
                State::Terminated
            }
            (State::Calling { .. } | State::Completed { .. }, Event::TransportError) => {
                out.push(Action::Fail(Failure::Transport));
                State::Terminated
            }
            (State::Accepted, Event::Success(response)) => {
                out.push(Action::Deliver(response));
                State::Accepted
            }
            (State::Accepted, Event::Timer(Timer::M)) => State::Terminated,
            (State::Completed { ack }, Event::Failure(_)) => {
                out.push(Action::Send(ack.clone()));
                State::Completed { ack }
            }
            (State::Completed { .. }, Event::Timer(Timer::D)) => State::Terminated,
            // The rest is not in the figure: late provisionals, a second CANCEL, timers stopped a moment too late.
            (state @ (State::Calling { .. } | State::Proceeding { .. }), Event::Timer(_)) => state,
            (state @ State::Proceeding { .. }, Event::Cancel | Event::TransportError) => state,
            (
                State::Accepted,
                Event::Provisional(_)
                | Event::Failure(_)
                | Event::Cancel
                | Event::Timer(_)
                | Event::TransportError,
            ) => State::Accepted,
            (
                state @ State::Completed { .. },
                Event::Provisional(_) | Event::Success(_) | Event::Cancel | Event::Timer(_),
            ) => state,
            (State::Terminated, _) => State::Terminated,
        };
    }

    /// RFC 3261 17.1.1.3: the ACK to a failure has the INVITE's Request-URI, Via and Route and the response's To.
    fn ack(&self, response: &Response) -> Request {
        let mut ack = self.derived(Method::Ack);
        if let Some(to) = response.headers.get(&HeaderName::To) {
            ack.headers.push(HeaderName::To, to);
        }
        ack
    }

    /// Returns what ACK and CANCEL have in common: everything but To.
    fn derived(&self, method: Method) -> Request {
        let from = &self.request.headers;
        let mut headers = Headers::new();
        let mut copy = |name: &HeaderName| {
            if let Some(value) = from.get(name) {
                headers.push(name.clone(), value);
            }
        };
        copy(&HeaderName::Via);
        copy(&HeaderName::From);
        copy(&HeaderName::CallId);
        for route in from.all(&HeaderName::Route) {
            headers.push(HeaderName::Route, route);
        }
        if let Some(cseq) = from.cseq() {
            headers.push(
                HeaderName::CSeq,
                CSeq {
                    number: cseq.number,
                    method: method.clone(),
                },
            );
        }
        headers.push(HeaderName::MaxForwards, 70);
        Request {
            method,
            uri: self.request.uri.clone(),
            headers,
            body: Bytes::new(),
        }
    }
}

/// RFC 3261 9.1: after a CANCEL the final response has 64*T1 to come.
fn start_cancel(times: &Times, out: &mut Vec<Action>) {
    out.push(Action::Cancel);
    out.push(Action::Set(Timer::B, Timer::B.first(times)));
}

fn stop_waiting(out: &mut Vec<Action>) {
    out.push(Action::Stop(Timer::A));
    out.push(Action::Stop(Timer::B));
}

#[cfg(test)]
mod tests;
