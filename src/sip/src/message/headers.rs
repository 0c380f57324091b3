//! The headers of a message: an ordered list with typed views (RFC 3261 20).
//!
//! Lists between commas (Via, Contact, Route ..) are kept as one entry a value. The typed views give `None` for what is
//! absent or malformed; a message that came through [`crate::parse`] has its Via, From, To, Call-ID, CSeq, Contact,
//! Record-Route and Max-Forwards in good order.

use std::fmt;
use std::str::FromStr;

use super::{HeaderName, Method, NameAddr, Via, scan};
use crate::error::ParseError;

/// An ordered list of header fields. No value in it ever holds CR or LF (SEC-P7).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers {
    list: Vec<(HeaderName, String)>,
}

/// The sequence number and method of a request (RFC 3261 20.16).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CSeq {
    /// The number; at most 2^31-1 in what we send.
    pub number: u32,
    /// The method.
    pub method: Method,
}

impl Headers {
    /// Returns an empty list.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns an empty list with room for so many fields.
    pub(crate) fn with_room_for(fields: usize) -> Self {
        Self {
            list: Vec::with_capacity(fields),
        }
    }

    /// Returns the first value of the header.
    pub fn get(&self, name: &HeaderName) -> Option<&str> {
        self.list
            .iter()
            .find(|(have, _)| have == name)
            .map(|(_, value)| value.as_str())
    }

    /// Returns all values of the header, in order.
    pub fn all<'a>(&'a self, name: &'a HeaderName) -> impl Iterator<Item = &'a str> {
        self.list
            .iter()
            .filter(move |(have, _)| have == name)
            .map(|(_, value)| value.as_str())
    }

    /// Returns how many values the header has.
    pub fn count(&self, name: &HeaderName) -> usize {
        self.all(name).count()
    }

    /// Returns whether the header is there.
    pub fn has(&self, name: &HeaderName) -> bool {
        self.get(name).is_some()
    }

    /// Returns all fields in order.
    pub fn iter(&self) -> impl Iterator<Item = (&HeaderName, &str)> {
        self.list.iter().map(|(name, value)| (name, value.as_str()))
    }

    /// Appends a value.
    pub fn push(&mut self, name: HeaderName, value: impl ToString) {
        self.list.push((name, scan::one_line(value.to_string())));
    }

    /// Puts a value before all others.
    pub fn push_front(&mut self, name: HeaderName, value: impl ToString) {
        self.list
            .insert(0, (name, scan::one_line(value.to_string())));
    }

    /// Sets the only value of the header, in the place of its first one.
    pub fn set(&mut self, name: HeaderName, value: impl ToString) {
        let value = scan::one_line(value.to_string());
        let Some(at) = self.list.iter().position(|(have, _)| *have == name) else {
            self.list.push((name, value));
            return;
        };
        let mut index = 0;
        self.list.retain(|(have, _)| {
            index += 1;
            index <= at + 1 || *have != name
        });
        if let Some(field) = self.list.get_mut(at) {
            field.1 = value;
        }
    }

    /// Replaces the first value of the header and leaves the others; used for the top Via.
    pub fn set_first(&mut self, name: HeaderName, value: impl ToString) {
        let value = scan::one_line(value.to_string());
        match self.list.iter_mut().find(|(have, _)| *have == name) {
            Some(field) => field.1 = value,
            None => self.list.push((name, value)),
        }
    }

    /// Removes all values of the header.
    pub fn remove(&mut self, name: &HeaderName) {
        self.list.retain(|(have, _)| have != name);
    }

    /// Removes and returns the first value of the header.
    pub fn pop_front(&mut self, name: &HeaderName) -> Option<String> {
        let at = self.list.iter().position(|(have, _)| have == name)?;
        Some(self.list.remove(at).1)
    }

    fn typed<T: FromStr>(&self, name: &HeaderName) -> Option<T> {
        self.get(name)?.parse().ok()
    }

    fn typed_all<T: FromStr>(&self, name: &HeaderName) -> Vec<T> {
        self.all(name)
            .filter_map(|value| value.parse().ok())
            .collect()
    }

    /// Returns the top Via.
    pub fn via(&self) -> Option<Via> {
        self.typed(&HeaderName::Via)
    }

