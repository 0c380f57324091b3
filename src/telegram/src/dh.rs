//! The key agreement of a call (telegram-calls 3).

/// Checked parameters of the key agreement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DhConfig {
    /// The generator, 2 to 7.
    pub(crate) g: u32,
    /// The prime, 256 bytes, big-endian.
    pub(crate) p: Vec<u8>,
    /// Telegram's version of the pair.
    pub(crate) version: i32,
}
