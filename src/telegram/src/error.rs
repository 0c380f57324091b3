//! What Telegram's refusals and end reasons mean to the other leg (product 10.7, telegram-calls 4.3 and 4.4).

use std::time::Duration;

use grammers_tl_types::enums::PhoneCallDiscardReason as Discard;
use model::{Cause, Reason};

use crate::rpc::RpcError;

/// The names that decide alone; a trailing `*` stands for the rest of the name.
const NAMES: &[(&str, Reason)] = &[
    ("USER_PRIVACY_RESTRICTED", Reason::UserPrivacyRestricted),
    ("USER_IS_BLOCKED", Reason::UserIsBlocked),
    ("USER_BLOCKED", Reason::UserIsBlocked),
    ("PHONE_NOT_OCCUPIED", Reason::NotFound),
    ("PHONE_NUMBER_INVALID", Reason::NotFound),
    ("INPUT_USER_DEACTIVATED", Reason::NotFound),
    ("CHAT_ID_INVALID", Reason::ChatNotFound),
    ("USERNAME_INVALID", Reason::UsernameNotOccupied),
    ("USERNAME_NOT_OCCUPIED", Reason::UsernameNotOccupied),
    ("USER_ID_INVALID", Reason::AnonymousUser),
    ("PEER_ID_INVALID", Reason::AnonymousUser),
    ("USER_BOT_INVALID", Reason::NotAUser),
    ("PARTICIPANT_VERSION_OUTDATED", Reason::VersionOutdated),
    ("CALL_PROTOCOL_*", Reason::CallProtocol),
    ("PEER_FLOOD", Reason::PeerFlood),
    // 420 or 400: Telegram has frozen the account, which may appeal.
    ("FROZEN_*", Reason::PeerFlood),
    ("AUTH_KEY_*", Reason::SessionNotRunning),
    ("SESSION_REVOKED", Reason::SessionNotRunning),
    ("SESSION_EXPIRED", Reason::SessionNotRunning),
    ("USER_DEACTIVATED*", Reason::SessionNotRunning),
    ("PHONE_NUMBER_BANNED", Reason::SessionNotRunning),
    ("TIMEOUT", Reason::RpcTimeout),
    ("Timeout", Reason::RpcTimeout),
];

/// Returns what a failed request means for the call it was made for.
pub fn cause(error: &RpcError) -> Cause {
    match error {
        RpcError::TimedOut => Reason::RpcTimeout.into(),
        RpcError::Connection => Reason::SessionNotRunning.into(),
        RpcError::Rpc { name, .. } => match flood_wait(error) {
            Some(wait) => Cause::flood_wait(wait),
            None => Cause::telegram(reason(name), name),
        },
    }
}

/// Returns how long Telegram wants to be left alone, if that is what it said.
pub fn flood_wait(error: &RpcError) -> Option<Duration> {
    let RpcError::Rpc { code, name } = error else {
        return None;
    };
    if is_restricted(error) {
        return None; // no wait of seconds helps
    }
    let limited = *code == 420
        || *code == 429
        || name.starts_with("FLOOD_WAIT")
        || name.starts_with("FLOOD_PREMIUM_WAIT");
    let number = name.rsplit(['_', ' ']).next()?.parse().ok();
    limited.then(|| Duration::from_secs(number.unwrap_or(60)))
}

/// Returns whether Telegram limits the account itself: for spam, or frozen.
pub fn is_restricted(error: &RpcError) -> bool {
    let RpcError::Rpc { name, .. } = error else {
        return false;
    };
    reason(name) == Reason::PeerFlood
}

/// Returns whether the account is logged out, or gone, for good.
pub fn is_unauthorized(error: &RpcError) -> bool {
    let RpcError::Rpc { code, name } = error else {
        return false;
    };
    let asked_for_password = name == "SESSION_PASSWORD_NEEDED";
    !asked_for_password && (*code == 401 || reason(name) == Reason::SessionNotRunning)
}

fn reason(name: &str) -> Reason {
    let matches = |pattern: &str| match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == pattern,
    };
    NAMES
        .iter()
        .find(|(pattern, _)| matches(pattern))
        .map_or(Reason::TelegramError, |(_, reason)| *reason)
}

