//! Secrets at rest (SEC-S2): what a value looks like on the disk, and the keys it takes to read it.
//!
//! Two keys. The *data key* seals the records; it is made with the store and never changes. The *master key* wraps the data key;
//! it is the operator's, lies outside of the folder, and can be replaced without touching a record. Both are 32 octets; the
//! algorithm is AES-256-GCM-SIV (RFC 8452), which keeps its promise even where two nonces should be equal, so that nonces may be drawn at
//! random for as long as a store lives.
//!
//! A sealed value: version 2, the first 4 octets of the data key's id, 12 octets of nonce, the ciphertext with its tag of 16 octets. The
//! associated data are those first octets, the tree and the key: no value can be moved to another record.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{digest, rand};
use model::Secret;

/// The version byte of a sealed value.
pub(crate) const SEALED: u8 = 2;
/// Octets of a key.
const KEY: usize = 32;
/// Octets of the id of a master key.
const ID: usize = 8;
/// Octets of the id of a data key.
const DATA_ID: usize = 4;
/// Octets before the ciphertext.
const HEAD: usize = 1 + DATA_ID + NONCE_LEN;
/// Octets of a tag.
const TAG: usize = 16;
/// Octets of a wrapped data key.
pub(crate) const WRAPPED: usize = HEAD + KEY + TAG;

/// Why a text is no master key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "it holds no key: expected one line of 64 hexadecimal digits, and else only lines that begin with #"
)]
pub struct NoKey;

/// The system gave no random numbers, or a cipher did not do its work: neither can be helped here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system gives no random numbers")]
pub struct NoRandom;

/// The name of a master key: the beginning of its SHA-256, which says nothing about the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; ID]);

impl KeyId {
    pub(crate) fn from_octets(octets: &[u8]) -> Option<Self> {
        octets.try_into().ok().map(Self)
    }

