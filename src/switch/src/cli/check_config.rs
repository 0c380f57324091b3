//! `strowger check-config`.

use std::path::PathBuf;

use clap::Args;

use super::{Operator, doctor};
use crate::failure::Failure;
use crate::print;

#[derive(Debug, Args)]
pub(super) struct CheckConfig {
    /// The settings to check; without, those that `run` would read
    file: Option<PathBuf>,
    /// Print the settings as they are after all layers, secrets as ***
    #[arg(long)]
    effective: bool,
}

impl CheckConfig {
    pub(super) fn run(self, mut operator: Operator) -> Result<(), Failure> {
        if self.file.is_some() {
            operator.sources.file = self.file;
        }
        let loaded = operator.loaded()?;
        if self.effective {
            print::raw(&loaded.settings.effective());
            return Ok(());
        }
        // A key that is not there yet is made with the store.
        loaded.key.read()?;
        // The settings are good all the same: a port may be free again when the switch starts.
        let runs = operator.reach()?.is_there().unwrap_or(false);
        for trouble in doctor::ports(&loaded.settings, runs) {
            print::note(trouble);
        }
        match loaded.file {
            Some(file) => print::line(format_args!("{}: good", file.display())),
            None => print::line("no file found: the defaults and the environment are good"),
        }
        Ok(())
    }
}
