//! Users: a call with somebody whom the owner knows holds a line of his, and counts for his quota, whoever called whom.

use actix::{Context, Handler};
use model::{CallId, Cause, Peer, QuotaSpec, Reason, SessionName, TrunkName, UserName, UserSpec};
use routing::{CallEnd, Subject};

use super::Registry;
use crate::message::{MeetUser, UserMet};

impl Registry {
    /// The user who is called or calls, if it is certain already who that is.
    pub(super) fn user_of(&self, peer: &Peer) -> Option<UserSpec> {
        match peer {
            Peer::UserId(id) => self.table.user_at(*id).cloned(),
            // Telegram says who that is: see [`MeetUser`].
            Peer::Phone(_) | Peer::Username(_) => None,
        }
    }

    /// Those whose use a call counts for.
    pub(super) fn subjects_with(
        &self,
        trunk: Option<&TrunkName>,
        session: Option<&SessionName>,
        user: Option<&UserName>,
    ) -> Vec<(Subject, QuotaSpec)> {
        let mut subjects = self.subjects(trunk, session);
        subjects.extend(user.and_then(|user| self.table.quota_of_user(user)));
        subjects
    }

    /// Takes a line of a user for a call that is open.
    pub(super) fn take_user(&mut self, call: CallId, user: Option<&UserSpec>) -> Result<(), Cause> {
        let Some(user) = user else {
            return Ok(());
        };
        let taken = self.lines.take_user(call, &user.name, user.lines);
        taken.map_err(|_| Cause::new(Reason::LinesLimit))
    }

    /// A call that could not begin holds nothing.
    pub(super) fn never_began(&mut self, call: CallId, ctx: &mut Context<Self>) {
        self.forget_call(call, CallEnd::Other, ctx);
    }
}

impl Handler<MeetUser> for Registry {
    type Result = Result<(), Cause>;

    fn handle(&mut self, met: MeetUser, _: &mut Self::Context) -> Self::Result {
        self.watch.handled();
        let MeetUser { call, user_id } = met;
        let Some(user) = self.table.user_at(user_id).cloned() else {
            return Ok(());
        };
        // A call that is over would never return the line; one that was known by his id has it.
        let Some(unit) = self.known.calls.get(&call) else {
            return Ok(());
        };
        if unit.held.user.as_ref() == Some(&user.name) {
            return Ok(());
        }
        let subject = self.table.quota_of_user(&user.name);
        self.admit(subject.as_slice())?;
        self.take_user(call, Some(&user))?;
        self.counters.quotas.join(call, subject);
        if let Some(unit) = self.known.calls.get_mut(&call) {
            unit.held.user = Some(user.name.clone());
            unit.address.do_send(UserMet { user: user.name });
        }
        Ok(())
    }
}