    pub(crate) fn octets(&self) -> &[u8; ID] {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl std::str::FromStr for KeyId {
    type Err = NoKey;

    fn from_str(text: &str) -> Result<Self, NoKey> {
        octets::<ID>(text).map(Self).ok_or(NoKey)
    }
}

/// The operator's key of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MasterKey(Secret<[u8; KEY]>);

impl MasterKey {
    /// Draws a new key.
    pub fn generate() -> Result<Self, NoRandom> {
        random_key().map(Self)
    }

    /// Takes these 32 octets for a key.
    pub fn from_octets(octets: [u8; KEY]) -> Self {
        Self(Secret::new(octets))
    }

    /// Reads a key file: 64 hexadecimal digits on a line of their own; blank lines and those that begin with `#` do not count.
    pub fn parse(text: &str) -> Result<Self, NoKey> {
        let mut lines = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        match (lines.next(), lines.next()) {
            (Some(line), None) => octets(line).map(Self::from_octets).ok_or(NoKey),
            _ => Err(NoKey),
        }
    }

    /// The key as 64 hexadecimal digits, for its file.
    pub fn digits(&self) -> Secret<String> {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digit = |number: u8| {
            DIGITS
                .get(usize::from(number))
                .map_or('0', |digit| char::from(*digit))
        };
        // Room for all of it at once: a text that grows leaves copies behind.
        let mut text = String::with_capacity(2 * KEY);
        for octet in self.0.expose() {
            text.push(digit(octet >> 4));
            text.push(digit(octet & 15));
        }
        Secret::new(text)
    }

    /// Its name.
    pub fn id(&self) -> KeyId {
        KeyId(fingerprint(b"strowger master key", self.0.expose()))
    }
}

/// Seals and unseals under one data key.
pub(crate) struct Seal {
    id: [u8; DATA_ID],
    key: Secret<[u8; KEY]>,
    cipher: LessSafeKey,
}

impl Seal {
    /// With a new data key.
    pub(crate) fn generate() -> Result<Self, NoRandom> {
        Self::new(random_key()?)
    }

    fn new(key: Secret<[u8; KEY]>) -> Result<Self, NoRandom> {
        Ok(Self {
            id: fingerprint(b"strowger data key", key.expose()),
            cipher: cipher(&key)?,
            key,
        })
    }

    /// The data key, wrapped so that `master` opens it: [`WRAPPED`] octets.
    pub(crate) fn wrap(&self, master: &MasterKey) -> Result<Vec<u8>, NoRandom> {
        let master_cipher = cipher(&master.0)?;
        let mut key = Vec::with_capacity(WRAPPED);
        key.extend(self.key.expose());
        seal(&master_cipher, self.id, &wrap_place(master.id()), key)
    }

    /// Unwraps; none when `wrapped` was not made for `master`, or is damaged.
    pub(crate) fn unwrap(master: &MasterKey, wrapped: &[u8]) -> Option<Self> {
        let master_cipher = cipher(&master.0).ok()?;
        let id = *wrapped.get(1..)?.first_chunk::<DATA_ID>()?;
        let key = open(&master_cipher, id, &wrap_place(master.id()), wrapped)?;
        let key = Secret::new(key);
        let seal = Self::new(Secret::new(key.expose().as_slice().try_into().ok()?)).ok()?;
        (seal.id == id).then_some(seal)
    }

    /// Seals the value of `key` in `tree`.
    pub(crate) fn seal(&self, tree: &str, key: &[u8], plain: Vec<u8>) -> Result<Vec<u8>, NoRandom> {
        seal(&self.cipher, self.id, &place(tree, key), plain)
    }

    /// Unseals it; none when it was sealed for another place or with another key, or is damaged.
    pub(crate) fn open(&self, tree: &str, key: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        open(&self.cipher, self.id, &place(tree, key), sealed)
    }
}

/// Where a value belongs: no tree has a zero octet in its name.
fn place(tree: &str, key: &[u8]) -> Vec<u8> {
    [tree.as_bytes(), &[0], key].concat()
}

fn wrap_place(master: KeyId) -> Vec<u8> {
    place("wrapped", master.octets())
}

fn seal(
    cipher: &LessSafeKey,
    id: [u8; DATA_ID],
    place: &[u8],
    mut plain: Vec<u8>,
) -> Result<Vec<u8>, NoRandom> {
    let mut nonce = [0; NONCE_LEN];
    rand::fill(&mut nonce).map_err(|_| NoRandom)?;
    let head = [&[SEALED][..], &id].concat();
    let associated = Aad::from([&head, place].concat());
    cipher
        .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), associated, &mut plain)
        .map_err(|_| NoRandom)?;
    Ok([&head, &nonce[..], &plain].concat())
}

fn open(cipher: &LessSafeKey, id: [u8; DATA_ID], place: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    let (head, rest) = sealed.split_at_checked(1 + DATA_ID)?;
    let (nonce, ciphertext) = rest.split_first_chunk::<NONCE_LEN>()?;
    if head != [&[SEALED][..], &id].concat() {
        return None;
    }
    let associated = Aad::from([head, place].concat());
    let mut plain = ciphertext.to_vec();
    let length = cipher
        .open_in_place(Nonce::assume_unique_for_key(*nonce), associated, &mut plain)
        .ok()?
        .len();
    plain.truncate(length);
    Some(plain)
}

fn cipher(key: &Secret<[u8; KEY]>) -> Result<LessSafeKey, NoRandom> {
    UnboundKey::new(&AES_256_GCM_SIV, key.expose())
        .map(LessSafeKey::new)
        .map_err(|_| NoRandom)
}

fn random_key() -> Result<Secret<[u8; KEY]>, NoRandom> {
    let mut key = [0; KEY];
    rand::fill(&mut key).map_err(|_| NoRandom)?;
    Ok(Secret::new(key))
}

fn fingerprint<const N: usize>(what: &[u8], key: &[u8; KEY]) -> [u8; N] {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(what);
    context.update(key);
    let mut id = [0; N];
    id.iter_mut()
        .zip(context.finish().as_ref())
        .for_each(|(to, from)| *to = *from);
    id
}

