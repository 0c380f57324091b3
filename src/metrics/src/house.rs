//! The process, its actors, its store, its HTTP server.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use prometheus::{
    Gauge, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
};

use crate::Metrics;
use crate::family::{Families, all, built, some};
use crate::label::{
    Actor, Closed, Flushed, Folder, Follower, HttpCode, HttpMethod, Level, OTHER, RestartCause,
    Route, Sink, Thread, Tree, Written, labelled, whole,
};

labelled! {
    /// What is done with the store.
    pub enum StoreOp {
        /// Reads one record.
        Get = "get",
        /// Writes one record.
        Put = "put",
        /// Removes one.
        Remove = "remove",
        /// Reads many.
        Scan = "scan",
        /// Changes several together.
        Transaction = "transaction",
    }
}

pub(crate) struct House {
    ready: IntGauge,
    panics: IntCounter,
    config_successful: IntGauge,
    config_timestamp: Gauge,
    log_events: IntCounterVec,
    actors: IntGaugeVec,
    restarts: IntCounterVec,
    mailbox_full: IntCounterVec,
    messages: IntCounterVec,
    wait: HistogramVec,
    mailbox: IntGaugeVec,
    mailbox_max: IntGaugeVec,
    /// By kind and instance: the messages that waited when it was looked last. Only where some did: thousands of legs may be
    /// alive, and each looks and leaves without a walk through all the others.
    mailboxes: Mutex<BTreeMap<(&'static str, u64), u64>>,
    store_size: IntGauge,
    store_records: IntGaugeVec,
    store_operations: HistogramVec,
    unreadable: IntCounter,
    disk_free: IntGaugeVec,
    flush_seconds: Histogram,
    flushes: IntCounterVec,
    last_flush: Gauge,
    backups: IntCounterVec,
    nightly: IntGauge,
    last_backup: Gauge,
    set_aside: IntGauge,
    stalls: IntCounterVec,
    backup_size: IntGauge,
    cdr: IntCounterVec,
    cdr_queue: IntGaugeVec,
    http: IntCounterVec,
    http_duration: HistogramVec,
}

impl House {
    pub(crate) fn new(make: &mut Families, version: &str) -> Self {
        let build = make.gauge(
            "build_info",
            "Always 1; the labels say what was built.",
            vec![built("version"), built("revision"), built("rustc")],
        );
        // Packagers set these two; a build from a checkout does without.
        let revision = option_env!("STROWGER_REVISION").unwrap_or("unknown");
        let rustc = option_env!("STROWGER_RUSTC").unwrap_or("unknown");
        build.with_label_values(&[version, revision, rustc]).set(1);
        let known = |mut values: Vec<&'static str>| {
            values.retain(|value| *value != OTHER);
            values
        };
        let actor = || some::<Actor>("actor", known(Actor::values()));
        Self {
            ready: make.one_gauge("ready", "1 when every configured part has started."),
            panics: make.one_counter("panics_total", "Panics caught in the whole process."),
            config_successful: make.one_gauge(
                "config_last_reload_successful",
                "1 when the last change of the configuration was applied.",
            ),
            config_timestamp: make.one_time(
                "config_last_reload_success_timestamp_seconds",
                "Time of the last applied configuration.",
            ),
            log_events: make.counter(
                "log_events_total",
                "Log events emitted.",
                vec![some::<Level>("level", known(Level::values()))],
            ),
            actors: make.gauge("actors", "Actors alive.", vec![actor()]),
            restarts: make.counter(
                "actor_restarts_total",
                "Actors that died and were replaced or given up.",
                vec![actor(), all::<RestartCause>("cause")],
            ),
            mailbox_full: make.counter(
                "actor_mailbox_full_total",
                "Sends refused by a full mailbox.",
                vec![actor()],
            ),
            messages: make.counter(
                "actor_messages_total",
                "Messages that actors took out of their mailboxes.",
                vec![actor()],
            ),
            wait: make.histogram(
                "actor_wait_seconds",
                "Time in the mailbox, one observation per actor each 5 s.",
                &[
                    0.000_1, 0.000_5, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0,
                ],
                vec![actor()],
            ),
            mailbox: make.gauge(
                "actor_mailbox_messages",
                "Messages waiting, sum over the kind, looked at each 5 s.",
                vec![actor()],
            ),
            mailbox_max: make.gauge(
                "actor_mailbox_messages_max",
                "Messages waiting in the deepest mailbox of the kind, looked at each 5 s.",
                vec![actor()],
            ),
            mailboxes: Mutex::default(),
            store_size: make.one_gauge("store_size_bytes", "Size of the store on disk."),
            store_records: make.gauge(
                "store_records",
                "Records of each part of the store.",
                vec![all::<Tree>("tree")],
            ),
            store_operations: make.histogram(
                "store_operation_seconds",
                "Operations on the store, flushes included where they are part of one.",
                &[0.000_01, 0.000_1, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0],
                vec![all::<StoreOp>("op")],
            ),
            unreadable: make.one_counter(
                "store_unreadable_records_total",
                "Call records that were found and cannot be read, each counted once since the start, 1,000 at most.",
            ),
            disk_free: make.gauge(
                "disk_free_bytes",
                "Free space of the file system a folder lies on.",
                vec![all::<Folder>("dir")],
            ),
            flush_seconds: make.one_histogram(
                "store_flush_seconds",
                "Flushes of the store to disk.",
                &[
                    0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
                ],
            ),
            flushes: make.counter(
                "store_flushes_total",
                "Flushes of the store, by result.",
                vec![all::<Flushed>("result")],
            ),
            last_flush: make.one_time(
                "store_last_flush_timestamp_seconds",
                "Time of the last good flush.",
            ),
            backups: make.counter(
                "backups_total",
                "Backups of the store, by result.",
                vec![all::<Flushed>("result")],
            ),
            nightly: make.one_gauge(
                "backups_nightly",
                "1 when a backup is made each day (backup.keep).",
            ),
            last_backup: make.one_time(
                "backup_last_success_timestamp_seconds",
                "Time of the last good backup, 0 when there is none.",
            ),
            set_aside: make.one_gauge(
                "stores_set_aside",
                "Damaged stores in whose place a backup is used, and that are still there.",
            ),
            stalls: make.counter(
                "thread_stalls_total",
                "Times that a thread did not come to its work for more than 0.25 s.",
                vec![all::<Thread>("thread")],
            ),
            backup_size: make.one_gauge("backup_size_bytes", "Size of the last backup."),
            cdr: make.counter(
                "cdr_records_total",
                "Call records written.",
                vec![all::<Sink>("sink"), all::<Written>("result")],
            ),
            cdr_queue: make.gauge(
                "cdr_queue_records",
                "Call records that wait in the store to be written elsewhere.",
                vec![all::<Follower>("sink")],
            ),
            http: make.counter(
                "http_requests_total",
                "Requests to the admin listener.",
                vec![
                    // Those of the API appear when somebody asks there.
                    some::<Route>("route", vec!["/metrics", "/livez", "/readyz", OTHER]),
                    some::<HttpMethod>("method", vec!["GET"]),
                    some::<HttpCode>("code", vec!["200", "401", "404", "503"]),
                ],
            ),
            http_duration: make.histogram(
                "http_request_duration_seconds",
                "From a request to the admin listener to the head of its answer; a stream of events goes on afterwards.",
                &[0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0],
                // The others appear when somebody asks there.
                vec![some::<Route>("route", vec!["/metrics"])],
            ),
        }
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

