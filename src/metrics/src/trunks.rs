//! Trunks: whether they are up, their lines, their last error, and who is registered.

use std::time::Duration;

use model::TrunkName;
use prometheus::{GaugeVec, IntCounterVec, IntGaugeVec};

use crate::Metrics;
use crate::family::{Families, all, each_trunk, trunk};
use crate::label::{Closed, RegistrationResults, labelled, whole};

pub(crate) struct Trunks {
    enabled: IntGaugeVec,
    up: IntGaugeVec,
    lines_limit: IntGaugeVec,
    lines_in_use: IntGaugeVec,
    lines_rejected: IntCounterVec,
    failures: IntGaugeVec,
    failure_limit: IntGaugeVec,
    blocked: IntGaugeVec,
    last_error: IntGaugeVec,
    bindings: IntGaugeVec,
    options_rtt: GaugeVec,
    registration_state: IntGaugeVec,
    registration_attempts: IntCounterVec,
    registration_expiry: GaugeVec,
}

labelled! {
    /// Where our registration at a PBX stands.
    pub enum RegistrationState {
        /// Not wanted.
        Off = "off",
        /// Under way for the first time.
        Registering = "registering",
        /// The registrar has us.
        Registered = "registered",
        /// The registrar does not want us.
        Rejected = "rejected",
        /// The registrar does not answer, or cannot be reached.
        Timeout = "timeout",
    }
}

impl Trunks {
    pub(crate) fn new(make: &mut Families) -> Self {
        Self {
            enabled: make.gauge(
                "trunk_enabled",
                "1 while the trunk is switched on by its owner.",
                vec![each_trunk()],
            ),
            up: make.gauge(
                "trunk_up",
                "1 when calls can be placed on this trunk.",
                vec![each_trunk()],
            ),
            lines_limit: make.gauge(
                "trunk_lines_limit",
                "Configured lines, 0 = unlimited.",
                vec![each_trunk()],
            ),
            lines_in_use: make.gauge("trunk_lines_in_use", "Lines taken now.", vec![each_trunk()]),
            lines_rejected: make.counter(
                "trunk_lines_rejected_total",
                "Attempts refused for want of a line.",
                vec![trunk()],
            ),
            failures: make.gauge(
                "trunk_consecutive_failures",
                "Calls to the trunk that failed in a row because of the trunk itself.",
                vec![each_trunk()],
            ),
            failure_limit: make.gauge(
                "trunk_failure_limit",
                "Failures in a row after which the trunk is blocked, 0 = never.",
                vec![each_trunk()],
            ),
            blocked: make.gauge(
                "trunk_blocked",
                "1 while no call is placed on the trunk because too many failed.",
                vec![each_trunk()],
            ),
            last_error: make.gauge(
                "trunk_last_error_code",
                "Last SIP error on the trunk, 0 = none.",
                vec![each_trunk()],
            ),
            bindings: make.gauge(
                "registrar_bindings",
                "Contacts held for a PBX that registers here.",
                vec![each_trunk()],
            ),
            options_rtt: make.time_gauge(
                "sip_options_rtt_seconds",
                "Last round trip of OPTIONS to a peer that is asked, 0 = none yet.",
                vec![each_trunk()],
            ),
            registration_state: make.gauge(
                "registration_state",
                "State of our registration at the PBX, 1 for the one it is in.",
                vec![each_trunk(), all::<RegistrationState>("state")],
            ),
            registration_attempts: make.counter(
                "registration_attempts_total",
                "Registrations of ours at the PBX, by outcome.",
                vec![trunk(), all::<RegistrationResults>("result")],
            ),
            registration_expiry: make.time_gauge(
                "registration_expiry_timestamp_seconds",
                "When our registration at the PBX ends, 0 = not registered.",
                vec![each_trunk()],
            ),
        }
    }
}

impl Metrics {
    /// Whether the owner of a trunk has it switched on.
    pub fn trunk_enabled(&self, trunk: &TrunkName, enabled: bool) {
        self.set(&self.all.trunks.enabled, trunk, i64::from(enabled));
    }

