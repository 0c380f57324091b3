use super::*;

#[test]
fn names_have_no_case_and_short_forms() {
    let mut headers = Headers::new();
    headers.push("i".into(), "abc");
    headers.push("x-own".into(), "1");
    headers.push("X-Own".into(), "2");
    assert_eq!(headers.call_id(), Some("abc"));
    assert_eq!(headers.all(&"X-OWN".into()).collect::<Vec<_>>(), ["1", "2"]);
    headers.set("x-OWN".into(), "3");
    assert_eq!(headers.all(&"X-Own".into()).collect::<Vec<_>>(), ["3"]);
    headers.remove(&"X-own".into());
    assert_eq!(headers.iter().count(), 1);
}

#[test]
fn no_value_holds_a_line_end() {
    let mut headers = Headers::new();
    headers.push("Reason".into(), "a\r\nEvil: b");
    headers.push("Ev\r\nil: x".into(), "v");
    assert_eq!(headers.get(&HeaderName::Reason), Some("a  Evil: b"));
    assert_eq!(headers.get(&"Evilx".into()), Some("v"));
}

#[test]
fn numbers_are_read_within_their_limits() {
    let mut headers = Headers::new();
    for (value, seconds) in [
        ("0068", Some(68)),
        ("99999999999999999999", Some(u32::MAX)),
        ("-1", None),
        ("", None),
    ] {
        headers.set(HeaderName::Expires, value);
        assert_eq!(headers.expires(), seconds);
    }
    for (value, hops) in [
        ("0068", Some(68)),
        ("255", Some(255)),
        ("256", None),
        ("+1", None),
    ] {
        headers.set(HeaderName::MaxForwards, value);
        assert_eq!(headers.max_forwards(), hops);
    }
    for (value, number) in [
        ("0009  INVITE", Some(9)),
        ("4294967295 INVITE", Some(u32::MAX)),
        ("4294967296 INVITE", None),
    ] {
        headers.set(HeaderName::CSeq, value);
        assert_eq!(headers.cseq().map(|cseq| cseq.number), number);
    }
}

#[test]
fn content_type_is_compared_without_case_and_parameters() {
    let mut headers = Headers::new();
    headers.push("c".into(), "Application / SDP ;charset=x");
    assert_eq!(headers.content_type().as_deref(), Some("application/sdp"));
}
