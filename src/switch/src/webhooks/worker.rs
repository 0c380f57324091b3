//! The thread that queues events and has them posted.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use actors::{Event, Listener, Missed, Table};
use futures_util::FutureExt as _;
use metrics::{DeliveryResult, Metrics};
use model::{DeliveryId, WebhookName, WebhookSpec, WebhookUrl};
use net::post::{Posted, Poster};
use store::{Space, Store};
use tokio::sync::{mpsc, oneshot};
use tokio::task::coop::unconstrained;

use super::queue::{Attempt, BACK_OFF, Dropped, Fate, Kept, LANES, MOST, Post, Queue};
use super::unix_ms;
use crate::api::Envelope;
use crate::veil::Veil;

/// The longest body that is posted, octets; there is no event of a tenth of that.
const LONGEST_BODY: usize = 64 * 1024;
/// How far words in the log about the same trouble are apart at least.
const SELDOM: Duration = Duration::from_secs(60);
/// How long posts that go on may last when the switch stops: what is not over then is posted again after the next start.
const LAST_POSTS: Duration = Duration::from_secs(1);
/// The status by which a receiver says that it is gone (RFC 9110 15.5.11).
const GONE: u16 = 410;

/// What the thread is told.
pub(super) enum Told {
    /// The records are these now.
    Records(Arc<Table>, Listening),
    /// Write everything down, and stop.
    Stop(oneshot::Sender<()>),
}

/// Whether events are listened to.
pub(super) enum Listening {
    Begin(Listener),
    End,
    AsBefore,
}

/// A post that is over.
struct Over {
    post: Post,
    /// What the record said when it began.
    to: Option<Arc<WebhookSpec>>,
    at_ms: u64,
    posted: Option<Posted>,
}

pub(super) struct Worker {
    store: Arc<dyn Store>,
    metrics: Metrics,
    queue: Arc<Mutex<Queue>>,
    poster: Arc<Poster>,
    node: String,
    /// What is not to be shown of numbers and names.
    veil: Veil,
    commands: mpsc::UnboundedReceiver<Told>,
    /// Where it is told which receivers are gone.
    leaves: mpsc::UnboundedSender<(WebhookName, WebhookUrl)>,
    listener: Option<Listener>,
    /// Those that are enabled.
    webhooks: BTreeMap<WebhookName, Arc<WebhookSpec>>,
    /// Those whose receivers are gone, and which still lead there and are enabled in the records.
    gone: BTreeMap<WebhookName, WebhookUrl>,
    /// Those whose last post has failed.
    failing: BTreeSet<WebhookName>,
    over: (mpsc::UnboundedSender<Over>, mpsc::UnboundedReceiver<Over>),
    /// What could not be removed from the store yet, so that it would be posted again after the next start.
    leftovers: BTreeSet<Vec<u8>>,
    /// What could not be written as it is now, so that a crash would lose it, or post it too often.
    unwritten: BTreeSet<DeliveryId>,
    dropped: Seldom,
    store_fails: Seldom,
    is_loaded: bool,
}

impl Worker {
    pub(super) fn new(
        (store, metrics): (Arc<dyn Store>, Metrics),
        queue: Arc<Mutex<Queue>>,
        poster: Arc<Poster>,
        (node, veil): (String, Veil),
        (commands, leaves): (
            mpsc::UnboundedReceiver<Told>,
            mpsc::UnboundedSender<(WebhookName, WebhookUrl)>,
        ),
    ) -> Self {
        Self {
            store,
            metrics,
            queue,
            poster,
            node,
            veil,
            commands,
            leaves,
            listener: None,
            webhooks: BTreeMap::new(),
            gone: BTreeMap::new(),
            failing: BTreeSet::new(),
            over: mpsc::unbounded_channel(),
            leftovers: BTreeSet::new(),
            unwritten: BTreeSet::new(),
            dropped: Seldom::default(),
            store_fails: Seldom::default(),
            is_loaded: false,
        }
    }

    /// Runs on a thread of its own until it is told to stop, or nobody is there who could tell.
    pub(super) fn start(mut worker: Self) -> std::io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()?;
        let run = move || {
            // What has panicked has spoilt one event, or one post: the rest is as it was.
            while catch_unwind(AssertUnwindSafe(|| runtime.block_on(worker.run()))).is_err() {
                tracing::error!("the thread of the webhooks has panicked, and goes on");
                thread::sleep(Duration::from_secs(1));
            }
        };
        thread::Builder::new()
            .name("webhooks".to_owned())
            .spawn(run)
            .map(|_| ())
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run(&mut self) {
        loop {
            self.post_due();
            let now = Instant::now();
            let due = self.queue().next_due(now).filter(|_| self.is_loaded);
            tokio::select! {
                told = self.commands.recv() => match told {
                    Some(Told::Records(table, listening)) => self.follow(&table, listening),
                    Some(Told::Stop(done)) => return self.stop(done).await,
                    None => return,
                },
                event = next(&mut self.listener) => {
                    let last = self.catch_up();
                    match event {
                        Some(heard) => self.heard(heard),
                        None => self.listener = None,
                    }
                    if let Some(done) = last {
                        return self.stop(done).await;
                    }
                }
                Some(over) = self.over.1.recv() => {
                    let last = self.catch_up();
                    self.ended(over);
                    if let Some(done) = last {
                        return self.stop(done).await;
                    }
                }
                () = until(due) => {}
            }
        }
    }

