//! A network, as an owner writes it: `192.0.2.7`, `192.0.2.0/24`, `2001:db8::/32`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// The addresses that begin with the same bits. IPv4 addresses written as IPv6 (`::ffff:192.0.2.7`) are IPv4 here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IpPrefix {
    /// The first address.
    address: IpAddr,
    /// How many bits count.
    bits: u8,
}

/// The text is no network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no address or network: expected for example 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32"
)]
pub struct IpPrefixError(String);

impl IpPrefix {
    /// The network of so many bits around an address; more bits than it has mean all of them.
    pub fn new(address: IpAddr, bits: u8) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => {
                let bits = bits.min(32);
                let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
                Self {
                    address: IpAddr::from((address.to_bits() & mask).to_be_bytes()),
                    bits,
                }
            }
            IpAddr::V6(address) => {
                let bits = bits.min(128);
                let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
                Self {
                    address: IpAddr::from((address.to_bits() & mask).to_be_bytes()),
                    bits,
                }
            }
        }
    }

    /// What one party can be taken to have for itself: an IPv4 address, or the 64 bits that an IPv6 network is routed by.
    pub fn of_party(address: IpAddr) -> Self {
        match address.to_canonical() {
            address @ IpAddr::V4(_) => Self::new(address, 32),
            address @ IpAddr::V6(_) => Self::new(address, 64),
        }
    }

    /// Whether it is what one party has, see [`IpPrefix::of_party`].
    pub fn is_party(&self) -> bool {
        *self == Self::of_party(self.address)
    }

    /// Whether the address belongs to it.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.address.is_ipv4() && Self::new(address, self.bits) == *self
    }
}

impl FromStr for IpPrefix {
    type Err = IpPrefixError;

    fn from_str(text: &str) -> Result<Self, IpPrefixError> {
        let wrong = || IpPrefixError(text.to_owned());
        let (address, bits) = match text.trim().split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text.trim(), None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits: u8 = match bits {
            None => most,
            Some(bits) => bits
                .parse()
                .ok()
                .filter(|bits| *bits <= most)
                .ok_or_else(wrong)?,
        };
        // A network of IPv4 that is written as IPv6 has no shorter form: `::ffff:192.0.2.0/120`.
        let mapped = address.is_ipv6() && address.to_canonical().is_ipv4();
        let bits = if mapped {
            bits.saturating_sub(96)
        } else {
            bits
        };
        Ok(Self::new(address, bits))
    }
}

impl fmt::Display for IpPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let most = if self.address.is_ipv4() { 32 } else { 128 };
        if self.bits == most {
            write!(f, "{}", self.address)
        } else {
            write!(f, "{}/{}", self.address, self.bits)
        }
    }
}

impl TryFrom<String> for IpPrefix {
    type Error = IpPrefixError;

    fn try_from(text: String) -> Result<Self, IpPrefixError> {
        text.parse()
    }
}

impl From<IpPrefix> for String {
    fn from(prefix: IpPrefix) -> Self {
        prefix.to_string()
    }
}

/// The addresses from which an account may be used; none at all means any.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct TrustedIps(Vec<IpPrefix>);

impl TrustedIps {
    /// Whether the account may be used from there.
    pub fn allow(&self, address: IpAddr) -> bool {
        self.0.is_empty() || self.0.iter().any(|prefix| prefix.contains(address))
    }

    /// Whether any address will do.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<IpPrefix> for TrustedIps {
    fn from_iter<T: IntoIterator<Item = IpPrefix>>(prefixes: T) -> Self {
        Self(prefixes.into_iter().collect())
    }
}

impl FromStr for TrustedIps {
    type Err = IpPrefixError;

    /// Reads addresses and networks between commas or on lines of their own.
    fn from_str(text: &str) -> Result<Self, IpPrefixError> {
        let words = text.split([',', '\n']).map(str::trim);
        words
            .filter(|word| !word.is_empty())
            .map(str::parse)
            .collect()
    }
}

