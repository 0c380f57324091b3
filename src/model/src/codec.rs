//! Audio codecs of the SIP side.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The RTP payload types of one direction, 0 to 127.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PayloadTypes {
    /// Of the audio.
    pub audio: u8,
    /// Of telephone-event (RFC 4733), if agreed.
    pub event: Option<u8>,
}

/// An audio codec, under the name an operator writes in a trunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Codec {
    /// G.711 A-law, static payload type 8 (RFC 3551).
    Alaw,
    /// G.711 mu-law, static payload type 0 (RFC 3551).
    Mulaw,
    /// Opus, dynamic payload type (RFC 7587).
    Opus,
    /// G.722 at 64 kbit/s, 16 kHz audio, static payload type 9 with a clock of 8000 (RFC 3551 section 4.5.2).
    G722,
    /// Samples of 16 bits as they are, 48 kHz mono, dynamic payload type (RFC 3551 section 4.5.11).
    L16,
}

impl Codec {
    /// Every codec there is.
    pub const ALL: [Codec; 5] = [
        Codec::Opus,
        Codec::Alaw,
        Codec::Mulaw,
        Codec::G722,
        Codec::L16,
    ];
    /// What a trunk has unless it says otherwise, in order of preference.
    pub const DEFAULT: [Codec; 4] = [Codec::Opus, Codec::Alaw, Codec::Mulaw, Codec::G722];

    /// The encoding name of its `a=rtpmap`.
    pub fn encoding_name(self) -> &'static str {
        match self {
            Codec::Alaw => "PCMA",
            Codec::Mulaw => "PCMU",
            Codec::Opus => "opus",
            Codec::G722 => "G722",
            Codec::L16 => "L16",
        }
    }

    /// The RTP clock rate in Hz.
    pub fn clock_rate(self) -> u32 {
        match self {
            Codec::Alaw | Codec::Mulaw | Codec::G722 => 8_000,
            Codec::Opus | Codec::L16 => 48_000,
        }
    }

    /// The sample rate of the decoded audio in Hz.
    pub fn sample_rate(self) -> u32 {
        match self {
            Codec::G722 => 16_000,
            Codec::Alaw | Codec::Mulaw | Codec::Opus | Codec::L16 => self.clock_rate(),
        }
    }

    /// The payload type of RFC 3551, if it has one.
    pub fn static_payload_type(self) -> Option<u8> {
        match self {
            Codec::Alaw => Some(8),
            Codec::Mulaw => Some(0),
            Codec::G722 => Some(9),
            Codec::Opus | Codec::L16 => None,
        }
    }

    /// The value of the metric label `codec`.
    pub fn label(self) -> &'static str {
        match self {
            Codec::Alaw => "pcma",
            Codec::Mulaw => "pcmu",
            Codec::Opus => "opus",
            Codec::G722 => "g722",
            Codec::L16 => "l16",
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Codec::Alaw => "alaw",
            Codec::Mulaw => "mulaw",
            Codec::Opus => "opus",
            Codec::G722 => "g722",
            Codec::L16 => "l16",
        })
    }
}

/// A codec name that is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown codec `{0}`: expected one of opus, alaw, mulaw, g722, l16")]
pub struct UnknownCodec(pub String);

impl FromStr for Codec {
    type Err = UnknownCodec;

    fn from_str(text: &str) -> Result<Self, UnknownCodec> {
        match text.trim().to_ascii_lowercase().as_str() {
            "alaw" | "pcma" => Ok(Codec::Alaw),
            "mulaw" | "ulaw" | "pcmu" => Ok(Codec::Mulaw),
            "opus" => Ok(Codec::Opus),
            "g722" => Ok(Codec::G722),
            "l16" => Ok(Codec::L16),
            other => Err(UnknownCodec(other.to_owned())),
        }
    }
}
