mod screened;
mod transports;

use std::time::Duration;

use super::*;
use crate::message::{Message, Method, Response, respond};
use crate::parse::{Parsed, parse};
use crate::tests::pair::{Pair, Side, request};
use crate::transaction::Failure;

const T1: Duration = Duration::from_millis(500);

fn asked(pair: &mut Pair) -> (ServerKey, Request) {
    match pair.next_at(Side::Bob) {
        Output::Request { tx, request, .. } => (tx, request),
        other => panic!("{other:?}"),
    }
}

fn answer(pair: &mut Pair, tx: ServerKey, response: Response) {
    pair.input(Side::Bob, Input::Respond { tx, response });
}

fn heard(pair: &mut Pair) -> u16 {
    match pair.next_at(Side::Alice) {
        Output::Response {
            user: 7, response, ..
        } => response.status,
        other => panic!("{other:?}"),
    }
}

fn ack_to_success() -> Request {
    let mut ack = request(Method::Ack);
    ack.headers
        .set(HeaderName::To, "<sip:bob@192.0.2.2>;tag=b1");
    ack
}

#[test]
fn a_call_is_set_up_and_its_ack_goes_to_the_dialog() {
    let mut pair = Pair::new();
    pair.request(Side::Alice, request(Method::Invite));
    pair.advance(Duration::ZERO);
    let (tx, invite) = asked(&mut pair);
    assert_eq!(invite.headers.via().unwrap().rport(), Some(5060));
    answer(&mut pair, tx, respond(&invite, 180, "", Some("b1")));
    answer(&mut pair, tx, respond(&invite, 200, "", Some("b1")));
    pair.deliver();
    assert_eq!((heard(&mut pair), heard(&mut pair)), (180, 200));
    // Repeats of the success reach the user, who acknowledges each (RFC 3261 13.2.2.4).
    answer(&mut pair, tx, respond(&invite, 200, "", Some("b1")));
    pair.deliver();
    assert_eq!(heard(&mut pair), 200);
    assert_eq!(pair.bob.repeats_out().invite, 1);
    assert_eq!(pair.alice.repeats_in().invite, 1);
    pair.input(
        Side::Alice,
        Input::Ack {
            target: Side::Bob.address(),
            request: ack_to_success(),
        },
    );
    pair.deliver();
    assert!(matches!(pair.next_at(Side::Bob), Output::Ack { .. }));
    // A repeat of the INVITE is absorbed in Accepted (RFC 6026).
    assert_eq!(pair.bob.server_count(), 1);
    pair.advance(T1 * 64);
    assert_eq!((pair.alice.client_count(), pair.bob.server_count()), (0, 0));
    assert_eq!(
        (
            pair.sent(Side::Alice, "INVITE"),
            pair.sent(Side::Bob, "SIP/2.0 100")
        ),
        (1, 0)
    );
    assert!(pair.seen.is_empty());
}

#[test]
fn a_lost_invite_is_repeated_and_seen_once() {
    let mut pair = Pair::new();
    pair.lose(3);
    pair.request(Side::Alice, request(Method::Invite));
    pair.advance(Duration::from_millis(1499));
    assert_eq!(pair.sent(Side::Alice, "INVITE"), 2);
    pair.advance(T1 * 4 + Duration::from_millis(1));
    assert_eq!(pair.sent(Side::Alice, "INVITE"), 4);
    let (tx, invite) = asked(&mut pair);
    // The user said nothing for 200 ms: 100 stops the repeats.
    pair.advance(Duration::from_secs(20));
    assert_eq!(
        (
            pair.sent(Side::Alice, "INVITE"),
            pair.sent(Side::Bob, "SIP/2.0 100")
        ),
        (4, 1)
    );
    assert_eq!(heard(&mut pair), 100);
    answer(&mut pair, tx, respond(&invite, 486, "", Some("b1")));
    pair.advance(Duration::from_secs(60));
    assert_eq!(heard(&mut pair), 486);
    assert!(pair.seen.is_empty());
    // Three were sent again, but only one arrived.
    assert_eq!(pair.alice.repeats_out().invite, 3);
    assert_eq!(pair.bob.repeats_in(), Repeats::default());
}

