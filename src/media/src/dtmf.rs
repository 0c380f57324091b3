//! Keypad digits as RTP events (RFC 4733): one event a press, whatever the network does to its packets.

use std::collections::VecDeque;
use std::time::Duration;

/// How long a key is held.
const PRESS: Duration = Duration::from_millis(100);
/// Silence between two keys.
const GAP: Duration = Duration::from_millis(60);
/// The last packet is sent this often (RFC 4733 section 2.5.1.4).
const ENDS: u8 = 3;
/// Digits that may wait.
const MAX_WAITING: usize = 64;
/// Volume in -dBm0.
const VOLUME: u8 = 10;
/// The events in order of their codes (RFC 4733 section 3.2).
const DIGITS: &[u8; 16] = b"0123456789*#ABCD";

/// Returns the event of a digit; lower case letters count.
fn event_of(digit: char) -> Option<u8> {
    let digit = u8::try_from(digit).ok()?.to_ascii_uppercase();
    let index = DIGITS.iter().position(|known| *known == digit)?;
    u8::try_from(index).ok()
}

/// Returns the digit of an event.
fn digit_of(event: u8) -> Option<char> {
    DIGITS.get(usize::from(event)).copied().map(char::from)
}

/// Finds the presses in a stream of event packets.
#[derive(Debug, Default)]
pub(crate) struct DtmfReceiver {
    current: Option<Press>,
    /// Timestamps of presses already told, for packets that come late.
    told: [Option<u32>; 4],
    next: usize,
}

#[derive(Debug, Clone, Copy)]
struct Press {
    event: u8,
    timestamp: u32,
    duration: u16,
    ended: bool,
}

impl DtmfReceiver {
    /// Takes the payload of one event packet; returns the digit at its first packet.
    pub(crate) fn receive(&mut self, payload: &[u8], timestamp: u32, marker: bool) -> Option<char> {
        let &[event, flags, high, low, ..] = payload else {
            return None;
        };
        let digit = digit_of(event)?;
        let press = Press {
            event,
            timestamp,
            duration: u16::from_be_bytes([high, low]),
            ended: flags & 0x80 != 0,
        };
        if let Some(current) = &mut self.current {
            if current.timestamp == timestamp {
                current.duration = current.duration.max(press.duration);
                current.ended |= press.ended;
                return None;
            }
            // RFC 4733 s.2.5.1.3: a press longer than the field goes on in a new segment, without a marker. The last packets of the
            // one before may be lost.
            let segment = timestamp.wrapping_sub(current.timestamp);
            let may_go_on = current.duration >= 0xff00 || !marker;
            let goes_on = !current.ended && current.event == event && may_go_on;
            if goes_on && segment >= 0xff00 && segment <= u32::from(u16::MAX) + 1 {
                self.remember(timestamp);
                self.current = Some(press);
                return None;
            }
        }
        if self.told.contains(&Some(timestamp)) {
            return None;
        }
        self.remember(timestamp);
        self.current = Some(press);
        Some(digit)
    }

    fn remember(&mut self, timestamp: u32) {
        if let Some(slot) = self.told.get_mut(self.next) {
            *slot = Some(timestamp);
        }
        self.next = (self.next + 1) % self.told.len();
    }
}

/// Presses keys, one after the other.
#[derive(Debug, Default)]
pub(crate) struct DtmfSender {
    waiting: VecDeque<u8>,
    key: Key,
}

#[derive(Debug, Default, Clone, Copy)]
enum Key {
    #[default]
    Up,
    /// Held for this long.
    Down {
        event: u8,
        timestamp: u32,
        held: Duration,
    },
    /// Let go; the end still to be told `left` times.
    Ending {
        event: u8,
        timestamp: u32,
        left: u8,
        since: Duration,
    },
    /// Told; the next key has to wait.
    Pause { since: Duration },
}

/// What the sender wants in place of one frame of audio.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing: no digit, audio as usual.
    Audio,
    /// Silence between digits: no packet at all.
    Quiet,
    /// This event packet.
    Event {
        payload: [u8; 4],
        timestamp: u32,
        marker: bool,
    },
}

