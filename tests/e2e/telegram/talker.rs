//! A Telegram user's voice: ntgcalls, the library of the official clients, on a scripted user's call.

use std::fs::File;
use std::io::{BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::deadline::s;
use crate::process::{PEERS, PYTHON, Process, tail};
use crate::telegram::Server;

/// What a talker says and wants to hear.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Voice {
    /// Hertz sent.
    pub(crate) says: u32,
    /// Hertz looked for.
    pub(crate) hears: u32,
    /// Seconds after which the user has heard enough; the call goes on.
    pub(crate) seconds: f64,
}

/// The media of one scripted user's next call.
#[derive(Debug)]
pub(crate) struct Talker {
    process: Process,
    events: Receiver<Value>,
    seen: Vec<Value>,
    commands: PathBuf,
}

impl Talker {
    /// Starts it; it takes the user's next call, or the one that is there.
    pub(crate) fn start(dir: &Path, server: &Server, user: &str, voice: Voice) -> Self {
        Self::start_with(dir, server, user, voice, &[])
    }

    /// The same, with more options for `ntgcalls_peer.py run`.
    pub(crate) fn start_with(
        dir: &Path,
        server: &Server,
        user: &str,
        voice: Voice,
        more: &[&str],
    ) -> Self {
        Self::start_late(dir, server, user, voice, more, 0.0)
    }

    /// The same, its media so many seconds after the call has been answered.
    pub(crate) fn start_late(
        dir: &Path,
        server: &Server,
        user: &str,
        voice: Voice,
        more: &[&str],
        late: f64,
    ) -> Self {
        Self::start_as(dir, server, user, voice, &[], more, late)
    }

    /// The same, behind `web_client.py`: it can be told `restart_ice`.
    pub(crate) fn start_web(dir: &Path, server: &Server, user: &str, voice: Voice) -> Self {
        let web = ["web_client.py", "--", PYTHON];
        Self::start_as(dir, server, user, voice, &web, &[], 0.0)
    }

    fn start_as(
        dir: &Path,
        server: &Server,
        user: &str,
        voice: Voice,
        behind: &[&str],
        more: &[&str],
        late: f64,
    ) -> Self {
        let commands = dir.join(format!("talker-{user}.commands"));
        File::create(&commands).unwrap();
        let mut command = Command::new(PYTHON);
        command
            .current_dir(PEERS)
            .args([
                "-m",
                "telegram_sim.attach",
                "--control",
                server.control(),
                "--account",
                user,
                "--late",
                &late.to_string(),
                "--commands",
                commands.to_str().unwrap(),
                "--",
                PYTHON,
            ])
            .args(behind)
            .args(["ntgcalls_peer.py", "run", "--tone", &voice.says.to_string()])
            .args([
                "--detect-tone",
                &voice.hears.to_string(),
                "--expect-tone-seconds",
                &voice.seconds.to_string(),
            ])
            .args(more);
        let mut process = Process::start(&format!("talker-{user}"), dir, &mut command, true);
        let lines = BufReader::new(process.stdout());
        let (sender, events) = channel();
        thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                let Ok(event) = serde_json::from_str::<Value>(&line) else {
                    continue;
                };
                if event["event"] != "signaling" && sender.send(event).is_err() {
                    return;
                }
            }
        });
        Self {
            process,
            events,
            seen: Vec::new(),
            commands,
        }
    }

    /// Does this, such as `mute` or `unmute`.
    pub(crate) fn obey(&self, command: &str) {
        let mut file = File::options().append(true).open(&self.commands).unwrap();
        writeln!(file, "{}", json!({"cmd": command})).unwrap();
    }

    /// Waits for an event of this name.
    pub(crate) fn wait(&mut self, name: &str, limit: Duration) -> Value {
        self.wait_which(name, limit, |_| true)
    }

    /// Waits for an event of this name that is the wanted one.
    pub(crate) fn wait_which(
        &mut self,
        name: &str,
        limit: Duration,
        is_wanted: impl Fn(&Value) -> bool,
    ) -> Value {
        let end = Instant::now() + limit;
        let is_it = |event: &Value| event["event"] == name && is_wanted(event);
        if let Some(event) = self.seen.iter().find(|event| is_it(event)) {
            return event.clone();
        }
        loop {
            match self
                .events
                .recv_timeout(end.saturating_duration_since(Instant::now()))
            {
                Ok(event) => {
                    self.seen.push(event.clone());
                    if is_it(&event) {
                        return event;
                    }
                }
                Err(why) => panic!(
                    "the talker has no `{name}` ({why}); it said {:#?}\n{}",
                    self.seen,
                    tail(&self.process.log(), 20)
                ),
            }
        }
    }

    /// Everything of this name that was heard of so far, while something was waited for.
    pub(crate) fn seen(&self, name: &str) -> Vec<&Value> {
        let events = self.seen.iter();
        events.filter(|event| event["event"] == name).collect()
    }

    /// Waits until the wanted tone was heard for as long as wanted.
    pub(crate) fn wait_heard(&mut self, limit: Duration) {
        self.wait("tone_heard", limit);
    }

    /// Waits for the end of the call, which the other side brings about; the verdict must be good.
    pub(crate) fn finish(mut self) -> Value {
        let result = self.wait("result", s(20));
        assert_eq!(
            result["exit"], 0,
            "the Telegram user did not hear what was said: {result}"
        );
        result
    }

    /// Hangs up, and checks the verdict.
    pub(crate) fn hang_up(self, server: &Server, user: &str, call: &str) -> Value {
        server.discard(user, call, "hangup");
        self.finish()
    }

    /// Goes off the air without a word, as a phone in a tunnel.
    pub(crate) fn vanish(mut self) {
        self.process.kill();
    }
}
