//! A sorted map that is copied in next to no time, and that can say what differs from the copy.
//!
//! Ten thousand trunks must not be copied because one of them changes, while calls go on being decided by the old ones. So the entries lie on
//! pages that the copies share; whoever writes copies the page he writes on. Two levels are enough for the numbers there are: a copy is
//! one pointer a page. The crates that have such maps (imbl, rpds) are under a licence that this house does not take.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

/// How many entries a page has at most; one that would have more becomes two.
const PAGE: usize = 64;

type Page<K, V> = Arc<Vec<(K, V)>>;

/// A sorted map whose copies share what they have in common.
pub(crate) struct Sheet<K, V> {
    /// None is empty, and every key of a page is smaller than those of the next.
    pages: Vec<Page<K, V>>,
}

/// What became of a key: its value before and after, never both absent, never the same.
pub(crate) type Difference<'a, K, V> = (&'a K, Option<&'a V>, Option<&'a V>);

impl<K, V> Default for Sheet<K, V> {
    fn default() -> Self {
        Self { pages: Vec::new() }
    }
}

impl<K, V> Clone for Sheet<K, V> {
    fn clone(&self) -> Self {
        let pages = self.pages.iter().map(Arc::clone).collect();
        Self { pages }
    }
}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for Sheet<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries = self.pages.iter().flat_map(|page| page.iter());
        f.debug_map().entries(entries.map(|(k, v)| (k, v))).finish()
    }
}

impl<K: Ord + Clone, V: Clone> Sheet<K, V> {
    /// The page on which a key is, or would be.
    fn page_of<Q: Ord + ?Sized>(&self, key: &Q) -> usize
    where
        K: std::borrow::Borrow<Q>,
    {
        let begins_later = |page: &Page<K, V>| {
            let first = page.first();
            first.is_some_and(|(first, _)| first.borrow() <= key)
        };
        self.pages.partition_point(begins_later).saturating_sub(1)
    }

    /// Returns the value of a key.
    pub(crate) fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: std::borrow::Borrow<Q>,
    {
        let page = self.pages.get(self.page_of(key))?;
        let at = page.binary_search_by(|(other, _)| other.borrow().cmp(key));
        page.get(at.ok()?).map(|(_, value)| value)
    }

    /// Whether there is a value for a key.
    pub(crate) fn has<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: std::borrow::Borrow<Q>,
    {
        self.get(key).is_some()
    }

    /// Whether there is nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.pages.is_empty()
    }

    /// Puts a value in the place of the one that the key has, if it has one.
    pub(crate) fn put(&mut self, key: K, value: V) {
        let at_page = self.page_of(&key);
        let Some(page) = self.pages.get_mut(at_page) else {
            self.pages.push(Arc::new(vec![(key, value)]));
            return;
        };
        let page = Arc::make_mut(page);
        match page.binary_search_by(|(other, _)| other.cmp(&key)) {
            Ok(at) => {
                if let Some(entry) = page.get_mut(at) {
                    entry.1 = value;
                }
            }
            Err(at) => page.insert(at, (key, value)),
        }
        if page.len() > PAGE {
            // Records come in order when they are read: pages that are left behind full stay full.
            let is_last = at_page + 1 == self.pages.len();
            let keep = if is_last { PAGE } else { PAGE / 2 };
            if let Some(page) = self.pages.get_mut(at_page) {
                let rest = Arc::make_mut(page).split_off(keep);
                self.pages.insert(at_page + 1, Arc::new(rest));
            }
        }
    }

    /// Takes a value away.
    pub(crate) fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: std::borrow::Borrow<Q>,
    {
        let at_page = self.page_of(key);
        let page = self.pages.get_mut(at_page)?;
        let at = page
            .binary_search_by(|(other, _)| other.borrow().cmp(key))
            .ok()?;
        let page = Arc::make_mut(page);
        let (_, value) = page.remove(at);
        if page.is_empty() {
            self.pages.remove(at_page);
        }
        Some(value)
    }

    /// Returns all values in the order of their keys.
    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.entries().map(|(_, value)| value)
    }

    fn entries(&self) -> impl Iterator<Item = (&K, &V)> {
        let entries = self.pages.iter().flat_map(|page| page.iter());
        entries.map(|(key, value)| (key, value))
    }

    /// The entries on pages that another one does not share, in order.
    fn own<'a>(&'a self, shared: &HashSet<*const Vec<(K, V)>>) -> Vec<(&'a K, &'a V)> {
        let own = self
            .pages
            .iter()
            .filter(|page| !shared.contains(&Arc::as_ptr(page)));
        let own = own.flat_map(|page| page.iter());
        own.map(|(key, value)| (key, value)).collect()
    }

    fn addresses(&self) -> HashSet<*const Vec<(K, V)>> {
        self.pages.iter().map(Arc::as_ptr).collect()
    }

    /// Returns what became of this one in another, in order; looks only at pages that the two do not share.
    pub(crate) fn differences<'a>(&'a self, after: &'a Self) -> Vec<Difference<'a, K, V>>
    where
        V: PartialEq,
    {
        let (before_own, after_own) = (self.own(&after.addresses()), after.own(&self.addresses()));
        let mut found = Vec::new();
        let (mut old, mut new) = (
            before_own.into_iter().peekable(),
            after_own.into_iter().peekable(),
        );
        loop {
            let order = match (old.peek(), new.peek()) {
                (None, None) => return found,
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some((one, _)), Some((other, _))) => one.cmp(other),
            };
            let before = if order.is_le() { old.next() } else { None };
            let now = if order.is_ge() { new.next() } else { None };
            let Some((key, _)) = before.or(now) else {
                return found;
            };
            let (before, now) = (before.map(|(_, value)| value), now.map(|(_, value)| value));
            if before != now {
                found.push((key, before, now));
            }
        }
    }
}

