//! The media plane on real sockets, on loopback: phones and Telegram peers of our own, each with a tone of its own.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use media::{
    Bridge, BridgeConfig, BridgeOutput, LegAudio, PlainConfig, PlainRtp, Remote, RtpOut, Tone,
    Transport, TransportEvent, TransportOutput, tone_share,
};
use metrics::Metrics;
use model::{CallId, Codec, LegId, LegKind};
use sip::sdp::{Agreed, Audio, Direction};
use telegram::{CallKey, MediaStart, Role, RtcLimits, RtcTransport};
use tokio::sync::mpsc::Receiver;

use super::*;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const A: LegId = LegId(0);
const B: LegId = LegId(1);
const CALL: fn() -> CallId = || CallId::new(1, 1);

fn plane(rtp_range: RangeInclusive<u16>) -> (MediaPlane, Metrics) {
    let metrics = Metrics::new("test");
    let config = MediaConfig {
        threads: 1,
        rtp_range,
        rtp_address: HERE,
        telegram_addresses: vec![HERE],
        ..MediaConfig::default()
    };
    let plane = MediaPlane::start(config, metrics.media()).unwrap();
    (plane, metrics)
}

/// Where silence is told after 200 ms.
fn impatient_plane(rtp_range: RangeInclusive<u16>) -> MediaPlane {
    let config = MediaConfig {
        threads: 1,
        rtp_range,
        rtp_address: HERE,
        telegram_addresses: vec![HERE],
        rtp_timeout: Duration::from_millis(200),
        ..MediaConfig::default()
    };
    MediaPlane::start(config, Metrics::new("test").media()).unwrap()
}

/// The far end of a leg: says a tone, keeps what it hears.
struct Far {
    leg: LegId,
    socket: UdpSocket,
    line: Line,
    bridge: Bridge,
    codec: Codec,
    heard: Vec<Vec<u8>>,
    /// One packet of so many is lost on its way to the switch; 0 is none.
    lose: usize,
    sent: usize,
}

enum Line {
    Plain(Box<PlainRtp>),
    Rtc(Box<RtcTransport>),
}

impl Far {
    fn new(
        leg: LegId,
        line: impl FnOnce(LegAudio, SocketAddr) -> Line,
        codec: Codec,
        hertz: u16,
    ) -> Self {
        let now = Instant::now();
        let socket = UdpSocket::bind((HERE, 0)).unwrap();
        socket.set_nonblocking(true).unwrap();
        let audio = LegAudio {
            codec,
            payload_type: codec.static_payload_type().unwrap_or(111),
            dtmf_payload_type: None,
            received: None,
            dtmf_clock: codec.clock_rate(),
            send_ptime: Duration::from_millis(20),
            kind: LegKind::Sip,
        };
        let mut bridge = Bridge::new(now, BridgeConfig::default(), 7);
        bridge.add_leg(now, leg, audio).unwrap();
        bridge.tone(now, leg, Some(Tone::Sine(hertz))).unwrap();
        let line = line(audio, socket.local_addr().unwrap());
        let heard = Vec::new();
        Self {
            leg,
            socket,
            line,
            bridge,
            codec,
            heard,
            lose: 0,
            sent: 0,
        }
    }

    fn phone(leg: LegId, codec: Codec, hertz: u16, switch: SocketAddr) -> Self {
        let line = |audio, _| {
            let remote = Remote {
                rtp: switch,
                rtcp: None,
                signalling: HERE,
            };
            let config = PlainConfig {
                report_interval: Duration::from_millis(300),
                ..PlainConfig::default()
            };
            Line::Plain(Box::new(PlainRtp::new(
                Instant::now(),
                config,
                audio,
                Some(remote),
                3,
            )))
        };
        Self::new(leg, line, codec, hertz)
    }

    fn telegram(leg: LegId, hertz: u16) -> Self {
        Self::telegram_by(leg, hertz, start(Role::Callee))
    }

    fn telegram_by(leg: LegId, hertz: u16, start: MediaStart) -> Self {
        let line = |_, local| {
            let limits = RtcLimits::default();
            Line::Rtc(Box::new(RtcTransport::new(
                Instant::now(),
                &start,
                local,
                limits,
                [5; 32],
            )))
        };
        Self::new(leg, line, Codec::Opus, hertz)
    }

    fn transport(&mut self) -> &mut dyn Transport {
        match &mut self.line {
            Line::Plain(plain) => plain.as_mut(),
            Line::Rtc(rtc) => rtc.as_mut(),
        }
    }

