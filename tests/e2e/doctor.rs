//! `strowger doctor` finds what would keep the switch from carrying calls, with and without a switch that runs.

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::house::{House, STROWGER};
use crate::ports;
use crate::process::said as said_of;

/// A folder with settings that are good.
fn settings(dir: &Path, rtp: u16, sip: u16) {
    let text = format!(
        "[data]\ndir = \"data\"\n[sip]\nudp = \"127.0.0.1:{sip}\"\n[rtp]\naddress = \"127.0.0.1\"\nrange = \"{rtp}-{}\"\n",
        rtp + 9
    );
    fs::write(dir.join("strowger.toml"), text).unwrap();
}

fn doctor(dir: &Path) -> (Option<i32>, Vec<Value>) {
    let output = Command::new(STROWGER)
        .current_dir(dir)
        .args(["--config", "strowger.toml", "--output", "json", "doctor"])
        .output()
        .unwrap();
    let found = serde_json::from_slice(&output.stdout);
    let found = found.unwrap_or_else(|error| panic!("{error}: {}", said_of(&output)));
    (output.status.code(), found)
}

/// What is said of a check, with this verdict.
fn found<'a>(all: &'a [Value], check: &str, verdict: &str) -> &'a Value {
    let wanted = |it: &&Value| it["check"] == check && it["verdict"] == verdict;
    let found = all.iter().find(wanted);
    found.unwrap_or_else(|| panic!("no {verdict} of {check}: {all:#?}"))
}

#[test]
fn each_trouble_is_one_line_with_its_cure() {
    let dir = tempfile::tempdir().unwrap();
    let (dir, rtp, sip) = (dir.path(), ports::block(10), ports::one());
    settings(dir, rtp, sip);
    let (code, all) = doctor(dir);
    assert_eq!(code, Some(0), "{all:#?}");
    for check in ["settings", "folder", "key", "store", "sip", "rtp", "codecs"] {
        found(&all, check, "ok");
    }
    // Nobody would talk to Telegram, so nobody asks it.
    found(&all, "clock", "skipped");
    found(&all, "nat", "skipped");
    assert!(!dir.join("data").exists(), "it only looks");

    // A port of RTP that somebody has, and then all of them.
    let one = UdpSocket::bind(("127.0.0.1", rtp + 4)).unwrap();
    let (code, all) = doctor(dir);
    let said = found(&all, "rtp", "warn");
    assert!(
        said["said"]
            .as_str()
            .unwrap()
            .contains(&(rtp + 4).to_string())
    );
    assert!(said["cure"].is_string() && code == Some(0), "{said}");
    drop(one);
    let all_ports = (rtp..rtp + 10).map(|port| UdpSocket::bind(("127.0.0.1", port)).unwrap());
    let all_ports: Vec<UdpSocket> = all_ports.collect();
    let (code, all) = doctor(dir);
    assert_eq!(code, Some(1));
    found(&all, "rtp", "fail");
    drop(all_ports);

    let theirs = UdpSocket::bind(("127.0.0.1", sip)).unwrap();
    let (code, all) = doctor(dir);
    assert_eq!(code, Some(1));
    found(&all, "sip", "fail");
    drop(theirs);

    // A key that everybody can read.
    let list = Command::new(STROWGER)
        .current_dir(dir)
        .args(["--config", "strowger.toml", "trunk", "list"])
        .output();
    assert!(list.unwrap().status.success());
    let key = dir.join("strowger.key");
    fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
    let (code, all) = doctor(dir);
    assert_eq!(code, Some(1));
    let said = found(&all, "key", "fail");
    assert!(
        said["said"].as_str().unwrap().contains("chmod 600"),
        "{said}"
    );
    fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();

    // A store that is no store.
    let db = dir.join("data/store/db");
    let good = fs::read(&db).unwrap();
    fs::write(&db, vec![0x5a; good.len()]).unwrap();
    let (code, all) = doctor(dir);
    assert_eq!(code, Some(1));
    found(&all, "store", "fail");
    fs::write(&db, good).unwrap();

    // One of a program that comes after this.
    let schema = |number: u8| {
        let db = sled::open(dir.join("data/store")).unwrap();
        let meta = db.open_tree("meta").unwrap();
        let before = meta.insert("schema", &[number]).unwrap().unwrap();
        db.flush().unwrap();
        before.first().copied().unwrap()
    };
    let known = schema(99);
    let (code, all) = doctor(dir);
    assert_eq!(code, Some(1));
    let newer = found(&all, "store", "fail");
    let text = newer["said"].as_str().unwrap();
    assert!(
        text.contains(&format!("schema 99, this program knows {known}")),
        "{newer}"
    );
    let run = Command::new(STROWGER)
        .current_dir(dir)
        .args(["--config", "strowger.toml", "run"])
        .output()
        .unwrap();
    assert_eq!(
        run.status.code(),
        Some(74),
        "{}",
        crate::process::said(&run)
    );
    assert_eq!(schema(known), 99, "it is left as it is");

    fs::write(dir.join("strowger.toml"), "[sip]\nt1_ms = 7\n").unwrap();
    let (code, all) = doctor(dir);
    assert_eq!(code, Some(1));
    let said = found(&all, "settings", "fail");
    let text = said["said"].as_str().unwrap();
    assert!(text.contains("strowger.toml:2:9: `sip.t1_ms`"), "{said}");
}

