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

    /// Of a hundred so many are not to be sent: the value of `oc`.
    pub fn percent(self) -> u8 {
        // A share that is not quite all must not be told as nothing, nor a small one as none.
        let percent = ((1.0 - self.left) * 100.0).ceil();
        (0..=100_u8)
            .find(|it| f64::from(*it) >= percent)
            .unwrap_or(100)
    }

    /// For how many calls of their callers those stand that came all the same. Without this the load would seem to be over as soon as it is held back, and
    /// all would come again.
    pub fn meant(self, came: u64) -> u64 {
        super::whole(came as f64 / self.left.max(LEAST_LEFT))
    }

    /// Which share of those that come all the same is let in: they have been thinned out already.
    pub fn share(self, admitted: Admitted) -> f64 {
        (admitted.share / self.left.max(LEAST_LEFT)).min(1.0)
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
    fn who_holds_back_is_counted_as_if_he_did_not_and_is_not_thinned_out_twice() {
        let half = Announced::of(admitted(0.5));
        assert_eq!(half.meant(100), 200);
        assert!((half.share(admitted(0.5)) - 1.0).abs() < 1e-9);
        assert!((half.share(admitted(0.25)) - 0.5).abs() < 1e-9);
        assert!((half.share(admitted(1.0)) - 1.0).abs() < 1e-9);
        assert_eq!(Announced::NOTHING.meant(100), 100);
        assert!((Announced::NOTHING.share(admitted(0.25)) - 0.25).abs() < 1e-9);
        // Nobody is to send anything, and ten come.
        let none = Announced::of(admitted(0.0));
        assert_eq!(none.meant(10), 100);
        assert!(none.share(admitted(0.0)).abs() < 1e-9);
    }
}
