//! The log: one line an event, to standard error, and a count of events for `/metrics`.
//!
//! What must not be read is kept out of it by types: `model::Secret` has no text.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::sync::{Mutex, PoisonError};

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

use crate::call_log::CallLog;
use crate::settings::{Log, LogFormat, LogLevel};

/// The rooms of this house, as targets of events.
const ROOMS: [&str; 10] = [
    "actors", "media", "metrics", "model", "net", "routing", "sip", "store", "switch", "telegram",
];

/// What is logged, which can be changed while the process runs.
pub(crate) struct Levels {
    filter: reload::Handle<EnvFilter, Registry>,
    now: Mutex<String>,
    /// What was logged of the last calls.
    pub(crate) calls: CallLog,
}

impl Levels {
    /// The level or filter that holds.
    pub(crate) fn now(&self) -> String {
        let now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        now.clone()
    }

    /// Logs by another level or filter from now on, or says why not.
    pub(crate) fn set(&self, level: &str) -> Result<(), String> {
        let parsed: LogLevel = level
            .parse()
            .map_err(|error: crate::settings::ValueError| error.to_string())?;
        let filter = EnvFilter::new(directives(&parsed));
        let set = self.filter.reload(filter);
        set.map_err(|error| error.to_string())?;
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        level.clone_into(&mut now);
        tracing::info!(level, "logs by another level");
        Ok(())
    }
}

/// Starts the log; a second call changes nothing of the first.
pub(crate) fn start(log: &Log, metrics: &metrics::Metrics) -> Levels {
    let filter = EnvFilter::new(directives(&log.level));
    let (filter, handle) = reload::Layer::new(filter);
    let calls = CallLog::default();
    let registry = tracing_subscriber::registry()
        .with(filter)
        .with(calls.clone())
        .with(Count(metrics.clone()));
    let writer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let _ = match log.format {
        LogFormat::Text => registry.with(writer.with_ansi(false)).try_init(),
        LogFormat::Json => registry.with(writer.json()).try_init(),
    };
    count_panics(metrics.clone());
    Levels {
        filter: handle,
        calls,
        now: Mutex::new(log.level.as_str().to_owned()),
    }
}

/// A level alone is for our own rooms: of libraries, warnings are enough, and their traces are not ours to vouch for.
pub(crate) fn directives(level: &LogLevel) -> String {
    match level.as_str() {
        "off" | "error" => level.as_str().to_owned(),
        plain if level.is_plain() => {
            let rooms = ROOMS.map(|room| format!("{room}={plain}"));
            format!("warn,{}", rooms.join(","))
        }
        filter => filter.to_owned(),
    }
}

/// A panic in an actor or a media task is survived, and must be seen all the same.
fn count_panics(metrics: metrics::Metrics) {
    std::panic::set_hook(Box::new(move |panic| {
        metrics.panicked();
        let backtrace = Backtrace::capture();
        let shown = matches!(backtrace.status(), BacktraceStatus::Captured);
        let thread = std::thread::current();
        tracing::error!(
            thread = thread.name().unwrap_or("unnamed"),
            backtrace = shown.then(|| tracing::field::display(&backtrace)),
            "{panic}"
        );
    }));
}

/// Counts what is logged.
struct Count(metrics::Metrics);

impl<S: Subscriber> Layer<S> for Count {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        match *event.metadata().level() {
            Level::ERROR => self.0.log_event("error"),
            Level::WARN => self.0.log_event("warn"),
            Level::INFO => self.0.log_event("info"),
            Level::DEBUG | Level::TRACE => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_alone_is_for_our_own_rooms() {
        let directives = |text: &str| directives(&text.parse().unwrap());
        assert!(directives("debug").starts_with("warn,actors=debug,"));
        assert_eq!(directives("error"), "error");
        assert_eq!(directives("info,sip=trace"), "info,sip=trace");
    }

    #[test]
    fn events_and_panics_are_counted() {
        let metrics = metrics::Metrics::new("0");
        let subscriber = tracing_subscriber::registry().with(Count(metrics.clone()));
        tracing::subscriber::with_default(subscriber, || tracing::warn!("odd"));
        let text = metrics.render();
        assert!(
            text.contains("strowger_log_events_total{level=\"warn\"} 1"),
            "{text}"
        );
    }
}
