//! RFC 3262, both ends.

use super::*;
use crate::Failure;

fn with_extension(name: HeaderName, body: &str) -> Lone {
    let mut request = invite(body);
    request.headers.push(name, "100rel, foo");
    request.headers.remove(&HeaderName::Require);
    Lone::incoming(local(), request).unwrap()
}

/// Called by a peer that can take reliable responses.
fn supporting() -> Lone {
    with_extension(HeaderName::Supported, SDP)
}

/// Called by a peer that wants nothing else.
fn requiring(body: &str) -> Lone {
    let mut request = invite(body);
    request.headers.push(HeaderName::Require, "100rel");
    Lone::incoming(local(), request).unwrap()
}

fn ring(lone: &mut Lone, early: bool) -> Vec<String> {
    let sdp = early.then(sdp);
    lone.give(CallInput::Ring { sdp })
}

fn rseq(response: &Response) -> u32 {
    response
        .headers
        .get(&HeaderName::RSeq)
        .unwrap()
        .parse()
        .unwrap()
}

/// A PRACK for the last reliable response.
fn prack_of(lone: &mut Lone, body: &str) -> Request {
    let mut responses = lone.responses.iter().rev();
    let last = responses.find(|r| r.headers.has(&HeaderName::RSeq));
    let rseq = rseq(last.unwrap());
    let mut prack = lone.request(Method::Prack, body);
    prack
        .headers
        .push(HeaderName::RAck, format!("{rseq}  10 INVITE"));
    prack
}

fn prack(lone: &mut Lone, body: &str) -> Vec<String> {
    let prack = prack_of(lone, body);
    lone.hand_in(prack)
}

#[test]
fn a_description_before_the_answer_is_repeated_until_its_prack_comes() {
    let mut lone = supporting();
    assert_eq!(ring(&mut lone, false), ["180 INVITE"]);
    assert!(!lone.responses[0].headers.has(&HeaderName::RSeq));
    assert_eq!(ring(&mut lone, true), ["183 INVITE"]);
    let first = lone.responses[1].clone();
    assert_eq!(first.headers.require(), ["100rel"]);
    // 0.5, 1.5, 3.5, 7.5 s: doubled each time.
    assert_eq!(lone.advance(T1 * 16), ["183 INVITE"; 4]);
    assert_eq!(lone.responses.last(), Some(&first));
    assert_eq!(prack(&mut lone, ""), ["200 PRACK"]);
    assert_eq!(lone.advance(Duration::from_secs(40)), [""; 0]);
    // What is settled is not told again.
    assert_eq!(lone.give(CallInput::Answer { sdp: sdp() }), ["200 INVITE"]);
    assert!(lone.responses.last().unwrap().body.is_empty());
    assert_eq!(lone.ack(10, ""), ["Confirmed"]);
}

#[test]
fn a_caller_that_never_sends_its_prack_is_refused() {
    let mut lone = requiring(SDP);
    ring(&mut lone, false);
    let seen = lone.advance(T1 * 64);
    assert_eq!(
        seen[seen.len() - 2..],
        ["504 INVITE", "Ended Local NoPrack 504"]
    );
    assert_eq!(lone.responses.last().unwrap().reason, "No PRACK");
    assert_eq!(seen.len(), 6 + 2, "{seen:?}");
    assert!(lone.call.is_over());
}

#[test]
fn an_answer_waits_for_the_prack_of_its_description() {
    let mut lone = supporting();
    ring(&mut lone, true);
    assert_eq!(lone.give(CallInput::Answer { sdp: sdp() }), [""; 0]);
    assert_eq!(prack(&mut lone, ""), ["200 PRACK", "200 INVITE"]);
    assert_eq!(lone.ack(10, ""), ["Confirmed"]);
    // Without a description nothing has to be waited for, and the PRACK is answered all the same, once.
    let mut lone = requiring(SDP);
    ring(&mut lone, false);
    assert_eq!(lone.give(CallInput::Answer { sdp: sdp() }), ["200 INVITE"]);
    assert_eq!(lone.responses.last().unwrap().body, sdp());
    assert_eq!(prack(&mut lone, ""), ["200 PRACK"]);
    assert_eq!(prack(&mut lone, ""), ["481 PRACK"]);
    assert_eq!(lone.ack(10, ""), ["Confirmed"]);
}

