//! One call of a player, as seen from outside.

use std::sync::Arc;
use std::time::{Duration, Instant};

use model::Codec;
use tokio::sync::watch;

use super::talk::Audio;

/// How far a call has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// It was asked for.
    Started,
    /// It rings.
    Ringing,
    /// It was answered; media flows.
    Talking,
    /// It is over.
    Over,
}

/// How a call ended, as the player was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// The SIP status, or that of the cause; 200 after a conversation.
    pub code: u16,
    /// The phrase.
    pub phrase: String,
    /// The value of Retry-After, if there was one.
    pub retry_after: Option<String>,
}

/// What is known about a call.
#[derive(Debug, Clone)]
pub struct Status {
    /// How far it has come.
    pub phase: Phase,
    /// When it was asked for.
    pub started: Instant,
    /// When ringing was heard, or began.
    pub ringing: Option<Instant>,
    /// When it was answered and media could flow.
    pub talking: Option<Instant>,
    /// The codec in use.
    pub codec: Option<Codec>,
    /// The keys that came, of a phone that agreed on telephone-events.
    pub keys: String,
    /// What was said and heard, once it is over.
    pub audio: Option<Arc<Audio>>,
    /// How it ended.
    pub end: Option<End>,
}

/// One call of a player.
#[derive(Clone)]
pub struct Line {
    status: watch::Receiver<Status>,
    hang_up: Arc<dyn Fn() + Send + Sync>,
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Line").field(&self.status()).finish()
    }
}

impl Line {
    /// The line, and the board on which its player writes.
    pub(super) fn new(hang_up: impl Fn() + Send + Sync + 'static) -> (Self, Board) {
        let (board, status) = watch::channel(Status {
            phase: Phase::Started,
            started: Instant::now(),
            ringing: None,
            talking: None,
            codec: None,
            keys: String::new(),
            audio: None,
            end: None,
        });
        let line = Self {
            status,
            hang_up: Arc::new(hang_up),
        };
        (line, Board(board))
    }

    /// Returns what is known now.
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// The player hangs up, or declines.
    pub fn hang_up(&self) {
        (self.hang_up)();
    }

    /// Waits until the call has come this far, or further; an error is what was known when the time was over.
    pub async fn reaches(&self, phase: Phase, within: Duration) -> Result<Status, Box<Status>> {
        self.comes_to(|status| status.phase >= phase, within).await
    }

    /// Waits until so many keys have come, or more; an error is what was known when the time was over.
    pub async fn gets_keys(&self, many: usize, within: Duration) -> Result<Status, Box<Status>> {
        self.comes_to(|status| status.keys.len() >= many, within)
            .await
    }

    async fn comes_to(
        &self,
        is_so: impl FnMut(&Status) -> bool,
        within: Duration,
    ) -> Result<Status, Box<Status>> {
        let mut status = self.status.clone();
        match tokio::time::timeout(within, status.wait_for(is_so)).await {
            Ok(Ok(status)) => Ok(status.clone()),
            Ok(Err(_)) | Err(_) => Err(Box::new(self.status())),
        }
    }
}

/// Where a player writes how its call goes.
#[derive(Clone)]
pub(super) struct Board(watch::Sender<Status>);

impl Board {
    pub(super) fn ringing(&self) {
        self.0.send_modify(|status| {
            status.phase = status.phase.max(Phase::Ringing);
            status.ringing.get_or_insert_with(Instant::now);
        });
    }

    pub(super) fn talking(&self, codec: Codec) {
        self.0.send_modify(|status| {
            status.phase = status.phase.max(Phase::Talking);
            status.talking.get_or_insert_with(Instant::now);
            status.codec = Some(codec);
        });
    }

    pub(super) fn key(&self, key: char) {
        self.0.send_modify(|status| status.keys.push(key));
    }

    pub(super) fn over(&self, end: End, audio: Option<Audio>) {
        self.0.send_modify(|status| {
            if status.phase != Phase::Over {
                status.phase = Phase::Over;
                status.end = Some(end);
                status.audio = audio.map(Arc::new);
            }
        });
    }
}
