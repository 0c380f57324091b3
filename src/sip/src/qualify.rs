//! Whether a peer that never registers is there: OPTIONS now and then (RFC 3261 11).
//!
//! ```text
//!          three without an answer
//!    Up --------------------------> Down
//!     ^                              |
//!     +------------------------------+
//!                an answer
//! ```
//!
//! Any answer will do, also a refusal: who refuses is there. A peer is taken to be up until the contrary is shown.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{Rng as _, RngCore as _, SeedableRng as _};

use crate::Hop;
use crate::call::DialogId;
use crate::message::{CSeq, HeaderName, Method, NameAddr, Request, Response, Uri};

/// How often a peer is asked.
pub const EVERY: Duration = Duration::from_secs(60);
/// How many questions without an answer, one after the other, mean that it is gone.
pub const LOSSES: u8 = 3;

/// After this long a question was lost by whoever carried it: the longest T1 makes a transaction of 256 s.
const PATIENCE: Duration = Duration::from_secs(300);

/// Whom to ask, and as whom.
#[derive(Debug, Clone)]
pub struct QualifyConfig {
    /// Where it is.
    pub send_to: Hop,
    /// How it is called.
    pub peer: Uri,
    /// Our own address there.
    pub here: Uri,
    /// The value of User-Agent.
    pub agent: Option<String>,
    /// A header that every request to it has.
    pub header: Option<(String, String)>,
}

/// What it is told.
#[derive(Debug, Clone)]
pub enum QualifyInput {
    /// Begin; the first question follows within some seconds.
    Start,
    /// An answer came.
    Response(Response),
    /// A question got no answer.
    Failed,
    /// The time of the last [`QualifyOutput::Timeout`] has come.
    Timeout,
}

/// What it wants.
#[derive(Debug, Clone)]
pub enum QualifyOutput {
    /// Send a request in a transaction of its own.
    Send {
        /// Where to.
        target: Hop,
        /// The OPTIONS.
        request: Box<Request>,
    },
    /// Something became known.
    Event(QualifyEvent),
    /// Nothing more to do before this time.
    Timeout(Option<Instant>),
}

/// What became known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QualifyEvent {
    /// An answer came after this time.
    Answered(Duration),
    /// The peer is there again.
    Up,
    /// The peer is gone.
    Down,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Up { losses: u8 },
    Down,
}

/// Asks one peer.
#[derive(Debug)]
pub struct Qualify {
    config: QualifyConfig,
    state: State,
    call_id: String,
    tag: String,
    cseq: u32,
    /// When the question was sent that has no answer yet.
    asked_at: Option<Instant>,
    due: Option<Instant>,
    outputs: VecDeque<QualifyOutput>,
    rng: SmallRng,
}

