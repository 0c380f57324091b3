//! Lets the reactor watch a socket for reading, and for nothing else.

use std::io;
use std::os::fd::AsRawFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Registers a socket with the reactor of the current runtime.
///
/// Not `tokio::net::UdpSocket`: that one also watches for room to write, and on Linux every datagram that leaves the send
/// buffer then wakes the thread once more, for nothing.
pub(crate) fn watch<T: AsRawFd>(socket: T) -> io::Result<AsyncFd<T>> {
    #[expect(
        deprecated,
        reason = "the successor is `unsafe` for types whose descriptor may change; a std socket owns its own and keeps it"
    )]
    AsyncFd::with_interest(socket, Interest::READABLE)
}
