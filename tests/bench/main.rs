//! What a call costs: `make bench`.
//!
//! Holds calls between a PBX and Telegram through the real binary and reads what the kernel says about its process. The PBX
//! (`pbx`) is a thread of this program, the Telegram users (`peer`) are this program in a process of its own, Telegram's
//! servers are `tests/peers/telegram_sim`. Beside it stands the floor of the same machine: libopus alone (`floor`).
//!
//! Telegram has one beside that, too: the key agreement alone (`agreement`), how fast a call is set up (`dialling`), and what
//! accounts cost that do nothing (`accounts`).
//!
//! SIP has workloads of its own: reading an INVITE (`parsing`), decisions and records (`records`), a change of
//! records until calls are decided by it (`commit`), calls a second between two trunks and registrations a second
//! (`switchboard`), both made by `load` in a process of its own.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    reason = "a measurement ends at the first thing that is wrong, and says so"
)]

#[path = "../e2e/deadline.rs"]
#[allow(dead_code, reason = "shared with the end-to-end tests")]
mod deadline;
#[path = "../e2e/http.rs"]
#[allow(
    dead_code,
    clippy::incompatible_msrv,
    reason = "shared with the end-to-end tests"
)]
mod http;
#[path = "../e2e/metrics.rs"]
#[allow(dead_code, reason = "shared with the end-to-end tests")]
mod metrics;
#[path = "../e2e/ports.rs"]
#[allow(dead_code, reason = "shared with the end-to-end tests")]
mod ports;
#[path = "../e2e/process.rs"]
#[allow(dead_code, reason = "shared with the end-to-end tests")]
mod process;
#[path = "../e2e/telegram/server.rs"]
#[allow(dead_code, reason = "shared with the end-to-end tests")]
mod telegram_server;

mod accounts;
mod agreement;
mod awake;
mod beat;
mod commit;
mod crossing;
mod dialling;
mod dialog;
mod floor;
mod house;
mod load;
mod nap;
mod options;
mod overload;
mod parsing;
mod pbx;
mod peer;
mod proc;
mod records;
mod report;
mod run;
mod signal;
mod signalling;
mod storm;
mod switchboard;
mod track;

use std::path::Path;
use std::process::ExitCode;

use options::{Options, Workload};

/// Calls at once in a sweep.
const SWEEP: [usize; 4] = [5, 20, 60, 120];

fn main() -> ExitCode {
    let words = std::env::args().skip(1);
    if words.len() > 0 && std::env::args().nth(1).as_deref() == Some(peer::WORD) {
        peer::play();
        return ExitCode::SUCCESS;
    }
    if std::env::args().nth(1).as_deref() == Some(awake::WORD) {
        awake::turn();
        return ExitCode::SUCCESS;
    }
    if std::env::args().nth(1).as_deref() == Some(load::WORD) {
        load::play();
        return ExitCode::SUCCESS;
    }
    if std::env::args().nth(1).as_deref() == Some(storm::WORD) {
        overload::play();
        return ExitCode::SUCCESS;
    }
    let Some(options) = Options::read(words) else {
        return ExitCode::SUCCESS;
    };
    if options.floor {
        floor::show(options.tg_frame);
        return ExitCode::SUCCESS;
    }
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
    let base = target.join("bench");
    std::fs::create_dir_all(&base).unwrap();
    let mut figures = report::Figures::read(&target.join("bench.json"));
    let folder = |name: &str| {
        let made = tempfile::Builder::new().prefix(name).tempdir_in(&base);
        made.unwrap().keep()
    };
    let swept = |dir: &Path| {
        if options.keep {
            println!("  logs in {}", dir.display());
        } else {
            std::fs::remove_dir_all(dir).ok();
        }
    };
    let mut is_good = true;
    if options.does(Workload::Parse) {
        let parsing = parsing::measure();
        parsing.print();
        figures.add(|all| parsing.figures(all));
    }
    if options.does(Workload::Records) {
        let dir = folder("records-");
        let found = records::measure(&dir);
        found.print();
        figures.add(|all| found.figures(all));
        is_good &= found.is_good();
        swept(&dir);
    }
    if options.does(Workload::Commit) {
        let dir = folder("commit-");
        let found = commit::measure(&dir);
        found.print();
        figures.add(|all| found.figures(all));
        is_good &= found.is_good();
        swept(&dir);
    }
    if options.does(Workload::Signalling) {
        let dir = folder("signalling-");
        let found = switchboard::calls(&options, &dir);
        found.print();
        figures.add(|all| found.figures(all));
        is_good &= found.is_good();
        swept(&dir);
    }
    if options.does(Workload::Registration) {
        let dir = folder("registration-");
        let found = switchboard::registrations(&options, &dir);
        found.print();
        figures.add(|all| found.figures(all));
        is_good &= found.is_good();
        swept(&dir);
    }
    if options.does(Workload::Overload) {
        let dir = folder("overload-");
        let found = overload::measure(&dir);
        found.print();
        figures.add(|all| found.figures(all));
        is_good &= found.is_good();
        swept(&dir);
    }
    if options.does(Workload::Transcode) {
        let mut outcomes = Vec::new();
        let one = [options.calls];
        // First as the machine is: most of the time it sleeps.
        for sleeps in [true, false] {
            let before = outcomes.len();
            for calls in if options.sweep { &SWEEP[..] } else { &one } {
                let dir = folder("calls-");
                let outcome = run::hold(&options, *calls, sleeps, &dir);
                outcome.print(&options);
                outcomes.push(outcome);
                swept(&dir);
            }
            if options.sweep {
                report::compare(&outcomes[before..]);
            }
        }
        report::explain();
        figures.add(|all| report::outcomes(all, &outcomes, options.sweep));
        is_good &= outcomes.iter().all(run::Outcome::is_good);
    }
    if options.does(Workload::Telegram) {
        let agreed = agreement::measure();
        agreed.print();
        figures.add(|all| agreed.figures(all));
        is_good &= agreed.is_good();
        let dir = folder("dialling-");
        let found = dialling::measure(&options, &dir);
        found.print();
        figures.add(|all| found.figures(all));
        is_good &= found.is_good();
        swept(&dir);
        let dir = folder("accounts-");
        let found = accounts::measure(&options, &dir);
        found.print();
        figures.add(|all| found.figures(all));
        is_good &= found.is_good();
        swept(&dir);
    }
    if options.strict && !is_good {
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
