//! The closed lists of label values. What is not on a list is written `other`, or as its class (`4xx`).

use model::{Direction, LegKind, Outcome, Reason, Side};

/// Stands for everything that is not on a list.
pub(crate) const OTHER: &str = "other";

/// A label whose values are all known beforehand.
pub(crate) trait Closed {
    /// All the values.
    fn values() -> Vec<&'static str>;
}

impl Closed for Direction {
    fn values() -> Vec<&'static str> {
        Direction::ALL.map(Direction::label).to_vec()
    }
}

impl Closed for Outcome {
    fn values() -> Vec<&'static str> {
        Outcome::ALL.map(Outcome::label).to_vec()
    }
}

impl Closed for Side {
    fn values() -> Vec<&'static str> {
        Side::ALL.map(Side::label).to_vec()
    }
}

impl Closed for LegKind {
    fn values() -> Vec<&'static str> {
        [LegKind::Sip, LegKind::Telegram]
            .map(LegKind::label)
            .to_vec()
    }
}

impl Closed for Reason {
    fn values() -> Vec<&'static str> {
        Reason::TABLE.iter().map(|row| row.name).collect()
    }
}

/// What a gauge can show of a count.
pub(crate) fn whole(count: impl TryInto<i64>) -> i64 {
    count.try_into().unwrap_or(i64::MAX)
}

/// Declares what callers choose from, each with what the operator reads: such an enum is a label.
macro_rules! labelled {
    ($($(#[$doc:meta])* pub enum $name:ident {
        $($(#[$about:meta])* $value:ident = $text:literal,)*
    })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $($(#[$about])* $value,)*
        }

        impl $name {
            /// The value of the label.
            pub fn label(self) -> &'static str {
                match self { $(Self::$value => $text,)* }
            }
        }

        impl $crate::label::Closed for $name {
            fn values() -> Vec<&'static str> {
                vec![$($text,)*]
            }
        }
    )*};
}
pub(crate) use labelled;

/// Declares a list whose values are all written by this crate.
macro_rules! fixed {
    ($($(#[$doc:meta])* $name:ident, [$($text:literal),* $(,)?];)*) => {$(
        $(#[$doc])*
        pub(crate) struct $name;

        impl Closed for $name {
            fn values() -> Vec<&'static str> {
                vec![$($text,)*]
            }
        }
    )*};
}

/// Declares a list with a place for what is not on it.
macro_rules! open {
    ($($(#[$doc:meta])* $name:ident, [$($text:literal),* $(,)?];)*) => {$(
        $(#[$doc])*
        pub(crate) struct $name;

        impl $name {
            /// The text when it is on the list, else `other`.
            pub(crate) fn of(text: &str) -> &'static str {
                match text { $($text => $text,)* _ => OTHER }
            }
        }

        impl Closed for $name {
            fn values() -> Vec<&'static str> {
                vec![$($text,)* OTHER]
            }
        }
    )*};
}

/// Declares a list of status codes; others become their class.
macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident, [$($code:literal = $text:literal),* $(,)?];)*) => {$(
        $(#[$doc])*
        pub(crate) struct $name;

        impl $name {
            /// The code when it is on the list, else its class.
            pub(crate) fn of(code: u16) -> &'static str {
                match code { $($code => $text,)* other => class(other) }
            }
        }

        impl Closed for $name {
            fn values() -> Vec<&'static str> {
                vec![$($text,)* "2xx", "3xx", "4xx", "5xx", "6xx", OTHER]
            }
        }
    )*};
}

