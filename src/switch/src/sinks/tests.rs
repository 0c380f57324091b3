use std::fs;

use store::{MasterKey, SledStore};

use super::*;

const START: u64 = 1_700_000_000_000;

fn record(n: u128, started_ms: u64, ended_after_ms: u64) -> CallRecord {
    let record = serde_json::json!({
        "id": CallId::new(started_ms, n), "direction": "sip_to_tg", "trunk": "office", "session": "gateway", "from": "600",
        "to": "Ann, \"home\"", "started_ms": started_ms, "ended_after_ms": ended_after_ms, "legs": [],
    });
    serde_json::from_value(record).unwrap()
}

struct Scene {
    folder: tempfile::TempDir,
    store: Arc<dyn Store>,
    metrics: Metrics,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = MasterKey::from_octets([7; 32]);
        let store: Arc<dyn Store> =
            Arc::new(SledStore::open(&folder.path().join("store"), &key).unwrap());
        fs::create_dir(folder.path().join("out")).unwrap();
        store.note_ends_for(&["csv", "json"]).unwrap();
        Self {
            folder,
            store,
            metrics: Metrics::new("0"),
        }
    }

    fn sink(&self, form: Form) -> Sink {
        let out = self.folder.path().join("out");
        Sink::new(form, &out, Arc::clone(&self.store), self.metrics.clone())
    }

    fn close(&self, numbers: std::ops::Range<u128>) {
        let records: Vec<CallRecord> = numbers.map(|n| record(n, START, 5)).collect();
        self.store
            .close_calls(&records.iter().collect::<Vec<_>>())
            .unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join("out").join(name)).unwrap_or_default()
    }

    /// The ids in a file, in their order.
    fn ids(&self, form: Form, name: &str) -> Vec<CallId> {
        let text = self.read(name);
        text.lines().filter_map(form.kind.id_of).collect()
    }

    fn counted(&self, what: &str) -> f64 {
        let page = self.metrics.render();
        let line = page.lines().find_map(|line| line.strip_prefix(what));
        line.unwrap().trim().parse().unwrap()
    }
}

fn ids(numbers: std::ops::Range<u128>) -> Vec<CallId> {
    numbers.map(|n| record(n, START, 5).id).collect()
}

const FILE: &str = "cdr-2023-11-14.csv";
const OK: &str = "strowger_cdr_records_total{result=\"ok\",sink=\"csv\"}";
const FAILED: &str = "strowger_cdr_records_total{result=\"failed\",sink=\"csv\"}";
const WAITING: &str = "strowger_cdr_queue_records{sink=\"csv\"}";

#[test]
fn a_record_is_in_the_file_of_the_day_on_which_its_call_ended() {
    let scene = Scene::new();
    let mut csv = scene.sink(CSV);
    // 2023-11-14 22:13:20 and two hours later.
    let records = [record(1, START, 1000), record(2, START, 2 * 3600 * 1000)];
    scene
        .store
        .close_calls(&[&records[0], &records[1]])
        .unwrap();
    assert_eq!(csv.pass(), Next::Later);
    for (name, id) in [(FILE, records[0].id), ("cdr-2023-11-15.csv", records[1].id)] {
        let text = scene.read(name);
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some(cdr::HEAD));
        assert!(lines.next().unwrap().starts_with(&id.to_string()), "{text}");
        assert_eq!(lines.next(), None);
    }
    let mut json = scene.sink(JSON);
    json.pass();
    let text = scene.read("cdr-2023-11-14.jsonl");
    let object: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
    assert_eq!(object["to"], "Ann, \"home\"");
    assert_eq!(scene.ids(JSON, "cdr-2023-11-14.jsonl"), [records[0].id]);
    assert!((scene.counted(OK) - 2.0).abs() < 0.1);
}

