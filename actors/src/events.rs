//! Events for whoever listens: what happens in the house, told once, to all who listen just then.
//!
//! Nobody waits for a listener. There is one ring of the last events; who reads more slowly than they come loses his place in it and is told
//! so, nobody else notices. The last events are kept for whoever comes back after a short while. Where nobody listens, and nobody has of late, an event is
//! only counted.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::{CallId, EventId, EventKind, SessionName, TrunkName};
use serde_json::Value;
use tokio::sync::broadcast;

use crate::house::{steady_millis, unix_millis};

/// How many events a listener may be behind.
const RING: usize = 1024;
/// How long events are kept for somebody who listened, and whose connection may just be gone, in milliseconds.
const REMEMBERED: u64 = 10 * 60 * 1000;

/// Something that has happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Its id, which tells its time too.
    pub id: EventId,
    /// What kind of event it is.
    pub kind: EventKind,
    /// The call it is about.
    pub call: Option<CallId>,
    /// The trunk it is about; empty for none.
    pub trunk: String,
    /// The session it is about; empty for none.
    pub session: String,
    /// What else there is to say, as `docs/events.md` has it.
    pub data: Value,
}

/// What an event is about.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct About<'a> {
    pub(crate) call: Option<CallId>,
    pub(crate) trunk: &'a str,
    pub(crate) session: &'a str,
}

impl<'a> About<'a> {
    pub(crate) fn trunk(trunk: &'a TrunkName) -> Self {
        Self {
            trunk: trunk.as_str(),
            ..Self::default()
        }
    }

    pub(crate) fn session(session: &'a SessionName) -> Self {
        Self {
            session: session.as_str(),
            ..Self::default()
        }
    }
}

/// Where events are told.
pub(crate) struct Events {
    ring: broadcast::Sender<Arc<Event>>,
    kept: Arc<Kept>,
    metrics: metrics::Metrics,
}

/// The last events.
#[derive(Debug, Default)]
struct Kept {
    last: Mutex<Last>,
    /// When somebody listened last, in milliseconds by the steady clock; 0 = never.
    heard: AtomicU64,
}

#[derive(Debug, Default)]
struct Last {
    /// The last ones, without a gap.
    events: VecDeque<Arc<Event>>,
    /// How many there were before them.
    before: u64,
}

impl Kept {
    fn last(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hear(&self) {
        self.heard.store(steady_millis(), Ordering::Relaxed);
    }

    /// Whether somebody who listened may come back.
    fn is_remembered(&self) -> bool {
        let heard = self.heard.load(Ordering::Relaxed);
        heard > 0 && steady_millis().saturating_sub(heard) < REMEMBERED
    }
}

impl Last {
    /// One that nobody hears: what was kept before has a gap behind it now.
    fn skip(&mut self) {
        self.before += self.events.len() as u64 + 1;
        self.events.clear();
    }

    fn keep(&mut self, event: Arc<Event>) {
        if self.events.len() >= RING {
            self.events.pop_front();
            self.before += 1;
        }
        self.events.push_back(event);
    }

    /// What came behind an event.
    fn behind(&self, id: EventId) -> Again {
        match self.events.iter().rposition(|event| event.id == id) {
            Some(at) => Again {
                events: self.events.iter().skip(at + 1).cloned().collect(),
                missed: None,
            },
            None => Again {
                events: self.events.iter().cloned().collect(),
                missed: Some(self.before),
            },
        }
    }
}

/// What somebody is told who comes back.
#[derive(Debug, Default, PartialEq)]
pub struct Again {
    /// The events behind the one that he had last.
    pub events: Vec<Arc<Event>>,
    /// When that one is not kept: how many events, at most, this process has told before those.
    pub missed: Option<u64>,
}

impl Events {
    pub(crate) fn new(metrics: metrics::Metrics) -> Self {
        Self {
            ring: broadcast::Sender::new(RING),
            kept: Arc::default(),
            metrics,
        }
    }

