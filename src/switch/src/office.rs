//! The records of the switch that runs: everybody who changes them comes here.
//!
//! One commit after the other: it is checked against everything there is, made durable, and then the house is brought to what
//! the records say, before whoever asked is answered.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use actors::{Account, House, Table};
use model::{SessionName, SessionSpec, TrunkName, TrunkSpec};
use store::{Change, Store, StoreError};
use tokio::sync::Mutex;

use crate::problem::Problem;
use crate::records::{self, Current, Refusal};

/// Makes the connection of a session; none when its keys cannot be used, which the log says.
pub(crate) type Connect = Arc<dyn Fn(&SessionName) -> Option<Account> + Send + Sync>;

/// Is told of every commit before whoever asked for it is.
type Watcher = Box<dyn Fn(&Arc<Table>) + Send + Sync>;

/// The records of the switch that runs.
pub(crate) struct Office {
    store: Arc<dyn Store>,
    house: Arc<House>,
    connect: Connect,
    /// What the store holds: nobody else writes it, and reading ten thousand trunks takes a while.
    current: Mutex<InForce>,
    watcher: OnceLock<Watcher>,
}

/// The disk may take its time, and this thread has others to serve.
async fn off_the_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    let done = actix_web::web::block(work).await;
    done.map_err(|_| Problem::busy("the switch is stopping"))
}

/// What the store has begun to write is followed also when whoever asked for it does not wait: a connection that is reset takes its request
/// with it.
async fn to_its_end(
    work: impl Future<Output = Result<u64, Problem>> + Send + 'static,
) -> Result<u64, Problem> {
    let done = tokio::spawn(work).await;
    done.unwrap_or_else(|_| Err(Problem::busy("the switch is stopping")))
}

/// The records that are in force, with their secrets; copied in next to no time.
#[derive(Clone)]
pub(crate) struct InForce {
    pub(crate) generation: u64,
    pub(crate) table: Arc<Table>,
}

impl InForce {
    /// The trunk of this name.
    pub(crate) fn trunk(&self, name: &TrunkName) -> Option<&TrunkSpec> {
        self.table.trunk(name)
    }

    /// The session of this name.
    pub(crate) fn session(&self, name: &SessionName) -> Option<&SessionSpec> {
        self.table.session(name)
    }

    /// All of them as commands get them.
    pub(crate) fn whole(&self) -> Current {
        Current::of(&self.table, self.generation)
    }

    /// Removing a trunk removes its routes with it.
    pub(crate) fn remove_trunk(&self, name: &TrunkName) -> Vec<Change> {
        let routes = self.table.routes_from(name);
        let routes =
            routes.map(|route| Change::RemoveRoute(route.trunk.clone(), route.session.clone()));
        let ways = self.table.ways_at(name);
        let ways = ways.map(|way| Change::RemoveTransit(way.trunk.clone(), way.to.clone()));
        let trunk = [Change::RemoveTrunk(name.clone())];
        routes.chain(ways).chain(trunk).collect()
    }

    /// Removing a session removes its routes with it.
    pub(crate) fn remove_session(&self, name: &SessionName) -> Vec<Change> {
        let routes = self.table.routes_to(name);
        let routes =
            routes.map(|route| Change::RemoveRoute(route.trunk.clone(), route.session.clone()));
        let session = [Change::RemoveSession(name.clone())];
        routes.chain(session).collect()
    }
}

impl Office {
    /// Opens where the house has begun with what the store holds.
    pub(crate) fn new(
        store: Arc<dyn Store>,
        house: Arc<House>,
        connect: Connect,
    ) -> Result<Self, StoreError> {
        let current = Mutex::new(InForce {
            generation: store.generation()?,
            table: house.table(),
        });
        Ok(Self {
            store,
            house,
            connect,
            current,
            watcher: OnceLock::new(),
        })
    }

    /// Lets somebody follow the records from now on; the first who asks for it.
    pub(crate) fn watched_by(&self, watcher: impl Fn(&Arc<Table>) + Send + Sync + 'static) {
        let _ = self.watcher.set(Box::new(watcher));
    }

    /// All records, with their secrets.
    pub(crate) async fn current(&self) -> InForce {
        self.current.lock().await.clone()
    }

