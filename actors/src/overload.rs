//! Overload control (SEC-D6): who looks how much there is to do, and the valve that new calls pass.
//!
//! A thread of its own looks ten times a second (`/proc` is no matter for a thread that calls pass) and asks `routing::Overload` who is let
//! in. The valve stands behind the gate, before the mailbox of the endpoint: a new call that is not let in is answered 503 there
//! and forgotten, so that it costs a fraction of a call, and everything else finds room in the mailbox.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use metrics::Metrics;
use model::{Cause, Reason, VerboseRejects};
use routing::{Admitted, LoadLimits, Overload, Seen, Sign, Turn, is_closed, sustained};
use sip::transaction::TRANSACTIONS;
use sip::{Hop, Limits, Request, Response, respond, shed};

use crate::house::Shared;
use crate::refusal;

/// How often is looked.
const LOOK: Duration = Duration::from_millis(100);
/// How often memory is looked at, the dearest of all: the kernel adds it up from many places.
const LOOK_AT_MEMORY: Duration = Duration::from_secs(1);
/// A look that was itself late by so much says nothing: the process was stopped, or the machine.
const ASLEEP: Duration = Duration::from_secs(1);
/// How often a thread says how late it comes to its work: often enough for the 100 ms that are too late, seldom enough for a switch that idles.
const BEAT: Duration = Duration::from_millis(50);
/// Of how long the delays are looked at together.
const WINDOW: Duration = Duration::from_secs(1);
/// Messages in the mailbox of the endpoint, of 1024, from which on no new call is put there: the rest is for calls that are up.
const HALF_FULL: usize = 512;
/// When callers are to come back, seconds: spread, or they would all come back at once.
const COME_BACK: std::ops::RangeInclusive<u64> = 5..=30;
/// How long a decision is remembered for the repetitions of a request (RFC 3261 17.1.1.2, timer B), and how many of them.
const REMEMBERED: Duration = Duration::from_secs(32);
const MOST_REMEMBERED: usize = 32_768;
/// How long a request of a stranger may wait.
pub(crate) const STRANGERS_WAIT: Duration = Duration::from_millis(500);

/// A limit that is never reached.
const OFF: LoadLimits = LoadLimits {
    delay: Duration::ZERO,
    cpu: 0.0,
    memory: 0,
    mailbox: Duration::ZERO,
};

/// How the load is, for an owner.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LoadReport {
    /// What is short, or was last, while calls are refused for it.
    pub reason: Option<&'static str>,
    /// The share of new calls that is let in.
    pub admitted: f64,
    /// New calls refused since the start.
    pub shed: u64,
}

/// The valve.
pub(crate) struct Valve {
    metrics: Metrics,
    limits: Limits,
    verbose_rejects: VerboseRejects,
    /// How the To tags of our refusals begin, so that their ACKs are known without being read.
    tag: String,
    keys: RandomState,
    flow: Mutex<Flow>,
    /// What the thread that looks shall hold on to.
    wanted: Mutex<LoadLimits>,
    strangers_wait: AtomicU64,
    /// New calls are refused, in part or all.
    is_shedding: AtomicBool,
    has_shed: AtomicBool,
    /// Messages in the mailbox of the endpoint.
    waiting: AtomicUsize,
    /// No new call found room there since the last look.
    was_full: AtomicBool,
    /// Transactions in the fuller of the endpoint's two tables.
    transactions: AtomicUsize,
    house: OnceLock<Weak<Shared>>,
}

/// Who is let in, and what was decided of whom.
struct Flow {
    admitted: Admitted,
    why: Option<Sign>,
    /// How many calls may come now, where there is a rate.
    room: f64,
    filled: Instant,
    /// New calls since the last look.
    offered: u64,
    let_in: u64,
    /// What was decided, this half minute and the one before.
    decided: [HashMap<u64, bool>; 2],
    turned: Instant,
}

