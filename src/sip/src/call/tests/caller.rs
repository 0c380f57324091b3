use super::*;
use crate::Failure;

fn tag_of(address: Option<crate::NameAddr>) -> String {
    address.unwrap().tag().unwrap().to_owned()
}

#[test]
fn the_invite_says_who_calls_whom() {
    let lone = Lone::calling();
    let (target, invite) = &lone.sent[0];
    let headers = &invite.headers;
    assert_eq!(*target, peer());
    assert_eq!(invite.uri.to_string(), "sip:600@198.51.100.7");
    assert_eq!(headers.get(&HeaderName::To), Some("<sip:600@198.51.100.7>"));
    assert_eq!(
        headers.get(&HeaderName::Contact),
        Some("<sip:gw@192.0.2.9:5060>")
    );
    assert_eq!(headers.get(&HeaderName::MaxForwards), Some("70"));
    assert_eq!(headers.get(&HeaderName::CSeq), Some("1 INVITE"));
    assert_eq!(headers.get(&HeaderName::from("x-tg-id")), Some("42"));
    assert_eq!(headers.content_type().as_deref(), Some("application/sdp"));
    assert_eq!(tag_of(headers.from()), lone.call.dialog_id().local_tag);
    assert_eq!(headers.call_id(), Some(lone.call.call_id()));
    assert_eq!(invite.body, sdp());
}

#[test]
fn an_answered_call_goes_its_way() {
    let mut lone = Lone::calling();
    assert_eq!(lone.reply(100, "", ""), [""; 0]);
    assert_eq!(lone.reply(180, "b1", ""), ["Ringing"]);
    assert_eq!(lone.reply(180, "b1", ""), [""; 0]);
    assert_eq!(lone.reply(183, "b1", SDP), ["Ringing+sdp"]);
    assert_eq!(lone.reply(183, "b1", SDP), [""; 0]);
    assert_eq!(lone.reply(200, "b1", SDP), ["ACK", "Answered", "Confirmed"]);
    let (target, ack) = lone.sent.last().unwrap();
    assert_eq!(
        (*target, ack.uri.to_string()),
        (peer(), "sip:b@10.0.0.7:5066".into())
    );
    assert_eq!(ack.headers.get(&HeaderName::CSeq), Some("1 ACK"));
    assert_eq!(lone.advance(Duration::from_secs(100)), [""; 0]);
    assert_eq!(
        lone.ask(Method::Bye, ""),
        ["200 BYE", "Ended Remote Bye 200"]
    );
    assert!(lone.call.is_over());
}

#[test]
fn an_answer_that_was_only_given_early_counts() {
    let mut lone = Lone::calling();
    lone.reply(183, "b1", SDP);
    assert_eq!(lone.reply(200, "b1", ""), ["ACK", "Answered", "Confirmed"]);
    let mut lone = Lone::calling();
    assert_eq!(
        lone.reply(200, "b1", ""),
        ["ACK", "Ended Local NoSdp 488", "BYE"]
    );
}

#[test]
fn a_repeated_200_gets_its_ack_again_in_every_state() {
    let mut lone = Lone::calling();
    let again = lone.reply_of(200, "b1", SDP);
    lone.give(CallInput::Response {
        response: again.clone(),
    });
    let ack = lone.sent.last().unwrap().clone();
    for step in 0..3 {
        let seen = lone.give(CallInput::Response {
            response: again.clone(),
        });
        assert_eq!(seen, ["ACK"], "{step}");
        assert_eq!(lone.sent.pop().unwrap(), ack);
        match step {
            0 => assert_eq!(lone.hang_up(), ["Ended Local Bye 200", "BYE"]),
            _ => assert_eq!(lone.reply(200, "", ""), [""; 0]),
        }
    }
    assert!(!lone.call.is_over());
    lone.advance(T1 * 64);
    assert!(lone.call.is_over());
}

#[test]
fn a_second_branch_that_answers_gets_an_ack_and_a_bye() {
    let mut lone = Lone::calling();
    let second = lone.reply_of(200, "b2", SDP);
    assert_eq!(lone.reply(180, "b2", ""), ["Ringing"]);
    assert_eq!(lone.reply(200, "b1", SDP), ["ACK", "Answered", "Confirmed"]);
    let seen = lone.give(CallInput::Response {
        response: second.clone(),
    });
    assert_eq!(seen, ["ACK", "dismiss BYE"]);
    let (_, bye) = lone.sent.last().unwrap();
    assert_eq!(tag_of(bye.headers.to()), "b2");
    assert_eq!(bye.headers.get(&HeaderName::CSeq), Some("2 BYE"));
    assert_eq!(lone.give(CallInput::Response { response: second }), ["ACK"]);
    let packets = (0..100)
        .map(|n| lone.reply(200, &format!("z{n}"), SDP).len())
        .sum::<usize>();
    assert!(packets <= 40, "{packets}");
    assert_eq!(lone.hang_up(), ["Ended Local Bye 200", "BYE"]);
    assert_eq!(tag_of(lone.last().headers.to()), "b1");
}

