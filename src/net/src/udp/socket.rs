//! Opens UDP sockets.

use std::io;
use std::net::{SocketAddr, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

/// How much the system shall hold for a socket, octets; `None`: as much as it does without being asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Buffers {
    pub(crate) receive: Option<usize>,
    pub(crate) send: Option<usize>,
}

/// Opens a socket that never blocks; buffer sizes and the traffic class are wishes the system may refuse.
///
/// Each call opens four, so nothing is asked for that is not needed.
pub(crate) fn open(address: SocketAddr, buffers: Buffers, dscp: u32) -> io::Result<UdpSocket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM.nonblocking(),
        Some(Protocol::UDP),
    )?;
    let class = dscp << 2;
    let marked = match address {
        SocketAddr::V4(_) => socket.set_tos_v4(class),
        SocketAddr::V6(_) => {
            // One socket, one family: a peer has one address, not two spellings of it.
            socket.set_only_v6(true)?;
            socket.set_tclass_v6(class)
        }
    };
    let wishes = [
        marked,
        buffers
            .receive
            .map_or(Ok(()), |size| socket.set_recv_buffer_size(size)),
        buffers
            .send
            .map_or(Ok(()), |size| socket.set_send_buffer_size(size)),
    ];
    for error in wishes.into_iter().filter_map(Result::err) {
        tracing::debug!(%address, %error, "a socket option was refused");
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}
