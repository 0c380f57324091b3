//! Lets a test of the whole process harm a leg.

use actix::{Handler, Message};
use model::LegKind;

use super::{Call, LegAddr};
use crate::chaos::{Harm, harm};

/// House -> Call: do this to your legs of this kind.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct HarmLeg {
    pub(crate) kind: LegKind,
    pub(crate) what: Harm,
}

impl Handler<HarmLeg> for Call {
    type Result = ();

    fn handle(&mut self, HarmLeg { kind, what }: HarmLeg, _: &mut Self::Context) {
        self.watch.handled();
        for slot in self.legs.values() {
            match (&slot.address, kind) {
                (LegAddr::Sip(leg), LegKind::Sip) => harm(leg, what),
                (LegAddr::Telegram(leg), LegKind::Telegram) => harm(leg, what),
                (LegAddr::Sip(_), LegKind::Telegram) | (LegAddr::Telegram(_), LegKind::Sip) => {}
            }
        }
    }
}
