use super::*;
use crate::message::{HeaderName, Method, Request};

const HEAD: &str = "Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\nFrom: <sip:a@x>;tag=1\r\nTo: <sip:b@x>\r\n\
                    Call-ID: c\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\n";

fn options(more: &str) -> String {
    format!("OPTIONS sip:b@192.0.2.2 SIP/2.0\r\n{HEAD}{more}\r\n")
}

fn request(text: &str) -> Request {
    match parse(text.as_bytes()) {
        Parsed::Message(Message::Request(request)) => request,
        other => panic!("{other:?}\n{text}"),
    }
}

fn status(text: &str) -> u16 {
    match parse(text.as_bytes()) {
        Parsed::Message(_) => 0,
        Parsed::Reject { response, .. } => response.status,
        Parsed::Drop(_) | Parsed::KeepAlive => 1,
    }
}

#[test]
fn folded_lines_short_names_and_lists_become_plain_fields() {
    let text = "OPTIONS sip:b@192.0.2.2 SIP/2.0\r\nv: SIP / 2.0 / UDP 192.0.2.1 ; branch = z9hG4bKx,\r\n\tSIP/2.0/TCP b;branch=z9hG4bKy\r\n\
                f: <sip:b@x.example>\r\n ;tag=1\r\nt  :\r\n sip:a@192.0.2.9\r\ni: 77@x\r\nCSEQ: 1\r\n OPTIONS\r\n\
                m: \"a,b\" <sip:c,d@e>;q=1, <sip:f@g>\r\n\r\nhello";
    let request = request(text);
    assert_eq!(request.headers.vias().len(), 2);
    assert_eq!(request.headers.contacts().len(), 2);
    assert_eq!(request.headers.from().unwrap().tag(), Some("1"));
    assert_eq!(&request.body[..], b"hello");
}

#[test]
fn a_route_that_cannot_be_read_is_passed_over() {
    let request = request(&options("Route: <proxy.example.com;lr>\r\n"));
    assert_eq!(request.headers.routes(), []);
}

#[test]
fn lone_line_feeds_end_lines_and_lone_carriage_returns_do_not() {
    request(&options("").replace("\r\n", "\n"));
    assert_eq!(status(&options("Subject: a\rb\r\n")), 400);
    request(&format!("\r\n\r\n{}", options("")));
}

#[test]
fn the_body_is_cut_by_content_length() {
    assert_eq!(
        &request(&(options("Content-Length: 2\r\n") + "abcd")).body[..],
        b"ab"
    );
    assert_eq!(
        &request(&(options("l: 2\r\nContent-Length : 002\r\n") + "abcd")).body[..],
        b"ab"
    );
    assert_eq!(&request(&(options("") + "abcd")).body[..], b"abcd");
    for bad in [
        "5",
        "-1",
        "+2",
        "2,2",
        "2 2",
        "x",
        "",
        "18446744073709551616",
        "4294967298",
        "0x2",
        "2.0",
    ] {
        assert_eq!(
            status(&(options(&format!("Content-Length: {bad}\r\n")) + "abcd")),
            400,
            "{bad}"
        );
    }
    assert_eq!(
        status(&(options("Content-Length: 2\r\nl: 3\r\n") + "abcd")),
        400
    );
}

#[test]
fn a_missing_blank_line_is_forgiven_where_no_body_can_be() {
    let whole = options("Content-Length: 0\r\n");
    let cut = whole.strip_suffix("\r\n").unwrap();
    request(cut);
    assert_eq!(status(cut.strip_suffix("\r\n").unwrap()), 400);
    assert_eq!(status(options("").strip_suffix("\r\n").unwrap()), 400);
    assert_eq!(
        status(options("l: 1\r\n").strip_suffix("\r\n").unwrap()),
        400
    );
}

#[test]
fn header_names_are_tokens_with_blanks_behind_them_at_most() {
    let bypass = request(&options("X-Bypass \t: yes\r\n"));
    assert_eq!(
        bypass.headers.get(&HeaderName::from("x-bypass")),
        Some("yes")
    );
    for bad in [
        "X Bypass: 1\r\n",
        "X\u{b}: 1\r\n",
        ": 1\r\n",
        "no colon\r\n",
        "X\0: 1\r\n",
        "X-é: 1\r\n",
    ] {
        assert_eq!(status(&options(bad)), 400, "{bad}");
    }
}

