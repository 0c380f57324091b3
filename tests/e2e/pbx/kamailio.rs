//! Kamailio as a provider: registrar and proxy, from the tree that `tests/peers/root.sh` makes.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::process::launcher;

/// A running Kamailio.
#[derive(Debug)]
pub(crate) struct Kamailio {
    dir: PathBuf,
    port: u16,
}

impl Kamailio {
    /// Starts one on a port that was handed out before; `more` are options of `kamailio.py start`.
    pub(crate) fn on(dir: &Path, port: u16, more: &[&str]) -> Self {
        let dir = dir.join("kamailio");
        fs::create_dir_all(&dir).unwrap();
        let port_text = port.to_string();
        let mut args = vec!["start", "--dir", dir.to_str().unwrap(), "--sip", &port_text];
        args.extend(more);
        launcher("kamailio.py", &args).unwrap_or_else(|why| panic!("{why}"));
        Self { dir, port }
    }

    /// Its SIP address.
    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// The requests it has seen with this method, one line each: number, source, digest user and Route.
    pub(crate) fn seen(&self, method: &str) -> Vec<String> {
        let text = fs::read(self.dir.join("kamailio.out")).unwrap_or_default();
        let mark = format!("SEEN {method} ");
        let text = String::from_utf8_lossy(&text);
        let lines = text.lines().filter(|line| line.contains(&mark));
        lines.map(str::to_owned).collect()
    }
}

impl Drop for Kamailio {
    fn drop(&mut self) {
        launcher(
            "kamailio.py",
            &["stop", "--dir", self.dir.to_str().unwrap()],
        )
        .ok();
    }
}
