//! `strowger key`: what the secrets in the store are sealed with.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::json;

use super::Operator;
use crate::failure::Failure;
use crate::master_key;
use crate::print::{self, Output};

#[derive(Debug, Subcommand)]
pub(super) enum Key {
    /// Show where the key is and its id, never the key itself
    Show,
    /// Draw a key and write it to a file, which must not be there yet
    Make {
        /// The file
        file: PathBuf,
    },
}

impl Key {
    pub(super) fn run(self, operator: &Operator) -> Result<(), Failure> {
        match self {
            Key::Show => show(operator),
            Key::Make { file } => {
                if file.exists() {
                    return Err(Failure::WouldOverwrite(file));
                }
                let key = master_key::make(&file)?;
                print::line(format_args!("{}: key {}", file.display(), key.id()));
                Ok(())
            }
        }
    }
}

fn show(operator: &Operator) -> Result<(), Failure> {
    let place = operator.loaded()?.key;
    let key = place.read()?.map(|key| key.id().to_string());
    let file = place.place().display().to_string();
    match (operator.output, key) {
        (Output::Json, id) => print::json(&json!({"file": file, "id": id})),
        (Output::Table, Some(id)) => print::line(format_args!("{file}: key {id}")),
        (Output::Table, None) => print::line(format_args!(
            "{file}: not there yet, made with the first secret"
        )),
    }
    Ok(())
}
