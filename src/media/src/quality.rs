//! How a leg must have sounded, guessed from what its network did: the E-model (ITU-T G.107) with everything at its
//! default that a switch cannot know.
//!
//! An estimate. It has heard nothing: echo, noise and a bad microphone are not in it, nor the network behind the peer.

use std::time::Duration;

use model::Codec;

use crate::bridge::LegStats;

/// R of a perfect call between perfect phones.
const BEST: f64 = 93.2;
/// What every call pays for its packets.
const PACKETISATION: Duration = Duration::from_millis(20);
/// Opus looks ahead by this much.
const OPUS_LOOK_AHEAD: Duration = Duration::from_micros(6_500);
/// One-way delay in milliseconds from which people begin to interrupt each other.
const DISTURBING: f64 = 177.3;

impl LegStats {
    /// Returns the estimated mean opinion score of what came from this leg, 1 to 4.5; `buffer` is how long it waited here on
    /// average, an unknown round trip counts as none. Nothing when nothing came.
    pub fn mos(&self, codec: Codec, round_trip: Option<Duration>, buffer: Duration) -> Option<f64> {
        let look_ahead = match codec {
            Codec::Opus => OPUS_LOOK_AHEAD,
            Codec::Alaw | Codec::Mulaw | Codec::G722 | Codec::L16 => Duration::ZERO,
        };
        let delay = round_trip.unwrap_or_default() / 2 + buffer + PACKETISATION + look_ahead;
        let impaired =
            delay_impairment(delay) + loss_impairment(codec, self.missed()?, self.burst());
        Some(score(BEST - impaired))
    }

    /// Returns the share of packets that never came; nothing when none was expected.
    pub fn loss(&self) -> Option<f64> {
        // Who came late was given up as lost before.
        share(self.lost.saturating_sub(self.late), self.expected())
    }

    /// The share of packets that were not there when they were needed.
    fn missed(&self) -> Option<f64> {
        share(self.lost + self.discarded, self.expected())
    }

    /// Returns what was counted since `before`, for a leg that is looked at again and again; what is no count stays as it is. A packet that
    /// was given up before and came since is no loss of either time.
    #[must_use]
    pub fn since(&self, before: &LegStats) -> LegStats {
        LegStats {
            received: self.received.saturating_sub(before.received),
            lost: self.lost.saturating_sub(before.lost),
            gaps: self.gaps.saturating_sub(before.gaps),
            late: self.late.saturating_sub(before.late),
            duplicate: self.duplicate.saturating_sub(before.duplicate),
            discarded: self.discarded.saturating_sub(before.discarded),
            ..*self
        }
    }

    fn expected(&self) -> u64 {
        let once = self.received.saturating_sub(self.duplicate);
        once + self.lost.saturating_sub(self.late)
    }

    /// How much longer gaps are than those of random loss would be; at least 1.
    fn burst(&self) -> f64 {
        let (Some(length), Some(loss)) = (share(self.lost, self.gaps), self.loss()) else {
            return 1.0;
        };
        (length * (1.0 - loss)).max(1.0)
    }
}

fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// Id.
fn delay_impairment(delay: Duration) -> f64 {
    let delay = delay.as_secs_f64() * 1000.0;
    0.024 * delay + 0.11 * (delay - DISTURBING).max(0.0)
}

/// Ie,eff. G.113 gives G.711 with concealment a robustness of 25.1; that of the others is our assumption.
fn loss_impairment(codec: Codec, missed: f64, burst: f64) -> f64 {
    let robustness = match codec {
        Codec::Alaw | Codec::Mulaw | Codec::G722 | Codec::L16 => 25.1,
        Codec::Opus => 25.0,
    };
    let percent = missed.min(1.0) * 100.0;
    95.0 * percent / (percent / burst + robustness)
}

/// MOS of R.
fn score(r: f64) -> f64 {
    if r <= 0.0 {
        1.0
    } else if r >= 100.0 {
        4.5
    } else {
        // The curve dips below 1 for the smallest R.
        (1.0 + 0.035 * r + r * (r - 60.0) * (100.0 - r) * 7e-6).max(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn stats(received: u64, lost: u64, gaps: u64) -> LegStats {
        LegStats {
            received,
            lost,
            gaps,
            ..LegStats::default()
        }
    }

    fn close(found: f64, wanted: f64) -> bool {
        (found - wanted).abs() < 0.01
    }

    #[test]
    fn scores_are_those_of_the_formula() {
        assert!(close(score(93.2), 4.41));
        assert!(close(score(70.0), 3.60));
        assert!(close(score(50.0), 2.58));
        assert!(close(score(-1.0), 1.0) && close(score(3.0), 1.0) && close(score(101.0), 4.5));
    }

    #[test]
    fn delay_costs_little_before_177_ms_and_much_after() {
        let clean = stats(1000, 0, 0);
        let at = |round_trip| {
            clean
                .mos(Codec::Alaw, Some(MS * round_trip), MS * 20)
                .unwrap()
        };
        assert!(close(at(0), 4.39), "{}", at(0));
        assert!(close(at(200), 4.34), "{}", at(200));
        // R = 93.2 - 0.024 * 440 - 0.11 * (440 - 177.3).
        assert!(close(at(800), 2.77), "{}", at(800));
        let unknown = clean.mos(Codec::Alaw, None, MS * 20).unwrap();
        assert!(close(unknown, at(0)));
        assert!(clean.mos(Codec::Opus, None, MS * 20).unwrap() < unknown);
    }

    #[test]
    fn loss_costs_and_bursts_cost_more() {
        let at = |lost, gaps| {
            let stats = stats(1000 - lost, lost, gaps);
            stats.mos(Codec::Alaw, None, Duration::ZERO).unwrap()
        };
        // R = 93.2 - 0.48 - 95 * 5 / (5 + 25.1).
        assert!(close(at(50, 50), 3.90), "{}", at(50, 50));
        assert!(at(50, 5) < at(50, 50) - 0.05);
        assert!(at(10, 10) > at(50, 50));
        assert!(at(999, 1) < 1.2, "{}", at(999, 1));
    }

    #[test]
    fn who_comes_late_was_not_lost_but_was_missed_all_the_same() {
        let late = LegStats {
            late: 50,
            ..stats(1000, 50, 50)
        };
        assert_eq!(late.loss(), Some(0.0));
        let (late, clean) = (late, stats(1000, 0, 0));
        let mos = |stats: LegStats| stats.mos(Codec::Opus, None, Duration::ZERO).unwrap();
        assert!(mos(late) < mos(clean) - 0.3);
        assert_eq!(stats(900, 100, 100).loss(), Some(0.1));
    }

    #[test]
    fn what_is_looked_at_again_is_judged_by_what_has_come_since() {
        let before = stats(900, 100, 90);
        let after = stats(1900, 110, 95);
        let since = after.since(&before);
        assert_eq!(since.loss(), Some(10.0 / 1010.0));
        let mos = |stats: LegStats| stats.mos(Codec::Alaw, None, Duration::ZERO).unwrap();
        assert!(mos(since) > mos(after) + 0.2);
        assert_eq!(before.since(&before).loss(), None);
    }

    #[test]
    fn nothing_is_said_of_a_leg_that_said_nothing() {
        assert_eq!(LegStats::default().loss(), None);
        assert_eq!(LegStats::default().mos(Codec::Opus, None, MS), None);
    }
}
