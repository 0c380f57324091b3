//! The one vocabulary of failure: every refusal a peer sees, every reason in a record, comes from this table.

use std::borrow::Cow;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Outcome;

/// The side that caused an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The SIP party or its network.
    Sip,
    /// The Telegram party or its network.
    Telegram,
    /// This switch.
    Here,
}

impl Side {
    /// Every side.
    pub const ALL: [Side; 3] = [Side::Sip, Side::Telegram, Side::Here];

    /// The value of the metric label `side`.
    pub fn label(self) -> &'static str {
        match self {
            Side::Sip => "sip",
            Side::Telegram => "telegram",
            Side::Here => "here",
        }
    }
}

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// The reason the row describes.
    pub reason: Reason,
    /// Stable name: metric label `reason`, call record, headings of `docs/errors.md`.
    pub name: &'static str,
    /// Status code towards the SIP side; 0 for reasons that only appear in records.
    pub code: u16,
    /// The exact phrase; `{}` is replaced by the detail of the cause.
    pub phrase: &'static str,
    /// Whose doing it is.
    pub side: Side,
    /// How the call counts.
    pub outcome: Outcome,
    /// What an operator can do about it.
    pub hint: &'static str,
}

macro_rules! causes {
    ($($(#[$doc:meta])* $reason:ident = $name:literal, $code:literal, $phrase:literal, $side:ident, $outcome:ident, $hint:literal;)*) => {
        /// Why a call or a request ended.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Reason { $($(#[$doc])* #[doc = $phrase] $reason,)* }

        impl Reason {
            /// The whole table, in the order of the catalogue.
            pub const TABLE: &'static [Row] = &[$(Row {
                reason: Reason::$reason, name: $name, code: $code, phrase: $phrase,
                side: Side::$side, outcome: Outcome::$outcome, hint: $hint,
            },)*];

            /// Its row in the table.
            pub fn row(self) -> &'static Row {
                match self { $(Reason::$reason => {
                    static ROW: Row = Row {
                        reason: Reason::$reason, name: $name, code: $code, phrase: $phrase,
                        side: Side::$side, outcome: Outcome::$outcome, hint: $hint,
                    };
                    &ROW
                })* }
            }
        }
    };
}

