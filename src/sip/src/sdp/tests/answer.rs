//! What we answer to an offer of the peer.

use super::*;

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
