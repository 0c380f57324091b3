//! Watches the threads that everything depends on (REL-A6): each says every 100 ms that it still comes to its work. One that is late is
//! counted and named; one that has not come for ten seconds hangs, and the process ends, so that it is started again.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use metrics::Metrics;

/// How often a thread says that it is there.
const BEAT: Duration = Duration::from_millis(100);
/// How late it may be unnoticed.
const LATE: Duration = Duration::from_millis(250);
/// When it counts as hanging. The keeper waits for the disk, which may be slow for long while calls go on.
const HANGS: Duration = Duration::from_secs(10);
const KEEPER_HANGS: Duration = Duration::from_secs(60);
/// A watch that was itself late by so much knows nothing of the others: the process was stopped, or the machine.
const ASLEEP: Duration = Duration::from_secs(1);

/// Not yet.
const NEVER: u64 = u64::MAX;

/// A thread that is watched.
#[derive(Debug)]
struct Watched {
    kind: &'static str,
    hangs: Duration,
    /// When it was there last, milliseconds since the watch began; [`NEVER`] before the first time, for a thread of the media
    /// plane may be busy with its rehearsal.
    seen: Arc<AtomicU64>,
    /// It is late, and has been counted.
    late: AtomicBool,
}

/// Watches for as long as it is held.
#[derive(Debug)]
pub(crate) struct Watchdog {
    began: Instant,
    threads: Vec<Watched>,
}

/// What a thread does that is watched.
pub(crate) struct Beat {
    began: Instant,
    seen: Arc<AtomicU64>,
}

impl Beat {
    /// Says again and again that the thread is there; to be spawned on its runtime.
    pub(crate) async fn run(self) {
        loop {
            self.seen.store(since(self.began), Ordering::Relaxed);
            tokio::time::sleep(BEAT).await;
        }
    }
}

fn since(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX)
}

impl Watchdog {
    pub(crate) fn new() -> Self {
        Self {
            began: Instant::now(),
            threads: Vec::new(),
        }
    }

    /// One more thread of a kind: `actors`, `keeper` or `media`.
    pub(crate) fn watch(&mut self, kind: &'static str) -> Beat {
        let seen = Arc::new(AtomicU64::new(NEVER));
        self.threads.push(Watched {
            kind,
            hangs: if kind == "keeper" {
                KEEPER_HANGS
            } else {
                HANGS
            },
            seen: Arc::clone(&seen),
            late: AtomicBool::new(false),
        });
        Beat {
            began: self.began,
            seen,
        }
    }

    /// Starts to watch, on a thread of its own, until the returned handle is dropped. `hangs` is called for a thread that hangs.
    pub(crate) fn start(
        self,
        metrics: Metrics,
        hangs: impl Fn(&'static str) + Send + 'static,
    ) -> std::io::Result<Arc<Watchdog>> {
        let watchdog = Arc::new(self);
        let weak = Arc::downgrade(&watchdog);
        thread::Builder::new()
            .name("watchdog".to_owned())
            .spawn(move || watch(&weak, &metrics, &hangs))?;
        Ok(watchdog)
    }

    /// Looks once.
    fn look(&self, metrics: &Metrics, hangs: &impl Fn(&'static str)) {
        let now = since(self.began);
        for thread in &self.threads {
            let seen = thread.seen.load(Ordering::Relaxed);
            if seen == NEVER {
                continue;
            }
            let late = Duration::from_millis(now.saturating_sub(seen)).saturating_sub(BEAT);
            let was_late = thread.late.swap(late > LATE, Ordering::Relaxed);
            if late > LATE && !was_late {
                metrics.thread_stalled(thread.kind);
                tracing::warn!(
                    thread = thread.kind,
                    ?late,
                    "a thread does not come to its work"
                );
            }
            if late > thread.hangs {
                hangs(thread.kind);
            }
        }
    }

    /// Begins anew, as if everybody had just been there.
    fn excuse(&self) {
        let now = since(self.began);
        for thread in &self.threads {
            if thread.seen.load(Ordering::Relaxed) != NEVER {
                thread.seen.store(now, Ordering::Relaxed);
            }
        }
    }
}

fn watch(watchdog: &Weak<Watchdog>, metrics: &Metrics, hangs: &impl Fn(&'static str)) {
    let mut last = Instant::now();
    while let Some(watchdog) = watchdog.upgrade() {
        if last.elapsed() > BEAT + ASLEEP {
            watchdog.excuse();
        } else {
            watchdog.look(metrics, hangs);
        }
        last = Instant::now();
        drop(watchdog);
        thread::sleep(BEAT);
    }
}

/// Ends the process on the spot, if that is wanted: what hangs cannot be asked to stop.
pub(crate) fn abort(kind: &'static str, wanted: &AtomicBool) {
    if !wanted.load(Ordering::Relaxed) {
        return;
    }
    tracing::error!(
        thread = kind,
        "a thread hangs: the process ends, so that it is started again"
    );
    std::process::abort();
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[test]
    fn a_thread_that_is_late_is_counted_once_and_one_that_hangs_is_told() {
        let metrics = Metrics::new("0");
        let mut watchdog = Watchdog::new();
        let (actors, keeper) = (watchdog.watch("actors"), watchdog.watch("keeper"));
        let media = watchdog.watch("media");
        for beat in [&actors, &keeper] {
            beat.seen.store(0, Ordering::Relaxed);
        }
        // As if the watch had begun eleven seconds ago.
        let Some(began) = watchdog.began.checked_sub(Duration::from_secs(11)) else {
            return;
        };
        watchdog.began = began;
        let told = AtomicUsize::new(0);
        let hangs = |kind: &'static str| {
            assert_eq!(kind, "actors", "the disk may be slow for longer");
            told.fetch_add(1, Ordering::Relaxed);
        };
        watchdog.look(&metrics, &hangs);
        watchdog.look(&metrics, &hangs);
        assert_eq!(told.load(Ordering::Relaxed), 2);
        let page = metrics.render();
        assert!(page.contains("strowger_thread_stalls_total{thread=\"actors\"} 1"));
        assert!(page.contains("strowger_thread_stalls_total{thread=\"keeper\"} 1"));
        // It was the process that slept.
        watchdog.excuse();
        watchdog.look(&metrics, &|kind| panic!("{kind}"));
        drop((actors, keeper, media));
    }

    #[test]
    fn a_blocked_runtime_is_seen_and_one_that_works_is_not() {
        let metrics = Metrics::new("0");
        let mut watchdog = Watchdog::new();
        let (beat, other) = (watchdog.watch("actors"), watchdog.watch("media"));
        let watchdog = watchdog.start(metrics.clone(), |_| {}).unwrap();
        let runtime = |beat: Beat, blocks: bool| {
            thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_time()
                    .build()
                    .unwrap();
                runtime.block_on(async {
                    tokio::spawn(beat.run());
                    tokio::time::sleep(BEAT).await;
                    if blocks {
                        thread::sleep(Duration::from_secs(2));
                    }
                    tokio::time::sleep(BEAT).await;
                });
            })
        };
        let threads = [runtime(beat, true), runtime(other, false)];
        let began = Instant::now();
        let counted = || {
            metrics
                .render()
                .contains("strowger_thread_stalls_total{thread=\"actors\"} 1")
        };
        while !counted() && began.elapsed() < Duration::from_secs(20) {
            thread::sleep(BEAT);
        }
        assert!(counted());
        for thread in threads {
            thread.join().unwrap();
        }
        drop(watchdog);
    }
}
