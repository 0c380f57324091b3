//! The key of the secrets in the store (SEC-S2): a credential of systemd, or a file that lies outside of the data.

use std::cell::Cell;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use model::Secret;
use store::{KeyError, KeyId, KeySource, MasterKey, Migration, NoKey, NoRandom, SledStore};

/// The name of the credential, and of the file where no other is given.
pub(crate) const NAME: &str = "strowger.key";
/// Where the file is without settings beside which it could lie.
const FOLDER: &str = "/etc/strowger";
/// A key file has some hundred octets.
const LONGEST: u64 = 4096;
/// What stands above the key in its file.
const HEAD: &str = "# The key of the secrets in the store of Strowger: passwords of trunks, keys of Telegram accounts.\n\
    # Keep a copy, but not beside a copy of the store. Without it accounts have to log in anew, and passwords have to be entered again.\n";

/// Why there is no usable key.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MasterKeyError {
    /// It was there once.
    #[error(
        "the secrets of the store are sealed with the key {wanted}, and there is no key file {file}: put it back from its copy, or say with \
         data.key_file where it is; nothing was changed. If it is lost, so are the secrets: move the store aside, `strowger apply` an export, \
         and log the sessions in anew"
    )]
    Missing {
        /// Where it should be.
        file: PathBuf,
        /// The ids of the keys that would do.
        wanted: String,
    },
    /// Everybody could read it.
    #[error("the key file {file} is open to others (mode {mode:04o}): chmod 600 {file}")]
    Mode {
        /// The file.
        file: PathBuf,
        /// Its rights.
        mode: u32,
    },
    /// Somebody else could read and replace it.
    #[error(
        "the key file {file} belongs to user {owner}, and this process to user {process}: run it as the user of the switch, or chown the file to that user"
    )]
    Owner {
        /// The file.
        file: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who we are.
        process: u32,
    },
    /// Whoever copies the data would have the key as well.
    #[error(
        "the key file {file} lies in the folder of the data, so that a copy of one were a copy of both: move it elsewhere, and say with \
         data.key_file where"
    )]
    Inside {
        /// The file.
        file: PathBuf,
    },
    /// Something else is in it.
    #[error("the key file {file}: {source}")]
    NoKey {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        source: NoKey,
    },
    /// It cannot be read.
    #[error(
        "the key file {file} cannot be read ({source}): run this as the user of the switch, or say with data.key_file where the key is"
    )]
    Read {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is none yet, and none can be made.
    #[error(
        "the key file {file} cannot be made ({source}): make it with `strowger key make {file}` as somebody who may, or say with data.key_file \
         where it shall be"
    )]
    Write {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No key can be drawn.
    #[error(transparent)]
    Random(#[from] NoRandom),
}

/// Where the key is looked for, and made when the store has no secrets yet.
#[derive(Debug, Clone)]
pub(crate) struct KeyPlace {
    /// The credential that systemd has given, before everything else.
    credential: Option<PathBuf>,
    /// The file.
    file: PathBuf,
    /// The folder it must not be in.
    data: PathBuf,
    /// Whether the file was made here and now.
    made: Cell<bool>,
}

impl KeyPlace {
    /// `credentials` is the folder of systemd's credentials, `given` is `data.key_file`, `settings` the file of the settings, `data` the
    /// folder of the data.
    pub(crate) fn new(
        credentials: Option<&Path>,
        given: &Path,
        settings: Option<&Path>,
        data: &Path,
    ) -> Self {
        let beside = settings
            .and_then(Path::parent)
            .unwrap_or(Path::new(FOLDER))
            .join(NAME);
        Self {
            credential: credentials
                .map(|folder| folder.join(NAME))
                .filter(|file| file.exists()),
            file: if given.as_os_str().is_empty() {
                beside
            } else {
                given.to_owned()
            },
            data: data.to_owned(),
            made: Cell::new(false),
        }
    }

    /// The file, where no credential goes before it.
    pub(crate) fn file(&self) -> Option<&Path> {
        self.credential.is_none().then_some(&*self.file)
    }

    /// Where the key is, or will be.
    pub(crate) fn place(&self) -> &Path {
        self.credential.as_deref().unwrap_or(&self.file)
    }

    /// The key, if there is one.
    pub(crate) fn read(&self) -> Result<Option<MasterKey>, MasterKeyError> {
        if let Some(file) = &self.credential {
            // Its rights are systemd's matter.
            return read(file).map(Some);
        }
        if is_inside(&self.file, &self.data) {
            return Err(MasterKeyError::Inside {
                file: self.file.clone(),
            });
        }
        match private(&self.file) {
            Ok(()) => read(&self.file).map(Some),
            Err(MasterKeyError::Read { source, .. }) if source.kind() == ErrorKind::NotFound => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Tells what opening the store has made: the key file, a backup.
    pub(crate) fn announce(&self, store: &SledStore, tell: impl Fn(&str)) {
        if self.made.take() {
            tell(&format!(
                "the key of the secrets in the store is now in {}: keep a copy of it, without it sessions have to log in anew",
                self.file.display()
            ));
        }
        if let Some(backup) = store.backup() {
            let done = match store.migration() {
                Some(Migration { from, to, .. }) if from > 1 => {
                    format!("the store is now of schema {to} instead of {from}")
                }
                Some(_) | None => "the secrets in the store are now sealed".to_owned(),
            };
            tell(&format!(
                "{done}; {} is the store as it was, also sealed: remove it when you are content",
                backup.display()
            ));
        }
    }

    fn find_or_make(&self, wanted: &[KeyId]) -> Result<MasterKey, MasterKeyError> {
        if let Some(key) = self.read()? {
            return Ok(key);
        }
        if wanted.is_empty() {
            let key = make(&self.file)?;
            self.made.set(true);
            return Ok(key);
        }
        let wanted: Vec<String> = wanted.iter().map(ToString::to_string).collect();
        Err(MasterKeyError::Missing {
            file: self.file.clone(),
            wanted: wanted.join(" or "),
        })
    }
}

impl KeySource for KeyPlace {
    fn key(&self, wanted: &[KeyId]) -> Result<MasterKey, KeyError> {
        Ok(self.find_or_make(wanted)?)
    }
}

/// Draws a key and writes it to a file that must not be there yet.
pub(crate) fn make(file: &Path) -> Result<MasterKey, MasterKeyError> {
    let key = MasterKey::generate()?;
    write(file, &key).map_err(|source| MasterKeyError::Write {
        file: file.to_owned(),
        source,
    })?;
    Ok(key)
}

/// Writes a key to a file that must not be there yet, readable by its owner alone, and waits for the disk.
fn write(file: &Path, key: &MasterKey) -> io::Result<()> {
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) | None => Path::new("."),
    };
    fs::create_dir_all(folder)?;
    let mut to = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)?;
    let written = to
        .write_all(HEAD.as_bytes())
        .and_then(|()| to.write_all(key.digits().expose().as_bytes()))
        .and_then(|()| to.write_all(b"\n"))
        .and_then(|()| to.sync_all())
        .and_then(|()| File::open(folder)?.sync_all());
    if written.is_err() {
        // Half a key would be in the way of a whole one.
        let _ = fs::remove_file(file);
    }
    written
}

