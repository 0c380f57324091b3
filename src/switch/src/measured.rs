//! A store with a stopwatch: every operation is timed for `/metrics`, whoever asks for it. Records of calls pass it veiled, on their way in
//! and out, where the settings want that; those that cannot be read are told here, once.

use std::path::Path;
use std::time::Instant;

use metrics::{Metrics, StoreOp};
use model::{
    CallId, CallRecord, OpenCall, QuotaSpec, RoleSpec, RouteSpec, SessionName, SessionSpec,
    TransitSpec, TrunkSpec, UserSpec, WebhookSpec,
};
use store::{
    BackupError, Calls, Change, Ends, Entry, KeyId, KeySource, MasterKey, Space, Stats, Store,
    StoreError, Unreadable,
};

use crate::unreadable::Noted;
use crate::veil::Veil;

/// Times what it passes on.
pub(crate) struct Measured<S> {
    store: S,
    metrics: Metrics,
    veil: Veil,
    unreadable: Noted,
}

impl<S: Store> Measured<S> {
    pub(crate) fn new(store: S, metrics: Metrics, veil: Veil) -> Self {
        Self {
            store,
            unreadable: Noted::new(metrics.clone()),
            metrics,
            veil,
        }
    }

    fn veiled(&self, records: Vec<CallRecord>) -> Vec<CallRecord> {
        let over = |record| self.veil.over(record);
        records.into_iter().map(over).collect()
    }

    fn timed<T>(&self, op: StoreOp, work: impl FnOnce(&S) -> T) -> T {
        let begun = Instant::now();
        let done = work(&self.store);
        self.metrics.store_operation(op, begun.elapsed());
        done
    }
}

impl<S: Store> Store for Measured<S> {
    fn trunks(&self) -> Result<Vec<TrunkSpec>, StoreError> {
        self.timed(StoreOp::Scan, S::trunks)
    }

    fn sessions(&self) -> Result<Vec<SessionSpec>, StoreError> {
        self.timed(StoreOp::Scan, S::sessions)
    }

    fn routes(&self) -> Result<Vec<RouteSpec>, StoreError> {
        self.timed(StoreOp::Scan, S::routes)
    }

    fn transits(&self) -> Result<Vec<TransitSpec>, StoreError> {
        self.timed(StoreOp::Scan, S::transits)
    }

    fn quotas(&self) -> Result<Vec<QuotaSpec>, StoreError> {
        self.timed(StoreOp::Scan, S::quotas)
    }

    fn webhooks(&self) -> Result<Vec<WebhookSpec>, StoreError> {
        self.timed(StoreOp::Scan, S::webhooks)
    }

    fn users(&self) -> Result<Vec<UserSpec>, StoreError> {
        self.timed(StoreOp::Scan, S::users)
    }

    fn roles(&self) -> Result<Vec<RoleSpec>, StoreError> {
        self.timed(StoreOp::Scan, S::roles)
    }

    fn generation(&self) -> Result<u64, StoreError> {
        self.timed(StoreOp::Get, S::generation)
    }

    fn commit(&self, expected: Option<u64>, changes: &[Change]) -> Result<u64, StoreError> {
        self.timed(StoreOp::Transaction, |store| {
            store.commit(expected, changes)
        })
    }

    fn open_call(&self, call: &OpenCall) -> Result<(), StoreError> {
        self.timed(StoreOp::Put, |store| store.open_call(call))
    }

    fn close_calls(&self, records: &[&CallRecord]) -> Result<(), StoreError> {
        let veiled = self.veil.over_all(records);
        let veiled: Vec<&CallRecord> = veiled.iter().map(|record| &**record).collect();
        self.timed(StoreOp::Put, |store| store.close_calls(&veiled))
    }

    fn call(&self, id: CallId) -> Result<Option<CallRecord>, StoreError> {
        let found = self.timed(StoreOp::Get, |store| store.call(id));
        if let Err(error @ (StoreError::Record { .. } | StoreError::Version { .. })) = &found {
            let fault = error.to_string();
            self.unreadable.note(&[Unreadable { id, fault }]);
        }
        Ok(found?.map(|record| self.veil.over(record)))
    }

    fn unfinished_calls(&self) -> Result<Calls<OpenCall>, StoreError> {
        let found = self.timed(StoreOp::Scan, S::unfinished_calls)?;
        self.unreadable.note(&found.unreadable);
        Ok(found)
    }

    fn calls_before(&self, before: Option<CallId>, count: usize) -> Result<Calls, StoreError> {
        let found = self.timed(StoreOp::Scan, |store| store.calls_before(before, count))?;
        self.unreadable.note(&found.unreadable);
        Ok(Calls {
            records: self.veiled(found.records),
            ..found
        })
    }