    /// Whether calls can be placed on a trunk, and how many contacts it has registered.
    pub fn trunk_state(&self, trunk: &TrunkName, up: bool, bindings: usize) {
        self.set(&self.all.trunks.up, trunk, i64::from(up));
        let bindings = whole(bindings);
        self.set(&self.all.trunks.bindings, trunk, bindings);
    }

    /// Where our registration at a PBX stands, and when it ends, in seconds since 1970.
    pub fn registration(&self, trunk: &TrunkName, state: RegistrationState, ends_at: Option<u64>) {
        if !self.all.trunk_names.has(trunk.as_str()) {
            return;
        }
        let trunks = &self.all.trunks;
        for one in RegistrationState::values() {
            trunks
                .registration_state
                .with_label_values(&[trunk.as_str(), one])
                .set(i64::from(one == state.label()));
        }
        trunks
            .registration_expiry
            .with_label_values(&[trunk.as_str()])
            .set(ends_at.unwrap_or(0) as f64);
    }

    /// A peer has answered OPTIONS after this time.
    pub fn options_answered(&self, trunk: &TrunkName, took: Duration) {
        if self.all.trunk_names.has(trunk.as_str()) {
            let rtt = &self.all.trunks.options_rtt;
            rtt.with_label_values(&[trunk.as_str()])
                .set(took.as_secs_f64());
        }
    }

    /// An attempt of ours to register: `ok`, `rejected`, `timeout` or `network`.
    pub fn registration_attempt(&self, trunk: &TrunkName, result: &'static str) {
        if self.all.trunk_names.has(trunk.as_str())
            && RegistrationResults::values().contains(&result)
        {
            self.all
                .trunks
                .registration_attempts
                .with_label_values(&[trunk.as_str(), result])
                .inc();
        }
    }

    /// How many lines of a trunk are configured, 0 = unlimited.
    pub fn trunk_lines_limit(&self, trunk: &TrunkName, lines: u32) {
        self.set(&self.all.trunks.lines_limit, trunk, i64::from(lines));
    }

    /// How many lines of a trunk are taken.
    pub fn trunk_lines_in_use(&self, trunk: &TrunkName, lines: u32) {
        self.set(&self.all.trunks.lines_in_use, trunk, i64::from(lines));
    }

    /// After how many failures in a row a trunk is blocked.
    pub fn trunk_failure_limit(&self, trunk: &TrunkName, limit: u32) {
        self.set(&self.all.trunks.failure_limit, trunk, i64::from(limit));
    }

    /// How many calls to a trunk failed in a row, and whether it is blocked for that.
    pub fn trunk_failures(&self, trunk: &TrunkName, in_a_row: u32, is_blocked: bool) {
        let trunks = &self.all.trunks;
        self.set(&trunks.failures, trunk, i64::from(in_a_row));
        self.set(&trunks.blocked, trunk, i64::from(is_blocked));
    }

    /// A call was refused for want of a line.
    pub fn trunk_lines_rejected(&self, trunk: &TrunkName) {
        let labels = [self.trunk(trunk)];
        let rejected = &self.all.trunks.lines_rejected;
        rejected.with_label_values(&labels).inc();
    }

    /// The last SIP error on a trunk, 0 when it works again.
    pub fn trunk_last_error(&self, trunk: &TrunkName, code: u16) {
        self.set(&self.all.trunks.last_error, trunk, i64::from(code));
    }

    /// The last SIP error on a trunk; nothing when it works, or is one of those without figures of their own.
    pub fn last_error_of(&self, trunk: &TrunkName) -> Option<u16> {
        let name = trunk.as_str();
        let is_known = self.all.trunk_names.has(name);
        let gauge = &self.all.trunks.last_error;
        let code = is_known.then(|| gauge.with_label_values(&[name]).get());
        code.and_then(|code| u16::try_from(code).ok())
            .filter(|code| *code != 0)
    }

    /// The figures of trunks beyond the limit of names would only overwrite each other: they are left out.
    fn set(&self, gauge: &IntGaugeVec, trunk: &TrunkName, value: i64) {
        if self.all.trunk_names.has(trunk.as_str()) {
            gauge.with_label_values(&[trunk.as_str()]).set(value);
        }
    }
}
