//! Whether there is too much to do, and how many new calls are let in meanwhile (SEC-D6).
//!
//! Five signs tell of it: work that waits too long for its thread, a busy processor, little memory, a full mailbox, and more calls than the
//! table of transactions has room for. While one of them stands, new calls are let in at a rate that follows what can be carried (the loss algorithm of RFC 7339 section 7, with ourselves
//! for the server): each half second the rate shrinks by as much as the worst sign is over its limit, and grows where all are below.
//! So the switch goes on at its capacity instead of refusing everybody and nobody by turns.

mod announced;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

pub use announced::{Announced, Meant};

/// From one change of the rate to the next; what RFC 7339 has for `oc-validity`.
pub const STEP: Duration = Duration::from_millis(500);
/// For how long the processor must be busy.
const CPU_FOR: Duration = Duration::from_secs(2);
/// For how long every sign must be well below its limit before it is over, when everybody is let in already, and when not: the rate
/// may have shrunk too far and be growing still.
const QUIET_FOR: Duration = Duration::from_secs(2);
const QUIET_AT_LAST: Duration = Duration::from_millis(3_500);
/// Over how long calls are counted to know how many come in a second.
const COUNTED_FOR: Duration = Duration::from_secs(1);
/// As few calls a second are never what the load is made of, when it begins. When it stays, the rate shrinks below.
const START: f64 = 5.0;
/// The rate never shrinks below this, so that it can grow again.
const LEAST: f64 = 0.1;
/// A rate that limits nobody.
const MOST: f64 = 1e6;
/// The most that the rate shrinks at once.
const SHRINK: f64 = 0.7;
/// How it grows when all is quiet, and when it is only no worse: then as far as the processor has room, within these.
const REGROW: f64 = 2.0;
const GROW: f64 = 1.1;
const GROW_MOST: f64 = 1.5;
/// What a delay that has only begun leaves of the rate: one stall, which may be the machine's and not ours, refuses nobody.
const FIRST_DELAY: f64 = 1.25;
/// A delay is remembered for a second: only when it stands for longer has another one followed.
const DELAY_STAYS: Duration = Duration::from_millis(1_100);
/// How far below its limit a sign is quiet.
const QUIET: f64 = 0.8;
/// The same of the delay, which leaps.
const QUIET_DELAY: f64 = 0.5;
/// So many calls between two looks tell how many come in a second.
const MANY: u64 = 10;
/// How many more calls than the rate says are let in between two looks, for they come as they like.
pub const BURST: f64 = 1.5;

/// How full a table of transactions is from which on calls are let in only as fast as it has room for.
const TABLE_PACED: f64 = 0.25;
/// How full it is meant to be in the long run.
const TABLE_MEANT: f64 = 0.75;
/// From when on there is no new call: the rest belongs to the BYE and CANCEL of those that are there.
const TABLE_CLOSED: f64 = 0.9;
/// Transactions of a call in one table: INVITE and BYE, or INVITE and CANCEL.
/// One that is refused, or hung up on from the other side, leaves one only, and is paced as two all the same: when it is let in nobody knows how it will
/// end, and a rate that were learned from calls that ended so would leave no place for the BYE of those that are up and end otherwise.
const OF_A_CALL: f64 = 2.0;

/// The tables of transactions.
#[derive(Debug)]
struct Table {
    /// How many calls one of them holds.
    calls: f64,
    /// How long a transaction is kept: RFC 3261 timers H and J, RFC 6026 timers L and M, 64 T1.
    kept: Duration,
    /// The calls that were let in not longer ago, look by look, the oldest first.
    inside: VecDeque<(Instant, u64)>,
}

impl Table {
    fn new(room: usize, kept: Duration) -> Self {
        Self {
            calls: room as f64 / OF_A_CALL,
            kept,
            inside: VecDeque::new(),
        }
    }

    fn let_in(&mut self, now: Instant, calls: u64) {
        self.inside.push_back((now, calls));
        while self
            .inside
            .front()
            .is_some_and(|(at, _)| now.saturating_duration_since(*at) >= self.kept)
        {
            self.inside.pop_front();
        }
    }

    /// How many new calls a second it takes for as long as they come. With 20,000 transactions and the usual 32 s these are 234.
    fn sustained(&self) -> f64 {
        let each_second = self.calls / self.kept.as_secs_f64().max(f64::EPSILON);
        (each_second * TABLE_MEANT).clamp(LEAST, MOST)
    }

