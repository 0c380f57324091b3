use super::*;

fn refused(request: Request) -> Response {
    Lone::incoming(local(), request).err().unwrap().response
}

fn with(name: &str, value: &str) -> Request {
    let mut request = invite(SDP);
    request.headers.set(HeaderName::from(name), value);
    request
}

#[test]
fn an_invite_that_makes_no_call_is_refused_with_its_reason() {
    let mut options = invite(SDP);
    options.method = Method::Options;
    let mut scheme = invite(SDP);
    scheme.uri = uri("http:x");
    let mut no_contact = invite(SDP);
    no_contact.headers.remove(&HeaderName::Contact);
    let table = [
        (options, 405, None),
        (scheme, 416, None),
        (with("To", "<sip:600@192.0.2.9>;tag=x"), 481, None),
        (
            with("Require", "precondition, 100rel"),
            420,
            Some(("Unsupported", "precondition")),
        ),
        (
            with("Content-Type", "text/plain"),
            415,
            Some(("Accept", "application/sdp")),
        ),
        (
            with("Content-Encoding", "gzip"),
            415,
            Some(("Accept-Encoding", "identity")),
        ),
        (with("Accept", "text/nobodyKnowsThis"), 406, None),
        (with("Accept", ""), 406, None),
        (no_contact, 400, None),
        (with("Contact", "<tel:+1555>"), 400, None),
    ];
    for (request, status, header) in table {
        let response = refused(request);
        assert_eq!(response.status, status);
        assert!(response.headers.to().unwrap().tag().is_some());
        if let Some((name, value)) = header {
            assert_eq!(response.headers.get(&HeaderName::from(name)), Some(value));
        }
    }
}

#[test]
fn a_caller_that_reads_sdp_among_others_is_served() {
    for accept in [
        "application/sdp",
        "text/plain, Application/SDP;level=1",
        "application/*",
        "*/*;q=0.1",
    ] {
        let mut request = invite(SDP);
        request.headers.set(HeaderName::Accept, accept);
        assert!(Lone::incoming(local(), request).is_ok(), "{accept}");
    }
}

#[test]
fn an_answered_call_goes_its_way() {
    let mut lone = Lone::called();
    assert_eq!(lone.call.offer(), Some(sdp()));
    assert_eq!(lone.give(CallInput::Ring { sdp: None }), ["180 INVITE"]);
    assert_eq!(
        lone.give(CallInput::Ring { sdp: Some(sdp()) }),
        ["183 INVITE"]
    );
    assert_eq!(lone.give(CallInput::Answer { sdp: sdp() }), ["200 INVITE"]);
    assert_eq!(lone.ack(10, ""), ["Confirmed"]);
    assert_eq!(lone.ack(10, ""), [""; 0]);
    assert_eq!(lone.advance(T1 * 200), [""; 0]);
    assert_eq!(lone.hang_up(), ["Ended Local Bye 200", "BYE"]);
    assert!(!lone.call.is_over());
    assert_eq!(lone.reply(200, "", ""), [""; 0]);
    assert!(lone.call.is_over());
    let tags: Vec<String> = lone
        .responses
        .iter()
        .map(|r| r.headers.to().unwrap().tag().unwrap().to_owned())
        .collect();
    assert!(
        tags.iter()
            .all(|tag| *tag == lone.call.dialog_id().local_tag)
    );
    for response in &lone.responses {
        assert_eq!(
            response.headers.get(&HeaderName::Contact),
            Some("<sip:gw@192.0.2.9:5060>")
        );
    }
    assert_eq!(lone.responses[1].body, sdp());
}

#[test]
fn a_bye_goes_to_where_the_caller_really_is() {
    let mut lone = Lone::answered();
    lone.hang_up();
    let (target, bye) = lone.sent.pop().unwrap();
    assert_eq!(target, peer());
    assert_eq!(bye.uri.to_string(), "sip:a@10.0.0.5:5062");
    assert_eq!(
        bye.headers.get(&HeaderName::To),
        Some("\"A\" <sip:a@192.0.2.1>;tag=a1")
    );
    assert_eq!(bye.headers.get(&HeaderName::CSeq), Some("1 BYE"));
    assert!(!bye.headers.has(&HeaderName::Via));
}

