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

#[test]
fn our_offer_names_every_codec_and_a_telephone_event_for_every_clock() {
    let body = offer(&local(), &CODECS);
    assert_eq!(
        std::str::from_utf8(&body).unwrap(),
        "v=0\r\no=- 42 1 IN IP4 198.51.100.7\r\ns=-\r\nc=IN IP4 198.51.100.7\r\nt=0 0\r\n\
         m=audio 16384 RTP/AVP 107 8 0 110 101\r\n\
         a=rtpmap:107 opus/48000/2\r\na=fmtp:107 useinbandfec=1\r\n\
         a=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\n\
         a=rtpmap:110 telephone-event/48000\r\na=fmtp:110 0-15\r\n\
         a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\n\
         a=ptime:20\r\na=sendrecv\r\n"
    );
}

#[test]
fn every_codec_is_offered_under_its_own_number_in_our_order() {
    let list = [Codec::L16, Codec::G722, Codec::Mulaw, Codec::Opus];
    let body = offer(&local(), &list);
    let text = std::str::from_utf8(&body).unwrap();
    assert!(
        text.ends_with(
            "m=audio 16384 RTP/AVP 108 9 0 107 110 101\r\n\
             a=rtpmap:108 L16/48000\r\na=rtpmap:9 G722/8000\r\na=rtpmap:0 PCMU/8000\r\n\
             a=rtpmap:107 opus/48000/2\r\na=fmtp:107 useinbandfec=1\r\n\
             a=rtpmap:110 telephone-event/48000\r\na=fmtp:110 0-15\r\n\
             a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\n\
             a=ptime:10\r\na=sendrecv\r\n"
        ),
        "{text}"
    );
    for codec in Codec::ALL {
        let ours = offer(&local(), &Codec::ALL);
        let (answer, there) = answer(&ours, &local(), &[codec]).unwrap();
        let here = accept_answer(&ours, &answer, &Codec::ALL).unwrap();
        assert_eq!((here.audio.codec, there.audio.codec), (codec, codec));
        assert_eq!(here.audio.payload_type, there.audio.payload_type);
        assert_eq!(
            (
                here.audio.dtmf_clock,
                here.audio.dtmf_payload_type.is_some()
            ),
            (codec.clock_rate(), true),
            "{codec}"
        );
        assert_eq!(here.ptime, there.ptime);
    }
}

#[test]
fn g722_and_l16_are_known_however_they_are_written() {
    let table = [
        ("9", "", Some((Codec::G722, 9))),
        ("9", "a=rtpmap:9 G722/8000\r\n", Some((Codec::G722, 9))),
        ("9", "a=rtpmap:9 g722/8000/1\r\n", Some((Codec::G722, 9))),
        ("9", "a=rtpmap:9 G722/16000\r\n", Some((Codec::G722, 9))),
        ("9", "a=rtpmap:9 G722\r\n", Some((Codec::G722, 9))),
        ("9", "a=rtpmap:9 PCMA/8000\r\n", Some((Codec::Alaw, 9))),
        ("96", "a=rtpmap:96 G722/8000\r\n", Some((Codec::G722, 96))),
        ("9", "a=rtpmap:9 G729/8000\r\n", None),
        ("96", "a=rtpmap:96 G722/8000/2\r\n", None),
        ("96", "", None),
        ("96", "a=rtpmap:96 L16/48000\r\n", Some((Codec::L16, 96))),
        ("96", "a=rtpmap:96 l16/48000/1\r\n", Some((Codec::L16, 96))),
        ("96", "a=rtpmap:96 L16/48000/2\r\n", None),
        ("96", "a=rtpmap:96 L16/16000\r\n", None),
        ("11", "", None),
        ("10 11", "a=rtpmap:11 L16/44100\r\n", None),
    ];
    for (formats, lines, expected) in table {
        let media = format!("m=audio 4000 RTP/AVP {formats}\r\n{lines}");
        match answered(&media, &Codec::ALL) {
            Ok((_, agreed)) => assert_eq!(
                Some((agreed.audio.codec, agreed.audio.payload_type)),
                expected,
                "{media}"
            ),
            Err(error) => assert_eq!((error.status(), expected), (488, None), "{media}"),
        }
    }
}

