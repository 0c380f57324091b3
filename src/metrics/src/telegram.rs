//! Telegram sessions and their requests.

use std::time::Duration;

use model::SessionName;
use prometheus::{CounterVec, GaugeVec, HistogramVec, IntCounterVec, IntGaugeVec};

use crate::Metrics;
use crate::family::Maker;

/// What a session can do just now; the label `state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionState(pub &'static str);

const STATES: [&str; 6] = [
    "offline",
    "connecting",
    "running",
    "flood_wait",
    "restricted",
    "unauthorized",
];
const RPC_METHODS: [&str; 8] = [
    "requestCall",
    "acceptCall",
    "confirmCall",
    "discardCall",
    "sendSignalingData",
    "resolveUsername",
    "resolvePhone",
    "other",
];
const ERRORS: [&str; 8] = [
    "USER_PRIVACY_RESTRICTED",
    "PEER_FLOOD",
    "FLOOD_WAIT",
    "USERNAME_NOT_OCCUPIED",
    "PHONE_NOT_OCCUPIED",
    "CALL_PROTOCOL_LAYER_INVALID",
    "AUTH_KEY_UNREGISTERED",
    "other",
];
const VERSIONS: [&str; 5] = ["8.0.0", "9.0.0", "12.0.0", "13.0.0", "other"];

/// How a request came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RpcResult {
    /// It has a result.
    Ok,
    /// Telegram refused, or the connection broke.
    Error,
    /// No result in time.
    Timeout,
    /// Telegram ordered a wait.
    Flood,
}

impl RpcResult {
    const ALL: [RpcResult; 4] = [
        RpcResult::Ok,
        RpcResult::Error,
        RpcResult::Timeout,
        RpcResult::Flood,
    ];

    fn label(self) -> &'static str {
        match self {
            RpcResult::Ok => "ok",
            RpcResult::Error => "error",
            RpcResult::Timeout => "timeout",
            RpcResult::Flood => "flood",
        }
    }
}

fn group(method: &str) -> &'static str {
    match method {
        "requestCall" | "acceptCall" | "confirmCall" | "discardCall" | "sendSignalingData"
        | "receivedCall" => "call",
        "resolveUsername" | "resolvePhone" | "importContacts" | "getUsers" => "resolve",
        "sendCode" | "resendCode" | "signIn" | "getPassword" | "checkPassword" | "logOut" => "auth",
        "sendMessage" => "messages",
        _ => "other",
    }
}
const GROUPS: [&str; 5] = ["call", "resolve", "auth", "messages", "other"];

pub(crate) struct Telegram {
    up: IntGaugeVec,
    state: IntGaugeVec,
    rpc: IntCounterVec,
    duration: HistogramVec,
    errors: IntCounterVec,
    flood_waits: IntCounterVec,
    flood_seconds: CounterVec,
    flood_until: GaugeVec,
    reconnects: IntCounterVec,
    updates: IntCounterVec,
    protocols: IntCounterVec,
}

impl Telegram {
    pub(crate) fn new(make: &mut Maker) -> Self {
        let telegram = Self {
            up: make.gauges(
                "telegram_session_up",
                "1 = can place and take calls.",
                &["session"],
            ),
            state: make.gauges("telegram_session_state", "One-hot.", &["session", "state"]),
            rpc: make.counters(
                "telegram_rpc_total",
                "Requests to Telegram.",
                &["method", "result"],
            ),
            duration: make.histograms(
                "telegram_rpc_duration_seconds",
                "Latency of requests to Telegram.",
                &["group"],
                &[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0],
            ),
            errors: make.counters(
                "telegram_rpc_errors_total",
                "Errors of requests to Telegram.",
                &["session", "error"],
            ),
            flood_waits: make.counters(
                "telegram_flood_waits_total",
                "FLOOD_WAIT answers.",
                &["session", "group"],
            ),
            flood_seconds: make.seconds(
                "telegram_flood_wait_seconds_total",
                "Seconds ordered to wait.",
                &["session", "group"],
            ),
            flood_until: make.timestamps(
                "telegram_flood_wait_until_timestamp_seconds",
                "0 or the end of the present wait.",
                &["session"],
            ),
            reconnects: make.counters(
                "telegram_reconnects_total",
                "Connections that broke.",
                &["session"],
            ),
            updates: make.counters("telegram_updates_total", "Updates received.", &["kind"]),
            protocols: make.counters(
                "telegram_call_protocols_total",
                "Library version of calls.",
                &["version"],
            ),
        };
        for method in RPC_METHODS {
            for result in RpcResult::ALL {
                telegram.rpc.with_label_values(&[method, result.label()]);
            }
        }
        for group in GROUPS {
            telegram.duration.with_label_values(&[group]);
        }
        for kind in ["phone_call", "signaling", "other"] {
            telegram.updates.with_label_values(&[kind]);
        }
        for version in VERSIONS {
            telegram.protocols.with_label_values(&[version]);
        }
        telegram
    }

