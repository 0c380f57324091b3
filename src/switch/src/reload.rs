//! SIGHUP: the settings are read again. A file with faults changes nothing; of a good one what can change is in force at once, and what
//! cannot is named.

use std::time::{SystemTime, UNIX_EPOCH};

use actix_web::web::{Data, block};
use serde_json::Value;

use crate::logging::Levels;
use crate::settings::{self, Settings, Sources};

/// What is in force at once; everything else waits for the next start.
const LIVE: [&str; 4] = ["log.level", "shutdown.drain_s", "cdr.keep", "cdr.privacy"];
/// A section of which the same is true.
const LIVE_SECTION: &str = "overload.";

/// The settings of the process, and where they come from.
pub(crate) struct Reload {
    sources: Sources,
    /// As they are in force.
    settings: Settings,
    levels: Data<Levels>,
    metrics: metrics::Metrics,
}

impl Reload {
    /// The settings that the process has begun with.
    pub(crate) fn new(
        sources: Sources,
        settings: Settings,
        levels: Data<Levels>,
        metrics: metrics::Metrics,
    ) -> Self {
        Self {
            sources,
            settings,
            levels,
            metrics,
        }
    }

    /// The settings as they are in force.
    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Reads them again.
    pub(crate) async fn again(&mut self) {
        let sources = self.sources.clone();
        let Ok(loaded) = block(move || settings::load(&sources)).await else {
            return;
        };
        match loaded {
            Ok(loaded) => self.put_in_force(&loaded.settings),
            Err(faults) => {
                self.metrics.config_refused();
                for fault in faults {
                    tracing::error!(%fault, "the settings are not read again");
                }
            }
        }
    }

    fn put_in_force(&mut self, new: &Settings) {
        let (live, waiting): (Vec<String>, Vec<String>) = changed(&self.settings, new)
            .into_iter()
            .partition(|key| LIVE.contains(&key.as_str()) || key.starts_with(LIVE_SECTION));
        if live.iter().any(|key| key == "log.level")
            && let Err(error) = self.levels.set(new.log.level.as_str())
        {
            self.metrics.config_refused();
            tracing::error!(error, "the settings are not read again");
            return;
        }
        self.settings.log.level = new.log.level.clone();
        self.settings.shutdown.drain_s = new.shutdown.drain_s;
        self.settings.overload = new.overload.clone();
        self.settings.cdr.keep = new.cdr.keep.clone();
        self.settings.cdr.privacy = new.cdr.privacy;
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        self.metrics
            .config_applied(now.unwrap_or_default().as_secs_f64());
        tracing::info!(in_force = live.join(", "), "the settings are read again");
        if !waiting.is_empty() {
            let keys = waiting.join(", ");
            tracing::warn!(keys, "changed settings that wait for the next start");
        }
    }
}

/// The keys that differ, as they are written in the file.
fn changed(old: &Settings, new: &Settings) -> Vec<String> {
    let value = |settings: &Settings| serde_json::to_value(settings).unwrap_or_default();
    let mut keys = Vec::new();
    compare("", &value(old), &value(new), &mut keys);
    keys
}

fn compare(path: &str, old: &Value, new: &Value, keys: &mut Vec<String>) {
    if old == new {
        return;
    }
    let (Value::Object(old), Value::Object(new)) = (old, new) else {
        keys.push(path.to_owned());
        return;
    };
    let nothing = Value::Null;
    let gone = old.keys().filter(|key| !new.contains_key(*key));
    for key in new.keys().chain(gone) {
        let dot = if path.is_empty() { "" } else { "." };
        let (before, after) = (old.get(key), new.get(key));
        let path = format!("{path}{dot}{key}");
        compare(
            &path,
            before.unwrap_or(&nothing),
            after.unwrap_or(&nothing),
            keys,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_keys_are_named_as_in_the_file() {
        let old = Settings::default();
        let mut new = old.clone();
        assert!(changed(&old, &new).is_empty());
        new.sip.t1_ms = 400;
        new.sip.guard.ban_s = 7;
        new.log.level = "debug".parse().unwrap();
        let mut keys = changed(&old, &new);
        keys.sort();
        assert_eq!(keys, ["log.level", "sip.guard.ban_s", "sip.t1_ms"]);
    }
}
