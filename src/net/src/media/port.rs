//! One leg of a call as the exchange sees it: its transport and what is known about it.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use media::{LegAudio, PlainConfig, PlainRtp, Remote, RtpOut, Transport, TransportOutput};
use model::{Codec, LegId, LegKind, MediaPath, SrtpKeys};
use sip::sdp::{Agreed, Audio};
use telegram::Way;

use super::books::Books;
use super::rtc::Rtc;
use super::streams::News;

/// Opus to Telegram (telegram-calls 8.4).
const TELEGRAM_PAYLOAD_TYPE: u8 = 111;

/// A leg.
pub(super) struct Port {
    pub(super) leg: LegId,
    pub(super) carrier: Carrier,
    pub(super) audio: LegAudio,
    /// When its transport wants to be called.
    pub(super) deadline: Option<Instant>,
    /// Media can flow.
    pub(super) connected: bool,
    /// The leg it hears.
    pub(super) peer: Option<LegId>,
    pub(super) books: Books,
}

/// What carries a leg's packets.
pub(super) enum Carrier {
    /// RTP to a SIP peer, encrypted where offer and answer say so.
    Plain(Box<Plain>),
    /// ICE and DTLS-SRTP to a Telegram peer.
    Rtc(Box<Rtc>),
}

/// RTP and what SDP said.
#[derive(Debug)]
pub(super) struct Plain {
    pub(super) rtp: PlainRtp,
    pub(super) agreed: Agreed,
    pub(super) signalling: IpAddr,
    /// Silence is watched.
    pub(super) watched: bool,
}

/// Which socket of a leg a datagram belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Door {
    /// RTP of a SIP leg.
    Rtp,
    /// RTCP of a SIP leg.
    Rtcp,
    /// A host candidate of a Telegram leg.
    Candidate(SocketAddr),
    /// A connection of a Telegram leg to a relay.
    Stream(News),
}

impl Port {
    pub(super) fn sip(
        now: Instant,
        leg: LegId,
        agreed: Agreed,
        signalling: IpAddr,
        rtp_timeout: Duration,
        seed: u64,
    ) -> Self {
        let (audio, others) = sip_audio(&agreed);
        let unix_time = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
        let config = PlainConfig {
            rtp_timeout,
            unix_time,
            ..PlainConfig::default()
        };
        let mut rtp = PlainRtp::new(now, config, audio, Some(remote(&agreed, signalling)), seed);
        rtp.set_audio(audio, others);
        rtp.set_keys(keys(&agreed));
        let plain = Plain {
            rtp,
            agreed,
            signalling,
            watched: false,
        };
        Self::new(leg, Carrier::Plain(Box::new(plain)), audio)
    }

    pub(super) fn telegram(leg: LegId, rtc: Rtc, frame_ms: u8) -> Self {
        let audio = LegAudio {
            codec: Codec::Opus,
            payload_type: TELEGRAM_PAYLOAD_TYPE,
            dtmf_payload_type: None,
            received: None,
            dtmf_clock: Codec::Opus.clock_rate(),
            send_ptime: Duration::from_millis(frame_ms.into()),
            kind: LegKind::Telegram,
        };
        Self::new(leg, Carrier::Rtc(Box::new(rtc)), audio)
    }

    fn new(leg: LegId, carrier: Carrier, audio: LegAudio) -> Self {
        Self {
            leg,
            carrier,
            audio,
            deadline: None,
            // A SIP leg that has answered may be spoken to; a Telegram leg has to find its peer first.
            connected: audio.kind == LegKind::Sip,
            peer: None,
            books: Books::default(),
        }
    }

    /// Takes a new agreement of a SIP leg; true when it is one.
    pub(super) fn update(&mut self, now: Instant, agreed: Agreed) -> bool {
        let Carrier::Plain(plain) = &mut self.carrier else {
            return false;
        };
        let (audio, others) = sip_audio(&agreed);
        self.audio = audio;
        plain.rtp.set_audio(audio, others);
        plain.rtp.set_keys(keys(&agreed));
        plain.rtp.set_remote(now, remote(&agreed, plain.signalling));
        plain.agreed = agreed;
        true
    }

    /// Whether the peer does not want to hear us.
    pub(super) fn is_held(&self) -> bool {
        match &self.carrier {
            Carrier::Plain(plain) => !plain.agreed.direction.sends(),
            Carrier::Rtc(_) => false,
        }
    }

    /// How the media of a Telegram leg went when it started; none for a SIP leg.
    pub(super) fn way(&self) -> Option<Way> {
        match &self.carrier {
            Carrier::Plain(_) => None,
            Carrier::Rtc(rtc) => Some(rtc.stats().way),
        }
    }

