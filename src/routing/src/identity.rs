//! Who a request comes from: the address first, then the login; never a header that anybody can write.

use std::net::SocketAddr;

use model::{HeaderField, TrunkKind, TrunkName, TrunkSpec};

use crate::Table;

/// What a source and its credentials say.
#[derive(Debug, PartialEq)]
pub enum Identity<'a> {
    /// A peer trunk, recognised by address.
    Peer(&'a TrunkSpec),
    /// The trunk with this login; the password is still to be checked.
    Login(&'a TrunkSpec),
    /// A login that belongs to no trunk.
    UnknownLogin,
    /// Neither a known address nor credentials: to be challenged.
    Stranger,
}

/// Finds the trunk by which we are registered at the sender of a request. `registrars` are where those that are registered just
/// now send to; a registrar calls our login, and where only one trunk is registered there, whatever it calls.
pub fn identify_registrar<'a>(
    table: &'a Table,
    registrars: impl Iterator<Item = (&'a TrunkName, SocketAddr)>,
    source: SocketAddr,
    request_user: &str,
) -> Option<&'a TrunkSpec> {
    let source = source.ip().to_canonical();
    let here: Vec<&TrunkSpec> = registrars
        .filter(|(_, address)| address.ip().to_canonical() == source)
        .filter_map(|(name, _)| table.trunk(name))
        .filter(|trunk| matches!(trunk.kind, TrunkKind::OutboundRegister { .. }))
        .collect();
    let is_called = |trunk: &&&TrunkSpec| matches!(&trunk.kind, TrunkKind::OutboundRegister { login, .. } if login == request_user);
    match here.as_slice() {
        [only] => Some(only),
        _ => here.iter().find(is_called).copied(),
    }
}

/// Identifies the sender of a request; `login` is the username of its digest credentials, `carries` says whether it has a header.
///
/// A peer at exactly this address and port needs no credentials. Otherwise credentials decide, because a PBX that registers
/// may share an address with a peer. Without any, an address of a peer is enough, whatever its port.
pub fn identify<'a>(
    table: &'a Table,
    source: SocketAddr,
    login: Option<&str>,
    carries: &dyn Fn(&HeaderField) -> bool,
) -> Identity<'a> {
    if let Some(trunk) = table.peer_at(source, false, carries) {
        return Identity::Peer(trunk);
    }
    match login {
        Some(login) => table
            .by_login(login)
            .map_or(Identity::UnknownLogin, Identity::Login),
        None => table
            .peer_at(source, true, carries)
            .map_or(Identity::Stranger, Identity::Peer),
    }
}
