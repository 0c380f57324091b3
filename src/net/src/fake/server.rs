//! Telegram's server, as far as calls go: passes halves of keys, states and signalling between the two ends of a call.
//!
//! Knows no clock and no task: one request in, one result out, updates into mailboxes. It never sees a key.

use std::collections::{HashMap, HashSet};

use grammers_tl_types as tl;
use sha2::{Digest, Sha256};
use telegram::{Reply, Rpc, RpcError, Timers, User};
use tl::enums::PhoneCall;
use tl::enums::PhoneCallDiscardReason as Discard;
use tokio::sync::mpsc;

use super::config::config;
use super::user::{Manner, Person};
use crate::telegram::Event;

/// The user id of the account the house is logged in with.
pub(super) const ACCOUNT: i64 = 700_000_001;
/// Every user's access hash.
pub(super) const ACCESS_HASH: i64 = 0x5eed;
/// Bots that know no answer, and the user id of the first.
const BOTS: [&str; 2] = ["first_bot", "other_bot"];
const FIRST_BOT: i64 = 700_000_101;
/// Calls remembered; the oldest are forgotten.
const CALLS: i64 = 10_000;
/// The generator and the prime Telegram uses.
const GENERATOR: i32 = 3;
const DH_VERSION: i32 = 3;
const PRIME: &str = "c71caeb9c6b1c9048e6c522f70f13f73980d40238e3e21c14934d037563d930f\
                     48198a0aa7c14058229493d22530f4dbfa336f6e0ac925139543aed44cce7c37\
                     20fd51f69458705ac68cd4fe6b6b13abdc9746512969328454f18faf8c595f64\
                     2477fe96bb2a941d5bcd1d4ac8cc49880708fa9b378e3c4f3a9060bee67cf9a4\
                     a4a695811051907e162753b56b0f6b410dba74d8a84b2a14b3144e0ef1284754\
                     fd17ed950d5965b4b9dd46582db1178d169c6bc465b0d6ff9ca3928fef5b9ae4\
                     e418fc15e83ebea0f87fa9ff5eed70050ded2849f47bf959d956850ce929851f\
                     0d8115f635b105ee2e4e15d04b2454bf6f4fadf034b10403119cd8e3b92fcc5b";

/// What a user's device is told.
#[derive(Debug, Clone)]
pub(super) enum Update {
    PhoneCall(Box<PhoneCall>),
    Signaling(Vec<u8>),
}

/// Where a device reads what it is told about one call.
pub(super) type Mailbox = mpsc::UnboundedSender<Update>;

/// Who asks.
pub(super) enum Asker {
    /// The house.
    Account,
    /// A user's device, which reads the mailbox.
    User(i64, Mailbox),
}

/// A call that a user's device should take up.
pub(super) struct Offered {
    pub(super) person: Person,
    pub(super) requested: tl::types::PhoneCallRequested,
    pub(super) mailbox: Mailbox,
    pub(super) updates: mpsc::UnboundedReceiver<Update>,
}

/// One call between the account and a user.
struct Call {
    admin_id: i64,
    participant_id: i64,
    g_a_hash: Vec<u8>,
    g_b: Vec<u8>,
    offered: tl::types::PhoneCallProtocol,
    version: Option<String>,
    mailbox: Option<Mailbox>,
    over: bool,
}

/// The server.
pub(super) struct Server {
    people: Vec<Person>,
    timers: Timers,
    events: mpsc::Sender<Event>,
    /// What the account missed while its connection was down; absent while it is up.
    missed: Option<Vec<Event>>,
    calls: HashMap<i64, Call>,
    last_call: i64,
    /// Devices that should ring; taken by whoever can start tasks.
    pub(super) offered: Vec<Offered>,
    /// Texts the account sent, oldest first.
    pub(super) texts: Vec<(i64, String)>,
    /// What the account asked of bots: their usernames, and the queries.
    pub(super) questions: Vec<(String, String)>,
    /// Whom the account was told of.
    met: HashSet<i64>,
}

impl Server {
    pub(super) fn new(people: Vec<Person>, timers: Timers, events: mpsc::Sender<Event>) -> Self {
        Self {
            people,
            timers,
            events,
            missed: None,
            calls: HashMap::new(),
            last_call: 4000,
            offered: Vec::new(),
            texts: Vec::new(),
            questions: Vec::new(),
            met: HashSet::new(),
        }
    }

    pub(super) fn person(&self, username: &str) -> Option<&Person> {
        self.people
            .iter()
            .find(|person| person.username == username)
    }

    pub(super) fn set_manner(&mut self, username: &str, manner: Manner) {
        let person = self
            .people
            .iter_mut()
            .find(|person| person.username == username);
        if let Some(person) = person {
            person.manner = manner;
        }
    }

