//! `strowger worker` and `strowger storage`: switched on and off as records, so that it lasts; how they are is known to the switch that runs.

use clap::Subcommand;
use model::{LOCAL_WORKER, Role, RoleSpec, WorkerName};
use store::Change;

use super::Operator;
use super::book::Book;
use crate::api::RoleView;
use crate::failure::Failure;
use crate::print::{self, Output, Table};
use crate::records::Current;

#[derive(Debug, Subcommand)]
pub(super) enum Worker {
    /// List all workers, and how they are
    List,
    /// Let it take calls and registrations again
    Enable {
        /// Its name; `local` is this switch
        name: WorkerName,
    },
    /// Let it take no further call and no registration; calls that are up go on
    Disable {
        /// Its name; `local` is this switch
        name: WorkerName,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum Storage {
    /// Show how it is
    Show,
    /// Let Telegram accounts place and take calls again
    Enable,
    /// Let Telegram accounts place and take no further call; those that are up go on
    Disable,
}

impl Worker {
    pub(super) fn run(self, operator: &Operator) -> Result<(), Failure> {
        match self {
            Worker::List => show(operator, Role::Worker, true),
            Worker::Enable { name } => switch_worker(operator, &name, true),
            Worker::Disable { name } => switch_worker(operator, &name, false),
        }
    }
}

impl Storage {
    pub(super) fn run(self, operator: &Operator) -> Result<(), Failure> {
        match self {
            Storage::Show => show(operator, Role::Storage, false),
            Storage::Enable => switch(operator, Role::Storage, "storage", true),
            Storage::Disable => switch(operator, Role::Storage, "storage", false),
        }
    }
}

fn switch_worker(operator: &Operator, name: &WorkerName, enabled: bool) -> Result<(), Failure> {
    if name.as_str() != LOCAL_WORKER {
        return Err(Failure::NotFound {
            kind: "worker",
            name: name.to_string(),
        });
    }
    let said = format!("worker {name}");
    switch(operator, Role::Worker, &said, enabled)
}

fn switch(operator: &Operator, role: Role, said: &str, enabled: bool) -> Result<(), Failure> {
    let book = operator.book()?;
    let current = book.current()?;
    book.commit(&current, vec![Change::PutRole(RoleSpec { role, enabled })])?;
    let done = if enabled { "on" } else { "off" };
    print::line(format_args!("{said} is switched {done}"));
    Ok(())
}

/// The one there is; how it is can only be said by a switch that runs.
fn show(operator: &Operator, role: Role, as_list: bool) -> Result<(), Failure> {
    let view = match operator.book()? {
        Book::Switch(operator) => operator.get(match role {
            Role::Worker => "/workers/local",
            Role::Storage => "/storage",
        })?,
        Book::Store(store) => RoleView {
            role: role.label().to_owned(),
            name: LOCAL_WORKER.to_owned(),
            enabled: Current::read(&*store)?.has_role(role),
            state: "no switch runs".to_owned(),
        },
    };
    if operator.output == Output::Json {
        if as_list {
            print::json(&[view]);
        } else {
            print::json(&view);
        }
        return Ok(());
    }
    let mut table = Table::new([role.label(), "on", "state"]);
    let on = if view.enabled { "yes" } else { "no" };
    table.row([view.name, on.to_owned(), view.state]);
    table.print(operator.output, "there is none");
    Ok(())
}
