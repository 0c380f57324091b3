//! Transfer of a SIP leg by its PBX: a new leg takes the place of an old one, and the Telegram side hears the new one.
//!
//! ```text
//!  REFER --> the registry says whether and where --> the new leg rings --answer--> it has the place, the old one is hung up on
//!                     |                                   `--failure--> the PBX is told; the old leg stays, if it is still there
//!                     `--refusal--> the PBX is told
//!  INVITE with Replaces --> its offer is good --> answered at once, it has the place
//! ```

use std::borrow::Cow;

use actix::{AsyncContext, Context, Handler};
use metrics::TransferKind;
use model::{Cause, LegId, LegKind, Reason, TrunkName};

use super::{CALLER, Call, CallState, Plan, SipTarget};
use crate::leg::sip::Way as SipWay;
use crate::message::{
    Calling, InviteArrived, LegOrder, PlaceTransfer, Placed, SipCaller, SipMedia, TakePlace,
    TransferTo, Wish,
};

/// How many legs a call may have had: a PBX that transfers in a circle comes to an end.
const MAX_LEGS: usize = 32;

/// A transfer under way.
#[derive(Debug)]
pub(super) enum Transfer {
    /// The registry was asked.
    Asked { old: LegId, to: TransferTo },
    /// The new leg is being called.
    Ringing {
        old: LegId,
        new: LegId,
        kind: TransferKind,
    },
    /// The new leg called us.
    Called { old: LegId, new: LegId },
}

impl Transfer {
    fn kind(&self) -> TransferKind {
        match self {
            Transfer::Asked { to, .. } => kind_of(to),
            Transfer::Ringing { kind, .. } => *kind,
            Transfer::Called { .. } => TransferKind::Attended,
        }
    }
}

/// What a PBX or an owner wants.
fn kind_of(to: &TransferTo) -> TransferKind {
    match to {
        TransferTo::Pbx(wish) if wish.replaces() => TransferKind::Attended,
        TransferTo::Pbx(_) | TransferTo::Owner(_) => TransferKind::Blind,
    }
}

impl Call {
    /// Whether this leg of the PBX is answered and belongs to a Telegram leg, so that another may take its place. A PBX that was
    /// called may be faster than the media of Telegram; one that calls has no answer before that, and whoever took its place meanwhile
    /// would never be said to talk.
    fn is_replaceable(&self, leg: LegId) -> bool {
        let talks = |leg: LegId| {
            let slot = self.legs.get(&leg).filter(|slot| slot.end.is_none());
            slot.filter(|_| !self.lost.contains(&leg))
                .map(|slot| slot.address.kind())
        };
        let partner = self.partner(leg);
        let is_answered = match self.state {
            CallState::Bridged => true,
            CallState::Answering => leg != CALLER,
            CallState::Routing
            | CallState::CallingBack
            | CallState::PickedUp
            | CallState::Calling
            | CallState::Ringing
            | CallState::Failing
            | CallState::Ending => false,
        };
        is_answered
            && self.transfer.is_none()
            && self.legs.len() < MAX_LEGS
            && talks(leg) == Some(LegKind::Sip)
            && partner.and_then(talks) == Some(LegKind::Telegram)
    }

    /// The PBX wants another number in place of a leg.
    pub(super) fn transfer_wanted(&mut self, leg: LegId, wish: Wish, ctx: &mut Context<Self>) {
        tracing::info!(call = %self.id, %leg, "the PBX wants a transfer");
        tracing::debug!(call = %self.id, to = %wish.target, "the target of a transfer");
        if !self.begin_transfer(leg, TransferTo::Pbx(wish), ctx) {
            let cause = Cause::new(Reason::TransferNotPossible);
            self.order(leg, LegOrder::RefuseTransfer { cause });
        }
    }

