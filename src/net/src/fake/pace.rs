//! Whether this machine keeps time: how long the threads of this process wait for a processor.
//!
//! What is heard says something about the house only while the house gets to run. The witness is the system: it counts for each
//! thread how long it was ready and did not run. Neither a slow house nor one that waits for itself shows there.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How often the clock is compared.
const SLICE: Duration = Duration::from_millis(50);
/// The longest a thread may wait in a slice; beyond it a packet is late by more than its own length.
const LONGEST_WAIT: Duration = Duration::from_millis(25);
/// How long a delay is heard afterwards: jitter buffers grow and shrink again.
const AFTERMATH: Duration = Duration::from_secs(1);
/// The late slices that are remembered: ten minutes of them.
const REMEMBERED: usize = 12_000;

/// Watches the machine until it is dropped.
#[derive(Debug)]
pub struct Pace(Arc<Watched>);

#[derive(Debug, Default)]
struct Watched {
    is_over: AtomicBool,
    /// Begin and end of what was late, in order.
    late: Mutex<Vec<(Instant, Instant)>>,
}

impl Pace {
    /// Begins to watch. Where there is no thread to be had for it, or the system does not count, the machine counts as good.
    pub fn watch() -> Self {
        let watched = Arc::new(Watched::default());
        let mine = Arc::clone(&watched);
        let _ = std::thread::Builder::new()
            .name("pace".to_owned())
            .spawn(move || mine.run());
        Self(watched)
    }

    /// Whether every thread ran when it was ready, from one moment to the other and shortly before.
    pub fn kept(&self, from: Instant, to: Instant) -> bool {
        let late = self.0.late.lock();
        !late
            .iter()
            .any(|(began, ended)| *began <= to && from <= *ended + AFTERMATH)
    }
}

impl Drop for Pace {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::Relaxed);
    }
}

impl Watched {
    fn run(&self) {
        let mut waits = Waits::default();
        waits.longest();
        let mut last = Instant::now();
        while !self.is_over.load(Ordering::Relaxed) {
            std::thread::sleep(SLICE);
            let longest = waits.longest();
            let now = Instant::now();
            // This thread may be the one that had to wait, or all of the machine stood still.
            if longest > LONGEST_WAIT || now - last > SLICE + LONGEST_WAIT {
                let mut late = self.late.lock();
                if late.len() < REMEMBERED {
                    late.push((last, now));
                }
            }
            last = now;
        }
    }
}

/// How long each thread has waited so far, by its file.
#[derive(Default)]
struct Waits(HashMap<PathBuf, Duration>);

impl Waits {
    /// The longest that one thread has waited since the last look.
    fn longest(&mut self) -> Duration {
        let Ok(tasks) = fs::read_dir("/proc/self/task") else {
            return Duration::ZERO;
        };
        let now: HashMap<PathBuf, Duration> = tasks
            .flatten()
            .filter_map(|task| {
                let path = task.path();
                let waited = waited(&fs::read_to_string(path.join("schedstat")).ok()?)?;
                Some((path, waited))
            })
            .collect();
        let longest = now
            .iter()
            .map(|(path, waited)| {
                let before = self.0.get(path).copied().unwrap_or_default();
                waited.saturating_sub(before)
            })
            .max();
        self.0 = now;
        longest.unwrap_or_default()
    }
}

/// The second figure of `schedstat`: nanoseconds spent ready to run.
fn waited(schedstat: &str) -> Option<Duration> {
    let figure = schedstat.split_ascii_whitespace().nth(1)?;
    figure.parse().ok().map(Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_more_to_do_than_there_are_processors_is_late() {
        let pace = Pace::watch();
        let began = Instant::now();
        let processors = std::thread::available_parallelism().unwrap().get();
        let busy: Vec<_> = (0..processors * 4)
            .map(|_| {
                std::thread::spawn(
                    move || {
                        while began.elapsed() < Duration::from_millis(400) {}
                    },
                )
            })
            .collect();
        for thread in busy {
            thread.join().unwrap();
        }
        let ended = Instant::now();
        assert!(!pace.kept(began, ended));
        assert!(!pace.kept(ended, ended), "it is heard a little longer");
        let before = began.checked_sub(Duration::from_secs(1)).unwrap();
        assert!(pace.kept(before, before), "what was before was not late");
        let later = ended + AFTERMATH + SLICE;
        assert!(pace.kept(later, later), "nor is what comes later");
    }

    #[test]
    fn waiting_is_the_second_figure() {
        assert_eq!(
            waited("132183 7081068 2\n"),
            Some(Duration::from_nanos(7_081_068))
        );
        assert_eq!(waited(""), None);
    }
}
