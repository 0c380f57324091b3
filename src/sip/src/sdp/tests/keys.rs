//! Keys of SRTP in offers and answers (RFC 4568).

use super::*;

/// An offer of G.711 with lines of keys.
fn keyed(protocol: &str, lines: &str) -> String {
    sdp(&format!("m=audio 4000 {protocol} 8\r\n{lines}"))
}

const KEY: &str = "d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj";

const LINE: &str =
    "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj\r\n";

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
