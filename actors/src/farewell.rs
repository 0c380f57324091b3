//! No zombie calls (REL-P4): after the process was killed, the next one tells both ends of each call that it is over.
//!
//! While a call goes on, what would end each of its legs is kept with its record. At the start this moves to a place of its own, so that it is
//! said also when the process is killed again meanwhile, and goes when it has been said, or was tried often enough.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use grammers_tl_types as tl;
use model::{CallId, CallRecord, Cause, Farewell, LegKind, OpenCall, Reason, SessionName};
use net::telegram::Telegram;
use serde::{Deserialize, Serialize};
use sip::{HeaderName, Hop, Message, Parsed};
use store::{Space, Store, StoreError};
use telegram::{Rpc, RpcError};

use crate::house::{Common, unix_millis};
use crate::keeper;
use crate::message::SendRequest;

/// How many starts try to say one.
const TRIES: u32 = 4;
/// How many are said at once over SIP, and the pause until the next ones: what a thousand calls leave must not look like a flood.
const BURST: usize = 10;
const PAUSE: Duration = Duration::from_millis(20);
/// A BYE that is not answered is repeated by its transaction; an answer to an INVITE, and a CANCEL, belong to one that is gone, and are repeated here (T1, then twice as long); then they count
/// as said.
const REPEATS: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(1)];
/// How often Telegram is asked again while it cannot be reached, and how far these are apart.
const ASKS: u32 = 300;
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// A message is read without a Via as well as with one, but for the parser, which wants one.
const VIA: &str = "SIP/2.0/UDP farewell.invalid;branch=z9hG4bKfarewell";

/// One that is still to be said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    farewell: Farewell,
    /// When the call was answered, milliseconds since 1970.
    answered_ms: Option<u64>,
    /// How many starts have tried.
    tries: u32,
}

/// All that is to be said, by its key in the store.
pub(crate) type Farewells = Vec<(Vec<u8>, KeptFarewell)>;

/// One of them.
pub(crate) struct KeptFarewell(Kept);

/// What ends a dialog.
pub(crate) fn of_sip(to: Hop, mut message: Message) -> Farewell {
    if let Message::Request(request) = &mut message
        && !request.headers.has(&HeaderName::Via)
    {
        request.headers.push_front(HeaderName::Via, VIA);
    }
    Farewell::Sip {
        to: to.to_string(),
        message: String::from_utf8_lossy(&message.encode()).into_owned(),
    }
}

/// Reads what [`of_sip`] made; none when it is something else.
fn read_sip(to: &str, message: &str) -> Option<(Hop, Message)> {
    let to = to.parse().ok()?;
    match sip::parse(message.as_bytes()) {
        Parsed::Message(Message::Request(mut request)) => {
            // A CANCEL has that of its INVITE, and keeps it.
            if request.headers.get(&HeaderName::Via) == Some(VIA) {
                request.headers.remove(&HeaderName::Via);
            }
            Some((to, Message::Request(request)))
        }
        Parsed::Message(response) => Some((to, response)),
        Parsed::Reject { .. } | Parsed::Drop(_) | Parsed::KeepAlive => None,
    }
}

fn key(call: CallId, leg: usize) -> Vec<u8> {
    let leg = u8::try_from(leg).unwrap_or(u8::MAX);
    [&call.to_bytes()[..], &[leg]].concat()
}

