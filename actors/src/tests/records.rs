//! Records that change while calls go on.

use std::sync::Arc;
use std::time::Duration;

use model::{Codec, RouteSpec, Secret, SessionSpec, TrunkKind, TrunkName, TrunkSpec};
use net::fake::{Phase, Phone, PhoneManner, PhoneSettings, Simulation};
use routing::Table;
use sip::{HeaderName, Message, Method, Parsed, respond};
use store::Change;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::crash::Crash;
use super::pbx::{Habit, Pbx};
use super::scene::{PASSWORD, Scene, play, reaches, session, trunk};
use crate::registry::crash::Supervised;

const BRANCH: &str = "branch9876";
const TALK: Duration = Duration::from_millis(1500);

fn name() -> TrunkName {
    "branch".parse().unwrap()
}

/// The trunk of a second phone.
fn branch(password: &str) -> TrunkSpec {
    let kind = TrunkKind::InboundRegister {
        login: BRANCH.to_owned(),
        password: Secret::new(password.to_owned()),
    };
    TrunkSpec::new(name(), kind)
}

async fn second_phone(scene: &Scene) -> Phone {
    let house = sip::Hop::udp(scene.phone.address());
    Phone::start(PhoneSettings {
        house: scene.house.common.sip_address(house).address,
        login: BRANCH.to_owned(),
        password: PASSWORD.to_owned(),
        codecs: vec![Codec::Alaw],
        manner: PhoneManner::Answer {
            after: Duration::from_millis(100),
        },
        voice: 5,
    })
    .await
    .unwrap()
}

/// Changes the records, and lets the house follow as the switch does.
pub(super) async fn change(scene: &Scene, changes: &[Change]) {
    let store = &scene.store;
    store.commit(None, changes).unwrap();
    let (trunks, sessions) = (store.trunks().unwrap(), store.sessions().unwrap());
    let table = Table::new(trunks, sessions, store.routes().unwrap());
    let table = table
        .with_transits(store.transits().unwrap())
        .with_quotas(store.quotas().unwrap())
        .with_roles(store.roles().unwrap())
        .with_users(store.users().unwrap());
    scene.house.apply(Arc::new(table), |_| None).await;
}

fn put(spec: TrunkSpec) -> Change {
    Change::PutTrunk(Box::new(spec))
}

fn pair() -> Change {
    Change::PutRoute(RouteSpec {
        trunk: name(),
        session: session(),
        priority: 200,
        terms: model::RouteTerms::default(),
    })
}

