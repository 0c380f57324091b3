//! Assembles the house and answers the operator.
//!
//! * `cli`: the commands, what they print, their exit codes.
//! * `settings`: what the process needs to know, and what is wrong with it.
//! * `records`: trunks, sessions and routes: as one file, and how they change.
//! * `office`: the records of the switch that runs; `control`: the socket where commands reach it; `reach`: how they do; `problem`: how it refuses.
//! * `api`: the HTTP interface.
//! * `demo`: a house with played far ends.
//! * `reload`: what SIGHUP does. `boot`: the order of starting and stopping; `admin`: probes and metrics; `logging`: the log; `measured`: the store, timed;
//!   `master_key`: what its secrets are sealed with; `keeping`: old call records are removed; `sinks`: new ones are written to files; `veil`: what they do not show; `alerts`:
//!   what is amiss.

mod admin;
mod alerts;
mod api;
mod backups;
mod boot;
mod call_log;
mod cdr;
#[cfg(feature = "chaos")]
mod chaos;
mod cli;
mod control;
mod credentials;
mod demo;
mod failure;
mod fault;
mod hardening;
mod keeping;
mod keys;
mod logging;
mod login_view;
mod logins;
mod master_key;
mod measured;
mod office;
mod print;
mod problem;
mod reach;
mod record_view;
mod records;
mod recovery;
mod reload;
mod scraped;
mod settings;
mod sinks;
mod supervisor;
mod survey;
mod unreadable;
mod veil;
mod webhooks;

/// Runs the command line and returns the exit code of `docs/cli.md`.
pub fn run() -> std::process::ExitCode {
    boot::use_small_pages();
    cli::run()
}
