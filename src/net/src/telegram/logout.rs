//! Logging an account out at Telegram.

use std::sync::Arc;

use telegram::{Rpc, RpcError};

use super::errand::Errand;
use super::{Params, Storage, StorageError};

/// Telegram as it was found when the account was to be logged out; the keys are worth nothing afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoggedOut {
    /// Telegram has logged the account out now.
    Now,
    /// Telegram had done so before.
    Already,
    /// There was no key: nobody was logged in here.
    Never,
}

/// Why an account is still logged in.
#[derive(Debug, thiserror::Error)]
pub enum LogOutError {
    /// No answer.
    #[error(
        "Telegram could not be reached, so the account stays logged in and its keys are kept: try again later"
    )]
    Unreachable,
    /// Telegram refused.
    #[error("Telegram refuses to log the account out, its keys are kept: {0}")]
    Refused(RpcError),
    /// The keys cannot be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Logs the account out whose keys are in `storage` (`auth.logOut`); deleting them is the caller's part.
pub async fn log_out(params: &Params, storage: Arc<dyn Storage>) -> Result<LoggedOut, LogOutError> {
    let (errand, _) = Errand::begin(params, storage)?;
    if !errand.has_key() {
        return Ok(LoggedOut::Never);
    }
    // A key that belongs to nobody is logged out without a complaint; asking first tells the difference.
    let result = match errand.invoke(&Rpc::GetSelf).await {
        Ok(_) => errand.invoke(&Rpc::LogOut).await,
        Err(error) => Err(error),
    };
    match result {
        Ok(_) => Ok(LoggedOut::Now),
        Err(error) if telegram::error::is_unauthorized(&error) => Ok(LoggedOut::Already),
        Err(RpcError::Connection | RpcError::TimedOut) => Err(LogOutError::Unreachable),
        Err(error) => Err(LogOutError::Refused(error)),
    }
}
