//! What one record alone cannot say: whether all records together make sense.

use std::net::SocketAddr;

use model::{SessionName, TrunkKind, TrunkName, TrunkSpec};

use crate::{Difference, Table};

/// Why trunks, sessions and routes do not fit together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// Nobody could tell who registers.
    #[error("trunks {0} and {1} have the same login: give one of them another")]
    Login(TrunkName, TrunkName),
    /// Nobody could tell who calls.
    #[error(
        "trunks {0} and {1} have the same address {2}: peers are told apart by address and port, or by their header"
    )]
    Address(TrunkName, TrunkName, SocketAddr),
    /// The route leads from nowhere.
    #[error("the route {0} - {1} names a trunk that does not exist")]
    NoTrunk(TrunkName, SessionName),
    /// The route leads nowhere.
    #[error("the route {0} - {1} names a session that does not exist")]
    NoSession(TrunkName, SessionName),
}

/// Checks what differs between two tables: whether it makes sense beside everything else. Reports the first conflict; one that was there
/// before is not held against whoever changes something about it, so that it can be mended.
pub fn check(before: &Table, after: &Table) -> Result<(), Conflict> {
    for Difference {
        before: old,
        after: new,
    } in before.changed_trunks(after)
    {
        let conflict = match (old, new) {
            (_, Some(trunk)) => told_apart(after, trunk),
            (Some(trunk), None) => after
                .routes_from(&trunk.name)
                .next()
                .map(|route| Conflict::NoTrunk(route.trunk.clone(), route.session.clone())),
            (None, None) => None,
        };
        let known = old.and_then(|trunk| told_apart(before, trunk));
        if let Some(conflict) = conflict.filter(|conflict| known.as_ref() != Some(conflict)) {
            return Err(conflict);
        }
    }
    for Difference {
        before: old,
        after: new,
    } in before.changed_sessions(after)
    {
        let gone = old.filter(|_| new.is_none());
        if let Some(route) = gone.and_then(|session| after.routes_to(&session.name).next()) {
            let (trunk, session) = (route.trunk.clone(), route.session.clone());
            return Err(Conflict::NoSession(trunk, session));
        }
    }
    for route in before.changed_routes(after) {
        let Some(route) = route.after else { continue };
        let pair = || (route.trunk.clone(), route.session.clone());
        if after.trunk(&route.trunk).is_none() {
            let (trunk, session) = pair();
            return Err(Conflict::NoTrunk(trunk, session));
        }
        if after.session(&route.session).is_none() {
            let (trunk, session) = pair();
            return Err(Conflict::NoSession(trunk, session));
        }
    }
    Ok(())
}

/// Why a trunk cannot be told from another one.
fn told_apart(table: &Table, trunk: &TrunkSpec) -> Option<Conflict> {
    // The same two are named in the same order, whichever is looked at.
    let pair = |other: &TrunkName| {
        let (one, two) = (trunk.name.clone(), other.clone());
        if one < two { (one, two) } else { (two, one) }
    };
    if let Some(other) = table.same_login(trunk) {
        let (one, two) = pair(other);
        return Some(Conflict::Login(one, two));
    }
    let TrunkKind::Peer { address } = &trunk.kind else {
        return None;
    };
    table.same_peer(trunk).map(|other| {
        let (one, two) = pair(other);
        Conflict::Address(one, two, *address)
    })
}
