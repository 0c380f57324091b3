//! Call after call by the direct way, all versions and both roles: `make soak RUNS=100`.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use serde_json::{Value, json};

use crate::deadline::s;
use crate::house::House;
use crate::matrix::{VERSIONS, milliseconds, role};
use crate::relays::office;
use crate::talk::{ALAW, Caller, Ends, Talk};

/// A call is good when each side heard the other, and the first audio came this long after the key.
const WITHIN_MS: u64 = 2000;
/// How many of a hundred calls must be good.
const GOOD: usize = 99;

/// One call and its milliseconds from the key to the first audio that ntgcalls played; the house goes on.
fn run(house: House, caller: Caller, version: &str, ends: Ends) -> (House, u64) {
    let mut talk = Talk::start_in(house, caller, version, ALAW);
    let mut at = |event| talk.talker.wait(event, s(5))["t"].as_f64().unwrap();
    let took = at("first_audio") - at("started");
    (talk.end(ends), milliseconds(took))
}

#[test]
#[ignore = "a quarter of an hour of calls: make soak"]
fn nearly_every_call_has_audio_within_two_seconds_of_the_key() {
    let runs = std::env::var("RUNS").ok();
    let runs: usize = runs.map_or(100, |runs| runs.parse().expect("RUNS is a number"));
    let mut house = None;
    let mut calls: Vec<Value> = Vec::new();
    for n in 0..runs {
        let version = VERSIONS[n % VERSIONS.len()];
        let caller = if (n / VERSIONS.len()).is_multiple_of(2) {
            Caller::Pbx
        } else {
            Caller::Telegram
        };
        let ends = if n % 3 == 0 {
            Ends::Telegram
        } else {
            Ends::Pbx
        };
        let stands = house.take().unwrap_or_else(office);
        // What fails takes its house along, with the logs; the next call has a new one.
        let took = catch_unwind(AssertUnwindSafe(|| run(stands, caller, version, ends))).ok();
        let took = took.map(|(stands, took)| {
            house = Some(stands);
            took
        });
        let is_good = took.is_some_and(|took| took <= WITHIN_MS);
        eprintln!("{n}: we are {}, {version}: {took:?} ms", role(caller));
        calls.push(json!({"role": role(caller), "version": version, "passed": is_good, "first_audio_ms": took}));
    }
    let good = calls.iter().filter(|call| call["passed"] == true).count();
    let mut took: Vec<u64> = calls
        .iter()
        .filter_map(|call| call["first_audio_ms"].as_u64())
        .collect();
    took.sort_unstable();
    let quantile = |share: usize| took.get((took.len() * share / 100).min(took.len().max(1) - 1));
    let report = json!({
        "runs": runs,
        "good": good,
        "within_ms": WITHIN_MS,
        "build": if cfg!(debug_assertions) { "debug" } else { "release" },
        "first_audio_ms": {"median": quantile(50), "p95": quantile(95), "most": took.last()},
        "calls": calls,
    });
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/soak.json");
    fs::write(&file, serde_json::to_string_pretty(&report).unwrap()).unwrap();
    eprintln!(
        "\n{good} of {runs} calls good; first audio after {} ms: {}",
        report["first_audio_ms"],
        file.display()
    );
    assert!(
        good * 100 >= runs * GOOD,
        "{good} of {runs}, {}",
        file.display()
    );
}
