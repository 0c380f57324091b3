//! Numbers that people write to the account: dialled when they call, or by a call back.

use crate::deadline::s;
use crate::house::{House, HouseBuilder, SESSION};
use crate::pbx::{SipMessage, Sipp};
use crate::telegram::Behaviour;

/// What is left of punctuation and blanks, if it is a number.
const NUMBER: &str = r"dial_rules = '[^+*#\w]= ^\+?\d{2,15}$'";

/// A house whose trunk dials what people write.
fn dialling() -> HouseBuilder {
    House::new().saying(NUMBER)
}

/// Lets texts be read, and starts it.
fn reading(builder: HouseBuilder, more: &[&str]) -> House {
    let mut house = builder.build();
    let set = ["session", "set", SESSION, "--messages-processing"];
    house.expect_command(&[&set[..], more].concat(), "");
    house.start();
    house.wait_session_up();
    house
}

/// What the PBX was asked to call, and To.
fn called(pbx: &Sipp) -> Vec<(String, String)> {
    let messages = pbx.messages();
    let invites = messages.iter().filter(|message| {
        let start = message.start();
        !message.sent && start.starts_with("INVITE ")
    });
    let both = |invite: &SipMessage| {
        let uri = invite.start().trim_start_matches("INVITE ");
        let to = invite.header("To").unwrap_or_default();
        (uri.to_owned(), to.to_owned())
    };
    invites.map(both).collect()
}

#[test]
fn a_number_is_dialled_when_who_wrote_it_calls_and_once() {
    let autoreply = "Write a number, then call.";
    let house = dialling().peer_trunk(&["alaw"]);
    let mut house = reading(house, &["--autoreply", autoreply]);
    for (user, phone) in [("bobby", "15550002"), ("carol", "15550004")] {
        house.telegram.user(user, phone, &Behaviour::accepts());
    }
    house.telegram.write("bobby", SESSION, "hello");
    assert_eq!(house.telegram.texts("bobby", 1, s(10)), [autoreply]);
    house.telegram.write("bobby", SESSION, "60 2");
    house.telegram.texts("bobby", 2, s(10));
    // The last one counts.
    house.telegram.write("bobby", SESSION, "(6) 01");
    let asked = house.telegram.texts("bobby", 3, s(10));
    assert_eq!(asked[2], "Press the call button to dial 601");

    for (user, number) in [("carol", "600"), ("bobby", "601"), ("bobby", "600")] {
        let pbx = Sipp::on(
            house.dir(),
            &format!("pbx-{user}-{number}"),
            house.peer_port(),
        )
        .key("code", "486")
        .key("reason", "Busy Here")
        .start("uas_reject");
        let call = house.telegram.call(user, SESSION, "9.0.0");
        house.telegram.wait_call(&call, "discarded", s(10));
        let invites = called(&pbx);
        assert_eq!(invites.len(), 1, "{invites:?}");
        let (uri, to) = &invites[0];
        let expected = format!("sip:{number}@");
        assert!(uri.starts_with(&expected), "{uri}");
        assert!(to.contains(&expected), "{to}");
        pbx.wait(s(10)).expect_ok();
    }
    house.assert_clean(&["discard_reason"]);
}

#[test]
fn texts_are_read_from_those_who_may_call_and_ten_a_minute() {
    let house = dialling().peer_trunk(&["alaw"]);
    let mut house = reading(house, &["--allowed-callers", "@bobby"]);
    for (user, phone) in [("bobby", "15550002"), ("carol", "15550004")] {
        house.telegram.user(user, phone, &Behaviour::accepts());
    }
    house.telegram.write("carol", SESSION, "600");
    for number in 601..=612 {
        house.telegram.write("bobby", SESSION, &number.to_string());
    }
    let refused = [
        ("session", SESSION),
        ("group", "messages"),
        ("why", "bucket"),
    ];
    house.wait_metric("strowger_telegram_local_refusals_total", &refused, 2.0);
    let texts = house.telegram.texts("bobby", 10, s(10));
    assert_eq!(texts.len(), 10, "{texts:?}");
    assert_eq!(texts[9], "Press the call button to dial 610");
    assert_eq!(house.telegram.texts("carol", 0, s(1)), [""; 0]);
    house.assert_clean(&[]);
}
