use bytes::Bytes;
use model::{Codec, LegKind, SrtpKey, SrtpKeys, SrtpSuite};

use super::*;

const AUDIO: LegAudio = LegAudio {
    codec: Codec::Alaw,
    payload_type: 8,
    dtmf_payload_type: Some(101),
    received: None,
    dtmf_clock: 8000,
    send_ptime: Duration::from_millis(20),
    kind: LegKind::Sip,
};
const PEER: &str = "198.51.100.1:4000";
const MS: Duration = Duration::from_millis(1);

/// One transport in virtual time.
struct Bench {
    plain: PlainRtp,
    now: Instant,
    sequence: u16,
    heard: Vec<RtpIn>,
    events: Vec<TransportEvent>,
    sent: Vec<(SocketAddr, Bytes)>,
    reports: Vec<(SocketAddr, Bytes)>,
    timeout: Option<Instant>,
}

impl Bench {
    fn new() -> Self {
        Self::at(PEER, PEER)
    }

    fn at(announced: &str, signalling: &str) -> Self {
        let now = crate::tests::start();
        let plain = PlainRtp::new(
            now,
            PlainConfig::default(),
            AUDIO,
            Some(remote(announced, signalling)),
            1,
        );
        let (heard, events, sent, reports) = Default::default();
        let mut bench = Self {
            plain,
            now,
            sequence: 100,
            heard,
            events,
            sent,
            reports,
            timeout: None,
        };
        bench.drain();
        bench
    }

    fn drain(&mut self) {
        loop {
            match self.plain.poll_output() {
                TransportOutput::Transmit { target, bytes } => self.sent.push((target, bytes)),
                TransportOutput::TransmitRtcp { target, bytes } => {
                    self.reports.push((target, bytes));
                }
                TransportOutput::Rtp(packet) => self.heard.push(packet),
                TransportOutput::Event(event) => self.events.push(event),
                TransportOutput::Timeout(at) => return self.timeout = at,
            }
        }
    }

    fn advance(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.timeout.filter(|at| *at <= end) {
            self.now = at;
            self.plain.handle_timeout(at);
            self.drain();
        }
        self.now = end;
    }

    fn datagram(&mut self, source: &str, data: &[u8]) {
        self.plain
            .handle_datagram(self.now, source.parse().unwrap(), data);
        self.drain();
    }

    fn packet(&mut self, source: &str, payload_type: u8, ssrc: u32, sequence: u16) {
        let header = RtpPacket {
            payload_type,
            sequence,
            timestamp: u32::from(sequence) * 160,
            ssrc,
            marker: false,
            payload: &[],
        };
        let mut bytes = header.header().to_vec();
        bytes.extend_from_slice(&[0xd5; 160]);
        self.datagram(source, &bytes);
    }

    /// The peer talks, 20 ms a packet.
    fn talk(&mut self, packets: u16) {
        for _ in 0..packets {
            self.packet(PEER, 8, 1, self.sequence);
            self.sequence += 1;
            self.advance(20 * MS);
        }
    }

    fn send(&mut self, count: u32) {
        for n in 0..count {
            let payload = Bytes::from_static(&[0x55; 160]);
            self.plain.send(
                self.now,
                &RtpOut {
                    payload_type: 8,
                    timestamp: n * 160,
                    marker: n == 0,
                    payload,
                },
            );
            self.drain();
            self.advance(20 * MS);
        }
    }
}

fn remote(announced: &str, signalling: &str) -> Remote {
    let signalling: SocketAddr = signalling.parse().unwrap();
    Remote {
        rtp: announced.parse().unwrap(),
        rtcp: None,
        signalling: signalling.ip(),
    }
}

#[test]
fn an_answer_with_numbers_of_its_own_is_heard_by_ours() {
    let mut bench = Bench::new();
    // His answer has 96; we offered 101.
    let audio = LegAudio {
        dtmf_payload_type: Some(96),
        received: Some(model::PayloadTypes {
            audio: 8,
            event: Some(101),
        }),
        ..AUDIO
    };
    bench.plain.set_audio(audio, Vec::new());
    bench.talk(10);
    bench.packet(PEER, 101, 1, 110);
    let malformed = bench.plain.stats().malformed;
    assert_eq!((bench.heard.len(), malformed), (11, 0));
}

