//! The media plane: handles resolved once, so that a packet costs one atomic addition.

use std::sync::Arc;

use model::{Codec, LegKind};
use prometheus::{Counter, Histogram, IntCounter, IntGauge};

use crate::family::{Families, all};
use crate::label::{AudioCodec, CallPath, Discarded, PortState, RtpCodec, Signaling};
use crate::sip::Flow;

/// Why a packet was received but not played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discard {
    /// Its time had passed.
    Late,
    /// It had arrived before.
    Duplicate,
    /// The buffer was full.
    Overflow,
    /// It came from somebody else.
    BadSource,
    /// Nobody with the key of SRTP made it.
    Auth,
}

/// In the order of [`Discard`] and of `by_codec`: the arrays of handles are taken apart by position.
const DISCARDS: [&str; 5] = ["late", "duplicate", "overflow", "bad_source", "auth"];
const CODECS: [&str; 6] = ["opus", "pcma", "pcmu", "g722", "l16", "telephone_event"];

/// All counters of the media plane; cheap to clone.
#[derive(Clone)]
pub struct MediaCounters {
    sip: Arc<LegCounters>,
    telegram: Arc<LegCounters>,
    /// How late each 20 ms tick ran, in seconds.
    pub tick_lateness: Histogram,
    /// RTP port pairs in use.
    pub ports_used: IntGauge,
    /// RTP port pairs left.
    pub ports_free: IntGauge,
    /// Telegram legs whose media went straight to the peer when it started.
    pub path_p2p: IntCounter,
    /// Telegram legs whose media started on a relay, ours or the peer's, over UDP.
    pub path_relay_udp: IntCounter,
    /// The same where we reach the relay by TCP.
    pub path_relay_tcp: IntCounter,
    /// ICE restarts of Telegram peers that were followed.
    pub ice_restarts: IntCounter,
    /// Signalling packets and messages of Telegram peers that did not open, did not read or had been seen.
    pub signaling_dropped_in: IntCounter,
    /// Signalling messages of ours for which there was no room.
    pub signaling_dropped_out: IntCounter,
    transcodings: Arc<Vec<Transcoding>>,
}

/// Audio of one codec turned into another.
#[derive(Debug)]
pub struct Transcoding {
    from: Codec,
    to: Codec,
    /// Legs sent such audio just now.
    pub active: IntGauge,
    /// Frames of it.
    pub frames: IntCounter,
    /// Seconds spent on it.
    pub seconds: Counter,
}

/// The counters of all legs of one kind.
pub struct LegCounters {
    packets_in: [IntCounter; 6],
    packets_out: [IntCounter; 6],
    /// Payload bytes received.
    pub bytes_in: IntCounter,
    /// Payload bytes sent.
    pub bytes_out: IntCounter,
    /// Gaps in the sequence (RFC 3550).
    pub lost: IntCounter,
    discarded: [IntCounter; 5],
    /// Frames made up by concealment.
    pub concealed: IntCounter,
    /// Interarrival jitter in seconds, one observation every 5 s.
    pub jitter: Histogram,
    /// Depth of the jitter buffer in seconds, one observation every 5 s.
    pub depth: Histogram,
    /// Round trip in seconds, as often as it was measured but at most every 5 s.
    pub round_trip: Histogram,
    /// Share of packets lost, at the end of a leg.
    pub loss_ratio: Histogram,
    /// Estimated mean opinion score, at the end of a leg.
    pub mos: Histogram,
}

impl LegCounters {
    /// Packets received with a codec.
    pub fn received(&self, codec: Codec) -> &IntCounter {
        by_codec(&self.packets_in, codec)
    }

    /// Packets sent with a codec.
    pub fn sent(&self, codec: Codec) -> &IntCounter {
        by_codec(&self.packets_out, codec)
    }

    /// Packets of telephone-event received.
    pub fn received_event(&self) -> &IntCounter {
        let [.., event] = &self.packets_in;
        event
    }

