//! The switch under measurement and the Telegram peer: their processes.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use serde_json::json;

use crate::deadline::{s, until};
use crate::http::Http;
use crate::metrics::Metrics;
use crate::peer::{self, Orders, Said};
use crate::ports;
use crate::process::{Process, said};
use crate::telegram_server::Server;
use crate::track::CallReport;

pub(crate) const STROWGER: &str = env!("CARGO_BIN_EXE_strowger");
/// The account that makes the calls.
const GATEWAY: &str = "gateway";

/// Telegram's servers, the switch, and the addresses of both.
pub(crate) struct House {
    pub(crate) telegram: Server,
    pub(crate) sip: SocketAddr,
    /// The address the PBX is known by.
    pub(crate) pbx: SocketAddr,
    switch: Process,
    admin: Http,
    dir: PathBuf,
}

impl House {
    /// Starts Telegram and the switch, with room for so many calls; both are ready when this returns.
    pub(crate) fn start(dir: &Path, calls: usize, frame_ms: u32) -> Self {
        Self::start_with(dir, calls, frame_ms, &[GATEWAY.to_owned()])
    }

    /// The same with these accounts instead of the one; calls of the PBX go to the first.
    pub(crate) fn start_with(dir: &Path, calls: usize, frame_ms: u32, accounts: &[String]) -> Self {
        fs::create_dir_all(dir).unwrap();
        let telegram = Server::start(dir);
        let count = u16::try_from(calls * 2 + 20).unwrap();
        let (sip, admin, pbx, rtp) = (
            ports::one(),
            ports::one(),
            ports::one(),
            ports::block(count),
        );
        let settings = format!(
            "data.dir = \"{}\"\nsip.udp = \"127.0.0.1:{sip}\"\nadmin.listen = \"127.0.0.1:{admin}\"\n\
             rtp.address = \"127.0.0.1\"\nrtp.range = \"{rtp}-{}\"\nlog.level = \"warn\"\n\
             telegram.api_id = 1\ntelegram.api_hash = \"0123456789abcdef0123456789abcdef\"\n\
             telegram.media_address = \"127.0.0.1\"\ntelegram.allow_loopback = true\ntelegram.frame_ms = {frame_ms}\n\
             telegram.pace = {{ calls_per_minute = 0, phones_per_hour = 0, usernames_per_hour = 0 }}\n\
             telegram.test_dc = {{ id = {}, address = \"{}\" }}\n",
            dir.join("data").display(),
            rtp + count - 1,
            telegram.dc(),
            telegram.address()
        );
        let mut records = format!(
            "[[trunk]]\nname = \"pbx\"\nkind = \"peer\"\naddress = \"127.0.0.1:{pbx}\"\ncodecs = [\"alaw\"]\n"
        );
        for (n, name) in accounts.iter().enumerate() {
            let phone = account_phone(n);
            write!(
                records,
                "\n[[session]]\nname = \"{name}\"\nphone = \"+{phone}\"\n"
            )
            .unwrap();
            telegram.account(json!({"username": name, "first_name": name, "phone": phone}));
        }
        if let Some(first) = accounts.first() {
            write!(
                records,
                "\n[[route]]\ntrunk = \"pbx\"\nsession = \"{first}\"\n"
            )
            .unwrap();
        }
        fs::write(dir.join("strowger.toml"), settings).unwrap();
        fs::write(dir.join("records.toml"), records).unwrap();
        command(dir, &["apply", "records.toml"], "");
        for (n, name) in accounts.iter().enumerate() {
            let (phone, key) = (format!("+{}", account_phone(n)), telegram.new_key());
            let login = [
                "session",
                "login",
                name,
                "--phone",
                &phone,
                "--test-key",
                &key,
            ];
            command(dir, &login, "12345\n");
        }
        let mut run = Command::new(STROWGER);
        run.current_dir(dir)
            .args(["--config", "strowger.toml", "run"]);
        let mut house = Self {
            telegram,
            sip: SocketAddr::from((Ipv4Addr::LOCALHOST, sip)),
            pbx: SocketAddr::from((Ipv4Addr::LOCALHOST, pbx)),
            switch: Process::start("strowger", dir, &mut run, false),
            admin: Http::new(format!("http://127.0.0.1:{admin}")),
            dir: dir.to_owned(),
        };
        until("the accounts to be up", s(60), || {
            house.assert_running();
            let up = house.metrics()?.sum("strowger_telegram_session_up");
            (up > accounts.len() as f64 - 0.5).then_some(())
        });
        house
    }

    /// The process of the switch.
    pub(crate) fn pid(&self) -> u32 {
        self.switch.id()
    }

    /// What `/metrics` says now.
    pub(crate) fn metrics(&self) -> Option<Metrics> {
        let (status, text) = self.admin.text("/metrics")?;
        (status == 200).then(|| Metrics::parse(&text))
    }

