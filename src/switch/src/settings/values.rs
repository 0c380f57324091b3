//! The types of single settings: each reads from text, says what it expected, and prints what it would read.

use std::fmt::{self, Display};
use std::net::{IpAddr, SocketAddr, SocketAddrV4};
use std::str::FromStr;

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::fault::meant;

/// A range of UDP ports, such as `16384-32767`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct PortRange {
    /// The first port.
    pub(crate) first: u16,
    /// The last port.
    pub(crate) last: u16,
}

impl PortRange {
    /// Returns whether a port lies in the range.
    pub(crate) fn contains(self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }

    /// Returns whether two ranges share a port.
    pub(crate) fn overlaps(self, other: PortRange) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

/// Why a text is no value of a setting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ValueError {
    /// Not two ports.
    #[error("`{0}` is no range of ports: expected for example 16384-32767")]
    PortRange(String),
    /// The wrong way round, or too small to be of use.
    #[error("the range {0}-{1} is empty: the first port must be 1024 or above and below the last")]
    EmptyRange(u16, u16),
    /// Not an address.
    #[error("`{0}` is no address: expected for example {1}")]
    Address(String, &'static str),
    /// Not a level.
    #[error("`{level}` is no log level: expected error, warn, info, debug, trace or off{}", .meant.as_ref().map_or(String::new(), |meant| format!("; did you mean `{meant}`?")))]
    Level {
        /// What was written.
        level: String,
        /// What was probably meant.
        meant: Option<String>,
    },
    /// Not a filter.
    #[error("`{0}` is no log filter: expected a level, or for example `info,sip=debug`")]
    Filter(String),
    /// Not a time to keep call records.
    #[error(
        "`{0}` is no time to keep call records: expected for example 90d, at most 100 years, or forever"
    )]
    Keep(String),
    /// Not a library version.
    #[error("`{0}` is no library version: expected for example 9.0.0")]
    Version(String),
    /// Unprintable, empty or too long.
    #[error("expected 1 to 64 printable characters without quotes")]
    Text,
    /// A list without elements.
    #[error("the list is empty: expected at least one {0}")]
    Empty(&'static str),
    /// Twice the same element.
    #[error("`{0}` is in the list twice")]
    Twice(String),
}

impl FromStr for PortRange {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let no_range = || ValueError::PortRange(text.to_owned());
        let (first, last) = text.split_once('-').ok_or_else(no_range)?;
        let port = |text: &str| text.trim().parse::<u16>().map_err(|_| no_range());
        let (first, last) = (port(first)?, port(last)?);
        if first < 1024 || last <= first {
            return Err(ValueError::EmptyRange(first, last));
        }
        Ok(Self { first, last })
    }
}

impl Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

/// What is logged: a level for our own rooms, or a filter as of `tracing`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct LogLevel(String);

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

impl LogLevel {
    /// The text as written.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is a level alone.
    pub(crate) fn is_plain(&self) -> bool {
        LEVELS.contains(&self.0.as_str())
    }
}

impl FromStr for LogLevel {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        // A word that is no level would be taken for the name of a crate, and silence everything else.
        for word in text.split(',').map(str::trim) {
            let level = word.rsplit('=').next().unwrap_or(word);
            if !LEVELS.contains(&level) && !word.contains('[') {
                return Err(ValueError::Level {
                    level: level.to_owned(),
                    meant: meant(level, LEVELS.into_iter()),
                });
            }
        }
        tracing_subscriber::EnvFilter::builder()
            .parse(text)
            .map_err(|_| ValueError::Filter(text.to_owned()))?;
        Ok(Self(text.to_owned()))
    }
}

impl Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A short printable text, such as a realm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Text(String);

impl Text {
    /// The text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Text {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let clean = |c: char| c.is_ascii_graphic() && c != '"' && c != '\\' || c == ' ';
        if (1..=64).contains(&text.len()) && text.trim() == text && text.chars().all(clean) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ValueError::Text)
        }
    }
}

impl Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A version of Telegram's call library, such as `9.0.0`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LibraryVersion(pub(crate) String);

impl FromStr for LibraryVersion {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let part =
            |part: &str| (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
        if text.split('.').count() == 3 && text.split('.').all(part) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ValueError::Version(text.to_owned()))
        }
    }
}

impl Display for LibraryVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

macro_rules! through_text {
    ($($name:ident),*) => {$(
        impl TryFrom<String> for $name {
            type Error = ValueError;

            fn try_from(text: String) -> Result<Self, ValueError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.to_string()
            }
        }
    )*};
}
through_text!(PortRange, LogLevel, Text);

/// What reads from the text of one setting.
pub(crate) trait FromText: Sized {
    /// What it is called in a message.
    const WHAT: &'static str;

    /// Reads it, or says what was expected.
    fn from_text(text: &str) -> Result<Self, ValueError>;
}

macro_rules! from_text {
    ($($name:ty, $what:literal, |$text:pat_param| $error:expr;)*) => {$(
        impl FromText for $name {
            const WHAT: &'static str = $what;

            fn from_text(text: &str) -> Result<Self, ValueError> {
                let $text = text.to_owned();
                text.parse().map_err($error)
            }
        }
    )*};
}
from_text! {
    SocketAddr, "address with a port", |text| move |_| ValueError::Address(text, "127.0.0.1:5060");
    SocketAddrV4, "address with a port", |text| move |_| ValueError::Address(text, "127.0.0.1:443");
    IpAddr, "address", |text| move |_| ValueError::Address(text, "192.0.2.1");
    PortRange, "range", |_| |error| error;
    LibraryVersion, "version", |_| |error| error;
}

