//! Identifiers. Each prints with a prefix or as the configured name, and none converts into another.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One call, from its first request to its record. Sortable by time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CallId(ulid::Ulid);

impl CallId {
    /// Builds an identifier from the time in milliseconds since 1970 and 80 random bits.
    pub fn new(unix_ms: u64, random: u128) -> Self {
        Self(ulid::Ulid::from_parts(unix_ms, random))
    }

    /// The time the call began, in milliseconds since 1970.
    pub fn unix_ms(self) -> u64 {
        self.0.timestamp_ms()
    }

    /// The 16 bytes under which the store sorts it by time.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_bytes()
    }

    /// The identifier whose [`CallId::to_bytes`] these are.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(ulid::Ulid::from_bytes(bytes))
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "call-{}", self.0)
    }
}

impl fmt::Debug for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for CallId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let bare = text.strip_prefix("call-").unwrap_or(text);
        bare.parse().map(Self).map_err(|_| NameError::Call)
    }
}

/// One leg of a call: its position among all the legs the call ever had.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LegId(pub u16);

impl fmt::Display for LegId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "leg-{}", self.0)
    }
}

impl fmt::Debug for LegId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a name or an identifier is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not 1 to 64 of the allowed characters.
    #[error(
        "a name has 1 to 64 letters, digits, `-`, `_` or `.`, and begins with a letter or digit: `{0}`"
    )]
    Characters(String),
    /// Not a call identifier.
    #[error("not a call identifier: expected `call-` and 26 characters")]
    Call,
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as configured.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                checked_name(text).map(Self)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                checked_name(&text).map(Self)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// The configured name of a trunk; a metric label, a log field, a store key.
    TrunkName
}
name! {
    /// The configured name of a Telegram session.
    SessionName
}
name! {
    /// The configured name of a quota profile.
    QuotaName
}
name! {
    /// The name by which an owner knows a Telegram user.
    UserName
}
name! {
    /// The configured name of a webhook.
    WebhookName
}
name! {
    /// The name of a worker.
    WorkerName
}

fn checked_name(text: &str) -> Result<String, NameError> {
    let first_ok = text
        .chars()
        .next()
        .is_some_and(|c| c.is_ascii_alphanumeric());
    let rest_ok = text
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    if first_ok && rest_ok && text.len() <= 64 {
        Ok(text.to_owned())
    } else {
        Err(NameError::Characters(text.chars().take(80).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_id_reads_back_what_it_prints() {
        let id = CallId::new(1_700_000_000_123, 7);
        assert_eq!(id.to_string().parse::<CallId>(), Ok(id));
        assert_eq!(id.unix_ms(), 1_700_000_000_123);
        assert_eq!(CallId::from_bytes(id.to_bytes()), id);
    }

    #[test]
    fn names_that_would_break_a_label_are_refused() {
        assert!("office-1".parse::<TrunkName>().is_ok());
        for bad in ["", "-a", "a b", "a\"b", "a\nb", &"x".repeat(65)] {
            assert!(bad.parse::<TrunkName>().is_err(), "{bad:?}");
        }
    }
}
