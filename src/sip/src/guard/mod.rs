//! How much of whom is listened to (SEC-D1, SEC-A9): budgets of datagrams, guesses at passwords, and bans.
//!
//! Asked for each datagram before anything of it is read, so it must cost next to nothing and hold a bounded memory: 64 KiB of
//! counters for all strangers together, 65,536 sources that failed or are banned. A party is an IPv4 address or an IPv6 network of 64
//! bits. Who is known is told from outside; those are never banned, and have a budget of their own.
//!
//! Not here: what a request says, and whether a password is right.

mod accounts;
mod bans;
mod budget;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use model::IpPrefix;

use self::accounts::Accounts;
pub use self::bans::Ban;
use self::bans::Bans;
use self::budget::{Budget, Strangers};

/// The settings of a [`Guard`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuardConfig {
    /// Datagrams a second of one stranger.
    pub stranger_rate: u32,
    /// How many of them may come at once.
    pub stranger_burst: u32,
    /// Datagrams a second of all strangers together.
    pub strangers_rate: u32,
    /// Requests a second of one known party.
    pub peer_rate: u32,
    /// How many failures within [`GuardConfig::failure_window`] ban a source.
    pub failures: u32,
    /// In what time they must fall.
    pub failure_window: Duration,
    /// How long the first ban lasts; each further one twice as long.
    pub ban: Duration,
    /// How long a ban lasts at most, and how long earlier ones are remembered.
    pub longest_ban: Duration,
    /// How many failures over all sources within [`GuardConfig::account_window`] close an account to unknown sources.
    pub account_failures: u32,
    /// In what time they must fall, and for how long it stays closed.
    pub account_window: Duration,
    /// How many sources are remembered.
    pub sources: usize,
}

impl Default for GuardConfig {
    fn default() -> Self {
        Self {
            stranger_rate: 20,
            stranger_burst: 40,
            strangers_rate: 1_000,
            // A call is three requests: some three hundred calls a second.
            peer_rate: 1_000,
            failures: 10,
            failure_window: Duration::from_secs(60),
            ban: Duration::from_secs(600),
            longest_ban: Duration::from_secs(24 * 3_600),
            account_failures: 30,
            account_window: Duration::from_secs(600),
            sources: 65_536,
        }
    }
}

/// What becomes of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It is read.
    Pass,
    /// Its sender, or all strangers together, have sent more than they may: it is dropped.
    OverBudget,
    /// Its sender is banned: it is dropped.
    Banned,
}

/// Decides who is listened to. One per process.
#[derive(Debug)]
pub struct Guard {
    config: GuardConfig,
    strangers: Strangers,
    known: HashMap<IpPrefix, Known>,
    bans: Bans,
    accounts: Accounts,
}

/// A party that is known.
#[derive(Debug)]
struct Known {
    budget: Budget,
    /// How often it was said: several trunks may stand at one address.
    times: u32,
}

impl Guard {
    /// A guard who knows nobody yet. The seed must be unpredictable to strangers: it says who shares a counter with whom.
    pub fn new(config: GuardConfig, now: Instant, seed: u64) -> Self {
        Self {
            strangers: Strangers::new(&config, now, seed),
            known: HashMap::new(),
            bans: Bans::new(&config),
            accounts: Accounts::new(&config),
            config,
        }
    }

    /// Takes or refuses a datagram. Of a known party only requests count, which `is_request` tells by the first octets.
    pub fn admit(&mut self, now: Instant, source: IpAddr, is_request: bool) -> Admission {
        let party = IpPrefix::of_party(source);
        if let Some(Known { budget, .. }) = self.known.get_mut(&party) {
            let rate = self.config.peer_rate;
            return if !is_request || budget.take(now, rate, rate) {
                Admission::Pass
            } else {
                Admission::OverBudget
            };
        }
        // A ban comes first: what is dropped anyway must not use up what other strangers may send.
        if self.bans.is_banned(now, source) {
            Admission::Banned
        } else if self.strangers.take(now, party) {
            Admission::Pass
        } else {
            Admission::OverBudget
        }
    }

    /// Says that somebody is known from now on: a peer by its address, or where a trunk is registered. Told several times it has to be
    /// forgotten as often; what it has used of its budget stays used.
    pub fn know(&mut self, now: Instant, address: IpAddr) {
        let party = IpPrefix::of_party(address);
        let known = self.known.entry(party).or_insert_with(|| Known {
            budget: Budget::new(now),
            times: 0,
        });
        known.times += 1;
    }

    /// Takes back one [`Guard::know`].
    pub fn forget(&mut self, address: IpAddr) {
        let party = IpPrefix::of_party(address);
        let Some(known) = self.known.get_mut(&party) else {
            return;
        };
        known.times = known.times.saturating_sub(1);
        if known.times == 0 {
            self.known.remove(&party);
        }
    }

    /// Whether the address belongs to a known party.
    pub fn is_known(&self, source: IpAddr) -> bool {
        self.known.contains_key(&IpPrefix::of_party(source))
    }

    /// Notes that a source failed to prove itself; for `account`, if there is such an account. Returns the ban that this brought
    /// upon it.
    pub fn failed(&mut self, now: Instant, source: IpAddr, account: Option<&str>) -> Option<Ban> {
        if let Some(account) = account {
            self.accounts.failed(now, account);
        }
        if self.is_known(source) {
            return None;
        }
        self.bans.failed(now, source)
    }

    /// Notes that a source has proved itself.
    pub fn succeeded(&mut self, source: IpAddr, account: &str) {
        self.accounts.succeeded(source, account);
        self.bans.forgive(source);
    }

    /// Whether an account may be used from this source: always, unless it is being guessed at and the source is new to it.
    pub fn is_open(&self, now: Instant, source: IpAddr, account: &str) -> bool {
        self.accounts.is_open(now, source, account)
    }

    /// Bans by hand.
    pub fn ban(&mut self, prefix: IpPrefix, until: Instant) {
        self.bans.put(prefix, until);
    }

    /// Puts a ban in force that an earlier process had.
    pub fn restore(&mut self, ban: Ban) {
        self.bans.restore(ban);
    }

    /// Forgets a ban and all that led to it; false when there is none.
    pub fn lift(&mut self, prefix: IpPrefix) -> bool {
        self.bans.lift(prefix)
    }

    /// The bans that hold, by network.
    pub fn bans(&self, now: Instant) -> Vec<Ban> {
        self.bans.all(now)
    }

    /// Counts up with every change to the bans that hold.
    pub fn generation(&mut self, now: Instant) -> u64 {
        self.bans.generation(now)
    }
}
