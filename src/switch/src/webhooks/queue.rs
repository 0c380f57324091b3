//! What is still to be posted, and what was: when, in which order, how often. Knows neither sockets nor the store; the time comes in.
//!
//! Each webhook has [`LANES`] lanes, and each lane one post at a time, so that no webhook waits for another. The events of one call go by the same lane, so
//! that they arrive in order as long as none of them fails; one that does is posted later, while those behind it go on.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use model::{DeliveryId, EventKind, WebhookName};
use serde::{Deserialize, Serialize};

/// How many posts a webhook may have at the same time.
pub(super) const LANES: u8 = 4;
/// How many deliveries wait at most; then the oldest is dropped.
pub(super) const MOST: usize = 10_000;
/// How many octets their bodies have at most together.
pub(super) const MOST_OCTETS: usize = 32 << 20;
/// How long after a failure it is tried again: after the first, the second and so on; then it is given up.
pub(super) const BACK_OFF: [Duration; 5] = [
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_secs(120),
    Duration::from_secs(600),
    Duration::from_secs(3600),
];
/// How many deliveries of a webhook are remembered when they are over.
const REMEMBERED: usize = 200;

/// A delivery as it lies in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) webhook: WebhookName,
    pub(super) kind: EventKind,
    pub(super) lane: u8,
    /// How often it was posted.
    pub(super) tries: u8,
    /// When it is posted again, milliseconds since 1970; 0 for at once.
    pub(super) due_ms: u64,
    /// What came of the last post.
    pub(super) last: Option<Attempt>,
    #[serde(with = "shared")]
    pub(super) body: Arc<str>,
}

/// A text of several owners as serde sees it.
mod shared {
    use std::sync::Arc;

    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(text: &Arc<str>, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(text)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Arc<str>, D::Error> {
        String::deserialize(from).map(Into::into)
    }
}

/// What came of a post.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Attempt {
    /// When it began, milliseconds since 1970.
    pub(super) at_ms: u64,
    /// How long it took, milliseconds.
    pub(super) took_ms: u64,
    /// The status of the answer.
    pub(super) status: Option<u16>,
    /// Why there was none, in words.
    pub(super) error: Option<String>,
}

impl Attempt {
    fn is_good(&self) -> bool {
        matches!(self.status, Some(200..=299))
    }
}

/// How far a delivery has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// It waits for its first post, or is being posted for the first time.
    Queued,
    /// It was posted without success, and will be again.
    Retry,
    /// The receiver has it.
    Ok,
    /// It is not posted any more.
    Dropped,
}

impl State {
    pub(super) fn label(self) -> &'static str {
        match self {
            State::Queued => "queued",
            State::Retry => "retry",
            State::Ok => "ok",
            State::Dropped => "dropped",
        }
    }
}

/// A delivery as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) id: DeliveryId,
    pub(super) kind: EventKind,
    pub(super) state: State,
    pub(super) tries: u8,
    pub(super) last: Option<Attempt>,
    /// When it is posted again, milliseconds since 1970; nothing when it is its turn, or over.
    pub(super) next_ms: Option<u64>,
}

/// A delivery that is to be posted now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Post {
    pub(super) id: DeliveryId,
    pub(super) webhook: WebhookName,
    pub(super) kind: EventKind,
    pub(super) body: Arc<str>,
}

/// What becomes of a delivery after a post.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    /// The receiver has it.
    Done,
    /// It is tried again; this is how it is kept.
    Again(Kept),
    /// It was tried often enough.
    GivenUp,
    /// It was dropped while it was being posted.
    Forgotten,
}

/// A delivery that was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Dropped {
    pub(super) id: DeliveryId,
    pub(super) kind: EventKind,
}

struct Item {
    kept: Kept,
    /// When it is posted again; nothing before its first post.
    due: Option<Instant>,
}

