//! The tap between the connection and the update stream: call updates are taken out before the stream can hold them back.
//!
//! They have no pts, but inside a container they share its `seq`: on a gap the stream keeps the whole container back and
//! `getDifference` never returns signalling. Reading here never waits, so the connection's own channel never overflows.

use grammers_session::updates::UpdatesLike;
use grammers_tl_types as tl;
use telegram::User;
use tokio::sync::mpsc;

use super::Event;

/// Call updates waiting for the account's actor: far more than all its calls can have under way.
pub(super) const EVENTS: usize = 4096;

/// Hands events on without ever waiting.
#[derive(Clone)]
pub(super) struct Outlet {
    events: mpsc::Sender<Event>,
}

impl Outlet {
    pub(super) fn new(events: mpsc::Sender<Event>) -> Self {
        Self { events }
    }

    pub(super) fn tell(&self, event: Event) {
        if let Err(mpsc::error::TrySendError::Full(event)) = self.events.try_send(event) {
            tracing::error!(?event, "an update is lost: the session takes no more");
        }
    }

    /// Tells what an update object holds of calls and people.
    pub(super) fn tap(&self, updates: &tl::enums::Updates) {
        match updates {
            tl::enums::Updates::UpdateShort(short) => self.update(&short.update),
            tl::enums::Updates::Combined(all) => self.container(&all.users, &all.updates),
            tl::enums::Updates::Updates(all) => self.container(&all.users, &all.updates),
            tl::enums::Updates::TooLong
            | tl::enums::Updates::UpdateShortMessage(_)
            | tl::enums::Updates::UpdateShortChatMessage(_)
            | tl::enums::Updates::UpdateShortSentMessage(_) => {}
        }
    }

    fn container(&self, users: &[tl::enums::User], updates: &[tl::enums::Update]) {
        self.users(users);
        for update in updates {
            self.update(update);
        }
    }

    pub(super) fn users(&self, users: &[tl::enums::User]) {
        let users: Vec<User> = users
            .iter()
            .filter_map(|user| match user {
                tl::enums::User::User(user) => Some(User::from(user)),
                tl::enums::User::Empty(_) => None,
            })
            .collect();
        if !users.is_empty() {
            self.tell(Event::Users(users));
        }
    }

    pub(super) fn update(&self, update: &tl::enums::Update) {
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
            _ => {}
        }
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
        match &update {
            UpdatesLike::Updates(updates) => outlet.tap(updates),
            UpdatesLike::ConnectionClosed => {
                let _ = broken.try_send(());
            }
            _ => {}
        }
        // What the stream misses it fetches again by itself.
        if rest.try_send(update).is_err() {
            tracing::debug!("the update stream takes no more");
        }
    }
}
