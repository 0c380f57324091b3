//! Webhooks: events are posted to whom the owner has named, outside of the path of any call.
//!
//! One thread takes the events that somebody wants and writes them to the store (at most 10,000), and starts a short-lived thread for each post: four
//! at a time for a webhook, so that none waits for another. What was queued is posted also after a crash, at least once; a receiver knows the same delivery
//! again by its id. Nobody in the house waits for any of it: who is too slow here misses events, which is counted.
//!
//! * `queue`: what waits, in which order, how long after a failure.
//! * `worker`: the thread.
//! * `signature`: how a post is signed.

mod queue;
mod signature;
#[cfg(test)]
mod tests;
mod worker;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use actors::{House, Table};
use model::{DeliveryId, Secret, WebhookName, WebhookSpec, WebhookUrl};
use net::post::{Posted, Poster};
use serde_json::json;
use store::{Change, Store};
use tokio::sync::{Semaphore, mpsc, oneshot};

use self::queue::{Queue, Shown};
use self::worker::{Listening, Told, Worker};
use crate::api::{DeliveryView, Envelope, WebhookTest, moment};
use crate::office::Office;
use crate::problem::Problem;
use crate::veil::Veil;

/// How many may be tried at the same time by their owners.
const MOST_TESTS: usize = 4;
/// How long the end of the switch waits for the last events to be written.
const LAST_WORDS: Duration = Duration::from_secs(3);
/// How often a commit is repeated at once that somebody else's has overtaken.
const COMMITS: usize = 5;
/// How long after one that could not be made it is tried again.
const AGAIN: Duration = Duration::from_secs(10);
/// What the event of a test is called.
const TEST: &str = "webhook.test";

/// The door to all of it.
pub(crate) struct Webhooks {
    house: Arc<House>,
    queue: Arc<Mutex<Queue>>,
    told: mpsc::UnboundedSender<Told>,
    poster: Arc<Poster>,
    node: String,
    /// Whether events are listened to: while nobody wants them, nobody puts them together.
    listens: AtomicBool,
    tests: Semaphore,
}

/// Webhooks whose receivers do not want to be asked again, as they say so, and where these are.
pub(crate) struct Gone(mpsc::UnboundedReceiver<(WebhookName, WebhookUrl)>);

impl Webhooks {
    /// Begins with what the records say, and with what an earlier process has left in the store.
    pub(crate) fn start(
        store: Arc<dyn Store>,
        house: Arc<House>,
        node: String,
        veil: Veil,
        table: &Arc<Table>,
    ) -> std::io::Result<(Self, Gone)> {
        let (told, commands) = mpsc::unbounded_channel();
        let (leaves, gone) = mpsc::unbounded_channel();
        let queue = Arc::new(Mutex::new(Queue::default()));
        let poster = Arc::new(Poster::new(concat!("strowger/", env!("CARGO_PKG_VERSION"))));
        Worker::start(Worker::new(
            (store, house.metrics().clone()),
            Arc::clone(&queue),
            Arc::clone(&poster),
            (node.clone(), veil),
            (commands, leaves),
        ))?;
        let webhooks = Self {
            house,
            queue,
            told,
            poster,
            node,
            listens: AtomicBool::new(false),
            tests: Semaphore::new(MOST_TESTS),
        };
        webhooks.follow(table);
        Ok((webhooks, Gone(gone)))
    }

