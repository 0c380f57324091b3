//! What both directions of a call share: the queue of outputs, the requests on their way, the signalling that comes too
//! early, and everything after the key agreement.
//!
//! ```text
//!  key agreed --> Connecting --media up--> Established
//!                     |  \                   /  |
//!                     |   peer closed media     |
//!                     |          v              |
//!                     |       Closing           |
//!                     v          v 2 s          v
//!                  Discarding (our discard on its way) ---> Over
//! ```

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use grammers_tl_types as tl;
use model::{Cause, Reason};
use rand::SeedableRng;
use rand::rngs::StdRng;
use tl::enums::PhoneCallDiscardReason as Discard;

use super::{
    CLOSED_BY_PEER, CallSettings, EARLY_PACKETS, Event, Input, MediaStart, Output, RequestKey,
};
use crate::crypt::{CallKey, Role};
use crate::dh::{DhConfig, DhError};
use crate::error::{self, Stage};
use crate::rpc::{Reply, Rpc, RpcError};

/// How long a discard may take before the call is considered over (as Telegram Desktop does).
const DISCARD: Duration = Duration::from_secs(5);
/// How long after the peer closed the media its discard may take (telegram-calls 14.3, item 10).
const CLOSING: Duration = Duration::from_secs(2);
/// Octets of signalling kept before the key exists.
const EARLY_BYTES: usize = 512 * 1024;
/// Requests of one call that wait for their results; signalling beyond that is lost and repeated by its framing.
const REQUESTS: usize = 128;

/// What a request on its way is for.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Purpose {
    /// `getDhConfig`.
    DhConfig,
    /// `receivedCall`.
    Received,
    /// `requestCall`, `acceptCall` or `confirmCall`.
    Step,
    /// `sendSignalingData`, with what a repetition needs.
    Signal { data: Vec<u8>, repeated: bool },
    /// `discardCall`, as it was sent.
    Discard(Rpc),
}

/// Both parties and the call itself, as Telegram names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) id: i64,
    pub(super) access_hash: i64,
    pub(super) admin_id: i64,
    pub(super) participant_id: i64,
}

impl Identity {
    /// The identity an object carries; `phoneCallDiscarded` and `phoneCallEmpty` carry none beyond the id.
    pub(super) fn of(call: &tl::enums::PhoneCall) -> Option<Identity> {
        use tl::enums::PhoneCall as Call;
        let (id, access_hash, admin_id, participant_id) = match call {
            Call::Waiting(c) => (c.id, c.access_hash, c.admin_id, c.participant_id),
            Call::Requested(c) => (c.id, c.access_hash, c.admin_id, c.participant_id),
            Call::Accepted(c) => (c.id, c.access_hash, c.admin_id, c.participant_id),
            Call::Call(c) => (c.id, c.access_hash, c.admin_id, c.participant_id),
            Call::Empty(_) | Call::Discarded(_) => return None,
        };
        Some(Identity {
            id,
            access_hash,
            admin_id,
            participant_id,
        })
    }

    pub(super) fn input(self) -> tl::types::InputPhoneCall {
        tl::types::InputPhoneCall {
            id: self.id,
            access_hash: self.access_hash,
        }
    }
}

/// The states after the key agreement, and those of the end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Tail {
    /// The media plane is starting.
    Connecting,
    /// Media flows.
    Established { since: Instant },
    /// The peer closed the media; its discard should follow.
    Closing { since: Option<Instant> },
    /// The end is told; our discard is on its way.
    Discarding { repeated: bool },
    /// Nothing is owed.
    Over,
}

/// What to do with the peer's object in a given state.
pub(super) enum Verdict {
    /// Not about this call, or nothing new.
    Ignore,
    /// About this call, and it says who it is.
    Ours,
    /// The call is over.
    Discarded(Option<Discard>),
    /// It claims to be this call and names other parties.
    Forged,
}

pub(super) struct Desk {
    pub(super) settings: CallSettings,
    pub(super) rng: StdRng,
    pub(super) deadline: Option<Instant>,
    pub(super) identity: Option<Identity>,
    role: Role,
    outputs: VecDeque<Output>,
    next_key: u32,
    requests: Vec<(RequestKey, Purpose)>,
    media: bool,
    early: Vec<Vec<u8>>,
    early_bytes: usize,
}

