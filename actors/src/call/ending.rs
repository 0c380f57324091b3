//! The end of a call: the first leg that ends takes the others along, and the record is written.

use std::collections::BTreeMap;
use std::time::Duration;

use actix::{ActorContext, ActorFutureExt, AsyncContext, Context, WrapFuture};
use model::{Cause, Direction, EventKind, LegEnd, LegId, LegKind, Outcome, Peer, Reason, Side};
use net::media::MediaCommand;
use routing::CallEnd;

use super::{Call, CallState, Slot, keys};
use crate::leg::LegAddr;
use crate::message::{CallOver, CloseRecord, LegOrder, NotifyUser};
use crate::supervise::Door;

/// A leg that does not come to its end in this time is dropped: longer than any SIP transaction (64*T1).
const LAST_WORDS: Duration = Duration::from_secs(40);
/// How often and how far apart a record is offered to a keeper that is being restarted.
const RECORD_TRIES: u32 = 20;
const RECORD_PAUSE: Duration = Duration::from_millis(250);

/// The side a leg leads to.
fn end_side(legs: &BTreeMap<LegId, Slot>, leg: LegId) -> Side {
    match legs.get(&leg).map(|slot| &slot.address) {
        Some(LegAddr::Sip(_)) => Side::Sip,
        Some(LegAddr::Telegram(_)) => Side::Telegram,
        None => Side::Here,
    }
}

impl Call {
    pub(super) fn leg_ended(
        &mut self,
        leg: LegId,
        cause: Cause,
        end: LegEnd,
        ctx: &mut Context<Self>,
    ) {
        let Some(slot) = self.legs.get_mut(&leg) else {
            return;
        };
        if slot.end.is_some() {
            return;
        }
        slot.end = Some(end);
        if let Some(error) = cause.telegram_error() {
            self.record.details.telegram.error = Some(error.to_owned());
        }
        slot.keys = keys::Keys::default();
        self.reserved.remove(&leg);
        if self.ringing.contains_key(&leg) && self.ended.is_none() {
            self.rang_for_nothing(leg, cause, ctx);
        } else if self.transfer_survives(leg, &cause) {
            tracing::info!(call = %self.id, %leg, cause = cause.brief(), "the call goes on without this leg");
        } else if !self.lost.contains(&leg) || self.ended.is_some() {
            let cause = self.meant(leg, cause);
            // A plain hang-up belongs to the side it came from; any other cause names its own.
            let side = if cause.reason() == Reason::NormalClearing {
                end_side(&self.legs, leg)
            } else {
                cause.side()
            };
            self.begin_end(cause, side, ctx);
        }
        self.show_state();
        // Nothing to be told when the call ends with its leg.
        self.tell_media(MediaCommand::Remove { leg });
    }

    /// Ends every leg that still lives, with the first cause; the call is over when the last one has reported.
    pub(super) fn begin_end(&mut self, cause: Cause, side: Side, ctx: &mut Context<Self>) {
        if self.ended.is_none() {
            self.record.ended_after_ms = Some(self.elapsed_ms());
            self.record.ended_by = Some(side);
            self.set_state(CallState::Ending);
            for slot in self.legs.values().filter(|slot| slot.end.is_none()) {
                slot.address.order(LegOrder::HangUp {
                    cause: cause.clone(),
                });
            }
            self.tell_caller(&cause, side);
            self.ended = Some((cause, side));
            let media = self.media.take();
            self.await_figures(media.is_none_or(|media| media.is_idle()), ctx);
            self.reserved.clear();
            ctx.run_later(LAST_WORDS, Self::finish);
        }
        self.finish_if_over(ctx);
    }

    /// Gives the lines back when every leg has ended, and writes the record when the media task has said how they sounded, some
    /// milliseconds later.
    pub(super) fn finish_if_over(&mut self, ctx: &mut Context<Self>) {
        let is_over = self.ended.is_some() && self.legs.values().all(|slot| slot.end.is_some());
        if !is_over {
            return;
        }
        self.give_back();
        if self.has_figures() {
            self.finish(ctx);
        }
    }

