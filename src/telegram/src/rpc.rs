//! What a call, a login and a session ask of Telegram, and what comes back, as plain values.
//!
//! [`Rpc::encode`] and [`Rpc::decode`] turn them into the bytes of the schema and back, so the session layer needs one
//! line: `raw_invoke_in_dc(dc, rpc.encode())`, then `rpc.decode(&bytes)`. A stand-in for Telegram answers the values
//! themselves.

mod manner;

use grammers_tl_types as tl;
use model::Secret;
use tl::enums::{InputPrivacyKey as PrivacyKey, InputPrivacyRule as Rule};
use tl::{Deserializable, Serializable};

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

impl Rpc {
    /// Returns the request as bytes of the schema.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Rpc::GetDhConfig { version } => tl::functions::messages::GetDhConfig {
                version: *version,
                random_length: 256,
            }
            .to_bytes(),
            Rpc::RequestCall {
                user,
                random_id,
                g_a_hash,
                protocol,
            } => tl::functions::phone::RequestCall {
                video: false,
                user_id: user.clone().into(),
                random_id: *random_id,
                g_a_hash: g_a_hash.clone(),
                protocol: protocol.clone().into(),
            }
            .to_bytes(),
            Rpc::ReceivedCall { peer } => tl::functions::phone::ReceivedCall {
                peer: peer.clone().into(),
            }
            .to_bytes(),
            Rpc::AcceptCall {
                peer,
                g_b,
                protocol,
            } => tl::functions::phone::AcceptCall {
                peer: peer.clone().into(),
                g_b: g_b.clone(),
                protocol: protocol.clone().into(),
            }
            .to_bytes(),
            Rpc::ConfirmCall {
                peer,
                g_a,
                key_fingerprint,
                protocol,
            } => tl::functions::phone::ConfirmCall {
                peer: peer.clone().into(),
                g_a: g_a.clone(),
                key_fingerprint: *key_fingerprint,
                protocol: protocol.clone().into(),
            }
            .to_bytes(),
            Rpc::DiscardCall {
                peer,
                duration,
                reason,
            } => tl::functions::phone::DiscardCall {
                video: false,
                peer: peer.clone().into(),
                duration: *duration,
                reason: reason.clone(),
                connection_id: 0,
            }
            .to_bytes(),
            Rpc::SendSignalingData { peer, data } => tl::functions::phone::SendSignalingData {
                peer: peer.clone().into(),
                data: data.clone(),
            }
            .to_bytes(),
            Rpc::SendMessage {
                user,
                text,
                random_id,
            } => send_message(user, text, *random_id),
            Rpc::InlineQuery { bot, user, query } => tl::functions::messages::GetInlineBotResults {
                bot: bot.clone().into(),
                peer: input_peer(user),
                geo_point: None,
                query: query.clone(),
                offset: String::new(),
            }
            .to_bytes(),
            Rpc::SendInlineResult {
                user,
                result,
                random_id,
            } => send_inline_result(user, result, *random_id),
            Rpc::ResolveUsername { .. }
            | Rpc::ResolvePhone { .. }
            | Rpc::ImportContact { .. }
            | Rpc::GetUser { .. }
            | Rpc::GetSelf => self.encode_lookup(),
            Rpc::GetContacts => tl::functions::contacts::GetContacts { hash: 0 }.to_bytes(),
            Rpc::GetConfig => tl::functions::help::GetConfig {}.to_bytes(),
            Rpc::GetState => tl::functions::updates::GetState {}.to_bytes(),
            Rpc::SendCode { .. }
            | Rpc::ResendCode { .. }
            | Rpc::SignIn { .. }
            | Rpc::GetPassword
            | Rpc::CheckPassword { .. }
            | Rpc::LogOut => self.encode_login(),
            Rpc::ImportBotAuthorization { .. }
            | Rpc::ExportLoginToken { .. }
            | Rpc::ImportLoginToken { .. }
            | Rpc::SendVerifyEmailCode { .. }
            | Rpc::VerifyEmail { .. }
            | Rpc::RequestPasswordRecovery
            | Rpc::RecoverPassword { .. } => self.encode_other_login(),
            Rpc::GetAuthorizations => tl::functions::account::GetAuthorizations {}.to_bytes(),
            Rpc::DisableCalls { hash } => tl::functions::account::ChangeAuthorizationSettings {
                confirmed: false,
                hash: *hash,
                encrypted_requests_disabled: None,
                call_requests_disabled: Some(true),
            }
            .to_bytes(),
            Rpc::AllowCalls => privacy(PrivacyKey::PhoneCall, Rule::InputPrivacyValueAllowAll),
            Rpc::AllowP2p => privacy(PrivacyKey::PhoneP2P, Rule::InputPrivacyValueAllowAll),
            Rpc::RefuseInvitations => {
                privacy(PrivacyKey::ChatInvite, Rule::InputPrivacyValueDisallowAll)
            }
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "each kind of request is written by one of these functions"
    )]
    fn encode_lookup(&self) -> Vec<u8> {
        let users = |user: tl::enums::InputUser| tl::functions::users::GetUsers { id: vec![user] };
        match self {
            Rpc::ResolveUsername { username } => tl::functions::contacts::ResolveUsername {
                username: username.clone(),
                referer: None,
            }
            .to_bytes(),
            Rpc::ResolvePhone { phone } => tl::functions::contacts::ResolvePhone {
                phone: phone.clone(),
            }
            .to_bytes(),
            Rpc::ImportContact { phone } => tl::functions::contacts::ImportContacts {
                contacts: vec![
                    tl::types::InputPhoneContact {
                        client_id: 0,
                        phone: format!("+{phone}"),
                        first_name: format!("+{phone}"),
                        last_name: String::new(),
                        note: None,
                    }
                    .into(),
                ],
            }
            .to_bytes(),
            Rpc::GetUser { user } => users(user.clone().into()).to_bytes(),
            _ => users(tl::enums::InputUser::UserSelf).to_bytes(),
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "each kind of request is written by one of these functions"
    )]
    fn encode_login(&self) -> Vec<u8> {
        match self {
            Rpc::SendCode {
                phone,
                api_id,
                api_hash,
            } => tl::functions::auth::SendCode {
                phone_number: phone.clone(),
                api_id: *api_id,
                api_hash: api_hash.expose().clone(),
                settings: tl::types::CodeSettings {
                    allow_flashcall: false,
                    current_number: false,
                    allow_app_hash: false,
                    allow_missed_call: false,
                    allow_firebase: false,
                    unknown_number: false,
                    logout_tokens: None,
                    token: None,
                    app_sandbox: None,
                }
                .into(),
            }
            .to_bytes(),
            Rpc::ResendCode {
                phone,
                phone_code_hash,
            } => tl::functions::auth::ResendCode {
                phone_number: phone.clone(),
                phone_code_hash: phone_code_hash.clone(),
                reason: None,
            }
            .to_bytes(),
            Rpc::SignIn {
                phone,
                phone_code_hash,
                code,
                by_email,
            } => tl::functions::auth::SignIn {
                phone_number: phone.clone(),
                phone_code_hash: phone_code_hash.clone(),
                phone_code: (!by_email).then(|| code.expose().clone()),
                email_verification: by_email.then(|| email_code(code)),
            }
            .to_bytes(),
            Rpc::CheckPassword { srp_id, a, m1 } => tl::functions::auth::CheckPassword {
                password: tl::types::InputCheckPasswordSrp {
                    srp_id: *srp_id,
                    a: a.clone(),
                    m1: m1.clone(),
                }
                .into(),
            }
            .to_bytes(),
            Rpc::GetPassword => tl::functions::account::GetPassword {}.to_bytes(),
            _ => tl::functions::auth::LogOut {}.to_bytes(),
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "each kind of request is written by one of these functions"
    )]
    fn encode_other_login(&self) -> Vec<u8> {
        match self {
            Rpc::ImportBotAuthorization {
                api_id,
                api_hash,
                token,
            } => tl::functions::auth::ImportBotAuthorization {
                flags: 0,
                api_id: *api_id,
                api_hash: api_hash.expose().clone(),
                bot_auth_token: token.expose().clone(),
            }
            .to_bytes(),
            Rpc::ExportLoginToken { api_id, api_hash } => tl::functions::auth::ExportLoginToken {
                api_id: *api_id,
                api_hash: api_hash.expose().clone(),
                except_ids: Vec::new(),
            }
            .to_bytes(),
            Rpc::ImportLoginToken { token } => tl::functions::auth::ImportLoginToken {
                token: token.expose().clone(),
            }
            .to_bytes(),
            Rpc::SendVerifyEmailCode {
                phone,
                phone_code_hash,
                email,
            } => tl::functions::account::SendVerifyEmailCode {
                purpose: login_setup(phone, phone_code_hash),
                email: email.expose().clone(),
            }
            .to_bytes(),
            Rpc::VerifyEmail {
                phone,
                phone_code_hash,
                code,
            } => tl::functions::account::VerifyEmail {
                purpose: login_setup(phone, phone_code_hash),
                verification: email_code(code),
            }
            .to_bytes(),
            Rpc::RecoverPassword { code } => tl::functions::auth::RecoverPassword {
                code: code.expose().clone(),
                new_settings: None,
            }
            .to_bytes(),
            _ => tl::functions::auth::RequestPasswordRecovery {}.to_bytes(),
        }
    }

    /// Reads the bytes of this request's result.
    pub fn decode(&self, bytes: &[u8]) -> Result<Reply, DecodeError> {
        Ok(match self {
            Rpc::GetDhConfig { .. } => Reply::DhConfig(read(bytes)?),
            Rpc::RequestCall { .. } | Rpc::AcceptCall { .. } | Rpc::ConfirmCall { .. } => {
                let tl::enums::phone::PhoneCall::Call(call) = read(bytes)?;
                Reply::PhoneCall(call.phone_call)
            }
            Rpc::ReceivedCall { .. } | Rpc::SendSignalingData { .. } | Rpc::DisableCalls { .. } => {
                Reply::Bool(read(bytes)?)
            }
            Rpc::DiscardCall { .. } | Rpc::SendMessage { .. } | Rpc::SendInlineResult { .. } => {
                Reply::Updates(Box::new(read(bytes)?))
            }
            Rpc::InlineQuery { .. } => {
                let tl::enums::messages::BotResults::Results(found) = read(bytes)?;
                let id = found.results.into_iter().next().map(|first| match first {
                    tl::enums::BotInlineResult::Result(result) => result.id,
                    tl::enums::BotInlineResult::BotInlineMediaResult(result) => result.id,
                });
                let query_id = found.query_id;
                Reply::InlineResult(id.map(|id| InlineResult { query_id, id }))
            }
            Rpc::ResolveUsername { .. } | Rpc::ResolvePhone { .. } => {
                let tl::enums::contacts::ResolvedPeer::Peer(resolved) = read(bytes)?;
                match resolved.peer {
                    tl::enums::Peer::User(peer) => user(resolved.users, Some(peer.user_id)),
                    tl::enums::Peer::Chat(_) | tl::enums::Peer::Channel(_) => Reply::NotAUser,
                }
            }
            Rpc::ImportContact { .. } => {
                let tl::enums::contacts::ImportedContacts::Contacts(imported) = read(bytes)?;
                match imported.imported.first() {
                    Some(tl::enums::ImportedContact::Contact(contact)) => {
                        user(imported.users, Some(contact.user_id))
                    }
                    None => Reply::Nobody,
                }
            }
            Rpc::GetUser { .. } | Rpc::GetSelf => user(read(bytes)?, None),
            Rpc::GetContacts => {
                let users = match read(bytes)? {
                    tl::enums::contacts::Contacts::Contacts(contacts) => contacts.users,
                    tl::enums::contacts::Contacts::NotModified => Vec::new(),
                };
                let users = users.iter().filter_map(|user| match user {
                    tl::enums::User::User(user) => Some(User::from(user)),
                    tl::enums::User::Empty(_) => None,
                });
                Reply::Contacts(users.collect())
            }
            Rpc::GetConfig => {
                let tl::enums::Config::Config(config) = read(bytes)?;
                Reply::Config(Box::new(config))
            }
            Rpc::GetState => {
                let tl::enums::updates::State::State(state) = read(bytes)?;
                Reply::State(state)
            }
            Rpc::SendCode { .. } | Rpc::ResendCode { .. } => {
                Reply::SentCode(Box::new(read(bytes)?))
            }
            Rpc::SignIn { .. }
            | Rpc::CheckPassword { .. }
            | Rpc::ImportBotAuthorization { .. }
            | Rpc::RecoverPassword { .. } => Reply::Authorization(Box::new(read(bytes)?)),
            Rpc::ExportLoginToken { .. } | Rpc::ImportLoginToken { .. } => {
                Reply::LoginToken(Box::new(read(bytes)?))
            }
            Rpc::SendVerifyEmailCode { .. } => {
                let tl::enums::account::SentEmailCode::Code(sent) = read(bytes)?;
                Reply::MailedCode {
                    email: sent.email_pattern,
                    length: u32::try_from(sent.length).ok(),
                }
            }
            Rpc::VerifyEmail { .. } => match read(bytes)? {
                tl::enums::account::EmailVerified::Login(verified) => {
                    Reply::SentCode(Box::new(verified.sent_code))
                }
                tl::enums::account::EmailVerified::Verified(_) => Reply::Done,
            },
            Rpc::RequestPasswordRecovery => {
                let tl::enums::auth::PasswordRecovery::Recovery(recovery) = read(bytes)?;
                Reply::MailedCode {
                    email: recovery.email_pattern,
                    length: None,
                }
            }
            Rpc::GetPassword => {
                let tl::enums::account::Password::Password(password) = read(bytes)?;
                Reply::Password(Box::new(password))
            }
            Rpc::GetAuthorizations => {
                let tl::enums::account::Authorizations::Authorizations(found) = read(bytes)?;
                Reply::Devices(found.authorizations.into_iter().map(Device::from).collect())
            }
            Rpc::LogOut | Rpc::AllowCalls | Rpc::AllowP2p | Rpc::RefuseInvitations => Reply::Done,
        })
    }
}

