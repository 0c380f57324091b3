//! Supervision: who notices a death, and what follows from it.
//!
//! `actix::Supervisor` does not restart after a panic, it dies in the same task; so every actor carries a [`Watch`], whose
//! `Drop` runs on a stop, on unwinding and on the end of an arbiter alike, and tells the parent. The parent holds what it
//! takes to build a fresh actor, never the dead value.

use std::cell::Cell;
use std::time::{Duration, Instant};

use actix::fut::{ActorStreamExt as _, wrap_stream};
use actix::{Actor, Addr, AsyncContext as _, Handler, Message, Recipient};
use rand::Rng;
use tokio::sync::watch;

use crate::registry::Registry;

/// Time between two looks of an actor at its own mailbox.
const PROBE_EVERY: Duration = Duration::from_secs(5);

/// A child has ended.
#[derive(Message, Debug, Clone, PartialEq, Eq)]
#[rtype(result = "()")]
pub(crate) struct Down {
    /// Which one.
    pub(crate) who: Unit,
    /// True after a panic, false after an orderly stop.
    pub(crate) panicked: bool,
}

/// The units that are supervised.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Unit {
    /// The store's one thread.
    Keeper,
    /// The registry.
    Registry,
    /// The SIP front door.
    Endpoint,
    /// A trunk.
    Trunk(model::TrunkName),
    /// A Telegram session.
    Session(model::SessionName),
    /// A call.
    Call(model::CallId),
    /// One leg of a call.
    Leg(model::CallId, model::LegId),
    /// A text on its way to a PBX.
    Text,
}

impl Unit {
    /// The value of the metric label `actor`.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Unit::Keeper => "keeper",
            Unit::Registry => "registry",
            Unit::Endpoint => "endpoint",
            Unit::Trunk(_) => "trunk",
            Unit::Session(_) => "session",
            Unit::Call(_) => "call",
            Unit::Leg(..) => "leg",
            Unit::Text => "text",
        }
    }
}

/// The death notice every actor carries.
pub(crate) struct Watch {
    who: Unit,
    parent: Parent,
    metrics: metrics::Metrics,
    messages: metrics::Counter,
    /// Tells the mailboxes of one kind apart.
    instance: u64,
    /// Messages of this actor so far.
    handled: Cell<u64>,
    /// Its end is wanted, and nobody need hear of it.
    is_dismissed: Cell<bool>,
}

/// An actor -> itself: how long does a message wait here, and behind how many others?
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Probe {
    sent: Instant,
    handled: u64,
}

/// An actor that carries a [`Watch`].
pub(crate) trait Watched: Actor<Context = actix::Context<Self>> + Handler<Probe> {
    /// Its watch.
    fn watch(&self) -> &Watch;
}

/// From now on the actor looks at its own mailbox; belongs into its `started`. The handle ends that.
pub(crate) fn probe<A: Watched>(ctx: &mut actix::Context<A>) -> actix::SpawnHandle {
    ctx.run_interval(PROBE_EVERY, |actor, ctx| {
        let handled = actor.watch().handled.get();
        let sent = Instant::now();
        ctx.address().do_send(Probe { sent, handled });
    })
}

/// Lets an actor with a `watch` look at its own mailbox.
macro_rules! watched {
    ($($actor:ty),* $(,)?) => {$(
        impl crate::supervise::Watched for $actor {
            fn watch(&self) -> &crate::supervise::Watch {
                &self.watch
            }
        }

        impl actix::Handler<crate::supervise::Probe> for $actor {
            type Result = ();

            fn handle(&mut self, probe: crate::supervise::Probe, _: &mut Self::Context) {
                self.watch.handled();
                self.watch.probed(&probe);
            }
        }
    )*};
}
pub(crate) use watched;

/// Who hears of a death.
pub(crate) enum Parent {
    /// This very actor.
    Actor(Recipient<Down>),
    /// Whatever incarnation of the registry there is then.
    Registry(Door<Registry>),
}

impl Watch {
    pub(crate) fn new(who: Unit, parent: Parent, metrics: metrics::Metrics) -> Self {
        metrics.actor_started(who.kind());
        let messages = metrics.actor_messages(who.kind());
        Self {
            who,
            parent,
            metrics,
            messages,
            instance: rand::random(),
            handled: Cell::new(0),
            is_dismissed: Cell::new(false),
        }
    }

    /// Counts a message; the first line of every handler.
    pub(crate) fn handled(&self) {
        self.messages.inc();
        self.handled.set(self.handled.get() + 1);
    }

    /// From now on the end of this actor is what its parent wants, and no death.
    pub(crate) fn dismiss(&self) {
        self.is_dismissed.set(true);
    }