/// What becomes of a message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Passage {
    /// It goes to the endpoint.
    Passes,
    /// It is seen to.
    Ends,
}

impl Flow {
    /// Decides of a new call, once for all its repetitions: `identity` is of this very request, `call` of its Call-ID.
    fn decide(&mut self, now: Instant, identity: u64, call: u64, is_full: bool) -> bool {
        if let Some(decided) = self.known(identity) {
            return decided;
        }
        self.offered += 1;
        self.fill(now);
        // By the Call-ID, so that who was let in is let in again with the answer to a challenge.
        let lot = call as f64 / u64::MAX as f64;
        let is_drawn = self.admitted.share >= 1.0 || lot < self.admitted.share;
        let is_in = !is_full && is_drawn && (self.admitted.rate.is_none() || self.room >= 1.0);
        if is_in {
            self.room -= 1.0;
            self.let_in += 1;
        }
        self.remember(now, identity, is_in);
        is_in
    }

    fn known(&self, identity: u64) -> Option<bool> {
        self.decided
            .iter()
            .find_map(|decided| decided.get(&identity))
            .copied()
    }

    fn remember(&mut self, now: Instant, identity: u64, is_in: bool) {
        let [present, past] = &mut self.decided;
        let is_over = now.saturating_duration_since(self.turned) >= REMEMBERED;
        if is_over || present.len() >= MOST_REMEMBERED {
            *past = std::mem::take(present);
            self.turned = now;
        }
        present.insert(identity, is_in);
    }

    /// What a rate leaves room for grows with the time.
    fn fill(&mut self, now: Instant) {
        let most = self.admitted.within(LOOK) as f64;
        let passed = now.saturating_duration_since(self.filled);
        let more = self.admitted.rate.unwrap_or(0.0) * routing::BURST * passed.as_secs_f64();
        self.room = (self.room + more).min(most);
        self.filled = now;
    }

    fn set(&mut self, now: Instant, admitted: Admitted, why: Option<Sign>) {
        self.fill(now);
        if self.admitted.rate.is_none() {
            self.room = admitted.within(LOOK) as f64;
        }
        self.admitted = admitted;
        self.why = why;
        self.fill(now);
    }
}

impl Valve {
    /// Lets everybody in. `limits` is how messages are read, `verbose_rejects` who hears the reason.
    pub(crate) fn new(
        limits: Limits,
        verbose_rejects: VerboseRejects,
        metrics: Metrics,
        now: Instant,
    ) -> Self {
        Self {
            metrics,
            limits,
            verbose_rejects,
            tag: format!("s{:08x}", rand::random::<u32>()),
            keys: RandomState::new(),
            flow: Mutex::new(Flow {
                admitted: Admitted::ALL,
                why: None,
                room: 0.0,
                filled: now,
                offered: 0,
                let_in: 0,
                decided: [HashMap::new(), HashMap::new()],
                turned: now,
            }),
            wanted: Mutex::new(OFF),
            strangers_wait: AtomicU64::new(millis(STRANGERS_WAIT)),
            is_shedding: AtomicBool::new(false),
            has_shed: AtomicBool::new(false),
            waiting: AtomicUsize::new(0),
            was_full: AtomicBool::new(false),
            transactions: AtomicUsize::new(0),
            house: OnceLock::new(),
        }
    }

    /// From now on refusals can be sent.
    pub(crate) fn open(&self, house: Weak<Shared>) {
        let _ = self.house.set(house);
    }

    /// From the next look on these limits hold; how long strangers may wait does at once.
    pub(crate) fn limit(&self, limits: LoadLimits, strangers_wait: Duration) {
        *lock(&self.wanted) = limits;
        self.strangers_wait
            .store(millis(strangers_wait), Ordering::Relaxed);
    }

    /// How the load is.
    pub(crate) fn report(&self) -> LoadReport {
        let flow = lock(&self.flow);
        LoadReport {
            reason: flow.why.map(Sign::label),
            admitted: flow.admitted.share,
            shed: self.metrics.calls_shed(),
        }
    }

