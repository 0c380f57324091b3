//! sipp: scripted calls, and every message of them word for word.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::ports;
use crate::process::launcher;

/// One run of a scenario of `tests/peers/sipp`.
#[derive(Debug)]
pub(crate) struct Sipp {
    dir: PathBuf,
    port: u16,
    args: Vec<String>,
    started: bool,
}

/// How a run went.
#[derive(Debug)]
pub(crate) struct Verdict {
    /// Everything went as the scenario says.
    pub(crate) ok: bool,
    /// What sipp printed about it.
    pub(crate) why: String,
    /// All messages, in order.
    pub(crate) messages: Vec<SipMessage>,
}

/// One message as it went over the wire.
#[derive(Debug)]
pub(crate) struct SipMessage {
    /// Sent by sipp, not received.
    pub(crate) sent: bool,
    /// Its text, lines ended by `\n`.
    pub(crate) text: String,
}

impl SipMessage {
    /// The first line without `SIP/2.0`, e.g. `403 Wrong password` or `BYE sip:...`.
    pub(crate) fn start(&self) -> &str {
        let line = self.text.lines().next().unwrap_or_default();
        line.strip_prefix("SIP/2.0 ").unwrap_or(line).trim()
    }

    /// The first header of this name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.text
            .lines()
            .skip(1)
            .take_while(|line| !line.is_empty())
            .find_map(|line| {
                let (key, value) = line.split_once(':')?;
                key.trim()
                    .eq_ignore_ascii_case(name)
                    .then_some(value.trim())
            })
    }
}

impl Sipp {
    /// A run in `DIR/NAME` on a port of its own.
    pub(crate) fn new(dir: &Path, name: &str) -> Self {
        Self::on(dir, name, ports::one())
    }

    /// The same on a port that was handed out before.
    pub(crate) fn on(dir: &Path, name: &str, port: u16) -> Self {
        let rtp = ports::block(4).to_string();
        let args = ["--port", &port.to_string(), "--rtp", &rtp]
            .map(str::to_owned)
            .to_vec();
        Self {
            dir: dir.join(name),
            port,
            args,
            started: false,
        }
    }

    /// Its SIP port.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The other side.
    pub(crate) fn to(self, address: SocketAddr) -> Self {
        self.arg("--to", &address.to_string())
    }

    /// The number or name called.
    pub(crate) fn number(self, number: &str) -> Self {
        self.arg("--number", number)
    }

    /// Login and password, for the From header too.
    pub(crate) fn login(self, login: &str, password: &str) -> Self {
        self.arg("--from", login)
            .arg("--auth", &format!("{login}:{password}"))
    }

    /// The scenario's pause.
    pub(crate) fn pause(self, pause: Duration) -> Self {
        self.arg("-d", &pause.as_millis().to_string())
    }

    /// A value the scenario asks for.
    pub(crate) fn key(self, name: &str, value: &str) -> Self {
        self.arg("--key", &format!("{name}={value}"))
    }

    /// How many calls the scenario is played for.
    pub(crate) fn calls(self, calls: u32) -> Self {
        self.arg("--calls", &calls.to_string())
    }

    /// Has its audio heard at this port of loopback, by an [`Ear`](super::Ear).
    pub(crate) fn heard_at(self, port: u16) -> Self {
        self.arg("--audio", &port.to_string())
    }

    /// Makes so many calls a second, one unless said.
    pub(crate) fn rate(self, calls: u32) -> Self {
        self.arg("--rate", &calls.to_string())
    }

    /// Sends the audio back.
    pub(crate) fn echo(mut self) -> Self {
        self.args.push("--echo".into());
        self
    }

    /// The address it sends from.
    pub(crate) fn ip(self, address: &str) -> Self {
        self.arg("--ip", address)
    }

    /// Speaks TCP, over one connection.
    pub(crate) fn by_tcp(self) -> Self {
        self.arg("--transport", "t1")
    }

    /// Ends it as a power failure would, in the middle of whatever it does.
    pub(crate) fn kill(mut self) {
        let folder = self.folder();
        launcher("sipp.py", &["kill", "--dir", &folder]).unwrap_or_else(|why| panic!("{why}"));
        self.started = false;
    }

    /// Gives up after this long.
    pub(crate) fn limit(self, limit: Duration) -> Self {
        self.arg("--timeout", &limit.as_secs().to_string())
    }

    fn arg(mut self, name: &str, value: &str) -> Self {
        self.args.extend([name.to_owned(), value.to_owned()]);
        self
    }

