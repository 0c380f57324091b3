use std::net::SocketAddr;

use super::*;

fn valve(now: Instant) -> Valve {
    Valve::new(
        Limits::default(),
        VerboseRejects::All,
        Metrics::new("0"),
        now,
    )
}

fn invite(call: usize) -> Vec<u8> {
    format!(
        "INVITE sip:6@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.7;branch=z9hG4bK{call}\r\nMax-Forwards: 70\r\n\
         From: <sip:1@192.0.2.7>;tag=1\r\nTo: <sip:6@192.0.2.1>\r\nCall-ID: {call}\r\nCSeq: 1 INVITE\r\n\
         Contact: <sip:1@192.0.2.7>\r\nContent-Length: 0\r\n\r\n"
    )
    .into_bytes()
}

fn source() -> Hop {
    Hop::udp(SocketAddr::from(([192, 0, 2, 7], 5060)))
}

fn shed(valve: &Valve, now: Instant, share: f64, rate: f64) {
    let admitted = Admitted {
        share,
        rate: Some(rate),
    };
    lock(&valve.flow).set(now, admitted, Some(Sign::Cpu));
    valve.is_shedding.store(true, Ordering::Relaxed);
}

fn passes(valve: &Valve, now: Instant, octets: &[u8]) -> bool {
    valve.pass(now, source(), || true, octets) == Passage::Passes
}

#[test]
fn a_share_of_the_calls_is_let_in_and_a_repetition_fares_like_the_first() {
    let now = Instant::now();
    let valve = valve(now);
    shed(&valve, now, 0.25, 1e6);
    let first: Vec<bool> = (0..2000)
        .map(|call| passes(&valve, now, &invite(call)))
        .collect();
    let let_in = first.iter().filter(|passed| **passed).count();
    assert!((400..600).contains(&let_in), "{let_in} of 2000");
    // Whatever is decided of others meanwhile.
    for share in [0.0, 1.0] {
        shed(&valve, now, share, 1e6);
        let again: Vec<bool> = (0..2000)
            .map(|call| passes(&valve, now, &invite(call)))
            .collect();
        assert_eq!(again, first);
    }
}

#[test]
fn a_call_that_came_before_the_overload_is_not_refused_with_its_repetition() {
    let now = Instant::now();
    let valve = valve(now);
    let request = sip::shed::new_call(&invite(1), &Limits::default()).unwrap();
    valve.came(now, source(), || true, &request);
    shed(&valve, now, 0.0, 0.0);
    assert!(passes(&valve, now, &invite(1)));
    assert!(!passes(&valve, now, &invite(2)));
}

#[test]
fn what_is_no_new_call_passes_always() {
    let now = Instant::now();
    let valve = valve(now);
    shed(&valve, now, 0.0, 0.0);
    for _ in 0..1024 {
        valve.put();
    }
    for method in ["BYE", "CANCEL", "ACK", "REGISTER", "OPTIONS", "INFO"] {
        let text = String::from_utf8(invite(1)).unwrap();
        assert!(passes(
            &valve,
            now,
            text.replace("INVITE", method).as_bytes()
        ));
    }
    assert!(passes(&valve, now, b"SIP/2.0 200 OK\r\n\r\n"));
    assert!(passes(&valve, now, b"INVITE nonsense"));
}

#[test]
fn a_mailbox_that_is_half_full_takes_no_new_call() {
    let now = Instant::now();
    let valve = valve(now);
    for _ in 0..HALF_FULL {
        valve.put();
    }
    assert!(!passes(&valve, now, &invite(1)));
    valve.taken();
    assert!(passes(&valve, now, &invite(2)));
    for _ in 0..HALF_FULL {
        valve.put();
    }
    valve.emptied();
    assert!(passes(&valve, now, &invite(3)));
}

#[test]
fn a_table_that_is_nearly_full_takes_no_new_call_at_once() {
    let now = Instant::now();
    let valve = valve(now);
    valve.holds(TRANSACTIONS / 2, TRANSACTIONS * 8 / 10);
    assert!(passes(&valve, now, &invite(1)) && valve.admits_telegram(now));
    for (clients, servers) in [
        (0, TRANSACTIONS * 9 / 10),
        (TRANSACTIONS * 9 / 10, 0),
        (TRANSACTIONS, TRANSACTIONS),
    ] {
        valve.holds(clients, servers);
        let call = clients + 2 * servers;
        assert!(!passes(&valve, now, &invite(call)));
        assert!(!valve.admits_telegram(now));
        let bye = String::from_utf8(invite(call)).unwrap();
        assert!(passes(&valve, now, bye.replace("INVITE", "BYE").as_bytes()));
    }
    assert!(
        !valve.was_full.load(Ordering::Relaxed),
        "the mailbox has room"
    );
    valve.emptied();
    assert!(passes(&valve, now, &invite(5)));
}