fn read<T: Deserializable>(bytes: &[u8]) -> Result<T, DecodeError> {
    T::from_bytes(bytes).map_err(DecodeError)
}

/// The user with this id, or the first one.
fn user(users: Vec<tl::enums::User>, id: Option<i64>) -> Reply {
    users
        .iter()
        .find_map(|user| match user {
            tl::enums::User::User(user) if id.is_none_or(|id| id == user.id) => {
                Some(Reply::User(User::from(user)))
            }
            tl::enums::User::User(_) | tl::enums::User::Empty(_) => None,
        })
        .unwrap_or(Reply::Nobody)
}

impl From<tl::enums::Authorization> for Device {
    fn from(authorization: tl::enums::Authorization) -> Self {
        let tl::enums::Authorization::Authorization(authorization) = authorization;
        Device {
            hash: authorization.hash,
            current: authorization.current,
            calls_disabled: authorization.call_requests_disabled,
        }
    }
}

/// `account.setPrivacy` with one rule for everybody.
fn privacy(key: PrivacyKey, rule: Rule) -> Vec<u8> {
    tl::functions::account::SetPrivacy {
        key,
        rules: vec![rule],
    }
    .to_bytes()
}

fn email_code(code: &Secret<String>) -> tl::enums::EmailVerification {
    tl::types::EmailVerificationCode {
        code: code.expose().clone(),
    }
    .into()
}

