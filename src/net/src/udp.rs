//! The SIP socket: one UDP socket, one task that stamps what arrives and hands it on, senders that never wait.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::unix::AsyncFd;
use tokio::task::JoinHandle;

mod socket;
mod source;
mod watch;

pub(crate) use socket::{Buffers, open};
pub use source::source_address_for;
pub(crate) use watch::watch;

/// The largest datagram UDP over IPv4 can carry.
const MAX_DATAGRAM: usize = 65_535;
/// Datagrams taken before the other tasks of the thread get a turn.
const BURST: usize = 64;
/// What the kernel is asked to hold while the thread is busy: about 4000 INVITEs.
const BUFFER_BYTES: usize = 4 << 20;
/// CS3, the class of call signalling (RFC 4594 s.4.2).
const SIGNALLING_DSCP: u32 = 24;
/// How long a socket that fails for no known reason is left alone.
const PAUSE: Duration = Duration::from_millis(100);

/// What arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datagram {
    /// When the socket was read.
    pub at: Instant,
    /// Who sent it.
    pub source: SocketAddr,
    /// Its bytes.
    pub bytes: Bytes,
}

/// An address cannot be bound.
#[derive(Debug, thiserror::Error)]
#[error("cannot bind UDP {address}: {source}")]
pub struct BindError {
    /// The address.
    pub address: SocketAddr,
    /// What the system said.
    pub source: io::Error,
}

/// What a socket has carried, since it was bound.
#[derive(Debug, Default)]
pub struct UdpCounters {
    /// Datagrams received.
    pub received: AtomicU64,
    /// Datagrams received that nobody had room for.
    pub refused: AtomicU64,
    /// Datagrams sent.
    pub sent: AtomicU64,
    /// Datagrams that could not be sent.
    pub send_failures: AtomicU64,
}

#[derive(Debug)]
struct Shared {
    socket: UdpSocket,
    counters: UdpCounters,
}

/// A bound socket that nobody reads yet.
#[derive(Debug)]
pub struct SipSocket {
    shared: Arc<Shared>,
    local: SocketAddr,
}

impl SipSocket {
    /// Binds the socket, marked as call signalling, with large buffers where the system allows.
    pub fn bind(address: SocketAddr) -> Result<Self, BindError> {
        let named = |source| BindError { address, source };
        let buffers = Buffers {
            receive: Some(BUFFER_BYTES),
            send: Some(BUFFER_BYTES),
        };
        let socket = open(address, buffers, SIGNALLING_DSCP).map_err(named)?;
        let local = socket.local_addr().map_err(named)?;
        let counters = UdpCounters::default();
        let shared = Arc::new(Shared { socket, counters });
        Ok(Self { shared, local })
    }

    /// Returns the address as bound, with the port the system chose.
    pub fn local_address(&self) -> SocketAddr {
        self.local
    }

    /// Returns a sender; they are cheap to clone and outlive the reading task.
    pub fn sender(&self) -> SipSender {
        SipSender {
            shared: Arc::clone(&self.shared),
            local: self.local,
        }
    }

    /// Starts the reading task on the current runtime. `deliver` must not wait; it returns false when it has no room,
    /// which is counted: the peer sends again.
    pub fn receive(
        self,
        deliver: impl FnMut(Datagram) -> bool + Send + 'static,
    ) -> io::Result<JoinHandle<()>> {
        let socket = watch(Handle(self.shared))?;
        Ok(tokio::spawn(read(socket, deliver)))
    }
}

/// Sends from the SIP socket.
#[derive(Debug, Clone)]
pub struct SipSender {
    shared: Arc<Shared>,
    local: SocketAddr,
}

impl SipSender {
    /// Sends one datagram now or not at all; SIP repeats what is lost.
    pub fn send(&self, target: SocketAddr, bytes: &[u8]) {
        let counters = &self.shared.counters;
        match self.shared.socket.send_to(bytes, target) {
            Ok(_) => {
                counters.sent.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                counters.send_failures.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(%target, %error, length = bytes.len(), "a SIP datagram was not sent");
            }
        }
    }

    /// Returns the address of the socket as bound; may be unspecified.
    pub fn local_address(&self) -> SocketAddr {
        self.local
    }

