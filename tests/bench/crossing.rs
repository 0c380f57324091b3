//! A switch between two PBXs, `a` and `b`, and no Telegram: calls of the first leave by the second.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;

use crate::deadline::{s, until};
use crate::house::command;
use crate::http::Http;
use crate::ports;
use crate::process::Process;

/// The switch, and the addresses of both.
pub(crate) struct Crossing {
    pub(crate) switch: Process,
    pub(crate) http: Http,
    pub(crate) sip: SocketAddr,
    pub(crate) a: SocketAddr,
    pub(crate) b: SocketAddr,
}

impl Crossing {
    /// Starts it as `run` is about to, with further lines of the settings, of the record of each of the two, and of records; it is ready when this
    /// returns.
    pub(crate) fn start(
        dir: &Path,
        mut run: Command,
        settings: &str,
        trunk: &str,
        records: &str,
    ) -> Self {
        fs::create_dir_all(dir).unwrap();
        let [sip, admin, a, b] = std::array::from_fn(|_| ports::one());
        let settings = format!(
            "data.dir = \"{}\"\nsip.udp = \"127.0.0.1:{sip}\"\nadmin.listen = \"127.0.0.1:{admin}\"\n\
             rtp.address = \"127.0.0.1\"\nrtp.range = \"30000-65000\"\nlog.level = \"warn\"\n{settings}",
            dir.join("data").display()
        );
        let pbx = |name: &str, port: u16| {
            format!(
                "[[trunk]]\nname = \"{name}\"\nkind = \"peer\"\naddress = \"127.0.0.1:{port}\"\ncodecs = [\"alaw\"]\n{trunk}\n"
            )
        };
        let route = "[[route]]\ntrunk = \"a\"\nto = \"b\"\n\n";
        let records = pbx("a", a) + &pbx("b", b) + route + records;
        fs::write(dir.join("strowger.toml"), settings).unwrap();
        fs::write(dir.join("records.toml"), records).unwrap();
        command(dir, &["apply", "records.toml"], "");
        run.current_dir(dir)
            .args(["--config", "strowger.toml", "run"]);
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut crossing = Self {
            switch: Process::start("strowger", dir, &mut run, false),
            http: Http::new(format!("http://127.0.0.1:{admin}")),
            sip: local(sip),
            a: local(a),
            b: local(b),
        };
        until("the switch to be ready", s(20), || {
            assert!(crossing.switch.is_running(), "{}", crossing.switch.log());
            (crossing.http.text("/readyz")?.0 == 200).then_some(())
        });
        crossing
    }
}
