use super::*;
use crate::Failure;

const NEWS: &str = "v=0\r\no=- 1 2 IN IP4 192.0.2.1\r\n";

fn offer() -> CallInput {
    CallInput::Offer { sdp: sdp() }
}

#[test]
fn a_reinvite_of_the_peer_is_answered_and_acknowledged() {
    for mut lone in [Lone::answered(), Lone::talking()] {
        assert_eq!(lone.ask(Method::Invite, NEWS), ["Offer"]);
        assert_eq!(
            lone.give(CallInput::AnswerOffer { sdp: sdp() }),
            ["200 INVITE"]
        );
        assert_eq!(lone.advance(T1), ["200 INVITE"]);
        let number = lone.cseq;
        assert_eq!(lone.ack(number, ""), [""; 0]);
        assert_eq!(lone.advance(T1 * 100), [""; 0]);
        // The target moved with the Contact of the re-INVITE, and the source with its packet.
        lone.hang_up();
        assert_eq!(lone.last().uri.to_string(), "sip:moved@10.0.0.6:5064");
        assert_eq!(lone.sent.last().unwrap().0.address.port(), 6060);
    }
}

#[test]
fn a_reinvite_without_offer_gets_ours() {
    let mut lone = Lone::talking();
    assert_eq!(lone.ask(Method::Invite, ""), ["OfferWanted"]);
    assert_eq!(
        lone.give(CallInput::AnswerOffer { sdp: sdp() }),
        ["200 INVITE"]
    );
    let number = lone.cseq;
    assert_eq!(lone.ack(number, NEWS), ["OfferAnswered"]);
}

#[test]
fn a_refused_reinvite_changes_nothing() {
    let mut lone = Lone::talking();
    lone.ask(Method::Invite, NEWS);
    assert_eq!(
        lone.give(CallInput::RefuseOffer { status: 488 }),
        ["488 INVITE"]
    );
    lone.hang_up();
    assert_eq!(lone.last().uri.to_string(), "sip:b@10.0.0.7:5066");
}

#[test]
fn an_update_is_answered_without_ack() {
    let mut lone = Lone::talking();
    assert_eq!(lone.ask(Method::Update, NEWS), ["Offer"]);
    assert_eq!(
        lone.give(CallInput::AnswerOffer { sdp: sdp() }),
        ["200 UPDATE"]
    );
    let response = lone.responses.last().unwrap();
    assert!(response.headers.has(&HeaderName::Contact) && response.body == sdp());
    assert_eq!(lone.advance(T1 * 100), [""; 0]);
    assert_eq!(lone.ask(Method::Update, ""), ["200 UPDATE"]);
}

#[test]
fn two_offers_at_a_time_are_one_too_many() {
    let mut lone = Lone::talking();
    lone.ask(Method::Invite, NEWS);
    assert_eq!(lone.ask(Method::Invite, NEWS), ["500 INVITE"]);
    assert_eq!(lone.ask(Method::Update, NEWS), ["500 UPDATE"]);
    assert!(
        lone.responses
            .last()
            .unwrap()
            .headers
            .has(&HeaderName::RetryAfter)
    );
    assert_eq!(lone.give(offer()), ["OfferRefused 491"]);
    let mut lone = Lone::talking();
    assert_eq!(lone.give(offer()), ["INVITE"]);
    assert_eq!(lone.give(offer()), ["OfferRefused 491"]);
    assert_eq!(lone.ask(Method::Invite, NEWS), ["491 INVITE"]);
    assert_eq!(lone.ask(Method::Update, NEWS), ["491 UPDATE"]);
}

#[test]
fn our_reinvite_is_answered_or_refused() {
    let mut lone = Lone::talking();
    lone.give(offer());
    assert_eq!(lone.reply(100, "", ""), [""; 0]);
    assert_eq!(lone.reply(200, "", NEWS), ["ACK", "OfferAnswered"]);
    assert_eq!(
        lone.sent.last().unwrap().1.headers.get(&HeaderName::CSeq),
        Some("2 ACK")
    );
    assert_eq!(lone.reply(200, "", NEWS), ["ACK"]);
    lone.give(offer());
    assert_eq!(lone.reply(488, "", ""), ["OfferRefused 488"]);
    lone.give(offer());
    assert_eq!(lone.reply(200, "", ""), ["ACK", "OfferRefused 488"]);
    for status in [408, 481] {
        let mut lone = Lone::talking();
        lone.give(offer());
        let ended = format!("Ended Local DialogLost {status}");
        assert_eq!(lone.reply(status, "", ""), [ended.as_str(), "BYE"]);
    }
}