#[test]
fn an_unanswered_request_fails_after_64_t1() {
    for (method, sent) in [(Method::Invite, 7), (Method::Options, 11)] {
        let mut pair = Pair::new();
        pair.lose(100);
        let tx = pair.request(Side::Alice, request(method.clone()));
        pair.advance(Duration::from_millis(31_999));
        assert!(pair.seen.is_empty());
        assert_eq!(pair.sent(Side::Alice, method.as_str()), sent);
        pair.advance(Duration::from_millis(1));
        assert_eq!(
            pair.next_at(Side::Alice),
            Output::Failed {
                user: 7,
                tx,
                why: Failure::TimedOut
            }
        );
        assert_eq!(pair.alice.client_count(), 0);
    }
}

#[test]
fn a_failure_is_repeated_until_its_ack_arrives() {
    let mut pair = Pair::new();
    pair.request(Side::Alice, request(Method::Invite));
    pair.deliver();
    let (tx, invite) = asked(&mut pair);
    answer(&mut pair, tx, respond(&invite, 180, "", Some("b1")));
    pair.deliver();
    assert_eq!(heard(&mut pair), 180);
    pair.lose(2);
    answer(&mut pair, tx, respond(&invite, 486, "", Some("b1")));
    pair.advance(T1 * 3);
    assert_eq!(
        (
            pair.sent(Side::Bob, "SIP/2.0 486"),
            pair.sent(Side::Alice, "ACK")
        ),
        (3, 1)
    );
    assert_eq!(heard(&mut pair), 486);
    // The ACK is lost as well: the repeat of the failure brings it again.
    let mut pair = Pair::new();
    pair.request(Side::Alice, request(Method::Invite));
    pair.deliver();
    let (tx, invite) = asked(&mut pair);
    answer(&mut pair, tx, respond(&invite, 486, "", Some("b1")));
    pair.lose(1);
    pair.advance(T1);
    assert_eq!(
        (
            pair.sent(Side::Bob, "SIP/2.0 486"),
            pair.sent(Side::Alice, "ACK")
        ),
        (2, 2)
    );
    assert_eq!(heard(&mut pair), 486);
    assert_eq!(
        (
            pair.bob.repeats_out().invite,
            pair.alice.repeats_in().invite,
            pair.alice.repeats_out().invite
        ),
        (1, 1, 1)
    );
    pair.advance(T1 * 64);
    assert!(pair.seen.is_empty());
    assert_eq!((pair.alice.client_count(), pair.bob.server_count()), (0, 0));
}

#[test]
fn a_failure_without_ack_ends_after_64_t1() {
    let mut pair = Pair::new();
    pair.request(Side::Alice, request(Method::Invite));
    pair.deliver();
    let (tx, invite) = asked(&mut pair);
    pair.lose(100);
    answer(&mut pair, tx, respond(&invite, 503, "", Some("b1")));
    pair.advance(T1 * 64);
    // 0, .5, 1.5, 3.5, 7.5, then every 4 s.
    assert_eq!(
        (pair.sent(Side::Bob, "SIP/2.0 503"), pair.bob.server_count()),
        (11, 0)
    );
}

#[test]
fn a_cancel_waits_for_the_first_provisional_response() {
    let mut pair = Pair::new();
    let tx = pair.request(Side::Alice, request(Method::Invite));
    pair.input(
        Side::Alice,
        Input::Cancel {
            tx,
            reason: Some("SIP;cause=200".into()),
        },
    );
    assert_eq!(pair.sent(Side::Alice, "CANCEL"), 0);
    pair.advance(Duration::from_millis(200));
    let (server, invite) = asked(&mut pair);
    assert_eq!(heard(&mut pair), 100);
    let cancelled = Output::Cancelled {
        tx: server,
        reason: Some("SIP;cause=200".into()),
    };
    assert_eq!(pair.next_at(Side::Bob), cancelled);
    answer(&mut pair, server, respond(&invite, 487, "", Some("b1")));
    pair.advance(Duration::from_secs(40));
    assert_eq!(heard(&mut pair), 487);
    assert_eq!(
        (
            pair.sent(Side::Alice, "CANCEL"),
            pair.sent(Side::Bob, "SIP/2.0 200")
        ),
        (1, 1)
    );
    assert!(pair.seen.is_empty());
    assert_eq!((pair.alice.client_count(), pair.bob.server_count()), (0, 0));
}

