//! RFC 4028, both ends.

use super::*;
use crate::Failure;

const HALF: Duration = Duration::from_secs(900);
/// 1800 s less 32.
const EXPIRED: Duration = Duration::from_secs(1_768);

fn invite_with(headers: &[(&str, &str)]) -> Request {
    let mut request = invite(SDP);
    for (name, value) in headers {
        request.headers.push(HeaderName::from(*name), value);
    }
    request
}

/// Having answered such an INVITE, with the ACK.
fn answered(headers: &[(&str, &str)]) -> Lone {
    let mut lone = Lone::incoming(local(), invite_with(headers)).unwrap();
    lone.give(CallInput::Answer { sdp: sdp() });
    lone.ack(10, "");
    lone
}

/// Answered by the peer with such headers.
fn talking(headers: &[(&str, &str)]) -> Lone {
    let mut lone = Lone::calling();
    let response = ok(&lone, "b1", SDP, headers);
    lone.give(CallInput::Response { response });
    lone
}

fn ok(lone: &Lone, tag: &str, body: &str, headers: &[(&str, &str)]) -> Response {
    let mut response = lone.reply_of(200, tag, body);
    for (name, value) in headers {
        response.headers.push(HeaderName::from(*name), value);
    }
    response
}

fn header<'a>(headers: &'a Headers, name: &str) -> Option<&'a str> {
    headers.get(&HeaderName::from(name))
}

use crate::message::Headers;

#[test]
fn what_a_caller_asks_for_is_granted_within_bounds() {
    let table = [
        // Supported, Session-Expires, Min-SE -> Session-Expires, Require
        ("timer", "", "", Some("1800;refresher=uac"), Some("timer")),
        (
            "timer",
            "600;refresher=uas",
            "",
            Some("600;refresher=uas"),
            None,
        ),
        (
            "timer",
            "600 ; Refresher = UAC",
            "",
            Some("600;refresher=uac"),
            Some("timer"),
        ),
        (
            "timer",
            "7200",
            "3600",
            Some("3600;refresher=uac"),
            Some("timer"),
        ),
        // A proxy has put it in: who does not know the timer cannot refresh.
        ("", "600;refresher=uac", "", Some("600;refresher=uas"), None),
        ("", "60", "", Some("90;refresher=uas"), None),
        ("", "", "", None, None),
        ("timer", "x", "", Some("1800;refresher=uac"), Some("timer")),
        (
            "timer",
            "99999999999",
            "99999999999",
            Some("86400;refresher=uac"),
            Some("timer"),
        ),
    ];
    for (supported, expires, min, granted, required) in table {
        let mut headers = vec![("Supported", supported)];
        if !expires.is_empty() {
            headers.push(("Session-Expires", expires));
        }
        if !min.is_empty() {
            headers.push(("Min-SE", min));
        }
        let lone = answered(&headers);
        let ok = &lone.responses.last().unwrap().headers;
        assert_eq!(header(ok, "Session-Expires"), granted, "{headers:?}");
        assert_eq!(header(ok, "Require"), required, "{headers:?}");
    }
}

#[test]
fn an_interval_that_is_too_small_is_refused_with_the_smallest() {
    let small = [("Supported", "timer"), ("Session-Expires", "89")];
    let refusal = Lone::incoming(local(), invite_with(&small))
        .err()
        .unwrap()
        .response;
    assert_eq!(refusal.status, 422);
    assert_eq!(header(&refusal.headers, "Min-SE"), Some("90"));
    let mut lone = Lone::answered();
    let mut update = lone.request(Method::Update, "");
    for (name, value) in small {
        update.headers.push(HeaderName::from(name), value);
    }
    assert_eq!(lone.hand_in(update), ["422 UPDATE"]);
    let last = lone.responses.last().unwrap();
    assert_eq!(header(&last.headers, "Min-SE"), Some("90"));
}

