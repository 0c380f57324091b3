//! The runtime of both peers: it looks at its sockets by a beat.
//!
//! A datagram that wakes its receiver costs the sender several times the datagram: on loopback the kernel does the waking
//! in the sender's time, and on a virtual machine it is an exit to the host. The switch would be charged with the sleep of
//! its test peers. So they wake up by a clock, up to a beat late, which counts as delay of the switch.

use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};

/// From one look to the next.
pub(crate) const BEAT: Duration = Duration::from_millis(2);

/// A runtime of one thread that is not woken by what arrives.
pub(crate) fn runtime() -> Runtime {
    let began = Instant::now();
    Builder::new_current_thread()
        .enable_all()
        .on_thread_park(move || {
            let gone = began.elapsed().as_nanos() % BEAT.as_nanos();
            thread::sleep(BEAT.saturating_sub(Duration::from_nanos(gone as u64)));
        })
        .build()
        .unwrap()
}
