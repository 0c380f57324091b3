//! Where a message goes, or where it came from.

use std::fmt;
use std::net::{AddrParseError, IpAddr, SocketAddr};
use std::str::FromStr;

use model::Transport;

/// A next hop (RFC 3261 8.1.2, RFC 3263 4): how, and whither. Of a stream that a peer has opened the address is the one it
/// came from, so that an answer finds the same stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hop {
    /// What carries the message.
    pub transport: Transport,
    /// The other end.
    pub address: SocketAddr,
}

impl Hop {
    /// A hop of this kind.
    pub fn new(transport: Transport, address: SocketAddr) -> Self {
        Self { transport, address }
    }

    /// A hop by datagrams.
    pub fn udp(address: SocketAddr) -> Self {
        Self::new(Transport::Udp, address)
    }

    /// The other end's host.
    pub fn ip(&self) -> IpAddr {
        self.address.ip()
    }

    /// Whether what is sent there arrives, in order, or we hear that it does not.
    pub fn is_reliable(&self) -> bool {
        self.transport.is_reliable()
    }
}

impl fmt::Display for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.transport, self.address)
    }
}

impl FromStr for Hop {
    type Err = AddrParseError;

    /// As displayed; an address alone is one by datagrams.
    fn from_str(text: &str) -> Result<Self, AddrParseError> {
        let named = text
            .split_once(':')
            .and_then(|(name, rest)| Some((name.parse::<Transport>().ok()?, rest)));
        match named {
            Some((transport, address)) => Ok(Self::new(transport, address.parse()?)),
            None => Ok(Self::udp(text.parse()?)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hop_reads_back_and_an_address_alone_is_udp() {
        for text in [
            "udp:192.0.2.1:5060",
            "tcp:[2001:db8::1]:5060",
            "tls:192.0.2.1:5061",
        ] {
            assert_eq!(text.parse::<Hop>().unwrap().to_string(), text);
        }
        let hop: Hop = "[2001:db8::1]:5060".parse().unwrap();
        assert_eq!(hop.to_string(), "udp:[2001:db8::1]:5060");
        assert!("tcp:example.com".parse::<Hop>().is_err());
    }
}