#[test]
fn the_peer_turns_to_another_codec_of_its_answer_and_back_but_not_for_a_straggler() {
    let mut bench = Bench::new();
    let mulaw = LegAudio {
        codec: Codec::Mulaw,
        payload_type: 0,
        ..AUDIO
    };
    bench.plain.set_audio(AUDIO, vec![mulaw]);
    let say = |bench: &mut Bench, payload_types: &[u8]| {
        for payload_type in payload_types {
            bench.packet(PEER, *payload_type, 1, bench.sequence);
            bench.sequence += 1;
        }
        let turned = bench.events.drain(..).filter_map(|event| match event {
            TransportEvent::Turned(audio) => Some(audio.codec),
            _ => None,
        });
        turned.collect::<Vec<_>>()
    };
    assert_eq!(say(&mut bench, &[8, 8, 0, 8, 8, 0, 101, 8]), []);
    assert_eq!(say(&mut bench, &[0, 101, 0, 0, 8, 0]), [Codec::Mulaw]);
    assert_eq!(say(&mut bench, &[8, 8, 8]), [Codec::Alaw]);
    assert_eq!(bench.plain.stats().malformed, 0);
    // Only what there is now is agreed.
    bench.plain.set_audio(AUDIO, Vec::new());
    assert_eq!(say(&mut bench, &[0, 0, 0]), []);
    assert_eq!(bench.plain.stats().malformed, 3);
}

#[test]
fn packets_go_out_numbered_to_the_announced_address() {
    let mut bench = Bench::new();
    bench.send(3);
    let packets: Vec<RtpPacket<'_>> = bench
        .sent
        .iter()
        .map(|(_, bytes)| RtpPacket::parse(bytes).unwrap())
        .collect();
    assert!(
        bench
            .sent
            .iter()
            .all(|(target, _)| *target == PEER.parse().unwrap())
    );
    assert!(
        packets
            .windows(2)
            .all(|two| two[1].sequence == two[0].sequence.wrapping_add(1))
    );
    assert!(
        packets
            .iter()
            .all(|packet| packet.ssrc == packets[0].ssrc && packet.payload == [0x55; 160])
    );
    assert!(packets[0].marker && !packets[1].marker);
}

/// RFC 6263: on hold the switch says nothing, and what the PBX plays must find its way all the same.
#[test]
fn a_way_that_nothing_is_sent_on_is_kept_open() {
    let mut bench = Bench::new();
    bench.send(3);
    bench.advance(Duration::from_secs(14));
    assert_eq!(bench.sent.len(), 3);
    bench.advance(Duration::from_secs(30));
    let packets = bench.sent.iter().map(|(target, bytes)| {
        assert_eq!(*target, PEER.parse().unwrap());
        RtpPacket::parse(bytes).unwrap()
    });
    let packets: Vec<RtpPacket<'_>> = packets.collect();
    let begin = packets[0];
    let expected = [(3, 2 + 750), (4, 2 + 1500)].map(|(sequence, frames)| RtpPacket {
        sequence: begin.sequence.wrapping_add(sequence),
        timestamp: frames * 160,
        marker: false,
        payload: &[],
        ..begin
    });
    assert_eq!(packets[3..], expected);
    // Who talks needs none, and neither does who is gone.
    bench.sent.clear();
    bench.send(1000);
    assert_eq!(bench.sent.len(), 1000);
    bench.plain.close(bench.now);
    bench.drain();
    assert_eq!(bench.timeout, None);
}

#[test]
fn nothing_goes_out_before_the_peer_is_known_nor_to_forbidden_places() {
    let mut bench = Bench::at("127.0.0.1:4000", "198.51.100.1:5060");
    bench.send(2);
    assert!(bench.sent.is_empty());
    bench.plain = PlainRtp::new(bench.now, PlainConfig::default(), AUDIO, None, 1);
    bench.send(2);
    bench.packet(PEER, 8, 1, 1);
    assert!(bench.sent.is_empty() && bench.heard.is_empty());
}