#[test]
fn the_route_of_the_200_is_turned_round() {
    let mut lone = Lone::calling();
    lone.call.local.send_to_source = false;
    let mut response = lone.reply_of(200, "b1", SDP);
    for record in ["<sip:192.0.2.61;lr>", "<sip:192.0.2.60;lr>"] {
        response.headers.push(HeaderName::RecordRoute, record);
    }
    lone.give(CallInput::Response { response });
    let (target, ack) = lone.sent.last().unwrap();
    assert_eq!(target.to_string(), "udp:192.0.2.60:5060");
    let routes: Vec<String> = ack
        .headers
        .routes()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(routes, ["<sip:192.0.2.60;lr>", "<sip:192.0.2.61;lr>"]);
}

#[test]
fn a_refusal_is_handed_on_as_it_is() {
    let mut lone = Lone::calling();
    let mut response = lone.reply_of(486, "b1", "");
    response.reason = "Busy with tea".into();
    response.headers.push(HeaderName::Reason, "Q.850;cause=17");
    response.headers.push(HeaderName::RetryAfter, "60 (tea)");
    lone.call
        .handle_input(lone.now, CallInput::Response { response });
    assert_eq!(
        lone.call.poll_output(),
        CallOutput::Event(CallEvent::Ended {
            by: Party::Remote,
            status: 486,
            phrase: "Busy with tea".into(),
            reason: Some("Q.850;cause=17".into()),
            retry_after: Some(Duration::from_secs(60)),
            cause: EndCause::Refused,
        })
    );
    assert_eq!(lone.call.poll_output(), CallOutput::Timeout(None));
    assert!(lone.call.is_over());
}

#[test]
fn a_hang_up_while_it_rings_cancels() {
    let mut lone = Lone::calling();
    lone.reply(180, "b1", "");
    assert_eq!(lone.hang_up(), ["CANCEL", "Ended Local Cancelled 487"]);
    assert_eq!(lone.hang_up(), [""; 0]);
    assert_eq!(lone.reply(180, "b1", ""), [""; 0]);
    assert_eq!(lone.reply(487, "b1", ""), [""; 0]);
    assert!(lone.call.is_over());
}

#[test]
fn an_answer_that_crosses_the_cancel_is_acknowledged_and_ended() {
    let mut lone = Lone::calling();
    lone.reply(180, "b1", "");
    lone.hang_up();
    let ok = lone.reply_of(200, "b1", SDP);
    assert_eq!(
        lone.give(CallInput::Response {
            response: ok.clone()
        }),
        ["ACK", "BYE"]
    );
    assert_eq!(lone.give(CallInput::Response { response: ok }), ["ACK"]);
    assert_eq!(lone.reply(200, "", ""), [""; 0]);
    assert_eq!(lone.reply(200, "", ""), [""; 0]);
    lone.advance(T1 * 64);
    assert!(lone.call.is_over());
}

#[test]
fn a_cancelled_call_that_never_ends_is_forgotten() {
    let mut lone = Lone::calling();
    lone.hang_up();
    assert_eq!(lone.advance(T1 * 128), [""; 0]);
    assert!(lone.call.is_over());
    let mut lone = Lone::calling();
    lone.hang_up();
    assert_eq!(
        lone.give(CallInput::Failed {
            why: Failure::TimedOut
        }),
        [""; 0]
    );
    assert!(lone.call.is_over());
}

#[test]
fn nobody_rings_for_ever() {
    let mut lone = Lone::calling();
    lone.reply(180, "b1", "");
    assert_eq!(
        lone.advance(Duration::from_secs(60)),
        ["CANCEL", "Ended Local NoAnswer 480"]
    );
    let mut lone = Lone::calling();
    assert_eq!(
        lone.advance(Duration::from_secs(60)),
        ["CANCEL", "Ended Local TimedOut 408"]
    );
}

