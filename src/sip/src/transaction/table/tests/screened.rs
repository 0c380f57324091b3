//! Requests that are asked about before anything is kept of them.

use super::*;

#[allow(clippy::disallowed_methods)] // an arbitrary start of virtual time
fn start() -> Instant {
    Instant::now()
}

/// A table that asks before it makes a server transaction.
fn table() -> Transactions {
    let mut config = TransactionsConfig::new("192.0.2.2".parse().unwrap(), None);
    config.screened = true;
    Transactions::new(config, 1)
}

fn stranger() -> Hop {
    Hop::udp("198.51.100.7:5062".parse().unwrap())
}

fn bytes(method: &str, more: &str) -> Bytes {
    Bytes::from(format!(
        "{method} sip:bob@192.0.2.2 SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.7:5062;rport;branch=z9hG4bKs1\r\n\
         From: <sip:a@198.51.100.7>;tag=1\r\nTo: <sip:bob@192.0.2.2>\r\nCall-ID: s1\r\nCSeq: 1 {method}\r\n{more}\
         Content-Length: 0\r\n\r\n"
    ))
}

fn receive(table: &mut Transactions, bytes: Bytes) -> Output {
    let source = stranger();
    table.handle_input(start(), Input::Received { source, bytes });
    table.poll_output()
}

fn arrived(table: &mut Transactions, bytes: Bytes) -> Request {
    match receive(table, bytes) {
        Output::Arrived { source, request } => {
            assert_eq!(source, stranger());
            request
        }
        other => panic!("{other:?}"),
    }
}

fn is_idle(table: &mut Transactions) -> bool {
    table.server_count() == 0 && table.poll_output() == Output::Timeout(None)
}

#[test]
fn a_stranger_is_answered_once_and_leaves_nothing_behind() {
    for method in ["INVITE", "REGISTER", "OPTIONS", "MESSAGE", "SUBSCRIBE"] {
        let mut table = table();
        let mut answers = Vec::new();
        for _ in 0..2 {
            let request = arrived(&mut table, bytes(method, ""));
            assert!(is_idle(&mut table));
            let tag = table.tag_of(&request);
            let response = respond(&request, 404, "", Some(&tag));
            let source = stranger();
            table.handle_input(start(), Input::Reply { source, response });
            let Output::Transmit { target, bytes } = table.poll_output() else {
                panic!("no answer to {method}");
            };
            assert_eq!(target, stranger());
            answers.push(bytes);
            assert!(is_idle(&mut table));
        }
        assert_eq!(answers[0], answers[1], "RFC 3261 8.2.7");
    }
    let mut table = table();
    // Nobody waits for the ACK to a refusal, and nobody minds it.
    assert!(matches!(
        receive(&mut table, bytes("ACK", "")),
        Output::Ack { .. }
    ));
    assert!(is_idle(&mut table));
}

#[test]
fn who_is_admitted_has_a_transaction_that_absorbs_repeats() {
    let mut table = table();
    let request = arrived(&mut table, bytes("REGISTER", ""));
    let tx = table.admit(start(), stranger(), &request).unwrap();
    assert_eq!(table.server_count(), 1);
    let response = respond(&request, 200, "", Some("t"));
    table.handle_input(start(), Input::Respond { tx, response });
    let Output::Transmit { bytes: first, .. } = table.poll_output() else {
        panic!("no answer");
    };
    let Output::Timeout(Some(_)) = table.poll_output() else {
        panic!("no timer");
    };
    let Output::Transmit { bytes: again, .. } = receive(&mut table, bytes("REGISTER", "")) else {
        panic!("no repeat");
    };
    assert_eq!(first, again);
}