    /// Notes what a probe found; itself it does not count.
    pub(crate) fn probed(&self, probe: &Probe) {
        let behind = (self.handled.get() - 1).saturating_sub(probe.handled);
        self.metrics
            .actor_waited(self.who.kind(), self.instance, probe.sent.elapsed(), behind);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.metrics.actor_stopped(self.who.kind());
        self.metrics.mailbox_closed(self.who.kind(), self.instance);
        if self.is_dismissed.get() {
            return;
        }
        let down = Down {
            who: self.who.clone(),
            panicked: std::thread::panicking(),
        };
        // A parent that is gone as well needs no notice.
        match &self.parent {
            Parent::Actor(parent) => parent.do_send(down),
            Parent::Registry(door) => {
                if let Some(registry) = door.open() {
                    registry.do_send(down);
                }
            }
        }
    }
}

/// How long to wait before a permanent unit is started again.
#[derive(Debug)]
pub(crate) struct Backoff {
    ceiling: Duration,
    deaths: Vec<Instant>,
    next: Duration,
}

/// What to do about a death.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Start a fresh one after this long.
    Restart(Duration),
    /// It dies too often: mark it failed, and try again after this long.
    Failed(Duration),
}

impl Backoff {
    /// The first wait, doubled at each death.
    const FLOOR: Duration = Duration::from_millis(100);
    /// More deaths than this within [`Backoff::WINDOW`] mark the unit failed.
    const INTENSITY: usize = 5;
    const WINDOW: Duration = Duration::from_secs(10);
    const RETRY_FAILED: Duration = Duration::from_secs(300);
    /// A unit that lived this long begins anew.
    const HEALTHY: Duration = Duration::from_secs(600);

    /// For the endpoint, the keeper and the registry.
    pub(crate) fn core() -> Self {
        Self::up_to(Duration::from_secs(30))
    }

    /// For trunks and sessions, which talk to somebody outside.
    pub(crate) fn outward() -> Self {
        Self::up_to(Duration::from_secs(300))
    }

    fn up_to(ceiling: Duration) -> Self {
        Self {
            ceiling,
            deaths: Vec::new(),
            next: Self::FLOOR,
        }
    }

    /// Notes a death and says what follows.
    pub(crate) fn death(&mut self, now: Instant, rng: &mut impl Rng) -> Verdict {
        if self
            .deaths
            .last()
            .is_some_and(|last| now.duration_since(*last) > Self::HEALTHY)
        {
            self.next = Self::FLOOR;
        }
        self.deaths
            .retain(|at| now.duration_since(*at) <= Self::WINDOW);
        self.deaths.push(now);
        if self.deaths.len() >= Self::INTENSITY {
            return Verdict::Failed(Self::RETRY_FAILED);
        }
        let wait = self.next.mul_f64(rng.random_range(0.8..1.2));
        self.next = (self.next * 2).min(self.ceiling);
        Verdict::Restart(wait)
    }
}

/// Where the present incarnation of a permanent actor is found; the parent publishes, everybody else posts.
pub(crate) struct Door<A: Actor> {
    address: watch::Receiver<Option<Addr<A>>>,
}

impl<A: Actor> Clone for Door<A> {
    fn clone(&self) -> Self {
        Self {
            address: self.address.clone(),
        }
    }
}

impl<A: Actor> Door<A> {
    /// The living incarnation, if there is one just now.
    pub(crate) fn open(&self) -> Option<Addr<A>> {
        self.address.borrow().clone().filter(Addr::connected)
    }

    /// Waits for a living incarnation other than the last one seen through this clone; `None` when there will be no more. One that
    /// [`Door::open`] found was not seen by that, and may be dead by now.
    pub(crate) async fn next(&mut self) -> Option<Addr<A>> {
        loop {
            self.address.changed().await.ok()?;
            let address = self.address.borrow_and_update().clone();
            if let Some(address) = address.filter(Addr::connected) {
                return Some(address);
            }
        }
    }
}

/// Does this each time another incarnation opens the door, for it knows nothing of whoever its predecessor knew; belongs into `started`.
pub(crate) fn at_each_return<A, T>(
    ctx: &mut actix::Context<A>,
    door: &Door<T>,
    back: impl Fn(&mut A, &mut actix::Context<A>) + 'static,
) where
    A: Actor<Context = actix::Context<A>>,
    T: Actor,
{
    let returns = futures_util::stream::unfold(door.clone(), async |mut door| {
        door.next().await.map(|_| ((), door))
    });
    let each = wrap_stream(returns).map(move |(), actor, ctx| back(actor, ctx));
    ctx.spawn(each.finish());
}

/// The parent's side of a [`Door`].
pub(crate) struct DoorKeeper<A: Actor> {
    address: watch::Sender<Option<Addr<A>>>,
}

impl<A: Actor> Default for DoorKeeper<A> {
    fn default() -> Self {
        Self {
            address: watch::Sender::new(None),
        }
    }
}

impl<A: Actor> DoorKeeper<A> {
    /// Publishes a fresh incarnation.
    pub(crate) fn publish(&self, address: Addr<A>) {
        self.address.send_replace(Some(address));
    }

