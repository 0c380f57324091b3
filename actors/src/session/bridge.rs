//! Texts between a PBX and people (product 7): what a PBX sends by MESSAGE is written to whom it names, and answered when Telegram has it.

use std::sync::Arc;

use actix::{Context, Handler};
use grammers_tl_types as tl;
use model::{Cause, Reason, Secret};
use routing::{Errand, SessionState};
use sip::{Request, ServerKey};
use telegram::Rpc;

use super::Session;
use super::people::Then;
use crate::message::{NotDelivered, PassText, Respond, Sent};

impl Session {
    /// What somebody sends that is no text goes to the PBX as a line of text, where texts do: it is no key and no number, and nobody
    /// answers it.
    pub(super) fn attached(&mut self, user_id: i64, date: i32, line: Secret<String>) {
        if self.spec.text_bridge && self.age(date).is_some() && self.may_write(user_id) {
            self.hand_on(user_id, line, Sent::Attachment);
        }
    }

    fn pass(
        &mut self,
        user: tl::types::InputUser,
        text: &Secret<String>,
        tx: ServerKey,
        request: Arc<Request>,
        ctx: &mut Context<Self>,
    ) {
        let rpc = Rpc::SendMessage {
            user,
            text: text.expose().clone(),
            random_id: rand::random(),
        };
        self.ask(rpc, ctx, move |session, result, _| match result {
            Ok(_) => {
                let tag = crate::house::tag();
                let response = sip::respond(&request, 202, "", Some(&tag));
                session.common.to_endpoint(Respond { tx, response });
            }
            Err(error) => {
                let cause = telegram::error::cause(&error);
                session.refuse_text(tx, &request, &cause);
            }
        });
    }

    fn refuse_text(&self, tx: ServerKey, request: &Request, cause: &Cause) {
        tracing::info!(session = %self.spec.name, %cause, "a text of a PBX is refused");
        self.common.refuse(tx, request, cause, true);
    }
}

impl Handler<PassText> for Session {
    type Result = ();

    fn handle(&mut self, pass: PassText, ctx: &mut Self::Context) {
        self.watch.handled();
        let PassText {
            peer,
            text,
            tx,
            request,
        } = pass;
        if self.link != SessionState::Running {
            let cause = Cause::new(Reason::SessionNotRunning);
            return self.refuse_text(tx, &request, &cause);
        }
        if let Err(cause) = self.admit(Errand::Text) {
            return self.refuse_text(tx, &request, &cause);
        }
        let then: Then = Box::new(move |session, found, ctx| match found {
            Ok(callee) => session.pass(callee.user, &text, tx, request, ctx),
            Err(cause) => session.refuse_text(tx, &request, &cause),
        });
        self.look_up(peer, Errand::Text, then, ctx);
    }
}

impl Handler<NotDelivered> for Session {
    type Result = ();

    /// The PBX did not take what somebody wrote: he is told, once for each reason in a while.
    fn handle(&mut self, told: NotDelivered, ctx: &mut Self::Context) {
        self.watch.handled();
        let NotDelivered { user_id, cause } = told;
        self.write(user_id, format!("not delivered: {cause}"), ctx);
    }
}