#[test]
fn start_lines_are_strict() {
    for (start, code) in [
        ("OPTIONS sip:b@192.0.2.2 SIP/2.0", 0),
        ("OPTIONS sip:b@192.0.2.2 sip/2.0", 0),
        ("OPTIONS tel:+123 SIP/2.0", 0),
        ("OPTIONS sip:b@192.0.2.2  SIP/2.0", 0),
        ("OPTIONS sip:b@192.0.2.2   SIP/2.0", 0),
        ("OPTIONS  sip:b@192.0.2.2 SIP/2.0", 400),
        ("OPTIONS  sip:b@192.0.2.2  SIP/2.0", 400),
        ("OPTIONS sip:b@192.0.2.2  SIP/2.0 ", 400),
        ("OPTIONS sip:b@192.0.2.2\t SIP/2.0", 400),
        ("OPTIONS   SIP/2.0", 400),
        ("OPTIONS SIP/2.0", 400),
        ("OPTIONS sip:b@192.0.2.2; lr  SIP/2.0", 400),
        ("OPTIONS sip:b@192.0.2.2 SIP/2.0 ", 400),
        ("OPTIONS sip:b@192.0.2.2; lr SIP/2.0", 400),
        ("OPTIONS <sip:b@192.0.2.2> SIP/2.0", 400),
        ("OPTIONS sip:2001:db8::10 SIP/2.0", 400),
        ("OPTIONS sip:b@x?Route=%3Csip:example.com%3E SIP/2.0", 400),
        (
            "OPTIONS nobodyKnowsThisScheme:totallyopaquecontent SIP/2.0",
            416,
        ),
        ("OPTIONS soap.beep://192.0.2.103:3002 SIP/2.0", 416),
        ("OPTIONS sip:b@192.0.2.2 SIP/7.0", 505),
        ("options sip:b@192.0.2.2 SIP/2.0", 501),
        ("NEWMETHOD sip:b@192.0.2.2 SIP/2.0", 501),
        ("OPT(ONS sip:b@192.0.2.2 SIP/2.0", 400),
        ("GET / HTTP/1.1", 1),
        ("SIP/2.0 200 OK", 0),
        ("SIP/2.0 200 ", 0),
        ("SIP/2.0 200 O\rK", 1),
        ("OPTIONS sip:b\r@192.0.2.2 SIP/2.0", 400),
        ("SIP/2.0 4294967301 better not break the receiver", 1),
        ("SIP/2.0 +20 OK", 1),
        ("SIP/2.0 700 OK", 1),
        ("SIP/3.0 200 OK", 1),
    ] {
        assert_eq!(status(&format!("{start}\r\n{HEAD}\r\n")), code, "{start}");
    }
}

#[test]
fn mandatory_headers_must_be_there_once_and_in_order() {
    for line in HEAD.split_inclusive("\r\n") {
        let optional = line.starts_with("Max-Forwards");
        let via = line.starts_with("Via");
        let without = status(&options("").replace(line, ""));
        // Without a Via nobody knows which request the answer is for.
        assert_eq!(
            without,
            if optional {
                0
            } else if via {
                1
            } else {
                400
            },
            "{line}"
        );
        assert_eq!(status(&options(line)), if via { 0 } else { 400 }, "{line}");
    }
    for (from, to, code) in [
        ("1 OPTIONS", "1 INVITE", 400),
        ("1 OPTIONS", "4294967296 OPTIONS", 400),
        ("1 OPTIONS", "4294967295 OPTIONS", 0),
        ("1 OPTIONS", "-1 OPTIONS", 400),
        ("Max-Forwards: 70", "Max-Forwards: 256", 400),
        ("Max-Forwards: 70", "Max-Forwards: 0", 0),
        ("<sip:b@x>", "\"Mr. J. User <sip:b@x>", 400),
        ("<sip:b@x>", "isbn:2983792873", 0),
        (";tag=1", "", 0),
        ("192.0.2.1;branch", "192.0.2.1;;,;,,branch", 400),
        ("Call-ID: c", "Call-ID: c d", 400),
    ] {
        assert_eq!(
            status(&options("").replace(from, to)),
            code,
            "{from} -> {to}"
        );
    }
}

