//! Call records in files of one day each, and how long they are kept.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use model::{CallId, CallRecord};
use serde_json::Value;
use store::{MasterKey, SledStore, Store};

use crate::crash::peer::Peer;
use crate::deadline::{s, until};
use crate::disk::Disk;
use crate::house::{House, HouseBuilder};
use crate::process::PYTHON;
use crate::reload::hang_up;

/// Calls a second.
const RATE: u32 = 40;

/// Two PBXs behind each other, records in the folder `disk/files`.
fn house() -> HouseBuilder {
    House::new()
        .peer_trunk(&["alaw"])
        .leaves_by(&["alaw"])
        .rtp_ports(1000)
        .setting("cdr.csv = \"disk/files\"")
        .setting("cdr.jsonl = \"disk/files\"")
}

/// The two PBXs; the first one calls when it is told to.
fn pbxs(house: &House) -> (Peer, Peer) {
    (
        Peer::start(house.peer_port(), house.sip(), RATE, true),
        Peer::start(house.branch_port(), house.sip(), 0, false),
    )
}

fn wait_calls(house: &House, count: f64) {
    house.wait_metric_above("strowger_calls_completed_total", &[], count);
}

fn wait_quiet(house: &House) {
    until("the last call to end", s(20), || {
        (house.metrics().sum("strowger_calls_active") < 0.5).then_some(())
    });
}

/// What Python's own reader makes of all files with comma-separated values in a folder: a row each, by the names of its columns.
fn rows(folder: &Path) -> Vec<HashMap<String, String>> {
    let script = "import csv, glob, json, sys\n\
        rows = []\n\
        for name in sorted(glob.glob(sys.argv[1] + '/*.csv*')):\n\
        \x20   with open(name, newline='') as file:\n\
        \x20       lines = list(csv.reader(file, strict=True))\n\
        \x20   head = lines[0]\n\
        \x20   assert all(len(line) == len(head) for line in lines), name\n\
        \x20   rows += [dict(zip(head, line)) for line in lines[1:]]\n\
        print(json.dumps(rows))";
    let python = Command::new(PYTHON)
        .args(["-c", script])
        .arg(folder)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&python.stderr);
    assert!(python.status.success(), "{said}");
    serde_json::from_slice(&python.stdout).unwrap()
}

/// The objects in all files with JSON lines.
fn objects(folder: &Path) -> Vec<Value> {
    let mut objects = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.to_string_lossy().contains(".jsonl") {
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.ends_with('\n'), "{}", path.display());
            let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
            objects.extend(lines);
        }
    }
    objects
}

/// Each record of the store is in the files, once.
fn assert_whole(house: &House, folder: &Path) {
    let bare = |id: &str| id.trim_start_matches("call-").to_owned();
    let stored: BTreeSet<String> = house
        .records()
        .iter()
        .map(|record| bare(record["id"].as_str().unwrap()))
        .collect();
    let in_csv: Vec<String> = rows(folder).iter().map(|row| bare(&row["id"])).collect();
    let in_json: Vec<String> = objects(folder)
        .iter()
        .map(|object| object["id"].as_str().unwrap().to_owned())
        .collect();
    for (what, found) in [("csv", in_csv), ("jsonl", in_json)] {
        let once: BTreeSet<String> = found.iter().cloned().collect();
        assert_eq!(found.len(), once.len(), "{what} has a record twice");
        let lost = stored.difference(&once).count();
        let strange = once.difference(&stored).count();
        assert_eq!((lost, strange), (0, 0), "{what}: of {}", stored.len());
    }
}

#[test]
fn each_record_is_in_the_file_once_although_the_switch_is_killed() {
    let mut house = house().build();
    let folder = house.dir().join("disk/files");
    fs::create_dir_all(&folder).unwrap();
    let (office, branch) = pbxs(&house);
    for round in 0..5 {
        house.start();
        office.busy(true);
        wait_calls(&house, 60.0);
        // Nothing is waited for: the moment is the point.
        std::thread::sleep(Duration::from_millis(230 * round));
        house.kill();
    }
    house.start();
    office.busy(false);
    wait_quiet(&house);
    let files = fs::read_dir(&folder).unwrap().count();
    assert!(
        files == 2 || files == 4,
        "{files} files: of two days at most"
    );
    // One that is moved away is begun anew.
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        fs::rename(&path, format!("{}.1", path.display())).unwrap();
    }
    office.busy(true);
    wait_calls(&house, 100.0);
    office.busy(false);
    wait_quiet(&house);
    drop((office, branch));
    house.stop();
    assert_whole(&house, &folder);
    let rows = rows(&folder);
    let answered = rows.iter().filter(|row| row["result"] == "answered");
    eprintln!("{} rows, {} answered", rows.len(), answered.count());
    assert!(rows.len() > 400, "{}", rows.len());
    assert!(rows.iter().all(|row| !row["result"].is_empty()));
}

