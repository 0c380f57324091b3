//! Signalling of a Telegram call, in both framings: packets that nobody sealed, and messages that a peer with the key made.
#![no_main]

use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use telegram::framing::Framing;
use telegram::{CallKey, Role, messages};

fuzz_target!(|data: &[u8]| {
    let _ = messages::parse(data);
    let key = CallKey::new(&[7; 256]);
    for version in ["9.0.0", "13.0.0"] {
        let mut now = Instant::now();
        let end = |role| Framing::new(version, "", key.clone(), role).expect("a known version");
        let (mut ours, mut peer) = (end(Role::Caller), end(Role::Callee));
        ours.receive(now, data);
        assert!(ours.poll_message().is_none(), "nobody sealed it");
        let Ok(text) = std::str::from_utf8(data) else {
            continue;
        };
        peer.send(now, text);
        // Framing B has to greet first.
        for _ in 0..8 {
            while let Some(packet) = peer.poll_packet() {
                ours.receive(now, &packet);
            }
            while let Some(packet) = ours.poll_packet() {
                peer.receive(now, &packet);
            }
            while let Some(message) = ours.poll_message() {
                assert_eq!(message, text.as_bytes());
                let _ = messages::parse(&message);
            }
            now += Duration::from_millis(500);
            ours.handle_timeout(now);
            peer.handle_timeout(now);
        }
    }
});