/// Registers until it is answered with this status: a trunk that has just begun may still ask for patience.
async fn registers(phone: &Phone, password: &str, status: u16) {
    let mut last = 0;
    for _ in 0..100 {
        last = phone.register(password, 3600).await.status;
        if last == status {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("wanted {status}, got {last}");
}

async fn becomes(scene: &Scene, series: &str, value: f64) {
    for _ in 0..200 {
        if (scene.number(series) - value).abs() < 0.5 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{series} is {}", scene.number(series));
}

#[test]
fn trunks_come_change_and_go_while_a_call_on_another_goes_on() {
    play(async {
        let scene = Scene::new().await;
        let other = second_phone(&scene).await;
        let (phone, user) = scene.phone_calls("alice").await;
        scene.talk(TALK).await;

        change(&scene, &[put(branch(PASSWORD)), pair()]).await;
        registers(&other, PASSWORD, 200).await;
        becomes(&scene, "registrar_bindings{trunk=\"branch\"}", 1.0).await;
        let more = TrunkSpec {
            lines: 7,
            ..branch(PASSWORD)
        };
        change(&scene, &[put(more)]).await;
        becomes(&scene, "trunk_lines_limit{trunk=\"branch\"}", 7.0).await;
        let kept = scene.number("registrar_bindings{trunk=\"branch\"}");
        assert!(kept > 0.5, "what does not concern its PBX leaves it alone");
        let off = TrunkSpec {
            enabled: false,
            ..branch(PASSWORD)
        };
        change(&scene, &[put(off)]).await;
        becomes(&scene, "trunk_up{trunk=\"branch\"}", 0.0).await;
        assert_eq!(other.register(PASSWORD, 3600).await.status, 403);
        change(&scene, &[put(branch(PASSWORD))]).await;
        // What was registered is known again.
        becomes(&scene, "registrar_bindings{trunk=\"branch\"}", 1.0).await;
        let stolen = "another password";
        change(&scene, &[put(branch(stolen))]).await;
        becomes(&scene, "registrar_bindings{trunk=\"branch\"}", 0.0).await;
        assert_eq!(other.register(PASSWORD, 3600).await.status, 403);
        registers(&other, stolen, 200).await;
        let routes = Change::RemoveRoute(name(), session());
        change(&scene, &[routes, Change::RemoveTrunk(name())]).await;
        for _ in 0..200 {
            if !scene.shows("trunk=\"branch\"") {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(!scene.shows("trunk=\"branch\""));

        // The trunk of the call itself changes too: the call keeps what it began with.
        let office = scene.store.trunks().unwrap().remove(0);
        assert_eq!(office.name, trunk());
        let off = TrunkSpec {
            enabled: false,
            codecs: vec![Codec::Mulaw],
            ..office
        };
        change(&scene, &[put(off)]).await;
        scene.talk(TALK).await;
        phone.hang_up();
        let (phone, user) = (
            reaches(&phone, Phase::Over).await,
            reaches(&user, Phase::Over).await,
        );
        for (speaker, listener) in [(&phone, &user), (&user, &phone)] {
            let measured = scene.heard(speaker, listener);
            assert!(
                measured.similarity > 0.8 && measured.skips == 0,
                "{measured:?}"
            );
        }
        scene.settles_at(0).await;
    });
}

/// Takes a connection and the REGISTER on it, which is granted an hour.
async fn registered(listener: &TcpListener) -> TcpStream {
    let (mut connection, _) = listener.accept().await.unwrap();
    let mut octets = Vec::new();
    loop {
        let mut more = [0; 2048];
        let length = connection.read(&mut more).await.unwrap();
        assert_ne!(length, 0, "{}", String::from_utf8_lossy(&octets));
        octets.extend_from_slice(&more[..length]);
        if octets.ends_with(b"\r\n\r\n") {
            break;
        }
    }
    let Parsed::Message(Message::Request(request)) = sip::parse(&octets) else {
        panic!("{}", String::from_utf8_lossy(&octets));
    };
    assert_eq!(request.method, Method::Register);
    let mut response = respond(&request, 200, "", Some("pbx"));
    response.headers.push(HeaderName::Expires, 3600);
    connection.write_all(&response.encode()).await.unwrap();
    connection
}

#[test]
fn an_account_whose_connection_ends_registers_over_a_new_one() {
    play(async {
        let scene = Scene::new().await;
        let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.unwrap();
        let address = listener.local_addr().unwrap();
        let kind = TrunkKind::OutboundRegister {
            login: "1001".to_owned(),
            password: Secret::new("one".to_owned()),
            domain: address.to_string().parse().unwrap(),
            proxy: None,
            auth_user: None,
        };
        let trunk = TrunkSpec {
            transport: model::Transport::Tcp,
            ..TrunkSpec::new(name(), kind)
        };
        change(&scene, &[put(trunk), pair()]).await;
        let connection = registered(&listener).await;
        becomes(&scene, "trunk_up{trunk=\"branch\"}", 1.0).await;
        drop(connection);
        let again = tokio::time::timeout(Duration::from_secs(20), registered(&listener)).await;
        assert!(again.is_ok(), "nobody can call it for an hour");
    });
}

#[test]
fn an_account_leaves_its_registrar_when_it_is_removed_and_not_when_it_goes_on() {
    play(async {
        let scene = Scene::new().await;
        let pbx = Pbx::start(Habit::Ring).await;
        let account = |password: &str| {
            let kind = TrunkKind::OutboundRegister {
                login: "1001".to_owned(),
                password: Secret::new(password.to_owned()),
                domain: pbx.address.to_string().parse().unwrap(),
                proxy: None,
                auth_user: None,
            };
            TrunkSpec::new(name(), kind)
        };
        change(&scene, &[put(account("one")), pair()]).await;
        becomes(&scene, "trunk_up{trunk=\"branch\"}", 1.0).await;
        assert_eq!(pbx.registered().len(), 1);
        let more = TrunkSpec {
            lines: 3,
            ..account("one")
        };
        change(&scene, &[put(more)]).await;
        change(&scene, &[put(account("two"))]).await;
        for _ in 0..200 {
            if pbx.registered().len() >= 2 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        becomes(&scene, "trunk_up{trunk=\"branch\"}", 1.0).await;
        let said = pbx.registered();
        assert!(
            said.len() == 2 && !said.contains(&"0".to_owned()),
            "{said:?}"
        );
        let routes = Change::RemoveRoute(name(), session());
        change(&scene, &[routes, Change::RemoveTrunk(name())]).await;
        for _ in 0..200 {
            if pbx.registered().last().is_some_and(|last| last == "0") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{:?}", pbx.registered());
    });
}

/// Nobody is to be woken for what its owner has switched off.
#[test]
fn what_is_switched_off_by_its_owner_is_known_to_who_reads_the_metrics() {
    play(async {
        let scene = Scene::new().await;
        let enabled = |label: &str, name: &str| scene.number(&format!("{label}_enabled{{{name}}}"));
        let (trunk, session) = ("trunk=\"office\"", "session=\"gateway\"");
        assert!(enabled("trunk", trunk) > 0.5);
        assert!(enabled("telegram_session", session) > 0.5);
        let mut trunks = scene.store.trunks().unwrap();
        let mut sessions = scene.store.sessions().unwrap();
        for on in [false, true] {
            trunks[0].enabled = on;
            sessions[0].enabled = on;
            let session = Change::PutSession(sessions[0].clone());
            change(&scene, &[put(trunks[0].clone()), session]).await;
            let on = f64::from(u8::from(on));
            becomes(&scene, "trunk_enabled{trunk=\"office\"}", on).await;
            becomes(&scene, "telegram_session_enabled{session=\"gateway\"}", on).await;
        }
    });
}

#[test]
fn a_session_that_is_switched_off_stays_for_its_call_and_takes_no_other() {
    play(async {
        let scene = Scene::new().await;
        let (phone, user) = scene.phone_calls("alice").await;
        let spec = scene.store.sessions().unwrap().remove(0);
        let off = SessionSpec {
            enabled: false,
            ..spec
        };
        change(&scene, &[Change::PutSession(off)]).await;
        let refused = reaches(&scene.phone.dial("bobby"), Phase::Over).await;
        let end = format!("{:?}", refused.end);
        assert!(end.contains("Session is not running"), "{end}");
        assert!(scene.house.is_connected(&session()));
        scene.talk(TALK).await;
        user.hang_up();
        reaches(&phone, Phase::Over).await;
        scene.settles_at(0).await;
        for _ in 0..400 {
            if !scene.house.is_connected(&session()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("its connection stays");
    });
}

#[test]
fn a_change_while_the_registry_is_dead_is_found_by_the_next_one() {
    play(async {
        let scene = Scene::with(Simulation::default(), &[put(branch(PASSWORD)), pair()]).await;
        let other = second_phone(&scene).await;
        registers(&other, PASSWORD, 200).await;
        let registry = scene.house.common.registry.open().unwrap();
        let _ = registry.send(Crash).await;
        let off = TrunkSpec {
            enabled: false,
            ..branch(PASSWORD)
        };
        change(&scene, &[put(off)]).await;
        becomes(&scene, "trunk_up{trunk=\"branch\"}", 0.0).await;
        for _ in 0..200 {
            if let Some(registry) = scene.house.common.registry.open()
                && let Ok(children) = registry.send(Supervised).await
                && children.trunks.iter().filter(|it| it.connected()).count() == 1
            {
                assert_eq!(other.register(PASSWORD, 3600).await.status, 403);
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the trunk that is off lives on");
    });
}
