//! Overload control between neighbours (RFC 7339, the loss algorithm): four parameters of the Via.
//!
//! ```text
//! client                                                     server
//!   | INVITE   Via: …;oc;oc-algo="loss"                         |   the offer: a value is what the server puts there
//!   |---------------------------------------------------------->|
//!   | any response   Via: …;oc=20;oc-algo="loss";oc-validity=500;oc-seq=1764358800.123
//!   |<----------------------------------------------------------|
//!   | for 500 ms one new call of five is not sent               |
//! ```
//!
//! `Restraints` is the client's memory of what its servers have asked for, [`Load`] what we ask of ours. Only calls that would begin are held
//! back; what belongs to one that is there has to be served (RFC 7339 5.10.1), and costs nobody much. The rate algorithm (RFC 7415) is
//! neither offered nor chosen.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::{Duration, Instant};

use crate::Hop;
use crate::message::{HeaderName, Headers, Request, Response, Via};
use crate::shed;

/// The parameters, and the algorithm that everybody knows (RFC 7339 4).
const OC: &str = "oc";
const ALGO: &str = "oc-algo";
const VALIDITY: &str = "oc-validity";
const SEQ: &str = "oc-seq";
const LOSS: &str = "loss";
const QUOTED_LOSS: &str = "\"loss\"";
/// How long a report holds that does not say it (RFC 7339 4.3), which is also what ours say.
pub const USUAL_VALIDITY: Duration = Duration::from_millis(500);
/// The longest validity that is obeyed: whoever has more to say will say it again.
const MOST_VALIDITY: Duration = Duration::from_secs(60);
/// How long the number of the last report is remembered: a response that was overtaken cannot come later (64 T1).
const REMEMBERED: Duration = Duration::from_secs(32);
/// Servers that are remembered at a time. More have never something to say at the same time.
const MOST_SERVERS: usize = 4_096;
/// INVITEs that are remembered for a server wants them again: they come at once.
const MOST_WANTED: usize = 256;
/// Of a hundred.
const ALL: u8 = 100;

/// The number of a report: `1*12DIGIT "." 1*5DIGIT`, by which an older one is known (RFC 7339 4.4). In steps of ten microseconds where it is a time, as
/// it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sequence(u64);

impl Sequence {
    /// So many of these steps are one.
    const STEPS: u64 = 100_000;
    /// Digits behind the point, and before it.
    const FRACTION: usize = 5;
    const WHOLE: usize = 12;

    /// Of a report at this time since 1970.
    pub fn at(time: Duration) -> Self {
        Self(time.as_secs() * Self::STEPS + u64::from(time.subsec_micros()) / 10)
    }
}

impl FromStr for Sequence {
    type Err = crate::ParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = |text: &str, most: usize| -> Result<u64, Self::Err> {
            let are_digits = text.bytes().all(|c| c.is_ascii_digit());
            let number = text.parse().ok();
            number
                .filter(|_| are_digits && text.len() <= most)
                .ok_or(crate::ParseError::Parameter)
        };
        let (whole, fraction) = text.split_once('.').ok_or(crate::ParseError::Parameter)?;
        let parts = digits(fraction, Self::FRACTION)?;
        let places = u32::try_from(Self::FRACTION - fraction.len()).unwrap_or(0);
        let whole = digits(whole, Self::WHOLE)?;
        Ok(Self(whole * Self::STEPS + parts * 10_u64.pow(places)))
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, parts) = (self.0 / Self::STEPS, self.0 % Self::STEPS);
        write!(f, "{whole}.{parts:05}")
    }
}

/// What a server reports in a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// Of a hundred requests so many are not to be sent.
    percent: u8,
    /// For how long; zero: the overload is over.
    validity: Duration,
    sequence: Option<Sequence>,
}

impl Report {
    /// Reads the Via of a response; nothing where there is no report, or one that is not of the loss algorithm, or that breaks the rules: who cannot
    /// be understood is not obeyed.
    pub fn of(via: &Via) -> Option<Self> {
        let params = &via.params;
        let percent = number(params.get(OC)?)?;
        let percent = u8::try_from(percent).ok().filter(|it| *it <= ALL)?;
        if params
            .get(ALGO)
            .is_some_and(|algo| !algo.eq_ignore_ascii_case(LOSS))
        {
            return None;
        }
        let validity = match params.get(VALIDITY) {
            None => USUAL_VALIDITY,
            Some(text) => Duration::from_millis(number(text)?),
        };
        let sequence = match params.get(SEQ) {
            None => None,
            Some(text) => Some(text.parse().ok()?),
        };
        Some(Self {
            percent,
            validity: validity.min(MOST_VALIDITY),
            sequence,
        })
    }
}

/// Whether a response asks its client for fewer calls. Then what else it says of when to come back is not for all calls (RFC 7339 5.10.2).
pub(crate) fn is_asked(response: &Response) -> bool {
    let report = response.headers.via().as_ref().and_then(Report::of);
    report.is_some_and(|it| it.percent > 0 && !it.validity.is_zero())
}

/// `1*DIGIT`, of a size that means something.
fn number(text: &str) -> Option<u64> {
    let are_digits = !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
    text.parse().ok().filter(|_| are_digits)
}

/// Puts the offer into the Via of a request of ours (RFC 7339 4.1, 4.2).
pub(crate) fn offer(via: &mut Via) {
    via.params.set(OC, None);
    via.params.set(ALGO, Some(QUOTED_LOSS));
}

