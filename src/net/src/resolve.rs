//! Where a domain's SIP servers are (RFC 3263), by way of the name servers.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig,
};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{RData, RecordType};
use model::{HostPort, Transport};
use parking_lot::Mutex;
use sip::Hop;
use sip::locate::{MAX_SERVERS, Naptr, Srv, asks_for_servers, servers, service_name, services};
use tokio::runtime::Handle;

/// How long all the questions about one domain may take.
const PATIENCE: Duration = Duration::from_secs(8);
/// How long the name servers may take for one of them, and how often they are asked.
const QUERY: (Duration, usize) = (Duration::from_secs(2), 2);
/// How long an address where nobody was found is put behind the others.
const AVOIDED_FOR: Duration = Duration::from_secs(60);

/// No place was found.
#[derive(Debug, thiserror::Error)]
pub enum LocateError {
    /// The name servers know no such host.
    #[error("no address is known for the name {0}")]
    Unknown(String),
    /// The domain says that it does not offer SIP over this transport.
    #[error("the domain {0} says that it has no SIP over {1}")]
    NotOffered(String, Transport),
    /// The name servers did not answer, or not well.
    #[error("the name {0} cannot be looked up: {1}")]
    Failed(String, String),
}

/// Looks up SIP servers. Answers are kept as long as their TTL says; cheap to clone.
#[derive(Clone)]
pub struct Resolver {
    /// Nothing when this host is so odd that none can be made.
    dns: Option<TokioResolver>,
    /// Whose reactor the sockets belong to, whoever asks.
    runtime: Handle,
    avoided: Arc<Mutex<HashMap<SocketAddr, Instant>>>,
}

impl Resolver {
    /// Asks these name servers, or where there are none those of `/etc/resolv.conf`; `/etc/hosts` comes first. Must be made inside
    /// a tokio runtime, which has to live as long.
    pub fn new(name_servers: &[SocketAddr]) -> Self {
        let provider = TokioRuntimeProvider::default;
        let own = || {
            let servers = name_servers.iter().map(|server| {
                let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
                let connections = connections.map(|mut connection| {
                    connection.port = server.port();
                    connection
                });
                NameServerConfig::new(server.ip(), true, connections.to_vec())
            });
            let config = ResolverConfig::from_name_servers(servers.collect());
            TokioResolver::builder_with_config(config, provider())
        };
        let mut builder = if name_servers.is_empty() {
            TokioResolver::builder(provider()).unwrap_or_else(|error| {
                tracing::warn!(%error, "the name servers of this host are not known: only addresses and /etc/hosts work");
                own()
            })
        } else {
            own()
        };
        let options = builder.options_mut();
        (options.timeout, options.attempts) = QUERY;
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        let dns = builder.build();
        if let Err(error) = &dns {
            tracing::error!(%error, "names cannot be looked up");
        }
        Self {
            dns: dns.ok(),
            runtime: Handle::current(),
            avoided: Arc::default(),
        }
    }

    /// Returns where requests to a host go, in the order in which to try: one hop at least, [`MAX_SERVERS`] at most.
    ///
    /// By RFC 3263 4: a host with a port has that one, an address is itself; a bare name is asked for NAPTR, SRV and addresses in
    /// turn. Addresses without a route come last, so A stands before AAAA where IPv6 leads nowhere; so do those that were
    /// [avoided](Self::avoid).
    pub async fn locate(
        &self,
        host: &HostPort,
        transport: Transport,
    ) -> Result<Vec<Hop>, LocateError> {
        if let Some(ip) = host.ip() {
            let port = host.port().unwrap_or(transport.default_port());
            return Ok(vec![Hop::new(transport, SocketAddr::new(ip, port))]);
        }
        let (this, asked) = (self.clone(), host.clone());
        let found = self.runtime.spawn(async move {
            let search = this.search(&asked, transport);
            let found = tokio::time::timeout(PATIENCE, search).await;
            found.unwrap_or_else(|_| {
                let why = "the name servers do not answer".to_owned();
                Err(LocateError::Failed(asked.host().to_owned(), why))
            })
        });
        let found = found.await.unwrap_or_else(|error| {
            let why = error.to_string();
            Err(LocateError::Failed(host.host().to_owned(), why))
        })?;
        let mut hops: Vec<Hop> = Vec::new();
        for address in found {
            let hop = Hop::new(transport, address);
            if !hops.contains(&hop) {
                hops.push(hop);
            }
        }
        hops.truncate(MAX_SERVERS);
        self.sort(&mut hops);
        Ok(hops)
    }

