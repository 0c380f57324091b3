//! The key agreement of a call (telegram-calls 3): Diffie-Hellman in a group the server names and we check.
//!
//! Does not decide when values are sent; the caller's commitment to `g_a` is checked in [`crate::call`].

use std::sync::Arc;

use grammers_tl_types as tl;
use num_bigint::BigUint;
use rand::RngCore;
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, Zeroizing};

use crate::crypt::CallKey;
use crate::modular::{BYTES, FixedBase, Modulus};

/// Public values stay this far, as a power of two, from both ends of the group.
const MARGIN_BITS: u32 = 1984;
/// Rounds of Miller-Rabin: a composite passes with a probability below 2^-80 for numbers of this size.
const ROUNDS: usize = 32;

/// The prime Telegram has used from the start, in hex; its primality needs no test.
pub const KNOWN_PRIME: &str = "c71caeb9c6b1c9048e6c522f70f13f73980d40238e3e21c14934d037563d930f\
                           48198a0aa7c14058229493d22530f4dbfa336f6e0ac925139543aed44cce7c37\
                           20fd51f69458705ac68cd4fe6b6b13abdc9746512969328454f18faf8c595f64\
                           2477fe96bb2a941d5bcd1d4ac8cc49880708fa9b378e3c4f3a9060bee67cf9a4\
                           a4a695811051907e162753b56b0f6b410dba74d8a84b2a14b3144e0ef1284754\
                           fd17ed950d5965b4b9dd46582db1178d169c6bc465b0d6ff9ca3928fef5b9ae4\
                           e418fc15e83ebea0f87fa9ff5eed70050ded2849f47bf959d956850ce929851f\
                           0d8115f635b105ee2e4e15d04b2454bf6f4fadf034b10403119cd8e3b92fcc5b";

/// Why a key agreement is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DhError {
    /// The prime has not exactly 2048 bits.
    #[error("the prime of the key agreement has {0} bits, expected 2048")]
    Size(u64),
    /// The prime, or half of it, is composite.
    #[error("the prime of the key agreement is no safe prime")]
    NotSafePrime,
    /// The generator does not generate the group of prime order.
    #[error("{0} does not generate the group of the key agreement")]
    Generator(i32),
    /// A public value too close to an end of the group.
    #[error("a public value of the key agreement is out of range")]
    OutOfRange,
    /// Telegram says that its parameters are those we know, and we know none.
    #[error("the parameters of the key agreement are missing")]
    Missing,
}

/// Checked parameters of the key agreement; worth keeping, the check of an unknown prime takes about a second. Cheap to clone.
#[derive(Clone)]
pub struct DhConfig {
    group: Arc<Group>,
    version: i32,
}

/// A generator and its prime, prepared for powers.
struct Group {
    g: u32,
    p: BigUint,
    powers: FixedBase,
}

impl PartialEq for DhConfig {
    fn eq(&self, other: &Self) -> bool {
        let (ours, theirs) = (&self.group, &other.group);
        ours.g == theirs.g && ours.p == theirs.p && self.version == other.version
    }
}

impl Eq for DhConfig {}

impl std::fmt::Debug for DhConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "DhConfig(g = {}, version {})",
            self.group.g, self.version
        )
    }
}

impl DhConfig {
    /// Checks what `messages.getDhConfig` returned. `rng` chooses the witnesses of the primality test.
    pub fn check(g: i32, p: &[u8], version: i32, rng: &mut impl RngCore) -> Result<Self, DhError> {
        let p = BigUint::from_bytes_be(p);
        if p.bits() != 2048 {
            return Err(DhError::Size(p.bits()));
        }
        if !generates(g, &p) {
            return Err(DhError::Generator(g));
        }
        let known = BigUint::parse_bytes(KNOWN_PRIME.as_bytes(), 16);
        if known.as_ref() != Some(&p) && !is_safe_prime(&p, rng) {
            return Err(DhError::NotSafePrime);
        }
        let g = u32::try_from(g).map_err(|_| DhError::Generator(g))?;
        let modulus = Modulus::new(&p).ok_or(DhError::NotSafePrime)?;
        let powers = FixedBase::new(modulus, g);
        let group = Arc::new(Group { g, p, powers });
        Ok(DhConfig { group, version })
    }