#[test]
fn limits_hold_to_the_last_octet() {
    let limits = Limits::default();
    let name = "X-Long: ";
    let line = |size: usize| format!("{name}{}\r\n", "x".repeat(size - name.len()));
    assert_eq!(status(&options(&line(limits.line))), 0);
    assert_eq!(status(&options(&line(limits.line + 1))), 513);

    let used = HEAD.lines().count();
    assert_eq!(
        status(&options(&"X: 1\r\n".repeat(limits.headers - used))),
        0
    );
    assert_eq!(
        status(&options(&"X: 1\r\n".repeat(limits.headers - used + 1))),
        513
    );

    let rest = limits.head - options("").len();
    let head = |size: usize| line(8000).repeat(size / 8002) + &line(size % 8002 - 2);
    assert_eq!(options(&head(rest)).len(), limits.head);
    assert_eq!(status(&options(&head(rest))), 0);
    assert_eq!(status(&options(&head(rest + 1))), 513);

    let via = "Via: SIP/2.0/UDP h\r\n";
    assert_eq!(status(&options(&via.repeat(limits.vias - 1))), 0);
    assert_eq!(status(&options(&via.repeat(limits.vias))), 483);
    let route = "Route: <sip:r;lr>\r\n";
    assert_eq!(status(&options(&route.repeat(limits.routes))), 0);
    assert_eq!(status(&options(&route.repeat(limits.routes + 1))), 513);
    let contacts = |n: usize| {
        let list = vec!["<sip:c@d>"; n].join(",");
        options(&format!("Contact: {list}\r\n")).replace("OPTIONS", "REGISTER")
    };
    assert_eq!(status(&contacts(limits.contacts)), 0);
    assert_eq!(status(&contacts(limits.contacts + 1)), 513);
    let small = Limits { body: 4, ..limits };
    assert!(matches!(
        parse_with((options("") + "abcd").as_bytes(), &small),
        Parsed::Message(_)
    ));
    let Parsed::Reject { response, .. } = parse_with((options("") + "abcde").as_bytes(), &small)
    else {
        panic!()
    };
    assert_eq!(response.status, 413);
}

#[test]
fn a_rejection_can_be_matched_by_its_sender() {
    let broken = options("").replace(";branch=z9hG4bK1", ";;branch=z9hG4bK1;rport");
    let Parsed::Reject { response, why } = parse(broken.as_bytes()) else {
        panic!()
    };
    assert_eq!((response.status, why), (400, "Via"));
    let via = response.headers.via().unwrap();
    assert_eq!(
        (via.branch(), via.params.has("rport")),
        (Some("z9hG4bK1"), true)
    );
    assert!(response.headers.to().unwrap().tag().is_some());
    assert!(
        matches!(parse(&response.encode()), Parsed::Message(Message::Response(again)) if again.status == 400)
    );
    let Parsed::Reject {
        response: again, ..
    } = parse(broken.as_bytes())
    else {
        panic!()
    };
    assert_eq!(again, response);
}

#[test]
fn broken_acks_and_responses_are_never_answered() {
    let ack = options("Content-Length: -1\r\n").replace("OPTIONS", "ACK");
    assert_eq!(parse(ack.as_bytes()), Parsed::Drop("Content-Length"));
    let response = format!("SIP/2.0 200 OK\r\n{HEAD}l: 5\r\n\r\n");
    assert!(matches!(parse(response.as_bytes()), Parsed::Drop(_)));
}

#[test]
fn signs_of_life_and_noise_are_told_apart() {
    for life in [&b""[..], b"\r\n\r\n", b"\0\0\0\0", b"jaK"] {
        assert_eq!(parse(life), Parsed::KeepAlive);
    }
    for noise in [
        &b"x"[..],
        b"\x16\x03\x01\x02\x00\x01",
        b"\x80\x00\x12\x34",
        b"\x00\x01\x00\x00\x21\x12\xa4\x42",
    ] {
        assert_eq!(parse(noise), Parsed::Drop("not SIP"));
    }
}

#[test]
fn odd_but_legal_methods_and_users_are_read() {
    let user = "sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com";
    let text = options("extensionHeader-!.%*+_`'~:\u{fdd0}大停電\r\n")
        .replace("sip:b@192.0.2.2", user)
        .replace("To: <sip:b@x>", "To: \"BEL:\\\u{7} NUL:\\\0 DEL:\\\u{7f}\" <sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*@example.com>")
        .replace("From: <sip:a@x>;tag=1", "From: token1~` token2'+_ token3*%!.- <sip:mundane@example.com>;fromParam''~+*_!.-%=\"работающий\";tag=_token~1'+`*%!-.")
        .replace("192.0.2.1;branch=z9hG4bK1", "host1.example.com;branch=z9hG4bK-.!%66*_+`'~");
    let read = request(&text);
    assert_eq!(read.method, Method::Options);
    assert_eq!(read.headers.from().unwrap().tag(), Some("_token~1'+`*%!-."));
    assert_eq!(
        status(&text.replace("OPTIONS", "!interesting-Method0123456789_*+`.%indeed'~")),
        501
    );
}

