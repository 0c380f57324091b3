//! The semantic check: start line, mandatory headers, typed values (RFC 3261 7.1, 7.2, 8.1.1, 8.2, 16.3).

use super::{Fault, Frame, Limits};
use crate::message::{CSeq, HeaderName, Headers, Method, NameAddr, Uri, Via, decimal, scan};

/// A start line that passed.
pub(super) enum Start {
    /// That of a request.
    Request(Method, Uri),
    /// That of a response.
    Response(u16, String),
}

/// Returns the start line of a message in order, or the first fault as a user agent would meet them.
pub(super) fn check(frame: &Frame, limits: &Limits) -> Result<Start, Fault> {
    let is_response = frame
        .start_line
        .get(..4)
        .is_some_and(|start| start.eq_ignore_ascii_case("SIP/"));
    if is_response {
        response(frame, limits)
    } else {
        request(frame, limits)
    }
}

fn request(frame: &Frame, limits: &Limits) -> Result<Start, Fault> {
    // RFC 3261 7.1: one space between the parts, none behind the last. Those too many before the version are passed over, as
    // RFC 4475 3.1.2.9 allows, because peers send them; the others make it doubtful where the URI is (3.1.2.8, 3.1.2.10).
    let parts = frame.start_line.split_once(' ').and_then(|(method, rest)| {
        let (uri, version) = rest.rsplit_once(' ')?;
        Some((method, uri.trim_end_matches(' '), version))
    });
    let Some((method, uri, version)) =
        parts.filter(|(_, uri, version)| !uri.contains(' ') && !version.is_empty())
    else {
        return Err(Fault::Bad("start line"));
    };
    if !version.eq_ignore_ascii_case("SIP/2.0") {
        return Err(Fault::Version);
    }
    if !scan::is_token(method) {
        return Err(Fault::Bad("method"));
    }
    if let Some(fault) = frame.fault {
        return Err(fault);
    }
    let method = Method::from(method);
    let headers = &frame.headers;
    mandatory(headers)?;
    counts(headers, limits, &method)?;
    if !method.is_known() {
        return Err(Fault::Method);
    }
    let uri: Uri = uri.parse().map_err(|_| Fault::Bad("Request-URI"))?;
    typed(headers, &method)?;
    match &uri {
        Uri::Other { .. } => return Err(Fault::Scheme),
        // RFC 3261 19.1.1: a Request-URI has no header part (RFC 4475 3.1.2.11).
        Uri::Sip(sip) if sip.headers.is_some() => {
            return Err(Fault::Bad("headers in the Request-URI"));
        }
        Uri::Sip(_) | Uri::Tel { .. } => {}
    }
    Ok(Start::Request(method, uri))
}

fn response(frame: &Frame, limits: &Limits) -> Result<Start, Fault> {
    if let Some(fault) = frame.fault {
        return Err(fault);
    }
    let mut words = frame.start_line.splitn(3, ' ');
    let (version, status, reason) = (words.next(), words.next(), words.next().unwrap_or_default());
    if !version.is_some_and(|version| version.eq_ignore_ascii_case("SIP/2.0")) {
        return Err(Fault::Version);
    }
    let status = status
        .filter(|status| status.len() == 3)
        .and_then(decimal)
        .and_then(|status| u16::try_from(status).ok())
        .filter(|status| (100..700).contains(status))
        .ok_or(Fault::Bad("status code"))?;
    let headers = &frame.headers;
    mandatory(headers)?;
    let cseq: CSeq = headers.cseq().ok_or(Fault::Bad("CSeq"))?;
    counts(headers, limits, &cseq.method)?;
    typed(headers, &cseq.method)?;
    Ok(Start::Response(status, reason.to_owned()))
}

/// RFC 3261 8.1.1: these must be there, and once, but for Via; Max-Forwards may be missing (RFC 2543 peers).
fn mandatory(headers: &Headers) -> Result<(), Fault> {
    const ONCE: [(HeaderName, &str, &str); 4] = [
        (HeaderName::From, "missing From", "several From"),
        (HeaderName::To, "missing To", "several To"),
        (HeaderName::CallId, "missing Call-ID", "several Call-ID"),
        (HeaderName::CSeq, "missing CSeq", "several CSeq"),
    ];
    for (name, missing, several) in ONCE {
        match headers.count(&name) {
            0 => return Err(Fault::Bad(missing)),
            1 => {}
            _ => return Err(Fault::Bad(several)),
        }
    }
    if headers.count(&HeaderName::MaxForwards) > 1 {
        return Err(Fault::Bad("several Max-Forwards"));
    }
    if headers.count(&HeaderName::ContentType) > 1 {
        return Err(Fault::Bad("several Content-Type"));
    }
    if !headers.has(&HeaderName::Via) {
        return Err(Fault::Bad("missing Via"));
    }
    Ok(())
}

fn counts(headers: &Headers, limits: &Limits, method: &Method) -> Result<(), Fault> {
    if headers.count(&HeaderName::Via) > limits.vias {
        return Err(Fault::TooManyVias);
    }
    let routes = headers
        .count(&HeaderName::Route)
        .max(headers.count(&HeaderName::RecordRoute));
    if routes > limits.routes {
        return Err(Fault::TooLarge(super::limits::ROUTES));
    }
    if *method == Method::Register && headers.count(&HeaderName::Contact) > limits.contacts {
        return Err(Fault::TooLarge(super::limits::CONTACTS));
    }
    Ok(())
}

/// Parses every value that the layers above rely on. Not Route: RFC 3261 8.2.2, a user agent passes over a malformed header
/// that it does not need, and nothing is routed here.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "only what the layers above rely on is read"
)]
fn typed(headers: &Headers, method: &Method) -> Result<(), Fault> {
    for (name, value) in headers.iter() {
        let is_address = || value.parse::<NameAddr>().is_ok();
        match name {
            HeaderName::Via if value.parse::<Via>().is_err() => return Err(Fault::Bad("Via")),
            HeaderName::From if !is_address() => return Err(Fault::Bad("From")),
            HeaderName::To if !is_address() => return Err(Fault::Bad("To")),
            HeaderName::Contact if value != "*" && !is_address() => {
                return Err(Fault::Bad("Contact"));
            }
            HeaderName::RecordRoute if !is_address() => return Err(Fault::Bad("Record-Route")),
            HeaderName::CallId if !is_call_id(value) => return Err(Fault::Bad("Call-ID")),
            HeaderName::MaxForwards if decimal(value).is_none_or(|hops| hops > 255) => {
                return Err(Fault::Bad("Max-Forwards"));
            }
            _ => {}
        }
    }
    let cseq = headers.cseq().ok_or(Fault::Bad("CSeq"))?;
    if cseq.method != *method {
        return Err(Fault::Bad("CSeq method"));
    }
    Ok(())
}

/// RFC 3261 25.1 `callid`, wide: any visible ASCII.
fn is_call_id(value: &str) -> bool {
    !value.is_empty() && value.bytes().all(|c| c.is_ascii_graphic())
}
