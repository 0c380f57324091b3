//! Rates: the generic cell rate algorithm (ITU-T I.371), one number for each budget.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use model::IpPrefix;

use super::GuardConfig;

/// Counters for strangers: 8 octets each, 64 KiB together.
const CELLS: usize = 8_192;

/// One budget: when what was taken from it will have been earned.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budget {
    earned_at: Instant,
}

impl Budget {
    /// A full one.
    pub(super) fn new(now: Instant) -> Self {
        Self { earned_at: now }
    }

    /// Takes one of `rate` a second, of which `burst` may come at once; false when there is none left. No rate at all means no limit.
    pub(super) fn take(&mut self, now: Instant, rate: u32, burst: u32) -> bool {
        let Some(one) = Duration::from_secs(1).checked_div(rate) else {
            return true;
        };
        let ahead = self.earned_at.saturating_duration_since(now);
        if ahead > one * burst.saturating_sub(1) {
            return false;
        }
        self.earned_at = self.earned_at.max(now) + one;
        true
    }
}

/// The budgets of all strangers. Who falls on the same counter shares it; which those are changes with every start.
#[derive(Debug)]
pub(super) struct Strangers {
    rate: u32,
    burst: u32,
    all_rate: u32,
    seed: u64,
    /// Microseconds since `began`: an `Instant` would take twice the room.
    cells: Vec<u64>,
    all: Budget,
    began: Instant,
}

impl Strangers {
    pub(super) fn new(config: &GuardConfig, now: Instant, seed: u64) -> Self {
        Self {
            rate: config.stranger_rate,
            burst: config.stranger_burst,
            all_rate: config.strangers_rate,
            seed,
            cells: vec![0; CELLS],
            all: Budget::new(now),
            began: now,
        }
    }

    /// Takes one for a stranger, and one of all; who has none of his own takes nothing from the others.
    pub(super) fn take(&mut self, now: Instant, party: IpPrefix) -> bool {
        let mut hasher = DefaultHasher::new();
        (self.seed, party).hash(&mut hasher);
        let at = usize::try_from(hasher.finish() % CELLS as u64).unwrap_or(0);
        let Some(cell) = self.cells.get_mut(at) else {
            unreachable!("a remainder is below what it was divided by")
        };
        let mut budget = Budget {
            earned_at: self.began + Duration::from_micros(*cell),
        };
        if !budget.take(now, self.rate, self.burst) {
            return false;
        }
        let earned = budget.earned_at.saturating_duration_since(self.began);
        *cell = u64::try_from(earned.as_micros()).unwrap_or(u64::MAX);
        self.all.take(now, self.all_rate, self.all_rate.div_ceil(5))
    }
}
