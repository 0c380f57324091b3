//! Logging an account in: the code, the cloud password by SRP, and the move to the account's data centre.
//!
//! Codes and passwords pass through and are kept nowhere. The switch never signs anybody up.

use std::sync::Arc;

use grammers_crypto::two_factor_auth::{calculate_2fa, check_p_and_g};
use grammers_session::Session;
use grammers_session::types::PeerInfo;
use grammers_tl_types as tl;
use model::Secret;
use telegram::{Reply, Rpc, RpcError, User};

use super::errand::Errand;
use super::{Params, Storage, StorageError};

/// A server may send us on this often before we stop believing it.
const MOVES: usize = 3;

/// Why a login goes no further.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// The code is not the one that was sent.
    #[error("that is not the code: type the newest one you got")]
    WrongCode,
    /// The code was sent too long ago.
    #[error("the code has expired: begin again to get a new one")]
    CodeExpired,
    /// The cloud password is wrong.
    #[error("wrong password")]
    WrongPassword,
    /// Nobody has an account with this number.
    #[error(
        "there is no Telegram account with this number: make one with an app, this program never does"
    )]
    NoAccount,
    /// The number is not one.
    #[error(
        "Telegram does not take this number: write it with its country code, as in +15551234567"
    )]
    BadNumber,
    /// Too many tries.
    #[error("Telegram asks to wait {} s before the next try", .0.as_secs())]
    Wait(std::time::Duration),
    /// The account uses a way of login that is not supported yet.
    #[error("Telegram wants a way of login that is not supported yet: {0}")]
    Unsupported(&'static str),
    /// Telegram refused.
    #[error("Telegram refuses: {0}")]
    Refused(RpcError),
    /// The keys cannot be kept.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<RpcError> for LoginError {
    fn from(error: RpcError) -> Self {
        if let Some(wait) = telegram::error::flood_wait(&error) {
            return LoginError::Wait(wait);
        }
        match error.name_and_number().map(|(name, _)| name) {
            Some("PHONE_CODE_INVALID" | "PHONE_CODE_EMPTY") => LoginError::WrongCode,
            Some("PHONE_CODE_EXPIRED") => LoginError::CodeExpired,
            Some("PASSWORD_HASH_INVALID") => LoginError::WrongPassword,
            Some("PHONE_NUMBER_UNOCCUPIED") => LoginError::NoAccount,
            Some("PHONE_NUMBER_INVALID" | "PHONE_NUMBER_BANNED") => LoginError::BadNumber,
            _ => LoginError::Refused(error),
        }
    }
}

/// What follows a code that was right.
#[derive(Debug, Clone, PartialEq)]
pub enum SignedIn {
    /// Nothing: the account is logged in.
    Done(Box<User>),
    /// The cloud password.
    PasswordNeeded {
        /// The owner's hint, may be empty.
        hint: String,
    },
}

/// A connection without updates.
pub struct LoginConnection {
    params: Params,
    errand: Errand,
    phone: String,
    code_hash: String,
}

/// Opens a connection to log in with; the keys it makes are kept in `storage`.
pub fn begin_login(
    params: Params,
    storage: Arc<dyn Storage>,
    phone: &str,
) -> Result<LoginConnection, StorageError> {
    let (errand, _) = Errand::begin(&params, storage)?;
    let phone = phone.chars().filter(char::is_ascii_digit).collect();
    Ok(LoginConnection {
        params,
        errand,
        phone,
        code_hash: String::new(),
    })
}

impl LoginConnection {
    /// Carries out a request, at another data centre if Telegram says so (`PHONE_MIGRATE_n`, `USER_MIGRATE_n`).
    async fn follow(&self, rpc: &Rpc) -> Result<Reply, LoginError> {
        for _ in 0..MOVES {
            match self.errand.invoke(rpc).await {
                Err(error @ RpcError::Rpc { code: 303, .. }) => {
                    let number = error.name_and_number().and_then(|(_, number)| number);
                    let Some(dc) = number.and_then(|number| i32::try_from(number).ok()) else {
                        return Err(LoginError::Refused(error));
                    };
                    self.errand.wire().migrate(dc).await?;
                }
                result => return Ok(result?),
            }
        }
        Err(LoginError::Unsupported(
            "a data centre that always sends us on",
        ))
    }

    /// Whether the key is logged in already; then there is nothing to do.
    pub async fn who(&self) -> Option<User> {
        match self.errand.invoke(&Rpc::GetSelf).await {
            Ok(Reply::User(user)) => Some(user),
            Ok(_) | Err(_) => None,
        }
    }

