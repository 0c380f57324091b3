//! Joins the legs of a call: brings each leg's audio to its peer in the codec, the frames and the time of the peer.
//!
//! ```text
//!  from \ to     Telegram leg                       SIP leg
//!  same codec    packets pass untouched, at once    the same; silence on our clock while nothing comes
//!  else          decode, encode, at once            jitter buffer, decode, encode on our clock
//! ```
//!
//! A tone or digits replace what the peer says. After every input poll until `Timeout`, then the next input.

mod leg;

use std::time::{Duration, Instant};

use model::{DtmfMethod, LegId, LegKind};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use thiserror::Error;

use crate::audio::LegAudio;
use crate::codec::{CodecError, pcm_rate};
use crate::outgoing::{Outbox, Outgoing};
use crate::playout::{Bounds, Playout};
use crate::relay::Relay;
use crate::tone::Tone;
use crate::transport::{RtpIn, RtpOut};

use self::leg::{Leg, Path};

/// More legs than any call has.
const MAX_LEGS: usize = 16;

/// How a [`Bridge`] behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BridgeConfig {
    /// The least time a packet for a SIP leg should come before it is played; grows with the network's jitter.
    pub margin: Duration,
    /// The most audio held for a SIP leg; 20 ms to 1 s are honoured.
    pub max_buffer: Duration,
}

impl Default for BridgeConfig {
    fn default() -> Self {
        Self {
            margin: Duration::from_millis(10),
            max_buffer: Duration::from_millis(500),
        }
    }
}

/// What a [`Bridge`] wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BridgeOutput {
    /// Give this packet to the leg's transport.
    Rtp {
        /// Which leg.
        leg: LegId,
        /// The packet.
        packet: RtpOut,
    },
    /// Something the call wants to know.
    Event(BridgeEvent),
    /// Nothing more now; call `handle_timeout` at this time.
    Timeout(Option<Instant>),
}

/// What happened on a leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BridgeEvent {
    /// The first audio came from this leg.
    FirstAudio {
        /// Which leg.
        leg: LegId,
    },
    /// A key was pressed; told once, when the press begins.
    Dtmf {
        /// Which leg.
        leg: LegId,
        /// `0-9`, `*`, `#`, `A-D`.
        digit: char,
        /// As an event or as a tone.
        method: DtmfMethod,
    },
}

/// The figures of one leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LegStats {
    /// Packets received, of any kind.
    pub received: u64,
    /// Packets of a payload type nobody agreed to, or too long.
    pub ignored: u64,
    /// Packets that did not come in time.
    pub lost: u64,
    /// Gaps they left: packets lost in a row are one.
    pub gaps: u64,
    /// Packets that came after their turn.
    pub late: u64,
    /// Packets that came twice.
    pub duplicate: u64,
    /// Packets dropped because too many waited.
    pub discarded: u64,
    /// Packets the decoder refused.
    pub broken: u64,
    /// Audio made up for missing packets.
    pub concealed: Duration,
    /// Audio taken out to shorten the delay.
    pub squeezed: Duration,
    /// Audio not sent to the leg because the process stood still.
    pub skipped: Duration,
    /// Packets sent to the leg.
    pub sent: u64,
    /// Packets sent to the leg that hold its peer's audio in another codec.
    pub transcoded: u64,
    /// Interarrival jitter.
    pub jitter: Duration,
    /// Audio of the leg that waits to be passed on.
    pub depth: Duration,
    /// When the first audio came.
    pub first_audio: Option<Instant>,
}

impl LegStats {
    /// Counts a gap of so many packets.
    pub(crate) fn lose(&mut self, missing: u64) {
        self.lost += missing;
        self.gaps += 1;
    }
}

/// Why a bridge refuses.
#[derive(Debug, Error)]
pub enum BridgeError {
    /// No such leg.
    #[error("leg {0} is not on the bridge")]
    UnknownLeg(LegId),
    /// A leg cannot talk to itself.
    #[error("leg {0} cannot be joined to itself")]
    SameLeg(LegId),
    /// Sixteen legs are there already.
    #[error("more than {MAX_LEGS} legs on one bridge")]
    TooManyLegs,
    /// A codec could not be made.
    #[error("no codec")]
    Codec(#[from] CodecError),
}

/// The media of one call.
#[derive(Debug)]
pub struct Bridge {
    config: BridgeConfig,
    legs: Vec<Leg>,
    outputs: Outbox,
    random: StdRng,
}

impl Bridge {
    /// Creates a bridge without legs.
    pub fn new(_now: Instant, config: BridgeConfig, seed: u64) -> Self {
        let max_buffer = config
            .max_buffer
            .clamp(Duration::from_millis(20), Duration::from_secs(1));
        let config = BridgeConfig {
            max_buffer,
            margin: config.margin.min(max_buffer),
        };
        Self {
            config,
            legs: Vec::with_capacity(2),
            outputs: Outbox::with_capacity(8),
            random: StdRng::seed_from_u64(seed),
        }
    }

