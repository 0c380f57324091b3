use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use model::{Direction, Farewell, Secret, TrunkKind};

use super::*;

mod ended;
mod migration;
mod sealed;

fn trunk(name: &str) -> TrunkSpec {
    let kind = TrunkKind::InboundRegister {
        login: "pbx-login".into(),
        password: Secret::new("a-long-password".into()),
    };
    TrunkSpec {
        lines: 2,
        number: Some("600".into()),
        ..TrunkSpec::new(name.parse().unwrap(), kind)
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
        diverted_from: None,
        started_ms: 1_700_000_000_000,
        ringing_after_ms: None,
        answered_after_ms: None,
        ended_after_ms: None,
        ended_by: None,
        outcome: None,
        to_trunk: String::new(),
        details: model::CallDetails::default(),
        legs: Vec::new(),
    }
}

/// The same, of a call that goes on.
fn open_call(n: u128) -> OpenCall {
    OpenCall {
        record: record(n),
        farewells: vec![Farewell::Telegram {
            session: "main".into(),
            id: 7,
            access_hash: -7,
            theirs: true,
        }],
    }
}

#[test]
fn a_call_that_an_earlier_version_left_open_has_no_farewells() {
    let old = serde_json::to_vec(&record(1)).unwrap();
    let read: OpenCall = serde_json::from_slice(&old).unwrap();
    assert_eq!(read.record, record(1));
    assert!(read.farewells.is_empty());
}

/// The key of the stores of these tests.
fn key() -> MasterKey {
    MasterKey::from_octets([7; 32])
}

fn open(folder: &Path) -> Result<SledStore, OpenError> {
    SledStore::open(folder, &key())
}

/// The database itself; sled's threads hold the lock of one that was just closed for a moment longer.
fn bare(folder: &Path) -> sled::Db {
    for _ in 0..500 {
        match sled::open(folder) {
            Err(sled::Error::Io(error)) if error.to_string().contains("lock") => {
                std::thread::sleep(Duration::from_millis(10));
            }
            opened => return opened.unwrap(),
        }
    }
    panic!("{} is locked", folder.display());
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn what_is_committed_is_there_after_reopening() {
    let dir = folder();
    let session: SessionName = "main".parse().unwrap();
    {
        let store = open(dir.path()).unwrap();
        assert_eq!(
            store
                .commit(Some(0), &[Change::PutTrunk(Box::new(trunk("office")))])
                .unwrap(),
            1
        );
        store
            .put_durable(Space::Telegram(&session), b"dc/2", b"key")
            .unwrap();
        store.close_calls(&[&record(1)]).unwrap();
    }
    let store = open(dir.path()).unwrap();
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
    let store = open(dir.path()).unwrap();
    store
        .commit(None, &[Change::PutTrunk(Box::new(trunk("office")))])
        .unwrap();
    let error = store
        .commit(Some(0), &[Change::PutTrunk(Box::new(trunk("other")))])
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
    let store = open(dir.path()).unwrap();
    let changes = [
        Change::PutTrunk(Box::new(trunk("office"))),
        Change::RemoveTrunk("nobody".parse().unwrap()),
    ];
    let error = store.commit(None, &changes).unwrap_err();
    assert_eq!(error.to_string(), "there is no trunk `nobody`");
    assert!(store.trunks().unwrap().is_empty());
}

#[test]
fn a_second_process_is_told_that_the_store_is_in_use() {
    let dir = folder();
    let _first = open(dir.path()).unwrap();
    assert!(matches!(open(dir.path()), Err(OpenError::Locked { .. })));
}

#[test]
fn a_store_that_is_just_being_closed_is_waited_for() {
    let dir = folder();
    let first = open(dir.path()).unwrap();
    let closing = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(100));
        drop(first);
    });
    open(dir.path()).unwrap();
    closing.join().unwrap();
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let dir = folder();
    let file = dir.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let Err(error) = open(&file) else {
        panic!("opened a file as a folder")
    };
    assert!(error.to_string().contains("file"), "{error}");
}

#[test]
fn a_call_that_never_ended_is_found_again() {
    let dir = folder();
    let store = open(dir.path()).unwrap();
    store.open_call(&open_call(1)).unwrap();
    store.open_call(&open_call(2)).unwrap();
    store.close_calls(&[&record(1)]).unwrap();
    assert_eq!(store.unfinished_calls().unwrap().records, [open_call(2)]);
    assert_eq!(store.call(record(2).id).unwrap(), Some(record(2)));
    assert_eq!(store.stats().unwrap().calls, 1);
    assert!(store.stats().unwrap().free_bytes.unwrap() > 0);
}

