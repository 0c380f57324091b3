//! Texts between a PBX and people, by SIP MESSAGE.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;

use crate::deadline::s;
use crate::house::{House, SESSION};
use crate::pbx::{SipMessage, Sipp, Verdict};
use crate::telegram::Behaviour;

const HELLO: &str = "\u{41f}\u{440}\u{438}\u{432}\u{435}\u{442} \u{1f44b}";

/// A house whose account passes texts, and bobby.
fn bridging(more: &[&str]) -> House {
    bridging_in(House::new().peer_trunk(&["alaw"]).build(), more)
}

/// The same in this house.
fn bridging_in(mut house: House, more: &[&str]) -> House {
    let set = ["session", "set", SESSION, "--text-bridge"];
    house.expect_command(&[&set[..], more].concat(), "");
    let user = Behaviour::accepts();
    house.telegram.user("bobby", "15550002", &user);
    house.start();
    house.wait_session_up();
    house
}

/// The PBX sends a text to somebody, and is answered so.
fn sends(house: &House, name: &str, to: &str, [kind, text, code]: [&str; 3]) -> Verdict {
    let verdict = Sipp::on(house.dir(), name, house.peer_port())
        .to(house.sip())
        .number(to)
        .key("type", kind)
        .key("text", text)
        .key("code", code)
        .run("uac_message");
    verdict.expect_ok();
    verdict
}

/// The texts that the PBX got: what, Request-URI, From.
fn got(verdict: &Verdict) -> Vec<(String, String, String)> {
    let messages = verdict.messages.iter();
    let messages = messages.filter(|message| {
        let start = message.start();
        !message.sent && start.starts_with("MESSAGE ")
    });
    let parts = |message: &SipMessage| {
        let text = message.text.split_once("\n\n").unwrap_or_default().1;
        let uri = message.start().trim_start_matches("MESSAGE ");
        let from = message.header("From").unwrap_or_default();
        (text.trim().to_owned(), uri.to_owned(), from.to_owned())
    };
    messages.map(parts).collect()
}

#[test]
fn a_text_of_a_pbx_reaches_whom_it_names_and_others_are_refused_exactly() {
    let mut house = bridging(&[]);
    let plain = "text/plain;charset=UTF-8";
    sends(&house, "hello", "+15550002", [plain, HELLO, "202"]);
    assert_eq!(house.telegram.texts("bobby", 1, s(10)), [HELLO]);
    sends(&house, "name", "bobby", ["text/plain", "600", "202"]);
    assert_eq!(house.telegram.texts("bobby", 2, s(10))[1], "600");
    let endless = "x".repeat(4097);
    for (name, to, kind, text, status) in [
        ("long", "bobby", plain, &*endless, "413 Text is too long"),
        ("nobody", "+15559999", plain, "x", "404 Not Found"),
        (
            "type",
            "bobby",
            "text/html",
            "x",
            "415 Unsupported Media Type",
        ),
        ("empty", "bobby", plain, " ", "400 Text is not UTF-8"),
        (
            "itself",
            crate::house::SESSION_PHONE,
            plain,
            "x",
            "482 Loop Detected",
        ),
    ] {
        let verdict = sends(&house, name, to, [kind, text, &status[..3]]);
        assert_eq!(verdict.last_final().start(), status);
        let accept = verdict.last_final().header("Accept");
        assert_eq!(accept.is_some(), name == "type", "{accept:?}");
    }
    let wait = json!({"method": "messages.sendMessage", "error": "FLOOD_WAIT_600"});
    house.telegram.fault(wait);
    for name in ["flood", "waits"] {
        let verdict = sends(&house, name, "bobby", [plain, "x", "503"]);
        let wait = verdict.last_final().header("Retry-After").unwrap();
        assert!(
            (590..=600).contains(&wait.parse::<u32>().unwrap()),
            "{wait}"
        );
    }
    let refused = [
        ("session", SESSION),
        ("group", "messages"),
        ("why", "flood_wait"),
    ];
    house.wait_metric("strowger_telegram_local_refusals_total", &refused, 1.0);
    assert_eq!(house.telegram.texts("bobby", 2, s(1)).len(), 2);
    house.assert_clean(&[]);
}

