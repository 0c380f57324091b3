//! What the tests of several modules share.

mod torture;

use std::f32::consts::TAU;
use std::time::Instant;

pub(crate) use crate::tone::tone_share;

/// Returns when a test begins; from there on time is virtual.
#[allow(
    clippy::disallowed_methods,
    reason = "an `Instant` cannot be made otherwise"
)]
pub(crate) fn start() -> Instant {
    Instant::now()
}

/// Returns `count` samples of a sine.
#[allow(clippy::cast_possible_truncation, reason = "the value is within ±8000")]
pub(crate) fn sine(rate: u32, hertz: f32, count: usize) -> Vec<i16> {
    (0..count)
        .map(|n| (8000.0 * (TAU * hertz * n as f32 / rate as f32).sin()) as i16)
        .collect()
}

/// Returns the octets of a hexadecimal text.
pub(crate) fn hex(text: &str) -> Vec<u8> {
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// Returns a file of `testdata` as JSON.
pub(crate) fn testdata(name: &str) -> serde_json::Value {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("testdata")
        .join(name);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}
