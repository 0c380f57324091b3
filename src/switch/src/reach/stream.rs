//! The answer to who listens: events without an end, or a refusal; or what somebody else says.

use std::io::{self, BufRead, ErrorKind, Read};
use std::iter;

use super::is_of_somebody_else;

/// The longest line of a stream that is read: no event has one that long.
const LONGEST_LINE: u64 = 1 << 20;
/// The longest refusal, octets.
const LONGEST_REFUSAL: usize = 64 << 10;
/// What events come as (HTML standard, 9.2).
const EVENTS: &str = "text/event-stream";

/// An answer as it comes, line by line.
#[derive(Debug)]
pub(super) struct Stream {
    status: u16,
    is_of_events: bool,
    refusal: String,
}

impl Stream {
    /// With this status and `Content-Type`.
    pub(super) fn new(status: u16, content_type: &str) -> Self {
        Self {
            status,
            is_of_events: status == 200 && content_type.starts_with(EVENTS),
            refusal: String::new(),
        }
    }

    /// Takes a line, which `told` hears at once if it is one of events; whether there may be more of use.
    pub(super) fn take(&mut self, line: &str, mut told: impl FnMut(&str)) -> bool {
        if self.is_of_events {
            told(line);
            return true;
        }
        self.refusal.push_str(line);
        self.refusal.push('\n');
        self.refusal.len() < LONGEST_REFUSAL
    }

    /// There are no more lines: `told` hears the refusal. The status, or that somebody else has answered, in words.
    pub(super) fn end(self, told: impl FnMut(&str)) -> Result<u16, String> {
        let Self {
            status,
            is_of_events,
            refusal,
        } = self;
        if is_of_events {
            return Ok(status);
        }
        if status == 200 || is_of_somebody_else(status, &refusal) {
            return Err(format!("it answers {status}, as no switch does"));
        }
        refusal.lines().for_each(told);
        Ok(status)
    }
}

/// The lines of what is read, without their ends; nothing comes behind one that is too long, or is no text.
pub(super) fn lines(mut reader: impl BufRead) -> impl Iterator<Item = io::Result<String>> {
    iter::from_fn(move || {
        let mut octets = Vec::new();
        let read = (&mut reader)
            .take(LONGEST_LINE)
            .read_until(b'\n', &mut octets);
        match read {
            Ok(0) => return None,
            Ok(_) => {}
            Err(error) => return Some(Err(error)),
        }
        if octets.pop_if(|last| *last == b'\n').is_some() {
            octets.pop_if(|last| *last == b'\r');
        } else if octets.len() as u64 == LONGEST_LINE {
            let what = "it says a line that is longer than any of a switch";
            return Some(Err(io::Error::new(ErrorKind::InvalidData, what)));
        }
        let line = String::from_utf8(octets);
        Some(line.map_err(|error| io::Error::new(ErrorKind::InvalidData, error)))
    })
}