    /// Tells an event; `data` is asked for where somebody listens.
    pub(crate) fn tell(&self, kind: EventKind, about: About<'_>, data: impl FnOnce() -> Value) {
        self.metrics.event(kind);
        if self.ring.receiver_count() == 0 && !self.kept.is_remembered() {
            self.kept.last().skip();
            return;
        }
        let event = Event {
            id: EventId::new(unix_millis(), rand::random()),
            kind,
            call: about.call,
            trunk: about.trunk.to_owned(),
            session: about.session.to_owned(),
            data: data(),
        };
        let event = Arc::new(event);
        // Both at once: whoever comes back is told each event once.
        let mut last = self.kept.last();
        last.keep(Arc::clone(&event));
        // Whoever listened may just have left.
        let _ = self.ring.send(event);
    }

    /// Listens from now on.
    pub(crate) fn listen(&self) -> Listener {
        self.kept.hear();
        Listener {
            ring: self.ring.subscribe(),
            kept: Arc::clone(&self.kept),
        }
    }

    /// The same of somebody who had this event last: what came behind it, and then what comes.
    pub(crate) fn listen_behind(&self, id: EventId) -> (Again, Listener) {
        let last = self.kept.last();
        (last.behind(id), self.listen())
    }
}

/// Somebody who listens.
#[derive(Debug)]
pub struct Listener {
    ring: broadcast::Receiver<Arc<Event>>,
    kept: Arc<Kept>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.kept.hear();
    }
}

/// A listener was too slow, and has missed events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missed(pub u64);

impl Listener {
    /// Waits for the next event. Nothing when the house is gone.
    pub async fn next(&mut self) -> Option<Result<Arc<Event>, Missed>> {
        match self.ring.recv().await {
            Ok(event) => Some(Ok(event)),
            Err(broadcast::error::RecvError::Lagged(missed)) => Some(Err(Missed(missed))),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_is_too_slow_is_told_so_and_nobody_waits_for_him() {
        let events = Events::new(metrics::Metrics::new("0"));
        let tell = |n: u64| {
            events.tell(EventKind::CallStarted, About::default(), || n.into());
        };
        tell(0);
        let mut slow = events.listen();
        let mut quick = events.listen();
        for n in 0..(RING as u64 + 10) {
            tell(n);
            assert_eq!(quick.next().await.unwrap().unwrap().data, n);
        }
        assert_eq!(slow.next().await.unwrap(), Err(Missed(10)));
        assert_eq!(slow.next().await.unwrap().unwrap().data, 10);
    }

    #[tokio::test]
    async fn who_comes_back_is_told_what_he_has_missed_and_each_event_once() {
        let events = Events::new(metrics::Metrics::new("0"));
        let tell = |n: u64| {
            events.tell(EventKind::CallStarted, About::default(), || n.into());
        };
        let numbers = |events: &[Arc<Event>]| -> Vec<u64> {
            let data = events.iter().filter_map(|event| event.data.as_u64());
            data.collect()
        };
        tell(0);
        let mut first = events.listen();
        tell(1);
        let had = first.next().await.unwrap().unwrap().id;
        drop(first);
        tell(2);
        tell(3);
        let (again, mut second) = events.listen_behind(had);
        assert_eq!((numbers(&again.events), again.missed), (vec![2, 3], None));
        tell(4);
        assert_eq!(second.next().await.unwrap().unwrap().data, 4);
        // Of what is not kept any more nobody knows what came behind it, only how much there was at most.
        for n in 5..(5 + RING as u64) {
            tell(n);
        }
        let (again, third) = events.listen_behind(had);
        assert_eq!((again.events.len(), again.missed), (RING, Some(5)));
        // After a while nobody is expected to come back: what is not kept leaves no gap that could be overlooked.
        drop((second, third));
        events.kept.heard.store(1, Ordering::Relaxed);
        tell(9999);
        let (again, _) = events.listen_behind(had);
        assert_eq!(
            (again.events.len(), again.missed),
            (0, Some(RING as u64 + 6))
        );
    }

    #[tokio::test]
    async fn what_nobody_hears_is_not_put_together() {
        let metrics = metrics::Metrics::new("0");
        let events = Events::new(metrics.clone());
        events.tell(EventKind::CallEnded, About::default(), || {
            panic!("nobody listens")
        });
        let text = metrics.render();
        let counted = "strowger_events_total{type=\"call.ended\"} 1";
        assert!(text.contains(counted), "{text}");
    }
}
