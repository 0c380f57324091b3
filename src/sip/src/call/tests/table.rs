//! Every state with every input: what it says and where it goes. The right column was read against RFC 3261 13 to 15 by hand.

use super::super::state::{Exchange, State};
use super::*;
use crate::Failure;

const STATES: [&str; 11] = [
    "Incoming",
    "Calling",
    "Cancelling",
    "Stable",
    "LocalOffer",
    "RemoteOffer",
    "Unacknowledged",
    "Asking",
    "AwaitAck",
    "ByeSent",
    "Ended",
];

const INPUTS: [&str; 21] = [
    "Ring",
    "Answer",
    "Refuse",
    "HangUp",
    "Offer",
    "AnswerOffer",
    "RefuseOffer",
    "Info",
    "BYE",
    "re-INVITE",
    "UPDATE",
    "INFO",
    "ACK",
    "ACK+sdp",
    "CANCEL",
    "180",
    "200",
    "491",
    "481",
    "Failed",
    "Timeout",
];

fn name(call: &Call) -> &'static str {
    match &call.state {
        State::Incoming(_) => "Incoming",
        State::Calling(_) => "Calling",
        State::Cancelling => "Cancelling",
        State::Established(Exchange::Stable) => "Stable",
        State::Established(Exchange::LocalOffer { .. }) => "LocalOffer",
        State::Established(Exchange::RemoteOffer { .. }) => "RemoteOffer",
        State::Established(Exchange::Unacknowledged(u)) if u.asks => "Asking",
        State::Established(Exchange::Unacknowledged(_)) => "Unacknowledged",
        State::Closing(Closing::AwaitAck { .. }) => "AwaitAck",
        State::Closing(Closing::ByeSent { .. }) => "ByeSent",
        State::Ended => "Ended",
    }
}

/// A call in a state; a callee where both could be there.
fn at(state: &str) -> Lone {
    let mut lone = match state {
        "Calling" => Lone::calling(),
        "Cancelling" => {
            let mut lone = Lone::calling();
            lone.hang_up();
            lone
        }
        "Asking" => Lone::incoming(local(), invite("")).unwrap(),
        "Incoming" | "Unacknowledged" | "AwaitAck" => Lone::called(),
        _ => Lone::answered(),
    };
    if matches!(state, "Unacknowledged" | "Asking" | "AwaitAck") {
        lone.give(CallInput::Answer { sdp: sdp() });
    }
    match state {
        "LocalOffer" => drop(lone.give(CallInput::Offer { sdp: sdp() })),
        "RemoteOffer" => drop(lone.ask(Method::Invite, SDP)),
        "AwaitAck" | "ByeSent" => drop(lone.hang_up()),
        "Ended" => drop(lone.ask(Method::Bye, "")),
        _ => {}
    }
    assert_eq!(name(&lone.call), state);
    lone
}

fn happen(lone: &mut Lone, input: &str) -> Vec<String> {
    match input {
        "Ring" => lone.give(CallInput::Ring { sdp: None }),
        "Answer" => lone.give(CallInput::Answer { sdp: sdp() }),
        "Refuse" => lone.give(CallInput::Refuse {
            status: 486,
            reason: String::new(),
            headers: Vec::new(),
        }),
        "HangUp" => lone.hang_up(),
        "Offer" => lone.give(CallInput::Offer { sdp: sdp() }),
        "AnswerOffer" => lone.give(CallInput::AnswerOffer { sdp: sdp() }),
        "RefuseOffer" => lone.give(CallInput::RefuseOffer { status: 488 }),
        "Info" => lone.give(CallInput::Info {
            content_type: "application/dtmf".into(),
            body: Bytes::from_static(b"1"),
        }),
        "BYE" => lone.ask(Method::Bye, ""),
        "re-INVITE" => lone.ask(Method::Invite, SDP),
        "UPDATE" => lone.ask(Method::Update, SDP),
        "INFO" => lone.ask(Method::Info, ""),
        "ACK" => lone.ack(10, ""),
        "ACK+sdp" => lone.ack(10, SDP),
        "CANCEL" => {
            let (tx, reason) = (lone.tx, None);
            lone.give(CallInput::Cancelled { tx, reason })
        }
        "Failed" => lone.give(CallInput::Failed {
            why: Failure::TimedOut,
        }),
        "Timeout" => {
            // The first timer that does something.
            let Some(at) = lone.call.timers.next() else {
                return lone.give(CallInput::Timeout);
            };
            lone.now = at;
            lone.give(CallInput::Timeout)
        }
        status => {
            if lone.sent.iter().all(|(_, r)| r.method == Method::Ack) {
                return Vec::new();
            }
            let body = if status == "200" { SDP } else { "" };
            lone.reply(status.parse().unwrap(), "b1", body)
        }
    }
}

#[test]
fn every_state_has_its_answer_to_everything() {
    let mut table = String::new();
    for state in STATES {
        for input in INPUTS {
            let mut lone = at(state);
            let said = happen(&mut lone, input);
            let next = name(&lone.call);
            if said.is_empty() && next == state {
                continue;
            }
            let row = format!("{state:14} {input:11} -> {next:14} {}", said.join(", "));
            table.push_str(row.trim_end());
            table.push('\n');
        }
    }
    assert_eq!(table, include_str!("table.txt"));
}
