//! Quotas: what trunks and sessions use up over time, when that is enough, and which calls end by it.
//!
//! Times are milliseconds since 1970, because a window outlives the process. A window begins with the first call that its
//! counter counts, not with the calendar (product 6). What calls that are up have talked is counted as they talk, so that
//! a crash loses no more than has not been written down. Calls keep the profile they began with.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use model::{
    CallId, Cause, NameError, Outcome, QuotaSpec, Reason, SessionName, Side, TrunkName, UserName,
};
use serde::{Deserialize, Serialize};

/// Whoever gives up sooner than this has not failed.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whose use is counted.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    /// A trunk's: of all its calls, both ways.
    Trunk(TrunkName),
    /// A session's.
    Session(SessionName),
    /// A route's, from a trunk to a session and back.
    Route(TrunkName, SessionName),
    /// That of the way from one trunk to another.
    Transit(TrunkName, TrunkName),
    /// A Telegram user's, whichever session he is called by.
    User(UserName),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::Trunk(name) => write!(f, "trunk/{name}"),
            Subject::Session(name) => write!(f, "session/{name}"),
            Subject::Route(trunk, session) => write!(f, "route/{trunk}/{session}"),
            Subject::Transit(trunk, to) => write!(f, "transit/{trunk}/{to}"),
            Subject::User(name) => write!(f, "user/{name}"),
        }
    }
}

/// Why something is no subject.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubjectError {
    /// No kind before the name.
    #[error(
        "whose quota? write trunk/NAME, session/NAME, user/NAME, route/TRUNK/SESSION or transit/TRUNK/TRUNK instead of `{0}`"
    )]
    Kind(String),
    /// The name.
    #[error(transparent)]
    Name(#[from] NameError),
}

impl FromStr for Subject {
    type Err = SubjectError;

    fn from_str(text: &str) -> Result<Self, SubjectError> {
        let parts: Vec<&str> = text.splitn(3, '/').collect();
        match parts.as_slice() {
            ["trunk", name] => Ok(Subject::Trunk(name.parse()?)),
            ["session", name] => Ok(Subject::Session(name.parse()?)),
            ["user", name] => Ok(Subject::User(name.parse()?)),
            ["route", trunk, session] => Ok(Subject::Route(trunk.parse()?, session.parse()?)),
            ["transit", trunk, to] => Ok(Subject::Transit(trunk.parse()?, to.parse()?)),
            _ => Err(SubjectError::Kind(text.to_owned())),
        }
    }
}

/// A count in a window; without a value there is no window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counter {
    /// When the window began.
    pub began: u64,
    /// Milliseconds of talk, or failed calls.
    pub value: u64,
}

impl Counter {
    /// What counts now, in a window of so many milliseconds.
    pub fn value(self, now: u64, window: u64) -> u64 {
        if now.saturating_sub(self.began) < window {
            self.value
        } else {
            0
        }
    }

    /// When its window is over; nothing while it counts nothing.
    pub fn end(self, now: u64, window: u64) -> Option<u64> {
        (self.value(now, window) > 0).then(|| self.began.saturating_add(window))
    }

    /// A clock that was set back makes no window longer than it is.
    fn rebase(&mut self, now: u64) {
        self.began = self.began.min(now);
    }

    fn open(&mut self, now: u64, window: u64) {
        self.rebase(now);
        if self.value(now, window) == 0 {
            (self.began, self.value) = (now, 0);
        }
    }

    fn count(&mut self, now: u64, window: u64) {
        self.open(now, window);
        self.value = self.value.saturating_add(1);
    }

    /// Adds the time from one moment to another, of which what lies in a window that is over counts no more.
    fn talk(&mut self, from: u64, to: u64, window: u64) {
        self.open(from, window);
        let end = self.began.saturating_add(window);
        let beyond = to.checked_sub(end);
        if let Some(whole) = beyond.and_then(|beyond| beyond.checked_div(window)) {
            let began = end.saturating_add(whole.saturating_mul(window));
            (self.began, self.value) = (began, to.saturating_sub(began));
        } else {
            self.value = self.value.saturating_add(to.saturating_sub(from));
        }
    }
}

