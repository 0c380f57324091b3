//! What cannot be asked of a switch elsewhere, and what has no table.

use super::{
    Command, Operator, backup, ban, cdr, generated, log, quota, roles, route, session, status,
};
use super::{survey, token, trunk, user, webhook};
use crate::failure::Failure;
use crate::print::Output;

/// Refuses what `--api`, `--socket` or `--output csv` have no meaning for.
pub(super) fn check(operator: &Operator, command: &Command) -> Result<(), Failure> {
    if operator.output == Output::Csv && !has_table(command) {
        return Err(Failure::Usage(
            "--output csv is for lists, and this prints none: leave it out, or say json",
        ));
    }
    match on_its_host(command) {
        Some(what) if operator.is_afar() => Err(Failure::NotFromAfar(what.to_owned())),
        Some(_) | None => Ok(()),
    }
}

/// The command, if it works with files of the host of the switch.
fn on_its_host(command: &Command) -> Option<&'static str> {
    Some(match command {
        Command::Run { .. } => "run",
        Command::Demo => "demo",
        Command::CheckConfig(_) => "check-config",
        Command::Init(_) => "init",
        Command::Doctor => "doctor",
        Command::Unit(_) => "unit",
        Command::Key(_) => "key",
        Command::Backup(backup::Backup::Create { file: Some(_) }) => "backup create FILE",
        Command::Backup(backup::Backup::Verify { .. }) => "backup verify",
        Command::Backup(backup::Backup::Restore { .. }) => "backup restore",
        Command::Store(survey::Store::Compact) => "store compact",
        Command::Store(survey::Store::Stats | survey::Store::Check)
        | Command::Backup(backup::Backup::Create { file: None })
        | Command::Status(_)
        | Command::Calls(_)
        | Command::Events(_)
        | Command::Log(_)
        | Command::Trunk(_)
        | Command::Session(_)
        | Command::Route(_)
        | Command::Quota(_)
        | Command::User(_)
        | Command::Worker(_)
        | Command::Storage(_)
        | Command::Apply(_)
        | Command::Export(_)
        | Command::Token(_)
        | Command::Ban(_)
        // These ask nobody.
        | Command::Metrics(_)
        | Command::Openapi
        | Command::Completions(_)
        | Command::Man(_)
        | Command::Cdr(_)
        | Command::Webhook(_) => return None,
    })
}

/// Whether it prints one table, and nothing else.
fn has_table(command: &Command) -> bool {
    match command {
        Command::Calls(calls) => matches!(calls, status::Calls::List),
        Command::Trunk(trunk) => matches!(trunk, trunk::Trunk::List),
        Command::Session(session) => matches!(
            session,
            session::Session::List | session::Session::Harden(_)
        ),
        Command::Route(route) => matches!(route, route::Route::List),
        Command::Quota(quota) => {
            matches!(quota, quota::Quota::List | quota::Quota::Show { .. })
        }
        Command::User(user) => matches!(user, user::User::List),
        Command::Worker(worker) => matches!(worker, roles::Worker::List),
        Command::Storage(storage) => matches!(storage, roles::Storage::Show),
        Command::Token(token) => matches!(token, token::Token::List),
        Command::Webhook(webhook) => matches!(
            webhook,
            webhook::Webhook::List | webhook::Webhook::Deliveries { .. }
        ),
        Command::Ban(ban) => matches!(ban, ban::Ban::List),
        Command::Cdr(cdr) => matches!(cdr, cdr::Cdr::List { .. } | cdr::Cdr::Search { .. }),
        Command::Metrics(generated::Metrics::List { markdown }) => !markdown,
        Command::Log(log::Log::Level { .. } | log::Log::Call { .. })
        | Command::Run { .. }
        | Command::Demo
        | Command::CheckConfig(_)
        | Command::Init(_)
        | Command::Status(_)
        | Command::Doctor
        | Command::Events(_)
        | Command::Apply(_)
        | Command::Export(_)
        | Command::Key(_)
        | Command::Store(_)
        | Command::Openapi
        | Command::Unit(_)
        | Command::Completions(_)
        | Command::Man(_)
        | Command::Backup(_) => false,
    }
}
