//! Manager, Worker and Storage.

use prometheus::IntGaugeVec;

use crate::Metrics;
use crate::family::{Families, all};
use crate::label::RoleName;

pub(crate) struct Roles {
    enabled: IntGaugeVec,
    running: IntGaugeVec,
}

impl Roles {
    pub(crate) fn new(make: &mut Families) -> Self {
        Self {
            enabled: make.gauge(
                "role_enabled",
                "1 while the role is switched on by its owner.",
                vec![all::<RoleName>("role")],
            ),
            running: make.gauge(
                "role_running",
                "1 while the role does its work, as was seen at the last look.",
                vec![all::<RoleName>("role")],
            ),
        }
    }
}

impl Metrics {
    /// How a role is: `manager`, `worker` or `storage`; others are not counted.
    pub fn role(&self, role: &str, enabled: bool, running: bool) {
        let Some(role) = RoleName::of(role) else {
            return;
        };
        let roles = &self.all.roles;
        let on = roles.enabled.with_label_values(&[role]);
        on.set(i64::from(enabled));
        let runs = roles.running.with_label_values(&[role]);
        runs.set(i64::from(running));
    }
}

impl RoleName {
    fn of(text: &str) -> Option<&'static str> {
        use crate::label::Closed;
        Self::values().into_iter().find(|value| *value == text)
    }
}
