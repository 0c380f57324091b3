//! Old call records are removed: a few at a time, so that no call waits for it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use store::{Store, StoreError};
use tokio::sync::Notify;

use crate::cdr;
use crate::settings::Keep;

/// How many are removed at once. They share the locks and the flush of those that are written.
const AT_ONCE: usize = 200;
/// How long the store is left alone between two times: 2,000 a second are removed at most, and a record that is written meanwhile waits
/// for one time of it.
const PAUSE: Duration = Duration::from_millis(100);
/// How long after the start it is looked first, and how often then.
const FIRST_LOOK: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_secs(600);
/// How many of the newest records are looked through for one that can be read.
const LOOKED_AT: usize = 500;

/// How far the clock may be ahead of what the store proves: so long may a switch be off, or without a call, before less is removed than
/// the clock would have.
const TRUSTED: Duration = Duration::from_secs(7 * 24 * 3600);

/// When the newest call of the store began whose record can be read, when the switch started.
enum Newest {
    /// There was none.
    Nothing,
    At(SystemTime),
    /// There were some, and none of the newest ones can be read.
    Unreadable,
}

/// How long call records are kept.
pub(crate) struct Keeping {
    store: Arc<dyn Store>,
    keep: Mutex<Option<Duration>>,
    changed: Notify,
    newest: Newest,
    started: Instant,
    has_warned: AtomicBool,
}

impl Newest {
    fn of(store: &dyn Store) -> Self {
        let newest = match store.calls_before(None, LOOKED_AT) {
            Ok(newest) => newest,
            Err(error) => {
                tracing::error!(%error, "the newest call record cannot be read: none is removed before the next start");
                return Self::Unreadable;
            }
        };
        if newest.last.is_none() {
            return Self::Nothing;
        }
        // The newest that can be read proves less than the newest, so less is removed.
        let Some(record) = newest.records.first() else {
            tracing::error!(
                "none of the newest {} call records can be read: none is removed before the next start",
                newest.count()
            );
            return Self::Unreadable;
        };
        // Both say it; of a damaged one the earlier is believed, for less is removed then.
        let began = Duration::from_millis(record.started_ms.min(record.id.unix_ms()));
        UNIX_EPOCH
            .checked_add(began)
            .map_or(Self::Unreadable, Self::At)
    }
}

impl Keeping {
    /// In this store, for as long as the settings say. Reads the newest record, so it comes before the first call.
    pub(crate) fn new(store: Arc<dyn Store>, keep: &Keep) -> Self {
        Self {
            newest: Newest::of(&*store),
            store,
            keep: Mutex::new(keep.time),
            changed: Notify::new(),
            started: Instant::now(),
            has_warned: AtomicBool::new(false),
        }
    }

    /// From now on for another time.
    pub(crate) fn set(&self, keep: &Keep) {
        *self.keep.lock().unwrap_or_else(PoisonError::into_inner) = keep.time;
        self.changed.notify_one();
    }

    /// What the clock says, as far as the store bears it out: a clock that is years ahead must not empty it. Nothing where the store cannot
    /// be asked.
    fn credible(&self, now: SystemTime, at: Instant) -> Option<SystemTime> {
        let newest = match self.newest {
            Newest::Nothing => return Some(now),
            Newest::At(newest) => newest,
            Newest::Unreadable => return None,
        };
        let runs = at.saturating_duration_since(self.started);
        let most = newest.checked_add(runs)?.checked_add(TRUSTED)?;
        if now <= most {
            return Some(now);
        }
        if !self.has_warned.swap(true, Ordering::Relaxed) {
            let newest = humantime::format_rfc3339_seconds(newest).to_string();
            tracing::warn!(
                newest,
                "the clock is more than 7 days ahead of the newest call record at the start: old ones are removed as if it were 7 days"
            );
        }
        Some(most)
    }

