//! Telegram sessions and their requests.

use std::time::Duration;

use model::SessionName;
use prometheus::{
    CounterVec, GaugeVec, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
};

use crate::Metrics;
use crate::family::{Families, all, each_session, session};
use crate::label::{
    Closed, DataCentre, LibraryVersion, Limited, RpcErrorName, RpcGroup, RpcMethod, SessionStates,
    Update, labelled,
};

/// What a session can do just now; the label `state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionState(pub &'static str);

labelled! {
    /// How a request came out.
    pub enum RpcResult {
        /// It has a result.
        Ok = "ok",
        /// Telegram refused, or the connection broke.
        Error = "error",
        /// No result in time.
        Timeout = "timeout",
        /// Telegram ordered a wait.
        Flood = "flood",
    }

    /// Why our own limiter refused what Telegram would have been asked.
    pub enum LocalRefusal {
        /// Our bucket is empty.
        Bucket = "bucket",
        /// Telegram ordered a wait.
        FloodWait = "flood_wait",
        /// The account is limited for spam.
        Restricted = "restricted",
    }

    /// Where a look-up of a person was answered.
    pub enum ResolveSource {
        /// By what the session knew.
        Cache = "cache",
        /// By Telegram.
        Network = "network",
    }

    /// What a look-up of a person gave.
    pub enum ResolveResult {
        /// Somebody, also a bot or a channel that cannot be called.
        Ok = "ok",
        /// Nobody.
        NotFound = "not_found",
        /// No answer, or a refusal to look.
        Error = "error",
    }
}

/// The label `group` of a request.
fn group(method: &str) -> &'static str {
    match method {
        "requestCall" | "receivedCall" | "acceptCall" | "confirmCall" | "discardCall"
        | "sendSignalingData" | "getDhConfig" => "call",
        "resolveUsername" | "resolvePhone" | "importContacts" | "getUsers" => "resolve",
        "sendCode" | "resendCode" | "signIn" | "getPassword" | "checkPassword" | "logOut" => "auth",
        "sendMessage" | "getInlineBotResults" | "sendInlineBotResult" => "messages",
        _ => "other",
    }
}

pub(crate) struct Telegram {
    enabled: IntGaugeVec,
    up: IntGaugeVec,
    state: IntGaugeVec,
    rpc: IntCounterVec,
    duration: HistogramVec,
    errors: IntCounterVec,
    flood_waits: IntCounterVec,
    flood_seconds: CounterVec,
    clock_ahead: IntGauge,
    flood_until: GaugeVec,
    restricted_until: GaugeVec,
    local_refusals: IntCounterVec,
    reconnects: IntCounterVec,
    connections: IntGaugeVec,
    updates: IntCounterVec,
    updates_lost: IntCounter,
    left_alone: IntCounterVec,
    resolves: IntCounterVec,
    protocols: IntCounterVec,
}

impl Telegram {
    pub(crate) fn new(make: &mut Families) -> Self {
        Self {
            enabled: make.gauge(
                "telegram_session_enabled",
                "1 while the session is switched on by its owner.",
                vec![each_session()],
            ),
            up: make.gauge(
                "telegram_session_up",
                "1 when the session can place and take calls.",
                vec![each_session()],
            ),
            state: make.gauge(
                "telegram_session_state",
                "State of the session, 1 for the one it is in.",
                vec![each_session(), all::<SessionStates>("state")],
            ),
            rpc: make.counter(
                "telegram_rpc_total",
                "Requests to Telegram.",
                vec![all::<RpcMethod>("method"), all::<RpcResult>("result")],
            ),
            duration: make.histogram(
                "telegram_rpc_duration_seconds",
                "Latency of requests to Telegram.",
                &[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0],
                vec![all::<RpcGroup>("group")],
            ),
            errors: make.counter(
                "telegram_rpc_errors_total",
                "Errors that Telegram answered with.",
                vec![session(), all::<RpcErrorName>("error")],
            ),
            flood_waits: make.counter(
                "telegram_flood_waits_total",
                "FLOOD_WAIT answers.",
                vec![session(), all::<RpcGroup>("group")],
            ),
            flood_seconds: make.seconds_counter(
                "telegram_flood_wait_seconds_total",
                "Seconds that Telegram ordered to wait.",
                vec![session(), all::<RpcGroup>("group")],
            ),
            clock_ahead: make.one_gauge(
                "telegram_clock_ahead_seconds",
                "By how much this machine's clock is ahead of Telegram's, when that is more than the 30 s that Telegram accepts; else 0.",
            ),
            flood_until: make.time_gauge(
                "telegram_flood_wait_until_timestamp_seconds",
                "End of the present wait that Telegram ordered, 0 = none.",
                vec![each_session()],
            ),
            restricted_until: make.time_gauge(
                "telegram_restricted_until_timestamp_seconds",
                "When an account that is limited for spam (PEER_FLOOD) is tried again, 0 = it is not limited.",
                vec![each_session()],
            ),
            local_refusals: make.counter(
                "telegram_local_refusals_total",
                "What our own limiter refused, so that Telegram was not asked.",
                vec![session(), all::<Limited>("group"), all::<LocalRefusal>("why")],
            ),
            reconnects: make.counter(
                "telegram_reconnects_total",
                "MTProto connections that broke and were made again.",
                vec![session()],
            ),
            connections: make.gauge(
                "telegram_connections",
                "Open MTProto connections of accounts, by data centre.",
                vec![all::<DataCentre>("dc")],
            ),
            updates: make.counter(
                "telegram_updates_total",
                "Updates received.",
                vec![all::<Update>("kind")],
            ),
            updates_lost: make.one_counter(
                "telegram_updates_lost_total",
                "Events of an account that were dropped because thousands waited already: its session stands still.",
            ),
            left_alone: make.counter(
                "telegram_callers_left_alone_total",
                "Calls of people who are not among the allowed_callers of the session, left ringing on its other devices.",
                vec![session()],
            ),
            resolves: make.counter(
                "telegram_resolves_total",
                "Look-ups of the people to be called.",
                vec![
                    all::<ResolveSource>("source"),
                    all::<ResolveResult>("result"),
                ],
            ),
            protocols: make.counter(
                "telegram_call_protocols_total",
                "Library versions agreed for calls.",
                vec![all::<LibraryVersion>("version")],
            ),
        }
    }
}

