//! Calls of Telegram users: what the PBX is told, which trunks ring, who wins.

use std::time::Duration;

use model::{CallRecord, Outcome, SessionSpec, TrunkSpec};
use net::fake::{Line, Phase, PhoneManner, Simulation};
use sip::{HeaderName, Method};
use store::Change;

use super::crash::Crash;
use super::pbx::{Habit, Pbx, added};
use super::scene::{PATIENCE, Scene, play, reaches, session};

/// A scene whose session has these trunks beside the phone's, which has priority 100.
pub(super) async fn scene(trunks: Vec<(TrunkSpec, u32)>) -> Scene {
    let records: Vec<Change> = trunks
        .into_iter()
        .flat_map(|(trunk, priority)| added(trunk, priority))
        .collect();
    Scene::with(Simulation::default(), &records).await
}

async fn hang_up(scene: &Scene, user: &Line) -> CallRecord {
    user.hang_up();
    reaches(user, Phase::Over).await;
    scene.settles_at(0).await;
    assert_eq!(scene.telegram.open_calls(), 0);
    let mut records = scene.records(1).await;
    records.remove(0)
}

/// How each leg towards a PBX ended, in the order they were made.
fn ends(record: &CallRecord) -> Vec<String> {
    let legs = record.legs.iter().skip(1);
    legs.map(|leg| format!("{} {} {}", leg.via, leg.code, leg.phrase))
        .collect()
}

#[test]
fn a_pbx_is_told_who_calls_by_the_rules_of_its_trunk() {
    play(async {
        let usual = Pbx::start(Habit::Refuse(486)).await;
        let own = Pbx::start(Habit::Refuse(486)).await;
        let nameless = Pbx::start(Habit::Refuse(486)).await;
        let mut records = added(usual.trunk("usual"), 1).to_vec();
        let mut trunk = own.trunk("own");
        trunk.number = Some("700".into());
        trunk.caller_id = "9{userid}".parse().unwrap();
        trunk.caller_name = "{name}, \"{username}\"".parse().unwrap();
        trunk.tg_headers = false;
        records.extend(added(trunk, 2));
        let mut trunk = nameless.trunk("nameless");
        trunk.caller_id = "".parse().unwrap();
        trunk.caller_name = "".parse().unwrap();
        records.extend(added(trunk, 3));
        let scene = Scene::with(Simulation::default(), &records).await;
        let (user, _) = scene.user_calls("bobby").await;

        let invite = usual.got(Method::Invite).await;
        assert_eq!(invite.uri.user().as_deref(), Some("s"));
        let from = invite.headers.from().unwrap();
        assert_eq!(from.uri.user().as_deref(), Some("+15551002000"));
        assert_eq!(from.display.as_deref(), Some("+15551002000 (bobby)"));
        let header = |name: &str| invite.headers.get(&HeaderName::from(name));
        let asserted = header("P-Asserted-Identity").unwrap();
        assert!(
            asserted.starts_with("\"+15551002000 (bobby)\" <sip:+15551002000@127.0.0.1:"),
            "{asserted}"
        );
        assert_eq!(header("X-TG-ID"), Some("1002"));
        assert_eq!(header("X-TG-FirstName"), Some("bobby"));
        assert_eq!(header("X-TG-LastName"), None);
        assert_eq!(header("X-TG-Username"), Some("bobby"));
        assert_eq!(header("X-TG-Phone"), Some("15551002000"));
        assert!(header("X-GW-Context").unwrap().starts_with("call-"));

        let invite = own.got(Method::Invite).await;
        assert_eq!(invite.uri.user().as_deref(), Some("700"));
        let from = invite.headers.from().unwrap();
        assert_eq!(from.uri.user().as_deref(), Some("91002"));
        assert_eq!(from.display.as_deref(), Some("bobby, \"bobby\""));
        let ours = invite.headers.iter().map(|(name, _)| name.as_str());
        assert_eq!(ours.filter(|name| name.starts_with("X-")).count(), 0);

        let invite = nameless.got(Method::Invite).await;
        let from = invite.headers.from().unwrap();
        assert_eq!(from.uri.user().as_deref(), Some("anonymous"));
        assert_eq!(from.display, None);
        assert!(!invite.headers.has(&HeaderName::PAssertedIdentity));

        user.hang_up();
        reaches(&user, Phase::Over).await;
        scene.settles_at(0).await;
    });
}