/// The deliveries of one lane.
#[derive(Default)]
struct Lane {
    /// Those that were never posted, in order.
    fresh: BTreeSet<DeliveryId>,
    /// Those that are tried again.
    later: BTreeSet<(Instant, DeliveryId)>,
    /// The one that is being posted.
    busy: Option<DeliveryId>,
}

impl Lane {
    /// The next one to be posted, and when.
    fn next(&self, now: Instant) -> Option<(Instant, DeliveryId)> {
        if self.busy.is_some() {
            return None;
        }
        let later = self.later.first().copied();
        let fresh = self.fresh.first().map(|id| (now, *id));
        // One that is due has waited longer than the fresh ones.
        later.filter(|(due, _)| *due <= now).or(fresh).or(later)
    }
}

/// All deliveries.
#[derive(Default)]
pub(super) struct Queue {
    items: BTreeMap<DeliveryId, Item>,
    lanes: BTreeMap<(WebhookName, u8), Lane>,
    octets: usize,
    last: Option<DeliveryId>,
    over: HashMap<WebhookName, VecDeque<Shown>>,
}

impl Queue {
    /// How many wait, or are being posted.
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    /// A delivery that waits, or is being posted, as it lies in the store.
    pub(super) fn kept(&self, id: DeliveryId) -> Option<Kept> {
        self.items.get(&id).map(|item| item.kept.clone())
    }

    /// How many of a webhook do.
    pub(super) fn len_of(&self, webhook: &WebhookName) -> usize {
        let items = self.items.values();
        items.filter(|item| item.kept.webhook == *webhook).count()
    }

    /// Whether anything is being posted.
    pub(super) fn is_posting(&self) -> bool {
        self.lanes.values().any(|lane| lane.busy.is_some())
    }

    /// The next id, of this moment.
    pub(super) fn new_id(&mut self, unix_ms: u64, random: u128) -> DeliveryId {
        let id = DeliveryId::after(self.last, unix_ms, random);
        self.last = Some(id);
        id
    }

    /// Takes a delivery; returns those for which there is no place any more, the oldest first.
    pub(super) fn add(&mut self, id: DeliveryId, kept: Kept, due: Option<Instant>) -> Vec<Dropped> {
        self.last = self.last.max(Some(id));
        let lane = self.lane(&kept);
        match due {
            Some(due) => lane.later.insert((due, id)),
            None => lane.fresh.insert(id),
        };
        self.octets += kept.body.len();
        self.items.insert(id, Item { kept, due });
        let mut dropped = Vec::new();
        while self.items.len() > MOST || self.octets > MOST_OCTETS {
            // What is being posted stays: there are few of them.
            let waiting = self
                .items
                .iter()
                .find(|(id, item)| !self.is_busy(**id, item));
            let Some(oldest) = waiting.map(|(id, _)| *id) else {
                break;
            };
            dropped.extend(self.drop_one(oldest));
        }
        dropped
    }

    fn is_busy(&self, id: DeliveryId, item: &Item) -> bool {
        let lane = self.lanes.get(&(item.kept.webhook.clone(), item.kept.lane));
        lane.is_some_and(|lane| lane.busy == Some(id))
    }

    fn lane(&mut self, kept: &Kept) -> &mut Lane {
        let key = (kept.webhook.clone(), kept.lane);
        self.lanes.entry(key).or_default()
    }

    /// The next delivery whose time has come; it counts as being posted then.
    pub(super) fn next(&mut self, now: Instant) -> Option<Post> {
        let due = self.lanes.values_mut().find_map(|lane| {
            let (due, id) = lane.next(now).filter(|(due, _)| *due <= now)?;
            lane.fresh.remove(&id);
            lane.later.remove(&(due, id));
            lane.busy = Some(id);
            Some(id)
        });
        let id = due?;
        let item = self.items.get_mut(&id)?;
        item.due = None;
        Some(Post {
            id,
            webhook: item.kept.webhook.clone(),
            kind: item.kept.kind,
            body: Arc::clone(&item.kept.body),
        })
    }

