//! The decisions.

use std::net::SocketAddr;
use std::time::Duration;

use model::{Cause, Peer, Reason, Role, SessionName, SessionSpec, TrunkKind, TrunkName, TrunkSpec};

use crate::number::dialled;
use crate::{Dialled, Hunt, SessionState, Table, called_peer};

/// The longest number that is passed from trunk to trunk, in octets.
pub(crate) const MAX_NUMBER: usize = 128;

/// When a PBX should try again that was too early.
const COME_BACK: Duration = Duration::from_secs(5);

/// What is true just now.
pub trait World {
    /// Whether calls can be placed on the trunk: a registered contact, or a peer.
    fn is_reachable(&self, trunk: &TrunkName) -> bool;
    /// Whether no call is placed on the trunk because too many failed; those that it places are taken.
    fn is_blocked(&self, trunk: &TrunkName) -> bool;
    /// What the session can do.
    fn session_state(&self, session: &SessionName) -> SessionState;
    /// Whether the process has just begun, and the session was not up since.
    fn is_starting(&self, session: &SessionName) -> bool;
    /// How many calls the session holds, both ways.
    fn calls_of(&self, session: &SessionName) -> u32;
    /// Whether the session has a call with this person already.
    fn is_talking(&self, session: &SessionName, peer: &Peer) -> bool;
    /// When the session was given a call last, as a number that grows with every call; 0: never.
    fn last_used(&self, session: &SessionName) -> u64;
    /// Whether the session has been given calls to this person, so that it need not look him up.
    fn knows(&self, session: &SessionName, peer: &Peer) -> bool;
    /// Whether what the session knew before could not be read, so that it must not call.
    fn is_unreadable(&self, _session: &SessionName) -> bool {
        false
    }
    /// Whether this Telegram user is an account of this switch.
    fn is_own_account(&self, user_id: i64) -> bool;
}

/// A call that comes from a PBX whose identity is certain.
#[derive(Debug, Clone, Copy)]
pub struct SipOffer<'a> {
    /// The trunk it comes from.
    pub trunk: &'a TrunkSpec,
    /// Where from.
    pub source: SocketAddr,
    /// The user part of the Request-URI, percent-decoded.
    pub request_user: &'a str,
    /// The user part of To, percent-decoded.
    pub to_user: &'a str,
}

impl SipOffer<'_> {
    /// Whether it leaves by other trunks, and not over a session.
    pub fn is_transit(&self, table: &Table) -> bool {
        table.is_transit(&self.trunk.name, self.dialled())
    }

    /// What the PBX dialled.
    pub(crate) fn dialled(&self) -> &str {
        dialled(self.trunk, self.request_user, self.to_user)
    }
}

/// A call that comes from a Telegram user.
#[derive(Debug, Clone, Copy)]
pub struct TelegramOffer<'a> {
    /// The session that is called.
    pub session: &'a SessionName,
    /// The caller's user id.
    pub user_id: i64,
    /// What the caller wants to be dialled, and where; nothing: the number of each trunk.
    pub dialled: Option<&'a Dialled>,
}

/// The call goes to a Telegram user.
#[derive(Debug, Clone, PartialEq)]
pub struct ToTelegram {
    /// Over this session.
    pub session: SessionSpec,
    /// To this person.
    pub peer: Peer,
}

/// The call goes to another PBX.
#[derive(Debug, Clone, PartialEq)]
pub struct ToTrunk {
    /// The trunks to try.
    pub hunt: Hunt,
    /// The number that was dialled.
    pub number: String,
    /// What is called in each of the trunks instead.
    pub rewritten: Dialled,
}

