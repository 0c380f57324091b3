//! A call we get (telegram-calls 4.2).
//!
//! ```text
//!  Ringing --answer--> Accepting --phoneCall: g_a, hash, key--> Tail
//!     \ (answer before DhConfig: Answering) /
//! ```

use std::time::{Duration, Instant};

use grammers_tl_types as tl;
use model::Reason;
use tl::enums::PhoneCall;
use tl::enums::PhoneCallDiscardReason as Discard;

use super::desk::{Desk, Identity, Purpose, Tail, Verdict, unexpected};
use super::{CallSettings, Event, Input, Output, Refusal, Timers};
use crate::crypt::Role;
use crate::dh::{self, DhConfig, Half};
use crate::error::{self, Stage};
use crate::rpc::{Reply, Rpc, RpcError};

/// One call we get.
pub struct Incoming {
    desk: Desk,
    g_a_hash: Vec<u8>,
    state: State,
}

enum State {
    /// The caller hears that we ring; nobody has answered.
    Ringing { group: Group },
    /// Answered before the parameters of the key agreement are here.
    Answering { repeated: bool },
    /// Waiting for the confirmed call with the caller's half of the key.
    Accepting { config: DhConfig, half: Half },
    /// The key is agreed, or the call is ending.
    Tail(Tail),
}

/// The parameters of the key agreement, fetched while it rings.
enum Group {
    Asked { repeated: bool },
    Known { config: DhConfig, random: Vec<u8> },
    Refused(model::Cause),
}

impl Incoming {
    /// Takes a requested call in. `seed` comes from the operating system: the call key depends on it.
    pub fn new(
        now: Instant,
        requested: &tl::types::PhoneCallRequested,
        settings: CallSettings,
        seed: [u8; 32],
    ) -> Incoming {
        let mut desk = Desk::new(Role::Callee, settings, seed);
        let identity = Identity {
            id: requested.id,
            access_hash: requested.access_hash,
            admin_id: requested.admin_id,
            participant_id: requested.participant_id,
        };
        desk.identity = Some(identity);
        desk.deadline = Some(now + desk.settings.timers.ring);
        let peer = identity.input();
        desk.invoke(Purpose::Received, Rpc::ReceivedCall { peer });
        desk.ask_for_dh_config();
        Incoming {
            desk,
            g_a_hash: requested.g_a_hash.clone(),
            state: State::Ringing {
                group: Group::Asked { repeated: false },
            },
        }
    }

    /// Returns whether a requested call is only a memory, replayed after a reconnection. `unix` is the time in seconds
    /// since 1970.
    pub fn is_stale(requested: &tl::types::PhoneCallRequested, unix: u64, timers: &Timers) -> bool {
        let asked = u64::try_from(requested.date).unwrap_or(0);
        Duration::from_secs(unix.saturating_sub(asked)) > timers.ring
    }

    /// Returns the request that refuses a call for which no line is free, without starting a machine for it.
    pub fn busy(requested: &tl::types::PhoneCallRequested) -> Rpc {
        Rpc::DiscardCall {
            peer: tl::types::InputPhoneCall {
                id: requested.id,
                access_hash: requested.access_hash,
            },
            duration: 0,
            reason: Discard::Busy,
        }
    }

    /// Returns the id by which updates name this call.
    pub fn phone_call_id(&self) -> Option<i64> {
        self.desk.identity.map(|identity| identity.id)
    }

    /// Returns what names the call to Telegram, as long as it may have to be discarded.
    pub fn input_peer(&self) -> Option<tl::types::InputPhoneCall> {
        self.desk.identity.map(Identity::input)
    }

    /// Takes one input; then [`Incoming::poll_output`] until it returns [`Output::Timeout`].
    pub fn handle_input(&mut self, now: Instant, input: Input) {
        let state = std::mem::replace(&mut self.state, State::Tail(Tail::Over));
        self.state = match state {
            State::Ringing { group } => self.on_ringing(now, group, input),
            State::Answering { repeated } => self.on_answering(now, repeated, input),
            State::Accepting { config, half } => self.on_accepting(now, config, half, input),
            State::Tail(tail) => State::Tail(self.desk.on_tail(now, tail, input)),
        };
    }

