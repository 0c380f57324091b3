//! Nonces that need no memory until somebody answers them right.
//!
//! A nonce is `base64(time || random || tag)`: the second it was made in, 64 bits that make it unique, and the first 128 bits of
//! HMAC-SHA256 over both, the realm and the address it was made for.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use rand::rngs::StdRng;
use rand::{RngCore as _, SeedableRng as _};
use sha2::{Digest as _, Sha256};

/// How long a nonce can be used, in seconds.
const LIFE: u64 = 300;
/// How many nonces in use are remembered.
pub(super) const MAX_COUNTS: usize = 20_000;
const TAG: usize = 16;

/// What makes a nonce unique: the second and the random bits.
type Key = (u64, u64);

/// A nonce that we made for this address not too long ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fresh(Key);

/// Makes nonces, recognises them, and counts their uses.
pub(super) struct Nonces {
    realm: String,
    key: [u8; 32],
    rng: StdRng,
    /// The last `nc` of each nonce that was answered right, oldest first.
    counts: BTreeMap<Key, u32>,
    /// The youngest nonce that fell out of `counts` for lack of room: what is older and not in it, is not known to be new.
    forgotten: Option<Key>,
}

impl Nonces {
    pub(super) fn new(realm: &str, key: [u8; 32]) -> Self {
        let mut seed = Sha256::new();
        seed.update(b"nonce");
        seed.update(key);
        Self {
            realm: realm.to_owned(),
            key,
            rng: StdRng::from_seed(seed.finalize().into()),
            counts: BTreeMap::new(),
            forgotten: None,
        }
    }

    pub(super) fn issue(&mut self, now: u64, source: IpAddr) -> String {
        let key = (now, self.rng.next_u64());
        let mut octets = Vec::with_capacity(16 + TAG);
        octets.extend(key.0.to_be_bytes());
        octets.extend(key.1.to_be_bytes());
        octets.extend(self.tag(key, source));
        STANDARD.encode(octets)
    }

    /// Whether we made the nonce, for this address, and it is still young.
    pub(super) fn verify(&self, now: u64, source: IpAddr, nonce: &str) -> Option<Fresh> {
        let octets = STANDARD.decode(nonce).ok()?;
        let (time, rest) = octets.split_first_chunk::<8>()?;
        let (random, tag) = rest.split_first_chunk::<8>()?;
        let key = (u64::from_be_bytes(*time), u64::from_be_bytes(*random));
        let mac = self.mac(key, source);
        if tag.len() != TAG || mac.verify_truncated_left(tag).is_err() {
            return None;
        }
        (now.saturating_sub(key.0) <= LIFE).then_some(Fresh(key))
    }

    /// Notes a use; false when the count does not grow, or when we no longer know it.
    pub(super) fn count(&mut self, now: u64, nonce: Fresh, nc: u32) -> bool {
        let Fresh(key) = nonce;
        while let Some(oldest) = self.counts.first_entry()
            && oldest.key().0 + LIFE < now
        {
            oldest.remove();
        }
        match self.counts.get_mut(&key) {
            Some(last) if nc > *last => {
                *last = nc;
                true
            }
            Some(_) => false,
            None if self.forgotten.is_some_and(|forgotten| key <= forgotten) => false,
            None => {
                self.counts.insert(key, nc);
                if self.counts.len() > MAX_COUNTS {
                    self.forgotten = self.counts.pop_first().map(|(key, _)| key);
                }
                true
            }
        }
    }

    fn tag(&self, key: Key, source: IpAddr) -> Vec<u8> {
        let tag = self.mac(key, source).finalize().into_bytes();
        tag.into_iter().take(TAG).collect()
    }

    fn mac(&self, key: Key, source: IpAddr) -> Hmac<Sha256> {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.key) else {
            unreachable!("HMAC takes a key of any length")
        };
        mac.update(&key.0.to_be_bytes());
        mac.update(&key.1.to_be_bytes());
        // The length keeps realm and address apart.
        mac.update(&(self.realm.len() as u64).to_be_bytes());
        mac.update(self.realm.as_bytes());
        mac.update(source.to_canonical().to_string().as_bytes());
        mac
    }
}

impl fmt::Debug for Nonces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nonces")
            .field("counts", &self.counts.len())
            .finish_non_exhaustive()
    }
}
