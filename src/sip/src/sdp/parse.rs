//! Reads a description (RFC 8866 section 5). Unknown lines and broken attributes are skipped; wrong media lines are not.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::SdpError;

const MAX_OCTETS: usize = 16 * 1024;
const MAX_MEDIA: usize = 32;
const MAX_ATTRIBUTES: usize = 1000;
const MAX_FORMATS: usize = 128;

/// A description, as far as a telephone cares.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sdp {
    /// The value of `o=`, unread.
    pub origin: Option<String>,
    /// The `c=` line of the session level.
    pub connection: Option<Connection>,
    /// The `a=` lines of the session level.
    pub attributes: Vec<Attribute>,
    /// The media lines, in order.
    pub media: Vec<Media>,
}

/// One media line with what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Media {
    /// `audio`, `video`, `image` ...
    pub kind: String,
    /// The port; 0 means refused or ended.
    pub port: u16,
    /// `RTP/AVP`, `RTP/SAVP`, `udptl` ...
    pub protocol: String,
    /// The formats, at least one; payload types in the case of RTP.
    pub formats: Vec<String>,
    /// Its own `c=` line.
    pub connection: Option<Connection>,
    /// Its `a=` lines.
    pub attributes: Vec<Attribute>,
}

/// One `a=` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    /// What stands before the colon.
    pub name: String,
    /// What stands behind it; empty for flags.
    pub value: String,
}

/// One `c=` line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connection {
    /// A literal address; IPv4-mapped ones are IPv4 here.
    Address(IpAddr),
    /// A name, which nobody resolves on behalf of a stranger.
    Host,
    /// `IP4` with an IPv6 address, or the other way round.
    WrongFamily,
    /// Anything else.
    Malformed,
}

/// Reads a description.
pub fn parse(body: &[u8]) -> Result<Sdp, SdpError> {
    if body.len() > MAX_OCTETS {
        return Err(SdpError::TooLarge(body.len()));
    }
    let text = String::from_utf8_lossy(body);
    let text = text.trim_start_matches('\u{feff}');
    let mut sdp = Sdp::default();
    let mut attributes = 0;
    let mut lines = 0;
    for (index, line) in text.split('\n').enumerate() {
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.is_empty() {
            continue;
        }
        lines += 1;
        let number = index + 1;
        let Some((letter, value)) = line.split_once('=').filter(|(l, _)| l.len() == 1) else {
            return Err(SdpError::BadLine(number));
        };
        match letter {
            "v" if value.trim() != "0" => return Err(SdpError::BadVersion),
            "o" => sdp.origin = Some(value.to_owned()),
            "c" => {
                let connection = Some(connection(value));
                match sdp.media.last_mut() {
                    Some(media) => media.connection = connection,
                    None => sdp.connection = connection,
                }
            }
            "a" => {
                attributes += 1;
                if attributes > MAX_ATTRIBUTES {
                    return Err(SdpError::TooManyAttributes);
                }
                let attribute = attribute(value);
                match sdp.media.last_mut() {
                    Some(media) => media.attributes.push(attribute),
                    None => sdp.attributes.push(attribute),
                }
            }
            "m" => {
                if sdp.media.len() == MAX_MEDIA {
                    return Err(SdpError::TooManyMedia);
                }
                sdp.media.push(media(value, number)?);
            }
            _ => {}
        }
    }
    if lines == 0 {
        return Err(SdpError::Empty);
    }
    Ok(sdp)
}

impl Sdp {
    /// The connection that holds for a media line: its own, else the session's.
    pub fn connection_of(&self, media: &Media) -> Option<Connection> {
        media.connection.or(self.connection)
    }

    /// The values of an attribute that may stand at either level, the media's first.
    pub(crate) fn attributes_of<'a>(
        &'a self,
        media: &'a Media,
    ) -> impl Iterator<Item = &'a Attribute> {
        media.attributes.iter().chain(&self.attributes)
    }
}

