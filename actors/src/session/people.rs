//! Who an account knows: people it has met, its contacts, and those it has looked up, found or not.

use std::borrow::Cow;

use actix::{Context, Handler};
use grammers_tl_types as tl;
use metrics::{ResolveResult, ResolveSource};
use model::{Cause, Peer, Reason};
use routing::{Errand, Found, LookUp, SessionState};
use telegram::{Reply, Rpc, RpcError};

use super::Session;
use crate::message::{Callee, Caller, Resolve, Resolved, SaveLookUp};

/// People met; the list begins anew when it is full, for the connection knows them too.
const KNOWN_USERS: usize = 10_000;
/// The keys of the look-ups begin so.
pub(crate) const LOOK_UPS: &[u8] = b"look-up/";

/// What is done with whom was looked up.
pub(super) type Then =
    Box<dyn FnOnce(&mut Session, Result<Box<Callee>, Cause>, &mut Context<Session>)>;

impl Session {
    /// Takes over the account's contacts.
    pub(super) fn know(&mut self, users: Vec<telegram::User>) {
        self.contacts.clear();
        for user in users.iter().take(KNOWN_USERS) {
            let Some(access_hash) = user
                .access_hash
                .filter(|_| !(user.is_self || user.is_bot || user.is_deleted))
            else {
                continue;
            };
            let found = Found::User {
                id: user.id,
                access_hash,
            };
            let phone = user.phone.as_ref().map(|phone| format!("+{phone}").parse());
            if let Some(Ok(number)) = phone {
                self.contacts.insert(Peer::Phone(number), found);
            }
            if let Some(name) = &user.username {
                let name = name.to_ascii_lowercase();
                self.contacts.insert(Peer::Username(name), found);
            }
        }
        self.meet(users);
    }

    /// Somebody who need not be looked up: a contact, or one who was found before.
    fn find(&self, peer: &Peer) -> Option<Found> {
        let contact = match peer {
            Peer::Username(name) => self
                .contacts
                .get(&Peer::Username(name.to_ascii_lowercase())),
            Peer::Phone(_) => self.contacts.get(peer),
            Peer::UserId(_) => None,
        };
        let found = || self.looked_up.find(crate::house::steady_millis(), peer);
        contact.copied().or_else(found)
    }

    pub(super) fn meet(&mut self, users: Vec<telegram::User>) {
        for user in users {
            if self.users.len() >= KNOWN_USERS && !self.users.contains_key(&user.id) {
                self.users.clear();
            }
            self.users.insert(user.id, user);
        }
    }

