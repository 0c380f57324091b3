//! Asterisk, from the tree that `tests/peers/root.sh` makes.

use std::fs;
use std::path::{Path, PathBuf};

use crate::ports;
use crate::process::launcher;
use crate::tone::Recording;

/// A running Asterisk. The numbers it answers are listed in `tests/peers/README.md`.
#[derive(Debug)]
pub(crate) struct Asterisk {
    dir: PathBuf,
}

impl Asterisk {
    /// Starts one on a port of its own; `more` are options of `asterisk.py start`.
    pub(crate) fn start(dir: &Path, more: &[&str]) -> Self {
        Self::on(dir, ports::one(), more)
    }

    /// The same on a port that was handed out before.
    pub(crate) fn on(dir: &Path, port: u16, more: &[&str]) -> Self {
        let dir = dir.join("asterisk");
        fs::create_dir_all(&dir).unwrap();
        let rtp = ports::block(100);
        let mut args = vec![
            "start".to_owned(),
            "--dir".into(),
            dir.to_str().unwrap().into(),
        ];
        args.extend([
            "--sip".into(),
            port.to_string(),
            "--rtp".into(),
            format!("{rtp}-{}", rtp + 99),
        ]);
        args.extend(more.iter().map(|&word| word.to_owned()));
        launcher("asterisk.py", &args).unwrap_or_else(|why| panic!("{why}"));
        Self { dir }
    }

    /// What the command of its console prints.
    pub(crate) fn cli(&self, command: &str) -> String {
        let output = std::process::Command::new(crate::process::PYTHON)
            .arg(format!("{}/asterisk.py", crate::process::PEERS))
            .args(["cli", "--dir", self.dir.to_str().unwrap(), command])
            .output()
            .unwrap();
        crate::process::said(&output)
    }

    /// Writes every SIP message into its log from now on.
    pub(crate) fn trace(&self) {
        self.cli("pjsip set logger on");
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        let text = fs::read(self.dir.join("log/full")).unwrap_or_default();
        String::from_utf8_lossy(&text).into_owned()
    }

    /// The newest recording whose name ends like this.
    pub(crate) fn recording(&self, ending: &str) -> Option<Recording> {
        let mut files: Vec<PathBuf> = fs::read_dir(self.dir.join("rec"))
            .ok()?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.to_string_lossy().ends_with(ending))
            .collect();
        files.sort();
        Recording::read(files.last()?)
    }
}

impl Drop for Asterisk {
    fn drop(&mut self) {
        launcher(
            "asterisk.py",
            &["stop", "--dir", self.dir.to_str().unwrap()],
        )
        .ok();
    }
}
