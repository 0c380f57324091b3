//! Webhooks: who is told over HTTP of what happens here.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{EventKind, HostPort, Secret, WebhookName};

/// The longest URL, in octets.
const LONGEST_URL: usize = 2048;
/// A secret has as many octets as this at least and at most.
const SECRET: std::ops::RangeInclusive<usize> = 16..=128;
/// Kinds of events of which there are so many that they are told to those alone who have asked for them.
const CHATTY: &[&str] = &["call.quality"];

/// One webhook: events are posted to its URL, signed with its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookSpec {
    /// Its name.
    pub name: WebhookName,
    /// Where events are posted to.
    pub url: WebhookUrl,
    /// The key of the signature, as text: its octets are the key.
    pub secret: Secret<String>,
    /// Which events are posted; none are named for all but the chatty ones.
    #[serde(default)]
    pub events: Vec<EventKind>,
    /// Whether `http` may lead elsewhere than to this host or a private address.
    #[serde(default)]
    pub insecure: bool,
    /// Whether anything is posted.
    pub enabled: bool,
    /// Why the switch has disabled it, in words; nothing where its owner has, or it is enabled.
    #[serde(default)]
    pub disabled_because: Option<String>,
}

impl WebhookSpec {
    /// A webhook with every default.
    pub fn new(name: WebhookName, url: WebhookUrl, secret: Secret<String>) -> Self {
        Self {
            name,
            url,
            secret,
            events: Vec::new(),
            insecure: false,
            enabled: true,
            disabled_because: None,
        }
    }

    /// Whether it is enabled and wants events of this kind.
    pub fn wants(&self, kind: EventKind) -> bool {
        let named = if self.events.is_empty() {
            !CHATTY.contains(&kind.label())
        } else {
            self.events.contains(&kind)
        };
        self.enabled && named
    }

    /// Checks what the types cannot say.
    pub fn check(&self) -> Result<(), WebhookError> {
        if !self.url.is_guarded() && !self.insecure {
            return Err(WebhookError::Plain(self.name.clone()));
        }
        let secret = self.secret.expose();
        if !SECRET.contains(&secret.len()) || !secret.bytes().all(|octet| octet.is_ascii_graphic())
        {
            return Err(WebhookError::Secret(self.name.clone()));
        }
        Ok(())
    }
}

/// Why a webhook is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WebhookError {
    /// Who is called, and by whom, would travel where anybody may read it.
    #[error(
        "webhook {0}: over http everybody on the way reads who calls whom: write https, or `insecure` if that is meant; without it http leads to \
         loopback and private addresses alone"
    )]
    Plain(WebhookName),
    /// Too short to be one, or not to be copied.
    #[error(
        "webhook {0}: a secret has 16 to 128 printable characters without spaces; without one a good one is made"
    )]
    Secret(WebhookName),
}

/// A URL of `http` or `https`, without user and password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WebhookUrl {
    text: String,
    host: HostPort,
    is_https: bool,
}

/// Why a text is no such URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WebhookUrlError {
    /// Another scheme, or none.
    #[error("the URL of a webhook begins with https:// or http://")]
    Scheme,
    /// Passwords in URLs end in logs.
    #[error(
        "the URL of a webhook has no user and password in it: what is posted is signed instead"
    )]
    User,
    /// No host, or none that can be.
    #[error("the URL of a webhook has a host behind //, and perhaps a port")]
    Host,
    /// Characters that no URL has.
    #[error(
        "the URL of a webhook has 2048 printable ASCII characters at most, no spaces and no fragment: write others as %XX"
    )]
    Characters,
}

impl WebhookUrl {
    /// The URL as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether nobody on the way can read along: TLS, or no way that leads outside. A name may lead anywhere, except `localhost`.
    pub fn is_guarded(&self) -> bool {
        self.is_https
            || self.host.ip().is_some_and(is_near)
            || self.host.host().eq_ignore_ascii_case("localhost")
    }
}