    /// Somebody the account has met. Whom an earlier incarnation was told of only the connection knows, and it tells of nobody twice.
    pub(super) fn user(&self, user_id: i64) -> Option<Cow<'_, telegram::User>> {
        let known = self.users.get(&user_id).map(Cow::Borrowed);
        known.or_else(|| self.client.person(user_id).map(Cow::Owned))
    }

    pub(super) fn caller(&self, user_id: i64) -> Caller {
        let session = self.spec.name.clone();
        let Some(user) = self.user(user_id) else {
            return Caller {
                session,
                user_id,
                phone: None,
                username: None,
                first_name: String::new(),
                last_name: String::new(),
                dialled: None,
            };
        };
        let user = user.into_owned();
        Caller {
            session,
            user_id,
            phone: user.phone,
            username: user.username,
            first_name: user.first_name,
            last_name: user.last_name,
            dialled: None,
        }
    }

    /// Looks a person up, for an errand whose token is given back if nobody is found: memory first, then Telegram.
    pub(super) fn look_up(
        &mut self,
        peer: Peer,
        errand: Errand,
        then: Then,
        ctx: &mut Context<Self>,
    ) {
        if let Some(found) = self.find(&peer) {
            let (result, callee) = match found {
                Found::User { id, access_hash } => {
                    let user_id = id;
                    let user = tl::types::InputUser {
                        user_id,
                        access_hash,
                    };
                    (ResolveResult::Ok, Ok(Box::new(self.callee(user))))
                }
                Found::Nobody(reason) => {
                    self.give_back(errand);
                    let result = match reason {
                        Reason::NotAUser => ResolveResult::Ok,
                        _ => ResolveResult::NotFound,
                    };
                    (result, Err(Cause::new(reason)))
                }
            };
            self.common.metrics.resolved(ResolveSource::Cache, result);
            return then(self, callee, ctx);
        }
        let (rpc, look_up) = match &peer {
            Peer::Username(username) => {
                let username = username.clone();
                (Rpc::ResolveUsername { username }, Errand::Username)
            }
            Peer::Phone(number) => {
                let phone = number.digits().to_owned();
                (Rpc::ResolvePhone { phone }, Errand::Phone)
            }
            Peer::UserId(id) => {
                let known = self.user(*id).and_then(|user| user.input());
                // An id alone cannot be looked up anywhere else.
                let result = match known {
                    Some(_) => ResolveResult::Ok,
                    None => ResolveResult::NotFound,
                };
                self.common.metrics.resolved(ResolveSource::Cache, result);
                let found = known
                    .map(|user| Box::new(self.callee(user)))
                    .ok_or(Cause::new(Reason::AnonymousUser));
                if found.is_err() {
                    self.give_back(errand);
                }
                return then(self, found, ctx);
            }
        };
        if let Err(cause) = self.admit(look_up) {
            self.give_back(errand);
            return then(self, Err(cause), ctx);
        }
        let import = match &peer {
            Peer::Phone(number) => Some(Rpc::ImportContact {
                phone: number.digits().to_owned(),
            }),
            _ => None,
        };
        self.ask(rpc, ctx, move |session, result, ctx| {
            // A number that is in nobody's list may still be found by adding it to the contacts.
            let unknown = matches!(&result, Ok(Reply::Nobody))
                || matches!(&result, Err(error) if error.is("PHONE_NOT_OCCUPIED"));
            match import {
                Some(import) if unknown => session.ask(import, ctx, move |session, result, ctx| {
                    let found = session.found(&peer, errand, result);
                    then(session, found, ctx);
                }),
                _ => {
                    let found = session.found(&peer, errand, result);
                    then(session, found, ctx);
                }
            }
        });
    }

    fn found(
        &mut self,
        peer: &Peer,
        errand: Errand,
        result: Result<Reply, RpcError>,
    ) -> Result<Box<Callee>, Cause> {
        self.common
            .metrics
            .resolved(ResolveSource::Network, resolve_result(&result));
        let user = match result {
            Ok(Reply::User(user)) if user.is_self => Err(Cause::new(Reason::LoopDetected)),
            Ok(Reply::User(user)) if user.is_bot => Err(Cause::new(Reason::NotAUser)),
            Ok(Reply::User(user)) => {
                let input = user.input().ok_or(Cause::new(Reason::AnonymousUser));
                self.meet(vec![user]);
                input
            }
            Ok(Reply::NotAUser) => Err(Cause::new(Reason::NotAUser)),
            Ok(_) => Err(Cause::new(Reason::NotFound)),
            Err(error) => Err(telegram::error::cause(&error)),
        };
        if user.is_err() {
            self.give_back(errand);
        }
        let found = match &user {
            Ok(user) => Some(Found::User {
                id: user.user_id,
                access_hash: user.access_hash,
            }),
            Err(cause) => Found::nobody(cause.reason()),
        };
        if let Some(found) = found {
            self.learn(peer, found);
        }
        user.map(|user| Box::new(self.callee(user)))
    }

    /// Takes back who was looked up before; what holds no more is forgotten on disk as well.
    pub(super) fn remember(&mut self) {
        let now = crate::house::steady_millis();
        for bytes in std::mem::take(&mut self.kept) {
            let read: Result<(Peer, LookUp), _> = serde_json::from_slice(&bytes);
            match read {
                Ok((peer, look_up)) if self.looked_up.restore(now, &peer, look_up) => {}
                Ok((peer, _)) => self.forget(vec![peer]),
                Err(error) => {
                    tracing::error!(session = %self.spec.name, %error, "a look-up cannot be read");
                }
            }
        }
    }

    fn learn(&mut self, peer: &Peer, found: Found) {
        let at = crate::house::steady_millis();
        let forgotten = self.looked_up.learn(at, peer, found);
        self.forget(forgotten);
        match serde_json::to_vec(&(peer, LookUp { at, found })) {
            Ok(value) => self.save_look_up(peer, Some(value)),
            Err(error) => {
                tracing::error!(session = %self.spec.name, %error, "a look-up cannot be written");
            }
        }
    }

    fn forget(&self, peers: Vec<Peer>) {
        for peer in peers {
            self.save_look_up(&peer, None);
        }
    }

    fn save_look_up(&self, peer: &Peer, value: Option<Vec<u8>>) {
        let prefix = String::from_utf8_lossy(LOOK_UPS);
        self.common.to_keeper(SaveLookUp {
            session: self.spec.name.clone(),
            key: format!("{prefix}{peer}").to_ascii_lowercase(),
            value,
        });
    }

    /// Somebody whom Telegram does not know as he was found is looked up anew next time.
    pub(super) fn called(&mut self, user_id: i64, result: &Result<Reply, RpcError>) {
        let Err(error) = result else {
            return;
        };
        if matches!(
            telegram::error::cause(error).reason(),
            Reason::AnonymousUser | Reason::NotFound
        ) {
            self.contacts
                .retain(|_, found| !matches!(found, Found::User { id, .. } if *id == user_id));
            let forgotten = self.looked_up.forget(user_id);
            self.forget(forgotten);
        }
    }

    fn callee(&mut self, user: tl::types::InputUser) -> Callee {
        let mut settings = self.call_settings();
        settings.random = self.ready.take();
        let person = self.caller(user.user_id);
        Callee {
            person,
            user,
            settings,
        }
    }
}

impl Handler<Resolve> for Session {
    type Result = ();

    fn handle(&mut self, Resolve { peer, answer }: Resolve, ctx: &mut Self::Context) {
        self.watch.handled();
        if self.link != SessionState::Running {
            answer.do_send(Resolved(Err(Cause::new(Reason::SessionNotRunning))));
            return;
        }
        if self.is_occupied() {
            answer.do_send(Resolved(Err(Cause::new(Reason::LinesLimit))));
            return;
        }
        match self.admit(Errand::Call) {
            Ok(()) => {
                let then: Then = Box::new(move |_, found, _| answer.do_send(Resolved(found)));
                self.look_up(peer, Errand::Call, then, ctx);
            }
            Err(cause) => answer.do_send(Resolved(Err(cause))),
        }
    }
}

fn resolve_result(result: &Result<Reply, RpcError>) -> ResolveResult {
    match result {
        Ok(Reply::User(_) | Reply::NotAUser) => ResolveResult::Ok,
        Ok(_) => ResolveResult::NotFound,
        Err(error) => match telegram::error::cause(error).reason() {
            Reason::NotFound | Reason::ChatNotFound | Reason::UsernameNotOccupied => {
                ResolveResult::NotFound
            }
            _ => ResolveResult::Error,
        },
    }
}