/// How far a call had come when the peer or the server discarded it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// We called and nobody has answered, or media is not up yet.
    Calling,
    /// We were called and have not answered.
    Called,
    /// We have answered, or media is up.
    Talking,
}

/// Returns what a received discard means.
pub fn discarded(stage: Stage, reason: Option<&Discard>) -> Cause {
    let reason = match (stage, reason) {
        (Stage::Calling, Some(Discard::Busy)) => Reason::UserDeclined,
        (Stage::Calling, Some(Discard::Disconnect)) => Reason::TemporarilyUnavailable,
        (Stage::Calling, Some(Discard::Missed | Discard::Hangup)) => Reason::NoAnswer,
        (Stage::Calling, Some(Discard::MigrateConferenceCall(_)) | None) => Reason::NoAnswer,
        (Stage::Called, Some(Discard::Missed | Discard::Hangup)) => Reason::CallerGaveUp,
        (Stage::Called, Some(Discard::Disconnect)) => Reason::CallerGaveUp,
        (Stage::Called, Some(Discard::MigrateConferenceCall(_))) => Reason::CallerGaveUp,
        // The caller never sends Busy, and the server gives no reason when another device took the call.
        (Stage::Called, Some(Discard::Busy) | None) => Reason::AnsweredElsewhere,
        (Stage::Talking, Some(Discard::Disconnect)) => Reason::MediaLost,
        (Stage::Talking, Some(Discard::Hangup | Discard::Busy | Discard::Missed)) => {
            Reason::NormalClearing
        }
        (Stage::Talking, Some(Discard::MigrateConferenceCall(_)) | None) => Reason::NormalClearing,
    };
    reason.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: i32, name: &str) -> RpcError {
        RpcError::Rpc {
            code,
            name: name.to_owned(),
        }
    }

    #[test]
    fn every_row_of_the_table_gets_its_code_and_phrase() {
        let rows = [
            (
                403,
                "USER_PRIVACY_RESTRICTED",
                "403 USER_PRIVACY_RESTRICTED",
            ),
            (403, "USER_IS_BLOCKED", "403 USER_IS_BLOCKED"),
            (400, "USER_BLOCKED", "403 USER_IS_BLOCKED"),
            (400, "PHONE_NOT_OCCUPIED", "404 Not Found"),
            (400, "INPUT_USER_DEACTIVATED", "404 Not Found"),
            (400, "CHAT_ID_INVALID", "404 Chat not found"),
            (400, "USER_BOT_INVALID", "404 Not a user"),
            (400, "USERNAME_INVALID", "404 USERNAME_NOT_OCCUPIED"),
            (400, "USERNAME_NOT_OCCUPIED", "404 USERNAME_NOT_OCCUPIED"),
            (400, "USER_ID_INVALID", "470 Anonymous user"),
            (400, "PEER_ID_INVALID", "470 Anonymous user"),
            (
                400,
                "PARTICIPANT_VERSION_OUTDATED",
                "488 PARTICIPANT_VERSION_OUTDATED",
            ),
            (
                406,
                "CALL_PROTOCOL_COMPAT_LAYER_INVALID",
                "488 CALL_PROTOCOL_COMPAT_LAYER_INVALID",
            ),
            (
                400,
                "CALL_PROTOCOL_FLAGS_INVALID",
                "488 CALL_PROTOCOL_FLAGS_INVALID",
            ),
            (
                400,
                "CALL_PROTOCOL_LAYER_INVALID",
                "488 CALL_PROTOCOL_LAYER_INVALID",
            ),
            (400, "CALL_PEER_INVALID", "500 CALL_PEER_INVALID"),
            (500, "CALL_OCCUPY_FAILED", "500 CALL_OCCUPY_FAILED"),
            (400, "CALL_ALREADY_ACCEPTED", "500 CALL_ALREADY_ACCEPTED"),
            (
                420,
                "FLOOD_WAIT_17",
                "503 Too Many Requests: retry after 17",
            ),
            (
                420,
                "FLOOD_PREMIUM_WAIT_3",
                "503 Too Many Requests: retry after 3",
            ),
            (
                429,
                "Too Many Requests: retry after 9",
                "503 Too Many Requests: retry after 9",
            ),
            (420, "FLOOD", "503 Too Many Requests: retry after 60"),
            (400, "PEER_FLOOD", "503 PEER_FLOOD"),
            (420, "FROZEN_METHOD_INVALID", "503 PEER_FLOOD"),
            (400, "FROZEN_PARTICIPANT_MISSING", "503 PEER_FLOOD"),
            (401, "AUTH_KEY_UNREGISTERED", "503 Session is not running"),
            (401, "SESSION_REVOKED", "503 Session is not running"),
            (401, "USER_DEACTIVATED_BAN", "503 Session is not running"),
            (-503, "Timeout", "408 Timeout of waiting RPC result"),
            (500, "SOMETHING_NEW", "500 SOMETHING_NEW"),
        ];
        for (code, name, expected) in rows {
            let cause = cause(&error(code, name));
            assert_eq!(cause.to_string(), expected, "{name}");
            assert!(cause.telegram_error().is_some(), "{name}");
        }
        let timed_out = cause(&RpcError::TimedOut).to_string();
        assert_eq!(timed_out, "408 Timeout of waiting RPC result");
        let broken = cause(&RpcError::Connection).to_string();
        assert_eq!(broken, "503 Session is not running");
    }

    #[test]
    fn an_account_that_is_limited_or_frozen_is_not_told_to_wait_for_seconds() {
        for (code, name, limited) in [
            (400, "PEER_FLOOD", true),
            (420, "FROZEN_METHOD_INVALID", true),
            (420, "FLOOD", false),
            (420, "FLOOD_WAIT_3", false),
        ] {
            let error = error(code, name);
            assert_eq!(is_restricted(&error), limited, "{name}");
            assert_eq!(flood_wait(&error).is_some(), !limited, "{name}");
        }
        assert!(!is_restricted(&RpcError::TimedOut));
    }

    #[test]
    fn only_a_lost_account_is_unauthorized() {
        assert!(is_unauthorized(&error(401, "SESSION_REVOKED")));
        assert!(is_unauthorized(&error(406, "AUTH_KEY_DUPLICATED")));
        assert!(is_unauthorized(&error(401, "USER_DEACTIVATED")));
        assert!(!is_unauthorized(&error(401, "SESSION_PASSWORD_NEEDED")));
        assert!(!is_unauthorized(&error(400, "USER_ID_INVALID")));
        assert!(!is_unauthorized(&RpcError::Connection));
    }

    #[test]
    fn a_discard_means_what_the_stage_makes_of_it() {
        let migrate = Discard::MigrateConferenceCall(
            grammers_tl_types::types::PhoneCallDiscardReasonMigrateConferenceCall {
                slug: String::new(),
            },
        );
        let rows = [
            (
                Stage::Calling,
                Some(Discard::Busy),
                "486 User declined the call",
            ),
            (Stage::Calling, Some(Discard::Missed), "480 No answer"),
            (
                Stage::Calling,
                Some(Discard::Disconnect),
                "480 Temporarily Unavailable",
            ),
            (Stage::Calling, Some(Discard::Hangup), "480 No answer"),
            (Stage::Calling, None, "480 No answer"),
            (
                Stage::Called,
                Some(Discard::Missed),
                "487 Request Terminated",
            ),
            (
                Stage::Called,
                Some(Discard::Hangup),
                "487 Request Terminated",
            ),
            (
                Stage::Called,
                Some(Discard::Busy),
                "200 Call completed elsewhere",
            ),
            (Stage::Called, None, "200 Call completed elsewhere"),
            (Stage::Talking, Some(Discard::Hangup), "200 Normal Clearing"),
            (
                Stage::Talking,
                Some(Discard::Disconnect),
                "503 Media connection lost",
            ),
            (Stage::Talking, Some(migrate), "200 Normal Clearing"),
            (Stage::Talking, None, "200 Normal Clearing"),
        ];
        for (stage, reason, expected) in rows {
            let cause = discarded(stage, reason.as_ref());
            assert_eq!(cause.to_string(), expected, "{stage:?} {reason:?}");
        }
    }
}
