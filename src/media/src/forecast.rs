//! How much of what we send an encoder prepares to lose, from what the receiver reports.
//!
//! In-band FEC (RFC 6716 section 2.1.7) costs bits and nearly half of an encoder's time again. So it is there for those who lose packets, and for as
//! long as they may again: losses come in swarms.

use std::time::{Duration, Instant};

/// Loss that is prepared for at the most, percent: from here on libopus takes no more bits for it.
const MOST: u8 = 25;
/// A report counts for so long at the least, and for twice as long at the most.
const HALF: Duration = Duration::from_secs(15);

/// What is prepared for: the worst report of these 15 s and of the 15 before. It is left behind by reports only; who ceases to report may
/// go on losing.
#[derive(Debug, Default)]
pub(crate) struct Forecast {
    halves: [u8; 2],
    turned: Option<Instant>,
}

impl Forecast {
    /// The share that is prepared for, percent, 0 to 25.
    pub(crate) fn percent(&self) -> u8 {
        let [present, past] = self.halves;
        present.max(past)
    }

    /// Takes a report: so many packets of a hundred were lost since the one before.
    pub(crate) fn reported(&mut self, now: Instant, lost_percent: u8) {
        let since = *self.turned.get_or_insert(now);
        let [present, _] = self.halves;
        let passed = now.saturating_duration_since(since);
        if passed >= HALF {
            self.halves = [0, if passed < HALF * 2 { present } else { 0 }];
            self.turned = Some(now);
        }
        let [present, _] = &mut self.halves;
        *present = lost_percent.min(MOST).max(*present);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::start;

    #[test]
    fn the_worst_of_15_to_30_s_is_prepared_for() {
        let begin = start();
        let mut forecast = Forecast::default();
        assert_eq!(forecast.percent(), 0);
        for (second, lost, percent) in [
            (5, 0, 0),
            (10, 1, 1),
            (15, 12, 12),
            (20, 0, 12),
            (25, 3, 12),
            // The 12 is as old as it may become, the 3 is not.
            (35, 0, 3),
            (36, 2, 3),
            (50, 0, 2),
            (65, 0, 0),
            (70, 100, 25),
            (79, 0, 25),
            (80, 7, 25),
            (95, 7, 7),
            // Nothing was reported for a minute, and that is no report of no loss.
            (155, 1, 1),
        ] {
            forecast.reported(begin + Duration::from_secs(second), lost);
            assert_eq!(forecast.percent(), percent, "{second} s");
        }
    }
}