impl<K: Ord + Clone, T: Clone> Sheet<K, Vec<T>> {
    /// Changes the list of a key; one that is empty then is taken away.
    pub(crate) fn alter(&mut self, key: K, change: impl FnOnce(&mut Vec<T>)) {
        let mut list = self.get(&key).cloned().unwrap_or_default();
        change(&mut list);
        if list.is_empty() {
            self.remove(&key);
        } else {
            self.put(key, list);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Random enough, and the same in each run.
    fn dice(seed: &mut u64) -> u64 {
        *seed ^= *seed << 13;
        *seed ^= *seed >> 7;
        *seed ^= *seed << 17;
        *seed
    }

    #[test]
    fn it_does_what_a_sorted_map_does_and_copies_keep_what_they_had() {
        let mut seed = 7;
        let (mut sheet, mut model) = (Sheet::default(), BTreeMap::new());
        for round in 0..200 {
            let (kept, kept_model) = (sheet.clone(), model.clone());
            for _ in 0..dice(&mut seed) % 40 {
                let key = dice(&mut seed) % 700;
                if dice(&mut seed).is_multiple_of(3) {
                    assert_eq!(sheet.remove(&key), model.remove(&key));
                } else {
                    sheet.put(key, round);
                    model.insert(key, round);
                }
            }
            assert!(sheet.entries().eq(model.iter()), "round {round}");
            assert!(kept.entries().eq(kept_model.iter()), "round {round}");
            for key in 0..700 {
                assert_eq!(sheet.get(&key), model.get(&key));
            }
            let mut wanted = Vec::new();
            for key in 0..700 {
                let (before, after) = (kept_model.get(&key), model.get(&key));
                if before != after {
                    wanted.push((key, before.copied(), after.copied()));
                }
            }
            let found = kept.differences(&sheet).into_iter();
            let found = found.map(|(key, one, other)| (*key, one.copied(), other.copied()));
            assert_eq!(found.collect::<Vec<_>>(), wanted, "round {round}");
            assert!(
                sheet
                    .pages
                    .iter()
                    .all(|page| (1..=PAGE).contains(&page.len()))
            );
        }
        assert!(sheet.pages.len() > 5, "several pages were at work");
    }

    #[test]
    fn one_change_among_ten_thousand_touches_one_page() {
        let mut sheet = Sheet::default();
        for key in 0..10_000 {
            sheet.put(key, 0);
        }
        let before = sheet.clone();
        sheet.put(5_000, 1);
        let shared = before.addresses();
        assert!(sheet.own(&shared).len() <= PAGE);
        assert_eq!(before.differences(&sheet), [(&5_000, Some(&0), Some(&1))]);
        assert_eq!(before.get(&5_000), Some(&0));
    }
}