#[test]
fn a_peer_that_is_not_there_ends_the_call() {
    for (why, ended) in [
        (Failure::TimedOut, "Ended Local TimedOut 408"),
        (Failure::Transport, "Ended Local Unreachable 503"),
    ] {
        let mut lone = Lone::calling();
        assert_eq!(lone.give(CallInput::Failed { why }), [ended]);
        assert!(lone.call.is_over());
    }
}

#[test]
fn the_callee_may_ask_things_before_it_answers() {
    let mut lone = Lone::calling();
    assert_eq!(lone.ask(Method::Info, ""), ["481 INFO"]);
    lone.reply(183, "b1", SDP);
    assert_eq!(lone.ask(Method::Update, SDP), ["491 UPDATE"]);
    assert_eq!(lone.ask(Method::Update, ""), ["200 UPDATE"]);
    assert_eq!(lone.ask(Method::Info, ""), ["Info", "200 INFO"]);
    assert_eq!(lone.ask(Method::Bye, ""), ["481 BYE"]);
    assert_eq!(lone.reply(200, "b1", SDP), ["ACK", "Answered", "Confirmed"]);
}

#[test]
fn a_cancel_and_a_bye_say_why() {
    let reason = || CallInput::HangUp {
        reason_header: Some("SIP;cause=200;text=\"Call completed elsewhere\"".into()),
    };
    let mut lone = Lone::calling();
    lone.call.handle_input(lone.now, reason());
    let CallOutput::CancelInvite { reason: Some(text) } = lone.call.poll_output() else {
        panic!("no reason");
    };
    assert!(text.starts_with("SIP;cause=200"));
    let mut lone = Lone::talking();
    lone.give(reason());
    assert!(
        lone.last()
            .headers
            .get(&HeaderName::Reason)
            .unwrap()
            .contains("elsewhere")
    );
}

fn account() -> Account {
    Account {
        username: "1001".to_owned(),
        password: model::Secret::new("a long password".to_owned()),
    }
}

/// A refusal with a challenge of our own server side.
fn challenged(lone: &Lone, status: u16, digest: &mut crate::digest::Digest) -> CallInput {
    let challenge = digest.challenge(1_000, peer().ip(), false).remove(0);
    let name = if status == 407 {
        HeaderName::ProxyAuthenticate
    } else {
        HeaderName::WwwAuthenticate
    };
    let mut response = lone.reply_of(status, "c1", "");
    response.headers.push(name, challenge);
    CallInput::Response { response }
}

#[test]
fn a_challenged_invite_comes_again_with_credentials_and_so_does_all_that_follows() {
    let mut digest = crate::digest::Digest::new("pbx", [1; 32]);
    let mut check = |request: &Request| {
        let verdict = digest.check(1_000, peer().ip(), request, "a long password");
        assert_eq!(verdict, crate::digest::Verdict::Ok, "{request:?}");
    };
    let mut other = crate::digest::Digest::new("pbx", [1; 32]);
    let mut lone = Lone::calling_with(Some(account()), Vec::new());
    let refusal = challenged(&lone, 401, &mut other);
    assert_eq!(lone.give(refusal), ["INVITE"]);
    let first = lone.sent[0].1.clone();
    let invite = lone.sent[1].1.clone();
    check(&invite);
    assert_eq!(invite.headers.get(&HeaderName::CSeq), Some("2 INVITE"));
    assert_eq!(invite.headers.call_id(), first.headers.call_id());
    assert_eq!(
        invite.headers.get(&HeaderName::From),
        first.headers.get(&HeaderName::From)
    );
    assert_eq!((&invite.body, &invite.uri), (&first.body, &first.uri));
    assert_eq!(invite.headers.get(&HeaderName::from("x-tg-id")), Some("42"));

    assert_eq!(lone.reply(200, "b1", SDP), ["ACK", "Answered", "Confirmed"]);
    let ack = lone.sent.last().unwrap().1.clone();
    assert_eq!(
        ack.headers.get(&HeaderName::Authorization),
        invite.headers.get(&HeaderName::Authorization)
    );
    assert_eq!(lone.hang_up(), ["Ended Local Bye 200", "BYE"]);
    check(&lone.sent.last().unwrap().1);
}