/// Makes a message that has so many, or so much.
type Made<'a> = &'a dyn Fn(usize) -> String;

/// One below a limit and the limit itself pass, one above is refused with its code and named.
#[test]
fn every_limit_holds_to_the_last_one() {
    let limits = Limits {
        message: 9_000,
        head: 4_000,
        line: 600,
        headers: 40,
        vias: 7,
        routes: 5,
        contacts: 3,
        body: 3_000,
    };
    let message = |more: &str, body: usize| {
        format!(
            "REGISTER sip:192.0.2.9 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\nFrom: <sip:a@x>;tag=1\r\n\
             To: <sip:a@x>\r\nCall-ID: 1\r\nCSeq: 1 REGISTER\r\n{more}Content-Length: {body}\r\n\r\n{}",
            "x".repeat(body)
        )
    };
    let empty = message("", 0).len();
    // Of what is in every message already: Via, From, To, Call-ID, CSeq, Content-Length.
    let cases: [(&str, u16, usize, Made<'_>); 7] = [
        ("line", 513, limits.line, &|n| {
            message(&format!("X: {}\r\n", "x".repeat(n - 3)), 0)
        }),
        ("line", 513, limits.line, &|n| {
            message(
                &format!("X: {}\r\n {}\r\n", "x".repeat(9), "x".repeat(n - 13)),
                0,
            )
        }),
        ("head", 513, limits.head, &|n| {
            let fill = n - empty;
            let (lines, rest) = (fill / 200, fill % 200);
            let line = format!("X: {}\r\n", "x".repeat(195));
            let last = format!("X: {}\r\n", "x".repeat(195 + rest));
            message(&(line.repeat(lines - 1) + &last), 0)
        }),
        ("headers", 513, limits.headers, &|n| {
            message(&"X: x\r\n".repeat(n - 6), 0)
        }),
        ("vias", 483, limits.vias, &|n| {
            message(
                &"Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK2\r\n".repeat(n - 1),
                0,
            )
        }),
        ("routes", 513, limits.routes, &|n| {
            message(
                &format!("Route: {}\r\n", vec!["<sip:x;lr>"; n].join(", ")),
                0,
            )
        }),
        ("contacts", 513, limits.contacts, &|n| {
            message(
                &format!("Contact: {}\r\n", vec!["<sip:x>"; n].join(", ")),
                0,
            )
        }),
    ];
    for (name, status, limit, made) in cases {
        for n in [limit - 1, limit] {
            let parsed = parse_with(made(n).as_bytes(), &limits);
            assert!(
                matches!(parsed, Parsed::Message(_)),
                "{name} {n}: {parsed:?}"
            );
        }
        match parse_with(made(limit + 1).as_bytes(), &limits) {
            Parsed::Reject { response, why } => {
                assert_eq!(
                    (response.status, Limits::named_by(why)),
                    (status, Some(name))
                );
            }
            other => panic!("{name}: {other:?}"),
        }
    }
    for (body, is_fine) in [(2_999, true), (3_000, true), (3_001, false)] {
        match parse_with(message("", body).as_bytes(), &limits) {
            Parsed::Message(_) => assert!(is_fine, "{body}"),
            Parsed::Reject { response, why } => {
                assert!(!is_fine, "{body}");
                assert_eq!(
                    (response.status, Limits::named_by(why)),
                    (413, Some("body"))
                );
            }
            other => panic!("{body}: {other:?}"),
        }
    }
    // The rest of a datagram behind its body counts with the message.
    for (octets, is_fine) in [(8_999, true), (9_000, true), (9_001, false)] {
        let mut text = message("", 0);
        text.push_str(&"x".repeat(octets - text.len()));
        let parsed = parse_with(text.as_bytes(), &limits);
        if is_fine {
            assert!(matches!(parsed, Parsed::Message(_)), "{octets}: {parsed:?}");
        } else {
            assert_eq!(parsed, Parsed::Drop("message too large"));
        }
    }
}
