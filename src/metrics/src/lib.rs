//! Names every number the operator sees. No logic: facts come in by methods named after them, `render` gives the text.
//!
//! | question | module |
//! |---|---|
//! | how families are registered, touched at the start and removed | `family` |
//! | which values a label may have | `label`, `names` |
//! | which family counts a fact of calls, SIP and trunks, Telegram, media, the process | the module of that name |
//!
//! Label values come from closed lists or are configured names, never from a peer. Every series that can occur exists
//! from the start, because a counter that appears with its first event hides that event from `rate()`.

mod calls;
mod events;
mod family;
mod house;
mod label;
mod load;
mod media;
mod names;
mod page;
mod roles;
mod sip;
mod telegram;
#[cfg(test)]
mod tests;
mod trunks;
mod webhooks;

use std::sync::Arc;

use model::{SessionName, TrunkName};
use prometheus::process_collector::ProcessCollector;
use prometheus::{Registry, TextEncoder};

pub use calls::{CallState, DtmfMethod, TransferKind};
pub use family::{Family, FamilyKind, FamilyLabel, LabelValues};
pub use house::StoreOp;
pub use media::{Discard, LegCounters, MediaCounters, Transcoding};
pub use names::NAMES_MAX;
pub use page::page;
pub use prometheus::{Counter as Seconds, IntCounter as Counter, IntGauge as Gauge};
pub use sip::Flow;
pub use telegram::{
    LocalRefusal, ResolveResult, ResolveSource, RpcResult, SessionState, TelegramConnection,
};
pub use trunks::RegistrationState;
pub use webhooks::DeliveryResult;

/// The prefix of every family of ours; changing it breaks every user's dashboards.
pub const PREFIX: &str = "strowger";

/// All the numbers of one process; cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    all: Arc<All>,
}

struct All {
    registry: Registry,
    families: family::Families,
    trunk_names: names::Names,
    session_names: names::Names,
    house: house::House,
    load: load::Load,
    roles: roles::Roles,
    calls: calls::Calls,
    events: events::Events,
    sip: sip::Sip,
    trunks: trunks::Trunks,
    telegram: telegram::Telegram,
    webhooks: webhooks::Webhooks,
    media: MediaCounters,
}

impl Metrics {
    /// Makes and touches every family; `version` is that of the program.
    pub fn new(version: &str) -> Self {
        let mut make = family::Families::new();
        let all = All {
            house: house::House::new(&mut make, version),
            load: load::Load::new(&mut make),
            roles: roles::Roles::new(&mut make),
            calls: calls::Calls::new(&mut make),
            events: events::Events::new(&mut make),
            sip: sip::Sip::new(&mut make),
            trunks: trunks::Trunks::new(&mut make),
            telegram: telegram::Telegram::new(&mut make),
            webhooks: webhooks::Webhooks::new(&mut make),
            media: MediaCounters::new(&mut make),
            trunk_names: names::Names::new("trunk"),
            session_names: names::Names::new("session"),
            registry: make.registry().clone(),
            families: make,
        };
        // The names of these (`process_cpu_seconds_total`) are fixed by convention and have no prefix of ours.
        let process = Box::new(ProcessCollector::for_self());
        if all.registry.register(process).is_err() {
            tracing::warn!("the figures of the process are not available on this system");
        }
        Self { all: Arc::new(all) }
    }

    /// Returns all families in the text format 0.0.4; asks nobody and waits for nothing.
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Encoding into a String cannot fail for families that were registered.
        let _ = TextEncoder::new().encode_utf8(&self.all.registry.gather(), &mut text);
        text
    }

    /// Returns every family of ours, with its help text and the values its labels may have.
    pub fn families(&self) -> &[Family] {
        self.all.families.list()
    }

    /// Returns the counters of the media plane, resolved once.
    pub fn media(&self) -> MediaCounters {
        self.all.media.clone()
    }

    /// Makes the series of a trunk and sets its `lines`, 0 = unlimited; harmless when repeated.
    pub fn add_trunk(&self, trunk: &TrunkName, lines: u32) {
        if self.all.trunk_names.add(trunk.as_str()) {
            self.all.families.touch_trunk(trunk.as_str());
        }
        self.trunk_lines_limit(trunk, lines);
    }

    /// Removes the series of a trunk.
    pub fn remove_trunk(&self, trunk: &TrunkName) {
        if self.all.trunk_names.remove(trunk.as_str()) {
            self.all.families.forget_trunk(trunk.as_str());
        }
    }

    /// Makes the series of a session; harmless when repeated.
    pub fn add_session(&self, session: &SessionName) {
        if self.all.session_names.add(session.as_str()) {
            self.all.families.touch_session(session.as_str());
        }
    }

    /// Removes the series of a session.
    pub fn remove_session(&self, session: &SessionName) {
        if self.all.session_names.remove(session.as_str()) {
            self.all.families.forget_session(session.as_str());
        }
    }

    /// The value of the label `trunk`: the name while it has series, else `other`.
    fn trunk<'a>(&self, trunk: &'a TrunkName) -> &'a str {
        self.all.trunk_names.label(trunk.as_str())
    }

    /// The value of the label `session`: the name while it has series, else `other`.
    fn session<'a>(&self, session: &'a SessionName) -> &'a str {
        self.all.session_names.label(session.as_str())
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Metrics({} families)", self.families().len())
    }
}
