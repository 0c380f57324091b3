//! How long a change of records takes until calls are decided by it, with ten thousand trunks; and a start with them.

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use crate::deadline::{s, until};
use crate::house::STROWGER;
use crate::http::Http;
use crate::ports;
use crate::process::{Process, said};
use crate::report::{quantile, rounded};

const TRUNKS: usize = 10_000;
const ROUTES: usize = 1_000;
const SESSIONS: usize = 100;
const CHANGES: usize = 50;

const EFFECT_BAR_MS: f64 = 50.0;

/// What was measured, milliseconds.
#[derive(Debug)]
pub(crate) struct Found {
    /// From asking for a change until an INVITE is answered by it: median and p99.
    effect: (f64, f64),
    /// From the start of the process until it is ready.
    start_ms: f64,
    /// Bringing all the records into an empty store.
    apply_ms: f64,
    /// One change by the command line.
    command_ms: f64,
}

fn run(dir: &Path, args: &[&str]) -> String {
    let output = Command::new(STROWGER)
        .current_dir(dir)
        .args(["--config", "strowger.toml"])
        .args(args)
        .output()
        .unwrap();
    assert!(output.status.success(), "{args:?}: {}", said(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn records() -> String {
    let mut text = String::new();
    for n in 0..TRUNKS {
        let [high, low] = u16::try_from(n).unwrap().to_be_bytes();
        writeln!(
            text,
            "[[trunk]]\nname = \"trunk-{n}\"\nkind = \"peer\"\naddress = \"10.1.{high}.{low}:5060\"\n"
        )
        .unwrap();
    }
    for n in 0..SESSIONS {
        writeln!(
            text,
            "[[session]]\nname = \"session-{n}\"\nenabled = false\n"
        )
        .unwrap();
    }
    for n in 0..ROUTES {
        let (trunk, session) = (n * (TRUNKS / ROUTES), n % SESSIONS);
        writeln!(
            text,
            "[[route]]\ntrunk = \"trunk-{trunk}\"\nsession = \"session-{session}\"\n"
        )
        .unwrap();
    }
    text
}

/// A PBX that calls once and tells what it is answered.
struct Caller {
    socket: UdpSocket,
    switch: SocketAddr,
    calls: usize,
}

impl Caller {
    fn answered(&mut self) -> u16 {
        self.calls += 1;
        let (n, here) = (self.calls, self.socket.local_addr().unwrap());
        let request = |method: &str, to_tag: &str| {
            format!(
                "{method} sip:600@{0} SIP/2.0\r\nVia: SIP/2.0/UDP {here};branch=z9hG4bKcommit{n}\r\nMax-Forwards: 70\r\n\
                 From: <sip:1@{here}>;tag=a{n}\r\nTo: <sip:600@{0}>{to_tag}\r\nCall-ID: commit-{n}\r\nCSeq: 1 {method}\r\n\
                 Contact: <sip:1@{here}>\r\nContent-Length: 0\r\n\r\n",
                self.switch
            )
        };
        let invite = request("INVITE", "");
        self.socket.send_to(invite.as_bytes(), self.switch).unwrap();
        let mut room = [0; 4096];
        let own = format!("Call-ID: commit-{n}\r\n");
        loop {
            let length = self.socket.recv(&mut room).expect("an answer");
            let text = String::from_utf8_lossy(&room[..length]);
            let code: u16 = text[8..11].parse().unwrap();
            if !text.contains(&own) || code < 200 {
                continue;
            }
            let to = text.lines().find_map(|line| line.strip_prefix("To:"));
            let tag = to.and_then(|to| to.split_once(";tag=")).map(|(_, tag)| tag);
            let ack = request("ACK", &format!(";tag={}", tag.unwrap_or_default()));
            self.socket.send_to(ack.as_bytes(), self.switch).unwrap();
            return code;
        }
    }
}

/// Measures; everything lies in `dir`.
pub(crate) fn measure(dir: &Path) -> Found {
    let (sip, admin, rtp) = (ports::one(), ports::one(), ports::block(20));
    let settings = format!(
        "data.dir = \"{}\"\nsip.udp = \"127.0.0.1:{sip}\"\nadmin.listen = \"127.0.0.1:{admin}\"\n\
         rtp.address = \"127.0.0.1\"\nrtp.range = \"{rtp}-{}\"\nlog.level = \"info\"\n\
         sip.guard = {{ stranger_rate = 1000, stranger_burst = 1000 }}\n",
        dir.join("data").display(),
        rtp + 19
    );
    fs::write(dir.join("strowger.toml"), settings).unwrap();
    fs::write(dir.join("records.toml"), records()).unwrap();
    let began = Instant::now();
    run(dir, &["apply", "records.toml"]);
    let apply_ms = began.elapsed().as_secs_f64() * 1e3;
    let made = run(
        dir,
        &[
            "--output",
            "json",
            "token",
            "create",
            "bench",
            "--scope",
            "read,write",
        ],
    );
    let made: Value = serde_json::from_str(&made).unwrap();
    let token = made["token"].as_str().unwrap();
    let mut command = Command::new(STROWGER);
    command
        .current_dir(dir)
        .args(["--config", "strowger.toml", "run"]);
    let began = Instant::now();
    let mut switch = Process::start("strowger", dir, &mut command, false);
    let http = Http::new(format!("http://127.0.0.1:{admin}"));
    until("the switch to be there", s(120), || {
        assert!(switch.is_running(), "{}", switch.log());
        http.text("/healthz").filter(|(status, _)| *status == 200)
    });
    let start_ms = began.elapsed().as_secs_f64() * 1e3;
    let mut caller = Caller {
        socket: UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap(),
        switch: SocketAddr::from((Ipv4Addr::LOCALHOST, sip)),
        calls: 0,
    };
    let patience = Some(Duration::from_secs(10));
    caller.socket.set_read_timeout(patience).unwrap();
    assert_eq!(caller.answered(), 401, "nobody knows it yet");
    let here = caller.socket.local_addr().unwrap().to_string();
    let agent = ureq::Agent::new_with_defaults();
    let mut took = Vec::with_capacity(CHANGES);
    for n in 0..CHANGES {
        let is_known = n % 2 == 0;
        let address = if is_known {
            here.as_str()
        } else {
            "10.2.0.1:5060"
        };
        let began = Instant::now();
        let put = agent
            .put(format!("http://127.0.0.1:{admin}/api/v1/trunks/trunk-5000"))
            .header("Authorization", format!("Bearer {token}"))
            .send_json(json!({"kind": "peer", "address": address}));
        put.expect("the change is made");
        let code = caller.answered();
        took.push(began.elapsed().as_secs_f64() * 1e3);
        assert_eq!(code == 401, !is_known, "answered {code} after change {n}");
    }
    took.sort_by(f64::total_cmp);
    let began = Instant::now();
    run(dir, &["trunk", "set", "trunk-77", "--lines", "3"]);
    let command_ms = began.elapsed().as_secs_f64() * 1e3;
    switch.terminate(s(20));
    Found {
        effect: (quantile(&took, 0.5), quantile(&took, 0.99)),
        start_ms,
        apply_ms,
        command_ms,
    }
}

impl Found {
    pub(crate) fn is_good(&self) -> bool {
        self.effect.1 <= EFFECT_BAR_MS
    }

    pub(crate) fn print(&self) {
        println!("\nRecords that change, {TRUNKS} trunks and {ROUTES} routes in the store");
        let (median, p99) = self.effect;
        let met = if self.is_good() { "ok    " } else { "MISSED" };
        println!(
            "  {met} {median:.1} ms median, {p99:.1} p99 from asking by HTTP until an INVITE is decided by it, {CHANGES} times, bar {EFFECT_BAR_MS}"
        );
        println!(
            "         {:.0} ms by the command line; {:.0} ms for all records from a file; the switch starts in {:.0} ms",
            self.command_ms, self.apply_ms, self.start_ms
        );
    }

    pub(crate) fn figures(&self, all: &mut Map<String, Value>) {
        let mut add = |key: &str, value| all.insert(format!("commit.{key}"), rounded(value, 2));
        add("effect_ms.median", self.effect.0);
        add("effect_ms.p99", self.effect.1);
        add("command_ms", self.command_ms);
        add("apply_ms", self.apply_ms);
        add("start_ms", self.start_ms);
    }
}
