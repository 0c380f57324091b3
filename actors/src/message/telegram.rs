//! What net, sessions and Telegram legs say to each other.

use actix::{Message, Recipient};
use grammers_tl_types as tl;
use model::{Cause, Peer, Secret, SessionName, TrunkName};
use routing::{Dialled, Hunt};

/// net -> Session: something of the account arrived.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct FromTelegram(pub(crate) net::telegram::Event);

/// Session -> Registry: its state changed.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct SessionChanged {
    pub(crate) session: SessionName,
    pub(crate) address: actix::Addr<crate::session::Session>,
    pub(crate) state: routing::SessionState,
    /// What it waits for.
    pub(crate) waits: routing::Waits,
    /// The account's own user id, once known.
    pub(crate) user_id: Option<i64>,
}

/// Session -> Registry: a Telegram user calls.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct CallOffered {
    pub(crate) session: SessionName,
    pub(crate) caller: Caller,
    pub(crate) requested: Box<tl::types::PhoneCallRequested>,
    pub(crate) settings: Box<telegram::CallSettings>,
}

/// A Telegram user who calls, as far as the account may see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    /// The account that he calls, or wrote to.
    pub(crate) session: SessionName,
    pub(crate) user_id: i64,
    pub(crate) phone: Option<String>,
    pub(crate) username: Option<String>,
    pub(crate) first_name: String,
    pub(crate) last_name: String,
    /// What he wrote is to be dialled; nothing: the number of each trunk.
    pub(crate) dialled: Option<Dialled>,
}

/// Who calls a PBX.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Calling {
    /// A Telegram user, who reaches the number of the trunk.
    Telegram(Caller),
    /// Somebody of another trunk, who dialled.
    Sip(SipCaller),
}

/// A caller of another trunk, as its PBX shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SipCaller {
    /// The user part of From; nothing for one who does not want to be known.
    pub(crate) user: Option<String>,
    /// Its display name, under the same condition.
    pub(crate) display: Option<String>,
    /// The trunk the call came from; nothing for somebody whom the PBX itself called.
    pub(crate) trunk: Option<TrunkName>,
    /// What was dialled.
    pub(crate) number: String,
    /// What is called in a trunk instead.
    pub(crate) rewritten: Dialled,
    /// How many hops the call may still make.
    pub(crate) max_forwards: u8,
}

/// Session -> Registry, Call -> Registry: somebody wrote what may be a number. The session is answered by [`Understood`].
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct TextWritten {
    pub(crate) session: SessionName,
    pub(crate) writer: Caller,
    pub(crate) text: Secret<String>,
    pub(crate) what: Sent,
}

/// What somebody has sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    /// A text, which may be a number.
    Text,
    /// Something else, of which there is a line: for the PBX alone.
    Attachment,
}

/// Registry -> Call: who is being called back wants another number.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Redial {
    /// What is dialled where.
    pub(crate) dialled: Dialled,
    /// In which order.
    pub(crate) hunt: Hunt,
}

/// Registry -> Session: what a text means that somebody wrote.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Understood {
    pub(crate) user_id: i64,
    pub(crate) text: Secret<String>,
    /// Empty: it is no number.
    pub(crate) dialled: Dialled,
}

/// Registry -> Session: nobody will take this call; discard it as busy.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct DeclineCall {
    pub(crate) peer: tl::types::InputPhoneCall,
    /// The caller.
    pub(crate) user_id: i64,
    pub(crate) cause: Cause,
}

/// Call -> Session: tell this caller why nobody took the call.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct NotifyUser {
    pub(crate) user_id: i64,
    pub(crate) cause: Cause,
}

/// Leg -> Session: who is this? Answered by [`Resolved`].
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Resolve {
    pub(crate) peer: Peer,
    pub(crate) answer: Recipient<Resolved>,
}

/// Session -> Leg: the answer to [`Resolve`].
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Resolved(pub(crate) Result<Box<Callee>, Cause>);

/// Whom a leg calls, and how.
pub(crate) struct Callee {
    /// Who that is, as far as the account may see.
    pub(crate) person: Caller,
    pub(crate) user: tl::types::InputUser,
    pub(crate) settings: telegram::CallSettings,
}

/// Leg -> Session: carry out a request; answered by [`Done`].
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Invoke {
    pub(crate) key: telegram::RequestKey,
    pub(crate) rpc: telegram::Rpc,
    /// Absent when the leg dies and nobody is left to hear the answer.
    pub(crate) answer: Option<Recipient<Done>>,
}

/// Session -> Leg: the answer to [`Invoke`].
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Done {
    pub(crate) key: telegram::RequestKey,
    pub(crate) result: Result<telegram::Reply, telegram::RpcError>,
}

/// Leg -> Session: updates of this phone call go to this leg from now on.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct BindCall {
    pub(crate) phone_call: i64,
    /// With whom, if that is known.
    pub(crate) user_id: Option<i64>,
    pub(crate) leg: Recipient<CallUpdated>,
}

/// Leg -> Session: the phone call is over.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct UnbindCall {
    pub(crate) phone_call: i64,
}

/// Session -> Leg: an update of its phone call.
#[derive(Message, Clone)]
#[rtype(result = "()")]
pub(crate) enum CallUpdated {
    /// `updatePhoneCall`.
    State(Box<tl::enums::PhoneCall>),
    /// `updatePhoneCallSignalingData`.
    Signaling(Vec<u8>),
    /// The user wrote something.
    Text(Secret<String>),
}

/// Leg -> Session: key agreement parameters that were checked, for the calls to come.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct KnownDh(pub(crate) telegram::dh::DhConfig);
