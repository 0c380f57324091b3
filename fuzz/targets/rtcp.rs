//! Datagrams at the RTCP door of a media socket, one after the other; the first octet of each says how many words it has.
#![no_main]

use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use media::{LegAudio, PlainConfig, PlainRtp, Remote, Transport, TransportOutput};
use model::{Codec, LegKind};

fuzz_target!(|data: &[u8]| {
    let mut now = Instant::now();
    let source = "192.0.2.1:4000".parse().expect("an address");
    let audio = LegAudio {
        codec: Codec::Alaw,
        payload_type: 8,
        dtmf_payload_type: Some(101),
        received: None,
        dtmf_clock: 8000,
        send_ptime: Duration::from_millis(20),
        kind: LegKind::Sip,
    };
    let remote = Remote {
        rtp: source,
        rtcp: None,
        signalling: source.ip(),
    };
    let mut plain = PlainRtp::new(now, PlainConfig::default(), audio, Some(remote), 1);
    let mut rest = data;
    while let Some((size, more)) = rest.split_first() {
        let (datagram, after) = more.split_at((usize::from(*size) * 4).min(more.len()));
        rest = after;
        plain.handle_rtcp(now, source, datagram);
        now += Duration::from_millis(20);
        plain.handle_timeout(now);
        while !matches!(plain.poll_output(), TransportOutput::Timeout(_)) {}
    }
    let _ = plain.stats();
});
