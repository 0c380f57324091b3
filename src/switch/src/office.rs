//! The records of the switch that runs: everybody who changes them comes here.
//!
//! One commit after the other: it is checked against everything there is, made durable, and then the house is brought to what
//! the records say, before whoever asked is answered.

use std::sync::Arc;
use std::time::Instant;

use actors::{Account, House, Table};
use model::SessionName;
use store::{Change, Store, StoreError};
use tokio::sync::Mutex;

use crate::problem::Problem;
use crate::records::{self, Current, Refusal};

/// Makes the connection of a session; none when its keys cannot be used, which the log says.
pub(crate) type Connect = Arc<dyn Fn(&SessionName) -> Option<Account> + Send + Sync>;

/// The records of the switch that runs.
pub(crate) struct Office {
    store: Arc<dyn Store>,
    house: Arc<House>,
    connect: Connect,
    /// What the store holds: nobody else writes it, and reading ten thousand trunks takes a while.
    current: Mutex<Arc<Current>>,
}

impl Office {
    /// Opens where the house has begun with what the store holds.
    pub(crate) fn new(
        store: Arc<dyn Store>,
        house: Arc<House>,
        connect: Connect,
    ) -> Result<Self, StoreError> {
        let current = Mutex::new(Arc::new(Current::read(&*store)?));
        Ok(Self {
            store,
            house,
            connect,
            current,
        })
    }

    /// All records, with their secrets.
    pub(crate) async fn current(&self) -> Arc<Current> {
        Arc::clone(&*self.current.lock().await)
    }

    /// Makes the changes, and lets the house follow; what comes then is decided by them. Refused as a whole or made as a whole;
    /// `expected` is the generation that whoever asks has seen.
    pub(crate) async fn commit(
        &self,
        expected: Option<u64>,
        changes: Vec<Change>,
    ) -> Result<u64, Problem> {
        let mut current = self.current.lock().await;
        let begun = Instant::now();
        let found = current.generation;
        if let Some(expected) = expected.filter(|expected| *expected != found) {
            return Err(StoreError::Conflict { expected, found }.into());
        }
        let mut next = records::after(&current, &changes)?;
        self.spare_connected(&current, &changes)?;
        let store = Arc::clone(&self.store);
        let made = actix_web::web::block(move || {
            store.commit(Some(found), &changes).map_err(Problem::from)
        });
        next.generation = made
            .await
            .map_err(|_| Problem::busy("the switch is stopping"))??;
        let table = Table::new(
            next.trunks.clone(),
            next.sessions.clone(),
            next.routes.clone(),
        );
        let table = table
            .with_transits(next.transits.clone())
            .with_quotas(next.quotas.clone());
        *current = Arc::new(next);
        let connect = Arc::clone(&self.connect);
        self.house
            .apply(Arc::new(table), move |session| connect(session))
            .await;
        let took = begun.elapsed();
        tracing::info!(generation = current.generation, ?took, "records changed");
        Ok(current.generation)
    }

    /// The keys of a session go with its record, and a connection would write them again.
    fn spare_connected(&self, current: &Current, changes: &[Change]) -> Result<(), Refusal> {
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
