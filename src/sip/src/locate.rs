//! Which of the servers of a domain is asked first (RFC 3263 section 4, RFC 2782, RFC 3403).
//!
//! ```text
//!  an address, or a name with a port ------------------------------------------> its addresses, at that port
//!  a name: NAPTR --those of our transport, in order--> SRV --by priority, weight--> the addresses of each, at its port
//!            `--none--> SRV of _sip._udp, _sip._tcp or _sips._tcp ---^    `--none--> its addresses, at the usual port
//! ```
//!
//! The questions are asked elsewhere; what stands here is what to ask and in which order to take the answers. The transport is
//! that of the trunk, so services of another one are passed over. Absent: S-NAPTR of later drafts, and DDDS rules with a regular
//! expression, which RFC 3263 4.1 does not use.

use model::{HostPort, Transport};
use rand::Rng;

/// The most servers of a domain that are looked at: a zone may have any number.
pub const MAX_SERVERS: usize = 16;

/// A NAPTR record (RFC 3403 4.1), as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Naptr {
    /// Lower ones first, and none of a higher one while one of a lower is of use.
    pub order: u16,
    /// Lower ones first, among those of an order.
    pub preference: u16,
    /// `s` for one that leads to an SRV record.
    pub flags: String,
    /// Such as `SIP+D2U`.
    pub services: String,
    /// A regular expression; empty in all that are used.
    pub regexp: String,
    /// The name of the SRV records.
    pub replacement: String,
}

/// An SRV record (RFC 2782).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Srv {
    /// Lower ones first.
    pub priority: u16,
    /// The share of one among those of a priority.
    pub weight: u16,
    /// Where it listens.
    pub port: u16,
    /// Its name; `.` where the service is decidedly not there.
    pub target: String,
}

/// Whether a host is looked up in SRV records at all: not an address, and no name with a port (RFC 3263 4.2).
pub fn asks_for_servers(host: &HostPort) -> bool {
    host.ip().is_none() && host.port().is_none()
}

/// Where the SRV records of a domain are when no NAPTR record says so.
pub fn service_name(domain: &str, transport: Transport) -> String {
    let service = match transport {
        Transport::Udp => "_sip._udp",
        Transport::Tcp => "_sip._tcp",
        Transport::Tls => "_sips._tcp",
    };
    format!("{service}.{domain}")
}

/// The names of SRV records to look at, best first, by the NAPTR records of a domain.
pub fn services(mut records: Vec<Naptr>, transport: Transport) -> Vec<String> {
    let wanted = match transport {
        Transport::Udp => "SIP+D2U",
        Transport::Tcp => "SIP+D2T",
        Transport::Tls => "SIPS+D2T",
    };
    records.retain(|record| {
        record.flags.eq_ignore_ascii_case("s")
            && record.services.eq_ignore_ascii_case(wanted)
            && record.regexp.is_empty()
    });
    records.sort_by_key(|record| (record.order, record.preference));
    records.truncate(MAX_SERVERS);
    records
        .into_iter()
        .map(|record| record.replacement)
        .collect()
}