#[test]
fn a_switch_that_runs_is_asked() {
    let house = House::new().registering_trunk(&["alaw"]).start();
    house.wait_session_up();
    let (code, said) = house.command(&["doctor"], "");
    assert_eq!(code, 0, "{said}");
    for line in ["it is that of the switch that runs", "is up", "is not up"] {
        assert!(said.contains(line), "{line} is missing: {said}");
    }
}

/// What a house's doctor finds.
fn of(house: &House) -> Vec<Value> {
    let (_, said) = house.command(&["--output", "json", "doctor"], "");
    let json = said.find('[').map_or("", |at| &said[at..]);
    let mut all = serde_json::Deserializer::from_str(json).into_iter();
    all.next()
        .unwrap_or_else(|| panic!("no list: {said}"))
        .unwrap()
}

#[test]
fn a_clock_that_is_off_is_found_with_and_without_a_switch_that_runs() {
    let mut house = House::new().peer_trunk(&["alaw"]).start();
    house.wait_session_up();
    let off = |house: &House, theirs: i32, verdict| {
        house.telegram.set(json!({"time_offset": theirs}));
        let all = of(house);
        found(&all, "telegram", "ok");
        found(&all, "clock", verdict).clone()
    };
    off(&house, 0, "ok");
    let ahead = off(&house, -12, "warn");
    assert!(
        ahead["said"].as_str().unwrap().contains("ahead of")
            && ahead["cure"].as_str().unwrap().contains("NTP"),
        "{ahead}"
    );
    let behind = off(&house, 60, "warn");
    assert!(
        behind["said"].as_str().unwrap().contains("behind"),
        "{behind}"
    );
    house.telegram.set(json!({"time_offset": 0}));
    house.stop();
    off(&house, -60, "fail");
    off(&house, 2, "ok");
}

#[test]
fn telegram_that_cannot_be_reached_is_found() {
    let (telegram, trunk) = (ports::one(), "192.0.2.9:5060");
    let dir = tempfile::tempdir().unwrap();
    settings(dir.path(), ports::block(10), ports::one());
    let file = dir.path().join("strowger.toml");
    let text = fs::read_to_string(&file).unwrap();
    let dc = format!("[telegram]\ntest_dc = {{ id = 2, address = \"127.0.0.1:{telegram}\" }}\n");
    fs::write(&file, text + &dc).unwrap();
    let (code, all) = doctor(dir.path());
    let said = found(&all, "telegram", "warn");
    assert!(
        said["cure"].as_str().unwrap().contains("firewall"),
        "{said}"
    );
    found(&all, "clock", "skipped");
    assert_eq!(code, Some(0), "{all:#?}");

    // More lines on both sides than any machine carries.
    for args in [
        vec![
            "trunk",
            "add",
            "office",
            "--kind",
            "peer",
            "--address",
            trunk,
            "--lines",
            "999999",
        ],
        vec!["session", "add", "gateway", "--lines", "999999"],
    ] {
        let output = Command::new(STROWGER)
            .current_dir(dir.path())
            .args(["--config", "strowger.toml"])
            .args(&args)
            .output()
            .unwrap();
        assert!(output.status.success(), "{args:?}: {}", said_of(&output));
    }
    let (_, all) = doctor(dir.path());
    let codecs = found(&all, "codecs", "warn");
    let text = codecs["said"].as_str().unwrap();
    assert!(
        text.contains("have lines for 999999") && codecs["cure"].is_string(),
        "{codecs}"
    );
}

#[test]
fn whoever_is_not_watched_hears_of_it() {
    let house = House::new().peer_trunk(&["alaw"]).start();
    let all = of(&house);
    let unwatched = found(&all, "metrics", "warn");
    let cure = unwatched["cure"].as_str().unwrap();
    assert!(cure.contains("/metrics"), "{unwatched}");
    house.metrics();
    found(&of(&house), "metrics", "ok");
}

#[test]
fn status_is_shown_again_and_again_until_the_switch_is_gone() {
    let mut house = House::new().peer_trunk(&["alaw"]).start();
    let mut child = Command::new(STROWGER)
        .current_dir(house.dir())
        .args(["--config", "strowger.toml", "--output", "json"])
        .args(["status", "--watch=1"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut uptime = || -> Option<u64> {
        let line = lines.next()?.unwrap();
        let status: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(status["store"]["schema"], 2, "{status}");
        assert_eq!(status["store"]["works"], true, "{status}");
        status["uptime_s"].as_u64()
    };
    let (first, _, third) = (uptime().unwrap(), uptime().unwrap(), uptime().unwrap());
    assert!(third > first, "{first} {third}");
    house.stop();
    while uptime().is_some() {}
    assert_eq!(child.wait().unwrap().code(), Some(4), "there is no switch");
}
