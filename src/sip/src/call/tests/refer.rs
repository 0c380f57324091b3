//! RFC 3515, RFC 4488 and RFC 3891, as the end that is transferred.

use super::*;
use crate::message::Headers;

/// A call that may be transferred.
fn talking() -> Lone {
    let mut local = local();
    local.refer = true;
    let mut lone = Lone::incoming(local, invite(SDP)).unwrap();
    lone.give(CallInput::Answer { sdp: sdp() });
    lone.ack(10, "");
    lone
}

fn refer(lone: &mut Lone, fields: &[(&str, &str)]) -> Vec<String> {
    let mut request = lone.request(Method::Refer, "");
    for (name, value) in fields {
        request.headers.push(HeaderName::from(*name), value);
    }
    lone.hand_in(request)
}

fn progress(lone: &mut Lone, status: u16) -> Vec<String> {
    let reason = String::new();
    lone.give(CallInput::ReferProgress { status, reason })
}

const TO: (&str, &str) = ("Refer-To", "<sip:601@192.0.2.1>");

#[test]
fn who_refers_hears_how_it_goes() {
    let mut lone = talking();
    let allow = lone.responses[0].headers.get(&HeaderName::Allow).unwrap();
    assert!(allow.ends_with("REFER"));
    assert_eq!(refer(&mut lone, &[TO]), ["Referred"]);
    assert_eq!(refer(&mut lone, &[TO]), ["500 REFER"]);
    assert_eq!(lone.give(CallInput::AcceptRefer), ["202 REFER", "NOTIFY"]);
    let notify = lone.last().clone();
    let headers = &notify.headers;
    assert_eq!(headers.get(&HeaderName::Event), Some("refer;id=11"));
    assert_eq!(
        headers.get(&HeaderName::SubscriptionState),
        Some("active;expires=180")
    );
    assert_eq!(headers.content_type().as_deref(), Some("message/sipfrag"));
    assert_eq!(&notify.body[..], b"SIP/2.0 100 Trying\r\n");
    assert_eq!(lone.reply(200, "", ""), [""; 0]);
    assert_eq!(progress(&mut lone, 180), ["NOTIFY"]);
    assert_eq!(progress(&mut lone, 486), ["NOTIFY"]);
    let last = lone.last();
    assert_eq!(&last.body[..], b"SIP/2.0 486 Busy Here\r\n");
    assert_eq!(
        last.headers.get(&HeaderName::SubscriptionState),
        Some("terminated;reason=noresource")
    );
    // It has been told; and it may try again.
    assert_eq!(progress(&mut lone, 200), [""; 0]);
    assert_eq!(refer(&mut lone, &[TO]), ["Referred"]);
    let reason = String::new();
    assert_eq!(
        lone.give(CallInput::RefuseRefer {
            status: 403,
            reason
        }),
        ["403 REFER"]
    );
    assert_eq!(refer(&mut lone, &[TO]), ["Referred"]);
}

#[test]
fn who_wants_to_hear_nothing_hears_nothing() {
    let mut lone = talking();
    refer(&mut lone, &[TO, ("Refer-Sub", "false")]);
    assert_eq!(lone.give(CallInput::AcceptRefer), ["202 REFER"]);
    let accepted = &lone.responses.last().unwrap().headers;
    assert_eq!(accepted.get(&HeaderName::from("Refer-Sub")), Some("false"));
    assert_eq!(progress(&mut lone, 200), [""; 0]);
}

#[test]
fn what_cannot_be_referred_to_is_refused() {
    let mut lone = talking();
    let table: [(&[(&str, &str)], &str); 6] = [
        (&[], "400 REFER"),
        (&[TO, TO], "400 REFER"),
        (&[("Refer-To", "nonsense<")], "400 REFER"),
        (&[("Refer-To", "<tel:+15550001>")], "416 REFER"),
        (&[("Refer-To", "<http://192.0.2.1/>")], "416 REFER"),
        (
            &[("Refer-To", "<sip:601@192.0.2.1;method=BYE>")],
            "403 REFER",
        ),
    ];
    for (fields, answer) in table {
        assert_eq!(refer(&mut lone, fields), [answer], "{fields:?}");
    }
    // Off, as it is by default.
    let mut lone = Lone::answered();
    assert_eq!(refer(&mut lone, &[TO]), ["405 REFER"]);
    let allow = lone
        .responses
        .last()
        .unwrap()
        .headers
        .get(&HeaderName::Allow);
    assert!(!allow.unwrap().contains("REFER"));
    // Not before the answer.
    let mut local = local();
    local.refer = true;
    let mut lone = Lone::incoming(local, invite(SDP)).unwrap();
    assert_eq!(refer(&mut lone, &[TO]), ["405 REFER"]);
}

#[test]
fn a_refused_notify_ends_the_tale_and_not_the_call() {
    let mut lone = talking();
    refer(&mut lone, &[TO]);
    lone.give(CallInput::AcceptRefer);
    assert_eq!(lone.reply(481, "", ""), [""; 0]);
    assert_eq!(progress(&mut lone, 200), [""; 0]);
    assert_eq!(lone.hang_up(), ["Ended Local Bye 200", "BYE"]);
}

#[test]
fn a_refer_that_nobody_has_answered_ends_with_the_call() {
    let mut lone = talking();
    refer(&mut lone, &[TO]);
    assert_eq!(lone.hang_up(), ["Ended Local Bye 200", "487 REFER", "BYE"]);
    let mut lone = talking();
    refer(&mut lone, &[TO]);
    assert_eq!(
        lone.ask(Method::Bye, ""),
        ["200 BYE", "487 REFER", "Ended Remote Bye 200"]
    );
}

#[test]
fn what_an_invite_replaces_is_read() {
    let read = |value: &str| {
        let mut headers = Headers::new();
        headers.push(HeaderName::Replaces, value);
        replaced(&headers)
    };
    let dialog = DialogId {
        call_id: "98732@x".into(),
        local_tag: "r33th4x0r".into(),
    };
    let found = read("98732@x;from-tag=ff87ff;to-tag=r33th4x0r").unwrap();
    assert_eq!(found.dialog, dialog);
    assert!(!found.early_only);
    let found = read("98732@x ; To-Tag=r33th4x0r;from-tag=0 ; early-only").unwrap();
    assert!(found.early_only && found.dialog == dialog);
    for bad in ["98732@x", "x;to-tag=1", "x;from-tag=1", ""] {
        assert_eq!(read(bad), None, "{bad}");
    }
    let mut twice = Headers::new();
    twice.push(HeaderName::Replaces, "x;to-tag=1;from-tag=2");
    twice.push(HeaderName::Replaces, "x;to-tag=1;from-tag=2");
    assert_eq!(replaced(&twice), None);
}