causes! {
    // Ends that are no failures.
    NormalClearing = "normal_clearing", 200, "Normal Clearing", Here, Answered, "nothing: one side hung up";
    Cancelled = "cancelled", 487, "Request Terminated", Sip, Cancelled, "nothing: the caller gave up";
    CallerGaveUp = "caller_gave_up", 487, "Request Terminated", Telegram, Cancelled, "nothing: the Telegram caller gave up";
    AnsweredElsewhere = "answered_elsewhere", 200, "Call completed elsewhere", Telegram, Cancelled, "another device of the account answered; disable calls on other devices";
    AnsweredByAnother = "answered_by_another", 200, "Call completed elsewhere", Here, Cancelled, "nothing: a trunk that rang at the same time answered first";
    // Common to calls and registrations.
    Unauthorized = "unauthorized", 401, "Unauthorized", Sip, Rejected, "enter login and password in the trunk of the PBX; normal as a first reply";
    DatabaseError = "database_error", 500, "Database error", Here, Failed, "retry; check the disk and the log";
    NoResponseFromManager = "no_response_from_manager", 503, "No response from Manager", Here, Failed, "wait a minute; look at the CPU load and the log";
    LinesLimit = "lines_limit", 402, "Lines limit is exceeded", Here, Limited, "raise `lines` of the trunk, session or user";
    TotalDuration = "total_duration", 402, "Total calls duration is exceeded", Here, Limited, "wait for the window, raise the quota profile, or `strowger quota reset`; see `strowger quota show`";
    FailCalls = "fail_calls", 402, "Amount of fail calls is exceeded", Here, Limited, "find out why the calls fail; wait for the window, raise the quota profile, or `strowger quota reset`";
    CallDuration = "call_duration", 402, "The call was limited to {}", Here, Limited, "raise `call_seconds` of the quota profile";
    // Registration.
    WrongPassword = "wrong_password", 403, "Wrong password", Sip, Rejected, "compare login and password with `strowger trunk show --secrets`, or make a new one with `strowger trunk reset-password`";
    UntrustedIp = "untrusted_ip", 403, "Untrusted IP address", Sip, Rejected, "add the address to the trunk, or correct it";
    SessionInactive = "session_inactive", 403, "Telegram session is inactive", Telegram, Failed, "switch the session on, or log the account in again: `strowger session login`";
    StorageInactive = "storage_inactive", 403, "Session storage is inactive", Here, Rejected, "switch it on again: `strowger storage enable`";
    WorkerInactive = "worker_inactive", 403, "Worker is inactive", Here, Rejected, "switch it on again: `strowger worker enable local`";
    WorkerAddressNotSet = "worker_address_not_set", 403, "Worker address is not set", Here, Rejected, "the switch has no address from which to reach the contact of the PBX: add one to sip.udp, sip.tcp or sip.tls, or let the PBX register by another transport";
    RouteNotPermitted = "route_not_permitted", 403, "Route is not permitted", Here, Rejected, "switch the trunk on, or pair it with a session or another trunk";
    RouteNotFound = "route_not_found", 404, "Route not found", Sip, Rejected, "use exactly the issued login; it may have been deleted";
    IntervalTooBrief = "interval_too_brief", 423, "Interval Too Brief", Sip, Rejected, "raise Expires to at least 60 seconds";
    // Texts by SIP MESSAGE.
    NoText = "no_text", 400, "Text is not UTF-8", Sip, Rejected, "the PBX must send its texts in UTF-8, and not empty";
    TextTooLong = "text_too_long", 413, "Text is too long", Sip, Rejected, "Telegram takes 4096 characters in one text";
    UnsupportedText = "unsupported_text", 415, "Unsupported Media Type", Sip, Rejected, "the PBX must send its texts as text/plain in UTF-8";
    // SIP to Telegram.
    UserPrivacyRestricted = "user_privacy_restricted", 403, "USER_PRIVACY_RESTRICTED", Telegram, Rejected, "the called person must allow calls from this account";
    UserIsBlocked = "user_is_blocked", 403, "USER_IS_BLOCKED", Telegram, Rejected, "the called person has blocked this account";
    NotFound = "not_found", 404, "Not Found", Telegram, Rejected, "check the format of the number; it may not be on Telegram";
    ChatNotFound = "chat_not_found", 404, "Chat not found", Telegram, Rejected, "the identifier is unknown to Telegram";
    UsernameNotOccupied = "username_not_occupied", 404, "USERNAME_NOT_OCCUPIED", Telegram, Rejected, "the username does not exist or was released";
    NotAUser = "not_a_user", 404, "Not a user", Telegram, Rejected, "the name belongs to a channel, a group or a bot";
    RegisterRequired = "register_required", 405, "REGISTER is required first", Sip, Failed, "turn on registration in the trunk of the PBX";
    RpcTimeout = "rpc_timeout", 408, "Timeout of waiting RPC result", Telegram, Failed, "fewer calls a minute; retry";
    AnonymousUser = "anonymous_user", 470, "Anonymous user", Telegram, Rejected, "call by number or username, or let the person write first";
    NoAnswer = "no_answer", 480, "No answer", Telegram, NoAnswer, "nothing: nobody answered";
    TemporarilyUnavailable = "temporarily_unavailable", 480, "Temporarily Unavailable", Telegram, NoAnswer, "no device of the person came online within 20 s";
    LoopDetected = "loop_detected", 482, "Loop Detected", Here, Rejected, "the account cannot call itself";
    TooManyHops = "too_many_hops", 483, "Too Many Hops", Sip, Rejected, "the call went round: look for PBXs whose routes lead back to each other";
    UserDeclined = "user_declined", 486, "User declined the call", Telegram, Declined, "nothing, or look for a device that declines by itself";
    BusyHere = "busy_here", 486, "Busy Here", Telegram, Busy, "the person already has a call with this account";
    NotAcceptable = "not_acceptable", 488, "Not Acceptable Here", Sip, Failed, "no common codec: add alaw or mulaw on both sides; or SRTP is required on one side and off on the other: the log says which";
    VersionOutdated = "version_outdated", 488, "PARTICIPANT_VERSION_OUTDATED", Telegram, Failed, "the called person must update the app";
    CallProtocol = "call_protocol", 488, "{}", Telegram, Failed, "no common call protocol; check telegram.library_versions";
    KeyMismatch = "key_mismatch", 500, "Encryption key mismatch", Telegram, Failed, "look at the log: somebody between the parties, or a bug";
    TelegramError = "telegram_error", 500, "{}", Telegram, Failed, "check the network; retry; report the name if it repeats";
    InternalError = "internal_error", 500, "Internal Server Error", Here, Failed, "look at the log and report it";
    AccountNotRunning = "account_not_running", 503, "Account is not running", Sip, Failed, "switch the trunk on, or check its registration";
    SessionNotRunning = "session_not_running", 503, "Session is not running", Telegram, Failed, "switch the session on, check its state, or log it in again";
    StorageUnavailable = "storage_unavailable", 503, "Telegram storage is unavailable", Here, Failed, "check the disk and the log";
    TooManyRequests = "flood_wait", 503, "Too Many Requests: retry after {}", Telegram, Failed, "slow down, more accounts, wait";
    PeerFlood = "peer_flood", 503, "PEER_FLOOD", Telegram, Failed, "the account is limited for about a day; use more accounts";
    WorkerNotReady = "worker_not_ready", 503, "Worker is not ready", Here, Failed, "the switch is starting or stopping; retry in a minute";
    Overloaded = "overloaded", 503, "Switch is overloaded", Here, Limited, "fewer calls a second, more processors or memory; `strowger status` says what is short, docs/configuration.md [overload] what the limits are";
    NoRtpPorts = "no_rtp_ports", 503, "No RTP ports", Here, Failed, "widen rtp.range";
    MediaLost = "media_lost", 503, "Media connection lost", Telegram, Failed, "the network path of the Telegram side broke";
    MediaNotConnected = "media_not_connected", 503, "Media is not connected", Telegram, Failed, "UDP between this host and the person is blocked";
    RtpTimeout = "rtp_timeout", 408, "RTP timeout", Sip, Failed, "no RTP came from the PBX for 10 s: check NAT and firewall";
    AckTimeout = "ack_timeout", 408, "No ACK", Sip, Failed, "the PBX never acknowledged the answer: check its route to us";
    PrackTimeout = "prack_timeout", 504, "No PRACK", Sip, Failed, "the PBX never acknowledged that it rings: check its route to us, or switch 100rel off there";
    SessionExpired = "session_expired", 408, "Session expired", Sip, Failed, "the PBX did not refresh the call in time: check its session timers, or set sip.session_expires_s to 0";
    // Transfer.
    Transferred = "transferred", 200, "Call transferred", Sip, Answered, "nothing: the PBX put another number in the place of this one";
    TransferNotPermitted = "transfer_not_permitted", 403, "Transfer is not permitted", Here, Rejected, "a transfer may only lead to a number of the PBX that wants it: check the host that it refers to";
    TransferNotPossible = "transfer_not_possible", 486, "Transfer is not possible now", Here, Rejected, "only an answered call can be transferred, one time at a time";
    NoSuchDialog = "no_such_dialog", 481, "Call Does Not Exist", Sip, Rejected, "nothing: the call that was to be replaced has ended";
    // Telegram to SIP.
    CallerIsGateway = "caller_is_gateway", 482, "Caller has active gateway accounts", Here, Rejected, "call from an account that is no session of this switch";
    CallbackRestricted = "callback_restricted", 380, "Callback is restricted", Telegram, Rejected, "who wrote a number does not let the account call back: he must allow calls from it";
    SipAccountUnavailable = "sip_account_unavailable", 503, "SIP account is unavailable", Sip, Failed, "no trunk of the session is running: check registrations";
    WorkerUnavailable = "worker_unavailable", 503, "Worker is unavailable", Here, Failed, "start the worker or choose another";
    SipRefused = "sip_refused", 0, "{}", Sip, Failed, "the PBX's own answer, passed on: see the log of the PBX";
    SipTimeout = "sip_timeout", 408, "Request Timeout", Sip, Failed, "the PBX does not answer: check address and firewall";
    SipHeldBack = "sip_held_back", 503, "PBX is overloaded", Sip, Limited, "the PBX asked for fewer calls (RFC 7339), so this one was not sent: look at its load, or add a trunk for the hunt to go on to";
    SipNoAnswer = "sip_no_answer", 480, "No answer", Sip, NoAnswer, "nothing: nobody answered in the PBX";
    // What a crash leaves behind.
    Crashed = "crashed", 500, "Restarted", Here, Failed, "the process ended while the call was up";
}

