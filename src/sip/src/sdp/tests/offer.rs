//! What we offer, and what the peer's answer makes of it.

use super::*;

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

/// RFC 3264 5.1: each sends with the numbers of the other's description.
#[test]
fn an_answer_may_have_numbers_of_its_own() {
    let ours = offer(&local(), &[Codec::Opus, Codec::Alaw]);
    let accept = |media: &str| {
        let agreed = accept_answer(&ours, sdp(media).as_bytes(), &Codec::ALL).unwrap();
        let audio = agreed.audio;
        let sent = (audio.payload_type, audio.dtmf_payload_type);
        let received = audio.received.map(|types| (types.audio, types.event));
        (sent, received)
    };
    let opus = "m=audio 5000 RTP/AVP 96 97\r\na=rtpmap:96 opus/48000/2\r\na=rtpmap:97 telephone-event/48000\r\n";
    assert_eq!(accept(opus), ((96, Some(97)), Some((107, Some(110)))));
    let alaw = "m=audio 5000 RTP/AVP 8 96\r\na=rtpmap:96 telephone-event/8000\r\n";
    assert_eq!(accept(alaw), ((8, Some(96)), Some((8, Some(101)))));
    let mute = "m=audio 5000 RTP/AVP 96\r\na=rtpmap:96 opus/48000/2\r\n";
    assert_eq!(accept(mute), ((96, None), Some((107, None))));
    let same = "m=audio 5000 RTP/AVP 8 101\r\na=rtpmap:101 telephone-event/8000\r\n";
    assert_eq!(accept(same), ((8, Some(101)), None));
}

/// RFC 3264 7: the first is the one to send, the others may come without a word.
#[test]
fn an_answer_may_have_several_codecs() {
    let ours = offer(&local(), &[Codec::Opus, Codec::Alaw, Codec::Mulaw]);
    let answer = sdp(
        "m=audio 5000 RTP/AVP 8 9 0 96 101\r\na=rtpmap:96 opus/48000/2\r\na=rtpmap:101 telephone-event/8000\r\n",
    );
    let agreed = accept_answer(&ours, answer.as_bytes(), &Codec::ALL).unwrap();
    assert_eq!(agreed.audio.codec, Codec::Alaw);
    let others = agreed.others.iter().map(|audio| {
        let received = audio.received.map(|types| types.audio);
        (audio.codec, audio.payload_type, received)
    });
    // G.722 was not offered.
    let expected = [(Codec::Opus, 96, Some(107)), (Codec::Mulaw, 0, None)];
    assert!(others.eq(expected), "{:?}", agreed.others);
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
