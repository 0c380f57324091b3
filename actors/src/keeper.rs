//! The keeper: the one actor in front of the store, on a thread of its own, where blocking is allowed.
//!
//! Its death ends no call: records wait in their calls, and Root starts another on the same store.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use actix::{Actor, AsyncContext, Context, Handler, MessageResult, ResponseFuture};
use model::{BanRecord, CallRecord, Cause, Direction, LegKind, Outcome};
use store::{Store, StoreError};
use tokio::sync::oneshot;

use crate::house::StoreHealth;
use crate::message::{
    CloseLost, CloseRecord, KeptSession, LoadBindings, LoadCounters, LoadSession, OpenRecord,
    SaveBans, SaveBindings, SaveCounters, SaveLimits, SaveLookUp, SaveWish, Settle,
};
use crate::supervise::Watch;

/// How often the store is measured, and flushed with a clock beside it.
const MEASURE_EVERY: std::time::Duration = std::time::Duration::from_secs(5);

/// How long the record of a call that ended waits for others, to share their flush: at two hundred calls a second the flush would
/// otherwise be most of what a call costs.
const GATHER: std::time::Duration = std::time::Duration::from_millis(10);

/// How far flushes are apart at least: each one wakes all the threads that the store has for its disk. A call that ends alone is on
/// disk 10 ms later; of many, those of a twentieth of a second go together.
const APART: std::time::Duration = std::time::Duration::from_millis(50);

/// How far wake-ups of the keeper's thread are apart at least while calls end by the dozen.
pub(crate) const BEAT: std::time::Duration = std::time::Duration::from_millis(10);

/// The keeper.
pub(crate) struct Keeper {
    store: Arc<dyn Store>,
    metrics: metrics::Metrics,
    /// Where the banned are written for firewalls.
    ban_file: Option<PathBuf>,
    /// What was written last failed.
    is_stuck: bool,
    /// When records were flushed last.
    flushed: Option<std::time::Instant>,
    /// Records that wait to be written, and who waits for that.
    gathered: Vec<(Box<CallRecord>, oneshot::Sender<bool>)>,
    work: Arc<net::Work>,
    health: Arc<StoreHealth>,
    watch: Watch,
}

impl Keeper {
    pub(crate) fn new(
        store: Arc<dyn Store>,
        metrics: metrics::Metrics,
        ban_file: Option<PathBuf>,
        (work, health): (Arc<net::Work>, Arc<StoreHealth>),
        watch: Watch,
    ) -> Self {
        Self {
            store,
            metrics,
            ban_file,
            is_stuck: false,
            flushed: None,
            gathered: Vec::new(),
            work,
            health,
            watch,
        }
    }
}

crate::supervise::watched!(Keeper);

impl Actor for Keeper {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(1024);
        crate::supervise::probe(ctx);
        self.measure();
        ctx.run_interval(MEASURE_EVERY, |keeper, _| {
            keeper.flush();
            keeper.measure();
        });
    }
}

impl Keeper {
    /// What became of a write. What is only in memory as yet does not tell that the store works, what is on the disk does.
    fn noted(
        &mut self,
        written: Result<(), StoreError>,
        is_flushed: bool,
    ) -> Result<(), StoreError> {
        if is_flushed || written.is_err() {
            self.health.note(written.is_ok());
            if written.is_ok() && self.is_stuck {
                tracing::warn!("the store is written again, and what waited for it");
            }
            self.is_stuck = written.is_err();
        }
        written
    }

    /// Flushes, and tells how long it took.
    fn flush(&mut self) -> bool {
        let begun = std::time::Instant::now();
        let flushed = self.store.flush();
        let ok = match self.noted(flushed, true) {
            Ok(()) => true,
            Err(error) => {
                tracing::error!(%error, "the store cannot be flushed");
                false
            }
        };
        let unix = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        self.metrics
            .flushed(begun.elapsed(), ok, unix.as_secs_f64());
        ok
    }

    /// Writes the records that have gathered, and tells those who wait.
    fn commit(&mut self) {
        if self.gathered.is_empty() {
            return;
        }
        let gathered = std::mem::take(&mut self.gathered);
        let records: Vec<&CallRecord> = gathered.iter().map(|(record, _)| &**record).collect();
        let written = self.store.close_calls(&records);
        let written = self.noted(written, true);
        self.flushed = Some(std::time::Instant::now());
        if let Err(error) = &written {
            tracing::error!(count = records.len(), %error, "call records could not be written");
        }
        for (_, waits) in gathered {
            self.metrics.record_written(written.is_ok());
            // A refused call waits for nothing.
            let _ = waits.send(written.is_ok());
        }
    }

