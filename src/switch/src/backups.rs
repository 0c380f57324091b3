//! Backups of the store: where they are, when one is due, and which are removed.
//!
//! Their names end with the time of their making (`nightly-20261128T030000Z.backup`), so that the order of the names is that of the times,
//! and a copy keeps it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use metrics::Metrics;
use store::{BackupError, KeySource, Store};

use crate::failure::Failure;
use crate::settings::Settings;

/// How the names of those end.
pub(crate) const ENDING: &str = ".backup";
/// What follows while it is not whole yet.
const HALF: &str = ".partial";
/// How the names of those begin that are made each day, and of those that an owner asked for.
const NIGHTLY: &str = "nightly";
const MANUAL: &str = "manual";
/// Seconds.
const HOUR: u64 = 3600;
const DAY: Duration = Duration::from_secs(HOUR * 24);
/// How long after the start it is looked first whether a backup is due, and how often then.
const FIRST_LOOK: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_secs(600);
/// How old the last one may be: one that is a day late is missing.
const TOO_OLD: Duration = Duration::from_secs(DAY.as_secs() * 2);

/// A time as it stands in a name: names of later times are greater.
fn stamp(at: SystemTime) -> String {
    humantime::format_rfc3339_seconds(at)
        .to_string()
        .replace(['-', ':'], "")
}

/// The time in a name.
fn stamp_of(name: &str) -> Option<&str> {
    let (_, stamp) = name.strip_suffix(ENDING)?.rsplit_once('-')?;
    (stamp.len() == 16 && stamp.ends_with('Z')).then_some(stamp)
}

/// When the last backup was due that should be there at `now`: the last time that it was so many o'clock.
fn last_due(now: SystemTime, hour_utc: u8) -> SystemTime {
    let into = Duration::from_secs(HOUR * u64::from(hour_utc));
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let past = since.saturating_sub(into).as_secs() % DAY.as_secs();
    now.checked_sub(Duration::from_secs(past)).unwrap_or(now)
}

/// The names of the backups in a folder that begin so, oldest first; none where there is no such folder.
fn names(folder: &Path, beginning: &str) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with(beginning) && stamp_of(name).is_some())
        .collect();
    names.sort_by(|a, b| stamp_of(a).cmp(&stamp_of(b)));
    names
}

/// All backups in a folder, the newest first. Those of more than a day after `now` come last: they were made while the clock was ahead.
pub(crate) fn newest_first(folder: &Path, now: SystemTime) -> Vec<PathBuf> {
    let latest = stamp(now.checked_add(DAY).unwrap_or(now));
    let mut names = names(folder, "");
    // What is in order stays so.
    names.sort_by_key(|name| stamp_of(name).is_some_and(|stamp| stamp <= latest.as_str()));
    names.iter().rev().map(|name| folder.join(name)).collect()
}

/// Makes backups for the switch that runs.
pub(crate) struct Backups {
    store: Arc<dyn Store>,
    keys: Mutex<Box<dyn KeySource + Send>>,
    folder: PathBuf,
    hour_utc: u8,
    keep: usize,
    metrics: Metrics,
    last: Mutex<Last>,
}

/// What became of the last ones.
struct Last {
    /// When there was a good one; before there is one of ours, when the switch began.
    good: SystemTime,
    /// Why there is no newer one.
    failure: Option<String>,
}

impl Backups {
    /// In the folder that the settings say, sealed with the key that `keys` has then.
    pub(crate) fn new(
        settings: &Settings,
        store: Arc<dyn Store>,
        keys: Box<dyn KeySource + Send>,
        metrics: Metrics,
    ) -> Self {
        let folder = settings.backups();
        let kept = newest_first(&folder, SystemTime::now());
        if let Some((octets, made)) = kept.first().and_then(|file| made(file)) {
            metrics.backup_found(octets, made);
        }
        metrics.backups_nightly(settings.backup.keep > 0);
        let last = Last {
            good: SystemTime::now(),
            failure: None,
        };
        Self {
            store,
            keys: Mutex::new(keys),
            folder,
            hour_utc: settings.backup.hour_utc,
            keep: usize::from(settings.backup.keep),
            metrics,
            last: Mutex::new(last),
        }
    }

