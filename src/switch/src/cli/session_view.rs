//! What `strowger session list` and `show` say: of the switch that runs, else of its store.

use std::sync::Arc;
use std::time::Duration;

use actors::{SessionReport, SessionState, Waits};
use model::SessionName;
use net::telegram::Storage;
use store::{Space, Store};

use super::book::Book;
use super::session::has_keys;
use super::trunk::lines;
use super::{Operator, unix};
use crate::api::SessionView;
use crate::failure::Failure;
use crate::hardening::{moment, pending_in_words};
use crate::keys::Keys;
use crate::print::{self, Output, Table};
use crate::records::Current;

/// All sessions, by name.
fn reports(operator: &Operator) -> Result<Vec<SessionReport>, Failure> {
    match operator.book()? {
        Book::Switch(operator) => {
            let views: Vec<SessionView> = operator.list("/sessions")?;
            Ok(views.into_iter().filter_map(report).collect())
        }
        Book::Store(store) => from_store(&*store),
    }
}

/// What the switch says of a session; nothing of one without a name, which it has none of.
fn report(view: SessionView) -> Option<SessionReport> {
    let SessionView { record, state } = view;
    let spec = record.spec(record.name.clone()?);
    let offline = || {
        SessionReport::new(
            spec.clone(),
            Vec::new(),
            SessionState::Offline,
            Waits::default(),
        )
    };
    // One that was made just now.
    let Some(state) = state else {
        return Some(offline());
    };
    let trunks = state.trunks.iter().filter_map(|trunk| trunk.parse().ok());
    Some(SessionReport {
        trunks: trunks.collect(),
        state: state.state,
        until: state.until,
        waits: Waits {
            calls_until: state.calls_until,
            look_ups_until: state.look_ups_until,
            restricted_until: state.restricted_until,
        },
        spec,
    })
}

/// No switch runs, so that no session is connected; whether Telegram still accepts its keys, only a connection tells.
fn from_store(store: &dyn Store) -> Result<Vec<SessionReport>, Failure> {
    let current = Current::read(store)?;
    let mut reports = Vec::new();
    for spec in current.sessions {
        let space = || Space::Telegram(&spec.name);
        let limits = store.get(space(), actors::LIMITS)?;
        let limits = limits.as_deref().map(actors::kept_limits);
        let state = if has_keys(store, &spec.name)? {
            SessionState::Offline
        } else {
            SessionState::Unauthorized
        };
        let routes = current.routes.iter();
        let trunks = routes.filter(|route| route.session == spec.name);
        let trunks = trunks.map(|route| route.trunk.clone()).collect();
        let waits = limits.unwrap_or_default().waits(unix() * 1000);
        reports.push(SessionReport::new(spec, trunks, state, waits));
    }
    Ok(reports)
}

/// Prints all sessions.
pub(super) fn list(operator: &Operator) -> Result<(), Failure> {
    let reports = reports(operator)?;
    if operator.output == Output::Json {
        print::json(&reports);
        return Ok(());
    }
    let mut table = Table::new(["name", "phone", "lines", "trunks", "state", "on"]);
    for report in &reports {
        let spec = &report.spec;
        table.row([
            spec.name.to_string(),
            or_dash(&spec.phone),
            lines(spec.lines),
            trunks(report),
            state(report),
            if spec.enabled { "yes" } else { "no" }.to_owned(),
        ]);
    }
    table.print(
        operator.output,
        "no sessions yet: make one with `strowger session login NAME --phone N`",
    );
    Ok(())
}

/// Prints one session.
pub(super) fn show(operator: &Operator, name: &SessionName) -> Result<(), Failure> {
    let mut reports = reports(operator)?.into_iter();
    let report = reports.find(|report| report.spec.name == *name);
    let report = report.ok_or_else(|| Failure::NotFound {
        kind: "session",
        name: name.to_string(),
    })?;
    if operator.output == Output::Json {
        print::json(&report);
        return Ok(());
    }
    let line = |what: &str, value: &str| print::line(format_args!("{what:<12}{value}"));
    let spec = &report.spec;
    line("session", spec.name.as_str());
    line("phone", &or_dash(&spec.phone));
    line("lines", &lines(spec.lines));
    line("trunks", &trunks(&report));
    if spec.stop_on_6xx {
        line("hunt", "ends with the first trunk that answers 6xx");
    }
    if !spec.allowed_callers.is_empty() {
        line("callers", &spec.allowed_callers.to_string());
    }
    if spec.messages_processing {
        let what = if spec.callback {
            "numbers that people write are called, and they are called back"
        } else {
            "numbers that people write are dialled when they call"
        };
        line("messages", what);
    }
    if spec.text_bridge {
        line("texts", "pass between Telegram and the PBX");
    }
    if spec.inline_bot.get().is_some() {
        let (bot, query) = (&spec.inline_bot, &spec.inline_query);
        line("bot", &format!("{bot} is asked: {query}"));
    }
    if !spec.autoreply.is_empty() {
        line("autoreply", &spec.autoreply);
    }
    line("switched", if spec.enabled { "on" } else { "off" });
    if report.state == SessionState::Unauthorized.label() {
        line(
            "state",
            "unauthorized: log it in with `strowger session login`",
        );
    } else {
        line("state", &report.state);
    }
    let waits = [
        ("calls", report.waits.calls_until, "Telegram ordered a wait"),
        (
            "look-ups",
            report.waits.look_ups_until,
            "Telegram ordered a wait; people who are known can be called",
        ),
        (
            "restricted",
            report.waits.restricted_until,
            "Telegram limits the account for spam, or has frozen it; it takes calls and places none",
        ),
    ];
    for (what, until, why) in waits {
        if let Some(until) = until {
            let at = std::time::UNIX_EPOCH + Duration::from_secs(until);
            let at = humantime::format_rfc3339_seconds(at);
            line(what, &format!("until {at}, {} more: {why}", left(until)));
        }
    }
    // The store of a switch that runs is its own; `store` says so where one is named.
    if let Ok(store) = operator.store() {
        let storage: Arc<dyn Storage> = Arc::new(Keys::new(Arc::new(store), name.clone()));
        // Keys that cannot be read are told when they are needed.
        let standing = net::telegram::standing(storage).unwrap_or_default();
        if let Some(since) = standing.since {
            line("login", &moment(since));
        }
        if let Some(pending) = standing.pending {
            line("harden", &pending_in_words(&pending));
        }
    }
    Ok(())
}

/// The state in a few words, with the wait that goes on while no switch runs.
fn state(report: &SessionReport) -> String {
    let (state, waits) = (&report.state, &report.waits);
    match (
        report.until,
        waits.restricted_until.max(waits.flood_until()),
    ) {
        (Some(until), _) => format!("{state} for {}", left(until)),
        (None, Some(until)) => format!("{state}, waits for {}", left(until)),
        (None, None) => state.clone(),
    }
}

fn left(until: u64) -> String {
    let left = Duration::from_secs(until.saturating_sub(unix()));
    humantime::format_duration(left).to_string()
}

fn trunks(report: &SessionReport) -> String {
    let names: Vec<&str> = report.trunks.iter().map(model::TrunkName::as_str).collect();
    or_dash(&names.join(","))
}

fn or_dash(text: &str) -> String {
    if text.is_empty() { "-" } else { text }.to_owned()
}
