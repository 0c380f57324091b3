//! The two kinds of leg a call can have.

pub(crate) mod sip;
pub(crate) mod telegram;

use ::sip::{Hop, NameAddr};
use actix::Addr;
use model::{Cause, LegEnd, LegKind, SipSide, TelegramSide, recorded};

use crate::message::{Caller, LegOrder};

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

/// Who a SIP leg is from and to, for the record.
pub(crate) fn sip_side(
    call_id: &str,
    from: Option<&NameAddr>,
    to: Option<&NameAddr>,
    peer: Hop,
) -> SipSide {
    let address = |party: Option<&NameAddr>| {
        party.map_or_else(String::new, |party| recorded(&party.uri.to_string()))
    };
    SipSide {
        call_id: recorded(call_id),
        from: address(from),
        to: address(to),
        peer: peer.to_string(),
        ..SipSide::default()
    }
}

/// Who a Telegram user is, for the record; whom an owner calls has no id before he has been looked up.
pub(crate) fn telegram_side(person: &Caller) -> TelegramSide {
    let fine = |text: &Option<String>| text.as_deref().map(recorded).filter(|it| !it.is_empty());
    TelegramSide {
        user_id: (person.user_id != 0).then_some(person.user_id),
        username: fine(&person.username),
        phone: fine(&person.phone),
        ..TelegramSide::default()
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
