//! Making families: one call registers a family, writes down its labels, and touches its series.

use std::collections::HashMap;

use prometheus::core::{Collector, MetricVec, MetricVecBuilder};
use prometheus::{
    CounterVec, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec,
    IntGauge, IntGaugeVec, Opts, Registry,
};

use crate::PREFIX;
use crate::label::{Closed, OTHER};

/// What kind of family it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FamilyKind {
    /// Only ever grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Observations in buckets.
    Histogram,
}

/// One registered family.
#[derive(Clone, Debug)]
pub struct Family {
    /// Its full name, with the prefix.
    pub name: String,
    /// Its kind.
    pub kind: FamilyKind,
    /// Its help text.
    pub help: &'static str,
    /// Its labels, in order.
    pub labels: Vec<FamilyLabel>,
}

/// One label of a family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FamilyLabel {
    /// Its name.
    pub name: &'static str,
    /// The values it may have.
    pub values: LabelValues,
}

/// Where the values of a label come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LabelValues {
    /// One of these.
    Closed(Vec<&'static str>),
    /// The name of a configured trunk, or `other`.
    Trunk,
    /// The name of a configured session, or `other`.
    Session,
    /// Fixed when the program was built.
    Build,
}

/// A label of a family, and which of its values are touched at the start.
pub(crate) struct Column {
    name: &'static str,
    values: LabelValues,
    touched: Vec<&'static str>,
    /// Whether names beyond the limit share a series.
    is_shared: bool,
}

/// A label whose every value is touched.
pub(crate) fn all<L: Closed>(name: &'static str) -> Column {
    some::<L>(name, L::values())
}

/// A label of which only these values can occur so far.
pub(crate) fn some<L: Closed>(name: &'static str, touched: Vec<&'static str>) -> Column {
    Column {
        name,
        values: LabelValues::Closed(L::values()),
        touched,
        is_shared: true,
    }
}

/// The label `trunk`.
pub(crate) fn trunk() -> Column {
    Column {
        name: "trunk",
        values: LabelValues::Trunk,
        touched: vec![OTHER],
        is_shared: true,
    }
}

/// The same where something is said of each trunk that cannot be said of several together: a series `other` would say for ever that
/// they are down.
pub(crate) fn each_trunk() -> Column {
    Column {
        is_shared: false,
        ..trunk()
    }
}

/// The label `session`.
pub(crate) fn session() -> Column {
    Column {
        name: "session",
        values: LabelValues::Session,
        touched: vec![OTHER],
        is_shared: true,
    }
}

/// The same where something is said of each session, as with [`each_trunk`].
pub(crate) fn each_session() -> Column {
    Column {
        is_shared: false,
        ..session()
    }
}

/// A label that is fixed when the program is built.
pub(crate) fn built(name: &'static str) -> Column {
    Column {
        name,
        values: LabelValues::Build,
        touched: Vec::new(),
        is_shared: true,
    }
}

type ByName = Box<dyn Fn(&str) + Send + Sync>;

/// The series of one family that carry a configured name.
struct Named {
    touch: ByName,
    forget: ByName,
}

/// All families of the process.
pub(crate) struct Families {
    registry: Registry,
    made: Vec<Family>,
    trunks: Vec<Named>,
    sessions: Vec<Named>,
}

