use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use model::{EventKind, WebhookUrl};
use store::{Entry, MasterKey, SledStore, Space};

use super::*;
use crate::admin::Desk;
use crate::api::tests::{at_a_desk, desk};

/// The webhook `crm`, which names these events.
fn crm(url: &str, events: &[EventKind]) -> WebhookSpec {
    let url: WebhookUrl = url.parse().unwrap();
    let secret = Secret::new("0123456789abcdef".to_owned());
    let mut spec = WebhookSpec::new("crm".parse().unwrap(), url, secret);
    spec.events = events.to_vec();
    spec
}

fn put(spec: &WebhookSpec) -> Vec<Change> {
    vec![Change::PutWebhook(Box::new(spec.clone()))]
}

/// Lets the webhooks of a desk follow its records, as a switch does from its start.
fn follow(desk: &Desk) {
    let webhooks = desk.webhooks.clone();
    desk.office.watched_by(move |table| webhooks.follow(table));
}

/// The deliveries that are in the store.
fn stored(desk: &Desk) -> Vec<Entry> {
    desk.store.scan(Space::Deliveries, b"").unwrap()
}

/// What the next one to come posts, up to this part of it, and where it waits for its answer.
fn next_post(listener: &TcpListener, up_to: &str) -> (TcpStream, String) {
    let (mut stream, _) = listener.accept().unwrap();
    let (mut text, mut part) = (String::new(), [0; 4096]);
    while !text.contains(up_to) {
        let count = stream.read(&mut part).unwrap();
        assert_ne!(count, 0, "it ends before {up_to}: {text}");
        text.push_str(std::str::from_utf8(&part[..count]).unwrap());
    }
    (stream, text)
}

/// The sum of the samples of a family whose labels are these.
fn counted(metrics: &metrics::Metrics, family: &str, label: &str) -> u64 {
    let text = metrics.render();
    let lines = text.lines();
    let samples = lines.filter(|line| line.starts_with(family) && line.contains(label));
    let values = samples.filter_map(|line| line.rsplit_once(' '));
    values.map(|(_, value)| value.parse::<u64>().unwrap()).sum()
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..3000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what}: not within 30 s");
}

/// A port at which nobody listens.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

#[test]
fn ten_thousand_wait_and_each_event_is_queued_or_counted_as_dropped_or_missed() {
    const TOLD: u64 = 12_000;
    let metrics = metrics::Metrics::new("0");
    at_a_desk(&metrics, async |desk| {
        follow(desk);
        let nobody = format!("http://127.0.0.1:{}/", free_port());
        // A busy machine raises alerts, which are events too.
        let spec = crm(&nobody, &[EventKind::ConfigChanged]);
        let committed = desk.office.commit(None, put(&spec)).await;
        assert_eq!(committed.unwrap(), 1);
        let name = spec.name;
        until("the hook to be told of itself", || {
            desk.webhooks.waiting(&name) == 1
        })
        .await;
        let accounted = || {
            let waiting = desk.webhooks.waiting(&name) as u64;
            let dropped = counted(&metrics, "strowger_webhook_deliveries_total", "dropped");
            let missed = counted(&metrics, "strowger_webhook_events_missed_total", "");
            waiting + dropped + missed
        };
        for generation in 0..TOLD {
            desk.house.records_changed(generation);
            if generation % 500 == 499 {
                let told = generation + 2;
                until("the events to be queued", || accounted() == told).await;
            }
        }
        assert_eq!(accounted(), TOLD + 1);
        assert_eq!(desk.webhooks.waiting(&name), 10_000);
        let missed = counted(&metrics, "strowger_webhook_events_missed_total", "");
        assert_eq!(missed, 0, "a worker that is given time misses nothing");
        let kept = stored(desk);
        assert_eq!(kept.len(), 10_000);
        // The oldest were dropped, but for what was being posted just then.
        let deliveries = desk.webhooks.deliveries(&name);
        let waiting = deliveries.iter().filter(|it| it.state != "dropped");
        let dropped = deliveries.iter().filter(|it| it.state == "dropped");
        let newest = dropped.map(|it| &it.id).max();
        let older = waiting.filter(|it| Some(&it.id) < newest).count();
        assert!(newest.is_some() && older <= usize::from(queue::LANES));
        // One that is removed takes its queue with it.
        let gone = vec![Change::RemoveWebhook(name.clone())];
        desk.office.commit(None, gone).await.unwrap();
        until("the queue to be dropped", || {
            desk.webhooks.waiting(&name) == 0 && accounted() == TOLD + 1
        })
        .await;
        until("the store to be cleared", || stored(desk).is_empty()).await;
    });
}

