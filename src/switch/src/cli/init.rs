//! `strowger init`.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use clap::Args;

use crate::failure::Failure;
use crate::master_key;
use crate::print;
use crate::settings::DEFAULT_FILE;

#[derive(Debug, Args)]
pub(super) struct Init {
    /// The folder to write to
    #[arg(default_value = ".")]
    dir: PathBuf,
}

impl Init {
    pub(super) fn run(self) -> Result<(), Failure> {
        let path = self.dir.join("strowger.toml");
        let failed = |source: std::io::Error| match source.kind() {
            ErrorKind::AlreadyExists => Failure::WouldOverwrite(path.clone()),
            _ => Failure::File {
                path: path.clone(),
                source,
            },
        };
        std::fs::create_dir_all(&self.dir).map_err(|source| Failure::File {
            path: self.dir.clone(),
            source,
        })?;
        // It may hold the secret of the application one day.
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o640)
            .open(&path)
            .map_err(failed)?;
        file.write_all(DEFAULT_FILE.as_bytes()).map_err(failed)?;
        let key = self.dir.join(master_key::NAME);
        // A key that is there opens a store that is there.
        if !key.exists() {
            master_key::make(&key)?;
            print::note(format_args!(
                "{} made, the key of the secrets in the store: keep a copy, without it sessions have to log in anew. The switch must be able \
                 to read it, and nobody else: chown it to its user, or hand it over with LoadCredential of systemd",
                key.display()
            ));
        }
        print::line(format_args!(
            "{} written. Next: enter telegram.api_id and api_hash, then `strowger trunk add` and `strowger session login`",
            path.display()
        ));
        Ok(())
    }
}
