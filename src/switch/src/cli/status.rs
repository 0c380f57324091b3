//! `strowger status` and `strowger calls`: what the switch that runs is doing.

use std::io::IsTerminal;
use std::thread;
use std::time::{Duration, UNIX_EPOCH};

use clap::{Args, Subcommand};
use model::CallId;
use serde_json::Value;

use super::{Operator, unix};
use crate::admin::STORES_NOTHING;
use crate::alerts::AlertView;
use crate::api::{
    CallView, Dialling, Load, Page, QualityView, Status, StoreState, WantedDial, WantedHold,
    WantedKeys, WantedTransfer,
};
use crate::failure::Failure;
use crate::print::{self, Output, Table};

/// How many calls are asked for at once.
const AT_ONCE: usize = 1000;

/// What takes the cursor to the upper left corner and clears the terminal (ECMA-48, CUP and ED).
const CLEAR: &str = "\x1b[H\x1b[2J";

#[derive(Debug, Args)]
pub(super) struct Watched {
    /// Again and again, every so many seconds, until Ctrl-C or until the switch is gone
    #[arg(
        long,
        value_name = "SECONDS",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "2",
        value_parser = clap::value_parser!(u64).range(1..=3600)
    )]
    watch: Option<u64>,
}

impl Watched {
    pub(super) fn run(self, operator: &Operator) -> Result<(), Failure> {
        let Some(seconds) = self.watch else {
            return status(operator);
        };
        let clears = operator.output == Output::Table && std::io::stdout().is_terminal();
        loop {
            if clears {
                print::raw(CLEAR);
            }
            status(operator)?;
            if operator.output == Output::Table && !clears {
                print::line("");
            }
            if !print::is_read() {
                return Ok(());
            }
            thread::sleep(Duration::from_secs(seconds));
        }
    }
}

/// Prints one screen about the switch.
fn status(operator: &Operator) -> Result<(), Failure> {
    if operator.output == Output::Json {
        print::json(&operator.get::<Value>("/status")?);
        return Ok(());
    }
    let status: Status = operator.get("/status")?;
    let uptime = humantime::format_duration(Duration::from_secs(status.uptime_s));
    let line = |what: &str, value: &str| print::line(format_args!("{what:<12}{value}"));
    line(
        "strowger",
        &format!("{}, {}, up {uptime}", status.version, status.node),
    );
    line("ready", if status.ready { "yes" } else { "no" });
    for missing in &status.missing {
        line("", missing);
    }
    for alert in &status.alerts {
        line("alert", &said(alert));
    }
    line("calls", &status.calls.to_string());
    line("load", &load(&status.load));
    line("generation", &status.generation.to_string());
    line("store", &store(&status.store));
    for role in &status.roles {
        let off = if role.enabled { "" } else { ", switched off" };
        line(&role.role, &format!("{}{off}", role.state));
    }
    print::line("");
    let mut table = Table::new(["trunk", "state", "lines in use", "at"]);
    for trunk in status.trunks {
        let state = match (trunk.enabled, trunk.up) {
            (false, _) => "off",
            (true, false) => "down",
            (true, true) => "up",
        };
        table.row([
            trunk.name,
            state.to_owned(),
            trunk.lines_in_use.to_string(),
            or_dash(trunk.contacts.join(",")),
        ]);
    }
    table.print(
        operator.output,
        "no trunks yet: make one with `strowger trunk add NAME`",
    );
    print::line("");
    let mut table = Table::new(["session", "state", "trunks"]);
    for session in status.sessions {
        let state = match (session.enabled, session.until) {
            (false, _) => "off".to_owned(),
            (true, None) => session.state,
            (true, Some(until)) => {
                let left = Duration::from_secs(until.saturating_sub(unix()));
                format!("{} for {}", session.state, humantime::format_duration(left))
            }
        };
        table.row([session.name, state, or_dash(session.trunks.join(","))]);
    }
    table.print(
        operator.output,
        "no sessions yet: make one with `strowger session login NAME --phone N`",
    );
    Ok(())
}