    /// A configuration, or a change of it, was applied at this time in seconds since 1970.
    pub fn config_applied(&self, unix_seconds: f64) {
        self.all.house.config_successful.set(1);
        self.all.house.config_timestamp.set(unix_seconds);
    }

    /// A change of the configuration could not be applied.
    pub fn config_refused(&self) {
        self.all.house.config_successful.set(0);
    }

    /// A log event of this level: error, warn or info.
    pub fn log_event(&self, level: &'static str) {
        let labels = [Level::of(level)];
        self.all.house.log_events.with_label_values(&labels).inc();
    }

    /// An actor of this kind began.
    pub fn actor_started(&self, kind: &'static str) {
        let labels = [Actor::of(kind)];
        self.all.house.actors.with_label_values(&labels).inc();
    }

    /// An actor of this kind ended.
    pub fn actor_stopped(&self, kind: &'static str) {
        let labels = [Actor::of(kind)];
        self.all.house.actors.with_label_values(&labels).dec();
    }

    /// An actor of this kind ended when it should not have.
    pub fn actor_died(&self, kind: &'static str, panicked: bool) {
        let labels = [Actor::of(kind), if panicked { "panic" } else { "error" }];
        self.all.house.restarts.with_label_values(&labels).inc();
    }

    /// A mailbox of this kind refused a message.
    pub fn mailbox_full(&self, kind: &'static str) {
        let labels = [Actor::of(kind)];
        self.all.house.mailbox_full.with_label_values(&labels).inc();
    }

    /// How many messages mailboxes have refused so far.
    pub fn mailboxes_refused(&self) -> u64 {
        let kinds = Actor::values().into_iter().filter(|kind| *kind != OTHER);
        kinds
            .map(|kind| self.all.house.mailbox_full.with_label_values(&[kind]).get())
            .sum()
    }

    /// The counter of messages that actors of this kind have handled, resolved once.
    pub fn actor_messages(&self, kind: &'static str) -> IntCounter {
        let labels = [Actor::of(kind)];
        self.all.house.messages.with_label_values(&labels)
    }

    /// A message of an actor to itself waited so long in its mailbox, behind so many others.
    pub fn actor_waited(&self, kind: &'static str, instance: u64, waited: Duration, behind: u64) {
        let wait = self.all.house.wait.with_label_values(&[Actor::of(kind)]);
        wait.observe(waited.as_secs_f64());
        self.mailbox(kind, instance, Some(behind));
    }

    /// The mailbox of an actor is gone.
    pub fn mailbox_closed(&self, kind: &'static str, instance: u64) {
        self.mailbox(kind, instance, None);
    }

