//! How Manager, Worker and Storage are, as an owner sees them, and whether the store can be used.

use std::sync::atomic::{AtomicBool, Ordering};

use model::{Role, RoleState};
use serde::{Deserialize, Serialize};

use super::House;

/// The name of the part that decides; it cannot be switched off.
pub const MANAGER: &str = "manager";

/// How a part of the switch is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleReport {
    /// `manager`, `worker` or `storage`.
    pub name: String,
    /// Whether its owner wants it.
    pub enabled: bool,
    /// How it is.
    pub state: RoleState,
}

impl RoleReport {
    pub(crate) fn new(name: &str, enabled: bool, state: RoleState) -> Self {
        Self {
            name: name.to_owned(),
            enabled,
            state,
        }
    }

    /// What is known when the registry does not answer: that nothing can be decided.
    pub(super) fn silent() -> Vec<Self> {
        let names = [MANAGER].into_iter().chain(Role::ALL.map(Role::label));
        names
            .map(|name| Self::new(name, true, RoleState::Unavailable))
            .collect()
    }
}

/// Whether the store takes what is written to it: the keeper says so, the registry asks.
#[derive(Debug, Default)]
pub(crate) struct StoreHealth {
    fails: AtomicBool,
}

impl StoreHealth {
    /// Something was written, or could not be.
    pub(crate) fn note(&self, works: bool) {
        self.fails.store(!works, Ordering::Relaxed);
    }

    /// Whether what was written last could not be.
    pub(crate) fn fails(&self) -> bool {
        self.fails.load(Ordering::Relaxed)
    }
}

impl House {
    /// What the registry cannot know of the parts: whether the others live that they consist of. Shown as metrics too.
    pub(super) fn complete(&self, roles: &mut [RoleReport]) {
        let keeps = self.common.keeper.open().is_some() && !self.common.store_health.fails();
        let signals = self.common.endpoint.open().is_some();
        for role in roles {
            let works = match role.name.as_str() {
                "worker" => signals,
                "storage" => keeps,
                _ => true,
            };
            if !works {
                role.state = RoleState::Unavailable;
            }
            let metrics = &self.common.metrics;
            metrics.role(&role.name, role.enabled, role.state == RoleState::Running);
        }
    }
}
