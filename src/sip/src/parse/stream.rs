//! Cuts the octets of a connection into messages (RFC 3261 7.5, 18.3, 20.14; RFC 5626 3.5.1).
//!
//! ```text
//!   Between --octet--> Head --blank line--> Body --its length--> Between
//!     |                  |
//!     |                  +-- a body without a length --+
//!     +-- no start line, behind a message -------------+--> Skip --start line--> Head
//!   Any --not SIP from the start, a length that lies, too long, too slow--> Closed
//! ```
//!
//! What comes out is what would have come in one datagram, to be read by [`crate::parse()`]. Where the next message begins
//! hangs on Content-Length alone; two of them, or one that is no number, end the connection, so that nobody can hide a
//! request in another one's body. Peers that count their body short lose the rest of it, and not the connection. Deliberately absent: the idle time of a connection, which is its owner's business.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use super::frame::{Frame, Length, looks_like_sip};
use super::{Fault, Limits, Parsed, reject};
use crate::message::scan;

/// The most octets of start line and headers that are waited for; above [`Limits::head`] they are only refused.
const MAX_HEAD: usize = 64 * 1024;
/// How long a message may take from its first octet to its last: 64*T1, as long as a request would wait for its answer.
const PATIENCE: Duration = Duration::from_secs(32);
/// RFC 5626 3.5.1: a ping; a pong is half of it.
const PING: &[u8; 4] = b"\r\n\r\n";

/// What the owner of a connection tells its framer.
#[derive(Debug, Clone, Copy)]
pub enum StreamInput<'a> {
    /// Octets arrived, as many as there were.
    Octets(&'a [u8]),
    /// The time of the last [`StreamOutput::Timeout`] has come.
    Timeout,
}

/// What a framer wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamOutput {
    /// One whole message, for [`crate::parse()`].
    Message(Bytes),
    /// A message that was refused before its end: [`Parsed::Reject`] or [`Parsed::Drop`].
    Refused(Parsed),
    /// Answer a ping: send one CRLF.
    Pong,
    /// Send what is to be sent, then close; the reason, one of a closed list. Nothing comes after it.
    Close(&'static str),
    /// Nothing more before this time, or before the next octets.
    Timeout(Option<Instant>),
}

/// The receiving side of one connection. Hand in a [`StreamInput`], then take [`StreamFramer::poll_output`] until it gives
/// [`StreamOutput::Timeout`]. Never holds more than one message and what came with its last octets.
#[derive(Debug)]
pub struct StreamFramer {
    limits: Limits,
    buffer: BytesMut,
    state: State,
    /// A message was read: what speaks is SIP.
    spoken: bool,
    deadline: Option<Instant>,
    outputs: VecDeque<StreamOutput>,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// Line ends at most; `ping` octets of a ping were seen.
    Between { ping: usize },
    /// The first `searched` octets hold no blank line; `is_sip` once the start line was looked at.
    Head { searched: usize, is_sip: bool },
    /// A message of `total` octets.
    Body { total: usize },
    /// The rest of a body whose end nobody knows; `passed` octets of it are gone.
    Skip { searched: usize, passed: usize },
    /// Nothing is read any more.
    Closed,
}