/// An address for the codes of this login.
fn login_setup(phone: &str, phone_code_hash: &str) -> tl::enums::EmailVerifyPurpose {
    tl::types::EmailVerifyPurposeLoginSetup {
        phone_number: phone.to_owned(),
        phone_code_hash: phone_code_hash.to_owned(),
    }
    .into()
}

fn send_message(user: &tl::types::InputUser, text: &str, random_id: i64) -> Vec<u8> {
    tl::functions::messages::SendMessage {
        no_webpage: true,
        silent: false,
        background: false,
        clear_draft: false,
        noforwards: false,
        update_stickersets_order: false,
        invert_media: false,
        allow_paid_floodskip: false,
        peer: input_peer(user),
        reply_to: None,
        message: text.to_owned(),
        random_id,
        reply_markup: None,
        entities: None,
        schedule_date: None,
        schedule_repeat_period: None,
        send_as: None,
        quick_reply_shortcut: None,
        effect: None,
        allow_paid_stars: None,
        suggested_post: None,
        rich_message: None,
    }
    .to_bytes()
}

fn send_inline_result(
    user: &tl::types::InputUser,
    result: &InlineResult,
    random_id: i64,
) -> Vec<u8> {
    tl::functions::messages::SendInlineBotResult {
        silent: false,
        background: false,
        clear_draft: false,
        hide_via: false,
        peer: input_peer(user),
        reply_to: None,
        random_id,
        query_id: result.query_id,
        id: result.id.clone(),
        schedule_date: None,
        send_as: None,
        quick_reply_shortcut: None,
        allow_paid_stars: None,
    }
    .to_bytes()
}

fn input_peer(user: &tl::types::InputUser) -> tl::enums::InputPeer {
    tl::types::InputPeerUser {
        user_id: user.user_id,
        access_hash: user.access_hash,
    }
    .into()
}

#[cfg(test)]
mod tests;
