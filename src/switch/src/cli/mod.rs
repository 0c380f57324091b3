//! The command line: one file for each group of commands.
//!
//! Whatever reads or changes records, or logs accounts in and out, asks the switch that runs (`reach`), or opens the store itself where
//! none runs (`book`, `login_live`). With `--api` it asks a switch anywhere, and what is not for that says so (`afar`). What restores a backup needs a
//! store that no switch has open, and says so. `docs/cli.md` describes every command and exit code.

mod afar;
mod backup;
mod ban;
mod book;
mod cdr;
mod check_config;
mod conversation;
mod doctor;
mod generated;
mod harden;
#[cfg(test)]
mod hints;
mod init;
mod key;
mod log;
mod login;
mod login_live;
mod logout;
mod qr;
mod quota;
mod records;
mod roles;
mod route;
mod session;
mod session_view;
mod snippet;
mod status;
mod survey;
#[cfg(test)]
mod tests;
mod token;
mod trunk;
mod trunk_test;
mod user;
mod watch;
mod webhook;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

pub(crate) use conversation::LoginFailure;
pub(crate) use snippet::{Pbx, snippet};
pub(crate) use trunk_test::test_trunk;

use clap::{ColorChoice, CommandFactory, FromArgMatches, Parser, Subcommand};
use store::SledStore;

use crate::boot;
use crate::demo;
use crate::failure::Failure;
use crate::print::{self, Output};
use crate::reach::{Answer, Api, Reach};
use crate::settings::{self, Loaded, Settings, Sources};

