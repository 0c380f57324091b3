//! Logging an account in: carries what the core [`telegram::login`] asks for to Telegram, and the answers back.
//!
//! Codes and passwords pass through and are kept nowhere.

use std::sync::Arc;

use grammers_session::Session;
use grammers_session::types::PeerInfo;
use grammers_session::updates::UpdatesLike;
use grammers_tl_types as tl;
use model::Secret;
use telegram::login::{Application, Ask, Login, LoginError, LoginInput, LoginOutput, renew_after};
use telegram::{Reply, Rpc, User};
use tokio::sync::mpsc;

use super::errand::Errand;
use super::harden::now;
use super::{Params, Storage, StorageError};

/// Why a login came to its end without an account.
#[derive(Debug, thiserror::Error)]
pub enum LoginFailed {
    /// Telegram, or the user.
    #[error(transparent)]
    Login(#[from] LoginError),
    /// The keys cannot be kept.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// What comes next.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// The user is asked; the answer is the next input.
    Ask(Ask),
    /// Logged in, as this account.
    Done(Box<User>),
}

/// The conversation with Telegram.
pub struct LoginConnection {
    errand: Errand,
    updates: mpsc::Receiver<UpdatesLike>,
    login: Login,
}

/// Opens a connection to log in with; the keys it makes are kept in `storage`.
pub fn begin_login(
    params: &Params,
    storage: Arc<dyn Storage>,
) -> Result<LoginConnection, StorageError> {
    let (errand, updates) = Errand::begin(params, storage)?;
    let application = Application {
        api_id: params.api_id,
        api_hash: Secret::new(params.api_hash.expose().clone()),
    };
    Ok(LoginConnection {
        errand,
        updates,
        login: Login::new(application, rand::random()),
    })
}

impl LoginConnection {
    /// Whether the key is logged in already; then there is nothing to do.
    pub async fn who(&self) -> Option<User> {
        match self.errand.invoke(&Rpc::GetSelf).await {
            Ok(Reply::User(user)) => Some(user),
            Ok(_) | Err(_) => None,
        }
    }

    /// Takes a beginning or an answer, and goes on until the user is needed or the login is over. An answer to something
    /// that was not asked is [`LoginError::Unexpected`].
    pub async fn step(&mut self, input: LoginInput) -> Result<Step, LoginFailed> {
        self.login.handle_input(input);
        loop {
            let mut request = None;
            while let Some(output) = self.login.poll_output() {
                match output {
                    LoginOutput::UseDc(dc) => self.errand.wire().migrate(dc).await?,
                    LoginOutput::Invoke(key, rpc) => request = Some((key, rpc)),
                    LoginOutput::Ask(ask) => return Ok(Step::Ask(ask)),
                    LoginOutput::Done { user } => {
                        self.remember(&user).await?;
                        return Ok(Step::Done(Box::new(user)));
                    }
                    LoginOutput::Failed(error) => return Err(error.into()),
                }
            }
            let Some((key, rpc)) = request else {
                return Err(LoginError::Unexpected.into());
            };
            let result = self.errand.invoke(&rpc).await;
            self.login.handle_input(LoginInput::Reply(key, result));
        }
    }

    /// Waits until the token of [`Ask::Scan`] was scanned, or has to be renewed; [`LoginInput::Renew`] comes next either way.
    pub async fn scanned(&mut self, expires: i32) {
        let told = async {
            while let Some(updates) = self.updates.recv().await {
                if is_login_token(&updates) {
                    return;
                }
            }
            std::future::pending().await
        };
        // Over its time or not: the next token shows what has become of it.
        let _ = tokio::time::timeout(renew_after(expires, now()), told).await;
    }

    async fn remember(&self, user: &User) -> Result<(), StorageError> {
        let me = PeerInfo::User {
            id: user.id,
            auth: None,
            bot: Some(user.is_bot),
            is_self: Some(true),
        };
        let keys = self.errand.wire().keys();
        keys.note_login(now()).await?;
        keys.cache_peer(me).await
    }
}

/// Whether somebody scanned the token.
fn is_login_token(updates: &UpdatesLike) -> bool {
    let is_token = |update: &tl::enums::Update| matches!(update, tl::enums::Update::LoginToken);
    let UpdatesLike::Updates(updates) = updates else {
        return false;
    };
    match updates {
        tl::enums::Updates::UpdateShort(short) => is_token(&short.update),
        tl::enums::Updates::Updates(updates) => updates.updates.iter().any(is_token),
        tl::enums::Updates::Combined(updates) => updates.updates.iter().any(is_token),
        _ => false,
    }
}