/// Why something ended, with what the table cannot know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    reason: Reason,
    code: u16,
    detail: Option<String>,
    retry_after: Option<Duration>,
    telegram_error: Option<String>,
}

impl Cause {
    /// A cause that is fully described by its row.
    pub fn new(reason: Reason) -> Self {
        Self {
            reason,
            code: reason.row().code,
            detail: None,
            retry_after: None,
            telegram_error: None,
        }
    }

    /// `503 Too Many Requests: retry after N`, with the wait that Telegram ordered.
    pub fn flood_wait(wait: Duration) -> Self {
        let seconds = wait.as_secs();
        Self {
            detail: Some(seconds.to_string()),
            retry_after: Some(wait),
            telegram_error: Some(format!("FLOOD_WAIT_{seconds}")),
            ..Self::new(Reason::TooManyRequests)
        }
    }

    /// A call that was cut at the longest that its quota profile allows.
    pub fn call_duration(limit: Duration) -> Self {
        let seconds = limit.as_secs();
        let said = match (seconds / 60, seconds % 60) {
            (1, 0) => "1 minute".to_owned(),
            (minutes, 0) => format!("{minutes} minutes"),
            _ => format!("{seconds} seconds"),
        };
        Self {
            detail: Some(said),
            ..Self::new(Reason::CallDuration)
        }
    }

