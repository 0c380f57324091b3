//! What happens when there is more to do than can be done (SEC-D6): calls at once, twice, five and ten times the rate that the switch
//! carries. The switch has one processor of its own where `taskset` can give it one, and the generator has the others.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use crate::crossing::Crossing;
use crate::deadline::{s, until, within};
use crate::house::STROWGER;
use crate::metrics::Metrics;
use crate::proc;
use crate::report::{quantile, rounded};
use crate::storm::{self, Orders, Said};

/// How often the capacity, and which share of the best goodput must be left then.
const BARS: [(f64, f64); 4] = [(1.0, 0.9), (2.0, 0.8), (5.0, 0.7), (10.0, 0.6)];
/// When it must be over, at the latest.
const RECOVERY: Duration = Duration::from_secs(5);
/// The search for the capacity: from this rate upwards in such steps, so often at most.
const FIRST_RATE: f64 = 700.0;
const STEP: f64 = 1.4;
const STEPS: usize = 10;
/// The search ends here: a call leaves two transactions in each table of 20,000 for 6.4 s, so 1,562 a second are all that fit, and those that are let in are
/// paced at three quarters of that, 1,172, from when a table is a quarter full (`routing::Overload`).
const MOST: f64 = 1_500.0;
/// A rate of which less is carried is too much; two of them one after the other end the search, for one may be the machine's doing.
const CARRIES: f64 = 0.9;
const MISSES: usize = 2;
/// What the switch may use of its processor: so much less than the usual 85 that on the machines at hand this is reached before the 1,172 a second at which
/// the table of transactions paces new calls, or the table would be what is measured. The shares that are compared do not depend on it.
const CPU_PERCENT: u32 = 50;
/// Seconds of each run, and how many of them do not count: a processor has to be busy for two to be overloaded.
const SECONDS: f64 = 8.0;
const SETTLE: f64 = 3.0;
/// Transactions of a call are kept for 64 of these (RFC 3261 timers H and J); with the usual 500 ms the table would be full of old ones.
const T1_MS: u64 = 100;

/// A switch with two PBXs, on a processor of its own.
struct Board {
    crossing: Crossing,
    is_pinned: bool,
    runs: u64,
}

/// Whether `taskset` can keep a program on one processor, and another one on the others.
fn can_pin() -> bool {
    let works = Command::new("taskset")
        .args(["-c", "1", "true"])
        .stderr(Stdio::null())
        .status();
    works.is_ok_and(|status| status.success())
}

fn pinned(program: &str, to: Option<&str>) -> Command {
    let Some(processors) = to else {
        return Command::new(program);
    };
    let mut command = Command::new("taskset");
    command.args(["-c", processors, program]);
    command
}

impl Board {
    fn start(dir: &Path) -> Self {
        let is_pinned = can_pin();
        let run = pinned(STROWGER, is_pinned.then_some("0"));
        let settings = format!(
            "sip.t1_ms = {T1_MS}\nsip.guard.peer_rate = 0\noverload.cpu_percent = {CPU_PERCENT}\noverload.delay_ms = 0\n"
        );
        let crossing = Crossing::start(dir, run, &settings, "failure_limit = 0\n", "");
        Self {
            crossing,
            is_pinned,
            runs: 0,
        }
    }

    fn is_overloaded(&self) -> bool {
        let text = self.crossing.http.text("/metrics").map(|(_, text)| text);
        let value = text.and_then(|text| Metrics::parse(&text).value("strowger_overloaded", &[]));
        value.is_none_or(|value| value > 0.5)
    }

    /// One run, when everything of the one before is forgotten: what the generator says, how busy the switch was, and how long after the
    /// last call it took until every call was let in.
    fn run(&mut self, per_second: f64, seconds: f64) -> (Said, f64, Duration) {
        until("calls to be forgotten", s(60), || {
            (!self.is_overloaded()).then_some(())
        });
        thread::sleep(Duration::from_millis(T1_MS * 64 + 500));
        self.runs += 1;
        let orders = Orders {
            switch: self.crossing.sip,
            caller: self.crossing.a,
            called: self.crossing.b,
            per_second,
            seconds,
            settle: SETTLE.min(seconds / 2.0),
            run: self.runs,
        };
        let own = std::env::current_exe().unwrap();
        let mut generator = pinned(own.to_str().unwrap(), self.is_pinned.then_some("1"));
        let generator = generator.arg(storm::WORD);
        let mut generator = generator
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let before = proc::cpu(self.crossing.switch.id());
        let orders = serde_json::to_string(&orders).unwrap();
        writeln!(generator.stdin.take().unwrap(), "{orders}").unwrap();
        thread::sleep(Duration::from_secs_f64(seconds));
        let busy = (proc::cpu(self.crossing.switch.id()) - before) / seconds;
        let began = Instant::now();
        let is_calm = within(s(30), || (!self.is_overloaded()).then_some(()));
        let recovery = is_calm.map_or(s(30), |()| began.elapsed());
        let mut line = String::new();
        let mut out = BufReader::new(generator.stdout.take().unwrap());
        out.read_line(&mut line).unwrap();
        generator.wait().unwrap();
        assert!(
            self.crossing.switch.is_running(),
            "{}",
            self.crossing.switch.log()
        );
        let said = serde_json::from_str(&line).expect("the generator has said something");
        (said, busy, recovery)
    }
}