#[test]
fn a_rate_cuts_what_comes_at_once_and_makes_room_again() {
    let now = Instant::now();
    let valve = valve(now);
    shed(&valve, now, 1.0, 100.0);
    let let_in = |at: Instant, calls: std::ops::Range<usize>| {
        calls
            .filter(|call| passes(&valve, at, &invite(*call)))
            .count()
    };
    assert_eq!(let_in(now, 0..1000), 15);
    assert_eq!(let_in(now + Duration::from_millis(20), 1000..2000), 3);
}

#[test]
fn what_is_remembered_is_bounded() {
    let now = Instant::now();
    let valve = valve(now);
    let mut flow = lock(&valve.flow);
    for identity in 0..MOST_REMEMBERED as u64 * 5 {
        flow.remember(now, identity, false);
    }
    let kept: usize = flow.decided.iter().map(HashMap::len).sum();
    assert!(kept <= 2 * MOST_REMEMBERED);
    flow.remember(now + REMEMBERED, 0, true);
    flow.remember(now + REMEMBERED * 2, 0, true);
    let kept: usize = flow.decided.iter().map(HashMap::len).sum();
    assert_eq!(kept, 2);
}

#[test]
fn the_refusal_says_when_to_come_back_and_strangers_hear_no_reason() {
    let request = sip::shed::new_call(&invite(1), &Limits::default()).unwrap();
    let mut waits = std::collections::HashSet::new();
    for lot in 0..1000 {
        for is_known in [true, false] {
            let refused = |wait| {
                let policy = VerboseRejects::Trusted;
                refused(&request, policy, is_known, "sx", lot, wait)
            };
            let name = sip::HeaderName::RetryAfter;
            assert!(!refused(None).headers.has(&name));
            let response = refused(Some(come_back(lot)));
            assert_eq!(response.status, 503);
            let header = |name: &str| response.headers.get(&sip::HeaderName::from(name));
            let wait: u64 = header("Retry-After").unwrap().parse().unwrap();
            assert!((5..=30).contains(&wait));
            waits.insert(wait);
            assert_eq!(header("Reason").is_some(), is_known);
            let to = response.headers.to().unwrap();
            assert!(to.tag().unwrap().starts_with("sx"));
        }
    }
    assert_eq!(waits.len(), 26);
}

#[test]
fn who_is_told_how_many_calls_to_hold_back_is_not_told_to_stay_away() {
    let now = Instant::now();
    let valve = valve(now);
    let answered = |octets: fn(usize) -> Vec<u8>| {
        let request = sip::shed::new_call(&octets(1), &Limits::default()).unwrap();
        let call = valve.new_call(source(), &|| true, &request);
        let response = valve.refusal(now, &request, true, call);
        let via = response.headers.via().unwrap();
        let oc = via.params.get("oc").map(str::to_owned);
        (oc, response.headers.has(&sip::HeaderName::RetryAfter))
    };
    // While nothing is asked for the mailbox may be full all the same.
    assert_eq!(answered(obedient), (Some("0".to_owned()), true));
    shed(&valve, now, 0.25, 1e6);
    valve.announce(lock(&valve.flow).announced);
    assert_eq!(answered(obedient), (Some("75".to_owned()), false));
    assert_eq!(answered(invite), (None, true));
}

#[test]
fn a_thread_that_comes_late_or_not_at_all_is_seen() {
    let began = Instant::now();
    let ms = Duration::from_millis;
    let mut late = Late::default();
    assert_eq!(late.p99(began), Duration::ZERO, "it has not begun");
    for beat in 0..20 {
        late.came(began + BEAT * beat);
    }
    let now = began + BEAT * 20;
    assert_eq!(late.p99(now), Duration::ZERO);
    assert_eq!(late.p99(now + ms(300)), ms(300), "it is late still");
    late.came(now + ms(300));
    assert_eq!(late.p99(now + ms(300)), ms(300));
    // A second later it is forgotten.
    for beat in 1..24 {
        late.came(now + ms(300) + BEAT * beat);
    }
    assert_eq!(late.p99(now + ms(300) + BEAT * 24), Duration::ZERO);
}

