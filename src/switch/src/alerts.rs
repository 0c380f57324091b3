//! What is amiss with the switch itself: looked for every few seconds, told as the event `alert` when it begins and when it is over, and shown by
//! `strowger status` for as long as it lasts.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use actors::{House, Via};
use model::Alert;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::admin::STORES_NOTHING;
use crate::backups::Backups;
use crate::recovery;
use crate::sinks::Failing;

/// How often it is looked.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How many are kept at most: whoever has so many has one reason for all of them.
const MOST: usize = 200;

/// How long something must be so before it is told: much of it passes by itself.
fn patience(alert: Alert) -> Duration {
    match alert {
        Alert::TrunkDown => Duration::from_secs(120),
        Alert::SessionDown => Duration::from_secs(60),
        Alert::RegistrySilent
        | Alert::StoreFails
        | Alert::StoreSetAside
        | Alert::RecordsNotWritten
        | Alert::BackupFailed
        | Alert::Overload
        | Alert::ClockAhead
        | Alert::TrunkBlocked
        | Alert::SessionLogin
        | Alert::SessionLimited => Duration::ZERO,
    }
}

/// Whether only the registry knows of it.
fn is_of_the_registry(alert: Alert) -> bool {
    match alert {
        Alert::TrunkDown
        | Alert::TrunkBlocked
        | Alert::SessionDown
        | Alert::SessionLogin
        | Alert::SessionLimited => true,
        Alert::RegistrySilent
        | Alert::StoreFails
        | Alert::StoreSetAside
        | Alert::RecordsNotWritten
        | Alert::BackupFailed
        | Alert::Overload
        | Alert::ClockAhead => false,
    }
}

/// Something that is amiss just now.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Found {
    alert: Alert,
    at: Option<Via>,
    detail: String,
}

/// Something that is amiss.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct AlertView {
    /// Its name, as `docs/events.md` lists them.
    pub(crate) name: String,
    /// The trunk it is about.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) trunk: String,
    /// The session it is about.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) session: String,
    /// Since when, in seconds since 1970.
    pub(crate) since: u64,
    /// What exactly, in words.
    pub(crate) detail: String,
}

/// One that was found, from then on.
#[derive(Debug)]
struct Known {
    found: Found,
    first: Instant,
    since: u64,
    is_told: bool,
}

/// What has begun, or is over.
#[derive(Debug, PartialEq, Eq)]
struct Change {
    is_firing: bool,
    at: Option<Via>,
    view: AlertView,
}

/// By what, and about whom.
type Key = (Alert, String, String);

/// All that is amiss.
#[derive(Debug, Default)]
pub(crate) struct Alerts(Mutex<BTreeMap<Key, Known>>);

impl Alerts {
    /// What is amiss now.
    pub(crate) fn firing(&self) -> Vec<AlertView> {
        let known = self.known();
        let told = known.values().filter(|known| known.is_told);
        told.map(Known::view).collect()
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<Key, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Compares what is found with what was; what has changed. Of what the registry knows nothing is over while it is silent.
    fn note(&self, now: Instant, unix: u64, mut found: Vec<Found>, is_silent: bool) -> Vec<Change> {
        let mut known = self.known();
        // What there is no room for would be told as over: so that is no alert of the process, nor one that is known already.
        found.sort_by_cached_key(|found| {
            let is_new = !known.contains_key(&found.key());
            (is_of_the_registry(found.alert), is_new)
        });
        found.truncate(MOST);
        let mut changes = Vec::new();
        let present: BTreeMap<Key, Found> = found
            .into_iter()
            .map(|found| (found.key(), found))
            .collect();
        known.retain(|key, known| {
            let stays = present.contains_key(key) || is_silent && is_of_the_registry(key.0);
            if !stays && known.is_told {
                changes.push(known.change(false));
            }
            stays
        });
        for (key, found) in present {
            let entry = known.entry(key).or_insert_with(|| Known {
                found: found.clone(),
                first: now,
                since: unix,
                is_told: false,
            });
            entry.found = found;
            let lasts = now.saturating_duration_since(entry.first);
            if !entry.is_told && lasts >= patience(entry.found.alert) {
                entry.is_told = true;
                changes.push(entry.change(true));
            }
        }
        changes
    }
}

impl Found {
    fn new(alert: Alert, detail: impl Into<String>) -> Self {
        Self {
            alert,
            at: None,
            detail: detail.into(),
        }
    }

    fn at(alert: Alert, at: Via, detail: impl Into<String>) -> Self {
        Self {
            at: Some(at),
            ..Self::new(alert, detail)
        }
    }

    fn names(&self) -> (String, String) {
        match &self.at {
            Some(Via::Trunk(trunk)) => (trunk.to_string(), String::new()),
            Some(Via::Session(session)) => (String::new(), session.to_string()),
            None => (String::new(), String::new()),
        }
    }

