//! The Telegram peer's wire to the simulator: finds the users' calls and carries their signalling.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde_json::{Value, json};
use telegram::{CallKey, MediaStart, Role};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::http::Http;
use crate::proc::wall;

/// For how long a request waits for news, seconds.
const WAIT: u64 = 1;

/// A call whose key is agreed on.
pub(crate) struct NewCall {
    /// Its number in the run.
    pub(crate) index: usize,
    pub(crate) start: MediaStart,
    /// When its user had the key, nanoseconds of the wall clock.
    pub(crate) agreed: u64,
    pub(crate) wire: Wire,
}

/// Signalling both ways.
pub(crate) struct Wire {
    pub(crate) out: UnboundedSender<Bytes>,
    pub(crate) incoming: UnboundedReceiver<Bytes>,
    /// Set when nothing more is expected from the peer.
    pub(crate) settled: Arc<AtomicBool>,
}

/// Looks for the calls of these users, in threads, until there is one for each.
pub(crate) fn watch(control: String, users: Vec<u64>) -> UnboundedReceiver<NewCall> {
    let (found, calls) = unbounded_channel();
    thread::spawn(move || {
        let http = Http::new(&control);
        let index: HashMap<u64, usize> = users.into_iter().zip(0..).collect();
        let mut seen = HashSet::new();
        let mut after = 0;
        while seen.len() < index.len() {
            let news = http.get(&format!(
                "/log?kind=call&state=established&since={after}&wait={WAIT}"
            ));
            after = news["next"].as_u64().unwrap();
            for event in news["events"].as_array().unwrap() {
                let Some(user) = event["participant"].as_u64() else {
                    continue;
                };
                let Some(number) = index.get(&user).filter(|number| seen.insert(**number)) else {
                    continue;
                };
                let id = event["call"].as_str().unwrap();
                let call = http.get(&format!("/calls/{id}"));
                let new = NewCall {
                    index: *number,
                    start: media_start(&call),
                    agreed: wall(),
                    wire: connect(&control, user, id),
                };
                if found.send(new).is_err() {
                    return;
                }
            }
        }
    });
    calls
}

fn media_start(call: &Value) -> MediaStart {
    let hex = call["participant"]["key"].as_str().expect("a key");
    let mut key = [0; 256];
    for (byte, at) in key.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    }
    MediaStart {
        role: Role::Callee,
        version: call["protocol"]["library_versions"][0]
            .as_str()
            .expect("a version")
            .to_owned(),
        key: CallKey::new(&key),
        p2p_allowed: true,
        connections: Vec::new(),
        custom_parameters: None,
    }
}

/// One thread for each way: what is sent keeps its order, and what comes is waited for.
fn connect(control: &str, user: u64, call: &str) -> Wire {
    let (out, mut outgoing) = unbounded_channel::<Bytes>();
    let (arrived, incoming) = unbounded_channel();
    let settled = Arc::new(AtomicBool::new(false));
    let base = format!("/scripted/{user}/calls/{call}/signaling");
    let (http, path) = (Http::new(control), base.clone());
    thread::spawn(move || {
        while let Some(bytes) = outgoing.blocking_recv() {
            http.post(&path, &json!({"data": BASE64.encode(bytes)}));
        }
    });
    let (http, done) = (Http::new(control), Arc::clone(&settled));
    thread::spawn(move || {
        let mut after = 0;
        while !done.load(Ordering::Relaxed) {
            let news = http.get(&format!("{base}?after={after}&wait=1"));
            after = news["next"].as_u64().unwrap();
            for item in news["items"].as_array().unwrap() {
                let bytes = BASE64.decode(item.as_str().unwrap()).unwrap();
                if arrived.send(Bytes::from(bytes)).is_err() {
                    return;
                }
            }
            if news["state"] == "discarded" {
                return;
            }
        }
    });
    Wire {
        out,
        incoming,
        settled,
    }
}