    /// The same in the words of a record; nothing before it has started.
    pub(super) fn path(&self) -> Option<MediaPath> {
        let Carrier::Rtc(rtc) = &self.carrier else {
            return None;
        };
        let stats = rtc.stats();
        self.connected
            .then_some(match (stats.way, stats.is_reflector) {
                (Way::Direct, _) => MediaPath::Direct,
                (Way::Relay, false) => MediaPath::Turn,
                (Way::Relay, true) => MediaPath::Reflector,
                (Way::TcpRelay, _) => MediaPath::ReflectorTcp,
            })
    }

    /// ICE restarts of the peer so far.
    pub(super) fn restarts(&self) -> u32 {
        match &self.carrier {
            Carrier::Plain(_) => 0,
            Carrier::Rtc(rtc) => rtc.stats().restarts,
        }
    }

    /// Watches for silence while there is a conversation and nobody is on hold.
    pub(super) fn watch(&mut self, now: Instant, conversation: bool) {
        let Carrier::Plain(plain) = &mut self.carrier else {
            return;
        };
        let direction = plain.agreed.direction;
        let watched = conversation && direction.sends() && direction.receives();
        if watched != plain.watched {
            plain.watched = watched;
            plain.rtp.expect_media(now, watched);
        }
    }

    pub(super) fn signal(&mut self, now: Instant, bytes: &[u8]) {
        if let Carrier::Rtc(rtc) = &mut self.carrier {
            rtc.signal(now, bytes);
        }
    }

    pub(super) fn handle_datagram(
        &mut self,
        now: Instant,
        door: Door,
        source: SocketAddr,
        data: &[u8],
    ) {
        match (&mut self.carrier, door) {
            (Carrier::Plain(plain), Door::Rtcp) => plain.rtp.handle_rtcp(now, source, data),
            (Carrier::Plain(_), Door::Stream(_)) => {}
            (Carrier::Plain(plain), Door::Rtp | Door::Candidate(_)) => {
                plain.rtp.handle_datagram(now, source, data);
            }
            (Carrier::Rtc(rtc), Door::Candidate(local)) => {
                rtc.handle_datagram(now, local, source, data);
            }
            (Carrier::Rtc(rtc), Door::Stream(News::Packet)) => {
                rtc.handle_datagram(now, source, source, data);
            }
            (Carrier::Rtc(rtc), Door::Stream(news @ (News::Opened | News::Lost))) => {
                rtc.handle_stream(now, source, news == News::Opened);
            }
            (Carrier::Rtc(_), Door::Rtp | Door::Rtcp) => {}
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        match &mut self.carrier {
            Carrier::Plain(plain) => plain.rtp.handle_timeout(now),
            Carrier::Rtc(rtc) => rtc.handle_timeout(now),
        }
    }

    pub(super) fn send(&mut self, now: Instant, packet: &RtpOut) {
        self.books.sent(packet.payload.len());
        match &mut self.carrier {
            Carrier::Plain(plain) => plain.rtp.send(now, packet),
            Carrier::Rtc(rtc) => rtc.send(now, packet),
        }
    }

    /// Says good-bye to the peer, where its protocol has a word for it.
    pub(super) fn close(&mut self, now: Instant) {
        match &mut self.carrier {
            Carrier::Plain(plain) => plain.rtp.close(now),
            Carrier::Rtc(rtc) => rtc.close(now),
        }
    }

    pub(super) fn poll_output(&mut self) -> TransportOutput {
        match &mut self.carrier {
            Carrier::Plain(plain) => plain.rtp.poll_output(),
            Carrier::Rtc(rtc) => rtc.poll_output(),
        }
    }
}

/// What was agreed, and what the peer may turn to.
fn sip_audio(agreed: &Agreed) -> (LegAudio, Vec<LegAudio>) {
    let audio = |audio: &Audio| LegAudio {
        codec: audio.codec,
        payload_type: audio.payload_type,
        dtmf_payload_type: audio.dtmf_payload_type,
        received: audio.received,
        dtmf_clock: audio.dtmf_clock,
        send_ptime: Duration::from_millis(agreed.ptime.into()),
        kind: LegKind::Sip,
    };
    let others = agreed.others.iter().map(audio).collect();
    (audio(&agreed.audio), others)
}

fn keys(agreed: &Agreed) -> Option<&SrtpKeys> {
    agreed.crypto.as_ref().map(|crypto| &crypto.keys)
}

/// The transport itself refuses to send where `Agreed::may_send` forbids it, until a source is locked.
fn remote(agreed: &Agreed, signalling: IpAddr) -> Remote {
    Remote {
        rtp: agreed.remote,
        rtcp: agreed.remote_rtcp,
        signalling,
    }
}
