//! Logins and passwords that nobody guesses (product 2.4: they are made here, not chosen).

use rand::Rng;

/// Without those that are mistaken for one another when they are typed over: 0 o, 1 l i.
const LETTERS: &[u8] = b"abcdefghjkmnpqrstuvwxyz";
const SMALL: &[u8] = b"abcdefghjkmnpqrstuvwxyz23456789";
const ALL: &[u8] = b"abcdefghjkmnpqrstuvwxyzABCDEFGHJKMNPQRSTUVWXYZ23456789";

/// Returns a login: 10 characters, the first a letter.
pub(crate) fn login() -> String {
    let first = random(LETTERS, 1);
    first + &random(SMALL, 9)
}

/// Returns a password: 24 characters, 138 bits.
pub(crate) fn password() -> String {
    random(ALL, 24)
}

fn random(alphabet: &[u8], length: usize) -> String {
    let mut rng = rand::rng();
    let one = |_| {
        alphabet
            .get(rng.random_range(0..alphabet.len()))
            .map_or('x', |byte| char::from(*byte))
    };
    (0..length).map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_and_passwords_are_long_enough_and_never_twice_the_same() {
        let (first, second) = (login(), login());
        assert_eq!(first.len(), 10);
        assert_ne!(first, second);
        assert!(password().len() >= 20);
        assert_ne!(password(), password());
    }
}
