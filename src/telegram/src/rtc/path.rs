//! Where the peer may be: its candidates, and the sources that proved to be it.

use std::net::{IpAddr, SocketAddr};

use str0m::net::Protocol;
use str0m::{Candidate, CandidateKind};

/// Candidates taken from the peer between two ICE restarts.
const CANDIDATES: usize = 32;
/// Sources that passed a connectivity check; a phone has a few for each of its networks.
const SOURCES: usize = 32;

/// Reads one candidate line; `None` for those that are no use here, which is no reason to mind the others: TCP,
/// names such as `.local`, another address family, addresses nobody may make us send to.
pub(super) fn usable(line: &str, local: SocketAddr) -> Option<Candidate> {
    let line = line.trim();
    let candidate = Candidate::from_sdp_string(line.strip_prefix("a=").unwrap_or(line)).ok()?;
    let address = candidate.addr();
    let fine = candidate.proto() == Protocol::Udp
        && address.is_ipv4() == local.is_ipv4()
        && address.port() >= 1024
        && (!is_special(address.ip()) || address.ip().is_loopback() && local.ip().is_loopback());
    fine.then_some(candidate)
}

fn is_special(ip: IpAddr) -> bool {
    let always = ip.is_loopback() || ip.is_multicast() || ip.is_unspecified();
    always
        || match ip {
            IpAddr::V4(v4) => v4.is_broadcast() || v4.is_link_local(),
            IpAddr::V6(v6) => v6.is_unicast_link_local(),
        }
}

/// The peer's candidates and sources of one call.
#[derive(Default)]
pub(super) struct Path {
    /// Candidate lines that came before the peer's InitialSetup.
    early: Vec<String>,
    /// Candidates given to the ICE agent.
    taken: Vec<Candidate>,
    sources: Vec<SocketAddr>,
}

impl Path {
    /// Keeps lines until the credentials are known.
    pub(super) fn keep(&mut self, lines: Vec<String>) {
        let room = CANDIDATES.saturating_sub(self.early.len());
        self.early.extend(lines.into_iter().take(room));
    }

    /// Returns the lines kept.
    pub(super) fn early(&mut self) -> Vec<String> {
        std::mem::take(&mut self.early)
    }

    /// Returns the candidate if it is new and there is room.
    pub(super) fn take(&mut self, candidate: Candidate) -> Option<Candidate> {
        let known = self.taken.iter().any(|c| c.addr() == candidate.addr());
        if self.taken.len() == CANDIDATES || known && self.taken.contains(&candidate) {
            return None;
        }
        self.taken.push(candidate.clone());
        Some(candidate)
    }

    /// Whether the peer named this address as one of its relays.
    pub(super) fn is_relay(&self, address: SocketAddr) -> bool {
        let mut relays = self
            .taken
            .iter()
            .filter(|c| c.kind() == CandidateKind::Relayed);
        relays.any(|candidate| candidate.addr() == address)
    }

    /// Forgets the candidates, for an ICE restart; returns them, and those that have overtaken the news of it: they name the
    /// new user name already.
    pub(super) fn forget(&mut self, ufrag: &str) -> (Vec<Candidate>, Vec<Candidate>) {
        let all = std::mem::take(&mut self.taken).into_iter();
        all.partition(|candidate| candidate.ufrag() != Some(ufrag))
    }

    /// Returns whether this source passed a check.
    pub(super) fn is_proven(&self, source: SocketAddr) -> bool {
        self.sources.contains(&source)
    }

    /// Remembers a source that passed a check.
    pub(super) fn prove(&mut self, source: SocketAddr) {
        // The latest stands last; of too many the one that was silent longest is forgotten.
        self.sources.retain(|known| *known != source);
        if self.sources.len() == SOURCES {
            self.sources.remove(0);
        }
        self.sources.push(source);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(address: &str, port: u16) -> String {
        format!("candidate:1 1 udp 2122194688 {address} {port} typ host generation 0 ufrag ab")
    }

    #[test]
    fn candidates_nobody_may_make_us_send_to_are_skipped() {
        let local = "192.0.2.1:5000".parse().unwrap();
        for (address, port, fine) in [
            ("192.0.2.2", 33747, true),
            ("10.0.0.1", 33747, true),
            ("192.0.2.2", 80, false),
            ("192.0.2.2", 0, false),
            ("127.0.0.1", 33747, false),
            ("0.0.0.0", 33747, false),
            ("255.255.255.255", 33747, false),
            ("224.0.0.1", 33747, false),
            ("169.254.1.1", 33747, false),
            ("2001:db8::1", 33747, false),
            ("x.local", 33747, false),
            ("reflector-1-77.reflector", 33747, false),
        ] {
            assert_eq!(
                usable(&line(address, port), local).is_some(),
                fine,
                "{address}:{port}"
            );
        }
        let tcp = "candidate:1 1 tcp 1518 192.0.2.2 9000 typ host tcptype active";
        assert_eq!(usable(tcp, local), None);
        assert_eq!(usable("garbage", local), None);
        assert!(usable(&format!("a={}", line("192.0.2.2", 5000)), local).is_some());
    }

    #[test]
    fn a_flood_of_candidates_is_bounded() {
        let local = "192.0.2.1:5000".parse().unwrap();
        let candidate = |port| usable(&line("192.0.2.2", port), local).unwrap();
        let mut path = Path::default();
        path.keep(vec![line("192.0.2.2", 5000); 1000]);
        assert_eq!(path.early().len(), CANDIDATES);
        let taken = (2000..3000).filter(|p| path.take(candidate(*p)).is_some());
        assert_eq!(taken.count(), CANDIDATES);
        let (forgotten, early) = path.forget("cd");
        assert_eq!((forgotten.len(), early.len()), (CANDIDATES, 0));
        assert!(path.take(candidate(2000)).is_some());
        assert!(path.take(candidate(2000)).is_none(), "known");
    }

    #[test]
    fn candidates_that_overtake_a_restart_are_told_from_those_it_ends() {
        let local = "192.0.2.1:5000".parse().unwrap();
        let mut path = Path::default();
        for ufrag in ["ab", "cd"] {
            let line = line("192.0.2.2", 5000).replace("ufrag ab", &format!("ufrag {ufrag}"));
            path.take(usable(&line, local).unwrap()).unwrap();
        }
        let (forgotten, early) = path.forget("cd");
        assert_eq!((forgotten.len(), early.len()), (1, 1));
        assert_eq!(early[0].ufrag(), Some("cd"));
    }

    #[test]
    fn proven_sources_are_bounded() {
        let mut path = Path::default();
        for port in 2000..3000 {
            path.prove(SocketAddr::from(([192, 0, 2, 2], port)));
        }
        assert!(!path.is_proven(SocketAddr::from(([192, 0, 2, 2], 2000))));
        assert!(path.is_proven(SocketAddr::from(([192, 0, 2, 2], 2999))));
        assert_eq!(path.sources.len(), SOURCES);
    }
}
