//! SIP alone: calls a second between two trunks, and registrations a second, through the real binary without Telegram.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use crate::crossing::Crossing;
use crate::deadline::{s, until};
use crate::house::STROWGER;
use crate::load::{self, Orders, Said};
use crate::metrics::Metrics;
use crate::options::Options;
use crate::ports;
use crate::proc;
use crate::process::launcher;
use crate::report::{quantile, rounded, spread};

/// The bars.
const CALL_CPU: f64 = 0.6;
const PDD_MS: f64 = 5.0;
const REGISTRATION_CPU: f64 = 0.3;
/// What a call may leave behind, octets: less than anything that is kept of it.
const OCTETS_PER_CALL: f64 = 100.0;
/// Trunks that register.
const PHONES: usize = 50;
/// After a call its transactions and the leg that was called stay for 32 s (RFC 3261 timers H and J, RFC 6026 M): only then is it
/// forgotten.
const FORGOTTEN: Duration = Duration::from_secs(40);
/// A write is on its way no longer than this.
const WRITTEN: Duration = Duration::from_millis(500);
/// Calls before those that are measured: as many as are remembered at once at 200 a second, and as fill the cache of the store.
const WARM_UP: usize = 10_000;

/// Memory is compared round by round, as many calls each, until one keeps no more than the bar: what a call leaves behind is left in
/// every round, an allocator that has not settled yet, or a cache that fills, is not.
const ROUNDS: usize = 3;

/// A switch with two PBXs and some phones, and no Telegram.
struct Board {
    crossing: Crossing,
    orders: Orders,
}

impl Board {
    fn start(dir: &Path) -> Self {
        let accounts: Vec<(String, String)> = (0..PHONES)
            .map(|n| (format!("phone{n:03}"), format!("password-{n:05}")))
            .collect();
        let mut records = String::new();
        for (login, password) in &accounts {
            write!(
                records,
                "[[trunk]]\nname = \"{login}\"\nlogin = \"{login}\"\npassword = \"{password}\"\n\n[[route]]\ntrunk = \"{login}\"\nto = \"b\"\n\n"
            )
            .unwrap();
        }
        let crossing = Crossing::start(dir, Command::new(STROWGER), "", "", &records);
        Self {
            orders: Orders {
                switch: crossing.sip,
                caller: crossing.a,
                called: crossing.b,
                count: 0,
                first: 0,
                per_second: 1.0,
                accounts,
                realm: "strowger".to_owned(),
            },
            crossing,
        }
    }

    fn writes(&self) -> f64 {
        let (_, text) = self
            .crossing
            .http
            .text("/metrics")
            .expect("/metrics answers");
        let count = "strowger_store_operation_seconds_count";
        Metrics::parse(&text).sum_of(count, &[("op", "put")])
    }

    /// The same when all that was to be written has been: as many a while later.
    fn settled(&self) -> f64 {
        let mut last = self.writes();
        until("the store to be quiet", s(20), || {
            thread::sleep(WRITTEN);
            let now = self.writes();
            let is_quiet = (now - std::mem::replace(&mut last, now)).abs() < 0.5;
            is_quiet.then_some(now)
        })
    }

    /// Lets a generator work and returns what it said and what it cost the switch, while `look` is called once a second.
    fn under(&self, orders: &Orders, mut look: impl FnMut(f64)) -> (Said, f64) {
        let cpu = proc::cpu(self.crossing.switch.id());
        let mut child = Load::start(orders);
        let began = Instant::now();
        let said = loop {
            thread::sleep(Duration::from_secs(1));
            look(began.elapsed().as_secs_f64());
            if let Ok(said) = child.said.try_recv() {
                break said;
            }
            assert!(
                child
                    .child
                    .try_wait()
                    .unwrap()
                    .is_none_or(|status| status.success()),
                "the load died"
            );
        };
        (said, proc::cpu(self.crossing.switch.id()) - cpu)
    }
}

struct Load {
    child: Child,
    said: std::sync::mpsc::Receiver<Said>,
}

