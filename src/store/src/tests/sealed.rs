//! What is secret on the disk, and backups of it.

use std::path::Path;

use super::*;

/// All that is in a folder, its files one after the other.
fn octets_in(folder: &Path) -> Vec<u8> {
    let mut octets = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        octets.extend(if path.is_dir() {
            octets_in(&path)
        } else {
            std::fs::read(path).unwrap()
        });
    }
    octets
}

fn is_in(folder: &Path, what: &[u8]) -> bool {
    octets_in(folder)
        .windows(what.len())
        .any(|window| window == what)
}

const PASSWORD: &[u8] = b"a-long-password";
const AUTH_KEY: &[u8] = b"0123456789-auth-key-of-256-octets";

/// A store as the versions before wrote it: records in the clear.
pub(super) fn unsealed_store(folder: &Path) {
    let db = bare(folder);
    let put = |tree: &str, key: &[u8], value: &[u8]| {
        db.open_tree(tree).unwrap().insert(key, value).unwrap();
    };
    let json = |value: serde_json::Value| [&[1][..], value.to_string().as_bytes()].concat();
    let spec = serde_json::to_value(trunk("office")).unwrap();
    put("trunks", b"office", &json(spec));
    put("tg/main", b"dc/2", AUTH_KEY);
    put("tg/main", b"empty", b"");
    put("bindings", b"office", b"[]");
    let call = record(1);
    let value = json(serde_json::to_value(&call).unwrap());
    put("cdr", &call.id.to_bytes(), &value);
    put("meta", b"schema", &[1]);
    put("meta", b"generation", &7u64.to_be_bytes());
    db.flush().unwrap();
    drop(db);
    assert!(is_in(folder, PASSWORD) && is_in(folder, AUTH_KEY));
}

pub(super) fn assert_all_is_there(store: &SledStore) {
    assert_eq!(store.trunks().unwrap(), vec![trunk("office")]);
    let session: SessionName = "main".parse().unwrap();
    let space = Space::Telegram(&session);
    assert_eq!(store.get(space, b"dc/2").unwrap().unwrap(), AUTH_KEY);
    assert_eq!(store.get(space, b"empty").unwrap().unwrap(), b"");
    assert_eq!(store.scan(space, b"").unwrap().len(), 2);
    let bindings = store.get(Space::Bindings, b"office").unwrap();
    assert_eq!(bindings.unwrap(), b"[]");
    assert_eq!(store.recent_calls(5).unwrap(), vec![record(1)]);
    assert_eq!(store.generation().unwrap(), 7);
}

#[test]
fn secrets_cannot_be_read_in_the_files() {
    let dir = folder();
    let session: SessionName = "main".parse().unwrap();
    let store = open(dir.path()).unwrap();
    store
        .commit(None, &[Change::PutTrunk(Box::new(trunk("office")))])
        .unwrap();
    let space = Space::Telegram(&session);
    store.put_durable(space, b"dc/2", AUTH_KEY).unwrap();
    store.put_soft(space, b"dc/4", AUTH_KEY).unwrap();
    store.flush().unwrap();
    drop(store);
    assert!(!is_in(dir.path(), PASSWORD) && !is_in(dir.path(), AUTH_KEY));
    assert!(!is_in(dir.path(), &[7; 32]), "the key itself");
    // The test can fail: names are not secret.
    assert!(is_in(dir.path(), b"office"));
}

#[test]
fn another_key_is_refused_and_changes_nothing() {
    let dir = folder();
    drop(open(dir.path()).unwrap());
    let other = MasterKey::from_octets([8; 32]);
    let Err(error) = SledStore::open(dir.path(), &other) else {
        panic!("opened with another key")
    };
    assert!(matches!(error, OpenError::WrongKey { .. }), "{error}");
    let said = error.to_string();
    for id in [key().id(), other.id()] {
        assert!(said.contains(&id.to_string()), "{said}");
    }
    open(dir.path()).unwrap();
}

