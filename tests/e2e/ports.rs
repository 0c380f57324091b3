//! Ports for this process: free when they are handed out, and handed out again when all others have been, hundreds of tests later.

use std::net::{TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};

/// The launchers add 20 000 for sipp's control port; the kernel's own choices begin at 50 000 (tests/netns.sh).
const FIRST: u16 = 10_000;
const LAST: u16 = 29_900;

static NEXT: AtomicU16 = AtomicU16::new(FIRST);

/// The first of `count` neighbouring ports that nobody holds, as UDP or TCP.
pub(crate) fn block(count: u16) -> u16 {
    // RTP wants an even port with RTCP above it.
    let count = count.next_multiple_of(2);
    // Once round and nothing free: somebody holds them all.
    for _ in FIRST..LAST {
        let first = take(count);
        if (first..first + count).all(is_free) {
            return first;
        }
    }
    panic!("the tests have used up their ports");
}

fn take(count: u16) -> u16 {
    let begin = |next: u16| if next + count > LAST { FIRST } else { next };
    let taken = NEXT.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |next| {
        Some(begin(next) + count)
    });
    begin(taken.expect("there is always a next one"))
}

/// One port.
pub(crate) fn one() -> u16 {
    block(1)
}

fn is_free(port: u16) -> bool {
    UdpSocket::bind(("127.0.0.1", port)).is_ok() && TcpListener::bind(("127.0.0.1", port)).is_ok()
}