/// What one subject has used up, as it is written down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Talk time, in milliseconds.
    #[serde(default)]
    pub talked: Counter,
    /// Failed calls.
    #[serde(default)]
    pub failed: Counter,
}

/// How a call ended, as far as quotas count it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallEnd {
    /// It failed: it reached the network and nobody answered, not even that he is busy.
    Failed,
    /// Any other way.
    Other,
}

impl CallEnd {
    /// What an end counts as, so long after the call began (product 6): not that the caller gave up within five seconds, nor that
    /// somebody was busy, nor what never reached the network.
    pub fn of(cause: &Cause, is_answered: bool, after: Duration) -> Self {
        let is_failed = match cause.outcome() {
            Outcome::Answered | Outcome::Busy | Outcome::Declined | Outcome::Limited => false,
            Outcome::NoAnswer | Outcome::Rejected => cause.side() != Side::Here,
            Outcome::Failed => cause.side() != Side::Here,
            Outcome::Cancelled => {
                let gave_up = matches!(cause.reason(), Reason::Cancelled | Reason::CallerGaveUp);
                gave_up && after >= PATIENCE
            }
        };
        if is_failed && !is_answered {
            CallEnd::Failed
        } else {
            CallEnd::Other
        }
    }
}

/// A call that somebody with a limit takes part in.
#[derive(Clone, Debug)]
struct Open {
    subjects: Vec<(Subject, QuotaSpec)>,
    answered: Option<Talk>,
}

/// Since when a call is answered, until when that is counted, and whether it has been told to end.
#[derive(Clone, Copy, Debug)]
struct Talk {
    since: u64,
    counted: u64,
    is_cut: bool,
}

/// The quotas of all.
#[derive(Clone, Debug, Default)]
pub struct Quotas {
    used: BTreeMap<Subject, Usage>,
    calls: HashMap<CallId, Open>,
    changed: BTreeSet<Subject>,
}

/// Milliseconds of a setting in seconds.
fn millis(seconds: u32) -> u64 {
    u64::from(seconds).saturating_mul(1000)
}

fn is_limited(quota: &QuotaSpec) -> bool {
    quota.call_seconds != 0 || quota.total_seconds != 0 || quota.fail_calls != 0
}

impl Quotas {
    /// Takes back what was written down.
    pub fn restore(&mut self, subject: Subject, usage: Usage) {
        self.used.insert(subject, usage);
    }

    /// Says whether a call of these may begin, and if not, why.
    pub fn admit(&mut self, now: u64, subjects: &[(Subject, QuotaSpec)]) -> Result<(), Cause> {
        self.count(now);
        for (subject, quota) in subjects {
            let usage = self.usage(now, subject, quota);
            let is_used_up = |used: u64, limit: u64| limit != 0 && used >= limit;
            if is_used_up(usage.talked.value, millis(quota.total_seconds)) {
                return Err(Cause::new(Reason::TotalDuration));
            }
            if is_used_up(usage.failed.value, u64::from(quota.fail_calls)) {
                return Err(Cause::new(Reason::FailCalls));
            }
        }
        Ok(())
    }

    /// A call of these begins. Whoever has no limit is not counted.
    pub fn begin(&mut self, call: CallId, mut subjects: Vec<(Subject, QuotaSpec)>) {
        subjects.retain(|(_, quota)| is_limited(quota));
        if !subjects.is_empty() {
            let answered = None;
            self.calls.insert(call, Open { subjects, answered });
        }
    }

    /// Somebody takes part in a call that has begun, and was not known then.
    pub fn join(&mut self, call: CallId, subject: Option<(Subject, QuotaSpec)>) {
        let Some((subject, quota)) = subject.filter(|(_, quota)| is_limited(quota)) else {
            return;
        };
        let open = self.calls.entry(call).or_insert_with(|| Open {
            subjects: Vec::new(),
            answered: None,
        });
        if !open.subjects.iter().any(|(known, _)| *known == subject) {
            open.subjects.push((subject, quota));
        }
    }

