//! URIs: `sip:`, `sips:` (RFC 3261 19.1, RFC 5118 for IPv6), `tel:` (RFC 3966) and everything else as text.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use model::Transport;

use super::Params;
use super::scan;
use crate::Hop;
use crate::error::ParseError;

/// The port used where a `sip:` URI or a Via over UDP names none (RFC 3261 19.1.2).
pub const DEFAULT_PORT: u16 = 5060;

/// A host: a name or a literal address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// A domain name, as written.
    Name(String),
    /// An IPv4 address.
    V4(Ipv4Addr),
    /// An IPv6 address, in brackets on the wire.
    V6(Ipv6Addr),
}

impl Host {
    /// Returns the address when the host is a literal one.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Name(_) => None,
            Self::V4(ip) => Some((*ip).into()),
            Self::V6(ip) => Some((*ip).into()),
        }
    }
}

impl From<IpAddr> for Host {
    fn from(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => Self::V4(ip),
            IpAddr::V6(ip) => Self::V6(ip),
        }
    }
}

impl FromStr for Host {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        if let Some(inner) = text.strip_prefix('[') {
            let inner = inner.strip_suffix(']').ok_or(ParseError::Host)?;
            return ipv6(inner).map(Self::V6).ok_or(ParseError::Host);
        }
        if let Ok(ip) = text.parse() {
            return Ok(Self::V4(ip));
        }
        // Underscores are no hostname characters, yet many private networks use them.
        let legal = |c: u8| c.is_ascii_alphanumeric() || b"-._".contains(&c);
        if text.is_empty() || !text.bytes().all(legal) {
            return Err(ParseError::Host);
        }
        Ok(Self::Name(text.to_owned()))
    }
}

/// RFC 5118 4.10: the grammar of RFC 3261 allowed three colons before an embedded IPv4 address, so they are understood.
fn ipv6(text: &str) -> Option<Ipv6Addr> {
    match text.split_once(":::") {
        Some((start, end)) if end.parse::<Ipv4Addr>().is_ok() => {
            format!("{start}::{end}").parse().ok()
        }
        Some(_) | None => text.parse().ok(),
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::V4(ip) => write!(f, "{ip}"),
            Self::V6(ip) => write!(f, "[{ip}]"),
        }
    }
}

/// Parses `host [":" port]`, with blanks allowed around the colon (RFC 3261 `sent-by`).
pub(crate) fn host_and_port(text: &str) -> Result<(Host, Option<u16>), ParseError> {
    let split = match text.rfind(']') {
        Some(end) => text.get(end..).and_then(|t| t.find(':')).map(|at| at + end),
        None => text.find(':'),
    };
    let Some(at) = split else {
        return Ok((scan::trim(text).parse()?, None));
    };
    let host = scan::trim(text.get(..at).unwrap_or_default());
    let port = scan::trim(text.get(at + 1..).unwrap_or_default());
    if port.is_empty() || !port.bytes().all(|c| c.is_ascii_digit()) {
        return Err(ParseError::Port);
    }
    let port = port.parse().map_err(|_| ParseError::Port)?;
    Ok((host.parse()?, Some(port)))
}

/// A `sip:` or `sips:` URI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SipUri {
    /// True for `sips:`.
    pub secure: bool,
    /// The user part as written, with its escapes; see [`Uri::user`] for the decoded one.
    pub raw_user: Option<String>,
    /// The password as written (RFC 3261 19.1.1 advises against it).
    pub password: Option<String>,
    /// The host.
    pub host: Host,
    /// The port, when written.
    pub port: Option<u16>,
    /// The parameters behind `;`.
    pub params: Params,
    /// What stands behind `?`, as written.
    pub headers: Option<String>,
}

/// A URI of any scheme.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Uri {
    /// `sip:` or `sips:`.
    Sip(SipUri),
    /// `tel:` (RFC 3966).
    Tel {
        /// The subscriber number as written.
        number: String,
        /// Its parameters.
        params: Params,
    },
    /// A scheme we do not serve.
    Other {
        /// The scheme as written, without the colon.
        scheme: String,
        /// What follows the colon.
        rest: String,
    },
}