    /// Calls that are not over.
    pub(super) fn open_calls(&self) -> usize {
        self.calls.values().filter(|call| !call.over).count()
    }

    /// Breaks the account's connection.
    pub(super) fn disconnect(&mut self) {
        self.tell(Event::Disconnected);
        self.missed.get_or_insert_default();
    }

    /// Mends it; what was missed comes as the difference.
    pub(super) fn reconnect(&mut self) {
        let missed = self.missed.take();
        self.tell(Event::Connected);
        for event in missed.into_iter().flatten() {
            self.tell(event);
        }
    }

    /// Tells the account something; what it has no room for is lost.
    pub(super) fn tell(&mut self, event: Event) {
        if let Some(missed) = &mut self.missed {
            missed.push(event);
        } else if self.events.try_send(event).is_err() {
            tracing::warn!("the account of the stand-in does not read its events");
        }
    }

    /// Tells the account who somebody is, once: nothing is new about him afterwards.
    pub(super) fn meet(&mut self, user: User) {
        if self.met.insert(user.id) {
            self.tell(Event::Users(vec![user]));
        }
    }

    /// Somebody the account was told of.
    pub(super) fn met(&self, user_id: i64) -> Option<User> {
        let mut people = self.people.iter();
        let person = people.find(|person| person.id == user_id && self.met.contains(&user_id));
        person.map(Person::user)
    }

    /// Carries out one request.
    pub(super) fn ask(&mut self, asker: &Asker, rpc: Rpc) -> Result<Reply, RpcError> {
        match rpc {
            Rpc::GetDhConfig { version } => Ok(Reply::DhConfig(dh_config(version))),
            Rpc::RequestCall {
                user,
                g_a_hash,
                protocol,
                ..
            } => self.request(asker, user.user_id, g_a_hash, protocol),
            Rpc::ReceivedCall { peer } => self.received(asker, peer.id),
            Rpc::AcceptCall {
                peer,
                g_b,
                protocol,
            } => self.accept(asker, peer.id, g_b, &protocol),
            Rpc::ConfirmCall {
                peer,
                g_a,
                key_fingerprint,
                ..
            } => self.confirm(asker, peer.id, g_a, key_fingerprint),
            Rpc::DiscardCall {
                peer,
                duration,
                reason,
            } => self.discard(asker, peer.id, duration, reason),
            Rpc::SendSignalingData { peer, data } => {
                self.open(peer.id)?;
                self.tell_other(asker, peer.id, Update::Signaling(data));
                Ok(Reply::Bool(true))
            }
            Rpc::ResolveUsername { username } => {
                let bot = BOTS
                    .iter()
                    .zip(FIRST_BOT..)
                    .find(|(name, _)| **name == username);
                let bot = bot.map(|(name, id)| bot_user(name, id));
                let found = self.person(&username).map(Person::user).or(bot);
                found
                    .map(Reply::User)
                    .ok_or_else(|| error(400, "USERNAME_NOT_OCCUPIED"))
            }
            Rpc::ResolvePhone { phone } => {
                let found = self.people.iter().find(|person| person.phone == phone);
                let found = found.map(Person::user);
                found
                    .map(Reply::User)
                    .ok_or_else(|| error(400, "PHONE_NOT_OCCUPIED"))
            }
            Rpc::ImportContact { .. } => Ok(Reply::Nobody),
            Rpc::GetUser { user } => {
                let found = self.people.iter().find(|person| person.id == user.user_id);
                Ok(found.map_or(Reply::Nobody, |person| Reply::User(person.user())))
            }
            Rpc::GetSelf => Ok(Reply::User(account())),
            Rpc::GetState => Ok(Reply::State(tl::types::updates::State {
                pts: 1,
                qts: 0,
                date: 0,
                seq: 1,
                unread_count: 0,
            })),
            Rpc::SendMessage { user, text, .. } => {
                self.texts.push((user.user_id, text));
                Ok(nothing_new())
            }
            Rpc::InlineQuery { bot, query, .. } => {
                let asked = BOTS
                    .iter()
                    .zip(FIRST_BOT..)
                    .find(|(_, id)| *id == bot.user_id);
                let (name, _) = asked.ok_or_else(|| error(400, "BOT_INVALID"))?;
                self.questions.push(((*name).to_owned(), query));
                Ok(Reply::InlineResult(None))
            }
            Rpc::SendInlineResult { .. } => Ok(nothing_new()),
            Rpc::LogOut => Ok(Reply::Done),
            Rpc::GetContacts => Ok(Reply::Contacts(Vec::new())),
            Rpc::GetConfig => Ok(Reply::Config(Box::new(config(&self.timers)))),
            // Logins and hardening have the simulator to try them.
            _ => Err(error(500, "NOT_PLAYED")),
        }
    }

