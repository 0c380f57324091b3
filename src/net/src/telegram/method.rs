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
        Rpc::GetConfig => "getConfig",
        Rpc::GetState => "getState",
        Rpc::SendMessage { .. } => "sendMessage",
        Rpc::SendCode { .. } => "sendCode",
        Rpc::ResendCode { .. } => "resendCode",
        Rpc::SignIn { .. } => "signIn",
        Rpc::GetPassword => "getPassword",
        Rpc::CheckPassword { .. } => "checkPassword",
        Rpc::LogOut => "logOut",
    }
}