    /// How many new calls a second fill it just by the time that the wave is gone which came first and fast, so that there is no hole behind
    /// it; `filled` is which share of it is taken. A call is taken to leave when its transactions would have if they all began when it was let in. Those of
    /// calls that ring or talk for long leave later, and what is still there shows in `filled`.
    fn until_gone(&self, now: Instant, filled: f64) -> f64 {
        let mut room = (TABLE_CLOSED - filled).max(0.0) * self.calls;
        let mut least = MOST;
        for (at, calls) in &self.inside {
            let gone = self.kept.saturating_sub(now.saturating_duration_since(*at));
            least = least.min(room / gone.as_secs_f64().max(f64::EPSILON));
            room += *calls as f64;
        }
        least
    }
}

/// Whether a table of which this share is taken has no room for new calls.
pub fn is_closed(filled: f64) -> bool {
    filled >= TABLE_CLOSED
}

/// From when on there is too much to do. Zero: this sign is not looked at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LoadLimits {
    /// How long work may wait for its thread, at the 99th percentile of a second.
    pub delay: Duration,
    /// How busy the process may be for two seconds, as a share of all processors that it may use.
    pub cpu: f64,
    /// How many octets of memory are to be free.
    pub memory: u64,
    /// How long a mailbox may refuse messages.
    pub mailbox: Duration,
}

impl Default for LoadLimits {
    fn default() -> Self {
        Self {
            delay: Duration::from_millis(100),
            cpu: 0.85,
            memory: 64 << 20,
            mailbox: Duration::from_secs(1),
        }
    }
}

/// A sign of overload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sign {
    /// Work waits too long for its thread.
    Delay,
    /// The processors are busy.
    Cpu,
    /// There is little memory.
    Memory,
    /// A mailbox is full.
    Mailbox,
    /// More calls come than the table of transactions has room for.
    Transactions,
}

impl Sign {
    /// Every sign.
    pub const ALL: [Sign; 5] = [
        Sign::Delay,
        Sign::Cpu,
        Sign::Memory,
        Sign::Mailbox,
        Sign::Transactions,
    ];

    /// The value of the metric label `reason`.
    pub fn label(self) -> &'static str {
        match self {
            Sign::Delay => "delay",
            Sign::Cpu => "cpu",
            Sign::Memory => "memory",
            Sign::Mailbox => "mailbox",
            Sign::Transactions => "transactions",
        }
    }
}

/// What was seen since the last look.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Seen {
    /// How long ago that was.
    pub elapsed: Duration,
    /// How long work waited for its thread, at the 99th percentile of the last second.
    pub delay: Duration,
    /// How busy the process was since then, as a share of all processors that it may use.
    pub cpu: f64,
    /// Octets of memory that are free; `None` where nobody tells.
    pub free: Option<u64>,
    /// Whether a mailbox refused anything.
    pub refused: bool,
    /// Which share of the fuller table of transactions is taken, 0 to 1.
    pub filled: f64,
    /// New calls that came, or would have come of those who hold back (RFC 7339), and how many of them were let in.
    pub offered: u64,
    /// See `offered`.
    pub admitted: u64,
}

/// Who is let in until the next look.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Admitted {
    /// Which share of the new calls, 0 to 1.
    pub share: f64,
    /// And how many of them at most in a second; `None`: as many as come.
    pub rate: Option<f64>,
}

impl Admitted {
    /// Everybody.
    pub const ALL: Admitted = Admitted {
        share: 1.0,
        rate: None,
    };

    /// How many new calls may come in so long.
    pub fn within(&self, time: Duration) -> u64 {
        match self.rate {
            None => u64::MAX,
            Some(rate) if rate <= 0.0 => 0,
            // A fraction of a call counts as one, or a slow rate would let in nobody.
            Some(rate) => whole((rate * time.as_secs_f64() * BURST).ceil()).max(1),
        }
    }
}

/// What has changed with a look.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Turn {
    /// It begins, for this sign.
    Begins(Sign),
    /// It is over, after so long.
    Over(Duration),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    /// Everybody is let in.
    Calm,
    /// Calls are let in at a rate.
    Shedding {
        since: Instant,
        /// The sign that stood last.
        sign: Sign,
        /// Calls a second.
        rate: f64,
        stepped: Instant,
        /// Since when all signs are quiet.
        quiet: Option<Instant>,
    },
}