    /// Looks at a message before it goes to the mailbox of the endpoint. A new call for which there is no room is answered here.
    pub(crate) fn pass(
        &self,
        now: Instant,
        source: Hop,
        is_known: impl Fn() -> bool,
        octets: &[u8],
    ) -> Passage {
        if self.has_shed.load(Ordering::Relaxed) && shed::is_ack_to(octets, &self.tag) {
            return Passage::Ends;
        }
        let is_closed = is_closed(self.filled());
        let is_crowded = self.waiting.load(Ordering::Relaxed) >= HALF_FULL;
        let is_full = is_closed || is_crowded;
        if !is_full && !self.is_shedding.load(Ordering::Relaxed) {
            return Passage::Passes;
        }
        // As the endpoint does: a panic of the parser, a bug, must not end who reads the socket.
        let read = std::panic::AssertUnwindSafe(|| shed::new_call(octets, &self.limits));
        let Ok(Some(request)) = std::panic::catch_unwind(read) else {
            return Passage::Passes;
        };
        let (identity, call) = self.hashes(&request);
        let (is_in, why) = {
            let mut flow = lock(&self.flow);
            let is_in = flow.decide(now, identity, call, is_full);
            let short = if is_closed {
                Sign::Transactions
            } else {
                Sign::Mailbox
            };
            (is_in, flow.why.unwrap_or(short))
        };
        if is_in {
            return Passage::Passes;
        }
        self.was_full.fetch_or(is_crowded, Ordering::Relaxed);
        self.refuse(source, &request, is_known(), why, identity);
        Passage::Ends
    }

    /// Notes a new call that the endpoint has before it, so that its repetitions are let in.
    pub(crate) fn came(&self, now: Instant, request: &Request) {
        let (identity, _) = self.hashes(request);
        let mut flow = lock(&self.flow);
        if flow.known(identity).is_none() {
            flow.offered += 1;
            flow.let_in += 1;
            flow.remember(now, identity, true);
        }
    }

    /// Whether a call of a Telegram user is let in; one that is not is counted.
    pub(crate) fn admits_telegram(&self, now: Instant) -> bool {
        let is_full = is_closed(self.filled());
        let (is_in, why) = {
            let mut flow = lock(&self.flow);
            let is_in = flow.decide(now, rand::random(), rand::random(), is_full);
            (is_in, flow.why.unwrap_or(Sign::Transactions))
        };
        if !is_in {
            self.metrics.call_shed("telegram", why.label());
        }
        is_in
    }

    /// A message was put into the mailbox of the endpoint.
    pub(crate) fn put(&self) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
    }

    /// The endpoint has taken one out.
    pub(crate) fn taken(&self) {
        let less = |waiting: usize| Some(waiting.saturating_sub(1));
        let _ = self
            .waiting
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    /// There is another endpoint, with an empty mailbox and empty tables.
    pub(crate) fn emptied(&self) {
        self.waiting.store(0, Ordering::Relaxed);
        self.transactions.store(0, Ordering::Relaxed);
    }

    /// So many transactions are in the endpoint's tables of clients and of servers.
    pub(crate) fn holds(&self, clients: usize, servers: usize) {
        let most = clients.max(servers);
        self.transactions.store(most, Ordering::Relaxed);
    }

    /// Which share of the fuller one is taken.
    fn filled(&self) -> f64 {
        self.transactions.load(Ordering::Relaxed) as f64 / TRANSACTIONS as f64
    }

    /// How long requests of strangers may wait; zero: as long as they do.
    pub(crate) fn strangers_wait(&self) -> Duration {
        Duration::from_millis(self.strangers_wait.load(Ordering::Relaxed))
    }

    fn hashes(&self, request: &Request) -> (u64, u64) {
        let identity = shed::identity(request);
        let call = self.keys.hash_one(&identity.1);
        (self.keys.hash_one(&identity), call)
    }

    fn refuse(&self, source: Hop, request: &Request, is_known: bool, why: Sign, identity: u64) {
        let Some(house) = self.house.get().and_then(Weak::upgrade) else {
            return;
        };
        self.has_shed.store(true, Ordering::Relaxed);
        let response = refused(request, self.verbose_rejects, is_known, &self.tag, identity);
        self.metrics.call_shed("sip", why.label());
        self.metrics.sip_request(metrics::Flow::In, "INVITE");
        self.metrics
            .sip_response(metrics::Flow::Out, "INVITE", response.status);
        house.send_sip(source, shed::encode(response, source));
    }
}