#[test]
fn a_cancel_has_the_tag_of_the_ringing_and_is_answered_when_repeated() {
    let mut pair = Pair::new();
    let tx = pair.request(Side::Alice, request(Method::Invite));
    pair.deliver();
    let (server, invite) = asked(&mut pair);
    answer(&mut pair, server, respond(&invite, 180, "", Some("b1")));
    pair.deliver();
    assert_eq!(heard(&mut pair), 180);
    pair.input(Side::Alice, Input::Cancel { tx, reason: None });
    let (_, cancel) = pair.last.clone().unwrap();
    pair.deliver();
    let (_, ok) = pair.last.clone().unwrap();
    let Parsed::Message(Message::Response(ok)) = parse(&ok) else {
        panic!()
    };
    assert_eq!(
        (ok.status, ok.headers.to().unwrap().tag()),
        (200, Some("b1"))
    );
    assert!(matches!(pair.next_at(Side::Bob), Output::Cancelled { .. }));
    pair.input(
        Side::Bob,
        Input::Received {
            source: Side::Alice.address(),
            bytes: cancel,
        },
    );
    assert_eq!(pair.sent(Side::Bob, "SIP/2.0 200"), 2);
    assert!(pair.seen.is_empty());
}

#[test]
fn a_cancel_that_crosses_the_answer_changes_nothing() {
    let mut pair = Pair::new();
    let tx = pair.request(Side::Alice, request(Method::Invite));
    pair.advance(Duration::from_millis(200));
    let (server, invite) = asked(&mut pair);
    assert_eq!(heard(&mut pair), 100);
    answer(&mut pair, server, respond(&invite, 200, "", Some("b1")));
    pair.input(Side::Alice, Input::Cancel { tx, reason: None });
    pair.deliver();
    assert_eq!(heard(&mut pair), 200);
    assert!(pair.seen.is_empty(), "{:?}", pair.seen);
}

#[test]
fn a_cancelled_invite_that_never_ends_is_given_up() {
    let mut pair = Pair::new();
    let tx = pair.request(Side::Alice, request(Method::Invite));
    pair.advance(Duration::from_millis(200));
    asked(&mut pair);
    assert_eq!(heard(&mut pair), 100);
    pair.input(Side::Alice, Input::Cancel { tx, reason: None });
    pair.advance(T1 * 64);
    assert!(matches!(pair.next_at(Side::Bob), Output::Cancelled { .. }));
    assert_eq!(
        pair.next_at(Side::Alice),
        Output::Failed {
            user: 7,
            tx,
            why: Failure::TimedOut
        }
    );
}

#[test]
fn a_request_is_answered_from_memory_when_repeated() {
    let mut pair = Pair::new();
    pair.request(Side::Alice, request(Method::Options));
    let (_, bytes) = pair.last.clone().unwrap();
    pair.deliver();
    let (tx, options) = asked(&mut pair);
    let again = || Input::Received {
        source: Side::Alice.address(),
        bytes: bytes.clone(),
    };
    pair.input(Side::Bob, again());
    assert_eq!(pair.sent(Side::Bob, "SIP"), 0);
    answer(&mut pair, tx, respond(&options, 200, "", Some("b1")));
    pair.input(Side::Bob, again());
    assert_eq!(pair.sent(Side::Bob, "SIP/2.0 200"), 2);
    pair.deliver();
    assert_eq!(heard(&mut pair), 200);
    let (bob, alice) = (&pair.bob, &pair.alice);
    assert_eq!((bob.repeats_in().other, bob.repeats_out().other), (2, 1));
    assert_eq!(alice.repeats_in().other, 1);
    assert!(pair.seen.is_empty());
    pair.advance(T1 * 64);
    assert_eq!((pair.alice.client_count(), pair.bob.server_count()), (0, 0));
}

#[test]
fn strays_are_refused_or_dropped_and_acks_never_answered() {
    let mut pair = Pair::new();
    let mut send = |bytes: Bytes| {
        pair.input(
            Side::Bob,
            Input::Received {
                source: Side::Alice.address(),
                bytes,
            },
        );
        let sent = std::mem::take(&mut pair.wire);
        (
            sent.first().map(|(_, line)| line.clone()),
            pair.seen.pop_front().map(|(_, output)| output),
        )
    };
    let stray = |method| {
        let mut request = request(method);
        request.headers.push_front(
            HeaderName::Via,
            "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKstray;rport",
        );
        request
    };
    let refused = |why| {
        Some(Output::Malformed {
            source: Side::Alice.address(),
            why,
        })
    };
    let (line, seen) = send(stray(Method::Cancel).encode());
    assert_eq!(
        line.as_deref(),
        Some("SIP/2.0 481 Call/Transaction Does Not Exist")
    );
    assert_eq!(seen, refused("stray CANCEL"));
    let (line, seen) = send(respond(&stray(Method::Invite), 200, "", Some("t")).encode());
    assert_eq!((line, seen), (None, refused("stray response")));
    let (line, seen) = send(stray(Method::Ack).encode());
    assert!(line.is_none() && matches!(seen, Some(Output::Ack { .. })));
    let (line, seen) = send(Bytes::from_static(b"\r\n\r\n"));
    assert!(line.is_none() && seen.is_none());
    let (line, _) = send(Bytes::from(
        stray(Method::Options)
            .to_string()
            .replace("sip:bob@192.0.2.2:5060 SIP/2.0", "x:y SIP/2.0"),
    ));
    assert_eq!(line.as_deref(), Some("SIP/2.0 416 Unsupported URI Scheme"));
}