/// Puts the key file `new` in the place of `file`, with the same owner; a crash leaves the one or the other.
pub(crate) fn replace(file: &Path, new: &Path) -> io::Result<()> {
    let (old, about) = (fs::metadata(file)?, fs::metadata(new)?);
    if (old.uid(), old.gid()) != (about.uid(), about.gid()) {
        std::os::unix::fs::chown(new, Some(old.uid()), Some(old.gid()))?;
    }
    // Where a link is, what it leads to.
    let file = fs::canonicalize(file)?;
    fs::rename(new, &file)?;
    File::open(file.parent().unwrap_or(Path::new("/")))?.sync_all()
}

/// Reads a key file, whatever its rights.
pub(crate) fn read(file: &Path) -> Result<MasterKey, MasterKeyError> {
    let mut text = String::new();
    File::open(file)
        .and_then(|from| from.take(LONGEST).read_to_string(&mut text))
        .map_err(|source| MasterKeyError::Read {
            file: file.to_owned(),
            source,
        })?;
    let text = Secret::new(text);
    MasterKey::parse(text.expose()).map_err(|source| MasterKeyError::NoKey {
        file: file.to_owned(),
        source,
    })
}

/// Refuses a file that others may read or write.
fn private(file: &Path) -> Result<(), MasterKeyError> {
    let about = fs::metadata(file).map_err(|source| MasterKeyError::Read {
        file: file.to_owned(),
        source,
    })?;
    let (mode, owner) = (about.mode() & 0o7777, about.uid());
    let process = rustix::process::geteuid().as_raw();
    if mode & 0o077 != 0 {
        return Err(MasterKeyError::Mode {
            file: file.to_owned(),
            mode,
        });
    }
    // Root reads everything anyhow.
    if owner != process && owner != 0 {
        return Err(MasterKeyError::Owner {
            file: file.to_owned(),
            owner,
            process,
        });
    }
    Ok(())
}

