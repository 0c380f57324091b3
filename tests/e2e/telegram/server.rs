//! Telegram's servers, played by `tests/peers/telegram_sim`.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::deadline::{s, until};
use crate::http::Http;
use crate::process::{PEERS, PYTHON, Process};

/// What a scripted user does when called.
#[derive(Debug, Clone)]
pub(crate) struct Behaviour(Value);

impl Behaviour {
    /// Answers after the phone has rung a moment.
    pub(crate) fn accepts() -> Self {
        Self(json!({"on_call": "accept", "delay": 0.3}))
    }

    /// Lets it ring.
    pub(crate) fn rings() -> Self {
        Self(json!({"on_call": "ring"}))
    }

    /// Presses *decline*.
    pub(crate) fn declines() -> Self {
        Self(json!({"on_call": "decline"}))
    }

    /// Is in another call.
    pub(crate) fn is_busy() -> Self {
        Self(json!({"on_call": "busy"}))
    }

    /// Has no device online.
    pub(crate) fn is_away() -> Self {
        Self(json!({"on_call": "ignore"}))
    }

    /// Speaks this version of the call library only.
    pub(crate) fn speaking(mut self, version: &str) -> Self {
        self.0["protocol"] = json!({"library_versions": [version]});
        self
    }
}

/// A running simulator.
#[derive(Debug)]
pub(crate) struct Server {
    process: Process,
    http: Http,
    control: String,
    address: String,
    dc: u64,
}

impl Server {
    /// Starts one, with its own accounts and log.
    pub(crate) fn start(dir: &Path) -> Self {
        let mut command = Command::new(PYTHON);
        command.current_dir(PEERS).args([
            "-m",
            "telegram_sim",
            "--port",
            "0",
            "--control-port",
            "0",
            // Accounts live in the first; the second is for those that do not.
            "--dcs",
            "2,4",
            "--print-ready",
        ]);
        let mut process = Process::start("telegram_sim", dir, &mut command, true);
        let mut line = String::new();
        BufReader::new(process.stdout())
            .read_line(&mut line)
            .unwrap();
        let ready: Value = serde_json::from_str(&line)
            .unwrap_or_else(|_| panic!("telegram_sim: {}", process.log()));
        let control = ready["control"].as_str().unwrap().to_owned();
        Self {
            process,
            http: Http::new(&control),
            control,
            address: format!("{}:{}", ready["host"].as_str().unwrap(), ready["port"]),
            dc: ready["dc_id"].as_u64().unwrap(),
        }
    }

    /// The base address of its control API.
    pub(crate) fn control(&self) -> &str {
        &self.control
    }

    /// Where its MTProto listener is.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The number of its data centre.
    pub(crate) fn dc(&self) -> u64 {
        self.dc
    }

    /// The control API itself.
    pub(crate) fn http(&self) -> &Http {
        &self.http
    }

    /// A user played by the simulator.
    pub(crate) fn user(&self, name: &str, phone: &str, behaviour: &Behaviour) {
        // Somebody who is there already would be there twice, and the first would be called.
        let (status, _) = self.http.send("GET", &format!("/accounts/{name}"), None);
        if status == 200 {
            return self.patch_account(name, &json!({"behaviour": behaviour.0}));
        }
        self.account(json!({"username": name, "first_name": name, "phone": phone, "scripted": true, "behaviour": behaviour.0}));
    }

    /// Any account.
    pub(crate) fn account(&self, spec: Value) {
        self.http.post("/accounts", &spec);
    }

    /// Changes an account.
    pub(crate) fn patch_account(&self, name: &str, change: &Value) {
        self.http.patch(&format!("/accounts/{name}"), change);
    }

    /// An authorization key made by the server, in hex; nobody is signed in with it.
    pub(crate) fn new_key(&self) -> String {
        self.new_key_of(self.dc)
    }

