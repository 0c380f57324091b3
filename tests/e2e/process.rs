//! Programs started by a test, which end with it.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::deadline::{s, within};

/// The folder of the test peers.
pub(crate) const PEERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers");

/// The Python that has what the peers need.
pub(crate) const PYTHON: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/target/peers-venv/bin/python");

/// A running program with a process group of its own; killed when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts it with what it says on standard error, and on standard output unless that is piped, in `DIR/NAME.log`.
    pub(crate) fn start(name: &str, dir: &Path, command: &mut Command, piped: bool) -> Self {
        let log = dir.join(format!("{name}.log"));
        let file = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(if piped {
                Stdio::piped()
            } else {
                file.try_clone().unwrap().into()
            })
            .stderr(file)
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        Self {
            name: name.to_owned(),
            child,
            log,
        }
    }

    /// Its standard output, once, when it was asked for.
    pub(crate) fn stdout(&mut self) -> std::process::ChildStdout {
        self.child.stdout.take().unwrap()
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Its exit status, if it ends within the limit.
    pub(crate) fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        within(limit, || self.child.try_wait().unwrap())
    }

    /// Asks it to end; kills it when it has not after the limit.
    pub(crate) fn terminate(&mut self, limit: Duration) -> Option<ExitStatus> {
        if self.is_running() {
            signal("TERM", self.child.id());
        }
        let status = self.wait(limit);
        if status.is_none() {
            self.kill();
        }
        status
    }

    /// Ends it and its children on the spot, as a power failure would.
    pub(crate) fn kill(&mut self) {
        if self.is_running() {
            signal("KILL", self.child.id());
            self.wait(s(5));
        }
    }

    /// Sends it a signal, such as `STOP`.
    pub(crate) fn signal(&self, name: &str) {
        signal(name, self.child.id());
    }

    /// What it has written.
    pub(crate) fn log(&self) -> String {
        fs::read(&self.log).map_or_else(
            |_| String::new(),
            |text| String::from_utf8_lossy(&text).into_owned(),
        )
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!(
                "--- {}: the end of {}\n{}",
                self.name,
                self.log.display(),
                tail(&self.log(), 60)
            );
        }
    }
}

/// Sends a signal to a process group.
fn signal(name: &str, group: u32) {
    Command::new("kill")
        .args([&format!("-{name}"), "--", &format!("-{group}")])
        .status()
        .unwrap();
}

/// The last lines of a text.
pub(crate) fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// Runs a launcher of `tests/peers` to its end; the last line it prints is JSON.
pub(crate) fn launcher<A: AsRef<str>>(script: &str, args: &[A]) -> Result<Value, String> {
    let output = Command::new(PYTHON)
        .arg(format!("{PEERS}/{script}"))
        .args(args.iter().map(AsRef::as_ref))
        .output()
        .unwrap_or_else(|error| panic!("{PYTHON}: {error}; run `make setup-tests`"));
    let said = said(&output);
    let last = said
        .lines()
        .rev()
        .find_map(|line| serde_json::from_str(line).ok())
        .unwrap_or(Value::Null);
    if output.status.success() {
        Ok(last)
    } else {
        Err(format!("{script}: {said}"))
    }
}

/// Both outputs of a program that has ended.
pub(crate) fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}
