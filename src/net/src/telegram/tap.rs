//! The tap between the connection and the update stream: call updates are taken out before the stream can hold them back.
//!
//! They have no pts, but inside a container they share its `seq`: on a gap the stream keeps the whole container back and
//! `getDifference` never returns signalling. Reading here never waits, so the connection's own channel never overflows.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use grammers_session::updates::UpdatesLike;
use grammers_tl_types as tl;
use model::Secret;
use telegram::attachment;
use tokio::sync::mpsc;

use super::Event;
use super::people::People;

/// Call updates waiting for the account's actor: far more than all its calls can have under way.
pub(super) const EVENTS: usize = 4096;
/// People told in one event.
const PEOPLE_AT_ONCE: usize = 256;

/// Hands events on without ever waiting.
#[derive(Clone)]
pub(super) struct Outlet {
    events: mpsc::Sender<Event>,
    people: Arc<People>,
    lost: Arc<AtomicU64>,
    metrics: metrics::Metrics,
}

impl Outlet {
    pub(super) fn new(
        events: mpsc::Sender<Event>,
        people: Arc<People>,
        metrics: metrics::Metrics,
    ) -> Self {
        Self {
            events,
            people,
            lost: Arc::default(),
            metrics,
        }
    }

    pub(super) fn tell(&self, event: Event) {
        if let Err(mpsc::error::TrySendError::Full(event)) = self.events.try_send(event) {
            let lost = self.lost.fetch_add(1, Ordering::Relaxed) + 1;
            self.metrics.update_lost();
            // A session that stands still would fill the log as well.
            if lost.is_power_of_two() {
                tracing::error!(lost, ?event, "an update is lost: the session takes no more");
            }
        }
    }

    /// Tells of everybody met before.
    pub(super) fn introduce(&self) {
        for users in self.people.all().chunks(PEOPLE_AT_ONCE) {
            self.tell(Event::Users(users.to_vec()));
        }
    }

    /// Tells of those people about whom something is new.
    pub(super) fn meet(&self, users: &[tl::enums::User]) {
        let users = self.people.learn_all(users);
        if !users.is_empty() {
            self.tell(Event::Users(users));
        }
    }

    /// Tells of a phone call, if the update is about one.
    pub(super) fn update(&self, update: &tl::enums::Update) -> bool {
        match update {
            tl::enums::Update::PhoneCall(update) => {
                self.tell(Event::PhoneCall(Box::new(update.phone_call.clone())));
            }
            tl::enums::Update::PhoneCallSignalingData(update) => {
                self.tell(Event::Signaling {
                    phone_call_id: update.phone_call_id,
                    data: update.data.clone(),
                });
            }
            _ => return false,
        }
        true
    }

    /// Tells of a text that somebody wrote, or of what he sent instead; not of what he passed on or corrected. Asked of the update
    /// stream alone, which has each message once and in order.
    pub(super) fn message(&self, update: &tl::enums::Update) {
        let tl::enums::Update::NewMessage(update) = update else {
            return;
        };
        let tl::enums::Message::Message(message) = &update.message else {
            return;
        };
        let tl::enums::Peer::User(user) = &message.peer_id else {
            return;
        };
        if message.out || message.fwd_from.is_some() {
            return;
        }
        let (user_id, date, text) = (user.user_id, message.date, &message.message);
        let media = message.media.as_ref();
        if let Some(line) = media.and_then(|media| attachment::describe(media, text)) {
            let line = Secret::new(line);
            self.tell(Event::Attachment {
                user_id,
                date,
                line,
            });
        } else if !text.is_empty() {
            let text = Secret::new(text.clone());
            self.tell(Event::Text {
                user_id,
                date,
                text,
            });
        }
    }

