//! Calls that Telegram made for us and whose request had no result: nobody here owns them, and a phone rings.
//!
//! Their id comes with a later update, if at all: `phoneCallWaiting` when a device rings, `phoneCallAccepted` when it is answered.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

/// No call rings longer than this after its request (telegram-calls 4.5: 20 s and 90 s).
const LOST_FOR: Duration = Duration::from_secs(150);
/// People and calls remembered.
const MOST: usize = 1024;

/// What became of a request for a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Requested {
    /// This call.
    Made(i64),
    /// Nobody knows: no result, or one that says that an earlier request was carried out.
    Lost,
    /// No call.
    Refused,
}

/// What is known of requests for calls.
#[derive(Debug, Default)]
pub(super) struct Strays {
    /// Requests under way, by the user called.
    pending: HashMap<i64, u32>,
    /// Users to whom there may be a call that nobody owns.
    lost: HashMap<i64, Instant>,
    /// Calls that have owners, or had.
    owned: VecDeque<i64>,
}

impl Strays {
    /// A call to this user is requested.
    pub(super) fn begin(&mut self, user_id: i64) {
        *self.pending.entry(user_id).or_default() += 1;
    }

    /// A request has ended so.
    pub(super) fn end(&mut self, now: Instant, user_id: i64, requested: Requested) {
        if let Some(pending) = self.pending.get_mut(&user_id) {
            *pending = pending.saturating_sub(1);
            if *pending == 0 {
                self.pending.remove(&user_id);
            }
        }
        match requested {
            Requested::Made(id) => self.own(id),
            Requested::Lost => {
                self.lost
                    .retain(|_, since| now.duration_since(*since) < LOST_FOR);
                if self.lost.len() < MOST {
                    self.lost.insert(user_id, now);
                }
            }
            Requested::Refused => {}
        }
    }

    /// Somebody takes care of this call.
    pub(super) fn own(&mut self, id: i64) {
        if self.owned.len() >= MOST {
            self.owned.pop_front();
        }
        self.owned.push_back(id);
    }

    /// Whether a call of ours to this user, for which there is no leg, belongs to nobody. While another request for the same user is
    /// under way it may be that one's.
    pub(super) fn is_stray(&self, now: Instant, user_id: i64, id: i64) -> bool {
        let lost = self.lost.get(&user_id);
        lost.is_some_and(|since| now.duration_since(*since) < LOST_FOR)
            && !self.pending.contains_key(&user_id)
            && !self.owned.contains(&id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: i64 = 7;
    const BOB: i64 = 8;

    #[test]
    fn only_a_call_to_somebody_whose_request_was_lost_is_a_stray() {
        let (mut strays, now) = (Strays::default(), Instant::now());
        assert!(!strays.is_stray(now, ANN, 1));
        strays.begin(ANN);
        assert!(!strays.is_stray(now, ANN, 1), "its result may still come");
        strays.end(now, ANN, Requested::Lost);
        assert!(strays.is_stray(now, ANN, 1));
        assert!(!strays.is_stray(now, BOB, 1));
        assert!(strays.is_stray(now + LOST_FOR.mul_f64(0.9), ANN, 1));
        assert!(!strays.is_stray(now + LOST_FOR, ANN, 1));
    }

    #[test]
    fn a_call_that_follows_a_lost_one_is_not_taken_for_it() {
        let (mut strays, now) = (Strays::default(), Instant::now());
        strays.begin(ANN);
        strays.end(now, ANN, Requested::Lost);
        strays.begin(ANN);
        assert!(!strays.is_stray(now, ANN, 1));
        assert!(!strays.is_stray(now, ANN, 2));
        strays.end(now, ANN, Requested::Made(2));
        assert!(strays.is_stray(now, ANN, 1));
        assert!(!strays.is_stray(now, ANN, 2));
        strays.own(1);
        assert!(!strays.is_stray(now, ANN, 1));
    }

    #[test]
    fn a_refusal_leaves_nothing_behind() {
        let (mut strays, now) = (Strays::default(), Instant::now());
        strays.begin(ANN);
        strays.end(now, ANN, Requested::Refused);
        assert!(!strays.is_stray(now, ANN, 1));
        assert!(strays.pending.is_empty() && strays.lost.is_empty());
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (mut strays, now) = (Strays::default(), Instant::now());
        for id in 0..3000 {
            strays.begin(id);
            strays.end(now, id, Requested::Lost);
            strays.begin(id);
            strays.end(now, id, Requested::Made(id));
        }
        assert_eq!((strays.lost.len(), strays.owned.len()), (MOST, MOST));
        assert!(strays.pending.is_empty());
    }
}