/// Whether an address is this host, or one of RFC 1918 or RFC 4193.
fn is_near(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_loopback() || address.is_private(),
        IpAddr::V6(address) => {
            let mapped = address.to_ipv4_mapped();
            address.is_loopback()
                || address.is_unique_local()
                || mapped.is_some_and(|address| is_near(address.into()))
        }
    }
}

impl FromStr for WebhookUrl {
    type Err = WebhookUrlError;

    fn from_str(text: &str) -> Result<Self, WebhookUrlError> {
        let is_plain = |octet: u8| octet.is_ascii_graphic() && !b"#\\\"<>^`{|}".contains(&octet);
        if text.len() > LONGEST_URL || !text.bytes().all(is_plain) {
            return Err(WebhookUrlError::Characters);
        }
        let (is_https, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => return Err(WebhookUrlError::Scheme),
        };
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        if authority.contains('@') {
            return Err(WebhookUrlError::User);
        }
        let host: HostPort = authority.parse().map_err(|_| WebhookUrlError::Host)?;
        // An IPv6 address without brackets would be another host with a port.
        if host.host().contains(':') && !authority.starts_with('[') {
            return Err(WebhookUrlError::Host);
        }
        Ok(Self {
            text: text.to_owned(),
            host,
            is_https,
        })
    }
}

impl TryFrom<String> for WebhookUrl {
    type Error = WebhookUrlError;

    fn try_from(text: String) -> Result<Self, WebhookUrlError> {
        text.parse()
    }
}

impl From<WebhookUrl> for String {
    fn from(url: WebhookUrl) -> Self {
        url.text
    }
}

impl fmt::Display for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// One event that is posted to one webhook, however often it takes. Sortable by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DeliveryId(ulid::Ulid);

impl DeliveryId {
    /// Builds an identifier from the time in milliseconds since 1970 and 80 random bits.
    pub fn new(unix_ms: u64, random: u128) -> Self {
        Self(ulid::Ulid::from_parts(unix_ms, random))
    }

    /// The same, or the next one after `last` where that is not before it: ids that are made one after the other sort so, whatever the clock does.
    pub fn after(last: Option<Self>, unix_ms: u64, random: u128) -> Self {
        let new = Self::new(unix_ms, random);
        match last {
            Some(Self(last)) if last >= new.0 => {
                Self(ulid::Ulid::from(u128::from(last).saturating_add(1)))
            }
            Some(_) | None => new,
        }
    }

    /// The time it was made, in milliseconds since 1970.
    pub fn unix_ms(self) -> u64 {
        self.0.timestamp_ms()
    }

    /// The 16 bytes under which the store sorts it by time.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_bytes()
    }

    /// The identifier whose [`DeliveryId::to_bytes`] these are.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(ulid::Ulid::from_bytes(bytes))
    }
}

