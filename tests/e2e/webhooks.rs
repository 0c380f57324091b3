//! Webhooks at a receiver of another make, which checks signatures with Python's hmac.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use serde_json::{Value, json};

use crate::crash::peer::Peer;
use crate::deadline::{s, until};
use crate::disk::small_disk_between_pbxs;
use crate::house::{House, TRUNK};
use crate::ports;
use crate::process::{PEERS, PYTHON, Process};
use crate::records;
use crate::talk::{ALAW, Caller, Ends, Talk};

const SECRET: &str = "the-secret-of-the-tests";

/// `tests/peers/webhook_receiver.py`.
struct Receiver {
    dir: PathBuf,
    port: u16,
    scheme: &'static str,
    _process: Process,
}

impl Receiver {
    fn start(dir: &Path) -> Self {
        Self::at(dir, ports::one(), None)
    }

    /// The same at a port, and with TLS where there is a certificate and its key.
    fn at(dir: &Path, port: u16, tls: Option<(&Path, &Path)>) -> Self {
        fs::write(dir.join("secret"), SECRET).unwrap();
        let mut command = Command::new(PYTHON);
        command
            .arg(format!("{PEERS}/webhook_receiver.py"))
            .args(["--port", &port.to_string(), "--log"])
            .arg(dir.join("received"))
            .arg("--secret")
            .arg(dir.join("secret"));
        if let Some((cert, key)) = tls {
            command.arg("--cert").arg(cert).arg("--key").arg(key);
        }
        let mut process = Process::start("webhook_receiver", dir, &mut command, true);
        let mut line = String::new();
        BufReader::new(process.stdout())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line.trim(), "ready");
        Self {
            dir: dir.to_owned(),
            port,
            scheme: if tls.is_some() { "https" } else { "http" },
            _process: process,
        }
    }

    fn url(&self, path: &str) -> String {
        format!("{}://127.0.0.1:{}{path}", self.scheme, self.port)
    }

    /// What the signatures are checked with.
    fn knows(&self, secret: &str) {
        fs::write(self.dir.join("secret"), secret).unwrap();
    }

    /// All that came to a path.
    fn received(&self, path: &str) -> Vec<Value> {
        received(&self.dir, path)
    }

    /// The last test that was answered with 200; changes of the records are posted before and after it.
    fn last_test(&self) -> Value {
        let mut posts = self.received("/ok").into_iter();
        let test = posts.rfind(|post| post["event"] == "webhook.test");
        test.expect("a test was posted")
    }
}

fn received(dir: &Path, path: &str) -> Vec<Value> {
    let log = fs::read_to_string(dir.join("received")).unwrap_or_default();
    let posts = log
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    posts.filter(|post: &Value| post["path"] == path).collect()
}

/// What a command prints as JSON.
fn asked(house: &House, args: &[&str]) -> Value {
    let said = house.expect_command(&[&["--output", "json"], args].concat(), "");
    serde_json::from_str(said.trim()).unwrap_or_else(|_| panic!("{said}"))
}

/// Makes a webhook whose receiver knows its secret.
fn add(house: &House, name: &str, url: &str) {
    let add = ["webhook", "add", name, url, "--secret"];
    house.expect_command(&add, &format!("{SECRET}\n"));
}

/// Something happens that a webhook is told of.
fn change(house: &House, priority: u16) {
    let priority = priority.to_string();
    house.expect_command(&["trunk", "set", TRUNK, "--priority", &priority], "");
}

fn deliveries(house: &House, name: &str) -> Vec<Value> {
    let list = asked(house, &["webhook", "deliveries", name]);
    list.as_array().unwrap().clone()
}

fn counted(house: &House, result: &str) -> f64 {
    let labels = [("result", result)];
    house
        .metrics()
        .sum_of("strowger_webhook_deliveries_total", &labels)
}