impl Uri {
    /// Returns a `sip:` URI; the user is escaped as needed.
    pub fn sip(user: Option<&str>, host: Host, port: Option<u16>) -> Self {
        Self::Sip(SipUri {
            secure: false,
            raw_user: user.map(|user| scan::percent_encode(user, USER_ALLOWED)),
            password: None,
            host,
            port,
            params: Params::default(),
            headers: None,
        })
    }

    /// Returns a `sip:` URI at a literal address.
    pub fn at(user: Option<&str>, address: SocketAddr) -> Self {
        Self::sip(user, address.ip().into(), Some(address.port()))
    }

    /// Returns the scheme in lower case, unless it is an unknown one.
    pub fn scheme(&self) -> &str {
        match self {
            Self::Sip(SipUri { secure: false, .. }) => "sip",
            Self::Sip(SipUri { secure: true, .. }) => "sips",
            Self::Tel { .. } => "tel",
            Self::Other { scheme, .. } => scheme,
        }
    }

    /// Returns the user part decoded once, or the number of a `tel:` URI.
    pub fn user(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Sip(sip) => {
                let raw = sip.raw_user.as_deref()?;
                Some(if raw.contains('%') {
                    scan::percent_decode(raw).into()
                } else {
                    raw.into()
                })
            }
            Self::Tel { number, .. } => Some(number.as_str().into()),
            Self::Other { .. } => None,
        }
    }

    /// Returns the host of a SIP URI.
    pub fn host(&self) -> Option<&Host> {
        match self {
            Self::Sip(sip) => Some(&sip.host),
            Self::Tel { .. } | Self::Other { .. } => None,
        }
    }

    /// Returns the written port of a SIP URI.
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Sip(sip) => sip.port,
            Self::Tel { .. } | Self::Other { .. } => None,
        }
    }

    /// Returns a `sip:` URI at a literal address, with the transport that reaches it (RFC 3261 19.1.5).
    pub fn reached(user: Option<&str>, hop: Hop) -> Self {
        let mut uri = Self::at(user, hop.address);
        if let Self::Sip(sip) = &mut uri
            && hop.is_reliable()
        {
            sip.params.set("transport", Some(hop.transport.as_str()));
        }
        uri
    }

    /// Returns the transport that the URI names, or that its scheme asks for; `None` where it leaves the choice.
    pub fn transport(&self) -> Option<Transport> {
        let Self::Sip(sip) = self else { return None };
        let named = sip
            .params
            .get("transport")
            .and_then(|name| name.parse().ok());
        if sip.secure {
            return Some(Transport::Tls);
        }
        named
    }

    /// Returns where the URI leads when its host is a literal address; by datagrams, unless it says otherwise.
    pub fn hop(&self) -> Option<Hop> {
        self.hop_by(Transport::default())
    }

    /// The same for whoever is spoken with by `usual`, where the URI leaves the choice.
    pub fn hop_by(&self, usual: Transport) -> Option<Hop> {
        let Self::Sip(sip) = self else { return None };
        let transport = self.transport().unwrap_or(usual);
        let port = sip.port.unwrap_or(transport.default_port());
        Some(Hop::new(transport, SocketAddr::new(sip.host.ip()?, port)))
    }

    /// Returns the URI parameters, if the scheme has any.
    pub fn params(&self) -> Option<&Params> {
        match self {
            Self::Sip(sip) => Some(&sip.params),
            Self::Tel { params, .. } => Some(params),
            Self::Other { .. } => None,
        }
    }

    /// Returns one URI parameter; "" when it has no value.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params()?.get(name)
    }

    /// Returns the decoded `name=value` pairs behind `?`.
    pub fn headers(&self) -> Vec<(String, String)> {
        let Self::Sip(SipUri {
            headers: Some(headers),
            ..
        }) = self
        else {
            return Vec::new();
        };
        let pair = |part: &str| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            (
                scan::percent_decode(name),
                scan::one_line(scan::percent_decode(value)),
            )
        };
        headers.split('&').map(pair).collect()
    }
}

/// RFC 3261 25.1 `user-unreserved`.
const USER_ALLOWED: &[u8] = b"&=+$,;?/";

