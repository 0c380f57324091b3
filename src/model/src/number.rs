//! Whom a call is for on the Telegram side. Which of them a dialled number means is decided in `routing`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Digits of an international phone number, without `+`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PhoneNumber(String);

impl PhoneNumber {
    /// The digits.
    pub fn digits(&self) -> &str {
        &self.0
    }
}

impl FromStr for PhoneNumber {
    type Err = NumberError;

    /// Takes 5 to 15 digits, with or without a leading `+`; the first is not 0.
    fn from_str(text: &str) -> Result<Self, NumberError> {
        let digits = text.strip_prefix('+').unwrap_or(text);
        let ok = (5..=15).contains(&digits.len())
            && digits.bytes().all(|b| b.is_ascii_digit())
            && !digits.starts_with('0');
        if ok {
            Ok(Self(digits.to_owned()))
        } else {
            Err(NumberError)
        }
    }
}

impl fmt::Display for PhoneNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "+{}", self.0)
    }
}

/// Shortened, so that a log does not become a phone book.
impl fmt::Debug for PhoneNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head: String = self.0.chars().take(4).collect();
        let tail: String = self
            .0
            .chars()
            .skip(self.0.len().saturating_sub(3))
            .collect();
        write!(f, "+{head}***{tail}")
    }
}

/// A called number that names nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("neither a phone number, a username nor a user id")]
pub struct NumberError;

/// A Telegram user, by whichever identifier is known.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Peer {
    /// By phone number.
    Phone(PhoneNumber),
    /// By username, without `@`.
    Username(String),
    /// By user id; can be called only when it has been met before.
    UserId(i64),
}

impl Peer {
    /// A username without `@`: a letter, then letters, digits and `_`, 4 to 32 characters in all; the few that Telegram has
    /// with 3 hold no `_`.
    pub fn from_username(text: &str) -> Result<Self, NumberError> {
        let ok = (4..=32).contains(&text.len())
            || (text.len() == 3 && text.bytes().all(|b| b.is_ascii_alphanumeric()));
        let ok = ok
            && text.bytes().next().is_some_and(|b| b.is_ascii_alphabetic())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if ok {
            Ok(Peer::Username(text.to_owned()))
        } else {
            Err(NumberError)
        }
    }

    /// Somebody as an owner writes him: `@username`, `+phone`, or a user id in decimal.
    pub fn from_written(text: &str) -> Result<Self, NumberError> {
        let text = text.trim();
        match (text.strip_prefix('@'), text.strip_prefix('+')) {
            (Some(name), _) => Self::from_username(name),
            (None, Some(_)) => text.parse().map(Peer::Phone),
            (None, None) => Self::from_user_id(text),
        }
    }

    /// A user id in decimal, without leading zeros.
    pub fn from_user_id(text: &str) -> Result<Self, NumberError> {
        let ok = !text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit());
        match text.parse() {
            Ok(id) if ok => Ok(Peer::UserId(id)),
            _ => Err(NumberError),
        }
    }
}

/// Prints the form of the default Caller ID rules: `+{phone}`, `{username}`, `0{userid}`.
impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Phone(number) => write!(f, "{number}"),
            Peer::Username(name) => f.write_str(name),
            Peer::UserId(id) => write!(f, "0{id}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usernames_and_user_ids_are_told_from_other_texts() {
        for name in ["ann", "gif", "ann_b", "Ann9", &"a".repeat(32)] {
            assert_eq!(
                Peer::from_username(name),
                Ok(Peer::Username(name.to_owned()))
            );
        }
        for name in [
            "",
            "an",
            "a_b",
            "9ann",
            "_ann",
            "a nn",
            "ännn",
            &"a".repeat(33),
        ] {
            assert_eq!(Peer::from_username(name), Err(NumberError), "{name}");
        }
        assert_eq!(Peer::from_user_id("4242"), Ok(Peer::UserId(4242)));
        for id in ["", "0", "04242", "+4242", "-1", "99999999999999999999"] {
            assert_eq!(Peer::from_user_id(id), Err(NumberError), "{id}");
        }
    }
}