#[test]
fn a_third_host_that_sprays_is_neither_heard_nor_answered() {
    // SEC-M1: before, during and after the setup, with plausible packets.
    let mut bench = Bench::new();
    let attacker = "203.0.113.66:4000";
    for sequence in 0..200 {
        bench.packet(attacker, 8, 9, sequence);
    }
    for step in 0..50 {
        bench.talk(1);
        for n in 0..4 {
            bench.packet(attacker, 8, 1, 100 + step * 4 + n);
            bench.packet("198.51.100.1:6000", 8, 1, 100 + step * 4 + n);
        }
        bench.send(1);
    }
    assert_eq!(bench.heard.len(), 50);
    assert!(
        bench
            .sent
            .iter()
            .all(|(target, _)| *target == PEER.parse().unwrap())
    );
    assert_eq!(bench.plain.stats().foreign, 200 + 400);
    assert_eq!(bench.events, [TransportEvent::Connected]);
}

#[test]
fn a_peer_behind_a_nat_is_answered_where_it_really_is() {
    let mut bench = Bench::at("192.168.1.5:4000", "203.0.113.9:5060");
    bench.send(1);
    assert!(bench.sent.is_empty(), "nobody is at the private address");
    for sequence in 0..10 {
        bench.packet("203.0.113.9:31000", 8, 1, sequence);
    }
    bench.send(1);
    assert_eq!(bench.heard.len(), 6);
    assert_eq!(bench.sent[0].0, "203.0.113.9:31000".parse().unwrap());
    bench.advance(Duration::from_secs(6));
    assert_eq!(bench.reports[0].0, "203.0.113.9:31001".parse().unwrap());
}

#[test]
fn a_new_answer_moves_the_media() {
    let mut bench = Bench::new();
    bench.talk(10);
    bench
        .plain
        .set_remote(bench.now, remote("198.51.100.2:5000", PEER));
    bench.talk(5);
    assert_eq!(bench.heard.len(), 10, "the old place is a stranger now");
    bench.packet("198.51.100.2:5000", 8, 7, 1);
    bench.packet("198.51.100.2:5000", 8, 7, 2);
    bench.send(1);
    assert_eq!(
        bench.heard.len(),
        11,
        "the second packet of a new stream confirms it"
    );
    assert_eq!(bench.heard[10].sequence, bench.heard[9].sequence + 1);
    assert_eq!(bench.sent[0].0, "198.51.100.2:5000".parse().unwrap());
}

#[test]
fn payload_types_nobody_agreed_to_are_dropped_and_comfort_noise_is_heard() {
    let mut bench = Bench::new();
    bench.packet(PEER, 13, 1, 0);
    bench.packet(PEER, 0, 1, 1);
    bench.packet(PEER, 101, 1, 2);
    bench.datagram(PEER, b"\x00\x01\x00\x00\x21\x12\xa4\x42aaaaaaaaaaaa");
    assert_eq!((bench.heard.len(), bench.plain.stats().malformed), (2, 2));
}

/// As keep-alives are (RFC 6263 4.6), or what another clock has for silence.
#[test]
fn a_packet_of_a_type_nobody_agreed_to_is_not_lost() {
    let mut bench = Bench::new();
    bench.talk(10);
    for sequence in [110, 112] {
        bench.packet(PEER, 99, 1, sequence);
        bench.packet(PEER, 8, 1, sequence + 1);
    }
    let (stats, heard) = (bench.plain.stats(), &bench.heard);
    assert_eq!((stats.lost, stats.malformed), (0, 2));
    let follow = heard
        .windows(2)
        .all(|two| two[1].sequence == two[0].sequence + 1);
    assert!(follow && heard.len() == 14);
    assert!(heard[10].payload.is_empty() && !heard[11].payload.is_empty());
    // It proves nothing: neither that there is another stream, nor that somebody speaks.
    for sequence in 0..10 {
        bench.packet(PEER, 99, 2, sequence);
    }
    assert_eq!(bench.heard.len(), 14);
    bench.plain.expect_media(bench.now, true);
    for sequence in 114..125 {
        bench.advance(Duration::from_secs(1));
        bench.packet(PEER, 99, 1, sequence);
    }
    let is_silent = |event: &TransportEvent| matches!(event, TransportEvent::Silent { .. });
    assert!(bench.events.iter().any(is_silent));
}

