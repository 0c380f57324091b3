//! The key agreement of a Telegram call alone: its CPU time in either role, by what the switch itself uses.

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde_json::{Map, Value};
use telegram::dh::{DhConfig, KNOWN_PRIME};

use crate::proc;
use crate::report::rounded;
use crate::switchboard::verdicts;

/// The bar, ms of CPU for one agreement.
const CPU_MS: f64 = 5.0;
/// The generator that Telegram names today.
const G: i32 = 3;
/// Agreements that are measured, after some that are not.
const COUNT: usize = 100;
const WARM_UP: usize = 10;

/// Milliseconds of CPU of one side: its half is drawn, and the key is made of the other's.
#[derive(Debug)]
pub(crate) struct Agreement {
    draw: f64,
    agree: f64,
}

/// Agrees on keys in this thread. Both roles do the same two things, the caller before it calls and when it is answered, the
/// callee both at once; the checks of what came are in it.
pub(crate) fn measure() -> Agreement {
    let seed = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    let mut rng = StdRng::seed_from_u64(seed.as_nanos() as u64);
    let prime: Vec<u8> = (0..KNOWN_PRIME.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&KNOWN_PRIME[at..at + 2], 16).unwrap())
        .collect();
    let config = DhConfig::check(G, &prime, 1, &mut rng).unwrap();
    let server = [7; 256];
    let mut found = Agreement {
        draw: 0.0,
        agree: 0.0,
    };
    for n in 0..WARM_UP + COUNT {
        let began = proc::thread_cpu();
        let ours = config.draw(&server, &mut rng);
        let drawn = proc::thread_cpu();
        let theirs = config.draw(&server, &mut rng);
        let before = proc::thread_cpu();
        let key = ours.agree(&config, theirs.public()).unwrap();
        let agreed = proc::thread_cpu();
        assert_eq!(theirs.agree(&config, ours.public()).unwrap(), key);
        if n >= WARM_UP {
            found.draw += (drawn - began) * 1000.0 / COUNT as f64;
            found.agree += (agreed - before) * 1000.0 / COUNT as f64;
        }
    }
    found
}

impl Agreement {
    fn sum(&self) -> f64 {
        self.draw + self.agree
    }

    fn bars(&self) -> Vec<(String, bool)> {
        let sum = self.sum();
        vec![(
            format!("CPU {sum:.2} ms a key agreement, bar {CPU_MS:.0}"),
            sum <= CPU_MS,
        )]
    }

    pub(crate) fn is_good(&self) -> bool {
        self.bars().iter().all(|(_, good)| *good)
    }

    pub(crate) fn print(&self) {
        println!("\n{COUNT} key agreements, alike for caller and callee, in one thread");
        println!(
            "  CPU                    {:.2} ms: {:.2} for our half, {:.2} for the key",
            self.sum(),
            self.draw,
            self.agree
        );
        verdicts(self.bars(), &[]);
    }

    pub(crate) fn figures(&self, all: &mut Map<String, Value>) {
        let figures = [
            ("cpu_ms", self.sum()),
            ("half_cpu_ms", self.draw),
            ("key_cpu_ms", self.agree),
        ];
        all.extend(
            figures
                .map(|(name, value)| (format!("telegram.key_agreement.{name}"), rounded(value, 3))),
        );
    }
}