    /// The call is answered, perhaps by somebody who was not known when it began. Of a call that was answered before, which another
    /// incarnation of its registry knew, also since when.
    pub fn answered(
        &mut self,
        now: u64,
        since: u64,
        call: CallId,
        by: impl IntoIterator<Item = (Subject, QuotaSpec)>,
    ) {
        self.count(now);
        for subject in by {
            self.join(call, Some(subject));
        }
        if let Some(open) = self.calls.get_mut(&call) {
            open.answered.get_or_insert(Talk {
                since: since.min(now),
                counted: now,
                is_cut: false,
            });
        }
    }

    /// The call is over; that it is so twice changes nothing.
    pub fn over(&mut self, now: u64, call: CallId, end: CallEnd) {
        self.count(now);
        let Some(open) = self.calls.remove(&call) else {
            return;
        };
        match end {
            CallEnd::Failed => self.failed(now, &open.subjects),
            CallEnd::Other => {}
        }
    }

    fn failed(&mut self, now: u64, subjects: &[(Subject, QuotaSpec)]) {
        for (subject, quota) in subjects.iter().filter(|(_, quota)| quota.fail_calls != 0) {
            let usage = self.used.entry(subject.clone()).or_default();
            usage.failed.count(now, millis(quota.fail_window_seconds));
            self.changed.insert(subject.clone());
        }
    }

    /// Counts what has been talked up to now.
    pub fn count(&mut self, now: u64) {
        for usage in self.used.values_mut() {
            usage.talked.rebase(now);
            usage.failed.rebase(now);
        }
        for open in self.calls.values_mut() {
            let Some(talk) = &mut open.answered else {
                continue;
            };
            // A clock that was set back takes nothing away.
            let from = std::mem::replace(&mut talk.counted, now).min(now);
            if from == now {
                continue;
            }
            for (subject, quota) in &open.subjects {
                if quota.total_seconds != 0 {
                    let usage = self.used.entry(subject.clone()).or_default();
                    usage
                        .talked
                        .talk(from, now, millis(quota.total_window_seconds));
                    self.changed.insert(subject.clone());
                }
            }
        }
    }

    /// Counts, and returns the calls that end now, each once.
    pub fn due(&mut self, now: u64) -> Vec<(CallId, Cause)> {
        self.count(now);
        let used_up = self.used_up(now);
        let mut due = Vec::new();
        for (call, open) in &mut self.calls {
            let Some(talk) = open.answered.as_mut().filter(|talk| !talk.is_cut) else {
                continue;
            };
            let cause = open.subjects.iter().find_map(|(subject, quota)| {
                let longest = millis(quota.call_seconds);
                let is_long = longest != 0 && now.saturating_sub(talk.since) >= longest;
                if used_up.contains(subject) && quota.total_seconds != 0 {
                    Some(Cause::new(Reason::TotalDuration))
                } else if is_long {
                    Some(Cause::call_duration(Duration::from_millis(longest)))
                } else {
                    None
                }
            });
            if let Some(cause) = cause {
                talk.is_cut = true;
                due.push((*call, cause));
            }
        }
        due
    }

    /// When [`Quotas::due`] is to be asked again, if nothing else happens; not before now.
    pub fn next(&self, now: u64) -> Option<u64> {
        let talking = self.talking();
        let mut next: Option<u64> = None;
        let mut sooner = |at: u64| next = Some(next.map_or(at, |next| next.min(at)));
        for open in self.calls.values() {
            let Some(talk) = open.answered.filter(|talk| !talk.is_cut) else {
                continue;
            };
            for (subject, quota) in &open.subjects {
                if quota.call_seconds != 0 {
                    sooner(talk.since.saturating_add(millis(quota.call_seconds)));
                }
                if quota.total_seconds != 0 {
                    let window = millis(quota.total_window_seconds);
                    let talked = self.used.get(subject).map(|usage| usage.talked);
                    let talked = talked.unwrap_or_default();
                    let used = talked.value(now, window);
                    let left = millis(quota.total_seconds).saturating_sub(used);
                    // So many use it up at the same time.
                    let many = talking.get(subject).copied().unwrap_or(1).max(1);
                    sooner(now.saturating_add(left / many));
                    if let Some(end) = talked.end(now, window) {
                        sooner(end);
                    }
                }
            }
        }
        next.map(|at| at.max(now))
    }

