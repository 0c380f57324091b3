//! The judges themselves: the peers talk with each other, without the switch between them.

use serde_json::Value;

use crate::deadline::s;
use crate::house::{HEARD, PBX_TONE, TELEGRAM_TONE, folder};
use crate::pbx::{Baresip, Phone, Sipp};
use crate::telegram::{Behaviour, Server, Talker, Voice};

fn two_telegram_users_hear_each_other(version: &str) {
    let dir = folder();
    let mut server = Server::start(&dir);
    server.user("alice", "15550003", &Behaviour::rings());
    server.user("bobby", "15550002", &Behaviour::accepts().speaking(version));
    let voice = Voice {
        says: PBX_TONE,
        hears: TELEGRAM_TONE,
        seconds: HEARD,
    };
    let mut alice = Talker::start(&dir, &server, "alice", voice);
    let mut bobby = Talker::start(
        &dir,
        &server,
        "bobby",
        Voice {
            says: TELEGRAM_TONE,
            hears: PBX_TONE,
            ..voice
        },
    );
    let call = server.call("alice", "bobby", version);
    server.wait_call(&call, "established", s(10));
    alice.wait_heard(s(20));
    bobby.wait_heard(s(20));
    bobby.hang_up(&server, "bobby", &call);
    alice.finish();
    server.assert_clean(&[]);
    assert!(server.is_running());
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn two_telegram_users_hear_each_other_by_9_0_0() {
    two_telegram_users_hear_each_other("9.0.0");
}

#[test]
fn two_telegram_users_hear_each_other_by_13_0_0() {
    two_telegram_users_hear_each_other("13.0.0");
}

#[test]
fn a_phone_hears_its_own_tone_from_an_echo_and_no_other() {
    let dir = folder();
    let echo = Sipp::new(&dir, "echo").echo().pause(s(0)).start("uas");
    let phone = Phone {
        server: ([127, 0, 0, 1], echo.port()).into(),
        login: "1001".into(),
        password: "secret".into(),
        registers: false,
        codecs: "pcma".into(),
        answers: true,
        ptime: 20,
        srtp: "no",
        says: PBX_TONE,
        port: 0,
    };
    let mut phone = Baresip::start(&dir, "phone", &phone);
    phone.dial("600");
    phone.wait_established();
    crate::deadline::within(s(3), || None::<()>);
    phone.hang_up();
    echo.wait(s(5)).expect_ok();
    phone.assert_heard(PBX_TONE, HEARD);
    assert!(phone.heard().tone_seconds(f64::from(TELEGRAM_TONE)) < 0.2);
    drop(phone);
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn a_refusal_is_read_word_for_word() {
    let dir = folder();
    let pbx = Sipp::new(&dir, "pbx")
        .key("code", "470")
        .key("reason", "Anonymous user")
        .start("uas_reject");
    let to = ([127, 0, 0, 1], pbx.port()).into();
    let caller = Sipp::new(&dir, "caller")
        .to(to)
        .number("bobby")
        .key("code", "470")
        .run("uac_refused");
    assert_eq!(
        caller.expect_ok().last_final().start(),
        "470 Anonymous user"
    );
    assert!(caller.last_final().header("Call-ID").is_some());
    pbx.wait(s(5)).expect_ok();
    let caller = Sipp::new(&dir, "other")
        .to(to)
        .number("bobby")
        .key("code", "404")
        .limit(s(2))
        .run("uac_refused");
    assert!(!caller.ok, "nobody answers there any more");
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn a_talker_who_hears_nothing_fails() {
    let dir = folder();
    let server = Server::start(&dir);
    server.user("alice", "15550003", &Behaviour::rings());
    server.user("bobby", "15550002", &Behaviour::accepts().speaking("9.0.0"));
    let deaf = Voice {
        says: PBX_TONE,
        hears: 1_000,
        seconds: 1.0,
    };
    let mut alice = Talker::start_with(&dir, &server, "alice", deaf, &["--duration", "2"]);
    let bobby = Talker::start(
        &dir,
        &server,
        "bobby",
        Voice {
            says: TELEGRAM_TONE,
            hears: PBX_TONE,
            seconds: 0.5,
        },
    );
    server.call("alice", "bobby", "9.0.0");
    let result: Value = alice.wait("result", s(20));
    assert_eq!(result["exit"], 6, "{result}");
    bobby.finish();
    std::fs::remove_dir_all(dir).unwrap();
}
