//! Source lock of symmetric RTP (RFC 4961, SEC-M1): from whom media is heard, and whom it is sent to.
//!
//! ```text
//!             5 in sequence                2 s silence, or the announced address itself speaks
//!  Open ------------------------> Locked <----------------------------------------------------> relock after 5
//!    ^------------ new offer/answer --|
//! ```
//!
//! The announced address is heard from its first packet; another port of the allowed address (a NAT) is heard once
//! five packets in sequence prove it while the announced address is silent, and gives way when that one speaks.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::address::Range;
use crate::rtp::RtpPacket;

/// Packets in sequence that make a lock.
const RUN: u8 = 5;
/// Silence after which another port of the allowed address may take over.
const RELOCK_AFTER: Duration = Duration::from_secs(2);

/// How far a source may differ from what SDP announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Latch {
    /// Only the announced address and port.
    Off,
    /// The announced address, any port once.
    Strict,
    /// As strict; a peer that announces a private address from a public one is heard from where it signals.
    #[default]
    Signalling,
    /// Any address, once. Whoever speaks first is believed.
    Any,
}

#[derive(Debug)]
pub(crate) struct SourceLock {
    latch: Latch,
    announced: SocketAddr,
    /// The one address media may come from; nothing means any.
    allowed: Option<IpAddr>,
    state: State,
    announced_heard: Option<Instant>,
    from_announced: Option<Run>,
    from_elsewhere: Option<Run>,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Open,
    Locked { source: SocketAddr, heard: Instant },
}

/// Packets in sequence of one stream from one source.
#[derive(Debug, Clone, Copy)]
struct Run {
    source: SocketAddr,
    ssrc: u32,
    next: u16,
    length: u8,
}

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// From the peer.
    Hear,
    /// From the peer, and from now on only from there.
    HearAndLock,
    /// Perhaps the peer; not yet proved.
    Wait,
    /// A stranger.
    Drop,
}

impl SourceLock {
    pub(crate) fn new(latch: Latch, announced: SocketAddr, signalling: IpAddr) -> Self {
        let allowed = match latch {
            Latch::Off | Latch::Strict => Some(announced.ip()),
            Latch::Signalling if hides_behind(announced.ip(), signalling) => Some(signalling),
            Latch::Signalling => Some(announced.ip()),
            Latch::Any => None,
        };
        let allowed = allowed.map(|ip| ip.to_canonical());
        Self {
            latch,
            announced,
            allowed,
            state: State::Open,
            announced_heard: None,
            from_announced: None,
            from_elsewhere: None,
        }
    }

    /// Returns the locked source.
    pub(crate) fn locked(&self) -> Option<SocketAddr> {
        match self.state {
            State::Open => None,
            State::Locked { source, .. } => Some(source),
        }
    }

    /// Returns whether RTCP from this address is the peer's.
    pub(crate) fn allows(&self, source: IpAddr) -> bool {
        let source = source.to_canonical();
        match (self.locked(), self.allowed) {
            (Some(locked), _) => locked.ip().to_canonical() == source,
            (None, Some(allowed)) => allowed == source,
            (None, None) => true,
        }
    }

    /// Judges a well-formed packet of a negotiated payload type.
    pub(crate) fn judge(
        &mut self,
        now: Instant,
        source: SocketAddr,
        packet: &RtpPacket<'_>,
    ) -> Verdict {
        if let State::Locked {
            source: locked,
            heard,
        } = &mut self.state
        {
            if *locked == source {
                *heard = now;
                return Verdict::Hear;
            }
            let silent = now.saturating_duration_since(*heard) >= RELOCK_AFTER;
            if !silent && source != self.announced {
                return Verdict::Drop;
            }
        }
        let announced = source == self.announced
            && self
                .allowed
                .is_none_or(|ip| ip == source.ip().to_canonical());
        if !announced {
            let stranger = self
                .allowed
                .is_some_and(|ip| ip != source.ip().to_canonical());
            if stranger || self.latch == Latch::Off {
                return Verdict::Drop;
            }
        }
        if announced {
            self.announced_heard = Some(now);
        } else if self
            .announced_heard
            .is_some_and(|heard| now.saturating_duration_since(heard) < RELOCK_AFTER)
        {
            return Verdict::Drop;
        }
        let run = if announced {
            &mut self.from_announced
        } else {
            &mut self.from_elsewhere
        };
        if !Run::grow(run, source, packet) {
            let speaks = announced && matches!(self.state, State::Open);
            return if speaks { Verdict::Hear } else { Verdict::Wait };
        }
        self.state = State::Locked { source, heard: now };
        (self.from_announced, self.from_elsewhere) = (None, None);
        Verdict::HearAndLock
    }
}

impl Run {
    /// Takes the next packet; returns whether the run is long enough to lock.
    fn grow(run: &mut Option<Run>, source: SocketAddr, packet: &RtpPacket<'_>) -> bool {
        let next = packet.sequence.wrapping_add(1);
        match run {
            Some(run)
                if run.source == source
                    && run.ssrc == packet.ssrc
                    && run.next == packet.sequence =>
            {
                run.length += 1;
                run.next = next;
                run.length >= RUN
            }
            run => {
                *run = Some(Run {
                    source,
                    ssrc: packet.ssrc,
                    next,
                    length: 1,
                });
                false
            }
        }
    }
}

