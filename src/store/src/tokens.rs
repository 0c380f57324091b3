//! The tokens of the HTTP interface, as one record: there are few of them, and each request needs all.
//!
//! Of a token only its SHA-256 is kept: 32 random octets need no slow hash, for nobody guesses them.

use aws_lc_rs::digest::{SHA256, digest};
use model::Scope;
use serde::{Deserialize, Serialize};

use crate::sled_store::{decode, encode};
use crate::{Space, Store, StoreError};

const TREE: &str = "tokens";
const KEY: &str = "all";

/// A token, without what proves it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRecord {
    /// What it is called by, also in the token itself.
    pub id: String,
    /// What its owner calls it.
    pub name: String,
    /// What it may be used for.
    pub scopes: Vec<Scope>,
    /// When it was made, in seconds since 1970.
    pub created: u64,
    /// The SHA-256 of the whole token.
    pub hash: [u8; 32],
}

/// The SHA-256 of a token's text.
pub fn token_hash(token: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    let octets = digest(&SHA256, token.as_bytes());
    for (place, octet) in hash.iter_mut().zip(octets.as_ref()) {
        *place = *octet;
    }
    hash
}

impl TokenRecord {
    /// Whether this is the token, in a time that does not tell how much of it is right.
    pub fn is(&self, hash: &[u8; 32]) -> bool {
        aws_lc_rs::constant_time::verify_slices_are_equal(&self.hash, hash).is_ok()
    }
}

/// Returns all tokens.
pub fn read_tokens(store: &dyn Store) -> Result<Vec<TokenRecord>, StoreError> {
    match store.get(Space::Tokens, KEY.as_bytes())? {
        Some(bytes) => decode(TREE, KEY.as_bytes(), &bytes),
        None => Ok(Vec::new()),
    }
}

/// Writes all tokens durably over those that there were.
pub fn write_tokens(store: &dyn Store, tokens: &[TokenRecord]) -> Result<(), StoreError> {
    let bytes = encode(TREE, KEY, &tokens)?;
    store.put_durable(Space::Tokens, KEY.as_bytes(), &bytes)
}
