//! Accounts that are being guessed at from many sources: they stay open to those who have used them before (SEC-A9).

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use model::IpPrefix;

use super::GuardConfig;
use super::bans::Failures;

/// How many sources an account is known to be used from.
const MAX_KNOWN: usize = 8;

#[derive(Debug, Default)]
struct Account {
    failures: Failures,
    closed_until: Option<Instant>,
    /// The last one used last.
    known: VecDeque<IpPrefix>,
}

/// The accounts there are; as many as the owner has made.
#[derive(Debug)]
pub(super) struct Accounts {
    limit: u32,
    window: Duration,
    by_login: HashMap<String, Account>,
}

impl Accounts {
    pub(super) fn new(config: &GuardConfig) -> Self {
        Self {
            limit: config.account_failures,
            window: config.account_window,
            by_login: HashMap::new(),
        }
    }

    pub(super) fn failed(&mut self, now: Instant, account: &str) {
        let (limit, window) = (self.limit, self.window);
        let account = self.by_login.entry(account.to_owned()).or_default();
        if limit > 0 && account.failures.note(now, limit, window) {
            account.closed_until = Some(now + window);
        }
    }

    pub(super) fn succeeded(&mut self, source: IpAddr, account: &str) {
        let party = IpPrefix::of_party(source);
        let account = self.by_login.entry(account.to_owned()).or_default();
        account.known.retain(|known| *known != party);
        account.known.push_back(party);
        if account.known.len() > MAX_KNOWN {
            account.known.pop_front();
        }
    }

    pub(super) fn is_open(&self, now: Instant, source: IpAddr, account: &str) -> bool {
        let Some(account) = self.by_login.get(account) else {
            return true;
        };
        account.closed_until.is_none_or(|until| until <= now)
            || account.known.contains(&IpPrefix::of_party(source))
    }
}
