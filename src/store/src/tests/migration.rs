//! Stores of older schemas, and starts that are killed on the way to the present one.

use std::path::{Path, PathBuf};

use sled::Db;

use super::sealed::{assert_all_is_there, unsealed_store};
use super::*;
use crate::migration::{Failed, STEPS, Step};
use crate::sealing::seal_store;

/// Where the child is killed.
const AT: &str = "STORE_TEST_KILLED_AT";
const NEWEST: u8 = 4;

fn killed_at(place: &str) {
    if std::env::var(AT).is_ok_and(|at| at == place) {
        std::process::abort();
    }
}

fn seal(folder: &Path, db: Db, master: &MasterKey) -> Result<Db, Failed> {
    killed_at("sealing");
    let db = seal_store(folder, db, master)?;
    killed_at("sealed");
    Ok(db)
}

/// Moves the addresses of registered PBXs, one after the other, from one tree to another.
fn moved(_: &Path, db: Db, _: &MasterKey) -> Result<Db, Failed> {
    let (from, to) = (db.open_tree("bindings")?, db.open_tree("moved")?);
    for (count, entry) in from.iter().enumerate() {
        let (key, value) = entry?;
        to.insert(&key, &value)?;
        if count == 0 {
            killed_at("one is copied");
        }
        from.remove(&key)?;
        db.flush()?;
        if count == 1 {
            killed_at("two are moved");
        }
    }
    killed_at("all are moved");
    Ok(db)
}

/// And back.
fn moved_back(_: &Path, db: Db, _: &MasterKey) -> Result<Db, Failed> {
    killed_at("none is back");
    let (from, to) = (db.open_tree("moved")?, db.open_tree("bindings")?);
    for entry in &from {
        let (key, value) = entry?;
        to.insert(&key, &value)?;
        // In memory as yet: the kill takes it.
        killed_at("one is back");
    }
    db.flush()?;
    db.drop_tree("moved")?;
    killed_at("all are back");
    Ok(db)
}

const CHAIN: &[Step] = &[
    Step { to: 2, run: seal },
    Step { to: 3, run: moved },
    Step {
        to: 4,
        run: moved_back,
    },
];

fn chained(folder: &Path) -> Result<SledStore, OpenError> {
    SledStore::open_by(folder, &key(), CHAIN)
}

/// A store of schema 1 with three registered PBXs.
fn fixture(path: &Path) {
    unsealed_store(path);
    let db = bare(path);
    let bindings = db.open_tree("bindings").unwrap();
    for name in ["branch", "shop"] {
        bindings.insert(name, name.as_bytes()).unwrap();
    }
    db.flush().unwrap();
}

fn backups(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.extension().is_some_and(|it| it == "backup"))
        .collect()
}

fn assert_migrated(store: &SledStore, from: u8) {
    assert_all_is_there(store);
    for name in ["branch", "shop"] {
        let kept = store.get(Space::Bindings, name.as_bytes()).unwrap();
        assert_eq!(kept.as_deref(), Some(name.as_bytes()));
    }
    let stats = store.stats().unwrap();
    assert_eq!(stats.schema, NEWEST);
    let migration = stats.migration.unwrap();
    assert_eq!((migration.from, migration.to), (from, NEWEST));
    assert!(migration.at > 1_700_000_000, "{migration:?}");
}

#[test]
fn the_last_step_leads_to_the_schema_of_this_program() {
    assert_eq!(crate::migration::newest(STEPS), crate::sled_store::SCHEMA);
    let dir = folder();
    let stats = open(dir.path()).unwrap().stats().unwrap();
    assert_eq!((stats.schema, stats.migration), (2, None), "made with it");
}

/// The start of the next test.
#[test]
fn migration_that_is_killed() {
    if let Ok(folder) = std::env::var("STORE_TEST_FOLDER") {
        chained(Path::new(&folder)).unwrap();
    }
}

#[test]
fn a_migration_that_is_killed_anywhere_goes_on_at_the_next_start() {
    let places = [
        &["sealing"][..],
        &["sealed"],
        &["one is copied"],
        &["two are moved"],
        &["all are moved"],
        &["none is back"],
        &["one is back"],
        &["all are back"],
        // Killed again and again.
        &["sealed", "one is copied", "two are moved", "one is back"],
    ];
    for places in places {
        let dir = folder();
        let path = dir.path().join("store");
        fixture(&path);
        for place in places {
            let killed = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "tests::migration::migration_that_is_killed"])
                .env("STORE_TEST_FOLDER", &path)
                .env(AT, place)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .unwrap();
            assert!(!killed.success(), "{place} was not reached");
        }
        let store = chained(&path).unwrap();
        assert_migrated(&store, 1);
        let backup = store.backup().unwrap().to_owned();
        drop(store);
        assert_eq!(
            backups(dir.path()),
            std::slice::from_ref(&backup),
            "{places:?}"
        );
        let store = chained(&path).unwrap();
        assert_eq!(store.backup(), None, "once is enough");
        assert_migrated(&store, 1);
        drop(store);
        // The backup is of the store before the first step.
        let restored = dir.path().join("restored");
        restore(&backup, &restored, &key(), Restored::Here).unwrap();
        assert_migrated(&chained(&restored).unwrap(), 1);
    }
}

#[test]
fn a_store_in_between_takes_only_the_steps_that_are_left() {
    let dir = folder();
    let path = dir.path().join("store");
    fixture(&path);
    drop(open(&path).unwrap());
    let first = backups(dir.path());
    let other = MasterKey::from_octets([8; 32]);
    let refused = SledStore::open_by(&path, &other, CHAIN);
    assert!(matches!(refused, Err(OpenError::WrongKey { .. })));
    assert_eq!(backups(dir.path()), first, "nothing was begun");
    let store = chained(&path).unwrap();
    assert_migrated(&store, 2);
    let backup = store.backup().unwrap().to_owned();
    drop(store);
    assert_eq!(backups(dir.path()).len(), 2);
    // It is of a store of schema 2, which the program before opens.
    let restored = dir.path().join("restored");
    restore(&backup, &restored, &key(), Restored::Here).unwrap();
    let store = open(&restored).unwrap();
    assert_all_is_there(&store);
    assert_eq!(store.stats().unwrap().schema, 2);
    // The present program refuses what the steps have made, and leaves it as it is.
    let refused = open(&path).err().unwrap();
    let said = refused.to_string();
    assert!(said.contains("schema 4, this program knows 2"), "{said}");
    assert_migrated(&chained(&path).unwrap(), 2);
}

#[test]
fn a_step_that_fails_is_told_and_done_at_the_next_start() {
    fn fails(_: &Path, _: Db, _: &MasterKey) -> Result<Db, Failed> {
        Err("no room".into())
    }
    const FAILING: &[Step] = &[
        Step { to: 2, run: seal },
        Step { to: 3, run: moved },
        Step { to: 4, run: fails },
    ];
    let dir = folder();
    let path = dir.path().join("store");
    fixture(&path);
    drop(open(&path).unwrap());
    for from in [2, 3] {
        let refused = SledStore::open_by(&path, &key(), FAILING).err().unwrap();
        let said = refused.to_string();
        let wanted = format!("from schema {from} to 4 (no room)");
        assert!(said.contains(&wanted) && !refused.is_damage(), "{said}");
    }
    assert_migrated(&chained(&path).unwrap(), 2);
}