#[test]
fn the_master_key_is_exchanged_without_touching_a_record() {
    let dir = folder();
    let new = MasterKey::from_octets([8; 32]);
    {
        let store = open(dir.path()).unwrap();
        let change = [Change::PutTrunk(Box::new(trunk("office")))];
        store.commit(None, &change).unwrap();
        let last = store.remove_master_key(key().id());
        assert!(matches!(last, Err(StoreError::LastKey { .. })), "{last:?}");
        store.add_master_key(&new).unwrap();
        store.add_master_key(&new).unwrap();
        assert_eq!(store.master_keys().unwrap().len(), 2);
    }
    // A crash here leaves a store that either opens.
    assert_eq!(open(dir.path()).unwrap().trunks().unwrap().len(), 1);
    {
        let store = SledStore::open(dir.path(), &new).unwrap();
        store.remove_master_key(key().id()).unwrap();
        let gone = store.remove_master_key(key().id());
        assert!(matches!(gone, Err(StoreError::Missing { .. })), "{gone:?}");
    }
    assert!(matches!(open(dir.path()), Err(OpenError::WrongKey { .. })));
    let store = SledStore::open(dir.path(), &new).unwrap();
    assert_eq!(store.trunks().unwrap(), vec![trunk("office")]);
}

#[test]
fn a_record_that_was_moved_is_refused() {
    let dir = folder();
    {
        let store = open(dir.path()).unwrap();
        let both = ["office", "branch"].map(|name| Change::PutTrunk(Box::new(trunk(name))));
        store.commit(None, &both).unwrap();
    }
    {
        let db = bare(dir.path());
        let trunks = db.open_tree("trunks").unwrap();
        let value = trunks.get("office").unwrap().unwrap();
        trunks.insert("branch", value).unwrap();
    }
    let error = open(dir.path()).unwrap().trunks().unwrap_err();
    assert!(
        matches!(&error, StoreError::Sealed { key, .. } if key == "branch"),
        "{error}"
    );
    // Nor is one that nobody has sealed taken for one.
    {
        let db = bare(dir.path());
        let spec = serde_json::to_vec(&trunk("branch")).unwrap();
        let trunks = db.open_tree("trunks").unwrap();
        trunks.insert("branch", [&[1], &spec[..]].concat()).unwrap();
    }
    let error = open(dir.path()).unwrap().trunks().unwrap_err();
    assert!(
        matches!(error, StoreError::Version { version: 1, .. }),
        "{error}"
    );
}

#[test]
fn a_store_without_its_wrapped_key_is_damaged_not_begun_anew() {
    for lost in [
        &b"schema"[..],
        &[&b"key/"[..], key().id().octets()].concat(),
    ] {
        let dir = folder();
        {
            let store = open(dir.path()).unwrap();
            store
                .commit(None, &[Change::PutTrunk(Box::new(trunk("office")))])
                .unwrap();
        }
        {
            let db = bare(dir.path());
            db.open_tree("meta").unwrap().remove(lost).unwrap().unwrap();
        }
        assert!(matches!(open(dir.path()), Err(OpenError::Damaged { .. })));
    }
}

#[test]
fn a_store_that_was_not_sealed_is_sealed_and_a_backup_leads_back() {
    let dir = folder();
    let path = dir.path().join("store");
    unsealed_store(&path);
    let store = open(&path).unwrap();
    assert_all_is_there(&store);
    let backup = store.backup().unwrap().to_owned();
    drop(store);
    assert!(
        !is_in(dir.path(), PASSWORD) && !is_in(dir.path(), AUTH_KEY),
        "secrets are left in the clear"
    );
    let mode = std::fs::metadata(&backup).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let store = open(&path).unwrap();
    assert_eq!(store.backup(), None, "once is enough");
    assert_all_is_there(&store);
    drop(store);

    // The way back, for the older program.
    let restored = dir.path().join("restored");
    let other = MasterKey::from_octets([8; 32]);
    assert!(matches!(
        restore(&backup, &restored, &other, Restored::Here),
        Err(BackupError::WrongKey { .. })
    ));
    restore(&backup, &restored, &key(), Restored::Here).unwrap();
    assert!(is_in(&restored, PASSWORD));
    assert!(matches!(
        restore(&backup, &restored, &key(), Restored::Here),
        Err(BackupError::Present)
    ));
    assert_all_is_there(&open(&restored).unwrap());

    let whole = std::fs::read(&backup).unwrap();
    let never = dir.path().join("never");
    for length in [0, 10, 60, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&backup, &whole[..length]).unwrap();
        let refused = restore(&backup, &never, &key(), Restored::Here);
        assert!(matches!(refused, Err(BackupError::Damaged)), "{length}");
    }
    assert!(!never.exists());
}

