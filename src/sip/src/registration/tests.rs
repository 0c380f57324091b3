use super::*;
use crate::message::Method;

fn source(port: u16) -> Hop {
    Hop::udp(std::net::SocketAddr::from(([203, 0, 113, 5], port)))
}

/// A REGISTER: the Call-ID, the CSeq, the Expires header, the contacts.
fn register(call_id: &str, cseq: u32, expires: Option<&str>, contacts: &[&str]) -> Request {
    let mut request = Request::new(Method::Register, "sip:192.0.2.1".parse().unwrap());
    let headers = &mut request.headers;
    headers.push(HeaderName::Via, "SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK1");
    headers.push(HeaderName::From, "<sip:100@192.0.2.1>;tag=a");
    headers.push(HeaderName::To, "<sip:100@192.0.2.1>");
    headers.push(HeaderName::CallId, call_id);
    headers.push(HeaderName::CSeq, format!("{cseq} REGISTER"));
    for contact in contacts {
        headers.push(HeaderName::Contact, contact);
    }
    if let Some(expires) = expires {
        headers.push(HeaderName::Expires, expires);
    }
    request
}

struct Pbx {
    inbound: Inbound,
    now: Instant,
    cseq: u32,
}

impl Pbx {
    // The clock is banned in a core; a test needs one instant to start from.
    #[allow(clippy::disallowed_methods)]
    fn new() -> Self {
        Self {
            inbound: Inbound::new(1),
            now: Instant::now(),
            cseq: 0,
        }
    }

    fn send(
        &mut self,
        expires: Option<&str>,
        contacts: &[&str],
    ) -> Result<Registered, RegisterError> {
        self.cseq += 1;
        let request = register("c1", self.cseq, expires, contacts);
        self.inbound.update(self.now, &request, source(5062))
    }

    fn listed(&mut self) -> Vec<String> {
        let answer = self.send(None, &[]).unwrap();
        let headers = &answer.response.headers;
        headers
            .all(&HeaderName::Contact)
            .map(str::to_owned)
            .collect()
    }

    fn wait(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }
}

#[test]
fn a_contact_is_bound_to_where_its_request_came_from() {
    let mut pbx = Pbx::new();
    let answer = pbx
        .send(Some("600"), &["<sip:100@10.0.0.9:5070;ob>"])
        .unwrap();
    assert_eq!(
        (answer.response.status, answer.change),
        (200, Change::Registered)
    );
    assert!(answer.response.headers.to().unwrap().tag().is_some());
    let contacts = pbx.inbound.contacts(pbx.now);
    assert_eq!(contacts.len(), 1);
    assert_eq!(contacts[0].send_to, source(5062));
    assert_eq!(contacts[0].uri.to_string(), "sip:100@10.0.0.9:5070;ob");
    assert_eq!(pbx.listed(), ["<sip:100@10.0.0.9:5070;ob>;expires=600"]);
}

#[test]
fn lifetimes_are_granted_from_60_seconds_to_an_hour() {
    let table = [
        (None, "", Ok("3600")),
        (Some("60"), "", Ok("60")),
        (Some("7200"), "", Ok("3600")),
        (Some("99999999999999999999"), "", Ok("3600")),
        (Some("soon"), "", Ok("3600")),
        (Some("30"), ";expires=120", Ok("120")),
        (
            Some("3600"),
            ";expires=59",
            Err(RegisterError::IntervalTooBrief),
        ),
        (Some("59"), "", Err(RegisterError::IntervalTooBrief)),
        (Some("1"), "", Err(RegisterError::IntervalTooBrief)),
    ];
    for (header, param, expected) in table {
        let mut pbx = Pbx::new();
        match (
            pbx.send(header, &[&format!("<sip:100@192.0.2.9>{param}")]),
            expected,
        ) {
            (Ok(answer), Ok(seconds)) => assert_eq!(
                answer.response.headers.get(&HeaderName::Contact),
                Some(format!("<sip:100@192.0.2.9>;expires={seconds}").as_str())
            ),
            (Err(error), Err(expected)) => assert_eq!(error, expected),
            (got, _) => panic!("{header:?} {param}: {got:?}"),
        }
    }
}