#[test]
fn what_a_full_or_missing_disk_does_not_take_waits_and_is_written_when_it_does() {
    let mut house = house().build();
    let place = house.dir().join("disk");
    let (folder, away) = (place.join("files"), place.join("away"));
    fs::create_dir_all(&folder).unwrap();
    let disk = Disk::of(place, 1);
    let (office, branch) = pbxs(&house);
    house.start();
    office.busy(true);
    wait_calls(&house, 40.0);
    disk.fill();
    let failed = [("sink", "csv"), ("result", "failed")];
    let records = "strowger_cdr_records_total";
    house.wait_metric_above(records, &failed, 20.0);
    house.wait_metric_above("strowger_cdr_queue_records", &[("sink", "json")], 20.0);
    // Calls know nothing of it, nor does the store.
    let done = house.metrics().sum("strowger_calls_completed_total");
    wait_calls(&house, done + 60.0);
    let lost = [("sink", "store"), ("result", "failed")];
    assert!(house.metrics().sum_of(records, &lost) < 0.5);
    let told = "call records cannot be written to files";
    assert_eq!(house.log().matches(told).count(), 2, "once for each sink");
    // Neither is anything lost when it is killed meanwhile.
    house.kill();
    house.start();
    house.wait_metric_above("strowger_cdr_queue_records", &[("sink", "csv")], 60.0);
    disk.free();
    let none_waits = |house: &House| {
        until("what waited to be written", s(20), || {
            let waiting = house.metrics().sum("strowger_cdr_queue_records");
            (waiting < f64::from(RATE) * 4.0).then_some(())
        });
    };
    none_waits(&house);
    assert!(house.log().contains("written to files again"));
    // The folder is taken away altogether, and comes back.
    fs::rename(&folder, &away).unwrap();
    house.wait_metric_above("strowger_cdr_queue_records", &[("sink", "csv")], 100.0);
    assert!(!folder.exists(), "the folder is not made");
    fs::rename(&away, &folder).unwrap();
    none_waits(&house);
    office.busy(false);
    wait_quiet(&house);
    drop((office, branch));
    house.stop();
    assert_whole(&house, &folder);
    disk.take_away();
}

#[test]
fn old_records_go_and_young_ones_stay_until_another_time_is_set() {
    let mut house = House::new()
        .peer_trunk(&["alaw"])
        .leaves_by(&["alaw"])
        .rtp_ports(1000)
        .build();
    let key = fs::read_to_string(house.dir().join("strowger.key")).unwrap();
    let key = MasterKey::parse(key.trim()).unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let now = u64::try_from(now.as_millis()).unwrap();
    let began = |days: u64| -> CallRecord {
        let ms = now - days * 24 * 3600 * 1000;
        let record = serde_json::json!({
            "id": CallId::new(ms, rand::random()), "direction": "sip_to_tg", "trunk": "office", "session": "gateway", "from": "600",
            "to": "601", "started_ms": ms, "ended_after_ms": 5, "outcome": "failed", "legs": [],
        });
        serde_json::from_value(record).unwrap()
    };
    {
        let store = SledStore::open(&house.dir().join("data/store"), &key).unwrap();
        let records: Vec<CallRecord> = (0..3000).map(|n| began(1 + n % 180)).collect();
        let records: Vec<&CallRecord> = records.iter().collect();
        store.close_calls(&records).unwrap();
    }
    let (office, branch) = pbxs(&house);
    house.start();
    office.busy(true);
    until("the old ones to be removed", s(30), || {
        house
            .log()
            .contains("older than cdr.keep are removed")
            .then_some(())
    });
    office.busy(false);
    wait_quiet(&house);
    house.wait_flushed();
    let made = house.metrics().sum("strowger_calls_completed_total");
    let old = |house: &House| {
        let records = house.records();
        let old = records
            .iter()
            .filter(|record| record["started_ms"].as_u64().unwrap() < now - 3600 * 1000);
        (old.count(), records.len())
    };
    let (kept, all) = old(&house);
    assert!(
        (1490..=1520).contains(&kept),
        "{kept} of 3000 over 180 days"
    );
    assert!((all as f64 - kept as f64 - made).abs() < 0.5);
    let labels = [("tree", "cdr")];
    house.wait_metric("strowger_store_records", &labels, all as f64);
    // Another time is in force with a reload.
    let path = house.dir().join("strowger.toml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{text}cdr.keep = \"36h\"\n")).unwrap();
    hang_up(&house);
    // Of a day ago there are 17.
    house.wait_metric("strowger_store_records", &labels, 17.0 + made);
    assert_eq!(old(&house).0, 17);
    drop((office, branch));
    house.stop();
}

