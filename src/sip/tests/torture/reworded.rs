//! The messages of the two RFCs that are not in the folders, in our words: what each is about, and its verdict.

use crate::set::{Case, Stream};

/// How the verdict of a message is written below.
#[derive(Clone, Copy)]
enum Wanted {
    /// Read, and answered so.
    Read(u16),
    /// Refused by the parser with this answer.
    Refused(u16),
    /// Read, and no answer: a response.
    Silent,
    /// Dropped by the parser without an answer.
    Dropped,
}

const HEAD: &str = "Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKk\r\nFrom: <sip:a@example.org>;tag=1\r\n\
                    To: <sip:b@example.com>\r\nCall-ID: c@192.0.2.1\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\n";

fn options(more: &str) -> String {
    format!("OPTIONS sip:b@example.com SIP/2.0\r\n{HEAD}{more}\r\n")
}

fn invite(description: &str) -> String {
    options(&format!(
        "Contact: <sip:a@192.0.2.1>\r\nContent-Type: application/sdp\r\nl: {}\r\n",
        description.len()
    ))
    .replace("OPTIONS", "INVITE")
        + description
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = rfc4475()
        .into_iter()
        .map(|(name, text, wanted)| case("rfc4475", name, text, wanted))
        .chain(
            rfc5118()
                .into_iter()
                .map(|(name, text, wanted)| case("rfc5118", name, text, wanted)),
        )
        .collect();
    for case in &mut cases {
        case.stream = match case.file.as_str() {
            "3.1.1.8 a second request behind the first" => Stream::TwoMessages,
            "3.1.2.2 length beyond the octets" => Stream::WaitThenClose,
            "3.3.9 two lengths" => Stream::Close,
            _ => Stream::Keep,
        };
    }
    cases
}

fn case(set: &str, name: &str, text: String, wanted: Wanted) -> Case {
    let bytes = text.into_bytes();
    match wanted {
        Wanted::Read(code) => Case::own(set, name, bytes, true, &[code]),
        Wanted::Refused(code) => Case::own(set, name, bytes, false, &[code]),
        Wanted::Silent => Case::own(set, name, bytes, true, &[]),
        Wanted::Dropped => Case::own(set, name, bytes, false, &[]),
    }
}

fn rfc4475() -> Vec<(&'static str, String, Wanted)> {
    use Wanted::{Dropped, Read, Refused, Silent};
    let plain = options("l: 0\r\n");
    let register = plain.replace("OPTIONS", "REGISTER");
    let long = "really".repeat(40);
    let wide = "a.B-9!%*_+`'~";
    vec![
        (
            "3.1.1.2 all that a token and a user may hold",
            plain
                .replace("OPTIONS", wide)
                .replace(
                    "sip:b@example.com SIP",
                    "sip:u1_.!~*'()&=+$,;?/%00:&=+$,-_p@example.com SIP",
                )
                .replace("z9hG4bKk", "z9hG4bK-.!%66*_+`'~")
                .replace("To: <", "To: \"\\\u{7}\\\u{7f}\\\"\" <")
                .replace("tag=1", "p=\"\u{43f}\u{440}\";tag=_.!%*+`'~-"),
            Read(501),
        ),
        (
            "3.1.1.4 escaped NUL",
            register
                .replace("sip:a@", "sip:null-%00-null@")
                .replace("l: 0", "m: <sip:%00%00@host5.example.com>\r\nl: 0"),
            Read(401),
        ),
        (
            "3.1.1.7 long values",
            plain
                .replace("sip:b@example.com", &format!("sip:b@{long}.example.com"))
                .replace("192.0.2.1;", &format!("192.0.2.1;unknown={long};"))
                .replace(
                    "l: 0",
                    &format!("Unknown-{long}Header: {long}\r\nRoute: <sip:{long}@x;lr>\r\nl: 0"),
                ),
            Read(200),
        ),
        (
            "3.1.1.8 a second request behind the first",
            format!("{register}{plain}"),
            Read(401),
        ),
        (
            "3.1.1.13 no reason",
            plain.replace("OPTIONS sip:b@example.com SIP/2.0", "SIP/2.0 100 "),
            Silent,
        ),
        (
            "3.1.2.2 length beyond the octets",
            options("Content-Length: 9999\r\n") + "body",
            Refused(400),
        ),
        (
            "3.1.2.5 response with numbers too large",
            plain
                .replace("OPTIONS sip:b@example.com SIP/2.0", "SIP/2.0 503 x")
                .replace("CSeq: 1 ", "CSeq: 9292394834772304023312 "),
            Dropped,
        ),
        (
            "3.1.2.8 blanks in the Request-URI",
            plain.replace("com SIP", "com; lr SIP"),
            Refused(400),
        ),
        (
            "3.1.2.11 headers in the Request-URI",
            plain.replace("com SIP", "com?Route=%3Csip:x%3E SIP"),
            Refused(400),
        ),
        (
            "3.1.2.14 blanks inside angle brackets",
            plain.replace("<sip:b@example.com>", "\"W, T\" < sip:b@example.com >"),
            Refused(400),
        ),
        (
            "3.1.2.17 method and CSeq differ",
            plain.replace("1 OPTIONS", "1 INVITE"),
            Refused(400),
        ),
        (
            "3.2.1 branch of the cookie alone",
            plain.replace("z9hG4bKk", "z9hG4bK"),
            Read(200),
        ),
        (
            "3.3.2 unknown scheme",
            plain.replace(
                "sip:b@example.com SIP",
                "nobodyKnowsThisScheme:totallyopaque SIP",
            ),
            Read(416),
        ),
        (
            "3.3.5 unknown extension required",
            options("Require: nothingSupportsThis, nothingSupportsThisEither\r\nl: 0\r\n"),
            Read(420),
        ),
        (
            "3.3.9 two lengths",
            options("Content-Length: 8\r\nContent-Length: 4\r\n") + "12345678",
            Refused(400),
        ),
        (
            "3.3.13 parameters of a URI and of its header",
            register.replace("l: 0", "m: <sip:+1@g;x=y>;z\r\nl: 0"),
            Read(401),
        ),
    ]
}

fn rfc5118() -> Vec<(&'static str, String, Wanted)> {
    use Wanted::Read;
    let plain = options("l: 0\r\n");
    let two = "v=0\r\no=- 1 1 IN IP6 2001:db8::20\r\ns=-\r\nt=0 0\r\nm=audio 6000 RTP/AVP 0\r\nc=IN IP6 2001:db8::1\r\n\
               m=video 6024 RTP/AVP 107\r\nc=IN IP4 192.0.2.1\r\n";
    vec![
        (
            "4.3 port inside the brackets",
            plain.replace("sip:b@example.com SIP", "sip:[2001:db8::10:5070] SIP"),
            Read(200),
        ),
        (
            "4.5 received without brackets",
            plain.replace("192.0.2.1;", "[2001:db8::9:1];received=2001:db8::9:255;"),
            Read(200),
        ),
        ("4.8 two families in SDP", invite(two), Read(200)),
        (
            "4.10 three colons",
            plain.replace("b@example.com", "b@[2001:db8:::192.0.2.1]"),
            Read(200),
        ),
    ]
}