    /// A final answer of the SIP side (300 to 699), passed on unchanged.
    pub fn sip_refused(code: u16, phrase: &str) -> Self {
        Self {
            code,
            detail: Some(printable(phrase)),
            ..Self::new(Reason::SipRefused)
        }
    }

    /// A reason whose phrase is, or which came with, the name of a Telegram error.
    pub fn telegram(reason: Reason, error: &str) -> Self {
        let name = printable(error);
        Self {
            detail: Some(name.clone()),
            telegram_error: Some(name),
            ..Self::new(reason)
        }
    }

    /// The same cause, asking the caller to wait before it tries again.
    pub fn with_retry_after(self, wait: Duration) -> Self {
        Self {
            retry_after: Some(wait),
            ..self
        }
    }

    /// The row it belongs to.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// The stable name of the reason.
    pub fn name(&self) -> &'static str {
        self.reason.row().name
    }

    /// The status code for the SIP side, 200 to 699.
    pub fn code(&self) -> u16 {
        self.code
    }

    /// The exact phrase.
    pub fn phrase(&self) -> Cow<'static, str> {
        let phrase = self.reason.row().phrase;
        match &self.detail {
            Some(detail) if phrase.contains("{}") => Cow::Owned(phrase.replace("{}", detail)),
            _ => Cow::Borrowed(phrase),
        }
    }

    /// Whose doing it is.
    pub fn side(&self) -> Side {
        self.reason.row().side
    }

    /// How the call counts.
    pub fn outcome(&self) -> Outcome {
        match (self.reason, self.code) {
            (Reason::SipRefused, 486 | 600) => Outcome::Busy,
            (Reason::SipRefused, 408 | 480) => Outcome::NoAnswer,
            (Reason::SipRefused, 603) => Outcome::Declined,
            (Reason::SipRefused, 404 | 484 | 604) => Outcome::Rejected,
            _ => self.reason.row().outcome,
        }
    }

    /// How long the caller should wait before it tries again.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// The name of the Telegram error behind it, for `X-TG-Error`.
    pub fn telegram_error(&self) -> Option<&str> {
        self.telegram_error.as_deref()
    }
}

