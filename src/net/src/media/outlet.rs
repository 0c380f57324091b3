//! Events on their way to the call: none that matters is lost when the call is slow, and none waits for ever.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::mpsc::error::{SendError, TrySendError};
use tokio::sync::mpsc::{OwnedPermit, Sender};

use super::message::MediaEvent;

/// Events that wait beside the channel: a Telegram leg signals a dozen times to connect.
const MAX_WAITING: usize = 64;

type Room = Pin<Box<dyn Future<Output = Result<OwnedPermit<MediaEvent>, SendError<()>>> + Send>>;

/// The sending end of a call's events.
pub(super) struct Outlet {
    sender: Sender<MediaEvent>,
    waiting: VecDeque<MediaEvent>,
    room: Option<Room>,
    broken: bool,
}

impl Outlet {
    pub(super) fn new(sender: Sender<MediaEvent>) -> Self {
        Self {
            sender,
            waiting: VecDeque::new(),
            room: None,
            broken: false,
        }
    }

    /// Sends an event now or as soon as there is room.
    pub(super) fn tell(&mut self, event: MediaEvent) {
        let event = if self.waiting.is_empty() {
            match self.sender.try_send(event) {
                Ok(()) => return,
                // Nobody listens: the handle goes the same way, and with it the task.
                Err(TrySendError::Closed(_)) => return,
                Err(TrySendError::Full(event)) => event,
            }
        } else {
            event
        };
        match event {
            MediaEvent::FirstPacket { .. }
            | MediaEvent::Dtmf { .. }
            | MediaEvent::Muted { .. }
            | MediaEvent::Quality { .. } => {}
            _ if self.waiting.len() >= MAX_WAITING => self.broken = true,
            event => self.waiting.push_back(event),
        }
    }

    /// Returns whether an event that matters was lost: the call cannot go on.
    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Waits until the call has taken all that matters, or listens no more.
    pub(super) async fn flush(&mut self) {
        std::future::poll_fn(|cx| {
            self.poll_flush(cx);
            if self.waiting.is_empty() {
                return Poll::Ready(());
            }
            Poll::Pending
        })
        .await;
    }

    /// Passes on what waits, as far as there is room; wakes the task when there is more.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) {
        while !self.waiting.is_empty() {
            let room = self
                .room
                .get_or_insert_with(|| Box::pin(self.sender.clone().reserve_owned()));
            let Poll::Ready(permit) = room.as_mut().poll(cx) else {
                return;
            };
            self.room = None;
            match (permit, self.waiting.pop_front()) {
                (Ok(permit), Some(event)) => {
                    permit.send(event);
                }
                _ => self.waiting.clear(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use model::LegId;
    use tokio::sync::mpsc;

    use super::*;

    const LEG: LegId = LegId(0);

    #[tokio::test]
    async fn what_matters_waits_for_a_slow_call_and_keeps_its_order() {
        let (sender, mut events) = mpsc::channel(1);
        let mut outlet = Outlet::new(sender);
        let signal = |n: u8| MediaEvent::Signal {
            leg: LEG,
            bytes: vec![n].into(),
        };
        for n in 0..10 {
            outlet.tell(signal(n));
            outlet.tell(MediaEvent::Muted { leg: LEG, on: true });
        }
        let mut heard = Vec::new();
        while heard.len() < 10 {
            std::future::poll_fn(|cx| {
                outlet.poll_flush(cx);
                Poll::Ready(())
            })
            .await;
            heard.push(events.recv().await.unwrap());
        }
        assert_eq!(heard, (0..10).map(signal).collect::<Vec<_>>());
        assert!(!outlet.is_broken());
    }

    #[tokio::test]
    async fn the_last_word_reaches_a_slow_call_and_waits_for_none_that_is_gone() {
        let (sender, mut events) = mpsc::channel(1);
        let mut outlet = Outlet::new(sender.clone());
        outlet.tell(MediaEvent::Connected { leg: LEG });
        outlet.tell(MediaEvent::Closed { legs: Vec::new() });
        let slow = async {
            tokio::task::yield_now().await;
            [events.recv().await, events.recv().await]
        };
        let ((), heard) = tokio::join!(outlet.flush(), slow);
        let last = MediaEvent::Closed { legs: Vec::new() };
        assert_eq!(
            heard,
            [Some(MediaEvent::Connected { leg: LEG }), Some(last)]
        );
        let mut outlet = Outlet::new(sender);
        for _ in 0..3 {
            outlet.tell(MediaEvent::Connected { leg: LEG });
        }
        drop(events);
        outlet.flush().await;
    }

    #[tokio::test]
    async fn a_call_that_never_listens_loses_its_media() {
        let (sender, _events) = mpsc::channel(1);
        let mut outlet = Outlet::new(sender);
        for _ in 0..MAX_WAITING + 2 {
            outlet.tell(MediaEvent::Connected { leg: LEG });
        }
        assert!(outlet.is_broken());
    }
}
