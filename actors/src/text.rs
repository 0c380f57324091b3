//! A text on its way to a PBX: drives one `sip::text::OutgoingText`.
//!
//! Temporary: it lives until the PBX has answered, or for 40 s. Talks to the Endpoint (packets) and tells the Session when the PBX
//! did not take it. Its death loses the text.

use std::time::Instant;

use actix::{Actor, ActorContext, AsyncContext, Context, Handler};
use model::{Cause, Reason, TrunkName};
use sip::call::CallInput;
use sip::text::{OutgoingText, TextConfig, TextEnd, TextInput, TextOutput};

use crate::alarm::Alarm;
use crate::house::Common;
use crate::message::{Bind, FromWire, NotDelivered, Owner, SendRequest, Unbind};
use crate::session::Session;
use crate::supervise::{Door, Watch};

/// What a text is made from.
pub(crate) struct TextSpec {
    pub(crate) config: TextConfig,
    /// Whose PBX gets it, for the log.
    pub(crate) trunk: TrunkName,
    /// Who wrote it, and to whom.
    pub(crate) user_id: i64,
    pub(crate) session: Door<Session>,
    pub(crate) watch: Watch,
}

/// The text.
pub(crate) struct Text {
    common: Common,
    core: OutgoingText,
    owner: Owner,
    trunk: TrunkName,
    user_id: i64,
    session: Door<Session>,
    alarm: Alarm,
    watch: Watch,
}

impl Text {
    pub(crate) fn new(common: Common, spec: TextSpec) -> Self {
        Self {
            common,
            core: OutgoingText::new(Instant::now(), spec.config, rand::random()),
            owner: Owner(rand::random_range(1..u64::MAX)),
            trunk: spec.trunk,
            user_id: spec.user_id,
            session: spec.session,
            alarm: Alarm::default(),
            watch: spec.watch,
        }
    }

    fn input(&mut self, input: TextInput, ctx: &mut Context<Self>) {
        let now = Instant::now();
        self.core.handle_input(now, input);
        self.drain(now, ctx);
    }

    fn drain(&mut self, now: Instant, ctx: &mut Context<Self>) {
        loop {
            match self.core.poll_output() {
                TextOutput::Send { target, request } => self.common.to_endpoint(SendRequest {
                    owner: Some(self.owner),
                    target,
                    request: *request,
                }),
                TextOutput::Done(end) => return self.end(end, ctx),
                TextOutput::Timeout(at) => {
                    self.alarm.set(now, at, ctx, |text, ctx| {
                        text.alarm = Alarm::default();
                        text.input(TextInput::Timeout, ctx);
                    });
                    return;
                }
            }
        }
    }

    fn end(&self, end: TextEnd, ctx: &mut Context<Self>) {
        let cause = match end {
            TextEnd::Taken => None,
            TextEnd::Refused { status, phrase } => Some(Cause::sip_refused(status, &phrase)),
            TextEnd::TimedOut | TextEnd::Unreachable => Some(Cause::new(Reason::SipTimeout)),
        };
        if let Some(cause) = cause {
            tracing::info!(trunk = %self.trunk, cause = cause.brief(), "a text is not taken");
            if let Some(session) = self.session.open() {
                let user_id = self.user_id;
                session.do_send(NotDelivered { user_id, cause });
            }
        }
        ctx.stop();
    }
}

crate::supervise::watched!(Text);

impl Actor for Text {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(16);
        crate::supervise::probe(ctx);
        self.common.to_endpoint(Bind {
            owner: self.owner,
            dialog: self.core.id(),
            invite: None,
            leg: ctx.address().recipient(),
            place: None,
        });
        self.drain(Instant::now(), ctx);
    }
}

impl Drop for Text {
    fn drop(&mut self) {
        self.common.to_endpoint(Unbind { owner: self.owner });
    }
}

impl Handler<FromWire> for Text {
    type Result = ();

    fn handle(&mut self, FromWire(input): FromWire, ctx: &mut Self::Context) {
        self.watch.handled();
        match input {
            CallInput::Response { response } => self.input(TextInput::Response(response), ctx),
            CallInput::Failed { why } => self.input(TextInput::Failed(why), ctx),
            // There is no dialog that anything could belong to.
            _ => {}
        }
    }
}
