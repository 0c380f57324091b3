//! Where the next packet of a leg belongs in time, when the sender it comes from pauses, jumps or starts over.

use std::time::{Duration, Instant};

/// How far a timestamp may disagree with the clock on the wall and still be believed.
const TOLERANCE: Duration = Duration::from_millis(500);
/// Silence after which time goes on although the sender's timestamps do not say so.
const QUIET: Duration = Duration::from_millis(200);
/// The same for a sender whose timestamps claim that there was no pause: more likely the network stood still.
const STALL: Duration = Duration::from_secs(1);
/// Pauses taken from the wall clock are whole frames.
const FRAME: Duration = Duration::from_millis(20);

/// Follows one stream into a leg.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Timeline {
    /// The timestamp the source would use next, and its clock in Hz.
    expected: Option<(u32, u32)>,
    /// When the next packet is due.
    due: Option<Instant>,
    /// Silence of our own since the last packet, in place of packets that may only be late.
    silence: Duration,
    /// How long nothing at all was put in before that silence began.
    waited: Duration,
    /// So much of it was for packets that have come after all, and until when that counts.
    surplus: Option<(Duration, Instant)>,
    /// How far the pauses that were believed are ahead of the wall, and when that was seen last.
    lead: Duration,
    led: Option<Instant>,
}

impl Timeline {
    /// Forgets the source: another one follows.
    pub(crate) fn forget_source(&mut self) {
        self.expected = None;
    }

    /// Returns when the next packet is due.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Returns the pause before a packet stamped `timestamp` that came at `arrived`.
    pub(crate) fn pause(&mut self, arrived: Instant, timestamp: u32) -> Duration {
        let overdue = self
            .due
            .map_or(Duration::ZERO, |due| arrived.saturating_duration_since(due))
            + self.waited;
        let Some((expected, clock)) = self.expected else {
            return by_the_wall(overdue, QUIET);
        };
        let ahead = timestamp.wrapping_sub(expected).cast_signed();
        match u64::try_from(ahead) {
            Ok(0) => by_the_wall(overdue, STALL),
            Ok(ticks) => {
                let told = time(ticks, clock);
                let near = told.abs_diff(overdue) <= TOLERANCE;
                if near && self.may_lead(arrived, told, overdue) {
                    told
                } else {
                    by_the_wall(overdue, QUIET)
                }
            }
            // Backwards: a new start, or a pause we filled more generously than the sender meant it.
            Err(_) => by_the_wall(overdue, QUIET),
        }
    }

    /// Whether pauses told so far, and this one, agree with the wall together as well. A clock that drifts by a thousandth may.
    fn may_lead(&mut self, arrived: Instant, told: Duration, overdue: Duration) -> bool {
        let since = self.led.replace(arrived).unwrap_or(arrived);
        let drift = arrived.saturating_duration_since(since) / 1000;
        let lead = (self.lead + told).saturating_sub(overdue + drift);
        let may = lead <= TOLERANCE;
        if may {
            self.lead = lead;
        }
        may
    }

    /// Returns how much audio is missing before a packet stamped `timestamp`, as far as its stamp can tell.
    pub(crate) fn missing(&self, timestamp: u32) -> Option<Duration> {
        let (expected, clock) = self.expected?;
        let ticks = timestamp.wrapping_sub(expected);
        Some(time(u64::from(ticks), clock)).filter(|missing| *missing <= STALL)
    }

    /// A packet of `ticks` of the source's `clock` Hz, stamped `timestamp`, was placed.
    pub(crate) fn placed(&mut self, arrived: Instant, timestamp: u32, ticks: u32, clock: u32) {
        self.expected = Some((timestamp.wrapping_add(ticks), clock));
        self.due = Some(arrived + time(u64::from(ticks), clock));
        (self.silence, self.waited) = (Duration::ZERO, Duration::ZERO);
    }

    /// Audio of our own of this length was put in from `now` on.
    pub(crate) fn filled(&mut self, now: Instant, length: Duration) {
        self.due = Some(now + length);
        self.concealed(length);
    }

    /// Silence is put in from `now` on, in place of packets that have not come.
    pub(crate) fn silenced(&mut self, now: Instant, length: Duration) {
        if let Some(due) = self.due {
            self.waited += now.saturating_duration_since(due);
        }
        self.silence += length;
        self.filled(now, length);
    }