/// A self-hosted telephony switch between Telegram and SIP.
#[derive(Debug, Parser)]
#[command(name = "strowger", version, disable_help_subcommand = true)]
struct Cli {
    /// The settings; without, ./strowger.toml, then /etc/strowger/strowger.toml, then the defaults
    #[arg(long, global = true, value_name = "FILE", env = "STROWGER_CONFIG")]
    config: Option<PathBuf>,
    /// The folder of the store, over the one in the settings
    #[arg(long, global = true, value_name = "DIR")]
    data: Option<PathBuf>,
    /// How results are printed; csv where there is a table
    #[arg(long, global = true, value_enum, default_value = "table")]
    output: Output,
    /// The control socket of the switch that runs, if it is not the one in the folder of the data
    #[arg(long, global = true, value_name = "PATH", conflicts_with = "api")]
    socket: Option<PathBuf>,
    /// A switch that runs elsewhere, such as https://switch.example.org, or http on a loopback address
    #[arg(long, global = true, value_name = "URL")]
    api: Option<String>,
    /// A file with the token that it is asked with
    #[arg(long, global = true, value_name = "FILE", requires = "api")]
    token_file: Option<PathBuf>,
    /// Print results and failures alone, no hints
    #[arg(short, long, global = true)]
    quiet: bool,
    /// Say what the switch was asked, and how long it took
    #[arg(short, long, global = true, conflicts_with = "quiet")]
    verbose: bool,
    /// No colours in help and in what is said of wrong usage
    #[arg(long, global = true)]
    no_color: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the switch in the foreground
    #[command(after_help = "Example: strowger --config /etc/strowger/strowger.toml run")]
    Run {
        /// Only check the settings and that the store opens
        #[arg(long)]
        check: bool,
    },
    /// Let a phone and simulated Telegram users call each other on loopback, and measure it
    #[command(after_help = "Needs no settings, no account and no network. Example: strowger demo")]
    Demo,
    /// Check the settings, and print every fault with its line
    #[command(after_help = "Example: strowger check-config strowger.toml --effective")]
    CheckConfig(check_config::CheckConfig),
    /// Write a commented strowger.toml
    #[command(after_help = "Example: strowger init /etc/strowger")]
    Init(init::Init),
    /// Say how the switch that runs is: trunks, sessions, calls
    #[command(
        after_help = "Example: strowger status --watch; strowger status --output json, with --watch one line each time"
    )]
    Status(status::Watched),
    /// Look for what would keep this switch from carrying calls, and say what to do about it
    #[command(after_help = "Example: strowger doctor --output json")]
    Doctor,
    /// Calls that go on
    #[command(subcommand, after_help = "Example: strowger calls list")]
    Calls(status::Calls),
    /// Print what happens in the switch, as it happens
    #[command(after_help = "Example: strowger events --types call.ended,session.changed")]
    Events(watch::Events),
    /// What the switch that runs logs
    #[command(subcommand, after_help = "Example: strowger log level sip=debug")]
    Log(log::Log),
    /// Trunks: the relations with PBXs
    #[command(
        subcommand,
        after_help = "Example: strowger trunk add office --number 600"
    )]
    Trunk(trunk::Trunk),
    /// Sessions: the Telegram accounts that are logged in here
    #[command(
        subcommand,
        after_help = "Example: strowger session login gateway --phone +15550001"
    )]
    Session(session::Session),
    /// Routes: which trunk and which session belong together
    #[command(subcommand, after_help = "Example: strowger route add office gateway")]
    Route(route::Route),
    /// Quotas: how long and how often trunks and sessions may call
    #[command(
        subcommand,
        after_help = "Example: strowger quota add small --call-seconds 120"
    )]
    Quota(quota::Quota),
    /// Users: Telegram users known by name, and what they may use
    #[command(
        subcommand,
        after_help = "Example: strowger user add ann --telegram-id 4242 --lines 1"
    )]
    User(user::User),
    /// Webhooks: who is told over HTTP of what happens
    #[command(
        subcommand,
        after_help = "Example: strowger webhook add crm https://crm.example.com/strowger"
    )]
    Webhook(webhook::Webhook),
    /// Workers: what carries SIP and audio
    #[command(subcommand, after_help = "Example: strowger worker disable local")]
    Worker(roles::Worker),
    /// Storage: Telegram's keys, and all that is done with them
    #[command(subcommand, after_help = "Example: strowger storage show")]
    Storage(roles::Storage),
    /// Bring trunks, sessions, routes and quotas to what a file says
    #[command(after_help = "Example: strowger apply records.toml --dry-run")]
    Apply(records::Apply),
    /// Write all trunks, sessions, routes and quotas as one file
    #[command(after_help = "Example: strowger export records.toml")]
    Export(records::Export),
    /// Tokens of the HTTP interface
    #[command(
        subcommand,
        after_help = "Example: strowger token create dashboard --scope read"
    )]
    Token(token::Token),
    /// Bans: who is not listened to
    #[command(
        subcommand,
        after_help = "Example: strowger ban add 192.0.2.7 --for 12h"
    )]
    Ban(ban::Ban),
    /// The key of the secrets in the store
    #[command(subcommand, after_help = "Example: strowger key show")]
    Key(key::Key),
    /// Backups of the store
    #[command(
        subcommand,
        after_help = "Example: strowger backup create /mnt/safe/strowger.backup"
    )]
    Backup(backup::Backup),
    /// The store: its size, whether it can be read, and made small again
    #[command(subcommand, after_help = "Example: strowger store check")]
    Store(survey::Store),
    /// Call records
    #[command(subcommand, after_help = "Example: strowger cdr list --count 20")]
    Cdr(cdr::Cdr),
    /// What `/metrics` says
    #[command(subcommand, after_help = "Example: strowger metrics list --markdown")]
    Metrics(generated::Metrics),
    /// Print the description of the HTTP interface, OpenAPI 3.1
    #[command(after_help = "Example: strowger openapi")]
    Openapi,
    /// Print a unit for systemd, as these settings need it
    #[command(after_help = "Example: strowger unit --program /usr/local/bin/strowger")]
    Unit(generated::Unit),
    /// Print what lets a shell complete commands
    #[command(after_help = "Example: strowger completions bash")]
    Completions(generated::Completions),
    /// Write a man page for each command
    #[command(after_help = "Example: strowger man target/man")]
    Man(generated::Man),
}

/// What every command is given.
struct Operator {
    sources: Sources,
    output: Output,
    /// Where the switch is, if somebody has said it.
    reach: Option<Reach>,
}

impl Operator {
    fn loaded(&self) -> Result<Loaded, Failure> {
        settings::load(&self.sources).map_err(Failure::Faults)
    }

    fn settings(&self) -> Result<Settings, Failure> {
        Ok(self.loaded()?.settings)
    }

    fn store(&self) -> Result<SledStore, Failure> {
        if let Some(reach) = &self.reach {
            return Err(reach.nobody());
        }
        Ok(self.loaded()?.open_store(|what| print::note(what))?)
    }

    /// Where the switch is that this is about.
    fn reach(&self) -> Result<Reach, Failure> {
        match &self.reach {
            Some(reach) => Ok(reach.clone()),
            None => Ok(Reach::of_data(&self.settings()?.data.dir)),
        }
    }

    /// Whether it is asked by HTTP, so that nothing of this host is its own.
    fn is_afar(&self) -> bool {
        matches!(self.reach, Some(Reach::Api(_)))
    }