    /// Takes what `messages.getDhConfig` returned, given the parameters `known` that were named in the request: the parameters to use,
    /// and the server's random bytes for one call.
    pub fn received(
        reported: tl::enums::messages::DhConfig,
        known: Option<&DhConfig>,
        rng: &mut impl RngCore,
    ) -> Result<(Self, Vec<u8>), DhError> {
        match reported {
            tl::enums::messages::DhConfig::Config(new) => {
                let config = DhConfig::check(new.g, &new.p, new.version, rng)?;
                Ok((config, new.random))
            }
            tl::enums::messages::DhConfig::NotModified(same) => match known {
                Some(config) => Ok((config.clone(), same.random)),
                None => Err(DhError::Missing),
            },
        }
    }

    /// Returns Telegram's number for these parameters, to be named in the next request.
    pub fn version(&self) -> i32 {
        self.version
    }

    /// Draws our half. `rng` is seeded by the operating system; `server_random` is mixed in.
    ///
    /// It draws again until the public value fills all 256 bytes, so that clients which strip leading zeros and
    /// clients which do not show the same emoji.
    pub fn draw(&self, server_random: &[u8], rng: &mut impl RngCore) -> Half {
        loop {
            let mut exponent = Box::new(Zeroizing::new([0u8; BYTES]));
            rng.fill_bytes(exponent.as_mut_slice());
            for (ours, theirs) in exponent.iter_mut().zip(server_random) {
                *ours ^= theirs;
            }
            let public = Box::new(self.group.powers.power(&exponent));
            let value = BigUint::from_bytes_be(public.as_slice());
            if value.bits() > 2040 && self.in_range(&value) {
                return Half { exponent, public };
            }
        }
    }

    /// Returns whether a received public value is one a peer may send.
    pub(crate) fn accepts(&self, theirs: &[u8]) -> bool {
        theirs.len() <= BYTES && self.in_range(&BigUint::from_bytes_be(theirs))
    }

    fn in_range(&self, value: &BigUint) -> bool {
        let margin = BigUint::from(1u8) << MARGIN_BITS;
        *value >= margin && *value <= &self.group.p - &margin
    }
}

/// Our half of one key agreement: the secret exponent, wiped when dropped, and the value the peer may see.
pub struct Half {
    exponent: Box<Zeroizing<[u8; BYTES]>>,
    public: Box<[u8; BYTES]>,
}

impl Half {
    /// Returns `g_a` or `g_b`, 256 bytes, big-endian.
    pub fn public(&self) -> &[u8] {
        self.public.as_slice()
    }

    /// Returns `g_a_hash`, by which the caller commits itself before it sees `g_b`.
    pub fn commitment(&self) -> [u8; 32] {
        commitment(self.public())
    }

    /// Returns the call key, given the peer's public value.
    pub fn agree(&self, config: &DhConfig, theirs: &[u8]) -> Result<CallKey, DhError> {
        if !config.accepts(theirs) {
            return Err(DhError::OutOfRange);
        }
        let modulus = config.group.powers.modulus();
        let mut bytes = modulus.power(&padded(theirs), &self.exponent);
        let key = CallKey::new(&bytes);
        bytes.zeroize();
        Ok(key)
    }
}

impl std::fmt::Debug for Half {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Half(***)")
    }
}

/// Returns SHA-256 of a public value exactly as it was on the wire.
pub fn commitment(public: &[u8]) -> [u8; 32] {
    Sha256::digest(public).into()
}

/// Big-endian, with zeros on the left; of more octets the last.
fn padded(value: &[u8]) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    for (to, from) in bytes.iter_mut().rev().zip(value.iter().rev()) {
        *to = *from;
    }
    bytes
}

