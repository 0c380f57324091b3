use bytes::Bytes;

use super::*;
use crate::message::{Method, respond};
use crate::transaction::{Input, Output};
use crate::{Failure, Transactions, TransactionsConfig};

fn via(params: &str) -> Via {
    format!("SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKa{params}")
        .parse()
        .unwrap()
}

fn report(params: &str) -> Option<Report> {
    Report::of(&via(params))
}

fn server() -> Hop {
    "192.0.2.7:5060".parse().unwrap()
}

fn request(method: Method) -> Request {
    let mut request = Request::new(method, "sip:600@192.0.2.7".parse().unwrap());
    request.headers.push(HeaderName::To, "<sip:600@192.0.2.7>");
    request
}

#[allow(clippy::disallowed_methods)] // an arbitrary start of virtual time
fn start() -> Instant {
    Instant::now()
}

const MS: Duration = Duration::from_millis(1);

#[test]
fn the_offer_has_no_value_and_a_quoted_algorithm() {
    let mut ours = via("");
    offer(&mut ours);
    assert!(ours.to_string().ends_with(";oc;oc-algo=\"loss\""), "{ours}");
    assert!(is_offered(&ours) && report(";oc").is_none());
    assert!(is_offered(&via(";oc")), "loss is known to everybody");
    assert!(is_offered(&via(";oc;oc-algo=\"rate, loss\"")));
    assert!(!is_offered(&via(";oc;oc-algo=\"rate\"")));
    assert!(!is_offered(&via(";oc=10;oc-algo=\"loss\"")));
    assert!(!is_offered(&via("")));
}

#[test]
fn a_report_is_read_and_what_breaks_the_rules_is_none() {
    let full = report(";oc=20;oc-algo=\"loss\";oc-validity=900;oc-seq=1282321615.782").unwrap();
    assert_eq!((full.percent, full.validity), (20, MS * 900));
    assert_eq!(full.sequence.unwrap().to_string(), "1282321615.78200");
    assert_eq!(report(";oc=0").unwrap().validity, USUAL_VALIDITY);
    assert_eq!(report(";oc=7;oc-algo=loss").unwrap().percent, 7);
    let longest = report(";oc=1;oc-validity=18446744073709551615").unwrap();
    assert_eq!(longest.validity, MOST_VALIDITY);
    for odd in [
        ";oc",
        ";oc=101",
        ";oc=256",
        ";oc=-1",
        ";oc=+5",
        ";oc=99999999999999999999999999",
        ";oc=\"\"",
        ";oc=5;oc-algo=\"rate\"",
        ";oc=5;oc-algo=\"loss,rate\"",
        ";oc=5;oc-validity",
        ";oc=5;oc-validity=1.5",
        ";oc=5;oc-validity=99999999999999999999999999",
        ";oc=5;oc-seq=1",
        ";oc=5;oc-seq=.5",
        ";oc=5;oc-seq=5.",
        ";oc=5;oc-seq=1.123456",
        ";oc=5;oc-seq=1234567890123.1",
        ";oc=5;oc-seq=1.+5",
        ";oc=5;oc-seq=-1.5",
    ] {
        assert_eq!(report(odd), None, "{odd}");
    }
}

#[test]
fn sequences_are_ordered_as_times_are() {
    let read = |text: &str| text.parse::<Sequence>().unwrap();
    assert!(read("9.5") > read("9.25") && read("10.0") > read("9.99999"));
    assert_eq!(read("9.5"), read("9.50000"));
    assert_eq!(
        read("7.00042"),
        Sequence::at(Duration::from_micros(7_000_420))
    );
    let largest = read("999999999999.99999");
    assert_eq!(largest.to_string(), "999999999999.99999");
}

#[test]
fn so_many_of_a_hundred_are_held_back_until_the_validity_ends() {
    let (now, mut restraints) = (start(), Restraints::default());
    let held = |restraints: &Restraints, now, method| {
        let request = request(method);
        let is_held = |lot: &u8| restraints.holds_back(now, server(), &request, *lot);
        (0..ALL).filter(is_held).count()
    };
    assert_eq!(held(&restraints, now, Method::Invite), 0);
    restraints.heard(now, server(), report(";oc=20").unwrap());
    assert_eq!(held(&restraints, now, Method::Invite), 20);
    for method in [Method::Bye, Method::Cancel, Method::Ack, Method::Options] {
        assert_eq!(held(&restraints, now, method), 0);
    }
    let stream = Hop::new(model::Transport::Tcp, server().address);
    assert!(restraints.holds_back(now, stream, &request(Method::Invite), 0));
    let other: Hop = "192.0.2.8:5060".parse().unwrap();
    assert!(!restraints.holds_back(now, other, &request(Method::Invite), 0));
    assert_eq!(held(&restraints, now + MS * 499, Method::Invite), 20);
    assert_eq!(held(&restraints, now + MS * 500, Method::Invite), 0);
    restraints.heard(now, server(), report(";oc=100;oc-validity=9000").unwrap());
    assert_eq!(held(&restraints, now + MS * 8_999, Method::Invite), 100);
    restraints.heard(now, server(), report(";oc=100;oc-validity=0").unwrap());
    assert_eq!(held(&restraints, now, Method::Invite), 0, "it is over");
}