#[test]
fn what_nobody_wants_is_neither_listened_to_nor_queued() {
    at_a_desk(&metrics::Metrics::new("0"), async |desk| {
        follow(desk);
        assert!(!desk.webhooks.listens.load(Ordering::Relaxed));
        let url = format!("http://127.0.0.1:{}/", free_port());
        let mut spec = crm(&url, &[EventKind::Alert]);
        desk.office.commit(None, put(&spec)).await.unwrap();
        assert!(desk.webhooks.listens.load(Ordering::Relaxed));
        desk.house.records_changed(7);
        // What is told behind it is wanted, so that it has been looked at when that is queued.
        desk.house.tell_alert(None, json!({ "what": "the marker" }));
        let queued = || {
            let kept = stored(desk);
            let texts = kept.into_iter().map(|(_, value)| String::from_utf8(value));
            texts.collect::<Result<Vec<_>, _>>().unwrap()
        };
        let is_marker = |text: &String| text.contains("the marker");
        until("the marker to be queued", || queued().iter().any(is_marker)).await;
        // A busy machine raises alerts of its own.
        let of_changes = queued().into_iter();
        let of_changes = of_changes.filter(|text| text.contains("config.changed"));
        assert_eq!(of_changes.count(), 0);
        assert_eq!(queued().into_iter().filter(is_marker).count(), 1);
        spec.enabled = false;
        desk.office.commit(None, put(&spec)).await.unwrap();
        assert!(!desk.webhooks.listens.load(Ordering::Relaxed));
        desk.webhooks.stop().await;
        let kept = stored(desk);
        assert!(kept.is_empty(), "{kept:?}");
    });
}

#[test]
fn all_that_has_happened_is_queued_when_the_switch_stops() {
    const TOLD: u64 = 500;
    at_a_desk(&metrics::Metrics::new("0"), async |desk| {
        follow(desk);
        let nobody = format!("http://127.0.0.1:{}/", free_port());
        let spec = crm(&nobody, &[EventKind::ConfigChanged]);
        let committed = desk.office.commit(None, put(&spec)).await;
        assert_eq!(committed.unwrap(), 1);
        for generation in 0..TOLD {
            desk.house.records_changed(generation);
        }
        desk.webhooks.stop().await;
        let kept = stored(desk);
        assert_eq!(kept.len() as u64, TOLD + 1);
    });
}

/// What stands in the store is of an earlier process, or of none at all.
#[test]
fn what_is_found_at_the_start_is_posted_and_what_cannot_be_read_is_removed() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let heard = thread::spawn(move || {
        let (mut stream, text) = next_post(&listener, "\"queued\"");
        let answer = b"HTTP/1.1 204 No Content\r\n\r\n";
        stream.write_all(answer).unwrap();
        text
    });
    let folder = tempfile::tempdir().unwrap();
    let id = DeliveryId::new(1_700_000_000_000, 7);
    {
        let key = MasterKey::from_octets([7; 32]);
        let store = SledStore::open(folder.path(), &key).unwrap();
        store.commit(None, &put(&crm(&url, &[]))).unwrap();
        let put = |key: &[u8], value: &str| {
            let value = value.as_bytes();
            store.put_durable(Space::Deliveries, key, value).unwrap();
        };
        // Due long after it could be: the clock was wrong.
        let kept = r#"{"webhook":"crm","kind":"call.ended","lane":200,"tries":0,"due_ms":99999999999999,"last":null,"body":"\"queued\""}"#;
        put(&id.to_bytes(), kept);
        put(b"short", kept);
        let newer = kept.replace("call.ended", "call.forwarded");
        put(&DeliveryId::new(2, 7).to_bytes(), &newer);
        let nobody = kept.replace("crm", "nobody");
        put(&DeliveryId::new(3, 7).to_bytes(), &nobody);
    }
    actix::System::new().block_on(async {
        let metrics = metrics::Metrics::new("0");
        let (house, desk) = desk(folder.path(), &metrics).await;
        let said = heard.join().unwrap();
        let header = |line: &str| said.lines().any(|it| it.eq_ignore_ascii_case(line));
        assert!(header(&format!("X-Strowger-Delivery: {id}")), "{said}");
        assert!(header("X-Strowger-Event: call.ended"), "{said}");
        until("the store to be empty", || stored(&desk).is_empty()).await;
        until("the post to be counted", || {
            counted(&metrics, "strowger_webhook_deliveries_total", "\"ok\"") == 1
        })
        .await;
        house.stop(Duration::from_secs(1)).await;
    });
}

