//! The timers of a call, as data.

use std::time::Instant;

/// What can be waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Timer {
    /// Repeat the last provisional response (RFC 3261 13.3.1.1).
    Refresh,
    /// Repeat a reliable provisional response (RFC 3262 3).
    Provisional,
    /// No PRACK for it (RFC 3262 3).
    NoPrack,
    /// The caller waits no longer: its Expires (RFC 3261 13.3.1).
    Expires,
    /// We let no caller wait longer.
    Patience,
    /// The called party rang long enough.
    Ring,
    /// No response from this place; there are others (RFC 3263 4.3).
    NextPlace,
    /// No final response after a CANCEL (RFC 3261 9.1).
    Cancel,
    /// Repeat a 2xx (RFC 3261 13.3.1.4).
    Repeat,
    /// No ACK for a 2xx (RFC 3261 13.3.1.4).
    NoAck,
    /// No final response to a re-INVITE: it is cancelled.
    Offer,
    /// Try a re-INVITE again after 491 (RFC 3261 14.1).
    Glare,
    /// Nothing was heard of a BYE, neither a response nor a failure.
    Bye,
    /// Refresh the session (RFC 4028 7.4).
    SessionRefresh,
    /// Nobody refreshed the session (RFC 4028 10).
    SessionExpires,
    /// A 2xx may still come again, from another branch (RFC 6026, Timer M) or from a place that was left.
    Linger,
}

impl Timer {
    const ALL: [Timer; 16] = [
        Timer::Refresh,
        Timer::Provisional,
        Timer::NoPrack,
        Timer::Expires,
        Timer::Patience,
        Timer::Ring,
        Timer::NextPlace,
        Timer::Cancel,
        Timer::Repeat,
        Timer::NoAck,
        Timer::Offer,
        Timer::Glare,
        Timer::Bye,
        Timer::SessionRefresh,
        Timer::SessionExpires,
        Timer::Linger,
    ];
}

/// Which timers run, and until when.
#[derive(Debug, Default)]
pub(super) struct Timers {
    running: Vec<(Timer, Instant)>,
}

impl Timers {
    pub(super) fn set(&mut self, timer: Timer, at: Instant) {
        self.stop(timer);
        self.running.push((timer, at));
    }

    /// Sets a timer that runs until then at least.
    pub(super) fn extend(&mut self, timer: Timer, at: Instant) {
        let mut running = self.running.iter();
        let is_longer = |(have, until): &(Timer, Instant)| *have == timer && *until >= at;
        if !running.any(is_longer) {
            self.set(timer, at);
        }
    }

    pub(super) fn stop(&mut self, timer: Timer) {
        self.running.retain(|(have, _)| *have != timer);
    }

    pub(super) fn stop_all_but_linger(&mut self) {
        self.running.retain(|(have, _)| *have == Timer::Linger);
    }

    pub(super) fn is_set(&self, timer: Timer) -> bool {
        self.running.iter().any(|(have, _)| *have == timer)
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.running.iter().map(|(_, at)| *at).min()
    }

    /// Stops and returns one timer that is due.
    pub(super) fn due(&mut self, now: Instant) -> Option<Timer> {
        let due = |timer: &Timer| {
            let mut running = self.running.iter();
            running.any(|(have, at)| have == timer && *at <= now)
        };
        let timer = Timer::ALL.into_iter().find(due)?;
        self.stop(timer);
        Some(timer)
    }
}