#[test]
fn calls_that_are_there_and_answers_to_challenges_are_not_held_back() {
    let (now, mut restraints) = (start(), Restraints::default());
    restraints.heard(now, server(), report(";oc=100").unwrap());
    let mut inside = request(Method::Invite);
    inside
        .headers
        .set_first(HeaderName::To, "<sip:600@192.0.2.7>;tag=1");
    assert!(!restraints.holds_back(now, server(), &inside, 0));
    for name in [HeaderName::Authorization, HeaderName::ProxyAuthorization] {
        let mut again = request(Method::Invite);
        again.headers.push(name, "Digest username=\"a\"");
        assert!(!restraints.holds_back(now, server(), &again, 0));
    }
}

#[test]
fn an_invite_that_its_server_wants_again_is_not_held_back() {
    let (now, mut restraints) = (start(), Restraints::default());
    let of = |call: usize| {
        let mut request = request(Method::Invite);
        request
            .headers
            .push(HeaderName::CallId, format!("{call}@x"));
        request
    };
    let answer = |call| respond(&of(call), 422, "", Some("t"));
    restraints.wants_again(server(), &answer(1));
    assert!(restraints.wanted.is_empty(), "nobody asks for anything");
    restraints.heard(now, server(), report(";oc=100").unwrap());
    restraints.wants_again(server(), &answer(1));
    assert!(!restraints.holds_back(now, server(), &of(1), 0));
    assert!(restraints.holds_back(now, server(), &of(2), 0));
    let other: Hop = "192.0.2.8:5060".parse().unwrap();
    restraints.heard(now, other, report(";oc=100").unwrap());
    assert!(restraints.holds_back(now, other, &of(1), 0));
    for call in 3..3 + MOST_WANTED {
        restraints.wants_again(server(), &answer(call));
    }
    assert_eq!(restraints.wanted.len(), MOST_WANTED);
    assert!(restraints.holds_back(now, server(), &of(1), 0));
}

#[test]
fn a_report_that_was_overtaken_changes_nothing() {
    let (now, mut restraints) = (start(), Restraints::default());
    let invite = request(Method::Invite);
    let heard = |restraints: &mut Restraints, at, params: &str| {
        restraints.heard(at, server(), report(params).unwrap());
    };
    heard(&mut restraints, now, ";oc=50;oc-validity=60000;oc-seq=10.5");
    heard(&mut restraints, now, ";oc=0;oc-validity=0;oc-seq=10.4");
    assert!(restraints.holds_back(now, server(), &invite, 49));
    heard(&mut restraints, now, ";oc=10;oc-seq=10.5");
    assert!(!restraints.holds_back(now, server(), &invite, 49));
    assert!(restraints.holds_back(now, server(), &invite, 9));
    // A server that began anew, with another clock, is believed when nothing of before can come any more.
    let later = now + REMEMBERED;
    heard(&mut restraints, later, ";oc=30;oc-seq=1.0");
    assert!(restraints.holds_back(later, server(), &invite, 29));
}

#[test]
fn what_servers_ask_for_is_bounded() {
    let (now, mut restraints) = (start(), Restraints::default());
    let hop = |n: usize| {
        let [.., a, b] = u32::try_from(n).unwrap().to_be_bytes();
        Hop::udp(([10, 0, a, b], 5060).into())
    };
    let asks = report(";oc=100;oc-validity=1000").unwrap();
    for n in 0..MOST_SERVERS + 100 {
        restraints.heard(now, hop(n), asks);
    }
    assert_eq!(restraints.servers.len(), MOST_SERVERS);
    // Those that have nothing more to say make room.
    restraints.heard(now + REMEMBERED, hop(MOST_SERVERS), asks);
    assert_eq!(restraints.servers.len(), 1);
    restraints.heard(now, server(), report(";oc=0").unwrap());
    assert_eq!(
        restraints.servers.len(),
        1,
        "nothing is asked, nothing kept"
    );
}

