//! Trunks: whether they are up, their lines, their last error, and who is registered.

use model::TrunkName;
use prometheus::{IntCounterVec, IntGaugeVec};

use crate::Metrics;
use crate::family::{Families, trunk};

pub(crate) struct Trunks {
    up: IntGaugeVec,
    lines_limit: IntGaugeVec,
    lines_in_use: IntGaugeVec,
    lines_rejected: IntCounterVec,
    last_error: IntGaugeVec,
    bindings: IntGaugeVec,
}

impl Trunks {
    pub(crate) fn new(make: &mut Families) -> Self {
        Self {
            up: make.gauge(
                "trunk_up",
                "1 when calls can be placed on this trunk.",
                vec![trunk()],
            ),
            lines_limit: make.gauge(
                "trunk_lines_limit",
                "Configured lines, 0 = unlimited.",
                vec![trunk()],
            ),
            lines_in_use: make.gauge("trunk_lines_in_use", "Lines taken now.", vec![trunk()]),
            lines_rejected: make.counter(
                "trunk_lines_rejected_total",
                "Attempts refused for want of a line.",
                vec![trunk()],
            ),
            last_error: make.gauge(
                "trunk_last_error_code",
                "Last SIP error on the trunk, 0 = none.",
                vec![trunk()],
            ),
            bindings: make.gauge(
                "registrar_bindings",
                "Contacts held for a PBX that registers here.",
                vec![trunk()],
            ),
        }
    }
}

impl Metrics {
    /// Whether calls can be placed on a trunk, and how many contacts it has registered.
    pub fn trunk_state(&self, trunk: &TrunkName, up: bool, bindings: usize) {
        self.set(&self.all.trunks.up, trunk, i64::from(up));
        let bindings = i64::try_from(bindings).unwrap_or(i64::MAX);
        self.set(&self.all.trunks.bindings, trunk, bindings);
    }

    /// How many lines of a trunk are configured, 0 = unlimited.
    pub fn trunk_lines_limit(&self, trunk: &TrunkName, lines: u32) {
        self.set(&self.all.trunks.lines_limit, trunk, i64::from(lines));
    }

    /// How many lines of a trunk are taken.
    pub fn trunk_lines_in_use(&self, trunk: &TrunkName, lines: u32) {
        self.set(&self.all.trunks.lines_in_use, trunk, i64::from(lines));
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

    /// The figures of trunks beyond the limit of names would only overwrite each other: they are left out.
    fn set(&self, gauge: &IntGaugeVec, trunk: &TrunkName, value: i64) {
        if self.all.trunk_names.has(trunk.as_str()) {
            gauge.with_label_values(&[trunk.as_str()]).set(value);
        }
    }
}
