//! The one place that knows how the transport of a Telegram leg is made and fed.

use std::net::SocketAddr;
use std::time::Instant;

use media::{RtpOut, Transport, TransportOutput};
use rand::RngCore;
use telegram::{MediaStart, RtcLimits, RtcStats, RtcTransport};

/// Host candidates a transport can use.
pub(super) const MAX_CANDIDATES: usize = 1;

/// The transport of a Telegram leg.
pub(super) struct Rtc {
    transport: RtcTransport,
}

impl Rtc {
    /// Begins; `local` is what the peer is told about our sockets.
    pub(super) fn new(
        now: Instant,
        start: &MediaStart,
        local: &[SocketAddr],
    ) -> Result<Self, &'static str> {
        let local = *local.first().ok_or("no address to offer")?;
        let mut seed = [0; 32];
        rand::rng().fill_bytes(&mut seed);
        let transport = RtcTransport::new(now, start, local, RtcLimits::default(), seed);
        Ok(Self { transport })
    }

    pub(super) fn signal(&mut self, now: Instant, bytes: &[u8]) {
        self.transport.signal(now, bytes);
    }

    /// Takes one datagram of the socket bound to `_local`; there is only one.
    pub(super) fn handle_datagram(
        &mut self,
        now: Instant,
        _local: SocketAddr,
        source: SocketAddr,
        data: &[u8],
    ) {
        self.transport.handle_datagram(now, source, data);
    }

    pub(super) fn streams(&self) -> Vec<SocketAddr> {
        self.transport.streams()
    }

    pub(super) fn handle_stream(&mut self, now: Instant, server: SocketAddr, is_open: bool) {
        self.transport.handle_stream(now, server, is_open);
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.transport.handle_timeout(now);
    }

    pub(super) fn send(&mut self, now: Instant, packet: &RtpOut) {
        self.transport.send(now, packet);
    }

    pub(super) fn poll_output(&mut self) -> TransportOutput {
        self.transport.poll_output()
    }

    pub(super) fn close(&mut self, now: Instant) {
        self.transport.close(now);
    }

    pub(super) fn stats(&self) -> RtcStats {
        self.transport.stats()
    }
}
