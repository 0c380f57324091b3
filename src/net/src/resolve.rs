//! Names of hosts.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// How long a name server may take.
const PATIENCE: Duration = Duration::from_secs(4);

/// Returns an address of a host, IPv4 before IPv6: a name often gives both where only one leads anywhere.
pub async fn resolve(host: &str, port: u16) -> io::Result<SocketAddr> {
    let look_up = tokio::net::lookup_host((host, port));
    let found = tokio::time::timeout(PATIENCE, look_up)
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    found
        .min_by_key(SocketAddr::is_ipv6)
        .ok_or_else(|| io::ErrorKind::NotFound.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn addresses_need_no_name_server_and_localhost_is_here() {
        for (host, port, address) in [
            ("192.0.2.7", 5060, "192.0.2.7:5060"),
            ("2001:db8::1", 5062, "[2001:db8::1]:5062"),
            ("localhost", 5060, "127.0.0.1:5060"),
        ] {
            assert_eq!(resolve(host, port).await.unwrap(), address.parse().unwrap());
        }
    }
}
