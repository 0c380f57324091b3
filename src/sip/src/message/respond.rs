//! The start of every response (RFC 3261 8.2.6).

use super::{HeaderName, Method, Request, Response};

/// Returns a response to the request: Via, From, To, Call-ID and CSeq copied, the To tag added (RFC 3261 8.2.6.2).
///
/// An empty reason becomes the usual phrase. The tag is not added to 100 nor to a To that has one. Record-Route is
/// copied where the response forms a dialog (RFC 3261 12.1.1).
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a response copies these headers and no others"
)]
pub fn respond(request: &Request, status: u16, reason: &str, to_tag: Option<&str>) -> Response {
    let mut response = Response::new(status, reason);
    let forms_dialog = (101..300).contains(&status)
        && matches!(
            request.method,
            Method::Invite | Method::Subscribe | Method::Refer | Method::Notify
        );
    for (name, value) in request.headers.iter() {
        let copied = match name {
            HeaderName::Via | HeaderName::From | HeaderName::CallId | HeaderName::CSeq => true,
            HeaderName::RecordRoute => forms_dialog,
            // RFC 3261 8.2.6.1: a 100 carries the Timestamp back.
            HeaderName::Timestamp => status == 100,
            HeaderName::To => {
                response.headers.push(
                    HeaderName::To,
                    with_tag(value, to_tag.filter(|_| status != 100)),
                );
                false
            }
            _ => false,
        };
        if copied {
            response.headers.push(name.clone(), value);
        }
    }
    response
}

/// Returns the 420 to a request that requires an extension: there is none that we have (RFC 3261 8.2.2.3).
pub fn refuse_required(request: &Request, to_tag: &str) -> Option<Response> {
    let required = request.headers.require();
    if required.is_empty() {
        return None;
    }
    let mut response = respond(request, 420, "", Some(to_tag));
    let required = required.join(", ");
    response.headers.push(HeaderName::Unsupported, required);
    Some(response)
}

/// Returns the To as written, with the tag behind it unless it has one.
fn with_tag(to: &str, tag: Option<&str>) -> String {
    let has_tag = to
        .parse::<super::NameAddr>()
        .is_ok_and(|to| to.tag().is_some());
    match tag {
        Some(tag) if !has_tag => {
            let tag: String = tag
                .bytes()
                .filter(|c| super::scan::is_token_byte(*c))
                .map(char::from)
                .collect();
            format!("{to};tag={tag}")
        }
        Some(_) | None => to.to_owned(),
    }
}
