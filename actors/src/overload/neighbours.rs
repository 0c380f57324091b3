//! Who was told to hold back (RFC 7339), and what.
//!
//! An offer in a Via is a word, and costs nothing. What is not thinned out a second time is only what comes from an address that is known to the gate, and that a
//! response has asked for fewer calls of late: whoever was never told has not held back, nor has he whose report has run out.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Instant;

use routing::Announced;
use sip::oc;

/// Neighbours that are remembered at a time: more are treated as anybody.
const MOST: usize = 4_096;

/// What neighbours were told last. By address without the port: who calls by TCP has another one with each connection.
#[derive(Debug, Default)]
pub(super) struct Neighbours {
    told: HashMap<IpAddr, (Announced, Instant)>,
}

impl Neighbours {
    /// He is told this with a response: of a hundred new calls so many are not to be sent.
    pub(super) fn tell(&mut self, now: Instant, neighbour: IpAddr, percent: u8) {
        if percent == 0 {
            self.told.remove(&neighbour);
            return;
        }
        if self.told.len() >= MOST && !self.told.contains_key(&neighbour) {
            self.told.retain(|_, (_, at)| is_valid(now, *at));
            if self.told.len() >= MOST {
                return;
            }
        }
        self.told.insert(neighbour, (Announced::told(percent), now));
    }

    /// What he holds back by now; nothing where that is as much as anybody does.
    pub(super) fn told(&self, now: Instant, neighbour: IpAddr) -> Option<Announced> {
        let (announced, at) = self.told.get(&neighbour)?;
        is_valid(now, *at).then_some(*announced)
    }
}

fn is_valid(now: Instant, told: Instant) -> bool {
    now.saturating_duration_since(told) < oc::USUAL_VALIDITY
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u32) -> IpAddr {
        IpAddr::V4(number.into())
    }

    #[test]
    fn what_was_told_holds_for_its_validity_or_until_it_is_over() {
        let now = Instant::now();
        let mut neighbours = Neighbours::default();
        assert_eq!(neighbours.told(now, address(1)), None);
        neighbours.tell(now, address(1), 30);
        neighbours.tell(now, address(1), 40);
        let told = |neighbours: &Neighbours, at, number| {
            let told = neighbours.told(at, address(number));
            told.map(Announced::percent)
        };
        assert_eq!(told(&neighbours, now, 1), Some(40));
        assert_eq!(told(&neighbours, now, 2), None);
        assert_eq!(told(&neighbours, now + oc::USUAL_VALIDITY, 1), None);
        neighbours.tell(now, address(1), 0);
        assert_eq!(told(&neighbours, now, 1), None);
    }

    #[test]
    fn they_are_bounded() {
        let now = Instant::now();
        let mut neighbours = Neighbours::default();
        for number in 0..5_000 {
            neighbours.tell(now, address(number), 50);
        }
        assert_eq!(neighbours.told.len(), MOST);
        let later = now + oc::USUAL_VALIDITY;
        neighbours.tell(later, address(9_999), 50);
        assert_eq!(neighbours.told.len(), 1, "those of before have run out");
    }
}
