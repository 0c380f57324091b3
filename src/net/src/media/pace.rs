//! Lets a busy media thread wake up by a beat, not for each packet.
//!
//! Falling asleep and waking up costs as much as passing on a packet. With many calls on a thread, each of its
//! wake-ups therefore waits for the next beat and finds the packets of several calls, which costs each packet 2.5 ms on
//! average. With few calls there would be nothing to find, and nobody waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// The time between two beats; small against the 10 ms a packet is expected early, and the jitter of any network.
const BEAT: Duration = Duration::from_millis(5);
/// Calls of a thread from which on it keeps the beat: each has 150 packets and ticks a second, the beat 200.
const BUSY_CALLS: usize = 4;

/// The beat of one thread.
#[derive(Debug)]
pub(super) struct Pace {
    calls: Arc<AtomicUsize>,
    began: Instant,
}

impl Pace {
    pub(super) fn new(calls: Arc<AtomicUsize>) -> Self {
        Self {
            calls,
            began: Instant::now(),
        }
    }

    /// Waits for the next beat, when there are enough calls. The thread has nothing else to do.
    pub(super) fn wait(&self) {
        if self.calls.load(Ordering::Relaxed) >= BUSY_CALLS {
            std::thread::sleep(rest(self.began.elapsed()));
        }
    }
}

/// What is left of the beat.
fn rest(elapsed: Duration) -> Duration {
    let beat = BEAT.as_nanos();
    let gone = u64::try_from(elapsed.as_nanos() % beat).unwrap_or(0);
    BEAT.saturating_sub(Duration::from_nanos(gone))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beat_is_waited_for_and_never_a_whole_one_more() {
        let us = Duration::from_micros;
        for (elapsed, left) in [
            (0, 5000),
            (1, 4999),
            (4999, 1),
            (5000, 5000),
            (17_300, 2700),
        ] {
            assert_eq!(rest(us(elapsed)), us(left), "{elapsed}");
        }
    }

    #[test]
    fn a_thread_with_few_calls_does_not_wait() {
        let calls = Arc::new(AtomicUsize::new(BUSY_CALLS - 1));
        let pace = Pace::new(calls);
        let begin = Instant::now();
        for _ in 0..10_000 {
            pace.wait();
        }
        assert!(begin.elapsed() < Duration::from_secs(5));
    }
}
