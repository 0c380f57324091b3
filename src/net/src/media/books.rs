//! What a leg adds to the numbers of the media plane.

use std::time::Duration;

use media::{LegStats, PlainStats};
use metrics::{Discard, LegCounters, MediaCounters};
use model::Codec;
use telegram::framing::Dropped;

use super::message::LegReport;
use super::port::{Carrier, Port};

/// Concealed audio is counted in frames of this length.
const FRAME: Duration = Duration::from_millis(20);

/// The figures of a leg: what was counted here, and what is already in the metrics.
#[derive(Debug, Default)]
pub(super) struct Books {
    bytes_in: u64,
    bytes_out: u64,
    written: Figures,
    /// How long audio of the leg waited here: the sum of so many looks.
    depth: (Duration, u32),
    /// What the leg had counted when its quality was told last.
    told: Told,
    transcoding: Option<Transcoding>,
    /// Signalling that was dropped and is in the metrics already.
    signalling: Dropped,
}

/// What a report of the last seconds is measured from.
#[derive(Debug, Default)]
struct Told {
    stats: LegStats,
    received: u64,
    lost: u64,
    figures: Figures,
    concealed: Duration,
}

/// The leg is sent its peer's audio in another codec; counted until this is dropped, also by a panic.
#[derive(Debug)]
struct Transcoding {
    from: Codec,
    to: Codec,
    active: metrics::Gauge,
    frames: metrics::Counter,
    seconds: metrics::Seconds,
}

impl Transcoding {
    fn new(counters: &MediaCounters, from: Codec, to: Codec) -> Option<Self> {
        let counted = counters.transcoding(from, to)?;
        counted.active.inc();
        Some(Self {
            from,
            to,
            active: counted.active.clone(),
            frames: counted.frames.clone(),
            seconds: counted.seconds.clone(),
        })
    }
}

impl Drop for Transcoding {
    fn drop(&mut self) {
        self.active.dec();
    }
}

/// Running totals.
#[derive(Debug, Clone, Copy, Default)]
struct Figures {
    received: u64,
    sent: u64,
    bytes_in: u64,
    bytes_out: u64,
    lost: u64,
    late: u64,
    duplicate: u64,
    overflow: u64,
    foreign: u64,
    unauthentic: u64,
    concealed: u64,
    transcoded: u64,
    round_trips: u64,
}

impl Figures {
    /// What has come on top of `before`, of what a report tells.
    fn since(&self, before: &Figures) -> Figures {
        Figures {
            received: self.received.saturating_sub(before.received),
            sent: self.sent.saturating_sub(before.sent),
            bytes_in: self.bytes_in.saturating_sub(before.bytes_in),
            bytes_out: self.bytes_out.saturating_sub(before.bytes_out),
            lost: self.lost.saturating_sub(before.lost),
            late: self.late.saturating_sub(before.late),
            duplicate: self.duplicate.saturating_sub(before.duplicate),
            overflow: self.overflow.saturating_sub(before.overflow),
            ..*self
        }
    }
}

impl Books {
    pub(super) fn received(&mut self, bytes: usize) {
        self.bytes_in += bytes as u64;
    }

    pub(super) fn sent(&mut self, bytes: usize) {
        self.bytes_out += bytes as u64;
    }
}

impl Port {
    /// Adds what happened since the last time to the counters of its kind of leg.
    pub(super) fn write_books(&mut self, counters: &LegCounters, stats: &LegStats) {
        let (codec, before) = (self.audio.codec, self.books.written);
        let mut now = self.figures(stats);
        // A packet given up as lost that comes after all makes the total smaller for a while.
        now.lost = now.lost.max(before.lost);
        self.books.written = now;
        let discarded = |why| counters.discarded(why);
        for (counter, now, before) in [
            (counters.received(codec), now.received, before.received),
            (counters.sent(codec), now.sent, before.sent),
            (&counters.bytes_in, now.bytes_in, before.bytes_in),
            (&counters.bytes_out, now.bytes_out, before.bytes_out),
            (&counters.lost, now.lost, before.lost),
            (discarded(Discard::Late), now.late, before.late),
            (
                discarded(Discard::Duplicate),
                now.duplicate,
                before.duplicate,
            ),
            (discarded(Discard::Overflow), now.overflow, before.overflow),
            (discarded(Discard::BadSource), now.foreign, before.foreign),
            (
                discarded(Discard::Auth),
                now.unauthentic,
                before.unauthentic,
            ),
            (&counters.concealed, now.concealed, before.concealed),
        ] {
            counter.inc_by(now.saturating_sub(before));
        }
        if let Some(transcoding) = &self.books.transcoding {
            let frames = now.transcoded.saturating_sub(before.transcoded);
            transcoding.frames.inc_by(frames);
        }
        if now.received > before.received {
            counters.jitter.observe(stats.jitter.as_secs_f64());
            counters.depth.observe(stats.depth.as_secs_f64());
            let (sum, looks) = self.books.depth;
            self.books.depth = (sum + stats.depth, looks + 1);
        }
        if let Some(trip) = self
            .round_trip()
            .filter(|_| now.round_trips > before.round_trips)
        {
            counters.round_trip.observe(trip.as_secs_f64());
        }
    }

