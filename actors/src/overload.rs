//! Overload control (SEC-D6): who looks how much there is to do, and the valve that new calls pass.
//!
//! A thread of its own looks ten times a second (`/proc` is no matter for a thread that calls pass) and asks `routing::Overload` who is let
//! in. The valve stands behind the gate, before the mailbox of the endpoint: a new call that is not let in is answered 503 there
//! and forgotten, so that it costs a fraction of a call, and everything else finds room in the mailbox.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use metrics::Metrics;
use model::{Cause, Reason, VerboseRejects};
use routing::{Admitted, Announced, LoadLimits, Meant, Overload, Seen, Sign, Turn, is_closed};
use sip::oc::{self, Load};
use sip::transaction::TRANSACTIONS;
use sip::{Hop, Limits, Request, Response, respond, shed};

use crate::house::{Shared, steady_millis};
use crate::refusal;

mod neighbours;

use neighbours::Neighbours;

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
    /// What neighbours are asked for that hold back by themselves (RFC 7339): the time in milliseconds since 1970, and in the lowest octet how many of a
    /// hundred calls are not to be sent.
    asked: AtomicU64,
    house: OnceLock<Weak<Shared>>,
}

/// Who is let in, and what was decided of whom.
struct Flow {
    admitted: Admitted,
    why: Option<Sign>,
    /// What those are asked for who hold back by themselves.
    announced: Announced,
    /// How many calls may come now, where there is a rate.
    room: f64,
    filled: Instant,
    /// Who holds back, and what.
    neighbours: Neighbours,
    /// New calls since the last look.
    offered: Meant,
    let_in: u64,
    /// What was decided, this half minute and the one before.
    decided: [HashMap<u64, bool>; 2],
    turned: Instant,
}

/// What tells one new call from another.
#[derive(Debug, Clone, Copy)]
struct NewCall {
    /// Of this very request.
    identity: u64,
    /// Of its Call-ID.
    call: u64,
    /// Who sent it, where he is known and offers to hold back what he is asked to (RFC 7339).
    neighbour: Option<IpAddr>,
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
    /// Decides of a new call, once for all its repetitions.
    fn decide(&mut self, now: Instant, call: NewCall, is_full: bool) -> bool {
        let NewCall {
            identity,
            call,
            neighbour,
        } = call;
        if let Some(decided) = self.known(identity) {
            return decided;
        }
        let told = self.count(now, neighbour);
        self.fill(now);
        // By the Call-ID, so that who was let in is let in again with the answer to a challenge.
        let lot = call as f64 / u64::MAX as f64;
        let share = told.map_or(self.admitted.share, |told| told.share(self.admitted));
        let is_drawn = share >= 1.0 || lot < share;
        let is_in = !is_full && is_drawn && (self.admitted.rate.is_none() || self.room >= 1.0);
        if is_in {
            self.room -= 1.0;
            self.let_in += 1;
        }
        self.remember(now, identity, is_in);
        is_in
    }

    /// Counts a new call, and gives what its caller was told and holds back by.
    fn count(&mut self, now: Instant, neighbour: Option<IpAddr>) -> Option<Announced> {
        let told = neighbour.and_then(|address| self.neighbours.told(now, address));
        self.offered.count(told);
        told
    }

    /// How many calls came since the last time this was asked, and how many were let in. Of who holds back those count that he has not sent.
    fn counted(&mut self) -> (u64, u64) {
        (self.offered.take(), std::mem::take(&mut self.let_in))
    }

