//! A session description as an offer, and as an answer to ours: what we write can be read, what is agreed can be done.
#![no_main]

use libfuzzer_sys::fuzz_target;
use model::Codec;
use sip::sdp::{LocalMedia, Security, accept_answer, answer, offer, parse, reanswer};

fuzz_target!(|data: &[u8]| {
    let local = LocalMedia {
        address: "192.0.2.2:4000".parse().expect("an address"),
        session_id: 1,
        version: 1,
        security: Security::srtp(false, |room| room.fill(7)),
    };
    if let Ok((body, agreed)) = answer(data, &local, &Codec::ALL) {
        let written = parse(&body).expect("our answer");
        let read = parse(data).expect("an offer that was answered");
        assert_eq!(written.media.len(), read.media.len());
        assert!(agreed.audio.payload_type < 128 && (10..=60).contains(&agreed.ptime));
        let again = reanswer(data, &local, &Codec::ALL, &body, &agreed);
        let (same, _, version) = again.expect("the same offer again");
        assert_eq!((same, version), (body, 1));
    }
    let ours = offer(&local, &Codec::ALL);
    if let Ok(agreed) = accept_answer(&ours, data, &Codec::ALL) {
        assert!(agreed.audio.payload_type < 128);
    }
});