    /// Tells of calls and people, and returns what is left for the update stream.
    fn sort(&self, mut like: UpdatesLike) -> Option<UpdatesLike> {
        let UpdatesLike::Updates(updates) = &mut like else {
            return Some(like);
        };
        let (users, updates) = match updates {
            tl::enums::Updates::UpdateShort(short) => {
                return (!self.update(&short.update)).then_some(like);
            }
            tl::enums::Updates::Combined(all) => (&all.users, &mut all.updates),
            tl::enums::Updates::Updates(all) => (&all.users, &mut all.updates),
            tl::enums::Updates::TooLong
            | tl::enums::Updates::UpdateShortMessage(_)
            | tl::enums::Updates::UpdateShortChatMessage(_)
            | tl::enums::Updates::UpdateShortSentMessage(_) => return Some(like),
        };
        self.meet(users);
        // In order: a call is offered before it is discarded. The container itself goes on, for its number.
        updates.retain(|update| !self.update(update));
        Some(like)
    }
}

/// Reads the connection's channel until it closes; says on `broken` when the connection was lost.
pub(super) async fn run(
    mut from: mpsc::Receiver<UpdatesLike>,
    outlet: Outlet,
    rest: mpsc::Sender<UpdatesLike>,
    broken: mpsc::Sender<()>,
) {
    while let Some(update) = from.recv().await {
        if matches!(update, UpdatesLike::ConnectionClosed) {
            let _ = broken.try_send(());
        }
        // What the stream misses it fetches again by itself.
        if let Some(update) = outlet.sort(update)
            && rest.try_send(update).is_err()
        {
            tracing::debug!("the update stream takes no more");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::MemoryStorage;
    use super::*;

    fn outlet() -> (Outlet, mpsc::Receiver<Event>) {
        let (events, receiver) = mpsc::channel(EVENTS);
        let people = People::load(MemoryStorage::new()).unwrap();
        let metrics = metrics::Metrics::new("test");
        (Outlet::new(events, Arc::new(people), metrics), receiver)
    }

    fn signal(data: u8) -> tl::enums::Update {
        tl::types::UpdatePhoneCallSignalingData {
            phone_call_id: 5,
            data: vec![data],
        }
        .into()
    }

    fn container(updates: Vec<tl::enums::Update>) -> UpdatesLike {
        UpdatesLike::Updates(tl::enums::Updates::Updates(tl::types::Updates {
            updates,
            users: Vec::new(),
            chats: Vec::new(),
            date: 1,
            seq: 99,
        }))
    }

    #[tokio::test]
    async fn phone_updates_leave_a_container_in_order_and_the_rest_goes_on() {
        let (outlet, mut events) = outlet();
        let call = tl::types::UpdatePhoneCall {
            phone_call: tl::types::PhoneCallEmpty { id: 5 }.into(),
        };
        let updates = vec![call.into(), tl::enums::Update::Config, signal(1)];
        let rest = outlet.sort(container(updates));
        let Some(UpdatesLike::Updates(tl::enums::Updates::Updates(rest))) = rest else {
            panic!("the container is gone");
        };
        assert_eq!(
            (rest.updates, rest.seq),
            (vec![tl::enums::Update::Config], 99)
        );
        assert!(matches!(events.try_recv(), Ok(Event::PhoneCall(_))));
        assert!(matches!(events.try_recv(), Ok(Event::Signaling { .. })));
    }

    #[tokio::test]
    async fn a_short_update_is_either_a_call_or_goes_on() {
        let (outlet, mut events) = outlet();
        let short = |update| {
            let short = tl::types::UpdateShort { update, date: 0 };
            UpdatesLike::Updates(tl::enums::Updates::UpdateShort(short))
        };
        assert!(outlet.sort(short(signal(2))).is_none());
        assert!(events.try_recv().is_ok());
        assert!(outlet.sort(short(tl::enums::Update::Config)).is_some());
        assert!(events.try_recv().is_err());
    }

    #[tokio::test]
    async fn a_burst_of_signalling_fits_and_what_does_not_is_counted() {
        let (outlet, _events) = outlet();
        for _ in 0..EVENTS + 3 {
            outlet.sort(container(vec![signal(1)]));
        }
        assert_eq!(outlet.lost.load(Ordering::Relaxed), 3);
    }
}
