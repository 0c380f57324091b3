//! `strowger backup`: back to the store as it was.

use std::path::PathBuf;

use clap::Subcommand;

use super::Operator;
use crate::failure::Failure;
use crate::print;

#[derive(Debug, Subcommand)]
pub(super) enum Backup {
    /// Make a store of a backup, in the folder of the data, where none must be
    Restore {
        /// The file, sealed with the key that `strowger key show` names
        file: PathBuf,
    },
}

impl Backup {
    pub(super) fn run(self, operator: &Operator) -> Result<(), Failure> {
        let Backup::Restore { file } = self;
        let loaded = operator.loaded()?;
        let folder = loaded.settings.data.store();
        store::restore(&file, &folder, &loaded.key).map_err(|source| Failure::Backup {
            path: match source {
                store::BackupError::Present => folder.clone(),
                _ => file.clone(),
            },
            source,
        })?;
        print::line(format_args!("{} restored", folder.display()));
        Ok(())
    }
}
