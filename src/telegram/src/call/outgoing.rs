//! A call we make (telegram-calls 4.1).
//!
//! ```text
//!  (with parameters and random bytes of the server from before, a call begins in Requesting)
//!  Preparing --DhConfig--> Requesting --phoneCallWaiting--> Waiting --receive_date--> Ringing
//!                              | hang up                       \                       /
//!                              v                            phoneCallAccepted: g_b, key
//!                          Abandoned --id known--> discard              v
//!                                                                  Confirming --phoneCall--> Tail
//! ```

use std::time::{Duration, Instant};

use grammers_tl_types as tl;
use model::{Cause, Reason};
use rand::RngCore;
use tl::enums::PhoneCall;
use tl::enums::PhoneCallDiscardReason as Discard;

use super::desk::{Desk, Identity, Purpose, Tail, Verdict, unexpected};
use super::{CallSettings, Event, Input, Output};
use crate::crypt::{CallKey, Role};
use crate::dh::{DhConfig, Half};
use crate::error::{self, Stage};
use crate::rpc::{Reply, Rpc, RpcError};

/// A guard against a session layer that never answers; its own deadline for a request is 30 s.
const REQUEST: Duration = Duration::from_secs(40);
/// How often a random id that the server knows is replaced.
const RANDOM_IDS: u32 = 3;

/// One call we make.
pub struct Outgoing {
    desk: Desk,
    user: tl::types::InputUser,
    state: State,
}

enum State {
    /// Waiting for the parameters of the key agreement.
    Preparing,
    /// Waiting for the result of `requestCall`.
    Requesting { ours: Ours, tries: u32 },
    /// The end was told while the request was on its way; the call is discarded when its id is known.
    Abandoned,
    /// No device has the call yet.
    Waiting { ours: Ours },
    /// Some device rings.
    Ringing { ours: Ours },
    /// Waiting for the confirmed call.
    Confirming { key: CallKey, g_a: Vec<u8> },
    /// The key is agreed, or the call is ending.
    Tail(Tail),
}

/// Our side of the key agreement.
struct Ours {
    config: DhConfig,
    half: Half,
}

impl Outgoing {
    /// Starts a call to `user`. `seed` comes from the operating system: the call key depends on it.
    pub fn new(
        now: Instant,
        user: tl::types::InputUser,
        settings: CallSettings,
        seed: [u8; 32],
    ) -> Outgoing {
        let ready = settings.dh.clone().zip(settings.random.clone());
        let mut call = Outgoing {
            desk: Desk::new(Role::Caller, settings, seed),
            user,
            state: State::Preparing,
        };
        if let Some((config, random)) = ready {
            call.state = call.prepared(now, config, &random);
        } else {
            call.desk.deadline = Some(now + REQUEST);
            call.desk.ask_for_dh_config();
        }
        call
    }

    /// Returns the id by which updates name this call; known after the request's result.
    pub fn phone_call_id(&self) -> Option<i64> {
        self.desk.identity.map(|identity| identity.id)
    }

    /// Returns whether an update of a call nobody knows can only be about this one, whose request has no result yet.
    pub fn may_own(&self, call: &PhoneCall) -> bool {
        let open = matches!(self.state, State::Requesting { .. } | State::Abandoned);
        let theirs = Identity::of(call).map(|identity| identity.participant_id);
        open && matches!(call, PhoneCall::Waiting(_)) && theirs == Some(self.user.user_id)
    }

    /// Returns what names the call to Telegram, as long as it may have to be discarded.
    pub fn input_peer(&self) -> Option<tl::types::InputPhoneCall> {
        self.desk.identity.map(Identity::input)
    }