#[test]
fn reliable_responses_go_one_after_the_other() {
    let mut lone = requiring(SDP);
    assert_eq!(ring(&mut lone, false), ["180 INVITE"]);
    assert_eq!(ring(&mut lone, true), [""; 0]);
    assert_eq!(ring(&mut lone, false), [""; 0]);
    let first = rseq(&lone.responses[0]);
    assert_eq!(prack(&mut lone, ""), ["200 PRACK", "183 INVITE"]);
    assert_eq!(rseq(lone.responses.last().unwrap()), first + 1);
    assert_eq!(prack(&mut lone, ""), ["200 PRACK"]);
    // What is said again each minute is something new, and tells no description.
    let seen = lone.advance(Duration::from_secs(60));
    assert_eq!(seen, ["183 INVITE"]);
    let again = lone.responses.last().unwrap();
    assert!(again.body.is_empty() && rseq(again) == first + 2);
    assert_eq!(prack(&mut lone, ""), ["200 PRACK"]);
}

#[test]
fn a_prack_for_something_else_is_turned_away() {
    let mut lone = supporting();
    assert_eq!(lone.ask(Method::Prack, ""), ["481 PRACK"]);
    ring(&mut lone, true);
    for rack in ["", "1 10 INVITE", "x", "4294967296 10 INVITE"] {
        let mut prack = lone.request(Method::Prack, "");
        prack.headers.push(HeaderName::RAck, rack);
        assert_eq!(lone.hand_in(prack), ["481 PRACK"], "{rack}");
    }
    let rseq = rseq(lone.responses.iter().find(|r| r.status == 183).unwrap());
    for rack in [format!("{rseq} 11 INVITE"), format!("{rseq} 10 BYE")] {
        let mut prack = lone.request(Method::Prack, "");
        prack.headers.push(HeaderName::RAck, &rack);
        assert_eq!(lone.hand_in(prack), ["481 PRACK"], "{rack}");
    }
    assert_eq!(lone.advance(T1), ["183 INVITE"]);
    assert_eq!(prack(&mut lone, ""), ["200 PRACK"]);
}

#[test]
fn a_caller_without_offer_gets_ours_early_when_every_response_is_reliable() {
    let mut lone = requiring("");
    assert!(lone.call.offers_early());
    assert_eq!(ring(&mut lone, true), ["180 INVITE"]);
    assert_eq!(lone.responses[0].body, sdp());
    assert_eq!(prack(&mut lone, SDP), ["OfferAnswered", "200 PRACK"]);
    assert_eq!(lone.give(CallInput::Answer { sdp: sdp() }), ["200 INVITE"]);
    assert!(lone.responses.last().unwrap().body.is_empty());
    assert_eq!(lone.ack(10, ""), ["Confirmed"]);
    // It must answer there.
    let mut lone = requiring("");
    ring(&mut lone, true);
    assert_eq!(
        prack(&mut lone, ""),
        ["400 PRACK", "488 INVITE", "Ended Local Refused 488"]
    );
    // One that can also take unreliable ones gets it with the answer, as ever.
    let mut lone = with_extension(HeaderName::Supported, "");
    assert!(!lone.call.offers_early());
    ring(&mut lone, true);
    assert!(lone.responses[0].body.is_empty());
}

#[test]
fn a_further_offer_may_come_by_prack_or_update_before_the_answer() {
    let mut lone = supporting();
    ring(&mut lone, true);
    assert_eq!(lone.ask(Method::Update, SDP), ["500 UPDATE"]);
    assert_eq!(prack(&mut lone, SDP), ["Offer"]);
    assert_eq!(lone.ask(Method::Update, SDP), ["500 UPDATE"]);
    assert_eq!(
        lone.give(CallInput::AnswerOffer { sdp: sdp() }),
        ["200 PRACK"]
    );
    assert_eq!(lone.responses.last().unwrap().body, sdp());
    assert_eq!(lone.ask(Method::Update, SDP), ["Offer"]);
    assert_eq!(
        lone.give(CallInput::RefuseOffer { status: 488 }),
        ["488 UPDATE"]
    );
    let mut update = lone.request(Method::Update, SDP);
    update.headers.set(HeaderName::ContentType, "text/plain");
    assert_eq!(lone.hand_in(update), ["415 UPDATE"]);
    assert_eq!(lone.give(CallInput::Answer { sdp: sdp() }), ["200 INVITE"]);
    assert_eq!(lone.ack(10, ""), ["Confirmed"]);
    // While ours waits for its answer, a further one is glare.
    let mut lone = requiring("");
    ring(&mut lone, true);
    assert_eq!(lone.ask(Method::Update, SDP), ["491 UPDATE"]);
}

