//! `strowger log`: what the switch that runs logs.

use clap::Subcommand;
use model::CallId;

use super::Operator;
use crate::api::Level;
use crate::call_log::LogLine;
use crate::failure::Failure;
use crate::logging;
use crate::print::{self, Output};

#[derive(Debug, Subcommand)]
pub(super) enum Log {
    /// Say what is logged, or change it until the next start
    #[command(
        after_help = "Example: strowger log level debug; strowger log level sip=trace, which leaves the rest as it is"
    )]
    Level {
        /// error, warn, info, debug, trace or off, for all; TARGET=LEVEL for one room such as sip; a filter such as info,sip=debug
        level: Option<String>,
    },
    /// Print what was logged of one call, as far as it is still in memory
    #[command(
        after_help = "Example: strowger log call ID, with the id that `calls list` or `cdr search` shows"
    )]
    Call {
        /// Its id
        id: CallId,
    },
}

impl Log {
    pub(super) fn run(self, operator: &Operator) -> Result<(), Failure> {
        match self {
            Log::Level { level } => show_level(level, operator),
            Log::Call { id } => show_call(id, operator),
        }
    }
}

fn show_call(id: CallId, operator: &Operator) -> Result<(), Failure> {
    let lines: Vec<LogLine> = operator.get(&format!("/calls/{id}/log"))?;
    if operator.output == Output::Json {
        print::json(&lines);
        return Ok(());
    }
    for line in lines {
        let LogLine {
            at,
            level,
            target,
            text,
        } = line;
        print::line(format_args!("{at} {level:>5} {target}: {text}"));
    }
    Ok(())
}

fn show_level(level: Option<String>, operator: &Operator) -> Result<(), Failure> {
    let mut now: Level = operator.get("/log/levels")?;
    if let Some(wanted) = level {
        now.level = joined(&now.level, &wanted);
        operator.api::<()>("PUT", "/log/levels", Some(&now))?;
    }
    if operator.output == Output::Json {
        print::json(&now);
    } else {
        print::line(now.level);
    }
    Ok(())
}

/// The filter that there is, with one room's level changed; anything else takes its place.
fn joined(now: &str, wanted: &str) -> String {
    let Some((target, _)) = wanted.split_once('=').filter(|_| !wanted.contains(',')) else {
        return wanted.to_owned();
    };
    let is_other = |part: &&str| part.split('=').next() != Some(target) || !part.contains('=');
    // A level alone is for our own rooms; as a part of a filter it would be for libraries too.
    let spelled = now.parse().map(|level| logging::directives(&level));
    let now = spelled.unwrap_or_else(|_| now.to_owned());
    let kept = now.split(',').filter(is_other);
    kept.chain([wanted]).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_of_one_room_leaves_the_rest_as_it_is() {
        let spelled = joined("debug", "sip=trace");
        assert!(spelled.starts_with("warn,actors=debug,"), "{spelled}");
        assert!(spelled.ends_with(",sip=trace"), "{spelled}");
        assert!(!spelled.contains("sip=debug"), "{spelled}");
        for (now, wanted, after) in [
            ("info", "debug", "debug"),
            (
                "info,sip=trace,net=warn",
                "sip=debug",
                "info,net=warn,sip=debug",
            ),
            ("info,sip=trace", "warn,net=debug", "warn,net=debug"),
        ] {
            assert_eq!(joined(now, wanted), after);
        }
    }
}
