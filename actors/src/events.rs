//! Events for whoever listens: what happens in the house, told once, to all who listen just then.
//!
//! Nobody waits for a listener. There is one ring of the last events; who reads more slowly than they come loses his place in it and is told
//! so, nobody else notices. Where nobody listens an event is only counted.

use std::sync::Arc;

use model::{CallId, EventId, EventKind, SessionName, TrunkName};
use serde_json::Value;
use tokio::sync::broadcast;

use crate::house::unix_millis;

/// How many events a listener may be behind.
const RING: usize = 1024;

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
    metrics: metrics::Metrics,
}

impl Events {
    pub(crate) fn new(metrics: metrics::Metrics) -> Self {
        Self {
            ring: broadcast::Sender::new(RING),
            metrics,
        }
    }

    /// Tells an event; `data` is asked for where somebody listens.
    pub(crate) fn tell(&self, kind: EventKind, about: About<'_>, data: impl FnOnce() -> Value) {
        self.metrics.event(kind);
        if self.ring.receiver_count() == 0 {
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
        // Whoever listened may just have left.
        let _ = self.ring.send(Arc::new(event));
    }

    /// Listens from now on.
    pub(crate) fn listen(&self) -> Listener {
        Listener(self.ring.subscribe())
    }
}

/// Somebody who listens.
#[derive(Debug)]
pub struct Listener(broadcast::Receiver<Arc<Event>>);

/// A listener was too slow, and has missed events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missed(pub u64);

impl Listener {
    /// Waits for the next event. Nothing when the house is gone.
    pub async fn next(&mut self) -> Option<Result<Arc<Event>, Missed>> {
        match self.0.recv().await {
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