#[test]
fn glare_is_tried_again_after_a_while() {
    // RFC 3261 14.1: 2.1 to 4 s for the owner of the Call-ID, up to 2 s for the other.
    for (mut lone, shortest, longest) in [
        (Lone::talking(), 2_100, 4_000),
        (Lone::answered(), 0, 2_000),
    ] {
        lone.give(offer());
        assert_eq!(lone.reply(491, "", ""), [""; 0]);
        let wait = lone.call.timers.next().unwrap() - lone.now;
        // The caller's linger timer may be the next one: its 32 s are longer.
        assert!((shortest..=longest).contains(&wait.as_millis()), "{wait:?}");
        assert_eq!(lone.advance(Duration::from_secs(4)), ["INVITE"]);
        assert_eq!(lone.reply(200, "", NEWS), ["ACK", "OfferAnswered"]);
    }
    let mut lone = Lone::talking();
    lone.give(offer());
    lone.reply(491, "", "");
    assert_eq!(lone.give(offer()), ["OfferRefused 491"]);
    assert_eq!(lone.ask(Method::Invite, NEWS), ["Offer"]);
    assert_eq!(lone.advance(Duration::from_secs(5)), [""; 0]);
    assert_eq!(
        lone.give(CallInput::AnswerOffer { sdp: sdp() }),
        ["200 INVITE"]
    );
    let number = lone.cseq;
    lone.ack(number, "");
    assert_eq!(lone.advance(T1), ["INVITE"]);
}

#[test]
fn an_offer_that_the_peer_overtook_is_not_made_again_as_it_was() {
    // RFC 3264 8: the version of a description only grows, and ours has been told a later one since.
    for method in [Method::Invite, Method::Update] {
        let mut lone = Lone::talking();
        lone.give(offer());
        lone.reply(491, "", "");
        assert_eq!(lone.ask(method.clone(), NEWS), ["Offer"]);
        let later = SDP.replace("- 1 1", "- 1 3");
        let sdp = Bytes::from(later);
        lone.give(CallInput::AnswerOffer { sdp });
        let number = lone.cseq;
        lone.ack(number, "");
        assert_eq!(
            lone.advance(Duration::from_secs(4)),
            ["OfferOvertaken"],
            "{method}"
        );
        assert_eq!(lone.give(offer()), ["INVITE"]);
        assert_eq!(lone.reply(200, "", NEWS), ["ACK", "OfferAnswered"]);
    }
}

#[test]
fn a_reinvite_says_that_the_ack_was_lost() {
    let mut lone = Lone::called();
    lone.give(CallInput::Answer { sdp: sdp() });
    assert_eq!(lone.ask(Method::Invite, NEWS), ["Confirmed", "Offer"]);
    assert_eq!(lone.advance(T1 * 2), [""; 0]);
}

#[test]
fn a_cancelled_reinvite_leaves_the_call_up() {
    let mut lone = Lone::talking();
    lone.ask(Method::Invite, NEWS);
    let tx = lone.tx;
    assert_eq!(
        lone.give(CallInput::Cancelled { tx, reason: None }),
        ["487 INVITE"]
    );
    assert_eq!(lone.give(CallInput::AnswerOffer { sdp: sdp() }), [""; 0]);
    assert_eq!(lone.ask(Method::Invite, NEWS), ["Offer"]);
}

#[test]
fn a_bye_answers_what_is_still_open() {
    let mut lone = Lone::talking();
    lone.ask(Method::Invite, NEWS);
    assert_eq!(
        lone.ask(Method::Bye, ""),
        ["200 BYE", "487 INVITE", "Ended Remote Bye 200"]
    );
    let mut lone = Lone::talking();
    lone.ask(Method::Invite, NEWS);
    assert_eq!(lone.hang_up(), ["Ended Local Bye 200", "487 INVITE", "BYE"]);
}

