//! How often a session may call and look people up: waits that Telegram ordered, and our own pace that avoids them.
//!
//! Times are milliseconds since 1970, because a wait outlives the process: what is here is written down, and a restart neither
//! shortens a wait nor fills a bucket. A clock that was set back never makes a wait longer than it was ordered.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How long a session is left alone after PEER_FLOOD: Telegram does not say, a day is what others found (product 6).
pub const RESTRICTED_FOR: Duration = Duration::from_secs(86_400);
/// The longest wait that is believed.
const LONGEST: Duration = Duration::from_secs(30 * 86_400);

/// What Telegram counts apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Group {
    /// Requests of phone calls.
    Call,
    /// Looking people up.
    LookUp,
    /// Texts.
    Text,
}

/// What a token is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Errand {
    /// A call to somebody.
    Call,
    /// Looking a phone number up that is not known.
    Phone,
    /// Looking a username up that is not known.
    Username,
    /// A text of a PBX to somebody.
    Text,
}

impl Errand {
    /// The group it counts for at Telegram.
    pub fn group(self) -> Group {
        match self {
            Errand::Call => Group::Call,
            Errand::Phone | Errand::Username => Group::LookUp,
            Errand::Text => Group::Text,
        }
    }
}

/// A pace: `burst` at once, and one more each `interval`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// The time in which one token comes; zero: there is no limit.
    pub interval: Duration,
    /// How many tokens the full bucket has, at least 1.
    pub burst: u32,
}

impl Pace {
    /// No limit.
    pub const FREE: Pace = Pace {
        interval: Duration::ZERO,
        burst: 1,
    };

    /// So many in a period, and `burst` of them at once; 0 = no limit.
    pub fn new(count: u32, period: Duration, burst: u32) -> Self {
        let interval = period.checked_div(count).unwrap_or_default();
        let burst = burst.max(1);
        Self { interval, burst }
    }
}

/// The paces of one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paces {
    /// Calls.
    pub calls: Pace,
    /// Look-ups of phone numbers.
    pub phones: Pace,
    /// Look-ups of usernames.
    pub usernames: Pace,
    /// Texts.
    pub texts: Pace,
}

impl Paces {
    /// No limit on anything.
    pub const FREE: Paces = Paces {
        calls: Pace::FREE,
        phones: Pace::FREE,
        usernames: Pace::FREE,
        texts: Pace::FREE,
    };

    /// The pace of one errand.
    pub fn of(&self, errand: Errand) -> Pace {
        match errand {
            Errand::Call => self.calls,
            Errand::Phone => self.phones,
            Errand::Username => self.usernames,
            Errand::Text => self.texts,
        }
    }
}

/// Why something may not be asked now, and how long that lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Our own bucket is empty.
    Bucket(Duration),
    /// Telegram ordered a wait.
    FloodWait(Duration),
    /// The account is limited for spam.
    Restricted(Duration),
}

/// A wait, with its length: what is left is never more than that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Wait {
    until: u64,
    length: u64,
}

impl Wait {
    fn left(self, now: u64) -> Option<Duration> {
        let left = self.until.saturating_sub(now).min(self.length);
        (left > 0).then(|| Duration::from_millis(left))
    }

    /// A new order counts if it ends later than the one before.
    fn order(&mut self, now: u64, length: Duration) {
        let length = length.min(LONGEST);
        if self.left(now).unwrap_or_default() < length {
            let length = millis(length);
            let until = now.saturating_add(length);
            *self = Wait { until, length };
        }
    }

    /// When it is over, in seconds since 1970, rounded up.
    fn until(self, now: u64) -> Option<u64> {
        let left = millis(self.left(now)?);
        Some(now.saturating_add(left).div_ceil(1000))
    }
}

/// The ends of what a session waits for, in seconds since 1970; nothing where it waits for nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waits {
    /// When calls may be placed again after a wait that Telegram ordered.
    pub calls_until: Option<u64>,
    /// When people may be looked up again after such a wait.
    pub look_ups_until: Option<u64>,
    /// When the account counts as limited for spam no more.
    pub restricted_until: Option<u64>,
}

impl Waits {
    /// The end of the later of the waits that Telegram ordered.
    pub fn flood_until(&self) -> Option<u64> {
        self.calls_until.max(self.look_ups_until)
    }
}

