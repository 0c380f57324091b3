//! A call back (product 2.13): who wrote a number is called, and put through when he has answered. A call that an owner orders goes the same
//! way; there he has written nothing, and is told nothing in the chat.
//!
//! ```text
//!  CallingBack --he answers--> PickedUp --his media is up--> the hunt: Calling, Ringing --a PBX answers--> Bridged
//!   | ^ another number           | ^ another number           | ring-back tone, or what the PBX plays
//!   |-'                          '-'                          `--nobody takes it--> Failing: busy tone for 3 s, then the end
//!   `--60 s--> the end
//! ```

use std::time::{Duration, Instant};

use actix::{AsyncContext, Context, Handler};
use media::Tone;
use model::{Cause, Key, LegId, Reason, Secret, Side};
use net::media::MediaCommand;

use super::{CALLER, Call, CallState, Origin, Plan, TelegramWay};
use crate::message::{Caller, Calling, LegOrder, Redial, Sent, SipMedia, TextWritten};

/// How long he may let it ring.
const RINGS: Duration = Duration::from_secs(60);
/// How long he hears that it came to nothing.
const BUSY: Duration = Duration::from_secs(3);
/// How often he may write another number.
const NUMBERS: u32 = 10;

/// What is special about a call back.
#[derive(Debug, Default)]
pub(super) struct Callback {
    /// When the PBX began to be called.
    dialled_at: Option<Instant>,
    /// The leg whose early media he hears.
    early: Option<LegId>,
    /// Why it comes to nothing.
    failed: Option<Cause>,
    /// How many texts of his were read.
    texts: u32,
}

impl Call {
    /// Whether the Telegram user was called, and wants to be put through.
    pub(super) fn is_callback(&self) -> bool {
        match &self.plan {
            Plan::ToSip { origin, .. } => match origin {
                Origin::Callback | Origin::Ordered => true,
                Origin::Telegram { .. } | Origin::Trunk { .. } => false,
            },
            Plan::ToTelegram { .. } => false,
        }
    }

    /// Whether an owner has ordered the call.
    pub(super) fn is_ordered(&self) -> bool {
        match &self.plan {
            Plan::ToSip { origin, .. } => match origin {
                Origin::Ordered => true,
                Origin::Callback | Origin::Telegram { .. } | Origin::Trunk { .. } => false,
            },
            Plan::ToTelegram { .. } => false,
        }
    }

    /// Whom an owner has called is known better now than when he ordered it.
    pub(super) fn met(&mut self, person: Caller) {
        self.introduce_person(&person);
        if !self.is_ordered() {
            return;
        }
        let Plan::ToSip { caller, .. } = &mut self.plan else {
            return;
        };
        if let Calling::Telegram(caller) = &mut **caller {
            let before = std::mem::replace(caller, person);
            caller.dialled = before.dialled;
            caller.phone = caller.phone.take().or(before.phone);
            caller.username = caller.username.take().or(before.username);
        }
    }

    /// When somebody began to wait for the PBX.
    pub(super) fn dialled_at(&self) -> Instant {
        self.callback.dialled_at.unwrap_or(self.started)
    }

    /// Calls who wrote the number, or whom an owner wants to be called.
    pub(super) fn call_back(&mut self, ctx: &mut Context<Self>) {
        let Some(peer) = self.held.peer.clone() else {
            let cause = Cause::new(Reason::InternalError);
            return self.begin_end(cause, Side::Here, ctx);
        };
        self.set_state(CallState::CallingBack);
        self.add_telegram(CALLER, TelegramWay::Outgoing { peer }, ctx);
        ctx.run_later(RINGS, |call, ctx| {
            if call.state == CallState::CallingBack {
                call.begin_end(Cause::new(Reason::NoAnswer), Side::Telegram, ctx);
            }
        });
    }

    /// He has answered and can hear: now the PBX is called.
    pub(super) fn put_through(&mut self, ctx: &mut Context<Self>) {
        if self.state != CallState::PickedUp {
            return;
        }
        self.callback.dialled_at = Some(Instant::now());
        self.set_state(CallState::Calling);
        self.tone(Some(Tone::Ringback));
        self.go_on(ctx);
    }

    /// Lets who was called back hear a tone, or stops it.
    pub(super) fn tone(&mut self, tone: Option<Tone>) {
        self.tell_media(MediaCommand::Tone { leg: CALLER, tone });
    }

    /// A PBX that rings plays something, which is heard in place of our tone; of several the first.
    pub(super) fn leg_early(&mut self, leg: LegId, audio: &SipMedia) {
        let is_heard = self.callback.early.is_none_or(|early| early == leg);
        if is_heard && self.ringing.contains_key(&leg) {
            self.callback.early = Some(leg);
            self.sip_media(leg, audio);
            self.tone(None);
        }
    }

