//! `strowger cdr`.

use std::time::SystemTime;

use clap::{Args, Subcommand, ValueEnum};
use model::{CallId, CallRecord};
use store::Store;

use super::Operator;
use super::book::{Book, answered};
use crate::cdr::{self, Filter, Words, time, why};
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
    /// List the calls that are looked for, newest first
    #[command(after_help = "Example: strowger cdr search --since 2h --trunk office --code 486")]
    Search {
        #[command(flatten)]
        wanted: Wanted,
        /// How many
        #[arg(long, default_value_t = 100)]
        count: usize,
    },
    /// Print call records, oldest first
    #[command(after_help = "Example: strowger cdr export --format csv --since 2026-01-01")]
    Export {
        /// One JSON object a line, or comma-separated values with a head
        #[arg(long, value_enum, default_value = "json")]
        format: Format,
        #[command(flatten)]
        wanted: Wanted,
        /// Only the last ones
        #[arg(long, default_value_t = usize::MAX, hide_default_value = true)]
        count: usize,
    },
}

/// Which records.
#[derive(Debug, Args)]
pub(super) struct Wanted {
    /// Those that began then or later: 2026-01-31, 2026-01-31T08:00:00Z, or 2h for two hours ago
    #[arg(long)]
    since: Option<String>,
    /// Those that began earlier
    #[arg(long)]
    until: Option<String>,
    /// The trunk, by which a call came or left
    #[arg(long)]
    trunk: Option<String>,
    /// The session
    #[arg(long)]
    session: Option<String>,
    /// A code with which a leg ended, such as 486
    #[arg(long)]
    code: Option<u16>,
    /// What stands anywhere in the number that called, or was called
    #[arg(long)]
    number: Option<String>,
    /// sip_to_tg, tg_to_sip or sip_to_sip
    #[arg(long)]
    direction: Option<String>,
    /// answered, busy, no_answer, declined, cancelled, rejected, limited or failed
    #[arg(long)]
    result: Option<String>,
}

impl Wanted {
    fn filter(self) -> Result<Filter, Failure> {
        let words = Words {
            since: self.since,
            until: self.until,
            trunk: self.trunk,
            session: self.session,
            code: self.code,
            number: self.number,
            direction: self.direction,
            result: self.result,
        };
        let filter = words.read(SystemTime::now());
        filter.map_err(|error| Failure::Answered {
            status: 400,
            said: error.to_string(),
        })
    }
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
            Cdr::List { count } => show(operator, &recent(operator, &Filter::default(), count)?),
            Cdr::Search { wanted, count } => {
                show(operator, &recent(operator, &wanted.filter()?, count)?);
            }
            Cdr::Export {
                format,
                wanted,
                count,
            } => {
                let mut records = recent(operator, &wanted.filter()?, count)?;
                records.reverse();
                match format {
                    Format::Json => records.iter().for_each(print::json),
                    Format::Csv => {
                        print::line(cdr::HEAD);
                        records.iter().map(cdr::row).for_each(print::line);
                    }
                }
            }
        }
        Ok(())
    }
}

fn show(operator: &Operator, records: &[CallRecord]) {
    if operator.output == Output::Json {
        print::json(&records);
    } else {
        list(records);
    }
}

/// The newest records that are wanted, newest first: of the switch that runs, else of its store.
fn recent(operator: &Operator, filter: &Filter, count: usize) -> Result<Vec<CallRecord>, Failure> {
    let book = operator.book()?;
    let part = |before: Option<CallId>| match &book {
        Book::Store(store) => Ok(store.calls_before(before, RECORDS)?),
        Book::Switch(operator) => {
            let before = before.map(|before| format!("&before={}", bare(before)));
            let target = format!("/v1/cdr?count={RECORDS}{}", before.unwrap_or_default());
            answered(operator.ask("GET", &target)?)
        }
    };
    let mut records: Vec<CallRecord> = Vec::new();
    let mut before = filter.before(None);
    loop {
        let got: Vec<CallRecord> = part(before)?;
        let is_last = got.len() < RECORDS;
        for record in got {
            if filter.is_past(&record) || records.len() >= count {
                return Ok(records);
            }
            before = Some(record.id);
            if filter.takes(&record) {
                records.push(record);
            }
        }
        if is_last {
            return Ok(records);
        }
    }
}

/// An id as programs write it.
fn bare(id: CallId) -> String {
    let id = id.to_string();
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
