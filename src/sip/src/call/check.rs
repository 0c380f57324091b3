//! What a request must be before it is looked at (RFC 3261 8.2.2, 8.2.3).

use bytes::Bytes;

use crate::message::{HeaderName, Headers, Request};

/// A refusal: status code and the headers that explain it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) status: u16,
    pub(super) headers: Vec<(HeaderName, String)>,
}

impl Fault {
    pub(super) fn new(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
        }
    }

    pub(super) fn with(mut self, name: HeaderName, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }
}

/// The extensions of calls that we have: the value of Supported (RFC 3262, RFC 4028).
pub(super) const SUPPORTED: &str = "100rel, timer";

/// RFC 3261 8.2.2.3: an extension that we have not cannot be required.
pub(super) fn require(headers: &Headers, supported: &str) -> Result<(), Fault> {
    let is_known = |tag: &String| supported.split(", ").any(|known| known == tag);
    let mut required = headers.require();
    required.retain(|tag| !is_known(tag));
    if required.is_empty() {
        return Ok(());
    }
    Err(Fault::new(420).with(HeaderName::Unsupported, &required.join(", ")))
}

/// RFC 3261 8.2.3: a body is SDP, and not encoded.
pub(super) fn content(request: &Request) -> Result<(), Fault> {
    let headers = &request.headers;
    let encoded = headers
        .tokens(&HeaderName::ContentEncoding)
        .any(|coding| !coding.eq_ignore_ascii_case("identity"));
    if encoded {
        return Err(Fault::new(415).with(HeaderName::AcceptEncoding, "identity"));
    }
    if request.body.is_empty() || sdp(headers, &request.body).is_some() {
        return Ok(());
    }
    Err(Fault::new(415).with(HeaderName::Accept, "application/sdp"))
}

/// RFC 3261 20.1: the caller must be able to read the session description in our answer; no Accept means that it is.
pub(super) fn accept(headers: &Headers) -> Result<(), Fault> {
    let is_read = |range: &str| {
        let range = range.split(';').next().unwrap_or_default().trim();
        ["application/sdp", "application/*", "*/*"]
            .iter()
            .any(|read| range.eq_ignore_ascii_case(read))
    };
    let mut accepted = headers.tokens(&HeaderName::Accept);
    if !headers.has(&HeaderName::Accept) || accepted.any(is_read) {
        return Ok(());
    }
    Err(Fault::new(406))
}

/// The session description in a message. A body without Content-Type counts when it looks like one.
pub(super) fn sdp(headers: &Headers, body: &Bytes) -> Option<Bytes> {
    let is_sdp = match headers.content_type() {
        Some(content_type) => content_type == "application/sdp",
        None => body.starts_with(b"v=0"),
    };
    (is_sdp && !body.is_empty()).then(|| body.clone())
}

/// The Reason headers of a message in one line (RFC 3326).
pub(super) fn reason(headers: &Headers) -> Option<String> {
    let all: Vec<&str> = headers.all(&HeaderName::Reason).collect();
    (!all.is_empty()).then(|| all.join(", "))
}