    /// How many calls each subject talks in.
    fn talking(&self) -> BTreeMap<Subject, u64> {
        let mut talking = BTreeMap::new();
        for open in self.calls.values().filter(|open| open.answered.is_some()) {
            for (subject, _) in &open.subjects {
                let many: &mut u64 = talking.entry(subject.clone()).or_default();
                *many = many.saturating_add(1);
            }
        }
        talking
    }

    /// Those who have nothing left to talk: not a millisecond for each of their calls, so that none goes beyond the limit.
    fn used_up(&self, now: u64) -> BTreeSet<Subject> {
        let talking = self.talking();
        let mut used_up = BTreeSet::new();
        for open in self.calls.values().filter(|open| open.answered.is_some()) {
            for (subject, quota) in &open.subjects {
                let used = self.usage(now, subject, quota).talked.value;
                let left = millis(quota.total_seconds).saturating_sub(used);
                let many = talking.get(subject).copied().unwrap_or(1);
                if quota.total_seconds != 0 && left < many {
                    used_up.insert(subject.clone());
                }
            }
        }
        used_up
    }

    /// What counts of a subject's use now, under this profile.
    pub fn usage(&self, now: u64, subject: &Subject, quota: &QuotaSpec) -> Usage {
        let mut usage = self.used.get(subject).copied().unwrap_or_default();
        usage.talked.value = usage.talked.value(now, millis(quota.total_window_seconds));
        usage.failed.value = usage.failed.value(now, millis(quota.fail_window_seconds));
        usage
    }

    /// Forgets what a subject has used; the calls that are up go on counting.
    pub fn reset(&mut self, now: u64, subject: &Subject) {
        self.count(now);
        if self.used.remove(subject).is_some() {
            self.changed.insert(subject.clone());
        }
    }

    /// Returns what has changed since this was asked last: what is to be written down, or nothing where it is to be forgotten.
    pub fn changed(&mut self) -> Vec<(Subject, Option<Usage>)> {
        let changed = std::mem::take(&mut self.changed).into_iter();
        changed
            .map(|subject| {
                let usage = self.used.get(&subject).copied();
                (subject, usage)
            })
            .collect()
    }