/// Reads exactly `N` octets in hexadecimal digits.
fn octets<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut found = [0; N];
    if text.len() != 2 * N {
        return None;
    }
    for (to, pair) in found.iter_mut().zip(text.as_bytes().chunks(2)) {
        let digit = |at: usize| char::from(*pair.get(at)?).to_digit(16);
        *to = u8::try_from(digit(0)? * 16 + digit(1)?).ok()?;
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn master(octet: u8) -> MasterKey {
        MasterKey::from_octets([octet; KEY])
    }

    #[test]
    fn a_value_opens_in_its_own_place_alone() {
        let seal = Seal::generate().unwrap();
        let sealed = seal.seal("trunks", b"office", b"secret".to_vec()).unwrap();
        assert_eq!(sealed.len(), HEAD + 6 + TAG);
        assert_eq!(seal.open("trunks", b"office", &sealed).unwrap(), b"secret");
        assert_eq!(seal.open("trunks", b"branch", &sealed), None);
        assert_eq!(seal.open("tg/office", b"office", &sealed), None);
        assert_eq!(seal.open("trunk", b"soffice", &sealed), None);
        let other = Seal::generate().unwrap();
        assert_eq!(other.open("trunks", b"office", &sealed), None);
        let again = seal.seal("trunks", b"office", b"secret".to_vec()).unwrap();
        assert_ne!(sealed, again, "a nonce was used twice");
    }

    #[test]
    fn no_octet_can_be_changed_and_none_left_out() {
        let seal = Seal::generate().unwrap();
        let sealed = seal.seal("trunks", b"office", b"secret".to_vec()).unwrap();
        for at in 0..sealed.len() {
            let mut forged = sealed.clone();
            forged[at] ^= 1;
            assert_eq!(seal.open("trunks", b"office", &forged), None, "octet {at}");
            assert_eq!(
                seal.open("trunks", b"office", &sealed[..at]),
                None,
                "{at} octets"
            );
        }
    }

    #[test]
    fn a_data_key_is_unwrapped_by_its_master_key_alone() {
        let seal = Seal::generate().unwrap();
        let wrapped = seal.wrap(&master(1)).unwrap();
        assert_eq!(wrapped.len(), WRAPPED);
        let back = Seal::unwrap(&master(1), &wrapped).unwrap();
        let sealed = seal.seal("trunks", b"office", b"secret".to_vec()).unwrap();
        assert_eq!(back.open("trunks", b"office", &sealed).unwrap(), b"secret");
        assert!(Seal::unwrap(&master(2), &wrapped).is_none());
        assert!(Seal::unwrap(&master(1), &wrapped[..40]).is_none());
        assert!(Seal::unwrap(&master(1), b"").is_none());
    }

    #[test]
    fn a_key_file_has_one_line_of_digits() {
        let key = MasterKey::generate().unwrap();
        let digits = key.digits();
        let text = format!("# a remark\n\n  {}\r\n", digits.expose());
        assert_eq!(MasterKey::parse(&text), Ok(key.clone()));
        assert_eq!(MasterKey::parse(&digits.expose().to_uppercase()), Ok(key));
        for wrong in [
            String::new(),
            "# nothing".into(),
            digits.expose()[1..].to_owned(),
            format!("{}0", digits.expose()),
            format!("{0}\n{0}", digits.expose()),
            "é".repeat(32),
        ] {
            assert_eq!(MasterKey::parse(&wrong), Err(NoKey), "{wrong}");
        }
    }

    #[test]
    fn the_name_of_a_key_is_read_back_and_nothing_shows_the_key() {
        let key = master(7);
        assert_eq!(key.id().to_string().len(), 16);
        assert_eq!(key.id().to_string().parse(), Ok(key.id()));
        assert_ne!(key.id(), master(8).id());
        assert!(!format!("{key:?} {:?}", key.digits()).contains("07"));
    }
}