#[test]
fn the_order_of_the_pbx_decides_nothing() {
    let offered = "m=audio 4000 RTP/AVP 0 9 8 96\r\na=rtpmap:96 L16/48000\r\n";
    for list in [
        [Codec::G722, Codec::Alaw],
        [Codec::L16, Codec::G722],
        [Codec::Opus, Codec::G722],
        [Codec::Alaw, Codec::G722],
    ] {
        let (_, agreed) = answered(offered, &list).unwrap();
        let wanted = if list[0] == Codec::Opus {
            list[1]
        } else {
            list[0]
        };
        assert_eq!(agreed.audio.codec, wanted);
    }
}

#[test]
fn the_answer_takes_the_first_codec_of_our_list() {
    let offered = "m=audio 40000 RTP/AVP 0 8 96 101 102\r\na=rtpmap:96 opus/48000/2\r\n\
                   a=rtpmap:101 telephone-event/8000\r\na=rtpmap:102 telephone-event/48000\r\n";
    let table = [
        (&[Codec::Alaw, Codec::Mulaw][..], Codec::Alaw, 8, 101, 8_000),
        (&[Codec::Mulaw, Codec::Opus], Codec::Mulaw, 0, 101, 8_000),
        (&CODECS, Codec::Opus, 96, 102, 48_000),
    ];
    for (codecs, codec, payload_type, event, clock) in table {
        let (body, agreed) = answered(offered, codecs).unwrap();
        assert_eq!(
            (agreed.audio.codec, agreed.audio.payload_type),
            (codec, payload_type)
        );
        assert_eq!(
            (agreed.audio.dtmf_payload_type, agreed.audio.dtmf_clock),
            (Some(event), clock)
        );
        assert!(
            body.contains(&format!("m=audio 16384 RTP/AVP {payload_type} {event}\r\n")),
            "{body}"
        );
    }
}

#[test]
fn opus_falls_back_to_the_telephone_event_of_8000_hz() {
    let (body, agreed) = answered(
        "m=audio 40000 RTP/AVP 107 101\r\na=rtpmap:107 opus/48000/2\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\n",
        &CODECS,
    )
    .unwrap();
    assert_eq!(
        (agreed.audio.dtmf_payload_type, agreed.audio.dtmf_clock),
        (Some(101), 8_000)
    );
    assert!(
        body.contains("a=fmtp:101 0-15\r\n") && body.contains("useinbandfec=1"),
        "{body}"
    );
}

#[test]
fn directions_are_mirrored_and_an_unspecified_address_is_a_hold() {
    let table = [
        ("", Direction::SendRecv),
        ("a=sendonly\r\n", Direction::RecvOnly),
        ("a=recvonly\r\n", Direction::SendOnly),
        ("a=inactive\r\n", Direction::Inactive),
        ("c=IN IP4 0.0.0.0\r\n", Direction::RecvOnly),
        ("c=IN IP6 ::\r\na=recvonly\r\n", Direction::Inactive),
    ];
    for (lines, direction) in table {
        let (body, agreed) =
            answered(&format!("m=audio 4000 RTP/AVP 8\r\n{lines}"), &CODECS).unwrap();
        assert_eq!(agreed.direction, direction, "{lines}");
        assert!(
            body.ends_with(&format!("a={}\r\n", direction.attribute())),
            "{body}"
        );
    }
}

#[test]
fn ptime_is_what_the_peer_asked_for_as_far_as_we_can() {
    let table = [
        ("", Codec::Alaw, 20),
        ("a=ptime:0\r\n", Codec::Alaw, 20),
        ("a=ptime:20.0\r\n", Codec::Alaw, 20),
        ("a=ptime:30\r\n", Codec::Alaw, 30),
        ("a=ptime:30\r\n", Codec::Opus, 20),
        ("a=ptime:5\r\n", Codec::Alaw, 10),
        ("a=ptime:60\r\na=maxptime:40\r\n", Codec::Alaw, 40),
        ("a=ptime:4000000000\r\n", Codec::Opus, 60),
        ("a=ptime:-20\r\n", Codec::Alaw, 20),
        ("a=ptime:no\r\na=maxptime:10\r\n", Codec::Alaw, 10),
        ("a=ptime:50\r\n", Codec::G722, 50),
        ("", Codec::L16, 10),
        ("a=ptime:20\r\na=maxptime:60\r\n", Codec::L16, 10),
    ];
    for (lines, codec, ptime) in table {
        let media = format!(
            "m=audio 4000 RTP/AVP 8 96 9 97\r\na=rtpmap:96 opus/48000/2\r\na=rtpmap:97 L16/48000\r\n{lines}"
        );
        let (body, agreed) = answered(&media, &[codec]).unwrap();
        assert_eq!(agreed.ptime, ptime, "{lines}");
        assert!(body.contains(&format!("a=ptime:{ptime}\r\n")), "{body}");
    }
}

