//! Where media goes between an ICE restart of the peer and the next pair that ICE selects.
//!
//! Media goes on by the pair of before (RFC 8445 section 9, RFC 8839 section 4.4.1.1.1), but a peer that came to another network has no socket there any more,
//! and a controlled agent waits for the peer to nominate another pair, with libwebrtc for up to 2.5 s. Until then media may go by any pair on which
//! a check has succeeded (RFC 8445 section 12.1), so it goes by the first that proves itself. An agent that controls selects it at that moment anyway.

use std::collections::VecDeque;
use std::net::SocketAddr;

/// An address of ours, and one of the peer's.
pub(super) type Pair = (SocketAddr, SocketAddr);

/// The number of a STUN transaction (RFC 8489 section 5).
pub(super) type TransactionId = [u8; 12];

/// Checks that are remembered: of more than are under way at a time.
const MOST_CHECKS: usize = 256;

/// What is between the pair that ICE selected and the packets.
#[derive(Debug, Default)]
pub(super) struct Detour {
    /// Where ICE wanted the last packet to go.
    wanted: Option<Pair>,
    state: State,
    /// Our checks since the peer restarted, and where they went.
    checks: VecDeque<(TransactionId, Pair)>,
}

#[derive(Debug, Default)]
enum State {
    /// Packets go where ICE wants.
    #[default]
    Selected,
    /// The peer has restarted ICE, and no check has succeeded since.
    Restarted {
        /// The pair of before.
        old: Pair,
    },
    /// One has.
    Valid {
        /// The pair of before, which ICE goes on to want.
        old: Pair,
        /// Where packets go instead.
        valid: Pair,
    },
}

impl Detour {
    /// The peer has restarted ICE.
    pub(super) fn restart(&mut self) {
        if let Some(old) = self.wanted {
            self.state = State::Restarted { old };
            self.checks.clear();
        }
    }

    /// A check of ours goes out on this pair.
    pub(super) fn checks(&mut self, id: TransactionId, pair: Pair) {
        match self.state {
            State::Selected => self.checks.clear(),
            State::Restarted { .. } | State::Valid { .. } => {
                if self.checks.len() >= MOST_CHECKS {
                    self.checks.pop_front();
                }
                self.checks.push_back((id, pair));
            }
        }
    }

    /// A check of ours with this number has succeeded, on this pair: only where it went (RFC 8445 section 7.2.5.2.1), or it proves nothing.
    pub(super) fn succeeded(&mut self, id: TransactionId, pair: Pair) {
        if !self.checks.contains(&(id, pair)) {
            return;
        }
        self.state = match self.state {
            State::Selected => State::Selected,
            // The peer is where it was.
            State::Restarted { old } | State::Valid { old, .. } if old == pair => State::Selected,
            State::Restarted { old } => State::Valid { old, valid: pair },
            State::Valid { old, valid } => State::Valid { old, valid },
        };
    }

    /// Returns where a packet goes that ICE wants to go there.
    pub(super) fn way(&mut self, wanted: Pair) -> Pair {
        self.wanted = Some(wanted);
        match self.state {
            State::Selected => wanted,
            State::Restarted { old } if old == wanted => wanted,
            State::Valid { old, valid } if old == wanted => valid,
            // Another pair is selected.
            State::Restarted { .. } | State::Valid { .. } => {
                self.state = State::Selected;
                wanted
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(port: u16) -> Pair {
        let address = |host, port| SocketAddr::from(([192, 0, 2, host], port));
        (address(1, 5000), address(2, port))
    }

    /// We check a pair, and that is answered.
    fn succeeds(detour: &mut Detour, port: u16) {
        let id = [u8::try_from(port).unwrap(); 12];
        detour.checks(id, pair(port));
        detour.succeeded(id, pair(port));
    }

    #[test]
    fn an_answer_from_elsewhere_proves_nothing() {
        let mut detour = Detour::default();
        detour.way(pair(1));
        detour.checks([2; 12], pair(2));
        detour.restart();
        detour.succeeded([2; 12], pair(2));
        assert_eq!(detour.way(pair(1)), pair(1), "it was of before");
        detour.checks([3; 12], pair(3));
        detour.succeeded([3; 12], pair(4));
        detour.succeeded([4; 12], pair(3));
        assert_eq!(detour.way(pair(1)), pair(1));
        detour.succeeded([3; 12], pair(3));
        assert_eq!(detour.way(pair(1)), pair(3));
        for id in 0..=u8::MAX {
            detour.checks([id; 12], pair(5));
            detour.checks([id; 12], pair(6));
        }
        assert_eq!(detour.checks.len(), MOST_CHECKS);
    }

    #[test]
    fn packets_go_where_ice_wants_until_the_peer_restarts() {
        let mut detour = Detour::default();
        detour.restart();
        succeeds(&mut detour, 7);
        assert_eq!(detour.way(pair(1)), pair(1), "nothing was selected before");
        succeeds(&mut detour, 7);
        assert_eq!(detour.way(pair(1)), pair(1));
        assert_eq!(detour.way(pair(2)), pair(2));
    }

    #[test]
    fn after_a_restart_they_go_on_as_before_then_by_the_first_valid_pair_then_by_the_next_selected()
    {
        let mut detour = Detour::default();
        detour.way(pair(1));
        detour.restart();
        assert_eq!(detour.way(pair(1)), pair(1));
        succeeds(&mut detour, 2);
        succeeds(&mut detour, 3);
        assert_eq!(detour.way(pair(1)), pair(2));
        // Once more, before anything was selected.
        detour.restart();
        assert_eq!(detour.way(pair(1)), pair(1));
        succeeds(&mut detour, 4);
        assert_eq!(detour.way(pair(1)), pair(4));
        assert_eq!(detour.way(pair(5)), pair(5));
        assert_eq!(detour.way(pair(1)), pair(1), "it may be selected again");
    }

    #[test]
    fn a_peer_that_is_where_it_was_is_not_left() {
        let mut detour = Detour::default();
        detour.way(pair(1));
        detour.restart();
        succeeds(&mut detour, 2);
        succeeds(&mut detour, 1);
        assert_eq!(detour.way(pair(1)), pair(1));
        succeeds(&mut detour, 2);
        assert_eq!(detour.way(pair(1)), pair(1));
    }
}