fixed! {
    /// Outcomes of an attempt to register.
    RegistrationResults, ["ok", "rejected", "timeout", "network"];
    /// Why an answered call ended.
    Teardown, ["normal", "media_timeout", "session_timer", "max_duration", "operator", "shutdown", "error"];
    /// How a transfer came out.
    TransferResult, ["ok", "failed"];
    /// Which signalling packets of a Telegram call: the peer's or ours.
    Signaling, ["in", "out"];
    /// Limits of our own.
    Limit, ["lines", "total_duration", "fail_calls", "call_duration"];
    /// Request or response.
    MessageKind, ["request", "response"];
    /// What carries SIP.
    Transport, ["udp", "tcp", "tls"];
    /// The two halves of the transaction table.
    TransactionKind, ["client", "server"];
    /// Why a datagram was dropped without an answer.
    Dropped, ["malformed", "rate_limit", "ban_list", "overload", "stale", "ping"];
    /// What shows that there is too much to do.
    OverloadSign, ["delay", "cpu", "memory", "mailbox", "transactions"];
    /// Where calls come from that are refused for it.
    ShedFrom, ["sip", "telegram"];
    /// States of a session.
    SessionStates, ["offline", "connecting", "running", "flood_wait", "restricted", "unauthorized"];
    /// Kinds of Telegram requests, by what they are limited together with.
    RpcGroup, ["call", "resolve", "auth", "messages", "other"];
    /// What our own limiter counts apart.
    Limited, ["call", "resolve", "messages"];
    /// What an RTP packet carries.
    RtpCodec, ["opus", "pcma", "pcmu", "g722", "l16", "telephone_event"];
    /// What audio is turned from and into.
    AudioCodec, ["opus", "pcma", "pcmu", "g722", "l16"];
    /// Ways a Telegram call's media can take; relays are not used yet.
    CallPath, ["p2p", "relay_udp", "relay_tcp"];
    /// Why a received packet was not played.
    Discarded, ["late", "duplicate", "overflow", "bad_source", "auth"];
    /// Ports of the RTP range.
    PortState, ["used", "free"];
    /// Why an actor was started again.
    RestartCause, ["panic", "error"];
    /// Parts of the store, in the order of `Metrics::store`.
    Tree, ["sessions", "trunks", "routes", "cdr"];
    /// Manager, Worker and Storage.
    RoleName, ["manager", "worker", "storage"];
    /// Folders whose disk is watched.
    Folder, ["data"];
    /// Kinds of threads that are watched.
    Thread, ["actors", "keeper", "media"];
    /// How a flush, or a backup, ended.
    Flushed, ["ok", "error"];
    /// Where call records go.
    Sink, ["store", "csv", "json"];
    /// Those of them that follow the store.
    Follower, ["csv", "json"];
    /// How the writing of a record ended.
    Written, ["ok", "failed"];
}

