//! Registration, the client's side: one account of ours at a registrar (RFC 3261 10.2).
//!
//! ```text
//!          start               2xx                    80 % of the time granted
//!   Idle ---------> Registering -----> Registered ---------------------------> Registering
//!    ^                |    ^               |
//!    |        refused |    | the time      | stop
//!    |                v    | has come      v
//!    |              Backoff ------>   Unregistering
//!    +-----------------------------------------+ answered, or not
//! ```
//!
//! A challenge, and 423 with a longer time, are answered at once inside `Registering`. Who is registered over a connection registers anew
//! when that has ended (RFC 5626 4.5). Deliberately absent: Path and GRUU.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use model::Secret;
use rand::rngs::SmallRng;
use rand::{Rng as _, RngCore as _, SeedableRng as _};

use super::binding::same_address;
use crate::Hop;
use crate::call::DialogId;
use crate::digest::{Answerer, NoAnswer, Rounds};
use crate::message::{
    CSeq, HeaderName, Method, NameAddr, Request, Response, Uri, delta_seconds, reason_phrase,
};
use crate::transaction::Failure;

/// What we ask for, until the registrar wants more.
const EXPIRES: Duration = Duration::from_secs(600);
/// The most a registrar may make us ask for.
const MAX_EXPIRES: Duration = Duration::from_secs(86_400);
/// The least a grant is taken for: a registrar that grants less would be asked without end.
const MIN_GRANT: Duration = Duration::from_secs(10);
/// Waits between failed tries, the last one for all that follow; varied by a tenth either way.
const BACKOFF: [u64; 5] = [30, 60, 120, 240, 300];
/// Longer than any transaction: whoever carries our requests may have lost one.
const PATIENCE: Duration = Duration::from_secs(40);
/// How long one of several places may be silent (RFC 3263 leaves it open; 64*T1 is longer than anybody waits).
const NEXT_PLACE: Duration = Duration::from_secs(4);
/// A connection that ends sooner after a registration is made anew only then: some registrars end each one.
const LEAST_CONNECTED: Duration = Duration::from_secs(10);
/// The longest Retry-After that is obeyed.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3_600);

/// The account.
#[derive(Debug, Clone)]
pub struct OutboundConfig {
    /// The registrar: `sip:` and its domain.
    pub registrar: Uri,
    /// Where packets go.
    pub places: Places,
    /// The address of record.
    pub aor: Uri,
    /// The user name of the credentials.
    pub username: String,
    /// Its password.
    pub password: Secret<String>,
    /// The value of User-Agent.
    pub agent: Option<String>,
}

/// A place where a registrar may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Where packets go.
    pub send_to: Hop,
    /// Where we want to be called from there.
    pub contact: Uri,
}

/// The places where a registrar may be, to be tried in this order (RFC 3263 4.2, 4.3): the next one when one does not answer, cannot
/// be reached or says 503.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    first: Place,
    others: Vec<Place>,
    at: usize,
}

impl Places {
    /// One place at least.
    pub fn new(first: Place, others: Vec<Place>) -> Self {
        Self {
            first,
            others,
            at: 0,
        }
    }

    /// The one in use.
    pub fn current(&self) -> &Place {
        let other = self.at.checked_sub(1).and_then(|n| self.others.get(n));
        other.unwrap_or(&self.first)
    }

    /// The others, in the order to be tried.
    pub fn spare(&self) -> impl Iterator<Item = &Place> {
        let current = self.current();
        let all = [&self.first].into_iter().chain(&self.others);
        all.filter(move |place| *place != current)
    }

    fn has_next(&self) -> bool {
        self.at < self.others.len()
    }

    fn go_on(&mut self) -> bool {
        let can = self.has_next();
        self.at += usize::from(can);
        can
    }
}

/// What a registration is told.
#[derive(Debug)]
pub enum OutboundInput {
    /// Register, and stay registered.
    Start,
    /// Unregister.
    Stop,
    /// A response to the REGISTER under way.
    Response(Response),
    /// The REGISTER under way ended without a response; that of one which was given up for another place is not told.
    Failed(Failure),
    /// The connection to the registrar has ended. It may be the only way on which calls come (RFC 5626 4.5): register over a new one.
    Disconnected,
    /// The time of [`OutboundOutput::Timeout`] has come.
    Timeout,
}

/// What a registration wants.
#[derive(Debug, PartialEq, Eq)]
pub enum OutboundOutput {
    /// Send a REGISTER in a client transaction.
    Send {
        /// Where to.
        target: Hop,
        /// The request, without Via.
        request: Request,
    },
    /// Something the owner should know.
    Event(OutboundEvent),
    /// Nothing more to do before this time, or before the next input.
    Timeout(Option<Instant>),
}

