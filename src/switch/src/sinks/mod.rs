//! Call records in files of one day each, for whoever settles accounts: comma-separated values and JSON lines.
//!
//! Each sink has a thread of its own, which once a second reads in the store which calls have ended since, appends their records and
//! waits until they are on the disk. No call knows of it: what waits, waits in the store, however long the disk of a sink is full or away.
//!
//! What is guaranteed: a record that is in the store gets into the file, unless it is removed (`cdr.keep`) before that has ever been
//! possible. It gets there once: how far a sink has come is kept in the store after each step, and what was written between that and a
//! crash is recognized in the last 8 MiB of the files of the day. Only where such a file was moved away within the last second before
//! the crash may what was written in that second stand in the next one again.

mod file;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use metrics::Metrics;
use model::{CallId, CallRecord};
use store::{Ends, Store, StoreError};

use self::file::Kind;
use crate::api::CallView;
use crate::cdr;
use crate::settings::Cdr;

/// How often it is looked for what has ended.
const EVERY: Duration = Duration::from_secs(1);
/// How often while it cannot be written.
const WHILE_FAILING: Duration = Duration::from_secs(2);
/// How many records are written at once, and how long the disk is left to others when there are more.
const AT_ONCE: usize = 500;
const PAUSE: Duration = Duration::from_millis(50);
/// How long the last records may take when the switch stops; what is left is written after the next start.
const LAST_RECORDS: Duration = Duration::from_secs(3);

/// What a sink writes.
#[derive(Debug, Clone, Copy)]
struct Form {
    /// Its name among the readers of the store, and in metrics.
    name: &'static str,
    kind: Kind,
    /// A record as a line.
    line: fn(&CallRecord) -> String,
}

const CSV: Form = Form {
    name: "csv",
    kind: Kind {
        ending: "csv",
        head: Some(cdr::HEAD),
        start: "",
        id_of: id_of_row,
    },
    line: row,
};

const JSON: Form = Form {
    name: "json",
    kind: Kind {
        ending: "jsonl",
        head: None,
        start: OBJECT,
        id_of: id_of_object,
    },
    line: object,
};

/// How each object begins.
const OBJECT: &str = "{\"id\":\"";

/// A row is one line, whatever a peer has put into a phrase.
fn row(record: &CallRecord) -> String {
    cdr::row(record).replace(['\r', '\n'], " ")
}

fn id_of_row(line: &str) -> Option<CallId> {
    line.split(',').next()?.parse().ok()
}

/// The same object as in an answer of the API.
fn object(record: &CallRecord) -> String {
    // What has only texts, numbers and lists of them can always be written.
    serde_json::to_string(&CallView::from(record.clone())).unwrap_or_default()
}

fn id_of_object(line: &str) -> Option<CallId> {
    let rest = line.strip_prefix(OBJECT)?;
    rest.split('"').next()?.parse().ok()
}

/// The sinks of a switch that runs.
pub(crate) struct Sinks {
    running: Vec<Running>,
}

/// Whether a sink cannot write.
#[derive(Debug, Clone)]
pub(crate) struct Failing {
    name: &'static str,
    fails: Arc<AtomicBool>,
}

impl Failing {
    /// Its name while it cannot.
    pub(crate) fn name(&self) -> Option<&'static str> {
        self.fails.load(Ordering::Relaxed).then_some(self.name)
    }
}

struct Running {
    name: &'static str,
    failing: Failing,
    /// Tells it to stop when it is dropped.
    stop: SyncSender<()>,
    /// Ends when it has.
    ended: Receiver<()>,
}

