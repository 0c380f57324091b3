use super::*;
use crate::digest::{Algorithm, Digest, Verdict};
use crate::message::respond;
use crate::registration::Inbound;

const PASSWORD: &str = "a long password";

fn place(address: &str) -> Place {
    Place {
        send_to: address.parse().unwrap(),
        contact: "sip:1001@192.0.2.1:5060".parse().unwrap(),
    }
}

fn config() -> OutboundConfig {
    OutboundConfig {
        registrar: "sip:pbx.example".parse().unwrap(),
        places: Places::new(place("192.0.2.9:5060"), Vec::new()),
        aor: "sip:1001@pbx.example".parse().unwrap(),
        username: "1001".to_owned(),
        password: Secret::new(PASSWORD.to_owned()),
        agent: None,
    }
}

/// A registration and what it has put out.
struct Scene {
    now: Instant,
    outbound: Outbound,
    /// Where its requests have to go.
    registrar: Hop,
}

impl Scene {
    #[allow(clippy::disallowed_methods)] // an arbitrary start of virtual time
    fn new() -> Self {
        Self {
            now: Instant::now(),
            outbound: Outbound::new(config(), 7),
            registrar: config().places.current().send_to,
        }
    }

    fn put(&mut self, input: OutboundInput) -> (Option<Request>, Vec<OutboundEvent>) {
        self.outbound.handle_input(self.now, input);
        let (mut sent, mut events) = (None, Vec::new());
        loop {
            match self.outbound.poll_output() {
                OutboundOutput::Send { target, request } => {
                    assert_eq!(target, self.registrar);
                    assert!(sent.replace(request).is_none(), "one REGISTER at a time");
                }
                OutboundOutput::Event(event) => events.push(event),
                OutboundOutput::Timeout(_) => return (sent, events),
            }
        }
    }

    fn send(&mut self, input: OutboundInput) -> Request {
        let (sent, events) = self.put(input);
        assert_eq!(events, []);
        sent.expect("a REGISTER")
    }

    fn event(&mut self, input: OutboundInput) -> OutboundEvent {
        let (sent, mut events) = self.put(input);
        assert_eq!((sent, events.len()), (None, 1));
        events.remove(0)
    }

    /// Goes to the time it waits for.
    fn wait(&mut self) -> Duration {
        let OutboundOutput::Timeout(Some(at)) = self.outbound.poll_output() else {
            panic!("nothing is waited for");
        };
        let wait = at - self.now;
        self.now = at;
        wait
    }
}

fn status(request: &Request, status: u16, headers: &[(HeaderName, &str)]) -> OutboundInput {
    let mut response = respond(request, status, "", Some("t"));
    for (name, value) in headers {
        response.headers.push(name.clone(), value);
    }
    OutboundInput::Response(response)
}

#[test]
fn our_own_registrar_takes_it_by_either_algorithm_and_its_refreshes_without_a_new_challenge() {
    for algorithm in [Algorithm::Sha256, Algorithm::Md5] {
        let mut scene = Scene::new();
        let mut digest = Digest::new("pbx", [3; 32]).with_algorithms(&[algorithm]);
        let mut registrar = Inbound::new(1);
        let source: Hop = "192.0.2.1:5060".parse().unwrap();
        let mut request = scene.send(OutboundInput::Start);
        let mut challenges = 0;
        for round in 0..4 {
            loop {
                assert_eq!(request.headers.expires(), Some(600));
                let verdict = digest.check(1_000, source.ip(), &request, PASSWORD);
                if verdict == Verdict::Ok {
                    break;
                }
                assert_eq!((verdict, round), (Verdict::Missing, 0));
                challenges += 1;
                let challenge = digest.challenge(1_000, source.ip(), false).remove(0);
                let refusal = status(&request, 401, &[(HeaderName::WwwAuthenticate, &challenge)]);
                request = scene.send(refusal);
            }
            let done = registrar.update(scene.now, &request, source).unwrap();
            let expires = Duration::from_secs(600);
            let event = scene.event(OutboundInput::Response(done.response));
            assert_eq!(event, OutboundEvent::Registered { expires });
            assert!(scene.outbound.registered_until() > Some(scene.now));
            assert_eq!(scene.wait(), Duration::from_secs(480));
            request = scene.send(OutboundInput::Timeout);
        }
        assert_eq!(challenges, 1);
        assert_eq!(registrar.contacts(scene.now).len(), 1);
    }
}