#[test]
fn an_interval_too_brief_names_the_shortest_one() {
    let mut pbx = Pbx::new();
    let error = pbx.send(Some("20"), &["<sip:100@192.0.2.9>"]).unwrap_err();
    let request = register("c1", 1, None, &[]);
    let response = error.respond(&request, "t");
    assert_eq!(
        (response.status, response.reason.as_str()),
        (423, "Interval Too Brief")
    );
    assert_eq!(response.headers.get(&HeaderName::MinExpires), Some("60"));
}

#[test]
fn bindings_end_by_request_by_star_and_by_time() {
    let mut pbx = Pbx::new();
    pbx.send(
        Some("600"),
        &["<sip:a@192.0.2.9>", "<sip:b@192.0.2.9>;expires=60"],
    )
    .unwrap();
    assert_eq!(
        pbx.inbound.next_expiry(),
        Some(pbx.now + Duration::from_secs(60))
    );
    pbx.wait(60);
    assert_eq!(pbx.inbound.contacts(pbx.now).len(), 1);
    let gone = pbx.inbound.expire(pbx.now);
    assert!(gone.len() == 1 && gone[0].uri.to_string() == "sip:b@192.0.2.9");
    let answer = pbx.send(Some("0"), &["<sip:a@192.0.2.9>"]).unwrap();
    assert_eq!(answer.change, Change::Removed);
    assert_eq!(
        pbx.send(Some("0"), &["<sip:a@192.0.2.9>"]).unwrap().change,
        Change::None
    );
    pbx.send(None, &["<sip:a@192.0.2.9>", "<sip:b@192.0.2.9>"])
        .unwrap();
    assert_eq!(pbx.send(Some("0"), &["*"]).unwrap().change, Change::Removed);
    assert!(!pbx.inbound.is_bound(pbx.now) && pbx.inbound.next_expiry().is_none());
}

#[test]
fn a_star_stands_alone_and_with_expires_0() {
    let mut pbx = Pbx::new();
    pbx.send(None, &["<sip:a@192.0.2.9>"]).unwrap();
    for (expires, contacts) in [
        (Some("0"), &["*", "<sip:a@192.0.2.9>"][..]),
        (Some("3600"), &["*"]),
        (None, &["*"]),
    ] {
        assert_eq!(
            pbx.send(expires, contacts).unwrap_err(),
            RegisterError::Star
        );
    }
    assert!(pbx.inbound.is_bound(pbx.now));
}

#[test]
fn a_request_with_one_bad_contact_changes_nothing() {
    let mut pbx = Pbx::new();
    for (bad, error) in [
        (
            "<sip:b@192.0.2.9>;expires=5",
            RegisterError::IntervalTooBrief,
        ),
        ("<mailto:b@192.0.2.9>", RegisterError::Contact),
        ("<tel:+1555>", RegisterError::Contact),
        ("<sip:@>", RegisterError::Contact),
    ] {
        assert_eq!(
            pbx.send(None, &["<sip:a@192.0.2.9>", bad]).unwrap_err(),
            error
        );
        assert!(!pbx.inbound.is_bound(pbx.now));
    }
    let eleven: Vec<String> = (0..11).map(|n| format!("<sip:{n}@192.0.2.9>")).collect();
    let eleven: Vec<&str> = eleven.iter().map(String::as_str).collect();
    let error = pbx.send(None, &eleven).unwrap_err();
    assert_eq!(
        (error, error.status()),
        (RegisterError::TooManyContacts, 513)
    );
}

#[test]
fn the_fifth_contact_replaces_the_oldest() {
    let mut pbx = Pbx::new();
    for n in 1..=4 {
        pbx.send(None, &[&format!("<sip:{n}@192.0.2.9>")]).unwrap();
    }
    // A refresh makes the first one the youngest.
    assert_eq!(
        pbx.send(None, &["<sip:1@192.0.2.9>"]).unwrap().change,
        Change::Refreshed
    );
    let answer = pbx.send(None, &["<sip:5@192.0.2.9>"]).unwrap();
    assert_eq!(answer.replaced, ["sip:2@192.0.2.9".parse().unwrap()]);
    let users: Vec<String> = pbx
        .inbound
        .contacts(pbx.now)
        .iter()
        .map(|b| b.uri.to_string())
        .collect();
    assert_eq!(
        users,
        [
            "sip:5@192.0.2.9",
            "sip:1@192.0.2.9",
            "sip:4@192.0.2.9",
            "sip:3@192.0.2.9"
        ]
    );
}

