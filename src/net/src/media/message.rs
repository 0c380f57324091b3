//! What a call and its media task tell each other.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use media::Tone;
use model::{Codec, DtmfMethod, LegId, LegKind, MediaPath, Quality};

use super::ports::RtpReservation;

/// What a call wants of its media.
#[derive(Debug)]
pub enum MediaCommand {
    /// A SIP leg has agreed on its media.
    AddSip {
        /// The leg.
        leg: LegId,
        /// The ports named in our SDP.
        rtp: RtpReservation,
        /// What was agreed.
        media: Box<sip::sdp::Agreed>,
        /// Where the peer's signalling comes from.
        signalling: IpAddr,
    },
    /// A SIP leg has agreed anew: hold, resume, another address or codec.
    UpdateSip {
        /// The leg.
        leg: LegId,
        /// What was agreed.
        media: Box<sip::sdp::Agreed>,
    },
    /// A Telegram leg has its key.
    AddTelegram {
        /// The leg.
        leg: LegId,
        /// What its transport needs.
        start: Box<telegram::MediaStart>,
    },
    /// Signalling bytes of a Telegram peer.
    Signal {
        /// The leg.
        leg: LegId,
        /// The bytes.
        bytes: Bytes,
    },
    /// Let two legs hear each other, as soon as both are there.
    Connect {
        /// One leg.
        a: LegId,
        /// The other.
        b: LegId,
    },
    /// Press keys towards a leg.
    SendDtmf {
        /// The leg.
        leg: LegId,
        /// `0-9`, `*`, `#`, `A-D`.
        digits: String,
        /// As tones, or as events if the peer knows them.
        method: DtmfMethod,
    },
    /// Search the voice of a leg for tones of keys, or stop it.
    ListenForTones {
        /// The leg.
        leg: LegId,
        /// Whether to.
        on: bool,
    },
    /// Play a tone to a leg in place of its peer, or stop it; it also ends when the leg is joined with another.
    Tone {
        /// The leg.
        leg: LegId,
        /// The tone; nothing to stop it.
        tone: Option<Tone>,
    },
    /// A leg is over; its ports are returned.
    Remove {
        /// The leg.
        leg: LegId,
    },
}

/// What a call hears of its media.
#[derive(Debug, Clone, PartialEq)]
pub enum MediaEvent {
    /// The first audio came from a leg.
    FirstPacket {
        /// The leg.
        leg: LegId,
    },
    /// Media can flow on a leg.
    Connected {
        /// The leg.
        leg: LegId,
    },
    /// Signalling bytes for the peer of a Telegram leg.
    Signal {
        /// The leg.
        leg: LegId,
        /// The bytes.
        bytes: Bytes,
    },
    /// A key was pressed.
    Dtmf {
        /// The leg.
        leg: LegId,
        /// `0-9`, `*`, `#`, `A-D`.
        digit: char,
        /// How it came.
        method: DtmfMethod,
    },
    /// Nothing has come from a leg that should speak; told once per silence.
    Silent {
        /// The leg.
        leg: LegId,
        /// For how long.
        for_: Duration,
    },
    /// The user muted or unmuted the microphone.
    Muted {
        /// The leg.
        leg: LegId,
        /// Whether it is muted now.
        on: bool,
    },
    /// The media of a leg is dead.
    Failed {
        /// The leg.
        leg: LegId,
        /// Why, in a few words.
        why: &'static str,
    },
    /// How the legs have sounded since the last time; told every 10 s from when two are joined.
    Quality {
        /// Every leg there is.
        legs: Vec<LegReport>,
    },
    /// The task is over, nothing follows; a task that ends without this has panicked or was not listened to.
    Closed {
        /// The figures of every leg the call had.
        legs: Vec<LegReport>,
    },
}

/// The figures of one leg: of its whole life at its end, of the last 10 s in [`MediaEvent::Quality`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LegReport {
    /// The leg.
    pub leg: LegId,
    /// Its kind.
    pub kind: LegKind,
    /// What its audio is carried in.
    pub codec: Codec,
    /// How the media of a Telegram leg went when it started; nothing before, and for a SIP leg.
    pub path: Option<MediaPath>,
    /// Packets received.
    pub received: u64,
    /// Packets sent.
    pub sent: u64,
    /// Payload octets received.
    pub bytes_in: u64,
    /// Payload octets sent.
    pub bytes_out: u64,
    /// Packets lost on the way to us.
    pub lost: u64,
    /// Packets received but not played.
    pub discarded: u64,
    /// Audio made up for missing packets.
    pub concealed: Duration,
    /// Interarrival jitter at the end.
    pub jitter: Duration,
    /// Round trip, when known: by RTCP to a SIP peer, by the checks of ICE to a Telegram peer.
    pub round_trip: Option<Duration>,
    /// Share of its packets that were lost; none when nothing came.
    pub loss_ratio: Option<f64>,
    /// Estimated mean opinion score of what came; none when nothing came.
    pub mos: Option<f64>,
}

impl LegReport {
    /// Returns what a call record says of it: absent what is not known of a leg that nothing came from.
    pub fn quality(&self) -> Quality {
        let micros = |time: Duration| u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
        Quality {
            loss_ppm: self.loss_ratio.map(|loss| whole(loss * 1e6)),
            jitter_us: (self.received > 0).then(|| micros(self.jitter)),
            rtt_us: self.round_trip.map(micros),
            mos_centi: self.mos.map(|mos| whole(mos * 100.0)),
        }
    }
}

/// The nearest whole number; a cast of a float to an integer goes no further than that has room.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn whole(value: f64) -> u32 {
    value.round() as u32
}

/// The media task of a call takes no more commands: it is gone, or does nothing any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the media of the call takes no more commands")]
pub struct Stuck;