    /// Follows the records as they are by now: what comes behind a change of them is judged by it, also when both are there at once. Returns
    /// whom to tell that it has stopped, if it shall.
    fn catch_up(&mut self) -> Option<oneshot::Sender<()>> {
        let mut last = None;
        while let Ok(told) = self.commands.try_recv() {
            match told {
                Told::Records(table, listening) => self.follow(&table, listening),
                Told::Stop(done) => last = Some(done),
            }
        }
        last
    }

    /// The records are others now.
    fn follow(&mut self, table: &Table, listening: Listening) {
        match listening {
            Listening::Begin(listener) => self.listener = Some(listener),
            Listening::End => {
                // What was heard while it was wanted is not wanted any more.
                self.listener = None;
            }
            Listening::AsBefore => {}
        }
        let enabled = table.webhooks().filter(|webhook| webhook.enabled);
        let enabled = enabled.map(|webhook| (webhook.name.clone(), Arc::clone(webhook)));
        self.webhooks = enabled.collect();
        let webhooks = &self.webhooks;
        self.gone.retain(|name, url| {
            let webhook = webhooks.get(name);
            webhook.is_some_and(|webhook| webhook.url == *url)
        });
        self.failing.retain(|name| self.webhooks.contains_key(name));
        if !self.is_loaded {
            self.is_loaded = true;
            self.load();
        }
        let waiting = self.queue().webhooks();
        for name in waiting {
            if !self.webhooks.contains_key(&name) {
                self.forget(&name);
            }
        }
        self.queue()
            .forget_history(|name| table.webhook(name).is_some());
    }

    /// Takes over what an earlier process has queued.
    fn load(&mut self) {
        let entries = match self.store.scan(Space::Deliveries, b"") {
            Ok(entries) => entries,
            Err(error) => {
                tracing::error!(%error, "what was queued for webhooks cannot be read");
                return;
            }
        };
        let (now, unix) = (Instant::now(), unix_ms());
        let mut count = 0;
        for (key, value) in entries {
            let id = <[u8; 16]>::try_from(key.as_slice()).map(DeliveryId::from_bytes);
            let (Ok(id), Ok(kept)) = (id, serde_json::from_slice::<Kept>(&value)) else {
                // Of a newer program.
                self.remove(&key);
                continue;
            };
            let kept = Kept {
                lane: kept.lane % LANES,
                ..kept
            };
            // A clock that was set meanwhile puts nothing off for longer than it would have been.
            let longest = usize::from(kept.tries).checked_sub(1);
            let longest = longest.and_then(|at| BACK_OFF.get(at)).copied();
            let left = Duration::from_millis(kept.due_ms.saturating_sub(unix));
            let due = longest.map(|longest| now + left.min(longest));
            let dropped = self.queue().add(id, kept, due);
            self.drop_all(&dropped);
            count += 1;
        }
        if count > 0 {
            tracing::info!(count, "deliveries to webhooks are taken over");
        }
        self.measure();
    }

    fn heard(&mut self, heard: Result<Arc<Event>, Missed>) {
        match heard {
            Ok(event) => self.enqueue(&event),
            Err(Missed(count)) => {
                self.metrics.webhook_events_missed(count);
                tracing::warn!(count, "events came too fast: no webhook is told of them");
            }
        }
    }

    /// Puts an event into the queue, once for each webhook that wants it.
    fn enqueue(&mut self, event: &Event) {
        let wanted = self
            .webhooks
            .values()
            .filter(|webhook| webhook.wants(event.kind) && !self.gone.contains_key(&webhook.name));
        let wanted: Vec<WebhookName> = wanted.map(|webhook| webhook.name.clone()).collect();
        if wanted.is_empty() {
            return;
        }
        let Ok(body) = serde_json::to_string(&Envelope::of(event, &self.node, &self.veil)) else {
            return;
        };
        let body: Arc<str> = body.into();
        for webhook in wanted {
            if body.len() > LONGEST_BODY {
                self.lose(&[Dropped {
                    id: DeliveryId::new(0, 0),
                    kind: event.kind,
                }]);
                continue;
            }
            let kept = Kept {
                webhook,
                kind: event.kind,
                lane: lane_of(event),
                tries: 0,
                due_ms: 0,
                last: None,
                body: Arc::clone(&body),
            };
            let id = self.queue().new_id(unix_ms(), rand::random());
            self.keep(id, &kept);
            let dropped = self.queue().add(id, kept, None);
            self.drop_all(&dropped);
        }
        self.measure();
    }

