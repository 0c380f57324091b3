//! How a `Cause` is told to a SIP peer.

use model::{Cause, VerboseRejects};
use sip::{HeaderName, Request, Response, respond};

/// The final response that refuses a request, with `Reason`, `Retry-After` and `X-TG-Error` where they apply.
pub(crate) fn response(request: &Request, cause: &Cause, tag: &str) -> Response {
    let mut response = respond(request, cause.code(), &cause.phrase(), Some(tag));
    for (name, value) in headers(cause) {
        response.headers.push(HeaderName::from(name), value);
    }
    response
}

/// The headers that explain a cause: RFC 3326, RFC 3261 20.33, and Telegram's own name for it.
pub(crate) fn headers(cause: &Cause) -> Vec<(&'static str, String)> {
    let mut headers = vec![("Reason", reason(cause))];
    if let Some(wait) = cause.retry_after() {
        headers.push(("Retry-After", wait.as_secs().to_string()));
    }
    if let Some(error) = cause.telegram_error() {
        headers.push(("X-TG-Error", error.to_owned()));
    }
    headers
}

/// The value of a `Reason` header (RFC 3326).
pub(crate) fn reason(cause: &Cause) -> String {
    let text: String = cause
        .phrase()
        .chars()
        .filter(|c| !matches!(c, '"' | '\\'))
        .collect();
    format!("SIP;cause={};text=\"{text}\"", cause.code())
}

/// Whether a peer is told the real cause, or only the code.
pub(crate) fn is_told(policy: VerboseRejects, trusted: bool) -> bool {
    match policy {
        VerboseRejects::All => true,
        VerboseRejects::Trusted => trusted,
        VerboseRejects::None => false,
    }
}
