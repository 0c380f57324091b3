//! A network, as an owner writes it: `192.0.2.7`, `192.0.2.0/24`, `2001:db8::/32`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

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
}
