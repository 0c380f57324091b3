//! The packets of one stream put back into order: a ring of bounded size, one slot a sequence number.
//!
//! Knows nothing of time but when each packet came; [`crate::relay`] and [`crate::playout`] decide how long to wait.

use std::time::Instant;

use bytes::Bytes;

use crate::transport::RtpIn;

/// Slots, and so the longest gap that is waited for.
const SLOTS: usize = 64;
/// The same as a number of packets.
const SPAN: u64 = SLOTS as u64;
/// A step ahead from which on no packets are missing: another stream of the sender has begun (see [`RtpIn::sequence`]). An outage that
/// is as long, 18 s, is the end of a call.
const OTHER_STREAM: u64 = 900;
/// Packets held at most (SEC-M9).
pub(crate) const MAX_PACKETS: usize = 50;

/// A packet that waits for its turn.
#[derive(Debug, Clone)]
pub(crate) struct Waiting {
    pub(crate) arrived: Instant,
    pub(crate) timestamp: u32,
    /// Empty: it arrived, but there is no audio in it.
    pub(crate) payload: Bytes,
    /// It says what there is in place of audio: silence, or a key.
    pub(crate) quiet: bool,
}

/// What became of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// It waits for its turn.
    Stored,
    /// Its turn is over.
    Late,
    /// It came before.
    Duplicate,
    /// It is so far ahead that everything begins again with it: so many numbers before it never came, and so many packets that
    /// waited are dropped.
    Restarted { missing: u64, dropped: u64 },
}

/// What is at the front.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Front {
    /// The next packet.
    Packet,
    /// So many are missing before the next one, which came at `arrived`.
    Gap { missing: u64, arrived: Instant },
    /// Nothing.
    Empty,
}

#[derive(Debug)]
pub(crate) struct PacketBuffer {
    slots: Vec<Option<Waiting>>,
    /// The number whose turn it is.
    next: Option<u64>,
    /// Bit n: the number `next - 1 - n` was received.
    seen: u64,
    waiting: usize,
}

impl Default for PacketBuffer {
    fn default() -> Self {
        Self {
            slots: vec![None; SLOTS],
            next: None,
            seen: 0,
            waiting: 0,
        }
    }
}