/// Decides by which trunks a call leaves that came from one; only where [`SipOffer::is_transit`] says that it does.
pub fn decide_transit(
    table: &Table,
    world: &impl World,
    offer: &SipOffer<'_>,
) -> Result<ToTrunk, Cause> {
    let trunk = offer.trunk;
    must_be_on(trunk)?;
    must_work(table, trunk)?;
    let number = offer.dialled();
    if !table.is_transit(&trunk.name, number) {
        return Err(Cause::new(Reason::RouteNotPermitted));
    }
    must_be_registered(world, trunk)?;
    if !is_fine(number) {
        return Err(Cause::new(Reason::NotFound));
    }
    let mut rewritten = Vec::new();
    let mut groups: Vec<Vec<TrunkName>> = table.groups_from(&trunk.name, number).collect();
    for group in &mut groups {
        group.retain(|to| {
            let Some(plan) = table.terms().way_rules(&trunk.name, to) else {
                return true;
            };
            let number = plan.apply(number).filter(|number| is_fine(number));
            rewritten.extend(number.clone().map(|number| (to.clone(), number)));
            number.is_some()
        });
    }
    groups.retain(|group| !group.is_empty());
    if groups.is_empty() {
        return Err(Cause::new(Reason::NotFound));
    }
    let hunt = Hunt::new(groups);
    if !hunt.trunks().any(|trunk| can_be_called(world, trunk)) {
        return Err(Cause::new(Reason::SipAccountUnavailable));
    }
    Ok(ToTrunk {
        hunt,
        number: number.to_owned(),
        rewritten: rewritten.into_iter().collect(),
    })
}

/// Whether a number can be passed on.
fn is_fine(number: &str) -> bool {
    (1..=MAX_NUMBER).contains(&number.len()) && !number.chars().any(char::is_control)
}

/// Decides whose account a PBX's text leaves by, and to whom: as for a call, if the account passes texts; whoever talks can read.
pub fn decide_sip_text(
    table: &Table,
    world: &impl World,
    offer: &SipOffer<'_>,
) -> Result<ToTelegram, Cause> {
    let to = reach(table, world, offer)?;
    if to.session.text_bridge {
        Ok(to)
    } else {
        Err(Cause::new(Reason::RouteNotPermitted))
    }
}

/// Decides where a PBX's call goes.
pub fn decide_sip(
    table: &Table,
    world: &impl World,
    offer: &SipOffer<'_>,
) -> Result<ToTelegram, Cause> {
    let to = reach(table, world, offer)?;
    if world.is_talking(&to.session.name, &to.peer) {
        return Err(Cause::new(Reason::BusyHere));
    }
    Ok(to)
}

/// Decides over which session somebody is reached whom a PBX names.
fn reach(table: &Table, world: &impl World, offer: &SipOffer<'_>) -> Result<ToTelegram, Cause> {
    let trunk = offer.trunk;
    must_be_on(trunk)?;
    must_work(table, trunk)?;
    let (session, peer) = choose(table, world, offer)?;
    must_be_registered(world, trunk)?;
    storage_must_be_on(table)?;
    if !session.enabled {
        return Err(Cause::new(Reason::SessionNotRunning));
    }
    if world.is_unreadable(&session.name) {
        return Err(Cause::new(Reason::StorageUnavailable));
    }
    match world.session_state(&session.name) {
        SessionState::Running | SessionState::FloodWait => {}
        SessionState::Restricted => return Err(Cause::new(Reason::PeerFlood)),
        SessionState::Offline | SessionState::Connecting if world.is_starting(&session.name) => {
            return Err(Cause::new(Reason::WorkerNotReady).with_retry_after(COME_BACK));
        }
        SessionState::Offline | SessionState::Connecting | SessionState::Unauthorized => {
            return Err(Cause::new(Reason::SessionNotRunning));
        }
    }
    let peer = peer?;
    if is_itself(session, &peer) {
        return Err(Cause::new(Reason::LoopDetected));
    }
    Ok(ToTelegram {
        session: session.clone(),
        peer,
    })
}