/// Whether `g` generates the subgroup of order (p-1)/2, by the law of quadratic reciprocity.
fn generates(g: i32, p: &BigUint) -> bool {
    let modulo = |n: u32| (p % n).iter_u32_digits().next().unwrap_or(0);
    match g {
        2 => modulo(8) == 7,
        3 => modulo(3) == 2,
        4 => true,
        5 => matches!(modulo(5), 1 | 4),
        6 => matches!(modulo(24), 19 | 23),
        7 => matches!(modulo(7), 3 | 5 | 6),
        _ => false,
    }
}

fn is_safe_prime(p: &BigUint, rng: &mut impl RngCore) -> bool {
    let half = p >> 1u8;
    // The cheap refusals first: nearly every composite falls to the first witness.
    is_odd_and_not_small(p)
        && is_odd_and_not_small(&half)
        && is_probable_prime(p, 1, rng)
        && is_probable_prime(&half, ROUNDS, rng)
        && is_probable_prime(p, ROUNDS, rng)
}

fn is_odd_and_not_small(n: &BigUint) -> bool {
    const SMALL: [u32; 12] = [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37];
    SMALL.iter().all(|prime| n % *prime != BigUint::ZERO)
}

/// Miller-Rabin with random witnesses; `n` is odd and above 37.
fn is_probable_prime(n: &BigUint, rounds: usize, rng: &mut impl RngCore) -> bool {
    let one = BigUint::from(1u8);
    let last = n - &one;
    let twos = last.trailing_zeros().unwrap_or(0);
    let odd = &last >> twos;
    'witness: for _ in 0..rounds {
        let mut bytes = [0u8; BYTES];
        rng.fill_bytes(&mut bytes);
        let witness = BigUint::from_bytes_be(&bytes) % (n - 3u8) + 2u8;
        let mut x = witness.modpow(&odd, n);
        if x == one || x == last {
            continue;
        }
        for _ in 1..twos {
            x = x.modpow(&BigUint::from(2u8), n);
            if x == last {
                continue 'witness;
            }
        }
        return false;
    }
    true
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;
    use serde_json::Value;

    use super::*;

    /// RFC 3526, group 14: another safe prime of 2048 bits.
    const RFC_3526: &str = "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74\
        020BBEA63B139B22514A08798E3404DDEF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245\
        E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7EDEE386BFB5A899FA5AE9F24117C4B1FE6\
        49286651ECE45B3DC2007CB8A163BF0598DA48361C55D39A69163FA8FD24CF5F83655D23DCA3AD96\
        1C62F356208552BB9ED529077096966D670C354E4ABC9804F1746C08CA18217C32905E462E36CE3B\
        E39E772C180E86039B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF6955817183995497CEA956AE5\
        15D2261898FA051015728E5A8AACAA68FFFFFFFFFFFFFFFF";

    fn rng() -> StdRng {
        StdRng::from_seed([7; 32])
    }

    fn number(hex: &str) -> BigUint {
        BigUint::parse_bytes(hex.as_bytes(), 16).unwrap()
    }

    fn known() -> DhConfig {
        DhConfig::check(3, &number(KNOWN_PRIME).to_bytes_be(), 1, &mut rng()).unwrap()
    }

    #[test]
    fn the_recorded_agreements_are_computed() {
        let file: Value = serde_json::from_str(include_str!("../testdata/dh.json")).unwrap();
        for case in file["cases"].as_array().unwrap() {
            let bytes = |name: &str| padded(&number(case[name].as_str().unwrap()).to_bytes_be());
            let config = DhConfig::check(3, &bytes("p"), 1, &mut rng()).unwrap();
            let caller = case["our_exponent_a"].is_string();
            let (exponent, ours, theirs) = if caller {
                ("our_exponent_a", "g_a", "g_b")
            } else {
                ("our_exponent_b", "g_b", "g_a")
            };
            let half = Half {
                exponent: Box::new(Zeroizing::new(bytes(exponent))),
                public: Box::new(bytes(ours)),
            };
            let power = BigUint::from_bytes_be(half.exponent.as_slice());
            let value = BigUint::from(3u8).modpow(&power, &config.group.p);
            assert_eq!(padded(&value.to_bytes_be()), bytes(ours));
            let ours_again = config.group.powers.power(&half.exponent);
            assert_eq!(ours_again, bytes(ours));
            let hash = number(case["g_a_hash"].as_str().unwrap());
            assert_eq!(BigUint::from_bytes_be(&commitment(&bytes("g_a"))), hash);
            let key = half.agree(&config, &bytes(theirs)).unwrap();
            assert_eq!(key, CallKey::new(&bytes("call_key")));
            let print = case["key_fingerprint"].as_str().unwrap();
            assert_eq!(key.fingerprint().to_string(), print);
            let emoji: Vec<u16> =
                serde_json::from_value(case["emoji_indexes_of_333"].clone()).unwrap();
            assert_eq!(key.emoji(&bytes("g_a")).as_slice(), emoji);
        }
    }

    #[test]
    fn both_ends_draw_and_agree() {
        let config = known();
        let mut rng = rng();
        let (caller, callee) = (config.draw(&[1; 256], &mut rng), config.draw(&[], &mut rng));
        assert_ne!(caller.public(), callee.public());
        let key = caller.agree(&config, callee.public()).unwrap();
        assert_eq!(callee.agree(&config, caller.public()).unwrap(), key);
        assert_ne!(caller.public()[0], 0);
    }

    #[test]
    fn the_servers_bytes_change_the_exponent() {
        let config = known();
        let plain = config.draw(&[], &mut rng());
        let mixed = config.draw(&[1], &mut rng());
        assert_ne!(plain.public(), mixed.public());
    }

    #[test]
    fn values_near_the_ends_of_the_group_are_refused() {
        let config = known();
        let half = config.draw(&[], &mut rng());
        let margin = BigUint::from(1u8) << MARGIN_BITS;
        let cases = [
            (BigUint::from(1u8), false),
            (&margin - 1u8, false),
            (margin.clone(), true),
            (&config.group.p - &margin, true),
            (&config.group.p - &margin + 1u8, false),
            (&config.group.p - 1u8, false),
            (&config.group.p + &margin, false),
        ];
        for (value, fine) in cases {
            let result = half.agree(&config, &value.to_bytes_be());
            assert_eq!(result.is_ok(), fine, "{value:x}");
        }
        let mut long = vec![0; 1];
        long.extend_from_slice(half.public());
        assert_eq!(half.agree(&config, &long), Err(DhError::OutOfRange));
    }

    #[test]
    fn primes_that_are_not_safe_are_refused() {
        let known = number(KNOWN_PRIME);
        let check = |g, p: &BigUint| DhConfig::check(g, &p.to_bytes_be(), 1, &mut rng());
        assert_eq!(check(3, &(&known >> 1u8)), Err(DhError::Size(2047)));
        assert_eq!(check(4, &(&known + 2u8)), Err(DhError::NotSafePrime));
        assert_eq!(check(4, &(&known - 1u8)), Err(DhError::NotSafePrime));
        assert_eq!(check(4, &(&known + 12u8)), Err(DhError::NotSafePrime));
        assert_eq!(check(2, &known), Err(DhError::Generator(2)));
        assert_eq!(check(5, &known), Err(DhError::Generator(5)));
        for g in [-1, 0, 1, 8, 1000] {
            assert_eq!(check(g, &known), Err(DhError::Generator(g)));
        }
        for g in [3, 4, 7] {
            assert!(check(g, &known).is_ok(), "{g}");
        }
    }

    #[test]
    fn an_unknown_safe_prime_is_accepted() {
        let prime = number(RFC_3526);
        assert!(DhConfig::check(2, &prime.to_bytes_be(), 1, &mut rng()).is_ok());
    }
}