/// Reads its orders, does as it was told, says what became of it.
pub(crate) fn play() {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    let said = storm::run(serde_json::from_str(&line).unwrap());
    println!("{}", serde_json::to_string(&said).unwrap());
}

/// One line of the table.
#[derive(Debug)]
struct Row {
    times: f64,
    bar: f64,
    per_second: f64,
    said: Said,
    busy: f64,
    recovery: Duration,
}

/// What overload costs.
#[derive(Debug)]
pub(crate) struct Overload {
    is_pinned: bool,
    /// The rates that were tried, and what was carried of each.
    search: Vec<(f64, f64)>,
    capacity: f64,
    rows: Vec<Row>,
}

/// Measures the capacity, then what is left of it when more is asked for.
pub(crate) fn measure(dir: &Path) -> Overload {
    let mut board = Board::start(dir);
    let mut search = Vec::new();
    let (mut rate, mut misses) = (FIRST_RATE, 0);
    for _ in 0..STEPS {
        let (said, _, _) = board.run(rate, SECONDS);
        search.push((rate, said.goodput));
        misses = if said.goodput < rate * CARRIES {
            misses + 1
        } else {
            0
        };
        if misses == MISSES || rate * STEP > MOST {
            break;
        }
        rate *= STEP;
    }
    let best = |found: &[(f64, f64)]| found.iter().map(|(_, good)| *good).fold(0.0, f64::max);
    let capacity = best(&search);
    let mut rows = Vec::new();
    for (times, bar) in BARS {
        let per_second = capacity * times;
        let (said, busy, recovery) = board.run(per_second, SECONDS);
        rows.push(Row {
            times,
            bar,
            per_second,
            said,
            busy,
            recovery,
        });
    }
    Overload {
        is_pinned: board.is_pinned,
        search,
        capacity,
        rows,
    }
}

impl Overload {
    /// The best goodput that was seen.
    fn peak(&self) -> f64 {
        let rows = self.rows.iter().map(|row| row.said.goodput);
        rows.fold(self.capacity, f64::max)
    }

    fn ratio(&self, row: &Row) -> f64 {
        row.said.goodput / self.peak()
    }

    fn bars(&self) -> Vec<(String, bool)> {
        let mut bars = Vec::new();
        for row in &self.rows {
            let (times, bar, ratio) = (row.times, row.bar, self.ratio(row));
            bars.push((
                format!(
                    "{times:.0}x: {:.0} % of the peak are carried, bar {:.0} %",
                    ratio * 100.0,
                    bar * 100.0
                ),
                ratio >= bar,
            ));
            bars.push((
                format!(
                    "{times:.0}x: {} BYE and CANCEL of {} not answered, bar 0",
                    row.said.ends_unanswered, row.said.ends
                ),
                row.said.ends_unanswered == 0,
            ));
            bars.push((
                format!(
                    "{times:.0}x: over after {:.1} s, bar {:.0}",
                    row.recovery.as_secs_f64(),
                    RECOVERY.as_secs_f64()
                ),
                row.recovery <= RECOVERY,
            ));
        }
        bars
    }

    pub(crate) fn is_good(&self) -> bool {
        self.bars().iter().all(|(_, good)| *good)
    }

    pub(crate) fn print(&self) {
        println!(
            "\nOverload: calls between two trunks, hung up when they are answered, one of ten cancelled; the switch has {}",
            if self.is_pinned {
                "one processor"
            } else {
                "all processors, with the generator (no taskset)"
            }
        );
        let found = self
            .search
            .iter()
            .map(|(rate, good)| format!("{rate:.0} -> {good:.0}"));
        println!(
            "  carried a second       {}: {:.0} at most",
            found.collect::<Vec<_>>().join(", "),
            self.capacity
        );
        println!(
            "        offered/s  sent/s  carried/s  of peak  refused  told  unanswered  BYE+CANCEL p50/p99 ms  CPU  over after"
        );
        for row in &self.rows {
            let said = &row.said;
            println!(
                "  {:>3.0}x {:>9.0} {:>7.0} {:>10.0} {:>6.0} % {:>8} {:>5} {:>11} {:>14.1} / {:<7.1} {:>4.0} % {:>6.1} s",
                row.times,
                row.per_second,
                said.sent_per_second,
                said.goodput,
                self.ratio(row) * 100.0,
                said.refused,
                said.told,
                said.unanswered,
                quantile(&said.end_ms, 0.5),
                quantile(&said.end_ms, 0.99),
                row.busy * 100.0,
                row.recovery.as_secs_f64()
            );
        }
        crate::switchboard::verdicts(self.bars(), &[]);
    }

    pub(crate) fn figures(&self, all: &mut Map<String, Value>) {
        let mut add = |name: String, value: Value| {
            all.insert(format!("overload.{name}"), value);
        };
        add("capacity_per_s".into(), rounded(self.capacity, 0));
        for row in &self.rows {
            let times = format!("{:.0}x", row.times);
            add(
                format!("goodput_{times}_ratio"),
                rounded(self.ratio(row), 3),
            );
            add(
                format!("recovery_{times}_s"),
                rounded(row.recovery.as_secs_f64(), 1),
            );
            add(
                format!("ends_unanswered_{times}"),
                row.said.ends_unanswered.into(),
            );
            add(
                format!("end_ms_p99_{times}"),
                rounded(quantile(&row.said.end_ms, 0.99), 1),
            );
        }
    }
}