#[test]
fn other_media_lines_are_refused_in_their_place() {
    let (body, agreed) = answered(
        "m=video 4004 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\nm=audio 4000 RTP/SAVP 8\r\nm=audio 4002/2 RTP/AVP 8\r\nm=image 4006 udptl t38\r\n",
        &CODECS,
    )
    .unwrap();
    assert_eq!(agreed.remote, address("192.0.2.10:4002"));
    let lines: Vec<&str> = body.lines().filter(|line| line.starts_with("m=")).collect();
    assert_eq!(
        lines,
        [
            "m=video 0 RTP/AVP 96",
            "m=audio 0 RTP/SAVP 8",
            "m=audio 16384 RTP/AVP 8",
            "m=image 0 udptl t38"
        ]
    );
}

#[test]
fn rtcp_goes_where_the_attribute_says() {
    let table = [
        ("", None),
        ("a=rtcp:53020\r\n", Some("192.0.2.10:53020")),
        (
            "a=rtcp:53020 IN IP4 192.0.2.12\r\n",
            Some("192.0.2.12:53020"),
        ),
        ("a=rtcp:53020 IN IP4 host.example\r\n", None),
        ("a=rtcp:0\r\n", None),
        ("a=rtcp:70000\r\na=rtcp-mux\r\n", None),
    ];
    for (lines, expected) in table {
        let (body, agreed) =
            answered(&format!("m=audio 4000 RTP/AVP 8\r\n{lines}"), &CODECS).unwrap();
        assert_eq!(agreed.remote_rtcp, expected.map(address), "{lines}");
        assert!(!body.contains("rtcp"), "{body}");
    }
}

#[test]
fn limits_hold_to_the_line() {
    let formats = |n: usize| format!("m=audio 4000 RTP/AVP{}\r\n", " 8".repeat(n));
    assert!(parse(formats(128).as_bytes()).is_ok());
    assert_eq!(
        parse(formats(129).as_bytes()),
        Err(SdpError::TooManyFormats(1))
    );
    assert!(parse("m=audio 0 RTP/AVP 8\n".repeat(32).as_bytes()).is_ok());
    assert_eq!(
        parse("m=audio 0 RTP/AVP 8\n".repeat(33).as_bytes()),
        Err(SdpError::TooManyMedia)
    );
    assert!(parse("a=x\n".repeat(1000).as_bytes()).is_ok());
    assert_eq!(
        parse("a=x\n".repeat(1001).as_bytes()),
        Err(SdpError::TooManyAttributes)
    );
    let long = |n: usize| format!("s={}", "x".repeat(n - 2));
    assert!(parse(long(16384).as_bytes()).is_ok());
    assert_eq!(
        parse(long(16385).as_bytes()),
        Err(SdpError::TooLarge(16385))
    );
    assert_eq!(OfferError::from(SdpError::TooLarge(16385)).status(), 413);
}

#[test]
fn a_peer_cannot_write_lines_into_our_answer() {
    for media in [
        "m=image 1 x\ry z\r\n",
        "m=im\u{1b}age 1 x y\r\n",
        "m=imagé 1 x y\r\n",
    ] {
        let result = answered(&format!("m=audio 4000 RTP/AVP 8\r\n{media}"), &CODECS);
        assert!(
            matches!(result, Err(OfferError::Sdp(SdpError::BadMedia(_)))),
            "{media:?}"
        );
    }
}

#[test]
fn the_peers_answer_decides_among_the_codecs_we_offered() {
    let ours = offer(&local(), &CODECS);
    let accept = |media: &str| accept_answer(&ours, sdp(media).as_bytes(), &CODECS);
    let agreed = accept(
        "m=audio 5000 RTP/AVP 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\na=sendonly\r\n",
    )
    .unwrap();
    assert_eq!(
        (agreed.audio.codec, agreed.direction),
        (Codec::Mulaw, Direction::RecvOnly)
    );
    assert_eq!(agreed.audio.dtmf_payload_type, Some(101));
    assert_eq!(accept("m=audio 0 RTP/AVP 0\r\n"), Err(OfferError::Refused));
    assert_eq!(accept(""), Err(OfferError::Refused));
    assert_eq!(
        accept("m=audio 5000 RTP/AVP 3\r\n"),
        Err(OfferError::NoCommonCodec)
    );
    assert_eq!(
        accept("m=audio 5000 RTP/AVP 3\r\n").unwrap_err().status(),
        488
    );
}