/// The limits of one session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limiter {
    calls: Wait,
    look_ups: Wait,
    texts: Wait,
    restricted: Wait,
    /// When each bucket will be full again; a bucket needs no other memory.
    full_at: FullAt,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct FullAt {
    calls: u64,
    phones: u64,
    usernames: u64,
    texts: u64,
}

impl FullAt {
    fn of(&mut self, errand: Errand) -> &mut u64 {
        match errand {
            Errand::Call => &mut self.calls,
            Errand::Phone => &mut self.phones,
            Errand::Username => &mut self.usernames,
            Errand::Text => &mut self.texts,
        }
    }
}

impl Limiter {
    /// Notes a wait that Telegram ordered.
    pub fn flood_wait(&mut self, now: u64, group: Group, wait: Duration) {
        match group {
            Group::Call => self.calls.order(now, wait),
            Group::LookUp => self.look_ups.order(now, wait),
            Group::Text => self.texts.order(now, wait),
        }
    }

    /// Notes that Telegram limits the account for spam (PEER_FLOOD).
    pub fn restrict(&mut self, now: u64) {
        self.restricted.order(now, RESTRICTED_FOR);
    }

    /// Whether Telegram lets this be asked now.
    pub fn open(&self, now: u64, group: Group) -> Result<(), Refused> {
        if let Some(left) = self.restricted.left(now) {
            return Err(Refused::Restricted(left));
        }
        let wait = match group {
            Group::Call => self.calls,
            Group::LookUp => self.look_ups,
            Group::Text => self.texts,
        };
        match wait.left(now) {
            Some(left) => Err(Refused::FloodWait(left)),
            None => Ok(()),
        }
    }

    /// Takes a token, or says why there is none. What was taken for something that did not happen can be given back.
    pub fn take(&mut self, now: u64, paces: &Paces, errand: Errand) -> Result<(), Refused> {
        self.open(now, errand.group())?;
        let pace = paces.of(errand);
        let (interval, full_at) = (millis(pace.interval), self.full_at.of(errand));
        let size = interval.saturating_mul(u64::from(pace.burst));
        // Never further away than an empty bucket is from a full one, whatever became of the clock or of the pace.
        let begin = (*full_at).clamp(now, now.saturating_add(size));
        let after = begin.saturating_add(interval);
        let wait = after.saturating_sub(now).saturating_sub(size);
        if wait > 0 {
            return Err(Refused::Bucket(Duration::from_millis(wait)));
        }
        *full_at = after;
        Ok(())
    }

    /// Gives a token back.
    pub fn give_back(&mut self, paces: &Paces, errand: Errand) {
        let full_at = self.full_at.of(errand);
        *full_at = full_at.saturating_sub(millis(paces.of(errand).interval));
    }

    /// What the session waits for.
    pub fn waits(&self, now: u64) -> Waits {
        Waits {
            calls_until: self.calls.until(now),
            look_ups_until: self.look_ups.until(now),
            restricted_until: self.restricted.until(now),
        }
    }

    /// How long until some wait is over.
    pub fn next_end(&self, now: u64) -> Option<Duration> {
        let waits = [self.calls, self.look_ups, self.restricted];
        waits.iter().filter_map(|wait| wait.left(now)).min()
    }
}

