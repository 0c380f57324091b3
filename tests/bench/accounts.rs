//! Accounts that are logged in and do nothing: what each costs in memory and CPU.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use crate::house::House;
use crate::options::Options;
use crate::proc;
use crate::report::rounded;
use crate::switchboard::{busy_since, verdicts};

/// The bars, for a hundred accounts.
const MEMORY_MB: f64 = 60.0;
const CORE: f64 = 0.01;

/// What was found.
#[derive(Debug)]
pub(crate) struct Accounts {
    count: usize,
    empty_kb: f64,
    resident_kb: f64,
    /// Shares of one core: of the switch without accounts, and with them.
    empty_core: f64,
    core: f64,
    watched: Duration,
    /// How busy the machine was, by everything.
    busy: f64,
}

/// Watches a switch without accounts, then one with them.
pub(crate) fn measure(options: &Options, dir: &Path) -> Accounts {
    let watched = Duration::from_secs(options.idle);
    let look = |dir: &str, count: usize, base: &Path| {
        let names: Vec<String> = (0..count).map(|n| format!("account{n:03}")).collect();
        let mut house = House::start_with(&base.join(dir), 1, options.switch_frame, &names);
        house.wait_settled();
        // What was learnt has been written.
        house.wait_flushed();
        let (began, cpu) = (Instant::now(), proc::threads_cpu(house.pid()));
        thread::sleep(watched);
        let core = (proc::threads_cpu(house.pid()) - cpu) / began.elapsed().as_secs_f64();
        let resident = proc::resident_kb(house.pid());
        house.assert_running();
        house.stop();
        (resident, core)
    };
    let machine = proc::machine();
    let (empty_kb, empty_core) = look("empty", 0, dir);
    let (resident_kb, core) = look("full", options.accounts, dir);
    Accounts {
        count: options.accounts,
        empty_kb,
        resident_kb,
        empty_core,
        core,
        watched,
        busy: busy_since(machine),
    }
}

impl Accounts {
    /// MB above a switch without accounts.
    fn added_mb(&self) -> f64 {
        (self.resident_kb - self.empty_kb) / 1024.0
    }

    fn bars(&self) -> Vec<(String, bool)> {
        let mb = self.added_mb();
        vec![
            (
                format!("memory {mb:.1} MB above an empty switch, bar {MEMORY_MB:.0}"),
                mb <= MEMORY_MB,
            ),
            (
                format!(
                    "CPU {:.2} % of a core, bar {:.0}",
                    self.core * 100.0,
                    CORE * 100.0
                ),
                self.core < CORE,
            ),
        ]
    }

    pub(crate) fn is_good(&self) -> bool {
        self.bars().iter().all(|(_, good)| *good)
    }

    pub(crate) fn print(&self) {
        println!(
            "\n{} accounts logged in, watched for {} s in which nothing happens",
            self.count,
            self.watched.as_secs()
        );
        println!(
            "  memory                 {:.1} MB resident, {:.1} without accounts: {:.0} kB an account",
            self.resident_kb / 1024.0,
            self.empty_kb / 1024.0,
            (self.resident_kb - self.empty_kb) / self.count.max(1) as f64
        );
        println!(
            "  CPU                    {:.3} % of a core, {:.3} without accounts",
            self.core * 100.0,
            self.empty_core * 100.0
        );
        println!("  machine                {:.0} % busy", self.busy * 100.0);
        verdicts(self.bars(), &[]);
    }

    pub(crate) fn figures(&self, all: &mut Map<String, Value>) {
        let figures = [
            ("accounts", self.count as f64, 0),
            ("accounts_added_mb", self.added_mb(), 1),
            ("accounts_core_ratio", self.core, 5),
            ("empty_core_ratio", self.empty_core, 5),
        ];
        all.extend(
            figures
                .map(|(name, value, digits)| (format!("telegram.{name}"), rounded(value, digits))),
        );
    }
}
