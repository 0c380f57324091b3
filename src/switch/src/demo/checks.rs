//! What the demo claims, and whether it is so.

use std::time::Duration;

use crate::print::{self, Output, Table};

/// All checks so far.
#[derive(Default)]
pub(super) struct Checks(Vec<Check>);

struct Check {
    what: &'static str,
    expected: String,
    measured: String,
    holds: bool,
    /// Whether it is a figure that says little on a machine that had no time for the house.
    is_figure: bool,
}

impl Checks {
    /// Something that must be exactly so.
    pub(super) fn same(&mut self, what: &'static str, expected: &str, measured: &str) {
        self.push(
            what,
            expected.to_owned(),
            measured.to_owned(),
            expected == measured,
            false,
        );
    }

    /// A figure that must reach a bar.
    pub(super) fn at_least(&mut self, what: &'static str, bar: f64, measured: f64) {
        self.push(
            what,
            format!("at least {bar:.2}"),
            format!("{measured:.2}"),
            measured >= bar,
            true,
        );
    }

    /// A figure that must stay below a bar.
    pub(super) fn below(&mut self, what: &'static str, bar: f64, measured: f64) {
        self.push(
            what,
            format!("below {bar:.2}"),
            format!("{measured:.2}"),
            measured < bar,
            true,
        );
    }

    /// A time that must not be exceeded.
    pub(super) fn within(&mut self, what: &'static str, bar: Duration, measured: Duration) {
        self.push(
            what,
            format!("at most {}", ms(bar)),
            ms(measured),
            measured <= bar,
            true,
        );
    }

    /// Something that did not happen at all.
    pub(super) fn missing(&mut self, what: &'static str, instead: &str) {
        self.push(
            what,
            "to happen".to_owned(),
            instead.to_owned(),
            false,
            false,
        );
    }

    fn push(
        &mut self,
        what: &'static str,
        expected: String,
        measured: String,
        holds: bool,
        is_figure: bool,
    ) {
        self.0.push(Check {
            what,
            expected,
            measured,
            holds,
            is_figure,
        });
    }

    pub(super) fn all_hold(&self) -> bool {
        !self.0.is_empty() && self.0.iter().all(|check| check.holds)
    }

    /// Whether all that does not hold are delays, times and likenesses, which a busy machine spoils.
    pub(super) fn all_but_figures_hold(&self) -> bool {
        let mut checks = self.0.iter();
        !self.0.is_empty() && checks.all(|check| check.holds || check.is_figure)
    }

    pub(super) fn print(&self) {
        let mut table = Table::new(["check", "expected", "measured", "verdict"]);
        for check in &self.0 {
            let verdict = if check.holds { "ok" } else { "FAILED" };
            table.row([
                check.what.to_owned(),
                check.expected.clone(),
                check.measured.clone(),
                verdict.to_owned(),
            ]);
        }
        table.print(Output::Table, "nothing was checked");
        let (held, all) = (
            self.0.iter().filter(|check| check.holds).count(),
            self.0.len(),
        );
        print::line("");
        print::line(format!("{held} of {all} checks hold"));
    }
}

/// A time in milliseconds, as people read it.
pub(super) fn ms(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_check_that_fails_fails_the_demo() {
        let mut checks = Checks::default();
        assert!(!checks.all_hold(), "nothing was shown");
        checks.same("a", "486 x", "486 x");
        checks.at_least("b", 0.8, 0.8);
        checks.within("c", Duration::from_millis(5), Duration::from_millis(5));
        checks.below("d", 0.5, 0.49);
        assert!(checks.all_hold());
        checks.at_least("e", 0.8, f64::NAN);
        assert!(!checks.all_hold() && checks.all_but_figures_hold());
        checks.missing("f", "nothing");
        assert!(!checks.all_but_figures_hold());
    }
}