/// The bare ULID.
impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Result<WebhookUrl, WebhookUrlError> {
        text.parse()
    }

    fn hook(address: &str) -> WebhookSpec {
        let secret = Secret::new("0123456789abcdef".to_owned());
        WebhookSpec::new("crm".parse().unwrap(), url(address).unwrap(), secret)
    }

    #[test]
    fn a_url_is_http_or_https_to_a_host_and_holds_no_password() {
        for good in [
            "https://crm.example.com",
            "https://crm.example.com:8443/hooks/strowger?key=1&b=%20",
            "http://127.0.0.1:8080/x",
            "http://[::1]:8080/",
        ] {
            let read = url(good).unwrap();
            assert_eq!(read.to_string(), good);
        }
        for (wrong, why) in [
            ("", WebhookUrlError::Scheme),
            ("ftp://crm.example.com", WebhookUrlError::Scheme),
            ("crm.example.com/x", WebhookUrlError::Scheme),
            ("https://me:secret@crm.example.com/", WebhookUrlError::User),
            ("https:///x", WebhookUrlError::Host),
            ("https://crm.example.com:0/", WebhookUrlError::Host),
            ("https://crm.example.com:https/", WebhookUrlError::Host),
            ("https://2001:db8::1/", WebhookUrlError::Host),
            ("https://[2001:db8::1/", WebhookUrlError::Host),
            ("https://crm.example.com/a b", WebhookUrlError::Characters),
            (
                "https://crm.example.com/a\r\nX: y",
                WebhookUrlError::Characters,
            ),
            ("https://crm.example.com/#x", WebhookUrlError::Characters),
            ("https://crm.exämple.com/", WebhookUrlError::Characters),
        ] {
            assert_eq!(url(wrong), Err(why), "{wrong}");
        }
        let long = format!("https://crm.example.com/{}", "x".repeat(2048));
        assert_eq!(url(&long), Err(WebhookUrlError::Characters));
    }

    #[test]
    fn http_stays_near_unless_its_owner_says_otherwise() {
        for near in [
            "https://crm.example.com/",
            "http://127.0.0.1/",
            "http://localhost:80/",
            "http://10.1.2.3/",
            "http://192.168.0.9:81/x",
            "http://172.31.0.1/",
            "http://[::1]/",
            "http://[fd00::1]/",
            "http://[::ffff:10.0.0.1]/",
        ] {
            assert_eq!(hook(near).check(), Ok(()), "{near}");
        }
        for far in [
            "http://crm.example.com/",
            "http://localhost.example.com/",
            "http://192.0.2.1/",
            "http://172.32.0.1/",
            "http://169.254.169.254/latest",
            "http://0.0.0.0/",
            "http://[2001:db8::1]/",
            "http://[::ffff:192.0.2.1]/",
        ] {
            let mut spec = hook(far);
            let plain = Err(WebhookError::Plain("crm".parse().unwrap()));
            assert_eq!(spec.check(), plain, "{far}");
            spec.insecure = true;
            assert_eq!(spec.check(), Ok(()), "{far}");
        }
    }

    #[test]
    fn a_secret_is_long_enough_and_can_be_copied() {
        let long = "x".repeat(129);
        for wrong in [
            "",
            "short",
            "with spaces in it",
            "umläute sind nichts",
            &long,
        ] {
            let mut spec = hook("https://crm.example.com/");
            spec.secret = Secret::new(wrong.to_owned());
            let refused = spec.check().unwrap_err();
            assert!(matches!(refused, WebhookError::Secret(_)), "{wrong}");
            assert!(wrong.is_empty() || !format!("{refused} {spec:?}").contains(wrong));
        }
    }

    #[test]
    fn what_is_named_is_wanted_and_else_all_but_the_chatty() {
        let mut spec = hook("https://crm.example.com/");
        for kind in EventKind::ALL {
            assert_eq!(spec.wants(*kind), kind.label() != "call.quality", "{kind}");
        }
        spec.events = vec![EventKind::CallEnded];
        assert!(spec.wants(EventKind::CallEnded) && !spec.wants(EventKind::CallStarted));
        let written = serde_json::to_string(&spec).unwrap();
        assert!(written.contains(r#""events":["call.ended"]"#), "{written}");
        let read: WebhookSpec = serde_json::from_str(&written).unwrap();
        assert_eq!(read, spec);
        spec.enabled = false;
        assert!(!spec.wants(EventKind::CallEnded));
    }

    #[test]
    fn deliveries_sort_as_they_were_made_also_when_the_clock_goes_back() {
        let first = DeliveryId::after(None, 1_000, u128::MAX >> 48);
        let second = DeliveryId::after(Some(first), 1_000, 0);
        let third = DeliveryId::after(Some(second), 500, 7);
        let fourth = DeliveryId::after(Some(third), 2_000, 7);
        assert!(first < second && second < third && third < fourth);
        assert_eq!(fourth.unix_ms(), 2_000);
        assert_eq!(DeliveryId::from_bytes(third.to_bytes()), third);
        assert_eq!(third.to_string().len(), 26);
    }
}