/// The refusal of a new call: 503 with `Retry-After`. `lot` is any number that is the same for its repetitions.
fn refused(
    request: &Request,
    policy: VerboseRejects,
    is_known: bool,
    tag: &str,
    lot: u64,
) -> Response {
    let (first, last) = COME_BACK.into_inner();
    let wait = first + lot % (last - first + 1);
    let cause = Cause::new(Reason::Overloaded).with_retry_after(Duration::from_secs(wait));
    let tag = format!("{tag}{lot:016x}");
    if refusal::is_told(policy, is_known) {
        return refusal::response(request, &cause, &tag);
    }
    let mut response = respond(request, cause.code(), "", Some(&tag));
    response
        .headers
        .push(sip::HeaderName::from("Retry-After"), wait);
    response
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while it was held would have left a number too low, not a structure broken.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// How late a thread comes to its work.
#[derive(Debug, Clone)]
pub(crate) struct Lateness(Arc<Mutex<Late>>);

#[derive(Debug, Default)]
struct Late {
    /// When it will come next, if it is on time; nothing before the first time.
    due: Option<Instant>,
    /// When it came, and how late.
    past: VecDeque<(Instant, Duration)>,
}

impl Lateness {
    fn new() -> Self {
        Self(Arc::default())
    }

    /// Notes it again and again; to be spawned on the runtime of the thread.
    async fn run(self) {
        loop {
            let now = Instant::now();
            lock(&self.0).came(now);
            tokio::time::sleep(BEAT).await;
        }
    }
}

impl Late {
    fn came(&mut self, now: Instant) {
        if let Some(due) = self.due.replace(now + BEAT) {
            self.past
                .push_back((now, now.saturating_duration_since(due)));
        }
        self.forget(now);
    }

    fn forget(&mut self, now: Instant) {
        let is_old = |at: Instant| now.saturating_duration_since(at) > WINDOW;
        while self.past.front().is_some_and(|(at, _)| is_old(*at)) {
            self.past.pop_front();
        }
    }

    /// The delay of the last second at the 99th percentile, with that of a thread that is late still.
    fn p99(&mut self, now: Instant) -> Duration {
        self.forget(now);
        let mut delays: Vec<Duration> = self.past.iter().map(|(_, late)| *late).collect();
        let is_late = |due: &Instant| *due + BEAT < now;
        delays.extend(
            self.due
                .filter(is_late)
                .map(|due| now.saturating_duration_since(due)),
        );
        delays.sort_unstable();
        let rank = (delays.len() * 99).div_ceil(100);
        delays
            .get(rank.saturating_sub(1))
            .copied()
            .unwrap_or_default()
    }

    /// Begins anew.
    fn excuse(&mut self) {
        *self = Self::default();
    }
}

/// Looks until the valve is gone.
pub(crate) struct Overseer {
    valve: Weak<Valve>,
    metrics: Metrics,
    threads: Vec<Lateness>,
    overload: Overload,
    processors: f64,
    cpu: Option<Duration>,
    /// What was free, and when that was looked at.
    memory: Option<(Instant, Option<u64>)>,
    refused: u64,
    shed: u64,
    last: Instant,
}

impl Overseer {
    /// For this valve. `kept` is how long a transaction is kept at the most.
    pub(crate) fn new(valve: &Arc<Valve>, metrics: Metrics, kept: Duration) -> Self {
        Self {
            valve: Arc::downgrade(valve),
            metrics,
            threads: Vec::new(),
            overload: Overload::new(OFF).sustains(sustained(TRANSACTIONS, kept)),
            processors: net::load::processors() as f64,
            cpu: net::load::cpu_time(),
            memory: None,
            refused: 0,
            shed: 0,
            last: Instant::now(),
        }
    }

    /// What one more thread has to run.
    pub(crate) fn watch(&mut self) -> impl Future<Output = ()> + Send + 'static {
        let lateness = Lateness::new();
        self.threads.push(lateness.clone());
        lateness.run()
    }

    /// Begins, on a thread of its own.
    pub(crate) fn start(mut self) -> std::io::Result<()> {
        thread::Builder::new()
            .name("overseer".to_owned())
            .spawn(move || {
                while let Some(valve) = self.valve.upgrade() {
                    self.look(&valve);
                    drop(valve);
                    thread::sleep(LOOK);
                }
            })
            .map(drop)
    }

    fn look(&mut self, valve: &Valve) {
        let now = Instant::now();
        let elapsed = now.saturating_duration_since(std::mem::replace(&mut self.last, now));
        let cpu = net::load::cpu_time();
        let before = std::mem::replace(&mut self.cpu, cpu);
        if elapsed > LOOK + ASLEEP {
            for thread in &self.threads {
                lock(&thread.0).excuse();
            }
            return;
        }
        let busy = cpu.zip(before).map_or(0.0, |(now, before)| {
            now.saturating_sub(before).as_secs_f64()
        });
        let free = self.free_memory(now);
        let delays = self.threads.iter().map(|thread| lock(&thread.0).p99(now));
        let delay = delays.max().unwrap_or_default();
        let refused = self.metrics.mailboxes_refused() + self.metrics.sip_dropped_so_far();
        let was_full = valve.was_full.swap(false, Ordering::Relaxed);
        self.overload.set_limits(*lock(&valve.wanted));
        let mut flow = lock(&valve.flow);
        let seen = Seen {
            elapsed,
            delay,
            cpu: busy / (elapsed.as_secs_f64() * self.processors).max(f64::EPSILON),
            free,
            refused: std::mem::replace(&mut self.refused, refused) != refused || was_full,
            filled: valve.filled(),
            offered: std::mem::take(&mut flow.offered),
            admitted: std::mem::take(&mut flow.let_in),
        };
        let (admitted, turn) = self.overload.look(now, seen);
        flow.set(now, admitted, self.overload.why());
        drop(flow);
        valve
            .is_shedding
            .store(admitted.rate.is_some(), Ordering::Relaxed);
        let signs: Vec<_> = self
            .overload
            .signs()
            .iter()
            .map(|sign| sign.label())
            .collect();
        self.metrics
            .load(admitted.rate.is_some(), &signs, admitted.share);
        self.tell(turn, &seen);
    }

    fn free_memory(&mut self, now: Instant) -> Option<u64> {
        let is_new = |at: Instant| now.saturating_duration_since(at) < LOOK_AT_MEMORY;
        match self.memory {
            Some((at, free)) if is_new(at) => free,
            Some(_) | None => {
                let free = net::load::free_memory();
                self.memory = Some((now, free));
                free
            }
        }
    }

    fn tell(&mut self, turn: Option<Turn>, seen: &Seen) {
        match turn {
            None => {}
            Some(Turn::Begins(sign)) => {
                self.shed = self.metrics.calls_shed();
                let Seen {
                    delay, cpu, free, ..
                } = seen;
                let free_mib = free.map(|free| free >> 20);
                let cpu_percent = (cpu * 100.0).round();
                tracing::warn!(
                    reason = sign.label(),
                    ?delay,
                    cpu_percent,
                    ?free_mib,
                    "overload begins: new calls are refused in part"
                );
            }
            Some(Turn::Over(lasted)) => {
                let refused = self.metrics.calls_shed().saturating_sub(self.shed);
                tracing::info!(?lasted, refused, "overload is over: new calls are let in");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn valve(now: Instant) -> Valve {
        Valve::new(
            Limits::default(),
            VerboseRejects::All,
            Metrics::new("0"),
            now,
        )
    }

    fn invite(call: usize) -> Vec<u8> {
        format!(
            "INVITE sip:6@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.7;branch=z9hG4bK{call}\r\nMax-Forwards: 70\r\n\
             From: <sip:1@192.0.2.7>;tag=1\r\nTo: <sip:6@192.0.2.1>\r\nCall-ID: {call}\r\nCSeq: 1 INVITE\r\n\
             Contact: <sip:1@192.0.2.7>\r\nContent-Length: 0\r\n\r\n"
        )
        .into_bytes()
    }

    fn source() -> Hop {
        Hop::udp(SocketAddr::from(([192, 0, 2, 7], 5060)))
    }

    fn shed(valve: &Valve, now: Instant, share: f64, rate: f64) {
        let admitted = Admitted {
            share,
            rate: Some(rate),
        };
        lock(&valve.flow).set(now, admitted, Some(Sign::Cpu));
        valve.is_shedding.store(true, Ordering::Relaxed);
    }

    fn passes(valve: &Valve, now: Instant, octets: &[u8]) -> bool {
        valve.pass(now, source(), || true, octets) == Passage::Passes
    }

    #[test]
    fn a_share_of_the_calls_is_let_in_and_a_repetition_fares_like_the_first() {
        let now = Instant::now();
        let valve = valve(now);
        shed(&valve, now, 0.25, 1e6);
        let first: Vec<bool> = (0..2000)
            .map(|call| passes(&valve, now, &invite(call)))
            .collect();
        let let_in = first.iter().filter(|passed| **passed).count();
        assert!((400..600).contains(&let_in), "{let_in} of 2000");
        // Whatever is decided of others meanwhile.
        for share in [0.0, 1.0] {
            shed(&valve, now, share, 1e6);
            let again: Vec<bool> = (0..2000)
                .map(|call| passes(&valve, now, &invite(call)))
                .collect();
            assert_eq!(again, first);
        }
    }

    #[test]
    fn a_call_that_came_before_the_overload_is_not_refused_with_its_repetition() {
        let now = Instant::now();
        let valve = valve(now);
        let request = sip::shed::new_call(&invite(1), &Limits::default()).unwrap();
        valve.came(now, &request);
        shed(&valve, now, 0.0, 0.0);
        assert!(passes(&valve, now, &invite(1)));
        assert!(!passes(&valve, now, &invite(2)));
    }

    #[test]
    fn what_is_no_new_call_passes_always() {
        let now = Instant::now();
        let valve = valve(now);
        shed(&valve, now, 0.0, 0.0);
        for _ in 0..1024 {
            valve.put();
        }
        for method in ["BYE", "CANCEL", "ACK", "REGISTER", "OPTIONS", "INFO"] {
            let text = String::from_utf8(invite(1)).unwrap();
            assert!(passes(
                &valve,
                now,
                text.replace("INVITE", method).as_bytes()
            ));
        }
        assert!(passes(&valve, now, b"SIP/2.0 200 OK\r\n\r\n"));
        assert!(passes(&valve, now, b"INVITE nonsense"));
    }

    #[test]
    fn a_mailbox_that_is_half_full_takes_no_new_call() {
        let now = Instant::now();
        let valve = valve(now);
        for _ in 0..HALF_FULL {
            valve.put();
        }
        assert!(!passes(&valve, now, &invite(1)));
        valve.taken();
        assert!(passes(&valve, now, &invite(2)));
        for _ in 0..HALF_FULL {
            valve.put();
        }
        valve.emptied();
        assert!(passes(&valve, now, &invite(3)));
    }

    #[test]
    fn a_table_that_is_nearly_full_takes_no_new_call_at_once() {
        let now = Instant::now();
        let valve = valve(now);
        valve.holds(TRANSACTIONS / 2, TRANSACTIONS * 8 / 10);
        assert!(passes(&valve, now, &invite(1)) && valve.admits_telegram(now));
        for (clients, servers) in [
            (0, TRANSACTIONS * 9 / 10),
            (TRANSACTIONS * 9 / 10, 0),
            (TRANSACTIONS, TRANSACTIONS),
        ] {
            valve.holds(clients, servers);
            let call = clients + 2 * servers;
            assert!(!passes(&valve, now, &invite(call)));
            assert!(!valve.admits_telegram(now));
            let bye = String::from_utf8(invite(call)).unwrap();
            assert!(passes(&valve, now, bye.replace("INVITE", "BYE").as_bytes()));
        }
        assert!(
            !valve.was_full.load(Ordering::Relaxed),
            "the mailbox has room"
        );
        valve.emptied();
        assert!(passes(&valve, now, &invite(5)));
    }

    #[test]
    fn a_rate_cuts_what_comes_at_once_and_makes_room_again() {
        let now = Instant::now();
        let valve = valve(now);
        shed(&valve, now, 1.0, 100.0);
        let let_in = |at: Instant, calls: std::ops::Range<usize>| {
            calls
                .filter(|call| passes(&valve, at, &invite(*call)))
                .count()
        };
        assert_eq!(let_in(now, 0..1000), 15);
        assert_eq!(let_in(now + Duration::from_millis(20), 1000..2000), 3);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let now = Instant::now();
        let valve = valve(now);
        let mut flow = lock(&valve.flow);
        for identity in 0..MOST_REMEMBERED as u64 * 5 {
            flow.remember(now, identity, false);
        }
        let kept: usize = flow.decided.iter().map(HashMap::len).sum();
        assert!(kept <= 2 * MOST_REMEMBERED);
        flow.remember(now + REMEMBERED, 0, true);
        flow.remember(now + REMEMBERED * 2, 0, true);
        let kept: usize = flow.decided.iter().map(HashMap::len).sum();
        assert_eq!(kept, 2);
    }

    #[test]
    fn the_refusal_says_when_to_come_back_and_strangers_hear_no_reason() {
        let request = sip::shed::new_call(&invite(1), &Limits::default()).unwrap();
        let mut waits = std::collections::HashSet::new();
        for lot in 0..1000 {
            for is_known in [true, false] {
                let response = refused(&request, VerboseRejects::Trusted, is_known, "sx", lot);
                assert_eq!(response.status, 503);
                let header = |name: &str| response.headers.get(&sip::HeaderName::from(name));
                let wait: u64 = header("Retry-After").unwrap().parse().unwrap();
                assert!((5..=30).contains(&wait));
                waits.insert(wait);
                assert_eq!(header("Reason").is_some(), is_known);
                let to = response.headers.to().unwrap();
                assert!(to.tag().unwrap().starts_with("sx"));
            }
        }
        assert_eq!(waits.len(), 26);
    }

    #[test]
    fn a_thread_that_comes_late_or_not_at_all_is_seen() {
        let began = Instant::now();
        let ms = Duration::from_millis;
        let mut late = Late::default();
        assert_eq!(late.p99(began), Duration::ZERO, "it has not begun");
        for beat in 0..20 {
            late.came(began + BEAT * beat);
        }
        let now = began + BEAT * 20;
        assert_eq!(late.p99(now), Duration::ZERO);
        assert_eq!(late.p99(now + ms(300)), ms(300), "it is late still");
        late.came(now + ms(300));
        assert_eq!(late.p99(now + ms(300)), ms(300));
        // A second later it is forgotten.
        for beat in 1..24 {
            late.came(now + ms(300) + BEAT * beat);
        }
        assert_eq!(late.p99(now + ms(300) + BEAT * 24), Duration::ZERO);
    }
}