#[test]
fn a_kill_between_two_steps_neither_loses_nor_repeats() {
    let scene = Scene::new();
    scene.close(0..1200);
    {
        let mut csv = scene.sink(CSV);
        assert_eq!(csv.pass(), Next::Soon);
        assert_eq!(csv.pass(), Next::Soon);
        assert_eq!(csv.pass(), Next::Later);
    }
    // Two of the three steps were not kept, and the last line was not written to its end.
    scene.store.pass_ends("csv", 500).unwrap();
    let path = scene.folder.path().join("out").join(FILE);
    let text = scene.read(FILE);
    fs::write(&path, &text[..text.len() - 7]).unwrap();
    scene.close(1200..1250);
    let mut csv = scene.sink(CSV);
    while csv.pass() == Next::Soon {}
    assert!(scene.ids(CSV, FILE) == ids(0..1250), "not each once");
    assert_eq!(scene.read(FILE).matches(cdr::HEAD).count(), 1);
    assert_eq!(scene.store.ends_passed("csv").unwrap(), 1250);
    assert!(
        (scene.counted(OK) - 1251.0).abs() < 0.1,
        "one of them twice"
    );
}

#[test]
fn what_cannot_be_written_waits_in_the_store_and_is_counted_once() {
    let scene = Scene::new();
    let mut csv = scene.sink(CSV);
    let (out, away) = (
        scene.folder.path().join("out"),
        scene.folder.path().join("away"),
    );
    scene.close(0..10);
    csv.pass();
    fs::rename(&out, &away).unwrap();
    scene.close(10..20);
    for _ in 0..3 {
        assert_eq!(csv.pass(), Next::Failing);
    }
    assert!((scene.counted(FAILED) - 10.0).abs() < 0.1);
    assert!((scene.counted(WAITING) - 10.0).abs() < 0.1);
    scene.close(20..25);
    assert_eq!(csv.pass(), Next::Failing);
    assert!((scene.counted(FAILED) - 15.0).abs() < 0.1);
    assert!(!out.exists(), "the folder is not made");
    // Not even a restart is needed, nor does one lose anything.
    let mut csv = scene.sink(CSV);
    assert_eq!(csv.pass(), Next::Failing);
    fs::rename(&away, &out).unwrap();
    assert_eq!(csv.pass(), Next::Later);
    assert_eq!(scene.ids(CSV, FILE), ids(0..25));
    assert!(scene.counted(WAITING).abs() < 0.1);
    assert!((scene.counted(OK) - 25.0).abs() < 0.1);
}

#[test]
fn a_record_that_was_removed_before_it_was_written_counts_as_failed() {
    let scene = Scene::new();
    let mut csv = scene.sink(CSV);
    scene.close(0..3);
    scene.store.remove_calls(START + 1, 2).unwrap();
    assert_eq!(csv.pass(), Next::Later);
    assert_eq!(scene.ids(CSV, FILE), ids(2..3));
    assert!((scene.counted(FAILED) - 2.0).abs() < 0.1);
}

#[test]
fn each_that_waits_counts_as_failed_once_however_many_they_are_and_whatever_becomes_of_them() {
    let scene = Scene::new();
    let mut csv = scene.sink(CSV);
    let (out, away) = (
        scene.folder.path().join("out"),
        scene.folder.path().join("away"),
    );
    fs::rename(&out, &away).unwrap();
    scene.close(0..1300);
    assert_eq!(csv.pass(), Next::Failing);
    assert!((scene.counted(FAILED) - 1300.0).abs() < 0.1);
    scene.close(1300..1400);
    assert_eq!(csv.pass(), Next::Failing);
    assert!((scene.counted(FAILED) - 1400.0).abs() < 0.1);
    assert_eq!(scene.store.remove_calls(START + 1, 700).unwrap(), 700);
    fs::rename(&away, &out).unwrap();
    while csv.pass() == Next::Soon {}
    assert_eq!(scene.ids(CSV, FILE), ids(700..1400));
    assert!((scene.counted(FAILED) - 1400.0).abs() < 0.1, "twice");
}

