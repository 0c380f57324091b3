//! Finds every fault of a file and of the environment, not only the first.
//!
//! Each value is read alone, over the defaults, by the types of the settings themselves: so the messages come from one
//! place, and one bad value does not hide the next.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use config::ConfigBuilder;
use config::builder::DefaultState;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Settings;
use crate::fault::{Fault, FaultKind, Place, Source, blame, meant, plain};

/// The prefix of every variable that is a setting.
pub(super) const PREFIX: &str = "STROWGER__";

/// What was checked so far.
pub(super) struct Check {
    known: toml::Table,
    pub(super) faults: Vec<Fault>,
    /// Where each key was last set, for faults between settings.
    places: BTreeMap<String, Place>,
}

impl Check {
    pub(super) fn new() -> Self {
        Self {
            known: known(),
            faults: Vec::new(),
            places: BTreeMap::new(),
        }
    }

    /// Checks the text of a file.
    pub(super) fn file(&mut self, file: &str, text: &str) {
        // Those of an earlier file come first.
        let mut before = std::mem::take(&mut self.faults);
        let source = Source::new(file, text);
        let (table, errors) = DeTable::parse_recoverable(text);
        self.faults
            .extend(errors.iter().map(|error| source.syntax(error)));
        let known = std::mem::take(&mut self.known);
        self.table(&source, &mut Vec::new(), table.get_ref(), &known);
        self.known = known;
        self.faults.sort_by_key(|fault| fault.place.line());
        self.faults.dedup();
        before.append(&mut self.faults);
        self.faults = before;
    }

    fn table(
        &mut self,
        source: &Source<'_>,
        path: &mut Vec<String>,
        table: &DeTable<'_>,
        known: &toml::Table,
    ) {
        for (key, value) in table {
            let section = path.join(".");
            path.push(key.get_ref().to_string());
            match (known.get(key.get_ref().as_ref()), value.get_ref()) {
                (None, _) => self.faults.push(Fault {
                    place: source.place(key.span().start),
                    kind: FaultKind::UnknownKey {
                        key: key.get_ref().to_string(),
                        section,
                        meant: meant(key.get_ref(), known.keys().map(String::as_str))
                            .or_else(|| elsewhere(key.get_ref())),
                    },
                }),
                (Some(toml::Value::Table(known)), DeValue::Table(inner)) => {
                    self.table(source, path, inner, known);
                }
                (Some(toml::Value::Table(_)), _) => self.faults.push(Fault {
                    place: source.place(value.span().start),
                    kind: FaultKind::NotASection {
                        key: path.join("."),
                    },
                }),
                (Some(_), _) => self.value(source, path, value),
            }
            path.pop();
        }
    }

    fn value(&mut self, source: &Source<'_>, path: &[String], value: &Spanned<DeValue<'_>>) {
        self.places
            .insert(path.join("."), source.place(value.span().start));
        self.faults.extend(blame::<Settings>(source, path, value));
    }

    /// Checks the environment; the names are those of variables that begin with the prefix.
    pub(super) fn variables(&mut self, variables: &BTreeMap<String, String>) {
        for (name, value) in variables {
            let path = name
                .get(PREFIX.len()..)
                .unwrap_or("")
                .to_ascii_lowercase()
                .replace("__", ".");
            let fault = match lookup(&self.known, &path) {
                None => {
                    let known = leaves(&self.known)
                        .into_iter()
                        .map(|path| variable(&path))
                        .collect::<Vec<_>>();
                    Some(FaultKind::UnknownVariable {
                        meant: meant(name, known.iter().map(String::as_str)),
                    })
                }
                Some(toml::Value::Table(_)) => Some(FaultKind::NotASection { key: path.clone() }),
                Some(_) => from_text(&path, value).err().map(|what| FaultKind::Value {
                    key: path.clone(),
                    what,
                }),
            };
            let place = Place::Variable(name.clone());
            self.places.insert(path, place.clone());
            self.faults.extend(fault.map(|kind| Fault { place, kind }));
        }
    }