/// What is amiss, where, and since when.
fn said(alert: &AlertView) -> String {
    let AlertView {
        name,
        trunk,
        session,
        since,
        detail,
    } = alert;
    let at = format!("{trunk}{session}");
    let at = if at.is_empty() { at } else { format!(" {at}") };
    let since = humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(*since));
    format!("{name}{at} since {since}: {detail}")
}

/// Whether the store works, and where it comes from.
fn store(store: &StoreState) -> String {
    let works = if store.works {
        String::new()
    } else {
        format!("; {STORES_NOTHING}")
    };
    let came = store.migration.as_ref().map(|migration| {
        let at = UNIX_EPOCH + Duration::from_secs(migration.at);
        let at = humantime::format_rfc3339_seconds(at);
        format!(", from {} on {at}", migration.from)
    });
    format!("schema {}{}{works}", store.schema, came.unwrap_or_default())
}

/// Whether calls are refused for overload, and how many were.
fn load(load: &Load) -> String {
    let shed = match load.shed {
        0 => String::new(),
        count => format!("; {count} calls refused since the start"),
    };
    match &load.overloaded {
        None => format!("normal{shed}"),
        Some(reason) => {
            let admitted = load.admitted * 100.0;
            format!("overloaded ({reason}): {admitted:.0} % of new calls are let in{shed}")
        }
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum Calls {
    /// List the calls that go on, oldest first
    List,
    /// Print what happens in calls, as it happens
    Watch,
    /// Show one of them
    Show {
        /// Its id, as the list shows it
        id: CallId,
    },
    /// Call a Telegram user, then a number, and join the two
    #[command(
        after_help = "Example: strowger calls dial --session gateway --to @alice --trunk office --number 601"
    )]
    Dial {
        /// The session that calls the Telegram user
        #[arg(long)]
        session: String,
        /// The Telegram user: @username, +phone or a user id
        #[arg(long)]
        to: String,
        /// The trunk by which the number is called when he has answered
        #[arg(long)]
        trunk: String,
        /// The number
        #[arg(long)]
        number: String,
    },
    /// Press keys in the PBX of one of them
    #[command(after_help = "A comma waits a second. Example: strowger calls dtmf ID 1,42#")]
    Dtmf {
        /// Its id, as the list shows it
        id: CallId,
        /// 0-9, *, #, A-D and the comma, up to 32
        digits: String,
        /// Which leg, counted from 0; unless given that of the PBX, of two the one that was called
        #[arg(long)]
        leg: Option<u16>,
    },
    /// Hold the PBX of one of them, so that nobody hears anybody
    Hold {
        /// Its id, as the list shows it
        id: CallId,
        /// Let it go on
        #[arg(long)]
        off: bool,
    },
    /// Let another number of the same trunk take the place of the PBX's leg
    #[command(after_help = "Example: strowger calls transfer ID 602")]
    Transfer {
        /// Its id, as the list shows it
        id: CallId,
        /// The number
        to: String,
    },
    /// End one of them
    Hangup {
        /// Its id, as the list shows it
        id: CallId,
    },
}

impl Calls {
    pub(super) fn run(self, operator: &Operator) -> Result<(), Failure> {
        match self {
            Calls::List => list(operator),
            Calls::Watch => super::watch::calls(operator),
            Calls::Show { id } => {
                let call: CallView = operator.get(&format!("/calls/{id}"))?;
                // It may have ended meanwhile.
                let quality: Option<QualityView> =
                    operator.get(&format!("/calls/{id}/quality")).ok();
                if operator.output == Output::Json {
                    print::json(&Shown { call, quality });
                } else {
                    show(&call);
                    quality.iter().for_each(show_quality);
                }
                Ok(())
            }
            Calls::Dial {
                session,
                to,
                trunk,
                number,
            } => {
                let wanted = WantedDial {
                    session,
                    to,
                    trunk,
                    number,
                };
                let under_way: Dialling = operator.api("POST", "/calls", Some(&wanted))?;
                if operator.output == Output::Json {
                    print::json(&under_way);
                } else {
                    let WantedDial { to, number, .. } = &wanted;
                    print::line(format_args!(
                        "{}: {to} is called, then {number}",
                        under_way.id
                    ));
                }
                Ok(())
            }
            Calls::Dtmf { id, digits, leg } => {
                let wanted = WantedKeys { digits, leg };
                operator.api::<()>("POST", &format!("/calls/{id}/dtmf"), Some(&wanted))?;
                print::line(format_args!("{id}: the keys are pressed"));
                Ok(())
            }
            Calls::Hold { id, off } => {
                let wanted = WantedHold { on: !off };
                operator.api::<()>("POST", &format!("/calls/{id}/hold"), Some(&wanted))?;
                let what = if off { "let go on" } else { "asked to hold" };
                print::line(format_args!("{id}: the PBX is {what}"));
                Ok(())
            }
            Calls::Transfer { id, to } => {
                let wanted = WantedTransfer { to };
                operator.api::<()>("POST", &format!("/calls/{id}/transfer"), Some(&wanted))?;
                print::line(format_args!("{id}: {} is called", wanted.to));
                Ok(())
            }
            Calls::Hangup { id } => {
                operator.api::<()>("DELETE", &format!("/calls/{id}"), None::<&()>)?;
                print::line(format_args!("{id} is ended"));
                Ok(())
            }
        }
    }
}