fn obedient(call: usize) -> Vec<u8> {
    let text = String::from_utf8(invite(call)).unwrap();
    let offers = ";oc;oc-algo=\"loss\"\r\nMax-Forwards";
    text.replace("\r\nMax-Forwards", offers).into_bytes()
}

fn let_in(
    valve: &Valve,
    now: Instant,
    is_known: bool,
    octets: fn(usize) -> Vec<u8>,
    calls: std::ops::Range<usize>,
) -> usize {
    let is_in =
        |call: &usize| valve.pass(now, source(), || is_known, &octets(*call)) == Passage::Passes;
    calls.filter(is_in).count()
}

fn told(valve: &Valve, now: Instant, percent: u8) {
    lock(&valve.flow).tell(now, Some(source().ip()), percent);
}

#[test]
fn who_holds_back_is_let_in_where_others_are_thinned_out_and_counts_for_all_that_he_has() {
    let now = Instant::now();
    let valve = valve(now);
    shed(&valve, now, 0.25, 1e6);
    told(&valve, now, 75);
    // A quarter is what is left of his calls when they come.
    assert_eq!(let_in(&valve, now, true, obedient, 0..500), 500);
    let others = let_in(&valve, now, true, invite, 500..2500);
    assert!((400..600).contains(&others), "{others} of 2000");
    let (offered, admitted) = lock(&valve.flow).counted();
    assert_eq!(offered, 500 * 4 + 2000);
    assert_eq!(admitted, 500 + others as u64);
}

#[test]
fn an_offer_alone_gains_nothing() {
    let now = Instant::now();
    let valve = valve(now);
    shed(&valve, now, 0.25, 1e6);
    // He was never told; he was told and that is over; he is a stranger.
    let never = let_in(&valve, now, true, obedient, 0..2000);
    told(&valve, now, 75);
    let later = now + oc::USUAL_VALIDITY;
    let over = let_in(&valve, later, true, obedient, 2000..4000);
    told(&valve, later, 75);
    let stranger = let_in(&valve, later, false, obedient, 4000..6000);
    for share in [never, over, stranger] {
        assert!((400..600).contains(&share), "{share} of 2000");
    }
    let (offered, _) = lock(&valve.flow).counted();
    assert_eq!(offered, 6000, "each stands for itself");
}

#[test]
fn what_a_neighbour_was_told_counts_and_not_what_others_are_told_by_now() {
    let now = Instant::now();
    let valve = valve(now);
    shed(&valve, now, 0.25, 1e6);
    // He has left out half of his calls, and half of the rest is too much.
    told(&valve, now, 50);
    let half = let_in(&valve, now, true, obedient, 0..2000);
    assert!((900..1100).contains(&half), "{half} of 2000");
    assert_eq!(lock(&valve.flow).counted().0, 4000);
}

#[test]
fn a_neighbour_is_told_with_the_answer_to_his_call() {
    let now = Instant::now();
    let valve = valve(now);
    shed(&valve, now, 0.25, 1e6);
    valve.announce(lock(&valve.flow).announced);
    let request = sip::shed::new_call(&obedient(1), &Limits::default()).unwrap();
    valve.came(now, source(), || false, &request);
    let percent = || {
        let told = lock(&valve.flow).neighbours.told(now, source().ip());
        told.map(Announced::percent)
    };
    assert_eq!(percent(), None, "a stranger is nobody's neighbour");
    valve.came(now, source(), || true, &request);
    assert_eq!(percent(), Some(75));
}

/// What a response of this valve asks for: the value of a parameter of its Via.
fn asked(valve: &Valve, param: &str) -> String {
    let request = sip::shed::new_call(&obedient(1), &Limits::default()).unwrap();
    let mut response = respond(&request, 180, "", Some("t"));
    valve.load().write(&mut response);
    let via = response.headers.via().unwrap();
    via.params.get(param).unwrap().to_owned()
}

#[test]
fn responses_ask_for_what_would_be_refused() {
    let now = Instant::now();
    let valve = valve(now);
    assert_eq!(asked(&valve, "oc"), "0");
    shed(&valve, now, 0.25, 1e6);
    valve.announce(lock(&valve.flow).announced);
    assert_eq!(asked(&valve, "oc"), "75");
}
