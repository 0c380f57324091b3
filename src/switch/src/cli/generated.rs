//! What is made from the tables of the program itself: completions, man pages, the description of the HTTP interface, the list of metrics, and the unit of
//! systemd.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory, Subcommand};
use clap_complete::Shell;

use super::{Cli, Operator};
use crate::api;
use crate::failure::Failure;
use crate::print::{self, Output, Table};
use crate::settings::Settings;

/// How long the unit waits beyond the calls that may go on, seconds.
const END: u64 = 60;
/// The shortest time that it waits, seconds.
const SHORTEST_END: u64 = 120;
/// Where packages put the program.
const PROGRAM: &str = "/usr/bin/strowger";
/// The folder that systemd makes for it.
const STATE: &str = "/var/lib/strowger";

#[derive(Debug, Args)]
pub(super) struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Debug, Args)]
pub(super) struct Man {
    /// The folder to write to, made if it is not there
    dir: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(super) enum Metrics {
    /// List every family of `/metrics`: its kind, its labels, and what it means
    List {
        /// As the page docs/metrics.md
        #[arg(long)]
        markdown: bool,
    },
}

#[derive(Debug, Args)]
pub(super) struct Unit {
    /// Where the program is
    #[arg(long, value_name = "FILE", default_value = PROGRAM)]
    program: PathBuf,
}

impl Completions {
    pub(super) fn run(&self) {
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "strowger", &mut text);
        print::raw(&String::from_utf8_lossy(&text));
    }
}

impl Man {
    pub(super) fn run(&self) -> Result<(), Failure> {
        let failed = |source| Failure::File {
            path: self.dir.clone(),
            source,
        };
        fs::create_dir_all(&self.dir).map_err(failed)?;
        // What one command makes of all its options is on its own page.
        clap_mangen::generate_to(Cli::command(), &self.dir).map_err(failed)?;
        let pages = fs::read_dir(&self.dir).map_err(failed)?.count();
        print::line(format_args!("{pages} pages in {}", self.dir.display()));
        Ok(())
    }
}

impl Metrics {
    pub(super) fn run(&self, operator: &Operator) {
        let Metrics::List { markdown } = self;
        let metrics = metrics::Metrics::new(env!("CARGO_PKG_VERSION"));
        let families = metrics.families();
        if *markdown {
            return print::raw(&metrics::page(families));
        }
        if operator.output == Output::Json {
            let families = families.iter().map(|family| {
                let labels = family.labels.iter().map(|label| label.name);
                serde_json::json!({
                    "name": family.name, "type": family.kind_name(), "labels": labels.collect::<Vec<_>>(), "help": family.help,
                })
            });
            return print::json(&families.collect::<Vec<_>>());
        }
        let mut table = Table::new(["family", "type", "labels", "meaning"]);
        for family in families {
            let labels = family.labels.iter().map(|label| label.name);
            table.row([
                family.name.clone(),
                family.kind_name(),
                labels.collect::<Vec<_>>().join(","),
                family.help.to_owned(),
            ]);
        }
        table.print(operator.output, "there are none");
    }
}

/// Prints the description of the HTTP interface of this version.
pub(super) fn openapi() {
    print::raw(&api::document());
}

impl Unit {
    pub(super) fn run(&self, operator: &Operator) -> Result<(), Failure> {
        let loaded = operator.loaded()?;
        let settings = loaded.settings;
        // Where it is looked for anyway it need not be named.
        let usual = Path::new("/etc/strowger/strowger.toml");
        let file = loaded.file.as_deref().filter(|file| *file != usual);
        let file = file.map(|file| std::path::absolute(file).unwrap_or_else(|_| file.to_owned()));
        print::raw(&unit(&self.program, file.as_deref(), &settings));
        Ok(())
    }
}

