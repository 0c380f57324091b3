//! The four settings of an account (product 2.3), and the second try of those that Telegram refuses to a fresh login.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use telegram::harden::{Action, Harden, HardenOutput, Outcome};
use telegram::{Reply, Rpc, RpcError};

use super::errand::Errand;
use super::link::Wire;
use super::session::Keys;
use super::{Params, Storage, StorageError};

/// Telegram lets a login touch other devices when it is a day old; five minutes more for clocks that differ.
const A_DAY: i64 = 24 * 60 * 60 + 5 * 60;
/// Nobody sleeps longer than this without a look at the clock, which may have been set.
const NAP: Duration = Duration::from_secs(600);

/// What is tried again, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// Unix time in seconds.
    pub due: i64,
    /// Which settings.
    pub actions: Vec<Action>,
}

/// What is known of an account's login without asking Telegram.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// When it was logged in, Unix time in seconds.
    pub since: Option<i64>,
    /// What is tried again.
    pub pending: Option<Pending>,
}

/// What became of the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hardened {
    /// Each with its outcome.
    pub outcomes: Vec<(Action, Outcome)>,
    /// What the switch tries again by itself when it runs then.
    pub pending: Option<Pending>,
}

/// Why nothing was set.
#[derive(Debug, thiserror::Error)]
pub enum HardenError {
    /// There is no key, or Telegram does not accept it any more.
    #[error("the account is not logged in")]
    LoggedOut,
    /// No answer.
    #[error("Telegram could not be reached: nothing was changed")]
    Unreachable,
    /// The keys cannot be read or kept.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Reads what is known of the login whose keys are in `storage`.
pub fn standing(storage: Arc<dyn Storage>) -> Result<Standing, StorageError> {
    Ok(Keys::load(storage, None)?.standing())
}

/// Makes these settings at Telegram. What it refuses to a fresh login is tried once more, by the running switch, a day after the
/// login; `retry_after` replaces that day in tests.
pub async fn harden(
    params: &Params,
    storage: Arc<dyn Storage>,
    actions: &[Action],
    retry_after: Option<Duration>,
) -> Result<Hardened, HardenError> {
    let (errand, _) = Errand::begin(params, storage)?;
    if !errand.has_key() {
        return Err(HardenError::LoggedOut);
    }
    match errand.invoke(&Rpc::GetSelf).await {
        Err(RpcError::Connection | RpcError::TimedOut) => return Err(HardenError::Unreachable),
        Err(error) if telegram::error::is_unauthorized(&error) => {
            return Err(HardenError::LoggedOut);
        }
        Ok(_) | Err(RpcError::Rpc { .. }) => {}
    }
    let outcomes = carry_out(actions, async |rpc| errand.invoke(&rpc).await).await;
    settle(errand.wire().keys(), actions, outcomes, retry_after).await
}

/// The same over the connection of the account itself, which asks by `ask` and tries again by [`catch_up`].
pub(super) async fn harden_over<F>(
    keys: &Keys,
    actions: &[Action],
    retry_after: Option<Duration>,
    ask: impl Fn(Rpc) -> F,
) -> Result<Hardened, HardenError>
where
    F: Future<Output = Result<Reply, RpcError>>,
{
    let outcomes = carry_out(actions, ask).await;
    let is_silence = |(_, outcome): &(Action, Outcome)| {
        matches!(
            outcome,
            Outcome::Failed(RpcError::Connection | RpcError::TimedOut)
        )
    };
    if !outcomes.is_empty() && outcomes.iter().all(is_silence) {
        return Err(HardenError::Unreachable);
    }
    settle(keys, actions, outcomes, retry_after).await
}

/// Notes what is to be tried again.
async fn settle(
    keys: &Keys,
    actions: &[Action],
    outcomes: Vec<(Action, Outcome)>,
    retry_after: Option<Duration>,
) -> Result<Hardened, HardenError> {
    let (now, standing) = (now(), keys.standing());
    let due = match retry_after {
        Some(wait) => now.saturating_add(i64::try_from(wait.as_secs()).unwrap_or(i64::MAX)),
        None => due(standing.since, now),
    };
    let mut again = standing.pending.map_or(Vec::new(), |known| known.actions);
    again.retain(|known| !actions.contains(known));
    again.extend(with(&outcomes, |outcome| *outcome == Outcome::TooFresh));
    let pending = Pending {
        due,
        actions: again,
    };
    keys.note_hardening(pending).await?;
    Ok(Hardened {
        outcomes,
        pending: keys.standing().pending,
    })
}

/// Does in time what was refused to a fresh login, as long as the connection lasts.
pub(super) async fn catch_up(wire: Wire, deadline: Duration) {
    while let Some(pending) = wire.keys().standing().pending {
        let left = pending.due.saturating_sub(now());
        if left > 0 {
            tokio::time::sleep(NAP.min(Duration::from_secs(left.unsigned_abs()))).await;
            continue;
        }
        let outcomes = carry_out(&pending.actions, async |rpc| {
            tokio::time::timeout(deadline, wire.invoke(&rpc))
                .await
                .map_err(|_| RpcError::TimedOut)?
        })
        .await;
        for (action, outcome) in &outcomes {
            match outcome {
                Outcome::Done => tracing::info!(?action, "the account is hardened at last"),
                Outcome::TooFresh => {
                    tracing::warn!(?action, "Telegram still finds the login too fresh");
                }
                Outcome::Failed(error) => {
                    tracing::warn!(?action, %error, "the account is not hardened");
                }
            }
        }
        // Only who got no answer is tried once more.
        let actions = with(&outcomes, unanswered);
        let left = actions.len();
        let pending = Pending {
            due: pending.due,
            actions,
        };
        if let Err(error) = wire.keys().note_hardening(pending).await {
            tracing::error!(%error, "what was hardened is not remembered");
            return;
        }
        if left > 0 {
            tokio::time::sleep(NAP).await;
        }
    }
}

fn unanswered(outcome: &Outcome) -> bool {
    let Outcome::Failed(error) = outcome else {
        return false;
    };
    matches!(error, RpcError::Connection | RpcError::TimedOut)
        || telegram::error::flood_wait(error).is_some()
}

fn with(outcomes: &[(Action, Outcome)], which: impl Fn(&Outcome) -> bool) -> Vec<Action> {
    let found = outcomes.iter().filter(|(_, outcome)| which(outcome));
    found.map(|(action, _)| *action).collect()
}

async fn carry_out<F>(actions: &[Action], ask: impl Fn(Rpc) -> F) -> Vec<(Action, Outcome)>
where
    F: Future<Output = Result<Reply, RpcError>>,
{
    let mut harden = Harden::new(actions);
    let mut outcomes = Vec::new();
    while let Some(output) = harden.poll_output() {
        match output {
            HardenOutput::Invoke(key, rpc) => harden.handle_reply(key, ask(rpc).await),
            HardenOutput::Outcome(action, outcome) => outcomes.push((action, outcome)),
        }
    }
    outcomes
}

/// A day after the login; a login of unknown age is taken for a new one, and so is one that Telegram still finds fresh.
fn due(since: Option<i64>, now: i64) -> i64 {
    let due = since.unwrap_or(now).saturating_add(A_DAY);
    if due > now {
        due
    } else {
        now.saturating_add(A_DAY)
    }
}

pub(super) fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| i64::try_from(now.as_secs()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::super::testing::MemoryStorage;
    use super::*;

    #[test]
    fn a_second_try_comes_a_day_after_the_login() {
        assert_eq!(due(Some(1000), 2000), 1000 + A_DAY);
        assert_eq!(due(None, 2000), 2000 + A_DAY);
        assert_eq!(due(Some(1000), 1_000_000), 1_000_000 + A_DAY);
    }

    #[tokio::test]
    async fn what_is_pending_is_found_again_and_forgotten_when_done() {
        let storage: Arc<dyn Storage> = MemoryStorage::new();
        assert_eq!(standing(Arc::clone(&storage)).unwrap(), Standing::default());
        let keys = Keys::load(Arc::clone(&storage), None).unwrap();
        let mut pending = Pending {
            due: 7,
            actions: vec![Action::CallsHereOnly],
        };
        keys.note_login(5).await.unwrap();
        keys.note_hardening(pending.clone()).await.unwrap();
        let found = standing(Arc::clone(&storage)).unwrap();
        assert_eq!(
            (found.since, found.pending),
            (Some(5), Some(pending.clone()))
        );
        pending.actions.clear();
        keys.note_hardening(pending).await.unwrap();
        assert_eq!(standing(storage).unwrap().pending, None);
    }

    #[test]
    fn only_silence_is_tried_again() {
        let rpc = |code, name: &str| {
            Outcome::Failed(RpcError::Rpc {
                code,
                name: name.to_owned(),
            })
        };
        assert!(unanswered(&Outcome::Failed(RpcError::Connection)));
        assert!(unanswered(&rpc(420, "FLOOD_WAIT_30")));
        assert!(!unanswered(&rpc(400, "PRIVACY_KEY_INVALID")));
        assert!(!unanswered(&Outcome::TooFresh));
        assert!(!unanswered(&Outcome::Done));
    }
}
