//! A host and perhaps a port, as people write them: `sip.example.com`, `192.0.2.7:5062`, `[2001:db8::1]:5060`.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The longest name of a host (RFC 1035 2.3.4).
const MAX_HOST: usize = 253;

/// A host, by name or address, and a port where one is written.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostPort {
    host: String,
    port: Option<u16>,
}

/// The text is no host with or without a port.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no host: write a name or an address, and a port behind a colon if it is not the usual one"
)]
pub struct HostPortError(String);

impl HostPort {
    /// The name or address; an IPv6 address stands without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, where one is written.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// The address, when the host is one.
    pub fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }
}

impl FromStr for HostPort {
    type Err = HostPortError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || HostPortError(text.to_owned());
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            let (host, rest) = rest.split_once(']').ok_or_else(wrong)?;
            host.parse::<Ipv6Addr>().map_err(|_| wrong())?;
            (
                host,
                (!rest.is_empty()).then(|| rest.strip_prefix(':').unwrap_or("")),
            )
        } else if text.parse::<Ipv6Addr>().is_ok() {
            (text, None)
        } else {
            match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            }
        };
        let is_name = !host.is_empty()
            && host.len() <= MAX_HOST
            && host
                .bytes()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b'_'));
        if !is_name && host.parse::<Ipv6Addr>().is_err() {
            return Err(wrong());
        }
        let port = port
            .map(|port| {
                port.parse::<u16>()
                    .ok()
                    .filter(|port| *port > 0)
                    .ok_or_else(wrong)
            })
            .transpose()?;
        Ok(Self {
            host: host.to_owned(),
            port,
        })
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]", self.host)?;
        } else {
            f.write_str(&self.host)?;
        }
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

impl TryFrom<String> for HostPort {
    type Error = HostPortError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<HostPort> for String {
    fn from(host: HostPort) -> Self {
        host.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_come_back_as_written() {
        for (text, host, port) in [
            ("sip.example.com", "sip.example.com", None),
            ("sip.example.com:5062", "sip.example.com", Some(5062)),
            ("192.0.2.7:5062", "192.0.2.7", Some(5062)),
            ("[2001:db8::1]", "2001:db8::1", None),
            ("[2001:db8::1]:5060", "2001:db8::1", Some(5060)),
        ] {
            let read: HostPort = text.parse().unwrap();
            assert_eq!((read.host(), read.port()), (host, port));
            assert_eq!(read.to_string(), text);
        }
        let bare: HostPort = "2001:db8::1".parse().unwrap();
        assert_eq!(bare.to_string(), "[2001:db8::1]");
        assert!(bare.ip().is_some());
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for text in [
            "",
            ":5060",
            "a b",
            "host:",
            "host:0",
            "host:99999",
            "[::1",
            "[::1]5060",
            "sip:host",
            "user@host",
            "host:5060:1",
            "[host]",
            "\u{e4}.example",
        ] {
            assert!(text.parse::<HostPort>().is_err(), "{text}");
        }
    }
}