    /// Asks the switch that runs; none when there is none.
    fn ask(&self, method: &str, target: &str) -> Result<Option<Answer>, Failure> {
        self.tell(method, target, "")
    }

    /// The same with a body.
    fn tell(&self, method: &str, target: &str, body: &str) -> Result<Option<Answer>, Failure> {
        self.reach()?.ask(method, target, body)
    }
}

/// Seconds since 1970.
fn unix() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default().as_secs()
}

/// Reads the command line, does what it says, and returns the exit code.
pub(crate) fn run() -> ExitCode {
    let mut command = Cli::command();
    // It must be known before anything is said.
    if std::env::args_os().any(|word| word == "--no-color") {
        command = command.color(ColorChoice::Never);
    }
    let read = command.try_get_matches();
    match read.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => execute(cli),
        Err(error) => {
            // Help and version are results, everything else is wrong usage.
            let code = if error.use_stderr() { 2 } else { 0 };
            let _ = error.print();
            ExitCode::from(code)
        }
    }
}

fn execute(cli: Cli) -> ExitCode {
    print::set_volume(cli.quiet, cli.verbose);
    let Some(command) = cli.command else {
        print::raw(&welcome());
        return ExitCode::SUCCESS;
    };
    let reach = reach(cli.socket, cli.api.as_deref(), cli.token_file.as_deref());
    let done = reach.and_then(|reach| {
        let operator = Operator {
            sources: Sources::of_process(cli.config, cli.data),
            output: cli.output,
            reach,
        };
        perform(operator, command)
    });
    done.unwrap_or_else(|failure| {
        print::failure(&failure);
        ExitCode::from(failure.code())
    })
}

/// Where the switch is, if that was said.
fn reach(
    socket: Option<PathBuf>,
    api: Option<&str>,
    token_file: Option<&Path>,
) -> Result<Option<Reach>, Failure> {
    Ok(match (socket, api) {
        (Some(path), _) => Some(Reach::Socket {
            path,
            is_named: true,
        }),
        (None, Some(url)) => Some(Reach::Api(Api::new(url, token_file)?)),
        (None, None) => None,
    })
}

fn perform(operator: Operator, command: Command) -> Result<ExitCode, Failure> {
    afar::check(&operator, &command)?;
    match command {
        Command::Run { check: true } => operator
            .store()
            .map(|_| print::line("settings and store are good")),
        Command::Run { check: false } => {
            return boot::run(&operator.loaded()?, operator.sources).map(ExitCode::from);
        }
        Command::Demo => return Ok(demo::run()),
        Command::CheckConfig(command) => command.run(operator),
        Command::Init(command) => command.run(),
        Command::Status(command) => command.run(&operator),
        Command::Doctor => doctor::run(&operator),
        Command::Calls(command) => command.run(&operator),
        Command::Events(command) => command.run(&operator),
        Command::Log(command) => command.run(&operator),
        Command::Token(command) => command.run(&operator),
        Command::Trunk(command) => command.run(&operator),
        Command::Session(command) => command.run(&operator),
        Command::Route(command) => command.run(&operator),
        Command::Apply(command) => command.run(&operator),
        Command::Export(command) => command.run(&operator),
        Command::Quota(command) => command.run(&operator),
        Command::User(command) => command.run(&operator),
        Command::Webhook(command) => command.run(&operator),
        Command::Worker(command) => command.run(&operator),
        Command::Storage(command) => command.run(&operator),
        Command::Ban(command) => command.run(&operator),
        Command::Key(command) => command.run(&operator),
        Command::Backup(command) => command.run(&operator),
        Command::Cdr(command) => command.run(&operator),
        Command::Store(command) => command.run(&operator),
        Command::Unit(command) => command.run(&operator),
        Command::Man(command) => command.run(),
        Command::Metrics(command) => {
            command.run(&operator);
            Ok(())
        }
        Command::Completions(command) => {
            command.run();
            Ok(())
        }
        Command::Openapi => {
            generated::openapi();
            Ok(())
        }
    }
    .map(|()| ExitCode::SUCCESS)
}

/// What a newcomer sees.
fn welcome() -> String {
    format!(
        "strowger {}, a telephony switch between Telegram and SIP\n\
         \n\
         strowger demo          see calls between a phone and simulated Telegram users, measured\n\
         strowger init          write a commented strowger.toml, and say what comes next\n\
         strowger session login log a Telegram account in\n\
         strowger run           start the switch\n\
         \n\
         strowger --help lists all commands; docs/cli.md and docs/configuration.md describe them\n",
        env!("CARGO_PKG_VERSION")
    )
}
