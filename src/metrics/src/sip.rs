//! SIP signalling and trunks.

use model::TrunkName;
use prometheus::{IntCounter, IntCounterVec, IntGaugeVec};

use crate::Metrics;
use crate::calls::code_label;
use crate::family::Maker;

/// Which way a message goes, seen from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Received.
    In,
    /// Sent.
    Out,
}

impl Flow {
    fn label(self) -> &'static str {
        match self {
            Flow::In => "in",
            Flow::Out => "out",
        }
    }
}

const METHODS: [&str; 13] = [
    "INVITE", "ACK", "BYE", "CANCEL", "REGISTER", "OPTIONS", "INFO", "REFER", "NOTIFY", "PRACK",
    "UPDATE", "MESSAGE", "other",
];
const AUTH_FAILURES: [&str; 4] = [
    "wrong_password",
    "unknown_user",
    "untrusted_ip",
    "stale_nonce",
];

fn method_label(method: &str) -> &'static str {
    METHODS
        .iter()
        .find(|known| **known == method)
        .unwrap_or(&"other")
}

pub(crate) struct Sip {
    messages: IntCounterVec,
    responses: IntCounterVec,
    parse_errors: IntCounter,
    auth_failures: IntCounterVec,
    dropped: IntCounterVec,
    trunk_up: IntGaugeVec,
    lines_limit: IntGaugeVec,
    lines_in_use: IntGaugeVec,
    lines_rejected: IntCounterVec,
    last_error: IntGaugeVec,
    bindings: IntGaugeVec,
}

impl Sip {
    pub(crate) fn new(make: &mut Maker) -> Self {
        let parse_errors = make.counters(
            "sip_parse_errors_total",
            "Datagrams that could not be parsed.",
            &["transport"],
        );
        let sip = Self {
            messages: make.counters(
                "sip_messages_total",
                "SIP messages.",
                &["direction", "kind", "method"],
            ),
            responses: make.counters(
                "sip_responses_total",
                "Final responses.",
                &["direction", "method", "code"],
            ),
            parse_errors: parse_errors.with_label_values(&["udp"]),
            auth_failures: make.counters(
                "sip_auth_failures_total",
                "Refused credentials.",
                &["reason"],
            ),
            dropped: make.counters(
                "sip_dropped_total",
                "Dropped without an answer.",
                &["reason"],
            ),
            trunk_up: make.gauges(
                "trunk_up",
                "1 = calls can be placed on this trunk.",
                &["trunk"],
            ),
            lines_limit: make.gauges(
                "trunk_lines_limit",
                "Configured lines, 0 = unlimited.",
                &["trunk"],
            ),
            lines_in_use: make.gauges("trunk_lines_in_use", "Lines taken now.", &["trunk"]),
            lines_rejected: make.counters(
                "trunk_lines_rejected_total",
                "Attempts refused for want of a line.",
                &["trunk"],
            ),
            last_error: make.gauges(
                "trunk_last_error_code",
                "Last SIP error on the trunk, 0 = none.",
                &["trunk"],
            ),
            bindings: make.gauges(
                "registrar_bindings",
                "Contacts held for a PBX that registers here.",
                &["trunk"],
            ),
        };
        for flow in [Flow::In, Flow::Out] {
            for kind in ["request", "response"] {
                for method in METHODS {
                    sip.messages
                        .with_label_values(&[flow.label(), kind, method]);
                }
            }
            for method in ["INVITE", "REGISTER", "BYE", "OPTIONS"] {
                for code in [
                    "2xx", "401", "403", "404", "408", "486", "487", "488", "500", "503", "603",
                ] {
                    sip.responses
                        .with_label_values(&[flow.label(), method, code]);
                }
            }
        }
        for reason in AUTH_FAILURES {
            sip.auth_failures.with_label_values(&[reason]);
        }
        sip.dropped.with_label_values(&["malformed"]);
        sip.dropped.with_label_values(&["rate_limit"]);
        sip
    }

    pub(crate) fn touch(&self, trunk: &str, lines: u32) {
        let by = [trunk];
        self.trunk_up.with_label_values(&by);
        self.lines_limit
            .with_label_values(&by)
            .set(i64::from(lines));
        self.lines_in_use.with_label_values(&by);
        self.lines_rejected.with_label_values(&by);
        self.last_error.with_label_values(&by);
        self.bindings.with_label_values(&by);
    }

    pub(crate) fn remove(&self, trunk: &str) {
        let by = [trunk];
        for family in [
            &self.trunk_up,
            &self.lines_limit,
            &self.lines_in_use,
            &self.last_error,
            &self.bindings,
        ] {
            let _ = family.remove_label_values(&by);
        }
        let _ = self.lines_rejected.remove_label_values(&by);
    }
}

impl Metrics {
    /// A request passed.
    pub fn sip_request(&self, flow: Flow, method: &str) {
        self.all
            .sip
            .messages
            .with_label_values(&[flow.label(), "request", method_label(method)])
            .inc();
    }

    /// A response passed; final ones are also counted by code.
    pub fn sip_response(&self, flow: Flow, method: &str, status: u16) {
        let method = method_label(method);
        self.all
            .sip
            .messages
            .with_label_values(&[flow.label(), "response", method])
            .inc();
        if status >= 200 {
            self.all
                .sip
                .responses
                .with_label_values(&[flow.label(), method, code_label(status)])
                .inc();
        }
    }

    /// A datagram could not be parsed.
    pub fn sip_parse_error(&self) {
        self.all.sip.parse_errors.inc();
    }

    /// Credentials were refused: `wrong_password`, `unknown_user`, `untrusted_ip` or `stale_nonce`.
    pub fn sip_auth_failure(&self, reason: &'static str) {
        if AUTH_FAILURES.contains(&reason) {
            self.all
                .sip
                .auth_failures
                .with_label_values(&[reason])
                .inc();
        }
    }

    /// Messages dropped without an answer, because the door was full.
    pub fn sip_dropped(&self, count: u64) {
        self.all
            .sip
            .dropped
            .with_label_values(&["rate_limit"])
            .inc_by(count);
    }

    /// A malformed message dropped without an answer.
    pub fn sip_malformed(&self) {
        self.all.sip.dropped.with_label_values(&["malformed"]).inc();
    }

    /// Whether calls can be placed on a trunk, and how many contacts it has registered.
    pub fn trunk_state(&self, trunk: &TrunkName, up: bool, bindings: usize) {
        let trunk = self.trunk(trunk);
        self.all
            .sip
            .trunk_up
            .with_label_values(&[trunk])
            .set(i64::from(up));
        self.all
            .sip
            .bindings
            .with_label_values(&[trunk])
            .set(i64::try_from(bindings).unwrap_or(i64::MAX));
    }

    /// How many lines of a trunk are taken.
    pub fn trunk_lines_in_use(&self, trunk: &TrunkName, lines: u32) {
        self.all
            .sip
            .lines_in_use
            .with_label_values(&[self.trunk(trunk)])
            .set(i64::from(lines));
    }

    /// A call was refused for want of a line.
    pub fn trunk_lines_rejected(&self, trunk: &TrunkName) {
        self.all
            .sip
            .lines_rejected
            .with_label_values(&[self.trunk(trunk)])
            .inc();
    }

    /// The last SIP error on a trunk.
    pub fn trunk_last_error(&self, trunk: &TrunkName, code: u16) {
        self.all
            .sip
            .last_error
            .with_label_values(&[self.trunk(trunk)])
            .set(i64::from(code));
    }
}
