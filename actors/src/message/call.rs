//! What calls, their legs and the registry say to each other.

use actix::{Message, Recipient};
use bytes::Bytes;
use model::{CallId, Cause, Codec, Farewell, LegEnd, LegId, Secret, TrunkName};

use super::{Caller, Calling, InviteArrived, Owner};

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
    /// A SIP leg has a dialog: who its INVITE says that it is from and to.
    Named { side: Box<model::SipSide> },
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

impl Wish {
    /// Whether it leads into a call that is up already (RFC 3891 2).
    pub(crate) fn replaces(&self) -> bool {
        let mut headers = self.target.headers().into_iter();
        headers.any(|(name, _)| name.eq_ignore_ascii_case("Replaces"))
    }
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
    /// What its PBX answered, or 408 where it did not.
    pub(crate) code: u16,
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
    /// Where the PBX of that leg is.
    pub(crate) peer: Option<sip::Hop>,
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