#[test]
fn a_reinvite_that_is_answered_after_the_goodbye_gets_its_ack() {
    let mut lone = Lone::talking();
    lone.give(offer());
    let late = lone.reply_of(200, "", NEWS);
    lone.hang_up();
    assert_eq!(lone.give(CallInput::Response { response: late }), ["ACK"]);
    assert_eq!(
        lone.sent.last().unwrap().1.headers.get(&HeaderName::CSeq),
        Some("2 ACK")
    );
}

#[test]
fn the_bye_of_the_peer_brings_its_reason() {
    let mut lone = Lone::talking();
    let mut bye = lone.request(Method::Bye, "");
    bye.headers.push(HeaderName::Reason, "Q.850;cause=16");
    bye.headers.push(HeaderName::Reason, "SIP;cause=200");
    let (tx, source, request) = (lone.keys.next(lone.now), peer(), bye);
    lone.call.handle_input(
        lone.now,
        CallInput::Request {
            tx,
            source,
            request,
        },
    );
    lone.call.poll_output();
    let CallOutput::Event(CallEvent::Ended { reason, .. }) = lone.call.poll_output() else {
        panic!("not ended");
    };
    assert_eq!(reason.as_deref(), Some("Q.850;cause=16, SIP;cause=200"));
}

#[test]
fn two_byes_that_cross_end_both_ends() {
    let mut lone = Lone::talking();
    lone.hang_up();
    assert_eq!(lone.ask(Method::Bye, ""), ["200 BYE"]);
    assert_eq!(lone.reply(481, "", ""), [""; 0]);
    lone.advance(T1 * 64);
    assert!(lone.call.is_over());
}

#[test]
fn every_method_gets_an_answer_that_fits() {
    let table = [
        (Method::Options, "200 OPTIONS"),
        (Method::Prack, "481 PRACK"),
        (Method::Notify, "481 NOTIFY"),
        (Method::Refer, "405 REFER"),
        (Method::Message, "405 MESSAGE"),
        (Method::Subscribe, "405 SUBSCRIBE"),
        (Method::Publish, "405 PUBLISH"),
        (Method::Register, "405 REGISTER"),
        (Method::Other("FOO".into()), "501 FOO"),
    ];
    let mut lone = Lone::talking();
    for (method, answer) in table {
        assert_eq!(lone.ask(method, ""), [answer]);
        let response = lone.responses.last().unwrap();
        let tells = matches!(response.status, 200 | 405 | 501);
        assert_eq!(
            response.headers.count(&HeaderName::Allow),
            usize::from(tells),
            "{answer}"
        );
    }
}

#[test]
fn an_info_is_handed_out_and_sent() {
    let mut lone = Lone::talking();
    let mut info = lone.request(Method::Info, "");
    info.headers
        .push(HeaderName::ContentType, "Application/DTMF-Relay; x=y");
    info.body = "Signal=5\r\nDuration=160\r\n".into();
    let (tx, source, request) = (lone.keys.next(lone.now), peer(), info);
    lone.call.handle_input(
        lone.now,
        CallInput::Request {
            tx,
            source,
            request,
        },
    );
    assert_eq!(
        lone.call.poll_output(),
        CallOutput::Event(CallEvent::Info {
            content_type: "application/dtmf-relay".into(),
            body: "Signal=5\r\nDuration=160\r\n".into(),
        })
    );
    lone.drain();
    let content_type = "application/dtmf-relay".to_owned();
    let body = Bytes::from_static(b"Signal=1\r\n");
    for status in [200, 415] {
        let (content_type, body) = (content_type.clone(), body.clone());
        assert_eq!(lone.give(CallInput::Info { content_type, body }), ["INFO"]);
        assert_eq!(lone.reply(180, "", ""), [""; 0]);
        let answered = format!("InfoAnswered {status}");
        assert_eq!(lone.reply(status, "", ""), [answered]);
    }
    assert_eq!(lone.hang_up(), ["Ended Local Bye 200", "BYE"]);
}

