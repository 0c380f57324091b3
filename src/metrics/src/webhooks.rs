//! Webhooks: what is posted, and what waits.

use std::time::Duration;

use model::EventKind;
use prometheus::{HistogramVec, IntCounter, IntCounterVec, IntGauge};

use crate::Metrics;
use crate::family::{Families, all};
use crate::label::{Closed, labelled, whole};

/// Groups of events: what the name of a kind begins with.
struct EventGroup;

impl Closed for EventGroup {
    fn values() -> Vec<&'static str> {
        EventKind::groups()
    }
}

labelled! {
    /// What became of a delivery, or of one of its posts.
    pub enum DeliveryResult {
        /// The receiver has it.
        Ok = "ok",
        /// It is posted again later.
        Retry = "retry",
        /// It is not posted again.
        Dropped = "dropped",
    }
}

pub(crate) struct Webhooks {
    deliveries: IntCounterVec,
    seconds: HistogramVec,
    queue: IntGauge,
    missed: IntCounter,
}

impl Webhooks {
    pub(crate) fn new(make: &mut Families) -> Self {
        Self {
            deliveries: make.counter(
                "webhook_deliveries_total",
                "Posts to webhooks: taken by the receiver, to be repeated, or dropped for good.",
                vec![all::<EventGroup>("event"), all::<DeliveryResult>("result")],
            ),
            seconds: make.histogram(
                "webhook_delivery_seconds",
                "Time of one post to a webhook, with or without success.",
                &[0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0],
                vec![all::<EventGroup>("event")],
            ),
            queue: make.one_gauge(
                "webhook_queue_deliveries",
                "Deliveries to webhooks that wait or are being posted.",
            ),
            missed: make.one_counter(
                "webhook_events_missed_total",
                "Events that no webhook was told of, because too many came at once.",
            ),
        }
    }
}

impl Metrics {
    /// This has become of an event of this kind that a webhook wanted.
    pub fn webhook_delivery(&self, kind: EventKind, result: DeliveryResult) {
        let labels = [kind.group(), result.label()];
        let deliveries = &self.all.webhooks.deliveries;
        deliveries.with_label_values(&labels).inc();
    }

    /// An event of this kind was posted to a webhook in this time.
    pub fn webhook_posted(&self, kind: EventKind, took: Duration) {
        let seconds = &self.all.webhooks.seconds;
        let posts = seconds.with_label_values(&[kind.group()]);
        posts.observe(took.as_secs_f64());
    }

    /// So many deliveries wait, or are being posted.
    pub fn webhook_queue(&self, count: usize) {
        self.all.webhooks.queue.set(whole(count));
    }

    /// So many events were missed.
    pub fn webhook_events_missed(&self, count: u64) {
        self.all.webhooks.missed.inc_by(count);
    }
}
