use super::*;

fn uri(text: &str) -> Uri {
    text.parse().unwrap()
}

#[test]
fn what_is_read_is_written_back() {
    for text in [
        "sip:alice@example.org",
        "sips:alice:secret@example.org:5070;transport=tcp;lr?Subject=hi&Priority=urgent",
        "sip:[2001:db8::10]:5070",
        "sip:user@[2001:db8::192.0.2.1]",
        "sip:user;par=u%40example.net@example.com",
        "sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com",
        "tel:+1-201-555-0123;phone-context=example.com",
        "soap.beep://192.0.2.103:3002",
        "nobodyKnowsThisScheme:totallyopaquecontent",
    ] {
        let read = uri(text);
        let written = read.to_string();
        assert_eq!(uri(&written), read, "{text}");
        if !text.contains("::192.0.2.1") {
            assert_eq!(written, text);
        }
    }
}

#[test]
fn broken_uris_are_refused() {
    for text in [
        "",
        "sip",
        "sip:",
        ":a@b",
        "sip:2001:db8::10",
        "sip:a@",
        "sip:@b",
        "sip:a@b:70000",
        "sip:a@b:",
        "sip:a@b:+5",
        "sip:a b@c",
        "<sip:a@b>",
        "sip:a@[::1",
        "sip:a@[fe80::1%25eth0]",
        "sip:a@b;;lr",
        "sip:a@b?",
        "tel:",
        "tel:abc@d",
        "sip:a@b c",
        "sip:a@b\r\nX: y",
        "1sip:a@b",
    ] {
        assert!(text.parse::<Uri>().is_err(), "{text}");
    }
}

#[test]
fn escapes_are_decoded_once() {
    assert_eq!(uri("sip:%61lice%2541@x").user().unwrap(), "alice%41");
    assert_eq!(uri("sip:null-%00-null@x").user().unwrap(), "null-\0-null");
    assert_eq!(uri("sip:%zz@x").user().unwrap(), "%zz");
    assert_eq!(
        uri("sips:sips%3Auser%40example.com@example.net")
            .user()
            .unwrap(),
        "sips:user@example.com"
    );
}

#[test]
fn a_made_user_is_escaped() {
    let made = Uri::sip(Some("a@b>\r\nX"), "h".parse().unwrap(), None);
    assert_eq!(made.to_string(), "sip:a%40b%3E%0D%0AX@h");
    assert_eq!(made.user().unwrap(), "a@b>\r\nX");
}

#[test]
fn addresses_have_default_ports() {
    let hop = |text| uri(text).hop().map(|hop| hop.to_string());
    assert_eq!(hop("sip:a@192.0.2.1").unwrap(), "udp:192.0.2.1:5060");
    assert_eq!(hop("sips:a@[::1]").unwrap(), "tls:[::1]:5061");
    assert_eq!(
        hop("sip:a@192.0.2.1;transport=TCP").unwrap(),
        "tcp:192.0.2.1:5060"
    );
    assert_eq!(
        hop("sip:a@192.0.2.1;transport=tls").unwrap(),
        "tls:192.0.2.1:5061"
    );
    assert_eq!(
        hop("sip:a@192.0.2.1:5070;transport=ws").unwrap(),
        "udp:192.0.2.1:5070"
    );
    assert_eq!(hop("sip:a@example.org"), None);
    let made = Uri::reached(Some("a"), "tcp:192.0.2.1:5070".parse().unwrap());
    assert_eq!(made.to_string(), "sip:a@192.0.2.1:5070;transport=tcp");
}

#[test]
fn three_colons_are_understood_before_an_embedded_address_alone() {
    assert_eq!(
        uri("sip:u@[2001:db8:::192.0.2.1]"),
        uri("sip:u@[2001:db8::192.0.2.1]")
    );
    assert_eq!(uri("sip:[2001:db8::10:5070]").port(), None);
    for text in [
        "sip:u@[2001:db8:::1]",
        "sip:u@[2001:db8::::192.0.2.1]",
        "sip:u@[1::2:::192.0.2.1]",
    ] {
        assert!(text.parse::<Uri>().is_err(), "{text}");
    }
}
