//! Everything the commands say goes through here: standard output for results, standard error for the rest.
//!
//! A pipe that closes early (`| head`) is no error, so results of writing are dropped.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;

use crate::cdr::quoted;

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
    /// For spreadsheets, where there is a table: RFC 4180.
    Csv,
}

/// Whether hints are left out.
static QUIET: AtomicBool = AtomicBool::new(false);
/// Whether it is told how the switch was asked.
static VERBOSE: AtomicBool = AtomicBool::new(false);

/// Says how much is told beside results and failures.
pub(crate) fn set_volume(is_quiet: bool, is_verbose: bool) {
    QUIET.store(is_quiet, Ordering::Relaxed);
    VERBOSE.store(is_verbose, Ordering::Relaxed);
}

/// Prints a line of the result.
pub(crate) fn line(text: impl std::fmt::Display) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// Prints the result as it is.
pub(crate) fn raw(text: &str) {
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}

/// Whether somebody still reads the result: a pipe may have closed.
pub(crate) fn is_read() -> bool {
    std::io::stdout().lock().flush().is_ok()
}

/// Prints what is no result: a hint or a warning, unless nobody wants any.
pub(crate) fn note(text: impl std::fmt::Display) {
    if !QUIET.load(Ordering::Relaxed) {
        failure(text);
    }
}

/// Prints why something was not done.
pub(crate) fn failure(text: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Prints how it was done, if somebody wants to know.
pub(crate) fn detail(text: impl std::fmt::Display) {
    if VERBOSE.load(Ordering::Relaxed) {
        failure(text);
    }
}

/// Asks for something on the same line.
pub(crate) fn prompt(text: impl std::fmt::Display) {
    let mut error = std::io::stderr().lock();
    let _ = write!(error, "{text}").and_then(|()| error.flush());
}

/// Prints one value as JSON.
pub(crate) fn json(value: &impl Serialize) {
    match serde_json::to_string(value) {
        Ok(text) => line(text),
        Err(error) => failure(error),
    }
}

/// Rows under a head.
pub(crate) struct Table<const N: usize> {
    head: [&'static str; N],
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    /// A table without rows.
    pub(crate) fn new(head: [&'static str; N]) -> Self {
        Self {
            head,
            rows: Vec::new(),
        }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, row: [String; N]) {
        self.rows.push(row);
    }

    /// Prints it, or `none` when it has no rows; as comma-separated values with their head in any case.
    pub(crate) fn print(&self, output: Output, none: &str) {
        if output == Output::Csv {
            for row in self.values() {
                line(row);
            }
            return;
        }
        if self.rows.is_empty() {
            note(none);
            return;
        }
        for row in self.lines() {
            line(row);
        }
    }

    /// The rows as RFC 4180 has them, the head first.
    fn values(&self) -> Vec<String> {
        let row = |cells: &[String]| {
            let cells = cells.iter().map(|cell| quoted(cell));
            cells.collect::<Vec<_>>().join(",")
        };
        let head = self.head.map(str::to_owned);
        let rows = self.rows.iter().map(|cells| row(cells));
        std::iter::once(row(&head)).chain(rows).collect()
    }

    fn lines(&self) -> Vec<String> {
        let head = self.head.map(str::to_uppercase);
        let all = || std::iter::once(&head).chain(&self.rows);
        let mut widths = [0; N];
        for row in all() {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        all()
            .map(|row| {
                let cells: Vec<String> = row
                    .iter()
                    .zip(widths)
                    .map(|(cell, width)| format!("{cell:width$}"))
                    .collect();
                cells.join("  ").trim_end().to_owned()
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(["name", "kind"]);
        table.row(["a-long-name".into(), "peer".into()]);
        table.row(["b".into(), "é".into()]);
        assert_eq!(
            table.lines(),
            ["NAME         KIND", "a-long-name  peer", "b            é"]
        );
        table.row(["=1+1".into(), "a,\"b\"".into()]);
        assert_eq!(
            table.values(),
            [
                "name,kind",
                "a-long-name,peer",
                "b,é",
                "'=1+1,\"a,\"\"b\"\"\""
            ]
        );
    }
}
