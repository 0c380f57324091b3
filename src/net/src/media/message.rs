//! What a call and its media task tell each other.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use media::Tone;
use model::{DtmfMethod, LegId, LegKind};

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
    /// The task is over, nothing follows; a task that ends without this has panicked or was not listened to.
    Closed {
        /// The figures of every leg the call had.
        legs: Vec<LegReport>,
    },
}

/// The figures of one leg, at its end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LegReport {
    /// The leg.
    pub leg: LegId,
    /// Its kind.
    pub kind: LegKind,
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

/// The media task of a call takes no more commands: it is gone, or does nothing any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the media of the call takes no more commands")]
pub struct Stuck;