fn millis(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000_000;

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn paces() -> Paces {
        Paces {
            calls: Pace::new(6, s(60), 3),
            phones: Pace::new(10, s(3600), 10),
            usernames: Pace::FREE,
            texts: Pace::FREE,
        }
    }

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_pace() {
        let (mut limiter, paces) = (Limiter::default(), paces());
        for _ in 0..3 {
            assert_eq!(limiter.take(NOW, &paces, Errand::Call), Ok(()));
        }
        let refused = |left| Err(Refused::Bucket(left));
        assert_eq!(limiter.take(NOW, &paces, Errand::Call), refused(s(10)));
        let later = NOW + 4_000;
        assert_eq!(limiter.take(later, &paces, Errand::Call), refused(s(6)));
        let later = NOW + 10_000;
        assert_eq!(limiter.take(later, &paces, Errand::Call), Ok(()));
        assert_eq!(limiter.take(later, &paces, Errand::Call), refused(s(10)));
        // A minute brings no more than the burst.
        let calls = (0..10).filter(|_| limiter.take(NOW + 600_000, &paces, Errand::Call).is_ok());
        assert_eq!(calls.count(), 3);
    }

    #[test]
    fn no_errand_costs_another_and_a_token_can_be_given_back() {
        let (mut limiter, paces) = (Limiter::default(), paces());
        let phones = (0..20).filter(|_| limiter.take(NOW, &paces, Errand::Phone).is_ok());
        assert_eq!(phones.count(), 10);
        assert_eq!(
            limiter.take(NOW, &paces, Errand::Phone),
            Err(Refused::Bucket(s(360)))
        );
        limiter.give_back(&paces, Errand::Phone);
        assert_eq!(limiter.take(NOW, &paces, Errand::Phone), Ok(()));
        let free = (0..1000).filter(|_| limiter.take(NOW, &paces, Errand::Username).is_ok());
        assert_eq!(free.count(), 1000);
        assert_eq!(limiter.take(NOW, &paces, Errand::Call), Ok(()));
    }

    #[test]
    fn a_wait_holds_its_group_alone_and_ends_when_it_was_said() {
        let mut limiter = Limiter::default();
        limiter.flood_wait(NOW, Group::LookUp, s(17));
        // A shorter order does not shorten it.
        limiter.flood_wait(NOW + 1_000, Group::LookUp, s(3));
        let left = Err(Refused::FloodWait(s(16)));
        let free = &Paces::FREE;
        assert_eq!(limiter.take(NOW + 1_000, free, Errand::Phone), left);
        assert_eq!(limiter.take(NOW + 1_000, free, Errand::Username), left);
        assert_eq!(limiter.take(NOW + 1_000, free, Errand::Call), Ok(()));
        assert_eq!(limiter.next_end(NOW + 1_000), Some(s(16)));
        let waits = limiter.waits(NOW + 1_500);
        assert_eq!(waits.look_ups_until, Some(NOW / 1000 + 17));
        assert_eq!(waits.flood_until(), waits.look_ups_until);
        assert_eq!(limiter.take(NOW + 17_000, free, Errand::Phone), Ok(()));
        assert_eq!(limiter.waits(NOW + 17_000), Waits::default());
        assert_eq!(limiter.next_end(NOW + 17_000), None);
    }

    #[test]
    fn peer_flood_closes_everything_for_a_day() {
        let mut limiter = Limiter::default();
        limiter.restrict(NOW);
        let hour = NOW + 3_600_000;
        let left = Err(Refused::Restricted(s(23 * 3600)));
        assert_eq!(limiter.take(hour, &Paces::FREE, Errand::Call), left);
        assert_eq!(limiter.take(hour, &Paces::FREE, Errand::Phone), left);
        let end = NOW / 1000 + 86_400;
        assert_eq!(limiter.waits(hour).restricted_until, Some(end));
        let day = NOW + 86_400_000;
        assert_eq!(limiter.take(day, &Paces::FREE, Errand::Call), Ok(()));
    }

    #[test]
    fn what_is_written_reads_back_and_waits_on() {
        let (mut limiter, paces) = (Limiter::default(), paces());
        limiter.flood_wait(NOW, Group::Call, s(600));
        limiter.restrict(NOW);
        assert_eq!(
            Limiter::default().take(NOW, &paces, Errand::Phone),
            Ok(()),
            "a fresh one is open"
        );
        let text = serde_json::to_string(&limiter).unwrap();
        let again: Limiter = serde_json::from_str(&text).unwrap();
        assert_eq!(again, limiter);
        assert_eq!(again.waits(NOW), limiter.waits(NOW));
        // A record of a version that knew less.
        let old: Limiter = serde_json::from_str("{}").unwrap();
        assert_eq!(old, Limiter::default());
    }

    #[test]
    fn a_clock_that_was_set_back_closes_nothing_for_longer_than_was_ordered() {
        let (mut limiter, paces) = (Limiter::default(), paces());
        limiter.flood_wait(NOW, Group::LookUp, s(17));
        for _ in 0..3 {
            limiter.take(NOW, &paces, Errand::Call).unwrap();
        }
        let year = 365 * 86_400_000;
        let before = NOW - year;
        assert_eq!(
            limiter.take(before, &paces, Errand::Phone),
            Err(Refused::FloodWait(s(17)))
        );
        assert_eq!(
            limiter.take(before, &paces, Errand::Call),
            Err(Refused::Bucket(s(10)))
        );
        // Nor does an absurd order.
        limiter.flood_wait(NOW, Group::Call, Duration::MAX);
        assert_eq!(
            limiter.take(NOW, &paces, Errand::Call),
            Err(Refused::FloodWait(LONGEST))
        );
    }
}
