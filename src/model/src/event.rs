//! What happens in the switch, by name: one list for whoever listens over HTTP and for what is counted.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// One event. Sortable by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EventId(ulid::Ulid);

impl EventId {
    /// Builds an identifier from the time in milliseconds since 1970 and 80 random bits.
    pub fn new(unix_ms: u64, random: u128) -> Self {
        Self(ulid::Ulid::from_parts(unix_ms, random))
    }

    /// The time of the event, in milliseconds since 1970.
    pub fn unix_ms(self) -> u64 {
        self.0.timestamp_ms()
    }
}

/// Not an id of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the id of an event")]
pub struct NoEventId;

impl FromStr for EventId {
    type Err = NoEventId;

    fn from_str(text: &str) -> Result<Self, NoEventId> {
        text.parse().map(Self).map_err(|_| NoEventId)
    }
}

/// The bare ULID.
impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $label:literal;)*) => {
        /// What kind of event it is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum EventKind { $($(#[$doc])* $kind,)* }

        impl EventKind {
            /// Every kind.
            pub const ALL: &'static [EventKind] = &[$(EventKind::$kind,)*];

            /// Its name, which does not change.
            pub fn label(self) -> &'static str {
                match self { $(EventKind::$kind => $label,)* }
            }
        }
    };
}

kinds! {
    /// A call was routed; somebody is about to be called.
    CallStarted = "call.started";
    /// A device of the called side rings.
    CallRinging = "call.ringing";
    /// Both sides talk.
    CallAnswered = "call.answered";
    /// An owner holds the PBX of a call, or lets it go on.
    CallHeld = "call.held";
    /// How a call has sounded in the last 10 s.
    CallQuality = "call.quality";
    /// A call is over, or was refused.
    CallEnded = "call.ended";
    /// Calls can be placed on a trunk from now on, or no more.
    RegistrationChanged = "registration.changed";
    /// A trunk has failed so often that no calls are placed on it for a while.
    TrunkBlocked = "trunk.blocked";
    /// The state of a session is another one.
    SessionChanged = "session.changed";
    /// Telegram orders a session to wait.
    SessionFloodWait = "session.flood_wait";
    /// A Telegram user or a PBX has sent a text.
    MessageReceived = "message.received";
    /// Trunks, sessions, routes or quotas have changed.
    ConfigChanged = "config.changed";
    /// Something is amiss with the switch itself, or no more.
    Alert = "alert";
}

impl EventKind {
    /// What its name begins with, such as `call`: few enough to be counted apart.
    pub fn group(self) -> &'static str {
        let label = self.label();
        label.split_once('.').map_or(label, |(group, _)| group)
    }

    /// Every group once, in the order of their first kinds.
    pub fn groups() -> Vec<&'static str> {
        let mut groups = Vec::new();
        for kind in Self::ALL {
            if !groups.contains(&kind.group()) {
                groups.push(kind.group());
            }
        }
        groups
    }
}

/// By its name.
impl Serialize for EventKind {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.label())
    }
}

/// By its name.
impl<'de> Deserialize<'de> for EventKind {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// A name of no kind of event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no event `{0}`: {known} are known", known = known())]
pub struct UnknownEvent(pub String);

fn known() -> String {
    let labels: Vec<&str> = EventKind::ALL.iter().map(|kind| kind.label()).collect();
    labels.join(", ")
}

impl FromStr for EventKind {
    type Err = UnknownEvent;

    fn from_str(text: &str) -> Result<Self, UnknownEvent> {
        let found = EventKind::ALL.iter().find(|kind| kind.label() == text);
        found.copied().ok_or_else(|| UnknownEvent(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_is_written() {
        let id = EventId::new(1_700_000_000_123, 7);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!("01".parse::<EventId>(), Err(NoEventId));
    }

    #[test]
    fn every_kind_is_read_as_it_is_written() {
        for kind in EventKind::ALL {
            assert_eq!(kind.to_string().parse(), Ok(*kind));
        }
        let groups = EventKind::groups();
        let mut once = groups.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), groups.len(), "one is there twice");
        assert!(groups.contains(&"call") && groups.contains(&"config"));
        let error = "call.over".parse::<EventKind>().unwrap_err().to_string();
        assert!(
            error.contains("`call.over`") && error.contains("call.ended"),
            "{error}"
        );
    }
}
