//! `strowger user`: Telegram users whom the owner knows by name, and what they may use.

use clap::{Args, Subcommand};
use model::{QuotaName, UserName, UserSpec};
use store::Change;

use super::Operator;
use super::trunk::lines;
use crate::failure::Failure;
use crate::print::{self, Output, Table};

#[derive(Debug, Subcommand)]
pub(super) enum User {
    /// Make a user
    #[command(after_help = "Example: strowger user add ann --telegram-id 4242 --lines 1")]
    Add {
        /// Its name
        name: UserName,
        /// Who it is at Telegram
        #[arg(long)]
        telegram_id: i64,
        #[command(flatten)]
        options: Options,
    },
    /// Change a user; what is not named stays
    Set {
        /// Its name
        name: UserName,
        /// Who it is at Telegram
        #[arg(long)]
        telegram_id: Option<i64>,
        #[command(flatten)]
        options: Options,
    },
    /// List all users
    List,
    /// Forget a user; its calls go on
    #[command(alias = "delete")]
    Remove {
        /// Its name
        name: UserName,
    },
}

/// What a user may use.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Simultaneous calls with it, 0 = unlimited
    #[arg(long)]
    lines: Option<u32>,
    /// Its quota profile
    #[arg(long, conflicts_with = "no_quota")]
    quota: Option<QuotaName>,
    /// No quota profile of its own: `default` holds, where there is one
    #[arg(long)]
    no_quota: bool,
    /// What is to be remembered
    #[arg(long)]
    note: Option<String>,
}

impl Options {
    fn over(self, spec: UserSpec) -> UserSpec {
        let quota = self.quota.or(spec.quota).filter(|_| !self.no_quota);
        UserSpec {
            lines: self.lines.unwrap_or(spec.lines),
            note: self.note.unwrap_or(spec.note),
            quota,
            ..spec
        }
    }
}

impl User {
    pub(super) fn run(self, operator: &Operator) -> Result<(), Failure> {
        let kind = "user";
        match self {
            User::Add {
                name,
                telegram_id,
                options,
            } => {
                let book = operator.book()?;
                let current = book.current()?;
                if current.user(&name).is_some() {
                    let name = name.to_string();
                    return Err(Failure::Exists { kind, name });
                }
                let spec = options.over(UserSpec::new(name.clone(), telegram_id));
                book.commit(&current, vec![Change::PutUser(spec)])?;
                print::line(format_args!("user {name} added"));
            }
            User::Set {
                name,
                telegram_id,
                options,
            } => {
                let book = operator.book()?;
                let current = book.current()?;
                let Some(before) = current.user(&name).cloned() else {
                    let name = name.to_string();
                    return Err(Failure::NotFound { kind, name });
                };
                let spec = UserSpec {
                    telegram_id: telegram_id.unwrap_or(before.telegram_id),
                    ..options.over(before)
                };
                book.commit(&current, vec![Change::PutUser(spec)])?;
                print::line(format_args!("user {name} changed"));
            }
            User::List => list(operator)?,
            User::Remove { name } => {
                let book = operator.book()?;
                let current = book.current()?;
                book.commit(&current, vec![Change::RemoveUser(name.clone())])?;
                print::line(format_args!("user {name} removed"));
            }
        }
        Ok(())
    }
}

fn list(operator: &Operator) -> Result<(), Failure> {
    let users = operator.current()?.users;
    if operator.output == Output::Json {
        print::json(&users);
        return Ok(());
    }
    let mut table = Table::new(["user", "telegram id", "lines", "quota", "note"]);
    for user in users {
        table.row([
            user.name.to_string(),
            user.telegram_id.to_string(),
            lines(user.lines),
            user.quota
                .map_or_else(|| "-".to_owned(), |quota| quota.to_string()),
            user.note,
        ]);
    }
    table.print(
        operator.output,
        "no users: nobody is limited as one; make one with `strowger user add NAME`",
    );
    Ok(())
}