/// The servers in the order in which they are tried: by priority, and among equals by lot, more often first the more one weighs
/// (RFC 2782, "Weight"). Nothing when the domain says that the service is not there.
pub fn servers(mut records: Vec<Srv>, rng: &mut impl Rng) -> Vec<Srv> {
    records.retain(|record| record.target != ".");
    records.sort_by_key(|record| record.priority);
    records.truncate(MAX_SERVERS);
    let mut ordered = Vec::with_capacity(records.len());
    for group in records.chunk_by(|one, other| one.priority == other.priority) {
        let mut group = group.to_vec();
        // Those that weigh nothing come first here, so that they have a small chance where others weigh something.
        group.sort_by_key(|record| record.weight);
        while !group.is_empty() {
            let sum: u32 = group.iter().map(|record| u32::from(record.weight)).sum();
            let drawn = rng.random_range(0..=sum);
            let mut running = 0;
            let at = group.iter().position(|record| {
                running += u32::from(record.weight);
                running >= drawn
            });
            ordered.push(group.remove(at.unwrap_or(0)));
        }
    }
    ordered
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;
    use rand::rngs::SmallRng;

    use super::*;

    fn naptr(order: u16, preference: u16, services: &str, replacement: &str) -> Naptr {
        Naptr {
            order,
            preference,
            flags: "s".to_owned(),
            services: services.to_owned(),
            regexp: String::new(),
            replacement: replacement.to_owned(),
        }
    }

    fn srv(priority: u16, weight: u16, target: &str) -> Srv {
        Srv {
            priority,
            weight,
            port: 5060,
            target: target.to_owned(),
        }
    }

    #[test]
    fn only_a_bare_name_has_servers() {
        for (host, asks) in [
            ("example.com", true),
            ("example.com:5060", false),
            ("192.0.2.1", false),
            ("[2001:db8::1]:5070", false),
        ] {
            assert_eq!(asks_for_servers(&host.parse().unwrap()), asks, "{host}");
        }
    }

    /// The example of RFC 3263 4.1, and what is none of ours.
    #[test]
    fn the_services_of_a_domain_are_those_of_the_transport_in_order() {
        let records = || {
            vec![
                naptr(50, 50, "SIPS+D2T", "_sips._tcp.example.com"),
                naptr(90, 50, "SIP+D2T", "_sip._tcp.example.com"),
                naptr(100, 50, "SIP+D2U", "_sip._udp.example.com"),
                naptr(100, 10, "sip+d2u", "_sip._udp.first.example.com"),
                naptr(1, 1, "E2U+sip", "enum.example.com"),
                Naptr {
                    flags: "u".to_owned(),
                    ..naptr(2, 1, "SIP+D2U", "uri.example.com")
                },
                Naptr {
                    regexp: "!.*!sip:x!".to_owned(),
                    ..naptr(3, 1, "SIP+D2U", "regexp.example.com")
                },
            ]
        };
        assert_eq!(
            services(records(), Transport::Udp),
            ["_sip._udp.first.example.com", "_sip._udp.example.com"]
        );
        assert_eq!(
            services(records(), Transport::Tcp),
            ["_sip._tcp.example.com"]
        );
        assert_eq!(
            services(records(), Transport::Tls),
            ["_sips._tcp.example.com"]
        );
        assert_eq!(services(Vec::new(), Transport::Udp), [""; 0]);
        assert_eq!(
            service_name("example.com", Transport::Tls),
            "_sips._tcp.example.com"
        );
    }

    #[test]
    fn servers_are_tried_by_priority_and_drawn_by_weight() {
        let mut rng = SmallRng::seed_from_u64(1);
        let mut first = [0_u32; 3];
        for _ in 0..10_000 {
            let records = vec![
                srv(20, 0, "spare"),
                srv(10, 60, "big"),
                srv(10, 20, "small"),
                srv(10, 0, "rare"),
            ];
            let order = servers(records, &mut rng);
            let names: Vec<_> = order.iter().map(|srv| srv.target.as_str()).collect();
            assert_eq!(names.len(), 4);
            assert_eq!(names[3], "spare");
            let at = ["big", "small", "rare"].iter().position(|n| *n == names[0]);
            first[at.unwrap()] += 1;
        }
        assert!((7_000..8_000).contains(&first[0]), "{first:?}");
        assert!((2_000..3_000).contains(&first[1]), "{first:?}");
        assert!((1..500).contains(&first[2]), "{first:?}");
    }

    #[test]
    fn a_service_that_is_not_there_has_no_servers_and_a_zone_has_a_bound() {
        let mut rng = SmallRng::seed_from_u64(1);
        assert_eq!(servers(vec![srv(0, 0, ".")], &mut rng), []);
        let many = (0..1_000).map(|n| srv(n, 0, "one")).collect();
        assert_eq!(servers(many, &mut rng).len(), MAX_SERVERS);
    }
}