    /// Takes one input; then [`Outgoing::poll_output`] until it returns [`Output::Timeout`].
    pub fn handle_input(&mut self, now: Instant, input: Input) {
        let state = std::mem::replace(&mut self.state, State::Tail(Tail::Over));
        self.state = match state {
            State::Preparing => self.on_preparing(now, input),
            State::Requesting { ours, tries } => self.on_requesting(now, ours, tries, input),
            State::Abandoned => self.on_abandoned(now, input),
            State::Waiting { ours } => self.on_calling(now, ours, false, input),
            State::Ringing { ours } => self.on_calling(now, ours, true, input),
            State::Confirming { key, g_a } => self.on_confirming(now, key, g_a, input),
            State::Tail(tail) => State::Tail(self.desk.on_tail(now, tail, input)),
        };
    }

    /// Returns the next output.
    pub fn poll_output(&mut self) -> Output {
        self.desk.poll_output()
    }

    // -- one function a state ------------------------------------------------------------------------------------

    fn on_preparing(&mut self, now: Instant, input: Input) -> State {
        match input {
            Input::Reply(key, result) => {
                if self.desk.purpose(key) != Some(Purpose::DhConfig) {
                    return State::Preparing;
                }
                let (config, random) = match self.desk.dh_config(result) {
                    Ok(config) => config,
                    Err(cause) => return State::Tail(self.desk.over(cause)),
                };
                self.prepared(now, config, &random)
            }
            Input::HangUp | Input::Refuse(_) => {
                State::Tail(self.desk.over(Reason::Cancelled.into()))
            }
            Input::Timeout if self.desk.is_due(now) => {
                State::Tail(self.desk.over(Reason::RpcTimeout.into()))
            }
            Input::Timeout
            | Input::Update(_)
            | Input::SignalReceived(_)
            | Input::SignalToSend(_)
            | Input::Answer
            | Input::MediaConnected
            | Input::MediaFailed(_) => State::Preparing,
        }
    }

    fn on_requesting(&mut self, now: Instant, ours: Ours, tries: u32, input: Input) -> State {
        match input {
            Input::Reply(key, result) => match (self.desk.purpose(key), result) {
                (Some(Purpose::Step), Ok(Reply::PhoneCall(call))) => self.begin(now, ours, call),
                (Some(Purpose::Step), Err(error))
                    if error.is("RANDOM_ID_DUPLICATE") && tries < RANDOM_IDS =>
                {
                    self.request(&ours);
                    let tries = tries + 1;
                    State::Requesting { ours, tries }
                }
                // The server may have it all the same: a late update then brings the id to discard.
                (Some(Purpose::Step), Err(error @ (RpcError::TimedOut | RpcError::Connection))) => {
                    let cause = error::cause(&error);
                    self.desk.event(Event::Ended { cause });
                    self.desk.deadline = Some(now + REQUEST);
                    State::Abandoned
                }
                (Some(Purpose::Step), Err(error)) => {
                    State::Tail(self.desk.over(error::cause(&error)))
                }
                (Some(Purpose::Step), Ok(_)) => State::Tail(self.desk.over(unexpected())),
                _ => State::Requesting { ours, tries },
            },
            // The update can be faster than the result.
            Input::Update(call @ PhoneCall::Waiting(_)) if self.is_to_our_user(&call) => {
                self.begin(now, ours, call)
            }
            Input::HangUp | Input::Refuse(_) => {
                self.desk.event(Event::Ended {
                    cause: Reason::Cancelled.into(),
                });
                State::Abandoned
            }
            Input::Timeout if self.desk.is_due(now) => {
                State::Tail(self.desk.over(Reason::RpcTimeout.into()))
            }
            Input::Timeout
            | Input::Update(_)
            | Input::SignalReceived(_)
            | Input::SignalToSend(_)
            | Input::Answer
            | Input::MediaConnected
            | Input::MediaFailed(_) => State::Requesting { ours, tries },
        }
    }

