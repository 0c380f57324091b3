//! Numbers and names that are not shown: `cdr.privacy = "masked"`.
//!
//! Of a number the last three digits stay, a name goes. That is done with the JSON of what is shown, by the names of its members, so that
//! a record, an event and a list of calls are all treated alike.
//!
//! The record of a call is masked before it is written: what is not in the store is in no backup and in no copy of the disk, and nobody
//! can be made to show it. Only as long as a call goes on its record is whole, for its ends could not be told of a crash otherwise. What
//! was written before is masked when it is read.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use model::{CallDetails, CallRecord};
use serde_json::Value;

use crate::settings::Privacy;

/// How many digits of a number are shown.
const SHOWN: usize = 3;
/// What stands for the others.
const STARS: &str = "***";
/// How many digits in a row make a number of what a peer has written.
const LONG: usize = 5;
/// What may stand between the digits of a number: one of them, or two if one is a parenthesis (`(555) 123`).
const BETWEEN: &str = "-.()/ ";

/// Whether numbers and names are hidden. All copies change together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Veil(Arc<AtomicBool>);

impl Veil {
    /// As the settings say.
    pub(crate) fn new(privacy: Privacy) -> Self {
        let veil = Self::default();
        veil.set(privacy);
        veil
    }

    /// From now on as these settings say.
    pub(crate) fn set(&self, privacy: Privacy) {
        let is_down = match privacy {
            Privacy::Full => false,
            Privacy::Masked => true,
        };
        self.0.store(is_down, Ordering::Relaxed);
    }

    fn is_down(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// A record as it may be shown.
    pub(crate) fn over(&self, record: CallRecord) -> CallRecord {
        if self.is_down() {
            masked(&record)
        } else {
            record
        }
    }

    /// Records as they may be written.
    pub(crate) fn over_all<'a>(&self, records: &[&'a CallRecord]) -> Vec<Cow<'a, CallRecord>> {
        let is_down = self.is_down();
        let over = |record: &&'a CallRecord| {
            if is_down {
                Cow::Owned(masked(record))
            } else {
                Cow::Borrowed(*record)
            }
        };
        records.iter().map(over).collect()
    }

    /// What an event tells, as it may be shown.
    pub(crate) fn over_data(&self, data: &Value) -> Value {
        let mut data = data.clone();
        if self.is_down() {
            mask("", &mut data);
        }
        data
    }
}

fn masked(record: &CallRecord) -> CallRecord {
    let whole = serde_json::to_value(record).and_then(|mut value| {
        mask("", &mut value);
        serde_json::from_value(value)
    });
    whole.unwrap_or_else(|_| CallRecord {
        // Rather too little.
        from: String::new(),
        to: String::new(),
        diverted_from: None,
        legs: Vec::new(),
        details: CallDetails::default(),
        ..record.clone()
    })
}