    /// Asks the registry whom to call in place of a leg; false where nobody can take its place. A leg whose PBX has not asked for it takes no
    /// notice of what it is told about the transfer.
    pub(super) fn begin_transfer(
        &mut self,
        leg: LegId,
        to: TransferTo,
        ctx: &mut Context<Self>,
    ) -> bool {
        if self.trunk_of(leg).is_none() || !self.is_replaceable(leg) {
            self.common.metrics.transfer(kind_of(&to), false);
            return false;
        }
        self.transfer = Some(Transfer::Asked { old: leg, to });
        self.ask_for_transfer(ctx);
        true
    }

    /// The trunk that a leg goes over.
    fn trunk_of(&self, leg: LegId) -> Option<TrunkName> {
        self.legs.get(&leg)?.via.parse().ok()
    }

    /// Asks where to call for a transfer that waits for the answer. What a registry dies over is asked of the next one.
    pub(super) fn ask_for_transfer(&self, ctx: &mut Context<Self>) {
        let Some(Transfer::Asked { old, to }) = &self.transfer else {
            return;
        };
        let Some(trunk) = self.trunk_of(*old) else {
            return;
        };
        let caller = match &self.plan {
            Plan::ToSip { caller, .. } => (**caller).clone(),
            // Whom the PBX called is known there by what it dialled.
            Plan::ToTelegram { invite, .. } => Calling::Sip(SipCaller {
                user: invite.request.uri.user().map(Cow::into_owned),
                display: None,
                trunk: None,
                number: String::new(),
                rewritten: routing::Dialled::default(),
                max_forwards: crate::registry::MAX_FORWARDS,
            }),
        };
        self.common.to_registry(PlaceTransfer {
            call: self.id,
            trunk,
            peer: self.legs.get(old).and_then(|slot| slot.peer),
            to: to.clone(),
            caller,
            answer: ctx.address().recipient(),
        });
    }

    fn transfer_placed(
        &mut self,
        target: SipTarget,
        old: LegId,
        kind: TransferKind,
        ctx: &mut Context<Self>,
    ) {
        let new = self.next_leg();
        if self.reserve(new, target.target.send_to.address).is_err() {
            let cause = Cause::new(Reason::NoRtpPorts);
            self.transfer_over(false);
            return self.order(old, LegOrder::RefuseTransfer { cause });
        }
        self.transfer = Some(Transfer::Ringing { old, new, kind });
        self.order(old, LegOrder::AcceptTransfer);
        let way = SipWay::Outgoing {
            target: target.target,
        };
        self.add_sip(new, *target.trunk, way, ctx);
    }

    /// The leg that is about to take the place of another.
    pub(super) fn newcomer(&self) -> Option<LegId> {
        match self.transfer {
            Some(Transfer::Ringing { new, .. } | Transfer::Called { new, .. }) => Some(new),
            Some(Transfer::Asked { .. }) | None => None,
        }
    }

    /// The new leg rings; whether it was one.
    pub(super) fn transfer_rings(&self, leg: LegId) -> bool {
        match self.transfer {
            Some(Transfer::Ringing { old, new, .. }) if new == leg => {
                let (code, phrase) = (180, String::new());
                self.order(old, LegOrder::TransferProgress { code, phrase });
                true
            }
            Some(Transfer::Ringing { .. } | Transfer::Asked { .. } | Transfer::Called { .. })
            | None => false,
        }
    }

    /// The new leg answered, or its offer is good; whether it was one.
    pub(super) fn transfer_done(
        &mut self,
        leg: LegId,
        audio: Option<&SipMedia>,
        ctx: &mut Context<Self>,
    ) -> bool {
        let old = match self.transfer {
            Some(Transfer::Ringing { old, new, .. }) if new == leg => {
                let (code, phrase) = (200, String::new());
                self.order(old, LegOrder::TransferProgress { code, phrase });
                old
            }
            Some(Transfer::Called { old, new }) if new == leg => {
                self.order(new, LegOrder::Answer { partner: None });
                old
            }
            Some(Transfer::Ringing { .. } | Transfer::Asked { .. } | Transfer::Called { .. })
            | None => return false,
        };
        tracing::info!(call = %self.id, %old, new = %leg, "transferred");
        self.transfer_over(true);
        self.lost.insert(old);
        if self.on_hold.remove(&old) {
            self.tell_held(false);
        }
        if let Some(audio) = audio {
            self.sip_media(leg, audio);
        }
        let cause = Cause::new(Reason::Transferred);
        self.order(old, LegOrder::HangUp { cause });
        self.farewells.remove(&old);
        self.prepare_farewells(ctx);
        self.show_state();
        true
    }