    fn measure(&self) {
        if let Ok(stats) = self.store.stats() {
            self.metrics.store(
                stats.size_bytes,
                [stats.sessions, stats.trunks, stats.routes, stats.calls],
            );
            if let Some(free) = stats.free_bytes {
                self.metrics.data_disk_free(free);
            }
        }
    }
}

impl Handler<OpenRecord> for Keeper {
    type Result = ();

    fn handle(&mut self, OpenRecord { call }: OpenRecord, _: &mut Self::Context) {
        self.watch.handled();
        if let Err(error) = self.store.open_call(&call) {
            tracing::error!(call = %call.record.id, %error, "the beginning of a call could not be kept");
        }
    }
}

impl Handler<CloseRecord> for Keeper {
    type Result = ResponseFuture<bool>;

    fn handle(
        &mut self,
        CloseRecord { record }: CloseRecord,
        ctx: &mut Self::Context,
    ) -> Self::Result {
        self.watch.handled();
        let (waits, written) = oneshot::channel();
        if self.gathered.is_empty() {
            let since = self.flushed.map_or(APART, |at| at.elapsed());
            let wait = GATHER.max(APART.saturating_sub(since));
            ctx.run_later(wait, |keeper, _| keeper.commit());
        }
        self.work.come();
        self.gathered.push((record, waits));
        // A keeper that dies has written nothing: the call offers its record to the next one.
        Box::pin(async move { written.await.unwrap_or(false) })
    }
}

impl Handler<Settle> for Keeper {
    type Result = ();

    fn handle(&mut self, _: Settle, _: &mut Self::Context) {
        self.watch.handled();
        self.commit();
    }
}

impl Handler<CloseLost> for Keeper {
    type Result = ();

    fn handle(&mut self, CloseLost { call, cause }: CloseLost, _: &mut Self::Context) {
        self.watch.handled();
        self.commit();
        if let Ok(Some(record)) = self.store.call(call)
            && record.outcome.is_none()
        {
            let closed = close(record, &cause, None);
            self.metrics
                .record_written(self.store.close_calls(&[&closed]).is_ok());
        }
    }
}

impl Handler<LoadBindings> for Keeper {
    type Result = Option<Vec<u8>>;

    fn handle(
        &mut self,
        LoadBindings { trunk }: LoadBindings,
        _: &mut Self::Context,
    ) -> Self::Result {
        self.watch.handled();
        self.store
            .get(store::Space::Bindings, trunk.as_str().as_bytes())
            .unwrap_or_else(|error| {
                tracing::error!(%trunk, %error, "bindings could not be read");
                None
            })
    }
}

impl Handler<SaveBindings> for Keeper {
    type Result = ();

    fn handle(&mut self, SaveBindings { trunk, bindings }: SaveBindings, _: &mut Self::Context) {
        self.watch.handled();
        let space = store::Space::Bindings;
        let written = self
            .store
            .put_soft(space, trunk.as_str().as_bytes(), &bindings);
        if let Err(error) = self.noted(written, false) {
            tracing::error!(%trunk, %error, "bindings could not be kept");
        }
    }
}

impl Handler<LoadSession> for Keeper {
    type Result = KeptSession;

    fn handle(
        &mut self,
        LoadSession { session }: LoadSession,
        _: &mut Self::Context,
    ) -> KeptSession {
        self.watch.handled();
        let space = || store::Space::Telegram(&session);
        let limits = self.store.get(space(), crate::session::LIMITS);
        let look_ups = self.store.scan(space(), crate::session::LOOK_UPS);
        let failed = |error: &StoreError| {
            tracing::error!(%session, %error, "what a session knew could not be read");
        };
        let look_ups = look_ups.inspect_err(failed).unwrap_or_default();
        let wishes = self.store.scan(space(), crate::session::WISHES);
        let wishes = wishes.inspect_err(failed).unwrap_or_default();
        KeptSession {
            wishes: wishes.into_iter().map(|(_, value)| value).collect(),
            is_unreadable: limits.is_err(),
            limits: limits.inspect_err(failed).unwrap_or_default(),
            look_ups: look_ups.into_iter().map(|(_, value)| value).collect(),
        }
    }
}

impl Handler<LoadCounters> for Keeper {
    type Result = MessageResult<LoadCounters>;

    fn handle(&mut self, _: LoadCounters, _: &mut Self::Context) -> Self::Result {
        self.watch.handled();
        let counters = self.store.scan(store::Space::Counters, b"");
        let failed = |error: &StoreError| {
            tracing::error!(%error, "what was counted cannot be read: who has a quota is refused until it can");
        };
        MessageResult(counters.inspect_err(failed).ok())
    }
}