    /// Starts every post whose time has come.
    fn post_due(&mut self) {
        if !self.is_loaded {
            return;
        }
        loop {
            let post = self.queue().next(Instant::now());
            let Some(post) = post else { return };
            let Some(webhook) = self.webhooks.get(&post.webhook).map(Arc::clone) else {
                // It was forgotten when its webhook was.
                self.ended(Over::without(post));
                continue;
            };
            let (poster, over) = (Arc::clone(&self.poster), self.over.0.clone());
            let again = post.clone();
            let run = move || {
                let at_ms = unix_ms();
                let (kind, id) = (post.kind.label(), post.id);
                let posted = catch_unwind(AssertUnwindSafe(|| {
                    super::post(&poster, &webhook, kind, id, &post.body)
                }));
                let to = Some(webhook);
                // Nobody hears it where the switch has stopped.
                let _ = over.send(Over {
                    post,
                    to,
                    at_ms,
                    posted: posted.ok(),
                });
            };
            let spawned = thread::Builder::new().name("webhook".to_owned()).spawn(run);
            if spawned.is_err() {
                self.ended(Over::without(again));
            }
        }
    }

    /// A post is over.
    fn ended(&mut self, over: Over) {
        let Over {
            post,
            to,
            at_ms,
            posted,
        } = over;
        if let Some(posted) = &posted {
            self.metrics.webhook_posted(post.kind, posted.took);
        }
        let attempt = attempt(at_ms, posted.as_ref());
        let moment = (Instant::now(), unix_ms());
        let fate = self.queue().posted(moment, &post, attempt.clone());
        // Who was asked may not be whom the record names by now: the answer is his alone.
        let current = self.webhooks.get(&post.webhook);
        let current = current.filter(|current| to.is_some_and(|to| to.url == current.url));
        let gone = current.map(|current| current.url.clone());
        let gone = gone.filter(|_| attempt.status == Some(GONE) && fate != Fate::Forgotten);
        match fate {
            Fate::Done => {
                self.remove(&post.id.to_bytes());
                self.count(&post, DeliveryResult::Ok);
                if self.failing.remove(&post.webhook) {
                    tracing::info!(webhook = %post.webhook, "it takes what is posted to it again");
                }
            }
            // The whole webhook is given up below.
            Fate::Again(_) | Fate::GivenUp if gone.is_some() => {
                if fate == Fate::GivenUp {
                    self.remove(&post.id.to_bytes());
                    self.count(&post, DeliveryResult::Dropped);
                }
            }
            Fate::Again(kept) => {
                self.keep(post.id, &kept);
                self.count(&post, DeliveryResult::Retry);
                if self.failing.insert(post.webhook.clone()) {
                    let (status, error) = (attempt.status, attempt.error);
                    tracing::warn!(webhook = %post.webhook, status, error, "it does not take what is posted to it, which is tried again");
                }
            }
            Fate::GivenUp => {
                self.remove(&post.id.to_bytes());
                self.lose(&[Dropped {
                    id: post.id,
                    kind: post.kind,
                }]);
            }
            // It was counted then.
            Fate::Forgotten => {}
        }
        if let Some(url) = gone {
            self.forget(&post.webhook);
            let before = self.gone.insert(post.webhook.clone(), url.clone());
            if before.is_none() {
                // Nobody hears it where the switch stops.
                let _ = self.leaves.send((post.webhook, url));
            }
        }
        self.measure();
    }

    fn count(&self, post: &Post, result: DeliveryResult) {
        self.metrics.webhook_delivery(post.kind, result);
    }

    /// Drops all that waits for a webhook.
    fn forget(&mut self, webhook: &WebhookName) {
        let dropped = self.queue().forget(webhook);
        self.drop_all(&dropped);
        self.measure();
    }

    fn drop_all(&mut self, dropped: &[Dropped]) {
        for dropped in dropped {
            self.remove(&dropped.id.to_bytes());
        }
        self.lose(dropped);
    }

    /// Counts what is dropped, and says so now and then.
    fn lose(&mut self, dropped: &[Dropped]) {
        for dropped in dropped {
            self.metrics
                .webhook_delivery(dropped.kind, DeliveryResult::Dropped);
        }
        if let Some(count) = self.dropped.say(dropped.len()) {
            tracing::warn!(
                count,
                "deliveries to webhooks are dropped: their receivers do not take them, or are not wanted any more"
            );
        }
    }

