//! Finds the file and lays the layers over each other.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use config::{Config, Environment, File, FileFormat};

use store::{OpenError, SledStore};

use super::Settings;
use super::check::{Check, PREFIX};
use crate::fault::{Fault, FaultKind, Place};
use crate::master_key::KeyPlace;
use crate::recovery;

/// Where settings come from.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sources {
    /// `--config`, or `STROWGER_CONFIG`.
    pub(crate) file: Option<PathBuf>,
    /// `--data`.
    pub(crate) data: Option<PathBuf>,
    /// The folder of the credentials that systemd has given (`$CREDENTIALS_DIRECTORY`).
    pub(crate) credentials: Option<PathBuf>,
    /// The variables that are settings.
    pub(crate) variables: BTreeMap<String, String>,
}

impl Sources {
    /// What the command line says, over the environment of this process.
    pub(crate) fn of_process(file: Option<PathBuf>, data: Option<PathBuf>) -> Self {
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| {
                // A value that is no text is shown as such, and its type will refuse it by name.
                Some((
                    name.into_string().ok()?,
                    value.to_string_lossy().into_owned(),
                ))
            })
            .filter(|(name, _)| name.to_ascii_uppercase().starts_with(PREFIX))
            .collect();
        Self {
            file,
            data,
            credentials: std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from),
            variables,
        }
    }
}

/// The settings and the file they were read from.
#[derive(Debug, Clone)]
pub(crate) struct Loaded {
    pub(crate) settings: Settings,
    /// Absent when there was none and the defaults hold.
    pub(crate) file: Option<PathBuf>,
    /// Where the key of the store is.
    pub(crate) key: KeyPlace,
}

impl Loaded {
    /// Opens the store, and tells what that has made.
    pub(crate) fn open_store(&self, tell: impl Fn(&str)) -> Result<SledStore, OpenError> {
        let store = SledStore::open(&self.settings.data.store(), &self.key)?;
        self.key.announce(&store, tell);
        Ok(store)
    }
}

impl Loaded {
    /// The same for the switch itself, which takes the newest backup where the store is damaged.
    pub(crate) fn open_or_recover(&self, tell: impl Fn(&str)) -> Result<SledStore, OpenError> {
        let settings = &self.settings;
        let store = recovery::open(&settings.data.store(), &settings.backups(), &self.key)?;
        self.key.announce(&store, tell);
        Ok(store)
    }
}

/// Reads all layers, or returns every fault there is.
pub(crate) fn load(sources: &Sources) -> Result<Loaded, Vec<Fault>> {
    let file = sources.file.clone().or_else(find);
    let files = file.iter().cloned();
    let files = files.chain(file.as_deref().map(additions).unwrap_or_default());
    let read = files.map(|file| read(&file).map(|text| (file, text)));
    let texts: Vec<(PathBuf, String)> = read
        .collect::<Result<_, _>>()
        .map_err(|fault| vec![fault])?;
    let mut check = Check::new();
    for (file, text) in &texts {
        check.file(&file.display().to_string(), text);
    }
    check.variables(&sources.variables);
    if !check.faults.is_empty() {
        return Err(check.faults);
    }
    let settings = layered(&texts, sources).map_err(|error| {
        vec![Fault {
            place: Place::Nowhere,
            kind: FaultKind::Unreadable {
                what: error.to_string(),
            },
        }]
    })?;
    check.together(&settings);
    if check.faults.is_empty() {
        let data = &settings.data;
        let key = KeyPlace::new(
            sources.credentials.as_deref(),
            &data.key_file,
            file.as_deref(),
            &data.dir,
        );
        Ok(Loaded {
            settings,
            file,
            key,
        })
    } else {
        Err(check.faults)
    }
}

fn layered(
    texts: &[(PathBuf, String)],
    sources: &Sources,
) -> Result<Settings, config::ConfigError> {
    let data = sources
        .data
        .as_ref()
        .map(|dir| dir.to_string_lossy().into_owned());
    let variables = sources
        .variables
        .iter()
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let mut layers = Config::builder().add_source(Config::try_from(&Settings::default())?);
    for (_, text) in texts {
        layers = layers.add_source(File::from_str(text, FileFormat::Toml));
    }
    layers
        // Not `try_parsing`: it would turn a secret that looks like a number into that number.
        .add_source(
            Environment::with_prefix("STROWGER")
                .prefix_separator("__")
                .separator("__")
                .source(Some(variables)),
        )
        .set_override_option("data.dir", data)?
        .build()?
        .try_deserialize()
}

/// The files `*.toml` of the folder `conf.d` beside the settings, in the order of their names; none where there is no such folder.
fn additions(file: &Path) -> Vec<PathBuf> {
    let folder = file.parent().unwrap_or(Path::new("")).join("conf.d");
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let files = entries.map(|entry| entry.path());
    let mut files: Vec<PathBuf> = files
        .filter(|file| file.extension().is_some_and(|ending| ending == "toml"))
        .collect();
    files.sort();
    files
}

fn read(file: &Path) -> Result<String, Fault> {
    std::fs::read_to_string(file).map_err(|error| Fault {
        place: Place::Nowhere,
        kind: FaultKind::Unreadable {
            what: format!(
                "the settings {} cannot be read ({error}): give another file with --config, or write one with `strowger init`",
                file.display()
            ),
        },
    })
}

/// The first file that is there when none was named.
fn find() -> Option<PathBuf> {
    ["strowger.toml", "/etc/strowger/strowger.toml"]
        .map(PathBuf::from)
        .into_iter()
        .find(|file| file.exists())
}
