//! Every message between the actors: what happened, or what is wanted. The doc line names sender -> receiver.

use std::sync::Arc;

use actix::{Message, Recipient};
use bytes::Bytes;
use grammers_tl_types as tl;
use model::{
    BanRecord, CallId, CallRecord, Cause, Codec, Farewell, LegEnd, LegId, OpenCall, Peer, Secret,
    SessionName, TrunkName,
};
use routing::{Dialled, Hunt};
use sip::call::{CallInput, DialogId};
use sip::{Hop, Request, Response, ServerKey};

// ---------------------------------------------------------------- SIP: net, Endpoint, legs, trunks

/// net -> Endpoint: a message, or the end of a connection.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Received {
    pub(crate) arrival: net::stream::Arrival,
    /// When it was read from its socket.
    pub(crate) at: std::time::Instant,
}

/// Endpoint -> Registry: an INVITE outside any dialog, of a PBX that has proved who it is.
#[derive(Message, Clone)]
#[rtype(result = "()")]
pub(crate) struct InviteArrived {
    /// Whose it is.
    pub(crate) from: TrunkName,
    pub(crate) tx: ServerKey,
    pub(crate) source: Hop,
    /// Shared by all who look at it on its way to the leg.
    pub(crate) request: Arc<Request>,
    /// The leg whose place it shall take (RFC 3891).
    pub(crate) replaces: Option<Replaced>,
}

/// The leg that an INVITE names in Replaces.
#[derive(Clone)]
pub(crate) struct Replaced {
    pub(crate) leg: LegPlace,
    /// Only while nobody has answered.
    pub(crate) early_only: bool,
}

/// A leg and its call.
#[derive(Clone)]
pub(crate) struct LegPlace {
    pub(crate) call: actix::Addr<crate::call::Call>,
    pub(crate) leg: LegId,
}

/// Endpoint -> Registry: a MESSAGE of a PBX that has proved who it is.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct TextArrived {
    /// Whose it is.
    pub(crate) from: TrunkName,
    pub(crate) tx: ServerKey,
    pub(crate) source: Hop,
    pub(crate) request: Arc<Request>,
}

/// Registry -> Session: pass a text of a PBX on, and answer its MESSAGE.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct PassText {
    pub(crate) peer: Peer,
    pub(crate) text: Secret<String>,
    pub(crate) tx: ServerKey,
    pub(crate) request: Arc<Request>,
}

/// Text -> Session: the PBX did not take what somebody wrote.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct NotDelivered {
    pub(crate) user_id: i64,
    pub(crate) cause: Cause,
}

/// Endpoint -> Registry, Registry -> Trunk: a REGISTER of a PBX that has proved who it is.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct RegisterArrived {
    /// Whose it is.
    pub(crate) from: TrunkName,
    pub(crate) tx: ServerKey,
    pub(crate) source: Hop,
    pub(crate) request: Arc<Request>,
}

/// Registry, Trunk, Leg -> Endpoint: answer a request.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Respond {
    pub(crate) tx: ServerKey,
    pub(crate) response: Response,
}

/// Leg -> Endpoint: send a request in a client transaction of its own.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct SendRequest {
    /// Absent when nobody wants the outcome.
    pub(crate) owner: Option<Owner>,
    pub(crate) target: Hop,
    pub(crate) request: Request,
}

/// Leg -> Endpoint: send the ACK of a 2xx, which belongs to no transaction.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct SendAck {
    pub(crate) target: Hop,
    pub(crate) request: Request,
}

/// Leg -> Endpoint: cancel the INVITE it sent.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct CancelInvite {
    pub(crate) owner: Owner,
    pub(crate) reason: Option<String>,
}

/// Leg -> Endpoint: what concerns this dialog goes to this leg from now on.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Bind {
    pub(crate) owner: Owner,
    pub(crate) dialog: DialogId,
    /// The INVITE that made the leg, so that its CANCEL finds it.
    pub(crate) invite: Option<ServerKey>,
    pub(crate) leg: Recipient<FromWire>,
    /// Which leg of which call it is, so that it can be replaced; a registration is none.
    pub(crate) place: Option<LegPlace>,
}

