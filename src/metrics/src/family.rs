//! Making families.

use prometheus::core::Collector;
use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry,
};

/// Makes families and registers them under the prefix.
pub(crate) struct Maker {
    registry: Registry,
}

/// The crate refuses a family only when its name or labels are malformed or taken: a mistake of this room, which its own tests
/// meet at once.
fn sure<T>(made: Result<T, prometheus::Error>) -> T {
    made.unwrap_or_else(|error| unreachable!("a family of this room: {error}"))
}

impl Maker {
    pub(crate) fn new() -> Self {
        Self {
            registry: sure(Registry::new_custom(Some(crate::PREFIX.into()), None)),
        }
    }

    pub(crate) fn finish(self) -> Registry {
        self.registry
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    fn keep<C: Collector + Clone + 'static>(&self, family: C) -> C {
        sure(self.registry.register(Box::new(family.clone())));
        family
    }

    pub(crate) fn counter(&mut self, name: &str, help: &str) -> IntCounter {
        self.keep(sure(IntCounter::new(name, help)))
    }

    pub(crate) fn counters(&mut self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.keep(sure(IntCounterVec::new(Opts::new(name, help), labels)))
    }

    pub(crate) fn seconds(
        &mut self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> prometheus::CounterVec {
        self.keep(sure(prometheus::CounterVec::new(
            Opts::new(name, help),
            labels,
        )))
    }

    pub(crate) fn gauge(&mut self, name: &str, help: &str) -> IntGauge {
        self.keep(sure(IntGauge::new(name, help)))
    }

    pub(crate) fn timestamp(&mut self, name: &str, help: &str) -> Gauge {
        self.keep(sure(Gauge::new(name, help)))
    }

    pub(crate) fn gauges(&mut self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.keep(sure(IntGaugeVec::new(Opts::new(name, help), labels)))
    }

    pub(crate) fn timestamps(&mut self, name: &str, help: &str, labels: &[&str]) -> GaugeVec {
        self.keep(sure(GaugeVec::new(Opts::new(name, help), labels)))
    }

    pub(crate) fn histogram(&mut self, name: &str, help: &str, buckets: &[f64]) -> Histogram {
        self.keep(sure(Histogram::with_opts(
            HistogramOpts::new(name, help).buckets(buckets.to_vec()),
        )))
    }

    pub(crate) fn histograms(
        &mut self,
        name: &str,
        help: &str,
        labels: &[&str],
        buckets: &[f64],
    ) -> HistogramVec {
        self.keep(sure(HistogramVec::new(
            HistogramOpts::new(name, help).buckets(buckets.to_vec()),
            labels,
        )))
    }
}
