//! SIP over connections: TCP and TLS (RFC 3261 18, RFC 5626 3.5.1 for the keepalive, RFC 5922 for names).
//!
//! One task a connection, which frames what arrives and writes what is to be sent; a table of them by hop, so that whatever
//! goes to a hop uses the connection that is there. Not here: transactions, and who may do what.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use model::Transport;
use parking_lot::Mutex;
use sip::{Hop, Limits, Parsed};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::AbortHandle;

mod connection;
mod listen;
mod tls;

pub use listen::{BindError, Listener};
pub use tls::{Certificate, Tls, TlsError, TlsPeer};

/// Connections at a time (SEC-D4).
const CONNECTIONS: usize = 1024;
/// Connections of one stranger, of a /64 where it speaks IPv6 (SEC-D4).
const OF_A_STRANGER: usize = 32;
/// Handshakes of TLS at a time (SEC-S1).
const HANDSHAKES: usize = 50;
/// How long a handshake, and before it the opening of a connection, may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
const CONNECT: Duration = Duration::from_secs(4);
/// Messages that wait for one connection; what comes when it is full is lost, as a datagram would be.
const QUEUE: usize = 256;

/// What arrives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arrival {
    /// A message, whole.
    Message {
        /// Where it came from.
        source: Hop,
        /// Its octets.
        bytes: Bytes,
    },
    /// A message that was refused before its end.
    Refused {
        /// Where it came from.
        source: Hop,
        /// What the framer said.
        parsed: Parsed,
    },
    /// A connection has ended, or could not be had.
    Ended {
        /// Its other end.
        hop: Hop,
    },
}

/// How long connections may be idle.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Of a stranger, before its first message.
    pub first: Duration,
    /// Of a stranger, after a message.
    pub stranger: Duration,
    /// Of one who is known.
    pub known: Duration,
    /// After which a known one is pinged by us (RFC 5626 4.4.1).
    pub ping: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(10),
            stranger: Duration::from_secs(15),
            known: Duration::from_secs(900),
            ping: Duration::from_secs(110),
        }
    }
}

/// Takes what arrives; false when there is no room now.
type Deliver = Arc<dyn Fn(Arrival) -> bool + Send + Sync>;

struct Entry {
    queue: mpsc::Sender<Bytes>,
    is_known: Arc<AtomicBool>,
    /// Who opened it: a connection of ours has no stranger at its end.
    is_ours: bool,
    opened: Instant,
    task: Option<AbortHandle>,
}

struct Shared {
    table: Mutex<HashMap<Hop, Entry>>,
    peers: Mutex<HashMap<Hop, TlsPeer>>,
    tls: Tls,
    limits: Limits,
    patience: Patience,
    handshakes: Arc<Semaphore>,
    deliver: Deliver,
    metrics: metrics::Metrics,
    /// The addresses that listen, for the source of what we open.
    bound: Vec<Hop>,
}

/// All connections. Cheap to clone; the tasks end with the last clone.
#[derive(Clone)]
pub struct Streams(Arc<Shared>);

impl std::fmt::Debug for Streams {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Streams")
            .field("connections", &self.0.table.lock().len())
            .finish_non_exhaustive()
    }
}

