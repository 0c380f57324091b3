//! Keys to be pressed in a PBX: those that the Telegram user types, and those that another PBX sends in a call between two.
//! One after the other, by the first method of the trunk that can be used.
//!
//! ```text
//!          key, pause                      time is up
//!   Free --------------> Busy -----------------------------> Free or the next
//!     |                    ^ 2xx
//!     `--key by INFO--> Asking --refused: the trunk's next method, for this key and all that follow--> Busy or Asking
//! ```

use std::collections::VecDeque;
use std::time::Duration;

use actix::{AsyncContext, Context};
use model::{Direction, DtmfMethod, Key, LegId, LegKind, MAX_KEYS};
use net::media::MediaCommand;

use super::{Call, CallState};
use crate::message::LegOrder;

/// From one key to the next: how long the media plane presses it and pauses.
const EVENT: Duration = Duration::from_millis(160);
const TONE: Duration = Duration::from_millis(200);
/// The same by SIP INFO, whose body says 160 ms; its answer may take longer.
const INFO: Duration = Duration::from_millis(240);
/// What a comma is worth.
const PAUSE: Duration = Duration::from_secs(1);

/// The keys of a leg. They end with it: what was meant for one PBX is nothing for whoever takes its place.
#[derive(Default)]
pub(super) struct Keys {
    waiting: VecDeque<Wanted>,
    hand: Hand,
}

/// A key and where it comes from.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    key: Key,
    /// How the other PBX sent it; nothing if the Telegram user typed it, or an owner ordered it.
    came: Option<DtmfMethod>,
}

/// What is being done just now.
#[derive(Default, Clone, Copy)]
enum Hand {
    #[default]
    Free,
    /// A key is pressed, or a pause lasts; a timer ends it.
    Busy,
    /// A key went out by SIP INFO. The next one waits for the answer, so that none overtakes another.
    Asking(Wanted),
}

impl Call {
    /// Takes the keys that the Telegram user typed.
    pub(super) fn typed(&mut self, from: LegId, keys: Vec<Key>, ctx: &mut Context<Self>) {
        let keys = keys.into_iter().map(|key| Wanted { key, came: None });
        self.press(from, keys.collect(), ctx);
    }

    /// Takes a digit of a PBX, for another one; Telegram's apps have no use for it.
    pub(super) fn digit(
        &mut self,
        leg: LegId,
        digit: char,
        method: DtmfMethod,
        ctx: &mut Context<Self>,
    ) {
        tracing::debug!(call = %self.id, %leg, "digit");
        self.common.metrics.dtmf(LegKind::Sip, counted(method));
        self.count_key();
        let (key, came) = (Key::Digit(digit), Some(method));
        self.press(leg, vec![Wanted { key, came }], ctx);
    }

    /// Queues keys for whoever `from` talks with; those that find no room are left out, all together, for half a PIN is none.
    fn press(&mut self, from: LegId, keys: Vec<Wanted>, ctx: &mut Context<Self>) {
        if !self.takes_keys() {
            tracing::debug!(call = %self.id, %from, "keys before or after the call are not pressed");
            return;
        }
        if let Some(leg) = self.partner(from)
            && !self.queue(leg, keys, ctx)
        {
            tracing::warn!(call = %self.id, %from, "too many keys: the last ones are not pressed");
        }
    }

    /// Presses keys on a leg for an owner; whether there was room for them.
    pub(super) fn press_on(&mut self, leg: LegId, keys: Vec<Key>, ctx: &mut Context<Self>) -> bool {
        let keys = keys.into_iter().map(|key| Wanted { key, came: None });
        self.queue(leg, keys.collect(), ctx)
    }

    /// Queues keys on a leg; whether there was room. What is no PBX has no keys.
    fn queue(&mut self, leg: LegId, keys: Vec<Wanted>, ctx: &mut Context<Self>) -> bool {
        let slot = self.legs.get_mut(&leg);
        let Some(slot) = slot.filter(|slot| slot.address.kind() == LegKind::Sip) else {
            return true;
        };
        if slot.keys.waiting.len() + keys.len() > MAX_KEYS {
            return false;
        }
        slot.keys.waiting.extend(keys);
        match slot.keys.hand {
            Hand::Free => self.next_key(leg, ctx),
            Hand::Busy | Hand::Asking(_) => {}
        }
        true
    }

