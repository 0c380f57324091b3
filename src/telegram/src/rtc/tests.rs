//! Two transports in virtual time over a network that loses, delays and reorders both signalling and datagrams.

use bytes::Bytes;
use grammers_tl_types as tl;
use rand::Rng;
use rand::rngs::SmallRng;

use super::*;
use crate::crypt::CallKey;
use crate::messages::Setup;
use crate::relay::testing::{PASSWORD, ReflectorServer, TurnServer, USERNAME};
use crate::testing::start;

mod keyed;
mod relays;
mod restart;

const FRAME: Duration = Duration::from_millis(20);
const CALLER: usize = 0;
const CALLEE: usize = 1;

enum Parcel {
    Datagram(SocketAddr, Bytes),
    /// From, to something that stands between the ends.
    ToRelay(SocketAddr, SocketAddr, Bytes),
    Signal(Bytes),
}

/// How bad the network is.
#[derive(Clone, Copy)]
struct Weather {
    loss: f64,
    delay: Duration,
    jitter: Duration,
}

const CALM: Weather = Weather {
    loss: 0.0,
    delay: Duration::from_millis(10),
    jitter: Duration::ZERO,
};

fn storm(loss: f64) -> Weather {
    Weather {
        loss,
        delay: Duration::from_millis(20),
        jitter: Duration::from_millis(30),
    }
}

struct End {
    transport: RtcTransport,
    address: SocketAddr,
    events: Vec<(Duration, TransportEvent)>,
    received: Vec<RtpIn>,
    signals: usize,
    deadline: Option<Instant>,
    next_frame: Option<Instant>,
    frames: u32,
}

struct Pair {
    begin: Instant,
    now: Instant,
    ends: Box<[End; 2]>,
    air: Vec<(Instant, usize, Parcel)>,
    media: Weather,
    signalling: Weather,
    /// Nothing passes between the ends directly.
    blocked: bool,
    /// Whose nominations are lost.
    undecided: Option<usize>,
    /// Addresses that nobody has any more.
    gone: Vec<SocketAddr>,
    relay: Option<Middle>,
    rng: SmallRng,
}

/// What stands between the ends.
enum Middle {
    Turn(TurnServer),
    Reflector(ReflectorServer),
}

impl Middle {
    fn is_at(&self, address: SocketAddr) -> bool {
        match self {
            Middle::Turn(server) => server.address == address || server.relays(address),
            Middle::Reflector(server) => server.address == address,
        }
    }
}

/// Whether a datagram is a check with USE-CANDIDATE (RFC 8445 section 16.1).
fn nominates(bytes: &[u8]) -> bool {
    let mut rest = bytes.get(20..).unwrap_or_default();
    while let [a, b, c, d, after @ ..] = rest {
        if is_stun(bytes) && [*a, *b] == [0x00, 0x25] {
            return true;
        }
        let length = usize::from(u16::from_be_bytes([*c, *d])).next_multiple_of(4);
        rest = after.get(length..).unwrap_or_default();
    }
    false
}

fn media_start(role: Role, version: &str) -> MediaStart {
    MediaStart {
        role,
        version: version.to_owned(),
        key: CallKey::new(&std::array::from_fn(|i| u8::try_from(i % 251).unwrap())),
        p2p_allowed: true,
        connections: Vec::<tl::enums::PhoneConnection>::new(),
        custom_parameters: None,
    }
}

fn address(index: usize) -> SocketAddr {
    let host = u8::try_from(index + 1).unwrap();
    SocketAddr::from(([192, 0, 2, host], 40_000))
}

fn transport(now: Instant, index: usize, version: &str, seed: u64) -> RtcTransport {
    transport_with(now, index, version, seed, &[], true, None)
}