    /// A Telegram user whose call nobody took is told why, and one whose call is cut; not one who gave up, or whose call an owner ended.
    fn tell_caller(&self, cause: &Cause, side: Side) {
        let is_cut = matches!(cause.reason(), Reason::CallDuration | Reason::TotalDuration);
        let is_told = self.held.direction == Direction::TgToSip
            && (self.answered_at.is_none() && !self.is_ordered() || is_cut)
            && self.is_news(cause, side)
            && !matches!(cause.reason(), Reason::NormalClearing | Reason::Cancelled);
        if is_told
            && let Some(Peer::UserId(user_id)) = self.held.peer
            && let Some(session) = self.session.as_ref().and_then(Door::open)
        {
            session.do_send(NotifyUser {
                user_id,
                cause: cause.clone(),
            });
        }
    }

    /// Tells of the end, writes the record and goes.
    fn finish(&mut self, ctx: &mut Context<Self>) {
        self.give_back();
        if !std::mem::replace(&mut self.is_told, true) {
            self.tell(EventKind::CallEnded);
            self.write_record(ctx);
        }
    }

    /// Closes the record, but for how the call sounded, and gives the lines back.
    fn give_back(&mut self) {
        let Some((cause, side)) = self.ended.clone() else {
            return;
        };
        if self.record.outcome.is_some() {
            return;
        }
        self.transfer_over(false);
        self.record.legs = self
            .legs
            .values()
            .filter_map(|slot| slot.end.clone())
            .collect();
        // A caller who was refused before there was a leg was refused for a reason all the same.
        if self.record.legs.is_empty() {
            let trunk = self.record.trunk.clone();
            let (kind, via) = match self.record.direction {
                Direction::SipToTg | Direction::SipToSip => (LegKind::Sip, trunk),
                Direction::TgToSip => (LegKind::Telegram, self.record.session.clone()),
            };
            self.record.legs.push(crate::leg::end(kind, via, &cause));
        }
        let answered = self.record.answered_after_ms.is_some();
        let outcome = if answered {
            Outcome::Answered
        } else {
            cause.outcome()
        };
        self.record.outcome = Some(outcome);
        self.common.metrics.call_over(&self.record, &cause, side);
        if let Some(trunk) = &self.answered_by {
            match self.held.direction {
                Direction::SipToSip => self.record.to_trunk = trunk.to_string(),
                Direction::SipToTg | Direction::TgToSip => self.record.trunk = trunk.to_string(),
            }
        }
        tracing::info!(call = %self.id, trunk = %self.held.trunk, session = self.held.session_name(), cause = cause.brief(),
            side = side.label(), outcome = outcome.label(), "call over");
        tracing::debug!(call = %self.id, %cause, "why a call is over, as it was said");
        self.unwritten = Some(self.common.unwritten.one_more());
        let after = Duration::from_millis(self.record.ended_after_ms.unwrap_or_default());
        let is_owners = side == Side::Here && cause.reason() == Reason::Cancelled;
        self.common.to_registry(CallOver {
            call: self.id,
            // What an owner cut short did not fail.
            end: if is_owners {
                CallEnd::Other
            } else {
                CallEnd::of(&cause, answered, after)
            },
        });
    }

    /// The record is offered until a keeper has it on disk.
    fn write_record(&mut self, ctx: &mut Context<Self>) {
        let (keeper, record, id) = (self.common.keeper.clone(), self.record.clone(), self.id);
        ctx.spawn(
            async move {
                for _ in 0..RECORD_TRIES {
                    if let Some(keeper) = keeper.open() {
                        let ask = keeper.send(CloseRecord {
                            record: Box::new(record.clone()),
                        });
                        if let Ok(true) = ask.await {
                            return;
                        }
                    }
                    tokio::time::sleep(RECORD_PAUSE).await;
                }
                tracing::error!(call = %id, "the call record could not be written");
            }
            .into_actor(self)
            .map(|(), _, ctx| ctx.stop()),
        );
    }
}
