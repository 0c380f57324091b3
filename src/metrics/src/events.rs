//! Events, and who listens to them.

use model::EventKind;
use prometheus::{IntCounter, IntCounterVec, IntGauge};

use crate::Metrics;
use crate::family::{Families, all};
use crate::label::{Closed, whole};

impl Closed for EventKind {
    fn values() -> Vec<&'static str> {
        EventKind::ALL.iter().map(|kind| kind.label()).collect()
    }
}

pub(crate) struct Events {
    told: IntCounterVec,
    listeners: IntGauge,
    dropped: IntCounter,
}

impl Events {
    pub(crate) fn new(make: &mut Families) -> Self {
        Self {
            told: make.counter(
                "events_total",
                "Events, whether anybody listened or not.",
                vec![all::<EventKind>("type")],
            ),
            listeners: make.one_gauge("event_listeners", "Who listens to events now."),
            dropped: make.one_counter(
                "event_listeners_dropped_total",
                "Listeners that were left because they were too slow.",
            ),
        }
    }
}

impl Metrics {
    /// Something of this kind has happened.
    pub fn event(&self, kind: EventKind) {
        let labels = [kind.label()];
        self.all.events.told.with_label_values(&labels).inc();
    }

    /// So many listen to events now.
    pub fn event_listeners(&self, count: usize) {
        self.all.events.listeners.set(whole(count));
    }

    /// A listener was too slow.
    pub fn event_listener_dropped(&self) {
        self.all.events.dropped.inc();
    }
}