impl Qualify {
    /// Asks nothing before [`QualifyInput::Start`].
    pub fn new(config: QualifyConfig, seed: u64) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        Self {
            config,
            state: State::Up { losses: 0 },
            call_id: format!("{:016x}{:016x}", rng.next_u64(), rng.next_u64()),
            tag: format!("{:016x}", rng.next_u64()),
            cseq: 0,
            asked_at: None,
            due: None,
            outputs: VecDeque::new(),
            rng,
        }
    }

    /// What its requests have in common.
    pub fn id(&self) -> DialogId {
        DialogId {
            call_id: self.call_id.clone(),
            local_tag: self.tag.clone(),
        }
    }

    /// Whether calls to the peer can be expected to be heard.
    pub fn is_up(&self) -> bool {
        match self.state {
            State::Up { .. } => true,
            State::Down => false,
        }
    }

    /// Takes one input.
    pub fn handle_input(&mut self, now: Instant, input: QualifyInput) {
        match input {
            QualifyInput::Start => {
                // Many peers are not asked all at once.
                let wait = Duration::from_millis(self.rng.random_range(0..5_000));
                self.due = Some(now + wait);
            }
            QualifyInput::Timeout if self.due.is_some_and(|due| due <= now) => {
                self.due = Some(now + EVERY);
                // One that is still under way, because T1 is long, is given its time.
                let is_open = |asked_at| now.saturating_duration_since(asked_at) < PATIENCE;
                if !self.asked_at.is_some_and(is_open) {
                    self.asked_at = Some(now);
                    self.ask();
                }
            }
            QualifyInput::Timeout => {}
            QualifyInput::Response(response) if response.is_provisional() => {}
            QualifyInput::Response(_) => {
                if let Some(asked_at) = self.asked_at.take() {
                    let took = now.saturating_duration_since(asked_at);
                    self.emit(QualifyEvent::Answered(took));
                    self.state = match self.state {
                        State::Up { .. } => State::Up { losses: 0 },
                        State::Down => {
                            self.emit(QualifyEvent::Up);
                            State::Up { losses: 0 }
                        }
                    };
                }
            }
            QualifyInput::Failed => {
                if self.asked_at.take().is_some() {
                    self.state = match self.state {
                        State::Up { losses } if losses + 1 >= LOSSES => {
                            self.emit(QualifyEvent::Down);
                            State::Down
                        }
                        State::Up { losses } => State::Up { losses: losses + 1 },
                        State::Down => State::Down,
                    };
                }
            }
        }
    }

    /// Returns the next effect; [`QualifyOutput::Timeout`] when there is no other.
    pub fn poll_output(&mut self) -> QualifyOutput {
        let next = self.outputs.pop_front();
        next.unwrap_or(QualifyOutput::Timeout(self.due))
    }

    fn emit(&mut self, event: QualifyEvent) {
        self.outputs.push_back(QualifyOutput::Event(event));
    }

    fn ask(&mut self) {
        self.cseq += 1;
        let config = &self.config;
        let mut request = Request::new(Method::Options, config.peer.clone());
        let headers = &mut request.headers;
        headers.push(HeaderName::MaxForwards, 70);
        let from = NameAddr::new(config.here.clone()).with_tag(&self.tag);
        headers.push(HeaderName::From, from);
        headers.push(HeaderName::To, NameAddr::new(config.peer.clone()));
        headers.push(HeaderName::CallId, &self.call_id);
        let (number, method) = (self.cseq, Method::Options);
        headers.push(HeaderName::CSeq, CSeq { number, method });
        headers.push(HeaderName::Contact, format!("<{}>", config.here));
        if let Some(agent) = &config.agent {
            headers.push(HeaderName::UserAgent, agent);
        }
        if let Some((name, value)) = &config.header {
            headers.push(HeaderName::from(name.as_str()), value);
        }
        self.outputs.push_back(QualifyOutput::Send {
            target: config.send_to,
            request: Box::new(request),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Asked {
        qualify: Qualify,
        now: Instant,
    }

    impl Asked {
        #[allow(clippy::disallowed_methods)] // an arbitrary start of virtual time
        fn new() -> Self {
            let config = QualifyConfig {
                send_to: Hop::udp("192.0.2.1:5060".parse().unwrap()),
                peer: "sip:192.0.2.1".parse().unwrap(),
                here: "sip:198.51.100.1".parse().unwrap(),
                agent: None,
                header: Some(("X-Line".into(), "7".into())),
            };
            let (qualify, now) = (Qualify::new(config, 1), Instant::now());
            let mut asked = Self { qualify, now };
            assert!(asked.tell(QualifyInput::Start).is_empty());
            asked
        }

        /// What follows, but for requests and timeouts.
        fn tell(&mut self, input: QualifyInput) -> Vec<QualifyEvent> {
            self.qualify.handle_input(self.now, input);
            let mut events = Vec::new();
            loop {
                match self.qualify.poll_output() {
                    QualifyOutput::Event(event) => events.push(event),
                    QualifyOutput::Timeout(_) => return events,
                    QualifyOutput::Send { request, .. } => panic!("{request}"),
                }
            }
        }

        /// Lets time pass until it asks.
        fn asks(&mut self) -> Request {
            let QualifyOutput::Timeout(Some(at)) = self.qualify.poll_output() else {
                panic!("it waits for nothing");
            };
            self.now = at;
            self.qualify.handle_input(at, QualifyInput::Timeout);
            match self.qualify.poll_output() {
                QualifyOutput::Send { request, .. } => *request,
                other => panic!("{other:?}"),
            }
        }

        fn hears(&mut self, request: &Request, status: u16) -> Vec<QualifyEvent> {
            self.now += Duration::from_millis(20);
            let response = crate::message::respond(request, status, "", Some("t"));
            self.tell(QualifyInput::Response(response))
        }
    }

    #[test]
    fn it_asks_every_minute_with_the_header_of_its_trunk() {
        let mut peer = Asked::new();
        let began = peer.now;
        let first = peer.asks();
        assert!(peer.now - began < Duration::from_secs(5));
        assert_eq!(first.method, Method::Options);
        assert_eq!(first.headers.get(&HeaderName::from("x-line")), Some("7"));
        assert!(peer.hears(&first, 100).is_empty());
        let after = |ms| QualifyEvent::Answered(Duration::from_millis(ms));
        assert_eq!(peer.hears(&first, 200), [after(40)]);
        let asked_at = peer.now;
        let second = peer.asks();
        assert!(peer.now - asked_at <= EVERY);
        assert_eq!(second.headers.cseq().unwrap().number, 2);
        assert_eq!(first.headers.call_id(), second.headers.call_id());
    }

    #[test]
    fn a_question_that_nobody_ever_hears_of_again_is_asked_anew() {
        // Whoever carried it has died with it: there is neither an answer nor a failure.
        let mut peer = Asked::new();
        for _ in 0..3 {
            peer.asks();
            peer.tell(QualifyInput::Failed);
        }
        assert!(!peer.qualify.is_up());
        let lost = peer.asks();
        let mut again = None;
        for _ in 0..6 {
            let QualifyOutput::Timeout(Some(at)) = peer.qualify.poll_output() else {
                panic!("it waits for nothing");
            };
            peer.now = at;
            peer.qualify.handle_input(at, QualifyInput::Timeout);
            if let QualifyOutput::Send { request, .. } = peer.qualify.poll_output() {
                again = Some(*request);
                break;
            }
        }
        let again = again.expect("it is never asked again");
        assert!(again.headers.cseq().unwrap().number > lost.headers.cseq().unwrap().number);
        assert!(peer.hears(&again, 200).contains(&QualifyEvent::Up));
    }

    #[test]
    fn three_losses_are_down_and_the_first_answer_is_up() {
        let mut peer = Asked::new();
        for _ in 0..2 {
            // Two losses and an answer begin the count anew.
            for _ in 0..2 {
                peer.asks();
                assert!(peer.tell(QualifyInput::Failed).is_empty());
                assert!(peer.qualify.is_up());
            }
            let request = peer.asks();
            assert_eq!(peer.hears(&request, 503).len(), 1, "a refusal is an answer");
        }
        for _ in 0..2 {
            peer.asks();
            assert!(peer.tell(QualifyInput::Failed).is_empty());
        }
        peer.asks();
        assert_eq!(peer.tell(QualifyInput::Failed), [QualifyEvent::Down]);
        assert!(!peer.qualify.is_up());
        peer.asks();
        assert!(peer.tell(QualifyInput::Failed).is_empty());
        let request = peer.asks();
        assert!(peer.hears(&request, 200).contains(&QualifyEvent::Up));
        assert!(peer.qualify.is_up());
        // What comes late changes nothing.
        assert!(peer.tell(QualifyInput::Failed).is_empty());
        assert!(peer.hears(&request, 200).is_empty());
    }
}
