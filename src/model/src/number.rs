//! Whom a number means on the Telegram side (product rules for the called number, default Caller ID rules).

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
    /// Reads the user part of a Request-URI, already percent-decoded, by the default rules
    /// `+{phone}`, `{username}`, `0{userid}` and their fallbacks.
    pub fn from_dialled(text: &str) -> Result<Self, NumberError> {
        if let Some(rest) = text.strip_prefix('+') {
            return rest.parse().map(Peer::Phone);
        }
        if let Some(name) = text.strip_prefix("tg#").or(text.strip_prefix('@')) {
            return username(name);
        }
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if !digits {
            return username(text);
        }
        match text.strip_prefix('0') {
            // `00` begins an international number; `0` and a digit from 1 to 9 a user id.
            Some(rest) => match rest.strip_prefix('0') {
                Some(number) if number.len() >= 7 => number.parse().map(Peer::Phone),
                Some(_) => Err(NumberError),
                None => match rest.parse::<i64>() {
                    Ok(id) if id > 0 => Ok(Peer::UserId(id)),
                    _ => Err(NumberError),
                },
            },
            None if (7..=15).contains(&text.len()) => text.parse().map(Peer::Phone),
            None => Err(NumberError),
        }
    }
}

/// Prints the form that [`Peer::from_dialled`] reads back.
impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Phone(number) => write!(f, "{number}"),
            Peer::Username(name) => f.write_str(name),
            Peer::UserId(id) => write!(f, "0{id}"),
        }
    }
}

/// Telegram's usernames: a letter, then letters, digits and `_`, 4 to 32 characters in all.
fn username(text: &str) -> Result<Peer, NumberError> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn phone(digits: &str) -> Result<Peer, NumberError> {
        digits.parse().map(Peer::Phone)
    }

    #[test]
    fn dialled_numbers_are_read_as_the_specification_says() {
        let ann = Ok(Peer::Username("ann".into()));
        let table = [
            ("+79261234567", phone("79261234567")),
            ("ann", ann.clone()),
            ("tg#ann", ann.clone()),
            ("@ann", ann),
            ("04242", Ok(Peer::UserId(4242))),
            ("79261234567", phone("79261234567")),
            ("0079261234567", phone("79261234567")),
            ("09261234567", Ok(Peer::UserId(9_261_234_567))),
            ("", Err(NumberError)),
            ("12", Err(NumberError)),
            ("a b", Err(NumberError)),
            ("099999999999999999999999", Err(NumberError)),
        ];
        for (text, expected) in table {
            assert_eq!(Peer::from_dialled(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_printed_reads_back() {
        for text in ["+79261234567", "ann_b", "04242"] {
            let peer = Peer::from_dialled(text).unwrap();
            assert_eq!(peer.to_string(), text);
        }
    }
}