    /// All of them, the newest first. Reads the disk.
    pub(crate) fn newest_first(&self) -> Vec<PathBuf> {
        newest_first(&self.folder, SystemTime::now())
    }

    /// Makes one because an owner wants it; returns where it is. Blocks for as long as it takes.
    pub(crate) fn create(&self) -> Result<PathBuf, BackupError> {
        self.make(MANUAL, SystemTime::now())
    }

    /// Makes the one of the day when it is due, and removes those that are too many. Blocks for as long as it takes.
    pub(crate) fn look(&self, now: SystemTime) {
        if self.keep == 0 {
            return;
        }
        let due = stamp(last_due(now, self.hour_utc));
        let known = names(&self.folder, NIGHTLY);
        // One of a time to come was made while the clock was wrong.
        let present = stamp(now);
        let mut stamps = known.iter().filter_map(|name| stamp_of(name));
        if stamps.any(|stamp| stamp >= due.as_str() && stamp <= present.as_str()) {
            return;
        }
        match self.make(NIGHTLY, now) {
            Ok(file) => tracing::info!(file = %file.display(), "a backup of the store is made"),
            Err(error) => {
                tracing::error!(folder = %self.folder.display(), %error, "no backup could be made");
                return;
            }
        }
        let mut known = names(&self.folder, NIGHTLY);
        // In truth those of a time to come are older than the one that was just made.
        known.sort_by_key(|name| stamp_of(name) <= Some(present.as_str()));
        for name in known.iter().take(known.len().saturating_sub(self.keep)) {
            if let Err(error) = std::fs::remove_file(self.folder.join(name)) {
                tracing::warn!(%name, %error, "an old backup could not be removed");
            }
        }
    }