impl DtmfSender {
    /// Queues digits; anything else among them is left out. Returns how many were taken.
    pub(crate) fn push(&mut self, digits: &str) -> usize {
        let room = MAX_WAITING - self.waiting.len().min(MAX_WAITING);
        let before = self.waiting.len();
        self.waiting
            .extend(digits.chars().filter_map(event_of).take(room));
        self.waiting.len() - before
    }

    /// Returns whether a digit is under way or waiting.
    pub(crate) fn is_busy(&self) -> bool {
        !self.waiting.is_empty() || !matches!(self.key, Key::Up)
    }

    /// Returns what to send in the next `frame`, which begins at the audio timestamp `now`.
    pub(crate) fn step(&mut self, frame: Duration, clock: u32, now: u32) -> Step {
        if let Key::Pause { since } = self.key
            && since >= GAP
        {
            self.key = Key::Up;
        }
        match self.key {
            Key::Up => {
                let Some(event) = self.waiting.pop_front() else {
                    return Step::Audio;
                };
                self.key = Key::Down {
                    event,
                    timestamp: now,
                    held: frame,
                };
                packet(event, now, frame.min(PRESS), clock, false, true)
            }
            Key::Down {
                event,
                timestamp,
                held,
            } if held < PRESS => {
                let held = held + frame;
                self.key = Key::Down {
                    event,
                    timestamp,
                    held,
                };
                packet(event, timestamp, held.min(PRESS), clock, false, false)
            }
            Key::Down {
                event, timestamp, ..
            } => self.end(event, timestamp, ENDS, frame, clock),
            Key::Ending {
                event,
                timestamp,
                left,
                since,
            } => self.end(event, timestamp, left, since + frame, clock),
            Key::Pause { since } => {
                self.key = Key::Pause {
                    since: since + frame,
                };
                Step::Quiet
            }
        }
    }

    fn end(&mut self, event: u8, timestamp: u32, left: u8, since: Duration, clock: u32) -> Step {
        self.key = match left {
            0 | 1 => Key::Pause { since },
            _ => Key::Ending {
                event,
                timestamp,
                left: left - 1,
                since,
            },
        };
        packet(event, timestamp, PRESS, clock, true, false)
    }
}