#[test]
fn a_call_is_posted_signed_and_in_order_and_a_receiver_that_never_answers_delays_nothing() {
    let house = House::new().registering_trunk(&["alaw"]).start();
    house.wait_session_up();
    let receiver = Receiver::start(house.dir());
    add(&house, "crm", &receiver.url("/ok"));
    add(&house, "dead", &receiver.url("/silent"));
    let ended = [
        "webhook",
        "set",
        "dead",
        "--events",
        "call.started,call.ended",
    ];
    house.expect_command(&ended, "");
    let test = asked(&house, &["webhook", "test", "crm"]);
    assert_eq!(
        (&test["ok"], &test["status"], &test["said"]),
        (&json!(true), &json!(200), &json!("thank you")),
        "{test}"
    );
    assert_eq!(receiver.last_test()["good"], true);

    let talk = Talk::start_in(house, Caller::Pbx, "13.0.0", ALAW);
    // The call is up while the posts of its beginning to the one that never answers go on.
    let stuck = receiver.received("/silent");
    assert!(!stuck.is_empty(), "nothing was posted to it");
    let house = talk.end(Ends::Telegram);
    let calls = until("the end of the call", s(10), || {
        let posts = receiver.received("/ok");
        let of_call = |post: &Value| post["event"].as_str().unwrap().starts_with("call.");
        let calls: Vec<Value> = posts.into_iter().filter(of_call).collect();
        (calls.last()?["event"] == "call.ended").then_some(calls)
    });
    let kinds: Vec<&str> = calls
        .iter()
        .map(|post| post["event"].as_str().unwrap())
        .collect();
    assert_eq!(
        kinds,
        [
            "call.started",
            "call.ringing",
            "call.answered",
            "call.ended"
        ]
    );
    for post in receiver.received("/ok") {
        assert_eq!(post["good"], true, "{post}");
        assert!(post["age"].as_f64().unwrap() < 10.0, "{post}");
        assert_eq!(post["type"], "application/json");
        assert_eq!(post["event"], post["body"]["type"], "{post}");
        assert_eq!(post["delivery"].as_str().unwrap().len(), 26);
    }
    let id = calls[0]["body"]["call"].clone();
    assert!(calls.iter().all(|post| post["body"]["call"] == id));
    assert_eq!(calls[3]["body"]["data"]["result"], "answered");
    // From the event to the receiver.
    let late: Vec<f64> = calls
        .iter()
        .map(|post| {
            let at = post["body"]["at"].as_str().unwrap();
            post["at"].as_f64().unwrap() - unix(at)
        })
        .collect();
    eprintln!("seconds from each event to its receiver: {late:?}");
    assert!(late.iter().all(|late| *late < 2.0), "{late:?}");

    let list = until("all of them to be taken", s(10), || {
        let list = deliveries(&house, "crm");
        list.iter().all(|it| it["state"] == "ok").then_some(list)
    });
    let ids: Vec<&Value> = list.iter().map(|delivery| &delivery["id"]).collect();
    assert!(calls.iter().all(|post| ids.contains(&&post["delivery"])));
    let timed_out = until("the first post to be given up", s(50), || {
        let mut list = deliveries(&house, "dead").into_iter();
        // While it is posted again it has no next time.
        list.find(|it| it["tries"] == 1 && it["next"].is_string())
    });
    assert_eq!(timed_out["state"], "retry", "{timed_out}");
    assert_eq!(timed_out["error"], "no answer within 10 s", "{timed_out}");
    let took = timed_out["ms"].as_u64().unwrap();
    assert!((9_900..11_500).contains(&took), "{timed_out}");
    assert!(counted(&house, "ok") >= 4.0);
    let again = [("result", "retry")];
    house.wait_metric_above("strowger_webhook_deliveries_total", &again, 0.5);
    house.wait_metric_above("strowger_webhook_queue_deliveries", &[], 0.5);
    house.expect_command(&["webhook", "remove", "dead"], "");
    house.wait_metric("strowger_webhook_queue_deliveries", &[], 0.0);
    assert!(counted(&house, "dropped") >= 1.0);
    // The judge can fail.
    receiver.knows("another-secret-of-somebody");
    house.expect_command(&["webhook", "test", "crm"], "");
    assert_eq!(receiver.last_test()["good"], false);
}