#[test]
fn unregistering_takes_the_binding_away() {
    let mut scene = Scene::new();
    let mut registrar = Inbound::new(1);
    let source: Hop = "192.0.2.1:5060".parse().unwrap();
    let request = scene.send(OutboundInput::Start);
    let done = registrar.update(scene.now, &request, source).unwrap();
    scene.event(OutboundInput::Response(done.response));
    let request = scene.send(OutboundInput::Stop);
    assert_eq!(request.headers.expires(), Some(0));
    let done = registrar.update(scene.now, &request, source).unwrap();
    assert!(!registrar.is_bound(scene.now));
    let event = scene.event(OutboundInput::Response(done.response));
    assert_eq!(event, OutboundEvent::Unregistered);
    assert_eq!(scene.outbound.registered_until(), None);
}

#[test]
fn a_connection_that_ends_is_made_anew_and_registered_on() {
    let mut scene = Scene::new();
    // One that was just registered on is given its time.
    let request = scene.send(OutboundInput::Start);
    assert_eq!(scene.put(OutboundInput::Disconnected), (None, Vec::new()));
    scene.event(status(&request, 200, &[]));
    scene.now += Duration::from_secs(4);
    for _ in 0..2 {
        assert_eq!(scene.put(OutboundInput::Disconnected), (None, Vec::new()));
    }
    assert_eq!(scene.wait(), Duration::from_secs(6));
    let request = scene.send(OutboundInput::Timeout);
    assert_eq!(request.headers.expires(), Some(600));
    scene.event(status(&request, 200, &[]));
    // Later it is done at once.
    scene.now += Duration::from_secs(100);
    scene.put(OutboundInput::Disconnected);
    assert_eq!(scene.wait(), Duration::ZERO);
    let request = scene.send(OutboundInput::Timeout);
    scene.event(status(&request, 200, &[]));
    // A refresh that is due sooner is not put off.
    scene.now += Duration::from_secs(479);
    scene.now += Duration::from_millis(999);
    scene.put(OutboundInput::Disconnected);
    assert!(scene.wait() <= Duration::from_millis(1));
    // Who is not registered has nothing to lose, and keeps to his waits.
    let request = scene.send(OutboundInput::Timeout);
    scene.event(status(&request, 403, &[]));
    scene.put(OutboundInput::Disconnected);
    assert!(scene.wait() > Duration::from_secs(20));
}

#[test]
fn the_time_granted_decides_when_to_refresh() {
    let ours = "<sip:1001@192.0.2.1:5060>;expires=90";
    let other = "<sip:1001@198.51.100.7>;expires=3000";
    for (headers, granted) in [
        (
            vec![(HeaderName::Contact, other), (HeaderName::Contact, ours)],
            90,
        ),
        (
            vec![(HeaderName::Contact, other), (HeaderName::Expires, "120")],
            120,
        ),
        (vec![(HeaderName::Expires, "120")], 120),
        // A registrar, or a NAT that meddles, may write our address as it sees it.
        (
            vec![(
                HeaderName::Contact,
                "<sip:1001@203.0.113.5:1024>;expires=60",
            )],
            60,
        ),
        (vec![], 600),
        (vec![(HeaderName::Expires, "1")], 10),
        (vec![(HeaderName::Expires, "4294967295")], 86_400),
    ] {
        let mut scene = Scene::new();
        let request = scene.send(OutboundInput::Start);
        let expires = Duration::from_secs(granted);
        let event = scene.event(status(&request, 200, &headers));
        assert_eq!(event, OutboundEvent::Registered { expires });
        assert_eq!(scene.wait(), expires * 4 / 5);
    }
}

