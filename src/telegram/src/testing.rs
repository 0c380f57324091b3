//! What the tests of this room share.

use std::time::Instant;

/// The moment a test begins; from there on time is virtual.
#[allow(clippy::disallowed_methods)]
pub(crate) fn start() -> Instant {
    Instant::now()
}

/// Bytes of a hex text.
pub(crate) fn hex(text: &str) -> Vec<u8> {
    (0..text.len() / 2)
        .map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap())
        .collect()
}

/// The account itself, as the server sends it, with this id and the access hash 99.
pub(crate) fn user(id: i64) -> grammers_tl_types::enums::User {
    use grammers_tl_types::{Deserializable, Identifiable};
    let flags = 1u32 | 1 << 10; // access_hash, self
    let mut bytes = grammers_tl_types::types::User::CONSTRUCTOR_ID
        .to_le_bytes()
        .to_vec();
    bytes.extend(flags.to_le_bytes());
    bytes.extend(0u32.to_le_bytes());
    bytes.extend(id.to_le_bytes());
    bytes.extend(99i64.to_le_bytes());
    grammers_tl_types::enums::User::from_bytes(&bytes).unwrap()
}