    /// Whether both sides are answered. Of two PBXs the called one is when the caller is told so, and both have a dialog then.
    pub(super) fn takes_keys(&self) -> bool {
        match self.state {
            CallState::Bridged => true,
            CallState::Answering => self.held.direction == Direction::SipToSip,
            CallState::Routing
            | CallState::CallingBack
            | CallState::PickedUp
            | CallState::Calling
            | CallState::Ringing
            | CallState::Failing
            | CallState::Ending => false,
        }
    }

    /// Turns to the next key of a leg, if it has one and is still there.
    fn next_key(&mut self, leg: LegId, ctx: &mut Context<Self>) {
        let is_here = self.takes_keys() && !self.lost.contains(&leg);
        let Some(slot) = self.legs.get_mut(&leg) else {
            return;
        };
        if !is_here || slot.end.is_some() {
            slot.keys = Keys::default();
            return;
        }
        slot.keys.hand = Hand::Free;
        while let Some(wanted) = slot.keys.waiting.pop_front() {
            let Key::Digit(digit) = wanted.key else {
                return self.busy(leg, PAUSE, ctx);
            };
            let method = DtmfMethod::first_usable(&slot.dtmf, slot.events);
            match method {
                None => {
                    tracing::info!(call = %self.id, %leg, "no method of the trunk's `dtmf` can be used with this PBX: its keys are not pressed");
                    slot.keys.waiting.clear();
                    return;
                }
                // The tone is in the voice that passes.
                Some(DtmfMethod::Inband) if wanted.came == Some(DtmfMethod::Inband) => {}
                Some(DtmfMethod::Info) => {
                    slot.keys.hand = Hand::Asking(wanted);
                    return self.order(leg, LegOrder::Digit { digit });
                }
                Some(method @ (DtmfMethod::Rfc2833 | DtmfMethod::Inband)) => {
                    let digits = digit.to_string();
                    self.tell_media(MediaCommand::SendDtmf {
                        leg,
                        digits,
                        method,
                    });
                    self.count(wanted, method);
                    let time = match method {
                        DtmfMethod::Inband => TONE,
                        DtmfMethod::Rfc2833 | DtmfMethod::Info => EVENT,
                    };
                    return self.busy(leg, time, ctx);
                }
            }
        }
    }

    /// The PBX answered a key by INFO; one that does not take it gets this key and the others by the trunk's next method.
    pub(super) fn info_answered(&mut self, leg: LegId, accepted: bool, ctx: &mut Context<Self>) {
        let Some(slot) = self.legs.get_mut(&leg) else {
            return;
        };
        let Hand::Asking(wanted) = slot.keys.hand else {
            return;
        };
        if accepted {
            self.count(wanted, DtmfMethod::Info);
            return self.busy(leg, INFO, ctx);
        }
        tracing::info!(call = %self.id, %leg, "the PBX refuses INFO: keys are pressed by the trunk's next method");
        slot.dtmf.retain(|method| *method != DtmfMethod::Info);
        slot.keys.waiting.push_front(wanted);
        self.next_key(leg, ctx);
    }

    /// Counts a key that was typed, by the method it went out; one of a PBX was counted when it came.
    fn count(&mut self, wanted: Wanted, method: DtmfMethod) {
        if wanted.came.is_none() {
            self.common.metrics.dtmf(LegKind::Telegram, counted(method));
            self.count_key();
        }
    }

    fn count_key(&mut self) {
        let count = &mut self.record.details.dtmf_count;
        *count = count.saturating_add(1);
    }

    fn busy(&mut self, leg: LegId, time: Duration, ctx: &mut Context<Self>) {
        if let Some(slot) = self.legs.get_mut(&leg) {
            slot.keys.hand = Hand::Busy;
            ctx.run_later(time, move |call, ctx| call.next_key(leg, ctx));
        }
    }
}

fn counted(method: DtmfMethod) -> metrics::DtmfMethod {
    match method {
        DtmfMethod::Rfc2833 => metrics::DtmfMethod::Rfc4733,
        DtmfMethod::Info => metrics::DtmfMethod::Info,
        DtmfMethod::Inband => metrics::DtmfMethod::Inband,
    }
}