#[test]
fn a_caller_that_does_not_refresh_has_gone() {
    let timer = [("Supported", "timer")];
    let mut lone = answered(&timer);
    assert_eq!(lone.advance(EXPIRED), ["Ended Local Expired 408", "BYE"]);
    let reason = header(&lone.last().headers, "Reason").unwrap();
    assert!(reason.contains("cause=408"), "{reason}");
    // One that does, by UPDATE or re-INVITE, stays.
    let mut lone = answered(&timer);
    for _ in 0..3 {
        assert_eq!(lone.advance(HALF), [""; 0]);
        let mut update = lone.request(Method::Update, "");
        update.headers.push(HeaderName::Supported, "timer");
        let expires = "1800;refresher=uac";
        update.headers.push(HeaderName::SessionExpires, expires);
        assert_eq!(lone.hand_in(update), ["200 UPDATE"]);
        let last = &lone.responses.last().unwrap().headers;
        assert_eq!(header(last, "Session-Expires"), Some(expires));
    }
    assert_eq!(lone.advance(HALF), [""; 0]);
    let mut reinvite = lone.request(Method::Invite, SDP);
    reinvite.headers.push(HeaderName::Supported, "timer");
    assert_eq!(lone.hand_in(reinvite), ["Offer"]);
    lone.give(CallInput::AnswerOffer { sdp: sdp() });
    let number = lone.cseq;
    lone.ack(number, "");
    assert_eq!(lone.advance(EXPIRED.saturating_sub(T1)), [""; 0]);
    assert_eq!(lone.advance(T1).len(), 2);
}

#[test]
fn what_we_ask_for_stands_in_the_invite() {
    let mut lone = Lone::calling();
    let invite = &lone.sent[0].1.headers;
    assert!(invite.supports("timer"));
    assert_eq!(header(invite, "Session-Expires"), Some("1800"));
    assert_eq!(header(invite, "Min-SE"), Some("90"));
    // A peer that knows no timer has none.
    lone.reply(200, "b1", SDP);
    assert_eq!(lone.advance(EXPIRED * 10), [""; 0]);
    let mut local = local();
    local.session.expires = 0;
    let session = Session::new(local.session);
    assert!(session.check(&Headers::new()).is_ok());
    let mut lone = Lone::incoming(local, invite_with(&[("Supported", "timer")])).unwrap();
    lone.give(CallInput::Answer { sdp: sdp() });
    let last = &lone.responses.last().unwrap().headers;
    assert_eq!(header(last, "Session-Expires"), None);
}

#[test]
fn we_refresh_by_update_where_the_peer_takes_it() {
    let granted = [
        ("Session-Expires", "1800;refresher=uac"),
        ("Allow", "INVITE, UPDATE"),
    ];
    let mut lone = talking(&granted);
    for _ in 0..3 {
        assert_eq!(lone.advance(HALF), ["UPDATE"]);
        let update = lone.last().clone();
        assert!(update.body.is_empty());
        let headers = &update.headers;
        assert_eq!(
            header(headers, "Session-Expires"),
            Some("1800;refresher=uac")
        );
        assert!(headers.has(&HeaderName::Contact) && headers.supports("timer"));
        let response = ok(&lone, "", "", &granted);
        assert_eq!(lone.give(CallInput::Response { response }), [""; 0]);
    }
    // An UPDATE that is not understood, and one that cannot be served now.
    assert_eq!(lone.advance(HALF), ["UPDATE"]);
    assert_eq!(lone.reply(501, "", ""), ["INVITE"]);
    assert_eq!(lone.last().body, sdp());
    let response = ok(&lone, "", SDP, &granted[..1]);
    assert_eq!(
        lone.give(CallInput::Response { response }),
        ["ACK", "OfferAnswered"]
    );
    assert_eq!(lone.advance(HALF), ["INVITE"]);
    assert_eq!(lone.reply(500, "", ""), ["OfferRefused 500"]);
    assert_eq!(lone.advance(EXPIRED.saturating_sub(HALF) / 2), ["INVITE"]);
    assert_eq!(lone.reply(500, "", ""), ["OfferRefused 500"]);
    // Without success the session expires for us, too.
    let seen = lone.advance(EXPIRED);
    assert!(
        seen.contains(&"Ended Local Expired 408".to_owned()),
        "{seen:?}"
    );
}

