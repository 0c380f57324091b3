//! What one record alone cannot say: whether all records together make sense.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;

use model::{RouteSpec, SessionName, SessionSpec, TrunkKind, TrunkName, TrunkSpec};

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

/// Checks records that are to be in force together; reports the first conflict.
pub fn check(
    trunks: &[TrunkSpec],
    sessions: &[SessionSpec],
    routes: &[RouteSpec],
) -> Result<(), Conflict> {
    let (mut logins, mut addresses) = (HashMap::new(), HashMap::new());
    let mut accounts = HashMap::new();
    for trunk in trunks {
        match &trunk.kind {
            TrunkKind::InboundRegister { login, .. } => {
                if let Some(other) = logins.insert(login, &trunk.name) {
                    return Err(Conflict::Login(other.clone(), trunk.name.clone()));
                }
            }
            TrunkKind::OutboundRegister { login, domain, .. } => {
                if let Some(other) = accounts.insert((login, domain), &trunk.name) {
                    return Err(Conflict::Login(other.clone(), trunk.name.clone()));
                }
            }
            TrunkKind::Peer { address } => {
                if let Some(other) = addresses.insert((address, &trunk.header), &trunk.name) {
                    let (one, two) = (other.clone(), trunk.name.clone());
                    return Err(Conflict::Address(one, two, *address));
                }
            }
        }
    }
    let trunks: HashSet<&TrunkName> = trunks.iter().map(|trunk| &trunk.name).collect();
    let sessions: HashSet<&SessionName> = sessions.iter().map(|session| &session.name).collect();
    for route in routes {
        let pair = || (route.trunk.clone(), route.session.clone());
        if !trunks.contains(&route.trunk) {
            let (trunk, session) = pair();
            return Err(Conflict::NoTrunk(trunk, session));
        }
        if !sessions.contains(&route.session) {
            let (trunk, session) = pair();
            return Err(Conflict::NoSession(trunk, session));
        }
    }
    Ok(())
}
