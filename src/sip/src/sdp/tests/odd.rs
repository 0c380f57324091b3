//! Descriptions that are wrong, damaged, or made to do harm.

use super::*;

/// The odd descriptions of `testdata/sdp`.
#[test]
fn odd_descriptions_get_the_verdict_they_deserve() {
    let table = [
        ("a-2000", 413),
        ("avp-crypto", 200),
        ("b-negative", 200),
        ("blank-tail", 200),
        ("bom", 200),
        ("c-hostname", 488),
        ("c-ip6-in-ip4", 400),
        ("c-loopback", 0),
        ("c-mapped", 200),
        ("c-media-level", 200),
        ("c-metadata", 0),
        ("c-missing", 400),
        ("c-multicast", 0),
        ("case-names", 200),
        ("crypto-null", 488),
        ("crypto-short-key", 488),
        ("dtmf-110-48k", 200),
        ("dtmf-fmtp-odd", 200),
        ("dtmf-two-clocks", 200),
        ("fmt-128", 200),
        ("fmt-many", 200),
        ("fmt-none", 400),
        ("g722-dyn", 200),
        ("hold-0000", 0),
        ("hold-inactive", 0),
        ("lf-only", 200),
        ("no-final-eol", 200),
        ("nul-in-s", 200),
        ("o-huge", 200),
        ("only-crlf", 400),
        ("only-dtmf", 488),
        ("opus-one-channel", 200),
        ("pcmu-dynamic", 200),
        ("port-70000", 400),
        ("port-negative", 400),
        ("port-overflow", 400),
        ("port-zero", 488),
        ("ptime-10-60", 200),
        ("ptime-float", 200),
        ("ptime-zero", 200),
        ("rtcp-attr", 200),
        ("rtpmap-bad", 200),
        ("rtpmap-dup", 200),
        ("s-missing", 200),
        ("savp-crypto", 488),
        ("session-level-inactive", 0),
        ("silence-cn", 200),
        ("space-eq", 400),
        ("static-9-no-rtpmap", 200),
        ("static-no-rtpmap", 200),
        ("t-missing", 200),
        ("t38-only", 488),
        ("two-audio", 200),
        ("v-1", 400),
        ("v-missing", 200),
        ("video-first", 200),
        ("webrtc-like", 488),
    ];
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/sdp");
    // One more is `expected.json`, what `tests/torture` goes by.
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), table.len() + 1);
    for (name, expected) in table {
        let body = std::fs::read(folder.join(format!("odd-{name}.sdp"))).unwrap();
        let verdict = match answer(&body, &local(), &Codec::DEFAULT) {
            Ok((answer, agreed)) => {
                assert!(parse(&answer).is_ok(), "{name}");
                let sends =
                    agreed.direction.sends() && agreed.may_send("203.0.113.5".parse().unwrap());
                if sends { 200 } else { 0 }
            }
            Err(error) => error.status(),
        };
        assert_eq!(verdict, expected, "{name}");
        // With SRTP, the one with a good key is answered by SAVP, and those with a bad one still are refused.
        let secured = answer(&body, &secure(false, 1), &Codec::DEFAULT);
        let savp = match &secured {
            Ok((answer, agreed)) => text(answer).contains("RTP/SAVP") && agreed.crypto.is_some(),
            Err(error) => {
                assert_eq!(error.status(), expected, "{name}");
                false
            }
        };
        assert_eq!(savp, name == "savp-crypto", "{name}");
    }
}

/// What 20000 descriptions are like that were damaged on their way: never a panic, and every answer can be read.
#[test]
fn damaged_descriptions_do_no_harm() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/sdp");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|f| f.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "sdp"))
        .collect();
    files.sort();
    let bodies: Vec<Vec<u8>> = files
        .iter()
        .map(|path| std::fs::read(path).unwrap())
        .collect();
    let mut dice = SmallRng::seed_from_u64(3264);
    for _ in 0..20_000 {
        let mut body = bodies[dice.random_range(0..bodies.len())].clone();
        body.truncate(2_000);
        for _ in 0..dice.random_range(1..6) {
            let at = dice.random_range(0..=body.len());
            match dice.random_range(0..4) {
                0 => body.insert(at, dice.random()),
                1 => body.truncate(at),
                2 => {
                    let other = &bodies[dice.random_range(0..bodies.len())];
                    let from = dice.random_range(0..=other.len());
                    let piece = &other[from..other.len().min(from + 60)];
                    body.splice(at..at, piece.iter().copied());
                }
                _ => {
                    if let Some(octet) = body.get_mut(at) {
                        *octet ^= 1 << dice.random_range(0..8);
                    }
                }
            }
        }
        if let Ok((answer, agreed)) = answer(&body, &secure(false, 1), &Codec::ALL) {
            let answered = parse(&answer).unwrap();
            assert_eq!(answered.media.len(), parse(&body).unwrap().media.len());
            assert!(agreed.audio.payload_type < 128 && (10..=60).contains(&agreed.ptime));
        }
    }
}

#[test]
fn a_description_made_to_be_slow_is_not() {
    let formats = (0..128).fold(String::new(), |all, n| format!("{all} {n}"));
    let body = format!(
        "m=audio 4000 RTP/AVP{formats}\r\n{}",
        "a=rtpmap:1\r\n".repeat(999)
    );
    let looked = std::hint::black_box(answer(body.as_bytes(), &local(), &CODECS));
    assert_eq!(looked, Err(OfferError::NoConnection));
}
