//! The session timer (RFC 4028): a session that nobody refreshes is over.
//!
//! ```text
//!  Off --2xx with Session-Expires--> Running --half the interval, when it is our turn: UPDATE or re-INVITE--> Running
//!                                       `--interval less min(32 s, a third), nobody refreshed: BYE
//! ```

use std::time::{Duration, Instant};

use super::check::Fault;
use super::state::{Exchange, State};
use super::timer::Timer;
use super::{Call, CallOutput, EndCause, Party};
use crate::digest::Rounds;
use crate::message::{HeaderName, Headers, Method, Response, delta_seconds};

/// The option tag (RFC 4028 7.1).
pub(super) const TAG: &str = "timer";
/// The smallest interval anybody may ask for, in seconds (RFC 4028 4).
const LEAST: u32 = 90;
/// The longest one we take part in: a day.
const LONGEST: u32 = 86_400;
/// A refresh that cannot be made now is made after this.
const SOON: Duration = Duration::from_secs(2);
/// How often we repeat a request that was refused with 422.
const MAX_422: u8 = 3;

/// What we want of session timers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionTimes {
    /// The interval that we ask for, in seconds; 0: none, then only what a peer asks for is granted.
    pub expires: u32,
    /// The smallest interval that we accept, in seconds; at least 90.
    pub min: u32,
}

impl Default for SessionTimes {
    fn default() -> Self {
        Self {
            expires: 1_800,
            min: LEAST,
        }
    }
}

/// The session timer of a call.
#[derive(Debug)]
pub(super) struct Session {
    /// The interval to ask for.
    wanted: u32,
    /// The smallest interval we have heard of, ours included (RFC 4028 7.4).
    min: u32,
    /// Whether the peer takes UPDATE, by its last Allow.
    takes_update: bool,
    running: Option<Running>,
    /// Our UPDATE that waits for its final response.
    update: Option<Update>,
    /// How many 422 we have answered.
    refused: u8,
}

/// A session that expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Running {
    interval: u32,
    refresher: Party,
    until: Instant,
}

#[derive(Debug)]
struct Update {
    cseq: u32,
    rounds: Rounds,
}

impl Session {
    pub(super) fn new(times: SessionTimes) -> Self {
        let min = times.min.clamp(LEAST, LONGEST);
        let wanted = times.expires.min(LONGEST);
        Self {
            wanted: if wanted == 0 { 0 } else { wanted.max(min) },
            min,
            takes_update: false,
            running: None,
            update: None,
            refused: 0,
        }
    }

    /// RFC 4028 9: an interval below our smallest is refused, where the peer can know why.
    pub(super) fn check(&self, request: &Headers) -> Result<(), Fault> {
        let asked = session_expires(request);
        let is_small = asked.is_some_and(|asked| asked.interval < self.min);
        if is_small && request.supports(TAG) {
            let min = self.min.to_string();
            return Err(Fault::new(422).with(HeaderName::MinSe, &min));
        }
        Ok(())
    }

    fn expires_header(&self) -> Option<String> {
        match self.running {
            Some(Running {
                interval,
                refresher: Party::Local,
                ..
            }) => Some(format!("{interval};refresher=uac")),
            Some(Running {
                interval,
                refresher: Party::Remote,
                ..
            }) => Some(format!("{interval};refresher=uas")),
            None if self.wanted == 0 => None,
            None => Some(self.wanted.to_string()),
        }
    }
}

/// What a Session-Expires header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Asked {
    interval: u32,
    /// Whether the client of this request is to refresh; absent where it is left open.
    by_client: Option<bool>,
}

/// Reads Session-Expires (RFC 4028 4).
fn session_expires(headers: &Headers) -> Option<Asked> {
    let mut parts = headers.get(&HeaderName::SessionExpires)?.split(';');
    let interval = delta_seconds(parts.next()?)?;
    let refresher = parts.find_map(|part| {
        let (name, value) = part.split_once('=')?;
        let is_it = name.trim().eq_ignore_ascii_case("refresher");
        is_it.then(|| value.trim())
    });
    let by_client = match refresher {
        Some(value) if value.eq_ignore_ascii_case("uac") => Some(true),
        Some(value) if value.eq_ignore_ascii_case("uas") => Some(false),
        Some(_) | None => None,
    };
    Some(Asked {
        interval,
        by_client,
    })
}

