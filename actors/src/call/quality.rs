//! How a call sounds, and who its two sides are: what its record says in detail, and what is told of it while it goes on.
//!
//! Figures come from the media task, every 10 s of the time since, and once of every leg when it is over; the end of the call waits for that.

use std::collections::BTreeMap;
use std::time::Duration;

use actix::{AsyncContext, Context};
use model::{Direction, LegId, LegKind, SipSide};
use net::media::LegReport as Figures;

use super::{CALLER, Call, CallState, Plan};
use crate::house::{LegSound, Sound, unix_millis};
use crate::leg;
use crate::message::{Caller, Calling, SipMedia};

/// How long the end of a call waits for the figures of its legs.
const LAST_FIGURES: Duration = Duration::from_millis(300);

/// What is known of how the call sounds.
#[derive(Debug, Default)]
pub(super) struct Ears {
    /// The last 10 s.
    newest: Option<Sound>,
    /// The SIP legs by what stands in their dialogs.
    named: BTreeMap<LegId, SipSide>,
    /// Of those that were called the one that answered first.
    answered: Option<LegId>,
    /// The media task has said its last word, or is not waited for any more.
    closed: bool,
}

impl Call {
    /// What is known of the two sides before anybody is called.
    pub(super) fn introduce(&mut self) {
        if let Plan::ToSip { caller, .. } = &self.plan
            && let Calling::Telegram(caller) = &**caller
        {
            let caller = caller.clone();
            self.introduce_person(&caller);
        }
    }

    /// Who the Telegram side is, as far as that is not known better.
    pub(super) fn introduce_person(&mut self, person: &Caller) {
        let new = leg::telegram_side(person);
        let side = &mut self.record.details.telegram;
        side.user_id = new.user_id.or(side.user_id);
        side.username = new.username.or(side.username.take());
        side.phone = new.phone.or(side.phone.take());
    }

    /// A SIP leg has a dialog.
    pub(super) fn leg_named(&mut self, leg: LegId, side: SipSide) {
        self.ears.named.insert(leg, side);
        self.describe_sip();
    }

    /// A SIP leg has agreed on its audio.
    pub(super) fn leg_speaks(&mut self, leg: LegId, media: &SipMedia) {
        if let Some(side) = self.ears.named.get_mut(&leg) {
            side.codec = Some(media.agreed.audio.codec);
            self.describe_sip();
        }
    }

    /// A leg that was called has answered.
    pub(super) fn leg_chosen(&mut self, leg: LegId) {
        if self.ears.named.contains_key(&leg) {
            self.ears.answered.get_or_insert(leg);
            self.describe_sip();
        }
    }

    /// Of several SIP legs the record is about this one.
    fn sip_leg(&self) -> Option<LegId> {
        match self.record.direction {
            Direction::SipToTg | Direction::SipToSip => Some(CALLER),
            Direction::TgToSip => {
                let last = self.ears.named.keys().next_back();
                self.ears.answered.or(last.copied())
            }
        }
    }

    fn describe_sip(&mut self) {
        let side = self.sip_leg().and_then(|leg| self.ears.named.get(&leg));
        if let Some(side) = side {
            self.record.details.sip.clone_from(side);
        }
    }

    /// The media task tells how the legs sounded in the last 10 s.
    pub(super) fn heard_legs(&mut self, legs: &[Figures]) {
        for figures in legs.iter().filter(|it| it.kind == LegKind::Telegram) {
            self.describe_telegram(figures);
        }
        if self.state != CallState::Bridged {
            return;
        }
        let legs = legs.iter().filter_map(|figures| {
            let via = self.legs.get(&figures.leg)?.via.clone();
            Some(LegSound {
                leg: figures.leg,
                kind: figures.kind,
                via,
                codec: figures.codec,
                path: figures.path,
                quality: figures.quality(),
            })
        });
        let legs: Vec<LegSound> = legs.collect();
        let at_ms = unix_millis();
        self.tell_quality(&legs);
        self.ears.newest = Some(Sound { at_ms, legs });
    }

    /// How it sounded in the last 10 s.
    pub(super) fn sound(&self) -> Option<Sound> {
        self.ears.newest.clone()
    }

    /// The media task is over: these are the figures of all legs there have been, if it could say so.
    pub(super) fn media_closed(&mut self, legs: &[Figures], ctx: &mut Context<Self>) {
        for figures in legs {
            match figures.kind {
                LegKind::Telegram => self.describe_telegram(figures),
                LegKind::Sip => {
                    if let Some(side) = self.ears.named.get_mut(&figures.leg) {
                        side.quality = figures.quality();
                    }
                }
            }
        }
        self.describe_sip();
        if let Some(side) = legs.iter().find(|it| it.kind == LegKind::Telegram) {
            self.record.details.telegram.quality = side.quality();
        }
        self.ears.closed = true;
        self.finish_if_over(ctx);
    }

    fn describe_telegram(&mut self, figures: &Figures) {
        let side = &mut self.record.details.telegram;
        if figures.path.is_some() {
            side.path = figures.path;
            side.codec = Some(figures.codec);
        }
    }

    /// The media task has been told to end; `is_idle` where there is none.
    pub(super) fn await_figures(&mut self, is_idle: bool, ctx: &mut Context<Self>) {
        if is_idle {
            self.ears.closed = true;
            return;
        }
        ctx.run_later(LAST_FIGURES, |call, ctx| {
            if !call.ears.closed {
                tracing::warn!(call = %call.id, "the media task does not say how the call sounded");
                call.ears.closed = true;
                call.finish_if_over(ctx);
            }
        });
    }

    /// Whether the record has all the figures that it will have.
    pub(super) fn has_figures(&self) -> bool {
        self.ears.closed
    }
}