#[test]
fn or_to_where_it_says_when_nobody_is_behind_nat() {
    let plain = Local {
        send_to_source: false,
        ..local()
    };
    let route = |records: &[&str]| {
        let mut request = invite(SDP);
        for record in records {
            request.headers.push(HeaderName::RecordRoute, record);
        }
        let mut lone = Lone::incoming(plain.clone(), request).unwrap();
        lone.give(CallInput::Answer { sdp: sdp() });
        lone.ack(10, "");
        lone.hang_up();
        let (target, bye) = lone.sent.pop().unwrap();
        let routes: Vec<String> = bye
            .headers
            .routes()
            .iter()
            .map(ToString::to_string)
            .collect();
        (
            target.address.to_string(),
            bye.uri.to_string(),
            routes.join(" "),
        )
    };
    let loose = route(&["<sip:192.0.2.50;lr>", "<sip:192.0.2.51:5070;lr>"]);
    let strict = route(&["<sip:192.0.2.50;method=X?a=b>", "<sip:192.0.2.51;lr>"]);
    let named = route(&["<sip:proxy.example;lr>"]);
    let contact = "sip:a@10.0.0.5:5062".to_owned();
    assert_eq!(
        route(&[]),
        ("10.0.0.5:5062".into(), contact.clone(), String::new())
    );
    assert_eq!(
        loose,
        (
            "192.0.2.50:5060".into(),
            contact.clone(),
            "<sip:192.0.2.50;lr> <sip:192.0.2.51:5070;lr>".into()
        )
    );
    assert_eq!(
        strict,
        (
            "192.0.2.50:5060".into(),
            "sip:192.0.2.50".into(),
            "<sip:192.0.2.51;lr> <sip:a@10.0.0.5:5062>".into()
        )
    );
    assert_eq!(
        named,
        (
            peer().address.to_string(),
            contact,
            "<sip:proxy.example;lr>".into()
        )
    );
}

#[test]
fn the_200_is_repeated_until_the_ack_and_given_up_after_32_seconds() {
    let mut lone = Lone::called();
    lone.give(CallInput::Answer { sdp: sdp() });
    let begin = lone.now;
    let mut times = Vec::new();
    loop {
        let at = lone.call.timers.next().unwrap();
        lone.now = at;
        let seen = lone.give(CallInput::Timeout);
        if seen != ["200 INVITE"] {
            assert_eq!(seen, ["Ended Local NoAck 408", "BYE"]);
            break;
        }
        times.push((at - begin).as_millis());
    }
    assert_eq!(
        times,
        [
            500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500, 31500
        ]
    );
    assert_eq!(lone.now - begin, Duration::from_secs(32));
    assert_eq!(
        lone.give(CallInput::Failed {
            why: crate::Failure::TimedOut
        }),
        [""; 0]
    );
    assert!(lone.call.is_over());
}

#[test]
fn a_hang_up_before_the_ack_waits_for_it() {
    let mut lone = Lone::called();
    lone.give(CallInput::Answer { sdp: sdp() });
    assert_eq!(lone.hang_up(), ["Ended Local Bye 200"]);
    assert_eq!(lone.advance(T1), ["200 INVITE"]);
    assert_eq!(lone.ack(9, ""), [""; 0]);
    assert_eq!(lone.ack(10, ""), ["BYE"]);
    assert_eq!(lone.reply(200, "", ""), [""; 0]);
    assert!(lone.call.is_over());

    let mut lone = Lone::called();
    lone.give(CallInput::Answer { sdp: sdp() });
    lone.hang_up();
    let seen = lone.advance(T1 * 64);
    assert_eq!(seen.last().map(String::as_str), Some("BYE"));

    let mut lone = Lone::called();
    lone.give(CallInput::Answer { sdp: sdp() });
    lone.hang_up();
    assert_eq!(lone.ask(Method::Bye, ""), ["200 BYE"]);
    assert!(lone.call.is_over());
}

#[test]
fn a_cancel_ends_what_is_not_answered() {
    let mut lone = Lone::called();
    let cancelled = |lone: &mut Lone, tx| {
        let reason = Some("SIP;cause=200;text=\"elsewhere\"".to_owned());
        lone.give(CallInput::Cancelled { tx, reason })
    };
    let other = lone.keys.next(lone.now);
    assert_eq!(cancelled(&mut lone, other), [""; 0]);
    let tx = lone.tx;
    assert_eq!(
        cancelled(&mut lone, tx),
        ["487 INVITE", "Ended Remote Cancelled 487"]
    );
    assert!(lone.call.is_over());

    let mut lone = Lone::called();
    lone.give(CallInput::Answer { sdp: sdp() });
    let tx = lone.tx;
    assert_eq!(cancelled(&mut lone, tx), [""; 0]);
}

