//! What carries the media of a call between two addresses: str0m with DTLS-SRTP, or ICE and the call key.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use media::RtpOut;
use rand::rngs::StdRng;
use str0m::channel::{ChannelConfig, ChannelId};
use str0m::config::Fingerprint;
use str0m::format::{Codec, FormatParams};
use str0m::media::{Frequency, MediaKind, Mid, Pt};
use str0m::net::{Protocol, Receive};
use str0m::rtp::{RtpWrite, SeqNo, Ssrc};
use str0m::{Candidate, IceCreds, Input, Output, Rtc, RtcConfig};

use super::bare::Bare;
use super::{DYNAMIC, STATS_EVERY};
use crate::crypt::{CallKey, Role};
use crate::messages::{OPUS, Setup};

/// One or the other.
pub(super) enum Engine {
    /// DTLS-SRTP, as browsers can.
    Dtls(Dtls),
    /// The call key protects the media (`network_use_mtproto`).
    Bare(Box<Bare>),
}

/// What an engine wants done.
#[derive(Debug)]
pub(super) enum Step {
    /// Send this from one of our addresses to one of the peer's.
    Transmit {
        local: SocketAddr,
        peer: SocketAddr,
        bytes: Vec<u8>,
    },
    /// Something happened.
    Event(Happening),
    /// Nothing more now; come back at this time.
    Timeout(Instant),
}

/// What happened.
#[derive(Debug)]
pub(super) enum Happening {
    /// Media can flow.
    Connected,
    /// A packet of the expected stream.
    Rtp(Heard),
    /// How long a connectivity check took, and how many were answered so far.
    RoundTrip {
        checks: u64,
        round_trip: Option<Duration>,
    },
    /// The peer says how much of our stream it lost since it said so last, percent, rounded up.
    Reported(u8),
    /// Texts can be sent to the peer.
    ChannelOpen,
    /// A text of the peer.
    Text(Vec<u8>),
    /// The peer has ended the media.
    Closed,
}

/// A packet of the peer.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) payload_type: u8,
    /// Its number, rollovers counted.
    pub(super) sequence: u64,
    pub(super) timestamp: u32,
    pub(super) marker: bool,
    pub(super) payload: Bytes,
}

/// What a datagram was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// Of the peer.
    Fine,
    /// Of the peer, and of no use.
    Refused,
    /// Nothing.
    Garbage,
}

/// str0m, through its direct API, without SDP. It must be polled to the end after every single input.
pub(super) struct Dtls {
    /// Boxed, because it is large and transports are moved.
    rtc: Box<Rtc>,
    mid: Mid,
    ssrc: u32,
    channel: Option<ChannelId>,
}

impl Engine {
    /// Begins with DTLS; `ssrc` is our stream.
    pub(super) fn dtls(now: Instant, role: Role, ssrc: u32) -> Self {
        let mid = Mid::from("0"); // never on the wire: there is no mid extension
        Engine::Dtls(Dtls {
            rtc: Box::new(build_rtc(now, role, mid, ssrc)),
            mid,
            ssrc,
            channel: None,
        })
    }

    /// Begins with the call key.
    pub(super) fn bare(
        now: Instant,
        role: Role,
        key: CallKey,
        ssrc: u32,
        rng: &mut StdRng,
    ) -> Self {
        Engine::Bare(Box::new(Bare::new(now, role, key, ssrc, rng)))
    }

    /// Our ICE credentials and the fingerprint of our certificate, for InitialSetup.
    pub(super) fn introduction(&mut self) -> (IceCreds, Vec<u8>) {
        match self {
            Engine::Dtls(dtls) => {
                let api = dtls.rtc.direct_api();
                let print = api.local_dtls_fingerprint().bytes.clone();
                (api.local_ice_credentials(), print)
            }
            Engine::Bare(bare) => (bare.credentials(), bare.fingerprint().to_vec()),
        }
    }

    /// Takes other ICE credentials, as a web client does that restarts ICE.
    #[cfg(test)]
    pub(super) fn set_credentials(&mut self, credentials: IceCreds) {
        match self {
            Engine::Dtls(dtls) => dtls.rtc.direct_api().set_local_ice_credentials(credentials),
            Engine::Bare(bare) => bare.set_credentials(credentials),
        }
    }

    /// Takes the peer's ICE credentials, the first or others.
    pub(super) fn set_remote_credentials(&mut self, setup: &Setup) {
        let credentials = IceCreds {
            ufrag: setup.ufrag.clone(),
            pass: setup.pwd.clone(),
        };
        match self {
            Engine::Dtls(dtls) => dtls
                .rtc
                .direct_api()
                .set_remote_ice_credentials(credentials),
            Engine::Bare(bare) => bare.set_remote_credentials(credentials),
        }
    }