#[test]
fn silence_is_told_once_after_ten_seconds_and_never_on_hold() {
    let silent = TransportEvent::Silent {
        for_: Duration::from_secs(10),
    };
    let mut bench = Bench::new();
    bench.advance(Duration::from_secs(60));
    assert!(bench.events.is_empty(), "not before the answer");
    bench.plain.expect_media(bench.now, true);
    bench.talk(100);
    bench.advance(Duration::from_millis(9_979));
    assert_eq!(bench.events, [TransportEvent::Connected]);
    bench.advance(MS);
    bench.advance(Duration::from_secs(60));
    assert_eq!(bench.events.len(), 2);
    assert_eq!(bench.events[1], silent);
    bench.talk(1);
    bench.plain.expect_media(bench.now, false);
    bench.drain();
    bench.advance(Duration::from_secs(3600));
    assert_eq!(bench.events.len(), 2);
    assert_eq!(bench.events[1], silent);
    bench.plain.expect_media(bench.now, true);
    bench.drain();
    bench.advance(Duration::from_secs(10));
    assert_eq!(bench.events[1..], [silent.clone(), silent]);
}

#[test]
fn reports_tell_loss_and_round_trip() {
    let (mut here, mut there) = (Bench::new(), Bench::new());
    // They send to each other with 30 to 50 ms on the way; every tenth packet to `there` is lost.
    for n in 0..600_u32 {
        here.send(1);
        there.send(1);
        let (outgoing, incoming) = (
            std::mem::take(&mut here.sent),
            std::mem::take(&mut there.sent),
        );
        for (_, bytes) in outgoing.iter().filter(|_| n % 10 != 9) {
            there.datagram(PEER, bytes);
        }
        for (_, bytes) in incoming {
            here.datagram(PEER, &bytes);
        }
        let (outgoing, incoming) = (
            std::mem::take(&mut here.reports),
            std::mem::take(&mut there.reports),
        );
        for (_, bytes) in outgoing {
            there
                .plain
                .handle_rtcp(there.now + 30 * MS, PEER.parse().unwrap(), &bytes);
        }
        for (_, bytes) in incoming {
            here.plain
                .handle_rtcp(here.now + 30 * MS, PEER.parse().unwrap(), &bytes);
        }
    }
    let stats = here.plain.stats();
    let lost = stats.remote_lost.unwrap();
    assert!((24..=27).contains(&lost), "{lost}");
    here.drain();
    let last = here.events.iter().rev().find_map(|event| match event {
        TransportEvent::Reported { lost_percent } => Some(*lost_percent),
        _ => None,
    });
    assert!(
        last.is_some_and(|percent| (10..=11).contains(&percent)),
        "{last:?}"
    );
    let trip = stats.round_trip.unwrap();
    assert!((60..=100).contains(&trip.as_millis()), "{trip:?}");
    assert!(stats.round_trips > 0);
    assert_eq!(there.plain.stats().lost, 59);
}

/// RFC 3550 6.4.1: a report on a stream names the last report of that stream, or none.
#[test]
fn another_stream_of_the_peer_is_not_told_of_reports_that_it_never_made() {
    let mut bench = Bench::new();
    let named = |bench: &mut Bench| {
        bench.reports.clear();
        bench.advance(Duration::from_secs(6));
        let (_, bytes) = bench.reports.first().unwrap();
        rtcp::reports(bytes).find_map(|report| match report {
            Report::Reception(block) => Some((block.ssrc, block.last_report)),
            _ => None,
        })
    };
    bench.talk(5);
    let info = SenderInfo {
        ntp: 77 << 16,
        timestamp: 0,
        packets: 0,
        octets: 0,
    };
    let mut report = Vec::new();
    rtcp::write_report(&mut report, 1, Some(info), None, "peer");
    bench.datagram(PEER, &report);
    assert_eq!(named(&mut bench), Some((1, 77)));
    // The call is transferred: another device speaks, by another clock.
    for sequence in 7..12 {
        bench.packet(PEER, 8, 2, sequence);
    }
    assert_eq!(named(&mut bench), Some((2, 0)));
}

#[test]
fn rtcp_of_strangers_is_dropped_and_multiplexed_rtcp_is_understood() {
    let mut bench = Bench::new();
    bench.talk(5);
    let mut report = Vec::new();
    let info = SenderInfo {
        ntp: 77 << 16,
        timestamp: 0,
        packets: 0,
        octets: 0,
    };
    rtcp::write_report(&mut report, 1, Some(info), None, "peer");
    bench.datagram("203.0.113.66:4001", &report);
    assert!(bench.plain.last_report.is_none());
    bench.datagram(PEER, &report);
    assert_eq!(bench.plain.last_report.unwrap().1, 77);
    assert_eq!(bench.plain.stats().malformed, 0);
}