fn is_inside(file: &Path, folder: &Path) -> bool {
    let real = |path: &Path| {
        fs::canonicalize(path)
            .or_else(|_| std::path::absolute(path))
            .unwrap_or_else(|_| path.to_owned())
    };
    let parent = file
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    real(parent.unwrap_or(Path::new("."))).starts_with(real(folder))
        || real(file).starts_with(real(folder))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn place(&self, given: &str) -> KeyPlace {
            let given = if given.is_empty() {
                PathBuf::new()
            } else {
                self.path(given)
            };
            let (settings, data) = (self.path("strowger.toml"), self.path("data"));
            KeyPlace::new(None, &given, Some(&settings), &data)
        }
    }

    fn mode(file: &Path, mode: u32) {
        fs::set_permissions(file, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_key_is_made_once_beside_the_settings_and_found_again() {
        let folder = Folder::new();
        let place = folder.place("");
        assert!(place.read().unwrap().is_none());
        let key = place.find_or_make(&[]).unwrap();
        let file = folder.path(NAME);
        assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o600);
        assert_eq!(folder.place("").find_or_make(&[key.id()]).unwrap(), key);
        assert_eq!(place.find_or_make(&[]).unwrap(), key, "not a second one");
        let again = make(&file);
        assert!(
            matches!(again, Err(MasterKeyError::Write { .. })),
            "overwritten"
        );
    }

    #[test]
    fn a_key_that_is_wanted_is_not_replaced_by_a_new_one() {
        let folder = Folder::new();
        let wanted = MasterKey::from_octets([7; 32]).id();
        let error = folder.place("").find_or_make(&[wanted]).unwrap_err();
        assert!(error.to_string().contains(&wanted.to_string()), "{error}");
        assert!(!folder.path(NAME).exists());
    }

    #[test]
    fn a_file_that_others_may_read_or_that_is_no_key_is_refused() {
        let folder = Folder::new();
        let (file, place) = (folder.path("other.key"), folder.place("other.key"));
        make(&file).unwrap();
        for open in [0o640, 0o604, 0o660, 0o666, 0o644] {
            mode(&file, open);
            let error = place.read().unwrap_err();
            assert!(
                error.to_string().contains(&format!("{open:04o}")),
                "{error}"
            );
        }
        mode(&file, 0o400);
        assert!(place.read().unwrap().is_some());
        mode(&file, 0o600);
        fs::write(&file, "not a key").unwrap();
        assert!(matches!(place.read(), Err(MasterKeyError::NoKey { .. })));
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        mode(&file, 0o700);
        assert!(matches!(place.read(), Err(MasterKeyError::Read { .. })));
    }

    #[test]
    fn a_key_in_the_folder_of_the_data_is_refused() {
        let folder = Folder::new();
        for file in ["data/strowger.key", "data/store/key"] {
            let error = folder.place(file).read().unwrap_err();
            assert!(matches!(error, MasterKeyError::Inside { .. }), "{error}");
        }
        // Nor by another way into it.
        fs::create_dir(folder.path("data")).unwrap();
        symlink(folder.path("data"), folder.path("way")).unwrap();
        let error = folder.place("way/strowger.key").read().unwrap_err();
        assert!(matches!(error, MasterKeyError::Inside { .. }), "{error}");
        make(&folder.path("data/key")).unwrap();
        symlink(folder.path("data/key"), folder.path("key")).unwrap();
        let error = folder.place("key").read().unwrap_err();
        assert!(matches!(error, MasterKeyError::Inside { .. }), "{error}");
    }

    #[test]
    fn a_credential_goes_before_the_file() {
        let folder = Folder::new();
        let credentials = folder.path("credentials");
        let place = || {
            let (settings, data) = (folder.path("strowger.toml"), folder.path("data"));
            KeyPlace::new(Some(&credentials), Path::new(""), Some(&settings), &data)
        };
        let file = place().find_or_make(&[]).unwrap();
        let credential = make(&credentials.join(NAME)).unwrap();
        // systemd gives the unit's user the right to read by other means than its owner.
        mode(&credentials.join(NAME), 0o440);
        assert_ne!(file, credential);
        assert_eq!(place().read().unwrap(), Some(credential));
        assert_eq!(place().place(), credentials.join(NAME));
        assert_eq!(place().file(), None);
    }

    #[test]
    fn without_settings_the_key_is_where_settings_would_be() {
        let place = KeyPlace::new(None, Path::new(""), None, Path::new("/var/lib/strowger"));
        assert_eq!(place.place(), Path::new("/etc/strowger/strowger.key"));
        let here = KeyPlace::new(
            None,
            Path::new(""),
            Some(Path::new("strowger.toml")),
            Path::new("/nowhere"),
        );
        assert_eq!(here.place(), Path::new("strowger.key"));
    }
}
