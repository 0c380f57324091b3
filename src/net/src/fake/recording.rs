//! What a player heard, and how much of what was said is in it.

use std::time::{Duration, Instant};

use media::RtpIn;

use super::speech::{Said, Speech};

/// Samples a second of every recording.
pub(super) const RATE: u32 = 8000;
/// The longest recording.
const LONGEST: u64 = 120 * RATE as u64;
/// A jump of the timestamps that is no gap but another stream.
const JUMP: u64 = 10 * RATE as u64;
/// What is left out at the beginning, while the far end finds its pace.
const SETTLING: usize = RATE as usize / 2;
/// What is searched for what was said.
const WINDOW: usize = RATE as usize;
/// What is compared at a time.
const PART: usize = RATE as usize / 2;
/// How many places are looked at closely after a rough look at all.
const CLOSE_LOOKS: usize = 12;
/// The longest delay looked for.
const FARTHEST: i64 = RATE as i64 * 6 / 10;
/// What no other voice resembles, wherever one looks: where this is reached, the place is right.
const RECOGNISED: f64 = 0.75;
/// How far a part may be from its neighbours, because the far end caught up or held back.
const SLIP: i64 = RATE as i64 * 8 / 100;

/// What a player heard: PCM, 8 kHz, placed by the timestamps of its packets.
#[derive(Debug, Clone, Default)]
pub struct Recording {
    samples: Vec<i16>,
    /// Position of the first sample of each packet, and when it came.
    arrivals: Vec<(u64, Instant)>,
    origin: Option<(u32, u64)>,
    last_sequence: u64,
    packets: u64,
}

impl Recording {
    /// Adds a packet, already decoded; `clock` is that of its timestamps.
    pub(super) fn push(&mut self, now: Instant, packet: &RtpIn, clock: u32, pcm: &[i16]) {
        let (timestamp, first) = *self
            .origin
            .get_or_insert((packet.timestamp, packet.sequence));
        self.packets += 1;
        self.last_sequence = self.last_sequence.max(packet.sequence).max(first);
        let ticks = packet.timestamp.wrapping_sub(timestamp);
        let position = u64::from(ticks) * u64::from(RATE) / u64::from(clock);
        let end = self.samples.len() as u64;
        // Backwards wraps to far ahead; both are no part of this stream.
        if position > end + JUMP || position + pcm.len() as u64 > LONGEST {
            return;
        }
        let Ok(at) = usize::try_from(position) else {
            return;
        };
        if self.samples.len() < at + pcm.len() {
            self.samples.resize(at + pcm.len(), 0);
        }
        for (sample, heard) in self.samples.iter_mut().skip(at).zip(pcm) {
            *sample = *heard;
        }
        self.arrivals.push((position, now));
    }

    /// Returns the samples, 8000 a second.
    pub fn samples(&self) -> &[i16] {
        &self.samples
    }

    /// Packets that came.
    pub fn packets(&self) -> u64 {
        self.packets
    }

    /// Packets that are missing in between.
    pub fn lost(&self) -> u64 {
        let first = self.origin.map_or(0, |(_, sequence)| sequence);
        let expected = self.last_sequence.saturating_sub(first) + 1;
        if self.packets == 0 {
            0
        } else {
            expected.saturating_sub(self.packets)
        }
    }

    /// When the sample at this position came.
    fn arrival(&self, position: usize) -> Option<Instant> {
        let next = self
            .arrivals
            .partition_point(|(at, _)| *at <= position as u64);
        let (at, when) = *self.arrivals.get(next.checked_sub(1)?)?;
        Some(when + span(position as u64 - at))
    }
}

/// How well something came through.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    /// Likeness of what was heard and what was said, half second by half second, on average: 1 is the same, 0 nothing of it.
    pub similarity: f64,
    /// Likeness of the worst half second.
    pub worst: f64,
    /// How often the voice skipped or repeated more than 80 ms from one half second that was compared to the next.
    pub skips: u32,
    /// From a sample leaving the speaker to its arriving at the listener, without the length of the packets; the median.
    pub delay: Duration,
    /// The same, the worst one in a hundred.
    pub delay_p99: Duration,
    /// Packets missing.
    pub lost: u64,
    /// Packets heard.
    pub packets: u64,
    /// How much was compared.
    pub compared: Duration,
}

/// Finds what was said in what was heard; nothing when less than a second of it can be compared.
pub fn measure(said: &Said, heard: &Recording) -> Option<Measured> {
    measure_where(said, heard, |_, _| true)
}

