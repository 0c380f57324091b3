//! How often an account may ask anything of Telegram: what Telegram orders, and a pace of our own. On disk before anybody hears of it.

use std::future::Future;
use std::time::Duration;

use actix::Context;
use metrics::LocalRefusal;
use model::{Cause, Reason};
use routing::{Errand, Group, Limiter, Refused};
use telegram::rpc::Concern;
use telegram::{Reply, RpcError};

use super::Session;
use crate::message::SaveLimits;

/// The key of the limits among what is kept of an account.
pub const LIMITS: &[u8] = b"limits";
/// How long a refusal waits for the disk to know of it.
const KEPT_WITHIN: Duration = Duration::from_secs(1);
/// How old a soft write of the keeper may be after a crash.
const SOFT: Duration = Duration::from_secs(1);
/// Between two tries to keep it.
const KEEP_AGAIN: Duration = Duration::from_millis(50);

/// Reads the limits of a session as the store has them; none if they cannot be read.
pub fn kept_limits(bytes: &[u8]) -> Limiter {
    serde_json::from_slice(bytes).unwrap_or_else(|error| {
        tracing::error!(%error, "the limits of a session cannot be read");
        Limiter::default()
    })
}

impl Session {
    /// Notes what a result orders us to wait for; true if it does.
    pub(super) fn obey(
        &mut self,
        group: Option<Group>,
        result: &Result<Reply, RpcError>,
        ctx: &mut Context<Self>,
    ) -> bool {
        let Err(error) = result else {
            return false;
        };
        let now = crate::house::steady_millis();
        if telegram::error::is_restricted(error) {
            tracing::error!(session = %self.spec.name, %error, "Telegram limits the account, for spam or because it is frozen: it places no calls for a day");
            self.limiter.restrict(now);
        } else if let (Some(group), Some(wait)) = (group, telegram::error::flood_wait(error)) {
            tracing::warn!(session = %self.spec.name, ?group, ?wait, "Telegram orders a wait");
            self.limiter.flood_wait(now, group, wait);
        } else {
            return false;
        }
        self.refresh(ctx);
        true
    }

    /// Writes the limits down; ends when they are on disk, or when that takes too long.
    pub(super) fn keep(&self) -> impl Future<Output = ()> + use<> {
        let (mut door, save) = (self.common.keeper.clone(), self.limits(true));
        let session = self.spec.name.clone();
        async move {
            let Some(SaveLimits { limits, .. }) = save else {
                return;
            };
            let name = session.clone();
            let written = async move {
                loop {
                    let keeper = match door.open() {
                        Some(keeper) => Some(keeper),
                        None => door.next().await,
                    };
                    let save = SaveLimits {
                        session: name.clone(),
                        limits: limits.clone(),
                        durable: true,
                    };
                    if let Some(keeper) = keeper
                        && keeper.send(save).await == Ok(true)
                    {
                        return;
                    }
                    tokio::time::sleep(KEEP_AGAIN).await;
                }
            };
            if tokio::time::timeout(KEPT_WITHIN, written).await.is_err() {
                tracing::error!(%session, "a wait that Telegram ordered is not on disk: a restart would forget it");
            }
        }
    }

    fn limits(&self, durable: bool) -> Option<SaveLimits> {
        let session = self.spec.name.clone();
        match serde_json::to_vec(&self.limiter) {
            Ok(limits) => Some(SaveLimits {
                session,
                limits,
                durable,
            }),
            Err(error) => {
                tracing::error!(%session, %error, "the limits of a session cannot be written");
                None
            }
        }
    }

    /// Takes a token for an errand, or says why there is none.
    pub(super) fn admit(&mut self, errand: Errand) -> Result<(), Cause> {
        let now = crate::house::steady_millis();
        self.limiter
            .take(now, &self.paces, errand)
            .map_err(|refused| self.refused(errand.group(), refused))?;
        self.note(errand);
        Ok(())
    }

    /// Gives a token back that was taken for what did not happen.
    pub(super) fn give_back(&mut self, errand: Errand) {
        self.limiter.give_back(&self.paces, errand);
        self.note(errand);
    }

    /// Writes down what is left of a bucket; nobody waits for that. A pace at which tokens come faster than a write may be late
    /// is not worth the disk.
    pub(super) fn note(&self, errand: Errand) {
        let pace = self.paces.of(errand);
        if !pace.interval.is_zero()
            && let Some(save) = self.limits(pace.interval > SOFT)
        {
            self.common.to_keeper(save);
        }
    }

    /// Counts what our own limiter refused; what the caller is told.
    pub(super) fn refused(&self, group: Group, refused: Refused) -> Cause {
        let (why, cause) = match refused {
            Refused::Bucket(left) => (LocalRefusal::Bucket, Cause::flood_wait(seconds(left))),
            Refused::FloodWait(left) => (LocalRefusal::FloodWait, Cause::flood_wait(seconds(left))),
            Refused::Restricted(_) => (LocalRefusal::Restricted, Cause::new(Reason::PeerFlood)),
        };
        let group = match group {
            Group::Call => "call",
            Group::LookUp => "resolve",
            Group::Text => "messages",
        };
        let metrics = &self.common.metrics;
        metrics.local_refusal(&self.spec.name, group, why);
        cause
    }
}

/// What is limited together.
pub(super) fn group(concern: Concern) -> Group {
    match concern {
        Concern::Call => Group::Call,
        Concern::LookUp => Group::LookUp,
        Concern::Text => Group::Text,
    }
}

/// Whole seconds, rounded up: a caller that comes back after what it was told must find us open.
fn seconds(left: Duration) -> Duration {
    Duration::from_secs(u64::try_from(left.as_millis().div_ceil(1000)).unwrap_or(u64::MAX))
}

/// The refusal that Telegram would repeat.
pub(super) fn ordered_before(refused: Refused) -> RpcError {
    let (code, name) = match refused {
        Refused::Bucket(left) | Refused::FloodWait(left) => {
            (420, format!("FLOOD_WAIT_{}", seconds(left).as_secs()))
        }
        Refused::Restricted(_) => (400, "PEER_FLOOD".to_owned()),
    };
    RpcError::Rpc { code, name }
}