#[test]
fn a_record_of_a_newer_program_is_refused_not_misread() {
    let dir = folder();
    {
        let store = open(dir.path()).unwrap();
        store
            .commit(None, &[Change::PutTrunk(Box::new(trunk("office")))])
            .unwrap();
    }
    {
        let db = bare(dir.path());
        db.open_tree("trunks")
            .unwrap()
            .insert("office", &[9u8, b'{'])
            .unwrap();
        db.flush().unwrap();
    }
    let store = open(dir.path()).unwrap();
    assert!(matches!(
        store.trunks(),
        Err(StoreError::Version { version: 9, .. })
    ));
}

#[test]
fn ways_between_trunks_are_kept_beside_the_routes_of_sessions() {
    let dir = folder();
    let store = open(dir.path()).unwrap();
    let way = TransitSpec {
        trunk: "a".parse().unwrap(),
        to: "b".parse().unwrap(),
        priority: 7,
        terms: model::RouteTerms::default(),
    };
    let gone = Change::RemoveTransit(way.trunk.clone(), way.to.clone());
    assert!(store.commit(None, std::slice::from_ref(&gone)).is_err());
    store
        .commit(None, &[Change::PutTransit(way.clone())])
        .unwrap();
    drop(store);
    let store = open(dir.path()).unwrap();
    assert_eq!(store.transits().unwrap(), [way]);
    // A version that does not know them reads the routes of sessions as ever.
    assert!(store.routes().unwrap().is_empty());
    assert_eq!(store.stats().unwrap().routes, 1);
    store.commit(None, &[gone]).unwrap();
    assert!(store.transits().unwrap().is_empty());
}

#[test]
fn quota_profiles_are_records_and_what_is_counted_is_kept_beside_them() {
    let dir = folder();
    let store = open(dir.path()).unwrap();
    let small = model::QuotaSpec {
        fail_calls: 3,
        ..model::QuotaSpec::new("small".parse().unwrap())
    };
    let gone = Change::RemoveQuota(small.name.clone());
    assert!(store.commit(None, std::slice::from_ref(&gone)).is_err());
    let put = Change::PutQuota(small.clone());
    store.commit(None, &[put]).unwrap();
    store
        .put_soft(Space::Counters, b"quota/trunk/office", b"{}")
        .unwrap();
    drop(store);
    let store = open(dir.path()).unwrap();
    assert_eq!(store.quotas().unwrap(), [small]);
    let kept = store.scan(Space::Counters, b"quota/").unwrap();
    assert_eq!(kept, [(b"quota/trunk/office".to_vec(), b"{}".to_vec())]);
    store.commit(None, &[gone]).unwrap();
    assert!(store.quotas().unwrap().is_empty());
}

#[test]
fn a_role_that_was_switched_stays_so() {
    let dir = folder();
    let store = open(dir.path()).unwrap();
    assert!(store.roles().unwrap().is_empty());
    let off = model::RoleSpec {
        role: model::Role::Storage,
        enabled: false,
    };
    store.commit(None, &[Change::PutRole(off)]).unwrap();
    drop(store);
    let store = open(dir.path()).unwrap();
    assert_eq!(store.roles().unwrap(), [off]);
    let on = model::RoleSpec {
        enabled: true,
        ..off
    };
    store.commit(None, &[Change::PutRole(on)]).unwrap();
    assert_eq!(store.roles().unwrap(), [on]);
}

#[test]
fn users_are_records() {
    let dir = folder();
    let store = open(dir.path()).unwrap();
    let ann = model::UserSpec {
        lines: 2,
        ..model::UserSpec::new("ann".parse().unwrap(), 4242)
    };
    let gone = Change::RemoveUser(ann.name.clone());
    assert!(store.commit(None, std::slice::from_ref(&gone)).is_err());
    store.commit(None, &[Change::PutUser(ann.clone())]).unwrap();
    drop(store);
    let store = open(dir.path()).unwrap();
    assert_eq!(store.users().unwrap(), [ann]);
    store.commit(None, &[gone]).unwrap();
    assert!(store.users().unwrap().is_empty());
}