impl fmt::Display for TrustedIps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, prefix) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{prefix}")?;
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for TrustedIps {
    /// Reads one text or a list of texts.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextOrList)
    }
}

struct TextOrList;

impl<'de> Visitor<'de> for TextOrList {
    type Value = TrustedIps;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("addresses and networks, as a list or with commas between them")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<TrustedIps, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<TrustedIps, A::Error> {
        let mut prefixes = Vec::new();
        while let Some(prefix) = list.next_element()? {
            prefixes.push(prefix);
        }
        Ok(TrustedIps(prefixes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_reads_back_and_holds_its_own() {
        let cases = [
            ("192.0.2.7", "192.0.2.7", "192.0.2.7", "192.0.2.8"),
            ("192.0.2.7/24", "192.0.2.0/24", "192.0.2.255", "192.0.3.0"),
            (
                "::ffff:192.0.2.7",
                "192.0.2.7",
                "::ffff:192.0.2.7",
                "::192.0.2.7",
            ),
            (
                "::ffff:192.0.2.0/120",
                "192.0.2.0/24",
                "192.0.2.1",
                "192.0.3.1",
            ),
            (
                "2001:db8::1/32",
                "2001:db8::/32",
                "2001:db8:ffff::",
                "2001:db9::",
            ),
            ("2001:db8::1", "2001:db8::1", "2001:db8::1", "2001:db8::2"),
        ];
        for (text, shown, inside, outside) in cases {
            let prefix: IpPrefix = text.parse().unwrap();
            assert_eq!(prefix.to_string(), shown);
            assert_eq!(shown.parse::<IpPrefix>().unwrap(), prefix);
            assert!(prefix.contains(inside.parse().unwrap()), "{text} {inside}");
            assert!(
                !prefix.contains(outside.parse().unwrap()),
                "{text} {outside}"
            );
        }
        let any: IpPrefix = "0.0.0.0/0".parse().unwrap();
        assert!(any.contains("255.255.255.255".parse().unwrap()));
        assert!(!any.contains("::1".parse().unwrap()));
        for wrong in [
            "",
            "192.0.2",
            "192.0.2.0/33",
            "::/129",
            "host",
            "192.0.2.0/-1",
        ] {
            assert!(wrong.parse::<IpPrefix>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_party_has_one_address_of_ipv4_or_64_bits_of_ipv6() {
        let party = |text: &str| IpPrefix::of_party(text.parse().unwrap()).to_string();
        assert_eq!(party("192.0.2.7"), "192.0.2.7");
        assert_eq!(party("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(party("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
    }

    #[test]
    fn trusted_addresses_are_a_list_or_a_text_and_none_means_any() {
        let list: TrustedIps = serde_json::from_str(r#"["192.0.2.0/24", "2001:db8::1"]"#).unwrap();
        let text: TrustedIps = serde_json::from_str(r#""192.0.2.0/24,\n 2001:db8::1,""#).unwrap();
        assert_eq!(list, text);
        assert_eq!(list.to_string(), "192.0.2.0/24,2001:db8::1");
        assert_eq!(
            serde_json::to_string(&list).unwrap(),
            r#"["192.0.2.0/24","2001:db8::1"]"#
        );
        for (address, is_allowed) in [
            ("192.0.2.200", true),
            ("::ffff:192.0.2.200", true),
            ("2001:db8::1", true),
            ("192.0.3.1", false),
            ("2001:db8::2", false),
        ] {
            assert_eq!(
                list.allow(address.parse().unwrap()),
                is_allowed,
                "{address}"
            );
        }
        assert!(TrustedIps::default().allow("192.0.3.1".parse().unwrap()));
        assert!(serde_json::from_str::<TrustedIps>(r#""192.0.2.0/24 and more""#).is_err());
        assert!(serde_json::from_str::<TrustedIps>("7").is_err());
    }
}
