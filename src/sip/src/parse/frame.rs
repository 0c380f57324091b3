//! Cuts a datagram into start line, header fields and body (RFC 3261 7.3.1, 7.5, 18.3).
//!
//! Lines end with CRLF; a lone LF is taken too, a lone CR is a fault. Folded lines become one, short names long ones,
//! comma lists one field a value. A fault does not stop the reading, so that the answer can carry Via and Call-ID.

use std::borrow::Cow;

use bytes::Bytes;

use super::check::Start;
use super::{Fault, Limits};
use crate::message::scan;
use crate::message::{HeaderName, Headers, Message, Request, Response};

/// Fields that a message has room for from the beginning; an INVITE rarely has more.
const USUAL_HEADERS: usize = 16;

/// A cut datagram.
pub(super) struct Frame {
    /// The first line, without its end.
    pub(super) start_line: String,
    /// The fields, names normalised, without Content-Length.
    pub(super) headers: Headers,
    /// The body, as long as Content-Length says.
    pub(super) body: Bytes,
    /// The first fault found.
    pub(super) fault: Option<Fault>,
}

impl Frame {
    /// Cuts the datagram; `None` when it does not look like SIP at all.
    pub(super) fn read(datagram: &[u8], limits: &Limits) -> Option<Self> {
        // RFC 3261 7.5: blank lines before the start line are ignored.
        let start = datagram.iter().position(|c| !matches!(c, b'\r' | b'\n'))?;
        let mut lines = Lines {
            rest: datagram.get(start..)?,
            last_ended: false,
            taken: 0,
            limit: limits.head,
        };
        let start_line = lines.next()?;
        if !looks_like_sip(start_line.text) {
            return None;
        }
        let mut reader = Reader {
            frame: Self {
                start_line: String::from_utf8_lossy(
                    start_line
                        .text
                        .get(..limits.line)
                        .unwrap_or(start_line.text),
                )
                .into_owned(),
                headers: Headers::with_room_for(USUAL_HEADERS),
                body: Bytes::new(),
                fault: None,
            },
            count: 0,
            length: None,
            limits,
        };
        if start_line.text.len() > limits.line {
            reader.fault(Fault::TooLarge(super::limits::START_LINE));
        }
        // In a reason phrase nothing else would notice it.
        reader.refuse_cr(start_line.text);
        let ended = reader.read_fields(&mut lines);
        if lines.taken > limits.head {
            reader.fault(Fault::TooLarge(super::limits::HEAD));
        } else if ended {
            reader.cut_body(lines.rest);
        } else {
            reader.fault(Fault::Bad("no end of headers"));
        }
        Some(reader.frame)
    }

    /// Makes the message of a frame that passed the check.
    pub(super) fn into_message(self, start: Start) -> Message {
        let Self { headers, body, .. } = self;
        match start {
            Start::Request(method, uri) => Message::Request(Request {
                method,
                uri,
                headers,
                body,
            }),
            Start::Response(status, reason) => Message::Response(Response {
                status,
                reason,
                headers,
                body,
            }),
        }
    }
}

/// A start line begins or ends with the version; anything else is another protocol.
pub(super) fn looks_like_sip(line: &[u8]) -> bool {
    let is_version = |word: &[u8]| {
        word.get(..4)
            .is_some_and(|w| w.eq_ignore_ascii_case(b"SIP/"))
    };
    let words = line.trim_ascii_end();
    let last = words
        .rsplit(|c| *c == b' ' || *c == b'\t')
        .next()
        .unwrap_or_default();
    is_version(words) || is_version(last)
}

/// One line without its end.
struct Line<'a> {
    text: &'a [u8],
}

/// Takes lines from the front of the datagram, never more than the head may hold.
struct Lines<'a> {
    rest: &'a [u8],
    last_ended: bool,
    taken: usize,
    limit: usize,
}

impl<'a> Lines<'a> {
    /// Returns the next line; `None` when there is no complete one or the head is too long.
    fn next(&mut self) -> Option<Line<'a>> {
        let end = match self.rest.iter().position(|c| *c == b'\n') {
            Some(end) => end + 1,
            // The last line of a datagram may lack its end; it then also lacks the blank line.
            None if !self.rest.is_empty() => self.rest.len(),
            None => return None,
        };
        self.taken += end;
        if self.taken > self.limit {
            return None;
        }
        let (line, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest;
        self.last_ended = line.ends_with(b"\n");
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        Some(Line {
            text: line.strip_suffix(b"\r").unwrap_or(line),
        })
    }

    /// Returns whether the next line continues the last one.
    fn folded(&self) -> bool {
        matches!(self.rest.first(), Some(b' ' | b'\t'))
    }
}

/// What is known while fields are read.
struct Reader<'a> {
    frame: Frame,
    count: usize,
    length: Option<u64>,
    limits: &'a Limits,
}