    /// Milliseconds since 1970 before which a call must have begun to be removed; nothing where all are kept.
    fn limit(&self, now: SystemTime, at: Instant) -> Option<u64> {
        let keep = (*self.keep.lock().unwrap_or_else(PoisonError::into_inner))?;
        let now = self.credible(now, at)?;
        let limit = now.checked_sub(keep)?.duration_since(UNIX_EPOCH).ok()?;
        u64::try_from(limit.as_millis()).ok()
    }

    /// Removes the first of those that are too old; how many that were, and whether there may be more.
    fn step(&self, limit: u64) -> Result<(usize, bool), StoreError> {
        let removed = self.store.remove_calls(limit, AT_ONCE)?;
        Ok((removed, removed == AT_ONCE))
    }

    /// Removes all that are too old.
    async fn look(self: &Arc<Self>) {
        let Some(limit) = self.limit(SystemTime::now(), Instant::now()) else {
            return;
        };
        let mut removed = 0;
        loop {
            let keeping = Arc::clone(self);
            // The disk may take its time.
            let step = tokio::task::spawn_blocking(move || keeping.step(limit)).await;
            match step {
                Ok(Ok((count, may_be_more))) => {
                    removed += count;
                    if !may_be_more {
                        break;
                    }
                }
                Ok(Err(error)) => {
                    tracing::error!(%error, "old call records could not be removed");
                    break;
                }
                // The switch stops, or a panic was logged; the next look is another one.
                Err(_) => break,
            }
            tokio::time::sleep(PAUSE).await;
        }
        if removed > 0 {
            let before = cdr::time(limit);
            tracing::info!(
                removed,
                before,
                "call records that are older than cdr.keep are removed"
            );
        }
    }
}

/// Looks again and again, for as long as it is polled.
pub(crate) async fn tidy(keeping: Arc<Keeping>) {
    tidy_after(FIRST_LOOK, keeping).await;
}

async fn tidy_after(first: Duration, keeping: Arc<Keeping>) {
    tokio::time::sleep(first).await;
    loop {
        keeping.look().await;
        // Looked for at once when the time is another one.
        let _ = tokio::time::timeout(LOOK_EVERY, keeping.changed.notified()).await;
    }
}

#[cfg(test)]
mod tests {
    use model::{CallId, CallRecord};
    use store::{MasterKey, SledStore};

    use super::*;

    fn began(unix_ms: u64) -> CallRecord {
        let record = serde_json::json!({
            "id": CallId::new(unix_ms, 1), "direction": "sip_to_tg", "trunk": "office", "session": "gateway", "from": "600", "to": "601",
            "started_ms": unix_ms, "ended_after_ms": 5, "legs": [],
        });
        serde_json::from_value(record).unwrap()
    }

    #[test]
    fn a_clock_that_is_far_ahead_is_believed_for_seven_days() {
        let folder = tempfile::tempdir().unwrap();
        let key = MasterKey::from_octets([7; 32]);
        let store: Arc<dyn Store> = Arc::new(SledStore::open(folder.path(), &key).unwrap());
        let day = Duration::from_secs(24 * 3600);
        let began = 1_700_000_000_000;
        let newest = UNIX_EPOCH + Duration::from_millis(began);
        let keep = Keep::default();
        let ms = |time: SystemTime| {
            let since = time.duration_since(UNIX_EPOCH).unwrap();
            u64::try_from(since.as_millis()).unwrap()
        };
        // Without a record there is nothing that could be lost, or that proves anything.
        let empty = Keeping::new(Arc::clone(&store), &keep);
        let far = newest + 3650 * day;
        let limit = |keeping: &Keeping, now, runs| keeping.limit(now, keeping.started + runs);
        assert_eq!(limit(&empty, far, day), Some(ms(far - 90 * day)));
        let records = [self::began(began - 1000), self::began(began)];
        store.close_calls(&[&records[0], &records[1]]).unwrap();
        let keeping = Keeping::new(Arc::clone(&store), &keep);
        let near = newest + 7 * day;
        assert_eq!(
            limit(&keeping, near, Duration::ZERO),
            Some(ms(near - 90 * day))
        );
        assert!(!keeping.has_warned.load(Ordering::Relaxed));
        assert_eq!(
            limit(&keeping, far, Duration::ZERO),
            Some(ms(newest - 83 * day))
        );
        assert!(keeping.has_warned.load(Ordering::Relaxed));
        // While it runs time goes on, whatever the clock says.
        assert_eq!(limit(&keeping, far, 100 * day), Some(ms(newest + 17 * day)));
    }

