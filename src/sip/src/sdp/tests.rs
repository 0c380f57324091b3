//! Offers and answers, one file a side; what they share is here.

mod answer;
mod keys;
mod odd;
mod offer;

use std::net::SocketAddr;
use std::path::Path;

use model::Codec;
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

use super::*;

const CODECS: [Codec; 3] = [Codec::Opus, Codec::Alaw, Codec::Mulaw];

fn local() -> LocalMedia {
    LocalMedia {
        address: "198.51.100.7:16384".parse().unwrap(),
        session_id: 42,
        version: 1,
        security: Security::Plain,
    }
}

fn sdp(media: &str) -> String {
    format!("v=0\r\no=- 1 1 IN IP4 192.0.2.10\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\n{media}")
}

fn answered(media: &str, codecs: &[Codec]) -> Result<(String, Agreed), OfferError> {
    let (body, agreed) = answer(sdp(media).as_bytes(), &local(), codecs)?;
    Ok((String::from_utf8(body.to_vec()).unwrap(), agreed))
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// Our end with SRTP; the keys of suite n are full of `seed` + n.
fn secure(required: bool, mut seed: u8) -> LocalMedia {
    let security = Security::srtp(required, |room| {
        room.fill(seed);
        seed += 1;
    });
    LocalMedia {
        security,
        ..local()
    }
}

fn text(body: &[u8]) -> &str {
    std::str::from_utf8(body).unwrap()
}