impl Media {
    /// The values of its own attributes of one name; names compare without case.
    pub(crate) fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.attributes
            .iter()
            .filter(move |a| a.name.eq_ignore_ascii_case(name))
            .map(|a| a.value.as_str())
    }

    /// The payload types; numbers above 127 are no payload types and are left out.
    pub(crate) fn payload_types(&self) -> impl Iterator<Item = u8> + '_ {
        self.formats
            .iter()
            .filter_map(|f| f.parse().ok())
            .filter(|&pt: &u8| pt < 128)
    }
}

fn attribute(value: &str) -> Attribute {
    let (name, value) = value.split_once(':').unwrap_or((value, ""));
    Attribute {
        name: name.trim().to_owned(),
        value: value.trim().to_owned(),
    }
}

/// `<media> <port>[/<number>] <proto> <fmt> ...`
fn media(value: &str, line: usize) -> Result<Media, SdpError> {
    // What stands here is copied into the answer, so it must be plain tokens.
    if !value
        .bytes()
        .all(|b| b == b'\t' || (b' '..=b'~').contains(&b))
    {
        return Err(SdpError::BadMedia(line));
    }
    let mut words = value.split_ascii_whitespace();
    let (Some(kind), Some(port), Some(protocol)) = (words.next(), words.next(), words.next())
    else {
        return Err(SdpError::BadMedia(line));
    };
    let port = port.split_once('/').map_or(port, |(port, _)| port);
    if !port.bytes().all(|b| b.is_ascii_digit()) {
        return Err(SdpError::BadMedia(line));
    }
    let port = port.parse().map_err(|_| SdpError::BadMedia(line))?;
    let formats: Vec<String> = words.take(MAX_FORMATS + 1).map(str::to_owned).collect();
    match formats.len() {
        0 => Err(SdpError::BadMedia(line)),
        1..=MAX_FORMATS => Ok(Media {
            kind: kind.to_owned(),
            port,
            protocol: protocol.to_owned(),
            formats,
            connection: None,
            attributes: Vec::new(),
        }),
        _ => Err(SdpError::TooManyFormats(line)),
    }
}

/// `IN IP4 192.0.2.1[/ttl[/count]]`
fn connection(value: &str) -> Connection {
    let mut words = value.split_ascii_whitespace();
    let (Some(network), Some(family), Some(address)) = (words.next(), words.next(), words.next())
    else {
        return Connection::Malformed;
    };
    if !network.eq_ignore_ascii_case("IN") {
        return Connection::Malformed;
    }
    let address = address.split_once('/').map_or(address, |(a, _)| a);
    let (wants_v4, wants_v6) = (
        family.eq_ignore_ascii_case("IP4"),
        family.eq_ignore_ascii_case("IP6"),
    );
    match (address.parse::<Ipv4Addr>(), address.parse::<Ipv6Addr>()) {
        (Ok(ip), _) if wants_v4 => Connection::Address(ip.into()),
        (_, Ok(ip)) if wants_v6 => Connection::Address(IpAddr::V6(ip).to_canonical()),
        (Ok(_), _) | (_, Ok(_)) => Connection::WrongFamily,
        _ if wants_v4 || wants_v6 => Connection::Host,
        _ => Connection::Malformed,
    }
}

/// Reads `a=rtcp:port [IN IP4 address]` (RFC 3605): the port, and the address when there is one.
pub(super) fn rtcp(value: &str) -> Option<(u16, Option<IpAddr>)> {
    let (port, rest) = value.split_once(' ').unwrap_or((value, ""));
    let port = port.parse().ok().filter(|&port: &u16| port > 0)?;
    match connection(rest) {
        Connection::Address(address) => Some((port, Some(address))),
        _ if rest.trim().is_empty() => Some((port, None)),
        Connection::Host | Connection::WrongFamily | Connection::Malformed => None,
    }
}