fn min_se(headers: &Headers) -> Option<u32> {
    headers.get(&HeaderName::MinSe).and_then(delta_seconds)
}

impl Call {
    /// Puts into an INVITE or UPDATE what we want (RFC 4028 7.1, 7.4).
    pub(super) fn ask_session(&self, headers: &mut Headers) {
        if let Some(expires) = self.session.expires_header() {
            headers.push(HeaderName::SessionExpires, expires);
            headers.push(HeaderName::MinSe, self.session.min);
        }
    }

    /// Notes which methods the peer takes.
    pub(super) fn learn_allow(&mut self, headers: &Headers) {
        if headers.has(&HeaderName::Allow) {
            let mut allowed = headers.tokens(&HeaderName::Allow);
            self.session.takes_update = allowed.any(|method| method == "UPDATE");
        }
    }

    /// The server's part: puts into our 2xx what is granted, and starts the timer (RFC 4028 9).
    pub(super) fn grant_session(
        &mut self,
        now: Instant,
        request: &Headers,
        response: &mut Response,
    ) {
        self.learn_allow(request);
        let asked = session_expires(request);
        let can = request.supports(TAG);
        let least = min_se(request).unwrap_or(LEAST).max(self.session.min);
        self.session.min = least.min(LONGEST);
        let interval = match asked {
            Some(asked) => match self.session.wanted {
                0 => asked.interval,
                wanted => asked.interval.min(wanted),
            },
            // Who does not know the timer is not bound to it.
            None if !can => 0,
            None => self.session.wanted,
        };
        if interval == 0 {
            return self.stop_session();
        }
        let interval = interval.max(self.session.min).min(LONGEST);
        let ours = self
            .session
            .running
            .is_some_and(|running| running.refresher == Party::Local);
        let refresher = match asked.and_then(|asked| asked.by_client) {
            _ if !can => Party::Local,
            Some(true) => Party::Remote,
            Some(false) => Party::Local,
            // Whose turn it was, it stays (RFC 4028 7.4); first it is the caller's.
            None if ours => Party::Local,
            None => Party::Remote,
        };
        let headers = &mut response.headers;
        let by = match refresher {
            Party::Local => "uas",
            Party::Remote => "uac",
        };
        headers.push(
            HeaderName::SessionExpires,
            format!("{interval};refresher={by}"),
        );
        if refresher == Party::Remote {
            headers.push(HeaderName::Require, TAG);
        }
        self.start_session(now, interval, refresher);
    }

    /// The client's part: a 2xx says what was granted (RFC 4028 7.2).
    pub(super) fn session_granted(&mut self, now: Instant, response: &Response) {
        self.learn_allow(&response.headers);
        self.session.refused = 0;
        let Some(granted) = session_expires(&response.headers) else {
            return self.stop_session();
        };
        let refresher = match granted.by_client {
            Some(true) | None => Party::Local,
            Some(false) => Party::Remote,
        };
        let interval = granted.interval.clamp(LEAST, LONGEST);
        self.start_session(now, interval, refresher);
    }

    fn start_session(&mut self, now: Instant, interval: u32, refresher: Party) {
        let whole = Duration::from_secs(interval.into());
        // RFC 4028 10: the side that waits ends the session a little before it expires.
        let until = now + whole.saturating_sub((whole / 3).min(Duration::from_secs(32)));
        self.session.running = Some(Running {
            interval,
            refresher,
            until,
        });
        self.session.update = None;
        self.timers.set(Timer::SessionExpires, until);
        match refresher {
            Party::Local => self.timers.set(Timer::SessionRefresh, now + whole / 2),
            Party::Remote => self.timers.stop(Timer::SessionRefresh),
        }
    }

    fn stop_session(&mut self) {
        self.session.running = None;
        self.timers.stop(Timer::SessionExpires);
        self.timers.stop(Timer::SessionRefresh);
    }

    /// A longer interval after 422; false when there is none to be had (RFC 4028 7.3).
    pub(super) fn raise_session(&mut self, refusal: &Response) -> bool {
        let Some(min) = min_se(&refusal.headers) else {
            return false;
        };
        self.session.refused += 1;
        if min > LONGEST || self.session.refused > MAX_422 {
            return false;
        }
        self.session.min = self.session.min.max(min);
        self.session.wanted = self.session.wanted.max(self.session.min);
        if let Some(running) = &mut self.session.running {
            running.interval = running.interval.max(min);
        }
        true
    }