#[test]
fn two_of_ours_agree_with_each_other() {
    let theirs = LocalMedia {
        address: address("[2001:db8::5]:20000"),
        ..local()
    };
    let ours = offer(&local(), &CODECS);
    let (body, seen_there) = answer(&ours, &theirs, &[Codec::Mulaw, Codec::Opus]).unwrap();
    let seen_here = accept_answer(&ours, &body, &CODECS).unwrap();
    assert_eq!(seen_here.audio.codec, Codec::Mulaw);
    assert_eq!(seen_here.audio.payload_type, seen_there.audio.payload_type);
    assert_eq!(seen_here.remote, theirs.address);
    assert_eq!(seen_there.remote, local().address);
}

#[test]
fn the_version_grows_only_when_the_answer_changes() {
    let first = sdp("m=audio 4000 RTP/AVP 8 0\r\n");
    let held = sdp("m=audio 4000 RTP/AVP 0 8\r\na=sendonly\r\n");
    let (body, agreed) = answer(first.as_bytes(), &local(), &[Codec::Alaw]).unwrap();
    let again = reanswer(first.as_bytes(), &local(), &CODECS, &body, &agreed).unwrap();
    assert_eq!((again.0.clone(), again.2), (body.clone(), 1));
    let (body, agreed, version) =
        reanswer(held.as_bytes(), &local(), &CODECS, &body, &agreed).unwrap();
    assert_eq!(
        (agreed.direction, agreed.audio.codec, version),
        (Direction::RecvOnly, Codec::Alaw, 2)
    );
    assert!(std::str::from_utf8(&body).unwrap().contains("o=- 42 2 IN"));
}

#[test]
fn a_reoffer_keeps_every_media_line() {
    let (body, _) = answered(
        "m=video 4004 RTP/AVP 96\r\nm=audio 4000 RTP/AVP 8\r\n",
        &CODECS,
    )
    .unwrap();
    let (next, version) = reoffer(
        body.as_bytes(),
        &local(),
        &[Codec::Alaw],
        Direction::SendOnly,
    );
    let text = std::str::from_utf8(&next).unwrap();
    assert_eq!(version, 2);
    assert!(
        text.contains("m=video 0 RTP/AVP 96\r\nm=audio 16384 RTP/AVP 8 101\r\n"),
        "{text}"
    );
    assert!(text.ends_with("a=sendonly\r\n"));
    let again = LocalMedia { version, ..local() };
    assert_eq!(
        reoffer(&next, &again, &[Codec::Alaw], Direction::SendOnly),
        (next.clone(), 2)
    );
}

#[test]
fn media_never_goes_to_special_addresses() {
    let public = "203.0.113.5".parse().unwrap();
    let loopback = "127.0.0.1".parse().unwrap();
    let table = [
        ("192.0.2.10:40000", public, true),
        ("192.0.2.10:1023", public, false),
        ("127.0.0.1:40000", public, false),
        ("127.0.0.1:40000", loopback, true),
        ("[::1]:40000", public, false),
        ("[::ffff:127.0.0.1]:40000", public, false),
        ("0.0.0.0:40000", public, false),
        ("224.2.1.1:40000", public, false),
        ("255.255.255.255:40000", public, false),
        ("169.254.169.254:40000", loopback, false),
        ("[fe80::1]:40000", public, false),
        ("[ff02::1]:40000", public, false),
        ("[2001:db8::1]:40000", public, true),
    ];
    for (target, peer, allowed) in table {
        assert_eq!(may_send(address(target), peer), allowed, "{target}");
    }
}

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

/// An offer of G.711 with lines of keys.
fn keyed(protocol: &str, lines: &str) -> String {
    sdp(&format!("m=audio 4000 {protocol} 8\r\n{lines}"))
}

const KEY: &str = "d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj";
const LINE: &str =
    "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj\r\n";

fn text(body: &[u8]) -> &str {
    std::str::from_utf8(body).unwrap()
}