#[test]
fn trunks_of_equal_priority_ring_together_and_the_first_to_answer_wins() {
    play(async {
        let slow = Pbx::start(Habit::Ring).await;
        let busy = Pbx::start(Habit::Refuse(486)).await;
        let quick = Pbx::start(Habit::Answer(300)).await;
        let trunks = [(&slow, "slow"), (&busy, "busy"), (&quick, "quick")];
        let trunks = trunks.map(|(pbx, name)| (pbx.trunk(name), 50));
        let scene = scene(trunks.into()).await;
        let user = scene.telegram.call_account("bobby").unwrap();
        reaches(&user, Phase::Talking).await;
        scene.settles_at(1).await;
        let cancel = slow.got(Method::Cancel).await;
        assert_eq!(
            cancel.headers.get(&HeaderName::Reason),
            Some("SIP;cause=200;text=\"Call completed elsewhere\"")
        );
        let record = hang_up(&scene, &user).await;
        quick.got(Method::Bye).await;
        assert_eq!(slow.methods(), ["INVITE", "CANCEL", "ACK"]);
        assert_eq!(busy.methods(), ["INVITE", "ACK"]);
        assert_eq!(record.outcome, Some(Outcome::Answered));
        assert_eq!(record.trunk, "quick");
        assert!(record.to.contains(&quick.address.to_string()), "{record:?}");
        assert_eq!(
            ends(&record),
            [
                "busy 486 Busy Here",
                "quick 200 Normal Clearing",
                "slow 200 Call completed elsewhere",
            ]
        );
        let phone = scene.phone.next_call(Duration::ZERO).await;
        assert!(phone.is_none(), "its turn never came");
    });
}