/// One look, remembered for two seconds.
#[derive(Debug, Clone, Copy)]
struct Past {
    at: Instant,
    seen: Seen,
}

/// Decides it. Asked some ten times a second.
#[derive(Debug)]
pub struct Overload {
    limits: LoadLimits,
    /// Nothing where no table is to be looked at.
    table: Option<Table>,
    state: State,
    past: VecDeque<Past>,
    /// Since when every look found that a mailbox had refused something.
    refusing: Option<Instant>,
    /// When the last one did.
    refused: Option<Instant>,
    standing: Vec<Sign>,
}

impl Overload {
    /// Nothing is known yet, so everybody is let in.
    pub fn new(limits: LoadLimits) -> Self {
        Self {
            limits,
            table: None,
            state: State::Calm,
            past: VecDeque::new(),
            refusing: None,
            refused: None,
            standing: Vec::new(),
        }
    }

    /// Looks at tables of so many transactions as well, in which each is kept for so long.
    #[must_use]
    pub fn with_table(mut self, room: usize, kept: Duration) -> Self {
        self.table = Some(Table::new(room, kept));
        self
    }

    /// From the next look on these limits hold.
    pub fn set_limits(&mut self, limits: LoadLimits) {
        self.limits = limits;
    }

    /// The signs that stand just now.
    pub fn signs(&self) -> &[Sign] {
        &self.standing
    }

    /// Why calls are refused: the sign that stands, or stood last; `None` when all are let in.
    pub fn why(&self) -> Option<Sign> {
        match self.state {
            State::Calm => None,
            State::Shedding { sign, .. } => Some(sign),
        }
    }

    /// Takes note of what was seen, and says who is let in from now on, and what has changed.
    pub fn look(&mut self, now: Instant, seen: Seen) -> (Admitted, Option<Turn>) {
        self.remember(now, seen);
        self.standing = Sign::ALL
            .into_iter()
            .filter(|sign| self.stands(now, *sign))
            .collect();
        let worst = self.worst();
        match self.state {
            State::Calm => {
                let Some(sign) = worst else {
                    return (Admitted::ALL, None);
                };
                let rate = self.rate_of(CPU_FOR, |seen| seen.admitted).max(START);
                let (factor, stepped) = match sign {
                    // The first step comes when it has stayed.
                    Sign::Delay => (FIRST_DELAY, now + DELAY_STAYS.saturating_sub(STEP)),
                    Sign::Cpu | Sign::Mailbox => (self.factor(sign), now),
                    // Nobody is let in, and afterwards as many as before.
                    Sign::Memory => (1.0, now),
                    // What the table has room for holds anyway.
                    Sign::Transactions => (1.0, now),
                };
                let rate = (rate * factor).max(LEAST);
                self.state = State::Shedding {
                    since: now,
                    sign,
                    rate,
                    stepped,
                    quiet: None,
                };
                (self.admitted(rate), Some(Turn::Begins(sign)))
            }
            State::Shedding {
                since,
                sign,
                rate,
                stepped,
                quiet,
            } => {
                let quiet = self
                    .is_quiet()
                    .then(|| quiet.unwrap_or(now))
                    .filter(|_| worst.is_none());
                let admitted = self.admitted(rate);
                let wait = if admitted.share < 1.0 {
                    QUIET_AT_LAST
                } else {
                    QUIET_FOR
                };
                if quiet.is_some_and(|quiet| now.saturating_duration_since(quiet) >= wait) {
                    self.state = State::Calm;
                    let lasted = now.saturating_duration_since(since);
                    return (Admitted::ALL, Some(Turn::Over(lasted)));
                }
                let is_due = now.saturating_duration_since(stepped) >= STEP;
                let rate = if is_due {
                    self.next(rate, worst, quiet.is_some())
                } else {
                    rate
                };
                self.state = State::Shedding {
                    since,
                    sign: worst.unwrap_or(sign),
                    rate,
                    stepped: if is_due { now } else { stepped },
                    quiet,
                };
                (self.admitted(rate), None)
            }
        }
    }