#[test]
fn a_time_too_brief_is_asked_for_longer_once() {
    let mut scene = Scene::new();
    let request = scene.send(OutboundInput::Start);
    let request = scene.send(status(&request, 423, &[(HeaderName::MinExpires, "1800")]));
    assert_eq!(request.headers.expires(), Some(1800));
    let again = scene.event(status(&request, 423, &[(HeaderName::MinExpires, "3600")]));
    assert!(matches!(again, OutboundEvent::Failed { .. }), "{again:?}");
    // What the registrar wants is remembered.
    scene.wait();
    let request = scene.send(OutboundInput::Timeout);
    assert_eq!(request.headers.expires(), Some(1800));

    for wanted in ["100000000", "60", "soon"] {
        let mut scene = Scene::new();
        let request = scene.send(OutboundInput::Start);
        let event = scene.event(status(&request, 423, &[(HeaderName::MinExpires, wanted)]));
        let OutboundEvent::Failed { why, .. } = event else {
            panic!("{event:?}");
        };
        assert_eq!(why.to_string(), "423 Interval Too Brief");
    }
}

#[test]
fn failures_wait_longer_and_longer_and_a_success_forgets_them() {
    let mut scene = Scene::new();
    let mut request = scene.send(OutboundInput::Start);
    for seconds in [30.0, 60.0, 120.0, 240.0, 300.0, 300.0] {
        let event = scene.event(status(&request, 403, &[]));
        let OutboundEvent::Failed { why, retry_in } = event else {
            panic!("{event:?}");
        };
        assert_eq!(why.to_string(), "403 Forbidden");
        let ratio = retry_in.as_secs_f64() / seconds;
        assert!((0.9..=1.1).contains(&ratio), "{retry_in:?} for {seconds}");
        assert_eq!(scene.wait(), retry_in);
        request = scene.send(OutboundInput::Timeout);
    }
    scene.event(status(&request, 200, &[]));
    scene.wait();
    scene.send(OutboundInput::Timeout);
    let event = scene.event(OutboundInput::Failed(Failure::TimedOut));
    let OutboundEvent::Failed { why, retry_in } = event else {
        panic!("{event:?}");
    };
    assert_eq!(why, OutboundError::TimedOut);
    assert!(retry_in < Duration::from_secs(34), "{retry_in:?}");
}

#[test]
fn a_registrar_that_says_when_is_believed_within_an_hour() {
    for (value, least) in [
        ("90 (busy)", 90),
        ("10", 27),
        ("99999999", 3_600),
        ("soon", 27),
    ] {
        let mut scene = Scene::new();
        let request = scene.send(OutboundInput::Start);
        let event = scene.event(status(&request, 503, &[(HeaderName::RetryAfter, value)]));
        let OutboundEvent::Failed { retry_in, .. } = event else {
            panic!("{event:?}");
        };
        let (least, most) = (
            Duration::from_secs(least),
            Duration::from_secs(least.max(33)),
        );
        assert!((least..=most).contains(&retry_in), "{value}: {retry_in:?}");
    }
}

#[test]
fn a_wrong_password_is_told_after_one_try() {
    let mut scene = Scene::new();
    let challenge = "Digest realm=\"r\", nonce=\"n\", qop=\"auth\"";
    let request = scene.send(OutboundInput::Start);
    let refusal = status(&request, 401, &[(HeaderName::WwwAuthenticate, challenge)]);
    let request = scene.send(refusal);
    let refusal = status(&request, 401, &[(HeaderName::WwwAuthenticate, challenge)]);
    let event = scene.event(refusal);
    let OutboundEvent::Failed { why, .. } = event else {
        panic!("{event:?}");
    };
    assert_eq!(why, OutboundError::NoAnswer(NoAnswer::WrongPassword));
}

#[test]
fn what_comes_late_or_for_another_request_changes_nothing() {
    let mut scene = Scene::new();
    let old = scene.send(OutboundInput::Start);
    let challenge = "Digest realm=\"r\", nonce=\"n\", qop=\"auth\"";
    let refusal = || status(&old, 401, &[(HeaderName::WwwAuthenticate, challenge)]);
    scene.send(refusal());
    for late in [
        refusal(),
        status(&old, 200, &[]),
        OutboundInput::Timeout,
        OutboundInput::Start,
    ] {
        assert_eq!(scene.put(late), (None, vec![]));
    }
    assert_eq!(scene.outbound.registered_until(), None);
}

#[test]
fn a_request_that_nobody_answers_or_fails_is_given_up() {
    let mut scene = Scene::new();
    scene.send(OutboundInput::Start);
    assert_eq!(scene.wait(), PATIENCE);
    let event = scene.event(OutboundInput::Timeout);
    let OutboundEvent::Failed { why, .. } = event else {
        panic!("{event:?}");
    };
    assert_eq!(why, OutboundError::TimedOut);
    scene.wait();
    let request = scene.send(OutboundInput::Timeout);
    scene.event(status(&request, 200, &[]));
    scene.send(OutboundInput::Stop);
    scene.wait();
    let event = scene.event(OutboundInput::Timeout);
    assert_eq!(event, OutboundEvent::Unregistered);
}

