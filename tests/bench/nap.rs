//! What a processor loses when it sleeps between two packets.
//!
//! The switch sleeps after each beat. Whether that costs anything is a matter of the machine: one that keeps its caches and its clock
//! gives both figures alike; a virtual one that hands its processor back to its host comes back with neither first nor second level.

use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

use rand::seq::SliceRandom as _;

/// Between two beats of a busy media thread.
const NAP: Duration = Duration::from_millis(10);
/// How often each is measured; the median goes.
const TIMES: usize = 60;
/// Memory that is read, one word of each line: what a second-level cache holds easily.
const LINES: usize = (1 << 20) / LINE;
const LINE: usize = 64;
/// Steps of arithmetic, each of which waits for the one before: no memory, so a matter of the clock alone.
const STEPS: u64 = 200_000;

/// How long something takes after a nap, in times of what it takes without.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Nap {
    pub(crate) memory: f64,
    pub(crate) arithmetic: f64,
}

/// Measures both, in a little over a second.
pub(crate) fn measure() -> Nap {
    let memory = vec![1_u8; LINES * LINE];
    // Not in order, lest the processor guesses what comes next.
    let mut order: Vec<usize> = (0..LINES).map(|line| line * LINE).collect();
    order.shuffle(&mut rand::rng());
    let read = || {
        let lines = order.iter().map(|at| u64::from(memory[*at]));
        black_box(lines.sum::<u64>());
    };
    let count = || {
        let mut x = black_box(1_u64);
        for _ in 0..STEPS {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            x ^= x >> 29;
        }
        black_box(x);
    };
    Nap {
        memory: ratio(&read),
        arithmetic: ratio(&count),
    }
}

fn ratio(work: &dyn Fn()) -> f64 {
    let timed = |before: &dyn Fn()| {
        let mut times: Vec<Duration> = (0..TIMES)
            .map(|_| {
                before();
                let began = Instant::now();
                work();
                began.elapsed()
            })
            .collect();
        times.sort_unstable();
        times[TIMES / 2].as_secs_f64()
    };
    let at_once = timed(&|| ());
    timed(&|| thread::sleep(NAP)) / at_once
}