fn packet(event: u8, timestamp: u32, held: Duration, clock: u32, end: bool, marker: bool) -> Step {
    let ticks = held.as_millis() * u128::from(clock) / 1000;
    let [high, low] = u16::try_from(ticks).unwrap_or(u16::MAX).to_be_bytes();
    let flags = VOLUME | if end { 0x80 } else { 0 };
    Step::Event {
        payload: [event, flags, high, low],
        timestamp,
        marker,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::RtpPacket;
    use crate::tests::{hex, testdata};

    const FRAME: Duration = Duration::from_millis(20);

    #[test]
    fn every_recorded_stream_gives_each_press_once() {
        for name in [
            "clock-48k",
            "duplicates",
            "long-8s",
            "lost-ends",
            "lost-marker",
            "no-marker",
            "one-end",
            "plain-1234",
            "same-digit-twice",
            "seq-wrap",
            "vol-63",
        ] {
            let file = testdata(&format!("rfc4733/made-{name}.json"));
            let mut receiver = DtmfReceiver::default();
            let mut heard = Vec::new();
            for packet in file["packets_ms_hex"].as_array().unwrap() {
                let bytes = hex(packet[1].as_str().unwrap());
                let packet = RtpPacket::parse(&bytes).unwrap();
                heard.extend(
                    receiver
                        .receive(packet.payload, packet.timestamp, packet.marker)
                        .and_then(event_of),
                );
            }
            let expected: Vec<u8> = file["expect_events"]
                .as_array()
                .unwrap()
                .iter()
                .map(|event| u8::try_from(event.as_u64().unwrap()).unwrap())
                .collect();
            assert_eq!(heard, expected, "{name}");
        }
    }

    #[test]
    fn events_beyond_the_keypad_and_short_payloads_are_nothing() {
        let mut receiver = DtmfReceiver::default();
        assert_eq!(receiver.receive(&[200, 10, 0, 160], 1, true), None);
        assert_eq!(receiver.receive(&[1], 2, true), None);
        assert_eq!(receiver.receive(&[15, 10, 0, 160], 3, true), Some('D'));
    }

    /// RFC 4733 2.5.1.3: at 48 kHz a key of 1.4 s already has two segments; the ends of each may be lost.
    #[test]
    fn a_long_press_is_one_press_whatever_is_lost_of_it() {
        for (step, lost) in [(960, 0), (1440, 1), (2400, 1), (960, 5)] {
            let mut receiver = DtmfReceiver::default();
            let mut heard = Vec::new();
            for (segment, timestamp) in [7_u32, 65_542, 131_077].into_iter().enumerate() {
                let full = 0xffff / step;
                let durations = (1..=full).map(|n| n * step).chain([0xffff]);
                for duration in durations.take(full as usize + 1 - lost) {
                    let [_, _, high, low] = u32::to_be_bytes(duration);
                    let marker = segment == 0 && duration == step;
                    heard.extend(receiver.receive(&[5, 10, high, low], timestamp, marker));
                }
            }
            assert_eq!(heard, ['5'], "{step} ticks, {lost} lost");
        }
        // The same key, just as long after one whose end was lost.
        let mut receiver = DtmfReceiver::default();
        for timestamp in [7, 65_542] {
            let heard = receiver.receive(&[5, 10, 0, 160], timestamp, true);
            assert_eq!(heard, Some('5'));
        }
    }

    #[test]
    fn what_is_sent_is_understood() {
        let (mut sender, mut receiver) = (DtmfSender::default(), DtmfReceiver::default());
        assert_eq!(sender.push("1 1x*#aD9"), 7);
        let mut heard = String::new();
        for n in 0..200 {
            if let Step::Event {
                payload,
                timestamp,
                marker,
            } = sender.step(FRAME, 8000, n * 160)
            {
                heard.extend(receiver.receive(&payload, timestamp, marker));
            }
        }
        assert_eq!(heard, "11*#AD9");
        assert!(!sender.is_busy());
    }

    #[test]
    fn a_press_is_100_ms_and_three_ends_and_60_ms_of_gap() {
        let mut sender = DtmfSender::default();
        sender.push("55");
        let packets: Vec<Step> = (0..9).map(|n| sender.step(FRAME, 8000, n * 160)).collect();
        let event = |flags: u8, duration: u16, timestamp: u32, marker: bool| {
            let [high, low] = duration.to_be_bytes();
            Step::Event {
                payload: [5, flags, high, low],
                timestamp,
                marker,
            }
        };
        let expected: Vec<Step> = [160, 320, 480, 640, 800]
            .map(|duration| event(10, duration, 0, duration == 160))
            .into_iter()
            .chain([event(0x8a, 800, 0, false); 3])
            .chain([event(10, 160, 1280, true)])
            .collect();
        assert_eq!(packets, expected);
    }

    #[test]
    fn short_frames_leave_a_gap_without_packets() {
        let mut sender = DtmfSender::default();
        sender.push("12");
        let steps: Vec<Step> = (0..17)
            .map(|n| sender.step(Duration::from_millis(10), 8000, n * 80))
            .collect();
        assert!(
            steps[..13]
                .iter()
                .all(|step| matches!(step, Step::Event { .. }))
        );
        assert_eq!(steps[13..16], [Step::Quiet; 3]);
        assert!(matches!(
            steps[16],
            Step::Event {
                payload: [2, ..],
                timestamp: 1280,
                marker: true
            }
        ));
    }

    #[test]
    fn only_so_many_digits_wait() {
        let mut sender = DtmfSender::default();
        assert_eq!(sender.push(&"1".repeat(1000)), MAX_WAITING);
        assert_eq!(sender.push("2"), 0);
    }
}
