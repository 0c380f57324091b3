//! How much of what we send an encoder prepares to lose, from what the receiver reports.
//!
//! In-band FEC (RFC 6716 section 2.1.7) takes bits from the voice, or more of them and a third of the encoder's time again. So it is there for
//! those who lose packets, and as long as they may again.

use std::time::{Duration, Instant};

/// Loss that is prepared for at the most, percent: libopus does no more for more.
const MOST: u8 = 25;
/// For how long a report is believed when better ones follow: losses come in swarms.
const STAYS: Duration = Duration::from_secs(30);

/// What is prepared for.
#[derive(Debug, Default)]
pub(crate) struct Forecast {
    percent: u8,
    until: Option<Instant>,
}

impl Forecast {
    /// The share that is prepared for, percent, 0 to 25.
    pub(crate) fn percent(&self) -> u8 {
        self.percent
    }

    /// Takes a report: so many packets of a hundred were lost since the one before.
    pub(crate) fn reported(&mut self, now: Instant, lost_percent: u8) {
        let percent = lost_percent.min(MOST);
        if percent >= self.percent || self.until.is_none_or(|until| until <= now) {
            self.percent = percent;
            self.until = Some(now + STAYS);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::start;

    #[test]
    fn the_worst_of_the_last_half_minute_is_prepared_for() {
        let begin = start();
        let mut forecast = Forecast::default();
        assert_eq!(forecast.percent(), 0);
        for (second, lost, percent) in [
            (5, 0, 0),
            (10, 1, 1),
            (15, 12, 12),
            (20, 0, 12),
            (40, 3, 12),
            (44, 0, 12),
            // The 12 is half a minute old, and the last report says nothing of any.
            (45, 0, 0),
            (50, 100, 25),
            (79, 0, 25),
            // One that is as bad lasts anew.
            (80, 26, 25),
            (109, 7, 25),
            (110, 7, 7),
        ] {
            forecast.reported(begin + Duration::from_secs(second), lost);
            assert_eq!(forecast.percent(), percent, "{second} s");
        }
    }
}
