//! Two calls that talk to each other through real transactions, with datagrams lost and time that only the test moves.

use std::collections::{HashMap, HashSet};

use rand::{Rng as _, SeedableRng as _};

use super::*;
use crate::ClientKey;
use crate::tests::pair::{Pair, Side};

/// Alice calls Bob; what the two say is written down.
struct Phones {
    pair: Pair,
    alice: Call,
    bob: Option<Call>,
    /// The last INVITE of each.
    invites: HashMap<Side, ClientKey>,
    /// Who gets the responses of which transaction; the rest is dismissed.
    owners: HashSet<(Side, ClientKey)>,
    events: Vec<(Side, String)>,
    dice: SmallRng,
}

impl Phones {
    fn new(seed: u64, loss: u8) -> Self {
        let mut pair = Pair::new();
        pair.weather(loss, seed);
        let target = Target {
            uri: Uri::at(Some("bob"), Side::Bob.address().address),
            others: Vec::new(),
            send_to: Side::Bob.address(),
            from: "<sip:alice@192.0.2.1>".parse().unwrap(),
            to: "<sip:bob@192.0.2.2>".parse().unwrap(),
            headers: Vec::new(),
            max_forwards: 70,
            ring_timeout: Duration::from_secs(60),
            account: None,
        };
        let alice = Call::outgoing(pair.now, end_of(Side::Alice), target, sdp(), seed);
        let mut phones = Self {
            pair,
            alice,
            bob: None,
            invites: HashMap::new(),
            owners: HashSet::new(),
            events: Vec::new(),
            dice: SmallRng::seed_from_u64(seed),
        };
        phones.drain(Side::Alice);
        phones
    }

    fn call(&mut self, side: Side) -> Option<&mut Call> {
        match side {
            Side::Alice => Some(&mut self.alice),
            Side::Bob => self.bob.as_mut(),
        }
    }

    fn give(&mut self, side: Side, input: CallInput) {
        let now = self.pair.now;
        if let Some(call) = self.call(side) {
            call.handle_input(now, input);
            self.drain(side);
        }
    }

    fn drain(&mut self, side: Side) {
        while let Some(output) = self.call(side).map(Call::poll_output) {
            match output {
                CallOutput::Send { request, .. } => {
                    let is_invite = request.method == Method::Invite;
                    let tx = self.pair.request(side, request);
                    self.owners.insert((side, tx));
                    if is_invite {
                        self.invites.insert(side, tx);
                    }
                }
                CallOutput::Dismiss { request, .. } => {
                    self.pair.request(side, request);
                }
                CallOutput::SendAck { target, request } => {
                    self.pair.input(side, Input::Ack { target, request });
                }
                CallOutput::CancelInvite { reason } => {
                    let tx = self.invites[&side];
                    self.pair.input(side, Input::Cancel { tx, reason });
                }
                CallOutput::Respond { tx, response } => {
                    self.pair.input(side, Input::Respond { tx, response });
                }
                CallOutput::Event(_) => self.events.push((side, show(&output))),
                CallOutput::Timeout(_) => return,
            }
        }
    }

    /// Hands what the transactions say to the calls.
    fn settle(&mut self) {
        self.pair.deliver();
        while let Some((side, output)) = self.pair.seen.pop_front() {
            match output {
                Output::Request {
                    tx,
                    source,
                    request,
                } => {
                    let is_new = DialogId::of(&request).is_none();
                    if is_new && self.bob.is_none() {
                        let local = end_of(side);
                        let seed = self.dice.random();
                        let call = Call::incoming(self.pair.now, local, request, tx, source, seed);
                        self.bob = Some(call.unwrap());
                    } else {
                        self.give(
                            side,
                            CallInput::Request {
                                tx,
                                source,
                                request,
                            },
                        );
                    }
                }
                Output::Ack { request, .. } => self.give(side, CallInput::Ack { request }),
                Output::Cancelled { tx, reason } => {
                    self.give(side, CallInput::Cancelled { tx, reason });
                }
                Output::Response { tx, response, .. } => {
                    if self.owners.contains(&(side, tx)) {
                        self.give(side, CallInput::Response { response });
                    }
                }
                Output::Failed { tx, why, .. } => {
                    if self.owners.contains(&(side, tx)) {
                        self.give(side, CallInput::Failed { why });
                    }
                }
                Output::Malformed { why, .. } => assert!(why.starts_with("stray"), "{why}"),
                Output::Arrived { .. } | Output::Transmit { .. } | Output::Timeout(_) => {}
            }
            self.pair.deliver();
        }
    }