#[test]
fn what_somebody_writes_reaches_the_pbx_and_he_hears_when_it_does_not() {
    let mut house = bridging(&["--autoreply", "Nobody reads this."]);
    let pbx = |name: &str, code: &str, reason: &str| {
        let pbx = Sipp::on(house.dir(), name, house.peer_port());
        let pbx = pbx.key("code", code).key("reason", reason);
        pbx.start("uas_message")
    };
    let takes = pbx("takes", "202", "Accepted");
    house.telegram.write("bobby", SESSION, HELLO);
    let verdict = takes.wait(s(15));
    let texts = got(verdict.expect_ok());
    assert_eq!(texts.len(), 1, "{texts:?}");
    let (text, uri, from) = &texts[0];
    assert_eq!(text, HELLO);
    assert!(uri.starts_with("sip:600@"), "{uri}");
    assert!(from.contains("sip:+15550002@"), "{from}");
    // It was delivered: nobody answers in its place.
    assert_eq!(house.telegram.texts("bobby", 0, s(1)), [""; 0]);
    let refuses = pbx("refuses", "404", "No Such Mailbox");
    house.telegram.write("bobby", SESSION, "anybody there?");
    refuses.wait(s(15)).expect_ok();
    let told = house.telegram.texts("bobby", 1, s(10));
    assert_eq!(told, ["not delivered: 404 No Such Mailbox"]);
    house.assert_clean(&[]);
}

#[test]
fn what_somebody_sends_that_is_no_text_reaches_the_pbx_as_a_line() {
    // A rule that takes anything for a number, and an answer for who gets no other: neither is for what is no text.
    let dials = House::new().saying("dial_rules = '.+=601'");
    let house = dials.peer_trunk(&["alaw"]).build();
    let more = ["--messages-processing", "--autoreply", "Text only."];
    let mut house = bridging_in(house, &more);
    let bytes = |count: usize| BASE64_STANDARD.encode(vec![0; count]);
    let cases = [
        (
            json!({"file": bytes(120_000), "kind": "photo"}),
            "[photo, 120 kB]",
        ),
        (
            json!({"file": bytes(4_321), "kind": "voice", "duration": 65}),
            "[voice, 1:05, 5 kB]",
        ),
        (
            json!({"file": bytes(1_200_000), "kind": "video", "duration": 7, "text": "look at this"}),
            "[video, 0:07, 1.2 MB] look at this",
        ),
        (
            json!({"file": bytes(999), "name": "bill [1].pdf", "mime": "application/pdf"}),
            "[file bill 1.pdf, 999 B]",
        ),
        (
            json!({"file": bytes(20_000), "kind": "sticker", "alt": "\u{1f44b}"}),
            "[sticker \u{1f44b}, 20 kB]",
        ),
        (
            json!({"location": [52.52, 13.405]}),
            "[location, 52.52000 13.40500]",
        ),
        (
            json!({"contact": {"phone": "15550005", "first_name": "Dora"}}),
            "[contact Dora, +15550005]",
        ),
    ];
    for (index, (sent, line)) in cases.into_iter().enumerate() {
        let pbx = Sipp::on(house.dir(), &format!("pbx-{index}"), house.peer_port());
        let pbx = pbx.key("code", "202").key("reason", "Accepted");
        let pbx = pbx.start("uas_message");
        house.telegram.send("bobby", SESSION, sent);
        let verdict = pbx.wait(s(15));
        let texts = got(verdict.expect_ok());
        assert_eq!(texts.len(), 1, "{texts:?}");
        assert_eq!(texts[0].0, line);
        assert!(texts[0].2.contains("sip:+15550002@"), "{texts:?}");
    }
    // Nobody was asked to dial, and nobody was answered.
    assert_eq!(house.telegram.texts("bobby", 0, s(1)), [""; 0]);
    house.assert_clean(&[]);
}
