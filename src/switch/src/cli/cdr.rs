//! `strowger cdr`.

use std::collections::BTreeSet;
use std::time::SystemTime;

use clap::{Args, Subcommand, ValueEnum};
use model::{CallId, CallRecord};

use super::Operator;
use super::book::Book;
use crate::api::{CallPage, LONGEST_PAGE};
use crate::cdr::{self, Filter, Words, time, why};
use crate::failure::Failure;
use crate::print::{self, Output, Table};
use crate::reach::escaped;
use crate::record_view::RecordObject;
use crate::veil::Veil;

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
    fn words(self) -> Words {
        Words {
            since: self.since,
            until: self.until,
            trunk: self.trunk,
            session: self.session,
            code: self.code,
            number: self.number,
            direction: self.direction,
            result: self.result,
        }
    }
}

/// The same as the switch is asked.
fn query(words: &Words) -> String {
    let code = words.code.map(|code| code.to_string());
    let parts = [
        ("since", &words.since),
        ("until", &words.until),
        ("trunk", &words.trunk),
        ("session", &words.session),
        ("code", &code),
        ("number", &words.number),
        ("direction", &words.direction),
        ("result", &words.result),
    ];
    let given = parts.into_iter().filter_map(|(name, value)| {
        let value = value.as_ref()?;
        Some(format!("&{name}={}", escaped(value)))
    });
    given.collect()
}

fn filter(words: &Words) -> Result<Filter, Failure> {
    let filter = words.clone().read(SystemTime::now());
    filter.map_err(|error| Failure::Answered {
        status: 400,
        said: error.to_string(),
    })
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
            Cdr::List { count } => show(operator, &recent(operator, &Words::default(), count)?),
            Cdr::Search { wanted, count } => {
                show(operator, &recent(operator, &wanted.words(), count)?);
            }
            Cdr::Export {
                format,
                wanted,
                count,
            } => {
                let mut records = recent(operator, &wanted.words(), count)?;
                records.reverse();
                match format {
                    Format::Json => records
                        .iter()
                        .map(RecordObject::from)
                        .for_each(|it| print::json(&it)),
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
        let objects: Vec<_> = records.iter().map(RecordObject::from).collect();
        print::json(&objects);
    } else {
        list(operator.output, records);
    }
}

/// The newest records that are wanted, newest first: of the switch that runs, else of its store.
fn recent(operator: &Operator, words: &Words, count: usize) -> Result<Vec<CallRecord>, Failure> {
    let book = operator.book()?;
    let filter = filter(words)?;
    let query = query(words);
    let veil = match &book {
        Book::Store(_) => Veil::new(operator.settings()?.cdr.privacy),
        // It has its own.
        Book::Switch(_) => Veil::default(),
    };
    let mut records: Vec<CallRecord> = Vec::new();
    let mut unreadable = BTreeSet::new();
    let (mut before, mut cursor) = (None, String::new());
    loop {
        let limit = LONGEST_PAGE.min(count - records.len());
        let is_last = match &book {
            Book::Store(store) => {
                let found = filter.search(&**store, &veil, before, limit)?;
                records.extend(found.records);
                unreadable.extend(found.unreadable.iter().map(|it| it.id));
                before = found.next;
                before.is_none()
            }
            Book::Switch(operator) => {
                let path = format!("/cdr?whole=true&limit={limit}{query}{cursor}");
                let page: CallPage<CallRecord> = operator.get(&path)?;
                records.extend(page.items);
                let ids = page.unreadable.iter();
                unreadable.extend(ids.filter_map(|id| id.parse::<CallId>().ok()));
                cursor = page
                    .next
                    .map_or_else(String::new, |next| format!("&cursor={next}"));
                cursor.is_empty()
            }
        };
        if is_last || records.len() >= count {
            if !unreadable.is_empty() {
                print::note(format_args!(
                    "{} call records cannot be read and are left out: `strowger store check` names them",
                    unreadable.len()
                ));
            }
            return Ok(records);
        }
    }
}

fn list(output: Output, records: &[CallRecord]) {
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
    table.print(output, "no calls yet");
}
