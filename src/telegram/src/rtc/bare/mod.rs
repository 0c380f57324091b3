//! Media without DTLS (telegram-calls 10, `network_use_mtproto`): ICE as always, and each datagram above it encrypted by the
//! call key. STUN stays plain.

mod channel;
mod packet;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use media::{RtpOut, RtpPacket};
use rand::RngCore;
use rand::rngs::StdRng;
use str0m::ice::{IceAgent, IceAgentEvent, StunMessage, StunPacket};
use str0m::net::Protocol;
use str0m::{Candidate, IceCreds};

use super::engine::{Happening, Heard, Step, Taken};
use crate::crypt::{CallKey, Role};
use crate::messages::OPUS;
use channel::Channel;
use packet::{Body, Packets};

/// Between two looks at the round trip of the path.
const MEASURE: Duration = Duration::from_secs(5);
/// The second octet of RTCP on a port shared with RTP (RFC 5761 section 4).
const RTCP: std::ops::RangeInclusive<u8> = 192..=223;

/// ICE, and what goes over it.
pub(super) struct Bare {
    ice: IceAgent,
    packets: Packets,
    channel: Channel,
    /// What InitialSetup carries and nobody uses.
    fingerprint: [u8; 32],
    ssrc: u32,
    expected: Option<Expected>,
    /// From where to where packets go.
    path: Option<(SocketAddr, SocketAddr)>,
    connected: bool,
    outputs: VecDeque<Step>,
    measure_at: Instant,
}

/// The stream that the peer sends.
struct Expected {
    ssrc: u32,
    /// The largest number so far, rollovers counted (RFC 3550 appendix A.1).
    largest: Option<u64>,
}

impl Expected {
    /// Counts rollovers; begins at the second round, so that nothing is before the beginning.
    fn number(&mut self, sequence: u16) -> u64 {
        let Some(largest) = self.largest else {
            let first = u64::from(sequence) + 0x1_0000;
            self.largest = Some(first);
            return first;
        };
        let [.., high, low] = largest.to_be_bytes();
        let step = sequence
            .wrapping_sub(u16::from_be_bytes([high, low]))
            .cast_signed();
        let number = largest.saturating_add_signed(step.into());
        self.largest = Some(largest.max(number));
        number
    }
}

impl Bare {
    pub(super) fn new(now: Instant, role: Role, key: CallKey, ssrc: u32, rng: &mut StdRng) -> Self {
        let provider = str0m::crypto::from_feature_flags();
        let mut ice = IceAgent::with_hmac(IceCreds::new(), provider.sha1_hmac_provider);
        ice.set_controlling(role == Role::Caller);
        let mut fingerprint = [0; 32];
        rng.fill_bytes(&mut fingerprint);
        Self {
            ice,
            packets: Packets::new(key, role),
            channel: Channel::new(role),
            fingerprint,
            ssrc,
            expected: None,
            path: None,
            connected: false,
            outputs: VecDeque::new(),
            measure_at: now + MEASURE,
        }
    }

    pub(super) fn fingerprint(&self) -> &[u8] {
        &self.fingerprint
    }

    pub(super) fn credentials(&self) -> IceCreds {
        self.ice.local_credentials().clone()
    }

    #[cfg(test)]
    pub(super) fn set_credentials(&mut self, credentials: IceCreds) {
        self.ice.set_local_credentials(credentials);
    }

    pub(super) fn set_remote_credentials(&mut self, credentials: IceCreds) {
        self.ice.set_remote_credentials(credentials);
    }

    pub(super) fn add_local_candidate(&mut self, candidate: Candidate) {
        self.ice.add_local_candidate(candidate);
    }

    pub(super) fn add_remote_candidate(&mut self, candidate: Candidate) {
        self.ice.add_remote_candidate(candidate);
    }

    pub(super) fn invalidate_candidate(&mut self, candidate: &Candidate) {
        self.ice.invalidate_candidate(candidate);
    }

    /// The peer sends this stream from now on.
    pub(super) fn expect(&mut self, ssrc: Option<u32>) {
        self.expected = ssrc.map(|ssrc| Expected {
            ssrc,
            largest: None,
        });
    }

    /// Whether a STUN message is of this call.
    pub(super) fn accepts(&self, data: &[u8]) -> bool {
        StunMessage::parse(data).is_ok_and(|message| self.ice.accepts_message(&message))
    }

    /// Takes a connectivity check or its answer.
    pub(super) fn check(
        &mut self,
        now: Instant,
        source: SocketAddr,
        local: SocketAddr,
        data: &[u8],
    ) -> Taken {
        let Ok(message) = StunMessage::parse(data) else {
            return Taken::Garbage;
        };
        let packet = StunPacket {
            proto: Protocol::Udp,
            source,
            destination: local,
            message,
        };
        if !self.ice.handle_packet(now, packet) {
            return Taken::Garbage;
        }
        self.turn(now);
        Taken::Fine
    }

    /// Takes a datagram that is no STUN.
    pub(super) fn receive(&mut self, now: Instant, data: &[u8]) -> Taken {
        match self.packets.open(data) {
            Some(Body::Channel(packet)) => self.channel.receive(now, packet),
            Some(Body::Rtp(packet)) => self.hear(&packet),
            None => return Taken::Garbage,
        }
        self.turn(now);
        Taken::Fine
    }