#[test]
fn good_bye_is_said_once_something_was_sent() {
    let mut bench = Bench::new();
    bench.plain.close(bench.now);
    bench.drain();
    assert!(bench.reports.is_empty());
    bench.send(1);
    bench.plain.close(bench.now);
    bench.drain();
    assert_eq!(bench.reports.len(), 1);
    assert_eq!(bench.timeout, None);
}

#[test]
fn a_hundred_thousand_random_datagrams_change_nothing() {
    let mut bench = Bench::new();
    bench.talk(10);
    let mut random = StdRng::seed_from_u64(3);
    let sources = [PEER, "198.51.100.1:6000", "203.0.113.66:4000"];
    for _ in 0..100_000 {
        let mut data = [0_u8; 64];
        random.fill(&mut data[..]);
        if random.random_bool(0.5) {
            data[0] = data[0] & 0x3f | 0x80;
        }
        let length = random.random_range(0..data.len());
        bench.datagram(sources[random.random_range(0..3)], &data[..length]);
        bench.heard.clear();
    }
    bench.sequence = 1000;
    bench.talk(10);
    assert!(bench.heard.len() >= 8);
}

/// The peer's end of an encrypted stream.
struct Cipher {
    srtp: Srtp,
}

impl Cipher {
    /// Gives both ends their keys.
    fn new(bench: &mut Bench, suite: SrtpSuite, seed: u8) -> Self {
        let keys = keys(suite, seed);
        bench.plain.set_keys(Some(&keys));
        let srtp = Srtp::new(&reversed(&keys)).unwrap();
        Self { srtp }
    }

    fn change(&mut self, bench: &mut Bench, keys: &SrtpKeys) {
        bench.plain.set_keys(Some(keys));
        self.srtp.change(&reversed(keys)).unwrap();
    }

    fn packet(&mut self, sequence: u16) -> Vec<u8> {
        let header = RtpPacket {
            payload_type: 8,
            sequence,
            timestamp: u32::from(sequence) * 160,
            ssrc: 1,
            marker: false,
            payload: &[],
        };
        let mut packet = header.header().to_vec();
        packet.extend_from_slice(&[0xd5; 160]);
        let sealed = self.srtp.sender.seal(&mut packet, HEADER, 1, sequence);
        sealed.unwrap();
        packet
    }

    fn talk(&mut self, bench: &mut Bench, packets: u16) {
        for _ in 0..packets {
            let packet = self.packet(bench.sequence);
            bench.datagram(PEER, &packet);
            bench.sequence += 1;
            bench.advance(20 * MS);
        }
    }

    fn open(&mut self, packet: &[u8]) -> Vec<u8> {
        let mut opened = Vec::new();
        self.srtp.receiver.open(packet, &mut opened).unwrap();
        opened
    }
}

fn keys(suite: SrtpSuite, seed: u8) -> SrtpKeys {
    SrtpKeys {
        send: SrtpKey::generate(suite, |room| room.fill(seed)),
        receive: SrtpKey::generate(suite, |room| room.fill(seed + 100)),
        mki_len: 0,
    }
}

fn reversed(keys: &SrtpKeys) -> SrtpKeys {
    SrtpKeys {
        send: keys.receive.clone(),
        receive: keys.send.clone(),
        mki_len: 0,
    }
}

