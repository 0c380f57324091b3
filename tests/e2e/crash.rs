//! `kill -9` at random moments under load (REL-P1, REL-P4, REL-P5): `make crash ROUNDS=200`.
//!
//! Two PBXs call each other through the switch all the time, a third one has registered, a Telegram user calls now and then, and 100,000 call
//! records lie in the store. Each round the switch is started and killed, one round in five while it starts. What must hold:
//!
//! * no record that was acknowledged is lost, and every call that had begun a second before has one, with a cause;
//! * both ends of every call that was up for a second hear that it is over;
//! * the registration is there again.

pub(crate) mod peer;

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use model::{CallId, CallRecord, Direction, Outcome, Side};
use serde_json::{Value, json};
use store::{MasterKey, SledStore, Store};

use self::peer::{Peer, Seen};
use crate::deadline::{s, until, within};
use crate::house::{House, LOGIN, PASSWORD, SESSION};

/// Rounds of a run that does not say.
const ROUNDS: u32 = 20;
/// Records that are there from the beginning.
const OLD_RECORDS: u32 = 100_000;
/// Calls a second.
const RATE: u32 = 10;
/// How old soft state may be (decisions of the house), and so how long a call must have been up to be known after a crash.
const SOFT: Duration = Duration::from_secs(1);
/// Rounds after which it registers again: a registration of sipp lasts two minutes.
const REGISTER_EVERY: u32 = 5;
/// The trunk that registers.
const DESK: &str = "desk";

/// Random enough, and the same again for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    fn wait(&mut self, from_ms: u64, to_ms: u64) {
        let length = Duration::from_millis(from_ms + self.below(to_ms - from_ms));
        // Nothing is waited for: the moment is the point.
        std::thread::sleep(length);
    }
}

