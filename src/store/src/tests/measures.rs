//! What a store of some size costs: figures for a person, no proof rests on them.

use super::*;

#[test]
#[ignore = "measures, for a person"]
fn opening_with_100_000_call_records() {
    let dir = folder();
    {
        let store = open(dir.path()).unwrap();
        for n in 0..100_000 {
            store.close_calls(&[&record(n)]).unwrap();
        }
    }
    let begun = std::time::Instant::now();
    let store = open(dir.path()).unwrap();
    let calls = store.stats().unwrap().calls;
    println!("{calls} records, opened in {:?}", begun.elapsed());
}

#[test]
#[ignore = "measures, for a person"]
fn sealing_and_unsealing_many_records() {
    let dir = folder();
    let timed = |what: &str, count: u32, work: &mut dyn FnMut()| {
        let begun = std::time::Instant::now();
        work();
        let each = begun.elapsed() / count;
        println!("{what}: {:?}, {each:?} each", begun.elapsed());
    };
    let store = open(dir.path()).unwrap();
    let session: SessionName = "main".parse().unwrap();
    let space = Space::Telegram(&session);
    let trunks: Vec<Change> = (0..10_000)
        .map(|n| Change::PutTrunk(Box::new(trunk(&format!("trunk-{n}")))))
        .collect();
    timed("10,000 trunks written in one commit", 10_000, &mut || {
        store.commit(None, &trunks).unwrap();
    });
    timed("100,000 values of a session written", 100_000, &mut || {
        for n in 0u32..100_000 {
            store.put_soft(space, &n.to_be_bytes(), &[7; 64]).unwrap();
        }
    });
    drop(store);
    let mut store = None;
    timed("opened", 1, &mut || store = open(dir.path()).ok());
    let store = store.unwrap();
    timed("10,000 trunks read", 10_000, &mut || {
        assert_eq!(store.trunks().unwrap().len(), 10_000);
    });
    timed("100,000 values read", 100_000, &mut || {
        assert_eq!(store.scan(space, b"").unwrap().len(), 100_000);
    });
    let raw = store.seal_for_tests();
    let sealed = raw.seal("tree", b"key", vec![7; 256]).unwrap();
    timed("an auth key sealed, 100,000 times", 100_000, &mut || {
        for _ in 0..100_000 {
            raw.seal("tree", b"key", vec![7; 256]).unwrap();
        }
    });
    timed("and unsealed", 100_000, &mut || {
        for _ in 0..100_000 {
            raw.open("tree", b"key", &sealed).unwrap();
        }
    });
}

#[test]
#[ignore = "measures, for a person"]
fn sealing_a_store_with_100_000_call_records() {
    let dir = folder();
    let path = dir.path().join("store");
    unsealed_store(&path);
    {
        let db = sled::open(&path).unwrap();
        let cdr = db.open_tree("cdr").unwrap();
        let mut value = vec![1];
        value.extend(serde_json::to_vec(&record(1)).unwrap());
        for n in 2..100_000 {
            let key = record(n).id.to_bytes();
            cdr.insert(key, value.clone()).unwrap();
        }
    }
    let begun = std::time::Instant::now();
    let store = open(&path).unwrap();
    let size = std::fs::metadata(store.backup().unwrap()).unwrap().len();
    println!("sealed in {:?}, backup of {size} octets", begun.elapsed());
}
