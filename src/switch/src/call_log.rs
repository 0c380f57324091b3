//! What was logged of the last calls, in memory: `strowger log call ID` and `/api/v1/calls/{id}/log`.
//!
//! It has what the log has, by the level that holds, of the events that name a call. What must not be read is no more in it than in the log
//! (SEC-S). It is bounded in lines and in octets; the oldest go first.

use std::collections::VecDeque;
use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use model::CallId;
use serde::{Deserialize, Serialize};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use utoipa::ToSchema;

/// How many lines there are at most: some thousand calls at the level `info`.
const MOST_LINES: usize = 16_384;
/// How many octets of text they have together at most.
const MOST_OCTETS: usize = 4 << 20;
/// The longest text of a line, octets; what is longer is cut.
const LONGEST: usize = 2048;
/// The field that names the call.
const CALL: &str = "call";

/// A line that was logged of a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct LogLine {
    /// When, RFC 3339 in UTC with milliseconds.
    pub(crate) at: String,
    /// `ERROR`, `WARN`, `INFO`, `DEBUG` or `TRACE`.
    pub(crate) level: String,
    /// Which part of the program said it.
    pub(crate) target: String,
    /// What, with the fields as `name=value`.
    pub(crate) text: String,
}

/// One line as it is kept.
struct Kept {
    call: CallId,
    at: SystemTime,
    level: tracing::Level,
    target: &'static str,
    text: String,
}

#[derive(Default)]
struct Ring {
    lines: VecDeque<Kept>,
    octets: usize,
}

/// The lines; a handle, cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct CallLog(Arc<Mutex<Ring>>);

impl CallLog {
    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was logged of a call, oldest first.
    pub(crate) fn of(&self, call: CallId) -> Vec<LogLine> {
        let ring = self.ring();
        let lines = ring.lines.iter().filter(|line| line.call == call);
        lines
            .map(|line| LogLine {
                at: humantime::format_rfc3339_millis(line.at).to_string(),
                level: line.level.to_string(),
                target: line.target.to_owned(),
                text: line.text.clone(),
            })
            .collect()
    }

    fn keep(&self, line: Kept) {
        let mut ring = self.ring();
        ring.octets += line.text.len();
        ring.lines.push_back(line);
        while ring.lines.len() > MOST_LINES || ring.octets > MOST_OCTETS {
            let Some(oldest) = ring.lines.pop_front() else {
                break;
            };
            ring.octets -= oldest.text.len();
        }
    }
}

impl<S: Subscriber> Layer<S> for CallLog {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        if metadata.fields().field(CALL).is_none() {
            return;
        }
        let mut reader = Reader::default();
        event.record(&mut reader);
        let Ok(call) = reader.call.parse() else {
            return;
        };
        let mut text = reader.message + &reader.rest;
        if text.len() > LONGEST {
            let mut ends = (0..=LONGEST).rev();
            let end = ends.find(|end| text.is_char_boundary(*end));
            text.truncate(end.unwrap_or_default());
            text.shrink_to_fit();
        }
        self.keep(Kept {
            call,
            at: SystemTime::now(),
            level: *metadata.level(),
            target: metadata.target(),
            text,
        });
    }
}

/// Takes an event apart.
#[derive(Default)]
struct Reader {
    call: String,
    message: String,
    rest: String,
}

impl Visit for Reader {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // Writing to a string cannot fail.
        let _ = match field.name() {
            CALL => write!(self.call, "{value:?}"),
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.rest, " {name}={value:?}"),
        };
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let _ = match field.name() {
            CALL => write!(self.call, "{value}"),
            "message" => write!(self.message, "{value}"),
            name => write!(self.rest, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    fn id(n: u128) -> CallId {
        CallId::from_bytes(n.to_be_bytes())
    }

    fn logged(log: &CallLog, what: impl FnOnce()) {
        let subscriber = tracing_subscriber::registry().with(log.clone());
        tracing::subscriber::with_default(subscriber, what);
    }

    #[test]
    fn the_lines_of_one_call_are_found_among_those_of_others() {
        let log = CallLog::default();
        logged(&log, || {
            tracing::info!(call = %id(1), trunk = "office", up = true, "call begins");
            tracing::warn!(call = %id(2), "no RTP from the PBX");
            tracing::info!(trunk = "office", "of no call");
            tracing::info!(call = "nonsense", "of none that there can be");
            tracing::debug!(call = %id(1), "call state");
        });
        let lines = log.of(id(1));
        let said: Vec<(&str, &str)> = lines
            .iter()
            .map(|line| (&*line.level, &*line.text))
            .collect();
        let wanted = [
            ("INFO", "call begins trunk=\"office\" up=true"),
            ("DEBUG", "call state"),
        ];
        assert_eq!(said, wanted);
        assert!(log.of(id(3)).is_empty());
        assert_eq!(log.ring().lines.len(), 3);
    }

    #[test]
    fn it_does_not_grow_beyond_its_bounds() {
        let log = CallLog::default();
        let long = "ä".repeat(LONGEST);
        logged(&log, || {
            for n in 0..3000 {
                tracing::info!(call = %id(n), "{long}");
            }
        });
        assert!(log.ring().octets <= MOST_OCTETS);
        assert!(log.of(id(0)).is_empty(), "the oldest goes first");
        assert!(log.of(id(2999))[0].text.len() <= LONGEST);
        logged(&log, || {
            for _ in 0..=MOST_LINES {
                tracing::info!(call = %id(1), "x");
            }
        });
        assert_eq!(log.of(id(1)).len(), MOST_LINES);
        assert_eq!(log.ring().octets, MOST_LINES);
    }
}