impl Handler<SaveCounters> for Keeper {
    type Result = ();

    fn handle(&mut self, SaveCounters { changed }: SaveCounters, _: &mut Self::Context) {
        self.watch.handled();
        for (key, value) in changed {
            let (space, at) = (store::Space::Counters, key.as_bytes());
            let written = match value {
                Some(value) => self.store.put_soft(space, at, &value),
                None => self.store.remove(space, at),
            };
            if let Err(error) = self.noted(written, false) {
                tracing::error!(%key, %error, "a counter could not be kept");
            }
        }
    }
}

impl Handler<SaveLookUp> for Keeper {
    type Result = ();

    fn handle(&mut self, save: SaveLookUp, _: &mut Self::Context) {
        self.watch.handled();
        let SaveLookUp {
            session,
            key,
            value,
        } = save;
        let (space, key) = (store::Space::Telegram(&session), key.as_bytes());
        let written = match value {
            Some(value) => self.store.put_soft(space, key, &value),
            None => self.store.remove(space, key),
        };
        if let Err(error) = written {
            tracing::error!(%session, %error, "somebody who was looked up is not remembered");
        }
    }
}

impl Handler<SaveWish> for Keeper {
    type Result = bool;

    fn handle(&mut self, save: SaveWish, _: &mut Self::Context) -> bool {
        self.watch.handled();
        let SaveWish {
            session,
            user_id,
            value,
        } = save;
        let key = [crate::session::WISHES, user_id.to_string().as_bytes()].concat();
        let space = store::Space::Telegram(&session);
        let written = match value {
            Some(value) => self.store.put_durable(space, &key, &value),
            None => self.store.remove(space, &key),
        };
        if let Err(error) = &written {
            tracing::error!(%session, %error, "a number that somebody wrote could not be kept");
        }
        written.is_ok()
    }
}

impl Handler<SaveLimits> for Keeper {
    type Result = bool;

    fn handle(&mut self, save: SaveLimits, _: &mut Self::Context) -> bool {
        self.watch.handled();
        let SaveLimits {
            session,
            limits,
            durable,
        } = save;
        let (space, key) = (store::Space::Telegram(&session), crate::session::LIMITS);
        let written = if durable {
            self.store.put_durable(space, key, &limits)
        } else {
            self.store.put_soft(space, key, &limits)
        };
        if let Err(error) = &written {
            tracing::error!(%session, %error, "the limits of a session could not be kept");
        }
        written.is_ok()
    }
}

impl Handler<SaveBans> for Keeper {
    type Result = ();

    fn handle(&mut self, SaveBans { bans }: SaveBans, _: &mut Self::Context) {
        self.watch.handled();
        if let Err(error) = store::write_bans(&*self.store, &bans) {
            tracing::error!(%error, "the bans could not be kept");
        }
        if let Some(path) = &self.ban_file
            && let Err(error) = write_list(path, &bans)
        {
            tracing::error!(path = %path.display(), %error, "the list of the banned could not be written");
        }
    }
}

/// Writes one address or network a line; whoever reads meanwhile sees the old list or the new one.
fn write_list(path: &Path, bans: &[BanRecord]) -> std::io::Result<()> {
    let text = bans.iter().fold(String::new(), |mut text, ban| {
        text.push_str(&ban.prefix.to_string());
        text.push('\n');
        text
    });
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    std::fs::write(&new, text)?;
    std::fs::rename(&new, path)
}

/// Closes the record of a call whose end nobody saw: one end for each of the two legs it must have had.
pub(crate) fn close(
    mut record: CallRecord,
    cause: &Cause,
    ended_after_ms: Option<u64>,
) -> CallRecord {
    record.outcome = Some(if record.answered_after_ms.is_some() {
        Outcome::Answered
    } else {
        cause.outcome()
    });
    record.ended_by = Some(cause.side());
    record.ended_after_ms = record
        .ended_after_ms
        .or(ended_after_ms)
        .or(record.answered_after_ms)
        .or(Some(0));
    if record.legs.is_empty() {
        let sip = |trunk: &str| crate::leg::end(LegKind::Sip, trunk.to_owned(), cause);
        let other = match record.direction {
            Direction::SipToTg | Direction::TgToSip => {
                crate::leg::end(LegKind::Telegram, record.session.clone(), cause)
            }
            Direction::SipToSip => sip(&record.to_trunk),
        };
        record.legs = vec![sip(&record.trunk), other];
    }
    record
}