#[test]
fn a_refresh_that_fails_leaves_what_was_granted_unless_it_is_refused() {
    let registered = || {
        let mut scene = Scene::new();
        let request = scene.send(OutboundInput::Start);
        scene.event(status(&request, 200, &[]));
        let until = scene.outbound.registered_until();
        scene.wait();
        let request = scene.send(OutboundInput::Timeout);
        assert_eq!(scene.outbound.registered_until(), until);
        (scene, request, until)
    };
    let (mut scene, _, until) = registered();
    scene.event(OutboundInput::Failed(Failure::TimedOut));
    assert_eq!(scene.outbound.registered_until(), until);
    let (mut scene, request, _) = registered();
    scene.event(status(&request, 403, &[]));
    assert_eq!(scene.outbound.registered_until(), None);
}

fn at_three() -> Scene {
    let mut scene = Scene::new();
    let others = vec![place("192.0.2.10:5060"), place("192.0.2.11:5060")];
    let places = Places::new(config().places.current().clone(), others);
    scene.outbound.move_to(places);
    scene
}

#[test]
fn the_next_place_is_tried_when_one_is_silent_or_gone_or_has_no_time() {
    let mut scene = at_three();
    scene.send(OutboundInput::Start);
    assert_eq!(scene.wait(), Duration::from_secs(4));
    scene.registrar = place("192.0.2.10:5060").send_to;
    scene.send(OutboundInput::Timeout);
    scene.registrar = place("192.0.2.11:5060").send_to;
    let request = scene.send(OutboundInput::Failed(Failure::Transport));
    let event = scene.event(status(&request, 200, &[]));
    assert!(
        matches!(event, OutboundEvent::Registered { .. }),
        "{event:?}"
    );
    // It is kept as long as it is good, and the others are known.
    let spare: Vec<_> = scene.outbound.places().spare().cloned().collect();
    assert_eq!(
        spare,
        [place("192.0.2.9:5060"), place("192.0.2.10:5060")],
        "{spare:?}"
    );
    scene.wait();
    let request = scene.send(OutboundInput::Timeout);
    // The last one has no other behind it; then it begins anew with the first.
    let event = scene.event(status(&request, 503, &[]));
    assert!(matches!(event, OutboundEvent::Failed { .. }), "{event:?}");
    scene.registrar = config().places.current().send_to;
    scene.wait();
    let request = scene.send(OutboundInput::Timeout);
    scene.registrar = place("192.0.2.10:5060").send_to;
    scene.send(status(&request, 503, &[]));
}

#[test]
fn a_refusal_counts_for_all_places() {
    let mut scene = at_three();
    let request = scene.send(OutboundInput::Start);
    let event = scene.event(status(&request, 403, &[]));
    assert!(matches!(event, OutboundEvent::Failed { .. }), "{event:?}");
}

#[test]
fn whoever_goes_on_with_a_series_has_its_call_id_and_higher_numbers() {
    let mut scene = Scene::new();
    let first = scene.send(OutboundInput::Start);
    let second = scene.send(status(&first, 423, &[(HeaderName::MinExpires, "900")]));
    let series = scene.outbound.series().clone();
    let mut heir = Scene::new();
    heir.outbound = Outbound::new(config(), 8).in_series(series);
    assert_eq!(heir.outbound.id(), scene.outbound.id());
    let third = heir.send(OutboundInput::Start);
    assert_eq!(third.headers.call_id(), first.headers.call_id());
    let number = |request: &Request| request.headers.cseq().unwrap().number;
    assert_eq!([&first, &second, &third].map(number), [1, 2, 3]);
    // What is said to the one that is gone is not for its heir.
    let (sent, events) = heir.put(status(&second, 200, &[]));
    assert_eq!((sent, events), (None, Vec::new()));
    let event = heir.event(status(&third, 200, &[]));
    assert!(
        matches!(event, OutboundEvent::Registered { .. }),
        "{event:?}"
    );
}
