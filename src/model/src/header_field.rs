//! A header by which a connection is told apart from others at the same address: `X-Line:7`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The longest value, in octets.
const MAX_VALUE: usize = 256;

/// Headers that a message needs for itself: nobody may be told apart by them.
const OWN: [&str; 26] = [
    "via",
    "v",
    "from",
    "f",
    "to",
    "t",
    "call-id",
    "i",
    "cseq",
    "contact",
    "m",
    "max-forwards",
    "content-length",
    "l",
    "content-type",
    "c",
    "route",
    "record-route",
    "authorization",
    "proxy-authorization",
    "www-authenticate",
    "proxy-authenticate",
    "require",
    "supported",
    "allow",
    "expires",
];

/// A name and a value of a SIP header. Names are the same in capitals and small letters, values only if every octet is.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HeaderField {
    name: String,
    value: String,
}

/// The text is no header that could serve.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no header of its own: write a name that SIP itself does not use, a colon and a value, such as X-Line:7"
)]
pub struct HeaderFieldError(String);

impl HeaderField {
    /// Its name, as written.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its value, without blanks around it.
    pub fn value(&self) -> &str {
        &self.value
    }
}

impl PartialEq for HeaderField {
    fn eq(&self, other: &Self) -> bool {
        self.name.eq_ignore_ascii_case(&other.name) && self.value == other.value
    }
}

impl Eq for HeaderField {}

impl std::hash::Hash for HeaderField {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.name.to_ascii_lowercase().hash(state);
        self.value.hash(state);
    }
}

impl FromStr for HeaderField {
    type Err = HeaderFieldError;

    fn from_str(text: &str) -> Result<Self, HeaderFieldError> {
        let wrong = || HeaderFieldError(text.to_owned());
        let (name, value) = text.split_once(':').ok_or_else(wrong)?;
        let (name, value) = (name.trim(), value.trim());
        // RFC 3261 25.1 `token`.
        let is_token = |c: u8| c.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&c);
        let is_name = (1..=64).contains(&name.len()) && name.bytes().all(is_token);
        let is_value =
            (1..=MAX_VALUE).contains(&value.len()) && !value.chars().any(char::is_control);
        if !is_name || !is_value || OWN.contains(&name.to_ascii_lowercase().as_str()) {
            return Err(wrong());
        }
        Ok(Self {
            name: name.to_owned(),
            value: value.to_owned(),
        })
    }
}

impl fmt::Display for HeaderField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, self.value)
    }
}

impl TryFrom<String> for HeaderField {
    type Error = HeaderFieldError;

    fn try_from(text: String) -> Result<Self, HeaderFieldError> {
        text.parse()
    }
}

impl From<HeaderField> for String {
    fn from(field: HeaderField) -> Self {
        field.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_split_at_the_first_colon_and_reads_back() {
        let field: HeaderField = " X-Line : sip:7 ".parse().unwrap();
        assert_eq!((field.name(), field.value()), ("X-Line", "sip:7"));
        assert_eq!(field.to_string().parse::<HeaderField>().unwrap(), field);
        assert_eq!("x-line:sip:7".parse::<HeaderField>().unwrap(), field);
        assert_ne!("x-line:SIP:7".parse::<HeaderField>().unwrap(), field);
        for wrong in [
            "X-Line",
            "X-Line:",
            ":7",
            "X Line:7",
            "X-Line:a\r\nVia:b",
            "Via:x",
            "CALL-ID:1",
        ] {
            assert!(wrong.parse::<HeaderField>().is_err(), "{wrong}");
        }
    }
}
