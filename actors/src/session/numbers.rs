//! Numbers that people write to the account (product 2.12). The registry says what is one; here is how often it is asked, and what
//! is remembered until they call.
//!
//! ```text
//!  text --not too many--> the registry reads it --a number--> remembered, "Press the call button to dial 601" --his call--> dialled
//!                                               `--none----> the owner's answer
//! ```

use std::collections::HashMap;
use std::time::{Duration, Instant};

use actix::{Context, Handler};
use metrics::LocalRefusal;
use model::Secret;
use routing::Dialled;

use super::Session;
use crate::message::{TextWritten, Understood};

/// How long a number waits for the call of who wrote it.
const WAITS: Duration = Duration::from_secs(600);
/// Texts of one person that are read in a minute; more than anybody dials.
const A_MINUTE: u32 = 10;
const MINUTE: Duration = Duration::from_secs(60);
/// People remembered for either; a stranger can be each of them only by an account of his own.
const REMEMBERED: usize = 1000;

/// Who wrote how much of late.
#[derive(Default)]
pub(super) struct Readings(HashMap<i64, (Instant, u32)>);

impl Readings {
    /// Whether one more text of this person is read.
    fn admit(&mut self, now: Instant, user_id: i64) -> bool {
        let is_over = |at: Instant| now.saturating_duration_since(at) >= MINUTE;
        if self.0.len() >= REMEMBERED {
            self.0.retain(|_, (at, _)| !is_over(*at));
        }
        if self.0.len() >= REMEMBERED && !self.0.contains_key(&user_id) {
            return false;
        }
        let (since, count) = self.0.entry(user_id).or_insert((now, 0));
        if is_over(*since) {
            (*since, *count) = (now, 0);
        }
        *count += 1;
        *count <= A_MINUTE
    }
}

/// What people want to be dialled when they call.
#[derive(Default)]
pub(super) struct Wishes(HashMap<i64, (Instant, Dialled)>);

impl Wishes {
    /// Remembers a number instead of the one before; whether there was room.
    fn note(&mut self, now: Instant, user_id: i64, dialled: Dialled) -> bool {
        if self.0.len() >= REMEMBERED {
            self.0.retain(|_, (at, _)| !is_late(now, *at));
        }
        if self.0.len() >= REMEMBERED && !self.0.contains_key(&user_id) {
            return false;
        }
        self.0.insert(user_id, (now, dialled));
        true
    }

    /// Takes what is to be dialled for a call that has come.
    pub(super) fn take(&mut self, now: Instant, user_id: i64) -> Option<Dialled> {
        let (at, dialled) = self.0.remove(&user_id)?;
        (!is_late(now, at)).then_some(dialled)
    }
}

fn is_late(now: Instant, at: Instant) -> bool {
    now.saturating_duration_since(at) >= WAITS
}

impl Session {
    /// Has a text read that somebody wrote who is in no call, if the owner wants that; else he may be answered.
    pub(super) fn read(&mut self, user_id: i64, text: &str, ctx: &mut Context<Self>) {
        let writer = self.caller(user_id);
        let (username, phone) = (writer.username.as_deref(), writer.phone.as_deref());
        let may_call = self.spec.allowed_callers.allow(user_id, username, phone);
        let is_read = self.spec.messages_processing || self.spec.text_bridge;
        if !is_read || !may_call || !self.is_person(user_id) {
            return self.answer(user_id, ctx);
        }
        if !self.readings.admit(Instant::now(), user_id) {
            let metrics = &self.common.metrics;
            metrics.local_refusal(&self.spec.name, "messages", LocalRefusal::Bucket);
            tracing::debug!(session = %self.spec.name, user_id, "somebody writes too much to be read");
            return;
        }
        self.common.to_registry(TextWritten {
            session: self.spec.name.clone(),
            writer,
            text: Secret::new(text.to_owned()),
        });
    }
}

impl Handler<Understood> for Session {
    type Result = ();

    fn handle(&mut self, understood: Understood, ctx: &mut Self::Context) {
        self.watch.handled();
        let Understood {
            user_id,
            text,
            dialled,
        } = understood;
        let Some(number) = dialled.first() else {
            self.ask_bot(user_id, &text, ctx);
            return self.answer(user_id, ctx);
        };
        let asked = format!("Press the call button to dial {number}");
        if self.wishes.note(Instant::now(), user_id, dialled) {
            self.write(user_id, asked, ctx);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_much_is_read_in_a_minute_of_each() {
        let (mut readings, now) = (Readings::default(), Instant::now());
        let mut read = |at, user| (0..20).filter(|_| readings.admit(at, user)).count();
        assert_eq!(read(now, 7), 10);
        assert_eq!(read(now, 8), 10);
        assert_eq!(read(now + MINUTE / 2, 7), 0);
        assert_eq!(read(now + MINUTE, 7), 10);
    }

    #[test]
    fn a_crowd_is_read_no_more_until_its_minute_is_over() {
        let (mut readings, now) = (Readings::default(), Instant::now());
        assert!((0..1000).all(|user| readings.admit(now, user)));
        assert!(!readings.admit(now, 1000));
        assert!(readings.admit(now, 999), "somebody known is");
        assert!(readings.admit(now + MINUTE, 1000));
        assert_eq!(readings.0.len(), 1);
    }

    fn dialled() -> Dialled {
        let number = ("office".parse().unwrap(), "601".to_owned());
        [number].into_iter().collect()
    }

    #[test]
    fn a_number_is_dialled_once_and_within_ten_minutes() {
        let (mut wishes, now) = (Wishes::default(), Instant::now());
        assert!(wishes.note(now, 7, dialled()));
        assert_eq!(wishes.take(now, 8), None);
        let taken = wishes.take(now + WAITS / 2, 7).unwrap();
        assert_eq!(taken.first(), Some("601"));
        assert_eq!(wishes.take(now, 7), None);
        assert!(wishes.note(now, 7, dialled()));
        assert_eq!(wishes.take(now + WAITS, 7), None);
    }

    #[test]
    fn a_crowd_of_wishes_is_forgotten_in_time() {
        let (mut wishes, now) = (Wishes::default(), Instant::now());
        assert!((0..1000).all(|user| wishes.note(now, user, Dialled::default())));
        assert!(!wishes.note(now, 1000, Dialled::default()));
        assert!(wishes.note(now, 999, Dialled::default()));
        assert!(wishes.note(now + WAITS, 1000, Dialled::default()));
        assert_eq!(wishes.0.len(), 1);
    }
}
