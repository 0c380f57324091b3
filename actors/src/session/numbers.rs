//! Numbers that people write to the account (product 2.12). The registry says what is one; here is how often it is asked, and what
//! is remembered until they call.
//!
//! ```text
//!  text --not too many--> the registry reads it --a number--> remembered, "Press the call button to dial 601" --his call--> dialled
//!                                               `--none----> the owner's answer
//! ```

use std::collections::HashMap;
use std::future::Future;
use std::time::{Duration, Instant};

use actix::{ActorFutureExt, AsyncContext, Context, Handler, WrapFuture};
use metrics::LocalRefusal;
use model::Secret;
use routing::Dialled;

use super::Session;
use crate::message::{SaveWish, Sent, TextWritten, Understood};

/// The keys of what is remembered begin so.
pub(crate) const WISHES: &[u8] = b"dial/";
/// How long a number waits for the call of who wrote it, milliseconds.
const WAITS: u64 = 600_000;
/// How long the answer waits for the disk.
const KEPT_WITHIN: Duration = Duration::from_secs(1);
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

/// What people want to be dialled when they call, and when they wrote it, Unix time in milliseconds.
#[derive(Default)]
pub(super) struct Wishes(HashMap<i64, (u64, Dialled)>);

/// A wish as it is written: who, when, what.
type Written = (i64, u64, Dialled);

impl Wishes {
    /// Remembers a number instead of the one before; whether there was room.
    fn note(&mut self, now: u64, user_id: i64, dialled: Dialled) -> bool {
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
    fn take(&mut self, now: u64, user_id: i64) -> Option<Dialled> {
        let (at, dialled) = self.0.remove(&user_id)?;
        (!is_late(now, at)).then_some(dialled)
    }
}

/// A clock that was set back makes nothing wait longer.
fn is_late(now: u64, at: u64) -> bool {
    now.abs_diff(at) >= WAITS
}

impl Session {
    /// Takes back what was wished for before; what is too old is forgotten on disk as well.
    pub(super) fn remember_wishes(&mut self, kept: Vec<Vec<u8>>) {
        let now = crate::house::steady_millis();
        for bytes in kept {
            match serde_json::from_slice::<Written>(&bytes) {
                Ok((user_id, at, dialled)) if !is_late(now, at) => {
                    self.wishes.0.insert(user_id, (at, dialled));
                }
                Ok((user_id, ..)) => self.forget_wish(user_id),
                Err(error) => {
                    tracing::error!(session = %self.spec.name, %error, "a number that somebody wrote cannot be read");
                }
            }
        }
    }

    /// What somebody who calls has written before; once.
    pub(super) fn take_wish(&mut self, user_id: i64) -> Option<Dialled> {
        let was_there = self.wishes.0.contains_key(&user_id);
        if was_there {
            self.forget_wish(user_id);
        }
        self.wishes.take(crate::house::steady_millis(), user_id)
    }

    fn forget_wish(&self, user_id: i64) {
        self.common.to_keeper(SaveWish {
            session: self.spec.name.clone(),
            user_id,
            value: None,
        });
    }

    /// Writes a wish down; ends when it is on disk, or when that takes too long.
    fn keep_wish(&self, written: &Written) -> impl Future<Output = ()> + use<> {
        let (keeper, session) = (self.common.keeper.open(), self.spec.name.clone());
        let (user_id, value) = (written.0, serde_json::to_vec(written).ok());
        async move {
            let Some(keeper) = keeper.filter(|_| value.is_some()) else {
                return;
            };
            let name = session.clone();
            let saved = keeper.send(SaveWish {
                session: name,
                user_id,
                value,
            });
            if tokio::time::timeout(KEPT_WITHIN, saved).await.is_err() {
                tracing::error!(%session, "a number that somebody wrote is not on disk: a restart would forget it");
            }
        }
    }

    /// Has a text read that somebody wrote who is in no call, if the owner wants that; else he may be answered.
    pub(super) fn read(&mut self, user_id: i64, text: &str, ctx: &mut Context<Self>) {
        let is_read = self.spec.messages_processing || self.spec.text_bridge;
        if !is_read || !self.may_write(user_id) {
            return self.answer(user_id, ctx);
        }
        self.hand_on(user_id, Secret::new(text.to_owned()), Sent::Text);
    }

    /// Whether this is a person who may call the PBX, and so may write to it.
    pub(super) fn may_write(&self, user_id: i64) -> bool {
        let writer = self.caller(user_id);
        let (username, phone) = (writer.username.as_deref(), writer.phone.as_deref());
        let may_call = self.spec.allowed_callers.allow(user_id, username, phone);
        may_call && self.is_person(user_id)
    }

    /// Hands on to the registry what somebody wrote or sent, unless that is too much of late.
    pub(super) fn hand_on(&mut self, user_id: i64, text: Secret<String>, what: Sent) {
        if !self.readings.admit(Instant::now(), user_id) {
            let metrics = &self.common.metrics;
            metrics.local_refusal(&self.spec.name, "messages", LocalRefusal::Bucket);
            tracing::debug!(session = %self.spec.name, user_id, "somebody writes too much to be read");
            return;
        }
        self.common.to_registry(TextWritten {
            session: self.spec.name.clone(),
            writer: self.caller(user_id),
            text,
            what,
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
        let now = crate::house::steady_millis();
        if !self.wishes.note(now, user_id, dialled.clone()) {
            return;
        }
        // What he is told is on disk.
        let kept = self.keep_wish(&(user_id, now, dialled));
        let told = kept.into_actor(self).map(move |(), session, ctx| {
            session.write(user_id, asked, ctx);
        });
        ctx.spawn(told);
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

    const NOW: u64 = 1_700_000_000_000;

    #[test]
    fn a_number_is_dialled_once_and_within_ten_minutes() {
        let mut wishes = Wishes::default();
        assert!(wishes.note(NOW, 7, dialled()));
        assert_eq!(wishes.take(NOW, 8), None);
        let taken = wishes.take(NOW + WAITS / 2, 7).unwrap();
        assert_eq!(taken.first(), Some("601"));
        assert_eq!(wishes.take(NOW, 7), None);
        for then in [NOW + WAITS, NOW - WAITS] {
            assert!(wishes.note(NOW, 7, dialled()));
            assert_eq!(wishes.take(then, 7), None);
        }
    }

    #[test]
    fn a_crowd_of_wishes_is_forgotten_in_time() {
        let mut wishes = Wishes::default();
        assert!((0..1000).all(|user| wishes.note(NOW, user, Dialled::default())));
        assert!(!wishes.note(NOW, 1000, Dialled::default()));
        assert!(wishes.note(NOW, 999, Dialled::default()));
        assert!(wishes.note(NOW + WAITS, 1000, Dialled::default()));
        assert_eq!(wishes.0.len(), 1);
    }

    #[test]
    fn a_wish_is_read_back_as_it_was_written() {
        let written: Written = (7, NOW, dialled());
        let json = serde_json::to_string(&written).unwrap();
        assert_eq!(json, r#"[7,1700000000000,[["office","601"]]]"#);
        assert_eq!(serde_json::from_str::<Written>(&json).unwrap(), written);
    }
}
