//! The one place that knows how the transport of a Telegram leg is made and fed.

use std::net::SocketAddr;
use std::time::Instant;

use media::{RtpOut, TransportOutput};
use telegram::MediaStart;

/// The transport of a Telegram leg.
#[derive(Debug)]
pub(super) struct Rtc {}

#[expect(clippy::unused_self, reason = "there is no transport yet")]
impl Rtc {
    pub(super) fn new(
        _now: Instant,
        _start: MediaStart,
        _local: &[SocketAddr],
        _seed: u64,
    ) -> Result<Self, &'static str> {
        Err("Telegram media is not available")
    }

    pub(super) fn signal(&mut self, _now: Instant, _bytes: &[u8]) {}

    /// Takes one datagram of the socket bound to `local`.
    pub(super) fn handle_datagram(
        &mut self,
        _now: Instant,
        _local: SocketAddr,
        _source: SocketAddr,
        _data: &[u8],
    ) {
    }

    pub(super) fn handle_timeout(&mut self, _now: Instant) {}

    pub(super) fn send(&mut self, _now: Instant, _packet: &RtpOut) {}

    pub(super) fn poll_output(&mut self) -> TransportOutput {
        TransportOutput::Timeout(None)
    }
}