/// Leg -> Endpoint: the dialog is over.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Unbind {
    pub(crate) owner: Owner,
}

/// Endpoint -> Leg: something of its dialog arrived.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct FromWire(pub(crate) CallInput);

/// Who a client transaction belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Owner(pub(crate) u64);

/// Trunk -> Registry: whether calls can be placed on it, and where to.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct TrunkState {
    pub(crate) trunk: TrunkName,
    pub(crate) address: actix::Addr<crate::trunk::Trunk>,
    pub(crate) contacts: Vec<Contact>,
}

/// One place where a trunk can be called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Contact {
    /// The Request-URI.
    pub(crate) uri: sip::Uri,
    /// Where its packets go.
    pub(crate) send_to: Hop,
    /// Where else it may be, if nobody is found there.
    pub(crate) others: Vec<Hop>,
}

// ---------------------------------------------------------------- Telegram: net, Session, legs

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

// ---------------------------------------------------------------- Call and its legs

/// Leg -> Call: what became of it.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct LegReport {
    pub(crate) leg: LegId,
    pub(crate) fact: LegFact,
}

/// What a leg has to say.
pub(crate) enum LegFact {
    /// The offer of the caller can be answered, with any of these codecs. Without media (a late offer, or an answer that waits for the
    /// other side's) it comes with [`LegFact::Changed`].
    Offered {
        audio: Option<SipMedia>,
        codecs: Vec<Codec>,
    },
    /// Whom a Telegram leg calls has been found.
    Met { person: Box<Caller> },
    /// A device rings.
    Ringing,
    /// A Telegram leg agreed on its key: its media can start.
    Agreed { start: Box<telegram::MediaStart> },
    /// The party answered; for a SIP leg with the media agreed on.
    Answered { audio: Option<SipMedia> },
    /// The answer of a SIP leg is acknowledged.
    Confirmed,
    /// A SIP leg's media changed (re-INVITE), or came late.
    Changed { audio: SipMedia },
    /// Signalling of the Telegram media engine from the peer.
    Signaling { bytes: Bytes },
    /// A digit came by SIP INFO.
    Digit { digit: char },
    /// The PBX wants another number in its place.
    TransferWanted { wish: Wish },
    /// The Telegram user wrote something: keys to be pressed on the other side, or another number.
    Wrote { text: Secret<String> },
    /// A SIP leg that rings has media to be heard already.
    Early { audio: SipMedia },
    /// The PBX answered an INFO of ours.
    InfoAnswered { accepted: bool },
    /// The PBX has taken a hold of ours, or has not.
    Held { on: bool, done: bool },
    /// What would end the leg if this process were gone; nothing when there is nobody at its other end.
    Farewell { farewell: Option<Farewell> },
    /// The leg is over.
    Ended { cause: Cause, end: LegEnd },
}

/// SipLeg -> Endpoint: tell my call what would cancel the INVITE that has no answer (RFC 3261 9.1).
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct SayCancel {
    pub(crate) owner: Owner,
    /// The value of its Reason header.
    pub(crate) reason: String,
}

/// Whom a leg shall be replaced by.
#[derive(Debug, Clone)]
pub(crate) enum TransferTo {
    /// Whom the PBX wants.
    Pbx(Wish),
    /// A number that an owner wants.
    Owner(String),
}

/// What a REFER asks for.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    /// Whom to call.
    pub(crate) target: Box<sip::Uri>,
    /// Who says so: the value of Referred-By (RFC 3892).
    pub(crate) referred_by: Option<String>,
}

/// The media a SIP leg agreed on.
#[derive(Debug, Clone)]
pub(crate) struct SipMedia {
    pub(crate) agreed: sip::sdp::Agreed,
    /// Where the peer's signalling comes from.
    pub(crate) signalling: std::net::IpAddr,
}

