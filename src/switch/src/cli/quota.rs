//! `strowger quota`: profiles are records; what was used is the registry's of the switch that runs.

use std::time::{Duration, UNIX_EPOCH};

use actors::Subject;
use clap::{Args, Subcommand};
use model::{QuotaName, QuotaSpec};
use store::Change;

use super::Operator;
use crate::api::QuotaView;
use crate::failure::Failure;
use crate::print::{self, Output, Table};

#[derive(Debug, Subcommand)]
pub(super) enum Quota {
    /// Make a profile; give it to trunks and sessions with `--quota`, one named `default` holds for all others
    #[command(after_help = "Example: strowger quota add small --call-seconds 120 --fail-calls 10")]
    Add {
        /// Its name
        name: QuotaName,
        #[command(flatten)]
        limits: Limits,
    },
    /// Change a profile; calls that are up keep what they began with
    Set {
        /// Its name
        name: QuotaName,
        #[command(flatten)]
        limits: Limits,
    },
    /// List all profiles
    List,
    /// Remove a profile that no trunk and no session has
    Remove {
        /// Its name
        name: QuotaName,
    },
    /// Show who has a profile, and what of it is used
    Show {
        /// Only this one: trunk/NAME, session/NAME, user/NAME, route/TRUNK/SESSION or transit/TRUNK/TRUNK
        subject: Option<Subject>,
    },
    /// Forget what somebody has used
    Reset {
        /// Whose: trunk/NAME, session/NAME, user/NAME, route/TRUNK/SESSION or transit/TRUNK/TRUNK
        subject: Subject,
    },
}

/// What a profile allows; 0 = unlimited.
#[derive(Debug, Args)]
pub(super) struct Limits {
    /// Longest call, from its answer
    #[arg(long)]
    call_seconds: Option<u32>,
    /// Talk time in a window
    #[arg(long)]
    total_seconds: Option<u32>,
    /// The window of the talk time, from the first call that counts; 30 days unless said
    #[arg(long)]
    total_window_seconds: Option<u32>,
    /// Failed calls in a window
    #[arg(long)]
    fail_calls: Option<u32>,
    /// The window of the failed calls, from the first one that counts; an hour unless said
    #[arg(long)]
    fail_window_seconds: Option<u32>,
}

impl Limits {
    fn over(self, spec: &QuotaSpec) -> QuotaSpec {
        QuotaSpec {
            name: spec.name.clone(),
            call_seconds: self.call_seconds.unwrap_or(spec.call_seconds),
            total_seconds: self.total_seconds.unwrap_or(spec.total_seconds),
            total_window_seconds: self
                .total_window_seconds
                .unwrap_or(spec.total_window_seconds),
            fail_calls: self.fail_calls.unwrap_or(spec.fail_calls),
            fail_window_seconds: self.fail_window_seconds.unwrap_or(spec.fail_window_seconds),
        }
    }
}

impl Quota {
    pub(super) fn run(self, operator: &Operator) -> Result<(), Failure> {
        match self {
            Quota::Add { name, limits } => put(operator, &name, limits, false),
            Quota::Set { name, limits } => put(operator, &name, limits, true),
            Quota::List => list(operator),
            Quota::Remove { name } => {
                let book = operator.book()?;
                let current = book.current()?;
                book.commit(&current, vec![Change::RemoveQuota(name.clone())])?;
                print::line(format_args!("quota {name} removed"));
                Ok(())
            }
            Quota::Show { subject } => show(operator, subject.as_ref()),
            Quota::Reset { subject } => {
                let path = format!("/quotas/{subject}/reset");
                let () = operator.api("POST", &path, None::<&()>)?;
                print::line(format_args!("{subject} begins anew"));
                Ok(())
            }
        }
    }
}

fn put(
    operator: &Operator,
    name: &QuotaName,
    limits: Limits,
    is_there: bool,
) -> Result<(), Failure> {
    let book = operator.book()?;
    let current = book.current()?;
    let (kind, text) = ("quota", name.to_string());
    let spec = match (current.quota(name), is_there) {
        (Some(spec), true) => limits.over(spec),
        (None, false) => limits.over(&QuotaSpec::new(name.clone())),
        (Some(_), false) => return Err(Failure::Exists { kind, name: text }),
        (None, true) => return Err(Failure::NotFound { kind, name: text }),
    };
    book.commit(&current, vec![Change::PutQuota(spec)])?;
    let done = if is_there { "changed" } else { "added" };
    print::line(format_args!("quota {name} {done}"));
    Ok(())
}

fn list(operator: &Operator) -> Result<(), Failure> {
    let quotas = operator.current()?.quotas;
    if operator.output == Output::Json {
        print::json(&quotas);
        return Ok(());
    }
    let mut table = Table::new(["quota", "one call", "talk time", "failed calls"]);
    for quota in &quotas {
        let within = |limit: String, window: u32| format!("{limit} in {}", seconds(window));
        let or_none = |limit: u32, said: String| {
            if limit == 0 {
                "unlimited".to_owned()
            } else {
                said
            }
        };
        table.row([
            quota.name.to_string(),
            or_none(quota.call_seconds, seconds(quota.call_seconds)),
            or_none(
                quota.total_seconds,
                within(seconds(quota.total_seconds), quota.total_window_seconds),
            ),
            or_none(
                quota.fail_calls,
                within(quota.fail_calls.to_string(), quota.fail_window_seconds),
            ),
        ]);
    }
    table.print(
        operator.output,
        "no quotas: nothing is limited; make one with `strowger quota add NAME`",
    );
    Ok(())
}

fn show(operator: &Operator, subject: Option<&Subject>) -> Result<(), Failure> {
    let mut reports: Vec<QuotaView> = operator.list("/quotas")?;
    if let Some(subject) = subject.map(ToString::to_string) {
        reports.retain(|report| report.subject == subject);
        if reports.is_empty() {
            return Err(Failure::NotFound {
                kind: "quota of",
                name: subject,
            });
        }
    }
    if operator.output == Output::Json {
        print::json(&reports);
        return Ok(());
    }
    let mut table = Table::new(["whose", "quota", "talked", "until", "failed", "until"]);
    for report in &reports {
        let talked = Duration::from_secs(report.talked_ms / 1000);
        let talked = humantime::format_duration(talked).to_string();
        table.row([
            report.subject.clone(),
            report.quota.clone(),
            of(talked, report.talk_limit_ms, |ms| {
                humantime::format_duration(Duration::from_millis(ms)).to_string()
            }),
            at(report.talk_until),
            of(
                report.failed.to_string(),
                u64::from(report.fail_limit),
                |limit| limit.to_string(),
            ),
            at(report.fail_until),
        ]);
    }
    table.print(operator.output, "nobody has a quota");
    Ok(())
}

/// So much of what is allowed.
fn of(used: String, limit: u64, said: impl Fn(u64) -> String) -> String {
    if limit == 0 {
        "-".to_owned()
    } else {
        format!("{used} of {}", said(limit))
    }
}

/// A time in milliseconds since 1970.
fn at(ms: Option<u64>) -> String {
    let time = ms.map(|ms| UNIX_EPOCH + Duration::from_secs(ms / 1000));
    time.map_or_else(
        || "-".to_owned(),
        |time| humantime::format_rfc3339_seconds(time).to_string(),
    )
}

fn seconds(seconds: u32) -> String {
    humantime::format_duration(Duration::from_secs(u64::from(seconds))).to_string()
}