/// Whether who sent this Via holds back what it is asked to: it has `oc` without a value, and the algorithm that we know, if it names any.
pub fn is_offered(via: &Via) -> bool {
    let algorithms = via.params.get(ALGO).unwrap_or(LOSS);
    let mut algorithms = algorithms.split(',');
    via.params.get(OC) == Some("") && algorithms.any(|algo| algo.trim().eq_ignore_ascii_case(LOSS))
}

/// What we ask of clients that offer to hold back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    percent: u8,
    sequence: Sequence,
}

impl Load {
    /// Of a hundred new calls so many are not to be sent, as of this time since 1970. 0: all may be.
    pub fn new(percent: u8, time: Duration) -> Self {
        Self {
            percent: percent.min(ALL),
            sequence: Sequence::at(time),
        }
    }

    /// Of a hundred new calls so many are not to be sent.
    pub fn percent(self) -> u8 {
        self.percent
    }

    /// Writes it into the topmost Via of a response, where that one's request had the offer. Who supports it says so always, also when there is nothing
    /// to ask for: an `oc` that came back without a value would mean that we do not (RFC 7339 4.1).
    pub fn write(self, response: &mut Response) {
        let offers = |value: &str| value.split(';').any(begins_with_oc);
        // Most peers know nothing of it, so their Via need not be taken apart.
        let via = response.headers.get(&HeaderName::Via);
        if !via.is_some_and(offers) {
            return;
        }
        let Some(mut via) = response.headers.via().filter(is_offered) else {
            return;
        };
        let validity = if self.percent == 0 {
            Duration::ZERO
        } else {
            USUAL_VALIDITY
        };
        let params = &mut via.params;
        params.set(OC, Some(&self.percent.to_string()));
        params.set(ALGO, Some(QUOTED_LOSS));
        params.set(VALIDITY, Some(&validity.as_millis().to_string()));
        params.set(SEQ, Some(&self.sequence.to_string()));
        response.headers.set_first(HeaderName::Via, via);
    }
}

/// Whether a parameter of a Via may be one of ours (RFC 3261 7.3.1: in any case, after any white space).
fn begins_with_oc(param: &str) -> bool {
    let name = param.trim_start().get(..OC.len());
    name.is_some_and(|name| name.eq_ignore_ascii_case(OC))
}

/// What one server has asked for last.
#[derive(Debug, Clone, Copy)]
struct Restraint {
    percent: u8,
    until: Instant,
    sequence: Option<Sequence>,
    heard: Instant,
}

/// What servers have asked for.
#[derive(Debug, Default)]
pub(crate) struct Restraints {
    /// By address, whatever the transport: what is too long for a datagram goes by TCP to the same server.
    servers: HashMap<SocketAddr, Restraint>,
    /// The calls whose INVITE servers have answered so that it is sent again, changed.
    wanted: VecDeque<(SocketAddr, u64)>,
}

impl Restraints {
    /// Takes note of what came from there. What is older than what is known is not believed (RFC 7339 4.4).
    pub(crate) fn heard(&mut self, now: Instant, server: Hop, report: Report) {
        let server = server.address;
        let before = self.servers.get(&server);
        let is_known = before.filter(|it| now.saturating_duration_since(it.heard) < REMEMBERED);
        let newest = is_known.and_then(|it| it.sequence);
        if report.sequence.is_some() && report.sequence < newest {
            return;
        }
        if before.is_none() && report.percent == 0 && report.sequence.is_none() {
            return;
        }
        if before.is_none() && self.servers.len() >= MOST_SERVERS {
            self.servers.retain(|_, it| {
                it.until > now || now.saturating_duration_since(it.heard) < REMEMBERED
            });
            if self.servers.len() >= MOST_SERVERS {
                return;
            }
        }
        let restraint = Restraint {
            percent: report.percent,
            until: now + report.validity,
            sequence: report.sequence.or(newest),
            heard: now,
        };
        self.servers.insert(server, restraint);
    }

    /// The server wants the INVITE of this response again, changed (RFC 4028 7.3): that is not the first one of its call, and not held back.
    pub(crate) fn wants_again(&mut self, server: Hop, response: &Response) {
        if self.is_empty() {
            return;
        }
        if self.wanted.len() >= MOST_WANTED {
            self.wanted.pop_front();
        }
        let call = call_of(&response.headers);
        self.wanted.push_back((server.address, call));
    }

    /// Whether this request is not sent, for a server that has asked for it. `lot` is drawn from 0 to 99.
    pub(crate) fn holds_back(&self, now: Instant, server: Hop, request: &Request, lot: u8) -> bool {
        let asked = self
            .servers
            .get(&server.address)
            .filter(|it| now < it.until);
        asked.is_some_and(|it| lot < it.percent)
            && is_held_back(request)
            && !self
                .wanted
                .contains(&(server.address, call_of(&request.headers)))
    }

    /// Whether there is anybody who has asked for something.
    pub(crate) fn is_empty(&self) -> bool {
        self.servers.is_empty()
    }
}

/// What tells one call from another.
fn call_of(headers: &Headers) -> u64 {
    let mut hasher = DefaultHasher::new();
    headers.call_id().hash(&mut hasher);
    hasher.finish()
}

/// Only what begins a call; and not the answer to a challenge, whose first half would have been for nothing.
fn is_held_back(request: &Request) -> bool {
    let headers = &request.headers;
    shed::is_new_call(request)
        && !headers.has(&HeaderName::Authorization)
        && !headers.has(&HeaderName::ProxyAuthorization)
}

#[cfg(test)]
mod tests;