/// Masks what stands in an object under such a name, and in all that is in it.
fn mask(within: &str, value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (key, member) in members {
                match (key.as_str(), &mut *member) {
                    (
                        "from" | "to" | "diverted_from" | "phone" | "username",
                        Value::String(text),
                    ) => *text = number(text),
                    ("name", Value::String(text)) if within == "tg" => *text = number(text),
                    ("user_id", _) => shorten(member),
                    ("id", Value::Number(_)) if within == "tg" => shorten(member),
                    // A rule may be the number that was dialled.
                    ("phrase" | "peer_reason" | "rule", Value::String(text)) => *text = words(text),
                    // Some make a Call-ID of the number.
                    ("id", Value::String(text)) if within == "sip" => *text = words(text),
                    (key, _) => mask(key, member),
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|value| mask(within, value)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The last digits of an id.
fn shorten(id: &mut Value) {
    if let Some(number) = id.as_i64() {
        *id = (number % 1000).into();
    }
}

/// What is shown of a number, or of an address with one; nothing of a name.
pub(crate) fn number(text: &str) -> String {
    let bare = match text.split_once(':') {
        Some(("sip" | "sips" | "tel", rest)) => rest.split(['@', ';']).next().unwrap_or_default(),
        Some(_) | None => text,
    };
    let is_number = |c: char| c.is_ascii_digit() || "+-.() *#".contains(c);
    let digits: Vec<char> = bare.chars().filter(char::is_ascii_digit).collect();
    if digits.is_empty() || !bare.chars().all(is_number) {
        return String::new();
    }
    // What was masked before stays so.
    let masked = bare.strip_prefix(STARS);
    match masked {
        Some(rest) if rest.len() == digits.len() && digits.len() <= SHOWN => bare.to_owned(),
        Some(_) | None => last(&digits),
    }
}

fn last(digits: &[char]) -> String {
    let hidden = digits.len().saturating_sub(SHOWN);
    let shown = digits.iter().skip(hidden);
    let stars = if hidden > 0 { STARS } else { "" };
    stars.chars().chain(shown.copied()).collect()
}

/// What a peer has written, without long numbers.
fn words(text: &str) -> String {
    let mut shown = String::new();
    // A number as it is written, its digits, and what stands behind the last of them.
    let (mut run, mut digits, mut gap) = (String::new(), Vec::new(), String::new());
    for c in text.chars().map(Some).chain([None]) {
        match c {
            Some(c) if c.is_ascii_digit() => {
                run.push_str(&gap);
                gap.clear();
                run.push(c);
                digits.push(c);
            }
            Some(c) if !digits.is_empty() && may_be_between(&gap, c) => gap.push(c),
            other => {
                if digits.len() >= LONG {
                    shown.push_str(&last(&digits));
                } else {
                    shown.push_str(&run);
                }
                shown.push_str(&gap);
                run.clear();
                digits.clear();
                gap.clear();
                shown.extend(other);
            }
        }
    }
    shown
}

/// Whether digits behind this gap and this character would belong to the same number.
fn may_be_between(gap: &str, c: char) -> bool {
    let is_one = gap.is_empty() || gap.len() == 1 && (gap.contains(['(', ')']) || "()".contains(c));
    is_one && BETWEEN.contains(c)
}

#[cfg(test)]
mod tests {
    use model::CallId;
    use serde_json::json;

    use super::*;

    #[test]
    fn three_digits_of_a_number_stay_and_a_name_goes() {
        for (text, shown) in [
            ("+15551234567", "***567"),
            ("15551234567", "***567"),
            ("+1 (555) 123-45.67", "***567"),
            ("1234", "***234"),
            ("600", "600"),
            ("***600", "***600"),
            ("***5551600", "***600"),
            ("sip:+15551234567@pbx.example", "***567"),
            ("tel:+15551234567;phone-context=x", "***567"),
            ("alice", ""),
            ("@alice", ""),
            ("bob1987654", ""),
            ("Alice 15551234567", ""),
            ("sip:k7m2p9x4qa@127.0.0.1:60022", ""),
            ("٠١٢٣٤٥٦٧", ""),
            ("", ""),
            ("+", ""),
        ] {
            assert_eq!(number(text), shown, "{text}");
        }
        assert_eq!(
            words("604 of +15551234567, cause=17"),
            "604 of +***567, cause=17"
        );
        assert_eq!(words("15551234567"), "***567");
    }

    #[test]
    fn a_number_is_hidden_however_it_is_written_and_a_code_is_not() {
        for (text, shown) in [
            ("+1-555-123-4567 is busy", "+***567 is busy"),
            ("(555) 123 4567", "(***567"),
            ("+1 (555) 123-4567, sorry", "+***567, sorry"),
            ("call 030/12345.6.", "call ***456."),
            ("12 345", "***345"),
            ("12 34", "12 34"),
            ("Q.850;cause=17", "Q.850;cause=17"),
            (
                "Q.850;cause=16;text=\"555 0009 555\"",
                "Q.850;cause=16;text=\"***555\"",
            ),
            ("486 - 600 - 604", "486 - 600 - 604"),
            ("(12) (34) x", "(12) (34) x"),
            ("1", "1"),
            ("- ", "- "),
        ] {
            assert_eq!(words(text), shown, "{text}");
            assert_eq!(words(shown), shown, "twice is once");
        }
    }

    fn record() -> CallRecord {
        let record = json!({
            "id": CallId::new(1_700_000_000_000, 1), "direction": "tg_to_sip", "trunk": "office", "session": "gateway",
            "from": "+15550009111", "to": "sip:15550009222@pbx.example", "diverted_from": "15550009333", "started_ms": 1_700_000_000_000_u64,
            "answered_after_ms": 12345, "ended_after_ms": 1_234_567,
            "legs": [{ "kind": "sip", "via": "office", "code": 486, "phrase": "15550009444 is busy", "reason": "sip_refused",
                "peer_reason": "Q.850;cause=17;text=\"15550009555\"" }],
            "details": { "sip": { "from": "sip:15550009666@192.0.2.7", "to": "tel:15550009777", "id": "15550009000@b", "peer": "udp:192.0.2.7:5060" },
                "tg": { "id": 15_550_009_888_u64, "name": "alice", "phone": "15550009999", "path": "direct" }, "rule": "15550009123" },
        });
        serde_json::from_value(record).unwrap()
    }

    #[test]
    fn nothing_of_a_record_tells_who_talked_and_everything_else_stays() {
        let veil = Veil::new(Privacy::Full);
        assert_eq!(veil.over(record()), record());
        veil.clone().set(Privacy::Masked);
        let masked = veil.over(record());
        let text = serde_json::to_string(&masked).unwrap();
        assert!(
            !text.contains("5550009") && !text.contains("alice"),
            "{text}"
        );
        assert_eq!(
            (masked.from.as_str(), masked.to.as_str()),
            ("***111", "***222")
        );
        assert_eq!(masked.diverted_from.as_deref(), Some("***333"));
        assert_eq!(masked.legs[0].phrase, "***444 is busy");
        assert_eq!(
            masked.legs[0].peer_reason.as_deref(),
            Some("Q.850;cause=17;text=\"***555\"")
        );
        assert_eq!(
            (masked.id, masked.started_ms, masked.ended_after_ms),
            (record().id, record().started_ms, record().ended_after_ms)
        );
        assert_eq!(veil.over(masked.clone()), masked, "twice is once");
        let whole = record();
        let written = veil.over_all(&[&whole]);
        assert_eq!(*written[0], masked);
    }

    #[test]
    fn what_an_event_tells_is_masked_too() {
        let veil = Veil::new(Privacy::Masked);
        let data = json!({ "direction": "sip_to_tg", "from": "+15551234567", "to": "alice", "user_id": 5_551_234_567_u64, "started_ms": 1_700_000_000_000_u64,
            "legs": [{ "via": "office", "phrase": "15551234567", "code": 404 }] });
        let shown = json!({ "direction": "sip_to_tg", "from": "***567", "to": "", "user_id": 567, "started_ms": 1_700_000_000_000_u64,
            "legs": [{ "via": "office", "phrase": "***567", "code": 404 }] });
        assert_eq!(veil.over_data(&data), shown);
        veil.set(Privacy::Full);
        assert_eq!(veil.over_data(&data), data);
    }
}