#[test]
fn an_invite_that_comes_again_after_it_rang_belongs_to_no_branch() {
    // RFC 3261 8.1.3.5, RFC 4028 7.3: a new request for the same, not one inside what the refusal has ended.
    let mut digest = crate::digest::Digest::new("pbx", [1; 32]);
    for status in [401, 407, 422] {
        let mut lone = Lone::calling_with(Some(account()), Vec::new());
        let mut ringing = lone.reply_of(180, "b1", "");
        ringing
            .headers
            .push(HeaderName::RecordRoute, "<sip:192.0.2.61;lr>");
        lone.give(CallInput::Response { response: ringing });
        let refusal = if status == 422 {
            let mut response = lone.reply_of(422, "b1", "");
            response.headers.push(HeaderName::MinSe, "3600");
            CallInput::Response { response }
        } else {
            challenged(&lone, status, &mut digest)
        };
        assert_eq!(lone.give(refusal), ["INVITE"]);
        let (first, again) = (&lone.sent[0], lone.sent.last().unwrap());
        assert_eq!((first.0, &first.1.uri), (again.0, &again.1.uri), "{status}");
        let to = |invite: &Request| invite.headers.get(&HeaderName::To).map(str::to_owned);
        assert_eq!(to(&first.1), to(&again.1), "{status}");
        assert!(!again.1.headers.has(&HeaderName::Route), "{status}");
        assert_eq!(lone.reply(183, "b2", SDP), ["Ringing+sdp"], "{status}");
        let answered = ["ACK", "Answered", "Confirmed"];
        assert_eq!(lone.reply(200, "b2", ""), answered, "{status}");
    }
}

#[test]
fn a_challenged_bye_comes_again_once() {
    let mut digest = crate::digest::Digest::new("pbx", [1; 32]);
    let mut lone = Lone::calling_with(Some(account()), Vec::new());
    lone.reply(200, "b1", SDP);
    lone.hang_up();
    let refusal = challenged(&lone, 407, &mut digest);
    assert_eq!(lone.give(refusal), ["BYE"]);
    let bye = &lone.sent.last().unwrap().1;
    assert!(bye.headers.has(&HeaderName::ProxyAuthorization));
    let refusal = challenged(&lone, 407, &mut digest);
    assert_eq!(lone.give(refusal), [""; 0]);
    assert_eq!(lone.sent.len(), 4);
}

#[test]
fn a_challenge_ends_the_call_without_an_account_and_after_a_wrong_password() {
    let mut digest = crate::digest::Digest::new("pbx", [1; 32]);
    let mut lone = Lone::calling();
    let refusal = challenged(&lone, 401, &mut digest);
    assert_eq!(lone.give(refusal), ["Ended Remote Refused 401"]);

    let mut lone = Lone::calling_with(Some(account()), Vec::new());
    let refusal = challenged(&lone, 407, &mut digest);
    assert_eq!(lone.give(refusal), ["INVITE"]);
    let refusal = challenged(&lone, 407, &mut digest);
    assert_eq!(lone.give(refusal), ["Ended Remote Refused 407"]);
}

#[test]
fn a_challenged_info_comes_again_once() {
    let mut digest = crate::digest::Digest::new("pbx", [1; 32]);
    let mut lone = Lone::calling_with(Some(account()), Vec::new());
    lone.reply(200, "b1", SDP);
    let body = Bytes::from_static(b"Signal=1\r\n");
    let content_type = "application/dtmf-relay".to_owned();
    let input = CallInput::Info { content_type, body };
    assert_eq!(lone.give(input), ["INFO"]);
    for answer in ["INFO", "InfoAnswered 401"] {
        let challenge = digest.challenge(1_000, peer().ip(), false).remove(0);
        let mut response = lone.reply_of(401, "b1", "");
        response
            .headers
            .push(HeaderName::WwwAuthenticate, challenge);
        assert_eq!(lone.give(CallInput::Response { response }), [answer]);
        let info = lone.last();
        assert!(info.headers.has(&HeaderName::Authorization));
        assert_eq!(&info.body[..], b"Signal=1\r\n");
        let kind = info.headers.get(&HeaderName::ContentType);
        assert_eq!(kind, Some("application/dtmf-relay"));
    }
    // An answer that comes again is no answer to anything.
    assert_eq!(lone.reply(200, "b1", ""), [""; 0]);
}