/// The unit of a switch with these settings.
fn unit(program: &Path, file: Option<&Path>, settings: &Settings) -> String {
    let config = file.map(|file| format!(" --config {}", escaped(file)));
    let command = escaped(program) + &config.unwrap_or_default();
    let stop = (u64::from(settings.shutdown.drain_s) + END).max(SHORTEST_END);
    let folders = [&settings.data.dir, &settings.backup.dir];
    let folders = folders.into_iter().filter(|dir| {
        let is_ours = dir.starts_with(STATE) || dir.as_os_str().is_empty();
        !is_ours
    });
    let folders: Vec<String> = folders.map(|dir| escaped(dir)).collect();
    let writes = if folders.is_empty() {
        String::new()
    } else {
        format!("ReadWritePaths={}\n", folders.join(" "))
    };
    let capabilities = if is_privileged(settings) {
        // Ports below 1024 are not everybody's.
        "AmbientCapabilities=CAP_NET_BIND_SERVICE\nCapabilityBoundingSet=CAP_NET_BIND_SERVICE\n"
    } else {
        "CapabilityBoundingSet=\n"
    };
    format!(
        "[Unit]\n\
         Description=Telegram and SIP telephony switch\n\
         Wants=network-online.target time-sync.target\n\
         After=network-online.target time-sync.target\n\
         \n\
         [Service]\n\
         Type=notify\n\
         User=strowger\n\
         Group=strowger\n\
         ExecStartPre={command} check-config\n\
         ExecStart={command} run\n\
         ExecReload=/bin/kill -HUP $MAINPID\n\
         Restart=on-failure\n\
         RestartSec=1\n\
         # Wrong usage and wrong settings do not become right by another start.\n\
         RestartPreventExitStatus=2 3\n\
         WatchdogSec=30\n\
         # Calls that are up may go on for shutdown.drain_s.\n\
         TimeoutStopSec={stop}\n\
         StateDirectory=strowger\n\
         StateDirectoryMode=0700\n\
         ConfigurationDirectory=strowger\n\
         # The key of the secrets, if it shall be readable by root alone:\n\
         # LoadCredential=strowger.key:/etc/strowger/strowger.key\n\
         LimitNOFILE=65536\n\
         {writes}{capabilities}\
         NoNewPrivileges=yes\n\
         ProtectSystem=strict\n\
         ProtectHome=yes\n\
         PrivateTmp=yes\n\
         PrivateDevices=yes\n\
         ProtectClock=yes\n\
         ProtectHostname=yes\n\
         ProtectKernelLogs=yes\n\
         ProtectKernelModules=yes\n\
         ProtectKernelTunables=yes\n\
         ProtectControlGroups=yes\n\
         ProtectProc=invisible\n\
         RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK\n\
         RestrictNamespaces=yes\n\
         RestrictRealtime=yes\n\
         RestrictSUIDSGID=yes\n\
         LockPersonality=yes\n\
         MemoryDenyWriteExecute=yes\n\
         RemoveIPC=yes\n\
         SystemCallArchitectures=native\n\
         SystemCallFilter=@system-service\n\
         SystemCallErrorNumber=EPERM\n\
         UMask=0077\n\
         \n\
         [Install]\n\
         WantedBy=multi-user.target\n"
    )
}

fn is_privileged(settings: &Settings) -> bool {
    let sip = &settings.sip;
    let (tcp, tls) = (sip.tcp(), sip.tls());
    let sockets = sip.udp.iter().chain(tcp.iter()).chain(tls.iter());
    let mut ports = sockets
        .chain([&settings.admin.listen])
        .map(SocketAddr::port);
    ports.any(|port| (1..1024).contains(&port))
}

/// A path as a word of a unit (systemd.service(5), COMMAND LINES; systemd.unit(5), SPECIFIERS).
fn escaped(path: &Path) -> String {
    let mut word = String::new();
    for c in path.display().to_string().chars() {
        match c {
            '%' => word += "%%",
            '$' => word += "$$",
            ' ' => word += "\\x20",
            '"' | '\'' | '\\' => {
                word.push('\\');
                word.push(c);
            }
            c => word.push(c),
        }
    }
    word
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_unit_says_what_its_settings_need() {
        let mut settings = Settings::default();
        let plain = unit(Path::new(PROGRAM), None, &settings);
        assert!(
            plain.contains("ExecStart=/usr/bin/strowger run\n"),
            "{plain}"
        );
        assert!(plain.contains("\nCapabilityBoundingSet=\n"), "{plain}");
        assert!(!plain.contains("ReadWritePaths"), "{plain}");
        settings.data.dir = PathBuf::from("/srv/tele phone");
        settings.backup.dir = PathBuf::from("/mnt/safe");
        settings.shutdown.drain_s = 600;
        settings.admin.listen = SocketAddr::from(([127, 0, 0, 1], 80));
        let file = Path::new("/etc/100%/strowger.toml");
        let wide = unit(Path::new("/opt/strowger"), Some(file), &settings);
        for line in [
            "ExecStartPre=/opt/strowger --config /etc/100%%/strowger.toml check-config",
            "ReadWritePaths=/srv/tele\\x20phone /mnt/safe",
            "TimeoutStopSec=660",
            "AmbientCapabilities=CAP_NET_BIND_SERVICE",
        ] {
            assert!(wide.contains(&format!("\n{line}\n")), "{line}: {wide}");
        }
    }

    #[test]
    fn every_command_has_a_page_and_every_shell_its_completions() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("man1");
        Man { dir: dir.clone() }.run().unwrap();
        for page in ["strowger.1", "strowger-trunk.1", "strowger-trunk-add.1"] {
            let text = fs::read_to_string(dir.join(page)).unwrap();
            assert!(text.contains(".SH SYNOPSIS"), "{page}: {text}");
        }
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "strowger", &mut text);
            let text = String::from_utf8(text).unwrap();
            for word in ["token-file", "reset-password"] {
                assert!(text.contains(word), "{shell}: {word}");
            }
        }
    }

    #[test]
    fn systemd_finds_nothing_amiss_with_a_unit_where_there_is_one() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("strowger");
        fs::write(&program, "#!/bin/sh\n").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(&program, mode).unwrap();
        let text = unit(&program, None, &Settings::default());
        // The user may not be there, and is not what is tried.
        let text = text.replace("=strowger\n", "=root\n");
        let text = text.replace("Directory=root", "Directory=strowger");
        let file = folder.path().join("strowger.service");
        fs::write(&file, text).unwrap();
        let mut verify = Command::new("systemd-analyze");
        let Ok(said) = verify.arg("verify").arg(&file).output() else {
            return;
        };
        let said = String::from_utf8_lossy(&said.stderr).into_owned();
        let ours = said
            .lines()
            .filter(|line| line.contains("strowger.service"));
        assert_eq!(ours.collect::<Vec<_>>(), Vec::<&str>::new(), "{said}");
    }
}