fn list(operator: &Operator) -> Result<(), Failure> {
    let mut calls: Vec<CallView> = Vec::new();
    let mut cursor = String::new();
    loop {
        let page: Page<CallView> = operator.get(&format!("/calls?limit={AT_ONCE}{cursor}"))?;
        calls.extend(page.items);
        match page.next {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    if operator.output == Output::Json {
        print::json(&calls);
        return Ok(());
    }
    let mut table = Table::new([
        "call",
        "since",
        "state",
        "direction",
        "from",
        "to",
        "trunk",
        "session or trunk",
    ]);
    for call in calls {
        table.row([
            call.id,
            call.started_at,
            call.state,
            call.direction,
            call.from,
            call.to,
            call.trunk,
            format!("{}{}", call.session, call.to_trunk),
        ]);
    }
    table.print(operator.output, "no call goes on");
    Ok(())
}

fn show(call: &CallView) {
    let line = |what: &str, value: &str| print::line(format_args!("{what:<12}{value}"));
    let after = |what: &str, millis: Option<u64>| {
        if let Some(millis) = millis {
            let after = humantime::format_duration(Duration::from_millis(millis));
            line(what, &format!("after {after}"));
        }
    };
    line("call", &call.id);
    line("state", &call.state);
    line("direction", &call.direction);
    line("from", &call.from);
    line("to", &call.to);
    line("trunk", &call.trunk);
    if !call.session.is_empty() {
        line("session", &call.session);
    }
    if !call.to_trunk.is_empty() {
        line("leaves by", &call.to_trunk);
    }
    line("began", &call.started_at);
    after("rang", call.ringing_after_ms);
    after("answered", call.answered_after_ms);
    for leg in &call.legs {
        line(
            "leg ended",
            &format!("{}: {} {}", leg.via, leg.code, leg.phrase),
        );
    }
}

/// A call, and how it sounds.
#[derive(serde::Serialize)]
struct Shown {
    #[serde(flatten)]
    call: CallView,
    quality: Option<QualityView>,
}

/// How a call sounded in the last 10 s; nothing before the first of them.
fn show_quality(quality: &QualityView) {
    if let Some(missing) = &quality.one_way {
        print::line(format_args!("{:<12}{missing}", "not heard"));
    }
    for leg in &quality.legs {
        let number = |value: Option<f64>, unit: &str| {
            value.map_or_else(|| "-".to_owned(), |value| format!("{value:.1}{unit}"))
        };
        let path = leg.path.as_ref().map(|path| format!(" {path}"));
        print::line(format_args!(
            "{:<12}{} {}{}: loss {}, jitter {}, round trip {}, MOS about {}",
            "sounds",
            leg.via,
            leg.codec,
            path.unwrap_or_default(),
            number(leg.loss.map(|loss| loss * 100.0), " %"),
            number(leg.jitter_ms, " ms"),
            number(leg.rtt_ms, " ms"),
            number(leg.mos, ""),
        ));
    }
}

fn or_dash(text: String) -> String {
    if text.is_empty() {
        "-".to_owned()
    } else {
        text
    }
}