#[test]
fn preference_decides_the_order() {
    let mut pbx = Pbx::new();
    pbx.send(
        None,
        &[
            "<sip:a@h>;q=0.5",
            "<sip:b@h>",
            "<sip:c@h>;q=0.75",
            "<sip:d@h>;q=x",
        ],
    )
    .unwrap();
    assert_eq!(
        pbx.listed(),
        [
            "<sip:d@h>;expires=3600",
            "<sip:b@h>;expires=3600",
            "<sip:c@h>;q=0.750;expires=3600",
            "<sip:a@h>;q=0.500;expires=3600"
        ]
    );
}

#[test]
fn late_requests_of_the_same_call_id_are_refused() {
    let mut inbound = Inbound::new(1);
    let now = Pbx::new().now;
    let mut send = |call_id, cseq, contact| {
        let request = register(call_id, cseq, None, &[contact]);
        inbound
            .update(now, &request, source(5060))
            .map(|answer| answer.change)
    };
    assert_eq!(send("x", 5, "<sip:a@h>"), Ok(Change::Registered));
    assert_eq!(send("x", 5, "<sip:a@h>"), Err(RegisterError::OutOfOrder));
    assert_eq!(send("x", 4, "<sip:a@h>"), Err(RegisterError::OutOfOrder));
    assert_eq!(send("x", 4, "<sip:b@h>"), Ok(Change::Refreshed));
    assert_eq!(send("y", 1, "<sip:a@h>"), Ok(Change::Refreshed));
    assert_eq!(send("y", 2, "<sip:a@h>"), Ok(Change::Refreshed));
}

#[test]
fn addresses_are_compared_as_the_rfc_says() {
    // RFC 3261 19.1.4 has most of these.
    let table = [
        (
            "sip:%61lice@atlanta.com;transport=TCP",
            "sip:alice@AtlanTa.CoM;Transport=tcp",
            true,
        ),
        (
            "sip:carol@chicago.com",
            "sip:carol@chicago.com;newparam=5",
            true,
        ),
        (
            "sip:carol@chicago.com;security=on",
            "sip:carol@chicago.com;newparam=5",
            true,
        ),
        (
            "sip:carol@chicago.com;security=on",
            "sip:carol@chicago.com;security=off",
            false,
        ),
        (
            "SIP:ALICE@AtLanTa.CoM;Transport=udp",
            "sip:alice@AtLanTa.CoM;Transport=UDP",
            false,
        ),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060", false),
        (
            "sip:bob@biloxi.com",
            "sip:bob@biloxi.com;transport=udp",
            false,
        ),
        ("sip:bob@biloxi.com", "sips:bob@biloxi.com", false),
        ("sip:bob@biloxi.com", "sip:biloxi.com", false),
    ];
    for (a, b, same) in table {
        let (left, right) = (a.parse().unwrap(), b.parse().unwrap());
        assert_eq!(same_address(&left, &right), same, "{a} {b}");
        assert_eq!(same_address(&right, &left), same, "{b} {a}");
    }
}

#[test]
fn a_restored_registration_goes_on() {
    let mut pbx = Pbx::new();
    pbx.send(Some("300"), &["<sip:a@h>"]).unwrap();
    let mut later = Inbound::restore(2, pbx.inbound.contacts(pbx.now));
    assert!(later.is_bound(pbx.now));
    assert_eq!(later.expire(pbx.now + Duration::from_secs(300)).len(), 1);
    assert!(!later.is_bound(pbx.now));
}

#[test]
fn only_a_sip_address_can_be_registered() {
    let mut request = register("c", 1, None, &["<sip:a@h>"]);
    assert_eq!(inspect(&request), Ok(()));
    request.headers.set(HeaderName::To, "<isbn:2983792873>");
    let refused = inspect(&request).unwrap_err();
    assert_eq!(refused.respond(&request, "t").status, 400);
}