    /// Adds the signalling that was dropped since the last time.
    pub(super) fn write_signalling(&mut self, counters: &MediaCounters) {
        let Carrier::Rtc(rtc) = &self.carrier else {
            return;
        };
        let now = rtc.stats().signalling;
        let before = std::mem::replace(&mut self.books.signalling, now);
        let received = now.received.saturating_sub(before.received);
        counters.signaling_dropped_in.inc_by(received);
        let sent = now.sent.saturating_sub(before.sent);
        counters.signaling_dropped_out.inc_by(sent);
    }

    /// Whether the leg is sent its peer's audio in another codec.
    pub(super) fn transcodes(&self) -> bool {
        self.books.transcoding.is_some()
    }

    /// Counts time spent on that.
    pub(super) fn spent(&self, time: Duration) {
        if let Some(transcoding) = &self.books.transcoding {
            transcoding.seconds.inc_by(time.as_secs_f64());
        }
    }

    /// Notes what the peer's audio is turned from; nothing while there is no peer.
    pub(super) fn hear_codec(&mut self, counters: &MediaCounters, from: Option<Codec>) {
        let to = self.audio.codec;
        let known = self.books.transcoding.as_ref();
        let wanted = from.filter(|from| *from != to).map(|from| (from, to));
        if known.map(|known| (known.from, known.to)) != wanted {
            // The old one ends before the new one begins.
            self.books.transcoding = None;
            self.books.transcoding =
                wanted.and_then(|(from, to)| Transcoding::new(counters, from, to));
        }
    }

    /// Returns the figures of the leg so far.
    pub(super) fn report(&self, stats: &LegStats) -> LegReport {
        let figures = self.figures(stats);
        self.report_since(stats, &figures, &Told::default())
    }

    /// Returns the figures of the leg since this was asked last.
    pub(super) fn report_again(&mut self, stats: &LegStats) -> LegReport {
        let figures = self.figures(stats);
        let report = self.report_since(stats, &figures, &self.books.told);
        let plain = self.plain_stats().unwrap_or_default();
        self.books.told = Told {
            stats: *stats,
            received: plain.received,
            lost: plain.lost,
            figures,
            concealed: stats.concealed,
        };
        report
    }

    fn report_since(&self, stats: &LegStats, now: &Figures, before: &Told) -> LegReport {
        let (sum, looks) = self.books.depth;
        let buffer = sum.checked_div(looks).unwrap_or_default();
        let since = stats.since(&before.stats);
        let figures = now.since(&before.figures);
        let loss = match self.plain_stats() {
            // Counted where the packets come in: the bridge does not know of those that came before its time.
            Some(plain) => {
                let lost = plain.lost.saturating_sub(before.lost);
                let expected = plain.received.saturating_sub(before.received) + lost;
                (expected > 0).then(|| lost as f64 / expected as f64)
            }
            None => since.loss(),
        };
        LegReport {
            leg: self.leg,
            kind: self.audio.kind,
            codec: self.audio.codec,
            path: self.path(),
            received: figures.received,
            sent: figures.sent,
            bytes_in: figures.bytes_in,
            bytes_out: figures.bytes_out,
            lost: figures.lost,
            discarded: figures.late + figures.duplicate + figures.overflow,
            concealed: stats.concealed.saturating_sub(before.concealed),
            jitter: stats.jitter,
            round_trip: self.round_trip(),
            loss_ratio: loss,
            mos: since.mos(self.audio.codec, self.round_trip(), buffer),
        }
    }

    fn figures(&self, stats: &LegStats) -> Figures {
        let plain = self.plain_stats();
        let (foreign, unauthentic) = match &self.carrier {
            Carrier::Plain(plain) => {
                let stats = plain.rtp.stats();
                (stats.foreign, stats.unauthentic)
            }
            Carrier::Rtc(rtc) => {
                let stats = rtc.stats();
                (stats.foreign, stats.unauthentic)
            }
        };
        Figures {
            received: stats.received,
            sent: match &self.carrier {
                Carrier::Plain(plain) => plain.rtp.stats().sent,
                Carrier::Rtc(rtc) => rtc.stats().sent,
            },
            bytes_in: self.books.bytes_in,
            bytes_out: self.books.bytes_out,
            lost: plain.map_or(stats.lost, |plain| plain.lost),
            late: stats.late,
            // What SRTP has seen before never reaches the buffer, which counts them otherwise.
            duplicate: stats.duplicate + plain.map_or(0, |plain| plain.replayed),
            overflow: stats.discarded,
            foreign,
            unauthentic,
            concealed: u64::try_from(stats.concealed.as_nanos() / FRAME.as_nanos()).unwrap_or(0),
            transcoded: stats.transcoded,
            round_trips: match &self.carrier {
                Carrier::Plain(plain) => plain.rtp.stats().round_trips,
                Carrier::Rtc(rtc) => rtc.stats().round_trips,
            },
        }
    }

    fn round_trip(&self) -> Option<Duration> {
        match &self.carrier {
            Carrier::Plain(plain) => plain.rtp.stats().round_trip,
            Carrier::Rtc(rtc) => rtc.stats().round_trip,
        }
    }

    fn plain_stats(&self) -> Option<PlainStats> {
        match &self.carrier {
            Carrier::Plain(plain) => Some(plain.rtp.stats()),
            Carrier::Rtc(_) => None,
        }
    }
}
