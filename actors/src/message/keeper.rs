//! What is to be kept, or read.

use actix::Message;
use model::{BanRecord, CallId, CallRecord, Cause, OpenCall, SessionName, TrunkName};

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

/// House -> Registry, Keeper: write what has gathered, now. The keeper comes second: what the registry writes passes it.
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