/// Two PBXs call each other; one webhook takes everything, another answers nothing, ever.
#[test]
fn of_many_calls_at_once_every_event_is_posted_and_those_of_each_call_in_order() {
    let mut house = House::new()
        .peer_trunk(&["alaw"])
        .leaves_by(&["alaw"])
        .rtp_ports(1000)
        .build();
    let office = Peer::start(house.peer_port(), house.sip(), 20, true);
    let branch = Peer::start(house.branch_port(), house.sip(), 0, false);
    house.start();
    let receiver = Receiver::start(house.dir());
    add(&house, "crm", &receiver.url("/ok"));
    add(&house, "dead", &receiver.url("/silent"));
    let ended = |house: &House| house.metrics().sum("strowger_calls_completed_total");
    office.busy(true);
    until("calls to be made", s(60), || {
        (ended(&house) > 150.0).then_some(())
    });
    office.busy(false);
    until("the last call to end", s(30), || {
        (house.metrics().sum("strowger_calls_active") < 0.5).then_some(())
    });
    let calls = ended(&house);
    until("all to be posted", s(20), || {
        let list = receiver.received("/ok");
        let ends = list.iter().filter(|it| it["event"] == "call.ended");
        ((ends.count() as f64 - calls).abs() < 0.5).then_some(())
    });
    let order = [
        "call.started",
        "call.ringing",
        "call.answered",
        "call.ended",
    ];
    let mut of: HashMap<String, Vec<(usize, String)>> = HashMap::new();
    let mut worst = 0.0_f64;
    for post in receiver.received("/ok") {
        assert_eq!(post["good"], true, "{post}");
        let Some(call) = post["body"]["call"].as_str() else {
            continue;
        };
        let kind = post["event"].as_str().unwrap();
        let place = order.iter().position(|it| *it == kind).unwrap();
        let event = post["body"]["id"].as_str().unwrap().to_owned();
        of.entry(call.to_owned()).or_default().push((place, event));
        let told = millis_of(post["delivery"].as_str().unwrap());
        worst = worst.max(post["at"].as_f64().unwrap() - told / 1000.0);
    }
    eprintln!("{calls} calls, the slowest post came {worst:.3} s after its event");
    for (call, events) in &of {
        let places: Vec<usize> = events.iter().map(|(place, _)| *place).collect();
        assert!(places.is_sorted(), "{call}: {places:?}");
        assert_eq!(
            (places[0], places.last()),
            (0, Some(&3)),
            "{call}: {places:?}"
        );
        let ids: HashSet<&String> = events.iter().map(|(_, id)| id).collect();
        assert_eq!(ids.len(), events.len(), "{call}: one was posted twice");
    }
    assert!(worst < 5.0, "{worst}");
    let missed = house.metrics().sum("strowger_webhook_events_missed_total");
    assert!(missed < 0.5, "{missed}");
    house.assert_running();
    // Its four posts that have no answer hold the end of the switch up for a second at most.
    let told = Instant::now();
    house.stop();
    assert!(told.elapsed() < s(6), "{:?}", told.elapsed());
    drop((office, branch));
}

/// The milliseconds since 1970 in a ULID: its first ten characters of Crockford's base32.
fn millis_of(ulid: &str) -> f64 {
    let digit = |c: char| "0123456789ABCDEFGHJKMNPQRSTVWXYZ".find(c).unwrap();
    let millis = ulid.chars().take(10).map(digit);
    millis.fold(0, |sum, digit| sum * 32 + digit) as f64
}

/// Seconds since 1970 of a time in RFC 3339.
fn unix(at: &str) -> f64 {
    let said = Command::new("date")
        .args(["-u", "-d", at, "+%s.%3N"])
        .output()
        .unwrap();
    String::from_utf8(said.stdout)
        .unwrap()
        .trim()
        .parse()
        .unwrap()
}

#[test]
fn a_post_that_is_not_taken_is_repeated_after_five_seconds_as_the_same_delivery() {
    let house = House::new().peer_trunk(&["alaw"]).start();
    let receiver = Receiver::start(house.dir());
    add(&house, "crm", &receiver.url("/fail-once"));
    add(&house, "moved", &receiver.url("/moved"));
    // The first of both was to hear that the second was made.
    until("the first failure", s(10), || {
        let list = deliveries(&house, "crm");
        list.iter()
            .any(|it| it["state"] == "retry" && it["status"] == 500 && it["next"].is_string())
            .then_some(())
    });
    change(&house, 7);
    until("all to be done", s(20), || {
        let list = deliveries(&house, "crm");
        let is_done = |it: &Value| it["state"] == "ok" && it["tries"] == 2;
        (list.len() >= 3 && list.iter().all(is_done)).then_some(())
    });
    let posts = receiver.received("/fail-once");
    let of = |post: &Value| {
        let same = posts
            .iter()
            .filter(|other| other["delivery"] == post["delivery"]);
        same.cloned().collect::<Vec<Value>>()
    };
    for post in &posts {
        let same = of(post);
        assert_eq!(same.len(), 2, "{posts:?}");
        assert_eq!(same[0]["body"], same[1]["body"]);
        assert!(same.iter().all(|post| post["good"] == true), "{same:?}");
        let gap = same[1]["at"].as_f64().unwrap() - same[0]["at"].as_f64().unwrap();
        eprintln!("repeated after {gap:.3} s");
        assert!((4.9..8.0).contains(&gap), "{gap}");
    }
    // A redirect is an answer like others.
    let moved = deliveries(&house, "moved");
    assert!(moved.iter().any(|it| it["status"] == 307), "{moved:?}");
    assert!(receiver.received("/ok").is_empty(), "it was followed");
}