    /// Packets of telephone-event sent.
    pub fn sent_event(&self) -> &IntCounter {
        let [.., event] = &self.packets_out;
        event
    }

    /// Packets received but not played.
    pub fn discarded(&self, why: Discard) -> &IntCounter {
        let [late, duplicate, overflow, bad_source, auth] = &self.discarded;
        match why {
            Discard::Late => late,
            Discard::Duplicate => duplicate,
            Discard::Overflow => overflow,
            Discard::BadSource => bad_source,
            Discard::Auth => auth,
        }
    }
}

fn by_codec(counters: &[IntCounter; 6], codec: Codec) -> &IntCounter {
    let [opus, pcma, pcmu, g722, l16, _] = counters;
    match codec {
        Codec::Opus => opus,
        Codec::Alaw => pcma,
        Codec::Mulaw => pcmu,
        Codec::G722 => g722,
        Codec::L16 => l16,
    }
}

impl MediaCounters {
    pub(crate) fn new(make: &mut Families) -> Self {
        let by_leg = || all::<LegKind>("leg");
        let packets = make.counter(
            "rtp_packets_total",
            "RTP packets.",
            vec![by_leg(), all::<Flow>("direction"), all::<RtpCodec>("codec")],
        );
        let bytes = make.counter(
            "rtp_bytes_total",
            "RTP payload bytes.",
            vec![by_leg(), all::<Flow>("direction")],
        );
        let lost = make.counter(
            "rtp_packets_lost_total",
            "Gaps in the sequence of received packets, RFC 3550 counting.",
            vec![by_leg()],
        );
        let discarded = make.counter(
            "rtp_packets_discarded_total",
            "Packets received but not played.",
            vec![by_leg(), all::<Discarded>("reason")],
        );
        let concealed = make.counter(
            "concealed_frames_total",
            "Frames made up by loss concealment.",
            vec![by_leg()],
        );
        let jitter = make.histogram(
            "rtp_jitter_seconds",
            "RFC 3550 jitter, one observation per leg each 5 s.",
            &[0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2],
            vec![by_leg()],
        );
        let depth = make.histogram(
            "jitter_buffer_depth_seconds",
            "Depth of the jitter buffer, one observation per leg each 5 s.",
            &[0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.15, 0.2, 0.3, 0.5],
            vec![by_leg()],
        );
        let round_trip = make.histogram(
            "rtp_round_trip_seconds",
            "Round trip to the peer, at most one observation per leg each 5 s: by RTCP on SIP legs, by the connectivity checks \
             of ICE on Telegram legs.",
            &[0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0],
            vec![by_leg()],
        );
        let loss_ratio = make.histogram(
            "call_loss_ratio",
            "Share of packets lost over a whole leg, at its end; legs that said nothing are not in it.",
            &[
                0.0, 0.001, 0.003, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5,
            ],
            vec![by_leg()],
        );
        let mos = make.histogram(
            "call_mos",
            "Mean opinion score of what came from a leg, at its end: an estimate of the E-model from loss, delay and jitter \
             buffer. G.113 has no figures for Opus, whose robustness against loss is taken like that of G.711 (Bpl 25).",
            &[1.5, 2.0, 2.5, 3.0, 3.3, 3.6, 3.8, 4.0, 4.2, 4.4, 4.5],
            vec![by_leg()],
        );
        let leg = |kind: LegKind| {
            let leg = kind.label();
            Arc::new(LegCounters {
                packets_in: CODECS.map(|codec| packets.with_label_values(&[leg, "in", codec])),
                packets_out: CODECS.map(|codec| packets.with_label_values(&[leg, "out", codec])),
                bytes_in: bytes.with_label_values(&[leg, "in"]),
                bytes_out: bytes.with_label_values(&[leg, "out"]),
                lost: lost.with_label_values(&[leg]),
                discarded: DISCARDS.map(|reason| discarded.with_label_values(&[leg, reason])),
                concealed: concealed.with_label_values(&[leg]),
                jitter: jitter.with_label_values(&[leg]),
                depth: depth.with_label_values(&[leg]),
                round_trip: round_trip.with_label_values(&[leg]),
                loss_ratio: loss_ratio.with_label_values(&[leg]),
                mos: mos.with_label_values(&[leg]),
            })
        };
        let paths = make.counter(
            "telegram_call_paths_total",
            "Path in use when the media of a Telegram call started.",
            vec![all::<CallPath>("path")],
        );
        let signaling = make.counter(
            "telegram_signaling_dropped_total",
            "Signalling packets and messages of Telegram calls that were dropped: of the peer, because they did not open, did not read or had \
             been seen before; of ours, because there was no room.",
            vec![all::<Signaling>("direction")],
        );
        let transcodings = Arc::new(transcodings(make));
        let ports = make.gauge(
            "rtp_ports",
            "Port pairs of the RTP range.",
            vec![all::<PortState>("state")],
        );
        Self {
            sip: leg(LegKind::Sip),
            telegram: leg(LegKind::Telegram),
            tick_lateness: make.one_histogram(
                "media_tick_lateness_seconds",
                "How late each 20 ms media tick ran.",
                &[0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1],
            ),
            ports_used: ports.with_label_values(&["used"]),
            ports_free: ports.with_label_values(&["free"]),
            path_p2p: paths.with_label_values(&["p2p"]),
            path_relay_udp: paths.with_label_values(&["relay_udp"]),
            path_relay_tcp: paths.with_label_values(&["relay_tcp"]),
            ice_restarts: make.one_counter(
                "telegram_ice_restarts_total",
                "ICE restarts of Telegram peers that were followed: a web client that came to another network.",
            ),
            signaling_dropped_in: signaling.with_label_values(&["in"]),
            signaling_dropped_out: signaling.with_label_values(&["out"]),
            transcodings,
        }
    }

