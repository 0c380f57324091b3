//! The `;name=value` lists behind URIs, addresses and Via (RFC 3261 25.1).

use std::fmt;

use super::scan;
use crate::error::ParseError;

/// An ordered list of parameters. Names are compared without case; values are kept as written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Params {
    list: Vec<(String, Option<String>)>,
}

impl Params {
    /// Parses what follows the first `;` of a header value (RFC 3261 `generic-param`).
    pub(crate) fn parse(text: &str) -> Result<Self, ParseError> {
        Self::parse_with(text, is_header_value)
    }

    /// Parses what follows the first `;` of a URI (RFC 3261 `uri-parameter`).
    pub(crate) fn parse_uri(text: &str) -> Result<Self, ParseError> {
        Self::parse_with(text, is_uri_value)
    }

    fn parse_with(text: &str, value_is_legal: fn(&str) -> bool) -> Result<Self, ParseError> {
        let mut list = Vec::new();
        for part in scan::split_open(text, b';') {
            let (name, value) = match part.split_once('=') {
                Some((name, value)) => (scan::trim(name), Some(scan::trim(value))),
                None => (part, None),
            };
            let name_is_legal = !name.is_empty() && name.bytes().all(is_name_byte);
            if !name_is_legal || !value.is_none_or(value_is_legal) {
                return Err(ParseError::Parameter);
            }
            list.push((name.to_owned(), value.map(str::to_owned)));
        }
        Ok(Self { list })
    }

    /// Returns the value of the parameter, without its quotes; a parameter without value gives "".
    pub fn get(&self, name: &str) -> Option<&str> {
        let (_, value) = self
            .list
            .iter()
            .find(|(have, _)| have.eq_ignore_ascii_case(name))?;
        let value = value.as_deref().unwrap_or_default();
        Some(
            value
                .strip_prefix('"')
                .and_then(|v| v.strip_suffix('"'))
                .unwrap_or(value),
        )
    }

    /// Returns whether the parameter is there, with or without value.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Sets the parameter, replacing an older one; a value that is no token is quoted.
    pub fn set(&mut self, name: &str, value: Option<&str>) {
        let value = value.map(|v| {
            if is_header_value(v) {
                v.to_owned()
            } else {
                scan::quote(v)
            }
        });
        match self
            .list
            .iter_mut()
            .find(|(have, _)| have.eq_ignore_ascii_case(name))
        {
            Some(old) => old.1 = value,
            None => self.list.push((name.to_owned(), value)),
        }
    }

    /// Removes the parameter.
    pub fn remove(&mut self, name: &str) {
        self.list
            .retain(|(have, _)| !have.eq_ignore_ascii_case(name));
    }

    /// Returns the parameters in order, values as written.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.list
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_deref()))
    }

    /// Returns whether there is no parameter.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

impl fmt::Display for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.list {
            write!(f, ";{name}")?;
            if let Some(value) = value {
                write!(f, "={value}")?;
            }
        }
        Ok(())
    }
}

/// Names are tokens in headers and `paramchar` in URIs; the union harms neither.
fn is_name_byte(c: u8) -> bool {
    scan::is_token_byte(c) || b"[]/:&+$()".contains(&c)
}

/// A token, a host (RFC 3261 `gen-value`; IPv6 with or without brackets, RFC 5118 4.5) or one whole quoted string.
fn is_header_value(value: &str) -> bool {
    if value.starts_with('"') {
        return matches!(scan::quoted_string(value), Some((_, "")));
    }
    !value.is_empty()
        && value
            .bytes()
            .all(|c| c.is_ascii_graphic() && !b"\",;<>?\\".contains(&c))
}

/// RFC 3261 `pvalue`: unreserved, escapes and `[]/:&+$`; `=` and `@` are let through as many peers write them.
fn is_uri_value(value: &str) -> bool {
    !value.is_empty()
        && value
            .bytes()
            .all(|c| c.is_ascii_graphic() && !b"\",;<>?\\".contains(&c))
}