    /// Adds a leg; one of the same name is replaced.
    pub fn add_leg(&mut self, now: Instant, id: LegId, audio: LegAudio) -> Result<(), BridgeError> {
        self.remove_leg(now, id);
        if self.legs.len() >= MAX_LEGS {
            return Err(BridgeError::TooManyLegs);
        }
        let first = self.random.random();
        self.legs
            .push(Leg::new(id, audio, Outgoing::new(id, audio, first)));
        Ok(())
    }

    /// Takes newly agreed audio of a leg; timestamps go on.
    pub fn set_audio(
        &mut self,
        now: Instant,
        id: LegId,
        audio: LegAudio,
    ) -> Result<(), BridgeError> {
        let leg = self.leg_mut(id).ok_or(BridgeError::UnknownLeg(id))?;
        let before = *leg.outgoing.audio();
        leg.set_audio(audio)?;
        let peer = leg.peer;
        if let Some(peer) =
            peer.filter(|_| (before.codec, before.kind) != (audio.codec, audio.kind))
        {
            self.join(now, id, peer)?;
        }
        Ok(())
    }

    /// Removes a leg; its peer is left alone.
    pub fn remove_leg(&mut self, now: Instant, id: LegId) {
        self.disconnect(now, id);
        self.legs.retain(|leg| leg.id != id);
    }

    /// Joins two legs both ways; tones end, other peers are left.
    pub fn connect(&mut self, now: Instant, a: LegId, b: LegId) -> Result<(), BridgeError> {
        if a == b {
            return Err(BridgeError::SameLeg(a));
        }
        for id in [a, b] {
            self.disconnect(now, id);
            self.leg_mut(id)
                .ok_or(BridgeError::UnknownLeg(id))?
                .outgoing
                .set_tone(None)?;
        }
        self.join(now, a, b)
    }

    /// Parts a leg from its peer.
    pub fn disconnect(&mut self, now: Instant, id: LegId) {
        let peer = self.leg_mut(id).and_then(|leg| leg.peer);
        for id in [Some(id), peer].into_iter().flatten() {
            if let Some(leg) = self.leg_mut(id) {
                leg.peer = None;
                leg.path = Path::None;
            }
            self.set_clock(now, id);
        }
    }

    /// Puts a leg on hold or takes it back: nothing is sent to it, but what it sends is passed on (music on hold).
    pub fn hold(&mut self, now: Instant, id: LegId, held: bool) {
        if let Some(leg) = self.leg_mut(id) {
            leg.outgoing.held = held;
        }
        self.set_clock(now, id);
    }

    /// Plays a tone to a leg in place of its peer, or stops it.
    pub fn tone(&mut self, now: Instant, id: LegId, tone: Option<Tone>) -> Result<(), BridgeError> {
        let leg = self.leg_mut(id).ok_or(BridgeError::UnknownLeg(id))?;
        leg.outgoing.set_tone(tone)?;
        self.set_clock(now, id);
        Ok(())
    }

    /// Presses keys towards a leg (RFC 4733); returns how many it will be sent, 0 if it does not know events.
    pub fn send_dtmf(&mut self, now: Instant, id: LegId, digits: &str) -> usize {
        let pressed = self.leg_mut(id).map_or(0, |leg| leg.outgoing.press(digits));
        if pressed > 0 {
            self.set_clock(now, id);
        }
        pressed
    }

    /// Presses keys towards a leg as tones in place of the voice; returns how many it will hear.
    pub fn send_tones(&mut self, now: Instant, id: LegId, digits: &str) -> usize {
        let pressed = self
            .leg_mut(id)
            .map_or(0, |leg| leg.outgoing.press_tones(digits));
        if pressed > 0 {
            self.set_clock(now, id);
        }
        pressed
    }

    /// Begins or ends to listen for tones of keys in the voice of a leg; a leg that sends events is not listened to.
    pub fn listen_for_tones(&mut self, id: LegId, on: bool) -> Result<(), BridgeError> {
        let leg = self.leg_mut(id).ok_or(BridgeError::UnknownLeg(id))?;
        Ok(leg.listen(on)?)
    }

    /// Takes one packet of a leg.
    pub fn handle_rtp(&mut self, now: Instant, id: LegId, packet: &RtpIn) {
        let Some((from, to)) = self.with_peer(id) else {
            return;
        };
        if let Some(to) = to {
            self.pass(now, from, to, packet);
        } else if let Some(from) = self.legs.get_mut(from) {
            from.receive(now, packet, &mut self.outputs);
        }
    }

