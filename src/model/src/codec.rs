//! Audio codecs of the SIP side.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

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
}

impl Codec {
    /// Every codec, in the default order of preference.
    pub const ALL: [Codec; 3] = [Codec::Opus, Codec::Alaw, Codec::Mulaw];

    /// The encoding name of its `a=rtpmap`.
    pub fn encoding_name(self) -> &'static str {
        match self {
            Codec::Alaw => "PCMA",
            Codec::Mulaw => "PCMU",
            Codec::Opus => "opus",
        }
    }

    /// The RTP clock rate in Hz.
    pub fn clock_rate(self) -> u32 {
        match self {
            Codec::Alaw | Codec::Mulaw => 8_000,
            Codec::Opus => 48_000,
        }
    }

    /// The sample rate of the decoded audio in Hz.
    pub fn sample_rate(self) -> u32 {
        self.clock_rate()
    }

    /// The payload type of RFC 3551, if it has one.
    pub fn static_payload_type(self) -> Option<u8> {
        match self {
            Codec::Alaw => Some(8),
            Codec::Mulaw => Some(0),
            Codec::Opus => None,
        }
    }

    /// The value of the metric label `codec`.
    pub fn label(self) -> &'static str {
        match self {
            Codec::Alaw => "pcma",
            Codec::Mulaw => "pcmu",
            Codec::Opus => "opus",
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Codec::Alaw => "alaw",
            Codec::Mulaw => "mulaw",
            Codec::Opus => "opus",
        })
    }
}

/// A codec name that is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown codec `{0}`: expected one of opus, alaw, mulaw")]
pub struct UnknownCodec(pub String);

impl FromStr for Codec {
    type Err = UnknownCodec;

    fn from_str(text: &str) -> Result<Self, UnknownCodec> {
        match text.trim().to_ascii_lowercase().as_str() {
            "alaw" | "pcma" => Ok(Codec::Alaw),
            "mulaw" | "ulaw" | "pcmu" => Ok(Codec::Mulaw),
            "opus" => Ok(Codec::Opus),
            other => Err(UnknownCodec(other.to_owned())),
        }
    }
}