/// Closes the records of the calls that were up when the process ended, and returns what is to be said to their ends, and to those of
/// earlier processes.
pub(crate) fn close_crashed(store: &dyn Store) -> Result<Farewells, StoreError> {
    let mut closed: Vec<CallRecord> = Vec::new();
    // One that cannot be read stays as it is, for the newer program that wrote it.
    for OpenCall { record, farewells } in store.unfinished_calls()?.records {
        tracing::warn!(call = %record.id, "a call was up when the process ended");
        let answered_ms = record
            .answered_after_ms
            .map(|after| record.started_ms.saturating_add(after));
        for (leg, farewell) in farewells.into_iter().enumerate() {
            let kept = Kept {
                farewell,
                answered_ms,
                tries: 0,
            };
            write(store, &key(record.id, leg), &kept)?;
        }
        closed.push(keeper::close(record, &Cause::new(Reason::Crashed), None));
    }
    if !closed.is_empty() {
        store.close_calls(&closed.iter().collect::<Vec<_>>())?;
    }
    let mut all = Vec::new();
    for (key, value) in store.scan(Space::Farewells, b"")? {
        match serde_json::from_slice::<Kept>(&value) {
            Ok(mut kept) if kept.tries < TRIES => {
                kept.tries += 1;
                write(store, &key, &kept)?;
                all.push((key, KeptFarewell(kept)));
            }
            // Said as often as it helps, or of a newer program.
            Ok(_) | Err(_) => store.remove(Space::Farewells, &key)?,
        }
    }
    Ok(all)
}

fn write(store: &dyn Store, key: &[u8], kept: &Kept) -> Result<(), StoreError> {
    match serde_json::to_vec(kept) {
        Ok(value) => store.put_soft(Space::Farewells, key, &value),
        Err(source) => Err(StoreError::Record {
            tree: "farewells",
            key: String::from_utf8_lossy(key).into_owned(),
            source,
        }),
    }
}

/// Says all of them.
pub(crate) fn say(common: &Common, store: &Arc<dyn Store>, farewells: Farewells) {
    let mut by_session: BTreeMap<SessionName, Vec<(Vec<u8>, Rpc)>> = BTreeMap::new();
    let mut over_sip = Vec::new();
    for (key, KeptFarewell(kept)) in farewells {
        match &kept.farewell {
            Farewell::Sip { to, message } => {
                if let Some((to, message)) = read_sip(to, message) {
                    over_sip.push((key, to, message));
                    continue;
                }
            }
            Farewell::Telegram {
                session,
                id,
                access_hash,
                theirs,
            } => {
                let known = session.parse::<SessionName>().ok();
                if let Some(session) = known.filter(|name| common.sessions.has(name)) {
                    let rpc = discard(*id, *access_hash, *theirs, kept.answered_ms);
                    by_session.entry(session).or_default().push((key, rpc));
                    continue;
                }
            }
        }
        // Nobody can say it any more.
        forget(store, &[key]);
    }
    if !over_sip.is_empty() {
        tokio::spawn(say_over_sip(common.clone(), Arc::clone(store), over_sip));
    }
    for (session, calls) in by_session {
        if let Some(link) = common.sessions.get(&session) {
            let client = Arc::clone(&link.client);
            let say = say_over_telegram(common.clone(), Arc::clone(store), client, session, calls);
            tokio::spawn(say);
        }
    }
}

fn discard(id: i64, access_hash: i64, theirs: bool, answered_ms: Option<u64>) -> Rpc {
    let talked = answered_ms.map(|at| unix_millis().saturating_sub(at) / 1000);
    let reason = match talked {
        Some(_) => tl::enums::PhoneCallDiscardReason::Disconnect,
        None if theirs => tl::enums::PhoneCallDiscardReason::Busy,
        None => tl::enums::PhoneCallDiscardReason::Missed,
    };
    Rpc::DiscardCall {
        peer: tl::types::InputPhoneCall { id, access_hash },
        duration: i32::try_from(talked.unwrap_or(0)).unwrap_or(i32::MAX),
        reason,
    }
}

