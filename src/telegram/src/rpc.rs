//! What a call, a login and a session ask of Telegram, and what comes back, as plain values.
//!
//! [`Rpc::encode`] and [`Rpc::decode`] turn them into the bytes of the schema and back, so the session layer needs one
//! line: `raw_invoke_in_dc(dc, rpc.encode())`, then `rpc.decode(&bytes)`. A stand-in for Telegram answers the values
//! themselves.

mod manner;
mod wire;

use grammers_tl_types as tl;
use model::Secret;

pub use manner::{Concern, Manner, Patience};

/// One request.
#[derive(Debug, Clone, PartialEq)]
pub enum Rpc {
    /// `messages.getDhConfig`; answered by [`Reply::DhConfig`].
    GetDhConfig {
        /// The version known, or 0.
        version: i32,
    },
    /// `phone.requestCall`; answered by [`Reply::PhoneCall`].
    RequestCall {
        /// Whom to call.
        user: tl::types::InputUser,
        /// Makes a repeated request harmless.
        random_id: i32,
        /// SHA-256 of the `g_a` that is shown later.
        g_a_hash: Vec<u8>,
        /// What we speak.
        protocol: tl::types::PhoneCallProtocol,
    },
    /// `phone.receivedCall`; answered by [`Reply::Bool`].
    ReceivedCall {
        /// The call.
        peer: tl::types::InputPhoneCall,
    },
    /// `phone.acceptCall`; answered by [`Reply::PhoneCall`].
    AcceptCall {
        /// The call.
        peer: tl::types::InputPhoneCall,
        /// Our half of the key agreement.
        g_b: Vec<u8>,
        /// What we speak.
        protocol: tl::types::PhoneCallProtocol,
    },
    /// `phone.confirmCall`; answered by [`Reply::PhoneCall`].
    ConfirmCall {
        /// The call.
        peer: tl::types::InputPhoneCall,
        /// Our half of the key agreement.
        g_a: Vec<u8>,
        /// The fingerprint of the key.
        key_fingerprint: i64,
        /// What we speak.
        protocol: tl::types::PhoneCallProtocol,
    },
    /// `phone.discardCall`; answered by [`Reply::Updates`], which belong to the update handler.
    DiscardCall {
        /// The call.
        peer: tl::types::InputPhoneCall,
        /// Whole seconds since media was up, 0 before.
        duration: i32,
        /// Why.
        reason: tl::enums::PhoneCallDiscardReason,
    },
    /// `phone.sendSignalingData`; answered by [`Reply::Bool`].
    SendSignalingData {
        /// The call.
        peer: tl::types::InputPhoneCall,
        /// One packet.
        data: Vec<u8>,
    },
    /// `contacts.resolveUsername`; answered by [`Reply::User`] or [`Reply::NotAUser`].
    ResolveUsername {
        /// Without `@`.
        username: String,
    },
    /// `contacts.resolvePhone`; answered by [`Reply::User`] or [`Reply::NotAUser`].
    ResolvePhone {
        /// Digits without `+`.
        phone: String,
    },
    /// `contacts.importContacts` of one number; answered by [`Reply::User`] or [`Reply::Nobody`].
    ImportContact {
        /// Digits without `+`.
        phone: String,
    },
    /// `users.getUsers` of one user; answered by [`Reply::User`] or [`Reply::Nobody`].
    GetUser {
        /// The user; its access hash must be known.
        user: tl::types::InputUser,
    },
    /// `users.getUsers` of the account itself; answered by [`Reply::User`].
    GetSelf,
    /// `contacts.getContacts`; answered by [`Reply::Contacts`].
    GetContacts,
    /// `help.getConfig`; answered by [`Reply::Config`].
    GetConfig,
    /// `updates.getState`, a sign of life; answered by [`Reply::State`].
    GetState,
    /// `messages.sendMessage` of plain text to a user; answered by [`Reply::Updates`].
    SendMessage {
        /// The chat.
        user: tl::types::InputUser,
        /// The text.
        text: String,
        /// Makes a repeated request harmless.
        random_id: i64,
    },
    /// `messages.getInlineBotResults`; answered by [`Reply::InlineResult`].
    InlineQuery {
        /// The bot.
        bot: tl::types::InputUser,
        /// The chat in which it is asked.
        user: tl::types::InputUser,
        /// What it is asked.
        query: String,
    },
    /// `messages.sendInlineBotResult` to a user; answered by [`Reply::Updates`].
    SendInlineResult {
        /// The chat.
        user: tl::types::InputUser,
        /// The result.
        result: InlineResult,
        /// Makes a repeated request harmless.
        random_id: i64,
    },
    /// `auth.sendCode`; answered by [`Reply::SentCode`].
    SendCode {
        /// Digits without `+`.
        phone: String,
        /// The application.
        api_id: i32,
        /// The application's secret.
        api_hash: Secret<String>,
    },
    /// `auth.resendCode`; answered by [`Reply::SentCode`].
    ResendCode {
        /// Digits without `+`.
        phone: String,
        /// From the code sent before.
        phone_code_hash: String,
    },
    /// `auth.signIn`; answered by [`Reply::Authorization`].
    SignIn {
        /// Digits without `+`.
        phone: String,
        /// From the code sent.
        phone_code_hash: String,
        /// What the user typed.
        code: Secret<String>,
        /// Whether the code came by e-mail.
        by_email: bool,
    },
    /// `auth.importBotAuthorization`; answered by [`Reply::Authorization`].
    ImportBotAuthorization {
        /// The application.
        api_id: i32,
        /// The application's secret.
        api_hash: Secret<String>,
        /// The bot's token.
        token: Secret<String>,
    },
    /// `auth.exportLoginToken`; answered by [`Reply::LoginToken`].
    ExportLoginToken {
        /// The application.
        api_id: i32,
        /// The application's secret.
        api_hash: Secret<String>,
    },
    /// `auth.importLoginToken`, at the data centre of whoever scanned it; answered by [`Reply::LoginToken`].
    ImportLoginToken {
        /// From `auth.loginTokenMigrateTo`.
        token: Secret<Vec<u8>>,
    },
    /// `account.sendVerifyEmailCode` of a login; answered by [`Reply::MailedCode`].
    SendVerifyEmailCode {
        /// Digits without `+`.
        phone: String,
        /// From the code sent.
        phone_code_hash: String,
        /// The address that is to get login codes.
        email: Secret<String>,
    },
    /// `account.verifyEmail` of a login; answered by [`Reply::SentCode`].
    VerifyEmail {
        /// Digits without `+`.
        phone: String,
        /// From the code sent.
        phone_code_hash: String,
        /// What was mailed.
        code: Secret<String>,
    },
    /// `auth.requestPasswordRecovery`; answered by [`Reply::MailedCode`].
    RequestPasswordRecovery,
    /// `auth.recoverPassword` without a new password; answered by [`Reply::Authorization`].
    RecoverPassword {
        /// What was mailed.
        code: Secret<String>,
    },
    /// `account.getPassword`; answered by [`Reply::Password`].
    GetPassword,
    /// `auth.checkPassword`; answered by [`Reply::Authorization`].
    CheckPassword {
        /// From [`Reply::Password`].
        srp_id: i64,
        /// Our half of the proof.
        a: Vec<u8>,
        /// The proof.
        m1: Vec<u8>,
    },
    /// `auth.logOut`; answered by [`Reply::Done`].
    LogOut,
    /// `account.getAuthorizations`; answered by [`Reply::Devices`].
    GetAuthorizations,
    /// `account.changeAuthorizationSettings`: calls no longer ring on this device; answered by [`Reply::Bool`].
    DisableCalls {
        /// The device.
        hash: i64,
    },
    /// `account.setPrivacy`: everybody may call; answered by [`Reply::Done`].
    AllowCalls,
    /// `account.setPrivacy`: everybody's media may come directly; answered by [`Reply::Done`].
    AllowP2p,
    /// `account.setPrivacy`: nobody adds the account to groups; answered by [`Reply::Done`].
    RefuseInvitations,
}