    /// One of another data centre.
    pub(crate) fn new_key_of(&self, dc: u64) -> String {
        self.http.post("/auth_keys", &json!({"dc_id": dc}))["key"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// Breaks something, as the simulator's README describes.
    pub(crate) fn fault(&self, rule: Value) {
        self.http.post("/faults", &rule);
    }

    /// Changes settings.
    pub(crate) fn set(&self, settings: Value) {
        self.http.patch("/config", &settings);
    }

    /// A user calls another; the id of the call.
    pub(crate) fn call(&self, from: &str, to: &str, version: &str) -> String {
        self.call_as(
            from,
            to,
            json!({"protocol": {"library_versions": [version]}}),
        )
    }

    /// The same with further keys for the simulator.
    pub(crate) fn call_as(&self, from: &str, to: &str, mut spec: Value) -> String {
        spec["to"] = json!(to);
        self.http.post(&format!("/scripted/{from}/call"), &spec)["id"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// A user writes a message to another.
    pub(crate) fn write(&self, from: &str, to: &str, text: &str) {
        self.send(from, to, json!({"text": text}));
    }

    /// A user sends another what the simulator is told here: a file, a place, a person.
    pub(crate) fn send(&self, from: &str, to: &str, mut spec: Value) {
        spec["to"] = json!(to);
        self.http.post(&format!("/scripted/{from}/send"), &spec);
    }

    /// What a user has received from others, oldest first, once there are so many texts.
    pub(crate) fn texts(&self, user: &str, count: usize, limit: Duration) -> Vec<String> {
        until(format!("{count} texts for {user}"), limit, || {
            let messages = self.http.get(&format!("/accounts/{user}/messages"));
            let messages = messages.as_array().unwrap().iter();
            let texts: Vec<String> = messages
                .filter(|message| message["out"] != true)
                // A call leaves a line of its own in the chat, which is no text.
                .filter_map(|message| message["message"].as_str().map(str::to_owned))
                .collect();
            (texts.len() >= count).then_some(texts)
        })
    }

    /// A user whose phone rings answers.
    pub(crate) fn accept(&self, user: &str, call: &str) {
        let path = format!("/scripted/{user}/calls/{call}/accept");
        let account = self.http.get(&format!("/accounts/{user}"));
        self.http.post(&path, &account["behaviour"]);
    }

    /// A user ends a call.
    pub(crate) fn discard(&self, user: &str, call: &str, reason: &str) {
        self.http.post(
            &format!("/scripted/{user}/calls/{call}/discard"),
            &json!({"reason": reason}),
        );
    }

    /// Waits until the call is in one of the states, `a|b`.
    pub(crate) fn wait_call(&self, call: &str, states: &str, limit: Duration) -> Value {
        let found = self.http.get(&format!(
            "/calls/{call}?state={}&wait={}",
            states.replace('|', "%7C"),
            limit.as_secs_f64()
        ));
        assert_eq!(
            found["reached"], true,
            "call {call} did not get to {states}: {}",
            found["history"]
        );
        found
    }

    /// The id of the newest call, once there is one more than `known`.
    pub(crate) fn next_call(&self, known: usize, limit: Duration) -> String {
        until("a call at Telegram", limit, || {
            let calls = self.http.get("/calls");
            let calls = calls.as_array().unwrap();
            (calls.len() > known).then(|| calls.last().unwrap()["id"].as_str().unwrap().to_owned())
        })
    }

    /// How many calls there were.
    pub(crate) fn calls(&self) -> usize {
        self.http.get("/calls").as_array().unwrap().len()
    }

    /// Events of one kind so far; waits for the first.
    pub(crate) fn events(&self, filter: &str, limit: Duration) -> Vec<Value> {
        let found = self
            .http
            .get(&format!("/log?{filter}&wait={}", limit.as_secs_f64()));
        found["events"].as_array().unwrap().clone()
    }

    /// The switch did nothing that an official client would not do, and no call is left. `understood` names the rules of
    /// warnings, and of violations, which the test itself provokes.
    pub(crate) fn assert_clean(&self, understood: &[&str]) {
        until("all calls to end at Telegram", s(10), || {
            self.http.get("/invariants")["active_calls"]
                .as_array()
                .unwrap()
                .is_empty()
                .then_some(())
        });
        let found = self.http.get("/invariants");
        for kind in ["violations", "warnings"] {
            let found = found[kind].as_array().unwrap().iter();
            let found = found.filter(|found| !understood.iter().any(|rule| found["rule"] == *rule));
            let unexplained: Vec<&Value> = found.collect();
            assert!(unexplained.is_empty(), "{kind}: {unexplained:?}");
        }
        let broken = self.events("kind=traceback", Duration::ZERO);
        assert!(
            broken.is_empty(),
            "the simulator itself stumbled: {broken:?}"
        );
    }

    /// Whether the simulator itself is alive.
    pub(crate) fn is_running(&mut self) -> bool {
        self.process.is_running()
    }
}