    /// The transfer that was under way, if there was one, is done or has come to nothing.
    pub(super) fn transfer_over(&mut self, done: bool) {
        if let Some(transfer) = self.transfer.take() {
            self.common.metrics.transfer(transfer.kind(), done);
        }
    }

    /// A leg ended while a transfer was under way; whether the call goes on without it.
    pub(super) fn transfer_survives(&mut self, leg: LegId, cause: &Cause) -> bool {
        if self.ended.is_some() {
            return false;
        }
        match self.transfer {
            // The new leg failed: whoever is still there stays.
            Some(Transfer::Ringing { old, new, .. } | Transfer::Called { old, new })
                if new == leg =>
            {
                self.transfer_over(false);
                let is_left = self.legs.get(&old).is_some_and(|slot| slot.end.is_none());
                let (code, phrase) = (cause.code(), cause.phrase().into_owned());
                self.order(old, LegOrder::TransferProgress { code, phrase });
                is_left
            }
            // A blind transfer: who wanted it need not wait.
            Some(Transfer::Ringing { old, .. }) if old == leg => {
                self.lost.insert(old);
                true
            }
            Some(Transfer::Ringing { .. } | Transfer::Asked { .. } | Transfer::Called { .. })
            | None => false,
        }
    }
}

impl Handler<Placed> for Call {
    type Result = ();

    fn handle(&mut self, Placed(result): Placed, ctx: &mut Self::Context) {
        self.watch.handled();
        let Some(Transfer::Asked { old, to }) = &self.transfer else {
            return;
        };
        let (old, kind) = (*old, kind_of(to));
        if self.ended.is_some() {
            return self.transfer_over(false);
        }
        match result {
            Ok(target) => self.transfer_placed(*target, old, kind, ctx),
            Err(cause) => {
                self.transfer_over(false);
                tracing::info!(call = %self.id, cause = cause.brief(), "a transfer is refused");
                self.order(old, LegOrder::RefuseTransfer { cause });
            }
        }
    }
}

impl Handler<TakePlace> for Call {
    type Result = ();

    /// An INVITE of the same PBX whose Replaces names a leg of this call (RFC 3891).
    fn handle(&mut self, place: TakePlace, ctx: &mut Self::Context) {
        self.watch.handled();
        let TakePlace {
            leg,
            early_only,
            trunk,
            invite,
        } = place;
        let InviteArrived {
            tx,
            source,
            request,
            ..
        } = *invite;
        let is_of_trunk = self
            .legs
            .get(&leg)
            .is_some_and(|slot| slot.via == trunk.name.as_str());
        let new = self.next_leg();
        let cause = if !is_of_trunk || !self.is_replaceable(leg) {
            Some(Reason::NoSuchDialog)
        } else if early_only {
            // RFC 3891 3: it was answered meanwhile.
            Some(Reason::TransferNotPossible)
        } else if self.reserve(new, source.address).is_err() {
            Some(Reason::NoRtpPorts)
        } else {
            None
        };
        if let Some(reason) = cause {
            self.common.metrics.transfer(TransferKind::Attended, false);
            return self.common.refuse(tx, &request, &Cause::new(reason), true);
        }
        self.transfer = Some(Transfer::Called { old: leg, new });
        let way = SipWay::Incoming {
            request,
            tx,
            source,
            waits: false,
        };
        self.add_sip(new, *trunk, way, ctx);
    }
}