    /// Returns the next output.
    pub fn poll_output(&mut self) -> Output {
        self.desk.poll_output()
    }

    // -- one function a state ------------------------------------------------------------------------------------

    fn on_ringing(&mut self, now: Instant, group: Group, input: Input) -> State {
        match input {
            Input::Answer => match group {
                Group::Asked { repeated } => {
                    self.desk.deadline = Some(now + self.desk.settings.timers.receive);
                    State::Answering { repeated }
                }
                Group::Known { config, random } => self.accept(now, config, &random),
                Group::Refused(cause) => State::Tail(self.desk.fail(now, cause)),
            },
            Input::Reply(key, result) => match self.desk.purpose(key) {
                Some(Purpose::Received) => self.on_received(group, result),
                Some(Purpose::DhConfig) => {
                    let group = match (group, self.desk.dh_config(result)) {
                        (_, Ok((config, random))) => Group::Known { config, random },
                        (Group::Asked { repeated: false }, Err(_)) => {
                            self.desk.ask_for_dh_config();
                            Group::Asked { repeated: true }
                        }
                        (_, Err(cause)) => Group::Refused(cause),
                    };
                    State::Ringing { group }
                }
                _ => State::Ringing { group },
            },
            Input::Refuse(refusal) => self.refuse(now, refusal),
            Input::HangUp => self.refuse(now, Refusal::Busy),
            Input::Timeout if self.desk.is_due(now) => self.refuse(now, Refusal::Missed),
            Input::Update(call) => match self.on_end_of_call(now, &call) {
                Some(tail) => State::Tail(tail),
                None => State::Ringing { group },
            },
            Input::SignalReceived(data) => {
                self.desk.signal_received(data);
                State::Ringing { group }
            }
            Input::Timeout
            | Input::SignalToSend(_)
            | Input::MediaConnected
            | Input::MediaFailed(_) => State::Ringing { group },
        }
    }

    fn on_answering(&mut self, now: Instant, repeated: bool, input: Input) -> State {
        match input {
            Input::Reply(key, result) => match self.desk.purpose(key) {
                Some(Purpose::DhConfig) => match self.desk.dh_config(result) {
                    Ok((config, random)) => self.accept(now, config, &random),
                    Err(_) if !repeated => {
                        self.desk.ask_for_dh_config();
                        State::Answering { repeated: true }
                    }
                    Err(cause) => State::Tail(self.desk.fail(now, cause)),
                },
                _ => State::Answering { repeated },
            },
            Input::Refuse(_) | Input::HangUp => self.refuse(now, Refusal::Busy),
            Input::Timeout if self.desk.is_due(now) => {
                State::Tail(self.desk.fail(now, Reason::RpcTimeout.into()))
            }
            Input::Update(call) => match self.on_end_of_call(now, &call) {
                Some(tail) => State::Tail(tail),
                None => State::Answering { repeated },
            },
            Input::SignalReceived(data) => {
                self.desk.signal_received(data);
                State::Answering { repeated }
            }
            Input::Timeout
            | Input::Answer
            | Input::SignalToSend(_)
            | Input::MediaConnected
            | Input::MediaFailed(_) => State::Answering { repeated },
        }
    }

    fn on_accepting(&mut self, now: Instant, config: DhConfig, half: Half, input: Input) -> State {
        match input {
            Input::Reply(key, result) => match (self.desk.purpose(key), result) {
                (Some(Purpose::Step), Ok(Reply::PhoneCall(call))) => {
                    self.on_accepted(now, config, half, call)
                }
                (Some(Purpose::Step), Ok(_)) => State::Tail(self.desk.fail(now, unexpected())),
                (Some(Purpose::Step), Err(error)) => State::Tail(self.on_refused(now, &error)),
                _ => State::Accepting { config, half },
            },
            Input::Update(call) => self.on_accepted(now, config, half, call),
            Input::Refuse(_) | Input::HangUp => {
                let cause = Reason::NormalClearing.into();
                State::Tail(self.desk.end(now, cause, Discard::Hangup, 0))
            }
            Input::Timeout if self.desk.is_due(now) => {
                State::Tail(self.desk.fail(now, Reason::RpcTimeout.into()))
            }
            Input::SignalReceived(data) => {
                self.desk.signal_received(data);
                State::Accepting { config, half }
            }
            Input::Timeout
            | Input::Answer
            | Input::SignalToSend(_)
            | Input::MediaConnected
            | Input::MediaFailed(_) => State::Accepting { config, half },
        }
    }

