//! What the house says to its actors, and what is asked of it.

use actix::Message;
use model::{CallId, Cause, SessionName, TrunkName};

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

/// The first of the living calls that were asked for, and the last of them, if there are more.
pub(crate) struct FoundCalls {
    pub(crate) calls: Vec<actix::Addr<crate::call::Call>>,
    pub(crate) next: Option<CallId>,
}

/// House -> Registry: the living calls that began after this one, oldest first.
#[derive(Message)]
#[rtype(result = "FoundCalls")]
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