    /// Checks what no setting can know alone.
    pub(super) fn together(&mut self, settings: &Settings) {
        let mut fault = |key: &str, what: String| {
            let place = self.places.get(key).cloned().unwrap_or(Place::Nowhere);
            self.faults.push(Fault {
                place,
                kind: FaultKind::Value {
                    key: key.to_owned(),
                    what,
                },
            });
        };
        let telegram = &settings.telegram;
        match (telegram.api_id, telegram.api_hash.expose().as_str()) {
            (0, "") => {}
            (0, _) => fault(
                "telegram.api_hash",
                "telegram.api_id is missing; both come from my.telegram.org".into(),
            ),
            (_, "") => fault(
                "telegram.api_id",
                "telegram.api_hash is missing; both come from my.telegram.org".into(),
            ),
            (_, hash) if hash.len() != 32 || !hash.bytes().all(|b| b.is_ascii_hexdigit()) => {
                fault(
                    "telegram.api_hash",
                    "expected the 32 hexadecimal digits that my.telegram.org shows".into(),
                );
            }
            _ => {}
        }
        match (telegram.test_dc.id, telegram.test_dc.address) {
            (0, Some(_)) => fault(
                "telegram.test_dc.address",
                "telegram.test_dc.id is missing".into(),
            ),
            (1.., None) => fault(
                "telegram.test_dc.id",
                "telegram.test_dc.address is missing".into(),
            ),
            _ => {}
        }
        if let Some(range) = telegram
            .media_range
            .filter(|range| range.overlaps(settings.rtp.range))
        {
            fault(
                "telegram.media_range",
                format!("{range} shares ports with rtp.range {}", settings.rtp.range),
            );
        }
        let sip = &settings.sip;
        let ours = sip.udp.iter().map(|address| ("sip.udp", *address));
        let ours = ours.chain(sip.tcp().into_iter().map(|address| ("sip.tcp", address)));
        for (key, address) in
            ours.filter(|(key, address)| *key == "sip.udp" || !sip.udp.contains(address))
        {
            if settings.rtp.range.contains(address.port()) {
                fault(
                    key,
                    format!(
                        "port {} lies in rtp.range {}",
                        address.port(),
                        settings.rtp.range
                    ),
                );
            }
        }
        let files = [&sip.tls_certificate, &sip.tls_key].map(|file| file.as_os_str().is_empty());
        match files {
            [false, true] => fault(
                "sip.tls_certificate",
                "sip.tls_key is missing: the private key of the certificate".into(),
            ),
            [true, false] => fault(
                "sip.tls_key",
                "sip.tls_certificate is missing: the certificate of the key".into(),
            ),
            [true, true] if matches!(&sip.tls, super::Listen::At(addresses) if !addresses.is_empty()) => {
                fault(
                    "sip.tls",
                    "TLS needs a certificate: set sip.tls_certificate and sip.tls_key".into(),
                )
            }
            _ => {}
        }
        for (key, file) in [
            ("sip.tls_certificate", &sip.tls_certificate),
            ("sip.tls_key", &sip.tls_key),
            ("sip.tls_ca", &sip.tls_ca),
        ] {
            if !file.as_os_str().is_empty()
                && let Err(error) = std::fs::metadata(file)
            {
                let file = file.display();
                fault(key, format!("the file {file} cannot be read: {error}"));
            }
        }
        let streams = [("sip.tcp", sip.tcp()), ("sip.tls", sip.tls())];
        for (key, addresses) in &streams {
            for address in addresses {
                let ours = settings.admin.listen;
                if clash(*address, ours) {
                    let what = format!("{ours} is that of {key} {address} already");
                    fault("admin.listen", what);
                }
            }
        }
        let [(_, tcp), (_, tls)] = &streams;
        for address in tls {
            if tcp.iter().any(|other| clash(*other, *address)) {
                fault("sip.tls", format!("{address} is that of sip.tcp already"));
            }
        }
        if settings.data.dir.as_os_str().is_empty() {
            fault("data.dir", "expected a folder".into());
        }
    }
}

/// Whether two sockets of the same kind cannot be bound at the same time.
fn clash(one: SocketAddr, other: SocketAddr) -> bool {
    // Port 0 is whichever is free.
    one.port() != 0
        && one.port() == other.port()
        && (one.ip() == other.ip()
            || one.is_ipv4() == other.is_ipv4()
                && (one.ip().is_unspecified() || other.ip().is_unspecified()))
}

/// Every key with its default.
pub(super) fn known() -> toml::Table {
    let Ok(known) = toml::Table::try_from(Settings::default()) else {
        unreachable!("the defaults are a table: a test prints them")
    };
    known
}

/// The full names of all keys.
pub(super) fn leaves(table: &toml::Table) -> Vec<String> {
    let mut names = Vec::new();
    for (key, value) in table {
        match value {
            toml::Value::Table(inner) => {
                names.extend(
                    leaves(inner)
                        .into_iter()
                        .map(|name| format!("{key}.{name}")),
                );
            }
            _ => names.push(key.clone()),
        }
    }
    names
}

/// The variable of a key.
pub(super) fn variable(path: &str) -> String {
    format!("{PREFIX}{}", path.replace('.', "__").to_ascii_uppercase())
}

/// A key that exists in another section under this name.
fn elsewhere(key: &str) -> Option<String> {
    leaves(&known())
        .into_iter()
        .find(|path| path.rsplit('.').next() == Some(key))
}

fn lookup<'a>(table: &'a toml::Table, path: &str) -> Option<&'a toml::Value> {
    match path.split_once('.') {
        Some((section, rest)) => lookup(table.get(section)?.as_table()?, rest),
        None => table.get(path),
    }
}

/// Reads one value of the environment as the type of its setting.
fn from_text(path: &str, value: &str) -> Result<(), String> {
    let config = config::Config::builder()
        .set_override(path, value)
        .and_then(ConfigBuilder::<DefaultState>::build);
    let read = config.and_then(config::Config::try_deserialize::<Settings>);
    read.map(drop).map_err(|error| plain(&innermost(&error)))
}

fn innermost(error: &config::ConfigError) -> String {
    match error {
        config::ConfigError::At { error, .. } => innermost(error),
        config::ConfigError::Type {
            unexpected,
            expected,
            ..
        } => {
            format!("invalid type: {unexpected}, expected {expected}")
        }
        other => other.to_string(),
    }
}
