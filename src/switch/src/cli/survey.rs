//! `strowger store`: what is in it, whether all of it can be read, and made small again.

use std::fs;
use std::path::Path;
use std::time::Duration;

use clap::Subcommand;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde_json::json;
use store::{KeySource, Restored, SledStore, Space, Store as _};

use super::Operator;
use super::book::{Book, answered};
use crate::api::BASE;
use crate::failure::Failure;
use crate::print::{self, Output};
use crate::survey::{StoreCheck, StoreSize};

/// How long the switch may take to read all of it.
const PATIENCE: Duration = Duration::from_secs(600);

#[derive(Debug, Subcommand)]
pub(super) enum Store {
    /// Say how large it is and what is in it
    Stats,
    /// Read all of it, and open every secret; also while the switch runs
    Check,
    /// Write it anew without what is no longer used; the switch must not run
    Compact,
}

impl Store {
    pub(super) fn run(&self, operator: &Operator) -> Result<(), Failure> {
        match self {
            Store::Stats => stats(operator),
            Store::Check => check(operator),
            Store::Compact => compact(operator),
        }
    }
}

fn stats(operator: &Operator) -> Result<(), Failure> {
    let size = match operator.book()? {
        Book::Switch(operator) => operator.get("/store")?,
        Book::Store(store) => StoreSize::of(&*store)?,
    };
    if operator.output == Output::Json {
        print::json(&size);
        return Ok(());
    }
    let line = |what: &str, value: String| print::line(format_args!("{what:<12}{value}"));
    line("size", megabytes(size.size_bytes));
    if let Some(free) = size.free_bytes {
        line("free", megabytes(free));
    }
    line("schema", size.schema.to_string());
    line("generation", size.generation.to_string());
    line("sessions", size.sessions.to_string());
    line("trunks", size.trunks.to_string());
    line("routes", size.routes.to_string());
    line("calls", size.calls.to_string());
    Ok(())
}

fn megabytes(octets: u64) -> String {
    format!("{:.1} MB", octets as f64 / 1e6)
}

fn check(operator: &Operator) -> Result<(), Failure> {
    let check: StoreCheck = match operator.book()? {
        Book::Switch(operator) => {
            let target = format!("{BASE}/store/check");
            answered(
                operator
                    .reach()?
                    .ask_within(PATIENCE, "POST", &target, "")?,
            )?
        }
        Book::Store(store) => StoreCheck::of(&*store),
    };
    if let Some(fault) = check.fault {
        return Err(match check.unreadable_calls {
            0 => Failure::Unreadable(fault),
            count => Failure::UnreadableCalls { count, fault },
        });
    }
    if operator.output == Output::Json {
        print::json(&check);
        return Ok(());
    }
    let StoreCheck {
        records,
        telegram,
        calls,
        soft,
        unreadable_calls: _,
        fault: _,
    } = check;
    print::line(format_args!(
        "all of it can be read: {records} records, {telegram} entries of Telegram accounts, {calls} call records, {soft} entries more"
    ));
    Ok(())
}

/// sled keeps for long what it has written before, and gives nothing back; so all that there is goes to a new store, which takes the place of the old one.
fn compact(operator: &Operator) -> Result<(), Failure> {
    let loaded = operator.loaded()?;
    let folder = loaded.settings.data.store();
    let Book::Store(store) = operator.book()? else {
        return Err(Failure::Locked(folder));
    };
    let before = store.stats()?.size_bytes;
    renew(&folder, store, &loaded.key)?;
    let after = operator.store()?.stats()?.size_bytes;
    if operator.output == Output::Json {
        print::json(&json!({ "before_bytes": before, "after_bytes": after }));
        return Ok(());
    }
    print::line(format_args!(
        "{}: {}, before {}",
        folder.display(),
        megabytes(after),
        megabytes(before)
    ));
    Ok(())
}

/// The two change places in one step, so that a crash leaves one or the other, whole. The old one stays open, and so locked, until then.
fn renew(folder: &Path, store: Box<SledStore>, key: &dyn KeySource) -> Result<(), Failure> {
    let (copy, new) = (beside(folder, "copy"), beside(folder, "new"));
    let failed = |path: &Path, source: std::io::Error| Failure::File {
        path: path.to_owned(),
        source,
    };
    // Of one that was cut off.
    let _ = fs::remove_file(&copy);
    if new.exists() {
        fs::remove_dir_all(&new).map_err(|error| failed(&new, error))?;
    }
    let of = |path: &Path| {
        let path = path.to_owned();
        move |source| Failure::Backup { path, source }
    };
    let grown = store.back_up(&copy, key).map_err(of(&copy));
    let grown = grown.and_then(|()| {
        // It ran here, and nowhere else.
        store::restore(&copy, &new, key, Restored::Here).map_err(of(&new))
    });
    let _ = fs::remove_file(&copy);
    grown?;
    let checked = {
        let grown = SledStore::open(&new, key)?;
        // They are in no backup, so that nobody hears again elsewhere what he was told here; but this is here.
        for (key, value) in store.scan(Space::Deliveries, b"")? {
            grown.put_soft(Space::Deliveries, &key, &value)?;
        }
        grown.flush()?;
        StoreCheck::of(&grown)
    };
    match (checked.fault, checked.unreadable_calls) {
        (None, _) => {}
        (Some(fault), 0) => return Err(Failure::Unreadable(fault)),
        // They went over as they are.
        (Some(fault), count) => print::note(Failure::UnreadableCalls { count, fault }),
    }
    let exchanged = renameat_with(CWD, folder, CWD, &new, RenameFlags::EXCHANGE);
    exchanged.map_err(|error| failed(folder, error.into()))?;
    drop(store);
    fs::remove_dir_all(&new).map_err(|error| failed(&new, error))
}

fn beside(folder: &Path, what: &str) -> std::path::PathBuf {
    let mut name = folder.as_os_str().to_owned();
    name.push(".compact-");
    name.push(what);
    name.into()
}
