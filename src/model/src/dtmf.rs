//! How keypad digits travel on the SIP side.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A way to carry keypad digits, under the name an operator writes in a trunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DtmfMethod {
    /// As RTP events: RFC 4733, which took the place of RFC 2833.
    Rfc2833,
    /// As SIP INFO with `application/dtmf-relay`.
    Info,
    /// As the two tones themselves, in the voice.
    Inband,
}

impl DtmfMethod {
    /// Every method, in the default order of preference.
    pub const ALL: [DtmfMethod; 3] = [DtmfMethod::Rfc2833, DtmfMethod::Info, DtmfMethod::Inband];

    /// The first of a trunk's methods that can be used for sending; events need a peer that knows them.
    pub fn first_usable(methods: &[DtmfMethod], events_agreed: bool) -> Option<DtmfMethod> {
        let usable = |method: &DtmfMethod| *method != DtmfMethod::Rfc2833 || events_agreed;
        methods.iter().copied().find(usable)
    }

    /// Whether the voice of a peer is searched for tones: they must be on the trunk's list, and before events if
    /// the peer knows those. Events and INFO are always understood.
    pub fn listens_for_tones(methods: &[DtmfMethod], events_agreed: bool) -> bool {
        let mut methods = methods.iter();
        let first = methods.find(|method| match method {
            DtmfMethod::Inband => true,
            DtmfMethod::Rfc2833 => events_agreed,
            DtmfMethod::Info => false,
        });
        first == Some(&DtmfMethod::Inband)
    }
}

impl fmt::Display for DtmfMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DtmfMethod::Rfc2833 => "rfc2833",
            DtmfMethod::Info => "info",
            DtmfMethod::Inband => "inband",
        })
    }
}

/// Keys that may wait to be pressed.
pub const MAX_KEYS: usize = 32;

/// A key to be pressed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// One of `0-9`, `*`, `#`, `A-D`.
    Digit(char),
    /// Nothing for a second.
    Pause,
}

/// What is pressed may be a PIN.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Key::Digit(_) => "Digit(*)",
            Key::Pause => "Pause",
        })
    }
}

impl Key {
    /// Reads a text that is made of keys alone: digits, a comma for a pause, blanks for nothing. Nothing for any other text, for one
    /// without a digit, and for more than [`MAX_KEYS`].
    pub fn read(text: &str) -> Option<Vec<Key>> {
        let mut keys = Vec::new();
        for character in text.chars() {
            let key = match character {
                '0'..='9' | '*' | '#' | 'A'..='D' => Key::Digit(character),
                ',' => Key::Pause,
                ' ' => continue,
                _ => return None,
            };
            if keys.len() == MAX_KEYS {
                return None;
            }
            keys.push(key);
        }
        let has_digit = keys.iter().any(|key| *key != Key::Pause);
        has_digit.then_some(keys)
    }
}

/// A name of no method.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown DTMF method `{0}`: expected one of rfc2833, info, inband")]
pub struct UnknownDtmfMethod(pub String);

impl FromStr for DtmfMethod {
    type Err = UnknownDtmfMethod;

    fn from_str(text: &str) -> Result<Self, UnknownDtmfMethod> {
        match text.trim().to_ascii_lowercase().as_str() {
            "rfc2833" | "rfc4733" => Ok(DtmfMethod::Rfc2833),
            "info" => Ok(DtmfMethod::Info),
            "inband" => Ok(DtmfMethod::Inband),
            other => Err(UnknownDtmfMethod(other.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::DtmfMethod::{Inband, Info, Rfc2833};
    use super::*;

    #[test]
    fn the_first_usable_method_is_used_and_the_rest_understood() {
        let table = [
            (&[Rfc2833, Info, Inband][..], true, Some(Rfc2833), false),
            (&[Rfc2833, Info, Inband], false, Some(Info), true),
            (&[Rfc2833, Inband], false, Some(Inband), true),
            (&[Inband, Rfc2833], true, Some(Inband), true),
            (&[Info], true, Some(Info), false),
            (&[Rfc2833], false, None, false),
            (&[], true, None, false),
        ];
        for (methods, events, sends, listens) in table {
            assert_eq!(DtmfMethod::first_usable(methods, events), sends);
            assert_eq!(DtmfMethod::listens_for_tones(methods, events), listens);
        }
    }

    #[test]
    fn a_text_is_keys_or_it_is_not() {
        let keys = |text: &str| {
            let keys = Key::read(text)?.into_iter().map(|key| match key {
                Key::Digit(digit) => digit,
                Key::Pause => ',',
            });
            Some(keys.collect::<String>())
        };
        for text in ["1", "0123456789*#ABCD", "12,,3", ",5"] {
            assert_eq!(keys(text).as_deref(), Some(text));
        }
        assert_eq!(keys(" 12 34 ").as_deref(), Some("1234"));
        assert_eq!(keys(&"7".repeat(32)).map(|keys| keys.len()), Some(32));
        let long = "7".repeat(33);
        for text in [
            "", " ", ",", "call me", "a", "12a", "+12", "1\n2", "\u{664}", "1-2", &long,
        ] {
            assert_eq!(keys(text), None, "{text:?}");
        }
        assert_eq!(format!("{:?}", Key::read("7,")), "Some([Digit(*), Pause])");
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for method in DtmfMethod::ALL {
            assert_eq!(method.to_string().parse(), Ok(method));
        }
        assert!("sms".parse::<DtmfMethod>().is_err());
    }
}
