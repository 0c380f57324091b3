use super::*;
use crate::{Message, parse};

const HEAD: &str = "Via: SIP/2.0/TCP 192.0.2.1;branch=z9hG4bK1\r\nFrom: <sip:a@x>;tag=1\r\nTo: <sip:b@x>\r\n\
                    Call-ID: c\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\n";

fn options(more: &str) -> String {
    format!("OPTIONS sip:b@192.0.2.2 SIP/2.0\r\n{HEAD}{more}\r\n")
}

struct Line {
    framer: StreamFramer,
    now: Instant,
}

impl Line {
    #[allow(clippy::disallowed_methods)] // the one instant from which virtual time runs
    fn new() -> Self {
        Self {
            framer: StreamFramer::new(Limits::default()),
            now: Instant::now(),
        }
    }

    fn input(&mut self, input: StreamInput<'_>) -> Vec<String> {
        self.framer.handle_input(self.now, input);
        let mut said = Vec::new();
        loop {
            said.push(match self.framer.poll_output() {
                StreamOutput::Message(bytes) => match parse(&bytes) {
                    Parsed::Message(Message::Request(request)) => format!(
                        "{} {}",
                        request.method,
                        String::from_utf8_lossy(&request.body)
                    ),
                    other => format!("{other:?}"),
                },
                StreamOutput::Refused(Parsed::Reject { response, .. }) => {
                    response.status.to_string()
                }
                StreamOutput::Refused(other) => format!("{other:?}"),
                StreamOutput::Pong => "pong".to_owned(),
                StreamOutput::Close(why) => format!("close: {why}"),
                StreamOutput::Timeout(_) => return said,
            });
        }
    }

    fn octets(&mut self, text: &str) -> Vec<String> {
        self.input(StreamInput::Octets(text.as_bytes()))
    }
}

#[test]
fn content_length_says_where_a_message_ends() {
    let two = options("Content-Length: 5\r\n") + "hello" + &options("l: 0\r\n");
    assert_eq!(Line::new().octets(&two), ["OPTIONS hello", "OPTIONS "]);
    let mut line = Line::new();
    let said: Vec<String> = two
        .chars()
        .flat_map(|c| line.octets(&c.to_string()))
        .collect();
    assert_eq!(said, ["OPTIONS hello", "OPTIONS "]);
    // A body may look like anything.
    let sheep = options("l: 0\r\n");
    let wolf = options(&format!("Content-Length : {}\r\n", sheep.len())) + &sheep;
    assert_eq!(Line::new().octets(&wolf), [format!("OPTIONS {sheep}")]);
    let folded = options("l:\r\n  3\r\n") + "abc";
    assert_eq!(Line::new().octets(&folded), ["OPTIONS abc"]);
}

#[test]
fn lone_line_feeds_end_lines() {
    let text = options("l: 2\r\n").replace("\r\n", "\n") + "ab";
    assert_eq!(Line::new().octets(&text), ["OPTIONS ab"]);
}

#[test]
fn a_ping_between_messages_is_answered_and_other_blank_lines_are_not() {
    let mut line = Line::new();
    assert_eq!(line.octets("\r\n\r\n"), ["pong"]);
    assert_eq!(line.octets("\r"), [""; 0]);
    assert_eq!(line.octets("\n\r"), [""; 0]);
    assert_eq!(line.octets("\n\r\n"), ["pong"]);
    let message = options("l: 0\r\n");
    assert_eq!(line.octets(&message), ["OPTIONS "]);
    assert_eq!(line.octets("\n\n\n\n\0"), [""; 0]);
    assert_eq!(
        line.octets(&format!("\r\n{message}\r\n\r\n")),
        ["OPTIONS ", "pong"]
    );
}

#[test]
fn a_length_that_cannot_be_trusted_ends_the_connection() {
    for lengths in [
        "Content-Length: -999\r\n",
        "l: +4\r\n",
        "l: 4\r\nContent-Length: 8\r\n",
        "l: 4,4\r\n",
        "l: 4\r\n 5\r\n",
        "l: 99999999999999999999\r\n",
        "l:\r\n",
        "L : 0x4\r\n",
    ] {
        let mut line = Line::new();
        let said = line.octets(&(options(lengths) + &options("l: 0\r\n")));
        assert_eq!(said.len(), 2, "{lengths} {said:?}");
        assert_eq!(said[0], "400", "{lengths}");
        assert!(said[1].starts_with("close: "), "{lengths}");
        assert_eq!(line.octets(&options("l: 0\r\n")), [""; 0]);
    }
    let same = options("l: 4\r\nContent-Length: 004\r\n") + "abcd";
    assert_eq!(Line::new().octets(&same), ["OPTIONS abcd"]);
}

