//! How many call records there are.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;

use sled::Tree;

use super::SledStore;
use super::layout::COUNTED_AT_ONCE;

impl SledStore {
    /// Counts the call records that there were at the start, in a thread of its own when they are many; new ones are counted as they are
    /// written, for their ids are greater.
    pub(super) fn count_calls(&self) {
        let Some(last) = self.last_call.clone() else {
            return;
        };
        let count = |tree: &Tree, from: std::ops::Bound<&[u8]>, most: usize| {
            let range = (from, std::ops::Bound::Included(last.as_ref()));
            let keys = tree.range::<&[u8], _>(range).keys().flatten().take(most);
            keys.fold((0, None), |(count, _), key| (count + 1, Some(key)))
        };
        let (counted, up_to) = count(&self.calls, std::ops::Bound::Unbounded, COUNTED_AT_ONCE);
        self.call_count.fetch_add(counted, Ordering::Relaxed);
        let Some(up_to) = up_to.filter(|up_to| *up_to < last) else {
            return;
        };
        let (tree, total) = (self.calls.clone(), Arc::clone(&self.call_count));
        let work = move || {
            let from = std::ops::Bound::Excluded(up_to.as_ref());
            let range = (from, std::ops::Bound::Included(last.as_ref()));
            for _ in tree.range::<&[u8], _>(range).keys().flatten() {
                total.fetch_add(1, Ordering::Relaxed);
            }
        };
        // Without a thread the number is too low, and nothing else is wrong.
        let _ = thread::Builder::new().name("count".to_owned()).spawn(work);
    }
}