    /// Cancelled while the request is on its way: the result brings the id to discard.
    fn on_abandoned(&mut self, now: Instant, input: Input) -> State {
        match input {
            Input::Reply(key, result) => match (self.desk.purpose(key), result) {
                (Some(Purpose::Step), Ok(Reply::PhoneCall(call))) => self.abandon(now, &call),
                (Some(Purpose::Step), _) => State::Tail(self.desk.finish()),
                _ => State::Abandoned,
            },
            Input::Update(call @ PhoneCall::Waiting(_)) if self.is_to_our_user(&call) => {
                self.abandon(now, &call)
            }
            Input::Timeout if self.desk.is_due(now) => State::Tail(self.desk.finish()),
            Input::Timeout
            | Input::Update(_)
            | Input::HangUp
            | Input::Refuse(_)
            | Input::SignalReceived(_)
            | Input::SignalToSend(_)
            | Input::Answer
            | Input::MediaConnected
            | Input::MediaFailed(_) => State::Abandoned,
        }
    }

    fn on_calling(&mut self, now: Instant, ours: Ours, rings: bool, input: Input) -> State {
        match input {
            Input::Update(call) => self.on_call(now, ours, rings, call),
            Input::HangUp | Input::Refuse(_) => {
                State::Tail(
                    self.desk
                        .end(now, Reason::Cancelled.into(), Discard::Missed, 0),
                )
            }
            Input::Timeout if self.desk.is_due(now) => {
                let reason = if rings {
                    Reason::NoAnswer
                } else {
                    Reason::TemporarilyUnavailable
                };
                State::Tail(self.desk.end(now, reason.into(), Discard::Missed, 0))
            }
            Input::SignalReceived(data) => {
                self.desk.signal_received(data);
                calling(ours, rings)
            }
            Input::Reply(key, _) => {
                self.desk.purpose(key); // the result of a request that an update overtook
                calling(ours, rings)
            }
            Input::Timeout
            | Input::SignalToSend(_)
            | Input::Answer
            | Input::MediaConnected
            | Input::MediaFailed(_) => calling(ours, rings),
        }
    }

    fn on_confirming(&mut self, now: Instant, key: CallKey, g_a: Vec<u8>, input: Input) -> State {
        match input {
            Input::Reply(request, result) => match (self.desk.purpose(request), result) {
                (Some(Purpose::Step), Ok(Reply::PhoneCall(call))) => {
                    self.on_confirmed(now, key, g_a, call)
                }
                (Some(Purpose::Step), Ok(_)) => State::Tail(self.desk.fail(now, unexpected())),
                (Some(Purpose::Step), Err(error)) => {
                    State::Tail(self.desk.fail(now, error::cause(&error)))
                }
                _ => State::Confirming { key, g_a },
            },
            Input::Update(call) => self.on_confirmed(now, key, g_a, call),
            Input::HangUp | Input::Refuse(_) => {
                State::Tail(
                    self.desk
                        .end(now, Reason::Cancelled.into(), Discard::Hangup, 0),
                )
            }
            Input::Timeout if self.desk.is_due(now) => {
                State::Tail(self.desk.fail(now, Reason::RpcTimeout.into()))
            }
            Input::SignalReceived(data) => {
                self.desk.signal_received(data);
                State::Confirming { key, g_a }
            }
            Input::Timeout
            | Input::SignalToSend(_)
            | Input::Answer
            | Input::MediaConnected
            | Input::MediaFailed(_) => State::Confirming { key, g_a },
        }
    }

    // -- steps ---------------------------------------------------------------------------------------------------

    /// The parameters are known: draws our half and asks for the call.
    fn prepared(&mut self, now: Instant, config: DhConfig, random: &[u8]) -> State {
        let half = config.draw(random, &mut self.desk.rng);
        let ours = Ours { config, half };
        self.request(&ours);
        self.desk.deadline = Some(now + REQUEST);
        State::Requesting { ours, tries: 1 }
    }

    fn request(&mut self, ours: &Ours) {
        // Any bit pattern will do.
        let random_id = self.desk.rng.next_u32().cast_signed();
        let rpc = Rpc::RequestCall {
            user: self.user.clone(),
            random_id,
            g_a_hash: ours.half.commitment().to_vec(),
            protocol: self.desk.protocol(),
        };
        self.desk.invoke(Purpose::Step, rpc);
    }

    fn is_to_our_user(&self, call: &PhoneCall) -> bool {
        Identity::of(call).is_some_and(|identity| identity.participant_id == self.user.user_id)
    }