    fn remember(&mut self, now: Instant, seen: Seen) {
        self.past.push_back(Past { at: now, seen });
        if let Some(table) = &mut self.table {
            table.let_in(now, seen.admitted);
        }
        // What began before the span counts still: the first look after it tells of time before.
        while self
            .past
            .get(1)
            .is_some_and(|second| now.saturating_duration_since(second.at) >= CPU_FOR)
        {
            self.past.pop_front();
        }
        if seen.refused {
            self.refusing.get_or_insert(now);
            self.refused = Some(now);
        } else {
            self.refusing = None;
        }
    }

    /// The looks that tell of the last so long, newest first.
    fn within(&self, span: Duration) -> impl Iterator<Item = &Seen> {
        let mut told = Duration::ZERO;
        self.past
            .iter()
            .rev()
            .map(|past| &past.seen)
            .take_while(move |seen| {
                let is_wanted = told < span;
                told += seen.elapsed;
                is_wanted
            })
    }

    /// How busy the processors were in the last so long; nothing before so long is known.
    fn cpu(&self, span: Duration) -> Option<f64> {
        let (mut busy, mut told) = (0.0, Duration::ZERO);
        for seen in self.within(span) {
            busy += seen.cpu * seen.elapsed.as_secs_f64();
            told += seen.elapsed;
        }
        (told >= span).then(|| busy / told.as_secs_f64())
    }

    /// How many calls a second there were in the last so long.
    fn rate_of(&self, span: Duration, count: impl Fn(&Seen) -> u64) -> f64 {
        let (mut calls, mut told) = (0, Duration::ZERO);
        for seen in self.within(span) {
            calls += count(seen);
            told += seen.elapsed;
        }
        if told.is_zero() {
            return 0.0;
        }
        calls as f64 / told.as_secs_f64()
    }

    fn last(&self) -> Option<&Seen> {
        self.past.back().map(|past| &past.seen)
    }

    /// Whether a sign is over its limit.
    fn stands(&self, now: Instant, sign: Sign) -> bool {
        let limits = &self.limits;
        match sign {
            Sign::Delay => !limits.delay.is_zero() && self.ratio(Sign::Delay) > 1.0,
            Sign::Cpu => limits.cpu > 0.0 && self.ratio(Sign::Cpu) > 1.0,
            Sign::Memory => self
                .last()
                .and_then(|seen| seen.free)
                .is_some_and(|free| free < limits.memory),
            Sign::Mailbox => {
                !limits.mailbox.is_zero()
                    && self
                        .refusing
                        .is_some_and(|since| now.saturating_duration_since(since) > limits.mailbox)
            }
            // A table that is full of calls that were, while few new ones come, will be empty by itself.
            Sign::Transactions => self.pace().is_some_and(|pace| self.offered() > pace),
        }
    }

    /// How many calls a second there is room for in the table of transactions, where that is to be looked at. Its entries stay for tens
    /// of seconds, so a rate that were corrected step by step would be far too high before it was far too low: this one follows from
    /// how full it is, and settles where as many entries come as go. It holds from early on, or the places of a first wave would be missed
    /// until they become free all at once.
    fn pace(&self) -> Option<f64> {
        let (table, last) = (self.table.as_ref()?, self.past.back()?);
        let filled = last.seen.filled;
        if filled < TABLE_PACED {
            return None;
        }
        let pace = table.sustained() * (1.0 + (0.5 - filled).max(0.0));
        Some(pace.min(table.until_gone(last.at, filled)))
    }

    /// How many calls come in a second.
    fn offered(&self) -> f64 {
        let last = self.last().filter(|seen| seen.offered >= MANY);
        let last = last.map_or(0.0, |seen| {
            seen.offered as f64 / seen.elapsed.as_secs_f64().max(f64::EPSILON)
        });
        // Of calls that come much faster than a moment ago the last look knows first.
        self.rate_of(COUNTED_FOR, |seen| seen.offered)
            .max(last / 2.0)
    }