    /// Runs a scenario to its end.
    pub(crate) fn run(self, scenario: &str) -> Verdict {
        let outcome = launcher("sipp.py", &self.line("run", scenario));
        self.verdict(&outcome)
    }

    /// Starts a scenario in the background; it is ready when this returns.
    pub(crate) fn start(mut self, scenario: &str) -> Self {
        launcher("sipp.py", &self.line("start", scenario)).unwrap_or_else(|why| panic!("{why}"));
        self.started = true;
        self
    }

    /// The verdict of a scenario in the background, once it has ended.
    pub(crate) fn wait(mut self, limit: Duration) -> Verdict {
        let dir = self.folder();
        let outcome = launcher(
            "sipp.py",
            &[
                "wait",
                "--dir",
                &dir,
                "--timeout",
                &limit.as_secs().to_string(),
            ],
        );
        self.started = false;
        self.verdict(&outcome)
    }

    /// The messages so far.
    pub(crate) fn messages(&self) -> Vec<SipMessage> {
        let text = fs::read(self.dir.join("sipp_msg.log")).unwrap_or_default();
        messages(&String::from_utf8_lossy(&text))
    }

    fn line(&self, verb: &str, scenario: &str) -> Vec<String> {
        let mut line = vec![
            verb.to_owned(),
            scenario.to_owned(),
            "--dir".to_owned(),
            self.folder(),
        ];
        line.extend(self.args.iter().cloned());
        line
    }

    fn folder(&self) -> String {
        self.dir.to_str().unwrap().to_owned()
    }

    fn verdict(&self, outcome: &Result<Value, String>) -> Verdict {
        Verdict {
            ok: outcome.is_ok(),
            why: match outcome {
                Ok(said) => said.to_string(),
                Err(why) => why.clone(),
            },
            messages: self.messages(),
        }
    }
}

impl Drop for Sipp {
    fn drop(&mut self) {
        if self.started {
            launcher("sipp.py", &["stop", "--dir", &self.folder()]).ok();
        }
    }
}

impl Verdict {
    /// Fails the test unless all went as the scenario says.
    pub(crate) fn expect_ok(&self) -> &Self {
        assert!(self.ok, "{}\n{}", self.why, self.ladder());
        self
    }

    /// The last final response that came, or the first line of what stood in its place.
    pub(crate) fn last_final(&self) -> &SipMessage {
        self.messages
            .iter()
            .rev()
            .find(|m| {
                !m.sent
                    && m.start().starts_with(['2', '3', '4', '5', '6'])
                    && m.text.starts_with("SIP/2.0")
            })
            .unwrap_or_else(|| panic!("no final response\n{}", self.ladder()))
    }

    /// Whether a message that begins like this came in.
    pub(crate) fn received(&self, start: &str) -> bool {
        self.messages
            .iter()
            .any(|m| !m.sent && m.start().starts_with(start))
    }

    /// All first lines, for a failure.
    pub(crate) fn ladder(&self) -> String {
        let lines = self
            .messages
            .iter()
            .map(|m| format!("  {} {}", if m.sent { "->" } else { "<-" }, m.start()));
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// Cuts sipp's message trace: a line of dashes with the time, a line that says which way, an empty one, the message.
fn messages(trace: &str) -> Vec<SipMessage> {
    let trace = trace.replace("\r\n", "\n");
    let mut found = Vec::new();
    for part in trace.split("\n-----------------------------------------------") {
        let Some((head, text)) = part.split_once(":\n\n") else {
            continue;
        };
        let sent = head.contains(" sent");
        if sent || head.contains(" received [") {
            found.push(SipMessage {
                sent,
                text: text.trim_start().to_owned(),
            });
        }
    }
    found
}

#[test]
fn a_trace_of_sipp_is_cut_into_messages() {
    let trace = "----------------------------------------------- 2026-11-24 13:10:53.246802\n\
        UDP message sent (564 bytes):\n\nINVITE sip:b@127.0.0.1 SIP/2.0\r\nCSeq: 1 INVITE\r\n\r\n\n\
        ----------------------------------------------- 2026-11-24 13:10:53.246943\n\
        UDP message received [260] bytes :\n\nSIP/2.0 403 Wrong password\r\nReason: SIP;cause=403\r\n\r\n\n\
        -----------------------------------------------\nUnexpected UDP message received:\n\nSIP/2.0 403 Wrong password\r\n";
    let found = messages(trace);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].sent && found[0].start() == "INVITE sip:b@127.0.0.1 SIP/2.0");
    assert!(!found[1].sent && found[1].start() == "403 Wrong password");
    assert_eq!(found[1].header("reason"), Some("SIP;cause=403"));
}
