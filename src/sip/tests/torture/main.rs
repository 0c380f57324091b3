//! Messages made to break a SIP stack, each against the verdict in its `expected.json`: what is read, what is answered, what
//! becomes of a connection. `make torture` prints the figures; `TORTURE=<folder>` runs another folder than those of this room.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::wildcard_enum_match_arm,
    reason = "a test panics, so that the line is seen"
)]

mod reworded;
mod set;
mod stream;
mod switch;

use std::collections::BTreeMap;
use std::panic::catch_unwind;
use std::time::Duration;

use set::{Case, Outcome};
use switch::{Switch, offering, start};

/// Generous for unoptimised code on a busy machine; the slowest takes a tenth of it.
const TIME_LIMIT: Duration = Duration::from_secs(1);
/// How many of a hundred must have their verdict where not all must.
const BAR: usize = 98;

/// How many messages there are, and how many did as expected.
#[derive(Default, Clone, Copy)]
struct Figures {
    all: usize,
    read: usize,
    answered: usize,
}

/// Judges one message; `None` when it did not come to an end.
fn tried<T>(run: impl Fn() -> T + std::panic::RefUnwindSafe) -> Option<T> {
    let began = start();
    let result = catch_unwind(&run).ok()?;
    (start() - began < TIME_LIMIT).then_some(result)
}

/// The octets of a message, or of the INVITE that offers a session description.
fn octets(case: &Case) -> Vec<u8> {
    if case.is_sdp() {
        offering(&case.bytes)
    } else {
        case.bytes.clone()
    }
}

fn switch_for(case: &Case) -> Switch {
    Switch::new(case.kind != "attack")
}

/// Runs all cases and fails under the bar: all of the RFCs', 98 of 100 others.
fn run(way: &str, judge: impl Fn(&Case) -> (Outcome, Option<String>) + std::panic::RefUnwindSafe) {
    let cases = set::cases();
    let mut sets: BTreeMap<String, Figures> = BTreeMap::new();
    let (mut others, mut missed_of_rfcs, mut broken) = (Figures::default(), 0, 0);
    for case in &cases {
        let figures = sets.entry(case.set.clone()).or_default();
        let Some((outcome, wrong)) = tried(|| judge(case)) else {
            println!("  {way} {} {}: panics or stalls", case.set, case.file);
            broken += 1;
            continue;
        };
        let read = case.reads_as_expected(outcome);
        let answered = case.answers_as_expected(outcome) && wrong.is_none();
        if !read || !answered {
            let wrong = wrong.unwrap_or_default();
            println!("  {way} {} {}: {outcome:?} {wrong}", case.set, case.file);
        }
        let count = |figures: &mut Figures| {
            figures.all += 1;
            figures.read += usize::from(read);
            figures.answered += usize::from(answered);
        };
        count(figures);
        if case.is_of_an_rfc() {
            missed_of_rfcs += usize::from(!read || !answered);
        } else {
            count(&mut others);
        }
    }
    for (
        name,
        Figures {
            all,
            read,
            answered,
        },
    ) in &sets
    {
        println!(
            "{name:<14} {way:<9} {answered} of {all} answered as expected, {read} read as expected"
        );
    }
    assert_eq!(broken, 0, "messages that panic or stall");
    assert_eq!(
        missed_of_rfcs, 0,
        "messages of the RFCs without their verdict"
    );
    assert!(
        others.answered * 100 >= others.all * BAR,
        "{} of {} answered: fewer than {BAR} of 100",
        others.answered,
        others.all
    );
    assert!(
        others.read * 100 >= others.all * BAR,
        "{} of {} read: fewer than {BAR} of 100",
        others.read,
        others.all
    );
}

#[test]
fn every_datagram_gets_its_verdict() {
    run("datagram", |case| {
        (switch_for(case).take(&octets(case)), None)
    });
}

#[test]
fn every_message_on_a_connection_gets_its_verdict() {
    run("stream", |case| {
        stream::judge(case, &octets(case), switch_for(case))
    });
}

#[test]
fn messages_one_behind_the_other_are_told_apart() {
    let cases = set::cases();
    let octets: Vec<_> = cases.iter().map(|case| (octets(case), case)).collect();
    let (wanted, read) = stream::merged(&octets);
    println!("merged         stream    {} of {wanted} read", read[0]);
    assert_eq!(read, [wanted; 2]);
    assert!(wanted > 100);
}
