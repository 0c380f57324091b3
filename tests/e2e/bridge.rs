//! Texts between a PBX and people, by SIP MESSAGE.

use serde_json::json;

use crate::deadline::s;
use crate::house::{House, SESSION};
use crate::pbx::{SipMessage, Sipp, Verdict};
use crate::telegram::Behaviour;

const HELLO: &str = "\u{41f}\u{440}\u{438}\u{432}\u{435}\u{442} \u{1f44b}";

/// A house whose account passes texts, and bobby.
fn bridging(more: &[&str]) -> House {
    let mut house = House::new().peer_trunk(&["alaw"]).build();
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
    for (name, to, kind, text, status) in [
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
