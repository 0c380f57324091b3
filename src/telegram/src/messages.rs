//! The JSON messages of the signalling plane (telegram-calls 7). Unknown types and fields are ignored; what a message
//! needs and lacks makes the whole message unreadable.

use serde_json::{Value, json};

/// The payload type of Opus in our offers.
pub const OPUS: u8 = 111;
/// Candidates read from one message; native apps send one to a few dozen in a whole call.
const CANDIDATES: usize = 64;

/// One message of the peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// ICE credentials and the fingerprint of the certificate; again for an ICE restart.
    InitialSetup(Setup),
    /// Candidate lines, as they came.
    Candidates(Vec<String>),
    /// An offer or an answer.
    Negotiate {
        /// Names the offer.
        exchange: u32,
        /// The first audio content, if any.
        audio: Option<Audio>,
    },
    /// What the peer's microphone does.
    MediaState {
        /// Whether it is off.
        muted: bool,
    },
    /// Another type.
    Unknown,
}

/// The content of InitialSetup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setup {
    /// ICE user name fragment.
    pub ufrag: String,
    /// ICE password.
    pub pwd: String,
    /// The hash of the fingerprint, such as `sha-256`.
    pub hash: String,
    /// The fingerprint of the certificate.
    pub fingerprint: Vec<u8>,
    /// The DTLS role: `actpass`, `active` or `passive`.
    pub setup: String,
}

/// An audio content of NegotiateChannels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audio {
    /// The stream the offerer sends.
    pub ssrc: u32,
    /// The payload type of Opus, if it is in the list.
    pub opus: Option<u8>,
}

/// Reads one message; `None` when it is no JSON object of a known shape.
pub fn parse(bytes: &[u8]) -> Option<Message> {
    let value: Value = serde_json::from_slice(bytes).ok()?;
    Some(match value.get("@type")?.as_str()? {
        "InitialSetup" => Message::InitialSetup(setup(&value)?),
        "Candidates" => Message::Candidates(
            value
                .get("candidates")?
                .as_array()?
                .iter()
                .filter_map(|candidate| text(candidate, "sdpString"))
                .take(CANDIDATES)
                .collect(),
        ),
        "NegotiateChannels" => {
            let contents = value.get("contents")?.as_array()?;
            let is_audio =
                |content: &&Value| content.get("type").and_then(Value::as_str) == Some("audio");
            Message::Negotiate {
                exchange: id(value.get("exchangeId")?)?,
                audio: contents.iter().find(is_audio).and_then(audio),
            }
        }
        "MediaState" => Message::MediaState {
            muted: value.get("muted").and_then(Value::as_bool).unwrap_or(false),
        },
        _ => Message::Unknown,
    })
}

/// Returns an InitialSetup. Renomination is not in our ICE agent, so it is never announced (14.3, item 11).
pub fn initial_setup(ufrag: &str, pwd: &str, fingerprint: &[u8], setup: &str) -> String {
    let hex: Vec<String> = fingerprint.iter().map(|b| format!("{b:02X}")).collect();
    json!({"@type": "InitialSetup", "ufrag": ufrag, "pwd": pwd, "renomination": false,
        "fingerprints": [{"hash": "sha-256", "setup": setup, "fingerprint": hex.join(":")}]})
    .to_string()
}

/// Returns a Candidates message.
pub fn candidates(lines: &[String]) -> String {
    let list: Vec<Value> = lines
        .iter()
        .map(|line| json!({"sdpString": line}))
        .collect();
    json!({"@type": "Candidates", "candidates": list}).to_string()
}

/// Returns an offer (our ssrc, a new id) or an answer (the offerer's ssrc, id and payload type), of Opus without header
/// extensions and feedback: then there are no probes, and nothing is lost (14.3, item 7).
pub fn negotiate(exchange: u32, ssrc: u32, opus: u8) -> String {
    json!({"@type": "NegotiateChannels", "exchangeId": exchange.to_string(), "contents": [{
        "type": "audio", "ssrc": ssrc.to_string(),
        "payloadTypes": [{"id": opus, "name": "opus", "clockrate": 48000, "channels": 2,
            "feedbackTypes": [], "parameters": {"minptime": "10", "useinbandfec": "1"}}],
        "rtpExtensions": []}]})
    .to_string()
}

/// Returns an answer that takes nothing.
pub fn refuse(exchange: u32) -> String {
    json!({"@type": "NegotiateChannels", "exchangeId": exchange.to_string(), "contents": []})
        .to_string()
}