    fn mailbox(&self, kind: &'static str, instance: u64, waiting: Option<u64>) {
        let (house, kind) = (&self.all.house, Actor::of(kind));
        let mut all = house
            .mailboxes
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let before = match waiting {
            Some(waiting) if waiting > 0 => all.insert((kind, instance), waiting),
            Some(_) | None => all.remove(&(kind, instance)),
        };
        if before == waiting.filter(|waiting| *waiting > 0) {
            return;
        }
        let depths = all
            .range((kind, 0)..=(kind, u64::MAX))
            .map(|(_, depth)| *depth);
        let (sum, most) = depths.fold((0, 0), |(sum, most), depth| (sum + depth, depth.max(most)));
        house.mailbox.with_label_values(&[kind]).set(whole(sum));
        house
            .mailbox_max
            .with_label_values(&[kind])
            .set(whole(most));
    }

    /// The size of the store and its records: sessions, trunks, routes, call records.
    pub fn store(&self, size_bytes: u64, records: [u64; 4]) {
        let house = &self.all.house;
        house.store_size.set(whole(size_bytes));
        for (tree, count) in Tree::values().into_iter().zip(records) {
            let records = house.store_records.with_label_values(&[tree]);
            records.set(whole(count));
        }
    }

    /// Something was done with the store.
    pub fn store_operation(&self, op: StoreOp, took: Duration) {
        let operations = &self.all.house.store_operations;
        operations
            .with_label_values(&[op.label()])
            .observe(took.as_secs_f64());
    }

    /// A call record was found that cannot be read, and was not found before.
    pub fn unreadable_record(&self) {
        self.all.house.unreadable.inc();
    }

    /// Free space where the data folder lies.
    pub fn data_disk_free(&self, bytes: u64) {
        let free = self.all.house.disk_free.with_label_values(&["data"]);
        free.set(whole(bytes));
    }

    /// The store was flushed, or could not be; `unix_seconds` is the time of it.
    pub fn flushed(&self, took: Duration, ok: bool, unix_seconds: f64) {
        let house = &self.all.house;
        house.flush_seconds.observe(took.as_secs_f64());
        let labels = [if ok { "ok" } else { "error" }];
        house.flushes.with_label_values(&labels).inc();
        if ok {
            house.last_flush.set(unix_seconds);
        }
    }

    /// A backup of so many octets was made, or could not be; `unix_seconds` is the time of it.
    pub fn backup(&self, octets: Option<u64>, unix_seconds: f64) {
        let house = &self.all.house;
        let labels = [if octets.is_some() { "ok" } else { "error" }];
        house.backups.with_label_values(&labels).inc();
        if let Some(octets) = octets {
            self.backup_found(octets, unix_seconds);
        }
    }

    /// So many damaged stores lie beside the store.
    pub fn stores_set_aside(&self, count: usize) {
        self.all.house.set_aside.set(whole(count));
    }

    /// A thread of this kind (actors, keeper, media) did not come to its work for too long.
    pub fn thread_stalled(&self, kind: &'static str) {
        let labels = [kind];
        self.all.house.stalls.with_label_values(&labels).inc();
    }

    /// There is a backup of so many octets, made at this time in seconds since 1970.
    pub fn backup_found(&self, octets: u64, unix_seconds: f64) {
        let house = &self.all.house;
        house.backup_size.set(whole(octets));
        house.last_backup.set(unix_seconds);
    }

    /// Whether a backup is made each day.
    pub fn backups_nightly(&self, wanted: bool) {
        self.all.house.nightly.set(wanted.into());
    }

    /// A call record was written, or could not be.
    pub fn record_written(&self, ok: bool) {
        let labels = ["store", if ok { "ok" } else { "failed" }];
        self.all.house.cdr.with_label_values(&labels).inc();
    }

    /// A call record was written to this sink (csv, json), or could not be when it should have been.
    pub fn record_passed_on(&self, sink: &'static str, ok: bool) {
        let labels = [sink, if ok { "ok" } else { "failed" }];
        self.all.house.cdr.with_label_values(&labels).inc();
    }

    /// So many call records wait for this sink (csv, json).
    pub fn records_waiting(&self, sink: &'static str, count: u64) {
        let waiting = self.all.house.cdr_queue.with_label_values(&[sink]);
        waiting.set(whole(count));
    }

    /// Whether requests of this route, as `/api/v1/trunks/{name}`, are counted under its own name.
    pub fn knows_route(route: &str) -> bool {
        Route::of(route) != OTHER
    }

    /// An HTTP request was answered; `path` is the route as it is written, not what was asked for.
    pub fn http(&self, path: &str, method: &str, code: u16, took: Duration) {
        let route = Route::of(path);
        let labels = [route, HttpMethod::of(method), HttpCode::of(code)];
        let house = &self.all.house;
        house.http.with_label_values(&labels).inc();
        let duration = house.http_duration.with_label_values(&[route]);
        duration.observe(took.as_secs_f64());
    }
}
