//! Numbers on both sides: what the PBX dialled, and what it is shown.

use model::{Cause, Peer, Reason};

/// What Telegram reveals of a caller.
#[derive(Clone, Copy, Debug, Default)]
pub struct CallerIdentity<'a> {
    /// Digits without `+`, if shown to us.
    pub phone: Option<&'a str>,
    /// Primary username without `@`.
    pub username: Option<&'a str>,
    /// The user id.
    pub user_id: i64,
    /// First and last name.
    pub name: &'a str,
}

/// Returns whom the PBX dialled: the user part of the Request-URI, or of To when the Request-URI names the trunk's own login.
pub fn called_peer(request_user: &str, to_user: &str, login: Option<&str>) -> Result<Peer, Cause> {
    let dialled = if login == Some(request_user) {
        to_user
    } else {
        request_user
    };
    Peer::from_dialled(dialled.trim()).map_err(|_| Cause::new(Reason::NotFound))
}

/// Returns the user part of From by the default rules: `+{phone}`, else `{username}`, else `0{userid}`.
pub fn caller_id(caller: &CallerIdentity<'_>) -> String {
    match (caller.phone, caller.username) {
        (Some(phone), _) => format!("+{phone}"),
        (None, Some(username)) => username.to_owned(),
        (None, None) => format!("0{}", caller.user_id),
    }
}

/// Returns the display name by the default rules: `+{phone} ({name_ascii})`, `@{username} ({name_ascii})`, `{name_ascii}`.
pub fn caller_name(caller: &CallerIdentity<'_>) -> Option<String> {
    let name: String = deunicode::deunicode(caller.name.trim())
        .chars()
        .filter(|c| (' '..='~').contains(c) && !matches!(c, '"' | '\\'))
        .take(100)
        .collect();
    let name = name.trim();
    if name.is_empty() {
        return None;
    }
    Some(match (caller.phone, caller.username) {
        (Some(phone), _) => format!("+{phone} ({name})"),
        (None, Some(username)) => format!("@{username} ({name})"),
        (None, None) => name.to_owned(),
    })
}
