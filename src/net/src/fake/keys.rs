//! The keys that are sent to a phone as telephone-events (RFC 4733).
//!
//! An event is told again and again while it lasts, and three times at its end, always with the timestamp of its
//! beginning: by that it counts once. A phone that is told of something else in this format shows nothing.

use media::RtpIn;

use super::line::Board;

/// What the events 0 to 15 stand for (RFC 4733 section 3.2).
const KEYS: &[u8; 16] = b"0123456789*#ABCD";

/// Reads keys and shows them on the board of the call.
pub(super) struct Keys {
    payload_type: u8,
    board: Board,
    /// The timestamp of the last one.
    last: Option<u32>,
}

impl Keys {
    /// The events of this payload type.
    pub(super) fn new(payload_type: u8, board: Board) -> Self {
        Self {
            payload_type,
            board,
            last: None,
        }
    }

    /// Takes a packet, and returns whether it was one of events.
    pub(super) fn take(&mut self, packet: &RtpIn) -> bool {
        if packet.payload_type != self.payload_type {
            return false;
        }
        let is_new = self.last.replace(packet.timestamp) != Some(packet.timestamp);
        let event = packet.payload.first().map(|event| usize::from(*event));
        let key = event.and_then(|event| KEYS.get(event));
        if let Some(key) = key.filter(|_| is_new) {
            self.board.key(char::from(*key));
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::line::Line;
    use super::*;

    #[test]
    fn a_key_counts_once_however_often_it_is_told() {
        let (line, board) = Line::new(|| {});
        let mut keys = Keys::new(101, board);
        let mut sequence = 0;
        let mut packet = |payload_type, timestamp, event| {
            sequence += 1;
            RtpIn {
                payload_type,
                sequence,
                timestamp,
                marker: false,
                payload: Bytes::copy_from_slice(&[event, 10, 0, 160]),
            }
        };
        // Two fours, one after the other, a hash, and a flash, which is no key.
        for (timestamp, event) in [(10, 4), (10, 4), (900, 4), (900, 4), (1800, 11), (2700, 16)] {
            assert!(keys.take(&packet(101, timestamp, event)));
        }
        assert!(!keys.take(&packet(8, 3600, 1)), "this is audio");
        assert_eq!(line.status().keys, "44#");
    }
}