    // -- steps ---------------------------------------------------------------------------------------------------

    fn on_received(&mut self, group: Group, result: Result<Reply, RpcError>) -> State {
        match result {
            Ok(_) => self.desk.event(Event::Ringing),
            Err(error) => {
                if let Some(reason) = end_of_call(&error) {
                    return State::Tail(self.desk.over(reason.into()));
                }
                tracing::warn!(%error, "the caller may not hear that we ring");
            }
        }
        State::Ringing { group }
    }

    fn accept(&mut self, now: Instant, config: DhConfig, random: &[u8]) -> State {
        let Some(identity) = self.desk.identity else {
            return State::Tail(self.desk.over(unexpected()));
        };
        let half = config.draw(random, &mut self.desk.rng);
        let rpc = Rpc::AcceptCall {
            peer: identity.input(),
            g_b: half.public().to_vec(),
            protocol: self.desk.protocol(),
        };
        self.desk.invoke(Purpose::Step, rpc);
        self.desk.deadline = Some(now + self.desk.settings.timers.receive);
        State::Accepting { config, half }
    }

    /// The result of `acceptCall`, or the update that may overtake it.
    fn on_accepted(
        &mut self,
        now: Instant,
        config: DhConfig,
        half: Half,
        call: PhoneCall,
    ) -> State {
        if let Some(tail) = self.on_end_of_call(now, &call) {
            return State::Tail(tail);
        }
        match (self.desk.verdict(&call), call) {
            (Verdict::Ours, PhoneCall::Call(call)) => {
                if dh::commitment(&call.g_a_or_b).as_slice() != self.g_a_hash {
                    tracing::error!("the caller's half of the key is not the one it promised");
                    return State::Tail(self.desk.fail(now, Reason::KeyMismatch.into()));
                }
                let g_a = call.g_a_or_b.clone();
                match half.agree(&config, &g_a) {
                    Ok(key) => State::Tail(self.desk.start_media(now, call, key, &g_a)),
                    Err(error) => {
                        tracing::error!(%error, "the caller's half of the key is refused");
                        State::Tail(self.desk.fail(now, Reason::KeyMismatch.into()))
                    }
                }
            }
            _ => State::Accepting { config, half },
        }
    }

    fn on_refused(&mut self, now: Instant, error: &RpcError) -> Tail {
        match end_of_call(error) {
            Some(reason) => self.desk.over(reason.into()),
            None => self.desk.fail(now, error::cause(error)),
        }
    }

    /// The tail when the object ends the call: discarded, or forged.
    fn on_end_of_call(&mut self, now: Instant, call: &PhoneCall) -> Option<Tail> {
        match self.desk.verdict(call) {
            Verdict::Discarded(reason) => {
                let cause = error::discarded(Stage::Called, reason.as_ref());
                Some(self.desk.over(cause))
            }
            Verdict::Forged => {
                tracing::error!("a call object names other parties than the call");
                Some(self.desk.fail(now, Reason::KeyMismatch.into()))
            }
            Verdict::Ignore | Verdict::Ours => None,
        }
    }

    fn refuse(&mut self, now: Instant, refusal: Refusal) -> State {
        let (cause, reason) = match refusal {
            Refusal::Busy => (Reason::BusyHere, Discard::Busy),
            Refusal::Missed => (Reason::SipNoAnswer, Discard::Missed),
            Refusal::Disconnect => (Reason::InternalError, Discard::Disconnect),
        };
        State::Tail(self.desk.end(now, cause.into(), reason, 0))
    }
}

/// The call is over or taken elsewhere: a discard of ours would end it for the device that has it.
fn end_of_call(error: &RpcError) -> Option<Reason> {
    if error.is("CALL_ALREADY_ACCEPTED") || error.is("CALL_ALREADY_DECLINED") {
        Some(Reason::AnsweredElsewhere)
    } else if error.is("CALL_PEER_INVALID") {
        Some(Reason::CallerGaveUp)
    } else {
        None
    }
}