impl Streams {
    /// Starts to take connections on the current runtime. `deliver` must not wait.
    pub fn start(
        listeners: Vec<Listener>,
        tls: Tls,
        limits: Limits,
        patience: Patience,
        metrics: metrics::Metrics,
        deliver: impl Fn(Arrival) -> bool + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            table: Mutex::default(),
            peers: Mutex::default(),
            tls,
            limits,
            patience,
            handshakes: Arc::new(Semaphore::new(HANDSHAKES)),
            deliver: Arc::new(deliver),
            metrics,
            bound: listeners.iter().map(Listener::local).collect(),
        });
        let streams = Self(shared);
        streams.0.tls.watch();
        for listener in listeners {
            listener.start(&streams)?;
        }
        Ok(streams)
    }

    /// Sends a message over the connection to this hop, which is opened if there is none. Never waits; what cannot be sent
    /// is heard of as [`Arrival::Ended`].
    pub fn send(&self, hop: Hop, bytes: Bytes) {
        let mut table = self.0.table.lock();
        if let Some(entry) = table.get(&hop)
            && !entry.queue.is_closed()
        {
            if entry.queue.try_send(bytes).is_err() {
                tracing::debug!(%hop, "a connection takes nothing more just now");
            }
            return;
        }
        let (queue, messages) = mpsc::channel(QUEUE);
        // The first one always fits.
        let _ = queue.try_send(bytes);
        let is_known = Arc::new(AtomicBool::new(true));
        let task = tokio::spawn(Self::open(
            self.clone(),
            hop,
            messages,
            Arc::clone(&is_known),
        ));
        table.insert(
            hop,
            Entry {
                queue,
                is_known,
                is_ours: true,
                opened: Instant::now(),
                task: Some(task.abort_handle()),
            },
        );
        self.count(&table);
    }

    /// Says that whoever is at the other end has shown who it is: it may be idle for long, and is not the first to go.
    pub fn vouch(&self, hop: Hop) {
        if let Some(entry) = self.0.table.lock().get(&hop) {
            entry.is_known.store(true, Ordering::Relaxed);
        }
    }

    /// Says what a peer that we connect to by TLS is called; without, its certificate must have its address.
    pub fn expect(&self, hop: Hop, peer: TlsPeer) {
        self.0.peers.lock().insert(hop, peer);
    }

    /// Whether there is a connection to this hop.
    pub fn has(&self, hop: Hop) -> bool {
        let table = self.0.table.lock();
        table
            .get(&hop)
            .is_some_and(|entry| !entry.queue.is_closed())
    }

    /// The addresses that listen.
    pub fn local(&self) -> impl Iterator<Item = Hop> + '_ {
        self.0.bound.iter().copied()
    }

    /// How many connections there are.
    pub fn count_open(&self) -> usize {
        self.0.table.lock().len()
    }

    /// Reads the certificate again, if its files have changed; the one in use stays when they cannot be used.
    pub fn reload(&self) -> Result<(), TlsError> {
        self.0.tls.reload()
    }

    async fn open(
        streams: Self,
        hop: Hop,
        messages: mpsc::Receiver<Bytes>,
        is_known: Arc<AtomicBool>,
    ) {
        match tokio::time::timeout(CONNECT, streams.connect(hop)).await {
            Ok(Ok(tcp)) => {
                connection::client(&streams, hop, tcp, messages, is_known).await;
            }
            Ok(Err(error)) => tracing::debug!(%hop, %error, "cannot connect"),
            Err(_) => tracing::debug!(%hop, "cannot connect in time"),
        }
        streams.forget(hop);
    }

    /// From the address that listens, where there is one: a peer knows us by it.
    async fn connect(&self, hop: Hop) -> io::Result<TcpStream> {
        let same = |ours: &&Hop| {
            ours.address.is_ipv4() == hop.address.is_ipv4() && !ours.ip().is_unspecified()
        };
        let from = self.0.bound.iter().find(same).map(Hop::ip);
        let socket = listen::socket(hop.address)?;
        if let Some(from) = from {
            socket.bind(SocketAddr::new(from, 0))?;
        }
        socket.connect(hop.address).await
    }

    /// Takes a connection of somebody else, or does not.
    fn admit(&self, hop: Hop, entry: Entry) -> bool {
        let mut table = self.0.table.lock();
        let is_stranger = |entry: &Entry| !entry.is_ours && !entry.is_known.load(Ordering::Relaxed);
        let block = block(hop.ip());
        let his = table
            .iter()
            .filter(|(other, entry)| is_stranger(entry) && self::block(other.ip()) == block)
            .count();
        if his >= OF_A_STRANGER {
            return false;
        }
        if table.len() >= CONNECTIONS {
            let oldest = table
                .iter()
                .filter(|(_, entry)| is_stranger(entry))
                .min_by_key(|(_, entry)| entry.opened)
                .map(|(hop, _)| *hop);
            let Some(oldest) = oldest.and_then(|hop| table.remove(&hop)) else {
                return false;
            };
            if let Some(task) = oldest.task {
                task.abort();
            }
        }
        table.insert(hop, entry);
        self.count(&table);
        true
    }

    fn set_task(&self, hop: Hop, task: AbortHandle) {
        if let Some(entry) = self.0.table.lock().get_mut(&hop) {
            entry.task = Some(task);
        }
    }

    /// The last thing a connection does.
    fn forget(&self, hop: Hop) {
        let gone = {
            let mut table = self.0.table.lock();
            let gone = table.remove(&hop);
            self.count(&table);
            gone
        };
        if gone.is_some() {
            (self.0.deliver)(Arrival::Ended { hop });
        }
    }

    fn count(&self, table: &HashMap<Hop, Entry>) {
        for transport in [Transport::Tcp, Transport::Tls] {
            let open = table
                .keys()
                .filter(|hop| hop.transport == transport)
                .count();
            self.0.metrics.sip_connections(transport, open);
        }
    }
}

/// What counts as one host: an IPv6 subscriber has a /64.
fn block(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests;
