//! What an owner does to a call that goes on: keys, hold, transfer. His orders go the same ways as those of the two who talk.

use actix::{Context, Handler, MessageResult};
use metrics::TransferKind;
use model::{Cause, Key, LegId, LegKind, Reason};

use super::{Call, CallState};
use crate::house::{CallOrder, Ordered};
use crate::message::{LegOrder, OrderCall, TransferTo};

impl Call {
    /// The legs of PBXs that are there: not one that is about to take the place of another, which has not answered.
    fn sip_legs(&self) -> Vec<LegId> {
        let newcomer = self.newcomer();
        let legs = self.legs.iter().filter(|(leg, slot)| {
            let is_here = slot.end.is_none() && !self.lost.contains(*leg);
            is_here && Some(**leg) != newcomer && slot.address.kind() == LegKind::Sip
        });
        legs.map(|(leg, _)| *leg).collect()
    }

    /// Whether both sides talk, and an owner holds a PBX, or a PBX us.
    fn is_on_hold(&self) -> bool {
        let is_held = |leg: &LegId| self.on_hold.contains(leg) || self.holding.contains(leg);
        self.state == CallState::Bridged && self.sip_legs().iter().any(is_held)
    }

    /// Counts the call under the state that it is in now.
    pub(super) fn show_state(&mut self) {
        let now = if self.is_on_hold() {
            metrics::CallState::Held
        } else {
            self.state.label()
        };
        let before = std::mem::replace(&mut self.shown, now);
        if before != now {
            let (metrics, trunk) = (&self.common.metrics, &self.held.trunk);
            metrics.call_state(self.record.direction, trunk, Some(before), Some(now));
        }
    }

    /// A PBX has agreed on audio that it does not want to hear: it holds us, or goes on.
    pub(super) fn pbx_holds(&mut self, leg: LegId, on: bool) {
        if on {
            self.holding.insert(leg);
        } else {
            self.holding.remove(&leg);
        }
        self.show_state();
    }

    fn press_for_owner(
        &mut self,
        leg: Option<LegId>,
        keys: Vec<Key>,
        ctx: &mut Context<Self>,
    ) -> Ordered {
        let legs = self.sip_legs();
        // Of two PBXs the one that was called; there is but one where Telegram is the other side.
        let leg = leg.or_else(|| legs.last().copied());
        let Some(leg) = leg.filter(|leg| legs.contains(leg)) else {
            return Ordered::NotNow("this leg is none of a PBX: nobody else has keys");
        };
        if !self.takes_keys() {
            return Ordered::NotNow("nobody has answered yet");
        }
        if self.press_on(leg, keys, ctx) {
            Ordered::Done
        } else {
            Ordered::NotNow("too many keys wait already")
        }
    }

    fn hold_for_owner(&self, on: bool) -> Ordered {
        let legs = self.sip_legs();
        if self.state != CallState::Bridged || legs.is_empty() {
            return Ordered::NotNow("nobody has answered yet");
        }
        tracing::info!(call = %self.id, on, "an owner holds the call, or lets it go on");
        for leg in legs {
            self.order(leg, LegOrder::Hold { on });
        }
        Ordered::Done
    }

    fn transfer_for_owner(&mut self, number: String, ctx: &mut Context<Self>) -> Ordered {
        let Some(leg) = self.sip_legs().first().copied() else {
            return Ordered::NotNow("nobody has answered yet");
        };
        if !routing::is_transfer_number(&number) {
            self.common.metrics.transfer(TransferKind::Blind, false);
            return Ordered::Refused(Cause::new(Reason::TransferNotPermitted));
        }
        if self.begin_transfer(leg, TransferTo::Owner(number), ctx) {
            Ordered::Done
        } else {
            Ordered::Refused(Cause::new(Reason::TransferNotPossible))
        }
    }

    /// A PBX has taken the hold, or has not.
    pub(super) fn held(&mut self, leg: LegId, on: bool, done: bool) {
        if !done {
            tracing::warn!(call = %self.id, %leg, on, "the PBX refuses to be held, or to go on");
            return;
        }
        tracing::info!(call = %self.id, %leg, on, "held, or not any more");
        if on {
            self.on_hold.insert(leg);
        } else {
            self.on_hold.remove(&leg);
        }
        self.show_state();
        self.tell_held(on);
    }
}

impl Handler<OrderCall> for Call {
    type Result = MessageResult<OrderCall>;

    fn handle(&mut self, OrderCall(order): OrderCall, ctx: &mut Self::Context) -> Self::Result {
        self.watch.handled();
        MessageResult(match order {
            CallOrder::Press { leg, keys } => self.press_for_owner(leg, keys, ctx),
            CallOrder::Hold { on } => self.hold_for_owner(on),
            CallOrder::Transfer { number } => self.transfer_for_owner(number, ctx),
        })
    }
}