/// An open connection to Telegram; counted until it is dropped.
#[derive(Debug)]
pub struct TelegramConnection(IntGauge);

impl Drop for TelegramConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    /// A connection to a data centre is open as long as what is returned lives.
    pub fn telegram_connection(&self, dc: i32) -> TelegramConnection {
        let labels = [DataCentre::of(&dc.to_string())];
        let open = self.all.telegram.connections.with_label_values(&labels);
        open.inc();
        TelegramConnection(open)
    }

    /// Whether the owner of a session has it switched on.
    pub fn session_enabled(&self, session: &SessionName, enabled: bool) {
        if self.all.session_names.has(session.as_str()) {
            let gauge = &self.all.telegram.enabled;
            gauge
                .with_label_values(&[session.as_str()])
                .set(i64::from(enabled));
        }
    }

    /// A session changed its state.
    pub fn session_state(&self, session: &SessionName, state: SessionState) {
        // The states of sessions beyond the limit of names would only overwrite each other.
        if !self.all.session_names.has(session.as_str()) {
            return;
        }
        let (telegram, session) = (&self.all.telegram, session.as_str());
        for one in SessionStates::values() {
            telegram
                .state
                .with_label_values(&[session, one])
                .set(i64::from(one == state.0));
        }
        telegram
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
        telegram
            .rpc
            .with_label_values(&[RpcMethod::of(method), result.label()])
            .inc();
        telegram
            .duration
            .with_label_values(&[group(method)])
            .observe(took.as_secs_f64());
        if let Some(error) = error {
            telegram
                .errors
                .with_label_values(&[self.session(session), RpcErrorName::of(error)])
                .inc();
        }
    }

    /// Until when a session waits because Telegram ordered it, and until when it counts as limited for spam; seconds since 1970.
    pub fn waits(&self, session: &SessionName, flood: Option<u64>, restricted: Option<u64>) {
        if !self.all.session_names.has(session.as_str()) {
            return;
        }
        let (telegram, labels) = (&self.all.telegram, [session.as_str()]);
        let gauges = [
            (&telegram.flood_until, flood),
            (&telegram.restricted_until, restricted),
        ];
        for (gauge, until) in gauges {
            gauge
                .with_label_values(&labels)
                .set(until.unwrap_or(0) as f64);
        }
    }

    /// Our own limiter refused a request of this group, `call` or `resolve`.
    pub fn local_refusal(&self, session: &SessionName, group: &'static str, why: LocalRefusal) {
        let labels = [self.session(session), group, why.label()];
        self.all
            .telegram
            .local_refusals
            .with_label_values(&labels)
            .inc();
    }

    /// Telegram ordered a wait after a request of this method.
    pub fn flood_wait(&self, session: &SessionName, method: &str, wait: Duration) {
        let (telegram, session) = (&self.all.telegram, self.session(session));
        telegram
            .flood_waits
            .with_label_values(&[session, group(method)])
            .inc();
        telegram
            .flood_seconds
            .with_label_values(&[session, group(method)])
            .inc_by(wait.as_secs_f64());
    }

    /// This machine's clock is so many seconds ahead of Telegram's, more than Telegram accepts; 0: it is not.
    pub fn clock_ahead(&self, seconds: i64) {
        self.all.telegram.clock_ahead.set(seconds);
    }

    /// By how many seconds this machine's clock is ahead of Telegram's, as it was told last.
    pub fn seconds_ahead(&self) -> i64 {
        self.all.telegram.clock_ahead.get()
    }

    /// The connection of a session broke and was made again.
    pub fn reconnected(&self, session: &SessionName) {
        let labels = [self.session(session)];
        self.all
            .telegram
            .reconnects
            .with_label_values(&labels)
            .inc();
    }

    /// An update came: `phone_call`, `signaling`, `message` or `other`.
    pub fn update(&self, kind: &'static str) {
        let labels = [Update::of(kind)];
        self.all.telegram.updates.with_label_values(&labels).inc();
    }

    /// An event of an account was dropped: its session takes no more.
    pub fn update_lost(&self) {
        self.all.telegram.updates_lost.inc();
    }

    /// Somebody called who may not call the PBX, and was left alone.
    pub fn caller_left_alone(&self, session: &SessionName) {
        let labels = [self.session(session)];
        let left_alone = &self.all.telegram.left_alone;
        left_alone.with_label_values(&labels).inc();
    }

    /// A person was looked up.
    pub fn resolved(&self, source: ResolveSource, result: ResolveResult) {
        let labels = [source.label(), result.label()];
        self.all.telegram.resolves.with_label_values(&labels).inc();
    }

    /// A call agreed on a library version.
    pub fn call_protocol(&self, version: &str) {
        let labels = [LibraryVersion::of(version)];
        self.all.telegram.protocols.with_label_values(&labels).inc();
    }
}