/// Call -> Leg: what the leg shall do.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) enum LegOrder {
    /// Tell the caller that a device rings.
    Ring,
    /// Answer the caller; in the codec of another SIP party if there is one and that can be, or in one that can be turned into it.
    Answer { partner: Option<Codec> },
    /// Press a key by SIP INFO; answered by [`LegFact::InfoAnswered`].
    Digit { digit: char },
    /// Hold the PBX, or let it go on; answered by [`LegFact::Held`].
    Hold { on: bool },
    /// End it, saying why.
    HangUp { cause: Cause },
    /// The Telegram media is connected.
    MediaConnected,
    /// The Telegram media is lost, or never came up.
    MediaFailed { why: &'static str },
    /// Signalling bytes of our media engine for the peer.
    Signal { bytes: Bytes },
    /// The transfer that the PBX wants is under way.
    AcceptTransfer,
    /// It is not.
    RefuseTransfer { cause: Cause },
    /// Say what would end it if this process were gone; answered by [`LegFact::Farewell`].
    SayFarewell,
    /// How the transfer goes; a code of 200 or more is its end.
    TransferProgress { code: u16, phrase: String },
}

/// Call -> Registry: the call is over and its lines are free.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct CallOver {
    pub(crate) call: CallId,
    /// What it counts as.
    pub(crate) end: routing::CallEnd,
}

/// Call -> Registry: both sides talk.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct CallAnswered {
    pub(crate) call: CallId,
    /// The trunk that answered, of those that were called.
    pub(crate) by: Option<TrunkName>,
}

/// Call -> Registry: how a trunk took a call; only when that says whether the trunk works.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct TrunkSaid {
    pub(crate) call: CallId,
    pub(crate) trunk: TrunkName,
    pub(crate) works: bool,
    /// How long its PBX wants to be left alone.
    pub(crate) held_back: Option<std::time::Duration>,
}

/// A call that is answered, as it tells a new registry.
#[derive(Debug, Clone)]
pub(crate) struct Answered {
    pub(crate) ago: std::time::Duration,
    pub(crate) by: Option<TrunkName>,
}

/// Call -> Registry: after the registry was restarted, a call that lives says what it holds.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Adopt {
    pub(crate) call: CallId,
    pub(crate) held: Box<crate::call::Held>,
    pub(crate) answered: Option<Answered>,
    pub(crate) address: actix::Addr<crate::call::Call>,
}

/// Leg -> Registry: it is certain now whom this call goes to; refused when he may not have another.
#[derive(Message)]
#[rtype(result = "Result<(), Cause>")]
pub(crate) struct MeetUser {
    pub(crate) call: CallId,
    pub(crate) user_id: i64,
}

/// Registry -> Call: it holds a line of this user from now on.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct UserMet {
    pub(crate) user: model::UserName,
}

/// Registry -> Call: end, because the switch stops or a quota is used up.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct EndCall {
    pub(crate) cause: Cause,
}

/// media -> Call: an event of the call's media task; `None` when the task has ended.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct FromMedia(pub(crate) Option<net::media::MediaEvent>);

/// Call -> Registry: these trunks shall ring now; a line of each is taken. Answered by [`Group`].
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct RingGroup {
    pub(crate) call: CallId,
    pub(crate) trunks: Vec<TrunkName>,
    pub(crate) caller: Calling,
    pub(crate) answer: Recipient<Group>,
}

/// Registry -> Call: where they can be called, and why some cannot.
#[derive(Message, Default)]
#[rtype(result = "()")]
pub(crate) struct Group {
    /// The trunks that were asked for.
    pub(crate) asked: Vec<TrunkName>,
    pub(crate) targets: Vec<crate::call::SipTarget>,
    pub(crate) failures: Vec<Cause>,
}

/// Call -> Registry: may this number of the trunk be called in place of a leg? Answered by [`Placed`].
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct PlaceTransfer {
    pub(crate) call: CallId,
    pub(crate) trunk: TrunkName,
    pub(crate) to: TransferTo,
    /// Who the called number sees.
    pub(crate) caller: Calling,
    pub(crate) answer: Recipient<Placed>,
}

