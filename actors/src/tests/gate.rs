//! Who is let in, and what the others learn: nothing.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use model::{Secret, TrunkKind, TrunkSpec, VerboseRejects};
use routing::Table;
use sip::digest::{Answerer, Rounds};
use sip::guard::GuardConfig;
use sip::{HeaderName, Hop, Message, Method, Parsed, Request, Response, parse};
use tokio::net::UdpSocket;

use super::scene::{LOGIN, PASSWORD, Scene, play};
use crate::gate::{Gate, GateSettings};

const PEER: &str = "192.0.2.1:5060";

fn trunks() -> Vec<TrunkSpec> {
    let spec = |name: &str, kind| TrunkSpec::new(name.parse().unwrap(), kind);
    let account = |login: &str| TrunkKind::InboundRegister {
        login: login.to_owned(),
        password: Secret::new(PASSWORD.to_owned()),
    };
    let off = TrunkSpec {
        enabled: false,
        ..spec("off", account("switchedoff"))
    };
    let address = PEER.parse().unwrap();
    let inside = TrunkSpec {
        trusted_ips: "203.0.113.0/24".parse().unwrap(),
        ..spec("inside", account("insideonly"))
    };
    vec![
        inside,
        spec("office", account(LOGIN)),
        off,
        spec("peer", TrunkKind::Peer { address }),
        spec(
            "provider",
            TrunkKind::OutboundRegister {
                login: "15550100".to_owned(),
                password: Secret::new("given".to_owned()),
                domain: "sip.example".parse().unwrap(),
                proxy: None,
                auth_user: None,
            },
        ),
    ]
}

fn gate(verbose_rejects: VerboseRejects) -> Gate {
    let settings = GateSettings {
        realm: "strowger".to_owned(),
        verbose_rejects,
        guard: GuardConfig::default(),
    };
    let table = Arc::new(Table::new(trunks(), Vec::new(), Vec::new()));
    let metrics = metrics::Metrics::new("0.0.0");
    Gate::new(table, &settings, metrics, Instant::now())
}

fn hop(n: u8) -> Hop {
    Hop::udp(SocketAddr::from(([198, 51, 100, n], 5060)))
}

fn request(method: Method, user: &str) -> Request {
    let mut request = Request::new(method.clone(), "sip:192.0.2.9".parse().unwrap());
    let address = format!("<sip:{user}@192.0.2.9>");
    for (name, value) in [
        ("Via", "SIP/2.0/UDP 198.51.100.7;branch=z9hG4bK1".to_owned()),
        ("From", format!("{address};tag=1")),
        ("To", address.clone()),
        ("Call-ID", "c1".to_owned()),
        ("CSeq", format!("1 {method}")),
        ("Contact", "<sip:198.51.100.7>".to_owned()),
        ("Max-Forwards", "70".to_owned()),
    ] {
        request.headers.push(name.into(), value);
    }
    request
}

/// The request again, with credentials for the challenge in a response.
fn answered(mut request: Request, response: &Response, user: &str, password: &str) -> Request {
    let mut answerer = Answerer::new(user, Secret::new(password.to_owned()), None);
    let (mut rounds, uri) = (Rounds::default(), request.uri.clone());
    let answer = answerer.answer(&mut rounds, response, &request.method, &uri, "c");
    let (name, value) = answer.expect("a challenge that can be answered");
    request.headers.push(name, value);
    request
}

/// Asks twice, the second time with credentials; what came of it.
fn tries(gate: &Gate, source: Hop, user: &str, password: &str) -> Result<String, Response> {
    let ask = |request: &Request| gate.identify(Instant::now(), 1_000, source, request, "tag");
    let first = ask(&request(Method::Register, user)).expect_err("a challenge");
    assert_eq!(first.status, 401);
    let again = answered(request(Method::Register, user), &first, user, password);
    ask(&again).map(|trunk| trunk.to_string())
}