/// What the owner of a registration should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutboundEvent {
    /// Registered, for so long unless refreshed.
    Registered {
        /// The time granted.
        expires: Duration,
    },
    /// Not registered; the next try comes by itself.
    Failed {
        /// Why.
        why: OutboundError,
        /// When it is tried again.
        retry_in: Duration,
    },
    /// Unregistered, or as good as.
    Unregistered,
}

/// Why a registration failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutboundError {
    /// The registrar refused.
    #[error("{code} {phrase}")]
    Refused {
        /// The status code.
        code: u16,
        /// Its phrase.
        phrase: String,
    },
    /// The challenge was not answered, or the answer not accepted.
    #[error(transparent)]
    NoAnswer(#[from] NoAnswer),
    /// No response came.
    #[error("no response from the registrar")]
    TimedOut,
    /// The network does not reach the registrar.
    #[error("the registrar cannot be reached")]
    Unreachable,
}

/// What ties the REGISTERs of an account together, and how far they have come (RFC 3261 10.2): whoever goes on with the registrations of
/// another begins with this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Series {
    call_id: String,
    tag: String,
    /// Of the last request.
    cseq: u32,
}

/// One account of ours at a registrar.
#[derive(Debug)]
pub struct Outbound {
    config: OutboundConfig,
    answerer: Answerer,
    state: State,
    series: Series,
    /// What we ask for.
    expires: Duration,
    /// Until when the registrar has us, whatever becomes of the refresh under way.
    bound_until: Option<Instant>,
    /// Failed tries in a row.
    failures: usize,
    outputs: VecDeque<OutboundOutput>,
    rng: SmallRng,
}

#[derive(Debug)]
enum State {
    Idle,
    Registering {
        rounds: Rounds,
        was_brief: bool,
        until: Instant,
    },
    Registered {
        since: Instant,
        refresh_at: Instant,
    },
    Backoff {
        until: Instant,
    },
    Unregistering {
        rounds: Rounds,
        until: Instant,
    },
}