impl Desk {
    pub(super) fn new(role: Role, settings: CallSettings, seed: [u8; 32]) -> Desk {
        Desk {
            settings,
            rng: StdRng::from_seed(seed),
            deadline: None,
            identity: None,
            role,
            outputs: VecDeque::new(),
            next_key: 0,
            requests: Vec::new(),
            media: false,
            early: Vec::new(),
            early_bytes: 0,
        }
    }

    pub(super) fn poll_output(&mut self) -> Output {
        self.outputs
            .pop_front()
            .unwrap_or(Output::Timeout(self.deadline))
    }

    pub(super) fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    pub(super) fn protocol(&self) -> tl::types::PhoneCallProtocol {
        tl::types::PhoneCallProtocol {
            udp_p2p: true,
            udp_reflector: true,
            min_layer: 65,
            max_layer: 92,
            library_versions: self.settings.library_versions.clone(),
        }
    }

    // -- requests ------------------------------------------------------------------------------------------------

    pub(super) fn invoke(&mut self, purpose: Purpose, rpc: Rpc) {
        let key = RequestKey(self.next_key);
        self.next_key = self.next_key.wrapping_add(1);
        self.requests.push((key, purpose));
        self.outputs.push_back(Output::Invoke(key, rpc));
    }

    /// What the request with this key was for; each key is answered once.
    pub(super) fn purpose(&mut self, key: RequestKey) -> Option<Purpose> {
        let at = self.requests.iter().position(|(known, _)| *known == key)?;
        Some(self.requests.swap_remove(at).1)
    }

    pub(super) fn ask_for_dh_config(&mut self) {
        let version = self.settings.dh.as_ref().map_or(0, DhConfig::version);
        self.invoke(Purpose::DhConfig, Rpc::GetDhConfig { version });
    }

    /// The parameters to use and the server's random bytes.
    pub(super) fn dh_config(
        &mut self,
        result: Result<Reply, RpcError>,
    ) -> Result<(DhConfig, Vec<u8>), Cause> {
        let Reply::DhConfig(reported) = result.map_err(|error| error::cause(&error))? else {
            return Err(unexpected());
        };
        let known = self.settings.dh.as_ref();
        let (config, random) =
            DhConfig::received(reported, known, &mut self.rng).map_err(|error| {
                tracing::error!(%error, "the parameters of the key agreement are refused");
                match error {
                    DhError::Missing => unexpected(),
                    DhError::Size(_)
                    | DhError::NotSafePrime
                    | DhError::Generator(_)
                    | DhError::OutOfRange => Cause::new(Reason::KeyMismatch),
                }
            })?;
        if self.settings.dh.as_ref() != Some(&config) {
            self.settings.dh = Some(config.clone());
            self.event(Event::DhConfig(config.clone()));
        }
        Ok((config, random))
    }

    // -- the peer's objects --------------------------------------------------------------------------------------

    pub(super) fn verdict(&self, call: &tl::enums::PhoneCall) -> Verdict {
        let Some(identity) = self.identity else {
            return Verdict::Ignore;
        };
        if call.id() != identity.id {
            return Verdict::Ignore;
        }
        match call {
            tl::enums::PhoneCall::Discarded(discarded) => {
                Verdict::Discarded(discarded.reason.clone())
            }
            tl::enums::PhoneCall::Empty(_) => Verdict::Discarded(None),
            _ if Identity::of(call) == Some(identity) => Verdict::Ours,
            tl::enums::PhoneCall::Waiting(_)
            | tl::enums::PhoneCall::Requested(_)
            | tl::enums::PhoneCall::Accepted(_)
            | tl::enums::PhoneCall::Call(_) => Verdict::Forged,
        }
    }

    // -- signalling ----------------------------------------------------------------------------------------------

    /// Bytes of the peer: for the media plane, or kept until there is one.
    pub(super) fn signal_received(&mut self, data: Vec<u8>) {
        if self.media {
            self.outputs.push_back(Output::Signal(data));
        } else if self.early.len() < EARLY_PACKETS && self.early_bytes + data.len() <= EARLY_BYTES {
            self.early_bytes += data.len();
            self.early.push(data);
        }
    }

    fn signal_to_send(&mut self, data: Vec<u8>, repeated: bool) {
        let Some(identity) = self.identity else {
            return;
        };
        if self.requests.len() >= REQUESTS {
            return;
        }
        let rpc = Rpc::SendSignalingData {
            peer: identity.input(),
            data: data.clone(),
        };
        self.invoke(Purpose::Signal { data, repeated }, rpc);
    }