impl Load {
    fn start(orders: &Orders) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg(load::WORD)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        writeln!(
            child.stdin.take().unwrap(),
            "{}",
            serde_json::to_string(orders).unwrap()
        )
        .unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let (sender, said) = std::sync::mpsc::channel();
        thread::spawn(move || {
            let mut line = String::new();
            if out.read_line(&mut line).is_ok()
                && let Ok(found) = serde_json::from_str(&line)
            {
                sender.send(found).ok();
            }
        });
        Self { child, said }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// What calls a second cost.
#[derive(Debug)]
pub(crate) struct Signalling {
    said: Said,
    per_second: f64,
    cpu_per_1000: f64,
    /// Octets of memory kept for each call of a round when all of them have been forgotten again; nothing of short runs.
    growth: Vec<f64>,
    /// Resident memory by the number of calls that had been made, kB.
    resident: Vec<(f64, f64)>,
    /// How busy the machine was, by everything.
    busy: f64,
    /// What the same calls cost Kamailio, which passes the messages on and is no party to the call; or why that is not known.
    proxy: Result<f64, String>,
}

/// Calls that the proxy is given.
const PROXY_CALLS: usize = 4_000;

/// The same load through Kamailio as a proxy: CPU-seconds per 1,000 calls.
fn through_proxy(options: &Options, orders: &Orders, dir: &Path) -> Result<f64, String> {
    let dir = dir.join("kamailio");
    fs::create_dir_all(&dir).unwrap();
    let (port, folder) = (ports::one(), dir.display().to_string());
    let (sip, next) = (port.to_string(), orders.called.to_string());
    let start = [
        "start", "--dir", &folder, "--sip", &sip, "--next", &next, "--quiet",
    ];
    launcher("kamailio.py", &start)?;
    let pid = fs::read_to_string(dir.join("kamailio.pid")).unwrap();
    let pid: u32 = pid.trim().parse().unwrap();
    let orders = Orders {
        switch: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        count: PROXY_CALLS.min(options.sip_calls),
        ..orders.clone()
    };
    let before = proc::session_cpu(pid);
    let load = Load::start(&orders);
    let patience = Duration::from_secs(120);
    let said = load.said.recv_timeout(patience);
    let cpu = proc::session_cpu(pid) - before;
    launcher("kamailio.py", &["stop", "--dir", &folder]).ok();
    let said = said.map_err(|why| why.to_string())?;
    if said.failed > 0 {
        return Err(format!("{} calls failed: {:?}", said.failed, said.faults));
    }
    Ok(cpu * 1000.0 / said.done as f64)
}

/// Places calls between two trunks.
pub(crate) fn calls(options: &Options, dir: &Path) -> Signalling {
    let board = Board::start(dir);
    let orders = Orders {
        count: options.sip_calls,
        per_second: options.per_second,
        accounts: Vec::new(),
        ..board.orders.clone()
    };
    let mut resident = Vec::new();
    // A run too short for it says nothing about memory.
    let is_long = orders.count >= WARM_UP;
    let forgotten = || {
        thread::sleep(FORGOTTEN);
        proc::anonymous_kb(board.crossing.switch.id())
    };
    let before = is_long.then(|| {
        let warm_up = Orders {
            count: WARM_UP,
            first: orders.count * ROUNDS,
            ..orders.clone()
        };
        board.under(&warm_up, |_| {});
        forgotten()
    });
    let machine = proc::machine();
    let (mut said, cpu) = board.under(&orders, |after| {
        let made = (after * options.per_second).min(orders.count as f64);
        resident.push((made, proc::resident_kb(board.crossing.switch.id())));
    });
    let busy = busy_since(machine);
    let mut growth = Vec::new();
    let mut before = before;
    while let Some(kept) = before {
        let now = forgotten();
        let octets = (now - kept) * 1024.0 / orders.count as f64;
        growth.push(octets);
        if octets <= OCTETS_PER_CALL || growth.len() == ROUNDS {
            break;
        }
        let more = Orders {
            first: orders.count * growth.len(),
            ..orders.clone()
        };
        let (more, _) = board.under(&more, |_| {});
        if more.failed > 0 {
            said.failed += more.failed;
            break;
        }
        before = Some(now);
    }
    Signalling {
        per_second: options.per_second,
        cpu_per_1000: cpu * 1000.0 / orders.count as f64,
        said,
        growth,
        resident,
        busy,
        proxy: through_proxy(options, &orders, dir),
    }
}

/// How busy the machine was since then, 0 to 1.
pub(crate) fn busy_since((busy, total): (f64, f64)) -> f64 {
    let now = proc::machine();
    (now.0 - busy) / (now.1 - total).max(1.0)
}

impl Signalling {
    /// What the calls of each round kept.
    fn kept(&self) -> String {
        let rounds = self.growth.iter().map(|octets| format!("{octets:.0}"));
        match rounds.collect::<Vec<_>>().join(", then ") {
            none if none.is_empty() => "(too few calls to tell)".to_owned(),
            rounds => rounds,
        }
    }