impl Reader<'_> {
    /// Notes a fault; the first one stays.
    fn fault(&mut self, fault: Fault) {
        self.frame.fault.get_or_insert(fault);
    }

    /// Reads fields to the blank line; returns whether there was one.
    fn read_fields(&mut self, lines: &mut Lines<'_>) -> bool {
        if lines.folded() {
            self.fault(Fault::Bad("folded start line"));
        }
        while let Some(line) = lines.next() {
            if line.text.is_empty() {
                return true;
            }
            let mut size = line.text.len();
            let mut text = self.text(line.text);
            while lines.folded() {
                let Some(more) = lines.next() else { break };
                size += more.text.len();
                if size <= self.limits.line {
                    let more = self.text(more.text.trim_ascii());
                    let whole = text.to_mut();
                    whole.push(' ');
                    whole.push_str(&more);
                }
            }
            if size > self.limits.line {
                self.fault(Fault::TooLarge(super::limits::LINE));
            } else if self.count >= self.limits.headers {
                self.fault(Fault::TooLarge(super::limits::HEADERS));
            } else {
                self.field(&text);
            }
        }
        // A datagram whose blank line alone is missing, as some peers send it: there is no body to be mistaken about.
        lines.rest.is_empty() && lines.last_ended && self.length == Some(0)
    }

    /// Returns the line as text; broken UTF-8 becomes U+FFFD, which no checked value may hold outside quotes.
    fn text<'a>(&mut self, line: &'a [u8]) -> Cow<'a, str> {
        self.refuse_cr(line);
        String::from_utf8_lossy(line)
    }

    /// RFC 3261 25.1: CR stands before LF and nowhere else.
    fn refuse_cr(&mut self, line: &[u8]) {
        if line.contains(&b'\r') {
            self.fault(Fault::Bad("CR within a line"));
        }
    }

    /// Takes one unfolded field.
    fn field(&mut self, line: &str) {
        let Some((name, value)) = line.split_once(':') else {
            self.count += 1;
            return self.fault(Fault::Bad("header without colon"));
        };
        // Only blanks may stand before the colon; other control characters are no blanks and no name.
        let name = name.trim_end_matches([' ', '\t']);
        if !scan::is_token(name) {
            self.count += 1;
            return self.fault(Fault::Bad("header name"));
        }
        let name = HeaderName::from(name);
        let value = scan::trim(value);
        if name == HeaderName::ContentLength {
            self.count += 1;
            return self.content_length(value);
        }
        let values = if is_list(&name) {
            scan::split_open(value, b',')
        } else {
            vec![value]
        };
        for value in values {
            self.count += 1;
            if self.count > self.limits.headers {
                return self.fault(Fault::TooLarge(super::limits::HEADERS));
            }
            self.frame.headers.push(name.clone(), value);
        }
    }

    /// Digits alone, in 64 bits; two different values are an attempt to smuggle.
    fn content_length(&mut self, value: &str) {
        match one_length(self.length, value) {
            Ok(length) => self.length = Some(length),
            Err(fault) => self.fault(fault),
        }
    }

    /// RFC 3261 18.3: over UDP the body runs to Content-Length or to the end; what follows is ignored.
    fn cut_body(&mut self, rest: &[u8]) {
        let length = match self.length {
            Some(length) => usize::try_from(length).unwrap_or(usize::MAX),
            None => rest.len(),
        };
        match rest.get(..length) {
            None => self.fault(Fault::Bad("body shorter than Content-Length")),
            Some(body) if body.len() > self.limits.body => self.fault(Fault::BodyTooLarge),
            Some(body) => self.frame.body = Bytes::copy_from_slice(body),
        }
    }
}

/// What a complete header part says about the body behind it (RFC 3261 20.14).
pub(super) enum Length {
    /// So many octets.
    Octets(u64),
    /// Nothing; `typed` when Content-Type says that there is one.
    Missing { typed: bool },
    /// Something that is no length, or two different ones.
    Wrong(Fault),
}

impl Length {
    /// Reads the lengths in a header part, lines cut and unfolded as [`Frame::read`] does.
    pub(super) fn of(head: &[u8]) -> Self {
        let mut lines = Lines {
            rest: head,
            last_ended: false,
            taken: 0,
            limit: head.len(),
        };
        lines.next();
        let (mut length, mut typed) = (None, false);
        while let Some(line) = lines.next() {
            let mut value = match field_name(line.text) {
                Some((HeaderName::ContentLength, value)) => value.to_vec(),
                Some((HeaderName::ContentType, _)) => {
                    typed = true;
                    continue;
                }
                Some(_) | None => continue,
            };
            while lines.folded() {
                let Some(more) = lines.next() else { break };
                value.push(b' ');
                value.extend_from_slice(more.text.trim_ascii());
            }
            match one_length(length, scan::trim(&String::from_utf8_lossy(&value))) {
                Ok(octets) => length = Some(octets),
                Err(fault) => return Self::Wrong(fault),
            }
        }
        length.map_or(Self::Missing { typed }, Self::Octets)
    }
}

/// Returns the name of a header line and the octets behind its colon.
fn field_name(line: &[u8]) -> Option<(HeaderName, &[u8])> {
    let colon = line.iter().position(|c| *c == b':')?;
    let (name, value) = line.split_at_checked(colon)?;
    let name = std::str::from_utf8(name)
        .ok()?
        .trim_end_matches([' ', '\t']);
    let name = scan::is_token(name).then(|| HeaderName::from(name))?;
    Some((name, value.get(1..)?))
}

/// Digits alone, in 64 bits, and the same as before.
fn one_length(before: Option<u64>, value: &str) -> Result<u64, Fault> {
    match (crate::message::decimal(value), before) {
        (Some(this), None) => Ok(this),
        (Some(this), Some(other)) if this == other => Ok(this),
        (Some(_), Some(_)) => Err(Fault::Bad("two Content-Length values")),
        (None, _) => Err(Fault::Bad("Content-Length")),
    }
}

/// Headers whose values are kept apart when one line holds several between commas (RFC 3261 7.3.1).
fn is_list(name: &HeaderName) -> bool {
    matches!(
        name,
        HeaderName::Via
            | HeaderName::Contact
            | HeaderName::Route
            | HeaderName::RecordRoute
            | HeaderName::Path
            | HeaderName::ServiceRoute
            | HeaderName::PAssertedIdentity
            | HeaderName::PPreferredIdentity
            | HeaderName::RemotePartyId
            | HeaderName::Diversion
            | HeaderName::HistoryInfo
    )
}