    /// Returns all Vias, top first.
    pub fn vias(&self) -> Vec<Via> {
        self.typed_all(&HeaderName::Via)
    }

    /// Returns From.
    pub fn from(&self) -> Option<NameAddr> {
        self.typed(&HeaderName::From)
    }

    /// Returns To.
    pub fn to(&self) -> Option<NameAddr> {
        self.typed(&HeaderName::To)
    }

    /// Returns CSeq.
    pub fn cseq(&self) -> Option<CSeq> {
        self.typed(&HeaderName::CSeq)
    }

    /// Returns Call-ID.
    pub fn call_id(&self) -> Option<&str> {
        self.get(&HeaderName::CallId)
    }

    /// Returns the Contacts that are addresses; see [`Headers::contact_is_star`] for `*`.
    pub fn contacts(&self) -> Vec<NameAddr> {
        self.typed_all(&HeaderName::Contact)
    }

    /// Returns whether a Contact is `*` (RFC 3261 10.2.2).
    pub fn contact_is_star(&self) -> bool {
        self.all(&HeaderName::Contact).any(|value| value == "*")
    }

    /// Returns the Route set in order.
    pub fn routes(&self) -> Vec<NameAddr> {
        self.typed_all(&HeaderName::Route)
    }

    /// Returns the Record-Route values in order.
    pub fn record_routes(&self) -> Vec<NameAddr> {
        self.typed_all(&HeaderName::RecordRoute)
    }

    /// Returns Max-Forwards.
    pub fn max_forwards(&self) -> Option<u8> {
        let value = self.get(&HeaderName::MaxForwards)?;
        decimal(value).and_then(|n| u8::try_from(n).ok())
    }

    /// Returns Expires in seconds, capped at 2^32-1; a malformed value counts as absent (RFC 3261 10.2.1.1).
    pub fn expires(&self) -> Option<u32> {
        let value = self.get(&HeaderName::Expires)?;
        delta_seconds(value)
    }

    /// Returns Content-Type in lower case, without its parameters.
    pub fn content_type(&self) -> Option<String> {
        let value = self.get(&HeaderName::ContentType)?;
        let media_type: String = value
            .split(';')
            .next()?
            .chars()
            .filter(|c| !matches!(c, ' ' | '\t'))
            .collect();
        Some(media_type.to_ascii_lowercase())
    }

    /// Returns the words of a comma list such as Require, Supported or Allow, as written.
    pub fn tokens<'a>(&'a self, name: &'a HeaderName) -> impl Iterator<Item = &'a str> {
        self.all(name)
            .flat_map(|value| value.split(','))
            .map(scan::trim)
            .filter(|word| !word.is_empty())
    }

    /// Returns the option tags of Require.
    pub fn require(&self) -> Vec<String> {
        self.tokens(&HeaderName::Require)
            .map(str::to_ascii_lowercase)
            .collect()
    }

    /// Returns whether Supported or Require names the option tag.
    pub fn supports(&self, tag: &str) -> bool {
        let named = |name| self.tokens(name).any(|have| have.eq_ignore_ascii_case(tag));
        named(&HeaderName::Supported) || named(&HeaderName::Require)
    }
}

/// Reads a number of seconds, capped at 2^32-1 (RFC 3261 `delta-seconds`).
pub fn delta_seconds(text: &str) -> Option<u32> {
    let text = scan::trim(text);
    if text.is_empty() || !text.bytes().all(|c| c.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(u32::MAX))
}

/// Reads digits alone, leading zeros allowed; `None` above 2^64-1.
pub(crate) fn decimal(text: &str) -> Option<u64> {
    let text = scan::trim(text);
    if text.is_empty() || !text.bytes().all(|c| c.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

impl FromStr for CSeq {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (number, method) = scan::trim(text)
            .split_once([' ', '\t'])
            .ok_or(ParseError::CSeq)?;
        let number = decimal(number)
            .and_then(|n| u32::try_from(n).ok())
            .ok_or(ParseError::CSeq)?;
        let method = scan::trim(method);
        if !scan::is_token(method) {
            return Err(ParseError::CSeq);
        }
        Ok(Self {
            number,
            method: Method::from(method),
        })
    }
}

impl fmt::Display for CSeq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.number, self.method)
    }
}

#[cfg(test)]
mod tests;