    // -- from the key to the media -------------------------------------------------------------------------------

    /// Starts the media plane from the confirmed call; the fingerprint is compared here.
    pub(super) fn start_media(
        &mut self,
        now: Instant,
        call: tl::types::PhoneCall,
        key: CallKey,
        g_a: &[u8],
    ) -> Tail {
        if call.key_fingerprint != key.fingerprint() {
            tracing::error!("the fingerprint of the call key is not ours");
            return self.fail(now, Reason::KeyMismatch.into());
        }
        let tl::enums::PhoneCallProtocol::Protocol(protocol) = call.protocol;
        let version = protocol.library_versions.into_iter().next();
        let Some(version) = version.filter(|v| self.settings.library_versions.contains(v)) else {
            tracing::error!("Telegram chose a library version that was not offered");
            let name = "CALL_PROTOCOL_COMPAT_LAYER_INVALID";
            return self.fail(now, Cause::telegram(Reason::CallProtocol, name));
        };
        let custom_parameters = call.custom_parameters.map(|parameters| {
            let tl::enums::DataJson::Json(json) = parameters;
            json.data
        });
        let emoji = key.emoji(g_a);
        self.outputs
            .push_back(Output::StartMedia(Box::new(MediaStart {
                role: self.role,
                version: version.clone(),
                key,
                p2p_allowed: call.p2p_allowed && self.settings.p2p,
                connections: call.connections,
                custom_parameters,
            })));
        self.media = true;
        self.early_bytes = 0;
        let early = std::mem::take(&mut self.early);
        self.outputs.extend(early.into_iter().map(Output::Signal));
        self.event(Event::Accepted { emoji, version });
        self.deadline = Some(now + self.settings.timers.connect);
        Tail::Connecting
    }

    /// One step of a call whose key is agreed, or which is ending.
    pub(super) fn on_tail(&mut self, now: Instant, tail: Tail, input: Input) -> Tail {
        match tail {
            Tail::Connecting | Tail::Established { .. } | Tail::Closing { .. } => {
                self.on_talking(now, tail, input)
            }
            Tail::Discarding { repeated } => self.on_discarding(now, repeated, input),
            Tail::Over => Tail::Over,
        }
    }

    fn on_talking(&mut self, now: Instant, tail: Tail, input: Input) -> Tail {
        let since = match tail {
            Tail::Established { since } => Some(since),
            Tail::Closing { since } => since,
            Tail::Connecting | Tail::Discarding { .. } | Tail::Over => None,
        };
        let seconds = since.map_or(0, |since| {
            i32::try_from(now.saturating_duration_since(since).as_secs()).unwrap_or(i32::MAX)
        });
        match input {
            Input::MediaConnected if tail == Tail::Connecting => {
                self.deadline = None;
                self.event(Event::Established);
                Tail::Established { since: now }
            }
            Input::MediaFailed(_) if matches!(tail, Tail::Closing { .. }) => tail,
            Input::MediaFailed(CLOSED_BY_PEER) => {
                self.deadline = Some(now + CLOSING);
                Tail::Closing { since }
            }
            Input::MediaFailed(why) => {
                tracing::warn!(why, "media failed");
                let reason = match since {
                    Some(_) => Reason::MediaLost,
                    None => Reason::MediaNotConnected,
                };
                self.end(now, reason.into(), Discard::Disconnect, seconds)
            }
            Input::Timeout if self.is_due(now) => match tail {
                Tail::Closing { .. } => {
                    self.end(now, Reason::NormalClearing.into(), Discard::Hangup, seconds)
                }
                Tail::Connecting
                | Tail::Established { .. }
                | Tail::Discarding { .. }
                | Tail::Over => self.end(
                    now,
                    Reason::MediaNotConnected.into(),
                    Discard::Disconnect,
                    0,
                ),
            },
            Input::HangUp | Input::Refuse(_) => {
                let reason = match (self.role, since) {
                    (Role::Caller, None) => Reason::Cancelled,
                    _ => Reason::NormalClearing,
                };
                self.end(now, reason.into(), Discard::Hangup, seconds)
            }
            Input::Update(call) => match self.verdict(&call) {
                Verdict::Discarded(reason) => {
                    let stage = match (self.role, since) {
                        (Role::Caller, None) => Stage::Calling,
                        _ => Stage::Talking,
                    };
                    self.over(error::discarded(stage, reason.as_ref()))
                }
                Verdict::Forged => {
                    tracing::error!("a call object names other parties than the call");
                    self.fail(now, Reason::KeyMismatch.into())
                }
                Verdict::Ignore | Verdict::Ours => tail,
            },
            Input::SignalReceived(data) => {
                self.signal_received(data);
                tail
            }
            Input::SignalToSend(data) => {
                self.signal_to_send(data.into(), false);
                tail
            }
            Input::Reply(key, result) => self.on_talking_reply(now, tail, key, result),
            Input::MediaConnected | Input::Timeout | Input::Answer => tail,
        }
    }

