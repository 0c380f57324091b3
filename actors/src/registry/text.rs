//! What Telegram users write: whether it is a number, and what follows from it (product 2.12).

use actix::Handler;
use model::Peer;
use routing::TelegramOffer;

use super::Registry;
use crate::message::{TextWritten, Understood};

impl Handler<TextWritten> for Registry {
    type Result = ();

    fn handle(&mut self, written: TextWritten, _: &mut Self::Context) {
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
        if self.draining || self.calls(&session, user_id) {
            return;
        }
        let unit = self.known.sessions.get(&session);
        if let Some(session) = unit.and_then(|unit| unit.address.as_ref()) {
            session.do_send(Understood { user_id, dialled });
        }
    }
}

impl Registry {
    /// Whether this person has a call with the session, or is about to.
    fn calls(&self, session: &model::SessionName, user_id: i64) -> bool {
        let mut calls = self.known.calls.values();
        calls.any(|call| {
            let is_his = call.held.peer == Some(Peer::UserId(user_id));
            is_his && call.held.session.as_ref() == Some(session)
        })
    }
}