    fn key(&self) -> Key {
        let (trunk, session) = self.names();
        (self.alert, trunk, session)
    }
}

impl Known {
    fn view(&self) -> AlertView {
        let (trunk, session) = self.found.names();
        AlertView {
            name: self.found.alert.to_string(),
            trunk,
            session,
            since: self.since,
            detail: self.found.detail.clone(),
        }
    }

    fn change(&self, is_firing: bool) -> Change {
        Change {
            is_firing,
            at: self.found.at.clone(),
            view: self.view(),
        }
    }
}

/// What is looked at.
pub(crate) struct Lookout {
    pub(crate) house: Arc<House>,
    pub(crate) backups: Arc<Backups>,
    pub(crate) sinks: Vec<Failing>,
    /// The folder of the store.
    pub(crate) store: PathBuf,
    pub(crate) alerts: Arc<Alerts>,
}

impl Lookout {
    /// Looks again and again, for as long as it is polled.
    pub(crate) async fn watch(self) {
        loop {
            self.look().await;
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn look(&self) {
        let (mut found, is_silent) = self.of_the_registry().await;
        found.extend(self.of_the_process().await);
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let unix = now.unwrap_or_default().as_secs();
        for change in self.alerts.note(Instant::now(), unix, found, is_silent) {
            self.tell(&change);
        }
    }

    fn tell(&self, change: &Change) {
        let AlertView {
            name,
            trunk,
            session,
            since,
            detail,
        } = &change.view;
        let state = if change.is_firing {
            tracing::warn!(alert = %name, %trunk, %session, "{detail}");
            "firing"
        } else {
            tracing::info!(alert = %name, %trunk, %session, "over: {detail}");
            "resolved"
        };
        let data = json!({ "name": name, "state": state, "since": since, "detail": detail });
        self.house.tell_alert(change.at.as_ref(), data);
    }

    /// What the registry knows; whether it is silent.
    async fn of_the_registry(&self) -> (Vec<Found>, bool) {
        let (trunks, sessions) = (self.house.trunks().await, self.house.sessions().await);
        let (Some(trunks), Some(sessions)) = (trunks, sessions) else {
            let silent = Found::new(Alert::RegistrySilent, actors::SILENT);
            return (vec![silent], true);
        };
        let mut found = Vec::new();
        for trunk in trunks.into_iter().filter(|trunk| trunk.enabled) {
            let at = Via::Trunk(trunk.name);
            if trunk.blocked {
                let detail = "no call is placed on it for a while: too many failed, or its PBX wants that (503)";
                found.push(Found::at(Alert::TrunkBlocked, at.clone(), detail));
            }
            if !trunk.up {
                let detail = "it is not registered, or does not answer: it cannot be called";
                found.push(Found::at(Alert::TrunkDown, at, detail));
            }
        }
        for session in sessions.into_iter().filter(|session| session.spec.enabled) {
            let until = match session.until {
                Some(until) => {
                    let until = UNIX_EPOCH + Duration::from_secs(until);
                    format!(" until {}", humantime::format_rfc3339_seconds(until))
                }
                None => String::new(),
            };
            let alert = match session.state.as_str() {
                "running" => continue,
                "unauthorized" => Alert::SessionLogin,
                "flood_wait" | "restricted" => Alert::SessionLimited,
                _ => Alert::SessionDown,
            };
            let detail = format!("its state is {}{until}", session.state);
            found.push(Found::at(alert, Via::Session(session.spec.name), detail));
        }
        (found, false)
    }

    /// What can be seen without it.
    async fn of_the_process(&self) -> Vec<Found> {
        let mut found = Vec::new();
        if !self.house.stores() {
            found.push(Found::new(Alert::StoreFails, STORES_NOTHING));
        }
        if let Some(reason) = self.house.load().reason {
            let detail = format!("new calls are refused: too much {reason}");
            found.push(Found::new(Alert::Overload, detail));
        }
        let ahead = self.house.metrics().seconds_ahead();
        if ahead > 0 {
            let detail = format!("this machine's clock is {ahead} s ahead of Telegram's");
            found.push(Found::new(Alert::ClockAhead, detail));
        }
        let failing: Vec<&str> = self.sinks.iter().filter_map(Failing::name).collect();
        if !failing.is_empty() {
            let detail = format!(
                "call records wait in the store to be written: {}",
                failing.join(", ")
            );
            found.push(Found::new(Alert::RecordsNotWritten, detail));
        }
        if let Some(detail) = self.backups.complaint(SystemTime::now()) {
            found.push(Found::new(Alert::BackupFailed, detail));
        }
        // The disk may take its time.
        let store = self.store.clone();
        let notes = tokio::task::spawn_blocking(move || recovery::notes(&store)).await;
        let notes = notes.unwrap_or_default();
        self.house.metrics().stores_set_aside(notes.len());
        if !notes.is_empty() {
            found.push(Found::new(Alert::StoreSetAside, notes.join("; ")));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn down(trunk: &str) -> Found {
        Found::at(Alert::TrunkDown, Via::Trunk(trunk.parse().unwrap()), "down")
    }

    /// What has changed: the name, the trunk, and whether it begins.
    fn told(changes: Vec<Change>) -> Vec<(String, String, bool)> {
        let told = changes
            .into_iter()
            .map(|change| (change.view.name, change.view.trunk, change.is_firing));
        told.collect()
    }

    #[test]
    fn what_lasts_is_told_once_when_it_begins_and_once_when_it_is_over() {
        let alerts = Alerts::default();
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let fails = || Found::new(Alert::StoreFails, "full");
        let found = || vec![fails(), down("a"), down("b")];
        let store = ("store_fails".to_owned(), String::new());
        let trunk = |name: &str| ("trunk_down".to_owned(), name.to_owned());
        let with = |(name, trunk): (String, String), is_firing| (name, trunk, is_firing);
        assert_eq!(
            told(alerts.note(at(0), 1000, found(), false)),
            [with(store.clone(), true)]
        );
        assert_eq!(told(alerts.note(at(60), 1060, found(), false)), []);
        // One of them is back before its time.
        let rest = vec![fails(), down("b")];
        assert_eq!(told(alerts.note(at(119), 1119, rest.clone(), false)), []);
        assert_eq!(
            told(alerts.note(at(120), 1120, found(), false)),
            [with(trunk("b"), true)]
        );
        let firing = alerts.firing();
        assert_eq!(firing.len(), 2);
        assert_eq!((firing[1].since, firing[1].trunk.as_str()), (1000, "b"));
        // Nobody knows of trunks while the registry is silent.
        let silent = vec![Found::new(Alert::RegistrySilent, "silent")];
        assert_eq!(
            told(alerts.note(at(125), 1125, silent, true)),
            [
                with(store, false),
                ("registry_silent".to_owned(), String::new(), true)
            ]
        );
        assert_eq!(
            told(alerts.note(at(130), 1130, vec![], false)),
            [
                ("registry_silent".to_owned(), String::new(), false),
                with(trunk("b"), false)
            ]
        );
        assert_eq!(alerts.firing(), []);
    }

    #[test]
    fn a_store_that_was_set_aside_counts_until_it_is_moved_away() {
        let folder = tempfile::tempdir().unwrap();
        let metrics = metrics::Metrics::new("0");
        let aside = folder.path().join("store.bad-1795896397");
        std::fs::create_dir(&aside).unwrap();
        actix::System::new().block_on(async {
            let place = folder.path().join("data");
            let (house, desk) = crate::api::tests::desk(&place, &metrics).await;
            let lookout = Lookout {
                house: Arc::clone(&house),
                backups: desk.backups.into_inner(),
                sinks: Vec::new(),
                store: folder.path().join("store"),
                alerts: Arc::default(),
            };
            for count in [1, 0] {
                lookout.look().await;
                let line = format!("strowger_stores_set_aside {count}\n");
                assert!(metrics.render().contains(&line), "{line}");
                assert_eq!(lookout.alerts.firing().len(), count);
                let _ = std::fs::remove_dir(&aside);
            }
            house.stop(Duration::ZERO).await;
        });
    }

    #[test]
    fn there_are_never_more_than_so_many() {
        let alerts = Alerts::default();
        let begun = Instant::now();
        for n in 0..3u64 {
            let found = (0..10_000).map(|n| down(&format!("t{n}"))).collect();
            alerts.note(begun + Duration::from_secs(n * 100), n, found, false);
        }
        assert_eq!(alerts.firing().len(), MOST);
    }

    #[test]
    fn ten_thousand_trunks_displace_neither_the_store_nor_what_is_told_already() {
        let alerts = Alerts::default();
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let trunks = |from: u64| (from..10_000).map(|n| down(&format!("t{n:05}")));
        alerts.note(at(0), 0, trunks(9_800).collect(), false);
        let told_now = told(alerts.note(at(120), 120, trunks(9_800).collect(), false));
        assert_eq!(told_now.len(), MOST);
        // As the registry and the process find it: the former first, and new trunks before those that are known.
        let all = || {
            let fails = Found::new(Alert::StoreFails, "full");
            trunks(0).chain([fails]).collect::<Vec<_>>()
        };
        let changes = told(alerts.note(at(125), 125, all(), false));
        let store = ("store_fails".to_owned(), String::new(), true);
        assert!(changes.contains(&store), "{changes:?}");
        assert_eq!(changes.len(), 2, "one trunk makes room: {changes:?}");
        assert_eq!(told(alerts.note(at(300), 300, all(), false)), []);
        let firing = alerts.firing();
        assert_eq!(firing.len(), MOST);
        assert!(firing.iter().any(|alert| alert.name == "store_fails"));
        assert_eq!(
            firing
                .iter()
                .filter(|alert| alert.trunk.as_str() >= "t09800")
                .count(),
            MOST - 1
        );
    }
}