#[test]
fn a_receiver_that_is_gone_is_told_nothing_more_and_its_owner_is() {
    let mut house = House::new().peer_trunk(&["alaw"]).start();
    let receiver = Receiver::start(house.dir());
    add(&house, "other", &receiver.url("/ok"));
    add(&house, "old", &receiver.url("/gone"));
    let generation = || {
        let posts = receiver.received("/ok");
        let generations = posts
            .iter()
            .map(|it| it["body"]["data"]["generation"].as_u64());
        generations.max().flatten().unwrap_or_default()
    };
    // That there is one more webhook is told to both of them, and the new one is gone.
    let why = until("it to be disabled", s(10), || {
        let shown = asked(&house, &["webhook", "show", "old"]);
        shown["disabled_because"].as_str().map(str::to_owned)
    });
    assert!(why.contains("410 Gone"), "{why}");
    let listed = house.expect_command(&["webhook", "list"], "");
    assert!(
        listed.contains("disabled: its receiver answered 410"),
        "{listed}"
    );
    let told = until("it to be said", s(5), || {
        let log = house.log();
        let mut lines = log.lines();
        lines
            .find(|line| line.contains("410 Gone"))
            .map(str::to_owned)
    });
    assert!(told.contains("ERROR"), "{told}");
    let disabled = records::generation(&house);
    until("the other to hear of it", s(10), || {
        (generation() == disabled).then_some(())
    });
    let heard = receiver.received("/gone").len();
    change(&house, 8);
    until("the other to hear of more", s(10), || {
        (generation() > disabled).then_some(())
    });
    assert_eq!(receiver.received("/gone").len(), heard);
    assert!(
        deliveries(&house, "old")
            .iter()
            .all(|it| it["state"] == "dropped")
    );
    // It stays so over a restart, until it is enabled.
    house.stop();
    house.start();
    let shown = asked(&house, &["webhook", "show", "old"]);
    assert_eq!(shown["record"]["enabled"], false, "{shown}");
    let elsewhere = receiver.url("/status/204");
    let again = ["webhook", "set", "old", "--enabled", "--url", &elsewhere];
    house.expect_command(&again, "");
    change(&house, 9);
    until("it to be told again", s(10), || {
        receiver.received("/status/204").pop()
    });
    let shown = asked(&house, &["webhook", "show", "old"]);
    assert_eq!(shown["disabled_because"], Value::Null, "{shown}");
}

#[test]
fn what_was_queued_is_posted_after_a_crash_and_after_a_restart() {
    let mut house = House::new().peer_trunk(&["alaw"]).start();
    let port = ports::one();
    let dir = house.dir().to_owned();
    let url = format!("http://127.0.0.1:{port}/ok");
    add(&house, "crm", &url);
    // One that has failed, and is tried again in five seconds: nobody is there yet.
    let fail = |house: &House, priority: u16| {
        let known = deliveries(house, "crm");
        change(house, priority);
        until("a post to fail", s(10), || {
            let list = deliveries(house, "crm");
            let new = |it: &Value| known.iter().all(|old| old["id"] != it["id"]);
            let failed =
                |it: &Value| it["event"] == "config.changed" && it["error"] == "connection refused";
            list.into_iter().find(|it| new(it) && failed(it))
        })
    };
    let posted = |id: &Value, limit: u64| {
        until("what was queued to be posted", s(limit), || {
            let posts = received(&dir, "/ok").into_iter();
            let same: Vec<Value> = posts.filter(|it| it["delivery"] == *id).collect();
            (!same.is_empty()).then_some(same)
        })
    };
    // What has failed twice by now is tried again after half a minute.
    let all_taken = |house: &House| {
        until("all to be taken", s(50), || {
            let page = house.metrics();
            let waiting = page.value("strowger_webhook_queue_deliveries", &[])?;
            (waiting < 0.5).then_some(())
        });
    };
    let lost = fail(&house, 7);
    house.wait_flushed();
    house.kill();
    let receiver = Receiver::at(&dir, port, None);
    house.start();
    let post = &posted(&lost["id"], 50)[0];
    assert_eq!(
        (&post["good"], &post["event"]),
        (&json!(true), &lost["event"])
    );
    all_taken(&house);
    drop(receiver);
    let kept = fail(&house, 8);
    house.stop();
    let _receiver = Receiver::at(&dir, port, None);
    house.start();
    assert_eq!(posted(&kept["id"], 50)[0]["good"], true);
    all_taken(&house);
    // What was taken is posted no more.
    house.stop();
    house.start();
    house.wait_metric_above(
        "strowger_webhook_deliveries_total",
        &[("result", "ok")],
        0.5,
    );
    house.wait_metric("strowger_webhook_queue_deliveries", &[], 0.0);
    for id in [&lost["id"], &kept["id"]] {
        assert_eq!(posted(id, 1).len(), 1, "{id}");
    }
}

