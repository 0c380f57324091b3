//! The list of ends, as those see it who write records elsewhere.

use std::path::Path;

use super::*;

/// The ids behind a number, how far that is, and how many more there are.
fn read(store: &SledStore, after: u64, count: usize) -> (Vec<CallId>, u64, u64) {
    let ends = store.ends_after(after, count).unwrap();
    let at = ends.ended.last().map_or(after, |last| last.number);
    let ids = ends.ended.iter().map(|end| end.record.as_ref().unwrap().id);
    (ids.collect(), at, ends.more)
}

fn close(store: &SledStore, numbers: &[u128]) {
    let records: Vec<CallRecord> = numbers.iter().map(|n| record(*n)).collect();
    close_all(store, &records);
}

fn close_all(store: &SledStore, records: &[CallRecord]) {
    let records: Vec<&CallRecord> = records.iter().collect();
    store.close_calls(&records).unwrap();
}

/// Lets these read from now on, and says behind which number they begin.
fn begin(store: &SledStore, readers: &[&str]) -> u64 {
    store.note_ends_for(readers).unwrap();
    store.ends_passed(readers[0]).unwrap()
}

/// A store in which the calls 1, 2 and 3 have ended since `csv` reads, and behind which number it began.
fn three_ended(folder: &Path) -> (SledStore, u64) {
    let store = open(folder).unwrap();
    let begun = begin(&store, &["csv"]);
    close(&store, &[1, 2, 3]);
    (store, begun)
}

fn ids(numbers: &[u128]) -> Vec<CallId> {
    numbers.iter().map(|n| record(*n).id).collect()
}

#[test]
fn ends_are_read_in_their_order_by_each_reader_for_himself() {
    let dir = folder();
    let store = open(dir.path()).unwrap();
    close(&store, &[5]);
    assert_eq!(read(&store, 0, 10), (vec![], 0, 0), "nobody reads");
    let begun = begin(&store, &["csv", "json"]);
    // The one that began first ends last; one that is written twice has ended once.
    close(&store, &[9, 7]);
    close(&store, &[9, 2]);
    assert_eq!(
        read(&store, begun, 2),
        (ids(&[9, 7]), begun + 2, 1),
        "a part"
    );
    assert_eq!(read(&store, begun + 2, 9), (ids(&[2]), begun + 3, 0));
    store.pass_ends("csv", begun + 3).unwrap();
    assert_eq!(
        read(&store, begun, 9).0,
        ids(&[9, 7, 2]),
        "the other has not"
    );
    store.pass_ends("json", begun + 1).unwrap();
    assert_eq!(read(&store, 0, 9).0, ids(&[7, 2]));
    // Who comes later reads from then on; who has gone is waited for no more.
    store.note_ends_for(&["csv", "third"]).unwrap();
    assert_eq!(store.ends_passed("third").unwrap(), begun + 3);
    assert_eq!(read(&store, 0, 9).0, vec![]);
    close(&store, &[11]);
    store.pass_ends("json", 0).unwrap();
    assert_eq!(read(&store, begun + 3, 9).0, ids(&[11]));
    store.note_ends_for(&[]).unwrap();
    close(&store, &[12]);
    assert_eq!(read(&store, 0, 9).0, vec![]);
}

#[test]
fn what_nobody_has_passed_is_there_after_a_restart_and_numbers_go_on() {
    let dir = folder();
    let begun = {
        let (store, begun) = three_ended(dir.path());
        store.pass_ends("csv", begun + 2).unwrap();
        store.flush().unwrap();
        begun
    };
    let store = open(dir.path()).unwrap();
    assert_eq!(store.ends_passed("csv").unwrap(), begun + 2);
    close(&store, &[4]);
    assert_eq!(read(&store, begun + 2, 9), (ids(&[3, 4]), begun + 4, 0));
    store.pass_ends("csv", begun + 4).unwrap();
    drop(store);
    // All have passed: there is no entry left to count from.
    let store = open(dir.path()).unwrap();
    close(&store, &[5]);
    assert_eq!(read(&store, begun + 4, 9), (ids(&[5]), begun + 5, 0));
}

#[test]
fn an_end_without_its_record_is_taken_away_or_told_as_removed() {
    let dir = folder();
    {
        let store = open(dir.path()).unwrap();
        store.note_ends_for(&["csv"]).unwrap();
        close(&store, &[1, 2]);
        // As a crash between the two writes leaves it.
        let list = store.db().open_tree("ended").unwrap();
        list.insert(3u64.to_be_bytes(), &record(3).id.to_bytes())
            .unwrap();
    }
    let store = open(dir.path()).unwrap();
    assert_eq!(read(&store, 0, 9), (ids(&[1, 2]), 2, 0));
    close(&store, &[3]);
    assert_eq!(read(&store, 2, 9), (ids(&[3]), 3, 0));
    // Its time was over before anybody had read it.
    let before = record(2).started_ms.max(record(2).id.unix_ms());
    assert!(store.remove_calls(before + 1, 2).unwrap() > 0);
    let ends = store.ends_after(0, 9).unwrap();
    assert_eq!(ends.ended.len(), 3);
    assert!(ends.ended[0].record.is_none());
}