/// One value, written as text.
pub(crate) mod one {
    use super::{Deserialize, Deserializer, Display, Error, FromText, Serializer};

    pub(crate) fn serialize<T: Display, S: Serializer>(
        value: &T,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }

    pub(crate) fn deserialize<'de, T: FromText, D: Deserializer<'de>>(
        from: D,
    ) -> Result<T, D::Error> {
        T::from_text(&String::deserialize(from)?).map_err(D::Error::custom)
    }
}

/// One value, or an empty text for none: so that every key has a default that can be written down.
pub(crate) mod optional {
    use super::{Deserialize, Deserializer, Display, Error, FromText, Serializer};

    #[allow(
        clippy::ref_option,
        reason = "the shape that serde asks of a `with` module"
    )]
    pub(crate) fn serialize<T: Display, S: Serializer>(
        value: &Option<T>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => to.collect_str(value),
            None => to.serialize_str(""),
        }
    }

    pub(crate) fn deserialize<'de, T: FromText, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<T>, D::Error> {
        match String::deserialize(from)?.as_str() {
            "" => Ok(None),
            text => T::from_text(text).map(Some).map_err(D::Error::custom),
        }
    }
}

/// A list; a single text is a list of what its commas separate, which is how it is written in the environment.
pub(crate) mod list {
    use super::{Deserializer, Display, FromText, ListVisitor, Serializer};

    pub(crate) fn serialize<T: Display, S: Serializer>(
        values: &[T],
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_seq(values.iter().map(ToString::to_string))
    }

    pub(crate) fn deserialize<'de, T, D>(from: D) -> Result<Vec<T>, D::Error>
    where
        T: FromText + PartialEq + Display,
        D: Deserializer<'de>,
    {
        from.deserialize_any(ListVisitor::new(false))
    }
}

/// The same, where none is an answer, too.
pub(crate) mod any_list {
    use super::{Deserializer, Display, FromText, ListVisitor};

    pub(crate) use super::list::serialize;

    pub(crate) fn deserialize<'de, T, D>(from: D) -> Result<Vec<T>, D::Error>
    where
        T: FromText + PartialEq + Display,
        D: Deserializer<'de>,
    {
        from.deserialize_any(ListVisitor::new(true))
    }
}

struct ListVisitor<T> {
    may_be_empty: bool,
    of: std::marker::PhantomData<T>,
}

impl<T: FromText + PartialEq + Display> ListVisitor<T> {
    fn new(may_be_empty: bool) -> Self {
        Self {
            may_be_empty,
            of: std::marker::PhantomData,
        }
    }

    fn add<E: Error>(list: &mut Vec<T>, value: T) -> Result<(), E> {
        if list.contains(&value) {
            return Err(E::custom(ValueError::Twice(value.to_string())));
        }
        list.push(value);
        Ok(())
    }
}

impl<'de, T: FromText + PartialEq + Display> Visitor<'de> for ListVisitor<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of texts in quotes")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Vec<T>, E> {
        let mut list = Vec::new();
        if self.may_be_empty && text.trim().is_empty() {
            return Ok(list);
        }
        for part in text.split(',') {
            Self::add(&mut list, T::from_text(part.trim()).map_err(E::custom)?)?;
        }
        Ok(list)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Vec<T>, A::Error> {
        let mut list = Vec::new();
        while let Some(text) = from.next_element::<String>()? {
            Self::add(&mut list, T::from_text(&text).map_err(A::Error::custom)?)?;
        }
        if list.is_empty() && !self.may_be_empty {
            return Err(A::Error::custom(ValueError::Empty(T::WHAT)));
        }
        Ok(list)
    }
}

/// Addresses of a transport that has connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Listen {
    /// Those of UDP, with the port that is usual where it is another one.
    AsUdp,
    /// These; there may be none.
    At(Vec<SocketAddr>),
}

impl Serialize for Listen {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::AsUdp => to.serialize_str("udp"),
            Self::At(addresses) if addresses.is_empty() => to.serialize_str(""),
            Self::At(addresses) => list::serialize(addresses, to),
        }
    }
}

impl<'de> Deserialize<'de> for Listen {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(ListenVisitor)
    }
}

struct ListenVisitor;

impl<'de> Visitor<'de> for ListenVisitor {
    type Value = Listen;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"udp\", \"\" or a list of texts in quotes")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Listen, E> {
        match text {
            "udp" => Ok(Listen::AsUdp),
            "" => Ok(Listen::At(Vec::new())),
            text => ListVisitor::new(false).visit_str(text).map(Listen::At),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, from: A) -> Result<Listen, A::Error> {
        ListVisitor::new(false).visit_seq(from).map(Listen::At)
    }
}

/// Reads a whole number from `MIN` to `MAX`.
pub(crate) fn within<'de, D, T, const MIN: u64, const MAX: u64>(from: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: TryFrom<u64>,
{
    let value = i128::from(i64::deserialize(from)?);
    let fits = u64::try_from(value)
        .ok()
        .filter(|value| (MIN..=MAX).contains(value));
    fits.and_then(|value| T::try_from(value).ok())
        .ok_or_else(|| {
            D::Error::custom(format_args!(
                "{value} is out of range: expected {MIN} to {MAX}"
            ))
        })
}

/// Reads the length of a frame towards Telegram.
pub(crate) fn frame_ms<'de, D: Deserializer<'de>>(from: D) -> Result<u8, D::Error> {
    match i64::deserialize(from)? {
        20 => Ok(20),
        40 => Ok(40),
        60 => Ok(60),
        other => Err(D::Error::custom(format_args!(
            "{other} ms is no frame: expected 20, 40 or 60"
        ))),
    }
}
