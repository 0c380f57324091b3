//! Calls whose ends may not meet: TURN and reflectors.

use std::net::SocketAddr;
use std::time::Instant;

use serde_json::json;

use crate::deadline::{s, until, within};
use crate::house::{HEARD, House, MEDIA_ADDRESS, PBX_TONE, SESSION, TELEGRAM_TONE};
use crate::pbx::{Baresip, Sipp};
use crate::ports;
use crate::talk::{ALAW, Caller, Ends, OPUS, Talk};
use crate::telegram::{Behaviour, Relay, Talker, Voice};

/// A house whose calls have this relay and, where `is_direct` is false, nothing else.
pub(crate) fn house_with(house: House, relay: &Relay, is_direct: bool) -> House {
    relay.offered_by(&house.telegram);
    if !is_direct {
        let nobody = json!({"privacy": {"PhoneP2P": "nobody"}});
        house.telegram.patch_account(SESSION, &nobody);
    }
    house
}

pub(crate) fn office() -> House {
    House::new().registering_trunk(&["alaw", "opus"]).start()
}

pub(crate) fn assert_path(house: &House, path: &str, calls: f64) {
    let name = "strowger_telegram_call_paths_total";
    let metrics = house.metrics();
    assert_eq!(metrics.value(name, &[("path", path)]), Some(calls));
    assert!((metrics.sum(name) - calls).abs() < 0.1, "other paths too");
}

fn through_turn(caller: Caller, version: &str) {
    let house = office();
    let turn = Relay::turn(house.dir(), &[]);
    let house = house_with(house, &turn, false);
    let ends = match caller {
        Caller::Pbx => Ends::Pbx,
        Caller::Telegram => Ends::Telegram,
    };
    let house = Talk::start_in(house, caller, version, ALAW).end(ends);
    assert_path(&house, "relay_udp", 1.0);
    // Ours, and ntgcalls' own: one is given back at the end, the other as ntgcalls likes.
    until("the allocation to be given back", s(5), || {
        turn.log().contains("lifetime=0").then_some(())
    });
}

#[test]
fn pbx_calls_through_turn_by_9_0_0_and_both_hear_each_other() {
    through_turn(Caller::Pbx, "9.0.0");
}

#[test]
fn pbx_calls_through_turn_by_13_0_0_and_both_hear_each_other() {
    through_turn(Caller::Pbx, "13.0.0");
}

#[test]
fn telegram_user_calls_through_turn_by_9_0_0_and_both_hear_each_other() {
    through_turn(Caller::Telegram, "9.0.0");
}

#[test]
fn telegram_user_calls_through_turn_by_13_0_0_and_both_hear_each_other() {
    through_turn(Caller::Telegram, "13.0.0");
}

fn through_a_reflector(caller: Caller, version: &str) {
    let house = office();
    let reflector = Relay::reflector(house.dir());
    let house = house_with(house, &reflector, false);
    let house = Talk::start_in(house, caller, version, OPUS).end(Ends::Pbx);
    assert_path(&house, "relay_udp", 1.0);
}

#[test]
fn pbx_calls_through_a_reflector_by_13_0_0_and_both_hear_each_other() {
    through_a_reflector(Caller::Pbx, "13.0.0");
}

#[test]
fn telegram_user_calls_through_a_reflector_by_9_0_0_and_both_hear_each_other() {
    through_a_reflector(Caller::Telegram, "9.0.0");
}

/// A call to bobby that is up; what the switch signalled to him, decrypted.
fn signalled(house: &House, version: &str) -> (Baresip, Talker, Vec<String>) {
    house.wait_session_up();
    house
        .telegram
        .user("bobby", "15550002", &Behaviour::accepts().speaking(version));
    let voice = Voice {
        says: TELEGRAM_TONE,
        hears: PBX_TONE,
        seconds: HEARD,
    };
    let dir = house.dir();
    let mut talker = Talker::start_with(dir, &house.telegram, "bobby", voice, &["--trace"]);
    let mut phone = house.phone("pcma");
    phone.dial("bobby");
    phone.wait_established();
    talker.wait_heard(s(20));
    let traces = talker.seen("trace").into_iter();
    let received = traces.filter(|trace| trace["dir"] == "in");
    let texts: Vec<String> = received.map(ToString::to_string).collect();
    assert!(texts.iter().any(|text| text.contains("InitialSetup")));
    (phone, talker, texts)
}

