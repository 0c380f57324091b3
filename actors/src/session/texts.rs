//! What the account writes to people by itself: why their call came to nothing (product 2.14), and the owner's answer to those who
//! write (product 2.12).

use std::collections::HashMap;
use std::time::{Duration, Instant};

use actix::{Context, Handler};
use model::Cause;
use telegram::Rpc;

use super::Session;
use crate::message::NotifyUser;

/// The same text is not written to the same person again so soon.
const QUIET: Duration = Duration::from_secs(30);
/// People remembered for that; a stranger can be each of them only by an account of his own.
const REMEMBERED: usize = 1000;

/// What was written of late.
#[derive(Default)]
pub(super) struct Written(HashMap<i64, (Instant, String)>);

impl Written {
    /// Notes a text, unless this person has just had the same one.
    fn note(&mut self, now: Instant, user_id: i64, text: &str) -> bool {
        let is_late = |at: Instant| now.saturating_duration_since(at) >= QUIET;
        if self.0.len() >= REMEMBERED {
            self.0.retain(|_, (at, _)| !is_late(*at));
        }
        let is_new = match self.0.get(&user_id) {
            Some((at, last)) => last != text || is_late(*at),
            None => self.0.len() < REMEMBERED,
        };
        if is_new {
            self.0.insert(user_id, (now, text.to_owned()));
        }
        is_new
    }
}

impl Session {
    /// Tells a caller with code and phrase why nobody took the call.
    pub(super) fn notify(&mut self, user_id: i64, cause: &Cause, ctx: &mut Context<Self>) {
        if !self.common.settings.telegram.notify_errors {
            return;
        }
        self.write(user_id, cause.to_string(), ctx);
    }

    /// Answers somebody who wrote, if the owner has what people write looked at (product 2.12); no bot, for two machines would never
    /// stop.
    pub(super) fn answer(&mut self, user_id: i64, ctx: &mut Context<Self>) {
        let is_wanted = self.spec.messages_processing && !self.spec.autoreply.is_empty();
        if is_wanted && self.is_person(user_id) {
            self.write(user_id, self.spec.autoreply.clone(), ctx);
        }
    }

    /// Whether this is somebody the account has met, and no machine.
    pub(super) fn is_person(&self, user_id: i64) -> bool {
        let is_person = |user: &telegram::User| !(user.is_bot || user.is_self || user.is_deleted);
        self.user(user_id).as_deref().is_some_and(is_person)
    }

    /// Writes to somebody the account has met, when it may ask anything of Telegram just now.
    pub(super) fn write(&mut self, user_id: i64, text: String, ctx: &mut Context<Self>) {
        let user = self.user(user_id).and_then(|user| user.input());
        // One that waits or is restricted writes nothing: it could only be made to wait longer.
        let now = crate::house::steady_millis();
        let is_open = self.limiter.open(now, routing::Group::Text).is_ok();
        let can = is_open && self.state == routing::SessionState::Running;
        let Some(user) = user.filter(|_| can) else {
            tracing::debug!(session = %self.spec.name, user_id, text, "a text is not written");
            return;
        };
        if !self.written.note(Instant::now(), user_id, &text) {
            return;
        }
        let random_id = rand::random();
        let rpc = Rpc::SendMessage {
            user,
            text,
            random_id,
        };
        self.ask(rpc, ctx, move |session, result, _| {
            if let Err(error) = result {
                tracing::warn!(session = %session.spec.name, user_id, %error, "a text could not be written");
            }
        });
    }
}

impl Handler<NotifyUser> for Session {
    type Result = ();

    fn handle(&mut self, NotifyUser { user_id, cause }: NotifyUser, ctx: &mut Self::Context) {
        self.watch.handled();
        self.notify(user_id, &cause, ctx);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_text_is_written_again_after_a_while_and_another_one_at_once() {
        let (mut written, now) = (Written::default(), Instant::now());
        assert!(written.note(now, 7, "486 Busy Here"));
        assert!(!written.note(now + QUIET / 2, 7, "486 Busy Here"));
        assert!(written.note(now, 8, "486 Busy Here"), "somebody else");
        assert!(written.note(now + QUIET / 2, 7, "480 No answer"));
        assert!(!written.note(now + QUIET, 7, "480 No answer"));
        assert!(written.note(now + QUIET * 3 / 2, 7, "480 No answer"));
    }

    #[test]
    fn a_crowd_is_forgotten_in_time_and_not_answered_before() {
        let (mut written, now) = (Written::default(), Instant::now());
        for user in 0..1000 {
            assert!(written.note(now, user, "x"));
        }
        assert!(!written.note(now, 1000, "x"));
        assert!(written.note(now + QUIET, 1000, "x"));
        assert_eq!(written.0.len(), 1);
    }
}