#[test]
fn a_response_with_a_foreign_via_is_dropped() {
    let mut pair = Pair::new();
    pair.lose(1);
    pair.request(Side::Alice, request(Method::Options));
    let (_, bytes) = pair.last.clone().unwrap();
    let Parsed::Message(Message::Request(options)) = parse(&bytes) else {
        panic!()
    };
    let mut two_vias = respond(&options, 200, "", Some("b1"));
    two_vias.headers.push(
        HeaderName::Via,
        "SIP/2.0/UDP 255.255.255.255;branch=z9hG4bKx",
    );
    let mut other_host = respond(&options, 200, "", Some("b1"));
    let mut via = options.headers.via().unwrap();
    via.host = "198.51.100.1".parse().unwrap();
    other_host.headers.set_first(HeaderName::Via, via);
    for bad in [two_vias, other_host] {
        pair.input(
            Side::Alice,
            Input::Received {
                source: Side::Bob.address(),
                bytes: bad.encode(),
            },
        );
        assert!(matches!(
            pair.next_at(Side::Alice),
            Output::Malformed {
                why: "stray response",
                ..
            }
        ));
    }
}

#[test]
fn a_forked_request_is_answered_once() {
    for (method, first_status, second_seen) in [
        (Method::Invite, None, false),
        (Method::Invite, Some(200), false),
        (Method::Invite, Some(401), true),
        (Method::Register, Some(401), true),
    ] {
        let mut pair = Pair::new();
        pair.request(Side::Alice, request(method.clone()));
        pair.deliver();
        let (tx, first) = asked(&mut pair);
        if let Some(status) = first_status {
            answer(&mut pair, tx, respond(&first, status, "", Some("b1")));
            pair.deliver();
            heard(&mut pair);
        }
        pair.request(Side::Alice, request(method));
        pair.deliver();
        if second_seen {
            asked(&mut pair);
        } else {
            assert!(matches!(
                pair.next_at(Side::Bob),
                Output::Malformed {
                    why: "merged request",
                    ..
                }
            ));
            assert_eq!(heard(&mut pair), 482);
        }
    }
}

#[test]
fn a_stateless_answer_leaves_nothing_behind() {
    let mut pair = Pair::new();
    pair.request(Side::Alice, request(Method::Invite));
    pair.deliver();
    let (tx, invite) = asked(&mut pair);
    pair.input(
        Side::Bob,
        Input::Stateless {
            tx,
            response: respond(&invite, 401, "", Some("b1")),
        },
    );
    assert_eq!(pair.bob.server_count(), 0);
    pair.advance(Duration::from_secs(10));
    assert_eq!(heard(&mut pair), 401);
    assert_eq!(pair.sent(Side::Bob, "SIP"), 1);
    // Its ACK belongs to nothing; the dialogs drop it.
    assert!(matches!(pair.next_at(Side::Bob), Output::Ack { .. }));
}