#[test]
fn nobody_is_shown_who_talked_when_numbers_are_masked() {
    let mut house = house().setting("cdr.privacy = \"masked\"").build();
    let folder = house.dir().join("disk/files");
    fs::create_dir_all(&folder).unwrap();
    let (office, branch) = pbxs(&house);
    house.start();
    let token = ["--output", "json", "token", "create", "reader"];
    let token: Value = serde_json::from_str(house.expect_command(&token, "").trim()).unwrap();
    let api = house.admin().with_token(token["token"].as_str().unwrap());
    let events = api.listen("/api/v1/events?types=call.ended");
    assert_eq!(events.next_line(s(10)), ": listening");
    office.busy(true);
    wait_calls(&house, 20.0);
    let event = events.next_event(s(10));
    let going_on = until("a call that goes on", s(10), || {
        let (_, text) = api.text("/api/v1/calls")?;
        text.contains("\"state\"").then_some(text)
    });
    office.busy(false);
    wait_quiet(&house);
    let numbers: Vec<String> = office.calls().into_iter().map(|seen| seen.number).collect();
    assert!(numbers.len() > 20 && numbers.iter().all(|number| number.len() > 5));
    let (_, json) = api.text("/api/v1/cdr").unwrap();
    let csv = house.expect_command(&["cdr", "export", "--format", "csv"], "");
    let log = house.log();
    house.stop();
    // Without the switch too, and in what lies on the disk.
    let later = house.expect_command(&["cdr", "export", "--format", "json"], "");
    let backup = house.expect_command(&["--output", "json", "cdr", "list"], "");
    let mut files = String::new();
    for entry in fs::read_dir(&folder).unwrap() {
        files.push_str(&fs::read_to_string(entry.unwrap().path()).unwrap());
    }
    let event = event.to_string();
    for (what, text) in [
        ("event", &event),
        ("calls", &going_on),
        ("api", &json),
        ("csv", &csv),
        ("log", &log),
        ("json", &later),
        ("list", &backup),
        ("files", &files),
    ] {
        let shown = numbers.iter().find(|number| text.contains(number.as_str()));
        assert_eq!(shown, None, "{what}");
        assert!(what == "log" || text.contains("***"), "{what}: {text}");
    }
    // What was masked is not to be had any more.
    let path = house.dir().join("strowger.toml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("\"masked\"", "\"full\"")).unwrap();
    let records = house.expect_command(&["cdr", "export", "--format", "json"], "");
    assert!(numbers.iter().all(|number| !records.contains(number)));
    drop((office, branch));
}

#[test]
fn a_record_that_cannot_be_read_is_left_out_and_named() {
    let mut house = House::new().peer_trunk(&["alaw"]).start();
    house.stop();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let now = u64::try_from(now.as_millis()).unwrap() - 60_000;
    let id = |n: u64| CallId::new(now + n, 7);
    {
        let db = sled::open(house.dir().join("data/store")).unwrap();
        let calls = db.open_tree("cdr").unwrap();
        for n in 0..4 {
            let record = serde_json::json!({
                "id": id(n), "direction": "sip_to_tg", "trunk": "office", "session": "gateway", "from": "600", "to": "601",
                "started_ms": now + n, "ended_after_ms": 5, "legs": [],
            });
            let value = [&[1][..], record.to_string().as_bytes()].concat();
            calls.insert(id(n).to_bytes(), value).unwrap();
        }
        // The newest is of a newer program, another one damaged, and so is one of a call that a crash has cut off.
        calls.insert(id(3).to_bytes(), &b"\x09{}"[..]).unwrap();
        calls.insert(id(1).to_bytes(), &b"\x01{\"id"[..]).unwrap();
        let open = db.open_tree("open").unwrap();
        open.insert(id(9).to_bytes(), &b"\x01{"[..]).unwrap();
        db.flush().unwrap();
    }
    let others = |house: &House| {
        let ids = house.records().into_iter();
        let ids: Vec<String> = ids
            .map(|it| it["id"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(
            ids,
            [id(0), id(2)].map(|id| id.to_string().replace("call-", ""))
        );
    };
    let is_named = |house: &House| {
        let (code, said) = house.command(&["store", "check"], "");
        assert_eq!(code, 74, "{said}");
        for n in [1, 3, 9] {
            assert!(said.contains(&id(n).to_string()), "{said}");
        }
        assert!(said.contains("cannot be read: 3"), "{said}");
    };
    others(&house);
    let said = house.expect_command(&["cdr", "list"], "");
    assert!(said.contains("2 call records cannot be read"), "{said}");
    is_named(&house);
    house.expect_command(&["store", "compact"], "");
    is_named(&house);
    house.start();
    let found = "strowger_store_unreadable_records_total";
    // The cut off one at the start, two when it is looked for the newest one.
    house.wait_metric(found, &[], 3.0);
    for _ in 0..5 {
        others(&house);
        is_named(&house);
    }
    let metrics = house.metrics();
    assert!((metrics.sum(found) - 3.0).abs() < 0.5, "each counts once");
    for n in [1, 3, 9] {
        let line = format!("call={}", id(n));
        let named = house.log().lines().filter(|it| it.contains(&line)).count();
        assert_eq!(named, 1, "{line}");
    }
}