    /// A leg rang for nothing: if it was heard, there is silence now.
    pub(super) fn early_ended(&mut self, leg: LegId) {
        if self.callback.early == Some(leg) {
            self.callback.early = None;
            self.tone(Some(Tone::Ringback));
        }
    }

    /// Nobody takes the call: who was called back hears so, everybody else is told at once.
    pub(super) fn come_to_nothing(&mut self, cause: Cause, ctx: &mut Context<Self>) {
        let side = cause.side();
        if !self.is_callback() {
            return self.begin_end(cause, side, ctx);
        }
        for leg in std::mem::take(&mut self.ringing).into_keys() {
            let cause = cause.clone();
            self.order(leg, LegOrder::HangUp { cause });
            self.reserved.remove(&leg);
            self.lost.insert(leg);
        }
        self.give_back_idle();
        tracing::info!(call = %self.id, cause = cause.brief(), "nobody takes the call of who was called back");
        self.callback.failed = Some(cause.clone());
        self.set_state(CallState::Failing);
        self.tone(Some(Tone::Busy));
        ctx.run_later(BUSY, move |call, ctx| call.begin_end(cause, side, ctx));
    }

    /// What the end of a leg means for the call: he may hang up on the busy tone, and does not let everybody call.
    pub(super) fn meant(&self, leg: LegId, cause: Cause) -> Cause {
        if leg != CALLER || !self.is_callback() {
            return cause;
        }
        match (&self.callback.failed, cause.reason()) {
            (Some(failed), _) => failed.clone(),
            (None, Reason::UserPrivacyRestricted) if !self.is_ordered() => {
                Cause::new(Reason::CallbackRestricted)
            }
            // Nobody was there yet whom he could have talked with.
            (None, Reason::NormalClearing) if self.answered_at.is_none() => {
                Cause::new(Reason::CallerGaveUp)
            }
            (None, _) => cause,
        }
    }

    /// The Telegram user wrote something: another number before it is dialled, keys afterwards.
    pub(super) fn wrote(&mut self, leg: LegId, text: &Secret<String>, ctx: &mut Context<Self>) {
        match self.state {
            CallState::CallingBack | CallState::PickedUp if self.is_ordered() => {}
            CallState::CallingBack | CallState::PickedUp => self.wrote_number(text),
            CallState::Routing
            | CallState::Calling
            | CallState::Ringing
            | CallState::Answering
            | CallState::Bridged
            | CallState::Failing
            | CallState::Ending => {
                if let Some(keys) = Key::read(text.expose()) {
                    self.typed(leg, keys, ctx);
                }
            }
        }
    }

    fn wrote_number(&mut self, text: &Secret<String>) {
        self.callback.texts += 1;
        let (Plan::ToSip { caller, .. }, Some(session)) = (&self.plan, &self.held.session) else {
            return;
        };
        let Calling::Telegram(writer) = &**caller else {
            return;
        };
        if self.callback.texts <= NUMBERS {
            self.common.to_registry(TextWritten {
                session: session.clone(),
                writer: writer.clone(),
                text: text.clone(),
                what: Sent::Text,
            });
        }
    }

    /// Whether a Telegram user is told of this end: what others did, not what he did himself.
    pub(super) fn is_news(&self, cause: &Cause, side: Side) -> bool {
        let is_his = matches!(
            cause.reason(),
            Reason::NoAnswer
                | Reason::TemporarilyUnavailable
                | Reason::UserDeclined
                | Reason::CallerGaveUp
                | Reason::AnsweredElsewhere
        );
        side != Side::Telegram || (self.is_callback() && !is_his)
    }
}

impl Handler<Redial> for Call {
    type Result = ();

    /// He wrote another number; one that comes after the PBX is called comes too late.
    fn handle(&mut self, redial: Redial, _: &mut Self::Context) {
        self.watch.handled();
        let is_open = matches!(self.state, CallState::CallingBack | CallState::PickedUp);
        if !is_open || self.is_ordered() {
            return;
        }
        let Redial { dialled, hunt } = redial;
        if let Some(number) = dialled.first() {
            number.clone_into(&mut self.record.to);
        }
        if let Plan::ToSip {
            caller,
            hunt: before,
            ..
        } = &mut self.plan
        {
            **before = hunt;
            if let Calling::Telegram(caller) = &mut **caller {
                caller.dialled = Some(dialled);
            }
        }
        tracing::info!(call = %self.id, "who is called back wants another number");
    }
}
