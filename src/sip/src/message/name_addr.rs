//! Addresses of From, To, Contact, Route and their like (RFC 3261 20.10, 25.1 `name-addr` and `addr-spec`).

use std::fmt;
use std::str::FromStr;

use super::{Params, Uri, scan};
use crate::error::ParseError;

/// The longest display name we write, in characters (SEC-P7).
const DISPLAY_LIMIT: usize = 128;

/// A URI with an optional display name and the parameters of its header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameAddr {
    /// The display name, unescaped; printed without control characters and at most 128 characters long.
    pub display: Option<String>,
    /// The address.
    pub uri: Uri,
    /// The parameters outside the angle brackets, such as `tag`, `expires` or `q`.
    pub params: Params,
}

impl NameAddr {
    /// Returns the address without display name and parameters.
    pub fn new(uri: Uri) -> Self {
        Self {
            display: None,
            uri,
            params: Params::default(),
        }
    }

    /// Sets the display name; an empty one removes it.
    pub fn with_display(mut self, display: &str) -> Self {
        let clean: String = display
            .chars()
            .filter(|c| !c.is_control())
            .take(DISPLAY_LIMIT)
            .collect();
        self.display = (!clean.is_empty()).then_some(clean);
        self
    }

    /// Sets the tag.
    pub fn with_tag(mut self, tag: &str) -> Self {
        self.params.set("tag", Some(tag));
        self
    }

    /// Returns the tag (RFC 3261 19.3).
    pub fn tag(&self) -> Option<&str> {
        self.params.get("tag").filter(|tag| !tag.is_empty())
    }
}

impl FromStr for NameAddr {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let text = scan::trim(text);
        let (display, rest) = if text.starts_with('"') {
            let (display, rest) = scan::quoted_string(text).ok_or(ParseError::Quote)?;
            (Some(display), scan::trim(rest))
        } else {
            match text.find('<') {
                Some(at) => {
                    let display = scan::trim(text.get(..at).unwrap_or_default());
                    if !display.bytes().all(is_display_byte) {
                        return Err(ParseError::DisplayName);
                    }
                    (
                        (!display.is_empty()).then(|| display.to_owned()),
                        text.get(at..).unwrap_or_default(),
                    )
                }
                None => return addr_spec(text),
            }
        };
        let (uri, rest) = rest
            .strip_prefix('<')
            .and_then(|rest| rest.split_once('>'))
            .ok_or(ParseError::Address)?;
        let rest = scan::trim(rest);
        let params = match rest.strip_prefix(';') {
            Some(params) => Params::parse(params)?,
            None if rest.is_empty() => Params::default(),
            None => return Err(ParseError::Address),
        };
        Ok(Self {
            display,
            uri: uri.parse()?,
            params,
        })
    }
}

/// Without brackets every `;` starts a header parameter, and `,` and `?` are forbidden (RFC 3261 20.10).
fn addr_spec(text: &str) -> Result<NameAddr, ParseError> {
    let (uri, params) = match text.split_once(';') {
        Some((uri, params)) => (scan::trim(uri), Params::parse(params)?),
        None => (text, Params::default()),
    };
    if uri.contains([',', '?']) {
        return Err(ParseError::Address);
    }
    Ok(NameAddr {
        display: None,
        uri: uri.parse()?,
        params,
    })
}

/// Unquoted display names are tokens and blanks (RFC 3261 25.1); letters beyond ASCII are let through.
fn is_display_byte(c: u8) -> bool {
    scan::is_token_byte(c) || c == b' ' || c == b'\t' || !c.is_ascii()
}

impl fmt::Display for NameAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(display) = &self.display {
            let shown: String = display
                .chars()
                .filter(|c| !c.is_control())
                .take(DISPLAY_LIMIT)
                .collect();
            write!(f, "{} ", scan::quote(&shown))?;
        }
        write!(f, "<{}>{}", self.uri, self.params)
    }
}

#[cfg(test)]
mod tests;