    fn agreed(&self, direction: Direction) -> Agreed {
        Agreed {
            audio: Audio {
                codec: self.codec,
                payload_type: self.codec.static_payload_type().unwrap_or(111),
                fmtp_ptime: None,
                dtmf_payload_type: None,
                dtmf_clock: self.codec.clock_rate(),
                received: None,
            },
            others: Vec::new(),
            remote: self.socket.local_addr().unwrap(),
            remote_rtcp: None,
            direction,
            ptime: 20,
            crypto: None,
        }
    }

    fn step(&mut self, handle: &mut MediaHandle) {
        let (now, mut buffer) = (Instant::now(), [0; 2048]);
        while let Ok((length, source)) = self.socket.recv_from(&mut buffer) {
            self.transport()
                .handle_datagram(now, source, &buffer[..length]);
            self.drain(handle);
        }
        self.transport().handle_timeout(now);
        self.drain(handle);
        self.bridge.handle_timeout(now);
        while let BridgeOutput::Rtp { packet, .. } = self.bridge.poll_output() {
            self.say(now, &packet, handle);
        }
    }

    fn say(&mut self, now: Instant, packet: &RtpOut, handle: &mut MediaHandle) {
        self.transport().send(now, packet);
        self.drain(handle);
    }

    fn drain(&mut self, handle: &mut MediaHandle) {
        loop {
            match self.transport().poll_output() {
                TransportOutput::Transmit { target, bytes } => {
                    self.sent += 1;
                    if !self.sent.is_multiple_of(self.lose) {
                        self.socket.send_to(&bytes, target).unwrap();
                    }
                }
                TransportOutput::TransmitRtcp { target, bytes } => {
                    self.socket.send_to(&bytes, target).unwrap();
                }
                TransportOutput::Rtp(packet) => self.heard.push(packet.payload.to_vec()),
                TransportOutput::Event(TransportEvent::Signal(bytes)) => {
                    let leg = self.leg;
                    handle.command(MediaCommand::Signal { leg, bytes }).unwrap();
                }
                TransportOutput::Event(_) => {}
                TransportOutput::Timeout(_) => return,
            }
        }
    }

    /// Share of what was heard after a tenth of a second that is this tone.
    fn hears(&self, hertz: f32) -> f32 {
        let mut opus = opus::Decoder::new(48_000, opus::Channels::Mono).unwrap();
        let mut pcm = Vec::new();
        for payload in &self.heard {
            if self.codec == Codec::Alaw {
                pcm.extend(payload.iter().map(|&byte| alaw(byte)));
            } else {
                let mut frame = [0; 5760];
                let samples = opus.decode(payload, &mut frame, false).unwrap();
                pcm.extend_from_slice(&frame[..samples]);
            }
        }
        let rate = self.codec.clock_rate();
        let rate = if self.codec == Codec::Alaw {
            8000
        } else {
            rate
        };
        let begin = pcm.len().min(rate as usize / 2);
        tone_share(&pcm[begin..], rate, hertz)
    }
}

/// ITU-T G.711, A-law.
fn alaw(byte: u8) -> i16 {
    let byte = byte ^ 0x55;
    let (exponent, mantissa) = (i16::from(byte >> 4 & 7), i16::from(byte & 15));
    let size = match exponent {
        0 => (mantissa << 4) + 8,
        _ => ((mantissa << 4) + 0x108) << (exponent - 1),
    };
    if byte & 0x80 == 0 { -size } else { size }
}

fn start(role: Role) -> MediaStart {
    MediaStart {
        role,
        version: "12.0.0".to_owned(),
        key: CallKey::new(&[9; 256]),
        p2p_allowed: true,
        connections: Vec::new(),
        custom_parameters: None,
    }
}

