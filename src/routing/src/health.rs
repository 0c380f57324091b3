//! The failure counter of a trunk: after so many failures in a row no call is placed there for a while, then one is tried.
//!
//! Only what says that the trunk itself is out of order counts: no answer at all, 5xx, no way to send. A number that does not
//! exist or is busy says that it works. Times are milliseconds since 1970: what is here is written down.
//!
//! ```text
//!  working --limit failures in a row--> blocked --wait is over--> on trial --one call--> working
//!                                          ^                          |
//!                                          +------- it failed: twice the wait, at most MOST
//! ```

use std::time::Duration;

use model::{Cause, Reason};
use serde::{Deserialize, Serialize};

/// How long a trunk is blocked at most.
const MOST: Duration = Duration::from_secs(600);

/// How long a PBX that has too much to do is left alone at most.
const MOST_HELD_BACK: Duration = Duration::from_secs(60);

/// When a trunk is blocked, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Failures in a row; 0: never.
    pub limit: u32,
    /// The first wait; each one after a failed trial is twice as long.
    pub wait: Duration,
}

/// Whether calls are placed on a trunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// As many as it has lines.
    Working,
    /// None, until this time.
    Blocked {
        /// Milliseconds since 1970.
        until: u64,
    },
    /// One, to see whether it works again.
    OnTrial,
}

/// The failure counter of one trunk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureCounter {
    /// Failures in a row.
    in_a_row: u32,
    /// How often it was blocked since it worked last.
    blocks: u32,
    /// When it was blocked last, and for how many milliseconds.
    blocked_at: u64,
    wait: u64,
}

/// What a trunk's answer to a call says about the trunk; nothing where it says nothing.
pub fn verdict(cause: &Cause) -> Option<bool> {
    // It works, whatever it says about the number.
    let is_answer = matches!(
        cause.reason(),
        Reason::NormalClearing | Reason::SipNoAnswer | Reason::AnsweredByAnother
    );
    let is_silent = cause.reason() == Reason::SipTimeout;
    let is_refused = cause.reason() == Reason::SipRefused;
    let is_broken = (500..600).contains(&cause.code());
    (is_answer || is_silent || is_refused).then_some(is_answer || is_refused && !is_broken)
}

/// How long no call is to be placed on a trunk whose PBX answered so: it has too much to do, and says when to come back (RFC 3261
/// 21.5.4). A minute at most, whatever it says.
///
/// A PBX that refuses only some of its calls so is left alone for all of them. That is what the RFC asks for: Retry-After of a 503 tells for how long the
/// *service* is unavailable to us (20.33), and no other request SHOULD go to that server for so long (21.5.4). It cannot mean a share: RFC 7339 was made because
/// 503 knows only all or nothing, and a PBX that wants fewer calls instead of none says so by `oc`, which `sip::oc` obeys. One that has no
/// place for this number alone has 486, 480 or a 503 without Retry-After for it; then only this call hunts on.
pub fn held_back(cause: &Cause) -> Option<Duration> {
    let is_overloaded = cause.reason() == Reason::SipRefused && cause.code() == 503;
    let wait = cause.retry_after().filter(|wait| !wait.is_zero());
    wait.filter(|_| is_overloaded)
        .map(|wait| wait.min(MOST_HELD_BACK))
}

impl FailureCounter {
    /// A call to the trunk failed; true when this blocks it.
    pub fn failed(&mut self, now: u64, patience: Patience) -> bool {
        self.in_a_row = self.in_a_row.saturating_add(1);
        let is_due = match self.health(now) {
            Health::Working => patience.limit != 0 && self.in_a_row >= patience.limit,
            Health::OnTrial => patience.limit != 0,
            // One that began before.
            Health::Blocked { .. } => false,
        };
        if is_due {
            let doubled = 2_u32.saturating_pow(self.blocks.min(16));
            let wait = patience.wait.saturating_mul(doubled).min(MOST);
            self.wait = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            self.blocked_at = now;
            self.blocks = self.blocks.saturating_add(1);
        }
        is_due
    }

    /// A call to the trunk showed that it works, or somebody says so.
    pub fn works(&mut self) {
        *self = Self::default();
    }

    /// Whether calls are placed there now.
    pub fn health(&mut self, now: u64) -> Health {
        if self.blocks == 0 {
            return Health::Working;
        }
        // A clock that was set back makes no wait longer than it is.
        self.blocked_at = self.blocked_at.min(now);
        let until = self.blocked_at.saturating_add(self.wait);
        if now < until {
            Health::Blocked { until }
        } else {
            Health::OnTrial
        }
    }