#[test]
fn threads_write_by_themselves_and_what_is_left_when_they_stop() {
    let scene = Scene::new();
    let cdr = Cdr {
        csv: scene.folder.path().join("out"),
        ..Cdr::default()
    };
    let sinks = Sinks::start(&cdr, &scene.store, &scene.metrics).unwrap();
    scene.close(0..3);
    let until = Instant::now() + Duration::from_secs(20);
    while scene.ids(CSV, FILE).len() < 3 && Instant::now() < until {
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(scene.ids(CSV, FILE), ids(0..3));
    scene.close(3..5);
    sinks.stop();
    assert_eq!(scene.ids(CSV, FILE), ids(0..5));
    assert_eq!(scene.read("cdr-2023-11-14.jsonl"), "", "not asked for");
    // Switched off and on again: what ended meanwhile is not written.
    let none = Sinks::start(&Cdr::default(), &scene.store, &scene.metrics).unwrap();
    none.stop();
    scene.close(5..6);
    let sinks = Sinks::start(&cdr, &scene.store, &scene.metrics).unwrap();
    scene.close(6..7);
    sinks.stop();
    let expected: Vec<CallId> = ids(0..5).into_iter().chain(ids(6..7)).collect();
    assert_eq!(scene.ids(CSV, FILE), expected);
}

#[test]
fn what_is_no_file_of_records_is_left_alone_by_each_sink() {
    let scene = Scene::new();
    let (mut csv, mut json) = (scene.sink(CSV), scene.sink(JSON));
    for ending in ["csv", "jsonl"] {
        for (number, text) in [("", "a letter"), ("-2", "two\nlines\n")] {
            let name = format!("out/cdr-2023-11-14{number}.{ending}");
            fs::write(scene.folder.path().join(name), text).unwrap();
        }
    }
    // Half of a line of a record is cut off by a crash.
    let cut_off = "out/cdr-2023-11-14-3.jsonl";
    fs::write(scene.folder.path().join(cut_off), "{\"id\":\"01HF7").unwrap();
    scene.close(0..2);
    assert_eq!((csv.pass(), json.pass()), (Next::Later, Next::Later));
    for (form, ending) in [(CSV, "csv"), (JSON, "jsonl")] {
        let file = |number: &str| format!("cdr-2023-11-14{number}.{ending}");
        assert_eq!(scene.read(&file("")), "a letter", "{ending}");
        assert_eq!(scene.read(&file("-2")), "two\nlines\n", "{ending}");
        assert_eq!(scene.ids(form, &file("-3")), ids(0..2), "{ending}");
    }
}

#[test]
fn a_record_of_a_time_that_cannot_be_does_not_hold_up_those_behind_it() {
    let scene = Scene::new();
    let (mut csv, mut json) = (scene.sink(CSV), scene.sink(JSON));
    let strange = CallRecord {
        started_ms: u64::MAX,
        ended_after_ms: Some(u64::MAX),
        ..record(2, START, 5)
    };
    let records = [record(1, START, 5), strange, record(3, START, 5)];
    let all: Vec<&CallRecord> = records.iter().collect();
    scene.store.close_calls(&all).unwrap();
    assert_eq!((csv.pass(), json.pass()), (Next::Later, Next::Later));
    for (form, ending) in [(CSV, "csv"), (JSON, "jsonl")] {
        let of = |day: &str| scene.ids(form, &format!("cdr-{day}.{ending}"));
        assert_eq!(of("2023-11-14"), [records[0].id, records[2].id]);
        assert_eq!(of("9999-12-31"), [records[1].id]);
    }
}

#[test]
fn a_record_that_is_too_much_for_its_form_fails_and_nothing_is_written_twice() {
    let scene = Scene::new();
    let fails_once_told = Form {
        line: |record| {
            assert_eq!(record.started_ms, START, "a bug");
            row(record)
        },
        ..CSV
    };
    let mut csv = scene.sink(fails_once_told);
    let is_failing = Arc::clone(&csv.is_failing);
    scene.close(0..1);
    assert_eq!(csv.pass(), Next::Later);
    scene.close(1..2);
    let next_day = record(2, START + 86_400_000, 5);
    scene.store.close_calls(&[&next_day]).unwrap();
    for _ in 0..3 {
        assert_eq!(csv.pass(), Next::Failing);
        assert!(is_failing.load(Ordering::Relaxed), "an alert tells of it");
        assert_eq!(scene.ids(CSV, FILE), ids(0..2));
    }
    assert_eq!((scene.counted(FAILED), scene.counted(WAITING)), (2.0, 2.0));
    let mut mended = scene.sink(CSV);
    assert_eq!(mended.pass(), Next::Later);
    assert_eq!(scene.ids(CSV, FILE), ids(0..2));
    assert_eq!(scene.ids(CSV, "cdr-2023-11-15.csv"), [next_day.id]);
}