    pub(crate) fn touch(&self, session: &str) {
        self.up.with_label_values(&[session]);
        self.flood_until.with_label_values(&[session]);
        self.reconnects.with_label_values(&[session]);
        for state in STATES {
            self.state.with_label_values(&[session, state]);
        }
        for error in ERRORS {
            self.errors.with_label_values(&[session, error]);
        }
        for group in GROUPS {
            self.flood_waits.with_label_values(&[session, group]);
            self.flood_seconds.with_label_values(&[session, group]);
        }
    }

    pub(crate) fn remove(&self, session: &str) {
        let _ = self.up.remove_label_values(&[session]);
        let _ = self.flood_until.remove_label_values(&[session]);
        let _ = self.reconnects.remove_label_values(&[session]);
        for state in STATES {
            let _ = self.state.remove_label_values(&[session, state]);
        }
        for error in ERRORS {
            let _ = self.errors.remove_label_values(&[session, error]);
        }
        for group in GROUPS {
            let _ = self.flood_waits.remove_label_values(&[session, group]);
            let _ = self.flood_seconds.remove_label_values(&[session, group]);
        }
    }
}

impl Metrics {
    /// A session changed its state.
    pub fn session_state(&self, session: &SessionName, state: SessionState) {
        let session = self.session(session);
        for other in STATES {
            self.all
                .telegram
                .state
                .with_label_values(&[session, other])
                .set(i64::from(other == state.0));
        }
        self.all
            .telegram
            .up
            .with_label_values(&[session])
            .set(i64::from(state.0 == "running"));
    }

    /// A request came out; `method` in Telegram's spelling, `error` without its number.
    pub fn rpc(
        &self,
        session: &SessionName,
        method: &str,
        result: RpcResult,
        error: Option<&str>,
        took: Duration,
    ) {
        let telegram = &self.all.telegram;
        let label = RPC_METHODS
            .iter()
            .find(|known| **known == method)
            .unwrap_or(&"other");
        telegram
            .rpc
            .with_label_values(&[label, result.label()])
            .inc();
        telegram
            .duration
            .with_label_values(&[group(method)])
            .observe(took.as_secs_f64());
        if let Some(error) = error {
            let error = ERRORS
                .iter()
                .find(|known| **known == error)
                .unwrap_or(&"other");
            telegram
                .errors
                .with_label_values(&[self.session(session), error])
                .inc();
        }
    }

    /// Telegram ordered a wait after a request of this method; `until` is its end in seconds since 1970.
    pub fn flood_wait(&self, session: &SessionName, method: &str, wait: Duration, until: f64) {
        let (telegram, session) = (&self.all.telegram, self.session(session));
        telegram
            .flood_waits
            .with_label_values(&[session, group(method)])
            .inc();
        telegram
            .flood_seconds
            .with_label_values(&[session, group(method)])
            .inc_by(wait.as_secs_f64());
        telegram
            .flood_until
            .with_label_values(&[session])
            .set(until);
    }

    /// The connection of a session broke.
    pub fn reconnected(&self, session: &SessionName) {
        self.all
            .telegram
            .reconnects
            .with_label_values(&[self.session(session)])
            .inc();
    }

    /// An update came: `phone_call`, `signaling` or `other`.
    pub fn update(&self, kind: &'static str) {
        self.all.telegram.updates.with_label_values(&[kind]).inc();
    }

    /// A call agreed on a library version.
    pub fn call_protocol(&self, version: &str) {
        let version = VERSIONS
            .iter()
            .find(|known| **known == version)
            .unwrap_or(&"other");
        self.all
            .telegram
            .protocols
            .with_label_values(&[version])
            .inc();
    }
}