impl PacketBuffer {
    /// Returns how many packets wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting
    }

    /// Stores a packet; without `audio` only its number counts.
    pub(crate) fn insert(&mut self, now: Instant, packet: &RtpIn, audio: bool) -> Arrival {
        let next = *self.next.get_or_insert(packet.sequence);
        let mut arrival = Arrival::Stored;
        if let Some(back) = next.checked_sub(packet.sequence).filter(|back| *back > 0) {
            let bit = 1_u64
                .checked_shl(u32::try_from(back - 1).unwrap_or(u32::MAX))
                .unwrap_or(0);
            let known = self.seen & bit != 0;
            self.seen |= bit;
            return if known {
                Arrival::Duplicate
            } else {
                Arrival::Late
            };
        }
        let ahead = packet.sequence - next;
        if ahead >= SPAN {
            let dropped = self.waiting as u64;
            // What is farther away than any outage belongs to another stream.
            let missing = if ahead < OTHER_STREAM {
                ahead - dropped
            } else {
                0
            };
            self.clear();
            self.next = Some(packet.sequence);
            arrival = Arrival::Restarted { missing, dropped };
        }
        let payload = if audio {
            packet.payload.clone()
        } else {
            Bytes::new()
        };
        let waiting = Waiting {
            arrived: now,
            timestamp: packet.timestamp,
            payload,
            quiet: !audio && !packet.payload.is_empty(),
        };
        let Some(slot) = self.slot(packet.sequence) else {
            return Arrival::Late;
        };
        if slot.is_some() {
            return Arrival::Duplicate;
        }
        *slot = Some(waiting);
        self.waiting += 1;
        arrival
    }

    /// Returns what is next.
    pub(crate) fn front(&self) -> Front {
        let Some(next) = self.next.filter(|_| self.waiting > 0) else {
            return Front::Empty;
        };
        let found = (0..SPAN).find_map(|ahead| Some((ahead, self.peek_at(next + ahead)?)));
        match found {
            Some((0, _)) => Front::Packet,
            Some((missing, packet)) => Front::Gap {
                missing,
                arrived: packet.arrived,
            },
            None => Front::Empty,
        }
    }

    /// Returns the next packet, if it is there.
    pub(crate) fn peek(&self) -> Option<&Waiting> {
        self.peek_at(self.next?)
    }

    /// Takes the next packet, if it is there.
    pub(crate) fn pop(&mut self) -> Option<Waiting> {
        let next = self.next?;
        let packet = self.slot(next)?.take()?;
        self.waiting -= 1;
        self.next = Some(next + 1);
        self.seen = self.seen << 1 | 1;
        Some(packet)
    }

    /// Gives up the next `missing` numbers.
    pub(crate) fn skip(&mut self, missing: u64) {
        if let Some(next) = &mut self.next {
            *next += missing;
            self.seen = self
                .seen
                .checked_shl(u32::try_from(missing).unwrap_or(u32::MAX))
                .unwrap_or(0);
        }
    }

    fn clear(&mut self) {
        self.slots.fill(None);
        self.waiting = 0;
        self.seen = 0;
    }

    fn slot(&mut self, sequence: u64) -> Option<&mut Option<Waiting>> {
        self.slots.get_mut(usize::from((sequence % SPAN) as u8))
    }

    fn peek_at(&self, sequence: u64) -> Option<&Waiting> {
        self.slots
            .get(usize::from((sequence % SPAN) as u8))?
            .as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::start;

    fn packet(sequence: u64) -> RtpIn {
        let payload = Bytes::copy_from_slice(&sequence.to_be_bytes());
        RtpIn {
            payload_type: 8,
            sequence,
            timestamp: 0,
            marker: false,
            payload,
        }
    }

    fn taken(buffer: &mut PacketBuffer) -> Vec<u8> {
        std::iter::from_fn(|| buffer.pop())
            .map(|packet| packet.payload[7])
            .collect()
    }

    #[test]
    fn packets_come_out_in_order() {
        let (now, mut buffer) = (start(), PacketBuffer::default());
        for sequence in [100, 102, 101, 104, 103] {
            assert_eq!(buffer.insert(now, &packet(sequence), true), Arrival::Stored);
        }
        assert_eq!(taken(&mut buffer), [100, 101, 102, 103, 104]);
        assert_eq!(buffer.front(), Front::Empty);
    }

    #[test]
    fn late_and_duplicate_packets_are_told_apart() {
        let (now, mut buffer) = (start(), PacketBuffer::default());
        buffer.insert(now, &packet(100), true);
        assert_eq!(buffer.insert(now, &packet(100), true), Arrival::Duplicate);
        buffer.insert(now, &packet(103), true);
        assert_eq!(taken(&mut buffer), [100]);
        assert_eq!(
            buffer.front(),
            Front::Gap {
                missing: 2,
                arrived: now
            }
        );
        buffer.skip(2);
        assert_eq!(taken(&mut buffer), [103]);
        assert_eq!(buffer.insert(now, &packet(102), true), Arrival::Late);
        assert_eq!(buffer.insert(now, &packet(102), true), Arrival::Duplicate);
        assert_eq!(buffer.insert(now, &packet(100), true), Arrival::Duplicate);
        assert_eq!(buffer.insert(now, &packet(5), true), Arrival::Late);
    }

    #[test]
    fn a_packet_far_ahead_begins_anew() {
        let (now, mut buffer) = (start(), PacketBuffer::default());
        buffer.insert(now, &packet(100), true);
        let restarted = |missing, dropped| Arrival::Restarted { missing, dropped };
        assert_eq!(buffer.insert(now, &packet(200), true), restarted(99, 1));
        assert_eq!((buffer.len(), taken(&mut buffer)), (1, vec![200]));
        assert_eq!(
            buffer.insert(now, &packet(1200), true),
            restarted(0, 0),
            "another stream"
        );
    }

    #[test]
    fn a_number_without_audio_takes_its_turn() {
        let (now, mut buffer) = (start(), PacketBuffer::default());
        buffer.insert(now, &packet(1), true);
        buffer.insert(now, &packet(2), false);
        buffer.pop();
        assert!(buffer.pop().unwrap().payload.is_empty());
    }
}