/// Decides where a Telegram user's call goes: to every trunk that is on, in the order of priority; to those alone in which
/// something is dialled, if it is.
pub fn decide_telegram(
    table: &Table,
    world: &impl World,
    offer: &TelegramOffer<'_>,
) -> Result<Hunt, Cause> {
    if world.is_own_account(offer.user_id) {
        return Err(Cause::new(Reason::CallerIsGateway));
    }
    let session = table
        .session(offer.session)
        .filter(|session| session.enabled);
    let Some(session) = session else {
        return Err(Cause::new(Reason::SessionNotRunning));
    };
    let dials = |trunk: &TrunkName| {
        let wrote = offer.dialled.map(|dialled| dialled.number(trunk));
        let wrote = match wrote {
            Some(None) => return false,
            Some(Some(wrote)) => Some(wrote),
            None => None,
        };
        table.number_in(trunk, offer.session, wrote).is_ok()
    };
    storage_must_be_on(table)?;
    let groups = table.groups_of(offer.session).map(|mut group| {
        group.retain(dials);
        group
    });
    let hunt = Hunt::new(groups.filter(|group| !group.is_empty()));
    let hunt = hunt.stopping_on_6xx(session.stop_on_6xx);
    // Of none it could not be said that their worker is the trouble.
    if hunt.trunks().next().is_some() && !hunt.trunks().any(|trunk| has_worker(table, trunk)) {
        return Err(Cause::new(Reason::WorkerUnavailable));
    }
    if hunt.trunks().any(|trunk| can_be_called(world, trunk)) {
        Ok(hunt)
    } else {
        Err(Cause::new(Reason::SipAccountUnavailable))
    }
}

/// Decides where a Telegram user is put through who wrote a number and is called back: as [`decide_telegram`] does, if the
/// session may place a call.
pub fn decide_callback(
    table: &Table,
    world: &impl World,
    offer: &TelegramOffer<'_>,
) -> Result<Hunt, Cause> {
    match world.session_state(offer.session) {
        SessionState::Running | SessionState::FloodWait => {}
        SessionState::Restricted => return Err(Cause::new(Reason::PeerFlood)),
        SessionState::Offline | SessionState::Connecting | SessionState::Unauthorized => {
            return Err(Cause::new(Reason::SessionNotRunning));
        }
    }
    decide_telegram(table, world, offer)
}

/// Returns those of a group that can be called now; nobody waits for the others.
pub fn running<'a>(
    table: &'a Table,
    world: &impl World,
    group: &[TrunkName],
) -> Vec<&'a TrunkSpec> {
    let trunks = group.iter().filter(|trunk| can_be_called(world, trunk));
    let trunks = trunks.filter_map(|trunk| table.trunk(trunk));
    trunks.filter(|trunk| table.works(trunk)).collect()
}

pub(crate) fn can_be_called(world: &impl World, trunk: &TrunkName) -> bool {
    world.is_reachable(trunk) && !world.is_blocked(trunk)
}

/// Decides whether a PBX whose password is right may register.
pub fn admit_register(table: &Table, world: &impl World, trunk: &TrunkSpec) -> Result<(), Cause> {
    if !trunk.enabled {
        return Err(Cause::new(Reason::RouteNotPermitted));
    }
    must_work(table, trunk)?;
    if table.is_on_a_way(&trunk.name) {
        return Ok(());
    }
    let pool = table.pool_of(&trunk.name, None);
    if pool.is_empty() {
        return Err(Cause::new(Reason::RouteNotPermitted));
    }
    storage_must_be_on(table)?;
    let serves = |session: &&SessionSpec| match world.session_state(&session.name) {
        SessionState::Unauthorized => false,
        // A session that is only away for a moment must not throw the PBX out.
        SessionState::Offline
        | SessionState::Connecting
        | SessionState::Running
        | SessionState::FloodWait
        | SessionState::Restricted => session.enabled,
    };
    if pool.iter().any(serves) {
        Ok(())
    } else {
        Err(Cause::new(Reason::SessionInactive))
    }
}

