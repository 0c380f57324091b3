//! Sequence numbers extended over wraps, reception counters and jitter (RFC 3550 appendix A.1, A.3, A.8).
//!
//! A jump or a new SSRC is believed when two packets in sequence confirm it; it costs no memory.

use std::time::{Duration, Instant};

/// A step forward up to this is loss (RFC 3550 A.1, `MAX_DROPOUT`).
const MAX_DROPOUT: u16 = 3000;
/// A step back up to this is reordering (RFC 3550 A.1, `MAX_MISORDER`).
const MAX_MISORDER: u16 = 100;

/// Follows the numbering of one sender.
#[derive(Debug, Default)]
pub(crate) struct Sequence {
    stream: Option<Stream>,
    /// SSRC and sequence number that would confirm a new stream.
    probation: Option<(u32, u16)>,
    /// Packets expected on streams already over.
    expected_before: u64,
    received: u64,
    /// Expected and received at the last report.
    reported: (u64, u64),
}

#[derive(Debug, Clone, Copy)]
struct Stream {
    ssrc: u32,
    /// Highest number seen, with its wraps.
    highest: u64,
    /// First number seen.
    base: u64,
    /// The number given out for `highest`; it goes on where the stream before ended.
    extended: u64,
}

/// The figures of a reception report (RFC 3550 section 6.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reception {
    pub(crate) ssrc: u32,
    pub(crate) fraction_lost: u8,
    pub(crate) lost: u32,
    pub(crate) highest: u32,
}

impl Sequence {
    /// Returns the extended number, or nothing while a jump is unconfirmed.
    pub(crate) fn extend(&mut self, ssrc: u32, sequence: u16) -> Option<u64> {
        let Some(stream) = &mut self.stream else {
            return Some(self.start(ssrc, sequence, 1 << 16));
        };
        if stream.ssrc == ssrc {
            let ahead = sequence.wrapping_sub((stream.highest & 0xffff) as u16);
            if ahead < MAX_DROPOUT {
                stream.highest += u64::from(ahead);
                stream.extended += u64::from(ahead);
                self.probation = None;
                self.received += 1;
                return Some(stream.extended);
            }
            let behind = ahead.wrapping_neg();
            if behind <= MAX_MISORDER {
                self.received += 1;
                return Some(stream.extended - u64::from(behind));
            }
        }
        if self.probation == Some((ssrc, sequence)) {
            let next = stream.extended + 1;
            self.expected_before += stream.highest - stream.base + 1;
            return Some(self.start(ssrc, sequence, next));
        }
        self.probation = Some((ssrc, sequence.wrapping_add(1)));
        None
    }

    /// The same for a packet that cannot prove a jump or another stream.
    pub(crate) fn follow(&mut self, ssrc: u32, sequence: u16) -> Option<u64> {
        let stream = self.stream.filter(|stream| stream.ssrc == ssrc)?;
        let ahead = sequence.wrapping_sub((stream.highest & 0xffff) as u16);
        let is_near = ahead < MAX_DROPOUT || ahead.wrapping_neg() <= MAX_MISORDER;
        is_near.then(|| self.extend(ssrc, sequence)).flatten()
    }

    fn start(&mut self, ssrc: u32, sequence: u16, extended: u64) -> u64 {
        // One wrap in hand, so that reordering below the first number stays positive.
        let highest = (1 << 16) + u64::from(sequence);
        self.stream = Some(Stream {
            ssrc,
            highest,
            base: highest,
            extended,
        });
        self.probation = None;
        self.received += 1;
        extended
    }

    /// Returns the packets that never came.
    pub(crate) fn lost(&self) -> u64 {
        self.expected().saturating_sub(self.received)
    }

    fn expected(&self) -> u64 {
        self.expected_before
            + self
                .stream
                .map_or(0, |stream| stream.highest - stream.base + 1)
    }

    /// Returns the figures since the last report.
    pub(crate) fn report(&mut self) -> Option<Reception> {
        let stream = self.stream?;
        let (expected, received) = (self.expected(), self.received);
        let (expected_before, received_before) = self.reported;
        self.reported = (expected, received);
        let expected_now = expected - expected_before;
        let lost_now = expected_now.saturating_sub(received - received_before);
        let fraction = (lost_now * 256)
            .checked_div(expected_now)
            .unwrap_or(0)
            .min(255) as u8;
        Some(Reception {
            ssrc: stream.ssrc,
            fraction_lost: fraction,
            // RFC 3550 s.6.4.1: 24 bits, signed.
            lost: self.lost().min(0x7f_ffff) as u32,
            highest: ((stream.highest - (1 << 16)) & 0xffff_ffff) as u32,
        })
    }
}

