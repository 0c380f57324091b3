//! Listening, and the options of a socket.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use model::Transport;
use sip::Hop;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::mpsc;

use super::{Entry, QUEUE, Streams, connection};

/// How many connections wait to be taken.
const BACKLOG: u32 = 512;
/// How long a listener that fails, for want of descriptors mostly, is left alone.
const PAUSE: Duration = Duration::from_millis(100);

/// An address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {}:{}: {source}", hop.transport, hop.address)]
pub struct BindError {
    /// The address.
    pub hop: Hop,
    /// What the system said.
    pub source: io::Error,
}

/// A bound address that nobody reads yet.
#[derive(Debug)]
pub struct Listener {
    socket: std::net::TcpListener,
    local: Hop,
}

impl Listener {
    /// Binds an address for TCP or TLS.
    pub fn bind(transport: Transport, address: SocketAddr) -> Result<Self, BindError> {
        let bind = || {
            let socket = socket2::Socket::new(
                socket2::Domain::for_address(address),
                socket2::Type::STREAM,
                Some(socket2::Protocol::TCP),
            )?;
            if address.is_ipv6() {
                // One socket, one family: a peer has one address, not two spellings of it.
                socket.set_only_v6(true)?;
            }
            // A restart must not wait for the connections of before to be forgotten.
            socket.set_reuse_address(true)?;
            socket.set_nonblocking(true)?;
            socket.bind(&address.into())?;
            socket.listen(i32::try_from(BACKLOG).unwrap_or(i32::MAX))?;
            let socket = std::net::TcpListener::from(socket);
            let local = Hop::new(transport, socket.local_addr()?);
            Ok(Self { socket, local })
        };
        bind().map_err(|source| BindError {
            hop: Hop::new(transport, address),
            source,
        })
    }

    /// Returns the address as bound, with the port the system chose.
    pub fn local(&self) -> Hop {
        self.local
    }

    pub(super) fn start(self, streams: &Streams) -> io::Result<()> {
        let listener = TcpListener::from_std(self.socket)?;
        tokio::spawn(accept(listener, self.local.transport, streams.clone()));
        Ok(())
    }
}

async fn accept(listener: TcpListener, transport: Transport, streams: Streams) {
    loop {
        let (tcp, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection cannot be taken");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let hop = Hop::new(transport, address);
        let (queue, messages) = mpsc::channel(QUEUE);
        let is_known = Arc::new(AtomicBool::new(false));
        let entry = Entry {
            queue,
            is_known: Arc::clone(&is_known),
            is_ours: false,
            opened: Instant::now(),
            task: None,
        };
        if !streams.admit(hop, entry) {
            tracing::debug!(%hop, "too many connections");
            continue;
        }
        let all = streams.clone();
        let task = tokio::spawn(async move {
            connection::server(&all, hop, tcp, messages, is_known).await;
            all.forget(hop);
        });
        streams.set_task(hop, task.abort_handle());
    }
}

/// A socket for a connection of ours.
pub(super) fn socket(to: SocketAddr) -> io::Result<TcpSocket> {
    if to.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }
}
