//! What `strowger trunk snippet` prints is pasted into a PBX, and calls go both ways.

use std::fs;
use std::path::{Path, PathBuf};

use super::{ASTERISK_TONE, heard};
use crate::deadline::s;
use crate::house::{HEARD, House, HouseBuilder, PASSWORD, SESSION, TELEGRAM_TONE, TRUNK};
use crate::pbx::{Asterisk, Kamailio, Phone};
use crate::telegram::{Behaviour, Talker, Voice};

/// The number of the PBX that plays a tone and records.
const PLAYS_AND_RECORDS: &str = "619";

/// Prints the text for a PBX and writes each of its files into a folder, under the name it has there.
fn pasted(house: &House, pbx: &str, comment: &str) -> PathBuf {
    let text = house.expect_command(&["trunk", "snippet", TRUNK, "--for", pbx], "");
    let dir = house.dir().join("pasted");
    fs::create_dir_all(&dir).unwrap();
    let begins = format!("{comment} ==== ");
    for file in text.split(&begins).skip(1) {
        let (path, lines) = file.split_once(" ====\n").expect("a head and its lines");
        let name = Path::new(path).file_name().unwrap();
        fs::write(dir.join(name), lines).unwrap();
    }
    dir
}

/// A Telegram user who answers, with a voice.
fn talker(house: &House, user: &str, phone: &str) -> Talker {
    let behaviour = Behaviour::accepts().speaking("13.0.0");
    house.telegram.user(user, phone, &behaviour);
    let voice = Voice {
        says: TELEGRAM_TONE,
        hears: ASTERISK_TONE,
        seconds: 2.0 * HEARD + 1.0,
    };
    Talker::start(house.dir(), &house.telegram, user, voice)
}

/// Asterisk as printed: it calls a Telegram user, and is called by another one.
fn asterisk_as_printed(house: HouseBuilder, port: u16) {
    let mut house = house.build();
    let dir = pasted(&house, "asterisk-pjsip", ";");
    house.start();
    let file = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    let (pjsip, extensions) = (file("pjsip.conf"), file("extensions.conf"));
    let args = ["--pjsip", &pjsip, "--extensions", &extensions];
    let asterisk = Asterisk::on(house.dir(), port, &args);
    house.wait_session_up();
    house.wait_metric("strowger_trunk_up", &[("trunk", TRUNK)], 1.0);

    let mut bobby = talker(&house, "bobby", "15550002");
    asterisk.cli("channel originate Local/tgbobby@to-strowger/n extension 619@services");
    let call = house.telegram.next_call(0, s(15));
    bobby.wait_heard(s(25));
    bobby.hang_up(&house.telegram, "bobby", &call);
    heard(&asterisk);

    let mut carol = talker(&house, "carol", "15550003");
    let call = house.telegram.call("carol", SESSION, "13.0.0");
    carol.wait_heard(s(25));
    carol.hang_up(&house.telegram, "carol", &call);
    heard(&asterisk);
    house.assert_clean(&[]);
}

#[test]
fn asterisk_registers_as_printed_and_both_call() {
    let house = House::new()
        .number(PLAYS_AND_RECORDS)
        .registering_trunk(&["alaw", "opus"]);
    asterisk_as_printed(house, crate::ports::one());
}

#[test]
fn asterisk_that_we_register_at_as_printed_and_both_call() {
    let port = crate::ports::one();
    let house = House::new()
        .number(PLAYS_AND_RECORDS)
        .outbound_trunk(port, &["g722", "alaw"]);
    asterisk_as_printed(house, port);
}

#[test]
fn asterisk_known_by_its_address_as_printed_and_both_call_by_tcp() {
    let house = House::new()
        .number(PLAYS_AND_RECORDS)
        .by("tcp")
        .peer_trunk(&["opus", "mulaw"]);
    let port = house.peer_port();
    asterisk_as_printed(house, port);
}

/// Kamailio as printed in front of a phone, with which Telegram users talk both ways; `dialled` reaches one of them.
fn kamailio_as_printed(house: HouseBuilder, port: u16, dialled: &str) {
    let mut house = house.build();
    let dir = pasted(&house, "kamailio", "#");
    let kamailio = house.dir().join("kamailio");
    fs::create_dir_all(&kamailio).unwrap();
    let list = dir.join("dispatcher.list");
    if list.exists() {
        fs::copy(list, kamailio.join("dispatcher.list")).unwrap();
    }
    let routes = dir.join("strowger.cfg");
    let accounts = ["1001", "2002"].map(|user| format!("{user}:{PASSWORD}"));
    let args = [
        "--include",
        routes.to_str().unwrap(),
        "--user",
        &accounts[0],
        "--user",
        &accounts[1],
    ];
    let kamailio = Kamailio::on(house.dir(), port, &args);
    house.start();
    house.wait_session_up();
    house.wait_metric("strowger_trunk_up", &[("trunk", TRUNK)], 1.0);
    let mut phone = house.phone_at(&Phone {
        server: kamailio.address(),
        login: "2002".into(),
        registers: true,
        port: 0,
        ..house.phone_settings("pcma")
    });

    let mut bobby = house.bobby("13.0.0");
    phone.dial(dialled);
    let call = house.telegram.next_call(0, s(15));
    phone.wait_established();
    bobby.wait_heard(s(25));
    bobby.hang_up(&house.telegram, "bobby", &call);
    phone.wait_closed();

    let mut bobby = house.talker("bobby");
    let call = house.telegram.call("bobby", SESSION, "13.0.0");
    bobby.wait_heard(s(25));
    bobby.hang_up(&house.telegram, "bobby", &call);
    let byes = kamailio.seen("BYE");
    assert_eq!(byes.len(), 2, "both calls ended through it: {byes:?}");
    house.assert_clean(&[]);
}

#[test]
fn calls_pass_through_kamailio_known_by_its_address_as_printed() {
    let house = House::new().number("2002").peer_trunk(&["alaw"]);
    let port = house.peer_port();
    kamailio_as_printed(house, port, "tgbobby");
}

#[test]
fn calls_pass_through_kamailio_that_we_register_at_as_printed() {
    let port = crate::ports::one();
    let house = House::new().number("2002").outbound_trunk(port, &["alaw"]);
    kamailio_as_printed(house, port, "+15550002");
}