open! {
    /// The data centres of Telegram.
    DataCentre, ["1", "2", "3", "4", "5"];
    /// Methods of SIP messages.
    Method, [
        "INVITE", "ACK", "BYE", "CANCEL", "REGISTER", "OPTIONS", "INFO", "REFER", "NOTIFY", "PRACK", "UPDATE",
        "MESSAGE",
    ];
    /// Methods whose responses are told apart.
    AnsweredMethod, ["INVITE", "REGISTER", "BYE", "OPTIONS"];
    /// Methods whose retransmissions are told apart.
    RepeatedMethod, ["INVITE", "REGISTER", "BYE"];
    /// Limits of one SIP message.
    MessageLimit, ["message", "head", "line", "headers", "vias", "routes", "contacts", "body"];
    /// Why credentials were refused.
    AuthFailure, ["wrong_password", "unknown_user", "untrusted_ip", "stale_nonce"];
    /// Telegram requests that are told apart.
    RpcMethod, [
        "requestCall", "receivedCall", "acceptCall", "confirmCall", "discardCall", "sendSignalingData",
        "resolveUsername", "resolvePhone",
    ];
    /// Telegram errors that are told apart.
    RpcErrorName, [
        "USER_PRIVACY_RESTRICTED", "PEER_FLOOD", "FLOOD_WAIT", "USERNAME_NOT_OCCUPIED", "PHONE_NOT_OCCUPIED",
        "CALL_PROTOCOL_LAYER_INVALID", "AUTH_KEY_UNREGISTERED",
    ];
    /// Telegram updates.
    Update, ["phone_call", "signaling", "message"];
    /// Library versions that are offered.
    LibraryVersion, ["8.0.0", "9.0.0", "12.0.0", "13.0.0"];
    /// Kinds of actors.
    Actor, ["registry", "endpoint", "trunk", "session", "call", "leg", "text", "keeper"];
    /// Levels of log events.
    Level, ["error", "warn", "info"];
    /// Pages of the admin listener, as its routes are written.
    Route, [
        "/metrics", "/livez", "/readyz", "/api/v1/openapi.json", "/api/v1/status", "/api/v1/actors", "/api/v1/calls", "/api/v1/calls/{id}",
        "/api/v1/calls/{id}/log", "/api/v1/calls/{id}/quality", "/api/v1/calls/{id}/dtmf", "/api/v1/calls/{id}/hold", "/api/v1/calls/{id}/transfer", "/api/v1/events", "/api/v1/users",
        "/api/v1/users/{name}", "/api/v1/workers", "/api/v1/workers/{name}", "/api/v1/workers/{name}/enable",
        "/api/v1/workers/{name}/disable", "/api/v1/storage", "/api/v1/storage/enable", "/api/v1/storage/disable",
        "/api/v1/cdr", "/api/v1/cdr/{id}", "/api/v1/trunks", "/api/v1/trunks/{name}", "/api/v1/trunks/{name}/enable",
        "/api/v1/trunks/{name}/disable", "/api/v1/trunks/{name}/reset-password", "/api/v1/trunks/{name}/unblock",
        "/api/v1/trunks/{name}/reconnect", "/api/v1/trunks/{name}/test", "/api/v1/trunks/{name}/snippet", "/api/v1/sessions",
        "/api/v1/sessions/{name}", "/api/v1/sessions/{name}/enable", "/api/v1/sessions/{name}/disable", "/api/v1/sessions/{name}/login",
        "/api/v1/sessions/{name}/login/code", "/api/v1/sessions/{name}/login/password", "/api/v1/sessions/{name}/login/email",
        "/api/v1/sessions/{name}/login/resend", "/api/v1/sessions/{name}/login/recover", "/api/v1/sessions/{name}/logout",
        "/api/v1/sessions/{name}/harden", "/api/v1/sessions/{name}/adopt", "/api/v1/routes", "/api/v1/routes/test", "/api/v1/quotas", "/api/v1/quotas/{name}", "/api/v1/records", "/api/v1/records/secrets",
        "/api/v1/quotas/{kind}/{name}/reset", "/api/v1/bans", "/api/v1/tokens", "/api/v1/tokens/{id}", "/api/v1/backup",
        "/api/v1/webhooks", "/api/v1/webhooks/{name}", "/api/v1/webhooks/{name}/test", "/api/v1/webhooks/{name}/deliveries",
        "/api/v1/store", "/api/v1/store/check",
        "/api/v1/log/levels",
    ];
    /// Methods of HTTP requests.
    HttpMethod, ["GET", "POST", "PUT", "DELETE"];
}

codes! {
    /// Final status of a call towards the SIP side.
    CallCode, [
        401 = "401", 402 = "402", 403 = "403", 404 = "404", 405 = "405", 408 = "408", 470 = "470", 480 = "480",
        482 = "482", 486 = "486", 487 = "487", 488 = "488", 500 = "500", 503 = "503", 603 = "603",
    ];
    /// Final SIP responses.
    ResponseCode, [
        200 = "200", 401 = "401", 403 = "403", 404 = "404", 408 = "408", 486 = "486", 487 = "487", 488 = "488",
        500 = "500", 503 = "503", 603 = "603",
    ];
    /// HTTP responses.
    HttpCode, [
        200 = "200", 201 = "201", 204 = "204", 400 = "400", 401 = "401", 403 = "403", 404 = "404", 409 = "409", 412 = "412", 422 = "422",
        429 = "429", 500 = "500", 503 = "503",
    ];
}

fn class(code: u16) -> &'static str {
    match code / 100 {
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        5 => "5xx",
        6 => "6xx",
        _ => OTHER,
    }
}
