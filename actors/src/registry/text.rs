//! What Telegram users write: whether it is a number, and what follows from it (product 2.12, 2.13); and texts between them and PBXs
//! (product 7).

use std::sync::Arc;

use actix::{Actor, Addr, Context, Handler};
use model::{Cause, Direction, EventKind, Peer, Reason, Secret, SessionName, TrunkSpec};
use routing::{Dialled, SipOffer, TelegramOffer, World};
use serde_json::json;
use sip::HeaderName;
use sip::text::{TextConfig, TextFault};

use super::Registry;
use super::offer::{Attempt, of_person, shown_from};
use crate::call::{Call, Held, Origin, Plan};
use crate::events::About;
use crate::message::{
    Caller, Calling, NotDelivered, NotifyUser, PassText, Redial, Respond, Sent, TextArrived,
    TextWritten, Understood,
};
use crate::supervise::Unit;
use crate::text::{Text, TextSpec};

impl Handler<TextWritten> for Registry {
    type Result = ();

    fn handle(&mut self, written: TextWritten, ctx: &mut Self::Context) {
        self.watch.handled();
        let TextWritten {
            session,
            writer,
            text,
            what,
        } = written;
        let user_id = writer.user_id;
        // The text itself is for whom it was written.
        let data = || json!({ "direction": Direction::TgToSip.label(), "user_id": user_id });
        let about = About::session(&session);
        let events = &self.common.events;
        events.tell(EventKind::MessageReceived, about, data);
        let offer = TelegramOffer {
            session: &session,
            user_id,
            dialled: None,
        };
        let Some(spec) = self.table.session(&session).cloned() else {
            return;
        };
        let dialled = if spec.messages_processing && what == Sent::Text {
            routing::decide_text(&self.table, &self.known, &offer, text.expose())
        } else {
            Ok(Dialled::default())
        };
        let dialled = match dialled {
            Ok(dialled) => dialled,
            Err(cause) => {
                tracing::debug!(%session, user_id, %cause, "a text is not read");
                return;
            }
        };
        if dialled.is_empty()
            && let Some(trunk) = routing::text_trunk(&self.table, &self.known, &offer).cloned()
        {
            self.pass_to_pbx(&trunk, &session, writer, &text);
            return;
        }
        if what == Sent::Attachment {
            tracing::debug!(%session, user_id, "no PBX is there for what somebody sent");
            return;
        }
        if let Some(call) = self.call_with(&session, user_id) {
            self.redial(&call, &session, user_id, dialled);
            return;
        }
        if self.draining {
            return;
        }
        let unit = self.known.sessions.get(&session);
        let address = unit.and_then(|unit| unit.address.clone());
        if !spec.callback || dialled.is_empty() {
            if let Some(session) = address {
                session.do_send(Understood {
                    user_id,
                    text,
                    dialled,
                });
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

/// Texts on their way to PBXs at the same time; each may wait 40 s for its answer.
const MAX_TEXTS: usize = 256;

impl Handler<TextArrived> for Registry {
    type Result = ();

    fn handle(&mut self, arrived: TextArrived, _: &mut Self::Context) {
        self.watch.handled();
        let (tx, request) = (arrived.tx, Arc::clone(&arrived.request));
        let data = || json!({ "direction": Direction::SipToTg.label() });
        let about = About::trunk(&arrived.from);
        let events = &self.common.events;
        events.tell(EventKind::MessageReceived, about, data);
        if let Err(cause) = self.pass_to_telegram(arrived) {
            tracing::info!(%cause, "a text of a PBX is refused");
            let mut response = crate::refusal::response(&request, &cause, &crate::house::tag());
            if cause.reason() == Reason::UnsupportedText {
                // RFC 3261 21.4.13.
                let accepted = sip::text::TEXT_PLAIN;
                response.headers.push(HeaderName::Accept, accepted);
            }
            self.common.to_endpoint(Respond { tx, response });
        }
    }
}

impl Registry {
    /// Has a PBX's text sent by the session that reaches whom it names; that one answers.
    fn pass_to_telegram(&self, arrived: TextArrived) -> Result<(), Cause> {
        let TextArrived {
            from,
            tx,
            source,
            request,
        } = arrived;
        if self.draining {
            return Err(Cause::new(Reason::WorkerNotReady));
        }
        let trunk = self.table.trunk(&from).ok_or(Reason::RouteNotFound)?;
        let text = sip::text::read(&request).map_err(|fault| match fault {
            TextFault::OtherType => Reason::UnsupportedText,
            TextFault::TooLong => Reason::TextTooLong,
            TextFault::NoText => Reason::NoText,
        })?;
        let request_user = request.uri.user().unwrap_or_default().into_owned();
        let to_user = super::user_of(request.headers.to());
        let offer = SipOffer {
            trunk,
            source: source.address,
            request_user: &request_user,
            to_user: &to_user,
        };
        let to = routing::decide_sip_text(&self.table, &self.known, &offer)?;
        let unit = self.known.sessions.get(&to.session.name);
        let session = unit.and_then(|unit| unit.address.as_ref());
        let session = session.ok_or(Reason::SessionNotRunning)?;
        let pass = PassText {
            peer: to.peer,
            text: Secret::new(text),
            tx,
            request,
        };
        let sent = session.try_send(pass);
        sent.map_err(|_| Cause::new(Reason::WorkerNotReady))
    }

    /// Sends what somebody wrote to a PBX.
    fn pass_to_pbx(
        &mut self,
        trunk: &TrunkSpec,
        session: &SessionName,
        writer: Caller,
        text: &Secret<String>,
    ) {
        let unit = self.known.trunks.get(&trunk.name);
        let contact = unit.and_then(|unit| unit.contacts.first());
        let (Some(contact), Some(link)) = (contact, self.common.sessions.get(session)) else {
            return;
        };
        let user_id = writer.user_id;
        let door = link.door.door();
        if self.texts >= MAX_TEXTS || self.draining {
            if let Some(session) = door.open() {
                let cause = Cause::new(Reason::WorkerNotReady);
                session.do_send(NotDelivered { user_id, cause });
            }
            return;
        }
        // The number on the PBX, whatever was dialled before.
        let writer = Calling::Telegram(Caller {
            dialled: None,
            ..writer
        });
        let target = self.target(trunk, &writer, crate::house::call_id(), contact);
        let target = *target.target;
        let mut headers = target.headers;
        headers.extend(trunk.header.as_ref().map(crate::trunk::pair));
        let spec = TextSpec {
            config: TextConfig {
                uri: target.uri,
                send_to: target.send_to,
                from: target.from,
                to: target.to,
                headers,
                account: target.account,
                agent: self.common.settings.sip.user_agent.clone(),
                text: text.expose().clone(),
            },
            trunk: trunk.name.clone(),
            user_id,
            session: door,
            watch: self.watch(Unit::Text),
        };
        self.texts += 1;
        Text::new(self.common.clone(), spec).start();
    }

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
        let user = self.table.user_at(writer.user_id).cloned();
        let known = user.as_ref().map(|user| &user.name);
        let subjects = self.subjects_with(None, Some(&session), known);
        self.worker_answers()?;
        self.admit(&subjects)?;
        let trunk = hunt.trunks().find(|trunk| self.known.is_reachable(trunk));
        let trunk = trunk.cloned().ok_or(Reason::SipAccountUnavailable)?;
        let direction = Direction::TgToSip;
        self.common.metrics.call_attempt(direction, &trunk);
        let from = shown_from(&self.table, &trunk, &writer);
        let to = dialled.first().unwrap_or_default().to_owned();
        let id = crate::house::call_id();
        let limit = self.table.session(&session).map_or(0, |spec| spec.lines);
        let opened = self.lines.open(id, Some(&session), limit);
        let opened = opened.map_err(|_| Cause::new(Reason::LinesLimit));
        if let Err(cause) = opened.and_then(|()| self.take_user(id, user.as_ref())) {
            self.never_began(id, ctx);
            let attempt = Attempt {
                direction,
                trunk: &trunk,
                session: session.to_string(),
                from,
                to,
                details: of_person(&writer),
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
            user: known.cloned(),
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
