//! Via (RFC 3261 20.42, RFC 3581, RFC 5118).

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use model::Transport;

use super::uri::{DEFAULT_PORT, Host, host_and_port};
use super::{Params, scan};
use crate::error::ParseError;

/// The start of every branch made by an RFC 3261 element (RFC 3261 8.1.1.7).
pub const MAGIC_COOKIE: &str = "z9hG4bK";

/// One Via value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Via {
    /// The transport, such as `UDP`.
    pub transport: String,
    /// The host of `sent-by`.
    pub host: Host,
    /// The port of `sent-by`, when written.
    pub port: Option<u16>,
    /// `branch`, `received`, `rport` and the rest.
    pub params: Params,
}

impl Via {
    /// Returns the Via of a request we send, asking for the source port back (RFC 3581 3).
    pub fn new(transport: Transport, host: Host, port: Option<u16>, branch: &str) -> Self {
        let mut params = Params::default();
        params.set("rport", None);
        params.set("branch", Some(branch));
        Self {
            transport: transport.in_via().to_owned(),
            host,
            port,
            params,
        }
    }

    /// Returns the branch.
    pub fn branch(&self) -> Option<&str> {
        self.params
            .get("branch")
            .filter(|branch| !branch.is_empty())
    }

    /// Returns whether the branch was made by an RFC 3261 element and identifies a transaction.
    pub fn has_cookie(&self) -> bool {
        let cookie = MAGIC_COOKIE.len();
        // A cookie with nothing behind it identifies nothing (RFC 4475 3.2.1).
        self.branch().is_some_and(|branch| {
            branch.len() > cookie
                && branch
                    .get(..cookie)
                    .is_some_and(|start| start.eq_ignore_ascii_case(MAGIC_COOKIE))
        })
    }

    /// Returns the address in `received`, with or without brackets (RFC 5118 4.5).
    pub fn received(&self) -> Option<IpAddr> {
        let text = self.params.get("received")?;
        text.trim_start_matches('[')
            .trim_end_matches(']')
            .parse()
            .ok()
    }

    /// Returns the port in `rport`, when it has a value (RFC 3581 4).
    pub fn rport(&self) -> Option<u16> {
        self.params.get("rport")?.parse().ok()
    }

    /// Notes where the request came from (RFC 3261 18.2.1, RFC 3581 4).
    pub fn stamp(&mut self, source: SocketAddr) {
        let asked = self.params.has("rport");
        if asked {
            self.params.set("rport", Some(&source.port().to_string()));
        }
        // RFC 3581 4: with rport, received is written even when it equals sent-by.
        if asked || self.host.ip() != Some(source.ip()) {
            self.params.set("received", Some(&source.ip().to_string()));
        } else {
            self.params.remove("received");
        }
    }

    /// Returns where a response goes (RFC 3261 18.2.2 with RFC 3581 4), as far as it can be said without DNS.
    pub fn reply_to(&self) -> Option<SocketAddr> {
        let ip = self.received().or_else(|| self.host.ip())?;
        let port = self.rport().or(self.port).unwrap_or(DEFAULT_PORT);
        Some(SocketAddr::new(ip, port))
    }
}

impl FromStr for Via {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (head, params) = match scan::find_open(text, b';') {
            Some(at) => (
                text.get(..at).unwrap_or_default(),
                Params::parse(text.get(at + 1..).unwrap_or_default())?,
            ),
            None => (text, Params::default()),
        };
        // "SIP" SLASH "2.0" SLASH transport LWS sent-by, blanks allowed around the slashes.
        let mut parts = head.splitn(3, '/');
        let (Some(name), Some(version), Some(rest)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(ParseError::Via);
        };
        let (name, version, rest) = (scan::trim(name), scan::trim(version), scan::trim(rest));
        if !name.eq_ignore_ascii_case("SIP") || version != "2.0" {
            return Err(ParseError::Via);
        }
        let (transport, sent_by) = rest.split_once([' ', '\t']).ok_or(ParseError::Via)?;
        if !scan::is_token(transport) {
            return Err(ParseError::Via);
        }
        let (host, port) = host_and_port(scan::trim(sent_by))?;
        Ok(Self {
            transport: transport.to_owned(),
            host,
            port,
            params,
        })
    }
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SIP/2.0/{} {}", self.transport, self.host)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        write!(f, "{}", self.params)
    }
}

#[cfg(test)]
mod tests;