impl Sinks {
    /// Begins to write where the settings say so. From now on the store notes which calls end: so this comes before the first call.
    pub(crate) fn start(
        cdr: &Cdr,
        store: &Arc<dyn Store>,
        metrics: &Metrics,
    ) -> Result<Self, StoreError> {
        let all = [(CSV, &cdr.csv), (JSON, &cdr.jsonl)];
        let wanted = all
            .into_iter()
            .filter(|(_, folder)| !folder.as_os_str().is_empty());
        let wanted: Vec<(Form, &PathBuf)> = wanted.collect();
        let names: Vec<&str> = wanted.iter().map(|(form, _)| form.name).collect();
        store.note_ends_for(&names)?;
        let mut running = Vec::new();
        for (form, folder) in wanted {
            let sink = Sink::new(form, folder, Arc::clone(store), metrics.clone());
            let failing = Failing {
                name: form.name,
                fails: Arc::clone(&sink.is_failing),
            };
            let ((stop, told), (over, ended)) = (sync_channel(1), sync_channel(1));
            let work = move || {
                sink.run(&told);
                drop(over);
            };
            let thread = thread::Builder::new().name(format!("cdr-{}", form.name));
            match thread.spawn(work) {
                Ok(_) => running.push(Running {
                    name: form.name,
                    failing,
                    stop,
                    ended,
                }),
                Err(error) => {
                    let sink = form.name;
                    tracing::error!(sink, %error, "call records are not written to files: no thread");
                }
            }
        }
        Ok(Self { running })
    }

    /// Which of them cannot write, from now on.
    pub(crate) fn failing(&self) -> Vec<Failing> {
        let running = self.running.iter();
        running.map(|running| running.failing.clone()).collect()
    }

    /// Writes what has ended until now, if that is possible, and stops. Blocks for some seconds at most.
    pub(crate) fn stop(self) {
        let until = Instant::now() + LAST_RECORDS + EVERY;
        for Running {
            name, stop, ended, ..
        } in self.running
        {
            drop(stop);
            let left = until.saturating_duration_since(Instant::now());
            if ended.recv_timeout(left) == Err(RecvTimeoutError::Timeout) {
                tracing::warn!(sink = name, "the disk of a sink does not answer");
            }
        }
    }
}

/// One sink.
struct Sink {
    form: Form,
    folder: PathBuf,
    store: Arc<dyn Store>,
    metrics: Metrics,
    /// The number of the last end that is written; nothing before the store was asked.
    at: Option<u64>,
    /// The store does not know that yet.
    is_ahead: bool,
    /// What comes next may have been written by a process that was killed, or in part by a try that failed.
    may_be_written: bool,
    /// What was written last failed, or could not be read.
    is_failing: Arc<AtomicBool>,
    /// Up to which end failures are counted.
    failed_up_to: u64,
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
enum SinkError {
    #[error("{} cannot be written: {source}", .folder.display())]
    File { folder: PathBuf, source: io::Error },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("a bug: see the panic")]
    Bug,
}

/// When to go on.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// There are more records.
    Soon,
    /// There are none.
    Later,
    /// They could not be written.
    Failing,
}

impl Sink {
    fn new(form: Form, folder: &Path, store: Arc<dyn Store>, metrics: Metrics) -> Self {
        Self {
            form,
            folder: folder.to_owned(),
            store,
            metrics,
            at: None,
            is_ahead: false,
            may_be_written: true,
            is_failing: Arc::default(),
            failed_up_to: 0,
        }
    }

