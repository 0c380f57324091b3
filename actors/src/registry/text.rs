//! What Telegram users write: whether it is a number, and what follows from it (product 2.12, 2.13).

use actix::{Addr, Context, Handler};
use model::{Cause, Direction, Peer, Reason, SessionName};
use routing::{Dialled, TelegramOffer, World};

use super::Registry;
use super::offer::{Attempt, shown_from};
use crate::call::{Call, Held, Origin, Plan};
use crate::message::{Caller, Calling, NotifyUser, Redial, TextWritten, Understood};

impl Handler<TextWritten> for Registry {
    type Result = ();

    fn handle(&mut self, written: TextWritten, ctx: &mut Self::Context) {
        self.watch.handled();
        let TextWritten {
            session,
            writer,
            text,
        } = written;
        let user_id = writer.user_id;
        let offer = TelegramOffer {
            session: &session,
            user_id,
            dialled: None,
        };
        let dialled = match routing::decide_text(&self.table, &self.known, &offer, text.expose()) {
            Ok(dialled) => dialled,
            Err(cause) => {
                tracing::debug!(%session, user_id, %cause, "a text is not read");
                return;
            }
        };
        if let Some(call) = self.call_with(&session, user_id) {
            self.redial(&call, &session, user_id, dialled);
            return;
        }
        if self.draining {
            return;
        }
        let calls_back = self.table.session(&session).is_some_and(|it| it.callback);
        let unit = self.known.sessions.get(&session);
        let address = unit.and_then(|unit| unit.address.clone());
        if !calls_back || dialled.is_empty() {
            if let Some(session) = address {
                session.do_send(Understood { user_id, dialled });
            }
            return;
        }
        if let Err(cause) = self.call_back(session, writer, dialled, ctx)
            && let Some(session) = address
        {
            session.do_send(NotifyUser { user_id, cause });
        }
    }
}

impl Registry {
    /// The call that this person has with the session, or is about to have.
    fn call_with(&self, session: &SessionName, user_id: i64) -> Option<Addr<Call>> {
        let mut calls = self.known.calls.values();
        let found = calls.find(|call| {
            let is_his = call.held.peer == Some(Peer::UserId(user_id));
            is_his && call.held.session.as_ref() == Some(session)
        });
        found.map(|call| call.address.clone())
    }

    /// Another number for somebody who is called back; a call that is no such thing does not listen.
    fn redial(&self, call: &Addr<Call>, session: &SessionName, user_id: i64, dialled: Dialled) {
        let offer = TelegramOffer {
            session,
            user_id,
            dialled: Some(&dialled),
        };
        // What is no number changes nothing.
        if let Ok(hunt) = routing::decide_telegram(&self.table, &self.known, &offer) {
            call.do_send(Redial { dialled, hunt });
        }
    }

    /// Calls who wrote a number; the line of the trunk is taken when the PBX is called.
    fn call_back(
        &mut self,
        session: SessionName,
        writer: Caller,
        dialled: Dialled,
        ctx: &mut Context<Self>,
    ) -> Result<(), Cause> {
        let offer = TelegramOffer {
            session: &session,
            user_id: writer.user_id,
            dialled: Some(&dialled),
        };
        let hunt = routing::decide_callback(&self.table, &self.known, &offer)?;
        let subjects = self.subjects(None, Some(&session));
        self.counters
            .quotas
            .admit(crate::house::unix_millis(), &subjects)?;
        let trunk = hunt.trunks().find(|trunk| self.known.is_reachable(trunk));
        let trunk = trunk.cloned().ok_or(Reason::SipAccountUnavailable)?;
        let direction = Direction::TgToSip;
        self.common.metrics.call_attempt(direction, &trunk);
        let from = shown_from(&self.table, &trunk, &writer);
        let to = dialled.first().unwrap_or_default().to_owned();
        let id = crate::house::call_id();
        let limit = self.table.session(&session).map_or(0, |spec| spec.lines);
        if self.lines.open(id, Some(&session), limit).is_err() {
            let cause = Cause::new(Reason::LinesLimit);
            let attempt = Attempt {
                direction,
                trunk: &trunk,
                session: session.to_string(),
                from,
                to,
            };
            self.refused_attempt(attempt, &cause);
            return Err(cause);
        }
        let peer = Peer::UserId(writer.user_id);
        self.known.give(&session, &peer);
        self.counters.quotas.begin(id, subjects);
        let held = Held {
            direction,
            trunk,
            lines: Vec::new(),
            session: Some(session),
            peer: Some(peer),
        };
        let caller = Caller {
            dialled: Some(dialled),
            ..writer
        };
        let plan = Plan::ToSip {
            origin: Origin::Callback,
            caller: Box::new(Calling::Telegram(caller)),
            hunt: Box::new(hunt),
            targets: Vec::new(),
        };
        self.start_call(id, held, plan, from, to, ctx);
        Ok(())
    }
}
