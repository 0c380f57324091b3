//! The two kinds of leg a call can have.

pub(crate) mod sip;
pub(crate) mod telegram;

use actix::Addr;
use model::{Cause, LegEnd, LegKind};

use crate::message::LegOrder;

/// A running leg, of either kind.
#[derive(Clone)]
pub(crate) enum LegAddr {
    Sip(Addr<sip::SipLeg>),
    Telegram(Addr<telegram::TelegramLeg>),
}

impl LegAddr {
    pub(crate) fn kind(&self) -> LegKind {
        match self {
            LegAddr::Sip(_) => LegKind::Sip,
            LegAddr::Telegram(_) => LegKind::Telegram,
        }
    }

    /// Gives an order; a few per call, so the mailbox limit does not apply.
    pub(crate) fn order(&self, order: LegOrder) {
        match self {
            LegAddr::Sip(leg) => leg.do_send(order),
            LegAddr::Telegram(leg) => leg.do_send(order),
        }
    }
}

/// How a leg ended, for the record.
pub(crate) fn end(kind: LegKind, via: String, cause: &Cause) -> LegEnd {
    LegEnd {
        kind,
        via,
        code: cause.code(),
        phrase: cause.phrase().into_owned(),
        reason: cause.name().to_owned(),
        peer_reason: None,
    }
}