#[test]
fn a_peer_that_is_not_there_any_more_is_found_out_by_the_refresh() {
    let granted = [
        ("Session-Expires", "1800;refresher=uac"),
        ("Allow", "UPDATE"),
    ];
    let mut lone = talking(&granted);
    lone.advance(HALF);
    assert_eq!(
        lone.reply(481, "", ""),
        ["Ended Local DialogLost 481", "BYE"]
    );
    let mut lone = talking(&granted);
    lone.advance(HALF);
    let why = Failure::TimedOut;
    assert_eq!(
        lone.give(CallInput::Failed { why }),
        ["Ended Local TimedOut 408", "BYE"]
    );
}

#[test]
fn a_peer_that_shall_refresh_and_does_not_has_gone() {
    let mut lone = talking(&[("Session-Expires", "90;refresher=uas")]);
    // 90 s less a third.
    assert_eq!(lone.advance(Duration::from_secs(59)), [""; 0]);
    assert_eq!(
        lone.advance(Duration::from_secs(1)),
        ["Ended Local Expired 408", "BYE"]
    );
}

#[test]
fn a_caller_that_cannot_is_refreshed_by_us() {
    let mut lone = answered(&[("Session-Expires", "600"), ("Allow", "INVITE, UPDATE")]);
    assert_eq!(lone.advance(Duration::from_secs(300)), ["UPDATE"]);
    let headers = &lone.last().headers;
    assert_eq!(
        header(headers, "Session-Expires"),
        Some("600;refresher=uac")
    );
}

#[test]
fn an_interval_that_is_too_small_for_the_peer_is_raised() {
    let mut lone = Lone::calling();
    let too_small = |lone: &Lone, min: &str| {
        let mut response = lone.reply_of(422, "b1", "");
        response.headers.push(HeaderName::MinSe, min);
        CallInput::Response { response }
    };
    let refusal = too_small(&lone, "3600");
    assert_eq!(lone.give(refusal), ["INVITE"]);
    let headers = &lone.last().headers;
    assert_eq!(header(headers, "Session-Expires"), Some("3600"));
    assert_eq!(header(headers, "Min-SE"), Some("3600"));
    assert_eq!(header(headers, "CSeq"), Some("2 INVITE"));
    assert_eq!(header(headers, "X-TG-Id"), Some("42"));
    for _ in 0..2 {
        let refusal = too_small(&lone, "4000");
        assert_eq!(lone.give(refusal), ["INVITE"]);
    }
    let refusal = too_small(&lone, "5000");
    assert_eq!(lone.give(refusal), ["Ended Remote Refused 422"]);
    let mut lone = Lone::calling();
    let refusal = too_small(&lone, "99999999");
    assert_eq!(lone.give(refusal), ["Ended Remote Refused 422"]);
    let mut lone = Lone::calling();
    assert_eq!(lone.reply(422, "b1", ""), ["Ended Remote Refused 422"]);
}

#[test]
fn a_refresh_waits_while_an_offer_is_open() {
    let granted = [("Session-Expires", "1800;refresher=uac")];
    let mut lone = talking(&granted);
    lone.advance(HALF.saturating_sub(T1));
    assert_eq!(lone.ask(Method::Invite, SDP), ["Offer"]);
    assert_eq!(lone.advance(T1 * 2), [""; 0]);
    assert_eq!(
        lone.give(CallInput::AnswerOffer { sdp: sdp() }),
        ["200 INVITE"]
    );
    let number = lone.cseq;
    lone.ack(number, "");
    // The peer's own re-INVITE said nothing of timers: there is none any more.
    assert_eq!(lone.advance(EXPIRED * 2), [""; 0]);
}