#[test]
fn a_challenged_reinvite_and_update_come_again_once() {
    let mut digest = crate::digest::Digest::new("pbx", [1; 32]);
    let mut lone = Lone::calling_with(Some(account()), Vec::new());
    lone.reply(200, "b1", SDP);
    lone.give(CallInput::Offer { sdp: sdp() });
    let challenged = |lone: &Lone, digest: &mut crate::digest::Digest| {
        let challenge = digest.challenge(1_000, peer().ip(), false).remove(0);
        let mut response = lone.reply_of(401, "b1", "");
        response
            .headers
            .push(HeaderName::WwwAuthenticate, challenge);
        CallInput::Response { response }
    };
    let refusal = challenged(&lone, &mut digest);
    assert_eq!(lone.give(refusal), ["INVITE"]);
    let invite = lone.last().clone();
    assert!(invite.headers.has(&HeaderName::Authorization) && invite.body == sdp());
    assert_eq!(lone.reply(200, "", SDP), ["ACK", "OfferAnswered"]);
    // The ACK repeats the credentials of its INVITE (RFC 3261 22.1).
    let ack = &lone.sent.last().unwrap().1.headers;
    assert_eq!(
        ack.get(&HeaderName::Authorization),
        invite.headers.get(&HeaderName::Authorization)
    );
    lone.give(CallInput::Offer { sdp: sdp() });
    let refusal = challenged(&lone, &mut digest);
    assert_eq!(lone.give(refusal), ["INVITE"]);
    let refusal = challenged(&lone, &mut digest);
    assert_eq!(lone.give(refusal), ["OfferRefused 401"]);
}

// ---------------------------------------------------------------- several places (RFC 3263 4.3)

fn place(n: u8) -> Hop {
    Hop::udp(std::net::SocketAddr::from(([198, 51, 100, n], 5060)))
}

/// Calling a peer that may be at two other places, too.
fn calling_three() -> Lone {
    Lone::calling_with(None, vec![place(2), place(3)])
}

fn went_to(lone: &Lone) -> Hop {
    let invites = lone.sent.iter().filter(|(_, r)| r.method == Method::Invite);
    invites.last().unwrap().0
}

#[test]
fn a_place_that_is_silent_is_left_after_four_seconds() {
    let mut lone = calling_three();
    assert_eq!(went_to(&lone), peer());
    for n in [2, 3] {
        assert_eq!(
            lone.advance(Duration::from_secs(4)),
            ["CANCEL", "NobodyThere", "INVITE"]
        );
        assert_eq!(went_to(&lone), place(n));
    }
    // The last one has all the time there is.
    assert_eq!(lone.advance(Duration::from_secs(31)), [""; 0]);
    assert_eq!(lone.reply(200, "b1", SDP), ["ACK", "Answered", "Confirmed"]);
}

#[test]
fn a_place_that_cannot_be_reached_or_has_no_time_is_left_at_once() {
    let mut lone = calling_three();
    let why = Failure::Transport;
    assert_eq!(
        lone.give(CallInput::Failed { why }),
        ["NobodyThere", "INVITE"]
    );
    assert_eq!(went_to(&lone), place(2));
    assert_eq!(lone.reply(503, "b1", ""), ["NobodyThere", "INVITE"]);
    assert_eq!(went_to(&lone), place(3));
    assert_eq!(lone.reply(503, "b2", ""), ["Ended Remote Refused 503"]);
}

#[test]
fn who_asks_for_fewer_calls_is_not_left_alone_for_all() {
    for (params, wait) in [
        (";oc;oc-algo=\"loss\"", Some(9)),
        (";oc=0;oc-validity=0", Some(9)),
        (";oc=40;oc-algo=\"loss\";oc-validity=500", None),
    ] {
        let mut lone = Lone::calling();
        let mut response = lone.reply_of(503, "b1", "");
        let via = format!("SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKa{params}");
        response.headers.set_first(HeaderName::Via, via);
        response.headers.push(HeaderName::RetryAfter, "9");
        let input = CallInput::Response { response };
        lone.call.handle_input(lone.now, input);
        let CallOutput::Event(CallEvent::Ended { retry_after, .. }) = lone.call.poll_output()
        else {
            panic!("{params}");
        };
        assert_eq!(retry_after, wait.map(Duration::from_secs), "{params}");
    }
}

#[test]
fn a_place_that_asked_for_fewer_calls_is_left_and_is_there_all_the_same() {
    let mut lone = calling_three();
    let held_back = || CallInput::Failed {
        why: Failure::HeldBack,
    };
    assert_eq!(lone.give(held_back()), ["INVITE"]);
    assert_eq!(went_to(&lone), place(2));
    assert_eq!(lone.give(held_back()), ["INVITE"]);
    assert_eq!(went_to(&lone), place(3));
    assert_eq!(lone.give(held_back()), ["Ended Local HeldBack 503"]);
}