#[test]
fn sealing_that_was_cut_off_goes_on_at_the_next_start() {
    let grown = |path: &Path| path.with_extension("sealing");
    let old = |path: &Path| path.with_extension("unsealed");
    // While the new store grew; between the two renames; before the old one was removed.
    for crash in 0..3 {
        let dir = folder();
        let path = dir.path().join("store");
        unsealed_store(&path);
        match crash {
            0 => {
                std::fs::create_dir(grown(&path)).unwrap();
                std::fs::write(grown(&path).join("db"), "half").unwrap();
            }
            1 => {
                std::fs::rename(&path, old(&path)).unwrap();
                std::fs::create_dir(grown(&path)).unwrap();
            }
            _ => {
                drop(open(&path).unwrap());
                unsealed_store(&old(&path));
            }
        }
        assert_all_is_there(&open(&path).unwrap());
        assert!(!grown(&path).exists() && !old(&path).exists(), "{crash}");
        assert!(!is_in(dir.path(), PASSWORD), "{crash}");
    }
}

#[test]
fn without_a_key_nothing_is_begun_and_nothing_sealed() {
    struct None;
    impl KeySource for None {
        fn key(&self, wanted: &[KeyId]) -> Result<MasterKey, KeyError> {
            Err(format!("no key, {} wanted", wanted.len()).into())
        }
    }
    let dir = folder();
    let path = dir.path().join("store");
    let refused = |wanted: usize| match SledStore::open(&path, &None) {
        Err(OpenError::Key(error)) => {
            assert_eq!(error.to_string(), format!("no key, {wanted} wanted"));
        }
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("opened without a key"),
    };
    refused(0);
    std::fs::remove_dir_all(&path).unwrap();
    unsealed_store(&path);
    refused(0);
    assert!(is_in(&path, PASSWORD), "nothing was changed");
    drop(open(&path).unwrap());
    refused(1);
}