/// Registry -> Call: where to call for a transfer, or why not.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Placed(pub(crate) Result<Box<crate::call::SipTarget>, Cause>);

/// Registry -> Call: an INVITE that shall take the place of a leg.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct TakePlace {
    pub(crate) leg: LegId,
    pub(crate) early_only: bool,
    pub(crate) trunk: Box<model::TrunkSpec>,
    pub(crate) invite: Box<InviteArrived>,
}

/// Call -> Registry: a trunk rings no more, its line is free.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct GiveBack {
    pub(crate) call: CallId,
    pub(crate) trunk: TrunkName,
}

// ---------------------------------------------------------------- Keeper

/// Call -> Keeper: a call began, or there is something else to be said to its ends when this process is gone.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct OpenRecord {
    pub(crate) call: Box<OpenCall>,
}

/// Call -> Keeper: a call ended; true when its record is on disk.
#[derive(Message)]
#[rtype(result = "bool")]
pub(crate) struct CloseRecord {
    pub(crate) record: Box<CallRecord>,
}

/// Registry -> Keeper: a call died without closing its record.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct CloseLost {
    pub(crate) call: CallId,
    pub(crate) cause: Cause,
}

/// House -> Keeper: write what has gathered, now.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Settle;

/// Trunk -> Keeper: bindings changed; soft, a crash may lose a second of it.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct SaveBindings {
    pub(crate) trunk: TrunkName,
    pub(crate) bindings: Vec<u8>,
}

/// Root -> Keeper: who is banned now, for the store and the file.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct SaveBans {
    pub(crate) bans: Vec<BanRecord>,
}

/// Registry -> Keeper: the bindings a trunk had.
#[derive(Message)]
#[rtype(result = "Option<Vec<u8>>")]
pub(crate) struct LoadBindings {
    pub(crate) trunk: TrunkName,
}

/// Session -> Keeper: its limits changed; true when they are written. A durable write is on disk then, of a soft one a crash may
/// lose a second.
#[derive(Message)]
#[rtype(result = "bool")]
pub(crate) struct SaveLimits {
    pub(crate) session: SessionName,
    pub(crate) limits: Vec<u8>,
    pub(crate) durable: bool,
}

/// Registry -> Keeper: what a session knew.
#[derive(Message)]
#[rtype(result = "KeptSession")]
pub(crate) struct LoadSession {
    pub(crate) session: SessionName,
}

/// What is kept of a session, as it was written.
#[derive(Default, actix::MessageResponse)]
pub(crate) struct KeptSession {
    /// The store does not say what the limits are.
    pub(crate) is_unreadable: bool,
    /// The limits.
    pub(crate) limits: Option<Vec<u8>>,
    /// Whom it has looked up.
    pub(crate) look_ups: Vec<Vec<u8>>,
    /// Numbers that wait for the calls of who wrote them.
    pub(crate) wishes: Vec<Vec<u8>>,
}

/// Session -> Keeper: somebody wants a number to be dialled when he calls, or no more; true when that is on disk.
#[derive(Message)]
#[rtype(result = "bool")]
pub(crate) struct SaveWish {
    pub(crate) session: SessionName,
    pub(crate) user_id: i64,
    /// Nothing to forget it.
    pub(crate) value: Option<Vec<u8>>,
}

/// Session -> Keeper: somebody was looked up, or is to be forgotten; soft.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct SaveLookUp {
    pub(crate) session: SessionName,
    pub(crate) key: String,
    /// Nothing to forget it.
    pub(crate) value: Option<Vec<u8>>,
}

/// Registry -> Keeper: what was counted, as it was written: keys and values; nothing when it cannot be read.
#[derive(Message)]
#[rtype(result = "Option<Vec<store::Entry>>")]
pub(crate) struct LoadCounters;

/// Registry -> Keeper: counters that have changed, or are to be forgotten; soft.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct SaveCounters {
    pub(crate) changed: Vec<(String, Option<Vec<u8>>)>,
}