impl Outbound {
    /// An account that is not registered yet; the seed must be unpredictable to strangers.
    pub fn new(config: OutboundConfig, seed: u64) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut word = || format!("{:016x}", rng.next_u64());
        let (call_id, tag) = (word() + &word(), word());
        let answerer = Answerer::new(&config.username, config.password.clone(), None);
        Self {
            answerer,
            config,
            state: State::Idle,
            series: Series {
                call_id,
                tag,
                cseq: 0,
            },
            expires: EXPIRES,
            bound_until: None,
            failures: 0,
            outputs: VecDeque::new(),
            rng,
        }
    }

    /// Goes on with the series of another, which sends nothing any more. Before the first input.
    pub fn in_series(mut self, series: Series) -> Self {
        self.series = series;
        self
    }

    /// The address of record.
    pub fn aor(&self) -> &Uri {
        &self.config.aor
    }

    /// The series so far.
    pub fn series(&self) -> &Series {
        &self.series
    }

    /// What responses to its requests are matched by.
    pub fn id(&self) -> DialogId {
        DialogId {
            call_id: self.series.call_id.clone(),
            local_tag: self.series.tag.clone(),
        }
    }

    /// Until when the registrar has us; `None` when it does not. A refresh under way, or one that nobody answers, does not change
    /// it, a refusal does.
    pub fn registered_until(&self) -> Option<Instant> {
        self.bound_until
    }

    /// Sends to other places from the next request on: the registrar has moved.
    pub fn move_to(&mut self, places: Places) {
        self.config.places = places;
    }

    /// Where the registrar is.
    pub fn places(&self) -> &Places {
        &self.config.places
    }

    /// Takes one input.
    pub fn handle_input(&mut self, now: Instant, input: OutboundInput) {
        let state = std::mem::replace(&mut self.state, State::Idle);
        self.state = match (state, input) {
            (
                State::Idle | State::Backoff { .. } | State::Registered { .. },
                OutboundInput::Start,
            ) => self.register(now),
            (State::Backoff { until }, OutboundInput::Timeout) if until <= now => {
                self.register(now)
            }
            (State::Registered { refresh_at, .. }, OutboundInput::Timeout) if refresh_at <= now => {
                self.register(now)
            }
            (State::Registered { since, refresh_at }, OutboundInput::Disconnected) => {
                let soon = now.max(since + LEAST_CONNECTED);
                State::Registered {
                    since,
                    refresh_at: refresh_at.min(soon),
                }
            }
            (State::Registering { .. } | State::Registered { .. }, OutboundInput::Stop) => {
                self.send(Duration::ZERO);
                State::Unregistering {
                    rounds: Rounds::default(),
                    until: now + PATIENCE,
                }
            }
            (State::Backoff { .. }, OutboundInput::Stop) => self.gone(),
            (
                State::Registering {
                    rounds, was_brief, ..
                },
                OutboundInput::Response(response),
            ) if self.is_ours(&response) => {
                self.registering_response(now, rounds, was_brief, &response)
            }
            (State::Registering { .. }, OutboundInput::Failed(why)) => {
                let why = match why {
                    Failure::TimedOut => OutboundError::TimedOut,
                    Failure::Transport | Failure::Overload | Failure::HeldBack => {
                        OutboundError::Unreachable
                    }
                };
                self.elsewhere(now)
                    .unwrap_or_else(|| self.failed(now, why, None))
            }
            (State::Registering { until, .. }, OutboundInput::Timeout) if until <= now => self
                .elsewhere(now)
                .unwrap_or_else(|| self.failed(now, OutboundError::TimedOut, None)),
            (State::Unregistering { rounds, until }, OutboundInput::Response(response))
                if self.is_ours(&response) =>
            {
                self.unregistering_response(rounds, until, &response)
            }
            (State::Unregistering { .. }, OutboundInput::Failed(_)) => self.gone(),
            (State::Unregistering { until, .. }, OutboundInput::Timeout) if until <= now => {
                self.gone()
            }
            // Too early, too late, or not for us.
            (
                state @ (State::Idle
                | State::Registering { .. }
                | State::Registered { .. }
                | State::Backoff { .. }
                | State::Unregistering { .. }),
                _,
            ) => state,
        };
    }

    /// Returns the next output; [`OutboundOutput::Timeout`] when there is none left.
    pub fn poll_output(&mut self) -> OutboundOutput {
        self.outputs.pop_front().unwrap_or_else(|| {
            OutboundOutput::Timeout(match self.state {
                State::Registered { refresh_at, .. } => Some(refresh_at),
                State::Backoff { until }
                | State::Registering { until, .. }
                | State::Unregistering { until, .. } => Some(until),
                State::Idle => None,
            })
        })
    }

    fn register(&mut self, now: Instant) -> State {
        self.send(self.expires);
        self.registering(now, Rounds::default(), false)
    }

    fn registering(&self, now: Instant, rounds: Rounds, was_brief: bool) -> State {
        let patience = if self.config.places.has_next() {
            NEXT_PLACE
        } else {
            PATIENCE
        };
        State::Registering {
            rounds,
            was_brief,
            until: now + patience,
        }
    }

    /// Registers at the next place, if there is one.
    fn elsewhere(&mut self, now: Instant) -> Option<State> {
        self.config.places.go_on().then(|| self.register(now))
    }

    fn registering_response(
        &mut self,
        now: Instant,
        mut rounds: Rounds,
        was_brief: bool,
        response: &Response,
    ) -> State {
        match response.status {
            ..200 => self.registering(now, rounds, was_brief),
            200..300 => {
                self.answerer.accepted();
                self.failures = 0;
                let expires = self.granted(response);
                self.bound_until = Some(now + expires);
                self.event(OutboundEvent::Registered { expires });
                State::Registered {
                    since: now,
                    refresh_at: now + expires * 4 / 5,
                }
            }
            401 | 407 => match self.answer(&mut rounds, response, self.expires) {
                Ok(()) => self.registering(now, rounds, was_brief),
                Err(why) => self.failed(now, why.into(), None),
            },
            423 if !was_brief => match min_expires(response) {
                Some(expires) if expires >= self.expires && expires <= MAX_EXPIRES => {
                    self.expires = expires;
                    self.send(expires);
                    self.registering(now, Rounds::default(), true)
                }
                Some(_) | None => self.refused(now, response),
            },
            503 => self
                .elsewhere(now)
                .unwrap_or_else(|| self.refused(now, response)),
            _ => self.refused(now, response),
        }
    }

    fn unregistering_response(
        &mut self,
        mut rounds: Rounds,
        until: Instant,
        response: &Response,
    ) -> State {
        match response.status {
            ..200 => State::Unregistering { rounds, until },
            401 | 407 if self.answer(&mut rounds, response, Duration::ZERO).is_ok() => {
                State::Unregistering { rounds, until }
            }
            _ => self.gone(),
        }
    }

    fn answer(
        &mut self,
        rounds: &mut Rounds,
        response: &Response,
        expires: Duration,
    ) -> Result<(), NoAnswer> {
        let cnonce = format!("{:016x}", self.rng.next_u64());
        let registrar = self.config.registrar.clone();
        let credentials =
            self.answerer
                .answer(rounds, response, &Method::Register, &registrar, &cnonce)?;
        self.send_with(expires, Some(credentials));
        Ok(())
    }

    fn refused(&mut self, now: Instant, response: &Response) -> State {
        let phrase = match response.reason.trim() {
            "" => reason_phrase(response.status),
            phrase => phrase,
        };
        let why = OutboundError::Refused {
            code: response.status,
            phrase: phrase.to_owned(),
        };
        let retry_after = response
            .headers
            .get(&HeaderName::RetryAfter)
            .and_then(|value| delta_seconds(value.split(['(', ';', ' ']).next()?))
            .map(|seconds| Duration::from_secs(seconds.into()).min(MAX_RETRY_AFTER));
        self.failed(now, why, retry_after)
    }

    fn failed(&mut self, now: Instant, why: OutboundError, at_least: Option<Duration>) -> State {
        match why {
            OutboundError::TimedOut | OutboundError::Unreachable => {
                self.bound_until = self.bound_until.filter(|until| *until > now);
            }
            OutboundError::Refused { .. } | OutboundError::NoAnswer(_) => self.bound_until = None,
        }
        self.config.places.at = 0;
        let step = BACKOFF.get(self.failures).or(BACKOFF.last());
        self.failures = self.failures.saturating_add(1);
        let wait = Duration::from_secs(step.copied().unwrap_or(300));
        // Many switches must not come back all at once when a registrar does.
        let wait = wait.mul_f64(self.rng.random_range(0.9..1.1));
        let retry_in = wait.max(at_least.unwrap_or_default());
        self.event(OutboundEvent::Failed { why, retry_in });
        State::Backoff {
            until: now + retry_in,
        }
    }

    fn gone(&mut self) -> State {
        self.bound_until = None;
        self.event(OutboundEvent::Unregistered);
        State::Idle
    }

    fn event(&mut self, event: OutboundEvent) {
        self.outputs.push_back(OutboundOutput::Event(event));
    }

    /// Whether the response is to our last REGISTER.
    fn is_ours(&self, response: &Response) -> bool {
        response
            .headers
            .cseq()
            .is_some_and(|cseq| cseq.number == self.series.cseq && cseq.method == Method::Register)
    }

    /// The time of our contact, else of the response, else of the one contact there is: then that is ours, as the registrar sees it. Else
    /// what we asked for (RFC 3261 10.2.4).
    fn granted(&self, response: &Response) -> Duration {
        let headers = &response.headers;
        let contacts = headers.contacts();
        let mut all = contacts.iter();
        let ours =
            all.find(|contact| same_address(&contact.uri, &self.config.places.current().contact));
        let only = contacts.first().filter(|_| contacts.len() == 1);
        let time = |contact: &NameAddr| delta_seconds(contact.params.get("expires")?);
        let seconds = ours
            .and_then(time)
            .or_else(|| headers.expires())
            .or_else(|| only.and_then(time));
        let granted = seconds.map_or(self.expires, |seconds| Duration::from_secs(seconds.into()));
        granted.clamp(MIN_GRANT, MAX_EXPIRES)
    }

    /// Sends a REGISTER, with credentials by the last challenge if there was one.
    fn send(&mut self, expires: Duration) {
        let cnonce = format!("{:016x}", self.rng.next_u64());
        let registrar = self.config.registrar.clone();
        let credentials = self
            .answerer
            .credentials(&Method::Register, &registrar, &cnonce);
        self.send_with(expires, credentials);
    }

    fn send_with(&mut self, expires: Duration, credentials: Option<(HeaderName, String)>) {
        self.series.cseq += 1;
        let config = &self.config;
        let place = config.places.current();
        let mut request = Request::new(Method::Register, config.registrar.clone());
        let headers = &mut request.headers;
        let aor = NameAddr::new(config.aor.clone());
        headers.push(HeaderName::MaxForwards, 70);
        headers.push(HeaderName::From, aor.clone().with_tag(&self.series.tag));
        headers.push(HeaderName::To, aor);
        headers.push(HeaderName::CallId, &self.series.call_id);
        headers.push(
            HeaderName::CSeq,
            CSeq {
                number: self.series.cseq,
                method: Method::Register,
            },
        );
        headers.push(HeaderName::Contact, format!("<{}>", place.contact));
        headers.push(HeaderName::Expires, expires.as_secs());
        if let Some((name, value)) = credentials {
            headers.push(name, value);
        }
        if let Some(agent) = &config.agent {
            headers.push(HeaderName::UserAgent, agent);
        }
        self.outputs.push_back(OutboundOutput::Send {
            target: place.send_to,
            request,
        });
    }
}

fn min_expires(response: &Response) -> Option<Duration> {
    let seconds = delta_seconds(response.headers.get(&HeaderName::MinExpires)?.trim())?;
    Some(Duration::from_secs(seconds.into()))
}

#[cfg(test)]
mod tests;
