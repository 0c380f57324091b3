//! Lets a busy thread wake up by a beat, not for each thing that comes.
//!
//! Falling asleep and waking up costs as much as passing on a packet, and the thread that wakes another one pays too. With
//! much to do, each wake-up of a thread therefore waits for the next beat and finds the work of several, which costs each
//! half a beat on average. With little to do there would be nothing to find, and nobody waits.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};

/// Held at once, from which on a thread keeps the beat: a call has 150 packets and ticks a second.
const HELD: usize = 4;
/// What comes is counted so long.
const WINDOW: Duration = Duration::from_millis(250);
/// Come in a window, from which on a thread keeps the beat in the next one: fifty a second.
const COME: u64 = 12;

/// What a thread has to do, told by those who give it work or by itself.
#[derive(Debug, Default)]
pub struct Work {
    held: AtomicUsize,
    come: AtomicU64,
}

impl Work {
    /// Something that keeps the thread at work until the guard is dropped.
    #[must_use]
    pub fn hold(self: &Arc<Self>) -> Held {
        self.come();
        self.held.fetch_add(1, Ordering::Relaxed);
        Held(Arc::clone(self))
    }

    /// Something to be done once.
    pub fn come(&self) {
        self.come.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns how many guards there are.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }
}

/// One thing of [`Work::hold`].
#[derive(Debug)]
pub struct Held(Arc<Work>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.held.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The beat of one thread.
#[derive(Debug)]
pub struct Pace {
    beat: Duration,
    work: Arc<Work>,
    began: Instant,
    seen: Mutex<Seen>,
}

/// What a thread knew of its work at the beginning of a window.
#[derive(Debug, Default)]
struct Seen {
    window: u128,
    come: u64,
    busy: bool,
}

impl Pace {
    /// A thread with this work, which shall wake up so far apart when it is busy.
    #[must_use]
    pub fn new(beat: Duration, work: Arc<Work>) -> Self {
        Self {
            beat,
            work,
            began: Instant::now(),
            seen: Mutex::default(),
        }
    }

    /// Waits for the next beat, when there is enough to do. To be called by the thread when it has nothing to do just now.
    pub fn wait(&self) {
        let elapsed = self.began.elapsed();
        if self.is_busy(elapsed) {
            std::thread::sleep(rest(self.beat, elapsed));
        }
    }

    /// Makes the runtime of a thread that keeps this beat.
    pub fn runtime(self) -> std::io::Result<Runtime> {
        Builder::new_current_thread()
            .enable_all()
            .on_thread_park(move || self.wait())
            .build()
    }

    fn is_busy(&self, elapsed: Duration) -> bool {
        let window = elapsed.as_nanos() / WINDOW.as_nanos();
        // Nothing that could panic is done while it is held.
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if window != seen.window {
            let come = self.work.come.load(Ordering::Relaxed);
            let follows = window == seen.window + 1;
            seen.busy = follows && come.saturating_sub(seen.come) >= COME;
            (seen.window, seen.come) = (window, come);
        }
        seen.busy || self.work.held() >= HELD
    }
}

/// What is left of the beat.
fn rest(beat: Duration, elapsed: Duration) -> Duration {
    let gone = u64::try_from(elapsed.as_nanos() % beat.as_nanos().max(1)).unwrap_or(0);
    beat.saturating_sub(Duration::from_nanos(gone))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEAT: Duration = Duration::from_millis(5);

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
            assert_eq!(rest(BEAT, us(elapsed)), us(left), "{elapsed}");
        }
    }

    #[test]
    fn a_thread_with_little_to_do_does_not_wait() {
        let work = Arc::new(Work::default());
        let _held: Vec<_> = (1..HELD).map(|_| work.hold()).collect();
        let pace = Pace::new(BEAT, work);
        let begin = Instant::now();
        for _ in 0..10_000 {
            pace.wait();
        }
        assert!(begin.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn what_is_held_keeps_the_beat_until_it_is_let_go() {
        let work = Arc::new(Work::default());
        let pace = Pace::new(BEAT, Arc::clone(&work));
        let held: Vec<_> = (0..HELD).map(|_| work.hold()).collect();
        assert!(pace.is_busy(Duration::ZERO));
        drop(held);
        assert!(!pace.is_busy(Duration::ZERO));
    }

    #[test]
    fn what_comes_and_goes_keeps_the_beat_as_long_as_more_comes() {
        let work = Arc::new(Work::default());
        let pace = Pace::new(BEAT, Arc::clone(&work));
        let come = |count| (0..count).for_each(|_| work.come());
        come(COME);
        assert!(!pace.is_busy(Duration::ZERO), "not known yet");
        assert!(pace.is_busy(WINDOW), "twelve in the window before");
        come(COME - 1);
        assert!(!pace.is_busy(WINDOW * 2), "one too few");
        come(COME);
        assert!(!pace.is_busy(WINDOW * 4), "long ago");
    }
}