#[test]
fn a_pbx_that_moves_its_audio_before_it_answers_is_heard_where_it_is() {
    play(async {
        let port = |socket: &std::net::UdpSocket| socket.local_addr().unwrap().port();
        let [first, second] = [(); 2]
            .map(|()| std::net::UdpSocket::bind((std::net::Ipv4Addr::LOCALHOST, 0)).unwrap());
        let pbx = Pbx::start(Habit::Moves(port(&first), port(&second))).await;
        let scene = scene(vec![(pbx.trunk("moves"), 50)]).await;
        let user = scene.telegram.call_account("bobby").unwrap();
        reaches(&user, Phase::Talking).await;
        for socket in [&first, &second] {
            socket.set_nonblocking(true).unwrap();
        }
        let mut packet = [0; 1500];
        let mut heard = false;
        for _ in 0..100 {
            heard = second.recv(&mut packet).is_ok();
            if heard {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(heard, "no audio where the PBX says that it is");
        assert!(first.recv(&mut packet).is_err(), "audio where it was");
        let record = hang_up(&scene, &user).await;
        assert_eq!(record.outcome, Some(Outcome::Answered));
        pbx.got(Method::Bye).await;
        assert_eq!(pbx.methods(), ["INVITE", "PRACK", "ACK", "BYE"]);
    });
}

#[test]
fn an_answer_that_comes_too_late_is_acknowledged_and_hung_up_on() {
    play(async {
        let late = Pbx::start(Habit::AnswerLate).await;
        let quick = Pbx::start(Habit::Answer(200)).await;
        let scene = scene(vec![(late.trunk("late"), 50), (quick.trunk("quick"), 50)]).await;
        let user = scene.telegram.call_account("bobby").unwrap();
        reaches(&user, Phase::Talking).await;
        late.got(Method::Bye).await;
        assert_eq!(late.methods(), ["INVITE", "CANCEL", "ACK", "BYE"]);
        scene.settles_at(1).await;
        assert_eq!(user.status().phase, Phase::Talking);
        let record = hang_up(&scene, &user).await;
        assert_eq!(record.trunk, "quick");
        quick.got(Method::Bye).await;
    });
}

#[test]
fn groups_are_tried_in_turn_and_the_best_failure_is_told() {
    play(async {
        let first = Pbx::start(Habit::Refuse(486)).await;
        let second = Pbx::start(Habit::Refuse(503)).await;
        let rings = Pbx::start(Habit::Ring).await;
        let silent = Pbx::start(Habit::Silent).await;
        let mut patient = rings.trunk("rings");
        patient.ring_seconds = 1;
        let mut waited = silent.trunk("silent");
        waited.ring_seconds = 1;
        let scene = scene(vec![
            (first.trunk("first"), 10),
            (second.trunk("second"), 20),
            (patient, 30),
            (waited, 30),
        ])
        .await;
        scene.phone.set_manner(PhoneManner::Refuse { status: 480 });
        let user = scene.telegram.call_account("bobby").unwrap();
        rings.got(Method::Cancel).await;
        reaches(&user, Phase::Over).await;
        scene.settles_at(0).await;
        let record = scene.records(1).await.remove(0);
        assert_eq!(record.outcome, Some(Outcome::Busy));
        let ends = ends(&record);
        assert_eq!(
            ends[..4],
            [
                "first 486 Busy Here",
                "second 503 Service Unavailable",
                "rings 480 No answer",
                "silent 408 Request Timeout",
            ]
        );
        assert!(ends[4].starts_with("office 480"), "{ends:?}");
        assert_eq!(ends.len(), 5);
        assert_eq!(scene.telegram.open_calls(), 0);
    });
}

/// What every trunk says is remembered, whatever the order: 486 before 480 before 603 before 404 before 503 before the rest.
#[test]
fn the_best_of_all_refusals_is_in_the_record() {
    for (codes, told) in [
        ([503, 404, 603, 480, 486], 486),
        ([480, 603, 404, 503, 500], 480),
        ([404, 603, 503, 488, 500], 603),
        ([503, 500, 404, 488, 402], 404),
        ([500, 503, 488, 402, 420], 503),
    ] {
        play(async move {
            let mut records = Vec::new();
            let mut pbxs = Vec::new();
            for (code, priority) in codes.into_iter().zip(1..) {
                let pbx = Pbx::start(Habit::Refuse(code)).await;
                // Two groups: some of these ring together.
                records.push((pbx.trunk(&format!("t{code}")), priority / 3));
                pbxs.push(pbx);
            }
            let scene = scene(records).await;
            // The last group, whose answer must not matter.
            scene.phone.set_manner(PhoneManner::Refuse { status: 488 });
            let user = scene.telegram.call_account("bobby").unwrap();
            reaches(&user, Phase::Over).await;
            scene.settles_at(0).await;
            let record = scene.records(1).await.remove(0);
            let asked = pbxs.iter().all(|pbx| pbx.methods() == ["INVITE", "ACK"]);
            assert!(asked, "{codes:?}: {record:?}");
            let best = record.legs.first().map(|leg| leg.code);
            assert_eq!(best, Some(told), "{codes:?}: {record:?}");
        });
    }
}

#[test]
fn a_6xx_ends_the_hunt_of_a_session_that_says_so() {
    play(async {
        let declines = Pbx::start(Habit::Refuse(603)).await;
        let rings = Pbx::start(Habit::Ring).await;
        let mut records = added(declines.trunk("declines"), 50).to_vec();
        records.extend(added(rings.trunk("rings"), 50));
        let session = SessionSpec {
            phone: "15550000".into(),
            stop_on_6xx: true,
            ..SessionSpec::new(session())
        };
        records.push(Change::PutSession(session));
        let scene = Scene::with(Simulation::default(), &records).await;
        let user = scene.telegram.call_account("bobby").unwrap();
        reaches(&user, Phase::Over).await;
        rings.got(Method::Cancel).await;
        scene.settles_at(0).await;
        let record = scene.records(1).await.remove(0);
        assert_eq!(record.outcome, Some(Outcome::Declined));
        assert_eq!(record.legs[0].code, 603, "{record:?}");
        let phone = scene.phone.next_call(Duration::ZERO).await;
        assert!(phone.is_none(), "its turn never came");
    });
}

#[test]
fn the_priority_of_the_trunk_decides_among_equal_routes() {
    play(async {
        let later = Pbx::start(Habit::Answer(0)).await;
        let sooner = Pbx::start(Habit::Refuse(404)).await;
        let mut trunk = sooner.trunk("sooner");
        trunk.priority = 99;
        let scene = scene(vec![(later.trunk("later"), 50), (trunk, 50)]).await;
        let user = scene.telegram.call_account("bobby").unwrap();
        reaches(&user, Phase::Talking).await;
        let record = hang_up(&scene, &user).await;
        assert_eq!(
            ends(&record),
            ["sooner 404 Not Found", "later 200 Normal Clearing"]
        );
    });
}

#[test]
fn a_trunk_without_a_free_line_is_passed_over_and_gets_its_line_back() {
    play(async {
        let small = Pbx::start(Habit::Answer(0)).await;
        let mut trunk = small.trunk("small");
        trunk.lines = 1;
        let scene = scene(vec![(trunk, 50)]).await;
        let first = scene.telegram.call_account("alice").unwrap();
        reaches(&first, Phase::Talking).await;
        // The only line is taken, so the phone rings.
        let (second, phone) = scene.user_calls("bobby").await;
        scene.settles_at(2).await;
        first.hang_up();
        reaches(&first, Phase::Over).await;
        scene.settles_at(1).await;
        let third = scene.telegram.call_account("alice").unwrap();
        reaches(&third, Phase::Talking).await;
        third.hang_up();
        second.hang_up();
        reaches(&third, Phase::Over).await;
        reaches(&phone, Phase::Over).await;
        scene.settles_at(0).await;
        let records = scene.records(3).await;
        let trunks: Vec<&str> = records.iter().map(|record| record.trunk.as_str()).collect();
        assert_eq!(trunks, ["small", "office", "small"]);
    });
}

#[test]
fn a_caller_who_gives_up_stops_every_phone() {
    play(async {
        let one = Pbx::start(Habit::Ring).await;
        let two = Pbx::start(Habit::Ring).await;
        let scene = scene(vec![(one.trunk("one"), 50), (two.trunk("two"), 50)]).await;
        let user = scene.telegram.call_account("bobby").unwrap();
        one.got(Method::Invite).await;
        two.got(Method::Invite).await;
        let record = hang_up(&scene, &user).await;
        one.got(Method::Cancel).await;
        two.got(Method::Cancel).await;
        assert_eq!(record.outcome, Some(Outcome::Cancelled));
    });
}

#[test]
fn a_hunt_outlives_the_registry() {
    play(async {
        let rings = Pbx::start(Habit::Ring).await;
        let mut patient = rings.trunk("rings");
        patient.ring_seconds = 2;
        let scene = scene(vec![(patient, 50)]).await;
        let user = scene.telegram.call_account("bobby").unwrap();
        rings.got(Method::Invite).await;
        let registry = scene.house.common.registry.open().unwrap();
        registry.do_send(Crash);
        let phone = scene.phone.next_call(PATIENCE).await.unwrap();
        reaches(&phone, Phase::Talking).await;
        reaches(&user, Phase::Talking).await;
        scene.settles_at(1).await;
        let record = hang_up(&scene, &user).await;
        assert_eq!(
            ends(&record),
            ["rings 480 No answer", "office 200 Normal Clearing"]
        );
    });
}

#[test]
fn what_is_wanted_of_a_registry_that_is_dead_is_asked_of_the_next() {
    play(async {
        let rings = Pbx::start(Habit::Ring).await;
        let mut patient = rings.trunk("rings");
        patient.ring_seconds = 1;
        let scene = scene(vec![(patient, 50)]).await;
        let user = scene.telegram.call_account("bobby").unwrap();
        rings.got(Method::Invite).await;
        // Dead when the second of ringing is over, and the phone's turn comes.
        tokio::time::sleep(Duration::from_millis(700)).await;
        let begun = tokio::time::Instant::now();
        while begun.elapsed() < Duration::from_millis(600) {
            if let Some(registry) = scene.house.common.registry.open() {
                registry.do_send(Crash);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let phone = scene.phone.next_call(PATIENCE).await.unwrap();
        reaches(&phone, Phase::Talking).await;
        reaches(&user, Phase::Talking).await;
        hang_up(&scene, &user).await;
    });
}

#[test]
fn a_peer_has_its_header_in_every_request_and_is_asked_whether_it_is_there() {
    play(async {
        let pbx = Pbx::start(Habit::Answer(0)).await;
        let marked = TrunkSpec {
            header: Some("X-Line:7".parse().unwrap()),
            qualify: true,
            ..pbx.trunk("marked")
        };
        let scene = scene(vec![(marked, 50)]).await;
        let user = scene.telegram.call_account("bobby").unwrap();
        reaches(&user, Phase::Talking).await;
        user.hang_up();
        for method in [Method::Invite, Method::Ack, Method::Bye, Method::Options] {
            let request = pbx.got(method.clone()).await;
            let value = request.headers.get(&HeaderName::from("X-Line"));
            assert_eq!(value, Some("7"), "{method}");
        }
        scene
            .counts(
                "sip_options_rtt_seconds{trunk=\"marked\"}",
                f64::MIN_POSITIVE,
            )
            .await;
        assert!(scene.number("trunk_up{trunk=\"marked\"}") > 0.5);
    });
}