#[test]
fn with_keys_both_directions_and_the_reports_are_encrypted() {
    for suite in SrtpSuite::ALL {
        let mut bench = Bench::new();
        let mut peer = Cipher::new(&mut bench, suite, 1);
        peer.talk(&mut bench, 10);
        assert_eq!(bench.heard.len(), 10);
        assert!(
            bench
                .heard
                .iter()
                .all(|packet| *packet.payload == [0xd5; 160])
        );
        assert!(bench.events.contains(&TransportEvent::Connected));
        bench.send(300);
        for (_, packet) in &bench.sent {
            assert!(
                !packet.windows(8).any(|part| part == [0x55; 8]),
                "in the clear"
            );
            let opened = peer.open(packet);
            assert_eq!(&opened[HEADER..], [0x55; 160]);
        }
        assert!(!bench.reports.is_empty());
        for (_, report) in &bench.reports {
            let mut opened = Vec::new();
            peer.srtp.receiver.open_rtcp(report, &mut opened).unwrap();
            assert!(rtcp::reports(&opened).next().is_some());
        }
        // A report of the peer is read, and one without encryption is not.
        let before = bench.plain.stats();
        let mut report = Vec::new();
        let sender = SenderInfo {
            ntp: 5,
            timestamp: 6,
            packets: 7,
            octets: 8,
        };
        rtcp::write_report(&mut report, 1, Some(sender), None, "x");
        bench
            .plain
            .handle_rtcp(bench.now, PEER.parse().unwrap(), &report);
        assert_eq!(bench.plain.stats().unauthentic, before.unauthentic + 1);
        peer.srtp.sender.seal_rtcp(&mut report, 1).unwrap();
        bench
            .plain
            .handle_rtcp(bench.now, PEER.parse().unwrap(), &report);
        assert_eq!(bench.plain.stats().unauthentic, before.unauthentic + 1);
        assert!(bench.plain.last_report.is_some());
    }
}

#[test]
fn ten_thousand_forged_packets_are_counted_and_harm_nobody() {
    let mut bench = Bench::new();
    let mut peer = Cipher::new(&mut bench, SrtpSuite::AesCm128HmacSha1_80, 1);
    bench.plain.expect_media(bench.now, true);
    // Before the peer has said a word they come from its very address, and still lock nothing.
    for sequence in 0..100 {
        bench.packet(PEER, 8, 1, sequence);
    }
    assert_eq!(bench.plain.stats().source, None);
    for burst in 0..100_u16 {
        peer.talk(&mut bench, 1);
        for n in 0..99 {
            bench.packet(PEER, 8, 1, burst * 99 + n);
        }
    }
    let stats = bench.plain.stats();
    // Some of them have a number that was here before.
    assert_eq!(stats.unauthentic + stats.replayed, 10_000);
    assert_eq!(stats.received, 100);
    assert_eq!((bench.heard.len(), stats.lost), (100, 0));
    assert!(
        !bench
            .events
            .iter()
            .any(|event| matches!(event, TransportEvent::Silent { .. }))
    );
    let again = peer.packet(bench.sequence);
    bench.datagram(PEER, &again);
    bench.datagram(PEER, &again);
    assert_eq!(bench.plain.stats().replayed, stats.replayed + 1);
    // Forged packets are no sign of life.
    bench.advance(5_000 * MS);
    bench.packet(PEER, 8, 1, 5);
    bench.advance(5_000 * MS);
    assert!(
        bench
            .events
            .iter()
            .any(|event| matches!(event, TransportEvent::Silent { .. }))
    );
}

#[test]
fn keys_that_stay_go_on_and_keys_that_change_begin_a_new_stream() {
    let suite = SrtpSuite::AesCm128HmacSha1_80;
    let mut bench = Bench::new();
    let mut peer = Cipher::new(&mut bench, suite, 1);
    peer.talk(&mut bench, 10);
    bench.send(10);
    let ssrc = |packet: &Bytes| packet[8..12].to_vec();
    let first = ssrc(&bench.sent[0].1);
    // Hold and resume with the keys that are known.
    peer.change(&mut bench, &keys(suite, 1));
    bench.send(10);
    assert!(bench.sent.iter().all(|(_, packet)| ssrc(packet) == first));
    peer.talk(&mut bench, 10);
    assert_eq!(bench.heard.len(), 20);
    for (_, packet) in std::mem::take(&mut bench.sent) {
        peer.open(&packet);
    }
    let on_its_way = peer.packet(bench.sequence);
    bench.sequence += 1;
    peer.change(&mut bench, &keys(suite, 2));
    bench.datagram(PEER, &on_its_way);
    peer.talk(&mut bench, 10);
    assert_eq!(bench.heard.len(), 31);
    bench.send(10);
    for (_, packet) in std::mem::take(&mut bench.sent) {
        assert_ne!(ssrc(&packet), first);
        assert!(packet[2] < 0x80, "far from the wrap");
        peer.open(&packet);
    }
    // Without keys all is plain again.
    bench.plain.set_keys(None);
    bench.talk(10);
    bench.send(1);
    assert_eq!(bench.heard.len(), 41);
    assert_eq!(&bench.sent[0].1[HEADER..], [0x55; 160]);
    assert_eq!(bench.plain.stats().unauthentic, 0);
}