    fn advance(&mut self, time: Duration) {
        let end = self.pair.now + time;
        self.settle();
        while self.pair.now < end {
            self.pair.advance(Duration::from_millis(20));
            self.settle();
            for side in [Side::Alice, Side::Bob] {
                let now = self.pair.now;
                let is_due = |call: &mut Call| call.timers.next().is_some_and(|at| at <= now);
                if self.call(side).is_some_and(is_due) {
                    self.give(side, CallInput::Timeout);
                }
            }
            self.settle();
        }
    }

    /// What one side was told since the last time.
    fn told(&mut self, side: Side) -> Vec<String> {
        let told = self.events.iter().filter(|(at, _)| *at == side);
        let told = told.map(|(_, event)| event.clone()).collect();
        self.events.retain(|(at, _)| *at != side);
        told
    }

    fn answered(seed: u64, loss: u8) -> Self {
        let mut phones = Self::new(seed, loss);
        phones.advance(Duration::from_secs(12));
        phones.give(Side::Bob, CallInput::Ring { sdp: None });
        phones.advance(Duration::from_secs(2));
        phones.give(Side::Bob, CallInput::Answer { sdp: sdp() });
        phones.advance(Duration::from_secs(20));
        phones
    }

    fn assert_over(&mut self) {
        self.pair.weather(0, 0);
        // An INVITE whose CANCEL was lost for ever rings on for three minutes.
        self.advance(Duration::from_secs(250));
        assert!(self.alice.is_over(), "{:?}", self.alice);
        assert!(
            self.bob.as_ref().is_none_or(Call::is_over),
            "{:?}",
            self.bob
        );
        for transactions in [&self.pair.alice, &self.pair.bob] {
            assert_eq!(
                (transactions.client_count(), transactions.server_count()),
                (0, 0)
            );
        }
        let ends = |side| {
            let events = self.events.iter();
            events
                .filter(|(at, event)| *at == side && event.starts_with("Ended"))
                .count()
        };
        assert!(
            ends(Side::Alice) <= 1 && ends(Side::Bob) <= 1,
            "{:?}",
            self.events
        );
    }
}

fn end_of(side: Side) -> Local {
    Local::new(Uri::at(None, side.address().address))
}

#[test]
fn a_call_is_made_held_resumed_and_ended() {
    let mut phones = Phones::answered(1, 0);
    assert_eq!(
        phones.told(Side::Alice),
        ["Ringing", "Answered", "Confirmed"]
    );
    assert_eq!(phones.told(Side::Bob), ["Confirmed"]);
    for (asks, answers) in [(Side::Alice, Side::Bob), (Side::Bob, Side::Alice)] {
        phones.give(asks, CallInput::Offer { sdp: sdp() });
        phones.advance(Duration::from_secs(1));
        assert_eq!(phones.told(answers), ["Offer"]);
        phones.give(answers, CallInput::AnswerOffer { sdp: sdp() });
        phones.advance(Duration::from_secs(1));
        assert_eq!(phones.told(asks), ["OfferAnswered"]);
    }
    assert_eq!(phones.pair.sent(Side::Bob, "SIP/2.0 200"), 2);
    assert_eq!(phones.pair.sent(Side::Alice, "ACK"), 2);
    phones.give(
        Side::Alice,
        CallInput::HangUp {
            reason_header: None,
        },
    );
    phones.advance(Duration::from_secs(1));
    assert_eq!(phones.told(Side::Alice), ["Ended Local Bye 200"]);
    assert_eq!(phones.told(Side::Bob), ["Ended Remote Bye 200"]);
    phones.assert_over();
}

#[test]
fn a_caller_who_gives_up_is_not_rung_at() {
    let mut phones = Phones::new(2, 0);
    phones.advance(T1);
    phones.give(Side::Bob, CallInput::Ring { sdp: None });
    phones.advance(T1);
    phones.give(
        Side::Alice,
        CallInput::HangUp {
            reason_header: None,
        },
    );
    phones.advance(T1);
    assert_eq!(
        phones.told(Side::Alice),
        ["Ringing", "Ended Local Cancelled 487"]
    );
    assert_eq!(phones.told(Side::Bob), ["Ended Remote Cancelled 487"]);
    phones.assert_over();
}

#[test]
fn an_answer_and_a_cancel_that_cross_end_in_a_bye() {
    let mut phones = Phones::new(3, 0);
    phones.advance(T1);
    phones.give(Side::Bob, CallInput::Ring { sdp: None });
    phones.advance(T1);
    // Both act before either hears of the other.
    phones.give(Side::Bob, CallInput::Answer { sdp: sdp() });
    phones.give(
        Side::Alice,
        CallInput::HangUp {
            reason_header: None,
        },
    );
    phones.advance(Duration::from_secs(2));
    assert_eq!(
        phones.told(Side::Alice),
        ["Ringing", "Ended Local Cancelled 487"]
    );
    assert_eq!(
        phones.told(Side::Bob),
        ["Confirmed", "Ended Remote Bye 200"]
    );
    phones.assert_over();
}

