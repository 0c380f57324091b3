//! RTP over UDP (RTP/AVP, RFC 3550, RFC 3551; RTP/SAVP, RFC 3711): the transport of a SIP leg.
//!
//! Symmetric (RFC 4961), with the source lock of [`crate::Latch`]. RTP and RTCP come in by their own doors; a
//! multiplexed RTCP packet (RFC 5761) finds its way. With keys a packet is opened before anything looks at it, the lock
//! included (SEC-M4). After every input poll until `Timeout`.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::Bytes;
use model::SrtpKeys;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::address::may_send_to;
use crate::audio::{LegAudio, PayloadKind};
use crate::pool::Pool;
use crate::rtcp::{self, Block, Report, SenderInfo};
use crate::rtp::{HEADER, RtpPacket, looks_like_rtcp};
use crate::sequence::{Jitter, Sequence};
use crate::source::{Latch, SourceLock, Verdict};
use crate::srtp::{Refused, Srtp};
use crate::timeline::ticks;
use crate::transport::{RtpIn, RtpOut, Transport, TransportEvent, TransportOutput};

/// Seconds between 1900 (NTP) and 1970 (Unix).
const NTP_EPOCH: u64 = 2_208_988_800;

/// Time without a packet after which one without audio keeps the way open (RFC 6263, NET-5).
const KEEP_OPEN: Duration = Duration::from_secs(15);
/// So many packets in another codec of the peer's answer make it the codec of the leg: one may be a straggler.
const TURN: u8 = 2;

/// How a [`PlainRtp`] behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlainConfig {
    /// How far the source may differ from what SDP announced.
    pub latch: Latch,
    /// Whether media may go to private addresses although signalling comes from a public one.
    pub allow_private: bool,
    /// Silence after which [`TransportEvent::Silent`] is told; zero is never.
    pub rtp_timeout: Duration,
    /// Time between RTCP reports, varied by a fifth; zero is none.
    pub report_interval: Duration,
    /// The CNAME of our reports, at most 32 octets are sent.
    pub cname: String,
    /// Unix time at construction, for the NTP time in reports; zero does no harm.
    pub unix_time: Duration,
}

impl Default for PlainConfig {
    fn default() -> Self {
        Self {
            latch: Latch::default(),
            allow_private: false,
            rtp_timeout: Duration::from_secs(10),
            report_interval: Duration::from_secs(5),
            cname: "strowger".to_owned(),
            unix_time: Duration::ZERO,
        }
    }
}

/// Where the peer says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remote {
    /// The RTP address of its SDP.
    pub rtp: SocketAddr,
    /// The RTCP address of its SDP (RFC 3605), if it names one.
    pub rtcp: Option<SocketAddr>,
    /// Where its signalling comes from.
    pub signalling: IpAddr,
}

/// The figures of a [`PlainRtp`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PlainStats {
    /// Packets heard.
    pub received: u64,
    /// Packets sent.
    pub sent: u64,
    /// Packets dropped because they came from elsewhere.
    pub foreign: u64,
    /// SRTP packets dropped because nobody with the key made them.
    pub unauthentic: u64,
    /// SRTP packets dropped because they were here before, or came too late to be sure.
    pub replayed: u64,
    /// Datagrams that were not RTP or of a payload type nobody agreed to.
    pub malformed: u64,
    /// Packets the network lost on the way to us.
    pub lost: u64,
    /// Interarrival jitter.
    pub jitter: Duration,
    /// Round trip by RTCP, once known.
    pub round_trip: Option<Duration>,
    /// How often it was measured.
    pub round_trips: u64,
    /// Share of our packets the peer lost lately, in 1/256.
    pub remote_lost: Option<u8>,
    /// The locked source.
    pub source: Option<SocketAddr>,
}

