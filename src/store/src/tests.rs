use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use model::{Codec, Direction, Secret, TrunkKind};

use super::*;

fn trunk(name: &str) -> TrunkSpec {
    TrunkSpec {
        name: name.parse().unwrap(),
        kind: TrunkKind::InboundRegister {
            login: "pbx-login".into(),
            password: Secret::new("a-long-password".into()),
        },
        codecs: Codec::ALL.to_vec(),
        lines: 2,
        number: Some("600".into()),
        ring_seconds: 60,
        enabled: true,
    }
}

fn record(n: u128) -> CallRecord {
    CallRecord {
        id: CallId::new(1_700_000_000_000, n),
        direction: Direction::SipToTg,
        trunk: "office".into(),
        session: "main".into(),
        from: "100".into(),
        to: "ann".into(),
        started_ms: 1_700_000_000_000,
        ringing_after_ms: None,
        answered_after_ms: None,
        ended_after_ms: None,
        ended_by: None,
        outcome: None,
        legs: Vec::new(),
    }
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn what_is_committed_is_there_after_reopening() {
    let dir = folder();
    let session: SessionName = "main".parse().unwrap();
    {
        let store = SledStore::open(dir.path()).unwrap();
        assert_eq!(
            store
                .commit(Some(0), &[Change::PutTrunk(trunk("office"))])
                .unwrap(),
            1
        );
        store
            .put_durable(Space::Telegram(&session), b"dc/2", b"key")
            .unwrap();
        store.close_call(&record(1)).unwrap();
    }
    let store = SledStore::open(dir.path()).unwrap();
    assert_eq!(store.trunks().unwrap(), vec![trunk("office")]);
    assert_eq!(store.generation().unwrap(), 1);
    assert_eq!(
        store
            .get(Space::Telegram(&session), b"dc/2")
            .unwrap()
            .as_deref(),
        Some(&b"key"[..])
    );
    assert_eq!(store.recent_calls(5).unwrap(), vec![record(1)]);
}

#[test]
fn a_commit_on_an_old_generation_is_refused_and_changes_nothing() {
    let dir = folder();
    let store = SledStore::open(dir.path()).unwrap();
    store
        .commit(None, &[Change::PutTrunk(trunk("office"))])
        .unwrap();
    let error = store
        .commit(Some(0), &[Change::PutTrunk(trunk("other"))])
        .unwrap_err();
    assert!(
        matches!(
            error,
            StoreError::Conflict {
                expected: 0,
                found: 1
            }
        ),
        "{error}"
    );
    assert_eq!(store.trunks().unwrap().len(), 1);
}

#[test]
fn removing_what_is_not_there_changes_nothing() {
    let dir = folder();
    let store = SledStore::open(dir.path()).unwrap();
    let changes = [
        Change::PutTrunk(trunk("office")),
        Change::RemoveTrunk("nobody".parse().unwrap()),
    ];
    let error = store.commit(None, &changes).unwrap_err();
    assert_eq!(error.to_string(), "there is no trunk `nobody`");
    assert!(store.trunks().unwrap().is_empty());
}

#[test]
fn a_second_process_is_told_that_the_store_is_in_use() {
    let dir = folder();
    let _first = SledStore::open(dir.path()).unwrap();
    assert!(matches!(
        SledStore::open(dir.path()),
        Err(OpenError::Locked { .. })
    ));
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let dir = folder();
    let file = dir.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let Err(error) = SledStore::open(&file) else {
        panic!("opened a file as a folder")
    };
    assert!(error.to_string().contains("file"), "{error}");
}

#[test]
fn a_call_that_never_ended_is_found_again() {
    let dir = folder();
    let store = SledStore::open(dir.path()).unwrap();
    store.open_call(&record(1)).unwrap();
    store.open_call(&record(2)).unwrap();
    store.close_call(&record(1)).unwrap();
    assert_eq!(store.unfinished_calls().unwrap(), vec![record(2)]);
    assert_eq!(store.call(record(2).id).unwrap(), Some(record(2)));
    assert_eq!(store.stats().unwrap().calls, 1);
}

#[test]
fn a_record_of_a_newer_program_is_refused_not_misread() {
    let dir = folder();
    {
        let store = SledStore::open(dir.path()).unwrap();
        store
            .commit(None, &[Change::PutTrunk(trunk("office"))])
            .unwrap();
    }
    {
        let db = sled::open(dir.path()).unwrap();
        db.open_tree("trunks")
            .unwrap()
            .insert("office", &[9u8, b'{'])
            .unwrap();
        db.flush().unwrap();
    }
    let store = SledStore::open(dir.path()).unwrap();
    assert!(matches!(
        store.trunks(),
        Err(StoreError::Version { version: 9, .. })
    ));
}

/// The writer of the next test: writes records until it is killed, and says each one after it is acknowledged.
#[test]
fn writer_that_is_killed() {
    let Ok(folder) = std::env::var("STORE_TEST_FOLDER") else {
        return;
    };
    let store = SledStore::open(Path::new(&folder)).unwrap();
    for n in 0.. {
        store.close_call(&record(n)).unwrap();
        println!("{n}");
    }
}

use std::path::Path;

#[test]
fn nothing_acknowledged_is_lost_by_a_kill() {
    for round in 0..8u64 {
        let dir = folder();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "tests::writer_that_is_killed", "--nocapture"])
            .env("STORE_TEST_FOLDER", dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let wanted = 20 + 37 * round;
        let mut last = None;
        while last.is_none_or(|n: u64| n < wanted) {
            let line = lines.next().unwrap().unwrap();
            last = line.parse().ok().or(last);
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let last = lines
            .map_while(Result::ok)
            .filter_map(|line| line.parse().ok())
            .last()
            .or(last)
            .unwrap();
        let store = SledStore::open(dir.path()).unwrap();
        for n in 0..=last {
            assert!(
                store.call(record(u128::from(n)).id).unwrap().is_some(),
                "round {round}: record {n} of {last} is lost"
            );
        }
    }
}
