//! `strowger key`: what the secrets in the store are sealed with, and how that is exchanged while the switch runs.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::json;
use store::{KeyId, MasterKey, SledStore, Store};

use super::Operator;
use crate::control;
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
        (Output::Table, Some(id)) => print::line(format_args!("{file}: key {id}")),
        (Output::Table, None) => print::line(format_args!(
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
    let mut next = OsString::from(file);
    next.push(".next");
    let next = PathBuf::from(next);
    let new = if next.exists() {
        master_key::read(&next)?
    } else {
        master_key::make(&next)?
    };
    holder.add(&new)?;
    master_key::replace(file, &next).map_err(|source| Failure::File {
        path: file.to_owned(),
        source,
    })?;
    holder.remove(old.id())?;
    print::line(format_args!(
        "{}: key {}, in the place of {}; keep a copy of it. Backups that were sealed before still need the old one",
        file.display(),
        new.id(),
        old.id()
    ));
    Ok(())
}

/// Who has the store open: the switch that runs, or this command.
enum Holder {
    Switch(PathBuf),
    Here(Box<SledStore>),
}

impl Holder {
    fn find(operator: &Operator) -> Result<Self, Failure> {
        let data = operator.settings()?.data.dir;
        Ok(match ask(&data, "GET", "/v1/keys", "")? {
            Some(_) => Holder::Switch(data),
            None => Holder::Here(Box::new(operator.store()?)),
        })
    }

    fn ids(&self) -> Result<Vec<String>, Failure> {
        match self {
            Holder::Switch(data) => {
                let body = told(data, "GET", "/v1/keys", "")?;
                serde_json::from_str(&body).map_err(|error| Failure::File {
                    path: control::SOCKET.into(),
                    source: error.into(),
                })
            }
            Holder::Here(store) => {
                let ids = store.master_keys()?;
                Ok(ids.iter().map(ToString::to_string).collect())
            }
        }
    }

    fn add(&self, key: &MasterKey) -> Result<(), Failure> {
        match self {
            Holder::Switch(data) => told(data, "PUT", "/v1/keys", key.digits().expose()).map(drop),
            Holder::Here(store) => Ok(store.add_master_key(key)?),
        }
    }

    fn remove(&self, id: KeyId) -> Result<(), Failure> {
        match self {
            Holder::Switch(data) => match ask(data, "DELETE", &format!("/v1/keys?id={id}"), "")? {
                Some((404, _)) => Err(Failure::NotFound {
                    kind: "key",
                    name: id.to_string(),
                }),
                answer => good(data, answer).map(drop),
            },
            Holder::Here(store) => Ok(store.remove_master_key(id)?),
        }
    }
}

fn ask(
    data: &Path,
    method: &str,
    target: &str,
    body: &str,
) -> Result<Option<(u16, String)>, Failure> {
    control::ask(data, method, target, body).map_err(|source| Failure::File {
        path: data.join(control::SOCKET),
        source,
    })
}

fn told(data: &Path, method: &str, target: &str, body: &str) -> Result<String, Failure> {
    good(data, ask(data, method, target, body)?)
}

/// The body of an answer that is a success.
fn good(data: &Path, answer: Option<(u16, String)>) -> Result<String, Failure> {
    match answer {
        Some((200..=299, body)) => Ok(body),
        Some((409, said)) => Err(Failure::Refused(said)),
        Some((status, said)) => Err(Failure::File {
            path: data.join(control::SOCKET),
            source: io::Error::other(format!("the switch answers {status} {said}")),
        }),
        // It ended between two questions.
        None => Err(Failure::File {
            path: data.join(control::SOCKET),
            source: io::ErrorKind::NotConnected.into(),
        }),
    }
}