/// RTP of one leg.
#[derive(Debug)]
pub struct PlainRtp {
    config: PlainConfig,
    audio: LegAudio,
    /// What the peer may turn to, and how many packets in a row say that it has.
    others: Vec<LegAudio>,
    turning: u8,
    security: Security,
    started: Instant,
    random: StdRng,
    ssrc: u32,
    sequence: u16,
    remote: Option<Remote>,
    lock: Option<SourceLock>,
    rtcp_source: Option<SocketAddr>,
    numbers: Sequence,
    jitter: Jitter,
    silence: Silence,
    report_at: Option<Instant>,
    /// The stream of the peer's last sender report, the middle of its NTP time, and when it came.
    last_report: Option<(u32, u32, Instant)>,
    last_sent: Option<(Instant, u32)>,
    /// When a packet is due that holds nothing.
    keep_open_at: Option<Instant>,
    octets: u32,
    /// Packets sent before the present SSRC was.
    sent_before: u64,
    stats: PlainStats,
    pool: Pool,
    scratch: Vec<u8>,
    /// A received packet, opened.
    opened: Vec<u8>,
    outputs: VecDeque<TransportOutput>,
}

/// What becomes of packets between here and the socket.
#[derive(Debug)]
enum Security {
    /// They pass as they are.
    Open,
    /// They are opened and sealed.
    Sealed(Box<Srtp>),
    /// The keys cannot be used: nothing passes, for it would pass in the clear.
    Shut,
}

/// Whether media is missing.
#[derive(Debug, Clone, Copy)]
enum Silence {
    /// Nobody expects any: before the answer, on hold.
    Unwatched,
    /// Expected; last heard of then.
    Watched { heard: Instant },
    /// Told.
    Told,
}

