//! SIP signalling, as it passes the front door.

use std::time::Duration;

use prometheus::{HistogramVec, IntCounterVec, IntGauge, IntGaugeVec};

use crate::Metrics;
use crate::family::{Families, all, some};
use crate::label::{
    AnsweredMethod, AuthFailure, Closed, Dropped, MessageKind, MessageLimit, Method, OTHER,
    RepeatedMethod, ResponseCode, TransactionKind, Transport, labelled, whole,
};

labelled! {
    /// Which way a message goes, seen from here.
    pub enum Flow {
        /// Received.
        In = "in",
        /// Sent.
        Out = "out",
    }
}

pub(crate) struct Sip {
    messages: IntCounterVec,
    responses: IntCounterVec,
    retransmissions: IntCounterVec,
    parse_errors: IntCounterVec,
    connections: IntGaugeVec,
    /// Clients and servers; told at every message, so they are not looked up each time.
    transactions: [IntGauge; 2],
    durations: HistogramVec,
    auth_failures: IntCounterVec,
    dropped: IntCounterVec,
    over_limit: IntCounterVec,
    banned: IntGaugeVec,
}

impl Sip {
    pub(crate) fn new(make: &mut Families) -> Self {
        let mut failures = AuthFailure::values();
        failures.retain(|reason| *reason != OTHER);
        Self {
            messages: make.counter(
                "sip_messages_total",
                "SIP messages.",
                vec![
                    all::<Flow>("direction"),
                    all::<MessageKind>("kind"),
                    all::<Method>("method"),
                ],
            ),
            responses: make.counter(
                "sip_responses_total",
                "Final SIP responses.",
                vec![
                    all::<Flow>("direction"),
                    all::<AnsweredMethod>("method"),
                    all::<ResponseCode>("code"),
                ],
            ),
            retransmissions: make.counter(
                "sip_retransmissions_total",
                "SIP messages that passed again, by the method of their transaction.",
                vec![all::<Flow>("direction"), all::<RepeatedMethod>("method")],
            ),
            parse_errors: make.counter(
                "sip_parse_errors_total",
                "Messages that could not be parsed.",
                vec![all::<Transport>("transport")],
            ),
            connections: make.gauge(
                "sip_connections",
                "Open connections of SIP.",
                vec![some::<Transport>("transport", vec!["tcp", "tls"])],
            ),
            transactions: {
                let transactions = make.gauge(
                    "sip_transactions_active",
                    "SIP transactions now.",
                    vec![all::<TransactionKind>("kind")],
                );
                ["client", "server"].map(|kind| transactions.with_label_values(&[kind]))
            },
            durations: make.histogram(
                "sip_request_duration_seconds",
                "Requests sent to their final response; those without one are not in it, nor is CANCEL.",
                &[
                    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0,
                ],
                vec![all::<AnsweredMethod>("method")],
            ),
            auth_failures: make.counter(
                "sip_auth_failures_total",
                "Refused credentials.",
                vec![some::<AuthFailure>("reason", failures)],
            ),
            dropped: make.counter(
                "sip_dropped_total",
                "Datagrams dropped without an answer.",
                vec![all::<Dropped>("reason")],
            ),
            banned: make.gauge(
                "sip_banned_addresses",
                "Addresses and networks that are banned now.",
                Vec::new(),
            ),
            over_limit: make.counter(
                "sip_over_limit_total",
                "Messages refused because they had more of something than they may.",
                vec![all::<MessageLimit>("limit")],
            ),
        }
    }
}

impl Metrics {
    /// A request passed.
    pub fn sip_request(&self, flow: Flow, method: &str) {
        let labels = [flow.label(), "request", Method::of(method)];
        self.all.sip.messages.with_label_values(&labels).inc();
    }