/// Whether the session is asked to call its own account, as far as its number is known.
pub(crate) fn is_itself(session: &SessionSpec, peer: &Peer) -> bool {
    let own = session.phone.chars().filter(char::is_ascii_digit);
    match peer {
        Peer::Phone(number) => own.eq(number.digits().chars()),
        Peer::Username(_) | Peer::UserId(_) => false,
    }
}

/// Whoever was given a login must be registered before it calls.
fn must_be_registered(world: &impl World, trunk: &TrunkSpec) -> Result<(), Cause> {
    let registers = matches!(trunk.kind, TrunkKind::InboundRegister { .. });
    if registers && !world.is_reachable(&trunk.name) {
        return Err(Cause::new(Reason::RegisterRequired));
    }
    Ok(())
}

/// Whoever calls over a trunk that is off hears so.
fn must_be_on(trunk: &TrunkSpec) -> Result<(), Cause> {
    if trunk.enabled {
        Ok(())
    } else {
        Err(Cause::new(Reason::AccountNotRunning))
    }
}

fn has_worker(table: &Table, trunk: &TrunkName) -> bool {
    table.trunk(trunk).is_some_and(|trunk| table.works(trunk))
}

/// A worker that is switched off takes neither calls nor registrations.
pub(crate) fn must_work(table: &Table, trunk: &TrunkSpec) -> Result<(), Cause> {
    if table.works(trunk) {
        Ok(())
    } else {
        Err(Cause::new(Reason::WorkerInactive))
    }
}

/// While the storage is switched off nothing new is asked of Telegram.
pub(crate) fn storage_must_be_on(table: &Table) -> Result<(), Cause> {
    if table.has_role(Role::Storage) {
        Ok(())
    } else {
        Err(Cause::new(Reason::StorageInactive))
    }
}

/// The session of a trunk that places a call, on or off, and whom it calls. Of several: one that can, that has a line, that is free for this
/// person, that knows him, and of those the one that was used least recently, so that none of them calls more often than it must (product 6).
fn choose<'a>(
    table: &'a Table,
    world: &impl World,
    offer: &SipOffer<'_>,
) -> Result<(&'a SessionSpec, Result<Peer, Cause>), Cause> {
    let trunk = offer.trunk;
    let inbound = table.inbound(&trunk.name);
    let read = |rules| called_peer(trunk, inbound, rules, offer.request_user, offer.to_user);
    // Nearly all routes leave the number as it is, so that it is read but once.
    let mut plain = None;
    let mut peer = |session: &SessionName| match table.terms().route_rules(&trunk.name, session) {
        Some(rules) => read(Some(rules)),
        None => plain.get_or_insert_with(|| read(None)).clone(),
    };
    let fitness = |(session, peer): &(&SessionSpec, Result<Peer, Cause>)| {
        let name = &session.name;
        let peer = peer.as_ref().ok();
        let state = match world.session_state(name) {
            SessionState::Running => 0,
            SessionState::FloodWait => 1,
            SessionState::Restricted => 2,
            SessionState::Offline | SessionState::Connecting => 3,
            SessionState::Unauthorized => 4,
        };
        let is_full = session.lines != 0 && world.calls_of(name) >= session.lines;
        let is_talking = peer.is_some_and(|peer| world.is_talking(name, peer));
        let is_stranger = peer.is_none_or(|peer| !world.knows(name, peer));
        (
            state,
            is_full,
            is_talking,
            is_stranger,
            world.last_used(name),
        )
    };
    let pool = table.pool_of(&trunk.name, Some(offer.dialled()));
    if pool.is_empty() {
        // There are routes, and none takes this number.
        let is_routed = table.session_of(&trunk.name).is_some()
            || table.ways_from(&trunk.name).next().is_some();
        let reason = if is_routed {
            Reason::NotFound
        } else {
            Reason::RouteNotPermitted
        };
        return Err(Cause::new(reason));
    }
    let pool = pool
        .into_iter()
        .map(|session| (session, peer(&session.name)));
    pool.min_by_key(fitness)
        .ok_or(Cause::new(Reason::RouteNotPermitted))
}
