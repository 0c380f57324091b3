//! `strowger init`.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use clap::Args;

use super::conversation::ask;
use crate::failure::Failure;
use crate::master_key;
use crate::print;
use crate::settings::DEFAULT_FILE;

#[derive(Debug, Args)]
pub(super) struct Init {
    /// The folder to write to
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Ask for the application, the folder of the data and the public address, and write them in; an empty answer leaves the default
    #[arg(long)]
    ask: bool,
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
        let text = if self.ask {
            if path.exists() {
                return Err(Failure::WouldOverwrite(path));
            }
            asked(DEFAULT_FILE)?
        } else {
            DEFAULT_FILE.to_owned()
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
        file.write_all(text.as_bytes()).map_err(failed)?;
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
        let next = if text.contains("\napi_id = ") {
            ""
        } else {
            "enter telegram.api_id and api_hash, then "
        };
        print::line(format_args!(
            "{} written. Next: {next}`strowger trunk add` and `strowger session login`",
            path.display()
        ));
        Ok(())
    }
}

/// The file with what is answered in the place of the defaults.
fn asked(file: &str) -> Result<String, Failure> {
    let mut text = file.to_owned();
    print::note("An empty answer leaves the default.");
    let answer = |question: &str, hidden| -> Result<Option<String>, Failure> {
        let typed = ask(question, hidden)?;
        let typed = typed.expose().trim();
        Ok(Some(typed.to_owned()).filter(|typed| !typed.is_empty()))
    };
    if let Some(dir) = answer("Folder of the data [/var/lib/strowger]: ", false)? {
        text = with(&text, "data", "dir", &dir.into());
    }
    let id = answer(
        "telegram.api_id, of https://my.telegram.org [none]: ",
        false,
    )?;
    if let Some(id) = id {
        let number = id.parse::<i32>().ok().filter(|id| *id > 0);
        let number = number.ok_or(Failure::Usage("api_id is a number such as 12345"))?;
        text = with(&text, "telegram", "api_id", &i64::from(number).into());
        // One without the other is a fault of the settings.
        let hash = answer("telegram.api_hash [none]: ", true)?;
        let hash = hash.filter(|hash| hash.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let hash = hash.ok_or(Failure::Usage("api_hash is made of hexadecimal digits"))?;
        text = with(&text, "telegram", "api_hash", &hash.into());
    }
    let question = "Address at which PBXs find this host, if it is not its own [none]: ";
    if let Some(address) = answer(question, false)? {
        let address = address.parse::<IpAddr>();
        let address = address.map_err(|_| Failure::Usage("an address is one such as 192.0.2.7"))?;
        text = with(&text, "sip", "public_address", &address.to_string().into());
    }
    Ok(text)
}

/// The file with a value where its section has the default of that key in a comment.
fn with(file: &str, section: &str, key: &str, value: &toml::Value) -> String {
    let (head, default) = (format!("[{section}]"), format!("#{key} ="));
    let mut is_inside = false;
    let lines = file.lines().map(|line| {
        if line.starts_with('[') {
            is_inside = line.trim_end() == head;
        }
        if is_inside && line.starts_with(&default) {
            format!("{key} = {value}\n")
        } else {
            format!("{line}\n")
        }
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_take_the_place_of_the_defaults_of_their_section() {
        let text = with(DEFAULT_FILE, "sip", "public_address", &"192.0.2.7".into());
        let text = with(&text, "data", "dir", &"/srv/a \"b\"".into());
        let text = with(&text, "telegram", "api_id", &12_i64.into());
        let read: toml::Table = text.parse().unwrap();
        assert_eq!(read["sip"]["public_address"].as_str(), Some("192.0.2.7"));
        assert_eq!(read["data"]["dir"].as_str(), Some("/srv/a \"b\""));
        assert_eq!(read["telegram"]["api_id"].as_integer(), Some(12));
        // The same key of another section stays as it is.
        assert!(read["telegram"].get("public_address").is_none(), "{text}");
        assert_eq!(text.lines().count(), DEFAULT_FILE.lines().count());
    }
}