/// The result of one request.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// Parameters of the key agreement.
    DhConfig(tl::enums::messages::DhConfig),
    /// A call object.
    PhoneCall(tl::enums::PhoneCall),
    /// Yes or no.
    Bool(bool),
    /// Updates to be fed to the update handler.
    Updates(Box<tl::enums::Updates>),
    /// A user.
    User(User),
    /// The name belongs to a channel or a group.
    NotAUser,
    /// Nobody has this number.
    Nobody,
    /// The first result of a bot, if it has any.
    InlineResult(Option<InlineResult>),
    /// The people in the account's contacts.
    Contacts(Vec<User>),
    /// The server's settings.
    Config(Box<tl::types::Config>),
    /// Where the update stream is.
    State(tl::types::updates::State),
    /// Where a login code went.
    SentCode(Box<tl::enums::auth::SentCode>),
    /// A login that went through, or a number without an account.
    Authorization(Box<tl::enums::auth::Authorization>),
    /// A token to be scanned, or what came of it.
    LoginToken(Box<tl::enums::auth::LoginToken>),
    /// A code was mailed.
    MailedCode {
        /// To this address, with stars in it.
        email: String,
        /// How many characters it has, if Telegram says.
        length: Option<u32>,
    },
    /// The parameters of the cloud password.
    Password(Box<tl::types::account::Password>),
    /// Where the account is logged in.
    Devices(Vec<Device>),
    /// Done, without a result worth keeping.
    Done,
}