#[test]
fn whoever_gives_up_meanwhile_hears_no_more() {
    let mut lone = requiring(SDP);
    ring(&mut lone, true);
    let tx = lone.tx;
    assert_eq!(
        lone.give(CallInput::Cancelled { tx, reason: None }),
        ["487 INVITE", "Ended Remote Cancelled 487"]
    );
    assert_eq!(lone.advance(T1 * 200), [""; 0]);
    assert!(lone.call.is_over());
}

/// A reliable response to our INVITE.
fn reliable(lone: &mut Lone, status: u16, tag: &str, rseq: u32, body: &str) -> Vec<String> {
    let invite = lone.sent.iter().find(|(_, r)| r.method == Method::Invite);
    let mut response = respond(&invite.unwrap().1, status, "", Some(tag));
    let headers = &mut response.headers;
    headers.push(HeaderName::Contact, format!("<sip:{tag}@10.0.0.7:5066>"));
    headers.push(HeaderName::Require, "100rel");
    headers.push(HeaderName::RSeq, rseq);
    if !body.is_empty() {
        headers.push(HeaderName::ContentType, "application/sdp");
        response.body = body.to_owned().into();
    }
    lone.give(CallInput::Response { response })
}

#[test]
fn each_reliable_response_gets_its_prack_in_order() {
    let mut lone = Lone::calling();
    assert!(lone.sent[0].1.headers.supports("100rel"));
    assert_eq!(reliable(&mut lone, 180, "b1", 7, ""), ["PRACK", "Ringing"]);
    let prack = lone.last();
    assert_eq!(prack.headers.get(&HeaderName::RAck), Some("7 1 INVITE"));
    assert_eq!(prack.headers.get(&HeaderName::CSeq), Some("2 PRACK"));
    assert_eq!(prack.uri.to_string(), "sip:b1@10.0.0.7:5066");
    assert_eq!(lone.reply(200, "", ""), [""; 0]);
    // A repeat, and one whose forerunner is missing.
    assert_eq!(reliable(&mut lone, 180, "b1", 7, ""), [""; 0]);
    assert_eq!(reliable(&mut lone, 183, "b1", 9, SDP), [""; 0]);
    assert_eq!(
        reliable(&mut lone, 183, "b1", 8, SDP),
        ["PRACK", "Ringing+sdp"]
    );
    // Another branch counts for itself.
    assert_eq!(reliable(&mut lone, 180, "b2", 1, ""), ["PRACK"]);
    let to = lone.last().headers.to().unwrap();
    assert_eq!(to.tag(), Some("b2"));
    // No PRACK without a number or without its being required.
    assert_eq!(lone.call.dialog.remote_tag(), Some("b2"));
    for n in 0..100 {
        reliable(&mut lone, 180, &format!("z{n}"), 1, "");
    }
    let pracks = lone.sent.iter().filter(|(_, r)| r.method == Method::Prack);
    assert_eq!(pracks.count(), 2 + 1 + 14);
}

#[test]
fn the_answer_may_have_come_reliably_before_the_200() {
    let mut lone = Lone::calling();
    let invite = lone.sent[0].1.clone();
    let ok = |tag: &str| {
        let mut response = respond(&invite, 200, "", Some(tag));
        response
            .headers
            .push(HeaderName::Contact, "<sip:b@10.0.0.7:5066>");
        CallInput::Response { response }
    };
    reliable(&mut lone, 183, "b1", 7, SDP);
    assert_eq!(lone.give(ok("b1")), ["ACK", "Answered", "Confirmed"]);
    // But not from another branch.
    let mut lone = Lone::calling();
    reliable(&mut lone, 183, "b1", 7, SDP);
    assert_eq!(lone.give(ok("b2")), ["ACK", "Ended Local NoSdp 488", "BYE"]);
}