    /// How far a sign that can be measured is towards its limit; 1 is at it.
    fn ratio(&self, sign: Sign) -> f64 {
        match sign {
            Sign::Delay if !self.limits.delay.is_zero() => {
                let delay = self.last().map_or(Duration::ZERO, |seen| seen.delay);
                delay.as_secs_f64() / self.limits.delay.as_secs_f64()
            }
            Sign::Cpu if self.limits.cpu > 0.0 => {
                // Whoever is let in at a rate is watched more closely.
                let span = match self.state {
                    State::Calm => CPU_FOR,
                    State::Shedding { .. } => STEP,
                };
                self.cpu(span).map_or(0.0, |cpu| cpu / self.limits.cpu)
            }
            Sign::Delay | Sign::Cpu | Sign::Memory | Sign::Mailbox | Sign::Transactions => 0.0,
        }
    }

    /// The sign that asks for the most, of those that stand.
    fn worst(&self) -> Option<Sign> {
        let by_factor = |a: &Sign, b: &Sign| self.factor(*a).total_cmp(&self.factor(*b));
        self.standing.iter().copied().min_by(by_factor)
    }

    /// What a sign that stands does to the rate.
    fn factor(&self, sign: Sign) -> f64 {
        match sign {
            Sign::Delay | Sign::Cpu => (1.0 / self.ratio(sign)).clamp(SHRINK, 1.0),
            Sign::Memory => 0.0,
            Sign::Mailbox => SHRINK,
            // Any other sign asks for more.
            Sign::Transactions => 1.0,
        }
    }

    /// The rate after a step.
    fn next(&self, rate: f64, worst: Option<Sign>, is_quiet: bool) -> f64 {
        // A rate that nobody uses up tells nothing of what can be carried. Nor does a moment in which a full mailbox kept all calls out.
        let used = [STEP, CPU_FOR].map(|span| self.rate_of(span, |seen| seen.admitted));
        let carried = rate.min(used[0].max(used[1]).max(START));
        let next = match worst {
            // Nobody is let in, and afterwards as many as before.
            Some(Sign::Memory) => rate,
            Some(sign @ (Sign::Delay | Sign::Cpu | Sign::Mailbox)) => carried * self.factor(sign),
            // Nothing else is short, so it grows, but not beyond what there is room for: when there is more, that would come as a wave.
            Some(Sign::Transactions) if self.pace().is_some_and(|pace| rate >= pace) => rate,
            Some(Sign::Transactions) => rate * self.growth(),
            None if is_quiet => rate * REGROW,
            None => rate * self.growth(),
        };
        next.clamp(LEAST, MOST)
    }

    /// By how much the rate grows while calls are refused: by the share of its limit that the processor has left and half as much again, since what
    /// it needs for refusing does not grow with the rate. So who was too cautious after a wave is back in seconds. Of delay and
    /// mailboxes nobody knows how near they are.
    fn growth(&self) -> f64 {
        let busy = self.ratio(Sign::Cpu);
        if busy <= 0.0 || self.ratio(Sign::Delay) > QUIET_DELAY || self.has_refused() {
            return GROW;
        }
        (1.0 + 1.5 * (1.0 - busy)).clamp(GROW, GROW_MOST)
    }

    /// Whether a mailbox has refused something lately.
    fn has_refused(&self) -> bool {
        let last = self.past.back().map(|past| past.at);
        let since = last.zip(self.refused);
        since.is_some_and(|(now, at)| now.saturating_duration_since(at) < COUNTED_FOR)
    }

    fn is_quiet(&self) -> bool {
        let limits = &self.limits;
        let roomy = (limits.memory as f64) / QUIET;
        let free = self.last().and_then(|seen| seen.free);
        self.ratio(Sign::Delay) <= QUIET_DELAY
            && self.ratio(Sign::Cpu) <= QUIET
            && free.is_none_or(|free| free as f64 >= roomy)
            && (limits.mailbox.is_zero() || !self.has_refused())
            && self
                .pace()
                .is_none_or(|pace| self.offered() <= pace * QUIET)
    }

    fn admitted(&self, rate: f64) -> Admitted {
        if self.standing.contains(&Sign::Memory) {
            return Admitted {
                share: 0.0,
                rate: Some(0.0),
            };
        }
        let rate = self.pace().map_or(rate, |pace| rate.min(pace));
        let offered = self.offered();
        Admitted {
            share: if offered > rate { rate / offered } else { 1.0 },
            rate: Some(rate),
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a float beyond the largest number becomes the largest"
)]
fn whole(number: f64) -> u64 {
    number as u64
}

#[cfg(test)]
mod tests;