/// The text of a response, without what differs from one to the next by chance.
fn masked(response: &Response, user: &str) -> String {
    let text = String::from_utf8(response.encode().to_vec()).unwrap();
    let text = text.replace(user, "USER");
    match text.split_once("nonce=\"") {
        Some((before, after)) => {
            let (_, after) = after.split_once('"').unwrap();
            format!("{before}nonce=\"{after}")
        }
        None => text,
    }
}

#[test]
fn a_trunk_is_let_in_by_its_password_and_a_peer_by_its_address() {
    let gate = gate(VerboseRejects::All);
    assert_eq!(tries(&gate, hop(1), LOGIN, PASSWORD).unwrap(), "office");
    let peer = Hop::udp(PEER.parse().unwrap());
    let invite = request(Method::Invite, "anybody");
    let ask = |source, request: &Request| {
        gate.identify(Instant::now(), 1_000, source, request, "tag")
            .map(|trunk| trunk.to_string())
    };
    assert_eq!(ask(peer, &invite).unwrap(), "peer");
    // No address stands for the password of an account.
    let register = request(Method::Register, LOGIN);
    assert_eq!(ask(peer, &register).unwrap_err().status, 401);
    assert_eq!(ask(hop(1), &invite).unwrap_err().status, 401);
    assert!(gate.is_known(peer.ip()) && !gate.is_known(hop(1).ip()));
}

#[test]
fn strangers_cannot_tell_who_exists() {
    for verbose in [VerboseRejects::Trusted, VerboseRejects::None] {
        let gate = gate(verbose);
        let answers: Vec<String> = [
            (1, LOGIN, "a wrong password"),
            (2, "nobodyhere", "a wrong password"),
            (3, "switchedoff", "a wrong password"),
            (4, "insideonly", PASSWORD),
            (5, "insideonly", "a wrong password"),
        ]
        .into_iter()
        .map(|(n, user, password)| masked(&tries(&gate, hop(n), user, password).unwrap_err(), user))
        .collect();
        assert!(answers[0].starts_with("SIP/2.0 401 Unauthorized\r\n"));
        assert!(!answers[0].contains("stale"));
        assert!(
            answers.iter().all(|answer| *answer == answers[0]),
            "{answers:?}"
        );
        // An account that is closed to new sources says no more, even to the right password.
        for n in 10..40 {
            tries(&gate, hop(n), LOGIN, "a wrong password").unwrap_err();
        }
        let closed = tries(&gate, hop(40), LOGIN, PASSWORD).unwrap_err();
        assert_eq!(masked(&closed, LOGIN), answers[0]);
    }
}

#[test]
fn an_owner_is_told_what_was_wrong_unless_he_does_not_want_it() {
    let told = |verbose, source: Hop, user, password| {
        let response = tries(&gate(verbose), source, user, password).unwrap_err();
        format!("{} {}", response.status, response.reason)
    };
    let peer = Hop::udp("192.0.2.1:40000".parse().unwrap());
    for (verbose, source, verbally) in [
        (VerboseRejects::All, hop(1), true),
        (VerboseRejects::All, peer, true),
        (VerboseRejects::Trusted, hop(1), false),
        (VerboseRejects::Trusted, peer, true),
        (VerboseRejects::None, peer, false),
    ] {
        let wrong = told(verbose, source, LOGIN, "a wrong password");
        let unknown = told(verbose, source, "nobodyhere", PASSWORD);
        if verbally {
            assert_eq!(
                (&*wrong, &*unknown),
                ("403 Wrong password", "404 Route not found")
            );
        } else {
            assert_eq!(
                (&*wrong, &*unknown),
                ("401 Unauthorized", "401 Unauthorized")
            );
        }
    }
}

#[test]
fn an_account_is_used_only_from_where_it_may_be() {
    let gate = gate(VerboseRejects::All);
    let office = Hop::udp("203.0.113.77:5060".parse().unwrap());
    assert_eq!(
        tries(&gate, office, "insideonly", PASSWORD).unwrap(),
        "inside"
    );
    for password in [PASSWORD, "a wrong password"] {
        let refused = tries(&gate, hop(1), "insideonly", password).unwrap_err();
        assert_eq!(
            (refused.status, &*refused.reason),
            (403, "Untrusted IP address")
        );
    }
}