/// The same for those half seconds alone of which the judge, told when one began to be said and when it had been heard, says
/// that they count; nothing when none does. Packets are counted all the same.
pub fn measure_where(
    said: &Said,
    heard: &Recording,
    counts: impl Fn(Instant, Instant) -> bool,
) -> Option<Measured> {
    let since = said.since?;
    let first = heard.samples.get(SETTLING..SETTLING + WINDOW)?;
    // The number of the sample that would be heard without any delay.
    let sent = |position| {
        let came = heard.arrival(position)?;
        came.checked_duration_since(since).map(samples_in)
    };
    let mut lag = coarse(&said.speech, sent(SETTLING)? - FARTHEST, first) - SETTLING as i64;
    let (mut likeness, mut skips) = (Vec::new(), 0);
    // The first part is the time to settle.
    let mut lags = vec![(lag, false)];
    for (index, part) in heard.samples.chunks_exact(PART).enumerate().skip(1) {
        let position = (index * PART) as i64;
        let (at, alike) = find(&said.speech, position + lag, sent(index * PART), part);
        let began = since + span(u64::try_from(at).unwrap_or(0));
        let ended = heard.arrival((index + 1) * PART - 1).unwrap_or(began);
        let does_count = counts(began, ended);
        if does_count {
            let did_count = lags.last().is_some_and(|(_, counts)| *counts);
            let slip = (at - position - lag).abs();
            skips += u32::from(did_count && slip > SLIP + 1);
            likeness.push(alike);
        }
        lag = at - position;
        lags.push((lag, does_count));
    }
    let mut delays: Vec<Duration> = heard
        .arrivals
        .iter()
        .filter_map(|(position, at)| {
            let index = usize::try_from(*position).ok()? / PART;
            let (lag, _) = lags
                .get(index)
                .or(lags.last())
                .filter(|(_, counts)| *counts)?;
            let number = u64::try_from(i64::try_from(*position).ok()? + lag).ok()?;
            Some(at.saturating_duration_since(since + span(number)))
        })
        .collect();
    delays.sort_unstable();
    Some(Measured {
        similarity: likeness.iter().sum::<f64>() / likeness.len().max(1) as f64,
        worst: likeness.iter().copied().fold(1.0, f64::min),
        skips,
        delay: *delays.get(delays.len() / 2)?,
        delay_p99: *delays.get(delays.len() * 99 / 100)?,
        lost: heard.lost(),
        packets: heard.packets,
        compared: Duration::from_millis(500) * u32::try_from(likeness.len()).unwrap_or(0),
    })
    .filter(|measured| !measured.compared.is_zero())
}

/// Where a second of what was heard begins in what was said, from `earliest` on.
fn coarse(speech: &Speech, earliest: i64, heard: &[i16]) -> i64 {
    let length = heard.len() + usize::try_from(FARTHEST).unwrap_or(0);
    let said = signal(speech, earliest as f64, length);
    // Every fourth sample will do to find the way back to a pitch period or two.
    let heard: Vec<f64> = heard
        .iter()
        .step_by(4)
        .map(|sample| f64::from(*sample))
        .collect();
    let alike = |shift: usize| {
        let said = said.iter().skip(shift).step_by(4);
        correlate(said.copied().zip(heard.iter().copied()))
    };
    let near = best((2..length - 4 * heard.len()).step_by(2), alike);
    let shift = best(near - 2..near + 3, alike);
    earliest + shift as i64
}

/// Where a part was said, and its likeness: near a place, or, when it is not recognised there, wherever it can have been said
/// before `latest`. The far end may skip or repeat more than a slip when packets were late.
fn find(speech: &Speech, near: i64, latest: Option<i64>, part: &[i16]) -> (i64, f64) {
    let found = fine(speech, near, part);
    let Some(latest) = latest.filter(|_| found.1 < RECOGNISED) else {
        return found;
    };
    let again = fine(speech, coarse(speech, latest - FARTHEST, part), part);
    if again.1 >= RECOGNISED { again } else { found }
}

/// The best likeness near a place, to a quarter of a sample; returns where it was.
fn fine(speech: &Speech, near: i64, heard: &[i16]) -> (i64, f64) {
    let (from, slip) = (near - SLIP - 1, usize::try_from(SLIP).unwrap_or(0));
    let length = heard.len() + 2 * slip + 2;
    let heard: Vec<f64> = heard.iter().map(|sample| f64::from(*sample)).collect();
    let at = |said: &[f64], shift: usize, step: usize| {
        let said = said.iter().skip(shift).step_by(step);
        correlate(said.copied().zip(heard.iter().step_by(step).copied()))
    };
    let whole = signal(speech, from as f64, length);
    let places = (2..2 * slip).step_by(2);
    let mut rough: Vec<_> = places.map(|shift| (at(&whole, shift, 4), shift)).collect();
    rough.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
    // A pitch period further on it looks nearly the same: the best ones are looked at closely.
    let places = rough
        .iter()
        .take(CLOSE_LOOKS)
        .flat_map(|(_, shift)| shift - 1..=shift + 1);
    let shift = best(places, |shift| at(&whole, shift, 1));
    let alike = [-0.75, -0.5, -0.25, 0.25, 0.5, 0.75]
        .iter()
        .map(|part| {
            let from = (from + shift as i64) as f64 + part;
            at(&signal(speech, from, heard.len()), 0, 1)
        })
        .fold(at(&whole, shift, 1), f64::max);
    (from + shift as i64, alike)
}

/// What was said, so many samples from this one on.
fn signal(speech: &Speech, from: f64, length: usize) -> Vec<f64> {
    let numbers = (0..length).map(|n| (from + n as f64) / f64::from(RATE));
    numbers.map(|time| speech.at(time)).collect()
}

/// Which of these places has the greatest likeness.
fn best(places: impl Iterator<Item = usize>, alike: impl Fn(usize) -> f64) -> usize {
    let likeness = places.map(|place| (place, alike(place)));
    likeness
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .map_or(0, |(place, _)| place)
}

/// The normalised correlation of two signals.
fn correlate(pairs: impl Iterator<Item = (f64, f64)>) -> f64 {
    let (mut both, mut first, mut second) = (0.0, 0.0, 0.0);
    for (a, b) in pairs {
        both += a * b;
        first += a * a;
        second += b * b;
    }
    if first > 0.0 && second > 0.0 {
        both / (first * second).sqrt()
    } else {
        0.0
    }
}

/// The time of this many samples.
fn span(samples: u64) -> Duration {
    Duration::from_micros(samples * 1_000_000 / u64::from(RATE))
}

fn samples_in(time: Duration) -> i64 {
    i64::try_from(time.as_micros() * u128::from(RATE) / 1_000_000).unwrap_or(i64::MAX)
}