/// Interarrival jitter of one stream (RFC 3550 A.8).
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Jitter {
    last: Option<(Instant, u32)>,
    /// Microseconds times 16.
    scaled: u64,
}

impl Jitter {
    /// Takes the arrival of a packet stamped `timestamp` in ticks of `clock` Hz.
    pub(crate) fn arrived(&mut self, now: Instant, timestamp: u32, clock: u32) {
        let Some((before, stamped)) = self.last.replace((now, timestamp)) else {
            return;
        };
        let ticks = i64::from(timestamp.wrapping_sub(stamped).cast_signed());
        let sent = ticks * 1_000_000 / i64::from(clock.max(1));
        let passed =
            i64::try_from(now.saturating_duration_since(before).as_micros()).unwrap_or(i64::MAX);
        let difference = passed.saturating_sub(sent).unsigned_abs();
        // A pause or a clock that starts over says nothing about the network.
        if difference > 1_000_000 {
            return;
        }
        self.scaled += difference;
        self.scaled -= (self.scaled + 8) / 16;
    }

    /// Returns the smoothed jitter.
    pub(crate) fn value(&self) -> Duration {
        Duration::from_micros(self.scaled / 16)
    }

    /// Returns the jitter in ticks of `clock` Hz.
    pub(crate) fn ticks(&self, clock: u32) -> u32 {
        u32::try_from(self.scaled / 16 * u64::from(clock) / 1_000_000).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_on_over_a_wrap_and_back_over_reordering() {
        let mut sequence = Sequence::default();
        let first = sequence.extend(1, 65_534).unwrap();
        assert_eq!(sequence.extend(1, 1), Some(first + 3));
        assert_eq!(sequence.extend(1, 65_535), Some(first + 1));
        assert_eq!(sequence.extend(1, 0), Some(first + 2));
        assert_eq!(sequence.lost(), 0);
    }

    #[test]
    fn a_new_sender_is_believed_at_its_second_packet() {
        let mut sequence = Sequence::default();
        let first = sequence.extend(1, 10).unwrap();
        assert_eq!(sequence.extend(2, 500), None);
        assert_eq!(sequence.extend(2, 501), Some(first + 1));
        assert_eq!(sequence.extend(2, 502), Some(first + 2));
        assert_eq!(
            sequence.extend(1, 11),
            None,
            "the old one is now the stranger"
        );
    }

    #[test]
    fn a_jump_beyond_3000_is_confirmed_by_two_in_sequence() {
        let mut sequence = Sequence::default();
        let first = sequence.extend(1, 10).unwrap();
        assert_eq!(sequence.extend(1, 30_000), None);
        assert_eq!(
            sequence.extend(1, 11),
            Some(first + 1),
            "one stray packet changes nothing"
        );
        assert_eq!(sequence.extend(1, 30_000), None);
        assert_eq!(sequence.extend(1, 30_001), Some(first + 2));
    }

    #[test]
    fn a_hundred_thousand_random_numbers_do_no_harm() {
        let mut sequence = Sequence::default();
        let mut value = 12_345_u32;
        for _ in 0..100_000 {
            value = value.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let _ = sequence.extend(value >> 30, (value >> 8 & 0xffff) as u16);
        }
        let _ = sequence.report();
    }

    #[test]
    fn a_report_counts_what_was_lost_since_the_last() {
        let mut sequence = Sequence::default();
        for number in (0..100).filter(|number| number % 4 != 1) {
            sequence.extend(9, number);
        }
        let report = sequence.report().unwrap();
        assert_eq!(
            (
                report.ssrc,
                report.fraction_lost,
                report.lost,
                report.highest
            ),
            (9, 64, 25, 99)
        );
        sequence.extend(9, 100);
        assert_eq!(sequence.report().unwrap().fraction_lost, 0);
    }

    #[test]
    fn jitter_is_zero_for_a_steady_stream_and_settles_at_the_mean_deviation() {
        let start = crate::tests::start();
        let (mut steady, mut shaky) = (Jitter::default(), Jitter::default());
        for n in 0..500_u32 {
            let due = start + Duration::from_millis(20) * n;
            steady.arrived(due, n * 160, 8000);
            shaky.arrived(
                due + Duration::from_millis(u64::from(n % 2) * 10),
                n * 160,
                8000,
            );
        }
        assert_eq!(steady.value(), Duration::ZERO);
        assert!(
            (9_000..=10_000).contains(&shaky.value().as_micros()),
            "{:?}",
            shaky.value()
        );
        assert!((72..=80).contains(&shaky.ticks(8000)));
    }
}