#[test]
fn what_could_not_be_written_on_a_full_disk_is_written_when_there_is_room() {
    // The records of their calls are what is to be written.
    let (mut house, disk, office, branch) = small_disk_between_pbxs();
    let receiver = Receiver::start(house.dir());
    // Each post lasts ten seconds, one after the other: what is queued behind the first five is not written because it is repeated.
    let silent = receiver.url("/silent");
    let add = ["webhook", "add", "crm", &silent, "--secret", "--events"];
    let add = [&add[..], &["alert,config.changed"]].concat();
    house.expect_command(&add, &format!("{SECRET}\n"));
    for priority in 1..5 {
        change(&house, priority);
    }
    house.wait_flushed();
    disk.fill();
    let ids = |house: &House, event: &str| {
        let queued = deliveries(house, "crm").into_iter();
        let queued = queued.filter(|it| event.is_empty() || it["event"] == event);
        queued.map(|it| it["id"].clone()).collect::<Vec<_>>()
    };
    office.busy(true);
    until("the alert of the store to be queued", s(90), || {
        (!ids(&house, "alert").is_empty()).then_some(())
    });
    office.busy(false);
    let unwritten = ids(&house, "alert");
    disk.free();
    until("a change to be taken", s(20), || {
        let set = ["trunk", "set", TRUNK, "--priority", "9"];
        (house.command(&set, "").0 == 0).then_some(())
    });
    // What comes behind this may be lost.
    let queued = ids(&house, "");
    house.wait_flushed();
    house.wait_flushed();
    let list = deliveries(&house, "crm");
    let is_first = |it: &Value| it["tries"] == 0 && unwritten.contains(&it["id"]);
    assert!(list.iter().any(is_first), "it was posted: {list:?}");
    assert!(unwritten.iter().all(|id| queued.contains(id)));
    drop((office, branch));
    house.kill();
    house.start();
    let kept = ids(&house, "");
    assert!(
        queued.iter().all(|id| kept.contains(id)),
        "{kept:?} of {queued:?}"
    );
    house.stop();
    drop(receiver);
    disk.take_away();
}

#[test]
fn a_secret_is_answered_once_and_is_nowhere_else() {
    let mut house = House::new().peer_trunk(&["alaw"]).logging("trace").start();
    let receiver = Receiver::start(house.dir());
    let token = |scope: &str| {
        let made = asked(&house, &["token", "create", scope, "--scope", scope]);
        house.admin().with_token(made["token"].as_str().unwrap())
    };
    let (api, reader) = (token("write"), token("read"));
    let url = json!({ "url": receiver.url("/ok"), "events": ["config.changed"] });
    let (status, made) = api.send("PUT", "/api/v1/webhooks/crm", Some(&url));
    assert_eq!(status, 201, "{made}");
    let secret = made["secret"].as_str().unwrap().to_owned();
    assert_eq!(secret.len(), 64);
    receiver.knows(&secret);
    let told = receiver.received("/ok").len();
    let (status, again) = api.send("PUT", "/api/v1/webhooks/crm", Some(&url));
    assert_eq!((status, &again["secret"]), (200, &Value::Null), "{again}");
    until("a post", s(10), || {
        receiver.received("/ok").get(told).cloned()
    });
    let (status, tested) = api.send("POST", "/api/v1/webhooks/crm/test", None);
    assert_eq!((status, &tested["ok"]), (200, &json!(true)), "{tested}");
    assert_eq!(receiver.last_test()["good"], true);
    let mut said = Vec::new();
    for path in ["/webhooks", "/webhooks/crm", "/webhooks/crm/deliveries"] {
        let path = format!("/api/v1{path}");
        let (status, answer) = api.send("GET", &path, None);
        assert_eq!(status, 200, "{path}: {answer}");
        said.push(answer.to_string());
        assert_eq!(reader.send("GET", &path, None).0, 403, "{path}");
    }
    for command in [
        &["export"][..],
        &["webhook", "list"],
        &["webhook", "show", "crm"],
        &["--output", "json", "webhook", "list"],
        &["--output", "json", "webhook", "show", "crm"],
    ] {
        said.push(house.expect_command(command, ""));
    }
    for said in &said {
        assert!(
            said.contains("crm") || said.contains("config.changed"),
            "{said}"
        );
        assert!(!said.contains(&secret), "{said}");
    }
    for command in [
        &["export", "--secrets"][..],
        &["webhook", "show", "crm", "--secrets"],
    ] {
        assert!(house.expect_command(command, "").contains(&secret));
    }
    let far = json!({ "url": "http://192.0.2.1/" });
    assert_eq!(api.send("PUT", "/api/v1/webhooks/far", Some(&far)).0, 422);
    let nobody = api.send("POST", "/api/v1/webhooks/far/test", None);
    assert_eq!(nobody.0, 404, "{nobody:?}");
    let stale = api.try_put("/api/v1/webhooks/crm", "\"1\"", &url);
    assert_eq!(stale, 412);
    let (status, gone) = api.send("DELETE", "/api/v1/webhooks/crm", None);
    assert_eq!(status, 200, "{gone}");
    house.stop();
    let log = fs::read_to_string(house.dir().join("strowger-1.log")).unwrap();
    assert!(log.contains("DEBUG") && !log.contains(&secret));
}