#[test]
fn the_oldest_stranger_makes_room() {
    let mut pair = Pair::new();
    let mut config = TransactionsConfig::new(Side::Bob.address().ip().into(), Some(5060));
    config.servers = 3;
    pair.bob = Transactions::new(config, 3);
    let ask = |pair: &mut Pair, number: u32| {
        let mut request = request(Method::Invite);
        request.headers.set(HeaderName::CallId, number);
        pair.request(Side::Alice, request);
        pair.deliver();
    };
    ask(&mut pair, 1);
    let (first, invite) = asked(&mut pair);
    answer(&mut pair, first, respond(&invite, 180, "", Some("b1")));
    pair.deliver();
    heard(&mut pair);
    for number in 2..=4 {
        ask(&mut pair, number);
        asked(&mut pair);
    }
    assert_eq!(pair.bob.server_count(), 3);
    // The ringing one is still there, the first stranger is gone.
    answer(&mut pair, first, respond(&invite, 200, "", Some("b1")));
    pair.deliver();
    assert_eq!(heard(&mut pair), 200);
    let strangers: Vec<ServerKey> = pair.bob.strangers.iter().copied().collect();
    for tx in strangers {
        answer(&mut pair, tx, respond(&invite, 180, "", Some("b1")));
    }
    pair.seen.clear();
    ask(&mut pair, 5);
    let refused = pair.seen.iter().find_map(|(_, output)| match output {
        Output::Response { response, .. } if response.status == 503 => Some(response),
        _ => None,
    });
    let headers = &refused.unwrap().headers;
    let wait = headers.get(&HeaderName::from("Retry-After")).unwrap();
    assert!((5..=30).contains(&wait.parse::<u64>().unwrap()), "{wait}");
    assert_eq!((pair.bob.server_count(), pair.bob.strangers.len()), (3, 0));
}

#[test]
fn a_cancel_never_pushes_its_invite_out_of_a_full_table() {
    let mut pair = Pair::new();
    pair.bob.config.servers = 1;
    let tx = pair.request(Side::Alice, request(Method::Invite));
    pair.advance(Duration::from_millis(200));
    let (server, invite) = asked(&mut pair);
    assert_eq!(heard(&mut pair), 100);
    pair.input(Side::Alice, Input::Cancel { tx, reason: None });
    pair.deliver();
    assert_eq!(
        pair.next_at(Side::Bob),
        Output::Cancelled {
            tx: server,
            reason: None
        }
    );
    answer(&mut pair, server, respond(&invite, 487, "", Some("b1")));
    pair.deliver();
    assert_eq!(heard(&mut pair), 487);
}

#[test]
fn the_client_table_is_bounded() {
    let mut pair = Pair::new();
    pair.alice.config.clients = 1;
    pair.request(Side::Alice, request(Method::Options));
    let tx = pair.request(Side::Alice, request(Method::Options));
    assert_eq!(
        pair.next_at(Side::Alice),
        Output::Failed {
            user: 7,
            tx,
            why: Failure::Overload
        }
    );
}

#[test]
fn an_unreachable_target_fails_what_waits_for_it() {
    let mut pair = Pair::new();
    let tx = pair.request(Side::Alice, request(Method::Options));
    pair.input(
        Side::Alice,
        Input::Unreachable {
            target: "192.0.2.9:5060".parse().unwrap(),
        },
    );
    assert!(pair.seen.is_empty());
    pair.input(
        Side::Alice,
        Input::Unreachable {
            target: Side::Bob.address(),
        },
    );
    assert_eq!(
        pair.next_at(Side::Alice),
        Output::Failed {
            user: 7,
            tx,
            why: Failure::Transport
        }
    );
    assert_eq!(pair.alice.client_count(), 0);
}

#[test]
fn peers_of_rfc_2543_are_matched_without_a_branch() {
    let mut pair = Pair::new();
    let mut invite = request(Method::Invite);
    invite
        .headers
        .push_front(HeaderName::Via, "SIP/2.0/UDP 192.0.2.1");
    let send = |pair: &mut Pair, request: &Request| {
        pair.input(
            Side::Bob,
            Input::Received {
                source: Side::Alice.address(),
                bytes: request.encode(),
            },
        );
    };
    send(&mut pair, &invite);
    let (tx, seen) = asked(&mut pair);
    answer(&mut pair, tx, respond(&seen, 486, "", Some("b1")));
    send(&mut pair, &invite);
    assert_eq!(pair.sent(Side::Bob, "SIP/2.0 486"), 2);
    let mut ack = invite.clone();
    ack.method = Method::Ack;
    ack.headers.set(HeaderName::CSeq, "1 ACK");
    ack.headers
        .set(HeaderName::To, "<sip:bob@192.0.2.2>;tag=b1");
    send(&mut pair, &ack);
    pair.advance(Duration::from_secs(30));
    assert_eq!(
        (pair.sent(Side::Bob, "SIP/2.0 486"), pair.bob.server_count()),
        (2, 0)
    );
    let mut next = invite.clone();
    next.headers.set(HeaderName::CSeq, "2 INVITE");
    pair.seen.clear();
    send(&mut pair, &next);
    asked(&mut pair);
}

