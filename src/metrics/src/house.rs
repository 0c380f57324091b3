//! The process, its actors, its store, its HTTP server.

use std::time::Duration;

use prometheus::{Gauge, Histogram, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use crate::Metrics;
use crate::family::Maker;

const ACTORS: [&str; 7] = [
    "registry", "endpoint", "trunk", "session", "call", "leg", "keeper",
];
const TREES: [&str; 4] = ["sessions", "trunks", "routes", "cdr"];
const ROUTES: [&str; 4] = ["/metrics", "/livez", "/readyz", "other"];

pub(crate) struct House {
    ready: IntGauge,
    panics: IntCounter,
    log_events: IntCounterVec,
    actors: IntGaugeVec,
    restarts: IntCounterVec,
    mailbox_full: IntCounterVec,
    store_size: IntGauge,
    store_records: IntGaugeVec,
    flush_seconds: Histogram,
    flushes: IntCounterVec,
    last_flush: Gauge,
    cdr: IntCounterVec,
    http: IntCounterVec,
}

impl House {
    pub(crate) fn new(make: &mut Maker, version: &str) -> Self {
        let build = make.gauges("build_info", "Always 1.", &["version"]);
        build.with_label_values(&[version]).set(1);
        // The names of this family are fixed by convention and carry no prefix of ours... the registry adds one all the same.
        let _ = make.registry().register(Box::new(
            prometheus::process_collector::ProcessCollector::for_self(),
        ));
        let house = Self {
            ready: make.gauge("ready", "1 when every configured part has started."),
            panics: make.counter("panics_total", "Panics caught in the whole process."),
            log_events: make.counters("log_events_total", "Log events emitted.", &["level"]),
            actors: make.gauges("actors", "Actors alive.", &["actor"]),
            restarts: make.counters(
                "actor_restarts_total",
                "Actors that died and were replaced or given up.",
                &["actor", "cause"],
            ),
            mailbox_full: make.counters(
                "actor_mailbox_full_total",
                "Sends refused by a full mailbox.",
                &["actor"],
            ),
            store_size: make.gauge("store_size_bytes", "Size of the store on disk."),
            store_records: make.gauges("store_records", "Records per tree.", &["tree"]),
            flush_seconds: make.histogram(
                "store_flush_seconds",
                "Flush to disk.",
                &[
                    0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
                ],
            ),
            flushes: make.counters("store_flushes_total", "Flushes.", &["result"]),
            last_flush: make.timestamp(
                "store_last_flush_timestamp_seconds",
                "Time of the last good flush.",
            ),
            cdr: make.counters(
                "cdr_records_total",
                "Call records written.",
                &["sink", "result"],
            ),
            http: make.counters(
                "http_requests_total",
                "HTTP requests.",
                &["route", "method", "code"],
            ),
        };
        for level in ["error", "warn", "info"] {
            house.log_events.with_label_values(&[level]);
        }
        for actor in ACTORS {
            house.actors.with_label_values(&[actor]);
            house.mailbox_full.with_label_values(&[actor]);
            for cause in ["panic", "error"] {
                house.restarts.with_label_values(&[actor, cause]);
            }
        }
        for tree in TREES {
            house.store_records.with_label_values(&[tree]);
        }
        for result in ["ok", "error"] {
            house.flushes.with_label_values(&[result]);
        }
        for result in ["ok", "failed"] {
            house.cdr.with_label_values(&["store", result]);
        }
        for route in ROUTES {
            house.http.with_label_values(&[route, "GET", "200"]);
        }
        house
    }
}

impl Metrics {
    /// Whether every configured part has started.
    pub fn ready(&self, ready: bool) {
        self.all.house.ready.set(i64::from(ready));
    }

    /// Something panicked.
    pub fn panicked(&self) {
        self.all.house.panics.inc();
    }

    /// A log event of this level: error, warn or info.
    pub fn log_event(&self, level: &'static str) {
        self.all.house.log_events.with_label_values(&[level]).inc();
    }

    /// An actor of this kind began.
    pub fn actor_started(&self, kind: &'static str) {
        self.all.house.actors.with_label_values(&[kind]).inc();
    }

    /// An actor of this kind ended.
    pub fn actor_stopped(&self, kind: &'static str) {
        self.all.house.actors.with_label_values(&[kind]).dec();
    }

    /// An actor of this kind ended when it should not have.
    pub fn actor_died(&self, kind: &'static str, panicked: bool) {
        let cause = if panicked { "panic" } else { "error" };
        self.all
            .house
            .restarts
            .with_label_values(&[kind, cause])
            .inc();
    }

    /// A mailbox of this kind refused a message.
    pub fn mailbox_full(&self, kind: &'static str) {
        self.all.house.mailbox_full.with_label_values(&[kind]).inc();
    }

    /// The size of the store and its records: sessions, trunks, routes, call records.
    pub fn store(&self, size_bytes: u64, records: [u64; 4]) {
        let whole = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        self.all.house.store_size.set(whole(size_bytes));
        for (tree, count) in TREES.iter().zip(records) {
            self.all
                .house
                .store_records
                .with_label_values(&[tree])
                .set(whole(count));
        }
    }

    /// The store was flushed, or could not be; `unix_seconds` is the time of it.
    pub fn flushed(&self, took: Duration, ok: bool, unix_seconds: f64) {
        let house = &self.all.house;
        house.flush_seconds.observe(took.as_secs_f64());
        house
            .flushes
            .with_label_values(&[if ok { "ok" } else { "error" }])
            .inc();
        if ok {
            house.last_flush.set(unix_seconds);
        }
    }

    /// A call record was written, or could not be.
    pub fn record_written(&self, ok: bool) {
        self.all
            .house
            .cdr
            .with_label_values(&["store", if ok { "ok" } else { "failed" }])
            .inc();
    }

    /// An HTTP request was answered.
    pub fn http(&self, path: &str, method: &str, code: u16) {
        let route = ROUTES
            .iter()
            .find(|route| **route == path)
            .unwrap_or(&"other");
        let method = if method == "GET" { "GET" } else { "other" };
        let code = match code {
            200 => "200",
            401 => "401",
            404 => "404",
            503 => "503",
            other => crate::calls::code_label(other),
        };
        self.all
            .house
            .http
            .with_label_values(&[route, method, code])
            .inc();
    }
}