    fn remove_calls(&self, before_ms: u64, count: usize) -> Result<usize, StoreError> {
        self.timed(StoreOp::Remove, |store| {
            store.remove_calls(before_ms, count)
        })
    }

    fn note_ends_for(&self, readers: &[&str]) -> Result<(), StoreError> {
        self.timed(StoreOp::Put, |store| store.note_ends_for(readers))
    }

    fn ends_passed(&self, reader: &str) -> Result<u64, StoreError> {
        self.timed(StoreOp::Get, |store| store.ends_passed(reader))
    }

    fn ends_after(&self, after: u64, count: usize) -> Result<Ends, StoreError> {
        let mut ends = self.timed(StoreOp::Scan, |store| store.ends_after(after, count))?;
        for end in &mut ends.ended {
            self.unreadable.note(end.fault.as_slice());
            end.record = end.record.take().map(|record| self.veil.over(record));
        }
        Ok(ends)
    }

    fn pass_ends(&self, reader: &str, number: u64) -> Result<(), StoreError> {
        self.timed(StoreOp::Put, |store| store.pass_ends(reader, number))
    }

    fn get(&self, space: Space<'_>, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.timed(StoreOp::Get, |store| store.get(space, key))
    }

    fn scan(&self, space: Space<'_>, prefix: &[u8]) -> Result<Vec<Entry>, StoreError> {
        self.timed(StoreOp::Scan, |store| store.scan(space, prefix))
    }

    fn put_soft(&self, space: Space<'_>, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.timed(StoreOp::Put, |store| store.put_soft(space, key, value))
    }

    fn put_durable(&self, space: Space<'_>, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.timed(StoreOp::Put, |store| store.put_durable(space, key, value))
    }

    fn remove(&self, space: Space<'_>, key: &[u8]) -> Result<(), StoreError> {
        self.timed(StoreOp::Remove, |store| store.remove(space, key))
    }

    fn is_restored(&self, session: &SessionName) -> Result<bool, StoreError> {
        self.timed(StoreOp::Get, |store| store.is_restored(session))
    }

    // As long as it takes; `backups_total` tells of it.
    fn back_up(&self, file: &Path, keys: &dyn KeySource) -> Result<(), BackupError> {
        self.store.back_up(file, keys)
    }

    fn master_keys(&self) -> Result<Vec<KeyId>, StoreError> {
        self.timed(StoreOp::Scan, S::master_keys)
    }

    fn add_master_key(&self, key: &MasterKey) -> Result<(), StoreError> {
        self.timed(StoreOp::Put, |store| store.add_master_key(key))
    }

    fn remove_master_key(&self, id: KeyId) -> Result<(), StoreError> {
        self.timed(StoreOp::Remove, |store| store.remove_master_key(id))
    }

    // The keeper times its own flushes (`store_flush_seconds`).
    fn flush(&self) -> Result<(), StoreError> {
        self.store.flush()
    }

    fn stats(&self) -> Result<Stats, StoreError> {
        self.store.stats()
    }
}

#[cfg(test)]
mod tests {
    use model::{SessionName, TrunkName};
    use store::SledStore;

    use super::*;

    #[test]
    fn every_kind_of_operation_is_timed() {
        let folder = tempfile::tempdir().unwrap();
        let metrics = Metrics::new("0.0.0");
        let store = Measured::new(
            SledStore::open(folder.path(), &MasterKey::from_octets([7; 32])).unwrap(),
            metrics.clone(),
            Veil::default(),
        );
        let trunk: TrunkName = "office".parse().unwrap();
        let session: SessionName = "main".parse().unwrap();
        let refused = store.commit(None, &[Change::RemoveTrunk(trunk)]);
        assert!(refused.is_err(), "there is none");
        let space = Space::Telegram(&session);
        store.put_soft(space, b"a", b"1").unwrap();
        store.put_durable(space, b"b", b"2").unwrap();
        assert_eq!(store.get(space, b"b").unwrap().unwrap(), b"2");
        assert_eq!(store.scan(space, b"").unwrap().len(), 2);
        store.remove(space, b"a").unwrap();
        let page = metrics.render();
        for (op, count) in [
            ("get", 1),
            ("put", 2),
            ("remove", 1),
            ("scan", 1),
            ("transaction", 1),
        ] {
            let line = format!("strowger_store_operation_seconds_count{{op=\"{op}\"}} {count}");
            assert!(page.lines().any(|found| found == line), "{line}");
        }
    }
}
