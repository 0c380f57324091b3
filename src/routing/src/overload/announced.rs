//! What neighbours are told that hold back by themselves (RFC 7339), and how their calls are counted then.

use super::Admitted;

/// The least that is still to come of what is asked for: whoever sends one call of a hundred tells too little of how many he has.
const LEAST_LEFT: f64 = 0.1;

/// A share of the new calls that neighbours have been asked not to send.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Announced {
    /// Which share may come, 0 to 1.
    left: f64,
}

impl Announced {
    /// Nobody is asked for anything.
    pub const NOTHING: Announced = Announced { left: 1.0 };

    /// Asks for what would have to be refused.
    pub fn of(admitted: Admitted) -> Self {
        Self {
            left: admitted.share.clamp(0.0, 1.0),
        }
    }

    /// What was asked for with this value of `oc`: of a hundred so many are not to be sent.
    pub fn told(percent: u8) -> Self {
        Self {
            left: 1.0 - f64::from(percent.min(100)) / 100.0,
        }
    }

    /// Of a hundred so many are not to be sent: the value of `oc`.
    pub fn percent(self) -> u8 {
        // A share that is not quite all must not be told as nothing, nor a small one as none.
        let percent = ((1.0 - self.left) * 100.0 - 1e-9).ceil();
        (0..=100_u8)
            .find(|it| f64::from(*it) >= percent)
            .unwrap_or(100)
    }

    /// For how many calls of their callers one stands that came all the same. Without this the load would seem to be over as soon as it is held back, and
    /// all would come again.
    fn stands_for(self) -> f64 {
        self.left.max(LEAST_LEFT).recip()
    }

    /// Which share of those that come all the same is let in: they have been thinned out already.
    pub fn share(self, admitted: Admitted) -> f64 {
        (admitted.share / self.left.max(LEAST_LEFT)).min(1.0)
    }
}

/// How many calls their callers meant to place, since this was asked last.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub struct Meant(f64);

impl Meant {
    /// One came, from somebody who was told this and holds back; from anybody else, nothing.
    pub fn count(&mut self, told: Option<Announced>) {
        self.0 += told.map_or(1.0, Announced::stands_for);
    }

    /// So many, and begins anew.
    pub fn take(&mut self) -> u64 {
        super::whole(std::mem::take(&mut self.0).round())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(share: f64) -> Admitted {
        Admitted {
            share,
            rate: Some(10.0),
        }
    }

    #[test]
    fn what_is_asked_for_is_what_would_be_refused() {
        let percent = |share| Announced::of(admitted(share)).percent();
        assert_eq!(Announced::of(Admitted::ALL).percent(), 0);
        assert_eq!(percent(0.75), 25);
        assert_eq!(percent(0.999), 1);
        assert_eq!(percent(0.0), 100);
        assert_eq!(percent(-1.0), 100);
        assert_eq!(percent(2.0), 0);
    }

    #[test]
    fn what_was_told_is_what_is_reckoned_with() {
        for percent in [0, 1, 25, 50, 99, 100] {
            assert_eq!(Announced::told(percent).percent(), percent);
        }
        assert_eq!(Announced::told(200).percent(), 100);
    }

    #[test]
    fn a_call_counts_for_as_many_as_its_caller_was_told_to_keep() {
        let mut meant = Meant::default();
        for told in [None, Some(Announced::told(75)), Some(Announced::told(0))] {
            meant.count(told);
        }
        assert_eq!((meant.take(), meant.take()), (6, 0));
    }

    #[test]
    fn who_holds_back_is_counted_as_if_he_did_not_and_is_not_thinned_out_twice() {
        let half = Announced::of(admitted(0.5));
        assert!((half.stands_for() - 2.0).abs() < 1e-9);
        assert!((half.share(admitted(0.5)) - 1.0).abs() < 1e-9);
        assert!((half.share(admitted(0.25)) - 0.5).abs() < 1e-9);
        assert!((half.share(admitted(1.0)) - 1.0).abs() < 1e-9);
        assert!((Announced::NOTHING.stands_for() - 1.0).abs() < 1e-9);
        assert!((Announced::NOTHING.share(admitted(0.25)) - 0.25).abs() < 1e-9);
        // Nobody is to send anything, and ten come.
        let none = Announced::of(admitted(0.0));
        assert!((none.stands_for() - 10.0).abs() < 1e-9);
        assert!(none.share(admitted(0.0)).abs() < 1e-9);
    }
}
