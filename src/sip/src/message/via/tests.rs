use super::*;

#[test]
fn blanks_are_free_around_slashes_and_parameters() {
    let via: Via = "SIP  / 2.0  / TCP     spindle.example.com : 5070  ; branch  =   z9hG4bK9ikj8"
        .parse()
        .unwrap();
    assert_eq!(
        via.to_string(),
        "SIP/2.0/TCP spindle.example.com:5070;branch=z9hG4bK9ikj8"
    );
    assert!(via.has_cookie());
}

#[test]
fn broken_vias_are_refused() {
    for text in [
        "",
        "SIP/2.0/UDP",
        "SIP/2.0 192.0.2.1",
        "SIP/3.0/UDP h",
        "HTTP/2.0/UDP h",
        "SIP/2.0/UDP 192.0.2.15;;",
        "SIP/2.0/UDP 2001:db8::9",
        "SIP/2.0/UDP h:99999",
        "SIP/2.0/U(P h",
        "SIP/2.0/UDP h h",
    ] {
        assert!(text.parse::<Via>().is_err(), "{text}");
    }
}

#[test]
fn replies_go_where_the_request_came_from() {
    let source = "198.51.100.7:40000".parse().unwrap();
    for (text, reply) in [
        (
            "SIP/2.0/UDP 10.0.0.1;rport;branch=z9hG4bK1",
            "198.51.100.7:40000",
        ),
        (
            "SIP/2.0/UDP 10.0.0.1:5070;branch=z9hG4bK1",
            "198.51.100.7:5070",
        ),
        (
            "SIP/2.0/UDP 198.51.100.7;branch=z9hG4bK1;received=9.9.9.9",
            "198.51.100.7:5060",
        ),
        (
            "SIP/2.0/UDP name.example;branch=z9hG4bK1",
            "198.51.100.7:5060",
        ),
    ] {
        let mut via: Via = text.parse().unwrap();
        via.stamp(source);
        assert_eq!(via.reply_to(), Some(reply.parse().unwrap()), "{via}");
    }
}

#[test]
fn received_may_have_brackets() {
    let via: Via = "SIP/2.0/UDP [2001:db8::9:1];received=[2001:db8::9:255];branch=z9hG4bKas3-111"
        .parse()
        .unwrap();
    assert_eq!(via.received(), Some("2001:db8::9:255".parse().unwrap()));
}

#[test]
fn a_bare_cookie_identifies_nothing() {
    let via: Via = "SIP/2.0/UDP h;branch=z9hG4bK".parse().unwrap();
    assert!(!via.has_cookie());
}