#[test]
fn over_https_the_receiver_shows_a_certificate_that_is_trusted() {
    let dir = crate::house::folder();
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let (cert, key) = (dir.join("hook.pem"), dir.join("hook.key"));
    fs::write(&cert, made.cert.pem()).unwrap();
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let house = House::new()
        .variable("SSL_CERT_FILE", cert.to_str().unwrap())
        .peer_trunk(&["alaw"])
        .start();
    let receiver = Receiver::at(&dir, ports::one(), Some((&cert, &key)));
    add(&house, "crm", &receiver.url("/ok"));
    let test = asked(&house, &["webhook", "test", "crm"]);
    assert_eq!(test["status"], 200, "{test}");
    assert_eq!(receiver.last_test()["good"], true);
    let elsewhere = house.dir().join("untrusted");
    fs::create_dir(&elsewhere).unwrap();
    let (cert, key) = (elsewhere.join("hook.pem"), elsewhere.join("hook.key"));
    fs::write(&cert, other.cert.pem()).unwrap();
    fs::write(&key, other.signing_key.serialize_pem()).unwrap();
    let stranger = Receiver::at(&elsewhere, ports::one(), Some((&cert, &key)));
    add(&house, "stranger", &stranger.url("/ok"));
    let (code, said) = house.command(&["webhook", "test", "stranger"], "");
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("the certificate is not trusted"), "{said}");
    assert!(stranger.received("/ok").is_empty());
    fs::remove_dir_all(&dir).ok();
}

#[test]
fn the_end_of_a_call_that_the_end_of_the_switch_ends_is_not_lost() {
    let house = House::new().registering_trunk(&["alaw"]).start();
    house.wait_session_up();
    let (dir, port) = (house.dir().to_owned(), ports::one());
    let ended = format!("http://127.0.0.1:{port}/ok");
    add(&house, "crm", &ended);
    let only = ["webhook", "set", "crm", "--events", "call.ended"];
    house.expect_command(&only, "");
    let talk = Talk::start_in(house, Caller::Pbx, "13.0.0", ALAW);
    let calls = asked(&talk.house, &["calls", "list"]);
    let id = calls[0]["id"].clone();
    let Talk {
        mut house, talker, ..
    } = talk;
    house.stop();
    talker.finish();
    // Nobody was there to take it.
    let receiver = Receiver::at(&dir, port, None);
    house.start();
    let post = until("the end of the call to be posted", s(15), || {
        // That it was made is told to it as well.
        let mut posts = receiver.received("/ok").into_iter();
        posts.find(|post| post["event"] == "call.ended")
    });
    assert_eq!(
        (&post["event"], &post["body"]["call"], &post["good"]),
        (&json!("call.ended"), &id, &json!(true)),
        "{post}"
    );
    let data = &post["body"]["data"];
    assert_eq!(
        (&data["ended_by"], &data["result"]),
        (&json!("here"), &json!("answered")),
        "{post}"
    );
}
