//! What the switch finds amiss with itself is told to whoever listens; what that is, others look for.

use model::EventKind;
use serde_json::Value;

use super::{House, Via};
use crate::events::About;

impl House {
    /// Whether the store takes what is written to it.
    pub fn stores(&self) -> bool {
        !self.common.store_health.fails()
    }

    /// Tells that something is amiss, or no more; `at` is the trunk or session that it is about, `data` what there is to say.
    pub fn tell_alert(&self, at: Option<&Via>, data: Value) {
        let about = match at {
            Some(Via::Trunk(trunk)) => About::trunk(trunk),
            Some(Via::Session(session)) => About::session(session),
            None => About::default(),
        };
        self.common.events.tell(EventKind::Alert, about, || data);
    }
}