    /// Returns how many calls are counted.
    pub fn calls(&self) -> usize {
        self.calls.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000_000;
    const HOUR: u64 = 3_600_000;

    fn trunk() -> Subject {
        "trunk/office".parse().unwrap()
    }

    fn session() -> Subject {
        "session/gateway".parse().unwrap()
    }

    fn quota(call: u32, total: u32, fails: u32) -> QuotaSpec {
        QuotaSpec {
            call_seconds: call,
            total_seconds: total,
            total_window_seconds: 7200,
            fail_calls: fails,
            ..QuotaSpec::new("small".parse().unwrap())
        }
    }

    fn call(n: u128) -> CallId {
        CallId::new(1, n)
    }

    fn talked(quotas: &Quotas, now: u64, subject: &Subject, quota: &QuotaSpec) -> u64 {
        quotas.usage(now, subject, quota).talked.value
    }

    #[test]
    fn whose_it_is_is_written_and_read() {
        assert_eq!(trunk().to_string(), "trunk/office");
        assert_eq!(session().to_string(), "session/gateway");
        for wrong in ["office", "phone/office", "trunk/", "trunk/a b"] {
            assert!(wrong.parse::<Subject>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_window_begins_with_what_it_counts_first() {
        let mut counter = Counter::default();
        assert_eq!(counter.end(NOW, HOUR), None);
        counter.count(NOW, HOUR);
        counter.count(NOW + HOUR - 1, HOUR);
        assert_eq!(counter.value(NOW + HOUR - 1, HOUR), 2);
        assert_eq!(counter.end(NOW, HOUR), Some(NOW + HOUR));
        assert_eq!(counter.value(NOW + HOUR, HOUR), 0);
        // Not with the end of the one before.
        counter.count(NOW + 3 * HOUR / 2, HOUR);
        assert_eq!(counter.value(NOW + 2 * HOUR, HOUR), 1);
        // A clock that is set back by years makes the window no longer than it is.
        counter.count(NOW - 1000 * HOUR, HOUR);
        assert_eq!(counter.value(NOW - 1000 * HOUR, HOUR), 2);
        assert_eq!(counter.value(NOW - 999 * HOUR, HOUR), 0);
    }

    #[test]
    fn talk_beyond_a_window_counts_in_the_next_one() {
        let mut counter = Counter::default();
        counter.talk(NOW, NOW + HOUR / 2, HOUR);
        counter.talk(NOW + HOUR / 2, NOW + HOUR + 7, HOUR);
        assert_eq!((counter.began, counter.value), (NOW + HOUR, 7));
        counter.talk(NOW + HOUR + 7, NOW + 5 * HOUR + 9, HOUR);
        assert_eq!((counter.began, counter.value), (NOW + 5 * HOUR, 9));
        counter.talk(NOW + 5 * HOUR + 9, NOW + 6 * HOUR, HOUR);
        assert_eq!((counter.began, counter.value), (NOW + 6 * HOUR, 0));
    }

    #[test]
    fn a_call_ends_after_the_longest_that_its_profile_allows() {
        let mut quotas = Quotas::default();
        quotas.begin(call(1), vec![(trunk(), quota(120, 0, 0))]);
        assert_eq!(quotas.next(NOW), None, "not answered");
        quotas.answered(NOW, NOW, call(1), None);
        assert_eq!(quotas.next(NOW), Some(NOW + 120_000));
        assert_eq!(quotas.due(NOW + 119_999), []);
        let due = quotas.due(NOW + 120_000);
        assert_eq!(due.len(), 1);
        assert_eq!(
            due[0].1.to_string(),
            "402 The call was limited to 2 minutes"
        );
        assert_eq!(quotas.due(NOW + 121_000), [], "once");
        assert_eq!(quotas.next(NOW), None);
        quotas.over(NOW + 121_000, call(1), CallEnd::Other);
        assert_eq!((quotas.calls(), quotas.changed().len()), (0, 0));
    }

    #[test]
    fn calls_that_talk_at_once_use_the_time_up_together() {
        let mut quotas = Quotas::default();
        let limit = quota(0, 60, 0);
        let of = |subject: Subject| vec![(subject, limit.clone())];
        for n in 1..=2 {
            assert_eq!(quotas.admit(NOW, &of(session())), Ok(()));
            quotas.begin(call(n), of(session()));
        }
        quotas.answered(NOW, NOW, call(1), None);
        assert_eq!(quotas.next(NOW), Some(NOW + 60_000));
        quotas.answered(NOW + 20_000, NOW + 20_000, call(2), None);
        assert_eq!(quotas.next(NOW + 20_000), Some(NOW + 40_000));
        assert_eq!(quotas.due(NOW + 39_000), []);
        let due = quotas.due(NOW + 40_000);
        assert_eq!(due.len(), 2);
        assert!(
            due.iter()
                .all(|(_, cause)| *cause == Cause::new(Reason::TotalDuration))
        );
        for n in 1..=2 {
            quotas.over(NOW + 40_000, call(n), CallEnd::Other);
        }
        let refused = quotas.admit(NOW + 50_000, &of(session())).unwrap_err();
        assert_eq!(refused.to_string(), "402 Total calls duration is exceeded");
        // Two hours after the first word.
        assert_eq!(quotas.admit(NOW + 2 * HOUR, &of(session())), Ok(()));
        quotas.reset(NOW + 50_000, &session());
        assert_eq!(quotas.changed(), [(session(), None)]);
        assert_eq!(quotas.admit(NOW + 50_000, &of(session())), Ok(()));
    }

    #[test]
    fn failed_calls_are_counted_by_the_window() {
        let mut quotas = Quotas::default();
        let limit = || vec![(trunk(), quota(0, 0, 2)), (session(), quota(0, 0, 0))];
        for n in 0..2 {
            assert_eq!(quotas.admit(NOW + 5, &limit()), Ok(()));
            quotas.begin(call(n), limit());
            quotas.over(NOW + 5, call(n), CallEnd::Failed);
            quotas.over(NOW + 5, call(n), CallEnd::Failed);
        }
        quotas.begin(call(3), limit());
        quotas.over(NOW + 6, call(3), CallEnd::Other);
        let refused = quotas.admit(NOW + 7, &limit()).unwrap_err();
        assert_eq!(refused.to_string(), "402 Amount of fail calls is exceeded");
        let changed = quotas.changed();
        let (began, value) = (NOW + 5, 2);
        let usage = Usage {
            failed: Counter { began, value },
            ..Usage::default()
        };
        assert_eq!(changed, [(trunk(), Some(usage))]);
        // The next process knows it as well.
        let mut next = Quotas::default();
        let text = serde_json::to_string(&usage).unwrap();
        next.restore(trunk(), serde_json::from_str(&text).unwrap());
        assert!(next.admit(NOW + 7, &limit()).is_err());
        assert_eq!(next.admit(NOW + 5 + HOUR, &limit()), Ok(()));
    }

    #[test]
    fn what_counts_as_failed() {
        let (soon, late) = (Duration::from_millis(4999), Duration::from_secs(5));
        for (cause, after, failed) in [
            (Cause::new(Reason::NormalClearing), late, false),
            (Cause::new(Reason::Cancelled), soon, false),
            (Cause::new(Reason::Cancelled), late, true),
            (Cause::new(Reason::CallerGaveUp), late, true),
            (Cause::new(Reason::AnsweredElsewhere), late, false),
            (Cause::new(Reason::BusyHere), soon, false),
            (Cause::new(Reason::UserDeclined), soon, false),
            (Cause::sip_refused(600, "Busy Everywhere"), soon, false),
            (Cause::sip_refused(404, "Not Found"), soon, true),
            (Cause::new(Reason::NoAnswer), late, true),
            (Cause::new(Reason::UsernameNotOccupied), soon, true),
            (Cause::new(Reason::SipTimeout), late, true),
            (Cause::new(Reason::LinesLimit), soon, false),
            (Cause::new(Reason::NoRtpPorts), soon, false),
            (Cause::new(Reason::LoopDetected), soon, false),
        ] {
            let end = CallEnd::of(&cause, false, after);
            assert_eq!(end == CallEnd::Failed, failed, "{cause} after {after:?}");
            assert_eq!(CallEnd::of(&cause, true, after), CallEnd::Other);
        }
    }

    #[test]
    fn who_answers_is_counted_from_then_on() {
        let mut quotas = Quotas::default();
        let (free, limit) = (quota(0, 0, 0), quota(0, 60, 0));
        quotas.begin(call(1), vec![(session(), free)]);
        assert_eq!(quotas.calls(), 0, "no limit, nothing to count");
        let by = Some((trunk(), limit.clone()));
        quotas.answered(NOW, NOW - 30_000, call(1), by.clone());
        quotas.answered(NOW + 1000, NOW + 1000, call(1), by);
        quotas.count(NOW + 10_000);
        assert_eq!(talked(&quotas, NOW + 10_000, &trunk(), &limit), 10_000);
        // A clock that is set back takes nothing away.
        quotas.count(NOW);
        quotas.count(NOW + 1000);
        assert_eq!(talked(&quotas, NOW + 1000, &trunk(), &limit), 11_000);
        // And makes no window longer.
        quotas.over(NOW + 1000, call(1), CallEnd::Other);
        let past = NOW - 1000 * HOUR;
        quotas.count(past);
        assert_eq!(talked(&quotas, past, &trunk(), &limit), 11_000);
        assert_eq!(talked(&quotas, past + 2 * HOUR, &trunk(), &limit), 0);
    }

    /// Random beginnings, answers, ends, deadlines, resets and crashes: nobody ever talks longer than his limit, no call longer than its own,
    /// what is written down never falls behind, and nothing is left when all calls are over.
    #[test]
    fn nobody_talks_longer_than_allowed() {
        const CALL_S: u32 = 50;
        const TOTAL_S: u32 = 200;
        let mut state = 7u64;
        let mut dice = |sides: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % sides
        };
        let limits = [quota(CALL_S, TOTAL_S, 0), quota(0, TOTAL_S, 3)];
        let subjects = [trunk(), session()];
        let mut quotas = Quotas::default();
        let mut disk: BTreeMap<Subject, Usage> = BTreeMap::new();
        let mut now = NOW;
        let mut answered: BTreeMap<u128, u64> = BTreeMap::new();
        // What must be true, kept the plain way: every stretch of talk.
        let mut said: Vec<(u64, u64)> = Vec::new();
        let mut cuts = 0;
        for step in 0..40_000 {
            // Time passes to the next thing that is due, if that is sooner.
            let later = now + dice(30_000);
            let to = quotas.next(now).map_or(later, |at| at.min(later));
            said.extend(answered.values().map(|_| (now, to)));
            now = to;
            for (ended, _) in quotas.due(now) {
                cuts += 1;
                let n = (0..8).find(|n| call(*n) == ended).unwrap();
                let since = answered.remove(&n).expect("was talking");
                assert!(now - since <= u64::from(CALL_S) * 1000, "step {step}");
                quotas.over(now, ended, CallEnd::Other);
            }
            let n = u128::from(dice(8));
            let of: Vec<_> = subjects
                .iter()
                .cloned()
                .zip(limits.iter().cloned())
                .collect();
            match dice(12) {
                0..=4 if !answered.contains_key(&n) && quotas.admit(now, &of).is_ok() => {
                    quotas.begin(call(n), of);
                    quotas.answered(now, now, call(n), None);
                    answered.insert(n, now);
                }
                5 | 6 => {
                    answered.remove(&n);
                    quotas.over(now, call(n), CallEnd::Other);
                }
                7 if !answered.contains_key(&n) => {
                    quotas.begin(call(n), of);
                    quotas.over(now, call(n), CallEnd::Failed);
                }
                8 if dice(50) == 0 => {
                    // The process dies, with what it wrote down; all calls are over.
                    quotas.count(now);
                    disk.extend(
                        quotas
                            .changed()
                            .into_iter()
                            .filter_map(|(s, u)| Some((s, u?))),
                    );
                    quotas = Quotas::default();
                    for (subject, usage) in &disk {
                        quotas.restore(subject.clone(), *usage);
                    }
                    answered.clear();
                }
                _ => {}
            }
            assert_eq!(quotas.calls(), answered.len(), "step {step}");
            for (subject, limit) in subjects.iter().zip(&limits) {
                assert!(
                    talked(&quotas, now, subject, limit) <= 200_000,
                    "step {step}"
                );
            }
            // In no window of the counter, whenever it began, was more said than the limit: twice at its border.
            said.retain(|(_, to)| *to + 2 * HOUR > now);
            let sum: u64 = said.iter().map(|(from, to)| to - from).sum();
            assert!(sum <= 2 * 200_000, "step {step}: {sum}");
        }
        assert!(cuts > 100, "{cuts}");
        for n in 0..8 {
            quotas.over(now, call(n), CallEnd::Other);
        }
        assert_eq!((quotas.calls(), quotas.next(now)), (0, None));
    }
}