#[test]
fn of_a_thousand_guesses_ten_are_looked_at() {
    let gate = gate(VerboseRejects::All);
    let (guesser, pbx) = (hop(1), hop(2));
    let bytes = request(Method::Register, LOGIN).encode();
    let first = gate
        .identify(
            Instant::now(),
            1_000,
            guesser,
            &request(Method::Register, LOGIN),
            "t",
        )
        .unwrap_err();
    let mut looked_at = 0;
    for n in 0..1_000 {
        // The guesser keeps to its budget.
        let now = Instant::now() + Duration::from_millis(50 * n);
        if !gate.admits(now, guesser.ip(), &bytes) {
            continue;
        }
        looked_at += 1;
        let guess = answered(request(Method::Register, LOGIN), &first, LOGIN, "a guess");
        gate.identify(now, 1_000, guesser, &guess, "t").unwrap_err();
    }
    assert_eq!(looked_at, 10);
    assert_eq!(tries(&gate, pbx, LOGIN, PASSWORD).unwrap(), "office");
}

#[test]
fn a_forged_source_cannot_get_anybody_banned() {
    let gate = gate(VerboseRejects::All);
    let victim = hop(1);
    // The forger never sees a nonce that was made for the victim.
    let own = gate
        .identify(
            Instant::now(),
            1_000,
            hop(2),
            &request(Method::Register, LOGIN),
            "t",
        )
        .unwrap_err();
    for _ in 0..100 {
        let guess = answered(request(Method::Register, LOGIN), &own, LOGIN, "a guess");
        let answer = gate.identify(Instant::now(), 1_000, victim, &guess, "t");
        let answer = answer.unwrap_err();
        assert_eq!(answer.status, 401);
    }
    let now = Instant::now();
    assert!(gate.admits(now, victim.ip(), b"REGISTER"));
    assert_eq!(tries(&gate, victim, LOGIN, PASSWORD).unwrap(), "office");
}

#[test]
fn where_a_trunk_is_registered_is_known_as_long_as_it_is() {
    let gate = gate(VerboseRejects::All);
    let (now, office) = (Instant::now(), "office".parse().unwrap());
    let other: IpAddr = Ipv4Addr::new(198, 51, 100, 9).into();
    gate.reached(now, &office, vec![hop(1).address]);
    assert!(gate.is_known(hop(1).ip()) && !gate.is_known(other));
    gate.reached(now, &office, vec![SocketAddr::new(other, 5060)]);
    assert!(!gate.is_known(hop(1).ip()) && gate.is_known(other));
    let peer: SocketAddr = PEER.parse().unwrap();
    assert!(gate.is_known(peer.ip()));
}

/// What a stranger gets for a request, and how many datagrams.
async fn answers(socket: &UdpSocket, house: SocketAddr, text: &str) -> Vec<Response> {
    socket.send_to(text.as_bytes(), house).await.unwrap();
    let mut buffer = vec![0; 65_535];
    let mut answers = Vec::new();
    let wait = Duration::from_millis(700);
    while let Ok(Ok(length)) = tokio::time::timeout(wait, socket.recv(&mut buffer)).await {
        assert!(length * 2 <= text.len() * 3, "{length} for {}", text.len());
        match parse(&buffer[..length]) {
            Parsed::Message(Message::Response(response)) => answers.push(response),
            other => panic!("{other:?}"),
        }
    }
    answers
}