    /// Begins to speak with the peer that this InitialSetup describes.
    pub(super) fn begin(&mut self, role: Role, setup: &Setup) -> Result<(), &'static str> {
        self.set_remote_credentials(setup);
        match self {
            Engine::Dtls(dtls) => dtls.begin(role, setup),
            Engine::Bare(_) => Ok(()),
        }
    }

    /// Offers an address of ours to ICE.
    pub(super) fn add_local_candidate(&mut self, candidate: Candidate) {
        match self {
            Engine::Dtls(dtls) => {
                dtls.rtc.add_local_candidate(candidate);
            }
            Engine::Bare(bare) => bare.add_local_candidate(candidate),
        }
    }

    /// Lets ICE try an address of the peer.
    pub(super) fn add_remote_candidate(&mut self, candidate: Candidate) {
        match self {
            Engine::Dtls(dtls) => dtls.rtc.add_remote_candidate(candidate),
            Engine::Bare(bare) => bare.add_remote_candidate(candidate),
        }
    }

    /// Lets ICE forget an address.
    pub(super) fn invalidate_candidate(&mut self, candidate: &Candidate) {
        match self {
            Engine::Dtls(dtls) => {
                dtls.rtc.direct_api().invalidate_candidate(candidate);
            }
            Engine::Bare(bare) => bare.invalidate_candidate(candidate),
        }
    }

    /// The peer sends the stream `new` instead of `old` from now on.
    pub(super) fn expect(&mut self, old: Option<u32>, new: Option<u32>) {
        match self {
            Engine::Dtls(dtls) => {
                let mut api = dtls.rtc.direct_api();
                if let Some(old) = old {
                    api.remove_stream_rx(Ssrc::from(old));
                }
                if let Some(new) = new {
                    // Nobody negotiated NACK for audio.
                    api.expect_stream_rx(Ssrc::from(new), None, dtls.mid, None)
                        .suppress_nack(true);
                }
            }
            Engine::Bare(bare) => bare.expect(new),
        }
    }

    /// Whether a STUN message is of this call.
    pub(super) fn accepts(
        &self,
        now: Instant,
        source: SocketAddr,
        local: SocketAddr,
        data: &[u8],
    ) -> bool {
        match self {
            Engine::Dtls(dtls) => Receive::new(Protocol::Udp, source, local, data)
                .is_ok_and(|receive| dtls.rtc.accepts(&Input::Receive(now, receive))),
            Engine::Bare(bare) => bare.accepts(data),
        }
    }

    /// Takes a datagram.
    pub(super) fn receive(
        &mut self,
        now: Instant,
        source: SocketAddr,
        local: SocketAddr,
        data: &[u8],
        is_stun: bool,
    ) -> Taken {
        match self {
            Engine::Dtls(dtls) => {
                let Ok(receive) = Receive::new(Protocol::Udp, source, local, data) else {
                    return Taken::Garbage;
                };
                match dtls.rtc.handle_input(Input::Receive(now, receive)) {
                    Ok(()) => Taken::Fine,
                    Err(error) => {
                        tracing::debug!(%error, "a datagram is refused");
                        Taken::Refused
                    }
                }
            }
            Engine::Bare(bare) if is_stun => bare.check(now, source, local, data),
            Engine::Bare(bare) => bare.receive(now, data),
        }
    }

    /// Does what is due.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        match self {
            Engine::Dtls(dtls) => {
                if let Err(error) = dtls.rtc.handle_input(Input::Timeout(now)) {
                    tracing::debug!(%error, "a timer of the media failed");
                }
            }
            Engine::Bare(bare) => bare.handle_timeout(now),
        }
    }

    /// Sends a packet of our stream; returns false when there is none. To be polled to the end before the next one.
    pub(super) fn send(
        &mut self,
        now: Instant,
        sequence: u64,
        marker: bool,
        packet: &RtpOut,
    ) -> bool {
        match self {
            Engine::Dtls(dtls) => dtls.send(now, sequence, marker, packet),
            Engine::Bare(bare) => {
                bare.send(sequence, marker, packet);
                true
            }
        }
    }

    /// Sends a text to the peer, if there is a channel.
    pub(super) fn write(&mut self, now: Instant, text: &str) {
        match self {
            Engine::Dtls(dtls) => dtls.write(text),
            Engine::Bare(bare) => bare.write(now, text),
        }
    }

    /// Tells the peer that the media ends, where there is a word for it.
    pub(super) fn close(&mut self) {
        match self {
            Engine::Dtls(dtls) => {
                if let Err(error) = dtls.rtc.close() {
                    tracing::debug!(%error, "closing the media");
                }
            }
            Engine::Bare(_) => {}
        }
    }

    /// Returns what is next to be done; nothing when it cannot go on.
    pub(super) fn poll(&mut self, now: Instant) -> Option<Step> {
        match self {
            Engine::Dtls(dtls) => dtls.poll(),
            Engine::Bare(bare) => Some(bare.poll(now)),
        }
    }
}

