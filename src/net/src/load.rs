//! What the system says of this process: how busy it is, and how much memory is left. For the latter small files of `/proc` and of the control
//! group are read, in some ten microseconds each; not for a thread that calls pass.

use std::fs;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// User and system time of this process, to the nanosecond.
pub fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// How many processors this process may use: those of the machine, less what its affinity and its control group leave out.
pub fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Octets of memory that this process could still have: what the machine has available, or its control group if that is less.
pub fn free_memory() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| available(&text));
    let group = left_of_group();
    match (machine, group) {
        (Some(machine), Some(group)) => Some(machine.min(group)),
        (either, other) => either.or(other),
    }
}

/// What a control group of version 2 leaves; in a container its own one is mounted at the root.
fn left_of_group() -> Option<u64> {
    let number = |name: &str| -> Option<u64> {
        let text = fs::read_to_string(format!("/sys/fs/cgroup/{name}")).ok()?;
        // `max` is no limit.
        text.trim().parse().ok()
    };
    let limit = number("memory.max")?;
    let used = number("memory.current")?;
    let stat = fs::read_to_string("/sys/fs/cgroup/memory.stat").ok()?;
    Some(left(limit, used, &stat))
}

/// What is left of a limit: pages of files that nobody has used of late are given up first.
fn left(limit: u64, used: u64, stat: &str) -> u64 {
    let spare = stat
        .lines()
        .find_map(|line| line.strip_prefix("inactive_file ")?.trim().parse().ok())
        .unwrap_or(0);
    limit.saturating_sub(used.saturating_sub(spare))
}

fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kb: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kb * 1024)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn the_files_are_read_as_linux_writes_them() {
        let meminfo = "MemTotal:        2000000 kB\nMemFree: 5 kB\nMemAvailable:    1234567 kB\n";
        assert_eq!(available(meminfo), Some(1_234_567 * 1024));
        assert_eq!(available("MemTotal: 5 kB"), None);
        assert_eq!(left(100, 90, "anon 5\ninactive_file 30\nfile 2\n"), 40);
        assert_eq!(left(100, 190, ""), 0);
    }

    #[test]
    fn this_system_says_it() {
        assert!(processors() >= 1);
        assert!(free_memory().unwrap() > 1 << 20);
        let (began, before) = (Instant::now(), cpu_time());
        while cpu_time() < before + Duration::from_millis(50) {
            assert!(began.elapsed() < Duration::from_secs(30));
        }
    }
}