#[test]
fn both_hang_up_at_once() {
    let mut phones = Phones::answered(4, 0);
    for side in [Side::Alice, Side::Bob] {
        phones.give(
            side,
            CallInput::HangUp {
                reason_header: None,
            },
        );
    }
    phones.advance(Duration::from_secs(2));
    assert_eq!(
        phones.told(Side::Bob).last().map(String::as_str),
        Some("Ended Local Bye 200")
    );
    phones.assert_over();
}

#[test]
fn two_reinvites_that_cross_are_both_made_in_the_end() {
    let mut phones = Phones::answered(5, 0);
    phones.told(Side::Alice);
    phones.told(Side::Bob);
    for side in [Side::Alice, Side::Bob] {
        phones.give(side, CallInput::Offer { sdp: sdp() });
    }
    let mut done = Vec::new();
    for _ in 0..300 {
        phones.advance(Duration::from_millis(20));
        for side in [Side::Alice, Side::Bob] {
            for event in phones.told(side) {
                match event.as_str() {
                    "Offer" => phones.give(side, CallInput::AnswerOffer { sdp: sdp() }),
                    "OfferAnswered" => done.push(side),
                    other => panic!("{other}"),
                }
            }
        }
    }
    // Bob owns no Call-ID and waits at most 2 s, Alice at least 2.1 s.
    assert_eq!(done, [Side::Bob, Side::Alice]);
    assert_eq!(phones.pair.sent(Side::Alice, "SIP/2.0 491"), 1);
}

#[test]
fn a_call_without_ack_ends_on_both_sides() {
    let mut phones = Phones::new(6, 0);
    phones.advance(T1);
    phones.give(Side::Bob, CallInput::Ring { sdp: None });
    phones.advance(T1);
    phones.pair.weather(100, 6);
    phones.give(Side::Bob, CallInput::Answer { sdp: sdp() });
    phones.advance(Duration::from_secs(33));
    assert_eq!(phones.told(Side::Bob), ["Ended Local NoAck 408"]);
    assert_eq!(phones.pair.sent(Side::Bob, "SIP/2.0 200"), 11);
    // The caller never heard of the answer.
    assert_eq!(phones.told(Side::Alice), ["Ringing"]);
    phones.advance(Duration::from_secs(60));
    assert_eq!(phones.told(Side::Alice), ["Ended Local NoAnswer 480"]);
    phones.assert_over();
}

#[test]
fn calls_survive_a_network_that_loses_a_third() {
    let mut whole = 0;
    for seed in 0..60 {
        let mut phones = Phones::answered(seed, 33);
        let hears = phones.told(Side::Alice);
        let knows = phones.told(Side::Bob);
        let is_up = hears.contains(&"Confirmed".to_owned()) && knows == ["Confirmed"];
        whole += usize::from(is_up);
        let side = if seed % 2 == 0 {
            Side::Alice
        } else {
            Side::Bob
        };
        phones.give(
            side,
            CallInput::HangUp {
                reason_header: None,
            },
        );
        phones.advance(Duration::from_secs(40));
        if is_up {
            let told = phones.told(side.other());
            assert_eq!(told, ["Ended Remote Bye 200"], "{seed}");
        }
        phones.assert_over();
    }
    assert!(whole >= 50, "{whole}");
}

#[test]
fn whatever_the_two_do_nothing_is_left_over() {
    for seed in 0..150 {
        let mut phones = Phones::new(seed, 20);
        let mut dice = SmallRng::seed_from_u64(seed + 1_000);
        for _ in 0..12 {
            let side = if dice.random() {
                Side::Alice
            } else {
                Side::Bob
            };
            let input = match dice.random_range(0..10) {
                0 | 1 => CallInput::Ring { sdp: Some(sdp()) },
                2..=4 => CallInput::Answer { sdp: sdp() },
                5 => CallInput::Offer { sdp: sdp() },
                6 | 7 => CallInput::AnswerOffer { sdp: sdp() },
                8 => CallInput::RefuseOffer { status: 488 },
                _ => CallInput::Info {
                    content_type: "application/dtmf".into(),
                    body: Bytes::from_static(b"1"),
                },
            };
            phones.give(side, input);
            phones.advance(Duration::from_millis(dice.random_range(0..3_000)));
        }
        for side in [Side::Bob, Side::Alice] {
            phones.give(
                side,
                CallInput::HangUp {
                    reason_header: None,
                },
            );
            phones.advance(Duration::from_millis(dice.random_range(0..3_000)));
        }
        phones.assert_over();
    }
}