    /// Follows what the records say from now on. What happens after this returns is heard.
    pub(crate) fn follow(&self, table: &Arc<Table>) {
        let wanted = table.webhooks().any(|webhook| webhook.enabled);
        let listening = match (self.listens.swap(wanted, Ordering::Relaxed), wanted) {
            (false, true) => Listening::Begin(self.house.listen()),
            (true, false) => Listening::End,
            (true, true) | (false, false) => Listening::AsBefore,
        };
        // Nobody hears it where the thread could not be kept alive, which the log says.
        let _ = self.told.send(Told::Records(Arc::clone(table), listening));
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many deliveries of a webhook wait.
    pub(crate) fn waiting(&self, webhook: &WebhookName) -> usize {
        self.queue().len_of(webhook)
    }

    /// All deliveries of a webhook that are known, the newest first.
    pub(crate) fn deliveries(&self, webhook: &WebhookName) -> Vec<DeliveryView> {
        let list = self.queue().list(webhook);
        list.into_iter().map(view).collect()
    }

    /// Posts an event that says that this is a test, now and once. Nothing when too many do that.
    pub(crate) async fn test(&self, webhook: &WebhookSpec) -> Option<WebhookTest> {
        let _place = self.tests.try_acquire().ok()?;
        let id = DeliveryId::new(unix_ms(), rand::random());
        let at = humantime::format_rfc3339_millis(SystemTime::now());
        let envelope = Envelope {
            id: id.to_string(),
            kind: TEST.to_owned(),
            at: at.to_string(),
            node: self.node.clone(),
            call: String::new(),
            trunk: String::new(),
            session: String::new(),
            data: json!({ "webhook": webhook.name }),
        };
        let body = serde_json::to_string(&envelope).ok()?;
        let (poster, webhook) = (Arc::clone(&self.poster), webhook.clone());
        let (done, posted) = oneshot::channel();
        let spawned = std::thread::Builder::new()
            .name("webhook".to_owned())
            .spawn(move || {
                // Whoever asked may have left.
                let _ = done.send(post(&poster, &webhook, TEST, id, &body));
            });
        spawned.ok()?;
        Some(tested(&posted.await.ok()?))
    }

    /// Writes what has happened until now to the store. Nothing is posted after that.
    pub(crate) async fn stop(&self) {
        let (done, stopped) = oneshot::channel();
        if self.told.send(Told::Stop(done)).is_ok()
            && tokio::time::timeout(LAST_WORDS, stopped).await.is_err()
        {
            tracing::warn!("the last events for webhooks could not be written in time");
        }
    }
}

fn view(shown: Shown) -> DeliveryView {
    let last = shown.last;
    DeliveryView {
        id: shown.id.to_string(),
        event: shown.kind.to_string(),
        state: shown.state.label().to_owned(),
        tries: shown.tries,
        at: last.as_ref().map(|last| moment(last.at_ms)),
        ms: last.as_ref().map(|last| last.took_ms),
        status: last.as_ref().and_then(|last| last.status),
        error: last.and_then(|last| last.error),
        next: shown.next_ms.map(moment),
    }
}

fn tested(posted: &Posted) -> WebhookTest {
    WebhookTest {
        ok: posted.is_good(),
        status: posted.status.ok(),
        error: posted.status.err().map(|error| error.to_string()),
        ms: u64::try_from(posted.took.as_millis()).unwrap_or(u64::MAX),
        said: posted.said.clone(),
    }
}

/// Posts once. Blocks for ten seconds at most.
fn post(poster: &Poster, webhook: &WebhookSpec, kind: &str, id: DeliveryId, body: &str) -> Posted {
    let (signature, id) = (sign(&webhook.secret, body), id.to_string());
    let headers = [
        ("X-Strowger-Signature", signature.as_str()),
        ("X-Strowger-Event", kind),
        ("X-Strowger-Delivery", &id),
    ];
    poster.post(webhook.url.as_str(), &headers, body)
}

fn sign(secret: &Secret<String>, body: &str) -> String {
    signature::signature(secret, unix_ms() / 1000, body)
}

/// Disables webhooks whose receivers want that, for as long as the switch runs.
pub(crate) async fn disable_the_gone(gone: Gone, office: Arc<Office>) {
    let Gone(mut gone) = gone;
    while let Some((name, url)) = gone.recv().await {
        let mut is_said = false;
        while let Err(error) = disable(&office, &name, &url).await {
            if !is_said {
                tracing::error!(webhook = %name, %error, "its receiver answers 410 Gone, and it cannot be disabled yet: nothing is posted to it, and that is tried again every {AGAIN:?}");
                is_said = true;
            }
            tokio::time::sleep(AGAIN).await;
        }
    }
}

/// Disables a webhook whose receiver is gone; leaves one that is disabled already, or leads elsewhere by now.
async fn disable(
    office: &Arc<Office>,
    name: &WebhookName,
    url: &WebhookUrl,
) -> Result<(), Problem> {
    let mut tries = 1;
    loop {
        let current = office.current().await;
        let webhook = current.table.webhook(name);
        let Some(webhook) = webhook.filter(|webhook| webhook.enabled && webhook.url == *url) else {
            return Ok(());
        };
        let at = humantime::format_rfc3339_seconds(SystemTime::now());
        let spec = WebhookSpec {
            enabled: false,
            disabled_because: Some(format!("its receiver answered 410 Gone at {at}")),
            ..(**webhook).clone()
        };
        let changes = vec![Change::PutWebhook(Box::new(spec))];
        match office.commit(Some(current.generation), changes).await {
            Ok(_) => {
                tracing::error!(webhook = %name, "its receiver answers 410 Gone: it is disabled; `strowger webhook set {name} --enabled true` enables it");
                return Ok(());
            }
            Err(error) if error.is_conflict() && tries < COMMITS => tries += 1,
            Err(error) => return Err(error),
        }
    }
}

/// Milliseconds since 1970.
fn unix_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(now.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}
