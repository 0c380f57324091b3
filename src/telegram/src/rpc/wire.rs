//! Requests as they are written, and results as they are read.

use grammers_tl_types as tl;
use model::Secret;
use tl::enums::{InputPrivacyKey as PrivacyKey, InputPrivacyRule as Rule};
use tl::{Deserializable, Serializable};

use super::{DecodeError, Device, InlineResult, Reply, Rpc, User};

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