    /// When there is something to be posted next; nothing while nothing waits.
    pub(super) fn next_due(&self, now: Instant) -> Option<Instant> {
        let lanes = self.lanes.values();
        lanes
            .filter_map(|lane| lane.next(now))
            .map(|(due, _)| due)
            .min()
    }

    /// A post is over.
    pub(super) fn posted(
        &mut self,
        (now, unix_ms): (Instant, u64),
        post: &Post,
        attempt: Attempt,
    ) -> Fate {
        for lane in 0..LANES {
            let key = (post.webhook.clone(), lane);
            if let Some(lane) = self.lanes.get_mut(&key)
                && lane.busy == Some(post.id)
            {
                lane.busy = None;
            }
        }
        let Some(item) = self.items.get_mut(&post.id) else {
            self.tidy(&post.webhook);
            return Fate::Forgotten;
        };
        let is_good = attempt.is_good();
        let wait = BACK_OFF.get(usize::from(item.kept.tries)).copied();
        item.kept.tries = item.kept.tries.saturating_add(1);
        item.kept.last = Some(attempt);
        let (state, fate) = match (is_good, wait) {
            (true, _) => (State::Ok, Fate::Done),
            (false, None) => (State::Dropped, Fate::GivenUp),
            (false, Some(wait)) => {
                item.due = Some(now + wait);
                item.kept.due_ms = unix_ms + millis(wait);
                let kept = item.kept.clone();
                self.lane(&kept).later.insert((now + wait, post.id));
                return Fate::Again(kept);
            }
        };
        self.end(post.id, state);
        self.tidy(&post.webhook);
        fate
    }

    /// Drops all that waits for a webhook, and what is being posted to it as soon as that is over.
    pub(super) fn forget(&mut self, webhook: &WebhookName) -> Vec<Dropped> {
        let items = self.items.iter();
        let its = items.filter(|(_, item)| item.kept.webhook == *webhook);
        let its: Vec<DeliveryId> = its.map(|(id, _)| *id).collect();
        let dropped = its.into_iter().filter_map(|id| self.drop_one(id)).collect();
        self.tidy(webhook);
        dropped
    }

    /// Forgets also what there was, for a webhook that is no more.
    pub(super) fn forget_history(&mut self, is_there: impl Fn(&WebhookName) -> bool) {
        self.over.retain(|webhook, _| is_there(webhook));
    }

    /// The webhooks for which something waits.
    pub(super) fn webhooks(&self) -> BTreeSet<WebhookName> {
        let lanes = self.lanes.keys();
        lanes.map(|(webhook, _)| webhook.clone()).collect()
    }

    /// All deliveries of a webhook that are known, the newest first.
    pub(super) fn list(&self, webhook: &WebhookName) -> Vec<Shown> {
        let items = self.items.iter();
        let waiting = items.filter(|(_, item)| item.kept.webhook == *webhook);
        let waiting = waiting.map(|(id, item)| {
            let state = if item.kept.tries == 0 {
                State::Queued
            } else {
                State::Retry
            };
            shown(*id, item, state)
        });
        let over = self.over.get(webhook).into_iter().flatten().cloned();
        let mut all: Vec<Shown> = waiting.chain(over).collect();
        all.sort_unstable_by_key(|shown| std::cmp::Reverse(shown.id));
        all
    }

    fn drop_one(&mut self, id: DeliveryId) -> Option<Dropped> {
        let item = self.items.get(&id)?;
        let (kind, due) = (item.kept.kind, item.due);
        let key = (item.kept.webhook.clone(), item.kept.lane);
        if let Some(lane) = self.lanes.get_mut(&key) {
            lane.fresh.remove(&id);
            if let Some(due) = due {
                lane.later.remove(&(due, id));
            }
        }
        self.end(id, State::Dropped);
        Some(Dropped { id, kind })
    }

