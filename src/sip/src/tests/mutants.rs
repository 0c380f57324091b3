//! Seeded mutants of the corpora: nothing panics, refusals are well formed, what is read is written back the same.

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::pair::{Pair, Side};
use super::torture::corpus;
use crate::transaction::{Input, Output};
use crate::{
    HeaderName, Limits, Message, Parsed, Response, StreamFramer, StreamInput, StreamOutput, parse,
    respond,
};

const MUTANTS: usize = 20_000;

/// Octets and words on which parsers have died.
const NASTY: [&[u8]; 24] = [
    b"\r",
    b"\n",
    b"\r\n ",
    b"\r\n\r\n",
    b"\0",
    b"\xff\xfe",
    b"\"",
    b"\\",
    b"<",
    b">",
    b";",
    b";;",
    b",",
    b"=",
    b":",
    b"@",
    b"%",
    b"%00",
    b"[",
    b"]",
    b"4294967296",
    b"-1",
    b"SIP/2.0",
    "\u{fffd}é".as_bytes(),
];

fn mutate(rng: &mut StdRng, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = seeds[rng.random_range(0..seeds.len())].clone();
    for _ in 0..rng.random_range(1..6) {
        if bytes.is_empty() {
            bytes.push(b' ');
        }
        let at = rng.random_range(0..bytes.len());
        let end = (at + rng.random_range(0..40)).min(bytes.len());
        match rng.random_range(0..6) {
            0 => bytes[at] = rng.random(),
            1 => bytes[at] ^= 1 << rng.random_range(0..8),
            2 => drop(bytes.drain(at..end)),
            3 => {
                let copy = bytes[at..end].to_vec();
                bytes.splice(at..at, copy);
            }
            4 => {
                let nasty = NASTY[rng.random_range(0..NASTY.len())];
                bytes.splice(at..at, nasty.iter().copied());
            }
            _ => {
                let other = &seeds[rng.random_range(0..seeds.len())];
                let from = rng.random_range(0..=other.len());
                let piece = &other[from..(from + 60).min(other.len())];
                bytes.splice(at..end, piece.iter().copied());
            }
        }
    }
    bytes
}

/// A refusal is a response with a Via, in lines of its own making, and never provokes another one.
fn check_refusal(response: &Response) {
    assert!((400..600).contains(&response.status));
    assert!(response.headers.has(&HeaderName::Via));
    let bytes = response.encode();
    let text = std::str::from_utf8(&bytes).unwrap();
    let head = text.strip_suffix("Content-Length: 0\r\n\r\n").unwrap();
    assert!(head.starts_with("SIP/2.0 "));
    for line in head.strip_suffix("\r\n").unwrap().split("\r\n") {
        assert!(
            !line.is_empty() && !line.contains(['\r', '\n', '\0']),
            "{line:?}"
        );
    }
    assert!(!matches!(
        parse(&bytes),
        Parsed::Reject { .. } | Parsed::KeepAlive
    ));
}

/// What was read prints to something that reads the same, unless long names make it too long.
fn check_message(message: &Message) {
    let bytes = message.encode();
    match parse(&bytes) {
        Parsed::Message(again) => assert_eq!(&again, message),
        other => assert!(
            bytes.len() - body_len(message) > 8 * 1024,
            "{message:?}\n{other:?}"
        ),
    }
}

fn body_len(message: &Message) -> usize {
    match message {
        Message::Request(request) => request.body.len(),
        Message::Response(response) => response.body.len(),
    }
}

#[test]
fn no_mutant_breaks_the_front_end() {
    let seeds: Vec<Vec<u8>> = corpus()
        .into_iter()
        .map(|case| case.bytes)
        .filter(|bytes| bytes.len() < 4000)
        .collect();
    let mut rng = StdRng::seed_from_u64(4475);
    let (mut read, mut refused) = (0, 0);
    for _ in 0..MUTANTS {
        match parse(&mutate(&mut rng, &seeds)) {
            Parsed::Message(message) => {
                read += 1;
                check_message(&message);
            }
            Parsed::Reject { response, .. } => {
                refused += 1;
                check_refusal(&response);
            }
            Parsed::Drop(_) | Parsed::KeepAlive => {}
        }
    }
    assert!(
        read > 1000 && refused > 1000,
        "{read} read, {refused} refused"
    );
}

/// What a framer makes of octets in pieces of up to `longest`.
fn framed(rng: &mut StdRng, bytes: &[u8], longest: usize) -> Vec<StreamOutput> {
    let mut framer = StreamFramer::new(Limits::default());
    let (mut outputs, mut rest, now) = (Vec::new(), bytes, Pair::new().now);
    while !rest.is_empty() {
        let (piece, more) = rest.split_at(rng.random_range(1..=longest).min(rest.len()));
        framer.handle_input(now, StreamInput::Octets(piece));
        rest = more;
        loop {
            match framer.poll_output() {
                StreamOutput::Timeout(_) => break,
                output => outputs.push(output),
            }
        }
    }
    outputs
}

#[test]
fn no_mutant_is_read_otherwise_in_pieces() {
    let seeds: Vec<Vec<u8>> = corpus()
        .into_iter()
        .map(|case| case.bytes)
        .filter(|bytes| bytes.len() < 4000)
        .collect();
    let mut rng = StdRng::seed_from_u64(3261);
    let mut messages = 0;
    for _ in 0..1500 {
        let bytes: Vec<u8> = (0..3).flat_map(|_| mutate(&mut rng, &seeds)).collect();
        let whole = framed(&mut rng, &bytes, usize::MAX);
        let longest = [1, 7, 300][rng.random_range(0..3)];
        assert_eq!(framed(&mut rng, &bytes, longest), whole);
        for output in whole {
            if let StreamOutput::Message(bytes) = output {
                messages += 1;
                assert!(!matches!(parse(&bytes), Parsed::KeepAlive));
            }
        }
    }
    assert!(messages > 500, "{messages}");
}

#[test]
fn no_mutant_breaks_the_transactions() {
    let seeds: Vec<Vec<u8>> = corpus()
        .into_iter()
        .map(|case| case.bytes)
        .filter(|bytes| bytes.len() < 4000)
        .collect();
    let mut rng = StdRng::seed_from_u64(5118);
    let mut pair = Pair::new();
    for round in 0..5000 {
        let bytes = Bytes::from(mutate(&mut rng, &seeds));
        let is_request = matches!(
            parse(&bytes),
            Parsed::Message(Message::Request(_)) | Parsed::Reject { .. }
        );
        let now = pair.now + std::time::Duration::from_millis(round * 10);
        pair.bob.handle_input(
            now,
            Input::Received {
                source: Side::Alice.address(),
                bytes,
            },
        );
        let mut asked = None;
        loop {
            match pair.bob.poll_output() {
                Output::Timeout(_) => break,
                Output::Transmit { .. } => assert!(is_request),
                Output::Request { tx, request, .. } => asked = Some((tx, request)),
                _ => {}
            }
        }
        if let Some((tx, request)) = asked {
            assert!(request.headers.has(&HeaderName::Via));
            let response = respond(
                &request,
                [180, 200, 404][rng.random_range(0..3)],
                "",
                Some("b"),
            );
            pair.bob.handle_input(now, Input::Respond { tx, response });
        }
        pair.bob.handle_input(now, Input::Timeout);
        while !matches!(pair.bob.poll_output(), Output::Timeout(_)) {}
    }
    assert!(pair.bob.server_count() < 5000);
}
