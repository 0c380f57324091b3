//! The list of the calls that have ended, in the order in which they did, for whoever writes their records elsewhere.
//!
//! The key of a record tells when its call began, so that a reader who remembers how far he came would miss each call that began before
//! and ended after. Here each end has a number, one greater than that before. There are entries only while there is a reader, and only as
//! long as one of them has not passed them; an entry is an id, the record stays where it is.
//!
//! An entry is written before the record: a crash in between leaves an entry without one, which is taken away when the store is opened.
//! Readers are shown an entry when it has been flushed: what they have seen cannot be gone after a crash.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use model::CallId;
use sled::{IVec, Tree};

use super::layout::of_call;
use crate::{Ended, Ends, StoreError};

/// The list and its readers.
pub(super) struct EndList {
    /// Number, big-endian; the octets of the id.
    list: Tree,
    /// Name; the number that he has passed.
    readers: Tree,
    /// The number of the next end. Whoever adds holds it until what he added is flushed.
    next: Mutex<u64>,
    /// The last number that readers may see.
    shown: AtomicU64,
    has_readers: AtomicBool,
}

/// Adds ends to the list.
pub(super) struct Noting<'a> {
    all: &'a EndList,
    next: MutexGuard<'a, u64>,
}

fn number(octets: &[u8]) -> u64 {
    octets.try_into().map_or(0, u64::from_be_bytes)
}

fn call_of(octets: &[u8]) -> Option<CallId> {
    octets.try_into().ok().map(CallId::from_bytes)
}

impl EndList {
    /// Opens it; takes away what a crash has left without a record. A last entry whose record was removed looks the same, and goes too: no
    /// reader hears of it.
    pub(super) fn open(list: Tree, readers: Tree, calls: &Tree) -> Result<Self, sled::Error> {
        while let Some((key, id)) = list.last()? {
            if calls.contains_key(&id)? {
                break;
            }
            list.remove(key)?;
        }
        let mut last = list.last()?.map_or(0, |(key, _)| number(&key));
        for entry in &readers {
            last = last.max(number(&entry?.1));
        }
        Ok(Self {
            has_readers: AtomicBool::new(!readers.is_empty()),
            list,
            readers,
            next: Mutex::new(last + 1),
            shown: AtomicU64::new(last),
        })
    }

    fn next(&self) -> MutexGuard<'_, u64> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to add, where there is a reader.
    pub(super) fn note(&self) -> Option<Noting<'_>> {
        let has_readers = self.has_readers.load(Ordering::Relaxed);
        has_readers.then(|| Noting {
            all: self,
            next: self.next(),
        })
    }

    /// From now on these are the readers.
    pub(super) fn set_readers(&self, wanted: &[&str]) -> Result<(), sled::Error> {
        let next = self.next();
        for entry in &self.readers {
            let (name, _) = entry?;
            if !wanted.iter().any(|wanted| name == wanted.as_bytes()) {
                self.readers.remove(name)?;
            }
        }
        for name in wanted {
            if !self.readers.contains_key(name)? {
                self.readers.insert(name, &(*next - 1).to_be_bytes())?;
            }
        }
        self.has_readers
            .store(!wanted.is_empty(), Ordering::Relaxed);
        self.forget()
    }

    /// How far a reader has come.
    pub(super) fn passed(&self, reader: &str) -> Result<u64, sled::Error> {
        let found = self.readers.get(reader)?;
        Ok(found.map_or_else(|| self.shown.load(Ordering::Acquire), |at| number(&at)))
    }

    /// A reader has come so far.
    pub(super) fn pass(&self, reader: &str, at: u64) -> Result<(), sled::Error> {
        if self.readers.contains_key(reader)? {
            self.readers.insert(reader, &at.to_be_bytes())?;
            self.forget()?;
        }
        Ok(())
    }

    /// Removes what all have passed.
    fn forget(&self) -> Result<(), sled::Error> {
        let mut least = u64::MAX;
        for entry in &self.readers {
            least = least.min(number(&entry?.1));
        }
        let passed = self.list.range(..=least.to_be_bytes()).keys();
        let passed: Vec<IVec> = passed.collect::<Result<_, _>>()?;
        for key in passed {
            self.list.remove(key)?;
        }
        Ok(())
    }

    /// The ends behind this number, oldest first, at most so many.
    pub(super) fn after(&self, after: u64, count: usize, calls: &Tree) -> Result<Ends, StoreError> {
        let shown = self.shown.load(Ordering::Acquire);
        let mut ends = Ends::default();
        if after < shown {
            let range = (after + 1).to_be_bytes()..=shown.to_be_bytes();
            for entry in self.list.range(range).take(count) {
                let (key, id) = entry?;
                let record = match call_of(&id) {
                    Some(_) => calls.get(&id)?,
                    None => None,
                };
                // One that cannot be read must not hold up those behind it.
                let (record, fault) = match record.map(|value| of_call(&id, &value)) {
                    Some(Ok(record)) => (Some(record), None),
                    Some(Err(unreadable)) => (None, Some(unreadable)),
                    None => (None, None),
                };
                ends.ended.push(Ended {
                    number: number(&key),
                    record,
                    fault,
                });
            }
        }
        let last = ends.ended.last().map_or(shown, |last| last.number);
        ends.more = shown.saturating_sub(last);
        Ok(ends)
    }
}

impl Noting<'_> {
    /// Adds the end of a call.
    pub(super) fn add(&mut self, id: &[u8]) -> Result<(), sled::Error> {
        self.all.list.insert(self.next.to_be_bytes(), id)?;
        *self.next += 1;
        Ok(())
    }

    /// All that was added is flushed.
    pub(super) fn show(self) {
        self.all.shown.store(*self.next - 1, Ordering::Release);
    }
}