impl PlainRtp {
    /// Creates the transport; without `remote` it neither hears nor sends.
    pub fn new(
        now: Instant,
        config: PlainConfig,
        audio: LegAudio,
        remote: Option<Remote>,
        seed: u64,
    ) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let (ssrc, sequence) = (random.random(), random.random());
        let mut plain = Self {
            config,
            audio,
            others: Vec::new(),
            turning: 0,
            security: Security::Open,
            started: now,
            random,
            ssrc,
            sequence,
            remote: None,
            lock: None,
            rtcp_source: None,
            numbers: Sequence::default(),
            jitter: Jitter::default(),
            silence: Silence::Unwatched,
            report_at: None,
            last_report: None,
            last_sent: None,
            keep_open_at: None,
            octets: 0,
            sent_before: 0,
            stats: PlainStats::default(),
            pool: Pool::default(),
            scratch: Vec::with_capacity(rtcp::MAX_REPORT),
            opened: Vec::new(),
            outputs: VecDeque::with_capacity(4),
        };
        if let Some(remote) = remote {
            plain.set_remote(now, remote);
        }
        plain
    }

    /// Takes the address of a new offer or answer; the lock is opened when it differs from the one before.
    pub fn set_remote(&mut self, now: Instant, remote: Remote) {
        if self.remote == Some(remote) {
            return;
        }
        self.remote = Some(remote);
        self.lock = Some(SourceLock::new(
            self.config.latch,
            remote.rtp,
            remote.signalling,
        ));
        self.rtcp_source = None;
        self.keep_open_at = Some(now + KEEP_OPEN);
        if self.report_at.is_none() {
            self.schedule_report(now);
        }
    }

    /// Takes newly agreed payload types and clock, and what the peer may turn to without a word.
    pub fn set_audio(&mut self, audio: LegAudio, others: Vec<LegAudio>) {
        (self.audio, self.others) = (audio, others);
    }

    /// Takes the keys of a new offer and answer; without keys packets are not encrypted.
    ///
    /// A direction whose key stays goes on where it is. When ours changes, or comes, we begin a new stream with an SSRC of its
    /// own: whether the rollover counter of the old one goes on is a thing peers do not agree on.
    pub fn set_keys(&mut self, keys: Option<&SrtpKeys>) {
        let next = match (&mut self.security, keys) {
            (Security::Open, None) => return,
            (_, None) => Security::Open,
            (Security::Sealed(srtp), Some(keys)) => match srtp.change(keys) {
                Some(false) => return,
                Some(true) => return self.begin_stream(),
                None => Security::Shut,
            },
            (Security::Open | Security::Shut, Some(keys)) => {
                Srtp::new(keys).map_or(Security::Shut, |srtp| Security::Sealed(Box::new(srtp)))
            }
        };
        self.security = next;
        self.begin_stream();
    }

    fn begin_stream(&mut self) {
        self.ssrc = self.random.random();
        // RFC 3711 s.3.3.1: far from the wrap, which a peer that misses our first packets would not notice.
        self.sequence = self.random.random_range(0..1 << 15);
        self.sent_before = self.stats.sent;
        (self.octets, self.last_sent) = (0, None);
    }

    /// Starts (`true`, at the answer) or suspends (`false`, on hold) the watch for silence; it is off at first.
    pub fn expect_media(&mut self, now: Instant, expected: bool) {
        self.silence = if expected {
            Silence::Watched { heard: now }
        } else {
            Silence::Unwatched
        };
    }

    /// Takes one datagram of the RTCP socket.
    pub fn handle_rtcp(&mut self, now: Instant, source: SocketAddr, data: &[u8]) {
        let mut opened = std::mem::take(&mut self.opened);
        match &mut self.security {
            Security::Open => self.take_rtcp(now, source, data),
            Security::Sealed(srtp) => match srtp.receiver.open_rtcp(data, &mut opened) {
                Ok(()) => self.take_rtcp(now, source, &opened),
                Err(why) => self.refused(why),
            },
            Security::Shut => self.stats.unauthentic += 1,
        }
        self.opened = opened;
    }

    fn take_rtcp(&mut self, now: Instant, source: SocketAddr, data: &[u8]) {
        if !self
            .lock
            .as_ref()
            .is_some_and(|lock| lock.allows(source.ip()))
        {
            self.stats.foreign += 1;
            return;
        }
        let mut understood = false;
        for report in rtcp::reports(data) {
            understood = true;
            self.read_report(now, report);
        }
        if let Some(lost_percent) = rtcp::lost_percent(data, self.ssrc) {
            let reported = TransportEvent::Reported { lost_percent };
            self.outputs.push_back(TransportOutput::Event(reported));
        }
        if understood {
            self.rtcp_source = Some(source);
        } else {
            self.stats.malformed += 1;
        }
    }

    /// Says good-bye by RTCP; the leg is over.
    pub fn close(&mut self, _now: Instant) {
        if let Some(target) = self.rtcp_target().filter(|_| self.stats.sent > 0) {
            self.scratch.clear();
            rtcp::write_goodbye(&mut self.scratch, self.ssrc, &self.config.cname);
            self.send_rtcp(target);
        }
        self.report_at = None;
        self.keep_open_at = None;
        self.silence = Silence::Unwatched;
    }

    /// Returns the figures so far.
    pub fn stats(&self) -> PlainStats {
        PlainStats {
            lost: self.numbers.lost(),
            jitter: self.jitter.value(),
            source: self.lock.as_ref().and_then(SourceLock::locked),
            ..self.stats
        }
    }

    fn read_report(&mut self, now: Instant, report: Report) {
        match report {
            Report::Sender { ssrc, info } => {
                self.last_report = Some((ssrc, middle(info.ntp), now));
            }
            Report::Reception(block) if block.ssrc == self.ssrc => {
                self.stats.remote_lost = Some(block.fraction_lost);
                if block.last_report != 0 {
                    let passed = middle(self.ntp(now))
                        .wrapping_sub(block.last_report)
                        .wrapping_sub(block.delay);
                    // A negative value is a peer that counts wrong.
                    if passed < 1 << 31 {
                        self.stats.round_trips += 1;
                        self.stats.round_trip =
                            Some(Duration::from_micros((u64::from(passed) * 1_000_000) >> 16));
                    }
                }
            }
            Report::Reception(_) | Report::Goodbye { .. } => {}
        }
    }

    fn hear(&mut self, now: Instant, packet: &RtpPacket<'_>) {
        if let Silence::Watched { heard } = &mut self.silence {
            *heard = now;
        } else if matches!(self.silence, Silence::Told) {
            self.silence = Silence::Watched { heard: now };
        }
        let Some(sequence) = self.numbers.extend(packet.ssrc, packet.sequence) else {
            return;
        };
        self.stats.received += 1;
        if !self.follow(packet.payload_type) {
            return self.number(sequence, packet.timestamp);
        }
        if self.audio.kind_of(packet.payload_type) == Some(PayloadKind::Audio) {
            self.jitter
                .arrived(now, packet.timestamp, self.audio.codec.clock_rate());
        }
        self.outputs.push_back(TransportOutput::Rtp(RtpIn {
            payload_type: packet.payload_type,
            sequence,
            timestamp: packet.timestamp,
            marker: packet.marker,
            payload: self.pool.copy(packet.payload),
        }));
    }

    /// Takes the number of a packet that nobody can read: a peer that keeps its way open, or falls silent by a type of its own, has
    /// lost nothing (RFC 6263 section 4.6).
    fn pass_over(&mut self, packet: &RtpPacket<'_>) {
        if let Some(sequence) = self.numbers.follow(packet.ssrc, packet.sequence) {
            self.number(sequence, packet.timestamp);
        }
    }

    /// Tells of a packet without audio that its turn has come.
    fn number(&mut self, sequence: u64, timestamp: u32) {
        self.outputs.push_back(TransportOutput::Rtp(RtpIn {
            payload_type: self.audio.payload_type,
            sequence,
            timestamp,
            marker: false,
            payload: Bytes::new(),
        }));
    }

    /// Turns to another codec of the answer when the peer has; false for a packet that only hints at it.
    fn follow(&mut self, payload_type: u8) -> bool {
        match self.audio.kind_of(payload_type) {
            Some(PayloadKind::Audio) => self.turning = 0,
            Some(PayloadKind::Event | PayloadKind::ComfortNoise) => {}
            None => {
                let mut others = self.others.iter_mut();
                let other = others.find(|other| other.speaks(payload_type));
                self.turning += 1;
                let Some(other) = other.filter(|_| self.turning >= TURN) else {
                    return false;
                };
                std::mem::swap(&mut self.audio, other);
                self.turning = 0;
                let turned = TransportEvent::Turned(self.audio);
                self.outputs.push_back(TransportOutput::Event(turned));
            }
        }
        true
    }

    /// Whether a packet of this type may come from the peer.
    fn accepts(&self, payload_type: u8) -> bool {
        let mut others = self.others.iter();
        self.audio.accepts(payload_type) || others.any(|other| other.speaks(payload_type))
    }

    /// Where media goes: the locked source, else what SDP says, if one may send there at all.
    fn target(&self) -> Option<SocketAddr> {
        let remote = self.remote?;
        let locked = self.lock.as_ref().and_then(SourceLock::locked);
        let target = locked.unwrap_or(remote.rtp);
        may_send_to(target, remote.signalling, self.config.allow_private).then_some(target)
    }

    fn rtcp_target(&self) -> Option<SocketAddr> {
        let (remote, target) = (self.remote?, self.target()?);
        let next = SocketAddr::new(target.ip(), target.port().checked_add(1)?);
        let announced = remote.rtcp.filter(|_| target == remote.rtp);
        let rtcp = self.rtcp_source.or(announced).unwrap_or(next);
        may_send_to(rtcp, remote.signalling, self.config.allow_private).then_some(rtcp)
    }

    fn schedule_report(&mut self, now: Instant) {
        let interval = self.config.report_interval;
        // RFC 3550 s.6.2: reports of many sources must not fall together.
        let vary = self.random.random_range(0.8..1.2);
        self.report_at = (!interval.is_zero()).then(|| now + interval.mul_f64(vary));
    }

    fn report(&mut self, now: Instant) {
        self.schedule_report(now);
        let Some(target) = self.rtcp_target() else {
            return;
        };
        let clock = self.audio.codec.clock_rate();
        let info = self.timestamp(now).map(|timestamp| SenderInfo {
            ntp: self.ntp(now),
            timestamp,
            packets: ((self.stats.sent - self.sent_before) & 0xffff_ffff) as u32,
            octets: self.octets,
        });
        let jitter = self.jitter.ticks(clock);
        let last_report = self.last_report;
        let block = self.numbers.report().map(|reception| {
            // RFC 3550 s.6.4.1: of the same stream, or none.
            let last = last_report.filter(|(ssrc, ..)| *ssrc == reception.ssrc);
            let (last, delay) = last.map_or((0, 0), |(_, middle, at)| {
                (middle, ticks(now.saturating_duration_since(at), 65_536))
            });
            Block::new(reception, jitter, last, delay)
        });
        self.scratch.clear();
        rtcp::write_report(
            &mut self.scratch,
            self.ssrc,
            info,
            block,
            &self.config.cname,
        );
        self.send_rtcp(target);
    }

    /// The timestamp of now in the stream that we send.
    fn timestamp(&self, now: Instant) -> Option<u32> {
        let (at, timestamp) = self.last_sent?;
        let passed = now.saturating_duration_since(at);
        Some(timestamp.wrapping_add(ticks(passed, self.audio.codec.clock_rate())))
    }

    /// Sends a packet without audio: nothing else was to be sent for long, and a NAT forgets.
    fn keep_open(&mut self, now: Instant) {
        self.keep_open_at = Some(now + KEEP_OPEN);
        let packet = RtpOut {
            payload_type: self.audio.payload_type,
            timestamp: self.timestamp(now).unwrap_or_default(),
            marker: false,
            payload: Bytes::new(),
        };
        self.send(now, &packet);
    }

    /// Sends the report in `scratch`.
    fn send_rtcp(&mut self, target: SocketAddr) {
        let ready = match &mut self.security {
            Security::Open => Some(()),
            Security::Sealed(srtp) => srtp.sender.seal_rtcp(&mut self.scratch, self.ssrc),
            Security::Shut => None,
        };
        if ready.is_some() {
            let bytes = self.pool.copy(&self.scratch);
            self.outputs
                .push_back(TransportOutput::TransmitRtcp { target, bytes });
        }
    }

    /// Finishes a packet to be sent; none when it must not leave.
    fn sealed(&mut self, header: &[u8; HEADER], payload: &[u8]) -> Option<Bytes> {
        match &mut self.security {
            Security::Open => Some(self.pool.join([header, payload])),
            Security::Sealed(srtp) => {
                let packet = &mut self.scratch;
                packet.clear();
                packet.extend_from_slice(header);
                packet.extend_from_slice(payload);
                srtp.sender.seal(packet, HEADER, self.ssrc, self.sequence)?;
                Some(self.pool.copy(packet))
            }
            Security::Shut => None,
        }
    }

    fn refused(&mut self, why: Refused) {
        match why {
            Refused::Unauthentic => self.stats.unauthentic += 1,
            Refused::Replayed => self.stats.replayed += 1,
        }
    }

    /// Takes one RTP packet in the clear.
    fn take_rtp(&mut self, now: Instant, source: SocketAddr, data: &[u8]) {
        let packet = RtpPacket::parse(data);
        let agreed = packet.is_ok_and(|packet| self.accepts(packet.payload_type));
        let Some(lock) = &mut self.lock else {
            self.stats.foreign += 1;
            return;
        };
        let Some(packet) = packet.ok().filter(|_| agreed) else {
            self.stats.malformed += 1;
            let is_peer = lock.locked() == Some(source);
            if let Some(packet) = packet.ok().filter(|_| is_peer) {
                self.pass_over(&packet);
            }
            return;
        };
        match lock.judge(now, source, &packet) {
            Verdict::Hear => self.hear(now, &packet),
            Verdict::HearAndLock => {
                self.outputs
                    .push_back(TransportOutput::Event(TransportEvent::Connected));
                self.hear(now, &packet);
            }
            Verdict::Wait | Verdict::Drop => self.stats.foreign += 1,
        }
    }

    fn ntp(&self, now: Instant) -> u64 {
        let since_1970 = self.config.unix_time + now.saturating_duration_since(self.started);
        let fraction = (u64::from(since_1970.subsec_nanos()) << 32) / 1_000_000_000;
        (since_1970.as_secs() + NTP_EPOCH) << 32 | fraction
    }

    fn silent_at(&self) -> Option<Instant> {
        match self.silence {
            Silence::Watched { heard } if !self.config.rtp_timeout.is_zero() => {
                Some(heard + self.config.rtp_timeout)
            }
            Silence::Watched { .. } | Silence::Unwatched | Silence::Told => None,
        }
    }
}