#[test]
fn our_offer_has_keys_and_demands_them_only_where_they_are_required() {
    for (required, line) in [
        (true, "m=audio 16384 RTP/SAVP 8 101\r\n"),
        (false, "m=audio 16384 RTP/AVP 8 101\r\n"),
    ] {
        let body = offer(&secure(required, 0), &[Codec::Alaw]);
        assert!(text(&body).contains(line), "{}", text(&body));
        assert!(text(&body).contains(
            "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\r\n\
             a=crypto:2 AES_CM_128_HMAC_SHA1_32 inline:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB\r\n\
             a=crypto:3 AEAD_AES_128_GCM inline:AgICAgICAgICAgICAgICAgICAgICAgICAgICAg==\r\n"
        ));
        let (next, _) = reoffer(
            &body,
            &secure(required, 0),
            &[Codec::Alaw],
            Direction::SendRecv,
        );
        assert_eq!(next, body);
    }
    assert!(!text(&offer(&local(), &CODECS)).contains("crypto"));
}

#[test]
fn two_of_ours_agree_on_keys_by_every_pair_of_settings() {
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Is {
        Off,
        Optional,
        Required,
    }
    let end = |is, seed| match is {
        Is::Off => local(),
        Is::Optional => secure(false, seed),
        Is::Required => secure(true, seed),
    };
    for caller in [Is::Off, Is::Optional, Is::Required] {
        for callee in [Is::Off, Is::Optional, Is::Required] {
            let (ours, theirs) = (end(caller, 10), end(callee, 20));
            let body = offer(&ours, &CODECS);
            let answered = answer(&body, &theirs, &CODECS);
            let pair = (caller, callee);
            if matches!(pair, (Is::Off, Is::Required) | (Is::Required, Is::Off)) {
                assert_eq!(answered.unwrap_err().status(), 488, "{pair:?}");
                continue;
            }
            let (body, there) = answered.unwrap();
            let here = accept_answer(&offer(&ours, &CODECS), &body, &CODECS).unwrap();
            let savp = caller == Is::Required;
            assert_eq!(text(&body).contains(" RTP/SAVP "), savp, "{pair:?}");
            let (Some(here), Some(there)) = (here.crypto, there.crypto) else {
                assert!(caller == Is::Off || callee == Is::Off, "{pair:?}");
                assert!(!text(&body).contains("crypto"));
                continue;
            };
            assert_eq!((here.tag, there.tag), (1, 1));
            assert_eq!(here.keys.send, there.keys.receive);
            assert_eq!(here.keys.receive, there.keys.send);
            assert_ne!(here.keys.send, here.keys.receive);
        }
    }
}

