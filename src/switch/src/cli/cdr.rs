//! `strowger cdr`.

use std::time::{Duration, UNIX_EPOCH};

use clap::{Subcommand, ValueEnum};
use model::CallRecord;
use store::Store;

use super::Operator;
use super::book::{Book, answered};
use crate::control::RECORDS;
use crate::failure::Failure;
use crate::print::{self, Output, Table};

#[derive(Debug, Subcommand)]
pub(super) enum Cdr {
    /// List the last calls, newest first
    List {
        /// How many
        #[arg(long, default_value_t = 20)]
        count: usize,
    },
    /// Print call records, oldest first
    Export {
        /// One JSON object a line, or comma-separated values with a head
        #[arg(long, value_enum, default_value = "json")]
        format: Format,
        /// Only the last ones
        #[arg(long, default_value_t = usize::MAX, hide_default_value = true)]
        count: usize,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Format {
    /// JSON lines.
    Json,
    /// RFC 4180.
    Csv,
}

impl Cdr {
    pub(super) fn run(self, operator: &Operator) -> Result<(), Failure> {
        match self {
            Cdr::List { count } if operator.output == Output::Json => {
                print::json(&recent(operator, count)?);
            }
            Cdr::List { count } => list(&recent(operator, count)?),
            Cdr::Export { format, count } => {
                let mut records = recent(operator, count)?;
                records.reverse();
                match format {
                    Format::Json => records.iter().for_each(print::json),
                    Format::Csv => csv(&records).iter().for_each(print::line),
                }
            }
        }
        Ok(())
    }
}

/// The newest records, newest first: of the switch that runs, else of its store.
fn recent(operator: &Operator, count: usize) -> Result<Vec<CallRecord>, Failure> {
    if let Book::Store(store) = operator.book()? {
        return Ok(store.recent_calls(count)?);
    }
    let mut records: Vec<CallRecord> = Vec::new();
    loop {
        let wanted = RECORDS.min(count.saturating_sub(records.len()));
        let before = records.last().map(|last| format!("&before={}", bare(last)));
        let before = before.unwrap_or_default();
        let target = format!("/v1/cdr?count={wanted}{before}");
        let part: Vec<CallRecord> = answered(operator.ask("GET", &target)?)?;
        let got = part.len();
        records.extend(part);
        if got < wanted || records.len() >= count {
            return Ok(records);
        }
    }
}

/// An id as programs write it.
fn bare(record: &CallRecord) -> String {
    let id = record.id.to_string();
    id.strip_prefix("call-").unwrap_or(&id).to_owned()
}

fn list(records: &[CallRecord]) {
    let mut table = Table::new([
        "start",
        "direction",
        "from",
        "to",
        "trunk",
        "session or trunk",
        "talk",
        "result",
        "why",
    ]);
    for record in records {
        table.row([
            time(record.started_ms),
            record.direction.label().to_owned(),
            record.from.clone(),
            record.to.clone(),
            record.trunk.clone(),
            format!("{}{}", record.session, record.to_trunk),
            format!("{:.0} s", record.talk_seconds()),
            record
                .outcome
                .map_or("open", model::Outcome::label)
                .to_owned(),
            why(record),
        ]);
    }
    table.print("no calls yet");
}

/// The first leg that did not end normally, or else the last one.
fn why(record: &CallRecord) -> String {
    let bad = record.legs.iter().find(|leg| leg.code >= 300);
    bad.or(record.legs.last())
        .map_or_else(String::new, |leg| format!("{} {}", leg.code, leg.phrase))
}

fn csv(records: &[CallRecord]) -> Vec<String> {
    let head = "id,start,direction,trunk,session,from,to,ringing_ms,answered_ms,ended_ms,talk_s,result,ended_by,why,to_trunk";
    let number = |value: Option<u64>| value.map(|value| value.to_string()).unwrap_or_default();
    let rows = records.iter().map(|record| {
        let cells = [
            record.id.to_string(),
            time(record.started_ms),
            record.direction.label().to_owned(),
            record.trunk.clone(),
            record.session.clone(),
            record.from.clone(),
            record.to.clone(),
            number(record.ringing_after_ms),
            number(record.answered_after_ms),
            number(record.ended_after_ms),
            format!("{:.3}", record.talk_seconds()),
            record
                .outcome
                .map_or("open", model::Outcome::label)
                .to_owned(),
            record.ended_by.map_or("", model::Side::label).to_owned(),
            why(record),
            record.to_trunk.clone(),
        ];
        cells.map(|cell| quoted(&cell)).join(",")
    });
    std::iter::once(head.to_owned()).chain(rows).collect()
}

/// RFC 4180 section 2; a cell that a spreadsheet would take for a formula is shown as text.
fn quoted(cell: &str) -> String {
    let formula = cell.starts_with(['=', '@', '-'])
        || cell.starts_with('+') && !cell.get(1..).is_some_and(digits);
    let cell = if formula {
        format!("'{cell}")
    } else {
        cell.to_owned()
    };
    if cell.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell
    }
}

fn digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A time in UTC, as in RFC 3339.
fn time(unix_ms: u64) -> String {
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_millis(unix_ms)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_of_a_stranger_is_no_formula() {
        assert_eq!(quoted("=HYPERLINK(\"x\")"), "\"'=HYPERLINK(\"\"x\"\")\"");
        assert_eq!(quoted("+15550001"), "+15550001");
        assert_eq!(quoted("a,b"), "\"a,b\"");
    }

    #[test]
    fn times_are_in_utc() {
        assert_eq!(time(1_700_000_000_123), "2023-11-14T22:13:20Z");
    }
}
