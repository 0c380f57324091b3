//! What one end of one call received: counted always, and kept where it is listened to afterwards.

use std::collections::BTreeSet;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::signal::{self, NARROW};

/// How received payloads become audio of 8 kHz.
pub(crate) enum Ear {
    Alaw,
    Opus(opus::Decoder),
}

impl Ear {
    fn hear(&mut self, payload: &[u8], pcm: &mut Vec<i16>) {
        match self {
            Self::Alaw => pcm.extend(payload.iter().map(|code| signal::from_alaw(*code))),
            Self::Opus(decoder) => {
                let mut frame = [0; 960];
                let count = decoder.decode(payload, &mut frame, false).unwrap_or(0);
                pcm.extend_from_slice(&frame[..count]);
            }
        }
    }
}

/// The received side of a call.
#[derive(Debug, Default)]
pub(crate) struct Track {
    kept: Option<Vec<(u64, Bytes)>>,
    /// Numbers received, and how far they reach.
    seen: BTreeSet<u64>,
    first: u64,
    next: u64,
    received: u64,
    missing: u64,
    repeated: u64,
}

/// What an end has to say about a call when it is over.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct CallReport {
    /// Its number in the run.
    pub(crate) call: usize,
    /// Packets with audio.
    pub(crate) sent: u64,
    pub(crate) received: u64,
    /// Sequence numbers that never came.
    pub(crate) missing: u64,
    /// Packets that came twice.
    pub(crate) repeated: u64,
    /// When each packet left in which a chirp begins, wall clock, ns.
    pub(crate) said: Vec<u64>,
    /// When the beginning of each chirp was there; only of calls that are listened to.
    pub(crate) heard: Option<Vec<u64>>,
}

impl Track {
    /// One that keeps the audio, or only counts.
    pub(crate) fn new(keeps: bool) -> Self {
        Self {
            kept: keeps.then(Vec::new),
            ..Self::default()
        }
    }

    /// Takes a packet with its extended sequence number.
    pub(crate) fn take(&mut self, wall: u64, sequence: u64, payload: &Bytes) {
        if self.received == 0 {
            (self.first, self.next) = (sequence, sequence);
        }
        let is_new = match sequence {
            number if number >= self.next => {
                self.missing += number - self.next;
                self.seen.extend(self.next..number);
                self.next = number + 1;
                true
            }
            // `seen` holds what is missing below `next`.
            number => {
                let was_missing = self.seen.remove(&number);
                self.missing -= u64::from(was_missing);
                was_missing || number < self.first
            }
        };
        self.received += 1;
        self.repeated += u64::from(!is_new);
        if let Some(kept) = &mut self.kept
            && !payload.is_empty()
        {
            kept.push((wall, payload.clone()));
        }
    }

    /// Extends a number of 16 bits to what this track expects next.
    pub(crate) fn extend(&self, sequence: u16) -> u64 {
        if self.received == 0 {
            return (1 << 16) | u64::from(sequence);
        }
        let ahead = sequence.wrapping_sub(self.next as u16).cast_signed();
        self.next.saturating_add_signed(i64::from(ahead))
    }

    /// Closes the track; listens to what was kept.
    pub(crate) fn report(&self, call: usize, sent: u64, said: Vec<u64>, ear: Ear) -> CallReport {
        CallReport {
            call,
            sent,
            received: self.received,
            missing: self.missing,
            repeated: self.repeated,
            said,
            heard: self.kept.as_deref().map(|kept| heard(kept, ear)),
        }
    }
}

/// A chirp is there when the packet has arrived in which it begins, plus its place in the packet.
fn heard(kept: &[(u64, Bytes)], mut ear: Ear) -> Vec<u64> {
    let mut pcm = Vec::new();
    let mut starts = Vec::new();
    for (wall, payload) in kept {
        starts.push((pcm.len(), *wall));
        ear.hear(payload, &mut pcm);
    }
    signal::find(&pcm)
        .into_iter()
        .map(|at| {
            let (start, wall) = starts[starts.partition_point(|(start, _)| *start <= at) - 1];
            wall + (at - start) as u64 * 1_000_000_000 / u64::from(NARROW)
        })
        .collect()
}
