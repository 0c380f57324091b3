//! How each request is treated: the one table of all of them.

use super::Rpc;

/// What a request counts for at Telegram, when that is something to be limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Concern {
    /// Placing and taking calls.
    Call,
    /// Finding people.
    LookUp,
    /// Writing to them.
    Text,
}

/// Who waits for a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// Somebody on the phone.
    Call,
    /// A machine, or somebody who logs in.
    Usual,
    /// Nobody here; but a telephone elsewhere rings, or is in a call, until it hears of this.
    End,
}

/// How a request is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Manner {
    /// Its name in Telegram's spelling, for logs and metrics.
    pub method: &'static str,
    /// What it counts for.
    pub concern: Option<Concern>,
    /// Who waits for it.
    pub patience: Patience,
    /// Whether it does no harm when it is carried out twice.
    pub may_repeat: bool,
}

/// Part of a call.
const fn call(method: &'static str) -> Manner {
    Manner {
        method,
        concern: Some(Concern::Call),
        patience: Patience::Call,
        may_repeat: false,
    }
}

/// Finds somebody to be called.
const fn look_up(method: &'static str) -> Manner {
    Manner {
        concern: Some(Concern::LookUp),
        ..call(method)
    }
}

/// Writes to somebody.
const fn write(method: &'static str) -> Manner {
    Manner {
        concern: Some(Concern::Text),
        ..usual(method)
    }
}

/// Anything else.
const fn usual(method: &'static str) -> Manner {
    Manner {
        method,
        concern: None,
        patience: Patience::Usual,
        may_repeat: false,
    }
}

impl Manner {
    const fn repeated(self) -> Self {
        Self {
            may_repeat: true,
            ..self
        }
    }
}

impl Rpc {
    /// Returns how this request is treated.
    pub fn manner(&self) -> Manner {
        match self {
            Rpc::GetDhConfig { .. } => call("getDhConfig").repeated(),
            Rpc::RequestCall { .. } => call("requestCall"),
            Rpc::ReceivedCall { .. } => call("receivedCall").repeated(),
            Rpc::AcceptCall { .. } => call("acceptCall"),
            Rpc::ConfirmCall { .. } => call("confirmCall"),
            Rpc::DiscardCall { .. } => Manner {
                patience: Patience::End,
                ..call("discardCall").repeated()
            },
            Rpc::SendSignalingData { .. } => call("sendSignalingData").repeated(),
            Rpc::ResolveUsername { .. } => look_up("resolveUsername").repeated(),
            Rpc::ResolvePhone { .. } => look_up("resolvePhone").repeated(),
            Rpc::ImportContact { .. } => look_up("importContacts"),
            Rpc::GetUser { .. } => look_up("getUsers").repeated(),
            Rpc::GetSelf => usual("getUsers").repeated(),
            Rpc::GetContacts => usual("getContacts").repeated(),
            Rpc::GetConfig => usual("getConfig").repeated(),
            Rpc::GetState => usual("getState").repeated(),
            Rpc::SendMessage { .. } => write("sendMessage"),
            Rpc::InlineQuery { .. } => write("getInlineBotResults").repeated(),
            Rpc::SendInlineResult { .. } => write("sendInlineBotResult"),
            Rpc::SendCode { .. } => usual("sendCode"),
            Rpc::ResendCode { .. } => usual("resendCode"),
            Rpc::SignIn { .. } => usual("signIn"),
            Rpc::GetPassword => usual("getPassword").repeated(),
            Rpc::CheckPassword { .. } => usual("checkPassword"),
            Rpc::LogOut => usual("logOut"),
            Rpc::GetAuthorizations => usual("getAuthorizations").repeated(),
            Rpc::DisableCalls { .. } => usual("changeAuthorizationSettings").repeated(),
            Rpc::AllowCalls | Rpc::AllowP2p | Rpc::RefuseInvitations => {
                usual("setPrivacy").repeated()
            }
            Rpc::ImportBotAuthorization { .. } => usual("importBotAuthorization"),
            Rpc::ExportLoginToken { .. } => usual("exportLoginToken"),
            Rpc::ImportLoginToken { .. } => usual("importLoginToken"),
            Rpc::SendVerifyEmailCode { .. } => usual("sendVerifyEmailCode"),
            Rpc::VerifyEmail { .. } => usual("verifyEmail"),
            Rpc::RequestPasswordRecovery => usual("requestPasswordRecovery"),
            Rpc::RecoverPassword { .. } => usual("recoverPassword"),
        }
    }
}