    fn hear(&mut self, packet: &[u8]) {
        if packet.get(1).is_some_and(|second| RTCP.contains(second)) {
            let lost = media::lost_percent(packet, self.ssrc);
            let reported = lost.map(|percent| Step::Event(Happening::Reported(percent)));
            return self.outputs.extend(reported);
        }
        let (Ok(rtp), Some(expected)) = (RtpPacket::parse(packet), &mut self.expected) else {
            return;
        };
        if rtp.ssrc != expected.ssrc {
            return;
        }
        let heard = Heard {
            payload_type: rtp.payload_type,
            sequence: expected.number(rtp.sequence),
            timestamp: rtp.timestamp,
            marker: rtp.marker,
            payload: Bytes::copy_from_slice(rtp.payload),
        };
        self.outputs.push_back(Step::Event(Happening::Rtp(heard)));
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.ice.handle_timeout(now);
        self.channel.handle_timeout(now);
        if self.measure_at <= now {
            self.measure_at = now + MEASURE;
            if let Some(checks) = self.ice.nominated_pair_responses_received() {
                let round_trip = self.ice.nominated_pair_rtt();
                let measured = Happening::RoundTrip { checks, round_trip };
                self.outputs.push_back(Step::Event(measured));
            }
        }
        self.turn(now);
    }

    /// Sends a packet of our stream.
    pub(super) fn send(&mut self, sequence: u64, marker: bool, packet: &RtpOut) {
        let [.., high, low] = sequence.to_be_bytes();
        let second = OPUS | if marker { 0x80 } else { 0 };
        let mut rtp = Vec::with_capacity(12 + packet.payload.len());
        rtp.extend([0x80, second, high, low]);
        rtp.extend(packet.timestamp.to_be_bytes());
        rtp.extend(self.ssrc.to_be_bytes());
        rtp.extend(&*packet.payload);
        self.transmit(&Body::Rtp(rtp));
    }

    /// Sends a text over the data channel.
    pub(super) fn write(&mut self, now: Instant, text: &str) {
        self.channel.write(now, text);
        self.turn(now);
    }

    /// Returns what is next to be done.
    pub(super) fn poll(&mut self, now: Instant) -> Step {
        if let Some(transmit) = self.ice.poll_transmit() {
            return Step::Transmit {
                local: transmit.source,
                peer: transmit.destination,
                bytes: transmit.contents.into(),
            };
        }
        if let Some(step) = self.outputs.pop_front() {
            return step;
        }
        // The agent knows no time before its first timeout.
        let ice = self.ice.poll_timeout().unwrap_or(now);
        let channel = self.channel.timeout().unwrap_or(ice);
        Step::Timeout(ice.min(channel).min(self.measure_at))
    }

    /// Moves what can move: what ICE found, texts both ways.
    fn turn(&mut self, now: Instant) {
        while let Some(event) = self.ice.poll_event() {
            match event {
                IceAgentEvent::NominatedSend {
                    source,
                    destination,
                    ..
                } => self.path = Some((source, destination)),
                IceAgentEvent::IceRestart(_)
                | IceAgentEvent::IceConnectionStateChange(_)
                | IceAgentEvent::DiscoveredRecv { .. } => {}
            }
        }
        if !self.connected && self.path.is_some() && self.ice.state().is_connected() {
            self.connected = true;
            for event in [Happening::Connected, Happening::ChannelOpen] {
                self.outputs.push_back(Step::Event(event));
            }
            self.channel.start(now);
        }
        while let Some(packet) = self.channel.poll_packet() {
            self.transmit(&Body::Channel(packet));
        }
        while let Some(text) = self.channel.poll_text() {
            self.outputs.push_back(Step::Event(Happening::Text(text)));
        }
    }

    fn transmit(&mut self, body: &Body) {
        let Some((local, peer)) = self.path else {
            return;
        };
        if let Some(bytes) = self.packets.seal(body) {
            self.outputs
                .push_back(Step::Transmit { local, peer, bytes });
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;
    use crate::testing::{hex, start};

    #[test]
    fn numbers_go_on_where_they_roll_over_and_know_the_late() {
        let mut stream = Expected {
            ssrc: 1,
            largest: None,
        };
        let numbers = [0xfffe, 0xffff, 0, 2, 1, 0xffff, 3].map(|sequence| stream.number(sequence));
        let first = 0x1_fffe;
        let expected = [0, 1, 2, 4, 3, 1, 5].map(|step| first + step);
        assert_eq!(numbers, expected);
    }

    #[test]
    fn a_report_about_our_stream_is_told_and_one_about_another_is_not() {
        let key = CallKey::new(&[7; 256]);
        let mut rng = StdRng::seed_from_u64(1);
        let mut bare = Bare::new(start(), Role::Caller, key, 0x0102_0304, &mut rng);
        let told = |bare: &mut Bare, ssrc: &str, fraction: &str| {
            let report =
                format!("81c9000700000009{ssrc}{fraction}000003000003e8000000000000000000000000");
            bare.outputs.clear();
            bare.hear(&hex(&report));
            bare.outputs.iter().find_map(|step| match step {
                Step::Event(Happening::Reported(percent)) => Some(*percent),
                _ => None,
            })
        };
        assert_eq!(told(&mut bare, "01020304", "1a"), Some(11));
        assert_eq!(told(&mut bare, "01020304", "00"), Some(0));
        assert_eq!(told(&mut bare, "01020304", "ff"), Some(100));
        assert_eq!(told(&mut bare, "01020305", "1a"), None);
    }
}