impl StreamFramer {
    /// Starts at the beginning of a connection.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            buffer: BytesMut::new(),
            state: State::Between { ping: 0 },
            spoken: false,
            deadline: None,
            outputs: VecDeque::new(),
        }
    }

    /// Takes one input.
    pub fn handle_input(&mut self, now: Instant, input: StreamInput<'_>) {
        match input {
            StreamInput::Octets(octets) => {
                if !self.is_closed() {
                    self.buffer.extend_from_slice(octets);
                    self.read(now);
                }
            }
            StreamInput::Timeout => {
                if self.deadline.is_some_and(|deadline| deadline <= now) {
                    self.close("message takes too long");
                }
            }
        }
    }

    /// Returns the next effect; [`StreamOutput::Timeout`] when there is no other.
    pub fn poll_output(&mut self) -> StreamOutput {
        self.outputs
            .pop_front()
            .unwrap_or(StreamOutput::Timeout(self.deadline))
    }

    /// Returns whether a message has begun and not ended.
    pub fn is_amid(&self) -> bool {
        matches!(self.state, State::Head { .. } | State::Body { .. })
    }

    fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    fn read(&mut self, now: Instant) {
        while let Some(next) = self.step(now) {
            self.state = next;
        }
        if !self.is_amid() {
            self.deadline = None;
        }
    }

    /// Goes one step; `None` when it takes more octets.
    fn step(&mut self, now: Instant) -> Option<State> {
        match self.state {
            State::Between { ping } => self.between(now, ping),
            State::Head { searched, is_sip } => self.head(searched, is_sip),
            State::Body { total } => self.body(total),
            State::Skip { searched, passed } => self.skip(now, searched, passed),
            State::Closed => None,
        }
    }

    /// RFC 3261 7.5: line ends before a message are ignored; two in a row are a ping.
    fn between(&mut self, now: Instant, mut ping: usize) -> Option<State> {
        let blanks = self.buffer.iter().take_while(|c| is_blank(**c)).count();
        for c in self.buffer.split_to(blanks) {
            ping = match PING.get(ping) {
                Some(wanted) if *wanted == c => ping + 1,
                Some(_) | None => usize::from(c == b'\r'),
            };
            if ping == PING.len() {
                self.outputs.push_back(StreamOutput::Pong);
                ping = 0;
            }
        }
        match self.buffer.first() {
            None => {
                self.state = State::Between { ping };
                None
            }
            Some(c) if scan::is_token_byte(*c) => Some(self.begin(now)),
            Some(_) => Some(self.astray()),
        }
    }

    fn begin(&mut self, now: Instant) -> State {
        self.deadline = Some(now + PATIENCE);
        State::Head {
            searched: 0,
            is_sip: false,
        }
    }

    fn head(&mut self, searched: usize, mut is_sip: bool) -> Option<State> {
        let mut from = searched;
        let end = loop {
            let Some(line_end) = self.line_end(from) else {
                from = self.buffer.len();
                break None;
            };
            if !is_sip {
                // Too long is too long, whether its end is here already or not.
                if line_end > self.limits.line {
                    return Some(self.close(super::limits::START_LINE));
                }
                is_sip = self.buffer.get(..line_end).is_some_and(opens_message);
                if !is_sip {
                    return Some(self.astray());
                }
            }
            match self.buffer.get(line_end + 1..).unwrap_or_default() {
                [b'\n', ..] => break Some(line_end + 2),
                [b'\r', b'\n', ..] => break Some(line_end + 3),
                // What follows decides whether the header part ends here.
                [] | [b'\r'] => {
                    from = line_end;
                    break None;
                }
                _ => from = line_end + 1,
            }
        };
        if end.unwrap_or(self.buffer.len()) > MAX_HEAD {
            let head = self.buffer.split_to(MAX_HEAD);
            self.refuse(&head, Fault::TooLarge(super::limits::HEAD));
            return Some(self.close(super::limits::HEAD));
        }
        if !is_sip && self.buffer.len() > self.limits.line {
            return Some(self.close(super::limits::START_LINE));
        }
        let Some(end) = end else {
            self.state = State::Head {
                searched: from,
                is_sip,
            };
            return None;
        };
        Some(self.measure(end))
    }

    /// RFC 3261 18.3: how much of what follows belongs to the message.
    fn measure(&mut self, end: usize) -> State {
        let length = Length::of(self.buffer.get(..end).unwrap_or_default());
        let fault = match length {
            Length::Octets(octets) => match usize::try_from(octets) {
                Ok(octets) if octets <= self.limits.body => {
                    return State::Body {
                        total: end + octets,
                    };
                }
                Ok(_) | Err(_) => Fault::BodyTooLarge,
            },
            Length::Missing { typed: false } => return State::Body { total: end },
            // RFC 3261 20.14: the length must be there. A peer of RFC 2543 is told so; its next message is looked for.
            Length::Missing { typed: true } => {
                let head = self.buffer.split_to(end);
                self.refuse(&head, Fault::Bad("missing Content-Length"));
                return State::Skip {
                    searched: 0,
                    passed: 0,
                };
            }
            Length::Wrong(fault) => fault,
        };
        let head = self.buffer.split_to(end);
        self.refuse(&head, fault);
        self.close(fault.why())
    }

    fn body(&mut self, total: usize) -> Option<State> {
        if self.buffer.len() < total {
            return None;
        }
        let message = self.buffer.split_to(total).freeze();
        self.outputs.push_back(StreamOutput::Message(message));
        self.spoken = true;
        Some(State::Between { ping: 0 })
    }

    /// What stands where a message should begin is none.
    fn astray(&mut self) -> State {
        if !self.spoken {
            return self.close("not SIP");
        }
        State::Skip {
            searched: 0,
            passed: 0,
        }
    }

    /// Passes over lines until one that opens a message.
    fn skip(&mut self, now: Instant, searched: usize, passed: usize) -> Option<State> {
        let Some(line_end) = self.line_end(searched) else {
            let searched = self.buffer.len();
            if searched > self.limits.line {
                return Some(self.close("line too long"));
            }
            self.state = State::Skip { searched, passed };
            return None;
        };
        if line_end > self.limits.line {
            return Some(self.close("line too long"));
        }
        let line = self.buffer.get(..line_end).unwrap_or_default();
        if opens_message(line) {
            return Some(self.begin(now));
        }
        let passed = passed + line_end + 1;
        if passed > self.limits.body {
            return Some(self.close(super::limits::BODY));
        }
        drop(self.buffer.split_to(line_end + 1));
        Some(State::Skip {
            searched: 0,
            passed,
        })
    }

    /// Returns the offset of the first LF from here on.
    fn line_end(&self, from: usize) -> Option<usize> {
        let rest = self.buffer.get(from..)?;
        rest.iter().position(|c| *c == b'\n').map(|at| from + at)
    }

    fn refuse(&mut self, head: &[u8], fault: Fault) {
        if let Some(frame) = Frame::read(head, &self.limits) {
            let refused = reject::reject(&frame, fault);
            self.outputs.push_back(StreamOutput::Refused(refused));
        }
    }

    fn close(&mut self, why: &'static str) -> State {
        self.buffer = BytesMut::new();
        self.deadline = None;
        self.state = State::Closed;
        self.outputs.push_back(StreamOutput::Close(why));
        State::Closed
    }
}

/// Whether the line can be a start line: the version in its place and a word of a token before the first blank.
fn opens_message(line: &[u8]) -> bool {
    let word = line.split(|c| *c == b' ').next().unwrap_or_default();
    let is_token = !word.is_empty() && word.iter().all(|c| scan::is_token_byte(*c));
    looks_like_sip(line) && (is_token || word.starts_with(b"SIP/"))
}

/// Line ends, and the NUL that some send to keep a way through a NAT open.
fn is_blank(c: u8) -> bool {
    matches!(c, b'\r' | b'\n' | 0)
}

#[cfg(test)]
mod tests;
