//! baresip: a phone that plays a tone into the call and records what it hears.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::deadline::s;
use crate::ports;
use crate::process::launcher;
use crate::tone::{self, Recording};

/// How a phone is set up.
#[derive(Debug, Clone)]
pub(crate) struct Phone {
    /// The server of its account.
    pub(crate) server: SocketAddr,
    /// Login and user part.
    pub(crate) login: String,
    /// Password.
    pub(crate) password: String,
    /// Whether it registers.
    pub(crate) registers: bool,
    /// Codecs in its own words: `pcma`, `pcmu`, `opus`.
    pub(crate) codecs: String,
    /// Whether it answers by itself.
    pub(crate) answers: bool,
    /// Encryption in its own words: `no`, `srtp` (if the other side can), `srtp-mand`.
    pub(crate) srtp: &'static str,
    /// Hertz it plays.
    pub(crate) says: u32,
    /// Milliseconds of audio in a packet, sent and asked for.
    pub(crate) ptime: u32,
    /// Its port, 0 for any.
    pub(crate) port: u16,
}

/// A running phone.
#[derive(Debug)]
pub(crate) struct Baresip {
    dir: PathBuf,
    server: SocketAddr,
    control: TcpStream,
    lines: Receiver<Value>,
    seen: Vec<Value>,
}