    fn run(mut self, stop: &Receiver<()>) {
        loop {
            // A panic is logged by its hook, and what it has left behind is looked at anew.
            let next = catch_unwind(AssertUnwindSafe(|| self.pass())).unwrap_or(Next::Failing);
            let wait = match next {
                Next::Soon => PAUSE,
                Next::Later => EVERY,
                Next::Failing => WHILE_FAILING,
            };
            match stop.recv_timeout(wait) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(()) | Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        let until = Instant::now() + LAST_RECORDS;
        while self.pass() == Next::Soon && Instant::now() < until {}
    }

    /// Writes the next records.
    fn pass(&mut self) -> Next {
        let done = self.write();
        let name = self.form.name;
        match &done {
            Ok(_) if self.is_failing.swap(false, Ordering::Relaxed) => {
                tracing::warn!(
                    sink = name,
                    "call records are written to files again, and those that waited"
                );
            }
            Err(error) if !self.is_failing.swap(true, Ordering::Relaxed) => {
                tracing::error!(sink = name, %error, "call records cannot be written to files; they wait in the store");
            }
            Ok(_) | Err(_) => {}
        }
        match done {
            Ok(true) => Next::Soon,
            Ok(false) => Next::Later,
            Err(_) => Next::Failing,
        }
    }

    /// The same; whether there are more.
    fn write(&mut self) -> Result<bool, SinkError> {
        let name = self.form.name;
        let at = match self.at {
            Some(at) => at,
            None => self.store.ends_passed(name)?,
        };
        let ends = self.store.ends_after(at, AT_ONCE)?;
        let waiting = ends.more + ends.ended.len() as u64;
        self.metrics.records_waiting(name, waiting);
        let Some(last) = ends.ended.last().map(|last| last.number) else {
            self.at = Some(at);
            if self.is_ahead {
                self.tell(at);
            }
            return Ok(false);
        };
        // A panic is logged by its hook; what came before it may be in the files.
        let appended = catch_unwind(AssertUnwindSafe(|| self.append(&ends)));
        if let Err(error) = appended.unwrap_or(Err(SinkError::Bug)) {
            // All that wait behind those failed with them, and their numbers have no gaps.
            let newest = last + ends.more;
            for _ in self.failed_up_to.max(at)..newest {
                self.metrics.record_passed_on(name, false);
            }
            self.failed_up_to = self.failed_up_to.max(newest);
            self.may_be_written = true;
            return Err(error);
        }
        self.at = Some(last);
        self.tell(last);
        self.metrics.records_waiting(name, ends.more);
        Ok(ends.more > 0)
    }

    /// Appends records to the files of the days on which their calls ended.
    fn append(&mut self, ends: &Ends) -> Result<(), SinkError> {
        let Form { name, kind, line } = self.form;
        let mut days: BTreeMap<String, Vec<&CallRecord>> = BTreeMap::new();
        let (mut removed, mut unreadable) = (Vec::new(), Vec::new());
        for end in &ends.ended {
            match (&end.record, &end.fault) {
                (Some(record), _) => days.entry(day(record)).or_default().push(record),
                (None, Some(fault)) => unreadable.push((end.number, fault)),
                (None, None) => removed.push(end.number),
            }
        }
        let mut has_new = false;
        for (day, mut records) in days {
            if self.may_be_written {
                let written = file::written(&kind, &self.folder, &day);
                records.retain(|record| !written.contains(&record.id));
            }
            if records.is_empty() {
                continue;
            }
            has_new = true;
            let lines: Vec<String> = records.iter().map(|record| line(record)).collect();
            file::append(&kind, &self.folder, &day, &lines).map_err(|source| SinkError::File {
                folder: self.folder.clone(),
                source,
            })?;
            for _ in &records {
                self.metrics.record_passed_on(name, true);
            }
        }
        // They are written in the order in which they ended: behind one that was not, none was.
        self.may_be_written &= !has_new;
        if !removed.is_empty() {
            tracing::error!(
                sink = name,
                removed = removed.len(),
                "call records were removed from the store (cdr.keep) before they could be written to a file"
            );
        }
        if let Some((_, first)) = unreadable.first() {
            tracing::error!(
                sink = name,
                passed = unreadable.len(),
                first = %first.id,
                "call records cannot be read: they are left out of the file"
            );
        }
        let unreadable = unreadable.iter().map(|(number, _)| *number);
        let lost = removed.iter().copied().chain(unreadable);
        // What was counted while it waited is not counted again.
        for _ in lost.filter(|number| *number > self.failed_up_to) {
            self.metrics.record_passed_on(name, false);
        }
        Ok(())
    }

    /// Tells the store how far it is. While that takes nothing it is told again.
    fn tell(&mut self, at: u64) {
        self.is_ahead = self.store.pass_ends(self.form.name, at).is_err();
    }
}

/// The day on which a call ended, in UTC.
fn day(record: &CallRecord) -> String {
    let lasted = record.ended_after_ms.unwrap_or(0);
    let ended = record.started_ms.saturating_add(lasted);
    let mut time = cdr::time(ended);
    time.truncate("2026-11-28".len());
    time
}