/// Lets the world turn for a while; returns what the call heard.
fn live(
    far: &mut [Far],
    handle: &mut MediaHandle,
    events: &mut Receiver<MediaEvent>,
    time: Duration,
) -> Vec<MediaEvent> {
    let (end, mut told) = (Instant::now() + time, Vec::new());
    while Instant::now() < end {
        for far in far.iter_mut() {
            far.step(handle);
        }
        while let Ok(event) = events.try_recv() {
            if let MediaEvent::Signal { leg, bytes } = &event {
                for far in far.iter_mut().filter(|far| far.leg == *leg) {
                    if let Line::Rtc(rtc) = &mut far.line {
                        rtc.signal(Instant::now(), bytes);
                    }
                    far.drain(handle);
                }
            }
            told.push(event);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    told
}

fn add_sip(
    plane: &MediaPlane,
    handle: &mut MediaHandle,
    leg: LegId,
    codec: Codec,
    hertz: u16,
) -> Far {
    let rtp = plane.reserve_rtp(SocketAddr::new(HERE, 5060)).unwrap();
    let far = Far::phone(leg, codec, hertz, rtp.address());
    let media = Box::new(far.agreed(Direction::SendRecv));
    handle
        .command(MediaCommand::AddSip {
            leg,
            rtp,
            media,
            signalling: HERE,
        })
        .unwrap();
    far
}

/// Waits for the end of a task.
fn last(mut events: Receiver<MediaEvent>) -> Option<MediaEvent> {
    let (end, mut last) = (Instant::now() + Duration::from_secs(5), None);
    while Instant::now() < end {
        match events.try_recv() {
            Ok(event) => last = Some(event),
            Err(tokio::sync::mpsc::error::TryRecvError::Disconnected) => return last,
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
    panic!("the task does not end");
}

/// Transcodings of every kind now.
fn transcodings(metrics: &Metrics) -> Vec<i64> {
    let media = metrics.media();
    Codec::ALL
        .into_iter()
        .flat_map(|from| Codec::ALL.map(|to| (from, to)))
        .filter_map(|(from, to)| Some(media.transcoding(from, to)?.active.get()))
        .collect()
}

#[test]
fn two_phones_hear_each_other_until_one_is_on_hold() {
    let (plane, metrics) = plane(50_000..=50_099);
    let (mut handle, mut events) = plane.open_call(CALL());
    handle
        .command(MediaCommand::Connect { a: A, b: B })
        .unwrap();
    let mut far = [
        add_sip(&plane, &mut handle, A, Codec::Alaw, 400),
        add_sip(&plane, &mut handle, B, Codec::Alaw, 1000),
    ];
    let told = live(
        &mut far,
        &mut handle,
        &mut events,
        Duration::from_millis(1500),
    );
    let heard = (far[0].hears(1000.0), far[1].hears(400.0));
    assert!(heard.0 > 0.9 && heard.1 > 0.9, "{heard:?}");
    for leg in [A, B] {
        assert!(told.contains(&MediaEvent::Connected { leg }), "{told:?}");
        assert!(told.contains(&MediaEvent::FirstPacket { leg }), "{told:?}");
    }
    let media = Box::new(far[1].agreed(Direction::RecvOnly));
    handle
        .command(MediaCommand::UpdateSip { leg: B, media })
        .unwrap();
    live(
        &mut far,
        &mut handle,
        &mut events,
        Duration::from_millis(100),
    );
    far[0].heard.clear();
    far[1].heard.clear();
    live(
        &mut far,
        &mut handle,
        &mut events,
        Duration::from_millis(300),
    );
    assert!(far[0].heard.len() > 10 && far[1].heard.is_empty());
    let same = transcodings(&metrics);
    assert!(same.iter().all(|active| *active == 0), "{same:?}");
    drop(handle);
    let Some(MediaEvent::Closed { legs }) = last(events) else {
        panic!("no figures");
    };
    assert!(
        legs.iter()
            .all(|leg| leg.received > 70 && leg.bytes_out > 10_000),
        "{legs:?}"
    );
    assert_eq!(plane.calls(), 0);
    let counted = metrics.media();
    let sip = counted.leg(LegKind::Sip);
    assert!(sip.received(Codec::Alaw).get() > 140);
    assert_eq!(counted.ports_used.get(), 0);
    assert_eq!(counted.ports_free.get(), 50);
}

/// RFC 3264 7: who has answered with several codecs may send any of them, also without the first.
#[test]
fn a_phone_speaks_any_codec_of_its_answer() {
    let (plane, metrics) = plane(50_100..=50_199);
    let (mut handle, mut events) = plane.open_call(CALL());
    handle
        .command(MediaCommand::Connect { a: A, b: B })
        .unwrap();
    let rtp = plane.reserve_rtp(SocketAddr::new(HERE, 5060)).unwrap();
    let phone = Far::phone(A, Codec::Mulaw, 400, rtp.address());
    let codecs = [Codec::Opus, Codec::Alaw, Codec::Mulaw];
    let local = sip::sdp::LocalMedia {
        address: rtp.address(),
        session_id: 1,
        version: 1,
        security: sip::sdp::Security::Plain,
    };
    let offer = sip::sdp::offer(&local, &codecs);
    let port = phone.socket.local_addr().unwrap().port();
    let answer = format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {port} RTP/AVP 8 0\r\n"
    );
    let media = sip::sdp::accept_answer(&offer, answer.as_bytes(), &codecs).unwrap();
    assert_eq!(media.audio.codec, Codec::Alaw);
    handle
        .command(MediaCommand::AddSip {
            leg: A,
            rtp,
            media: Box::new(media),
            signalling: HERE,
        })
        .unwrap();
    let other = add_sip(&plane, &mut handle, B, Codec::Alaw, 1000);
    let mut far = [phone, other];
    let second = Duration::from_millis(1500);
    live(&mut far, &mut handle, &mut events, second);
    let heard = far[1].hears(400.0);
    assert!(heard > 0.9, "{heard}");
    assert!(far[0].heard.len() > 40, "{}", far[0].heard.len());
    let both = [(Codec::Alaw, Codec::Mulaw), (Codec::Mulaw, Codec::Alaw)];
    for (from, to) in both {
        let turned = metrics.media();
        assert_eq!(turned.transcoding(from, to).unwrap().active.get(), 1);
    }
    drop(handle);
    let Some(MediaEvent::Closed { legs }) = last(events) else {
        panic!("no figures");
    };
    let phone = legs.iter().find(|report| report.leg == A).unwrap();
    assert_eq!(phone.codec, Codec::Mulaw);
}

/// A phone and a Telegram user talk for a while; returns how much of what each hears is the other's tone.
fn talk(first_port: u16, codec: Codec, parameters: Option<&str>) -> (f32, f32) {
    let begin = |role| MediaStart {
        custom_parameters: parameters.map(str::to_owned),
        ..start(role)
    };
    let (plane, _) = plane(first_port..=first_port + 99);
    let (mut handle, mut events) = plane.open_call(CALL());
    let phone = add_sip(&plane, &mut handle, A, codec, 400);
    let start = Box::new(begin(Role::Caller));
    handle
        .command(MediaCommand::AddTelegram { leg: B, start })
        .unwrap();
    handle
        .command(MediaCommand::Connect { a: B, b: A })
        .unwrap();
    let user = Far::telegram_by(B, 1000, begin(Role::Callee));
    let mut far = [phone, user];
    let told = live(
        &mut far,
        &mut handle,
        &mut events,
        Duration::from_millis(2500),
    );
    assert!(told.contains(&MediaEvent::Connected { leg: B }), "{told:?}");
    let heard = (far[0].hears(1000.0), far[1].hears(400.0));
    drop(handle);
    let Some(MediaEvent::Closed { legs }) = last(events) else {
        panic!("no figures");
    };
    assert!(
        legs.iter().all(|leg| leg.received > 70 && leg.sent > 70),
        "{legs:?}"
    );
    heard
}

#[test]
fn a_phone_and_a_telegram_user_hear_each_other() {
    let keyed = Some(r#"{"network_use_mtproto":true}"#);
    let calls = [
        (Codec::Alaw, None),
        (Codec::Opus, None),
        (Codec::Alaw, keyed),
    ];
    for (n, (codec, parameters)) in (0..).zip(calls) {
        // On a machine that is busy with other things a tone has gaps: once is enough, out of three times.
        let mut heard = (0..3).map(|_| talk(51_000 + n * 100, codec, parameters));
        let is_fine = |heard: &(f32, f32)| heard.0 > 0.9 && heard.1 > 0.9;
        assert!(
            heard.any(|heard| is_fine(&heard)),
            "{codec:?} {parameters:?}"
        );
    }
}

#[test]
fn the_figures_of_a_leg_are_told_at_its_end() {
    let (plane, metrics) = plane(56_000..=56_099);
    let counted = metrics.media();
    let (mut handle, mut events) = plane.open_call(CALL());
    let mut phone = add_sip(&plane, &mut handle, A, Codec::Alaw, 400);
    phone.lose = 10;
    let start = Box::new(start(Role::Caller));
    handle
        .command(MediaCommand::AddTelegram { leg: B, start })
        .unwrap();
    handle
        .command(MediaCommand::Connect { a: B, b: A })
        .unwrap();
    let mut far = [phone, Far::telegram(B, 1000)];
    // Reports of the switch go out after 4 to 6 s, and come back with the next one of the phone.
    live(&mut far, &mut handle, &mut events, Duration::from_secs(7));
    let both = [(Codec::Alaw, Codec::Opus), (Codec::Opus, Codec::Alaw)];
    for (from, to) in both {
        assert_eq!(counted.transcoding(from, to).unwrap().active.get(), 1);
    }
    assert_eq!(counted.path_p2p.get(), 1);
    drop(handle);
    let Some(MediaEvent::Closed { legs }) = last(events) else {
        panic!("no figures");
    };
    let of = |leg| *legs.iter().find(|report| report.leg == leg).unwrap();
    let (phone, user) = (of(A), of(B));
    let loss = phone.loss_ratio.unwrap();
    assert!((0.08..0.12).contains(&loss), "{phone:?}");
    assert!(user.loss_ratio.unwrap() < 0.02, "{user:?}");
    let (bad, good) = (phone.mos.unwrap(), user.mos.unwrap());
    assert!(bad < 3.7 && good > 4.0, "{bad} {good}");
    for (kind, report) in [(LegKind::Sip, phone), (LegKind::Telegram, user)] {
        let trip = report.round_trip.unwrap();
        assert!(trip < Duration::from_millis(200), "{report:?}");
        let leg = counted.leg(kind);
        assert!(leg.round_trip.get_sample_count() > 0);
        assert_eq!(leg.loss_ratio.get_sample_count(), 1);
        assert_eq!(leg.mos.get_sample_count(), 1);
    }
    for (from, to) in both {
        let turned = counted.transcoding(from, to).unwrap();
        assert_eq!(turned.active.get(), 0);
        assert!(turned.frames.get() > 200, "{from} {}", turned.frames.get());
        let each = turned.seconds.get() / turned.frames.get() as f64;
        assert!((1e-7..0.02).contains(&each), "{from} {each} s a frame");
    }
}

#[test]
fn ports_run_out_and_come_back_with_the_end_of_a_call() {
    let (plane, metrics) = plane(53_000..=53_003);
    let (mut handle, events) = plane.open_call(CALL());
    let _far = [(A, 400), (B, 1000)]
        .map(|(leg, hertz)| add_sip(&plane, &mut handle, leg, Codec::Alaw, hertz));
    let peer = SocketAddr::new(HERE, 5060);
    assert_eq!(plane.reserve_rtp(peer).unwrap_err(), NoRtpPorts);
    assert_eq!(metrics.media().ports_used.get(), 2);
    drop(handle);
    last(events);
    assert_eq!(metrics.media().ports_used.get(), 0);
    for port in 53_000..=53_003 {
        assert!(UdpSocket::bind((HERE, port)).is_ok(), "{port} is closed");
    }
    assert_eq!(
        plane.reserve_rtp(peer).unwrap_err(),
        NoRtpPorts,
        "they rest"
    );
}

#[test]
fn a_silent_phone_is_told_of_and_one_on_hold_is_not() {
    let plane = impatient_plane(54_000..=54_099);
    let (mut handle, mut events) = plane.open_call(CALL());
    let far = [(A, 400), (B, 1000)]
        .map(|(leg, hertz)| add_sip(&plane, &mut handle, leg, Codec::Alaw, hertz));
    let media = Box::new(far[1].agreed(Direction::Inactive));
    handle
        .command(MediaCommand::UpdateSip { leg: B, media })
        .unwrap();
    let told = live(
        &mut [],
        &mut handle,
        &mut events,
        Duration::from_millis(400),
    );
    assert_eq!(told, [], "nobody talks yet");
    handle
        .command(MediaCommand::Connect { a: A, b: B })
        .unwrap();
    let told = live(
        &mut [],
        &mut handle,
        &mut events,
        Duration::from_millis(400),
    );
    let silent = MediaEvent::Silent {
        leg: A,
        for_: Duration::from_millis(200),
    };
    assert_eq!(told, [silent]);
}

#[test]
fn a_phone_that_says_nothing_to_a_telegram_user_is_told_of() {
    let plane = impatient_plane(54_200..=54_299);
    let (mut handle, mut events) = plane.open_call(CALL());
    let _phone = add_sip(&plane, &mut handle, A, Codec::Alaw, 400);
    let start = Box::new(start(Role::Caller));
    let leg = B;
    handle
        .command(MediaCommand::AddTelegram { leg, start })
        .unwrap();
    handle
        .command(MediaCommand::Connect { a: B, b: A })
        .unwrap();
    let mut far = [Far::telegram(B, 1000)];
    let told = live(
        &mut far,
        &mut handle,
        &mut events,
        Duration::from_millis(1500),
    );
    let of = |event| told.iter().position(|told| *told == event).unwrap();
    let for_ = Duration::from_millis(200);
    assert!(of(MediaEvent::Connected { leg: B }) < of(MediaEvent::Silent { leg: A, for_ }));
}

#[test]
fn a_range_without_a_pair_is_refused() {
    let config = MediaConfig {
        rtp_range: 55_001..=55_001,
        ..MediaConfig::default()
    };
    let refused = MediaPlane::start(config, Metrics::new("test").media());
    assert!(matches!(
        refused.map(|_| ()),
        Err(StartError::NoPorts(55_001, 55_001))
    ));
}
