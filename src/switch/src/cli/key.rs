//! `strowger key`: what the secrets in the store are sealed with, and how that is exchanged while the switch runs.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::json;
use store::{KeyId, MasterKey, Store};

use super::Operator;
use super::book::{Book, answered};
use crate::api::BASE;
use crate::failure::Failure;
use crate::master_key;
use crate::print::{self, Output};

/// The exit code of a failure that there is no such thing.
const NOT_FOUND: u8 = 5;

#[derive(Debug, Subcommand)]
pub(super) enum Key {
    /// Show where the key is and its id, never the key itself
    Show,
    /// Draw a key and write it to a file, which must not be there yet
    Make {
        /// The file
        file: PathBuf,
    },
    /// List the ids of the keys that open the store
    List,
    /// Exchange the key: make a new one, in the place of the old one, which opens the store no more
    Rotate,
    /// Let another key open the store too
    Add {
        /// Its file
        file: PathBuf,
    },
    /// Let a key open the store no more; not the last one
    Remove {
        /// Its id, as `strowger key list` shows it
        id: KeyId,
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
            Key::List => list(operator),
            Key::Rotate => rotate(operator),
            Key::Add { file } => {
                let key = master_key::read(&file)?;
                Holder::find(operator)?.add(&key)?;
                print::line(format_args!("key {} opens the store too", key.id()));
                Ok(())
            }
            Key::Remove { id } => {
                let at_hand = operator.loaded()?.key.read()?;
                if at_hand.is_some_and(|key| key.id() == id) {
                    return Err(Failure::Refused(format!(
                        "{id} is the key at hand: put the other one in its place first, or `strowger key rotate`"
                    )));
                }
                Holder::find(operator)?.remove(id)?;
                print::line(format_args!("key {id} opens the store no more"));
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
        (Output::Table | Output::Csv, Some(id)) => print::line(format_args!("{file}: key {id}")),
        (Output::Table | Output::Csv, None) => print::line(format_args!(
            "{file}: not there yet, made with the first secret"
        )),
    }
    Ok(())
}

fn list(operator: &Operator) -> Result<(), Failure> {
    let ids = Holder::find(operator)?.ids()?;
    if operator.output == Output::Json {
        print::json(&ids);
        return Ok(());
    }
    let at_hand = operator.loaded()?.key.read()?;
    let at_hand = at_hand.map(|key| key.id().to_string());
    for id in ids {
        let mark = if Some(&id) == at_hand.as_ref() {
            " at hand"
        } else {
            ""
        };
        print::line(format_args!("{id}{mark}"));
    }
    Ok(())
}

/// The new key opens the store before it takes the place of the old one, and the old one does so until it has: whenever this is cut
/// off, the key in the file is one that opens the store, and the same command goes on.
fn rotate(operator: &Operator) -> Result<(), Failure> {
    let place = operator.loaded()?.key;
    let Some(file) = place.file() else {
        return Err(Failure::Refused(
            "the key is a credential of systemd: `strowger key make FILE`, `strowger key add FILE`, make FILE the credential, restart the \
             switch, then `strowger key remove` the id of the old one"
                .into(),
        ));
    };
    let holder = Holder::find(operator)?;
    let old = place.read()?.ok_or_else(|| Failure::File {
        path: file.to_owned(),
        source: io::ErrorKind::NotFound.into(),
    })?;
    let (next, replaced) = (beside(file, ".next"), beside(file, ".replaced"));
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| Failure::File { path, source }
    };
    if !next.exists()
        && let Some(before) = written_id(&replaced).filter(|before| *before != old.id())
    {
        // Cut off when the new one was in its place already, and the old one still opened the store.
        return finish(&holder, file, before, old.id());
    }
    let new = if next.exists() {
        master_key::read(&next)?
    } else {
        master_key::make(&next)?
    };
    holder.add(&new)?;
    write_id(&replaced, old.id()).map_err(failed(&replaced))?;
    master_key::replace(file, &next).map_err(failed(file))?;
    finish(&holder, file, old.id(), new.id())
}

/// Lets the old key open the store no more.
fn finish(holder: &Holder<'_>, file: &Path, old: KeyId, new: KeyId) -> Result<(), Failure> {
    match holder.remove(old) {
        // It had been removed when this was cut off.
        Err(failure) if failure.code() == NOT_FOUND => {}
        done => done?,
    }
    let replaced = beside(file, ".replaced");
    fs::remove_file(&replaced).map_err(|source| Failure::File {
        path: replaced,
        source,
    })?;
    print::line(format_args!(
        "{}: key {new}, in the place of {old}; keep a copy of it. Backups that were sealed before still need the old one",
        file.display(),
    ));
    Ok(())
}

fn beside(file: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(file);
    name.push(ending);
    name.into()
}

/// The id of the key that is being replaced. It is no secret.
fn written_id(file: &Path) -> Option<KeyId> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

fn write_id(file: &Path, id: KeyId) -> io::Result<()> {
    let mut to = File::create(file)?;
    writeln!(to, "{id}")?;
    to.sync_all()
}

/// Who has the store open: the switch that runs, or this command. A switch elsewhere is never asked (`afar`).
struct Holder<'a>(Book<'a>);

impl<'a> Holder<'a> {
    fn find(operator: &'a Operator) -> Result<Self, Failure> {
        operator.book().map(Holder)
    }

    fn ids(&self) -> Result<Vec<String>, Failure> {
        match &self.0 {
            Book::Switch(operator) => operator.get("/keys"),
            Book::Store(store) => {
                let ids = store.master_keys()?;
                Ok(ids.iter().map(ToString::to_string).collect())
            }
        }
    }

    fn add(&self, key: &MasterKey) -> Result<(), Failure> {
        match &self.0 {
            Book::Switch(operator) => {
                let target = format!("{BASE}/keys");
                answered(operator.tell("PUT", &target, key.digits().expose())?)
            }
            Book::Store(store) => Ok(store.add_master_key(key)?),
        }
    }

    fn remove(&self, id: KeyId) -> Result<(), Failure> {
        match &self.0 {
            Book::Switch(operator) => {
                operator.api("DELETE", &format!("/keys?id={id}"), None::<&()>)
            }
            Book::Store(store) => Ok(store.remove_master_key(id)?),
        }
    }
}