    /// A response passed; final ones are also counted by code.
    pub fn sip_response(&self, flow: Flow, method: &str, status: u16) {
        let labels = [flow.label(), "response", Method::of(method)];
        self.all.sip.messages.with_label_values(&labels).inc();
        if status >= 200 {
            let (method, code) = (AnsweredMethod::of(method), ResponseCode::of(status));
            let labels = [flow.label(), method, code];
            self.all.sip.responses.with_label_values(&labels).inc();
        }
    }

    /// A request of ours got its final response.
    pub fn sip_request_answered(&self, method: &str, took: Duration) {
        let labels = [AnsweredMethod::of(method)];
        let durations = &self.all.sip.durations;
        durations
            .with_label_values(&labels)
            .observe(took.as_secs_f64());
    }

    /// Messages of transactions of this method passed again.
    pub fn sip_retransmitted(&self, flow: Flow, method: &str, count: u64) {
        let labels = [flow.label(), RepeatedMethod::of(method)];
        let retransmissions = &self.all.sip.retransmissions;
        retransmissions.with_label_values(&labels).inc_by(count);
    }

    /// A message could not be parsed that came this way.
    pub fn sip_parse_error(&self, transport: model::Transport) {
        let labels = [transport.as_str()];
        self.all.sip.parse_errors.with_label_values(&labels).inc();
    }

    /// So many connections of this transport are open now; of datagrams there are none.
    pub fn sip_connections(&self, transport: model::Transport, open: usize) {
        if !transport.is_reliable() {
            return;
        }
        let connections = &self.all.sip.connections;
        connections
            .with_label_values(&[transport.as_str()])
            .set(whole(open));
    }

    /// So many transactions live now.
    pub fn sip_transactions(&self, clients: usize, servers: usize) {
        for (gauge, count) in self.all.sip.transactions.iter().zip([clients, servers]) {
            gauge.set(whole(count));
        }
    }

    /// Credentials were refused: `wrong_password`, `unknown_user`, `untrusted_ip` or `stale_nonce`.
    pub fn sip_auth_failure(&self, reason: &'static str) {
        let labels = [AuthFailure::of(reason)];
        self.all.sip.auth_failures.with_label_values(&labels).inc();
    }

    /// Messages dropped without an answer, because the door was full.
    pub fn sip_dropped(&self, count: u64) {
        let dropped = &self.all.sip.dropped;
        dropped.with_label_values(&["overload"]).inc_by(count);
    }

    /// How many messages were dropped because the door was full.
    pub fn sip_dropped_so_far(&self) -> u64 {
        let dropped = &self.all.sip.dropped;
        dropped.with_label_values(&["overload"]).get()
    }

    /// A request of a stranger dropped without an answer, because it had waited too long.
    pub fn sip_stale(&self) {
        self.all.sip.dropped.with_label_values(&["stale"]).inc();
    }

    /// A message dropped without an answer, because its sender had sent too many.
    pub fn sip_over_budget(&self) {
        self.all
            .sip
            .dropped
            .with_label_values(&["rate_limit"])
            .inc();
    }

    /// OPTIONS of a stranger left without an answer, because an owner wants it so.
    pub fn sip_ping_ignored(&self) {
        self.all.sip.dropped.with_label_values(&["ping"]).inc();
    }

    /// A message dropped without an answer, because its sender is banned.
    pub fn sip_banned(&self) {
        self.all.sip.dropped.with_label_values(&["ban_list"]).inc();
    }

    /// So many addresses and networks are banned now.
    pub fn sip_banned_addresses(&self, count: usize) {
        let banned = self.all.sip.banned.with_label_values(&[] as &[&str]);
        banned.set(whole(count));
    }

    /// A message had more than it may of this: `head`, `line`, `headers` ...
    pub fn sip_over_limit(&self, limit: &str) {
        let labels = [MessageLimit::of(limit)];
        self.all.sip.over_limit.with_label_values(&labels).inc();
    }

    /// A malformed message dropped without an answer.
    pub fn sip_malformed(&self) {
        self.all.sip.dropped.with_label_values(&["malformed"]).inc();
    }
}