    /// A delivery is over.
    fn end(&mut self, id: DeliveryId, state: State) {
        let Some(mut item) = self.items.remove(&id) else {
            return;
        };
        self.octets = self.octets.saturating_sub(item.kept.body.len());
        item.due = None;
        let over = self.over.entry(item.kept.webhook.clone()).or_default();
        if over.len() >= REMEMBERED {
            over.pop_front();
        }
        over.push_back(shown(id, &item, state));
    }

    /// Lanes without anything are no more.
    fn tidy(&mut self, webhook: &WebhookName) {
        for lane in 0..LANES {
            let key = (webhook.clone(), lane);
            let is_empty = self.lanes.get(&key).is_some_and(|lane| {
                lane.fresh.is_empty() && lane.later.is_empty() && lane.busy.is_none()
            });
            if is_empty {
                self.lanes.remove(&key);
            }
        }
    }
}

fn shown(id: DeliveryId, item: &Item, state: State) -> Shown {
    Shown {
        id,
        kind: item.kept.kind,
        state,
        tries: item.kept.tries,
        last: item.kept.last.clone(),
        next_ms: item.due.map(|_| item.kept.due_ms),
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> WebhookName {
        text.parse().unwrap()
    }

    fn kept(webhook: &str, lane: u8) -> Kept {
        Kept {
            webhook: name(webhook),
            kind: EventKind::CallEnded,
            lane,
            tries: 0,
            due_ms: 0,
            last: None,
            body: "{}".into(),
        }
    }

    fn add(queue: &mut Queue, webhook: &str, lane: u8) -> (DeliveryId, Vec<Dropped>) {
        let id = queue.new_id(1_000, 7);
        let dropped = queue.add(id, kept(webhook, lane), None);
        (id, dropped)
    }

    fn attempt(status: Option<u16>) -> Attempt {
        Attempt {
            at_ms: 1,
            took_ms: 2,
            status,
            error: None,
        }
    }

    #[test]
    fn one_that_fails_is_tried_after_5_s_30_s_2_min_10_min_and_1_h_and_then_given_up() {
        let mut queue = Queue::default();
        let mut now = Instant::now();
        let (id, _) = add(&mut queue, "crm", 0);
        for seconds in [5, 30, 120, 600, 3600] {
            let post = queue.next(now).unwrap();
            assert_eq!(post.id, id);
            let fate = queue.posted((now, 10_000), &post, attempt(Some(500)));
            let Fate::Again(kept) = fate else {
                panic!("{fate:?}")
            };
            assert_eq!(kept.due_ms, 10_000 + seconds * 1_000);
            let due = now + Duration::from_secs(seconds);
            assert_eq!(queue.next_due(now), Some(due));
            assert_eq!(queue.list(&name("crm"))[0].state, State::Retry);
            now = due.checked_sub(Duration::from_millis(1)).unwrap();
            assert_eq!(queue.next(now), None);
            now = due;
        }
        let post = queue.next(now).unwrap();
        let fate = queue.posted((now, 0), &post, attempt(None));
        assert_eq!(fate, Fate::GivenUp);
        assert_eq!((queue.len(), queue.next_due(now)), (0, None));
        let shown = &queue.list(&name("crm"))[0];
        assert_eq!((shown.state, shown.tries), (State::Dropped, 6));
    }

    #[test]
    fn a_full_queue_drops_the_oldest_that_is_not_being_posted() {
        let mut queue = Queue::default();
        let now = Instant::now();
        let (first, _) = add(&mut queue, "crm", 0);
        let post = queue.next(now).unwrap();
        let (second, _) = add(&mut queue, "crm", 0);
        for _ in 2..MOST {
            assert_eq!(add(&mut queue, "other", 1).1, []);
        }
        assert_eq!(queue.len(), MOST);
        let (_, dropped) = add(&mut queue, "other", 1);
        assert_eq!(dropped.len(), 1);
        assert_eq!(dropped[0].id, second);
        assert_eq!(queue.len(), MOST);
        let fate = queue.posted((now, 0), &post, attempt(Some(204)));
        assert_eq!((post.id, fate), (first, Fate::Done));
        assert_eq!(queue.next(now).unwrap().webhook, name("other"));
        let states: Vec<State> = queue.list(&name("crm")).iter().map(|it| it.state).collect();
        assert_eq!(states, [State::Dropped, State::Ok]);
    }

    #[test]
    fn long_bodies_are_bounded_together() {
        let mut queue = Queue::default();
        let body: Arc<str> = "x".repeat(MOST_OCTETS / 2).into();
        for n in 0..4 {
            let id = queue.new_id(n, 0);
            let long = Kept {
                body: Arc::clone(&body),
                ..kept("crm", 0)
            };
            assert_eq!(queue.add(id, long, None).len(), usize::from(n >= 2));
        }
        assert_eq!(queue.len(), 2);
        queue.forget(&name("crm"));
        assert_eq!((queue.len(), queue.octets), (0, 0));
    }

    #[test]
    fn a_lane_posts_one_at_a_time_and_in_order_and_no_webhook_waits_for_another() {
        let mut queue = Queue::default();
        let now = Instant::now();
        let (slow, _) = add(&mut queue, "slow", 0);
        let (behind, _) = add(&mut queue, "slow", 0);
        let (quick, _) = add(&mut queue, "quick", 0);
        let (beside, _) = add(&mut queue, "slow", 1);
        let mut posts: Vec<Post> = std::iter::from_fn(|| queue.next(now)).collect();
        posts.sort_by_key(|post| post.id);
        let ids: Vec<DeliveryId> = posts.iter().map(|post| post.id).collect();
        assert_eq!(ids, [slow, quick, beside]);
        assert_eq!(queue.next_due(now), None, "its lane is busy");
        // One that has failed does not hold up those behind it, and goes before fresh ones when its time has come.
        queue.posted((now, 0), &posts[0], attempt(None));
        assert_eq!(queue.next(now).unwrap().id, behind);
        let (fresh, _) = add(&mut queue, "slow", 0);
        let behind = Post {
            id: behind,
            ..posts[0].clone()
        };
        let later = now + BACK_OFF[0];
        queue.posted((later, 0), &behind, attempt(Some(200)));
        assert_eq!(queue.next(later).unwrap().id, slow);
        assert_eq!(queue.next(later), None);
        queue.posted((later, 0), &posts[0], attempt(Some(200)));
        assert_eq!(queue.next(later).unwrap().id, fresh);
    }

    #[test]
    fn what_is_forgotten_while_it_is_posted_is_not_tried_again() {
        let mut queue = Queue::default();
        let now = Instant::now();
        add(&mut queue, "crm", 0);
        add(&mut queue, "crm", 0);
        let post = queue.next(now).unwrap();
        assert!(queue.is_posting());
        assert_eq!(queue.forget(&name("crm")).len(), 2);
        assert_eq!(queue.len(), 0);
        let fate = queue.posted((now, 0), &post, attempt(None));
        assert_eq!(fate, Fate::Forgotten);
        assert!(!queue.is_posting() && queue.webhooks().is_empty());
        queue.forget_history(|_| false);
        assert!(queue.list(&name("crm")).is_empty());
    }

    #[test]
    fn what_is_over_is_remembered_for_a_while() {
        let mut queue = Queue::default();
        let now = Instant::now();
        for _ in 0..REMEMBERED + 5 {
            add(&mut queue, "crm", 0);
            let post = queue.next(now).unwrap();
            queue.posted((now, 0), &post, attempt(Some(200)));
        }
        let list = queue.list(&name("crm"));
        assert_eq!(list.len(), REMEMBERED);
        assert!(list[0].id > list[1].id);
    }
}