    /// Resident memory when so many calls had been made, MB.
    fn resident_after(&self, calls: f64) -> f64 {
        let found = self.resident.iter().find(|(made, _)| *made >= calls);
        found.map_or(f64::NAN, |(_, kb)| kb / 1024.0)
    }

    pub(crate) fn is_good(&self) -> bool {
        self.bars().iter().all(|(_, good)| *good)
    }

    fn bars(&self) -> Vec<(String, bool)> {
        let pdd = quantile(&self.said.added_pdd, 0.5);
        vec![
            (
                format!(
                    "CPU {:.2} s per 1,000 calls, bar {CALL_CPU}",
                    self.cpu_per_1000
                ),
                self.cpu_per_1000 <= CALL_CPU,
            ),
            (
                format!("added PDD {pdd:.1} ms median, bar {PDD_MS:.0}"),
                pdd <= PDD_MS,
            ),
            (
                format!("{} calls failed, bar 0", self.said.failed),
                self.said.failed == 0,
            ),
            (
                format!(
                    "memory {} octets a call kept, bar {OCTETS_PER_CALL:.0}",
                    self.kept()
                ),
                // Runs too short to say anything about it miss nothing.
                self.growth
                    .last()
                    .is_none_or(|octets| *octets <= OCTETS_PER_CALL),
            ),
        ]
    }

    pub(crate) fn print(&self) {
        println!(
            "\n{} calls between two trunks, {:.0} a second: INVITE, 180, 200, ACK, BYE, 200 on either side, RTP ports bound",
            self.said.done + self.said.failed,
            self.per_second
        );
        println!(
            "  CPU of the switch      {:.3} CPU-s per 1,000 calls; the generator beside it {:.3}",
            self.cpu_per_1000,
            self.said.own_cpu * 1000.0 / self.said.done.max(1) as f64
        );
        println!("  PDD added              {}", spread(&self.said.added_pdd));
        println!("  answered after         {}", spread(&self.said.set_up));
        println!("  requests repeated      {}", self.said.repeated);
        match &self.proxy {
            Ok(cpu) => println!(
                "  Kamailio as a proxy    {cpu:.3} CPU-s per 1,000 calls: the switch costs {:.2} x that",
                self.cpu_per_1000 / cpu
            ),
            Err(why) => println!("  Kamailio as a proxy    not measured: {why}"),
        }
        println!(
            "  memory                 {:.1} MB resident after 2,000 calls, {:.1} after 10,000, {:.1} after 20,000; {} octets a call kept when all are forgotten",
            self.resident_after(2_000.0),
            self.resident_after(10_000.0),
            self.resident_after(20_000.0),
            self.kept()
        );
        println!("  machine                {:.0} % busy", self.busy * 100.0);
        verdicts(self.bars(), &self.said.faults);
    }