    /// A door to whatever incarnation there is now and later.
    pub(crate) fn door(&self) -> Door<A> {
        Door {
            address: self.address.subscribe(),
        }
    }
}

/// Held by a call; its legs end their own side when it drops, whatever the reason.
pub(crate) struct CrashGroup {
    alive: watch::Sender<()>,
}

impl CrashGroup {
    pub(crate) fn new() -> Self {
        Self {
            alive: watch::Sender::new(()),
        }
    }

    /// What a leg waits on: ends when the group has dropped.
    pub(crate) fn member(&self) -> Member {
        Member {
            alive: self.alive.subscribe(),
        }
    }
}

/// A leg's side of a [`CrashGroup`].
pub(crate) struct Member {
    alive: watch::Receiver<()>,
}

impl Member {
    /// Returns when the group has dropped.
    pub(crate) async fn abandoned(mut self) {
        while self.alive.changed().await.is_ok() {}
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;

    #[test]
    fn waits_double_and_too_many_deaths_mark_a_unit_failed() {
        let mut rng = SmallRng::seed_from_u64(1);
        let mut backoff = Backoff::core();
        let start = Instant::now();
        let mut last = Duration::ZERO;
        for n in 0..4u64 {
            let Verdict::Restart(wait) = backoff.death(start + Duration::from_secs(n), &mut rng)
            else {
                panic!("failed too early")
            };
            assert!(wait > last.mul_f64(1.3), "{wait:?} after {last:?}");
            last = wait;
        }
        assert_eq!(
            backoff.death(start + Duration::from_secs(4), &mut rng),
            Verdict::Failed(Backoff::RETRY_FAILED)
        );
    }

    #[test]
    fn deaths_far_apart_never_mark_a_unit_failed() {
        let mut rng = SmallRng::seed_from_u64(1);
        let mut backoff = Backoff::core();
        let start = Instant::now();
        for n in 0..20u64 {
            let verdict = backoff.death(start + Duration::from_secs(700 * n), &mut rng);
            let Verdict::Restart(wait) = verdict else {
                panic!("{verdict:?}")
            };
            assert!(
                wait < Duration::from_millis(121),
                "a healthy unit begins anew: {wait:?}"
            );
        }
    }

    /// actix has no place where all messages pass.
    #[test]
    fn every_handler_counts_its_message() {
        let mut files = vec![std::path::PathBuf::from(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/src"
        ))];
        let mut handlers = 0;
        while let Some(path) = files.pop() {
            if path.is_dir() {
                let entries = std::fs::read_dir(&path).unwrap();
                files.extend(entries.map(|entry| entry.unwrap().path()));
                continue;
            }
            // Those only serve tests.
            if path.ends_with("crash.rs")
                || path.components().any(|part| part.as_os_str() == "tests")
            {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            for handler in text.split("\nimpl Handler<").skip(1) {
                let head = handler.lines().next().unwrap();
                // Root only hears of deaths, and has no watch over itself.
                let counts = handler.contains("self.watch.handled();");
                assert!(
                    counts || head.ends_with("for Root {"),
                    "{} {head}",
                    path.display()
                );
                handlers += 1;
            }
        }
        assert!(handlers > 40, "{handlers}");
    }

    /// Says whether it has seen everything.
    struct Clerk {
        watch: Watch,
    }

    watched!(Clerk);

    impl Actor for Clerk {
        type Context = actix::Context<Self>;
    }

    #[actix::test]
    async fn an_actor_that_looks_at_its_mailbox_counts_what_was_there_before() {
        let metrics = metrics::Metrics::new("test");
        let door = DoorKeeper::<Registry>::default().door();
        let watch = Watch::new(Unit::Keeper, Parent::Registry(door), metrics.clone());
        let clerk = Clerk { watch }.start();
        let probe = || Probe {
            sent: Instant::now(),
            handled: 0,
        };
        // Three wait when the fourth is put behind them.
        for _ in 0..3 {
            clerk.do_send(probe());
        }
        clerk.send(probe()).await.unwrap();
        let page = metrics.render();
        for line in [
            "strowger_actor_mailbox_messages{actor=\"keeper\"} 3",
            "strowger_actor_mailbox_messages_max{actor=\"keeper\"} 3",
            "strowger_actor_wait_seconds_count{actor=\"keeper\"} 4",
        ] {
            assert!(page.contains(line), "{line}");
        }
        drop(clerk);
        tokio::time::timeout(Duration::from_secs(1), async {
            while !metrics
                .render()
                .contains("strowger_actor_mailbox_messages{actor=\"keeper\"} 0")
            {
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap();
    }

    #[actix::test]
    async fn a_member_hears_of_the_groups_end_even_by_a_panic() {
        let group = CrashGroup::new();
        let member = group.member();
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            let _held = group;
            std::panic::resume_unwind(Box::new("a call dies"));
        }));
        assert!(caught.is_err());
        tokio::time::timeout(Duration::from_secs(1), member.abandoned())
            .await
            .unwrap();
    }
}
