//! What survives the end of the process.

use crate::deadline::s;
use crate::house::{SESSION, TRUNK};
use crate::talk::{ALAW, Caller, Ends, Talk};

#[test]
fn kill_9_keeps_sessions_trunks_and_records_and_closes_the_open_call() {
    let talk = Talk::start(Caller::Pbx, "9.0.0", ALAW);
    let mut house = talk.house;
    house.kill();
    // The phone and the Telegram user go on to their own time-outs; here they are taken off at once.
    talk.phone.vanish();
    house.telegram.discard("bobby", &talk.call, "hangup");
    drop(talk.talker);

    house.start();
    house.wait_session_up();
    assert!(
        house
            .metrics()
            .value("strowger_trunk_lines_limit", &[("trunk", TRUNK)])
            .is_some()
    );
    let house = {
        let mut talk = Talk::start_in(house, Caller::Pbx, "9.0.0", ALAW);
        talk.house.assert_running();
        talk.end(Ends::Pbx)
    };
    let mut house = house;
    house.stop();
    let records = house.records();
    assert_eq!(records.len(), 2, "{records:#?}");
    assert_eq!(records[0]["outcome"], "failed", "{}", records[0]);
    assert!(
        records[0]["ended_after_ms"].is_u64(),
        "the open call was not closed: {}",
        records[0]
    );
    assert!(
        records[0]["legs"]
            .as_array()
            .unwrap()
            .iter()
            .all(|leg| leg["reason"] == "crashed"),
        "{}",
        records[0]
    );
    assert_eq!(records[1]["outcome"], "answered");
}

#[test]
fn kill_9_at_any_moment_keeps_what_was_acknowledged() {
    let mut house = crate::house::House::new()
        .registering_trunk(&["alaw"])
        .start();
    for _ in 0..5 {
        house.wait_session_up();
        house.kill();
        house.start();
    }
    house.wait_session_up();
    house.sipp("pbx").run("register").expect_ok();
    house.assert_clean(&[]);
}

#[test]
fn sigterm_ends_calls_politely_and_the_process_with_0() {
    let mut talk = Talk::start(Caller::Telegram, "9.0.0", ALAW);
    talk.house.stop();
    talk.phone.wait_closed();
    let ended = talk.house.telegram.wait_call(&talk.call, "discarded", s(5));
    assert_ne!(ended["discarded_by"], "server", "{ended}");
    assert_eq!(talk.house.records()[0]["session"], SESSION);
}