    #[test]
    fn a_record_that_is_damaged_proves_no_time_that_its_id_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let store = SledStore::open(folder.path(), &MasterKey::from_octets([7; 32])).unwrap();
        let (id, far) = (1_700_000_000_000, 250_000_000_000_000);
        let damaged = CallRecord {
            started_ms: far,
            ..began(id)
        };
        store.close_calls(&[&damaged]).unwrap();
        let proven = UNIX_EPOCH + Duration::from_millis(id);
        assert!(matches!(Newest::of(&store), Newest::At(at) if at == proven));
    }

    #[test]
    fn the_newest_that_can_be_read_proves_the_clock() {
        let folder = tempfile::tempdir().unwrap();
        let key = MasterKey::from_octets([7; 32]);
        let ms = 1_700_000_000_000;
        let close = |numbers: &[u64]| {
            let store = SledStore::open(folder.path(), &key).unwrap();
            let records: Vec<CallRecord> = numbers.iter().map(|n| began(ms + n)).collect();
            store
                .close_calls(&records.iter().collect::<Vec<_>>())
                .unwrap();
        };
        let break_last = || {
            let db = crate::api::tests::bare(folder.path());
            let calls = db.open_tree("cdr").unwrap();
            let readable = |entry: &(sled::IVec, sled::IVec)| entry.1.first() == Some(&1);
            let mut newest_first = calls.iter().rev().map(Result::unwrap);
            let (last, _) = newest_first.find(readable).unwrap();
            calls.insert(last, &[9]).unwrap();
            db.flush().unwrap();
        };
        let newest = || Newest::of(&SledStore::open(folder.path(), &key).unwrap());
        close(&[1, 2]);
        break_last();
        let first = UNIX_EPOCH + Duration::from_millis(ms + 1);
        assert!(matches!(newest(), Newest::At(at) if at == first));
        break_last();
        assert!(matches!(newest(), Newest::Unreadable));
    }

    #[tokio::test]
    async fn what_is_too_old_goes_and_the_rest_stays_until_the_time_is_another_one() {
        let folder = tempfile::tempdir().unwrap();
        let key = MasterKey::from_octets([7; 32]);
        let store: Arc<dyn Store> = Arc::new(SledStore::open(folder.path(), &key).unwrap());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let now = u64::try_from(now.as_millis()).unwrap();
        let day = 24 * 3600 * 1000;
        // One an hour for 150 days.
        let records: Vec<CallRecord> = (0..3600)
            .map(|hours: u64| began(now - hours * 3600 * 1000 - 1000))
            .collect();
        store
            .close_calls(&records.iter().collect::<Vec<_>>())
            .unwrap();
        let keeping = Arc::new(Keeping::new(Arc::clone(&store), &Keep::default()));
        let oldest = || store.recent_calls(9999).unwrap().pop().unwrap().started_ms;
        keeping.look().await;
        assert_eq!(store.stats().unwrap().calls, 90 * 24);
        assert!(oldest() > now - 90 * day);
        keeping.set(&"forever".parse().unwrap());
        keeping.look().await;
        assert_eq!(store.stats().unwrap().calls, 90 * 24);
        let tidy = tokio::spawn(tidy_after(Duration::ZERO, Arc::clone(&keeping)));
        tokio::task::yield_now().await;
        keeping.set(&"80d".parse().unwrap());
        let gone = async {
            while store.stats().unwrap().calls > 80 * 24 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), gone)
            .await
            .expect("they are removed at once");
        assert_eq!(store.stats().unwrap().calls, 80 * 24);
        tidy.abort();
    }
}