#[test]
fn what_is_old_or_strange_is_turned_away() {
    let mut lone = Lone::talking();
    lone.ask(Method::Options, "");
    lone.cseq -= 1;
    assert_eq!(lone.ask(Method::Options, ""), ["500 OPTIONS"]);
    lone.cseq -= 1;
    assert_eq!(lone.ask(Method::Bye, ""), ["500 BYE"]);
    let mut strange = lone.request(Method::Bye, "");
    strange.headers.set(HeaderName::From, "<sip:x@y>;tag=other");
    assert_eq!(lone.hand_in(strange), ["481 BYE"]);
    let mut required = lone.request(Method::Invite, NEWS);
    required.headers.push(HeaderName::Require, "precondition");
    assert_eq!(lone.hand_in(required), ["420 INVITE"]);
    let mut picture = lone.request(Method::Invite, NEWS);
    picture.headers.set(HeaderName::ContentType, "image/png");
    assert_eq!(lone.hand_in(picture), ["415 INVITE"]);
    let mut ack = lone.request(Method::Ack, "");
    ack.headers.set(HeaderName::From, "<sip:x@y>;tag=other");
    assert_eq!(lone.hand_in(ack), [""; 0]);
    assert_eq!(lone.hang_up(), ["Ended Local Bye 200", "BYE"]);
}

#[test]
fn a_request_that_nobody_answers_ends_the_call() {
    let mut lone = Lone::talking();
    let content_type = "application/dtmf".to_owned();
    let body = Bytes::from_static(b"5");
    lone.give(CallInput::Info { content_type, body });
    let failed = CallInput::Failed {
        why: Failure::TimedOut,
    };
    assert_eq!(
        lone.give(failed.clone()),
        ["Ended Local TimedOut 408", "BYE"]
    );
    assert_eq!(lone.give(failed), [""; 0]);
    lone.advance(T1 * 64);
    assert!(lone.call.is_over());
}

#[test]
fn a_reinvite_that_is_never_answered_is_cancelled() {
    let mut lone = Lone::talking();
    lone.give(offer());
    lone.reply(180, "", "");
    assert_eq!(lone.advance(T1 * 64), ["CANCEL"]);
    assert_eq!(lone.reply(487, "", ""), ["OfferRefused 487"]);
    lone.give(offer());
    lone.reply(180, "", "");
    assert_eq!(
        lone.ask(Method::Bye, ""),
        ["200 BYE", "CANCEL", "Ended Remote Bye 200"]
    );
}

#[test]
fn a_goodbye_that_nobody_ever_hears_of_again_is_over_in_the_end() {
    // Whoever carried it has died with it: there is neither a response nor a failure.
    for mut lone in [Lone::talking(), Lone::answered()] {
        assert_eq!(lone.hang_up(), ["Ended Local Bye 200", "BYE"]);
        assert_eq!(lone.advance(T1 * 127), [""; 0]);
        assert!(!lone.call.is_over());
        lone.advance(T1);
        assert!(lone.call.is_over());
    }
}

#[test]
fn what_is_lost_with_whoever_was_to_send_it_is_said_again() {
    let mut lone = Lone::talking();
    assert_eq!(lone.give(CallInput::Lost), [""; 0]);
    lone.give(CallInput::Offer { sdp: sdp() });
    let first = lone.last().headers.cseq().unwrap().number;
    assert_eq!(lone.give(CallInput::Lost), ["INVITE"]);
    let again = lone.last().headers.cseq().unwrap().number;
    assert!(again > first);
    assert_eq!(lone.reply(200, "", SDP), ["ACK", "OfferAnswered"]);
    let info = CallInput::Info {
        content_type: "application/dtmf-relay".to_owned(),
        body: Bytes::from_static(b"Signal=5"),
    };
    assert_eq!(lone.give(info), ["INFO"]);
    assert_eq!(lone.give(CallInput::Lost), ["InfoAnswered 200"]);
    lone.hang_up();
    assert_eq!(lone.give(CallInput::Lost), ["BYE"]);
    assert_eq!(lone.reply(200, "", ""), [""; 0]);
    // It is done, and nothing is left to be said.
    assert_eq!(lone.give(CallInput::Lost), [""; 0]);
}