/// The answer may be that of a receiver whom the record does not name any more.
#[test]
fn a_receiver_that_is_gone_disables_its_webhook_and_not_one_that_leads_elsewhere_by_now() {
    let listen = || TcpListener::bind("127.0.0.1:0").unwrap();
    let (listener, next) = (listen(), listen());
    let url_of = |listener: &TcpListener| format!("http://{}/", listener.local_addr().unwrap());
    let (old, new) = (url_of(&listener), url_of(&next));
    let (asked, is_asked) = std::sync::mpsc::channel();
    let (answer, may_answer) = std::sync::mpsc::channel::<()>();
    // One after the other: what comes to the old one waits for its answer, as does the new one's.
    thread::spawn(move || {
        for listener in [listener, next] {
            let (mut stream, _) = next_post(&listener, "config.changed\"");
            asked.send(()).unwrap();
            may_answer.recv().unwrap();
            let gone = b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n";
            stream.write_all(gone).unwrap();
        }
    });
    at_a_desk(&metrics::Metrics::new("0"), async |desk| {
        let (store, here) = (Arc::clone(&*desk.store), "here".to_owned());
        let table = desk.office.current().await.table;
        let house = Arc::clone(&*desk.house);
        let begun = Webhooks::start(store, house, here, Veil::default(), &table);
        let (webhooks, gone) = begun.unwrap();
        let webhooks = Arc::new(webhooks);
        let office = Arc::clone(&*desk.office);
        actix_web::rt::spawn(disable_the_gone(gone, Arc::clone(&office)));
        let watching = Arc::clone(&webhooks);
        office.watched_by(move |table| watching.follow(table));
        let name: WebhookName = "crm".parse().unwrap();
        let lead_to = async |url: &str| {
            let spec = crm(url, &[EventKind::ConfigChanged]);
            office.commit(None, put(&spec)).await.unwrap();
        };
        lead_to(&old).await;
        until("the first post", || is_asked.try_recv().is_ok()).await;
        // Its own second event is posted to the new one, whose answer waits for the old one's.
        lead_to(&new).await;
        answer.send(()).unwrap();
        let statuses = || {
            let list = webhooks.deliveries(&name);
            let all = list.into_iter().filter_map(|it| it.status);
            all.collect::<Vec<_>>()
        };
        until("the answer of the old one", || statuses() == [410]).await;
        let is_enabled = async || {
            let table = office.current().await.table;
            table.webhook(&name).unwrap().enabled
        };
        let old = old.parse().unwrap();
        disable(&office, &name, &old).await.unwrap();
        assert!(is_enabled().await);
        assert_eq!(webhooks.waiting(&name), 2, "it is tried again elsewhere");
        until("the post to the new one", || is_asked.try_recv().is_ok()).await;
        answer.send(()).unwrap();
        for _ in 0..1000 {
            if !is_enabled().await {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let table = office.current().await.table;
        let spec = table.webhook(&name).unwrap();
        assert!(!spec.enabled && spec.disabled_because.is_some());
        until("all to be dropped", || webhooks.waiting(&name) == 0).await;
    });
}