    /// Makes the changes, and lets the house follow; what comes then is decided by them. Refused as a whole or made as a whole;
    /// `expected` is the generation that whoever asks has seen.
    pub(crate) async fn commit(
        self: &Arc<Self>,
        expected: Option<u64>,
        changes: Vec<Change>,
    ) -> Result<u64, Problem> {
        self.change(expected, move |_| Ok(changes.clone())).await
    }

    /// The same for changes that are made from what there is then: they undo nobody else's.
    pub(crate) async fn change(
        self: &Arc<Self>,
        expected: Option<u64>,
        from: impl Fn(&InForce) -> Result<Vec<Change>, Problem> + Send + Sync + 'static,
    ) -> Result<u64, Problem> {
        let office = Arc::clone(self);
        to_its_end(async move {
            let mut current = office.current.lock().await;
            let changes = |current: &InForce| {
                let changes = from(current)?;
                office.spare_connected(current, &changes)?;
                Ok(changes)
            };
            office.make(&mut current, expected, &changes).await
        })
        .await
    }

    /// The same for changes that make, or follow, other keys of a session: its connection is closed before, and made anew after them, if
    /// the session is on.
    pub(crate) async fn change_unplugged(
        self: &Arc<Self>,
        session: &SessionName,
        from: impl Fn(&InForce) -> Result<Vec<Change>, Problem> + Send + Sync + 'static,
    ) -> Result<u64, Problem> {
        let (office, session) = (Arc::clone(self), session.clone());
        to_its_end(async move {
            let mut current = office.current.lock().await;
            office.house.unplug(&session).await;
            let made = office.make(&mut current, None, &from).await;
            if made.is_err() {
                // It goes on as before.
                office.follow(&current).await;
            }
            made
        })
        .await
    }

    async fn make(
        &self,
        current: &mut InForce,
        expected: Option<u64>,
        from: &(dyn Fn(&InForce) -> Result<Vec<Change>, Problem> + Send + Sync),
    ) -> Result<u64, Problem> {
        let begun = Instant::now();
        let mut is_caught_up = false;
        loop {
            let found = current.generation;
            if let Some(expected) = expected.filter(|expected| *expected != found) {
                return Err(StoreError::Conflict { expected, found }.into());
            }
            let changes = from(current)?;
            let table = Arc::new(records::revise(&current.table, &changes)?);
            let store = Arc::clone(&self.store);
            let made = off_the_thread(move || store.commit(Some(found), &changes)).await?;
            match made {
                Ok(generation) => {
                    let written = begun.elapsed();
                    let next = InForce { generation, table };
                    self.put_in_force(current, next).await;
                    let took = begun.elapsed();
                    tracing::info!(generation, ?written, ?took, "records changed");
                    return Ok(generation);
                }
                Err(StoreError::Conflict { .. }) if !is_caught_up => {
                    self.catch_up(current).await?;
                    is_caught_up = true;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Takes over what the store holds. It has another generation where only the last step of a commit has failed, its way to the disk:
    /// whoever asked was told that it failed, and all that came later would be refused.
    async fn catch_up(&self, current: &mut InForce) -> Result<(), Problem> {
        let store = Arc::clone(&self.store);
        let read = off_the_thread(move || Current::read(&*store)).await??;
        let (known, generation) = (current.generation, read.generation);
        tracing::warn!(
            known,
            generation,
            "the store holds a change that was told to have failed: it is in force from now on"
        );
        let table = Arc::new(read.table());
        let next = InForce { generation, table };
        self.put_in_force(current, next).await;
        Ok(())
    }

    async fn put_in_force(&self, current: &mut InForce, next: InForce) {
        *current = next;
        if let Some(watcher) = self.watcher.get() {
            watcher(&current.table);
        }
        self.follow(current).await;
        self.house.records_changed(current.generation);
    }

    /// Lets the house follow what the records say.
    async fn follow(&self, current: &InForce) {
        let table = Arc::clone(&current.table);
        let connect = Arc::clone(&self.connect);
        self.house
            .apply(table, move |session| connect(session))
            .await;
    }

    /// The keys of a session go with its record, and a connection would write them again.
    fn spare_connected(&self, current: &InForce, changes: &[Change]) -> Result<(), Refusal> {
        for change in changes {
            if let Change::RemoveSession(name) = change {
                let is_on = current.session(name).is_some_and(|spec| spec.enabled);
                if is_on || self.house.is_connected(name) {
                    return Err(Refusal::Connected(name.clone()));
                }
            }
        }
        Ok(())
    }
}
