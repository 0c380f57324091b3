//! The hunt of a call to a PBX: which legs ring, who wins, who comes next. In which order is `routing`'s to say.

use actix::{AsyncContext, Context, Handler};
use model::{Cause, Codec, Direction, LegId, Reason, TrunkName};

use super::{Call, CallState, Plan, Ringing, SipTarget, trunks};
use crate::leg::sip::Way as SipWay;
use crate::message::{GiveBack, Group, LegOrder, RingGroup, TrunkSaid};

/// What a PBX is offered for a caller of another one: what both speak first, in the order of the trunk, then what can be turned
/// into something that the caller speaks.
fn understood(trunk: &[Codec], caller: &[Codec]) -> Vec<Codec> {
    let shared = trunk.iter().filter(|codec| caller.contains(codec));
    let turned = trunk.iter().filter(|codec| {
        !caller.contains(codec) && caller.iter().any(|other| media::can_join(**codec, *other))
    });
    shared.chain(turned).copied().collect()
}

impl Call {
    /// Rings the group that came with the plan.
    pub(super) fn ring_first(&mut self, ctx: &mut Context<Self>) {
        if let Plan::ToSip { targets, .. } = &mut self.plan {
            let targets = std::mem::take(targets);
            self.ring(targets, ctx);
        }
    }

    /// Calls all targets at the same time.
    fn ring(&mut self, targets: Vec<SipTarget>, ctx: &mut Context<Self>) {
        self.set_state(CallState::Calling);
        let mut leg = self.next_leg();
        for SipTarget {
            mut trunk,
            target,
            rule,
        } in targets
        {
            if !self.caller_codecs.is_empty() {
                trunk.codecs = understood(&trunk.codecs, &self.caller_codecs);
                if trunk.codecs.is_empty() {
                    self.remember(Cause::new(Reason::NotAcceptable));
                    continue;
                }
            }
            if self.reserve(leg, target.send_to.address).is_err() {
                self.remember(Cause::new(Reason::NoRtpPorts));
                continue;
            }
            let ringing = Ringing {
                trunk: trunk.name.clone(),
                number: target.uri.to_string(),
                rule,
            };
            self.ringing.insert(leg, ringing);
            self.add_sip(leg, *trunk, SipWay::Outgoing { target }, ctx);
            leg = self.next_leg();
        }
        self.give_back_idle();
        self.go_on(ctx);
    }

    fn remember(&mut self, cause: Cause) {
        if let Plan::ToSip { hunt, .. } = &mut self.plan {
            hunt.failed(cause);
        }
    }

    /// A leg of the group failed.
    pub(super) fn rang_for_nothing(&mut self, leg: LegId, cause: Cause, ctx: &mut Context<Self>) {
        if let Some(rang) = self.ringing.remove(&leg)
            && let Some(works) = routing::verdict(&cause)
        {
            self.common.to_registry(TrunkSaid {
                call: self.id,
                trunk: rang.trunk,
                works,
                code: cause.code(),
                held_back: routing::held_back(&cause),
            });
        }
        self.early_ended(leg);
        self.remember(cause);
        self.give_back_idle();
        self.go_on(ctx);
    }

    /// When nobody rings any more, asks the registry for the next group; without one, the call ends with the best failure. One that
    /// speaks for everybody ends it at once.
    pub(super) fn go_on(&mut self, ctx: &mut Context<Self>) {
        let Plan::ToSip { hunt, .. } = &mut self.plan else {
            return;
        };
        // Those of the group that still ring are stopped by the end of the call.
        let is_open = !self.ringing.is_empty() && !hunt.is_stopped();
        if is_open || self.ended.is_some() {
            return;
        }
        if let Some(trunks) = hunt.next_group() {
            self.wanted = Some(trunks);
            self.ask_again(ctx);
        } else {
            let cause = hunt.cause();
            self.come_to_nothing(cause, ctx);
        }
    }

    /// Asks for the group that is wanted. What a registry dies over is asked of the next one.
    pub(super) fn ask_again(&self, ctx: &mut Context<Self>) {
        if let (Some(trunks), Plan::ToSip { caller, .. }) = (&self.wanted, &self.plan) {
            self.common.to_registry(RingGroup {
                call: self.id,
                trunks: trunks.clone(),
                caller: (**caller).clone(),
                answer: ctx.address().recipient(),
            });
        }
    }

    /// The first of the group to answer has the call; the others stop ringing.
    pub(super) fn win(&mut self, leg: LegId) {
        let Some(winner) = self.ringing.remove(&leg) else {
            return;
        };
        for loser in std::mem::take(&mut self.ringing).into_keys() {
            let cause = Cause::new(Reason::AnsweredByAnother);
            self.order(loser, LegOrder::HangUp { cause });
            self.reserved.remove(&loser);
            self.lost.insert(loser);
        }
        self.record.details.rule = winner.rule;
        // Between trunks the number stays what was dialled.
        if self.held.direction == Direction::TgToSip {
            self.record.to = winner.number;
        }
        // It works, whatever becomes of the call before both talk.
        self.common.to_registry(TrunkSaid {
            call: self.id,
            trunk: winner.trunk.clone(),
            works: true,
            code: 200,
            held_back: None,
        });
        self.answered_by = Some(winner.trunk);
        self.give_back_idle();
    }

    /// Returns the lines of trunks that neither ring nor answered, nor call.
    pub(super) fn give_back_idle(&mut self) {
        let own = self.held.own_trunk().cloned();
        let busy = |trunk: &TrunkName| {
            own.as_ref() == Some(trunk)
                || self.answered_by.as_ref() == Some(trunk)
                || self.ringing.values().any(|ringing| ringing.trunk == *trunk)
        };
        let (busy, idle): (_, Vec<_>) = self.held.lines.drain(..).partition(busy);
        self.held.lines = busy;
        for trunk in idle {
            self.common.to_registry(GiveBack {
                call: self.id,
                trunk,
            });
        }
    }
}

impl Handler<Group> for Call {
    type Result = ();

    fn handle(&mut self, group: Group, ctx: &mut Self::Context) {
        self.watch.handled();
        // What was asked of two registries may be answered twice; of a call that is over, the registry takes all lines back.
        if self.wanted.as_ref() != Some(&group.asked) || self.ended.is_some() {
            return;
        }
        self.wanted = None;
        for cause in group.failures {
            self.remember(cause);
        }
        let own = self.held.own_trunk().cloned();
        self.held.lines = own.into_iter().chain(trunks(&group.targets)).collect();
        self.ring(group.targets, ctx);
    }
}
