//! Ports for this process: each one handed out once, and free when it was.

use std::net::{TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};

/// The launchers add 20 000 for sipp's control port; the kernel's own choices begin at 50 000 (tests/netns.sh).
static NEXT: AtomicU16 = AtomicU16::new(10_000);
const LAST: u16 = 29_900;

/// The first of `count` neighbouring ports that nobody holds, as UDP or TCP.
pub(crate) fn block(count: u16) -> u16 {
    // RTP wants an even port with RTCP above it.
    let count = count.next_multiple_of(2);
    loop {
        let first = NEXT.fetch_add(count, Ordering::Relaxed);
        assert!(first < LAST, "the tests have used up their ports");
        if (first..first + count).all(is_free) {
            return first;
        }
    }
}

/// One port.
pub(crate) fn one() -> u16 {
    block(1)
}

fn is_free(port: u16) -> bool {
    UdpSocket::bind(("127.0.0.1", port)).is_ok() && TcpListener::bind(("127.0.0.1", port)).is_ok()
}
