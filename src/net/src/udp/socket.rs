//! Opens UDP sockets.

use std::io;
use std::net::{SocketAddr, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

/// Opens a socket that never blocks; buffer sizes and the traffic class are wishes the system may refuse.
pub(crate) fn open(address: SocketAddr, buffer_bytes: usize, dscp: u32) -> io::Result<UdpSocket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    socket.set_nonblocking(true)?;
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
        socket.set_recv_buffer_size(buffer_bytes),
        socket.set_send_buffer_size(buffer_bytes),
    ];
    for error in wishes.into_iter().filter_map(Result::err) {
        tracing::debug!(%address, %error, "a socket option was refused");
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}