fn transport_with(
    now: Instant,
    index: usize,
    version: &str,
    seed: u64,
    connections: &[tl::enums::PhoneConnection],
    p2p_allowed: bool,
    custom_parameters: Option<&str>,
) -> RtcTransport {
    let role = if index == CALLER {
        Role::Caller
    } else {
        Role::Callee
    };
    let mut bytes = [u8::try_from(index).unwrap(); 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let start = MediaStart {
        connections: connections.to_vec(),
        p2p_allowed,
        custom_parameters: custom_parameters.map(str::to_owned),
        ..media_start(role, version)
    };
    RtcTransport::new(now, &start, address(index), RtcLimits::default(), bytes)
}

impl Pair {
    fn new(version: &str, media: Weather, signalling: Weather, seed: u64) -> Pair {
        let now = start();
        Self::of(now, media, signalling, seed, None, |index| {
            transport(now, index, version, seed)
        })
    }

    fn of(
        now: Instant,
        media: Weather,
        signalling: Weather,
        seed: u64,
        relay: Option<Middle>,
        make: impl Fn(usize) -> RtcTransport,
    ) -> Pair {
        let end = |index| End {
            transport: make(index),
            address: address(index),
            events: vec![],
            received: vec![],
            signals: 0,
            deadline: None,
            next_frame: None,
            frames: 0,
        };
        let mut pair = Pair {
            begin: now,
            now,
            ends: Box::new([end(CALLER), end(CALLEE)]),
            air: vec![],
            media,
            signalling,
            blocked: false,
            undecided: None,
            gone: vec![],
            relay,
            rng: SmallRng::seed_from_u64(seed),
        };
        pair.drain(CALLER);
        pair.drain(CALLEE);
        pair
    }

    fn drain(&mut self, index: usize) {
        loop {
            match self.ends[index].transport.poll_output() {
                TransportOutput::Transmit { target, bytes } if self.is_relay(target) => {
                    let source = self.ends[index].address;
                    self.carry(self.media, index, Parcel::ToRelay(source, target, bytes));
                }
                TransportOutput::Transmit { target, .. } if target == relays::OUTSIDE => {}
                TransportOutput::Transmit { target, .. } if self.gone.contains(&target) => {}
                TransportOutput::Transmit { target, bytes } => {
                    assert_eq!(target, self.ends[1 - index].address);
                    let source = self.ends[index].address;
                    let is_lost = self.undecided == Some(index) && nominates(&bytes);
                    if !self.blocked && !is_lost {
                        self.carry(self.media, 1 - index, Parcel::Datagram(source, bytes));
                    }
                }
                TransportOutput::Event(TransportEvent::Signal(bytes)) => {
                    self.ends[index].signals += 1;
                    self.carry(self.signalling, 1 - index, Parcel::Signal(bytes));
                }
                TransportOutput::Event(event) => {
                    let end = &mut self.ends[index];
                    if event == TransportEvent::Connected {
                        end.next_frame = Some(self.now);
                    }
                    end.events.push((self.now - self.begin, event));
                }
                TransportOutput::Rtp(packet) => self.ends[index].received.push(packet),
                TransportOutput::TransmitRtcp { .. } => panic!("RTCP goes with RTP here"),
                TransportOutput::Timeout(at) => {
                    self.ends[index].deadline = at;
                    return;
                }
            }
        }
    }

    fn is_relay(&self, target: SocketAddr) -> bool {
        self.relay.as_ref().is_some_and(|relay| relay.is_at(target))
    }

    /// What a relay makes of a datagram, at once.
    fn relay(&mut self, source: SocketAddr, target: SocketAddr, bytes: &[u8]) {
        let now = self.now;
        let parcel = match &mut self.relay {
            Some(Middle::Turn(server)) => server.receive(now, source, target, bytes),
            Some(Middle::Reflector(server)) => server.receive(source, bytes),
            None => None,
        };
        match parcel {
            // From one allocation of the server to another.
            Some((from, to, bytes)) if self.is_relay(to) => self.relay(from, to, &bytes),
            Some((from, to, bytes)) => {
                // Nobody has an address that was given back.
                if let Some(to) = self.ends.iter().position(|end| end.address == to) {
                    self.carry(self.media, to, Parcel::Datagram(from, bytes.into()));
                }
            }
            None => {}
        }
    }

    fn carry(&mut self, weather: Weather, to: usize, parcel: Parcel) {
        let jitter = weather.jitter.as_secs_f64();
        let delay = weather.delay + Duration::from_secs_f64(self.rng.random::<f64>() * jitter);
        if !self.rng.random_bool(weather.loss) {
            self.air.push((self.now + delay, to, parcel));
        }
    }

    fn run(&mut self, duration: Duration) {
        let until = self.now + duration;
        loop {
            let arrivals = self.air.iter().map(|(at, ..)| *at);
            let timers = self
                .ends
                .iter()
                .flat_map(|end| [end.deadline, end.next_frame]);
            let next = arrivals.chain(timers.flatten()).min();
            let Some(next) = next.filter(|at| *at <= until) else {
                self.now = until;
                return;
            };
            self.now = self.now.max(next);
            self.step();
        }
    }

    fn step(&mut self) {
        let now = self.now;
        let first = (0..self.air.len()).min_by_key(|i| self.air[*i].0);
        if let Some(first) = first.filter(|i| self.air[*i].0 <= now) {
            let (_, to, parcel) = self.air.remove(first);
            if let Parcel::ToRelay(source, target, bytes) = parcel {
                return self.relay(source, target, &bytes);
            }
            let transport = &mut self.ends[to].transport;
            match parcel {
                Parcel::Datagram(source, bytes) => transport.handle_datagram(now, source, &bytes),
                Parcel::Signal(bytes) => transport.signal(now, &bytes),
                Parcel::ToRelay(..) => unreachable!("handed on above"),
            }
            return self.drain(to);
        }
        for index in [CALLER, CALLEE] {
            let end = &mut self.ends[index];
            if end.deadline.is_some_and(|at| at <= now) {
                end.transport.handle_timeout(now);
            }
            if end.next_frame.is_some_and(|at| at <= now) {
                end.next_frame = Some(now + FRAME);
                let packet = RtpOut {
                    payload_type: OPUS,
                    timestamp: end.frames * 960,
                    marker: false,
                    payload: Bytes::from(end.frames.to_be_bytes().to_vec()),
                };
                end.frames += 1;
                end.transport.send(now, &packet);
            }
            self.drain(index);
        }
    }

    fn connected_after(&self, index: usize) -> Option<Duration> {
        let connected = |(_, event): &&(_, TransportEvent)| *event == TransportEvent::Connected;
        self.ends[index]
            .events
            .iter()
            .find(connected)
            .map(|(at, _)| *at)
    }

    fn failure(&self, index: usize) -> Option<(Duration, &'static str)> {
        self.ends[index]
            .events
            .iter()
            .find_map(|(at, event)| match event {
                TransportEvent::Failed(why) => Some((*at, *why)),
                _ => None,
            })
    }

    fn is_heard(&self, index: usize, event: &TransportEvent) -> bool {
        self.ends[index]
            .events
            .iter()
            .any(|(_, known)| known == event)
    }
}

#[test]
fn every_version_connects_and_carries_audio_both_ways() {
    for version in ["8.0.0", "9.0.0", "12.0.0", "13.0.0"] {
        let mut pair = Pair::new(version, CALM, CALM, 1);
        pair.run(Duration::from_secs(3));
        assert_carries(&pair, version);
    }
}

#[test]
fn calls_connect_in_whatever_way_telegram_wants_them_to_signal() {
    let experiments = [
        r#"{"network_kcp_experiment":true}"#,
        r#"{"network_signaling_nosctp":true}"#,
        r#"{"network_kcp_experiment":true,"network_signaling_nosctp":true}"#,
    ];
    for parameters in experiments {
        for version in ["9.0.0", "13.0.0"] {
            let now = start();
            let mut pair = Pair::of(now, CALM, CALM, 1, None, |index| {
                transport_with(now, index, version, 1, &[], true, Some(parameters))
            });
            pair.run(Duration::from_secs(3));
            assert_carries(&pair, version);
        }
    }
}

/// Both ends were connected at once, and hear everything that the other says.
fn assert_carries(pair: &Pair, version: &str) {
    for (index, end) in pair.ends.iter().enumerate() {
        let after = pair.connected_after(index).expect(version);
        assert!(after < Duration::from_millis(500), "{version}: {after:?}");
        let peer = &pair.ends[1 - index];
        let lost = peer.frames as usize - end.received.len();
        assert!(
            end.received.len() > 100 && lost <= 3,
            "{version}: {lost} lost"
        );
        assert!(end.received[0].marker, "the first packet is marked");
        for pair in end.received.windows(2) {
            assert_eq!(pair[1].sequence, pair[0].sequence + 1);
            assert_eq!(pair[1].timestamp, pair[0].timestamp + 960);
            assert_eq!((pair[1].payload_type, pair[1].marker), (OPUS, false));
        }
        let last = u32::from_be_bytes(end.received.last().unwrap().payload[..].try_into().unwrap());
        assert!(last + 3 > peer.frames);
        assert_eq!(
            end.transport.stats().signalling,
            Dropped::default(),
            "{version}"
        );
        let stats = end.transport.stats();
        assert_eq!((stats.foreign, stats.unauthentic), (0, 0), "{version}");
        assert_eq!(pair.failure(index), None);
    }
}

#[test]
fn every_version_connects_over_a_bad_network() {
    for version in ["8.0.0", "9.0.0", "12.0.0", "13.0.0"] {
        assert_bears_weather(version, |loss, seed| {
            Pair::new(version, storm(loss), storm(loss), seed)
        });
    }
}

#[test]
fn each_end_hears_how_much_of_what_it_sends_is_lost() {
    for (loss, seed, range) in [(0.0, 1, 0..=0), (0.1, 2, 3..=25)] {
        let media = Weather { loss, ..CALM };
        let mut pair = Pair::new("9.0.0", media, CALM, seed);
        pair.run(Duration::from_secs(60));
        for end in pair.ends.iter() {
            let reports: Vec<u8> = end
                .events
                .iter()
                .filter_map(|(_, event)| match event {
                    TransportEvent::Reported { lost_percent } => Some(*lost_percent),
                    _ => None,
                })
                .collect();
            let fine = reports.iter().filter(|percent| range.contains(*percent));
            assert!(reports.len() >= 4, "loss {loss}: {reports:?}");
            assert!(
                fine.count() * 4 >= reports.len() * 3,
                "loss {loss}: {reports:?}"
            );
        }
    }
}

/// Both ends connect over networks that lose much, and hear what is left.
fn assert_bears_weather(version: &str, make: impl Fn(f64, u64) -> Pair) {
    for (loss, seed) in [(0.03, 1), (0.03, 2), (0.1, 3), (0.1, 4), (0.2, 5)] {
        let run = |seed| {
            let mut pair = make(loss, seed);
            pair.run(Duration::from_secs(25));
            pair
        };
        let heard = |pair: &Pair, index: usize| {
            let received = pair.ends[index].received.len();
            (received, pair.ends[1 - index].frames as usize)
        };
        let is_fine = |pair: &Pair| {
            [CALLER, CALLEE].into_iter().all(|index| {
                let (received, sent) = heard(pair, index);
                pair.connected_after(index).is_some() && received * 100 > sent * 55
            })
        };
        // DTLS waits twice as long after each flight of which something is lost, and draws its keys from the system, so that no
        // seed decides how often: one call in a thousand has lost all its luck. Not twice in a row.
        let mut pair = run(seed);
        if !is_fine(&pair) {
            pair = run(seed + 100);
        }
        for index in [CALLER, CALLEE] {
            let after = pair.connected_after(index);
            assert!(after.is_some(), "{version}, loss {loss}, seed {seed}");
            let (received, sent) = heard(&pair, index);
            assert!(
                received * 100 > sent * 55,
                "{version}, loss {loss}, seed {seed}: {received} of {sent}"
            );
            let mut numbers: Vec<u64> = pair.ends[index]
                .received
                .iter()
                .map(|p| p.sequence)
                .collect();
            numbers.sort_unstable();
            numbers.dedup();
            assert_eq!(numbers.len(), received, "no packet twice");
        }
    }
}

#[test]
fn the_peer_sees_our_microphone() {
    let mut pair = Pair::new("13.0.0", CALM, CALM, 1);
    pair.run(Duration::from_secs(2));
    assert_shows_microphones(&mut pair);
}

fn assert_shows_microphones(pair: &mut Pair) {
    for index in [CALLER, CALLEE] {
        let muted = TransportEvent::RemoteMuted(true);
        assert!(!pair.is_heard(1 - index, &muted), "both begin unmuted");
        let now = pair.now;
        pair.ends[index].transport.set_muted(now, true);
        pair.drain(index);
        pair.run(Duration::from_secs(1));
        assert!(pair.is_heard(1 - index, &muted));
        let now = pair.now;
        pair.ends[index].transport.set_muted(now, false);
        pair.drain(index);
        pair.run(Duration::from_secs(1));
        assert!(pair.is_heard(1 - index, &TransportEvent::RemoteMuted(false)));
    }
}

#[test]
fn a_path_that_is_never_found_is_given_up_after_20_s() {
    let mut pair = Pair::new("13.0.0", CALM, CALM, 1);
    pair.blocked = true;
    pair.run(Duration::from_secs(60));
    for index in [CALLER, CALLEE] {
        let expected = (Duration::from_secs(20), "not connected in time");
        assert_eq!(pair.failure(index), Some(expected));
        assert_eq!(pair.ends[index].events.len(), 1);
        assert_eq!(pair.ends[index].deadline, None, "nothing follows");
    }
}

#[test]
fn a_path_that_breaks_is_given_up_after_20_s_of_silence() {
    let mut pair = Pair::new("9.0.0", CALM, CALM, 1);
    pair.run(Duration::from_secs(5));
    pair.blocked = true;
    pair.run(Duration::from_secs(60));
    for index in [CALLER, CALLEE] {
        let (at, why) = pair.failure(index).expect("failed");
        assert_eq!(why, "nothing came from the peer for too long");
        let silent = at.checked_sub(Duration::from_secs(5)).unwrap();
        assert!((19..=21).contains(&silent.as_secs()), "{silent:?}");
    }
}

#[test]
fn a_path_that_is_blocked_for_a_while_recovers() {
    let mut pair = Pair::new("13.0.0", CALM, CALM, 1);
    pair.run(Duration::from_secs(5));
    pair.blocked = true;
    pair.run(Duration::from_secs(15));
    let before = pair.ends.each_ref().map(|end| end.received.len());
    pair.blocked = false;
    pair.run(Duration::from_secs(3));
    for (index, before) in before.into_iter().enumerate() {
        assert!(
            pair.ends[index].received.len() > before + 100,
            "audio is back"
        );
        assert_eq!(pair.failure(index), None);
    }
}

#[test]
fn silence_without_audio_is_no_failure() {
    let mut pair = Pair::new("13.0.0", CALM, CALM, 1);
    pair.run(Duration::from_secs(2));
    for end in pair.ends.iter_mut() {
        end.next_frame = None; // both are muted: only connectivity checks go on
    }
    pair.run(Duration::from_secs(120));
    assert_eq!((pair.failure(CALLER), pair.failure(CALLEE)), (None, None));
    for end in pair.ends.iter() {
        let stats = end.transport.stats();
        let trip = stats.round_trip.unwrap();
        assert!((20..=25).contains(&trip.as_millis()), "{trip:?}");
        assert!(stats.round_trips > 10, "{stats:?}");
    }
}

#[test]
fn closing_ends_the_peers_media() {
    let mut pair = Pair::new("13.0.0", CALM, CALM, 1);
    pair.run(Duration::from_secs(2));
    let now = pair.now;
    pair.ends[CALLER].transport.close(now);
    pair.drain(CALLER);
    pair.run(Duration::from_secs(1));
    let (_, why) = pair.failure(CALLEE).expect("told");
    assert_eq!(why, CLOSED_BY_PEER);
    assert_eq!(pair.failure(CALLER), None);
}

#[test]
fn strangers_cannot_disturb_a_call() {
    let stranger = SocketAddr::from(([198, 51, 100, 9], 4000));
    let hello = [22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0];
    let rtp = [0x80, 111, 0, 1, 0, 0, 0, 1, 0, 0, 0, 7, 1, 2, 3, 4];
    let stun = [
        0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12,
    ];
    let mut pair = Pair::new("13.0.0", CALM, CALM, 1);
    for round in 0..200 {
        for index in [CALLER, CALLEE] {
            let now = pair.now;
            let peer = address(1 - index);
            let sprays = [
                (stranger, &hello[..]),
                (stranger, &rtp),
                (stranger, &stun),
                (stranger, &[]),
                (peer, &rtp),
                (peer, &stun),
                (peer, &[0xff; 100]),
                // Whoever forges the peer's address within the handshake can stop it, but not later.
                (if round > 100 { peer } else { stranger }, &hello),
            ];
            for (source, data) in sprays {
                pair.ends[index]
                    .transport
                    .handle_datagram(now, source, data);
                pair.drain(index);
            }
        }
        pair.run(Duration::from_millis(10));
        assert_eq!(
            (pair.failure(CALLER), pair.failure(CALLEE)),
            (None, None),
            "{round}"
        );
    }
    pair.run(Duration::from_secs(2));
    for index in [CALLER, CALLEE] {
        assert!(pair.connected_after(index).is_some());
        assert!(pair.ends[index].received.len() > 100);
        assert!(pair.ends[index].transport.stats().foreign >= 1000);
    }
}

#[test]
fn garbage_does_not_pass_for_a_sign_of_life() {
    let mut pair = Pair::new("13.0.0", CALM, CALM, 1);
    pair.run(Duration::from_secs(2));
    pair.blocked = true;
    let stranger = SocketAddr::from(([198, 51, 100, 9], 4000));
    for _ in 0..30 {
        pair.run(Duration::from_secs(1));
        let now = pair.now;
        pair.ends[CALLER]
            .transport
            .handle_datagram(now, stranger, &[0x80; 60]);
        pair.drain(CALLER);
    }
    assert!(pair.failure(CALLER).is_some());
}

#[test]
fn nothing_leaves_when_direct_connections_are_not_allowed() {
    let now = start();
    let mut media = media_start(Role::Caller, "13.0.0");
    media.p2p_allowed = false;
    let mut transport = RtcTransport::new(now, &media, address(0), RtcLimits::default(), [1; 32]);
    let TransportOutput::Event(TransportEvent::Failed(_)) = transport.poll_output() else {
        panic!()
    };
    assert_eq!(transport.poll_output(), TransportOutput::Timeout(None));
}

#[test]
fn a_version_that_is_not_implemented_fails_at_once() {
    let mut transport = transport(start(), CALLER, "11.0.0", 1);
    let output = transport.poll_output();
    assert!(
        matches!(output, TransportOutput::Event(TransportEvent::Failed(_))),
        "{output:?}"
    );
}

#[test]
fn candidates_and_offers_may_overtake_the_setup() {
    // Framing A hands messages on in the order of arrival, so reverse the caller's packets.
    for seed in 0..4 {
        let mut pair = Pair::new("9.0.0", CALM, CALM, seed);
        let signals: Vec<usize> = (0..pair.air.len()).collect();
        let base = pair.now + Duration::from_millis(10);
        for (place, index) in signals.iter().rev().enumerate() {
            pair.air[*index].0 = base + Duration::from_millis(u64::try_from(place).unwrap());
        }
        pair.run(Duration::from_secs(2));
        assert!(
            pair.ends.iter().all(|end| end.received.len() > 50),
            "seed {seed}"
        );
    }
}

#[test]
fn an_ice_restart_of_the_peer_is_followed() {
    let mut pair = Pair::new("13.0.0", CALM, CALM, 1);
    pair.run(Duration::from_secs(2));
    let signals = pair.ends[CALLEE].signals;
    let now = pair.now;
    let setup = |ufrag: &str| {
        Message::InitialSetup(Setup {
            ufrag: ufrag.to_owned(),
            pwd: "p".repeat(24),
            hash: "sha-256".to_owned(),
            fingerprint: vec![0; 32],
            setup: "actpass".to_owned(),
        })
    };
    let callee = &mut pair.ends[CALLEE].transport;
    for round in 0..2 * RESTARTS {
        callee.on_message(now, setup(&format!("u{round}")));
    }
    assert_eq!(callee.stats().restarts, RESTARTS);
    let again = callee.remote_ufrag.clone().unwrap();
    callee.on_message(now, setup(&again));
    callee.poll(now);
    pair.drain(CALLEE);
    assert_eq!(pair.ends[CALLEE].signals, signals, "no second InitialSetup");
    assert_eq!(pair.failure(CALLEE), None);
}

#[test]
fn a_new_stream_continues_the_numbers_of_the_old_one() {
    let mut receiver = Receiver::default();
    let first = receiver.number(100).unwrap();
    assert_eq!(receiver.number(102), Some(first + 2));
    assert_eq!(receiver.number(99), Some(first - 1));
    receiver.shift = None;
    let second = receiver.number(5).unwrap();
    assert!(second > first + 2);
    assert_eq!(receiver.number(6), Some(second + 1));
}

#[test]
fn packets_before_the_connection_are_counted_not_sent() {
    let now = start();
    let mut transport = transport(now, CALLER, "13.0.0", 1);
    let packet = RtpOut {
        payload_type: OPUS,
        timestamp: 0,
        marker: false,
        payload: Bytes::from_static(b"x"),
    };
    transport.send(now, &packet);
    assert_eq!((transport.stats().unsent, transport.stats().sent), (1, 0));
}

/// Any Telegram user can call, and then say what it likes.
#[test]
fn a_peer_that_sends_nonsense_does_no_harm() {
    let fingerprint = [7; 32];
    let line = "candidate:1 1 udp 2122194688 192.0.2.9 33747 typ host generation 0 ufrag ab";
    let valid = [
        messages::initial_setup("abcd", &"p".repeat(24), &fingerprint, "actpass"),
        messages::negotiate(5, 77, OPUS),
        messages::negotiate(6, 78, OPUS),
        messages::candidates(&[line.to_owned()]),
        messages::media_state(true),
    ];
    for seed in 0..60 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut now = start();
        let index = usize::from(rng.random_bool(0.5));
        let mut end = transport(now, index, "9.0.0", seed);
        let key = media_start(Role::Caller, "9.0.0").key;
        let role = if index == CALLER {
            Role::Callee
        } else {
            Role::Caller
        };
        let mut peer = Framing::acked(key, role);
        for _ in 0..40 {
            let mut text = valid[rng.random_range(0..valid.len())].clone().into_bytes();
            for _ in 0..rng.random_range(0..4) {
                let at = rng.random_range(0..text.len());
                match rng.random_range(0..3) {
                    0 => text[at] = rng.random_range(b' '..b'~'),
                    1 => drop(text.remove(at)),
                    _ => text.insert(at, b"0123456789abc:\"-."[rng.random_range(0..17)]),
                }
            }
            peer.send(now, &String::from_utf8_lossy(&text));
            while let Some(packet) = peer.poll_packet() {
                end.signal(now, &packet);
            }
            loop {
                match end.poll_output() {
                    TransportOutput::Timeout(_) => break,
                    TransportOutput::Event(TransportEvent::Signal(data)) => {
                        peer.receive(now, &data)
                    }
                    _ => {}
                }
            }
            now += Duration::from_millis(rng.random_range(0..300));
            end.handle_timeout(now);
        }
    }
}
