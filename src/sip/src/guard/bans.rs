//! Sources that failed, and those that are not listened to for it.
//!
//! ```text
//!   nothing --failure--> failing --10 in 60 s--> banned --time--> failing, remembered for 24 h
//!                                                  ^  each time twice as long   |
//!                                                  +----------------------------+
//! ```

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use model::IpPrefix;

use super::GuardConfig;

/// A ban.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ban {
    /// Who is banned.
    pub prefix: IpPrefix,
    /// Until when.
    pub until: Instant,
    /// How many there were, this one included; 0 when it was set by hand.
    pub times: u32,
}

/// Failures that have not been forgotten: the last few times.
#[derive(Debug, Clone, Default)]
pub(super) struct Failures(VecDeque<Instant>);

impl Failures {
    /// Notes one; true when there were `limit` within `window`, which are forgotten then.
    pub(super) fn note(&mut self, now: Instant, limit: u32, window: Duration) -> bool {
        while self.0.front().is_some_and(|at| *at + window <= now) {
            self.0.pop_front();
        }
        self.0.push_back(now);
        let is_full = self.0.len() >= usize::try_from(limit).unwrap_or(usize::MAX).max(1);
        if is_full {
            self.0.clear();
        }
        is_full
    }
}

/// A source of failures.
#[derive(Debug, Clone, Default)]
struct Source {
    failures: Failures,
    banned_until: Option<Instant>,
    times: u32,
    /// Its place in the order of use.
    used: u64,
}

/// All sources of failures, bounded: the one that was quiet for the longest makes room.
#[derive(Debug)]
pub(super) struct Bans {
    config: GuardConfig,
    sources: HashMap<IpPrefix, Source>,
    order: BTreeMap<u64, IpPrefix>,
    /// Networks that are no single party: looked through one by one, so there must be few. Set by hand alone.
    networks: BTreeMap<IpPrefix, Instant>,
    uses: u64,
    generation: u64,
    /// When the next ban ends.
    ends: BTreeSet<(Instant, IpPrefix)>,
}

/// How many networks can be banned by hand.
const MAX_NETWORKS: usize = 256;

impl Bans {
    pub(super) fn new(config: &GuardConfig) -> Self {
        Self {
            config: config.clone(),
            sources: HashMap::new(),
            order: BTreeMap::new(),
            networks: BTreeMap::new(),
            uses: 0,
            generation: 0,
            ends: BTreeSet::new(),
        }
    }

    pub(super) fn is_banned(&self, now: Instant, source: IpAddr) -> bool {
        let party = self.sources.get(&IpPrefix::of_party(source));
        let by_itself = party.and_then(|source| source.banned_until);
        by_itself.is_some_and(|until| until > now)
            || self
                .networks
                .iter()
                .any(|(network, until)| *until > now && network.contains(source))
    }

    pub(super) fn failed(&mut self, now: Instant, source: IpAddr) -> Option<Ban> {
        let prefix = IpPrefix::of_party(source);
        let (limit, window) = (self.config.failures, self.config.failure_window);
        let (first, longest) = (self.config.ban, self.config.longest_ban);
        let entry = self.touch(prefix);
        // Who has behaved for as long as the longest ban begins anew.
        if entry
            .banned_until
            .is_some_and(|until| until + longest <= now)
        {
            entry.times = 0;
        }
        if limit == 0 || !entry.failures.note(now, limit, window) {
            return None;
        }
        let doubled = 1_u32.checked_shl(entry.times).unwrap_or(u32::MAX);
        let length = first.saturating_mul(doubled).min(longest);
        entry.times = entry.times.saturating_add(1).min(31);
        let times = entry.times;
        Some(self.set(prefix, now + length, times))
    }

    /// Forgets the failures of a source that has proved itself, not its bans.
    pub(super) fn forgive(&mut self, source: IpAddr) {
        if let Some(entry) = self.sources.get_mut(&IpPrefix::of_party(source)) {
            entry.failures = Failures::default();
        }
    }

    /// Bans by hand: a party, or a network.
    pub(super) fn put(&mut self, prefix: IpPrefix, until: Instant) {
        if prefix.is_party() {
            let times = self.touch(prefix).times;
            self.set(prefix, until, times);
        } else if self.networks.len() < MAX_NETWORKS || self.networks.contains_key(&prefix) {
            self.networks.insert(prefix, until);
            self.generation += 1;
        }
    }

    /// Puts a ban in force that an earlier process had.
    pub(super) fn restore(&mut self, ban: Ban) {
        if ban.prefix.is_party() {
            self.touch(ban.prefix);
            self.set(ban.prefix, ban.until, ban.times.min(31));
        } else {
            self.put(ban.prefix, ban.until);
        }
    }

    /// Forgets a ban and all that led to it; false when there is none.
    pub(super) fn lift(&mut self, prefix: IpPrefix) -> bool {
        let mut is_lifted = self.networks.remove(&prefix).is_some();
        if let Some(entry) = self.sources.get_mut(&prefix)
            && let Some(until) = entry.banned_until.take()
        {
            entry.times = 0;
            entry.failures = Failures::default();
            self.ends.remove(&(until, prefix));
            is_lifted = true;
        }
        self.generation += u64::from(is_lifted);
        is_lifted
    }

    pub(super) fn all(&self, now: Instant) -> Vec<Ban> {
        let networks = self.networks.iter().map(|(prefix, until)| Ban {
            prefix: *prefix,
            until: *until,
            times: 0,
        });
        let parties = self.sources.iter().filter_map(|(prefix, source)| {
            Some(Ban {
                prefix: *prefix,
                until: source.banned_until?,
                times: source.times,
            })
        });
        let mut all: Vec<Ban> = networks
            .chain(parties)
            .filter(|ban| ban.until > now)
            .collect();
        all.sort_by_key(|ban| ban.prefix);
        all
    }

    pub(super) fn generation(&mut self, now: Instant) -> u64 {
        while let Some((until, _)) = self.ends.first()
            && *until <= now
        {
            self.ends.pop_first();
            self.generation += 1;
        }
        let before = self.networks.len();
        self.networks.retain(|_, until| *until > now);
        if self.networks.len() != before {
            self.generation += 1;
        }
        self.generation
    }

    fn set(&mut self, prefix: IpPrefix, until: Instant, times: u32) -> Ban {
        if let Some(entry) = self.sources.get_mut(&prefix) {
            if let Some(before) = entry.banned_until.replace(until) {
                self.ends.remove(&(before, prefix));
            }
            entry.times = times;
            self.ends.insert((until, prefix));
        }
        self.generation += 1;
        Ban {
            prefix,
            until,
            times,
        }
    }

    /// The entry of a party, now the one used last.
    fn touch(&mut self, prefix: IpPrefix) -> &mut Source {
        if !self.sources.contains_key(&prefix)
            && self.sources.len() >= self.config.sources.max(1)
            && let Some((_, oldest)) = self.order.pop_first()
            && let Some(gone) = self.sources.remove(&oldest)
            && let Some(until) = gone.banned_until
        {
            self.ends.remove(&(until, oldest));
            self.generation += 1;
        }
        self.uses += 1;
        let entry = self.sources.entry(prefix).or_default();
        self.order.remove(&entry.used);
        entry.used = self.uses;
        self.order.insert(self.uses, prefix);
        entry
    }
}