impl Dtls {
    fn begin(&mut self, role: Role, setup: &Setup) -> Result<(), &'static str> {
        let is_caller = role == Role::Caller;
        let is_client = match setup.setup.as_str() {
            "active" => false,
            "passive" => true,
            _ => is_caller,
        };
        let mut api = self.rtc.direct_api();
        api.set_remote_fingerprint(Fingerprint {
            hash_func: setup.hash.clone(),
            bytes: setup.fingerprint.clone(),
        });
        if let Err(error) = api.start_dtls(is_client) {
            tracing::warn!(%error, "DTLS does not start");
            return Err("DTLS does not start");
        }
        api.start_sctp(is_client);
        if is_caller {
            // In-band, stream 0. When the callee's unasked messages overtake the COOKIE ACK the channel never opens;
            // the call goes on without it (14.3, item 3).
            api.create_data_channel(ChannelConfig {
                label: "data".into(),
                ..Default::default()
            });
        }
        Ok(())
    }

    fn send(&mut self, now: Instant, sequence: u64, marker: bool, packet: &RtpOut) -> bool {
        let mut api = self.rtc.direct_api();
        let Some(stream) = api.stream_tx(&Ssrc::from(self.ssrc)) else {
            return false;
        };
        let write = RtpWrite::new(
            Pt::new_with_value(OPUS),
            SeqNo::from(sequence),
            packet.timestamp,
            now,
            &*packet.payload,
        );
        stream.write_rtp(write.marker(marker));
        // One packet a round: str0m queues only one between two inputs.
        if let Err(error) = self.rtc.handle_input(Input::Timeout(now)) {
            tracing::debug!(%error, "a packet is not sent");
        }
        true
    }

    fn write(&mut self, text: &str) {
        if let Some(mut channel) = self.channel.and_then(|id| self.rtc.channel(id)) {
            // As text: official receivers ignore binary messages.
            if let Err(error) = channel.write(false, text.as_bytes()) {
                tracing::debug!(%error, "the state of our microphone is not told");
            }
        }
    }

    fn poll(&mut self) -> Option<Step> {
        loop {
            match self.rtc.poll_output() {
                Ok(Output::Timeout(at)) => return Some(Step::Timeout(at)),
                Ok(Output::Transmit(transmit)) => {
                    return Some(Step::Transmit {
                        local: transmit.source,
                        peer: transmit.destination,
                        bytes: transmit.contents.into(),
                    });
                }
                Ok(Output::Event(event)) => {
                    if let Some(happening) = self.on_event(event) {
                        return Some(Step::Event(happening));
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "the media cannot go on");
                    return None;
                }
            }
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the events of another library, which may grow"
    )]
    fn on_event(&mut self, event: str0m::Event) -> Option<Happening> {
        use str0m::Event;
        match event {
            Event::Connected => Some(Happening::Connected),
            Event::RtpPacket(packet) => Some(Happening::Rtp(Heard {
                payload_type: *packet.header.payload_type,
                sequence: *packet.seq_no,
                timestamp: packet.header.timestamp,
                marker: packet.header.marker,
                payload: Bytes::copy_from_slice(&packet.payload),
            })),
            // Every peer answers the checks that keep the path open, whatever it thinks of RTCP.
            Event::PeerStats(stats) => {
                let pair = stats.selected_candidate_pair?;
                Some(Happening::RoundTrip {
                    checks: pair.responses_received,
                    round_trip: pair.current_round_trip_time,
                })
            }
            Event::MediaEgressStats(stats) => {
                stats.loss.map(|lost| Happening::Reported(percent(lost)))
            }
            Event::ChannelOpen(id, _) => {
                self.channel = Some(id);
                Some(Happening::ChannelOpen)
            }
            Event::ChannelData(data) => Some(Happening::Text(data.data)),
            Event::ChannelClose(id) => {
                self.channel = self.channel.filter(|known| *known != id);
                None
            }
            // close_notify, or the data channel's association is lost; either way the `Rtc` is dead.
            Event::Closed => Some(Happening::Closed),
            // ICE states say too little: `Disconnected` may never come (14.3, item 9).
            _ => None,
        }
    }
}

/// A share in whole percent, rounded up.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it is from 0 to 100 by then"
)]
fn percent(share: f32) -> u8 {
    (share * 100.0).ceil().clamp(0.0, 100.0) as u8
}

fn build_rtc(now: Instant, role: Role, mid: Mid, ssrc: u32) -> Rtc {
    let mut config = RtcConfig::new()
        .clear_codecs()
        .clear_extension_map()
        .set_rtp_mode(true)
        .set_stats_interval(Some(STATS_EVERY));
    let format = FormatParams {
        min_p_time: Some(10),
        use_inband_fec: Some(true),
        ..Default::default()
    };
    for number in DYNAMIC {
        config.codec_config().add_config(
            Pt::new_with_value(number),
            None,
            Codec::Opus,
            Frequency::FORTY_EIGHT_KHZ,
            Some(2),
            format,
        );
    }
    let mut rtc = config.build(now);
    let mut api = rtc.direct_api();
    api.set_ice_controlling(role == Role::Caller);
    api.declare_media(mid, MediaKind::Audio);
    api.declare_stream_tx(Ssrc::from(ssrc), None, mid, None);
    rtc
}