#[test]
fn an_answer_is_never_more_than_half_as_long_again_as_its_request() {
    let challenge = format!(
        "Digest realm=\"strowger\", nonce=\"{}\", algorithm=MD5, qop=\"auth\"",
        "n".repeat(44)
    );
    for (more, is_answered) in [
        (String::new(), false),
        (format!("Subject: {}\r\n", "x".repeat(60)), true),
        (format!("Subject: {}\r\n", "x".repeat(300)), true),
    ] {
        let mut table = table();
        let asked = bytes("REGISTER", &more);
        let request = arrived(&mut table, asked.clone());
        let mut response = respond(&request, 401, "", Some("12345678"));
        response
            .headers
            .push(HeaderName::WwwAuthenticate, &challenge);
        let source = stranger();
        table.handle_input(start(), Input::Reply { source, response });
        match table.poll_output() {
            Output::Transmit { bytes, .. } => {
                assert!(is_answered && bytes.len() * 2 <= asked.len() * 3);
                let Parsed::Message(Message::Response(read)) = parse(&bytes) else {
                    panic!("{bytes:?}");
                };
                assert_eq!(read.headers.call_id(), Some("s1"));
            }
            Output::Malformed { why, .. } => {
                assert!(!is_answered);
                assert_eq!(why, "shorter than its answer");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn an_answer_without_a_transaction_asks_to_hold_back_where_it_has_room_for_that() {
    for (more, oc) in [
        (String::new(), Some("")),
        (format!("Subject: {}\r\n", "x".repeat(120)), Some("35")),
    ] {
        let mut table = table();
        table.set_load(Load::new(35, Duration::from_secs(1_764_358_800)));
        let asked = bytes("OPTIONS", &more);
        let text = String::from_utf8_lossy(&asked).replace(";rport", ";rport;oc");
        let asked = Bytes::from(text);
        let request = arrived(&mut table, asked.clone());
        let mut response = respond(&request, 405, "", Some("12345678"));
        let allowed = "INVITE, ACK, BYE, CANCEL, OPTIONS, REGISTER, MESSAGE, INFO, UPDATE";
        response.headers.push(HeaderName::Allow, allowed);
        let source = stranger();
        table.handle_input(start(), Input::Reply { source, response });
        let Output::Transmit { bytes, .. } = table.poll_output() else {
            panic!("no answer");
        };
        assert!(bytes.len() * 2 <= asked.len() * 3);
        let Parsed::Message(Message::Response(read)) = parse(&bytes) else {
            panic!("{bytes:?}");
        };
        let via = read.headers.via().unwrap();
        assert_eq!(via.params.get("oc"), oc, "{bytes:?}");
    }
    let mut table = table();
    table.set_load(Load::new(35, Duration::from_secs(1_764_358_800)));
    let text = String::from_utf8_lossy(&bytes("REGISTER", "")).replace(";rport", ";rport;oc");
    let request = arrived(&mut table, Bytes::from(text));
    let tx = table.admit(start(), stranger(), &request).unwrap();
    let response = respond(&request, 401, "", Some("1"));
    table.handle_input(start(), Input::Stateless { tx, response });
    let Output::Transmit { bytes, .. } = table.poll_output() else {
        panic!("no answer");
    };
    assert!(String::from_utf8_lossy(&bytes).contains(";oc=35;"));
}

#[test]
fn what_the_front_end_refuses_is_no_amplifier_either() {
    let full = bytes("OPTIONS", "");
    let text = String::from_utf8_lossy(&full).into_owned();
    for broken in [
        text.replace("CSeq: 1", "CSeq: x"),
        text.replace("SIP/2.0\r\nVia", "SIP/7.0\r\nVia"),
        text.replace("OPTIONS", "NEWMETHOD"),
        text.replace("OPTIONS", "CANCEL"),
    ] {
        let mut table = table();
        match receive(&mut table, Bytes::from(broken.clone())) {
            Output::Transmit { bytes, .. } => {
                assert!(bytes.len() * 2 <= broken.len() * 3, "{bytes:?}");
            }
            Output::Malformed { .. } => {}
            other => panic!("{other:?}"),
        }
        assert_eq!(table.server_count(), 0);
    }
}