async fn say_over_sip(
    common: Common,
    store: Arc<dyn Store>,
    farewells: Vec<(Vec<u8>, Hop, Message)>,
) {
    let mut door = common.endpoint.clone();
    if door.open().is_none() && door.next().await.is_none() {
        return;
    }
    tracing::info!(
        count = farewells.len(),
        "PBXs are told that calls of an earlier process are over"
    );
    for chunk in farewells.chunks(BURST) {
        for (_, to, message) in chunk {
            common.metrics.farewell(LegKind::Sip);
            match message {
                Message::Request(request) if !request.headers.has(&HeaderName::Via) => {
                    common.to_endpoint(SendRequest {
                        owner: None,
                        target: *to,
                        request: request.clone(),
                    });
                }
                ready => common.send_sip(*to, ready.encode()),
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
    for pause in REPEATS {
        tokio::time::sleep(pause).await;
        for (_, to, message) in &farewells {
            if message.headers().has(&HeaderName::Via) && !to.is_reliable() {
                common.send_sip(*to, message.encode());
            }
        }
    }
    let keys: Vec<Vec<u8>> = farewells.into_iter().map(|(key, ..)| key).collect();
    forget_later(store, keys).await;
}

async fn say_over_telegram(
    common: Common,
    store: Arc<dyn Store>,
    client: Arc<dyn Telegram>,
    session: SessionName,
    calls: Vec<(Vec<u8>, Rpc)>,
) {
    tracing::info!(
        %session,
        count = calls.len(),
        "Telegram is told that calls of an earlier process are over"
    );
    for (key, rpc) in calls {
        for _ in 0..ASKS {
            let answer = client.invoke(rpc.clone()).await;
            // What Telegram knows no more is over as well.
            if !matches!(answer, Err(RpcError::Connection | RpcError::TimedOut)) {
                common.metrics.farewell(LegKind::Telegram);
                forget_later(Arc::clone(&store), vec![key]).await;
                break;
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
    }
}

/// The disk may take its time, and this thread has others to serve.
async fn forget_later(store: Arc<dyn Store>, keys: Vec<Vec<u8>>) {
    let _ = tokio::task::spawn_blocking(move || forget(&store, &keys)).await;
}

fn forget(store: &Arc<dyn Store>, keys: &[Vec<u8>]) {
    for key in keys {
        if let Err(error) = store.remove(Space::Farewells, key) {
            tracing::error!(%error, "what has been said stays in the store");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_a_dialog_reads_back_without_its_via() {
        let mut bye =
            sip::Request::new(sip::Method::Bye, "sip:6001@192.0.2.1:5070".parse().unwrap());
        for (name, value) in [
            (HeaderName::MaxForwards, "70"),
            (HeaderName::From, "<sip:600@192.0.2.9>;tag=a"),
            (HeaderName::To, "<sip:6001@192.0.2.1>;tag=b"),
            (HeaderName::CallId, "one"),
            (HeaderName::CSeq, "1001 BYE"),
            (HeaderName::Reason, "SIP;cause=500;text=\"Restarted\""),
        ] {
            bye.headers.push(name, value);
        }
        let to = "tcp:192.0.2.1:5070".parse().unwrap();
        let Farewell::Sip { to, message } = of_sip(to, Message::Request(bye.clone())) else {
            panic!("no SIP")
        };
        let (to, read) = read_sip(&to, &message).unwrap();
        assert_eq!(to.to_string(), "tcp:192.0.2.1:5070");
        let Message::Request(read) = read else {
            panic!("{read:?}")
        };
        assert_eq!(read.to_string(), bye.to_string());
        assert!(read_sip("udp:192.0.2.1:5070", "BYE nonsense").is_none());
        // The Via of a CANCEL is what it is known by.
        let mut cancel = bye;
        cancel.method = sip::Method::Cancel;
        cancel.headers.set(HeaderName::CSeq, "1 CANCEL");
        let via = "SIP/2.0/UDP 192.0.2.9:5060;branch=z9hG4bKone;rport";
        cancel.headers.push_front(HeaderName::Via, via);
        let to = "udp:192.0.2.1:5070".parse().unwrap();
        let Farewell::Sip { to, message } = of_sip(to, Message::Request(cancel)) else {
            panic!("no SIP")
        };
        let (_, read) = read_sip(&to, &message).unwrap();
        assert_eq!(read.headers().get(&HeaderName::Via), Some(via));
    }
}