    // -- one function a step of a call -----------------------------------------------------------------------------

    fn request(
        &mut self,
        asker: &Asker,
        callee: i64,
        g_a_hash: Vec<u8>,
        offered: tl::types::PhoneCallProtocol,
    ) -> Result<Reply, RpcError> {
        let (admin_id, mailbox, rings) = match asker {
            Asker::User(id, mailbox) => (*id, Some(mailbox.clone()), None),
            Asker::Account => {
                let person = self
                    .people
                    .iter()
                    .find(|person| person.id == callee)
                    .cloned();
                let person = person.ok_or_else(|| error(400, "USER_ID_INVALID"))?;
                match person.manner {
                    Manner::Privacy => return Err(error(403, "USER_PRIVACY_RESTRICTED")),
                    Manner::Flood { seconds } => {
                        return Err(error(420, &format!("FLOOD_WAIT_{seconds}")));
                    }
                    Manner::Ignore => (ACCOUNT, None, None),
                    Manner::Answer { .. } | Manner::Ring | Manner::Decline { .. } => {
                        (ACCOUNT, None, Some(person))
                    }
                }
            }
        };
        self.last_call += 1;
        let id = self.last_call;
        self.calls.remove(&(id - CALLS));
        let mut call = Call {
            admin_id,
            participant_id: callee,
            g_a_hash,
            g_b: Vec::new(),
            offered,
            version: None,
            mailbox,
            over: false,
        };
        let requested = call.requested(id);
        match (asker, rings) {
            (Asker::Account, Some(person)) => {
                let (mailbox, updates) = mpsc::unbounded_channel();
                call.mailbox = Some(mailbox.clone());
                self.offered.push(Offered {
                    person,
                    requested,
                    mailbox,
                    updates,
                });
            }
            (Asker::Account, None) => {}
            (Asker::User(user, _), _) => {
                let caller = self.people.iter().find(|person| person.id == *user);
                if let Some(caller) = caller.map(Person::user) {
                    self.meet(caller);
                }
                self.tell(Event::PhoneCall(Box::new(requested.into())));
            }
        }
        let waiting = call.waiting(id, None);
        self.calls.insert(id, call);
        Ok(Reply::PhoneCall(waiting))
    }

    fn received(&mut self, asker: &Asker, id: i64) -> Result<Reply, RpcError> {
        let waiting = self.open(id)?.waiting(id, Some(unix()));
        self.tell_other(asker, id, Update::PhoneCall(Box::new(waiting)));
        Ok(Reply::Bool(true))
    }

    fn accept(
        &mut self,
        asker: &Asker,
        id: i64,
        g_b: Vec<u8>,
        protocol: &tl::types::PhoneCallProtocol,
    ) -> Result<Reply, RpcError> {
        let call = self.open(id)?;
        if !call.g_b.is_empty() {
            return Err(error(400, "CALL_ALREADY_ACCEPTED"));
        }
        let offered = &call.offered.library_versions;
        let common = offered
            .iter()
            .find(|version| protocol.library_versions.contains(version));
        call.version = Some(
            common
                .ok_or_else(|| error(406, "CALL_PROTOCOL_COMPAT_LAYER_INVALID"))?
                .clone(),
        );
        call.g_b = g_b;
        let (accepted, waiting) = (call.accepted(id), call.waiting(id, Some(unix())));
        self.tell_other(asker, id, Update::PhoneCall(Box::new(accepted)));
        Ok(Reply::PhoneCall(waiting))
    }

    fn confirm(
        &mut self,
        asker: &Asker,
        id: i64,
        g_a: Vec<u8>,
        key_fingerprint: i64,
    ) -> Result<Reply, RpcError> {
        let call = self.open(id)?;
        if Sha256::digest(&g_a).as_slice() != call.g_a_hash.as_slice() {
            return Err(error(400, "CALL_PEER_INVALID"));
        }
        let to_callee = call.confirmed(id, g_a, key_fingerprint);
        let to_caller = call.confirmed(id, call.g_b.clone(), key_fingerprint);
        self.tell_other(asker, id, Update::PhoneCall(Box::new(to_callee)));
        Ok(Reply::PhoneCall(to_caller))
    }

    fn discard(
        &mut self,
        asker: &Asker,
        id: i64,
        duration: i32,
        reason: Discard,
    ) -> Result<Reply, RpcError> {
        let call = self
            .calls
            .get_mut(&id)
            .ok_or_else(|| error(400, "CALL_PEER_INVALID"))?;
        if std::mem::replace(&mut call.over, true) {
            return Err(error(400, "CALL_ALREADY_DECLINED"));
        }
        let discarded = tl::types::PhoneCallDiscarded {
            need_rating: false,
            need_debug: false,
            video: false,
            id,
            reason: Some(reason),
            duration: Some(duration),
        };
        self.tell_other(asker, id, Update::PhoneCall(Box::new(discarded.into())));
        Ok(nothing_new())
    }

