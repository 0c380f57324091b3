//! A Telegram user in a browser, who comes to another network during the call: his client restarts ICE (telegram-calls 7.2).
//!
//! ntgcalls never does; `web_client.py` before it does for it. DTLS, SRTP and audio are libwebrtc's throughout.

use std::time::Instant;

use serde_json::Value;

use crate::deadline::s;
use crate::house::{House, PBX_TONE, SESSION, TELEGRAM_TONE};
use crate::pbx::Baresip;
use crate::talk::{ALAW, Caller, Talk};
use crate::telegram::{Behaviour, Talker, Voice};

/// How often he comes to another network.
const ROUNDS: u64 = 3;
/// Seconds of the PBX's tone he must have heard: some before, the most of it after each of the restarts.
const HEARD_IN_ALL: f64 = 9.0;
/// Seconds of his that the phone may miss in all: the beginning of the call, and a moment at each restart.
const MISSED: f64 = 2.0;
/// So long after a restart he hears the PBX again by his new sockets, at the latest: our check of the new pair has succeeded. Libwebrtc nominates it only with its next check, up to 2.5 s later.
const RESUMED_MS: u64 = 1_000;
const RESTARTS: &str = "strowger_telegram_ice_restarts_total";

/// Both are up, and he has heard the PBX.
fn talk(caller: Caller) -> Talk {
    let house = House::new().registering_trunk(&["alaw"]).start();
    house.wait_session_up();
    let mut phone = Baresip::start(house.dir(), "phone", &house.phone_settings(ALAW[1]));
    let behaviour = Behaviour::accepts().speaking("9.0.0");
    house.telegram.user("bobby", "15550002", &behaviour);
    let voice = Voice {
        says: TELEGRAM_TONE,
        hears: PBX_TONE,
        seconds: HEARD_IN_ALL,
    };
    let mut talker = Talker::start_web(house.dir(), &house.telegram, "bobby", voice);
    let call = match caller {
        Caller::Pbx => {
            phone.dial("bobby");
            house.telegram.next_call(0, s(10))
        }
        Caller::Telegram => house.telegram.call("bobby", SESSION, "9.0.0"),
    };
    house.telegram.wait_call(&call, "established", s(15));
    phone.wait_established();
    talker.wait("carried", s(20));
    Talk {
        house,
        phone,
        talker,
        call,
    }
}

fn restarts_and_goes_on(caller: Caller) {
    let mut talk = talk(caller);
    for round in 1..=ROUNDS {
        let begun = Instant::now();
        talk.talker.obey("restart_ice");
        for event in ["ice_restart", "answered", "carried"] {
            let is_of_round = |event: &Value| event["n"] == round;
            talk.talker.wait_which(event, s(15), is_of_round);
        }
        let is_media = |event: &Value| event["n"] == round && event["way"] == "in";
        let first = talk.talker.wait_which("first", s(15), is_media);
        let resumed = first["ms"].as_u64().unwrap();
        eprintln!("{caller:?}, restart {round}: media after {resumed} ms");
        assert!(resumed <= RESUMED_MS, "{first}");
        let took = begun.elapsed();
        assert!(took < s(10), "50 packets each way took {took:?}");
        talk.house
            .wait_metric_above(RESTARTS, &[], round as f64 - 0.5);
    }
    // Longer than the peer's or our own patience with a path that is dead.
    talk.talker.wait_heard(s(30));
    assert!(!talk.phone.has("CALL_CLOSED"), "the call has ended");
    let told = "the Telegram user's client restarts ICE";
    let log = talk.house.log();
    assert_eq!(log.matches(told).count() as u64, ROUNDS, "{log}");
    let Talk {
        mut house,
        mut phone,
        mut talker,
        call,
    } = talk;
    house.telegram.discard("bobby", &call, "hangup");
    phone.wait_closed();
    let paths = talker.wait("paths", s(10));
    talker.finish();
    // Each of them carried both ways, and the phone heard him all the time, but for a moment at each restart.
    let paths = paths["packets"].as_array().unwrap();
    assert_eq!(paths.len() as u64, ROUNDS + 1);
    for path in paths {
        let carried = ["in", "out"].map(|way| path[way].as_u64().unwrap());
        assert!(carried.iter().all(|&packets| packets >= 50), "{paths:?}");
    }
    let heard = phone.heard();
    let (tone, all) = (
        heard.tone_seconds(f64::from(TELEGRAM_TONE)),
        heard.seconds(),
    );
    assert!(tone > all - MISSED, "{tone} s of {all} s, {paths:?}");
    house.assert_clean(&[]);
}

#[test]
fn a_web_client_that_we_call_restarts_ice_and_the_talk_goes_on() {
    restarts_and_goes_on(Caller::Pbx);
}

#[test]
fn a_web_client_that_calls_restarts_ice_and_the_talk_goes_on() {
    restarts_and_goes_on(Caller::Telegram);
}