/// The writer of the next test: writes all that must be durable until it is killed, and says each once it is acknowledged.
#[test]
fn writer_that_is_killed() {
    let Ok(folder) = std::env::var("STORE_TEST_FOLDER") else {
        return;
    };
    let store = open(Path::new(&folder)).unwrap();
    let session: SessionName = "main".parse().unwrap();
    for n in 0u32.. {
        store.open_call(&open_call(u128::from(n))).unwrap();
        store.close_calls(&[&record(u128::from(n))]).unwrap();
        if n % 4 == 0 {
            // Two records in one commit: never the one without the other.
            let (kept, gone) = (trunk(&format!("kept-{n}")), format!("main-{n}"));
            let route = RouteSpec {
                trunk: kept.name.clone(),
                session: gone.parse().unwrap(),
                priority: 100,
                terms: model::RouteTerms::default(),
            };
            store
                .commit(
                    Some(u64::from(n / 4)),
                    &[Change::PutTrunk(Box::new(kept)), Change::PutRoute(route)],
                )
                .unwrap();
            store
                .put_durable(Space::Telegram(&session), b"dc/2", &n.to_be_bytes())
                .unwrap();
        }
        println!("{n}");
    }
}

#[test]
fn nothing_acknowledged_is_lost_by_a_kill() {
    let session: SessionName = "main".parse().unwrap();
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
        let store = open(dir.path()).unwrap();
        for n in 0..=last {
            let kept = store.call(record(u128::from(n)).id).unwrap();
            assert!(
                kept.is_some(),
                "round {round}: record {n} of {last} is lost"
            );
        }
        let unfinished = store.unfinished_calls().unwrap();
        assert!(
            unfinished
                .records
                .iter()
                .all(|call| call.record.id > record(u128::from(last)).id),
            "round {round}: a closed call is unfinished again"
        );
        let (commits, trunks) = (store.generation().unwrap(), store.trunks().unwrap().len());
        assert!(
            commits > last / 4,
            "round {round}: {commits} commits, {last}"
        );
        assert_eq!(trunks as u64, commits, "round {round}");
        assert_eq!(
            store.routes().unwrap().len(),
            trunks,
            "round {round}: half a commit"
        );
        let key = store
            .get(Space::Telegram(&session), b"dc/2")
            .unwrap()
            .unwrap();
        let key = u32::from_be_bytes(key.try_into().unwrap());
        assert!(
            u64::from(key) >= last - last % 4,
            "round {round}: key {key} of {last}"
        );
        assert!(store.stats().unwrap().calls > last);
    }
}

#[test]
fn what_belonged_to_a_removed_trunk_or_session_is_gone() {
    let dir = folder();
    let session: SessionName = "main".parse().unwrap();
    let spec = SessionSpec::new(session.clone());
    let both = [
        Change::PutTrunk(Box::new(trunk("office"))),
        Change::PutSession(spec.clone()),
    ];
    {
        let store = open(dir.path()).unwrap();
        store.commit(None, &both).unwrap();
        store.put_soft(Space::Bindings, b"office", b"[]").unwrap();
        store
            .put_durable(Space::Telegram(&session), b"dc/2", b"key")
            .unwrap();
        let remove = [
            Change::RemoveTrunk("office".parse().unwrap()),
            Change::RemoveSession(session.clone()),
        ];
        store.commit(None, &remove).unwrap();
        assert_eq!(store.get(Space::Bindings, b"office").unwrap(), None);
        let keys = store.scan(Space::Telegram(&session), b"").unwrap();
        assert_eq!(keys, []);
        store.commit(None, &both).unwrap();
        store
            .put_durable(Space::Telegram(&session), b"dc/2", b"key")
            .unwrap();
    }
    {
        // A crash between the commit and the clearing away leaves this.
        let db = bare(dir.path());
        let meta = db.open_tree("meta").unwrap();
        meta.insert("clear/telegram/main", &[]).unwrap();
        db.flush().unwrap();
    }
    let store = open(dir.path()).unwrap();
    let keys = store.scan(Space::Telegram(&session), b"").unwrap();
    assert_eq!(
        keys,
        [],
        "a session of the same name must not find the old keys"
    );
}