    /// A call that can still change.
    fn open(&mut self, id: i64) -> Result<&mut Call, RpcError> {
        let call = self.calls.get_mut(&id).filter(|call| !call.over);
        call.ok_or_else(|| error(400, "CALL_PEER_INVALID"))
    }

    fn tell_other(&mut self, asker: &Asker, id: i64, update: Update) {
        match (asker, update) {
            (Asker::Account, update) => {
                let mailbox = self.calls.get(&id).and_then(|call| call.mailbox.as_ref());
                // A device that has hung up reads no more.
                let _ = mailbox.map(|mailbox| mailbox.send(update));
            }
            (Asker::User(..), Update::PhoneCall(call)) => self.tell(Event::PhoneCall(call)),
            (Asker::User(..), Update::Signaling(data)) => {
                self.tell(Event::Signaling {
                    phone_call_id: id,
                    data,
                });
            }
        }
    }
}

impl Call {
    fn requested(&self, id: i64) -> tl::types::PhoneCallRequested {
        tl::types::PhoneCallRequested {
            video: false,
            id,
            access_hash: id ^ ACCESS_HASH,
            date: unix(),
            admin_id: self.admin_id,
            participant_id: self.participant_id,
            g_a_hash: self.g_a_hash.clone(),
            protocol: self.offered.clone().into(),
        }
    }

    fn waiting(&self, id: i64, receive_date: Option<i32>) -> PhoneCall {
        tl::types::PhoneCallWaiting {
            video: false,
            id,
            access_hash: id ^ ACCESS_HASH,
            date: unix(),
            admin_id: self.admin_id,
            participant_id: self.participant_id,
            protocol: self.offered.clone().into(),
            receive_date,
        }
        .into()
    }

    fn accepted(&self, id: i64) -> PhoneCall {
        tl::types::PhoneCallAccepted {
            video: false,
            id,
            access_hash: id ^ ACCESS_HASH,
            date: unix(),
            admin_id: self.admin_id,
            participant_id: self.participant_id,
            g_b: self.g_b.clone(),
            protocol: self.chosen().into(),
        }
        .into()
    }

    fn confirmed(&self, id: i64, g_a_or_b: Vec<u8>, key_fingerprint: i64) -> PhoneCall {
        tl::types::PhoneCall {
            p2p_allowed: true,
            video: false,
            conference_supported: false,
            id,
            access_hash: id ^ ACCESS_HASH,
            date: unix(),
            admin_id: self.admin_id,
            participant_id: self.participant_id,
            g_a_or_b,
            key_fingerprint,
            protocol: self.chosen().into(),
            connections: Vec::new(),
            start_date: unix(),
            custom_parameters: None,
        }
        .into()
    }

    /// What the caller offered, with the one version both know.
    fn chosen(&self) -> tl::types::PhoneCallProtocol {
        let mut protocol = self.offered.clone();
        protocol.library_versions = self.version.clone().into_iter().collect();
        protocol
    }
}

/// The account the house is logged in with.
pub(super) fn account() -> User {
    User {
        id: ACCOUNT,
        access_hash: Some(ACCESS_HASH),
        is_self: true,
        is_bot: false,
        is_deleted: false,
        first_name: "Strowger".to_owned(),
        last_name: String::new(),
        username: Some("strowger".to_owned()),
        phone: Some("15550000".to_owned()),
    }
}

fn dh_config(known: i32) -> tl::enums::messages::DhConfig {
    let random: Vec<u8> = (0..4).flat_map(|_| rand::random::<[u8; 32]>()).collect();
    if known == DH_VERSION {
        return tl::types::messages::DhConfigNotModified { random }.into();
    }
    let digits = PRIME.as_bytes().chunks_exact(2);
    let octet = |pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    tl::types::messages::DhConfig {
        g: GENERATOR,
        p: digits.filter_map(octet).collect(),
        version: DH_VERSION,
        random,
    }
    .into()
}

fn bot_user(username: &str, id: i64) -> User {
    User {
        id,
        access_hash: Some(ACCESS_HASH),
        is_self: false,
        is_bot: true,
        is_deleted: false,
        first_name: username.to_owned(),
        last_name: String::new(),
        username: Some(username.to_owned()),
        phone: None,
    }
}

fn error(code: i32, name: &str) -> RpcError {
    RpcError::Rpc {
        code,
        name: name.to_owned(),
    }
}

fn nothing_new() -> Reply {
    Reply::Updates(Box::new(tl::enums::Updates::TooLong))
}

fn unix() -> i32 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    i32::try_from(since.unwrap_or_default().as_secs()).unwrap_or(i32::MAX)
}
