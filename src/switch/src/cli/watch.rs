//! `strowger events` and `strowger calls watch`: what happens, as it happens.

use clap::Args;

use super::Operator;
use crate::api::{BASE, Envelope};
use crate::failure::Failure;
use crate::print::{self, Output};

/// The events of calls.
const CALLS: &str = "call.started,call.ringing,call.answered,call.held,call.ended";

#[derive(Debug, Args)]
pub(super) struct Events {
    /// Only these, with commas between them, such as call.started,call.ended
    #[arg(long)]
    types: Option<String>,
}

impl Events {
    pub(super) fn run(self, operator: &Operator) -> Result<(), Failure> {
        watch(operator, self.types.as_deref())
    }
}

/// Prints what happens in calls.
pub(super) fn calls(operator: &Operator) -> Result<(), Failure> {
    watch(operator, Some(CALLS))
}

/// Prints events until the switch stops.
fn watch(operator: &Operator, types: Option<&str>) -> Result<(), Failure> {
    let is_plain = |c: char| c.is_ascii_lowercase() || ".,_".contains(c);
    let query = match types {
        Some(types) if !types.chars().all(is_plain) => {
            return Err(Failure::Usage(
                "--types is a list such as call.started,call.ended",
            ));
        }
        Some(types) => format!("?types={types}"),
        None => String::new(),
    };
    let mut refusal = String::new();
    let target = format!("{BASE}/events{query}");
    let reach = operator.reach()?;
    let status = reach.listen(&target, |line| {
        if line.starts_with('{') {
            line.clone_into(&mut refusal);
        }
        if let Some(event) = line.strip_prefix("data: ") {
            show(operator.output, event);
        } else if let Some(said) = line.strip_prefix(": too slow") {
            print::note(format_args!("too slow{said}"));
        }
    })?;
    match status {
        None => Err(reach.nobody()),
        Some(200) => Ok(()),
        Some(status) => super::book::answered(Some((status, refusal))),
    }
}

/// One event: for programs as it came, for people in a line.
fn show(output: Output, event: &str) {
    let Ok(envelope) = serde_json::from_str::<Envelope>(event) else {
        return;
    };
    if output == Output::Json {
        return print::line(event);
    }
    let Envelope {
        kind,
        at,
        call,
        trunk,
        session,
        data,
        ..
    } = envelope;
    let mut line = format!("{at}  {kind:<20}");
    for part in [call, trunk, session] {
        if !part.is_empty() {
            line += "  ";
            line += &part;
        }
    }
    for (name, value) in data.as_object().into_iter().flatten() {
        let value = match value {
            serde_json::Value::String(text) => text.clone(),
            // What legs there were stands in the record.
            serde_json::Value::Array(_) | serde_json::Value::Object(_) => continue,
            serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::Number(_) => {
                value.to_string()
            }
        };
        for part in ["  ", name, "=", &value] {
            line += part;
        }
    }
    print::line(line);
}