    /// Waits until every account has all that it asks for when it comes up.
    pub(crate) fn wait_settled(&self) {
        until("the accounts to have settled", s(60), || {
            let metrics = self.metrics()?;
            let up = metrics.sum("strowger_telegram_session_up");
            // What the next call needs is asked for last, and is all that belongs to calls so far.
            let count = "strowger_telegram_rpc_duration_seconds_count";
            let answered = metrics.sum_of(count, &[("group", "call")]);
            (answered > up - 0.5).then_some(())
        });
    }

    /// Waits until the store has been flushed once more: what was told to it before is on disk.
    pub(crate) fn wait_flushed(&self) {
        let flushes = || {
            let labels = [("result", "ok")];
            Some(
                self.metrics()?
                    .sum_of("strowger_store_flushes_total", &labels),
            )
        };
        let before = until("/metrics", s(5), flushes);
        until("a flush", s(20), || {
            (flushes()? > before + 0.5).then_some(())
        });
    }

    /// Ends the program when the switch has ended or panicked.
    pub(crate) fn assert_running(&mut self) {
        let log = self.switch.log();
        assert!(
            self.switch.is_running() && !log.contains("panicked at"),
            "the switch has ended:\n{log}"
        );
    }

    /// Makes a Telegram user whose phone rings, and who does not answer.
    pub(crate) fn ringing(&self, name: &str) {
        let phone = format!("1556{:07}", 1);
        let behaviour = json!({"on_call": "ring", "ring_delay": 0.01});
        let account = json!({"username": name, "first_name": name, "phone": phone, "scripted": true, "behaviour": behaviour});
        self.telegram.account(account);
    }

    /// Makes the Telegram users; each answers at once. Their account numbers.
    pub(crate) fn users(&self, names: &[String]) -> Vec<u64> {
        let behaviour = json!({"on_call": "accept", "ring_delay": 0.01, "delay": 0.02});
        names
            .iter()
            .enumerate()
            .map(|(n, name)| {
                let phone = format!("1555{:07}", n + 100);
                let account = json!({"username": name, "first_name": name, "phone": phone, "scripted": true, "behaviour": behaviour});
                self.telegram.http().post("/accounts", &account)["id"]
                    .as_u64()
                    .unwrap()
            })
            .collect()
    }

    /// Ends the switch as systemd would and tells what it said.
    pub(crate) fn stop(mut self) -> String {
        self.switch.terminate(s(20));
        self.switch.log()
    }

    /// Where the logs are.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }
}

/// The number of an account of the switch, without its plus.
fn account_phone(n: usize) -> String {
    format!("1557{n:07}")
}

pub(crate) fn command(dir: &Path, args: &[&str], input: &str) {
    let mut child = Command::new(STROWGER)
        .current_dir(dir)
        .args(["--config", "strowger.toml"])
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).ok();
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "strowger {}: {}",
        args.join(" "),
        said(&output)
    );
}

/// The process that plays the Telegram users.
pub(crate) struct Peer {
    child: Child,
    orders: ChildStdin,
    events: Receiver<Said>,
    connected: usize,
    up: Vec<Up>,
}

/// When the media of a call came up, nanoseconds of the wall clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Up {
    pub(crate) call: usize,
    /// When its user had the key, which is after the switch had it.
    pub(crate) agreed: u64,
    pub(crate) connected: u64,
}

impl Peer {
    /// Starts it; it takes the calls as they come.
    pub(crate) fn start(dir: &Path, orders: &Orders) -> Self {
        let log = fs::File::create(dir.join("peer.log")).unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg(peer::WORD)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .process_group(0)
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        writeln!(stdin, "{}", serde_json::to_string(orders).unwrap()).unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (sender, events) = channel();
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if sender.send(serde_json::from_str(&line).unwrap()).is_err() {
                    return;
                }
            }
        });
        Self {
            child,
            orders: stdin,
            events,
            connected: 0,
            up: Vec::new(),
        }
    }

    /// How many calls have media.
    pub(crate) fn connected(&mut self) -> usize {
        while let Ok(event) = self.events.try_recv() {
            match event {
                Said::Connected(count) => self.connected = self.connected.max(count),
                // A call that was up may end.
                Said::Failed(call, _) if self.up.iter().any(|up| up.call == call) => {}
                Said::Failed(call, why) => panic!("the Telegram user of call {call}: {why}"),
                Said::Up {
                    call,
                    agreed,
                    connected,
                } => self.up.push(Up {
                    call,
                    agreed,
                    connected,
                }),
                Said::Report(_) => {}
            }
        }
        self.connected
    }

    /// When the media of each call came up, so far.
    pub(crate) fn up(&mut self) -> &[Up] {
        self.connected();
        &self.up
    }

    /// Lets the users fall silent; what they have received.
    pub(crate) fn report(&mut self) -> Vec<CallReport> {
        writeln!(self.orders, "stop").unwrap();
        loop {
            match self.events.recv_timeout(s(60)) {
                Ok(Said::Report(reports)) => return reports,
                Ok(_) => {}
                Err(why) => panic!("the Telegram peer says nothing: {why}"),
            }
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
