//! What a call is made from: what it holds, and what shall be connected with what.

use model::{CallId, Direction, Peer, SessionName, TrunkName, TrunkSpec, UserName};
use routing::Hunt;

use crate::message::{Calling, InviteArrived};
use crate::session::Session;
use crate::supervise::{Door, Watch};

/// What the registry must know of a call, also after the registry itself was restarted.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub(crate) direction: Direction,
    /// The trunk it is counted under: of a hunt the first.
    pub(crate) trunk: TrunkName,
    /// The trunks it holds a line of: while a group rings, all of them.
    pub(crate) lines: Vec<TrunkName>,
    /// None for a call from trunk to trunk.
    pub(crate) session: Option<SessionName>,
    /// The Telegram user, as the call was routed.
    pub(crate) peer: Option<Peer>,
    /// The same as the owner knows him, if he does: a line of his is held.
    pub(crate) user: Option<UserName>,
}

impl Held {
    /// The name of the session, for records and logs; empty without one.
    pub(crate) fn session_name(&self) -> &str {
        self.session.as_ref().map_or("", SessionName::as_str)
    }

    /// The trunk that a line is held of from beginning to end, whoever rings: the caller's.
    pub(crate) fn own_trunk(&self) -> Option<&TrunkName> {
        match self.direction {
            Direction::SipToTg | Direction::SipToSip => Some(&self.trunk),
            Direction::TgToSip => None,
        }
    }
}

/// What shall be connected with what.
pub(crate) enum Plan {
    /// A PBX calls a Telegram user.
    ToTelegram {
        trunk: Box<TrunkSpec>,
        invite: Box<InviteArrived>,
        peer: Peer,
    },
    /// A PBX is called; the targets ring at the same time, then the groups of the hunt.
    ToSip {
        origin: Origin,
        caller: Box<Calling>,
        hunt: Box<Hunt>,
        targets: Vec<SipTarget>,
    },
}

/// Where a call to a PBX comes from.
pub(crate) enum Origin {
    /// A Telegram user.
    Telegram {
        requested: Box<grammers_tl_types::types::PhoneCallRequested>,
        settings: Box<telegram::CallSettings>,
    },
    /// A Telegram user who wrote a number, and is called first.
    Callback,
    /// A Telegram user whom an owner has called first.
    Ordered,
    /// Another trunk.
    Trunk {
        trunk: Box<TrunkSpec>,
        invite: Box<InviteArrived>,
    },
}

impl Plan {
    /// The trunk by which a call that came from one leaves first; empty for all others.
    pub(super) fn first_trunk(&self) -> String {
        match self {
            Plan::ToSip {
                origin: Origin::Trunk { .. },
                targets,
                ..
            } => targets
                .first()
                .map_or_else(String::new, |target| target.trunk.name.to_string()),
            Plan::ToTelegram { .. } | Plan::ToSip { .. } => String::new(),
        }
    }
}

/// The trunks of a group of targets.
pub(crate) fn trunks(targets: &[SipTarget]) -> Vec<TrunkName> {
    let mut trunks: Vec<TrunkName> = targets
        .iter()
        .map(|target| target.trunk.name.clone())
        .collect();
    trunks.dedup();
    trunks
}

/// One way to reach the PBX.
pub(crate) struct SipTarget {
    pub(crate) trunk: Box<TrunkSpec>,
    pub(crate) target: Box<sip::call::Target>,
    /// The conditions of the route that leads there, for the record.
    pub(crate) rule: String,
}

/// What a call is made from.
pub(crate) struct CallSpec {
    pub(crate) id: CallId,
    pub(crate) watch: Watch,
    pub(crate) held: Held,
    pub(crate) plan: Plan,
    /// None for a call from trunk to trunk.
    pub(crate) session: Option<Door<Session>>,
    pub(crate) from: String,
    pub(crate) to: String,
    /// The conditions of the route that it takes first, for the record.
    pub(crate) rule: String,
}
