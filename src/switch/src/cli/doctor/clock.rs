//! Whether Telegram can be reached, and how this machine's clock stands to its; how late this process is woken, and by what.

use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use net::telegram::{ClockOffset, clock_offset, first_server};

use super::Findings;
use crate::records::Current;
use crate::settings::Settings;

/// How far the clock may be off: MTProto bears some 30 s, so there is time to mend it.
const OFF: Duration = Duration::from_secs(5);
/// Ticks that are waited for, how far apart, and how late one may be.
const TICKS: u32 = 100;
const TICK: Duration = Duration::from_millis(20);
const LATE: Duration = Duration::from_millis(10);
/// Sources of the kernel's clock that are slow to read or lose time; a call reads it a few times each 20 ms.
const SLOW_SOURCES: [&str; 5] = ["acpi_pm", "hpet", "jiffies", "pit", "refined-jiffies"];

/// Asks Telegram for the time, when there is somebody who would talk to it.
pub(super) fn telegram(settings: &Settings, current: Option<&Current>, findings: &mut Findings) {
    let known = settings.telegram.test_dc.server().map(|(_, server)| server);
    let has_sessions = current.is_some_and(|current| !current.sessions.is_empty());
    let server = known.or_else(|| first_server().filter(|_| has_sessions));
    let Some(server) = server.map(SocketAddr::from) else {
        let said = "there is no session, so that Telegram is not asked for the time";
        return findings.skipped("clock", said);
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let Ok(runtime) = runtime else { return };
    match runtime.block_on(clock_offset(server)) {
        Ok(offset) => {
            findings.ok("telegram", format!("{server} answers"));
            judge(offset, findings);
        }
        Err(error) => {
            let cure = "let TCP to port 443 of Telegram's data centres out of the firewall";
            findings.warn(
                "telegram",
                format!("{server} does not answer: {error}"),
                cure,
            );
            findings.skipped("clock", "Telegram did not tell the time");
        }
    }
}

fn judge(offset: ClockOffset, findings: &mut Findings) {
    let by = offset.abs();
    let where_to = match offset {
        ClockOffset::Ahead(_) => "ahead of",
        ClockOffset::Behind(_) => "behind",
    };
    let said = format!("this machine's is {by:.1?} {where_to} Telegram's");
    let cure = "set it by NTP: `timedatectl set-ntp true`, or chrony";
    if !offset.is_accepted() {
        let said = format!("{said}, which Telegram refuses: no session comes up");
        findings.fail("clock", said, cure);
    } else if by >= OFF {
        findings.warn("clock", said, cure);
    } else {
        findings.ok("clock", said);
    }
}

/// How late this process is woken.
pub(super) fn scheduler(findings: &mut Findings) {
    let began = Instant::now();
    let mut worst = Duration::ZERO;
    for n in 1..=TICKS {
        let due = began + TICK * n;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        worst = worst.max(due.elapsed());
    }
    let said = format!("of {TICKS} ticks of 20 ms the worst was {worst:.1?} late");
    if worst > LATE {
        let cure = "something else takes the processor, or its host does: speech will stutter";
        findings.warn("scheduler", said, cure);
    } else {
        findings.ok("scheduler", said);
    }
    let source = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    if let Ok(source) = fs::read_to_string(source) {
        judge_source(source.trim(), findings);
    }
}

fn judge_source(source: &str, findings: &mut Findings) {
    let said = format!("the kernel's clock is read from {source}");
    if SLOW_SOURCES.contains(&source) {
        let cure = "`dmesg | grep -i clocksource` says why it is not a better one, such as tsc";
        findings.warn("scheduler", format!("{said}, which is slow"), cure);
    } else {
        findings.ok("scheduler", said);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    fn verdict(look: impl FnOnce(&mut Findings)) -> Verdict {
        let mut findings = Findings::default();
        look(&mut findings);
        findings.0.pop().unwrap().verdict
    }

    #[test]
    fn five_seconds_are_warned_of_and_what_telegram_refuses_is_a_failure() {
        let judged = |offset| verdict(|findings| judge(offset, findings));
        let seconds = Duration::from_secs_f64;
        assert_eq!(judged(ClockOffset::Ahead(seconds(4.9))), Verdict::Ok);
        assert_eq!(judged(ClockOffset::Behind(seconds(4.9))), Verdict::Ok);
        assert_eq!(judged(ClockOffset::Ahead(seconds(5.0))), Verdict::Warn);
        assert_eq!(judged(ClockOffset::Behind(seconds(400.0))), Verdict::Warn);
        assert_eq!(judged(ClockOffset::Ahead(seconds(31.0))), Verdict::Fail);
    }

    #[test]
    fn a_slow_source_of_the_clock_is_warned_of() {
        let judged = |source: &str| verdict(|findings| judge_source(source, findings));
        assert_eq!(judged("tsc"), Verdict::Ok);
        assert_eq!(judged("kvm-clock"), Verdict::Ok);
        assert_eq!(judged("hpet"), Verdict::Warn);
    }
}