impl FromStr for Uri {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (scheme, rest) = text.split_once(':').ok_or(ParseError::Uri)?;
        let scheme_is_legal = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme
                .bytes()
                .all(|c| c.is_ascii_alphanumeric() || b"+-.".contains(&c));
        // No URI has blanks, quotes or brackets of the angled kind in it (RFC 4475 3.1.2.7 to 3.1.2.10).
        let rest_is_legal = rest
            .bytes()
            .all(|c| c.is_ascii_graphic() && !b"<>\"\\^{}|".contains(&c));
        if !scheme_is_legal || rest.is_empty() || !rest_is_legal {
            return Err(ParseError::Uri);
        }
        if scheme.eq_ignore_ascii_case("sip") {
            sip(false, rest).map(Self::Sip)
        } else if scheme.eq_ignore_ascii_case("sips") {
            sip(true, rest).map(Self::Sip)
        } else if scheme.eq_ignore_ascii_case("tel") {
            tel(rest)
        } else {
            Ok(Self::Other {
                scheme: scheme.to_owned(),
                rest: rest.to_owned(),
            })
        }
    }
}

/// Parses `[user [":" password] "@"] host [":" port] *(";" param) ["?" headers]`.
fn sip(secure: bool, rest: &str) -> Result<SipUri, ParseError> {
    // "@" must be escaped everywhere but between user and host, so the last one is that one: a user may hold
    // ";", "?" and "/" (RFC 4475 3.1.1.9).
    let (user, rest) = match rest.rsplit_once('@') {
        Some((user, rest)) => (Some(user), rest),
        None => (None, rest),
    };
    let (raw_user, password) = match user {
        None => (None, None),
        Some(user) => {
            let (user, password) = match user.split_once(':') {
                Some((user, password)) => (user, Some(password)),
                None => (user, None),
            };
            let legal = |text: &str| text.bytes().all(|c| !b"@[]#".contains(&c));
            if user.is_empty() || !legal(user) || !password.is_none_or(legal) {
                return Err(ParseError::Uri);
            }
            (Some(user.to_owned()), password.map(str::to_owned))
        }
    };
    let (rest, headers) = match rest.split_once('?') {
        Some((rest, headers)) => (rest, Some(headers)),
        None => (rest, None),
    };
    if headers.is_some_and(str::is_empty) {
        return Err(ParseError::Uri);
    }
    let (host, params) = match rest.split_once(';') {
        Some((host, params)) => (host, Params::parse_uri(params)?),
        None => (rest, Params::default()),
    };
    let (host, port) = host_and_port(host)?;
    Ok(SipUri {
        secure,
        raw_user,
        password,
        host,
        port,
        params,
        headers: headers.map(str::to_owned),
    })
}

/// Parses `number *(";" param)` (RFC 3966 3).
fn tel(rest: &str) -> Result<Uri, ParseError> {
    let (number, params) = match rest.split_once(';') {
        Some((number, params)) => (number, Params::parse_uri(params)?),
        None => (rest, Params::default()),
    };
    let legal = |c: u8| c.is_ascii_hexdigit() || b"+*#-.()".contains(&c);
    if !number
        .bytes()
        .any(|c| c.is_ascii_hexdigit() || b"*#".contains(&c))
        || !number.bytes().all(legal)
    {
        return Err(ParseError::Uri);
    }
    Ok(Uri::Tel {
        number: number.to_owned(),
        params,
    })
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sip(sip) => {
                write!(f, "{}:", self.scheme())?;
                if let Some(user) = &sip.raw_user {
                    f.write_str(user)?;
                    if let Some(password) = &sip.password {
                        write!(f, ":{password}")?;
                    }
                    f.write_str("@")?;
                }
                write!(f, "{}", sip.host)?;
                if let Some(port) = sip.port {
                    write!(f, ":{port}")?;
                }
                write!(f, "{}", sip.params)?;
                if let Some(headers) = &sip.headers {
                    write!(f, "?{headers}")?;
                }
                Ok(())
            }
            Self::Tel { number, params } => write!(f, "tel:{number}{params}"),
            Self::Other { scheme, rest } => write!(f, "{scheme}:{rest}"),
        }
    }
}

#[cfg(test)]
mod tests;