impl Transport for PlainRtp {
    fn handle_datagram(&mut self, now: Instant, source: SocketAddr, data: &[u8]) {
        if looks_like_rtcp(data) {
            return self.handle_rtcp(now, source, data);
        }
        let mut opened = std::mem::take(&mut self.opened);
        match &mut self.security {
            Security::Open => self.take_rtp(now, source, data),
            Security::Sealed(srtp) => match srtp.receiver.open(data, &mut opened) {
                Ok(()) => self.take_rtp(now, source, &opened),
                Err(why) => self.refused(why),
            },
            Security::Shut => self.stats.unauthentic += 1,
        }
        self.opened = opened;
    }

    fn handle_timeout(&mut self, now: Instant) {
        if self.silent_at().is_some_and(|at| at <= now) {
            self.silence = Silence::Told;
            let event = TransportEvent::Silent {
                for_: self.config.rtp_timeout,
            };
            self.outputs.push_back(TransportOutput::Event(event));
        }
        if self.report_at.is_some_and(|at| at <= now) {
            self.report(now);
        }
        if self.keep_open_at.is_some_and(|at| at <= now) {
            self.keep_open(now);
        }
    }

    fn send(&mut self, now: Instant, packet: &RtpOut) {
        let Some(target) = self.target() else { return };
        let header = RtpPacket {
            payload_type: packet.payload_type,
            sequence: self.sequence,
            timestamp: packet.timestamp,
            ssrc: self.ssrc,
            marker: packet.marker,
            payload: &[],
        }
        .header();
        let Some(bytes) = self.sealed(&header, &packet.payload) else {
            return;
        };
        self.sequence = self.sequence.wrapping_add(1);
        self.stats.sent += 1;
        let octets = u32::try_from(packet.payload.len()).unwrap_or(0);
        self.octets = self.octets.wrapping_add(octets);
        self.last_sent = Some((now, packet.timestamp));
        self.keep_open_at = self.keep_open_at.map(|_| now + KEEP_OPEN);
        self.outputs
            .push_back(TransportOutput::Transmit { target, bytes });
    }

    fn poll_output(&mut self) -> TransportOutput {
        self.outputs.pop_front().unwrap_or_else(|| {
            let next = [self.report_at, self.silent_at(), self.keep_open_at]
                .into_iter()
                .flatten()
                .min();
            TransportOutput::Timeout(next)
        })
    }
}

/// The middle 32 bits of an NTP time (RFC 3550 section 4).
fn middle(ntp: u64) -> u32 {
    (ntp >> 16 & 0xffff_ffff) as u32
}

#[cfg(test)]
mod tests;