    /// Puts an address behind the others for a minute: nobody was found there.
    pub fn avoid(&self, hop: Hop) {
        let now = Instant::now();
        let mut avoided = self.avoided.lock();
        avoided.retain(|_, until| *until > now);
        avoided.insert(hop.address, now + AVOIDED_FOR);
    }

    /// Puts those behind the others that were avoided of late.
    pub fn sort(&self, hops: &mut [Hop]) {
        let now = Instant::now();
        let avoided = self.avoided.lock();
        hops.sort_by_key(|hop| avoided.get(&hop.address).is_some_and(|until| *until > now));
    }

    async fn search(
        &self,
        host: &HostPort,
        transport: Transport,
    ) -> Result<Vec<SocketAddr>, LocateError> {
        let name = host.host();
        if !asks_for_servers(host) {
            let port = host.port().unwrap_or(transport.default_port());
            return self.addresses(name, port).await;
        }
        let mut names = services(self.naptr(name).await, transport);
        if names.is_empty() {
            names.push(service_name(name, transport));
        }
        let mut records = Vec::new();
        for name in names {
            records.extend(self.srv(&name).await);
        }
        if records.is_empty() {
            return self.addresses(name, transport.default_port()).await;
        }
        let servers = servers(records, &mut rand::rng());
        if servers.is_empty() {
            return Err(LocateError::NotOffered(name.to_owned(), transport));
        }
        let (mut found, mut last) = (Vec::new(), None);
        for server in servers {
            match self.addresses(&server.target, server.port).await {
                Ok(addresses) => found.extend(addresses),
                Err(error) => last = Some(error),
            }
        }
        match last {
            Some(error) if found.is_empty() => Err(error),
            Some(_) | None => Ok(found),
        }
    }

    async fn naptr(&self, name: &str) -> Vec<Naptr> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        self.records(name, RecordType::NAPTR, |data| match data {
            RData::NAPTR(naptr) => Some(Naptr {
                order: naptr.order,
                preference: naptr.preference,
                flags: text(&naptr.flags),
                services: text(&naptr.services),
                regexp: text(&naptr.regexp),
                replacement: naptr.replacement.to_utf8(),
            }),
            _ => None,
        })
        .await
    }

    async fn srv(&self, name: &str) -> Vec<Srv> {
        self.records(name, RecordType::SRV, |data| match data {
            RData::SRV(srv) => Some(Srv {
                priority: srv.priority,
                weight: srv.weight,
                port: srv.port,
                target: srv.target.to_utf8(),
            }),
            _ => None,
        })
        .await
    }

    /// The records of a type; none is as good as an error here, for there is always a next thing to ask.
    async fn records<T>(
        &self,
        name: &str,
        kind: RecordType,
        read: impl Fn(&RData) -> Option<T>,
    ) -> Vec<T> {
        let Some(dns) = &self.dns else {
            return Vec::new();
        };
        match dns.lookup(full(name), kind).await {
            Ok(found) => {
                let records = found.answers().iter();
                records.filter_map(|record| read(&record.data)).collect()
            }
            Err(error) => {
                if !error.is_no_records_found() {
                    tracing::debug!(name, %kind, %error, "a name is not looked up");
                }
                Vec::new()
            }
        }
    }

    /// The addresses of a host: those to which there is a way first, and of them IPv6 first (RFC 6724 rules 1 and 6).
    async fn addresses(&self, name: &str, port: u16) -> Result<Vec<SocketAddr>, LocateError> {
        let Some(dns) = &self.dns else {
            let why = "there is nobody to ask".to_owned();
            return Err(LocateError::Failed(name.to_owned(), why));
        };
        let found = match dns.lookup_ip(full(name)).await {
            Ok(found) => found,
            Err(error) if error.is_no_records_found() => {
                return Err(LocateError::Unknown(name.to_owned()));
            }
            Err(error) => return Err(LocateError::Failed(name.to_owned(), shown(&error))),
        };
        let mut found: Vec<_> = found.iter().map(|ip| SocketAddr::new(ip, port)).collect();
        found.sort_by_key(|address| {
            let has_way = !crate::udp::source_address_for(*address).is_unspecified();
            (!has_way, address.is_ipv4())
        });
        if found.is_empty() {
            return Err(LocateError::Unknown(name.to_owned()));
        }
        Ok(found)
    }
}

/// A name that no search list completes.
fn full(name: &str) -> String {
    // A name of one label may be one that only this host's search list knows.
    if name.ends_with('.') || !name.contains('.') {
        name.to_owned()
    } else {
        format!("{name}.")
    }
}

fn shown(error: &NetError) -> String {
    match error {
        NetError::Timeout => "the name servers do not answer".to_owned(),
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests;