    /// Whether a packet of `length` ticks is to be left out: silence of ours has taken its place, and it comes in the burst after a
    /// stall, not in time after a pause that its sender has not counted.
    pub(crate) fn leaves_out(&mut self, arrived: Instant, timestamp: u32, length: u32) -> bool {
        let (Some((expected, clock)), Some(due)) = (&mut self.expected, self.due) else {
            return false;
        };
        if !self.silence.is_zero() {
            let behind = time(expected.wrapping_sub(timestamp).into(), *clock);
            let surplus = Some(behind).filter(|behind| *behind <= self.silence);
            self.surplus = surplus.map(|surplus| (surplus, arrived + STALL));
            return false;
        }
        let this = time(length.into(), *clock);
        let early = due.saturating_duration_since(arrived);
        match &mut self.surplus {
            Some((left, until)) if *left >= this && arrived < *until && early * 2 >= this => {
                *left -= this;
                *expected = timestamp.wrapping_add(length);
                true
            }
            Some(_) | None => false,
        }
    }

    /// Audio of this length was put in for packets that are missing.
    pub(crate) fn concealed(&mut self, length: Duration) {
        if let Some((expected, clock)) = &mut self.expected {
            *expected = expected.wrapping_add(ticks(length, *clock));
        }
    }
}

/// A pause of whole frames if it is longer than `least`.
fn by_the_wall(overdue: Duration, least: Duration) -> Duration {
    if overdue > least {
        whole_frames(overdue)
    } else {
        Duration::ZERO
    }
}

/// Rounds down to whole 20 ms.
pub(crate) fn whole_frames(time: Duration) -> Duration {
    let rest = time.subsec_nanos() % FRAME.subsec_nanos();
    time.saturating_sub(Duration::from_nanos(u64::from(rest)))
}

/// Returns the time `ticks` of `clock` Hz take.
pub(crate) fn time(ticks: u64, clock: u32) -> Duration {
    Duration::from_nanos(ticks.saturating_mul(1_000_000_000) / u64::from(clock.max(1)))
}

/// Returns the ticks of `clock` Hz in a time, modulo 2^32.
pub(crate) fn ticks(time: Duration, clock: u32) -> u32 {
    let clock = u64::from(clock);
    let part = u64::from(time.subsec_nanos()) * clock / 1_000_000_000;
    (time.as_secs().wrapping_mul(clock).wrapping_add(part) & 0xffff_ffff) as u32
}

/// Returns how many ticks of the clock `to` are as long as `count` of the clock `from`.
pub(crate) fn rescaled(count: usize, from: u32, to: u32) -> usize {
    let ticks = (count as u64).saturating_mul(to.into()) / u64::from(from.max(1));
    usize::try_from(ticks).unwrap_or(usize::MAX)
}

/// Returns the samples of `rate` Hz in a time of at most some seconds.
pub(crate) fn samples(time: Duration, rate: u32) -> usize {
    usize::try_from(ticks(time, rate)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::start;

    const MS: Duration = Duration::from_millis(1);

    /// A pause after a packet of 20 ms at timestamp 1000, 8 kHz: the next came after `wall` ms, stamped `step` further.
    fn pause(wall: u32, step: u32) -> u128 {
        let mut timeline = Timeline::default();
        let now = start();
        timeline.placed(now, 1000, 160, 8000);
        timeline
            .pause(now + MS * wall, 1000_u32.wrapping_add(step))
            .as_millis()
    }

    #[test]
    fn timestamps_are_believed_when_the_clock_agrees() {
        for (wall, step, expected) in [
            (20, 160, 0),
            (35, 160, 0),
            (1020, 8160, 1000),
            (900, 8160, 1000),
            // Stands still: a stalled network, then a sender that forgot to count.
            (520, 160, 0),
            (3025, 160, 3000),
            // Starts over, without and with a pause.
            (20, 0x7000_0000, 0),
            (20, 0x9000_0000, 0),
            (20, 80, 0),
            (1020, 0x7000_0000, 1000),
            (1020, 0x9000_0000, 1000),
        ] {
            assert_eq!(pause(wall, step), expected, "{wall} ms, {step}");
        }
    }

    #[test]
    fn another_source_goes_on_where_the_clock_is() {
        let (mut timeline, now) = (Timeline::default(), start());
        assert_eq!(timeline.pause(now, 5), Duration::ZERO);
        timeline.placed(now, 5, 160, 8000);
        timeline.forget_source();
        assert_eq!(timeline.pause(now + MS * 2027, 99), MS * 2000);
    }
}
