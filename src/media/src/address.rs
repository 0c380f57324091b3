//! Which addresses media may be sent to (SEC-M2): an SDP is a stranger's wish, and must not make the house fire at
//! itself, at its neighbours or at everybody.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Returns whether media may go to `target`, asked for by a peer whose signalling comes from `signalling`.
///
/// Private and loopback targets are for peers that are themselves there; `allow_private` opens private ranges to all.
pub fn may_send_to(target: SocketAddr, signalling: IpAddr, allow_private: bool) -> bool {
    if target.port() < 1024 {
        return false;
    }
    let (there, asking) = (Range::of(target.ip()), Range::of(signalling));
    match there {
        Range::Never => false,
        Range::Loopback => asking == Range::Loopback,
        Range::Private => allow_private || matches!(asking, Range::Private | Range::Loopback),
        Range::Public => true,
    }
}

/// What kind of place an address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Range {
    /// Unspecified, broadcast, multicast, link-local, "this network", class E.
    Never,
    /// This machine.
    Loopback,
    /// RFC 1918, RFC 6598, RFC 4193.
    Private,
    /// Everything else.
    Public,
}

impl Range {
    pub(crate) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self::of_v4(v4),
            IpAddr::V6(v6) if v6.is_loopback() => Self::Loopback,
            IpAddr::V6(v6)
                if v6.is_unspecified() || v6.is_multicast() || v6.is_unicast_link_local() =>
            {
                Self::Never
            }
            IpAddr::V6(v6) if v6.is_unique_local() => Self::Private,
            IpAddr::V6(_) => Self::Public,
        }
    }

    fn of_v4(address: Ipv4Addr) -> Self {
        let [a, b, ..] = address.octets();
        match (a, b) {
            (127, _) => Self::Loopback,
            (0 | 224..=255, _) | (169, 254) => Self::Never,
            (10, _) | (172, 16..=31) | (192, 168) | (100, 64..=127) => Self::Private,
            _ => Self::Public,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_never_goes_where_nobody_should_be_asked_to_send() {
        let asking: IpAddr = "203.0.113.5".parse().unwrap();
        for (target, allowed) in [
            ("198.51.100.7:4000", true),
            ("198.51.100.7:1023", false),
            ("127.0.0.1:4000", false),
            ("0.0.0.0:4000", false),
            ("255.255.255.255:4000", false),
            ("224.0.0.1:4000", false),
            ("169.254.1.1:4000", false),
            ("10.0.0.1:4000", false),
            ("100.64.0.1:4000", false),
            ("[::1]:4000", false),
            ("[::]:4000", false),
            ("[fe80::1]:4000", false),
            ("[ff02::1]:4000", false),
            ("[fd00::1]:4000", false),
            ("[::ffff:127.0.0.1]:4000", false),
            ("[2001:db8::1]:4000", true),
        ] {
            assert_eq!(
                may_send_to(target.parse().unwrap(), asking, false),
                allowed,
                "{target}"
            );
        }
    }

    #[test]
    fn private_targets_are_for_private_peers() {
        let target = "192.168.1.9:4000".parse().unwrap();
        assert!(may_send_to(target, "10.0.0.1".parse().unwrap(), false));
        assert!(may_send_to(target, "127.0.0.1".parse().unwrap(), false));
        assert!(may_send_to(target, "203.0.113.5".parse().unwrap(), true));
        assert!(!may_send_to(
            "127.0.0.1:4000".parse().unwrap(),
            "10.0.0.1".parse().unwrap(),
            true
        ));
    }
}
