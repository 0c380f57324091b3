//! `strowger backup`: a copy of the whole store in one file, and back.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Subcommand;
use serde_json::json;
use store::{BackupError, Contents, Restored};

use super::Operator;
use super::book::answered;
use crate::api::{BASE, BackupView};
use crate::backups;
use crate::failure::Failure;
use crate::print::{self, Output};

/// How long the switch may take for one: a million call records take some ten seconds.
const PATIENCE: Duration = Duration::from_secs(600);

#[derive(Debug, Subcommand)]
pub(super) enum Backup {
    /// Write all that is in the store to one file, also while the switch runs
    Create {
        /// The file, which must not be there; without, one in the folder of the backups
        file: Option<PathBuf>,
    },
    /// Read a backup to its end, and open every secret in it
    Verify {
        /// The file, sealed with the key that `strowger key show` names
        file: PathBuf,
    },
    /// Make a store of a backup, in the folder of the data, where none must be; its sessions are off until they are adopted
    Restore {
        /// The file, sealed with the key that `strowger key show` names
        file: PathBuf,
    },
}

impl Backup {
    pub(super) fn run(self, operator: &Operator) -> Result<(), Failure> {
        match self {
            Backup::Create { file } => create(operator, file),
            Backup::Verify { file } => {
                let contents = verify(operator, &file)?;
                show(operator, &file, contents);
                Ok(())
            }
            Backup::Restore { file } => restore(operator, &file),
        }
    }
}

fn create(operator: &Operator, wanted: Option<PathBuf>) -> Result<(), Failure> {
    let taken = |path: &Path| Failure::Backup {
        path: path.to_owned(),
        source: BackupError::Taken,
    };
    if let Some(wanted) = wanted.as_deref().filter(|wanted| wanted.exists()) {
        return Err(taken(wanted));
    }
    let target = format!("{BASE}/backup");
    let asked = operator
        .reach()?
        .ask_within(PATIENCE, "POST", &target, "")?;
    if operator.is_afar() {
        show_afar(operator.output, &answered(asked)?);
        return Ok(());
    }
    let loaded = operator.loaded()?;
    let made = if let Some(answer) = asked {
        // Where the switch is, this command is too; a relative path would be another one.
        PathBuf::from(answered::<BackupView>(Some(answer))?.file)
    } else {
        let store = operator.store()?;
        backups::create(&loaded.settings, &store, &loaded.key)?
    };
    let file = match wanted {
        Some(wanted) => {
            // The switch may write to its own folders alone.
            relocate(&made, &wanted).map_err(|source| Failure::File {
                path: wanted.clone(),
                source,
            })?;
            wanted
        }
        None => made,
    };
    let contents = verify(operator, &file)?;
    show(operator, &file, contents);
    Ok(())
}

/// The file lies on the host of the switch, where `strowger backup verify` can read it.
fn show_afar(output: Output, made: &BackupView) {
    let BackupView { file, octets, .. } = made;
    match output {
        Output::Json => print::json(made),
        Output::Table | Output::Csv => print::line(format_args!(
            "{file}: written on the host of the switch, {octets} octets"
        )),
    }
}

/// Moves a file to a place where none must be, also to another disk.
fn relocate(from: &Path, to: &Path) -> io::Result<()> {
    let copy = || {
        let mut copy = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(to)?;
        io::copy(&mut File::open(from)?, &mut copy)?;
        copy.sync_all()
    };
    match copy() {
        Ok(()) => std::fs::remove_file(from),
        Err(error) => {
            if error.kind() != io::ErrorKind::AlreadyExists {
                let _ = std::fs::remove_file(to);
            }
            Err(io::Error::new(
                error.kind(),
                format!("{error}; the backup is {}", from.display()),
            ))
        }
    }
}

fn verify(operator: &Operator, file: &Path) -> Result<Contents, Failure> {
    let loaded = operator.loaded()?;
    store::verify(file, &loaded.key).map_err(|source| Failure::Backup {
        path: file.to_owned(),
        source,
    })
}

fn show(operator: &Operator, file: &Path, contents: Contents) {
    let Contents {
        octets,
        entries,
        sessions,
        trunks,
        calls,
    } = contents;
    match operator.output {
        Output::Json => print::json(&json!({
            "file": file, "octets": octets, "entries": entries, "sessions": sessions, "trunks": trunks, "calls": calls,
        })),
        Output::Table | Output::Csv => print::line(format_args!(
            "{}: whole, and the key fits; {octets} octets, {sessions} sessions, {trunks} trunks, {calls} call records",
            file.display()
        )),
    }
}

fn restore(operator: &Operator, file: &Path) -> Result<(), Failure> {
    let loaded = operator.loaded()?;
    let folder = loaded.settings.data.store();
    let off =
        store::restore(file, &folder, &loaded.key, Restored::Elsewhere).map_err(|source| {
            Failure::Backup {
                path: match source {
                    BackupError::Present => folder.clone(),
                    _ => file.to_owned(),
                },
                source,
            }
        })?;
    print::line(format_args!("{} restored", folder.display()));
    for session in off {
        print::note(format_args!(
            "session {session} is off: when no other switch runs it any more, `strowger session adopt {session} --old-is-gone`"
        ));
    }
    Ok(())
}