#[test]
fn a_message_without_length_has_no_body_or_is_refused() {
    let mut line = Line::new();
    assert_eq!(line.octets(&options("")), ["OPTIONS "]);
    let old = options("Content-Type: application/sdp\r\n") + "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\n";
    assert_eq!(line.octets(&old), ["400"]);
    assert_eq!(line.octets("s=-\r\n\r\n"), [""; 0]);
    assert_eq!(line.octets(&options("l: 0\r\n")), ["OPTIONS "]);
    line.octets(&old);
    let said = line.octets(&"a=x\r\n".repeat(20_000));
    assert_eq!(said, ["close: body too large"]);
}

#[test]
fn a_body_that_was_counted_short_costs_its_rest_alone() {
    let mut line = Line::new();
    let short = options("l: 5\r\n") + "v=0\r\na=x\r\n\u{1}b\r\n";
    let said = line.octets(&(short.clone() + &options("l: 0\r\n")));
    assert_eq!(said, ["OPTIONS v=0\r\n", "OPTIONS "]);
    for end in ["", "\r\n"] {
        let mut line = Line::new();
        line.octets(&short);
        let said = line.octets(&("\u{1}".repeat(9_000) + end));
        assert_eq!(said, ["close: line too long"]);
    }
}

#[test]
fn what_is_too_long_is_refused_and_ends_the_connection() {
    let body = options("l: 65537\r\n");
    assert_eq!(Line::new().octets(&body), ["413", "close: body too large"]);
    let full = options("l: 65536\r\n") + &"x".repeat(65_536);
    let said = Line::new().octets(&full);
    assert_eq!(said[0].len(), "OPTIONS ".len() + 65_536);
    let head = options(&"Subject: x\r\n".repeat(10_000));
    assert_eq!(
        Line::new().octets(&head),
        ["513", "close: header part too long"]
    );
    // Nobody waits for the end of a line without one.
    for end in ["", " SIP/2.0\r\n"] {
        let said = Line::new().octets(&("A".repeat(10_000) + end));
        assert_eq!(said, ["close: start line too long"]);
    }
}

#[test]
fn other_protocols_end_the_connection_at_once() {
    for text in [
        "GET / HTTP/1.1\r\n",
        "\u{16}\u{3}\u{1}",
        "\u{80}",
        " OPTIONS",
    ] {
        assert_eq!(Line::new().octets(text), ["close: not SIP"], "{text:?}");
    }
}

#[test]
fn a_message_that_takes_too_long_ends_the_connection() {
    let mut line = Line::new();
    let text = options("l: 0\r\n");
    let (first, rest) = text.split_at(40);
    assert_eq!(line.octets(first), [""; 0]);
    assert_eq!(
        line.framer.poll_output(),
        StreamOutput::Timeout(Some(line.now + PATIENCE))
    );
    let start = line.now;
    line.now = start + PATIENCE / 2;
    // A trickle wins no time.
    assert_eq!(line.octets("a"), [""; 0]);
    assert_eq!(line.input(StreamInput::Timeout), [""; 0]);
    line.now = start + PATIENCE;
    assert_eq!(
        line.input(StreamInput::Timeout),
        ["close: message takes too long"]
    );
    assert_eq!(line.octets(rest), [""; 0]);
    let mut quiet = Line::new();
    assert_eq!(quiet.octets(&text), ["OPTIONS "]);
    assert_eq!(quiet.framer.poll_output(), StreamOutput::Timeout(None));
}

#[test]
fn responses_and_acks_are_never_answered() {
    let ack = options("l: x\r\n").replace("OPTIONS", "ACK");
    let said = Line::new().octets(&ack);
    assert_eq!(said, ["Drop(\"Content-Length\")", "close: Content-Length"]);
}