#[test]
fn the_oldest_records_are_removed_up_to_a_time_so_many_at_once() {
    let dir = folder();
    let store = open(dir.path()).unwrap();
    let old = |ms: u64| CallRecord {
        id: CallId::new(ms, 7),
        started_ms: ms,
        ..record(1)
    };
    let records: Vec<CallRecord> = (1000..1100).map(old).collect();
    close_all(&store, &records);
    let mut steps = Vec::new();
    loop {
        let removed = store.remove_calls(1050, 20).unwrap();
        steps.push(removed);
        if removed == 0 {
            break;
        }
    }
    assert_eq!(steps, [20, 20, 10, 0]);
    assert_eq!(store.stats().unwrap().calls, 50);
    let left = store.recent_calls(1000).unwrap();
    assert!(left.iter().all(|record| record.started_ms >= 1050));
    assert_eq!(left.len(), 50);
    drop(store);
    assert_eq!(open(dir.path()).unwrap().stats().unwrap().calls, 50);
}

#[test]
fn one_that_cannot_be_read_does_not_hold_up_those_behind_it() {
    let dir = folder();
    let (store, begun) = three_ended(dir.path());
    drop(store);
    {
        let db = bare(dir.path());
        let calls = db.open_tree("cdr").unwrap();
        calls.insert(record(2).id.to_bytes(), &[1u8, b'{']).unwrap();
        db.flush().unwrap();
    }
    let store = open(dir.path()).unwrap();
    let ends = store.ends_after(begun, 10).unwrap();
    let found: Vec<(Option<CallId>, bool)> = ends
        .ended
        .iter()
        .map(|end| (end.record.as_ref().map(|it| it.id), end.fault.is_some()))
        .collect();
    let id = |n| Some(record(n).id);
    assert_eq!(found, [(id(1), false), (None, true), (id(3), false)]);
}

/// A store with the records 1 to 6, of which 2 is damaged, 4 of a newer program and 5 that of another call; and two open ones, of which one
/// is damaged.
fn damaged(folder: &Path) -> SledStore {
    {
        let store = open(folder).unwrap();
        close(&store, &[1, 2, 3, 4, 5, 6]);
        store.open_call(&open_call(7)).unwrap();
        store.open_call(&open_call(8)).unwrap();
    }
    {
        let db = bare(folder);
        let calls = db.open_tree("cdr").unwrap();
        let put = |n, value: &[u8]| calls.insert(record(n).id.to_bytes(), value).unwrap();
        put(2, &[1u8, b'{']);
        put(4, &[9u8, b'{', b'}']);
        let other = serde_json::to_vec(&record(1000)).unwrap();
        put(5, &[&[1u8][..], &other].concat());
        let opened = db.open_tree("open").unwrap();
        opened.insert(record(7).id.to_bytes(), &[]).unwrap();
        db.flush().unwrap();
    }
    open(folder).unwrap()
}

#[test]
fn one_that_cannot_be_read_costs_itself_alone() {
    let dir = folder();
    let store = damaged(dir.path());
    let all = store.calls_before(None, 10).unwrap();
    assert_eq!(all.records, [record(6), record(3), record(1)]);
    let unreadable: Vec<CallId> = all.unreadable.iter().map(|it| it.id).collect();
    assert_eq!(unreadable, [5, 4, 2].map(|n| record(n).id));
    for Unreadable { id, fault } in &all.unreadable {
        assert!(
            fault.contains(&format!("record `{id}` of tree `cdr`")),
            "{fault}"
        );
    }
    assert_eq!(store.recent_calls(2).unwrap(), [record(6)]);
    // Page by page nothing is met twice, and none ends the pages.
    let (mut before, mut pages) = (None, Vec::new());
    loop {
        let page = store.calls_before(before, 1).unwrap();
        assert_eq!(page.count(), usize::from(page.last.is_some()));
        before = page.last;
        let Some(last) = page.last else { break };
        pages.push(last);
    }
    assert_eq!(pages, [6, 5, 4, 3, 2, 1].map(|n| record(n).id));
    let error = store.call(record(4).id).unwrap_err().to_string();
    assert!(error.contains(&record(4).id.to_string()), "{error}");
    let open = store.unfinished_calls().unwrap();
    assert_eq!(open.records, [open_call(8)]);
    assert_eq!(open.unreadable.len(), 1);
    assert_eq!(open.unreadable[0].id, record(7).id);
    // It is removed when its time is over, as the others.
    assert_eq!(
        store.remove_calls(record(6).id.unix_ms() + 1, 9).unwrap(),
        6
    );
    assert_eq!(store.calls_before(None, 10).unwrap(), Calls::default());
}

#[test]
fn what_is_said_of_one_that_cannot_be_read_has_no_number_of_it() {
    let dir = folder();
    drop(open(dir.path()).unwrap());
    let number = "15550001234";
    let id = record(1).id;
    {
        let db = bare(dir.path());
        let put = |tree: &str, key: CallId, change: &dyn Fn(&mut serde_json::Value)| {
            let mut value = serde_json::to_value(record(1)).unwrap();
            change(&mut value);
            let value = [&[1u8][..], value.to_string().as_bytes()].concat();
            db.open_tree(tree)
                .unwrap()
                .insert(key.to_bytes(), value)
                .unwrap();
        };
        put("cdr", id, &|it| it["started_ms"] = number.into());
        let second = record(2).id;
        put("cdr", second, &|it| it["direction"] = number.into());
        let third = record(3).id;
        put("open", third, &|it| it["ended_by"] = number.into());
        db.flush().unwrap();
    }
    let store = open(dir.path()).unwrap();
    let closed = store.calls_before(None, 9).unwrap().unreadable;
    let open = store.unfinished_calls().unwrap().unreadable;
    assert_eq!((closed.len(), open.len()), (2, 1));
    let mut said: Vec<String> = closed.into_iter().chain(open).map(|it| it.fault).collect();
    said.push(store.call(id).unwrap_err().to_string());
    for said in said {
        assert!(!said.contains(number), "{said}");
        assert!(said.contains("a member of it is missing"), "{said}");
    }
}