impl Families {
    pub(crate) fn new() -> Self {
        Self {
            registry: Registry::new(),
            made: Vec::new(),
            trunks: Vec::new(),
            sessions: Vec::new(),
        }
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    pub(crate) fn list(&self) -> &[Family] {
        &self.made
    }

    pub(crate) fn counter(
        &mut self,
        name: &'static str,
        help: &'static str,
        columns: Vec<Column>,
    ) -> IntCounterVec {
        let rows = product(&columns);
        self.counter_rows(name, help, columns, rows)
    }

    /// A counter whose labels depend on each other: these rows are touched instead of the product.
    pub(crate) fn counter_rows(
        &mut self,
        name: &'static str,
        help: &'static str,
        columns: Vec<Column>,
        rows: Vec<Vec<&'static str>>,
    ) -> IntCounterVec {
        let vec = sure(IntCounterVec::new(opts(name, help), &names(&columns)));
        self.put(vec, name, FamilyKind::Counter, help, columns, rows)
    }

    /// A counter of seconds.
    pub(crate) fn seconds_counter(
        &mut self,
        name: &'static str,
        help: &'static str,
        columns: Vec<Column>,
    ) -> CounterVec {
        let rows = product(&columns);
        self.seconds_counter_rows(name, help, columns, rows)
    }

    /// A counter of seconds of which only these rows are touched.
    pub(crate) fn seconds_counter_rows(
        &mut self,
        name: &'static str,
        help: &'static str,
        columns: Vec<Column>,
        rows: Vec<Vec<&'static str>>,
    ) -> CounterVec {
        let vec = sure(CounterVec::new(opts(name, help), &names(&columns)));
        self.put(vec, name, FamilyKind::Counter, help, columns, rows)
    }

    pub(crate) fn gauge(
        &mut self,
        name: &'static str,
        help: &'static str,
        columns: Vec<Column>,
    ) -> IntGaugeVec {
        let rows = product(&columns);
        self.gauge_rows(name, help, columns, rows)
    }

    /// A gauge whose labels depend on each other: these rows are touched instead of the product.
    pub(crate) fn gauge_rows(
        &mut self,
        name: &'static str,
        help: &'static str,
        columns: Vec<Column>,
        rows: Vec<Vec<&'static str>>,
    ) -> IntGaugeVec {
        let vec = sure(IntGaugeVec::new(opts(name, help), &names(&columns)));
        self.put(vec, name, FamilyKind::Gauge, help, columns, rows)
    }

    /// A gauge of seconds since 1970.
    pub(crate) fn time_gauge(
        &mut self,
        name: &'static str,
        help: &'static str,
        columns: Vec<Column>,
    ) -> GaugeVec {
        let rows = product(&columns);
        let vec = sure(GaugeVec::new(opts(name, help), &names(&columns)));
        self.put(vec, name, FamilyKind::Gauge, help, columns, rows)
    }

    pub(crate) fn histogram(
        &mut self,
        name: &'static str,
        help: &'static str,
        buckets: &[f64],
        columns: Vec<Column>,
    ) -> HistogramVec {
        let rows = product(&columns);
        let opts = HistogramOpts::new(name, help)
            .namespace(PREFIX)
            .buckets(buckets.to_vec());
        let vec = sure(HistogramVec::new(opts, &names(&columns)));
        self.put(vec, name, FamilyKind::Histogram, help, columns, rows)
    }

    /// A counter without labels.
    pub(crate) fn one_counter(&mut self, name: &'static str, help: &'static str) -> IntCounter {
        let vec = self.counter(name, help, Vec::new());
        vec.with_label_values::<&str>(&[])
    }

    /// A gauge without labels.
    pub(crate) fn one_gauge(&mut self, name: &'static str, help: &'static str) -> IntGauge {
        let vec = self.gauge(name, help, Vec::new());
        vec.with_label_values::<&str>(&[])
    }

    /// A gauge of seconds since 1970, without labels.
    pub(crate) fn one_time(&mut self, name: &'static str, help: &'static str) -> Gauge {
        let vec = self.time_gauge(name, help, Vec::new());
        vec.with_label_values::<&str>(&[])
    }

    /// A histogram without labels.
    pub(crate) fn one_histogram(
        &mut self,
        name: &'static str,
        help: &'static str,
        buckets: &[f64],
    ) -> Histogram {
        let vec = self.histogram(name, help, buckets, Vec::new());
        vec.with_label_values::<&str>(&[])
    }

    pub(crate) fn touch_trunk(&self, name: &str) {
        self.trunks.iter().for_each(|series| (series.touch)(name));
    }

    pub(crate) fn forget_trunk(&self, name: &str) {
        self.trunks.iter().for_each(|series| (series.forget)(name));
    }

    pub(crate) fn touch_session(&self, name: &str) {
        self.sessions.iter().for_each(|series| (series.touch)(name));
    }

    pub(crate) fn forget_session(&self, name: &str) {
        self.sessions
            .iter()
            .for_each(|series| (series.forget)(name));
    }

    fn put<B>(
        &mut self,
        vec: MetricVec<B>,
        name: &'static str,
        kind: FamilyKind,
        help: &'static str,
        columns: Vec<Column>,
        rows: Vec<Vec<&'static str>>,
    ) -> MetricVec<B>
    where
        B: MetricVecBuilder + 'static,
    {
        sure(self.registry.register(Box::new(vec.clone())));
        if columns.iter().all(|column| column.is_shared) {
            for row in &rows {
                vec.with_label_values(row);
            }
        }
        for (place, column) in columns.iter().enumerate() {
            let list = match column.values {
                LabelValues::Trunk => &mut self.trunks,
                LabelValues::Session => &mut self.sessions,
                LabelValues::Closed(_) | LabelValues::Build => continue,
            };
            list.push(named(&vec, column.name, place, rows.clone()));
        }
        self.made.push(Family {
            name: format!("{PREFIX}_{name}"),
            kind,
            help,
            labels: columns
                .into_iter()
                .map(|column| FamilyLabel {
                    name: column.name,
                    values: column.values,
                })
                .collect(),
        });
        vec
    }
}

/// How the series of one configured name come and go.
fn named<B>(
    vec: &MetricVec<B>,
    label: &'static str,
    place: usize,
    rows: Vec<Vec<&'static str>>,
) -> Named
where
    B: MetricVecBuilder + 'static,
{
    let touched = vec.clone();
    let touch = move |name: &str| {
        for row in &rows {
            let mut row: Vec<&str> = row.clone();
            if let Some(cell) = row.get_mut(place) {
                *cell = name;
            }
            touched.with_label_values(&row);
        }
    };
    let forgotten = vec.clone();
    let forget = move |name: &str| forget_series(&forgotten, label, name);
    Named {
        touch: Box::new(touch),
        forget: Box::new(forget),
    }
}

/// Removes what carries the name, also the series that no row foresaw.
fn forget_series<B: MetricVecBuilder>(vec: &MetricVec<B>, label: &str, name: &str) {
    for family in vec.collect() {
        for metric in family.get_metric() {
            let pairs: HashMap<&str, &str> = metric
                .get_label()
                .iter()
                .map(|pair| (pair.name(), pair.value()))
                .collect();
            if pairs.get(label) == Some(&name) {
                // It can only be gone already.
                let _ = vec.remove(&pairs);
            }
        }
    }
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace(PREFIX)
}

fn names(columns: &[Column]) -> Vec<&'static str> {
    columns.iter().map(|column| column.name).collect()
}

/// Every combination of the touched values; one empty row when there are no labels.
fn product(columns: &[Column]) -> Vec<Vec<&'static str>> {
    columns.iter().fold(vec![Vec::new()], |rows, column| {
        rows.iter()
            .flat_map(|row| {
                column.touched.iter().map(|value| {
                    let mut row = row.clone();
                    row.push(*value);
                    row
                })
            })
            .collect()
    })
}

fn sure<T>(result: prometheus::Result<T>) -> T {
    let Ok(value) = result else {
        unreachable!("names are literals and registered once; the tests build them all");
    };
    value
}