#[test]
fn commits_of_two_threads_are_one_after_the_other() {
    let dir = folder();
    let store = open(dir.path()).unwrap();
    let won: usize = std::thread::scope(|scope| {
        let threads = ["a", "b"].map(|name| {
            let store = &store;
            scope.spawn(move || {
                let change = [Change::PutTrunk(Box::new(trunk(name)))];
                (0..50)
                    .filter(|n| store.commit(Some(*n), &change).is_ok())
                    .count()
            })
        });
        threads.map(|thread| thread.join().unwrap()).iter().sum()
    });
    assert_eq!(won as u64, store.generation().unwrap());
}

#[test]
fn others_cannot_read_the_store() {
    let dir = folder();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let fresh = dir.path().join("fresh");
    drop(open(&fresh).unwrap());
    assert_eq!(mode(&fresh), 0o700);
    // A folder that somebody made before.
    let made = dir.path().join("made");
    std::fs::create_dir(&made).unwrap();
    drop(open(&made).unwrap());
    assert_eq!(mode(&made.join("db")), 0o600);
}

#[test]
fn call_records_are_counted_without_reading_them() {
    let dir = folder();
    {
        let store = open(dir.path()).unwrap();
        for n in [1, 2, 2, 3] {
            store.close_calls(&[&record(n)]).unwrap();
        }
        assert_eq!(store.stats().unwrap().calls, 3);
    }
    let store = open(dir.path()).unwrap();
    // One of an earlier process is closed before anybody asks, one after.
    store.close_calls(&[&record(0), &record(9)]).unwrap();
    assert_eq!(store.stats().unwrap().calls, 5);
    store.close_calls(&[&record(10)]).unwrap();
    assert_eq!(store.stats().unwrap().calls, 6);
    let many: Vec<CallRecord> = (11..12_000).map(record).collect();
    store.close_calls(&many.iter().collect::<Vec<_>>()).unwrap();
    drop(store);
    // Those of ten years are counted beside what else there is to do.
    let store = open(dir.path()).unwrap();
    while store.stats().unwrap().calls < 6 + 11_989 {
        std::thread::yield_now();
    }
    assert_eq!(store.stats().unwrap().calls, 6 + 11_989);
}

/// What is left of a store whose files were damaged by `damage`: opened and read, or refused.
fn read_after(damage: impl FnOnce(&Path)) -> String {
    let dir = folder();
    {
        let store = open(dir.path()).unwrap();
        store
            .commit(None, &[Change::PutTrunk(Box::new(trunk("office")))])
            .unwrap();
        for n in 0..200 {
            store.close_calls(&[&record(n)]).unwrap();
        }
    }
    damage(dir.path());
    match open(dir.path()) {
        Ok(store) => format!(
            "trunks {:?}, calls {:?}",
            store.trunks().map(|trunks| trunks.len()),
            store.recent_calls(1000).map(|calls| calls.len())
        ),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_damaged_store_is_refused_or_read_but_never_panics() {
    let mut state = 7u64;
    let mut dice = |sides: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % sides
    };
    for round in 0..24 {
        let (kind, at) = (dice(4), dice(20_000));
        let said = read_after(|path| {
            let file = if round % 5 == 4 { "conf" } else { "db" };
            let file = path.join(file);
            let mut bytes = std::fs::read(&file).unwrap();
            let at = usize::try_from(at).unwrap() % bytes.len();
            match kind {
                0 => bytes.truncate(at),
                1 => bytes[at] ^= 0x10,
                2 => bytes[at..]
                    .iter_mut()
                    .take(64)
                    .for_each(|byte| *byte ^= 0xff),
                _ => bytes.clear(),
            }
            std::fs::write(&file, bytes).unwrap();
        });
        let sound = said.contains("trunks Ok") && said.contains("calls Ok");
        assert!(
            sound || said.contains("move it aside"),
            "round {round}, kind {kind}, at {at}: {said}"
        );
    }
}

#[test]
fn bans_are_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let ban = |prefix: &str, times| model::BanRecord {
        prefix: prefix.parse().unwrap(),
        until: 1_800_000_000,
        times,
    };
    let bans = [ban("192.0.2.1", 2), ban("2001:db8::/64", 0)];
    {
        let store = open(folder.path()).unwrap();
        assert_eq!(read_bans(&store).unwrap(), []);
        write_bans(&store, &bans[..1]).unwrap();
        write_bans(&store, &bans).unwrap();
    }
    let store = open(folder.path()).unwrap();
    assert_eq!(read_bans(&store).unwrap(), bans);
}
