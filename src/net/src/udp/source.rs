//! Which of our addresses a peer sees.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::unspecified;

/// Peers remembered; beyond it the list begins anew.
const PEERS: usize = 4096;
/// Routes change: an answer is believed this long.
const FRESH: Duration = Duration::from_secs(60);

type Cache = HashMap<IpAddr, (Instant, IpAddr)>;

static CACHE: LazyLock<Mutex<Cache>> = LazyLock::new(Mutex::default);

/// Returns the address from which this host would send to `remote`; the unspecified address when there is no route.
///
/// Asks the kernel by connecting a UDP socket, which sends nothing; answers are kept for a minute.
pub fn source_address_for(remote: SocketAddr) -> IpAddr {
    let now = Instant::now();
    if let Some((since, ours)) = CACHE.lock().get(&remote.ip())
        && now.duration_since(*since) < FRESH
    {
        return *ours;
    }
    let none = unspecified(remote.ip());
    let Some(ours) = ask(remote, none) else {
        return none;
    };
    let mut cache = CACHE.lock();
    if cache.len() >= PEERS {
        cache.clear();
    }
    cache.insert(remote.ip(), (now, ours));
    ours
}

fn ask(remote: SocketAddr, any: IpAddr) -> Option<IpAddr> {
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).ok()?;
    // Port 0 cannot be connected to, and the port does not matter.
    socket
        .connect(SocketAddr::new(remote.ip(), remote.port().max(1)))
        .ok()?;
    let ours = socket.local_addr().ok()?.ip();
    (!ours.is_unspecified()).then_some(ours)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn loopback_is_reached_from_loopback() {
        let peer = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0);
        for _ in 0..2 {
            assert_eq!(source_address_for(peer), IpAddr::V4(Ipv4Addr::LOCALHOST));
        }
    }

    #[test]
    fn an_address_without_a_route_gives_no_address() {
        let peer = SocketAddr::new(Ipv4Addr::BROADCAST.into(), 9);
        assert!(source_address_for(peer).is_ipv4());
    }
}