    fn on_talking_reply(
        &mut self,
        now: Instant,
        tail: Tail,
        key: RequestKey,
        result: Result<Reply, RpcError>,
    ) -> Tail {
        let Some(Purpose::Signal { data, repeated }) = self.purpose(key) else {
            return tail; // superseded by an update
        };
        match (tail, result) {
            (_, Ok(Reply::Bool(true))) => tail,
            // Once media flows, what is lost here are spare candidates.
            (Tail::Established { .. } | Tail::Closing { .. }, _) => tail,
            (_, _) if !repeated => {
                self.signal_to_send(data, true);
                tail
            }
            (_, Err(error)) => self.end(now, error::cause(&error), Discard::Disconnect, 0),
            (_, Ok(_)) => self.fail(now, unexpected()),
        }
    }

    fn on_discarding(&mut self, now: Instant, repeated: bool, input: Input) -> Tail {
        let tail = Tail::Discarding { repeated };
        match input {
            Input::Reply(key, result) => match (self.purpose(key), result) {
                // The request may never have left; a call that is not discarded rings on for 90 s.
                (Some(Purpose::Discard(rpc)), Err(RpcError::Connection)) if !repeated => {
                    self.deadline = Some(now + DISCARD);
                    self.invoke(Purpose::Discard(rpc.clone()), rpc);
                    Tail::Discarding { repeated: true }
                }
                (Some(Purpose::Discard(_)), _) => self.finish(),
                _ => tail,
            },
            Input::Update(call) => match self.verdict(&call) {
                Verdict::Discarded(_) => self.finish(),
                Verdict::Ignore | Verdict::Ours | Verdict::Forged => tail,
            },
            Input::Timeout if self.is_due(now) => self.finish(),
            Input::Timeout
            | Input::SignalReceived(_)
            | Input::SignalToSend(_)
            | Input::Answer
            | Input::Refuse(_)
            | Input::HangUp
            | Input::MediaConnected
            | Input::MediaFailed(_) => tail,
        }
    }

    // -- the end -------------------------------------------------------------------------------------------------

    /// Ends the call by our own decision.
    pub(super) fn end(
        &mut self,
        now: Instant,
        cause: Cause,
        reason: Discard,
        seconds: i32,
    ) -> Tail {
        self.event(Event::Ended { cause });
        self.discard(now, reason, seconds)
    }

    /// Ends the call because something is wrong.
    pub(super) fn fail(&mut self, now: Instant, cause: Cause) -> Tail {
        self.end(now, cause, Discard::Disconnect, 0)
    }

    /// Sends the discard of a call whose end is told already.
    pub(super) fn discard(&mut self, now: Instant, reason: Discard, seconds: i32) -> Tail {
        let Some(identity) = self.identity else {
            return self.finish();
        };
        self.requests.clear();
        self.deadline = Some(now + DISCARD);
        let rpc = Rpc::DiscardCall {
            peer: identity.input(),
            duration: seconds,
            reason,
        };
        self.invoke(Purpose::Discard(rpc.clone()), rpc);
        Tail::Discarding { repeated: false }
    }

    /// Ends a call that Telegram says is over, or that never came to be.
    pub(super) fn over(&mut self, cause: Cause) -> Tail {
        self.event(Event::Ended { cause });
        self.finish()
    }

    pub(super) fn finish(&mut self) -> Tail {
        self.requests.clear();
        self.early.clear();
        self.deadline = None;
        self.event(Event::Finished);
        Tail::Over
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.deadline.is_some_and(|at| at <= now)
    }
}

/// A result of another type than the request promises.
pub(super) fn unexpected() -> Cause {
    Cause::telegram(Reason::TelegramError, "UNEXPECTED_RESULT")
}
