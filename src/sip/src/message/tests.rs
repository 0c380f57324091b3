use super::*;

fn invite() -> Request {
    let mut request = Request::new(Method::Invite, "sip:b@192.0.2.2".parse().unwrap());
    for (name, value) in [
        ("Via", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1"),
        ("Via", "SIP/2.0/UDP 192.0.2.3;branch=z9hG4bK2"),
        ("Record-Route", "<sip:192.0.2.1;lr>"),
        ("From", "<sip:a@x>;tag=1"),
        ("To", "sip:b@x"),
        ("Call-ID", "c"),
        ("CSeq", "1 INVITE"),
        ("Subject", "lunch"),
    ] {
        request.headers.push(name.into(), value);
    }
    request
}

#[test]
fn a_response_copies_what_it_must() {
    let ringing = respond(&invite(), 180, "", Some("t\r\n;1"));
    assert_eq!(
        ringing.to_string(),
        "SIP/2.0 180 Ringing\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n\
         Via: SIP/2.0/UDP 192.0.2.3;branch=z9hG4bK2\r\nRecord-Route: <sip:192.0.2.1;lr>\r\nFrom: <sip:a@x>;tag=1\r\n\
         To: sip:b@x;tag=t1\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"
    );
    let trying = respond(&invite(), 100, "", Some("t1"));
    assert!(!trying.to_string().contains("tag=t1") && !trying.to_string().contains("Record-Route"));
    assert!(
        !respond(&invite(), 486, "", Some("t1"))
            .headers
            .has(&HeaderName::RecordRoute)
    );
}

#[test]
fn the_length_is_counted_and_line_ends_cannot_be_smuggled() {
    let mut request = invite();
    request.method = Method::Other("MY THING\r\n".into());
    request.headers.push(HeaderName::ContentLength, "99999");
    request.body = Bytes::from_static(b"v=0\r\n");
    let text = request.to_string();
    assert!(text.starts_with("MYTHING sip:b@192.0.2.2 SIP/2.0\r\n"));
    assert!(text.ends_with("Content-Length: 5\r\n\r\nv=0\r\n"));
    assert_eq!(text.matches("Content-Length").count(), 1);
    let mut response = Response::new(200, "Fine\r\nEvil: 1");
    response.reason.push_str("\r\nEvil: 2");
    assert_eq!(response.to_string().lines().count(), 3);
}

#[test]
fn an_extension_that_is_required_is_refused_by_its_name() {
    let mut request = Request::new(Method::Options, "sip:b@x".parse().unwrap());
    assert_eq!(refuse_required(&request, "t"), None);
    request.headers.push(HeaderName::Require, "100rel,  x");
    let refused = refuse_required(&request, "t").unwrap();
    assert_eq!(refused.status, 420);
    assert_eq!(
        refused.headers.get(&HeaderName::Unsupported),
        Some("100rel, x")
    );
}

#[test]
fn a_request_says_where_it_goes_by_its_route_or_its_uri() {
    let mut bye = Request::new(Method::Bye, "sip:b@192.0.2.2:5070".parse().unwrap());
    let tcp = Transport::Tcp;
    let goes = |bye: &Request| bye.next_hop(tcp).map(|hop| hop.to_string());
    assert_eq!(goes(&bye).as_deref(), Some("tcp:192.0.2.2:5070"));
    // A strict router stands in the Request-URI itself (RFC 3261 12.2.1.1).
    bye.headers.push(HeaderName::Route, "<sip:192.0.2.3>");
    assert_eq!(goes(&bye).as_deref(), Some("tcp:192.0.2.2:5070"));
    let six = "<sip:[2001:db8::1];transport=udp;lr>";
    bye.headers.set(HeaderName::Route, six);
    bye.headers.push(HeaderName::Route, "<sip:192.0.2.3;lr>");
    assert_eq!(goes(&bye).as_deref(), Some("udp:[2001:db8::1]:5060"));
    bye.headers
        .set(HeaderName::Route, "<sip:sbc.example.com;lr>");
    assert_eq!(goes(&bye), None);
    assert!(!bye.is_inside() && !invite().is_inside());
    bye.headers.push(HeaderName::To, "<sip:b@x>;tag=2");
    assert!(bye.is_inside());
}