    fn last(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is wrong with them: the last one failed, or there is none of the last two days though one is due each day.
    pub(crate) fn complaint(&self, now: SystemTime) -> Option<String> {
        let last = self.last();
        let age = now.duration_since(last.good).unwrap_or_default();
        match &last.failure {
            Some(failure) => Some(format!("the last backup failed: {failure}")),
            None if self.keep > 0 && age > TOO_OLD => {
                Some("no backup was made in the last two days".to_owned())
            }
            None => None,
        }
    }

    /// Removes what a switch that was killed while it made one has left; now nobody makes one.
    fn remove_halves(&self) {
        let entries = std::fs::read_dir(&self.folder).into_iter().flatten();
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let is_half = |name: &String| {
            name.strip_suffix(HALF)
                .is_some_and(|name| stamp_of(name).is_some())
        };
        for name in names.filter(is_half) {
            if let Err(error) = std::fs::remove_file(self.folder.join(&name)) {
                tracing::warn!(%name, %error, "half a backup could not be removed");
            }
        }
    }

    fn make(&self, kind: &str, now: SystemTime) -> Result<PathBuf, BackupError> {
        // One at a time, and each with the key of its moment.
        let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let file = self.folder.join(format!("{kind}-{}{ENDING}", stamp(now)));
        self.remove_halves();
        let done = make_private(&self.folder)
            .map_err(BackupError::from)
            .and_then(|()| self.store.back_up(&file, &**keys))
            .and_then(|()| Ok(std::fs::metadata(&file)?.len()));
        self.metrics.backup(done.as_ref().ok().copied(), unix(now));
        let mut last = self.last();
        match &done {
            Ok(_) => {
                *last = Last {
                    good: now,
                    failure: None,
                };
            }
            Err(error) => last.failure = Some(error.to_string()),
        }
        done.map(|_| file)
    }
}

/// Makes one of a store that no switch runs on; returns where it is.
pub(crate) fn create(
    settings: &Settings,
    store: &dyn Store,
    keys: &dyn KeySource,
) -> Result<PathBuf, Failure> {
    let folder = settings.backups();
    let file = folder.join(format!("{MANUAL}-{}{ENDING}", stamp(SystemTime::now())));
    make_private(&folder)
        .map_err(BackupError::from)
        .and_then(|()| store.back_up(&file, keys))
        .map_err(|source| Failure::Backup {
            path: file.clone(),
            source,
        })?;
    Ok(file)
}

/// Makes the folder, for its owner alone, unless it is there.
fn make_private(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
}

fn unix(at: SystemTime) -> f64 {
    at.duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs_f64()
}

/// How large a file is, and when it was written last.
fn made(file: &Path) -> Option<(u64, f64)> {
    let found = file.metadata().ok()?;
    Some((found.len(), unix(found.modified().ok()?)))
}

/// Looks again and again whether a backup is due, for as long as it is polled.
pub(crate) async fn nightly(backups: Arc<Backups>) {
    tokio::time::sleep(FIRST_LOOK).await;
    loop {
        let backups = Arc::clone(&backups);
        // A panic in it would be logged, and the next look is another one.
        let _ = tokio::task::spawn_blocking(move || backups.look(SystemTime::now())).await;
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use store::{MasterKey, SledStore};

    use super::*;

    fn at(text: &str) -> SystemTime {
        humantime::parse_rfc3339(text).unwrap()
    }

    #[test]
    fn one_is_due_each_day_at_its_hour() {
        let due = |now, hour| humantime::format_rfc3339(last_due(at(now), hour)).to_string();
        assert_eq!(due("2026-11-28T03:00:00Z", 3), "2026-11-28T03:00:00Z");
        assert_eq!(due("2026-11-28T02:59:59Z", 3), "2026-11-27T03:00:00Z");
        assert_eq!(due("2026-11-28T23:59:59Z", 0), "2026-11-28T00:00:00Z");
        assert_eq!(due("2026-11-28T22:59:59Z", 23), "2026-11-27T23:00:00Z");
    }

    #[test]
    fn those_of_a_clock_that_was_ahead_do_not_cost_the_new_ones_their_places() {
        let folder = tempfile::tempdir().unwrap();
        let key = || MasterKey::from_octets([7; 32]);
        let mut settings = Settings::default();
        settings.data.dir = folder.path().to_owned();
        settings.backup.keep = 2;
        let store = SledStore::open(&settings.data.store(), &key()).unwrap();
        let metrics = Metrics::new("0");
        let backups = Backups::new(&settings, Arc::new(store), Box::new(key()), metrics.clone());
        for day in ["2036-01-01T03:00:00Z", "2036-01-02T03:00:00Z"] {
            backups.look(at(day));
        }
        let now = at("2026-11-28T12:00:00Z");
        for minutes in [0, 10, 20] {
            backups.look(now + Duration::from_secs(minutes * 60));
        }
        let kept = || names(&settings.backups(), NIGHTLY);
        assert!(kept().contains(&"nightly-20261128T120000Z.backup".to_owned()));
        let made = "strowger_backups_total{result=\"ok\"} 3";
        assert!(metrics.render().contains(made), "one a day");
        backups.look(now + DAY);
        let real = [
            "nightly-20261128T120000Z.backup",
            "nightly-20261129T120000Z.backup",
        ];
        assert_eq!(kept(), real);
    }

    #[test]
    fn what_a_crash_has_left_half_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let key = || MasterKey::from_octets([7; 32]);
        let mut settings = Settings::default();
        settings.data.dir = folder.path().to_owned();
        let store = SledStore::open(&settings.data.store(), &key()).unwrap();
        let metrics = Metrics::new("0");
        let backups = Backups::new(&settings, Arc::new(store), Box::new(key()), metrics);
        let good = backups.create().unwrap();
        let half = settings
            .backups()
            .join("nightly-20261128T030000Z.backup.partial");
        let other = settings.backups().join("mine.partial");
        for file in [&half, &other] {
            std::fs::write(file, "half").unwrap();
        }
        backups.look(at("2026-11-29T12:00:00Z"));
        assert!(!half.exists() && other.exists() && good.exists());
    }

    #[test]
    fn the_newest_is_not_that_of_a_clock_that_was_ahead() {
        let folder = tempfile::tempdir().unwrap();
        for stamp in ["20261128T030000Z", "20261129T030000Z", "20360101T030000Z"] {
            let file = folder.path().join(format!("nightly-{stamp}.backup"));
            std::fs::write(file, "").unwrap();
        }
        let newest = |now| {
            let newest = newest_first(folder.path(), at(now)).into_iter().next();
            let name = newest.unwrap().file_name().unwrap().to_owned();
            name.into_string().unwrap()
        };
        for (now, name) in [
            ("2026-11-29T12:00:00Z", "nightly-20261129T030000Z.backup"),
            // One of the same day: this clock is behind, or that one was ahead, by little.
            ("2026-11-28T12:00:00Z", "nightly-20261129T030000Z.backup"),
            ("2036-01-01T12:00:00Z", "nightly-20360101T030000Z.backup"),
            // Without a clock all are to come.
            ("1970-01-01T00:00:09Z", "nightly-20360101T030000Z.backup"),
        ] {
            assert_eq!(newest(now), name, "{now}");
        }
    }

    #[test]
    fn seven_are_kept_and_those_of_an_owner_stay() {
        let folder = tempfile::tempdir().unwrap();
        let key = || MasterKey::from_octets([7; 32]);
        let mut settings = Settings::default();
        settings.data.dir = folder.path().to_owned();
        let metrics = Metrics::new("0");
        let store = SledStore::open(&settings.data.store(), &key()).unwrap();
        let backups = Backups::new(&settings, Arc::new(store), Box::new(key()), metrics.clone());
        let manual = backups.create().unwrap();
        let mut now = at("2026-11-01T12:00:00Z");
        for _ in 0..20 {
            for _ in 0..3 {
                backups.look(now);
            }
            now += DAY;
        }
        // The clock was ahead once.
        std::fs::copy(
            &manual,
            settings.backups().join("nightly-20990101T000000Z.backup"),
        )
        .unwrap();
        backups.look(now);
        let kept = names(&settings.backups(), NIGHTLY);
        assert_eq!(kept.len(), 7, "{kept:?}");
        assert_eq!(kept[6], "nightly-20261121T120000Z.backup", "{kept:?}");
        assert!(manual.exists());
        store::verify(&settings.backups().join(&kept[6]), &key()).unwrap();
        let page = metrics.render();
        assert!(page.contains("strowger_backups_total{result=\"ok\"} 22"));
        assert!(page.contains("strowger_backups_nightly 1\n"));
        // The next start finds them.
        let metrics = Metrics::new("0");
        let same = Arc::clone(&backups.store);
        Backups::new(&settings, same, Box::new(key()), metrics.clone());
        let found = std::fs::metadata(backups.newest_first().remove(0)).unwrap();
        let size = format!("strowger_backup_size_bytes {}\n", found.len());
        assert!(metrics.render().contains(&size), "{size}");
        let metrics = backups.metrics.clone();
        // Another one of the same second: said, and counted.
        std::fs::write(
            settings.backups().join("nightly-20261123T120000Z.backup"),
            "",
        )
        .unwrap();
        assert!(backups.make(NIGHTLY, at("2026-11-23T12:00:00Z")).is_err());
        let page = metrics.render();
        assert!(page.contains("strowger_backups_total{result=\"error\"} 1"));
        let complaint = |now| backups.complaint(now).unwrap_or_default();
        assert!(complaint(now).contains("failed"), "{}", complaint(now));
        backups.make(MANUAL, now).unwrap();
        assert_eq!(complaint(now), "");
        assert!(complaint(now + DAY * 3).contains("two days"));
    }
}