#[test]
fn a_refusal_carries_what_the_owner_adds() {
    let mut lone = Lone::called();
    let seen = lone.give(CallInput::Refuse {
        status: 503,
        reason: "Too Many Requests: retry after 7".into(),
        headers: vec![
            ("Retry-After".into(), "7".into()),
            ("X-TG-Error".into(), "FLOOD\r\nX: y".into()),
        ],
    });
    assert_eq!(seen, ["503 INVITE", "Ended Local Refused 503"]);
    let response = &lone.responses[0];
    assert_eq!(response.reason, "Too Many Requests: retry after 7");
    assert_eq!(response.headers.get(&HeaderName::RetryAfter), Some("7"));
    let text = String::from_utf8(response.encode().to_vec()).unwrap();
    assert!(text.contains("X-TG-Error: FLOOD  X: y\r\n"), "{text}");
    assert!(lone.call.is_over());

    let mut lone = Lone::called();
    assert_eq!(
        lone.give(CallInput::HangUp {
            reason_header: Some("Q.850;cause=16".into())
        }),
        ["487 INVITE", "Ended Local Refused 487"]
    );
    assert_eq!(
        lone.responses[0].headers.get(&HeaderName::Reason),
        Some("Q.850;cause=16")
    );
}

#[test]
fn a_long_ringing_is_repeated_every_minute_and_ends_with_the_callers_patience() {
    let mut request = invite(SDP);
    request.headers.push(HeaderName::Expires, 150);
    let mut lone = Lone::incoming(local(), request).unwrap();
    lone.give(CallInput::Ring { sdp: None });
    assert_eq!(
        lone.advance(Duration::from_secs(150)),
        [
            "180 INVITE",
            "180 INVITE",
            "487 INVITE",
            "Ended Remote Cancelled 487"
        ]
    );
}

#[test]
fn an_invite_without_offer_is_answered_with_ours() {
    let late = || {
        let mut lone = Lone::incoming(local(), invite("")).unwrap();
        assert_eq!(lone.call.offer(), None);
        assert_eq!(
            lone.give(CallInput::Ring { sdp: Some(sdp()) }),
            ["180 INVITE"]
        );
        assert_eq!(lone.give(CallInput::Answer { sdp: sdp() }), ["200 INVITE"]);
        lone
    };
    assert_eq!(late().ack(10, SDP), ["OfferAnswered", "Confirmed"]);
    let mut lone = late();
    // Our offer is open until the ACK.
    assert_eq!(lone.ask(Method::Invite, SDP), ["491 INVITE"]);
    assert_eq!(lone.ask(Method::Update, SDP), ["491 UPDATE"]);
    assert_eq!(lone.ack(10, ""), ["Ended Local NoSdp 488", "BYE"]);
}

#[test]
fn an_early_dialog_answers_what_may_come_in_it() {
    let mut lone = Lone::called();
    lone.give(CallInput::Ring { sdp: None });
    assert_eq!(lone.ask(Method::Update, SDP), ["500 UPDATE"]);
    assert!(
        lone.responses
            .last()
            .unwrap()
            .headers
            .has(&HeaderName::RetryAfter)
    );
    assert_eq!(lone.ask(Method::Update, ""), ["200 UPDATE"]);
    assert_eq!(lone.ask(Method::Invite, SDP), ["500 INVITE"]);
    assert_eq!(lone.ask(Method::Prack, ""), ["481 PRACK"]);
    assert_eq!(lone.ask(Method::Info, ""), ["Info", "200 INFO"]);
    assert_eq!(
        lone.ask(Method::Bye, ""),
        ["200 BYE", "487 INVITE", "Ended Remote Cancelled 487"]
    );
}

#[test]
fn an_old_peer_without_a_tag_is_talked_to_without_one() {
    let mut request = invite(SDP);
    request.headers.set(HeaderName::From, "<sip:a@192.0.2.1>");
    let mut lone = Lone::incoming(local(), request).unwrap();
    lone.give(CallInput::Answer { sdp: sdp() });
    let mut ack = lone.request(Method::Ack, "");
    ack.headers.set(HeaderName::From, "<sip:a@192.0.2.1>");
    ack.headers.set(HeaderName::CSeq, "10 ACK");
    assert_eq!(lone.give(CallInput::Ack { request: ack }), ["Confirmed"]);
    lone.hang_up();
    assert_eq!(
        lone.last().headers.get(&HeaderName::To),
        Some("<sip:a@192.0.2.1>")
    );
}

#[test]
fn no_caller_waits_longer_than_three_minutes() {
    let mut lone = Lone::called();
    assert_eq!(
        lone.advance(Duration::from_secs(180)),
        ["480 INVITE", "Ended Local Refused 480"]
    );
}
