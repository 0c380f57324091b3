//! What a call record says of the two sides of a call beyond how it came out: who they were, and how they sounded.
//!
//! Figures are whole numbers of small units, so that records can be compared, and are short.

use serde::{Deserialize, Serialize};

use crate::Codec;

/// The longest text of a peer that goes into a record, in characters.
const LONGEST: usize = 160;

/// How the media of a Telegram leg goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MediaPath {
    /// Straight to an address of the peer's own.
    Direct,
    /// Through a TURN server (RFC 8656), ours or the peer's.
    Turn,
    /// Through a reflector of Telegram.
    Reflector,
    /// Through one that is reached by TCP.
    ReflectorTcp,
}

impl MediaPath {
    /// Every path.
    pub const ALL: [MediaPath; 4] = [
        MediaPath::Direct,
        MediaPath::Turn,
        MediaPath::Reflector,
        MediaPath::ReflectorTcp,
    ];

    /// Its name, which does not change.
    pub fn label(self) -> &'static str {
        match self {
            MediaPath::Direct => "direct",
            MediaPath::Turn => "turn",
            MediaPath::Reflector => "reflector",
            MediaPath::ReflectorTcp => "reflector_tcp",
        }
    }
}

/// Of whom an answered call had no audio.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Missing {
    /// The SIP party.
    Sip,
    /// The Telegram user.
    Telegram,
    /// Either.
    Both,
}

impl Missing {
    /// Every value.
    pub const ALL: [Missing; 3] = [Missing::Sip, Missing::Telegram, Missing::Both];

    /// Its name, which does not change.
    pub fn label(self) -> &'static str {
        match self {
            Missing::Sip => "sip",
            Missing::Telegram => "telegram",
            Missing::Both => "both",
        }
    }
}

/// How what came from a leg must have sounded: an estimate from what its network did, by the E-model (ITU-T G.107, simplified).
/// What was never measured is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Quality {
    /// Packets that never came, in millionths of those that should have.
    #[serde(rename = "loss", skip_serializing_if = "Option::is_none")]
    pub loss_ppm: Option<u32>,
    /// Interarrival jitter (RFC 3550 section 6.4.1) in microseconds.
    #[serde(rename = "jitter", skip_serializing_if = "Option::is_none")]
    pub jitter_us: Option<u32>,
    /// Round trip in microseconds: by RTCP to a SIP peer, by the checks of ICE to a Telegram peer.
    #[serde(rename = "rtt", skip_serializing_if = "Option::is_none")]
    pub rtt_us: Option<u32>,
    /// Estimated mean opinion score in hundredths, 100 to 450.
    #[serde(rename = "mos", skip_serializing_if = "Option::is_none")]
    pub mos_centi: Option<u32>,
}

impl Quality {
    /// The share of packets that never came, 0 to 1.
    pub fn loss(&self) -> Option<f64> {
        self.loss_ppm.map(|loss| f64::from(loss) / 1e6)
    }

    /// Interarrival jitter in milliseconds.
    pub fn jitter_ms(&self) -> Option<f64> {
        self.jitter_us.map(|jitter| f64::from(jitter) / 1e3)
    }

    /// Round trip in milliseconds.
    pub fn rtt_ms(&self) -> Option<f64> {
        self.rtt_us.map(|rtt| f64::from(rtt) / 1e3)
    }

    /// Estimated mean opinion score, 1 to 4.5.
    pub fn mos(&self) -> Option<f64> {
        self.mos_centi.map(|mos| f64::from(mos) / 100.0)
    }

    /// Whether nothing was measured.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The SIP side of a call: of two PBXs the one that called, of several legs the one that was answered, else the last one tried.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SipSide {
    /// The Call-ID (RFC 3261 section 8.1.1.4).
    #[serde(rename = "id", skip_serializing_if = "String::is_empty")]
    pub call_id: String,
    /// The address in From, as in `sip:600@192.0.2.7`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub from: String,
    /// The address in To.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub to: String,
    /// Where the peer signals from: transport, address and port, as in `udp:192.0.2.7:5060`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub peer: String,
    /// What was agreed on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub codec: Option<Codec>,
    /// How it sounded.
    #[serde(rename = "q", skip_serializing_if = "Quality::is_empty")]
    pub quality: Quality,
}

