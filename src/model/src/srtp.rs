//! The words of encrypted media on the SIP side: SRTP (RFC 3711) with keys in the description (SDES, RFC 4568).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

use crate::Secret;

/// Whether the media towards a PBX is encrypted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Srtp {
    /// Never: an offer that demands it is refused.
    #[default]
    Off,
    /// If the PBX can (RFC 8643).
    Optional,
    /// Always: a call without it is refused.
    Required,
}

/// What becomes of SRTP where its keys would travel in signalling that anybody on the way can read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SrtpOverPlain {
    /// It does not happen: such a call is not private, and must not look as if it were.
    #[default]
    Refuse,
    /// It is done all the same: whoever can read the media of this network but not its signalling is kept out.
    Allow,
}

impl Srtp {
    /// Every value.
    pub const ALL: [Self; 3] = [Self::Off, Self::Optional, Self::Required];

    /// The name in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Optional => "optional",
            Self::Required => "required",
        }
    }
}

impl SrtpOverPlain {
    /// Every value.
    pub const ALL: [Self; 2] = [Self::Refuse, Self::Allow];

    /// The name in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refuse => "refuse",
            Self::Allow => "allow",
        }
    }
}

/// A value that is none of those of its setting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is none of {1}")]
pub struct UnknownSrtp(String, &'static str);

impl FromStr for Srtp {
    type Err = UnknownSrtp;

    fn from_str(text: &str) -> Result<Self, UnknownSrtp> {
        let mut all = Self::ALL.into_iter();
        all.find(|value| value.as_str() == text)
            .ok_or_else(|| UnknownSrtp(text.to_owned(), "off, optional, required"))
    }
}

impl FromStr for SrtpOverPlain {
    type Err = UnknownSrtp;

    fn from_str(text: &str) -> Result<Self, UnknownSrtp> {
        let mut all = Self::ALL.into_iter();
        all.find(|value| value.as_str() == text)
            .ok_or_else(|| UnknownSrtp(text.to_owned(), "refuse, allow"))
    }
}

impl fmt::Display for Srtp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for SrtpOverPlain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A crypto suite of SRTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SrtpSuite {
    /// AES in counter mode, HMAC-SHA1 of 80 bits (RFC 4568 section 6.2.1).
    AesCm128HmacSha1_80,
    /// The same with 32 bits behind each RTP packet, and 80 behind RTCP (RFC 4568 section 6.2.2).
    AesCm128HmacSha1_32,
    /// AES in Galois/counter mode with a tag of 128 bits (RFC 7714).
    AeadAes128Gcm,
}

impl SrtpSuite {
    /// Every suite, in the order of our offers.
    pub const ALL: [Self; 3] = [
        Self::AesCm128HmacSha1_80,
        Self::AesCm128HmacSha1_32,
        Self::AeadAes128Gcm,
    ];

    /// The octets of its master key.
    pub const KEY_LEN: usize = 16;

    /// Its name in `a=crypto`.
    pub fn name(self) -> &'static str {
        match self {
            Self::AesCm128HmacSha1_80 => "AES_CM_128_HMAC_SHA1_80",
            Self::AesCm128HmacSha1_32 => "AES_CM_128_HMAC_SHA1_32",
            Self::AeadAes128Gcm => "AEAD_AES_128_GCM",
        }
    }

    /// The octets of its master salt.
    pub fn salt_len(self) -> usize {
        match self {
            Self::AesCm128HmacSha1_80 | Self::AesCm128HmacSha1_32 => 14,
            Self::AeadAes128Gcm => 12,
        }
    }

    /// The octets of master key and master salt together, as `a=crypto` holds them.
    pub fn secret_len(self) -> usize {
        Self::KEY_LEN + self.salt_len()
    }
}

/// The longest of [`SrtpSuite::secret_len`].
const MAX_SECRET: usize = 30;

/// The master key and master salt of one direction of a stream; never printed, wiped when dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SrtpKey {
    suite: SrtpSuite,
    /// Key, then salt, then zeros.
    octets: Secret<[u8; MAX_SECRET]>,
}

impl SrtpKey {
    /// Takes key and salt, one after the other; none if they have another length than the suite wants.
    pub fn new(suite: SrtpSuite, octets: &[u8]) -> Option<Self> {
        if octets.len() != suite.secret_len() {
            return None;
        }
        Some(Self::generate(suite, |room| room.copy_from_slice(octets)))
    }

    /// Makes a key; `fill` writes random octets from a source that nobody can guess.
    pub fn generate(suite: SrtpSuite, fill: impl FnOnce(&mut [u8])) -> Self {
        let mut room = [0; MAX_SECRET];
        fill(room.get_mut(..suite.secret_len()).unwrap_or_default());
        let octets = Secret::new(room);
        room.zeroize();
        Self { suite, octets }
    }

    /// Its suite.
    pub fn suite(&self) -> SrtpSuite {
        self.suite
    }

    /// Key and salt, one after the other.
    pub fn octets(&self) -> &[u8] {
        let octets = self.octets.expose();
        octets.get(..self.suite.secret_len()).unwrap_or_default()
    }

    /// The master key, [`SrtpSuite::KEY_LEN`] octets.
    pub fn key(&self) -> &[u8] {
        self.octets().get(..SrtpSuite::KEY_LEN).unwrap_or_default()
    }

    /// The master salt, [`SrtpSuite::salt_len`] octets.
    pub fn salt(&self) -> &[u8] {
        self.octets().get(SrtpSuite::KEY_LEN..).unwrap_or_default()
    }
}

/// The keys of a stream, as offer and answer settled them; both are of one suite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SrtpKeys {
    /// What we encrypt with.
    pub send: SrtpKey,
    /// What the peer encrypts with.
    pub receive: SrtpKey,
    /// The octets of the key identifier (MKI) in each packet of the peer, mostly 0. There is one key, so that what it
    /// says does not matter.
    pub mki_len: u8,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_the_length_of_its_suite_and_is_never_shown() {
        for suite in SrtpSuite::ALL {
            let octets: Vec<u8> = (1..=40).collect();
            let right = suite.secret_len();
            let key = SrtpKey::new(suite, &octets[..right]).unwrap();
            assert_eq!([key.key(), key.salt()].concat(), octets[..right]);
            assert_eq!(key.octets(), &octets[..right]);
            for wrong in [0, right - 1, right + 1] {
                assert_eq!(SrtpKey::new(suite, &octets[..wrong]), None);
            }
            let shown = format!("{key:?}");
            assert!(shown.contains("***") && !shown.contains("1, 2"), "{shown}");
        }
    }

    #[test]
    fn settings_are_read_as_they_are_written() {
        for value in Srtp::ALL {
            assert_eq!(value.to_string().parse(), Ok(value));
        }
        for value in SrtpOverPlain::ALL {
            assert_eq!(value.to_string().parse(), Ok(value));
        }
        let error = "yes".parse::<Srtp>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "`yes` is none of off, optional, required"
        );
    }
}
