//! The messages of `testdata/torture`, as seeds and as a race against time. Their verdicts are in `tests/torture`.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::{Parsed, parse};

/// Generous for unoptimised code; the slowest takes a tenth of it.
const TIME_LIMIT: Duration = Duration::from_millis(50);

pub(super) struct Case {
    pub(super) file: String,
    pub(super) bytes: Vec<u8>,
}

/// Reads the corpus in the repository.
pub(super) fn corpus() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/torture");
    let index = std::fs::read_to_string(folder.join("expected.json")).unwrap();
    let index: serde_json::Value = serde_json::from_str(&index).unwrap();
    let case = |entry: &serde_json::Value| {
        let file = entry["file"].as_str().unwrap().to_owned();
        let bytes = std::fs::read(folder.join(&file)).unwrap();
        Case { file, bytes }
    };
    index["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(case)
        .collect()
}

#[test]
#[allow(clippy::disallowed_methods)] // the one thing measured here is time
fn every_message_is_read_in_time() {
    let cases = corpus();
    assert_eq!(cases.len(), 234);
    for case in &cases {
        let mut best = Duration::MAX;
        for _ in 0..3 {
            let start = Instant::now();
            let outcome: Parsed = parse(&case.bytes);
            best = best.min(start.elapsed());
            drop(outcome);
        }
        assert!(best < TIME_LIMIT, "{} took {best:?}", case.file);
    }
}