// ---------------------------------------------------------------- House

/// House -> Registry: how are you?
#[derive(Message)]
#[rtype(result = "crate::house::Report")]
pub(crate) struct Inspect;

/// House -> Registry: how are the sessions?
#[derive(Message)]
#[rtype(result = "Vec<crate::house::SessionReport>")]
pub(crate) struct ListSessions;

/// House -> Registry: who has a quota, and what of it is used?
#[derive(Message)]
#[rtype(result = "Vec<crate::registry::QuotaReport>")]
pub(crate) struct ListQuotas;

/// House -> Registry: forget what somebody has used.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct ResetQuota {
    pub(crate) subject: routing::Subject,
}

/// House -> Registry: place calls on a trunk again that was blocked by its failures; false when there is no such trunk.
#[derive(Message)]
#[rtype(result = "bool")]
pub(crate) struct Unblock {
    pub(crate) trunk: TrunkName,
}

/// House -> Registry: begin anew with a trunk that is on; false when there is none.
#[derive(Message)]
#[rtype(result = "bool")]
pub(crate) struct Reconnect {
    pub(crate) trunk: TrunkName,
}

/// House -> Registry: take no new calls.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Drain;

/// House -> Registry: end all calls.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct EndAll;

/// Registry -> Trunk: the process stops, unregister where we are registered.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Leave;

/// House -> Root -> Registry: these are the trunks, sessions and routes from now on. Answered when every actor concerned has its orders.
#[derive(Message, Clone)]
#[rtype(result = "()")]
pub(crate) struct Apply {
    pub(crate) table: std::sync::Arc<routing::Table>,
}

/// House -> Registry: end the calls of this session; its owner takes it away.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct EndCallsOf {
    pub(crate) session: SessionName,
}

/// House -> Registry: close the connection of this session and forget it, because there are other keys; answered when that is done.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Unplug {
    pub(crate) session: SessionName,
}

/// House -> Registry: the session has a connection now, and may start.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Linked {
    pub(crate) session: SessionName,
}

/// Registry -> Trunk, Session: your record has changed, in nothing that would need another incarnation.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Revise<S: Send + 'static>(pub(crate) S);

/// Registry -> Trunk, Session: you are not wanted any more; answered when nothing of yours will be said any more.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Retire {
    /// A successor registers at the same place by the same contact: a goodbye might overtake it.
    pub(crate) is_succeeded: bool,
}

/// House -> Registry: the living calls that began after this one, oldest first.
#[derive(Message)]
#[rtype(result = "Vec<actix::Addr<crate::call::Call>>")]
pub(crate) struct ListCalls {
    pub(crate) after: Option<CallId>,
    pub(crate) limit: usize,
}

/// House -> Registry: one of them.
#[derive(Message)]
#[rtype(result = "Option<actix::Addr<crate::call::Call>>")]
pub(crate) struct FindCall {
    pub(crate) call: CallId,
}

/// House -> Call: an owner wants something.
#[derive(Message)]
#[rtype(result = "crate::house::Ordered")]
pub(crate) struct OrderCall(pub(crate) crate::house::CallOrder);

/// House -> Call: how are you?
#[derive(Message)]
#[rtype(result = "Box<crate::house::CallReport>")]
pub(crate) struct DescribeCall;

/// House -> Registry: call these two and join them; the same order once more does nothing while the call goes on.
#[derive(Message)]
#[rtype(result = "Result<(), Cause>")]
pub(crate) struct DialCall {
    pub(crate) id: CallId,
    pub(crate) order: crate::house::DialOrder,
}

/// House -> Registry: how are the trunks?
#[derive(Message)]
#[rtype(result = "Vec<crate::house::TrunkReport>")]
pub(crate) struct ListTrunks;

/// House -> Registry: what would become of this call?
#[derive(Message)]
#[rtype(result = "Result<crate::house::RouteReport, crate::house::NoSuch>")]
pub(crate) struct TryRoute(pub(crate) crate::house::TryCall);
