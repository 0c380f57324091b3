//! Names of requests, for logs and metrics, and what waits for them.

use telegram::Rpc;

/// Returns the request's name in Telegram's spelling.
pub fn method(rpc: &Rpc) -> &'static str {
    match rpc {
        Rpc::GetDhConfig { .. } => "getDhConfig",
        Rpc::RequestCall { .. } => "requestCall",
        Rpc::ReceivedCall { .. } => "receivedCall",
        Rpc::AcceptCall { .. } => "acceptCall",
        Rpc::ConfirmCall { .. } => "confirmCall",
        Rpc::DiscardCall { .. } => "discardCall",
        Rpc::SendSignalingData { .. } => "sendSignalingData",
        Rpc::ResolveUsername { .. } => "resolveUsername",
        Rpc::ResolvePhone { .. } => "resolvePhone",
        Rpc::ImportContact { .. } => "importContacts",
        Rpc::GetUser { .. } | Rpc::GetSelf => "getUsers",
        Rpc::GetContacts => "getContacts",
        Rpc::GetConfig => "getConfig",
        Rpc::GetState => "getState",
        Rpc::SendMessage { .. } => "sendMessage",
        Rpc::SendCode { .. } => "sendCode",
        Rpc::ResendCode { .. } => "resendCode",
        Rpc::SignIn { .. } => "signIn",
        Rpc::GetPassword => "getPassword",
        Rpc::CheckPassword { .. } => "checkPassword",
        Rpc::LogOut => "logOut",
        Rpc::GetAuthorizations => "getAuthorizations",
        Rpc::DisableCalls { .. } => "changeAuthorizationSettings",
        Rpc::AllowCalls | Rpc::AllowP2p | Rpc::RefuseInvitations => "setPrivacy",
        Rpc::ImportBotAuthorization { .. } => "importBotAuthorization",
        Rpc::ExportLoginToken { .. } => "exportLoginToken",
        Rpc::ImportLoginToken { .. } => "importLoginToken",
        Rpc::SendVerifyEmailCode { .. } => "sendVerifyEmailCode",
        Rpc::VerifyEmail { .. } => "verifyEmail",
        Rpc::RequestPasswordRecovery => "requestPasswordRecovery",
        Rpc::RecoverPassword { .. } => "recoverPassword",
    }
}

/// Who waits for a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// Somebody on the phone.
    Call,
    /// A machine, or somebody who logs in.
    Usual,
    /// Nobody here; but a telephone elsewhere rings, or is in a call, until it hears of this.
    End,
}

pub(super) fn patience(rpc: &Rpc) -> Patience {
    match rpc {
        Rpc::GetDhConfig { .. }
        | Rpc::RequestCall { .. }
        | Rpc::ReceivedCall { .. }
        | Rpc::AcceptCall { .. }
        | Rpc::ConfirmCall { .. }
        | Rpc::SendSignalingData { .. }
        | Rpc::ResolveUsername { .. }
        | Rpc::ResolvePhone { .. }
        | Rpc::ImportContact { .. }
        | Rpc::GetUser { .. } => Patience::Call,
        Rpc::DiscardCall { .. } => Patience::End,
        Rpc::GetSelf
        | Rpc::GetContacts
        | Rpc::GetConfig
        | Rpc::GetState
        | Rpc::SendMessage { .. }
        | Rpc::SendCode { .. }
        | Rpc::ResendCode { .. }
        | Rpc::SignIn { .. }
        | Rpc::GetPassword
        | Rpc::CheckPassword { .. }
        | Rpc::ImportBotAuthorization { .. }
        | Rpc::ExportLoginToken { .. }
        | Rpc::ImportLoginToken { .. }
        | Rpc::SendVerifyEmailCode { .. }
        | Rpc::VerifyEmail { .. }
        | Rpc::RequestPasswordRecovery
        | Rpc::RecoverPassword { .. }
        | Rpc::GetAuthorizations
        | Rpc::DisableCalls { .. }
        | Rpc::AllowCalls
        | Rpc::AllowP2p
        | Rpc::RefuseInvitations
        | Rpc::LogOut => Patience::Usual,
    }
}

/// Whether a request does no harm when it is carried out twice.
pub(super) fn may_repeat(rpc: &Rpc) -> bool {
    match rpc {
        Rpc::GetDhConfig { .. }
        | Rpc::ReceivedCall { .. }
        | Rpc::DiscardCall { .. }
        | Rpc::SendSignalingData { .. }
        | Rpc::ResolveUsername { .. }
        | Rpc::ResolvePhone { .. }
        | Rpc::GetUser { .. }
        | Rpc::GetSelf
        | Rpc::GetContacts
        | Rpc::GetConfig
        | Rpc::GetState
        | Rpc::GetAuthorizations
        | Rpc::DisableCalls { .. }
        | Rpc::AllowCalls
        | Rpc::AllowP2p
        | Rpc::RefuseInvitations
        | Rpc::GetPassword => true,
        Rpc::RequestCall { .. }
        | Rpc::AcceptCall { .. }
        | Rpc::ConfirmCall { .. }
        | Rpc::ImportContact { .. }
        | Rpc::SendMessage { .. }
        | Rpc::SendCode { .. }
        | Rpc::ResendCode { .. }
        | Rpc::SignIn { .. }
        | Rpc::CheckPassword { .. }
        | Rpc::ImportBotAuthorization { .. }
        | Rpc::ExportLoginToken { .. }
        | Rpc::ImportLoginToken { .. }
        | Rpc::SendVerifyEmailCode { .. }
        | Rpc::VerifyEmail { .. }
        | Rpc::RequestPasswordRecovery
        | Rpc::RecoverPassword { .. }
        | Rpc::LogOut => false,
    }
}
