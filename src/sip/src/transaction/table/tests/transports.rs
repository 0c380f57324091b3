//! What differs with the transport: repeats, connections, what is too long for a datagram.

use super::*;

/// Everything a table sends, by hop and first word, over an hour in which nothing answers.
fn sent_in_an_hour(table: &mut Transactions, mut now: Instant) -> Vec<(String, String)> {
    let mut sent = Vec::new();
    let end = now + Duration::from_secs(3600);
    loop {
        match table.poll_output() {
            Output::Transmit { target, bytes } => {
                let text = String::from_utf8_lossy(&bytes).into_owned();
                let word = text.split(' ').next().unwrap_or_default().to_owned();
                let via = text
                    .lines()
                    .find(|line| line.starts_with("Via"))
                    .unwrap_or_default();
                let transport = via.split(' ').nth(1).unwrap_or_default();
                sent.push((target.to_string(), format!("{word} {transport}")));
            }
            Output::Timeout(Some(at)) if at <= end => {
                now = at.max(now);
                table.handle_input(now, Input::Timeout);
            }
            Output::Timeout(_) => return sent,
            _ => {}
        }
    }
}

fn table(datagram: Option<usize>) -> Transactions {
    let mut config = TransactionsConfig::new("192.0.2.1".parse().unwrap(), Some(5060));
    config.datagram = datagram;
    for transport in ["tcp", "tls"] {
        config.sent_by.push(SentBy {
            transport: transport.parse().unwrap(),
            host: "192.0.2.1".parse().unwrap(),
            port: Some(if transport == "tls" { 5061 } else { 5060 }),
        });
    }
    Transactions::new(config, 1)
}

#[test]
fn a_reliable_transport_repeats_nothing_and_forgets_at_once() {
    for (hop, via) in [("tcp:192.0.2.9:5060", "TCP"), ("tls:192.0.2.9:5061", "TLS")] {
        for method in [Method::Invite, Method::Options] {
            let (mut table, now) = (table(None), start());
            table.request(now, hop.parse().unwrap(), request(method.clone()), 7);
            let sent = sent_in_an_hour(&mut table, now);
            assert_eq!(sent, [(hop.to_owned(), format!("{method} SIP/2.0/{via}"))]);
            assert_eq!(table.client_count(), 0, "it failed after 64*T1");
        }
        // A refusal is sent once, and nothing is kept for repeats.
        let (mut table, now) = (table(None), start());
        let mut invite = request(Method::Invite);
        invite.headers.push_front(
            HeaderName::Via,
            format!("SIP/2.0/{via} 192.0.2.9;branch=z9hG4bKx"),
        );
        let source = hop.parse().unwrap();
        table.handle_input(
            now,
            Input::Received {
                source,
                bytes: invite.encode(),
            },
        );
        let Output::Request { tx, request, .. } = table.poll_output() else {
            panic!("no request")
        };
        let response = respond(&request, 486, "", Some("t"));
        table.handle_input(now, Input::Respond { tx, response });
        let sent = sent_in_an_hour(&mut table, now);
        assert_eq!(sent.len(), 1, "{sent:?}");
        assert_eq!((sent[0].0.as_str(), table.server_count()), (hop, 0));
    }
}

#[test]
fn an_answer_goes_over_a_new_connection_to_where_the_via_says_when_that_of_the_request_has_ended() {
    let (mut table, now) = (table(None), start());
    let mut invite = request(Method::Invite);
    let via = "SIP/2.0/TCP pbx.example.com:5070;branch=z9hG4bKx";
    invite.headers.push_front(HeaderName::Via, via);
    let source: Hop = "tcp:192.0.2.9:49152".parse().unwrap();
    let bytes = invite.encode();
    table.handle_input(now, Input::Received { source, bytes });
    let mut sent = Vec::new();
    let mut tx = None;
    let drain = |table: &mut Transactions, sent: &mut Vec<String>, tx: &mut Option<_>| loop {
        match table.poll_output() {
            Output::Transmit { target, .. } => sent.push(target.to_string()),
            Output::Request {
                tx: key, request, ..
            } => *tx = Some((key, request)),
            Output::Timeout(_) => return,
            other => panic!("{other:?}"),
        }
    };
    drain(&mut table, &mut sent, &mut tx);
    let (tx, request) = tx.take().unwrap();
    for (status, ended) in [(180, source), (486, "tcp:192.0.2.8:49152".parse().unwrap())] {
        let response = respond(&request, status, "", Some("t"));
        table.handle_input(now, Input::Respond { tx, response });
        drain(&mut table, &mut sent, &mut None);
        table.handle_input(now, Input::Unreachable { target: ended });
    }
    assert_eq!(
        sent.iter()
            .rev()
            .take(2)
            .map(String::as_str)
            .collect::<Vec<_>>(),
        ["tcp:192.0.2.9:5070", "tcp:192.0.2.9:49152"]
    );
}

