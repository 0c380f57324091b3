//! What net, the endpoint, trunks and SIP legs say to each other.

use std::sync::Arc;

use actix::{Message, Recipient};
use model::{Cause, LegId, Peer, Secret, TrunkName};
use sip::call::{CallInput, DialogId};
use sip::{Hop, Request, Response, ServerKey};

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