#[test]
fn lines_that_ask_for_what_we_do_not_do_are_passed_over() {
    let suite = "AES_CM_128_HMAC_SHA1_80";
    let usable = [
        format!("1 {suite} inline:{KEY}"),
        format!("1 {suite} inline:{KEY}|2^48"),
        format!("1 {suite} inline:{KEY}|1048576"),
        format!("1 {suite} inline:{KEY} KDR=0 WSH=128 -x=1"),
        format!("1  {suite}   inline:{KEY}  "),
        format!("999999999 AES_CM_128_HMAC_SHA1_32 inline:{KEY}"),
        "7 AEAD_AES_128_GCM inline:AgICAgICAgICAgICAgICAgICAgICAgICAgICAg==".to_owned(),
        "7 AEAD_AES_128_GCM inline:AgICAgICAgICAgICAgICAgICAgICAgICAgICAg".to_owned(),
    ];
    for value in usable {
        let body = keyed("RTP/SAVP", &format!("a=crypto:{value}\r\n"));
        let (answer, agreed) = answer(body.as_bytes(), &secure(true, 1), &CODECS).unwrap();
        assert!(agreed.crypto.is_some(), "{value}");
        let words: Vec<&str> = value.split_ascii_whitespace().collect();
        let ours = format!("a=crypto:{} {} inline:", words[0], words[1]);
        assert!(text(&answer).contains(&ours), "{}", text(&answer));
        assert!(!text(&answer).contains(KEY));
    }
    let mki = keyed(
        "RTP/SAVP",
        &format!("a=crypto:1 {suite} inline:{KEY}|2^20|1:4\r\n"),
    );
    let (answer_to_mki, agreed) = answer(mki.as_bytes(), &secure(true, 1), &CODECS).unwrap();
    assert_eq!(agreed.crypto.unwrap().keys.mki_len, 4);
    assert!(!text(&answer_to_mki).contains('|'));
    let unusable = [
        format!("1 {suite} inline:{KEY} UNENCRYPTED_SRTP"),
        format!("1 {suite} inline:{KEY} UNENCRYPTED_SRTCP"),
        format!("1 {suite} inline:{KEY} UNAUTHENTICATED_SRTP"),
        format!("1 {suite} inline:{KEY} KDR=3"),
        format!("1 {suite} inline:{KEY} WSH=63"),
        format!("1 {suite} inline:{KEY} FEC_ORDER=FEC_SRTP"),
        format!("1 {suite} inline:{KEY} anything"),
        format!("1 {suite} inline:AAAA"),
        format!("1 {suite} inline:{KEY}AAAA"),
        format!("1 {suite} inline:@@@###"),
        format!("1 {suite} inline:{KEY}|soon"),
        format!("1 {suite} inline:{KEY}|2^20|1"),
        format!("1 {suite} inline:{KEY}|2^20|1:0"),
        format!("1 {suite} inline:{KEY}|2^20|1:129"),
        format!("1 {suite} inline:{KEY}|2^20|1:4|1"),
        format!("1 {suite} inline:{KEY}|2^20|1:4;inline:{KEY}|2^20|2:4"),
        format!("1 {suite} {KEY}"),
        format!("1 {suite}"),
        format!("01 {suite} inline:{KEY}"),
        format!("x {suite} inline:{KEY}"),
        format!("4294967297 {suite} inline:{KEY}"),
        format!("1 AES_CM_256_HMAC_SHA1_80 inline:{KEY}"),
        "1 AEAD_AES_128_GCM inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj".to_owned(),
        String::new(),
    ];
    for value in unusable {
        let line = format!("a=crypto:{value}\r\n");
        let body = keyed("RTP/SAVP", &line);
        let refused = answer(body.as_bytes(), &secure(false, 1), &CODECS);
        assert_eq!(refused, Err(OfferError::NoUsableKey), "{value}");
        // The next one is taken.
        let both = keyed("RTP/SAVP", &format!("{line}{}", LINE.replace(":1 ", ":2 ")));
        let (_, agreed) = answer(both.as_bytes(), &secure(true, 1), &CODECS).unwrap();
        assert_eq!(agreed.crypto.unwrap().tag, 2, "{value}");
        // Where it is a matter of choice, there is a call without.
        let choice = keyed("RTP/AVP", &line);
        let (answer, agreed) = answer(choice.as_bytes(), &secure(false, 1), &CODECS).unwrap();
        assert!(agreed.crypto.is_none() && !text(&answer).contains("crypto"));
    }
}

#[test]
fn encryption_is_preferred_and_never_answered_by_less() {
    let two = |first: &str, second: &str| {
        sdp(&format!(
            "m=audio 4000 {first} 8\r\n{LINE}m=audio 4002 {second} 8\r\n{LINE}"
        ))
    };
    for (first, second, taken) in [("RTP/AVP", "RTP/SAVP", 4000), ("RTP/SAVP", "RTP/AVP", 4000)] {
        let (answer, agreed) =
            answer(two(first, second).as_bytes(), &secure(false, 1), &CODECS).unwrap();
        assert_eq!(agreed.remote.port(), taken);
        assert!(text(&answer).contains(&format!("m=audio 16384 {first} 8\r\n")));
        assert!(text(&answer).contains(&format!("m=audio 0 {second} 8\r\n")));
    }
    // Without keys in the first line the second one is better; an end without SRTP takes the plain one.
    let body = sdp(&format!(
        "m=audio 4000 RTP/AVP 8\r\nm=audio 4002 RTP/SAVP 8\r\n{LINE}"
    ));
    let (_, agreed) = answer(body.as_bytes(), &secure(false, 1), &CODECS).unwrap();
    assert_eq!(
        (agreed.remote.port(), agreed.crypto.is_some()),
        (4002, true)
    );
    let (_, agreed) = answer(body.as_bytes(), &local(), &CODECS).unwrap();
    assert_eq!(
        (agreed.remote.port(), agreed.crypto.is_some()),
        (4000, false)
    );
    let savp = keyed("RTP/SAVP", LINE);
    assert_eq!(
        answer(savp.as_bytes(), &local(), &CODECS),
        Err(OfferError::Encrypted)
    );
    let plain = keyed("RTP/AVP", "");
    let refused = answer(plain.as_bytes(), &secure(true, 1), &CODECS);
    assert_eq!(refused, Err(OfferError::NotEncrypted));
    for protocol in ["UDP/TLS/RTP/SAVP", "RTP/SAVPF"] {
        let refused = answer(keyed(protocol, LINE).as_bytes(), &secure(true, 1), &CODECS);
        assert_eq!(refused, Err(OfferError::NoAudio));
    }
}