    /// A neighbour is told with a response that of a hundred calls so many are not to be sent.
    fn tell(&mut self, now: Instant, neighbour: Option<IpAddr>, percent: u8) {
        if let Some(neighbour) = neighbour {
            self.neighbours.tell(now, neighbour, percent);
        }
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
        self.announced = Announced::of(admitted);
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
                announced: Announced::NOTHING,
                room: 0.0,
                filled: now,
                neighbours: Neighbours::default(),
                offered: Meant::default(),
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
            asked: AtomicU64::new(steady_millis() << 8),
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
        let call = self.new_call(source, &is_known, &request);
        let (is_in, why) = {
            let mut flow = lock(&self.flow);
            let is_in = flow.decide(now, call, is_full);
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
        self.refuse(now, source, &request, is_known(), why, call);
        Passage::Ends
    }

    /// Notes a new call that the endpoint has before it, so that its repetitions are let in.
    pub(crate) fn came(
        &self,
        now: Instant,
        source: Hop,
        is_known: impl Fn() -> bool,
        request: &Request,
    ) {
        let call = self.new_call(source, &is_known, request);
        let asked = self.load().percent();
        let mut flow = lock(&self.flow);
        if flow.known(call.identity).is_none() {
            flow.count(now, call.neighbour);
            flow.let_in += 1;
            flow.remember(now, call.identity, true);
        }
        // The 100 says so, at once.
        flow.tell(now, call.neighbour, asked);
    }

    /// Whether a call of a Telegram user is let in; one that is not is counted.
    pub(crate) fn admits_telegram(&self, now: Instant) -> bool {
        let is_full = is_closed(self.filled());
        let (is_in, why) = {
            let mut flow = lock(&self.flow);
            let call = NewCall {
                identity: rand::random(),
                call: rand::random(),
                neighbour: None,
            };
            let is_in = flow.decide(now, call, is_full);
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

    fn new_call(&self, source: Hop, is_known: &impl Fn() -> bool, request: &Request) -> NewCall {
        let identity = shed::identity(request);
        let is_neighbour = offers(request) && is_known();
        NewCall {
            identity: self.keys.hash_one(&identity),
            call: self.keys.hash_one(&identity.1),
            neighbour: is_neighbour.then(|| source.ip()),
        }
    }

    /// From now on neighbours that hold back by themselves are asked for this.
    fn announce(&self, announced: Announced) {
        // Neighbours go by what is newest (RFC 7339 4.4): a clock that is set back must make nothing older.
        let asked = steady_millis() << 8 | u64::from(announced.percent());
        self.asked.store(asked, Ordering::Relaxed);
    }

    /// What responses ask for.
    pub(crate) fn load(&self) -> Load {
        let asked = self.asked.load(Ordering::Relaxed);
        let [percent, ..] = asked.to_le_bytes();
        Load::new(percent, Duration::from_millis(asked >> 8))
    }

    /// What a new call is answered for which there is no room; who offers it is told what to hold back.
    fn refusal(&self, now: Instant, request: &Request, is_known: bool, call: NewCall) -> Response {
        let lot = call.identity;
        let load = self.load();
        // Who holds back has been told for how many calls there is room, and would stay away with all (RFC 7339 5.10.2).
        let wait = (load.percent() == 0 || !offers(request)).then(|| come_back(lot));
        let mut response = refused(
            request,
            self.verbose_rejects,
            is_known,
            &self.tag,
            lot,
            wait,
        );
        load.write(&mut response);
        lock(&self.flow).tell(now, call.neighbour, load.percent());
        response
    }

    fn refuse(
        &self,
        now: Instant,
        source: Hop,
        request: &Request,
        is_known: bool,
        why: Sign,
        call: NewCall,
    ) {
        let Some(house) = self.house.get().and_then(Weak::upgrade) else {
            return;
        };
        self.has_shed.store(true, Ordering::Relaxed);
        let response = self.refusal(now, request, is_known, call);
        self.metrics.call_shed("sip", why.label());
        self.metrics.sip_request(metrics::Flow::In, "INVITE");
        self.metrics
            .sip_response(metrics::Flow::Out, "INVITE", response.status);
        house.send_sip(source, shed::encode(response, source));
    }
}

/// Whether who sent this says that he holds back what he is asked to.
fn offers(request: &Request) -> bool {
    let via = request.headers.via();
    via.is_some_and(|via| oc::is_offered(&via))
}

/// When a caller is to come back. `lot` is any number that is the same for the repetitions of his call.
fn come_back(lot: u64) -> Duration {
    let (first, last) = COME_BACK.into_inner();
    Duration::from_secs(first + lot % (last - first + 1))
}

/// The refusal of a new call: 503, with `Retry-After` where it is to say when to come back. `lot` is any number that is the same for
/// its repetitions.
fn refused(
    request: &Request,
    policy: VerboseRejects,
    is_known: bool,
    tag: &str,
    lot: u64,
    wait: Option<Duration>,
) -> Response {
    let cause = Cause::new(Reason::Overloaded);
    let cause = match wait {
        Some(wait) => cause.with_retry_after(wait),
        None => cause,
    };
    let tag = format!("{tag}{lot:016x}");
    if refusal::is_told(policy, is_known) {
        return refusal::response(request, &cause, &tag);
    }
    let mut response = respond(request, cause.code(), "", Some(&tag));
    if let Some(wait) = wait {
        let name = sip::HeaderName::from("Retry-After");
        response.headers.push(name, wait.as_secs());
    }
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
    cpu: Duration,
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
            overload: Overload::new(OFF).with_table(TRANSACTIONS, kept),
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
        let busy = cpu.saturating_sub(before).as_secs_f64();
        let free = self.free_memory(now);
        let delays = self.threads.iter().map(|thread| lock(&thread.0).p99(now));
        let delay = delays.max().unwrap_or_default();
        let refused = self.metrics.mailboxes_refused() + self.metrics.sip_dropped_so_far();
        let was_full = valve.was_full.swap(false, Ordering::Relaxed);
        self.overload.set_limits(*lock(&valve.wanted));
        let mut flow = lock(&valve.flow);
        let (offered, let_in) = flow.counted();
        let seen = Seen {
            elapsed,
            delay,
            cpu: busy / (elapsed.as_secs_f64() * self.processors).max(f64::EPSILON),
            free,
            refused: std::mem::replace(&mut self.refused, refused) != refused || was_full,
            filled: valve.filled(),
            offered,
            admitted: let_in,
        };
        let (admitted, turn) = self.overload.look(now, seen);
        flow.set(now, admitted, self.overload.why());
        valve.announce(flow.announced);
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
mod tests;