#[test]
fn who_offers_is_told_the_load_and_nobody_else() {
    let told = |params: &str, percent| {
        let mut response = Response::new(180, "");
        let proxy = "SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKb;oc;oc-algo=\"loss\"";
        response.headers.push(HeaderName::Via, via(params));
        response.headers.push(HeaderName::Via, proxy);
        Load::new(percent, Duration::from_millis(1_764_358_800_123)).write(&mut response);
        let vias = response.headers.vias();
        assert_eq!(vias[1].to_string(), proxy, "it is not ours to write in");
        vias[0].clone()
    };
    let busy = told(";oc;oc-algo=\"loss\"", 35);
    assert!(
        busy.to_string()
            .ends_with(";oc=35;oc-algo=\"loss\";oc-validity=500;oc-seq=1764358800.12300"),
        "{busy}"
    );
    assert_eq!(Report::of(&busy).unwrap().percent, 35);
    for odd in [";OC", ";Oc;oc-algo=\"LOSS\"", "; oc", ";\toc", " ; \t oc"] {
        assert_eq!(Report::of(&told(odd, 35)).unwrap().percent, 35, "{odd:?}");
    }
    let calm = Report::of(&told(";oc", 0)).unwrap();
    assert_eq!((calm.percent, calm.validity), (0, Duration::ZERO));
    for silent in ["", ";ocean=1", ";oc=3", ";oc;oc-algo=\"rate\""] {
        assert_eq!(told(silent, 35), via(silent));
    }
}

/// What is sent, and what else there is to say.
fn drain(transactions: &mut Transactions) -> (Vec<Bytes>, Vec<Output>) {
    let (mut sent, mut said) = (Vec::new(), Vec::new());
    loop {
        match transactions.poll_output() {
            Output::Timeout(_) => return (sent, said),
            Output::Transmit { bytes, .. } => sent.push(bytes),
            other => said.push(other),
        }
    }
}

/// Two neighbours.
struct Neighbours {
    now: Instant,
    client: Transactions,
    server: Transactions,
}

impl Neighbours {
    fn new() -> Self {
        let of = |ip: &str, seed| {
            let config = TransactionsConfig::new(ip.parse().unwrap(), None);
            Transactions::new(config, seed)
        };
        Self {
            now: start(),
            client: of("192.0.2.1", 1),
            server: of("192.0.2.7", 2),
        }
    }

    /// Sends a request, which is refused; whether it was not held back.
    fn send(&mut self, method: Method, number: u32) -> bool {
        let mut request = request(method.clone());
        let headers = &mut request.headers;
        headers.push(HeaderName::From, "<sip:1@192.0.2.1>;tag=1");
        headers.push(HeaderName::CallId, format!("{number}@x"));
        headers.push(HeaderName::CSeq, format!("{number} {method}"));
        headers.push(HeaderName::Contact, "<sip:1@192.0.2.1>");
        self.client.request(self.now, server(), request, 7);
        let (sent, said) = drain(&mut self.client);
        let Some(bytes) = sent.first().cloned() else {
            let [Output::Failed { user: 7, why, .. }] = said.as_slice() else {
                panic!("{said:?}");
            };
            assert_eq!(*why, Failure::HeldBack);
            return false;
        };
        let source = "192.0.2.1:5060".parse().unwrap();
        let arrival = Input::Received { source, bytes };
        self.server.handle_input(self.now, arrival);
        let (_, said) = drain(&mut self.server);
        let [Output::Request { tx, request, .. }] = said.as_slice() else {
            panic!("{said:?}");
        };
        let (tx, response) = (*tx, respond(request, 486, "", Some("t")));
        let answer = Input::Respond { tx, response };
        self.server.handle_input(self.now, answer);
        let (sent, _) = drain(&mut self.server);
        let bytes = sent.first().unwrap().clone();
        let arrival = Input::Received {
            source: server(),
            bytes,
        };
        self.client.handle_input(self.now, arrival);
        drain(&mut self.client);
        true
    }

    fn load(&mut self, percent: u8, millis: u64) {
        let time = Duration::from_millis(1_764_358_800_000 + millis);
        self.server.set_load(Load::new(percent, time));
    }
}

#[test]
fn one_neighbour_asks_the_other_obeys_and_nothing_but_new_calls_waits() {
    let mut both = Neighbours::new();
    assert!(both.send(Method::Invite, 1));
    both.load(100, 1);
    assert!(both.send(Method::Invite, 2), "this one is told");
    assert!(!both.send(Method::Invite, 3));
    assert!(both.send(Method::Bye, 4));
    assert!(both.send(Method::Options, 5));
    both.now += MS * 500;
    assert!(both.send(Method::Invite, 6), "nothing is for ever");
    assert!(!both.send(Method::Invite, 7));
    // Any response tells that it is over.
    both.load(0, 2);
    assert!(both.send(Method::Options, 8));
    assert!(both.send(Method::Invite, 9));
    assert!(both.send(Method::Invite, 10));
}

#[test]
fn half_of_the_calls_are_held_back_where_half_are_asked_for() {
    let mut both = Neighbours::new();
    both.load(50, 1);
    let sent = (1..=1_000).filter(|n| both.send(Method::Invite, *n));
    let sent = sent.count();
    assert!((440..560).contains(&sent), "{sent}");
}
