//! Lets a test kill a leg.

use actix::{Handler, Message};
use model::{LegId, LegKind};

use super::{Call, LegAddr};
use crate::chaos::Crash;

/// Test -> Call: let a leg die.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct CrashLeg(pub(crate) LegKind);

/// Test -> Call: let this leg die.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct CrashOne(pub(crate) LegId);

impl Handler<CrashOne> for Call {
    type Result = ();

    fn handle(&mut self, CrashOne(leg): CrashOne, _: &mut Self::Context) {
        self.watch.handled();
        match self.legs.get(&leg).map(|slot| &slot.address) {
            Some(LegAddr::Sip(leg)) => leg.do_send(Crash),
            Some(LegAddr::Telegram(leg)) => leg.do_send(Crash),
            None => {}
        }
    }
}

impl Handler<CrashLeg> for Call {
    type Result = ();

    fn handle(&mut self, CrashLeg(kind): CrashLeg, _: &mut Self::Context) {
        self.watch.handled();
        for slot in self.legs.values() {
            match (&slot.address, kind) {
                (LegAddr::Sip(leg), LegKind::Sip) => leg.do_send(Crash),
                (LegAddr::Telegram(leg), LegKind::Telegram) => leg.do_send(Crash),
                _ => {}
            }
        }
    }
}