/// Whether SDP announces an address that only makes sense behind the peer's NAT.
fn hides_behind(announced: IpAddr, signalling: IpAddr) -> bool {
    Range::of(announced) != Range::Public && Range::of(signalling) == Range::Public
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANNOUNCED: &str = "198.51.100.1:4000";

    struct Bench {
        lock: SourceLock,
        now: Instant,
    }

    impl Bench {
        fn new(latch: Latch, announced: &str, signalling: &str) -> Self {
            let lock = SourceLock::new(
                latch,
                announced.parse().unwrap(),
                signalling.parse().unwrap(),
            );
            Self {
                lock,
                now: crate::tests::start(),
            }
        }

        fn packet(&mut self, source: &str, ssrc: u32, sequence: u16) -> Verdict {
            let packet = RtpPacket {
                payload_type: 8,
                sequence,
                timestamp: 0,
                ssrc,
                marker: false,
                payload: &[],
            };
            self.lock.judge(self.now, source.parse().unwrap(), &packet)
        }

        fn run(&mut self, source: &str, ssrc: u32) -> Vec<Verdict> {
            (0..5)
                .map(|sequence| self.packet(source, ssrc, sequence))
                .collect()
        }
    }

    #[test]
    fn the_announced_address_is_heard_at_once_and_locked_after_five() {
        let mut bench = Bench::new(Latch::Signalling, ANNOUNCED, "198.51.100.1");
        let verdicts = bench.run(ANNOUNCED, 1);
        assert_eq!(
            verdicts,
            [[Verdict::Hear; 4].as_slice(), &[Verdict::HearAndLock]].concat()
        );
        assert_eq!(bench.lock.locked(), ANNOUNCED.parse().ok());
    }

    #[test]
    fn another_port_is_heard_once_proved_and_gives_way_to_the_announced_one() {
        let mut bench = Bench::new(Latch::Signalling, ANNOUNCED, "198.51.100.1");
        let verdicts = bench.run("198.51.100.1:5555", 1);
        assert_eq!(
            verdicts,
            [[Verdict::Wait; 4].as_slice(), &[Verdict::HearAndLock]].concat()
        );
        assert_eq!(bench.packet("198.51.100.1:6666", 3, 1), Verdict::Drop);
        assert_eq!(bench.run(ANNOUNCED, 2).last(), Some(&Verdict::HearAndLock));
        assert_eq!(bench.packet("198.51.100.1:5555", 1, 6), Verdict::Drop);
    }

    #[test]
    fn another_port_has_no_say_while_the_announced_one_speaks() {
        let mut bench = Bench::new(Latch::Signalling, ANNOUNCED, "198.51.100.1");
        bench.packet(ANNOUNCED, 1, 1);
        assert_eq!(bench.run("198.51.100.1:5555", 1), [Verdict::Drop; 5]);
    }

    #[test]
    fn strangers_are_dropped_before_during_and_after() {
        let mut bench = Bench::new(Latch::Signalling, ANNOUNCED, "198.51.100.1");
        assert_eq!(bench.run("203.0.113.66:4000", 1), [Verdict::Drop; 5]);
        bench.run(ANNOUNCED, 1);
        assert_eq!(bench.run("203.0.113.66:4000", 1), [Verdict::Drop; 5]);
        bench.now += Duration::from_secs(60);
        assert_eq!(bench.run("203.0.113.66:4000", 1), [Verdict::Drop; 5]);
    }

    #[test]
    fn a_changed_port_takes_over_after_two_seconds_of_silence() {
        let mut bench = Bench::new(Latch::Signalling, ANNOUNCED, "198.51.100.1");
        bench.run(ANNOUNCED, 1);
        bench.now += Duration::from_millis(1999);
        assert_eq!(bench.run("198.51.100.1:5555", 1), [Verdict::Drop; 5]);
        bench.now += Duration::from_millis(1);
        assert_eq!(
            bench.run("198.51.100.1:5555", 1).last(),
            Some(&Verdict::HearAndLock)
        );
    }

    #[test]
    fn a_private_announcement_from_a_public_peer_is_heard_from_where_it_signals() {
        let mut bench = Bench::new(Latch::Signalling, "192.168.1.5:4000", "203.0.113.9");
        assert_eq!(bench.run("192.168.1.5:4000", 1), [Verdict::Drop; 5]);
        assert_eq!(
            bench.run("203.0.113.9:31000", 1).last(),
            Some(&Verdict::HearAndLock)
        );
        let mut strict = Bench::new(Latch::Strict, "192.168.1.5:4000", "203.0.113.9");
        assert_eq!(strict.run("203.0.113.9:31000", 1), [Verdict::Drop; 5]);
    }

    #[test]
    fn a_lock_needs_one_stream_in_sequence() {
        let mut bench = Bench::new(Latch::Signalling, ANNOUNCED, "198.51.100.1");
        for sequence in 0..50_u16 {
            let verdict = bench.packet("198.51.100.1:5555", u32::from(sequence % 2), sequence);
            assert_eq!(verdict, Verdict::Wait);
            assert_eq!(
                bench.packet("198.51.100.1:5556", 9, sequence * 7),
                Verdict::Wait
            );
        }
        assert_eq!(bench.lock.locked(), None);
    }

    #[test]
    fn without_a_latch_only_the_announced_port_counts() {
        let mut bench = Bench::new(Latch::Off, ANNOUNCED, "198.51.100.1");
        assert_eq!(bench.run("198.51.100.1:5555", 1), [Verdict::Drop; 5]);
        assert_eq!(bench.run(ANNOUNCED, 1).last(), Some(&Verdict::HearAndLock));
    }
}