/// Returns a MediaState.
pub fn media_state(muted: bool) -> String {
    json!({"@type": "MediaState", "muted": muted, "lowBattery": false, "videoState": "inactive",
        "videoRotation": 0, "screencastState": "inactive"})
    .to_string()
}

fn setup(value: &Value) -> Option<Setup> {
    let print = value.get("fingerprints")?.get(0)?;
    let fingerprint = print
        .get("fingerprint")?
        .as_str()?
        .split(':')
        .map(|hex| u8::from_str_radix(hex, 16).ok())
        .collect::<Option<Vec<u8>>>()?;
    Some(Setup {
        ufrag: text(value, "ufrag")?,
        pwd: text(value, "pwd")?,
        hash: text(print, "hash")?,
        fingerprint,
        setup: text(print, "setup")?,
    })
}

fn audio(content: &Value) -> Option<Audio> {
    let is_opus = |format: &&Value| {
        let name = format.get("name").and_then(Value::as_str);
        name.is_some_and(|name| name.eq_ignore_ascii_case("opus"))
    };
    let formats = content.get("payloadTypes").and_then(Value::as_array);
    Some(Audio {
        ssrc: id(content.get("ssrc")?)?,
        // By name, not by number.
        opus: formats
            .and_then(|formats| formats.iter().find(is_opus))
            .and_then(|format| u8::try_from(format.get("id")?.as_u64()?).ok())
            .filter(|number| *number < 128),
    })
}

/// Ids are decimal strings; numbers are accepted too.
fn id(value: &Value) -> Option<u32> {
    match value {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => number.as_u64().and_then(|n| u32::try_from(n).ok()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

fn text(value: &Value, key: &str) -> Option<String> {
    value.get(key)?.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let setup = initial_setup("abcd", "p", &[0x0a, 0xff], "actpass");
        let Some(Message::InitialSetup(setup)) = parse(setup.as_bytes()) else {
            panic!()
        };
        assert_eq!(
            (setup.ufrag.as_str(), setup.fingerprint),
            ("abcd", vec![0x0a, 0xff])
        );
        let offer = parse(negotiate(7, 9, OPUS).as_bytes());
        let audio = Some(Audio {
            ssrc: 9,
            opus: Some(111),
        });
        assert_eq!(offer, Some(Message::Negotiate { exchange: 7, audio }));
        let lines = vec!["candidate:1".to_owned()];
        let read = parse(candidates(&lines).as_bytes());
        assert_eq!(read, Some(Message::Candidates(lines)));
        let muted = parse(media_state(true).as_bytes());
        assert_eq!(muted, Some(Message::MediaState { muted: true }));
        let refused = Some(Message::Negotiate {
            exchange: 7,
            audio: None,
        });
        assert_eq!(parse(refuse(7).as_bytes()), refused);
    }

    #[test]
    fn ids_may_be_numbers() {
        let text = br#"{"@type":"NegotiateChannels","exchangeId":5,"contents":[
            {"type":"video","ssrc":"1"},{"type":"audio","ssrc":4294967295,"payloadTypes":[
            {"id":63,"name":"red"},{"id":120,"name":"OPUS"}]}]}"#;
        let audio = Some(Audio {
            ssrc: u32::MAX,
            opus: Some(120),
        });
        assert_eq!(parse(text), Some(Message::Negotiate { exchange: 5, audio }));
    }

    #[test]
    fn unknown_types_are_ignored_and_broken_ones_unreadable() {
        assert_eq!(parse(br#"{"@type":"Something"}"#), Some(Message::Unknown));
        for broken in [
            "",
            "[]",
            "{}",
            r#"{"@type":1}"#,
            r#"{"@type":"InitialSetup","ufrag":"a","pwd":"b","fingerprints":[]}"#,
            r#"{"@type":"InitialSetup","ufrag":"a","pwd":"b","fingerprints":[{"hash":"sha-256","setup":"active","fingerprint":"0G"}]}"#,
            r#"{"@type":"NegotiateChannels","exchangeId":-1,"contents":[]}"#,
            r#"{"@type":"Candidates"}"#,
        ] {
            assert_eq!(parse(broken.as_bytes()), None, "{broken}");
        }
    }

    #[test]
    fn only_so_many_candidates_are_read() {
        let lines = vec!["candidate:1".to_owned(); 1000];
        let Some(Message::Candidates(read)) = parse(candidates(&lines).as_bytes()) else {
            panic!()
        };
        assert_eq!(read.len(), CANDIDATES);
    }
}
