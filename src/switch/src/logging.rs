//! The log: one line an event, to standard error, and a count of events for `/metrics`.

use std::sync::OnceLock;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::settings::{Log, LogFormat};

static METRICS: OnceLock<metrics::Metrics> = OnceLock::new();

/// Starts the log; a second call changes nothing.
pub(crate) fn start(log: &Log, metrics: &metrics::Metrics) {
    let _ = METRICS.set(metrics.clone());
    let filter = EnvFilter::try_new(log.level.to_string()).unwrap_or_else(|_| EnvFilter::new("info"));
    let registry = tracing_subscriber::registry().with(filter).with(Count);
    let writer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let _ = match log.format {
        LogFormat::Text => registry.with(writer.with_ansi(false)).try_init(),
        LogFormat::Json => registry.with(writer.json()).try_init(),
    };
    count_panics();
}

/// A panic in an actor or a media task is survived, and must be seen all the same.
fn count_panics() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if let Some(metrics) = METRICS.get() {
            metrics.panicked();
        }
        tracing::error!(panic = %info, "something panicked");
        before(info);
    }));
}

/// Counts what is logged.
struct Count;

impl<S: Subscriber> Layer<S> for Count {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let level = match *event.metadata().level() {
            Level::ERROR => "error",
            Level::WARN => "warn",
            Level::INFO => "info",
            _ => return,
        };
        if let Some(metrics) = METRICS.get() {
            metrics.log_event(level);
        }
    }
}
