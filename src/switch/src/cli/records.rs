//! `strowger apply` and `strowger export`.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::Operator;
use crate::failure::Failure;
use crate::print::{self, Output};
use crate::records::{self, Placed, Plan, Records, TrunkDraft, WebhookDraft, is_kept};

#[derive(Debug, Args)]
pub(super) struct Apply {
    /// The file with [[trunk]], [[session]], [[route]], [[quota]], [[user]] and [[webhook]]
    file: PathBuf,
    /// Only say what would change
    #[arg(long)]
    dry_run: bool,
    /// Also remove the trunks, routes, quotas and users that the file does not have, and webhooks if it has [[webhook]]; sessions are never removed
    #[arg(long)]
    prune: bool,
}

#[derive(Debug, Args)]
pub(super) struct Export {
    /// Where to write it, readable by its owner alone; without, standard output
    file: Option<PathBuf>,
    /// With the passwords of trunks and the secrets of webhooks
    #[arg(long)]
    secrets: bool,
}

impl Apply {
    pub(super) fn run(self, operator: &Operator) -> Result<(), Failure> {
        let path = &self.file;
        let text = std::fs::read_to_string(path).map_err(|source| Failure::File {
            path: path.clone(),
            source,
        })?;
        let wanted = Records::read(&path.display().to_string(), &text).map_err(Failure::Faults)?;
        let book = operator.book()?;
        // Only then it is compared with what there is.
        let brings_passwords = |trunk: &Placed<TrunkDraft>| {
            trunk
                .record
                .password
                .as_ref()
                .is_some_and(|it| !is_kept(it))
        };
        let brings_secrets = |webhook: &Placed<WebhookDraft>| {
            webhook
                .record
                .secret
                .as_ref()
                .is_some_and(|it| !is_kept(it))
        };
        let brings = wanted.trunks.iter().any(brings_passwords)
            || wanted.webhooks.iter().any(brings_secrets);
        let current = if brings {
            book.current_with_secrets()?
        } else {
            book.current()?
        };
        let plan = Plan::new(&wanted, &current, self.prune).map_err(Failure::Faults)?;
        let mut generation = current.generation;
        if !self.dry_run && !plan.changes.is_empty() {
            generation = book.commit(&current, plan.changes.clone())?;
        }
        if operator.output == Output::Json {
            print::json(
                &json!({"changes": plan.said, "generation": generation, "applied": !self.dry_run}),
            );
            return Ok(());
        }
        for said in &plan.said {
            print::line(said);
        }
        match (plan.changes.len(), self.dry_run) {
            (0, _) => print::line("nothing to change"),
            (count, true) => print::line(format_args!("{count} changes, none of them made")),
            (count, false) => print::line(format_args!(
                "{count} changes made, generation {generation}"
            )),
        }
        Ok(())
    }
}

impl Export {
    pub(super) fn run(self, operator: &Operator) -> Result<(), Failure> {
        let book = operator.book()?;
        let current = if self.secrets {
            book.current_with_secrets()?
        } else {
            book.current()?
        };
        let text = records::write(&current, self.secrets)?;
        let Some(path) = self.file else {
            print::raw(&text);
            return Ok(());
        };
        // It may hold passwords.
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .map_err(|source| Failure::File {
                path: path.clone(),
                source,
            })?;
        let what = if self.secrets {
            "it holds the passwords of trunks and the secrets of webhooks"
        } else {
            "passwords of trunks and secrets of webhooks are only in it with --secrets; `strowger apply` leaves those that there are"
        };
        print::note(format_args!("{} written; {what}", path.display()));
        Ok(())
    }
}