impl Baresip {
    /// Starts a phone; it has registered, if it should, when this returns.
    pub(crate) fn start(dir: &Path, name: &str, phone: &Phone) -> Self {
        let dir = dir.join(name);
        fs::create_dir_all(&dir).unwrap();
        tone::write(&dir.join("says.wav"), f64::from(phone.says), 60);
        let port = if phone.port == 0 {
            ports::one()
        } else {
            phone.port
        };
        let control = ports::one();
        let rtp = ports::block(20);
        let mut args: Vec<String> = ["start", "--dir", dir.to_str().unwrap(), "--account"]
            .map(str::to_owned)
            .to_vec();
        args.push(format!(
            "{}:{}@{}",
            phone.login, phone.password, phone.server
        ));
        args.extend([
            "--sip".into(),
            port.to_string(),
            "--ctl".into(),
            control.to_string(),
        ]);
        args.extend([
            "--rtp".into(),
            format!("{rtp}-{}", rtp + 19),
            "--codecs".into(),
            phone.codecs.clone(),
        ]);
        args.extend([
            "--answer".into(),
            if phone.answers { "auto" } else { "manual" }.into(),
        ]);
        args.extend([
            "--play".into(),
            dir.join("says.wav").to_str().unwrap().to_owned(),
        ]);
        args.extend(["--srtp".into(), phone.srtp.into()]);
        args.extend(["--ptime".into(), phone.ptime.to_string()]);
        if !phone.registers {
            args.push("--noreg".into());
        }
        launcher("baresip.py", &args).unwrap_or_else(|why| panic!("{why}"));
        let control = TcpStream::connect(("127.0.0.1", control)).unwrap();
        let mut reader = control.try_clone().unwrap();
        let (sender, lines) = channel();
        thread::spawn(move || {
            while let Some(line) = netstring(&mut reader) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self {
            dir,
            server: phone.server,
            control,
            lines,
            seen: Vec::new(),
        }
    }

    /// Calls a number or name at its server.
    pub(crate) fn dial(&mut self, number: &str) {
        let line = format!("sip:{number}@{}", self.server);
        self.command("dial", &line);
    }

    /// Hangs up, cancels or refuses.
    pub(crate) fn hang_up(&mut self) {
        self.command("hangup", "");
    }

    /// Puts the other side on hold, or takes it back.
    pub(crate) fn hold(&mut self, on: bool) {
        self.command(if on { "hold" } else { "resume" }, "");
    }

    /// Presses a key.
    pub(crate) fn press(&mut self, key: char) {
        self.command("sndcode", &key.to_string());
    }

    /// Waits until the call is answered.
    pub(crate) fn wait_established(&mut self) -> Value {
        self.wait("CALL_ESTABLISHED", s(20))
    }

    /// Waits for the end of the call; its text, e.g. `486 User declined the call`.
    pub(crate) fn wait_closed(&mut self) -> String {
        self.wait("CALL_CLOSED", s(20))["param"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// Waits for an event that was not waited for before.
    pub(crate) fn wait(&mut self, kind: &str, limit: Duration) -> Value {
        self.wait_line(limit, kind, |line| line["type"] == kind)
    }

    /// Whether such an event has come, without waiting.
    pub(crate) fn has(&mut self, kind: &str) -> bool {
        self.seen.extend(self.lines.try_iter());
        self.seen.iter().any(|line| line["type"] == kind)
    }

    /// Everything the phone has heard in its last call; the call must have ended.
    pub(crate) fn heard(&self) -> Recording {
        let mut files: Vec<PathBuf> = fs::read_dir(&self.dir)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.to_string_lossy().ends_with("-dec.wav"))
            .collect();
        files.sort();
        let last = files
            .last()
            .unwrap_or_else(|| panic!("the phone recorded nothing in {}", self.dir.display()));
        Recording::read(last).unwrap_or_else(|| panic!("{} is no recording", last.display()))
    }

    /// RTP packets that came in its last call, and could be opened; the call must have ended.
    pub(crate) fn packets_received(&self) -> u32 {
        let file = self.dir.join("baresip.out");
        let said = crate::deadline::until("the figures of the call", s(5), || {
            let said = fs::read(&file).ok()?;
            let said = String::from_utf8_lossy(&said).into_owned();
            Some(said.rsplit_once(";PR=")?.1.to_owned())
        });
        let number = said.split(',').next().unwrap_or_default();
        let number = number.split(';').next().unwrap_or_default();
        number.parse().unwrap()
    }

    /// Fails the test unless the phone heard this tone for so long.
    pub(crate) fn assert_heard(&self, hertz: u32, seconds: f64) {
        let heard = self.heard();
        let tone = heard.tone_seconds(f64::from(hertz));
        assert!(
            tone >= seconds,
            "the phone heard {tone} s of {hertz} Hz in {:.1} s, wanted {seconds} s",
            heard.seconds()
        );
    }

    /// Takes the phone off the air without a word.
    pub(crate) fn vanish(self) {
        self.stop("KILL");
    }

    fn command(&mut self, verb: &str, params: &str) {
        let line = json!({"command": verb, "params": params, "token": "t"}).to_string();
        self.control
            .write_all(format!("{}:{line},", line.len()).as_bytes())
            .unwrap();
        let answer = self.wait_line(s(5), verb, |line| line["response"] == true);
        assert_eq!(answer["ok"], true, "baresip: {verb} {params}: {answer}");
    }

    fn wait_line(&mut self, limit: Duration, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + limit;
        loop {
            if let Some(at) = self.seen.iter().position(&wanted) {
                return self.seen.remove(at);
            }
            match self
                .lines
                .recv_timeout(end.saturating_duration_since(Instant::now()))
            {
                Ok(line) => self.seen.push(line),
                Err(why) => panic!(
                    "the phone has no `{what}` ({why}); it said {:#?}",
                    self.seen
                ),
            }
        }
    }

    fn stop(&self, signal: &str) {
        let dir = self.dir.to_str().unwrap();
        launcher("baresip.py", &["stop", "--dir", dir, "--signal", signal]).ok();
    }
}

impl Drop for Baresip {
    fn drop(&mut self) {
        self.stop("TERM");
    }
}

/// `LENGTH:JSON,`
fn netstring(reader: &mut impl Read) -> Option<Value> {
    let mut length = 0;
    loop {
        match byte(reader)? {
            b':' => break,
            digit => length = length * 10 + usize::from(digit.checked_sub(b'0')?),
        }
    }
    let mut text = vec![0; length];
    reader.read_exact(&mut text).ok()?;
    byte(reader)?;
    serde_json::from_slice(&text).ok()
}

fn byte(reader: &mut impl Read) -> Option<u8> {
    let mut one = [0];
    reader.read_exact(&mut one).ok()?;
    Some(one[0])
}
