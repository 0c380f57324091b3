//! A folder of messages with an `expected.json`, and what it expects.

use std::path::{Path, PathBuf};

use serde_json::Value;

/// What happened to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// A parser took it.
    pub(crate) read: bool,
    /// The final answer; `None` is silence.
    pub(crate) answer: Option<u16>,
    /// After an answer of 2xx, whether we would send media to where the peer says it is.
    pub(crate) sends: bool,
}

/// What has to happen to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Keep,
    Close,
    WaitThenClose,
    TwoMessages,
    Any,
}

/// One message.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) set: String,
    pub(crate) file: String,
    pub(crate) kind: String,
    pub(crate) bytes: Vec<u8>,
    parse: String,
    /// The final answers allowed; empty with `drops` is silence alone, `None` is any.
    codes: Option<Vec<u16>>,
    drops: bool,
    forbidden: Vec<u16>,
    /// `silent`, `pong`, `any`.
    also: Vec<String>,
    pub(crate) stream: Stream,
    verdict: String,
}

impl Case {
    /// A message that is written in the test itself.
    pub(crate) fn own(set: &str, file: &str, bytes: Vec<u8>, is_read: bool, codes: &[u16]) -> Self {
        Self {
            set: set.to_owned(),
            file: file.to_owned(),
            kind: "request".to_owned(),
            bytes,
            parse: if is_read { "accept" } else { "reject" }.to_owned(),
            codes: Some(codes.to_vec()),
            drops: codes.is_empty(),
            forbidden: Vec::new(),
            also: Vec::new(),
            stream: Stream::Keep,
            verdict: String::new(),
        }
    }

    /// Reads every message of a folder that this room can judge.
    pub(crate) fn all(folder: &Path) -> Vec<Self> {
        let index = std::fs::read_to_string(folder.join("expected.json")).unwrap();
        let index: Value = serde_json::from_str(&index).unwrap();
        let messages = index["messages"].as_array().unwrap();
        messages
            .iter()
            .map(|entry| Self::read(folder, entry))
            .filter(|case| {
                ["request", "response", "attack", "sdp", "sdes"].contains(&case.kind.as_str())
            })
            .collect()
    }

    fn read(folder: &Path, entry: &Value) -> Self {
        let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
        let numbers = |name: &str| -> Option<Vec<u16>> {
            let list = entry[name].as_array()?.iter();
            Some(
                list.filter_map(|code| u16::try_from(code.as_u64()?).ok())
                    .collect(),
            )
        };
        let drops = |value: &Value| value.as_str() == Some("drop");
        let codes = &entry["uas_codes"];
        let file = text("file");
        let set = file.split_once('/').map_or("sdp", |(set, _)| set);
        Self {
            set: set.to_owned(),
            bytes: std::fs::read(folder.join(&file)).unwrap(),
            kind: text("kind"),
            parse: text("parse"),
            codes: numbers("uas_codes").or_else(|| drops(codes).then(Vec::new)),
            drops: drops(codes) || codes.as_array().is_some_and(|list| list.iter().any(drops)),
            forbidden: numbers("forbidden_codes").unwrap_or_default(),
            also: entry["also"].as_array().map_or_else(Vec::new, |words| {
                let words = words.iter().filter_map(Value::as_str);
                words.map(str::to_owned).collect()
            }),
            stream: match entry["tcp"].as_str() {
                Some("keep") => Stream::Keep,
                Some("close") => Stream::Close,
                Some("wait-then-close") => Stream::WaitThenClose,
                Some("two-messages") => Stream::TwoMessages,
                Some(other) => panic!("{file}: unknown tcp {other}"),
                None => Stream::Any,
            },
            verdict: text("verdict"),
            file,
        }
    }

    /// Whether every message of the set has to have its verdict, not only nearly every one.
    pub(crate) fn is_of_an_rfc(&self) -> bool {
        self.set == "rfc4475" || self.set == "rfc5118"
    }

    /// Whether it is a session description, to be offered in an INVITE that is in order otherwise.
    pub(crate) fn is_sdp(&self) -> bool {
        self.kind == "sdp" || self.kind == "sdes"
    }

    /// Whether the message must be read by a parser.
    pub(crate) fn must_be_read(&self) -> bool {
        self.parse == "accept"
    }

    /// Whether the parser did with it what it must.
    pub(crate) fn reads_as_expected(&self, outcome: Outcome) -> bool {
        match self.parse.as_str() {
            "accept" if self.is_sdp() => sip::sdp::parse(&self.bytes).is_ok(),
            // A description that can be read may still be no offer.
            "reject" if self.is_sdp() => true,
            // What is refused for what it asks, not for how it is written, was read.
            "accept" => outcome.read || matches!(outcome.answer, Some(416 | 501)),
            "reject" => !outcome.read,
            "either" => true,
            other => panic!("{}: unknown parse {other}", self.file),
        }
    }

    /// Whether the answer, or the silence, is one of those allowed.
    pub(crate) fn answers_as_expected(&self, outcome: Outcome) -> bool {
        if self.is_sdp() {
            return self.sdp_answers_as_expected(outcome);
        }
        let says = |word: &str| self.also.iter().any(|have| have == word);
        let Some(status) = outcome.answer else {
            // Responses and ACKs are never answered; a message that may be unreadable may be dropped.
            let is_mute = self.kind == "response" || self.bytes.starts_with(b"ACK ");
            let is_vague = self.codes.is_none() && !self.must_be_read();
            return is_mute
                || is_vague
                || self.drops
                || ["silent", "pong", "any"].into_iter().any(says);
        };
        self.kind != "response"
            && !self.bytes.starts_with(b"ACK ")
            && status != 500
            && !self.forbidden.contains(&status)
            && (says("any")
                || self
                    .codes
                    .as_ref()
                    .is_none_or(|codes| codes.contains(&status)))
    }

    /// The same for a session description.
    fn sdp_answers_as_expected(&self, outcome: Outcome) -> bool {
        let Some(status) = outcome.answer else {
            return false;
        };
        let is_taken = (200..300).contains(&status);
        match self.verdict.as_str() {
            "accept" => is_taken,
            "hold" => is_taken && !outcome.sends,
            "reject488" => [488, 606, 415, 400].contains(&status),
            "reject400" => [400, 488, 606].contains(&status),
            "no-media-to" => status != 500 && !outcome.sends,
            "accept-or-reject" | "" => status != 500,
            other => panic!("{}: unknown verdict {other}", self.file),
        }
    }
}

/// The folder given in `TORTURE`, or those of this room; the messages in our own words are always among them.
pub(crate) fn cases() -> Vec<Case> {
    let mut cases = if let Some(folder) = std::env::var_os("TORTURE") {
        Case::all(Path::new(&folder))
    } else {
        let testdata = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata");
        let mut cases = Case::all(&testdata.join("torture"));
        cases.extend(Case::all(&testdata.join("sdp")));
        cases
    };
    cases.extend(crate::reworded::cases());
    cases
}