#[test]
fn the_callee_may_change_the_session_before_it_answers() {
    let mut lone = Lone::calling();
    lone.reply(183, "b1", SDP);
    assert_eq!(lone.ask(Method::Update, SDP), ["491 UPDATE"]);
    let mut lone = Lone::calling();
    reliable(&mut lone, 183, "b1", 7, SDP);
    assert_eq!(lone.ask(Method::Update, SDP), ["Offer"]);
    assert_eq!(lone.ask(Method::Update, SDP), ["500 UPDATE"]);
    assert_eq!(
        lone.give(CallInput::AnswerOffer { sdp: sdp() }),
        ["200 UPDATE"]
    );
    assert_eq!(lone.ask(Method::Update, SDP), ["Offer"]);
    assert_eq!(
        lone.give(CallInput::RefuseOffer { status: 0 }),
        ["488 UPDATE"]
    );
}

#[test]
fn what_was_agreed_on_after_the_early_answer_holds_when_the_200_says_nothing() {
    let ok = |lone: &Lone, tag: &str| {
        let invite = lone.sent.iter().find(|(_, r)| r.method == Method::Invite);
        let mut response = respond(&invite.unwrap().1, 200, "", Some(tag));
        let contact = format!("<sip:{tag}@10.0.0.7:5066>");
        response.headers.push(HeaderName::Contact, contact);
        CallInput::Response { response }
    };
    let changed = || {
        let mut lone = Lone::calling();
        reliable(&mut lone, 183, "b1", 7, SDP);
        assert_eq!(lone.ask(Method::Update, SDP), ["Offer"]);
        lone
    };
    let mut lone = changed();
    lone.give(CallInput::AnswerOffer { sdp: sdp() });
    // What was told before is told again by some.
    let again = SDP.replace("- 1 1", "- 1 2");
    assert_eq!(reliable(&mut lone, 180, "b1", 8, &again), ["PRACK"]);
    let answer = ok(&lone, "b1");
    assert_eq!(
        lone.give(answer),
        ["ACK", "Answered as agreed", "Confirmed"]
    );
    // An offer that was refused changed nothing.
    let mut lone = changed();
    lone.give(CallInput::RefuseOffer { status: 488 });
    let answer = ok(&lone, "b1");
    assert_eq!(lone.give(answer), ["ACK", "Answered", "Confirmed"]);
    // What another branch agreed on is of no use to the one that answers.
    let mut lone = changed();
    lone.give(CallInput::AnswerOffer { sdp: sdp() });
    reliable(&mut lone, 183, "b2", 3, SDP);
    let answer = ok(&lone, "b2");
    assert_eq!(lone.give(answer), ["ACK", "Answered", "Confirmed"]);
}

#[test]
fn a_prack_that_nobody_answers_ends_the_call() {
    let mut lone = Lone::calling();
    reliable(&mut lone, 183, "b1", 7, SDP);
    let why = Failure::TimedOut;
    assert_eq!(
        lone.give(CallInput::Failed { why }),
        ["CANCEL", "Ended Local TimedOut 408"]
    );
    lone.advance(T1 * 128);
    assert!(lone.call.is_over());
}

#[test]
fn a_reinvite_asks_for_no_reliable_responses() {
    // RFC 3262 3: nobody sends one, and waits for its PRACK, unless the INVITE of it names the extension.
    let mut lone = Lone::talking();
    lone.give(CallInput::Offer { sdp: sdp() });
    let reinvite = lone.last();
    assert!(!reinvite.headers.supports("100rel"));
    assert!(reinvite.headers.supports("timer"));
}

#[test]
fn a_prack_that_the_answer_overtook_may_be_refused() {
    // RFC 3262 3: 481 says that no response waits for it, not that there is no call.
    let mut lone = Lone::calling();
    let invite = lone.sent[0].1.clone();
    reliable(&mut lone, 180, "b1", 7, "");
    let prack = lone.last().clone();
    let mut ok = respond(&invite, 200, "", Some("b1"));
    let headers = &mut ok.headers;
    headers.push(HeaderName::Contact, "<sip:b1@10.0.0.7:5066>");
    headers.push(HeaderName::ContentType, "application/sdp");
    ok.body = sdp();
    let answered = ["ACK", "Answered", "Confirmed"];
    assert_eq!(lone.give(CallInput::Response { response: ok }), answered);
    let response = respond(&prack, 481, "", None);
    assert_eq!(lone.give(CallInput::Response { response }), [""; 0]);
    assert_eq!(lone.hang_up(), ["Ended Local Bye 200", "BYE"]);
}
