//! Every version of the call library, both roles, every way media can go: `make matrix`.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use serde_json::{Value, json};

use crate::deadline::s;
use crate::house::House;
use crate::relays::{assert_path, house_with, office};
use crate::talk::{ALAW, Caller, Ends, Talk};
use crate::telegram::Relay;

/// The versions of the call library that ntgcalls speaks.
pub(crate) const VERSIONS: [&str; 4] = ["8.0.0", "9.0.0", "12.0.0", "13.0.0"];

/// What carries the media.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Direct,
    Turn,
    Reflector,
}

impl Way {
    const ALL: [Way; 3] = [Way::Direct, Way::Turn, Way::Reflector];

    fn name(self) -> &'static str {
        match self {
            Way::Direct => "direct",
            Way::Turn => "TURN only",
            Way::Reflector => "reflector only",
        }
    }

    fn relay(self, house: &House) -> Option<Relay> {
        match self {
            Way::Direct => None,
            Way::Turn => Some(Relay::turn(house.dir(), &[])),
            Way::Reflector => Some(Relay::reflector(house.dir())),
        }
    }
}

/// A whole call; returns the milliseconds from the key to the first audio that ntgcalls played.
fn cell(caller: Caller, version: &str, way: Way) -> u64 {
    let house = office();
    let relay = way.relay(&house);
    let (house, path) = match &relay {
        Some(relay) => (house_with(house, relay, false), "relay_udp"),
        None => (house, "p2p"),
    };
    let mut talk = Talk::start_in(house, caller, version, ALAW);
    let mut at = |event| talk.talker.wait(event, s(5))["t"].as_f64().unwrap();
    let took = at("first_audio") - at("started");
    let house = talk.end(Ends::Pbx);
    assert_path(&house, path, 1.0);
    milliseconds(took)
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "a call is no longer than a minute"
)]
pub(crate) fn milliseconds(seconds: f64) -> u64 {
    (seconds * 1000.0).round() as u64
}

pub(crate) fn role(caller: Caller) -> &'static str {
    match caller {
        Caller::Pbx => "caller",
        Caller::Telegram => "callee",
    }
}

#[test]
#[ignore = "two minutes of calls: make matrix"]
fn every_version_in_both_roles_on_every_way() {
    let mut cells: Vec<Value> = Vec::new();
    for caller in [Caller::Pbx, Caller::Telegram] {
        for version in VERSIONS {
            for way in Way::ALL {
                let took = catch_unwind(AssertUnwindSafe(|| cell(caller, version, way)));
                let took = took.ok();
                cells.push(
                    json!({"role": role(caller), "version": version, "way": way.name(),
                    "passed": took.is_some(), "first_audio_ms": took}),
                );
            }
        }
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/matrix.json");
    fs::write(&file, serde_json::to_string_pretty(&cells).unwrap()).unwrap();
    eprintln!("\n{}", table(&cells));
    let failed = cells.iter().filter(|cell| cell["passed"] != true).count();
    assert_eq!(failed, 0, "of {} cells, {}", cells.len(), file.display());
}

/// Our role, the version, and for each way the milliseconds to the first audio.
fn table(cells: &[Value]) -> String {
    let mut lines = vec![format!(
        "{:<8} {:<8} {:>16} {:>16} {:>16}",
        "we are", "version", "direct", "TURN only", "reflector only"
    )];
    for row in cells.chunks(Way::ALL.len()) {
        let figures = row
            .iter()
            .map(|cell| match cell["first_audio_ms"].as_u64() {
                Some(took) => format!(" {:>16}", format!("{took} ms")),
                None => format!(" {:>16}", "FAILED"),
            });
        let head = format!(
            "{:<8} {:<8}",
            row[0]["role"].as_str().unwrap(),
            row[0]["version"].as_str().unwrap()
        );
        lines.push(head + &figures.collect::<String>());
    }
    lines.join("\n")
}
