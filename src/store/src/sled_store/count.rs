//! How many call records there are. sled counts by reading everything, and they are too many for that.
//!
//! Those that were there at the start are counted when somebody asks, one chunk after the other; those that come are counted as they are
//! written, those that go as they are removed. Whether a record that goes was counted already is decided by its key: so each step is
//! made under one lock.

use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use sled::{IVec, Tree};

use super::layout::{COUNTED_AT_ONCE, COUNTED_STEP};

/// How far those of the start are counted.
enum Progress {
    NotBegun,
    /// Up to and with this key.
    UpTo(IVec),
    Done,
}

/// The number of call records, and how it is known.
#[derive(Clone)]
pub(super) struct CallCount {
    tree: Tree,
    /// The last of those that were there at the start; what has a greater key came later.
    last: Option<IVec>,
    counted: Arc<Mutex<Counted>>,
}

struct Counted {
    total: u64,
    progress: Progress,
}

impl CallCount {
    /// Of this tree as it is now.
    pub(super) fn new(tree: Tree) -> Result<Self, sled::Error> {
        let last = tree.last()?.map(|(key, _)| key);
        let progress = match last {
            Some(_) => Progress::NotBegun,
            None => Progress::Done,
        };
        let counted = Counted { total: 0, progress };
        Ok(Self {
            tree,
            last,
            counted: Arc::new(Mutex::new(counted)),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Counted> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the record under this key is, or would be, part of the total.
    fn includes(&self, counted: &Counted, key: &[u8]) -> bool {
        let is_later = self.last.as_deref().is_none_or(|last| key > last);
        match &counted.progress {
            Progress::NotBegun => is_later,
            Progress::UpTo(up_to) => is_later || key <= &up_to[..],
            Progress::Done => true,
        }
    }

    /// Writes a record.
    pub(super) fn insert(&self, key: &[u8], value: Vec<u8>) -> Result<(), sled::Error> {
        let mut counted = self.lock();
        let is_new = self.tree.insert(key, value)?.is_none();
        if is_new && self.includes(&counted, key) {
            counted.total += 1;
        }
        Ok(())
    }

    /// Removes the first records that stand before this key, at most so many; returns how many that were.
    pub(super) fn remove_first(&self, before: &[u8], most: usize) -> Result<usize, sled::Error> {
        let range = (Bound::Unbounded, Bound::Excluded(before));
        let keys = self.tree.range::<&[u8], _>(range).keys().take(most);
        let keys: Vec<IVec> = keys.collect::<Result<_, _>>()?;
        let mut removed = 0;
        for key in &keys {
            let mut counted = self.lock();
            if self.tree.remove(key)?.is_some() {
                removed += 1;
                if self.includes(&counted, key) {
                    counted.total = counted.total.saturating_sub(1);
                }
            }
        }
        Ok(removed)
    }

    /// The number, as far as it is known; begins to count what there was at the start, in a thread of its own when that is much.
    pub(super) fn total(&self) -> u64 {
        let is_new = matches!(self.lock().progress, Progress::NotBegun);
        if is_new && !self.step(COUNTED_AT_ONCE) {
            let all = self.clone();
            let work = move || while !all.step(COUNTED_STEP) {};
            // Without a thread the number is too low, and nothing else is wrong.
            let _ = thread::Builder::new().name("count".to_owned()).spawn(work);
        }
        self.lock().total
    }

    /// Counts the next ones, at most so many; whether that was all.
    fn step(&self, most: usize) -> bool {
        let mut counted = self.lock();
        let from = match &counted.progress {
            Progress::NotBegun => Bound::Unbounded,
            Progress::UpTo(up_to) => Bound::Excluded(up_to.clone()),
            Progress::Done => return true,
        };
        let until = match &self.last {
            Some(last) => Bound::Included(last.clone()),
            None => Bound::Unbounded,
        };
        let keys = self.tree.range::<IVec, _>((from, until)).keys();
        let (count, reached) = first(keys, most);
        counted.total += count;
        match reached {
            Some(reached) if count == most as u64 => {
                counted.progress = Progress::UpTo(reached);
                false
            }
            Some(_) | None => {
                counted.progress = Progress::Done;
                true
            }
        }
    }
}

/// How many of the first keys there are, at most so many, and the last of them. What cannot be read ends it: sled would say the same for ever,
/// and whoever writes a record waits for the lock. Then the number is too low.
fn first(
    keys: impl Iterator<Item = Result<IVec, sled::Error>>,
    most: usize,
) -> (u64, Option<IVec>) {
    let keys = keys.map_while(Result::ok).take(most);
    keys.fold((0, None), |(count, _), key| (count + 1, Some(key)))
}

/// How many entries a small tree has. `Tree::len` counts what cannot be read, and for ever.
pub(super) fn entries(tree: &Tree) -> Result<u64, sled::Error> {
    let mut keys = tree.iter().keys();
    keys.try_fold(0, |count, key| key.map(|_| count + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_ends_the_count() {
        let broken = || Err(sled::Error::Unsupported("broken".to_owned()));
        let mut given = [Ok(IVec::from(&[1])), Ok(IVec::from(&[2]))].into_iter();
        let keys = std::iter::from_fn(|| Some(given.next().unwrap_or_else(broken)));
        assert_eq!(first(keys, 10), (2, Some(IVec::from(&[2]))));
        assert_eq!(first(std::iter::repeat_with(broken), 10), (0, None));
    }

    /// Keys of two octets, so that their order is that of the numbers.
    fn key(n: u16) -> [u8; 2] {
        n.to_be_bytes()
    }

    fn tree(folder: &std::path::Path, count: u16) -> Tree {
        let tree = sled::open(folder).unwrap().open_tree("calls").unwrap();
        for n in 0..count {
            tree.insert(key(n), b"x").unwrap();
        }
        tree
    }

    #[test]
    fn what_is_removed_before_while_and_after_counting_is_counted_once() {
        let folder = tempfile::tempdir().unwrap();
        let count = CallCount::new(tree(folder.path(), 1000)).unwrap();
        let is_right = |step: &str| {
            let true_number = count.tree.len() as u64;
            assert_eq!(count.lock().total, true_number, "{step}");
        };
        // Before: of the old ones none is in the total, of the new ones each.
        assert_eq!(count.remove_first(&key(100), 1000).unwrap(), 100);
        for n in 1000..1010 {
            count.insert(&key(n), vec![1]).unwrap();
        }
        assert_eq!(count.lock().total, 10);
        assert!(!count.step(300), "there are 600 more");
        assert_eq!(count.lock().total, 310, "up to and with 399");
        // While: those that are counted go out of the total, the others are never in it.
        assert_eq!(count.remove_first(&key(700), 500).unwrap(), 500);
        assert_eq!(count.lock().total, 10, "300 were counted, 200 were not");
        // One of an earlier process, on either side of what is counted.
        count.insert(&key(5), vec![1]).unwrap();
        count.insert(&key(550), vec![1]).unwrap();
        count.insert(&key(550), vec![2]).unwrap();
        assert_eq!(count.lock().total, 11);
        while !count.step(7) {}
        is_right("all are counted");
        // After, the last of the start among them.
        assert_eq!(count.remove_first(&key(1005), 10_000).unwrap(), 407);
        is_right("some are removed");
        count.insert(&key(3), vec![1]).unwrap();
        is_right("an old one comes");
        assert_eq!(count.total(), 6);
    }

    #[test]
    fn what_is_removed_while_a_thread_counts_is_counted_once() {
        let folder = tempfile::tempdir().unwrap();
        let count = CallCount::new(tree(folder.path(), 30_000)).unwrap();
        count.total();
        let mut removed = 0;
        loop {
            match count.remove_first(&key(25_000), 50).unwrap() {
                0 => break,
                some => removed += some,
            }
        }
        assert_eq!(removed, 25_000);
        while !matches!(count.lock().progress, Progress::Done) {
            thread::yield_now();
        }
        assert_eq!(count.total(), 5_000);
    }

    #[test]
    fn an_empty_store_has_none_to_count() {
        let folder = tempfile::tempdir().unwrap();
        let count = CallCount::new(tree(folder.path(), 0)).unwrap();
        assert_eq!(count.remove_first(&key(9), 10).unwrap(), 0);
        assert_eq!(count.total(), 0);
        count.insert(&key(1), vec![1]).unwrap();
        assert_eq!(count.total(), 1);
    }
}