#[test]
fn the_setting_p2p_alone_keeps_our_side_behind_the_relay_and_our_address_secret() {
    let mut house = House::new()
        .registering_trunk(&["alaw"])
        .setting("telegram.p2p = false")
        .start();
    let turn = Relay::turn(house.dir(), &[]);
    turn.offered_by(&house.telegram);
    let (mut phone, talker, texts) = signalled(&house, "13.0.0");
    assert!(texts.iter().any(|text| text.contains("typ relay")));
    for secret in ["typ host", MEDIA_ADDRESS] {
        assert!(
            texts.iter().all(|text| !text.contains(secret)),
            "{texts:#?}"
        );
    }
    phone.hang_up();
    talker.finish();
    assert_path(&house, "relay_udp", 1.0);
    house.assert_clean(&[]);
}

#[test]
fn a_translated_address_is_told_and_a_port_of_the_range_is_used() {
    let range = ports::block(20);
    let (first, last) = (range, range + 19);
    let mut house = House::new()
        .registering_trunk(&["alaw"])
        .setting("telegram.public_address = \"198.51.100.9\"")
        .setting(&format!("telegram.media_range = \"{first}-{last}\""))
        .start();
    let (mut phone, talker, texts) = signalled(&house, "9.0.0");
    let host = texts.iter().find(|text| text.contains("typ host")).unwrap();
    assert!(
        host.contains(" 198.51.100.9 ") && !host.contains(MEDIA_ADDRESS),
        "{host}"
    );
    let ours = house.udp_sockets().into_iter();
    let media: Vec<_> = ours
        .filter(|socket| socket.ip().to_string() == MEDIA_ADDRESS)
        .collect();
    assert_eq!(media.len(), 1, "{media:?}");
    assert!((first..=last).contains(&media[0].port()), "{media:?}");
    phone.hang_up();
    talker.finish();
    house.assert_clean(&[]);
}

#[test]
fn ends_that_may_meet_do_so_although_relays_are_offered() {
    let house = office();
    let turn = Relay::turn(house.dir(), &[]);
    let house = house_with(house, &turn, true);
    let house = Talk::start_in(house, Caller::Telegram, "13.0.0", ALAW).end(Ends::Telegram);
    assert_path(&house, "p2p", 1.0);
}

fn through_a_tcp_reflector(caller: Caller, version: &str) {
    let house = office();
    let reflector = Relay::tcp_reflector(house.dir());
    let house = house_with(house, &reflector, false);
    let house = Talk::start_in(house, caller, version, ALAW).end(Ends::Pbx);
    assert_path(&house, "relay_tcp", 1.0);
}

#[test]
fn pbx_calls_through_a_tcp_reflector_by_9_0_0_and_both_hear_each_other() {
    through_a_tcp_reflector(Caller::Pbx, "9.0.0");
}

#[test]
fn telegram_user_calls_through_a_tcp_reflector_by_13_0_0_and_both_hear_each_other() {
    through_a_tcp_reflector(Caller::Telegram, "13.0.0");
}

/// The connections of the switch to a reflector.
fn connections_to(house: &House, reflector: &Relay) -> Vec<SocketAddr> {
    let log = reflector.log();
    let known = log.lines().filter(|line| line.contains(' '));
    let known: Vec<&str> = known.filter_map(|line| line.rsplit(' ').next()).collect();
    let ours = house.tcp_sockets().into_iter();
    ours.filter(|socket| known.contains(&socket.to_string().as_str()))
        .collect()
}

#[test]
fn a_tcp_reflector_whose_connection_breaks_is_connected_anew() {
    let house = office();
    let reflector = Relay::tcp_reflector(house.dir());
    let house = house_with(house, &reflector, false);
    let mut talk = Talk::start_in(house, Caller::Telegram, "13.0.0", ALAW);
    let name = "strowger_rtp_packets_total";
    let labels = [("leg", "telegram"), ("direction", "in")];
    for round in 1..=2 {
        let ours = connections_to(&talk.house, &reflector);
        assert_eq!(ours.len(), 1, "{ours:?}\n{}", reflector.log());
        reflector.drop_connection(ours[0]);
        until("the switch to be there again", s(10), || {
            (reflector.log().matches("again ").count() >= round).then_some(())
        });
        let heard = talk.house.metrics().sum_of(name, &labels);
        // 60 ms a packet: three seconds.
        talk.house.wait_metric_above(name, &labels, heard + 50.0);
        assert!(!talk.phone.has("CALL_CLOSED"), "the call has ended");
    }
    let house = talk.end(Ends::Pbx);
    assert_path(&house, "relay_tcp", 1.0);
}

