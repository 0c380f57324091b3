//! What becomes of call records.

use std::fmt::{self, Display};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::ValueError;

/// What becomes of call records.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Cdr {
    /// How long they stay in the store.
    pub(crate) keep: Keep,
    /// What of people they show.
    pub(crate) privacy: Privacy,
    /// The folder of the files with comma-separated values; empty = none are written.
    pub(crate) csv: PathBuf,
    /// The folder of those with JSON lines.
    pub(crate) jsonl: PathBuf,
}

/// What call records show of people.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Privacy {
    /// Numbers and names.
    #[default]
    Full,
    /// The last three digits of numbers.
    Masked,
}

/// How long call records are kept, such as `90d`; `forever`, or 0, for all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Keep {
    text: String,
    /// None: all are kept.
    pub(crate) time: Option<Duration>,
}

/// The longest time that is one; longer is `forever`.
const LONGEST: Duration = Duration::from_secs(100 * 366 * 24 * 3600);

impl Default for Keep {
    fn default() -> Self {
        Self {
            text: "90d".to_owned(),
            time: Some(Duration::from_secs(90 * 24 * 3600)),
        }
    }
}

impl FromStr for Keep {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let strange = || ValueError::Keep(text.to_owned());
        let time = match text {
            "forever" | "0" => None,
            text => Some(humantime::parse_duration(text).map_err(|_| strange())?),
        };
        if time.is_some_and(|time| time > LONGEST) {
            return Err(strange());
        }
        Ok(Self {
            text: text.to_owned(),
            time: time.filter(|time| !time.is_zero()),
        })
    }
}

impl Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Keep {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Keep {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(KeepVisitor)
    }
}

struct KeepVisitor;

impl Visitor<'_> for KeepVisitor {
    type Value = Keep;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a time in quotes, such as \"90d\", or \"forever\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Keep, E> {
        text.parse().map_err(E::custom)
    }

    // 0 needs no quotes; of any other number nobody would know what it counts.
    fn visit_i64<E: Error>(self, number: i64) -> Result<Keep, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Keep, E> {
        self.visit_str(&number.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_to_keep_is_read_as_people_write_it() {
        let days = |days: u64| Some(Duration::from_secs(days * 24 * 3600));
        for (text, time) in [
            ("90d", days(90)),
            ("90days", days(90)),
            ("1h", Some(Duration::from_secs(3600))),
            ("forever", None),
            ("0", None),
            ("0s", None),
        ] {
            let keep: Keep = text.parse().unwrap();
            assert_eq!(
                (keep.time, keep.to_string()),
                (time, text.to_owned()),
                "{text}"
            );
        }
        for text in ["", "90", "-1d", "ever", "9999999years", "999y"] {
            let error = text.parse::<Keep>().unwrap_err().to_string();
            assert!(error.contains("forever"), "{text}: {error}");
        }
        assert_eq!("90d".parse(), Ok(Keep::default()));
    }
}