#[test]
fn a_backup_of_a_store_that_is_written_to_has_all_that_was_acknowledged() {
    let dir = folder();
    let (path, backups) = (dir.path().join("store"), dir.path().join("backups"));
    std::fs::create_dir(&backups).unwrap();
    let file = backups.join("one.backup");
    let store = open(&path).unwrap();
    let main: SessionName = "main".parse().unwrap();
    store
        .commit(
            None,
            &[
                Change::PutTrunk(Box::new(trunk("office"))),
                Change::PutSession(SessionSpec::new(main.clone())),
                Change::PutSession(SessionSpec::new("fresh".parse().unwrap())),
            ],
        )
        .unwrap();
    let space = Space::Telegram(&main);
    store.put_durable(space, b"dc/2", AUTH_KEY).unwrap();
    for n in 0..2000 {
        store.close_calls(&[&record(n)]).unwrap();
    }
    for n in 5000..5100 {
        store.open_call(&open_call(n)).unwrap();
    }
    std::thread::scope(|scope| {
        let ends = scope.spawn(|| {
            for n in 5000..5100 {
                store.close_calls(&[&record(n)]).unwrap();
            }
        });
        store.back_up(&file, &key()).unwrap();
        ends.join().unwrap();
    });
    assert!(matches!(
        store.back_up(&file, &key()),
        Err(BackupError::Taken)
    ));
    let other = MasterKey::from_octets([8; 32]);
    assert!(matches!(
        store.back_up(&dir.path().join("two"), &other),
        Err(BackupError::WrongKey { .. })
    ));
    assert!(!is_in(&backups, AUTH_KEY) && !is_in(&backups, b"a-long-password"));
    assert_eq!(
        std::fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let contents = verify(&file, &key()).unwrap();
    assert_eq!((contents.sessions, contents.trunks), (2, 1));
    assert!(contents.calls >= 2000, "{contents:?}");
    assert!(matches!(
        verify(&file, &other),
        Err(BackupError::WrongKey { .. })
    ));

    let elsewhere = dir.path().join("elsewhere");
    let off = restore(&file, &elsewhere, &key(), Restored::Elsewhere).unwrap();
    assert_eq!(off, ["main"], "the other has no login that could be void");
    let second = open(&elsewhere).unwrap();
    assert_eq!(second.trunks().unwrap(), store.trunks().unwrap());
    assert_eq!(second.get(space, b"dc/2").unwrap().unwrap(), AUTH_KEY);
    assert_eq!(second.generation().unwrap(), 1);
    for n in (0..2000).chain(5000..5100) {
        assert!(second.call(record(n).id).unwrap().is_some(), "{n}");
    }
    let enabled = |store: &SledStore| -> Vec<bool> {
        let sessions = store.sessions().unwrap();
        sessions.into_iter().map(|spec| spec.enabled).collect()
    };
    assert_eq!(enabled(&second), [true, false], "fresh, main");
    assert!(second.is_restored(&main).unwrap() && !store.is_restored(&main).unwrap());
    // Nothing switches it on but who says that he means it.
    let on = Change::PutSession(SessionSpec::new(main.clone()));
    let refused = second.commit(None, std::slice::from_ref(&on));
    assert!(
        matches!(refused, Err(StoreError::NotAdopted { .. })),
        "{refused:?}"
    );
    let adopt = Change::AdoptSession(main.clone());
    second.commit(None, &[adopt, on.clone()]).unwrap();
    second.commit(None, &[on]).unwrap();
    assert_eq!(enabled(&second), [true, true]);

    // The same place: nobody else can run it.
    let here = dir.path().join("here");
    let off = restore(&file, &here, &key(), Restored::Here).unwrap();
    assert!(off.is_empty());
    assert_eq!(enabled(&open(&here).unwrap()), [true, true]);
}

#[test]
fn webhooks_are_records_whose_secrets_lie_sealed_and_their_queue_is_in_no_backup() {
    let dir = folder();
    let store = open(dir.path()).unwrap();
    let secret = "whsec-9a8b7c6d5e4f3a2b1c0d".to_owned();
    let url = "https://crm.example.com/x".parse().unwrap();
    let hook = model::WebhookSpec::new("crm".parse().unwrap(), url, Secret::new(secret.clone()));
    let gone = Change::RemoveWebhook(hook.name.clone());
    assert!(store.commit(None, std::slice::from_ref(&gone)).is_err());
    let put = Change::PutWebhook(Box::new(hook.clone()));
    store.commit(None, &[put]).unwrap();
    store.put_soft(Space::Deliveries, b"1", b"queued").unwrap();
    let file = dir.path().join("backup");
    store.back_up(&file, &key()).unwrap();
    drop(store);
    assert!(!is_in(dir.path(), secret.as_bytes()), "it can be read");
    assert!(is_in(dir.path(), b"queued"), "nothing is looked at");
    let store = open(dir.path()).unwrap();
    let hooks = [hook];
    assert_eq!(store.webhooks().unwrap(), hooks);
    let queue = store.scan(Space::Deliveries, b"").unwrap();
    assert_eq!(queue, [(b"1".to_vec(), b"queued".to_vec())]);
    let other = folder();
    let place = other.path().join("restored");
    crate::restore(&file, &place, &key(), crate::Restored::Elsewhere).unwrap();
    let restored = open(&place).unwrap();
    assert_eq!(restored.webhooks().unwrap(), hooks);
    assert!(restored.scan(Space::Deliveries, b"").unwrap().is_empty());
    store.commit(None, &[gone]).unwrap();
    assert!(store.webhooks().unwrap().is_empty());
}