#[test]
fn a_via_names_the_address_that_leads_to_the_peer_where_we_are_bound_to_all() {
    let mut config = TransactionsConfig::new(Host::from(IpAddr::from([0, 0, 0, 0])), Some(5060));
    let six = IpAddr::from(std::net::Ipv6Addr::UNSPECIFIED);
    config.sent_by.push(SentBy {
        transport: Transport::Udp,
        host: Host::from(six),
        port: Some(5062),
    });
    let mut table = Transactions::new(config, 7);
    for (here, peer, via) in [
        ("192.0.2.1", "192.0.2.9:5060", "UDP 192.0.2.1:5060;"),
        (
            "2001:db8::1",
            "[2001:db8::9]:5060",
            "UDP [2001:db8::1]:5062;",
        ),
    ] {
        table.set_here(here.parse().unwrap());
        let tx = table.request(start(), peer.parse().unwrap(), request(Method::Options), 7);
        let Output::Transmit { bytes, .. } = table.poll_output() else {
            panic!("nothing sent")
        };
        let text = String::from_utf8_lossy(&bytes).into_owned();
        assert!(text.contains(via), "{text}");
        let Parsed::Message(Message::Request(sent)) = parse(&bytes) else {
            panic!("{text}")
        };
        // And its answer is known again.
        let bytes = respond(&sent, 200, "", Some("t")).encode();
        let source = peer.parse().unwrap();
        table.handle_input(start(), Input::Received { source, bytes });
        let outputs: Vec<Output> = std::iter::from_fn(|| match table.poll_output() {
            Output::Timeout(_) => None,
            output => Some(output),
        })
        .collect();
        let answered =
            |output: &Output| matches!(output, Output::Response { tx: of, .. } if *of == tx);
        assert!(outputs.iter().any(answered), "{outputs:?}");
    }
}

#[test]
fn what_is_too_long_for_a_datagram_goes_by_tcp_and_by_udp_where_nobody_takes_streams() {
    let long = || {
        let mut invite = request(Method::Invite);
        invite.body = vec![b'x'; 1300].into();
        invite
    };
    let (udp, tcp) = ("udp:192.0.2.9:5060", "tcp:192.0.2.9:5060");
    let first = |table: &mut Transactions| match table.poll_output() {
        Output::Transmit { target, bytes } => (target.to_string(), bytes),
        other => panic!("{other:?}"),
    };
    let now = start();
    let mut small = table(Some(1300));
    small.request(now, udp.parse().unwrap(), request(Method::Invite), 7);
    assert_eq!(first(&mut small).0, udp);

    let mut big = table(Some(1300));
    let tx = big.request(now, udp.parse().unwrap(), long(), 7);
    let (target, bytes) = first(&mut big);
    assert_eq!(target, tcp);
    assert!(String::from_utf8_lossy(&bytes).contains("SIP/2.0/TCP"));
    big.handle_input(now, Input::Cancel { tx, reason: None });
    big.handle_input(
        now,
        Input::Unreachable {
            target: tcp.parse().unwrap(),
        },
    );
    let (target, bytes) = first(&mut big);
    assert_eq!(target, udp);
    let text = String::from_utf8_lossy(&bytes);
    assert!(
        text.contains("SIP/2.0/UDP") && text.contains("rport"),
        "{text}"
    );
    // It is the same transaction for its user, and a CANCEL that waited still waits.
    let Ok(Message::Request(sent)) = (match parse(&bytes) {
        Parsed::Message(message) => Ok(message),
        other => Err(other),
    }) else {
        panic!("not read back")
    };
    let ringing = respond(&sent, 180, "", Some("b"));
    big.handle_input(
        now,
        Input::Received {
            source: udp.parse().unwrap(),
            bytes: ringing.encode(),
        },
    );
    assert!(matches!(big.poll_output(), Output::Response { tx: answered, .. } if answered == tx));
    let (target, bytes) = first(&mut big);
    assert_eq!(target, udp);
    assert!(bytes.starts_with(b"CANCEL"));
}

#[test]
fn what_was_heard_over_a_stream_is_not_asked_again_by_datagram_when_the_stream_ends() {
    let (udp, tcp): (Hop, Hop) = (
        "udp:192.0.2.9:5060".parse().unwrap(),
        "tcp:192.0.2.9:5060".parse().unwrap(),
    );
    let now = start();
    for (method, status) in [
        (Method::Invite, 180),
        (Method::Invite, 200),
        (Method::Message, 100),
    ] {
        let mut table = table(Some(1300));
        let mut long = request(method.clone());
        long.body = vec![b'x'; 1300].into();
        table.request(now, udp, long, 7);
        let Output::Transmit { target, bytes } = table.poll_output() else {
            panic!("nothing sent")
        };
        assert_eq!(target, tcp);
        let Parsed::Message(Message::Request(sent)) = parse(&bytes) else {
            panic!("not read back")
        };
        let bytes = respond(&sent, status, "", Some("b")).encode();
        table.handle_input(now, Input::Received { source: tcp, bytes });
        assert!(matches!(table.poll_output(), Output::Response { .. }));
        table.handle_input(now, Input::Unreachable { target: tcp });
        // Whoever has it would take it for another one: a telephone would ring twice.
        let again = std::iter::from_fn(|| match table.poll_output() {
            Output::Timeout(_) => None,
            output => Some(output),
        })
        .find(|output| matches!(output, Output::Transmit { .. }));
        assert_eq!(again, None, "{method} {status}");
    }
}

#[expect(clippy::disallowed_methods, reason = "a start, from which tests count")]
fn start() -> Instant {
    Instant::now()
}