    /// It is our turn to refresh.
    pub(super) fn refresh_session(&mut self, now: Instant, s: Exchange) -> Exchange {
        if self.session.running.is_none() {
            return s;
        }
        match s {
            Exchange::Stable if self.session.takes_update => {
                self.send_update(Rounds::default(), None);
                Exchange::Stable
            }
            Exchange::Stable => match self.told.clone() {
                // RFC 4028 7.4: what has not changed is offered as it stands.
                Some(sdp) if self.retry.is_none() => self.reinvite(now, sdp),
                Some(_) | None => self.refresh_soon(now, Exchange::Stable),
            },
            s @ (Exchange::LocalOffer { .. }
            | Exchange::RemoteOffer { .. }
            | Exchange::Unacknowledged(_)) => self.refresh_soon(now, s),
        }
    }

    fn refresh_soon(&mut self, now: Instant, s: Exchange) -> Exchange {
        self.timers.set(Timer::SessionRefresh, now + SOON);
        s
    }

    /// A refresh failed for a reason that may pass: again after half of what is left.
    pub(super) fn refresh_later(&mut self, now: Instant) {
        if let Some(Running {
            refresher: Party::Local,
            until,
            ..
        }) = self.session.running
        {
            let left = until.saturating_duration_since(now);
            self.timers
                .set(Timer::SessionRefresh, now + (left / 2).max(SOON));
        }
    }

    /// An UPDATE without an offer (RFC 4028 7.4, RFC 3311 5.1).
    fn send_update(&mut self, rounds: Rounds, credentials: Option<(HeaderName, String)>) {
        let (target, mut request) = self.dialog.request(&self.local, Method::Update);
        let headers = &mut request.headers;
        headers.push(HeaderName::Contact, format!("<{}>", self.local.contact));
        headers.push(HeaderName::Allow, self.allow());
        headers.push(HeaderName::Supported, self.supported());
        self.ask_session(headers);
        if let Some((name, value)) = credentials {
            headers.push(name, value);
        }
        let cseq = self.dialog.local_cseq();
        self.session.update = Some(Update { cseq, rounds });
        self.push(CallOutput::Send { target, request });
    }

    /// Whether the response is to our UPDATE.
    pub(super) fn is_to_update(&self, response: &Response) -> bool {
        let cseq = response.headers.cseq();
        let update = self.session.update.as_ref();
        cseq.zip(update).is_some_and(|(cseq, update)| {
            cseq.method == Method::Update && cseq.number == update.cseq
        })
    }

    /// Our UPDATE, if there is one, gets no response any more.
    pub(super) fn update_lost(&mut self, now: Instant) {
        if self.session.update.take().is_some() {
            self.refresh_later(now);
        }
    }

    /// A final response to our UPDATE, other than 408 and 481, which end the call.
    pub(super) fn update_answered(
        &mut self,
        now: Instant,
        s: Exchange,
        response: &Response,
    ) -> State {
        let Some(Update { mut rounds, .. }) = self.session.update.take() else {
            return State::Established(s);
        };
        match response.status {
            200..300 => {
                self.dialog.refresh(response.headers.contacts());
                self.session_granted(now, response);
            }
            401 | 407 => {
                let (_, request) = self.dialog.clone().request(&self.local, Method::Update);
                let credentials =
                    self.answer_challenge(&mut rounds, response, &Method::Update, &request.uri);
                match credentials {
                    Some(credentials) => self.send_update(rounds, Some(credentials)),
                    None => self.refresh_later(now),
                }
            }
            422 if self.raise_session(response) => self.send_update(rounds, None),
            // It said that it can, but it cannot: so by re-INVITE.
            405 | 415 | 420 | 501 => {
                self.session.takes_update = false;
                return State::Established(self.refresh_session(now, s));
            }
            _ => self.refresh_later(now),
        }
        State::Established(s)
    }

    /// Nobody refreshed the session.
    pub(super) fn session_expired(&mut self, s: Exchange) -> State {
        let phrase = "Session expired";
        self.ended(Party::Local, EndCause::Expired, 408, phrase, None);
        self.leave(s, Some("SIP;cause=408;text=\"Session expired\"".to_owned()))
    }
}
