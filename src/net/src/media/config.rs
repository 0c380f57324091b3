//! The settings of the media plane.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;
use std::time::Duration;

/// How the media plane works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaConfig {
    /// Threads; 0 is one less than there are processors, and at least one.
    pub threads: usize,
    /// Ports of SIP legs: RTP even, RTCP the odd one after it.
    pub rtp_range: RangeInclusive<u16>,
    /// The address SIP legs are bound to; the unspecified one means whichever leads to the peer.
    pub rtp_address: IpAddr,
    /// The address written into SDP in place of the bound one, where a router translates.
    pub public_address: Option<IpAddr>,
    /// Silence of a SIP leg before [`super::MediaEvent::Silent`]; zero is never.
    pub rtp_timeout: Duration,
    /// The addresses offered to Telegram peers, one socket each; empty means every interface except loopback.
    pub telegram_addresses: Vec<IpAddr>,
    /// The address told to Telegram peers in place of the bound one, where a router translates.
    pub telegram_public_address: Option<IpAddr>,
    /// Ports of Telegram legs; `None` leaves the choice to the system.
    pub telegram_ports: Option<RangeInclusive<u16>>,
    /// Audio in one packet to Telegram, ms: 20, 40 or 60.
    pub frame_ms: u8,
}

impl Default for MediaConfig {
    fn default() -> Self {
        Self {
            threads: 0,
            rtp_range: 30_000..=39_999,
            rtp_address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            public_address: None,
            rtp_timeout: Duration::from_secs(10),
            telegram_addresses: Vec::new(),
            telegram_public_address: None,
            telegram_ports: None,
            frame_ms: 20,
        }
    }
}

impl MediaConfig {
    /// Returns how many threads are started.
    pub(super) fn thread_count(&self) -> usize {
        if self.threads > 0 {
            return self.threads;
        }
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        cores.saturating_sub(1).max(1)
    }
}

/// The media plane cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No pair of ports fits into the range.
    #[error("the RTP range {0}-{1} holds no even port with its successor")]
    NoPorts(u16, u16),
    /// The system refuses a thread or its reactor.
    #[error("a media thread cannot start: {0}")]
    Thread(#[from] io::Error),
}
