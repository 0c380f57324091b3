//! Every message of `testdata/torture` through the front end, against its verdict in `expected.json`.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::{Parsed, parse};

/// Generous for unoptimised code; the slowest takes a tenth of it.
const TIME_LIMIT: Duration = Duration::from_millis(50);

pub(super) struct Case {
    pub(super) file: String,
    pub(super) bytes: Vec<u8>,
    verdict: serde_json::Value,
}

/// Reads the corpus in the repository.
pub(super) fn corpus() -> Vec<Case> {
    read(&PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/torture"))
}

/// Reads a folder with an `expected.json`.
fn read(folder: &Path) -> Vec<Case> {
    let index = std::fs::read_to_string(folder.join("expected.json")).unwrap();
    let index: serde_json::Value = serde_json::from_str(&index).unwrap();
    let case = |verdict: &serde_json::Value| {
        let file = verdict["file"].as_str().unwrap().to_owned();
        let bytes = std::fs::read(folder.join(&file)).ok()?;
        Some(Case {
            file,
            bytes,
            verdict: verdict.clone(),
        })
    };
    index["messages"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(case)
        .collect()
}

impl Case {
    fn lists(&self, field: &str, wanted: &serde_json::Value) -> Option<bool> {
        self.verdict[field]
            .as_array()
            .map(|list| list.contains(wanted))
    }

    /// Returns whether the outcome is one of those allowed. A message that is handed on leaves its answer to the user.
    fn allows(&self, outcome: &Parsed) -> bool {
        let must_parse = self.verdict["parse"] == "accept";
        let must_not_parse = self.verdict["parse"] == "reject";
        match outcome {
            Parsed::Message(_) => !must_not_parse,
            Parsed::Reject { response, .. } => {
                let status = response.status.into();
                let allowed = self.lists("uas_codes", &status).unwrap_or(!must_parse);
                allowed && self.lists("forbidden_codes", &status) != Some(true) && status != 500
            }
            Parsed::Drop(_) | Parsed::KeepAlive => {
                let silent = ["silent", "any", "pong"];
                self.lists("uas_codes", &"drop".into())
                    .unwrap_or(!must_parse)
                    || silent
                        .iter()
                        .any(|word| self.lists("also", &(*word).into()) == Some(true))
            }
        }
    }
}

#[test]
#[allow(clippy::disallowed_methods)] // the one thing measured here is time
fn every_message_gets_its_verdict_in_time() {
    let cases = corpus();
    assert_eq!(cases.len(), 234);
    let mut differ = Vec::new();
    for case in &cases {
        let mut best = Duration::MAX;
        let mut outcome = Parsed::KeepAlive;
        for _ in 0..3 {
            let start = Instant::now();
            outcome = parse(&case.bytes);
            best = best.min(start.elapsed());
        }
        assert!(best < TIME_LIMIT, "{} took {best:?}", case.file);
        if !case.allows(&outcome) {
            differ.push(format!("{}: {outcome:?}\n  {}", case.file, case.verdict));
        }
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}

/// Messages that the two RFCs describe besides those in the folders, in our words: what they are about, and the outcome.
/// 0 stands for a message, 1 for silence.
#[test]
fn the_other_cases_of_the_rfcs_get_their_verdict() {
    let head = "Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKk\r\nFrom: <sip:a@example.org>;tag=1\r\nTo: <sip:b@example.com>\r\n\
                Call-ID: c@192.0.2.1\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\n";
    let text = |more: &str| format!("OPTIONS sip:b@example.com SIP/2.0\r\n{head}{more}\r\n");
    let plain = text("l: 0\r\n");
    let register = plain.replace("OPTIONS", "REGISTER");
    let long = "really".repeat(40);
    let cases: Vec<(&str, String, u16)> = vec![
        (
            "4475 3.1.1.4 escaped NUL",
            register.replace("sip:a@", "sip:null-%00-null@"),
            0,
        ),
        (
            "4475 3.1.1.7 long values",
            plain
                .replace("sip:b@example.com", &format!("sip:b@{long}.example.com"))
                .replace("192.0.2.1;", &format!("192.0.2.1;unknown={long};"))
                .replace(
                    "l: 0",
                    &format!("Unknown-{long}Header: {long}\r\nRoute: <sip:{long}@x;lr>\r\nl: 0"),
                ),
            0,
        ),
        (
            "4475 3.1.1.8 a second request behind the first",
            format!("{register}{plain}"),
            0,
        ),
        (
            "4475 3.1.1.13 no reason",
            plain.replace("OPTIONS sip:b@example.com SIP/2.0", "SIP/2.0 100 "),
            0,
        ),
        (
            "4475 3.1.2.2 length beyond the datagram",
            text("Content-Length: 9999\r\n") + "body",
            400,
        ),
        (
            "4475 3.1.2.5 response with numbers too large",
            plain
                .replace("OPTIONS sip:b@example.com SIP/2.0", "SIP/2.0 503 x")
                .replace("CSeq: 1 ", "CSeq: 9292394834772304023312 "),
            1,
        ),
        (
            "4475 3.1.2.8 blanks in the Request-URI",
            plain.replace("com SIP", "com; lr SIP"),
            400,
        ),
        (
            "4475 3.1.2.11 headers in the Request-URI",
            plain.replace("com SIP", "com?Route=%3Csip:x%3E SIP"),
            400,
        ),
        (
            "4475 3.1.2.14 blanks inside angle brackets",
            plain.replace("<sip:b@example.com>", "\"W, T\" < sip:b@example.com >"),
            400,
        ),
        (
            "4475 3.1.2.17 method and CSeq differ",
            plain.replace("1 OPTIONS", "1 INVITE"),
            400,
        ),
        (
            "4475 3.2.1 branch of the cookie alone",
            plain.replace("z9hG4bKk", "z9hG4bK"),
            0,
        ),
        (
            "4475 3.3.2 unknown scheme",
            plain.replace(
                "sip:b@example.com SIP",
                "nobodyKnowsThisScheme:totallyopaque SIP",
            ),
            416,
        ),
        (
            "4475 3.3.5 unknown extension required",
            text("Require: nothingSupportsThis\r\nl: 0\r\n"),
            0,
        ),
        (
            "4475 3.3.9 two lengths",
            text("Content-Length: 8\r\nContent-Length: 4\r\n") + "12345678",
            400,
        ),
        (
            "4475 3.3.13 parameters of a URI and of its header",
            register.replace("l: 0", "m: <sip:+1@g;x=y>;z\r\nl: 0"),
            0,
        ),
        (
            "5118 4.3 port inside the brackets",
            plain.replace("sip:b@example.com SIP", "sip:[2001:db8::10:5070] SIP"),
            0,
        ),
        (
            "5118 4.5 received without brackets",
            plain.replace("192.0.2.1;", "[2001:db8::9:1];received=2001:db8::9:255;"),
            0,
        ),
        (
            "5118 4.8 two addresses in SDP",
            text("c: application/sdp\r\n") + "v=0\r\nc=IN IP6 ::1\r\nc=IN IP4 1.1.1.1\r\n",
            0,
        ),
        (
            "5118 4.10 three colons",
            plain.replace("b@example.com", "b@[2001:db8:::192.0.2.1]"),
            0,
        ),
    ];
    for (name, text, wanted) in cases {
        let code = match parse(text.as_bytes()) {
            Parsed::Message(_) => 0,
            Parsed::Reject { response, .. } => response.status,
            Parsed::Drop(_) | Parsed::KeepAlive => 1,
        };
        assert_eq!(code, wanted, "{name}\n{text}");
    }
}

/// Sets whose licence keeps them out of the repository: `TORTURE=<folder with expected.json> cargo test -- --ignored`.
#[test]
#[ignore = "needs a folder in TORTURE"]
fn every_message_of_an_outside_set_gets_its_verdict() {
    let folder = std::env::var("TORTURE").unwrap();
    let is_sip = |case: &Case| {
        ["request", "response", "attack"].contains(&case.verdict["kind"].as_str().unwrap())
    };
    let cases: Vec<Case> = read(Path::new(&folder))
        .into_iter()
        .filter(is_sip)
        .collect();
    let differ: Vec<String> = cases
        .iter()
        .map(|case| (case, parse(&case.bytes)))
        .filter(|(case, outcome)| !case.allows(outcome))
        .map(|(case, outcome)| format!("{}: {outcome:?}\n  {}", case.file, case.verdict["parse"]))
        .collect();
    assert!(
        differ.is_empty(),
        "{} of {} differ\n{}",
        differ.len(),
        cases.len(),
        differ.join("\n")
    );
}
