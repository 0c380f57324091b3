//! What was agreed about the audio of one leg.

use std::time::Duration;

use model::{Codec, LegKind, PayloadTypes};

/// The shortest packet sent.
const MIN_PTIME: Duration = Duration::from_millis(10);
/// The longest packet sent.
const MAX_PTIME: Duration = Duration::from_millis(60);

/// The static payload type of comfort noise, with a clock of 8000 (RFC 3389); some send it without having offered it.
const COMFORT_NOISE: u8 = 13;

/// What a packet holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PayloadKind {
    /// The codec's audio.
    Audio,
    /// A keypad digit (RFC 4733).
    Event,
    /// Nobody speaks: there is nothing to play.
    ComfortNoise,
}

/// The audio of one leg, as offer and answer or the Telegram negotiation agreed it; but for `received` the same both ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LegAudio {
    /// The codec.
    pub codec: Codec,
    /// Its payload type, 0-127.
    pub payload_type: u8,
    /// The payload type of telephone-event, if agreed (RFC 4733).
    pub dtmf_payload_type: Option<u8>,
    /// What the peer sends with, where it has other payload types than it receives (RFC 3264 5.1).
    pub received: Option<PayloadTypes>,
    /// The clock of telephone-event in Hz.
    pub dtmf_clock: u32,
    /// How much audio one sent packet holds; 10-60 ms are honoured.
    pub send_ptime: Duration,
    /// Which network the leg is on: a SIP leg gets a steady stream from our clock, a Telegram leg what there is, at once.
    pub kind: LegKind,
}

impl LegAudio {
    /// Returns what one packet holds: a length every codec can send, whatever SDP wished.
    pub fn frame(&self) -> Duration {
        let wished = self.send_ptime.clamp(MIN_PTIME, MAX_PTIME);
        let tens = Duration::from_millis((wished.as_millis() / 10 * 10).min(60) as u64);
        match (self.codec, tens.as_millis()) {
            // RFC 6716 s.2.1.4: frames of 10, 20, 40, 60 ms.
            (Codec::Opus, 30) => Duration::from_millis(20),
            (Codec::Opus, 50) => Duration::from_millis(40),
            // 20 ms would be 1920 octets, more than a packet of the Ethernet holds.
            (Codec::L16, _) => MIN_PTIME,
            _ => tens,
        }
    }

    /// Returns whether a packet of this type belongs to the leg.
    pub(crate) fn accepts(&self, payload_type: u8) -> bool {
        self.kind_of(payload_type).is_some()
    }

    /// Returns whether a packet of this type holds the codec's audio.
    pub(crate) fn speaks(&self, payload_type: u8) -> bool {
        self.kind_of(payload_type) == Some(PayloadKind::Audio)
    }

    /// Returns what a packet of this type holds, if it belongs to the leg.
    pub(crate) fn kind_of(&self, payload_type: u8) -> Option<PayloadKind> {
        let agreed = PayloadTypes {
            audio: self.payload_type,
            event: self.dtmf_payload_type,
        };
        // There are phones that send with what they receive, whatever they were offered.
        let known = self.received.into_iter().chain([agreed]);
        let kinds = known.flat_map(|types| {
            let event = types.event.map(|event| (event, PayloadKind::Event));
            [Some((types.audio, PayloadKind::Audio)), event]
        });
        let mut kinds = kinds.flatten();
        if let Some((_, kind)) = kinds.find(|(known, _)| *known == payload_type) {
            Some(kind)
        } else if payload_type == COMFORT_NOISE && self.codec.clock_rate() == 8000 {
            Some(PayloadKind::ComfortNoise)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comfort_noise_belongs_to_every_codec_of_its_clock() {
        for (codec, payload_type, dtmf, expected) in [
            (Codec::Alaw, 8, None, Some(PayloadKind::ComfortNoise)),
            (Codec::G722, 9, Some(101), Some(PayloadKind::ComfortNoise)),
            (Codec::Opus, 107, Some(101), None),
            (Codec::L16, 108, None, None),
            (Codec::Alaw, 8, Some(13), Some(PayloadKind::Event)),
            (Codec::Opus, 13, None, Some(PayloadKind::Audio)),
        ] {
            let audio = LegAudio {
                codec,
                payload_type,
                dtmf_payload_type: dtmf,
                received: None,
                dtmf_clock: 8000,
                send_ptime: Duration::from_millis(20),
                kind: LegKind::Sip,
            };
            assert_eq!(audio.kind_of(13), expected, "{codec}");
            assert_eq!(audio.kind_of(77), None);
        }
    }

    #[test]
    fn a_peer_may_send_with_what_we_offered_or_with_what_it_receives() {
        let audio = LegAudio {
            codec: Codec::Opus,
            payload_type: 96,
            dtmf_payload_type: Some(107),
            received: Some(PayloadTypes {
                audio: 107,
                event: Some(110),
            }),
            dtmf_clock: 48_000,
            send_ptime: Duration::from_millis(20),
            kind: LegKind::Sip,
        };
        for (payload_type, kind) in [
            (107, Some(PayloadKind::Audio)),
            (110, Some(PayloadKind::Event)),
            (96, Some(PayloadKind::Audio)),
            (97, None),
        ] {
            assert_eq!(audio.kind_of(payload_type), kind, "{payload_type}");
        }
    }

    #[test]
    fn any_wished_packet_time_becomes_one_the_codec_can_send() {
        for (codec, wished, frame) in [
            (Codec::Alaw, 20, 20),
            (Codec::Alaw, 0, 10),
            (Codec::Alaw, 35, 30),
            (Codec::Alaw, 4_000_000, 60),
            (Codec::Opus, 30, 20),
            (Codec::Opus, 50, 40),
            (Codec::Opus, 60, 60),
            (Codec::G722, 50, 50),
            (Codec::L16, 20, 10),
        ] {
            let audio = LegAudio {
                codec,
                payload_type: 8,
                dtmf_payload_type: None,
                received: None,
                dtmf_clock: 8000,
                send_ptime: Duration::from_millis(wished),
                kind: LegKind::Sip,
            };
            assert_eq!(
                audio.frame(),
                Duration::from_millis(frame),
                "{codec:?} {wished}"
            );
        }
    }
}