    /// Asks Telegram to send a code, and says how it is sent.
    pub async fn send_code(&mut self) -> Result<&'static str, LoginError> {
        let rpc = Rpc::SendCode {
            phone: self.phone.clone(),
            api_id: self.params.api_id,
            api_hash: Secret::new(self.params.api_hash.expose().clone()),
        };
        let reply = self.follow(&rpc).await?;
        self.code_sent(reply)
    }

    /// Asks for the next way of delivery.
    pub async fn resend_code(&mut self) -> Result<&'static str, LoginError> {
        let rpc = Rpc::ResendCode {
            phone: self.phone.clone(),
            phone_code_hash: self.code_hash.clone(),
        };
        let reply = self.follow(&rpc).await?;
        self.code_sent(reply)
    }

    fn code_sent(&mut self, reply: Reply) -> Result<&'static str, LoginError> {
        let unsupported = LoginError::Unsupported("a login code that has to be paid for, or none");
        let Reply::SentCode(sent) = reply else {
            return Err(unsupported);
        };
        let tl::enums::auth::SentCode::Code(sent) = *sent else {
            return Err(unsupported);
        };
        self.code_hash = sent.phone_code_hash;
        Ok(match sent.r#type {
            tl::enums::auth::SentCodeType::App(_) => "in the Telegram app",
            tl::enums::auth::SentCodeType::Sms(_) => "by SMS",
            tl::enums::auth::SentCodeType::Call(_) => "by a call",
            _ => "to the phone",
        })
    }

    /// Hands the code in.
    pub async fn sign_in(&self, code: &Secret<String>) -> Result<SignedIn, LoginError> {
        let rpc = Rpc::SignIn {
            phone: self.phone.clone(),
            phone_code_hash: self.code_hash.clone(),
            code: Secret::new(code.expose().clone()),
        };
        match self.follow(&rpc).await {
            Ok(reply) => self
                .signed_in(reply)
                .await
                .map(|user| SignedIn::Done(Box::new(user))),
            Err(LoginError::Refused(error)) if error.is("SESSION_PASSWORD_NEEDED") => {
                let password = self.password().await?;
                Ok(SignedIn::PasswordNeeded {
                    hint: password.hint.unwrap_or_default(),
                })
            }
            Err(error) => Err(error),
        }
    }

    async fn password(&self) -> Result<Box<tl::types::account::Password>, LoginError> {
        match self.follow(&Rpc::GetPassword).await? {
            Reply::Password(password) => Ok(password),
            _ => Err(LoginError::Unsupported("a password without parameters")),
        }
    }

    /// Proves the cloud password without showing it (SRP).
    pub async fn check_password(&self, text: &Secret<String>) -> Result<User, LoginError> {
        // The parameters are good for one try.
        let password = self.password().await?;
        let unsupported = LoginError::Unsupported("a password of an unknown kind");
        let Some(tl::enums::PasswordKdfAlgo::Sha256Sha256Pbkdf2Hmacsha512iter100000Sha256ModPow(
            kdf,
        )) = &password.current_algo
        else {
            return Err(unsupported);
        };
        let (Some(srp_b), Some(srp_id)) = (password.srp_b, password.srp_id) else {
            return Err(unsupported);
        };
        if !check_p_and_g(&kdf.p, &kdf.g) {
            return Err(LoginError::Unsupported("a password with unsafe parameters"));
        }
        // Our exponent: the system's randomness, with the server's mixed in.
        let mut exponent: [u8; 256] = std::array::from_fn(|_| rand::random());
        for (ours, theirs) in exponent.iter_mut().zip(&password.secure_random) {
            *ours ^= theirs;
        }
        let (kdf, text) = (kdf.clone(), Secret::new(text.expose().clone()));
        // A hundred thousand rounds take a while.
        let work = tokio::task::spawn_blocking(move || {
            calculate_2fa(
                &kdf.salt1,
                &kdf.salt2,
                &kdf.p,
                &kdf.g,
                srp_b,
                exponent.to_vec(),
                text.expose(),
            )
        });
        let Ok((m1, a)) = work.await else {
            return Err(unsupported);
        };
        let rpc = Rpc::CheckPassword {
            srp_id,
            a: a.to_vec(),
            m1: m1.to_vec(),
        };
        let reply = self.follow(&rpc).await?;
        self.signed_in(reply).await
    }

    async fn signed_in(&self, reply: Reply) -> Result<User, LoginError> {
        let Reply::Authorization(authorization) = reply else {
            return Err(LoginError::Unsupported(
                "an authorization of an unknown kind",
            ));
        };
        let tl::enums::auth::Authorization::Authorization(authorization) = *authorization else {
            return Err(LoginError::NoAccount);
        };
        let tl::enums::User::User(user) = authorization.user else {
            return Err(LoginError::NoAccount);
        };
        let user = User::from(&user);
        let me = PeerInfo::User {
            id: user.id,
            auth: None,
            bot: Some(user.is_bot),
            is_self: Some(true),
        };
        self.errand.wire().keys().cache_peer(me).await?;
        Ok(user)
    }
}