#[test]
fn an_answer_must_have_one_of_the_keys_we_offered() {
    let required = offer(&secure(true, 1), &CODECS);
    let choice = offer(&secure(false, 1), &CODECS);
    let accept = |ours: &[u8], protocol: &str, lines: &str| {
        accept_answer(ours, keyed(protocol, lines).as_bytes(), &CODECS)
            .map(|agreed| agreed.crypto.map(|crypto| crypto.tag))
    };
    let second = LINE.replace("1 AES_CM_128_HMAC_SHA1_80", "2 AES_CM_128_HMAC_SHA1_32");
    let crossed = LINE.replace(":1 ", ":2 ");
    let unknown = LINE.replace(":1 ", ":9 ");
    let open = LINE.replace("\r\n", " UNENCRYPTED_SRTP\r\n");
    assert_eq!(accept(&required, "RTP/SAVP", LINE), Ok(Some(1)));
    assert_eq!(accept(&required, "RTP/SAVP", &second), Ok(Some(2)));
    assert_eq!(accept(&choice, "RTP/AVP", LINE), Ok(Some(1)));
    assert_eq!(accept(&choice, "RTP/AVP", ""), Ok(None));
    for ours in [&required, &choice] {
        for line in [&crossed, &unknown, &open] {
            let refused = accept(ours, "RTP/SAVP", line);
            assert_eq!(refused, Err(OfferError::NoUsableKey), "{line}");
        }
    }
    for protocol in ["RTP/SAVP", "RTP/AVP"] {
        let refused = accept(&required, protocol, "");
        assert_eq!(refused, Err(OfferError::NotEncrypted));
    }
    assert_eq!(
        accept(&choice, "RTP/SAVP", ""),
        Err(OfferError::NotEncrypted)
    );
    // What nobody asked for is nothing.
    let plain = offer(&local(), &CODECS);
    assert_eq!(accept(&plain, "RTP/AVP", LINE), Ok(None));
}

#[test]
fn keys_stay_with_the_peer_s_and_change_with_it() {
    let first = keyed("RTP/SAVP", LINE);
    let (body, agreed) = answer(first.as_bytes(), &secure(true, 1), &CODECS).unwrap();
    let held = first.replace("t=0 0\r\n", "t=0 0\r\na=sendonly\r\n");
    let local = LocalMedia {
        version: 1,
        ..secure(true, 50)
    };
    let (body, held, version) = reanswer(held.as_bytes(), &local, &CODECS, &body, &agreed).unwrap();
    assert_eq!((held.direction, version), (Direction::RecvOnly, 2));
    assert_eq!(held.crypto, agreed.crypto);
    let other = first.replace("d0Rm", "e0Rm");
    let (_, changed, version) = reanswer(other.as_bytes(), &local, &CODECS, &body, &held).unwrap();
    let (old, new) = (held.crypto.unwrap(), changed.crypto.unwrap());
    assert_ne!(old.keys.receive, new.keys.receive);
    assert_ne!(old.keys.send, new.keys.send);
    assert_eq!((new.keys.send.octets()[0], version), (50, 2));
    // Less than there was is refused where it is required.
    let plain = keyed("RTP/AVP", "");
    assert!(reanswer(plain.as_bytes(), &local, &CODECS, &body, &agreed).is_err());
}

#[test]
fn no_key_is_in_what_is_printed() {
    let (_, agreed) = answer(
        keyed("RTP/SAVP", LINE).as_bytes(),
        &secure(true, 1),
        &CODECS,
    )
    .unwrap();
    let printed = format!("{agreed:?} {:?}", secure(true, 1));
    assert!(printed.contains("***"));
    assert!(
        !printed.contains("1, 1") && !printed.contains("119, 68"),
        "{printed}"
    );
}