/// The Telegram side of a call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TelegramSide {
    /// The user's id, once he has been found.
    #[serde(rename = "id", skip_serializing_if = "Option::is_none")]
    pub user_id: Option<i64>,
    /// His name at Telegram, without `@`.
    #[serde(rename = "name", skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// His phone number, digits only, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phone: Option<String>,
    /// What his app sends; there is but one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub codec: Option<Codec>,
    /// The version of the call library that was agreed on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// How media went when it started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<MediaPath>,
    /// How it sounded.
    #[serde(rename = "q", skip_serializing_if = "Quality::is_empty")]
    pub quality: Quality,
    /// The name of the Telegram error behind the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What a call record has in detail. Versions before had none of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CallDetails {
    /// The node that had the call.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub node: String,
    /// What the number had to be for the route that the call took: the text of its `match`; empty for a route that takes every number.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub rule: String,
    /// The SIP side.
    #[serde(skip_serializing_if = "is_default")]
    pub sip: SipSide,
    /// The Telegram side.
    #[serde(rename = "tg", skip_serializing_if = "is_default")]
    pub telegram: TelegramSide,
    /// Keys that went from one side to the other.
    #[serde(rename = "dtmf", skip_serializing_if = "is_default")]
    pub dtmf_count: u32,
    /// Who was not heard within 5 s after the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub one_way: Option<Missing>,
}

impl CallDetails {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        is_default(self)
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// What a peer wrote, fit for a record: no control characters, at most 160 characters.
pub fn recorded(text: &str) -> String {
    let fine = text.chars().filter(|c| !c.is_control());
    fine.take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_takes_no_room() {
        assert_eq!(
            serde_json::to_string(&CallDetails::default()).unwrap(),
            "{}"
        );
        let details = CallDetails {
            dtmf_count: 3,
            one_way: Some(Missing::Sip),
            telegram: TelegramSide {
                path: Some(MediaPath::ReflectorTcp),
                quality: Quality {
                    loss_ppm: Some(12_345),
                    mos_centi: Some(402),
                    ..Quality::default()
                },
                ..TelegramSide::default()
            },
            ..CallDetails::default()
        };
        let text = serde_json::to_string(&details).unwrap();
        let wanted = r#"{"tg":{"path":"reflector_tcp","q":{"loss":12345,"mos":402}},"dtmf":3,"one_way":"sip"}"#;
        assert_eq!(text, wanted);
        assert_eq!(serde_json::from_str::<CallDetails>(&text).unwrap(), details);
        // A later version may say more.
        let more = r#"{"tg":{"path":"direct","colour":"blue"},"recording":"x"}"#;
        assert!(serde_json::from_str::<CallDetails>(more).is_ok());
    }

    #[test]
    fn figures_are_read_in_the_units_of_people() {
        let quality = Quality {
            loss_ppm: Some(25_000),
            jitter_us: Some(1_500),
            rtt_us: Some(42_000),
            mos_centi: Some(441),
        };
        let all = [
            quality.loss(),
            quality.jitter_ms(),
            quality.rtt_ms(),
            quality.mos(),
        ];
        assert_eq!(all, [0.025, 1.5, 42.0, 4.41].map(Some));
        assert_eq!(Quality::default().mos(), None);
    }

    #[test]
    fn labels_are_what_is_written() {
        for path in MediaPath::ALL {
            let text = serde_json::to_string(&path).unwrap();
            assert_eq!(text, format!("\"{}\"", path.label()));
        }
        for missing in Missing::ALL {
            let text = serde_json::to_string(&missing).unwrap();
            assert_eq!(text, format!("\"{}\"", missing.label()));
        }
    }

    #[test]
    fn what_a_peer_wrote_is_short_and_printable() {
        assert_eq!(recorded("a\r\nb"), "ab");
        assert_eq!(recorded(&"é".repeat(1000)).chars().count(), LONGEST);
    }
}