    /// Returns how many calls failed in a row.
    pub fn in_a_row(&self) -> u32 {
        self.in_a_row
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000_000;
    const PATIENCE: Patience = Patience {
        limit: 3,
        wait: Duration::from_secs(60),
    };

    #[test]
    fn a_trunk_is_blocked_after_its_limit_and_tried_after_a_wait_that_doubles() {
        let mut counter = FailureCounter::default();
        assert!(!counter.failed(NOW, PATIENCE));
        assert!(!counter.failed(NOW, PATIENCE));
        assert_eq!(counter.health(NOW), Health::Working);
        assert!(counter.failed(NOW, PATIENCE));
        let until = NOW + 60_000;
        assert_eq!(counter.health(NOW), Health::Blocked { until });
        // Calls that began before it was blocked change nothing.
        assert!(!counter.failed(NOW + 1, PATIENCE));
        assert_eq!(counter.health(until - 1), Health::Blocked { until });
        assert_eq!(counter.health(until), Health::OnTrial);
        let mut now = until;
        for wait in [120, 240, 480, 600, 600] {
            assert!(counter.failed(now, PATIENCE));
            now += wait * 1000;
            assert_eq!(counter.health(now - 1), Health::Blocked { until: now });
            assert_eq!(counter.health(now), Health::OnTrial);
        }
        counter.works();
        assert_eq!(
            (counter.health(now), counter.in_a_row()),
            (Health::Working, 0)
        );
    }

    #[test]
    fn one_that_works_in_between_begins_anew() {
        let mut counter = FailureCounter::default();
        for _ in 0..10 {
            counter.failed(NOW, PATIENCE);
            counter.failed(NOW, PATIENCE);
            counter.works();
        }
        assert_eq!(counter.health(NOW), Health::Working);
    }

    #[test]
    fn without_a_limit_nothing_is_blocked() {
        let mut counter = FailureCounter::default();
        let limit = 0;
        for _ in 0..1000 {
            assert!(!counter.failed(NOW, Patience { limit, ..PATIENCE }));
        }
        assert_eq!(
            (counter.health(NOW), counter.in_a_row()),
            (Health::Working, 1000)
        );
    }

    #[test]
    fn a_clock_that_is_set_back_makes_no_wait_longer() {
        let mut counter = FailureCounter::default();
        for _ in 0..3 {
            counter.failed(NOW, PATIENCE);
        }
        let past = NOW - 1_000_000_000;
        let until = past + 60_000;
        assert_eq!(counter.health(past), Health::Blocked { until });
        assert_eq!(counter.health(until), Health::OnTrial);
        let text = serde_json::to_string(&counter).unwrap();
        assert_eq!(
            serde_json::from_str::<FailureCounter>(&text).unwrap(),
            counter
        );
    }

    #[test]
    fn what_a_pbx_says_of_a_number_is_no_failure_of_the_trunk() {
        for (cause, said) in [
            (Cause::sip_refused(404, "Not Found"), Some(true)),
            (Cause::sip_refused(486, "Busy Here"), Some(true)),
            (Cause::sip_refused(603, "Decline"), Some(true)),
            (Cause::sip_refused(503, "Service Unavailable"), Some(false)),
            (
                Cause::sip_refused(500, "Server Internal Error"),
                Some(false),
            ),
            (Cause::new(Reason::SipTimeout), Some(false)),
            (Cause::new(Reason::SipNoAnswer), Some(true)),
            (Cause::new(Reason::CallerGaveUp), None),
            (Cause::new(Reason::NoRtpPorts), None),
        ] {
            assert_eq!(verdict(&cause), said, "{cause}");
        }
    }

    #[test]
    fn a_pbx_that_says_when_to_come_back_is_left_alone_for_so_long_and_no_more_than_a_minute() {
        let said = |code, seconds| {
            Cause::sip_refused(code, "So").with_retry_after(Duration::from_secs(seconds))
        };
        assert_eq!(held_back(&said(503, 7)), Some(Duration::from_secs(7)));
        assert_eq!(held_back(&said(503, 86_400)), Some(MOST_HELD_BACK));
        assert_eq!(held_back(&said(503, 0)), None);
        // These speak for whoever is called, and ours of ourselves.
        for code in [404, 480, 486, 500, 600, 603] {
            assert_eq!(held_back(&said(code, 7)), None, "{code}");
        }
        let ours = Cause::new(Reason::Overloaded).with_retry_after(Duration::from_secs(7));
        assert_eq!(held_back(&ours), None);
        assert_eq!(held_back(&Cause::sip_refused(503, "So")), None);
    }
}