#[test]
fn strangers_get_one_short_answer_and_nothing_is_kept_of_them() {
    play(async {
        let scene = Scene::new().await;
        let house = scene.house.common.settings.sip.addresses[0];
        // Another host than that of the phone, which is known.
        let socket = UdpSocket::bind("127.0.0.66:0").await.unwrap();
        let port = socket.local_addr().unwrap().port();
        // Until the last transaction of the phone's registration is over.
        scene
            .counts(
                "sip_messages_total{direction=\"in\",kind=\"request\",method=\"REGISTER\"}",
                2.0,
            )
            .await;
        let before = scene.number("sip_transactions_active{kind=\"server\"}");
        for (method, status) in [
            ("INVITE", Some(401)),
            ("REGISTER", Some(401)),
            ("OPTIONS", Some(200)),
            ("MESSAGE", Some(401)),
            ("SUBSCRIBE", Some(401)),
            ("NOTIFY", Some(401)),
            ("PUBLISH", Some(401)),
            ("REFER", Some(401)),
            ("INFO", Some(405)),
            ("UPDATE", Some(405)),
            ("BYE", Some(405)),
            ("PRACK", Some(405)),
            ("NONSENSE", Some(501)),
            ("CANCEL", Some(481)),
            ("ACK", None),
        ] {
            let text = format!(
                "{method} sip:office1234@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.66:{port};rport;branch=z9hG4bK{method}\r\n\
                 Max-Forwards: 70\r\nFrom: <sip:office1234@127.0.0.1>;tag=1\r\nTo: <sip:office1234@127.0.0.1>\r\n\
                 Call-ID: {method}\r\nCSeq: 1 {method}\r\nContact: <sip:office1234@127.0.0.66:{port}>\r\n\
                 User-Agent: friendly-scanner\r\nContent-Length: 0\r\n\r\n"
            );
            let got = answers(&socket, house, &text).await;
            let codes: Vec<u16> = got.iter().map(|response| response.status).collect();
            assert_eq!(codes, status.into_iter().collect::<Vec<_>>(), "{method}");
            for response in got {
                for optional in [
                    HeaderName::Server,
                    HeaderName::Accept,
                    HeaderName::Supported,
                ] {
                    assert!(!response.headers.has(&optional), "{method}: {optional}");
                }
            }
        }
        let after = scene.number("sip_transactions_active{kind=\"server\"}");
        assert!(after <= before, "{before} became {after}");
    });
}

/// A PBX that registers here and at which we register, too: its calls as our account need no password, those of its own account do.
#[test]
fn a_pbx_at_the_address_of_a_registrar_proves_its_own_account() {
    let gate = gate(VerboseRejects::All);
    let (provider, there) = ("provider".parse().unwrap(), hop(7));
    gate.reached(Instant::now(), &provider, vec![there.address]);
    let ask = |request: &Request| gate.identify(Instant::now(), 1_000, there, request, "t");
    let call = |from: &str| ask(&request(Method::Invite, from));
    assert_eq!(call("15550123"), Ok(provider.clone()));
    assert_eq!(call("15550100"), Ok(provider));
    let first = call(LOGIN).unwrap_err();
    assert_eq!(first.status, 401);
    let proof = answered(request(Method::Invite, LOGIN), &first, LOGIN, PASSWORD);
    assert_eq!(ask(&proof), Ok("office".parse().unwrap()));
}

/// What remains of it over a network is less than the hundred microseconds that are looked for here.
#[test]
fn the_time_of_an_answer_does_not_tell_who_exists() {
    let gate = gate(VerboseRejects::Trusted);
    let mut times = [Vec::new(), Vec::new()];
    for n in 0..1_000_u32 {
        for (user, times) in [LOGIN, "nobodyhere"].into_iter().zip(&mut times) {
            // Each guess from another address, so that nobody is banned for it.
            let address = SocketAddr::new(Ipv4Addr::from(0x0a00_0000 + n).into(), 5060);
            let ask = |request: &Request| {
                gate.identify(Instant::now(), 1_000, Hop::udp(address), request, "t")
            };
            let first = ask(&request(Method::Register, user)).unwrap_err();
            let guess = answered(request(Method::Register, user), &first, user, "a guess");
            let began = Instant::now();
            assert_eq!(ask(&guess).unwrap_err().status, 401);
            times.push(began.elapsed());
        }
    }
    let [known, unknown] = times.map(|mut times| {
        times.sort();
        times[times.len() / 2]
    });
    println!("a login that exists {known:?}, one that does not {unknown:?}");
    assert!(known.abs_diff(unknown) < Duration::from_micros(100));
}
