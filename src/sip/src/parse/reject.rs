//! Answers to requests that were refused by the front end, made of what could be read of them (RFC 3261 8.2.6, 8.2.7).

use std::hash::{DefaultHasher, Hash, Hasher};

use super::{Fault, Frame, Parsed};
use crate::message::{HeaderName, NameAddr, Params, Response, Via, scan};

/// Returns the answer, or `Drop` for what is never answered: responses, ACK, and requests without any Via.
pub(super) fn reject(frame: &Frame, fault: Fault) -> Parsed {
    let why = fault.why();
    let is_answered = !frame
        .start_line
        .get(..4)
        .is_some_and(|start| start.eq_ignore_ascii_case("SIP/"))
        && !frame.start_line.starts_with("ACK ");
    if !is_answered {
        return Parsed::Drop(why);
    }
    let mut response = fault.response();
    if !copy_vias(frame, &mut response) {
        return Parsed::Drop(why);
    }
    for name in [
        HeaderName::From,
        HeaderName::To,
        HeaderName::CallId,
        HeaderName::CSeq,
    ] {
        let Some(value) = frame.headers.get(&name) else {
            continue;
        };
        let mut value = clean(value);
        if name == HeaderName::To && value.parse::<NameAddr>().is_ok_and(|to| to.tag().is_none()) {
            value.push_str(";tag=");
            value.push_str(&tag(frame));
        }
        response.headers.push(name, value);
    }
    Parsed::Reject { response, why }
}

/// Copies the Vias that can be read; of the first one, what can be read, or else its text, which means something to its
/// sender alone (RFC 4475 3.1.2.16 has another version in it). Returns whether there is a first one.
fn copy_vias(frame: &Frame, response: &mut Response) -> bool {
    let mut vias = frame.headers.all(&HeaderName::Via);
    let Some(top) = vias.next() else {
        return false;
    };
    match salvage(top) {
        Some(via) => response.headers.push(HeaderName::Via, via),
        None => response.headers.push(HeaderName::Via, clean(top)),
    }
    for via in vias
        .filter_map(|value| value.parse::<Via>().ok())
        .take(usize::from(u8::MAX))
    {
        response.headers.push(HeaderName::Via, via);
    }
    true
}

/// Returns the text without control characters.
fn clean(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

/// Reads a Via and leaves out the parameters that are broken.
fn salvage(value: &str) -> Option<Via> {
    if let Ok(via) = value.parse() {
        return Some(via);
    }
    let mut parts = scan::split_open(value, b';').into_iter();
    let mut via: Via = parts.next()?.parse().ok()?;
    for part in parts {
        let Ok(params) = Params::parse(part) else {
            continue;
        };
        for (name, value) in params.iter() {
            via.params.set(name, value);
        }
    }
    Some(via)
}

/// RFC 3261 8.2.7: a stateless element gives the same tag to the same request.
fn tag(frame: &Frame) -> String {
    let mut hasher = DefaultHasher::new();
    for name in [
        HeaderName::Via,
        HeaderName::CallId,
        HeaderName::From,
        HeaderName::CSeq,
    ] {
        frame.headers.get(&name).hash(&mut hasher);
    }
    format!("{:016x}", hasher.finish())
}