fn number_of(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// What was found out.
#[derive(Debug, Default)]
struct Found {
    starts_ms: Vec<u64>,
    registered_ms: Vec<u64>,
    ends_ms: Vec<u64>,
    early_kills: u32,
    /// Ends that were told, and those that were not.
    told: usize,
    left: Vec<String>,
    /// Numbers of calls that had begun, or were over, a second before the end of their process.
    begun: HashSet<String>,
    over: HashSet<String>,
    /// Records that the switch said it had written, without those it closed after a crash.
    acknowledged: f64,
    telegram_calls: u32,
}

fn ms(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}

/// Writes records of long ago.
fn fill(house: &House) {
    let text = fs::read_to_string(house.dir().join("strowger.key")).unwrap();
    let key = MasterKey::parse(&text).unwrap();
    let store = SledStore::open(&house.dir().join("data/store"), &key).unwrap();
    let records: Vec<CallRecord> = (0..OLD_RECORDS)
        .map(|n| CallRecord {
            id: CallId::new(1_700_000_000_000 + u64::from(n), n.into()),
            direction: Direction::SipToTg,
            trunk: "office".into(),
            session: SESSION.into(),
            from: "1001".into(),
            to: "ann".into(),
            diverted_from: None,
            started_ms: 1_700_000_000_000,
            ringing_after_ms: Some(900),
            answered_after_ms: Some(4000),
            ended_after_ms: Some(64_000),
            ended_by: Some(Side::Sip),
            outcome: Some(Outcome::Answered),
            legs: Vec::new(),
            to_trunk: String::new(),
            details: model::CallDetails::default(),
        })
        .collect();
    for some in records.chunks(10_000) {
        store.close_calls(&some.iter().collect::<Vec<_>>()).unwrap();
    }
}

/// The switch and those who use it.
struct Town {
    house: House,
    office: Peer,
    branch: Peer,
    found: Found,
    /// When the last process ended, if somebody may still be in a call of it.
    killed: Option<Instant>,
    /// How many there were.
    up: usize,
    /// Calls of Telegram users that rang in the office then.
    ringing: Vec<String>,
}

impl Town {
    fn build() -> Self {
        let desk = format!(
            "\n[[trunk]]\nname = \"{DESK}\"\nkind = \"inbound_register\"\nlogin = \"{LOGIN}\"\npassword = \"{PASSWORD}\"\n\n\
             [[route]]\ntrunk = \"{DESK}\"\nsession = \"{SESSION}\"\npriority = 200\n"
        );
        let house = House::new()
            .peer_trunk(&["alaw"])
            .leaves_by(&["alaw"])
            .records(&desk)
            .rtp_ports(400)
            // Those of long ago shall be there.
            .setting("cdr.keep = \"forever\"")
            .build();
        fill(&house);
        // The office takes no calls, so that those of Telegram users ring.
        let office = Peer::start(house.peer_port(), house.sip(), RATE, true);
        let branch = Peer::start(house.branch_port(), house.sip(), 0, false);
        Self {
            house,
            office,
            branch,
            found: Found::default(),
            killed: None,
            up: 0,
            ringing: Vec::new(),
        }
    }

    fn seen(&self) -> Vec<Seen> {
        [self.office.calls(), self.branch.calls()].concat()
    }

    /// The third PBX registers, and its registration is on disk when this returns.
    fn register(&self) {
        self.house.sipp("desk").run("register").expect_ok();
        self.house.wait_flushed();
    }

    /// Starts the switch, and waits until it answers.
    fn start(&mut self) {
        let began = Instant::now();
        self.house.start_unready();
        self.found.starts_ms.push(ms(began.elapsed()));
        let bindings = || {
            self.house
                .metrics()
                .value("strowger_registrar_bindings", &[("trunk", DESK)])
        };
        until("the registration to be back", s(15), || {
            (bindings() >= Some(1.0)).then_some(())
        });
        self.found.registered_ms.push(ms(began.elapsed()));
    }

    /// Waits until those who were in a call with the last process know that it is over.
    fn settle(&mut self) {
        let Some(killed) = self.killed.take() else {
            return;
        };
        let is_left = |seen: &Seen| seen.is_left(killed, SOFT);
        let all = within(s(15), || (!self.seen().iter().any(is_left)).then_some(()));
        self.found.ends_ms.push(ms(killed.elapsed()));
        let left = self.seen().into_iter().filter(is_left);
        let left: Vec<String> = left.map(|seen| seen.number).collect();
        assert!(
            all.is_some() || !left.is_empty(),
            "they were told meanwhile"
        );
        self.found.told += self.up - left.len();
        self.found.left.extend(left);
        for call in std::mem::take(&mut self.ringing) {
            let ended = self.house.telegram.wait_call(&call, "discarded", s(20));
            if ended["discarded_by"] == "server" {
                self.found.left.push(call);
            } else {
                self.found.told += 1;
            }
        }
        self.office.forget();
        self.branch.forget();
    }

    /// People call for a while.
    fn work(&mut self, dice: &mut Dice) {
        self.office.busy(true);
        let up = self
            .house
            .metrics()
            .value("strowger_telegram_session_up", &[("session", SESSION)]);
        let mut calls = Vec::new();
        if up == Some(1.0) {
            calls.push(self.house.telegram.call("bobby", SESSION, "9.0.0"));
        }
        dice.wait(300, 3500);
        // Only one that has been ringing for long enough is known after the crash.
        let rings =
            |seen: &Seen| !seen.calls && seen.began.is_some_and(|began| began.elapsed() >= SOFT);
        if self.office.calls().iter().any(rings) {
            self.found.telegram_calls += 1;
            self.ringing = calls;
        }
    }

    /// Ends the process on the spot, and notes what must be known of it.
    fn kill(&mut self) {
        let written = [("sink", "store"), ("result", "ok")];
        let acknowledged = self
            .house
            .metrics()
            .value("strowger_cdr_records_total", &written);
        self.house.kill();
        let killed = Instant::now();
        self.office.busy(false);
        self.found.acknowledged += acknowledged.unwrap_or_default();
        let long_ago =
            |at: Option<Instant>| at.is_some_and(|at| killed.saturating_duration_since(at) >= SOFT);
        for seen in self.office.calls().into_iter().filter(|seen| seen.calls) {
            if long_ago(seen.ended) {
                self.found.over.insert(seen.number);
            } else if long_ago(seen.began) {
                self.found.begun.insert(seen.number);
            }
        }
        self.killed = Some(killed);
        let left = |seen: &Seen| seen.is_left(killed, SOFT);
        self.up = self.seen().into_iter().filter(left).count();
    }
}

/// All that was found, as it is written down.
fn report(rounds: u32, seed: u64, found: &Found, records: &Records) -> Value {
    let span = |values: &[u64]| {
        let mut sorted = values.to_vec();
        sorted.sort_unstable();
        json!({
            "median": sorted.get(sorted.len() / 2),
            "worst": sorted.last(),
        })
    };
    json!({
        "rounds": rounds,
        "seed": seed,
        "killed_while_starting": found.early_kills,
        "records_before": OLD_RECORDS,
        "start_ms": span(&found.starts_ms),
        "registered_again_ms": span(&found.registered_ms),
        "all_ends_told_after_kill_ms": span(&found.ends_ms),
        "ends_told": found.told,
        "ends_left": found.left,
        "telegram_calls_up": found.telegram_calls,
        "calls_over_before_a_kill": found.over.len(),
        "calls_up_at_a_kill": found.begun.len(),
        "records": records.ours.len(),
        "records_closed_after_a_crash": records.crashed,
        "records_acknowledged": found.acknowledged,
        "durable_lost": records.durable_lost(found),
        "soft_lost": records.soft_lost(found),
        "records_twice": records.twice,
        "records_without_a_cause": records.open,
    })
}

/// The records of the calls of this run.
struct Records {
    /// By number: whether a crash ended it.
    ours: HashMap<String, bool>,
    old: usize,
    crashed: usize,
    twice: usize,
    /// Without an outcome, or with a leg without a reason.
    open: usize,
    written: usize,
}

impl Records {
    fn read(house: &House) -> Self {
        let said = house.expect_command(&["cdr", "export", "--format", "json"], "");
        let mut all = Self {
            ours: HashMap::new(),
            old: 0,
            crashed: 0,
            twice: 0,
            open: 0,
            written: 0,
        };
        for line in said.lines() {
            if line.contains("\"to\":\"ann\"") {
                all.old += 1;
                continue;
            }
            let Ok(record) = serde_json::from_str::<Value>(line) else {
                continue;
            };
            let legs = record["legs"].as_array().cloned().unwrap_or_default();
            let named = |leg: &Value| leg["reason"].as_str().is_some_and(|name| !name.is_empty());
            if !record["outcome"].is_string() || legs.is_empty() || !legs.iter().all(named) {
                all.open += 1;
            }
            let crashed = legs.iter().any(|leg| leg["reason"] == "crashed");
            all.crashed += usize::from(crashed);
            all.written += usize::from(!crashed);
            let to = record["to"].as_str().unwrap_or_default().to_owned();
            // Calls of Telegram users all have the same.
            if to.starts_with('7') && all.ours.insert(to, crashed).is_some() {
                all.twice += 1;
            }
        }
        all
    }

    /// Records that were on disk, by what the switch had said and by what its users had seen.
    fn durable_lost(&self, found: &Found) -> u64 {
        let lost = found
            .over
            .iter()
            .filter(|number| self.ours.get(*number) != Some(&false));
        #[allow(clippy::cast_possible_truncation, reason = "a few thousand")]
        let acknowledged = found.acknowledged as u64;
        let old = u64::from(OLD_RECORDS) - self.old as u64;
        acknowledged.saturating_sub(self.written as u64) + lost.count() as u64 + old
    }

    /// Calls that had begun a second before, and have no record.
    fn soft_lost(&self, found: &Found) -> usize {
        let numbers = found.begun.iter();
        numbers
            .filter(|number| !self.ours.contains_key(*number))
            .count()
    }
}

#[test]
fn nothing_that_was_acknowledged_is_lost_and_nobody_is_left_in_a_call_by_kill_9_at_random_moments()
{
    let rounds = number_of("CRASH_ROUNDS").map_or(ROUNDS, |rounds| rounds.try_into().unwrap());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let seed = number_of("CRASH_SEED").unwrap_or(u64::from(now.subsec_nanos()) | 1);
    let mut dice = Dice(seed.max(1));
    let mut town = Town::build();
    town.house.start();
    town.house
        .telegram
        .user("bobby", "15550002", &crate::telegram::Behaviour::rings());
    town.register();
    town.house.kill();
    for round in 1..=rounds {
        if dice.below(5) == 0 {
            town.house.spawn();
            dice.wait(0, 600);
            town.house.kill();
            town.found.early_kills += 1;
        }
        town.start();
        town.settle();
        if round % REGISTER_EVERY == 0 {
            town.register();
        }
        town.work(&mut dice);
        town.kill();
    }
    town.start();
    town.settle();
    let Town {
        mut house, found, ..
    } = town;
    house.stop();
    let records = Records::read(&house);
    let report = report(rounds, seed, &found, &records);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/crash.json");
    fs::write(&file, serde_json::to_string_pretty(&report).unwrap()).unwrap();
    eprintln!("{report:#}");
    for nothing in [
        "durable_lost",
        "soft_lost",
        "records_twice",
        "records_without_a_cause",
    ] {
        assert_eq!(report[nothing], 0, "{nothing}: {report:#}");
    }
    assert_eq!(
        found.left,
        [] as [String; 0],
        "somebody is left in a call: {report:#}"
    );
    assert!(
        found.told > 0 && records.crashed > 0,
        "nobody was in a call: {report:#}"
    );
}
