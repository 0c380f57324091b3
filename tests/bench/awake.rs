//! Keeps the processors from falling asleep while something is measured.
//!
//! With twenty calls a processor sleeps most of the time, and so a virtual machine gives it back to its host between any two
//! packets. What that costs is charged to whoever is woken: cold caches and a low clock made libopus alone, in step with the
//! calls, dearer by a tenth, and the switch by a quarter. On a machine that is worth measuring, one full of calls, nothing sleeps.
//! So one process of the idle class (SCHED_IDLE, `sched(7)`) turns on each processor: it runs only where nobody else wants to,
//! and gives way at once.

use std::io::Read as _;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// What one of these processes is called with.
pub(crate) const WORD: &str = "keep-awake";

/// The processors are awake until this is dropped.
#[derive(Debug)]
pub(crate) struct Awake(Vec<Child>);

impl Awake {
    /// Wakes every processor of this machine.
    pub(crate) fn keep() -> Self {
        let processors = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let program = std::env::current_exe().unwrap();
        let turn = |processor: usize| {
            Command::new("taskset")
                .args(["-c", &processor.to_string(), "chrt", "--idle", "0"])
                .arg(&program)
                .arg(WORD)
                .stdin(Stdio::piped())
                .spawn()
                .expect("taskset and chrt are of util-linux")
        };
        Self((0..processors).map(turn).collect())
    }

    /// Whether all of them still turn.
    pub(crate) fn is_so(&mut self) -> bool {
        let mut turns = self.0.iter_mut().map(Child::try_wait);
        turns.all(|ended| matches!(ended, Ok(None)))
    }
}

impl Drop for Awake {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // One that has ended already needs neither.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Turns until who has started it is gone, or does not want it any more.
pub(crate) fn turn() {
    let is_over = Arc::new(AtomicBool::new(false));
    let over = Arc::clone(&is_over);
    thread::spawn(move || {
        let _ = std::io::stdin().read(&mut [0]);
        over.store(true, Ordering::Relaxed);
    });
    while !is_over.load(Ordering::Relaxed) {
        std::hint::spin_loop();
    }
}