    /// The server has made the call.
    fn begin(&mut self, now: Instant, ours: Ours, call: PhoneCall) -> State {
        if let PhoneCall::Discarded(discarded) = &call {
            let cause = error::discarded(Stage::Calling, discarded.reason.as_ref());
            return State::Tail(self.desk.over(cause));
        }
        self.desk.identity = Identity::of(&call);
        if !self.is_to_our_user(&call) {
            tracing::error!("Telegram started a call to somebody else");
            return State::Tail(self.desk.fail(now, Reason::KeyMismatch.into()));
        }
        self.desk.deadline = Some(now + self.desk.settings.timers.receive);
        self.on_call(now, ours, false, call)
    }

    fn abandon(&mut self, now: Instant, call: &PhoneCall) -> State {
        self.desk.identity = Identity::of(call);
        State::Tail(self.desk.discard(now, Discard::Missed, 0))
    }

    fn on_call(&mut self, now: Instant, ours: Ours, rings: bool, call: PhoneCall) -> State {
        match (self.desk.verdict(&call), call) {
            (Verdict::Discarded(reason), _) => {
                let cause = error::discarded(Stage::Calling, reason.as_ref());
                State::Tail(self.desk.over(cause))
            }
            (Verdict::Forged, _) => {
                tracing::error!("a call object names other parties than the call");
                State::Tail(self.desk.fail(now, Reason::KeyMismatch.into()))
            }
            (Verdict::Ours, PhoneCall::Waiting(waiting)) => {
                if waiting.receive_date.is_none() || rings {
                    return calling(ours, rings);
                }
                self.desk.event(Event::Ringing);
                self.desk.deadline = Some(now + self.desk.settings.timers.ring);
                calling(ours, true)
            }
            (Verdict::Ours, PhoneCall::Accepted(accepted)) => {
                self.confirm(now, &ours, &accepted.g_b)
            }
            // A confirmed call that we did not confirm proves nothing; the rest is nothing new.
            (Verdict::Ours | Verdict::Ignore, _) => calling(ours, rings),
        }
    }

    fn confirm(&mut self, now: Instant, ours: &Ours, g_b: &[u8]) -> State {
        let key = match ours.half.agree(&ours.config, g_b) {
            Ok(key) => key,
            Err(error) => {
                tracing::error!(%error, "the callee's half of the key is refused");
                return State::Tail(self.desk.fail(now, Cause::new(Reason::KeyMismatch)));
            }
        };
        let Some(identity) = self.desk.identity else {
            return State::Tail(self.desk.over(unexpected()));
        };
        let g_a = ours.half.public().to_vec();
        let rpc = Rpc::ConfirmCall {
            peer: identity.input(),
            g_a: g_a.clone(),
            key_fingerprint: key.fingerprint(),
            protocol: self.desk.protocol(),
        };
        self.desk.invoke(Purpose::Step, rpc);
        self.desk.deadline = Some(now + self.desk.settings.timers.receive);
        State::Confirming { key, g_a }
    }

    fn on_confirmed(&mut self, now: Instant, key: CallKey, g_a: Vec<u8>, call: PhoneCall) -> State {
        match (self.desk.verdict(&call), call) {
            (Verdict::Discarded(reason), _) => {
                let cause = error::discarded(Stage::Calling, reason.as_ref());
                State::Tail(self.desk.over(cause))
            }
            (Verdict::Forged, _) => {
                tracing::error!("a call object names other parties than the call");
                State::Tail(self.desk.fail(now, Reason::KeyMismatch.into()))
            }
            (Verdict::Ours, PhoneCall::Call(call)) => {
                State::Tail(self.desk.start_media(now, call, key, &g_a))
            }
            (Verdict::Ours | Verdict::Ignore, _) => State::Confirming { key, g_a },
        }
    }
}

fn calling(ours: Ours, rings: bool) -> State {
    if rings {
        State::Ringing { ours }
    } else {
        State::Waiting { ours }
    }
}