#[test]
fn reflectors_whose_tags_the_server_has_fixed_carry_calls_in_both_roles() {
    let mut house = office();
    let reflector = Relay::reflector(house.dir());
    house = house_with(house, &reflector, false);
    let fixed = r#"{"network_standalone_reflectors":true}"#;
    house.telegram.set(json!({"custom_parameters": fixed}));
    house = Talk::start_in(house, Caller::Pbx, "13.0.0", ALAW).end(Ends::Pbx);
    house = Talk::start_in(house, Caller::Telegram, "9.0.0", ALAW).end(Ends::Telegram);
    assert_path(&house, "relay_udp", 2.0);
    // `end ID ADDRESS`; the last four octets of an id are its tag, 1 or 2 in little-endian.
    let log = reflector.log();
    let tags = log.lines().filter_map(|line| {
        let id = line.strip_prefix("end ")?.split(' ').next()?;
        Some(id.get(24..)?.to_owned())
    });
    let mut tags: Vec<String> = tags.collect();
    tags.sort_unstable();
    tags.dedup();
    assert_eq!(tags, ["01000000", "02000000"], "{log}");
}

#[test]
fn of_several_relays_those_that_work_are_used() {
    let house = office();
    let (turn, reflector) = (Relay::turn(house.dir(), &[]), Relay::reflector(house.dir()));
    // Nobody listens there; nor at the other address.
    let mut silent = [turn.connection(), turn.connection()];
    silent[0]["port"] = json!(ports::one());
    silent[1]["ip"] = json!(MEDIA_ADDRESS);
    let [first, second] = silent;
    let house = house_with(house, &turn, false);
    let mut closed = reflector.connection();
    closed["tcp"] = json!(true);
    closed["port"] = json!(ports::one());
    let all = [
        first,
        second,
        closed,
        reflector.connection(),
        turn.connection(),
    ];
    house.telegram.set(json!({"connections": all}));
    let house = Talk::start_in(house, Caller::Pbx, "13.0.0", ALAW).end(Ends::Telegram);
    assert_path(&house, "relay_udp", 1.0);
}

#[test]
fn a_call_that_may_use_relays_alone_and_has_none_that_answers_is_refused_at_once() {
    let house = House::new().peer_trunk(&["alaw"]).start();
    let turn = Relay::turn(house.dir(), &[]);
    let mut wrong = turn.connection();
    wrong["password"] = json!("another");
    let mut house = house_with(house, &turn, false);
    house.telegram.set(json!({"connections": [wrong]}));
    house.wait_session_up();
    house
        .telegram
        .user("bobby", "15550002", &Behaviour::accepts().speaking("9.0.0"));
    let pbx = Sipp::on(house.dir(), "pbx", house.peer_port())
        .to(house.sip())
        .number("bobby");
    let began = Instant::now();
    let verdict = pbx.key("code", "503").run("uac_refused");
    verdict.expect_ok();
    assert!(began.elapsed() < s(10), "{:?}", began.elapsed());
    let call = house.telegram.next_call(0, s(1));
    let ended = house.telegram.wait_call(&call, "discarded", s(2));
    assert_eq!(ended["reason"], "disconnect");
    house.assert_clean(&[]);
}

#[test]
fn a_short_loss_of_media_is_survived_and_a_long_one_ends_the_call() {
    let house = office();
    let turn = Relay::turn(house.dir(), &[]);
    let house = house_with(house, &turn, false);
    let talk = Talk::start_in(house, Caller::Pbx, "13.0.0", ALAW);
    let (mut house, mut phone) = (talk.house, talk.phone);
    let name = "strowger_rtp_packets_total";
    let labels = [("leg", "telegram"), ("direction", "in")];
    turn.pause();
    // Nothing tells that nothing comes.
    let ended = within(s(9), || phone.has("CALL_CLOSED").then_some(()));
    assert_eq!(ended, None, "nine seconds ended the call");
    turn.resume();
    // 60 ms a packet: three seconds, more than what waited in a socket of the relay.
    let heard = house.metrics().sum_of(name, &labels);
    house.wait_metric_above(name, &labels, heard + 200.0);

    let cut = Instant::now();
    turn.pause();
    let ended = house.telegram.wait_call(&talk.call, "discarded", s(30));
    let after = cut.elapsed();
    assert!(after > s(18) && after < s(25), "{after:?}");
    assert_eq!(ended["reason"], "disconnect", "{ended}");
    phone.wait_closed();
    house.assert_clean(&[]);
    house.stop();
    let record = &house.records()[0];
    assert_eq!(record["ended_by"], "telegram", "{record}");
}