/// One result of an inline bot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InlineResult {
    /// The query.
    pub query_id: i64,
    /// Which of its results.
    pub id: String,
}

/// One login of the account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Names it in requests; 0 for our own.
    pub hash: i64,
    /// Whether it is our own.
    pub current: bool,
    /// Whether calls do not ring there.
    pub calls_disabled: bool,
}

/// What is known about one Telegram user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The user id.
    pub id: i64,
    /// The hash without which it cannot be addressed; absent for users seen in passing.
    pub access_hash: Option<i64>,
    /// Whether it is the account itself.
    pub is_self: bool,
    /// Whether it is a bot, which cannot be called.
    pub is_bot: bool,
    /// Whether the account was deleted.
    pub is_deleted: bool,
    /// The first name, may be empty.
    pub first_name: String,
    /// The last name, may be empty.
    pub last_name: String,
    /// The username, without `@`.
    pub username: Option<String>,
    /// The phone number, if it is shown to us; digits without `+`.
    pub phone: Option<String>,
}

impl User {
    /// Returns how to address the user in requests.
    pub fn input(&self) -> Option<tl::types::InputUser> {
        self.access_hash.map(|access_hash| tl::types::InputUser {
            user_id: self.id,
            access_hash,
        })
    }
}

impl From<&tl::types::User> for User {
    fn from(user: &tl::types::User) -> Self {
        let active = user.usernames.iter().flatten().find_map(|name| {
            let tl::enums::Username::Username(name) = name;
            name.active.then(|| name.username.clone())
        });
        User {
            id: user.id,
            access_hash: user.access_hash.filter(|_| !user.min),
            is_self: user.is_self,
            is_bot: user.bot,
            is_deleted: user.deleted,
            first_name: user.first_name.clone().unwrap_or_default(),
            last_name: user.last_name.clone().unwrap_or_default(),
            username: user.username.clone().or(active),
            phone: user.phone.clone(),
        }
    }
}

/// Why a request has no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RpcError {
    /// Telegram refused.
    #[error("{code} {name}")]
    Rpc {
        /// Like an HTTP status; 303 and 420 have meanings of their own.
        code: i32,
        /// The complete name with its number, such as `FLOOD_WAIT_17`.
        name: String,
    },
    /// No result in time.
    #[error("no result in time")]
    TimedOut,
    /// The connection broke before the result came.
    #[error("the connection broke")]
    Connection,
}

impl RpcError {
    /// Returns the name and the number of a name that ends in one, as in `FLOOD_WAIT_17`.
    pub fn name_and_number(&self) -> Option<(&str, Option<u32>)> {
        let RpcError::Rpc { name, .. } = self else {
            return None;
        };
        let parts = name.rsplit_once('_').and_then(|(head, tail)| {
            let number = tail.parse().ok()?;
            Some((head, Some(number)))
        });
        Some(parts.unwrap_or((name, None)))
    }

    /// Returns whether the name, without its number, is this one.
    pub fn is(&self, wanted: &str) -> bool {
        self.name_and_number()
            .is_some_and(|(name, _)| name == wanted)
    }
}

/// The bytes of a result are not what the schema promises.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("a result does not read as its type: {0}")]
pub struct DecodeError(tl::deserialize::Error);

#[cfg(test)]
mod tests;