    fn keep(&mut self, id: DeliveryId, kept: &Kept) {
        let written = self.write(id, kept);
        if written.is_ok() {
            self.unwritten.remove(&id);
        } else if self.unwritten.len() < MOST {
            self.unwritten.insert(id);
        }
        self.note(written);
    }

    fn write(&self, id: DeliveryId, kept: &Kept) -> Result<(), store::StoreError> {
        let Ok(value) = serde_json::to_vec(kept) else {
            return Ok(());
        };
        self.store
            .put_soft(Space::Deliveries, &id.to_bytes(), &value)
    }

    fn remove(&mut self, key: &[u8]) {
        let id = <[u8; 16]>::try_from(key).map(DeliveryId::from_bytes);
        if let Ok(id) = id {
            self.unwritten.remove(&id);
        }
        let removed = self.store.remove(Space::Deliveries, key);
        if removed.is_err() && self.leftovers.len() < MOST {
            self.leftovers.insert(key.to_vec());
        }
        self.note(removed);
    }

    /// Removes what could not be removed before, and writes what could not be written, now that the store works again.
    fn clear_leftovers(&mut self) {
        while let Some(key) = self.leftovers.pop_first() {
            if self.store.remove(Space::Deliveries, &key).is_err() {
                self.leftovers.insert(key);
                return;
            }
        }
        while let Some(id) = self.unwritten.pop_first() {
            let kept = self.queue().kept(id);
            // It may be over by now.
            if kept.is_some_and(|kept| self.write(id, &kept).is_err()) {
                self.unwritten.insert(id);
                return;
            }
        }
    }

    /// Without the store deliveries are posted all the same; a crash loses them, or posts them twice.
    fn note(&mut self, written: Result<(), store::StoreError>) {
        match written {
            Ok(()) => self.clear_leftovers(),
            Err(error) => {
                if self.store_fails.say(1).is_some() {
                    tracing::warn!(%error, "deliveries to webhooks are not written to the store");
                }
            }
        }
    }

    fn measure(&self) {
        self.metrics.webhook_queue(self.queue().len());
    }

    /// Queues what has happened until now, and waits a little for what is being posted.
    async fn stop(&mut self, done: oneshot::Sender<()>) {
        // Else tokio lets nothing more be ready after 128 events, so that others have their turn, of whom there are none here.
        while let Some(Some(heard)) = unconstrained(next(&mut self.listener)).now_or_never() {
            self.heard(heard);
        }
        let last = tokio::time::Instant::now() + LAST_POSTS;
        while self.queue().is_posting() {
            let over = tokio::time::timeout_at(last, self.over.1.recv()).await;
            let Ok(Some(over)) = over else { break };
            self.ended(over);
        }
        self.clear_leftovers();
        let flushed = self.store.flush();
        self.note(flushed);
        let _ = done.send(());
    }
}

impl Over {
    /// Of a post that was not made.
    fn without(post: Post) -> Self {
        Self {
            post,
            to: None,
            at_ms: unix_ms(),
            posted: None,
        }
    }
}

/// The events of one call go by one lane, and all that belongs to no call by another.
fn lane_of(event: &Event) -> u8 {
    let Some(call) = event.call else { return 0 };
    let mut hasher = DefaultHasher::new();
    call.hash(&mut hasher);
    u8::try_from(hasher.finish() % u64::from(LANES)).unwrap_or(0)
}

fn attempt(at_ms: u64, posted: Option<&Posted>) -> Attempt {
    let (status, error) = match posted.map(|posted| &posted.status) {
        Some(Ok(status)) => (Some(*status), None),
        Some(Err(error)) => (None, Some(error.to_string())),
        None => (None, Some("it could not be posted".to_owned())),
    };
    let took = posted.map_or(0, |posted| posted.took.as_millis());
    Attempt {
        at_ms,
        took_ms: u64::try_from(took).unwrap_or(u64::MAX),
        status,
        error,
    }
}

/// The next event; never one while nobody listens.
async fn next(listener: &mut Option<Listener>) -> Option<Result<Arc<Event>, Missed>> {
    match listener {
        Some(listener) => listener.next().await,
        None => std::future::pending().await,
    }
}

/// Returns then; never without a moment.
async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

/// Counts something, and says now and then how often it was.
#[derive(Default)]
struct Seldom {
    count: usize,
    said: Option<Instant>,
}

impl Seldom {
    /// So many more; how many there were since it was said last, if it is time to say so.
    fn say(&mut self, more: usize) -> Option<usize> {
        self.count += more;
        let is_time = self.said.is_none_or(|said| said.elapsed() >= SELDOM);
        if self.count == 0 || !is_time {
            return None;
        }
        self.said = Some(Instant::now());
        Some(std::mem::take(&mut self.count))
    }
}
