//! What an owner does with a session's account, or a trunk, while the switch runs, beside changing its record.

use std::time::Duration;

use model::{SessionName, TrunkName};
use net::telegram::{Action, HardenError, Hardened};

use super::{CLOSING, House};
use crate::message::{EndCallsOf, Reconnect, Retire, Unplug};

impl House {
    /// Begins anew with a trunk, which registers, or asks whether its peer is there, at once; its calls go on, and who is registered stays
    /// so. False when there is none that is on, nothing when the registry does not answer.
    pub async fn reconnect(&self, trunk: TrunkName) -> Option<bool> {
        self.ask(Reconnect { trunk }).await
    }

    /// Ends the calls of a session; each says its last words by itself. False when the registry does not answer.
    pub async fn end_calls_of(&self, session: &SessionName) -> bool {
        let session = session.clone();
        self.ask(EndCallsOf { session }).await.is_some()
    }

    /// Closes the connection of a session and forgets it: its keys are others now, and the next [`House::apply`] connects it with them.
    /// Takes as long as a connection may take to close, 10 s.
    pub async fn unplug(&self, session: &SessionName) {
        if let Some(registry) = self.common.registry.open() {
            let session = session.clone();
            // Twice as long: first the session says goodbye.
            let asked = tokio::time::timeout(CLOSING * 2, registry.send(Unplug { session }));
            if asked.await.is_ok_and(|answer| answer.is_ok()) {
                return;
            }
        }
        // There is no registry just now. The session must not live to see the next one: it would be taken for one that has its connection.
        let link = self.common.sessions.get(session);
        if let Some(actor) = link.and_then(|link| link.door.door().open()) {
            let is_succeeded = false;
            let retired = actor.send(Retire { is_succeeded });
            let _ = tokio::time::timeout(CLOSING, retired).await;
        }
        self.common.sessions.close(session).await;
    }

    /// Makes these settings of an account at Telegram over the connection that its session has; none when it has none. What Telegram
    /// refuses to a fresh login is tried once more a day after the login; `retry_after` replaces that day in tests.
    pub async fn harden(
        &self,
        session: &SessionName,
        actions: Vec<Action>,
        retry_after: Option<Duration>,
    ) -> Option<Result<Hardened, HardenError>> {
        let link = self.common.sessions.get(session)?;
        Some(link.client.harden(actions, retry_after).await)
    }
}
