//! A conversation in memory before the first real one.
//!
//! Keys, codecs and their tables are some megabytes of the program that nothing touches before the first call. Rehearsed at
//! the start, they are in memory when it comes, and no caller waits for the disk to bring them.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::Bytes;
use media::{
    Bridge, BridgeConfig, BridgeOutput, LegAudio, RtpIn, RtpOut, Transport, TransportEvent,
    TransportOutput,
};
use model::{Codec, LegId, LegKind};
use telegram::{CallKey, MediaStart, Role, RtcLimits, RtcTransport};

/// Longer than two ends without a network between them need.
const PATIENCE: Duration = Duration::from_secs(5);
const FRAME: Duration = Duration::from_millis(20);
const FRAMES: u32 = 25;
const ALAW: u8 = 8;
const OPUS: u8 = 111;
const PHONE: LegId = LegId(0);
const TELEGRAM: LegId = LegId(1);

/// What one end says to the other.
enum Parcel {
    Datagram(SocketAddr, Bytes),
    Signal(Bytes),
}

/// The two ends, in a time of their own.
struct Rehearsal {
    now: Instant,
    ends: [End; 2],
    parcels: VecDeque<(usize, Parcel)>,
}

struct End {
    transport: RtcTransport,
    address: SocketAddr,
    deadline: Option<Instant>,
    is_connected: bool,
    heard: VecDeque<RtpIn>,
}

/// Connects two ends and lets half a second of audio pass both ways; returns whether it did.
pub(super) fn run() -> bool {
    let mut rehearsal = Rehearsal::new(Instant::now());
    rehearsal.connect() && rehearsal.talk()
}

impl Rehearsal {
    fn new(now: Instant) -> Self {
        let end = |role, port, seed| {
            let start = MediaStart {
                role,
                version: "9.0.0".to_owned(),
                key: CallKey::new(&[7; 256]),
                p2p_allowed: true,
                connections: Vec::new(),
                custom_parameters: None,
            };
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            End {
                transport: RtcTransport::new(
                    now,
                    &start,
                    address,
                    RtcLimits::default(),
                    [seed; 32],
                ),
                address,
                deadline: None,
                is_connected: false,
                heard: VecDeque::new(),
            }
        };
        Self {
            now,
            ends: [end(Role::Caller, 40_000, 1), end(Role::Callee, 40_002, 2)],
            parcels: VecDeque::new(),
        }
    }

    /// Lets the ends exchange what they have to until media can flow.
    fn connect(&mut self) -> bool {
        let until = self.now + PATIENCE;
        self.drain();
        while !self.ends.iter().all(|end| end.is_connected) {
            if self.parcels.is_empty() {
                let next = self.ends.iter().filter_map(|end| end.deadline).min();
                let Some(at) = next.filter(|at| *at <= until) else {
                    return false;
                };
                self.now = self.now.max(at);
                for end in &mut self.ends {
                    if end.deadline.is_some_and(|at| at <= self.now) {
                        end.transport.handle_timeout(self.now);
                    }
                }
            }
            self.deliver();
        }
        true
    }

    /// A phone talks to the first end over a bridge; the second one sends back what it hears.
    fn talk(&mut self) -> bool {
        let mut bridge = Bridge::new(self.now, BridgeConfig::default(), 0);
        let legs = [
            (PHONE, Codec::Alaw, ALAW, LegKind::Sip),
            (TELEGRAM, Codec::Opus, OPUS, LegKind::Telegram),
        ];
        for (leg, codec, payload_type, kind) in legs {
            let audio = LegAudio {
                codec,
                payload_type,
                dtmf_payload_type: None,
                received: None,
                dtmf_clock: codec.clock_rate(),
                send_ptime: FRAME,
                kind,
            };
            if bridge.add_leg(self.now, leg, audio).is_err() {
                return false;
            }
        }
        if bridge.connect(self.now, PHONE, TELEGRAM).is_err() {
            return false;
        }
        let mut came_back = 0;
        for n in 0..FRAMES {
            self.now += FRAME;
            let spoken = RtpIn {
                payload_type: ALAW,
                sequence: n.into(),
                timestamp: n * 160,
                marker: n == 0,
                payload: Bytes::from(
                    (0..160_u8)
                        .map(|at| at.wrapping_mul(17))
                        .collect::<Vec<u8>>(),
                ),
            };
            bridge.handle_rtp(self.now, PHONE, &spoken);
            came_back += self.cross(&mut bridge);
            self.deliver();
            while let Some(packet) = self.pop(1) {
                let echo = RtpOut {
                    payload_type: OPUS,
                    timestamp: packet.timestamp,
                    marker: packet.marker,
                    payload: packet.payload,
                };
                self.send(1, &echo);
            }
            self.deliver();
            while let Some(packet) = self.pop(0) {
                bridge.handle_rtp(self.now, TELEGRAM, &packet);
                came_back += self.cross(&mut bridge);
            }
            bridge.handle_timeout(self.now);
            came_back += self.cross(&mut bridge);
        }
        came_back > 0
    }

    /// Takes the packets of the bridge to where they belong; returns how many were for the phone.
    fn cross(&mut self, bridge: &mut Bridge) -> usize {
        let mut to_phone = 0;
        loop {
            match bridge.poll_output() {
                BridgeOutput::Rtp { leg, packet } if leg == TELEGRAM => self.send(0, &packet),
                BridgeOutput::Rtp { .. } => to_phone += 1,
                BridgeOutput::Event(_) => {}
                BridgeOutput::Timeout(_) => return to_phone,
            }
        }
    }

    fn send(&mut self, from: usize, packet: &RtpOut) {
        let now = self.now;
        if let Some(end) = self.ends.get_mut(from) {
            end.transport.send(now, packet);
        }
        self.drain();
    }

    fn pop(&mut self, at: usize) -> Option<RtpIn> {
        self.ends.get_mut(at)?.heard.pop_front()
    }

    /// Delivers until nothing more is said.
    fn deliver(&mut self) {
        self.drain();
        while let Some((to, parcel)) = self.parcels.pop_front() {
            let now = self.now;
            if let Some(end) = self.ends.get_mut(to) {
                match parcel {
                    Parcel::Datagram(from, bytes) => {
                        end.transport.handle_datagram(now, from, &bytes);
                    }
                    Parcel::Signal(bytes) => end.transport.signal(now, &bytes),
                }
            }
            self.drain();
        }
    }

    fn drain(&mut self) {
        for (index, end) in self.ends.iter_mut().enumerate() {
            let other = 1 - index;
            loop {
                match end.transport.poll_output() {
                    TransportOutput::Transmit { bytes, .. }
                    | TransportOutput::TransmitRtcp { bytes, .. } => {
                        let parcel = Parcel::Datagram(end.address, bytes);
                        self.parcels.push_back((other, parcel));
                    }
                    TransportOutput::Rtp(packet) => end.heard.push_back(packet),
                    TransportOutput::Event(TransportEvent::Signal(bytes)) => {
                        self.parcels.push_back((other, Parcel::Signal(bytes)));
                    }
                    TransportOutput::Event(TransportEvent::Connected) => end.is_connected = true,
                    TransportOutput::Event(_) => {}
                    TransportOutput::Timeout(at) => {
                        end.deadline = at;
                        break;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_hear_each_other() {
        assert!(run());
    }
}
