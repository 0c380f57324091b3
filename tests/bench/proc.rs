//! What the kernel knows about processes: CPU time, memory, wake-ups.

use std::collections::BTreeMap;
use std::fs;
use std::time::SystemTime;

/// Clock ticks a second in `/proc`; a constant of Linux's interface.
const TICKS: f64 = 100.0;

/// CPU time of this thread, seconds.
pub(crate) fn thread_cpu() -> f64 {
    on_cpu("/proc/thread-self/schedstat").expect("/proc/thread-self/schedstat")
}

/// User and system time of a process, seconds.
pub(crate) fn cpu(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process runs");
    // The name, in brackets, may contain anything.
    let fields: Vec<&str> = stat[stat.rfind(')').unwrap() + 2..]
        .split_whitespace()
        .collect();
    let ticks = |field: &str| field.parse::<f64>().unwrap();
    (ticks(fields[11]) + ticks(fields[12])) / TICKS
}

/// User and system time of all processes of a session, seconds.
pub(crate) fn session_cpu(session: u32) -> f64 {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|entry| {
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            let fields: Vec<&str> = stat.get(stat.rfind(')')? + 2..)?.split(' ').collect();
            let number = |n: usize| fields.get(n)?.parse::<f64>().ok();
            let of_it = fields.get(3)?.parse() == Ok(session);
            of_it.then_some((number(11)? + number(12)?) / TICKS)
        })
        .sum()
}

/// CPU time of the threads of a process, seconds; exact to the nanosecond, but without threads that have ended.
pub(crate) fn threads_cpu(pid: u32) -> f64 {
    threads(pid).values().map(|work| work.cpu).sum()
}

/// Resident memory of a process, kB.
pub(crate) fn resident_kb(pid: u32) -> f64 {
    status_kb(pid, "VmRSS:")
}

/// The part of it that is the program's own, not pages of its file, kB.
pub(crate) fn anonymous_kb(pid: u32) -> f64 {
    status_kb(pid, "RssAnon:")
}

fn status_kb(pid: u32, field: &str) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Busy and total CPU time of the machine so far, ticks.
pub(crate) fn machine() -> (f64, f64) {
    let stat = fs::read_to_string("/proc/stat").unwrap();
    let ticks: Vec<f64> = stat
        .lines()
        .next()
        .unwrap()
        .split_whitespace()
        .skip(1)
        .take(8)
        .map(|field| field.parse().unwrap())
        .collect();
    let total: f64 = ticks.iter().sum();
    (total - ticks[3] - ticks[4], total)
}

/// UDP datagrams that this machine has dropped because a program did not read in time.
pub(crate) fn udp_overruns() -> u64 {
    let text = fs::read_to_string("/proc/net/snmp").unwrap_or_default();
    let mut rows = text.lines().filter(|line| line.starts_with("Udp:"));
    let (Some(names), Some(values)) = (rows.next(), rows.next()) else {
        return 0;
    };
    names
        .split_whitespace()
        .zip(values.split_whitespace())
        .find(|(name, _)| *name == "RcvbufErrors")
        .and_then(|(_, value)| value.parse().ok())
        .unwrap_or(0)
}

/// What the threads of one name did.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Work {
    /// Seconds on a processor.
    pub(crate) cpu: f64,
    /// Times it went to sleep by itself.
    pub(crate) waits: f64,
}

/// The threads of a process by name.
pub(crate) fn threads(pid: u32) -> BTreeMap<String, Work> {
    let mut by_name: BTreeMap<String, Work> = BTreeMap::new();
    for entry in fs::read_dir(format!("/proc/{pid}/task"))
        .expect("the process runs")
        .flatten()
    {
        let dir = entry.path();
        let file = |name: &str| fs::read_to_string(dir.join(name)).unwrap_or_default();
        let status = file("status");
        let waits = status
            .lines()
            .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))
            .and_then(|count| count.trim().parse().ok())
            .unwrap_or(0.0);
        let work = by_name
            .entry(file("comm").trim_end().to_owned())
            .or_default();
        work.cpu += on_cpu(&dir.join("schedstat").display().to_string()).unwrap_or(0.0);
        work.waits += waits;
    }
    by_name
}

/// Nanoseconds of the wall clock, the one clock that all the processes of a run share.
pub(crate) fn wall() -> u64 {
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap();
    u64::try_from(since.as_nanos()).unwrap()
}

fn on_cpu(path: &str) -> Option<f64> {
    let text = fs::read_to_string(path).ok()?;
    let nanoseconds: f64 = text.split_whitespace().next()?.parse().ok()?;
    Some(nanoseconds / 1e9)
}