    pub(crate) fn figures(&self, all: &mut Map<String, Value>) {
        let pdd = |q| rounded(quantile(&self.said.added_pdd, q), 2);
        let figures = [
            ("calls_per_s", rounded(self.per_second, 0)),
            ("cpu_s_per_1000_calls", rounded(self.cpu_per_1000, 3)),
            ("added_pdd_ms.median", pdd(0.5)),
            ("added_pdd_ms.p99", pdd(0.99)),
            ("failed_calls", self.said.failed.into()),
            (
                "octets_kept_per_call",
                rounded(self.growth.last().copied().unwrap_or(f64::NAN), 0),
            ),
            (
                "resident_mb_after_2000_calls",
                rounded(self.resident_after(2_000.0), 1),
            ),
            (
                "resident_mb_after_20000_calls",
                rounded(self.resident_after(20_000.0), 1),
            ),
            (
                "kamailio_proxy_cpu_s_per_1000_calls",
                rounded(*self.proxy.as_ref().unwrap_or(&f64::NAN), 3),
            ),
            ("machine_busy_ratio", rounded(self.busy, 2)),
        ];
        all.extend(figures.map(|(name, value)| (format!("signalling.{name}"), value)));
    }
}

/// What registrations a second cost.
#[derive(Debug)]
pub(crate) struct Registrations {
    said: Said,
    per_second: f64,
    cpu_per_1000: f64,
    /// Writes to the store for refreshes that changed nothing.
    writes: f64,
    /// How busy the machine was, by everything.
    busy: f64,
}

/// Lets phones register again and again, each time challenged anew.
pub(crate) fn registrations(options: &Options, dir: &Path) -> Registrations {
    let board = Board::start(dir);
    // Not the address of a trunk that is known by it.
    let caller = SocketAddr::from((Ipv4Addr::LOCALHOST, ports::one()));
    let orders = |first, count, per_second| Orders {
        caller,
        count,
        first,
        per_second,
        ..board.orders.clone()
    };
    // Everybody registers once; from then on nothing changes.
    let (first, _) = board.under(&orders(0, PHONES, 25.0), |_| {});
    assert_eq!(first.failed, 0, "{:?}", first.faults);
    let before = board.settled();
    let again = orders(
        PHONES,
        options.registrations,
        options.registrations_per_second,
    );
    let machine = proc::machine();
    let (said, cpu) = board.under(&again, |_| {});
    let busy = busy_since(machine);
    Registrations {
        writes: board.writes() - before,
        per_second: options.registrations_per_second,
        cpu_per_1000: cpu * 1000.0 / again.count as f64,
        said,
        busy,
    }
}

impl Registrations {
    pub(crate) fn is_good(&self) -> bool {
        self.bars().iter().all(|(_, good)| *good)
    }

    fn bars(&self) -> Vec<(String, bool)> {
        vec![
            (
                format!(
                    "CPU {:.2} s per 1,000 registrations, bar {REGISTRATION_CPU}",
                    self.cpu_per_1000
                ),
                self.cpu_per_1000 <= REGISTRATION_CPU,
            ),
            (
                format!("{} registrations failed, bar 0", self.said.failed),
                self.said.failed == 0,
            ),
            (
                format!(
                    "{:.0} writes for refreshes that change nothing, bar 0",
                    self.writes
                ),
                self.writes < 0.5,
            ),
        ]
    }

    pub(crate) fn print(&self) {
        println!(
            "\n{} registrations of {PHONES} phones, {:.0} a second: REGISTER, 401, REGISTER with digest, 200",
            self.said.done + self.said.failed,
            self.per_second
        );
        println!(
            "  CPU of the switch      {:.3} CPU-s per 1,000 registrations",
            self.cpu_per_1000
        );
        println!("  registered after       {}", spread(&self.said.set_up));
        println!("  requests repeated      {}", self.said.repeated);
        println!("  machine                {:.0} % busy", self.busy * 100.0);
        verdicts(self.bars(), &self.said.faults);
    }

    pub(crate) fn figures(&self, all: &mut Map<String, Value>) {
        let figures = [
            ("per_s", rounded(self.per_second, 0)),
            ("cpu_s_per_1000", rounded(self.cpu_per_1000, 3)),
            (
                "answered_ms.median",
                rounded(quantile(&self.said.set_up, 0.5), 2),
            ),
            ("failed", self.said.failed.into()),
            ("writes", rounded(self.writes, 0)),
        ];
        all.extend(figures.map(|(name, value)| (format!("registration.{name}"), value)));
    }
}

/// Prints whether each bar is met, and what else was noticed.
pub(crate) fn verdicts(bars: Vec<(String, bool)>, faults: &[String]) {
    for (bar, good) in bars {
        println!("  {} {bar}", if good { "ok    " } else { "MISSED" });
    }
    for fault in faults {
        println!("  note: {fault}");
    }
}
