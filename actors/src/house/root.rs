//! The root: supervises the registry, the endpoint and the keeper.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{Actor, Arbiter, AsyncContext, Context, Handler, ResponseFuture};
use rand::rngs::SmallRng;
use routing::Table;
use store::Store;
use tokio::sync::watch;

use super::{Common, unix_seconds};
use crate::endpoint::Endpoint;
use crate::keeper::Keeper;
use crate::message::{Apply, SaveBans};
use crate::registry::Registry;
use crate::supervise::{Backoff, DoorKeeper, Down, Parent, Unit, Verdict, Watch};

/// Supervises the registry, the endpoint and the keeper.
pub(crate) struct Root {
    pub(super) common: Common,
    pub(super) store: Arc<dyn Store>,
    pub(super) table: Arc<Table>,
    pub(super) arbiter: Arbiter,
    pub(super) keeper_work: Arc<net::Work>,
    pub(super) registry: DoorKeeper<Registry>,
    pub(super) endpoint: DoorKeeper<Endpoint>,
    pub(super) keeper: DoorKeeper<Keeper>,
    pub(super) backoffs: HashMap<&'static str, Backoff>,
    pub(super) registries: u32,
    /// Which bans have been kept.
    pub(super) bans_kept: Option<u64>,
    pub(super) fatal: watch::Sender<Option<u8>>,
    pub(super) rng: SmallRng,
}

/// How old the bans on disk can be: guessing from a thousand addresses must not cost a write for each.
const KEEP_BANS: Duration = Duration::from_secs(5);

/// Exit code when the registry dies again and again.
pub const EXIT_REGISTRY_LOST: u8 = 70;
/// Exit code when the store cannot be used any more.
pub const EXIT_STORE_LOST: u8 = 74;

impl Root {
    /// Keeps the bans when they have changed.
    fn keep_bans(&mut self) {
        let now = Instant::now();
        if self.bans_kept == Some(self.common.gate.ban_generation(now)) {
            return;
        }
        let (generation, bans) = self.common.gate.bans(now, unix_seconds());
        self.common.metrics.sip_banned_addresses(bans.len());
        let keeper = self.common.keeper.open();
        if keeper.is_some_and(|keeper| keeper.try_send(SaveBans { bans }).is_ok()) {
            self.bans_kept = Some(generation);
        }
    }

    fn watch(&self, who: Unit, ctx: &mut Context<Self>) -> Watch {
        Watch::new(
            who,
            Parent::Actor(ctx.address().recipient()),
            self.common.metrics.clone(),
        )
    }

    fn start(&mut self, who: &Unit, ctx: &mut Context<Self>) {
        let watch = self.watch(who.clone(), ctx);
        let common = self.common.clone();
        match who {
            Unit::Keeper => {
                let (store, metrics) = (Arc::clone(&self.store), common.metrics.clone());
                let ban_file = common.settings.sip.ban_file.clone();
                let work = Arc::clone(&self.keeper_work);
                let health = Arc::clone(&common.store_health);
                let keeper = Keeper::start_in_arbiter(&self.arbiter.handle(), move |_| {
                    Keeper::new(store, metrics, ban_file, (work, health), watch)
                });
                self.keeper.publish(keeper);
            }
            Unit::Registry => {
                let reborn = self.registries > 0;
                self.registries += 1;
                let table = Arc::clone(&self.table);
                // Published before it starts, so that nothing it starts finds the door closed.
                let registry =
                    Registry::create(move |_| Registry::new(common, table, reborn, watch));
                self.registry.publish(registry);
            }
            Unit::Endpoint => self.endpoint.publish(Endpoint::new(common, watch).start()),
            Unit::Trunk(_) | Unit::Session(_) | Unit::Call(_) | Unit::Leg(..) | Unit::Text => {}
        }
    }
}

impl Actor for Root {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        for who in [Unit::Keeper, Unit::Registry, Unit::Endpoint] {
            self.start(&who, ctx);
        }
        // What an earlier process left is shown, and listed for firewalls, from the beginning.
        self.keep_bans();
        ctx.run_interval(KEEP_BANS, |root, _| root.keep_bans());
    }
}

impl Handler<Down> for Root {
    type Result = ();

    fn handle(&mut self, down: Down, ctx: &mut Self::Context) {
        let kind = down.who.kind();
        self.common.metrics.actor_died(kind, down.panicked);
        let backoff = self.backoffs.entry(kind).or_insert_with(Backoff::core);
        match backoff.death(Instant::now(), &mut self.rng) {
            Verdict::Restart(wait) => {
                tracing::error!(
                    actor = kind,
                    panicked = down.panicked,
                    ?wait,
                    "died, will be started again"
                );
                ctx.run_later(wait, move |root, ctx| root.start(&down.who, ctx));
            }
            Verdict::Failed(wait) => {
                tracing::error!(actor = kind, "dies again and again");
                match down.who {
                    Unit::Keeper => {
                        self.fatal.send_replace(Some(EXIT_STORE_LOST));
                    }
                    Unit::Registry => {
                        self.fatal.send_replace(Some(EXIT_REGISTRY_LOST));
                    }
                    _ => {
                        ctx.run_later(wait, move |root, ctx| root.start(&down.who, ctx));
                    }
                }
            }
        }
    }
}

impl Handler<Apply> for Root {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, apply: Apply, _: &mut Self::Context) -> Self::Result {
        // A registry that dies now finds it here, and the gate must know a trunk before it calls.
        self.table = Arc::clone(&apply.table);
        let table = Arc::clone(&apply.table);
        self.common.gate.revise(Instant::now(), table);
        let registry = self.common.registry.open();
        Box::pin(async move {
            if let Some(registry) = registry {
                let _ = registry.send(apply).await;
            }
        })
    }
}
