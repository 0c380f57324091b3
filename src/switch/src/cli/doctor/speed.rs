//! How many calls the processors of this machine can carry.
//!
//! An estimate: one thread takes speech through the codecs of a usual call for 0.3 s, G.711 to Opus and back at 8 kHz. A call costs the switch
//! less than 1.4 times what the codecs alone take (the bar of `make bench`); every processor does media, and three tenths of each are left to
//! everything else. A call in Opus or of G.722 costs another amount, and so does an optimised build.

use std::time::{Duration, Instant};

use media::Treadmill;

use super::Findings;
use crate::records::Current;

/// For how long the codecs run, and for how long before, so that everything is in its cache.
const LASTS: Duration = Duration::from_millis(300);
const WARM: u32 = 20;
/// What a call costs beside its codecs, as a factor.
const WHOLE_CALL: f64 = 1.4;
/// The share of the processors that calls may take.
const FOR_CALLS: f64 = 0.7;

/// Measures, and compares with the lines that trunks and sessions have.
pub(super) fn codecs(current: Option<&Current>, findings: &mut Findings) {
    let Ok(share) = share_of_a_core() else {
        let cure = "install the program again: its codec cannot be made";
        return findings.fail("codecs", "Opus does not work", cure);
    };
    let processors = net::load::processors();
    let calls = calls(share, processors);
    let said = format!(
        "a G.711 call takes {:.2} % of one processor for its codecs: {processors} of them carry some {calls} calls",
        share * 100.0
    );
    judge(calls, current.and_then(wanted), said, findings);
}

fn judge(calls: u64, wanted: Option<u64>, said: String, findings: &mut Findings) {
    let cure = "more or faster processors, or fewer `lines` of trunks and sessions";
    match wanted {
        _ if calls == 0 => findings.fail("codecs", said, cure),
        Some(wanted) if wanted > calls => {
            let said = format!("{said}; trunks and sessions have lines for {wanted}");
            findings.warn("codecs", said, cure);
        }
        Some(_) | None => findings.ok("codecs", said),
    }
}

/// How much of one processor the codecs of a call take. Time of the processor where the system tells it finely enough, which nobody else on this machine lengthens.
fn share_of_a_core() -> Result<f64, media::CodecError> {
    let mut treadmill = Treadmill::new()?;
    for _ in 0..WARM {
        treadmill.step();
    }
    let (began, busy) = (Instant::now(), cpu_time());
    let mut steps = 0_u32;
    while began.elapsed() < LASTS {
        treadmill.step();
        steps += 1;
    }
    let took = cpu_time().saturating_sub(busy);
    let audio = Treadmill::STEP * steps.max(1);
    Ok(took.as_secs_f64() / audio.as_secs_f64())
}

/// What this thread has had of a processor.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

fn calls(share: f64, processors: usize) -> u64 {
    let calls = processors as f64 * FOR_CALLS / (share * WHOLE_CALL).max(f64::EPSILON);
    Duration::try_from_secs_f64(calls).map_or(u64::MAX, |calls| calls.as_secs())
}

/// For how many calls at the same time there are lines: a call takes one of a trunk and one of a session. Nothing where neither is limited.
fn wanted(current: &Current) -> Option<u64> {
    let trunks = current.trunks.iter().filter(|trunk| trunk.enabled);
    let sessions = current.sessions.iter().filter(|session| session.enabled);
    let trunks = sum(trunks.map(|trunk| trunk.lines));
    let sessions = sum(sessions.map(|session| session.lines));
    match (trunks, sessions) {
        (Some(trunks), Some(sessions)) => Some(trunks.min(sessions)),
        (limited, None) | (None, limited) => limited,
    }
}

/// All lines together; nothing when one of them has no limit.
fn sum(lines: impl Iterator<Item = u32>) -> Option<u64> {
    lines
        .map(|lines| (lines > 0).then_some(u64::from(lines)))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn a_machine_that_carries_fewer_calls_than_there_are_lines_is_warned_of() {
        // 0.35 % of a processor: 142 calls a processor.
        assert_eq!(calls(0.0035, 2), 285);
        assert_eq!(calls(2.0, 1), 0);
        let judged = |calls, wanted| {
            let mut findings = Findings::default();
            judge(calls, wanted, String::new(), &mut findings);
            findings.0.pop().unwrap().verdict
        };
        assert_eq!(judged(285, Some(285)), Verdict::Ok);
        assert_eq!(judged(285, None), Verdict::Ok);
        assert_eq!(judged(285, Some(286)), Verdict::Warn);
        assert_eq!(judged(0, None), Verdict::Fail);
        assert_eq!(sum([4, 3].into_iter()), Some(7));
        assert_eq!(sum([4, 0].into_iter()), None);
        assert!((0.0..1.0).contains(&share_of_a_core().unwrap()));
    }
}
