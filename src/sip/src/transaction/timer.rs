//! The timers of RFC 3261 17 and RFC 6026 by their letters, and the table that holds them.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use model::Transport;

/// The base values (RFC 3261 17.1.1.1, table 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// Estimate of the round trip.
    pub t1: Duration,
    /// Longest interval between repeats of a non-INVITE request or of a response to INVITE.
    pub t2: Duration,
    /// Longest time a message stays in the network.
    pub t4: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            t1: Duration::from_millis(500),
            t2: Duration::from_secs(4),
            t4: Duration::from_secs(5),
        }
    }
}

/// A timer of a transaction. Timer C is a proxy's; a switch limits the ringing itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Timer {
    /// Repeat of the INVITE.
    A,
    /// End of waiting for any response to the INVITE, and for the final one after a CANCEL (RFC 3261 9.1).
    B,
    /// Wait for repeated failures, to acknowledge them again.
    D,
    /// Repeat of another request.
    E,
    /// End of waiting for the response to another request.
    F,
    /// Repeat of a failure sent to an INVITE.
    G,
    /// End of waiting for its ACK.
    H,
    /// Wait for repeated ACKs.
    I,
    /// Wait for repeated requests.
    J,
    /// Wait for repeated responses.
    K,
    /// Wait for repeated INVITEs after a success was sent (RFC 6026).
    L,
    /// Wait for repeated or forked successes (RFC 6026).
    M,
    /// The 200 ms after which an INVITE without any response gets 100 (RFC 3261 17.2.1).
    Trying,
    /// End of waiting for our own answer to another request: nobody listens any more (RFC 4320 4.2).
    Late,
}

impl Timer {
    /// Returns how long the timer runs over this transport, and `None` where it does not: a reliable one repeats nothing,
    /// and nothing comes again over it (RFC 3261 17.1, 17.2).
    pub(super) fn over(self, transport: Transport, after: Duration) -> Option<Duration> {
        if !transport.is_reliable() {
            return Some(after);
        }
        match self {
            Self::A | Self::E | Self::G => None,
            Self::D | Self::I | Self::J | Self::K => Some(Duration::ZERO),
            Self::B | Self::F | Self::H | Self::L | Self::M | Self::Trying | Self::Late => {
                Some(after)
            }
        }
    }

    /// Returns the first interval over UDP (RFC 3261 table 4, RFC 6026 8.11).
    pub(super) fn first(self, times: &Times) -> Duration {
        match self {
            Self::A | Self::E | Self::G => times.t1,
            Self::B | Self::F | Self::H | Self::J | Self::L | Self::M | Self::Late => times.t1 * 64,
            // At least 32 s: long enough for the other side's Timer H, whatever our T1 is.
            Self::D => (times.t1 * 64).max(Duration::from_secs(32)),
            Self::I | Self::K => times.t4,
            Self::Trying => Duration::from_millis(200),
        }
    }
}

/// The running timers of all transactions, each owner having at most one of a letter.
#[derive(Debug)]
pub(super) struct Timers<K> {
    queue: BTreeSet<(Instant, K, Timer)>,
    /// By owner, who rarely has more than two: all of them are stopped with each transaction.
    running: HashMap<K, Vec<(Timer, Instant)>>,
}

impl<K: Copy + Ord + std::hash::Hash> Timers<K> {
    pub(super) fn new() -> Self {
        Self {
            queue: BTreeSet::new(),
            running: HashMap::new(),
        }
    }

    /// Starts or restarts a timer.
    pub(super) fn set(&mut self, owner: K, timer: Timer, at: Instant) {
        self.stop(owner, timer);
        self.queue.insert((at, owner, timer));
        self.running.entry(owner).or_default().push((timer, at));
    }

    /// Stops a timer.
    pub(super) fn stop(&mut self, owner: K, timer: Timer) {
        let Entry::Occupied(mut entry) = self.running.entry(owner) else {
            return;
        };
        let running = entry.get_mut();
        if let Some(index) = running.iter().position(|(letter, _)| *letter == timer) {
            let (_, at) = running.swap_remove(index);
            self.queue.remove(&(at, owner, timer));
        }
        if running.is_empty() {
            entry.remove();
        }
    }

    /// Stops all timers of an owner.
    pub(super) fn stop_all(&mut self, owner: K) {
        for (timer, at) in self.running.remove(&owner).unwrap_or_default() {
            self.queue.remove(&(at, owner, timer));
        }
    }

    /// Returns when the next timer is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.queue.first().map(|(at, _, _)| *at)
    }

    /// Takes one timer that is due.
    pub(super) fn due(&mut self, now: Instant) -> Option<(K, Timer)> {
        let (at, owner, timer) = *self.queue.first()?;
        if at > now {
            return None;
        }
        self.stop(owner, timer);
        Some((owner, timer))
    }
}