impl From<Reason> for Cause {
    fn from(reason: Reason) -> Self {
        Self::new(reason)
    }
}

impl Cause {
    /// The code and, instead of what a peer has written, the name of the reason: for a log that holds no numbers of people.
    pub fn brief(&self) -> String {
        if self.reason == Reason::SipRefused {
            format!("{} {}", self.code, self.name())
        } else {
            self.to_string()
        }
    }
}

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.code, self.phrase())
    }
}

/// What a peer wrote, fit for a status line: no control characters, at most 128 characters.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(128).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_brief_nothing_is_said_that_a_peer_has_written() {
        let refused = Cause::sip_refused(486, "15551234567 is busy");
        assert_eq!(refused.to_string(), "486 15551234567 is busy");
        assert_eq!(refused.brief(), "486 sip_refused");
        let ours = Cause::new(Reason::SipTimeout);
        assert_eq!(ours.brief(), ours.to_string());
    }

    #[test]
    fn every_name_is_unique_and_every_row_is_its_own() {
        let mut names = std::collections::HashSet::new();
        for row in Reason::TABLE {
            assert!(names.insert(row.name), "{}", row.name);
            assert_eq!(row.reason.row(), row);
            assert!(
                row.reason == Reason::SipRefused || (200..700).contains(&row.code),
                "{}",
                row.name
            );
        }
    }

    /// `docs/errors.md` is this table in words; `UPDATE_DOCS=1 cargo test -p model` writes it.
    #[test]
    fn the_page_of_errors_says_what_the_table_says() {
        let mut page = String::from(
            "# What a refusal means\n\nOne heading for each exact phrase, as it stands in the status line, in the `Reason` header and \
             in call records. `{}` stands for\nwhat only the case itself knows. This page is made from the table in `src/model/src/cause.rs`.\n",
        );
        for row in Reason::TABLE {
            let code = if row.code == 0 {
                "the PBX's code".to_owned()
            } else {
                row.code.to_string()
            };
            let heading = format!("\n## {code} {}\n", row.phrase);
            let side = row.side.label();
            let (name, outcome) = (row.name, row.outcome.label());
            let mut text = format!(
                "\n`{name}`, caused by: {side}, counted as: {outcome}.\n\nWhat to do: {}.\n",
                row.hint
            );
            // What is told with the same words stands under one heading.
            if let Some(above) = page.find(&heading) {
                let end = page[above + 1..].find("\n## ").map(|end| above + 1 + end);
                page.insert_str(end.unwrap_or(page.len()), &text);
            } else {
                text.insert_str(0, &heading);
                page.push_str(&text);
            }
        }
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/errors.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, &page).unwrap();
        }
        assert_eq!(
            std::fs::read_to_string(path).unwrap_or_default(),
            page,
            "run UPDATE_DOCS=1 cargo test -p model"
        );
    }

    #[test]
    fn a_flood_wait_says_how_long() {
        let cause = Cause::flood_wait(Duration::from_secs(17));
        assert_eq!(cause.to_string(), "503 Too Many Requests: retry after 17");
        assert_eq!(cause.retry_after(), Some(Duration::from_secs(17)));
        assert_eq!(cause.telegram_error(), Some("FLOOD_WAIT_17"));
    }

    #[test]
    fn a_phrase_of_a_peer_cannot_break_a_line() {
        let cause = Cause::sip_refused(486, "Busy\r\nX: y");
        assert_eq!(cause.to_string(), "486 BusyX: y");
        assert_eq!(cause.outcome(), Outcome::Busy);
    }
}