#[test]
fn a_place_that_says_anything_is_kept() {
    for status in [100, 180] {
        let mut lone = calling_three();
        lone.reply(status, "b1", "");
        assert_eq!(lone.advance(Duration::from_secs(10)), [""; 0]);
        assert_eq!(went_to(&lone), peer());
    }
    // A phone that rang is not called at another place.
    let mut lone = calling_three();
    lone.reply(180, "b1", "");
    assert_eq!(lone.reply(503, "b1", ""), ["Ended Remote Refused 503"]);
    let mut lone = calling_three();
    assert_eq!(lone.reply(404, "b1", ""), ["Ended Remote Refused 404"]);
}

#[test]
fn an_answer_of_a_place_that_was_left_is_hung_up() {
    let mut lone = calling_three();
    let late = lone.reply_of(200, "late", SDP);
    lone.advance(Duration::from_secs(4));
    let response = lone.reply_of(200, "b1", SDP);
    assert_eq!(
        lone.give(CallInput::Response {
            response: late.clone()
        }),
        ["ACK", "dismiss BYE"]
    );
    let (ack, bye) = (lone.sent.len() - 2, lone.sent.len() - 1);
    assert_eq!((lone.sent[ack].0, lone.sent[bye].0), (peer(), peer()));
    assert_eq!(
        lone.give(CallInput::Response { response }),
        ["ACK", "Answered", "Confirmed"]
    );
    assert_eq!(lone.sent.last().unwrap().0, place(2));
    assert_eq!(lone.give(CallInput::Response { response: late }), ["ACK"]);
    assert_eq!(lone.sent.last().unwrap().0, peer());
    // What it refuses after it was left changes nothing either.
    let mut lone = calling_three();
    let late = lone.reply_of(486, "late", "");
    lone.advance(Duration::from_secs(4));
    assert_eq!(lone.give(CallInput::Response { response: late }), [""; 0]);
    assert_eq!(lone.reply(200, "b1", SDP), ["ACK", "Answered", "Confirmed"]);
}

#[test]
fn a_place_that_was_left_may_answer_after_the_call_has_ended() {
    let late = |lone: &Lone| {
        let (_, invite) = &lone.sent[0];
        let mut response = respond(invite, 200, "", Some("late"));
        let contact = "<sip:late@10.0.0.7:5066>";
        response.headers.push(HeaderName::Contact, contact);
        response
            .headers
            .push(HeaderName::ContentType, "application/sdp");
        response.body = sdp();
        CallInput::Response { response }
    };
    let is_hung_up = |lone: &mut Lone| {
        assert!(!lone.call.is_over());
        let answer = late(lone);
        assert_eq!(lone.give(answer), ["ACK", "dismiss BYE"]);
        let (ack, bye) = (lone.sent.len() - 2, lone.sent.len() - 1);
        assert_eq!((lone.sent[ack].0, lone.sent[bye].0), (peer(), peer()));
        lone.advance(T1 * 128);
        assert!(lone.call.is_over());
    };
    // The next place refuses.
    let mut lone = calling_three();
    lone.advance(Duration::from_secs(4));
    assert_eq!(lone.reply(486, "b1", ""), ["Ended Remote Refused 486"]);
    is_hung_up(&mut lone);
    // We give up, and the next place says that it has, too.
    let mut lone = calling_three();
    lone.advance(Duration::from_secs(4));
    lone.reply(180, "b1", "");
    lone.hang_up();
    lone.reply(487, "b1", "");
    is_hung_up(&mut lone);
    // We give up, and the place that was left is the first to answer.
    let mut lone = calling_three();
    lone.advance(Duration::from_secs(4));
    lone.reply(180, "b1", "");
    lone.hang_up();
    let answer = late(&lone);
    assert_eq!(lone.give(answer), ["ACK", "dismiss BYE"]);
    lone.reply(487, "b1", "");
    lone.advance(T1 * 128);
    assert!(lone.call.is_over());
}

#[test]
fn what_a_place_that_was_left_refuses_does_not_end_the_wait_for_the_other() {
    let mut lone = calling_three();
    let refusal = lone.reply_of(487, "late", "");
    lone.advance(Duration::from_secs(4));
    lone.reply(180, "b1", "");
    lone.hang_up();
    lone.give(CallInput::Response { response: refusal });
    // The answer of the one that rings crosses the CANCEL.
    assert_eq!(lone.reply(200, "b1", SDP), ["ACK", "BYE"]);
}