    /// Returns the address the peer sees when nothing translates it: what belongs into Via and Contact.
    pub fn address_towards(&self, peer: SocketAddr) -> SocketAddr {
        let ip = match self.local.ip() {
            ip if ip.is_unspecified() => source_address_for(peer),
            ip => ip,
        };
        SocketAddr::new(ip, self.local.port())
    }

    /// Returns what the socket has carried.
    pub fn counters(&self) -> &UdpCounters {
        &self.shared.counters
    }
}

/// Lets the reactor watch a socket that senders share.
#[derive(Debug)]
struct Handle(Arc<Shared>);

impl std::os::fd::AsRawFd for Handle {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.0.socket.as_raw_fd()
    }
}

async fn read(socket: AsyncFd<Handle>, mut deliver: impl FnMut(Datagram) -> bool) {
    let shared = Arc::clone(&socket.get_ref().0);
    let mut buffer = vec![0; MAX_DATAGRAM];
    loop {
        let Ok(mut ready) = socket.readable().await else {
            return; // The runtime is shutting down.
        };
        let at = Instant::now();
        for _ in 0..BURST {
            match shared.socket.recv_from(&mut buffer) {
                Ok((length, source)) => {
                    shared.counters.received.fetch_add(1, Ordering::Relaxed);
                    let bytes = Bytes::copy_from_slice(buffer.get(..length).unwrap_or_default());
                    if !deliver(Datagram { at, source, bytes }) {
                        shared.counters.refused.fetch_add(1, Ordering::Relaxed);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready.clear_ready();
                    break;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    tracing::warn!(%error, "reading the SIP socket");
                    tokio::time::sleep(PAUSE).await;
                    break;
                }
            }
        }
        // A flood must not keep the timers of the thread from running.
        tokio::task::yield_now().await;
    }
}

/// The unspecified address of the same family.
pub(crate) fn unspecified(like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::sync::mpsc;

    use super::*;

    const ANY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

    async fn next<T>(from: &mut mpsc::Receiver<T>) -> T {
        let wait = tokio::time::timeout(Duration::from_secs(5), from.recv());
        wait.await.expect("in time").expect("something")
    }

    #[tokio::test]
    async fn what_one_socket_sends_the_other_hands_on_with_its_source() {
        let (a, b) = (SipSocket::bind(ANY).unwrap(), SipSocket::bind(ANY).unwrap());
        let (to, from) = (b.local_address(), a.local_address());
        let (tx, mut rx) = mpsc::channel(4);
        let sender = a.sender();
        b.receive(move |datagram| tx.try_send(datagram).is_ok())
            .unwrap();
        sender.send(to, b"OPTIONS");
        let datagram = next(&mut rx).await;
        assert_eq!(
            (datagram.source, &datagram.bytes[..]),
            (from, &b"OPTIONS"[..])
        );
        assert_eq!(sender.counters().sent.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn what_nobody_has_room_for_is_counted_and_the_next_one_still_comes() {
        let (a, b) = (SipSocket::bind(ANY).unwrap(), SipSocket::bind(ANY).unwrap());
        let (to, b_sender, sender) = (b.local_address(), b.sender(), a.sender());
        let (tx, mut rx) = mpsc::channel(1);
        b.receive(move |datagram| datagram.bytes != "no" && tx.try_send(datagram).is_ok())
            .unwrap();
        for text in ["no", "no", "yes"] {
            sender.send(to, text.as_bytes());
        }
        assert_eq!(next(&mut rx).await.bytes, "yes");
        assert_eq!(b_sender.counters().refused.load(Ordering::Relaxed), 2);
        assert_eq!(b_sender.counters().received.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn a_taken_port_is_named_in_the_error() {
        let first = SipSocket::bind(ANY).unwrap();
        let error = SipSocket::bind(first.local_address()).unwrap_err();
        assert!(
            error
                .to_string()
                .contains(&first.local_address().to_string())
        );
    }

    #[test]
    fn a_wildcard_socket_shows_the_peer_an_address_it_can_reach() {
        let any = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
        let sender = SipSocket::bind(any).unwrap().sender();
        let seen = sender.address_towards(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 5060));
        assert_eq!(seen.ip(), IpAddr::V4(Ipv4Addr::LOCALHOST));
        assert_eq!(seen.port(), sender.local_address().port());
    }
}
