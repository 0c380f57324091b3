//! A call that an owner orders: a Telegram user is called, then a number of a trunk, and the two are joined.

use model::{Cause, Peer, Reason, SessionName, TrunkName};

use crate::decide::{can_be_called, is_itself, must_work, storage_must_be_on};
use crate::text::is_number;
use crate::{Dialled, Hunt, SessionState, Table, World};

/// A call that is ordered.
#[derive(Debug, Clone, Copy)]
pub struct Order<'a> {
    /// The session that calls the Telegram user.
    pub session: &'a SessionName,
    /// The Telegram user.
    pub peer: &'a Peer,
    /// The trunk by which the number is called.
    pub trunk: &'a TrunkName,
    /// The number. The dial rules of the trunk rewrite it if it has any; a trunk that dials nothing of what Telegram users write takes it as
    /// it is, for it comes from an owner.
    pub number: &'a str,
}

/// Decides whether an ordered call may be placed: what is dialled, and the trunk as the only one of its hunt. The trunk must be on and able to be called,
/// belong to the session by a route, and the session must be able to place a call.
pub fn decide_order(
    table: &Table,
    world: &impl World,
    order: &Order<'_>,
) -> Result<(Dialled, Hunt), Cause> {
    let trunk = table.trunk(order.trunk).filter(|trunk| trunk.enabled);
    let trunk = trunk.ok_or(Cause::new(Reason::AccountNotRunning))?;
    must_work(table, trunk)?;
    storage_must_be_on(table)?;
    let is_routed = table
        .groups_of(order.session)
        .any(|group| group.contains(&trunk.name));
    if !is_routed {
        return Err(Cause::new(Reason::RouteNotPermitted));
    }
    let session = table.session(order.session);
    let session = session.filter(|session| session.enabled);
    let session = session.ok_or(Cause::new(Reason::SessionNotRunning))?;
    match world.session_state(order.session) {
        SessionState::Running | SessionState::FloodWait => {}
        SessionState::Restricted => return Err(Cause::new(Reason::PeerFlood)),
        SessionState::Offline | SessionState::Connecting | SessionState::Unauthorized => {
            return Err(Cause::new(Reason::SessionNotRunning));
        }
    }
    let is_own = match order.peer {
        Peer::UserId(id) => world.is_own_account(*id),
        Peer::Phone(_) | Peer::Username(_) => false,
    };
    if is_own || is_itself(session, order.peer) {
        return Err(Cause::new(Reason::LoopDetected));
    }
    if world.is_talking(order.session, order.peer) {
        return Err(Cause::new(Reason::BusyHere));
    }
    let number = match table.dialling(&trunk.name) {
        Some(rules) => rules.apply(order.number),
        None => Some(order.number.to_owned()),
    };
    let is_taken = |number: &str| {
        let called = table.number_in(&trunk.name, order.session, Some(number));
        called.is_ok()
    };
    let number = number.filter(|number| is_number(number) && is_taken(number));
    let number = number.ok_or(Cause::new(Reason::NotFound))?;
    if !can_be_called(world, &trunk.name) {
        return Err(Cause::new(Reason::SipAccountUnavailable));
    }
    let hunt = Hunt::new([vec![trunk.name.clone()]]);
    let dialled = [(trunk.name.clone(), number)].into_iter().collect();
    Ok((dialled, hunt.stopping_on_6xx(session.stop_on_6xx)))
}