    /// Returns the counters of one codec turned into another; none for a codec turned into itself.
    pub fn transcoding(&self, from: Codec, to: Codec) -> Option<&Transcoding> {
        let mut all = self.transcodings.iter();
        all.find(|one| (one.from, one.to) == (from, to))
    }

    /// Returns the counters of one kind of leg.
    pub fn leg(&self, kind: LegKind) -> &LegCounters {
        match kind {
            LegKind::Sip => &self.sip,
            LegKind::Telegram => &self.telegram,
        }
    }
}

fn transcodings(make: &mut Families) -> Vec<Transcoding> {
    let pairs: Vec<(Codec, Codec)> = Codec::ALL
        .into_iter()
        .flat_map(|from| Codec::ALL.map(|to| (from, to)))
        .filter(|(from, to)| from != to)
        .collect();
    let columns = || vec![all::<AudioCodec>("from"), all::<AudioCodec>("to")];
    let rows: Vec<Vec<&'static str>> = pairs
        .iter()
        .map(|(from, to)| vec![from.label(), to.label()])
        .collect();
    let cpu_rows = rows.clone();
    let active = make.gauge_rows(
        "transcodings_active",
        "Legs that are sent their peer's audio in another codec now.",
        columns(),
        rows.clone(),
    );
    let frames = make.counter_rows(
        "transcode_frames_total",
        "Frames sent to a leg after they were turned into its codec.",
        columns(),
        rows,
    );
    let seconds = make.seconds_counter_rows(
        "transcode_cpu_seconds_total",
        "Time spent on turning audio into another codec.",
        columns(),
        cpu_rows,
    );
    let make = |(from, to): (Codec, Codec)| {
        let labels = [from.label(), to.label()];
        Transcoding {
            from,
            to,
            active: active.with_label_values(&labels),
            frames: frames.with_label_values(&labels),
            seconds: seconds.with_label_values(&labels),
        }
    };
    pairs.into_iter().map(make).collect()
}