#[test]
fn answers_go_to_the_source_port_or_where_via_says() {
    let source = "198.51.100.7:40000".parse().unwrap();
    for (force, rport, target) in [
        (true, "", "198.51.100.7:40000"),
        (true, ";rport", "198.51.100.7:40000"),
        (false, "", "198.51.100.7:5070"),
        (false, ";rport", "198.51.100.7:40000"),
    ] {
        let mut config = TransactionsConfig::new("192.0.2.2".parse().unwrap(), None);
        config.force_rport = force;
        let mut bob = Transactions::new(config, 1);
        let mut options = request(Method::Options);
        options.headers.push_front(
            HeaderName::Via,
            format!("SIP/2.0/UDP 10.0.0.1:5070;branch=z9hG4bKx{rport}"),
        );
        bob.handle_input(
            Pair::new().now,
            Input::Received {
                source,
                bytes: options.encode(),
            },
        );
        let Output::Request { tx, request, .. } = bob.poll_output() else {
            panic!()
        };
        let via = request.headers.via().unwrap();
        assert_eq!(via.received(), Some(source.ip()));
        assert_eq!(via.rport(), (!rport.is_empty()).then_some(40000));
        bob.handle_input(
            Pair::new().now,
            Input::Respond {
                tx,
                response: respond(&request, 200, "", None),
            },
        );
        let Output::Transmit { target: to, .. } = bob.poll_output() else {
            panic!()
        };
        assert_eq!(to, target.parse().unwrap());
    }
}

#[test]
fn nothing_is_left_behind_on_a_bad_network() {
    let mut rng = StdRng::seed_from_u64(3261);
    let mut pair = Pair::new();
    let methods = [
        Method::Invite,
        Method::Options,
        Method::Register,
        Method::Bye,
    ];
    for round in 0..200u32 {
        let mut request = request(methods[usize::try_from(round % 4).unwrap()].clone());
        request.headers.set(HeaderName::CallId, round);
        let client = pair.request(Side::Alice, request);
        pair.lose(rng.random_range(0..4));
        pair.advance(Duration::from_millis(rng.random_range(0..3000)));
        let asked: Vec<(ServerKey, Request)> = pair
            .seen
            .drain(..)
            .filter_map(|(_, output)| match output {
                Output::Request { tx, request, .. } => Some((tx, request)),
                _ => None,
            })
            .collect();
        for (tx, request) in asked {
            if rng.random_bool(0.3) {
                answer(&mut pair, tx, respond(&request, 180, "", Some("b")));
            }
            if rng.random_bool(0.3) {
                pair.input(
                    Side::Alice,
                    Input::Cancel {
                        tx: client,
                        reason: None,
                    },
                );
            }
            pair.lose(rng.random_range(0..3));
            let status = [200, 302, 404, 503, 603][rng.random_range(0..5)];
            answer(&mut pair, tx, respond(&request, status, "", Some("b")));
        }
    }
    for tx in pair.bob.servers.keys().copied().collect::<Vec<_>>() {
        let open = request(Method::Invite);
        answer(&mut pair, tx, respond(&open, 480, "", Some("b")));
    }
    pair.advance(Duration::from_secs(200));
    // An INVITE that heard a provisional response and nothing more waits for its user.
    for tx in pair.alice.clients.keys().copied().collect::<Vec<_>>() {
        pair.input(Side::Alice, Input::Cancel { tx, reason: None });
    }
    // What the last round brought is refused as well.
    for (_, output) in std::mem::take(&mut pair.seen) {
        if let Output::Request { tx, request, .. } = output {
            answer(&mut pair, tx, respond(&request, 480, "", Some("b")));
        }
    }
    pair.advance(Duration::from_secs(200));
    for side in [&pair.alice, &pair.bob] {
        assert_eq!((side.server_count(), side.client_count()), (0, 0));
        assert!(side.timers.next().is_none() && side.strangers.is_empty());
        assert!(
            side.server_matches.is_empty()
                && side.merge_matches.is_empty()
                && side.client_matches.is_empty()
        );
    }
}

#[test]
fn a_request_that_was_given_up_is_heard_of_no_more() {
    let mut pair = Pair::new();
    pair.lose(1);
    let tx = pair.request(Side::Alice, request(Method::Register));
    pair.input(Side::Alice, Input::GiveUp { tx });
    pair.advance(T1 * 64);
    assert_eq!(pair.sent(Side::Alice, "REGISTER"), 1);
    assert_eq!(pair.alice.client_count(), 0);
    assert!(pair.seen.is_empty(), "{:?}", pair.seen);
}
