//! Requests, responses and their parts (RFC 3261 7, 19, 20).
//!
//! Everything that is written goes through [`Request::encode`] or [`Response::encode`], which let no CR or LF pass but
//! their own (SEC-P7). Reading is [`crate::parse`].

mod header_name;
mod headers;
mod method;
mod name_addr;
mod params;
mod phrase;
mod respond;
pub(crate) mod scan;
mod uri;
mod via;

use std::fmt;

use bytes::Bytes;
use model::Transport;

use crate::Hop;

pub use header_name::HeaderName;
pub(crate) use headers::decimal;
pub use headers::{CSeq, Headers, delta_seconds};
pub use method::Method;
pub use name_addr::NameAddr;
pub use params::Params;
pub use phrase::reason_phrase;
pub use respond::{refuse_required, respond};
pub use uri::{DEFAULT_PORT, Host, SipUri, Uri};
pub use via::{MAGIC_COOKIE, Via};

/// A request or a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// A request.
    Request(Request),
    /// A response.
    Response(Response),
}

/// A request (RFC 3261 7.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The Request-URI.
    pub uri: Uri,
    /// The headers; Content-Length is written by [`Request::encode`].
    pub headers: Headers,
    /// The body.
    pub body: Bytes,
}

/// A response (RFC 3261 7.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The status code, 100 to 699.
    pub status: u16,
    /// The reason phrase; may be empty.
    pub reason: String,
    /// The headers; Content-Length is written by [`Response::encode`].
    pub headers: Headers,
    /// The body.
    pub body: Bytes,
}

impl Request {
    /// Returns a request without headers and body.
    pub fn new(method: Method, uri: Uri) -> Self {
        Self {
            method,
            uri,
            headers: Headers::new(),
            body: Bytes::new(),
        }
    }

    /// Returns where the request itself says it goes, if that is a literal address: the first Route that is a loose router, else the
    /// Request-URI (RFC 3261 8.1.2). `usual` serves where it leaves the transport open.
    pub fn next_hop(&self, usual: Transport) -> Option<Hop> {
        let first = self.headers.routes().into_iter().next();
        let router = first.filter(|route| route.uri.param("lr").is_some());
        let uri = router.as_ref().map_or(&self.uri, |route| &route.uri);
        uri.hop_by(usual)
    }

    /// Returns whether the request belongs to a dialog: the other end has its tag.
    pub fn is_inside(&self) -> bool {
        self.headers.to().is_some_and(|to| to.tag().is_some())
    }

    /// Returns the octets of the request, with the Content-Length of its body.
    pub fn encode(&self) -> Bytes {
        let method: String = self.method.as_str().split_whitespace().collect();
        encode(
            &format!("{method} {} SIP/2.0", self.uri),
            &self.headers,
            &self.body,
            HeaderName::as_str,
        )
    }
}

impl Response {
    /// Returns a response without headers and body; an empty reason becomes the usual phrase.
    pub fn new(status: u16, reason: &str) -> Self {
        let reason = if reason.is_empty() {
            reason_phrase(status)
        } else {
            reason
        };
        Self {
            status,
            reason: scan::one_line(reason.to_owned()),
            headers: Headers::new(),
            body: Bytes::new(),
        }
    }

    /// Returns the octets of the response, with the Content-Length of its body.
    pub fn encode(&self) -> Bytes {
        encode(
            &format!("SIP/2.0 {} {}", self.status, self.reason),
            &self.headers,
            &self.body,
            HeaderName::as_str,
        )
    }

    /// Returns the octets of the response with the short names of its headers (RFC 3261 7.3.3).
    pub fn encode_short(&self) -> Bytes {
        encode(
            &format!("SIP/2.0 {} {}", self.status, self.reason),
            &self.headers,
            &self.body,
            HeaderName::shortest,
        )
    }

    /// Returns whether the response is provisional (1xx).
    pub fn is_provisional(&self) -> bool {
        self.status < 200
    }

    /// Returns whether the response is a success (2xx).
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

impl Message {
    /// Returns the octets of the message.
    pub fn encode(&self) -> Bytes {
        match self {
            Self::Request(request) => request.encode(),
            Self::Response(response) => response.encode(),
        }
    }

    /// Returns the headers of the message.
    pub fn headers(&self) -> &Headers {
        match self {
            Self::Request(request) => &request.headers,
            Self::Response(response) => &response.headers,
        }
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.encode()))
    }
}

impl fmt::Display for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.encode()))
    }
}

/// Writes a message; whatever the parts hold, a line ends only where we end it.
fn encode(start: &str, headers: &Headers, body: &Bytes, spell: fn(&HeaderName) -> &str) -> Bytes {
    let mut out = Vec::with_capacity(512 + body.len());
    let mut line = |text: &[&str]| {
        for part in text {
            // Nearly always there is nothing to leave out, and the part is copied as one.
            for piece in part.split(['\r', '\n']) {
                out.extend_from_slice(piece.as_bytes());
            }
        }
        out.extend_from_slice(b"\r\n");
    };
    line(&[start]);
    for (name, value) in headers
        .iter()
        .filter(|(name, _)| **name != HeaderName::ContentLength)
    {
        line(&[spell(name), ": ", value]);
    }
    line(&[
        spell(&HeaderName::ContentLength),
        ": ",
        &body.len().to_string(),
    ]);
    line(&[]);
    out.extend_from_slice(body);
    out.into()
}

#[cfg(test)]
mod tests;