    /// Takes the report of a leg that it lost so many of a hundred packets which it was sent: what is encoded for it prepares for the worst
    /// of 15 to 30 s. Returns for how many of a hundred, 0 to 25, when these are others than before and there is such an encoder.
    pub fn reported(&mut self, now: Instant, id: LegId, lost_percent: u8) -> Option<u8> {
        self.leg_mut(id)?.outgoing.reported(now, lost_percent)
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        for index in 0..self.legs.len() {
            let peer = self
                .legs
                .get(index)
                .and_then(|leg| leg.peer)
                .and_then(|peer| self.index(peer));
            let Some(peer) = peer else {
                if let Some(leg) = self.legs.get_mut(index) {
                    leg.tick_alone(now, &mut self.outputs);
                }
                continue;
            };
            if let Ok([leg, peer]) = self.legs.get_disjoint_mut([index, peer]) {
                leg.run_relay(now, peer, &mut self.outputs);
                leg.tick(now, peer, &mut self.outputs);
            }
        }
    }

    /// Returns the next output; [`BridgeOutput::Timeout`] when there is none left.
    pub fn poll_output(&mut self) -> BridgeOutput {
        self.outputs.pop_front().unwrap_or_else(|| {
            let next = self.legs.iter().filter_map(Leg::deadline).min();
            BridgeOutput::Timeout(next)
        })
    }

    /// Returns the figures of a leg.
    pub fn stats(&self, id: LegId) -> Option<LegStats> {
        self.legs.iter().find(|leg| leg.id == id).map(Leg::stats)
    }

    fn pass(&mut self, now: Instant, from: usize, to: usize, packet: &RtpIn) {
        if let Ok([from, to]) = self.legs.get_disjoint_mut([from, to])
            && let Some(kind) = from.receive(now, packet, &mut self.outputs)
        {
            from.pass(now, kind, packet, to, &mut self.outputs);
        }
    }

    /// Makes the paths between two legs.
    fn join(&mut self, now: Instant, a: LegId, b: LegId) -> Result<(), BridgeError> {
        for (from, to) in [(a, b), (b, a)] {
            let (from, to) = (self.require(from)?, self.require(to)?);
            let config = self.config;
            let Ok([from, to]) = self.legs.get_disjoint_mut([from, to]) else {
                continue;
            };
            from.path = path(&config, &from.audio, &to.audio)?;
            if from.audio.codec != to.audio.codec {
                to.outgoing
                    .prepare(pcm_rate(from.audio.codec, to.audio.codec))?;
            }
            from.peer = Some(to.id);
            from.is_phased = false;
            to.outgoing.timeline.forget_source();
        }
        self.set_clock(now, a);
        self.set_clock(now, b);
        Ok(())
    }

    /// Starts or stops the clock of what is sent to a leg.
    fn set_clock(&mut self, now: Instant, id: LegId) {
        let Some((index, peer)) = self.with_peer(id) else {
            return;
        };
        let Some(peer) = peer else {
            if let Some(leg) = self.legs.get_mut(index) {
                leg.set_clock(now, None);
            }
            return;
        };
        if let Ok([leg, peer]) = self.legs.get_disjoint_mut([index, peer]) {
            let playout = match &mut peer.path {
                Path::Playout(playout) => Some(playout.as_mut()),
                Path::None | Path::Relay(_) => None,
            };
            leg.set_clock(now, playout);
        }
    }

    fn with_peer(&self, id: LegId) -> Option<(usize, Option<usize>)> {
        let index = self.index(id)?;
        let peer = self.legs.get(index)?.peer.and_then(|peer| self.index(peer));
        Some((index, peer))
    }

    fn index(&self, id: LegId) -> Option<usize> {
        self.legs.iter().position(|leg| leg.id == id)
    }

    fn require(&self, id: LegId) -> Result<usize, BridgeError> {
        self.index(id).ok_or(BridgeError::UnknownLeg(id))
    }

    fn leg_mut(&mut self, id: LegId) -> Option<&mut Leg> {
        self.legs.iter_mut().find(|leg| leg.id == id)
    }
}

/// Chooses how audio goes from one leg to another.
fn path(config: &BridgeConfig, from: &LegAudio, to: &LegAudio) -> Result<Path, CodecError> {
    if from.codec == to.codec {
        return Ok(Path::Relay(Box::new(Relay::untouched(from.codec))));
    }
    let rate = pcm_rate(from.codec, to.codec);
    let bounds = Bounds {
        margin: config.margin,
        most: config.max_buffer,
    };
    Ok(match to.kind {
        LegKind::Telegram => Path::Relay(Box::new(Relay::transcoding(from.codec, rate)?)),
        LegKind::Sip => Path::Playout(Box::new(Playout::new(from.codec, rate, bounds)?)),
    })
}

#[cfg(test)]
mod tests;
